//! A cluster as a pipeline will find it, asked before anything is started: who answers, what the topics are like, what this
//! user may do, who is in the group, whether transactions work. Facts only; what they mean for an operator others decide.
//!
//! Nothing is written but the registration of the transactional id `<pipeline>-doctor`, which no worker has.

mod request;
mod server;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::consumer::Consumer;

use crate::stream::{SourceError, SourcePartition};

use super::client::{ANSWER_TIMEOUT, PlainContext, create, serve_events};
use super::end_offsets::{Probe, watermarks_of_all};
use super::settings::Settings;
use super::state_admin::TopicPositions;
use super::state_reader::read_state;
use super::topics;

pub use server::{ServerFacts, ServerFault, ServerInfo, inspect_servers};
pub use transactions::{ClockOffset, TransactionFault};

/// How long a group's coordinator may take to be found.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(10);

/// So many records at the end of each shard's state are read to find the last epoch.
const STATE_TAIL_RECORDS: i64 = 20;
/// How long that may take: an open transaction holds it up.
const STATE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a user may be allowed to do with a topic, a group or the cluster, as Kafka's ACLs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Read records, or take part in a group.
    Read,
    /// Write records.
    Write,
    /// Make topics.
    Create,
    /// Delete a topic or records of it.
    Delete,
    /// Change a topic.
    Alter,
    /// See that it exists.
    Describe,
    /// See its settings.
    DescribeConfigs,
    /// Change its settings.
    AlterConfigs,
}

impl Operation {
    /// As Kafka's tools want it written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Alter => "Alter",
            Self::Describe => "Describe",
            Self::DescribeConfigs => "DescribeConfigs",
            Self::AlterConfigs => "AlterConfigs",
        }
    }
}

/// What this user may do; none where the cluster does not say.
pub type Operations = Option<BTreeSet<Operation>>;

/// One partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    /// Whether some broker leads it.
    pub has_leader: bool,
    /// How many brokers hold it.
    pub n_replicas: usize,
    /// How many of these are up to date.
    pub n_in_sync: usize,
}

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// Its partitions.
    pub partitions: Vec<PartitionFacts>,
    /// What this user may do with it.
    pub operations: Operations,
}

/// Why nothing is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicFault {
    /// It does not exist.
    Missing,
    /// This user may not see whether it does.
    Denied,
    /// Something else, in the cluster's words.
    Other(String),
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// How it names itself.
    pub client_id: String,
    /// Its stable name: `<pipeline>-<instance>` of a worker.
    pub instance_id: Option<String>,
    /// Where it runs.
    pub host: String,
    /// The topics of the partitions that it was given.
    pub topics: BTreeSet<String>,
}

/// A consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFacts {
    /// As Kafka names it: Empty, Stable, PreparingRebalance, ..
    pub state: String,
    /// Its members.
    pub members: Vec<GroupMember>,
    /// What this user may do with it.
    pub operations: Operations,
}

/// A cluster that answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// What this user may do with the cluster as a whole.
    pub operations: Operations,
}

/// Asks a cluster that answers.
pub struct Inspection {
    settings: Settings,
    probe: Probe,
}

/// What a question got instead of an answer: the cluster's words.
pub type Unanswered = String;

impl Inspection {
    /// Makes the client that asks. Settings that no client takes are an error.
    pub fn open(settings: Settings) -> Result<Self, SourceError> {
        let probe = create(&settings.probe(), PlainContext::default())?;
        Ok(Self { settings, probe })
    }

    fn client(&self) -> *mut rdkafka::bindings::rd_kafka_t {
        self.probe.client().native_ptr()
    }

    /// What this user may do with the cluster.
    pub fn cluster(&self) -> Result<ClusterFacts, Unanswered> {
        let answer = request::cluster(self.client());
        serve_events(&self.probe);
        answer
    }

    /// What there is to know of topics, one by one.
    pub fn topics(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Result<TopicFacts, TopicFault>>, Unanswered> {
        let answer = request::topics(self.client(), names);
        serve_events(&self.probe);
        answer
    }

    /// The settings of topics. A topic whose settings this user may not see has the reason instead.
    pub fn topic_settings(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, Unanswered> {
        let resources: Vec<ResourceSpecifier<'_>> = names.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
        self.described(&resources)
    }

    /// The settings of a broker.
    pub fn broker_settings(&self, id: i32) -> Result<BTreeMap<String, String>, Unanswered> {
        let answer = self.described(&[ResourceSpecifier::Broker(id)])?;
        answer.into_values().next().ok_or_else(|| "the broker does not tell its settings".to_owned())
    }

    /// By name, of those that may be seen. If none may, that is the answer.
    fn described(
        &self,
        resources: &[ResourceSpecifier<'_>],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, Unanswered> {
        let admin = topics::admin(&self.settings).map_err(|e| e.to_string())?;
        let answers = block_on(admin.describe_configs(resources, &topics::options())).map_err(|e| e.to_string())?;
        let mut found = BTreeMap::new();
        let mut refused = None;
        for answer in answers {
            match answer {
                Ok(resource) => {
                    let name = match &resource.specifier {
                        OwnedResourceSpecifier::Topic(name) | OwnedResourceSpecifier::Group(name) => name.clone(),
                        OwnedResourceSpecifier::Broker(id) => id.to_string(),
                    };
                    let entries = resource.entries.into_iter();
                    found.insert(name, entries.filter_map(|e| Some((e.name, e.value?))).collect());
                }
                Err(code) => refused = Some(code.to_string()),
            }
        }
        match (found.is_empty(), refused) {
            (true, Some(reason)) => Err(reason),
            _ => Ok(found),
        }
    }

    /// Whether topics could be made, without making them: the cluster's objection for each that could not.
    pub fn could_create(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Unanswered> {
        topics::objections(&self.settings, names).map_err(|e| e.to_string())
    }

    /// The pipeline's consumer group; none where there is none.
    pub fn group(&self) -> Result<Option<GroupFacts>, Unanswered> {
        let started = Instant::now();
        loop {
            let answer = request::group(self.client(), &self.settings.pipeline);
            serve_events(&self.probe);
            match answer {
                // The first question to a new cluster makes the topic of the groups; until that is there nobody knows.
                Err(reason) if started.elapsed() < COORDINATOR_TIMEOUT && !reason.contains("uthoriz") => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                answer => return answer,
            }
        }
    }

    /// The offsets that the pipeline's group has committed, of all topics.
    pub fn committed(&self) -> Result<TopicPositions, Unanswered> {
        let answer = request::committed(self.client(), &self.settings.pipeline);
        serve_events(&self.probe);
        answer
    }

    /// The positions that the last epoch in the state topic was logged with; none where there is no state.
    pub fn logged(&self, n_shards: usize) -> Result<TopicPositions, Unanswered> {
        let state = self.settings.state_topic();
        let held = self.ranges(&BTreeMap::from([(state.clone(), n_shards)]))?.remove(&state).unwrap_or_default();
        let tail = |(shard, (low, high)): (i32, (i64, i64))| (shard, (high - STATE_TAIL_RECORDS).max(low)..high);
        let started = Instant::now();
        let mut serve = || match started.elapsed() > STATE_TIMEOUT {
            true => Err(SourceError::Io(format!("the end of `{state}` could not be read in time"))),
            false => Ok(()),
        };
        let read = read_state(&self.settings, &held.into_iter().map(tail).collect(), &mut serve, &mut |_, _| Ok(()));
        Ok(read.map_err(|e| e.to_string())?.last.map(|header| header.positions).unwrap_or_default())
    }

    /// By topic and partition the first offset that is there, and the one behind the last.
    pub fn ranges(
        &self,
        topics: &BTreeMap<String, usize>,
    ) -> Result<BTreeMap<String, BTreeMap<i32, (i64, i64)>>, Unanswered> {
        let of_topic = |(topic, n): (&String, &usize)| {
            let relation: std::sync::Arc<str> = topic.as_str().into();
            let partition = move |p| SourcePartition { relation: relation.clone(), partition: p };
            let topic = topic.clone();
            (0..*n as i32).map(move |p| (partition(p), topic.clone())).collect::<Vec<_>>()
        };
        let asked = topics.iter().flat_map(of_topic).collect();
        let found = watermarks_of_all(&self.probe, &self.settings.brokers, asked).map_err(|e| e.to_string())?;
        let mut ranges: BTreeMap<String, BTreeMap<i32, (i64, i64)>> = BTreeMap::new();
        for (p, marks) in found {
            ranges.entry(p.relation.to_string()).or_default().insert(p.partition, (marks.low, marks.high));
        }
        Ok(ranges)
    }

    /// Registers as a writer of transactions, as a worker will, and compares the clocks on that occasion: the cluster notes the
    /// time of a registration in a topic of its own. No clock where this user may not read that topic.
    pub fn transactions(&self) -> Result<Option<ClockOffset>, TransactionFault> {
        transactions::register(&self.settings, &self.probe)
    }
}

/// How long one question may take, in milliseconds.
fn patience_ms() -> i32 {
    ANSWER_TIMEOUT.as_millis() as i32
}
