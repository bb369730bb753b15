//! Commits an epoch as one Kafka transaction: outputs, state deltas, positions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use sha2::{Digest, Sha256};
use tracing::{debug, info, warn};

use crate::fail_point;
use crate::metrics;
use crate::stream::{
    CommitError, Delta, Outcome, OutputTopic, RecordBatchBytes, RecordView, SealedEpoch, Sink, SourceError,
    SourcePartition, TombstoneForm, Undeliverable,
};

use super::client::ANSWER_TIMEOUT;
use super::committed_offsets::committed_offsets;
use super::epoch_header::{EPOCH_HEADER, EpochHeader};
use super::failure::{Remedy, TransactionError, remedy};
use super::producer::{DeliveryFailure, TransactionalProducer, Writer, flush, record_bytes, send_offsets};
use super::session::Session;
use super::settings::TRANSACTION_TIMEOUT_MS;

/// How long a transaction may be worked on before it is aborted; the broker does so by itself soon after.
const TRANSACTION_TIMEOUT: Duration = Duration::from_millis(TRANSACTION_TIMEOUT_MS);
/// How long a commit is repeated before its outcome counts as unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an abort is repeated before the producer is replaced.
const ABORT_TIMEOUT: Duration = Duration::from_secs(20);
/// Keys of undeliverable rows are shown up to this size.
const KEY_BYTES_MAX: usize = 4096;
/// At most so many undeliverable records are remembered between two calls that take them.
const MAX_UNDELIVERABLE: usize = 10_000;

type RecordHeaders = Vec<(String, Vec<u8>)>;

/// Writes epochs, one transaction each.
pub struct KafkaSink {
    session: Arc<Session>,
    writer: Arc<Mutex<Writer>>,
    undeliverable: Vec<Undeliverable>,
    /// The records left out of the last transaction that was not known to be committed.
    in_doubt: Vec<Undeliverable>,
}

/// Why a transaction did not come to its end.
enum Failure {
    /// A call failed before the commit was asked for.
    Before(Remedy, String),
    /// The commit was asked for, and failed in a way that says nothing of it is visible.
    Refused(Remedy, String),
    /// The commit was asked for, and no one knows what became of it.
    Unknown(String),
}

impl KafkaSink {
    pub(super) fn new(session: Arc<Session>, writer: Arc<Mutex<Writer>>) -> Self {
        Self { session, writer, undeliverable: Vec::new(), in_doubt: Vec::new() }
    }

    /// The number of partitions of a sink's or a side output's topic at start.
    pub fn partitions(&self, output: &OutputTopic) -> Option<i32> {
        self.session.settings.outputs.get(output).and_then(|topic| self.session.partitions.get(topic)).copied()
    }

    fn note_undeliverable(&mut self, left_out: Vec<Undeliverable>) {
        let room = MAX_UNDELIVERABLE.saturating_sub(self.undeliverable.len());
        self.undeliverable.extend(left_out.into_iter().take(room));
    }

    fn kafka_positions(&self, epoch: &SealedEpoch) -> BTreeMap<SourcePartition, i64> {
        let is_ours = |p: &SourcePartition| self.session.settings.topic(&p.relation).is_some();
        epoch.positions.iter().filter(|(p, _)| is_ours(p)).map(|(p, o)| (p.clone(), *o)).collect()
    }

    fn header(&self, epoch: u64, positions: &BTreeMap<SourcePartition, i64>) -> EpochHeader {
        let mut header = EpochHeader { epoch, positions: BTreeMap::new() };
        for (partition, offset) in positions {
            if let Some(topic) = self.session.settings.topic(&partition.relation) {
                header.positions.entry(topic.to_owned()).or_default().insert(partition.partition, *offset);
            }
        }
        header
    }

    /// Writes one transaction, up to and with its commit.
    fn transact(
        &self,
        writer: &Writer,
        epoch: &SealedEpoch,
        header: &EpochHeader,
        undeliverable: &mut Vec<Undeliverable>,
    ) -> Result<(), Failure> {
        let Some(producer) = writer.ready() else {
            return Err(Failure::Before(
                Remedy::Rejoin,
                "nothing was restored since the producer was replaced".to_owned(),
            ));
        };
        let deadline = Instant::now() + TRANSACTION_TIMEOUT;
        repeat(deadline, || producer.begin_transaction())?;
        fail_point::reach("commit.begun");
        let mut out = Output { session: &self.session, writer, producer, deadline, n_sent: 0, undeliverable };
        for (idx, (topic, records)) in epoch.outputs.iter().enumerate() {
            out.records(topic, records, epoch.headers.get(idx).map_or(&[], Vec::as_slice))?;
        }
        out.deltas(&epoch.deltas, header)?;
        if !flush(producer, deadline) {
            return Err(Failure::Before(Remedy::Abort, "the broker did not take all records in time".to_owned()));
        }
        fail_point::reach("commit.sent");
        self.send_positions(producer, header, deadline)?;
        fail_point::reach("commit.positions");
        commit(producer)?;
        fail_point::reach("commit.done");
        Ok(())
    }

    /// Ties the transaction to the membership: the group's coordinator refuses it from a worker of an older generation.
    fn send_positions(
        &self,
        producer: &Arc<TransactionalProducer>,
        header: &EpochHeader,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut offsets = TopicPartitionList::new();
        let epoch = header.epoch.to_string();
        for (topic, partitions) in &header.positions {
            for (partition, offset) in partitions {
                let failed = |e| Failure::Before(Remedy::Denied, format!("offset {offset} of topic `{topic}`: {e}"));
                let mut element = offsets.add_partition(topic, *partition);
                element.set_offset(rdkafka::Offset::Offset(*offset)).map_err(failed)?;
                element.set_metadata(&epoch);
            }
        }
        repeat(deadline, || {
            // IMPORTANT: read anew for every attempt, and checked on both sides: see `Membership::rebalance`.
            self.session.check().map_err(|_| rebalanced())?;
            let Some(metadata) = self.session.consumer.group_metadata() else { return Err(rebalanced()) };
            self.session.check().map_err(|_| rebalanced())?;
            send_offsets(producer, &offsets, metadata)
        })
    }

    /// Ends a transaction that failed, and says what the worker must do.
    fn recover(&self, writer: &mut Writer, failure: Failure, elapsed: Duration) -> CommitError {
        let refused = writer.take_failures();
        let (remedy, was_asked, mut text) = match failure {
            Failure::Before(remedy, text) => (remedy, false, text),
            Failure::Refused(remedy, text) => (remedy, true, text),
            Failure::Unknown(text) => {
                // IMPORTANT: no abort here. It could overtake the commit, or end a transaction that was begun since.
                writer.discard();
                return CommitError::Unknown(text);
            }
        };
        text.push_str(&explain(&refused));
        match remedy {
            Remedy::Abort | Remedy::Retry => {
                if !abort(writer) || writer.learn_limit(&refused) {
                    writer.discard();
                }
                CommitError::Aborted(text)
            }
            Remedy::Rejoin => {
                if !abort(writer) {
                    writer.discard();
                }
                self.session.require_restore(&text);
                CommitError::AssignmentLost(text)
            }
            Remedy::Fenced if elapsed >= TRANSACTION_TIMEOUT => {
                // The broker ends a transaction that has lasted too long by raising its epoch, which looks like a newer
                // writer. If there is one, it holds the membership too, which is asked for before the producer is replaced.
                writer.discard();
                CommitError::Unknown(format!("the transaction lasted {} s: {text}", elapsed.as_secs()))
            }
            Remedy::Fenced => CommitError::Fenced(text),
            Remedy::Denied => {
                writer.discard();
                CommitError::Fatal(text)
            }
            Remedy::Fatal => {
                writer.discard();
                if was_asked { CommitError::Unknown(text) } else { CommitError::Aborted(text) }
            }
        }
    }

    /// Makes a producer that was let go of anew, once the group has confirmed that its partitions are still ours: it fences
    /// whoever writes under the same name.
    fn replace_producer(&self, writer: &mut Writer) -> Result<(), CommitError> {
        if writer.ready().is_some() {
            return Ok(());
        }
        self.session.check()?;
        self.session.prove_membership()?;
        metrics::count_producer_replaced();
        Ok(writer.initialise()?)
    }
}

/// What an answer of the cluster means for an epoch of which nothing is visible.
impl From<SourceError> for CommitError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Unreachable(text) => Self::Aborted(text),
            SourceError::AssignmentLost(text) => Self::AssignmentLost(text),
            SourceError::Fenced(text) => Self::Fenced(text),
            SourceError::Configuration(text) | SourceError::Policy(text) | SourceError::Io(text) => Self::Fatal(text),
        }
    }
}

impl Sink for KafkaSink {
    fn tombstones(&self) -> TombstoneForm {
        TombstoneForm::NoValue
    }

    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError> {
        let positions = self.kafka_positions(epoch);
        let is_empty = epoch.deltas.is_empty() && epoch.outputs.iter().all(|(_, records)| records.is_empty());
        if is_empty && self.session.is_committed(&positions) {
            return Ok(());
        }
        if positions.is_empty() {
            return Err(CommitError::Fatal(format!("epoch {} owns no partition and cannot be fenced", epoch.number)));
        }
        self.session.serve()?;
        self.session.check()?;
        let header = self.header(epoch.number, &positions);
        let started = Instant::now();
        let mut undeliverable = Vec::new();
        let writer = self.writer.clone();
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace_producer(&mut writer)?;
        match self.transact(&writer, epoch, &header, &mut undeliverable) {
            Ok(()) => {
                debug!(epoch = epoch.number, elapsed_ms = started.elapsed().as_millis() as u64, "committed");
                self.session.committed(positions);
                self.note_undeliverable(undeliverable);
                Ok(())
            }
            Err(failure) => {
                let failed = self.recover(&mut writer, failure, started.elapsed());
                warn!(epoch = epoch.number, error = %failed, "epoch not committed");
                // What was left out of a transaction in doubt is left out of it when it turns out to be committed.
                self.in_doubt = undeliverable;
                Err(failed)
            }
        }
    }

    /// The committed offsets carry the number of their epoch, so that they tell also about an epoch of timers alone.
    fn outcome(&mut self, epoch: &SealedEpoch) -> Result<Outcome, CommitError> {
        let positions = self.kafka_positions(epoch);
        let writer = self.writer.clone();
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        // IMPORTANT: the new producer first. It ends the transaction in doubt, one way or the other, before anyone looks.
        let asked = self.replace_producer(&mut writer).and_then(|()| Ok(committed_offsets(&self.session)?));
        let committed = asked.map_err(|error| match error {
            CommitError::Aborted(text) => CommitError::Unknown(text),
            other => other,
        })?;
        let is_before = self.session.is_last_committed(&committed.positions);
        if committed.positions == positions && (!is_before || committed.epoch == Some(epoch.number)) {
            info!(epoch = epoch.number, "the epoch in doubt was committed");
            self.session.committed(positions);
            let left_out = std::mem::take(&mut self.in_doubt);
            self.note_undeliverable(left_out);
            return Ok(Outcome::Committed);
        }
        if is_before {
            info!(epoch = epoch.number, "the epoch in doubt was not committed");
            return Ok(Outcome::NotCommitted);
        }
        let text = "the committed offsets are neither those before the epoch nor those after it";
        self.session.require_restore(text);
        Err(CommitError::AssignmentLost(text.to_owned()))
    }

    fn max_delta_bytes(&self) -> usize {
        let limit =
            self.writer.lock().unwrap_or_else(PoisonError::into_inner).limit(&self.session.settings.state_topic());
        let partitions = self.session.partitions.iter().map(|(t, n)| (t.as_str(), *n));
        limit.saturating_sub(EpochHeader::size_bound(partitions) + 1024).max(1024)
    }

    fn take_undeliverable(&mut self) -> Vec<Undeliverable> {
        std::mem::take(&mut self.undeliverable)
    }
}

/// The records of one transaction on their way out.
struct Output<'a> {
    session: &'a Session,
    writer: &'a Writer,
    producer: &'a TransactionalProducer,
    deadline: Instant,
    n_sent: u64,
    undeliverable: &'a mut Vec<Undeliverable>,
}

impl Output<'_> {
    fn records(
        &mut self,
        output: &OutputTopic,
        records: &RecordBatchBytes,
        headers: &[RecordHeaders],
    ) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        let session = self.session;
        let Some(topic) = session.settings.outputs.get(output) else {
            return Err(Failure::Before(Remedy::Denied, format!("no topic is set for {output:?}")));
        };
        let limit_bytes = self.writer.limit(topic);
        // A late or rejected record that is too large goes without its bytes: its headers say where it lies.
        let may_drop_bytes = !matches!(output, OutputTopic::Sink(_));
        for (idx, record) in records.iter().enumerate() {
            let headers = headers.get(idx).map_or(&[][..], Vec::as_slice);
            let mut sent = Sent {
                topic,
                partition: (record.meta.partition >= 0).then_some(record.meta.partition),
                timestamp_ms: record.meta.timestamp_ms,
                key: record.key,
                value: record.value,
                headers,
            };
            let bytes = record_bytes(record.key, record.value, headers);
            if bytes > limit_bytes && may_drop_bytes {
                (sent.key, sent.value) = (None, None);
            }
            let fits = record_bytes(sent.key, sent.value, headers) <= limit_bytes;
            if !fits || !self.send(sent)? {
                debug!(topic, bytes, limit_bytes, "a record is too large for its topic and is left out");
                self.explain_undeliverable(output, record, headers, limit_bytes)?;
                if self.undeliverable.len() < MAX_UNDELIVERABLE {
                    self.undeliverable.push(Undeliverable {
                        output: output.clone(),
                        record_idx: idx,
                        bytes,
                        limit_bytes,
                    });
                }
            }
        }
        Ok(())
    }

    /// Says in the same transaction which row its topic did not take: the row itself would be too large anywhere.
    fn explain_undeliverable(
        &mut self,
        output: &OutputTopic,
        record: RecordView<'_>,
        headers: &[(String, Vec<u8>)],
        limit_bytes: usize,
    ) -> Result<(), Failure> {
        let OutputTopic::Sink(sink) = output else { return Ok(()) };
        let value = record.value.unwrap_or_default();
        let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
        let mut said = vec![
            header("curb_reason", format!("larger than the {limit_bytes} bytes that its topic takes")),
            header("curb_sink", sink.to_string()),
            header("curb_length", value.len().to_string()),
            header("curb_sha256", sha256_hex(value)),
        ];
        said.extend(headers.iter().filter(|(name, _)| name == "curb_id").cloned());
        let topic = self.session.settings.undeliverable_topic();
        let is_private = self.session.settings.private_sinks.contains(sink);
        let key = record.key.filter(|key| !is_private && key.len() <= KEY_BYTES_MAX);
        let sent = Sent { topic: &topic, partition: None, timestamp_ms: None, key, value: None, headers: &said };
        match self.send(sent)? {
            true => Ok(()),
            false => Err(Failure::Before(
                Remedy::Denied,
                format!("topic `{topic}` does not even take a record without value"),
            )),
        }
    }

    /// Writes the state. One record of each transaction carries its header, a record without value if there is no delta.
    fn deltas(&mut self, deltas: &[Delta], header: &EpochHeader) -> Result<(), Failure> {
        let fatal = |text: String| Failure::Before(Remedy::Denied, text);
        let topic = self.session.settings.state_topic();
        let limit_bytes = self.writer.limit(&topic);
        let header = [(EPOCH_HEADER.to_owned(), header.encode().map_err(fatal)?)];
        let rows: Vec<(u32, Option<&[u8]>)> = match deltas {
            [] => vec![(0, None)],
            some => some.iter().map(|d| (d.shard, Some(d.bytes.as_slice()))).collect(),
        };
        for (idx, (shard, value)) in rows.into_iter().enumerate() {
            let headers = if idx == 0 { &header[..] } else { &[] };
            let partition = i32::try_from(shard).map_err(|_| fatal(format!("shard {shard} does not exist")))?;
            let sent =
                Sent { topic: &topic, partition: Some(partition), timestamp_ms: None, key: None, value, headers };
            let bytes = record_bytes(None, value, headers);
            if bytes > limit_bytes || !self.send(sent)? {
                return Err(fatal(format!(
                    "a state delta of {bytes} bytes is beyond the limit of topic `{topic}`, {limit_bytes} bytes; raise its \
                     `max.message.bytes`"
                )));
            }
        }
        Ok(())
    }

    /// Hands a record to the client; false when it is too large for it.
    fn send(&mut self, sent: Sent<'_>) -> Result<bool, Failure> {
        self.n_sent += 1;
        if self.n_sent.is_multiple_of(1024) {
            self.producer.poll(Duration::ZERO);
        }
        let mut record = sent.record();
        loop {
            let (error, returned) = match self.producer.send(record) {
                Ok(()) => return Ok(true),
                Err(refused) => refused,
            };
            match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) if Instant::now() < self.deadline => {
                    self.producer.poll(Duration::from_millis(2));
                    record = returned;
                }
                KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => return Ok(false),
                other => {
                    let text = format!("topic `{}`: could not send a record: {other}", sent.topic);
                    // A fatal error shows here as a wrong state of the transaction; the client knows better.
                    let fatal = self.producer.client().fatal_error();
                    return Err(match fatal {
                        None => Failure::Before(Remedy::Abort, text),
                        Some((code, reason)) => {
                            let known =
                                TransactionError { code, is_fatal: true, requires_abort: false, is_retriable: false };
                            Failure::Before(remedy(known), format!("{text}: {reason}"))
                        }
                    });
                }
            }
        }
    }
}

/// A record before it is handed to the client.
#[derive(Clone, Copy)]
struct Sent<'a> {
    topic: &'a str,
    /// None where the key decides, as Java's clients do.
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [(String, Vec<u8>)],
}

impl<'a> Sent<'a> {
    fn record(self) -> BaseRecord<'a, [u8], [u8]> {
        let mut record = BaseRecord::to(self.topic);
        record.partition = self.partition;
        record.timestamp = self.timestamp_ms;
        record.key = self.key;
        record.payload = self.value;
        if !self.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(self.headers.len());
            record.headers = Some(
                self.headers
                    .iter()
                    .fold(empty, |all, (key, value)| all.insert(Header { key, value: Some(value.as_slice()) })),
            );
        }
        record
    }
}

/// Repeats a call that comes before the commit while it asks for that.
fn repeat(deadline: Instant, mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), Failure> {
    loop {
        let Err(error) = call() else { return Ok(()) };
        match remedy(TransactionError::from(&error)) {
            Remedy::Retry if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Remedy::Retry => return Err(Failure::Before(Remedy::Abort, error.to_string())),
            other => return Err(Failure::Before(other, error.to_string())),
        }
    }
}

fn rebalanced() -> KafkaError {
    KafkaError::Rebalance(RDKafkaErrorCode::AssignmentLost)
}

/// Commits. The same call is repeated while librdkafka asks for that; once it was, only success says what became of it.
fn commit(producer: &TransactionalProducer) -> Result<(), Failure> {
    let started = Instant::now();
    let mut in_doubt = false;
    loop {
        let Err(error) = producer.commit_transaction(ANSWER_TIMEOUT) else { return Ok(()) };
        match remedy(TransactionError::from(&error)) {
            Remedy::Retry if started.elapsed() < COMMIT_TIMEOUT => in_doubt = true,
            Remedy::Retry => return Err(Failure::Unknown(error.to_string())),
            _ if in_doubt => return Err(Failure::Unknown(error.to_string())),
            other => return Err(Failure::Refused(other, error.to_string())),
        }
    }
}

/// Aborts the running transaction; false when the producer must be replaced.
fn abort(writer: &Writer) -> bool {
    let Some(producer) = writer.ready() else { return false };
    let started = Instant::now();
    loop {
        let Err(error) = producer.abort_transaction(ANSWER_TIMEOUT) else { return true };
        if remedy(TransactionError::from(&error)) != Remedy::Retry || started.elapsed() > ABORT_TIMEOUT {
            warn!(%error, "could not abort; the producer will be replaced");
            return false;
        }
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn explain(refused: &[DeliveryFailure]) -> String {
    match refused.first() {
        None => String::new(),
        Some(first) => format!(" (topic `{}` refused a record of {} bytes: {})", first.topic, first.bytes, first.code),
    }
}
