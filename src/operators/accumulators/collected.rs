//! Aggregates of whole groups: the rows of a group are kept, counted, and the function is asked when it has to answer.

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;

use super::values::{RowBytes, Update, ValueCodec};
use super::{Kernel, Rows, split_i64, with_length};
use crate::functions::Collected;
use crate::operators::OperatorError;
use crate::operators::ordered_multiset::OrderedMultiset;

/// The argument rows of each group, and how often each occurs.
pub(super) struct CollectedRows {
    function: Collected,
    output: DataType,
    codec: ValueCodec,
    counts: OrderedMultiset<RowBytes>,
    /// Rows whose count has changed and is not logged yet, where rows are only appended.
    fresh: Vec<(u32, RowBytes)>,
    fresh_is_sorted: bool,
    rows: Rows,
}

impl CollectedRows {
    /// No rows yet; the argument is a struct of the function's arguments.
    pub fn new(function: Collected, argument: &DataType, output: &DataType, rows: Rows) -> Result<Self, OperatorError> {
        let (codec, counts) = (ValueCodec::new(argument)?, OrderedMultiset::default());
        let output = output.clone();
        Ok(Self { function, output, codec, counts, fresh: Vec::new(), fresh_is_sorted: true, rows })
    }

    fn write_row(&self, row: &RowBytes, count: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&count.to_le_bytes());
        with_length(out, |out| self.codec.write(row, out));
    }

    fn of_group(&self, group: u32) -> Result<ArrayRef, OperatorError> {
        let (rows, counts): (Vec<&RowBytes>, Vec<i64>) = self.counts.values(group).filter(|(_, n)| *n > 0).unzip();
        let structs = self.codec.decode(rows.into_iter().map(Some))?;
        let Some(structs) = structs.as_struct_opt() else {
            return Err(OperatorError::Function(format!("{:?} takes a struct", self.function)));
        };
        self.function.of_group(structs, &counts).map_err(|e| OperatorError::Function(e.strip_backtrace()))
    }
}

impl Kernel for CollectedRows {
    fn resize(&mut self, _n_groups: usize) {}

    fn update(&mut self, groups: &[u32], argument: Option<&ArrayRef>, weights: &[i64]) -> Result<(), OperatorError> {
        let Some(rows) = argument else { return Ok(()) };
        for Update { group, value, weight, .. } in self.codec.sorted::<RowBytes>(groups, rows, weights)? {
            if self.rows == Rows::AppendOnly {
                self.fresh.push((group, value.clone()));
                self.fresh_is_sorted = false;
            }
            self.counts.update(group, value, weight);
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError> {
        let results = groups.iter().map(|group| self.of_group(*group)).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&dyn Array> = results.iter().map(AsRef::as_ref).collect();
        match parts.is_empty() {
            true => Ok(new_empty_array(&self.output)),
            false => Ok(concat(&parts)?),
        }
    }

    fn is_zero(&self, group: u32) -> bool {
        self.counts.is_group_empty(group)
    }

    fn clear(&mut self, groups: &[u32]) {
        groups.iter().for_each(|group| self.counts.remove_group(*group));
        if !self.fresh.is_empty() {
            // An id may be given to another group before the next delta.
            let mut gone = groups.to_vec();
            gone.sort_unstable();
            self.fresh.retain(|(group, _)| gone.binary_search(group).is_err());
        }
    }

    fn write(&self, group: u32, out: &mut Vec<u8>) {
        for (row, count) in self.counts.values(group) {
            self.write_row(row, count, out);
        }
    }

    fn write_fresh(&mut self, group: u32, out: &mut Vec<u8>) {
        if !self.fresh_is_sorted {
            self.fresh.sort_unstable();
            self.fresh.dedup();
            self.fresh_is_sorted = true;
        }
        let start = self.fresh.partition_point(|(of, _)| *of < group);
        for (_, row) in self.fresh.iter().skip(start).take_while(|(of, _)| *of == group) {
            self.write_row(row, self.counts.weight(group, row), out);
        }
    }

    fn written(&mut self) {
        self.fresh = Vec::new();
        self.fresh_is_sorted = true;
    }

    /// Sets the counts of the rows that were written; those of others stay.
    fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let (count, rest) = split_i64(bytes)?;
            let (head, rest) = rest.split_first_chunk::<4>()?;
            let (row, rest) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
            let row: RowBytes = self.codec.read(row)?;
            let before = self.counts.weight(group, &row);
            self.counts.update(group, row, count.wrapping_sub(before));
            bytes = rest;
        }
        Some(())
    }

    fn size_bytes(&self) -> usize {
        self.counts.size_bytes() + self.fresh.capacity() * size_of::<(u32, RowBytes)>()
    }
}
