//! Joins two tables by key, re-deriving what either side changes.

mod as_of;
mod equi;
mod full;
mod left_rows;
mod lookup;
#[cfg(test)]
pub(super) mod model;
mod output;
mod probe;
mod right_rows;
mod shape;
#[cfg(test)]
mod tests;

use arrow::datatypes::{DataType, SchemaRef};

use self::left_rows::{LeftRows, counts_matches};
use self::output::{Derived, Emitted, is_net};
use self::probe::{Seekers, probe};
use self::right_rows::RightRows;
use self::shape::{NONE, Shape};
use super::{EpochContext, Operator, OperatorError, Output, Predicate, StateSize};
use crate::state::KeyIndex;
use crate::stream::ChangeBatch;

pub use self::full::FullJoin;
pub(super) use self::lookup::{LookedUp, Lookup};

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
    /// left row's timestamp matches (ties cannot be: the timestamp belongs to the right side's key; where a change of a
    /// version overtakes another for a moment, the greater row counts). A null timestamp matches nothing.
    pub as_of: bool,
    /// Whether null keys match null keys (`IS NOT DISTINCT FROM`).
    pub null_equals_null: bool,
    /// `NOT IN`: a null on either side makes the comparison unknown (anti join on exactly one key column).
    pub null_aware: bool,
    /// What matching rows must satisfy besides, over left own columns then right own columns. With `as_of` only versions
    /// that satisfy it are candidates.
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
    /// Matching pairs, and rows of either side without a match with nulls ([`FullJoin`]).
    Full,
}

/// Joins two tables by key, re-deriving what either side changes.
///
/// A row counts on either side while its weight is above zero. The change of the output is `changed right x old left` and
/// `changed left x new right`, so each pair is derived once. Both sides share one index of keys.
/// After an error the state is not to be used any more.
pub struct TableJoin {
    shape: Shape,
    keys: KeyIndex,
    left: LeftRows,
    right: RightRows,
}

impl TableJoin {
    /// One shard, empty. Refuses what cannot be joined.
    pub fn new(spec: TableJoinSpec) -> Result<Self, OperatorError> {
        let shape = Shape::new(spec)?;
        let (keys, right) = empty_right(&shape)?;
        Ok(Self { shape, keys, left: LeftRows::default(), right })
    }

    fn take_in_right(&mut self, batch: &ChangeBatch) -> Result<Derived, OperatorError> {
        let Self { shape, keys, left, right } = self;
        let taken = right.take_in(shape, keys, batch)?;
        let derived = match shape.spec.as_of {
            true => as_of::rederive(shape, left, right, &taken)?,
            false => equi::rederive(shape, left, right, &taken)?,
        };
        self.forget(taken.loose_keys);
        Ok(derived)
    }

    fn take_in_left(&mut self, batch: &ChangeBatch) -> Result<Derived, OperatorError> {
        let Self { shape, keys, left, right } = self;
        let taken = left.take_in(shape, keys, batch)?;
        let own = &taken.columns.own;
        let seekers = Seekers { own, keys: &taken.keys, times: &taken.columns.times, weights: &taken.weights };
        let found = probe(shape, right, &seekers)?;
        if counts_matches(shape) {
            let changed = taken.ids.iter().zip(&taken.weights).map(|(id, w)| *id != NONE && *w != 0);
            for (place, _) in changed.enumerate().filter(|(_, c)| *c) {
                left.set_matches(taken.ids[place], found.matches[place]);
            }
        }
        let emitted = Emitted::new(shape.spec.kind, &found.outcomes(&taken.weights), &found.pairs);
        let net = is_net(&emitted.left, &emitted.weights, |place| taken.rows.get(place as usize));
        let changes = emitted.into_table(shape, own, &found.right)?;
        self.forget(taken.loose_keys);
        Ok(Derived { changes, net })
    }

    /// Forgets those keys that have no rows on either side.
    fn forget(&mut self, mut loose_keys: Vec<u32>) {
        loose_keys.sort_unstable();
        loose_keys.dedup();
        for key in loose_keys {
            let used = self.left.rows.contains_key(key) || self.right.rows.contains_key(key);
            if !used && self.right.null_key != Some(key) {
                self.keys.remove(key);
            }
        }
    }
}

/// An empty right side and its index of keys. The key that is null has an id from the start where `NOT IN` asks for it.
fn empty_right(shape: &Shape) -> Result<(KeyIndex, RightRows), OperatorError> {
    let (mut keys, mut right) = (KeyIndex::default(), RightRows::default());
    if shape.spec.null_aware {
        right.null_key = Some(keys.get_or_insert(&shape.null_key()?).0);
    }
    Ok((keys, right))
}

impl Operator for TableJoin {
    fn process(&mut self, inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let (left, right) = two_inputs(&self.shape, inputs)?;
        let mut parts = Vec::new();
        if !right.is_empty() {
            parts.push(self.take_in_right(right)?);
        }
        if !left.is_empty() {
            parts.push(self.take_in_left(left)?);
        }
        parts.retain(|part: &Derived| !part.changes.is_empty());
        let net = parts.len() < 2 && parts.iter().all(|part| part.net);
        let parts: Vec<ChangeBatch> = parts.into_iter().map(|part| part.changes).collect();
        let changes = ChangeBatch::concat(&self.shape.spec.schema, &parts)?;
        Ok(if net || changes.weights.iter().all(|w| *w < 0) { changes } else { changes.consolidate()? }.into())
    }

    fn state_size(&self) -> StateSize {
        StateSize {
            rows: self.left.rows.len() + self.right.rows.len(),
            bytes: self.keys.size_bytes() + self.left.size_bytes() + self.right.size_bytes(),
        }
    }
}

/// The two inputs of a join. Times of both must be in one unit, or they could not be compared.
fn two_inputs<'a>(
    shape: &Shape,
    inputs: &'a [ChangeBatch],
) -> Result<(&'a ChangeBatch, &'a ChangeBatch), OperatorError> {
    let [left, right] = inputs else {
        return Err(OperatorError::Function(format!("a join has two inputs, not {}", inputs.len())));
    };
    if shape.spec.as_of {
        let unit = |batch: &ChangeBatch| match batch.rows.schema_ref().fields().get(shape.spec.n_keys)?.data_type() {
            DataType::Timestamp(unit, _) => Some(*unit),
            _ => None,
        };
        if unit(left).is_none() || unit(left) != unit(right) {
            return Err(OperatorError::Function("AS OF compares timestamps of one unit".into()));
        }
    }
    Ok((left, right))
}

impl std::fmt::Debug for TableJoinSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableJoinSpec").finish_non_exhaustive()
    }
}
