//! From raw records to rows, and what became of each record: rejected, duplicate, late or used.
//!
//! Every delivered record is counted once, at its source. A stream's record is late only if every relation that reads
//! the stream refused it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef, TimestampMillisecondType};
use serde::Serialize;

use super::dataflow::EpochRun;
use super::record_columns::record_column;
use super::watermark::Watermarks;
use crate::catalog::{PSEUDO_COLUMNS, RelationKind, SourceDefinition};
use crate::format::json::{DecodeColumn, DecodeSpec, Decoded, Rejected, Wire};
use crate::format::{DecoderSource, NotReady, RecordDecoder, SchemaRegistry};
use crate::operators::LookupJoinSpec;
use crate::plan::{OperatorPlan, Pipeline, Relation, RelationId};
use crate::stream::{ChangeBatch, RecordBatchBytes};

/// The event times of so many rows of a source and epoch are measured at most.
const EVENT_TIMES_MAX: usize = 256;

/// What became of the records of a source; the last four add up to the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceCounts {
    /// Records delivered.
    pub read: u64,
    /// Records that took effect or that a filter dropped.
    pub used: u64,
    /// Table records equal to the current row or deleting none; stream records whose key was seen before.
    pub duplicate: u64,
    /// Stream records refused by every query that reads them; table records changed after their retention.
    pub late: u64,
    /// Records that could not be decoded.
    pub rejected: u64,
}

impl SourceCounts {
    /// Adds the counts of an epoch.
    pub fn add(&mut self, epoch: &Self) {
        self.read += epoch.read;
        self.used += epoch.used;
        self.duplicate += epoch.duplicate;
        self.late += epoch.late;
        self.rejected += epoch.rejected;
    }
}

/// A source cannot be decoded at all: its declaration does not fit its format.
#[derive(Debug, thiserror::Error)]
#[error("source `{relation}` cannot be decoded: {reason}")]
pub struct IntakeError {
    /// The source.
    pub relation: Arc<str>,
    /// Why.
    pub reason: String,
}

/// The decoders of all sources of a pipeline.
pub(super) struct Intake {
    sources: BTreeMap<Arc<str>, IntakeSource>,
    /// Where the schemas of records are, if some tell the number of theirs.
    registry: Option<Arc<SchemaRegistry>>,
}

struct IntakeSource {
    relation: RelationId,
    decoder: RecordDecoder,
    /// How the records of the table's own file look; none if it has none.
    file_decoder: Option<RecordDecoder>,
    /// The column of decoded rows that holds the event time.
    event_time: Option<usize>,
    /// How many columns handed on are decoded; those behind them are what records say of themselves.
    n_declared: usize,
    /// The columns handed on; decoded rows may have the event time behind the declared ones.
    schema: SchemaRef,
    definition: Arc<SourceDefinition>,
}

/// What one epoch took in.
#[derive(Default)]
pub(super) struct Taken {
    /// The rows of each source, one entry a relation of the pipeline.
    pub(super) rows: Vec<Option<ChangeBatch>>,
    /// The raw records of each source that had any.
    pub(super) records: Vec<TakenRecords>,
}

/// The raw records of one source, and which of them could not be decoded.
pub(super) struct TakenRecords {
    pub(super) relation: RelationId,
    pub(super) raw: RecordBatchBytes,
    pub(super) rejected: Vec<Rejected>,
    /// The event times of some of the rows, in milliseconds: enough to see how they are spread.
    pub(super) event_ms: Vec<i64>,
}

impl Taken {
    /// Names the record with a sequence number: relation, partition and offset.
    pub(super) fn name(&self, pipeline: &Pipeline, sequence: u64) -> Option<String> {
        self.records.iter().find_map(|records| {
            let idx = records.raw.records.binary_search_by_key(&sequence, |m| m.sequence).ok()?;
            let meta = records.raw.records.get(idx)?;
            let relation = pipeline.relations.get(records.relation)?;
            Some(format!("{}/{}/{}", relation.name, meta.partition, meta.offset))
        })
    }
}

/// What became of the records of one source in an epoch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fates {
    pub(super) counts: SourceCounts,
    /// The late records, by index in their batch, ascending.
    pub(super) late: Vec<usize>,
}

impl Intake {
    /// Decoders for the columns in use of every source.
    pub(super) fn new(
        pipeline: &Pipeline,
        wire: Wire,
        registry: Option<Arc<SchemaRegistry>>,
    ) -> Result<Self, IntakeError> {
        let mut sources = BTreeMap::new();
        for (id, relation) in pipeline.relations.iter().enumerate() {
            let (OperatorPlan::SourceTable(definition, _) | OperatorPlan::SourceStream(definition, _)) =
                &relation.operator
            else {
                continue;
            };
            sources.insert(relation.name.clone(), IntakeSource::new(id, relation, definition, wire, &registry)?);
        }
        Ok(Self { sources, registry })
    }

    /// Learns the schemas of records, without which they cannot be decoded.
    pub(super) fn prepare(&self, records: &BTreeMap<Arc<str>, RecordBatchBytes>) -> Result<(), NotReady> {
        let Some(registry) = &self.registry else { return Ok(()) };
        let mut ids = BTreeSet::new();
        for (source, raw) in records.iter().filter_map(|(name, raw)| Some((self.sources.get(name)?, raw))) {
            // A file is no topic, whatever the table's format.
            if !raw.is_whole {
                source.decoder.schema_ids(raw, &mut ids);
            }
        }
        if ids.is_empty() { Ok(()) } else { registry.fetch(&ids) }
    }

    /// Decodes what a poll brought and takes note of its event times.
    pub(super) fn decode(
        &mut self,
        n_relations: usize,
        records: BTreeMap<Arc<str>, RecordBatchBytes>,
        watermarks: &mut Watermarks,
    ) -> Result<Taken, IntakeError> {
        let mut taken = Taken { rows: (0..n_relations).map(|_| None).collect(), records: Vec::new() };
        for (name, raw) in records {
            let failed = |reason: String| IntakeError { relation: name.clone(), reason };
            let Some(source) = self.sources.get_mut(&name) else {
                return Err(failed("the pipeline does not read it".into()));
            };
            let (rows, rejected, event_ms) = source.decode(&raw, watermarks).map_err(failed)?;
            if let Some(place) = taken.rows.get_mut(source.relation) {
                *place = Some(rows);
            }
            taken.records.push(TakenRecords { relation: source.relation, raw, rejected, event_ms });
        }
        Ok(taken)
    }
}

impl IntakeSource {
    fn new(
        id: RelationId,
        relation: &Relation,
        definition: &Arc<SourceDefinition>,
        wire: Wire,
        registry: &Option<Arc<SchemaRegistry>>,
    ) -> Result<Self, IntakeError> {
        let failed = |reason: String| IntakeError { relation: relation.name.clone(), reason };
        let place = |name: &str| relation.schema.fields().iter().position(|f| f.name() == name);
        let mut columns = Vec::new();
        let is_pseudo = |name: &String| PSEUDO_COLUMNS.contains(&name.as_str());
        for field in relation.schema.fields().iter().filter(|f| !is_pseudo(f.name())) {
            let declared = definition.columns.iter().find(|c| c.name == *field.name());
            let declared = declared.ok_or_else(|| failed(format!("column `{}` is not declared", field.name())))?;
            columns.push(decode_column(declared));
        }
        let n_declared = columns.len();
        let declared = definition.event_time.and_then(|c| definition.columns.get(c));
        let event_time = declared.map(|declared| {
            place(&declared.name).unwrap_or_else(|| {
                columns.push(decode_column(declared));
                columns.len() - 1
            })
        });
        // What is said of a record that cannot be used names no value of it: one that landed in another column may be private.
        if definition.columns.iter().any(|c| c.private) {
            columns.iter_mut().for_each(|column| column.private = true);
        }
        let names = definition.key.iter().filter_map(|k| definition.columns.get(*k));
        // A stream's key is decoded only where something uses it.
        let key = names.filter_map(|c| place(&c.name)).collect();
        let spec = DecodeSpec {
            columns,
            key,
            is_table: definition.kind == RelationKind::Table,
            event_time,
            // Files have no timestamps of their own to compare with.
            max_future_ms: (wire == Wire::Kafka).then_some(definition.max_future_ms),
            wire,
        };
        // A file has no keys beside its records, nor timestamps.
        let of_file = || DecodeSpec { wire: Wire::Lines, max_future_ms: None, ..spec.clone() };
        let source = DecoderSource {
            relation: relation.name.clone(),
            format: &definition.format,
            declared: definition.columns.iter().map(|c| c.name.clone()).collect(),
            registry: registry.clone(),
        };
        let file_decoder = definition.file.as_ref().map(|_| RecordDecoder::new(of_file(), &source)).transpose();
        let file_decoder = file_decoder.map_err(failed)?;
        let decoder = RecordDecoder::new(spec, &source).map_err(failed)?;
        let schema = match definition.kind {
            RelationKind::Stream => relation.schema.clone(),
            // Tombstones have nulls where the relation has none.
            RelationKind::Table => {
                let decoded = decoder.schema().fields().iter().take(n_declared);
                let fields: Vec<FieldRef> =
                    decoded.chain(relation.schema.fields().iter().skip(n_declared)).cloned().collect();
                Arc::new(Schema::new(fields))
            }
        };
        Ok(Self { relation: id, decoder, file_decoder, event_time, n_declared, schema, definition: definition.clone() })
    }

    /// Decoded rows without the columns that were decoded for the event time alone, and with what records say of themselves.
    fn in_schema(&self, decoded: &Decoded, raw: &RecordBatchBytes) -> Result<RecordBatch, String> {
        let mut columns: Vec<ArrayRef> = decoded.rows.columns().iter().take(self.n_declared).cloned().collect();
        for field in self.schema.fields().iter().skip(self.n_declared) {
            columns.push(record_column(field, &self.definition, raw, &decoded.record)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(decoded.rows.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(|e| e.to_string())
    }

    fn decode(
        &mut self,
        raw: &RecordBatchBytes,
        watermarks: &mut Watermarks,
    ) -> Result<(ChangeBatch, Vec<Rejected>, Vec<i64>), String> {
        let decoder = self.file_decoder.as_mut().filter(|_| raw.is_whole).unwrap_or(&mut self.decoder);
        let decoded = decoder.decode(raw).map_err(|e| e.to_string())?;
        let meta = |record: &u32| raw.records.get(*record as usize);
        let sequence: Vec<u64> = decoded.record.iter().map(|r| meta(r).map_or(0, |m| m.sequence)).collect();
        let mut event_ms = Vec::new();
        if let Some(times) = self.event_time.map(|c| decoded.rows.column(c)) {
            let times = times
                .as_primitive_opt::<TimestampMillisecondType>()
                .ok_or_else(|| format!("the event time is {} instead of a timestamp", times.data_type()))?;
            let mut greatest: BTreeMap<i32, i64> = BTreeMap::new();
            for (row, record) in decoded.record.iter().enumerate().filter(|(row, _)| times.is_valid(*row)) {
                let partition = meta(record).map_or(0, |m| m.partition);
                let event_ms = times.value(row);
                greatest.entry(partition).and_modify(|g| *g = event_ms.max(*g)).or_insert(event_ms);
            }
            for (partition, event_ms) in greatest {
                watermarks.observe(self.relation, partition, event_ms);
            }
            let step = times.len().div_ceil(EVENT_TIMES_MAX).max(1);
            event_ms
                .extend((0..times.len()).step_by(step).filter(|row| times.is_valid(*row)).map(|row| times.value(row)));
        }
        let rows = self.in_schema(&decoded, raw)?;
        let mut rejected = decoded.rejected;
        for rejected in &mut rejected {
            if let Some(fault) = raw.fault(rejected.record as usize) {
                rejected.reason = fault.to_owned();
            }
        }
        let rows = ChangeBatch { weights: decoded.weights.into(), ..ChangeBatch::stream(rows, sequence) };
        Ok((rows, rejected, event_ms))
    }
}

pub(super) fn decode_column(declared: &crate::catalog::Column) -> DecodeColumn {
    DecodeColumn {
        name: declared.name.clone(),
        data_type: declared.data_type.clone(),
        not_null: declared.not_null,
        private: declared.private,
    }
}

/// Says what became of every record that an epoch took in; one entry for each entry of `taken.records`.
pub(super) fn fates(pipeline: &Pipeline, taken: &Taken, run: &EpochRun) -> Vec<Fates> {
    let refused = refused(pipeline, run);
    let of_source = |records: &TakenRecords| {
        let is_own = |sequence: &u64| records.raw.records.binary_search_by_key(sequence, |m| m.sequence).ok();
        let own = |sequences: Option<&Vec<u64>>| -> BTreeSet<usize> {
            sequences.into_iter().flatten().filter_map(is_own).collect()
        };
        let duplicate = own(run.duplicate.get(records.relation));
        let late: Vec<usize> = own(refused.get(records.relation)).difference(&duplicate).copied().collect();
        let mut counts = SourceCounts {
            read: records.raw.len() as u64,
            used: 0,
            duplicate: duplicate.len() as u64,
            late: late.len() as u64,
            rejected: records.rejected.len() as u64,
        };
        counts.used = counts.read.saturating_sub(counts.duplicate + counts.late + counts.rejected);
        Fates { counts, late }
    };
    taken.records.iter().map(of_source).collect()
}

/// For each relation the records that it refused, or that all its readers did where it only hands them on.
fn refused(pipeline: &Pipeline, run: &EpochRun) -> Vec<Vec<u64>> {
    if run.refused.iter().all(Vec::is_empty) {
        return run.refused.clone();
    }
    let mut readers: Vec<BTreeSet<RelationId>> = vec![BTreeSet::new(); pipeline.relations.len()];
    for (id, relation) in pipeline.relations.iter().enumerate() {
        for leaf in relation.inputs.iter().flat_map(|i| &i.segment.leaves) {
            if let Some(readers) = readers.get_mut(*leaf) {
                readers.insert(id);
            }
        }
    }
    let mut refused = run.refused.clone();
    for (id, relation) in pipeline.relations.iter().enumerate().rev() {
        if !hands_on_records(relation) {
            continue;
        }
        let of_reader = |r: &RelationId| -> BTreeSet<u64> { refused.get(*r).into_iter().flatten().copied().collect() };
        let by_all = readers.get(id).and_then(|r| r.iter().map(of_reader).reduce(|a, b| &a & &b)).unwrap_or_default();
        if let Some(own) = refused.get_mut(id) {
            own.extend(by_all);
        }
    }
    refused
}

/// Whether the rows of a relation are still single records of a stream, so that its readers decide about them.
fn hands_on_records(relation: &Relation) -> bool {
    match relation.operator {
        OperatorPlan::SourceStream(..)
        | OperatorPlan::LookupJoin(LookupJoinSpec { wait: None, .. })
        | OperatorPlan::Select => relation.kind == RelationKind::Stream,
        OperatorPlan::SourceTable(..)
        | OperatorPlan::Constant(_)
        | OperatorPlan::TableJoin(_)
        | OperatorPlan::TableAggregate(_)
        | OperatorPlan::TableWindow(_)
        | OperatorPlan::LookupJoin(_)
        | OperatorPlan::IntervalJoin(_)
        | OperatorPlan::WindowAggregate(_)
        | OperatorPlan::RunningWindow(_)
        | OperatorPlan::BucketWindow(_)
        | OperatorPlan::FirstRow(_)
        | OperatorPlan::TopRows(_)
        | OperatorPlan::FinalRows(_)
        | OperatorPlan::Pace(_)
        | OperatorPlan::TemporalFilter(_)
        | OperatorPlan::FrozenRows(_)
        | OperatorPlan::Changes(_)
        | OperatorPlan::Upsert(_) => false,
    }
}

#[cfg(test)]
mod tests;
