//! Whether transactions work, tried with an id that no worker has, and how far the cluster's clock is from ours.
//!
//! The coordinator writes every registration of a transactional id to `__transaction_state`, with the time of its own clock. No
//! request of Kafka tells a broker's time; this record does.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientContext, Offset, config::RDKafkaLogLevel};

use super::super::client::{ANSWER_TIMEOUT, PlainContext, create};
use super::super::end_offsets::Probe;
use super::super::settings::Settings;

/// Where coordinators write what they know of transactions.
const COORDINATOR_TOPIC: &str = "__transaction_state";
/// So many records before the end are looked through; other writers register meanwhile.
const RECORDS_BEFORE_END: i64 = 200;
/// How long the record of our registration may take to show.
const RECORD_PATIENCE: Duration = Duration::from_secs(3);

/// Why transactions do not work, in the cluster's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionFault {
    /// This user may not use the id; which was tried.
    Denied(String),
    /// The broker ends transactions earlier than a worker needs; that many milliseconds.
    TimeoutTooLarge(u64),
    /// Something else: no coordinator, mostly.
    Other(String),
}

/// How far the cluster's clock is ahead of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// In milliseconds; negative where it is behind.
    pub ahead_ms: i64,
    /// How wrong that may be: what the registration took.
    pub uncertainty_ms: i64,
}

/// Says nothing: what goes wrong is told by the calls.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl rdkafka::producer::ProducerContext for Silent {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &rdkafka::producer::DeliveryResult<'_>, (): Self::DeliveryOpaque) {}
}

pub(super) fn register(settings: &Settings, probe: &Probe) -> Result<Option<ClockOffset>, TransactionFault> {
    let id = format!("{}-doctor", settings.pipeline);
    let mut config = settings.producer(1_000_000, 1_000_000);
    config.set("transactional.id", &id);
    config.set("client.id", format!("{id}-sink"));
    let producer: BaseProducer<Silent> = create(&config, Silent).map_err(|e| TransactionFault::Other(e.to_string()))?;
    // The first one finds the coordinator; the second takes one round trip, which is how wrong the comparison may be.
    producer.init_transactions(ANSWER_TIMEOUT).map_err(|e| fault(&e, &id))?;
    drop(producer);
    let again: BaseProducer<Silent> = create(&config, Silent).map_err(|e| TransactionFault::Other(e.to_string()))?;
    let before_ms = wall_clock_ms();
    again.init_transactions(ANSWER_TIMEOUT).map_err(|e| fault(&e, &id))?;
    let after_ms = wall_clock_ms();
    Ok(registered_at(settings, probe, &id).map(|at_ms| offset(before_ms, at_ms, after_ms)))
}

/// A time within what the registration took agrees with our clock.
fn offset(before_ms: i64, at_ms: i64, after_ms: i64) -> ClockOffset {
    let ahead_ms = if at_ms < before_ms { at_ms - before_ms } else { (at_ms - after_ms).max(0) };
    ClockOffset { ahead_ms, uncertainty_ms: after_ms - before_ms }
}

fn fault(error: &KafkaError, id: &str) -> TransactionFault {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) => {
            TransactionFault::Denied(id.to_owned())
        }
        Some(RDKafkaErrorCode::InvalidTransactionTimeout) => {
            TransactionFault::TimeoutTooLarge(super::super::settings::TRANSACTION_TIMEOUT_MS)
        }
        _ => TransactionFault::Other(error.to_string()),
    }
}

/// The time in the last record of an id's registration; none where it may not be read.
fn registered_at(settings: &Settings, probe: &Probe, id: &str) -> Option<i64> {
    let metadata = probe.fetch_metadata(Some(COORDINATOR_TOPIC), ANSWER_TIMEOUT).ok()?;
    let n_partitions = metadata.topics().first().map(|t| t.partitions().len()).filter(|n| *n > 0)?;
    let partition = i32::try_from(java_hash(id).unsigned_abs() as usize % n_partitions).ok()?;
    let (low, high) = probe.fetch_watermarks(COORDINATOR_TOPIC, partition, ANSWER_TIMEOUT).ok()?;
    let mut config = settings.state_consumer();
    config.set("isolation.level", "read_uncommitted");
    let reader: BaseConsumer<PlainContext> = create(&config, PlainContext::default()).ok()?;
    let mut list = TopicPartitionList::new();
    let from = (high - RECORDS_BEFORE_END).max(low);
    list.add_partition_offset(COORDINATOR_TOPIC, partition, Offset::Offset(from)).ok()?;
    reader.assign(&list).ok()?;
    let started = Instant::now();
    let mut found = None;
    while started.elapsed() < RECORD_PATIENCE {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                // The key is a version and the id with its length.
                if record.key().is_some_and(|key| key.get(4..) == Some(id.as_bytes())) {
                    found = record.timestamp().to_millis();
                }
                if record.offset() + 1 >= high {
                    return found;
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return found,
            Some(Err(_)) => return None,
            None => {}
        }
    }
    found
}

/// `String.hashCode` of Java: by it a transactional id finds its partition.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_finds_its_partition_as_in_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(
            java_hash("riding-doctor"),
            "riding-doctor".bytes().fold(0_i32, |h, b| h.wrapping_mul(31).wrapping_add(b.into()))
        );
        assert_eq!(java_hash("hello"), 99_162_322);
    }

    #[test]
    fn a_time_within_the_registration_is_no_offset() {
        assert_eq!(offset(100, 105, 110), ClockOffset { ahead_ms: 0, uncertainty_ms: 10 });
        assert_eq!(offset(100, 95, 110).ahead_ms, -5);
        assert_eq!(offset(100, 170, 110).ahead_ms, 60);
    }
}
