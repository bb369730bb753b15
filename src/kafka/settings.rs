//! What a worker must know of its cluster, and the librdkafka configuration of its clients.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::stream::{OutputTopic, SourceError};

/// How long the broker keeps a transaction open whose worker has gone silent. Below the session timeout, so that a worker
/// that lost its membership cannot still commit.
pub(super) const TRANSACTION_TIMEOUT_MS: u64 = 30_000;
/// How long a record may take to be acknowledged; librdkafka wants it below the transaction's timeout.
const MESSAGE_TIMEOUT_MS: u64 = 25_000;
/// How long the group waits for a worker that has gone silent before it gives its partitions away.
const SESSION_TIMEOUT_MS: u64 = 45_000;
/// How long a worker may take between two polls: an epoch, or the run of the plan that follows a restore.
const MAX_POLL_INTERVAL_MS: u64 = 600_000;
/// How much a relation's queue may hold before it is not fetched any more, so what a paused relation costs in memory.
const PREFETCH_KBYTES: u64 = 16 * 1024;
/// How soon partitions that are added to a topic are found.
const METADATA_REFRESH_MS: u64 = 30_000;
/// How often clients say how they are.
const STATISTICS_INTERVAL_MS: u64 = 5_000;
/// The demo broker answers a fetch that finds nothing only when its wait is over, not when a record comes.
pub(super) const DEMO_FETCH_WAIT_MS: u32 = 5;

/// Properties that exactly-once rests on; they cannot be set from outside.
pub(super) const OWN_PROPERTIES: [&str; 21] = [
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "session.timeout.ms",
    "test.mock.num.brokers",
    "transaction.timeout.ms",
    "transactional.id",
];

/// A source relation and its topic.
#[derive(Clone, Debug)]
pub struct SourceTopic {
    /// The relation's name.
    pub relation: Arc<str>,
    /// The topic it is read from.
    pub topic: String,
    /// Whether the relation is a table.
    pub is_table: bool,
    /// After how long without a record a partition that was read to its end is idle; none: never.
    pub idle_timeout_ms: Option<u64>,
}

/// How a worker reaches its cluster and what it reads and writes there.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Bootstrap servers, `host:port` separated by commas.
    pub brokers: String,
    /// The pipeline's name: the consumer group, and the prefix of the state topic and the transactional ids.
    pub pipeline: String,
    /// The number of this worker, stable over restarts, from 0.
    pub instance: u32,
    /// Further librdkafka properties, for instance `security.protocol`, `sasl.*` and `ssl.*`.
    pub properties: BTreeMap<String, String>,
    /// The topics that are read.
    pub sources: Vec<SourceTopic>,
    /// The topics that are written.
    pub outputs: BTreeMap<OutputTopic, String>,
    /// Topics whose records are compressed in another way than `properties` say, and the codec, as `compression.type` has it.
    pub compression: BTreeMap<String, &'static str>,
    /// Sinks that may write PRIVATE columns: of a row of theirs that cannot be delivered, not even the key is shown elsewhere.
    pub private_sinks: BTreeSet<Arc<str>>,
    /// The number of partitions of the state topic.
    pub shards: u32,
    /// Whether the broker is a [`super::DemoBroker`], which knows no admin requests, so that topics' settings are not checked.
    pub simulated: bool,
}

/// The topic of a pipeline's audit trail.
pub fn audit_topic(pipeline: &str) -> String {
    format!("{pipeline}.audit")
}

impl Settings {
    /// The topic of the pipeline's logged state.
    pub fn state_topic(&self) -> String {
        format!("{}.state", self.pipeline)
    }

    /// The topic of the pipeline's audit trail.
    pub fn audit_topic(&self) -> String {
        audit_topic(&self.pipeline)
    }

    /// The topic that says which rows their own topics did not take.
    pub fn undeliverable_topic(&self) -> String {
        format!("{}.undeliverable", self.pipeline)
    }

    /// The name of this worker in the group and as a writer of transactions.
    pub fn worker(&self) -> String {
        format!("{}-{}", self.pipeline, self.instance)
    }

    /// The relation that is read from `topic`.
    pub(super) fn relation(&self, topic: &str) -> Option<&SourceTopic> {
        self.sources.iter().find(|s| s.topic == topic)
    }

    /// The topic that `relation` is read from.
    pub(super) fn topic(&self, relation: &str) -> Option<&str> {
        self.sources.iter().find(|s| &*s.relation == relation).map(|s| s.topic.as_str())
    }

    /// Refuses settings that cannot work, before any connection is made.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        let refuse = |text: String| Err(SourceError::Configuration(text));
        if self.pipeline.is_empty() || !self.pipeline.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return refuse(format!(
                "pipeline name `{}` may hold only letters, digits, `.`, `_` and `-`",
                self.pipeline
            ));
        }
        if self.shards == 0 {
            return refuse("a pipeline needs at least one shard".to_owned());
        }
        if let Some(own) = self.properties.keys().find(|p| OWN_PROPERTIES.contains(&p.as_str())) {
            return refuse(format!("Kafka property `{own}` is set by curb and cannot be changed"));
        }
        for (idx, source) in self.sources.iter().enumerate() {
            if let Some(other) = self.sources.iter().take(idx).find(|o| o.topic == source.topic) {
                return refuse(format!(
                    "relations `{}` and `{}` both read topic `{}`; declare one and derive the other from it",
                    other.relation, source.relation, source.topic
                ));
            }
        }
        Ok(())
    }

    /// How the client of a role names itself to the cluster.
    fn client_id(&self, role: &str) -> String {
        self.properties.get("client.id").cloned().unwrap_or_else(|| format!("{}-{role}", self.worker()))
    }

    /// How this worker's member of the group names itself.
    pub(super) fn member_client_id(&self) -> String {
        self.client_id("source")
    }

    fn base(&self, role: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.extend(self.properties.clone());
        config.set("bootstrap.servers", &self.brokers);
        config.set("allow.auto.create.topics", "false");
        // What is shown is for the subscriber of the log to decide.
        let debug = self.properties.contains_key("debug");
        config.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        config.set("client.id", self.client_id(role));
        if !self.properties.contains_key("statistics.interval.ms") && matches!(role, "source" | "sink") {
            config.set("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_string());
        }
        // A broker that is back must be found soon: an open transaction waits for it.
        if !self.properties.contains_key("reconnect.backoff.max.ms") {
            config.set("reconnect.backoff.max.ms", "2000");
        }
        config
    }

    fn reader(&self, role: &str) -> ClientConfig {
        let mut config = self.base(role);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error");
        config.set("enable.partition.eof", "true");
        if !self.properties.contains_key("topic.metadata.refresh.interval.ms") {
            config.set("topic.metadata.refresh.interval.ms", METADATA_REFRESH_MS.to_string());
        }
        config.set("queued.max.messages.kbytes", PREFETCH_KBYTES.to_string());
        if self.simulated {
            config.set("fetch.wait.max.ms", DEMO_FETCH_WAIT_MS.to_string());
        }
        config
    }

    /// The worker's membership in the group; it also fetches the sources.
    pub(super) fn group_consumer(&self) -> ClientConfig {
        let mut config = self.reader("source");
        config.set("group.id", &self.pipeline);
        // The demo broker keeps the place of a worker that has gone, and gives it to nobody, not even under the same name.
        if !self.simulated {
            config.set("group.instance.id", self.worker());
        }
        config.set("partition.assignment.strategy", "range");
        config.set("isolation.level", "read_committed");
        config.set("session.timeout.ms", SESSION_TIMEOUT_MS.to_string());
        if !self.properties.contains_key("max.poll.interval.ms") {
            config.set("max.poll.interval.ms", MAX_POLL_INTERVAL_MS.to_string());
        }
        config
    }

    /// Reads the state topic. It never joins the group, but librdkafka wants a group for every assignment.
    pub(super) fn state_consumer(&self) -> ClientConfig {
        let mut config = self.reader("restore");
        config.set("group.id", &self.pipeline);
        config.set("isolation.level", "read_committed");
        config
    }

    /// Asks for high watermarks. A read_committed client would be told the stable offset instead, and miss the last epoch
    /// while its commit markers are still being written (KAFKA-10167).
    pub(super) fn probe(&self) -> ClientConfig {
        let mut config = self.base("probe");
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// Asks for and makes topics.
    pub(super) fn admin(&self) -> ClientConfig {
        self.base("admin")
    }

    /// Writes records of simulated sources; not in transactions.
    pub(super) fn feeder(&self) -> ClientConfig {
        let mut config = self.base("feed");
        config.set("enable.idempotence", "true");
        config.set("delivery.report.only.error", "true");
        config.set("partitioner", "murmur2_random");
        config
    }

    /// The writer of this worker's transactions.
    pub(super) fn producer(&self, largest_record_bytes: usize, batch_bytes: usize) -> ClientConfig {
        let mut config = self.base("sink");
        config.set("transactional.id", self.worker());
        config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string());
        config.set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string());
        config.set("enable.idempotence", "true");
        config.set("delivery.report.only.error", "true");
        config.set("partitioner", "murmur2_random");
        config.set("message.max.bytes", largest_record_bytes.clamp(1_000, 1_000_000_000).to_string());
        config.set("batch.size", batch_bytes.clamp(1, i32::MAX as usize).to_string());
        let defaults = [
            ("compression.type", "lz4"),
            ("queue.buffering.max.messages", "500000"),
            ("queue.buffering.max.kbytes", "262144"),
        ];
        for (name, value) in defaults {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        config
    }
}
