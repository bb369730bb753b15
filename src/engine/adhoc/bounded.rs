//! Functions that make much of little, as `repeat('x', 2000000000)`: asked for first how much they would make, and refused.
//!
//! DataFusion's memory pool counts what operators keep, never what a function returns, and constants are computed while a query is
//! planned, before there is a pool. An allocation that fails ends the whole worker, not the query.

use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;

/// Bytes of one value that a function makes.
pub(super) const VALUE_BYTES_MAX: u64 = 512 << 10;
/// Bytes of all values that it makes of one batch, and of all copies of a row in one.
pub(super) const BATCH_BYTES_MAX: u64 = 256 << 20;
/// Bytes of all that functions make before the query gives way, so that it is seen how much memory the process holds.
const TURN_BYTES_MAX: u64 = 1 << 30;
/// Steps of `levenshtein` that count as a byte: 16 million of them for a pair take some 20 ms.
const STEPS_A_BYTE: u64 = 32;

/// What grows by more than a few bytes a call. For those that are not told apart in [`estimate`] it is what they are given.
const GROWING: [&str; 26] = [
    "array_append",
    "array_concat",
    "array_insert",
    "array_prepend",
    "array_repeat",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_resize",
    "array_to_string",
    "concat",
    "concat_ws",
    "encode",
    "generate_series",
    "levenshtein",
    "lpad",
    "make_array",
    "overlay",
    "range",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "rpad",
    "string_to_array",
    "to_char",
];

thread_local! {
    /// What functions have made since the query last gave way. A query has a thread of its own.
    static MADE: Cell<u64> = const { Cell::new(0) };
}

/// To be called when the query has given way.
pub(super) fn begin_turn() {
    MADE.set(0);
}

/// A function would make too much.
#[derive(Debug, thiserror::Error)]
#[error("`{function}` would make {what} of {bytes} bytes, and {max} are the most that a query may have")]
pub(super) struct TooLarge {
    function: String,
    what: &'static str,
    bytes: u64,
    max: u64,
}

impl TooLarge {
    /// All that is made together is too large.
    pub(super) fn values(function: &str, bytes: u64) -> Self {
        Self { function: function.to_owned(), what: "values", bytes, max: BATCH_BYTES_MAX }
    }

    /// Whether that is why DataFusion failed, with what.
    pub(super) fn of(error: &DataFusionError) -> Option<&Self> {
        match error.find_root() {
            DataFusionError::External(cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

/// Binds the functions of a session, also those that are computed while a query is planned.
pub(super) fn bind_functions(ctx: &SessionContext) {
    for name in GROWING {
        if let Some(function) = ctx.state().scalar_functions().get(name) {
            ctx.register_udf(bound(function));
        }
    }
}

/// Binds what the grammar calls by itself, as for `[a, b]`, and `||`.
pub(super) fn bind_expressions(plan: LogicalPlan) -> Result<LogicalPlan> {
    let joined = Arc::new(ScalarUDF::new_from_impl(Joined { signature: Signature::any(1, Volatility::Immutable) }));
    let bind = |node: LogicalPlan| {
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let bound = expr.transform_up(|expr| Ok(bound_expr(expr, &joined)))?;
            Ok(bound.update_data(|expr| name.restore(expr)))
        })?;
        if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
    };
    Ok(plan.transform_up_with_subqueries(bind)?.data)
}

fn bound_expr(expr: Expr, joined: &Arc<ScalarUDF>) -> Transformed<Expr> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args })
            if GROWING.contains(&func.name()) && !func.inner().is::<Bounded>() =>
        {
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: Arc::new(bound(&func)), args }))
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::StringConcat, .. }) => Transformed::yes(joined.call(vec![expr])),
        expr => Transformed::no(expr),
    }
}

fn bound(function: &ScalarUDF) -> ScalarUDF {
    ScalarUDF::new_from_impl(Bounded { inner: function.clone() })
}

/// A function that makes nothing that is too large.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: ScalarUDF,
}

// `simplify` is left out on purpose: what it gives calls the function itself.
impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        self.inner.inner().with_updated_config(config).map(|updated| bound(&updated))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let n_rows =
            if args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) { 1 } else { args.number_rows };
        check(self.name(), estimates(self.name(), &args.args, n_rows)?)?;
        self.inner.invoke_with_args(args)
    }
}

/// Gives what it is given, if that is not too large: texts that `||` has joined.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    signature: Signature,
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &str {
        "joined"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let n_rows = args.number_rows;
        let Some(value) = args.args.into_iter().next() else { return Ok(ColumnarValue::Scalar(ScalarValue::Null)) };
        let n_rows = if matches!(value, ColumnarValue::Scalar(_)) { 1 } else { n_rows };
        check("||", sizes(&value, n_rows)?.into_iter())?;
        Ok(value)
    }
}

/// Refuses values that are too large, and too many.
fn check(function: &str, sizes: impl Iterator<Item = u64>) -> Result<()> {
    let mut total = 0_u64;
    for size in sizes {
        total = total.saturating_add(size);
        let cause = match (size > VALUE_BYTES_MAX, total > BATCH_BYTES_MAX) {
            (true, _) => TooLarge { function: function.to_owned(), what: "a value", bytes: size, max: VALUE_BYTES_MAX },
            (_, true) => TooLarge::values(function, total),
            _ => continue,
        };
        return Err(DataFusionError::External(Box::new(cause)));
    }
    let made = MADE.get().saturating_add(total);
    MADE.set(made);
    if made > TURN_BYTES_MAX {
        let cause = TooLarge { function: function.to_owned(), what: "values", bytes: made, max: TURN_BYTES_MAX };
        return Err(DataFusionError::External(Box::new(cause)));
    }
    Ok(())
}

/// At most how many bytes a function makes, row by row.
fn estimates(function: &str, args: &[ColumnarValue], n_rows: usize) -> Result<impl Iterator<Item = u64>> {
    let sizes = args.iter().map(|arg| sizes(arg, n_rows)).collect::<Result<Vec<_>>>()?;
    let numbers = match function {
        "repeat" | "lpad" | "rpad" | "array_repeat" | "array_resize" | "range" | "generate_series" => {
            args.iter().map(|arg| numbers(arg, n_rows)).collect::<Result<Vec<_>>>()?
        }
        _ => Vec::new(),
    };
    let elements = match (function, args) {
        ("array_to_string" | "array_replace" | "array_replace_n" | "array_replace_all", [list, ..]) => {
            elements(list, n_rows)?
        }
        ("regexp_match", [_, pattern, ..]) => groups(pattern, n_rows)?,
        _ => Vec::new(),
    };
    let function = function.to_owned();
    Ok((0..n_rows).map(move |row| {
        let of = |all: &[Vec<u64>], idx: usize| all.get(idx).and_then(|rows| rows.get(row)).copied().unwrap_or(0);
        let size = |idx| of(&sizes, idx);
        let number = |idx: usize| numbers.get(idx).and_then(|rows| rows.get(row)).copied().flatten();
        let times = |idx| u64::try_from(number(idx).unwrap_or(0).max(0)).unwrap_or(u64::MAX);
        let n_elements = elements.get(row).copied().unwrap_or(0);
        match function.as_str() {
            "repeat" => size(0).saturating_mul(times(1)),
            // Characters, of at most four bytes.
            "lpad" | "rpad" => times(1).saturating_mul(4),
            "array_repeat" => (size(0) + 8).saturating_mul(times(1)),
            "array_resize" => (size(2) + 8).saturating_mul(times(1)),
            "range" | "generate_series" => steps([number(0), number(1), number(2)]).saturating_mul(8),
            "replace" => size(0).saturating_add((size(0) / size(1).max(1) + 1).saturating_mul(size(2))),
            // A replacement may hold what was found, and everything may be found.
            "regexp_replace" => (size(0) + 1).saturating_mul(size(2) + 1),
            // Groups may lie within one another, and each hold the whole text.
            "regexp_match" => size(0).saturating_mul(n_elements + 1),
            // `%c` is a whole date.
            "to_char" => size(1).saturating_mul(16),
            "array_to_string" => (size(0).saturating_mul(4)).saturating_add(n_elements.saturating_mul(size(1))),
            "array_replace" | "array_replace_n" | "array_replace_all" => {
                size(0).saturating_add(n_elements.saturating_mul(size(2)))
            }
            "levenshtein" => size(0).saturating_mul(size(1)) / STEPS_A_BYTE,
            "encode" => size(0).saturating_mul(2),
            "string_to_array" => size(0).saturating_mul(8),
            _ => (0..sizes.len()).map(size).fold(0, u64::saturating_add),
        }
    }))
}

/// How many steps lead from one number to another: of one argument from 0, of three by the third.
fn steps([first, second, third]: [Option<i128>; 3]) -> u64 {
    let (from, to, by) = match (first, second, third) {
        (Some(to), None, _) => (0, to, 1),
        (Some(from), Some(to), by) => (from, to, by.unwrap_or(1)),
        _ => return 0,
    };
    let n = (to - from) / if by == 0 { 1 } else { by };
    u64::try_from(n.max(0)).unwrap_or(u64::MAX).saturating_add(1)
}

fn rows<T: Clone>(value: &ColumnarValue, n_rows: usize, of: impl Fn(&ArrayRef) -> Result<Vec<T>>) -> Result<Vec<T>> {
    match value {
        ColumnarValue::Array(array) => of(array),
        ColumnarValue::Scalar(scalar) => {
            let one = of(&scalar.to_array_of_size(1)?)?;
            Ok(one.into_iter().cycle().take(n_rows).collect())
        }
    }
}

/// The bytes of each value; none for null.
fn sizes(value: &ColumnarValue, n_rows: usize) -> Result<Vec<u64>> {
    rows(value, n_rows, |array| (0..array.len()).map(|row| size(array, row)).collect())
}

pub(super) fn size(array: &ArrayRef, row: usize) -> Result<u64> {
    if array.is_null(row) {
        return Ok(0);
    }
    let bytes = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).len(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).len(),
        DataType::Utf8View => array.as_string_view().value(row).len(),
        DataType::Binary => array.as_binary::<i32>().value(row).len(),
        DataType::LargeBinary => array.as_binary::<i64>().value(row).len(),
        DataType::BinaryView => array.as_binary_view().value(row).len(),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::Struct(_)
        | DataType::Map(..) => array.slice(row, 1).to_data().get_slice_memory_size()?,
        _ => 16,
    };
    Ok(bytes as u64)
}

/// The number of elements of each list.
fn elements(value: &ColumnarValue, n_rows: usize) -> Result<Vec<u64>> {
    rows(value, n_rows, |array| Ok((0..array.len()).map(|row| elements_of(array, row)).collect()))
}

/// The number of brackets that each pattern opens.
fn groups(pattern: &ColumnarValue, n_rows: usize) -> Result<Vec<u64>> {
    rows(pattern, n_rows, |array| {
        let texts = cast(array, &DataType::LargeUtf8)?;
        let opened = |text: Option<&str>| text.map_or(0, |text| text.matches('(').count() as u64);
        Ok(texts.as_string::<i64>().iter().map(opened).collect())
    })
}

/// The number of elements of a list; 0 for what is none.
pub(super) fn elements_of(array: &ArrayRef, row: usize) -> u64 {
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value_length(row) as u64,
        DataType::LargeList(_) => array.as_list::<i64>().value_length(row) as u64,
        DataType::FixedSizeList(_, n) => *n as u64,
        _ => 0,
    }
}

/// Whole numbers, instants and days as nanoseconds, and intervals as about so many of them; none for null and for texts.
fn numbers(value: &ColumnarValue, n_rows: usize) -> Result<Vec<Option<i128>>> {
    const DAY: i128 = 86_400_000_000_000;
    let of = |array: &ArrayRef| {
        let factor = match array.data_type() {
            DataType::Date32 => DAY,
            DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
            DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let intervals: &IntervalMonthDayNanoArray = array.as_primitive();
                let about = |i: arrow::datatypes::IntervalMonthDayNano| {
                    i128::from(i.months) * 30 * DAY + i128::from(i.days) * DAY + i128::from(i.nanoseconds)
                };
                return Ok(intervals.iter().map(|i| i.map(about)).collect());
            }
            data_type if data_type.is_integer() => 1,
            _ => return Ok(vec![None; array.len()]),
        };
        let whole = match array.data_type() {
            DataType::Date32 => cast(&cast(array, &DataType::Int32)?, &DataType::Int64)?,
            _ => cast(array, &DataType::Int64)?,
        };
        let whole: &arrow::array::Int64Array = whole.as_primitive();
        Ok(whole.iter().map(|n| n.map(|n| i128::from(n) * factor)).collect())
    };
    rows(value, n_rows, of)
}
