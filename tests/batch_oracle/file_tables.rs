//! Tables that are files, beside topics: their rows are the file's good rows, over changes and restarts, and nothing is
//! taken in twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use curb::catalog::resolve;
use curb::dialect::{Pack, parse, render};
use curb::engine::{Ended, Ends, Replay, ReplayOptions, Worker, WorkerOptions, file_tables};
use curb::local::{MemorySink, MemoryStateLog, WithFileTables};
use curb::plan::{Pipeline, plan};
use curb::stream::{
    CommitError, Outcome, OutputTopic, PartitionStatus, PollLimit, Polled, SealedEpoch, ShardCount, Sink, Source,
    SourceError, SourcePartition, TombstoneForm,
};

fn rules(file: &str, options: &str) -> String {
    format!(
        "CREATE TABLE devices (id VARCHAR PRIMARY KEY, town VARCHAR, n BIGINT NOT NULL, works BOOLEAN)
             WITH (path = '{file}', broadcast = true{options});
         CREATE TABLE other (id VARCHAR PRIMARY KEY) WITH (topic = 'other');
         CREATE SINK out WITH (topic = 'out') AS SELECT * FROM devices;"
    )
}

fn compile(dir: &Path, rules: String) -> Arc<Pipeline> {
    let pack = Pack::from_text("rules.sql", rules);
    let (statements, findings) = parse(&pack);
    assert!(findings.is_empty(), "{}", render(&findings, &pack));
    let mut catalog = resolve(statements, None).unwrap_or_else(|e| panic!("{}", render(&e, &pack)));
    catalog.set_folder(dir);
    Arc::new(plan(&catalog).unwrap_or_else(|e| panic!("{}", render(&e, &pack))))
}

/// A topic without records, which ends after some polls.
struct Empty {
    polls_left: usize,
    wait: Duration,
}

impl Source for Empty {
    fn poll(&mut self, _: PollLimit, _: Duration, _: &[Arc<str>]) -> Result<Polled, SourceError> {
        std::thread::sleep(self.wait);
        self.polls_left = self.polls_left.saturating_sub(1);
        let partition = SourcePartition { relation: "other".into(), partition: 0 };
        let status = PartitionStatus { position: 0, end: Some(0), caught_up: true, idle: false };
        Ok(Polled {
            partitions: BTreeMap::from([(partition, status)]),
            end_of_input: self.polls_left == 0,
            ..Polled::default()
        })
    }
}

/// Loses its first commits.
struct Losing {
    inner: MemorySink,
    n_lost: usize,
}

impl Sink for Losing {
    fn tombstones(&self) -> TombstoneForm {
        self.inner.tombstones()
    }

    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError> {
        if self.n_lost > 0 {
            self.n_lost -= 1;
            return Err(CommitError::AssignmentLost("test".into()));
        }
        self.inner.commit(epoch)
    }

    fn outcome(&mut self, epoch: &SealedEpoch) -> Result<Outcome, CommitError> {
        self.inner.outcome(epoch)
    }
}

/// A pipeline that is run again and again.
struct Service {
    pipeline: Arc<Pipeline>,
    log: MemoryStateLog,
    sink: MemorySink,
    /// How many records have been looked at.
    seen: BTreeMap<OutputTopic, usize>,
}

impl Service {
    fn new(dir: &Path, rules: String) -> Self {
        let log = MemoryStateLog::default();
        let sink = MemorySink::new(log.clone(), TombstoneForm::NoValue);
        Self { pipeline: compile(dir, rules), log, sink, seen: BTreeMap::new() }
    }

    /// Starts, reads what there is, and stops.
    fn run(&mut self, n_lost: usize) {
        self.start(Empty { polls_left: 2 + n_lost, wait: Duration::ZERO }, n_lost);
    }

    fn start(&self, topics: Empty, n_lost: usize) {
        let ends = Ends {
            source: Box::new(WithFileTables::new(Box::new(topics), file_tables(&self.pipeline))),
            sink: Box::new(Losing { inner: self.sink.clone(), n_lost }),
            log: Some(Box::new(self.log.clone())),
            clock: Box::new(|| 0),
        };
        let options = WorkerOptions {
            backoff_min: Duration::ZERO,
            commit_interval_min: Duration::ZERO,
            ..WorkerOptions::live(ShardCount(3))
        };
        let stop = Arc::new(AtomicBool::new(false));
        let mut worker = Worker::new(self.pipeline.clone(), ends, options, stop.clone()).unwrap();
        assert_eq!(worker.run().unwrap(), Ended::EndOfInput);
        stop.store(true, Ordering::Relaxed);
    }

    /// What was written since the last call: `key value`, sorted; a deletion has no value.
    fn news(&mut self, topic: OutputTopic) -> Vec<String> {
        let all = self.sink.collected().remove(&topic).unwrap_or_default();
        let seen = self.seen.insert(topic, all.len()).unwrap_or(0);
        let text =
            |bytes: &Option<Vec<u8>>| bytes.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        let mut news: Vec<String> = all[seen..]
            .iter()
            .map(|r| {
                let header = |name: &str| {
                    let found = r.headers.iter().find(|(n, _)| n == name);
                    found.map(|(_, v)| format!(" {}", String::from_utf8_lossy(v))).unwrap_or_default()
                };
                format!("{} {}{}{}", text(&r.key), text(&r.value), header("curb_offset"), header("curb_reason"))
            })
            .map(|line| line.trim().to_owned())
            .collect();
        news.sort();
        news
    }
}

fn out() -> OutputTopic {
    OutputTopic::Sink("out".into())
}

fn rejected() -> OutputTopic {
    OutputTopic::Rejected("devices".into())
}

fn row(id: &str, town: &str, n: i64, works: &str) -> String {
    format!(r#"{id} {{"id":"{id}","town":{town},"n":{n},"works":{works}}}"#)
}

#[test]
fn a_file_is_taken_in_at_start_and_after_a_restart_only_its_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devices.csv");
    fs::write(&path, "id,town,n,works,more\nd1,Aalen,1,true,x\nd2,,2,f,\nd3,\"C, d\",x,,\nd4,e\n").unwrap();
    let mut service = Service::new(dir.path(), rules("devices.csv", ""));
    service.run(0);
    assert_eq!(service.news(out()), [row("d1", r#""Aalen""#, 1, "true"), row("d2", "null", 2, "false")]);
    assert_eq!(
        service.news(rejected()),
        [
            "d3,\"C, d\",x,, 4 column `n`: expected BIGINT, found \"x\"",
            "d4,e 5 the row has 2 cells, but the first row names 5",
        ]
    );
    // Nothing has changed: nothing is written, not even the bad rows again.
    service.run(0);
    assert!(service.news(out()).is_empty() && service.news(rejected()).is_empty());
    // One row changes, one goes, one comes; two commits are lost on the way.
    fs::write(&path, "id,town,n,works\nd5,Z,5,true\nd1,Aalen,10,true\n").unwrap();
    service.run(2);
    assert_eq!(service.news(out()), [row("d1", r#""Aalen""#, 10, "true"), "d2".into(), row("d5", r#""Z""#, 5, "true")]);
    service.run(0);
    assert!(service.news(out()).is_empty());
    // The last row of a key wins, as in a topic.
    fs::write(&path, "id,n\nd1,10\nd1,11\n").unwrap();
    service.run(0);
    assert_eq!(service.news(out()), [row("d1", "null", 11, "null"), "d5".into()]);
    fs::write(&path, "").unwrap();
    service.run(0);
    assert_eq!(service.news(out()), ["d1"]);
}

#[test]
fn a_watched_file_is_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devices.ndjson");
    fs::write(&path, "{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":2}\nnot JSON\n").unwrap();
    let mut service = Service::new(dir.path(), rules("devices.ndjson", ", watch = true"));
    let changed = path.clone();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        fs::write(&changed, "{\"id\":\"b\",\"n\":3}\n").unwrap();
    });
    service.start(Empty { polls_left: 45, wait: Duration::from_millis(100) }, 0);
    writer.join().unwrap();
    let (a, old, new) = (row("a", "null", 1, "null"), row("b", "null", 2, "null"), row("b", "null", 3, "null"));
    assert_eq!(service.news(out()), ["a".to_owned(), a, old, new]);
    assert_eq!(service.news(rejected()).len(), 1);
}

fn write_parquet(path: &Path, ids: Vec<&str>, n: Vec<Option<i64>>) {
    let n_rows = ids.len();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from(ids))),
        ("n", Arc::new(Int64Array::from(n))),
        ("works", Arc::new(BooleanArray::from(vec![Some(true); n_rows]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_parquet_file_is_a_table_under_any_name_with_its_format() {
    let dir = tempfile::tempdir().unwrap();
    write_parquet(&dir.path().join("devices.data"), vec!["a", "b", "c"], vec![Some(1), None, Some(3)]);
    let mut service = Service::new(dir.path(), rules("devices.data", ", format = 'parquet'"));
    service.run(1);
    assert_eq!(service.news(out()), [row("a", "null", 1, "true"), row("c", "null", 3, "true")]);
    let bad = r#"{"id":"b","n":null,"works":true} 2 column `n` is NOT NULL, but the record has no value for it"#;
    assert_eq!(service.news(rejected()), [bad]);
    write_parquet(&dir.path().join("devices.data"), vec!["c"], vec![Some(3)]);
    service.run(0);
    assert_eq!(service.news(out()), ["a"]);
}

/// Replays a pack, and returns what stands in an output file.
fn replayed(pipeline: &Arc<Pipeline>, from: &Path, file: &str) -> Vec<String> {
    let to = tempfile::tempdir().unwrap();
    let options = ReplayOptions { from, to: to.path(), until_ms: None, n_shards: ShardCount(2), audit: None };
    let replay = Replay::open(pipeline.clone(), &options).unwrap();
    replay.run().unwrap();
    let text = fs::read_to_string(to.path().join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_replay_reads_every_format_and_the_packs_own_files() {
    let pack = tempfile::tempdir().unwrap();
    fs::write(pack.path().join("devices.csv"), "id,n\npack,1\n").unwrap();
    let pipeline = compile(pack.path(), rules("devices.csv", ""));
    let from = tempfile::tempdir().unwrap();
    let value = |id: &str, n: i64, works: &str| format!(r#"{{"id":"{id}","town":null,"n":{n},"works":{works}}}"#);
    assert_eq!(replayed(&pipeline, from.path(), "out.ndjson"), [value("pack", 1, "null")]);

    let csv = from.path().join("devices.csv");
    fs::write(&csv, "id,n,_tombstone\na,1,\nb,2,false\nc,x,\na,,true\n").unwrap();
    assert_eq!(replayed(&pipeline, from.path(), "out.ndjson"), [value("b", 2, "null")]);
    let rejected = replayed(&pipeline, from.path(), "devices.rejected.ndjson");
    let rejected: serde_json::Value = serde_json::from_str(&rejected[0]).unwrap();
    assert_eq!((&rejected["line"], &rejected["raw"], &rejected["length"]), (&4.into(), &"c,x,".into(), &4.into()));

    fs::remove_file(csv).unwrap();
    write_parquet(&from.path().join("devices.parquet"), vec!["p", "q"], vec![Some(7), Some(8)]);
    assert_eq!(replayed(&pipeline, from.path(), "out.ndjson"), [value("p", 7, "true"), value("q", 8, "true")]);
}
