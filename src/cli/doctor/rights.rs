//! What this user may do, against what a worker does; transactions; and the clock, which shows on that occasion.

use std::collections::BTreeMap;

use super::finding::{Findings, listed};
use super::topics::Topics;
use crate::kafka::{GroupFacts, Inspection, Operation, Settings, TopicFault, TransactionFault};

const CHECK: &str = "rights";
const TRANSACTIONS: &str = "transactions";
const CLOCK: &str = "clock";
/// A difference of clocks that shows in idle partitions, `wait` and `settle`.
const CLOCK_WARNING_MS: i64 = 1_000;
/// One that makes windows close at the wrong time.
const CLOCK_PROBLEM_MS: i64 = 30_000;

pub(super) fn look(
    settings: &Settings,
    topics: &Topics,
    group: Option<&GroupFacts>,
    inspection: &Inspection,
    findings: &mut Findings,
) {
    let n_before = findings.n(super::Level::Problem);
    of_topics(topics, findings);
    of_group(settings, group, findings);
    if findings.n(super::Level::Problem) == n_before {
        findings.ok(CHECK, "this user may do with topics and group what a worker does");
    }
    of_transactions(settings, group, inspection, findings);
}

fn of_topics(topics: &Topics, findings: &mut Findings) {
    let denied = topics.facts.iter().filter(|(_, facts)| matches!(facts, Err(TopicFault::Denied)));
    let denied: Vec<&str> = denied.map(|(name, _)| name.as_str()).collect();
    for name in &denied {
        let needs = topics.roles.get(*name).map_or(&[][..], |role| role.needs());
        findings.problem(
            CHECK,
            &format!("this user may not see topic `{name}`"),
            &allow(needs, &format!("--topic {name}")),
        );
    }
    let mut lacking: BTreeMap<Vec<Operation>, Vec<&str>> = BTreeMap::new();
    for (name, role, facts) in topics.found() {
        let Some(allowed) = &facts.operations else { continue };
        let lacks: Vec<Operation> = role.needs().iter().copied().filter(|needed| !allowed.contains(needed)).collect();
        if !lacks.is_empty() {
            lacking.entry(lacks).or_default().push(name);
        }
    }
    for (operations, names) in lacking {
        let words: Vec<&str> = operations.iter().map(|o| o.name()).collect();
        let first = names.first().copied().unwrap_or_default();
        let text = format!("this user lacks {} on {}", words.join(", "), listed(names.iter().copied()));
        // Settings are only looked at, and only the state topic is ever shortened.
        match operations.iter().all(|o| matches!(o, Operation::DescribeConfigs)) {
            true => findings.warning(CHECK, &text, &allow(&operations, &format!("--topic {first}"))),
            false => findings.problem(CHECK, &text, &allow(&operations, &format!("--topic {first}"))),
        }
    }
}

fn of_group(settings: &Settings, group: Option<&GroupFacts>, findings: &mut Findings) {
    let Some(allowed) = group.and_then(|g| g.operations.as_ref()) else { return };
    if !allowed.contains(&Operation::Read) {
        let name = &settings.pipeline;
        let text = format!("this user lacks Read on group `{name}`: a worker could not join it");
        findings.problem(CHECK, &text, &allow(&[Operation::Read], &format!("--group {name}")));
    }
}

fn allow(operations: &[Operation], resource: &str) -> String {
    let operations: Vec<String> = operations.iter().map(|o| format!("--operation {}", o.name())).collect();
    format!("kafka-acls.sh --add --allow-principal User:... {} {resource}", operations.join(" "))
}

fn of_transactions(settings: &Settings, group: Option<&GroupFacts>, inspection: &Inspection, findings: &mut Findings) {
    let name = &settings.pipeline;
    match inspection.transactions() {
        Ok(clock) => {
            findings.ok(TRANSACTIONS, "a writer of transactions was registered, with the timeout that a worker uses");
            match clock {
                Some(clock) => of_clock(clock.ahead_ms, clock.uncertainty_ms, findings),
                None => findings.skip(CLOCK, "the clocks were not compared", "this user may not read __transaction_state, where a broker's time shows"),
            }
        }
        Err(TransactionFault::Denied(id)) => {
            let remedy = format!(
                "kafka-acls.sh --add --allow-principal User:... --operation Write --operation Describe --transactional-id {name}- \
                 --resource-pattern-type prefixed"
            );
            let text = format!("this user may not write transactions as `{id}`");
            // A worker that runs has the right for its own id; a right for that id alone is enough for it.
            match group.is_some_and(|g| !g.members.is_empty()) {
                true => findings.warning(TRANSACTIONS, &format!("{text}; the worker that runs may, as `{name}-N`"), &remedy),
                false => findings.problem(TRANSACTIONS, &text, &remedy),
            }
        }
        Err(TransactionFault::TimeoutTooLarge(wanted_ms)) => findings.problem(
            TRANSACTIONS,
            &format!("the brokers end transactions sooner than the {wanted_ms} ms that a worker asks for"),
            &format!("set transaction.max.timeout.ms of the brokers to {wanted_ms} or more (Kafka's own default is 900000)"),
        ),
        Err(TransactionFault::Other(reason)) => findings.problem(
            TRANSACTIONS,
            &format!("no writer of transactions could be registered: {reason}"),
            "the coordinator's topic needs as many brokers as transaction.state.log.replication.factor and .min.isr say; see the brokers' log",
        ),
    }
}

fn of_clock(ahead_ms: i64, uncertainty_ms: i64, findings: &mut Findings) {
    let seconds = |ms: i64| format!("{:.1} s", ms as f64 / 1000.0);
    if ahead_ms.abs() <= CLOCK_WARNING_MS {
        findings.ok(CLOCK, &format!("agrees with a broker's, within {} ms", ahead_ms.abs() + uncertainty_ms));
        return;
    }
    let direction = if ahead_ms > 0 { "behind" } else { "ahead of" };
    let text = format!("this machine is {} {direction} a broker", seconds(ahead_ms.abs()));
    let remedy = "let both follow one time server (chronyc tracking); partitions that are idle, `wait`, `settle` and max_future go by this clock";
    match ahead_ms.abs() >= CLOCK_PROBLEM_MS {
        true => findings.problem(CLOCK, &text, remedy),
        false => findings.warning(CLOCK, &text, remedy),
    }
}
