//! The baseline: how fast Curb is between two ends that cost nothing, how fast between Kafka and Kafka, what Kafka alone costs,
//! and how long an action takes under a steady load. `benches/baseline` starts a broker and this; see `benches/README.md`.

mod broker;
mod dataset;
mod floor;
mod formats;
mod latency;
mod memory;
mod pack;
mod process;
mod report;
mod scrape;
mod service;
mod sequence;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;

use crate::dataset::Dataset;
use crate::memory::Tail;

/// The program's own allocator, so that runs in this process compare with those of the service.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures the pack sql/safe-riding. Started by benches/baseline
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// All measurements, and the report
    All(All),
    /// One run in memory; prints JSON
    Memory {
        #[command(flatten)]
        input: Input,
        #[arg(long)]
        shards: u32,
        /// Measures only so many captures, the last ones, in small epochs
        #[arg(long)]
        tail: Option<usize>,
        /// Captures in each of those epochs
        #[arg(long, default_value_t = sequence::SMALL_EPOCH)]
        tail_epoch: usize,
    },
    /// One run of the floor, told what to imitate as JSON; prints JSON
    Floor {
        pack: PathBuf,
        #[arg(long)]
        spec: String,
    },
    /// Records a second in each format, on one core; prints a table
    Formats {
        /// Records of each run
        #[arg(long, default_value_t = 200_000)]
        records: usize,
        /// Measured runs of each format; the table gives their median
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Writes the records as NDJSON files, as `curb replay` reads them
    Generate {
        #[command(flatten)]
        input: Input,
        #[arg(long)]
        to: PathBuf,
    },
}

/// What is measured.
#[derive(Args, Clone)]
pub(crate) struct Input {
    /// The pack
    #[arg(long, default_value = "sql/safe-riding")]
    pub(crate) pack: PathBuf,
    /// Captures a run, of a tenth as many people
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) captures: usize,
    /// The same seed gives the same records
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// How everything is measured.
#[derive(Args, Clone)]
pub(crate) struct All {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Bootstrap servers
    #[arg(long)]
    pub(crate) brokers: String,
    /// The program under measurement
    #[arg(long)]
    pub(crate) curb: PathBuf,
    /// The broker's process, to say what it uses
    #[arg(long)]
    pub(crate) broker_pid: Option<u32>,
    #[arg(long, default_value = "unknown")]
    pub(crate) kafka_version: String,
    #[arg(long, default_value = "unknown")]
    pub(crate) revision: String,
    /// Measured runs of each kind; the report gives their median and range
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: u32,
    /// Shards of the service
    #[arg(long, default_value_t = 2)]
    pub(crate) shards: u32,
    /// Captures a second in the measurement of latency
    #[arg(long, default_value_t = 5_000)]
    pub(crate) rate: u64,
    /// Seconds of latency measured in each run, after ten seconds of warm-up
    #[arg(long, default_value_t = 30)]
    pub(crate) latency_seconds: u64,
    /// Where the report goes as JSON
    #[arg(long, default_value = "target/baseline.json")]
    pub(crate) output: PathBuf,
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::All(all) => {
            let report = sequence::run(&all)?;
            std::fs::write(&all.output, serde_json::to_string_pretty(&report)?)
                .with_context(|| format!("could not write {}", all.output.display()))?;
            print!("{}", report.text());
        }
        Task::Memory { input, shards, tail, tail_epoch } => {
            let tail = tail.map(|captures| Tail { captures, captures_per_epoch: tail_epoch });
            let run = memory::run(&input, shards, tail)?;
            println!("{}", serde_json::to_string(&run)?);
        }
        Task::Floor { pack, spec } => {
            let run = floor::run(&pack, &serde_json::from_str(&spec)?)?;
            println!("{}", serde_json::to_string(&run)?);
        }
        Task::Formats { records, runs } => formats::run(records, runs)?,
        Task::Generate { input, to } => {
            let dataset = Dataset::generate(input.seed, input.captures, wall_clock_ms());
            dataset.write(&to).with_context(|| format!("could not write to {}", to.display()))?;
        }
    }
    Ok(())
}

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_clock_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
