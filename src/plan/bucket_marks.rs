//! `GROUP BY hop(..)` and `GROUP BY session(..)`: a row's bucket is not a function of the row alone.
//!
//! A row lies in many buckets of `hop`, and in which session it lies depends on other rows. So the mark that stands for it in
//! the plan becomes a column that is unnested from a list: of all buckets, or of just the row's instant. No rule of the
//! optimiser moves a condition on such a column below the list, where it would mean something else; the cut then knows the
//! column by its name and by the function that makes the list.

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, UnnestOptions};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder};

use super::error::{Result, refuse};
use crate::functions::{hop_starts, session_instant};

/// The name of the unnested column.
pub(super) const BUCKET: &str = "__bucket";

/// Puts unnested columns in the place of the marks, and refuses marks elsewhere.
pub(super) fn expand_bucket_marks(plan: LogicalPlan, zone: Tz) -> Result<LogicalPlan> {
    let mut refused = Ok(());
    let expanded = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().any(is_mark) => {
            let n_marks = aggregate.group_expr.iter().filter(|e| is_mark(e)).count();
            if n_marks > 1 {
                refused = refuse(
                    "C0480",
                    "a GROUP BY has more than one bucket of `hop` or `session`",
                    "Group by one of them here, and its result by the other.",
                );
                return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
            }
            Ok(Transformed::yes(expand(aggregate, zone)?))
        }
        other => Ok(Transformed::no(other)),
    })?;
    refused?;
    refuse_marks(&expanded.data)?;
    Ok(expanded.data)
}

fn mark(expr: &Expr) -> Option<&datafusion::logical_expr::expr::ScalarFunction> {
    match expr {
        Expr::ScalarFunction(call) if matches!(call.func.name(), "hop" | "session") => Some(call),
        Expr::Alias(alias) => mark(&alias.expr),
        _ => None,
    }
}

fn is_mark(expr: &Expr) -> bool {
    mark(expr).is_some()
}

fn expand(aggregate: Aggregate, zone: Tz) -> datafusion::common::Result<LogicalPlan> {
    let lists = aggregate.group_expr.iter().filter_map(mark).map(|call| {
        let function = if call.func.name() == "hop" { hop_starts(zone) } else { session_instant(zone) };
        function.call(call.args.clone()).alias(BUCKET)
    });
    let columns = aggregate.input.schema().columns().into_iter().map(Expr::Column);
    let unnested = LogicalPlanBuilder::from(aggregate.input.as_ref().clone())
        .project(columns.chain(lists).collect::<Vec<_>>())?
        .unnest_columns_with_options(vec![Column::from_name(BUCKET)], UnnestOptions::new().with_preserve_nulls(false))?
        .build()?;
    let keys = aggregate.group_expr.iter().map(|key| match is_mark(key) {
        // What is above knows the column by the name of the mark.
        true => Expr::Column(Column::from_name(BUCKET)).alias(key.schema_name().to_string()),
        false => key.clone(),
    });
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(unnested), keys.collect(), aggregate.aggr_expr)?))
}

fn refuse_marks(plan: &LogicalPlan) -> Result<()> {
    let mut refused = Ok(());
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                if let Some(call) = mark(e) {
                    let name = call.func.name();
                    refused = refuse(
                        "C0481",
                        format!("`{name}` does not stand in GROUP BY"),
                        format!("Group by {name}(..), and read its bucket as window_start and window_end."),
                    );
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    refused
}
