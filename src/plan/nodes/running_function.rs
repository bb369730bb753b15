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
                format!("{what} looks at rows that come later"),
                format!("Let the frame end with CURRENT ROW or before it, use lag for lead, or {by_bucket}"),
            ),
            Self::Frame(what) => refuse(
                "C0435",
                format!("{what} is not supported on a stream"),
                "Use ROWS, or RANGE with an interval in months, in days, or in hours and less, and ORDER BY <event time>.",
            ),
            Self::Function(what) => refuse(
                "C0436",
                format!("{what} is not supported row by row on a stream"),
                format!(
                    "Use count, sum, avg, min, max, bool_and, bool_or, array_agg, first_value, last_value, nth_value, lag, \
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
        if p.null_treatment == Some(NullTreatment::IgnoreNulls) {
            return Ok(Err(Unknown::Function(format!("{name} with IGNORE NULLS"))));
        }
        let number = |idx: usize| match p.args.get(idx) {
            Some(Expr::Literal(ScalarValue::Int64(Some(n)), _)) => u64::try_from(*n).ok(),
            _ => None,
        };
        let is_window = matches!(f.fun, WindowFunctionDefinition::WindowUDF(_));
        let function = match (name.as_str(), is_window) {
            ("row_number", true) => RunningFunction::RowNumber,
            ("rank", true) => RunningFunction::Rank,
            ("dense_rank", true) => RunningFunction::DenseRank,
            ("lag", true) => {
                let offset = if p.args.len() > 1 { number(1) } else { Some(1) };
                let (Some(value), Some(offset)) = (p.args.first(), offset) else {
                    return Ok(Err(Unknown::LooksAhead("lag by an offset that is not a positive constant".into())));
                };
                let column = layout.need(value, self.input)?;
                let default = match (p.args.get(2), layout.data_type(column).cloned()) {
                    (Some(Expr::Literal(value, _)), Some(of)) if !value.is_null() => {
                        let value = value.cast_to(&of)?;
                        Some(layout.need(&Expr::Literal(value, None), self.input)?)
                    }
                    (None | Some(Expr::Literal(..)), _) => None,
                    _ => return Ok(Err(Unknown::Function("lag with a default that is not a constant".into()))),
                };
                let bound = FrameBound::Rows(offset);
                let frame = self.frame_idx(RunningFrame { start: bound, end: bound }, None);
                RunningFunction::Value { column, place: ValuePlace::First, frame, default }
            }
            ("lead" | "ntile" | "percent_rank" | "cume_dist", true) => return Ok(Err(Unknown::LooksAhead(name))),
            ("first_value" | "last_value" | "nth_value", _) => {
                let frame = match self.frame(f, layout)? {
                    Ok(frame) => frame,
                    Err(unknown) => return Ok(Err(unknown)),
                };
                let place = match (name.as_str(), number(1)) {
                    ("first_value", _) => ValuePlace::First,
                    ("last_value", _) => ValuePlace::Last,
                    (_, Some(n)) if n > 0 => ValuePlace::Nth(n),
                    _ => return Ok(Err(Unknown::LooksAhead("nth_value from the end of the frame".into()))),
                };
                let Some(value) = p.args.first() else { return Ok(Err(Unknown::Function(name))) };
                RunningFunction::Value { column: layout.need(value, self.input)?, place, frame, default: None }
            }
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
        let frame = match self.frame(f, layout)? {
            Ok(frame) => frame,
            Err(unknown) => return Ok(Err(unknown)),
        };
        let Some(function) = function else {
            let is_open = self.frames.get(frame).is_some_and(|f| f.start == FrameBound::Unbounded);
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

    /// The frame of a function.
    fn frame(&mut self, f: &WindowFunction, layout: &mut Layout) -> Result<std::result::Result<usize, Unknown>> {
        let frame = &f.params.window_frame;
        let name = f.fun.name();
        let looks_ahead = || Unknown::LooksAhead(format!("{name} OVER ({frame})"));
        let (start, end) = match frame.units {
            WindowFrameUnits::Groups => return Ok(Err(Unknown::Frame("a frame of GROUPS".into()))),
            WindowFrameUnits::Rows => (rows_bound(&frame.start_bound), rows_bound(&frame.end_bound)),
            WindowFrameUnits::Range => {
                let start = self.range_bound(f, &frame.start_bound, layout)?;
                let end = self.range_bound(f, &frame.end_bound, layout)?;
                match (start, end) {
                    (Ok(start), Ok(end)) => (start, end),
                    (Err(unknown), _) | (_, Err(unknown)) => return Ok(Err(unknown)),
                }
            }
        };
        let (Some((start, width)), Some((end, _))) = (start, end) else { return Ok(Err(looks_ahead())) };
        if end == FrameBound::Unbounded {
            return Ok(Err(looks_ahead()));
        }
        Ok(Ok(self.frame_idx(RunningFrame { start, end }, width)))
    }

    /// An end of a RANGE frame with its greatest width in milliseconds; none inside if it lies ahead.
    #[expect(clippy::type_complexity, reason = "an error, a reason, a bound that lies ahead, a bound")]
    fn range_bound(
        &self,
        f: &WindowFunction,
        bound: &WindowFrameBound,
        layout: &mut Layout,
    ) -> Result<std::result::Result<Option<(FrameBound, Option<i64>)>, Unknown>> {
        let interval = match (bound, self.order) {
            (WindowFrameBound::Following(_), _) => return Ok(Ok(None)),
            (WindowFrameBound::Preceding(value), _) if value.is_null() => {
                return Ok(Ok(Some((FrameBound::Unbounded, None))));
            }
            // No two rows arrive at once.
            (WindowFrameBound::CurrentRow, Order::Arrival) => return Ok(Ok(Some((FrameBound::Rows(0), None)))),
            (WindowFrameBound::CurrentRow, _) => return Ok(Ok(Some((FrameBound::Peers, Some(0))))),
            (WindowFrameBound::Preceding(value), Order::EventTime) => value,
            (WindowFrameBound::Preceding(_), _) => {
                return Ok(Err(Unknown::Frame("RANGE with an offset, without ORDER BY <event time>,".into())));
            }
        };
        let (ScalarValue::IntervalMonthDayNano(Some(i)), Some(sort)) = (interval, f.params.order_by.first()) else {
            return Ok(Err(Unknown::Frame(format!("RANGE {interval} PRECEDING"))));
        };
        let time = sort.expr.clone();
        let call = |name: &str, n: i32| -> Result<Expr> {
            match self.builder.state.scalar_functions().get(name) {
                Some(function) => {
                    let n = Expr::Literal(ScalarValue::Int64(Some(-i64::from(n))), None);
                    Ok(function.call(vec![time.clone(), n]))
                }
                None => refuse("C0438", format!("there is no function {name}"), "Use an interval of hours."),
            }
        };
        let (from, width) = match (i.months, i.days, i.nanoseconds) {
            (0, 0, nanos) if nanos >= 0 => {
                let interval = Expr::Literal(interval.clone(), None);
                let from = Expr::BinaryExpr(BinaryExpr::new(Box::new(time), Operator::Minus, Box::new(interval)));
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
            Some(DataType::Timestamp(..)) => Ok(Ok(Some((FrameBound::Range(column), Some(width))))),
            _ => Ok(Err(Unknown::Frame(format!("RANGE {interval} PRECEDING")))),
        }
    }
}

/// An end of a ROWS frame; none if it lies ahead.
fn rows_bound(bound: &WindowFrameBound) -> Option<(FrameBound, Option<i64>)> {
    match bound {
        WindowFrameBound::CurrentRow => Some((FrameBound::Rows(0), None)),
        WindowFrameBound::Preceding(value) if value.is_null() => Some((FrameBound::Unbounded, None)),
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(n))) => Some((FrameBound::Rows(*n), None)),
        WindowFrameBound::Preceding(_) | WindowFrameBound::Following(_) => None,
    }
}
