//! Queries about a worker in memory: what they see, what they may not, and how much they may take.

mod random;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Answer, Queries, QueryError, QueryLimits, QueryTrouble};
use crate::catalog::resolve;
use crate::dialect::{Pack, parse};
use crate::engine::{Ends, Worker, WorkerOptions};
use crate::local::{MemorySink, MemoryStateLog, MemoryTopics, TopicRecord};
use crate::plan::plan;
use crate::stream::{PollLimit, ShardCount, SourcePartition, TombstoneForm};

const RULES: &str = "
    SET TIME ZONE = 'Asia/Shanghai';
    CREATE TABLE people (
        id VARCHAR PRIMARY KEY, name VARCHAR PRIVATE, born DATE PRIVATE, town VARCHAR, unread VARCHAR
    ) WITH (topic = 'people', format = 'json');
    CREATE TABLE rides (
        ride_id VARCHAR PRIMARY KEY, id VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL, km INT
    ) WITH (topic = 'rides', format = 'json', event_time = 'at', retention = '30 days');
    CREATE STREAM passages (device VARCHAR NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL)
        WITH (topic = 'passages', format = 'json', event_time = 'at');
    CREATE VIEW known AS SELECT r.ride_id, r.at, r.km, p.id, p.town, p.name FROM rides r JOIN people p ON p.id = r.id;
    CREATE VIEW unread AS SELECT unread FROM people;
    CREATE TABLE by_town AS SELECT town, count(*) AS n, sum(km) AS km, min(name) AS first_name FROM known GROUP BY town;
    CREATE TABLE by_day AS SELECT id, local_date(at) AS day, count(*) AS n FROM rides
        GROUP BY id, local_date(at);
    CREATE TABLE total AS SELECT count(*) AS n FROM people WHERE town = 'nowhere';
    CREATE TABLE per_device AS SELECT device, count(*) AS n FROM passages GROUP BY device;
    CREATE TABLE busy AS SELECT device, n FROM per_device WHERE n > 1;
    CREATE VIEW passed AS SELECT device FROM passages;
    CREATE TABLE actions (PRIMARY KEY (id)) AS SELECT id, max(km) AS km FROM rides GROUP BY id HAVING max(km) > 10;
    CREATE SINK towns WITH (topic = 'towns', format = 'json', allow_private = true) AS SELECT * FROM by_town;
    CREATE SINK days WITH (topic = 'days', format = 'json') AS SELECT * FROM by_day;
    CREATE SINK devices WITH (topic = 'devices', format = 'json') AS SELECT * FROM busy;
    CREATE SINK notices WITH (topic = 'notices', format = 'json', key = 'id') AS
        SELECT after.id AS id, after.km AS km, revision FROM CHANGES(actions);
    CREATE SINK lost WITH (topic = 'lost', format = 'json') AS SELECT n, 1 AS one FROM total GROUP BY n;
";

/// A worker that has read some records, and who answers about it.
struct World {
    worker: Worker,
    queries: Queries,
    topics: MemoryTopics,
    stop: Arc<AtomicBool>,
}

/// A record: relation, key and value.
type Record = (&'static str, Option<String>, String);

impl World {
    fn new(n_shards: u32, limits: QueryLimits) -> Self {
        let mut records: Vec<Record> = Vec::new();
        for (id, name, born, town) in [
            ("a", "Anna", "1990-01-01", "Deqing"),
            ("b", "Bo", "1991-02-02", "Deqing"),
            ("c", "Cai", "1992-03-03", "Anji"),
        ] {
            let born = if id == "c" { "null".to_owned() } else { format!("\"{born}\"") };
            let value =
                format!("{{\"id\":\"{id}\",\"name\":\"{name}\",\"born\":{born},\"town\":\"{town}\",\"unread\":\"x\"}}");
            records.push(("people", Some(id.to_owned()), value));
        }
        for (ride, id, day, km) in
            [("1", "a", 1, 5), ("2", "a", 2, 15), ("3", "b", 2, 3), ("4", "c", 3, 30), ("5", "z", 3, 1)]
        {
            let value =
                format!("{{\"ride_id\":\"{ride}\",\"id\":\"{id}\",\"at\":\"2023-11-0{day}T08:00:00Z\",\"km\":{km}}}");
            records.push(("rides", Some(ride.to_owned()), value));
        }
        for (n, device) in ["d1", "d2", "d1"].iter().enumerate() {
            let value = format!("{{\"device\":\"{device}\",\"at\":\"2023-11-03T08:00:0{n}Z\"}}");
            records.push(("passages", None, value));
        }
        Self::of(n_shards, limits, &records)
    }

    /// A worker that has read these records.
    fn of(n_shards: u32, limits: QueryLimits, records: &[Record]) -> Self {
        let (statements, findings) = parse(&Pack::from_text("rules.sql", RULES));
        assert!(findings.is_empty(), "{findings:?}");
        let catalog = resolve(statements, None).unwrap();
        let pipeline = Arc::new(plan(&catalog).unwrap());
        let partitions = pipeline.relations.iter().filter(|r| r.operator.is_source());
        let partitions = partitions.map(|r| SourcePartition { relation: r.name.clone(), partition: 0 });
        let topics = MemoryTopics::new(partitions);
        let (log, stop) = (MemoryStateLog::default(), Arc::new(AtomicBool::new(false)));
        let ends = Ends {
            source: Box::new(topics.source(stop.clone())),
            sink: Box::new(MemorySink::new(log.clone(), TombstoneForm::NoValue)),
            log: Some(Box::new(log)),
            clock: Box::new(|| 1_700_000_000_000),
        };
        let options = WorkerOptions {
            limit: PollLimit { records: 3, bytes: usize::MAX },
            poll_wait: Duration::ZERO,
            commit_interval_min: Duration::ZERO,
            pause_streams_while_loading: false,
            ..WorkerOptions::live(ShardCount(n_shards))
        };
        let worker = Worker::new(pipeline.clone(), ends, options, stop.clone()).unwrap();
        let queries = Queries::new(catalog, pipeline, n_shards, worker.status(), limits);
        let mut world = Self { worker, queries, topics, stop };
        for (relation, key, value) in records {
            world.append(relation, key.as_deref(), value);
        }
        world.run();
        world
    }

    fn append(&self, relation: &str, key: Option<&str>, value: &str) {
        self.topics.append(TopicRecord {
            partition: SourcePartition { relation: relation.into(), partition: 0 },
            timestamp_ms: None,
            key: key.map(|key| key.as_bytes().to_vec()),
            value: Some(value.as_bytes().to_vec()),
        });
    }

    fn run(&mut self) {
        // The source sets it when nothing is left to read.
        self.stop.store(false, Ordering::Relaxed);
        self.worker.run().unwrap();
    }

    fn ask(&self, sql: &str) -> Result<Answer, QueryError> {
        self.queries.answer_about(&self.worker, sql)
    }

    /// The rows of an answer, with `|` between columns.
    fn rows(&self, sql: &str) -> Vec<String> {
        let answer = self.ask(sql).unwrap_or_else(|error| panic!("{sql}: {:?}", error.finding));
        texts(&answer.batches)
    }

    /// The code, place and message of a refusal.
    fn refusal(&self, sql: &str) -> (QueryTrouble, String) {
        let Err(QueryError { trouble, finding }) = self.ask(sql) else { panic!("{sql} was answered") };
        (trouble, format!("{} {}:{} {}", finding.code, finding.span.line, finding.span.column, finding.message))
    }
}

/// Rows with `|` between columns.
fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
        let cells = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|");
        rows.extend((0..batch.num_rows()).map(cells));
    }
    rows
}

#[test]
fn tables_views_and_sinks_hold_what_batch_sql_makes_of_the_sources() {
    for n_shards in [1, 4] {
        let world = World::new(n_shards, QueryLimits::default());
        let check = |sql: &str, expected: &[&str]| assert_eq!(world.rows(sql), expected, "{sql}, {n_shards} shards");
        check("SELECT id, town FROM people ORDER BY id", &["a|Deqing", "b|Deqing", "c|Anji"]);
        check("SELECT count(*) FROM rides", &["5"]);
        check(
            "SELECT ride_id, at FROM rides WHERE km > 10 ORDER BY 1",
            &["2|2023-11-02T16:00:00+08:00", "4|2023-11-03T16:00:00+08:00"],
        );
        check("SELECT ride_id, town FROM known ORDER BY ride_id", &["1|Deqing", "2|Deqing", "3|Deqing", "4|Anji"]);
        check("SELECT town, n, km FROM by_town ORDER BY town", &["Anji|1|30", "Deqing|3|23"]);
        check("SELECT town, n FROM towns ORDER BY town", &["Anji|1", "Deqing|3"]);
        check(
            "SELECT day, sum(n) FROM by_day GROUP BY day ORDER BY day",
            &["2023-11-01|1", "2023-11-02|2", "2023-11-03|2"],
        );
        check("SELECT * FROM actions ORDER BY id", &["a|15", "c|30"]);
        check("SELECT n FROM total", &["0"]);
        check("SELECT device, n FROM per_device ORDER BY device", &["d1|2", "d2|1"]);
        check("SELECT * FROM busy", &["d1|2"]);
        check("SELECT * FROM devices", &["d1|2"]);
        check(
            "WITH far AS (SELECT id FROM actions) SELECT p.town, count(*) AS n FROM people p JOIN far USING (id) \
             GROUP BY p.town ORDER BY p.town",
            &["Anji|1", "Deqing|1"],
        );
        check("SELECT a.id, b.id FROM people a JOIN people b ON a.town = b.town AND a.id < b.id", &["a|b"]);
        check("SELECT value FROM generate_series(1, 3)", &["1", "2", "3"]);
        check("SELECT 1 + 1", &["2"]);
    }
}

#[test]
fn an_answer_is_of_one_epoch_and_says_which() {
    let mut world = World::new(2, QueryLimits::default());
    let first = world.ask("SELECT count(*) FROM known").unwrap().as_of;
    assert_eq!((first.n_shards, first.shards.as_slice()), (2, [0, 1].as_slice()));
    assert!(first.rows_read >= 8 && first.epoch >= 1, "{first:?}");
    world.append("rides", Some("9"), "{\"ride_id\":\"9\",\"id\":\"b\",\"at\":\"2023-11-04T08:00:00Z\",\"km\":12}");
    world.append("people", Some("c"), "{\"id\":\"c\",\"name\":\"Cai\",\"town\":\"Huzhou\",\"unread\":\"x\"}");
    world.run();
    assert_eq!(world.rows("SELECT town, n FROM by_town ORDER BY town"), ["Deqing|4", "Huzhou|1"]);
    assert_eq!(world.rows("SELECT town FROM towns ORDER BY town"), ["Deqing", "Huzhou"], "and no row that was deleted");
    assert!(world.ask("SELECT 1 FROM people").unwrap().as_of.epoch > first.epoch);
}

#[test]
fn private_values_are_masked_wherever_they_lead() {
    let world = World::new(2, QueryLimits::default());
    assert_eq!(world.rows("SELECT id, name FROM people ORDER BY id"), ["a|***", "b|***", "c|***"]);
    assert_eq!(world.rows("SELECT DISTINCT 1 FROM known"), ["1"]);
    assert_eq!(world.rows("SELECT town, first_name FROM by_town ORDER BY town"), ["Anji|***", "Deqing|***"]);
    assert_eq!(world.rows("SELECT first_name FROM towns"), ["***", "***"]);
    assert_eq!(world.rows("SELECT upper(name) || '!', length(name) FROM known WHERE ride_id = '1'"), ["***|NULL"]);
    assert_eq!(world.rows("SELECT count(name), count(*) FROM people"), ["3|3"]);
    for sql in [
        "SELECT id FROM people WHERE name = 'Anna'",
        "SELECT id FROM known ORDER BY name",
        "SELECT count(*) FROM by_town WHERE first_name LIKE 'A%'",
        "SELECT town FROM towns GROUP BY town, first_name",
    ] {
        let (trouble, text) = world.refusal(sql);
        assert!(trouble == QueryTrouble::Refused && text.starts_with("C0603 1:"), "{sql}: {text}");
    }
    // Values do not come out by way of an error either.
    let (_, text) = world.refusal("SELECT CAST(name AS INT) FROM people");
    assert!(!text.contains("Anna") && text.contains("***"), "{text}");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place_and_the_reason() {
    let world = World::new(1, QueryLimits::default());
    for (sql, expected) in [
        ("SELECT * FROM peple", "C0202 1:15 relation `peple` does not exist"),
        ("SELECT *\nFROM passages", "C0604 2:6 `passages` is a stream"),
        ("SELECT * FROM passed", "C0604 1:15 `passed` is a stream"),
        ("SELECT * FROM notices", "C0607 1:15 sink `notices` appends: what it has written is in topic `notices`"),
        ("SELECT unread FROM people", "C0606 1:8 column `unread` of `people` is not kept"),
        ("SELECT unread FROM unread", "C0606 1:20 column `unread` of `people` is not kept"),
        ("SELECT twon FROM people", "C0201 1:8 column `twon` does not exist"),
        ("SELECT sum(town) FROM people", "C0206 1:8"),
        ("SELECT town, count(*) FROM people", "C0204 1:8"),
        ("SELECT * FROM information_schema.tables", "C0602 1:15"),
        ("SELECT * FROM CHANGES(actions)", "C0602 1:15"),
        ("INSERT INTO people VALUES ('x')", "C0601 1:1"),
        ("SELECT", "C0002"),
        ("SELECT 1; SELECT 2", "C0002 1:9 a second statement begins behind `;`"),
    ] {
        let (trouble, text) = world.refusal(sql);
        assert!(trouble == QueryTrouble::Refused && text.starts_with(expected), "{sql}: {text}");
    }
    let readable = world.queries.relations();
    let refusal = |name: &str| readable.iter().find(|r| r.name == name).unwrap().refusal.is_some();
    assert!(
        refusal("passages") && refusal("notices") && !refusal("people") && !refusal("by_town") && !refusal("towns")
    );
    let people = readable.iter().find(|r| r.name == "people").unwrap();
    let columns: Vec<(&str, bool)> =
        people.columns.iter().map(|(name, _, private)| (name.as_str(), *private)).collect();
    assert_eq!(columns, [("id", false), ("name", true), ("town", false)], "those that are kept");
}

#[test]
fn every_limit_ends_a_query_with_its_own_message() {
    let ask = |limits: QueryLimits, sql: &str| World::new(1, limits).refusal(sql);
    let all = QueryLimits::default();
    let of = |limits: QueryLimits, sql: &str, kind: QueryTrouble, part: &str| {
        let (trouble, text) = ask(limits, sql);
        assert!(trouble == kind && text.contains(part), "{sql}: {trouble:?} {text}");
    };
    let limit = QueryTrouble::Limit;
    of(QueryLimits { sql_bytes: 20, ..all }, "SELECT count(*) FROM rides", limit, "has 26 bytes, but 20");
    of(QueryLimits { rows_read: 4, ..all }, "SELECT km FROM rides", limit, "more than 4 rows of state");
    of(QueryLimits { rows_read: 7, ..all }, "SELECT n FROM by_town", limit, "more than 7 rows of state");
    of(QueryLimits { bytes_read: 10, ..all }, "SELECT km FROM rides", limit, "would copy more than 0 MiB");
    of(QueryLimits { hold_up: Duration::ZERO, ..all }, "SELECT km FROM rides", limit, "hold the pipeline up");
    of(QueryLimits { memory: 100, ..all }, "SELECT n FROM by_town", limit, "memory");
    let sorted = "SELECT a.value FROM generate_series(1, 100000) a ORDER BY a.value % 7";
    of(QueryLimits { memory: 1000, ..all }, sorted, limit, "memory");
    of(
        QueryLimits { answer_bytes: 1000, ..all },
        "SELECT value FROM generate_series(1, 9000)",
        limit,
        "the answer has more",
    );
    // Batches share what was sorted; it counts once.
    let sorted = "SELECT value, value % 10 AS x FROM generate_series(1, 9000) ORDER BY x, value";
    assert_eq!(World::new(1, QueryLimits { answer_bytes: 300_000, ..all }).rows(sorted).len(), 9000);
    of(QueryLimits { time: Duration::ZERO, ..all }, "SELECT n FROM by_town", QueryTrouble::Time, "ended after");
    let endless = "SELECT count(*) FROM generate_series(1, 9000000000000) a WHERE a.value % 7 = 8";
    of(QueryLimits { time: Duration::from_millis(300), ..all }, endless, QueryTrouble::Time, "ended after 0.3 s");
    of(QueryLimits { running: 0, ..all }, "SELECT 1", QueryTrouble::Refused, "C0615");
    let busy = World::new(1, all);
    busy.queries.shared.n_running.store(2, Ordering::Relaxed);
    let (trouble, text) = busy.refusal("SELECT 1");
    assert!(trouble == QueryTrouble::Busy && text.contains("2 queries are being answered already"), "{text}");
    busy.queries.shared.n_running.store(1, Ordering::Relaxed);
    assert_eq!(busy.rows("SELECT 1"), ["1"], "a place is free again");
    let deep = format!("SELECT {}1{}", "(".repeat(200), ")".repeat(200));
    of(all, &deep, QueryTrouble::Refused, "C0004");
    let long = QueryLimits { rows: 2, ..all };
    let answer = World::new(1, long).ask("SELECT ride_id FROM rides ORDER BY ride_id").unwrap();
    assert_eq!((answer.n_rows(), answer.is_truncated), (2, true));
    assert!(!World::new(1, long).ask("SELECT id FROM people LIMIT 2").unwrap().is_truncated);
}

/// Lines that each name the one before, under names of WITH; the last is asked by `last`.
fn chain(n: usize, first: &str, line: &str, last: &str) -> String {
    let lines = (1..n).map(|at| format!(", c{at} AS ({})", line.replace("PREV", &format!("c{}", at - 1))));
    let last = last.replace("PREV", &format!("c{}", n - 1));
    format!("WITH c0 AS ({first}){} {last}", lines.collect::<String>())
}

#[test]
fn what_a_short_text_would_make_much_of_is_refused_before_it_is_made() {
    let world = World::new(1, QueryLimits::default());
    let texts = "SELECT CAST(value AS VARCHAR) AS x FROM generate_series(10, 12)";
    let numbers = "SELECT value AS x FROM generate_series(1, 5)";
    for (sql, part) in [
        ("SELECT length(repeat('x', 1000000000))".to_owned(), "`repeat` would make a value of 1000000000 bytes"),
        ("SELECT repeat(ride_id, 600000) FROM rides".into(), "`repeat` would make"),
        (
            "SELECT sum(length(repeat('x', CAST(value AS INT)))) FROM generate_series(500000, 510000)".into(),
            "`repeat` would make values",
        ),
        ("SELECT lpad('x', 2000000000, 'y')".into(), "`lpad`"),
        ("SELECT rpad(id, 9000000) FROM people".into(), "`rpad`"),
        ("SELECT array_length(range(0, 300000000))".into(), "`range`"),
        ("SELECT generate_series(5, -900000000, -1)".into(), "`generate_series`"),
        ("SELECT range(DATE '1970-01-01', DATE '2020-01-01', INTERVAL '1 second')".into(), "`range`"),
        (
            "SELECT generate_series(at, at + INTERVAL '9 days', INTERVAL '1 microsecond') FROM rides".into(),
            "`generate_series`",
        ),
        ("SELECT array_length(array_repeat(1, 300000000))".into(), "`array_repeat`"),
        ("SELECT list_resize([1], 300000000, 7)".into(), "`array_resize`"),
        ("SELECT length(replace(repeat('a', 40000), 'a', repeat('b', 40000)))".into(), "`replace`"),
        ("SELECT regexp_replace(repeat('a', 40000), '.', repeat('b', 40000), 'g')".into(), "`regexp_replace`"),
        ("SELECT array_to_string(range(0, 10000), repeat('-', 10000))".into(), "`array_to_string`"),
        ("SELECT levenshtein(repeat('a', 100000), repeat('b', 100000))".into(), "`levenshtein`"),
        ("SELECT to_char(to_timestamp(value), repeat('%c', 20000)) FROM generate_series(1, 9)".into(), "`to_char`"),
        (
            "SELECT regexp_match(repeat(id, 5000), concat(repeat('(', 200), 'a*', repeat(')', 200))) FROM people".into(),
            "`regexp_match`",
        ),
        ("SELECT TRY_CAST([1] AS BIGINT[2000000000])".into(), "cast to"),
        ("SELECT 1 WHERE arrow_cast('a', 'FixedSizeBinary(2000000000)') IS NULL".into(), "cast to"),
        ("SELECT arrow_cast(NULL, 'FixedSizeList(1000 x FixedSizeList(1000 x Int64))')".into(), "cast to"),
        (
            "SELECT repeat('a', 400000) a, repeat('b', 400000) b, repeat('c', 400000) c FROM generate_series(1, 9)".into(),
            "constants of the query have 1200000 bytes",
        ),
        (
            "SELECT unnest(range(0, 9000)), x FROM (SELECT repeat(id, 100000) AS x FROM people) q".into(),
            "`unnest` would make values",
        ),
        (
            "SELECT unnest([[1, 2], [3]]), unnest(unnest([range(0, 9000)])), repeat(id, 100000) FROM people".into(),
            "`unnest` would make values",
        ),
        (
            "SELECT a.* FROM (SELECT repeat(id, 400000) x, repeat(id, 400001) y, repeat(id, 400002) z FROM people) a, rides"
                .into(),
            "`JOIN` would make values",
        ),
        ("SELECT concat(x, x, x) FROM (SELECT repeat(id, 200000) AS x FROM people) q".into(), "`concat`"),
        ("SELECT x || x || x FROM (SELECT repeat(id, 200000) AS x FROM people) q".into(), "`||`"),
        ("SELECT [x, x, x] FROM (SELECT repeat(id, 200000) AS x FROM people) q".into(), "`make_array`"),
        (chain(26, "SELECT 1 AS x", "SELECT a.x FROM PREV a, PREV b", "SELECT x FROM PREV"), "more than 256 relations"),
        (
            chain(26, "SELECT 1 AS x", "SELECT x FROM PREV UNION ALL SELECT x FROM PREV", "SELECT x FROM PREV"),
            "more than 256 relations",
        ),
        (chain(26, numbers, "SELECT x + x AS x FROM PREV", "SELECT x FROM PREV WHERE x > 5"), "more than 20000 parts"),
        (chain(30, texts, "SELECT x || x AS x FROM PREV", "SELECT length(x) FROM PREV"), "more than 20000 parts"),
        (
            chain(30, texts, "SELECT max(x || x) AS x FROM PREV GROUP BY length(x)", "SELECT length(x) FROM PREV"),
            "`||`",
        ),
        (chain(20, "SELECT 1 AS x", "SELECT [x] AS x FROM PREV", "SELECT x FROM PREV"), "too deep"),
        (
            chain(20, "SELECT 1 AS x", "SELECT struct(x, x) AS x FROM PREV", "SELECT x FROM PREV"),
            "too deep or has too many",
        ),
    ] {
        let (began, (trouble, text)) = (Instant::now(), world.refusal(&sql));
        assert!(
            trouble == QueryTrouble::Limit && text.contains(part) && text.contains("C0610"),
            "{sql}: {trouble:?} {text}"
        );
        assert!(began.elapsed() < Duration::from_secs(5), "{sql} took {:?}", began.elapsed());
    }
    // No place in the query is known for what is computed before it is planned.
    let (trouble, _) = world.refusal("SELECT value FROM generate_series(1, length(repeat('x', 1000000000)))");
    assert_ne!(trouble, QueryTrouble::Defect);
    for (sql, expected) in [
        (
            "SELECT repeat('ab', 3), lpad('a', 3, '.'), array_length(range(0, 60000)), replace('aab', 'a', 'cc')",
            "ababab|..a|60000|ccccb",
        ),
        (
            "SELECT id || '-' || town || NULL, concat(id, NULL, town), [1, 2] || 3, named_struct('a', [id]) FROM people WHERE id = 'a'",
            "NULL|aDeqing|[1, 2, 3]|{a: [a]}",
        ),
        (
            "SELECT regexp_replace(town, '(.)e', '\\1\\1', 'g'), array_to_string(range(0, 3), '+') FROM people WHERE id = 'a'",
            "DDqing|0+1+2",
        ),
        ("SELECT repeat(NULL, 5), encode('a', 'hex'), levenshtein('ab', 'b')", "NULL|61|1"),
        (
            "SELECT regexp_match(town, '(D)(e)'), to_char(DATE '2024-02-29', '%d.%m.%Y'), CAST([1, 2] AS BIGINT[2]) FROM people WHERE id = 'a'",
            "[D, e]|29.02.2024|[1, 2]",
        ),
        (
            "SELECT count(*), max(length(x)) FROM (SELECT unnest(range(0, 90)), repeat(id, 10000) AS x FROM people) q",
            "270|10000",
        ),
    ] {
        assert_eq!(world.rows(sql), [expected], "{sql}");
    }
    let names = world.ask("SELECT id || town, repeat(id, 2) FROM people LIMIT 1").unwrap().schema;
    let names: Vec<&str> = names.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(
        names,
        ["people.id || people.town", "repeat(people.id,Int64(2))"],
        "columns are called as they are written"
    );
}

#[test]
fn rows_count_once_when_they_are_sorted() {
    let ride = |n: usize| {
        let value = format!(
            "{{\"ride_id\":\"{n}\",\"id\":\"somebody with a long name {n}\",\"at\":\"2023-11-01T08:00:00Z\",\"km\":{n}}}"
        );
        ("rides", Some(n.to_string()), value)
    };
    let records: Vec<Record> = (0..30_000).map(ride).collect();
    // Twice what they are; each slice of one large batch for all of it would be thirty times as much.
    let limits = QueryLimits { memory: 16 << 20, ..QueryLimits::default() };
    let world = World::of(1, limits, &records);
    assert_eq!(world.rows("SELECT * FROM rides ORDER BY id DESC").len(), 10_000, "as many as an answer has");
}

#[test]
fn what_operators_keep_without_telling_and_joins_without_end_are_ended() {
    let limits = QueryLimits { time: Duration::from_secs(2), ..QueryLimits::default() };
    let world = World::new(1, limits);
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b",
        "SELECT count(*) FROM generate_series(1, 1000000) a JOIN generate_series(1, 1000000) b ON a.value < b.value",
        "SELECT max(s) FROM (SELECT sum(value) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) s \
         FROM generate_series(1, 10000000000)) q",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    ] {
        let (began, (trouble, text)) = (Instant::now(), world.refusal(sql));
        assert!(matches!(trouble, QueryTrouble::Time | QueryTrouble::Limit), "{sql}: {trouble:?} {text}");
        assert!(began.elapsed() < Duration::from_secs(15), "{sql} took {:?}", began.elapsed());
    }
}

#[test]
fn a_query_that_nobody_waits_for_ends() {
    let world = World::new(1, QueryLimits::default());
    let is_cancelled = Arc::new(AtomicBool::new(false));
    let (queries, cancelled) = (world.queries.clone(), is_cancelled.clone());
    // The worker stands still, so that this waits for its rows.
    let mut running = world.worker.status().snapshot();
    running.phase = crate::engine::Phase::Running;
    world.worker.status().show(running);
    let asking = std::thread::spawn(move || queries.answer("SELECT * FROM people", &cancelled));
    std::thread::sleep(Duration::from_millis(50));
    is_cancelled.store(true, Ordering::Relaxed);
    assert_eq!(asking.join().unwrap().unwrap_err().trouble, QueryTrouble::Cancelled);
    let mut stopped = world.worker.status().snapshot();
    stopped.phase = crate::engine::Phase::Restoring;
    world.worker.status().show(stopped);
    let error = world.queries.answer("SELECT * FROM people", &Arc::default()).unwrap_err();
    assert_eq!(error.trouble, QueryTrouble::NotReady);
    assert!(error.to_string().contains("restores its state"), "{error}");
}
