//! Nexmark: how many events a second `curb replay` takes through each query, and whether what it writes is what batch SQL says.
//! `benches/nexmark/run` builds and starts this; see `benches/nexmark/README.md`.

mod batch;
mod generator;
mod queries;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use serde::Deserialize;
use serde_json::Value;

use crate::generator::Configuration;
use crate::queries::Query;

/// The queries of Nexmark on Curb. Started by benches/nexmark/run
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes the events as NDJSON files, as `curb replay` reads them
    Generate {
        #[command(flatten)]
        input: Input,
        #[arg(long)]
        to: PathBuf,
    },
    /// Replays each query, compares with batch, and prints a table
    Run(Run),
}

/// What is generated.
#[derive(Args, Clone)]
struct Input {
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Events in a second of event time
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    /// Up to how many milliseconds an event comes too late; the sources allow 4000
    #[arg(long, default_value_t = 1_000)]
    disorder: i64,
    /// The same seed gives the same events
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    input: Input,
    /// The program under measurement
    #[arg(long)]
    curb: PathBuf,
    /// The folder of the queries
    #[arg(long, default_value = "benches/nexmark")]
    folder: PathBuf,
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',')]
    queries: Vec<String>,
    #[arg(long, default_value_t = 2)]
    shards: u32,
    /// Runs of each query; the table gives their median
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Measures only, without batch
    #[arg(long)]
    no_check: bool,
    /// Where events and outputs are written, and left; else a folder that is removed
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Generate { input, to } => generate(&input, &to),
        Task::Run(run) => measure(&run),
    }
}

/// Writes one file a relation.
fn generate(input: &Input, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let configuration = Configuration {
        seed: input.seed,
        events: input.events,
        events_per_second: input.rate,
        // A minute before midnight, so that there are two days.
        start_ms: 1_711_929_540_000,
        disorder_ms: input.disorder,
    };
    let mut files = BTreeMap::new();
    for relation in ["persons", "auctions", "bids"] {
        files.insert(relation, BufWriter::new(File::create(to.join(format!("{relation}.ndjson")))?));
    }
    for event in generator::events(configuration) {
        let file = files.get_mut(event.relation).context("an event of no relation")?;
        file.write_all(event.json.as_bytes())?;
        file.write_all(b"\n")?;
    }
    files.values_mut().try_for_each(|file| file.flush().context("could not write the events"))
}

/// What a replay says of itself, as far as it is asked here.
#[derive(Debug, Deserialize)]
struct Summary {
    sources: BTreeMap<String, Source>,
    sinks: BTreeMap<String, Sink>,
    elapsed_seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Source {
    read: u64,
    used: u64,
}

#[derive(Debug, Deserialize)]
struct Sink {
    rows: u64,
}

/// What was measured of one query.
struct Measured {
    events_per_second: f64,
    slowest: f64,
    fastest: f64,
    rows: u64,
    peak_rss_bytes: u64,
    verdict: &'static str,
}

fn measure(run: &Run) -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("curb-nexmark.{}", std::process::id()));
    let dir = run.dir.clone().unwrap_or_else(|| scratch.clone());
    let outcome = measure_in(run, &dir);
    if run.dir.is_none() {
        fs::remove_dir_all(&scratch).ok();
    }
    outcome
}

fn measure_in(run: &Run, dir: &Path) -> Result<()> {
    let events = dir.join("events");
    generate(&run.input, &events)?;
    let all = queries::names(&run.folder).map_err(anyhow::Error::msg)?;
    let chosen = all.iter().filter(|name| run.queries.is_empty() || run.queries.contains(name));
    println!("{} events, {} shards, median of {} runs\n", run.input.events, run.shards, run.runs);
    println!("| query | events/s | range | rows written | peak memory | batch |");
    println!("|---|---:|---:|---:|---:|---|");
    let mut differs = Vec::new();
    for name in chosen {
        let query = queries::read(&run.folder, name).map_err(anyhow::Error::msg)?;
        let measured = one(run, &query, dir, &events)?;
        println!(
            "| {name} | {:.0} k | {:.0}-{:.0} k | {} | {} MB | {} |",
            measured.events_per_second / 1e3,
            measured.slowest / 1e3,
            measured.fastest / 1e3,
            measured.rows,
            measured.peak_rss_bytes >> 20,
            measured.verdict
        );
        if measured.verdict == "DIFFERS" {
            differs.push(name.clone());
        }
    }
    if !differs.is_empty() {
        bail!("not the same as in batch: {}", differs.join(", "));
    }
    Ok(())
}

fn one(run: &Run, query: &Query, dir: &Path, events: &Path) -> Result<Measured> {
    let pack = dir.join(format!("{}.sql", query.name));
    let sql = queries::pack(&run.folder, &query.name).map_err(anyhow::Error::msg)?;
    fs::write(&pack, sql.files.iter().map(|f| f.text.as_str()).collect::<Vec<_>>().join("\n"))?;
    let output = dir.join(&query.name);
    let mut rates = Vec::new();
    let (mut rows, mut peak_rss_bytes) = (0, 0);
    for _ in 0..run.runs.max(1) {
        let (summary, rss_bytes) = replay(run, &pack, events, &output)?;
        let n_events: u64 = summary.sources.values().map(|s| s.read).sum();
        if summary.sources.values().any(|s| s.used != s.read) {
            bail!("{}: not all events were used: {summary:?}", query.name);
        }
        rates.push(n_events as f64 / summary.elapsed_seconds);
        rows = summary.sinks.values().map(|s| s.rows).sum();
        peak_rss_bytes = peak_rss_bytes.max(rss_bytes);
    }
    rates.sort_by(f64::total_cmp);
    let verdict = if run.no_check { "not compared" } else { compare(query, &output, events)? };
    let (slowest, fastest) = (rates.first().copied().unwrap_or(0.0), rates.last().copied().unwrap_or(0.0));
    let events_per_second = rates.get(rates.len() / 2).copied().unwrap_or(0.0);
    Ok(Measured { events_per_second, slowest, fastest, rows, peak_rss_bytes, verdict })
}

/// Runs the program once; its summary and peak memory.
fn replay(run: &Run, pack: &Path, events: &Path, output: &Path) -> Result<(Summary, u64)> {
    let mut command = Command::new(&run.curb);
    command.arg("replay").arg(pack).arg("--from").arg(events).arg("--to").arg(output);
    let mut child = command.args(["--shards", &run.shards.to_string()]).stdout(Stdio::null()).spawn()?;
    let mut peak_rss_bytes = 0;
    let status = loop {
        // The kernel forgets a process that was waited for, so its memory is asked for while it runs.
        peak_rss_bytes = peak_rss_bytes.max(peak_of(child.id()));
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    if !status.success() {
        bail!("curb replay {} failed", pack.display());
    }
    let text = fs::read_to_string(output.join("summary.json"))?;
    Ok((serde_json::from_str(&text).context("the summary cannot be read")?, peak_rss_bytes))
}

fn peak_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Compares what the last run wrote with batch.
fn compare(query: &Query, output: &Path, events: &Path) -> Result<&'static str> {
    let lines = |relation: &str| {
        let path = events.join(format!("{relation}.ndjson"));
        fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let batch = batch::run(query, lines).map_err(anyhow::Error::msg)?;
    let streamed = written(query, output)?;
    match batch::difference(&streamed, &batch) {
        None => Ok("equal"),
        Some(text) => {
            eprintln!("{}: {text}", query.name);
            Ok("DIFFERS")
        }
    }
}

/// What a sink holds at the end of its file, sorted.
fn written(query: &Query, output: &Path) -> Result<Vec<String>> {
    let sink = query.pipeline.sinks.first().context("a query without a sink")?;
    let schema = query.pipeline.relations.get(sink.relation).context("a sink of no relation")?.schema.clone();
    let key: Vec<&String> = sink.key.iter().map(|idx| schema.field(*idx).name()).collect();
    let file = BufReader::new(File::open(output.join(format!("{}.ndjson", query.name)))?);
    let mut appended = Vec::new();
    let mut held = HashMap::new();
    for line in file.lines() {
        let line = line?;
        if !sink.upsert {
            appended.push(batch::as_text(line.as_bytes()).map_err(|e| anyhow!(e))?);
            continue;
        }
        let row: Value = serde_json::from_str(&line)?;
        let key: Vec<String> = key.iter().map(|name| row[name.as_str()].to_string()).collect();
        if row.get("_tombstone").is_some() {
            held.remove(&key);
        } else {
            held.insert(key, row.to_string());
        }
    }
    appended.extend(held.into_values());
    appended.sort_unstable();
    Ok(appended)
}
