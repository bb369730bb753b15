//! From changes of sink relations to output records, in the order in which they are emitted.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, UInt32Array};
use arrow::compute::take_record_batch;
use sha2::{Digest, Sha256};

use super::epoch::{Encoded, Readable};
use crate::catalog::Headers;
use crate::format::json;
use crate::format::{Format, FormatSpec, KeyFormat, RecordEncoder, RegisterError, SchemaRegistry};
use crate::plan::{Pipeline, SinkPlan};
use crate::stream::{ChangeBatch, Order, RecordMeta, TombstoneForm};

/// Rows of a sink could not be written.
#[derive(Debug, thiserror::Error)]
#[error("rows of sink `{sink}` could not be encoded: {reason}")]
pub struct EncodeError {
    /// The sink.
    pub sink: Arc<str>,
    /// Why.
    pub reason: String,
}

/// The encoder of one sink.
pub(super) struct SinkEncoder {
    name: Arc<str>,
    encoder: RecordEncoder,
    key: Vec<usize>,
    upsert: bool,
    with_id: bool,
    tombstones: TombstoneForm,
    /// Whether what records say is kept beside them, because they are not JSON themselves.
    keeps_readable: bool,
}

/// Names the source record with a sequence number: relation, partition and offset.
pub(super) type RecordName<'a> = &'a dyn Fn(u64) -> Option<String>;

impl SinkEncoder {
    /// An encoder for each sink of a pipeline, in order of declaration. `is_audited` says whether what rows say is kept for
    /// the audit trail.
    pub(super) fn of_pipeline(
        pipeline: &Pipeline,
        tombstones: TombstoneForm,
        is_audited: bool,
    ) -> Result<Vec<Self>, EncodeError> {
        pipeline.sinks.iter().map(|sink| Self::new(pipeline, sink, tombstones, is_audited)).collect()
    }

    fn new(
        pipeline: &Pipeline,
        sink: &SinkPlan,
        tombstones: TombstoneForm,
        is_audited: bool,
    ) -> Result<Self, EncodeError> {
        let failed = |reason: String| EncodeError { sink: sink.name.clone(), reason };
        let relation = pipeline.relations.get(sink.relation).ok_or_else(|| failed("it has no relation".into()))?;
        // Lines of a file are JSON whatever the format of the topic.
        let lines = FormatSpec::default();
        let format = if tombstones == TombstoneForm::Line { &lines } else { &sink.format };
        let encoder = RecordEncoder::new(&relation.schema, &sink.key, pipeline.time_zone, &sink.topic, format);
        let encoder = encoder.map_err(failed)?;
        Ok(Self {
            name: sink.name.clone(),
            encoder,
            key: sink.key.clone(),
            upsert: sink.upsert,
            // Lines of a file have no place for headers.
            with_id: sink.headers == Headers::Minimal && tombstones == TombstoneForm::NoValue,
            tombstones,
            keeps_readable: is_audited && (format.format, format.key) != (Format::Json, KeyFormat::Text),
        })
    }

    /// Registers the schema of the sink's records, if they have one that is not registered yet.
    pub(super) fn register(&mut self, registry: Option<&SchemaRegistry>) -> Result<(), RegisterError> {
        if !self.encoder.needs_registration() {
            return Ok(());
        }
        match registry {
            Some(registry) => self.encoder.register(registry),
            None => Err(RegisterError::Refused(crate::format::NO_REGISTRY.to_owned())),
        }
    }

    /// The sink's name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Encodes the rows of an epoch in the order in which they leave: by their order, ties by the whole encoded row.
    pub(super) fn encode(
        &mut self,
        changes: &ChangeBatch,
        record_name: RecordName<'_>,
    ) -> Result<Encoded, EncodeError> {
        if changes.is_empty() {
            return Ok(Encoded::default());
        }
        let failed = |reason: String| EncodeError { sink: self.name.clone(), reason };
        let is_deleted = |row: usize| self.deletes(changes, row);
        let written = self.encoder.encode(&changes.rows, is_deleted).map_err(failed)?;
        let deleted = self.tombstones(changes).map_err(failed)?;
        let lines: Vec<&[u8]> = lines(&written, &deleted);
        let keys = self.kafka_keys(changes).map_err(failed)?;
        let readable = self.readable(changes).map_err(failed)?;
        let mut rows: Vec<usize> = (0..changes.len()).collect();
        rows.sort_by(|a, b| compare(&changes.order, *a, *b).then_with(|| lines.get(*a).cmp(&lines.get(*b))));
        let mut encoded = Encoded::default();
        let mut previous: Option<usize> = None;
        let mut ordinal = 0;
        for (place, row) in rows.into_iter().enumerate() {
            let repeats = previous.is_some_and(|p| compare(&changes.order, p, row).is_eq());
            ordinal = if repeats { ordinal + 1 } else { 0 };
            previous = Some(row);
            let is_gone = self.tombstones == TombstoneForm::NoValue && self.deletes(changes, row);
            let key = keys.as_ref().map(|keys| keys.value(row));
            // A deletion may be told in words before the record without value.
            let value = lines.get(row).filter(|_| !is_gone || self.encoder.writes_deletions()).copied();
            for value in value.map(Some).into_iter().chain(is_gone.then_some(None)) {
                encoded.records.push(output_meta(place as u64), key, value);
                if let Some((rows, keys)) = &readable {
                    let said = (!self.deletes(changes, row)).then(|| rows.get(row).to_vec());
                    encoded.readable.push(Readable { key: keys.as_ref().map(|k| k.value(row).to_vec()), row: said });
                }
                if self.with_id {
                    let name = row_name(&changes.order, row, record_name);
                    let header = name.map(|name| ("curb_id".to_string(), self.id(&name, ordinal)));
                    encoded.headers.push(header.into_iter().collect());
                }
            }
        }
        Ok(encoded)
    }

    fn deletes(&self, changes: &ChangeBatch, row: usize) -> bool {
        self.upsert && changes.weights.get(row).is_some_and(|weight| *weight < 0)
    }

    /// The deleted rows and their tombstone lines, in the order of the rows.
    fn tombstones(&self, changes: &ChangeBatch) -> Result<(Vec<u32>, json::Encoded), String> {
        // Only lines of files say in words of their own which key is gone.
        let is_line = self.tombstones == TombstoneForm::Line;
        let rows = (0..changes.len() as u32).filter(|_| is_line);
        let deleted: Vec<u32> = rows.filter(|row| self.deletes(changes, *row as usize)).collect();
        if deleted.is_empty() {
            return Ok((deleted, json::Encoded::default()));
        }
        let rows = take_record_batch(&changes.rows, &UInt32Array::from(deleted.clone())).map_err(|e| e.to_string())?;
        let lines = self.encoder.tombstone_lines(&rows, &self.key)?;
        Ok((deleted, lines))
    }

    /// The rows as JSON and the text of their keys, if they are kept.
    fn readable(&self, changes: &ChangeBatch) -> Result<Option<(json::Encoded, Option<BinaryArray>)>, String> {
        if !self.keeps_readable {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = self.key.iter().map(|c| changes.rows.column(*c).clone()).collect();
        let keys = (!columns.is_empty()).then(|| self.encoder.key_texts(&columns)).transpose()?;
        Ok(Some((self.encoder.lines(&changes.rows)?, keys)))
    }

    /// The Kafka key of each row; none if the sink has no key.
    fn kafka_keys(&self, changes: &ChangeBatch) -> Result<Option<BinaryArray>, String> {
        if self.key.is_empty() {
            // A table of one row has a key without columns; a stream may have no key at all.
            let of_no_columns = || BinaryArray::from_iter_values((0..changes.len()).map(|_| b"[]"));
            return Ok(self.upsert.then(of_no_columns));
        }
        let columns: Vec<ArrayRef> = self.key.iter().map(|c| changes.rows.column(*c).clone()).collect();
        self.encoder.keys(&columns, changes.len()).map(Some)
    }

    /// An id that never repeats: 128 bits of a hash of the sink, the name of the row, and its place among equal names.
    fn id(&self, name: &[u8], ordinal: u32) -> Vec<u8> {
        let digest = Sha256::new()
            .chain_update((self.name.len() as u64).to_le_bytes())
            .chain_update(self.name.as_bytes())
            .chain_update(ordinal.to_le_bytes())
            .chain_update(name)
            .finalize();
        hex(digest.iter().take(16)).into_bytes()
    }
}

/// What names a row once and for all.
fn row_name(order: &Order, row: usize, record_name: RecordName<'_>) -> Option<Vec<u8>> {
    match order {
        Order::Key(keys) if row < keys.len() => Some(keys.value(row).to_vec()),
        Order::Sequence(sequence) => record_name(*sequence.get(row)?).map(String::into_bytes),
        Order::Key(_) | Order::Unordered => None,
    }
}

fn compare(order: &Order, a: usize, b: usize) -> std::cmp::Ordering {
    match order {
        Order::Unordered => std::cmp::Ordering::Equal,
        Order::Sequence(sequence) => sequence.get(a).cmp(&sequence.get(b)),
        Order::Key(keys) => keys.value(a).cmp(keys.value(b)),
    }
}

/// The text of each row: the whole row, or its tombstone.
fn lines<'a>(written: &'a json::Encoded, (deleted, tombstones): &'a (Vec<u32>, json::Encoded)) -> Vec<&'a [u8]> {
    let mut lines: Vec<&[u8]> = written.iter().collect();
    for (row, tombstone) in deleted.iter().zip(tombstones.iter()) {
        if let Some(line) = lines.get_mut(*row as usize) {
            *line = tombstone;
        }
    }
    lines
}

/// The meta data of an output record: its key decides about the partition.
pub(super) fn output_meta(sequence: u64) -> RecordMeta {
    RecordMeta { partition: -1, offset: 0, timestamp_ms: None, sequence, key: None, value: None }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
