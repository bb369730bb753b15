//! Values by group, in order: `min`, `max` and DISTINCT over any type that sorts.
//!
//! A value is kept as arrow's row format writes it, whose byte order is its order; packed into an integer where it fits.

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use smallvec::SmallVec;

use super::{Kernel, Rows};
use crate::operators::OperatorError;
use crate::operators::ordered_multiset::OrderedMultiset;

/// A value in row format, packed. The default is the smallest of the type.
trait Packed: Ord + Clone + Default + Send {
    /// Packs a value that is not null.
    fn pack(row: &[u8]) -> Self;

    /// Appends the row that was packed; `width` is its length without the byte that says "not null".
    fn unpack(&self, width: usize, out: &mut Vec<u8>);
}

/// The byte with which a value that is not null begins in row format.
const VALID: u8 = 1;

macro_rules! pack_into_integer {
    ($integer:ty) => {
        impl Packed for $integer {
            fn pack(row: &[u8]) -> Self {
                row.iter().skip(1).fold(0, |word, byte| (word << 8) | Self::from(*byte))
            }

            fn unpack(&self, width: usize, out: &mut Vec<u8>) {
                let bytes = self.to_be_bytes();
                out.push(VALID);
                out.extend_from_slice(&bytes[bytes.len().saturating_sub(width)..]);
            }
        }
    };
}

pack_into_integer!(u64);
pack_into_integer!(u128);

/// A row of any length, short ones without a heap object.
type RowBytes = SmallVec<[u8; 16]>;

impl Packed for RowBytes {
    fn pack(row: &[u8]) -> Self {
        Self::from_slice(row)
    }

    fn unpack(&self, _width: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

/// Multisets of one type's values, by group.
pub(super) trait GroupValues: Send {
    /// Adds weights to values.
    fn update(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<(), OperatorError>;

    /// Adds weights to values; returns for each row whether its value appeared (+1) or disappeared (-1) by it.
    fn crossings(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<Vec<i64>, OperatorError>;

    /// Keeps only the greatest (or smallest) value of each group.
    fn keep_best(
        &mut self,
        groups: &[u32],
        values: &ArrayRef,
        weights: &[i64],
        greatest: bool,
    ) -> Result<(), OperatorError>;

    /// The greatest (or smallest) value of each group; null where there is none.
    fn best(&self, groups: &[u32], greatest: bool) -> Result<ArrayRef, OperatorError>;

    /// Whether a group has no value.
    fn is_empty(&self, group: u32) -> bool;

    /// Forgets groups.
    fn clear(&mut self, groups: &[u32]);

    /// Appends the greatest (or smallest) value of a group; nothing where there is none.
    fn write_best(&self, group: u32, greatest: bool, out: &mut Vec<u8>);

    /// Replaces a group's values by the one that [`GroupValues::write_best`] wrote.
    fn read_best(&mut self, group: u32, bytes: &[u8]) -> Option<()>;

    /// Appends the values of a group that appeared since [`GroupValues::forget_fresh`], each after its length.
    fn write_fresh(&mut self, group: u32, out: &mut Vec<u8>);

    /// Adds the values that [`GroupValues::write_fresh`] wrote.
    fn read_fresh(&mut self, group: u32, bytes: &[u8]) -> Option<()>;

    /// Says that what is fresh has been written.
    fn forget_fresh(&mut self);

    /// Memory held, in bytes.
    fn size_bytes(&self) -> usize;
}

/// Empty multisets of values of a type.
pub(super) fn group_values(data_type: &DataType, rows: Rows) -> Result<Box<dyn GroupValues>, OperatorError> {
    let width = match data_type {
        DataType::Boolean => Some(1),
        t => t.primitive_width(),
    };
    Ok(match width {
        Some(width) if width <= 8 => Box::new(TypedValues::<u64>::new(data_type, width, rows)?),
        Some(width) if width <= 16 => Box::new(TypedValues::<u128>::new(data_type, width, rows)?),
        _ => Box::new(TypedValues::<RowBytes>::new(data_type, 0, rows)?),
    })
}

struct TypedValues<V> {
    converter: RowConverter,
    data_type: DataType,
    width: usize,
    null_row: Vec<u8>,
    set: OrderedMultiset<V>,
    /// Values that appeared and are not logged yet, where rows are only appended.
    fresh: Vec<(u32, V)>,
    fresh_is_sorted: bool,
    rows: Rows,
}

/// One row on its way into a multiset.
struct Update<V> {
    group: u32,
    value: V,
    weight: i64,
    row: u32,
}

impl<V: Packed> TypedValues<V> {
    fn new(data_type: &DataType, width: usize, rows: Rows) -> Result<Self, OperatorError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let null_row = converter.convert_columns(&[new_null_array(data_type, 1)])?.row(0).data().to_vec();
        Ok(Self {
            converter,
            data_type: data_type.clone(),
            width,
            null_row,
            set: OrderedMultiset::default(),
            fresh: Vec::new(),
            fresh_is_sorted: true,
            rows,
        })
    }

    /// The rows that count, by group and value: neighbours in the tree are then handled one after the other.
    fn sorted(&self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<Vec<Update<V>>, OperatorError> {
        let encoded = self.converter.convert_columns(std::slice::from_ref(values))?;
        let mut updates: Vec<Update<V>> = (groups.iter().zip(weights).enumerate())
            .filter(|(_, (_, weight))| **weight != 0)
            .map(|(row, (group, weight))| Update {
                group: *group,
                value: V::pack(encoded.row(row).data()),
                weight: *weight,
                row: row as u32,
            })
            .collect();
        updates.sort_unstable_by(|a, b| (a.group, &a.value, a.row).cmp(&(b.group, &b.value, b.row)));
        Ok(updates)
    }

    fn best_value(&self, group: u32, greatest: bool) -> Option<&V> {
        if greatest { self.set.max(group) } else { self.set.min(group) }
    }
}

impl<V: Packed> GroupValues for TypedValues<V> {
    fn update(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<(), OperatorError> {
        let updates = self.sorted(groups, values, weights)?;
        for equal in updates.chunk_by(|a, b| (a.group, &a.value) == (b.group, &b.value)) {
            let weight = equal.iter().fold(0i64, |sum, u| sum.wrapping_add(u.weight));
            if let (Some(first), true) = (equal.first(), weight != 0) {
                self.set.update(first.group, first.value.clone(), weight);
            }
        }
        Ok(())
    }

    fn crossings(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<Vec<i64>, OperatorError> {
        let mut crossings = vec![0; weights.len()];
        for update in self.sorted(groups, values, weights)? {
            let Update { group, value, weight, row } = update;
            let (before, after) = self.set.update(group, value.clone(), weight);
            crossings[row as usize] = i64::from(after > 0) - i64::from(before > 0);
            if self.rows == Rows::AppendOnly && before <= 0 && after > 0 {
                self.fresh.push((group, value));
                self.fresh_is_sorted = false;
            }
        }
        Ok(crossings)
    }

    fn keep_best(
        &mut self,
        groups: &[u32],
        values: &ArrayRef,
        weights: &[i64],
        greatest: bool,
    ) -> Result<(), OperatorError> {
        let updates = self.sorted(groups, values, weights)?;
        for of_group in updates.chunk_by(|a, b| a.group == b.group) {
            let Some(new) = (if greatest { of_group.last() } else { of_group.first() }) else { continue };
            let old = self.best_value(new.group, greatest).cloned();
            let is_better = old.as_ref().is_none_or(|old| if greatest { new.value > *old } else { new.value < *old });
            if is_better {
                if let Some(old) = old {
                    self.set.update(new.group, old, -1);
                }
                self.set.update(new.group, new.value.clone(), 1);
            }
        }
        Ok(())
    }

    fn best(&self, groups: &[u32], greatest: bool) -> Result<ArrayRef, OperatorError> {
        let mut bytes = Vec::with_capacity(groups.len() * self.null_row.len());
        let mut ends = Vec::with_capacity(groups.len());
        for group in groups {
            match self.best_value(*group, greatest) {
                Some(value) => value.unpack(self.width, &mut bytes),
                None => bytes.extend_from_slice(&self.null_row),
            }
            ends.push(bytes.len());
        }
        let parser = self.converter.parser();
        let mut start = 0;
        let rows = ends.iter().map(|end| parser.parse(&bytes[std::mem::replace(&mut start, *end)..*end]));
        match self.converter.convert_rows(rows)?.pop() {
            Some(array) if array.data_type() == &self.data_type => Ok(array),
            Some(array) => Ok(cast(&array, &self.data_type)?),
            None => Ok(new_null_array(&self.data_type, groups.len())),
        }
    }

    fn is_empty(&self, group: u32) -> bool {
        self.set.is_group_empty(group)
    }

    fn clear(&mut self, groups: &[u32]) {
        groups.iter().for_each(|group| self.set.remove_group(*group));
        if !self.fresh.is_empty() {
            // An id may be given to another group before the next delta.
            let mut gone = groups.to_vec();
            gone.sort_unstable();
            self.fresh.retain(|(group, _)| gone.binary_search(group).is_err());
        }
    }

    fn write_best(&self, group: u32, greatest: bool, out: &mut Vec<u8>) {
        if let Some(value) = self.best_value(group, greatest) {
            value.unpack(self.width, out);
        }
    }

    fn read_best(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        self.set.remove_group(group);
        if !bytes.is_empty() {
            self.set.update(group, self.parse(bytes)?, 1);
        }
        Some(())
    }

    fn write_fresh(&mut self, group: u32, out: &mut Vec<u8>) {
        if !self.fresh_is_sorted {
            self.fresh.sort_unstable();
            self.fresh_is_sorted = true;
        }
        let start = self.fresh.partition_point(|(of, _)| *of < group);
        for (_, value) in self.fresh.iter().skip(start).take_while(|(of, _)| *of == group) {
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            value.unpack(self.width, out);
            let len = (out.len() - at - 4) as u32;
            if let Some(head) = out.get_mut(at..at + 4) {
                head.copy_from_slice(&len.to_le_bytes());
            }
        }
    }

    fn read_fresh(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_first_chunk::<4>()?;
            let (row, rest) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
            self.set.update(group, self.parse(row)?, 1);
            bytes = rest;
        }
        Some(())
    }

    fn forget_fresh(&mut self) {
        self.fresh = Vec::new();
        self.fresh_is_sorted = true;
    }

    fn size_bytes(&self) -> usize {
        self.set.size_bytes() + self.fresh.capacity() * size_of::<(u32, V)>()
    }
}

impl<V: Packed> TypedValues<V> {
    /// A value from a log; none if it cannot be one.
    fn parse(&self, row: &[u8]) -> Option<V> {
        let fits = row.first().is_some_and(|b| *b != 0) && (self.width == 0 || row.len() == self.width + 1);
        fits.then(|| V::pack(row))
    }
}

/// `min` or `max`.
pub(super) struct Extreme {
    values: Box<dyn GroupValues>,
    greatest: bool,
    rows: Rows,
}

impl Extreme {
    pub fn new(argument: &DataType, greatest: bool, rows: Rows) -> Result<Self, OperatorError> {
        Ok(Self { values: group_values(argument, rows)?, greatest, rows })
    }
}

impl Kernel for Extreme {
    fn resize(&mut self, _n_groups: usize) {}

    fn update(&mut self, groups: &[u32], argument: Option<&ArrayRef>, weights: &[i64]) -> Result<(), OperatorError> {
        match (argument, self.rows) {
            (None, _) => Ok(()),
            (Some(values), Rows::Retractable) => self.values.update(groups, values, weights),
            (Some(values), Rows::AppendOnly) => self.values.keep_best(groups, values, weights, self.greatest),
        }
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError> {
        self.values.best(groups, self.greatest)
    }

    fn is_zero(&self, group: u32) -> bool {
        self.values.is_empty(group)
    }

    fn clear(&mut self, groups: &[u32]) {
        self.values.clear(groups);
    }

    fn write(&self, group: u32, out: &mut Vec<u8>) {
        self.values.write_best(group, self.greatest, out);
    }

    fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        self.values.read_best(group, bytes)
    }

    fn size_bytes(&self) -> usize {
        self.values.size_bytes()
    }
}
