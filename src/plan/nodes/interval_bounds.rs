//! What the conditions of a join of streams say of event times: until when each side's rows may have a match.
//!
//! A condition `time of one side + constant <= expression of the other side` bounds the former; so does one on the bucket
//! that holds the time. It need not be exact:
//! the join's filter decides about pairs, bounds only tell how long rows must wait.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::Between;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use super::super::builder::Builder;
use super::super::time_columns::TimeColumn;
use super::super::{lineage, time_columns};

const DAY_MS: i64 = 86_400_000;
/// A twelfth of the mean year of the calendar.
const MONTH_MS: i64 = 2_629_746_000;
/// How much a number of months may differ from as many mean months.
const MONTHS_ROOM_MS: i64 = 4 * DAY_MS;
/// How much a number of days may differ from as many times 24 hours: where a zone changes its offset.
const DAYS_ROOM_MS: i64 = DAY_MS;

/// An expression that yields an instant, and what is to be added to it in milliseconds.
pub(super) type Instant = (Expr, i64);

/// What is known of one side.
#[derive(Debug)]
pub(super) struct SideBounds {
    /// The event time that the other side's rows bound.
    pub(super) time: Instant,
    /// Event times of the other side up to which a row may match.
    pub(super) untils: Vec<Instant>,
    /// Event times of the other side from which on a row may match.
    pub(super) froms: Vec<Instant>,
}

/// `low <= high`.
struct AtMost<'e> {
    low: &'e Expr,
    high: &'e Expr,
}

/// An event time of a side, shifted by a constant, and perhaps cut to the start of a bucket.
struct Shifted {
    /// The column, as text.
    column: String,
    kind: TimeColumn,
    shift: Shift,
    /// The width of the bucket of which it is the start, if it is cut to one.
    bucket: Option<ScalarValue>,
}

/// How far an interval may reach, in milliseconds: months and days differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shift {
    least_ms: i64,
    most_ms: i64,
}

/// Finds the bounds of both sides. Where a time is not bounded from above, the error says for each side whether its is.
pub(super) fn bounds(
    builder: &Builder<'_>,
    plans: [&LogicalPlan; 2],
    on: &[(Expr, Expr)],
    filter: Option<&Expr>,
) -> Result<[SideBounds; 2], [bool; 2]> {
    let conditions = conditions(on, filter);
    let [left, right] = [0, 1].map(|side| chosen_time(builder, plans, side, &conditions));
    let (Some(left), Some(right)) = (&left, &right) else { return Err([left.is_some(), right.is_some()]) };
    let of_side = |side: usize| {
        let ((time, _), (_, other)) = if side == 0 { (left, right) } else { (right, left) };
        let (mut untils, mut froms) = (Vec::new(), Vec::new());
        for AtMost { low, high } in &conditions {
            // The other side's time, bounded by this side's columns.
            if is_of(plans[side], high)
                && let Some(bounded) = shifted(builder, plans[1 - side], low).filter(|t| t.column == *other)
            {
                let offset = bounded.kind.offset_ms().saturating_sub(bounded.shift.least_ms);
                untils.extend(last_of_bucket(builder, (*high).clone(), offset, bounded.bucket));
            }
            if is_of(plans[side], low)
                && let Some(bounded) = shifted(builder, plans[1 - side], high).filter(|t| t.column == *other)
            {
                let offset = bounded.kind.offset_ms().saturating_sub(bounded.shift.most_ms);
                froms.push(((*low).clone(), offset));
            }
        }
        SideBounds { time: time.clone(), untils, froms }
    };
    Ok([of_side(0), of_side(1)])
}

/// The event time of a side that a condition bounds from above by the other side's columns: how to compute it, and its column.
fn chosen_time(
    builder: &Builder<'_>,
    plans: [&LogicalPlan; 2],
    side: usize,
    conditions: &[AtMost<'_>],
) -> Option<(Instant, String)> {
    let (plan, other) = (plans[side], plans[1 - side]);
    let bounded = conditions.iter().filter(|c| is_of(other, c.high)).map(|c| c.low);
    let found: Vec<Shifted> = bounded.filter_map(|low| shifted(builder, plan, low)).collect();
    let column = &found.first()?.column;
    // The column itself, or an expression that tells it to the millisecond.
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    let all = columns.chain(conditions.iter().flat_map(|c| [c.low.clone(), c.high.clone()]));
    let exact = all.filter(|e| is_of(plan, e)).find_map(|e| {
        let of = shifted(builder, plan, &e).filter(|t| t.column == *column && t.is_exact())?;
        Some((e, of.kind.offset_ms().saturating_sub(of.shift.least_ms)))
    });
    Some((exact?, column.clone()))
}

fn conditions<'e>(on: &'e [(Expr, Expr)], filter: Option<&'e Expr>) -> Vec<AtMost<'e>> {
    let mut found: Vec<AtMost<'e>> = Vec::new();
    let mut compare = |left: &'e Expr, op: Operator, right: &'e Expr| {
        let (below, above) = match op {
            Operator::Lt | Operator::LtEq => (true, false),
            Operator::Gt | Operator::GtEq => (false, true),
            Operator::Eq => (true, true),
            _ => (false, false),
        };
        found.extend(below.then_some(AtMost { low: left, high: right }));
        found.extend(above.then_some(AtMost { low: right, high: left }));
    };
    for (left, right) in on {
        compare(left, Operator::Eq, right);
    }
    for part in filter.into_iter().flat_map(split_conjunction) {
        match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => compare(left, *op, right),
            Expr::Between(Between { expr, negated: false, low, high }) => {
                compare(low, Operator::LtEq, expr);
                compare(expr, Operator::LtEq, high);
            }
            _ => {}
        }
    }
    found
}

/// Whether an expression reads columns of a plan, and of nothing else.
fn is_of(plan: &LogicalPlan, expr: &Expr) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|c| plan.schema().index_of_column(c).is_ok())
}

/// Reads an expression as an event time of a plan, shifted by a constant.
fn shifted(builder: &Builder<'_>, plan: &LogicalPlan, expr: &Expr) -> Option<Shifted> {
    if !is_of(plan, expr) {
        return None;
    }
    let source = lineage::source_expr(plan, expr);
    let bottom = time_columns::bottom(plan);
    let times = time_columns::of_plan(builder, bottom);
    peel(&source, bottom.schema(), &times)
}

fn peel(expr: &Expr, schema: &DFSchema, times: &[Option<TimeColumn>]) -> Option<Shifted> {
    if let Some(kind) = time_columns::of_expr(expr, schema, times).filter(|kind| kind.is_event_time()) {
        let is_instant = matches!(expr.get_type(schema), Ok(DataType::Timestamp(..)));
        return is_instant.then(|| Shifted {
            column: expr.clone().unalias().to_string(),
            kind,
            shift: Shift::default(),
            bucket: None,
        });
    }
    match expr {
        Expr::Alias(alias) => peel(&alias.expr, schema, times),
        // Another unit is the same instant; without its zone it would be another one.
        Expr::Cast(Cast { expr: inner, field }) => match (inner.get_type(schema), field.data_type()) {
            (Ok(DataType::Timestamp(_, from)), DataType::Timestamp(_, to)) if from.is_some() == to.is_some() => {
                peel(inner, schema, times)
            }
            _ => None,
        },
        Expr::ScalarFunction(call) => {
            let (time, width) = match (call.func.name(), call.args.as_slice()) {
                ("tumble", [time, Expr::Literal(width, _)]) => (time, width.clone()),
                ("date_trunc", [Expr::Literal(ScalarValue::Utf8(Some(unit)), _), time]) => (time, width_of(unit)?),
                _ => return None,
            };
            let time = peel(time, schema, times)?;
            time.bucket.is_none().then_some(Shifted { bucket: Some(width), ..time })
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => match (left.as_ref(), right.as_ref()) {
            (time, Expr::Literal(interval, _)) | (Expr::Literal(interval, _), time) => {
                add(peel(time, schema, times)?, Shift::of(interval)?)
            }
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => match right.as_ref() {
            Expr::Literal(interval, _) => add(peel(left, schema, times)?, Shift::of(interval)?.negated()),
            _ => None,
        },
        _ => None,
    }
}

/// The last instant that an upper bound leaves: of a bucket's start, the end of the bucket that holds the bound.
fn last_of_bucket(builder: &Builder<'_>, high: Expr, offset_ms: i64, bucket: Option<ScalarValue>) -> Option<Instant> {
    let Some(width) = bucket else { return Some((high, offset_ms)) };
    let window_end = builder.state.scalar_functions().get("window_end")?;
    Some((window_end.call(vec![high, Expr::Literal(width, None)]), offset_ms.saturating_sub(1)))
}

/// What `date_trunc` cuts to, as an interval.
fn width_of(unit: &str) -> Option<ScalarValue> {
    let (months, days, seconds) = match unit.to_ascii_lowercase().as_str() {
        "second" => (0, 0, 1),
        "minute" => (0, 0, 60),
        "hour" => (0, 0, 3_600),
        "day" => (0, 1, 0),
        "week" => (0, 7, 0),
        "month" => (1, 0, 0),
        "quarter" => (3, 0, 0),
        "year" => (12, 0, 0),
        _ => return None,
    };
    Some(ScalarValue::new_interval_mdn(months, days, seconds * 1_000_000_000))
}

impl Shifted {
    /// Whether it tells the event time to the millisecond.
    fn is_exact(&self) -> bool {
        self.bucket.is_none() && self.shift.least_ms == self.shift.most_ms
    }
}

fn add(time: Shifted, more: Shift) -> Option<Shifted> {
    if time.bucket.is_some() {
        return None;
    }
    let shift = Shift {
        least_ms: time.shift.least_ms.checked_add(more.least_ms)?,
        most_ms: time.shift.most_ms.checked_add(more.most_ms)?,
    };
    Some(Shifted { shift, ..time })
}

impl Shift {
    /// How far an interval reaches.
    fn of(interval: &ScalarValue) -> Option<Self> {
        let (months, days, nanos) = match interval {
            ScalarValue::IntervalMonthDayNano(Some(i)) => (i.months, i.days, i.nanoseconds),
            ScalarValue::IntervalDayTime(Some(i)) => (0, i.days, i64::from(i.milliseconds).checked_mul(1_000_000)?),
            ScalarValue::IntervalYearMonth(Some(months)) => (*months, 0, 0),
            _ => return None,
        };
        let mean_ms = i64::from(months) * MONTH_MS + i64::from(days) * DAY_MS;
        let room = |n: i32, room_ms: i64| if n == 0 { 0 } else { room_ms };
        let room_ms = room(months, MONTHS_ROOM_MS) + room(days, DAYS_ROOM_MS);
        // Fine digits are cut outwards.
        let (least_ms, most_ms) = (nanos.div_euclid(1_000_000), -(-nanos).div_euclid(1_000_000));
        Some(Self { least_ms: mean_ms - room_ms + least_ms, most_ms: mean_ms + room_ms + most_ms })
    }

    fn negated(self) -> Self {
        Self { least_ms: -self.most_ms, most_ms: -self.least_ms }
    }
}
