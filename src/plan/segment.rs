//! A stateless plan between relations: stock DataFusion, planned once, run at most once an epoch.
//!
//! Weights and order do not travel through DataFusion. One hidden column does: the index of the leaf's row that a row
//! comes from, by which both are looked up afterwards.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use futures::StreamExt;
use futures::executor::block_on;

use super::RelationId;
use super::leaf::{EpochSlot, EpochTable};
use crate::metrics;
use crate::operators::OperatorError;
use crate::stream::{ChangeBatch, Order};

const HIDDEN: &str = "_row";

/// A stateless plan over the changes of other relations.
pub struct Segment {
    /// The relations that it reads.
    pub leaves: Vec<RelationId>,
    /// The columns it yields.
    pub schema: SchemaRef,
    /// The plan before the hidden column was added, for `explain`.
    pub logical: LogicalPlan,
    /// By leaf: the name under which the plan's scans know the relation.
    scans: BTreeMap<String, RelationId>,
    runner: Runner,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("leaves", &self.leaves).field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Segment {
    /// Compiles a stateless plan. `scans` says which relation each leaf name stands for.
    pub(super) fn compile(
        logical: LogicalPlan,
        scans: BTreeMap<String, RelationId>,
        state: &SessionState,
    ) -> Result<Self> {
        let mut used = BTreeMap::new();
        logical.apply(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(id) = scans.get(scan.table_name.table())
            {
                used.insert(scan.table_name.table().to_owned(), *id);
            }
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })?;
        let mut leaves: Vec<RelationId> = used.values().copied().collect();
        leaves.sort_unstable();
        leaves.dedup();
        let schema: SchemaRef = Arc::new(logical.schema().as_arrow().clone());
        let runner = Runner::compile(&add_hidden(logical.clone())?, state)?;
        Ok(Self { leaves, schema, logical, scans: used, runner })
    }

    /// Gives the relations that it reads other ids; their order stays.
    pub(super) fn renumber(&mut self, to: &dyn Fn(RelationId) -> RelationId) {
        self.leaves.iter_mut().chain(self.scans.values_mut()).for_each(|id| *id = to(*id));
    }

    /// Runs the plan over this epoch's changes, which `changes` gives by relation.
    ///
    /// Weights and order pass through: each output row has those of the leaf's row it comes from.
    pub fn run<'c>(
        &self,
        changes: &dyn Fn(RelationId) -> Option<&'c ChangeBatch>,
    ) -> Result<ChangeBatch, OperatorError> {
        let inputs: Vec<(RelationId, &ChangeBatch)> =
            self.leaves.iter().filter_map(|id| changes(*id).map(|c| (*id, c))).filter(|(_, c)| !c.is_empty()).collect();
        if inputs.is_empty() {
            return Ok(ChangeBatch::empty(self.schema.clone()));
        }
        let mut base = HashMap::new();
        let mut next = 0u32;
        for (id, batch) in &inputs {
            base.insert(*id, next);
            next += batch.len() as u32;
        }
        let mut lent = Vec::with_capacity(self.scans.len());
        for (name, id) in &self.scans {
            if let (Some(start), Some((_, batch))) = (base.get(id), inputs.iter().find(|(i, _)| i == id)) {
                lent.push(Lent { name, start: *start, rows: with_row_index(&batch.rows, *start)? });
            }
        }
        let mut batches = Vec::new();
        let n_failed = self.run_around(&lent, 0..next, &mut batches)?;
        if n_failed > 0 {
            metrics::count_failed_rows(n_failed);
            // The reason may quote what the row holds, which is not for the log.
            let columns: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
            tracing::error!(n_failed, ?columns, "rows left out: an expression cannot be computed for what they hold");
        }
        let whole = concat_batches(&self.runner.schema(), &batches)?;
        self.look_up(whole, &inputs)
    }

    /// Runs the plan over the rows in a range. Rows for which it fails are left out, and counted: the range is halved until
    /// they are found.
    fn run_around(
        &self,
        lent: &[Lent<'_>],
        range: Range<u32>,
        batches: &mut Vec<RecordBatch>,
    ) -> Result<u64, OperatorError> {
        let part = lent.iter().map(|leaf| (leaf.name.to_owned(), leaf.within(&range))).collect();
        match self.runner.run(part) {
            Ok(done) => batches.extend(done),
            Err(OperatorError::Row(_)) if range.len() <= 1 => return Ok(1),
            Err(OperatorError::Row(_)) => {
                let middle = range.start + (range.end - range.start) / 2;
                let n_failed = self.run_around(lent, range.start..middle, batches)?;
                return Ok(n_failed + self.run_around(lent, middle..range.end, batches)?);
            }
            Err(other) => return Err(other),
        }
        Ok(0)
    }

    /// Takes the hidden column off and puts weights and order in its place.
    fn look_up(&self, whole: RecordBatch, inputs: &[(RelationId, &ChangeBatch)]) -> Result<ChangeBatch, OperatorError> {
        let n_rows = whole.num_rows();
        let hidden = whole.num_columns() - 1;
        let index = whole
            .column(hidden)
            .as_any()
            .downcast_ref::<UInt32Array>()
            .ok_or_else(|| OperatorError::Function("the hidden column has changed its type".into()))?
            .clone();
        let columns: Vec<ArrayRef> = whole.columns()[..hidden].to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        // The usual case of one leaf borrows; several leaves are put behind one another, as their indices were.
        let weights_and_order = match inputs {
            [(_, one)] => (one.weights.clone(), one.order.clone()),
            many => {
                let parts: Vec<ChangeBatch> = many.iter().map(|(_, b)| without_columns(b)).collect::<Result<_, _>>()?;
                let all = ChangeBatch::concat(&Arc::new(Schema::empty()), &parts)?;
                (all.weights, all.order)
            }
        };
        let (weights, order) = weights_and_order;
        let at = |i: &u32| *i as usize;
        Ok(ChangeBatch {
            rows,
            weights: index.values().iter().map(|i| weights[at(i)]).collect(),
            order: match order {
                Order::Unordered => Order::Unordered,
                Order::Sequence(s) => Order::Sequence(index.values().iter().map(|i| s[at(i)]).collect()),
                Order::Key(k) => Order::Key(index.values().iter().map(|i| Some(k.value(at(i)))).collect()),
            },
        })
    }
}

/// The rows of a leaf, whose indices are ascending from `start`.
struct Lent<'a> {
    name: &'a str,
    start: u32,
    rows: RecordBatch,
}

impl Lent<'_> {
    fn within(&self, range: &Range<u32>) -> RecordBatch {
        let n_rows = self.rows.num_rows();
        let at = |index: u32| (index.saturating_sub(self.start) as usize).min(n_rows);
        let (from, to) = (at(range.start), at(range.end));
        self.rows.slice(from, to - from)
    }
}

fn without_columns(batch: &ChangeBatch) -> Result<ChangeBatch, OperatorError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.len()));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    Ok(ChangeBatch { rows, weights: batch.weights.clone(), order: batch.order.clone() })
}

fn with_row_index(rows: &RecordBatch, start: u32) -> Result<RecordBatch, OperatorError> {
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(hidden_field()));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(UInt32Array::from_iter_values(start..start + rows.num_rows() as u32)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn hidden_field() -> Field {
    Field::new(HIDDEN, DataType::UInt32, false)
}

/// A physical plan with what it takes to run it many times.
pub(super) struct Runner {
    plan: Arc<dyn ExecutionPlan>,
    slot: Arc<EpochSlot>,
    ctx: Arc<TaskContext>,
    /// Held by a run: the slot is shared by all who run the plan, as workers in other threads may.
    running: Mutex<()>,
}

impl Runner {
    /// Compiles a plan that the optimiser has already seen.
    pub(super) fn compile(logical: &LogicalPlan, state: &SessionState) -> Result<Self> {
        // The state's own method would optimise again.
        let plan = block_on(state.query_planner().create_physical_plan(logical, state))?;
        let slot = Arc::new(EpochSlot::default());
        let config = state.config().clone().with_extension(slot.clone());
        // Built by hand: a context made by the session copies every function registry, at 9 microseconds a time.
        let none = HashMap::new;
        let ctx = TaskContext::new(
            None,
            "segment".into(),
            config,
            none(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            state.runtime_env().clone(),
        );
        Ok(Self { plan, slot, ctx: Arc::new(ctx), running: Mutex::default() })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    /// Runs the plan over rows lent by name. Partitions are driven one after the other, so that the order is fixed.
    pub(super) fn run(&self, lent: HashMap<String, RecordBatch>) -> Result<Vec<RecordBatch>, OperatorError> {
        let _running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.slot.lend(lent);
        let failed = |e: DataFusionError| match is_of_a_row(e.find_root()) {
            true => OperatorError::Row(e.strip_backtrace()),
            false => OperatorError::Function(e.strip_backtrace()),
        };
        // Without this each run leaks the metrics of the one before.
        let plan = reset_plan_states(self.plan.clone()).map_err(failed)?;
        let mut batches = Vec::new();
        for partition in 0..plan.properties().partitioning.partition_count() {
            let mut stream = plan.execute(partition, self.ctx.clone()).map_err(failed)?;
            while let Some(batch) = block_on(stream.next()) {
                batches.push(batch.map_err(failed)?);
            }
        }
        self.slot.lend(HashMap::new());
        Ok(batches)
    }
}

/// Whether an error can be one of what a row holds. Columns of another type than was planned fail for every row: leaving rows
/// out would hide that.
fn is_of_a_row(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Execution(_) => true,
        DataFusionError::ArrowError(error, _) => matches!(
            error.as_ref(),
            ArrowError::CastError(_)
                | ArrowError::ParseError(_)
                | ArrowError::ComputeError(_)
                | ArrowError::ArithmeticOverflow(_)
                | ArrowError::DivideByZero
        ),
        _ => false,
    }
}

/// Adds the hidden column to every node of a stateless plan.
fn add_hidden(plan: LogicalPlan) -> Result<LogicalPlan> {
    let with_hidden = plan.transform_up(|node| {
        Ok(Transformed::yes(match node {
            LogicalPlan::TableScan(mut scan) => {
                let provider = source_as_provider(&scan.source)?;
                let mut fields = provider.schema().fields().to_vec();
                fields.push(Arc::new(hidden_field()));
                if let Some(projection) = &mut scan.projection {
                    projection.push(fields.len() - 1);
                }
                let mut qualified: Vec<_> =
                    scan.projected_schema.iter().map(|(q, f)| (q.cloned(), f.clone())).collect();
                qualified.push((Some(scan.table_name.clone()), Arc::new(hidden_field())));
                scan.projected_schema = Arc::new(DFSchema::new_with_metadata(qualified, HashMap::new())?);
                scan.source = provider_as_source(Arc::new(EpochTable {
                    relation: scan.table_name.table().to_owned(),
                    schema: Arc::new(Schema::new(fields)),
                    view: None,
                }));
                LogicalPlan::TableScan(scan)
            }
            LogicalPlan::Projection(projection) => {
                let mut exprs = projection.expr;
                exprs.extend(hidden_column(&projection.input));
                LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?)
            }
            node @ (LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::EmptyRelation(_)) => node.recompute_schema()?,
            node => return plan_err!("not stateless: {}", node.display()),
        }))
    })?;
    // The hidden column must come last, also behind the columns that Unnest appended.
    let plan = with_hidden.data;
    let last = plan.schema().fields().len().checked_sub(1);
    let at = plan.schema().iter().position(|(_, f)| f.name() == HIDDEN);
    if at == last {
        return Ok(plan);
    }
    let mut exprs: Vec<Expr> =
        plan.schema().columns().into_iter().filter(|c| c.name != HIDDEN).map(Expr::Column).collect();
    exprs.extend(hidden_column(&plan));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

fn hidden_column(plan: &LogicalPlan) -> Option<Expr> {
    plan.schema().columns().into_iter().find(|c| c.name == HIDDEN).map(Expr::Column)
}
