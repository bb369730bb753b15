//! How large a query becomes while it is planned and run: what its short text may hide.
//!
//! Every mention of a name that WITH gives is planned anew, and an optimiser puts expressions in the place of the columns that they
//! define. So thirty lines that each name the line before twice are a billion nodes, and no limit of time ends a planner.

use std::mem::size_of;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, TryCast};

/// Parts of an expression when all columns in it are written out: more than the text of a query has room for otherwise.
const EXPRESSION_NODES_MAX: u64 = 20_000;
/// Types within a type, as those of the fields of a struct or of the places of a list that has so many, and how deep they may lie.
const TYPES_MAX: usize = 500;
const TYPE_DEPTH_MAX: usize = 8;
/// Functions that are told a type by a text, their second argument.
const CASTS: [&str; 2] = ["arrow_cast", "arrow_try_cast"];

/// Whether the expressions and types of a plan stay small; the reason if not.
pub(super) fn check_extent(plan: &LogicalPlan) -> std::result::Result<(), String> {
    let mut refused = None;
    let _ = plan.apply_with_subqueries(|node| {
        let too_large = |data_type: &DataType| n_types(data_type, 0).is_none();
        refused =
            node.schema().fields().iter().find(|f| too_large(f.data_type())).map(|f| format!("of `{}`", f.name()));
        let _ = node.apply_expressions(|expr| {
            expr.apply(|part| {
                if cast_to(part).is_some_and(|data_type| too_large(&data_type)) {
                    refused = Some("that a value is cast to".to_owned());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        });
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    if let Some(which) = refused {
        return Err(format!("the type {which} is too deep or has too many fields or places"));
    }
    let largest = weights(plan).1;
    if largest > EXPRESSION_NODES_MAX {
        return Err(format!(
            "an expression of the query has more than {EXPRESSION_NODES_MAX} parts when the columns in it are written out"
        ));
    }
    Ok(())
}

/// The type that a cast leads to.
fn cast_to(expr: &Expr) -> Option<DataType> {
    match expr {
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => Some(field.data_type().clone()),
        Expr::ScalarFunction(ScalarFunction { func, args }) if CASTS.contains(&func.name()) => {
            match args.get(1).map(|arg| arg.clone().unalias()) {
                Some(Expr::Literal(name, _)) => name.try_as_str().flatten()?.parse().ok(),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Bytes of all constants of a plan, which may stand beside each row of a batch.
pub(super) fn bytes_of_constants(plan: &LogicalPlan) -> u64 {
    let mut bytes = 0_u64;
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::Literal(value, _) = part {
                    bytes = bytes.saturating_add(value.size().saturating_sub(size_of::<ScalarValue>()) as u64);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    bytes
}

/// The number of types in a type; none if there are too many or they lie too deep.
fn n_types(data_type: &DataType, depth: usize) -> Option<usize> {
    if depth > TYPE_DEPTH_MAX {
        return None;
    }
    let mut n = 1_usize;
    let mut times = |places: usize, inner: &DataType| {
        n = n.saturating_add(n_types(inner, depth + 1)?.saturating_mul(places));
        (n <= TYPES_MAX).then_some(())
    };
    let mut of = |inner: &DataType| times(1, inner);
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => of(item.data_type())?,
        // Also a list that is null takes memory for all its places.
        DataType::FixedSizeList(item, places) => times(usize::try_from(*places).ok()?, item.data_type())?,
        DataType::FixedSizeBinary(bytes) => times(usize::try_from(*bytes).ok()? / 8, &DataType::Int64)?,
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
