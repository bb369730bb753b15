//! Time buckets on a zone's clock and calendar: where the bucket of an instant starts and ends.
//!
//! Bucket lines are drawn on the local clock: every `n` milliseconds from 1970-01-01T00:00 local, at midnights, or on the
//! first of months. A bucket reaches from the first instant at which the clock shows its line to the first at which it shows
//! the next, so each instant lies in exactly one bucket: a day with a daylight-saving change has 23 or 25 hours, a line in a
//! gap is the instant after the gap. Where the clock is set back by at least a bucket's width, the buckets it passes a second
//! time are buckets of their own: 02:00 occurs twice as an hour, each an hour long, but once as a quarter of a day.

mod hop;

use std::fmt;

use datafusion::scalar::ScalarValue;

use super::civil::{DAY_MS, Date};
use super::zone::{Clock, SetBack, Zone};
pub use hop::{BUCKETS_MAX, Hop, TooManyBuckets};

/// How wide a bucket is: a part of the clock, days, or months.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Width(Unit);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    /// Milliseconds of the local clock, at least 1.
    Clock(i64),
    /// Days, at least 1: multiples of a week start on Monday, others are counted from 1970-01-01.
    Days(i64),
    /// Months, at least 1, counted from January of year 0, so that quarters and years are the calendar's.
    Months(i64),
}

/// Why an interval is no bucket width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WidthError {
    /// The argument is no interval, or null.
    #[error("a bucket's width must be an interval such as INTERVAL '1 month'")]
    NotAnInterval,
    /// Zero or negative.
    #[error("a bucket's width must be positive")]
    NotPositive,
    /// A month has no fixed number of days, nor a day of hours.
    #[error("a bucket's width must be in months, in days, or in hours and smaller units, not in a mixture of them")]
    Mixed,
    /// Timestamps have milliseconds.
    #[error("a bucket's width must be a whole number of milliseconds")]
    BelowMillisecond,
}

impl Width {
    /// Takes the width from an INTERVAL literal.
    pub fn parse(interval: &ScalarValue) -> Result<Self, WidthError> {
        let (months, days, nanos) = match interval {
            ScalarValue::IntervalMonthDayNano(Some(i)) => (i.months, i.days, i.nanoseconds),
            ScalarValue::IntervalDayTime(Some(i)) => (0, i.days, i64::from(i.milliseconds) * 1_000_000),
            ScalarValue::IntervalYearMonth(Some(months)) => (*months, 0, 0),
            _ => return Err(WidthError::NotAnInterval),
        };
        let unit = match (months, days, nanos) {
            (0, 0, nanos) if nanos % 1_000_000 != 0 => return Err(WidthError::BelowMillisecond),
            (0, 0, nanos) => Unit::Clock(nanos / 1_000_000),
            (0, days, 0) => Unit::Days(days.into()),
            (months, 0, 0) => Unit::Months(months.into()),
            _ => return Err(WidthError::Mixed),
        };
        let (Unit::Clock(n) | Unit::Days(n) | Unit::Months(n)) = unit;
        if n > 0 { Ok(Self(unit)) } else { Err(WidthError::NotPositive) }
    }

    /// The width of what `date_trunc` cuts to, if its first argument is a known unit.
    pub fn of_date_trunc(unit: &str) -> Option<Self> {
        Some(Self(match unit.to_ascii_lowercase().as_str() {
            "millisecond" => Unit::Clock(1),
            "second" => Unit::Clock(1_000),
            "minute" => Unit::Clock(60_000),
            "hour" => Unit::Clock(3_600_000),
            "day" => Unit::Days(1),
            "week" => Unit::Days(7),
            "month" => Unit::Months(1),
            "quarter" => Unit::Months(3),
            "year" => Unit::Months(12),
            _ => return None,
        }))
    }

    /// The interval that [`Width::parse`] reads as this width.
    pub fn interval(self) -> ScalarValue {
        let (months, days, ms) = match self.0 {
            Unit::Clock(ms) => (0, 0, ms),
            Unit::Days(n) => (0, n, 0),
            Unit::Months(n) => (n, 0, 0),
        };
        let whole = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
        ScalarValue::new_interval_mdn(whole(months), whole(days), ms.saturating_mul(1_000_000))
    }

    /// Whether each bucket of this width lies in one bucket of another width.
    pub fn nests_in(self, other: Self) -> bool {
        match (self.0, other.0) {
            (Unit::Clock(width), Unit::Clock(wider)) => wider % width == 0,
            // Lines of the clock are counted from a midnight, so they fall on all others, too.
            (Unit::Clock(width), Unit::Days(_) | Unit::Months(_)) => DAY_MS % width == 0,
            (Unit::Days(1), Unit::Days(_) | Unit::Months(_)) => true,
            // Weeks are not counted from the same day as other numbers of days.
            (Unit::Days(n), Unit::Days(more)) => more % n == 0 && (n % 7 == 0) == (more % 7 == 0),
            (Unit::Months(n), Unit::Months(more)) => more % n == 0,
            (Unit::Days(_), Unit::Clock(_) | Unit::Months(_)) | (Unit::Months(_), Unit::Clock(_) | Unit::Days(_)) => {
                false
            }
        }
    }

    /// The start of the bucket that holds an instant (milliseconds since the Unix epoch).
    ///
    /// The result is at or before the instant, and is the start of its own bucket.
    pub fn start_of(self, instant_ms: i64, zone: impl Into<Zone>) -> i64 {
        let zone = zone.into();
        let (reached, again_from) = self.clock_reached(instant_ms, zone);
        let line = self.line_before(reached);
        let first = zone.first_instant_at(line);
        let start = match again_from {
            Some(set_back) if first < set_back => line.saturating_sub(zone.offset_ms(instant_ms)).max(set_back),
            _ => first,
        };
        start.min(instant_ms)
    }

    /// The end of the bucket that holds an instant, which is the start of the next bucket (both in milliseconds).
    pub fn end_of(self, start_ms: i64, zone: impl Into<Zone>) -> i64 {
        let zone = zone.into();
        let (reached, _) = self.clock_reached(start_ms, zone);
        let line = self.line_after(self.line_before(reached));
        let mut end = zone.first_instant_at(line);
        if end <= start_ms {
            // The clock showed this line before it was set back; now it comes to it again.
            end = line.saturating_sub(zone.offset_ms(start_ms));
        }
        match zone.set_back_between(start_ms, end.saturating_sub(1)) {
            Some(set_back) if self.repeats_after(set_back) => set_back.at_ms.min(end),
            _ => end,
        }
        .max(start_ms.saturating_add(1))
    }

    /// The greatest local time that the clock has shown up to an instant; if it passes buckets again that it had passed
    /// before it was set back, since when.
    fn clock_reached(self, instant_ms: i64, zone: Zone) -> (i64, Option<i64>) {
        let local = zone.local_ms(instant_ms);
        match zone.set_back_before(instant_ms) {
            None => (local, None),
            Some(set_back) if self.repeats_after(set_back) => (local, Some(set_back.at_ms)),
            Some(set_back) => {
                let shown_before = zone.local_ms(set_back.at_ms.saturating_sub(1));
                (local.max(shown_before), None)
            }
        }
    }

    fn repeats_after(self, set_back: SetBack) -> bool {
        matches!(self.0, Unit::Clock(width) if width <= set_back.by_ms)
    }

    /// The last bucket line at or before a local time.
    fn line_before(self, local_ms: i64) -> i64 {
        match self.0 {
            Unit::Clock(width) => local_ms.saturating_sub(local_ms.rem_euclid(width)),
            Unit::Days(n) => {
                // 1970-01-05 was a Monday.
                let origin = if n % 7 == 0 { 4 } else { 0 };
                let day = local_ms.div_euclid(DAY_MS);
                (day - (day - origin).rem_euclid(n)).saturating_mul(DAY_MS)
            }
            Unit::Months(n) => {
                let month_idx = Date::from_days(local_ms.div_euclid(DAY_MS)).month_idx;
                Date { month_idx: month_idx - month_idx.rem_euclid(n), day: 1 }.to_days().saturating_mul(DAY_MS)
            }
        }
    }

    /// The bucket line that follows a bucket line.
    fn line_after(self, line_ms: i64) -> i64 {
        match self.0 {
            Unit::Clock(width) => line_ms.saturating_add(width),
            Unit::Days(n) => line_ms.saturating_add(n.saturating_mul(DAY_MS)),
            Unit::Months(n) => {
                let month_idx = Date::from_days(line_ms.div_euclid(DAY_MS)).month_idx;
                Date { month_idx: month_idx + n, day: 1 }.to_days().saturating_mul(DAY_MS)
            }
        }
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unit::Clock(ms) => write!(f, "{ms} ms"),
            Unit::Days(n) => write!(f, "{n} days"),
            Unit::Months(n) => write!(f, "{n} months"),
        }
    }
}

/// The number of buckets that are remembered besides the last one.
const N_RECENT: usize = 8;

/// Buckets for a column of instants: remembers the last buckets, because neighbours mostly share one.
#[derive(Debug)]
pub struct Buckets {
    width: Width,
    zone: Zone,
    clock: Clock,
    last: (i64, i64),
    recent: [(i64, i64); N_RECENT],
    next_recent: usize,
}

impl Buckets {
    /// Buckets of one width on one zone.
    pub fn new(width: Width, zone: impl Into<Zone>) -> Self {
        let zone = zone.into();
        // (0, 0) holds no instant.
        Self { width, zone, clock: Clock::new(zone), last: (0, 0), recent: [(0, 0); N_RECENT], next_recent: 0 }
    }

    /// Start and end of the bucket that holds an instant, as [`Width::start_of`] and [`Width::end_of`] say.
    #[inline]
    pub fn of(&mut self, instant_ms: i64) -> (i64, i64) {
        if self.last.0 <= instant_ms && instant_ms < self.last.1 { self.last } else { self.look_up(instant_ms) }
    }

    /// The start of the bucket of each instant.
    pub fn starts(&mut self, instants_ms: &[i64]) -> Vec<i64> {
        instants_ms.iter().map(|t| self.of(*t).0).collect()
    }

    /// The end of the bucket of each instant.
    pub fn ends(&mut self, instants_ms: &[i64]) -> Vec<i64> {
        instants_ms.iter().map(|t| self.of(*t).1).collect()
    }

    #[inline(never)]
    fn look_up(&mut self, instant_ms: i64) -> (i64, i64) {
        if let Some(bucket) = self.within_steady_days(instant_ms) {
            self.last = bucket;
        } else if let Some(bucket) = self.recent.iter().find(|(from, until)| *from <= instant_ms && instant_ms < *until)
        {
            self.last = *bucket;
        } else {
            let start = self.width.start_of(instant_ms, self.zone);
            self.last = (start, self.width.end_of(start, self.zone));
            if let Some(slot) = self.recent.get_mut(self.next_recent) {
                *slot = self.last;
            }
            self.next_recent = (self.next_recent + 1) % N_RECENT;
        }
        self.last
    }

    /// The bucket by plain arithmetic, if it lies in days without a change of the offset.
    fn within_steady_days(&mut self, instant_ms: i64) -> Option<(i64, i64)> {
        if matches!(self.width.0, Unit::Months(_)) {
            return None;
        }
        let (from, until, offset) = self.clock.steady_around(instant_ms)?;
        let line = self.width.line_before(instant_ms.saturating_add(offset));
        let bucket = (line.saturating_sub(offset), self.width.line_after(line).saturating_sub(offset));
        (from <= bucket.0 && bucket.1 <= until).then_some(bucket)
    }
}

#[cfg(test)]
mod tests;
