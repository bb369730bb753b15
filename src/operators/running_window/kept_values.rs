//! A value that a partition keeps from one of its first rows: `first_value` and `nth_value` over a frame without a start.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema};

use super::entered::Entered;
use super::layout::Layout;
use crate::operators::OperatorError;
use crate::operators::row_codec::RowCodec;
use crate::state::RowArena;

const NONE: u32 = u32::MAX;

/// The value of the n-th row of each partition.
pub(super) struct KeptValues {
    codec: RowCodec,
    /// From 1.
    n: u64,
    values: RowArena,
    /// By group: the id of its value.
    ids: Vec<u32>,
}

impl KeptValues {
    /// No values yet. `field` is the column of the values, `n` the number of the row from 1.
    pub fn new(field: &Field, n: u64) -> Result<Self, OperatorError> {
        let schema = Schema::new(vec![field.clone()]);
        Ok(Self { codec: RowCodec::new(&schema.into(), vec![0])?, n, values: RowArena::default(), ids: Vec::new() })
    }

    /// Makes room for group ids below `n_groups`.
    pub fn resize(&mut self, n_groups: usize) {
        self.ids.resize(n_groups.max(self.ids.len()), NONE);
    }

    /// Takes rows in, of which `column` holds the values.
    pub fn take_in(&mut self, entered: &Entered, column: &ArrayRef) -> Result<(), OperatorError> {
        let place = self.n - 1;
        let (mut groups, mut rows) = (Vec::new(), Vec::new());
        for run in &entered.runs {
            let row = place.checked_sub(run.first).and_then(|n| entered.rows_of(run).get(usize::try_from(n).ok()?));
            if let Some(row) = row {
                groups.push(run.group);
                rows.push(*row);
            }
        }
        let encoded = self.codec.encode_arrays(&[take(column, &UInt32Array::from(rows), None)?])?;
        for (idx, group) in groups.into_iter().enumerate() {
            self.ids[group as usize] = self.values.insert(encoded.get(idx));
        }
        Ok(())
    }

    /// The value at each row: null where the frame has fewer than n rows. `ends` tells how many rows of its partition the
    /// frame of a row has.
    pub fn read(&self, layout: &Layout, ends: &[u64]) -> Result<ArrayRef, OperatorError> {
        let mut known: Vec<&[u8]> = Vec::new();
        let mut chosen: Vec<Option<u32>> = Vec::with_capacity(layout.len());
        for run in &layout.runs {
            let id = self.ids[run.group as usize];
            let value = (id != NONE).then(|| {
                known.push(self.values.get(id));
                (known.len() - 1) as u32
            });
            chosen.extend(run.rows.clone().map(|row| value.filter(|_| ends[row] >= self.n)));
        }
        let known = self.codec.decode(known)?;
        match known.first() {
            Some(known) => Ok(take(known, &UInt32Array::from(chosen), None)?),
            None => Err(OperatorError::Function("a kept value has no column".into())),
        }
    }

    /// Forgets the value of a group.
    pub fn clear(&mut self, group: u32) {
        if let Some(id) = self.ids.get_mut(group as usize).filter(|id| **id != NONE) {
            self.values.remove(std::mem::replace(id, NONE));
        }
    }

    /// The value of a group as bytes; empty if there is none.
    pub fn bytes(&self, group: u32) -> &[u8] {
        match self.ids.get(group as usize) {
            Some(id) if *id != NONE => self.values.get(*id),
            _ => &[],
        }
    }

    /// Sets the value of a group to what [`KeptValues::bytes`] gave.
    pub fn set(&mut self, group: u32, bytes: &[u8]) {
        self.clear(group);
        if let Some(id) = self.ids.get_mut(group as usize)
            && !bytes.is_empty()
        {
            *id = self.values.insert(bytes);
        }
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.values.size_bytes() + self.ids.capacity() * size_of::<u32>()
    }
}
