//! Keeps the last row written per key of a sink over a table, and writes only where it differs.

use arrow::datatypes::SchemaRef;

use super::{EpochContext, KeyText, Operator, OperatorError, Output, StateSize};
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
}

/// Keeps the last row written per key of a sink over a table, and writes only where it differs.
pub struct Upsert {
    spec: UpsertSpec,
}

impl Upsert {
    /// One shard, empty.
    pub fn new(spec: UpsertSpec) -> Result<Self, OperatorError> {
        Ok(Self { spec })
    }
}

impl Operator for Upsert {
    fn process(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let _ = &self.spec;
        Err(OperatorError::Function("not built yet".into()))
    }

    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

impl std::fmt::Debug for UpsertSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpsertSpec").finish_non_exhaustive()
    }
}
