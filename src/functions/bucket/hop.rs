//! Overlapping buckets: one of some width begins at every line of a slide.
//!
//! All starts and ends lie on the lines of a third, narrower width, the pane: every bucket is made of whole panes. So who
//! aggregates by pane has every bucket by merging, and takes each row in once, however many buckets hold it.

use std::fmt;

use super::{DAY_MS, Date, Unit, Width, Zone};

/// In how many buckets one instant may lie. Beyond it a width is written in the wrong unit more likely than meant.
pub const BUCKETS_MAX: i64 = 20_000;

/// Overlapping buckets.
///
/// A bucket begins where a bucket of the slide's width does. Widths in days and months end at the same clock time so many
/// days or months later, or at the beginning of the month after where that day does not exist. Widths of the clock are so many whole panes long: as long as
/// the width, but for days on which the clock is changed, where pane after pane is a little longer or shorter, as buckets of
/// `tumble` are. With equal slide and width these are the buckets of `tumble`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    slide: Width,
    width: Width,
    pane: Width,
}

/// Why two widths make no overlapping buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("each instant would lie in {0} buckets, and at most {BUCKETS_MAX} are possible")]
pub struct TooManyBuckets(i64);

impl Hop {
    /// Buckets of `width`, one at each line of `slide`.
    pub fn new(slide: Width, width: Width) -> Result<Self, TooManyBuckets> {
        let hop = Self { slide, width, pane: pane(slide, width) };
        match hop.overlap() {
            n if n > BUCKETS_MAX => Err(TooManyBuckets(n)),
            _ => Ok(hop),
        }
    }

    /// Slide and width.
    pub fn widths(self) -> (Width, Width) {
        (self.slide, self.width)
    }

    /// In how many buckets an instant lies at most, days and months of usual length.
    pub fn overlap(self) -> i64 {
        let longest = self.width.at_most();
        longest.saturating_sub(1) / self.slide.at_least().max(1) + 1
    }

    /// The width of the panes.
    pub fn pane(self) -> Width {
        self.pane
    }

    /// The end of the bucket that begins at a line of the slide (both in milliseconds).
    pub fn end_of(self, start_ms: i64, zone: impl Into<Zone>) -> i64 {
        let zone = zone.into();
        let line = || {
            let (reached, _) = self.slide.clock_reached(start_ms, zone);
            self.slide.line_before(reached)
        };
        let end = match self.width.0 {
            Unit::Days(n) => zone.first_instant_at(line().saturating_add(n.saturating_mul(DAY_MS))),
            Unit::Months(n) => zone.first_instant_at(months_later(line(), n)),
            Unit::Clock(width) => {
                let end = self.panes_after(start_ms, width, zone);
                // An hour that occurs twice must not open a gap between buckets that follow one another.
                let covers = !matches!(self.slide.0, Unit::Months(_)) && width >= self.slide.at_least();
                if covers { end.max(self.slide.end_of(start_ms, zone)) } else { end }
            }
        };
        end.max(start_ms.saturating_add(1))
    }

    /// The end of as many panes from a start as make a width of the clock.
    fn panes_after(self, start_ms: i64, width: i64, zone: Zone) -> i64 {
        let Unit::Clock(pane) = self.pane.0 else { return start_ms.saturating_add(width) };
        let plain = start_ms.saturating_add(width);
        let is_steady = zone.offset_ms(start_ms) == zone.offset_ms(plain)
            && zone.set_back_before(start_ms).is_none()
            && zone.set_back_before(plain).is_none();
        if is_steady {
            return plain;
        }
        (0..width / pane.max(1)).fold(start_ms, |end, _| self.pane.end_of(end, zone))
    }

    /// The starts of the buckets that hold an instant, ascending.
    pub fn starts_of(self, instant_ms: i64, zone: impl Into<Zone>) -> Vec<i64> {
        let zone = zone.into();
        let mut starts = Vec::new();
        let mut start = self.slide.start_of(instant_ms, zone);
        // A day more than usual lies in a few buckets more.
        for _ in 0..self.overlap() + 64 {
            if self.end_of(start, zone) <= instant_ms {
                break;
            }
            starts.push(start);
            start = self.slide.start_of(start.saturating_sub(1), zone);
        }
        starts.reverse();
        starts
    }

    /// The end of the last bucket that holds an instant; none where it lies in none, as between buckets that are shorter than
    /// the slide.
    pub fn last_end(self, instant_ms: i64, zone: impl Into<Zone>) -> Option<i64> {
        let zone = zone.into();
        let end = self.end_of(self.slide.start_of(instant_ms, zone), zone);
        (end > instant_ms).then_some(end)
    }

    /// The start of the bucket that begins next after one.
    pub fn next_start(self, start_ms: i64, zone: impl Into<Zone>) -> i64 {
        self.slide.end_of(start_ms, zone)
    }
}

impl Width {
    /// The instant that lies so much later, days and months at the same clock time (both in milliseconds).
    pub fn after(self, instant_ms: i64, zone: impl Into<Zone>) -> i64 {
        let zone = zone.into();
        let local = || zone.local_ms(instant_ms);
        let after = match self.0 {
            Unit::Clock(ms) => instant_ms.saturating_add(ms),
            Unit::Days(n) => zone.first_instant_at(local().saturating_add(n.saturating_mul(DAY_MS))),
            Unit::Months(n) => zone.first_instant_at(add_months(local(), n)),
        };
        after.max(instant_ms.saturating_add(1))
    }

    /// Milliseconds of the width, at least.
    fn at_least(self) -> i64 {
        match self.0 {
            Unit::Clock(ms) => ms,
            Unit::Days(n) => n.saturating_mul(DAY_MS),
            Unit::Months(n) => n.saturating_mul(28 * DAY_MS),
        }
    }

    /// Milliseconds of the width, at most.
    fn at_most(self) -> i64 {
        match self.0 {
            Unit::Months(n) => n.saturating_mul(31 * DAY_MS),
            _ => self.at_least(),
        }
    }
}

/// A local time so many months later; where its day does not exist, the beginning of the month after. So of two local times
/// the later one stays no earlier.
fn months_later(local_ms: i64, n: i64) -> i64 {
    let date = Date::from_days(local_ms.div_euclid(DAY_MS));
    let later = date.add_months(n);
    if later.day == date.day {
        return later.to_days().saturating_mul(DAY_MS).saturating_add(local_ms.rem_euclid(DAY_MS));
    }
    Date { month_idx: later.month_idx.saturating_add(1), day: 1 }.to_days().saturating_mul(DAY_MS)
}

/// A local time so many months later, on the last day of a shorter month.
fn add_months(local_ms: i64, n: i64) -> i64 {
    let days = Date::from_days(local_ms.div_euclid(DAY_MS)).add_months(n).to_days();
    days.saturating_mul(DAY_MS).saturating_add(local_ms.rem_euclid(DAY_MS))
}

/// The widest width on whose lines all buckets begin and end.
fn pane(slide: Width, width: Width) -> Width {
    let unit = match (slide.0, width.0) {
        (Unit::Clock(a), Unit::Clock(b)) => Unit::Clock(gcd(a, b)),
        (Unit::Clock(clock), _) => Unit::Clock(gcd(clock, DAY_MS)),
        (_, Unit::Clock(clock)) => Unit::Clock(gcd(clock, DAY_MS)),
        (Unit::Days(a), Unit::Days(b)) => {
            let both = Width(Unit::Days(gcd(a, b)));
            if both.nests_in(slide) { both.0 } else { Unit::Days(1) }
        }
        (Unit::Months(a), Unit::Months(b)) => Unit::Months(gcd(a, b)),
        (Unit::Days(_), Unit::Months(_)) | (Unit::Months(_), Unit::Days(_)) => Unit::Days(1),
    };
    Width(unit)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} every {}", self.width, self.slide)
    }
}

#[cfg(test)]
mod tests;
