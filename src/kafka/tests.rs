//! Tests of the three handles together: against the broker in the process, and against a real one.

mod broker;
mod mock;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::stream::{
    Delta, LogReader, OutputTopic, PartitionStatus, PollLimit, Polled, RecordBatchBytes, RecordMeta, Restored,
    SealedEpoch, Source, SourceError, SourcePartition, StateLog,
};

use super::{Connection, Settings, SourceTopic, connect};

const PATIENCE: Duration = Duration::from_secs(30);
const LIMIT: PollLimit = PollLimit { records: 100_000, bytes: 64 << 20 };

/// A pipeline that reads the stream `events` and the table `rows` and writes the sink `out`.
fn settings(brokers: &str, pipeline: &str) -> Settings {
    let source = |relation: &str, is_table| SourceTopic {
        relation: Arc::from(relation),
        topic: format!("{pipeline}.{relation}"),
        is_table,
        idle_timeout_ms: Some(300),
    };
    let outputs = [OutputTopic::Sink(Arc::from("out")), OutputTopic::Rejected(Arc::from("events"))];
    let names = ["out", "events.rejected"].map(|name| format!("{pipeline}.{name}"));
    Settings {
        brokers: brokers.to_owned(),
        pipeline: pipeline.to_owned(),
        sources: vec![source("events", false), source("rows", true)],
        outputs: outputs.into_iter().zip(names).collect(),
        shards: 2,
        ..Settings::default()
    }
}

/// A worker as the engine drives it, with what it has seen.
struct Worker {
    connection: Connection,
    statuses: BTreeMap<SourcePartition, PartitionStatus>,
    /// Relation, key, value of every record handed over.
    records: Vec<(String, Option<Vec<u8>>, Option<Vec<u8>>)>,
    deltas: Vec<Delta>,
    /// What each shard's log held at the last restore.
    ranges: BTreeMap<u32, Range<i64>>,
    /// Where a restore begins to read, if not at the start.
    starts: BTreeMap<u32, i64>,
    epoch: u64,
}

/// Keeps what a restore reads.
#[derive(Default)]
struct ReadLog {
    starts: BTreeMap<u32, i64>,
    ranges: BTreeMap<u32, Range<i64>>,
    deltas: Vec<Delta>,
}

impl LogReader for ReadLog {
    fn begin(&mut self, ranges: &BTreeMap<u32, Range<i64>>) -> BTreeMap<u32, i64> {
        self.ranges = ranges.clone();
        self.starts.clone()
    }

    fn take(&mut self, _offset: i64, delta: Delta) -> Result<(), String> {
        self.deltas.push(delta);
        Ok(())
    }
}

impl Worker {
    fn connect(settings: Settings) -> Result<Self, SourceError> {
        let connection = connect(settings, false)?;
        Ok(Self {
            connection,
            statuses: BTreeMap::new(),
            records: Vec::new(),
            deltas: Vec::new(),
            ranges: BTreeMap::new(),
            starts: BTreeMap::new(),
            epoch: 0,
        })
    }

    /// Connects and restores.
    fn start(settings: Settings) -> Self {
        let mut worker = Self::connect(settings).unwrap();
        worker.restore().unwrap();
        worker
    }

    fn restore(&mut self) -> Result<Restored, SourceError> {
        self.deltas.clear();
        self.records.clear();
        self.statuses.clear();
        let mut log = ReadLog { starts: self.starts.clone(), ..ReadLog::default() };
        let restored = self.connection.state_log.restore(&mut log)?;
        (self.deltas, self.ranges) = (log.deltas, log.ranges);
        self.epoch = restored.epoch;
        Ok(restored)
    }

    fn poll(&mut self, paused: &[Arc<str>]) -> Result<Polled, SourceError> {
        let polled = self.connection.source.poll(LIMIT, Duration::from_millis(200), paused)?;
        self.statuses.extend(polled.partitions.clone());
        for (relation, batch) in &polled.records {
            for record in batch.iter() {
                let bytes = |b: Option<&[u8]>| b.map(<[u8]>::to_vec);
                self.records.push((relation.to_string(), bytes(record.key), bytes(record.value)));
            }
        }
        Ok(polled)
    }

    /// Polls until `done` holds.
    fn poll_until(&mut self, done: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            assert!(started.elapsed() < PATIENCE, "not in time: {:?} {:?}", self.statuses, self.records.len());
            self.poll(&[]).unwrap();
        }
    }

    fn read_all(&mut self) {
        self.poll_until(|w| w.connection.source.caught_up());
    }

    fn values(&self, relation: &str) -> Vec<String> {
        let of = self.records.iter().filter(|(r, ..)| r == relation);
        let mut values: Vec<String> = of.map(|(_, _, v)| text(v.as_deref())).collect();
        values.sort();
        values
    }

    fn positions(&self) -> BTreeMap<SourcePartition, i64> {
        self.statuses.iter().map(|(p, s)| (p.clone(), s.position)).collect()
    }

    /// The next epoch: everything polled so far, `outputs` to the sink, one delta.
    fn seal(&mut self, outputs: &[&str]) -> SealedEpoch {
        self.epoch += 1;
        SealedEpoch {
            number: self.epoch,
            positions: self.positions(),
            outputs: vec![(OutputTopic::Sink(Arc::from("out")), records(outputs))],
            headers: vec![vec![vec![("curb_id".to_owned(), b"1".to_vec())]; outputs.len()]],
            deltas: vec![Delta { shard: 1, bytes: format!("delta {}", self.epoch).into_bytes() }],
        }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or("null".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
}

/// Records whose key and value are the same text.
fn records(texts: &[&str]) -> RecordBatchBytes {
    let mut batch = RecordBatchBytes::default();
    for text in texts {
        let meta = RecordMeta { partition: -1, offset: 0, timestamp_ms: None, sequence: 0, key: None, value: None };
        batch.push(meta, Some(text.as_bytes()), Some(text.as_bytes()));
    }
    batch
}
