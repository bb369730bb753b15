//! What is logged of sessions.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;

use super::super::super::OperatorError;
use super::super::super::event_time::milliseconds;
use super::super::log::{behind_nulls, check_columns, read_states, states, whole_states};
use super::{Session, SessionAggregate};
use crate::stream::Watermark;

impl SessionAggregate {
    /// What was changed since the last call; none if nothing was.
    pub(super) fn delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|group| std::mem::replace(&mut self.is_dirty[*group as usize], false));
        let (gone, closed) = (std::mem::take(&mut self.gone), self.closed.take());
        if dirty.is_empty() && gone.is_empty() && closed.is_none() {
            return Ok(None);
        }
        let states = states(&mut self.groups, &self.spec.aggregates, 0, &dirty);
        self.groups.written();
        let mut parts = Vec::new();
        if !gone.is_empty() {
            let keys = self.groups.decode_keys(gone.iter().map(Vec::as_slice))?;
            parts.push(self.without_state(keys, None, Some(0))?);
        }
        parts.push(self.rows(&dirty, states)?);
        // Behind the sessions: an end as it was logged before may be due already, the session's own is not.
        if let Some(closed) = closed {
            let keys = self.spec.input.fields().iter().take(self.spec.n_keys);
            let keys = keys.map(|f| arrow::array::new_null_array(f.data_type(), 1)).collect();
            parts.push(self.without_state(keys, Some(closed), None)?);
        }
        Ok(Some(concat_batches(&self.delta_schema, &parts)?))
    }

    /// The sessions of a range of slots as they are now.
    pub(super) fn slice_of(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.groups.id_limit() {
            return Ok(None);
        }
        let slots = slots.start as u32..slots.end.min(self.groups.id_limit()) as u32;
        let ids: Vec<u32> = slots.filter(|group| self.groups.weight(*group) > 0).collect();
        self.rows(&ids, whole_states(&self.groups, &self.spec.aggregates, 0, &ids)).map(Some)
    }

    fn rows(&self, ids: &[u32], states: Vec<ArrayRef>) -> Result<RecordBatch, OperatorError> {
        let mut columns = self.groups.key_columns(ids)?;
        columns.push(Arc::new(Int64Array::new_null(ids.len())));
        columns.push(Arc::new(Int64Array::from_iter_values(ids.iter().map(|group| self.groups.weight(*group)))));
        columns.push(Arc::new(Int64Array::from_iter_values(ids.iter().map(|group| self.end_of(*group)))));
        columns.extend(states);
        Ok(RecordBatch::try_new(self.delta_schema.clone(), columns)?)
    }

    /// The end of a session, open or closed.
    fn end_of(&self, group: u32) -> i64 {
        self.session_ends.get(group as usize).copied().unwrap_or_default()
    }

    /// Rows that say something of sessions without being such.
    fn without_state(
        &self,
        keys: Vec<ArrayRef>,
        closed: Option<i64>,
        weight: Option<i64>,
    ) -> Result<RecordBatch, OperatorError> {
        let n_rows = keys.first().map_or(0, |k| k.len());
        let number = |value: Option<i64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value; n_rows])) };
        let mut columns = keys;
        columns.extend([number(closed), number(weight), number(None)]);
        for field in self.delta_schema.fields().iter().skip(columns.len()) {
            columns.push(behind_nulls(&arrow::array::new_empty_array(field.data_type()), n_rows)?);
        }
        Ok(RecordBatch::try_new(self.delta_schema.clone(), columns)?)
    }

    /// Applies a delta.
    pub(super) fn apply(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        check_columns(delta, &self.delta_schema)?;
        let n_keys = self.spec.n_keys;
        let closed = delta.column(n_keys).as_primitive::<Int64Type>().clone();
        let weights = delta.column(n_keys + 1).as_primitive::<Int64Type>().clone();
        let of_kind = |matches: &dyn Fn(usize) -> bool| -> UInt32Array {
            (0..delta.num_rows()).filter(|row| matches(*row)).map(|row| row as u32).collect::<Vec<_>>().into()
        };
        let gone = of_kind(&|row| closed.is_null(row) && weights.value(row) == 0);
        self.restore_gone(&take_record_batch(delta, &gone)?)?;
        let states = of_kind(&|row| closed.is_null(row) && weights.value(row) != 0);
        self.restore_sessions(&take_record_batch(delta, &states)?)?;
        for instant in closed.iter().flatten() {
            let due = match self.spec.emit_final {
                true => self.take_due(Watermark(instant), usize::MAX),
                false => self.take_ended(instant),
            };
            self.leave(&due);
        }
        Ok(())
    }

    fn restore_gone(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let groups = self.groups.assign(rows)?.groups;
        self.make_room();
        for group in &groups {
            // One that was never logged has no place.
            if self.groups.weight(*group) != 0 {
                let (key, start) = self.places[*group as usize];
                self.take_open(key, start);
                self.drop_keys([key]);
            }
        }
        self.groups.remove(&groups);
        Ok(())
    }

    fn restore_sessions(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let n_keys = self.spec.n_keys;
        let touched = self.groups.assign(rows)?;
        self.make_room();
        let starts = milliseconds(rows.column(self.column))?;
        let keys = self.key_codec.encode(rows)?;
        let ends = rows.column(n_keys + 2).as_primitive::<Int64Type>();
        for (row, group) in touched.of_row.iter().enumerate() {
            let key = self.key_id(keys.get(row));
            self.take_open(key, starts.value(row));
            self.enter(key, starts.value(row), Session { end: ends.value(row), group: *group });
        }
        let weights = rows.column(n_keys + 1).as_primitive::<Int64Type>();
        read_states(&mut self.groups, &touched.of_row, weights, rows.columns().get(n_keys + 3..).unwrap_or_default())
    }
}
