//! Keeps the last row written per key of a sink over a table, and writes only where it differs.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::keyed_differences::{KeyedDifferences, Side};
use super::{BucketEdge, EpochContext, KeyText, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// How a sink over a table writes.
///
/// Output: weight +1 a row to write, weight -1 a key to delete (the row as last written); one row a key and epoch. Order:
/// (key as text, 0, number of the write to that key big-endian). Before everything is loaded differences gather.
/// Logged: the last row written and the number of writes per key.
#[derive(Clone)]
pub struct UpsertSpec {
    /// The key columns.
    pub key: Vec<usize>,
    /// Writes key columns as on the wire.
    pub key_text: KeyText,
    /// The columns.
    pub schema: SchemaRef,
    /// For how long a key's change must be stable before it leaves, in milliseconds of the wall clock; 0 = at once.
    pub settle_ms: i64,
    /// At which watermark (ms) a key is forgotten that lost its last row at another, since it cannot come again; none = never.
    pub gone_until: Option<BucketEdge>,
}

/// Keeps the last row written per key of a sink over a table, and writes only where it differs.
///
/// A delta has the table's columns, `_present` (whether the key has a row) and `_revision` (0 = the key was forgotten), the number of writes.
pub struct Upsert {
    schema: SchemaRef,
    key_text: KeyText,
    rows: KeyedDifferences,
}

impl Upsert {
    /// One shard, empty.
    pub fn new(spec: UpsertSpec) -> Result<Self, OperatorError> {
        Ok(Self {
            rows: KeyedDifferences::new(&spec.schema, spec.key, spec.settle_ms)?.leaving_when_gone(spec.gone_until),
            schema: spec.schema,
            key_text: spec.key_text,
        })
    }
}

impl Operator for Upsert {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let Some(input) = inputs.first() else { return Ok(ChangeBatch::empty(self.schema.clone()).into()) };
        let transitions = self.rows.process(input, ctx)?;
        if transitions.is_empty() {
            return Ok(ChangeBatch::empty(self.schema.clone()).into());
        }
        let (transitions, order) = self.rows.sort(transitions, &self.key_text)?;
        let rows = RecordBatch::try_new(self.schema.clone(), self.rows.columns(&transitions, Side::Either)?)?;
        let weights = transitions.iter().map(|t| if t.has_row() { 1 } else { -1 }).collect();
        Ok(ChangeBatch { rows, weights, order }.into())
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

impl std::fmt::Debug for UpsertSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpsertSpec").finish_non_exhaustive()
    }
}
