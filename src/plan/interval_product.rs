//! `number * INTERVAL '1 hour'`, as in PostgreSQL: deadlines are numbers in policy tables. DataFusion knows no such product
//! (as of 55.2).

use std::sync::Arc;

use arrow::array::{AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Plans products of a whole number and an interval.
#[derive(Debug)]
pub struct IntervalProducts {
    function: Arc<ScalarUDF>,
}

impl Default for IntervalProducts {
    fn default() -> Self {
        let signature = Signature::exact(vec![DataType::Int64, INTERVAL], Volatility::Immutable);
        Self { function: Arc::new(ScalarUDF::from(IntervalProduct { signature })) }
    }
}

impl ExprPlanner for IntervalProducts {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if !matches!(expr.op, BinaryOperator::Multiply) {
            return Ok(PlannerResult::Original(expr));
        }
        let (left, right) = (expr.left.get_type(schema)?, expr.right.get_type(schema)?);
        let (number, interval) = if left.is_integer() && right == INTERVAL {
            (expr.left, expr.right)
        } else if left == INTERVAL && right.is_integer() {
            (expr.right, expr.left)
        } else {
            return Ok(PlannerResult::Original(expr));
        };
        let number = Expr::Cast(Cast::new(Box::new(number), DataType::Int64));
        Ok(PlannerResult::Planned(self.function.call(vec![number, interval])))
    }
}

/// `interval_product(number, interval)`; null where it is longer than an interval can be.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalProduct {
    signature: Signature,
}

impl ScalarUDFImpl for IntervalProduct {
    fn name(&self) -> &str {
        "interval_product"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [numbers, intervals] = &ColumnarValue::values_to_arrays(&args.args)?[..] else {
            return exec_err!("interval_product takes two arguments");
        };
        let numbers = numbers.as_primitive::<Int64Type>();
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let product = |(number, interval): (Option<i64>, Option<IntervalMonthDayNano>)| times(number?, interval?);
        let products: IntervalMonthDayNanoArray = numbers.iter().zip(intervals).map(product).collect();
        Ok(ColumnarValue::Array(Arc::new(products)))
    }
}

fn times(number: i64, interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let small = i32::try_from(number);
    let part = |of: i32| if of == 0 { Some(0) } else { small.ok()?.checked_mul(of) };
    let (months, days) = (part(interval.months)?, part(interval.days)?);
    Some(IntervalMonthDayNano::new(months, days, number.checked_mul(interval.nanoseconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_that_of_each_part_or_null() {
        let interval = IntervalMonthDayNano::new(1, -2, 3);
        assert_eq!(times(-3, interval), Some(IntervalMonthDayNano::new(-3, 6, -9)));
        assert_eq!(times(i64::from(i32::MAX) + 1, interval), None);
        assert_eq!(times(i64::MAX, IntervalMonthDayNano::new(0, 0, 2)), None);
        assert_eq!(
            times(i64::MAX, IntervalMonthDayNano::new(0, 0, 1)),
            Some(IntervalMonthDayNano::new(0, 0, i64::MAX))
        );
    }
}
