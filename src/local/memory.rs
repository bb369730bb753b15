//! Sink and state log in memory: for tests that crash a pipeline and start it again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::stream::{
    CommitError, Delta, LogFollower, LogReader, Outcome, OutputTopic, RecordBatchBytes, Restored, SealedEpoch, Sink,
    SourceError, SourcePartition, StateLog, TombstoneForm,
};

/// Keeps committed deltas and positions in memory. Clones share what they keep.
#[derive(Clone, Debug, Default)]
pub struct MemoryStateLog {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    shards: BTreeMap<u32, ShardLog>,
    positions: BTreeMap<SourcePartition, i64>,
    epoch: u64,
    /// Ends that were asked for.
    ends: Vec<(u32, Option<i64>)>,
}

/// The deltas of a shard; the first one has the offset `first`.
#[derive(Debug, Default)]
struct ShardLog {
    first: i64,
    deltas: VecDeque<Delta>,
}

impl ShardLog {
    fn range(&self) -> Range<i64> {
        self.first..self.first + self.deltas.len() as i64
    }

    /// The deltas in a range, with their offsets.
    fn read(&self, range: Range<i64>) -> Vec<(i64, Delta)> {
        (self.first..).zip(self.deltas.iter().cloned()).filter(|(offset, _)| range.contains(offset)).collect()
    }
}

impl MemoryStateLog {
    /// Takes over what is to be restored of a committed epoch.
    pub fn append(&self, epoch: u64, deltas: Vec<Delta>, positions: BTreeMap<SourcePartition, i64>) {
        let mut kept = self.lock();
        for delta in deltas {
            kept.shards.entry(delta.shard).or_default().deltas.push_back(delta);
        }
        kept.positions = positions;
        kept.epoch = epoch;
    }

    /// How many deltas it holds, and how many were deleted.
    pub fn n_deltas(&self) -> (usize, usize) {
        let kept = self.lock();
        (kept.shards.values().map(|s| s.deltas.len()).sum(), kept.shards.values().map(|s| s.first as usize).sum())
    }

    /// The number of the last committed epoch; 0 if there is none.
    fn last_epoch(&self) -> u64 {
        self.lock().epoch
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateLog for MemoryStateLog {
    fn restore(&mut self, reader: &mut dyn LogReader) -> Result<Restored, SourceError> {
        let ranges = self.lock().shards.iter().map(|(shard, log)| (*shard, log.range())).collect();
        let starts = reader.begin(&ranges);
        let (deltas, positions, epoch) = {
            let kept = self.lock();
            let of_shard = |(shard, log): (&u32, &ShardLog)| {
                let start = starts.get(shard).copied().unwrap_or(log.first);
                log.read(start..i64::MAX)
            };
            let deltas: Vec<(i64, Delta)> = kept.shards.iter().flat_map(of_shard).collect();
            (deltas, kept.positions.clone(), kept.epoch)
        };
        let n_deltas = deltas.len() as u64;
        for (offset, delta) in deltas {
            reader.take(offset, delta).map_err(SourceError::Configuration)?;
        }
        Ok(Restored { positions, n_deltas, epoch })
    }

    fn follower(&self) -> Option<Box<dyn LogFollower>> {
        Some(Box::new(self.clone()))
    }

    fn ask_end(&mut self, shard: u32) {
        let mut kept = self.lock();
        let end = kept.shards.get(&shard).map_or(0, |log| log.range().end);
        kept.ends.push((shard, Some(end)));
    }

    fn take_ends(&mut self) -> Vec<(u32, Option<i64>)> {
        std::mem::take(&mut self.lock().ends)
    }

    fn cut(&mut self, shard: u32, before: i64) {
        if let Some(log) = self.lock().shards.get_mut(&shard) {
            while log.first < before && log.deltas.pop_front().is_some() {
                log.first += 1;
            }
        }
    }
}

impl LogFollower for MemoryStateLog {
    fn range(&mut self, shard: u32) -> Result<Range<i64>, SourceError> {
        Ok(self.lock().shards.get(&shard).map_or(0..0, ShardLog::range))
    }

    fn read(
        &mut self,
        shard: u32,
        range: Range<i64>,
        take: &mut dyn FnMut(i64, Delta) -> Result<(), String>,
    ) -> Result<(), SourceError> {
        let deltas = self.lock().shards.get(&shard).map_or(Vec::new(), |log| log.read(range));
        deltas.into_iter().try_for_each(|(offset, delta)| take(offset, delta).map_err(SourceError::Configuration))
    }
}

/// One committed output record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// The key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The value; none for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Collects committed outputs in memory. Clones share what they collect.
#[derive(Clone, Debug)]
pub struct MemorySink {
    collected: Arc<Mutex<BTreeMap<OutputTopic, Vec<Collected>>>>,
    log: MemoryStateLog,
    tombstones: TombstoneForm,
}

impl MemorySink {
    /// A sink whose deltas go to `log`.
    pub fn new(log: MemoryStateLog, tombstones: TombstoneForm) -> Self {
        Self { collected: Arc::default(), log, tombstones }
    }

    /// Everything committed so far, in order, by topic.
    pub fn collected(&self) -> BTreeMap<OutputTopic, Vec<Collected>> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for MemorySink {
    fn tombstones(&self) -> TombstoneForm {
        self.tombstones
    }

    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError> {
        let mut collected = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
        for (idx, (topic, records)) in epoch.outputs.iter().enumerate() {
            let headers = epoch.headers.get(idx).map_or(&[][..], Vec::as_slice);
            collected.entry(topic.clone()).or_default().extend(collect(records, headers));
        }
        self.log.append(epoch.number, epoch.deltas.clone(), epoch.positions.clone());
        Ok(())
    }

    fn outcome(&mut self, epoch: &SealedEpoch) -> Result<Outcome, CommitError> {
        let is_last = self.log.last_epoch() >= epoch.number;
        Ok(if is_last { Outcome::Committed } else { Outcome::NotCommitted })
    }
}

fn collect(records: &RecordBatchBytes, headers: &[Vec<(String, Vec<u8>)>]) -> Vec<Collected> {
    records
        .iter()
        .enumerate()
        .map(|(idx, record)| Collected {
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.get(idx).cloned().unwrap_or_default(),
        })
        .collect()
}
