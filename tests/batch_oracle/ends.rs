//! Ends that cut epochs at random and lose commits at random.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use curb::local::MemoryStateLog;
use curb::plan::Pipeline;
use curb::stream::{
    CommitError, Outcome, OutputTopic, PartitionStatus, PollLimit, Polled, RecordMeta, SealedEpoch, Sink, Source,
    SourceError, SourcePartition, TombstoneForm,
};
use fastrand::Rng;
use serde_json::Value;

use crate::world::History;

/// Hands a history over in pieces of random size.
pub(crate) struct RandomSource {
    history: History,
    /// By relation how many records have been read.
    positions: BTreeMap<Arc<str>, i64>,
    rows_max: usize,
    told: bool,
    rng: Rng,
}

impl RandomSource {
    pub(crate) fn new(history: &History, rows_max: usize, rng: Rng) -> Self {
        Self { history: history.clone(), positions: BTreeMap::new(), rows_max, told: false, rng }
    }

    fn position(&self, relation: &Arc<str>) -> i64 {
        self.positions.get(relation).copied().unwrap_or_default()
    }

    /// How many records have been read of all relations: they come in one order always.
    fn next(&self) -> usize {
        self.positions.values().sum::<i64>() as usize
    }
}

impl Source for RandomSource {
    fn poll(&mut self, _: PollLimit, _: Duration, _: &[Arc<str>]) -> Result<Polled, SourceError> {
        let mut polled = Polled { end_of_input: self.next() == self.history.records.len(), ..Polled::default() };
        let first = self.next();
        let n = self.rng.usize(1..=self.rows_max).min(self.history.records.len() - first);
        for sequence in 0..n {
            let record = &self.history.records[first + sequence];
            let offset = self.position(&record.relation);
            let meta = RecordMeta {
                partition: 0,
                offset,
                timestamp_ms: Some(2_000_000_000_000),
                sequence: sequence as u64,
                key: None,
                value: None,
            };
            let value = record.value.as_ref().map(Value::to_string);
            let (relation, key) = (record.relation.clone(), record.key.clone());
            *self.positions.entry(relation.clone()).or_default() += 1;
            polled.records.entry(relation).or_default().push(
                meta,
                Some(key.as_bytes()),
                value.as_deref().map(str::as_bytes),
            );
        }
        for relation in &self.history.relations {
            if !self.told || polled.records.contains_key(relation) {
                let partition = SourcePartition { relation: relation.clone(), partition: 0 };
                let position = self.position(relation);
                let status = PartitionStatus { position, end: Some(position), caught_up: true, idle: false };
                polled.partitions.insert(partition, status);
            }
        }
        self.told = true;
        Ok(polled)
    }

    fn rewind(&mut self, positions: &BTreeMap<SourcePartition, i64>) -> Result<(), SourceError> {
        self.positions = positions.iter().map(|(p, position)| (p.relation.clone(), *position)).collect();
        self.told = false;
        Ok(())
    }
}

/// What all sinks held after an epoch.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    /// How many records had been read.
    pub(crate) n_records: usize,
    /// By sink its rows, sorted.
    pub(crate) content: BTreeMap<String, Vec<String>>,
}

/// Everything that was committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Committed {
    pub(crate) epochs: Vec<Epoch>,
    /// By sink all rows that it wrote, in order; tombstones are left out.
    pub(crate) appended: BTreeMap<String, Vec<Value>>,
    /// The ids in the headers.
    pub(crate) ids: Vec<String>,
    /// By `late` or `rejected` and relation how many records left that way.
    pub(crate) refused: BTreeMap<String, u64>,
    /// How it was run.
    pub(crate) text: String,
    held: BTreeMap<String, BTreeMap<Vec<u8>, String>>,
}

/// A run that is being followed. Clones share it.
#[derive(Clone)]
pub(crate) struct Followed {
    committed: Arc<Mutex<Committed>>,
    log: MemoryStateLog,
    upserts: BTreeMap<String, bool>,
    /// Whether the content after each epoch is kept, or only that after the last.
    keeps_epochs: bool,
    /// Whether records may be refused.
    may_refuse: bool,
}

impl Followed {
    pub(crate) fn new(pipeline: &Pipeline, keeps_epochs: bool) -> Self {
        let mut committed = Committed::default();
        committed.epochs.push(Epoch { n_records: 0, content: BTreeMap::new() });
        Self {
            committed: Arc::new(Mutex::new(committed)),
            log: MemoryStateLog::default(),
            upserts: pipeline.sinks.iter().map(|s| (s.name.to_string(), s.upsert)).collect(),
            keeps_epochs,
            may_refuse: false,
        }
    }

    /// Counts refused records; else one that is refused is a failure.
    pub(crate) fn with_refused(self) -> Self {
        Self { may_refuse: true, ..self }
    }

    pub(crate) fn log(&self) -> MemoryStateLog {
        self.log.clone()
    }

    pub(crate) fn take(&self) -> Committed {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn commit(&self, epoch: SealedEpoch) {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        for (idx, (topic, records)) in epoch.outputs.iter().enumerate() {
            let name = match topic {
                OutputTopic::Sink(name) => name,
                OutputTopic::Late(name) if self.may_refuse => {
                    *committed.refused.entry(format!("late {name}")).or_default() += records.len() as u64;
                    continue;
                }
                OutputTopic::Rejected(name) if self.may_refuse => {
                    *committed.refused.entry(format!("rejected {name}")).or_default() += records.len() as u64;
                    continue;
                }
                other => panic!("records were refused: {other:?} {}", String::from_utf8_lossy(&records.data)),
            };
            for (place, record) in records.iter().enumerate() {
                let headers = epoch.headers.get(idx).and_then(|h| h.get(place)).into_iter().flatten();
                committed.ids.extend(headers.map(|(_, id)| String::from_utf8_lossy(id).into_owned()));
                let is_upsert = self.upserts.get(name.as_ref()).copied().unwrap_or_default();
                let value = record.value.map(|v| serde_json::from_slice::<Value>(v).expect("sinks write JSON"));
                if let Some(value) = &value {
                    committed.appended.entry(name.to_string()).or_default().push(value.clone());
                }
                let n = committed.appended.get(name.as_ref()).map_or(0, Vec::len);
                // Rows of an appending sink are told apart by their place.
                let key = if is_upsert { record.key.unwrap_or_default().to_vec() } else { n.to_be_bytes().to_vec() };
                let held = committed.held.entry(name.to_string()).or_default();
                match value {
                    Some(value) => {
                        let old = held.insert(key, value.to_string());
                        assert_ne!(old.as_deref(), Some(value.to_string().as_str()), "the same row was written twice");
                    }
                    None => assert!(held.remove(&key).is_some(), "a tombstone for a key that is not there"),
                }
            }
        }
        let content = committed.held.iter().map(|(name, held)| {
            let mut rows: Vec<String> = held.values().cloned().collect();
            rows.sort();
            (name.clone(), rows)
        });
        let content = content.collect();
        let n_records = epoch.positions.values().sum::<i64>() as usize;
        if !self.keeps_epochs {
            committed.epochs.clear();
        }
        committed.epochs.push(Epoch { n_records, content });
        self.log.append(epoch.number, epoch.deltas, epoch.positions);
    }
}

/// Commits, or does not, or does and says that it does not know.
pub(crate) struct RandomSink {
    followed: Followed,
    crashes: f64,
    rng: Rng,
    /// The number of the last committed epoch.
    last: u64,
}

impl RandomSink {
    pub(crate) fn new(followed: Followed, crashes: f64, rng: Rng) -> Self {
        Self { followed, crashes, rng, last: 0 }
    }
}

impl Sink for RandomSink {
    fn tombstones(&self) -> TombstoneForm {
        TombstoneForm::NoValue
    }

    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError> {
        let crashes = self.rng.f64() < self.crashes;
        match self.rng.u32(0..4) {
            0 if crashes => Err(CommitError::Aborted("test".into())),
            1 if crashes => Err(CommitError::Unknown("test".into())),
            2 if crashes => Err(CommitError::AssignmentLost("test".into())),
            _ => {
                self.followed.commit(epoch.clone());
                self.last = epoch.number;
                if crashes { Err(CommitError::Unknown("test".into())) } else { Ok(()) }
            }
        }
    }

    fn outcome(&mut self, epoch: &SealedEpoch) -> Result<Outcome, CommitError> {
        // Now and then the answer does not come, and a restore decides.
        if self.rng.bool() {
            return Err(CommitError::AssignmentLost("test".into()));
        }
        Ok(if self.last >= epoch.number { Outcome::Committed } else { Outcome::NotCommitted })
    }
}
