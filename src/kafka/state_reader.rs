//! Reads ranges of the state topic: what a restore and whoever keeps a copy have in common.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use crate::stream::{Delta, SourceError};

use super::client::{ANSWER_TIMEOUT, PlainContext, create, serve_events};
use super::epoch_header::{EPOCH_HEADER, EpochHeader};
use super::failure::read_failure;
use super::record_queue::{Arrival, Record, RecordQueue, Wake};
use super::settings::Settings;

/// How long an open transaction may hold the state topic's stable offset back. Brokers end one after 15 minutes at most.
const STABLE_TIMEOUT: Duration = Duration::from_secs(16 * 60);
/// After so long without progress the log says what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes a delta and its offset.
pub(super) type TakeDelta<'a> = &'a mut dyn FnMut(i64, Delta) -> Result<(), String>;

/// What was read beside the deltas.
#[derive(Debug, Default)]
pub(super) struct ReadState {
    /// The header of the last epoch.
    pub(super) last: Option<EpochHeader>,
    pub(super) n_deltas: u64,
}

/// One pass over ranges of the state topic.
struct Reading<'a> {
    topic: String,
    /// By partition the next offset to read, and where to stop.
    partitions: BTreeMap<i32, (i64, i64)>,
    read: ReadState,
    take: TakeDelta<'a>,
    header_name: CString,
}

/// Hands the committed deltas of some partitions to `take`, each from the start of its range up to its end, which may lie
/// behind the stable offset: then it is waited for. `serve` is called often meanwhile.
pub(super) fn read_state(
    settings: &Settings,
    ranges: &BTreeMap<i32, Range<i64>>,
    serve: &mut dyn FnMut() -> Result<(), SourceError>,
    take: TakeDelta<'_>,
) -> Result<ReadState, SourceError> {
    let topic = settings.state_topic();
    let partitions: BTreeMap<i32, (i64, i64)> =
        ranges.iter().filter(|(_, range)| !range.is_empty()).map(|(p, range)| (*p, (range.start, range.end))).collect();
    let Some(n_partitions) = partitions.keys().max().map(|last| last + 1) else { return Ok(ReadState::default()) };
    let consumer: Arc<BaseConsumer<PlainContext>> =
        Arc::new(create(&settings.state_consumer(), PlainContext::default())?);
    // Otherwise the client would look for the topic's leaders only after a second.
    let known = consumer.fetch_metadata(Some(&topic), ANSWER_TIMEOUT);
    serve_events(&consumer);
    let connection = &consumer.context().connection;
    known.map_err(|e| connection.explain(&format!("find topic `{topic}`"), &settings.brokers, &e))?;
    let wake = Arc::new(Wake::default());
    let mut queue = RecordQueue::new(consumer.clone(), &topic, n_partitions, wake.clone())?;
    let mut list = TopicPartitionList::new();
    for (partition, (start, _)) in &partitions {
        list.add_partition_offset(&topic, *partition, Offset::Offset(*start))
            .map_err(|e| SourceError::Io(format!("topic `{topic}` partition {partition}: {e}")))?;
    }
    consumer.assign(&list).map_err(|e| SourceError::Io(format!("topic `{topic}`: could not begin to read: {e}")))?;
    let header_name = CString::new(EPOCH_HEADER).map_err(|e| SourceError::Io(e.to_string()))?;
    let mut reading = Reading { topic, partitions, read: ReadState::default(), take, header_name };
    let mut moved_at = Instant::now();
    let mut warned_at = moved_at;
    while let Some(waiting_for) = reading.unread() {
        wake.reset();
        serve()?;
        serve_events(&consumer);
        if queue.take(usize::MAX, |arrival| reading.handle(arrival))? > 0 {
            moved_at = Instant::now();
            continue;
        }
        if moved_at.elapsed() > STABLE_TIMEOUT {
            return Err(SourceError::Policy(format!("{waiting_for} is held back by a transaction that does not end")));
        }
        if moved_at.elapsed() > PATIENCE && warned_at.elapsed() > PATIENCE {
            warn!("{waiting_for} is not stable yet: a transaction is still open");
            warned_at = Instant::now();
        }
        wake.wait(Duration::from_millis(50));
    }
    Ok(reading.read)
}

impl Reading<'_> {
    /// Names a partition that was not read to its end yet.
    fn unread(&self) -> Option<String> {
        let unread = self.partitions.iter().find(|(_, (next, end))| next < end);
        unread.map(|(p, (next, end))| format!("topic `{}` partition {p} offset {next} of {end}", self.topic))
    }

    fn advance(&mut self, partition: i32, next: i64) {
        if let Some((position, _)) = self.partitions.get_mut(&partition) {
            *position = next.max(*position);
        }
    }

    fn handle(&mut self, arrival: Arrival<'_>) -> Result<(), SourceError> {
        match arrival {
            Arrival::Record(record) => self.record(&record),
            Arrival::End { partition, offset } => {
                self.advance(partition, offset);
                Ok(())
            }
            Arrival::Failure {
                partition,
                code: RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
                text,
            } => {
                // What comes before a complete rewriting is deleted, perhaps by a worker that was just replaced.
                Err(SourceError::AssignmentLost(format!(
                    "topic `{}` partition {partition} was cut off while it was read ({text})",
                    self.topic
                )))
            }
            Arrival::Failure { partition, code, text } => {
                let place = format!("topic `{}` partition {partition}", self.topic);
                read_failure(code, &place, &text).map_or(Ok(()), Err)
            }
        }
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), SourceError> {
        let (partition, offset) = (record.partition, record.offset);
        let broken = |text: String| {
            SourceError::Io(format!("topic `{}` partition {partition} offset {offset}: {text}", self.topic))
        };
        // A reader that stops in the middle of what is there takes no part of an epoch that begins behind.
        if self.partitions.get(&partition).is_some_and(|(_, end)| offset >= *end) {
            self.advance(partition, offset);
            return Ok(());
        }
        if let Some(bytes) = record.header(&self.header_name) {
            let header = EpochHeader::decode(bytes).map_err(|e| broken(format!("broken epoch header: {e}")))?;
            if self.read.last.as_ref().is_none_or(|last| last.epoch < header.epoch) {
                self.read.last = Some(header);
            }
        }
        if let Some(value) = record.value {
            let shard = u32::try_from(partition).map_err(|e| broken(e.to_string()))?;
            (self.take)(offset, Delta { shard, bytes: value.to_vec() }).map_err(broken)?;
            self.read.n_deltas += 1;
        }
        self.advance(partition, offset + 1);
        Ok(())
    }
}
