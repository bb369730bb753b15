//! Durations as people write them on a command line: `10s`, `500ms`, `2m`.

use std::time::Duration;

/// Reads `10s`, `500ms`, `2m` or `1h`; a bare number is seconds.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let n: u64 = digits.parse().map_err(|_| "write a whole number and a unit, as 10s".to_owned())?;
    let unit_ms = match text.get(digits.len()..) {
        Some("ms") => 1,
        Some("s" | "") => 1_000,
        Some("m" | "min") => 60_000,
        Some("h") => 3_600_000,
        _ => return Err("the unit must be ms, s, m or h".to_owned()),
    };
    n.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        for (text, ms) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("7", 7_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "10 s", "1.5s", "3d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
