//! `curb check`: parse, resolve and plan a pack, without a broker.

use std::fmt::Write;
use std::path::PathBuf;

use chrono_tz::Tz;
use clap::Args;
use serde::Serialize;

use super::load::{Loaded, load_with_files};
use super::{Failure, OutputForm, print};
use crate::catalog::{RelationKind, SourceDefinition};
use crate::plan::{Pipeline, SinkPlan};

/// Check a pack: syntax, names, types, plan, files; then list its topics and state
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The pack: a folder of .sql files, or one file
    pack: PathBuf,
    /// The time zone, instead of the pack's own
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<Tz>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

/// What a pack reads, keeps and writes.
#[derive(Debug, Serialize)]
struct Report {
    time_zone: &'static str,
    sources: Vec<SourceLine>,
    sinks: Vec<SinkLine>,
    relations: usize,
    /// Relations whose state is written to the state topic.
    logged: Vec<String>,
    /// Whose state grows without end, and why.
    unbounded: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SourceLine {
    name: String,
    kind: &'static str,
    /// The topic, or the file relative to the pack.
    reads: String,
    key: Vec<String>,
    event_time: Option<String>,
    retention_seconds: Option<i64>,
}

#[derive(Debug, Serialize)]
struct SinkLine {
    name: String,
    kind: &'static str,
    topic: String,
    key: Vec<String>,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let report = report(&load_with_files(&args.pack, args.time_zone, args.output)?);
    match args.output {
        OutputForm::Text => print(&report.text()),
        OutputForm::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(|e| Failure::Failed(e.into()))?;
            print(&format!("{text}\n"))
        }
    }
}

fn report(loaded: &Loaded) -> Report {
    let pipeline = &loaded.pipeline;
    let is_logged = |r: &&crate::plan::Relation| r.operator.is_logged();
    Report {
        time_zone: pipeline.time_zone.name(),
        sources: loaded.catalog.sources.iter().map(source_line).collect(),
        sinks: pipeline.sinks.iter().map(|sink| sink_line(pipeline, sink)).collect(),
        relations: pipeline.relations.len(),
        logged: pipeline.relations.iter().filter(is_logged).map(|r| r.name.to_string()).collect(),
        unbounded: crate::plan::unbounded(pipeline),
    }
}

fn source_line(source: &SourceDefinition) -> SourceLine {
    let name = |column: &usize| source.columns.get(*column).map(|c| c.name.clone());
    SourceLine {
        name: source.name.to_string(),
        kind: kind(source.kind),
        reads: source.topic.clone().or_else(|| source.path.clone()).unwrap_or_default(),
        key: source.key.iter().filter_map(name).collect(),
        event_time: source.event_time.as_ref().and_then(name),
        retention_seconds: source.retention_ms.map(|ms| ms / 1000),
    }
}

fn sink_line(pipeline: &Pipeline, sink: &SinkPlan) -> SinkLine {
    let schema = pipeline.relations.get(sink.relation).map(|r| r.schema.clone());
    let name = |column: &usize| Some(schema.as_ref()?.fields().get(*column)?.name().clone());
    SinkLine {
        name: sink.name.to_string(),
        kind: if sink.upsert { "upsert" } else { "append" },
        topic: sink.topic.clone(),
        key: sink.key.iter().filter_map(name).collect(),
    }
}

fn kind(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Stream => "stream",
        RelationKind::Table => "table",
    }
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!("time zone {}\n\nsources\n", self.time_zone);
        for s in &self.sources {
            let key = if s.key.is_empty() { String::new() } else { format!(", key {}", s.key.join(", ")) };
            let event_time = s.event_time.as_ref().map(|t| format!(", event time {t}")).unwrap_or_default();
            let kept = match (s.kind, s.retention_seconds) {
                ("table", None) => ", kept for ever".to_string(),
                ("table", Some(seconds)) => format!(", kept for {} days", seconds / 86_400),
                _ => String::new(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {} ({}) from {}{key}{event_time}{kept}", s.name, s.kind, s.reads);
        }
        text.push_str("\nsinks\n");
        for s in &self.sinks {
            let key = if s.key.is_empty() { String::new() } else { format!(", key {}", s.key.join(", ")) };
            let _ = writeln!(text, "  {} ({}) to {}{key}", s.name, s.kind, s.topic);
        }
        if !self.unbounded.is_empty() {
            text.push_str("\nstate that grows without end\n");
        }
        for line in &self.unbounded {
            let _ = writeln!(text, "  {line}");
        }
        let _ = writeln!(text, "\n{} relations, {} with logged state", self.relations, self.logged.len());
        text
    }
}
