//! The last minutes of a pipeline, so that a page that has just been opened shows them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::engine::{Durations, Interval, Kinds, Status};

/// How often a sample is taken.
pub(super) const STEP: Duration = Duration::from_secs(2);
/// How many steps are kept: ten minutes.
pub(super) const STEPS_MAX: usize = 300;
/// The steps of the last minute.
const MINUTE_STEPS: usize = 30;
/// A source is behind when it was so in all of these last steps.
const BEHIND_STEPS: usize = 5;
/// Fewer unread records than this are nothing to speak of.
const BEHIND_RECORDS_MIN: i64 = 100;
/// Unread records are nothing to speak of if they are read in less than this, at the pace of the step, in seconds.
const BEHIND_SECONDS_MIN: f64 = 10.0;

/// Samples of a status, the newest last, and what changed from one to the next.
#[derive(Debug, Default)]
pub(super) struct History {
    steps: VecDeque<Step>,
    /// What was measured in each step of the last minute.
    minute: VecDeque<Interval>,
    last: Option<(Instant, Status)>,
}

/// What happened from one sample to the next.
#[derive(Debug)]
struct Step {
    /// When it ended, in milliseconds since the Unix epoch.
    at_ms: i64,
    seconds: f64,
    n_epochs: u64,
    n_restarts: u64,
    n_late: u64,
    n_rejected: u64,
    latency: Quantiles,
    /// Bytes of state at its end.
    state_bytes: u64,
    /// Rows in and out of each relation.
    relations: Vec<[u64; 2]>,
    sources: Vec<SourceStep>,
    sinks: Vec<SinkStep>,
}

/// Where a source stood at the end of a step.
#[derive(Debug)]
struct SourceStep {
    n_read: u64,
    lag: Option<i64>,
    watermark_lag_ms: Option<i64>,
}

#[derive(Debug)]
struct SinkStep {
    n_rows: u64,
    kinds: Kinds,
}

/// Quantiles of durations in milliseconds; none if there was no duration.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Quantiles {
    n: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl Quantiles {
    fn of(durations: &Durations) -> Self {
        let ms = |micros: Option<u64>| micros.map(|m| m as f64 / 1_000.0);
        Self {
            n: durations.n(),
            p50_ms: ms(durations.quantile(0.5)),
            p99_ms: ms(durations.quantile(0.99)),
            max_ms: ms(durations.max()),
        }
    }
}

/// What the last ten minutes say about the health of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Lately {
    pub(super) n_restarts: u64,
    /// Sources that are read more slowly than they are written, and how many records they are behind.
    pub(super) behind: Vec<(Arc<str>, i64)>,
    /// The median latency of the last minute in milliseconds; none if no record was handled.
    pub(super) p50_ms: Option<f64>,
}

impl History {
    /// Takes a sample: the status at an instant, and what was measured since the last sample.
    pub(super) fn sample(&mut self, status: Status, interval: Interval, at: Instant, now_ms: i64) {
        if let Some((then, before)) = &self.last {
            let seconds = at.saturating_duration_since(*then).as_secs_f64().max(0.001);
            let latency = Quantiles::of(&interval.latency);
            self.steps.push_back(Step::between(before, &status, latency, seconds, now_ms));
        }
        while self.steps.len() > STEPS_MAX {
            self.steps.pop_front();
        }
        self.minute.push_back(interval);
        while self.minute.len() > MINUTE_STEPS {
            self.minute.pop_front();
        }
        self.last = Some((at, status));
    }

    /// What the steps kept say about the health of the pipeline.
    pub(super) fn lately(&self) -> Lately {
        let n_restarts = self.steps.iter().map(|s| s.n_restarts).sum();
        let sources = self.last.as_ref().map_or(&[][..], |(_, status)| &status.sources);
        let behind = sources.iter().enumerate().filter_map(|(idx, source)| {
            let newest = self.steps.iter().rev().take(BEHIND_STEPS);
            let all = newest.len() == BEHIND_STEPS && newest.into_iter().all(|step| step.is_behind(idx));
            all.then_some((source.name.clone(), source.lag?))
        });
        let mut latency = Durations::default();
        self.minute.iter().for_each(|interval| latency.add(&interval.latency));
        Lately { n_restarts, behind: behind.collect(), p50_ms: Quantiles::of(&latency).p50_ms }
    }

    /// Everything after an instant, column by column.
    pub(super) fn answer(&self, since_ms: i64, now_ms: i64) -> HistoryAnswer {
        let steps: Vec<&Step> = self.steps.iter().filter(|s| s.at_ms > since_ms).collect();
        let mut answer = HistoryAnswer {
            now_ms,
            step_ms: STEP.as_millis() as u64,
            steps_max: STEPS_MAX,
            times_ms: steps.iter().map(|s| s.at_ms).collect(),
            epochs_per_second: steps.iter().map(|s| s.rate(s.n_epochs)).collect(),
            restarts: steps.iter().map(|s| s.n_restarts).collect(),
            late: steps.iter().map(|s| s.n_late).collect(),
            rejected: steps.iter().map(|s| s.n_rejected).collect(),
            latency: steps.iter().map(|s| s.latency).collect(),
            state_bytes: steps.iter().map(|s| s.state_bytes).collect(),
            minute: self.minute(),
            ..HistoryAnswer::default()
        };
        let Some((_, status)) = &self.last else { return answer };
        for (idx, relation) in status.relations.iter().enumerate() {
            let rates =
                |side: usize| steps.iter().map(|s| s.rate(s.relations.get(idx).map_or(0, |r| r[side]))).collect();
            let columns = RelationColumns { rows_in_per_second: rates(0), rows_out_per_second: rates(1) };
            answer.relations.insert(relation.name.clone(), columns);
        }
        for (idx, source) in status.sources.iter().enumerate() {
            let of = |value: fn(&SourceStep) -> Option<i64>| {
                steps.iter().map(|s| s.sources.get(idx).and_then(value)).collect::<Vec<_>>()
            };
            let columns = SourceColumns { lag: of(|s| s.lag), watermark_lag_ms: of(|s| s.watermark_lag_ms) };
            answer.sources.insert(source.name.clone(), columns);
        }
        for (idx, sink) in status.sinks.iter().enumerate() {
            let of_step = |s: &&Step| s.rate(s.sinks.get(idx).map_or(0, |k| k.n_rows));
            let rows = |kind: &Arc<str>| {
                let n_rows = |s: &&Step| s.sinks.get(idx).and_then(|k| k.kinds.get(kind)).copied().unwrap_or(0);
                (kind.clone(), steps.iter().map(n_rows).collect())
            };
            let columns = SinkColumns {
                rows_per_second: steps.iter().map(of_step).collect(),
                kinds: sink.kinds.keys().map(rows).collect(),
            };
            answer.sinks.insert(sink.name.clone(), columns);
        }
        answer
    }

    /// Quantiles over the last minute.
    fn minute(&self) -> MinuteAnswer {
        let mut sum = Interval::default();
        for interval in &self.minute {
            sum.latency.add(&interval.latency);
            sum.add_stages(interval);
        }
        let stage =
            |(stage, durations): &(&'static str, Durations)| StageAnswer { stage, quantiles: Quantiles::of(durations) };
        MinuteAnswer { latency: Quantiles::of(&sum.latency), stages: sum.stages.iter().map(stage).collect() }
    }
}

impl Step {
    fn between(before: &Status, after: &Status, latency: Quantiles, seconds: f64, now_ms: i64) -> Self {
        let grown = |then: u64, now: u64| now.saturating_sub(then);
        let sum = |status: &Status, count: fn(&crate::engine::SourceCounts) -> u64| {
            status.sources.iter().map(|s| count(&s.counts)).sum::<u64>()
        };
        let relations = after.relations.iter().enumerate().map(|(idx, now)| {
            let then = before.relations.get(idx).map_or([0, 0], |r| [r.rows_in, r.rows_out]);
            [grown(then[0], now.rows_in), grown(then[1], now.rows_out)]
        });
        let sources = after.sources.iter().enumerate().map(|(idx, now)| {
            let watermark_ms = after.relations.iter().find(|r| r.name == now.name).and_then(|r| r.watermark_ms);
            SourceStep {
                n_read: grown(before.sources.get(idx).map_or(0, |s| s.counts.read), now.counts.read),
                lag: now.lag,
                watermark_lag_ms: watermark_ms.map(|ms| now_ms.saturating_sub(ms)),
            }
        });
        let sinks = after.sinks.iter().enumerate().map(|(idx, now)| {
            let then = before.sinks.get(idx);
            let kind = |(kind, n): (&Arc<str>, &u64)| {
                let n_then = then.and_then(|s| s.kinds.get(kind)).copied().unwrap_or(0);
                (*n > n_then).then(|| (kind.clone(), n - n_then))
            };
            SinkStep {
                n_rows: grown(then.map_or(0, |s| s.rows), now.rows),
                kinds: now.kinds.iter().filter_map(kind).collect(),
            }
        });
        Self {
            at_ms: now_ms,
            seconds,
            n_epochs: grown(before.epoch, after.epoch),
            n_restarts: grown(before.restarts, after.restarts),
            n_late: grown(sum(before, |c| c.late), sum(after, |c| c.late)),
            n_rejected: grown(sum(before, |c| c.rejected), sum(after, |c| c.rejected)),
            latency,
            state_bytes: after.relations.iter().map(|r| r.state_bytes as u64).sum(),
            relations: relations.collect(),
            sources: sources.collect(),
            sinks: sinks.collect(),
        }
    }

    /// A count as a rate, with two decimals.
    fn rate(&self, n: u64) -> f64 {
        (n as f64 / self.seconds * 100.0).round() / 100.0
    }

    /// Whether it would take long to read what a source has in store.
    fn is_behind(&self, source: usize) -> bool {
        let Some(SourceStep { n_read, lag: Some(lag), .. }) = self.sources.get(source) else { return false };
        *lag >= BEHIND_RECORDS_MIN && *lag as f64 > BEHIND_SECONDS_MIN * (*n_read as f64 / self.seconds)
    }
}

/// What `/api/history` says: one entry a step in every list, the oldest first.
#[derive(Debug, Default, Serialize)]
pub(super) struct HistoryAnswer {
    now_ms: i64,
    step_ms: u64,
    steps_max: usize,
    /// When each step ended.
    times_ms: Vec<i64>,
    epochs_per_second: Vec<f64>,
    restarts: Vec<u64>,
    late: Vec<u64>,
    rejected: Vec<u64>,
    /// Of the records of each step.
    latency: Vec<Quantiles>,
    state_bytes: Vec<u64>,
    relations: BTreeMap<Arc<str>, RelationColumns>,
    sources: BTreeMap<Arc<str>, SourceColumns>,
    sinks: BTreeMap<Arc<str>, SinkColumns>,
    minute: MinuteAnswer,
}

#[derive(Debug, Serialize)]
struct RelationColumns {
    rows_in_per_second: Vec<f64>,
    rows_out_per_second: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct SourceColumns {
    lag: Vec<Option<i64>>,
    watermark_lag_ms: Vec<Option<i64>>,
}

#[derive(Debug, Serialize)]
struct SinkColumns {
    rows_per_second: Vec<f64>,
    /// Rows in each step.
    kinds: BTreeMap<Arc<str>, Vec<u64>>,
}

/// The last minute as a whole.
#[derive(Debug, Default, Serialize)]
struct MinuteAnswer {
    latency: Quantiles,
    stages: Vec<StageAnswer>,
}

#[derive(Debug, Serialize)]
struct StageAnswer {
    stage: &'static str,
    #[serde(flatten)]
    quantiles: Quantiles,
}
