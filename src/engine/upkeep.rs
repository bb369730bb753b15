//! What keeps logged state small and restarts quick, told of every epoch by the worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dataflow::Dataflow;
use super::delta::DeltaCodec;
use super::restore::Resumed;
use super::rewrite::{RewriteError, RewritePolicy, Rewriter};
use super::snapshot::{SnapshotPolicy, Snapshots};
use crate::local::SnapshotDir;
use crate::plan::Pipeline;
use crate::stream::{Delta, ShardCount, StateLog};

/// How logged state is looked after.
#[derive(Clone, Debug, Default)]
pub struct UpkeepOptions {
    /// When a shard's state is written to the log again.
    pub rewrite: RewritePolicy,
    /// Where local snapshots are kept; none: nowhere.
    pub snapshots: Option<SnapshotDir>,
    /// When they are written.
    pub snapshot: SnapshotPolicy,
}

/// Looks after the logged state of a running pipeline.
pub(super) struct Upkeep {
    pipeline: Arc<Pipeline>,
    n_shards: ShardCount,
    options: UpkeepOptions,
    rewriter: Rewriter,
    /// Made after the first restore.
    snapshots: Option<Snapshots>,
    log_began_ms: Option<i64>,
}

impl Upkeep {
    pub(super) fn new(pipeline: Arc<Pipeline>, n_shards: ShardCount, options: UpkeepOptions) -> Self {
        let rewriter = Rewriter::new(n_shards, options.rewrite);
        Self { pipeline, n_shards, options, rewriter, snapshots: None, log_began_ms: None }
    }

    /// Where snapshots are read from.
    pub(super) fn snapshot_dir(&self) -> Option<&SnapshotDir> {
        self.options.snapshots.as_ref()
    }

    /// Begins anew after a restore.
    pub(super) fn restored(&mut self, resumed: &Resumed, log: &dyn StateLog) {
        self.log_began_ms = resumed.log_began_ms;
        self.rewriter.restored(&resumed.log_bytes);
        if let (None, Some(dir)) = (&self.snapshots, &self.options.snapshots)
            && let Some(follower) = log.follower()
        {
            let (pipeline, policy) = (self.pipeline.clone(), self.options.snapshot);
            let started = Snapshots::start(pipeline, self.n_shards, dir.clone(), policy, follower);
            self.snapshots =
                started.inspect_err(|error| tracing::warn!(%error, "no local snapshots: no thread for them")).ok();
        }
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.restored(resumed.new_bytes.iter().map(|(shard, n_bytes)| (*shard, *n_bytes)));
        }
    }

    /// The wall clock of the log's first epoch, which this one may be.
    pub(super) fn log_began_ms(&mut self, clock_ms: i64) -> i64 {
        *self.log_began_ms.get_or_insert(clock_ms)
    }

    /// What an epoch logs beside its own deltas, behind them.
    pub(super) fn slices(
        &mut self,
        epoch: u64,
        dataflow: &Dataflow,
        codec: &DeltaCodec,
    ) -> Result<Vec<Delta>, RewriteError> {
        self.rewriter.slices(epoch, &self.pipeline, dataflow, codec)
    }

    /// Takes a committed epoch into account. Returns whether the next one must say again what pipeline this is.
    pub(super) fn committed(
        &mut self,
        epoch: u64,
        logged: &BTreeMap<u32, u64>,
        dataflow: &Dataflow,
        log: &mut dyn StateLog,
    ) -> Result<bool, RewriteError> {
        let advanced = self.rewriter.committed(epoch, logged, &self.pipeline, dataflow, log)?;
        if let (Some(snapshots), Some(log_began_ms)) = (&mut self.snapshots, self.log_began_ms) {
            logged.iter().for_each(|(shard, n_bytes)| snapshots.logged(*shard, *n_bytes));
            if let Some(shard) = advanced.cut {
                snapshots.outdated(shard);
            }
            snapshots.advance(log_began_ms);
        }
        Ok(advanced.describes_pipeline)
    }
}

/// How many bytes of deltas each shard has.
pub(super) fn bytes_by_shard(deltas: &[Delta]) -> BTreeMap<u32, u64> {
    let mut bytes = BTreeMap::new();
    for delta in deltas {
        *bytes.entry(delta.shard).or_default() += delta.bytes.len() as u64;
    }
    bytes
}
