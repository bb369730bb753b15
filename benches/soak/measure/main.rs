//! A simulated year through every operator that keeps state: what it keeps and what the process takes, month by month.
//! `benches/soak/run` builds and starts this; see `benches/soak/README.md`.

mod year;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use curb::catalog::resolve;
use curb::dialect::{Diagnostic, Pack, parse, render};
use curb::engine::{Ended, Ends, Status, StatusBoard, Worker, WorkerOptions};
use curb::plan::{Pipeline, plan};
use curb::stream::{
    CommitError, LogReader, Outcome, PartitionStatus, PollLimit, Polled, RecordBatchBytes, RecordMeta, Restored,
    SealedEpoch, ShardCount, Sink, Source, SourceError, SourcePartition, StateLog, TombstoneForm, Watermark,
};
use mimalloc::MiMalloc;

use crate::year::{DAY_MS, Line, START_MS, Year, devices};

/// The program's own allocator, so that what is measured here is what a service takes.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Days between two looks.
const DAYS_A_LOOK: i64 = 30;
/// State is measured once a second at most: a look waits for the next time.
const LOOK: Duration = Duration::from_millis(1_200);

/// A simulated year of bounded state. Started by benches/soak/run
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "benches/soak/rules.sql")]
    rules: PathBuf,
    #[arg(long, default_value_t = 360)]
    days: i64,
    /// Passages a day; other records come in proportion
    #[arg(long, default_value_t = 4_000)]
    per_day: u32,
    #[arg(long, default_value_t = 2)]
    shards: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// By how many percent the last look may lie above the one in the middle
    #[arg(long, default_value_t = 15)]
    slack: u64,
}

/// What was kept at a look.
#[derive(Clone, Debug)]
struct Look {
    day: i64,
    n_records: u64,
    /// By relation: operator, rows, bytes.
    relations: BTreeMap<String, (&'static str, usize, usize)>,
    rss_bytes: u64,
}

impl Look {
    fn rows(&self) -> usize {
        self.relations.values().map(|(_, rows, _)| rows).sum()
    }

    fn bytes(&self) -> usize {
        self.relations.values().map(|(.., bytes)| bytes).sum()
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let pipeline = Arc::new(read(&arguments.rules)?);
    let (looks, seen) = sync_channel(1_000);
    let (told, board) = sync_channel(1);
    let ends = Ends {
        source: Box::new(YearSource::new(&arguments, looks, board)),
        sink: Box::new(Nowhere),
        log: Some(Box::new(NoLog)),
        clock: Box::new(|| 0),
    };
    let options = WorkerOptions {
        limit: PollLimit { records: 20_000, bytes: usize::MAX },
        end_watermark: Watermark(START_MS + arguments.days * DAY_MS),
        // As a service that logs its state, one epoch after the other.
        epochs_under_way: 1,
        ..WorkerOptions::replay(ShardCount(arguments.shards))
    };
    let mut worker = Worker::new(pipeline, ends, options, Arc::default())?;
    told.send(worker.status())?;
    let began = Instant::now();
    match worker.run()? {
        Ended::EndOfInput => {}
        other => bail!("the worker ended as {other:?}"),
    }
    let looks: Vec<Look> = seen.try_iter().collect();
    report(&arguments, &looks, began.elapsed(), &worker.status().snapshot())
}

fn read(path: &Path) -> Result<Pipeline> {
    let pack = Pack::read(path)?;
    let shown = |findings: Vec<Diagnostic>| anyhow::anyhow!("{}", render(&findings, &pack));
    let (statements, findings) = parse(&pack);
    if !findings.is_empty() {
        return Err(shown(findings));
    }
    plan(&resolve(statements, None).map_err(shown)?).map_err(shown)
}

fn report(arguments: &Arguments, looks: &[Look], took: Duration, status: &Status) -> Result<()> {
    println!("| day | records | rows of state | bytes of state | resident memory |");
    println!("|---:|---:|---:|---:|---:|");
    for look in looks {
        let (rows, bytes) = (look.rows(), look.bytes());
        println!("| {} | {} | {rows} | {} MB | {} MB |", look.day, look.n_records, bytes >> 20, look.rss_bytes >> 20);
    }
    let last = looks.last().context("no look was taken")?;
    let middle = looks.iter().find(|look| look.day * 2 >= last.day).context("no look was taken in the middle")?;
    println!(
        "\n| relation | operator | rows, day {} | rows, day {} | kB, day {0} | kB, day {1} |",
        middle.day, last.day
    );
    println!("|---|---|---:|---:|---:|---:|");
    let mut grown = Vec::new();
    let above = |late: u64, early: u64, least: u64| late > early + early * arguments.slack / 100 + least;
    for (name, (word, rows, bytes)) in last.relations.iter().filter(|(_, held)| held.1 > 0) {
        let (_, rows_before, bytes_before) = middle.relations.get(name).copied().unwrap_or_default();
        println!("| {name} | {word} | {rows_before} | {rows} | {} | {} |", bytes_before >> 10, bytes >> 10);
        if above(*rows as u64, rows_before as u64, 50) {
            grown.push(format!("the rows of {name}"));
        }
    }
    if above(last.bytes() as u64, middle.bytes() as u64, 0) {
        grown.push("the bytes of state".into());
    }
    if above(last.rss_bytes, middle.rss_bytes, 32 << 20) {
        grown.push("resident memory".into());
    }
    let refused: u64 = status.sources.iter().map(|s| s.counts.late + s.counts.rejected).sum();
    println!(
        "\n{} records in {:.1} s, {} of them late or rejected; {} days at {} times the speed of life",
        last.n_records,
        took.as_secs_f64(),
        refused,
        arguments.days,
        (arguments.days as f64 * 86_400.0 / took.as_secs_f64()) as u64
    );
    if refused > 0 || !grown.is_empty() {
        bail!("{refused} records were refused; grown since day {}: {}", middle.day, grown.join(", "));
    }
    println!("flat: on day {} nothing is more than {} % above day {}", last.day, arguments.slack, middle.day);
    Ok(())
}

/// The resident set of this process, as the kernel says.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Hands over one day after the other, and looks at the state in between.
struct YearSource {
    year: Year,
    /// The next day.
    day: i64,
    n_days: i64,
    lines: std::vec::IntoIter<Line>,
    positions: BTreeMap<&'static str, i64>,
    n_records: u64,
    looks: SyncSender<Look>,
    /// The board comes when the worker has been made, which takes this source.
    board: Receiver<StatusBoard>,
    known: Option<StatusBoard>,
    /// Since when the day is over at whose end the state is looked at.
    waits_since: Option<Instant>,
}

impl YearSource {
    fn new(arguments: &Arguments, looks: SyncSender<Look>, board: Receiver<StatusBoard>) -> Self {
        Self {
            year: Year::new(arguments.seed, arguments.per_day),
            day: 0,
            n_days: arguments.days,
            lines: devices().into_iter(),
            positions: BTreeMap::new(),
            n_records: 0,
            looks,
            board,
            known: None,
            waits_since: None,
        }
    }

    fn look(&mut self) -> Result<(), SourceError> {
        let failed = |e: &dyn std::fmt::Display| SourceError::Io(e.to_string());
        let board = match self.known.take() {
            Some(board) => board,
            None => self.board.recv().map_err(|e| failed(&e))?,
        };
        let status = board.snapshot();
        self.known = Some(board);
        let held = |r: &curb::engine::RelationStatus| (r.name.to_string(), (r.operator, r.state_rows, r.state_bytes));
        let look = Look {
            day: self.day,
            n_records: self.n_records,
            relations: status.relations.iter().map(held).collect(),
            rss_bytes: resident_bytes(),
        };
        self.looks.send(look).map_err(|e| failed(&e))
    }

    /// Whether the next day may begin; not while a look is due.
    fn may_go_on(&mut self) -> Result<bool, SourceError> {
        match self.waits_since {
            None if self.day > 0 && self.day % DAYS_A_LOOK == 0 => self.waits_since = Some(Instant::now()),
            Some(since) if since.elapsed() > LOOK => {
                self.look()?;
                self.waits_since = None;
                return Ok(true);
            }
            None => return Ok(true),
            Some(_) => sleep(Duration::from_millis(20)),
        }
        Ok(false)
    }
}

impl Source for YearSource {
    fn poll(&mut self, limit: PollLimit, _: Duration, _: &[Arc<str>]) -> Result<Polled, SourceError> {
        let mut polled = Polled::default();
        let is_first = self.positions.is_empty();
        if self.lines.len() == 0 && !is_first && self.may_go_on()? {
            if self.day == self.n_days {
                return Ok(Polled { end_of_input: true, ..polled });
            }
            self.lines = self.year.next_day().into_iter();
            self.day += 1;
        }
        if is_first {
            self.positions = ["captures", "devices", "passages", "stops"].map(|name| (name, 0)).into();
        }
        for (sequence, line) in self.lines.by_ref().take(limit.records).enumerate() {
            let position = self.positions.entry(line.relation).or_default();
            let meta = RecordMeta {
                partition: 0,
                offset: *position,
                timestamp_ms: None,
                sequence: sequence as u64,
                key: None,
                value: None,
            };
            let records: &mut RecordBatchBytes = polled.records.entry(line.relation.into()).or_default();
            records.push(meta, None, Some(line.json.as_bytes()));
            *position += 1;
            self.n_records += 1;
        }
        for (relation, position) in &self.positions {
            if is_first || polled.records.contains_key(*relation) {
                let partition = SourcePartition { relation: (*relation).into(), partition: 0 };
                let status =
                    PartitionStatus { position: *position, end: Some(*position), caught_up: true, idle: false };
                polled.partitions.insert(partition, status);
            }
        }
        Ok(polled)
    }
}

/// Drops what is committed.
struct Nowhere;

impl Sink for Nowhere {
    fn tombstones(&self) -> TombstoneForm {
        TombstoneForm::Line
    }

    fn commit(&mut self, _: &SealedEpoch) -> Result<(), CommitError> {
        Ok(())
    }

    fn outcome(&mut self, _: &SealedEpoch) -> Result<Outcome, CommitError> {
        Ok(Outcome::Committed)
    }
}

/// Nothing was logged before.
struct NoLog;

impl StateLog for NoLog {
    fn restore(&mut self, _: &mut dyn LogReader) -> Result<Restored, SourceError> {
        Ok(Restored::default())
    }
}
