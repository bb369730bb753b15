//! One shard on its way back from logged deltas: decodes them and hands them to the shard's operators.

use super::delta::{DeltaCodec, EpochRecord, Logged};
use super::restore::{RestoreError, check_pipeline, logged_pipeline};
use crate::fail_point;
use crate::operators::Operator;
use crate::plan::{Pipeline, RelationId};
use crate::stream::{Delta, ShardCount};

/// A shard that is being read back.
pub(super) struct ShardReading<'a> {
    pipeline: &'a Pipeline,
    n_shards: ShardCount,
    codec: DeltaCodec,
    /// By relation; none where it keeps no state in this shard.
    operators: Vec<Option<&'a mut dyn Operator>>,
    /// What was read of epochs, the last one first of all.
    pub(super) last: Option<EpochRecord>,
    /// A relation with logged state that the pipeline does not have.
    pub(super) unknown: Option<String>,
}

impl<'a> ShardReading<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        n_shards: ShardCount,
        operators: Vec<Option<&'a mut dyn Operator>>,
    ) -> Self {
        Self { pipeline, n_shards, codec: DeltaCodec::new(usize::MAX), operators, last: None, unknown: None }
    }

    /// Takes a delta in. Returns whether it was the record of an epoch.
    pub(super) fn apply(&mut self, delta: &Delta) -> Result<bool, RestoreError> {
        fail_point::reach("restore.delta");
        match self.codec.decode(delta)? {
            None => Ok(false),
            Some(Logged::Epoch(record)) => {
                self.note(record)?;
                Ok(true)
            }
            Some(Logged::State { operator_id, relation, batch }) => {
                let Some(id) = self.relation_of(&operator_id, &relation) else {
                    // What an epoch says of its pipeline names all differences, but may be read later.
                    self.unknown.get_or_insert(relation);
                    return Ok(false);
                };
                let restored = match self.operators.get_mut(id) {
                    Some(Some(operator)) => operator.restore(&batch),
                    _ => Err(crate::operators::OperatorError::State("the relation keeps no state there".into())),
                };
                restored.map(|()| false).map_err(|source| RestoreError::Operator { relation, source })
            }
        }
    }

    /// Whether the last delta was read in parts, and not all of them.
    pub(super) fn is_incomplete(&self) -> bool {
        self.codec.is_incomplete()
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
    pub(super) fn note(&mut self, record: EpochRecord) -> Result<(), RestoreError> {
        if let Some(logged) = &record.pipeline {
            check_pipeline(logged, &logged_pipeline(self.pipeline, self.n_shards))?;
        }
        if self.last.as_ref().is_none_or(|last| last.epoch <= record.epoch) {
            self.last = Some(record);
        }
        Ok(())
    }
}
