//! How far the group has committed, and with which epoch.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use crate::stream::{SourceError, SourcePartition};

use super::client::ANSWER_TIMEOUT;
use super::session::Session;

/// How long committed offsets may be held back by transactions of earlier workers.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(60);

/// What the group's coordinator keeps of the last committed epoch.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// For each source partition the next offset to read.
    pub(super) positions: BTreeMap<SourcePartition, i64>,
    /// The number of the epoch, which is the metadata of its offsets; none where they were written by something else.
    pub(super) epoch: Option<u64>,
}

/// Asks for the committed offsets. The client waits for transactions that are being committed (`require_stable`).
pub(super) fn committed_offsets(session: &Session) -> Result<Committed, SourceError> {
    let answer = ask(session)?;
    let mut committed = Committed::default();
    for element in answer.elements() {
        element.error().map_err(|e| {
            let (topic, partition) = (element.topic(), element.partition());
            SourceError::Configuration(format!("topic `{topic}` partition {partition}: no committed offset: {e}"))
        })?;
        if let (Offset::Offset(offset), Some(source)) = (element.offset(), session.settings.relation(element.topic())) {
            let partition = SourcePartition { relation: source.relation.clone(), partition: element.partition() };
            committed.positions.insert(partition, offset);
            committed.epoch = committed.epoch.max(element.metadata().parse().ok());
        }
    }
    Ok(committed)
}

fn ask(session: &Session) -> Result<TopicPartitionList, SourceError> {
    let wanted = session.source_partitions();
    let started = Instant::now();
    loop {
        let mut list = TopicPartitionList::new();
        for p in &wanted {
            if let Some(topic) = session.settings.topic(&p.relation) {
                list.add_partition(topic, p.partition);
            }
        }
        let asked = session.consumer.committed_offsets(list, ANSWER_TIMEOUT);
        session.serve()?;
        match asked {
            Ok(answer) => return Ok(answer),
            Err(error) if started.elapsed() > OFFSETS_TIMEOUT => {
                let question = format!("read the offsets of group `{}`", session.settings.pipeline);
                let connection = &session.consumer.context().connection;
                return Err(connection.explain(&question, &session.settings.brokers, &error));
            }
            Err(error) => warn!(%error, "could not read the committed offsets, trying again"),
        }
    }
}
