//! Durations and rates as options write them: `30 seconds`, `1 hour 30 minutes`, `1000 per minute`.

use std::fmt;

use super::Rate;

/// The units of a fixed length, in milliseconds. Months and years are not among them.
const UNITS: &[(&[&str], i64)] = &[
    (&["ms", "millisecond", "milliseconds"], 1),
    (&["s", "sec", "secs", "second", "seconds"], 1_000),
    (&["min", "mins", "minute", "minutes"], 60_000),
    (&["h", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

const CALENDAR_UNITS: &[&str] = &["mon", "mons", "month", "months", "quarter", "quarters", "y", "year", "years"];

/// Why a text is no duration or rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// A number without a unit behind it.
    #[error("the number {0} has no unit")]
    NoUnit(String),
    /// A unit without a number before it, or a number that is not whole.
    #[error("`{0}` is not a whole number")]
    NotANumber(String),
    /// A word that is no unit.
    #[error("`{0}` is not a unit of time")]
    UnknownUnit(String),
    /// A month, quarter or year.
    #[error("a {0} has no fixed length")]
    Calendar(&'static str),
    /// More milliseconds than an instant can hold.
    #[error("it is longer than time can be represented")]
    TooLong,
    /// A rate without `per`.
    #[error("it does not say `per`")]
    NoPer,
}

impl DurationError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Calendar("month") => "Write days, as '30 days' or '31 days'.",
            Self::Calendar("quarter") => "Write days, as '92 days'.",
            Self::Calendar(_) => "Write days, as '365 days' or '366 days'.",
            Self::NoPer => "Write rows per unit of time, as '1000 per minute'.",
            _ => "Write whole numbers with units from ms to weeks, as '30 seconds' or '1 hour 30 minutes'.",
        }
    }
}

/// Reads a duration: whole numbers with units, added up. The result is in milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<i64, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        if number.is_empty() || after.starts_with(['.', ',']) {
            let word = rest.split_whitespace().next().unwrap_or(rest);
            return Err(DurationError::NotANumber(shorten(word)));
        }
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        if unit.is_empty() && after.is_empty() {
            return Err(DurationError::NoUnit(shorten(number)));
        }
        let unit_ms = unit_ms(if unit.is_empty() { after } else { unit })?;
        let n: i64 = number.parse().map_err(|_| DurationError::TooLong)?;
        total = n.checked_mul(unit_ms).and_then(|ms| total.checked_add(ms)).ok_or(DurationError::TooLong)?;
        rest = after.trim_start();
    }
    // Instants are milliseconds in 64 bits and durations are added to them, so a duration must leave room.
    if total > i64::MAX / 4 { Err(DurationError::TooLong) } else { Ok(total) }
}

/// Reads a rate as `1000 per minute` or `1000/minute`: rows, and the milliseconds in which they may pass.
pub(super) fn parse_rate(text: &str) -> Result<(u64, i64), DurationError> {
    let (rows, unit) = text.split_once('/').or_else(|| text.split_once(" per ")).ok_or(if text.trim().is_empty() {
        DurationError::Empty
    } else {
        DurationError::NoPer
    })?;
    let rows = rows.trim();
    let rows = rows.parse().map_err(|_| DurationError::NotANumber(shorten(rows)))?;
    Ok((rows, unit_ms(unit.trim())?))
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, ms)| *ms == self.per_ms).and_then(|(names, _)| names.iter().rev().nth(1));
        match unit {
            Some(unit) => write!(f, "{} rows per {unit}", self.rows),
            None => write!(f, "{} rows in {} ms", self.rows, self.per_ms),
        }
    }
}

fn unit_ms(word: &str) -> Result<i64, DurationError> {
    let lower = word.to_ascii_lowercase();
    if let Some((_, ms)) = UNITS.iter().find(|(names, _)| names.contains(&lower.as_str())) {
        return Ok(*ms);
    }
    if CALENDAR_UNITS.contains(&lower.as_str()) {
        return Err(DurationError::Calendar(match lower.as_bytes().first() {
            Some(b'm') => "month",
            Some(b'q') => "quarter",
            _ => "year",
        }));
    }
    Err(DurationError::UnknownUnit(shorten(word)))
}

fn shorten(text: &str) -> String {
    text.chars().take(30).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DurationError, Rate, parse_duration_ms, parse_rate};

    #[test]
    fn durations_are_whole_numbers_with_units_added_up() {
        for (text, ms) in [
            ("30 seconds", 30_000),
            ("400 days", 34_560_000_000),
            ("1 hour 30 minutes", 5_400_000),
            ("10 min", 600_000),
            ("500ms", 500),
            ("1h30min", 5_400_000),
            (" 2 Weeks ", 1_209_600_000),
            ("0 s", 0),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_has_no_fixed_length_or_no_unit_is_refused_with_the_reason() {
        assert_eq!(parse_duration_ms("1 month"), Err(DurationError::Calendar("month")));
        assert_eq!(parse_duration_ms("2 Years"), Err(DurationError::Calendar("year")));
        assert_eq!(parse_duration_ms("30"), Err(DurationError::NoUnit("30".into())));
        assert_eq!(parse_duration_ms("seconds"), Err(DurationError::NotANumber("seconds".into())));
        assert_eq!(parse_duration_ms("1.5 hours"), Err(DurationError::NotANumber("1.5".into())));
        assert_eq!(parse_duration_ms("-1 s"), Err(DurationError::NotANumber("-1".into())));
        assert_eq!(parse_duration_ms("3 fortnights"), Err(DurationError::UnknownUnit("fortnights".into())));
        assert_eq!(parse_duration_ms("99999999999999999999 s"), Err(DurationError::TooLong));
        assert_eq!(parse_duration_ms("9999999999999 weeks"), Err(DurationError::TooLong));
        assert_eq!(parse_duration_ms("  "), Err(DurationError::Empty));
    }

    #[test]
    fn rates_are_rows_per_unit() {
        assert_eq!(parse_rate("1000 per minute"), Ok((1000, 60_000)));
        assert_eq!(parse_rate("5/s"), Ok((5, 1_000)));
        assert_eq!(parse_rate("1000"), Err(DurationError::NoPer));
        assert_eq!(parse_rate("5 per month"), Err(DurationError::Calendar("month")));
        for text in [
            "1000 rows per minute",
            "5 rows per second",
            "7 rows per millisecond",
            "2 rows per hour",
            "9 rows per week",
        ] {
            let (rows, per_ms) = parse_rate(&text.replace(" rows", "")).unwrap();
            assert_eq!(Rate { rows, per_ms }.to_string(), text, "it is written as it is read");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*|([0-9]{0,25} ?(days|s|ms|月|month)? ?){0,4}") {
            if let Ok(ms) = parse_duration_ms(&text) {
                prop_assert!(ms >= 0);
            }
            let _ = parse_rate(&text);
        }

        #[test]
        fn a_sum_of_parts_is_read_back(parts in prop::collection::vec((0i64..100_000, 0usize..4), 1..5)) {
            let units = [("seconds", 1_000), ("min", 60_000), ("hour", 3_600_000), ("days", 86_400_000)];
            let text: Vec<_> = parts.iter().map(|&(n, unit)| format!("{n} {}", units[unit].0)).collect();
            let total: i64 = parts.iter().map(|&(n, unit)| n * units[unit].1).sum();
            prop_assert_eq!(parse_duration_ms(&text.join(" ")), Ok(total));
        }
    }
}
