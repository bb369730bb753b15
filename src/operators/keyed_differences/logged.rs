//! What `changes` and `upsert` log: the row last handed on and the revision of each key.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;

use super::{KeyedDifferences, NONE};
use crate::operators::OperatorError;

impl KeyedDifferences {
    /// The row last handed on and the revision of every key handed on since the last delta; before them, with revision 0,
    /// the keys forgotten.
    ///
    /// From then on what was handed on cannot be taken back.
    pub fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        self.release();
        let mut keys = std::mem::take(&mut self.unlogged);
        // A key that was handed on and then forgotten is not known any more.
        keys.retain(|key| std::mem::replace(&mut self.entries[*key as usize].is_unlogged, false));
        let logged = if keys.is_empty() { None } else { Some(self.logged_rows(&keys)?) };
        match (self.take_forgotten()?, logged) {
            (Some(forgotten), Some(logged)) => Ok(Some(concat_batches(&self.delta_schema, [&forgotten, &logged])?)),
            (forgotten, logged) => Ok(forgotten.or(logged)),
        }
    }

    /// The row last handed on and the revision of the keys with an id in `slots`; none behind the last id.
    pub fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.entries.len() {
            return Ok(None);
        }
        let is_logged = |key: &u32| self.entries[*key as usize].revision > 0 && self.keys.contains_id(*key);
        let keys: Vec<u32> = (slots.start as u32..slots.end.min(self.entries.len()) as u32).filter(is_logged).collect();
        if keys.is_empty() {
            return Ok(Some(RecordBatch::new_empty(self.delta_schema.clone())));
        }
        self.logged_rows(&keys).map(Some)
    }

    fn logged_rows(&self, keys: &[u32]) -> Result<RecordBatch, OperatorError> {
        let entries = keys.iter().map(|key| (*key, self.entries[*key as usize]));
        let mut columns = self.decode(entries.clone().map(|(key, entry)| (key, entry.last)))?;
        columns.push(Arc::new(entries.clone().map(|(_, e)| Some(e.last != NONE)).collect::<BooleanArray>()));
        columns.push(Arc::new(Int64Array::from_iter_values(entries.map(|(_, e)| e.revision))));
        Ok(RecordBatch::try_new(self.delta_schema.clone(), columns)?)
    }

    /// Applies a delta. What was handed on counts as disappeared until the table brings it again.
    pub fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let fits = delta.num_columns() == self.delta_schema.fields().len()
            && delta.columns().iter().zip(self.delta_schema.fields()).all(|(c, f)| c.data_type() == f.data_type());
        if !fits {
            return Err(OperatorError::State(format!("rows last handed on have {}", self.delta_schema)));
        }
        let (keys, rests) = (self.key_codec.encode(delta)?, self.rest_codec.encode(delta)?);
        let present = delta.column(delta.num_columns() - 2).as_boolean();
        let revisions = delta.column(delta.num_columns() - 1).as_primitive::<Int64Type>();
        for row in 0..delta.num_rows() {
            if revisions.value(row) == 0 {
                self.restore_forgotten(keys.get(row));
                continue;
            }
            let key = self.key_or_insert(keys.get(row));
            let entry = &mut self.entries[key as usize];
            let last = if present.value(row) { self.rows.insert(rests.get(row)) } else { NONE };
            let before = std::mem::replace(&mut entry.last, last);
            if before != NONE {
                self.rows.remove(before);
            }
            entry.revision = revisions.value(row);
            entry.is_confirmed = false;
            // What was stable before the restart need not settle again.
            self.wait(key, i64::MIN);
        }
        Ok(())
    }
}
