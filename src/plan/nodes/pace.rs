//! `EMIT CHANGES EVERY`: a bound on how often changes leave a definition.

use datafusion::logical_expr::LogicalPlan;

use super::super::builder::{Builder, Facts, NewRelation, arrow_schema};
use super::super::error::{Result, refuse};
use super::super::pipeline::{Distribution, OperatorPlan, Relation};
use super::super::{canonical, lineage};
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
    let key = lineage::keys(builder, rest).into_iter().next().unwrap_or_default();
    let distribution = if key.is_empty() { Distribution::Single } else { Distribution::Hash(key.clone()) };
    Ok((OperatorPlan::Pace(PaceSpec { every_ms, key, schema: arrow_schema(rest.schema()) }), distribution))
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
    let leaf = builder.add(NewRelation {
        node: "pace",
        kind,
        schema,
        operator,
        inputs: vec![(rest, distribution)],
        facts,
        arrival: false,
        meaning: "pace".into(),
    })?;
    if let Some(relation) = builder.relations.last_mut() {
        keep_id(relation);
    }
    Ok(leaf)
}

/// Gives the relation of a pace an id that a changed rule keeps: what waits is compared with whatever the table has become.
pub(in super::super) fn keep_id(relation: &mut Relation) {
    if let OperatorPlan::Pace(spec) = &relation.operator {
        relation.operator_id = canonical::id(&format!("pace {} key={:?} {}", relation.name, spec.key, relation.schema));
    }
}
