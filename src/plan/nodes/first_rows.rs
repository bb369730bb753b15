//! A filter that keeps the first rows of each partition: the relation that numbers them need not hand on the others.
//!
//! Without this a row that comes in front of many would renumber them all, to be dropped by the filter.

use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use super::super::builder::Builder;
use super::super::lineage;
use super::super::pipeline::OperatorPlan;
use crate::operators::{WindowKernel, WindowStep};

/// Limits the relation that a stateless plan reads to as many rows as the filter behind it can let pass.
pub(in super::super) fn limit_rows(builder: &mut Builder<'_>, predicate: &Expr, input: &LogicalPlan) {
    let Some(id) = lineage::only_leaf(builder, input) else { return };
    // Under its number alone the relation has this reader only.
    let name = format!("r{id}");
    if !reads(input, &name) || id + 1 != builder.relations.len() {
        return;
    }
    let bounds = split_conjunction(predicate).into_iter().filter_map(|part| {
        let (column, n) = upper_bound(part)?;
        let idx = input.schema().index_of_column(column).ok()?;
        let (_, column) = lineage::origin(builder, input, idx)?;
        Some((column, n))
    });
    let bounds: Vec<(usize, u32)> = bounds.collect();
    let Some(relation) = builder.relations.get_mut(id) else { return };
    let OperatorPlan::TableWindow(spec) = &mut relation.operator else { return };
    let [WindowStep::Kernels(step)] = spec.steps.as_slice() else { return };
    // Only numbers look at no later row; and they are the last columns.
    let is_number = |kernel: &WindowKernel| *kernel == WindowKernel::RowNumber;
    let is_whole = step.partition.len() == spec.n_keys;
    if !is_whole || !step.functions.iter().all(|(kernel, _)| is_number(kernel)) {
        return;
    }
    let first_number = spec.schema.fields().len() - step.functions.len();
    let limit = bounds.into_iter().filter(|(column, _)| *column >= first_number).map(|(_, n)| n).min();
    spec.limit = limit.or(spec.limit);
}

fn reads(plan: &LogicalPlan, relation: &str) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table() == relation,
        other => other.inputs().first().is_some_and(|input| reads(input, relation)),
    }
}

/// `column <= n`, `column < n` and `column = n` as a column and the greatest value that passes.
pub(super) fn upper_bound(part: &Expr) -> Option<(&datafusion::common::Column, u32)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return None };
    let (column, op, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
        _ => return None,
    };
    let n = match value {
        ScalarValue::UInt64(Some(n)) => *n,
        ScalarValue::Int64(Some(n)) => u64::try_from(*n).unwrap_or(0),
        _ => return None,
    };
    let n = match op {
        Operator::LtEq | Operator::Eq => n,
        Operator::Lt => n.saturating_sub(1),
        _ => return None,
    };
    Some((column, u32::try_from(n).ok()?))
}
