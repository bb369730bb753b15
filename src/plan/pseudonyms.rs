//! `pseudonym(value)` becomes `pseudonym(value, 'id of the active key')`, so that the key is part of what an operator means:
//! another key is another operator, and state of one is never taken for that of the other.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::lit;

use super::error::{Result, refuse};
use crate::functions::{PSEUDONYM, PseudonymKeys};

/// Names the key of every pseudonym. A plan with pseudonyms is refused where there are no keys.
pub(super) fn with_key_ids(plan: LogicalPlan, keys: &PseudonymKeys) -> Result<LogicalPlan> {
    let Some(ids) = ids_of_pseudonyms(&plan) else { return Ok(plan) };
    let Some(active) = keys.active() else {
        return refuse(
            "C0457",
            "`pseudonym` needs a file of keys",
            "Give it with --pseudonym-keys FILE, CURB_PSEUDONYM_KEYS, or `pseudonym_keys` in the --config file.",
        );
    };
    if let Some(id) = ids.iter().find(|id| !keys.has(id)) {
        return refuse(
            "C0458",
            format!("`pseudonym` names key '{id}', which is not in the file of keys"),
            format!("Its keys are {}; without an id the active one, '{active}', is used.", keys.ids()),
        );
    }
    let with_ids = |node: LogicalPlan| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|e| {
                Ok(match e {
                    Expr::ScalarFunction(ScalarFunction { func, mut args })
                        if func.name() == PSEUDONYM && args.len() == 1 =>
                    {
                        args.push(lit(active));
                        Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
                    }
                    other => Transformed::no(other),
                })
            })?;
            Ok(changed.update_data(|e| name.restore(e)))
        })
    };
    Ok(plan.transform_up_with_subqueries(with_ids)?.data)
}

/// The ids of keys that pseudonyms of a plan name; none where there are no pseudonyms.
fn ids_of_pseudonyms(plan: &LogicalPlan) -> Option<BTreeSet<String>> {
    let mut found = None;
    let _ = plan.apply_with_subqueries(|node| {
        let _ = node.apply_expressions(|e| {
            e.apply(|e| {
                if let Expr::ScalarFunction(call) = e
                    && call.func.name() == PSEUDONYM
                {
                    let ids: &mut BTreeSet<String> = found.get_or_insert_default();
                    if let Some(Expr::Literal(id, _)) = call.args.get(1) {
                        ids.extend(id.try_as_str().flatten().map(str::to_owned));
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        });
        Ok(TreeNodeRecursion::Continue)
    });
    found
}
