//! Reads a topic from its start up to positions: what a pipeline had taken in at some moment, and what it said about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::stream::{Headers, SourceError, SourcePartition};

use super::client::{ANSWER_TIMEOUT, PlainContext, create};
use super::end_offsets::{Probe, watermarks_of_all};
use super::settings::Settings;

/// How long a topic may give nothing before reading it counts as failed.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// By partition the offset behind the last record that is wanted.
pub type TopicEnds = BTreeMap<i32, i64>;

/// A record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRecord {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Kafka's timestamp in milliseconds.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

/// Takes a record; an error ends the reading.
pub type TakeRecord<'a> = &'a mut dyn FnMut(HistoryRecord) -> Result<(), SourceError>;

impl HistoryRecord {
    /// What the record takes in memory.
    pub fn n_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        size_of::<Self>() + of(&self.key) + of(&self.value) + headers
    }
}

/// Reads the committed records of a topic from its start up to `ends`, or to its present end where none are given; those of
/// a partition in their order. Records that the topic has deleted are not there. Nothing is kept but what `take` keeps.
pub fn read_topic(
    settings: &Settings,
    topic: &str,
    ends: Option<&TopicEnds>,
    take: TakeRecord<'_>,
) -> Result<(), SourceError> {
    let mut unread = ranges(settings, topic, ends)?;
    let consumer: BaseConsumer<PlainContext> = create(&settings.state_consumer(), PlainContext::default())?;
    let failed = |e: &dyn std::fmt::Display| SourceError::Io(format!("topic `{topic}` could not be read: {e}"));
    let mut list = TopicPartitionList::new();
    for (partition, (start, _)) in &unread {
        list.add_partition_offset(topic, *partition, Offset::Offset(*start)).map_err(|e| failed(&e))?;
    }
    consumer.assign(&list).map_err(|e| failed(&e))?;
    let mut heard = Instant::now();
    while !unread.is_empty() {
        if heard.elapsed() > SILENCE_MAX {
            return Err(failed(&"it gives no more records, although there are some"));
        }
        match consumer.poll(Duration::from_millis(200)) {
            None => continue,
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) => return Err(consumer.context().connection.explain("read", &settings.brokers, &error)),
            Some(Ok(message)) => {
                let partition = message.partition();
                let Some((_, end)) = unread.get(&partition).copied() else { continue };
                if message.offset() < end {
                    let headers = message
                        .headers()
                        .map(|h| h.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect());
                    take(HistoryRecord {
                        partition,
                        offset: message.offset(),
                        timestamp_ms: message.timestamp().to_millis(),
                        key: message.key().map(<[u8]>::to_vec),
                        value: message.payload().map(<[u8]>::to_vec),
                        headers: headers.unwrap_or_default(),
                    })?;
                }
                if message.offset() + 1 >= end {
                    unread.remove(&partition);
                }
            }
        }
        heard = Instant::now();
    }
    Ok(())
}

/// By partition the first and the last offset to read; partitions without records are left out.
fn ranges(
    settings: &Settings,
    topic: &str,
    ends: Option<&TopicEnds>,
) -> Result<BTreeMap<i32, (i64, i64)>, SourceError> {
    let probe: Probe = create(&settings.probe(), PlainContext::default())?;
    let known = probe.fetch_metadata(Some(topic), ANSWER_TIMEOUT);
    let metadata = known
        .map_err(|e| probe.context().connection.explain(&format!("find topic `{topic}`"), &settings.brokers, &e))?;
    let n_partitions = metadata.topics().iter().find(|t| t.name() == topic).map_or(0, |t| t.partitions().len());
    if n_partitions == 0 {
        return Err(SourceError::Configuration(format!("there is no topic `{topic}`")));
    }
    let relation: Arc<str> = topic.into();
    let partition = |p| SourcePartition { relation: relation.clone(), partition: p };
    let asked = (0..n_partitions as i32).map(|p| (partition(p), topic.to_owned())).collect();
    let found = watermarks_of_all(&probe, &settings.brokers, asked)?;
    let range = |(p, marks): (SourcePartition, super::end_offsets::Watermarks)| {
        let wanted = ends.map_or(marks.high, |ends| ends.get(&p.partition).copied().unwrap_or(0).min(marks.high));
        (p.partition, (marks.low, wanted))
    };
    Ok(found.into_iter().map(range).filter(|(_, (start, end))| start < end).collect())
}
