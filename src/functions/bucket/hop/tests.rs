//! Overlapping buckets against a plain search, across zones and daylight saving.

use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::functions::bucket::tests::{instant, zone};

fn widths() -> impl Strategy<Value = (Width, Width)> {
    let clock = |ms: i64| Width(Unit::Clock(ms * 60_000));
    let (days, months) = (|n| Width(Unit::Days(n)), |n| Width(Unit::Months(n)));
    proptest::sample::select(vec![
        (clock(15), clock(60)),
        (clock(60), clock(60)),
        (clock(120), clock(150)),
        (clock(120), clock(180)),
        (clock(7 * 60), clock(24 * 60)),
        (clock(360), clock(720)),
        (clock(360), clock(360)),
        (clock(60), days(1)),
        (clock(7 * 60), days(2)),
        (clock(180), months(1)),
        (days(1), clock(30 * 60)),
        (days(1), clock(6 * 60)),
        (days(1), days(1)),
        (days(2), days(7)),
        (days(7), days(10)),
        (days(7), days(14)),
        (days(21), days(24)),
        (days(1), months(1)),
        (days(7), months(2)),
        (months(1), months(3)),
        (months(2), months(3)),
        (months(3), months(3)),
        (months(1), days(31)),
        (months(1), clock(36 * 60)),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn buckets_are_made_of_whole_panes((slide, width) in widths(), t in instant(), zone in zone()) {
        let hop = Hop::new(slide, width).unwrap();
        let start = slide.start_of(t, zone);
        let end = hop.end_of(start, zone);
        prop_assert!(end > start);
        prop_assert_eq!(hop.pane().start_of(start, zone), start);
        prop_assert_eq!(hop.pane().start_of(end, zone), end);
        let next = hop.next_start(start, zone);
        prop_assert!(next > start && hop.end_of(next, zone) >= end, "later buckets end no earlier");
        if slide == width {
            prop_assert_eq!(end, next, "one pane after the other, as tumble");
        }
        if width.at_least() >= slide.at_most() {
            prop_assert!(end >= next, "no instant lies in no bucket");
        }
    }

    #[test]
    fn an_instant_lies_in_the_buckets_that_a_search_finds((slide, width) in widths(), t in instant(), zone in zone()) {
        let hop = Hop::new(slide, width).unwrap();
        let mut start = slide.start_of(t - width.at_most() - slide.at_most() - 2 * DAY_MS, zone);
        let mut found = Vec::new();
        while start <= t {
            if t < hop.end_of(start, zone) {
                found.push(start);
            }
            start = hop.next_start(start, zone);
        }
        prop_assert_eq!(hop.starts_of(t, zone), found);
    }

    #[test]
    fn all_instants_of_a_pane_lie_in_the_same_buckets((slide, width) in widths(), t in instant(), zone in zone()) {
        let hop = Hop::new(slide, width).unwrap();
        let first = hop.pane().start_of(t, zone);
        prop_assert_eq!(hop.starts_of(t, zone), hop.starts_of(first, zone));
    }
}

#[test]
fn an_hour_that_occurs_twice_is_two_panes() {
    let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis();
    let hop = Hop::new(Width(Unit::Clock(3_600_000)), Width(Unit::Clock(7_200_000))).unwrap();
    let berlin = Tz::Europe__Berlin;
    assert_eq!(
        hop.end_of(at("2026-10-25T01:00:00+02:00"), berlin),
        at("2026-10-25T02:00:00+01:00"),
        "two hours, the second of them the first from two to three"
    );
    let day = Hop::new(Width(Unit::Clock(3_600_000)), Width(Unit::Days(1))).unwrap();
    assert_eq!(day.end_of(at("2026-10-24T12:00:00+02:00"), berlin), at("2026-10-25T12:00:00+01:00"));
}

#[test]
fn a_slide_that_is_far_too_small_is_refused() {
    let hop = |slide| Hop::new(Width(Unit::Clock(slide)), Width(Unit::Days(1)));
    assert!(hop(1).is_err());
    assert_eq!(hop(60_000).unwrap().overlap(), 1_440);
}
