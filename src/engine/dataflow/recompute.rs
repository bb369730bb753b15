//! Derived state computed anew: after a restore, and for who looks into relations.

use arrow::record_batch::RecordBatch;

use super::reached::{context, of_all};
use super::{Dataflow, DataflowError, EpochTimes, failed, inputs};
use crate::operators::{OperatorError, StateSize};
use crate::plan::{OperatorPlan, Pipeline, RelationId};
use crate::stream::{ChangeBatch, Watermark};

/// What a recomputation reads, and who watches it.
pub(in super::super) trait Recomputation {
    /// Whether a relation is computed at all.
    fn is_needed(&self, _relation: RelationId) -> bool {
        true
    }

    /// A part of what a relation holds, where that is handed in; none where it is what its operators hold.
    fn contents(&mut self, _relation: RelationId, _part: usize) -> Option<Option<ChangeBatch>> {
        None
    }

    /// Is told what a relation gave out, and how much its operators hold since. An error ends the recomputation.
    fn computed(
        &mut self,
        _relation: RelationId,
        _changes: &ChangeBatch,
        _size: &dyn Fn() -> StateSize,
    ) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// All of it, from what was restored.
struct AsRestored;

impl Recomputation for AsRestored {}

impl Dataflow {
    /// Applies a delta to the single shard of a relation.
    pub(in super::super) fn restore(&mut self, relation: RelationId, delta: &RecordBatch) -> Result<(), OperatorError> {
        let shard = self.shards.get_mut(relation).and_then(|shards| shards.first_mut()).and_then(Option::as_mut);
        match shard {
            Some(operator) => operator.restore(delta),
            None => Err(OperatorError::State("the relation keeps no state".into())),
        }
    }

    /// Computes the derived state anew from the contents of the logged operators, part by part. Nothing leaves.
    ///
    /// Operators whose state is logged and whose relation is a stream keep what was restored: streams have no contents,
    /// so that no row reaches them, and timers wait for the first epoch.
    pub fn recompute(&mut self, pipeline: &Pipeline, watermarks: &[Watermark]) -> Result<(), DataflowError> {
        self.recompute_with(pipeline, watermarks, &mut AsRestored)
    }

    /// The same, watched, and with contents that are handed in.
    pub(in super::super) fn recompute_with(
        &mut self,
        pipeline: &Pipeline,
        watermarks: &[Watermark],
        run: &mut dyn Recomputation,
    ) -> Result<(), DataflowError> {
        let times = EpochTimes {
            before: watermarks.to_vec(),
            after: watermarks.to_vec(),
            recomputes: true,
            ..EpochTimes::default()
        };
        for (relation, shards) in pipeline.relations.iter().zip(&mut self.shards) {
            shards.iter_mut().flatten().try_for_each(|shard| shard.restored()).map_err(|e| failed(relation, e))?;
        }
        let mut has_contents = vec![false; pipeline.relations.len()];
        for part in 0.. {
            let mut changes: Vec<ChangeBatch> = Vec::with_capacity(pipeline.relations.len());
            let mut is_last = true;
            for (id, relation) in pipeline.relations.iter().enumerate() {
                if !run.is_needed(id) {
                    changes.push(ChangeBatch::empty(relation.schema.clone()));
                    continue;
                }
                let contents = match run.contents(id, part) {
                    Some(given) => given,
                    None => self.contents(id, relation, part).map_err(|e| failed(relation, e))?,
                };
                is_last &= contents.is_none();
                has_contents[id] |= contents.is_some();
                changes.push(match contents {
                    // Rows that nothing upstream can bring back, or that have not been handed on yet, stand beside those that
                    // are derived again.
                    contents if matches!(relation.operator, OperatorPlan::FrozenRows(_) | OperatorPlan::Pace(_)) => {
                        let derived = self.derive(pipeline, id, &changes, &times)?;
                        let both: Vec<ChangeBatch> = contents.into_iter().chain([derived]).collect();
                        let both = ChangeBatch::concat(&relation.schema, &both).and_then(ChangeBatch::consolidate);
                        both.map_err(|e| failed(relation, e.into()))?
                    }
                    Some(contents) => contents,
                    None if has_contents[id] => ChangeBatch::empty(relation.schema.clone()),
                    None => self.derive(pipeline, id, &changes, &times)?,
                });
                let size = || {
                    let sizes = self.shards[id].iter().flatten().map(|shard| shard.state_size());
                    sizes.fold(StateSize::default(), |a, b| StateSize {
                        rows: a.rows + b.rows,
                        bytes: a.bytes + b.bytes,
                    })
                };
                run.computed(id, &changes[id], &size).map_err(|e| failed(relation, e))?;
            }
            if is_last {
                break;
            }
        }
        self.reached = of_all(pipeline, &self.shards, &times);
        Ok(())
    }

    /// What a relation makes of its inputs at a restore.
    fn derive(
        &mut self,
        pipeline: &Pipeline,
        id: RelationId,
        changes: &[ChangeBatch],
        times: &EpochTimes,
    ) -> Result<ChangeBatch, DataflowError> {
        let relation = &pipeline.relations[id];
        let inputs = inputs(relation, None, &|leaf| changes.get(leaf)).map_err(|e| failed(relation, e))?;
        if inputs.iter().all(ChangeBatch::is_empty) {
            return Ok(ChangeBatch::empty(relation.schema.clone()));
        }
        let ctx = context(pipeline, id, times, &|_| None);
        let Some(mut cell) = self.cells().nth(id) else { return Ok(ChangeBatch::empty(relation.schema.clone())) };
        Ok(cell.run_shards(relation, inputs, &ctx, false).map_err(|e| failed(relation, e))?.changes)
    }
}
