//! Which topics a pack reads and writes, by relation and sink.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::anyhow;

use crate::catalog::{Catalog, QueryDefinition, QueryRole, RelationKind, SinkMode, SourceDefinition};
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

/// Sinks that may write PRIVATE columns.
pub(in crate::cli) fn private_sinks(catalog: &Catalog) -> BTreeSet<Arc<str>> {
    let is_private = |q: &&QueryDefinition| matches!(&q.role, QueryRole::Sink(options) if options.allow_private);
    catalog.queries.iter().filter(is_private).map(|q| q.name.clone()).collect()
}
