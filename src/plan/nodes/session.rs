//! Sessions of a table: numbered by OVER, then grouped.
//!
//! Rows are put in the order of time. Up to each row it is known until when the sessions begun before it reach; a row that
//! lies beyond begins the next session. What is grouped is the start of the session of each row, so the whole is a function
//! of the rows of one key, which `table_window` computes again where they change.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::functions_window::lead_lag::lag_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, SortExpr, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition, lit, when,
};

use super::super::bucket_marks::BUCKET;
use super::super::builder::Builder;
use super::super::cut::{all_columns, cut};
use super::super::error::Result;
use super::buckets::{single_rows, with_conditions};
use crate::functions::session_end;

/// Until when the session of a row alone reaches.
const END: &str = "__session_end";
/// Until when sessions reach that began up to a row.
const REACH: &str = "__session_reach";
/// The same up to the row before.
const REACH_BEFORE: &str = "__session_reach_before";
/// The instant of a row that begins a session.
const FIRST: &str = "__session_first";
/// The start of the session of a row.
const START: &str = "__session_start";

/// Turns GROUP BY with a session over a table into relations.
pub(super) fn over_table(
    builder: &mut Builder<'_>,
    aggregate: &Aggregate,
    input: &LogicalPlan,
    gap: ScalarValue,
) -> Result<LogicalPlan> {
    let n_keys = aggregate.group_expr.len();
    let exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
    let rows = single_rows(builder, aggregate, input, exprs.map(|e| e.clone().unalias()).collect())?;
    let (keys, calls) = rows.exprs.split_at(n_keys.min(rows.exprs.len()));
    let at = Expr::Column(Column::from_name(BUCKET));
    let partition: Vec<Expr> = keys.iter().filter(|key| **key != at).cloned().collect();
    let over = |function: WindowFunctionDefinition, args: Vec<Expr>, name: &str| {
        let (unbounded, current) = (ScalarValue::UInt64(None), WindowFrameBound::CurrentRow);
        let frame = WindowFrame::new_bounds(WindowFrameUnits::Rows, WindowFrameBound::Preceding(unbounded), current);
        Expr::WindowFunction(Box::new(WindowFunction {
            fun: function,
            params: WindowFunctionParams {
                args,
                partition_by: partition.clone(),
                order_by: vec![SortExpr::new(at.clone(), true, true)],
                window_frame: frame,
                filter: None,
                null_treatment: None,
                distinct: false,
            },
        }))
        .alias(name)
    };
    let max = |of: &str, name: &str| {
        over(WindowFunctionDefinition::AggregateUDF(max_udaf()), vec![Expr::Column(Column::from_name(of))], name)
    };
    let before = |of: &str, name: &str| {
        let args = vec![Expr::Column(Column::from_name(of)), lit(1_i64)];
        over(WindowFunctionDefinition::WindowUDF(lag_udwf()), args, name)
    };
    let columns = |plan: &LogicalPlan| plan.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let end = session_end(builder.zone).call(vec![at.clone(), lit(gap)]).alias(END);
    let with_end = columns(&rows.plan).into_iter().chain([end]).collect::<Vec<_>>();
    let reached = LogicalPlanBuilder::from(rows.plan)
        .project(with_end)?
        .window(vec![max(END, REACH)])?
        .window(vec![before(REACH, REACH_BEFORE)])?
        .build()?;
    let reach = Expr::Column(Column::from_name(REACH_BEFORE));
    let nothing = ScalarValue::try_from(&at.get_type(reached.schema().as_ref())?)?;
    let first = when(at.clone().lt_eq(reach), lit(nothing)).otherwise(at.clone())?.alias(FIRST);
    let with_first = columns(&reached).into_iter().chain([first]).collect::<Vec<_>>();
    let started = LogicalPlanBuilder::from(reached).project(with_first)?.window(vec![max(FIRST, START)])?.build()?;
    let in_session = |expr: &Expr| {
        expr.clone().transform(|e| {
            Ok(if e == at { Transformed::yes(Expr::Column(Column::from_name(START))) } else { Transformed::no(e) })
        })
    };
    let group =
        keys.iter().map(|key| in_session(key).map(|t| t.data)).collect::<datafusion::common::Result<Vec<_>>>()?;
    let grouped = Aggregate::try_new(Arc::new(started), group, calls.to_vec())?;
    // The columns get the names back that are known above.
    let outputs = grouped.schema.columns().into_iter().zip(aggregate.schema.iter());
    let outputs = outputs
        .map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name()))
        .collect::<Vec<_>>();
    let plan = LogicalPlanBuilder::from(LogicalPlan::Aggregate(grouped)).project(outputs)?.build()?;
    let needed = all_columns(&plan);
    let cut = cut(builder, plan, &needed)?;
    with_conditions(cut, rows.conditions)
}
