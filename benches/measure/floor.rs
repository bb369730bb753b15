//! The floor: what the broker and the client cost if nothing is computed.
//!
//! The captures of a run are consumed and decoded, and as many records as the pack wrote for them are produced, copies of its
//! own outputs in its own proportions, in transactions that carry the offsets: the same client with the same settings, as many
//! captures a transaction, the same number of topics and partitions. There is no SQL, no state, and no logged state.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use curb::format::json::Decoder;
use curb::kafka::{Settings, SourceTopic, connect};
use curb::stream::{
    Delta, Headers, LogReader, OutputTopic, PollLimit, Polled, RecordBatchBytes, RecordMeta, SealedEpoch, Sink, Source,
    SourcePartition, StateLog,
};
use rdkafka::Offset;
use serde::{Deserialize, Serialize};

use crate::broker::{Output, Reader};
use crate::pack;
use crate::process::used_by_self;

/// Records of each output topic that are kept to be written again.
const N_SAMPLE: usize = 5_000;
/// As the service has them.
const LIMIT: PollLimit = PollLimit { records: 100_000, bytes: 64 << 20 };
const COMMIT_INTERVAL: Duration = Duration::from_millis(20);

/// What is to be imitated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FloorSpec {
    pub(crate) brokers: String,
    /// Names the group, and is the prefix of the output topics.
    pub(crate) pipeline: String,
    pub(crate) captures: u64,
    /// The mean number of captures in one of the pack's epochs.
    pub(crate) captures_per_epoch: u64,
    /// How many records the pack wrote, by sink.
    pub(crate) records: BTreeMap<String, u64>,
}

/// What the floor measured, from the first poll to the last commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FloorRun {
    pub(crate) captures: u64,
    pub(crate) seconds: f64,
    pub(crate) captures_per_second: f64,
    pub(crate) commits: u64,
    pub(crate) output_records: u64,
    pub(crate) output_bytes: u64,
    pub(crate) poll_seconds: f64,
    pub(crate) decode_seconds: f64,
    pub(crate) commit_seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_bytes: u64,
}

/// One output: how many records it gets, and from which they are copied.
struct Copied {
    output: OutputTopic,
    n_records: u64,
    sample: Output,
    n_written: u64,
}

/// Takes in the log of a pipeline that has none.
struct NothingLogged;

impl LogReader for NothingLogged {
    fn begin(&mut self, _ranges: &BTreeMap<u32, Range<i64>>) -> BTreeMap<u32, i64> {
        BTreeMap::new()
    }

    fn take(&mut self, _offset: i64, _delta: Delta) -> Result<(), String> {
        Ok(())
    }
}

/// Runs the floor once. `pack` is the copy of the pack whose run is imitated, with its topics.
pub(crate) fn run(pack: &Path, spec: &FloorSpec) -> Result<FloorRun> {
    let planned = pack::read(pack)?;
    let mut decoder = Decoder::new(planned.decode_spec("captures")?)?;
    let mut copied = samples(spec, &planned.sinks())?;
    let topic = planned.sources().remove("captures").context("the pack reads no captures")?;
    let settings = Settings {
        brokers: spec.brokers.clone(),
        pipeline: spec.pipeline.clone(),
        sources: vec![SourceTopic { relation: "captures".into(), topic, is_table: true, idle_timeout_ms: None }],
        outputs: copied.iter().map(|c| (c.output.clone(), format!("{}.{}", spec.pipeline, c.output.name()))).collect(),
        shards: 1,
        ..Settings::default()
    };
    let mut connection = connect(settings, true)?;
    connection.state_log.restore(&mut NothingLogged)?;
    let before = used_by_self()?;
    let began = Instant::now();
    let mut last_commit: Option<Instant> = None;
    let mut positions = BTreeMap::new();
    let mut run = FloorRun {
        captures: 0,
        seconds: 0.0,
        captures_per_second: 0.0,
        commits: 0,
        output_records: 0,
        output_bytes: 0,
        poll_seconds: 0.0,
        decode_seconds: 0.0,
        commit_seconds: 0.0,
        cpu_seconds: 0.0,
        peak_rss_bytes: 0,
    };
    while run.captures < spec.captures {
        if let Some(last) = last_commit {
            std::thread::sleep(COMMIT_INTERVAL.saturating_sub(last.elapsed()));
        }
        let started = Instant::now();
        let batches = take(&mut connection.source, spec, run.captures, &mut positions)?;
        run.poll_seconds += started.elapsed().as_secs_f64();
        let started = Instant::now();
        for batch in &batches {
            let decoded = decoder.decode(batch)?;
            if !decoded.rejected.is_empty() {
                bail!("{} captures could not be decoded", decoded.rejected.len());
            }
            run.captures += decoded.rows.num_rows() as u64;
        }
        run.decode_seconds += started.elapsed().as_secs_f64();
        let started = Instant::now();
        let epoch = epoch(run.commits + 1, &positions, &mut copied, run.captures, spec.captures);
        for (_, records) in &epoch.outputs {
            run.output_records += records.len() as u64;
            run.output_bytes += records.data.len() as u64;
        }
        connection.sink.commit(&epoch)?;
        run.commit_seconds += started.elapsed().as_secs_f64();
        last_commit = Some(Instant::now());
        run.commits += 1;
    }
    run.seconds = last_commit.context("nothing was committed")?.duration_since(began).as_secs_f64();
    run.captures_per_second = run.captures as f64 / run.seconds;
    let used = used_by_self()?;
    run.cpu_seconds = used.cpu_seconds - before.cpu_seconds;
    run.peak_rss_bytes = used.peak_rss_bytes;
    Ok(run)
}

fn samples(spec: &FloorSpec, topics: &BTreeMap<String, String>) -> Result<Vec<Copied>> {
    let mut copied = Vec::new();
    for (sink, n_records) in spec.records.iter().filter(|(_, n)| **n > 0) {
        let topic = topics.get(sink).with_context(|| format!("sink `{sink}` has no topic"))?;
        let mut outputs =
            Reader::open(&spec.brokers, std::slice::from_ref(topic), Offset::Beginning)?.read_all(N_SAMPLE)?;
        let sample = outputs.remove(topic).with_context(|| format!("topic `{topic}` is empty"))?;
        copied.push(Copied { output: pack::output(sink), n_records: *n_records, sample, n_written: 0 });
    }
    Ok(copied)
}

/// Waits for as many captures as an epoch of the pack took on average, or the last ones.
fn take(
    source: &mut impl Source,
    spec: &FloorSpec,
    n_taken: u64,
    positions: &mut BTreeMap<SourcePartition, i64>,
) -> Result<Vec<RecordBatchBytes>> {
    let wanted = spec.captures_per_epoch.min(spec.captures - n_taken).clamp(1, LIMIT.records as u64);
    let started = Instant::now();
    let (mut batches, mut n) = (Vec::new(), 0);
    while n < wanted {
        let limit = PollLimit { records: LIMIT.records.min((wanted - n) as usize), ..LIMIT };
        let Polled { records, partitions, .. } = source.poll(limit, Duration::from_millis(100), &[])?;
        positions.extend(partitions.into_iter().map(|(partition, status)| (partition, status.position)));
        for batch in records.into_values() {
            n += batch.len() as u64;
            batches.push(batch);
        }
        if started.elapsed() > Duration::from_secs(30) {
            bail!("only {n} of {wanted} captures came");
        }
    }
    Ok(batches)
}

/// As many records of each output as are due when `done` of `all` captures have been taken.
fn epoch(
    number: u64,
    positions: &BTreeMap<SourcePartition, i64>,
    copied: &mut [Copied],
    done: u64,
    all: u64,
) -> SealedEpoch {
    let mut epoch = SealedEpoch { number, positions: positions.clone(), ..SealedEpoch::default() };
    for output in copied {
        let due = (u128::from(output.n_records) * u128::from(done) / u128::from(all)) as u64;
        let mut records = RecordBatchBytes::default();
        let mut headers: Vec<Headers> = Vec::new();
        let n_sample = output.sample.sample.len().max(1) as u64;
        while output.n_written < due {
            let Some(copy) = output.sample.sample.get((output.n_written % n_sample) as usize) else { break };
            // The key decides on the partition.
            let meta = RecordMeta { partition: -1, offset: 0, timestamp_ms: None, sequence: 0, key: None, value: None };
            records.push(meta, copy.key.as_deref(), copy.value.as_deref());
            headers.push(copy.headers.clone());
            output.n_written += 1;
        }
        if !records.is_empty() {
            epoch.outputs.push((output.output.clone(), records));
            epoch.headers.push(headers);
        }
    }
    epoch
}
