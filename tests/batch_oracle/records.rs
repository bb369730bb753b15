//! What records say of themselves: `_topic, _partition, _offset, _timestamp, _key, _headers`, in any query over any source,
//! and never in `*`.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use curb::engine::{Ended, Ends, Replay, ReplayOptions, Worker, WorkerOptions};
use curb::local::{MemorySink, MemoryStateLog};
use curb::plan::Pipeline;
use curb::stream::{
    OutputTopic, PartitionStatus, PollLimit, Polled, RecordMeta, ShardCount, Source, SourceError, SourcePartition,
    TombstoneForm,
};

use crate::pack::compile;

/// Some records of the table `t` and of the stream `s`, in one poll.
struct Few;

impl Source for Few {
    fn poll(&mut self, _: PollLimit, _: Duration, _: &[Arc<str>]) -> Result<Polled, SourceError> {
        let mut polled = Polled { end_of_input: true, ..Polled::default() };
        let rows = [
            ("t", 0, "a", r#"{"id":"a","g":"g1","n":1}"#),
            ("t", 2, "b", r#"{"id":"b","g":"g1","n":2}"#),
            ("s", 1, "", r#"{"id":"x","g":"g1","n":7,"at":"2024-01-01T00:00:00Z"}"#),
            ("s", 1, "k", r#"{"id":"y","g":"g2","n":8,"at":"2024-01-01T00:00:00Z"}"#),
        ];
        for (sequence, (relation, partition, key, value)) in rows.into_iter().enumerate() {
            let batch = polled.records.entry(relation.into()).or_default();
            let offset = 10 + batch.len() as i64;
            let timestamp_ms = Some(1_704_067_200_000 + sequence as i64);
            let meta =
                RecordMeta { partition, offset, timestamp_ms, sequence: sequence as u64, key: None, value: None };
            batch.headers.push(vec![("v".into(), vec![b'0' + sequence as u8]), ("w".into(), b"w".to_vec())]);
            batch.push(meta, (!key.is_empty()).then_some(key.as_bytes()), Some(value.as_bytes()));
        }
        for relation in ["t", "u", "w", "v", "p", "timed", "calendar", "s", "q", "later"] {
            let status = PartitionStatus { position: 12, end: Some(12), caught_up: true, idle: false };
            polled.partitions.insert(SourcePartition { relation: relation.into(), partition: 0 }, status);
        }
        Ok(polled)
    }
}

/// The rows of a sink over the records above, sorted.
fn rows(query: &str, is_stream: bool) -> Vec<String> {
    let rules = match is_stream {
        true => format!("CREATE SINK k WITH (topic = 'k') AS {query};"),
        false => format!("CREATE TABLE r AS {query}; CREATE SINK k WITH (topic = 'k') AS SELECT * FROM r;"),
    };
    let (_, pipeline) = compile(&rules).unwrap_or_else(|e| panic!("{e}"));
    run(&pipeline)
}

fn run(pipeline: &Arc<Pipeline>) -> Vec<String> {
    let sink = MemorySink::new(MemoryStateLog::default(), TombstoneForm::NoValue);
    let ends = Ends { source: Box::new(Few), sink: Box::new(sink.clone()), log: None, clock: Box::new(|| 0) };
    let options = WorkerOptions { wire: curb::format::json::Wire::Kafka, ..WorkerOptions::replay(ShardCount(2)) };
    let mut worker = Worker::new(pipeline.clone(), ends, options, Arc::default()).unwrap();
    assert_eq!(worker.run().unwrap(), Ended::EndOfInput);
    let written: BTreeMap<OutputTopic, Vec<_>> = sink.collected();
    let of_sink = written.get(&OutputTopic::Sink("k".into())).cloned().unwrap_or_default();
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).unwrap();
    let mut rows: Vec<String> = of_sink.into_iter().map(|r| text(r.value)).collect();
    rows.sort();
    rows
}

#[test]
fn every_source_tells_where_its_records_came_from() {
    assert_eq!(
        rows("SELECT id, _topic, _partition, _offset, _timestamp, _key, header(_headers, 'v') AS v FROM t", false),
        [
            r#"{"id":"a","_topic":"t","_partition":0,"_offset":10,"_timestamp":"2024-01-01T00:00:00.000+00:00","_key":"a","v":"0"}"#,
            r#"{"id":"b","_topic":"t","_partition":2,"_offset":11,"_timestamp":"2024-01-01T00:00:00.001+00:00","_key":"b","v":"1"}"#,
        ]
    );
    assert_eq!(
        rows("SELECT id, _partition, _offset, _key, _headers, header(_headers, 'none') AS none FROM s", true),
        [
            r#"{"id":"x","_partition":1,"_offset":10,"_key":null,"_headers":[{"name":"v","value":"2"},{"name":"w","value":"w"}],"none":null}"#,
            r#"{"id":"y","_partition":1,"_offset":11,"_key":"k","_headers":[{"name":"v","value":"3"},{"name":"w","value":"w"}],"none":null}"#,
        ]
    );
}

#[test]
fn a_star_has_only_what_is_declared() {
    let (_, pipeline) = compile("CREATE SINK k WITH (topic = 'k') AS SELECT * FROM t;").unwrap();
    let columns = |p: &Pipeline, name: &str| -> Vec<String> {
        let relation = p.relations.iter().find(|r| &*r.name == name).unwrap();
        relation.schema.fields().iter().map(|f| f.name().clone()).collect()
    };
    let declared = ["id", "g", "n", "x", "m", "b", "at", "d", "tags"];
    assert_eq!(columns(&pipeline, "k"), declared);
    for query in
        ["SELECT *, _offset AS o FROM t", "SELECT t.*, _offset AS o FROM t", "SELECT a.*, a._offset AS o FROM t AS a"]
    {
        let (_, pipeline) = compile(&format!("CREATE SINK k WITH (topic = 'k') AS {query};")).unwrap();
        assert_eq!(columns(&pipeline, "k"), [declared.as_slice(), &["o"]].concat(), "{query}");
        // What is not read is not kept.
        assert_eq!(columns(&pipeline, "t"), [declared.as_slice(), &["_offset"]].concat(), "{query}");
    }
    let joined = "SELECT *, t._offset AS o FROM (SELECT id AS i, _partition FROM u) AS x JOIN t ON t.id = x.i";
    let (_, pipeline) = compile(&format!("CREATE SINK k WITH (topic = 'k', key = 'id') AS {joined};")).unwrap();
    assert_eq!(columns(&pipeline, "k"), [&["i", "_partition"], declared.as_slice(), &["o"]].concat());
}

#[test]
fn they_may_be_filtered_grouped_joined_and_ordered_by() {
    assert_eq!(rows("SELECT id FROM t WHERE _partition > 1 AND _key = 'b'", false), [r#"{"id":"b"}"#]);
    assert_eq!(
        rows("SELECT g, max(_offset) AS last, count(*) AS c FROM t GROUP BY g", false),
        [r#"{"g":"g1","last":11,"c":2}"#]
    );
    assert_eq!(
        rows(
            "SELECT id, _offset AS o FROM t QUALIFY row_number() OVER (PARTITION BY g ORDER BY _offset DESC) = 1",
            false
        ),
        [r#"{"id":"b","o":11}"#]
    );
    assert_eq!(
        rows("SELECT a.id, b.id AS other FROM t AS a JOIN t AS b ON a._offset = b._offset + 1", false),
        [r#"{"id":"b","other":"a"}"#]
    );
    assert_eq!(
        rows(
            "SELECT c.id, c.place FROM (SELECT id, _topic || '/' || _offset AS place FROM t) AS c WHERE c.place = 't/10'",
            false
        ),
        [r#"{"id":"a","place":"t/10"}"#]
    );
}

#[test]
fn in_a_replay_the_offset_is_the_line_and_there_is_no_timestamp() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("t.ndjson"), "\n{\"id\":\"a\",\"n\":1}\n").unwrap();
    let query = "SELECT id, _topic, _partition, _offset, _timestamp, _key, _headers FROM t";
    let (_, pipeline) = compile(&format!("CREATE SINK k WITH (topic = 'k') AS {query};")).unwrap();
    let options =
        ReplayOptions { from: from.path(), to: to.path(), until_ms: None, n_shards: ShardCount(1), audit: None };
    Replay::open(pipeline, &options).unwrap().run().unwrap();
    let written = fs::read_to_string(to.path().join("k.ndjson")).unwrap();
    let row = r#"{"id":"a","_topic":"t","_partition":0,"_offset":2,"_timestamp":null,"_key":null,"_headers":null}"#;
    assert_eq!(written.trim(), row);
}
