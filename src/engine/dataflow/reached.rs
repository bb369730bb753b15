//! How far event time has got, relation by relation: the watermarks of sources, held back by what operators keep.

use super::{EpochTimes, Reached, Shard};
use crate::operators::{EpochContext, Operator};
use crate::plan::{Input, Pipeline, RelationId};
use crate::stream::Watermark;

/// What an operator may know of an epoch. Its inputs have the smallest watermark of the relations that they read.
///
/// `reached` tells the watermarks of relations; where it does not, they are those of the epoch's times.
pub(super) fn context(
    pipeline: &Pipeline,
    id: RelationId,
    times: &EpochTimes,
    reached: &dyn Fn(RelationId) -> Option<Reached>,
) -> EpochContext {
    debug_assert_eq!(pipeline.relations.len(), times.after.len());
    let of_times = |id: RelationId| {
        let of = |watermarks: &[Watermark]| watermarks.get(id).copied().unwrap_or(Watermark::MIN);
        Reached { before: of(&times.before), after: of(&times.after) }
    };
    let inputs = pipeline.relations.get(id).map(|relation| relation.inputs.as_slice()).unwrap_or_default();
    let of_input = |input: &Input| {
        let leaves = input.segment.leaves.iter().map(|leaf| reached(*leaf).unwrap_or_else(|| of_times(*leaf)));
        let none = Reached { before: Watermark::MAX, after: Watermark::MAX };
        leaves.fold(none, |a, b| Reached { before: a.before.min(b.before), after: a.after.min(b.after) })
    };
    let of_inputs: Vec<Reached> =
        if inputs.is_empty() { vec![of_times(id)] } else { inputs.iter().map(of_input).collect() };
    EpochContext {
        watermarks_before: of_inputs.iter().map(|of| of.before).collect(),
        watermarks_after: of_inputs.iter().map(|of| of.after).collect(),
        loaded: times.loaded,
        clock_ms: times.clock_ms,
        hand_over_max: if times.held_back.contains(&id) { 0 } else { times.hand_over_max },
        recomputes: times.recomputes,
    }
}

/// Whether an operator has something to do without input.
pub(super) fn is_due(operator: &dyn Operator, ctx: &EpochContext) -> bool {
    operator.is_due(ctx)
        || (ctx.may_hand_over() > 0 && operator.next_hand_over().is_some_and(|at_ms| at_ms <= ctx.clock_ms))
}

/// The watermark of a relation: the smallest of its shards; that of its inputs where it keeps no state.
pub(super) fn of_relation(shards: &[Shard], ctx: &EpochContext) -> Watermark {
    let of_shards = shards.iter().flatten().map(|shard| shard.watermark(ctx)).min();
    of_shards.unwrap_or_else(|| ctx.watermark_after())
}

/// The watermark of every relation at the end of `times`, as operators stand now.
pub(super) fn of_all(pipeline: &Pipeline, shards: &[Vec<Shard>], times: &EpochTimes) -> Vec<Watermark> {
    let mut reached: Vec<Watermark> = Vec::with_capacity(shards.len());
    for (id, shards) in shards.iter().enumerate() {
        let of = |leaf: RelationId| reached.get(leaf).map(|after| Reached { before: *after, after: *after });
        let ctx = context(pipeline, id, times, &of);
        reached.push(of_relation(shards, &ctx));
    }
    reached
}
