//! Turns a table into the stream of its net changes per key, with a revision.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::SchemaRef;

use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// How `CHANGES(t)` hands on a table.
///
/// Output: `before` and `after` (structs of the table's columns, null where the row did not exist), `revision` (Int64, from
/// 1 per key, without gaps, going on after a disappearance). Order: (key as text, 0, revision big-endian).
/// Before everything is loaded differences gather; then the net difference to the row last handed on leaves as one change.
/// Logged: the last row handed on and the revision of every key ever seen.
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
}

/// Writes key columns as text, one value a row, handed in by the planner.
pub type KeyText = Arc<dyn Fn(&[ArrayRef]) -> Result<BinaryArray, OperatorError> + Send + Sync>;

/// Turns a table into the stream of its net changes per key, with a revision.
pub struct Changes {
    spec: ChangesSpec,
}

impl Changes {
    /// One shard, empty.
    pub fn new(spec: ChangesSpec) -> Result<Self, OperatorError> {
        Ok(Self { spec })
    }
}

impl Operator for Changes {
    fn process(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let _ = &self.spec;
        Err(OperatorError::Function("not built yet".into()))
    }

    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

impl std::fmt::Debug for ChangesSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangesSpec").finish_non_exhaustive()
    }
}
