//! Functions of whole partitions: OVER, and what follows it on the same partitions.
//!
//! A window over the result of another window, or a GROUP BY over it, is taken into the same relation where its keys
//! contain the partition keys: the rows are then kept once, and a touched partition is computed again in one go.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::FieldRef;
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, Window, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::scalar::ScalarValue;

use super::super::builder::{Builder, Facts, NewRelation, arrow_schema, leaf, normalise, project_columns, schema_of};
use super::super::cut::{Needed, columns_of, cut, unwrap};
use super::super::error::{Result, refuse};
use super::super::pipeline::{Distribution, OperatorPlan};
use super::super::{RelationId, arrival, canonical, event_times, lineage};
use super::aggregate::{ROWS, function};
use super::group_step::group_step;
use super::running_window::cut_stream_window;
use crate::catalog::RelationKind;
use crate::operators::{Frame, KernelStep, TableWindowSpec, WindowKernel, WindowStep};

/// How the columns of a window's input lie in the operator: partition keys, the columns handed on, further arguments.
pub(super) struct Layout {
    pub(super) exprs: Vec<Expr>,
    pub(super) fields: Vec<(Option<TableReference>, FieldRef)>,
    pub(super) n_keys: usize,
}

impl Layout {
    fn new(window: &Window, input: &LogicalPlan, handed_on: &[Column]) -> Result<Self> {
        Self::of(&functions(window)?, input, handed_on)
    }

    /// The layout for functions that share partition keys and order.
    pub(super) fn of(functions: &[WindowFunction], input: &LogicalPlan, handed_on: &[Column]) -> Result<Self> {
        let partition = functions.first().map(|f| f.params.partition_by.clone()).unwrap_or_default();
        let mut layout = Self { exprs: Vec::new(), fields: Vec::new(), n_keys: partition.len() };
        for key in &partition {
            layout.push(key, input, None)?;
        }
        for column in handed_on {
            let (qualifier, field) = input.schema().qualified_field_from_column(column)?;
            layout.exprs.push(Expr::Column(column.clone()));
            layout.fields.push((qualifier.cloned(), field.clone()));
        }
        for function in functions {
            let order = function.params.order_by.iter().map(|s| &s.expr);
            let filter = function.params.filter.as_deref();
            for expr in order.chain(&function.params.args).chain(filter).filter(|e| !matches!(e, Expr::Literal(..))) {
                if layout.position(expr).is_none() {
                    layout.push(expr, input, None)?;
                }
            }
        }
        Ok(layout)
    }

    pub(super) fn push(&mut self, expr: &Expr, input: &LogicalPlan, qualifier: Option<TableReference>) -> Result<()> {
        let (_, field) = datafusion::logical_expr::ExprSchemable::to_field(expr, input.schema().as_ref())?;
        let name = format!("__{}", self.fields.len());
        self.fields.push((qualifier, Arc::new(field.as_ref().clone().with_name(name))));
        self.exprs.push(expr.clone());
        Ok(())
    }

    /// Where an expression lies; a column that is also a partition key is found there.
    pub(super) fn position(&self, expr: &Expr) -> Option<usize> {
        self.exprs.iter().position(|e| e == expr)
    }
}

/// Turns a window into a relation, or into further steps of the one it reads. `filter` is what its rows must meet.
pub(in super::super) fn cut_window(
    builder: &mut Builder<'_>,
    window: Window,
    needed: &Needed,
    filter: Option<&Expr>,
) -> Result<LogicalPlan> {
    let mut below: Needed = needed.iter().filter(|c| window.input.schema().has_column(c)).cloned().collect();
    let handed_on: Vec<Column> = window.input.schema().columns().into_iter().filter(|c| needed.contains(c)).collect();
    below.extend(columns_of(&window.window_expr));
    let input = cut(builder, unwrap(window.input.clone()), &below)?;
    if builder.kind(&input)? == RelationKind::Stream {
        return cut_stream_window(builder, &window, input, handed_on, filter);
    }
    if functions(&window)?.iter().flat_map(|f| &f.params.order_by).any(|sort| arrival::is_marker(&sort.expr)) {
        return refuse(
            "C0432",
            "a table's rows have no order of arrival: they may change at any time",
            "Order by a column (quote it if it is called \"arrival\").",
        );
    }
    let layout = Layout::new(&window, &input, &handed_on)?;
    let steps_after = steps(builder, &window, &layout)?;
    let mut fields = layout.fields.clone();
    let n_inputs = window.input.schema().fields().len();
    let added: Vec<_> = window.schema.iter().skip(n_inputs).map(|(q, f)| (q.cloned(), f.clone())).collect();
    fields.extend(added.iter().cloned());
    let schema = schema_of(fields)?;
    let exprs: Vec<Expr> = handed_on.into_iter().map(Expr::Column).collect();
    let outputs: Vec<Expr> =
        exprs.into_iter().chain(added.iter().map(|(q, f)| Expr::Column(Column::new(q.clone(), f.name())))).collect();
    let meaning = format!("window [{}]", canonical::exprs(&window.window_expr, window.input.schema()));
    let facts = facts(builder, &window, &layout, &input)?;
    let plan = normalise(input.clone(), layout.exprs.clone())?;
    if let Some(id) = fusible(builder, &input, &layout.exprs[..layout.n_keys]) {
        let mut steps = vec![chain_step(builder, id, &plan)?];
        steps.extend(steps_after);
        let leaf = extend(builder, id, steps, schema, facts, &meaning)?;
        return project_columns(leaf, outputs);
    }
    let distribution =
        if layout.n_keys == 0 { Distribution::Single } else { Distribution::Hash((0..layout.n_keys).collect()) };
    let spec = TableWindowSpec {
        n_keys: layout.n_keys,
        steps: steps_after,
        input: arrow_schema(plan.schema()),
        schema: arrow_schema(&schema),
        limit: None,
    };
    let leaf = builder.add(NewRelation {
        node: "table_window",
        kind: RelationKind::Table,
        schema,
        operator: OperatorPlan::TableWindow(spec),
        inputs: vec![(plan, distribution)],
        facts,
        arrival: false,
        meaning,
    })?;
    project_columns(leaf, outputs)
}

/// Takes a GROUP BY into the relation that it reads, if its keys contain that relation's partition keys.
pub(in super::super) fn fuse_aggregate(
    builder: &mut Builder<'_>,
    aggregate: &Aggregate,
    input: &LogicalPlan,
) -> Result<Option<LogicalPlan>> {
    // Without group keys there is a row also where there is no partition.
    if aggregate.group_expr.is_empty() {
        return Ok(None);
    }
    let Some(id) = fusible(builder, input, &aggregate.group_expr) else { return Ok(None) };
    let partition = partition_after(builder, id, input, &aggregate.group_expr);
    let output = arrow_schema(&aggregate.schema);
    let steps = match group_step(aggregate, input, &output)? {
        Some((step, exprs)) => {
            vec![chain_step(builder, id, &normalise(input.clone(), exprs)?)?, WindowStep::Groups(step)]
        }
        None => {
            let plan = over_rows(builder, id, &LogicalPlan::Aggregate(aggregate.clone()))?;
            vec![WindowStep::Function(function(builder, &plan, ROWS, output)?)]
        }
    };
    let n_keys = aggregate.group_expr.len();
    let below = event_times::of_plan(builder, input);
    let mut times: Vec<_> =
        aggregate.group_expr.iter().map(|e| event_times::of_expr(e, input.schema(), &below)).collect();
    times.resize(aggregate.schema.fields().len(), None);
    let facts = Facts { keys: vec![(0..n_keys).collect()], partition, times, ..Facts::default() };
    let schema = aggregate.input.schema();
    let meaning = format!(
        "groups [{}] [{}]",
        canonical::exprs(&aggregate.group_expr, schema),
        canonical::exprs(&aggregate.aggr_expr, schema)
    );
    Ok(Some(extend(builder, id, steps, aggregate.schema.clone(), facts, &meaning)?))
}

/// The relation that a stateless plan reads, if it computes whole partitions of the definition at hand and each of its
/// partition keys is one of `keys`.
fn fusible(builder: &Builder<'_>, input: &LogicalPlan, keys: &[Expr]) -> Option<RelationId> {
    let id = lineage::only_leaf(builder, input)?;
    // Under a name of its own the relation is read by others, too.
    let is_own = leaf_name(input).is_some_and(|name| name == format!("r{id}"));
    let is_window = matches!(builder.relations[id].operator, OperatorPlan::TableWindow(_));
    (is_own && is_window && id + 1 == builder.relations.len() && partition_after(builder, id, input, keys).is_some())
        .then_some(id)
}

fn leaf_name(plan: &LogicalPlan) -> Option<&str> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan.table_name.table()),
        other => other.inputs().first().and_then(|input| leaf_name(input)),
    }
}

/// Where the partition keys of a relation lie among `keys`; none if one is missing.
fn partition_after(builder: &Builder<'_>, id: RelationId, input: &LogicalPlan, keys: &[Expr]) -> Option<Vec<usize>> {
    let origins: Vec<Option<usize>> = keys
        .iter()
        .map(|key| match key {
            Expr::Column(c) => {
                let idx = input.schema().index_of_column(c).ok()?;
                lineage::origin(builder, input, idx).map(|(_, column)| column)
            }
            _ => None,
        })
        .collect();
    let partition = builder.facts[id].partition.as_ref()?;
    partition.iter().map(|key| origins.iter().position(|o| *o == Some(*key))).collect()
}

/// Replaces the leaf of a relation by the rows that a step hands to the next.
fn over_rows(builder: &Builder<'_>, id: RelationId, plan: &LogicalPlan) -> Result<LogicalPlan> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let replaced = plan.clone().transform_up(|node| {
        Ok(match node {
            LogicalPlan::TableScan(scan) if builder.scans.get(scan.table_name.table()) == Some(&id) => {
                Transformed::yes(leaf(ROWS, scan.projected_schema))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(replaced.data)
}

fn chain_step(builder: &Builder<'_>, id: RelationId, plan: &LogicalPlan) -> Result<WindowStep> {
    let rows = over_rows(builder, id, plan)?;
    let function = function(builder, &rows, ROWS, arrow_schema(plan.schema()))?;
    // Where every row stays one row in its place, the operator may compute new rows alone.
    Ok(if only_projects(&rows) { WindowStep::Projection(function) } else { WindowStep::Function(function) })
}

fn only_projects(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(p) => only_projects(&p.input),
        LogicalPlan::SubqueryAlias(a) => only_projects(&a.input),
        _ => false,
    }
}

/// Appends steps to a relation, which so becomes another one: it is added anew in its own place.
fn extend(
    builder: &mut Builder<'_>,
    id: RelationId,
    steps: Vec<WindowStep>,
    schema: datafusion::common::DFSchemaRef,
    facts: Facts,
    meaning: &str,
) -> Result<LogicalPlan> {
    let relation = &mut builder.relations[id];
    if let OperatorPlan::TableWindow(spec) = &mut relation.operator {
        spec.steps.extend(steps);
        spec.schema = arrow_schema(&schema);
    }
    relation.schema = arrow_schema(&schema);
    relation.key = facts.keys.first().cloned();
    relation.operator_id = canonical::id(&format!("{} then {meaning}", relation.operator_id));
    builder.facts[id] = facts;
    Ok(leaf(&format!("r{id}"), schema))
}

/// The functions of a window.
pub(super) fn functions(window: &Window) -> Result<Vec<WindowFunction>> {
    let mut functions = Vec::new();
    for expr in &window.window_expr {
        match expr.clone().unalias_nested().data {
            Expr::WindowFunction(f) => functions.push(*f),
            _ => return refuse("C0431", "an OVER expression could not be read", "Write it as function(..) OVER (..)."),
        }
    }
    Ok(functions)
}

fn facts(builder: &Builder<'_>, window: &Window, layout: &Layout, input: &LogicalPlan) -> Result<Facts> {
    let functions = functions(window)?;
    let columns = input.schema().columns();
    let in_layout = |key: &Vec<usize>| -> Option<Vec<usize>> {
        // A partition key lies twice, and only the second place keeps its name.
        let place = |c: &Column| layout.exprs.iter().rposition(|e| *e == Expr::Column(c.clone()));
        key.iter().map(|k| columns.get(*k).and_then(place)).collect()
    };
    let mut keys: Vec<Vec<usize>> = lineage::keys(builder, input).iter().filter_map(in_layout).collect();
    // The partition keys may also be read under their own names.
    let partition: Vec<usize> = (0..layout.n_keys).collect();
    let own_names: Vec<usize> =
        partition.iter().map(|k| layout.exprs.iter().rposition(|e| *e == layout.exprs[*k]).unwrap_or(*k)).collect();
    let mut unique_when = Vec::new();
    for (idx, f) in functions.iter().enumerate() {
        let rank = layout.exprs.len() + idx;
        if f.fun.name() == "row_number" {
            unique_when.push((rank, own_names.clone()));
            keys.push(own_names.iter().copied().chain([rank]).collect());
        }
    }
    let below = event_times::of_plan(builder, input);
    let mut times: Vec<_> = layout.exprs.iter().map(|e| event_times::of_expr(e, input.schema(), &below)).collect();
    times.resize(layout.exprs.len() + functions.len(), None);
    Ok(Facts { keys, unique_when, partition: Some(own_names), times, ..Facts::default() })
}

/// The steps of a window: our kernels where they know all functions, else the stock plan.
pub(super) fn steps(builder: &Builder<'_>, window: &Window, layout: &Layout) -> Result<Vec<WindowStep>> {
    let functions = functions(window)?;
    let n_inputs = window.input.schema().fields().len();
    let added: Vec<_> = window.schema.iter().skip(n_inputs).map(|(q, f)| (q.cloned(), f.clone())).collect();
    let kernels: Option<Vec<(WindowKernel, FieldRef)>> =
        functions.iter().zip(&added).map(|(f, (_, field))| Some((kernel(f, layout)?, field.clone()))).collect();
    let order = functions.first().map(|f| f.params.order_by.clone()).unwrap_or_default();
    let order: Option<Vec<(usize, SortOptions)>> = order
        .iter()
        .map(|s| Some((layout.position(&s.expr)?, SortOptions { descending: !s.asc, nulls_first: s.nulls_first })))
        .collect();
    if let (Some(functions), Some(order)) = (kernels, order) {
        return Ok(vec![WindowStep::Kernels(KernelStep { partition: (0..layout.n_keys).collect(), order, functions })]);
    }
    // The stock plan reads the layout under its own names: keys, orders and arguments by position.
    let schema = schema_of(layout.fields.clone())?;
    let columns = schema.columns();
    let by_position = |e: &Expr| match layout.position(e).and_then(|idx| columns.get(idx)) {
        Some(column) => Expr::Column(column.clone()),
        None => e.clone(),
    };
    let mut exprs = Vec::new();
    for (f, (_, field)) in functions.into_iter().zip(&added) {
        let mut f = f;
        f.params.partition_by = f.params.partition_by.iter().map(by_position).collect();
        f.params.args = f.params.args.iter().map(by_position).collect();
        f.params.filter = f.params.filter.as_deref().map(by_position).map(Box::new);
        for sort in &mut f.params.order_by {
            sort.expr = by_position(&sort.expr);
        }
        exprs.push(Expr::WindowFunction(Box::new(f)).alias(field.name()));
    }
    let plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(leaf(ROWS, schema)))?);
    let output = arrow_schema(plan.schema());
    Ok(vec![WindowStep::Function(function(builder, &plan, ROWS, output)?)])
}

/// The kernel that computes a window function, if there is one.
fn kernel(f: &WindowFunction, layout: &Layout) -> Option<WindowKernel> {
    let p = &f.params;
    if p.filter.is_some() || p.distinct || p.null_treatment.is_some() {
        return None;
    }
    let frame = frame(f)?;
    let column = |idx: usize| layout.position(p.args.get(idx)?);
    let offset = || match p.args.get(1) {
        None => Some(1),
        Some(Expr::Literal(ScalarValue::Int64(Some(n)), _)) => usize::try_from(*n).ok(),
        _ => None,
    };
    Some(match (&f.fun, f.fun.name()) {
        (WindowFunctionDefinition::WindowUDF(_), "row_number") => WindowKernel::RowNumber,
        (WindowFunctionDefinition::WindowUDF(_), "lag") if p.args.len() <= 2 => {
            WindowKernel::Lag { column: column(0)?, offset: offset()? }
        }
        (WindowFunctionDefinition::WindowUDF(_), "lead") if p.args.len() <= 2 => {
            WindowKernel::Lead { column: column(0)?, offset: offset()? }
        }
        (WindowFunctionDefinition::WindowUDF(_), "first_value") => {
            WindowKernel::FirstValue { column: column(0)?, frame }
        }
        (WindowFunctionDefinition::WindowUDF(_), "last_value") => WindowKernel::LastValue { column: column(0)?, frame },
        (WindowFunctionDefinition::AggregateUDF(_), "count") => match p.args.first() {
            Some(Expr::Literal(value, _)) if !value.is_null() => WindowKernel::Count { column: None, frame },
            _ => WindowKernel::Count { column: Some(column(0)?), frame },
        },
        (WindowFunctionDefinition::AggregateUDF(_), "sum") => WindowKernel::Sum { column: column(0)?, frame },
        (WindowFunctionDefinition::AggregateUDF(_), "min") => WindowKernel::Min { column: column(0)?, frame },
        (WindowFunctionDefinition::AggregateUDF(_), "max") => WindowKernel::Max { column: column(0)?, frame },
        _ => return None,
    })
}

fn frame(f: &WindowFunction) -> Option<Frame> {
    let frame = &f.params.window_frame;
    let unbounded = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(v) | WindowFrameBound::Following(v) => v.is_null(),
        WindowFrameBound::CurrentRow => false,
    };
    if !unbounded(&frame.start_bound) {
        return None;
    }
    match (&frame.end_bound, frame.units) {
        (WindowFrameBound::Following(v), _) if v.is_null() => Some(Frame::Whole),
        (WindowFrameBound::CurrentRow, WindowFrameUnits::Rows) => Some(Frame::Rows),
        (WindowFrameBound::CurrentRow, WindowFrameUnits::Range) if f.params.order_by.is_empty() => Some(Frame::Whole),
        (WindowFrameBound::CurrentRow, WindowFrameUnits::Range) => Some(Frame::Range),
        _ => None,
    }
}
