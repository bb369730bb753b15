//! Where the columns of a stateless plan come from, and which of them identify a row.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use super::builder::Builder;
use super::time_columns::TimeColumn;
use super::{RelationId, time_columns};
use crate::functions::Width;

/// A column of a relation.
pub(super) type Origin = (RelationId, usize);

/// The relation and column that an output column of a stateless plan is a plain copy of.
pub(super) fn origin(builder: &Builder<'_>, plan: &LogicalPlan, idx: usize) -> Option<Origin> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let id = builder.scans.get(scan.table_name.table())?;
            Some((*id, scan.projection.as_ref().map_or(Some(idx), |p| p.get(idx).copied())?))
        }
        LogicalPlan::Projection(projection) => {
            let Expr::Column(column) = projection.expr.get(idx)?.clone().unalias() else { return None };
            origin(builder, &projection.input, projection.input.schema().index_of_column(&column).ok()?)
        }
        LogicalPlan::Filter(filter) => origin(builder, &filter.input, idx),
        LogicalPlan::SubqueryAlias(alias) => origin(builder, &alias.input, idx),
        LogicalPlan::Unnest(unnest) => {
            let input = *unnest.dependency_indices.get(idx)?;
            let column = unnest.input.schema().columns().into_iter().nth(input)?;
            let unnested = unnest.exec_columns.contains(&column);
            if unnested { None } else { origin(builder, &unnest.input, input) }
        }
        _ => None,
    }
}

/// An expression over a plan's columns, written out in the columns of the leaf as far as projections allow.
pub(super) fn source_expr(plan: &LogicalPlan, expr: &Expr) -> Expr {
    let step = |input: &LogicalPlan, map: &dyn Fn(usize) -> Option<Expr>| {
        let replaced = expr
            .clone()
            .transform(|e| {
                Ok(match &e {
                    Expr::Column(c) => match plan.schema().index_of_column(c).ok().and_then(map) {
                        Some(below) => Transformed::yes(below),
                        None => Transformed::no(e),
                    },
                    _ => Transformed::no(e),
                })
            })
            .map_or_else(|_| expr.clone(), |t| t.data);
        source_expr(input, &replaced)
    };
    let column_below =
        |input: &LogicalPlan, idx: usize| input.schema().columns().into_iter().nth(idx).map(Expr::Column);
    match plan {
        LogicalPlan::Projection(p) => step(&p.input, &|idx| p.expr.get(idx).map(|e| e.clone().unalias())),
        LogicalPlan::SubqueryAlias(a) => step(&a.input, &|idx| column_below(&a.input, idx)),
        LogicalPlan::Filter(f) => source_expr(&f.input, expr),
        _ => expr.clone(),
    }
}

/// The leaf of a plan that reads one relation once and yields at most one row for each of its rows.
pub(super) fn only_leaf(builder: &Builder<'_>, plan: &LogicalPlan) -> Option<RelationId> {
    match plan {
        LogicalPlan::TableScan(scan) => builder.scans.get(scan.table_name.table()).copied(),
        LogicalPlan::Projection(p) => only_leaf(builder, &p.input),
        LogicalPlan::Filter(f) => only_leaf(builder, &f.input),
        LogicalPlan::SubqueryAlias(a) => only_leaf(builder, &a.input),
        _ => None,
    }
}

/// All sets of output columns that are known to identify a row of a stateless plan.
pub(super) fn keys(builder: &Builder<'_>, plan: &LogicalPlan) -> Vec<Vec<usize>> {
    let Some(leaf) = only_leaf(builder, plan) else { return Vec::new() };
    let facts = &builder.facts[leaf];
    let n_columns = plan.schema().fields().len();
    let origins: Vec<Option<Origin>> = (0..n_columns).map(|idx| origin(builder, plan, idx)).collect();
    // What a key column says may have been computed again from others.
    let computed = |column: &usize| {
        let (_, expr) = facts.computed.iter().find(|(computed, _)| computed == column)?;
        let mut outputs = plan.schema().columns().into_iter().map(Expr::Column);
        outputs.position(|output| source_expr(plan, &output) == *expr)
    };
    let ones = columns_equal_to_one(builder, plan);
    let fixed = fixed_columns(builder, plan);
    let by_filter = facts.unique_when.iter().filter(|(rank, _)| ones.contains(rank)).map(|(_, key)| key);
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut is_declared = false;
    // A table of the first of each group is one of groups: their key goes before that of the rows, if it is as short.
    let (declared, inferred) = facts.keys.split_at(usize::from(facts.declared));
    for (idx, key) in declared.iter().chain(by_filter).chain(inferred).enumerate() {
        let output =
            |column: &usize| origins.iter().position(|o| *o == Some((leaf, *column))).or_else(|| computed(column));
        // A column that a filter fixes tells no rows apart; it stays in the key where it is handed on.
        let handed_on = key.iter().filter(|column| output(column).is_some() || !fixed.contains(column));
        let outputs: Option<Vec<usize>> = handed_on.map(output).collect();
        if let Some(outputs) = outputs
            && !found.contains(&outputs)
        {
            is_declared |= idx < declared.len();
            found.push(outputs);
        }
    }
    if let Some(outputs) = facts.coalesced.as_ref().and_then(|pairs| coalesced(plan, pairs)) {
        found.push(outputs);
    }
    if let Some(inferred) = found.get_mut(usize::from(is_declared)..) {
        inferred.sort_by_key(Vec::len);
    }
    found
}

/// The output columns that hold `coalesce(a, b)` of each pair of the leaf's columns.
fn coalesced(plan: &LogicalPlan, pairs: &[(usize, usize)]) -> Option<Vec<usize>> {
    let outputs = plan.schema().columns();
    let sources: Vec<Expr> = outputs.into_iter().map(|c| source_expr(plan, &Expr::Column(c))).collect();
    let is = |e: &Expr, column: usize| matches!(e, Expr::Column(c) if leaf_column(plan, c) == Some(column));
    pairs
        .iter()
        .map(|(a, b)| {
            let either = |x: &Expr, y: &Expr| (is(x, *a) && is(y, *b)) || (is(x, *b) && is(y, *a));
            sources.iter().position(|e| matches!(alternatives(e), Some((x, y)) if either(x, y)))
        })
        .collect()
}

/// The column of the only leaf's relation that goes by a name there.
fn leaf_column(plan: &LogicalPlan, column: &Column) -> Option<usize> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let idx = scan.projected_schema.index_of_column(column).ok()?;
            scan.projection.as_ref().map_or(Some(idx), |p| p.get(idx).copied())
        }
        other => match other.inputs().as_slice() {
            [input] => leaf_column(input, column),
            _ => None,
        },
    }
}

/// The two arguments of `coalesce`, also where the optimiser has written it as CASE.
fn alternatives(e: &Expr) -> Option<(&Expr, &Expr)> {
    match e {
        Expr::ScalarFunction(f) if f.func.name() == "coalesce" => match f.args.as_slice() {
            [a, b] => Some((a, b)),
            _ => None,
        },
        Expr::Case(case) if case.expr.is_none() => match (case.when_then_expr.as_slice(), &case.else_expr) {
            ([(when, then)], Some(otherwise)) => match when.as_ref() {
                Expr::IsNotNull(tested) if tested == then => Some((then, otherwise)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// Columns of the leaf that a filter on the way holds at one value.
fn fixed_columns(builder: &Builder<'_>, plan: &LogicalPlan) -> Vec<usize> {
    let mut found = Vec::new();
    let _ = plan.apply(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(TreeNodeRecursion::Continue) };
        for part in datafusion::logical_expr::utils::split_conjunction(&filter.predicate) {
            let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { continue };
            let column = match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(column)) => column,
                _ => continue,
            };
            let idx = filter.input.schema().index_of_column(column).ok();
            found.extend(idx.and_then(|idx| origin(builder, &filter.input, idx)).map(|(_, below)| below));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Columns of the leaf that a filter on the way fixes at 1, as `row_number() = 1` does.
fn columns_equal_to_one(builder: &Builder<'_>, plan: &LogicalPlan) -> Vec<usize> {
    let mut found = Vec::new();
    let _ = plan.apply(|node| {
        if let LogicalPlan::Filter(filter) = node {
            for part in datafusion::logical_expr::utils::split_conjunction(&filter.predicate) {
                if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq | Operator::LtEq, right }) = part
                    && let Expr::Column(column) = left.as_ref()
                    && let Expr::Literal(ScalarValue::UInt64(Some(1)) | ScalarValue::Int64(Some(1)), _) = right.as_ref()
                    && let Ok(idx) = filter.input.schema().index_of_column(column)
                    && let Some((_, below)) = origin(builder, &filter.input, idx)
                {
                    found.push(below);
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// The output column of a stateless plan over a stream that holds its event time; the first where there are several.
pub(super) fn event_time(builder: &Builder<'_>, plan: &LogicalPlan) -> Option<usize> {
    let leaf = only_leaf(builder, plan);
    let column = leaf.and_then(|leaf| Some((leaf, builder.facts[leaf].event_time?)));
    let first = (0..plan.schema().fields().len()).find(|idx| column.is_some() && origin(builder, plan, *idx) == column);
    let instant = |time: &Option<TimeColumn>| *time == Some(TimeColumn::Instant);
    first.or_else(|| time_columns::of_plan(builder, plan).iter().position(instant))
}

/// The output column of a stateless plan over a stream that holds the start of a bucket, and its width.
pub(super) fn bucket(builder: &Builder<'_>, plan: &LogicalPlan) -> Option<(usize, Width)> {
    let leaf = only_leaf(builder, plan)?;
    let (column, width) = builder.facts[leaf].bucket?;
    let place = (0..plan.schema().fields().len()).find(|idx| origin(builder, plan, *idx) == Some((leaf, column)))?;
    Some((place, width))
}

/// All output columns of a stateless plan over a stream that hold event times.
pub(super) fn event_times(builder: &Builder<'_>, plan: &LogicalPlan) -> Vec<(usize, TimeColumn)> {
    let times = time_columns::of_plan(builder, plan).into_iter().enumerate();
    times.filter_map(|(column, time)| Some((column, time?))).collect()
}
