//! What the catalog makes of declarations, and the exact words of each refusal.

use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono_tz::Tz;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::resolve;
use crate::catalog::{
    Catalog, Definition, Emit, Format, Headers, QueryRole, Rate, RelationKind, SinkMode, SinkOptions, SourceDefinition,
};
use crate::dialect::{Diagnostic, Pack, parse, render};

fn resolved(text: &str) -> Result<Catalog, Vec<Diagnostic>> {
    let (statements, errors) = parse(&Pack::from_text("pack.sql", text));
    assert_eq!(errors, []);
    resolve(statements, None)
}

fn catalog(text: &str) -> Catalog {
    resolved(text).unwrap_or_else(|errors| panic!("{}", render(&errors, &Pack::from_text("pack.sql", text))))
}

fn source(text: &str) -> SourceDefinition {
    catalog(text).sources.remove(0)
}

fn sink(text: &str) -> SinkOptions {
    match catalog(text).queries.remove(0).role {
        QueryRole::Sink(options) => *options,
        role => panic!("{role:?}"),
    }
}

fn check(text: &str, expected: Expect) {
    let pack = Pack::from_text("pack.sql", text);
    let (statements, mut errors) = parse(&pack);
    errors.extend(resolve(statements, None).err().unwrap_or_default());
    expected.assert_eq(&render(&errors, &pack));
}

#[test]
fn the_pack_of_the_manual_resolves() {
    let catalog = catalog(
        "SET TIME ZONE = 'Asia/Shanghai';  -- calendar functions of this pack use this zone
        CREATE STREAM passages (
            passage_id VARCHAR NOT NULL PRIMARY KEY, device_id VARCHAR NOT NULL,
            passed_at  TIMESTAMP WITH TIME ZONE NOT NULL, helmet BOOLEAN
        ) WITH (topic = 'passages', format = 'json', unique_for = '7 days',
                event_time = 'passed_at', watermark_delay = '30 seconds', idle_timeout = '10 seconds');
        CREATE TABLE captures (
            capture_id VARCHAR PRIMARY KEY, plate VARCHAR PRIVATE, captured_at TIMESTAMP WITH TIME ZONE NOT NULL
        ) WITH (event_time = 'captured_at', retention = '400 days');
        CREATE TABLE devices (device_id VARCHAR PRIMARY KEY, town VARCHAR) WITH (path = 'devices.csv', broadcast = true);
        CREATE VIEW counted AS SELECT * FROM captures; /* a named step */
        CREATE TABLE actions (PRIMARY KEY (action_id)) AS SELECT * FROM counted UNION ALL SELECT * FROM counted;
        CREATE SINK disposal_actions WITH (key = 'person_id')
            AS SELECT after.action_id, revision FROM CHANGES(actions) EMIT CHANGES",
    );
    assert_eq!(catalog.time_zone, Tz::Asia__Shanghai);
    let names: Vec<_> =
        catalog.sources.iter().map(|s| &*s.name).chain(catalog.queries.iter().map(|q| &*q.name)).collect();
    assert_eq!(names, ["passages", "captures", "devices", "counted", "actions", "disposal_actions"]);
    let passages = &catalog.sources[0];
    assert_eq!(passages.columns[2].data_type, DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Shanghai".into())));
    assert_eq!((passages.event_time, passages.unique_for_ms), (Some(2), Some(604_800_000)));
    let captures = &catalog.sources[1];
    assert_eq!((captures.topic.as_deref(), captures.key.as_slice()), (Some("captures"), [0].as_slice()));
    assert!(captures.columns[0].not_null && captures.columns[1].private && !captures.columns[1].not_null);
    assert!(matches!(catalog.find("devices"), Some(Definition::Source(s)) if s.topic.is_none() && s.broadcast));
    assert!(matches!(catalog.find("counted"), Some(Definition::Query(q)) if matches!(q.role, QueryRole::View)));
    assert!(catalog.find("Counted").is_none());
    let Some(Definition::Query(sink)) = catalog.find("disposal_actions") else { panic!() };
    assert_eq!(sink.emit, Some(Emit::Changes));
    assert!(matches!(&sink.role, QueryRole::Sink(options) if options.topic == "disposal-actions"));
}

#[test]
fn every_option_of_a_table_is_kept() {
    let table = source(
        "CREATE TABLE t (id VARCHAR, since TIMESTAMP, at TIMESTAMPTZ, PRIMARY KEY (since, id))
         WITH (topic = 'a.b', format = 'JSON', event_time = 'at', watermark_delay = INTERVAL '1' MINUTE, idle_timeout = '2 s',
               retention = '3 days', max_future = '4 h', broadcast = 'true', valid_from = 'since')",
    );
    assert_eq!(table.kind, RelationKind::Table);
    assert_eq!(table.key, [1, 0]);
    assert_eq!((table.topic.as_deref(), table.path, table.format.format), (Some("a.b"), None, Format::Json));
    assert_eq!((table.event_time, table.valid_from), (Some(2), Some(1)));
    assert_eq!((table.watermark_delay_ms, table.idle_timeout_ms), (60_000, 2_000));
    assert_eq!((table.retention_ms, table.max_future_ms), (Some(259_200_000), 14_400_000));
    assert!(table.broadcast);
}

#[test]
fn every_option_of_a_stream_is_kept_and_the_rest_has_defaults() {
    let stream = source(
        "CREATE STREAM s (\"Id\" VARCHAR PRIMARY KEY, plate VARCHAR, at TIMESTAMPTZ)
         WITH ('event_time' = 'at', unique_for = INTERVAL '7 days', partitioned_by = 'plate, Id')",
    );
    assert_eq!(stream.unique_for_ms, Some(604_800_000));
    assert_eq!(stream.partitioned_by, Some(vec![1, 0]));
    assert_eq!((stream.watermark_delay_ms, stream.idle_timeout_ms, stream.max_future_ms), (0, 60_000, 600_000));
    let bare = source("CREATE STREAM road_events (id INT) WITH ()");
    assert_eq!(bare.topic.as_deref(), Some("road-events"));
    assert_eq!((bare.event_time, bare.retention_ms, bare.unique_for_ms, bare.valid_from), (None, None, None, None));
    assert!(bare.key.is_empty() && !bare.broadcast);
    let file = source("CREATE TABLE t (id INT PRIMARY KEY) WITH (path = 'a/b.parquet')");
    assert_eq!((file.topic, file.path.as_deref()), (None, Some("a/b.parquet")));
}

#[test]
fn every_option_of_a_sink_is_kept_and_the_rest_has_defaults() {
    let options = sink(
        "CREATE SINK s WITH (topic = 'x', format = 'json', key = 'a, B', headers = 'none', allow_private = true, mode = 'shadow',
            max_rate = '1000 per minute', settle = '5 seconds', emit_time = 'at', count_by = 'kind',
            allowed_lateness = '1 h') AS SELECT 1",
    );
    let key: Vec<_> = options.key.iter().flatten().map(|ident| ident.value.as_str()).collect();
    assert_eq!(key, ["a", "B"]);
    assert_eq!((options.topic.as_str(), options.headers, options.allow_private), ("x", Headers::None, true));
    assert_eq!((options.mode, options.settle_ms), (SinkMode::Shadow, 5_000));
    assert_eq!(options.max_rate, Some(Rate { rows: 1000, per_ms: 60_000 }));
    assert_eq!(options.emit_time.map(|ident| ident.value), Some("at".into()));
    assert_eq!(options.count_by.map(|ident| ident.value), Some("kind".into()));
    let bare = sink("CREATE SINK helmet_rates AS SELECT 1");
    assert_eq!((bare.topic.as_str(), bare.headers, bare.allow_private), ("helmet-rates", Headers::Minimal, false));
    assert_eq!((bare.mode, bare.max_rate, bare.settle_ms), (SinkMode::Live, None, 0));
    assert!(bare.key.is_none() && bare.emit_time.is_none() && bare.count_by.is_none());
}

#[test]
fn a_query_keeps_its_lateness_its_key_and_when_it_emits() {
    let catalog = catalog(
        "CREATE STREAM a WITH (allowed_lateness = '10 min', wait = '1 minute') AS SELECT 1 EMIT FINAL;
         CREATE TABLE b (PRIMARY KEY (Id, \"Of\")) AS SELECT 1 EMIT CHANGES EVERY '5 seconds';
         CREATE VIEW c AS WITH x AS (SELECT 1) SELECT * FROM x",
    );
    let [a, b, c] = catalog.queries.as_slice() else { panic!() };
    assert_eq!((a.allowed_lateness_ms, a.emit, a.emit_every_ms), (600_000, Some(Emit::Final), None));
    assert_eq!((b.allowed_lateness_ms, b.emit, b.emit_every_ms), (0, Some(Emit::Changes), Some(5_000)));
    assert_eq!((c.emit, c.wait_ms, a.wait_ms), (None, 0, 60_000));
    let QueryRole::Table { key: Some(key) } = &b.role else { panic!() };
    assert_eq!(
        key.iter().map(|ident| (ident.value.as_str(), ident.quote_style)).collect::<Vec<_>>(),
        [("id", None), ("Of", Some('"'))]
    );
}

#[test]
fn types_are_those_of_arrow() {
    let table = source(
        "CREATE STREAM s (a TEXT, b STRING, c SMALLINT, d INTEGER, e BIGINT, f DOUBLE PRECISION, g FLOAT, h REAL, i DECIMAL(10, 2), j DATE,
            k TIMESTAMP(3), l VARCHAR ARRAY, m INT[][], n STRUCT(x VARCHAR, \"Y\" STRUCT(z TIMESTAMPTZ) ARRAY), o BOOL)",
    );
    let list = |item| DataType::List(Field::new_list_field(item, true).into());
    let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let inner = DataType::Struct(vec![Field::new("z", utc, true)].into());
    let expected = [
        DataType::Utf8,
        DataType::Utf8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float64,
        DataType::Float64,
        DataType::Float64,
        DataType::Decimal128(10, 2),
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Millisecond, None),
        list(DataType::Utf8),
        list(list(DataType::Int32)),
        DataType::Struct(vec![Field::new("x", DataType::Utf8, true), Field::new("Y", list(inner), true)].into()),
        DataType::Boolean,
    ];
    let types: Vec<_> = table.columns.iter().map(|column| column.data_type.clone()).collect();
    assert_eq!(types, expected);
}

#[test]
fn a_zone_from_outside_overrides_that_of_the_pack_but_does_not_excuse_it() {
    let (statements, _) =
        parse(&Pack::from_text("p", "SET TIME ZONE 'Asia/Shanghai'; CREATE STREAM s (at TIMESTAMPTZ)"));
    let catalog = resolve(statements, Some(Tz::Europe__London)).unwrap();
    assert_eq!(catalog.time_zone, Tz::Europe__London);
    assert_eq!(
        catalog.sources[0].columns[0].data_type,
        DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/London".into()))
    );
    let (statements, _) = parse(&Pack::from_text("p", "SET TIME ZONE 'Nowhere'"));
    assert!(resolve(statements, Some(Tz::Europe__London)).is_err());
    let (statements, _) = parse(&Pack::default());
    assert_eq!(resolve(statements, None).unwrap().time_zone, Tz::UTC);
}

#[test]
fn zones_are_known_and_set_once() {
    check(
        "SET TIME ZONE = 'Asia/Shanghay'",
        expect![[r#"
        error[C0106]: time zone `Asia/Shanghay` does not exist
         --> pack.sql:1:17
          |
        1 | SET TIME ZONE = 'Asia/Shanghay'
          |                 ^^^^^^^^^^^^^^^
          |
          = hint: Did you mean 'Asia/Shanghai'?
    "#]],
    );
    check(
        "SET TIME ZONE = 'berlin'",
        expect![[r#"
        error[C0106]: time zone `berlin` does not exist
         --> pack.sql:1:17
          |
        1 | SET TIME ZONE = 'berlin'
          |                 ^^^^^^^^
          |
          = hint: Did you mean 'Europe/Berlin'?
    "#]],
    );
    check(
        "SET TIME ZONE = '+08:00'",
        expect![[r#"
        error[C0106]: time zone `+08:00` does not exist
         --> pack.sql:1:17
          |
        1 | SET TIME ZONE = '+08:00'
          |                 ^^^^^^^^
          |
          = hint: Zones have names of the IANA database, as 'Asia/Shanghai', 'Europe/Berlin' or 'UTC'.
    "#]],
    );
    check(
        "SET TIME ZONE = 'UTC';\nCREATE VIEW v AS SELECT 1;\nSET TIME ZONE = 'UTC'",
        expect![[r#"
        error[C0107]: the time zone of the pack is set twice
         --> pack.sql:3:1
          |
        1 | SET TIME ZONE = 'UTC';
          | --------------------- first set here
        2 | CREATE VIEW v AS SELECT 1;
        3 | SET TIME ZONE = 'UTC'
          | ^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: All files of a pack share one time zone; keep one of the two.
    "#]],
    );
}

#[test]
fn names_are_declared_once() {
    check(
        "CREATE TABLE captures (id VARCHAR PRIMARY KEY);\nCREATE VIEW rides AS SELECT 1;\nCREATE SINK Captures AS SELECT 1",
        expect![[r#"
            error[C0101]: sink `captures` has the name of another relation
             --> pack.sql:3:13
              |
            1 | CREATE TABLE captures (id VARCHAR PRIMARY KEY);
              |              -------- the table is declared here
            2 | CREATE VIEW rides AS SELECT 1;
            3 | CREATE SINK Captures AS SELECT 1
              |             ^^^^^^^^
              |
              = hint: Rename one of the two; all files of a pack share one set of names.
        "#]],
    );
    check(
        "CREATE STREAM s (\n  plate VARCHAR,\n  at TIMESTAMP,\n  Plate INT\n)",
        expect![[r#"
        error[C0102]: column `plate` of stream `s` is declared twice
         --> pack.sql:4:3
          |
        2 |   plate VARCHAR,
          |   ----- first declared here
        3 |   at TIMESTAMP,
        4 |   Plate INT
          |   ^^^^^
          |
          = hint: Remove or rename one of the two.
    "#]],
    );
    check(
        "CREATE STREAM s (a STRUCT(x INT, x VARCHAR))",
        expect![[r#"
        error[C0102]: field `x` of a struct is declared twice
         --> pack.sql:1:34
          |
        1 | CREATE STREAM s (a STRUCT(x INT, x VARCHAR))
          |                           -      ^
          |                           |
          |                           first declared here
          |
          = hint: Remove or rename one of the two.
    "#]],
    );
    check(
        "CREATE STREAM s (_offset BIGINT, _row INT)",
        expect![[r#"
        error[C0103]: column `_offset` of stream `s` has a name that the engine uses itself
         --> pack.sql:1:18
          |
        1 | CREATE STREAM s (_offset BIGINT, _row INT)
          |                  ^^^^^^^
          |
          = hint: Every source has `_topic`, `_partition`, `_offset`, `_timestamp`, `_key`, `_headers` without declaring them; choose another name.

        error[C0103]: column `_row` of stream `s` has a name that the engine uses itself
         --> pack.sql:1:34
          |
        1 | CREATE STREAM s (_offset BIGINT, _row INT)
          |                                  ^^^^
          |
          = hint: Every source has `_topic`, `_partition`, `_offset`, `_timestamp`, `_key`, `_headers` without declaring them; choose another name.
    "#]],
    );
}

#[test]
fn types_that_do_not_exist_are_named_with_what_was_meant() {
    check(
        "CREATE STREAM s (a VARCHR, b TINYINT, c FOO)",
        expect![[r#"
            error[C0104]: type `VARCHR` does not exist
             --> pack.sql:1:20
              |
            1 | CREATE STREAM s (a VARCHR, b TINYINT, c FOO)
              |                    ^^^^^^
              |
              = hint: Did you mean `VARCHAR`?

            error[C0104]: type `TINYINT` does not exist
             --> pack.sql:1:30
              |
            1 | CREATE STREAM s (a VARCHR, b TINYINT, c FOO)
              |                              ^^^^^^^
              |
              = hint: Did you mean `SMALLINT`?

            error[C0104]: type `FOO` does not exist
             --> pack.sql:1:41
              |
            1 | CREATE STREAM s (a VARCHR, b TINYINT, c FOO)
              |                                         ^^^
              |
              = hint: Types are VARCHAR, BOOLEAN, SMALLINT, INT, BIGINT, DOUBLE, DECIMAL(p, s), DATE, TIMESTAMP, TIMESTAMP WITH TIME ZONE, `VARCHAR ARRAY` and `STRUCT(a VARCHAR, ..)`.
        "#]],
    );
    check(
        "CREATE STREAM s (a VARCHAR(20), b DECIMAL(50, 2), c NUMERIC, d TIMESTAMP(6), e INT(4))",
        expect![[r#"
            error[C0105]: type `VARCHAR` takes no length
             --> pack.sql:1:20
              |
            1 | CREATE STREAM s (a VARCHAR(20), b DECIMAL(50, 2), c NUMERIC, d TIMESTAMP(6), e INT(4))
              |                    ^^^^^^^^^^^
              |
              = hint: Write `VARCHAR`; a rule that limits lengths says `WHERE length(column) <= n`.

            error[C0105]: type `DECIMAL(50, 2)` does not have 1 to 38 digits with at most as many decimals
             --> pack.sql:1:35
              |
            1 | CREATE STREAM s (a VARCHAR(20), b DECIMAL(50, 2), c NUMERIC, d TIMESTAMP(6), e INT(4))
              |                                   ^^^^^^^^^^^^^^
              |
              = hint: Write digits and decimals, as `DECIMAL(10, 2)`.

            error[C0105]: type `NUMERIC` needs its number of digits
             --> pack.sql:1:53
              |
            1 | CREATE STREAM s (a VARCHAR(20), b DECIMAL(50, 2), c NUMERIC, d TIMESTAMP(6), e INT(4))
              |                                                     ^^^^^^^
              |
              = hint: Write digits and decimals, as `DECIMAL(10, 2)`.

            error[C0105]: type `TIMESTAMP` has milliseconds and no other precision
             --> pack.sql:1:64
              |
            1 | CREATE STREAM s (a VARCHAR(20), b DECIMAL(50, 2), c NUMERIC, d TIMESTAMP(6), e INT(4))
              |                                                                ^^^^^^^^^^^^
              |
              = hint: Write `TIMESTAMP`; further digits of a record are cut.

            error[C0105]: type `INT` takes no length
             --> pack.sql:1:80
              |
            1 | CREATE STREAM s (a VARCHAR(20), b DECIMAL(50, 2), c NUMERIC, d TIMESTAMP(6), e INT(4))
              |                                                                                ^^^^^^
              |
              = hint: Write `INT`.
        "#]],
    );
}

#[test]
fn options_that_do_not_exist_or_apply_are_named_with_what_was_meant() {
    check(
        "CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', watermark_dely = '3 s')",
        expect![[r#"
        error[C0110]: option `watermark_dely` of stream `s` does not exist
         --> pack.sql:1:57
          |
        1 | CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', watermark_dely = '3 s')
          |                                                         ^^^^^^^^^^^^^^
          |
          = hint: Did you mean `watermark_delay`?
    "#]],
    );
    check(
        "CREATE STREAM s (at TIMESTAMP) WITH (buffer_size = 'zstd')",
        expect![[r#"
        error[C0110]: option `buffer_size` of stream `s` does not exist
         --> pack.sql:1:38
          |
        1 | CREATE STREAM s (at TIMESTAMP) WITH (buffer_size = 'zstd')
          |                                      ^^^^^^^^^^^
          |
          = hint: It takes `topic`, `path`, `format`, `delimiter`, `null_literal`, `schema_file`, `message`, `missing_columns`, `event_time`, `watermark_delay`, `idle_timeout`, `unique_for`, `max_future`, `partitioned_by`.
    "#]],
    );
    check(
        "CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', event_time = 'at')",
        expect![[r#"
        error[C0111]: option `event_time` of stream `s` is given twice
         --> pack.sql:1:57
          |
        1 | CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', event_time = 'at')
          |                                      ----------         ^^^^^^^^^^
          |                                      |
          |                                      first given here
          |
          = hint: Keep one of the two.
    "#]],
    );
    check(
        "CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', retention = '3 days', key = 'at')",
        expect![[r#"
        error[C0112]: option `retention` does not apply to stream `s`
         --> pack.sql:1:57
          |
        1 | CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', retention = '3 days', key = 'at')
          |                                                         ^^^^^^^^^
          |
          = hint: It belongs to source tables; state over a stream is dropped with its time bucket.

        error[C0112]: option `key` does not apply to stream `s`
         --> pack.sql:1:79
          |
        1 | CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', retention = '3 days', key = 'at')
          |                                                                               ^^^
          |
          = hint: It belongs to sinks; the key of a table is declared as `PRIMARY KEY (..)`.
    "#]],
    );
    check(
        "CREATE VIEW v WITH (topic = 'v', watermark_delay = '1 s') AS SELECT 1",
        expect![[r#"
        error[C0112]: option `topic` does not apply to view `v`
         --> pack.sql:1:21
          |
        1 | CREATE VIEW v WITH (topic = 'v', watermark_delay = '1 s') AS SELECT 1
          |                     ^^^^^
          |
          = hint: It belongs to sources and sinks; a derived relation is written by `CREATE SINK`.

        error[C0112]: option `watermark_delay` does not apply to view `v`
         --> pack.sql:1:34
          |
        1 | CREATE VIEW v WITH (topic = 'v', watermark_delay = '1 s') AS SELECT 1
          |                                  ^^^^^^^^^^^^^^^
          |
          = hint: It belongs to sources; a query takes `allowed_lateness`.
    "#]],
    );
    check(
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP) WITH (event_time = 'at', unique_for = '1 day')",
        expect![[r#"
            error[C0112]: option `unique_for` does not apply to table `t`
             --> pack.sql:1:76
              |
            1 | CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP) WITH (event_time = 'at', unique_for = '1 day')
              |                                                                            ^^^^^^^^^^
              |
              = hint: It belongs to source streams; the key of a table is unique anyway.
        "#]],
    );
}

#[test]
fn values_that_cannot_be_read_say_why() {
    check(
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP) WITH (event_time = 'at', retention = '1 month')",
        expect![[r#"
            error[C0113]: option `retention` of table `t` is not a duration: a month has no fixed length
             --> pack.sql:1:88
              |
            1 | CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP) WITH (event_time = 'at', retention = '1 month')
              |                                                                                        ^^^^^^^^^
              |
              = hint: Write days, as '30 days' or '31 days'.
        "#]],
    );
    check(
        "CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', watermark_delay = 30, idle_timeout = '0 s')",
        expect![[r#"
            error[C0113]: option `watermark_delay` of stream `s` is not a duration: the number 30 has no unit
             --> pack.sql:1:75
              |
            1 | CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', watermark_delay = 30, idle_timeout = '0 s')
              |                                                                           ^^
              |
              = hint: Write whole numbers with units from ms to weeks, as '30 seconds' or '1 hour 30 minutes'.

            error[C0113]: option `idle_timeout` of stream `s` is zero
             --> pack.sql:1:94
              |
            1 | CREATE STREAM s (at TIMESTAMP) WITH (event_time = 'at', watermark_delay = 30, idle_timeout = '0 s')
              |                                                                                              ^^^^^
              |
              = hint: Give it a duration above zero, or leave it out.
        "#]],
    );
    check(
        "CREATE TABLE t (id INT PRIMARY KEY) WITH (broadcast = 'yes', topic = 12, format = 'jsno')",
        expect![[r#"
        error[C0113]: option `broadcast` of table `t` is neither true nor false
         --> pack.sql:1:55
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (broadcast = 'yes', topic = 12, format = 'jsno')
          |                                                       ^^^^^
          |
          = hint: Write `broadcast = true` or `broadcast = false`.

        error[C0113]: option `topic` of table `t` is not a text
         --> pack.sql:1:70
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (broadcast = 'yes', topic = 12, format = 'jsno')
          |                                                                      ^^
          |
          = hint: Put the value in single quotes.

        error[C0113]: option `format` of table `t` cannot be 'jsno'
         --> pack.sql:1:83
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (broadcast = 'yes', topic = 12, format = 'jsno')
          |                                                                                   ^^^^^^
          |
          = hint: Did you mean 'json'?
    "#]],
    );
    check(
        "CREATE TABLE t (id INT PRIMARY KEY) WITH (topic = 'a/b', path = '')",
        expect![[r#"
        error[C0113]: option `topic` of table `t` is not the name of a topic
         --> pack.sql:1:51
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (topic = 'a/b', path = '')
          |                                                   ^^^^^
          |
          = hint: Kafka allows 1 to 249 letters, digits, `.`, `_` and `-`, and neither '.' nor '..'.

        error[C0113]: option `path` of table `t` is empty
         --> pack.sql:1:65
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (topic = 'a/b', path = '')
          |                                                                 ^^
          |
          = hint: Leave it out, or give it a value.
    "#]],
    );
    check(
        "CREATE STREAM 抓拍 (id INT)",
        expect![[r#"
            error[C0113]: stream `抓拍` has no option `topic`, and its name cannot be that of a topic
             --> pack.sql:1:15
              |
            1 | CREATE STREAM 抓拍 (id INT)
              |               ^^^^
              |
              = hint: Name the topic: `WITH (topic = '..')`. Kafka allows 1 to 249 letters, digits, `.`, `_` and `-`, and neither '.' nor '..'.
        "#]],
    );
    check(
        "CREATE SINK s WITH (key = 'a,,b', headers = 'all', mode = 'shado', max_rate = '10', emit_time = 'a, b') AS SELECT 1",
        expect![[r#"
            error[C0113]: option `key` of sink `s` has an empty name between commas
             --> pack.sql:1:27
              |
            1 | CREATE SINK s WITH (key = 'a,,b', headers = 'all', mode = 'shado', max_rate = '10', emit_time = 'a, b') AS SELECT 1
              |                           ^^^^^^
              |
              = hint: Write `key = 'a, b'`.

            error[C0113]: option `headers` of sink `s` cannot be 'all'
             --> pack.sql:1:45
              |
            1 | CREATE SINK s WITH (key = 'a,,b', headers = 'all', mode = 'shado', max_rate = '10', emit_time = 'a, b') AS SELECT 1
              |                                             ^^^^^
              |
              = hint: Possible is 'minimal' or 'none'.

            error[C0113]: option `mode` of sink `s` cannot be 'shado'
             --> pack.sql:1:59
              |
            1 | CREATE SINK s WITH (key = 'a,,b', headers = 'all', mode = 'shado', max_rate = '10', emit_time = 'a, b') AS SELECT 1
              |                                                           ^^^^^^^
              |
              = hint: Did you mean 'shadow'?

            error[C0113]: option `max_rate` of sink `s` is not a rate: it does not say `per`
             --> pack.sql:1:79
              |
            1 | CREATE SINK s WITH (key = 'a,,b', headers = 'all', mode = 'shado', max_rate = '10', emit_time = 'a, b') AS SELECT 1
              |                                                                               ^^^^
              |
              = hint: Write rows per unit of time, as '1000 per minute'.

            error[C0113]: option `emit_time` of sink `s` names more than one column
             --> pack.sql:1:97
              |
            1 | CREATE SINK s WITH (key = 'a,,b', headers = 'all', mode = 'shado', max_rate = '10', emit_time = 'a, b') AS SELECT 1
              |                                                                                                 ^^^^^^
              |
              = hint: Name the one timestamp column that `--emit-from` compares.
        "#]],
    );
    check(
        "CREATE VIEW v AS SELECT 1 EMIT CHANGES EVERY '1 year'",
        expect![[r#"
        error[C0113]: `EMIT CHANGES EVERY` of view `v` is not a duration: a year has no fixed length
         --> pack.sql:1:46
          |
        1 | CREATE VIEW v AS SELECT 1 EMIT CHANGES EVERY '1 year'
          |                                              ^^^^^^^^
          |
          = hint: Write days, as '365 days' or '366 days'.
    "#]],
    );
}

#[test]
fn options_that_contradict_each_other_are_shown_together() {
    check(
        "CREATE TABLE t (id INT PRIMARY KEY) WITH (topic = 't', path = 't.csv')",
        expect![[r#"
        error[C0114]: options `path` and `topic` of table `t` exclude each other
         --> pack.sql:1:43
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (topic = 't', path = 't.csv')
          |                                           ^^^^^        ---- the other one
          |
          = hint: A source reads a file or a topic; leave out one of the two.
    "#]],
    );
    check(
        "CREATE TABLE t (id INT PRIMARY KEY) WITH (path = 't.csv', format = 'json')",
        expect![[r#"
        error[C0114]: options `path` and `format` of table `t` contradict each other
         --> pack.sql:1:59
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (path = 't.csv', format = 'json')
          |                                           ----            ^^^^^^
          |                                           |
          |                                           the extension of the file says its format
          |
          = hint: Leave out `format`.
    "#]],
    );
    check(
        "CREATE TABLE t (id INT PRIMARY KEY) WITH (path = 't.xlsx')",
        expect![[r#"
        error[C0113]: option `path` of table `t` does not end in a format that can be read
         --> pack.sql:1:50
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (path = 't.xlsx')
          |                                                  ^^^^^^^^
          |
          = hint: Name a file `.csv`, `.ndjson`, `.json` or `.parquet`, or say its `format`.
    "#]],
    );
    check(
        "CREATE TABLE t (id INT PRIMARY KEY) WITH (broadcast = true, partitioned_by = 'id')",
        expect![[r#"
        error[C0114]: options `broadcast` and `partitioned_by` of table `t` exclude each other
         --> pack.sql:1:61
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (broadcast = true, partitioned_by = 'id')
          |                                           ---------         ^^^^^^^^^^^^^^
          |                                           |
          |                                           the other one
          |
          = hint: All shards hold all rows of a broadcast table; leave out `partitioned_by`.
    "#]],
    );
    check(
        "CREATE TABLE t (id INT PRIMARY KEY) WITH (retention = '3 days')",
        expect![[r#"
        error[C0114]: option `retention` of table `t` needs `event_time`
         --> pack.sql:1:43
          |
        1 | CREATE TABLE t (id INT PRIMARY KEY) WITH (retention = '3 days')
          |                                           ^^^^^^^^^
          |
          = hint: Name the column that holds the time of the event: `event_time = '..'`.
    "#]],
    );
    check(
        "CREATE STREAM s (id INT, at TIMESTAMP) WITH (event_time = 'at', unique_for = '3 days')",
        expect![[r#"
        error[C0117]: option `unique_for` of stream `s` needs a primary key
         --> pack.sql:1:65
          |
        1 | CREATE STREAM s (id INT, at TIMESTAMP) WITH (event_time = 'at', unique_for = '3 days')
          |                                                                 ^^^^^^^^^^
          |
          = hint: Mark the column that tells events apart `PRIMARY KEY`.
    "#]],
    );
}

#[test]
fn columns_that_options_and_keys_name_must_fit() {
    check(
        "CREATE STREAM s (passed_at TIMESTAMP, id INT) WITH (event_time = 'pased_at', partitioned_by = 'id, plate')",
        expect![[r#"
            error[C0115]: option `event_time` of stream `s` names column `pased_at`, which is not declared
             --> pack.sql:1:66
              |
            1 | CREATE STREAM s (passed_at TIMESTAMP, id INT) WITH (event_time = 'pased_at', partitioned_by = 'id, plate')
              |                                                                  ^^^^^^^^^^
              |
              = hint: Did you mean `passed_at`?

            error[C0115]: option `partitioned_by` of stream `s` names column `plate`, which is not declared
             --> pack.sql:1:95
              |
            1 | CREATE STREAM s (passed_at TIMESTAMP, id INT) WITH (event_time = 'pased_at', partitioned_by = 'id, plate')
              |                                                                                               ^^^^^^^^^^^
              |
              = hint: Name one of the columns between the parentheses, spelled as there.
        "#]],
    );
    check(
        "CREATE STREAM s (\n  at VARCHAR\n) WITH (\n  event_time = 'at'\n)",
        expect![[r#"
        error[C0116]: option `event_time` of stream `s` names column `at`, which is not a timestamp
         --> pack.sql:4:16
          |
        2 |   at VARCHAR
          |   -- declared here
        3 | ) WITH (
        4 |   event_time = 'at'
          |                ^^^^
          |
          = hint: Declare the column as `TIMESTAMP WITH TIME ZONE`.
    "#]],
    );
    check(
        "CREATE TABLE t (plate VARCHAR PRIMARY KEY, since TIMESTAMP) WITH (valid_from = 'since')",
        expect![[r#"
        error[C0116]: option `valid_from` of table `t` names column `since`, which is not part of the key
         --> pack.sql:1:80
          |
        1 | CREATE TABLE t (plate VARCHAR PRIMARY KEY, since TIMESTAMP) WITH (valid_from = 'since')
          |                                                                                ^^^^^^^
          |
          = hint: Each version is a row of its own: add it, as `PRIMARY KEY (.., since)`.
    "#]],
    );
    check(
        "CREATE TABLE t (plate VARCHAR, PRIMARY KEY (plat))",
        expect![[r#"
        error[C0115]: the key of table `t` names column `plat`, which is not declared
         --> pack.sql:1:45
          |
        1 | CREATE TABLE t (plate VARCHAR, PRIMARY KEY (plat))
          |                                             ^^^^
          |
          = hint: Did you mean `plate`?
    "#]],
    );
    check(
        "CREATE TABLE t (tags VARCHAR ARRAY PRIMARY KEY)",
        expect![[r#"
        error[C0116]: key column `tags` of table `t` is a list
         --> pack.sql:1:17
          |
        1 | CREATE TABLE t (tags VARCHAR ARRAY PRIMARY KEY)
          |                 ^^^^
          |
          = hint: Key columns are texts, numbers, booleans, dates or timestamps.
    "#]],
    );
}

#[test]
fn a_table_has_one_key() {
    check(
        "CREATE TABLE captures (id VARCHAR, at TIMESTAMP)",
        expect![[r#"
        error[C0117]: table `captures` has no primary key, but a table holds the latest row per key
         --> pack.sql:1:14
          |
        1 | CREATE TABLE captures (id VARCHAR, at TIMESTAMP)
          |              ^^^^^^^^
          |
          = hint: Mark the key column `PRIMARY KEY`, or add `PRIMARY KEY (a, b)`; events without a key are a `STREAM`.
    "#]],
    );
    check(
        "CREATE TABLE t (a INT PRIMARY KEY, b INT PRIMARY KEY)",
        expect![[r#"
        error[C0118]: table `t` declares its key twice
         --> pack.sql:1:42
          |
        1 | CREATE TABLE t (a INT PRIMARY KEY, b INT PRIMARY KEY)
          |                       -----------        ^^^^^^^^^^^
          |                       |
          |                       first declared here
          |
          = hint: A key of several columns is written `PRIMARY KEY (a, b)`.
    "#]],
    );
    check(
        "CREATE TABLE t (a INT PRIMARY KEY, b INT, PRIMARY KEY (b, b))",
        expect![[r#"
        error[C0118]: table `t` declares its key twice
         --> pack.sql:1:43
          |
        1 | CREATE TABLE t (a INT PRIMARY KEY, b INT, PRIMARY KEY (b, b))
          |                       -----------         ^^^^^^^^^^^^^^^^^^
          |                       |
          |                       first declared here
          |
          = hint: A key of several columns is written `PRIMARY KEY (a, b)`.

        error[C0118]: the key of table `t` holds column `b` twice
         --> pack.sql:1:59
          |
        1 | CREATE TABLE t (a INT PRIMARY KEY, b INT, PRIMARY KEY (b, b))
          |                                                           ^
          |
          = hint: Name each key column once.
    "#]],
    );
    check(
        "CREATE TABLE t (PRIMARY KEY (a, b, a)) AS SELECT 1",
        expect![[r#"
        error[C0118]: the key of table `t` holds column `a` twice
         --> pack.sql:1:36
          |
        1 | CREATE TABLE t (PRIMARY KEY (a, b, a)) AS SELECT 1
          |                              -     ^
          |                              |
          |                              first named here
          |
          = hint: Name each key column once.
    "#]],
    );
    check(
        "CREATE TABLE t (a INT NOT NULL NOT NULL, b INT NULL PRIMARY KEY)",
        expect![[r#"
        error[C0119]: column `a` of table `t` has a constraint twice
         --> pack.sql:1:32
          |
        1 | CREATE TABLE t (a INT NOT NULL NOT NULL, b INT NULL PRIMARY KEY)
          |                       -------- ^^^^^^^^
          |                       |
          |                       the other one
          |
          = hint: Keep one of the two; a key column is never null.

        error[C0119]: column `b` of table `t` has constraints that contradict each other
         --> pack.sql:1:53
          |
        1 | CREATE TABLE t (a INT NOT NULL NOT NULL, b INT NULL PRIMARY KEY)
          |                                                ---- ^^^^^^^^^^^
          |                                                |
          |                                                the other one
          |
          = hint: Keep one of the two; a key column is never null.
    "#]],
    );
}

fn option_text() -> impl Strategy<Value = String> {
    let name = prop::sample::select(
        "topic path format event_time watermark_delay idle_timeout retention unique_for max_future broadcast valid_from partitioned_by \
         key headers allow_private mode max_rate settle emit_time allowed_lateness wait colour"
            .split_whitespace()
            .collect::<Vec<_>>(),
    );
    let value = prop_oneof![
        prop::sample::select(vec![
            "'a'",
            "'at'",
            "'b, a'",
            "true",
            "-1",
            "'3 days'",
            "'1 month'",
            "'json'",
            "'x.csv'",
            "'shadow'",
            "''"
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
    ];
    (name, value).prop_map(|(name, value)| format!("{name} = {value}"))
}

proptest! {
    #[test]
    fn any_options_and_columns_are_resolved_or_refused_with_places_and_hints(
        options in prop::collection::vec(option_text(), 0..6),
        columns in prop::collection::vec(prop::sample::select(vec![
            "a INT", "a VARCHAR PRIMARY KEY", "b TIMESTAMPTZ", "at TIMESTAMP NOT NULL", "at FOO", "PRIMARY KEY (a, at)", "PRIMARY KEY (c)",
            "_row INT", "\"At\" STRUCT(x INT, x INT) PRIVATE", "b INT NULL PRIMARY KEY"]), 1..5),
        kind in prop::sample::select(vec!["STREAM", "TABLE"]),
    ) {
        let options = options.join(", ");
        let text = format!(
            "CREATE {kind} s ({}) WITH ({options}); CREATE SINK t WITH ({options}) AS SELECT 1; CREATE VIEW v WITH ({options}) AS SELECT 1",
            columns.join(", "),
        );
        let pack = Pack::from_text("p", text.as_str());
        let (statements, _) = parse(&pack);
        match resolve(statements, None) {
            Ok(catalog) => for source in &catalog.sources {
                let n = source.columns.len();
                prop_assert!(source.key.iter().chain(source.partitioned_by.iter().flatten()).all(|&i| i < n && source.columns[i].name.len() < 9));
                prop_assert!(source.key.iter().all(|&i| source.columns[i].not_null));
                prop_assert!(source.kind == RelationKind::Stream || !source.key.is_empty());
                prop_assert!(source.topic.is_some() != source.path.is_some());
            },
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in &errors {
                    prop_assert!(error.span.is_known() && error.hint.is_some() && !error.message.contains('\n'), "{:?}", error);
                }
                render(&errors, &pack);
            }
        }
    }
}
