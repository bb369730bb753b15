//! Which columns say when a row's source rows happened: event times of tables with a retention, and buckets of them.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::scalar::ScalarValue;

use super::RelationId;
use super::builder::Builder;
use super::column_facts::Rules;
use super::pipeline::OperatorPlan;
use crate::functions::Width;

/// What a column says of the event time of the source rows that a row follows from.
///
/// Rows that agree in the column follow from source rows of one bucket; a null says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeOf {
    /// The source table.
    pub(super) source: RelationId,
    /// The bucket; none for the event time itself.
    pub(super) bucket: Option<Width>,
}

/// What each output column of a stateless plan says.
pub(super) fn of_plan(builder: &Builder<'_>, plan: &LogicalPlan) -> Vec<Option<TimeOf>> {
    let of_column = |relation: &str, column: usize| {
        let id = builder.scans.get(relation)?;
        builder.facts.get(*id)?.times.get(column).copied().flatten()
    };
    Rules { of_column: &of_column, of_expr: &of_expr }.of_plan(plan)
}

/// What an expression over columns says of which `below` tells.
pub(super) fn of_expr(expr: &Expr, schema: &DFSchema, below: &[Option<TimeOf>]) -> Option<TimeOf> {
    match expr {
        Expr::Alias(alias) => of_expr(&alias.expr, schema, below),
        Expr::Column(column) => below.get(schema.index_of_column(column).ok()?).copied().flatten(),
        Expr::ScalarFunction(call) => {
            let (width, argument) = match (call.func.name(), call.args.as_slice()) {
                ("year_month", [at]) => (Width::of_date_trunc("month"), at),
                ("local_date", [at]) => (Width::of_date_trunc("day"), at),
                // A timestamp without zone is cut in UTC, whatever the pack's zone.
                ("date_trunc", [Expr::Literal(ScalarValue::Utf8(Some(unit)), _), at])
                    if matches!(at.get_type(schema), Ok(DataType::Timestamp(_, Some(_)))) =>
                {
                    (Width::of_date_trunc(unit), at)
                }
                ("date_bin", [Expr::Literal(width, _), at])
                    if matches!(at.get_type(schema), Ok(DataType::Timestamp(_, Some(_)))) =>
                {
                    (Width::parse(width).ok(), at)
                }
                ("tumble", [at, Expr::Literal(width, _)]) => (Width::parse(width).ok(), at),
                _ => return None,
            };
            let width = width?;
            let of = of_expr(argument, schema, below)?;
            // The start of a bucket stands for all of it only where it lies in the wider one as a whole.
            let nests = of.bucket.is_none_or(|bucket| bucket.nests_in(width));
            nests.then_some(TimeOf { bucket: Some(width), ..of })
        }
        _ => None,
    }
}

/// What the columns of a relation say, by its operator; its inputs are the plans of its segments.
///
/// For functions of whole partitions this holds as long as they append columns to those of their input.
pub(super) fn of_relation(
    builder: &Builder<'_>,
    operator: &OperatorPlan,
    inputs: &[&LogicalPlan],
    n_columns: usize,
) -> Vec<Option<TimeOf>> {
    let of_input = |idx: usize| inputs.get(idx).map(|plan| of_plan(builder, plan)).unwrap_or_default();
    let mut times = match operator {
        OperatorPlan::Select
        | OperatorPlan::Pace(_)
        | OperatorPlan::TableWindow(_)
        | OperatorPlan::TemporalFilter(_) => of_input(0),
        OperatorPlan::TableAggregate(spec) => of_input(0).into_iter().take(spec.n_keys).collect(),
        OperatorPlan::TableJoin(spec) => {
            let n_before = spec.n_keys + usize::from(spec.as_of);
            of_input(0).into_iter().skip(n_before).chain(of_input(1).into_iter().skip(n_before)).collect()
        }
        _ => Vec::new(),
    };
    times.resize(n_columns, None);
    times
}
