//! Of which columns of a sink it is known that they hold private values, operator by operator.

use crate::catalog::resolve;
use crate::dialect::{Pack, parse, render};
use crate::plan::plan;

const SOURCES: &str = "
CREATE TABLE people (id VARCHAR PRIMARY KEY, name VARCHAR PRIVATE, town VARCHAR, age INT, phones VARCHAR[] PRIVATE)
    WITH (topic = 'people', format = 'json');
CREATE TABLE towns (town VARCHAR PRIMARY KEY, mayor VARCHAR PRIVATE, size BIGINT)
    WITH (topic = 'towns', format = 'json', broadcast = true);
CREATE TABLE homes (person VARCHAR, since TIMESTAMP WITH TIME ZONE, street VARCHAR PRIVATE, grid VARCHAR, PRIMARY KEY (person, since))
    WITH (topic = 'homes', format = 'json', valid_from = 'since', event_time = 'since');
CREATE STREAM calls (call_id VARCHAR NOT NULL, caller VARCHAR PRIVATE, person VARCHAR, n BIGINT, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'calls', format = 'json', event_time = 'at');
CREATE STREAM replies (reply_id VARCHAR NOT NULL, person VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'replies', format = 'json', event_time = 'at');
CREATE TABLE calendar (day DATE PRIMARY KEY, working BOOLEAN) WITH (topic = 'calendar', format = 'json');
";

/// The private columns of the sink `s`, sorted and divided by spaces.
fn private(rules: &str) -> String {
    let pack = Pack::from_text("rules.sql", format!("{SOURCES}{rules}"));
    let (statements, findings) = parse(&pack);
    assert!(findings.is_empty(), "{}", render(&findings, &pack));
    let catalog = resolve(statements, None).unwrap_or_else(|f| panic!("{}", render(&f, &pack)));
    let pipeline = plan(&catalog).unwrap_or_else(|f| panic!("{}", render(&f, &pack)));
    pipeline.private["s"].iter().cloned().collect::<Vec<_>>().join(" ")
}

fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(query, expected)| {
            let (before, query) = query.rsplit_once(";;").unwrap_or(("", query));
            let sink = "CREATE SINK s WITH (topic = 's', format = 'json', allow_private = true) AS";
            (query, expected, private(format!("{before}; {sink} {query};").trim_start_matches(';')))
        })
        .filter(|(_, expected, found)| *expected != found)
        .map(|(query, expected, found)| format!("{query}\n  expected: {expected}\n  found:    {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn expressions_are_private_if_they_compute_something_of_a_private_value() {
    check(&[
        ("SELECT id, name, town FROM people", "name"),
        ("SELECT id, name AS x, upper(name) AS u, town || id AS t FROM people", "u x"),
        (
            "SELECT id, md5(name) AS a, length(name) AS b, substr(name, 1, 1) AS c, CAST(name AS INT) AS d FROM people",
            "a b c d",
        ),
        (
            "SELECT id, name = 'x' AS a, name LIKE 'a%' AS b, name IN ('x') AS c, name BETWEEN 'a' AND 'b' AS d, NOT (name = 'x') AS e FROM people",
            "a b c d e",
        ),
        (
            "SELECT id, resident_id_mask(name) AS a, plate_mask(name) AS b, resident_id_valid(name) AS c, plate_valid(name) AS d FROM people",
            "",
        ),
        (
            "SELECT id, resident_id_birth_date(name) AS a, resident_id_sex(name) AS b, resident_id_normalize(name) AS c FROM people",
            "a b c",
        ),
        (
            "SELECT id, name IS NULL AS a, name IS NOT NULL AND age > 3 AS b, array_length(phones) AS c, cardinality(phones) AS d FROM people",
            "",
        ),
        (
            "SELECT id, phones[1] AS a, array_sort(phones) AS b, make_array(town, name) AS c, array_to_string(phones, ',') AS d FROM people",
            "a b c d",
        ),
        ("SELECT id, nullif(town, name) AS a, nullif(name, town) AS b, coalesce(town, name) AS c FROM people", "b c"),
        // A condition decides, and hands nothing on.
        (
            "SELECT id, CASE WHEN name = 'x' THEN town ELSE id END AS a, CASE WHEN town = 'x' THEN name END AS b, CASE name WHEN 'x' THEN 1 END AS c FROM people",
            "b",
        ),
        ("SELECT id, town FROM people WHERE name LIKE 'a%' AND phones[1] = '1'", ""),
        // Structures and lists of them keep their fields apart.
        (
            "SELECT id, named_struct('t', town, 'n', name)['t'] AS a, named_struct('t', town, 'n', name)['n'] AS b FROM people",
            "b",
        ),
        ("SELECT id, named_struct('t', town, 'n', name) AS whole FROM people", "whole"),
        (
            "SELECT id, make_array(named_struct('t', town, 'n', name))[1]['t'] AS a, make_array(named_struct('t', town, 'n', name))[1]['n'] AS b FROM people",
            "b",
        ),
        ("SELECT id, named_struct('x', named_struct('t', town, 'n', name))['x']['t'] AS a FROM people", ""),
        (
            "SELECT id, coalesce(named_struct('t', town, 'n', name), named_struct('t', name, 'n', town))['t'] AS a FROM people",
            "a",
        ),
    ]);
}

#[test]
fn keys_and_headers_are_as_private_as_what_producers_put_into_them() {
    check(&[
        (
            "SELECT call_id, _topic AS a, _partition AS b, _offset AS c, _timestamp AS d, _key AS e, header(_headers, 'x') AS f FROM calls",
            "e f",
        ),
        ("SELECT id, _key AS a, header(_headers, 'x') AS b FROM people", "b"),
        ("SELECT reply_id, _key AS a, header(_headers, 'x') AS b FROM replies", ""),
    ]);
}

#[test]
fn joins_mix_no_columns() {
    check(&[
        ("SELECT p.id, p.town, q.name AS other, q.town AS t FROM people AS p JOIN people AS q ON q.id = p.id", "other"),
        ("SELECT p.id, p.town, q.phones FROM people AS p LEFT JOIN people AS q ON q.id = p.id", "phones"),
        ("SELECT q.id, p.name, q.town FROM people AS p RIGHT JOIN people AS q ON q.id = p.id", "name"),
        (
            "SELECT coalesce(p.id, q.id) AS id, p.town AS a, q.name AS b FROM people AS p FULL JOIN people AS q ON q.id = p.id",
            "b",
        ),
        (
            "SELECT p.id, t.size, t.mayor FROM people AS p JOIN towns AS t ON t.size > p.age AND t.town = p.town",
            "mayor",
        ),
        ("SELECT p.id, t.town AS tt, t.size FROM people AS p JOIN towns AS t ON t.size > p.age", ""),
        ("SELECT id, town FROM people WHERE name IN (SELECT street FROM homes)", ""),
        ("SELECT id, town FROM people AS p WHERE NOT EXISTS (SELECT 1 FROM homes AS h WHERE h.street = p.name)", ""),
        ("SELECT id, (SELECT max(name) FROM people) AS a, (SELECT max(town) FROM towns) AS b FROM people", "a"),
        ("SELECT p.id, (SELECT max(q.name) FROM people AS q WHERE q.town = p.town) AS a FROM people AS p", "a"),
        ("SELECT p.id, (SELECT count(q.name) FROM people AS q WHERE q.town = p.town) AS a FROM people AS p", ""),
        // A stream with a table, by key and as of its time; two streams.
        ("SELECT c.call_id, p.town, p.name AS who FROM calls AS c JOIN people AS p ON p.id = c.person", "who"),
        (
            "SELECT c.call_id, c.caller, h.grid FROM calls AS c LEFT JOIN homes FOR SYSTEM_TIME AS OF c.at AS h ON h.person = c.person",
            "caller",
        ),
        (
            "SELECT c.call_id, h.street FROM calls AS c LEFT JOIN homes FOR SYSTEM_TIME AS OF c.at AS h ON h.person = c.person",
            "street",
        ),
        (
            "SELECT c.call_id, c.caller, r.reply_id FROM calls AS c JOIN replies AS r ON r.person = c.person AND r.at BETWEEN c.at AND c.at + INTERVAL '1 hour'",
            "caller",
        ),
        (
            "SELECT r.reply_id FROM replies AS r WHERE EXISTS (SELECT 1 FROM calls AS c WHERE c.caller = r.person AND r.at BETWEEN c.at AND c.at + INTERVAL '1 hour')",
            "",
        ),
        ("SELECT call_id, add_working_days(at, 3) AS due, caller FROM calls", "caller"),
    ]);
}

#[test]
fn groups_hold_what_their_aggregates_hand_on() {
    check(&[
        (
            "SELECT town, count(name) AS a, count(DISTINCT name) AS b, max(name) AS c, min(id) AS d, count(*) FILTER (WHERE name = 'x') AS e FROM people GROUP BY town",
            "c",
        ),
        ("SELECT name, count(*) AS n FROM people GROUP BY name", "name"),
        (
            "SELECT town, array_agg(name ORDER BY id) AS a, array_agg(id ORDER BY name) AS b FROM people GROUP BY town",
            "a",
        ),
        (
            "SELECT town, bool_or(name = 'x') AS a, sum(age) AS b, avg(length(name)) AS c FROM people GROUP BY town",
            "a c",
        ),
        ("SELECT DISTINCT town, name FROM people", "name"),
        (
            "SELECT town, s['t'] AS t, s['n'] AS n FROM (SELECT town, array_agg(named_struct('t', town, 'n', name) ORDER BY id)[1] AS s FROM people GROUP BY town)",
            "n",
        ),
        ("SELECT town, count(*) AS n FROM people GROUP BY town HAVING max(name) > 'x'", ""),
        (
            "SELECT window_start, person, count(*) AS n, max(caller) AS c FROM calls GROUP BY tumble(at, INTERVAL '1 hour'), person",
            "c",
        ),
        (
            "SELECT window_start, person, count(caller) AS n FROM calls GROUP BY hop(at, INTERVAL '1 hour', INTERVAL '2 hours'), person",
            "",
        ),
        (
            "SELECT window_start, caller, count(*) AS n FROM calls GROUP BY session(at, INTERVAL '1 hour'), caller",
            "caller",
        ),
        (
            "SELECT window_start, grid, max(street) AS s, count(*) AS n FROM homes GROUP BY tumble(since, INTERVAL '1 day'), grid EMIT FINAL",
            "s",
        ),
        ("SELECT town, count(*) AS n, max(name) AS m FROM people GROUP BY town EMIT CHANGES EVERY '5 seconds'", "m"),
    ]);
}

#[test]
fn windows_add_what_their_functions_hand_on() {
    check(&[
        ("SELECT id, lag(name) OVER w AS a, lag(id) OVER w AS b, row_number() OVER w AS c, count(name) OVER w AS d, last_value(name) OVER w AS e
          FROM people WINDOW w AS (PARTITION BY town ORDER BY name, id)", "a e"),
        ("SELECT town, id FROM people QUALIFY row_number() OVER (PARTITION BY town ORDER BY name, id) = 1", ""),
        ("SELECT id, town, name FROM people ORDER BY town, id LIMIT 3", "name"),
        ("SELECT call_id, lag(caller) OVER (PARTITION BY person ORDER BY arrival) AS a, sum(n) OVER (PARTITION BY person ORDER BY arrival) AS b FROM calls",
         "a"),
        ("SELECT call_id, array_agg(caller) OVER (PARTITION BY person ORDER BY at RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS a, n FROM calls",
         "a"),
        ("SELECT call_id, n FROM calls QUALIFY row_number() OVER (PARTITION BY caller ORDER BY arrival) = 1", ""),
        ("SELECT DISTINCT ON (person) person, call_id, caller FROM calls ORDER BY person, arrival", "caller"),
    ]);
}

#[test]
fn lists_are_unnested_with_their_fields() {
    check(&[
        (
            "SELECT call_id, s['n'] AS n, s['c'] AS c FROM (SELECT call_id, unnest(make_array(named_struct('n', n, 'c', caller))) AS s FROM calls)",
            "c",
        ),
        ("SELECT call_id, n, unnest(make_array(caller, person)) AS x FROM calls", "x"),
        ("SELECT call_id, caller, unnest(make_array(n, n + 1)) AS x FROM calls", "caller"),
    ]);
}

#[test]
fn unions_views_and_changes_keep_columns_apart() {
    check(&[
        ("SELECT call_id, caller AS x, at FROM calls UNION ALL SELECT reply_id, person, at FROM replies", "x"),
        ("SELECT reply_id, person AS x, at FROM replies UNION ALL SELECT call_id, caller, at FROM calls", "x"),
        ("CREATE VIEW v AS SELECT id, name AS x, town FROM people;; SELECT id, x, town FROM v", "x"),
        (
            "CREATE VIEW v AS SELECT town, max(name) AS x, count(*) AS n FROM people GROUP BY town;;
          SELECT a.town, a.n, b.x FROM v AS a JOIN v AS b ON a.town = b.town",
            "x",
        ),
        (
            "WITH w AS (SELECT town, max(name) AS x, count(*) AS n FROM people GROUP BY town) SELECT town, n, x FROM w",
            "x",
        ),
        ("CREATE TABLE t (PRIMARY KEY (id)) AS SELECT id, name, town FROM people;; SELECT id, town FROM t", ""),
        ("CREATE STREAM t AS SELECT call_id, caller AS c, n FROM calls;; SELECT call_id, c, n FROM t", "c"),
        ("SELECT after.id AS id, after.name AS a, before.town AS b, revision FROM CHANGES(people)", "a"),
        ("SELECT after, before['town'] AS b FROM CHANGES(people)", "after"),
        (
            "SELECT CASE WHEN after IS NULL THEN before ELSE after END['town'] AS a, coalesce(after, before)['name'] AS b FROM CHANGES(people)",
            "b",
        ),
        (
            "CREATE TABLE t AS SELECT town, max(name) AS x, count(*) AS n FROM people GROUP BY town;; SELECT after.n AS n, after.x AS x FROM CHANGES(t)",
            "x",
        ),
        ("SELECT person, since, street, grid FROM PASSED(homes, since)", "street"),
        ("SELECT column1 AS k, max(column2) AS v FROM (VALUES ('a', 1), ('b', 2)) GROUP BY column1", ""),
    ]);
}

/// The codes of the findings, each with where it points.
fn refused(sink: &str) -> Vec<String> {
    let pack = Pack::from_text("rules.sql", format!("{SOURCES}{sink}"));
    let (statements, findings) = parse(&pack);
    assert!(findings.is_empty(), "{}", render(&findings, &pack));
    let catalog = resolve(statements, None).unwrap_or_else(|f| panic!("{}", render(&f, &pack)));
    let findings = plan(&catalog).err().unwrap_or_default();
    let line = SOURCES.lines().count() as u64 + 1;
    findings.iter().map(|f| format!("{} {}:{} {}", f.code, f.span.line - line, f.span.column, f.message)).collect()
}

#[test]
fn a_sink_that_may_not_have_them_is_refused_where_it_writes_them() {
    let plain = |query: &str| refused(&format!("CREATE SINK s WITH (topic = 's', format = 'json') AS\n{query};"));
    assert_eq!(
        plain("SELECT id, town,\nupper(name) AS who, phones FROM people"),
        [
            "C0454 2:1 column `who` of sink `s` holds values of `people.name`, which is PRIVATE",
            "C0454 2:21 column `phones` of sink `s` holds values of `people.phones`, which is PRIVATE"
        ]
    );
    assert_eq!(
        plain("SELECT * FROM people"),
        [
            "C0454 1:8 columns `name`, `phones` of sink `s` hold values of PRIVATE columns: `people.name`, `people.phones`"
        ]
    );
    assert_eq!(plain("SELECT id, town, resident_id_mask(name) AS masked FROM people"), Vec::<String>::new());
    // A sink is also refused what it writes as its key, or is counted by.
    let by_name = "CREATE SINK s WITH (topic = 's', format = 'json', count_by = 'name', allow_private = true) AS\nSELECT id, name FROM people;";
    assert_eq!(
        refused(by_name),
        ["C0451 0:62 sink `s` is counted by column `name`, which holds values of a PRIVATE column"]
    );
}
