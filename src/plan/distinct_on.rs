//! `SELECT DISTINCT ON (key) .. ORDER BY key, order` as what it means: the row with `row_number() = 1` of each key.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, lit};

/// The column of the number; it leaves no trace in the result.
const NUMBER: &str = "__distinct_on";

/// Rewrites every DISTINCT ON of a plan.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_down_with_subqueries(|node| match node {
        LogicalPlan::Distinct(Distinct::On(on)) => first_rows(on).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(rewritten.data)
}

fn first_rows(on: DistinctOn) -> Result<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = on;
    // The first expressions to sort by are the key itself.
    let order = sort_expr.unwrap_or_default().into_iter().skip(on_expr.len()).collect();
    let number = row_number().partition_by(on_expr).order_by(order).build()?.alias(NUMBER);
    let is_first = Expr::Column(Column::from_name(NUMBER)).eq(lit(1u64));
    let select = select_expr.into_iter().zip(schema.iter()).map(|(expr, (qualifier, field))| match expr {
        Expr::Column(column) => Expr::Column(column),
        other => other.unalias().alias_qualified(qualifier.cloned(), field.name()),
    });
    LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
        .window(vec![number])?
        .filter(is_first)?
        .project(select.collect::<Vec<Expr>>())?
        .build()
}
