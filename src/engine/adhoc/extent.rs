//! How large a query becomes while it is planned and run: what its short text may hide.
//!
//! Every mention of a name that WITH gives is planned anew, and an optimiser puts expressions in the place of the columns that they
//! define. So thirty lines that each name the line before twice are a billion nodes, and no limit of time ends a planner.

use std::fs;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// Parts of an expression when all columns in it are written out: more than the text of a query has room for otherwise.
const EXPRESSION_NODES_MAX: u64 = 20_000;
/// Types within a type, as those of the fields of a struct, and how deep they may lie.
const TYPES_MAX: usize = 500;
const TYPE_DEPTH_MAX: usize = 8;

/// Whether the expressions and types of a plan stay small; the reason if not.
pub(super) fn check_extent(plan: &LogicalPlan) -> std::result::Result<(), String> {
    let mut refused = None;
    let _ = plan.apply_with_subqueries(|node| {
        let too_large = |field: &Arc<Field>| n_types(field.data_type(), 0).is_none();
        refused = node
            .schema()
            .fields()
            .iter()
            .find(|f| too_large(f))
            .map(|field| format!("the type of `{}` is too deep or has too many fields", field.name()));
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    if let Some(reason) = refused {
        return Err(reason);
    }
    let largest = weights(plan).1;
    if largest > EXPRESSION_NODES_MAX {
        return Err(format!(
            "an expression of the query has more than {EXPRESSION_NODES_MAX} parts when the columns in it are written out"
        ));
    }
    Ok(())
}

/// The number of types in a type; none if there are too many or they lie too deep.
fn n_types(data_type: &DataType, depth: usize) -> Option<usize> {
    if depth > TYPE_DEPTH_MAX {
        return None;
    }
    let mut n = 1;
    let mut of = |inner: &DataType| {
        n += n_types(inner, depth + 1)?;
        (n <= TYPES_MAX).then_some(())
    };
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => {
            of(item.data_type())?;
        }
        DataType::Struct(fields) => fields.iter().try_for_each(|field| of(field.data_type()))?,
        DataType::Dictionary(_, values) => of(values)?,
        _ => {}
    }
    Some(n)
}

/// For each column of a plan how many parts its expression has when it is written out, and the most of any expression.
fn weights(plan: &LogicalPlan) -> (Vec<u64>, u64) {
    let (mut given, mut largest) = (Vec::new(), 0);
    let inputs = plan.inputs();
    for input in &inputs {
        let (columns, of_input) = weights(input);
        given.push(columns);
        largest = largest.max(of_input);
    }
    let known: Vec<(&DFSchema, &Vec<u64>)> = inputs.iter().map(|input| input.schema().as_ref()).zip(&given).collect();
    let expressions: Vec<u64> = plan.expressions().iter().map(|expr| weight(expr, &known, &mut largest)).collect();
    largest = largest.max(expressions.iter().copied().max().unwrap_or(0));
    let n_columns = plan.schema().fields().len();
    let own = match plan {
        LogicalPlan::Projection(_) => expressions,
        // What is aggregated is computed once.
        LogicalPlan::Aggregate(of) => expressions.into_iter().take(of.group_expr.len()).collect(),
        LogicalPlan::Window(_) => [given.concat(), expressions].concat(),
        LogicalPlan::Union(_) => {
            (0..n_columns).map(|idx| given.iter().filter_map(|of| of.get(idx)).copied().max().unwrap_or(1)).collect()
        }
        LogicalPlan::Unnest(_) | LogicalPlan::RecursiveQuery(_) => {
            vec![given.concat().into_iter().max().unwrap_or(1); n_columns]
        }
        _ => given.concat(),
    };
    // A semi join gives fewer columns than its inputs, and what grouping sets add is a number.
    let own = (0..n_columns).map(|idx| own.get(idx).copied().unwrap_or(1)).collect();
    (own, largest)
}

fn weight(expr: &Expr, known: &[(&DFSchema, &Vec<u64>)], largest: &mut u64) -> u64 {
    let mut n = 0_u64;
    let _ = expr.apply(|part| {
        n = n.saturating_add(match part {
            Expr::Column(column) => {
                let of = |(schema, columns): &(&DFSchema, &Vec<u64>)| {
                    schema.maybe_index_of_column(column).and_then(|idx| columns.get(idx)).copied()
                };
                known.iter().find_map(of).unwrap_or(1)
            }
            Expr::ScalarSubquery(query) => weights(&query.subquery).1,
            Expr::Exists(exists) => weights(&exists.subquery.subquery).1,
            Expr::InSubquery(within) => weights(&within.subquery.subquery).1,
            _ => 1,
        });
        Ok(TreeNodeRecursion::Continue)
    });
    *largest = (*largest).max(n);
    n
}

/// The same plan, where also operators that make many rows of few give way now and then, so that a limit of time is seen.
pub(super) fn giving_way(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let wrap = |node: Arc<dyn ExecutionPlan>| {
        let makes_rows = node.name().contains("Join") || node.name().contains("Unnest");
        Ok(if makes_rows { Transformed::yes(Arc::new(CooperativeExec::new(node)) as _) } else { Transformed::no(node) })
    };
    Ok(plan.transform_up(wrap)?.data)
}

/// Bytes of memory that this process holds; none where the system does not tell.
pub(super) fn resident_bytes() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<usize>().ok()?.checked_mul(1024)
}
