//! `EMIT FINAL` over tables: the rows of a grouped table, once, when their bucket closes.

use std::sync::Arc;

use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, lit};

use super::super::builder::{Builder, Facts, NewRelation, arrow_schema, normalise};
use super::super::error::{Result, refuse};
use super::super::pipeline::{Distribution, OperatorPlan};
use super::super::time_columns::TimeColumn;
use super::super::{RelationId, event_times, time_columns};
use super::buckets::{Bucket, BucketKind};
use crate::catalog::RelationKind;
use crate::functions::{Width, hop_end, session_end, window_end};
use crate::operators::{BucketEdge, FinalRowsSpec};

/// The name of the column with a session's end.
const END: &str = "__window_end";

/// Refuses a bucket over anything but the event time of a table.
pub(super) fn check_event_time(builder: &Builder<'_>, bucket: &Bucket, below: &LogicalPlan, time: &Expr) -> Result<()> {
    let leaf = time_columns::bottom(below);
    let of = event_times::of_expr(time, leaf.schema(), &event_times::of_plan(builder, leaf));
    let is_event_time = of.is_some_and(|of| match (of.bucket, &bucket.kind) {
        (None, _) => true,
        (Some(inner), BucketKind::Tumble(width)) => inner.nests_in(*width),
        _ => false,
    });
    if is_event_time {
        return of.map_or(Ok(()), |of| check_retention(builder, of.source));
    }
    refuse(
        "C0484",
        "EMIT FINAL: the bucket is not over the event time of a table",
        "Declare the column as event_time of its table, and bucket it unchanged; or use EMIT CHANGES.",
    )
}

/// Refuses to wait for changes of rows that have left memory by then.
fn check_retention(builder: &Builder<'_>, source: RelationId) -> Result<()> {
    let Some(relation) = builder.relations.get(source) else { return Ok(()) };
    let kept_ms = match &relation.operator {
        OperatorPlan::SourceTable(_, spec) => spec.retention.as_ref().map(|retention| retention.retention_ms),
        OperatorPlan::WindowAggregate(spec) if !spec.emit_final => Some(spec.allowed_lateness_ms),
        _ => None,
    };
    let waits_ms = builder.allowed_lateness_ms;
    let Some(kept_ms) = kept_ms.filter(|kept_ms| *kept_ms < waits_ms) else { return Ok(()) };
    let option =
        if matches!(relation.operator, OperatorPlan::SourceTable(..)) { "retention" } else { "allowed_lateness" };
    refuse(
        "C0486",
        format!(
            "EMIT FINAL waits {} behind the end of a bucket (allowed_lateness), but rows of `{}` leave memory after {}",
            in_words(waits_ms),
            relation.name.split('.').next().unwrap_or_default(),
            in_words(kept_ms)
        ),
        format!("Give it {option} = '{}' or more, or a shorter allowed_lateness to what is final.", in_words(waits_ms)),
    )
}

/// A duration as options write it.
fn in_words(ms: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000)];
    let unit = UNITS.into_iter().find(|(unit, length)| ms % length == 0 && (ms != 0 || *unit == "second"));
    let (unit, n) = unit.map_or(("millisecond", ms), |(unit, length)| (unit, ms / length));
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

/// The aggregate with one more column where the end of a bucket does not follow from its start.
pub(super) fn with_end(builder: &Builder<'_>, aggregate: &Aggregate, bucket: &Bucket) -> Result<Aggregate> {
    let BucketKind::Session(_, gap) = &bucket.kind else { return Ok(aggregate.clone()) };
    let Some(instant) = aggregate.group_expr.get(bucket.idx) else { return Ok(aggregate.clone()) };
    let end = session_end(builder.zone).call(vec![instant.clone().unalias(), lit(gap.clone())]);
    let last =
        Expr::AggregateFunction(AggregateFunction::new_udf(max_udaf(), vec![end], false, None, Vec::new(), None));
    let mut calls = aggregate.aggr_expr.clone();
    calls.push(last.alias(END));
    Ok(Aggregate::try_new(aggregate.input.clone(), aggregate.group_expr.clone(), calls)?)
}

/// Puts the relation of final rows behind a grouped table, which has the columns of the aggregate and, of a session, its
/// end behind them.
pub(super) fn final_rows(
    builder: &mut Builder<'_>,
    aggregate: &Aggregate,
    bucket: &Bucket,
    table: LogicalPlan,
) -> Result<LogicalPlan> {
    let n_keys = aggregate.group_expr.len();
    let n_columns = aggregate.schema.fields().len();
    let columns: Vec<Expr> = table.schema().columns().into_iter().map(Expr::Column).collect();
    let zone = builder.zone;
    let start = columns.get(bucket.idx).cloned().into_iter();
    let end = match &bucket.kind {
        BucketKind::Tumble(width) => window_end(zone).call(start.chain([lit(width.interval())]).collect()),
        BucketKind::Hop(hop) => {
            let (slide, width): (Width, Width) = hop.widths();
            hop_end(zone).call(start.chain([lit(slide.interval()), lit(width.interval())]).collect())
        }
        BucketKind::Session(..) => match columns.get(n_columns) {
            Some(end) => end.clone(),
            None => return refuse("C0484", "EMIT FINAL: the end of a session is not known", "Use EMIT CHANGES."),
        },
    };
    let outputs = columns.into_iter().take(n_columns).chain([end]).collect();
    let plan = normalise(table, outputs)?;
    let key: Vec<usize> = (0..n_keys).collect();
    let mut facts = Facts { keys: vec![key.clone()], times: vec![None; n_columns], ..Facts::default() };
    let bucket_start: BucketEdge = match bucket.kind {
        BucketKind::Tumble(width) => {
            facts.event_time = Some(bucket.idx);
            Arc::new(move |instant| width.start_of(instant, zone))
        }
        BucketKind::Hop(_) => {
            facts.event_times = vec![(bucket.idx, TimeColumn::Overlapping)];
            Arc::new(|instant| instant)
        }
        BucketKind::Session(..) => Arc::new(|instant| instant),
    };
    let spec = FinalRowsSpec {
        key: key.clone(),
        start: bucket.idx,
        bucket_start,
        allowed_lateness_ms: builder.allowed_lateness_ms,
        input: arrow_schema(plan.schema()),
        schema: arrow_schema(&aggregate.schema),
    };
    let meaning = format!("final_rows start={} lateness={}", spec.start, spec.allowed_lateness_ms);
    builder.add(NewRelation {
        node: "final_rows",
        kind: RelationKind::Stream,
        schema: aggregate.schema.clone(),
        operator: OperatorPlan::FinalRows(spec),
        inputs: vec![(plan, Distribution::Hash(key.clone()))],
        facts,
        arrival: false,
        meaning,
    })
}
