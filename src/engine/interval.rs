//! What is measured between two looks at a worker: latencies and the times of the stages of an epoch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::metrics::StageTimer;

/// Durations above an hour count as an hour, in microseconds.
const MICROS_MAX: u64 = 3_600_000_000;
/// Quantiles are true to two digits.
const SIGNIFICANT_DIGITS: u8 = 2;

/// Durations by how often each occurred. Takes no more room, however many are recorded.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// None before the first duration.
    histogram: Option<Histogram<u32>>,
}

impl Durations {
    /// Adds a duration in microseconds.
    pub fn record(&mut self, micros: u64) {
        if self.histogram.is_none() {
            self.histogram = Histogram::new_with_bounds(1, MICROS_MAX, SIGNIFICANT_DIGITS).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(micros);
        }
    }

    /// Adds all durations of another.
    pub fn add(&mut self, other: &Self) {
        match (&mut self.histogram, &other.histogram) {
            (_, None) => {}
            (None, Some(_)) => self.histogram.clone_from(&other.histogram),
            (Some(own), Some(other)) => {
                // Both have the same bounds, so that every value of one has a place in the other.
                let _ = own.add(other);
            }
        }
    }

    /// How many there are.
    pub fn n(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// The duration in microseconds that a share `quantile` (0 to 1) of all does not exceed; none if there is none.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        self.histogram.as_ref().map(|h| h.value_at_quantile(quantile).min(h.max()))
    }

    /// The greatest in microseconds; none if there is none.
    pub fn max(&self) -> Option<u64> {
        self.histogram.as_ref().map(Histogram::max)
    }
}

/// What was measured in an interval.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// From a record's Kafka timestamp to the commit of what follows from it, without the records of the first load.
    pub latency: Durations,
    /// The time that each stage of an epoch took, in the order in which stages were first seen.
    pub stages: Vec<(&'static str, Durations)>,
}

impl Interval {
    /// Adds the time that a stage took.
    pub fn record_stage(&mut self, stage: &'static str, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.stage(stage).record(micros);
    }

    /// Adds the stages of another interval.
    pub fn add_stages(&mut self, other: &Self) {
        for (stage, durations) in &other.stages {
            self.stage(stage).add(durations);
        }
    }

    fn stage(&mut self, stage: &'static str) -> &mut Durations {
        let idx = self.stages.iter().position(|(known, _)| *known == stage).unwrap_or_else(|| {
            self.stages.push((stage, Durations::default()));
            self.stages.len() - 1
        });
        &mut self.stages[idx].1
    }
}

/// The running interval. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct RunningInterval(Arc<Mutex<Interval>>);

impl RunningInterval {
    /// Ends it; the next begins.
    pub(super) fn take(&self) -> Interval {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Interval)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Measures a stage of an epoch until it is dropped.
pub(super) struct StageClock {
    stage: &'static str,
    started: Instant,
    interval: RunningInterval,
    _timer: StageTimer,
}

impl StageClock {
    pub(super) fn start(stage: &'static str, interval: RunningInterval) -> Self {
        Self { stage, started: Instant::now(), interval, _timer: StageTimer::start(stage) }
    }
}

impl Drop for StageClock {
    fn drop(&mut self) {
        self.interval.update(|interval| interval.record_stage(self.stage, self.started.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_true_to_two_digits_and_sums_are_those_of_all_durations() {
        let (mut low, mut high) = (Durations::default(), Durations::default());
        assert_eq!((low.n(), low.quantile(0.5), low.max()), (0, None, None));
        (1..=99).for_each(|micros| low.record(micros * 1_000));
        high.record(u64::MAX);
        low.add(&Durations::default());
        low.add(&high);
        assert_eq!((low.n(), low.max().map(|max| max >= MICROS_MAX)), (100, Some(true)));
        let p50 = low.quantile(0.5).unwrap();
        assert!((49_500..=50_500).contains(&p50), "{p50}");
        let mut empty = Durations::default();
        empty.add(&low);
        assert_eq!(empty.n(), 100);
    }

    #[test]
    fn a_stage_is_measured_when_its_clock_is_dropped_and_an_interval_begins_empty() {
        let running = RunningInterval::default();
        drop(StageClock::start("poll", running.clone()));
        drop(StageClock::start("commit", running.clone()));
        drop(StageClock::start("poll", running.clone()));
        let n = |interval: &Interval| interval.stages.iter().map(|(s, d)| (*s, d.n())).collect::<Vec<_>>();
        let taken = running.take();
        assert_eq!(n(&taken), [("poll", 2), ("commit", 1)]);
        assert_eq!(n(&running.take()), []);
        let mut minute = Interval::default();
        minute.add_stages(&taken);
        minute.add_stages(&taken);
        assert_eq!(n(&minute), [("poll", 4), ("commit", 2)]);
    }
}
