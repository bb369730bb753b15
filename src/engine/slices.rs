//! The logged state of an operator in slices of bounded size.

use arrow::record_batch::RecordBatch;

use crate::operators::{Operator, OperatorError};

/// How large a slice may be.
#[derive(Clone, Copy, Debug)]
pub struct SliceLimit {
    /// Rows.
    pub rows: usize,
    /// About so many bytes of memory, judged by the average row.
    pub bytes: usize,
}

impl Default for SliceLimit {
    fn default() -> Self {
        Self { rows: 8192, bytes: 1 << 20 }
    }
}

impl SliceLimit {
    /// How many slots of an operator make a slice.
    pub(super) fn slots(&self, operator: &dyn Operator) -> usize {
        let size = operator.state_size();
        let row_bytes = size.bytes / size.rows.max(1);
        (self.bytes / row_bytes.max(1)).clamp(1, self.rows.max(1))
    }
}

/// All slices of an operator that have rows.
pub(super) struct Slices<'a> {
    operator: &'a dyn Operator,
    slot: usize,
    n_slots: usize,
}

impl<'a> Slices<'a> {
    pub(super) fn new(operator: &'a dyn Operator, limit: SliceLimit) -> Self {
        Self { operator, slot: 0, n_slots: limit.slots(operator) }
    }
}

impl Iterator for Slices<'_> {
    type Item = Result<RecordBatch, OperatorError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let slice = self.operator.slice(self.slot..self.slot.saturating_add(self.n_slots)).transpose()?;
            self.slot = self.slot.saturating_add(self.n_slots);
            if slice.as_ref().map_or(true, |rows| rows.num_rows() > 0) {
                return Some(slice);
            }
        }
    }
}
