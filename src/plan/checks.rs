//! What is refused of a planned query before it is cut: what would be hidden later, or give a wrong result.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::builder::Builder;
use super::error::{Result, refuse};
use super::pipeline::OperatorPlan;
use crate::catalog::QueryDefinition;
use crate::operators::LookupJoinSpec;

/// Refuses what the optimiser would turn into something that hides it.
pub(super) fn check_syntax(plan: LogicalPlan) -> Result<LogicalPlan> {
    check_names(&plan)?;
    let mut refused = Ok(());
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                if let Expr::InSubquery(s) = e
                    && s.negated
                    && s.expr.column_refs().is_empty()
                {
                    refused = refuse(
                        "C0418",
                        "NOT IN compares a value that does not come from the outer query",
                        "Write NOT EXISTS (SELECT 1 FROM .. WHERE ..), and say there what a null is to mean.",
                    );
                }
                if let Expr::ScalarSubquery(s) = e
                    && s.outer_ref_columns.is_empty()
                    && !yields_one_row(&s.subquery)
                {
                    refused = refuse(
                        "C0403",
                        "a subquery that stands for a value may yield more than one row",
                        "Aggregate it without GROUP BY, as in (SELECT max(column) FROM t).",
                    );
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    refused.map(|()| plan)
}

/// Whether a plan yields one row at most, whatever its relations hold.
fn yields_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => yields_one_row(&p.input),
        LogicalPlan::SubqueryAlias(a) => yields_one_row(&a.input),
        LogicalPlan::Filter(f) => yields_one_row(&f.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        _ => false,
    }
}

/// Refuses two output columns of one name: in a record one would hide the other.
fn check_names(plan: &LogicalPlan) -> Result<()> {
    let mut seen = BTreeSet::new();
    match plan.schema().columns().into_iter().map(|c| c.name).find(|name| !seen.insert(name.clone())) {
        None => Ok(()),
        Some(name) => {
            refuse("C0312", format!("two columns are called `{name}`"), "Name one of them with AS, or leave it out.")
        }
    }
}

/// Refuses subqueries that the optimiser could not turn into joins.
pub(super) fn check_subqueries(plan: &LogicalPlan) -> Result<()> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                found |= matches!(e, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if !found {
        return Ok(());
    }
    refuse(
        "C0404",
        "a subquery stands where it cannot be turned into a join",
        "LEFT JOIN what it reads (SELECT DISTINCT for IN and EXISTS), and ask whether a column of it IS NOT NULL.",
    )
}

/// Refuses `wait` where no row of the definition waits for anything. A step of WITH has the option of the whole.
pub(super) fn check_wait(builder: &Builder<'_>, definition: &QueryDefinition) -> Result<()> {
    let own = format!("{}.", definition.name);
    let waits = builder.relations.iter().any(|relation| {
        relation.name.starts_with(&own)
            && matches!(relation.operator, OperatorPlan::LookupJoin(LookupJoinSpec { wait: Some(_), .. }))
    });
    if waits || definition.wait_ms == 0 || definition.name.contains('.') {
        return Ok(());
    }
    refuse(
        "C0464",
        format!("`wait` of `{}` has no effect: no row of a stream is looked up in a table there", definition.name),
        "Write it beside the join of the stream with the table, or leave it out.",
    )
}
