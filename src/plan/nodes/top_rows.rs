//! The first rows of each partition of a stream in an order that any later row may come before: a table.
//!
//! `row_number() OVER (PARTITION BY k ORDER BY ts DESC) = 1` is the last row of each key, `<= 10` by price its ten dearest
//! bids. Only a filter on a number of the row tells how many are to be kept; without one this is no query over a stream.

use datafusion::common::TableReference;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::super::builder::{Builder, Facts};
use super::super::error::{Result, refuse};
use super::super::event_times::TimeOf;
use super::super::lineage;
use super::super::time_columns::TimeColumn;
use super::first_rows::upper_bound;
use super::running_function::Order;
use super::running_window::StreamWindow;
use crate::catalog::Emit;
use crate::operators::{Numbering, TopOrder, TopRowsSpec};

/// How many rows of a key are kept at most.
const LIMIT_MAX: u64 = 10_000;

/// The columns that a window adds.
pub(super) type Added = [(Option<TableReference>, arrow::datatypes::FieldRef)];

/// The operator, where a filter keeps the first rows of each partition and the result is a table.
///
/// That is where no watermark tells that a row stays among the first, and where the query says EMIT CHANGES.
pub(super) fn top_rows(
    builder: &Builder<'_>,
    plan: &StreamWindow,
    filter: Option<&Expr>,
    added: &Added,
) -> Result<Option<TopRowsSpec>> {
    let is_table = match plan.order {
        Order::Arrival => false,
        Order::LatestArrival => true,
        Order::EventTime => builder.emit == Some(Emit::Changes),
        Order::Other => !plan.sorts.is_empty() && (plan.bucket.is_none() || builder.emit == Some(Emit::Changes)),
    };
    let numberings = plan.functions.iter().map(|f| match f.fun.name() {
        "row_number" => Some(Numbering::RowNumber),
        "rank" => Some(Numbering::Rank),
        "dense_rank" => Some(Numbering::DenseRank),
        _ => None,
    });
    let (true, Some(numberings)) = (is_table, numberings.collect::<Option<Vec<_>>>()) else { return Ok(None) };
    let bounds: Vec<_> = filter.into_iter().flat_map(split_conjunction).filter_map(upper_bound).collect();
    let limit = |idx: usize| {
        let name = added.get(idx).map(|(_, field)| field.name());
        let of_column = bounds.iter().filter(|(column, _)| Some(&column.name) == name);
        of_column.map(|(_, n)| u64::from(*n)).min()
    };
    let numbers: Vec<(Numbering, Option<u64>)> =
        numberings.into_iter().enumerate().map(|(idx, numbering)| (numbering, limit(idx))).collect();
    let Some(least) = numbers.iter().filter_map(|(_, limit)| *limit).min().filter(|least| *least > 0) else {
        return Ok(None);
    };
    if least > LIMIT_MAX {
        return refuse(
            "C0439",
            format!("the first {least} rows of each key of a stream are more than are kept"),
            format!("Keep {LIMIT_MAX} rows at most, or put a bucket of the event time into PARTITION BY."),
        );
    }
    let order = match plan.order {
        Order::LatestArrival => TopOrder::LatestArrival,
        _ => TopOrder::Columns(plan.sorts.clone()),
    };
    Ok(Some(TopRowsSpec {
        n_keys: plan.layout.n_keys,
        order,
        numbers,
        bucket: plan.bucket.clone(),
        input: super::running_window::no_columns(),
        schema: super::running_window::no_columns(),
    }))
}

/// What is known of the rows of the table that is about to be added.
pub(super) fn facts(builder: &Builder<'_>, plan: &StreamWindow, input: &LogicalPlan) -> Facts {
    let exprs = &plan.layout.exprs;
    // The partition keys are read under their own names where they are handed on.
    let own = |key: usize| exprs.get(key).and_then(|expr| exprs.iter().rposition(|e| e == expr)).unwrap_or(key);
    let partition: Vec<usize> = (0..plan.layout.n_keys).map(own).collect();
    let is_computed = |column: &&usize| exprs.get(**column).is_some_and(|expr| !matches!(expr, Expr::Column(_)));
    let computed = partition.iter().filter(is_computed).filter_map(|c| Some((*c, exprs.get(*c)?.clone().unalias())));
    let mut facts = Facts {
        computed: computed.collect(),
        times: vec![None; exprs.len() + plan.functions.len()],
        ..Facts::default()
    };
    for (idx, _) in plan.functions.iter().enumerate().filter(|(_, f)| f.fun.name() == "row_number") {
        let number = exprs.len() + idx;
        facts.unique_when.push((number, partition.clone()));
        facts.keys.push(partition.iter().copied().chain([number]).collect());
    }
    let Some(bucket) = &plan.bucket else { return facts };
    // Keys leave after their bucket, as the rows of a source do after their retention.
    let source = builder.relations.len();
    let mut set = |column: usize, bucket| {
        if let Some(time) = facts.times.get_mut(column) {
            *time = Some(TimeOf { source, bucket });
        }
    };
    let times = lineage::event_times(builder, input);
    if let [(time, TimeColumn::Instant)] = times.as_slice() {
        // All rows of a bucket of it leave together.
        let column = input.schema().columns().into_iter().nth(*time).map(Expr::Column);
        exprs.iter().enumerate().filter(|(_, e)| Some(*e) == column.as_ref()).for_each(|(idx, _)| set(idx, None));
    }
    [bucket.column, own(bucket.column)].into_iter().for_each(|column| set(column, plan.width));
    facts
}
