//! Reads logged state back on several threads: shards know nothing of one another, so each thread has some of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::dataflow::Dataflow;
use super::delta::{DeltaError, EpochRecord, LoggedPipeline};
use super::restore::{RestoreError, logged_pipeline};
use super::shard_reading::ShardReading;
use super::snapshot;
use crate::local::SnapshotDir;
use crate::metrics;
use crate::plan::Pipeline;
use crate::stream::{Delta, LogReader, Restored, StateLog};

/// At most so many deltas wait for a thread. The largest have a megabyte.
const QUEUED_DELTAS_MAX: usize = 32;

/// What was read of all shards.
#[derive(Debug, Default)]
pub(super) struct ReadBack {
    /// The last epoch.
    pub(super) last: Option<EpochRecord>,
    /// By shard how many bytes of deltas its log holds.
    pub(super) log_bytes: BTreeMap<u32, u64>,
    /// By shard how many bytes of deltas were read from the log itself.
    pub(super) new_bytes: BTreeMap<u32, u64>,
    /// The snapshots that were used.
    pub(super) snapshots: BTreeMap<u32, SnapshotUse>,
}

/// What a snapshot that was used says of its log.
#[derive(Debug)]
pub(super) struct SnapshotUse {
    pub(super) log_began_ms: i64,
    /// The last epoch that it is known to hold.
    pub(super) epoch: u64,
}

/// A snapshot that was used turned out not to belong to the log.
#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) shard: u32,
    pub(super) reason: String,
}

enum Message {
    /// What the log of a shard holds; the offset to read from is the answer.
    Begin {
        shard: u32,
        range: Range<i64>,
        answer: Sender<(u32, i64)>,
    },
    Delta(Delta),
}

enum LaneError {
    Snapshot(Unusable),
    Restore(RestoreError),
}

/// What a thread made of its shards.
#[derive(Default)]
struct LaneOutcome {
    read: ReadBack,
    /// A relation with logged state that the pipeline does not have.
    unknown: Option<String>,
    is_incomplete: bool,
}

/// Brings the operators of a dataflow to the end of the log; derived ones are not computed.
pub(super) fn read_back(
    pipeline: &Pipeline,
    dataflow: &mut Dataflow,
    log: &mut dyn StateLog,
    snapshots: Option<&SnapshotDir>,
) -> Result<Result<(ReadBack, Restored), Unusable>, RestoreError> {
    let n_shards = dataflow.n_shards();
    let n_lanes = thread::available_parallelism().map_or(1, usize::from).min(n_shards.0 as usize).max(1);
    let mut lanes: Vec<Lane<'_>> = Vec::new();
    lanes.resize_with(n_lanes, || Lane {
        expected: logged_pipeline(pipeline, n_shards),
        snapshots,
        shards: BTreeMap::new(),
        outcome: LaneOutcome::default(),
    });
    for (shard, operators) in (0..).zip(dataflow.by_shard()) {
        if let Some(lane) = lanes.get_mut(shard as usize % n_lanes) {
            lane.shards.insert(shard, ShardReading::new(pipeline, n_shards, operators));
        }
    }
    let (restored, outcomes) = thread::scope(|scope| {
        let (mut senders, mut running) = (Vec::new(), Vec::new());
        for lane in lanes {
            let (sender, messages) = bounded(QUEUED_DELTAS_MAX);
            senders.push(sender);
            running.push(scope.spawn(move || lane.run(&messages)));
        }
        let restored = log.restore(&mut Distributor { lanes: senders });
        let ended = |lane: thread::ScopedJoinHandle<'_, _>| {
            lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        (restored, running.into_iter().map(ended).collect::<Vec<Result<LaneOutcome, LaneError>>>())
    });
    join(outcomes, restored)
}

/// Joins what the threads read. That the state is of another pack explains any other error.
fn join(
    outcomes: Vec<Result<LaneOutcome, LaneError>>,
    restored: Result<Restored, crate::stream::SourceError>,
) -> Result<Result<(ReadBack, Restored), Unusable>, RestoreError> {
    let (mut joined, mut unusable, mut failed) = (LaneOutcome::default(), None, None);
    for outcome in outcomes {
        match outcome {
            Ok(lane) => {
                joined.unknown = joined.unknown.or(lane.unknown);
                joined.is_incomplete |= lane.is_incomplete;
                joined.read.last = joined.read.last.or(lane.read.last);
                joined.read.log_bytes.extend(lane.read.log_bytes);
                joined.read.new_bytes.extend(lane.read.new_bytes);
                joined.read.snapshots.extend(lane.read.snapshots);
            }
            Err(LaneError::Restore(error @ RestoreError::Pipeline(_))) => return Err(error),
            Err(LaneError::Restore(error)) => failed = failed.or(Some(error)),
            Err(LaneError::Snapshot(error)) => unusable = unusable.or(Some(error)),
        }
    }
    if let Some(unusable) = unusable {
        return Ok(Err(unusable));
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let restored = restored?;
    if let Some(relation) = joined.unknown {
        return Err(RestoreError::Pipeline(format!("`{relation}` is gone or has changed")));
    }
    if joined.is_incomplete {
        return Err(DeltaError::Corrupted("its last parts are missing").into());
    }
    Ok(Ok((joined.read, restored)))
}

/// Gives each thread the deltas of its shards.
struct Distributor {
    lanes: Vec<Sender<Message>>,
}

impl Distributor {
    /// False when the thread has ended, with an error of its own.
    fn send(&self, shard: u32, message: Message) -> bool {
        let lane = self.lanes.get(shard as usize % self.lanes.len().max(1));
        lane.is_some_and(|lane| lane.send(message).is_ok())
    }
}

impl LogReader for Distributor {
    fn begin(&mut self, ranges: &BTreeMap<u32, Range<i64>>) -> BTreeMap<u32, i64> {
        let (answer, answers) = bounded(ranges.len().max(1));
        for (shard, range) in ranges {
            self.send(*shard, Message::Begin { shard: *shard, range: range.clone(), answer: answer.clone() });
        }
        drop(answer);
        answers.iter().collect()
    }

    fn take(&mut self, _offset: i64, delta: Delta) -> Result<(), String> {
        match self.send(delta.shard, Message::Delta(delta)) {
            true => Ok(()),
            false => Err("it could not be taken in".to_owned()),
        }
    }
}

/// A thread and its shards.
struct Lane<'a> {
    expected: LoggedPipeline,
    snapshots: Option<&'a SnapshotDir>,
    shards: BTreeMap<u32, ShardReading<'a>>,
    outcome: LaneOutcome,
}

impl Lane<'_> {
    fn run(mut self, messages: &Receiver<Message>) -> Result<LaneOutcome, LaneError> {
        for message in messages {
            match message {
                Message::Begin { shard, range, answer } => {
                    let next = self.begin(shard, &range).map_err(LaneError::Snapshot)?.unwrap_or(range.start);
                    // Who asked waits for it.
                    let _ = answer.send((shard, next));
                }
                Message::Delta(delta) => self.apply(&delta).map_err(LaneError::Restore)?,
            }
        }
        for reading in self.shards.into_values() {
            self.outcome.is_incomplete |= reading.is_incomplete();
            self.outcome.unknown = self.outcome.unknown.or(reading.unknown);
            self.outcome.read.last = self.outcome.read.last.or(reading.last);
        }
        Ok(self.outcome)
    }

    fn apply(&mut self, delta: &Delta) -> Result<(), RestoreError> {
        for counted in [&mut self.outcome.read.log_bytes, &mut self.outcome.read.new_bytes] {
            *counted.entry(delta.shard).or_default() += delta.bytes.len() as u64;
        }
        match self.shards.get_mut(&delta.shard) {
            Some(reading) => reading.apply(delta).map(drop),
            None => Err(DeltaError::Unusable(format!("there is no shard {}", delta.shard)).into()),
        }
    }

    /// Takes a shard's snapshot in, if there is one that can be used. Returns the offset to read on from.
    fn begin(&mut self, shard: u32, range: &Range<i64>) -> Result<Option<i64>, Unusable> {
        let (Some(dir), Some(reading)) = (self.snapshots, self.shards.get_mut(&shard)) else { return Ok(None) };
        let loaded = match snapshot::load(dir, shard, &self.expected, range) {
            Ok(None) => return Ok(None),
            Ok(Some(loaded)) => loaded,
            Err(reason) => {
                let path = dir.path(shard);
                tracing::warn!(path = %path.display(), reason, "local snapshot not used; reading the state topic instead");
                metrics::count_snapshot("discarded");
                if let Err(error) = dir.discard(shard) {
                    tracing::warn!(%error, path = %path.display(), "could not delete a snapshot");
                }
                return Ok(None);
            }
        };
        let unusable = |error: RestoreError| {
            let reason =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), |e| format!("{error}: {e}"));
            Unusable { shard, reason }
        };
        let header = loaded.header;
        let epoch = header.epoch.as_ref().map_or(0, |record| record.epoch);
        if let Some(record) = header.epoch {
            reading.note(record).map_err(unusable)?;
        }
        for bytes in loaded.deltas {
            reading.apply(&Delta { shard, bytes }).map_err(unusable)?;
        }
        metrics::count_snapshot("used");
        let read = &mut self.outcome.read;
        read.log_bytes.insert(shard, header.log_bytes);
        read.snapshots.insert(shard, SnapshotUse { log_began_ms: header.log_began_ms, epoch });
        Ok(Some(header.next))
    }
}
