//! OVER on a stream: which rows it waits for, and what it has to remember.
//!
//! Rows leave at once (`ORDER BY arrival`), when the watermark passes them (`ORDER BY <event time>`), or when the bucket that
//! their partition keys hold closes (any order, any function). Where a filter keeps the first row only, keys are enough;
//! where it keeps the first few of a bucket, so are these. In any other order the first few are a table (`top_rows`).

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, Window};
use datafusion::scalar::ScalarValue;

use super::super::builder::{Builder, Facts, NewRelation, arrow_schema, normalise, project_columns, schema_of};
use super::super::error::{Result, refuse};
use super::super::pipeline::{Distribution, OperatorPlan};
use super::super::time_columns::TimeColumn;
use super::super::{arrival, canonical, lineage};
use super::aggregate::event_time_of;
use super::running_function::{Calls, Order};
use super::table_window::{Layout, functions, steps};
use super::top_rows::{self, top_rows};
use crate::catalog::RelationKind;
use crate::functions::Width;
use crate::operators::{
    BucketEdges, BucketWindowSpec, Deadline, FirstBy, FirstRowSpec, RunningOrder, RunningWindowSpec, TopRowsSpec,
};

/// What the planner makes of a window on a stream.
pub(super) struct StreamWindow {
    pub(super) functions: Vec<WindowFunction>,
    pub(super) layout: Layout,
    pub(super) order: Order,
    /// When a row leaves that is ordered by its event time.
    release: Option<Deadline>,
    /// When the bucket closes that a partition key is.
    pub(super) bucket: Option<Deadline>,
    /// How wide it is, if the key is its start.
    pub(super) width: Option<Width>,
    /// The columns to order by, arrival aside.
    pub(super) sorts: Vec<(usize, SortOptions)>,
    lateness_ms: i64,
}

/// Which event time an expression is, in the columns of the leaf. The end of a bucket is one where buckets overlap; else, while
/// rows wait for it, the watermark would pass their start.
fn time_of(builder: &Builder<'_>, input: &LogicalPlan, expr: &Expr) -> Option<TimeColumn> {
    event_time_of(builder, input, expr).filter(|time| match time {
        TimeColumn::Instant => true,
        TimeColumn::End => n_instants(builder, input) == 0,
        TimeColumn::Overlapping => false,
    })
}

/// When all rows with an event time are there: when the watermark is behind it.
fn passed(column: usize, time: TimeColumn, lateness_ms: i64) -> Deadline {
    Deadline { column, bucket: None, offset_ms: time.offset_ms(), after_ms: lateness_ms.saturating_add(1) }
}

/// Turns a window on a stream into a relation.
pub(super) fn cut_stream_window(
    builder: &mut Builder<'_>,
    window: &Window,
    input: LogicalPlan,
    handed_on: Vec<Column>,
    filter: Option<&Expr>,
) -> Result<LogicalPlan> {
    let mut plan = read_window(builder, window, &input, &handed_on)?;
    let n_inputs = window.input.schema().fields().len();
    let added: Vec<_> = window.schema.iter().skip(n_inputs).map(|(q, f)| (q.cloned(), f.clone())).collect();
    let outputs = handed_on.into_iter().chain(added.iter().map(|(q, f)| Column::new(q.clone(), f.name())));
    let outputs: Vec<Expr> = outputs.map(Expr::Column).collect();
    let top = top_rows(builder, &plan, filter, &added)?;
    let limit = filter.and_then(|filter| kept_rows(&plan, filter, added.first().map(|(_, f)| f.name())));
    let operator = match (top, limit) {
        (Some(top), _) => Planned::TopRows(top),
        (None, Some(limit)) => first_row(&plan, limit)?,
        (None, None) => match running(builder, &mut plan, &input)? {
            Some(running) => running,
            None => by_bucket(builder, window, &plan)?,
        },
    };
    let mut fields = plan.layout.fields.clone();
    fields.extend(added);
    let schema = schema_of(fields)?;
    let rows = normalise(input.clone(), plan.layout.exprs.clone())?;
    let (input_schema, output_schema) = (arrow_schema(rows.schema()), arrow_schema(&schema));
    let (node, operator, what) = operator.finish(input_schema, output_schema);
    let distribution = match plan.layout.n_keys {
        0 => Distribution::Single,
        n => Distribution::Hash((0..n).collect()),
    };
    let calls = calls_text(&plan, window);
    let meaning = format!("{what} lateness={}{calls}", plan.lateness_ms);
    let id_without_rows = match &operator {
        // Where no row waits, columns that are only handed on do not matter to the state.
        OperatorPlan::RunningWindow(RunningWindowSpec { order: RunningOrder::Arrival, .. })
        | OperatorPlan::FirstRow(FirstRowSpec { first: FirstBy::Arrival, .. }) => {
            Some(id_without_rows(builder, &plan, &input, &format!("{node}{calls}"))?)
        }
        _ => None,
    };
    let (kind, facts) = match &operator {
        OperatorPlan::TopRows(_) => (RelationKind::Table, top_rows::facts(builder, &plan, &input)),
        _ => (RelationKind::Stream, facts(builder, &plan, &input)),
    };
    let leaf = builder.add(NewRelation {
        node,
        kind,
        schema,
        operator,
        inputs: vec![(rows, distribution)],
        facts,
        arrival: matches!(plan.order, Order::Arrival | Order::LatestArrival),
        meaning,
    })?;
    if let (Some(id), Some(relation)) = (id_without_rows, builder.relations.last_mut()) {
        relation.operator_id = id;
    }
    project_columns(leaf, outputs)
}

/// Reads keys, order and bucket off a window.
fn read_window(
    builder: &Builder<'_>,
    window: &Window,
    input: &LogicalPlan,
    handed_on: &[Column],
) -> Result<StreamWindow> {
    let mut functions = functions(window)?;
    let sorts = functions.first().map(|f| f.params.order_by.clone()).unwrap_or_default();
    let time = |expr: &Expr| time_of(builder, input, &lineage::source_expr(input, expr));
    let time = sorts.first().filter(|first| first.asc && !first.nulls_first).and_then(|first| time(&first.expr));
    let order = match sorts.split_first() {
        Some((first, rest)) if rest.iter().any(|s| arrival::is_marker(&s.expr)) && !arrival::is_marker(&first.expr) => {
            return refuse(
                "C0433",
                "rows that wait for an order cannot be ordered by arrival among themselves",
                "Order by arrival alone, or by columns alone: ties are ordered by the whole row.",
            );
        }
        Some((first, _)) if arrival::is_marker(&first.expr) && first.asc => Order::Arrival,
        Some((first, _)) if arrival::is_marker(&first.expr) => Order::LatestArrival,
        Some(_) if time.is_some() => Order::EventTime,
        _ => Order::Other,
    };
    functions.iter_mut().for_each(|f| f.params.order_by.retain(|sort| !arrival::is_marker(&sort.expr)));
    let mut layout = Layout::of(&functions, input, handed_on)?;
    let mut columns = Vec::new();
    for sort in sorts.iter().filter(|s| !arrival::is_marker(&s.expr) && !matches!(s.expr, Expr::Literal(..))) {
        let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
        columns.push((layout.need(&sort.expr, input)?, options));
    }
    let lateness_ms = builder.allowed_lateness_ms;
    let buckets = (0..layout.n_keys).filter_map(|key| bucket(builder, input, key, layout.exprs.get(key)?, lateness_ms));
    // What is over first is enough.
    // While rows wait by one of several event times, buckets of another one may close.
    let has_buckets = order != Order::EventTime || n_instants(builder, input) <= 1;
    let (bucket, width) = buckets.filter(|_| has_buckets).min_by_key(|(_, width)| width.is_some()).unzip();
    let release = columns.first().zip(time).map(|((column, _), time)| passed(*column, time, lateness_ms));
    Ok(StreamWindow { functions, layout, order, release, bucket, width: width.flatten(), sorts: columns, lateness_ms })
}

/// When a partition is complete whose key is the start of a bucket of the event time, with the width, or an event time itself
/// as the buckets of a stream of buckets are; none if it is neither.
fn bucket(
    builder: &Builder<'_>,
    input: &LogicalPlan,
    column: usize,
    key: &Expr,
    lateness_ms: i64,
) -> Option<(Deadline, Option<Width>)> {
    let zone = builder.zone;
    let source = lineage::source_expr(input, key);
    let source = source.unalias();
    if let Some(time) = time_of(builder, input, &source) {
        return Some((passed(column, time, lateness_ms), None));
    }
    let width = bucket_width(builder, input, &source)?;
    let edges = BucketEdges {
        start: Arc::new(move |instant| width.start_of(instant, zone)),
        end: Arc::new(move |start| width.end_of(start, zone)),
    };
    Some((Deadline { column, bucket: Some(edges), offset_ms: 0, after_ms: lateness_ms }, Some(width)))
}

/// The width of the bucket of the event time that an expression in the columns of the leaf is the start of.
fn bucket_width(builder: &Builder<'_>, input: &LogicalPlan, source: &Expr) -> Option<Width> {
    if let Expr::Column(column) = source {
        // Another window on the stream has it among its keys.
        let leaf = lineage::only_leaf(builder, input)?;
        let (known, width) = builder.facts[leaf].bucket?;
        return (builder.relations[leaf].schema.field(known).name() == &column.name).then_some(width);
    }
    let Expr::ScalarFunction(call) = source else { return None };
    let (width, time) = match (call.func.name(), call.args.as_slice()) {
        ("tumble", [time, Expr::Literal(width, _)]) => (Width::parse(width).ok()?, time),
        ("date_trunc", [Expr::Literal(ScalarValue::Utf8(Some(unit)), _), time]) => (Width::of_date_trunc(unit)?, time),
        _ => return None,
    };
    (event_time_of(builder, input, time) == Some(TimeColumn::Instant)).then_some(width)
}

/// How many rows of a key are kept with their numbers at most; where more are asked for, all of them wait.
const LIMIT_MAX: u64 = 1000;

/// Of how many first rows of each partition a filter lets none but these through; none if more have to be remembered.
fn kept_rows(plan: &StreamWindow, filter: &Expr, number: Option<&String>) -> Option<usize> {
    let [function] = plan.functions.as_slice() else { return None };
    let is_ordered = matches!(plan.order, Order::Arrival | Order::EventTime);
    if function.fun.name() != "row_number" || !(is_ordered || (plan.order == Order::Other && plan.bucket.is_some())) {
        return None;
    }
    let kept = |part: &Expr| {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return None };
        let (Expr::Column(column), Expr::Literal(value, _)) = (left.as_ref(), right.as_ref()) else { return None };
        let n = match value {
            ScalarValue::UInt64(Some(n)) => *n,
            ScalarValue::Int64(Some(n)) => u64::try_from(*n).ok()?,
            _ => return None,
        };
        let limit = match op {
            Operator::Eq | Operator::LtEq => n,
            Operator::Lt => n.checked_sub(1)?,
            _ => return None,
        };
        (Some(&column.name) == number).then_some(limit)
    };
    let limit = split_conjunction(filter).into_iter().filter_map(kept).min()?;
    // Only a closed bucket has all its first rows at once.
    let most = if plan.order == Order::Other { LIMIT_MAX } else { 1 };
    (1..=most).contains(&limit).then(|| usize::try_from(limit).ok()).flatten()
}

/// An operator whose columns are not known yet.
enum Planned {
    FirstRow(FirstRowSpec),
    TopRows(TopRowsSpec),
    Running(RunningWindowSpec),
    Bucket(BucketWindowSpec),
}

impl Planned {
    /// The word for it, the operator, and what it computes in canonical form.
    fn finish(
        self,
        input: arrow::datatypes::SchemaRef,
        schema: arrow::datatypes::SchemaRef,
    ) -> (&'static str, OperatorPlan, String) {
        match self {
            Self::FirstRow(spec) => {
                let what =
                    format!("first_row keys={} {:?} {} bucket={:?}", spec.n_keys, spec.first, spec.limit, spec.bucket);
                ("deduplicate", OperatorPlan::FirstRow(FirstRowSpec { input, schema, ..spec }), what)
            }
            Self::TopRows(spec) => {
                let what = format!(
                    "top_rows keys={} {:?} {:?} bucket={:?}",
                    spec.n_keys, spec.order, spec.numbers, spec.bucket
                );
                ("top_rows", OperatorPlan::TopRows(TopRowsSpec { input, schema, ..spec }), what)
            }
            Self::Running(spec) => {
                let what = format!(
                    "running_window keys={} bucket={:?} {:?} {:?} {:?}",
                    spec.n_keys, spec.bucket, spec.order, spec.frames, spec.functions
                );
                ("running_window", OperatorPlan::RunningWindow(RunningWindowSpec { input, schema, ..spec }), what)
            }
            Self::Bucket(spec) => {
                let what = format!("bucket_window keys={} bucket={:?}", spec.n_keys, spec.bucket);
                ("bucket_window", OperatorPlan::BucketWindow(BucketWindowSpec { input, schema, ..spec }), what)
            }
        }
    }
}

pub(super) fn no_columns() -> arrow::datatypes::SchemaRef {
    Arc::new(arrow::datatypes::Schema::empty())
}

/// When a row leaves: at its event time, else when its bucket closes.
fn release(plan: &StreamWindow) -> Result<Deadline> {
    match plan.release.as_ref().or(plan.bucket.as_ref()) {
        Some(deadline) => Ok(deadline.clone()),
        None => no_order(),
    }
}

fn no_order<T>() -> Result<T> {
    refuse(
        "C0430",
        "OVER on a stream needs an order in which rows can leave",
        "ORDER BY arrival (as they come) or ORDER BY <event time> (when the watermark has passed them); for any other order put a \
         bucket of the event time, such as tumble(<event time>, INTERVAL '1 hour'), into PARTITION BY: rows then leave when \
         it closes. Or keep the first rows of each key, with QUALIFY row_number() OVER (..) <= 10 or rank() and a constant: \
         that is a table.",
    )
}

fn first_row(plan: &StreamWindow, limit: usize) -> Result<Planned> {
    let first = match plan.order {
        Order::Arrival => FirstBy::Arrival,
        Order::LatestArrival | Order::EventTime | Order::Other => {
            FirstBy::Order { release: release(plan)?, columns: plan.sorts.clone() }
        }
    };
    Ok(Planned::FirstRow(FirstRowSpec {
        n_keys: plan.layout.n_keys,
        first,
        limit,
        bucket: plan.bucket.clone(),
        input: no_columns(),
        schema: no_columns(),
    }))
}

/// The operator that handles one row after the other; none if only whole buckets will do.
fn running(builder: &Builder<'_>, plan: &mut StreamWindow, input: &LogicalPlan) -> Result<Option<Planned>> {
    let order = match plan.order {
        Order::Arrival => RunningOrder::Arrival,
        Order::EventTime => RunningOrder::EventTime { release: release(plan)?, columns: plan.sorts.clone() },
        Order::LatestArrival => {
            return refuse(
                "C0433",
                "the last row to arrive is never known",
                "Order by arrival ascending, or by <event time> DESC with a bucket of it in PARTITION BY; or keep the last rows of each \
                 key, with QUALIFY row_number() OVER (PARTITION BY .. ORDER BY arrival DESC) <= 1 or more: that is a table.",
            );
        }
        Order::Other if plan.bucket.is_some() => return Ok(None),
        Order::Other => return no_order(),
    };
    let mut calls = Calls::new(builder, input, plan.order, plan.bucket.is_some());
    for function in &plan.functions {
        match calls.add(function, &mut plan.layout)? {
            Ok(()) => {}
            // By arrival there is no moment at which the rest is known.
            Err(_) if plan.bucket.is_some() && plan.order == Order::EventTime => return Ok(None),
            Err(unknown) => return unknown.refuse(),
        }
    }
    let Calls { frames, functions, .. } = &calls;
    let forget_after_ms = calls.forget_after_ms().filter(|_| plan.order == Order::EventTime);
    Ok(Some(Planned::Running(RunningWindowSpec {
        n_keys: plan.layout.n_keys,
        bucket: plan.bucket.clone(),
        order,
        frames: frames.clone(),
        forget_after_ms: forget_after_ms.map(|ms| ms.saturating_add(plan.lateness_ms).saturating_add(1)),
        functions: functions.clone(),
        input: no_columns(),
        schema: no_columns(),
    })))
}

fn by_bucket(builder: &Builder<'_>, window: &Window, plan: &StreamWindow) -> Result<Planned> {
    let Some(bucket) = &plan.bucket else { return no_order() };
    Ok(Planned::Bucket(BucketWindowSpec {
        n_keys: plan.layout.n_keys,
        bucket: bucket.clone(),
        order: plan.sorts.clone(),
        steps: steps(builder, window, &plan.layout)?,
        input: no_columns(),
        schema: no_columns(),
    }))
}

/// The functions in canonical form.
fn calls_text(plan: &StreamWindow, window: &Window) -> String {
    let schema = window.input.schema();
    let call = |f: &WindowFunction| {
        let p = &f.params;
        let filter = p.filter.as_deref().map_or_else(String::new, |f| canonical::expr(f, schema));
        let args = canonical::exprs(&p.args, schema);
        format!(" ({} [{args}] where={filter} distinct={} {})", f.fun.name(), p.distinct, p.window_frame)
    };
    plan.functions.iter().map(call).collect()
}

/// The id of an operator whose state does not hold the columns that it hands on.
fn id_without_rows(builder: &Builder<'_>, plan: &StreamWindow, input: &LogicalPlan, what: &str) -> Result<String> {
    let mut exprs: Vec<Expr> = plan.layout.exprs.iter().take(plan.layout.n_keys).cloned().collect();
    for p in plan.functions.iter().map(|f| &f.params) {
        exprs.extend(p.args.iter().chain(p.filter.as_deref()).filter(|e| !matches!(e, Expr::Literal(..))).cloned());
    }
    let rows = canonical::plan(builder, &normalise(input.clone(), exprs)?);
    Ok(canonical::id(&format!("{what} arrival bucket={:?} lateness={} {rows}", plan.bucket, plan.lateness_ms)))
}

/// How many columns hold event times, ends of buckets aside.
fn n_instants(builder: &Builder<'_>, input: &LogicalPlan) -> usize {
    lineage::event_times(builder, input).iter().filter(|(_, time)| *time == TimeColumn::Instant).count()
}

/// What is known of the rows that leave.
fn facts(builder: &Builder<'_>, plan: &StreamWindow, input: &LogicalPlan) -> Facts {
    let columns = input.schema().columns();
    let place = |idx: usize| {
        let column = Expr::Column(columns.get(idx)?.clone());
        plan.layout.exprs.iter().rposition(|e| *e == column)
    };
    // A key stands first without its name, under which it is only known where it is handed on as well.
    let own = |column: usize| {
        let key = plan.layout.exprs.get(column)?.clone().unalias();
        plan.layout.exprs.iter().rposition(|e| *e == key)
    };
    let own_bucket = plan.bucket.as_ref().zip(plan.width).and_then(|(b, width)| Some((own(b.column)?, width)));
    let bucket = own_bucket.or_else(|| lineage::bucket(builder, input).and_then(|(c, width)| Some((place(c)?, width))));
    let times = lineage::event_times(builder, input);
    // While rows wait by one of several times, the watermark may pass another one.
    if n_instants(builder, input) > 1 && plan.order != Order::Arrival {
        let by = plan.sorts.first().filter(|_| plan.order == Order::EventTime).map(|(column, _)| *column);
        let by = by.or_else(|| plan.bucket.as_ref().filter(|b| b.bucket.is_none()).map(|b| b.column));
        // A bucket of another time than this one may be passed as well.
        let bucket = bucket.filter(|_| plan.width.is_some());
        return Facts { event_time: by.and_then(own), bucket, ..Facts::default() };
    }
    Facts {
        event_time: lineage::event_time(builder, input).and_then(place),
        event_times: times.into_iter().filter_map(|(column, time)| Some((place(column)?, time))).collect(),
        bucket,
        ..Facts::default()
    }
}

impl Layout {
    /// Where an expression lies; it is put there if need be.
    pub(super) fn need(&mut self, expr: &Expr, input: &LogicalPlan) -> Result<usize> {
        match self.position(expr) {
            Some(position) => Ok(position),
            None => {
                self.push(expr, input, None)?;
                Ok(self.exprs.len() - 1)
            }
        }
    }

    /// The type of a column.
    pub(super) fn data_type(&self, column: usize) -> Option<&DataType> {
        self.fields.get(column).map(|(_, field)| field.data_type())
    }
}
