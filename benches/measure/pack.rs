//! The pack under measurement: read, its topics given a prefix of their own, planned.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use curb::catalog::{Catalog, QueryRole, resolve};
use curb::dialect::{Pack, parse, render};
use curb::format::json::{DecodeColumn, DecodeSpec, Wire};
use curb::plan::{OperatorPlan, Pipeline, plan};
use curb::stream::OutputTopic;

/// A pack that was read and planned.
pub(crate) struct Planned {
    pub(crate) catalog: Catalog,
    pub(crate) pipeline: Arc<Pipeline>,
}

/// Reads and plans the pack in a folder.
pub(crate) fn read(path: &Path) -> Result<Planned> {
    let pack = Pack::read(path)?;
    let (statements, errors) = parse(&pack);
    if !errors.is_empty() {
        bail!("{}", render(&errors, &pack));
    }
    let catalog = resolve(statements, None).map_err(|e| anyhow::anyhow!("{}", render(&e, &pack)))?;
    let pipeline = plan(&catalog).map_err(|e| anyhow::anyhow!("{}", render(&e, &pack)))?;
    Ok(Planned { catalog, pipeline: Arc::new(pipeline) })
}

/// Copies a pack into `dir` with `prefix` before each of its topics, so that runs do not see one another.
pub(crate) fn copy_with_prefix(path: &Path, dir: &Path, prefix: &str) -> Result<PathBuf> {
    let pack = Pack::read(path)?;
    let copy = dir.join(format!("{prefix}pack"));
    std::fs::create_dir_all(&copy)?;
    for file in &pack.files {
        let name = Path::new(&file.path).file_name().context("a file of the pack has no name")?;
        std::fs::write(copy.join(name), file.text.replace("topic = '", &format!("topic = '{prefix}")))?;
    }
    Ok(copy)
}

impl Planned {
    /// The topic of each source, by relation.
    pub(crate) fn sources(&self) -> BTreeMap<String, String> {
        let topic = |s: &curb::catalog::SourceDefinition| Some((s.name.to_string(), s.topic.clone()?));
        self.catalog.sources.iter().filter_map(topic).collect()
    }

    /// The topic of each sink.
    pub(crate) fn sinks(&self) -> BTreeMap<String, String> {
        let topic = |q: &curb::catalog::QueryDefinition| match &q.role {
            QueryRole::Sink(options) => Some((q.name.to_string(), options.topic.clone())),
            _ => None,
        };
        self.catalog.queries.iter().filter_map(topic).collect()
    }

    /// Every topic of the pack, those of late and rejected records too.
    pub(crate) fn topics(&self) -> Vec<String> {
        let sources = self.sources();
        let refused = sources.values().flat_map(|t| [format!("{t}.late"), format!("{t}.rejected")]);
        refused.chain(sources.values().cloned()).chain(self.sinks().into_values()).collect()
    }

    /// How the worker decodes a table: the columns in use and no others.
    pub(crate) fn decode_spec(&self, table: &str) -> Result<DecodeSpec> {
        let relation = self.pipeline.relations.iter().find(|r| &*r.name == table).context("no such relation")?;
        let OperatorPlan::SourceTable(definition, _) = &relation.operator else { bail!("{table} is no table") };
        let mut columns = Vec::new();
        for field in relation.schema.fields() {
            let declared = definition.columns.iter().find(|c| c.name == *field.name()).context("no such column")?;
            columns.push(DecodeColumn {
                name: declared.name.clone(),
                data_type: declared.data_type.clone(),
                not_null: declared.not_null,
                private: declared.private,
            });
        }
        let place = |idx: usize| {
            let name = &definition.columns.get(idx)?.name;
            columns.iter().position(|c| c.name == *name)
        };
        Ok(DecodeSpec {
            key: definition.key.iter().filter_map(|k| place(*k)).collect(),
            is_table: true,
            event_time: definition.event_time.and_then(place),
            max_future_ms: Some(definition.max_future_ms),
            wire: Wire::Kafka,
            columns,
        })
    }
}

/// The name under which the sink's output is known to the ports.
pub(crate) fn output(sink: &str) -> OutputTopic {
    OutputTopic::Sink(sink.into())
}
