//! Joins rows of a stream with the rows that a table has at that moment.

use super::{EpochContext, Operator, OperatorError, Output, StateSize, TableJoinSpec};
use crate::stream::ChangeBatch;

/// What a stream's row looks up. Input 0 is the stream, input 1 the table; columns as in [`TableJoinSpec`].
///
/// Changes of the table are taken in before the stream's rows of the same epoch. Semi and anti joins keep the left columns.
#[derive(Clone)]
pub struct LookupJoinSpec {
    /// The join, as between tables.
    pub join: TableJoinSpec,
}

/// Joins rows of a stream with the rows that a table has at that moment.
pub struct LookupJoin {
    spec: LookupJoinSpec,
}

impl LookupJoin {
    /// One shard, empty.
    pub fn new(spec: LookupJoinSpec) -> Result<Self, OperatorError> {
        Ok(Self { spec })
    }
}

impl Operator for LookupJoin {
    fn process(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let _ = &self.spec;
        Err(OperatorError::Function("not built yet".into()))
    }

    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

impl std::fmt::Debug for LookupJoinSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookupJoinSpec").finish_non_exhaustive()
    }
}
