//! Keeps the state log bounded: a shard whose deltas have outgrown its state is written to the log again, in slices.
//!
//! A pass asks where the shard's log ends, then writes one slice an epoch, beside the epoch's own deltas. What was committed
//! after that end is a complete log once the last slice is committed; only then what lies before the end is deleted. So the
//! log is complete at any time, and a pass that a crash cuts short has cost nothing but its slices.

use std::collections::BTreeMap;

use super::dataflow::{Dataflow, DataflowError};
use super::delta::{DeltaCodec, DeltaError, Logged};
use super::slices::SliceLimit;
use crate::metrics;
use crate::operators::Operator;
use crate::plan::{Pipeline, Relation, RelationId};
use crate::stream::{Delta, ShardCount, StateLog};

/// So many slots of an operator tell how large its rows are in the log.
const SAMPLE_SLOTS: usize = 256;

/// When a shard's state is written to the log again, and how much of it with each epoch.
#[derive(Clone, Copy, Debug)]
pub struct RewritePolicy {
    /// Not before so many bytes of deltas came since the last time.
    pub bytes_min: u64,
    /// At most so much with each epoch.
    pub slice: SliceLimit,
}

impl Default for RewritePolicy {
    fn default() -> Self {
        Self { bytes_min: 1 << 20, slice: SliceLimit::default() }
    }
}

/// Why a shard's state could not be written again.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// An operator could not tell its state.
    #[error(transparent)]
    Dataflow(#[from] DataflowError),
    /// A slice could not be encoded.
    #[error(transparent)]
    Delta(#[from] DeltaError),
}

/// Decides which shard is written again, and writes it.
#[derive(Debug)]
pub(super) struct Rewriter {
    policy: RewritePolicy,
    shards: Vec<ShardLog>,
    stage: Stage,
}

/// The log of one shard.
#[derive(Clone, Copy, Debug, Default)]
struct ShardLog {
    /// Bytes of deltas since the state was last written as a whole.
    n_bytes: u64,
    /// It is looked into when they are so many.
    n_bytes_checked: u64,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// The end of a shard's log was asked for.
    Asked(u32),
    Writing(Pass),
}

/// One shard on its way into the log.
#[derive(Debug)]
struct Pass {
    shard: u32,
    /// What lies before this offset is not needed once the pass is committed.
    before: i64,
    /// The next slice.
    relation: RelationId,
    slot: usize,
    /// Bytes of slices, and of all that was logged since the pass began.
    n_slice_bytes: u64,
    n_bytes: u64,
    /// The epoch with the last slice.
    last_epoch: Option<u64>,
}

/// What a committed epoch has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Advanced {
    /// Shard 0 is about to be cut off, so that the next epoch must say again what pipeline this is.
    pub(super) describes_pipeline: bool,
    /// The shard of which the log was cut.
    pub(super) cut: Option<u32>,
}

impl Rewriter {
    pub(super) fn new(n_shards: ShardCount, policy: RewritePolicy) -> Self {
        Self { policy, shards: vec![ShardLog::default(); n_shards.0 as usize], stage: Stage::Idle }
    }

    /// Begins anew with what the log of each shard holds; a pass that was under way is given up.
    pub(super) fn restored(&mut self, log_bytes: &BTreeMap<u32, u64>) {
        self.stage = Stage::Idle;
        for (shard, log) in (0..).zip(&mut self.shards) {
            let n_bytes = log_bytes.get(&shard).copied().unwrap_or_default();
            *log = ShardLog { n_bytes, n_bytes_checked: self.policy.bytes_min };
        }
    }

    /// What an epoch writes again, behind its own deltas.
    pub(super) fn slices(
        &mut self,
        epoch: u64,
        pipeline: &Pipeline,
        dataflow: &Dataflow,
        codec: &DeltaCodec,
    ) -> Result<Vec<Delta>, RewriteError> {
        let Stage::Writing(pass) = &mut self.stage else { return Ok(Vec::new()) };
        if pass.last_epoch.is_some() {
            return Ok(Vec::new());
        }
        let mut n_slots_left = self.policy.slice.rows.max(1);
        while n_slots_left > 0 {
            let Some(relation) = pipeline.relations.get(pass.relation) else {
                pass.last_epoch = Some(epoch);
                return Ok(Vec::new());
            };
            let operator = dataflow.operator(pass.relation, pass.shard).filter(|_| relation.operator.is_logged());
            let n_slots = operator.map_or(0, |o| self.policy.slice.slots(o)).min(n_slots_left);
            let slots = pass.slot..pass.slot.saturating_add(n_slots);
            let slice = operator.map_or(Ok(None), |o| o.slice(slots.clone()));
            let slice = slice.map_err(|source| DataflowError { relation: relation.name.to_string(), source })?;
            let Some(batch) = slice else {
                (pass.relation, pass.slot) = (pass.relation + 1, 0);
                continue;
            };
            pass.slot = slots.end;
            n_slots_left -= n_slots;
            if batch.num_rows() > 0 {
                let deltas = codec.encode(pass.shard, &state_of(relation, batch))?;
                pass.n_slice_bytes += deltas.iter().map(|d| d.bytes.len() as u64).sum::<u64>();
                return Ok(deltas);
            }
        }
        Ok(Vec::new())
    }

    /// Takes a committed epoch into account: `logged` has its bytes of deltas by shard.
    pub(super) fn committed(
        &mut self,
        epoch: u64,
        logged: &BTreeMap<u32, u64>,
        pipeline: &Pipeline,
        dataflow: &Dataflow,
        log: &mut dyn StateLog,
    ) -> Result<Advanced, RewriteError> {
        for (shard, n_bytes) in logged {
            if let Some(log) = self.shards.get_mut(*shard as usize) {
                log.n_bytes += n_bytes;
            }
            if let Stage::Writing(pass) = &mut self.stage
                && pass.shard == *shard
            {
                pass.n_bytes += n_bytes;
            }
        }
        match &self.stage {
            Stage::Writing(pass) if pass.last_epoch.is_some_and(|last| last <= epoch) => {
                let shard = pass.shard;
                log.cut(shard, pass.before);
                metrics::count_rewrite();
                tracing::debug!(shard, n_bytes = pass.n_slice_bytes, "wrote the state of a shard to the log again");
                if let Some(kept) = self.shards.get_mut(shard as usize) {
                    kept.n_bytes = pass.n_bytes.saturating_sub(pass.n_slice_bytes);
                    kept.n_bytes_checked = self.policy.bytes_min.max(2 * pass.n_slice_bytes);
                }
                self.stage = Stage::Idle;
                Ok(Advanced { cut: Some(shard), ..Advanced::default() })
            }
            Stage::Writing(_) => Ok(Advanced::default()),
            Stage::Asked(shard) => Ok(self.begin(*shard, log)),
            Stage::Idle => {
                if let Some(shard) = self.due(pipeline, dataflow)? {
                    log.ask_end(shard);
                    self.stage = Stage::Asked(shard);
                }
                Ok(Advanced::default())
            }
        }
    }

    /// Begins a pass when the end of its shard's log is known.
    fn begin(&mut self, shard: u32, log: &mut dyn StateLog) -> Advanced {
        // An answer may be left over from before a restore: its end is an earlier one, which does no harm.
        let Some((_, end)) = log.take_ends().into_iter().find(|(of, _)| *of == shard) else {
            return Advanced::default();
        };
        match end {
            Some(before) => {
                self.stage = Stage::Writing(Pass {
                    shard,
                    before,
                    relation: 0,
                    slot: 0,
                    n_slice_bytes: 0,
                    n_bytes: 0,
                    last_epoch: None,
                });
                Advanced { describes_pipeline: shard == 0, ..Advanced::default() }
            }
            None => {
                if let Some(log) = self.shards.get_mut(shard as usize) {
                    log.n_bytes_checked = log.n_bytes + self.policy.bytes_min;
                }
                self.stage = Stage::Idle;
                Advanced::default()
            }
        }
    }

    /// A shard whose deltas are more than twice its state. Looks into one shard at most, the one with the longest log.
    fn due(&mut self, pipeline: &Pipeline, dataflow: &Dataflow) -> Result<Option<u32>, RewriteError> {
        let bytes_min = self.policy.bytes_min;
        let has_grown = |(_, log): &(u32, &mut ShardLog)| log.n_bytes > log.n_bytes_checked.max(bytes_min);
        let grown = (0..).zip(&mut self.shards).filter(has_grown).max_by_key(|(_, log)| log.n_bytes);
        let Some((shard, log)) = grown else { return Ok(None) };
        let state_bytes = state_bytes(pipeline, dataflow, shard)?;
        if log.n_bytes > 2 * state_bytes {
            return Ok(Some(shard));
        }
        // The state grows with its deltas, so it is not looked into again at once.
        log.n_bytes_checked = (2 * state_bytes).max(log.n_bytes + log.n_bytes / 8);
        Ok(None)
    }
}

fn state_of(relation: &Relation, batch: arrow::record_batch::RecordBatch) -> Logged {
    Logged::State { operator_id: relation.operator_id.clone(), relation: relation.name.to_string(), batch }
}

/// About how many bytes the logged state of a shard takes in the log, judged by a few rows of each operator.
fn state_bytes(pipeline: &Pipeline, dataflow: &Dataflow, shard: u32) -> Result<u64, RewriteError> {
    let codec = DeltaCodec::new(usize::MAX);
    let mut n_bytes = 0;
    for (id, relation) in pipeline.relations.iter().enumerate() {
        let operator: Option<&dyn Operator> = dataflow.operator(id, shard).filter(|_| relation.operator.is_logged());
        let Some(operator) = operator else { continue };
        let sample = operator.slice(0..SAMPLE_SLOTS);
        let sample = sample.map_err(|source| DataflowError { relation: relation.name.to_string(), source })?;
        let Some(sample) = sample.filter(|rows| rows.num_rows() > 0) else { continue };
        let n_sampled = sample.num_rows() as u64;
        let deltas = codec.encode(shard, &state_of(relation, sample))?;
        let n_sample_bytes: u64 = deltas.iter().map(|d| d.bytes.len() as u64).sum();
        n_bytes += n_sample_bytes * (operator.state_size().rows as u64).max(n_sampled) / n_sampled;
    }
    Ok(n_bytes)
}
