//! Calendar functions across zones, leap days and month ends.

use super::*;
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, LocalResult, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone};
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

fn context(zone: &str) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.time_zone = Some(zone.into());
    let ctx = SessionContext::new_with_config(config);
    super::super::all(zone.parse().unwrap()).into_iter().for_each(|f| ctx.register_udf(f));
    ctx
}

async fn run(zone: &str, sql: &str) -> Result<RecordBatch> {
    let batches = context(zone).sql(sql).await?.collect().await?;
    Ok(batches.into_iter().next().unwrap())
}

async fn value(zone: &str, expression: &str) -> String {
    let batch = run(zone, &format!("SELECT {expression}")).await.unwrap();
    array_value_to_string(batch.column(0), 0).unwrap()
}

#[tokio::test]
async fn months_are_added_on_the_local_calendar() {
    let at = |expression| value("Europe/Berlin", expression);
    assert_eq!(at("add_months(timestamptz '2026-01-31T12:00:00', 1)").await, "2026-02-28T12:00:00+01:00");
    assert_eq!(at("add_months(timestamptz '2026-02-28T02:30:00', 13)").await, "2027-03-28T03:00:00+02:00");
    assert_eq!(at("add_months(timestamptz '2026-09-25T02:30:00', 1)").await, "2026-10-25T02:30:00+02:00");
    assert_eq!(at("add_months(timestamptz '2028-02-29T08:00:00', -12)").await, "2027-02-28T08:00:00+01:00");
    assert_eq!(at("add_months(date '2026-03-31', -1)").await, "2026-02-28");
    assert_eq!(at("add_days(timestamptz '2026-03-28T02:30:00', 1)").await, "2026-03-29T03:00:00+02:00");
    assert_eq!(at("add_days(timestamptz '2026-10-24T12:00:00', 1)").await, "2026-10-25T12:00:00+01:00");
}

#[tokio::test]
async fn a_zoned_argument_brings_its_own_zone() {
    let at = |expression| value("Asia/Shanghai", expression);
    let utc = "year_month(arrow_cast('2026-10-31T20:00:00Z', 'Timestamp(Millisecond, Some(\"+00:00\"))'))";
    assert_eq!(at(utc).await, "2026-10");
    assert_eq!(at("year_month(timestamptz '2026-11-01T04:00:00')").await, "2026-11");
    assert_eq!(at("tumble(timestamp '2026-11-01 04:00:00', INTERVAL '1 month')").await, "2026-11-01T00:00:00+08:00");
    assert_eq!(
        at("window_end(timestamptz '2026-11-01T04:00:00', INTERVAL '1' MONTH)").await,
        "2026-12-01T00:00:00+08:00"
    );
}

#[tokio::test]
async fn null_in_is_null_out_and_so_is_an_instant_out_of_range() {
    for expression in [
        "tumble(NULL, INTERVAL '1 month')",
        "add_months(NULL, 1)",
        "add_months(date '2026-01-01', NULL)",
        "age_in_years(NULL, date '2026-01-01')",
        "local_date(NULL)",
        "year_month(NULL)",
        "elapsed_ms(NULL, NULL)",
        "unicode_trim(NULL)",
        "add_months(date '2026-01-01', 9223372036854775807)",
        "add_months(timestamptz '2026-01-01T00:00:00', 9223372036854775807)",
        "add_days(timestamptz '2026-01-01T00:00:00', -9223372036854775807)",
        "local_date(arrow_cast(9223372036854775807, 'Timestamp(Millisecond, Some(\"UTC\"))'))",
        "year_month(arrow_cast(9223372036854775807, 'Timestamp(Second, Some(\"UTC\"))'))",
        "tumble(arrow_cast(-9223372036854775807, 'Timestamp(Millisecond, Some(\"UTC\"))'), INTERVAL '1 day')",
    ] {
        assert_eq!(value("Europe/Berlin", expression).await, "", "{expression}");
    }
}

#[tokio::test]
async fn a_bad_width_is_refused_when_the_query_is_planned() {
    for (width, reason) in [
        ("INTERVAL '1 month 1 day'", "mixture"),
        ("INTERVAL '0 days'", "positive"),
        ("'1 month'", "takes a timestamp and an interval"),
        ("i", "constant"),
    ] {
        let sql =
            format!("SELECT tumble(timestamptz '2026-01-01T00:00:00', {width}) FROM (SELECT INTERVAL '1 day' AS i) x");
        let plan = context("UTC").sql(&sql).await;
        match plan {
            Err(e) => assert!(e.to_string().contains(reason), "{e}"),
            Ok(_) => panic!("{width} was planned"),
        }
    }
}

#[tokio::test]
async fn ages_are_full_years_on_the_local_date() {
    let age =
        async |birth: &str, at: &str| value("Asia/Shanghai", &format!("age_in_years(date '{birth}', {at})")).await;
    assert_eq!(age("2010-05-02", "timestamptz '2026-05-01T23:59:59'").await, "15");
    assert_eq!(age("2010-05-02", "timestamptz '2026-05-02T00:00:00'").await, "16");
    assert_eq!(age("2008-02-29", "date '2026-02-28'").await, "17");
    assert_eq!(age("2008-02-29", "date '2026-03-01'").await, "18");
    assert_eq!(age("2008-02-29", "date '2028-02-29'").await, "20");
    assert_eq!(age("2026-01-02", "date '2026-01-01'").await, "-1");
}

#[tokio::test]
async fn minutes_and_hours_added_to_a_zoned_timestamp_count_real_time_across_changes() {
    for zone in ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Shanghai"] {
        let sql = "SELECT count(*) FILTER (WHERE elapsed_ms(t, t + INTERVAL '30 minutes') <> 1800000) AS wrong,
                          count(*) FILTER (WHERE (t + INTERVAL '2 hours') - t <> INTERVAL '2 hours') AS wrong_hours
                   FROM (SELECT arrow_cast(value * 600000, 'Timestamp(Millisecond, Some(\"ZONE\"))') AS t
                         FROM generate_series(2600000, 3050000))";
        let batch = run(zone, &sql.replace("ZONE", zone)).await.unwrap();
        for column in batch.columns() {
            assert_eq!(array_value_to_string(column, 0).unwrap(), "0", "{zone}");
        }
    }
}

#[tokio::test]
async fn elapsed_time_is_signed() {
    let elapsed = "elapsed_ms(timestamptz '2026-03-29T03:00:00', timestamptz '2026-03-29T01:59:59')";
    assert_eq!(value("Europe/Berlin", elapsed).await, "-1000");
}

fn model_add(zone: Tz, instant: i64, move_date: impl Fn(NaiveDate) -> NaiveDate) -> i64 {
    let local = DateTime::from_timestamp_millis(instant).unwrap().with_timezone(&zone).naive_local();
    let mut target: NaiveDateTime = move_date(local.date()).and_time(local.time());
    let minute = target;
    loop {
        match zone.from_local_datetime(&target) {
            LocalResult::Single(t) => {
                // Walked out of a gap minute by minute: the gap ends on a full minute.
                let cut = (target - minute).num_minutes() > 0;
                let ms = t.timestamp_millis();
                return if cut { ms - ms.rem_euclid(60_000) } else { ms };
            }
            LocalResult::Ambiguous(a, b) => return a.timestamp_millis().min(b.timestamp_millis()),
            LocalResult::None => target += TimeDelta::minutes(1),
        }
    }
}

fn moved(zone: Tz, function: Function, instants: &[i64], n: i64) -> Vec<Option<i64>> {
    let udf = functions(zone).into_iter().find(|f| f.name() == function.name()).unwrap();
    let column: ArrayRef =
        Arc::new(TimestampMillisecondArray::from(instants.to_vec()).with_timezone(zone.name().to_string()));
    let return_type = column.data_type().clone();
    let field = |t: &DataType| Arc::new(arrow::datatypes::Field::new("f", t.clone(), true));
    let args = ScalarFunctionArgs {
        arg_fields: vec![field(&return_type), field(&DataType::Int64)],
        number_rows: instants.len(),
        return_field: field(&return_type),
        config_options: Arc::default(),
        args: vec![
            ColumnarValue::Array(column),
            ColumnarValue::Scalar(datafusion::scalar::ScalarValue::Int64(Some(n))),
        ],
    };
    let ColumnarValue::Array(result) = udf.invoke_with_args(args).unwrap() else {
        panic!("a column became a constant")
    };
    result.as_primitive::<arrow::datatypes::TimestampMillisecondType>().iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn added_months_and_days_agree_with_a_minute_by_minute_model(
        base in 0..4_000_000_000_000_i64, n in -40..40_i64,
        zone in proptest::sample::select(vec![
            Tz::Europe__Berlin, Tz::Asia__Shanghai, Tz::Australia__Lord_Howe, Tz::America__Sao_Paulo, Tz::America__New_York,
        ]),
    ) {
        let instants: Vec<i64> = (0..200).map(|i| base + i * 7_230_000 + i).collect();
        prop_assume!(n != 0);
        for (instant, result) in instants.iter().zip(moved(zone, Function::AddDays, &instants, n)) {
            prop_assert_eq!(result, Some(model_add(zone, *instant, |d| d + TimeDelta::days(n))));
        }
        for (instant, result) in instants.iter().zip(moved(zone, Function::AddMonths, &instants, n)) {
            let months = Months::new(n.unsigned_abs() as u32);
            let move_date = |d: NaiveDate| if n < 0 { d - months } else { d + months };
            prop_assert_eq!(result, Some(model_add(zone, *instant, move_date)));
        }
    }
}

proptest! {
    #[test]
    fn local_dates_and_months_agree_with_chrono(
        values in prop::collection::vec(INSTANT_MS_MIN + DAY_MS..INSTANT_MS_MAX - DAY_MS, 1..50),
        zone in proptest::sample::select(vec![Tz::Europe__Berlin, Tz::Asia__Kolkata, Tz::America__Sao_Paulo]),
    ) {
        let local: Vec<NaiveDateTime> = values.iter()
            .map(|t| DateTime::from_timestamp_millis(*t).unwrap().with_timezone(&zone).naive_local()).collect();
        let mut clock = Clock::new(zone.into());
        let written = months(values.iter().map(|t| clock.local_ms(*t)), None).unwrap();
        let dates = local_dates(&Instants { values: values.into(), nulls: None, zone: zone.into() });
        for (row, local) in local.iter().enumerate() {
            prop_assert_eq!(written.value(row), local.format("%Y-%m").to_string());
            prop_assert_eq!(dates.value_as_date(row), Some(local.date()));
        }
    }
}

#[test]
fn a_local_year_beyond_9999_is_null_and_its_neighbours_are_not() {
    let written =
        months([0, INSTANT_MS_MAX + 1, -DAY_MS, INSTANT_MS_MIN - 1, INSTANT_MS_MAX].into_iter(), None).unwrap();
    let written: Vec<Option<&str>> = written.iter().collect();
    assert_eq!(written, [Some("1970-01"), None, Some("1969-12"), None, Some("9999-12")]);
}

#[test]
#[ignore = "prints a rate"]
fn rate_of_year_month() {
    let values: Vec<i64> = (0..8192).map(|i| 1_790_000_000_000 + i * 997).collect();
    let started = std::time::Instant::now();
    let mut n = 0;
    for _ in 0..2_000 {
        let mut clock = Clock::new(Tz::Asia__Shanghai.into());
        n += months(values.iter().map(|t| clock.local_ms(*t)), None).unwrap().len();
    }
    println!("year_month: {:.0} M rows/s", n as f64 / started.elapsed().as_secs_f64() / 1e6);
}
