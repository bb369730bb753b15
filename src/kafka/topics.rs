//! The topics of a pipeline: which exist, which are missing, how they are set, and making the missing ones.

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use std::time::{Duration, Instant};
use tracing::{info, warn};

use crate::stream::SourceError;

use super::client::{ANSWER_TIMEOUT, PlainContext, create, serve_events};
use super::end_offsets::Probe;
use super::settings::Settings;

/// Lets the broker choose the number of replicas.
const BROKER_DEFAULT: TopicReplication<'static> = TopicReplication::Fixed(-1);
/// How long a new topic may take to show.
const CREATION_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the number of partitions of every topic of the pipeline, after making those that are missing if that is allowed.
pub(super) fn partitions(
    settings: &Settings,
    probe: &Probe,
    create_topics: bool,
) -> Result<BTreeMap<String, i32>, SourceError> {
    let found = present(settings, probe, &wanted_topics(settings), create_topics)?;
    let state = settings.state_topic();
    let n_shards = found.get(&state).copied().unwrap_or(0);
    if i64::from(n_shards) != i64::from(settings.shards) {
        return Err(SourceError::Configuration(format!(
            "topic `{state}` has {n_shards} partitions, but the pipeline has {} shards; their number is fixed at the first start",
            settings.shards
        )));
    }
    Ok(found)
}

/// The number of partitions of the `wanted` topics, after making those that are missing if that is allowed.
fn present(
    settings: &Settings,
    probe: &Probe,
    wanted: &BTreeSet<String>,
    create_topics: bool,
) -> Result<BTreeMap<String, i32>, SourceError> {
    let mut found = existing(settings, probe, wanted)?;
    let missing: Vec<&String> = wanted.iter().filter(|t| !found.contains_key(*t)).collect();
    if !missing.is_empty() {
        let names = missing.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(", ");
        if !create_topics {
            return Err(SourceError::Configuration(format!(
                "missing topics: {names}; create them, or start with `--create-topics`"
            )));
        }
        make(settings, &missing)?;
        let started = Instant::now();
        while !wanted.iter().all(|t| found.contains_key(t)) {
            if started.elapsed() > CREATION_TIMEOUT {
                return Err(SourceError::Configuration(format!("topics {names} were created but do not show yet")));
            }
            std::thread::sleep(Duration::from_millis(100));
            found = existing(settings, probe, wanted)?;
        }
    }
    Ok(found)
}

/// Makes topics that are missing, or names them in an error.
pub fn ensure_topics(settings: &Settings, wanted: &BTreeSet<String>, create_topics: bool) -> Result<(), SourceError> {
    let probe: Probe = create(&settings.probe(), PlainContext::default())?;
    present(settings, &probe, wanted, create_topics).map(|_| ())
}

fn wanted_topics(settings: &Settings) -> BTreeSet<String> {
    let sources = settings.sources.iter().map(|s| s.topic.clone());
    sources
        .chain(settings.outputs.values().cloned())
        .chain([settings.state_topic(), settings.undeliverable_topic()])
        .collect()
}

/// The number of partitions of those of the `wanted` topics that exist.
pub(super) fn existing(
    settings: &Settings,
    probe: &Probe,
    wanted: &BTreeSet<String>,
) -> Result<BTreeMap<String, i32>, SourceError> {
    // All topics at once: a question for one topic would create it where the broker is set to do so.
    let answer = probe.fetch_metadata(None, ANSWER_TIMEOUT);
    serve_events(probe);
    let metadata = answer.map_err(|e| probe.context().connection.explain("list its topics", &settings.brokers, &e))?;
    let mut found = BTreeMap::new();
    for topic in metadata.topics().iter().filter(|t| wanted.contains(t.name())) {
        match topic.error() {
            None | Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => {}
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => continue,
            Some(other) => {
                let code = RDKafkaErrorCode::from(other);
                return Err(SourceError::Configuration(format!("topic `{}`: {code}", topic.name())));
            }
        }
        let n_partitions = topic.partitions().len() as i32;
        let has_leaders = topic.partitions().iter().all(|p| p.leader() >= 0);
        if n_partitions > 0 && has_leaders {
            found.insert(topic.name().to_owned(), n_partitions);
        } else if n_partitions > 0 {
            warn!(topic = topic.name(), "a partition has no leader at the moment");
            found.insert(topic.name().to_owned(), n_partitions);
        }
    }
    Ok(found)
}

pub(super) fn admin(settings: &Settings) -> Result<AdminClient<PlainContext>, SourceError> {
    create(&settings.admin(), PlainContext::default())
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).operation_timeout(Some(ANSWER_TIMEOUT))
}

/// How missing topics are made.
fn new_topics<'a>(settings: &Settings, missing: impl Iterator<Item = &'a String>) -> Vec<NewTopic<'a>> {
    let (state, audit) = (settings.state_topic(), settings.audit_topic());
    let new = |name: &'a String| {
        if *name == state {
            NewTopic::new(name, settings.shards.try_into().unwrap_or(i32::MAX), BROKER_DEFAULT)
                .set("cleanup.policy", "delete")
                .set("retention.ms", "-1")
                .set("retention.bytes", "-1")
        } else if *name == audit {
            // One trail in one order, kept for as long as nobody deletes it.
            NewTopic::new(name, 1, BROKER_DEFAULT).set("retention.ms", "-1").set("retention.bytes", "-1")
        } else {
            NewTopic::new(name, -1, BROKER_DEFAULT)
        }
    };
    missing.map(new).collect()
}

fn make(settings: &Settings, missing: &[&String]) -> Result<(), SourceError> {
    let new = new_topics(settings, missing.iter().copied());
    let admin = admin(settings)?;
    let made = block_on(admin.create_topics(&new, &options()))
        .map_err(|e| SourceError::Configuration(format!("could not create topics: {e}")))?;
    for outcome in made {
        match outcome {
            Ok(topic) => info!(topic, "created topic"),
            Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => info!(topic, "topic exists by now"),
            Err((topic, code)) => {
                return Err(SourceError::Configuration(format!("could not create topic `{topic}`: {code}")));
            }
        }
    }
    Ok(())
}

/// What the cluster has against making topics, by topic; nothing is made.
pub(super) fn objections(
    settings: &Settings,
    missing: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, SourceError> {
    let new = new_topics(settings, missing.iter());
    let admin = admin(settings)?;
    let asked = block_on(admin.create_topics(&new, &options().validate_only(true)))
        .map_err(|e| SourceError::Configuration(format!("could not ask whether topics may be created: {e}")))?;
    Ok(asked.into_iter().filter_map(Result::err).map(|(topic, code)| (topic, code.to_string())).collect())
}

/// Checks that the state topic keeps everything, and returns the greatest batch each written topic takes.
///
/// A client that may not ask for the topics' settings goes on with a warning and Kafka's defaults.
pub(super) fn limits(settings: &Settings) -> Result<BTreeMap<String, usize>, SourceError> {
    if settings.simulated {
        return Ok(BTreeMap::new());
    }
    let state = settings.state_topic();
    let written: BTreeSet<&str> = settings.outputs.values().map(String::as_str).chain([state.as_str()]).collect();
    let resources: Vec<ResourceSpecifier<'_>> = written.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
    let admin = admin(settings)?;
    let answers = match block_on(admin.describe_configs(&resources, &options())) {
        Ok(answers) => answers,
        Err(error) => return unknown_limits(&error),
    };
    let mut limits = BTreeMap::new();
    for answer in answers {
        let resource = match answer {
            Ok(resource) => resource,
            Err(code) => {
                unknown_limits(&KafkaError::AdminOp(code))?;
                continue;
            }
        };
        let OwnedResourceSpecifier::Topic(topic) = &resource.specifier else { continue };
        if *topic == state {
            check_state_topic(topic, &resource)?;
        }
        if let Some(limit) = value(&resource, "max.message.bytes").and_then(|v| v.parse().ok()) {
            limits.insert(topic.clone(), limit);
        }
    }
    Ok(limits)
}

fn unknown_limits(error: &KafkaError) -> Result<BTreeMap<String, usize>, SourceError> {
    warn!(%error, "could not read the topics' settings; the state topic must have cleanup.policy=delete and retention.ms=-1");
    Ok(BTreeMap::new())
}

fn value<'a>(resource: &'a ConfigResource, name: &str) -> Option<&'a str> {
    resource.get(name).and_then(|entry| entry.value.as_deref())
}

/// The state topic alone restores everything, so nothing may ever be deleted from it but by ourselves.
fn check_state_topic(topic: &str, resource: &ConfigResource) -> Result<(), SourceError> {
    for (name, wanted) in [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")] {
        match value(resource, name) {
            Some(found) if found != wanted => {
                return Err(SourceError::Configuration(format!(
                    "topic `{topic}` has {name}={found}, but the state needs {name}={wanted}"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}
