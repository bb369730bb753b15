//! Tests of the runner: what passes, what fails, and that a failure says where.

use std::fs;

use super::{TestReport, run_tests, test_files};
use crate::dialect::Pack;

mod of_time;

const RULES: &str = "
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE people (id VARCHAR PRIMARY KEY, town VARCHAR, tags VARCHAR[]) WITH (topic = 'people', format = 'json');
CREATE TABLE log (id VARCHAR PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL, n BIGINT)
    WITH (topic = 'log', format = 'json', event_time = 'at', retention = '10 days');
CREATE STREAM rides (id VARCHAR PRIMARY KEY, person VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'rides', format = 'json', event_time = 'at', watermark_delay = '1 minute', idle_timeout = '10 seconds',
          unique_for = '1 day');
CREATE VIEW northern AS SELECT id, town FROM people WHERE town LIKE 'n%';
CREATE VIEW towns AS SELECT town, tags FROM people;
CREATE SINK by_town WITH (topic = 'by-town', format = 'json') AS SELECT town, count(*) AS n FROM people GROUP BY town;
CREATE SINK numbers WITH (topic = 'numbers', format = 'json') AS SELECT id, n FROM log;
CREATE SINK hourly WITH (topic = 'hourly', format = 'json') AS
    SELECT window_start, count(*) AS n FROM rides GROUP BY tumble(at, INTERVAL '1 hour') EMIT FINAL;
CREATE SINK seen WITH (topic = 'seen', format = 'json') AS SELECT r.id, p.town FROM rides AS r LEFT JOIN people AS p ON p.id = r.person;
CREATE SINK settled WITH (topic = 'settled', format = 'json', settle = '5 seconds') AS SELECT id, town FROM people;
CREATE TABLE first_towns (PRIMARY KEY (letter)) AS SELECT substr(town, 1, 1) AS letter, id FROM people WHERE town LIKE 'x%';
CREATE SINK letters WITH (topic = 'letters', format = 'json') AS SELECT letter, id FROM first_towns;
";

fn run(test: &str, completes: bool) -> (TestReport, String) {
    run_rules(RULES, test, completes)
}

fn run_rules(rules: &str, test: &str, completes: bool) -> (TestReport, String) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tests")).unwrap();
    fs::write(dir.path().join("rules.sql"), rules).unwrap();
    let path = dir.path().join("tests/a.slt");
    fs::write(&path, test).unwrap();
    fs::write(dir.path().join("tests/people.part"), "statement ok\nINSERT INTO people VALUES ('p1', 'north', NULL)\n")
        .unwrap();
    let pack = Pack::read(dir.path()).unwrap();
    let files = test_files(dir.path(), None).unwrap();
    assert_eq!(files, std::slice::from_ref(&path));
    (run_tests(&pack, &files, completes), fs::read_to_string(path).unwrap())
}

fn passes(test: &str) {
    let (report, _) = run(test, false);
    assert_eq!((report.passed, report.failed), (1, 0), "{:#?}", report.files[0].failures);
}

/// The failures as `line message [variants]`, with their differences.
fn failures(test: &str) -> Vec<String> {
    let (report, _) = run(test, false);
    let shown = |f: &super::Failure| {
        let diff: Vec<String> = f.diff.iter().map(|d| format!("{}{}", d.sign, d.row)).collect();
        format!("{} {} [{}] {}", f.line, f.message, f.variants.join("; "), diff.join("|"))
    };
    report.files[0].failures.iter().map(shown).collect()
}

#[test]
fn relations_of_every_kind_can_be_queried() {
    passes(
        "include people.part

statement ok
INSERT INTO people (id, town, tags) VALUES ('p2', 'nord', ['a', 'b']), ('p3', 'south', NULL), ('p4', 'south', NULL);
INSERT INTO people SELECT 'q' || value, 'east', NULL FROM generate_series(1, 2);

query TT rowsort
SELECT id, town FROM northern
----
p1 north
p2   nord

query T?
SELECT town, tags FROM towns ORDER BY town, tags
----
east  NULL
east  NULL
nord  [a, b]
north NULL
south NULL
south NULL

query TI
SELECT town, n FROM by_town WHERE n > 1 ORDER BY town
----
east 2
south 2

statement ok
DELETE FROM people WHERE id = 'p4'

statement ok
INSERT INTO people VALUES ('p3', '', NULL)

query TI
SELECT town, n FROM by_town ORDER BY town
----
(empty) 1
east 2
nord 1
north 1

query I
SELECT count(*) FROM people
----
5
",
    );
}

#[test]
fn time_moves_by_records_watermarks_and_the_clock() {
    passes(
        "statement ok
INSERT INTO rides VALUES ('r1', 'p1', '2024-03-01 08:10'), ('r2', 'p1', '2024-03-01 08:20'), ('r1', 'p1', '2024-03-01 08:10')

query I
SELECT count(*) FROM hourly
----
0

statement ok
WATERMARK rides '2024-03-01 09:00'

query PI
SELECT window_start, n FROM hourly
----
2024-03-01T08:00:00+08:00 2

statement ok
INSERT INTO rides VALUES ('r3', 'p1', '2024-03-01 08:30'), ('r4', 'p1', '2024-03-01 10:05')

# The second query looks every ride up, so that none is late for all.
query IIIII
SELECT read, used, duplicate, late, rejected FROM rides.counts
----
5 4 1 0 0

query T
SELECT id FROM rides
----
r1
r2
r3
r4

# A minute behind the clock, once the partition is idle.
statement ok
CLOCK '2024-03-01 11:00:30'

query I
SELECT count(*) FROM hourly
----
1

statement ok
CLOCK + '1 minute'

query I
SELECT count(*) FROM hourly
----
2

statement ok
INSERT INTO rides PARTITION 1 VALUES ('r5', 'p1', '2024-03-01 12:05'), ('r6', 'p1', '2024-03-01 15:00')

query TT
SELECT raw, reason FROM \"rides.rejected\"
----
{\"id\":\"r6\",\"person\":\"p1\",\"at\":\"2024-03-01T15:00:00.000+08:00\"}  event time 2024-03-01T07:00:00.000Z is more than 600000 ms after the record's timestamp 2024-03-01T03:01:30.000Z
{\"id\":\"r5\",\"person\":\"p1\",\"at\":\"2024-03-01T12:05:00.000+08:00\"}  event time 2024-03-01T04:05:00.000Z is more than 600000 ms after the record's timestamp 2024-03-01T03:01:30.000Z

statement ok
END OF INPUT

query I
SELECT count(*) FROM hourly
----
2

statement error nothing can follow
INSERT INTO rides VALUES ('r7', 'p1', '2024-03-01 15:00')
"
        .replace(
            "{\"id\":\"r6\",\"person\":\"p1\",\"at\":\"2024-03-01T15:00:00.000+08:00\"}  event time 2024-03-01T07:00:00.000Z is more than 600000 ms after the record's timestamp 2024-03-01T03:01:30.000Z\n",
            "",
        )
        .replace(", ('r6', 'p1', '2024-03-01 15:00')", "")
        .as_str(),
    );
}

#[test]
fn late_and_rejected_records_are_there_with_their_reason() {
    passes(
        "statement ok
INSERT INTO log VALUES ('a', '2024-03-01 08:00', 1), ('b', '2024-03-20 08:00', 2)

statement ok
COMMIT

statement ok
INSERT INTO log VALUES ('c', '2024-03-02 08:00', 3);
INSERT INTO log JSON '{\"id\": \"d\"}', '{\"id\": \"e\", \"at\": 5, \"n\": 1}';
INSERT INTO log KEY 'f' JSON '{\"id\": \"x\", \"at\": \"2024-03-20T00:00:00Z\"}', 'nothing';
INSERT INTO log JSON '{}';

query TIT
SELECT key, position, raw FROM log.late
----
c 2 {\"id\":\"c\",\"at\":\"2024-03-02T08:00:00.000+08:00\",\"n\":3}

query TT
SELECT key, reason FROM \"log.rejected\" ORDER BY position
----
d column `at` is NOT NULL, but the record has no value for it
e column `at`: expected TIMESTAMP WITH TIME ZONE, found 5
f the Kafka key disagrees with column `id`
f not a JSON object
NULL the record of a table has no Kafka key

query IIIII
SELECT * FROM log.counts
----
8 2 0 1 5

query TI
SELECT id, n FROM log ORDER BY id
----
a 1
b 2
",
    );
}

#[test]
fn a_crash_loses_nothing_and_a_settling_sink_waits_for_the_clock() {
    passes(
        "statement ok
INSERT INTO people (id, town) VALUES ('p1', 'north')

statement ok
CRASH

query TT
SELECT id, town FROM settled
----

statement ok
CLOCK '2024-03-01 08:00'; CLOCK + '6 seconds'

query TT
SELECT id, town FROM settled
----
p1 north

statement ok
PAUSE by_town; INSERT INTO people (id, town) VALUES ('p2', 'north')

query TI
SELECT * FROM by_town
----
north 1

statement ok
RESUME by_town

query TI
SELECT * FROM by_town
----
north 2
",
    );
}

#[test]
fn failures_say_where_and_what() {
    let found = failures(
        "include people.part

query TT
SELECT id, town FROM northern
----
p1 south
p2 south

query I
SELECT id FROM northern
----
p1

statement ok
INSERT INTO peeple VALUES (1)

query T
SELECT nothing FROM people
----

query error no such thing
SELECT id FROM people

statement ok
INSERT INTO people (id, town) VALUES ('p0', 'n')

query T
SELECT id FROM northern
----
p1
p0
",
    );
    assert_eq!(found[0], "3 the rows differ [] -p1 south|-p2 south|+p1 north");
    assert_eq!(found[1], "9 the columns are T, expected I [] ");
    assert_eq!(found[2], "14 the pack declares no relation `peeple`; did you mean `people`? [] ");
    assert!(found[3].starts_with("17 ") && found[3].contains("nothing"), "{}", found[3]);
    assert_eq!(found[4], "21 it succeeds, but an error is expected [] ");
    assert!(found[5].starts_with("27 the rows are those expected, in another order"), "{}", found[5]);
    assert_eq!(found.len(), 6);
}

#[test]
fn statements_that_do_not_fit_the_source_say_why() {
    let statements = [
        ("INSERT INTO people VALUES ('a', 'b')", "2 values for 3 columns of `people`: id, town, tags"),
        (
            "INSERT INTO people (id, city) VALUES ('a', 'b')",
            "`people` has no column `city`; its columns are id, town, tags",
        ),
        ("INSERT INTO log (id, at) VALUES ('a', 'soon')", "`soon` is no instant; write '2024-03-01 08:00'"),
        ("INSERT INTO log (id, n) VALUES ('a', 'many')", "column `n` of `log`"),
        ("INSERT INTO people SELECT id, 'x', NULL FROM log", "cannot be read from `log`"),
        ("INSERT INTO northern VALUES ('a', 'b')", "is computed by the pack"),
        ("DELETE FROM rides WHERE id = 'r1'", "`rides` is a stream"),
        ("DELETE FROM people WHERE town = 'north'", "takes the whole key: id"),
        ("WATERMARK people '2024-03-01'", "declares no event_time"),
        ("CLOCK '2024-03-02'; CLOCK '2024-03-01'", "cannot go back"),
        ("PAUSE people", "is no sink"),
        ("PAUSE by_twon", "did you mean `by_town`?"),
    ];
    let records: String = statements.iter().map(|(sql, _)| format!("statement ok\n{sql}\n\n")).collect();
    let found = failures(&format!("{records}query I\nSELECT count(*) FROM people\n----\n0\n"));
    assert_eq!(found.len(), statements.len(), "{found:#?}");
    for ((sql, part), found) in statements.iter().zip(&found) {
        assert!(found.contains(part), "{sql}: {found}");
    }
}

#[test]
fn a_declared_key_that_turns_out_double_fails_the_test() {
    let found = failures(
        "statement ok
INSERT INTO people (id, town) VALUES ('p1', 'xa'), ('p2', 'xb')

query TT
SELECT letter, id FROM letters
----
x p2
",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("4 a key of `letters` turned out to belong to more than one row"), "{found:?}");
}

#[test]
fn a_test_that_cannot_be_read_or_checks_nothing_fails() {
    assert!(failures("statement okay\nCOMMIT\n")[0].contains("invalid line"));
    assert!(failures("sleep 1s\n\nquery I\nSELECT 1\n----\n1\n")[0].contains("CLOCK"));
    assert!(failures("statement ok\nCOMMIT\n")[0].contains("nothing is checked"));
}

#[test]
fn complete_writes_what_comes_and_keeps_the_rest_as_it_is() {
    let test = "# A comment.
include people.part

# Another.
statement ok
INSERT INTO people (id, town) VALUES ('p22', 'n')

query TT rowsort
SELECT id, town FROM northern
----
nobody nowhere

query T
SELECT id FROM northern ORDER BY id
----
p1
p22

query
SELECT 1
";
    let (report, text) = run(test, true);
    assert_eq!((report.passed, report.files[0].is_completed), (1, true), "{:#?}", report.files[0].failures);
    let expected = test
        .replace("nobody nowhere", "p1   north\np22  n")
        .replace("query\nSELECT 1\n", "query I\nSELECT 1\n----\n1\n");
    assert_eq!(text, expected);
    let (report, again) = run(&text, true);
    assert!(!report.files[0].is_completed);
    assert_eq!(again, text);
}

#[test]
fn the_tests_of_the_safe_riding_pack_pass() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/safe-riding");
    let files = test_files(&path, None).unwrap();
    let report = run_tests(&Pack::read(&path).unwrap(), &files, false);
    let failed: Vec<_> = report.files.iter().flat_map(|file| &file.failures).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(report.passed >= 14, "{} files", report.passed);
}

#[test]
fn what_a_row_holds_stops_nothing_and_costs_no_other_row() {
    let rules = "
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE bags (id VARCHAR PRIMARY KEY, v VARCHAR, n BIGINT) WITH (topic = 'bags', format = 'json');
CREATE STREAM marks (id VARCHAR, v VARCHAR) WITH (topic = 'marks', format = 'json');
CREATE SINK forgiven WITH (topic = 'forgiven', format = 'json') AS
    SELECT id, CAST(v AS INT) AS x, 10 / n AS q, 7 % n AS m, CAST(n AS INT) AS i,
        TIMESTAMP '2024-03-01 00:00:00' + n * INTERVAL '1 hour' AS due
    FROM bags;
CREATE SINK left_out WITH (topic = 'left-out', format = 'json') AS SELECT id, to_date(v) AS day FROM bags;
CREATE SINK marked WITH (topic = 'marked', format = 'json') AS SELECT id FROM marks WHERE to_date(v) IS NOT NULL;
CREATE SINK instants WITH (topic = 'instants', format = 'json') AS
    SELECT id, to_timestamp(v) AS t, to_timestamp_millis(v, '%Y-%m-%dT%H:%M:%SZ', '%d/%m/%Y') AS m, to_timestamp(n) AS s FROM bags;
";
    let test = "
statement ok
INSERT INTO bags VALUES ('a', '12', 2), ('b', 'twelve', 0), ('c', '2024-03-01T00:00:00Z', 9223372036854775807),
    ('d', '2024-03-02T00:00:00Z', NULL);
INSERT INTO marks VALUES ('a', '2024-03-01T00:00:00Z'), ('b', 'never'), ('c', '2024-03-01T00:00:00Z'), ('d', ''), ('e', NULL);

query TIIIIP
SELECT id, x, q, m, i, due FROM forgiven ORDER BY id
----
a  12    5     1     2     2024-03-01T02:00:00
b  NULL  NULL  NULL  0     2024-03-01T00:00:00
c  NULL  0     7     NULL  NULL
d  NULL  NULL  NULL  NULL  NULL

query TPPP
SELECT id, t, m, s FROM instants ORDER BY id
----
a  NULL  NULL  1970-01-01T08:00:02+08:00
b  NULL  NULL  1970-01-01T08:00:00+08:00
c  2024-03-01T08:00:00+08:00  2024-03-01T00:00:00+08:00  NULL
d  2024-03-02T08:00:00+08:00  2024-03-02T00:00:00+08:00  NULL

# An expression that fails all the same leaves out its own row, whichever neighbours it came with.
query T rowsort
SELECT id FROM left_out
----
c
d

query T
SELECT id FROM marked ORDER BY id
----
a
c

statement ok
CRASH

# A row that was left out leaves without a trace, and comes in when it is mended.
statement ok
DELETE FROM bags WHERE id = 'c';
INSERT INTO bags VALUES ('b', '2024-03-03T00:00:00Z', 1);

query T rowsort
SELECT id FROM left_out
----
b
d
";
    let (report, _) = run_rules(rules, test, false);
    assert_eq!((report.passed, report.failed), (1, 0), "{:#?}", report.files[0].failures);
}
