//! What source, sink and state log of one worker share: the membership, and how far the pipeline has been committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::groups::GroupList;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use crate::stream::{SourceError, SourcePartition};

use super::client::ANSWER_TIMEOUT;
use super::failure::read_failure;
use super::membership::GroupConsumer;
use super::settings::Settings;

/// How long a worker waits for the group to give it all partitions. Above the session timeout, so that it outlasts a worker
/// that has died under another name.
const ASSIGNMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// What the source has to do before it reads on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The state is not that of the committed positions; it must be restored. Says why.
    Unrestored(String),
    /// The state was restored; read from its positions.
    Rewind,
    /// Everything handed over so far counts.
    Reading,
}

/// How far the pipeline has come.
#[derive(Debug)]
struct Progress {
    standing: Standing,
    committed: BTreeMap<SourcePartition, i64>,
    assignment: u64,
}

/// One worker's share in its group.
pub(super) struct Session {
    pub(super) settings: Settings,
    pub(super) consumer: Arc<GroupConsumer>,
    partitions: Mutex<BTreeMap<String, i32>>,
    progress: Mutex<Progress>,
}

impl Session {
    pub(super) fn new(settings: Settings, consumer: Arc<GroupConsumer>, partitions: BTreeMap<String, i32>) -> Self {
        let progress = Progress {
            standing: Standing::Unrestored("nothing was restored yet".to_owned()),
            committed: BTreeMap::new(),
            assignment: 0,
        };
        Self { settings, consumer, partitions: Mutex::new(partitions), progress: Mutex::new(progress) }
    }

    /// The number of partitions by topic: as the cluster told at start, and of sources as the group told since.
    pub(super) fn partitions(&self) -> BTreeMap<String, i32> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of partitions of a topic.
    pub(super) fn n_partitions(&self, topic: &str) -> i32 {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions of all sources, in order.
    pub(super) fn source_partitions(&self) -> Vec<SourcePartition> {
        self.settings
            .sources
            .iter()
            .flat_map(|s| {
                (0..self.n_partitions(&s.topic)).map(|p| SourcePartition { relation: s.relation.clone(), partition: p })
            })
            .collect()
    }

    /// Serves the group: rebalances, errors, logs. Must be called often.
    pub(super) fn serve(&self) -> Result<(), SourceError> {
        let group = format!("group `{}`", self.settings.pipeline);
        // One call serves one event, and does not tell a silent event from none.
        for _ in 0..64 {
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                Some(Ok(record)) => {
                    use rdkafka::Message;
                    let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
                    self.require_restore("a record came past its queue");
                    return Err(SourceError::AssignmentLost(format!(
                        "topic `{topic}` partition {partition}: offset {offset} came past its queue"
                    )));
                }
                Some(Err(error)) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                    if let Some(failure) = read_failure(code, &group, &error.to_string()) {
                        return Err(failure);
                    }
                }
            }
        }
        match self.consumer.client().fatal_error() {
            None => Ok(()),
            Some((code, text)) => Err(read_failure(code, &group, &text)
                .unwrap_or_else(|| SourceError::Policy(format!("{group}: the Kafka client gave up: {text}")))),
        }
    }

    /// Waits until the group has given all partitions to this worker, and returns the number of that assignment.
    pub(super) fn wait_until_assigned(&self) -> Result<u64, SourceError> {
        let mut topics: Vec<&str> = self.settings.sources.iter().map(|s| s.topic.as_str()).collect();
        let state = self.settings.state_topic();
        topics.push(&state);
        self.wait_until_answered(ASSIGNMENT_TIMEOUT)?;
        let subscribed = self.consumer.subscription().is_ok_and(|s| s.count() > 0);
        if !subscribed {
            self.wait_until_alone()?;
            self.consumer.subscribe(&topics).map_err(|e| {
                SourceError::Configuration(format!("could not subscribe to {}: {e}", topics.join(", ")))
            })?;
        }
        let started = Instant::now();
        loop {
            match self.serve() {
                // That the old assignment was lost is no news: a new one is waited for.
                Ok(()) | Err(SourceError::AssignmentLost(_)) => {}
                Err(error) => return Err(error),
            }
            let assignment = self.consumer.context().assignment();
            self.take_new_partitions(&assignment.partitions)?;
            let wanted: i32 = topics.iter().map(|t| self.n_partitions(t)).sum();
            if assignment.partitions.len() >= wanted as usize && !self.consumer.assignment_lost() {
                info!(
                    number = assignment.number,
                    n_partitions = assignment.partitions.len(),
                    "all partitions assigned"
                );
                self.prove_membership()?;
                return Ok(assignment.number);
            }
            if started.elapsed() > ASSIGNMENT_TIMEOUT {
                // A cluster that is gone gives nobody anything.
                self.wait_until_answered(Duration::ZERO)?;
                return Err(self.unassigned(assignment.partitions.len(), wanted));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the cluster answers at all, at least once.
    fn wait_until_answered(&self, patience: Duration) -> Result<(), SourceError> {
        let started = Instant::now();
        loop {
            let Err(error) = self.consumer.fetch_metadata(Some(&self.settings.state_topic()), ANSWER_TIMEOUT) else {
                return Ok(());
            };
            match self.serve() {
                Ok(()) | Err(SourceError::AssignmentLost(_)) => {}
                Err(failure) => return Err(failure),
            }
            if started.elapsed() > patience {
                let connection = &self.consumer.context().connection;
                return Err(connection.explain("join its group", &self.settings.brokers, &error));
            }
        }
    }

    /// Asks the group's coordinator whether this worker is still the member that it believes to be.
    ///
    /// A worker that was stopped for long and goes on does not know yet that another has taken its place. The proof is a
    /// commit to the state topic's own partition, which nothing reads: only the current member's is taken.
    pub(super) fn prove_membership(&self) -> Result<(), SourceError> {
        if self.settings.simulated {
            return Ok(());
        }
        let state = self.settings.state_topic();
        let group = format!("group `{}`", self.settings.pipeline);
        let started = Instant::now();
        loop {
            let mut proof = TopicPartitionList::new();
            let (_, end) = self.consumer.fetch_watermarks(&state, 0, ANSWER_TIMEOUT).unwrap_or((0, 0));
            proof
                .add_partition_offset(&state, 0, Offset::Offset(end))
                .map_err(|e| SourceError::Policy(format!("topic `{state}`: {e}")))?;
            let Err(error) = self.consumer.commit(&proof, CommitMode::Sync) else { return Ok(()) };
            self.serve()?;
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            match read_failure(code, &group, &error.to_string()) {
                Some(failure) => return Err(failure),
                None if code == RDKafkaErrorCode::RebalanceInProgress || started.elapsed() > ANSWER_TIMEOUT => {
                    return Err(SourceError::AssignmentLost(format!(
                        "{group} did not confirm the membership: {error}"
                    )));
                }
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Waits until no worker of another number is a member: to join would take partitions from it, and stop both.
    ///
    /// A worker of the same number is replaced instead. One that has died is a member until its session ends.
    fn wait_until_alone(&self) -> Result<(), SourceError> {
        if self.settings.simulated {
            return Ok(());
        }
        let started = Instant::now();
        let mut was_told = false;
        loop {
            let others = match self.consumer.fetch_group_list(Some(&self.settings.pipeline), ANSWER_TIMEOUT) {
                Ok(list) => self.others(&list),
                Err(error) => {
                    warn!(%error, "could not ask for the members of the group");
                    return Ok(());
                }
            };
            if others.is_empty() {
                return Ok(());
            }
            let others = others.join(", ");
            if started.elapsed() > ASSIGNMENT_TIMEOUT {
                return Err(SourceError::Policy(format!(
                    "group `{}` has another member: {others}; a pipeline has one worker, so stop that one first, or start \
                     this one with its instance number to replace it",
                    self.settings.pipeline
                )));
            }
            if !was_told {
                info!(others, "waiting for other members of the group to leave");
                was_told = true;
            }
            self.serve()?;
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// The client ids of the group's members, our own left out.
    fn others(&self, groups: &GroupList) -> Vec<String> {
        let own = self.settings.member_client_id();
        let members = groups.groups().iter().flat_map(|g| g.members());
        members.filter(|m| m.client_id() != own).map(|m| format!("`{}`", m.client_id())).collect()
    }

    /// Takes note of partitions that were added to a source topic; they are read from their beginning.
    fn take_new_partitions(&self, assigned: &BTreeSet<(String, i32)>) -> Result<(), SourceError> {
        let state = self.settings.state_topic();
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, partition) in assigned {
            let known = partitions.entry(topic.clone()).or_default();
            if partition < known {
                continue;
            }
            if *topic == state {
                return Err(SourceError::Policy(format!(
                    "topic `{topic}` had {known} partitions at start and has more now; its partitions are the pipeline's \
                     shards, whose number is fixed: state that lies under other numbers would not be found again"
                )));
            }
            warn!(
                topic,
                before = *known,
                after = partition + 1,
                "partitions were added; a key's records may lie in two partitions now, whose order is not kept"
            );
            *known = partition + 1;
        }
        Ok(())
    }

    fn unassigned(&self, n_assigned: usize, wanted: i32) -> SourceError {
        let (worker, group) = (self.settings.worker(), &self.settings.pipeline);
        SourceError::Policy(format!(
            "worker `{worker}` was given {n_assigned} of {wanted} partitions of group `{group}` within {} s; another member \
             holds the others, and a worker handles records only when it has all of them",
            ASSIGNMENT_TIMEOUT.as_secs()
        ))
    }

    /// Begins reading at `positions`, which belong to the assignment numbered `assignment`.
    pub(super) fn restored(&self, positions: BTreeMap<SourcePartition, i64>, assignment: u64) {
        *self.lock() = Progress { standing: Standing::Rewind, committed: positions, assignment };
    }

    /// Takes note of what was committed.
    pub(super) fn committed(&self, positions: BTreeMap<SourcePartition, i64>) {
        self.lock().committed.extend(positions);
    }

    /// Whether `positions` are just those that were committed last.
    pub(super) fn is_last_committed(&self, positions: &BTreeMap<SourcePartition, i64>) -> bool {
        self.lock().committed == *positions
    }

    /// Whether `positions` say no more than what was committed before.
    pub(super) fn is_committed(&self, positions: &BTreeMap<SourcePartition, i64>) -> bool {
        let progress = self.lock();
        positions.iter().all(|(p, offset)| progress.committed.get(p) == Some(offset))
    }

    /// Whether everything handed over so far counts.
    pub(super) fn is_reading(&self) -> bool {
        self.lock().standing == Standing::Reading
    }

    /// Lets the source read on; returns where from if it must go back first.
    pub(super) fn begin_reading(&self) -> Option<BTreeMap<SourcePartition, i64>> {
        let mut progress = self.lock();
        let rewind = progress.standing == Standing::Rewind;
        if rewind {
            progress.standing = Standing::Reading;
        }
        rewind.then(|| progress.committed.clone())
    }

    /// Refuses to go on until the state was restored.
    pub(super) fn require_restore(&self, why: &str) {
        self.lock().standing = Standing::Unrestored(why.to_owned());
    }

    /// Fails unless the state was restored under the assignment that holds now.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        let mut progress = self.lock();
        let has_changed = self.consumer.assignment_lost() || self.consumer.context().number() != progress.assignment;
        if has_changed && !matches!(progress.standing, Standing::Unrestored(_)) {
            progress.standing = Standing::Unrestored("the group has changed its assignment".to_owned());
        }
        match &progress.standing {
            Standing::Unrestored(why) => Err(SourceError::AssignmentLost(why.clone())),
            _ => Ok(()),
        }
    }
}
