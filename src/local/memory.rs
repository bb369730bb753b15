//! Sink and state log in memory: for tests that crash a pipeline and start it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::stream::{
    CommitError, Delta, Outcome, OutputTopic, RecordBatchBytes, Restored, SealedEpoch, Sink, SourceError,
    SourcePartition, StateLog, TombstoneForm,
};

/// Keeps committed deltas and positions in memory. Clones share what they keep.
#[derive(Clone, Debug, Default)]
pub struct MemoryStateLog {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    deltas: Vec<Delta>,
    positions: BTreeMap<SourcePartition, i64>,
    epoch: u64,
}

impl MemoryStateLog {
    /// Takes over what is to be restored of a committed epoch.
    pub fn append(&self, epoch: u64, deltas: Vec<Delta>, positions: BTreeMap<SourcePartition, i64>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.deltas.extend(deltas);
        kept.positions = positions;
        kept.epoch = epoch;
    }
}

impl MemoryStateLog {
    /// The number of the last committed epoch; 0 if there is none.
    fn last_epoch(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).epoch
    }
}

impl StateLog for MemoryStateLog {
    fn restore(&mut self, apply: &mut dyn FnMut(Delta) -> Result<(), String>) -> Result<Restored, SourceError> {
        let (deltas, positions, epoch) = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            (kept.deltas.clone(), kept.positions.clone(), kept.epoch)
        };
        let n_deltas = deltas.len() as u64;
        for delta in deltas {
            apply(delta).map_err(SourceError::Configuration)?;
        }
        Ok(Restored { positions, n_deltas, epoch })
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
