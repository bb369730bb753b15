//! Drops records of a stream whose key was seen within a time.

use arrow::datatypes::SchemaRef;

use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// What counts as a repetition.
///
/// Logged: the keys with the event time after which they are forgotten.
#[derive(Clone, Debug)]
pub struct DeduplicateSpec {
    /// The key columns.
    pub key: Vec<usize>,
    /// The event time column.
    pub event_time: usize,
    /// For how long a key is remembered, in milliseconds of event time from its first record.
    pub unique_for_ms: i64,
    /// The columns.
    pub schema: SchemaRef,
}

/// Drops records of a stream whose key was seen within a time.
pub struct Deduplicate {
    spec: DeduplicateSpec,
}

impl Deduplicate {
    /// One shard, empty.
    pub fn new(spec: DeduplicateSpec) -> Result<Self, OperatorError> {
        Ok(Self { spec })
    }
}

impl Operator for Deduplicate {
    fn process(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let _ = &self.spec;
        Err(OperatorError::Function("not built yet".into()))
    }

    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}
