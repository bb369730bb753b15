//! Joins two tables by key, re-deriving what either side changes.

use arrow::datatypes::{DataType, SchemaRef};

use super::{EpochContext, Operator, OperatorError, Output, Predicate, StateSize};
use crate::stream::ChangeBatch;

/// What a join of tables matches and yields.
///
/// Columns of each input: the `n_keys` key columns, then (with `as_of`) one timestamp column, then the side's own columns.
/// Output: the own columns of the left side, then of the right side (none for semi and anti; one Boolean for mark).
#[derive(Clone)]
pub struct TableJoinSpec {
    /// The kind of join.
    pub kind: JoinKind,
    /// The number of key columns; 0 joins every row with every row that the filter accepts.
    pub n_keys: usize,
    /// Whether the right side is versioned: of the rows of a key, the one with the greatest timestamp at or before the
    /// left row's timestamp matches (ties cannot be: the timestamp belongs to the right side's key).
    pub as_of: bool,
    /// Whether null keys match null keys (`IS NOT DISTINCT FROM`).
    pub null_equals_null: bool,
    /// `NOT IN`: a null on the right side makes every comparison unknown (anti join only).
    pub null_aware: bool,
    /// What matching rows must satisfy besides, over left own columns then right own columns.
    pub filter: Option<Predicate>,
    /// The own columns of the left side.
    pub left: SchemaRef,
    /// The own columns of the right side.
    pub right: SchemaRef,
    /// The key columns' types.
    pub keys: Vec<DataType>,
    /// The output.
    pub schema: SchemaRef,
}

/// The kinds of join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Matching pairs.
    Inner,
    /// Matching pairs, and left rows without a match with nulls.
    Left,
    /// Left rows with a match.
    LeftSemi,
    /// Left rows without a match.
    LeftAnti,
    /// Left rows with a Boolean column that says whether there is a match.
    LeftMark,
}

/// Joins two tables by key, re-deriving what either side changes.
pub struct TableJoin {
    spec: TableJoinSpec,
}

impl TableJoin {
    /// One shard, empty.
    pub fn new(spec: TableJoinSpec) -> Result<Self, OperatorError> {
        Ok(Self { spec })
    }
}

impl Operator for TableJoin {
    fn process(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let _ = &self.spec;
        Err(OperatorError::Function("not built yet".into()))
    }

    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

impl std::fmt::Debug for TableJoinSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableJoinSpec").finish_non_exhaustive()
    }
}
