//! Reads the source topics in reading order and tells how far each partition has come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use tracing::{debug, info, warn};

use crate::stream::{Contact, PollLimit, Polled, RecordBatchBytes, RecordMeta, Source, SourceError, SourcePartition};

use super::client::ANSWER_TIMEOUT;
use super::end_offsets::{EndOffsets, Watermarks};
use super::failure::{is_false_truncation, read_failure};
use super::membership::Membership;
use super::partition_progress::PartitionProgress;
use super::record_queue::{Arrival, Record, RecordQueue, Wake};
use super::session::Session;

/// At most this long the group is not served while waiting for records.
const SERVE_INTERVAL: Duration = Duration::from_millis(50);
/// How often partitions are asked for their high watermark as the last fetch told it.
const WATERMARK_INTERVAL: Duration = Duration::from_millis(100);
/// Records of one relation that are taken before the next relation has its turn.
const TURN_RECORDS: usize = 1024;
/// A batch addresses its bytes with 32 bits.
const MAX_POLL_BYTES: usize = 1 << 30;

/// Reads all source partitions of a pipeline.
pub struct KafkaSource {
    session: Arc<Session>,
    relations: Vec<RelationQueue>,
    partitions: BTreeMap<SourcePartition, PartitionProgress>,
    at_start: BTreeMap<SourcePartition, Watermarks>,
    ends: EndOffsets,
    wake: Arc<Wake>,
    next_sequence: u64,
    next_turn: usize,
    watermarks_read_at: Option<Instant>,
    /// The number of the group's assignment whose partitions are fetched.
    assigned_under: Option<u64>,
    /// What a record took on average, to take about as many as a poll may hold.
    record_bytes: usize,
}

struct RelationQueue {
    relation: Arc<str>,
    topic: String,
    idle_timeout: Option<Duration>,
    queue: RecordQueue<Membership>,
    keeps_headers: bool,
}

/// What one poll has taken so far, and may still take.
struct Taking<'a> {
    limit: PollLimit,
    n_records: usize,
    n_bytes: usize,
    next_sequence: &'a mut u64,
    /// Whether the relation whose turn it is wants the headers of its records.
    keeps_headers: bool,
    polled: Polled,
}

impl KafkaSource {
    pub(super) fn new(
        session: Arc<Session>,
        at_start: BTreeMap<SourcePartition, Watermarks>,
        ends: EndOffsets,
    ) -> Result<Self, SourceError> {
        let wake = Arc::new(Wake::default());
        let mut relations = Vec::new();
        for source in &session.settings.sources {
            let n_partitions = session.n_partitions(&source.topic);
            relations.push(RelationQueue {
                relation: source.relation.clone(),
                topic: source.topic.clone(),
                idle_timeout: source.idle_timeout_ms.map(Duration::from_millis),
                queue: RecordQueue::new(session.consumer.clone(), &source.topic, n_partitions, wake.clone())?,
                keeps_headers: false,
            });
        }
        Ok(Self {
            session,
            relations,
            partitions: BTreeMap::new(),
            at_start,
            ends,
            wake,
            next_sequence: 0,
            next_turn: 0,
            watermarks_read_at: None,
            assigned_under: None,
            record_bytes: 512,
        })
    }

    /// Says of which relations the records' headers are handed over.
    pub fn keep_headers(&mut self, relations: &[Arc<str>]) {
        self.relations.iter_mut().for_each(|r| r.keeps_headers = relations.contains(&r.relation));
    }

    /// The number of partitions of a relation's topic.
    pub fn partitions(&self, relation: &str) -> Option<i32> {
        self.session.settings.topic(relation).and_then(|topic| self.session.partitions().get(topic).copied())
    }

    /// Whether everything that was in all topics at start has been handed over, streams and tables alike.
    pub fn caught_up(&self) -> bool {
        self.session.is_reading()
            && self.at_start.iter().all(|(p, at_start)| {
                self.partitions.get(p).is_some_and(|progress| progress.position() >= at_start.high)
            })
    }

    /// Directs every partition to its position; one without a position is read from its beginning.
    fn seek(&mut self, positions: &BTreeMap<SourcePartition, i64>) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        let mut partitions = BTreeMap::new();
        for relation in &mut self.relations {
            relation.queue.extend(self.session.n_partitions(&relation.topic));
        }
        for partition in self.session.source_partitions() {
            let Some(relation) = self.relations.iter().find(|r| r.relation == partition.relation) else { continue };
            let at_start = self.at_start.get(&partition).copied().unwrap_or(Watermarks { low: 0, high: 0 });
            let committed = positions.get(&partition).copied();
            let offset = committed.map_or(rdkafka::Offset::Beginning, rdkafka::Offset::Offset);
            list.add_partition_offset(&relation.topic, partition.partition, offset).map_err(|e| {
                SourceError::Policy(format!("topic `{}` partition {}: {e}", relation.topic, partition.partition))
            })?;
            let position = committed.unwrap_or(at_start.low);
            partitions.insert(partition, PartitionProgress::new(position, at_start.high, relation.idle_timeout));
        }
        info!(n_partitions = partitions.len(), n_committed = positions.len(), "reading from the committed positions");
        self.direct(&list)?;
        self.partitions = partitions;
        Ok(())
    }

    /// Makes the client read from the listed offsets: by a new assignment after the group's has changed, else by seeking,
    /// since partitions that are assigned twice would lose the way to their queue.
    fn direct(&mut self, list: &TopicPartitionList) -> Result<(), SourceError> {
        let consumer = &self.session.consumer;
        let number = consumer.context().number();
        let lost = |error: String| SourceError::AssignmentLost(format!("could not begin to read: {error}"));
        if self.assigned_under != Some(number) {
            self.relations.iter().for_each(|r| r.queue.forward());
            consumer.assign(list).map_err(|e| lost(e.to_string()))?;
            self.assigned_under = Some(number);
            return Ok(());
        }
        let sought = consumer.seek_partitions(list.clone(), ANSWER_TIMEOUT).map_err(|e| lost(e.to_string()))?;
        for element in sought.elements() {
            element
                .error()
                .map_err(|e| lost(format!("topic `{}` partition {}: {e}", element.topic(), element.partition())))?;
        }
        Ok(())
    }

    /// Takes turns among the relations until the limit is reached or all queues are empty.
    fn take(&mut self, taking: &mut Taking<'_>, paused: &[Arc<str>], now: Instant) -> Result<(), SourceError> {
        let n_relations = self.relations.len();
        let mut n_empty = 0;
        while n_empty < n_relations && taking.n_records < taking.limit.records && taking.n_bytes < taking.limit.bytes {
            let idx = self.next_turn % n_relations;
            self.next_turn = (idx + 1) % n_relations;
            let Some(relation) = self.relations.get_mut(idx).filter(|r| !paused.contains(&r.relation)) else {
                n_empty += 1;
                continue;
            };
            let left_bytes = taking.limit.bytes - taking.n_bytes;
            let max = (left_bytes / self.record_bytes.max(1))
                .clamp(1, TURN_RECORDS)
                .min(taking.limit.records - taking.n_records);
            let (name, topic) = (relation.relation.clone(), relation.topic.clone());
            taking.keeps_headers = relation.keeps_headers;
            let partitions = &mut self.partitions;
            let taken = relation.queue.take(max, |arrival| handle(arrival, &name, &topic, partitions, taking, now))?;
            n_empty = if taken == 0 { n_empty + 1 } else { 0 };
        }
        if let Some(mean) = taking.n_bytes.checked_div(taking.n_records) {
            self.record_bytes = mean.max(1);
        }
        Ok(())
    }

    /// Learns the partitions' ends, and asks for those that may be idle.
    fn follow_ends(&mut self, paused: &[Arc<str>], now: Instant) {
        for answer in self.ends.answers() {
            if let Some(progress) = self.partitions.get_mut(&answer.partition) {
                progress.answered(answer.end, answer.asked_at);
            }
        }
        if self.watermarks_read_at.is_some_and(|at| now.duration_since(at) < WATERMARK_INTERVAL) {
            return;
        }
        self.watermarks_read_at = Some(now);
        for (partition, progress) in &mut self.partitions {
            let Some(relation) = self.relations.iter().find(|r| r.relation == partition.relation) else { continue };
            if let Some(end) = relation.queue.high_watermark(partition.partition) {
                progress.fetched_end(end);
            }
            if !paused.contains(&partition.relation) && progress.should_ask(now) {
                self.ends.ask(partition.clone(), &relation.topic, now);
            }
        }
    }

    fn tell_news(&mut self, polled: &mut Polled, paused: &[Arc<str>], now: Instant) {
        for (partition, progress) in &mut self.partitions {
            if let Some(status) = progress.news(now, paused.contains(&partition.relation)) {
                polled.partitions.insert(partition.clone(), status);
            }
        }
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, limit: PollLimit, wait: Duration, paused: &[Arc<str>]) -> Result<Polled, SourceError> {
        let deadline = Instant::now() + wait;
        let limit = PollLimit { records: limit.records.max(1), bytes: limit.bytes.clamp(1, MAX_POLL_BYTES) };
        let mut next_sequence = self.next_sequence;
        let mut taking = Taking {
            limit,
            n_records: 0,
            n_bytes: 0,
            next_sequence: &mut next_sequence,
            keeps_headers: false,
            polled: Polled::default(),
        };
        loop {
            self.wake.reset();
            self.session.serve()?;
            self.session.check()?;
            if let Some(positions) = self.session.begin_reading() {
                self.seek(&positions).inspect_err(|_| self.session.require_restore("could not begin to read"))?;
            }
            let now = Instant::now();
            if let Err(error) = self.take(&mut taking, paused, now) {
                // Records may have been taken that nobody will see.
                self.session.require_restore("reading failed");
                return Err(error);
            }
            self.follow_ends(paused, now);
            self.tell_news(&mut taking.polled, paused, now);
            if taking.n_records > 0 || !taking.polled.partitions.is_empty() || now >= deadline {
                break;
            }
            self.wake.wait(SERVE_INTERVAL.min(deadline.duration_since(now)));
        }
        let polled = taking.polled;
        self.next_sequence = next_sequence;
        Ok(polled)
    }

    fn contact(&self) -> Contact {
        self.session.consumer.context().contact.clone()
    }
}

/// Takes in what came from one partition of a relation.
fn handle(
    arrival: Arrival<'_>,
    relation: &Arc<str>,
    topic: &str,
    partitions: &mut BTreeMap<SourcePartition, PartitionProgress>,
    taking: &mut Taking<'_>,
    now: Instant,
) -> Result<(), SourceError> {
    let partition = match &arrival {
        Arrival::Record(record) => record.partition,
        Arrival::End { partition, .. } | Arrival::Failure { partition, .. } => *partition,
    };
    let Some(progress) = partitions.get_mut(&SourcePartition { relation: relation.clone(), partition }) else {
        return Err(SourceError::AssignmentLost(format!("topic `{topic}` partition {partition} is not assigned")));
    };
    match arrival {
        Arrival::Record(record) if record.offset < progress.position() => {
            debug!(topic, partition, offset = record.offset, "a record came twice and was left out");
        }
        Arrival::Record(record) => {
            progress.record(record.offset, now);
            taking.push(relation, &record);
        }
        Arrival::End { offset, .. } => progress.end_reached(offset, now),
        Arrival::Failure { code, text, .. } => {
            progress.failed();
            warn!(topic, partition, %code, text, "could not read a partition");
            let place = format!("topic `{topic}` partition {partition}");
            if is_false_truncation(code, &text, progress.position()) {
                return Err(SourceError::AssignmentLost(format!("{place}: reading must begin anew")));
            }
            if let Some(failure) = read_failure(code, &place, &text) {
                return Err(failure);
            }
        }
    }
    Ok(())
}

impl Taking<'_> {
    fn push(&mut self, relation: &Arc<str>, record: &Record<'_>) {
        let meta = RecordMeta {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            sequence: *self.next_sequence,
            key: None,
            value: None,
        };
        *self.next_sequence += 1;
        self.n_records += 1;
        self.n_bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let headers = self.keeps_headers.then(|| record.headers());
        if let Some(batch) = self.polled.records.get_mut(relation) {
            batch.headers.extend(headers);
            batch.push(meta, record.key, record.value);
        } else {
            let mut batch = RecordBatchBytes::default();
            batch.headers.extend(headers);
            batch.push(meta, record.key, record.value);
            self.polled.records.insert(relation.clone(), batch);
        }
    }
}
