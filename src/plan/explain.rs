//! What a pipeline does, for people: kind, key, state and its retention, exchanges, plan.

use std::fmt::Write;

use super::pipeline::{Distribution, OperatorPlan, Pipeline, Relation};
use crate::catalog::RelationKind;

/// Describes the relations of a pipeline, or those of one name.
pub fn explain(pipeline: &Pipeline, relation: Option<&str>) -> String {
    let mut out = String::new();
    let wanted =
        |r: &&Relation| relation.is_none_or(|name| *r.name == *name || r.name.starts_with(&format!("{name}.")));
    for r in pipeline.relations.iter().filter(wanted) {
        describe(pipeline, r, &mut out);
    }
    out
}

fn describe(pipeline: &Pipeline, relation: &Relation, out: &mut String) {
    let kind = match relation.kind {
        RelationKind::Stream => "stream",
        RelationKind::Table => "table",
    };
    let arrival = if relation.arrival { ", arrival" } else { "" };
    let _ = writeln!(out, "{}: {kind}{arrival}", relation.name);
    let _ = writeln!(out, "  operator: {} {}", relation.operator.word(), relation.operator_id);
    if let Some(key) = &relation.key {
        let _ = writeln!(out, "  key: {}", names(relation, key));
    }
    let columns: Vec<String> =
        relation.schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    let _ = writeln!(out, "  columns: {}", columns.join(", "));
    let _ = writeln!(out, "  state: {}", state(relation));
    for input in &relation.inputs {
        let leaves: Vec<&str> = input.segment.leaves.iter().map(|id| pipeline.relations[*id].name.as_ref()).collect();
        let _ = writeln!(out, "  reads: {}{}", leaves.join(", "), exchange(pipeline, input));
        for line in input.segment.logical.display_indent().to_string().lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
    out.push('\n');
}

fn names(relation: &Relation, columns: &[usize]) -> String {
    let names: Vec<&str> = columns.iter().map(|c| relation.schema.field(*c).name().as_str()).collect();
    names.join(", ")
}

/// What a relation keeps, whether it is logged, and for how long.
fn state(relation: &Relation) -> String {
    let days = |ms: i64| format!("{} days of event time", ms / 86_400_000);
    match &relation.operator {
        OperatorPlan::SourceTable(source, _) => match source.retention_ms {
            Some(ms) => format!("logged; latest row per key, retention {}", days(ms)),
            None => "logged; latest row per key, without end (no retention declared)".into(),
        },
        OperatorPlan::SourceStream(source, Some(_)) => {
            format!("logged; keys seen within {}", days(source.unique_for_ms.unwrap_or_default()))
        }
        OperatorPlan::SourceStream(_, None) | OperatorPlan::Select => "none".into(),
        OperatorPlan::WindowAggregate(spec) if spec.bucket.is_some() => {
            format!("logged; accumulators until the bucket closes (allowed lateness {} ms)", spec.allowed_lateness_ms)
        }
        OperatorPlan::WindowAggregate(_) => "logged; accumulators per key, without end".into(),
        OperatorPlan::Changes(_) => "logged; last row handed on and revision per key, without end".into(),
        OperatorPlan::Upsert(_) => "logged; last row written per key, as long as the table has it".into(),
        _ => "derived from its inputs, as long as they have it".into(),
    }
}

/// Where rows change their shard.
fn exchange(pipeline: &Pipeline, input: &super::Input) -> String {
    match &input.distribution {
        Distribution::Broadcast => " (broadcast to all shards)".into(),
        Distribution::Single => String::new(),
        Distribution::Hash(columns) => {
            let stays = input.segment.leaves.iter().all(|leaf| {
                let key = pipeline.relations[*leaf].key.as_deref().unwrap_or_default();
                let name = |c: &usize| pipeline.relations[*leaf].schema.field(*c).name();
                let plan = input.segment.logical.display().to_string();
                key.len() == columns.len() && key.iter().all(|k| plan.contains(name(k).as_str()))
            });
            if stays { String::new() } else { format!(" (exchange by {} columns)", columns.len()) }
        }
    }
}

/// Draws the relations of a pipeline as a Mermaid flowchart.
pub fn mermaid(pipeline: &Pipeline) -> String {
    let mut out = String::from("flowchart LR\n");
    for (id, relation) in pipeline.relations.iter().enumerate() {
        let (open, close) = if relation.kind == RelationKind::Stream { ("([", "])") } else { ("[", "]") };
        let _ = writeln!(out, "  r{id}{open}\"{}<br/>{}\"{close}", relation.name, relation.operator.word());
        for leaf in relation.inputs.iter().flat_map(|i| &i.segment.leaves) {
            let _ = writeln!(out, "  r{leaf} --> r{id}");
        }
    }
    out
}
