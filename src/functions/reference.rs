//! How the tests read values that other programs computed (`tests/oracle/function_references.py`), and call functions in SQL.

use arrow::util::display::array_value_to_string;
use chrono_tz::Tz;
use datafusion::prelude::{SessionConfig, SessionContext};

/// The rows of a CSV file without its header, divided into fields; no field is quoted.
pub(super) fn rows(csv: &str) -> Vec<Vec<String>> {
    let rows: Vec<Vec<String>> = csv.lines().skip(1).map(|line| line.split(',').map(String::from).collect()).collect();
    assert!(rows.len() > 10, "the reference values were not found");
    rows
}

/// The fields of a row as numbers.
pub(super) fn numbers<const N: usize>(row: &[String]) -> [f64; N] {
    let numbers: Vec<f64> = row.iter().map(|field| field.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// A session with all functions, in the zone of Shanghai.
pub(super) fn session() -> SessionContext {
    let mut config = SessionConfig::new();
    config.options_mut().execution.time_zone = Some("Asia/Shanghai".into());
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let ctx = SessionContext::new_with_config(config);
    super::all(Tz::Asia__Shanghai).into_iter().for_each(|f| ctx.register_udf(f));
    super::aggregates().into_iter().for_each(|f| ctx.register_udaf(f));
    ctx
}

/// The single value that a query yields as text, null as the empty text; or the error.
pub(super) fn value(ctx: &SessionContext, sql: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async { ctx.sql(sql).await?.collect().await });
    let batches = batches.map_err(|e| e.strip_backtrace())?;
    let batch = batches.iter().find(|b| b.num_rows() > 0).ok_or("no row")?;
    array_value_to_string(batch.column(0), 0).map_err(|e| e.to_string())
}

/// Checks expressions against their values as text, each as a constant and over a column.
pub(super) fn check_sql(cases: &[(&str, &str)]) {
    let ctx = session();
    for (expression, expected) in cases {
        assert_eq!(value(&ctx, &format!("SELECT {expression}")).as_deref(), Ok(*expected), "{expression}");
        // A volatile condition keeps the expression from being computed when the query is planned.
        let over_rows = format!("SELECT {expression} FROM (VALUES (1), (2)) AS v(i) WHERE random() < 2");
        assert_eq!(value(&ctx, &over_rows).as_deref(), Ok(*expected), "{expression} over rows");
    }
}

/// Checks that expressions are refused with a message that holds a text.
pub(super) fn check_refused(cases: &[(&str, &str)]) {
    let ctx = session();
    for (expression, message) in cases {
        let refused = value(&ctx, &format!("SELECT {expression} FROM (VALUES (1)) AS v(i)"));
        let error = refused.expect_err(expression);
        assert!(error.contains(message), "{expression}: {error}");
    }
}
