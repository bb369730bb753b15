//! The rows that leave an interval join, and the names that they leave under.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use super::IntervalKind;
use crate::operators::OperatorError;
use crate::operators::groups::batch_of;
use crate::operators::row_name::{Cause, row_name};
use crate::stream::{ChangeBatch, Order};

/// Rows that leave in one epoch. Each is named by what it follows from: the row that arrived last, in reading order, or
/// the instant that passed; then by its key, and by a number that counts epochs in which rows left.
///
/// Two shards never have rows of one key, so names never repeat.
pub(super) struct Emission<'a> {
    kind: IntervalKind,
    schema: &'a SchemaRef,
    number: u64,
    names: BinaryBuilder,
    n_rows: usize,
    batches: Vec<RecordBatch>,
}

impl<'a> Emission<'a> {
    /// Nothing yet.
    pub(super) fn new(kind: IntervalKind, schema: &'a SchemaRef, number: u64) -> Self {
        Self { kind, schema, number, names: BinaryBuilder::new(), n_rows: 0, batches: Vec::new() }
    }

    /// How many rows leave.
    pub(super) fn len(&self) -> usize {
        self.n_rows
    }

    /// Names the next row.
    pub(super) fn name(&mut self, cause: Cause<'_>, key: &[u8]) {
        self.names.append_value(row_name(cause, key, self.number));
        self.n_rows += 1;
    }

    /// Adds the rows of pairs that were named before: the places of each in columns of both sides.
    pub(super) fn pairs(
        &mut self,
        (left, l): (&[ArrayRef], &[u32]),
        (right, r): (&[ArrayRef], &[u32]),
    ) -> Result<(), OperatorError> {
        let mut columns = pick(left, l)?;
        columns.extend(pick(right, r)?);
        self.add(columns, l.len())
    }

    /// Adds rows of the left side that were named before, without a partner; a mark says whether they had one.
    pub(super) fn lefts(&mut self, left: &[ArrayRef], places: &[u32], mark: bool) -> Result<(), OperatorError> {
        let mut columns = pick(left, places)?;
        if self.kind == IntervalKind::Mark {
            columns.push(Arc::new(BooleanArray::from(vec![mark; places.len()])));
        }
        for field in self.schema.fields().iter().skip(columns.len()) {
            columns.push(new_null_array(field.data_type(), places.len()));
        }
        self.add(columns, places.len())
    }

    /// Adds rows of the right side that were named before, without a partner.
    pub(super) fn rights(&mut self, right: &[ArrayRef], places: &[u32]) -> Result<(), OperatorError> {
        let n_left = self.schema.fields().len().saturating_sub(right.len());
        let nulls = self.schema.fields().iter().take(n_left).map(|f| new_null_array(f.data_type(), places.len()));
        let columns = nulls.chain(pick(right, places)?).collect();
        self.add(columns, places.len())
    }

    fn add(&mut self, columns: Vec<ArrayRef>, n_rows: usize) -> Result<(), OperatorError> {
        if n_rows > 0 {
            self.batches.push(batch_of(self.schema, columns, n_rows)?);
        }
        Ok(())
    }

    /// All rows, in the order in which they were named.
    pub(super) fn finish(mut self) -> Result<ChangeBatch, OperatorError> {
        if self.n_rows == 0 {
            return Ok(ChangeBatch::empty(self.schema.clone()));
        }
        let rows = arrow::compute::concat_batches(self.schema, &self.batches)?;
        Ok(ChangeBatch { weights: vec![1; rows.num_rows()].into(), rows, order: Order::Key(self.names.finish()) })
    }
}

/// Rows of columns by their places.
pub(super) fn pick(columns: &[ArrayRef], places: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
    let places = UInt32Array::from(places.to_vec());
    Ok(columns.iter().map(|c| take(c, &places, None)).collect::<Result<_, _>>()?)
}
