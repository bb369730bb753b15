//! The live figures of a demo as text: a frame for a terminal, a line for a file, and the summary at the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::tally::{KindCount, N_NEWEST, Tally};
use crate::engine::Status;

/// What a demo is.
pub(super) const TITLE: &str = "Curb demo: simulated devices, a broker in this process, the safe-riding rules";
/// Rates are taken over at least this time.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// The sources that are sent without end.
const FLOWING: [&str; 2] = ["captures", "passages"];

/// What is shown of a demo at a moment.
pub(super) struct Figures<'a> {
    pub(super) status: &'a Status,
    pub(super) tally: &'a Tally,
    pub(super) rates: &'a Rates,
    /// Since the start of the program's demo.
    pub(super) elapsed: Duration,
    pub(super) time_zone: Tz,
    pub(super) places: &'a str,
}

/// What a demo came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) tally: Tally,
    pub(super) elapsed: Duration,
    /// From the start until the first action was shown.
    pub(super) first_action: Option<Duration>,
    /// When event time began.
    pub(super) began_at: DateTime<Utc>,
}

/// Records per second of the flowing sources, over the last second or so.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    since: Instant,
    read_then: [u64; 2],
    /// None until records have come for long enough.
    per_second: Option<[f64; 2]>,
}

impl Rates {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, read_then: [0; 2], per_second: None }
    }

    fn shown(&self) -> [String; 2] {
        self.per_second.map_or_else(Default::default, |rates| rates.map(|rate| format!("{rate:.0}/s")))
    }

    pub(super) fn update(&mut self, status: &Status, now: Instant) {
        let read = FLOWING.map(|name| n_read(status, name));
        if read == [0; 2] {
            self.since = now;
        }
        let elapsed = now.duration_since(self.since);
        if elapsed < RATE_WINDOW {
            return;
        }
        let per_second = |read: u64, then: u64| read.saturating_sub(then) as f64 / elapsed.as_secs_f64();
        let ([captures, passages], [captures_then, passages_then]) = (read, self.read_then);
        self.per_second = Some([per_second(captures, captures_then), per_second(passages, passages_then)]);
        (self.since, self.read_then) = (now, read);
    }
}

fn n_read(status: &Status, source: &str) -> u64 {
    status.sources.iter().find(|s| &*s.name == source).map_or(0, |s| s.counts.read)
}

impl Figures<'_> {
    /// What fits a terminal of 24 lines, to be drawn again in place.
    pub(super) fn frame(&self) -> String {
        let mut text = format!("{TITLE}\n{}, Ctrl-C ends\n\n", self.places);
        let [captures, passages] = FLOWING.map(|name| grouped(n_read(self.status, name)));
        let [captures_rate, passages_rate] = self.rates.shown();
        let latency = &self.status.latency;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  captures    {captures:>9}  {captures_rate:>8}");
        let _ = writeln!(text, "  passages    {passages:>9}  {passages_rate:>8}");
        let _ = writeln!(
            text,
            "  commits     {:>9}  latency p50 {} ms, p99 {} ms",
            grouped(self.status.epoch),
            latency.p50_ms,
            latency.p99_ms
        );
        let _ = writeln!(text, "  watermark   {}\n", watermark(self.status, self.time_zone));
        text.push_str(&table(self.tally));
        text.push('\n');
        let mut newest = self.tally.newest();
        for _ in 0..N_NEWEST {
            let _ = writeln!(text, "  {}", newest.next().unwrap_or(""));
        }
        text
    }

    /// What a file or a pipe gets every second.
    pub(super) fn line(&self) -> String {
        let total = self.tally.total();
        let [issued, updated, withdrawn] = [total.issued, total.updated, total.withdrawn].map(grouped);
        let [captures, passages] = FLOWING.map(|name| grouped(n_read(self.status, name)));
        let [captures_rate, passages_rate] = self.rates.shown();
        let latency = &self.status.latency;
        let mut text = format!(
            "{:>4.1} s  watermark {}  captures {captures} {captures_rate}  passages {passages} {passages_rate}  latency p50 {} ms, \
             p99 {} ms\n        actions {issued} issued, {updated} updated, {withdrawn} withdrawn",
            self.elapsed.as_secs_f64(),
            watermark(self.status, self.time_zone),
            latency.p50_ms,
            latency.p99_ms,
        );
        if let Some(newest) = self.tally.newest().next() {
            let _ = write!(text, "; the newest: {newest}");
        }
        text.push('\n');
        text
    }
}

impl Outcome {
    /// The figures at the end.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("{:.1} s", self.elapsed.as_secs_f64());
        if let Some(reached) = reached(&self.status) {
            let days = (reached - self.began_at).num_minutes() as f64 / 1440.0;
            let _ = write!(text, ", {days:.1} days of event time");
        }
        if let Some(first) = self.first_action {
            let _ = write!(text, ", first action after {:.2} s", first.as_secs_f64());
        }
        let _ = writeln!(
            text,
            "\n\n  {:<22}{:>9}{:>9}{:>11}{:>9}{:>10}",
            "source", "read", "used", "duplicate", "late", "rejected"
        );
        for source in &self.status.sources {
            let c = &source.counts;
            let [read, used, duplicate, late, rejected] =
                [c.read, c.used, c.duplicate, c.late, c.rejected].map(grouped);
            let _ = writeln!(text, "  {:<22}{read:>9}{used:>9}{duplicate:>11}{late:>9}{rejected:>10}", source.name);
        }
        let _ = writeln!(text, "\n{}", table(&self.tally));
        let latency = &self.status.latency;
        let _ = writeln!(
            text,
            "{} commits; from a record's timestamp to its commit p50 {} ms, p99 {} ms, max {} ms",
            grouped(self.status.epoch),
            latency.p50_ms,
            latency.p99_ms,
            latency.max_ms
        );
        text
    }
}

/// The watermark of the stream of passages: how far event time has come.
fn reached(status: &Status) -> Option<DateTime<Utc>> {
    let passages = status.relations.iter().find(|r| &*r.name == "passages")?;
    DateTime::from_timestamp_millis(passages.watermark_ms?)
}

fn watermark(status: &Status, time_zone: Tz) -> String {
    let shown = |at: DateTime<Utc>| at.with_timezone(&time_zone).format("%Y-%m-%d %H:%M").to_string();
    reached(status).map_or("none yet".to_owned(), shown)
}

/// Actions by kind.
fn table(tally: &Tally) -> String {
    let mut text = format!("  {:<22}{:>9}{:>9}{:>11}\n", "action", "issued", "updated", "withdrawn");
    for KindCount { kind, issued, updated, withdrawn } in tally.kinds() {
        let [issued, updated, withdrawn] = [issued, updated, withdrawn].map(|n| grouped(*n));
        let _ = writeln!(text, "  {kind:<22}{issued:>9}{updated:>9}{withdrawn:>11}");
    }
    text
}

/// A number with a comma every three digits.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{SourceCounts, SourceStatus};

    fn status(captures: u64, passages: u64) -> Status {
        let source = |name: &str, read| SourceStatus {
            name: name.into(),
            counts: SourceCounts { read, used: read, ..SourceCounts::default() },
            lag: None,
        };
        Status { sources: vec![source("captures", captures), source("passages", passages)], ..Status::default() }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped).join(" "), "0 999 1,000 1,234,567");
    }

    #[test]
    fn a_rate_is_what_was_read_since_the_last_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rates = Rates::new(start);
        rates.update(&status(0, 0), at(5_000));
        rates.update(&status(50, 400), at(5_500));
        assert_eq!(rates.per_second, None, "nothing is known before a second of records");
        rates.update(&status(100, 800), at(7_000));
        assert_eq!(rates.per_second, Some([50.0, 400.0]));
        rates.update(&status(100, 810), at(8_000));
        assert_eq!(rates.per_second, Some([0.0, 10.0]));
    }

    #[test]
    fn a_frame_always_has_the_same_number_of_lines_and_fits_a_small_terminal() {
        let (status, mut tally, rates) = (status(1_234, 56_789), Tally::new(), Rates::new(Instant::now()));
        let frame = |tally: &Tally| {
            Figures {
                status: &status,
                tally,
                rates: &rates,
                elapsed: Duration::from_secs(3),
                time_zone: chrono_tz::Asia::Shanghai,
                places: "http://127.0.0.1:8642, Kafka at 127.0.0.1:9092",
            }
            .frame()
        };
        let empty = frame(&tally);
        let action = serde_json::json!({"action": "reminder", "person_id": "P1", "month": "2026-06", "n": 2,
            "ride_started_at": "2026-06-03T17:21:00.000+08:00", "points": null, "status": "issued", "revision": 1});
        tally.take(action.to_string().as_bytes()).unwrap();
        let filled = frame(&tally);
        assert_eq!(empty.lines().count(), filled.lines().count());
        assert!(filled.lines().count() <= 23 && filled.lines().all(|l| l.chars().count() <= 80), "{filled}");
        assert!(
            filled.contains("1,234") && filled.contains("P1 is reminded") && filled.contains("http://127.0.0.1:8642")
        );
    }
}
