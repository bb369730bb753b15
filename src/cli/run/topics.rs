//! Which topics a pack reads and writes, by relation and sink.

use std::collections::BTreeMap;

use anyhow::anyhow;

use crate::catalog::{Catalog, QueryRole, RelationKind, SinkMode, SinkOptions, SourceDefinition};
use crate::cli::Failure;
use crate::kafka::SourceTopic;
use crate::stream::OutputTopic;

/// The topics that a pack reads. A source that reads a file has none, so the pack cannot be run yet.
pub(in crate::cli) fn sources(catalog: &Catalog) -> Result<Vec<SourceTopic>, Failure> {
    catalog.sources.iter().map(source).collect()
}

fn source(definition: &SourceDefinition) -> Result<SourceTopic, Failure> {
    let Some(topic) = &definition.topic else {
        return Err(Failure::Configuration(anyhow!(
            "`{}` reads the file `{}`, but `curb run` reads topics only: declare it with `topic`, or use `curb replay`",
            definition.name,
            definition.path.as_deref().unwrap_or_default()
        )));
    };
    Ok(SourceTopic {
        relation: definition.name.clone(),
        topic: topic.clone(),
        is_table: definition.kind == RelationKind::Table,
        idle_timeout_ms: Some(definition.idle_timeout_ms.max(0).unsigned_abs()),
    })
}

/// The topics that a pack writes: one a sink, and for each source those of its late and rejected records.
pub(in crate::cli) fn outputs(catalog: &Catalog) -> Result<BTreeMap<OutputTopic, String>, Failure> {
    let mut topics = BTreeMap::new();
    for query in &catalog.queries {
        let QueryRole::Sink(options) = &query.role else { continue };
        refuse_unsupported(&query.name, options, query.emit_every_ms)?;
        let topic = match options.mode {
            SinkMode::Live => options.topic.clone(),
            SinkMode::Shadow => format!("{}.shadow", options.topic),
        };
        topics.insert(OutputTopic::Sink(query.name.clone()), topic);
    }
    for definition in &catalog.sources {
        let Some(topic) = &definition.topic else { continue };
        topics.insert(OutputTopic::Late(definition.name.clone()), format!("{topic}.late"));
        topics.insert(OutputTopic::Rejected(definition.name.clone()), format!("{topic}.rejected"));
    }
    Ok(topics)
}

/// An option that is understood but not obeyed would promise what does not happen.
fn refuse_unsupported(sink: &str, options: &SinkOptions, emit_every_ms: Option<i64>) -> Result<(), Failure> {
    let unsupported = [
        (options.settle_ms != 0, "settle"),
        (options.max_rate.is_some(), "max_rate"),
        (emit_every_ms.is_some(), "EMIT CHANGES EVERY"),
    ];
    match unsupported.iter().find(|(is_used, _)| *is_used) {
        None => Ok(()),
        Some((_, option)) => Err(Failure::Configuration(anyhow!(
            "sink `{sink}` uses `{option}`, which `curb run` does not support yet: take it out, or use `curb replay`"
        ))),
    }
}
