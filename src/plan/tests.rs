//! Plans of whole packs.

use std::path::Path;

use crate::catalog::resolve;
use crate::dialect::{Pack, parse, render};

fn explain_pack(path: &str) -> String {
    let pack = Pack::read(Path::new(path)).expect("the pack is there");
    let (statements, findings) = parse(&pack);
    assert!(findings.is_empty(), "{}", render(&findings, &pack));
    let catalog = resolve(statements, None).unwrap_or_else(|f| panic!("{}", render(&f, &pack)));
    match super::plan(&catalog) {
        Ok(pipeline) => super::explain(&pipeline, None),
        Err(findings) => panic!("{}", render(&findings, &pack)),
    }
}

/// From the captures of a month to the stages of its rides there are two windows, a GROUP BY and a third window.
#[test]
fn the_month_of_a_person_is_one_relation_of_the_safe_riding_pack() {
    let explained = explain_pack(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/safe-riding"));
    let over_captures = "reads: assessed_captures (exchange by 2 columns)";
    assert_eq!(explained.matches(over_captures).count(), 1, "{explained}");
    assert!(!explained.contains("judged_rides.table_aggregate"), "{explained}");
    // The month, and the spans of visits.
    assert_eq!(explained.matches("\njudged_rides.table_window").count(), 2, "{explained}");
}

/// The codes of what is wrong with a sink that is counted by a column.
fn counted(source: &str, sink: &str) -> Result<Option<usize>, Vec<String>> {
    let rules = format!(
        "CREATE STREAM reports (report_id VARCHAR, kind VARCHAR, weight BIGINT, reporter VARCHAR {source})
             WITH (topic = 'reports', format = 'json');
         CREATE SINK out WITH (topic = 'out', format = 'json', count_by = 'kind') AS {sink};"
    );
    let (statements, findings) = parse(&Pack::from_text("rules.sql", &rules));
    assert!(findings.is_empty(), "{findings:?}");
    match super::plan(&resolve(statements, None).expect("the pack resolves")) {
        Ok(pipeline) => Ok(pipeline.sinks[0].count_by),
        Err(findings) => Err(findings.into_iter().map(|f| f.code.to_string()).collect()),
    }
}

#[test]
fn a_sink_is_counted_by_a_text_column_that_it_has() {
    assert_eq!(counted("", "SELECT report_id, kind FROM reports"), Ok(Some(1)));
    assert_eq!(counted("", "SELECT report_id AS kind FROM reports"), Ok(Some(0)));
    assert_eq!(counted("", "SELECT report_id FROM reports"), Err(vec!["C0449".into()]));
    assert_eq!(counted("", "SELECT report_id, weight AS kind FROM reports"), Err(vec!["C0450".into()]));
}

#[test]
fn a_sink_is_not_counted_by_what_follows_from_a_private_column() {
    let refused = Err(vec!["C0451".to_string()]);
    assert_eq!(counted("PRIVATE", "SELECT report_id, kind FROM reports"), Ok(Some(1)), "another column is private");
    assert_eq!(counted("PRIVATE", "SELECT report_id, upper(reporter) AS kind FROM reports"), refused);
    let mixed = "SELECT report_id, kind FROM reports UNION ALL SELECT report_id, reporter FROM reports";
    assert_eq!(counted("PRIVATE", mixed), refused, "one side of a union is enough");
    let grouped = "SELECT kind, count(DISTINCT reporter) AS n FROM reports GROUP BY kind";
    assert_eq!(counted("PRIVATE", grouped), refused, "an operator that reads it may hand it on");
    assert_eq!(counted("", grouped), Ok(Some(0)));
}
