//! The loop: poll, decode, run, encode, commit. Live service, replay and tests differ only in the ends handed in.
//!
//! Operators hold the state after the epoch that is being committed, and the epoch is kept as a value until it is. So an
//! aborted commit is repeated, not computed again; only a worker that has lost its partitions rebuilds its operators from
//! the state log, in place. `failure.rs` says which failure asks for what.

mod accounting;
mod control;
mod failure;
mod loaded;
mod lookups;
mod options;
mod overlapped;
mod pending;
mod preparing;
mod span;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::control::Control;
pub use self::control::{Command, EmitFrom, LoggedControl};
pub use self::failure::WorkerError;
use self::failure::{Remedy, remedy};
use self::loaded::{is_loaded, is_read_to_noted_end};
use self::pending::{Computed, Pending, write_outputs};
pub use self::preparing::SchemaError;
use self::span::epoch_span;
use super::audit::AuditTrail;
use super::dataflow::{Dataflow, EpochTimes};
use super::delta::{DeltaCodec, EpochRecord, Logged};
use super::encode::SinkEncoder;
use super::epoch::OpenEpoch;
use super::intake::{Intake, Taken, fates};
use super::restore::restore;
use super::status::{Phase, StatusBoard, StatusKeeper, WatchedLog};
use super::upkeep::{Upkeep, bytes_by_shard};
use super::watermark::Watermarks;
use crate::fail_point;
use crate::metrics;
use crate::plan::{OperatorPlan, Pipeline};
use crate::stream::{Outcome, PartitionStatus, PollLimit, Polled, Sink, Source, SourcePartition, StateLog, Watermark};

pub use options::WorkerOptions;

/// The longest pause after failed epochs.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long a worker that was asked to stop tries to commit its running epoch.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// The least that an epoch takes is this part of what it may take.
const LIMIT_DIVISOR_MAX: usize = 256;

/// The wall clock: milliseconds since the Unix epoch. Read once an epoch.
pub type Clock = Box<dyn Fn() -> i64 + Send>;

/// The world as a worker sees it.
pub struct Ends {
    /// Where records come from.
    pub source: Box<dyn Source>,
    /// Where epochs are committed.
    pub sink: Box<dyn Sink>,
    /// Where logged state is read back; without it nothing is logged, and a failed epoch ends the worker.
    pub log: Option<Box<dyn StateLog>>,
    /// The wall clock.
    pub clock: Clock,
}

/// Why a worker stopped without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// Everything that was there at start has been committed.
    CaughtUp,
    /// The input has ended for good.
    EndOfInput,
}

/// A running pipeline.
pub struct Worker {
    pipeline: Arc<Pipeline>,
    ends: Ends,
    options: WorkerOptions,
    stop: Arc<AtomicBool>,
    status: StatusKeeper,
    intake: Intake,
    sinks: Vec<SinkEncoder>,
    codec: DeltaCodec,
    dataflow: Dataflow,
    watermarks: Watermarks,
    /// The watermark of each relation after the last epoch.
    reached: Vec<Watermark>,
    positions: BTreeMap<SourcePartition, i64>,
    partitions: BTreeMap<SourcePartition, PartitionStatus>,
    n_committed: u64,
    is_restored: bool,
    /// Whether the state was ever restored: a cluster that is gone after that is waited for.
    was_restored: bool,
    pipeline_is_logged: bool,
    upkeep: Upkeep,
    /// When the last commit began: how often epochs are committed is bounded, how long a commit takes is not added.
    last_commit: Option<Instant>,
    /// The names of the relations that take records in.
    sources: Vec<Arc<str>>,
    /// Records whose schemas are not there yet.
    waiting: Option<Polled>,
    /// The epoch that is computed but not known to be committed.
    pending: Option<Pending>,
    /// Epochs take so many times less than they may, after one that could not be committed as it was.
    limit_divisor: usize,
    control: Control,
    /// Where a trail is written: the trail.
    audit: Option<AuditTrail>,
    /// Where none is written: the hash of the last line of an earlier one.
    audit_head: Option<String>,
    /// Since when a stop has been asked for.
    stop_since: Option<Instant>,
}

/// How far an epoch brings the worker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Going,
    EndOfInput,
}

impl Worker {
    /// A worker that has read nothing yet. `stop` ends it after the running epoch.
    pub fn new(
        pipeline: Arc<Pipeline>,
        ends: Ends,
        options: WorkerOptions,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, WorkerError> {
        let watermarks = Watermarks::new(&pipeline);
        Ok(Self {
            intake: Intake::new(&pipeline, options.wire, options.registry.clone())?,
            sinks: SinkEncoder::of_pipeline(&pipeline, ends.sink.tombstones(), options.audit.is_some())?,
            codec: DeltaCodec::new(ends.sink.max_delta_bytes()),
            dataflow: Dataflow::new(&pipeline, options.n_shards)?,
            reached: watermarks.of_relations(&pipeline),
            watermarks,
            status: StatusKeeper::new(&pipeline, ends.source.contact()),
            positions: BTreeMap::new(),
            partitions: BTreeMap::new(),
            n_committed: 0,
            is_restored: false,
            was_restored: false,
            pipeline_is_logged: false,
            upkeep: Upkeep::new(pipeline.clone(), options.n_shards, options.upkeep.clone()),
            last_commit: None,
            sources: pipeline.relations.iter().filter(|r| r.operator.is_source()).map(|r| r.name.clone()).collect(),
            waiting: None,
            pending: None,
            limit_divisor: 1,
            control: Control::new(&pipeline, LoggedControl::default()),
            audit: options.audit.clone().map(|audit| AuditTrail::new(&pipeline, audit, None)),
            audit_head: None,
            stop_since: None,
            pipeline,
            ends,
            options,
            stop,
        })
    }

    /// The status, kept up to date while the worker runs.
    pub fn status(&self) -> StatusBoard {
        self.status.board().clone()
    }

    /// Runs until the input ends, a stop is asked for, or an error cannot be repaired by a restore.
    pub fn run(&mut self) -> Result<Ended, WorkerError> {
        let ended = self.turn();
        self.status.enter(Phase::Stopped);
        ended
    }

    fn turn(&mut self) -> Result<Ended, WorkerError> {
        let may_overlap = self.ends.log.is_none() && !self.options.holds_back && self.audit.is_none();
        if self.options.epochs_under_way > 1 && may_overlap {
            return self.overlapped();
        }
        let mut backoff = self.options.backoff_min;
        loop {
            if self.may_stop() {
                return Ok(Ended::Stopped);
            }
            self.status.board().turned();
            // What is asked while an epoch waits for its commit would count as committed with it.
            if self.is_restored && self.pending.is_none() {
                let commands = self.status.board().take_commands();
                commands.iter().for_each(|command| self.control.obey(&self.pipeline, command));
                self.answer_lookups();
            }
            match self.advance() {
                Ok(Progress::EndOfInput) => return Ok(Ended::EndOfInput),
                Ok(Progress::Going) if self.options.until_caught_up && self.is_caught_up() => {
                    return Ok(Ended::CaughtUp);
                }
                Ok(Progress::Going) => backoff = self.options.backoff_min,
                Err(error) => {
                    self.recover(error)?;
                    self.pause(backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Whether a stop was asked for and the running epoch is committed, or cannot be for too long.
    fn may_stop(&mut self) -> bool {
        if !self.stop.load(Ordering::Relaxed) {
            return false;
        }
        let since = *self.stop_since.get_or_insert_with(Instant::now);
        self.pending.is_none() || since.elapsed() > STOP_PATIENCE
    }

    /// Does what a failure asks for, or gives it back if the worker must stop.
    fn recover(&mut self, error: WorkerError) -> Result<(), WorkerError> {
        let n_failed = self.pending.as_ref().map_or(0, |p| p.n_failed);
        match remedy(&error, self.ends.log.is_some(), self.was_restored, n_failed) {
            Remedy::CommitAgain => {
                tracing::warn!(%error, n_failed = n_failed + 1, "epoch not committed; committing it again");
                self.pending.iter_mut().for_each(|p| p.n_failed += 1);
            }
            Remedy::AskOutcome => {
                tracing::warn!(%error, "asking what became of the epoch");
                self.pending.iter_mut().for_each(|p| p.is_in_doubt = true);
            }
            Remedy::Restore => {
                tracing::warn!(%error, "restoring the state");
                metrics::count_restart();
                self.status.restarted();
                if self.pending.take().is_some_and(|p| p.n_failed > 0) {
                    self.limit_divisor = (self.limit_divisor * 4).min(LIMIT_DIVISOR_MAX);
                }
                self.is_restored = false;
            }
            Remedy::Wait => tracing::warn!(%error, "records wait"),
            Remedy::Stop => return Err(error),
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Progress, WorkerError> {
        if !self.is_restored {
            self.status.enter(Phase::Restoring);
            self.restore()?;
        }
        self.epoch()
    }

    /// One epoch: the way of a record through the program, step by step.
    fn epoch(&mut self) -> Result<Progress, WorkerError> {
        if let Some(pending) = &self.pending {
            let progress = pending.progress;
            self.commit()?;
            return Ok(progress);
        }
        let Some(polled) = self.prepared()? else { return Ok(Progress::Going) };
        fail_point::reach("poll.done");
        let span = epoch_span(&polled);
        let entered = span.enter();
        let started = Instant::now();
        let end_of_input = polled.end_of_input;
        let progress = if end_of_input { Progress::EndOfInput } else { Progress::Going };
        let taken = self.decode(polled)?;
        fail_point::reach("decode.done");
        let Some(computed) = self.compute(taken, end_of_input)? else { return Ok(progress) };
        let epoch = self.encode(&computed)?;
        fail_point::reach("encode.done");
        drop(entered);
        self.pending = Some(Pending::new(epoch, computed, progress, span));
        self.commit()?;
        metrics::observe_epoch(started.elapsed());
        Ok(progress)
    }

    /// Takes what has arrived, not before the shortest time between two commits has passed.
    fn poll(&mut self) -> Result<Polled, WorkerError> {
        if let Some(last) = self.last_commit {
            self.pause(self.options.commit_interval_min.saturating_sub(last.elapsed()));
        }
        let _timer = self.status.time("poll");
        let paused: Vec<Arc<str>> = if self.options.pause_streams_while_loading && !self.is_loaded() {
            let is_stream = |r: &&crate::plan::Relation| matches!(r.operator, OperatorPlan::SourceStream(..));
            self.pipeline.relations.iter().filter(is_stream).map(|r| r.name.clone()).collect()
        } else {
            Vec::new()
        };
        metrics::set_paused_partitions(self.partitions.keys().filter(|p| paused.contains(&p.relation)).count());
        let polled = self.ends.source.poll(self.limit(), self.poll_wait(), &paused)?;
        self.note_partitions(&polled);
        Ok(polled)
    }

    /// How long to wait for the first record: not beyond the moment when rows that wait may go.
    fn poll_wait(&self) -> Duration {
        match self.dataflow.next_hand_over(self.control.held_back()).filter(|_| self.is_loaded()) {
            None => self.options.poll_wait,
            Some(at_ms) => {
                let left_ms = at_ms.saturating_sub((self.ends.clock)()).max(0).unsigned_abs();
                self.options.poll_wait.min(Duration::from_millis(left_ms))
            }
        }
    }

    fn limit(&self) -> PollLimit {
        let PollLimit { records, bytes } = self.options.limit;
        PollLimit { records: (records / self.limit_divisor).max(1), bytes: (bytes / self.limit_divisor).max(1) }
    }

    /// Raw records to rows; event times to watermarks.
    fn decode(&mut self, polled: Polled) -> Result<Taken, WorkerError> {
        let _timer = self.status.time("decode");
        for (partition, status) in &polled.partitions {
            let relation = self.pipeline.relations.iter().position(|r| r.name == partition.relation);
            if let Some(relation) = relation {
                self.watermarks.set_idle(relation, partition.partition, status.idle);
            }
        }
        for (partition, event_ms) in &polled.reached {
            if let Some(relation) = self.pipeline.relations.iter().position(|r| r.name == partition.relation) {
                self.watermarks.observe(relation, partition.partition, *event_ms);
            }
        }
        let mut taken = self.intake.decode(self.pipeline.relations.len(), polled.records, &mut self.watermarks)?;
        for records in taken.records.iter().filter(|records| records.raw.is_whole) {
            if let Some(Some(rows)) = taken.rows.get_mut(records.relation) {
                self.dataflow.delete_missing(&self.pipeline, records.relation, rows)?;
            }
        }
        Ok(taken)
    }

    /// Runs the relations; none if there is nothing to do and nothing to commit.
    fn compute(&mut self, mut taken: Taken, end_of_input: bool) -> Result<Option<Computed>, WorkerError> {
        let clock_ms = (self.ends.clock)();
        self.watermarks.advance(clock_ms);
        if end_of_input {
            self.watermarks.end(self.options.end_watermark);
        }
        let after = self.watermarks.of_relations(&self.pipeline);
        let before = std::mem::replace(&mut self.reached, after.clone());
        let loaded = self.is_loaded();
        let is_first_load = loaded && !self.control.logged().is_loaded;
        let may_flood = is_first_load && self.options.emit_from != EmitFrom::Earliest;
        let times = EpochTimes {
            before,
            after,
            loaded,
            // When the input has ended nothing waits for a clock any more.
            clock_ms: if self.options.holds_back && !end_of_input { clock_ms } else { i64::MAX },
            // A first load of which part is recorded only is handed over as one: what comes later is no first load.
            hand_over_max: if may_flood { usize::MAX } else { self.options.hand_over_max },
            held_back: self.control.held_back().clone(),
            recomputes: false,
        };
        let is_idle = taken.records.is_empty() && !self.control.is_changed();
        if is_idle && !self.dataflow.is_due(&self.pipeline, &times) {
            self.status.watermarks(self.dataflow.pass(&self.pipeline, &times));
            self.status.sample_if_due(|| self.dataflow.state_sizes());
            self.ends.sink.serve();
            return Ok(None);
        }
        let _timer = self.status.time("execute");
        let rows = std::mem::take(&mut taken.rows);
        let board = self.status.board();
        let mut run = self.dataflow.run_telling(&self.pipeline, rows, &times, &|| board.turned())?;
        self.obey_rates(&mut run, clock_ms)?;
        if is_first_load {
            self.hand_over_first_load(&mut run)?;
        }
        let fates = fates(&self.pipeline, &taken, &run);
        Ok(Some(Computed { taken, run, fates, times, clock_ms }))
    }

    /// Rows to records, state to deltas: the epoch as a value.
    fn encode(&mut self, computed: &Computed) -> Result<OpenEpoch, WorkerError> {
        let _timer = self.status.time("encode");
        let mut epoch = OpenEpoch::open(self.n_committed + 1, self.positions.clone());
        write_outputs(&mut epoch, &self.pipeline, &mut self.sinks, computed, self.options.raw_bytes_max)?;
        let deltas = self.dataflow.take_deltas(&self.pipeline)?;
        let mut record = self.record(computed.clock_ms);
        if let Some(audit) = &mut self.audit {
            audit.write(&mut epoch, &record)?;
            record.audit_head = Some(audit.head().to_owned());
        }
        if self.ends.log.is_some() {
            let log_began_ms = self.upkeep.log_began_ms(computed.clock_ms);
            let record = EpochRecord { log_began_ms, ..record };
            epoch.log(self.codec.encode(0, &Logged::Epoch(record))?);
            for (id, shard, batch) in deltas {
                let Some(relation) = self.pipeline.relations.get(id) else { continue };
                let (operator_id, relation) = (relation.operator_id.clone(), relation.name.to_string());
                epoch.log(self.codec.encode(shard, &Logged::State { operator_id, relation, batch })?);
            }
            epoch.log(self.upkeep.slices(self.n_committed + 1, &self.dataflow, &self.codec)?);
        }
        Ok(epoch)
    }

    /// Makes the pending epoch visible as a whole, then takes it into account.
    fn commit(&mut self) -> Result<(), WorkerError> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let _entered = pending.span.clone().entered();
        let timer = self.status.time("commit");
        let begun = Instant::now();
        if pending.is_in_doubt && self.ends.sink.outcome(&pending.sealed)? == Outcome::NotCommitted {
            pending.is_in_doubt = false;
        }
        if !pending.is_in_doubt {
            self.ends.sink.commit(&pending.sealed).inspect_err(|e| pending.failed(e.result()))?;
        }
        drop(timer);
        pending.committed();
        let Some(committed) = self.pending.take() else { return Ok(()) };
        self.n_committed = committed.sealed.number;
        self.pipeline_is_logged = true;
        self.last_commit = Some(begun);
        self.limit_divisor = (self.limit_divisor / 2).max(1);
        self.control.committed();
        if self.dataflow.next_hand_over(self.control.held_back()).is_none() {
            self.control.drained();
        }
        let logged = bytes_by_shard(&committed.sealed.deltas);
        metrics::count_delta_bytes(logged.values().sum());
        if let Some(log) = &mut self.ends.log {
            let number = self.n_committed;
            self.pipeline_is_logged = !self.upkeep.committed(number, &logged, &self.dataflow, log.as_mut())?;
        }
        self.note_undeliverable();
        self.show(&committed);
        Ok(())
    }

    /// Brings everything to the last committed epoch: operators, watermarks, positions.
    fn restore(&mut self) -> Result<(), WorkerError> {
        let started = Instant::now();
        let mut log = self.ends.log.as_mut().map(|log| WatchedLog::new(log.as_mut(), self.status.board().clone()));
        let log = log.as_mut().map(|log| log as &mut dyn StateLog);
        let resumed = restore(&self.pipeline, self.options.n_shards, log, self.upkeep.snapshot_dir())?;
        if let Some(log) = &self.ends.log {
            self.ends.source.rewind(&resumed.positions)?;
            self.upkeep.restored(&resumed, log.as_ref());
        }
        self.reached = resumed.watermarks.of_relations(&self.pipeline);
        self.control.restored(&self.pipeline, resumed.control);
        let options = self.options.audit.clone();
        self.audit = options.map(|audit| AuditTrail::new(&self.pipeline, audit, resumed.audit_head.clone()));
        self.audit_head = resumed.audit_head;
        self.dataflow = resumed.dataflow;
        self.watermarks = resumed.watermarks;
        self.positions = resumed.positions;
        self.partitions.clear();
        self.waiting = None;
        self.n_committed = resumed.epoch;
        self.pipeline_is_logged = false;
        self.is_restored = true;
        self.was_restored = true;
        self.status.restored(self.n_committed);
        metrics::set_restore_duration(started.elapsed());
        let (epoch, n_snapshots) = (self.n_committed, resumed.n_snapshots);
        tracing::info!(epoch, n_snapshots, elapsed_ms = started.elapsed().as_millis() as u64, "restored state");
        Ok(())
    }

    fn is_loaded(&self) -> bool {
        is_loaded(&self.pipeline, &self.partitions)
    }

    fn is_caught_up(&self) -> bool {
        if self.waiting.is_some() || self.dataflow.next_hand_over(self.control.held_back()).is_some() {
            return false;
        }
        self.sources.iter().all(|source| is_read_to_noted_end(&self.partitions, source))
    }

    /// Sleeps, but not beyond a stop.
    fn pause(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while !self.stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}

#[cfg(test)]
mod tests;
