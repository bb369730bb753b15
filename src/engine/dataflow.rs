//! The operators of a pipeline, shard by shard, and one epoch's way through them in dependency order.

mod epoch_run;
mod forget;
mod outputs;
mod reached;
mod recompute;
mod whole;

use std::collections::BTreeSet;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

pub use self::epoch_run::{EpochRun, EpochTimes, Reached};
pub(super) use self::epoch_run::{RelationRun, Turn, Upstream};
pub(super) use self::forget::Gone;
use self::outputs::{fully_refused, join};
use self::reached::{context, is_due, of_all};
pub(super) use self::recompute::Recomputation;
use crate::fail_point;
use crate::operators::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::plan::{Distribution, Input, OperatorPlan, Pipeline, Relation, RelationId};
use crate::stream::{ChangeBatch, ShardCount, Watermark, split_by_shard};

/// Below this many input rows the shards of a relation are run one after the other: threads would cost more.
const PARALLEL_ROWS_MIN: usize = 4096;

/// One shard of a relation; none where the relation keeps no state.
type Shard = Option<Box<dyn Operator>>;

/// The operators of a pipeline.
pub struct Dataflow {
    shards: Vec<Vec<Shard>>,
    /// The watermark of each relation after the last epoch: that of its inputs, held back by what operators keep.
    reached: Vec<Watermark>,
    n_shards: ShardCount,
    n_threads: usize,
    was_loaded: bool,
}

/// The operators of one relation: what it takes to run that relation, whatever other relations do meanwhile.
pub(super) struct Cell<'a> {
    id: RelationId,
    shards: &'a mut [Shard],
    reached: &'a mut Watermark,
    n_shards: ShardCount,
    n_threads: usize,
}

/// A relation could not be computed.
#[derive(Debug, thiserror::Error)]
#[error("relation `{relation}` could not be computed")]
pub struct DataflowError {
    /// The relation.
    pub relation: String,
    /// Why.
    #[source]
    pub source: OperatorError,
}

impl Dataflow {
    /// Builds every shard of every operator, empty.
    pub fn new(pipeline: &Pipeline, n_shards: ShardCount) -> Result<Self, DataflowError> {
        // Where all rows go to shard 0 the others would have a say of their own: an aggregate of nothing is a row, too.
        let is_single = |relation: &Relation| {
            let is_constant = matches!(relation.operator, OperatorPlan::Constant(_));
            let all_single = || relation.inputs.iter().all(|i| i.distribution == Distribution::Single);
            is_constant || (!relation.inputs.is_empty() && all_single())
        };
        let build = |relation: &Relation| {
            (0..n_shards.0)
                .map(|shard| if shard > 0 && is_single(relation) { Ok(None) } else { relation.operator.build() })
                .collect::<Result<Vec<Shard>, _>>()
                .map_err(|source| failed(relation, source))
        };
        let shards = pipeline.relations.iter().map(build).collect::<Result<_, _>>()?;
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let reached = vec![Watermark::MIN; pipeline.relations.len()];
        Ok(Self { shards, reached, n_shards, n_threads, was_loaded: false })
    }

    /// The number of shards.
    pub fn n_shards(&self) -> ShardCount {
        self.n_shards
    }

    /// Runs one epoch. `sources` has one entry a relation: the decoded rows of sources, none for all others.
    ///
    /// A relation without input rows and without a due timer is not run, unless `loaded` turns true.
    pub fn run(
        &mut self,
        pipeline: &Pipeline,
        sources: Vec<Option<ChangeBatch>>,
        times: &EpochTimes,
    ) -> Result<EpochRun, DataflowError> {
        self.run_telling(pipeline, sources, times, &|| {})
    }

    /// The same, and calls `went_on` after each relation: an epoch that derives millions of rows again takes minutes.
    pub(super) fn run_telling(
        &mut self,
        pipeline: &Pipeline,
        mut sources: Vec<Option<ChangeBatch>>,
        times: &EpochTimes,
        went_on: &dyn Fn(),
    ) -> Result<EpochRun, DataflowError> {
        let mut run = EpochRun::new(pipeline);
        let turn = self.next_turn(pipeline, times);
        for mut cell in self.cells() {
            let id = cell.id;
            let source = sources.get_mut(id).and_then(Option::take);
            let upstream = Upstream {
                changes: &|leaf| run.changes.get(leaf),
                reached: &|leaf| run.reached.get(leaf).copied(),
                gone: &|leaf| run.gone.get(leaf),
            };
            let step = cell.run(pipeline, source, &upstream, times, turn)?;
            run.add(id, step);
            went_on();
        }
        self.ran(times);
        Ok(run)
    }

    /// Whether the first load is complete with an epoch of these times, and was not before.
    pub(super) fn turns_loaded(&self, times: &EpochTimes) -> bool {
        times.loaded && !self.was_loaded
    }

    /// Says that epochs were run through [`Dataflow::cells`], the last of them with these times.
    pub(super) fn ran(&mut self, times: &EpochTimes) {
        self.was_loaded |= times.loaded;
    }

    /// The relations, each to be run on its own: an epoch after those it reads, and its epochs one after the other.
    pub(super) fn cells(&mut self) -> impl Iterator<Item = Cell<'_>> {
        let (n_shards, n_threads) = (self.n_shards, self.n_threads);
        let shards = self.shards.iter_mut().zip(&mut self.reached).enumerate();
        shards.map(move |(id, (shards, reached))| Cell { id, shards, reached, n_shards, n_threads })
    }

    /// Whether any operator has something to do at these watermarks without input.
    pub fn is_due(&self, pipeline: &Pipeline, times: &EpochTimes) -> bool {
        let turn = self.next_turn(pipeline, times);
        if turn.loaded || turn.forgets || turn.hurries {
            return true;
        }
        let reached = of_all(pipeline, &self.shards, times);
        let of = |id: RelationId| reached.get(id).map(|after| Reached { before: *after, after: *after });
        self.shards.iter().enumerate().any(|(id, shards)| {
            let ctx = context(pipeline, id, times, &of);
            shards.iter().flatten().any(|shard| is_due(shard.as_ref(), &ctx))
        })
    }

    /// Lets time pass without an epoch: nothing came and nothing is due. Returns the watermark of each relation.
    pub(super) fn pass(&mut self, pipeline: &Pipeline, times: &EpochTimes) -> &[Watermark] {
        self.reached = of_all(pipeline, &self.shards, times);
        &self.reached
    }

    /// When (clock, ms) rows that wait may be handed over; none if no row waits, held back ones aside.
    pub fn next_hand_over(&self, held_back: &BTreeSet<RelationId>) -> Option<i64> {
        let relations = self.shards.iter().enumerate().filter(|(id, _)| !held_back.contains(id));
        relations.flat_map(|(_, shards)| shards.iter().flatten()).filter_map(|s| s.next_hand_over()).min()
    }

    /// How many keys of a relation wait to be handed over.
    pub fn n_waiting(&self, id: RelationId) -> usize {
        self.shards.get(id).into_iter().flatten().flatten().map(|s| s.n_waiting()).sum()
    }

    /// Takes back what a relation handed over in the epoch just run: its rows wait as differences.
    pub fn take_back(&mut self, pipeline: &Pipeline, id: RelationId) -> Result<(), DataflowError> {
        let (Some(relation), Some(shards)) = (pipeline.relations.get(id), self.shards.get_mut(id)) else {
            return Ok(());
        };
        shards.iter_mut().flatten().try_for_each(|s| s.take_back()).map_err(|e| failed(relation, e))
    }

    /// What each shard of each logged operator changed since the last call: relation, shard, delta.
    pub fn take_deltas(&mut self, pipeline: &Pipeline) -> Result<Vec<(RelationId, u32, RecordBatch)>, DataflowError> {
        let mut deltas = Vec::new();
        for (id, (relation, shards)) in pipeline.relations.iter().zip(&mut self.shards).enumerate() {
            if !relation.operator.is_logged() {
                continue;
            }
            for (shard, operator) in shards.iter_mut().enumerate() {
                let Some(operator) = operator else { continue };
                if let Some(delta) = operator.take_delta().map_err(|e| failed(relation, e))? {
                    deltas.push((id, shard as u32, delta));
                }
            }
        }
        Ok(deltas)
    }

    /// The operators of each shard, by relation; none where a relation keeps no state there.
    pub(super) fn by_shard(&mut self) -> Vec<Vec<Option<&mut dyn Operator>>> {
        let mut by_shard: Vec<Vec<Option<&mut dyn Operator>>> = Vec::new();
        by_shard.resize_with(self.n_shards.0 as usize, Vec::new);
        for shards in &mut self.shards {
            for (operators, operator) in by_shard.iter_mut().zip(shards) {
                operators.push(operator.as_mut().map(|o| o.as_mut() as &mut dyn Operator));
            }
        }
        by_shard
    }

    /// The operator of one shard of a relation.
    pub(super) fn operator(&self, relation: RelationId, shard: u32) -> Option<&dyn Operator> {
        self.shards.get(relation)?.get(shard as usize)?.as_deref()
    }

    /// How many changes came for buckets of a relation whose final rows had left already, since the last restore.
    pub(super) fn changes_after_close(&self, id: RelationId) -> u64 {
        self.shards.get(id).into_iter().flatten().flatten().map(|s| s.changes_after_close()).sum()
    }

    /// The state that each relation holds over its shards.
    pub fn state_sizes(&self) -> Vec<StateSize> {
        let add = |a: StateSize, b: StateSize| StateSize { rows: a.rows + b.rows, bytes: a.bytes + b.bytes };
        let of_relation =
            |shards: &Vec<Shard>| shards.iter().flatten().map(|s| s.state_size()).fold(StateSize::default(), add);
        self.shards.iter().map(of_relation).collect()
    }

    /// How many keys of each relation have more than one row, so that the greatest stands for them.
    pub fn double_keys(&self) -> Vec<u64> {
        self.shards.iter().map(|shards| shards.iter().flatten().map(|s| s.double_keys()).sum()).collect()
    }

    /// A part of the rows of a logged table, over all shards; none if no shard has such a part.
    fn contents(&self, id: RelationId, relation: &Relation, part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        if !relation.operator.is_logged() && !matches!(relation.operator, OperatorPlan::Constant(_)) {
            return Ok(None);
        }
        let mut of_shards = Vec::new();
        for operator in self.shards.get(id).into_iter().flatten().flatten() {
            of_shards.extend(operator.contents(part)?);
        }
        if of_shards.is_empty() {
            return Ok(None);
        }
        Ok(Some(ChangeBatch::concat(&relation.schema, &of_shards)?))
    }
}

impl Cell<'_> {
    /// The relation.
    pub(super) fn id(&self) -> RelationId {
        self.id
    }

    /// Runs the relation in one epoch. `upstream` says what those did that it reads.
    pub(super) fn run(
        &mut self,
        pipeline: &Pipeline,
        source: Option<ChangeBatch>,
        upstream: &Upstream<'_, '_>,
        times: &EpochTimes,
        turn: Turn,
    ) -> Result<RelationRun, DataflowError> {
        let relation = &pipeline.relations[self.id];
        let gone = if turn.forgets { self.forget(pipeline, upstream, times)? } else { Gone::new() };
        let inputs = inputs(relation, source, upstream.changes).map_err(|e| failed(relation, e))?;
        let rows_in = inputs.iter().map(|i| i.len() as u64).sum();
        let mut ctx = context(pipeline, self.id, times, upstream.reached);
        if turn.hurries && matches!(relation.operator, OperatorPlan::Pace(_)) {
            ctx.clock_ms = i64::MAX;
        }
        ctx.hand_over_max = ctx.hand_over_max.div_ceil(self.n_shards.0.max(1) as usize);
        fail_point::reach("execute.relation");
        let output = self.run_shards(relation, inputs, &ctx, turn.loaded).map_err(|e| failed(relation, e))?;
        let after = reached::of_relation(self.shards, &ctx);
        let before = std::mem::replace(self.reached, after);
        Ok(RelationRun {
            changes: output.changes,
            refused: output.refused,
            duplicate: output.duplicate,
            rows_in,
            reached: Reached { before, after },
            gone,
        })
    }

    /// Drops what the operators would log, where nothing is logged.
    pub(super) fn drop_deltas(&mut self, pipeline: &Pipeline) -> Result<(), DataflowError> {
        let relation = &pipeline.relations[self.id];
        if relation.operator.is_logged() {
            for operator in self.shards.iter_mut().flatten() {
                operator.take_delta().map_err(|e| failed(relation, e))?;
            }
        }
        Ok(())
    }

    /// Divides the inputs over the shards, runs those that have something to do, and joins what they give.
    fn run_shards(
        &mut self,
        relation: &Relation,
        mut inputs: Vec<ChangeBatch>,
        ctx: &EpochContext,
        turns_loaded: bool,
    ) -> Result<Joined, OperatorError> {
        let shards = &mut *self.shards;
        if shards.iter().all(Option::is_none) {
            // No state: the rows of the single input are the rows of the relation.
            let changes = inputs.pop().unwrap_or_else(|| ChangeBatch::empty(relation.schema.clone()));
            return Ok(Joined { changes, refused: Vec::new(), duplicate: Vec::new() });
        }
        let divided = divide(relation, &inputs, self.n_shards)?;
        let n_rows: usize = inputs.iter().map(ChangeBatch::len).sum();
        let mut tasks: Vec<(&mut Box<dyn Operator>, Vec<ChangeBatch>)> = Vec::new();
        for (operator, inputs) in shards.iter_mut().zip(divided) {
            let Some(operator) = operator else { continue };
            let has_rows = inputs.iter().any(|i| !i.is_empty());
            if has_rows || turns_loaded || is_due(operator.as_ref(), ctx) {
                tasks.push((operator, inputs));
            }
        }
        let n_threads = if n_rows < PARALLEL_ROWS_MIN { 1 } else { self.n_threads.min(tasks.len()) };
        let outputs = process(tasks, ctx, n_threads)?;
        let joined = join(relation, outputs)?;
        Ok(Joined {
            refused: fully_refused(joined.late, &inputs),
            changes: joined.changes,
            duplicate: joined.duplicate,
        })
    }
}

/// The outputs of all shards of a relation, joined.
struct Joined {
    changes: ChangeBatch,
    refused: Vec<u64>,
    duplicate: Vec<u64>,
}

fn failed(relation: &Relation, source: OperatorError) -> DataflowError {
    DataflowError { relation: relation.name.to_string(), source }
}

/// The rows of each input: of a source what was decoded, else what its segment makes of this epoch's changes.
fn inputs<'c>(
    relation: &Relation,
    source: Option<ChangeBatch>,
    changes: &dyn Fn(RelationId) -> Option<&'c ChangeBatch>,
) -> Result<Vec<ChangeBatch>, OperatorError> {
    if relation.inputs.is_empty() {
        return Ok(vec![source.unwrap_or_else(|| ChangeBatch::empty(relation.schema.clone()))]);
    }
    let rows_of = |input: &Input| {
        let is_empty = |leaf: &RelationId| changes(*leaf).is_none_or(ChangeBatch::is_empty);
        if input.segment.leaves.iter().all(is_empty) {
            return Ok(ChangeBatch::empty(input.segment.schema.clone()));
        }
        input.segment.run(changes)
    };
    relation.inputs.iter().map(rows_of).collect()
}

/// For each shard its part of each input.
fn divide(
    relation: &Relation,
    inputs: &[ChangeBatch],
    n_shards: ShardCount,
) -> Result<Vec<Vec<ChangeBatch>>, ArrowError> {
    let mut divided: Vec<Vec<ChangeBatch>> = vec![Vec::with_capacity(inputs.len()); n_shards.0 as usize];
    for (idx, rows) in inputs.iter().enumerate() {
        let distribution = match (relation.inputs.get(idx), &relation.operator) {
            (Some(input), _) => input.distribution.clone(),
            (None, OperatorPlan::SourceTable(_, spec)) => Distribution::Hash(spec.key.clone()),
            (None, OperatorPlan::SourceStream(_, Some(spec))) => Distribution::Hash(spec.key.clone()),
            (None, _) => Distribution::Single,
        };
        let empty = || ChangeBatch::empty(rows.rows.schema());
        let parts = match distribution {
            _ if rows.is_empty() => divided.iter().map(|_| empty()).collect(),
            Distribution::Hash(columns) => split_by_shard(rows, &columns, n_shards)?,
            Distribution::Broadcast => divided.iter().map(|_| rows.clone()).collect(),
            Distribution::Single => {
                divided.iter().enumerate().map(|(s, _)| if s == 0 { rows.clone() } else { empty() }).collect()
            }
        };
        for (shard, part) in divided.iter_mut().zip(parts) {
            shard.push(part);
        }
    }
    Ok(divided)
}

/// Runs operators, each on its inputs; outputs come in the order of the tasks, whatever the number of threads.
fn process(
    mut tasks: Vec<(&mut Box<dyn Operator>, Vec<ChangeBatch>)>,
    ctx: &EpochContext,
    n_threads: usize,
) -> Result<Vec<Output>, OperatorError> {
    let run = |tasks: &mut [(&mut Box<dyn Operator>, Vec<ChangeBatch>)]| {
        tasks.iter_mut().map(|(operator, inputs)| operator.process(inputs, ctx)).collect::<Result<Vec<_>, _>>()
    };
    if n_threads <= 1 {
        return run(&mut tasks);
    }
    let chunk = tasks.len().div_ceil(n_threads);
    let parts = std::thread::scope(|scope| {
        let workers: Vec<_> = tasks.chunks_mut(chunk).map(|part| scope.spawn(|| run(part))).collect();
        let ended = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().map(ended).collect::<Result<Vec<Vec<Output>>, _>>()
    })?;
    Ok(parts.into_iter().flatten().collect())
}
