//! How far sources are behind their topics: in records by partition, and in time.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::{Status, StatusBoard};
use crate::stream::{PartitionStatus, RecordBatchBytes, SourcePartition};

impl Status {
    /// How old the newest record read is of the partition of a source that is most behind, in milliseconds; 0 if all is read,
    /// none as long as that is not known.
    pub fn lag_ms(&self, source: &str, now_ms: i64) -> Option<i64> {
        let own = || self.partitions.iter().filter(|p| &*p.source == source);
        own().next()?;
        if own().all(|p| p.lag == 0) {
            return Some(0);
        }
        own().filter(|p| p.lag > 0).filter_map(|p| p.newest_ms).map(|ms| now_ms.saturating_sub(ms).max(0)).max()
    }
}

impl StatusBoard {
    /// Shows what records wait for.
    pub(in crate::engine) fn waits_for(&self, what: Option<String>) {
        self.update(|status| status.waits_for = what);
    }
}

/// How far a partition of a source is behind its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionLag {
    /// The source.
    pub source: Arc<str>,
    /// The partition of its topic.
    pub partition: i32,
    /// Records that have not been read.
    pub lag: i64,
    /// The greatest timestamp of the records read since the last restore; none if none was read.
    pub newest_ms: Option<i64>,
}

/// The greatest timestamp of the records read of each partition.
#[derive(Debug, Default)]
pub(super) struct Newest(BTreeMap<SourcePartition, i64>);

impl Newest {
    /// Takes note of how new the records of a source were that an epoch took in.
    pub(super) fn read(&mut self, source: &Arc<str>, records: &RecordBatchBytes) {
        let mut records = records.records.iter().filter_map(|m| Some((m.partition, m.timestamp_ms?))).peekable();
        while let Some((partition, mut newest_ms)) = records.next() {
            // Records of one partition come in long runs.
            while let Some((_, ms)) = records.next_if(|(next, _)| *next == partition) {
                newest_ms = newest_ms.max(ms);
            }
            let known = self.0.entry(SourcePartition { relation: source.clone(), partition }).or_insert(newest_ms);
            *known = newest_ms.max(*known);
        }
    }

    /// How far each partition is behind its end, where that is known.
    pub(super) fn behind(&self, partitions: &BTreeMap<SourcePartition, PartitionStatus>) -> Vec<PartitionLag> {
        let behind = partitions.iter().filter_map(|(partition, at)| {
            Some(PartitionLag {
                source: partition.relation.clone(),
                partition: partition.partition,
                lag: (at.end? - at.position).max(0),
                newest_ms: self.0.get(partition).copied(),
            })
        });
        behind.collect()
    }
}
