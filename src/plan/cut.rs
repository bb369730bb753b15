//! The cut: an optimised plan falls apart into relations and stateless segments.
//!
//! Every aggregate, join and window becomes a relation, and in its parent a leaf with the same columns. What is left
//! above is stateless.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, SubqueryAlias, TableScan, Union, Unnest};

use super::builder::Builder;
use super::error::{Result, refuse};
use super::leaf::EpochTable;
use super::{lineage, nodes};

/// Columns that a node's parent reads. Joins and windows leave the others out.
pub(super) type Needed = BTreeSet<Column>;

/// Cuts an optimised plan. Relations are added to the builder; the stateless rest is returned.
pub(super) fn cut(builder: &mut Builder<'_>, plan: LogicalPlan, needed: &Needed) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::TableScan(scan) => read(builder, scan),
        LogicalPlan::Projection(p) => {
            let below = columns_of(&p.expr);
            let input = cut(builder, unwrap(p.input), &below)?;
            Ok(LogicalPlan::Projection(Projection::try_new(p.expr, Arc::new(input))?))
        }
        LogicalPlan::Filter(f) => {
            let below = needed | &columns_of(std::slice::from_ref(&f.predicate));
            // What is kept of the rows of a window decides how many it has to remember.
            let filter = lineage::source_expr(&f.input, &f.predicate);
            let input = cut_below_filter(builder, unwrap(f.input), &below, &filter)?;
            nodes::first_rows::limit_rows(builder, &f.predicate, &input);
            Ok(LogicalPlan::Filter(Filter::try_new(f.predicate, Arc::new(input))?))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let (above, below) = (alias.schema.columns(), alias.input.schema().columns());
            let below = above.into_iter().zip(below).filter(|(a, _)| needed.contains(a)).map(|(_, b)| b).collect();
            let input = cut(builder, unwrap(alias.input), &below)?;
            Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?))
        }
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.into_iter().map(|input| {
                let all = all_columns(&input);
                Ok(Arc::new(cut(builder, unwrap(input), &all)?))
            });
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            Ok(LogicalPlan::Union(Union { inputs, schema: union.schema }))
        }
        LogicalPlan::Unnest(unnest) => {
            let all = all_columns(&unnest.input);
            let input = Arc::new(cut(builder, unwrap(unnest.input.clone()), &all)?);
            Ok(LogicalPlan::Unnest(Unnest { input, ..unnest }))
        }
        LogicalPlan::Join(join) => nodes::join::cut_join(builder, join, needed),
        LogicalPlan::Aggregate(aggregate) => nodes::aggregate::cut_aggregate(builder, aggregate),
        LogicalPlan::Window(window) => nodes::table_window::cut_window(builder, window, needed, None),
        LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row => Ok(LogicalPlan::EmptyRelation(empty)),
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => nodes::constant::add_constant(builder, plan),
        LogicalPlan::Sort(_) => refuse(
            "C0303",
            "ORDER BY has no meaning for rows that keep changing",
            "Drop it, or number the rows with row_number() OVER (PARTITION BY .. ORDER BY ..).",
        ),
        LogicalPlan::Limit(_) => refuse(
            "C0304",
            "LIMIT needs an ORDER BY of its own query and a constant",
            "Write ORDER BY .. LIMIT 10, or keep the first rows of each key with \
             QUALIFY row_number() OVER (PARTITION BY .. ORDER BY ..) <= n.",
        ),
        LogicalPlan::Subquery(_) => refuse(
            "C0406",
            "a relation in FROM refers to another one beside it (LATERAL)",
            "Unnest in the select list, as in (SELECT id, unnest(list) AS item FROM t); for the first rows of each key join \
             (SELECT * FROM u QUALIFY row_number() OVER (PARTITION BY key ORDER BY ..) <= n) by the key.",
        ),
        other => {
            let text = other.display().to_string();
            let word = text.split([':', ' ', '(']).next().unwrap_or_default().to_owned();
            refuse("C0400", format!("{word} cannot be streamed"), "Write the query with joins, GROUP BY and OVER.")
        }
    }
}

/// Cuts what a filter reads. `filter` is it in the columns of the window that is the first below what only picks columns.
fn cut_below_filter(
    builder: &mut Builder<'_>,
    plan: LogicalPlan,
    needed: &Needed,
    filter: &Expr,
) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Window(window) => nodes::table_window::cut_window(builder, window, needed, Some(filter)),
        LogicalPlan::Projection(p) => {
            let below = columns_of(&p.expr);
            let input = cut_below_filter(builder, unwrap(p.input), &below, filter)?;
            Ok(LogicalPlan::Projection(Projection::try_new(p.expr, Arc::new(input))?))
        }
        other => cut(builder, other, needed),
    }
}

/// Reads a relation: the scan is pointed at the columns that the relation keeps.
fn read(builder: &Builder<'_>, scan: TableScan) -> Result<LogicalPlan> {
    let name = scan.table_name.table().to_owned();
    let Some(id) = builder.scans.get(&name) else {
        return refuse("C0202", format!("relation `{name}` could not be planned"), "Mend its own error first.");
    };
    // The leaf of a relation that a cut has made. Its columns may share names.
    if scan.projection.is_none() && name == format!("r{id}") {
        return Ok(LogicalPlan::TableScan(scan));
    }
    let schema = builder.relations[*id].schema.clone();
    let projection = scan.projected_schema.fields().iter().map(|f| schema.index_of(f.name()));
    let projection = projection.collect::<std::result::Result<Vec<usize>, _>>()?;
    let table = EpochTable { relation: name, schema, view: None };
    Ok(LogicalPlan::TableScan(TableScan {
        source: provider_as_source(Arc::new(table)),
        projection: Some(projection),
        filters: Vec::new(),
        fetch: None,
        ..scan
    }))
}

pub(super) fn unwrap(plan: Arc<LogicalPlan>) -> LogicalPlan {
    Arc::unwrap_or_clone(plan)
}

/// All output columns of a plan.
pub(super) fn all_columns(plan: &LogicalPlan) -> Needed {
    plan.schema().columns().into_iter().collect()
}

/// All columns that expressions read.
pub(super) fn columns_of(exprs: &[Expr]) -> Needed {
    exprs.iter().flat_map(|e| e.column_refs().into_iter().cloned()).collect()
}
