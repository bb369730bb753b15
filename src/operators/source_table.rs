//! Keeps the latest row per key of a source table.

use arrow::datatypes::SchemaRef;

use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// How a source table keeps its rows.
///
/// The single input is in reading order ([`Order::Sequence`]): weight +1 is an upsert, -1 a tombstone, of which only the
/// key columns count. Output: -1 for the row that was replaced or deleted, +1 for the new one, net over the epoch.
/// A record equal to the current row, or deleting none, is reported in [`Output::duplicate`].
#[derive(Clone, Debug)]
pub struct SourceTableSpec {
    /// The key columns.
    pub key: Vec<usize>,
    /// The columns in use.
    pub schema: SchemaRef,
}

/// Keeps the latest row per key of a source table.
pub struct SourceTable {
    spec: SourceTableSpec,
}

impl SourceTable {
    /// One shard, empty.
    pub fn new(spec: SourceTableSpec) -> Result<Self, OperatorError> {
        Ok(Self { spec })
    }
}

impl Operator for SourceTable {
    fn process(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let _ = &self.spec;
        Err(OperatorError::Function("not built yet".into()))
    }

    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}
