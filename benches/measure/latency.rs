//! Latency under a steady load: captures are due at fixed times, and each is followed until a reader that sees committed records
//! only has an action in hand that follows from it.
//!
//! A capture's record bears the time at which it was due, whether or not the producer was able to send it then, and latency
//! counts from there. So a service that stalls is charged for all that had to wait meanwhile (no coordinated omission). Only the
//! event time in the record runs faster, over a day and more: nobody is captured every few seconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};
use hdrhistogram::Histogram;
use rdkafka::Offset;
use rdkafka::message::Message;
use rdkafka::producer::Producer;
use serde::Serialize;

use crate::broker::{self, Reader};
use crate::dataset::{Dataset, capture_idx};

/// Not known yet how many actions there will be.
const UNKNOWN: u64 = u64::MAX;
/// How long a reader waits for actions that were committed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it looks out for actions that were not committed.
const LINGER: Duration = Duration::from_secs(1);

/// How long the producer gathers records for a request: the default of librdkafka's clients. Without it the broker would
/// answer a request a record, and spend a core of this machine on that. Counted in the latencies.
const LINGER_MS: u32 = 5;

/// How the load is made.
pub(crate) struct Load<'a> {
    pub(crate) brokers: &'a str,
    pub(crate) captures_topic: &'a str,
    pub(crate) actions_topics: Vec<String>,
    /// Captures a second.
    pub(crate) rate: u64,
    /// Sent first and not measured.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    /// The number of the first capture, so that none is sent twice.
    pub(crate) first_idx: usize,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

/// What was seen from outside.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LatencySeen {
    pub(crate) captures_sent: u64,
    pub(crate) actions_read: u64,
    /// From the time at which a capture was due to the action in a reader's hand.
    pub(crate) to_action: Percentiles,
    /// How far the producer was behind its schedule at worst. Counted in the latencies.
    pub(crate) producer_late_max_ms: f64,
}

impl Percentiles {
    fn of(microseconds: &Histogram<u64>) -> Self {
        let at = |quantile| microseconds.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            count: microseconds.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: microseconds.max() as f64 / 1000.0,
        }
    }
}

/// When each capture is due.
#[derive(Clone, Copy)]
struct Schedule {
    start: Instant,
    start_ms: i64,
    rate: u64,
    first_idx: usize,
    n_warm_up: u64,
    n_all: u64,
}

impl Schedule {
    fn offset(&self, n: u64) -> Duration {
        Duration::from_nanos(n * 1_000_000_000 / self.rate)
    }
}

/// Sends the load and follows it. `at_measured` is called when the captures that count begin to be due; `at_sent` when all have
/// been sent, waits until they are committed, and says how many actions followed from them.
pub(crate) fn run(
    load: &Load<'_>,
    dataset: &mut Dataset,
    at_measured: impl FnOnce() + Send,
    at_sent: impl FnOnce() -> Result<u64>,
) -> Result<LatencySeen> {
    let reader = Reader::open(load.brokers, &load.actions_topics, Offset::End)?;
    let n_of = |duration: Duration| (duration.as_secs_f64() * load.rate as f64) as u64;
    let n_warm_up = n_of(load.warm_up);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let lead = Duration::from_millis(500);
    let schedule = Schedule {
        start: Instant::now() + lead,
        start_ms: now_ms + lead.as_millis() as i64,
        rate: load.rate,
        first_idx: load.first_idx,
        n_warm_up,
        n_all: n_warm_up + n_of(load.measured),
    };
    let n_actions = AtomicU64::new(UNKNOWN);
    let late_max_us = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let followed = scope.spawn(|| follow(&reader, schedule, &n_actions));
        scope.spawn(|| {
            std::thread::sleep(lead + load.warm_up);
            at_measured();
        });
        let outcome = produce(load, schedule, dataset, &late_max_us).and_then(|()| at_sent());
        // After a failure nothing more is waited for.
        n_actions.store(outcome.as_ref().map_or(0, |n| *n), Ordering::Release);
        let followed = followed.join().map_err(|_| anyhow!("the reader has panicked"))?;
        let actions_committed = outcome?;
        let (latencies, actions_read) = followed?;
        ensure!(
            actions_read == actions_committed,
            "{actions_committed} actions were committed, but a reader saw {actions_read}"
        );
        Ok(LatencySeen {
            captures_sent: schedule.n_all,
            actions_read,
            to_action: Percentiles::of(&latencies),
            producer_late_max_ms: late_max_us.load(Ordering::Relaxed) as f64 / 1000.0,
        })
    })
}

fn produce(load: &Load<'_>, schedule: Schedule, dataset: &mut Dataset, late_max_us: &AtomicU64) -> Result<()> {
    let producer = broker::producer(load.brokers, LINGER_MS)?;
    let span_ms = i128::from(schedule.start_ms - dataset.end_ms);
    let mut n_sent = 0;
    while n_sent < schedule.n_all {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(schedule.start);
        while n_sent < schedule.n_all && now >= schedule.start && schedule.offset(n_sent) <= elapsed {
            let offset = schedule.offset(n_sent);
            if n_sent >= schedule.n_warm_up {
                late_max_us.fetch_max((schedule.start.elapsed() - offset).as_micros() as u64, Ordering::Relaxed);
            }
            let due_ms = schedule.start_ms + offset.as_millis() as i64;
            let captured_ms = dataset.end_ms + (span_ms * i128::from(n_sent) / i128::from(schedule.n_all)) as i64;
            let capture = dataset.another(schedule.first_idx + n_sent as usize, captured_ms);
            let (key, value) = (capture.id.as_bytes(), capture.value.as_bytes());
            broker::send(&producer, load.captures_topic, key, value, Some(due_ms))?;
            n_sent += 1;
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(producer.flush(Duration::from_secs(30))?)
}

/// Reads actions until as many have come as were committed, and a little longer, to see whether there are more.
fn follow(reader: &Reader, schedule: Schedule, n_actions: &AtomicU64) -> Result<(Histogram<u64>, u64)> {
    let mut latencies: Histogram<u64> = Histogram::new_with_bounds(1, 3_600_000_000, 3)?;
    let mut n_read = 0;
    let mut last_read = Instant::now();
    loop {
        let newest = reader.next(Duration::from_millis(100), |record| newest_evidence(record.payload()))?;
        let now = Instant::now();
        let Some(newest) = newest else {
            let n_wanted = n_actions.load(Ordering::Acquire);
            let patience = if n_read >= n_wanted { LINGER } else { PATIENCE };
            if n_wanted != UNKNOWN && last_read.elapsed() > patience {
                return Ok((latencies, n_read));
            }
            continue;
        };
        (last_read, n_read) = (now, n_read + 1);
        let n = newest.and_then(|idx| idx.checked_sub(schedule.first_idx)).map(|n| n as u64);
        // Actions without a capture of this load follow from what lay there before.
        let Some(n) = n.filter(|n| (schedule.n_warm_up..schedule.n_all).contains(n)) else { continue };
        let due = schedule.start + schedule.offset(n);
        latencies.saturating_record((now.saturating_duration_since(due).as_micros() as u64).max(1));
    }
}

/// The number of the newest capture that an action rests on: the one that brought it about, since captures come in the order of
/// their numbers.
fn newest_evidence(action: Option<&[u8]>) -> Option<usize> {
    let text = std::str::from_utf8(action?).ok()?;
    let (_, evidence) = text.split_once("\"evidence\":[")?;
    let (evidence, _) = evidence.split_once(']')?;
    evidence.split(',').filter_map(|id| capture_idx(id.trim().trim_matches('"').as_bytes())).max()
}
