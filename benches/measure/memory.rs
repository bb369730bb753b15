//! The pack with both ends in memory: no disk, no network. What the engine itself can do.
//!
//! The worker, its epochs and the encoding of outputs and logged state are those of the service. Only the ends differ: records
//! are copied out of memory, as many an epoch as the service would take, and what is committed is counted and dropped. A run of
//! small epochs takes in all but the last captures like that and measures those only, a few an epoch, as a steady load makes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use curb::engine::{Ends, StatusBoard, Worker, WorkerOptions};
use curb::server;
use curb::stream::{
    CommitError, LogReader, Outcome, OutputTopic, PartitionStatus, PollLimit, Polled, RecordBatchBytes, Restored,
    SealedEpoch, ShardCount, Sink, Source, SourceError, SourcePartition, StateLog, TombstoneForm,
};
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::pack;
use crate::process::{Used, used_by_self};
use crate::scrape::{Reading, Timing};
use crate::{Input, wall_clock_ms};

/// What a run in memory measured, from the first capture to the last commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MemoryRun {
    pub(crate) shards: u32,
    /// Captures that were measured.
    pub(crate) captures: usize,
    pub(crate) seconds: f64,
    pub(crate) captures_per_second: f64,
    pub(crate) commits: u64,
    pub(crate) output_records: u64,
    pub(crate) output_bytes: u64,
    pub(crate) state_bytes: u64,
    pub(crate) epoch: Timing,
    pub(crate) stages: BTreeMap<String, Timing>,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_bytes: u64,
    /// Of the peak, what the records in memory take.
    pub(crate) dataset_bytes: u64,
}

/// What was seen at the ends.
#[derive(Default)]
struct Seen {
    /// When the first capture that counts was about to be handed over, and what had been measured and used by then.
    began: Option<(Instant, Reading, Used)>,
    last_commit: Option<Instant>,
    commits: u64,
    output_records: u64,
    output_bytes: u64,
    state_bytes: u64,
}

type Shared = Arc<Mutex<Seen>>;

/// The last captures of a run, which come a few an epoch and alone are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) captures: usize,
    pub(crate) captures_per_epoch: usize,
}

/// Runs the pack once.
pub(crate) fn run(input: &Input, n_shards: u32, tail: Option<Tail>) -> Result<MemoryRun> {
    let Input { pack, captures: n_captures, seed } = input.clone();
    let planned = pack::read(&pack)?;
    let before = used_by_self()?;
    let mut dataset = Dataset::generate(seed, n_captures, wall_clock_ms());
    if tail.is_some() {
        // They would come after all captures, in epochs of their own.
        dataset.events.remove("voids");
    }
    let dataset_bytes = used_by_self()?.rss_bytes.saturating_sub(before.rss_bytes);
    let seen = Shared::default();
    // Served only to be read below, as the service is.
    let http = server::serve(SocketAddr::from(([127, 0, 0, 1], 0)), "memory", StatusBoard::default())?;
    let stop = Arc::new(AtomicBool::new(false));
    let source =
        MemorySource::new(planned.sources().into_keys(), dataset, http.address(), seen.clone(), stop.clone(), tail);
    let ends = Ends {
        source: Box::new(source),
        sink: Box::new(CountingSink { seen: seen.clone() }),
        log: Some(Box::new(NoLog)),
        clock: Box::new(wall_clock_ms),
    };
    let shards = ShardCount(n_shards);
    let options = WorkerOptions { commit_interval_min: Duration::ZERO, ..WorkerOptions::live(shards) };
    Worker::new(planned.pipeline, ends, options, stop)?.run()?;
    let after = Reading::take(http.address())?;
    let used = used_by_self()?;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let (began, reading, used_before) = seen.began.take().context("no capture was read")?;
    let n_captures = tail.map_or(n_captures, |t| t.captures.min(n_captures));
    let seconds = seen.last_commit.context("nothing was committed")?.duration_since(began).as_secs_f64();
    Ok(MemoryRun {
        shards: n_shards,
        captures: n_captures,
        seconds,
        captures_per_second: n_captures as f64 / seconds,
        commits: seen.commits,
        output_records: seen.output_records,
        output_bytes: seen.output_bytes,
        state_bytes: seen.state_bytes,
        epoch: after.timing_since(&reading, "curb_epoch_duration_seconds", ""),
        stages: after.stages_since(&reading),
        cpu_seconds: used.cpu_seconds - used_before.cpu_seconds,
        peak_rss_bytes: used.peak_rss_bytes,
        dataset_bytes,
    })
}

/// One relation's records and how many were handed over.
struct Queue {
    relation: Arc<str>,
    records: RecordBatchBytes,
    position: usize,
    is_event: bool,
}

/// Hands over the tables first, as a first load; then captures and voids as if they had come live.
struct MemorySource {
    queues: Vec<Queue>,
    address: SocketAddr,
    seen: Shared,
    stop: Arc<AtomicBool>,
    tail: Option<Tail>,
    next_sequence: u64,
    told_all: bool,
}

impl MemorySource {
    fn new(
        relations: impl Iterator<Item = String>,
        dataset: Dataset,
        address: SocketAddr,
        seen: Shared,
        stop: Arc<AtomicBool>,
        tail: Option<Tail>,
    ) -> Self {
        let Dataset { mut tables, mut events, .. } = dataset;
        let queue = |relation: String| {
            let events = events.remove(relation.as_str());
            Queue {
                is_event: events.is_some(),
                records: events.or_else(|| tables.remove(relation.as_str())).unwrap_or_default(),
                relation: relation.into(),
                position: 0,
            }
        };
        let queues = relations.map(queue).collect();
        Self { queues, address, seen, stop, tail, next_sequence: 0, told_all: false }
    }

    fn take(&mut self, limit: PollLimit, events: bool) -> Polled {
        let mut polled = Polled::default();
        let (mut n_records, mut n_bytes) = (0, 0);
        for queue in self.queues.iter_mut().filter(|q| q.is_event == events) {
            let mut batch = RecordBatchBytes::default();
            while n_records < limit.records && n_bytes < limit.bytes && queue.position < queue.records.len() {
                let record = queue.records.get(queue.position);
                let mut meta = record.meta.clone();
                meta.sequence = self.next_sequence;
                batch.push(meta, record.key, record.value);
                n_bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                n_records += 1;
                self.next_sequence += 1;
                queue.position += 1;
            }
            if !batch.is_empty() || !self.told_all {
                let partition = SourcePartition { relation: queue.relation.clone(), partition: 0 };
                polled.partitions.insert(partition, queue.status());
            }
            if !batch.is_empty() {
                polled.records.insert(queue.relation.clone(), batch);
            }
        }
        polled
    }
}

impl Queue {
    fn status(&self) -> PartitionStatus {
        let (position, end) = (self.position as i64, self.records.len() as i64);
        // Events were not there at start, so that what follows from them leaves as it does live.
        PartitionStatus { position, end: Some(end), caught_up: self.is_event || position == end, idle: false }
    }
}

impl Source for MemorySource {
    fn poll(&mut self, limit: PollLimit, _wait: Duration, _paused: &[Arc<str>]) -> Result<Polled, SourceError> {
        let mut polled = self.take(limit, false);
        if !self.told_all {
            for queue in self.queues.iter().filter(|q| q.is_event) {
                let partition = SourcePartition { relation: queue.relation.clone(), partition: 0 };
                polled.partitions.insert(partition, queue.status());
            }
            self.told_all = true;
        }
        if !polled.records.is_empty() {
            return Ok(polled);
        }
        let n_left: usize = self.queues.iter().filter(|q| q.is_event).map(|q| q.records.len() - q.position).sum();
        let (limit, is_measured) = match self.tail {
            None => (limit, true),
            Some(tail) if n_left <= tail.captures => {
                (PollLimit { records: tail.captures_per_epoch.max(1), ..limit }, true)
            }
            Some(tail) => (PollLimit { records: limit.records.min(n_left - tail.captures), ..limit }, false),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if is_measured && seen.began.is_none() {
            let failed = |e: anyhow::Error| SourceError::Io(e.to_string());
            let reading = Reading::take(self.address).map_err(failed)?;
            seen.began = Some((Instant::now(), reading, used_by_self().map_err(failed)?));
        }
        drop(seen);
        polled = self.take(limit, true);
        if polled.records.is_empty() {
            // Not the end of input: that would let all watermarks pass and the state be forgotten, at a cost of its own.
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(polled)
    }
}

/// Counts what is committed from the first capture on, and drops it.
struct CountingSink {
    seen: Shared,
}

impl Sink for CountingSink {
    fn tombstones(&self) -> TombstoneForm {
        TombstoneForm::NoValue
    }

    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.began.is_some() {
            seen.last_commit = Some(Instant::now());
            seen.commits += 1;
            for (topic, records) in &epoch.outputs {
                if matches!(topic, OutputTopic::Sink(_)) {
                    seen.output_records += records.len() as u64;
                    seen.output_bytes += records.data.len() as u64;
                }
            }
            seen.state_bytes += epoch.deltas.iter().map(|d| d.bytes.len() as u64).sum::<u64>();
        }
        Ok(())
    }

    fn outcome(&mut self, _epoch: &SealedEpoch) -> Result<Outcome, CommitError> {
        Ok(Outcome::Committed)
    }
}

/// Nothing was logged before.
struct NoLog;

impl StateLog for NoLog {
    fn restore(&mut self, _reader: &mut dyn LogReader) -> Result<Restored, SourceError> {
        Ok(Restored::default())
    }
}
