//! What a pipeline does, for people: kind, key, state and its retention, exchanges, plan.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::pipeline::{Distribution, OperatorPlan, Pipeline, Relation, RelationId};
use crate::catalog::RelationKind;
use crate::format::json::sql_type;
use crate::operators::{
    Deadline, FirstBy, FirstRowSpec, FrameBound, LookupJoinSpec, RunningOrder, RunningWindowSpec, TopRowsSpec, Window,
};

/// Describes the relations of a pipeline, or those of one name.
pub fn explain(pipeline: &Pipeline, relation: Option<&str>) -> String {
    let mut out = String::new();
    let wanted =
        |r: &&Relation| relation.is_none_or(|name| *r.name == *name || r.name.starts_with(&format!("{name}.")));
    for (id, r) in pipeline.relations.iter().enumerate().filter(|(_, r)| wanted(r)) {
        describe(pipeline, id, r, &mut out);
    }
    out
}

fn describe(pipeline: &Pipeline, id: RelationId, relation: &Relation, out: &mut String) {
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
        relation.schema.fields().iter().map(|f| format!("{} {}", f.name(), sql_type(f.data_type()))).collect();
    let _ = writeln!(out, "  columns: {}", columns.join(", "));
    let _ = writeln!(out, "  state: {}", state(relation));
    for line in retention(pipeline, id) {
        let _ = writeln!(out, "  retention: {line}");
    }
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
    match &relation.operator {
        OperatorPlan::SourceTable(source, _) => match source.retention_ms {
            Some(ms) => format!("logged; latest row per key, retention {}", days(ms)),
            None => "logged; latest row per key, without end (no retention declared)".into(),
        },
        OperatorPlan::SourceStream(source, Some(_)) => {
            format!("logged; keys seen within {}", days(source.unique_for_ms.unwrap_or_default()))
        }
        OperatorPlan::SourceStream(_, None) | OperatorPlan::Select => "none".into(),
        OperatorPlan::Constant(_) => "the rows of the query itself".into(),
        OperatorPlan::WindowAggregate(spec) if spec.bucket.is_some() && !spec.emit_final => {
            format!(
                "logged; accumulators, fixed when the bucket closes (allowed lateness {} ms)",
                spec.allowed_lateness_ms
            )
        }
        OperatorPlan::WindowAggregate(spec) if spec.bucket.is_some() => {
            let until = match spec.bucket.as_ref().map(|bucket| &bucket.window) {
                Some(Window::Panes(hop, _)) => format!("per {} until the last bucket of them closes", hop.pane()),
                Some(Window::Session(_)) => "until the session closes".into(),
                _ => "until the bucket closes".into(),
            };
            format!("logged; accumulators {until} (allowed lateness {} ms)", spec.allowed_lateness_ms)
        }
        OperatorPlan::WindowAggregate(_) => "logged; accumulators per key, without end".into(),
        OperatorPlan::RunningWindow(spec) => running_state(spec),
        OperatorPlan::BucketWindow(_) => "logged; rows until their bucket closes".into(),
        OperatorPlan::FirstRow(spec) => {
            let waits =
                if matches!(spec.first, FirstBy::Order { .. }) { ", each with its row while it waits" } else { "" };
            format!("logged; keys {}{waits}", until_closed(spec.bucket.as_ref()))
        }
        OperatorPlan::TopRows(spec) => {
            let rows = spec.numbers.iter().filter_map(|(_, limit)| *limit).min().unwrap_or_default();
            let until = if spec.bucket.is_some() { "fixed when their bucket closes" } else { "without end" };
            format!("logged; the first {rows} rows of each key, {until}")
        }
        OperatorPlan::FinalRows(spec) => format!(
            "derived: rows until their bucket closes (allowed lateness {} ms); logged: up to where buckets are closed",
            spec.allowed_lateness_ms
        ),
        OperatorPlan::Pace(spec) => {
            let seconds = spec.every_ms as f64 / 1e3;
            format!("logged; keys that changed within {seconds} seconds of the clock, and their changes that wait")
        }
        OperatorPlan::LookupJoin(LookupJoinSpec { wait: Some(wait), .. }) => {
            format!(
                "logged; rows of the stream that find nothing, for {} seconds of the clock",
                wait.wait_ms as f64 / 1e3
            )
        }
        OperatorPlan::IntervalJoin(spec) => format!(
            "logged; rows of both sides until the other side's watermark is past their bounds (allowed lateness {} ms)",
            spec.allowed_lateness_ms
        ),
        OperatorPlan::TemporalFilter(_) => "derived from its input: the rows whose instant has not come".into(),
        OperatorPlan::FrozenRows(_) => "logged; the rows that the input last had from frozen groups".into(),
        OperatorPlan::Changes(_) => "logged; last row handed on and revision per key".into(),
        OperatorPlan::Upsert(_) => "logged; last row written per key, as long as the table has it".into(),
        _ => "derived from its inputs, as long as they have it".into(),
    }
}

/// What OVER on a stream keeps.
fn running_state(spec: &RunningWindowSpec) -> String {
    let mut parts = Vec::new();
    if let RunningOrder::EventTime { release, .. } = &spec.order {
        parts.push(format!("rows until the watermark lies {} ms after them", release.after_ms));
    }
    if spec.looks_ahead() {
        parts.push("rows until those are there with which their frames end (they hold the watermark back)".into());
    }
    if spec.frames.iter().any(|frame| frame.start != FrameBound::Unbounded) {
        parts.push("the rows that frames reach".into());
    }
    let until = match spec.forget_after_ms {
        Some(ms) => format!("until {} after their last row", days(ms)),
        None => until_closed(spec.bucket.as_ref()).to_owned(),
    };
    parts.push(format!("accumulators per partition {until}"));
    format!("logged; {}", parts.join("; "))
}

fn until_closed(bucket: Option<&Deadline>) -> &'static str {
    if bucket.is_some() { "until their bucket closes" } else { "without end" }
}

/// When the rows that a relation keeps leave memory, and where they do not.
fn retention(pipeline: &Pipeline, id: RelationId) -> Vec<String> {
    let (relation, retention) = (&pipeline.relations[id], &pipeline.retention);
    let name = |id: RelationId| pipeline.relations[id].name.as_ref();
    if let Some(expiry) = retention.expiries.get(&id) {
        let (days, bucket) = (days(expiry.retention_ms), expiry.bucket.to_string());
        let bucket = if bucket.starts_with("1 ") { bucket.trim_end_matches('s') } else { &bucket };
        let known = match relation.operator {
            OperatorPlan::SourceTable(..) => "; their keys are known until twice the retention",
            _ => "",
        };
        return vec![format!("rows leave memory {days} after the end of their bucket of {bucket}{known}")];
    }
    if let Some(reason) = retention.staying.get(&id) {
        return vec![format!("unbounded: rows stay in memory, though their changes go to late: {reason}")];
    }
    let followed: Vec<&str> = retention.follows.get(id).into_iter().flatten().map(|s| name(*s)).collect();
    let from_inputs = || {
        let leaves = relation.inputs.iter().flat_map(|i| &i.segment.leaves);
        let sources: BTreeSet<RelationId> =
            leaves.filter_map(|leaf| retention.follows.get(*leaf)).flatten().copied().collect();
        sources.into_iter().map(name).collect::<Vec<&str>>()
    };
    match &relation.operator {
        OperatorPlan::SourceTable(source, _) if source.retention_ms.is_none() => {
            vec!["unbounded: no retention is declared".into()]
        }
        OperatorPlan::RunningWindow(spec) if spec.bucket.is_none() && spec.forget_after_ms.is_none() => {
            vec!["unbounded: the partition keys hold no bucket of the event time".into()]
        }
        OperatorPlan::FirstRow(FirstRowSpec { bucket: None, .. })
        | OperatorPlan::TopRows(TopRowsSpec { bucket: None, .. }) => {
            vec!["unbounded: keys stay, for they hold no bucket of the event time".into()]
        }
        OperatorPlan::FrozenRows(_) => {
            let from = from_inputs().join("`, `");
            vec![format!("unbounded: the key behind it holds no bucket, so rows of frozen groups of `{from}` stay")]
        }
        OperatorPlan::Changes(_) | OperatorPlan::Upsert(_) => match from_inputs().as_slice() {
            [] => vec!["unbounded: keys stay".into()],
            from => vec![format!("keys leave with the rows of `{}` that they follow from", from.join("`, `"))],
        },
        _ if followed.is_empty() => Vec::new(),
        _ => vec![format!("rows leave with those of `{}` that they follow from", followed.join("`, `"))],
    }
}

/// What of a pipeline's state grows without end: one sentence a relation.
pub fn unbounded(pipeline: &Pipeline) -> Vec<String> {
    let of_relation = |id: RelationId| {
        let name = &pipeline.relations[id].name;
        let lines = retention(pipeline, id).into_iter();
        lines.filter_map(move |line| line.strip_prefix("unbounded: ").map(|why| format!("{name}: {why}")))
    };
    (0..pipeline.relations.len()).flat_map(of_relation).collect()
}

fn days(ms: i64) -> String {
    match ms % 86_400_000 {
        0 => format!("{} days of event time", ms / 86_400_000),
        _ => format!("{} seconds of event time", ms / 1000),
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
