//! The loop over files and memory: epochs, failed commits, restores, shards.

mod bounded;
mod pace;
mod retention;
mod streams;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::catalog::resolve;
use crate::dialect::{Pack, parse};
use crate::engine::{
    Replay, ReplayOptions, RestoreError, RewritePolicy, SliceLimit, SnapshotPolicy, SourceCounts, UpkeepOptions,
    event_times, snapshot,
};
use crate::local::{Collected, FileInput, FileSource, MemorySink, MemoryStateLog, SnapshotDir};
use crate::plan::plan;
use crate::stream::{
    CommitError, LogFollower, LogReader, Outcome as SinkOutcome, OutputTopic, PollLimit, RecordBatchBytes, RecordMeta,
    Restored, SealedEpoch, ShardCount, SourceError, TombstoneForm,
};

const RULES: &str = "
    CREATE STREAM passages (
        passage_id VARCHAR PRIMARY KEY, device_id VARCHAR NOT NULL,
        passed_at TIMESTAMP WITH TIME ZONE NOT NULL, helmet BOOLEAN
    ) WITH (topic = 'passages', format = 'json', event_time = 'passed_at', unique_for = '1 hour');
    CREATE TABLE devices (device_id VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'devices', format = 'json');
    CREATE SINK bare WITH (topic = 'bare', format = 'json') AS
        SELECT p.passage_id, p.device_id, d.town FROM passages p LEFT JOIN devices d ON p.device_id = d.device_id
        WHERE p.helmet = false;
    CREATE SINK towns WITH (topic = 'towns', format = 'json') AS SELECT device_id, upper(town) AS town FROM devices;
";

fn pipeline(sql: &str) -> Arc<Pipeline> {
    let pack = Pack::from_text("rules.sql", sql);
    let (statements, errors) = parse(&pack);
    assert!(errors.is_empty(), "{errors:?}");
    Arc::new(plan(&resolve(statements, None).unwrap()).unwrap())
}

fn timestamp(second: i64) -> String {
    chrono::DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap().to_rfc3339()
}

/// A random history: device changes and passages, some of them repeated or unreadable.
#[derive(Clone, Debug)]
struct History {
    devices: Vec<String>,
    passages: Vec<String>,
}

impl History {
    fn write(&self, dir: &Path) {
        fs::write(dir.join("devices.ndjson"), self.devices.join("\n")).unwrap();
        fs::write(dir.join("passages.ndjson"), self.passages.join("\n")).unwrap();
    }
}

fn history() -> impl Strategy<Value = History> {
    let device = (0..5u8, prop::option::of("[a-c]")).prop_map(|(id, town)| match town {
        Some(town) => format!(r#"{{"device_id":"d{id}","town":"{town}"}}"#),
        None => format!(r#"{{"_tombstone":true,"device_id":"d{id}"}}"#),
    });
    let passage = (0..30u8, 0..6u8, any::<bool>(), 0..10u8).prop_map(|(id, device, helmet, kind)| match kind {
        0 => "{broken".to_string(),
        _ => format!(
            r#"{{"passage_id":"p{id}","device_id":"d{device}","passed_at":"{}","helmet":{helmet}}}"#,
            timestamp(i64::from(id))
        ),
    });
    (prop::collection::vec(device, 0..12), prop::collection::vec(passage, 0..40))
        .prop_map(|(devices, passages)| History { devices, passages })
}

fn source(pipeline: &Pipeline, dir: &Path) -> Box<dyn Source> {
    let inputs = pipeline.relations.iter().filter_map(|r| match &r.operator {
        OperatorPlan::SourceTable(d, _) | OperatorPlan::SourceStream(d, _) => Some(FileInput::lines(
            d.name.clone(),
            matches!(r.operator, OperatorPlan::SourceTable(..)),
            event_times(d).unwrap(),
        )),
        _ => None,
    });
    Box::new(FileSource::open(dir, inputs.collect(), None).unwrap())
}

/// What goes wrong with a commit.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Aborted,
    AssignmentLost,
    UnknownAndLost,
    UnknownButCommitted,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::None),
        Just(Fault::Aborted),
        Just(Fault::AssignmentLost),
        Just(Fault::UnknownAndLost),
        Just(Fault::UnknownButCommitted)
    ]
}

struct FaultySink {
    inner: MemorySink,
    faults: VecDeque<Fault>,
}

impl Sink for FaultySink {
    fn tombstones(&self) -> TombstoneForm {
        self.inner.tombstones()
    }

    fn max_delta_bytes(&self) -> usize {
        700
    }

    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError> {
        assert!(epoch.deltas.iter().all(|d| d.bytes.len() <= 700));
        match self.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => self.inner.commit(epoch),
            Fault::Aborted => Err(CommitError::Aborted("test".into())),
            Fault::AssignmentLost => Err(CommitError::AssignmentLost("test".into())),
            Fault::UnknownAndLost => Err(CommitError::Unknown("test".into())),
            Fault::UnknownButCommitted => {
                self.inner.commit(epoch)?;
                Err(CommitError::Unknown("test".into()))
            }
        }
    }

    fn outcome(&mut self, epoch: &SealedEpoch) -> Result<SinkOutcome, CommitError> {
        self.inner.outcome(epoch)
    }
}

fn options(n_shards: u32, n_records: usize) -> WorkerOptions {
    WorkerOptions {
        limit: PollLimit { records: n_records, bytes: usize::MAX },
        backoff_min: Duration::ZERO,
        ..WorkerOptions::replay(ShardCount(n_shards))
    }
}

/// Rewrites shards all the time, a few rows an epoch.
fn rewriting(options: WorkerOptions, slice_rows: usize) -> WorkerOptions {
    let slice = SliceLimit { rows: slice_rows, bytes: usize::MAX };
    let upkeep = UpkeepOptions { rewrite: RewritePolicy { bytes_min: 0, slice }, ..UpkeepOptions::default() };
    WorkerOptions { upkeep, ..options }
}

/// Writes a snapshot of every shard before each restore that `writes` says, and perhaps damages one.
struct SnapshottingLog {
    log: MemoryStateLog,
    pipeline: Arc<Pipeline>,
    n_shards: ShardCount,
    dir: SnapshotDir,
    restores: VecDeque<SnapshotFault>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SnapshotFault {
    None,
    NotWritten,
    CutShort(usize),
    Flipped(usize),
    OfAnotherLog,
}

fn snapshot_fault() -> impl Strategy<Value = SnapshotFault> {
    prop_oneof![
        2 => Just(SnapshotFault::None),
        1 => Just(SnapshotFault::NotWritten),
        1 => (0usize..2000).prop_map(SnapshotFault::CutShort),
        1 => (0usize..2000).prop_map(SnapshotFault::Flipped),
        1 => Just(SnapshotFault::OfAnotherLog),
    ]
}

impl StateLog for SnapshottingLog {
    fn restore(&mut self, reader: &mut dyn LogReader) -> Result<Restored, SourceError> {
        self.log.restore(reader)
    }

    fn follower(&self) -> Option<Box<dyn LogFollower>> {
        None
    }

    fn ask_end(&mut self, shard: u32) {
        self.log.ask_end(shard);
    }

    fn take_ends(&mut self) -> Vec<(u32, Option<i64>)> {
        self.snapshot();
        self.log.take_ends()
    }

    fn cut(&mut self, shard: u32, before: i64) {
        self.log.cut(shard, before);
        self.snapshot();
    }
}

impl SnapshottingLog {
    fn snapshot(&mut self) {
        let fault = self.restores.pop_front().unwrap_or(SnapshotFault::None);
        if fault == SnapshotFault::NotWritten {
            return;
        }
        for shard in 0..self.n_shards.0 {
            let mut follower = self.log.clone();
            let began_ms = if fault == SnapshotFault::OfAnotherLog { 1 } else { 0 };
            let wrote =
                snapshot::write(&self.pipeline, self.n_shards, &self.dir, &mut follower, shard, began_ms).unwrap();
            let path = self.dir.path(shard);
            assert!(wrote.is_some_and(|n| fs::metadata(&path).unwrap().len() == n));
            let mut bytes = fs::read(&path).unwrap();
            match fault {
                SnapshotFault::CutShort(at) => bytes.truncate(at % bytes.len()),
                SnapshotFault::Flipped(at) => {
                    let at = at % bytes.len();
                    bytes[at] ^= 4;
                }
                _ => {}
            }
            fs::write(&path, &bytes).unwrap();
        }
    }
}

struct Outcome {
    collected: BTreeMap<OutputTopic, Vec<Collected>>,
    counts: Vec<(Arc<str>, SourceCounts)>,
    log: MemoryStateLog,
}

fn run(history: &History, options: WorkerOptions, faults: Vec<Fault>) -> Outcome {
    run_with(history, options, faults, Vec::new())
}

fn run_with(history: &History, options: WorkerOptions, faults: Vec<Fault>, snapshots: Vec<SnapshotFault>) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    history.write(dir.path());
    let pipeline = pipeline(RULES);
    let log = MemoryStateLog::default();
    let inner = MemorySink::new(log.clone(), TombstoneForm::NoValue);
    let logged: Box<dyn StateLog> = match options.upkeep.snapshots.clone() {
        None => Box::new(log.clone()),
        Some(dir) => Box::new(SnapshottingLog {
            log: log.clone(),
            pipeline: pipeline.clone(),
            n_shards: options.n_shards,
            dir,
            restores: snapshots.into(),
        }),
    };
    let ends = Ends {
        source: source(&pipeline, dir.path()),
        sink: Box::new(FaultySink { inner: inner.clone(), faults: faults.into() }),
        log: Some(logged),
        clock: Box::new(|| 0),
    };
    let mut worker = Worker::new(pipeline, ends, options, Arc::default()).unwrap();
    assert_eq!(worker.run().unwrap(), Ended::EndOfInput);
    let counts = worker.status().snapshot().sources.into_iter().map(|s| (s.name, s.counts)).collect();
    Outcome { collected: inner.collected(), counts, log }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn failed_commits_and_restores_cannot_be_seen_in_the_output(
        history in history(),
        faults in prop::collection::vec(fault(), 0..8),
        n_shards in 1u32..4,
        n_records in 1usize..20,
    ) {
        let calm = run(&history, options(n_shards, n_records), Vec::new());
        let stormy = run(&history, options(n_shards, n_records), faults);
        prop_assert_eq!(calm.collected, stormy.collected);
    }

    #[test]
    fn a_log_that_is_rewritten_all_the_time_is_whole_at_any_time(
        history in history(),
        faults in prop::collection::vec(prop_oneof![Just(Fault::None), fault()], 0..16),
        n_shards in 1u32..4,
        slice_rows in 1usize..5,
    ) {
        let calm = run(&history, options(n_shards, 1), Vec::new());
        let stormy = run(&history, rewriting(options(n_shards, 1), slice_rows), faults);
        prop_assert_eq!(calm.collected, stormy.collected);
    }

    #[test]
    fn local_snapshots_cannot_be_seen_in_the_output_whatever_becomes_of_them(
        history in history(),
        faults in prop::collection::vec(prop_oneof![Just(Fault::None), fault()], 0..16),
        snapshots in prop::collection::vec(snapshot_fault(), 0..16),
        n_shards in 1u32..4,
        slice_rows in 1usize..5,
    ) {
        let calm = run(&history, options(n_shards, 1), Vec::new());
        let dir = tempfile::tempdir().unwrap();
        let mut with_snapshots = rewriting(options(n_shards, 1), slice_rows);
        with_snapshots.upkeep.snapshots = Some(SnapshotDir::new(dir.path(), "test"));
        let stormy = run_with(&history, with_snapshots, faults, snapshots);
        prop_assert_eq!(calm.collected, stormy.collected);
    }

    #[test]
    fn the_number_of_shards_cannot_be_seen_in_the_output(history in history(), n_records in 1usize..20) {
        let one = run(&history, options(1, n_records), Vec::new());
        let many = run(&history, options(5, n_records), Vec::new());
        prop_assert_eq!(one.collected, many.collected);
        prop_assert_eq!(one.counts, many.counts);
    }

    #[test]
    fn every_record_is_counted_once(history in history(), n_records in 1usize..20) {
        let outcome = run(&history, options(2, n_records), Vec::new());
        for (name, counts) in outcome.counts {
            let lines = if &*name == "devices" { &history.devices } else { &history.passages };
            prop_assert_eq!(counts.read, lines.len() as u64);
            prop_assert_eq!(counts.used + counts.duplicate + counts.late + counts.rejected, counts.read);
            let broken = lines.iter().filter(|l| l.as_str() == "{broken").count() as u64;
            prop_assert_eq!(counts.rejected, broken);
            if &*name == "passages" {
                let distinct: std::collections::BTreeSet<_> =
                    lines.iter().filter(|l| l.as_str() != "{broken").map(|l| l.split(',').next()).collect();
                prop_assert_eq!(counts.used, distinct.len() as u64);
            }
        }
    }

    #[test]
    fn ids_never_repeat(history in history(), n_records in 1usize..20) {
        let outcome = run(&history, options(3, n_records), Vec::new());
        let mut seen = std::collections::BTreeSet::new();
        for (topic, records) in &outcome.collected {
            if !matches!(topic, OutputTopic::Sink(_)) {
                continue;
            }
            for record in records {
                let id = record.headers.iter().find(|(name, _)| name == "curb_id").map(|(_, id)| id.clone());
                prop_assert!(seen.insert(id.expect("every row has an id")), "repeated id");
            }
        }
    }
}

/// The same few devices change all the time.
fn busy_devices() -> History {
    let device = |i: usize| format!(r#"{{"device_id":"d{}","town":"{}"}}"#, i % 4, ["a", "b", "c"][i % 3]);
    History { devices: (0..400).map(device).collect(), passages: vec![] }
}

#[test]
fn a_rewritten_log_stays_small_and_names_its_pipeline() {
    let history = busy_devices();
    let without = run(&history, options(2, 1), Vec::new());
    let kept = run(&history, rewriting(options(2, 1), 2), Vec::new());
    let ((n_all, n_cut_of_all), (n_kept, n_cut)) = (without.log.n_deltas(), kept.log.n_deltas());
    assert_eq!((without.collected, n_cut_of_all), (kept.collected, 0));
    assert!(n_kept * 4 < n_all && n_cut > n_all / 2, "{n_kept} kept and {n_cut} cut, {n_all} otherwise");
    // What is left says which pack it belongs to.
    let narrower = pipeline(&RULES.replace("upper(town) AS town", "town, device_id AS id"));
    let mut log = kept.log;
    let refused = crate::engine::restore::restore(&narrower, ShardCount(2), Some(&mut log), None).err().unwrap();
    assert!(refused.to_string().contains("has changed"), "{refused}");
}

#[test]
fn snapshots_are_written_beside_the_worker_and_read_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDir::new(dir.path(), "test");
    let files = tempfile::tempdir().unwrap();
    busy_devices().write(files.path());
    let pipeline = pipeline(RULES);
    let log = MemoryStateLog::default();
    let start = || {
        let mut options = options(2, 1);
        options.upkeep.snapshots = Some(snapshots.clone());
        options.upkeep.snapshot = SnapshotPolicy { bytes_min: 1000 };
        let ends = Ends {
            source: source(&pipeline, files.path()),
            sink: Box::new(MemorySink::new(log.clone(), TombstoneForm::NoValue)),
            log: Some(Box::new(log.clone())),
            clock: Box::new(|| 7),
        };
        Worker::new(pipeline.clone(), ends, options, Arc::default()).unwrap()
    };
    start().run().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !(0..2).all(|shard| snapshots.path(shard).exists()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let resumed = |mut log: MemoryStateLog, dir: Option<&SnapshotDir>| {
        crate::engine::restore::restore(&pipeline, ShardCount(2), Some(&mut log), dir).unwrap()
    };
    let (with, without) = (resumed(log.clone(), Some(&snapshots)), resumed(log.clone(), None));
    assert_eq!((with.n_snapshots, without.n_snapshots), (2, 0));
    assert_eq!((with.epoch, &with.positions, &with.log_bytes), (without.epoch, &without.positions, &without.log_bytes));
    let devices = pipeline.relations.iter().position(|r| r.name.as_ref() == "devices").unwrap();
    assert_eq!(with.dataflow.state_sizes()[devices].rows, 4);
    // Another log of the same name, as long as the first or longer, has nothing to do with them.
    let other = MemoryStateLog::default();
    let ends = Ends {
        source: source(&pipeline, files.path()),
        sink: Box::new(MemorySink::new(other.clone(), TombstoneForm::NoValue)),
        log: Some(Box::new(other.clone())),
        clock: Box::new(|| 8),
    };
    Worker::new(pipeline.clone(), ends, options(2, 1), Arc::default()).unwrap().run().unwrap();
    assert_eq!(resumed(other, Some(&snapshots)).n_snapshots, 0);
    assert!(!snapshots.path(0).exists(), "snapshots of another log are deleted");
}

#[test]
fn a_disk_that_takes_nothing_stops_no_pipeline() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let mut options = options(2, 20);
    options.upkeep.snapshots = Some(SnapshotDir::new(&file, "test"));
    options.upkeep.snapshot = SnapshotPolicy { bytes_min: 0 };
    let files = tempfile::tempdir().unwrap();
    busy_devices().write(files.path());
    let pipeline = pipeline(RULES);
    let log = MemoryStateLog::default();
    let ends = Ends {
        source: source(&pipeline, files.path()),
        sink: Box::new(MemorySink::new(log.clone(), TombstoneForm::NoValue)),
        log: Some(Box::new(log.clone())),
        clock: Box::new(|| 7),
    };
    assert_eq!(Worker::new(pipeline, ends, options, Arc::default()).unwrap().run().unwrap(), Ended::EndOfInput);
}

fn replay(history: &History, n_shards: u32) -> BTreeMap<String, Vec<u8>> {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    history.write(from.path());
    let options =
        ReplayOptions { from: from.path(), to: to.path(), until_ms: None, n_shards: ShardCount(n_shards), audit: None };
    Replay::open(pipeline(RULES), &options).unwrap().run().unwrap();
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(to.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        files.insert(name, fs::read(path).unwrap());
    }
    files
}

#[test]
fn a_replay_writes_the_same_bytes_on_every_run() {
    let history = History {
        devices: vec![
            r#"{"device_id":"d1","town":"a"}"#.into(),
            r#"{"device_id":"d2","town":"b"}"#.into(),
            r#"{"device_id":"d1","town":"c"}"#.into(),
        ],
        passages: vec![
            format!(r#"{{"passage_id":"p1","device_id":"d1","passed_at":"{}","helmet":false}}"#, timestamp(1)),
            format!(r#"{{"passage_id":"p2","device_id":"d9","passed_at":"{}","helmet":false}}"#, timestamp(2)),
            r#"{"passage_id":7}"#.into(),
        ],
    };
    let mut first = replay(&history, 1);
    let mut second = replay(&history, 4);
    let summary: serde_json::Value = serde_json::from_slice(&first.remove("summary.json").unwrap()).unwrap();
    second.remove("summary.json").unwrap();
    assert_eq!(first, second);
    let text = |name: &str| String::from_utf8(first[name].clone()).unwrap();
    assert_eq!(
        text("bare.ndjson"),
        "{\"passage_id\":\"p1\",\"device_id\":\"d1\",\"town\":\"c\"}\n\
         {\"passage_id\":\"p2\",\"device_id\":\"d9\",\"town\":null}\n"
    );
    assert_eq!(text("towns.ndjson"), "{\"device_id\":\"d1\",\"town\":\"C\"}\n{\"device_id\":\"d2\",\"town\":\"B\"}\n");
    let rejected: serde_json::Value = serde_json::from_str(&text("passages.rejected.ndjson")).unwrap();
    assert_eq!((&rejected["line"], &rejected["length"]), (&3.into(), &16.into()));
    assert_eq!(rejected["raw"], r#"{"passage_id":7}"#);
    assert_eq!(summary["sources"]["passages"]["rejected"], 1);
    assert_eq!(summary["sinks"]["towns"]["rows"], 2);
}

/// A source whose polls are written down beforehand, and which notes what it was asked to leave out.
struct ScriptedSource {
    polls: VecDeque<Result<Polled, SourceError>>,
    paused: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Source for ScriptedSource {
    fn poll(&mut self, _: PollLimit, _: Duration, paused: &[Arc<str>]) -> Result<Polled, SourceError> {
        self.paused.lock().unwrap().push(paused.iter().map(ToString::to_string).collect());
        self.polls.pop_front().unwrap_or_else(|| Ok(Polled { end_of_input: true, ..Polled::default() }))
    }
}

fn polled(relation: &str, line: Option<&str>, key: &str, caught_up: bool, sequence: u64) -> Polled {
    let name: Arc<str> = relation.into();
    let mut polled = Polled::default();
    let status = PartitionStatus { position: 1, end: Some(1), caught_up, idle: false };
    polled.partitions.insert(SourcePartition { relation: name.clone(), partition: 0 }, status);
    if let Some(line) = line {
        let mut batch = RecordBatchBytes::default();
        let meta = RecordMeta { partition: 0, offset: 0, timestamp_ms: Some(0), sequence, key: None, value: None };
        batch.push(meta, Some(key.as_bytes()), Some(line.as_bytes()));
        polled.records.insert(name, batch);
    }
    polled
}

#[test]
fn streams_wait_and_nothing_leaves_until_all_tables_are_loaded() {
    let pipeline = pipeline(RULES);
    let sink = MemorySink::new(MemoryStateLog::default(), TombstoneForm::NoValue);
    let paused = Arc::new(Mutex::new(Vec::new()));
    let polls = vec![
        Ok(polled("devices", Some(r#"{"device_id":"d1","town":"a"}"#), "d1", false, 0)),
        Ok(polled("devices", Some(r#"{"device_id":"d1","town":"b"}"#), "d1", true, 1)),
        Ok(Polled::default()),
    ];
    let ends = Ends {
        source: Box::new(ScriptedSource { polls: polls.into(), paused: paused.clone() }),
        sink: Box::new(sink.clone()),
        log: None,
        clock: Box::new(|| 0),
    };
    let options = WorkerOptions { poll_wait: Duration::ZERO, ..WorkerOptions::live(ShardCount(2)) };
    let mut worker = Worker::new(pipeline, ends, options, Arc::default()).unwrap();
    worker.epoch().unwrap();
    assert!(sink.collected().is_empty(), "nothing leaves while tables are being loaded");
    worker.epoch().unwrap();
    worker.epoch().unwrap();
    let collected = sink.collected();
    let rows: Vec<_> = collected[&OutputTopic::Sink("towns".into())].iter().map(|r| r.value.clone().unwrap()).collect();
    assert_eq!(rows, [br#"{"device_id":"d1","town":"B"}"#.to_vec()], "the net content leaves as one change");
    assert_eq!(*paused.lock().unwrap(), [vec!["passages".to_string()], vec!["passages".to_string()], vec![]]);
}

#[test]
fn a_fenced_worker_stops_and_a_lost_assignment_is_restored() {
    let run = |error: SourceError| {
        let log = MemoryStateLog::default();
        let ends = Ends {
            source: Box::new(ScriptedSource { polls: [Err(error)].into(), paused: Arc::default() }),
            sink: Box::new(MemorySink::new(log.clone(), TombstoneForm::NoValue)),
            log: Some(Box::new(log)),
            clock: Box::new(|| 0),
        };
        Worker::new(pipeline(RULES), ends, options(1, 10), Arc::default()).unwrap().run()
    };
    assert!(matches!(run(SourceError::Fenced("newer".into())), Err(WorkerError::Source(SourceError::Fenced(_)))));
    assert_eq!(run(SourceError::AssignmentLost("rebalance".into())).unwrap(), Ended::EndOfInput);
}

/// A state log that cannot be reached a number of times.
struct FarLog {
    failures: VecDeque<bool>,
    log: MemoryStateLog,
}

impl StateLog for FarLog {
    fn restore(&mut self, reader: &mut dyn LogReader) -> Result<Restored, SourceError> {
        match self.failures.pop_front() {
            Some(true) => Err(SourceError::Unreachable("gone".into())),
            _ => self.log.restore(reader),
        }
    }
}

#[test]
fn a_cluster_that_goes_away_is_waited_for_but_one_that_was_never_there_is_not() {
    let run = |failures: &[bool], polls: Vec<Result<Polled, SourceError>>| {
        let log = MemoryStateLog::default();
        let ends = Ends {
            source: Box::new(ScriptedSource { polls: polls.into(), paused: Arc::default() }),
            sink: Box::new(MemorySink::new(log.clone(), TombstoneForm::NoValue)),
            log: Some(Box::new(FarLog { failures: failures.iter().copied().collect(), log })),
            clock: Box::new(|| 0),
        };
        Worker::new(pipeline(RULES), ends, options(1, 10), Arc::default()).unwrap().run()
    };
    let gone = || Err(SourceError::Unreachable("gone".into()));
    assert_eq!(run(&[false, true, true, false], vec![gone()]).unwrap(), Ended::EndOfInput);
    let refused = run(&[true], vec![]).unwrap_err();
    assert!(matches!(refused, WorkerError::Restore(RestoreError::Log(SourceError::Unreachable(_)))), "{refused}");
}

#[test]
fn state_of_another_pack_is_refused_with_the_names_of_the_relations() {
    let dir = tempfile::tempdir().unwrap();
    let history = History { devices: vec![r#"{"device_id":"d1","town":"a"}"#.into()], passages: vec![] };
    history.write(dir.path());
    let log = MemoryStateLog::default();
    let start = |sql: &str, n_shards: u32| {
        let pipeline = pipeline(sql);
        let ends = Ends {
            source: source(&pipeline, dir.path()),
            sink: Box::new(MemorySink::new(log.clone(), TombstoneForm::NoValue)),
            log: Some(Box::new(log.clone())),
            clock: Box::new(|| 0),
        };
        Worker::new(pipeline, ends, options(n_shards, 10), Arc::default()).unwrap().run()
    };
    start(RULES, 1).unwrap();
    let narrower = RULES.replace("upper(town) AS town", "town, device_id AS id").replace("'1 hour'", "'2 hours'");
    let message = start(&narrower, 1).unwrap_err().to_string();
    assert!(message.contains("`passages` has changed"), "{message}");
    let message = start(RULES, 3).unwrap_err().to_string();
    assert!(message.contains("1 shards, but the pipeline has 3"), "{message}");
}

#[test]
fn a_committed_epoch_shows_what_it_refused_and_wrote_and_where_its_time_went() {
    let dir = tempfile::tempdir().unwrap();
    let passage =
        |id| format!(r#"{{"passage_id":"{id}","device_id":"d1","passed_at":"{}","helmet":false}}"#, timestamp(1));
    let towns = ["a", "b", "b"].iter().enumerate();
    let device = |(i, town): (usize, &&str)| format!(r#"{{"device_id":"d{i}","town":"{town}"}}"#);
    let history = History {
        devices: towns.map(device).collect(),
        passages: vec![passage("p1"), "{broken".into(), passage("p2")],
    };
    history.write(dir.path());
    let pipeline = pipeline(&RULES.replace("(topic = 'towns',", "(count_by = 'town', topic = 'towns',"));
    let log = MemoryStateLog::default();
    let sink = FaultySink {
        inner: MemorySink::new(log.clone(), TombstoneForm::NoValue),
        faults: [Fault::Aborted, Fault::AssignmentLost].into(),
    };
    let ends = Ends {
        source: source(&pipeline, dir.path()),
        sink: Box::new(sink),
        log: Some(Box::new(log)),
        clock: Box::new(|| 77),
    };
    let mut worker = Worker::new(pipeline, ends, options(2, 100), Arc::default()).unwrap();
    let board = worker.status();
    assert!(board.newest_refused().is_empty());
    assert_eq!(worker.run().unwrap(), Ended::EndOfInput);
    let refused = board.newest_refused();
    let [broken] = refused.as_slice() else {
        panic!("a failed commit shows nothing, a repeated one once: {refused:?}")
    };
    assert_eq!((&*broken.relation, broken.fate, broken.at_ms), ("passages", "rejected", 77));
    assert_eq!((broken.raw.as_deref(), broken.length), (Some("{broken"), 7));
    let status = board.snapshot();
    let towns = status.sinks.iter().find(|s| &*s.name == "towns").unwrap();
    assert_eq!(towns.kinds, BTreeMap::from([("A".into(), 1), ("B".into(), 2)]));
    let interval = board.take_interval();
    let stages: Vec<_> = interval.stages.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(stages, ["poll", "decode", "execute", "encode", "commit"]);
    let relation = |name: &str| status.relations.iter().find(|r| &*r.name == name).unwrap();
    let join = relation("bare.lookup_join1");
    assert_eq!((&*join.definition, join.operator), ("bare", "lookup_join"));
    assert_eq!(join.inputs, ["passages".into(), "devices".into()]);
    assert_eq!((relation("passages").operator, relation("passages").inputs.len()), ("deduplicate", 0));
}

const GUARDED: &str = "
    CREATE TABLE devices (device_id VARCHAR PRIMARY KEY, town VARCHAR, at TIMESTAMP WITH TIME ZONE)
        WITH (topic = 'devices', format = 'json');
    CREATE SINK towns WITH (topic = 'towns', format = 'json', emit_time = 'at') AS SELECT device_id, town, at FROM devices;
    CREATE SINK notices WITH (topic = 'notices', format = 'json', max_rate = '2 per minute') AS
        SELECT after.device_id AS id, revision FROM CHANGES(devices) WHERE after.town <> 'nowhere';
";

/// A worker over scripted polls, driven epoch by epoch, with a clock of the test's.
struct Driven {
    worker: Worker,
    sink: MemorySink,
    clock: Arc<std::sync::atomic::AtomicI64>,
}

fn driven(polls: Vec<Polled>, emit_from: EmitFrom, log: &MemoryStateLog) -> Driven {
    driven_by(GUARDED, polls, emit_from, log)
}

fn driven_by(sql: &str, polls: Vec<Polled>, emit_from: EmitFrom, log: &MemoryStateLog) -> Driven {
    let sink = MemorySink::new(log.clone(), TombstoneForm::NoValue);
    let clock = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let now = clock.clone();
    let ends = Ends {
        source: Box::new(ScriptedSource { polls: polls.into_iter().map(Ok).collect(), paused: Arc::default() }),
        sink: Box::new(sink.clone()),
        log: Some(Box::new(log.clone())),
        clock: Box::new(move || now.load(Ordering::Relaxed)),
    };
    let options = WorkerOptions {
        poll_wait: Duration::ZERO,
        commit_interval_min: Duration::ZERO,
        emit_from,
        ..WorkerOptions::live(ShardCount(2))
    };
    Driven { worker: Worker::new(pipeline(sql), ends, options, Arc::default()).unwrap(), sink, clock }
}

impl Driven {
    fn turn(&mut self) {
        let commands = self.worker.status.board().take_commands();
        commands.iter().for_each(|c| self.worker.control.obey(&self.worker.pipeline, c));
        self.worker.advance().unwrap();
    }

    fn written(&self, sink: &str) -> Vec<String> {
        let collected = self.sink.collected();
        let records = collected.get(&OutputTopic::Sink(sink.into())).cloned().unwrap_or_default();
        records.into_iter().map(|r| r.value.map_or("-".into(), |v| String::from_utf8(v).unwrap())).collect()
    }

    fn paused(&self) -> Vec<Option<String>> {
        self.worker.status().snapshot().sinks.into_iter().map(|s| s.paused).collect()
    }
}

fn devices(lines: &[&str], position: i64) -> Polled {
    let name: Arc<str> = "devices".into();
    let mut batch = RecordBatchBytes::default();
    for (idx, line) in lines.iter().enumerate() {
        let offset = position + idx as i64;
        let meta =
            RecordMeta { partition: 0, offset, timestamp_ms: Some(0), sequence: offset as u64, key: None, value: None };
        let key = serde_json::from_str::<serde_json::Value>(line).unwrap()["device_id"].as_str().unwrap().to_owned();
        batch.push(meta, Some(key.as_bytes()), Some(line.as_bytes()));
    }
    let position = position + lines.len() as i64;
    let status = PartitionStatus { position, end: Some(position), caught_up: true, idle: false };
    let partitions = [(SourcePartition { relation: name.clone(), partition: 0 }, status)].into();
    Polled { partitions, records: [(name, batch)].into(), ..Polled::default() }
}

#[test]
fn a_paused_sink_keeps_its_differences_over_a_restart_and_writes_the_last_of_each_key() {
    let log = MemoryStateLog::default();
    let polls =
        vec![devices(&[r#"{"device_id":"a","town":"x"}"#], 0), devices(&[r#"{"device_id":"a","town":"y"}"#], 1)];
    let mut first = driven(polls, EmitFrom::Earliest, &log);
    first.turn();
    assert!(first.worker.status().ask(Command::Pause("towns".into())));
    first.turn();
    assert_eq!(first.written("towns").len(), 1);
    assert_eq!(first.paused(), [Some("by hand".to_owned()), None]);
    assert_eq!(first.worker.status().snapshot().sinks[0].waiting, 1);
    let polls = vec![devices(&[r#"{"device_id":"a","town":"z"}"#], 2), Polled::default(), Polled::default()];
    let mut second = driven(polls, EmitFrom::Earliest, &log);
    second.turn();
    second.turn();
    assert!(second.written("towns").is_empty(), "a restart changes nothing");
    assert_eq!(second.written("notices").len(), 1, "other sinks go on");
    assert!(second.worker.status().ask(Command::Resume("towns".into())));
    second.turn();
    assert_eq!(second.written("towns"), [r#"{"device_id":"a","town":"z","at":null}"#]);
    assert_eq!(second.paused(), [None, None]);
}

#[test]
fn a_sink_that_would_exceed_its_rate_pauses_before_it_writes_and_goes_on_when_told() {
    let row = |id: &str, town: &str| format!(r#"{{"device_id":"{id}","town":"{town}"}}"#);
    let flood: Vec<String> = ["a", "b", "c"].iter().map(|id| row(id, "x")).collect();
    let flood: Vec<&str> = flood.iter().map(String::as_str).collect();
    let calm = [row("d", "nowhere"), row("e", "nowhere"), row("f", "nowhere"), row("g", "x")];
    let calm: Vec<&str> = calm.iter().map(String::as_str).collect();
    let polls = vec![devices(&calm, 0), devices(&flood, 4), Polled::default(), Polled::default()];
    let mut driven = driven(polls, EmitFrom::Earliest, &MemoryStateLog::default());
    driven.turn();
    assert_eq!(driven.written("notices").len(), 1, "rows that the sink does not write do not count");
    driven.turn();
    assert_eq!(driven.written("notices").len(), 1, "not one row of the flood leaves");
    assert_eq!(driven.written("towns").len(), 7, "a sink without a rate is not held back");
    assert!(driven.paused()[1].as_ref().unwrap().starts_with("max_rate"), "{:?}", driven.paused());
    driven.clock.store(120_000, Ordering::Relaxed);
    driven.turn();
    assert_eq!(driven.written("notices").len(), 1, "time alone does not resume it");
    assert!(driven.worker.status().ask(Command::Resume("notices".into())));
    driven.turn();
    let revisions: Vec<String> = driven.written("notices").split_off(1);
    assert_eq!(revisions, ["a", "b", "c"].map(|id| format!(r#"{{"id":"{id}","revision":1}}"#)));
}

#[test]
fn the_first_load_emits_what_it_was_told_and_later_changes_emit_always() {
    let row = |id: &str, town: &str, day: u8| {
        format!(r#"{{"device_id":"{id}","town":"{town}","at":"2026-01-{day:02}T00:00:00Z"}}"#)
    };
    let run = |emit_from: EmitFrom| {
        let load = [row("a", "x", 1), row("b", "x", 9)];
        let later = [row("a", "y", 1)];
        let of = |rows: &[String], at| devices(&rows.iter().map(String::as_str).collect::<Vec<_>>(), at);
        let log = MemoryStateLog::default();
        let mut first = driven(vec![of(&load, 0), of(&later, 2)], emit_from, &log);
        first.turn();
        let loaded = first.written("towns").len();
        first.turn();
        // A restart loads again, but not for the first time.
        let mut second = driven(vec![of(&[row("b", "z", 2)], 3)], emit_from, &log);
        second.turn();
        (loaded, first.written("towns").len() - loaded, second.written("towns").len())
    };
    assert_eq!(run(EmitFrom::Earliest), (2, 1, 1));
    assert_eq!(run(EmitFrom::Now), (0, 1, 1));
    let day_5 = chrono::DateTime::parse_from_rfc3339("2026-01-05T00:00:00Z").unwrap().timestamp_millis();
    assert_eq!(run(EmitFrom::Timestamp(day_5)), (1, 1, 1));
}

#[test]
fn many_rows_leave_in_epochs_of_bounded_size_without_further_input() {
    let rows: Vec<String> = (0..10).map(|i| format!(r#"{{"device_id":"d{i}","town":"nowhere"}}"#)).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let mut driven = driven(vec![devices(&rows, 0); 1], EmitFrom::Earliest, &MemoryStateLog::default());
    driven.worker.options.hand_over_max = 4;
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let before = driven.written("towns").len();
        driven.worker.advance().unwrap();
        sizes.push(driven.written("towns").len() - before);
    }
    assert!(sizes.iter().all(|n| *n <= 4), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 10, "{sizes:?}");
}
