//! Joins of streams in a running service: timers without input, restarts, and what becomes of each record.

use std::sync::atomic::AtomicI64;

use super::*;

const PAIRS: &str = "
    CREATE STREAM captures (id VARCHAR NOT NULL, plate VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
        WITH (topic = 'captures', format = 'json', event_time = 'at', max_future = '1 hour');
    CREATE STREAM notices (id VARCHAR PRIMARY KEY, plate VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
        WITH (topic = 'notices', format = 'json', event_time = 'at', max_future = '1 hour', unique_for = '1 day');
    CREATE VIEW answered AS SELECT c.id, c.at, n.id AS notice FROM captures c LEFT JOIN notices n
        ON n.plate = c.plate AND n.at >= c.at AND n.at <= c.at + INTERVAL '1 minute';
    CREATE SINK pairs WITH (topic = 'pairs', format = 'json') AS SELECT id, notice FROM answered;
    CREATE SINK minutes WITH (topic = 'minutes', format = 'json') AS
        SELECT count(*) AS c, count(notice) AS n FROM answered GROUP BY tumble(at, INTERVAL '1 minute');
";

const OWNERS: &str = "
    CREATE STREAM captures (id VARCHAR NOT NULL, plate VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
        WITH (topic = 'captures', format = 'json', event_time = 'at', max_future = '1 hour');
    CREATE TABLE owners (plate VARCHAR, since TIMESTAMP WITH TIME ZONE, person VARCHAR, PRIMARY KEY (plate, since))
        WITH (topic = 'owners', format = 'json', valid_from = 'since');
    CREATE SINK owned WITH (topic = 'owned', format = 'json', wait = '1 minute') AS SELECT c.id, o.person
        FROM captures c LEFT JOIN owners FOR SYSTEM_TIME AS OF c.at AS o ON o.plate = c.plate;
";

/// The start of a minute, in milliseconds.
const START_MS: i64 = 1_700_000_040_000;

fn at(offset_ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(START_MS + offset_ms).unwrap().to_rfc3339()
}

fn row(id: &str, plate: &str, offset_ms: i64) -> String {
    format!(r#"{{"id":"{id}","plate":"{plate}","at":"{}"}}"#, at(offset_ms))
}

/// A service that is handed polls, and restarted at will. All records come with the timestamp [`START_MS`].
struct Service {
    rules: &'static str,
    log: MemoryStateLog,
    sink: MemorySink,
    worker: Worker,
    polls: Arc<Mutex<VecDeque<Polled>>>,
    clock: Arc<AtomicI64>,
    positions: BTreeMap<&'static str, i64>,
}

struct Polls(Arc<Mutex<VecDeque<Polled>>>);

impl Source for Polls {
    fn poll(&mut self, _: PollLimit, _: Duration, _: &[Arc<str>]) -> Result<Polled, SourceError> {
        Ok(self.0.lock().unwrap().pop_front().unwrap_or_default())
    }
}

impl Service {
    fn start(rules: &'static str, sources: &[&'static str]) -> Self {
        let log = MemoryStateLog::default();
        let sink = MemorySink::new(log.clone(), TombstoneForm::NoValue);
        let (polls, clock) = (Arc::default(), Arc::new(AtomicI64::new(START_MS)));
        let worker = Self::worker(rules, &log, &sink, &polls, &clock);
        let positions = sources.iter().map(|source| (*source, 0)).collect();
        Self { rules, log, sink, worker, polls, clock, positions }
    }

    fn worker(
        rules: &str,
        log: &MemoryStateLog,
        sink: &MemorySink,
        polls: &Arc<Mutex<VecDeque<Polled>>>,
        clock: &Arc<AtomicI64>,
    ) -> Worker {
        let now = clock.clone();
        let ends = Ends {
            source: Box::new(Polls(polls.clone())),
            sink: Box::new(sink.clone()),
            log: Some(Box::new(log.clone())),
            clock: Box::new(move || now.load(Ordering::Relaxed)),
        };
        let options = WorkerOptions {
            poll_wait: Duration::ZERO,
            commit_interval_min: Duration::ZERO,
            ..WorkerOptions::live(ShardCount(2))
        };
        Worker::new(pipeline(rules), ends, options, Arc::default()).unwrap()
    }

    fn restart(&mut self) {
        self.worker = Self::worker(self.rules, &self.log, &self.sink, &self.polls, &self.clock);
    }

    /// One turn of the worker, at a time of the clock, with these records; the partitions without any are idle.
    fn turn(&mut self, clock_ms: i64, records: &[(&'static str, String)]) {
        self.clock.store(START_MS + clock_ms, Ordering::Relaxed);
        let mut polled = Polled::default();
        for (sequence, (source, line)) in records.iter().enumerate() {
            let position = self.positions.get_mut(source).unwrap();
            let meta = RecordMeta {
                partition: 0,
                offset: *position,
                timestamp_ms: Some(START_MS),
                sequence: sequence as u64,
                key: None,
                value: None,
            };
            *position += 1;
            let value = serde_json::from_str::<serde_json::Value>(line).unwrap();
            let key = serde_json::json!([value["plate"], value["since"]]).to_string();
            let batch = polled.records.entry((*source).into()).or_default();
            batch.push(meta, Some(key.as_bytes()), Some(line.as_bytes()));
        }
        for (source, position) in &self.positions {
            let idle = records.iter().all(|(of, _)| of != source);
            let status = PartitionStatus { position: *position, end: Some(*position), caught_up: true, idle };
            polled.partitions.insert(SourcePartition { relation: (*source).into(), partition: 0 }, status);
        }
        self.polls.lock().unwrap().push_back(polled);
        self.worker.advance().unwrap();
    }

    fn written(&self, sink: &str) -> Vec<String> {
        let collected = self.sink.collected();
        let records = collected.get(&OutputTopic::Sink(sink.into())).cloned().unwrap_or_default();
        records.into_iter().map(|r| String::from_utf8(r.value.unwrap()).unwrap()).collect()
    }
}

#[test]
fn rows_without_a_match_leave_by_the_clock_when_their_streams_are_idle() {
    for restarts in [false, true] {
        let mut service = Service::start(PAIRS, &["captures", "notices"]);
        let restart = |service: &mut Service| {
            if restarts {
                service.restart()
            }
        };
        service.turn(
            0,
            &[("captures", row("c1", "p", 0)), ("captures", row("c2", "q", 5_000)), ("notices", row("n1", "p", 3_000))],
        );
        assert_eq!(service.written("pairs"), [r#"{"id":"c1","notice":"n1"}"#]);
        restart(&mut service);
        service.turn(65_000, &[]);
        assert_eq!(service.written("pairs").len(), 1, "a notice of that millisecond would still match");
        restart(&mut service);
        service.turn(65_001, &[]);
        assert_eq!(service.written("pairs"), [r#"{"id":"c1","notice":"n1"}"#, r#"{"id":"c2","notice":null}"#]);
        // The minute is over for a while, but waited for the row that could still come of it.
        assert_eq!(service.written("minutes"), [r#"{"c":2,"n":1}"#]);
        let late = service.sink.collected().keys().filter(|topic| matches!(topic, OutputTopic::Late(_))).count();
        assert_eq!(late, 0);
    }
}

const HOURS: &str = "
    CREATE STREAM captures (id VARCHAR NOT NULL, plate VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
        WITH (topic = 'captures', format = 'json', event_time = 'at', max_future = '1 day');
    CREATE STREAM notices (id VARCHAR NOT NULL, plate VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
        WITH (topic = 'notices', format = 'json', event_time = 'at', max_future = '1 day');
    CREATE VIEW a AS SELECT window_end AS e, count(*) AS c FROM captures GROUP BY tumble(at, INTERVAL '1 minute');
    CREATE VIEW b AS SELECT window_end AS e, count(*) AS c FROM notices GROUP BY tumble(at, INTERVAL '1 minute');
    CREATE SINK both WITH (topic = 'both', format = 'json') AS SELECT a.c AS captures, b.c AS notices FROM a LEFT JOIN b ON a.e = b.e;
    CREATE SINK tens WITH (topic = 'tens', format = 'json') AS SELECT sum(c) AS c FROM a GROUP BY tumble(e, INTERVAL '10 minutes');
";

#[test]
fn buckets_that_are_joined_leave_when_they_close_and_close_the_buckets_above_them() {
    let mut service = Service::start(HOURS, &["captures", "notices"]);
    // Minutes 1 and 2 of captures, minute 1 of notices; ten minutes end four minutes later.
    let first = [("captures", 0), ("captures", 61_000), ("notices", 1_000)].map(|(s, ms)| (s, row("x", "p", ms)));
    service.turn(0, &first);
    assert!(service.written("both").is_empty());
    service.turn(60_000, &[]);
    assert_eq!(service.written("both"), [r#"{"captures":1,"notices":1}"#]);
    service.turn(119_999, &[]);
    assert_eq!(service.written("both").len(), 1);
    service.turn(120_000, &[]);
    assert_eq!(service.written("both"), [r#"{"captures":1,"notices":1}"#, r#"{"captures":1,"notices":null}"#]);
    let end_ms = 600_000 - START_MS.rem_euclid(600_000);
    service.turn(end_ms - 1, &[]);
    assert!(service.written("tens").is_empty());
    // Its last minute ends where the ten minutes end, and so is of the next ten.
    service.turn(end_ms + 60_000, &[]);
    assert_eq!(service.written("tens"), [r#"{"c":2}"#]);
}

#[test]
fn rows_wait_by_the_clock_for_the_version_that_they_need() {
    for restarts in [false, true] {
        let mut service = Service::start(OWNERS, &["captures", "owners"]);
        let restart = |service: &mut Service| {
            if restarts {
                service.restart()
            }
        };
        // The first turn finds the table loaded.
        service.turn(0, &[]);
        service.turn(1_000, &[("captures", row("c1", "p", 0)), ("captures", row("c2", "q", 5_000))]);
        restart(&mut service);
        service.turn(2_000, &[]);
        assert!(service.written("owned").is_empty());
        let owner = format!(r#"{{"plate":"p","since":"{}","person":"x"}}"#, at(-1));
        service.turn(3_000, &[("owners", owner)]);
        assert_eq!(service.written("owned"), [r#"{"id":"c1","person":"x"}"#]);
        restart(&mut service);
        service.turn(60_999, &[]);
        assert_eq!(service.written("owned").len(), 1);
        service.turn(61_000, &[]);
        assert_eq!(service.written("owned"), [r#"{"id":"c1","person":"x"}"#, r#"{"id":"c2","person":null}"#]);
    }
}

#[test]
fn late_early_null_and_repeated_records_are_counted_once_and_match_nothing() {
    let mut service = Service::start(PAIRS, &["captures", "notices"]);
    service.turn(0, &[("captures", row("c1", "p", 0)), ("notices", row("n1", "p", 0))]);
    service.turn(0, &[("captures", row("c2", "q", 100_000)), ("notices", row("n2", "q", 100_000))]);
    let null = r#"{"id":"c4","plate":"q","at":null}"#.to_owned();
    let captures = [row("c3", "q", 99_999), row("c5", "q", 3_600_001), null, row("c6", "q", 100_000)];
    let captures = captures.into_iter().map(|line| ("captures", line));
    let notices = [row("n1", "q", 100_001), row("n3", "q", 99_000)].map(|line| ("notices", line));
    service.turn(0, &captures.chain(notices).collect::<Vec<_>>());
    assert_eq!(
        service.written("pairs"),
        [r#"{"id":"c1","notice":"n1"}"#, r#"{"id":"c2","notice":"n2"}"#, r#"{"id":"c6","notice":"n2"}"#]
    );
    let counts: Vec<_> = service.worker.status().snapshot().sources.into_iter().map(|s| s.counts).collect();
    assert_eq!(counts[0], SourceCounts { read: 6, used: 3, duplicate: 0, late: 1, rejected: 2 });
    assert_eq!(counts[1], SourceCounts { read: 4, used: 2, duplicate: 1, late: 1, rejected: 0 });
    let collected = service.sink.collected();
    let refused = |topic: OutputTopic| collected[&topic].len();
    assert_eq!(
        (refused(OutputTopic::Late("captures".into())), refused(OutputTopic::Rejected("captures".into()))),
        (1, 2)
    );
    assert_eq!(refused(OutputTopic::Late("notices".into())), 1);
}
