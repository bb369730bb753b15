//! GROUP BY within partitions, where the operators' own kernels know all of its aggregates.

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, SortExpr};

use super::super::error::Result;
use crate::operators::{Frame, GroupAggregate, GroupStep, WindowKernel};

/// The step that computes a GROUP BY over `input`, and the expressions of the columns that it reads; none if an aggregate
/// has no kernel, which the stock plan then computes.
pub(super) fn group_step(
    aggregate: &Aggregate,
    input: &LogicalPlan,
    output: &SchemaRef,
) -> Result<Option<(GroupStep, Vec<Expr>)>> {
    let mut exprs = aggregate.group_expr.clone();
    for key in &exprs {
        let data_type = key.get_type(input.schema().as_ref())?;
        // What is equal there is not always equal in bytes.
        if data_type.is_floating() || data_type.is_nested() {
            return Ok(None);
        }
    }
    let keys: Vec<usize> = (0..exprs.len()).collect();
    let mut order: Option<Vec<SortExpr>> = None;
    let mut aggregates = Vec::new();
    for expr in &aggregate.aggr_expr {
        let Expr::AggregateFunction(f) = expr.clone().unalias() else { return Ok(None) };
        let p = &f.params;
        if p.distinct || p.filter.is_some() || p.null_treatment == Some(NullTreatment::IgnoreNulls) {
            return Ok(None);
        }
        // Values without an order are in that of the stock plan; two orders would be two steps.
        let is_list = f.func.name() == "array_agg";
        if is_list && (p.order_by.is_empty() || order.get_or_insert_with(|| p.order_by.clone()) != &p.order_by) {
            return Ok(None);
        }
        let wanted = output.fields().get(keys.len() + aggregates.len()).map(|f| f.data_type());
        let Some(kernel) = kernel(&f, input, &mut exprs, wanted)? else { return Ok(None) };
        aggregates.push(kernel);
    }
    let mut sorts = Vec::new();
    for sort in order.into_iter().flatten() {
        let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
        sorts.push((position(&mut exprs, &sort.expr), options));
    }
    Ok(Some((GroupStep { keys, order: sorts, aggregates, schema: output.clone() }, exprs)))
}

/// The kernel of an aggregate whose result has the type `wanted`.
fn kernel(
    f: &AggregateFunction,
    input: &LogicalPlan,
    exprs: &mut Vec<Expr>,
    wanted: Option<&DataType>,
) -> Result<Option<GroupAggregate>> {
    let frame = Frame::Rows;
    let (name, args) = (f.func.name(), f.params.args.as_slice());
    let [argument] = args else { return Ok(None) };
    if let Expr::Literal(value, _) = argument {
        let counts_rows = name == "count" && !value.is_null();
        return Ok(counts_rows.then_some(GroupAggregate::Running(WindowKernel::Count { column: None, frame })));
    }
    let data_type = argument.get_type(input.schema().as_ref())?;
    if data_type.is_floating() || data_type.is_nested() || matches!(data_type, DataType::Interval(_)) {
        return Ok(None);
    }
    let known = match (name, wanted) {
        ("array_agg", Some(DataType::List(item))) => item.data_type() == &data_type,
        ("min" | "max", Some(wanted)) => wanted == &data_type,
        ("count", Some(DataType::Int64)) => true,
        ("sum", Some(DataType::Int64 | DataType::UInt64)) => data_type.is_integer(),
        _ => false,
    };
    if !known {
        return Ok(None);
    }
    let column = position(exprs, argument);
    Ok(Some(match name {
        "array_agg" => GroupAggregate::Values(column),
        "min" => GroupAggregate::Running(WindowKernel::Min { column, frame }),
        "max" => GroupAggregate::Running(WindowKernel::Max { column, frame }),
        "sum" => GroupAggregate::Running(WindowKernel::Sum { column, frame }),
        _ => GroupAggregate::Running(WindowKernel::Count { column: Some(column), frame }),
    }))
}

/// Where an expression lies among the columns, put there if it is new.
fn position(exprs: &mut Vec<Expr>, expr: &Expr) -> usize {
    exprs.iter().position(|e| e == expr).unwrap_or_else(|| {
        exprs.push(expr.clone());
        exprs.len() - 1
    })
}
