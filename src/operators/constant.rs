//! Rows that are part of the query: they were there before the first record.

use arrow::array::RecordBatch;

use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// Rows that are part of the query.
#[derive(Clone, Debug)]
pub struct ConstantSpec {
    /// The rows.
    pub rows: RecordBatch,
}

/// A table of constant rows. It never changes; what reads it finds its rows as contents when it is built, at a first start
/// as after a restore.
pub struct Constant {
    rows: RecordBatch,
}

impl Constant {
    /// The rows, which one shard holds.
    pub fn new(spec: ConstantSpec) -> Self {
        Self { rows: spec.rows }
    }
}

impl Operator for Constant {
    fn process(&mut self, _: &[ChangeBatch], _: &EpochContext) -> Result<Output, OperatorError> {
        Ok(ChangeBatch::empty(self.rows.schema()).into())
    }

    fn contents(&self, part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        let all = || ChangeBatch::table(self.rows.clone(), vec![1; self.rows.num_rows()]);
        Ok((part == 0).then(all))
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.rows.num_rows(), bytes: self.rows.get_array_memory_size() }
    }
}
