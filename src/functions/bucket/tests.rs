//! Calendar buckets across zones, daylight saving and month ends.

use super::*;
use arrow::datatypes::{IntervalDayTime, IntervalMonthDayNano};
use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Timelike};
use chrono_tz::Tz;
use proptest::prelude::*;

const ZONES: [Tz; 10] = [
    Tz::Asia__Shanghai,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Asia__Kolkata,
    Tz::Australia__Lord_Howe,
    Tz::America__Sao_Paulo,
    Tz::America__St_Johns,
    Tz::Pacific__Apia,
    Tz::Africa__Casablanca,
    Tz::UTC,
];

pub(super) fn zone() -> impl Strategy<Value = Tz> {
    proptest::sample::select(&ZONES[..])
}

/// Instants from 1970 to 2262; half of them within two days of a change of the offset.
pub(super) fn instant() -> impl Strategy<Value = i64> {
    let end = 9_223_372_036_000_i64;
    let near_change = (0..292_i64, 0..12_i64, 0..10 * 24 * 60_i64, 0..60_000_i64).prop_map(|(y, m, minute, ms)| {
        Date { month_idx: (1970 + y) * 12 + m, day: 25 }.to_days() * DAY_MS + minute * 60_000 + ms
    });
    prop_oneof![0..end, near_change]
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![
        proptest::sample::select(vec![
            1_i64,
            7,
            1_000,
            60_000,
            900_000,
            1_800_000,
            3_600_000,
            7_200_000,
            10_800_000,
            18_000_000,
            21_600_000,
            43_200_000,
            86_400_000,
            129_600_000,
            604_800_000,
        ])
        .prop_map(|ms| Width(Unit::Clock(ms))),
        proptest::sample::select(vec![1_i64, 2, 7, 10, 14]).prop_map(|n| Width(Unit::Days(n))),
        proptest::sample::select(vec![1_i64, 2, 3, 6, 12, 60]).prop_map(|n| Width(Unit::Months(n))),
    ]
}

fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

fn interval(months: i32, days: i32, nanoseconds: i64) -> ScalarValue {
    ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn every_instant_lies_in_exactly_one_bucket(t in instant(), zone in zone(), width in width()) {
        let start = width.start_of(t, zone);
        let end = width.end_of(start, zone);
        prop_assert!(start <= t && t < end, "{start} {t} {end}");
        prop_assert_eq!(width.start_of(start, zone), start);
        prop_assert_eq!(width.end_of(t, zone), end);
        prop_assert_eq!(width.start_of(end, zone), end);
        prop_assert_eq!(width.start_of(end - 1, zone), start);
        prop_assert_eq!(width.end_of(start - 1, zone), start);
    }

    #[test]
    fn a_column_gets_the_buckets_of_its_instants(
        base in instant(), steps in prop::collection::vec(-40 * DAY_MS..40 * DAY_MS, 1..60), zone in zone(), width in width(),
    ) {
        let instants: Vec<i64> = steps.iter().map(|s| base + s).collect();
        let mut buckets = Buckets::new(width, zone);
        for t in &instants {
            let start = width.start_of(*t, zone);
            prop_assert_eq!(buckets.of(*t), (start, width.end_of(start, zone)));
        }
    }

    #[test]
    fn months_and_days_start_at_the_first_instant_of_the_local_date(t in instant(), zone in zone()) {
        let local = |t: i64| DateTime::from_timestamp_millis(t).unwrap().with_timezone(&zone).naive_local();
        for width in ["day", "month", "quarter", "year", "week"] {
            let start = Width::of_date_trunc(width).unwrap().start_of(t, zone);
            let date = local(start).date();
            let aligned = match width {
                "day" => true,
                "week" => date.weekday() == chrono::Weekday::Mon,
                "month" => date.day() == 1,
                "quarter" => date.day() == 1 && date.month0() % 3 == 0,
                _ => date.ordinal() == 1,
            };
            // Where midnight or a whole day (Apia's 30 December 2011) is skipped, the bucket starts right after the gap.
            let after_gap = local(start - 1).date() < date && local(start) - local(start - 1) > chrono::TimeDelta::milliseconds(1);
            prop_assert!(aligned || after_gap, "{width} {start} {date}");
            prop_assert!(local(start - 1).date() < date);
        }
    }

    #[test]
    fn an_hour_holds_one_hour_of_the_clock(t in instant(), zone in zone()) {
        let hour = |t: i64| zone.timestamp_millis_opt(t).unwrap().hour();
        let width = Width::of_date_trunc("hour").unwrap();
        let (start, end) = (width.start_of(t, zone), width.end_of(t, zone));
        // St. John's once set its clocks by 00:01, so a clock hour there may be cut, and is never longer than its zone's shift.
        prop_assert_eq!(hour(start), hour(t));
        prop_assert_eq!(hour(end - 1), hour(t));
        prop_assert!(end - start <= 5_400_000);
    }
}

#[test]
fn berlins_months_follow_the_local_calendar() {
    let month = Width::parse(&interval(1, 0, 0)).unwrap();
    assert_eq!(month.start_of(at("2026-10-31T22:59:59.999Z"), Tz::Europe__Berlin), at("2026-10-01T00:00:00+02:00"));
    assert_eq!(month.start_of(at("2026-10-31T23:00:00Z"), Tz::Europe__Berlin), at("2026-11-01T00:00:00+01:00"));
    assert_eq!(month.end_of(at("2026-10-01T00:00:00+02:00"), Tz::Europe__Berlin), at("2026-11-01T00:00:00+01:00"));
}

#[test]
fn an_hour_that_the_clock_shows_twice_is_two_buckets() {
    let hour = Width::of_date_trunc("HOUR").unwrap();
    let zone = Tz::Europe__Berlin;
    assert_eq!(hour.start_of(at("2026-10-25T02:30:00+02:00"), zone), at("2026-10-25T02:00:00+02:00"));
    assert_eq!(hour.start_of(at("2026-10-25T02:30:00+01:00"), zone), at("2026-10-25T02:00:00+01:00"));
    assert_eq!(hour.end_of(at("2026-10-25T02:00:00+02:00"), zone), at("2026-10-25T02:00:00+01:00"));
    let quarter_day = Width::parse(&interval(0, 0, 6 * 3_600_000_000_000)).unwrap();
    assert_eq!(quarter_day.start_of(at("2026-10-25T05:59:00+01:00"), zone), at("2026-10-25T00:00:00+02:00"));
    assert_eq!(quarter_day.end_of(at("2026-10-25T00:00:00+02:00"), zone), at("2026-10-25T06:00:00+01:00"));
}

#[test]
fn a_day_whose_midnight_is_skipped_starts_after_the_gap() {
    // 2017-10-15: Brazil went from 00:00 to 01:00.
    let day = Width::of_date_trunc("day").unwrap();
    let zone = Tz::America__Sao_Paulo;
    assert_eq!(day.start_of(at("2017-10-15T12:00:00-02:00"), zone), at("2017-10-15T01:00:00-02:00"));
    assert_eq!(day.end_of(at("2017-10-14T12:00:00-03:00"), zone), at("2017-10-15T01:00:00-02:00"));
}

#[test]
fn half_hour_zones_have_their_own_hours() {
    let hour = Width::of_date_trunc("hour").unwrap();
    assert_eq!(hour.start_of(at("2026-01-01T10:10:00+05:30"), Tz::Asia__Kolkata), at("2026-01-01T10:00:00+05:30"));
    assert_eq!(
        hour.start_of(at("2026-01-01T10:10:00+05:30"), Zone::parse("+05:30").unwrap()),
        at("2026-01-01T10:00:00+05:30")
    );
}

#[test]
fn weeks_start_on_monday_and_other_days_count_from_1970() {
    let (week, two_days) = (Width::parse(&interval(0, 7, 0)).unwrap(), Width::parse(&interval(0, 2, 0)).unwrap());
    assert_eq!(week.start_of(at("2026-11-22T12:00:00Z"), Tz::UTC), at("2026-11-16T00:00:00Z"));
    assert_eq!(two_days.start_of(at("1970-01-02T12:00:00Z"), Tz::UTC), 0);
    let monday = NaiveDate::from_ymd_opt(2026, 11, 16).unwrap();
    assert_eq!(monday.weekday(), chrono::Weekday::Mon);
}

#[test]
fn widths_are_refused_with_a_reason() {
    assert_eq!(Width::parse(&interval(1, 1, 0)), Err(WidthError::Mixed));
    assert_eq!(Width::parse(&interval(0, 0, 0)), Err(WidthError::NotPositive));
    assert_eq!(Width::parse(&interval(-1, 0, 0)), Err(WidthError::NotPositive));
    assert_eq!(Width::parse(&interval(0, 0, 1_500_000)), Err(WidthError::BelowMillisecond));
    assert_eq!(Width::parse(&ScalarValue::Int64(Some(1))), Err(WidthError::NotAnInterval));
    assert_eq!(Width::parse(&ScalarValue::IntervalMonthDayNano(None)), Err(WidthError::NotAnInterval));
    let day_time = ScalarValue::IntervalDayTime(Some(IntervalDayTime { days: 0, milliseconds: 60_000 }));
    assert_eq!(Width::parse(&day_time), Ok(Width::of_date_trunc("minute").unwrap()));
    assert_eq!(Width::of_date_trunc("fortnight"), None);
}

#[test]
fn instants_at_the_ends_of_time_do_not_overflow() {
    for t in
        [i64::MIN, i64::MIN + 1, super::super::zone::INSTANT_MS_MIN, super::super::zone::INSTANT_MS_MAX, i64::MAX - 1]
    {
        for width in ["millisecond", "hour", "day", "week", "month", "year"] {
            let width = Width::of_date_trunc(width).unwrap();
            let start = width.start_of(t, Tz::Europe__Berlin);
            assert!(start <= t);
            assert!(width.end_of(start, Tz::Europe__Berlin) > start);
        }
    }
}

#[test]
#[ignore = "prints a rate"]
fn rate_of_month_buckets() {
    let values: Vec<i64> = (0..8192).map(|i| 1_790_000_000_000 + i * 997).collect();
    for unit in ["month", "hour"] {
        let started = std::time::Instant::now();
        let mut sum = 0_i64;
        for _ in 0..2_000 {
            let starts = Buckets::new(Width::of_date_trunc(unit).unwrap(), Tz::Asia__Shanghai).starts(&values);
            sum = sum.wrapping_add(starts.iter().sum::<i64>());
        }
        let rate = 2_000.0 * 8192.0 / started.elapsed().as_secs_f64() / 1e6;
        println!("{unit}: {rate:.0} M rows/s ({sum})");
    }
}

proptest! {
    #[test]
    fn a_bucket_of_a_width_that_nests_has_both_ends_in_one_wider_bucket(
        minute in -40_000_000i64..60_000_000,
        widths in (0usize..14, 0usize..14),
        zone in prop::sample::select(vec![chrono_tz::Asia::Shanghai, chrono_tz::America::New_York, chrono_tz::Europe::Dublin]),
    ) {
        let all = [
            Unit::Clock(60_000), Unit::Clock(900_000), Unit::Clock(3_600_000), Unit::Clock(5_400_000), Unit::Clock(25_200_000),
            Unit::Days(1), Unit::Days(2), Unit::Days(4), Unit::Days(7), Unit::Days(14), Unit::Months(1), Unit::Months(2),
            Unit::Months(3), Unit::Months(12),
        ].map(Width);
        let (width, wider) = (all[widths.0], all[widths.1]);
        // Where the clock is set back, buckets of the clock repeat; those are told apart by nobody who asks for wider ones.
        let is_clock = matches!(wider.0, Unit::Clock(_));
        let instant = minute * 60_000;
        if width.nests_in(wider) && !is_clock {
            let (start, end) = (width.start_of(instant, zone), width.end_of(instant, zone));
            prop_assert_eq!(wider.start_of(start, zone), wider.start_of(instant, zone));
            prop_assert_eq!(wider.start_of(end - 1, zone), wider.start_of(instant, zone));
        }
    }
}
