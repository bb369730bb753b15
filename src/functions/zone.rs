//! Time zones as calendar functions need them: offsets that never fail, and instants of local clock times.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::civil::DAY_MS;

/// The first instant that calendar functions take: 0001-01-01T00:00:00Z.
pub(super) const INSTANT_MS_MIN: i64 = -62_135_596_800_000;
/// The last instant that calendar functions take: 9999-12-31T23:59:59.999Z.
pub(super) const INSTANT_MS_MAX: i64 = 253_402_300_799_999;

const HOUR_MS: i64 = 3_600_000;
/// No offset in the time-zone database is further from UTC.
const OFFSET_MS_MAX: i64 = 16 * HOUR_MS;
/// How long the shadow of a clock set back may be: no transition since 1970 sets it back further.
const LOOKBACK_MS: i64 = 36 * HOUR_MS;
/// The span within which offsets are remembered. No zone changes its offset there and back in so short a time.
const BLOCK_MS: i64 = 8 * DAY_MS;

/// The zone of a calendar computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zone {
    /// A zone of the IANA database.
    Named(Tz),
    /// A fixed offset from UTC in milliseconds.
    Fixed(i64),
}

impl From<Tz> for Zone {
    fn from(tz: Tz) -> Self {
        Self::Named(tz)
    }
}

impl Zone {
    /// Reads a zone as Arrow names it: `Asia/Shanghai`, `+08:00`, `+0800` or `+08`.
    pub fn parse(name: &str) -> Option<Self> {
        let sign = match name.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return name.parse().ok().map(Self::Named),
        };
        let digits: Vec<i64> =
            name.get(1..)?.chars().filter(|c| *c != ':').map(|c| c.to_digit(10).map(i64::from)).collect::<Option<_>>()?;
        let minutes = match digits.as_slice() {
            [a, b] => (a * 10 + b) * 60,
            [a, b, c, d] => (a * 10 + b) * 60 + c * 10 + d,
            _ => return None,
        };
        Some(Self::Fixed(sign * minutes * 60_000))
    }

    /// Milliseconds by which the local clock is ahead of UTC at an instant.
    ///
    /// Instants outside the years 1 to 9999 have the offset of the first or last instant within.
    pub fn offset_ms(self, instant_ms: i64) -> i64 {
        match self {
            Self::Fixed(offset) => offset,
            Self::Named(tz) => {
                let seconds = instant_ms.clamp(INSTANT_MS_MIN, INSTANT_MS_MAX).div_euclid(1000);
                DateTime::from_timestamp(seconds, 0).map_or(0, |utc| {
                    i64::from(tz.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()) * 1000
                })
            }
        }
    }

    /// The local clock at an instant, as milliseconds since 1970-01-01T00:00 local.
    pub fn local_ms(self, instant_ms: i64) -> i64 {
        instant_ms.saturating_add(self.offset_ms(instant_ms))
    }

    /// The earliest instant at which the local clock shows `local_ms` or later.
    ///
    /// So a time in a gap becomes the instant after the gap, and an ambiguous one the earlier of its two instants.
    pub fn first_instant_at(self, local_ms: i64) -> i64 {
        let (from, until) = (local_ms.saturating_sub(OFFSET_MS_MAX), local_ms.saturating_add(OFFSET_MS_MAX));
        let (before, after) = (self.offset_ms(from), self.offset_ms(until));
        let by_old_offset = local_ms.saturating_sub(before);
        if before == after {
            return by_old_offset;
        }
        let change = self.change_between(from, until);
        if by_old_offset < change { by_old_offset } else { local_ms.saturating_sub(after).max(change) }
    }

    /// If the clock was set back shortly before an instant: when that was, and by how much.
    pub(super) fn set_back_before(self, instant_ms: i64) -> Option<SetBack> {
        let earlier = instant_ms.saturating_sub(LOOKBACK_MS);
        self.set_back_between(earlier, instant_ms)
    }

    /// If the clock is ahead at `from` of what it is at `until`: when it was set back, and by how much.
    pub(super) fn set_back_between(self, from: i64, until: i64) -> Option<SetBack> {
        let by_ms = self.offset_ms(from) - self.offset_ms(until);
        (by_ms > 0).then(|| SetBack { at_ms: self.change_between(from, until), by_ms })
    }

    /// The first instant in (from, until] whose offset is not that of `from`; the caller knows that there is one change.
    fn change_between(self, from: i64, until: i64) -> i64 {
        let offset = self.offset_ms(from);
        let (mut same, mut changed) = (from, until);
        while changed.saturating_sub(same) > 1 {
            let middle = same + (changed - same) / 2;
            if self.offset_ms(middle) == offset { same = middle } else { changed = middle }
        }
        changed
    }
}

/// A moment at which the local clock was set back.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetBack {
    /// The first instant of the new offset.
    pub at_ms: i64,
    /// By how many milliseconds.
    pub by_ms: i64,
}

/// A zone that remembers the offset of the last days it was asked for, for columns in which neighbours lie close.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    zone: Zone,
    from: i64,
    until: i64,
    offset: i64,
}

impl Clock {
    pub fn new(zone: Zone) -> Self {
        match zone {
            Zone::Fixed(offset) => Self { zone, from: i64::MIN, until: i64::MAX, offset },
            Zone::Named(_) => Self { zone, from: 0, until: 0, offset: 0 },
        }
    }

    /// As [`Zone::offset_ms`].
    #[inline]
    pub fn offset_ms(&mut self, instant_ms: i64) -> i64 {
        if self.from <= instant_ms && instant_ms < self.until { self.offset } else { self.look_up(instant_ms) }
    }

    /// As [`Zone::local_ms`].
    #[inline]
    pub fn local_ms(&mut self, instant_ms: i64) -> i64 {
        instant_ms.saturating_add(self.offset_ms(instant_ms))
    }

    /// The span around an instant in which, and shortly before which, the offset does not change, if there is one.
    pub fn steady_around(&mut self, instant_ms: i64) -> Option<(i64, i64, i64)> {
        self.offset_ms(instant_ms);
        (self.from <= instant_ms && instant_ms < self.until).then_some((self.from, self.until, self.offset))
    }

    #[cold]
    fn look_up(&mut self, instant_ms: i64) -> i64 {
        let offset = self.zone.offset_ms(instant_ms);
        let from = instant_ms.saturating_sub(instant_ms.rem_euclid(BLOCK_MS));
        let until = from.saturating_add(BLOCK_MS);
        if self.zone.offset_ms(from.saturating_sub(LOOKBACK_MS)) == offset && self.zone.offset_ms(until) == offset {
            (self.from, self.until, self.offset) = (from, until, offset);
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    /// What `first_instant_at`, `set_back_before` and `Clock` rest on.
    #[test]
    fn no_zone_changes_its_offset_twice_within_ten_days_since_1970() {
        let (step, end) = (DAY_MS / 2, 70 * 365 * DAY_MS);
        for tz in chrono_tz::TZ_VARIANTS {
            let zone = Zone::Named(tz);
            let mut last = i64::MIN;
            let mut offset = zone.offset_ms(0);
            for instant in (0..end).step_by(step as usize) {
                let now = zone.offset_ms(instant);
                if now != offset {
                    assert!(instant.saturating_sub(last) > 11 * DAY_MS, "{tz} {instant}");
                    assert!(offset - now <= 12 * HOUR_MS, "{tz} {instant}");
                    (offset, last) = (now, instant);
                }
            }
        }
    }

    fn ms(tz: Tz, y: i32, mo: u32, d: u32, h: u32, mi: u32) -> Vec<i64> {
        let naive = NaiveDate::from_ymd_opt(y, mo, d).unwrap().and_hms_opt(h, mi, 0).unwrap();
        match tz.from_local_datetime(&naive) {
            chrono::LocalResult::None => vec![],
            chrono::LocalResult::Single(t) => vec![t.timestamp_millis()],
            chrono::LocalResult::Ambiguous(a, b) => vec![a.timestamp_millis(), b.timestamp_millis()],
        }
    }

    #[test]
    fn a_gap_yields_the_instant_after_it_and_an_overlap_the_earlier_instant() {
        let berlin = Zone::Named(Tz::Europe__Berlin);
        let local = |d: &str| d.parse::<chrono::NaiveDateTime>().unwrap().and_utc().timestamp_millis();
        assert_eq!(
            berlin.first_instant_at(local("2026-03-29T02:30:00")),
            ms(Tz::Europe__Berlin, 2026, 3, 29, 3, 0)[0]
        );
        let twice = ms(Tz::Europe__Berlin, 2026, 10, 25, 2, 30);
        assert_eq!(twice.len(), 2);
        assert_eq!(berlin.first_instant_at(local("2026-10-25T02:30:00")), *twice.iter().min().unwrap());
        assert_eq!(Zone::parse("+05:30").unwrap().first_instant_at(0), -19_800_000);
    }

    #[test]
    fn the_clock_agrees_with_the_zone_at_every_hour() {
        for tz in [Tz::Australia__Lord_Howe, Tz::America__Sao_Paulo, Tz::Asia__Kolkata, Tz::America__St_Johns] {
            let zone = Zone::Named(tz);
            let mut clock = Clock::new(zone);
            for instant in (-DAY_MS..70 * 365 * DAY_MS).step_by(HOUR_MS as usize) {
                assert_eq!(clock.offset_ms(instant), zone.offset_ms(instant), "{tz} {instant}");
            }
        }
    }

    #[test]
    fn extreme_instants_do_not_overflow() {
        for instant in [i64::MIN, INSTANT_MS_MIN - 1, INSTANT_MS_MAX + 1, i64::MAX] {
            for zone in [Zone::Named(Tz::Europe__Berlin), Zone::Fixed(3_600_000)] {
                zone.local_ms(instant);
                zone.first_instant_at(instant);
                Clock::new(zone).offset_ms(instant);
            }
        }
    }
}
