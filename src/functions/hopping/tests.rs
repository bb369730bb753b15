//! Bucket functions as SQL sees them.

use arrow::util::display::array_value_to_string;
use datafusion::prelude::{SessionConfig, SessionContext};

async fn value(zone: &str, expression: &str) -> Result<String, String> {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.time_zone = Some(zone.into());
    let ctx = SessionContext::new_with_config(config);
    let tz = zone.parse().unwrap();
    super::super::all(tz).into_iter().chain(super::bucket_marks(tz)).for_each(|f| ctx.register_udf(f));
    let plan = ctx.sql(&format!("SELECT {expression}")).await.map_err(|e| e.strip_backtrace())?;
    let batches = plan.collect().await.map_err(|e| e.strip_backtrace())?;
    Ok(array_value_to_string(batches[0].column(0), 0).unwrap())
}

#[tokio::test]
async fn an_instant_lies_in_one_bucket_for_each_slide() {
    let of = |expression| value("Asia/Kolkata", expression);
    let starts = of("hop_starts(timestamptz '2026-05-01T10:20:00', INTERVAL '1 hour', INTERVAL '2 hours')").await;
    assert_eq!(starts.unwrap(), "[2026-05-01T09:00:00+05:30, 2026-05-01T10:00:00+05:30]");
    let none = of("hop_starts(NULL, INTERVAL '1 hour', INTERVAL '2 hours')").await;
    assert_eq!(none.unwrap(), "");
    let end = of("hop_end(timestamptz '2026-01-30T00:00:00', INTERVAL '1 day', INTERVAL '1 month')").await;
    assert_eq!(end.unwrap(), "2026-03-01T00:00:00+05:30");
}

#[tokio::test]
async fn a_session_ends_a_gap_after_its_last_row() {
    let of = |expression| value("Europe/Berlin", expression);
    let end = of("session_end(timestamptz '2026-03-28T12:00:00', INTERVAL '1 day')").await;
    assert_eq!(end.unwrap(), "2026-03-29T12:00:00+02:00");
    let end = of("session_end(timestamptz '2026-03-28T12:00:00', INTERVAL '24 hours')").await;
    assert_eq!(end.unwrap(), "2026-03-29T13:00:00+02:00");
    let last = of("instant_before(timestamptz '2026-03-28T12:00:00')").await;
    assert_eq!(last.unwrap(), "2026-03-28T11:59:59.999+01:00");
}

#[tokio::test]
async fn what_is_no_bucket_is_refused() {
    let of = |expression| value("UTC", expression);
    let error = of("hop_starts(timestamptz '2026-01-01T00:00:00', INTERVAL '1 second', INTERVAL '1 year')").await;
    assert!(error.unwrap_err().contains("make the slide longer"));
    let error = of("hop(timestamptz '2026-01-01T00:00:00', INTERVAL '1 hour', INTERVAL '1 day')").await;
    assert!(error.unwrap_err().contains("stands in GROUP BY only"));
    assert!(of("session(1, INTERVAL '1 hour')").await.is_err());
}
