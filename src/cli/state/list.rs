//! `curb state list`: what a pipeline has logged.

use std::fmt::Write;

use chrono::DateTime;
use clap::Args;
use serde_json::{Value, json};

use super::{open, unreadable};
use crate::cli::service::source_failure;
use crate::cli::settings::{Configuration, PipelineArgs};
use crate::cli::{Failure, OutputForm, print};
use crate::engine::{StateSummary, summarize};
use crate::kafka::{StateTopic, TopicPositions};

/// Show what the state of a pipeline holds: relations, sizes, the last epoch, positions
///
/// A delta is what one epoch changed of one shard of a relation. Rows are counted as often as they were logged; deltas that
/// have become many are written together now and then, and what lies before is deleted.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

pub(super) fn run(args: &ListArgs, configuration: &Configuration) -> Result<(), Failure> {
    let mut topic = open(&args.pipeline, configuration)?;
    let summary = summarize(&mut topic).map_err(unreadable)?;
    let committed = topic.committed_positions().map_err(source_failure)?;
    match args.output {
        OutputForm::Json => print(&format!("{:#}\n", as_json(&topic, &summary, &committed)?)),
        OutputForm::Text => print(&as_text(&topic, &summary, &committed)?),
    }
}

fn as_json(topic: &StateTopic, summary: &StateSummary, committed: &TopicPositions) -> Result<Value, Failure> {
    let relations = summary.relations.iter().map(|(name, r)| {
        json!({
            "relation": name, "operator_id": r.operator_id, "shards": r.shards.len(), "rows_logged": r.n_delta_rows,
            "deltas": r.n_deltas, "bytes": r.n_bytes,
        })
    });
    let shards = topic.ranges().map_err(source_failure)?;
    let shards = shards.into_iter().map(|(s, range)| json!({"shard": s, "first": range.start, "end": range.end}));
    let positions = topic.logged_positions().iter().flat_map(|(topic, partitions)| {
        partitions.iter().map(move |(partition, position)| {
            let committed = committed.get(topic).and_then(|p| p.get(partition));
            json!({"topic": topic, "partition": partition, "logged": position, "committed": committed})
        })
    });
    Ok(json!({
        "topic": topic.name(),
        "shards": shards.collect::<Vec<_>>(),
        "epoch": summary.last.as_ref().map(|last| last.epoch),
        "epoch_clock_ms": summary.last.as_ref().map(|last| last.clock_ms),
        "relations": relations.collect::<Vec<_>>(),
        "positions": positions.collect::<Vec<_>>(),
    }))
}

fn as_text(topic: &StateTopic, summary: &StateSummary, committed: &TopicPositions) -> Result<String, Failure> {
    let mut text = format!("topic     {} ({} shards)\n", topic.name(), topic.n_shards());
    let line = |text: &mut String, line: std::fmt::Arguments<'_>| {
        // A text takes all that is written to it.
        let _ = writeln!(text, "{line}");
    };
    let Some(last) = &summary.last else {
        text.push_str("epoch     none: nothing was ever committed\n");
        return Ok(text);
    };
    let clock = DateTime::from_timestamp_millis(last.clock_ms).map(|t| t.format("%Y-%m-%d %H:%M:%S UTC").to_string());
    line(&mut text, format_args!("epoch     {} at {}\n", last.epoch, clock.unwrap_or_default()));
    let width = summary.relations.keys().map(String::len).max().unwrap_or_default().max("relation".len());
    line(
        &mut text,
        format_args!(
            "{:width$}  {:>6}  {:>12}  {:>9}  {:>10}  operator",
            "relation", "shards", "rows logged", "deltas", "bytes"
        ),
    );
    for (name, r) in &summary.relations {
        line(
            &mut text,
            format_args!(
                "{name:width$}  {:>6}  {:>12}  {:>9}  {:>10}  {}",
                r.shards.len(),
                r.n_delta_rows,
                r.n_deltas,
                bytes(r.n_bytes),
                r.operator_id
            ),
        );
    }
    let width = topic.logged_positions().keys().map(String::len).max().unwrap_or_default().max("source topic".len());
    line(&mut text, format_args!("\n{:width$}  partition  {:>12}  {:>12}", "source topic", "logged", "committed"));
    for (name, partitions) in topic.logged_positions() {
        for (partition, position) in partitions {
            let offset = committed.get(name).and_then(|p| p.get(partition));
            let offset = offset.map_or_else(|| "none".to_owned(), i64::to_string);
            line(&mut text, format_args!("{name:width$}  {partition:>9}  {position:>12}  {offset:>12}"));
        }
    }
    Ok(text)
}

/// A number of bytes for people.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_unit_that_fits() {
        let shown: Vec<String> = [0, 1023, 1024, 1 << 20, 3 << 29].into_iter().map(bytes).collect();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.5 GiB"]);
    }
}
