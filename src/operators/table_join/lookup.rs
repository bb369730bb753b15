//! The right side of a join alone: what rows of a stream are looked up in.

use arrow::array::{BinaryArray, RecordBatch};

use super::output::Emitted;
use super::probe::{Seekers, probe};
use super::right_rows::RightRows;
use super::shape::{NONE, Shape};
use super::{TableJoinSpec, empty_right, two_inputs};
use crate::operators::{OperatorError, StateSize};
use crate::state::KeyIndex;
use crate::stream::{ChangeBatch, Order};

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

    /// Takes the table's changes in, then looks the stream's rows up. Rows come out in the order of the stream's.
    pub(in crate::operators) fn process(&mut self, inputs: &[ChangeBatch]) -> Result<ChangeBatch, OperatorError> {
        let (stream, table) = two_inputs(&self.shape, inputs)?;
        if !table.is_empty() {
            let taken = self.right.take_in(&self.shape, &mut self.keys, table)?;
            self.forget(taken.loose_keys);
        }
        if stream.is_empty() {
            return Ok(ChangeBatch::empty(self.shape.spec.schema.clone()));
        }
        self.look_up(stream)
    }

    fn look_up(&mut self, stream: &ChangeBatch) -> Result<ChangeBatch, OperatorError> {
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
        let emitted = Emitted::new(self.shape.spec.kind, &found.outcomes(&stream.weights), &found.pairs).repeated();
        let rows = self.shape.output((&columns.own, &emitted.left), (&found.right, &emitted.right), emitted.marks)?;
        Ok(ordered(rows, &stream.order, &emitted.left))
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

/// Rows of a stream, each in the place of the row that it follows from.
fn ordered(rows: RecordBatch, order: &Order, from: &[u32]) -> ChangeBatch {
    let order = match order {
        Order::Unordered => Order::Unordered,
        Order::Sequence(s) => Order::Sequence(from.iter().map(|i| s[*i as usize]).collect()),
        Order::Key(k) => Order::Key(from.iter().map(|i| Some(k.value(*i as usize))).collect::<BinaryArray>()),
    };
    ChangeBatch { weights: vec![1; rows.num_rows()].into(), rows, order }
}
