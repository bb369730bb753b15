//! Rows that are forgotten, not deleted: their disappearance runs through the relations, and nothing leaves a sink.
//!
//! It goes before the changes of an epoch, by the watermarks before it: by these a record is late, too. So what was
//! forgotten cannot come again.

use std::collections::{BTreeMap, BTreeSet};

use super::outputs::join;
use super::{Cell, Dataflow, DataflowError, EpochTimes, Turn, Upstream, context, divide, failed, inputs};
use crate::operators::{EpochContext, OperatorError};
use crate::plan::{Expiry, OperatorPlan, Pipeline, Relation, RelationId};
use crate::stream::{ChangeBatch, Watermark};

/// After this many rows an epoch forgets no further bucket.
const FORGET_ROWS: usize = 100_000;

/// The rows of a relation that disappear, by the table whose rows they follow from.
pub(in super::super) type Gone = BTreeMap<RelationId, ChangeBatch>;

impl Dataflow {
    /// What an epoch of these times is.
    pub(super) fn next_turn(&self, pipeline: &Pipeline, times: &EpochTimes) -> Turn {
        let may_forget = times.loaded && self.was_loaded && self.is_any_due(pipeline, times);
        // Before all was handed on, nobody knows what a row that leaves has led to. Where keys change all the time, there is
        // always one that waits for its next turn; these go before it.
        let waits = |relation: &Relation, shards: &Vec<super::Shard>, is_pace: bool| {
            matches!(relation.operator, OperatorPlan::Pace(_)) == is_pace
                && shards.iter().flatten().any(|shard| shard.n_waiting() > 0)
        };
        let any_waits = |is_pace: bool| {
            let relations = pipeline.relations.iter().zip(&self.shards);
            relations.into_iter().any(|(relation, shards)| waits(relation, shards, is_pace))
        };
        let may_forget = may_forget && !any_waits(false);
        let hurries = may_forget && any_waits(true);
        Turn { loaded: self.turns_loaded(times), forgets: may_forget && !hurries, hurries }
    }

    /// Whether rows of any table are due to be forgotten.
    fn is_any_due(&self, pipeline: &Pipeline, times: &EpochTimes) -> bool {
        pipeline.retention.expiries.iter().any(|(source, expiry)| {
            let watermark = before(pipeline, *source, times, self.reached.get(*source).copied());
            self.shards
                .get(*source)
                .and_then(|shards| oldest(shards))
                .is_some_and(|oldest| expiry.due_bucket(oldest, watermark).is_some())
        })
    }
}

impl Cell<'_> {
    /// Forgets what is due, or follows from what is forgotten upstream.
    pub(super) fn forget(
        &mut self,
        pipeline: &Pipeline,
        upstream: &Upstream<'_, '_>,
        times: &EpochTimes,
    ) -> Result<Gone, DataflowError> {
        let relation = &pipeline.relations[self.id];
        let mut gone = Gone::new();
        if let Some(expiry) = pipeline.retention.expiries.get(&self.id) {
            let watermark = before(pipeline, self.id, times, Some(*self.reached));
            let own = self.forget_due(relation, expiry, watermark).map_err(|e| failed(relation, e))?;
            gone.insert(self.id, own);
        }
        let leaves = relation.inputs.iter().flat_map(|i| &i.segment.leaves);
        let sources: BTreeSet<RelationId> =
            leaves.filter_map(|leaf| (upstream.gone)(*leaf)).flat_map(BTreeMap::keys).copied().collect();
        for source in sources {
            let of_leaf = |leaf: RelationId| (upstream.gone)(leaf).and_then(|gone| gone.get(&source));
            let rows = inputs(relation, None, &of_leaf).map_err(|e| failed(relation, e))?;
            let ctx = context(pipeline, self.id, times, upstream.reached);
            let passes = matches!(relation.operator, OperatorPlan::FrozenRows(_))
                && pipeline.retention.expiries.get(&source).is_some_and(|e| !e.ends_at.contains(&self.id));
            let follows = self.forget_rows(relation, rows, &ctx, passes).map_err(|e| failed(relation, e))?;
            gone.insert(source, follows);
        }
        gone.retain(|_, rows| !rows.is_empty());
        Ok(gone)
    }

    /// Takes the rows that are due out of all shards, bucket by bucket.
    fn forget_due(
        &mut self,
        relation: &Relation,
        expiry: &Expiry,
        watermark: Watermark,
    ) -> Result<ChangeBatch, OperatorError> {
        let (mut gone, mut n_rows, mut last_ms) = (Vec::new(), 0, i64::MIN);
        while let Some(before_ms) = oldest(self.shards).and_then(|oldest| expiry.due_bucket(oldest, watermark)) {
            if n_rows >= FORGET_ROWS || before_ms <= last_ms {
                break;
            }
            last_ms = before_ms;
            for shard in self.shards.iter_mut().flatten() {
                gone.extend(shard.forget_before(before_ms)?);
            }
            n_rows = gone.iter().map(ChangeBatch::len).sum();
        }
        Ok(ChangeBatch::concat(&relation.schema, &gone)?)
    }

    /// What the relation makes of disappearances.
    fn forget_rows(
        &mut self,
        relation: &Relation,
        mut inputs: Vec<ChangeBatch>,
        ctx: &EpochContext,
        passes: bool,
    ) -> Result<ChangeBatch, OperatorError> {
        let empty = || ChangeBatch::empty(relation.schema.clone());
        if inputs.iter().all(ChangeBatch::is_empty) {
            return Ok(empty());
        }
        if passes || self.shards.iter().all(Option::is_none) {
            return Ok(inputs.pop().unwrap_or_else(empty));
        }
        let mut outputs = Vec::new();
        for (operator, inputs) in self.shards.iter_mut().zip(divide(relation, &inputs, self.n_shards)?) {
            let Some(operator) = operator.as_mut().filter(|_| inputs.iter().any(|i| !i.is_empty())) else { continue };
            outputs.push(operator.forget(&inputs, ctx)?.into());
        }
        Ok(join(relation, outputs)?.changes)
    }
}

/// The watermark of a relation before an epoch: of a source that of the times, else what it had reached.
fn before(pipeline: &Pipeline, id: RelationId, times: &EpochTimes, reached: Option<Watermark>) -> Watermark {
    let is_source = pipeline.relations.get(id).is_none_or(|relation| relation.inputs.is_empty());
    let known = if is_source { times.before.get(id).copied() } else { reached };
    known.unwrap_or(Watermark::MIN)
}

/// The event time that no row of any shard goes before.
fn oldest(shards: &[super::Shard]) -> Option<i64> {
    shards.iter().flatten().filter_map(|shard| shard.oldest()).min()
}
