//! `EMIT CHANGES EVERY`: a bound on how often changes leave a definition.

use datafusion::logical_expr::LogicalPlan;

use super::super::builder::{Builder, Facts, NewRelation, arrow_schema};
use super::super::error::{Result, refuse};
use super::super::lineage;
use super::super::pipeline::{Distribution, OperatorPlan};
use crate::catalog::{QueryDefinition, RelationKind};
use crate::operators::PaceSpec;

/// What computes the relation of a definition from its stateless rest, and how rows are divided for it.
pub(in super::super) fn last_operator(
    builder: &Builder<'_>,
    definition: &QueryDefinition,
    rest: &LogicalPlan,
    kind: RelationKind,
) -> Result<(OperatorPlan, Distribution)> {
    let Some(every_ms) = definition.emit_every_ms else { return Ok((OperatorPlan::Select, Distribution::Single)) };
    if kind == RelationKind::Stream {
        return refuse(
            "C0485",
            format!("EMIT CHANGES EVERY of `{}`: the rows of a stream never change", definition.name),
            "Drop EVERY: it bounds how often the changes of a table leave.",
        );
    }
    let distribution = match lineage::keys(builder, rest).into_iter().next() {
        Some(key) if !key.is_empty() => Distribution::Hash(key),
        _ => Distribution::Single,
    };
    Ok((OperatorPlan::Pace(PaceSpec { every_ms, schema: arrow_schema(rest.schema()) }), distribution))
}

/// The rows of a sink behind the bound on how often they change, if there is one.
pub(in super::super) fn paced(
    builder: &mut Builder<'_>,
    definition: &QueryDefinition,
    rest: LogicalPlan,
    kind: RelationKind,
) -> Result<LogicalPlan> {
    let (operator, distribution) = last_operator(builder, definition, &rest, kind)?;
    if matches!(operator, OperatorPlan::Select) {
        return Ok(rest);
    }
    let facts = Facts { keys: lineage::keys(builder, &rest), ..Facts::default() };
    let schema = rest.schema().clone();
    builder.add(NewRelation {
        node: "pace",
        kind,
        schema,
        operator,
        inputs: vec![(rest, distribution)],
        facts,
        arrival: false,
        meaning: "pace".into(),
    })
}
