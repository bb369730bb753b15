//! `curb diff`: what a changed pack would have written over the same history.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, FixedOffset};
use chrono_tz::Tz;
use clap::Args;
use serde_json::{Map, Value, json};

use super::load::load;
use super::{Failure, OutputForm, print};
use crate::engine::ReplayError;
use crate::stream::SourceError;
use crate::testing::{BacktestOptions, RowCounts, RowDifference, SinkDifference, backtest};

/// Replay two versions of a pack over the same files, and list what the new one adds, removes and changes
///
/// Compared is what stands at the end: of a sink over a table the rows by key; of a sink over CHANGES the last row of each value of
/// its first column, without `revision`, and not if its `status` is 'withdrawn'; of any other sink all rows. Rows are summed by
/// the column that the sink declares as count_by. PRIVATE columns are masked. Exit code 0 where both write the same, 1 where not.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The pack as it is: a folder of .sql files, or one file
    pack: PathBuf,
    /// The pack as it would be
    new_pack: PathBuf,
    /// The folder with one <relation>.ndjson, .csv or .parquet for each source
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The time zone, instead of the packs' own
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<Tz>,
    /// Stop at this event time (RFC 3339)
    #[arg(long, value_name = "TIMESTAMP", value_parser = DateTime::parse_from_rfc3339)]
    until: Option<DateTime<FixedOffset>>,
    /// So many rows of each sink are listed; 0 only counts
    #[arg(long, value_name = "N", default_value = "20")]
    limit: usize,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

/// A folder that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("curb-diff-{}", std::process::id()));
        let made = std::fs::create_dir_all(&path).with_context(|| format!("folder `{}`", path.display()));
        made.map_err(Failure::Configuration)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left there is of no use to anybody, and says nothing about what was compared.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn run(args: &DiffArgs) -> Result<(), Failure> {
    let old = Arc::new(load(&args.pack, args.time_zone, args.output)?.pipeline);
    let new = Arc::new(load(&args.new_pack, args.time_zone, args.output)?.pipeline);
    let scratch = Scratch::make()?;
    let until_ms = args.until.map(|t| t.timestamp_millis());
    let options = BacktestOptions { from: &args.from, scratch: scratch.path(), until_ms, limit: args.limit };
    let found = backtest(&old, &new, &options).map_err(failure)?;
    match args.output {
        OutputForm::Json => print(&format!("{:#}\n", json!({"sinks": found})))?,
        OutputForm::Text => print(&text(&found))?,
    }
    match found.iter().all(|sink| sink.rows.is_same()) {
        true => Ok(()),
        false => {
            io::stderr().flush()?;
            Err(Failure::Refused)
        }
    }
}

fn failure(error: ReplayError) -> Failure {
    match error {
        ReplayError::Source(SourceError::Configuration(_) | SourceError::Io(_)) | ReplayError::Output(_) => {
            Failure::Configuration(error.into())
        }
        _ => Failure::Failed(error.into()),
    }
}

fn text(sinks: &[SinkDifference]) -> String {
    let mut text = String::new();
    for sink in sinks.iter().filter(|sink| !sink.rows.is_same()) {
        let by = if sink.by.is_empty() { String::new() } else { format!(" (by {})", sink.by.join(", ")) };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}{by}: {}", sink.sink, counted(sink.rows));
        if let Some(column) = &sink.kind_column {
            let differing = || sink.kinds.iter().filter(|(_, rows)| !rows.is_same());
            let width =
                differing().map(|(kind, _)| kind.chars().count()).max().unwrap_or(0).max(column.chars().count());
            let _ = writeln!(text, "  {column:<width$} {:>9} {:>9} {:>9} {:>9}", "added", "removed", "changed", "same");
            for (kind, RowCounts { added, removed, changed, same }) in differing() {
                let _ = writeln!(text, "  {kind:<width$} {added:>9} {removed:>9} {changed:>9} {same:>9}");
            }
        }
        for difference in &sink.differences {
            let _ = writeln!(text, "  {}", listed(difference));
        }
        let n_more =
            (sink.rows.added + sink.rows.removed + sink.rows.changed).saturating_sub(sink.differences.len() as u64);
        if n_more > 0 {
            let _ = writeln!(text, "  .. and {n_more} more (--limit)");
        }
        text.push('\n');
    }
    let same: Vec<&str> = sinks.iter().filter(|s| s.rows.is_same()).map(|s| s.sink.as_str()).collect();
    let _ = match same.len() {
        n if n == sinks.len() => writeln!(text, "both write the same to all {n} sinks"),
        0 => writeln!(text, "all sinks differ"),
        _ => writeln!(text, "the same: {}", same.join(", ")),
    };
    text
}

fn counted(RowCounts { added, removed, changed, same }: RowCounts) -> String {
    format!("{added} added, {removed} removed, {changed} changed, {same} the same")
}

/// `+` the row of the new pack, `-` that of the old one, `~` what has changed of it.
fn listed(difference: &RowDifference) -> String {
    let key = difference.key.as_ref().map(|key| format!("{}  ", plain(key))).unwrap_or_default();
    let whole = |row: &Map<String, Value>| Value::Object(row.clone()).to_string();
    match (&difference.old, &difference.new) {
        (None, Some(new)) => format!("+ {key}{}", whole(new)),
        (Some(old), None) => format!("- {key}{}", whole(old)),
        (Some(old), Some(new)) if old == new => format!("~ {key}how often the row is there"),
        (Some(old), Some(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let value = |row: &Map<String, Value>, name: &str| row.get(name).map_or("(none)".into(), Value::to_string);
            let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
            let changed: Vec<String> =
                changed.map(|name| format!("{name}: {} -> {}", value(old, name), value(new, name))).collect();
            format!("~ {key}{}", changed.join(", "))
        }
        (None, None) => format!("? {key}"),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
