//! Reads back what the pipeline has committed: its positions, and every delta of its state.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use crate::stream::{Delta, Restored, SourceError, SourcePartition, StateLog};

use super::client::{ANSWER_TIMEOUT, PlainContext, create, serve_events};
use super::committed_offsets::committed_offsets;
use super::end_offsets::{Probe, Watermarks, watermarks};
use super::epoch_header::{EPOCH_HEADER, EpochHeader};
use super::failure::read_failure;
use super::producer::Writer;
use super::record_queue::{Arrival, Record, RecordQueue, Wake};
use super::session::Session;

/// How long an open transaction may hold the state topic's stable offset back. Brokers end one after 15 minutes at most.
const STABLE_TIMEOUT: Duration = Duration::from_secs(16 * 60);
/// After so long without progress the log says what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state topic of a pipeline.
pub struct KafkaStateLog {
    session: Arc<Session>,
    writer: Arc<Mutex<Writer>>,
    probe: Arc<Probe>,
}

/// One pass over the state topic.
struct Reading<'a> {
    topic: String,
    /// By partition the next offset to read, and where to stop.
    partitions: BTreeMap<i32, (i64, i64)>,
    last: Option<EpochHeader>,
    n_deltas: u64,
    apply: &'a mut dyn FnMut(Delta) -> Result<(), String>,
    header_name: CString,
}

impl KafkaStateLog {
    pub(super) fn new(session: Arc<Session>, writer: Arc<Mutex<Writer>>, probe: Arc<Probe>) -> Self {
        Self { session, writer, probe }
    }

    /// Reads the state topic to the high watermark that it has now.
    fn read(
        &self,
        apply: &mut dyn FnMut(Delta) -> Result<(), String>,
    ) -> Result<(Option<EpochHeader>, u64), SourceError> {
        let settings = &self.session.settings;
        let topic = settings.state_topic();
        let n_partitions = self.session.partitions.get(&topic).copied().unwrap_or(0);
        let consumer: Arc<BaseConsumer<PlainContext>> =
            Arc::new(create(&settings.state_consumer(), PlainContext::default())?);
        // Otherwise the client would look for the topic's leaders only after a second.
        let known = consumer.fetch_metadata(Some(&topic), ANSWER_TIMEOUT);
        serve_events(&consumer);
        let connection = &consumer.context().connection;
        known.map_err(|e| connection.explain(&format!("find topic `{topic}`"), &settings.brokers, &e))?;
        let wake = Arc::new(Wake::default());
        let mut queue = RecordQueue::new(consumer.clone(), &topic, n_partitions, wake.clone())?;
        let mut reading = Reading {
            topic: topic.clone(),
            partitions: BTreeMap::new(),
            last: None,
            n_deltas: 0,
            apply,
            header_name: CString::new(EPOCH_HEADER).map_err(|e| SourceError::Io(e.to_string()))?,
        };
        let mut list = TopicPartitionList::new();
        for partition in 0..n_partitions {
            let Watermarks { low, high } = watermarks(&self.probe, &settings.brokers, &topic, partition)?;
            reading.partitions.insert(partition, (low, high));
            list.add_partition_offset(&topic, partition, Offset::Beginning)
                .map_err(|e| SourceError::Io(format!("topic `{topic}` partition {partition}: {e}")))?;
        }
        consumer
            .assign(&list)
            .map_err(|e| SourceError::Io(format!("topic `{topic}`: could not begin to read: {e}")))?;
        let mut moved_at = Instant::now();
        let mut warned_at = moved_at;
        while let Some(waiting_for) = reading.unread() {
            wake.reset();
            // The membership must be kept alive however long this takes, and what is read counts only while it lasts.
            self.session.serve()?;
            serve_events(&consumer);
            let n = queue.take(usize::MAX, |arrival| reading.handle(arrival))?;
            if n > 0 {
                moved_at = Instant::now();
                continue;
            }
            if moved_at.elapsed() > STABLE_TIMEOUT {
                return Err(SourceError::Policy(format!(
                    "{waiting_for} is held back by a transaction that does not end"
                )));
            }
            if moved_at.elapsed() > PATIENCE && warned_at.elapsed() > PATIENCE {
                warn!("{waiting_for} is not stable yet: a transaction is still open");
                warned_at = Instant::now();
            }
            wake.wait(Duration::from_millis(50));
        }
        Ok((reading.last, reading.n_deltas))
    }
}

impl StateLog for KafkaStateLog {
    fn restore(&mut self, apply: &mut dyn FnMut(Delta) -> Result<(), String>) -> Result<Restored, SourceError> {
        let started = Instant::now();
        // IMPORTANT: both fences stand before anything is read. Another worker cannot commit offsets any more after the
        // first, an earlier life of this worker cannot write any more after the second. In this order, because a worker
        // that was replaced while it slept must learn so from the group before it fences its own successor.
        let assignment = self.session.wait_until_assigned()?;
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).initialise()?;
        let committed = committed_offsets(&self.session)?.positions;
        let (last, n_deltas) = self.read(apply)?;
        let epoch = last.as_ref().map_or(0, |header| header.epoch);
        let logged = last.map(|header| self.by_partition(&header));
        let positions = reconcile(committed, logged, &self.session.settings.pipeline)?;
        self.session.restored(positions.clone(), assignment);
        self.session.check()?;
        debug!(epoch, n_deltas, elapsed_ms = started.elapsed().as_millis() as u64, "read the state topic");
        Ok(Restored { positions, n_deltas, epoch })
    }
}

impl KafkaStateLog {
    fn by_partition(&self, header: &EpochHeader) -> BTreeMap<SourcePartition, i64> {
        let mut positions = BTreeMap::new();
        for (topic, partitions) in &header.positions {
            // A topic that is not read any more has no say.
            let Some(source) = self.session.settings.relation(topic) else { continue };
            for (partition, offset) in partitions {
                positions.insert(SourcePartition { relation: source.relation.clone(), partition: *partition }, *offset);
            }
        }
        positions
    }
}

/// Decides where to go on from the committed offsets and the positions that the state was logged with.
fn reconcile(
    committed: BTreeMap<SourcePartition, i64>,
    logged: Option<BTreeMap<SourcePartition, i64>>,
    group: &str,
) -> Result<BTreeMap<SourcePartition, i64>, SourceError> {
    let logged = match logged {
        None if committed.is_empty() => {
            info!("no offsets and no state: a first start");
            return Ok(committed);
        }
        None => BTreeMap::new(),
        Some(logged) if committed.is_empty() => {
            warn!(
                group,
                "the group has no committed offsets (expired or deleted); going on at the positions of the state"
            );
            return Ok(logged);
        }
        Some(logged) => logged,
    };
    let number = |n: Option<&i64>| n.map_or("none".to_owned(), i64::to_string);
    let differing = committed.keys().chain(logged.keys()).find(|p| committed.get(*p) != logged.get(*p));
    match differing {
        None => Ok(committed),
        Some(p) => Err(SourceError::Policy(format!(
            "relation `{}` partition {}: the committed offset is {}, but the state was logged at {}; group `{group}` and its \
             state topic do not belong together",
            p.relation,
            p.partition,
            number(committed.get(p)),
            number(logged.get(p))
        ))),
    }
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
        if let Some(bytes) = record.header(&self.header_name) {
            let header = EpochHeader::decode(bytes).map_err(|e| broken(format!("broken epoch header: {e}")))?;
            if self.last.as_ref().is_none_or(|last| last.epoch < header.epoch) {
                self.last = Some(header);
            }
        }
        if let Some(value) = record.value {
            let shard = u32::try_from(partition).map_err(|e| broken(e.to_string()))?;
            (self.apply)(Delta { shard, bytes: value.to_vec() }).map_err(broken)?;
            self.n_deltas += 1;
        }
        self.advance(partition, offset + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(entries: &[(&str, i32, i64)]) -> BTreeMap<SourcePartition, i64> {
        entries.iter().map(|(r, p, o)| (SourcePartition { relation: Arc::from(*r), partition: *p }, *o)).collect()
    }

    #[test]
    fn equal_positions_are_gone_on_from() {
        let same = positions(&[("a", 0, 5), ("a", 1, 7)]);
        assert_eq!(reconcile(same.clone(), Some(same.clone()), "g").unwrap(), same);
    }

    #[test]
    fn the_state_decides_when_the_group_has_expired() {
        let logged = positions(&[("a", 0, 5)]);
        assert_eq!(reconcile(BTreeMap::new(), Some(logged.clone()), "g").unwrap(), logged);
    }

    #[test]
    fn a_first_start_has_neither() {
        assert!(reconcile(BTreeMap::new(), None, "g").unwrap().is_empty());
    }

    #[test]
    fn any_other_difference_is_refused_with_both_numbers() {
        let cases = [
            (positions(&[("a", 0, 5)]), Some(positions(&[("a", 0, 4)])), "is 5, but the state was logged at 4"),
            (positions(&[("a", 0, 5)]), None, "is 5, but the state was logged at none"),
            (
                positions(&[("a", 0, 5)]),
                Some(positions(&[("a", 0, 5), ("a", 1, 2)])),
                "is none, but the state was logged at 2",
            ),
        ];
        for (committed, logged, text) in cases {
            let refused = reconcile(committed, logged, "g").unwrap_err().to_string();
            assert!(refused.contains(text), "{refused}");
        }
    }
}
