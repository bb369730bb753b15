//! All measurements one after the other, each in processes of its own: a warm-up that is thrown away, then the runs that count.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::Offset;
use serde::de::DeserializeOwned;

use crate::broker::{self, Reader};
use crate::dataset::Dataset;
use crate::floor::{FloorRun, FloorSpec};
use crate::latency::{self, Load};
use crate::memory::MemoryRun;
use crate::pack;
use crate::process::{Machine, used};
use crate::report::{KafkaRun, LatencyRun, Report, Settings};
use crate::scrape::Reading;
use crate::service::{Service, Start};
use crate::{All, wall_clock_ms};

/// Partitions of every topic.
const N_PARTITIONS: i32 = 4;
/// What the latency's load sends before it counts.
const LATENCY_WARM_UP: Duration = Duration::from_secs(10);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(900);
/// Sinks whose rows are actions.
const ACTION_SINKS: [&str; 2] = ["disposal_actions", "party_actions"];
/// Shards of the runs in memory.
const MEMORY_SHARDS: [u32; 2] = [1, 2];

/// Captures in a small epoch: what 5,000 a second bring in 20 ms.
pub(crate) const SMALL_EPOCH: usize = 100;
/// Captures that are measured in small epochs.
const TAIL: usize = 20_000;

/// One round on Kafka: the pack, its latency, and the floor.
struct Round {
    kafka: KafkaRun,
    latency: LatencyRun,
    floor: FloorRun,
}

/// Measures everything.
pub(crate) fn run(all: &All) -> Result<Report> {
    let machine = Machine::here(all.broker_pid, &all.kafka_version, &all.revision)?;
    let dir = tempfile::tempdir()?;
    let n_warm_up = (all.input.captures / 5).max(1000);
    say(&format!("warm-up: {n_warm_up} captures, not measured"));
    round(all, dir.path(), 0, n_warm_up, Duration::from_secs(5))?;
    let mut report = Report {
        machine,
        settings: Settings {
            pack: all.input.pack.display().to_string(),
            captures: all.input.captures,
            people: all.input.captures / 10,
            seed: all.input.seed,
            runs: all.runs,
            shards: all.shards,
            partitions: N_PARTITIONS,
            warm_up_captures: n_warm_up,
            rate: all.rate,
            latency_warm_up_seconds: LATENCY_WARM_UP.as_secs(),
            latency_seconds: all.latency_seconds,
            small_epoch: SMALL_EPOCH,
        },
        memory: Vec::new(),
        small_epochs: Vec::new(),
        kafka: Vec::new(),
        floor: Vec::new(),
        latency: Vec::new(),
        summary: None,
    };
    for number in 1..=all.runs {
        for shards in MEMORY_SHARDS {
            say(&format!("run {number} of {}: from memory, shards {shards}", all.runs));
            report.memory.push(memory(all, shards, None)?);
        }
        say(&format!("run {number} of {}: from memory, epochs of {SMALL_EPOCH} captures", all.runs));
        report.small_epochs.push(memory(all, all.shards, Some(TAIL.min(all.input.captures / 2)))?);
        say(&format!("run {number} of {}: from Kafka to Kafka, latency, floor", all.runs));
        let round = round(all, dir.path(), number, all.input.captures, Duration::from_secs(all.latency_seconds))?;
        report.kafka.push(round.kafka);
        report.latency.push(round.latency);
        report.floor.push(round.floor);
    }
    report.summarise();
    Ok(report)
}

fn say(text: &str) {
    eprintln!("baseline: {text}");
}

/// Runs this program again for one task, so that its processor time and memory are its own.
fn child<T: DeserializeOwned>(arguments: &[String]) -> Result<T> {
    let output = Command::new(std::env::current_exe()?).args(arguments).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "`{}` has failed", arguments.join(" "));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn memory(all: &All, shards: u32, tail: Option<usize>) -> Result<MemoryRun> {
    let arguments = ["memory", "--pack", &all.input.pack.display().to_string(), "--captures"].map(str::to_owned);
    let captures = [all.input.captures.to_string(), "--seed".into(), all.input.seed.to_string()];
    let shards = ["--shards".into(), shards.to_string()];
    let tail = tail.into_iter().flat_map(|n| ["--tail".into(), n.to_string()]);
    child(&arguments.into_iter().chain(captures).chain(shards).chain(tail).collect::<Vec<_>>())
}

/// One pipeline of its own, with topics of its own.
fn round(all: &All, dir: &Path, number: u32, n_captures: usize, latency: Duration) -> Result<Round> {
    let (prefix, pipeline) = (format!("run{number}."), format!("baseline-{number}"));
    let copy = pack::copy_with_prefix(&all.input.pack, dir, &prefix)?;
    let planned = pack::read(&copy)?;
    let (sources, sinks) = (planned.sources(), planned.sinks());
    let mut dataset = Dataset::generate(all.input.seed, n_captures, wall_clock_ms());
    broker::create(&all.brokers, sources.values().cloned(), N_PARTITIONS)?;
    broker::fill(&all.brokers, &sources, &dataset.tables)?;
    let start =
        Start { curb: &all.curb, pack: &copy, brokers: &all.brokers, pipeline: &pipeline, shards: all.shards, dir };
    let service = Service::start(&start)?;
    service.wait_until_loaded()?;
    let kafka = throughput(all, &service, &sources, &mut dataset)?;
    let outputs = Reader::open(&all.brokers, &sinks.values().cloned().collect::<Vec<_>>(), Offset::Beginning)?;
    check_outputs(&kafka, &sinks, &outputs)?;
    drop(outputs);
    let spec = FloorSpec {
        brokers: all.brokers.clone(),
        pipeline: format!("floor-{number}"),
        captures: n_captures as u64,
        captures_per_epoch: n_captures as u64 / kafka.commits.max(1),
        records: kafka.records.clone(),
    };
    let latency = measure_latency(all, &service, &sources, &sinks, dataset, latency)?;
    service.end()?;
    let arguments = ["floor".to_owned(), copy.display().to_string(), "--spec".into(), serde_json::to_string(&spec)?];
    let floor: FloorRun = child(&arguments)?;
    let floors = spec.records.keys().map(|sink| format!("{}.{sink}", spec.pipeline));
    let states = [format!("{pipeline}.state"), format!("{}.state", spec.pipeline)];
    let used_up: Vec<String> = planned.topics().into_iter().chain(floors).chain(states).collect();
    broker::remove(&all.brokers, &used_up)?;
    Ok(Round { kafka, latency, floor })
}

/// Lets the captures pile up in front of the loaded service, then lets it go.
fn throughput(
    all: &All,
    service: &Service,
    topics: &BTreeMap<String, String>,
    dataset: &mut Dataset,
) -> Result<KafkaRun> {
    let before = service.reading()?;
    let held_since = Instant::now();
    service.hold()?;
    broker::fill(&all.brokers, topics, &dataset.events)?;
    let (n_captures, n_voids) = (dataset.len("captures"), dataset.len("voids"));
    // They are in the topics now; the service does not need them in this process.
    dataset.events.clear();
    let (used_before, broker_before) = (service.used()?, broker_cpu_seconds(all)?);
    let began = Instant::now();
    service.release()?;
    let held_seconds = began.duration_since(held_since).as_secs_f64();
    let wanted = [("captures", n_captures as u64), ("voids", n_voids as u64)];
    let (ended, after) = service.wait_until_consumed(&before, &wanted, CATCH_UP_TIMEOUT)?;
    let used = service.used()?;
    let seconds = ended.duration_since(began).as_secs_f64();
    let mut stages = after.stages_since(&before);
    if let Some(poll) = stages.get_mut("poll") {
        // It was held while it waited for records.
        poll.total_seconds = (poll.total_seconds - held_seconds).max(0.0);
    }
    let sinks = pack::read(&all.input.pack)?.sinks();
    let records: BTreeMap<String, u64> = sinks
        .into_keys()
        .map(|s| {
            let n = after.produced(&s) - before.produced(&s);
            (s, n)
        })
        .collect();
    Ok(KafkaRun {
        shards: all.shards,
        captures: n_captures,
        seconds,
        captures_per_second: n_captures as f64 / seconds,
        commits: commits(&after) - commits(&before),
        output_records: records.values().sum(),
        records,
        state_bytes: logged(&after) - logged(&before),
        epoch: after.timing_since(&before, "curb_epoch_duration_seconds", ""),
        stages,
        cpu_seconds: used.cpu_seconds - used_before.cpu_seconds,
        broker_cpu_seconds: broker_cpu_seconds(all)? - broker_before,
        peak_rss_bytes: used.peak_rss_bytes,
    })
}

fn commits(reading: &Reading) -> u64 {
    reading.sum("curb_transactions_total", "result=\"commit\"")
}

fn logged(reading: &Reading) -> u64 {
    reading.sum("curb_state_logged_bytes_total", "")
}

fn broker_cpu_seconds(all: &All) -> Result<f64> {
    all.broker_pid.map_or(Ok(0.0), |pid| Ok(used(pid)?.cpu_seconds))
}

/// A figure for records that nobody can read would be worth nothing: counts what a reader sees.
fn check_outputs(run: &KafkaRun, topics: &BTreeMap<String, String>, outputs: &Reader) -> Result<()> {
    let read = outputs.read_all(0)?;
    for (sink, n_records) in &run.records {
        let n_read = topics.get(sink).and_then(|t| read.get(t)).map_or(0, |o| o.n_records);
        if n_read < *n_records {
            bail!("sink `{sink}`: {n_records} records were committed, but a reader sees {n_read}");
        }
    }
    Ok(())
}

/// Sends captures at a steady rate to the service, which holds the state of the run before.
fn measure_latency(
    all: &All,
    service: &Service,
    topics: &BTreeMap<String, String>,
    sinks: &BTreeMap<String, String>,
    mut dataset: Dataset,
    measured: Duration,
) -> Result<LatencyRun> {
    let first = service.reading()?;
    let first_idx = first.consumed("captures") as usize;
    let load = Load {
        brokers: &all.brokers,
        captures_topic: topics.get("captures").context("the pack reads no captures")?,
        actions_topics: ACTION_SINKS.iter().filter_map(|s| sinks.get(*s).cloned()).collect(),
        rate: all.rate,
        warm_up: LATENCY_WARM_UP,
        measured,
        first_idx,
    };
    let begun = Mutex::new(None);
    let mut ended = None;
    let looking_on: &Service = service;
    let at_measured = || {
        let taken = looking_on.reading().and_then(|r| Ok((r, looking_on.used()?, broker_cpu_seconds(all)?)));
        if let Ok(mut begun) = begun.lock() {
            *begun = Some((Instant::now(), taken));
        }
    };
    let n_sent = all.rate * (LATENCY_WARM_UP + measured).as_secs();
    let at_sent = || {
        let (at, after) = looking_on.wait_until_consumed(&first, &[("captures", n_sent)], CATCH_UP_TIMEOUT)?;
        let n_actions = ACTION_SINKS.iter().map(|s| after.produced(s) - first.produced(s)).sum();
        ended = Some((at, after));
        Ok(n_actions)
    };
    let seen = latency::run(&load, &mut dataset, at_measured, at_sent)?;
    let (ended, after) = ended.context("the load did not end")?;
    let (began, taken) = begun.into_inner().ok().flatten().context("the measured part did not begin")?;
    let (before, used_before, broker_before) = taken?;
    let used = service.used()?;
    Ok(LatencyRun {
        rate: all.rate,
        seconds: ended.duration_since(began).as_secs_f64(),
        to_commit: after.timing_since(&before, "curb_e2e_latency_seconds", ""),
        commits: commits(&after) - commits(&before),
        captures: after.consumed("captures") - before.consumed("captures"),
        epoch: after.timing_since(&before, "curb_epoch_duration_seconds", ""),
        stages: after.stages_since(&before),
        cpu_seconds: used.cpu_seconds - used_before.cpu_seconds,
        broker_cpu_seconds: broker_cpu_seconds(all)? - broker_before,
        peak_rss_bytes: used.peak_rss_bytes,
        seen,
    })
}
