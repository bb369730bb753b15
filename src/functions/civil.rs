//! The proleptic Gregorian calendar on plain integers: total, without a range in which it fails.
//!
//! The algorithms are those of Howard Hinnant's "chrono-compatible low-level date algorithms".

/// Milliseconds of a day without daylight-saving change.
pub(super) const DAY_MS: i64 = 86_400_000;

/// A calendar date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Date {
    /// Months since January of year 0.
    pub month_idx: i64,
    /// Day of the month, from 1.
    pub day: i64,
}

impl Date {
    /// The date of a day counted from 1970-01-01.
    pub fn from_days(days: i64) -> Self {
        let z = days.saturating_add(719_468);
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        // The computed year begins in March, so January is its month 10.
        Self { month_idx: (year_of_era + era * 400) * 12 + march_month + 2, day }
    }

    /// Days since 1970-01-01.
    pub fn to_days(self) -> i64 {
        let from_march = self.month_idx.saturating_sub(2);
        let (year, march_month) = (from_march.div_euclid(12), from_march.rem_euclid(12));
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * march_month + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era.saturating_mul(146_097).saturating_add(day_of_era - 719_468)
    }

    /// The year; year 0 is 1 BC.
    pub fn year(self) -> i64 {
        self.month_idx.div_euclid(12)
    }

    /// The month of the year, from 1.
    pub fn month(self) -> i64 {
        self.month_idx.rem_euclid(12) + 1
    }

    /// The same day `n` months later, or the last day of that month if it is shorter.
    pub fn add_months(self, n: i64) -> Self {
        let month_idx = self.month_idx.saturating_add(n);
        let first = Self { month_idx, day: 1 };
        let length = Self { month_idx: month_idx.saturating_add(1), day: 1 }.to_days() - first.to_days();
        Self { month_idx, day: self.day.min(length.max(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate};

    #[test]
    fn dates_agree_with_chrono_from_year_minus_1000_to_10000() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for days in (-1_084_000..2_933_000).step_by(7).chain(-800..800) {
            let expected = epoch + chrono::TimeDelta::days(days);
            let date = Date::from_days(days);
            assert_eq!(
                (date.year(), date.month(), date.day),
                (i64::from(expected.year()), i64::from(expected.month()), i64::from(expected.day()))
            );
            assert_eq!(date.to_days(), days);
        }
    }

    #[test]
    fn extreme_values_do_not_overflow() {
        for days in [i64::MIN, i64::MIN / DAY_MS, i64::MAX / DAY_MS, i64::MAX] {
            let date = Date::from_days(days);
            date.to_days();
            date.add_months(i64::MAX).to_days();
            date.add_months(i64::MIN).to_days();
        }
    }
}
