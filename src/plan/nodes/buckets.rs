//! Which group key of an aggregate is a time bucket, and the input that an operator needs for it.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Filter, LogicalPlan, Projection, SubqueryAlias, Unnest,
};
use datafusion::scalar::ScalarValue;

use super::super::bucket_marks::BUCKET;
use super::super::builder::Builder;
use super::super::error::{Result, refuse};
use super::super::lineage;
use super::super::time_columns::TimeColumn;
use crate::functions::{Hop, Width, hop_pane};
use crate::operators::{AggregateCall, AggregateFunction};

/// A group key that is a time bucket.
pub(super) struct Bucket {
    /// The place of the key.
    pub idx: usize,
    pub kind: BucketKind,
}

/// The kinds of buckets.
#[derive(Clone)]
pub(super) enum BucketKind {
    /// One bucket after the other: `tumble`, `date_trunc`.
    Tumble(Width),
    /// Overlapping buckets.
    Hop(Hop),
    /// Sessions with this gap, as width and as it was written.
    Session(Width, ScalarValue),
}

/// A bucket with the plan and the expression of its time.
type Found = (Bucket, LogicalPlan, Expr);

/// Finds the bucket of `hop` or `session` among the group keys of an aggregate over a cut input.
pub(super) fn find_unnested(aggregate: &Aggregate, input: &LogicalPlan) -> Result<Option<Found>> {
    for (idx, key) in aggregate.group_expr.iter().enumerate() {
        if let Some((kind, below, time)) = marked(input, key)? {
            return Ok(Some((Bucket { idx, kind }, below, time)));
        }
    }
    Ok(None)
}

/// Finds the bucket among the group keys of an aggregate over a cut input.
pub(super) fn find(aggregate: &Aggregate, input: &LogicalPlan) -> Result<Option<Found>> {
    if let Some(found) = find_unnested(aggregate, input)? {
        return Ok(Some(found));
    }
    for (idx, key) in aggregate.group_expr.iter().enumerate() {
        let source = lineage::source_expr(input, key);
        let Expr::ScalarFunction(call) = source.unalias() else { continue };
        let (width, time) = match (call.func.name(), call.args.as_slice()) {
            ("tumble", [time, Expr::Literal(width, _)]) => (Width::parse(width).map_err(|e| e.to_string()), time),
            ("date_trunc", [Expr::Literal(ScalarValue::Utf8(Some(unit)), _), time]) => {
                let width = Width::of_date_trunc(unit);
                (width.ok_or_else(|| format!("date_trunc does not know the unit `{unit}`")), time)
            }
            ("date_bin", [Expr::Literal(width, _), time]) => (Width::parse(width).map_err(|e| e.to_string()), time),
            ("date_bin", [_, _, _]) => {
                return refuse(
                    "C0427",
                    "date_bin with an origin is no bucket of the calendar",
                    "Leave the origin out, or write tumble(<event time>, INTERVAL '15 minutes').",
                );
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
        return match width {
            Ok(width) => Ok(Some((Bucket { idx, kind: BucketKind::Tumble(width) }, input.clone(), time.clone()))),
            Err(reason) => refuse("C0427", reason, "Write tumble(<event time>, INTERVAL '1 hour')."),
        };
    }
    Ok(None)
}

/// The bucket of an unnested key.
fn marked(input: &LogicalPlan, key: &Expr) -> Result<Option<(BucketKind, LogicalPlan, Expr)>> {
    let Some(below) = descend(input, vec![key.clone().unalias()]) else { return Ok(None) };
    let Some(Expr::Column(column)) = below.exprs.first() else { return Ok(None) };
    if column.name != BUCKET {
        return Ok(None);
    }
    let input = below.unnest.input.as_ref().clone();
    let Expr::ScalarFunction(call) = lineage::source_expr(&input, &Expr::Column(column.clone())).unalias() else {
        return Ok(None);
    };
    let width = |arg: &Expr| match arg {
        Expr::Literal(width, _) => Width::parse(width).ok().map(|parsed| (parsed, width.clone())),
        _ => None,
    };
    let widths: Vec<(Width, ScalarValue)> = call.args.iter().skip(1).filter_map(width).collect();
    let kind = match (call.func.name(), widths.as_slice()) {
        ("hop_starts", [(slide, _), (width, _)]) => match Hop::new(*slide, *width) {
            Ok(hop) => BucketKind::Hop(hop),
            Err(reason) => return refuse("C0427", reason.to_string(), "Make the slide longer or the width shorter."),
        },
        ("session_instant", [(gap, written)]) => BucketKind::Session(*gap, written.clone()),
        _ => return Ok(None),
    };
    Ok(call.args.first().map(|time| (kind, input, time.clone())))
}

/// An aggregate over a column that was unnested for its bucket, written over what lies below.
pub(super) struct Below {
    /// The expressions that were given.
    exprs: Vec<Expr>,
    /// Conditions on the way that do not read the bucket.
    conditions: Vec<Expr>,
    /// Conditions that do, with the expressions that were given as they are at that place.
    on_bucket: Vec<(Expr, Vec<Expr>)>,
    unnest: Unnest,
}

/// Writes expressions over a plan's columns in those of the unnesting of buckets below it; none if there is none.
fn descend(plan: &LogicalPlan, exprs: Vec<Expr>) -> Option<Below> {
    let mut below = Below { exprs, conditions: Vec::new(), on_bucket: Vec::new(), unnest: unnest_below(plan)? };
    let mut plan = plan;
    loop {
        match plan {
            LogicalPlan::Projection(p) => {
                below.substitute(plan, &|idx| p.expr.get(idx).map(|e| e.clone().unalias()));
                plan = &p.input;
            }
            LogicalPlan::SubqueryAlias(a) => {
                let columns = a.input.schema().columns();
                below.substitute(plan, &|idx| columns.get(idx).cloned().map(Expr::Column));
                plan = &a.input;
            }
            LogicalPlan::Filter(f) => {
                for condition in split_conjunction_owned(f.predicate.clone()) {
                    match reads_bucket(&f.input, &condition) {
                        true => below.on_bucket.push((condition, below.exprs.clone())),
                        false => below.conditions.push(condition),
                    }
                }
                plan = &f.input;
            }
            LogicalPlan::Unnest(_) => return Some(below),
            _ => return None,
        }
    }
}

fn unnest_below(plan: &LogicalPlan) -> Option<Unnest> {
    match plan {
        LogicalPlan::Projection(p) => unnest_below(&p.input),
        LogicalPlan::SubqueryAlias(a) => unnest_below(&a.input),
        LogicalPlan::Filter(f) => unnest_below(&f.input),
        LogicalPlan::Unnest(u) if u.exec_columns.iter().any(|c| c.name == BUCKET) => Some(u.clone()),
        _ => None,
    }
}

/// Whether an expression over a plan's columns reads the unnested bucket.
fn reads_bucket(plan: &LogicalPlan, expr: &Expr) -> bool {
    let below = descend(plan, vec![expr.clone()]);
    below.is_some_and(|b| b.exprs.iter().any(|e| e.column_refs().iter().any(|c| c.name == BUCKET)))
}

impl Below {
    fn substitute(&mut self, plan: &LogicalPlan, below: &dyn Fn(usize) -> Option<Expr>) {
        for expr in self.exprs.iter_mut().chain(&mut self.conditions) {
            let replaced = expr.clone().transform(|e| {
                Ok(match &e {
                    Expr::Column(c) => match plan.schema().index_of_column(c).ok().and_then(below) {
                        Some(expr) => Transformed::yes(expr),
                        None => Transformed::no(e),
                    },
                    _ => Transformed::no(e),
                })
            });
            if let Ok(replaced) = replaced {
                *expr = replaced.data;
            }
        }
    }
}

/// The input of a bucket that an operator makes of single rows, in place of the unnesting.
pub(super) struct SingleRows {
    /// Rows with a column [`BUCKET`] that is never null.
    pub plan: LogicalPlan,
    /// The expressions that were given, over its columns.
    pub exprs: Vec<Expr>,
    /// Conditions for the rows of the aggregate, over its columns.
    pub conditions: Vec<Expr>,
}

/// Takes the unnesting out: each row once, with its pane or its instant. `exprs` are the aggregate's keys and whatever else
/// is wanted of the input.
pub(super) fn single_rows(
    builder: &Builder<'_>,
    aggregate: &Aggregate,
    input: &LogicalPlan,
    exprs: Vec<Expr>,
) -> Result<SingleRows> {
    let n_keys = aggregate.group_expr.len();
    let unusual = || {
        refuse(
            "C0482",
            "the rows of a bucket could not be told from conditions on it",
            "Put the conditions on window_start and window_end into a query around this one.",
        )
    };
    let Some(below) = descend(input, exprs) else { return unusual() };
    let zone = builder.zone;
    let plan = replace_list(&below.unnest.input, &|call| match call.func.name() {
        "hop_starts" => Ok(Some(hop_pane(zone).call(call.args.clone()))),
        "session_instant" => {
            let Some(time) = call.args.first() else { return Ok(None) };
            Ok(Some(time.clone()))
        }
        _ => Ok(None),
    })?;
    let Some(plan) = plan else { return unusual() };
    let bucket = Expr::Column(Column::from_name(BUCKET));
    let kept = below.conditions.into_iter().chain([bucket.is_not_null()]);
    let plan = match conjunction(kept) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?),
        None => plan,
    };
    let outputs = aggregate.schema.columns();
    let mut conditions = Vec::new();
    for (condition, exprs) in below.on_bucket {
        let keys: Vec<Expr> = exprs.into_iter().take(n_keys).map(Expr::unalias).collect();
        match over_outputs(condition, &keys, &outputs)? {
            Some(condition) => conditions.push(condition),
            None => return unusual(),
        }
    }
    Ok(SingleRows { plan, exprs: below.exprs, conditions })
}

/// A condition on group keys as one on the aggregate's output columns; none if it reads anything else.
fn over_outputs(condition: Expr, keys: &[Expr], outputs: &[Column]) -> Result<Option<Expr>> {
    let replaced = condition.transform_down(|e| {
        let place = keys.iter().position(|key| *key == e);
        Ok(match place.and_then(|place| outputs.get(place)) {
            Some(column) => Transformed::new(Expr::Column(column.clone()), true, TreeNodeRecursion::Jump),
            None => Transformed::no(e),
        })
    })?;
    let is_over_outputs = replaced.data.column_refs().into_iter().all(|column| outputs.contains(column));
    Ok(is_over_outputs.then_some(replaced.data))
}

type Replace<'a> = dyn Fn(&datafusion::logical_expr::expr::ScalarFunction) -> Result<Option<Expr>> + 'a;

/// Replaces the list of buckets in a plan by a single value; none if it is not found.
fn replace_list(plan: &LogicalPlan, replace: &Replace<'_>) -> Result<Option<LogicalPlan>> {
    Ok(match plan {
        LogicalPlan::Projection(p) => {
            let mut exprs = p.expr.clone();
            let mut found = false;
            for expr in &mut exprs {
                let is_bucket = expr.schema_name().to_string() == BUCKET;
                if let (true, Expr::ScalarFunction(call)) = (is_bucket, expr.clone().unalias())
                    && let Some(value) = replace(&call)?
                {
                    let DataType::List(member) = expr.get_type(p.input.schema().as_ref())? else { return Ok(None) };
                    let value = match value.get_type(p.input.schema().as_ref())? == *member.data_type() {
                        true => value,
                        false => value.cast_to(member.data_type(), p.input.schema().as_ref())?,
                    };
                    *expr = value.alias(BUCKET);
                    found = true;
                }
            }
            match found {
                true => Some(LogicalPlan::Projection(Projection::try_new(exprs, p.input.clone())?)),
                false => replace_list(&p.input, replace)?
                    .map(|input| Projection::try_new(exprs, Arc::new(input)))
                    .transpose()?
                    .map(LogicalPlan::Projection),
            }
        }
        LogicalPlan::Filter(f) => replace_list(&f.input, replace)?
            .map(|input| Filter::try_new(f.predicate.clone(), Arc::new(input)))
            .transpose()?
            .map(LogicalPlan::Filter),
        LogicalPlan::SubqueryAlias(a) => replace_list(&a.input, replace)?
            .map(|input| SubqueryAlias::try_new(Arc::new(input), a.alias.clone()))
            .transpose()?
            .map(LogicalPlan::SubqueryAlias),
        _ => None,
    })
}

/// Which output columns of an aggregate hold the end of its session: the greatest end of the sessions of single rows. The
/// input `plan` has the aggregates' arguments in the operator's order.
pub(super) fn session_ends(
    calls: &[AggregateCall],
    n_keys: usize,
    plan: &LogicalPlan,
    time: &Expr,
    gap: &ScalarValue,
) -> Vec<(usize, TimeColumn)> {
    let columns = plan.schema().columns();
    let is_end = |call: &AggregateCall| {
        let is_plain = call.function == AggregateFunction::Max && call.filter.is_none();
        let column = call.argument.filter(|_| is_plain).and_then(|column| columns.get(column));
        let source = column.map(|column| lineage::source_expr(plan, &Expr::Column(column.clone())).unalias());
        let Some(Expr::ScalarFunction(end)) = source else { return false };
        let of = match end.args.as_slice() {
            [of, Expr::Literal(literal, _)] if literal == gap => of,
            _ => return false,
        };
        end.func.name() == "session_end" && of == time
    };
    let ends = calls.iter().enumerate().filter(|(_, call)| is_end(call));
    ends.map(|(idx, _)| (n_keys + idx, TimeColumn::End)).collect()
}

/// In how many buckets a row may lie where it is taken into each of them by itself.
const OVERLAP_MAX: i64 = 400;

/// Refuses buckets of which each row lies in very many, where rows are not shared between them.
pub(super) fn check_overlap(hop: Hop) -> Result<()> {
    match hop.overlap() {
        n if n > OVERLAP_MAX => refuse(
            "C0483",
            format!(
                "each row changes {n} buckets of `hop`, and at most {OVERLAP_MAX} are possible where changes leave"
            ),
            "Group a stream with EMIT FINAL, make the slide longer, or make the width shorter.",
        ),
        _ => Ok(()),
    }
}

/// Puts conditions on the rows of an aggregate over its leaf.
pub(super) fn with_conditions(leaf: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(match conjunction(conditions) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(leaf))?),
        None => leaf,
    })
}

impl std::fmt::Display for BucketKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // The function in the key says it all.
            Self::Tumble(_) => Ok(()),
            Self::Hop(hop) => write!(f, "hop {hop}"),
            Self::Session(gap, _) => write!(f, "session {gap}"),
        }
    }
}
