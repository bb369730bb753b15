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

    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let (count, rest) = split_i64(bytes)?;
            let (head, rest) = rest.split_first_chunk::<4>()?;
            let (row, rest) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
            let row: RowBytes = self.codec.read(row)?;
            if self.rows == Rows::AppendOnly {
                self.fresh.push((group, row.clone()));
                self.fresh_is_sorted = false;
            }
            self.counts.update(group, row, count);
            bytes = rest;
        }
        Some(())
    }

    fn size_bytes(&self) -> usize {
        self.counts.size_bytes() + self.fresh.capacity() * size_of::<(u32, RowBytes)>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Date32Array, Float64Array, StringArray, StructArray};
    use arrow::datatypes::{Field, Fields};
    use fastrand::Rng;

    use super::*;

    const CELLS: [&str; 5] = ["881942cce5fffff", "881942cdd9fffff", "881942c58bfffff", "881942004dfffff", "no cell"];
    const N_GROUPS: u32 = 3;

    /// A row, as the test knows it.
    type Row = (u32, usize, usize);

    fn argument_type(function: Collected) -> DataType {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        DataType::Struct(Fields::from(match function {
            Collected::GiStar => vec![field("a0", DataType::Utf8), field("a1", DataType::Float64)],
            Collected::WorkingCalendar => vec![field("a0", DataType::Date32), field("a1", DataType::Boolean)],
        }))
    }

    fn structs(function: Collected, rows: &[Row]) -> StructArray {
        let DataType::Struct(fields) = argument_type(function) else { panic!("a struct") };
        let columns: Vec<ArrayRef> = match function {
            Collected::GiStar => vec![
                Arc::new(rows.iter().map(|(_, a, _)| CELLS.get(*a).copied()).collect::<StringArray>()),
                Arc::new(rows.iter().map(|(_, _, b)| [None, Some(0.1), Some(7.5)][*b]).collect::<Float64Array>()),
            ],
            Collected::WorkingCalendar => vec![
                Arc::new(rows.iter().map(|(_, a, _)| (*a < 5).then_some(20_000 + *a as i32)).collect::<Date32Array>()),
                Arc::new(rows.iter().map(|(_, _, b)| [None, Some(true), Some(false)][*b]).collect::<BooleanArray>()),
            ],
        };
        StructArray::new(fields, columns, None)
    }

    fn update(kernel: &mut CollectedRows, function: Collected, rows: &[Row], weights: &[i64]) {
        let groups: Vec<u32> = rows.iter().map(|(group, ..)| *group).collect();
        let argument: ArrayRef = Arc::new(structs(function, rows));
        kernel.update(&groups, Some(&argument), weights).unwrap();
    }

    /// The function over the rows that are there, as a batch query would compute it.
    fn expected(function: Collected, present: &[Row]) -> Vec<ArrayRef> {
        let of_group = |group| {
            let rows: Vec<Row> = present.iter().filter(|(g, ..)| *g == group).copied().collect();
            function.of_group(&structs(function, &rows), &vec![1; rows.len()]).unwrap()
        };
        (0..N_GROUPS).map(of_group).collect()
    }

    fn found(kernel: &CollectedRows) -> Vec<ArrayRef> {
        let all = kernel.evaluate(&(0..N_GROUPS).collect::<Vec<_>>()).unwrap();
        (0..N_GROUPS as usize).map(|group| all.slice(group, 1)).collect()
    }

    fn new(function: Collected, rows: Rows) -> CollectedRows {
        let output = expected(function, &[])[0].data_type().clone();
        CollectedRows::new(function, &argument_type(function), &output, rows).unwrap()
    }

    fn random(rng: &mut Rng) -> Row {
        (rng.u32(0..N_GROUPS), rng.usize(0..6), rng.usize(0..3))
    }

    #[test]
    fn rows_that_come_and_go_in_any_order_leave_what_a_batch_computes() {
        let mut rng = Rng::with_seed(21);
        for function in [Collected::GiStar, Collected::WorkingCalendar] {
            for _ in 0..60 {
                let mut kernel = new(function, Rows::Retractable);
                let mut present = Vec::new();
                let mut changes: Vec<(Row, i64)> = Vec::new();
                for _ in 0..rng.usize(0..40) {
                    let row = random(&mut rng);
                    changes.push((row, 1));
                    if rng.bool() {
                        changes.push((row, -1));
                    } else {
                        present.push(row);
                    }
                }
                // A disappearance may come before its appearance.
                rng.shuffle(&mut changes);
                for part in changes.chunks(7) {
                    let (rows, weights): (Vec<Row>, Vec<i64>) = part.iter().copied().unzip();
                    update(&mut kernel, function, &rows, &weights);
                }
                assert_eq!(found(&kernel), expected(function, &present));
                let (rows, weights): (Vec<Row>, Vec<i64>) = present.iter().map(|row| (*row, -1)).unzip();
                update(&mut kernel, function, &rows, &weights);
                assert!((0..N_GROUPS).all(|group| kernel.is_zero(group)));
            }
        }
        assert_eq!(new(Collected::GiStar, Rows::Retractable).evaluate(&[]).unwrap().len(), 0);
    }

    #[test]
    fn what_changed_and_what_is_whole_are_read_back_and_closed_groups_are_gone() {
        let mut rng = Rng::with_seed(22);
        for function in [Collected::GiStar, Collected::WorkingCalendar] {
            for _ in 0..40 {
                let mut kernel = new(function, Rows::AppendOnly);
                let mut copy = new(function, Rows::AppendOnly);
                let mut present: Vec<Row> = Vec::new();
                for _ in 0..rng.usize(1..8) {
                    let rows: Vec<Row> = (0..rng.usize(0..12)).map(|_| random(&mut rng)).collect();
                    update(&mut kernel, function, &rows, &vec![1; rows.len()]);
                    present.extend(&rows);
                    if rng.u32(0..4) == 0 {
                        let closed = rng.u32(0..N_GROUPS);
                        kernel.clear(&[closed]);
                        copy.clear(&[closed]);
                        present.retain(|(group, ..)| *group != closed);
                    }
                    for group in 0..N_GROUPS {
                        let mut bytes = Vec::new();
                        match rng.u32(0..3) {
                            0 => kernel.write(group, &mut bytes),
                            _ => kernel.write_fresh(group, &mut bytes),
                        }
                        copy.read(group, &bytes).unwrap();
                        if let Some(cut) = bytes.len().checked_sub(1) {
                            assert_eq!(new(function, Rows::AppendOnly).read(group, &bytes[..cut]), None);
                        }
                    }
                    kernel.written();
                    let mut nothing = Vec::new();
                    kernel.write_fresh(0, &mut nothing);
                    assert!(nothing.is_empty());
                }
                assert_eq!(found(&kernel), expected(function, &present));
                assert_eq!(found(&copy), expected(function, &present));
            }
        }
    }
}
