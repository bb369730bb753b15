//! GROUP BY and DISTINCT: over tables with retraction, over streams by bucket.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, lit};

use super::super::builder::{Builder, Facts, NewRelation, arrow_schema, leaf, normalise, schema_of};
use super::super::cut::{columns_of, cut, unwrap};
use super::super::error::{Result, refuse};
use super::super::event_times::TimeOf;
use super::super::pipeline::{Distribution, OperatorPlan};
use super::super::segment::Runner;
use super::super::time_columns::TimeColumn;
use super::super::{canonical, event_times, time_columns};
use super::buckets::{self, BucketKind, with_conditions};
use super::{final_rows, session, table_window};
use crate::catalog::{Emit, RelationKind};
use crate::functions::Collected;
use crate::operators::{
    AggregateCall, AggregateFunction, BatchFunction, Bucket, BucketEdge, TableAggregateSpec, TableWindowSpec, Window,
    WindowAggregateSpec, WindowStep,
};

/// Turns a GROUP BY into a relation.
pub(in super::super) fn cut_aggregate(builder: &mut Builder<'_>, mut aggregate: Aggregate) -> Result<LogicalPlan> {
    if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
        return refuse("C0420", "GROUPING SETS, ROLLUP and CUBE are not supported", "Union one GROUP BY per grouping.");
    }
    let mut below = columns_of(&aggregate.group_expr);
    below.extend(columns_of(&aggregate.aggr_expr));
    let input = cut(builder, unwrap(aggregate.input.clone()), &below)?;
    let kind = builder.kind(&input)?;
    let calls = calls(&aggregate);
    if kind == RelationKind::Stream {
        return match calls {
            Some((calls, args)) => window_aggregate(builder, aggregate, input, calls, args),
            None => refuse(
                "C0421",
                format!("{} is not supported over a stream", unsupported(&aggregate)),
                "Use count, sum, avg, min, max, bool_and, bool_or or gi_star, or aggregate a table.",
            ),
        };
    }
    // A table's groups need no bucket to end, unless they are final one day.
    let bucket = match builder.emit {
        Some(Emit::Final) => buckets::find(&aggregate, &input)?,
        _ => buckets::find_unnested(&aggregate, &input)?,
    };
    aggregate.input = Arc::new(input.clone());
    match bucket {
        Some((bucket, below, time)) if builder.emit == Some(Emit::Final) => {
            final_rows::check_event_time(builder, &bucket, &below, &time)?;
            let extended = final_rows::with_end(builder, &aggregate, &bucket)?;
            let table = grouped_table(builder, extended, input, Some(&bucket))?;
            final_rows::final_rows(builder, &aggregate, &bucket, table)
        }
        bucket => grouped_table(builder, aggregate, input, bucket.as_ref().map(|(bucket, ..)| bucket)),
    }
}

/// A GROUP BY over a table, which stays one.
fn grouped_table(
    builder: &mut Builder<'_>,
    aggregate: Aggregate,
    input: LogicalPlan,
    bucket: Option<&buckets::Bucket>,
) -> Result<LogicalPlan> {
    match bucket.map(|bucket| &bucket.kind) {
        Some(BucketKind::Session(_, gap)) => return session::over_table(builder, &aggregate, &input, gap.clone()),
        Some(BucketKind::Hop(hop)) => buckets::check_overlap(*hop)?,
        _ => {}
    }
    let calls = calls(&aggregate);
    // What already computes whole partitions computes their groups in the same go.
    if let Some(fused) = table_window::fuse_aggregate(builder, &aggregate, &input)? {
        return Ok(fused);
    }
    match calls {
        Some((calls, args)) => table_aggregate(builder, aggregate, input, calls, args),
        None => whole_groups(builder, aggregate, input),
    }
}

/// The aggregates as the operators know them, and the expressions of their arguments and filters in input order
/// behind the group keys; none if one of them cannot be retracted.
fn calls(aggregate: &Aggregate) -> Option<(Vec<AggregateCall>, Vec<Expr>)> {
    let n_keys = aggregate.group_expr.len();
    let mut args: Vec<Expr> = Vec::new();
    let mut calls = Vec::new();
    for expr in &aggregate.aggr_expr {
        let Expr::AggregateFunction(f) = expr.clone().unalias_nested().data else { return None };
        let p = &f.params;
        let function = match f.func.name() {
            "count" => AggregateFunction::Count,
            "sum" => AggregateFunction::Sum,
            "avg" => AggregateFunction::Avg,
            "min" => AggregateFunction::Min,
            "max" => AggregateFunction::Max,
            "bool_and" => AggregateFunction::BoolAnd,
            "bool_or" => AggregateFunction::BoolOr,
            name => AggregateFunction::Collected(Collected::of_name(name)?),
        };
        let argument = match p.args.as_slice() {
            // Every row counts; only their number does not if equal arguments count once.
            [Expr::Literal(value, _)] if function == AggregateFunction::Count && !value.is_null() && !p.distinct => {
                None
            }
            many if matches!(function, AggregateFunction::Collected(_)) => {
                args.push(as_struct(many));
                Some(n_keys + args.len() - 1)
            }
            [one] => {
                args.push(one.clone());
                Some(n_keys + args.len() - 1)
            }
            _ => return None,
        };
        let filter = p.filter.as_ref().map(|f| {
            args.push(f.as_ref().clone());
            n_keys + args.len() - 1
        });
        calls.push(AggregateCall { function, argument, distinct: p.distinct, filter });
    }
    Some((calls, args))
}

/// Several arguments as one.
fn as_struct(args: &[Expr]) -> Expr {
    let named = |(idx, arg): (usize, &Expr)| [lit(format!("a{idx}")), arg.clone()];
    named_struct(args.iter().enumerate().flat_map(named).collect())
}

/// The name of the aggregate that [`calls`] stumbled over.
fn unsupported(aggregate: &Aggregate) -> String {
    let names = aggregate.aggr_expr.iter().filter_map(|e| match e.clone().unalias() {
        Expr::AggregateFunction(f) => Some(f.func.name().to_owned()),
        _ => None,
    });
    let known = ["count", "sum", "avg", "min", "max", "bool_and", "bool_or"];
    let is_known = |name: &str| known.contains(&name) || Collected::of_name(name).is_some();
    names.into_iter().find(|n| !is_known(n)).unwrap_or_else(|| "this aggregate".into())
}

fn meaning(word: &str, aggregate: &Aggregate) -> String {
    let schema = aggregate.input.schema();
    let (keys, calls) =
        (canonical::exprs(&aggregate.group_expr, schema), canonical::exprs(&aggregate.aggr_expr, schema));
    format!("{word} [{keys}] [{calls}]")
}

fn facts(aggregate: &Aggregate) -> Facts {
    let n_keys = aggregate.group_expr.len();
    Facts { keys: vec![(0..n_keys).collect()], single_row: n_keys == 0, ..Facts::default() }
}

fn by_keys(n_keys: usize) -> Distribution {
    if n_keys == 0 { Distribution::Single } else { Distribution::Hash((0..n_keys).collect()) }
}

fn table_aggregate(
    builder: &mut Builder<'_>,
    aggregate: Aggregate,
    input: LogicalPlan,
    calls: Vec<AggregateCall>,
    args: Vec<Expr>,
) -> Result<LogicalPlan> {
    let n_keys = aggregate.group_expr.len();
    let plan = normalise(input, aggregate.group_expr.iter().cloned().chain(args).collect())?;
    let spec = TableAggregateSpec {
        n_keys,
        aggregates: calls,
        input: arrow_schema(plan.schema()),
        schema: arrow_schema(&aggregate.schema),
    };
    builder.add(NewRelation {
        node: "table_aggregate",
        kind: RelationKind::Table,
        schema: aggregate.schema.clone(),
        operator: OperatorPlan::TableAggregate(spec),
        inputs: vec![(plan, by_keys(n_keys))],
        facts: facts(&aggregate),
        arrival: false,
        meaning: meaning("aggregate", &aggregate),
    })
}

/// A group with an aggregate that cannot be retracted is computed again as a whole.
fn whole_groups(builder: &mut Builder<'_>, aggregate: Aggregate, input: LogicalPlan) -> Result<LogicalPlan> {
    let n_keys = aggregate.group_expr.len();
    if n_keys == 0 {
        return refuse(
            "C0422",
            format!("{} over a whole table would be computed again at every change", unsupported(&aggregate)),
            "Group by a key.",
        );
    }
    let used: Vec<Expr> = {
        let mut columns: Vec<_> = columns_of(&aggregate.aggr_expr).into_iter().collect();
        columns.sort();
        columns.into_iter().map(Expr::Column).collect()
    };
    let plan = normalise(input.clone(), aggregate.group_expr.iter().cloned().chain(used.iter().cloned()).collect())?;
    // Inside the operator the group keys are plain columns; arguments keep the names that the aggregates use.
    let mut fields: Vec<_> = Vec::new();
    for (idx, field) in plan.schema().fields().iter().enumerate() {
        match idx.checked_sub(n_keys).and_then(|i| used.get(i)) {
            Some(Expr::Column(column)) => {
                let (qualifier, _) = input.schema().qualified_field_from_column(column)?;
                fields.push((qualifier.cloned(), Arc::new(field.as_ref().clone().with_name(&column.name))));
            }
            _ => fields.push((Some("key".into()), field.clone())),
        }
    }
    let schema = schema_of(fields)?;
    let keys = schema.columns().into_iter().take(n_keys).map(Expr::Column).collect();
    let inner = Aggregate::try_new(Arc::new(leaf(ROWS, schema)), keys, aggregate.aggr_expr.clone())?;
    let output = arrow_schema(&aggregate.schema);
    let step = WindowStep::Function(function(builder, &LogicalPlan::Aggregate(inner), ROWS, output.clone())?);
    let spec =
        TableWindowSpec { n_keys, steps: vec![step], input: arrow_schema(plan.schema()), schema: output, limit: None };
    let mut facts = facts(&aggregate);
    facts.partition = Some((0..n_keys).collect());
    facts.times = event_times::of_plan(builder, &plan).into_iter().take(n_keys).collect();
    facts.times.resize(aggregate.schema.fields().len(), None);
    builder.add(NewRelation {
        node: "table_window",
        kind: RelationKind::Table,
        schema: aggregate.schema.clone(),
        operator: OperatorPlan::TableWindow(spec),
        inputs: vec![(plan, by_keys(n_keys))],
        facts,
        arrival: false,
        meaning: meaning("groups", &aggregate),
    })
}

/// The name under which a function of whole partitions knows its rows.
pub(in super::super) const ROWS: &str = "rows";

/// Compiles a plan over one leaf into a function of batches.
pub(in super::super) fn function(
    builder: &Builder<'_>,
    plan: &LogicalPlan,
    leaf_name: &'static str,
    output: arrow::datatypes::SchemaRef,
) -> Result<BatchFunction> {
    let runner = Runner::compile(plan, builder.state)?;
    // A run lends rows to the plan and takes them back: one at a time.
    let runner = std::sync::Mutex::new(runner);
    Ok(Arc::new(move |rows: &RecordBatch| {
        let runner = runner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let batches = runner.run(HashMap::from([(leaf_name.to_owned(), rows.clone())]))?;
        let whole = concat_batches(&runner.schema(), &batches)?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(whole.num_rows()));
        Ok(RecordBatch::try_new_with_options(output.clone(), whole.columns().to_vec(), &options)?)
    }))
}

fn window_aggregate(
    builder: &mut Builder<'_>,
    aggregate: Aggregate,
    input: LogicalPlan,
    calls: Vec<AggregateCall>,
    args: Vec<Expr>,
) -> Result<LogicalPlan> {
    let n_keys = aggregate.group_expr.len();
    let found = buckets::find(&aggregate, &input)?;
    if let Some((_, below, time)) = &found
        && !is_event_time(builder, below, time)
    {
        return refuse(
            "C0425",
            "the bucket is not over the stream's event time",
            "Declare the column as event_time of the stream, and bucket it unchanged; of buckets that overlap, and of sessions, that is window_time.",
        );
    }
    let time = found.as_ref().map(|(_, _, time)| time.clone());
    let bucket = found.map(|(bucket, ..)| bucket);
    let emit_final = match (builder.emit, &bucket) {
        (Some(Emit::Final), None) => {
            return refuse(
                "C0423",
                "EMIT FINAL needs a time bucket: without one no group is ever final",
                "Group by tumble(<event time>, INTERVAL '1 hour') as well, or use EMIT CHANGES.",
            );
        }
        (Some(Emit::Changes), _) | (None, None) => false,
        (Some(Emit::Final) | None, Some(_)) => true,
    };
    let zone = builder.zone;
    let mut facts = facts(&aggregate);
    facts.times = vec![None; aggregate.schema.fields().len()];
    let exprs: Vec<Expr> = aggregate.group_expr.iter().cloned().chain(args).collect();
    let mut conditions = Vec::new();
    let mut single_rows = |builder: &Builder<'_>, exprs: Vec<Expr>| -> Result<LogicalPlan> {
        let rows = buckets::single_rows(builder, &aggregate, &input, exprs)?;
        conditions = rows.conditions;
        normalise(rows.plan, rows.exprs)
    };
    let (plan, window) = match bucket.as_ref().map(|bucket| (bucket.idx, bucket.kind.clone())) {
        None => (normalise(input.clone(), exprs)?, None),
        Some((idx, BucketKind::Tumble(width))) => {
            if !emit_final {
                // A table's rows leave after their bucket, as those of a source do after their retention.
                facts.times[idx] = Some(TimeOf { source: builder.relations.len(), bucket: Some(width) });
            }
            // Buckets are event times of what reads them.
            facts.event_time = emit_final.then_some(idx);
            let end: BucketEdge = Arc::new(move |start| width.end_of(start, zone));
            let start: BucketEdge = Arc::new(move |instant| width.start_of(instant, zone));
            (normalise(input.clone(), exprs)?, Some(Window::Starts { end, start }))
        }
        Some((idx, BucketKind::Hop(hop))) if emit_final => {
            facts.event_times = vec![(idx, TimeColumn::Overlapping)];
            (single_rows(builder, exprs)?, Some(Window::Panes(hop, zone.into())))
        }
        Some((_, BucketKind::Hop(hop))) => {
            buckets::check_overlap(hop)?;
            let end: BucketEdge = Arc::new(move |start| hop.end_of(start, zone));
            (normalise(input.clone(), exprs)?, Some(Window::Starts { end, start: Arc::new(|instant| instant) }))
        }
        Some((_, BucketKind::Session(gap, written))) => {
            let end: BucketEdge = Arc::new(move |instant| gap.after(instant, zone));
            let plan = single_rows(builder, exprs)?;
            if let (true, Some(time)) = (emit_final, &time) {
                facts.event_times = buckets::session_ends(&calls, n_keys, &plan, time, &written);
            }
            (plan, Some(Window::Session(end)))
        }
    };
    let kind_of_bucket = bucket.as_ref().map(|bucket| (bucket.idx, bucket.kind.to_string()));
    let bucket = bucket.map(|bucket| bucket.idx).zip(window).map(|(column, window)| Bucket { column, window });
    let spec = WindowAggregateSpec {
        n_keys,
        bucket,
        allowed_lateness_ms: builder.allowed_lateness_ms,
        aggregates: calls,
        emit_final,
        input: arrow_schema(plan.schema()),
        schema: arrow_schema(&aggregate.schema),
    };
    let kind = if emit_final { RelationKind::Stream } else { RelationKind::Table };
    let distribution = by_group(n_keys, spec.bucket.as_ref());
    let bucket_text = match &kind_of_bucket {
        Some((idx, text)) if !text.is_empty() => format!("Some({idx}) {text}"),
        Some((idx, _)) => format!("Some({idx})"),
        None => "None".into(),
    };
    let word = format!("window emit_final={emit_final} bucket={bucket_text} lateness={}", spec.allowed_lateness_ms);
    let leaf = builder.add(NewRelation {
        node: "window_aggregate",
        kind,
        schema: aggregate.schema.clone(),
        operator: OperatorPlan::WindowAggregate(spec),
        inputs: vec![(plan, distribution)],
        facts,
        arrival: false,
        meaning: meaning(&word, &aggregate),
    })?;
    with_conditions(leaf, conditions)
}

/// Where a bucket is made of rows that do not hold its start, all rows of the other keys go to one shard.
fn by_group(n_keys: usize, bucket: Option<&Bucket>) -> Distribution {
    match bucket {
        Some(Bucket { column, window: Window::Panes(..) | Window::Session(_) }) => {
            let others: Vec<usize> = (0..n_keys).filter(|key| key != column).collect();
            if others.is_empty() { Distribution::Single } else { Distribution::Hash(others) }
        }
        _ => by_keys(n_keys),
    }
}

/// Whether an expression, written in the columns of the leaf, is an event time of the leaf.
fn is_event_time(builder: &Builder<'_>, plan: &LogicalPlan, time: &Expr) -> bool {
    event_time_of(builder, plan, time).is_some_and(TimeColumn::is_event_time)
}

/// Which event time of the leaf an expression is that is written in the columns of the leaf.
pub(super) fn event_time_of(builder: &Builder<'_>, plan: &LogicalPlan, time: &Expr) -> Option<TimeColumn> {
    let leaf = time_columns::bottom(plan);
    let is_time = matches!(time.get_type(leaf.schema().as_ref()), Ok(DataType::Timestamp(_, _)));
    let times = time_columns::of_plan(builder, leaf);
    time_columns::of_expr(time, leaf.schema(), &times).filter(|_| is_time)
}
