//! Constant rows: `VALUES` and a SELECT without FROM. They make a small table that always was there.

use arrow::compute::concat_batches;
use datafusion::logical_expr::LogicalPlan;

use super::super::builder::{Builder, Facts, NewRelation};
use super::super::error::{Result, refuse};
use super::super::pipeline::OperatorPlan;
use super::super::segment::Runner;
use crate::catalog::RelationKind;
use crate::operators::ConstantSpec;

/// So many rows are a table of their own, and belong into a file.
const ROWS_MAX: usize = 10_000;

/// Turns constant rows into a relation.
pub(in super::super) fn add_constant(builder: &mut Builder<'_>, plan: LogicalPlan) -> Result<LogicalPlan> {
    if let LogicalPlan::Values(values) = &plan
        && values.values.len() > ROWS_MAX
    {
        return refuse(
            "C0401",
            format!("{} constant rows are more than {ROWS_MAX}", values.values.len()),
            "Put them into a table: CREATE TABLE .. WITH (path = '<file>').",
        );
    }
    let runner = Runner::compile(&plan, builder.state)?;
    let batches = runner.run(std::collections::HashMap::new())?;
    let rows = concat_batches(&runner.schema(), &batches)?;
    let is_single = rows.num_rows() == 1;
    let meaning = format!("constant {} {:?}", rows.num_rows(), rows.columns());
    let facts = Facts {
        keys: if is_single { vec![Vec::new()] } else { Vec::new() },
        single_row: is_single,
        broadcast: true,
        ..Facts::default()
    };
    builder.add(NewRelation {
        node: "constant",
        kind: RelationKind::Table,
        schema: plan.schema().clone(),
        operator: OperatorPlan::Constant(ConstantSpec { rows }),
        inputs: Vec::new(),
        facts,
        arrival: false,
        meaning,
    })
}
