//! Working days against reference values of another program, across holidays and gaps.

use super::super::civil::Date;
use super::super::reference;
use super::*;

/// Days of 2024 to 2026 in China, as the Python package chinesecalendar knows them.
const CALENDAR: &str = include_str!("../../../tests/data/functions/calendar.csv");

fn day(text: &str) -> i32 {
    let parts: Vec<i64> = text.split('-').map(|p| p.parse().unwrap()).collect();
    Date { month_idx: parts[0] * 12 + parts[1] - 1, day: parts[2] }.to_days().try_into().unwrap()
}

fn china() -> WorkingCalendar {
    WorkingCalendar::new(reference::rows(CALENDAR).iter().map(|row| (day(&row[0]), row[1] == "1")))
}

/// A session with the calendar as the table `calendar`.
fn session() -> datafusion::prelude::SessionContext {
    let ctx = reference::session();
    let days: Vec<String> =
        reference::rows(CALENDAR).iter().map(|r| format!("(DATE '{}', {})", r[0], r[1] == "1")).collect();
    let sql = format!("CREATE VIEW calendar AS SELECT * FROM (VALUES {}) AS v(day, working)", days.join(", "));
    let made = reference::value(&ctx, &sql);
    assert_eq!(made, Err("no row".into()));
    ctx
}

#[test]
fn dates_are_those_that_chinesecalendar_counts_to() {
    let calendar = china();
    assert_eq!(WorkingCalendar::decode(&calendar.encode()).as_ref(), Some(&calendar));
    for row in reference::rows(include_str!("../../../tests/data/functions/add_working_days.csv")) {
        let expected = (!row[2].is_empty()).then(|| day(&row[2]));
        assert_eq!(calendar.add(day(&row[0]), row[1].parse().unwrap()), expected, "{row:?}");
    }
    for row in reference::rows(include_str!("../../../tests/data/functions/working_days_between.csv")) {
        assert_eq!(calendar.between(day(&row[0]), day(&row[1])), row[2].parse().ok(), "{row:?}");
    }
}

/// Receipt and third working day, from the description of the domain: over Spring Festival, May Day and National Day.
#[test]
fn a_due_is_the_end_of_the_local_day() {
    let ctx = session();
    let with = "(SELECT working_calendar(day, working) FROM calendar)";
    for (received, due) in [
        ("2025-01-24", "2025-02-05"),
        ("2025-04-25", "2025-04-29"),
        ("2025-09-26", "2025-09-30"),
        ("2025-09-28", "2025-10-09"),
        ("2025-10-10", "2025-10-14"),
        ("2026-02-13", "2026-02-25"),
        ("2026-04-30", "2026-05-08"),
        ("2026-05-08", "2026-05-12"),
    ] {
        for time in ["00:00:00", "09:30:00", "23:59:59.999"] {
            let sql = format!(
                "SELECT add_working_days({with}, CAST('{received}T{time}+08:00' AS TIMESTAMP WITH TIME ZONE), 3) - INTERVAL '1 millisecond'"
            );
            assert_eq!(reference::value(&ctx, &sql), Ok(format!("{due}T23:59:59.999+08:00")), "{sql}");
        }
        let sql = format!("SELECT add_working_days({with}, DATE '{received}', 3)");
        assert_eq!(reference::value(&ctx, &sql).as_deref(), Ok(due), "{sql}");
        let sql = format!(
            "SELECT working_days_between({with}, DATE '{received}', CAST('{due}T23:00:00+08:00' AS TIMESTAMP WITH TIME ZONE))"
        );
        assert_eq!(reference::value(&ctx, &sql).as_deref(), Ok("3"), "{sql}");
    }
}

#[test]
fn what_the_calendar_does_not_hold_has_no_answer() {
    let ctx = session();
    let with = "(SELECT working_calendar(day, working) FROM calendar)";
    for (sql, expected) in [
        (format!("add_working_days({with}, DATE '2026-12-30', 1)"), "2026-12-31"),
        (format!("add_working_days({with}, DATE '2026-12-30', 2)"), ""),
        (format!("add_working_days({with}, DATE '2026-12-31', 1)"), ""),
        (format!("add_working_days({with}, DATE '2026-12-31', 0)"), "2026-12-31"),
        (format!("add_working_days({with}, DATE '2024-01-03', -1)"), "2024-01-02"),
        (format!("add_working_days({with}, DATE '2024-01-03', -2)"), ""),
        (format!("add_working_days({with}, DATE '2023-12-31', 1)"), "2024-01-02"),
        (format!("add_working_days({with}, DATE '2023-12-30', 1)"), ""),
        (format!("add_working_days({with}, DATE '2025-01-01', 9223372036854775807)"), ""),
        (format!("add_working_days({with}, CAST(NULL AS DATE), 1)"), ""),
        (format!("add_working_days({with}, DATE '2025-01-01', NULL)"), ""),
        ("add_working_days(NULL, DATE '2025-01-01', 1)".into(), ""),
        ("add_working_days(arrow_cast('x', 'Binary'), DATE '2025-01-01', 1)".into(), ""),
        (format!("working_days_between({with}, DATE '2026-12-30', DATE '2026-12-31')"), "1"),
        (format!("working_days_between({with}, DATE '2026-12-30', DATE '2027-01-01')"), ""),
        (format!("working_days_between({with}, DATE '2027-01-01', DATE '2027-01-01')"), "0"),
        (format!("working_days_between({with}, DATE '2025-01-01', NULL)"), ""),
        // Of one day both is said, of another neither.
        ("add_working_days((SELECT working_calendar(d, w) FROM (VALUES (DATE '2025-01-02', true), (DATE '2025-01-03', true), (DATE '2025-01-03', false)) AS v(d, w)), DATE '2025-01-01', 1)".into(), "2025-01-02"),
        ("add_working_days((SELECT working_calendar(d, w) FROM (VALUES (DATE '2025-01-02', true), (DATE '2025-01-03', true), (DATE '2025-01-03', false)) AS v(d, w)), DATE '2025-01-01', 2)".into(), ""),
        ("add_working_days((SELECT working_calendar(d, w) FROM (VALUES (DATE '2025-01-02', NULL), (DATE '2025-01-03', true)) AS v(d, w)), DATE '2025-01-01', 1)".into(), ""),
        ("(SELECT working_calendar(day, working) FROM calendar WHERE false)".into(), ""),
    ] {
        assert_eq!(reference::value(&ctx, &format!("SELECT {sql}")).as_deref(), Ok(expected), "{sql}");
    }
    let error = reference::value(&ctx, "SELECT add_working_days(DATE '2025-01-01', 3)").unwrap_err();
    assert!(error.contains("add_working_days(calendar, ts, n) cannot take"), "{error}");
}
