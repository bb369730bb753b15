//! The sources of a pipeline: which of their columns are read, and what is known of their rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::builder::{Builder, Facts};
use super::canonical;
use super::definitions::{is_followed, reads_of};
use super::error::Result;
use super::event_times::TimeOf;
use super::pipeline::OperatorPlan;
use super::pseudo_columns::with_records;
use super::table_read::{TableRead, add_read};
use crate::catalog::{RelationKind, SourceDefinition};
use crate::operators::{DeduplicateSpec, RowRetention, SourceTableSpec};

/// Adds a source with the columns that are read, its key and its event time.
pub(super) fn add_source(
    builder: &mut Builder<'_>,
    source: &SourceDefinition,
    mut used: BTreeSet<usize>,
    followed: &BTreeSet<TableRead>,
) -> Result<()> {
    used.extend(&source.key);
    used.extend(source.event_time);
    if is_followed(followed, &source.name) || used.is_empty() {
        used.extend(0..source.columns.len());
    }
    let columns: Vec<usize> = used.into_iter().collect();
    let position = |c: &usize| columns.iter().position(|u| u == c);
    let schema = Arc::new(source.schema_with_records(builder.zone).project(&columns)?);
    let key: Vec<usize> = source.key.iter().filter_map(position).collect();
    let event_time = source.event_time.as_ref().and_then(position);
    let definition = Arc::new(source.clone());
    let (operator, distribution) = match source.kind {
        RelationKind::Table => {
            let retention = source.retention_ms.zip(event_time);
            let retention = retention.map(|(retention_ms, event_time)| RowRetention { event_time, retention_ms });
            let spec = SourceTableSpec { key: key.clone(), schema: schema.clone(), retention };
            (OperatorPlan::SourceTable(definition, spec), key.clone())
        }
        RelationKind::Stream => {
            let spec = source.unique_for_ms.zip(event_time).map(|(unique_for_ms, event_time)| DeduplicateSpec {
                key: key.clone(),
                event_time,
                unique_for_ms,
                schema: schema.clone(),
            });
            (OperatorPlan::SourceStream(definition, spec), key.clone())
        }
    };
    let mut times = vec![None; schema.fields().len()];
    if let (OperatorPlan::SourceTable(..), Some(column)) = (&operator, event_time) {
        times[column] = Some(TimeOf { source: builder.relations.len(), bucket: None });
    }
    let facts = Facts {
        times,
        keys: if source.kind == RelationKind::Table { vec![distribution] } else { Vec::new() },
        event_time,
        broadcast: source.broadcast,
        ..Facts::default()
    };
    let columns_text: Vec<String> = schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    let meaning = format!(
        "source {:?} {} key={key:?} unique={:?} [{}]",
        source.kind,
        source.topic.as_deref().or(source.path.as_deref()).unwrap_or(&source.name),
        source.unique_for_ms,
        columns_text.join(", ")
    );
    let id = builder.relations.len();
    builder.relations.push(super::Relation {
        name: source.name.clone(),
        kind: source.kind,
        key: (!key.is_empty()).then_some(key),
        schema,
        operator,
        inputs: Vec::new(),
        watermark_sources: if event_time.is_some() { vec![id] } else { Vec::new() },
        arrival: false,
        operator_id: canonical::id(&meaning),
    });
    builder.facts.push(facts);
    builder.scans.insert(source.name.to_string(), id);
    builder.scans.insert(with_records(&source.name), id);
    for read in reads_of(followed, &source.name) {
        add_read(builder, read, id)?;
    }
    Ok(())
}
