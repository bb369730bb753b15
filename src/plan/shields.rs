//! Keeps the stock rules from two things that would change results.
//!
//! - `FOR SYSTEM_TIME AS OF` takes the latest version among those that meet ON; what WHERE asks of it is asked afterwards. The
//!   rules know nothing of versions: they would move such a condition below the join, or into it, where an older version
//!   would be taken instead.
//! - The rules take what was unique below an UNNEST for unique above it (as of DataFusion 55.2): DISTINCT would be left out,
//!   and a join would become one that finds a row at most once.
//!
//! So while they run, the columns concerned pass through a function: a volatile one, which no condition passes, or one that
//! hides which column it is.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Join, LogicalPlan, Projection, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Unnest, Volatility,
};

use super::error::Result;
use super::session::AS_OF;

/// The names of the functions. No SQL can call them: they are not registered.
const VERSION: &str = "column_of_version";
const UNNESTED: &str = "column_of_unnested";

/// Puts the functions in.
pub(super) fn shielded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let shield = |node: LogicalPlan| match node {
        LogicalPlan::Join(join) if chooses_version(&join) => shield_join(join),
        LogicalPlan::Unnest(unnest) if !unnest.input.schema().functional_dependencies().is_empty() => {
            shield_unnest(unnest)
        }
        node => Ok(Transformed::no(node)),
    };
    Ok(plan.transform_up_with_subqueries(shield)?.data)
}

/// Takes the functions out again.
pub(super) fn unshielded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let unshield = |node: LogicalPlan| {
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let bare = expr.transform_up(|e| match e {
                Expr::ScalarFunction(mut f) if [VERSION, UNNESTED].contains(&f.func.name()) && f.args.len() == 1 => {
                    Ok(Transformed::yes(f.args.swap_remove(0)))
                }
                e => Ok(Transformed::no(e)),
            })?;
            Ok(bare.update_data(|e| name.restore(e)))
        })?;
        if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
    };
    Ok(plan.transform_up_with_subqueries(unshield)?.data)
}

fn chooses_version(join: &Join) -> bool {
    let is_marker = |e: &Expr| matches!(e, Expr::ScalarFunction(f) if f.func.name() == AS_OF);
    join.filter.as_ref().is_some_and(|f| f.exists(|e| Ok(is_marker(e))).unwrap_or_default())
}

fn shield_join(join: Join) -> DataFusionResult<Transformed<LogicalPlan>> {
    let n_left = join.left.schema().fields().len();
    let hidden = |idx: usize| idx >= n_left;
    hide(LogicalPlan::Join(join), VERSION, Volatility::Volatile, hidden).map(Transformed::yes)
}

fn shield_unnest(mut unnest: Unnest) -> DataFusionResult<Transformed<LogicalPlan>> {
    let columns = unnest.input.schema().columns();
    let hidden = |idx: usize| columns.get(idx).is_some_and(|c| !unnest.exec_columns.contains(c));
    let input = hide(unnest.input.as_ref().clone(), UNNESTED, Volatility::Immutable, hidden)?;
    unnest.input = Arc::new(input);
    LogicalPlan::Unnest(unnest).recompute_schema().map(Transformed::yes)
}

/// Lets columns pass through a function, under their names.
fn hide(
    plan: LogicalPlan,
    function: &'static str,
    volatility: Volatility,
    hidden: impl Fn(usize) -> bool,
) -> DataFusionResult<LogicalPlan> {
    let function = ScalarUDF::from(Shield { name: function, signature: Signature::any(1, volatility) });
    let columns = plan.schema().columns().into_iter().enumerate().map(|(idx, column)| {
        if !hidden(idx) {
            return Expr::Column(column);
        }
        let (relation, name) = (column.relation.clone(), column.name.clone());
        function.call(vec![Expr::Column(column)]).alias_qualified(relation, name)
    });
    let columns = columns.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

/// A function that yields its argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shield {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Shield {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(args.arg_fields[0].clone())
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(args.args.swap_remove(0))
    }
}
