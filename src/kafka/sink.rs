//! Commits an epoch as one Kafka transaction: outputs, state deltas, positions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use tracing::{debug, info, warn};

use crate::fail_point;
use crate::metrics;
use crate::stream::{
    CommitError, Outcome, OutputTopic, SealedEpoch, Sink, SourceError, SourcePartition, TombstoneForm, Undeliverable,
};

use super::client::ANSWER_TIMEOUT;
use super::committed_offsets::committed_offsets;
use super::epoch_header::EpochHeader;
use super::failure::{Remedy, TransactionError, remedy};
use super::outgoing::Output;
use super::producer::{DeliveryFailure, TransactionalProducer, Writer, flush, send_offsets};
use super::session::Session;
use super::settings::TRANSACTION_TIMEOUT_MS;

/// How long a transaction may be worked on before it is aborted; the broker does so by itself soon after.
const TRANSACTION_TIMEOUT: Duration = Duration::from_millis(TRANSACTION_TIMEOUT_MS);
/// How long a commit is repeated before its outcome counts as unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an abort is repeated before the producer is replaced.
const ABORT_TIMEOUT: Duration = Duration::from_secs(20);
/// At most so many undeliverable records are remembered between two calls that take them.
pub(super) const MAX_UNDELIVERABLE: usize = 10_000;

/// Writes epochs, one transaction each.
pub struct KafkaSink {
    session: Arc<Session>,
    writer: Arc<Mutex<Writer>>,
    undeliverable: Vec<Undeliverable>,
    /// The records left out of the last transaction that was not known to be committed.
    in_doubt: Vec<Undeliverable>,
}

/// Why a transaction did not come to its end.
pub(super) enum Failure {
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
        self.session.settings.outputs.get(output).and_then(|topic| self.session.partitions().get(topic).copied())
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
                metrics::observe_transaction("commit", started.elapsed());
                debug!(
                    epoch = epoch.number,
                    transactional_id = self.session.settings.worker(),
                    elapsed_ms = started.elapsed().as_millis() as u64,
                    "committed"
                );
                self.session.committed(positions);
                self.note_undeliverable(undeliverable);
                Ok(())
            }
            Err(failure) => {
                let failed = self.recover(&mut writer, failure, started.elapsed());
                metrics::observe_transaction(failed.result(), started.elapsed());
                warn!(
                    epoch = epoch.number,
                    transactional_id = self.session.settings.worker(),
                    error = %failed,
                    "epoch not committed"
                );
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
        let partitions = self.session.partitions();
        let partitions = partitions.iter().map(|(t, n)| (t.as_str(), *n));
        limit.saturating_sub(EpochHeader::size_bound(partitions) + 1024).max(1024)
    }

    fn serve(&mut self) {
        if let Some(producer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).ready() {
            producer.poll(Duration::ZERO);
        }
    }

    fn take_undeliverable(&mut self) -> Vec<Undeliverable> {
        std::mem::take(&mut self.undeliverable)
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

fn explain(refused: &[DeliveryFailure]) -> String {
    match refused.first() {
        None => String::new(),
        Some(first) => format!(" (topic `{}` refused a record of {} bytes: {})", first.topic, first.bytes, first.code),
    }
}
