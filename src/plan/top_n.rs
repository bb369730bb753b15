//! `ORDER BY .. LIMIT n` of a table: the rows whose number in that order is at most n.
//!
//! The rows that make the list change with the table, so a limit is a filter on `row_number()` over the whole table.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, FetchType, Filter, Limit, LogicalPlan, Projection, SkipType, Sort, SubqueryAlias, Window,
    col, lit,
};

use super::error::Result;

/// The column that holds the number of a row.
const RANK: &str = "__rank";

/// Puts a filter on the number of the row in the place of every limit of sorted rows.
pub(super) fn limits_to_ranks(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Limit(limit) = &node else { return Ok(Transformed::no(node)) };
        let Some((skip, fetch)) = bounds(limit)? else { return Ok(Transformed::no(node)) };
        Ok(match first_rows(&limit.input, skip, fetch)? {
            Some(rows) => Transformed::yes(rows),
            None => Transformed::no(node),
        })
    })?;
    Ok(replaced.data)
}

/// How many rows a limit passes over, and how many it keeps, if it says so with constants.
fn bounds(limit: &Limit) -> datafusion::common::Result<Option<(u64, u64)>> {
    Ok(match (limit.get_skip_type()?, limit.get_fetch_type()?) {
        (SkipType::Literal(skip), FetchType::Literal(Some(fetch))) => Some((skip as u64, fetch as u64)),
        _ => None,
    })
}

/// The first rows of a sort, below what only renames its columns; none where nothing is sorted.
fn first_rows(plan: &LogicalPlan, skip: u64, fetch: u64) -> datafusion::common::Result<Option<LogicalPlan>> {
    Ok(match plan {
        // What an outer query's row chooses is sorted for that row alone: its numbers are not those of the whole.
        LogicalPlan::Sort(sort) if !reads_outer_row(&sort.input)? => Some(ranked(sort, skip, fetch)?),
        LogicalPlan::Projection(p) => match first_rows(&p.input, skip, fetch)? {
            Some(input) => Some(LogicalPlan::Projection(Projection::try_new(p.expr.clone(), Arc::new(input))?)),
            None => None,
        },
        LogicalPlan::SubqueryAlias(alias) => match first_rows(&alias.input, skip, fetch)? {
            Some(input) => {
                Some(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?))
            }
            None => None,
        },
        _ => None,
    })
}

fn reads_outer_row(plan: &LogicalPlan) -> datafusion::common::Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= node.contains_outer_reference();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn ranked(sort: &Sort, skip: u64, fetch: u64) -> datafusion::common::Result<LogicalPlan> {
    let columns: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let number = row_number().order_by(sort.expr.clone()).build()?.alias(RANK);
    let numbered = LogicalPlan::Window(Window::try_new(vec![number], sort.input.clone())?);
    let mut kept = col(RANK).lt_eq(lit(skip.saturating_add(fetch)));
    if skip > 0 {
        kept = kept.and(col(RANK).gt(lit(skip)));
    }
    let kept = LogicalPlan::Filter(Filter::try_new(kept, Arc::new(numbered))?);
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(kept))?))
}
