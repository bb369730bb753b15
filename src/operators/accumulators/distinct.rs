//! DISTINCT: which rows bring a value that their group did not have, or take its last one away.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::values::{Packed, Packing, RowBytes, Update, ValueCodec};
use super::{Rows, with_length};
use crate::operators::OperatorError;
use crate::operators::ordered_multiset::OrderedMultiset;

/// The values of each group.
pub(super) trait Distinct: Send {
    /// Adds weights to values; returns for each row whether its value appeared (+1) or disappeared (-1) by it.
    fn crossings(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<Vec<i64>, OperatorError>;

    /// Whether a group has no value.
    fn is_empty(&self, group: u32) -> bool;

    /// Forgets groups.
    fn clear(&mut self, groups: &[u32]);

    /// Appends the values of a group that appeared since [`Distinct::forget_fresh`], each after its length.
    fn write_fresh(&mut self, group: u32, out: &mut Vec<u8>);

    /// Appends all values of a group in the same form.
    fn write_all(&self, group: u32, out: &mut Vec<u8>);

    /// Adds the values that [`Distinct::write_fresh`] wrote.
    fn read_fresh(&mut self, group: u32, bytes: &[u8]) -> Option<()>;

    /// Adds the values that [`Distinct::write_all`] wrote of another group, and returns those that are new to this one; none
    /// if the bytes are not such.
    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Result<Option<ArrayRef>, OperatorError>;

    /// Says that what is fresh has been written.
    fn forget_fresh(&mut self);

    /// Memory held, in bytes.
    fn size_bytes(&self) -> usize;
}

/// No values of a type yet.
pub(super) fn distinct(argument: &DataType, rows: Rows) -> Result<Box<dyn Distinct>, OperatorError> {
    Ok(match Packing::of(argument) {
        Packing::Word => Box::new(DistinctValues::<u64>::new(argument, rows)?),
        Packing::DoubleWord => Box::new(DistinctValues::<u128>::new(argument, rows)?),
        Packing::Bytes => Box::new(DistinctValues::<RowBytes>::new(argument, rows)?),
    })
}

struct DistinctValues<V> {
    codec: ValueCodec,
    values: OrderedMultiset<V>,
    /// Values that appeared and are not logged yet, where rows are only appended.
    fresh: Vec<(u32, V)>,
    fresh_is_sorted: bool,
    rows: Rows,
}

impl<V: Packed> DistinctValues<V> {
    fn new(argument: &DataType, rows: Rows) -> Result<Self, OperatorError> {
        let codec = ValueCodec::new(argument)?;
        Ok(Self { codec, values: OrderedMultiset::default(), fresh: Vec::new(), fresh_is_sorted: true, rows })
    }
}

impl<V: Packed> Distinct for DistinctValues<V> {
    fn crossings(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<Vec<i64>, OperatorError> {
        let mut crossings = vec![0; weights.len()];
        for Update { group, value, weight, row } in self.codec.sorted::<V>(groups, values, weights)? {
            let logged = (self.rows == Rows::AppendOnly).then(|| value.clone());
            let (before, after) = self.values.update(group, value, weight);
            crossings[row as usize] = i64::from(after > 0) - i64::from(before > 0);
            if let (Some(value), true) = (logged, before <= 0 && after > 0) {
                self.fresh.push((group, value));
                self.fresh_is_sorted = false;
            }
        }
        Ok(crossings)
    }

    fn is_empty(&self, group: u32) -> bool {
        self.values.is_group_empty(group)
    }

    fn clear(&mut self, groups: &[u32]) {
        groups.iter().for_each(|group| self.values.remove_group(*group));
        if !self.fresh.is_empty() {
            // An id may be given to another group before the next delta.
            let mut gone = groups.to_vec();
            gone.sort_unstable();
            self.fresh.retain(|(group, _)| gone.binary_search(group).is_err());
        }
    }

    fn write_fresh(&mut self, group: u32, out: &mut Vec<u8>) {
        if !self.fresh_is_sorted {
            self.fresh.sort_unstable();
            self.fresh_is_sorted = true;
        }
        let start = self.fresh.partition_point(|(of, _)| *of < group);
        for (_, value) in self.fresh.iter().skip(start).take_while(|(of, _)| *of == group) {
            with_length(out, |out| self.codec.write(value, out));
        }
    }

    fn write_all(&self, group: u32, out: &mut Vec<u8>) {
        for (value, _) in self.values.values(group).filter(|(_, weight)| *weight > 0) {
            with_length(out, |out| self.codec.write(value, out));
        }
    }

    fn read_fresh(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_first_chunk::<4>()?;
            let (row, rest) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
            self.values.update(group, self.codec.read(row)?, 1);
            bytes = rest;
        }
        Some(())
    }

    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Result<Option<ArrayRef>, OperatorError> {
        let (mut bytes, mut added) = (bytes, Vec::new());
        while !bytes.is_empty() {
            let row = bytes.split_first_chunk::<4>();
            let Some((row, rest)) = row.and_then(|(n, rest)| rest.split_at_checked(u32::from_le_bytes(*n) as usize))
            else {
                return Ok(None);
            };
            let Some(value) = self.codec.read::<V>(row) else { return Ok(None) };
            let (before, after) = self.values.update(group, value.clone(), 1);
            if before <= 0 && after > 0 {
                added.push(value);
            }
            bytes = rest;
        }
        let array = self.codec.decode(added.iter().map(Some))?;
        if self.rows == Rows::AppendOnly {
            self.fresh_is_sorted &= added.is_empty();
            self.fresh.extend(added.into_iter().map(|value| (group, value)));
        }
        Ok(Some(array))
    }

    fn forget_fresh(&mut self) {
        self.fresh = Vec::new();
        self.fresh_is_sorted = true;
    }

    fn size_bytes(&self) -> usize {
        self.values.size_bytes() + self.fresh.capacity() * size_of::<(u32, V)>()
    }
}
