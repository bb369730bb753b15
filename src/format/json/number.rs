//! JSON numbers as exact integers and decimals.

/// A number in JSON's grammar times 10^`scale`, rounded half away from zero; tells whether nothing was cut.
///
/// None if the result does not fit into 128 bits.
pub(in crate::format) fn scaled(number: &str, scale: i32) -> Option<(i128, bool)> {
    let (negative, unsigned) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = [whole, fraction].concat();
    let digits = all_digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some((0, true));
    }
    let exponent =
        exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 });
    let shift = exponent
        .saturating_sub(fraction.len() as i64)
        .saturating_add((digits.len() - significant.len()) as i64)
        .saturating_add(scale.into());
    let (magnitude, exact) = if shift >= 0 {
        let power = 10_i128.checked_pow(u32::try_from(shift).ok()?)?;
        (significant.parse::<i128>().ok()?.checked_mul(power)?, true)
    } else {
        let n_cut = usize::try_from(shift.unsigned_abs()).unwrap_or(usize::MAX);
        if n_cut > significant.len() {
            (0, false)
        } else {
            let (kept, cut) = significant.split_at(significant.len() - n_cut);
            let kept = if kept.is_empty() { 0 } else { kept.parse::<i128>().ok()? };
            let round_up = cut.as_bytes().first().is_some_and(|d| *d >= b'5');
            (kept.checked_add(i128::from(round_up))?, false)
        }
    };
    Some((if negative { -magnitude } else { magnitude }, exact))
}

/// The integer that a number in JSON's grammar is, also if it is written as `1.0` or `1e3`.
#[inline]
pub(in crate::format) fn integer(number: &str) -> Option<i128> {
    if let Ok(small) = number.parse::<i64>() {
        return Some(small.into());
    }
    scaled(number, 0).and_then(|(value, exact)| exact.then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_may_be_written_with_a_fraction_of_zero_or_an_exponent() {
        assert_eq!(integer("1.0"), Some(1));
        assert_eq!(integer("-12.00"), Some(-12));
        assert_eq!(integer("1.2e3"), Some(1200));
        assert_eq!(integer("1200e-2"), Some(12));
        assert_eq!(integer("-0"), Some(0));
        assert_eq!(integer("0e99999999999999999999"), Some(0));
        assert_eq!(integer("9007199254740993.0"), Some(9_007_199_254_740_993));
        assert_eq!(integer("1.5"), None);
        assert_eq!(integer("1.00000000000000000000000000001"), None);
        assert_eq!(integer("1e99999999999999999999"), None);
        assert_eq!(integer("1e-99999999999999999999"), None);
    }

    #[test]
    fn decimals_are_rounded_half_away_from_zero() {
        assert_eq!(scaled("12.345", 2), Some((1235, false)));
        assert_eq!(scaled("-12.345", 2), Some((-1235, false)));
        assert_eq!(scaled("0.005", 2), Some((1, false)));
        assert_eq!(scaled("0.0049", 2), Some((0, false)));
        assert_eq!(scaled("12.3", 2), Some((1230, true)));
        assert_eq!(scaled("1e-400", 2), Some((0, false)));
        assert_eq!(scaled("1e39", 0), None);
    }
}
