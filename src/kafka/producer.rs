//! The writer of a worker's transactions: made when first needed, replaced when its state is in doubt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use rdkafka::bindings as rd;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message, Statistics, TopicPartitionList};
use tracing::{info, warn};

use crate::stream::SourceError;

use super::client::{ANSWER_TIMEOUT, ConnectionLog, create};
use super::codecs::TopicCodec;
use super::failure::{Remedy, TransactionError, remedy};
use super::settings::Settings;
use super::statistics::Reported;

/// How long the broker may take to end the transactions of earlier lives of this worker.
const INIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How much longer than it was given the client may take to send offsets before it is given up.
const OVERDUE: Duration = Duration::from_secs(5);
/// What a broker takes as one batch unless told otherwise.
pub(super) const DEFAULT_LIMIT_BYTES: usize = 1_048_588;
/// At most so many failed deliveries are kept: the first ones tell why.
const MAX_FAILURES: usize = 16;

/// A record that the broker did not take.
#[derive(Clone, Debug)]
pub(super) struct DeliveryFailure {
    pub(super) topic: String,
    pub(super) code: RDKafkaErrorCode,
    pub(super) bytes: usize,
}

/// The context of the transactional producer.
#[derive(Default)]
pub(super) struct WriterContext {
    connection: ConnectionLog,
    reported: Reported,
    failures: Mutex<Vec<DeliveryFailure>>,
}

impl WriterContext {
    /// Takes the first deliveries that failed since the last call.
    pub(super) fn take_failures(&self) -> Vec<DeliveryFailure> {
        std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for WriterContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.connection.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.reported.show("sink", &statistics);
    }
}

impl ProducerContext for WriterContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, record)) = result else { return };
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < MAX_FAILURES {
            failures.push(DeliveryFailure {
                topic: record.topic().to_owned(),
                code: error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
                bytes: record.key_len() + record.payload_len(),
            });
        }
    }
}

/// The producer itself.
pub(super) type TransactionalProducer = BaseProducer<WriterContext>;

/// The worker's transactional producer and what it knows of the topics' limits.
pub(super) struct Writer {
    settings: Settings,
    /// The greatest batch each topic takes, where the cluster told.
    limits: BTreeMap<String, usize>,
    /// At most so much is put into one batch; less than the limits once a broker has refused a batch.
    batch_bytes: usize,
    producer: Option<Arc<TransactionalProducer>>,
    /// What makes the producer write topics in codecs of their own.
    codecs: Vec<TopicCodec>,
}

impl Writer {
    pub(super) fn new(settings: Settings, limits: BTreeMap<String, usize>) -> Self {
        let batch_bytes = limits.values().copied().min().unwrap_or(DEFAULT_LIMIT_BYTES).min(1_000_000);
        Self { settings, limits, batch_bytes, producer: None, codecs: Vec::new() }
    }

    /// The greatest record that `topic` takes, in bytes as [`record_bytes`] counts them.
    pub(super) fn limit(&self, topic: &str) -> usize {
        self.limits.get(topic).copied().unwrap_or(DEFAULT_LIMIT_BYTES)
    }

    /// The producer, when it may begin a transaction.
    pub(super) fn ready(&self) -> Option<&Arc<TransactionalProducer>> {
        self.producer.as_ref()
    }

    /// Makes the producer ready: ends what earlier lives of this worker left open, and fences them.
    pub(super) fn initialise(&mut self) -> Result<(), SourceError> {
        if self.producer.is_some() {
            return Ok(());
        }
        let producer = Arc::new(self.make()?);
        let of_topics = self.settings.compression.iter();
        let codecs = of_topics.map(|(topic, codec)| TopicCodec::set(&producer, topic, codec));
        // They keep the producer alive: not longer than this call, unless it comes to its end.
        let codecs = codecs.collect::<Result<_, _>>()?;
        let started = Instant::now();
        loop {
            let attempt = producer.init_transactions(ANSWER_TIMEOUT);
            // Serves what the client has to tell; it names the reason where the broker cannot be reached.
            producer.poll(Duration::ZERO);
            let Err(error) = attempt else { break };
            match remedy(TransactionError::from(&error)) {
                Remedy::Retry if started.elapsed() < INIT_TIMEOUT => {
                    warn!(%error, "could not begin to write transactions, trying again");
                    std::thread::sleep(Duration::from_millis(200));
                }
                Remedy::Retry => {
                    let brokers = &self.settings.brokers;
                    return Err(producer.client().context().connection.explain(
                        "begin to write transactions",
                        brokers,
                        &error,
                    ));
                }
                Remedy::Fenced => return Err(SourceError::Fenced(error.to_string())),
                _ => {
                    let worker = self.settings.worker();
                    return Err(SourceError::Configuration(format!(
                        "transactional id `{worker}`: cannot write transactions: {error}"
                    )));
                }
            }
        }
        info!(transactional_id = self.settings.worker(), "ready to write transactions");
        self.producer = Some(producer);
        self.codecs = codecs;
        Ok(())
    }

    fn make(&self) -> Result<TransactionalProducer, SourceError> {
        let largest = self.limits.values().copied().max().unwrap_or(0).max(DEFAULT_LIMIT_BYTES);
        create(&self.settings.producer(largest, self.batch_bytes), WriterContext::default())
    }

    /// Lets go of a producer whose state is in doubt; the next one fences it and ends its transaction.
    pub(super) fn discard(&mut self) {
        self.codecs.clear();
        self.producer = None;
    }

    /// Takes the reasons why records were not delivered.
    pub(super) fn take_failures(&self) -> Vec<DeliveryFailure> {
        self.producer.as_ref().map_or(Vec::new(), |producer| producer.context().take_failures())
    }

    /// Learns from a batch that was too large for its topic: from then on each record is a batch of its own, and once that
    /// was so, the record's size is beyond the topic's limit. Returns whether a new producer is needed.
    pub(super) fn learn_limit(&mut self, failures: &[DeliveryFailure]) -> bool {
        let too_large = |f: &&DeliveryFailure| {
            [RDKafkaErrorCode::MessageSizeTooLarge, RDKafkaErrorCode::MessageBatchTooLarge].contains(&f.code)
        };
        let was_single = self.batch_bytes == 1;
        let mut learned = false;
        for failure in failures.iter().filter(too_large) {
            learned = true;
            if was_single {
                let limit = self.limit(&failure.topic).min(failure.bytes);
                warn!(topic = failure.topic, limit, "the topic takes smaller records than it said");
                self.limits.insert(failure.topic.clone(), limit);
            }
        }
        if learned {
            self.batch_bytes = 1;
        }
        learned
    }
}

/// The size of a record as it counts for a topic's limit: its own bytes and those of the batch around it.
pub(super) fn record_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(String, Vec<u8>)]) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
    key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers + 128
}

/// Sends offsets to the transaction, within the time of an answer and a little more.
///
/// While the group's coordinator has left the cluster librdkafka forgets its time limit, and waits until the connection to
/// some broker changes (librdkafka#5456, #5511). So the call has a thread of its own. When it is overdue the producer is of no
/// use any more; the thread keeps it until the call returns. It can commit nothing, since its successor fences it.
pub(super) fn send_offsets(
    producer: &Arc<TransactionalProducer>,
    offsets: &TopicPartitionList,
    group: ConsumerGroupMetadata,
) -> Result<(), KafkaError> {
    let overdue = || KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut);
    let (answers, answer) = bounded(1);
    let (sender, offsets) = (producer.clone(), offsets.clone());
    let send = move || {
        // An answer that is overdue has no reader any more.
        let _ = answers.send(sender.send_offsets_to_transaction(&offsets, &group, ANSWER_TIMEOUT));
    };
    std::thread::Builder::new().name("curb-offsets".to_owned()).spawn(send).map_err(|_| overdue())?;
    answer.recv_timeout(ANSWER_TIMEOUT + OVERDUE).unwrap_or_else(|_| {
        warn!("the client does not return from sending offsets; it will be replaced");
        Err(overdue())
    })
}

/// Waits until every record sent has been taken or refused. Returns false when `deadline` came first.
///
/// The wrapper's `flush` waits in steps of 100 ms, and librdkafka's own looks again after 10 ms only, since successful deliveries
/// are not reported and so wake nobody. Either would be the least latency of a commit; this one looks every millisecond.
pub(super) fn flush(producer: &TransactionalProducer, deadline: Instant) -> bool {
    loop {
        producer.poll(Duration::ZERO);
        // SAFETY: the client is alive; the call only waits.
        let outcome = unsafe { rd::rd_kafka_flush(producer.client().native_ptr(), 1) };
        if outcome == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
    }
}
