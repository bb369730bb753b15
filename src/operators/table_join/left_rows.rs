//! The left side of a join of tables: its rows by key, and what a batch of changes did to them.

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

use super::right_rows::{own, stored};
use super::shape::{Columns, NONE, Shape, net_weights};
use crate::operators::{JoinKind, OperatorError};
use crate::state::{KeyIndex, WeightedRows};
use crate::stream::ChangeBatch;

/// The left side's rows. Rows that can never be part of the output are not kept.
#[derive(Default)]
pub(super) struct LeftRows {
    pub(super) rows: WeightedRows,
    /// By row, where a filter decides and the number of matches counts: the visible weight of its matches.
    matches: Vec<i64>,
}

/// A batch of left changes after they were taken in.
pub(super) struct TakenIn {
    pub(super) columns: Columns,
    /// By row of the batch: its key, [`NONE`] if it is not kept.
    pub(super) keys: Vec<u32>,
    /// By row of the batch: the change of its visible weight.
    pub(super) weights: Vec<i64>,
    /// By row of the batch: its id, [`NONE`] if it has no visible weight.
    pub(super) ids: Vec<u32>,
    /// Keys that may have lost their last row.
    pub(super) loose_keys: Vec<u32>,
}

/// Whether the matches of each left row must be counted: no key's total tells them.
pub(super) fn counts_matches(shape: &Shape) -> bool {
    shape.spec.filter.is_some() && shape.spec.kind != JoinKind::Inner && !shape.spec.as_of
}

impl LeftRows {
    /// Applies a batch of changes.
    pub(super) fn take_in(
        &mut self,
        shape: &Shape,
        keys: &mut KeyIndex,
        batch: &ChangeBatch,
    ) -> Result<TakenIn, OperatorError> {
        let columns = shape.columns(&batch.rows)?;
        let rows = shape.left.encode(&columns.own, columns.n_rows)?;
        let net = net_weights(batch, &columns, &rows);
        let n_rows = net.len();
        let mut taken = TakenIn {
            columns,
            keys: Vec::with_capacity(n_rows),
            weights: Vec::with_capacity(n_rows),
            ids: Vec::with_capacity(n_rows),
            loose_keys: Vec::new(),
        };
        let mut scratch = Vec::new();
        for (place, weight) in net.into_iter().enumerate() {
            let (mut key, mut id, mut change) = (NONE, NONE, 0);
            let never = shape.needs_match() && taken.columns.cannot_match(place);
            if weight != 0 && !never {
                (key, _) = keys.get_or_insert(taken.columns.keys.get(place));
                let update = self.rows.update(key, stored(&taken.columns, &rows, place, &mut scratch), weight);
                change = update.after.max(0) - update.before.max(0);
                if update.after == 0 {
                    taken.loose_keys.push(key);
                }
                if update.after > 0 {
                    id = update.row;
                }
            }
            taken.keys.push(key);
            taken.ids.push(id);
            taken.weights.push(change);
        }
        Ok(taken)
    }

    /// The own columns of rows.
    pub(super) fn decode(&self, shape: &Shape, rows: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        shape.left.decode(rows.iter().map(|id| own(shape, self.rows.row(*id))))
    }

    /// The visible rows of a key with their weights.
    pub(super) fn visible(&self, key: u32) -> impl Iterator<Item = (u32, i64)> {
        self.rows.ids_of(key).map(|id| (id, self.rows.weight(id))).filter(|(_, w)| *w > 0)
    }

    /// All visible rows with their weights.
    pub(super) fn all_visible(&self) -> impl Iterator<Item = (u32, i64)> {
        self.rows.ids().map(|id| (id, self.rows.weight(id))).filter(|(_, w)| *w > 0)
    }

    /// The counted matches of a row.
    pub(super) fn matches(&self, id: u32) -> i64 {
        self.matches.get(id as usize).copied().unwrap_or(0)
    }

    /// Sets the counted matches of a row.
    pub(super) fn set_matches(&mut self, id: u32, matches: i64) {
        if self.matches.len() <= id as usize {
            self.matches.resize(id as usize + 1, 0);
        }
        self.matches[id as usize] = matches;
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.rows.size_bytes() + self.matches.capacity() * size_of::<i64>()
    }
}
