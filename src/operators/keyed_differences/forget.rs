//! Keys that are forgotten: their state leaves, and nothing is handed on.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, RecordBatch};

use super::{Entry, KeyedDifferences, NEW_ENTRY, NONE, RowBytes};
use crate::operators::OperatorError;
use crate::stream::ChangeBatch;

impl KeyedDifferences {
    /// Takes disappearances of rows in that are forgotten, not deleted. A key without rows loses its whole state.
    pub fn forget(&mut self, input: &ChangeBatch) -> Result<(), OperatorError> {
        let (keys, rests) = (self.key_codec.encode(&input.rows)?, self.rest_codec.encode(&input.rows)?);
        for row in 0..input.len() {
            // A key that is not known has nothing to forget.
            if let Some(key) = self.keys.get(keys.get(row)) {
                self.forget_row(key, rests.get(row), input.weights[row]);
            }
        }
        Ok(())
    }

    fn forget_row(&mut self, key: u32, rest: &[u8], weight: i64) {
        let entry = self.entries[key as usize];
        if entry.is_waiting {
            // What its rows lead to has yet to leave, so they stay.
            return;
        }
        let is_last = entry.last != NONE && self.rows.get(entry.last) == rest;
        if entry.is_confirmed && !entry.has_extra && is_last && weight == -1 {
            return self.forget_key(key);
        }
        self.extra.update(key, RowBytes::from_slice(rest), weight);
        self.entries[key as usize].has_extra = true;
        self.spread(key);
        if self.extra.is_group_empty(key) {
            return self.forget_key(key);
        }
        // Other rows of the key are left. What was handed on last stays so, until one of them changes.
        let Entry { last, .. } = self.entries[key as usize];
        if last == NONE {
            return;
        }
        let last = RowBytes::from_slice(self.rows.get(last));
        let is_there = self.extra.values(key).any(|(row, weight)| *row == last && weight > 0);
        if is_there {
            self.extra.update(key, last, -1);
        }
        let has_extra = !self.extra.is_group_empty(key);
        let entry = &mut self.entries[key as usize];
        (entry.is_confirmed, entry.has_extra) = (is_there, has_extra);
    }

    pub(super) fn forget_key(&mut self, key: u32) {
        self.mark_double(key, false);
        let entry = std::mem::replace(&mut self.entries[key as usize], NEW_ENTRY);
        if entry.last != NONE {
            self.rows.remove(entry.last);
        }
        if entry.revision > 0 {
            self.forgotten.push(self.keys.key(key).to_vec());
        }
        self.keys.remove(key);
    }

    /// The keys forgotten since the last delta, as rows of one.
    pub(super) fn take_forgotten(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let keys = std::mem::take(&mut self.forgotten);
        if keys.is_empty() {
            return Ok(None);
        }
        let mut columns = self.decode_bytes(keys.iter().map(|key| (key.as_slice(), self.null_rest.as_slice())))?;
        columns.push(Arc::new(BooleanArray::from(vec![false; keys.len()])));
        columns.push(Arc::new(Int64Array::from(vec![0; keys.len()])));
        Ok(Some(RecordBatch::try_new(self.delta_schema.clone(), columns)?))
    }

    /// Applies the removal of a key from a delta. Where it waits to be compared, its place in line is void from then on.
    pub(super) fn restore_forgotten(&mut self, key: &[u8]) {
        let Some(key) = self.keys.get(key) else { return };
        let entry = std::mem::replace(&mut self.entries[key as usize], NEW_ENTRY);
        if entry.last != NONE {
            self.rows.remove(entry.last);
        }
        self.keys.remove(key);
    }
}
