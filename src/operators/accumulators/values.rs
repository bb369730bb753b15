//! How `min`, `max` and DISTINCT keep values of any type that sorts.
//!
//! A value is kept as arrow's row format writes it, whose byte order is its order; packed into an integer where it fits.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use smallvec::SmallVec;

use crate::operators::OperatorError;

/// A value in row format, packed. The default is the smallest of the type.
pub(super) trait Packed: Ord + Clone + Default + Send {
    /// Packs a value that is not null.
    fn pack(row: &[u8]) -> Self;

    /// How the value stands to one that is not packed yet.
    fn compare(&self, row: &[u8]) -> Ordering {
        self.cmp(&Self::pack(row))
    }

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
pub(super) type RowBytes = SmallVec<[u8; 16]>;

impl Packed for RowBytes {
    fn pack(row: &[u8]) -> Self {
        Self::from_slice(row)
    }

    fn compare(&self, row: &[u8]) -> Ordering {
        self.as_slice().cmp(row)
    }

    fn unpack(&self, _width: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

/// Into how large an integer the values of a type can be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Word,
    DoubleWord,
    Bytes,
}

impl Packing {
    /// The packing of a type.
    pub fn of(data_type: &DataType) -> Self {
        match fixed_width(data_type) {
            Some(width) if width <= 8 => Self::Word,
            Some(width) if width <= 16 => Self::DoubleWord,
            _ => Self::Bytes,
        }
    }
}

/// How many bytes a value takes in row format, besides the one that says "not null"; none if that differs.
fn fixed_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Boolean => Some(1),
        other => other.primitive_width(),
    }
}

/// Values of one type to row format and back.
#[derive(Debug)]
pub(super) struct ValueCodec {
    converter: RowConverter,
    data_type: DataType,
    width: Option<usize>,
    null_row: Vec<u8>,
}

/// One row on its way into a multiset.
#[derive(Debug)]
pub(super) struct Update<V> {
    pub group: u32,
    pub value: V,
    pub weight: i64,
    pub row: u32,
}

impl ValueCodec {
    /// The codec of a type; an error if it has no order.
    pub fn new(data_type: &DataType) -> Result<Self, OperatorError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let null_row = converter.convert_columns(&[new_null_array(data_type, 1)])?.row(0).data().to_vec();
        Ok(Self { converter, data_type: data_type.clone(), width: fixed_width(data_type), null_row })
    }

    /// All values in row format.
    pub fn encode(&self, values: &ArrayRef) -> Result<Rows, OperatorError> {
        Ok(self.converter.convert_columns(std::slice::from_ref(values))?)
    }

    /// The rows that count, by group and value: neighbours in a tree are then handled one after the other.
    pub fn sorted<V: Packed>(
        &self,
        groups: &[u32],
        values: &ArrayRef,
        weights: &[i64],
    ) -> Result<Vec<Update<V>>, OperatorError> {
        let encoded = self.encode(values)?;
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

    /// Values as an array; null where there is none.
    pub fn decode<'a, V: Packed + 'a>(
        &self,
        values: impl ExactSizeIterator<Item = Option<&'a V>>,
    ) -> Result<ArrayRef, OperatorError> {
        let n_values = values.len();
        let mut bytes = Vec::with_capacity(n_values * self.null_row.len());
        let mut ends = Vec::with_capacity(n_values);
        for value in values {
            match value {
                Some(value) => self.write(value, &mut bytes),
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
            None => Ok(new_null_array(&self.data_type, n_values)),
        }
    }

    /// Appends a value in row format.
    pub fn write<V: Packed>(&self, value: &V, out: &mut Vec<u8>) {
        value.unpack(self.width.unwrap_or_default(), out);
    }

    /// A value that [`ValueCodec::write`] wrote; none if the bytes cannot be one.
    pub fn read<V: Packed>(&self, row: &[u8]) -> Option<V> {
        let fits = row.first().is_some_and(|b| *b != 0) && self.width.is_none_or(|width| row.len() == width + 1);
        fits.then(|| V::pack(row))
    }
}
