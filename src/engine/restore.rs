//! From logged deltas back to a running dataflow.
//!
//! Only what cannot be recomputed is logged; everything derived is one run of the plan over the contents of what was
//! logged. State that does not belong to the pipeline is refused by name, never dropped in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dataflow::{Dataflow, DataflowError};
use super::delta::{DeltaCodec, DeltaError, EpochRecord, Logged, LoggedPipeline, LoggedRelation};
use super::watermark::Watermarks;
use super::worker::LoggedControl;
use crate::fail_point;
use crate::plan::{Pipeline, RelationId};
use crate::stream::{Delta, Restored, ShardCount, SourcePartition, StateLog, Watermark};

/// Why state could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The state log could not be read.
    #[error("state could not be read")]
    Log(#[from] crate::stream::SourceError),
    /// A delta could not be decoded.
    #[error("state could not be decoded")]
    Delta(#[from] DeltaError),
    /// The state is that of another pack: run the pack that wrote it, or start with a new pipeline name.
    #[error("state does not belong to this pack: {0}")]
    Pipeline(String),
    /// An operator refused its delta.
    #[error("state of relation `{relation}` could not be applied")]
    Operator {
        /// The relation.
        relation: String,
        /// Why.
        #[source]
        source: crate::operators::OperatorError,
    },
    /// Committed offsets and state disagree: one of the two was changed from outside.
    #[error("partition {partition} of `{relation}` is committed at {committed}, but its state ends at {logged}")]
    Position {
        /// The source relation.
        relation: Arc<str>,
        /// The partition.
        partition: i32,
        /// The committed offset.
        committed: String,
        /// The position in the state.
        logged: String,
    },
    /// The derived state could not be computed.
    #[error("derived state could not be computed")]
    Recompute(#[from] DataflowError),
}

/// A dataflow as the last committed epoch left it.
pub(super) struct Resumed {
    pub(super) dataflow: Dataflow,
    pub(super) watermarks: Watermarks,
    /// The number of the last committed epoch; 0 at a first start.
    pub(super) epoch: u64,
    pub(super) positions: BTreeMap<SourcePartition, i64>,
    pub(super) control: LoggedControl,
}

/// What a pipeline logs, in a form that can be compared.
pub(super) fn logged_pipeline(pipeline: &Pipeline, n_shards: ShardCount) -> LoggedPipeline {
    let mut relations: Vec<LoggedRelation> = pipeline
        .relations
        .iter()
        .filter(|r| r.operator.is_logged())
        .map(|r| LoggedRelation { name: r.name.to_string(), operator_id: r.operator_id.clone() })
        .collect();
    relations.sort();
    LoggedPipeline { n_shards: n_shards.0, relations }
}

/// Builds all operators anew and brings them to the last committed epoch.
pub(super) fn restore(
    pipeline: &Pipeline,
    n_shards: ShardCount,
    log: Option<&mut dyn StateLog>,
) -> Result<Resumed, RestoreError> {
    let mut reading = Reading {
        pipeline,
        codec: DeltaCodec::new(usize::MAX),
        dataflow: Dataflow::new(pipeline, n_shards)?,
        last: None,
        unknown: None,
    };
    let restored = match log {
        Some(log) => {
            let mut failure = None;
            let outcome = log.restore(&mut |delta| {
                reading.apply(&delta).map_err(|e| {
                    let message = e.to_string();
                    failure = Some(e);
                    message
                })
            });
            if let Some(failure) = failure {
                return Err(failure);
            }
            outcome?
        }
        None => Restored::default(),
    };
    reading.finish(restored)
}

struct Reading<'a> {
    pipeline: &'a Pipeline,
    codec: DeltaCodec,
    dataflow: Dataflow,
    last: Option<EpochRecord>,
    /// A relation with logged state that the pipeline does not have.
    unknown: Option<String>,
}

impl Reading<'_> {
    fn apply(&mut self, delta: &Delta) -> Result<(), RestoreError> {
        fail_point::reach("restore.delta");
        match self.codec.decode(delta)? {
            None => Ok(()),
            Some(Logged::Epoch(record)) => self.note(record),
            Some(Logged::State { operator_id, relation, batch }) => {
                let Some(id) = self.relation_of(&operator_id, &relation) else {
                    // What an epoch says of its pipeline names all differences, but may be read later.
                    self.unknown.get_or_insert(relation);
                    return Ok(());
                };
                self.dataflow
                    .restore(id, delta.shard, &batch)
                    .map_err(|source| RestoreError::Operator { relation, source })
            }
        }
    }

    /// The relation that a delta belongs to: by its operator's id; the name decides where two have the same.
    fn relation_of(&self, operator_id: &str, name: &str) -> Option<RelationId> {
        let relations = self.pipeline.relations.iter().enumerate();
        let mut alike = relations.filter(|(_, r)| r.operator.is_logged() && r.operator_id == operator_id);
        let first = alike.next()?;
        let (id, _) = std::iter::once(first).chain(alike).find(|(_, r)| r.name.as_ref() == name).unwrap_or(first);
        Some(id)
    }

    /// Takes note of an epoch, and compares what the pipeline that wrote it logged.
    fn note(&mut self, record: EpochRecord) -> Result<(), RestoreError> {
        if let Some(logged) = &record.pipeline {
            check_pipeline(logged, &logged_pipeline(self.pipeline, self.dataflow.n_shards()))?;
        }
        if self.last.as_ref().is_none_or(|last| last.epoch <= record.epoch) {
            self.last = Some(record);
        }
        Ok(())
    }

    fn finish(mut self, restored: Restored) -> Result<Resumed, RestoreError> {
        if let Some(relation) = self.unknown {
            return Err(RestoreError::Pipeline(format!("`{relation}` is gone or has changed")));
        }
        if self.codec.is_incomplete() {
            return Err(DeltaError::Corrupted("its last parts are missing").into());
        }
        let record = self.last.take().unwrap_or_default();
        let epoch = restored.epoch.max(record.epoch);
        let control = record.control.clone();
        let positions = positions(self.pipeline, &record, restored)?;
        let watermarks = watermarks(self.pipeline, &record);
        self.dataflow.recompute(self.pipeline, &watermarks.of_relations(self.pipeline))?;
        fail_point::reach("restore.done");
        Ok(Resumed { dataflow: self.dataflow, watermarks, epoch, positions, control })
    }
}

/// Refuses state of other operators or another number of shards, with the names of the relations.
fn check_pipeline(logged: &LoggedPipeline, planned: &LoggedPipeline) -> Result<(), RestoreError> {
    if logged.n_shards != planned.n_shards {
        return Err(RestoreError::Pipeline(format!(
            "it has {} shards, but the pipeline has {}",
            logged.n_shards, planned.n_shards
        )));
    }
    let logged_set: BTreeSet<_> = logged.relations.iter().collect();
    let planned_set: BTreeSet<_> = planned.relations.iter().collect();
    let mut differences = Vec::new();
    for relation in planned_set.difference(&logged_set) {
        let known = logged.relations.iter().any(|r| r.name == relation.name);
        differences.push(format!("`{}` {}", relation.name, if known { "has changed" } else { "is new" }));
    }
    for relation in logged_set.difference(&planned_set) {
        if planned.relations.iter().all(|r| r.name != relation.name) {
            differences.push(format!("`{}` is gone", relation.name));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(RestoreError::Pipeline(differences.join(", ")))
}

/// The positions to go on from: those committed, which must be those of the last logged epoch.
fn positions(
    pipeline: &Pipeline,
    record: &EpochRecord,
    restored: Restored,
) -> Result<BTreeMap<SourcePartition, i64>, RestoreError> {
    let name = |text: &str| {
        let known = pipeline.relations.iter().find(|r| r.name.as_ref() == text);
        known.map_or_else(|| Arc::from(text), |r| r.name.clone())
    };
    let logged: BTreeMap<SourcePartition, i64> = record
        .partitions
        .iter()
        .map(|p| (SourcePartition { relation: name(&p.relation), partition: p.partition }, p.position))
        .collect();
    if restored.positions.is_empty() {
        if !logged.is_empty() {
            tracing::warn!(epoch = record.epoch, "no committed offsets; going on from the positions in the state");
        }
        return Ok(logged);
    }
    for partition in logged.keys().chain(restored.positions.keys()) {
        let (a, b) = (restored.positions.get(partition), logged.get(partition));
        if a != b {
            let text = |p: Option<&i64>| p.map_or_else(|| "nothing".to_string(), i64::to_string);
            return Err(RestoreError::Position {
                relation: partition.relation.clone(),
                partition: partition.partition,
                committed: text(a),
                logged: text(b),
            });
        }
    }
    Ok(logged)
}

fn watermarks(pipeline: &Pipeline, record: &EpochRecord) -> Watermarks {
    let mut watermarks = Watermarks::new(pipeline);
    for (id, relation) in pipeline.relations.iter().enumerate() {
        if let Some(ms) = record.watermarks.get(relation.name.as_ref()) {
            watermarks.restore(id, Watermark(*ms));
        }
        for p in record.partitions.iter().filter(|p| p.relation == relation.name.as_ref()) {
            watermarks.set_idle(id, p.partition, false);
            if let Some(event_ms) = p.event_ms_max {
                watermarks.observe(id, p.partition, event_ms);
            }
        }
    }
    watermarks
}
