//! Which topics a pack reads and writes, by relation and sink.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::anyhow;

use crate::catalog::{
    Catalog, Compression, QueryDefinition, QueryRole, RelationKind, SinkMode, SinkOptions, SourceDefinition,
};
use crate::cli::Failure;
use crate::kafka::SourceTopic;
use crate::stream::OutputTopic;

/// The topics that a pack reads. Tables may be files instead, but not all of them: the membership in a group of readers is
/// what fences a worker off.
pub(in crate::cli) fn sources(catalog: &Catalog) -> Result<Vec<SourceTopic>, Failure> {
    let is_stream = |d: &&SourceDefinition| d.kind == RelationKind::Stream && d.topic.is_none();
    if let Some(definition) = catalog.sources.iter().find(is_stream) {
        return Err(Failure::Configuration(anyhow!(
            "stream `{}` reads the file `{}`, but only tables of `curb run` may: declare it with `topic`, or use `curb replay`",
            definition.name,
            definition.path.as_deref().unwrap_or_default()
        )));
    }
    let mut topics: Vec<SourceTopic> = Vec::new();
    for (definition, topic) in catalog.sources.iter().filter_map(|d| Some((d, source(d)?))) {
        match topics.iter().find(|known| known.topic == topic.topic) {
            None => topics.push(topic),
            // The first relation reads it for all of them.
            Some(known) if known.is_table == topic.is_table && known.idle_timeout_ms == topic.idle_timeout_ms => {}
            Some(known) => {
                return Err(Failure::Configuration(anyhow!(
                    "`{}` and `{}` read topic `{}`, which is read once for both: they must both be tables or both be \
                     streams, with the same idle_timeout; declare one, and derive the other from it",
                    known.relation,
                    definition.name,
                    topic.topic
                )));
            }
        }
    }
    if topics.is_empty() {
        return Err(Failure::Configuration(anyhow!(
            "the pack reads no topic, and `curb run` would have nothing to wait for: use `curb replay`"
        )));
    }
    Ok(topics)
}

fn source(definition: &SourceDefinition) -> Option<SourceTopic> {
    let topic = definition.topic.as_ref()?;
    Some(SourceTopic {
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
        topics.insert(OutputTopic::Sink(query.name.clone()), topic(options));
    }
    for definition in &catalog.sources {
        // Rows of a file that cannot be read go where those of a topic of the table's name would.
        let topic = definition.topic.clone().unwrap_or_else(|| definition.name.replace('_', "-"));
        topics.insert(OutputTopic::Late(definition.name.clone()), format!("{topic}.late"));
        topics.insert(OutputTopic::Rejected(definition.name.clone()), format!("{topic}.rejected"));
    }
    Ok(topics)
}

/// The topics whose records are compressed in another way than the Kafka properties say, and how.
pub(in crate::cli) fn compression(catalog: &Catalog) -> Result<BTreeMap<String, &'static str>, Failure> {
    let mut codecs: BTreeMap<String, (&Arc<str>, Option<Compression>)> = BTreeMap::new();
    for query in &catalog.queries {
        let QueryRole::Sink(options) = &query.role else { continue };
        let (first, codec) = codecs.entry(topic(options)).or_insert((&query.name, options.compression));
        if *codec != options.compression {
            return Err(Failure::Configuration(anyhow!(
                "sinks `{first}` and `{}` write topic `{}` with two values of `compression`: give both the same",
                query.name,
                topic(options)
            )));
        }
    }
    Ok(codecs.into_iter().filter_map(|(topic, (_, codec))| Some((topic, codec?.name()))).collect())
}

fn topic(options: &SinkOptions) -> String {
    match options.mode {
        SinkMode::Live => options.topic.clone(),
        SinkMode::Shadow => format!("{}.shadow", options.topic),
    }
}

/// Sinks that may write PRIVATE columns.
pub(in crate::cli) fn private_sinks(catalog: &Catalog) -> BTreeSet<Arc<str>> {
    let is_private = |q: &&QueryDefinition| matches!(&q.role, QueryRole::Sink(options) if options.allow_private);
    catalog.queries.iter().filter(is_private).map(|q| q.name.clone()).collect()
}
