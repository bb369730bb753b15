//! GROUP BY and DISTINCT: over tables with retraction, over streams by bucket.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::scalar::ScalarValue;

use super::super::builder::{Builder, Facts, NewRelation, arrow_schema, leaf, normalise, schema_of};
use super::super::cut::{columns_of, cut, unwrap};
use super::super::error::{Result, refuse};
use super::super::event_times::TimeOf;
use super::super::pipeline::{Distribution, OperatorPlan};
use super::super::segment::Runner;
use super::super::{canonical, event_times, lineage, time_columns};
use super::table_window;
use crate::catalog::{Emit, RelationKind};
use crate::functions::{Collected, Width};
use crate::operators::{
    AggregateCall, AggregateFunction, BatchFunction, BucketEdge, TableAggregateSpec, TableWindowSpec,
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
    aggregate.input = Arc::new(input.clone());
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
        let Expr::AggregateFunction(f) = expr.clone().unalias() else { return None };
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
    let spec = TableWindowSpec { n_keys, steps: vec![step], input: arrow_schema(plan.schema()), schema: output };
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
    let bucket = bucket(builder, &aggregate, &input)?;
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
    let (zone, width) = (builder.zone, bucket.map(|(_, width)| width));
    let mut facts = facts(&aggregate);
    facts.times = vec![None; aggregate.schema.fields().len()];
    if let Some((idx, width)) = bucket.filter(|_| !emit_final) {
        // A table's rows leave after their bucket, as those of a source do after their retention.
        facts.times[idx] = Some(TimeOf { source: builder.relations.len(), bucket: Some(width) });
    }
    // Buckets are event times of what reads them.
    facts.event_time = bucket.filter(|_| emit_final).map(|(idx, _)| idx);
    let (bucket, bucket_end): (Option<usize>, BucketEdge) = match bucket {
        Some((idx, width)) => (Some(idx), Arc::new(move |start| width.end_of(start, zone))),
        None => (None, Arc::new(|_| i64::MAX)),
    };
    let bucket_start: BucketEdge = match width {
        Some(width) => Arc::new(move |instant| width.start_of(instant, zone)),
        None => Arc::new(|instant| instant),
    };
    let plan = normalise(input, aggregate.group_expr.iter().cloned().chain(args).collect())?;
    let spec = WindowAggregateSpec {
        n_keys,
        bucket,
        bucket_end,
        bucket_start,
        allowed_lateness_ms: builder.allowed_lateness_ms,
        aggregates: calls,
        emit_final,
        input: arrow_schema(plan.schema()),
        schema: arrow_schema(&aggregate.schema),
    };
    let kind = if emit_final { RelationKind::Stream } else { RelationKind::Table };
    let word = format!("window emit_final={emit_final} bucket={bucket:?} lateness={}", spec.allowed_lateness_ms);
    builder.add(NewRelation {
        node: "window_aggregate",
        kind,
        schema: aggregate.schema.clone(),
        operator: OperatorPlan::WindowAggregate(spec),
        inputs: vec![(plan, by_keys(n_keys))],
        facts,
        arrival: false,
        meaning: meaning(&word, &aggregate),
    })
}

/// Which group key is the bucket, and how wide it is.
fn bucket(builder: &Builder<'_>, aggregate: &Aggregate, input: &LogicalPlan) -> Result<Option<(usize, Width)>> {
    for (idx, key) in aggregate.group_expr.iter().enumerate() {
        let source = lineage::source_expr(input, key);
        let Expr::ScalarFunction(call) = source.unalias() else { continue };
        let (width, time) = match (call.func.name(), call.args.as_slice()) {
            ("tumble", [time, Expr::Literal(width, _)]) => (Width::parse(width).map_err(|e| e.to_string()), time),
            ("date_trunc", [Expr::Literal(ScalarValue::Utf8(Some(unit)), _), time]) => {
                let width = Width::of_date_trunc(unit);
                (width.ok_or_else(|| format!("date_trunc does not know the unit `{unit}`")), time)
            }
            ("tumble", _) => {
                return refuse(
                    "C0424",
                    "tumble takes an event time and a constant width",
                    "Write tumble(<event time>, INTERVAL '1 hour').",
                );
            }
            _ => continue,
        };
        let width = match width {
            Ok(width) => width,
            Err(reason) => return refuse("C0427", reason, "Write tumble(<event time>, INTERVAL '1 hour')."),
        };
        if is_event_time(builder, input, time) {
            return Ok(Some((idx, width)));
        }
        return refuse(
            "C0425",
            "the bucket is not over the stream's event time",
            "Declare the column as event_time of the stream, and bucket it unchanged.",
        );
    }
    Ok(None)
}

/// Whether an expression, written in the columns of the leaf, is an event time of the leaf.
fn is_event_time(builder: &Builder<'_>, plan: &LogicalPlan, time: &Expr) -> bool {
    let leaf = time_columns::bottom(plan);
    let is_time = matches!(time.get_type(leaf.schema().as_ref()), Ok(DataType::Timestamp(_, _)));
    let times = time_columns::of_plan(builder, leaf);
    is_time && time_columns::of_expr(time, leaf.schema(), &times).is_some()
}
