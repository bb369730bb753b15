//! Local snapshots of shards: a cache of what the state topic says, so that a restart reads only its end.
//!
//! A snapshot is a header and the slices of all logged operators of a shard. It is made beside the worker, from the older
//! snapshot and what the log holds since. It may be lost or damaged at any time: then the log is read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use serde::{Deserialize, Serialize};

use super::delta::{DeltaCodec, DeltaError, EpochRecord, Logged, LoggedPipeline};
use super::restore::{RestoreError, logged_pipeline};
use super::shard_reading::ShardReading;
use super::slices::{SliceLimit, Slices};
use crate::local::{SnapshotDir, SnapshotError};
use crate::metrics;
use crate::operators::{Operator, OperatorError};
use crate::plan::Pipeline;
use crate::stream::{Delta, LogFollower, ShardCount, SourceError};

/// After a failure the next attempt waits so long.
const RETRY_PAUSE: Duration = Duration::from_secs(30);
/// The log speaks of failures this often at most.
const FAILURE_NOTE_INTERVAL: Duration = Duration::from_secs(300);

/// What a snapshot says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotHeader {
    pub(super) pipeline: String,
    pub(super) shard: u32,
    pub(super) logged: LoggedPipeline,
    pub(super) log_began_ms: i64,
    /// The offset of the shard's log to go on reading from.
    pub(super) next: i64,
    /// How many bytes of deltas the log held up to there.
    pub(super) log_bytes: u64,
    /// The last epoch that it holds; known in shard 0.
    pub(super) epoch: Option<EpochRecord>,
}

/// A snapshot that was read and checked.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) header: SnapshotHeader,
    pub(super) deltas: Vec<Vec<u8>>,
}

/// Why a snapshot could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotFailure {
    #[error("could not be written: {0}")]
    File(#[from] SnapshotError),
    #[error("the state topic could not be read: {0}")]
    Log(#[from] SourceError),
    #[error("state could not be read: {0}")]
    Restore(#[from] RestoreError),
    #[error("state could not be encoded: {0}")]
    Delta(#[from] DeltaError),
    #[error("{0}")]
    Operator(#[from] OperatorError),
}

/// Reads a shard's snapshot, if there is one. Fails with the reason why it cannot be used with a log that holds `range`.
pub(super) fn load(
    dir: &SnapshotDir,
    shard: u32,
    expected: &LoggedPipeline,
    range: &Range<i64>,
) -> Result<Option<Loaded>, String> {
    let Some(blocks) = dir.read(shard).map_err(|e| e.to_string())? else { return Ok(None) };
    let mut blocks = blocks.into_iter();
    let first = blocks.next().ok_or("it is empty")?;
    let header: SnapshotHeader = serde_json::from_slice(&first).map_err(|e| format!("its header is broken: {e}"))?;
    if header.pipeline != dir.pipeline() || header.shard != shard {
        return Err(format!("it is of shard {} of pipeline `{}`", header.shard, header.pipeline));
    }
    if header.logged != *expected {
        return Err("it is of another pack".to_owned());
    }
    if header.next < range.start || header.next > range.end {
        return Err(format!(
            "it goes on at offset {}, but the state topic holds {} to {}",
            header.next, range.start, range.end
        ));
    }
    Ok(Some(Loaded { header, deltas: blocks.collect() }))
}

/// Writes a new snapshot of one shard from its older one and the log. Returns its size in bytes; none where the log holds
/// nothing that it could go on from.
pub(super) fn write(
    pipeline: &Pipeline,
    n_shards: ShardCount,
    dir: &SnapshotDir,
    follower: &mut dyn LogFollower,
    shard: u32,
    log_began_ms: i64,
) -> Result<Option<u64>, SnapshotFailure> {
    let logged = logged_pipeline(pipeline, n_shards);
    let range = follower.range(shard)?;
    let build = |relation: &crate::plan::Relation| match relation.operator.is_logged() {
        true => relation.operator.build(),
        false => Ok(None),
    };
    let mut operators: Vec<Option<Box<dyn Operator>>> =
        pipeline.relations.iter().map(build).collect::<Result<_, OperatorError>>()?;
    let borrowed = operators.iter_mut().map(|o| o.as_mut().map(|o| o.as_mut() as &mut dyn Operator)).collect();
    let mut reading = ShardReading::new(pipeline, n_shards, borrowed);
    let (mut next, mut log_bytes, mut start) = (None, 0, range.start);
    // Where the delta begins of which parts are being read, and how many bytes the log holds up to there.
    let mut first = (range.start, 0);
    // An older one that cannot be used is written over.
    if let Ok(Some(older)) = load(dir, shard, &logged, &range)
        && older.header.log_began_ms == log_began_ms
    {
        if let Some(record) = older.header.epoch {
            reading.note(record)?;
        }
        for bytes in older.deltas {
            reading.apply(&Delta { shard, bytes })?;
        }
        (next, log_bytes, start) = (Some(older.header.next), older.header.log_bytes, older.header.next);
    }
    let mut failure = None;
    let mut n_bytes = log_bytes;
    let mut take = |offset: i64, delta: Delta| {
        if !reading.is_incomplete() {
            first = (offset, n_bytes);
        }
        n_bytes += delta.bytes.len() as u64;
        match reading.apply(&delta) {
            // Shard 0 is read again from its last epoch on, whose record says how far the sources were read.
            Ok(true) => (next, log_bytes) = (Some(first.0), first.1),
            Ok(false) => {}
            Err(error) => {
                let text = error.to_string();
                failure = Some(error);
                return Err(text);
            }
        }
        Ok(())
    };
    let read = follower.read(shard, start..range.end, &mut take);
    if let Some(error) = failure {
        return Err(error.into());
    }
    read?;
    if let Some(relation) = reading.unknown {
        return Err(RestoreError::Pipeline(format!("`{relation}` is gone or has changed")).into());
    }
    let epoch = reading.last;
    if shard != 0 {
        (next, log_bytes) = (Some(range.end), n_bytes);
    }
    let Some(next) = next else { return Ok(None) };
    let header =
        SnapshotHeader { pipeline: dir.pipeline().to_owned(), shard, logged, log_began_ms, next, log_bytes, epoch };
    let mut file = dir.write(shard)?;
    file.block(&serde_json::to_vec(&header).map_err(DeltaError::from)?)?;
    let codec = DeltaCodec::new(usize::MAX);
    for (relation, operator) in pipeline.relations.iter().zip(&operators) {
        let Some(operator) = operator else { continue };
        for batch in Slices::new(operator.as_ref(), SliceLimit::default()) {
            let (operator_id, relation) = (relation.operator_id.clone(), relation.name.to_string());
            let state = Logged::State { operator_id, relation, batch: batch? };
            for delta in codec.encode(shard, &state)? {
                file.block(&delta.bytes)?;
            }
        }
    }
    Ok(Some(file.publish()?))
}

/// A shard whose snapshot is to be written.
struct Task {
    shard: u32,
    log_began_ms: i64,
}

/// How a task ended: the size of the new snapshot, or none where it failed.
struct Done {
    shard: u32,
    n_bytes: Option<u64>,
}

/// When snapshots are written.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// Not before so many bytes of deltas came since the last one.
    pub bytes_min: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { bytes_min: 4 << 20 }
    }
}

/// Has snapshots written on a thread of its own. A shard is due when its log grew by as much as its snapshot holds, so that
/// all snapshots together cost in proportion to what is logged.
pub(super) struct Snapshots {
    policy: SnapshotPolicy,
    shards: Vec<ShardBytes>,
    tasks: Sender<Task>,
    done: Receiver<Done>,
    is_busy: bool,
    not_before: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ShardBytes {
    /// Bytes of deltas since the last snapshot.
    n_new: u64,
    /// The size of the last snapshot.
    n_kept: u64,
}

impl Snapshots {
    /// Starts the thread. It ends after the snapshot at hand when this is dropped.
    pub(super) fn start(
        pipeline: Arc<Pipeline>,
        n_shards: ShardCount,
        dir: SnapshotDir,
        policy: SnapshotPolicy,
        follower: Box<dyn LogFollower>,
    ) -> std::io::Result<Self> {
        let (tasks, given) = bounded(1);
        let (finished, done) = bounded(n_shards.0 as usize + 1);
        thread::Builder::new()
            .name("curb-snapshot".to_owned())
            .spawn(move || work(&pipeline, n_shards, &dir, follower, &given, &finished))?;
        let shards = vec![ShardBytes::default(); n_shards.0 as usize];
        Ok(Self { policy, shards, tasks, done, is_busy: false, not_before: None })
    }

    /// Begins to count anew: by shard what its log holds behind its snapshot.
    pub(super) fn restored(&mut self, n_new: impl Iterator<Item = (u32, u64)>) {
        self.shards.iter_mut().for_each(|shard| shard.n_new = 0);
        n_new.for_each(|(shard, n_bytes)| self.logged(shard, n_bytes));
    }

    /// Takes note of deltas that were committed.
    pub(super) fn logged(&mut self, shard: u32, n_bytes: u64) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.n_new += n_bytes;
        }
    }

    /// Says that a shard's snapshot cannot be used any more.
    pub(super) fn outdated(&mut self, shard: u32) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.n_new = shard.n_new.max(self.policy.bytes_min).max(shard.n_kept);
        }
    }

    /// Hands the shard that is due most to the thread, unless it is busy.
    pub(super) fn advance(&mut self, log_began_ms: i64) {
        for Done { shard, n_bytes } in self.done.try_iter().collect::<Vec<_>>() {
            self.is_busy = false;
            match (self.shards.get_mut(shard as usize), n_bytes) {
                (Some(shard), Some(n_bytes)) => shard.n_kept = n_bytes,
                _ => {
                    self.outdated(shard);
                    self.not_before = Some(Instant::now() + RETRY_PAUSE);
                }
            }
        }
        metrics::set_snapshot_behind(self.shards.iter().map(|shard| shard.n_new).sum());
        if self.is_busy || self.not_before.is_some_and(|instant| Instant::now() < instant) {
            return;
        }
        let is_due = |shard: &ShardBytes| shard.n_new >= self.policy.bytes_min.max(shard.n_kept);
        let due = (0u32..).zip(&self.shards).filter(|(_, s)| is_due(s)).max_by_key(|(_, s)| s.n_new);
        let Some((shard, _)) = due else { return };
        match self.tasks.try_send(Task { shard, log_began_ms }) {
            Ok(()) => {
                self.is_busy = true;
                if let Some(shard) = self.shards.get_mut(shard as usize) {
                    shard.n_new = 0;
                }
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => metrics::count_snapshot("skipped"),
        }
    }
}

fn work(
    pipeline: &Pipeline,
    n_shards: ShardCount,
    dir: &SnapshotDir,
    mut follower: Box<dyn LogFollower>,
    tasks: &Receiver<Task>,
    done: &Sender<Done>,
) {
    let mut noted: Option<Instant> = None;
    let mut written = BTreeMap::new();
    for Task { shard, log_began_ms } in tasks {
        let started = Instant::now();
        let n_bytes = match write(pipeline, n_shards, dir, follower.as_mut(), shard, log_began_ms) {
            Ok(n_bytes) => {
                let n_bytes = n_bytes.unwrap_or_default();
                metrics::count_snapshot("written");
                written.insert(shard, (n_bytes, SystemTime::now()));
                metrics::set_snapshot_bytes(written.values().map(|(n_bytes, _)| n_bytes).sum());
                let oldest = written.values().map(|(_, at)| *at).min().unwrap_or_else(SystemTime::now);
                metrics::observe_snapshot(started.elapsed(), oldest);
                tracing::debug!(shard, n_bytes, elapsed_ms = started.elapsed().as_millis() as u64, "wrote a snapshot");
                Some(n_bytes)
            }
            Err(error) => {
                metrics::count_snapshot("failed");
                if noted.is_none_or(|noted| noted.elapsed() >= FAILURE_NOTE_INTERVAL) {
                    let path = dir.path(shard);
                    tracing::warn!(%error, path = %path.display(), "no local snapshot could be written; restarts read the \
                                   whole state topic until one can");
                    noted = Some(Instant::now());
                }
                None
            }
        };
        // As long a rest as the work took leaves the processor to the worker.
        thread::sleep(started.elapsed().min(Duration::from_secs(5)));
        if done.send(Done { shard, n_bytes }).is_err() {
            return;
        }
    }
}
