//! The topics of a pipeline: are they there, do they have the partitions, the copies and the settings that they need.

use std::collections::{BTreeMap, BTreeSet};

use super::DoctorArgs;
use super::finding::{Findings, Level, listed};
use crate::catalog::RelationKind;
use crate::cli::load::Loaded;
use crate::kafka::{Inspection, Operation, Settings, TopicFacts, TopicFault};
use crate::stream::OutputTopic;

const CHECK: &str = "topics";
const STATE: &str = "state";
/// Kafka's own limit of a batch of records; a topic below it takes less than others do.
const USUAL_LIMIT_BYTES: u64 = 1_048_588;
/// With a limit below this, state deltas and rows of any size do not fit.
const LEAST_LIMIT_BYTES: u64 = 100_000;
const DAY_MS: i64 = 86_400_000;

/// What a topic is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A stream is read from it.
    Stream,
    /// A table is read from it, whose rows are kept so long; none: for ever.
    Table { retention_ms: Option<i64> },
    /// A sink that overwrites by key.
    Upsert,
    /// A sink that appends.
    Append,
    /// Late, rejected and undeliverable records.
    Refused,
    /// The audit trail.
    Audit,
    /// The logged state.
    State,
}

impl Role {
    /// What a worker does with such a topic.
    pub(super) fn needs(&self) -> &'static [Operation] {
        use Operation::{Delete, Describe, DescribeConfigs, Read, Write};
        match self {
            Self::Stream | Self::Table { .. } => &[Read, Describe],
            Self::State => &[Read, Write, Describe, DescribeConfigs, Delete],
            _ => &[Write, Describe, DescribeConfigs],
        }
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Stream | Self::Table { .. })
    }
}

/// The topics of a pipeline, and what the cluster said of them.
#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) roles: BTreeMap<String, Role>,
    pub(super) facts: BTreeMap<String, Result<TopicFacts, TopicFault>>,
}

impl Topics {
    /// Those that exist.
    pub(super) fn found(&self) -> impl Iterator<Item = (&String, &Role, &TopicFacts)> {
        self.facts.iter().filter_map(|(name, facts)| Some((name, self.roles.get(name)?, facts.as_ref().ok()?)))
    }

    pub(super) fn missing(&self) -> BTreeSet<String> {
        let is_missing =
            |(_, facts): &(&String, &Result<TopicFacts, TopicFault>)| matches!(facts, Err(TopicFault::Missing));
        self.facts.iter().filter(is_missing).map(|(name, _)| name.clone()).collect()
    }
}

pub(super) fn look(
    args: &DoctorArgs,
    settings: &Settings,
    loaded: Option<&Loaded>,
    inspection: &Inspection,
    findings: &mut Findings,
) -> Topics {
    let mut topics = Topics { roles: roles(settings, loaded), facts: BTreeMap::new() };
    match inspection.topics(&topics.roles.keys().cloned().collect()) {
        Ok(facts) => topics.facts = facts,
        Err(reason) => {
            findings.problem(
                CHECK,
                &format!("the cluster does not describe its topics: {reason}"),
                "look into the brokers' log",
            );
            return topics;
        }
    }
    of_presence(args, &topics, inspection, findings);
    of_copies(&topics, findings);
    of_partitions(args, settings, &topics, findings);
    of_settings(&topics, inspection, findings);
    topics
}

fn roles(settings: &Settings, loaded: Option<&Loaded>) -> BTreeMap<String, Role> {
    let mut roles = BTreeMap::from([(settings.state_topic(), Role::State)]);
    let Some(loaded) = loaded else { return roles };
    roles.insert(settings.undeliverable_topic(), Role::Refused);
    for definition in &loaded.catalog.sources {
        let Some(topic) = &definition.topic else { continue };
        let role = match definition.kind {
            RelationKind::Stream => Role::Stream,
            RelationKind::Table => Role::Table { retention_ms: definition.retention_ms },
        };
        roles.entry(topic.clone()).or_insert(role);
    }
    for (output, topic) in &settings.outputs {
        let role = match output {
            OutputTopic::Sink(name) => match loaded.pipeline.sinks.iter().any(|s| s.name == *name && s.upsert) {
                true => Role::Upsert,
                false => Role::Append,
            },
            OutputTopic::Late(_) | OutputTopic::Rejected(_) => Role::Refused,
            OutputTopic::Audit => Role::Audit,
        };
        roles.entry(topic.clone()).or_insert(role);
    }
    roles
}

fn of_presence(args: &DoctorArgs, topics: &Topics, inspection: &Inspection, findings: &mut Findings) {
    let n_found = topics.found().count();
    if n_found > 0 {
        findings.ok(CHECK, &format!("{n_found} of {} topics exist", topics.roles.len()));
    }
    for (name, facts) in &topics.facts {
        if let Err(TopicFault::Other(reason)) = facts {
            findings.problem(CHECK, &format!("`{name}`: {reason}"), "look into the brokers' log");
        }
    }
    let missing = topics.missing();
    let is_read = |name: &&String| topics.roles.get(*name).is_some_and(Role::is_read);
    let sources: Vec<&str> = missing.iter().filter(is_read).map(String::as_str).collect();
    let others: Vec<&str> = missing.iter().filter(|name| !is_read(name)).map(String::as_str).collect();
    if missing.is_empty() {
        return;
    }
    if !args.may_create() {
        if let Some(first) = sources.first() {
            let names: Vec<String> = sources.iter().map(|name| format!("`{name}`")).collect();
            findings.problem(
                CHECK,
                &format!("{} to be read do not exist: {}", count(sources.len(), "topic"), names.join(", ")),
                &format!(
                    "correct the name in the pack, or make it: kafka-topics.sh --create --topic {first}, or start with --create-topics"
                ),
            );
        }
        if !others.is_empty() {
            let level = if n_found > 0 || args.pack.is_some() { Level::Problem } else { Level::Warning };
            findings.add(
                level,
                CHECK,
                &format!("{} to be written do not exist: {}", count(others.len(), "topic"), listed(others)),
                Some("start once with --create-topics, or make them as they should be"),
            );
        }
        return;
    }
    match inspection.could_create(&missing) {
        Err(reason) => findings.problem(
            "rights",
            &format!(
                "whether the {} that are missing may be made is not known: {reason}",
                count(missing.len(), "topic")
            ),
            "allow Create on the cluster, or make them by hand",
        ),
        Ok(objections) => {
            for (name, reason) in &objections {
                findings.problem(
                    "rights",
                    &format!("`{name}` is missing and could not be made: {reason}"),
                    "allow this user Create on the cluster or on the topic, or make it by hand",
                );
            }
            if objections.is_empty() {
                let names = listed(missing.iter().map(String::as_str));
                findings.ok(CHECK, &format!("{} will be made at the start: {names}", count(missing.len(), "topic")));
            }
        }
    }
}

fn of_copies(topics: &Topics, findings: &mut Findings) {
    let names = |is: &dyn Fn(&TopicFacts) -> bool| {
        topics.found().filter(|(_, _, facts)| is(facts)).map(|(name, _, _)| name.as_str()).collect::<Vec<_>>()
    };
    let leaderless = names(&|facts| facts.partitions.iter().any(|p| !p.has_leader));
    if !leaderless.is_empty() {
        let text = format!("partitions without a leader: {}", listed(leaderless));
        findings.problem(CHECK, &text, "start the brokers that hold them; nothing of them can be read or written now");
    }
    let behind = names(&|facts| facts.partitions.iter().any(|p| p.n_in_sync < p.n_replicas));
    if !behind.is_empty() {
        let text = format!("copies that are not up to date: {}", listed(behind));
        findings.warning(CHECK, &text, "a broker is down or slow; look at the cluster");
    }
    let single = names(&|facts| facts.partitions.iter().any(|p| p.n_replicas == 1));
    if !single.is_empty() {
        let text = format!(
            "{} only one copy: {}",
            if single.len() == 1 { "topic has" } else { "topics have" },
            listed(single)
        );
        findings.warning(
            CHECK,
            &text,
            "three replicas survive the loss of a broker; one does not, and the state topic restores everything",
        );
    }
}

fn of_partitions(args: &DoctorArgs, settings: &Settings, topics: &Topics, findings: &mut Findings) {
    let n_partitions = |name: &str| topics.facts.get(name).and_then(|f| f.as_ref().ok()).map(|f| f.partitions.len());
    let state = settings.state_topic();
    if let Some((n, wanted)) = n_partitions(&state).zip(args.shards())
        && n != wanted as usize
    {
        findings.problem(
            STATE,
            &format!("`{state}` has {}, but --shards is {wanted}", count(n, "partition")),
            &format!(
                "leave --shards out to go on with {n}; or, where the state may go, `curb state reset --yes` and start again: the \
                 number is fixed at the first start"
            ),
        );
    }
    for (name, role, facts) in topics.found() {
        if *role == Role::Audit && facts.partitions.len() != 1 {
            let text = format!(
                "audit topic `{name}` has {} partitions: its records have no single order",
                facts.partitions.len()
            );
            findings.problem(CHECK, &text, "make it again with one partition, and retention.ms=-1");
        }
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

type Values = BTreeMap<String, String>;

/// Topics about which the same is to be said, said once.
#[derive(Default)]
struct Alike(BTreeMap<(Level, &'static str, String, String), Vec<String>>);

impl Alike {
    fn add(&mut self, level: Level, check: &'static str, name: &str, text: String, remedy: String) {
        self.0.entry((level, check, text, remedy)).or_default().push(name.to_owned());
    }

    fn tell(self, findings: &mut Findings) {
        for ((level, check, text, remedy), names) in self.0 {
            let names = listed(names.iter().map(String::as_str));
            findings.add(level, check, &format!("{names}: {text}"), Some(&remedy));
        }
    }
}

fn of_settings(topics: &Topics, inspection: &Inspection, findings: &mut Findings) {
    let names: BTreeSet<String> = topics.found().map(|(name, _, _)| name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let all = match inspection.topic_settings(&names) {
        Ok(all) => all,
        Err(reason) => {
            findings.warning(
                "rights",
                &format!("the topics' settings may not be seen ({reason}): message limits and retention are not known"),
                "allow this user DescribeConfigs on the topics",
            );
            return;
        }
    };
    let mut alike = Alike::default();
    for (name, role, facts) in topics.found() {
        let Some(values) = all.get(name) else { continue };
        of_limit(name, role, values, &mut alike);
        of_minimum(name, role, values, facts, &mut alike);
        match role {
            Role::State => of_state(name, values, findings),
            _ => of_cleanup(name, role, values, &mut alike),
        }
    }
    alike.tell(findings);
}

fn number(values: &Values, name: &str) -> Option<i64> {
    values.get(name)?.parse().ok()
}

fn alter(name: &str, change: &str) -> String {
    format!("kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {change}")
}

fn of_limit(name: &str, role: &Role, values: &Values, alike: &mut Alike) {
    let Some(limit) =
        number(values, "max.message.bytes").and_then(|n| u64::try_from(n).ok()).filter(|_| !role.is_read())
    else {
        return;
    };
    if limit >= USUAL_LIMIT_BYTES {
        return;
    }
    let level = if limit < LEAST_LIMIT_BYTES { Level::Problem } else { Level::Warning };
    let what = match role {
        Role::State => "state deltas that are larger stop the worker",
        _ => "rows that are larger are left out and told in the undeliverable topic",
    };
    alike.add(
        level,
        CHECK,
        name,
        format!("takes records of at most {limit} bytes; {what}"),
        alter(name, &format!("max.message.bytes={USUAL_LIMIT_BYTES}")),
    );
}

fn of_minimum(name: &str, role: &Role, values: &Values, facts: &TopicFacts, alike: &mut Alike) {
    let Some(least) = number(values, "min.insync.replicas").and_then(|n| usize::try_from(n).ok()) else { return };
    if role.is_read() {
        return;
    }
    let n_replicas = facts.partitions.iter().map(|p| p.n_replicas).min().unwrap_or(0);
    let n_in_sync = facts.partitions.iter().map(|p| p.n_in_sync).min().unwrap_or(0);
    if least > n_replicas {
        let text = format!("min.insync.replicas={least} with {n_replicas} replicas: nothing can be written");
        alike.add(
            Level::Problem,
            CHECK,
            name,
            text,
            alter(name, &format!("min.insync.replicas={}", n_replicas.saturating_sub(1).max(1))),
        );
    } else if least > n_in_sync {
        let text = format!(
            "only {n_in_sync} copies are up to date, but min.insync.replicas={least}: nothing can be written now"
        );
        alike.add(Level::Problem, CHECK, name, text, "start the brokers that hold the other copies".into());
    } else if least == n_replicas && n_replicas > 1 {
        let text =
            format!("min.insync.replicas={least} is the number of replicas: one broker that is down stops writing");
        alike.add(Level::Warning, CHECK, name, text, alter(name, &format!("min.insync.replicas={}", least - 1)));
    } else if least == 1 && n_replicas > 1 {
        let text =
            "min.insync.replicas=1: what was committed is lost with one broker, if no copy was up to date".to_owned();
        alike.add(Level::Warning, CHECK, name, text, alter(name, "min.insync.replicas=2"));
    }
}

/// The state topic alone restores everything, so nothing may ever be deleted from it but by curb.
fn of_state(name: &str, values: &Values, findings: &mut Findings) {
    let mut is_sound = true;
    for (setting, wanted, why) in [
        ("cleanup.policy", "delete", "compaction would delete deltas that are needed"),
        ("retention.ms", "-1", "what is deleted with time cannot be restored"),
        ("retention.bytes", "-1", "what is deleted for its size cannot be restored"),
    ] {
        if let Some(found) = values.get(setting).filter(|found| *found != wanted) {
            let text = format!(
                "`{name}` has {setting}={found}, but the state needs {setting}={wanted}: {why}; curb does not start so"
            );
            findings.problem(STATE, &text, &alter(name, &format!("{setting}={wanted}")));
            is_sound = false;
        }
    }
    if is_sound {
        findings.ok(STATE, &format!("`{name}` keeps everything"));
    }
}

fn of_cleanup(name: &str, role: &Role, values: &Values, alike: &mut Alike) {
    let policy = values.get("cleanup.policy").map_or("", String::as_str);
    let (deletes, compacts) = (policy.contains("delete"), policy.contains("compact"));
    let kept_ms = number(values, "retention.ms").filter(|ms| deletes && *ms >= 0);
    let days = |ms: i64| format!("{:.1} days", ms as f64 / DAY_MS as f64);
    match (role, kept_ms) {
        (Role::Table { retention_ms }, Some(ms)) if retention_ms.is_none_or(|wanted| ms < wanted) => {
            let text = format!(
                "a table is read from it, but rows are deleted after {}: a first start or a reset does not see them",
                days(ms)
            );
            alike.add(Level::Warning, CHECK, name, text, alter(name, "cleanup.policy=compact"));
        }
        (Role::Upsert, Some(ms)) => {
            let text = format!(
                "the latest row of each key is written there, but deleted after {}: who reads it later misses rows",
                days(ms)
            );
            alike.add(Level::Warning, CHECK, name, text, alter(name, "cleanup.policy=compact"));
        }
        (Role::Audit, Some(ms)) => {
            let text =
                format!("the audit trail is deleted after {}: `curb why` cannot check it from its start", days(ms));
            alike.add(Level::Warning, CHECK, name, text, alter(name, "retention.ms=-1"));
        }
        _ => {}
    }
    if compacts && matches!(role, Role::Stream | Role::Append | Role::Audit) {
        let text = "it is compacted: of records with the same key only the last one stays".to_owned();
        let level = if *role == Role::Stream { Level::Warning } else { Level::Problem };
        alike.add(level, CHECK, name, text, alter(name, "cleanup.policy=delete"));
    }
}
