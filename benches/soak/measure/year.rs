//! A year at the roadside, day by day: what `rules.sql` reads, in the order in which it arrives.
//!
//! Every plate is seen for two days and never again, and every capture and passage has a number of its own, so that whatever is
//! kept of one of them without end grows for ever. Some records come up to an hour late, some twice; captures are
//! corrected or deleted up to three weeks later. The same seed gives the same year.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

/// 2024-01-01T00:00:00 in Shanghai.
pub(crate) const START_MS: i64 = 1_704_038_400_000;
/// A day.
pub(crate) const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
const N_DEVICES: u32 = 40;
/// Later, a capture is behind its retention.
const CORRECTED_AFTER_MS_MAX: i64 = 21 * DAY_MS;

/// One record, as a line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) relation: &'static str,
    pub(crate) json: String,
}

/// The records of the devices, which come before all others.
pub(crate) fn devices() -> Vec<Line> {
    let device = |n| format!(r#"{{"device_id":"d{n}","town":"t{}"}}"#, n % 7);
    (0..N_DEVICES).map(|n| Line { relation: "devices", json: device(n) }).collect()
}

/// Days of records, one after the other.
pub(crate) struct Year {
    rng: Rng,
    day: i64,
    /// Passages a day; a fifth as many captures, a tenth as many stops.
    per_day: u32,
    n_records: u64,
    /// What is still to come: when, and in which order.
    under_way: BinaryHeap<Reverse<(i64, u64, Line)>>,
}

impl Year {
    pub(crate) fn new(seed: u64, per_day: u32) -> Self {
        Self { rng: Rng::with_seed(seed), day: 0, per_day, n_records: 0, under_way: BinaryHeap::new() }
    }

    /// What arrives in the next day.
    pub(crate) fn next_day(&mut self) -> Vec<Line> {
        let start_ms = START_MS + self.day * DAY_MS;
        for _ in 0..self.per_day {
            let at_ms = start_ms + self.rng.i64(0..DAY_MS);
            self.passage(at_ms);
            if self.rng.u32(..5) == 0 {
                self.capture(at_ms);
            }
            if self.rng.u32(..10) == 0 {
                let json = format!(r#"{{"plate":"{}","stopped_at":"{}"}}"#, self.plate(), instant(at_ms));
                self.send("stops", at_ms, json);
            }
        }
        self.day += 1;
        let end_ms = start_ms + DAY_MS;
        let mut lines = Vec::new();
        while self.under_way.peek().is_some_and(|Reverse((arrives_ms, ..))| *arrives_ms < end_ms) {
            lines.extend(self.under_way.pop().map(|Reverse((.., line))| line));
        }
        lines
    }

    fn passage(&mut self, at_ms: i64) {
        let (id, plate, device, speed) = (self.n_records, self.plate(), self.device(), self.rng.u32(5..60));
        let at = instant(at_ms);
        let json = format!(
            r#"{{"passage_id":"p{id}","plate":"{plate}","device_id":"{device}","passed_at":"{at}","speed":{speed}}}"#
        );
        if self.rng.u32(..20) == 0 {
            self.send("passages", at_ms, json.clone());
        }
        self.send("passages", at_ms, json);
    }

    fn capture(&mut self, at_ms: i64) {
        let (id, plate, device, at) = (self.n_records, self.plate(), self.device(), instant(at_ms));
        let json = |score: f64| {
            format!(
                r#"{{"capture_id":"c{id}","plate":"{plate}","device_id":"{device}","captured_at":"{at}","score":{score}}}"#
            )
        };
        self.send("captures", at_ms, json(0.5));
        let later_ms = at_ms + HOUR_MS + self.rng.i64(0..CORRECTED_AFTER_MS_MAX);
        match self.rng.u32(..20) {
            0 => self.arrive("captures", later_ms, json(0.75)),
            1 => self.arrive("captures", later_ms, format!(r#"{{"_tombstone":true,"capture_id":"c{id}"}}"#)),
            _ => {}
        }
    }

    /// One of the plates of yesterday and today.
    fn plate(&mut self) -> String {
        let per_day = i64::from(self.per_day / 4).max(2);
        format!("z{}", self.day * per_day + self.rng.i64(0..2 * per_day))
    }

    fn device(&mut self) -> String {
        format!("d{}", self.rng.u32(..N_DEVICES))
    }

    /// Sends what happened at `at_ms`; a tenth comes late.
    fn send(&mut self, relation: &'static str, at_ms: i64, json: String) {
        let delay_ms = if self.rng.u32(..10) == 0 { self.rng.i64(0..HOUR_MS) } else { 0 };
        self.arrive(relation, at_ms + delay_ms, json);
    }

    fn arrive(&mut self, relation: &'static str, arrives_ms: i64, json: String) {
        self.n_records += 1;
        self.under_way.push(Reverse((arrives_ms, self.n_records, Line { relation, json })));
    }
}

fn instant(at_ms: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
