//! The worker's place in the consumer group: which partitions it was given, and how often that has changed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};
use tracing::{error, info};

use super::client::ConnectionLog;
use super::statistics::{Reported, any_is_up};
use crate::metrics;
use crate::stream::Contact;

/// The consumer that holds the membership and fetches the sources.
pub(super) type GroupConsumer = BaseConsumer<Membership>;

/// What the group has given to this worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Assignment {
    /// Counts every assignment and revocation: whoever remembers an older number has lost its partitions.
    pub(super) number: u64,
    /// Topics and partitions.
    pub(super) partitions: BTreeSet<(String, i32)>,
}

/// The context of the group's consumer.
#[derive(Default)]
pub(super) struct Membership {
    pub(super) connection: ConnectionLog,
    /// Whether any broker answers.
    pub(super) contact: Contact,
    reported: Reported,
    assignment: Mutex<Assignment>,
}

impl Membership {
    pub(super) fn assignment(&self) -> Assignment {
        self.lock().clone()
    }

    pub(super) fn number(&self) -> u64 {
        self.lock().number
    }

    fn lock(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.connection.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.contact.note(any_is_up(&statistics));
        self.reported.show("source", &statistics);
    }
}

impl ConsumerContext for Membership {
    /// Takes note of the new assignment and fetches nothing yet: where to start is known only after the state was restored.
    ///
    /// IMPORTANT: the number changes before librdkafka is told to go on. It takes part in the group's next generation only
    /// after that, so a commit that saw the old number on both sides of reading the group's metadata cannot carry the new
    /// generation with positions of the old one.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let is_assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let listed =
            partitions.elements().iter().map(|p| (p.topic().to_owned(), p.partition())).collect::<BTreeSet<_>>();
        let number = {
            let mut assignment = self.lock();
            assignment.number += 1;
            assignment.partitions = if is_assigned { listed.clone() } else { BTreeSet::new() };
            assignment.number
        };
        let (kind, n_partitions) = if is_assigned { ("assigned", listed.len()) } else { ("revoked", 0) };
        metrics::count_rebalance(kind, n_partitions);
        info!(kind, n_partitions = listed.len(), generation = number, "group changed its assignment");
        let done = if is_assigned { consumer.assign(&TopicPartitionList::new()) } else { consumer.unassign() };
        if let Err(error) = done {
            error!(%error, "could not answer the group's assignment");
        }
    }
}
