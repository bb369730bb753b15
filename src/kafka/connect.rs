//! Opens a worker's connection to its cluster: checks the topics, notes their ends, makes the three handles.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tracing::info;

use crate::stream::SourceError;

use super::client::{PlainContext, create};
use super::end_offsets::{EndOffsets, Probe, watermarks_of_all};
use super::membership::{GroupConsumer, Membership};
use super::producer::Writer;
use super::session::Session;
use super::settings::Settings;
use super::sink::KafkaSink;
use super::source::KafkaSource;
use super::state_log::KafkaStateLog;
use super::topics;

/// The handles of one worker, which belong together.
pub struct Connection {
    /// Reads the sources.
    pub source: KafkaSource,
    /// Commits epochs.
    pub sink: KafkaSink,
    /// Reads the logged state; must be called before the source is.
    pub state_log: KafkaStateLog,
}

/// Asks for the number of shards that the pipeline was first started with; none before its first start.
pub fn shards(settings: &Settings) -> Result<Option<u32>, SourceError> {
    settings.check()?;
    let probe: Probe = create(&settings.probe(), PlainContext::default())?;
    let state = settings.state_topic();
    let found = topics::existing(settings, &probe, &BTreeSet::from([state.clone()]))?;
    Ok(found.get(&state).and_then(|n| u32::try_from(*n).ok()))
}

/// Connects a worker to its cluster.
///
/// Topics that are missing are an error that names them all, or are made if `create_topics` says so: with the broker's default
/// number of partitions and replicas, the state topic with one partition a shard. What the topics hold now is what the worker
/// catches up with. Fails with [`SourceError::Unreachable`] when the brokers do not answer within 10 seconds.
pub fn connect(settings: Settings, create_topics: bool) -> Result<Connection, SourceError> {
    settings.check()?;
    let probe: Arc<Probe> = Arc::new(create(&settings.probe(), PlainContext::default())?);
    let partitions = topics::partitions(&settings, &probe, create_topics)?;
    let limits = topics::limits(&settings)?;
    let consumer: Arc<GroupConsumer> = Arc::new(create(&settings.group_consumer(), Membership::default())?);
    let session = Arc::new(Session::new(settings.clone(), consumer, partitions));
    let sources = session.source_partitions().into_iter();
    let topics = sources.filter_map(|p| settings.topic(&p.relation).map(str::to_owned).map(|topic| (p, topic)));
    let at_start = watermarks_of_all(&probe, &settings.brokers, topics.collect())?;
    let n_records: i64 = at_start.values().map(|ends| ends.high - ends.low).sum();
    info!(pipeline = settings.pipeline, n_partitions = at_start.len(), n_records, "connected");
    let ends = EndOffsets::new(probe.clone(), at_start.len())?;
    let writer = Arc::new(Mutex::new(Writer::new(settings, limits)));
    Ok(Connection {
        source: KafkaSource::new(session.clone(), at_start, ends)?,
        sink: KafkaSink::new(session.clone(), writer.clone()),
        state_log: KafkaStateLog::new(session, writer, probe),
    })
}
