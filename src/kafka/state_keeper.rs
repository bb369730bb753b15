//! Work on the state topic that must not hold up an epoch: asks where partitions end, deletes what is not needed any more,
//! and reads beside the worker. All of it on other threads than the worker's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use futures::executor::block_on;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use crate::metrics;
use crate::stream::{Delta, LogFollower, SourceError};

use super::client::{PlainContext, create, serve_events};
use super::end_offsets::{Probe, Watermarks, watermarks};
use super::settings::Settings;
use super::state_reader::read_state;
use super::topics;

/// At most so many tasks wait; one that finds no room is not done, and will be given again.
const TASKS_MAX: usize = 64;

enum Task {
    AskEnd(u32),
    Cut { shard: u32, before: i64 },
}

/// A thread that asks for ends and deletes. Ends with its owner.
pub(super) struct StateKeeper {
    tasks: Sender<Task>,
    ends: Receiver<(u32, Option<i64>)>,
}

impl StateKeeper {
    pub(super) fn start(settings: Settings) -> Result<Self, SourceError> {
        let (tasks, given) = bounded(TASKS_MAX);
        let (answers, ends) = bounded(TASKS_MAX);
        std::thread::Builder::new()
            .name("curb-state".to_owned())
            .spawn(move || work(&settings, &given, &answers))
            .map_err(|e| SourceError::Io(format!("could not start a thread: {e}")))?;
        Ok(Self { tasks, ends })
    }

    /// Asks where a shard's partition ends. False when there is too much to do.
    pub(super) fn ask_end(&self, shard: u32) -> bool {
        self.tasks.try_send(Task::AskEnd(shard)).is_ok()
    }

    pub(super) fn take_ends(&self) -> Vec<(u32, Option<i64>)> {
        self.ends.try_iter().collect()
    }

    pub(super) fn cut(&self, shard: u32, before: i64) {
        if self.tasks.try_send(Task::Cut { shard, before }).is_err() {
            warn!(shard, before, "state that was rewritten is not deleted yet: too much to do");
        }
    }
}

fn work(settings: &Settings, tasks: &Receiver<Task>, answers: &Sender<(u32, Option<i64>)>) {
    let mut probe: Option<Probe> = None;
    loop {
        match tasks.recv_timeout(Duration::from_secs(1)) {
            Ok(Task::AskEnd(shard)) => {
                let range = committed_range(settings, &mut probe, shard);
                let range = range.inspect_err(|error| warn!(%error, shard, "the state topic cannot be rewritten now"));
                if answers.try_send((shard, range.ok().map(|r| r.end))).is_err() {
                    return;
                }
            }
            Ok(Task::Cut { shard, before }) => match delete(settings, shard, before) {
                Ok(()) => {
                    metrics::count_state_cut("deleted");
                    info!(shard, before, "state topic: deleted what was rewritten");
                }
                Err(error) => {
                    metrics::count_state_cut("failed");
                    let topic = settings.state_topic();
                    warn!(%error, topic, shard, before, "state that was rewritten could not be deleted; it takes space and \
                          makes restarts slower until it can");
                }
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        probe.iter().for_each(serve_events);
    }
}

/// What a partition holds up to its stable offset, which lies between two transactions of the worker.
fn committed_range(settings: &Settings, probe: &mut Option<Probe>, shard: u32) -> Result<Range<i64>, SourceError> {
    let probe = match probe {
        Some(probe) => probe,
        // It reads committed, so that the end told is the stable offset.
        None => probe.insert(create(&settings.state_consumer(), PlainContext::default())?),
    };
    let Watermarks { low, high } = watermarks(probe, &settings.brokers, &settings.state_topic(), partition(shard)?)?;
    Ok(low..high.max(low))
}

fn partition(shard: u32) -> Result<i32, SourceError> {
    i32::try_from(shard).map_err(|_| SourceError::Configuration(format!("shard {shard} does not exist")))
}

/// Deletes the records of a partition before an offset.
fn delete(settings: &Settings, shard: u32, before: i64) -> Result<(), SourceError> {
    let failed = |error: KafkaError| SourceError::Io(error.to_string());
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&settings.state_topic(), partition(shard)?, Offset::Offset(before)).map_err(failed)?;
    let admin = topics::admin(settings)?;
    let deleted = block_on(admin.delete_records(&offsets, &topics::options())).map_err(failed)?;
    deleted.elements().iter().try_for_each(|element| element.error()).map_err(failed)
}

/// Reads the state topic beside the worker.
pub(super) struct StateFollower {
    settings: Settings,
    probe: Option<Probe>,
}

impl StateFollower {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, probe: None }
    }
}

impl LogFollower for StateFollower {
    fn range(&mut self, shard: u32) -> Result<Range<i64>, SourceError> {
        committed_range(&self.settings, &mut self.probe, shard)
    }

    fn read(
        &mut self,
        shard: u32,
        range: Range<i64>,
        take: &mut dyn FnMut(i64, Delta) -> Result<(), String>,
    ) -> Result<(), SourceError> {
        let ranges = BTreeMap::from([(partition(shard)?, range)]);
        read_state(&self.settings, &ranges, &mut || Ok(()), take).map(drop)
    }
}
