//! A source that says all its rows: what its table holds besides is deleted.

use std::collections::HashSet;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};

use super::{Dataflow, DataflowError, failed};
use crate::operators::OperatorError;
use crate::plan::{OperatorPlan, Pipeline, RelationId};
use crate::stream::{ChangeBatch, Order};

/// The number of a deletion that no record asks for.
const NO_RECORD: u64 = u64::MAX;

impl Dataflow {
    /// Appends a deletion for each key that a source table holds and `rows` does not.
    pub(in super::super) fn delete_missing(
        &self,
        pipeline: &Pipeline,
        id: RelationId,
        rows: &mut ChangeBatch,
    ) -> Result<(), DataflowError> {
        let relation = &pipeline.relations[id];
        let OperatorPlan::SourceTable(_, spec) = &relation.operator else { return Ok(()) };
        let missing = || -> Result<Vec<RecordBatch>, OperatorError> {
            let fields = spec.key.iter().filter_map(|c| relation.schema.fields().get(*c));
            let converter = RowConverter::new(fields.map(|f| SortField::new(f.data_type().clone())).collect())?;
            let keys = |batch: &RecordBatch| {
                let columns: Vec<ArrayRef> = spec.key.iter().filter_map(|c| batch.columns().get(*c).cloned()).collect();
                converter.convert_columns(&columns)
            };
            let given = keys(&rows.rows)?;
            let present = rows.weights.iter().enumerate().filter(|(_, w)| **w > 0);
            let present: HashSet<&[u8]> = present.map(|(row, _)| given.row(row).data()).collect();
            let mut missing = Vec::new();
            for part in 0.. {
                let Some(held) = self.contents(id, relation, part)? else { break };
                let held_keys = keys(&held.rows)?;
                let is_missing = |row: &u32| !present.contains(held_keys.row(*row as usize).data());
                let gone: UInt32Array = (0..held.len() as u32).filter(is_missing).collect::<Vec<_>>().into();
                if !gone.is_empty() {
                    let columns = take_record_batch(&held.rows, &gone)?.columns().to_vec();
                    missing.push(RecordBatch::try_new(rows.rows.schema(), columns)?);
                }
            }
            Ok(missing)
        };
        let missing = missing().map_err(|e| failed(relation, e))?;
        let deletions = missing.into_iter().map(|gone| ChangeBatch {
            weights: vec![-1; gone.num_rows()].into(),
            order: Order::Sequence(vec![NO_RECORD; gone.num_rows()].into()),
            rows: gone,
        });
        let all: Vec<ChangeBatch> = std::iter::once(rows.clone()).chain(deletions).collect();
        *rows = ChangeBatch::concat(&rows.rows.schema(), &all).map_err(|e| failed(relation, e.into()))?;
        Ok(())
    }
}
