//! Timestamps and dates as text: RFC 3339 with milliseconds, and `YYYY-MM-DD`.

use chrono::{DateTime, Datelike, NaiveDate, Offset, TimeZone};
use chrono_tz::Tz;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
/// Days from 0001-01-01, which is day 1, to 1970-01-01.
const EPOCH_DAYS_FROM_CE: i64 = 719_163;

/// Reads `2024-05-01T08:00:00.123+08:00` as milliseconds since the Unix epoch.
///
/// `t`, a space and `z` are taken too, fractions of any length are cut to milliseconds. A leap second is the second after it.
pub(in crate::format) fn parse_instant(text: &str) -> Option<i64> {
    let (local, rest) = local_time(text.as_bytes())?;
    let offset_minutes = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two_digits(*h1, *h2)?, two_digits(*m1, *m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    Some(local - offset_minutes * 60_000)
}

/// Reads `2024-05-01T08:00:00.123`, without offset, as milliseconds since 1970-01-01T00:00 on the same clock.
pub(in crate::format) fn parse_local(text: &str) -> Option<i64> {
    local_time(text.as_bytes()).and_then(|(local, rest)| rest.is_empty().then_some(local))
}

/// Reads `2024-05-01` as days since 1970-01-01.
pub(in crate::format) fn parse_date(text: &str) -> Option<i64> {
    text.as_bytes().as_array::<10>().and_then(date)
}

fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

#[inline]
fn date(text: &[u8; 10]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let year = two_digits(y1, y2)? * 100 + two_digits(y3, y4)?;
    let date = NaiveDate::from_ymd_opt(year as i32, two_digits(m1, m2)? as u32, two_digits(d1, d2)? as u32)?;
    Some(i64::from(date.num_days_from_ce()) - EPOCH_DAYS_FROM_CE)
}

/// Date and time of day in milliseconds, and what follows them.
#[inline]
fn local_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (day, time) = text.split_first_chunk::<10>()?;
    let ([separator, h1, h2, b':', m1, m2, b':', s1, s2], rest) = time.split_first_chunk::<9>()? else { return None };
    let (hour, minute, second) = (two_digits(*h1, *h2)?, two_digits(*m1, *m2)?, two_digits(*s1, *s2)?);
    if !matches!(separator, b'T' | b't' | b' ') || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_ms, rest) = match rest.split_first() {
        Some((b'.', fraction)) => {
            let n_digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            let (digits, rest) = fraction.split_at_checked(n_digits)?;
            if digits.is_empty() {
                return None;
            }
            let ms = (0..3).fold(0, |ms, i| ms * 10 + i64::from(digits.get(i).map_or(0, |d| d - b'0')));
            (ms, rest)
        }
        _ => (0, rest),
    };
    Some((date(day)? * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms, rest))
}

/// Writes timestamps with the offset of a zone; remembers the offset of the last hour, which neighbours mostly share.
#[derive(Clone, Debug)]
pub(in crate::format) struct InstantWriter {
    zone: Tz,
    hour: i64,
    offset_ms: i64,
}

impl InstantWriter {
    pub fn new(zone: Tz) -> Self {
        Self { zone, hour: i64::MIN, offset_ms: 0 }
    }

    /// Appends `2024-05-01T08:00:00.000+08:00`, or nothing outside the years 0 to 9999, which RFC 3339 cannot express.
    ///
    /// Where the offset is no whole number of minutes (before zones were introduced), or the local year cannot be
    /// expressed, the timestamp is written in UTC.
    pub fn write(&mut self, instant_ms: i64, out: &mut Vec<u8>) -> bool {
        let offset_ms = self.offset_ms(instant_ms);
        let at = out.len();
        if offset_ms % 60_000 == 0 && write_local(instant_ms.saturating_add(offset_ms), out) {
            let minutes = offset_ms.abs() / 60_000;
            out.push(if offset_ms < 0 { b'-' } else { b'+' });
            push_digits(minutes / 60, 2, out);
            out.push(b':');
            push_digits(minutes % 60, 2, out);
            return true;
        }
        out.truncate(at);
        let written = write_local(instant_ms, out);
        if written {
            out.extend_from_slice(b"+00:00");
        }
        written
    }

    fn offset_ms(&mut self, instant_ms: i64) -> i64 {
        let hour = instant_ms.div_euclid(HOUR_MS);
        if hour == self.hour {
            return self.offset_ms;
        }
        let offset_at = |ms: i64| {
            DateTime::from_timestamp(ms.div_euclid(1000), 0).map_or(0, |utc| {
                i64::from(self.zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()) * 1000
            })
        };
        let offset_ms = offset_at(instant_ms);
        let hour_ms = hour.saturating_mul(HOUR_MS);
        if offset_at(hour_ms) == offset_ms && offset_at(hour_ms.saturating_add(HOUR_MS - 1)) == offset_ms {
            (self.hour, self.offset_ms) = (hour, offset_ms);
        }
        offset_ms
    }
}

/// Appends `2024-05-01T08:00:00.000`, or nothing outside the years 0 to 9999.
pub(in crate::format) fn write_local(local_ms: i64, out: &mut Vec<u8>) -> bool {
    if !write_date(local_ms.div_euclid(DAY_MS), out) {
        return false;
    }
    let ms = local_ms.rem_euclid(DAY_MS);
    for (separator, value, n_digits) in
        [(b'T', ms / HOUR_MS, 2), (b':', ms / 60_000 % 60, 2), (b':', ms / 1000 % 60, 2), (b'.', ms % 1000, 3)]
    {
        out.push(separator);
        push_digits(value, n_digits, out);
    }
    true
}

/// Appends `2024-05-01`, or nothing outside the years 0 to 9999.
pub(in crate::format) fn write_date(days: i64, out: &mut Vec<u8>) -> bool {
    let date =
        i32::try_from(days.saturating_add(EPOCH_DAYS_FROM_CE)).ok().and_then(NaiveDate::from_num_days_from_ce_opt);
    let Some(date) = date.filter(|d| (0..=9999).contains(&d.year())) else { return false };
    push_digits(date.year().into(), 4, out);
    out.push(b'-');
    push_digits(date.month().into(), 2, out);
    out.push(b'-');
    push_digits(date.day().into(), 2, out);
    true
}

fn push_digits(value: i64, n_digits: u32, out: &mut Vec<u8>) {
    for power in (0..n_digits).rev() {
        out.push(b'0' + (value / 10_i64.pow(power) % 10) as u8);
    }
}

#[cfg(test)]
mod tests;
