//! SQL that somebody asks of a running worker: any text is answered within its limits, or refused with a code and a reason.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use curb::catalog::resolve;
use curb::dialect::{Pack, parse, render};
use curb::engine::{Ends, Queries, QueryLimits, QueryTrouble, Worker, WorkerOptions};
use curb::local::{MemorySink, MemoryStateLog, MemoryTopics, TopicRecord};
use curb::plan::plan;
use curb::stream::{ShardCount, SourcePartition, TombstoneForm};

/// A table with a private column, one of numbers and instants, a view, and what is computed from both.
const RULES: &str = "
    CREATE TABLE people (id VARCHAR PRIMARY KEY, name VARCHAR PRIVATE, town VARCHAR) WITH (topic = 'people', format = 'json');
    CREATE TABLE rides (ride_id VARCHAR PRIMARY KEY, id VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL, km INT, tags VARCHAR[])
        WITH (topic = 'rides', format = 'json', event_time = 'at');
    CREATE VIEW known AS SELECT r.ride_id, r.at, r.km, r.tags, p.id, p.town, p.name FROM rides r JOIN people p ON p.id = r.id;
    CREATE TABLE by_town AS SELECT town, count(*) AS n, sum(km) AS km FROM known GROUP BY town;
    CREATE SINK towns WITH (topic = 'towns', format = 'json') AS SELECT * FROM by_town;
    CREATE SINK all_known WITH (topic = 'known', format = 'json', key = 'ride_id', allow_private = true) AS SELECT * FROM known;
";

/// A value of the private column, which no answer and no refusal may hold.
const PRIVATE: &str = "Zhezhi9";

const LIMITS: QueryLimits = QueryLimits {
    sql_bytes: 8 << 10,
    rows: 100,
    answer_bytes: 4 << 20,
    rows_read: 1_000,
    bytes_read: 1 << 20,
    hold_up: Duration::from_secs(1),
    memory: 64 << 20,
    time: Duration::from_secs(1),
    running: 1,
};

/// How much later than its limit a query may end on a machine that does other things too.
const GRACE: Duration = Duration::from_secs(8);

struct World {
    worker: Worker,
    queries: Queries,
}

fn world() -> World {
    let (statements, findings) = parse(&Pack::from_text("rules.sql", RULES));
    assert!(findings.is_empty(), "{findings:?}");
    let catalog = resolve(statements, None).expect("the rules are sound");
    let pipeline = Arc::new(plan(&catalog).expect("the rules are sound"));
    let partition = |relation: &str| SourcePartition { relation: relation.into(), partition: 0 };
    let topics = MemoryTopics::new(["people", "rides"].map(partition));
    let append = |relation: &str, key: String, value: String| {
        let (key, value) = (Some(key.into_bytes()), Some(value.into_bytes()));
        topics.append(TopicRecord { partition: partition(relation), timestamp_ms: None, key, value });
    };
    for n in 0..20 {
        let town = ["Deqing", "Anji", "德清"][n % 3];
        append("people", format!("p{n}"), format!(r#"{{"id":"p{n}","name":"{PRIVATE}","town":"{town}"}}"#));
        let of = n / 2;
        let tags = if n % 4 == 0 { "null" } else { r#"["a",null,"b"]"# };
        let ride = format!(
            r#"{{"ride_id":"r{n}","id":"p{of}","at":"2023-11-0{}T08:00:00Z","km":{n},"tags":{tags}}}"#,
            1 + n % 9
        );
        append("rides", format!("r{n}"), ride);
    }
    let (log, stop) = (MemoryStateLog::default(), Arc::new(AtomicBool::new(false)));
    let ends = Ends {
        source: Box::new(topics.source(stop.clone())),
        sink: Box::new(MemorySink::new(log.clone(), TombstoneForm::NoValue)),
        log: Some(Box::new(log)),
        clock: Box::new(|| 1_700_000_000_000),
    };
    let options = WorkerOptions {
        poll_wait: Duration::ZERO,
        commit_interval_min: Duration::ZERO,
        pause_streams_while_loading: false,
        ..WorkerOptions::live(ShardCount(2))
    };
    let mut worker = Worker::new(pipeline.clone(), ends, options, stop).expect("a worker");
    worker.run().expect("it reads everything");
    let queries = Queries::new(catalog, pipeline, 2, worker.status(), LIMITS);
    World { worker, queries }
}

/// Asks, on a stack as large as the server's.
pub(super) fn ask(data: &[u8]) {
    thread_local! {
        static WORLD: World = world();
    }
    let Ok(sql) = std::str::from_utf8(data) else { return };
    WORLD.with(|world| match world.queries.answer_about(&world.worker, sql) {
        Ok(answer) => {
            assert!(answer.n_rows() <= LIMITS.rows, "{} rows", answer.n_rows());
            assert!(answer.elapsed < LIMITS.time + GRACE, "{:?}", answer.elapsed);
            let shown = arrow::util::pretty::pretty_format_batches(&answer.batches).expect("rows can be shown");
            assert!(sql.contains(PRIVATE) || !shown.to_string().contains(PRIVATE), "{shown}");
        }
        Err(error) => {
            let finding = error.finding.as_ref();
            assert!(finding.code.starts_with('C') && !finding.message.is_empty(), "{finding:?}");
            assert!(error.trouble != QueryTrouble::Defect, "{finding:?}");
            let shown = render(std::slice::from_ref(finding), &Pack::from_text("query", sql));
            assert!(sql.contains(PRIVATE) || !shown.contains(PRIVATE), "{shown}");
        }
    });
}
