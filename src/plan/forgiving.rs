//! What a row holds cannot stop a pipeline: expressions that DataFusion ends with an error for are null for such a row.
//!
//! A batch query may fail and be asked again; a pipeline that fails stops everybody's rows, and stops again after every
//! restart. So a CAST of something that a row holds is a TRY_CAST, and a division by zero is null, as in
//! ksqlDB and SQLite. Constants keep their errors: what is wrong with a rule itself is found when it is planned. What can
//! still fail is left out row by row, see `segment.rs`.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult, ScalarValue};
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast};

use super::error::Result;

/// Makes the expressions of a plan null where they would fail. The types of the plan must be settled.
pub(super) fn forgiving(plan: LogicalPlan) -> Result<LogicalPlan> {
    let forgive = |node: LogicalPlan| {
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::TableScan(scan) = &node {
            schema.merge(&scan.projected_schema);
        }
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let forgiven = expr.transform_up(|e| forgiving_expr(e, &schema))?;
            Ok(forgiven.update_data(|e| name.restore(e)))
        })?;
        if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
    };
    Ok(plan.transform_up_with_subqueries(forgive)?.data)
}

fn forgiving_expr(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    Ok(match expr {
        Expr::Cast(Cast { expr, field })
            if holds_columns(&expr) && may_fail(&expr.get_type(schema)?, field.data_type()) =>
        {
            Transformed::yes(Expr::TryCast(TryCast { expr, field }))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Divide | Operator::Modulo), right })
            if !is_other_than_zero(&right) =>
        {
            let data_type = right.get_type(schema)?;
            if data_type.is_integer() || data_type.is_decimal() {
                let zero = Expr::Literal(ScalarValue::new_zero(&data_type)?, None);
                let right = Box::new(nullif(*right, zero));
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            } else {
                // Floats know infinity.
                Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
        }
        expr => Transformed::no(expr),
    })
}

fn holds_columns(expr: &Expr) -> bool {
    let is_column = |e: &Expr| matches!(e, Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_));
    expr.exists(|e| Ok(is_column(e))).unwrap_or(true)
}

fn is_other_than_zero(expr: &Expr) -> bool {
    let Expr::Literal(value, _) = expr else { return false };
    !value.is_null() && ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| zero != *value)
}

/// Whether a value of one type may have none in the other.
fn may_fail(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, Boolean, Date32, Float32, Float64, LargeBinary, LargeUtf8, Null, Timestamp, Utf8, Utf8View,
    };
    let is_text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        (from, to) if from == to => false,
        (Null, _) => false,
        (Binary | LargeBinary, to) if is_text(to) => true,
        (_, to) if is_text(to) => false,
        (Boolean, to) => !to.is_numeric(),
        (from, Float32 | Float64) => !from.is_numeric(),
        (from, to) if from.is_integer() && to.is_integer() => !holds_all_of(to, from),
        (Timestamp(a, _), Timestamp(b, _)) => a != b,
        (Timestamp(..), Date32) => false,
        _ => true,
    }
}

/// Whether an integer type holds all values of another one.
fn holds_all_of(wide: &DataType, narrow: &DataType) -> bool {
    let bits = |t: &DataType| t.primitive_width().unwrap_or(0) * 8 - usize::from(t.is_signed_integer());
    bits(wide) >= bits(narrow) && (wide.is_signed_integer() || narrow.is_unsigned_integer())
}
