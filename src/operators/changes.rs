//! Turns a table into the stream of its net changes per key, with a revision.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Fields, SchemaRef};

use super::keyed_differences::{KeyedDifferences, Side, Transition};
use super::{BucketEdge, EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// How `CHANGES(t)` hands on a table.
///
/// Output: `before` and `after` (structs of the table's columns, null where the row did not exist), `revision` (Int64, from
/// 1 per key, without gaps, going on after a disappearance). Order: (key as text, 0, revision big-endian).
/// Before everything is loaded, and while the sink is paused, differences gather; then the net difference to the row last
/// handed on leaves as one change.
/// Logged: the last row handed on and the revision of every key that has rows or may come again.
#[derive(Clone)]
pub struct ChangesSpec {
    /// The key columns.
    pub key: Vec<usize>,
    /// Writes key columns as on the wire.
    pub key_text: KeyText,
    /// The table's columns.
    pub input: SchemaRef,
    /// The output: before, after, revision.
    pub schema: SchemaRef,
    /// For how long a key's change must be stable before it leaves, in milliseconds of the wall clock; 0 = at once.
    pub settle_ms: i64,
    /// At which watermark (ms) a key is forgotten that lost its last row at another, since it cannot come again; none = never.
    pub gone_until: Option<BucketEdge>,
}

/// Writes key columns as text, one value a row, handed in by the planner.
pub type KeyText = Arc<dyn Fn(&[ArrayRef]) -> Result<BinaryArray, OperatorError> + Send + Sync>;

/// Turns a table into the stream of its net changes per key, with a revision.
///
/// A delta has the table's columns, `_present` (whether the key has a row) and `_revision` (0 = the key was forgotten).
pub struct Changes {
    schema: SchemaRef,
    before: Fields,
    after: Fields,
    key_text: KeyText,
    rows: KeyedDifferences,
}

impl Changes {
    /// One shard, empty.
    pub fn new(spec: ChangesSpec) -> Result<Self, OperatorError> {
        let side = |idx: usize| match spec.schema.fields().get(idx).map(|f| f.data_type()) {
            Some(DataType::Struct(fields)) if fields.len() == spec.input.fields().len() => Ok(fields.clone()),
            other => Err(OperatorError::Function(format!("column {idx} of CHANGES is not the table's row: {other:?}"))),
        };
        Ok(Self {
            before: side(0)?,
            after: side(1)?,
            rows: KeyedDifferences::new(&spec.input, spec.key, spec.settle_ms)?.leaving_when_gone(spec.gone_until),
            schema: spec.schema,
            key_text: spec.key_text,
        })
    }

    fn structs(&self, fields: &Fields, transitions: &[Transition], side: Side) -> Result<ArrayRef, OperatorError> {
        let exists = transitions.iter().map(|t| if side == Side::Before { t.had_row() } else { t.has_row() });
        let exists: NullBuffer = exists.collect();
        let missing = BooleanArray::new(!exists.inner(), None);
        // A field is read without a look at the struct around it: where there is no row, its fields are null themselves.
        let values = self.rows.columns(transitions, side)?;
        let columns = values.iter().map(|c| nullif(c, &missing)).collect::<Result<Vec<ArrayRef>, _>>()?;
        Ok(Arc::new(StructArray::try_new(fields.clone(), columns, Some(exists))?))
    }
}

impl Operator for Changes {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let Some(input) = inputs.first() else { return Ok(ChangeBatch::empty(self.schema.clone()).into()) };
        let transitions = self.rows.process(input, ctx)?;
        if transitions.is_empty() {
            return Ok(ChangeBatch::empty(self.schema.clone()).into());
        }
        let (transitions, order) = self.rows.sort(transitions, &self.key_text)?;
        let columns = vec![
            self.structs(&self.before, &transitions, Side::Before)?,
            self.structs(&self.after, &transitions, Side::After)?,
            Arc::new(Int64Array::from_iter_values(transitions.iter().map(|t| t.revision))),
        ];
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        Ok(ChangeBatch { weights: vec![1; rows.num_rows()].into(), rows, order }.into())
    }

    fn forget(&mut self, inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<ChangeBatch, OperatorError> {
        inputs.iter().filter(|i| !i.is_empty()).try_for_each(|input| self.rows.forget(input))?;
        Ok(ChangeBatch::empty(self.schema.clone()))
    }

    fn next_hand_over(&self) -> Option<i64> {
        self.rows.next_hand_over()
    }

    fn n_waiting(&self) -> usize {
        self.rows.n_waiting()
    }

    fn take_back(&mut self) -> Result<(), OperatorError> {
        self.rows.take_back();
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        self.rows.take_delta()
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        self.rows.restore(delta)
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        self.rows.slice(slots)
    }

    fn double_keys(&self) -> u64 {
        self.rows.n_double()
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.rows.len(), bytes: self.rows.size_bytes() }
    }
}

impl std::fmt::Debug for ChangesSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangesSpec").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
