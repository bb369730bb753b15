//! The records of one transaction on their way to the client: outputs, state, and what could not be delivered.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use sha2::{Digest, Sha256};
use tracing::debug;

use crate::stream::{Delta, Headers, OutputTopic, RecordBatchBytes, RecordView, Undeliverable};

use super::epoch_header::{EPOCH_HEADER, EpochHeader};
use super::failure::{Remedy, TransactionError, remedy};
use super::producer::{TransactionalProducer, Writer, record_bytes};
use super::session::Session;
use super::sink::{Failure, MAX_UNDELIVERABLE};

/// Keys of undeliverable rows are shown up to this size.
const KEY_BYTES_MAX: usize = 4096;

/// The records of one transaction on their way out.
pub(super) struct Output<'a> {
    pub(super) session: &'a Session,
    pub(super) writer: &'a Writer,
    pub(super) producer: &'a TransactionalProducer,
    pub(super) deadline: Instant,
    pub(super) n_sent: u64,
    pub(super) undeliverable: &'a mut Vec<Undeliverable>,
}

impl Output<'_> {
    pub(super) fn records(
        &mut self,
        output: &OutputTopic,
        records: &RecordBatchBytes,
        headers: &[Headers],
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
        let may_drop_bytes = matches!(output, OutputTopic::Late(_) | OutputTopic::Rejected(_));
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
    pub(super) fn deltas(&mut self, deltas: &[Delta], header: &EpochHeader) -> Result<(), Failure> {
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

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
