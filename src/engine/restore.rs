//! From logged deltas back to a running dataflow.
//!
//! Only what cannot be recomputed is logged; everything derived is one run of the plan over the contents of what was
//! logged. State that does not belong to the pipeline is refused by name, never dropped in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dataflow::{Dataflow, DataflowError};
use super::delta::{DeltaError, EpochRecord, LoggedPipeline, LoggedRelation};
use super::lanes::{ReadBack, Unusable, read_back};
use super::shared_topics::has_no_position;
use super::watermark::Watermarks;
use super::worker::LoggedControl;
use crate::fail_point;
use crate::local::SnapshotDir;
use crate::metrics;
use crate::plan::Pipeline;
use crate::stream::{Restored, ShardCount, SourcePartition, StateLog, Watermark};

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
    /// The hash of the audit trail's last line.
    pub(super) audit_head: Option<String>,
    /// What tells the log from another one of the same name; none before the first epoch.
    pub(super) log_began_ms: Option<i64>,
    /// By shard how many bytes of deltas its log holds, as far as they have been read.
    pub(super) log_bytes: BTreeMap<u32, u64>,
    /// By shard how many of them were read from the log itself and not from a snapshot.
    pub(super) new_bytes: BTreeMap<u32, u64>,
    /// How many shards were read from a local snapshot.
    pub(super) n_snapshots: usize,
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

/// Builds all operators anew and brings them to the last committed epoch: from snapshots where they can be used, and from
/// the log on from there.
pub(super) fn restore(
    pipeline: &Pipeline,
    n_shards: ShardCount,
    mut log: Option<&mut (dyn StateLog + '_)>,
    snapshots: Option<&SnapshotDir>,
) -> Result<Resumed, RestoreError> {
    if snapshots.is_some() {
        let log = log.as_mut().map(|log| &mut **log as &mut dyn StateLog);
        match attempt(pipeline, n_shards, log, snapshots)? {
            Ok(resumed) => return Ok(resumed),
            Err(Unusable { shard, reason }) => discard(snapshots, n_shards, shard, &reason),
        }
    }
    match attempt(pipeline, n_shards, log, None)? {
        Ok(resumed) => Ok(resumed),
        Err(Unusable { reason, .. }) => Err(DeltaError::Unusable(reason).into()),
    }
}

/// A snapshot turned out not to belong to the log when it had been used already.
fn discard(snapshots: Option<&SnapshotDir>, n_shards: ShardCount, shard: u32, reason: &str) {
    tracing::warn!(shard, reason, "local snapshots do not belong to the state topic; reading the whole topic instead");
    for (dir, shard) in snapshots.into_iter().flat_map(|dir| (0..n_shards.0).map(move |shard| (dir, shard))) {
        metrics::count_snapshot("discarded");
        if let Err(error) = dir.discard(shard) {
            tracing::warn!(%error, path = %dir.path(shard).display(), "could not delete a snapshot");
        }
    }
}

fn attempt(
    pipeline: &Pipeline,
    n_shards: ShardCount,
    log: Option<&mut (dyn StateLog + '_)>,
    snapshots: Option<&SnapshotDir>,
) -> Result<Result<Resumed, Unusable>, RestoreError> {
    let mut dataflow = Dataflow::new(pipeline, n_shards)?;
    let (read, restored) = match log {
        None => (ReadBack::default(), Restored::default()),
        Some(log) => match read_back(pipeline, &mut dataflow, log, snapshots)? {
            Ok(read) => read,
            Err(unusable) => return Ok(Err(unusable)),
        },
    };
    let record = read.last.unwrap_or_default();
    for (shard, used) in &read.snapshots {
        let reason = if record.log_began_ms != used.log_began_ms {
            "it is of another log of the same name"
        } else if record.epoch < used.epoch {
            "it is ahead of the log"
        } else {
            continue;
        };
        return Ok(Err(Unusable { shard: *shard, reason: reason.to_owned() }));
    }
    let epoch = restored.epoch.max(record.epoch);
    let (control, audit_head) = (record.control.clone(), record.audit_head.clone());
    let positions = positions(pipeline, &record, restored)?;
    let watermarks = watermarks(pipeline, &record);
    dataflow.recompute(pipeline, &watermarks.of_relations(pipeline))?;
    fail_point::reach("restore.done");
    Ok(Ok(Resumed {
        dataflow,
        watermarks,
        epoch,
        positions,
        control,
        audit_head,
        log_began_ms: (epoch > 0).then_some(record.log_began_ms),
        log_bytes: read.log_bytes,
        new_bytes: read.new_bytes,
        n_snapshots: read.snapshots.len(),
    }))
}

/// Refuses state of other operators or another number of shards, with the names of the relations.
pub(super) fn check_pipeline(logged: &LoggedPipeline, planned: &LoggedPipeline) -> Result<(), RestoreError> {
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
    // The positions of files, and of relations that another one reads for, are known to the state alone.
    let is_own = |p: &&SourcePartition| !has_no_position(pipeline, &p.relation);
    for partition in logged.keys().chain(restored.positions.keys()).filter(is_own) {
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
