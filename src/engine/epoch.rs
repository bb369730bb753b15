//! The epoch as a value: positions, outputs, deltas; open while it is filled, sealed when nothing may be added.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::stream::{Delta, Headers, OutputTopic, RecordBatchBytes, SealedEpoch, SourcePartition};

/// Encoded records and the headers of each; no headers at all where the list is empty.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) records: RecordBatchBytes,
    pub(super) headers: Vec<Vec<(String, Vec<u8>)>>,
    /// What each record says, for the audit trail; empty where records are readable themselves.
    pub(super) readable: Vec<Readable>,
}

/// What a record says that is not JSON.
#[derive(Debug, Default)]
pub(super) struct Readable {
    /// The key as text.
    pub(super) key: Option<Vec<u8>>,
    /// The row as JSON; none where it is gone.
    pub(super) row: Option<Vec<u8>>,
}

/// An epoch that is being filled. Sealing consumes it, committing consumes what was sealed.
#[derive(Debug)]
pub(super) struct OpenEpoch {
    sealed: SealedEpoch,
    /// What the records of each output say.
    readable: Vec<Vec<Readable>>,
    /// How many records go to each sink, by name.
    rows: BTreeMap<Arc<str>, u64>,
}

impl OpenEpoch {
    /// Opens an epoch that will leave the sources at `positions`.
    pub(super) fn open(number: u64, positions: BTreeMap<SourcePartition, i64>) -> Self {
        let sealed = SealedEpoch { number, positions, ..SealedEpoch::default() };
        Self { sealed, readable: Vec::new(), rows: BTreeMap::new() }
    }

    /// Adds output records.
    pub(super) fn write(&mut self, topic: OutputTopic, encoded: Encoded) {
        if encoded.records.is_empty() {
            return;
        }
        if let OutputTopic::Sink(name) = &topic {
            *self.rows.entry(name.clone()).or_default() += encoded.records.len() as u64;
        }
        self.sealed.outputs.push((topic, encoded.records));
        self.sealed.headers.push(encoded.headers);
        self.readable.push(encoded.readable);
    }

    /// Adds logged state.
    pub(super) fn log(&mut self, deltas: Vec<Delta>) {
        self.sealed.deltas.extend(deltas);
    }

    /// The output records so far, their headers, and what they say.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (&OutputTopic, &RecordBatchBytes, &[Headers], &[Readable])> {
        let headers = self.sealed.headers.iter().map(Vec::as_slice);
        let of_records = headers.zip(self.readable.iter().map(Vec::as_slice));
        self.sealed
            .outputs
            .iter()
            .zip(of_records)
            .map(|((topic, records), (h, readable))| (topic, records, h, readable))
    }

    /// How many records go to each sink, by name.
    pub(super) fn rows(&self) -> &BTreeMap<Arc<str>, u64> {
        &self.rows
    }

    /// Nothing may be added any more.
    pub(super) fn seal(self) -> SealedEpoch {
        self.sealed
    }
}
