//! The right side of a join: its rows by key, and what a batch of changes did to them.

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

use super::shape::{Columns, EncodedRows, NO_TIME, NONE, Shape, net_weights};
use crate::operators::OperatorError;
use crate::state::{KeyIndex, WeightedRows};
use crate::stream::ChangeBatch;

/// The bytes of the time before a row's own columns, in `as_of` joins.
const TIME_BYTES: usize = 8;

/// The right side's rows. Rows that can match nothing are not kept.
#[derive(Default)]
pub(super) struct RightRows {
    pub(super) rows: WeightedRows,
    /// By key: the visible weight of its rows.
    weight_of_key: Vec<i64>,
    /// The visible weight of all rows.
    total: i64,
    /// The key that is null, in a `NOT IN`.
    pub(super) null_key: Option<u32>,
    /// By key: its group while a batch is being grouped.
    group_of_key: Vec<u32>,
}

/// What happened to one right row.
#[derive(Clone, Copy, Debug)]
pub(super) struct RightChange {
    pub(super) key: u32,
    /// Its place in the batch.
    pub(super) place: u32,
    /// Its id, valid while the row has weight.
    pub(super) row: u32,
    /// The visible weight before and after.
    pub(super) before: i64,
    pub(super) after: i64,
}

/// A batch of right changes after they were taken in.
pub(super) struct TakenIn {
    /// The rows whose visible weight changed, sorted by key.
    pub(super) changes: Vec<RightChange>,
    pub(super) columns: Columns,
    pub(super) rows: EncodedRows,
    /// Keys that may have lost their last row.
    pub(super) loose_keys: Vec<u32>,
}

/// The right rows of the keys of a batch of left rows.
#[derive(Default)]
pub(super) struct Groups {
    /// By left row: its group, or [`NONE`].
    pub(super) of_row: Vec<u32>,
    /// By group: where its rows begin and end in `rows`.
    pub(super) ranges: Vec<(u32, u32)>,
    /// Ids of visible right rows.
    pub(super) rows: Vec<u32>,
}

impl Groups {
    /// The places of a left row's right rows.
    pub(super) fn places(&self, left_row: usize) -> std::ops::Range<u32> {
        let (start, end) = self.ranges.get(self.of_row[left_row] as usize).copied().unwrap_or((0, 0));
        start..end
    }
}

impl RightRows {
    /// Applies a batch of changes.
    pub(super) fn take_in(
        &mut self,
        shape: &Shape,
        keys: &mut KeyIndex,
        batch: &ChangeBatch,
    ) -> Result<TakenIn, OperatorError> {
        let columns = shape.columns(&batch.rows)?;
        let rows = shape.right.encode(&columns.own, columns.n_rows)?;
        let weights = net_weights(batch, &columns, &rows);
        let (mut changes, mut loose_keys) = (Vec::new(), Vec::new());
        let mut scratch = Vec::new();
        for (place, weight) in weights.into_iter().enumerate() {
            let never = columns.cannot_match(place) && self.null_key.is_none();
            if weight == 0 || never {
                continue;
            }
            let (key, _) = keys.get_or_insert(columns.keys.get(place));
            let update = self.rows.update(key, stored(&columns, &rows, place, &mut scratch), weight);
            if update.after == 0 {
                loose_keys.push(key);
            }
            let (before, after) = (update.before.max(0), update.after.max(0));
            if before != after {
                self.add_weight(key, after - before);
                changes.push(RightChange { key, place: place as u32, row: update.row, before, after });
            }
        }
        changes.sort_by_key(|c| c.key);
        Ok(TakenIn { changes, columns, rows, loose_keys })
    }

    fn add_weight(&mut self, key: u32, weight: i64) {
        if self.weight_of_key.len() <= key as usize {
            self.weight_of_key.resize(key as usize + 1, 0);
        }
        self.weight_of_key[key as usize] += weight;
        self.total += weight;
    }

    /// The visible weight of the rows of a key.
    pub(super) fn weight_of(&self, key: u32) -> i64 {
        self.weight_of_key.get(key as usize).copied().unwrap_or(0)
    }

    /// Whether some right row matches a key, where there is no filter; in a `NOT IN`, whether some may match.
    pub(super) fn has_match(&self, key: u32) -> bool {
        match self.null_key {
            Some(null) if self.total > 0 => key == null || self.weight_of(null) > 0 || self.weight_of(key) > 0,
            Some(_) => false,
            None => self.weight_of(key) > 0,
        }
    }

    /// The visible weight of all rows.
    pub(super) fn total(&self) -> i64 {
        self.total
    }

    /// Collects the visible rows of the keys of left rows, once per key. A key of [`NONE`] has none.
    pub(super) fn group(&mut self, keys: &[u32]) -> Groups {
        let mut groups = Groups { of_row: Vec::with_capacity(keys.len()), ..Groups::default() };
        let mut seen = Vec::new();
        for key in keys {
            if *key != NONE && self.group_of_key.len() <= *key as usize {
                self.group_of_key.resize(*key as usize + 1, NONE);
            }
            let Some(group) = self.group_of_key.get(*key as usize).copied() else {
                groups.of_row.push(NONE);
                continue;
            };
            if group != NONE {
                groups.of_row.push(group);
                continue;
            }
            self.group_of_key[*key as usize] = groups.ranges.len() as u32;
            seen.push(*key);
            groups.of_row.push(groups.ranges.len() as u32);
            let start = groups.rows.len() as u32;
            self.collect(*key, &mut groups.rows);
            groups.ranges.push((start, groups.rows.len() as u32));
        }
        for key in seen {
            self.group_of_key[key as usize] = NONE;
        }
        groups
    }

    fn collect(&self, key: u32, into: &mut Vec<u32>) {
        let visible = |id: &u32| self.rows.weight(*id) > 0;
        match self.null_key {
            Some(null) if key == null => into.extend(self.rows.ids().filter(visible)),
            Some(null) => into.extend(self.rows.ids_of(key).chain(self.rows.ids_of(null)).filter(visible)),
            None => into.extend(self.rows.ids_of(key).filter(visible)),
        }
    }

    /// The own columns of rows.
    pub(super) fn decode(&self, shape: &Shape, rows: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        shape.right.decode(rows.iter().map(|id| own(shape, self.rows.row(*id))))
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.rows.size_bytes()
            + self.weight_of_key.capacity() * size_of::<i64>()
            + self.group_of_key.capacity() * size_of::<u32>()
    }
}

/// A row as kept: its time, if it has one, then its own columns; bytes order as (time, own columns).
pub(super) fn stored<'a>(columns: &Columns, rows: &'a EncodedRows, place: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    match columns.times.get(place) {
        None => rows.get(place),
        Some(time) => {
            scratch.clear();
            scratch.extend_from_slice(&(*time as u64 ^ (1 << 63)).to_be_bytes());
            scratch.extend_from_slice(rows.get(place));
            scratch
        }
    }
}

/// The time of a kept row.
pub(super) fn time(kept: &[u8]) -> i64 {
    kept.first_chunk::<TIME_BYTES>().map_or(NO_TIME, |b| (u64::from_be_bytes(*b) ^ (1 << 63)) as i64)
}

/// The own columns of a kept row.
pub(super) fn own<'a>(shape: &Shape, kept: &'a [u8]) -> &'a [u8] {
    if shape.spec.as_of { kept.get(TIME_BYTES..).unwrap_or_default() } else { kept }
}
