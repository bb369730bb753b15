//! Statements as they are parsed, printed and refused, with their positions.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::dialect::{
    Kind, OptionValue, Pack, SourceFile, Statement, StatementKind, findings, parse, parse_query, render, render_lines,
    render_styled,
};

fn check(text: &str, expected: Expect) {
    let pack = Pack::from_text("rules.sql", text);
    expected.assert_eq(&render(&parse(&pack).1, &pack));
}

fn parsed(text: &str) -> Vec<Statement> {
    let pack = Pack::from_text("rules.sql", text);
    let (statements, errors) = parse(&pack);
    assert!(errors.is_empty(), "{}", render(&errors, &pack));
    statements
}

fn query_of(text: &str) -> String {
    match parsed(text).remove(0).kind {
        StatementKind::CreateQuery(query) => query.query.to_string(),
        kind => panic!("{kind:?}"),
    }
}

// === What is understood ===

const PACK: &str = r#"-- rules of a town
SET TIME ZONE = 'Asia/Shanghai';
CREATE STREAM passages (
    passage_id VARCHAR NOT NULL PRIMARY KEY, "Device" VARCHAR PRIVATE, passed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    tags VARCHAR ARRAY, place STRUCT(lon DOUBLE, lat DOUBLE), price DECIMAL(10, 2)
) WITH (topic = 'passages', event_time = 'passed_at', watermark_delay = '30 seconds', max_future = INTERVAL '1' HOUR);
CREATE TABLE identities (plate VARCHAR, valid_from TIMESTAMPTZ, person_id VARCHAR, PRIMARY KEY (plate, valid_from))
    WITH (valid_from = 'valid_from', broadcast = false);
CREATE VIEW counted AS
    SELECT c.plate, i.person_id, count(*) FILTER (WHERE c.helmet) AS n, CASE WHEN c.a = 1 THEN '一' ELSE 'b' END AS k
    FROM captures c LEFT JOIN identities FOR SYSTEM_TIME AS OF c.at AS i ON c.plate = i.plate
    WHERE c.at >= TIMESTAMP '2026-01-01' AND c.b IN (1, 2, 3) GROUP BY 1, 2, 4 HAVING count(*) > 3;
CREATE TABLE rides (PRIMARY KEY (id)) WITH (allowed_lateness = '1 hour') AS
    SELECT id, row_number() OVER w AS n FROM counted WINDOW w AS (PARTITION BY id ORDER BY at) QUALIFY n = 1 EMIT FINAL;
/* a sink /* in comments */ */
CREATE SINK actions WITH (key = 'id', allow_private = true, n = -1.5) AS
    SELECT after.id, u['a'], unnest(l) FROM CHANGES(rides) UNION ALL (SELECT 1, 2, 3) EMIT CHANGES EVERY '5 seconds';
"#;

#[test]
fn a_pack_is_its_statements_in_order_with_their_places() {
    let statements = parsed(PACK);
    let described: Vec<_> = statements
        .iter()
        .map(|statement| {
            let what = match &statement.kind {
                StatementKind::SetTimeZone { zone, .. } => format!("zone {zone}"),
                StatementKind::CreateSource(source) => format!("{} {} read", source.kind, source.name.value),
                StatementKind::CreateQuery(query) => format!("{} {} as", query.kind, query.name.value),
            };
            (what, statement.span.line, statement.span.end_line)
        })
        .collect();
    let expected = [
        ("zone Asia/Shanghai", 2, 2),
        ("stream passages read", 3, 6),
        ("table identities read", 7, 8),
        ("view counted as", 9, 12),
        ("table rides as", 13, 14),
        ("sink actions as", 16, 17),
    ];
    assert_eq!(described, expected.map(|(what, from, to)| (what.to_owned(), from, to)));
}

#[test]
fn files_of_a_pack_are_parsed_one_by_one_and_spans_say_which() {
    let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
    let pack =
        Pack { files: vec![file("a.sql", "CREATE VIEW a AS SELECT 1"), file("b.sql", "\n CREATE VIEW b SELECT 1;")] };
    let (statements, errors) = parse(&pack);
    assert_eq!(statements.len(), 1);
    assert_eq!(statements[0].span.file, 0);
    assert_eq!(
        render_lines(&errors, &pack),
        "b.sql:2:16: error[C0002]: expected `WITH`, `AS` or `;`, found `SELECT` (Write what is expected in its place, or look before it for a word too many or a comma too few.)\n"
    );
}

#[test]
fn the_time_zone_is_set_with_or_without_a_sign() {
    for text in ["SET TIME ZONE = 'UTC'", "set time zone 'UTC';", "SET TIME ZONE TO 'UTC'", "SET TIMEZONE = UTC"] {
        assert!(matches!(&parsed(text)[0].kind, StatementKind::SetTimeZone { zone, .. } if zone == "UTC"), "{text}");
    }
}

#[test]
fn emit_ends_a_statement_and_is_no_alias() {
    for query in [
        "SELECT a FROM t",
        "SELECT 1",
        "SELECT a FROM t AS x WHERE a",
        "SELECT a FROM t GROUP BY a",
        "SELECT count(*) FROM (SELECT 1) x",
    ] {
        assert_eq!(query_of(&format!("CREATE VIEW v AS {query} EMIT FINAL")), query);
        assert_eq!(query_of(&format!("CREATE VIEW v AS {query} emit changes;")), query);
    }
    assert_eq!(
        query_of("CREATE VIEW v AS SELECT emit AS emit FROM emit AS emit"),
        "SELECT emit AS emit FROM emit AS emit"
    );
}

#[test]
fn a_comment_that_other_databases_execute_is_a_comment() {
    assert_eq!(query_of("CREATE VIEW v AS SELECT 1 /*! , 2 */ + /*+ hint */ 3"), "SELECT 1 + 3");
}

#[test]
fn option_values_are_texts_numbers_booleans_and_intervals() {
    let StatementKind::CreateQuery(sink) = parsed(
        "CREATE SINK s WITH (a = 'it''s', b = 10, c = -0.5, d = TRUE, 'e.f' = false, g = INTERVAL '30' SECOND, h = INTERVAL '1 hour') AS SELECT 1",
    )
    .remove(0)
    .kind
    else {
        panic!()
    };
    assert_eq!(sink.kind, Kind::Sink);
    let options: Vec<_> = sink.options.into_iter().map(|option| (option.name.value, option.value)).collect();
    let text = |text: &str| OptionValue::Text(text.into());
    let number = |text: &str| OptionValue::Number(text.into());
    let expected = [
        ("a", text("it's")),
        ("b", number("10")),
        ("c", number("-0.5")),
        ("d", OptionValue::Boolean(true)),
        ("e.f", OptionValue::Boolean(false)),
        ("g", text("30 second")),
        ("h", text("1 hour")),
    ];
    assert_eq!(options, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn names_are_lower_case_unless_quoted() {
    let StatementKind::CreateSource(source) = parsed("CREATE STREAM Passages (\"Plate\" INT, AT INT)").remove(0).kind
    else {
        panic!()
    };
    assert_eq!(source.name.value, "passages");
    assert_eq!(source.columns.iter().map(|c| c.name.value.as_str()).collect::<Vec<_>>(), ["Plate", "at"]);
}

#[test]
fn a_query_without_a_pack_is_parsed_with_the_same_limits() {
    assert_eq!(parse_query("select 1 from t; -- done").unwrap().to_string(), "SELECT 1 FROM t");
    for text in ["SELECT 1; SELECT 2", "DROP TABLE t", "", "SELECT 'a", "SELECT 1 EMIT FINAL"] {
        assert!(parse_query(text).is_err_and(|error| error.span.is_known()), "{text}");
    }
    for text in deep_statements(20_000) {
        if let Some(query) = text.strip_prefix("CREATE VIEW v AS ") {
            assert_eq!(parse_query(query).unwrap_err().code, "C0004");
        }
    }
}

// === What is refused ===

#[test]
fn all_errors_of_a_pack_are_found() {
    check(
        "CREATE STREAM a (id INT,);\nCREATE VIEW b AS SELECT FROM WHERE;\nCREATE VIEW ok AS SELECT 1;\nDROP TABLE c;\nCREATE SINK d AS SELECT (1;\n",
        expect![[r#"
            error[C0002]: expected a column, found `)`
             --> rules.sql:1:25
              |
            1 | CREATE STREAM a (id INT,);
              |                         ^
              |
              = hint: Leave out the comma before `)`.

            error[C0002]: expected an expression, found `FROM`
             --> rules.sql:2:25
              |
            2 | CREATE VIEW b AS SELECT FROM WHERE;
              |                         ^^^^
              |
              = hint: Write what is expected in its place, or look before it for a word too many or a comma too few.

            error[C0005]: a pack cannot hold the statement `DROP ..`
             --> rules.sql:4:1
              |
            4 | DROP TABLE c;
              | ^^^^
              |
              = hint: A pack holds `SET TIME ZONE` and `CREATE STREAM`, `TABLE`, `VIEW` or `SINK`; name a query with `CREATE VIEW name AS ..`.

            error[C0002]: expected `)`, found the end of the statement
             --> rules.sql:5:27
              |
            5 | CREATE SINK d AS SELECT (1;
              |                           ^
              |
              = hint: The statement ends too early: complete it, or look for a `;` too many.
        "#]],
    );
}

#[test]
fn a_forgotten_semicolon_is_found_and_the_next_statement_parsed() {
    check(
        "CREATE VIEW a AS SELECT 1\nCREATE VIEW b AS SELECT 2;\nCREATE VIEW c AS SELECT 3 CREATE VIEW d AS SELECT 4",
        expect![[r#"
            error[C0003]: a statement begins before the one above it was ended
             --> rules.sql:2:1
              |
            1 | CREATE VIEW a AS SELECT 1
              |                          - `;` is missing
            2 | CREATE VIEW b AS SELECT 2;
              | ^^^^^^
              |
              = hint: End every statement with `;`.

            error[C0002]: expected `;`, found `VIEW`
             --> rules.sql:3:34
              |
            3 | CREATE VIEW c AS SELECT 3 CREATE VIEW d AS SELECT 4
              |                                  ^^^^
              |
              = hint: End every statement with `;`.
        "#]],
    );
    let pack = Pack::from_text("p", "CREATE VIEW a AS SELECT (\nCREATE VIEW b AS SELECT 2");
    let (statements, errors) = parse(&pack);
    assert_eq!((statements.len(), errors.len()), (1, 1));
}

#[test]
fn text_that_is_not_sql_is_shown_where_it_begins() {
    check(
        "CREATE VIEW a AS SELECT 'open FROM t;\n",
        expect![[r#"
            error[C0001]: a quote is not closed
             --> rules.sql:1:25
              |
            1 | CREATE VIEW a AS SELECT 'open FROM t;
              |                         ^
              |
              = hint: Close the quote; a quote inside of a text is written twice, as in 'it''s'.
        "#]],
    );
    check(
        "CREATE VIEW a AS SELECT 1; /* open\nCREATE VIEW b AS SELECT 1;",
        expect![[r#"
            error[C0001]: a comment is not closed
             --> rules.sql:1:28
              |
            1 | CREATE VIEW a AS SELECT 1; /* open
              |                            ^
              |
              = hint: End the comment with `*/`; every `/*` inside it needs its own.
        "#]],
    );
    check(
        "CREATE VIEW a AS SELECT \"open",
        expect![[r#"
            error[C0001]: a quote is not closed
             --> rules.sql:1:25
              |
            1 | CREATE VIEW a AS SELECT "open
              |                         ^
              |
              = hint: Close the quote; a quote inside of a text is written twice, as in 'it''s'.
        "#]],
    );
    check(
        "CREATE VIEW a AS SELECT 1 \u{7} 2",
        expect![[r#"
            error[C0002]: expected `;`, found `\u{7}`
             --> rules.sql:1:27
              |
            1 | CREATE VIEW a AS SELECT 1 ␇ 2
              |                           ^
              |
              = hint: The statement is complete before this word. Clauses stand in this order: WITH, SELECT, FROM and JOIN, WHERE, GROUP BY, HAVING, QUALIFY, EMIT.
        "#]],
    );
}

#[test]
fn statements_that_a_pack_cannot_hold_say_what_it_can() {
    check(
        "SELECT * FROM t",
        expect![[r#"
        error[C0005]: a pack cannot hold the statement `SELECT ..`
         --> rules.sql:1:1
          |
        1 | SELECT * FROM t
          | ^^^^^^
          |
          = hint: A pack holds `SET TIME ZONE` and `CREATE STREAM`, `TABLE`, `VIEW` or `SINK`; name a query with `CREATE VIEW name AS ..`.
    "#]],
    );
    check(
        "SET search_path = 'x'",
        expect![[r#"
        error[C0005]: a pack can set its time zone only
         --> rules.sql:1:5
          |
        1 | SET search_path = 'x'
          |     ^^^^^^^^^^^
          |
          = hint: Write `SET TIME ZONE = 'Asia/Shanghai';`. Other settings belong to the command line.
    "#]],
    );
    check(
        "SET TIME ZONE = 8",
        expect![[r#"
            error[C0002]: expected the name of a time zone in quotes, as 'Asia/Shanghai', found `8`
             --> rules.sql:1:17
              |
            1 | SET TIME ZONE = 8
              |                 ^
              |
              = hint: Write what is expected in its place, or look before it for a word too many or a comma too few.
        "#]],
    );
    check(
        "CREATE INDEX i ON t (a)",
        expect![[r#"
        error[C0002]: expected `STREAM`, `TABLE`, `VIEW` or `SINK`, found `INDEX`
         --> rules.sql:1:8
          |
        1 | CREATE INDEX i ON t (a)
          |        ^^^^^
          |
          = hint: A pack creates `STREAM`, `TABLE`, `VIEW` and `SINK`.
    "#]],
    );
    check(
        "CREATE MATERIALIZED VIEW v AS SELECT 1",
        expect![[r#"
        error[C0002]: expected `STREAM`, `TABLE`, `VIEW` or `SINK`, found `MATERIALIZED`
         --> rules.sql:1:8
          |
        1 | CREATE MATERIALIZED VIEW v AS SELECT 1
          |        ^^^^^^^^^^^^
          |
          = hint: Write `CREATE TABLE name AS ..`: a derived table is kept up to date at all times.
    "#]],
    );
    check(
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        expect![[r#"
        error[C0006]: `OR REPLACE` has no meaning in a pack: a pack says what there is, and nothing exists before it
         --> rules.sql:1:8
          |
        1 | CREATE OR REPLACE VIEW v AS SELECT 1
          |        ^^
          |
          = hint: Leave out `OR REPLACE`; change a rule by changing its file.
    "#]],
    );
    check(
        "CREATE TABLE IF NOT EXISTS t (a INT PRIMARY KEY)",
        expect![[r#"
        error[C0006]: `IF NOT EXISTS` has no meaning in a pack: a pack says what there is, and nothing exists before it
         --> rules.sql:1:14
          |
        1 | CREATE TABLE IF NOT EXISTS t (a INT PRIMARY KEY)
          |              ^^
          |
          = hint: Leave out `IF NOT EXISTS`; change a rule by changing its file.
    "#]],
    );
    check(
        "CREATE VIEW v AS INSERT INTO t VALUES (1)",
        expect![[r#"
            error[C0002]: expected a query, found `INSERT`
             --> rules.sql:1:18
              |
            1 | CREATE VIEW v AS INSERT INTO t VALUES (1)
              |                  ^^^^^^
              |
              = hint: A named query is a `SELECT`, also behind `WITH ..`.
        "#]],
    );
    check(
        "CREATE VIEW v AS WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        expect![[r#"
        error[C0005]: a named query must be a SELECT, it cannot write
         --> rules.sql:1:18
          |
        1 | CREATE VIEW v AS WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x
          |                  ^^^^
          |
          = hint: Rows are written by sinks: `CREATE SINK name AS SELECT ..`.
    "#]],
    );
}

#[test]
fn clauses_that_a_relation_does_not_take_say_what_to_write() {
    check(
        "CREATE VIEW v (a INT) AS SELECT 1",
        expect![[r#"
        error[C0007]: view `v` declares columns or a key
         --> rules.sql:1:15
          |
        1 | CREATE VIEW v (a INT) AS SELECT 1
          |               ^
          |
          = hint: Write `CREATE VIEW name AS SELECT ..`: the query says the columns.
    "#]],
    );
    check(
        "CREATE SINK s WITH (topic = 's')",
        expect![[r#"
        error[C0007]: sink `s` has no query
         --> rules.sql:1:13
          |
        1 | CREATE SINK s WITH (topic = 's')
          |             ^
          |
          = hint: Write `CREATE SINK name AS SELECT ..`.
    "#]],
    );
    check(
        "CREATE TABLE t",
        expect![[r#"
        error[C0007]: table `t` has neither columns nor a query
         --> rules.sql:1:14
          |
        1 | CREATE TABLE t
          |              ^
          |
          = hint: List the columns that are read, or say `AS SELECT ..`.
    "#]],
    );
    check(
        "CREATE TABLE t (a INT, PRIMARY KEY (a)) AS SELECT 1",
        expect![[r#"
        error[C0007]: table `t` has both columns and a query
         --> rules.sql:1:16
          |
        1 | CREATE TABLE t (a INT, PRIMARY KEY (a)) AS SELECT 1
          |                ^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: The query says the columns; only `(PRIMARY KEY (..))` may stand before `AS`.
    "#]],
    );
    check(
        "CREATE STREAM s (PRIMARY KEY (a)) AS SELECT 1",
        expect![[r#"
        error[C0007]: stream `s` declares a key, but a stream has none
         --> rules.sql:1:18
          |
        1 | CREATE STREAM s (PRIMARY KEY (a)) AS SELECT 1
          |                  ^^^^^^^^^^^^^^^
          |
          = hint: Leave out the key, or write `CREATE TABLE`.
    "#]],
    );
    check(
        "CREATE TABLE t (PRIMARY KEY (a), PRIMARY KEY (b)) AS SELECT 1",
        expect![[r#"
        error[C0118]: table `t` declares its key twice
         --> rules.sql:1:34
          |
        1 | CREATE TABLE t (PRIMARY KEY (a), PRIMARY KEY (b)) AS SELECT 1
          |                 ---------------  ^^^^^^^^^^^^^^^
          |                 |
          |                 first declared here
          |
          = hint: A key of several columns is written `PRIMARY KEY (a, b)`.
    "#]],
    );
    check(
        "CREATE VIEW v AS SELECT 1 WITH (topic = 'x')",
        expect![[r#"
        error[C0002]: expected `;`, found `WITH`
         --> rules.sql:1:27
          |
        1 | CREATE VIEW v AS SELECT 1 WITH (topic = 'x')
          |                           ^^^^
          |
          = hint: `WITH (..)` stands before `AS`.
    "#]],
    );
    check(
        "CREATE VIEW v AS SELECT a FROM t EMIT SOMETIMES",
        expect![[r#"
            error[C0002]: expected `FINAL` or `CHANGES`, found `SOMETIMES`
             --> rules.sql:1:39
              |
            1 | CREATE VIEW v AS SELECT a FROM t EMIT SOMETIMES
              |                                       ^^^^^^^^^
              |
              = hint: Write what is expected in its place, or look before it for a word too many or a comma too few.
        "#]],
    );
    check(
        "CREATE VIEW v AS (SELECT a FROM t EMIT FINAL)",
        expect![[r#"
            error[C0002]: expected `)`, found `EMIT`
             --> rules.sql:1:35
              |
            1 | CREATE VIEW v AS (SELECT a FROM t EMIT FINAL)
              |                                   ^^^^
              |
              = hint: `EMIT FINAL` or `EMIT CHANGES` stands once, at the end of the statement.
        "#]],
    );
}

#[test]
fn columns_and_options_that_are_not_well_formed_say_what_was_expected() {
    check(
        "CREATE STREAM s (a INT DEFAULT 3)",
        expect![[r#"
        error[C0002]: expected `,`, `)` or a constraint of column `a`, found `DEFAULT`
         --> rules.sql:1:24
          |
        1 | CREATE STREAM s (a INT DEFAULT 3)
          |                        ^^^^^^^
          |
          = hint: A column takes `NOT NULL`, `PRIMARY KEY` and `PRIVATE`.
    "#]],
    );
    check(
        "CREATE STREAM s (a, b INT)",
        expect![[r#"
        error[C0002]: column `a` has no type
         --> rules.sql:1:18
          |
        1 | CREATE STREAM s (a, b INT)
          |                  ^
          |
          = hint: Write the type behind the name, as `name VARCHAR`.
    "#]],
    );
    check(
        "CREATE STREAM s (a ARRAY<INT>)",
        expect![[r#"
        error[C0002]: expected a type, found `<`
         --> rules.sql:1:25
          |
        1 | CREATE STREAM s (a ARRAY<INT>)
          |                         ^
          |
          = hint: A list is written with its element first: `VARCHAR ARRAY`.
    "#]],
    );
    check(
        "CREATE STREAM s (a STRUCT<b INT>)",
        expect![[r#"
        error[C0002]: expected `(`, found `<`
         --> rules.sql:1:26
          |
        1 | CREATE STREAM s (a STRUCT<b INT>)
          |                          ^
          |
          = hint: A struct is written `STRUCT(a VARCHAR, b INT)`.
    "#]],
    );
    check(
        "CREATE STREAM s (a DECIMAL(x))",
        expect![[r#"
            error[C0002]: expected a whole number, found `x`
             --> rules.sql:1:28
              |
            1 | CREATE STREAM s (a DECIMAL(x))
              |                            ^
              |
              = hint: Write what is expected in its place, or look before it for a word too many or a comma too few.
        "#]],
    );
    check(
        "CREATE STREAM s (a INT b INT)",
        expect![[r#"
        error[C0002]: expected `,`, `)` or a constraint of column `a`, found `b`
         --> rules.sql:1:24
          |
        1 | CREATE STREAM s (a INT b INT)
          |                        ^
          |
          = hint: A column takes `NOT NULL`, `PRIMARY KEY` and `PRIVATE`.
    "#]],
    );
    check(
        "CREATE STREAM s (a INT) WITH (topic 'x')",
        expect![[r#"
            error[C0002]: expected `=`, found `'x'`
             --> rules.sql:1:37
              |
            1 | CREATE STREAM s (a INT) WITH (topic 'x')
              |                                     ^^^
              |
              = hint: Write what is expected in its place, or look before it for a word too many or a comma too few.
        "#]],
    );
    check(
        "CREATE STREAM s (a INT) WITH (topic = x)",
        expect![[r#"
        error[C0002]: expected a value, found `x`
         --> rules.sql:1:39
          |
        1 | CREATE STREAM s (a INT) WITH (topic = x)
          |                                       ^
          |
          = hint: A value is a text in single quotes, a number, `true`, `false` or an interval.
    "#]],
    );
    check(
        "CREATE STREAM s (a INT) WITH (topic = 'x'",
        expect![[r#"
            error[C0002]: expected `,` or `)`, found the end of the statement
             --> rules.sql:1:42
              |
            1 | CREATE STREAM s (a INT) WITH (topic = 'x'
              |                                          ^
              |
              = hint: The statement ends too early: complete it, or look for a `;` too many.
        "#]],
    );
}

#[test]
fn names_that_cannot_be_topics_or_files_are_refused() {
    check(
        "CREATE VIEW public.v AS SELECT 1",
        expect![[r#"
        error[C0008]: the name of view `public` has more than one part
         --> rules.sql:1:19
          |
        1 | CREATE VIEW public.v AS SELECT 1
          |                   ^
          |
          = hint: A pack has no schemas; join the parts with `_`.
    "#]],
    );
    check(
        "CREATE VIEW \"../v\" AS SELECT 1",
        expect![[r#"
        error[C0008]: the name of view `../v` contains `.`
         --> rules.sql:1:13
          |
        1 | CREATE VIEW "../v" AS SELECT 1
          |             ^^^^^^
          |
          = hint: A relation's name becomes that of topics and files: use letters, digits, `_` and `-` only.
    "#]],
    );
    check(
        "CREATE VIEW \"\" AS SELECT 1",
        expect![[r#"
            error[C0008]: the name of a view is empty
             --> rules.sql:1:13
              |
            1 | CREATE VIEW "" AS SELECT 1
              |             ^^
              |
              = hint: Give it a name of at least one letter.
        "#]],
    );
    check(
        "CREATE VIEW 'v' AS SELECT 1",
        expect![[r#"
            error[C0002]: expected the name of a view, found `'v'`
             --> rules.sql:1:13
              |
            1 | CREATE VIEW 'v' AS SELECT 1
              |             ^^^
              |
              = hint: Names stand without quotes, or in double quotes.
        "#]],
    );
}

#[test]
fn places_are_right_behind_wide_characters_and_tabs() {
    check(
        "CREATE VIEW v AS\r\n\tSELECT '违法', '🛵' AS b c FROM t",
        expect![[r#"
            error[C0002]: expected `;`, found `c`
             --> rules.sql:2:24
              |
            2 |     SELECT '违法', '🛵' AS b c FROM t
              |                              ^
              |
              = hint: The statement is complete before this word. Clauses stand in this order: WITH, SELECT, FROM and JOIN, WHERE, GROUP BY, HAVING, QUALIFY, EMIT.
        "#]],
    );
    let pack = Pack::from_text("p.sql", "CREATE VIEW v AS SELECT '违法' AS b c FROM t");
    assert!(render_lines(&parse(&pack).1, &pack).starts_with("p.sql:1:35: "));
}

#[test]
fn findings_are_data_and_colours_only_decorate() {
    let pack = Pack::from_text("p.sql", "CREATE VIEW a AS SELECT 1\nCREATE VIEW b AS SELECT 2;");
    let errors = parse(&pack).1;
    expect![[r#"
        [
          {
            "code": "C0003",
            "message": "a statement begins before the one above it was ended",
            "file": "p.sql",
            "line": 2,
            "column": 1,
            "end_line": 2,
            "end_column": 7,
            "hint": "End every statement with `;`.",
            "notes": [
              {
                "message": "`;` is missing",
                "file": "p.sql",
                "line": 1,
                "column": 26,
                "end_line": 1,
                "end_column": 27
              }
            ]
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&findings(&errors, &pack)).unwrap());
    assert!(render_styled(&errors, &pack).contains("\u{1b}["));
    assert_eq!(render(&[], &pack), "");
}

// === What nobody writes ===

/// Statements that are nested `n` deep, each in another way.
fn deep_statements(n: usize) -> Vec<String> {
    let deep = |open: &str, middle: &str, close: &str| format!("{}{middle}{}", open.repeat(n), close.repeat(n));
    let queries = [
        format!("SELECT {}", deep("(", "1", ")")),
        deep("(", "SELECT 1", ")"),
        deep("SELECT * FROM (", "SELECT 1", ") x"),
        format!("SELECT * FROM {}", deep("(", "t", ")")),
        format!("SELECT {}", deep("CASE WHEN a THEN ", "1", " END")),
        format!("SELECT {}", deep("f(", "1", ")")),
        format!("SELECT {}", deep("[", "1", "]")),
        format!("SELECT {}", deep("EXISTS (SELECT ", "1", ")")),
        format!("SELECT {}1", "- ".repeat(n)),
        format!("SELECT {}1", "NOT ".repeat(n)),
        format!("SELECT {}1", "INTERVAL ".repeat(n)),
        format!("SELECT {}a", "PRIOR ".repeat(n)),
        format!("SELECT CAST(1 AS {})", deep("ARRAY<", "INT", ">")),
        format!("SELECT CAST(1 AS {})", deep("STRUCT<a ", "INT", ">")),
        format!("SELECT CAST(1 AS {})", deep("Nullable(", "INT", ")")),
        format!("SELECT CAST(1 AS {})", deep("Map(INT, ", "INT", ")")),
        format!("SELECT CAST(1 AS INT{})", "[]".repeat(n)),
        vec!["SELECT 1"; n].join(" UNION ALL "),
        format!("SELECT * FROM t{}", " JOIN t ON a".repeat(n)),
        format!("SELECT {}", vec!["CASE WHEN a THEN b ELSE c END"; n].join(" + ")),
        format!("SELECT 1{}", " END + 1".repeat(n)),
    ];
    let chains = [
        "+ 1 ",
        "OR a ",
        "= 1 ",
        "IS NULL ",
        "::INT ",
        "AT TIME ZONE 'UTC' ",
        "IN (1) ",
        "BETWEEN 1 AND 2 ",
        "-> 'a' ",
        "|| 'a' ",
        "COLLATE x ",
        "IS DISTINCT FROM 2 ",
        "LIKE 'a' ESCAPE 'b' ",
        "IS NOT TRUE ",
        "NOT LIKE 'a' ",
        "% 2 ",
        "+ INTERVAL 1 ",
    ];
    let chains = chains.iter().map(|chain| format!("SELECT 1 {}", chain.repeat(n)));
    let types = [deep("STRUCT(a ", "INT", ")"), format!("INT{}", "[]".repeat(n)), format!("INT{}", " ARRAY".repeat(n))];
    let queries = queries.into_iter().chain(chains).map(|query| format!("CREATE VIEW v AS {query}"));
    queries.chain(types.iter().map(|data_type| format!("CREATE STREAM s (a {data_type})"))).collect()
}

#[test]
fn nesting_beyond_reason_is_an_error_with_a_place() {
    for text in deep_statements(20_000) {
        let pack = Pack::from_text("p.sql", &text);
        let (statements, errors) = parse(&pack);
        let head: String = text.chars().take(60).collect();
        assert_eq!((statements.len(), errors.len()), (0, 1), "{head}");
        assert_eq!(errors[0].code, "C0004", "{head}: {}", errors[0].message);
        assert!(errors[0].span.is_known(), "{head}");
        assert!(render(&errors, &pack).len() < 4_000, "{head}");
    }
}

#[test]
fn nesting_around_the_limits_is_parsed_printed_and_dropped_within_a_small_stack() {
    for n in [10, 20, 29, 45, 58, 100, 240, 299, 450, 499] {
        for text in deep_statements(n) {
            for statement in parse(&Pack::from_text("p.sql", &text)).0 {
                let StatementKind::CreateQuery(query) = statement.kind else { continue };
                assert_eq!(query.query, query.query.clone());
                assert!(!query.query.to_string().is_empty());
            }
        }
    }
}

#[test]
fn long_lists_are_not_deep() {
    let n = 5_000;
    for list in ["1, ", "a = 1, ", "a IN (1, 2), ", "CASE WHEN a = 1 THEN b ELSE c END, ", "f(a, b + 1), "] {
        assert_eq!(parsed(&format!("CREATE VIEW v AS SELECT {}1", list.repeat(n))).len(), 1, "{list}");
    }
    assert_eq!(parsed(&format!("CREATE VIEW v AS SELECT a IN ({}1)", "'x', ".repeat(n))).len(), 1);
    assert_eq!(
        parsed(&format!("CREATE VIEW v AS SELECT CASE {} END", "WHEN a = 1 AND b = 2 THEN c + 1 ".repeat(n))).len(),
        1
    );
    assert_eq!(parsed(&format!("CREATE VIEW v AS SELECT a WHERE {}c", "a OR b AND ".repeat(200))).len(), 1);
}

#[test]
fn a_file_that_is_no_sql_is_not_read_to_its_end() {
    let pack = Pack::from_text("p", "nonsense;\n".repeat(10_000));
    assert_eq!(parse(&pack).1.len(), 100);
}

/// What parse returns is well formed, and can be drawn.
fn assert_sound(text: &str) {
    let pack = Pack::from_text("p.sql", text);
    let (statements, errors) = parse(&pack);
    for error in &errors {
        assert!(error.span.is_known(), "{error:?}");
        assert!(!error.message.contains('\n') && error.message.chars().count() < 400, "{error:?}");
    }
    render(&errors, &pack);
    render_lines(&errors, &pack);
    let _ = crate::dialect::findings(&errors, &pack);
    drop(statements);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_parsed_or_refused_with_a_place(text in any::<String>()) {
        assert_sound(&text);
    }

    #[test]
    fn any_row_of_words_is_parsed_or_refused_with_a_place(
        words in prop::collection::vec(prop::sample::select(
            "CREATE STREAM TABLE VIEW SINK a \"b\" 'c' 1 ( ) , ; = WITH AS SELECT FROM PRIMARY KEY NOT NULL PRIVATE INT ARRAY STRUCT [ ] < > \
             EMIT FINAL CHANGES EVERY JOIN ON FOR SYSTEM_TIME OF CASE WHEN THEN END UNION ALL OR REPLACE SET TIME ZONE INTERVAL -- /* */ \n 违 \
             . * - + :: CAST OVER PARTITION BY ORDER WINDOW QUALIFY LATERAL VALUES EXISTS IN BETWEEN AND INSERT INTO"
                .split(' ').collect::<Vec<_>>()), 0..60),
    ) {
        assert_sound(&words.join(" "));
    }

    #[test]
    fn a_pack_with_holes_and_patches_is_parsed_or_refused_with_a_place(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..20, prop_oneof![
            Just(String::new()), "[(),;='\"\\-/*.\\[\\]<>a-z0-9 \n]{0,6}", any::<String>()]), 1..8),
    ) {
        let mut chars: Vec<char> = PACK.chars().collect();
        for (at, length, patch) in edits {
            let from = at.index(chars.len() + 1);
            let to = (from + length).min(chars.len());
            chars.splice(from..to, patch.chars());
        }
        assert_sound(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn a_statement_with_an_error_does_not_disturb_the_others(at in 0usize..5, broken in prop::sample::select(vec![
        "CREATE VIEW x AS SELECT ((1", "CREATE STREAM (", "WHAT IS THIS )))", "CREATE VIEW x AS SELECT CASE WHEN a", "CREATE TABLE x (a", "CREATE SINK x WITH ("])) {
        let mut statements: Vec<String> = (0..5).map(|i| format!("CREATE VIEW v{i} AS SELECT {i}")).collect();
        statements.insert(at, broken.into());
        let (statements, errors) = parse(&Pack::from_text("p", statements.join(";\n")));
        prop_assert_eq!((statements.len(), errors.len()), (5, 1));
    }
}
