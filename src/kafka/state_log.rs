//! Reads back what the pipeline has committed: its positions, and every delta of its state.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::{debug, info, warn};

use crate::stream::{LogFollower, LogReader, Restored, SourceError, SourcePartition, StateLog};

use super::committed_offsets::committed_offsets;
use super::end_offsets::{Probe, Watermarks, watermarks_of_all};
use super::epoch_header::EpochHeader;
use super::producer::Writer;
use super::session::Session;
use super::state_keeper::{StateFollower, StateKeeper};
use super::state_reader::{ReadState, read_state};

/// The state topic of a pipeline.
pub struct KafkaStateLog {
    session: Arc<Session>,
    writer: Arc<Mutex<Writer>>,
    probe: Arc<Probe>,
    /// Made when it is first needed.
    keeper: Option<StateKeeper>,
    /// Ends that could not be asked for.
    unanswered: Vec<u32>,
}

impl KafkaStateLog {
    pub(super) fn new(session: Arc<Session>, writer: Arc<Mutex<Writer>>, probe: Arc<Probe>) -> Self {
        Self { session, writer, probe, keeper: None, unanswered: Vec::new() }
    }

    /// Reads the state topic to the high watermark that it has now.
    fn read(&self, reader: &mut dyn LogReader) -> Result<ReadState, SourceError> {
        let settings = &self.session.settings;
        let topic = settings.state_topic();
        let n_partitions = self.session.n_partitions(&topic);
        let relation: Arc<str> = topic.as_str().into();
        let asked = (0..n_partitions).map(|p| SourcePartition { relation: relation.clone(), partition: p });
        let asked = asked.map(|partition| (partition, topic.clone())).collect();
        let found = watermarks_of_all(&self.probe, &settings.brokers, asked)?;
        let by_shard = |(p, Watermarks { low, high }): (&SourcePartition, &Watermarks)| {
            Some((u32::try_from(p.partition).ok()?, *low..*high))
        };
        let held: BTreeMap<u32, Range<i64>> = found.iter().filter_map(by_shard).collect();
        let starts = reader.begin(&held);
        let from = |shard: u32, range: &Range<i64>| starts.get(&shard).copied().unwrap_or(range.start)..range.end;
        let ranges = held.iter().map(|(shard, range)| (*shard as i32, from(*shard, range))).collect();
        // The membership must be kept alive however long this takes, and what is read counts only while it lasts.
        let mut serve = || self.session.serve();
        read_state(settings, &ranges, &mut serve, &mut |offset, delta| reader.take(offset, delta))
    }
}

impl StateLog for KafkaStateLog {
    fn restore(&mut self, reader: &mut dyn LogReader) -> Result<Restored, SourceError> {
        let started = Instant::now();
        // IMPORTANT: both fences stand before anything is read. Another worker cannot commit offsets any more after the
        // first, an earlier life of this worker cannot write any more after the second. In this order, because a worker
        // that was replaced while it slept must learn so from the group before it fences its own successor.
        let assignment = self.session.wait_until_assigned()?;
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).initialise()?;
        let committed = committed_offsets(&self.session)?.positions;
        let ReadState { last, n_deltas } = self.read(reader)?;
        let epoch = last.as_ref().map_or(0, |header| header.epoch);
        let logged = last.map(|header| self.by_partition(&header));
        let positions = reconcile(committed, logged, &self.session.settings.pipeline)?;
        self.session.restored(positions.clone(), assignment);
        self.session.check()?;
        debug!(epoch, n_deltas, elapsed_ms = started.elapsed().as_millis() as u64, "read the state topic");
        Ok(Restored { positions, n_deltas, epoch })
    }

    fn follower(&self) -> Option<Box<dyn LogFollower>> {
        let settings = &self.session.settings;
        (!settings.simulated).then(|| Box::new(StateFollower::new(settings.clone())) as Box<dyn LogFollower>)
    }

    fn ask_end(&mut self, shard: u32) {
        if self.keeper.is_none() && !self.session.settings.simulated {
            let keeper = StateKeeper::start(self.session.settings.clone());
            self.keeper = keeper.inspect_err(|error| warn!(%error, "the state topic cannot be rewritten")).ok();
        }
        if !self.keeper.as_ref().is_some_and(|keeper| keeper.ask_end(shard)) {
            self.unanswered.push(shard);
        }
    }

    fn take_ends(&mut self) -> Vec<(u32, Option<i64>)> {
        let mut ends = self.keeper.as_ref().map_or_else(Vec::new, StateKeeper::take_ends);
        ends.extend(self.unanswered.drain(..).map(|shard| (shard, None)));
        ends
    }

    fn cut(&mut self, shard: u32, before: i64) {
        if let Some(keeper) = &self.keeper {
            keeper.cut(shard, before);
        }
    }
}

impl KafkaStateLog {
    fn by_partition(&self, header: &EpochHeader) -> BTreeMap<SourcePartition, i64> {
        let mut positions = BTreeMap::new();
        for (topic, partitions) in &header.positions {
            // A topic that is not read any more has no say.
            let Some(source) = self.session.settings.relation(topic) else { continue };
            for (partition, offset) in partitions {
                positions.insert(SourcePartition { relation: source.relation.clone(), partition: *partition }, *offset);
            }
        }
        positions
    }
}

/// Decides where to go on from the committed offsets and the positions that the state was logged with.
fn reconcile(
    committed: BTreeMap<SourcePartition, i64>,
    logged: Option<BTreeMap<SourcePartition, i64>>,
    group: &str,
) -> Result<BTreeMap<SourcePartition, i64>, SourceError> {
    let logged = match logged {
        None if committed.is_empty() => {
            info!("no offsets and no state: a first start");
            return Ok(committed);
        }
        None => BTreeMap::new(),
        Some(logged) if committed.is_empty() => {
            warn!(
                group,
                "the group has no committed offsets (expired or deleted); going on at the positions of the state"
            );
            return Ok(logged);
        }
        Some(logged) => logged,
    };
    let number = |n: Option<&i64>| n.map_or("none".to_owned(), i64::to_string);
    let differing = committed.keys().chain(logged.keys()).find(|p| committed.get(*p) != logged.get(*p));
    match differing {
        None => Ok(committed),
        Some(p) => Err(SourceError::Policy(format!(
            "relation `{}` partition {}: the committed offset is {}, but the state was logged at {}; group `{group}` and its \
             state topic do not belong together",
            p.relation,
            p.partition,
            number(committed.get(p)),
            number(logged.get(p))
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(entries: &[(&str, i32, i64)]) -> BTreeMap<SourcePartition, i64> {
        entries.iter().map(|(r, p, o)| (SourcePartition { relation: Arc::from(*r), partition: *p }, *o)).collect()
    }

    #[test]
    fn equal_positions_are_gone_on_from() {
        let same = positions(&[("a", 0, 5), ("a", 1, 7)]);
        assert_eq!(reconcile(same.clone(), Some(same.clone()), "g").unwrap(), same);
    }

    #[test]
    fn the_state_decides_when_the_group_has_expired() {
        let logged = positions(&[("a", 0, 5)]);
        assert_eq!(reconcile(BTreeMap::new(), Some(logged.clone()), "g").unwrap(), logged);
    }

    #[test]
    fn a_first_start_has_neither() {
        assert!(reconcile(BTreeMap::new(), None, "g").unwrap().is_empty());
    }

    #[test]
    fn any_other_difference_is_refused_with_both_numbers() {
        let cases = [
            (positions(&[("a", 0, 5)]), Some(positions(&[("a", 0, 4)])), "is 5, but the state was logged at 4"),
            (positions(&[("a", 0, 5)]), None, "is 5, but the state was logged at none"),
            (
                positions(&[("a", 0, 5)]),
                Some(positions(&[("a", 0, 5), ("a", 1, 2)])),
                "is none, but the state was logged at 2",
            ),
        ];
        for (committed, logged, text) in cases {
            let refused = reconcile(committed, logged, "g").unwrap_err().to_string();
            assert!(refused.contains(text), "{refused}");
        }
    }
}
