//! What a running pipeline says of itself: one snapshot, shared by the HTTP pages, the terminal and the summary.

mod lag;
mod names;
mod phase;
mod restoring;
mod written;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use self::lag::Newest;
pub use self::lag::PartitionLag;
use self::names::{definition, inputs};
pub use self::phase::Phase;
pub use self::restoring::RestoreStatus;
pub(super) use self::restoring::WatchedLog;
use super::cells::PlacedRows;
use super::dataflow::EpochRun;
use super::intake::{Fates, SourceCounts, Taken};
use super::interval::{Interval, RunningInterval, StageClock};
use super::kinds::{self, Kinds};
use super::lookup::Lookup;
use super::newest::NewestRows;
use super::refused::{NewestRefused, RefusedRecord, refused_records};
use super::worker::{Command, LoggedControl};
use crate::catalog::RelationKind;
use crate::metrics;
use crate::operators::StateSize;
use crate::plan::{Pipeline, SinkPlan};
use crate::stream::{Contact, PartitionStatus, RecordBatchBytes, SourcePartition, Watermark};

/// Rates are taken over at least this time.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// Latencies above an hour count as an hour.
const LATENCY_MS_MAX: u64 = 3_600_000;
/// Commands that wait for the worker at most.
const COMMANDS_MAX: usize = 1_000;

/// A pipeline at a moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// What the worker is doing.
    pub phase: Phase,
    /// The number of the last committed epoch; 0 before the first.
    pub epoch: u64,
    /// Whether the state is that of the last committed epoch; false while it is being restored.
    pub restored: bool,
    /// Whether all tables have been read to the end noted at start.
    pub loaded: bool,
    /// How often the state was restored because an epoch failed.
    pub restarts: u64,
    /// How many output records were left out because their topic does not take them.
    pub undeliverable: u64,
    /// What records wait for, as a schema registry that cannot be reached; none if they do not.
    pub waits_for: Option<String>,
    /// For how long no broker has answered, in milliseconds; none if one does.
    pub brokers_silent_ms: Option<u64>,
    /// How far the restore has come; none while nothing is restored.
    pub restore: Option<RestoreStatus>,
    /// Every relation, inputs before what reads them.
    pub relations: Vec<RelationStatus>,
    /// Every source, in the order of the relations.
    pub sources: Vec<SourceStatus>,
    /// Every sink, in order of declaration.
    pub sinks: Vec<SinkStatus>,
    /// From a record's Kafka timestamp to the commit of what follows from it, without the records of the first load.
    pub latency: LatencyStatus,
    /// How far every partition of every source is behind its end, where that is known.
    pub partitions: Vec<PartitionLag>,
}

/// A relation at a moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RelationStatus {
    /// The name.
    pub name: Arc<str>,
    /// `stream` or `table`.
    pub kind: &'static str,
    /// What computes it, as in `explain`: `source_table`, `table_join`, `upsert`, ..
    pub operator: &'static str,
    /// The statement that it is a step of: a source, view, table, stream or sink.
    pub definition: Arc<str>,
    /// The relations that it reads, by name.
    pub inputs: Vec<Arc<str>>,
    /// Rows taken in since the start.
    pub rows_in: u64,
    /// Changes given out since the start.
    pub rows_out: u64,
    /// Rows taken in per second, lately.
    pub rows_in_per_second: f64,
    /// Changes given out per second, lately.
    pub rows_out_per_second: f64,
    /// The watermark in milliseconds since the Unix epoch; none if it has not moved yet or the input has ended.
    pub watermark_ms: Option<i64>,
    /// Rows or keys of state.
    pub state_rows: usize,
    /// Bytes of state.
    pub state_bytes: usize,
}

/// A source at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus {
    /// The name.
    pub name: Arc<str>,
    /// What became of its records since the start.
    #[serde(flatten)]
    pub counts: SourceCounts,
    /// Records in its topic that have not been read; none as long as the end is unknown.
    pub lag: Option<i64>,
}

/// A sink at a moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SinkStatus {
    /// The name.
    pub name: Arc<str>,
    /// Records committed since the start.
    pub rows: u64,
    /// Whether its rows can wait, so that it can be paused: not those of a stream.
    pub can_wait: bool,
    /// Why it is paused; none if it is not.
    pub paused: Option<String>,
    /// How many keys wait to be written.
    pub waiting: u64,
    /// The same by the value of the column that `count_by` names; empty without that option.
    pub kinds: Kinds,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LatencyStatus {
    /// How many records were measured.
    pub n_records: u64,
    /// The median.
    pub p50_ms: u64,
    /// The 99th percentile.
    pub p99_ms: u64,
    /// The greatest.
    pub max_ms: u64,
}

/// The shared status, and what is asked of the worker. Clones show and reach the same pipeline.
#[derive(Clone, Debug, Default)]
pub struct StatusBoard {
    status: Arc<Mutex<Status>>,
    last_turn: Arc<Mutex<Option<Instant>>>,
    commands: Arc<Mutex<Vec<Command>>>,
    lookups: Arc<Mutex<Vec<Lookup>>>,
    interval: RunningInterval,
    refused: NewestRefused,
    rows: NewestRows,
    placed: PlacedRows,
    contact: Contact,
}

impl StatusBoard {
    /// The status now.
    pub fn snapshot(&self) -> Status {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let silent_ms = self.contact.lost_for().map(|lost| u64::try_from(lost.as_millis()).unwrap_or(u64::MAX));
        Status { brokers_silent_ms: silent_ms.or(status.brokers_silent_ms), ..status }
    }

    /// What the worker is doing.
    pub(super) fn phase(&self) -> Phase {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).phase
    }

    /// Whether all tables have been read to the end noted at start.
    pub(super) fn is_loaded(&self) -> bool {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).loaded
    }

    /// Shows another status.
    pub fn show(&self, status: Status) {
        self.update(|shown| *shown = status);
    }

    /// Asks the worker for something; it is done before the next epoch. False when too much was asked for already.
    pub fn ask(&self, command: Command) -> bool {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = commands.len() < COMMANDS_MAX;
        if has_room {
            commands.push(command);
        }
        has_room
    }

    /// Takes what was asked of the worker.
    pub(super) fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the worker for rows; it gives them before the next epoch.
    pub(super) fn look_up(&self, lookup: Lookup) {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).push(lookup);
    }

    /// Takes what was asked for.
    pub(super) fn take_lookups(&self) -> Vec<Lookup> {
        std::mem::take(&mut *self.lookups.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that the worker goes on: its loop has come round, or an epoch is through with one more relation.
    pub fn turned(&self) {
        *self.last_turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago the worker last went on; none if it never did.
    pub fn since_last_turn(&self) -> Option<Duration> {
        self.last_turn.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// What was measured since this was last asked; one asks, and keeps the history.
    pub fn take_interval(&self) -> Interval {
        self.interval.take()
    }

    /// Adds to what is measured.
    pub fn measure(&self, change: impl FnOnce(&mut Interval)) {
        self.interval.update(change);
    }

    /// The newest late and rejected records, newest first, at most 50.
    pub fn newest_refused(&self) -> Vec<RefusedRecord> {
        self.refused.snapshot()
    }

    /// Adds late or rejected records, the newest last.
    pub fn add_refused(&self, records: Vec<RefusedRecord>) {
        self.refused.add(records);
    }

    fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Keeps the status up to date, epoch by epoch.
#[derive(Debug)]
pub(super) struct StatusKeeper {
    board: StatusBoard,
    /// The index in `sources` of each relation that is a source.
    source_of_relation: Vec<Option<usize>>,
    latency: Option<Histogram<u64>>,
    rates_since: Instant,
    /// Rows in and out of each relation at the last sample.
    rows_then: Vec<[u64; 2]>,
    /// The relation of each sink, and the column that its option `count_by` names.
    counted_by: Vec<(usize, Option<usize>)>,
    newest: Newest,
}

/// What a committed epoch adds to the status.
pub(super) struct CommittedEpoch<'a> {
    pub(super) number: u64,
    pub(super) loaded: bool,
    pub(super) run: &'a EpochRun,
    pub(super) watermarks: &'a [Watermark],
    pub(super) counts: &'a [(usize, SourceCounts)],
    pub(super) sink_rows: &'a BTreeMap<Arc<str>, u64>,
    pub(super) latencies_ms: &'a mut dyn Iterator<Item = u64>,
}

impl StatusKeeper {
    pub(super) fn new(pipeline: &Pipeline, contact: Contact) -> Self {
        let mut status = Status::default();
        let mut source_of_relation = Vec::new();
        for relation in &pipeline.relations {
            let is_source = relation.operator.is_source();
            source_of_relation.push(is_source.then_some(status.sources.len()));
            if is_source {
                let source = SourceStatus { name: relation.name.clone(), counts: SourceCounts::default(), lag: None };
                status.sources.push(source);
            }
            status.relations.push(RelationStatus {
                name: relation.name.clone(),
                kind: match relation.kind {
                    RelationKind::Stream => "stream",
                    RelationKind::Table => "table",
                },
                operator: relation.operator.word(),
                definition: definition(relation).into(),
                inputs: inputs(pipeline, relation),
                ..RelationStatus::default()
            });
        }
        let sink = |s: &SinkPlan| SinkStatus {
            name: s.name.clone(),
            can_wait: !s.hands_over.is_empty(),
            ..SinkStatus::default()
        };
        status.sinks = pipeline.sinks.iter().map(sink).collect();
        let n_relations = pipeline.relations.len();
        let (rows, placed) = (NewestRows::of(pipeline), PlacedRows::of(pipeline));
        let board = StatusBoard { rows, placed, contact, ..StatusBoard::default() };
        board.show(status);
        Self {
            board,
            source_of_relation,
            latency: Histogram::new_with_bounds(1, LATENCY_MS_MAX, 3).ok(),
            rates_since: Instant::now(),
            rows_then: vec![[0; 2]; n_relations],
            counted_by: pipeline.sinks.iter().map(|s| (s.relation, s.count_by)).collect(),
            newest: Newest::default(),
        }
    }

    pub(super) fn board(&self) -> &StatusBoard {
        &self.board
    }

    /// Adds a committed epoch.
    pub(super) fn committed(&mut self, epoch: CommittedEpoch<'_>) {
        let mut n_records = 0;
        if let Some(latency) = &mut self.latency {
            self.board.measure(|interval| {
                for ms in epoch.latencies_ms {
                    latency.saturating_record(ms);
                    interval.latency.record(ms.saturating_mul(1_000));
                    n_records += 1;
                }
            });
        }
        let latency = match &self.latency {
            Some(h) if n_records > 0 => Some(LatencyStatus {
                n_records: h.len(),
                p50_ms: h.value_at_quantile(0.5),
                p99_ms: h.value_at_quantile(0.99),
                max_ms: h.max(),
            }),
            _ => None,
        };
        metrics::set_loaded(epoch.loaded);
        self.board.update(|status| {
            status.epoch = epoch.number;
            status.loaded = epoch.loaded;
            status.phase = if epoch.loaded { Phase::Running } else { Phase::Loading };
            status.latency = latency.unwrap_or(status.latency);
            for (id, relation) in status.relations.iter_mut().enumerate() {
                let n_in = epoch.run.rows_in.get(id).copied().unwrap_or(0);
                let n_out = epoch.run.rows_out.get(id).copied().unwrap_or(0);
                relation.rows_in += n_in;
                relation.rows_out += n_out;
                if n_in + n_out > 0 {
                    metrics::count_relation_rows(&relation.name, n_in, n_out);
                }
            }
            for (relation, counts) in epoch.counts {
                let source = self.source_of_relation.get(*relation).copied().flatten();
                if let Some(source) = source.and_then(|s| status.sources.get_mut(s)) {
                    source.counts.add(counts);
                    metrics::count_consumed(&source.name, "used", counts.used);
                    metrics::count_consumed(&source.name, "duplicate", counts.duplicate);
                    metrics::count_consumed(&source.name, "late", counts.late);
                    metrics::count_consumed(&source.name, "rejected", counts.rejected);
                }
            }
            for (sink, (relation, column)) in status.sinks.iter_mut().zip(&self.counted_by) {
                if let (Some(changes), Some(column)) = (epoch.run.changes.get(*relation), column) {
                    for (kind, n_rows) in kinds::count(&mut sink.kinds, changes, *column) {
                        metrics::count_sink_rows(&sink.name, &kind, n_rows);
                    }
                }
                let n_rows = epoch.sink_rows.get(&sink.name).copied().unwrap_or(0);
                sink.rows += n_rows;
                metrics::count_produced(&sink.name, n_rows);
            }
        });
        self.watermarks(epoch.watermarks);
    }

    /// Shows the watermarks.
    pub(super) fn watermarks(&self, watermarks: &[Watermark]) {
        self.board.update(|status| {
            for (relation, watermark) in status.relations.iter_mut().zip(watermarks) {
                let is_instant = *watermark != Watermark::MIN && *watermark != Watermark::MAX;
                relation.watermark_ms = is_instant.then_some(watermark.0);
            }
        });
    }

    /// Shows which sinks are paused, and how many keys wait for each, in order of declaration.
    pub(super) fn controls(&self, control: &LoggedControl, n_waiting: &[usize]) {
        self.board.update(|status| {
            for (sink, n_waiting) in status.sinks.iter_mut().zip(n_waiting) {
                sink.paused = control.paused.get(sink.name.as_ref()).cloned();
                sink.waiting = *n_waiting as u64;
                metrics::set_waiting(&sink.name, sink.paused.is_some(), sink.waiting);
            }
        });
    }

    /// Takes note of how new the records of a source were that an epoch took in.
    pub(super) fn read(&mut self, source: &Arc<str>, records: &RecordBatchBytes) {
        self.newest.read(source, records);
    }

    /// Shows how far each source is behind its topics.
    pub(super) fn lags(&self, partitions: &BTreeMap<SourcePartition, PartitionStatus>) {
        self.board.update(|status| {
            status.partitions = self.newest.behind(partitions);
            for source in &mut status.sources {
                let own = partitions.iter().filter(|(p, _)| p.relation == source.name);
                source.lag = own.map(|(_, s)| s.end.map(|end| (end - s.position).max(0))).sum();
            }
        });
    }

    /// Shows rates and sizes again, if it is time: sizes are too dear for every epoch.
    pub(super) fn sample_if_due(&mut self, sizes: impl FnOnce() -> Vec<StateSize>) {
        let elapsed = self.rates_since.elapsed();
        if elapsed >= RATE_WINDOW {
            self.sample(elapsed, &sizes());
            self.rates_since = Instant::now();
        }
    }

    /// Shows rates since the last sample, `elapsed` ago, and the sizes of the relations' state.
    fn sample(&mut self, elapsed: Duration, sizes: &[StateSize]) {
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        self.board.update(|status| {
            for ((relation, size), then) in status.relations.iter_mut().zip(sizes).zip(&mut self.rows_then) {
                relation.rows_in_per_second = (relation.rows_in - then[0]) as f64 / seconds;
                relation.rows_out_per_second = (relation.rows_out - then[1]) as f64 / seconds;
                relation.state_rows = size.rows;
                relation.state_bytes = size.bytes;
                *then = [relation.rows_in, relation.rows_out];
            }
        });
    }

    /// Measures a stage of an epoch (`poll`, `decode`, `execute`, `encode`, `commit`) until the clock is dropped.
    pub(super) fn time(&self, stage: &'static str) -> StageClock {
        StageClock::start(stage, self.board.interval.clone())
    }

    /// Shows the late and rejected records of a committed epoch.
    pub(super) fn refused(&self, pipeline: &Pipeline, taken: &Taken, fates: &[Fates], now_ms: i64) {
        self.board.add_refused(refused_records(pipeline, taken, fates, now_ms));
    }

    /// Counts an output record that was left out.
    pub(super) fn undeliverable(&self) {
        self.board.update(|status| status.undeliverable += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::resolve;
    use crate::dialect::{Pack, parse};
    use crate::plan::plan;
    use crate::stream::RecordMeta;

    const RULES: &str = "
        CREATE STREAM passages (passage_id VARCHAR NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL)
            WITH (topic = 'passages', format = 'json', event_time = 'at');
        CREATE TABLE devices (device_id VARCHAR PRIMARY KEY) WITH (topic = 'devices', format = 'json');
        CREATE SINK out WITH (topic = 'out', format = 'json') AS SELECT passage_id FROM passages;";

    fn keeper() -> StatusKeeper {
        let (statements, errors) = parse(&Pack::from_text("rules.sql", RULES));
        assert!(errors.is_empty(), "{errors:?}");
        StatusKeeper::new(&plan(&resolve(statements, None).unwrap()).unwrap(), Contact::default())
    }

    fn commit(keeper: &mut StatusKeeper, number: u64, n_rows: u64, latencies_ms: &[u64]) {
        let run = EpochRun {
            changes: vec![],
            refused: vec![],
            duplicate: vec![],
            rows_in: vec![n_rows; 3],
            rows_out: vec![],
            reached: vec![],
            gone: vec![],
        };
        let counts = SourceCounts { read: n_rows, used: n_rows, ..SourceCounts::default() };
        keeper.committed(CommittedEpoch {
            number,
            loaded: number > 1,
            run: &run,
            watermarks: &[Watermark(5), Watermark::MIN, Watermark::MAX],
            counts: &[(0, counts)],
            sink_rows: &BTreeMap::from([("out".into(), n_rows)]),
            latencies_ms: &mut latencies_ms.iter().copied(),
        });
    }

    #[test]
    fn committed_epochs_add_up_and_the_first_load_is_a_phase_of_its_own() {
        let mut keeper = keeper();
        commit(&mut keeper, 1, 10, &[]);
        assert_eq!(keeper.board().snapshot().phase, Phase::Loading);
        commit(&mut keeper, 2, 5, &[]);
        let status = keeper.board().snapshot();
        assert_eq!((status.epoch, status.phase, status.sinks[0].rows), (2, Phase::Running, 15));
        assert_eq!((status.relations[0].rows_in, status.sources[0].counts.read), (15, 15));
        let watermarks: Vec<_> = status.relations.iter().map(|r| r.watermark_ms).collect();
        assert_eq!(watermarks, [Some(5), None, None], "only instants are shown");
        keeper.restarted();
        let status = keeper.board().snapshot();
        assert_eq!((status.restarts, status.loaded, status.phase), (1, false, Phase::Restoring));
    }

    #[test]
    fn a_rate_is_what_came_since_the_last_sample_and_falls_to_nothing() {
        let mut keeper = keeper();
        commit(&mut keeper, 1, 30, &[]);
        let sizes = [StateSize { rows: 4, bytes: 40 }; 3];
        let rate = |keeper: &StatusKeeper| keeper.board().snapshot().relations[0].rows_in_per_second;
        keeper.sample(Duration::from_secs(2), &sizes);
        assert_eq!(rate(&keeper), 15.0);
        assert_eq!(keeper.board().snapshot().relations[0].state_bytes, 40);
        commit(&mut keeper, 2, 5, &[]);
        keeper.sample(Duration::from_secs(1), &sizes);
        assert_eq!(rate(&keeper), 5.0);
        keeper.sample(Duration::from_secs(1), &sizes);
        assert_eq!(rate(&keeper), 0.0);
        keeper.sample_if_due(|| panic!("not a second has passed"));
    }

    #[test]
    fn a_source_is_as_late_as_the_newest_record_of_its_partition_that_is_most_behind() {
        let mut keeper = keeper();
        let source: Arc<str> = "passages".into();
        let lag = |keeper: &StatusKeeper| keeper.board().snapshot().lag_ms("passages", 10_000);
        assert_eq!(lag(&keeper), None);
        let at = |partition, position| {
            let status = PartitionStatus { position, end: Some(5), caught_up: false, idle: false };
            (SourcePartition { relation: "passages".into(), partition }, status)
        };
        keeper.lags(&BTreeMap::from([at(0, 5), at(1, 5)]));
        assert_eq!(lag(&keeper), Some(0));
        keeper.lags(&BTreeMap::from([at(0, 5), at(1, 4)]));
        assert_eq!(lag(&keeper), None, "nothing was read that would tell");
        let mut records = RecordBatchBytes::default();
        for (partition, ms) in [(0, 1), (1, 7_000), (1, 9_000), (1, 8_000), (0, 2)] {
            let timestamp_ms = Some(ms);
            let meta = RecordMeta { partition, offset: 0, timestamp_ms, sequence: 0, key: None, value: None };
            records.push(meta, None, None);
        }
        keeper.read(&source, &records);
        keeper.lags(&BTreeMap::from([at(0, 5), at(1, 4)]));
        assert_eq!(lag(&keeper), Some(1_000));
        keeper.lags(&BTreeMap::from([at(0, 1), at(1, 4)]));
        assert_eq!(lag(&keeper), Some(9_998));
        assert_eq!(keeper.board().snapshot().partitions[1].lag, 1);
    }

    #[test]
    fn latencies_are_those_of_all_records_since_the_start() {
        let mut keeper = keeper();
        commit(&mut keeper, 1, 99, &[2; 99]);
        commit(&mut keeper, 2, 1, &[90]);
        commit(&mut keeper, 3, 0, &[]);
        let latency = keeper.board().snapshot().latency;
        assert_eq!((latency.n_records, latency.p50_ms, latency.p99_ms, latency.max_ms), (100, 2, 2, 90));
    }
}
