//! `PASSED(t, column)`: the rows of a table whose instant the watermark of the table's sources has passed.

use arrow::datatypes::DataType;

use crate::catalog::RelationKind;
use crate::operators::TemporalFilterSpec;

use super::super::RelationId;
use super::super::builder::{Builder, Facts, NewRelation, leaf, schema_of};
use super::super::error::{Result, refuse};
use super::super::pipeline::{Distribution, OperatorPlan};
use super::super::table_read::TableRead;

/// Adds the relation that `PASSED(t, column)` reads; `id` is the table's.
///
/// It is a relation with a name rather than a condition in WHERE, which the optimiser would move before joins: what has
/// passed must be asked of the watermark of everything that the table follows from.
pub(in super::super) fn add_temporal_filter(
    builder: &mut Builder<'_>,
    read: &TableRead,
    column: &str,
    id: RelationId,
) -> Result<()> {
    let schema = builder.relations[id].schema.clone();
    let found = schema.fields().iter().position(|f| f.name() == column);
    let Some(time) = found.filter(|idx| matches!(schema.field(*idx).data_type(), DataType::Timestamp(..))) else {
        let is_timestamp = |f: &&arrow::datatypes::FieldRef| matches!(f.data_type(), DataType::Timestamp(..));
        let timestamps: Vec<&str> = schema.fields().iter().filter(is_timestamp).map(|f| f.name().as_str()).collect();
        let hint = match timestamps.as_slice() {
            [] => "Add the instant to its SELECT.".to_owned(),
            names => format!("Its timestamps are {}.", names.join(", ")),
        };
        return refuse("C0471", format!("`{}` has no column `{column}` that is a timestamp", read.table), hint);
    };
    let known = &builder.facts[id];
    let (keys, broadcast, single_row) = (known.keys.clone(), known.broadcast, known.single_row);
    let (declared, unique_when, times) = (known.declared, known.unique_when.clone(), known.times.clone());
    let distribution = match keys.first() {
        _ if broadcast => Distribution::Broadcast,
        Some(key) if !key.is_empty() => Distribution::Hash(key.clone()),
        _ => Distribution::Single,
    };
    let fields = schema_of(schema.fields().iter().map(|f| (None, f.clone())).collect())?;
    builder.add(NewRelation {
        node: "temporal_filter",
        kind: RelationKind::Table,
        schema: fields.clone(),
        operator: OperatorPlan::TemporalFilter(TemporalFilterSpec { time, schema }),
        inputs: vec![(leaf(&read.table, fields), distribution)],
        facts: Facts { keys, declared, unique_when, broadcast, single_row, times, ..Facts::default() },
        arrival: false,
        meaning: format!("passed c{time}"),
    })?;
    let name = read.name();
    if let Some(relation) = builder.relations.last_mut() {
        relation.name = name.as_str().into();
    }
    let new = builder.relations.len() - 1;
    builder.scans.insert(name, new);
    Ok(())
}
