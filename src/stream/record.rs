//! Raw records as they come from a source, before decoding.

use std::ops::Range;
use std::sync::Arc;

use super::{FileRecord, Headers};

/// One partition of a source relation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePartition {
    /// The name of the source relation.
    pub relation: Arc<str>,
    /// The partition number, from 0.
    pub partition: i32,
}

/// Where a raw record came from and where its bytes lie in its batch.
#[derive(Clone, Debug)]
pub struct RecordMeta {
    /// The partition.
    pub partition: i32,
    /// The offset in the partition; in a file, the line number from 1.
    pub offset: i64,
    /// Kafka's timestamp in milliseconds; none in files.
    pub timestamp_ms: Option<i64>,
    /// The number of the record in reading order over all sources of the epoch.
    pub sequence: u64,
    /// The key's bytes, none where the record has no key.
    pub key: Option<Range<u32>>,
    /// The value's bytes, none for a tombstone.
    pub value: Option<Range<u32>>,
}

/// The raw records of one source relation in one epoch, in reading order; their bytes lie in one buffer.
#[derive(Clone, Debug, Default)]
pub struct RecordBatchBytes {
    /// Keys and values, one after the other.
    pub data: Vec<u8>,
    /// One entry a record.
    pub records: Vec<RecordMeta>,
    /// Where the bytes lie that the values were made from, one entry a record; empty where these are the values.
    pub originals: Vec<Range<u32>>,
    /// Records of which no value could be made: their indices, ascending, and why. They have no value.
    pub faults: Vec<(u32, String)>,
    /// Whether these are all rows that the relation has: keys that do not occur are deleted.
    pub is_whole: bool,
    /// The headers of each record; empty where nobody asks for them.
    pub headers: Vec<Headers>,
}

/// One raw record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Position and timestamp.
    pub meta: &'a RecordMeta,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none for a tombstone.
    pub value: Option<&'a [u8]>,
}

impl RecordBatchBytes {
    /// Appends one record and copies its bytes.
    pub fn push(&mut self, mut meta: RecordMeta, key: Option<&[u8]>, value: Option<&[u8]>) {
        meta.key = key.map(|k| self.append(k));
        meta.value = value.map(|v| self.append(v));
        self.records.push(meta);
    }

    fn append(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.data.len() as u32;
        self.data.extend_from_slice(bytes);
        start..self.data.len() as u32
    }

    /// Appends a record of a file.
    pub fn push_file_record(&mut self, meta: RecordMeta, record: &FileRecord<'_>) {
        if let Err(reason) = &record.value {
            self.faults.push((self.records.len() as u32, reason.clone()));
        }
        if let Some(original) = record.original {
            let original = self.append(original);
            self.originals.push(original);
        }
        self.push(meta, None, record.value.as_deref().ok());
    }

    /// The bytes that the value of a record was made from, where that is not the value itself.
    pub fn original(&self, idx: usize) -> Option<&[u8]> {
        let range = self.originals.get(idx)?;
        self.data.get(range.start as usize..range.end as usize)
    }

    /// A record as it came: with its original bytes as value.
    pub fn as_came(&self, idx: usize) -> RecordView<'_> {
        let record = self.get(idx);
        RecordView { value: self.original(idx).or(record.value), ..record }
    }

    /// Why no value could be made of a record.
    pub fn fault(&self, idx: usize) -> Option<&str> {
        let at = self.faults.binary_search_by_key(&(idx as u32), |(idx, _)| *idx).ok()?;
        self.faults.get(at).map(|(_, reason)| reason.as_str())
    }

    /// Forgets all records; the memory is used again.
    pub fn clear(&mut self) {
        self.data.clear();
        self.records.clear();
        self.originals.clear();
        self.faults.clear();
        self.headers.clear();
        self.is_whole = false;
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record at `idx`.
    pub fn get(&self, idx: usize) -> RecordView<'_> {
        let meta = &self.records[idx];
        let bytes = |r: &Range<u32>| &self.data[r.start as usize..r.end as usize];
        RecordView { meta, key: meta.key.as_ref().map(bytes), value: meta.value.as_ref().map(bytes) }
    }

    /// All records in reading order.
    pub fn iter(&self) -> impl Iterator<Item = RecordView<'_>> {
        (0..self.len()).map(|i| self.get(i))
    }
}
