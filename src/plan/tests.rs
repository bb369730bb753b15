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
