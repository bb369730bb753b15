//! Nothing vanishes: each operator is given one late, one early, one null and one duplicate row, and every record delivered
//! is counted once: used + duplicate + late + rejected = delivered. What was used is in the result, as batch says, and what
//! was not is in the topics beside it.

use std::sync::Arc;
use std::time::Duration;

use curb::engine::{Ended, Ends, SourceCounts, Worker, WorkerOptions};
use curb::format::json::Wire;
use curb::stream::{PollLimit, ShardCount};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::batch;
use crate::ends::{Followed, RandomSink, RandomSource};
use crate::pack;
use crate::world::{Content, History, Record};

const SOURCES: &str = "
CREATE STREAM e (id VARCHAR PRIMARY KEY, k VARCHAR, n BIGINT, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'e', format = 'json', event_time = 'at', watermark_delay = '5 minutes', unique_for = '400 days');
CREATE STREAM f (id VARCHAR NOT NULL, k VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'f', format = 'json', event_time = 'at', watermark_delay = '5 minutes');
CREATE TABLE d (id VARCHAR PRIMARY KEY, k VARCHAR, n BIGINT, at TIMESTAMP WITH TIME ZONE)
    WITH (topic = 'd', format = 'json', event_time = 'at', retention = '1 day');
CREATE TABLE c (k VARCHAR PRIMARY KEY, v BIGINT) WITH (topic = 'c', format = 'json');
CREATE TABLE w (id BIGINT PRIMARY KEY, lo BIGINT, hi BIGINT) WITH (topic = 'w', format = 'json', broadcast = true);
CREATE TABLE p (k VARCHAR, since TIMESTAMP WITH TIME ZONE, v BIGINT, PRIMARY KEY (k, since))
    WITH (topic = 'p', format = 'json', valid_from = 'since');
";

/// What a record is there for, and so what must become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Used,
    /// Behind the watermark, or behind the retention.
    Late,
    /// So far in the future that it is rejected.
    Early,
    Duplicate,
}

fn record(relation: &str, key: &str, value: Value, fate: Fate) -> (Record, Fate) {
    (Record { relation: relation.into(), key: key.into(), value: Some(value) }, fate)
}

/// Rows of the tables beside the source that is tested, and of the other stream.
fn around() -> Vec<(Record, Fate)> {
    let used = |relation: &str, key: &str, value: Value| record(relation, key, value, Fate::Used);
    vec![
        used("c", "a", json!({"k": "a", "v": 1})),
        used("c", "b", json!({"k": "b", "v": 2})),
        used("w", "1", json!({"id": 1, "lo": 0, "hi": 3})),
        used("w", "2", json!({"id": 2, "lo": 3, "hi": 9})),
        used("p", r#"["a","2024-01-01T00:00:00Z"]"#, json!({"k": "a", "since": "2024-01-01T00:00:00Z", "v": 10})),
        used("p", r#"["a","2024-06-01T12:00:00Z"]"#, json!({"k": "a", "since": "2024-06-01T12:00:00Z", "v": 20})),
    ]
}

/// The records in the order in which they are read, one an epoch.
fn stream_records() -> Vec<(Record, Fate)> {
    let row = |id: &str, k: Value, n: Value, at: &str, fate: Fate| {
        record("e", id, json!({"id": id, "k": k, "n": n, "at": at}), fate)
    };
    let other = |id: &str, at: &str| record("f", id, json!({"id": id, "k": "a", "at": at}), Fate::Used);
    let mut records = around();
    records.extend([
        row("i1", json!("a"), json!(1), "2024-06-01T10:00:00Z", Fate::Used),
        other("j1", "2024-06-01T10:10:00Z"),
        row("i2", json!("b"), json!(2), "2024-06-01T10:05:00Z", Fate::Used),
        row("i3", json!("a"), json!(3), "2024-06-01T10:20:00Z", Fate::Used),
        row("i4", json!("a"), json!(4), "2024-06-01T16:00:00Z", Fate::Used),
        other("j2", "2024-06-01T16:02:00Z"),
        row("i5", Value::Null, Value::Null, "2024-06-01T16:03:00Z", Fate::Used),
        row("i6", json!("a"), json!(6), "2024-06-01T10:10:00Z", Fate::Late),
        row("i7", json!("a"), json!(7), "2040-06-01T10:10:00Z", Fate::Early),
        row("i4", json!("a"), json!(4), "2024-06-01T16:00:00Z", Fate::Duplicate),
        row("i8", json!("b"), json!(8), "2024-06-01T16:10:00Z", Fate::Used),
    ]);
    records
}

fn table_records() -> Vec<(Record, Fate)> {
    let row = |id: &str, k: Value, n: Value, at: Value, fate: Fate| {
        record("d", id, json!({"id": id, "k": k, "n": n, "at": at}), fate)
    };
    let mut records = around();
    records.extend([
        row("i1", json!("a"), json!(1), json!("2024-06-05T10:00:00Z"), Fate::Used),
        row("i2", json!("b"), json!(2), json!("2024-06-05T11:00:00Z"), Fate::Used),
        row("i3", json!("a"), json!(3), json!("2024-06-05T12:00:00Z"), Fate::Used),
        row("i5", Value::Null, Value::Null, Value::Null, Fate::Used),
        row("i6", json!("a"), json!(6), json!("2024-06-01T10:00:00Z"), Fate::Late),
        row("i7", json!("a"), json!(7), json!("2040-06-01T10:10:00Z"), Fate::Early),
        row("i3", json!("a"), json!(3), json!("2024-06-05T12:00:00Z"), Fate::Duplicate),
        row("i8", json!("b"), json!(8), json!("2024-06-05T12:10:00Z"), Fate::Used),
    ]);
    records
}

/// An operator in a query of its own.
struct Law {
    operator: &'static str,
    query: &'static str,
    /// What batch SQL says instead.
    batch: Option<&'static str>,
    /// Whether the operator refuses what is behind the watermark; else the late row is used.
    refuses_late: bool,
    /// Further options of the sink.
    options: &'static str,
    /// Whether only what became of the records is looked at.
    counts_only: bool,
}

fn law(operator: &'static str, query: &'static str) -> Law {
    Law { operator, query, batch: None, refuses_late: true, options: "", counts_only: false }
}

impl Law {
    fn batch(self, sql: &'static str) -> Self {
        Self { batch: Some(sql), ..self }
    }

    fn with(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    /// Its rows are a history, which batch SQL does not have.
    fn counts_only(self) -> Self {
        Self { counts_only: true, ..self }
    }

    /// The operator does not ask for the time.
    fn takes_late(self) -> Self {
        Self { refuses_late: false, ..self }
    }
}

fn check(law: &Law, under_test: &str, records: &[(Record, Fate)], n_shards: u32, crashes: f64) -> Result<(), String> {
    let sink =
        format!("CREATE SINK result_sink WITH (topic = 'r', format = 'json'{}) AS {};\n", law.options, law.query);
    let (catalog, pipeline) = pack::compile_whole(&format!("{SOURCES}{sink}"))?;
    let operators: Vec<String> = pipeline.relations.iter().map(|r| r.name.to_string()).collect();
    // Sources that the query does not read are not read either.
    let is_read = |name: &str| operators.iter().any(|o| o == name);
    let records: Vec<&(Record, Fate)> = records.iter().filter(|(r, _)| is_read(&r.relation)).collect();
    let relations: Vec<Arc<str>> = catalog.sources.iter().map(|s| s.name.clone()).filter(|n| is_read(n)).collect();
    let history = History { relations, records: records.iter().map(|(r, _)| r.clone()).collect() };
    let committed = Followed::new(&pipeline, false).with_refused();
    let ends = Ends {
        source: Box::new(RandomSource::new(&history, 1, Rng::with_seed(1))),
        sink: Box::new(RandomSink::new(committed.clone(), crashes, Rng::with_seed(2))),
        log: Some(Box::new(committed.log())),
        clock: Box::new(|| 2_000_000_000_000),
    };
    let options = WorkerOptions {
        limit: PollLimit { records: 1_000, bytes: usize::MAX },
        backoff_min: Duration::ZERO,
        wire: Wire::Kafka,
        ..WorkerOptions::replay(ShardCount(n_shards))
    };
    let mut worker = Worker::new(pipeline.clone(), ends, options, Arc::default()).map_err(|e| e.to_string())?;
    let board = worker.status();
    match worker.run() {
        Ok(Ended::EndOfInput) => {}
        other => return Err(format!("ended as {other:?}")),
    }
    let committed = committed.take();
    let fate_of = |fate: Fate| if fate == Fate::Late && !law.refuses_late { Fate::Used } else { fate };
    for source in &board.snapshot().sources {
        let mine = |fate: Fate| {
            records.iter().filter(|(r, f)| *r.relation == *source.name && fate_of(*f) == fate).count() as u64
        };
        let want = SourceCounts {
            read: records.iter().filter(|(r, _)| *r.relation == *source.name).count() as u64,
            used: mine(Fate::Used),
            duplicate: mine(Fate::Duplicate),
            late: mine(Fate::Late),
            rejected: mine(Fate::Early),
        };
        let got = source.counts;
        // Counts are of one life of a worker; an epoch whose commit a restore decides about is in none.
        if crashes == 0.0 && got.used + got.duplicate + got.late + got.rejected != got.read {
            return Err(format!("{}: {got:?} does not add up", source.name));
        }
        if crashes == 0.0 && got != want {
            return Err(format!("{}: {got:?}, not {want:?}", source.name));
        }
        let beside =
            |topic: &str| committed.refused.get(&format!("{topic} {}", source.name)).copied().unwrap_or_default();
        if (beside("late"), beside("rejected")) != (want.late, want.rejected) {
            return Err(format!("{}: the topics beside it hold {:?}", source.name, committed.refused));
        }
    }
    if !is_read(under_test) {
        return Err(format!("{under_test} is not read"));
    }
    if law.counts_only {
        return Ok(());
    }
    let mut content = Content::new();
    for (record, _) in records.iter().filter(|(_, fate)| fate_of(*fate) == Fate::Used) {
        content.entry(record.relation.clone()).or_default().extend(record.value.clone());
    }
    let want = batch::run_steps(&catalog, &[], law.batch.unwrap_or(law.query), &content)?;
    let got = committed.epochs.last().and_then(|e| e.content.get("result_sink")).cloned().unwrap_or_default();
    if got != want || want.is_empty() {
        return Err(format!("streamed: {got:#?}\nin batch: {want:#?}"));
    }
    Ok(())
}

fn check_all(laws: &[Law], under_test: &str, records: &[(Record, Fate)]) {
    let mut failures = Vec::new();
    for law in laws {
        for (n_shards, crashes) in [(1, 0.0), (4, 0.0), (2, 0.3)] {
            if let Err(reason) = check(law, under_test, records, n_shards, crashes) {
                failures.push(format!("{}, {n_shards} shards, crashes {crashes}\n{reason}", law.operator));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_record_of_a_stream_is_counted_once_by_each_operator() {
    let laws = [
        law("segment", "SELECT id, n, at FROM e WHERE n > 1").takes_late(),
        law("union_all", "SELECT id, n FROM e WHERE n > 1 UNION ALL SELECT id, n FROM e WHERE k IS NULL").takes_late(),
        law("unnest", "SELECT id, unnest(make_array(n, n + 1)) AS m FROM e").takes_late(),
        law("deduplicate", "SELECT id, k, n, at FROM e").takes_late(),
        law("lookup_join", "SELECT e.id, c.v FROM e LEFT JOIN c ON c.k = e.k").takes_late(),
        law("lookup_join_inner", "SELECT e.id, c.v FROM e JOIN c ON c.k = e.k").takes_late(),
        law("lookup_join_anti", "SELECT e.id FROM e WHERE NOT EXISTS (SELECT 1 FROM c WHERE c.k = e.k AND c.v > 1)").takes_late(),
        law("lookup_join_broadcast", "SELECT e.id, w.id AS wid FROM e LEFT JOIN w ON e.n BETWEEN w.lo AND w.hi").takes_late(),
        law("lookup_join_as_of", "SELECT e.id, p.v FROM e LEFT JOIN p FOR SYSTEM_TIME AS OF e.at ON p.k = e.k")
            .takes_late()
            .batch("SELECT e.id, p.v FROM e LEFT JOIN (SELECT *, lead(since) OVER (PARTITION BY k ORDER BY since) AS until FROM p) AS p
                    ON p.k = e.k AND p.since <= e.at AND (p.until IS NULL OR e.at < p.until)"),
        law("lookup_join_wait", "SELECT e.id, e.at, c.v FROM e LEFT JOIN c ON c.k = e.k").with(", wait = '1 minute'").takes_late(),
        law(
            "window_aggregate_of_lookup_join",
            "SELECT tumble(at, INTERVAL '1 hour') AS h, v, count(*) AS c FROM (SELECT e.at, c.v FROM e LEFT JOIN c ON c.k = e.k) AS j GROUP BY tumble(at, INTERVAL '1 hour'), v",
        ),
        law("distinct_on", "SELECT DISTINCT ON (k) k, id FROM e ORDER BY k, at, id"),
        law("pace", "SELECT k, count(*) AS c FROM e GROUP BY k EMIT CHANGES EVERY '1 minute'")
            .takes_late()
            .batch("SELECT k, count(*) AS c FROM e GROUP BY k"),
        law("window_aggregate", "SELECT tumble(at, INTERVAL '1 hour') AS h, k, count(*) AS c, sum(n) AS s FROM e GROUP BY tumble(at, INTERVAL '1 hour'), k"),
        law(
            "window_aggregate_changes",
            "SELECT tumble(at, INTERVAL '1 hour') AS h, k, count(*) AS c, max(n) AS m FROM e GROUP BY tumble(at, INTERVAL '1 hour'), k EMIT CHANGES",
        )
        .batch("SELECT tumble(at, INTERVAL '1 hour') AS h, k, count(*) AS c, max(n) AS m FROM e GROUP BY tumble(at, INTERVAL '1 hour'), k"),
        law("group_without_bucket", "SELECT k, count(*) AS c, sum(n) AS s, count(DISTINCT n) AS d FROM e GROUP BY k").takes_late(),
        law("distinct", "SELECT DISTINCT k FROM e").takes_late(),
        law("hop", "SELECT window_start, k, count(*) AS c FROM e GROUP BY hop(at, INTERVAL '20 minutes', INTERVAL '1 hour'), k")
            .batch("SELECT start AS window_start, k, count(*) AS c FROM (SELECT *, unnest(hop_starts(at, INTERVAL '20 minutes', INTERVAL '1 hour')) AS start FROM e) AS a
                    GROUP BY start, k"),
        law("session", "SELECT window_start, k, count(*) AS c, sum(n) AS s FROM e GROUP BY session(at, INTERVAL '30 minutes'), k")
            .batch("SELECT min(at) AS window_start, k, count(*) AS c, sum(n) AS s
                    FROM (SELECT *, sum(f) OVER (PARTITION BY k ORDER BY at) AS number
                          FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY k ORDER BY at), INTERVAL '30 minutes') THEN 0 ELSE 1 END AS f FROM e) AS a) AS b
                    GROUP BY k, number"),
        law("running_window", "SELECT id, sum(n) OVER (PARTITION BY k ORDER BY at, id ROWS UNBOUNDED PRECEDING) AS s FROM e"),
        law("running_window_sliding", "SELECT id, count(*) OVER (PARTITION BY k ORDER BY at RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS c FROM e"),
        law("running_window_by_arrival", "SELECT id, sum(n) OVER (PARTITION BY k ORDER BY arrival) AS s FROM e")
            .takes_late()
            .batch("SELECT id, sum(n) OVER (PARTITION BY k ORDER BY i) AS s FROM (SELECT *, row_number() OVER () AS i FROM e) AS e"),
        law("bucket_window", "SELECT id, n FROM e QUALIFY row_number() OVER (PARTITION BY tumble(at, INTERVAL '1 hour') ORDER BY n DESC NULLS LAST, id) = 1"),
        law("first_row", "SELECT id, k FROM e QUALIFY row_number() OVER (PARTITION BY k ORDER BY at, id) = 1"),
        law("first_row_by_arrival", "SELECT id, k FROM e QUALIFY row_number() OVER (PARTITION BY k ORDER BY arrival) = 1")
            .takes_late()
            .batch("SELECT id, k FROM (SELECT *, row_number() OVER () AS i FROM e) AS e QUALIFY row_number() OVER (PARTITION BY k ORDER BY i) = 1"),
        law("running_window_ahead", "SELECT id, lead(id) OVER (PARTITION BY k ORDER BY at, id) AS l FROM e"),
        law(
            "running_window_range_ahead",
            "SELECT id, count(*) OVER (PARTITION BY k ORDER BY at RANGE BETWEEN CURRENT ROW AND INTERVAL '1 hour' FOLLOWING) AS c FROM e",
        ),
        law("top_rows", "SELECT k, id, n FROM e QUALIFY row_number() OVER (PARTITION BY k ORDER BY at DESC, id) = 1").takes_late(),
        law(
            "top_rows_of_bucket",
            "SELECT h, k, id, r FROM (SELECT tumble(at, INTERVAL '1 hour') AS h, k, id,
                    row_number() OVER (PARTITION BY tumble(at, INTERVAL '1 hour'), k ORDER BY n DESC, id) AS r FROM e) AS a WHERE r <= 2 EMIT CHANGES",
        )
        .batch(
            "SELECT h, k, id, r FROM (SELECT tumble(at, INTERVAL '1 hour') AS h, k, id,
                    row_number() OVER (PARTITION BY tumble(at, INTERVAL '1 hour'), k ORDER BY n DESC, id) AS r FROM e) AS a WHERE r <= 2",
        ),
        law("interval_join", "SELECT e.id, f.id AS fid FROM e LEFT JOIN f ON f.k = e.k AND f.at BETWEEN e.at - INTERVAL '20 minutes' AND e.at + INTERVAL '20 minutes'"),
        law("interval_join_inner", "SELECT e.id, f.id AS fid FROM e JOIN f ON f.k = e.k AND f.at BETWEEN e.at - INTERVAL '20 minutes' AND e.at + INTERVAL '20 minutes'"),
        law("interval_join_full", "SELECT e.id, f.id AS fid FROM e FULL JOIN f ON f.k = e.k AND f.at BETWEEN e.at - INTERVAL '20 minutes' AND e.at + INTERVAL '20 minutes'"),
        law("interval_join_right", "SELECT e.id, f.id AS fid FROM e RIGHT JOIN f ON f.k = e.k AND f.at >= e.at AND f.at <= e.at + INTERVAL '5 minutes'"),
        law("interval_join_semi", "SELECT id FROM e WHERE EXISTS (SELECT 1 FROM f WHERE f.k = e.k AND f.at >= e.at AND f.at <= e.at + INTERVAL '20 minutes')"),
        law("interval_join_anti", "SELECT id FROM e WHERE NOT EXISTS (SELECT 1 FROM f WHERE f.k = e.k AND f.at >= e.at AND f.at <= e.at + INTERVAL '20 minutes')"),
    ];
    check_all(&laws, "e", &stream_records());
}

#[test]
fn every_record_of_a_table_is_counted_once_by_each_operator() {
    let laws = [
        law("upsert", "SELECT id, k, n FROM d"),
        law("table_join_inner", "SELECT d.id, c.v FROM d JOIN c ON c.k = d.k"),
        law("table_join_left", "SELECT d.id, c.v FROM d LEFT JOIN c ON c.k = d.k"),
        law("table_join_right", "SELECT c.k, d.id, c.v FROM d RIGHT JOIN c ON c.k = d.k"),
        law("table_join_full", "SELECT d.id, c.k FROM d FULL JOIN c ON c.k = d.k"),
        law("table_join_semi", "SELECT id FROM d WHERE EXISTS (SELECT 1 FROM c WHERE c.k = d.k)"),
        law("table_join_anti", "SELECT id FROM d WHERE NOT EXISTS (SELECT 1 FROM c WHERE c.k = d.k AND c.v > 1)"),
        law("table_join_of_itself", "SELECT a.id, b.n FROM d AS a JOIN d AS b ON a.id = b.id"),
        law("table_join_broadcast", "SELECT d.id, w.id AS wid FROM d LEFT JOIN w ON d.n BETWEEN w.lo AND w.hi"),
        law("table_join_as_of", "SELECT d.id, p.v FROM d LEFT JOIN p FOR SYSTEM_TIME AS OF d.at ON p.k = d.k")
            .batch("SELECT d.id, p.v FROM d LEFT JOIN (SELECT *, lead(since) OVER (PARTITION BY k ORDER BY since) AS until FROM p) AS p
                    ON p.k = d.k AND p.since <= d.at AND (p.until IS NULL OR d.at < p.until)"),
        law("table_aggregate", "SELECT k, count(*) AS c, sum(n) AS s, avg(n) AS a, max(n) AS m, count(DISTINCT n) AS d FROM d GROUP BY k"),
        law("table_aggregate_by_bucket", "SELECT tumble(at, INTERVAL '1 hour') AS h, count(*) AS c FROM d GROUP BY tumble(at, INTERVAL '1 hour')"),
        law("hop_of_table", "SELECT window_start, k, count(*) AS c FROM d GROUP BY hop(at, INTERVAL '1 hour', INTERVAL '2 hours'), k")
            .batch("SELECT start AS window_start, k, count(*) AS c FROM (SELECT *, unnest(hop_starts(at, INTERVAL '1 hour', INTERVAL '2 hours')) AS start FROM d) AS a
                    GROUP BY start, k"),
        law("session_of_table", "SELECT window_start, k, count(*) AS c FROM d GROUP BY session(at, INTERVAL '3 hours'), k")
            .batch("SELECT min(at) AS window_start, k, count(*) AS c
                    FROM (SELECT *, sum(f) OVER (PARTITION BY k ORDER BY at) AS number
                          FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY k ORDER BY at), INTERVAL '3 hours') THEN 0 ELSE 1 END AS f
                                FROM d WHERE at IS NOT NULL) AS a) AS b
                    GROUP BY k, number"),
        law("table_window_groups", "SELECT k, array_agg(id ORDER BY id) AS ids FROM d GROUP BY k"),
        law("table_window", "SELECT id, sum(n) OVER (PARTITION BY k ORDER BY id) AS s, lag(n) OVER (PARTITION BY k ORDER BY id) AS l FROM d"),
        law("table_window_top", "SELECT k, id FROM d QUALIFY row_number() OVER (PARTITION BY k ORDER BY n DESC NULLS LAST, id) = 1"),
        law("distinct", "SELECT DISTINCT k FROM d"),
        law("final_rows", "SELECT tumble(at, INTERVAL '1 hour') AS h, count(*) AS c FROM d GROUP BY tumble(at, INTERVAL '1 hour') EMIT FINAL")
            .batch("SELECT tumble(at, INTERVAL '1 hour') AS h, count(*) AS c FROM d GROUP BY tumble(at, INTERVAL '1 hour')"),
        law("temporal_filter", "SELECT id, n FROM PASSED(d, at)").batch("SELECT id, n FROM d WHERE at IS NOT NULL"),
        law("pace", "SELECT id, n FROM d EMIT CHANGES EVERY '1 minute'").batch("SELECT id, n FROM d"),
        law("changes", "SELECT after.id AS id, before.n AS n, revision FROM CHANGES(d)").counts_only(),
        law("unnest", "SELECT k, id FROM (SELECT k, unnest(array_agg(id)) AS id FROM d GROUP BY k) AS u GROUP BY k, id"),
        law("union_all", "SELECT id, count(*) AS c FROM (SELECT id FROM d UNION ALL SELECT id FROM d WHERE n > 1) AS u GROUP BY id"),
    ];
    check_all(&laws, "d", &table_records());
}
