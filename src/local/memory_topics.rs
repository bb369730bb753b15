//! Source topics in memory, read by a worker that stops whenever it has read everything: for tests that go step by step.
//!
//! The topics outlive the workers that read them, as those of a broker do. A worker that is started again is told how far
//! the one before had committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::stream::{PartitionStatus, PollLimit, Polled, RecordMeta, Source, SourceError, SourcePartition};

/// A record of a topic in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// The partition.
    pub partition: SourcePartition,
    /// Kafka's timestamp in milliseconds; none = unknown.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Source topics in memory. Clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct MemoryTopics {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    /// All records with their offsets, in the order in which they came.
    records: Vec<(i64, TopicRecord)>,
    /// By partition the offset behind its last record.
    ends: BTreeMap<SourcePartition, i64>,
    idle: BTreeSet<SourcePartition>,
    reached: BTreeMap<SourcePartition, i64>,
    has_ended: bool,
}

impl MemoryTopics {
    /// Topics without records.
    pub fn new(partitions: impl IntoIterator<Item = SourcePartition>) -> Self {
        let topics = Self::default();
        topics.lock().ends = partitions.into_iter().map(|p| (p, 0)).collect();
        topics
    }

    /// Appends a record to its partition, which is not idle any more, and returns the record's offset.
    pub fn append(&self, record: TopicRecord) -> i64 {
        let mut held = self.lock();
        held.idle.remove(&record.partition);
        let end = held.ends.entry(record.partition.clone()).or_default();
        let offset = *end;
        *end += 1;
        held.records.push((offset, record));
        offset
    }

    /// Calls a partition idle, until its next record.
    pub fn set_idle(&self, partition: SourcePartition) {
        self.lock().idle.insert(partition);
    }

    /// Says that the event time of a partition has come to an instant (milliseconds), although no record says so. As a record
    /// would, this ends its being idle.
    pub fn reach(&self, partition: &SourcePartition, event_ms: i64) {
        let mut held = self.lock();
        held.idle.remove(partition);
        let reached = held.reached.entry(partition.clone()).or_insert(event_ms);
        *reached = event_ms.max(*reached);
    }

    /// Ends the input for good.
    pub fn end(&self) {
        self.lock().has_ended = true;
    }

    /// All partitions.
    pub fn partitions(&self) -> Vec<SourcePartition> {
        self.lock().ends.keys().cloned().collect()
    }

    /// A source that reads from the start. When there is nothing left to read it raises `stop`, the worker's own.
    pub fn source(&self, stop: Arc<AtomicBool>) -> MemorySource {
        MemorySource { topics: self.clone(), positions: BTreeMap::new(), stop }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads topics in memory, all that is there in one poll.
#[derive(Debug)]
pub struct MemorySource {
    topics: MemoryTopics,
    positions: BTreeMap<SourcePartition, i64>,
    stop: Arc<AtomicBool>,
}

impl Source for MemorySource {
    fn poll(&mut self, _: PollLimit, _: Duration, paused: &[Arc<str>]) -> Result<Polled, SourceError> {
        let held = self.topics.lock();
        let mut polled = Polled { reached: held.reached.clone(), ..Polled::default() };
        let mut n_records = 0;
        for (offset, record) in &held.records {
            let partition = &record.partition;
            let position = self.positions.entry(partition.clone()).or_default();
            if offset < position || paused.contains(&partition.relation) {
                continue;
            }
            *position = offset + 1;
            let meta = RecordMeta {
                partition: partition.partition,
                offset: *offset,
                timestamp_ms: record.timestamp_ms,
                sequence: n_records,
                key: None,
                value: None,
            };
            let batch = polled.records.entry(partition.relation.clone()).or_default();
            batch.push(meta, record.key.as_deref(), record.value.as_deref());
            n_records += 1;
        }
        polled.end_of_input = held.has_ended;
        for (partition, end) in &held.ends {
            let position = self.positions.get(partition).copied().unwrap_or_default();
            let idle = held.idle.contains(partition);
            let status = PartitionStatus { position, end: Some(*end), caught_up: position == *end, idle };
            polled.partitions.insert(partition.clone(), status);
        }
        if n_records == 0 {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(polled)
    }

    fn rewind(&mut self, positions: &BTreeMap<SourcePartition, i64>) -> Result<(), SourceError> {
        self.positions = positions.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(n: i32) -> SourcePartition {
        SourcePartition { relation: "s".into(), partition: n }
    }

    fn record(n: i32, value: &str) -> TopicRecord {
        TopicRecord { partition: partition(n), timestamp_ms: None, key: None, value: Some(value.into()) }
    }

    fn poll(source: &mut MemorySource) -> (Vec<String>, Polled) {
        let polled = source.poll(PollLimit { records: 1, bytes: 1 }, Duration::ZERO, &[]).expect("memory can be read");
        let values = polled.records.values().flat_map(|batch| {
            batch.iter().map(|r| String::from_utf8_lossy(r.value.unwrap_or_default()).into_owned()).collect::<Vec<_>>()
        });
        (values.collect(), polled)
    }

    #[test]
    fn records_of_all_partitions_come_in_the_order_of_their_arrival_and_again_after_a_rewind() {
        let topics = MemoryTopics::new([partition(0), partition(1)]);
        let stop = Arc::new(AtomicBool::new(false));
        let mut source = topics.source(stop.clone());
        topics.append(record(1, "a"));
        topics.append(record(0, "b"));
        assert_eq!(topics.append(record(1, "c")), 1);
        assert_eq!(poll(&mut source).0, ["a", "b", "c"]);
        assert!(!stop.load(Ordering::Relaxed));
        assert!(poll(&mut source).0.is_empty());
        assert!(stop.load(Ordering::Relaxed), "nothing is left");
        source.rewind(&[(partition(1), 1)].into()).expect("memory can be read");
        assert_eq!(poll(&mut source).0, ["b", "c"]);
    }

    #[test]
    fn a_partition_is_idle_until_its_next_record() {
        let topics = MemoryTopics::new([partition(0)]);
        let mut source = topics.source(Arc::default());
        topics.reach(&partition(0), 7);
        topics.set_idle(partition(0));
        let (_, polled) = poll(&mut source);
        assert!(polled.partitions[&partition(0)].idle);
        assert_eq!(polled.reached[&partition(0)], 7);
        topics.append(record(0, "a"));
        assert!(!poll(&mut source).1.partitions[&partition(0)].idle);
    }
}
