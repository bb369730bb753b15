//! `SELECT DISTINCT ON (key) .. ORDER BY key, order` as what it means: the row with `row_number() = 1` of each key.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::expr_rewriter::normalize_cols;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, lit};

/// The column of the number; it leaves no trace in the result.
const NUMBER: &str = "__distinct_on";
/// How columns begin that hold what the key is computed from.
const KEY: &str = "__distinct_on_key";

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
    // What is computed for the key becomes a column, so that it is known as the key behind the window, too.
    let computed = |expr: &Expr| on_expr.iter().position(|on| on == expr && !matches!(on, Expr::Column(_)));
    let column = |idx: usize| Expr::Column(Column::from_name(format!("{KEY}{idx}")));
    let keys: Vec<Expr> = on_expr.iter().map(|on| computed(on).map_or_else(|| on.clone(), column)).collect();
    let mut below: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    below.extend(
        on_expr
            .iter()
            .enumerate()
            .filter(|(_, on)| computed(on).is_some())
            .map(|(idx, on)| on.clone().alias(format!("{KEY}{idx}"))),
    );
    let number = row_number().partition_by(keys).order_by(order).build()?.alias(NUMBER);
    let is_first = Expr::Column(Column::from_name(NUMBER)).eq(lit(1u64));
    let select_expr = normalize_cols(select_expr, input.as_ref())?;
    let select = select_expr.into_iter().zip(schema.iter()).map(|(expr, (qualifier, field))| match expr {
        Expr::Column(column) => Expr::Column(column),
        other => {
            let other = other.unalias();
            let other = computed(&other).map_or(other, column);
            other.alias_qualified(qualifier.cloned(), field.name())
        }
    });
    LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
        .project(below)?
        .window(vec![number])?
        .filter(is_first)?
        .project(select.collect::<Vec<Expr>>())?
        .build()
}
