//! The functions and frames that OVER on a stream computes row by row.

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlan, Operator, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::scalar::ScalarValue;

use super::super::builder::Builder;
use super::super::error::{Result, refuse};
use super::table_window::Layout;
use crate::operators::{AggregateCall, AggregateFunction, FrameBound, RunningFrame, RunningFunction, ValuePlace};

const DAY_MS: i64 = 86_400_000;

/// How the rows of a window are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Arrival,
    /// By arrival, the last row first.
    LatestArrival,
    /// By the event time first.
    EventTime,
    /// In a way that only a closed bucket knows.
    Other,
}

/// Why a function cannot be computed row by row.
pub(super) enum Unknown {
    /// It looks at rows that come later.
    LooksAhead(String),
    /// The frame is of a kind that is not known.
    Frame(String),
    /// The function, or how it is called, is not known.
    Function(String),
}

impl Unknown {
    /// The refusal of the query.
    pub(super) fn refuse<T>(self) -> Result<T> {
        let by_bucket = "put a bucket of the event time, such as tumble(<event time>, INTERVAL '1 hour'), into PARTITION BY \
                         and ORDER BY <event time>: rows then leave when it closes.";
        match self {
            Self::LooksAhead(what) => refuse(
                "C0434",
                format!("{what} looks at rows of which nobody knows when they are all there"),
                format!(
                    "Let the frame end with CURRENT ROW, before it, or with ORDER BY <event time> so many rows or so long behind it \
                     (3 FOLLOWING, INTERVAL '1 hour' FOLLOWING); or {by_bucket}"
                ),
            ),
            Self::Frame(what) => refuse(
                "C0435",
                format!("{what} is not supported on a stream"),
                "Use ROWS, GROUPS, or RANGE with an interval in months, in days, or in hours and less, and ORDER BY <event time>.",
            ),
            Self::Function(what) => refuse(
                "C0436",
                format!("{what} is not supported row by row on a stream"),
                format!(
                    "Use count, sum, avg, min, max, bool_and, bool_or, array_agg, first_value, last_value, nth_value, lag, lead, \
                     row_number, rank or dense_rank, or {by_bucket}"
                ),
            ),
        }
    }
}

/// The functions of a window and their frames, as they are collected.
pub(super) struct Calls<'a> {
    builder: &'a Builder<'a>,
    input: &'a LogicalPlan,
    order: Order,
    has_bucket: bool,
    pub(super) frames: Vec<RunningFrame>,
    /// By frame: its greatest width, where it slides over event time.
    widths: Vec<Option<i64>>,
    pub(super) functions: Vec<RunningFunction>,
}

impl<'a> Calls<'a> {
    pub(super) fn new(builder: &'a Builder<'a>, input: &'a LogicalPlan, order: Order, has_bucket: bool) -> Self {
        Self { builder, input, order, has_bucket, frames: Vec::new(), widths: Vec::new(), functions: Vec::new() }
    }

    /// For how long after its last row (ms of event time) a partition matters, if all functions slide over event time.
    pub(super) fn forget_after_ms(&self) -> Option<i64> {
        let has_number = self
            .functions
            .iter()
            .any(|f| matches!(f, RunningFunction::RowNumber | RunningFunction::Rank | RunningFunction::DenseRank));
        let widths: Option<Vec<i64>> = self.widths.iter().copied().collect();
        widths?.into_iter().max().filter(|_| !has_number)
    }

    /// Adds a function; the columns that it needs are put into the layout.
    pub(super) fn add(&mut self, f: &WindowFunction, layout: &mut Layout) -> Result<std::result::Result<(), Unknown>> {
        let p = &f.params;
        let name = f.fun.name().to_owned();
        let skips_nulls = p.null_treatment == Some(NullTreatment::IgnoreNulls);
        let number = |idx: usize| match p.args.get(idx) {
            Some(Expr::Literal(ScalarValue::Int64(Some(n)), _)) => Some(*n),
            _ => None,
        };
        let is_window = matches!(f.fun, WindowFunctionDefinition::WindowUDF(_));
        let function = match (name.as_str(), is_window) {
            ("row_number", true) => RunningFunction::RowNumber,
            ("rank", true) => RunningFunction::Rank,
            ("dense_rank", true) => RunningFunction::DenseRank,
            ("lag" | "lead", true) => {
                let offset = if p.args.len() > 1 { number(1) } else { Some(1) };
                let (Some(value), Some(offset)) = (p.args.first(), offset.and_then(|n| u64::try_from(n).ok())) else {
                    return Ok(Err(Unknown::LooksAhead(format!(
                        "{name} by an offset that is not a positive constant"
                    ))));
                };
                let column = layout.need(value, self.input)?;
                let default = match (p.args.get(2), layout.data_type(column).cloned()) {
                    (Some(Expr::Literal(value, _)), Some(of)) if !value.is_null() => {
                        let value = value.cast_to(&of)?;
                        Some(layout.need(&Expr::Literal(value, None), self.input)?)
                    }
                    (None | Some(Expr::Literal(..)), _) => None,
                    _ => return Ok(Err(Unknown::Function(format!("{name} with a default that is not a constant")))),
                };
                let frame = match (name.as_str(), skips_nulls, offset) {
                    ("lag", false, n) => single(FrameBound::Rows(n)),
                    (_, false, 0) => single(FrameBound::Rows(0)),
                    (_, false, n) if self.may_wait() => single(FrameBound::RowsAhead(n)),
                    ("lag", true, n) if n > 0 => RunningFrame {
                        start: FrameBound::Latest(n),
                        end: FrameBound::Rows(1),
                        with_value_in: Some(column),
                    },
                    (_, true, _) => return Ok(Err(Unknown::LooksAhead(format!("{name} with IGNORE NULLS")))),
                    _ => return Ok(Err(Unknown::LooksAhead(name))),
                };
                let frame = self.frame_idx(frame, None);
                RunningFunction::Value { column, place: ValuePlace::First, frame, default }
            }
            ("ntile" | "percent_rank" | "cume_dist", true) => return Ok(Err(Unknown::LooksAhead(name))),
            ("first_value" | "last_value" | "nth_value", _) => {
                let (mut frame, width) = match self.frame(f, layout)? {
                    Ok(frame) => frame,
                    Err(unknown) => return Ok(Err(unknown)),
                };
                let Some(value) = p.args.first() else { return Ok(Err(Unknown::Function(name))) };
                let column = layout.need(value, self.input)?;
                frame.with_value_in = skips_nulls.then_some(column);
                let place = match (name.as_str(), number(1)) {
                    ("first_value", _) => ValuePlace::First,
                    ("last_value", _) => ValuePlace::Last,
                    (_, Some(n)) if n > 0 => ValuePlace::Nth(n.unsigned_abs()),
                    (_, Some(n)) if n < 0 && frame.start == FrameBound::Unbounded => {
                        frame.start = FrameBound::Latest(n.unsigned_abs());
                        ValuePlace::First
                    }
                    _ => return Ok(Err(Unknown::Function("nth_value from the end of a frame with a start".into()))),
                };
                RunningFunction::Value { column, place, frame: self.frame_idx(frame, width), default: None }
            }
            _ if skips_nulls => return Ok(Err(Unknown::Function(format!("{name} with IGNORE NULLS")))),
            (_, false) => return self.aggregate(f, layout),
            _ => return Ok(Err(Unknown::Function(name))),
        };
        self.functions.push(function);
        Ok(Ok(()))
    }

    fn aggregate(&mut self, f: &WindowFunction, layout: &mut Layout) -> Result<std::result::Result<(), Unknown>> {
        let p = &f.params;
        let name = f.fun.name();
        let function = match name {
            "count" => Some(AggregateFunction::Count),
            "sum" => Some(AggregateFunction::Sum),
            "avg" => Some(AggregateFunction::Avg),
            "min" => Some(AggregateFunction::Min),
            "max" => Some(AggregateFunction::Max),
            "bool_and" => Some(AggregateFunction::BoolAnd),
            "bool_or" => Some(AggregateFunction::BoolOr),
            _ => None,
        };
        let is_list = name == "array_agg" && !p.distinct && p.filter.is_none();
        let ([value], true) = (p.args.as_slice(), function.is_some() || is_list) else {
            return Ok(Err(Unknown::Function(name.to_owned())));
        };
        let (frame, width) = match self.frame(f, layout)? {
            Ok(frame) => frame,
            Err(unknown) => return Ok(Err(unknown)),
        };
        let is_open = frame.start == FrameBound::Unbounded;
        let frame = self.frame_idx(frame, width);
        let Some(function) = function else {
            if is_open && !self.has_bucket {
                return refuse(
                    "C0437",
                    "array_agg over all rows so far would keep every row for ever",
                    "Give it a frame such as ROWS BETWEEN 9 PRECEDING AND CURRENT ROW, or put a bucket of the event time into \
                     PARTITION BY.",
                );
            }
            self.functions.push(RunningFunction::List { column: layout.need(value, self.input)?, frame });
            return Ok(Ok(()));
        };
        let argument = match value {
            Expr::Literal(value, _) if function == AggregateFunction::Count && !value.is_null() => None,
            value => Some(layout.need(value, self.input)?),
        };
        let filter = p.filter.as_deref().map(|filter| layout.need(filter, self.input)).transpose()?;
        let call = AggregateCall { function, argument, distinct: p.distinct, filter };
        self.functions.push(RunningFunction::Aggregate { call, frame });
        Ok(Ok(()))
    }

    /// The index of a frame, which is added if need be.
    fn frame_idx(&mut self, frame: RunningFrame, width: Option<i64>) -> usize {
        self.frames.iter().position(|f| *f == frame).unwrap_or_else(|| {
            self.frames.push(frame);
            self.widths.push(width);
            self.frames.len() - 1
        })
    }

    /// Whether a row may wait for later ones. A closed bucket knows all of them, and by arrival nobody does.
    fn may_wait(&self) -> bool {
        self.order == Order::EventTime && !self.has_bucket
    }

    /// The frame of a function, with its greatest width in milliseconds where it slides over event time.
    fn frame(
        &self,
        f: &WindowFunction,
        layout: &mut Layout,
    ) -> Result<std::result::Result<(RunningFrame, Option<i64>), Unknown>> {
        let frame = &f.params.window_frame;
        let name = f.fun.name();
        let looks_ahead = || Unknown::LooksAhead(format!("{name} OVER ({frame})"));
        let (start, end) = match frame.units {
            // No two rows arrive at once.
            WindowFrameUnits::Groups if self.order != Order::Arrival => {
                (groups_bound(&frame.start_bound), groups_bound(&frame.end_bound))
            }
            WindowFrameUnits::Rows | WindowFrameUnits::Groups => {
                (rows_bound(&frame.start_bound), rows_bound(&frame.end_bound))
            }
            WindowFrameUnits::Range => {
                let start = self.range_bound(f, &frame.start_bound, layout)?;
                let end = self.range_bound(f, &frame.end_bound, layout)?;
                match (start, end) {
                    (Ok(start), Ok(end)) => (start, end),
                    (Err(unknown), _) | (_, Err(unknown)) => return Ok(Err(unknown)),
                }
            }
        };
        let (Some((start, before)), Some((end, behind))) = (start, end) else { return Ok(Err(looks_ahead())) };
        let is_ahead = |bound: FrameBound| {
            matches!(bound, FrameBound::RowsAhead(_) | FrameBound::GroupsAhead(_) | FrameBound::RangeAhead(_))
        };
        if end == FrameBound::Unbounded || ((is_ahead(start) || is_ahead(end)) && !self.may_wait()) {
            return Ok(Err(looks_ahead()));
        }
        let width = before.zip(behind).map(|(before, behind)| before.max(behind));
        Ok(Ok((RunningFrame { start, end, with_value_in: None }, width)))
    }

    /// An end of a RANGE frame with its greatest width in milliseconds; none inside if it lies ahead.
    #[expect(clippy::type_complexity, reason = "an error, a reason, a bound that lies ahead, a bound")]
    fn range_bound(
        &self,
        f: &WindowFunction,
        bound: &WindowFrameBound,
        layout: &mut Layout,
    ) -> Result<std::result::Result<Option<(FrameBound, Option<i64>)>, Unknown>> {
        let is_ahead = matches!(bound, WindowFrameBound::Following(_));
        let word = if is_ahead { "FOLLOWING" } else { "PRECEDING" };
        let interval = match (bound, self.order) {
            (WindowFrameBound::Following(value), _) if value.is_null() => return Ok(Ok(None)),
            (WindowFrameBound::Preceding(value), _) if value.is_null() => {
                return Ok(Ok(Some((FrameBound::Unbounded, None))));
            }
            // No two rows arrive at once.
            (WindowFrameBound::CurrentRow, Order::Arrival) => return Ok(Ok(Some((FrameBound::Rows(0), None)))),
            (WindowFrameBound::CurrentRow, _) => return Ok(Ok(Some((FrameBound::Peers, Some(0))))),
            (WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value), Order::EventTime) => value,
            (WindowFrameBound::Preceding(_) | WindowFrameBound::Following(_), _) => {
                return Ok(Err(Unknown::Frame("RANGE with an offset, without ORDER BY <event time>,".into())));
            }
        };
        let (ScalarValue::IntervalMonthDayNano(Some(i)), Some(sort)) = (interval, f.params.order_by.first()) else {
            return Ok(Err(Unknown::Frame(format!("RANGE {interval} {word}"))));
        };
        let time = sort.expr.clone();
        let call = |name: &str, n: i32| -> Result<Expr> {
            match self.builder.state.scalar_functions().get(name) {
                Some(function) => {
                    let n = if is_ahead { i64::from(n) } else { -i64::from(n) };
                    let n = Expr::Literal(ScalarValue::Int64(Some(n)), None);
                    Ok(function.call(vec![time.clone(), n]))
                }
                None => refuse("C0438", format!("there is no function {name}"), "Use an interval of hours."),
            }
        };
        let (from, width) = match (i.months, i.days, i.nanoseconds) {
            (0, 0, nanos) if nanos >= 0 => {
                let interval = Expr::Literal(interval.clone(), None);
                let sign = if is_ahead { Operator::Plus } else { Operator::Minus };
                let from = Expr::BinaryExpr(BinaryExpr::new(Box::new(time), sign, Box::new(interval)));
                (from, nanos / 1_000_000 + 1)
            }
            // Days may be longer by what the clock is set back, and the calendar of a zone may skip one.
            (0, days, 0) if days >= 0 => (call("add_days", days)?, (i64::from(days) + 2).saturating_mul(DAY_MS)),
            (months, 0, 0) if months >= 0 => {
                (call("add_months", months)?, (i64::from(months) * 31 + 2).saturating_mul(DAY_MS))
            }
            _ => return Ok(Err(Unknown::Frame(format!("RANGE {interval} PRECEDING")))),
        };
        let column = layout.need(&from, self.input)?;
        match layout.data_type(column) {
            Some(DataType::Timestamp(..)) if is_ahead => Ok(Ok(Some((FrameBound::RangeAhead(column), Some(width))))),
            Some(DataType::Timestamp(..)) => Ok(Ok(Some((FrameBound::Range(column), Some(width))))),
            _ => Ok(Err(Unknown::Frame(format!("RANGE {interval} {word}")))),
        }
    }
}

/// The frame that holds one row.
fn single(bound: FrameBound) -> RunningFrame {
    RunningFrame { start: bound, end: bound, with_value_in: None }
}

/// An end of a ROWS frame; none if it is the end of the partition.
fn rows_bound(bound: &WindowFrameBound) -> Option<(FrameBound, Option<i64>)> {
    match bound {
        WindowFrameBound::CurrentRow => Some((FrameBound::Rows(0), None)),
        WindowFrameBound::Preceding(value) if value.is_null() => Some((FrameBound::Unbounded, None)),
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(n))) => Some((FrameBound::Rows(*n), None)),
        WindowFrameBound::Following(ScalarValue::UInt64(Some(0))) => Some((FrameBound::Rows(0), None)),
        WindowFrameBound::Following(ScalarValue::UInt64(Some(n))) => Some((FrameBound::RowsAhead(*n), None)),
        WindowFrameBound::Preceding(_) | WindowFrameBound::Following(_) => None,
    }
}

/// An end of a GROUPS frame; none if it is the end of the partition.
fn groups_bound(bound: &WindowFrameBound) -> Option<(FrameBound, Option<i64>)> {
    let (bound, _) = match bound {
        WindowFrameBound::CurrentRow => return Some((FrameBound::Peers, None)),
        other => rows_bound(other)?,
    };
    Some((
        match bound {
            FrameBound::Rows(0) => FrameBound::Peers,
            FrameBound::Rows(n) => FrameBound::Groups(n),
            FrameBound::RowsAhead(n) => FrameBound::GroupsAhead(n),
            other => other,
        },
        None,
    ))
}
