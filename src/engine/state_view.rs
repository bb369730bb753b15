//! Logged state from outside: what a log holds, and the rows that a restart would read back from it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arrow::record_batch::RecordBatch;

use super::dataflow::Dataflow;
use super::delta::{DeltaCodec, EpochRecord, Logged, LoggedPipeline};
use super::lanes::read_back;
use super::restore::RestoreError;
use super::slices::{SliceLimit, Slices};
use crate::operators::OperatorError;
use crate::plan::{OperatorPlan, Pipeline, RelationId};
use crate::stream::{Delta, LogReader, ShardCount, StateLog};

/// What a state log holds, told without its pack.
#[derive(Debug, Default)]
pub struct StateSummary {
    /// By name of relation.
    pub relations: BTreeMap<String, RelationSummary>,
    /// The last epoch.
    pub last: Option<EpochRecord>,
    /// The pipeline that wrote it.
    pub pipeline: Option<LoggedPipeline>,
}

/// What a state log holds of one relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationSummary {
    /// The id of its operator.
    pub operator_id: String,
    /// The shards that have something of it.
    pub shards: BTreeSet<u32>,
    /// How often it was logged.
    pub n_deltas: u64,
    /// Rows over all deltas; a row that changed has several.
    pub n_delta_rows: u64,
    /// Bytes of deltas in the log.
    pub n_bytes: u64,
}

/// Reads a whole log and says what it holds.
pub fn summarize(log: &mut dyn StateLog) -> Result<StateSummary, RestoreError> {
    let mut reader = Summarizing {
        codec: DeltaCodec::new(usize::MAX),
        bytes: BTreeMap::new(),
        summary: StateSummary::default(),
        failure: None,
    };
    let read = log.restore(&mut reader);
    if let Some(failure) = reader.failure {
        return Err(failure);
    }
    read?;
    Ok(reader.summary)
}

struct Summarizing {
    codec: DeltaCodec,
    /// Bytes of a delta of which parts are missing yet, by shard.
    bytes: BTreeMap<u32, u64>,
    summary: StateSummary,
    failure: Option<RestoreError>,
}

impl Summarizing {
    fn note(&mut self, shard: u32, logged: Logged) {
        let n_bytes = self.bytes.remove(&shard).unwrap_or_default();
        match logged {
            Logged::Epoch(record) => {
                if record.pipeline.is_some() {
                    self.summary.pipeline.clone_from(&record.pipeline);
                }
                if self.summary.last.as_ref().is_none_or(|last| last.epoch <= record.epoch) {
                    self.summary.last = Some(record);
                }
            }
            Logged::State { operator_id, relation, batch } => {
                let known = self.summary.relations.entry(relation).or_default();
                known.operator_id = operator_id;
                known.shards.insert(shard);
                known.n_deltas += 1;
                known.n_delta_rows += batch.num_rows() as u64;
                known.n_bytes += n_bytes;
            }
        }
    }
}

impl LogReader for Summarizing {
    fn begin(&mut self, _ranges: &BTreeMap<u32, Range<i64>>) -> BTreeMap<u32, i64> {
        BTreeMap::new()
    }

    fn take(&mut self, _offset: i64, delta: Delta) -> Result<(), String> {
        *self.bytes.entry(delta.shard).or_default() += delta.bytes.len() as u64;
        match self.codec.decode(&delta) {
            Ok(None) => Ok(()),
            Ok(Some(logged)) => {
                self.note(delta.shard, logged);
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                self.failure = Some(error.into());
                Err(text)
            }
        }
    }
}

/// The logged state of a pack as a restart would read it back; nothing derived is computed.
pub struct StateView<'a> {
    pipeline: &'a Pipeline,
    dataflow: Dataflow,
}

impl<'a> StateView<'a> {
    /// Reads a whole log. Fails if it is that of another pack.
    pub fn read(pipeline: &'a Pipeline, n_shards: ShardCount, log: &mut dyn StateLog) -> Result<Self, RestoreError> {
        let mut dataflow = Dataflow::new(pipeline, n_shards)?;
        read_back(pipeline, &mut dataflow, log, None)?
            .map_err(|unusable| super::delta::DeltaError::Unusable(unusable.reason))?;
        Ok(Self { pipeline, dataflow })
    }

    /// The relations with logged state.
    pub fn relations(&self) -> impl Iterator<Item = RelationId> {
        self.pipeline.relations.iter().enumerate().filter(|(_, r)| r.operator.is_logged()).map(|(id, _)| id)
    }

    /// How many rows or keys a relation has.
    pub fn n_rows(&self, relation: RelationId) -> usize {
        self.dataflow.state_sizes().get(relation).map_or(0, |size| size.rows)
    }

    /// The rows of a relation in the form in which they are logged, in batches of bounded size.
    pub fn rows(&self, relation: RelationId) -> impl Iterator<Item = Result<RecordBatch, OperatorError>> {
        let operators =
            (0..self.dataflow.n_shards().0).filter_map(move |shard| self.dataflow.operator(relation, shard));
        operators.flat_map(|operator| Slices::new(operator, SliceLimit::default()))
    }

    /// Which of a relation's logged columns may hold what a column marked PRIVATE held.
    pub fn private_columns(&self, relation: RelationId) -> PrivateColumns {
        let Some(planned) = self.pipeline.relations.get(relation) else { return PrivateColumns::All };
        let has_named_columns = matches!(
            planned.operator,
            OperatorPlan::SourceTable(..) | OperatorPlan::Upsert(_) | OperatorPlan::Changes(_)
        );
        if let Some(private) = self.pipeline.private.get(planned.name.as_ref()).filter(|_| has_named_columns) {
            return PrivateColumns::Named(private.clone());
        }
        match self.reads_private(relation) {
            true => PrivateColumns::All,
            false => PrivateColumns::Named(BTreeSet::new()),
        }
    }

    /// Whether a relation is, or follows from, one with a PRIVATE column in use.
    fn reads_private(&self, relation: RelationId) -> bool {
        let (mut open, mut seen) = (vec![relation], BTreeSet::from([relation]));
        while let Some(planned) = open.pop().and_then(|id| self.pipeline.relations.get(id)) {
            let in_use = |name: &str| planned.schema.column_with_name(name).is_some();
            if let OperatorPlan::SourceTable(definition, _) | OperatorPlan::SourceStream(definition, _) =
                &planned.operator
                && definition.columns.iter().any(|c| c.private && in_use(&c.name))
            {
                return true;
            }
            let leaves = planned.inputs.iter().flat_map(|input| &input.segment.leaves);
            open.extend(leaves.filter(|leaf| seen.insert(**leaf)));
        }
        false
    }
}

/// Columns that are not to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateColumns {
    /// These.
    Named(BTreeSet<String>),
    /// All: nothing tells which of an operator's own columns hold what is private.
    All,
}

impl PrivateColumns {
    /// Whether a column is one of them.
    pub fn contains(&self, column: &str) -> bool {
        match self {
            Self::Named(names) => names.contains(column),
            Self::All => true,
        }
    }
}
