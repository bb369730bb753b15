//! Joins of two streams: rows match within bounds on event time, so that state ends.

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchemaRef, NullEquality};
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan};

use super::super::builder::{Builder, Facts, NewRelation, arrow_schema, normalise, schema_of};
use super::super::error::{Result, refuse};
use super::super::pipeline::{Distribution, OperatorPlan};
use super::super::time_columns::TimeColumn;
use super::super::{canonical, lineage, working_days};
use super::interval_bounds::{Instant, SideBounds, bounds};
use super::join::{Side, own_schema, own_times, predicate};
use crate::catalog::RelationKind;
use crate::operators::{IntervalJoinSpec, IntervalKind, IntervalSide, JoinKind};

/// Turns a join of two streams into a relation. The join has been turned so that its left side is kept.
pub(super) fn join_streams(
    builder: &mut Builder<'_>,
    join: &Join,
    kind: JoinKind,
    [left, right]: [Side; 2],
    filter: Option<&Expr>,
) -> Result<LogicalPlan> {
    if join.null_aware {
        return refuse(
            "C0461",
            "NOT IN compares a row of a stream with all rows of another, also those to come",
            "Write NOT EXISTS (SELECT 1 FROM .. WHERE ..) with bounds on both event times.",
        );
    }
    let kind = match kind {
        JoinKind::Inner => IntervalKind::Inner,
        JoinKind::Left => IntervalKind::Left,
        JoinKind::LeftSemi => IntervalKind::Semi,
        JoinKind::LeftAnti => IntervalKind::Anti,
        JoinKind::LeftMark => IntervalKind::Mark,
        JoinKind::Full => IntervalKind::Full,
    };
    let [left_bounds, right_bounds] = match bounds(builder, [&left.plan, &right.plan], &join.on, filter) {
        Ok(found) => found,
        Err(is_bounded) => return without_bounds(builder, [&left, &right], is_bounded, filter),
    };
    let schema = output_schema(join, &left, &right, kind)?;
    let (left_own, right_own) = (own_schema(&left)?, own_schema(&right)?);
    let both = left_own.iter().chain(right_own.iter()).map(|(q, f)| (q.cloned(), f.clone())).collect();
    let filter_text = filter.map_or(String::new(), |f| canonical::expr(f, &join.schema));
    let filter = filter.map(|f| predicate(builder, f.clone(), &schema_of(both)?)).transpose()?;
    let (left_plan, left_spec) = side(builder, &left, left_bounds)?;
    let (right_plan, right_spec) = side(builder, &right, right_bounds)?;
    let n_keys = left.on.len();
    let facts = facts(builder, &left, &right, kind);
    let offsets = [&left_spec, &right_spec]
        .map(|s| format!("{} {:?} {:?}", s.time_offset_ms, s.until_offsets_ms, s.from_offsets_ms));
    let spec = IntervalJoinSpec {
        kind,
        n_keys,
        null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
        filter,
        sides: [left_spec, right_spec],
        allowed_lateness_ms: builder.allowed_lateness_ms,
        schema: arrow_schema(&schema),
    };
    let meaning = format!(
        "interval_join {kind:?} keys={n_keys} nulls={} lateness={} bounds={offsets:?} filter={filter_text}",
        spec.null_equals_null, spec.allowed_lateness_ms
    );
    let distribution = match n_keys {
        0 => Distribution::Single,
        _ => Distribution::Hash((0..n_keys).collect()),
    };
    builder.add(NewRelation {
        node: "interval_join",
        kind: RelationKind::Stream,
        schema,
        operator: OperatorPlan::IntervalJoin(spec),
        inputs: vec![(left_plan, distribution.clone()), (right_plan, distribution)],
        facts,
        arrival: false,
        meaning,
    })
}

/// Says which event time is not bounded, and how it could be.
fn without_bounds<T>(
    builder: &Builder<'_>,
    sides: [&Side; 2],
    is_bounded: [bool; 2],
    filter: Option<&Expr>,
) -> Result<T> {
    let [Some(left), Some(right)] = sides.map(|side| time_name(builder, &side.plan)) else {
        return refuse(
            "C0462",
            "a join of two streams needs an event time on both sides, and one has none",
            "Declare event_time in CREATE STREAM, and keep that column where the stream is read by way of a view.",
        );
    };
    // Beside a subquery, or the second of two relations, the calendar is not that of the row whose days are counted.
    if let Some(function) = filter.and_then(working_days::call_in) {
        return refuse(
            "C0465",
            format!(
                "`{function}` bounds a join of two streams by days of the one and the calendar that the other is joined with"
            ),
            format!(
                "Count the days in a view of the stream whose they are, and compare with its column: \
                 CREATE VIEW v AS SELECT *, {function}({left}, 3) AS due_at FROM .."
            ),
        );
    }
    let no_end = |of: &str, by: &str| format!("no condition says up to which `{of}` rows may match a given `{by}`");
    let reason = match is_bounded {
        [true, false] => no_end(&right, &left),
        [false, true] => no_end(&left, &right),
        _ => format!("no condition bounds `{left}` and `{right}` by one another"),
    };
    refuse(
        "C0410",
        format!("a join of two streams would keep their rows for ever: {reason}"),
        format!(
            "Bound both in ON, as in {left} BETWEEN {right} - INTERVAL '1 hour' AND {right} + INTERVAL '1 hour'; \
             or declare one of them as a table with a key and a retention."
        ),
    )
}

/// How a query may call the event time of a side, also where it reads it nowhere.
fn time_name(builder: &Builder<'_>, plan: &LogicalPlan) -> Option<String> {
    let column = match lineage::event_time(builder, plan) {
        Some(column) => plan.schema().columns().into_iter().nth(column)?,
        None => {
            let leaf = lineage::only_leaf(builder, plan)?;
            let name = builder.relations[leaf].schema.field(builder.facts[leaf].event_time?).name().clone();
            Column::new(plan.schema().iter().next()?.0.cloned(), name)
        }
    };
    // A subquery goes by a name of DataFusion's.
    match (&column.relation, lineage::only_leaf(builder, plan)) {
        (Some(qualifier), Some(leaf)) if qualifier.table().starts_with("__") => {
            Some(format!("{}.{}", builder.relations[leaf].name, column.name))
        }
        _ => Some(column.flat_name()),
    }
}

fn output_schema(join: &Join, left: &Side, right: &Side, kind: IntervalKind) -> Result<DFSchemaRef> {
    let both = matches!(kind, IntervalKind::Inner | IntervalKind::Left | IntervalKind::Full);
    let mut fields = Vec::new();
    for column in left.own.iter().chain(right.own.iter().filter(|_| both)) {
        let (qualifier, field) = join.schema.qualified_field_from_column(column)?;
        fields.push((qualifier.cloned(), field.clone()));
    }
    if kind == IntervalKind::Mark
        && let Some((qualifier, field)) = join.schema.iter().last()
    {
        fields.push((qualifier.cloned(), field.clone()));
    }
    schema_of(fields)
}

/// The plan of an input, and what the operator must know of it.
fn side(builder: &Builder<'_>, side: &Side, bounds: SideBounds) -> Result<(LogicalPlan, IntervalSide)> {
    let SideBounds { time, untils, froms } = bounds;
    let offsets = |of: &[Instant]| of.iter().map(|(_, offset)| *offset).collect::<Vec<i64>>();
    let (time_offset_ms, until_offsets_ms, from_offsets_ms) = (time.1, offsets(&untils), offsets(&froms));
    let instants = std::iter::once(time).chain(untils).chain(froms).map(|(expr, _)| instant(side, expr));
    let instants = instants.collect::<Result<Vec<Expr>>>()?;
    let own = side.own.iter().cloned().map(Expr::Column);
    let plan = normalise(side.plan.clone(), side.on.iter().cloned().chain(instants).chain(own).collect())?;
    let event_times = own_times(builder, side).into_iter().map(|(idx, time)| (idx, time.offset_ms())).collect();
    let input = arrow_schema(plan.schema());
    Ok((plan, IntervalSide { input, time_offset_ms, until_offsets_ms, from_offsets_ms, event_times }))
}

/// A bound as the operator reads it.
fn instant(side: &Side, expr: Expr) -> Result<Expr> {
    match expr.get_type(side.plan.schema().as_ref())? {
        DataType::Timestamp(..) => Ok(expr),
        other => refuse(
            "C0463",
            format!("a bound on the event time of a stream is {other} instead of a timestamp"),
            "Compare the event time itself with a timestamp: CAST(<date> AS TIMESTAMP WITH TIME ZONE).",
        ),
    }
}

/// The event times of both sides remain those of the result; the left side's stands for it where one is asked for.
fn facts(builder: &Builder<'_>, left: &Side, right: &Side, kind: IntervalKind) -> Facts {
    let both = matches!(kind, IntervalKind::Inner | IntervalKind::Left | IntervalKind::Full);
    let mut event_times = own_times(builder, left);
    if both {
        let of_right = own_times(builder, right).into_iter();
        event_times.extend(of_right.map(|(idx, time)| (idx + left.own.len(), time)));
    }
    let event_time = event_times.iter().find(|(_, time)| *time == TimeColumn::Instant).map(|(idx, _)| *idx);
    Facts { event_time, event_times, ..Facts::default() }
}
