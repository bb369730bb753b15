//! The right side of a join alone: what rows of a stream are looked up in.

use arrow::array::RecordBatch;

use super::output::Emitted;
use super::probe::{Seekers, probe};
use super::right_rows::RightRows;
use super::shape::{NONE, Shape};
use super::{TableJoinSpec, empty_right, two_inputs};
use crate::operators::{OperatorError, StateSize};
use crate::state::KeyIndex;
use crate::stream::ChangeBatch;

/// The rows of a table by key, for rows that only pass by.
pub(in crate::operators) struct Lookup {
    shape: Shape,
    keys: KeyIndex,
    right: RightRows,
}

impl Lookup {
    pub(in crate::operators) fn new(spec: TableJoinSpec) -> Result<Self, OperatorError> {
        let shape = Shape::new(spec)?;
        let (keys, right) = empty_right(&shape)?;
        Ok(Self { shape, keys, right })
    }

    /// The two inputs: the stream's rows and the table's changes.
    pub(in crate::operators) fn inputs<'a>(
        &self,
        inputs: &'a [ChangeBatch],
    ) -> Result<(&'a ChangeBatch, &'a ChangeBatch), OperatorError> {
        two_inputs(&self.shape, inputs)
    }

    /// Takes the table's changes in. Returns the bytes of the keys that they touched, which rows are looked up by.
    pub(in crate::operators) fn take_in(&mut self, table: &ChangeBatch) -> Result<Vec<Vec<u8>>, OperatorError> {
        if table.is_empty() {
            return Ok(Vec::new());
        }
        let taken = self.right.take_in(&self.shape, &mut self.keys, table)?;
        let mut touched: Vec<u32> = taken.changes.iter().map(|change| change.key).collect();
        touched.dedup();
        let touched = touched.into_iter().map(|key| self.keys.key(key).to_vec()).collect();
        self.forget(taken.loose_keys);
        Ok(touched)
    }

    /// Looks rows of a stream up. Rows come out in the order of the stream's.
    ///
    /// Of rows for which `may_wait` holds nothing comes out while they have no match; they are returned by their places.
    pub(in crate::operators) fn look_up(
        &mut self,
        stream: &ChangeBatch,
        may_wait: bool,
    ) -> Result<LookedUp, OperatorError> {
        if stream.is_empty() {
            let rows = RecordBatch::new_empty(self.shape.spec.schema.clone());
            return Ok(LookedUp { rows, from: Vec::new(), waiting: Vec::new() });
        }
        let columns = self.shape.columns(&stream.rows)?;
        let mut keys = Vec::with_capacity(columns.n_rows);
        let mut loose_keys = Vec::new();
        for row in 0..columns.n_rows {
            let bytes = columns.keys.get(row);
            keys.push(if self.right.null_key.is_some() {
                // In a NOT IN an unknown key still meets the table's nulls, so it needs an id for now.
                let (key, new) = self.keys.get_or_insert(bytes);
                loose_keys.extend(new.then_some(key));
                key
            } else if columns.cannot_match(row) {
                NONE
            } else {
                self.keys.get(bytes).unwrap_or(NONE)
            });
        }
        let seekers = Seekers { own: &columns.own, keys: &keys, times: &columns.times, weights: &stream.weights };
        let found = probe(&self.shape, &mut self.right, &seekers)?;
        self.forget(loose_keys);
        let mut outcomes = found.outcomes(&stream.weights);
        let mut waiting = Vec::new();
        for (row, outcome) in outcomes.iter_mut().enumerate() {
            if may_wait && !outcome.after && !columns.cannot_match(row) {
                outcome.weight = 0;
                waiting.push(row as u32);
            }
        }
        let emitted = Emitted::new(self.shape.spec.kind, &outcomes, &found.pairs).repeated();
        let rows = self.shape.output((&columns.own, &emitted.left), (&found.right, &emitted.right), emitted.marks)?;
        Ok(LookedUp { rows, from: emitted.left, waiting })
    }

    fn forget(&mut self, mut loose_keys: Vec<u32>) {
        loose_keys.sort_unstable();
        loose_keys.dedup();
        for key in loose_keys {
            if !self.right.rows.contains_key(key) && self.right.null_key != Some(key) {
                self.keys.remove(key);
            }
        }
    }

    pub(in crate::operators) fn state_size(&self) -> StateSize {
        StateSize { rows: self.right.rows.len(), bytes: self.keys.size_bytes() + self.right.size_bytes() }
    }
}

/// What rows of a stream found.
#[derive(Debug)]
pub(in crate::operators) struct LookedUp {
    /// The output rows.
    pub(in crate::operators) rows: RecordBatch,
    /// For each of them the place of the row that it follows from.
    pub(in crate::operators) from: Vec<u32>,
    /// The places of rows that found nothing and may wait.
    pub(in crate::operators) waiting: Vec<u32>,
}
