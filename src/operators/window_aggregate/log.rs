//! What is logged of groups by bucket: the groups that an epoch touched, and up to where buckets have left.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{Int64Type, SchemaRef};

use super::super::groups::Groups;
use super::super::{AggregateCall, OperatorError};
use super::WindowAggregate;
use crate::stream::Watermark;

impl WindowAggregate {
    /// What was changed since the last call; none if nothing was.
    pub(super) fn delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|group| std::mem::replace(&mut self.is_dirty[*group as usize], false));
        let mut closed = self.closed.take();
        if let (Some(panes), false) = (&self.panes, dirty.is_empty()) {
            // Buckets that were closed without rows are not opened by late rows of their panes, also after a restart.
            closed = closed.max(Some(panes.closed_at()).filter(|at| *at != i64::MIN));
        }
        if dirty.is_empty() && closed.is_none() {
            return Ok(None);
        }
        let states = states(&mut self.groups, &self.spec.aggregates, usize::from(closed.is_some()), &dirty);
        self.groups.written();
        self.rows(closed, &dirty, states).map(Some)
    }

    /// The groups of a range of slots as they are now.
    pub(super) fn slice_of(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.groups.id_limit() {
            return Ok(None);
        }
        let is_single = self.spec.n_keys == 0 && self.started;
        let is_logged = |group: &u32| is_single || self.groups.weight(*group) > 0;
        let ids: Vec<u32> =
            (slots.start as u32..slots.end.min(self.groups.id_limit()) as u32).filter(is_logged).collect();
        // A pane does not say which of the buckets that hold it have been emitted.
        let closed =
            self.panes.as_ref().map(|panes| panes.closed_at()).filter(|at| slots.start == 0 && *at != i64::MIN);
        let states = whole_states(&self.groups, &self.spec.aggregates, usize::from(closed.is_some()), &ids);
        self.rows(closed, &ids, states).map(Some)
    }

    /// Rows of a delta: first the one that closes buckets, if any, then groups.
    fn rows(&self, closed: Option<i64>, ids: &[u32], states: Vec<ArrayRef>) -> Result<RecordBatch, OperatorError> {
        let n_closed = usize::from(closed.is_some());
        let mut columns = Vec::with_capacity(self.delta_schema.fields().len());
        for array in self.groups.key_columns(ids)? {
            columns.push(behind_nulls(&array, n_closed)?);
        }
        let closed_rows = closed.into_iter().map(Some).chain(ids.iter().map(|_| None));
        columns.push(Arc::new(closed_rows.collect::<Int64Array>()));
        let weights = ids.iter().map(|group| Some(self.groups.weight(*group)));
        columns.push(Arc::new(std::iter::repeat_n(None, n_closed).chain(weights).collect::<Int64Array>()));
        columns.extend(states);
        Ok(RecordBatch::try_new(self.delta_schema.clone(), columns)?)
    }

    /// Applies a delta.
    pub(super) fn apply(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        check_columns(delta, &self.delta_schema)?;
        let closed = delta.column(self.spec.n_keys).as_primitive::<Int64Type>().clone();
        let mut start = 0;
        for row in 0..=delta.num_rows() {
            let closes = row < delta.num_rows() && closed.is_valid(row);
            if !closes && row < delta.num_rows() {
                continue;
            }
            if row > start {
                self.restore_groups(&delta.slice(start, row - start))?;
            }
            if closes {
                let due = match self.spec.emit_final {
                    true => self.take_due(Watermark(closed.value(row)), usize::MAX),
                    false => self.take_ended(closed.value(row)),
                };
                self.leave(&due);
                if let Some(panes) = &mut self.panes {
                    panes.close(closed.value(row));
                }
            }
            start = row + 1;
        }
        Ok(())
    }

    /// Applies rows of a delta of which none closes buckets.
    fn restore_groups(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let touched = self.groups.assign(delta)?;
        let keys = delta.columns().get(..self.spec.n_keys).unwrap_or_default();
        self.register(&touched.groups, &touched.first_rows, keys, false)?;
        let weights = delta.column(self.spec.n_keys + 1).as_primitive::<Int64Type>();
        let states = delta.columns().get(self.spec.n_keys + 2..).unwrap_or_default();
        read_states(&mut self.groups, &touched.of_row, weights, states)?;
        self.started = true;
        Ok(())
    }
}

/// Whether a delta has just the columns that are written here.
pub(super) fn check_columns(delta: &RecordBatch, schema: &SchemaRef) -> Result<(), OperatorError> {
    let fits = delta.num_columns() == schema.fields().len()
        && delta.columns().iter().zip(schema.fields()).all(|(c, f)| c.data_type() == f.data_type());
    if fits { Ok(()) } else { Err(OperatorError::State(format!("`window_aggregate` expects {schema}"))) }
}

/// An array behind so many nulls.
pub(super) fn behind_nulls(array: &ArrayRef, n_nulls: usize) -> Result<ArrayRef, OperatorError> {
    if n_nulls == 0 {
        return Ok(array.clone());
    }
    Ok(concat(&[new_null_array(array.data_type(), n_nulls).as_ref(), array.as_ref()])?)
}

/// What is new in the states of groups, one column an aggregate, behind so many nulls.
pub(super) fn states(groups: &mut Groups, calls: &[AggregateCall], n_nulls: usize, ids: &[u32]) -> Vec<ArrayRef> {
    columns(calls.len(), n_nulls, ids, |idx, group, bytes| groups.write(idx, group, bytes))
}

/// The whole states of groups, in the same form.
pub(super) fn whole_states(groups: &Groups, calls: &[AggregateCall], n_nulls: usize, ids: &[u32]) -> Vec<ArrayRef> {
    columns(calls.len(), n_nulls, ids, |idx, group, bytes| groups.write_whole(idx, group, bytes))
}

fn columns(
    n_columns: usize,
    n_nulls: usize,
    ids: &[u32],
    mut write: impl FnMut(usize, u32, &mut Vec<u8>),
) -> Vec<ArrayRef> {
    let mut bytes = Vec::new();
    let mut column = |idx: usize| -> ArrayRef {
        let mut states = BinaryBuilder::with_capacity(ids.len() + n_nulls, ids.len() * 24);
        (0..n_nulls).for_each(|_| states.append_null());
        for group in ids {
            bytes.clear();
            write(idx, *group, &mut bytes);
            states.append_value(&bytes);
        }
        Arc::new(states.finish())
    };
    (0..n_columns).map(&mut column).collect()
}

/// Gives groups the weights and states of rows of a delta.
pub(super) fn read_states(
    groups: &mut Groups,
    of_row: &[u32],
    weights: &Int64Array,
    states: &[ArrayRef],
) -> Result<(), OperatorError> {
    let unfit = || OperatorError::State("a group of `window_aggregate` cannot be read".into());
    for (row, group) in of_row.iter().enumerate() {
        groups.set_weight(*group, weights.value(row));
        for (idx, states) in states.iter().enumerate() {
            groups.read(idx, *group, states.as_binary::<i32>().value(row)).ok_or_else(unfit)?;
        }
    }
    groups.written();
    Ok(())
}
