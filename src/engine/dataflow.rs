//! The operators of a pipeline, shard by shard, and one epoch's way through them in dependency order.

use std::collections::HashMap;

use arrow::array::{Array, UInt32Array};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use crate::fail_point;
use crate::operators::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::plan::{Distribution, Input, OperatorPlan, Pipeline, Relation, RelationId};
use crate::stream::{ChangeBatch, Order, ShardCount, Watermark, split_by_shard};

/// Below this many input rows the shards of a relation are run one after the other: threads would cost more.
const PARALLEL_ROWS_MIN: usize = 4096;

/// One shard of a relation; none where the relation keeps no state.
type Shard = Option<Box<dyn Operator>>;

/// The operators of a pipeline.
pub struct Dataflow {
    shards: Vec<Vec<Shard>>,
    n_shards: ShardCount,
    n_threads: usize,
    was_loaded: bool,
}

/// The times of an epoch: one watermark a relation, before and after, and whether the first load is complete.
#[derive(Clone, Debug)]
pub struct EpochTimes {
    /// Before the rows of the epoch.
    pub before: Vec<Watermark>,
    /// After the rows of the epoch.
    pub after: Vec<Watermark>,
    /// Whether all tables have been read to the end noted at start.
    pub loaded: bool,
}

/// What an epoch did, by relation.
#[derive(Debug)]
pub struct EpochRun {
    /// The changes of each relation.
    pub changes: Vec<ChangeBatch>,
    /// For each relation the source records (by sequence number) of which it refused every row as late, ascending.
    pub refused: Vec<Vec<u64>>,
    /// For each relation the source records that it dropped as repetitions.
    pub duplicate: Vec<Vec<u64>>,
    /// For each relation how many rows it took in.
    pub rows_in: Vec<u64>,
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
            !relation.inputs.is_empty() && relation.inputs.iter().all(|i| i.distribution == Distribution::Single)
        };
        let build = |relation: &Relation| {
            (0..n_shards.0)
                .map(|shard| if shard > 0 && is_single(relation) { Ok(None) } else { relation.operator.build() })
                .collect::<Result<Vec<Shard>, _>>()
                .map_err(|source| failed(relation, source))
        };
        let shards = pipeline.relations.iter().map(build).collect::<Result<_, _>>()?;
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { shards, n_shards, n_threads, was_loaded: false })
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
        mut sources: Vec<Option<ChangeBatch>>,
        times: &EpochTimes,
    ) -> Result<EpochRun, DataflowError> {
        let n = pipeline.relations.len();
        let mut run = EpochRun {
            changes: Vec::with_capacity(n),
            refused: vec![Vec::new(); n],
            duplicate: vec![Vec::new(); n],
            rows_in: vec![0; n],
        };
        let turns_loaded = times.loaded && !self.was_loaded;
        for (id, relation) in pipeline.relations.iter().enumerate() {
            let source = sources.get_mut(id).and_then(Option::take);
            let inputs = inputs(relation, source, &run.changes).map_err(|e| failed(relation, e))?;
            run.rows_in[id] = inputs.iter().map(|i| i.len() as u64).sum();
            let ctx = context(pipeline, relation, id, times);
            fail_point::reach("execute.relation");
            let outputs = self.run_shards(id, relation, inputs, &ctx, turns_loaded);
            let output = outputs.map_err(|e| failed(relation, e))?;
            run.changes.push(output.changes);
            run.refused[id] = output.refused;
            run.duplicate[id] = output.duplicate;
        }
        self.was_loaded |= times.loaded;
        Ok(run)
    }

    /// Computes the derived state anew from the contents of the logged operators, part by part. Nothing leaves.
    ///
    /// Operators whose state is logged and whose relation is a stream keep what was restored: streams have no contents,
    /// so that no row reaches them, and timers wait for the first epoch.
    pub fn recompute(&mut self, pipeline: &Pipeline, watermarks: &[Watermark]) -> Result<(), DataflowError> {
        let times = EpochTimes { before: watermarks.to_vec(), after: watermarks.to_vec(), loaded: false };
        let mut has_contents = vec![false; pipeline.relations.len()];
        for part in 0.. {
            let mut changes: Vec<ChangeBatch> = Vec::with_capacity(pipeline.relations.len());
            let mut is_last = true;
            for (id, relation) in pipeline.relations.iter().enumerate() {
                let contents = self.contents(id, relation, part).map_err(|e| failed(relation, e))?;
                is_last &= contents.is_none();
                has_contents[id] |= contents.is_some();
                changes.push(match contents {
                    Some(contents) => contents,
                    None if has_contents[id] => ChangeBatch::empty(relation.schema.clone()),
                    None => self.derive(pipeline, id, &changes, &times)?,
                });
            }
            if is_last {
                break;
            }
        }
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
        let inputs = inputs(relation, None, changes).map_err(|e| failed(relation, e))?;
        if inputs.iter().all(ChangeBatch::is_empty) {
            return Ok(ChangeBatch::empty(relation.schema.clone()));
        }
        let ctx = context(pipeline, relation, id, times);
        Ok(self.run_shards(id, relation, inputs, &ctx, false).map_err(|e| failed(relation, e))?.changes)
    }

    /// Whether any operator has something to do at these watermarks without input.
    pub fn is_due(&self, pipeline: &Pipeline, times: &EpochTimes) -> bool {
        if times.loaded && !self.was_loaded {
            return true;
        }
        pipeline.relations.iter().enumerate().zip(&self.shards).any(|((id, relation), shards)| {
            let after = context(pipeline, relation, id, times).watermark_after();
            shards.iter().flatten().any(|shard| timer_is_due(shard.as_ref(), after))
        })
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

    /// The state that each relation holds over its shards.
    pub fn state_sizes(&self) -> Vec<StateSize> {
        let add = |a: StateSize, b: StateSize| StateSize { rows: a.rows + b.rows, bytes: a.bytes + b.bytes };
        let of_relation =
            |shards: &Vec<Shard>| shards.iter().flatten().map(|s| s.state_size()).fold(StateSize::default(), add);
        self.shards.iter().map(of_relation).collect()
    }

    /// A part of the rows of a logged table, over all shards; none if no shard has such a part.
    fn contents(&self, id: RelationId, relation: &Relation, part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        if !relation.operator.is_logged() {
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

    /// Divides the inputs over the shards, runs those that have something to do, and joins what they give.
    fn run_shards(
        &mut self,
        id: RelationId,
        relation: &Relation,
        mut inputs: Vec<ChangeBatch>,
        ctx: &EpochContext,
        turns_loaded: bool,
    ) -> Result<Joined, OperatorError> {
        let Some(shards) = self.shards.get_mut(id) else {
            return Err(OperatorError::Function("the relation has no shards".into()));
        };
        if shards.iter().all(Option::is_none) {
            // No state: the rows of the single input are the rows of the relation.
            let changes = inputs.pop().unwrap_or_else(|| ChangeBatch::empty(relation.schema.clone()));
            return Ok(Joined { changes, refused: Vec::new(), duplicate: Vec::new() });
        }
        let divided = divide(relation, &inputs, self.n_shards)?;
        let n_rows: usize = inputs.iter().map(ChangeBatch::len).sum();
        let after = ctx.watermark_after();
        let mut tasks: Vec<(&mut Box<dyn Operator>, Vec<ChangeBatch>)> = Vec::new();
        for (operator, inputs) in shards.iter_mut().zip(divided) {
            let Some(operator) = operator else { continue };
            let has_rows = inputs.iter().any(|i| !i.is_empty());
            if has_rows || turns_loaded || timer_is_due(operator.as_ref(), after) {
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

fn timer_is_due(operator: &dyn Operator, after: Watermark) -> bool {
    operator.next_timer().is_some_and(|instant_ms| after.has_passed(instant_ms))
}

/// The rows of each input: of a source what was decoded, else what its segment makes of this epoch's changes.
fn inputs(
    relation: &Relation,
    source: Option<ChangeBatch>,
    changes: &[ChangeBatch],
) -> Result<Vec<ChangeBatch>, OperatorError> {
    if relation.inputs.is_empty() {
        return Ok(vec![source.unwrap_or_else(|| ChangeBatch::empty(relation.schema.clone()))]);
    }
    let rows_of = |input: &Input| {
        let is_empty = |leaf: &RelationId| changes.get(*leaf).is_none_or(ChangeBatch::is_empty);
        if input.segment.leaves.iter().all(is_empty) {
            return Ok(ChangeBatch::empty(input.segment.schema.clone()));
        }
        input.segment.run(changes)
    };
    relation.inputs.iter().map(rows_of).collect()
}

/// The watermarks of each input: the smallest over the relations that its segment reads.
fn context(pipeline: &Pipeline, relation: &Relation, id: RelationId, times: &EpochTimes) -> EpochContext {
    debug_assert_eq!(pipeline.relations.len(), times.after.len());
    let of = |watermarks: &[Watermark]| -> Vec<Watermark> {
        let of_relation = |id: &RelationId| watermarks.get(*id).copied().unwrap_or(Watermark::MIN);
        if relation.inputs.is_empty() {
            return vec![of_relation(&id)];
        }
        let of_input = |input: &Input| input.segment.leaves.iter().map(of_relation).min().unwrap_or(Watermark::MAX);
        relation.inputs.iter().map(of_input).collect()
    };
    EpochContext { watermarks_before: of(&times.before), watermarks_after: of(&times.after), loaded: times.loaded }
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

/// Joins the outputs of shards: changes of tables behind one another, rows of streams in their order.
fn join(relation: &Relation, outputs: Vec<Output>) -> Result<Output, OperatorError> {
    let (mut changes, mut late, mut duplicate) = (Vec::with_capacity(outputs.len()), Vec::new(), Vec::new());
    for output in outputs {
        changes.push(output.changes);
        late.extend(output.late);
        duplicate.extend(output.duplicate);
    }
    duplicate.sort_unstable();
    let changes = in_order(ChangeBatch::concat(&relation.schema, &changes)?)?;
    Ok(Output { changes, late, duplicate })
}

/// Sorts rows of a stream by their order, ties by the whole row, so that the number of shards cannot be seen.
fn in_order(changes: ChangeBatch) -> Result<ChangeBatch, ArrowError> {
    let ascends = match &changes.order {
        Order::Unordered => true,
        Order::Sequence(sequence) => sequence.windows(2).all(|w| w[0] < w[1]),
        Order::Key(keys) => (1..keys.len()).all(|i| keys.value(i - 1) < keys.value(i)),
    };
    if ascends {
        return Ok(changes);
    }
    let fields = changes.rows.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(changes.rows.columns())?;
    let mut idx: Vec<u32> = (0..changes.len() as u32).collect();
    idx.sort_by(|a, b| {
        let (a, b) = (*a as usize, *b as usize);
        let by_order = match &changes.order {
            Order::Unordered => std::cmp::Ordering::Equal,
            Order::Sequence(sequence) => sequence[a].cmp(&sequence[b]),
            Order::Key(keys) => keys.value(a).cmp(keys.value(b)),
        };
        by_order.then_with(|| rows.row(a).cmp(&rows.row(b)))
    });
    changes.take(&UInt32Array::from(idx))
}

/// The source records of which all rows were refused: as many as came in.
fn fully_refused(late: Vec<u64>, inputs: &[ChangeBatch]) -> Vec<u64> {
    if late.is_empty() {
        return late;
    }
    let mut open: HashMap<u64, i64> = HashMap::new();
    for sequence in &late {
        *open.entry(*sequence).or_default() -= 1;
    }
    for input in inputs {
        let Order::Sequence(sequence) = &input.order else { continue };
        for s in sequence.iter() {
            if let Some(n) = open.get_mut(s) {
                *n += 1;
            }
        }
    }
    let mut refused: Vec<u64> = open.into_iter().filter(|(_, n)| *n <= 0).map(|(s, _)| s).collect();
    refused.sort_unstable();
    refused
}
