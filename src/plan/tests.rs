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

fn retention_of(rules: &str) -> (Vec<String>, Vec<String>) {
    let sources = "
        SET TIME ZONE = 'Asia/Shanghai';
        CREATE TABLE t (id VARCHAR PRIMARY KEY, g VARCHAR, n BIGINT, at TIMESTAMP WITH TIME ZONE NOT NULL)
            WITH (topic = 't', format = 'json', event_time = 'at', retention = '10 days');
        CREATE TABLE u (id VARCHAR PRIMARY KEY, g VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
            WITH (topic = 'u', format = 'json', event_time = 'at', retention = '20 days');
        CREATE TABLE d (g VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'd', format = 'json');
    ";
    let pack = Pack::from_text("rules.sql", format!("{sources}{rules}"));
    let (statements, findings) = parse(&pack);
    assert!(findings.is_empty(), "{}", render(&findings, &pack));
    let catalog = resolve(statements, None).unwrap_or_else(|f| panic!("{}", render(&f, &pack)));
    retention(&super::plan(&catalog).unwrap_or_else(|f| panic!("{}", render(&f, &pack))))
}

fn retention(pipeline: &super::Pipeline) -> (Vec<String>, Vec<String>) {
    let name = |id: &usize| pipeline.relations[*id].name.to_string();
    let leaves = pipeline.retention.expiries.iter().map(|(id, e)| format!("{} by {}", name(id), e.bucket));
    let stays = pipeline.retention.staying.iter().map(|(id, reason)| format!("{}: {reason}", name(id)));
    let frozen = pipeline.relations.iter().filter(|r| r.name.contains("frozen_rows")).map(|r| r.name.to_string());
    (leaves.chain(stays).collect(), frozen.collect())
}

fn check_retention(rules: &str, tables: &[&str], frozen: &[&str]) {
    let found = retention_of(rules);
    assert_eq!(found.0, tables, "{rules}");
    assert_eq!(found.1, frozen, "{rules}");
}

#[test]
fn rows_leave_with_the_coarsest_bucket_that_a_group_holds() {
    let days =
        "CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT g, local_date(at) AS day, count(*) AS c FROM t
        GROUP BY g, local_date(at);";
    check_retention(days, &["t by 1 days", "u by 1 days"], &[]);
    let months = format!(
        "{days} CREATE SINK m WITH (topic = 'm', format = 'json') AS SELECT g, year_month(at) AS month,
        count(*) AS c FROM t GROUP BY g, year_month(at);"
    );
    check_retention(&months, &["t by 1 months", "u by 1 days"], &[]);
    let by_days =
        "CREATE VIEW days AS SELECT g, local_date(at) AS day, count(*) AS c FROM t GROUP BY g, local_date(at);
        CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT g, year_month(day) AS month, max(c) AS c FROM days
        GROUP BY g, year_month(day);";
    check_retention(by_days, &["t by 1 months", "u by 1 days"], &[]);
}

#[test]
fn weeks_and_months_do_not_nest_so_that_rows_stay() {
    let rules = "CREATE SINK w WITH (topic = 'w', format = 'json') AS SELECT tumble(at, INTERVAL '7 days') AS week, count(*) AS c
            FROM t GROUP BY tumble(at, INTERVAL '7 days');
        CREATE SINK m WITH (topic = 'm', format = 'json') AS SELECT year_month(at) AS month, count(*) AS c FROM t
            GROUP BY year_month(at);";
    let found = retention_of(rules);
    assert!(found.0.iter().any(|t| t.starts_with("t: ") && t.contains("do not nest")), "{found:?}");
    assert!(found.1.is_empty());
}

#[test]
fn inputs_of_groups_without_a_bucket_keep_what_they_had() {
    check_retention(
        "CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT g, count(*) AS c FROM t GROUP BY g;",
        &["t by 1 days", "u by 1 days"],
        &["s.table_aggregate1.frozen_rows1"],
    );
    // A bucket of one branch is none of the other's.
    check_retention(
        "CREATE VIEW b AS SELECT g, local_date(at) AS day FROM t UNION ALL SELECT g, local_date(at) FROM u;
         CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT g, day, count(*) AS c FROM b GROUP BY g, day;",
        &["t by 1 days", "u by 1 days"],
        &["s.table_aggregate1.frozen_rows1"],
    );
}

#[test]
fn what_decides_about_other_rows_stays() {
    let rules = "CREATE SINK s WITH (topic = 's', format = 'json') AS
        SELECT t.id, t.n FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.id);";
    let found = retention_of(rules);
    assert_eq!(found.0[0], "t by 1 days");
    assert!(found.0[1].starts_with("u: they decide about rows of"), "{found:?}");
    assert!(found.1.is_empty(), "{found:?}");
    let rules = "CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT t.id, u.g FROM t JOIN u ON u.id = t.id;";
    check_retention(rules, &["t by 1 days", "u by 1 days"], &[]);
    // Who keeps whole rows for ever gains nothing from forgetting them at their source.
    let rules = "CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT g, id FROM t
        QUALIFY row_number() OVER (PARTITION BY g ORDER BY at, id) = 1;";
    let found = retention_of(rules);
    assert!(
        found.0.iter().any(|t| t.starts_with("t: the key of `s.table_window1` does not hold a bucket of `at`")),
        "{found:?}"
    );
}

/// Groups of pairs, by a bucket of one side: rows of the other could not leave without tearing the groups apart.
#[test]
fn of_two_tables_only_the_one_whose_bucket_is_held_leaves() {
    let rules = "CREATE VIEW j AS SELECT t.g, year_month(t.at) AS month FROM t JOIN u ON u.id = t.id;
        CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT g, month, count(*) AS c FROM j GROUP BY g, month;";
    let found = retention_of(rules);
    assert_eq!(found.0[0], "t by 1 months");
    assert!(found.0[1].starts_with("u: the key of"), "{found:?}");
    assert!(found.1.is_empty(), "{found:?}");
}

#[test]
fn captures_of_the_safe_riding_pack_leave_and_scores_keep_what_they_had() {
    let explained = format!("\n{}", explain_pack(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/safe-riding")));
    let of = |name: &str| {
        let start = explained.find(&format!("\n{name}: ")).unwrap_or_else(|| panic!("{name} in {explained}"));
        let text = &explained[start + 1..];
        text[..text.find("\n\n").unwrap_or(text.len())].to_string()
    };
    assert!(
        of("captures").contains("rows leave memory 1000 days of event time after the end of their bucket of 1 month"),
        "{explained}"
    );
    assert!(of("voids").contains("unbounded: rows stay in memory"), "{explained}");
    assert!(of("visits").contains("unbounded: rows stay in memory"), "{explained}");
    assert!(of("judged_rides").contains("rows leave with those of `captures`"), "{explained}");
    for kept in ["household_proposals.table_aggregate1", "scored_people.table_window1"] {
        assert!(explained.contains(&format!("\n{kept}.frozen_rows1: table")), "{explained}");
    }
}

/// The codes of what is wrong with a sink that is counted by a column.
fn counted(source: &str, sink: &str) -> Result<Option<usize>, Vec<String>> {
    let rules = format!(
        "CREATE STREAM reports (report_id VARCHAR, kind VARCHAR, weight BIGINT, reporter VARCHAR {source})
             WITH (topic = 'reports', format = 'json');
         CREATE SINK out WITH (topic = 'out', format = 'json', count_by = 'kind', allow_private = true) AS {sink};"
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
    let grouped = "SELECT kind, count(DISTINCT reporter) AS n, max(reporter) AS m FROM reports GROUP BY kind";
    assert_eq!(counted("PRIVATE", grouped), Ok(Some(0)), "the key of a group is not what is counted in it");
}

#[test]
fn a_closed_month_leaves_memory_with_the_rows_that_it_was_made_of() {
    let closed = "CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT window_start, g, count(*) AS c FROM t
        GROUP BY tumble(at, INTERVAL '1 month'), g EMIT FINAL;";
    check_retention(closed, &["t by 1 months", "u by 1 days"], &[]);
    let paced = "CREATE TABLE m AS SELECT year_month(at) AS m, count(*) AS c FROM t GROUP BY year_month(at)
            EMIT CHANGES EVERY '5 seconds';
        CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT * FROM m;";
    check_retention(paced, &["t by 1 months", "u by 1 days"], &[]);
    // No bucket of the table's event time: a row of `hop` lies in many.
    let hop = "CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT window_start, count(*) AS c FROM t
        GROUP BY hop(at, INTERVAL '1 day', INTERVAL '7 days');";
    check_retention(hop, &["t by 1 days", "u by 1 days"], &["s.table_aggregate1.frozen_rows1"]);
}

#[test]
fn buckets_are_planned_alike_every_time_and_explain_what_they_keep() {
    let rules = "
        CREATE STREAM e (id VARCHAR, g VARCHAR, n BIGINT, at TIMESTAMP WITH TIME ZONE NOT NULL)
            WITH (topic = 'e', format = 'json', event_time = 'at');
        CREATE TABLE t (id VARCHAR PRIMARY KEY, g VARCHAR, n BIGINT, at TIMESTAMP WITH TIME ZONE NOT NULL)
            WITH (topic = 't', format = 'json', event_time = 'at');
        CREATE SINK hops WITH (topic = 'h', format = 'json') AS SELECT window_start, g, sum(n) AS n, max(id) AS id FROM e
            GROUP BY hop(at, INTERVAL '25 minutes', INTERVAL '1 hour'), g HAVING window_end > TIMESTAMP '2024-01-01T00:00:00Z';
        CREATE SINK sessions WITH (topic = 's', format = 'json') AS SELECT window_start, g, sum(n) AS n, min(id) AS id FROM e
            GROUP BY session(at, INTERVAL '5 minutes'), g;
        CREATE SINK of_table WITH (topic = 'o', format = 'json') AS SELECT window_start, g, sum(n) AS n, min(id) AS id FROM t
            GROUP BY session(at, INTERVAL '5 minutes'), g EMIT FINAL;";
    let explained = || {
        let pack = Pack::from_text("rules.sql", rules.to_owned());
        let (statements, findings) = parse(&pack);
        assert!(findings.is_empty(), "{}", render(&findings, &pack));
        let catalog = resolve(statements, None).unwrap_or_else(|f| panic!("{}", render(&f, &pack)));
        super::explain(&super::plan(&catalog).unwrap_or_else(|f| panic!("{}", render(&f, &pack))), None)
    };
    let first = explained();
    assert_eq!(first, explained(), "operator ids must not depend on chance");
    for kept in [
        "accumulators per 300000 ms until the last bucket of them closes",
        "accumulators until the session closes",
        "rows until their bucket closes",
    ] {
        assert!(first.contains(kept), "{kept}\n{first}");
    }
}

/// The last row of each key is one for ever, that of each key and day leaves with the day; so does what is grouped by days.
#[test]
fn first_rows_of_a_stream_are_explained_as_a_table_with_its_key_and_retention() {
    let rules = "
        CREATE STREAM e (id VARCHAR, g VARCHAR, n BIGINT, at TIMESTAMP WITH TIME ZONE NOT NULL)
            WITH (topic = 'e', format = 'json', event_time = 'at');
        CREATE TABLE latest AS SELECT g, id, at FROM e QUALIFY row_number() OVER (PARTITION BY g ORDER BY at DESC, id) = 1;
        CREATE TABLE dearest AS SELECT day, g, r, id FROM (SELECT date_trunc('day', at) AS day, g, id,
            row_number() OVER (PARTITION BY date_trunc('day', at), g ORDER BY n DESC, id) AS r FROM e) AS a WHERE r <= 3 EMIT CHANGES;
        CREATE SINK l WITH (topic = 'l', format = 'json') AS SELECT * FROM latest;
        CREATE SINK d WITH (topic = 'd', format = 'json') AS SELECT * FROM dearest;
        CREATE SINK days WITH (topic = 'y', format = 'json') AS SELECT day, count(*) AS c FROM dearest GROUP BY day;
        CREATE SINK later WITH (topic = 'a', format = 'json') AS SELECT id, lead(id) OVER (PARTITION BY g ORDER BY at, id) AS b FROM e;";
    let pack = Pack::from_text("rules.sql", rules.to_owned());
    let (statements, findings) = parse(&pack);
    assert!(findings.is_empty(), "{}", render(&findings, &pack));
    let catalog = resolve(statements, None).unwrap_or_else(|f| panic!("{}", render(&f, &pack)));
    let pipeline = super::plan(&catalog).unwrap_or_else(|f| panic!("{}", render(&f, &pack)));
    let explained = super::explain(&pipeline, None);
    let found = retention(&pipeline);
    assert_eq!(found.0, ["dearest.top_rows1 by 1 days"], "{explained}");
    assert_eq!(found.1, Vec::<String>::new(), "{explained}");
    for said in [
        "latest: table\n",
        "key: g\n",
        "key: day, g, r\n",
        "logged; the first 1 rows of each key, without end",
        "logged; the first 3 rows of each key, fixed when their bucket closes",
        "rows until those are there with which their frames end (they hold the watermark back)",
    ] {
        assert!(explained.contains(said), "{said}\n{explained}");
    }
    let unbounded = super::unbounded(&pipeline);
    assert!(unbounded.iter().any(|line| line.starts_with("latest.top_rows1: keys stay")), "{unbounded:?}");
    assert!(!unbounded.iter().any(|line| line.starts_with("dearest")), "{unbounded:?}");
}
