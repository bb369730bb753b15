//! The consumer group: who is in it, how far it has come, and whether it is this pipeline's.

use std::collections::BTreeMap;

use super::finding::{Findings, listed};
use super::topics::Topics;
use crate::kafka::{GroupFacts, Inspection, Settings, TopicPositions};

const CHECK: &str = "group";

/// Returns the group, if there is one.
pub(super) fn look(
    settings: &Settings,
    topics: &Topics,
    inspection: &Inspection,
    findings: &mut Findings,
) -> Option<GroupFacts> {
    let name = &settings.pipeline;
    let group = match inspection.group() {
        Ok(group) => group,
        Err(reason) => {
            findings.problem(
                "rights",
                &format!("group `{name}` may not be seen: {reason}"),
                &format!("allow this user Read and Describe on group {name}"),
            );
            return None;
        }
    };
    match &group {
        None => findings.ok(CHECK, &format!("`{name}` is not in use: no pipeline of that name has run, or long ago")),
        Some(group) if group.members.is_empty() => {
            findings.ok(CHECK, &format!("`{name}` has no members: no worker runs"))
        }
        Some(group) => of_members(settings, topics, group, findings),
    }
    if topics.roles.len() > 1 {
        of_positions(settings, topics, group.as_ref(), inspection, findings);
    }
    group
}

fn of_members(settings: &Settings, topics: &Topics, group: &GroupFacts, findings: &mut Findings) {
    let name = &settings.pipeline;
    let own_prefix = format!("{name}.");
    let is_own = |topic: &String| topics.roles.contains_key(topic) || topic.starts_with(&own_prefix);
    // Without a pack nothing is known of what it reads.
    let knows_topics = topics.roles.len() > 1;
    for member in &group.members {
        let who = member.instance_id.as_deref().unwrap_or(&member.client_id);
        let place = format!("`{who}` at {}", member.host.trim_start_matches('/'));
        let foreign: Vec<&str> =
            member.topics.iter().filter(|topic| knows_topics && !is_own(topic)).map(String::as_str).collect();
        let is_worker = member.instance_id.as_deref().is_some_and(|id| id.starts_with(&format!("{name}-")));
        if !foreign.is_empty() {
            findings.problem(
                CHECK,
                &format!("{place} is a member of `{name}` and reads {}, which the pack does not: another pipeline or program", listed(foreign)),
                "choose another --pipeline NAME for this pack, or end the other one",
            );
        } else if !is_worker {
            findings.problem(
                CHECK,
                &format!("{place} is a member of `{name}` and no worker of curb"),
                "choose another --pipeline NAME, or give that program a group of its own",
            );
        } else if member.instance_id.as_deref() == Some(&settings.worker()) {
            findings.warning(
                CHECK,
                &format!("{place} is in the group: it runs, or has ended less than a minute ago"),
                "a start with the same --instance takes its place, and it ends with exit code 5; for a second worker give \
                 another --instance",
            );
        } else {
            findings.ok(CHECK, &format!("worker {place} runs"));
        }
    }
}

/// Committed offsets against what the topics hold and the state says. Kafka forgets the offsets of a topic that is deleted; the
/// state does not.
fn of_positions(
    settings: &Settings,
    topics: &Topics,
    group: Option<&GroupFacts>,
    inspection: &Inspection,
    findings: &mut Findings,
) {
    let committed = match inspection.committed() {
        Ok(committed) => committed,
        Err(reason) => {
            findings.skip(CHECK, "how far the group has come", &reason);
            return;
        }
    };
    let n_shards = topics.facts.get(&settings.state_topic()).and_then(|f| f.as_ref().ok()).map(|f| f.partitions.len());
    let logged = match n_shards.map(|n| inspection.logged(n)).transpose() {
        Ok(logged) => logged.unwrap_or_default(),
        Err(reason) => {
            findings.skip(CHECK, "how far the state has come", &reason);
            TopicPositions::new()
        }
    };
    // A running worker commits between the two questions.
    if group.is_none_or(|group| group.members.is_empty()) {
        of_difference(settings, &committed, &logged, findings);
    }
    let mut positions = logged;
    for (topic, partitions) in committed {
        positions.entry(topic).or_default().extend(partitions);
    }
    let committed = positions;
    if committed.is_empty() {
        return;
    }
    let name = &settings.pipeline;
    let gone = topics.missing();
    for topic in committed.keys().filter(|topic| gone.contains(*topic)) {
        findings.problem(
            CHECK,
            &format!("`{name}` has read `{topic}`, which does not exist any more: it was deleted under the pipeline"),
            "make the topic again and give the pipeline a fresh start with `curb state reset --yes`",
        );
    }
    let own_prefix = format!("{name}.");
    let other: Vec<&str> = committed
        .keys()
        .filter(|topic| !topics.roles.contains_key(*topic) && !topic.starts_with(&own_prefix))
        .map(String::as_str)
        .collect();
    if !other.is_empty() {
        findings.warning(
            CHECK,
            &format!(
                "`{name}` has also read {}, which the pack does not: an earlier version of it, or another pack",
                listed(other)
            ),
            "if it was another pack, choose another --pipeline NAME for this one",
        );
    }
    let read: BTreeMap<String, usize> = topics
        .found()
        .filter(|(topic, role, _)| role.is_read() && committed.contains_key(*topic))
        .map(|(topic, _, facts)| (topic.clone(), facts.partitions.len()))
        .collect();
    let ranges = match inspection.ranges(&read) {
        Ok(ranges) => ranges,
        Err(reason) => {
            findings.skip(CHECK, "the lag", &reason);
            return;
        }
    };
    let (mut lag, mut is_sound) = (0, true);
    for (topic, partitions) in &committed {
        for (partition, position) in partitions {
            let Some((low, high)) = ranges.get(topic).and_then(|r| r.get(partition)).copied() else { continue };
            let place = format!("`{topic}` partition {partition}");
            let (text, remedy) = if *position > high {
                (
                    format!("{place} ends at {high}, but was read up to {position}: the topic was made anew"),
                    "give the pipeline a fresh start with `curb state reset --yes`",
                )
            } else if *position < low {
                (
                    format!(
                        "{place} begins at {low}, but was read only up to {position}: {} records were deleted unread",
                        low - position
                    ),
                    "keep records longer than the pipeline may stand still; go on from a fresh start with `curb state reset --yes`",
                )
            } else {
                lag += high - position;
                continue;
            };
            findings.problem(CHECK, &text, remedy);
            is_sound = false;
        }
    }
    if is_sound && !read.is_empty() {
        findings.ok(CHECK, &format!("`{name}` has still to read {lag} records of {} topics", read.len()));
    }
}

/// Offsets that somebody has set by hand: a worker refuses to go on from them.
fn of_difference(settings: &Settings, committed: &TopicPositions, logged: &TopicPositions, findings: &mut Findings) {
    for (topic, partitions) in logged {
        for (partition, position) in partitions {
            let Some(found) = committed.get(topic).and_then(|c| c.get(partition)).filter(|found| *found != position)
            else {
                continue;
            };
            findings.problem(
                CHECK,
                &format!(
                    "`{}` stands at {found} in `{topic}` partition {partition}, but its state was written at {position}: a worker does \
                     not start so",
                    settings.pipeline
                ),
                "offsets were changed by hand: set them back, or delete the group to go on from the state, or start afresh with `curb \
                 state reset --yes`",
            );
            return;
        }
    }
}
