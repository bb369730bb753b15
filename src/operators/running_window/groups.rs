//! The partitions of a stream: how many rows each has had, and when it is forgotten.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::RunningWindowSpec;
use super::layout::Layout;
use crate::operators::OperatorError;
use crate::operators::deadline::Deadline;
use crate::operators::groups::batch_of;
use crate::operators::row_codec::RowCodec;
use crate::state::KeyIndex;
use crate::stream::Watermark;

/// How finely partitions are sorted by the time at which they are silent for long enough: parts of that time.
const SILENCE_STEPS: i64 = 64;

/// What is known of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Partition {
    /// How many rows it has had.
    pub n_rows: u64,
    /// How many of them differed in order from the one before.
    pub n_peers: u64,
    /// The event time (ms) of the last of them.
    pub last_time: i64,
    is_dirty: bool,
    /// Whether it stands among those that may fall silent.
    is_watched: bool,
}

/// All partitions of one shard.
pub(super) struct PartitionStates {
    codec: RowCodec,
    key_schema: SchemaRef,
    keys: KeyIndex,
    /// By group id.
    states: Vec<Partition>,
    /// Partitions by the watermark at which their bucket closes.
    buckets: BTreeMap<i64, Vec<u32>>,
    /// Partitions by the step at which they may have been silent for long enough, or later.
    silences: BTreeMap<i64, Vec<u32>>,
    forget_after_ms: Option<i64>,
    dirty: Vec<u32>,
}

impl PartitionStates {
    pub fn new(spec: &RunningWindowSpec) -> Result<Self, OperatorError> {
        if spec.n_keys > spec.input.fields().len() || spec.bucket.as_ref().is_some_and(|b| b.column >= spec.n_keys) {
            return Err(OperatorError::Function("a partition key is missing".into()));
        }
        let keys: Vec<usize> = (0..spec.n_keys).collect();
        Ok(Self {
            key_schema: spec.input.project(&keys)?.into(),
            codec: RowCodec::new(&spec.input, keys)?,
            keys: KeyIndex::default(),
            states: Vec::new(),
            buckets: BTreeMap::new(),
            silences: BTreeMap::new(),
            // A bucket bounds the state already.
            forget_after_ms: spec.forget_after_ms.filter(|_| spec.bucket.is_none()),
            dirty: Vec::new(),
        })
    }

    /// Gives each row its partition, which is made if need be.
    pub fn assign(&mut self, rows: &RecordBatch, bucket: Option<&Deadline>) -> Result<Vec<u32>, OperatorError> {
        let keys = self.codec.encode(rows)?;
        let deadlines = bucket.map(|bucket| bucket.of_rows(rows)).transpose()?;
        let mut of_row = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let (group, is_new) = self.get_or_insert(keys.get(row));
            if let (true, Some(deadlines)) = (is_new, &deadlines) {
                self.buckets.entry(deadlines[row]).or_default().push(group);
            }
            of_row.push(group);
        }
        Ok(of_row)
    }

    fn get_or_insert(&mut self, key: &[u8]) -> (u32, bool) {
        let (group, is_new) = self.keys.get_or_insert(key);
        if is_new && self.states.len() <= group as usize {
            self.states.resize(group as usize + 1, Partition::default());
        }
        (group, is_new)
    }

    /// The partitions of logged keys, which are made if need be.
    pub fn restore(&mut self, keys: &[&[u8]], bucket: Option<&Deadline>) -> Result<Vec<u32>, OperatorError> {
        let mut new: Vec<(u32, &[u8])> = Vec::new();
        let mut groups = Vec::with_capacity(keys.len());
        for key in keys {
            let (group, is_new) = self.get_or_insert(key);
            if is_new {
                new.push((group, key));
            }
            groups.push(group);
        }
        if let (Some(bucket), false) = (bucket, new.is_empty()) {
            let columns = self.codec.decode(new.iter().map(|(_, key)| *key))?;
            let deadlines = bucket.of_rows(&batch_of(&self.key_schema, columns, new.len())?)?;
            for ((group, _), deadline) in new.iter().zip(deadlines) {
                self.buckets.entry(deadline).or_default().push(*group);
            }
        }
        Ok(groups)
    }

    /// Takes note that the rows of a layout were handled.
    pub fn handled(&mut self, layout: &Layout, times: Option<&[i64]>) {
        for run in &layout.runs {
            let state = &mut self.states[run.group as usize];
            state.n_rows += run.rows.len() as u64;
            state.n_peers = layout.places.get(run.rows.end - 1).map_or(state.n_peers, |place| place.number + 1);
            state.last_time = times.and_then(|times| times.get(run.rows.end - 1)).copied().unwrap_or(i64::MAX);
            self.touch(run.group);
            self.watch(run.group);
        }
    }

    /// Takes note that a partition has something to log.
    pub fn touch(&mut self, group: u32) {
        if !std::mem::replace(&mut self.states[group as usize].is_dirty, true) {
            self.dirty.push(group);
        }
    }

    fn watch(&mut self, group: u32) {
        let Some(after) = self.forget_after_ms else { return };
        let state = &mut self.states[group as usize];
        if !std::mem::replace(&mut state.is_watched, true) {
            let step = step(state.last_time.saturating_add(after), after);
            self.silences.entry(step).or_default().push(group);
        }
    }

    /// Takes the partitions out whose bucket is closed. They still have their state.
    pub fn take_closed(&mut self, watermark: Watermark) -> Vec<u32> {
        let mut closed = Vec::new();
        while let Some(entry) = self.buckets.first_entry().filter(|e| watermark.has_passed(*e.key())) {
            closed.extend(entry.remove());
        }
        closed
    }

    /// Takes the partitions out that say nothing any more. They still have their state.
    pub fn take_silent(&mut self, watermark: Watermark) -> Vec<u32> {
        let Some(after) = self.forget_after_ms else { return Vec::new() };
        let mut silent = Vec::new();
        let mut again = Vec::new();
        while let Some(entry) = self.silences.first_entry().filter(|e| *e.key() < step(watermark.0, after)) {
            for group in entry.remove() {
                let Some(state) = self.states.get_mut(group as usize).filter(|s| s.is_watched) else { continue };
                state.is_watched = false;
                match watermark.has_passed(state.last_time.saturating_add(after)) {
                    true => silent.push(group),
                    false => again.push(group),
                }
            }
        }
        again.into_iter().for_each(|group| self.watch(group));
        silent
    }

    /// Forgets a partition.
    pub fn remove(&mut self, group: u32) {
        if self.keys.contains_id(group) {
            self.keys.remove(group);
            self.states[group as usize] = Partition::default();
        }
    }

    /// The partitions that were touched since the last call, of those that are still there.
    pub fn take_dirty(&mut self) -> Vec<u32> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|group| std::mem::replace(&mut self.states[*group as usize].is_dirty, false));
        dirty
    }

    /// Sets what is known of a partition to what was logged.
    pub fn set(&mut self, group: u32, n_rows: u64, n_peers: u64, last_time: i64) {
        let state = &mut self.states[group as usize];
        (state.n_rows, state.n_peers, state.last_time) = (n_rows, n_peers, last_time);
        self.watch(group);
    }

    /// The partition of a key, if it is known.
    pub fn get(&self, key: &[u8]) -> Option<u32> {
        self.keys.get(key)
    }

    /// What is known of a partition; none where the id is not in use.
    pub fn partition(&self, group: u32) -> Option<&Partition> {
        self.states.get(group as usize).filter(|_| self.keys.contains_id(group))
    }

    /// How many rows a partition has had, and how many of them differed in order from the one before.
    pub fn n_before(&self, group: u32) -> (u64, u64) {
        let state = &self.states[group as usize];
        (state.n_rows, state.n_peers)
    }

    /// The key of a partition.
    pub fn key(&self, group: u32) -> &[u8] {
        self.keys.key(group)
    }

    /// One more than the greatest id ever given.
    pub fn id_limit(&self) -> usize {
        self.states.len()
    }

    /// The number of partitions.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        let lists = self.buckets.values().chain(self.silences.values());
        self.keys.size_bytes()
            + self.states.capacity() * size_of::<Partition>()
            + lists.map(|ids| ids.capacity() * size_of::<u32>()).sum::<usize>()
            + self.dirty.capacity() * size_of::<u32>()
    }
}

fn step(instant_ms: i64, after_ms: i64) -> i64 {
    instant_ms.div_euclid((after_ms / SILENCE_STEPS).max(1))
}
