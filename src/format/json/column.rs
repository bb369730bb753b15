//! Columns that grow cell by cell. A row is appended only after all of its cells have been checked.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, ListArray, NullBufferBuilder, StringBuilder, StringViewBuilder, StructArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use arrow::error::ArrowError;

use super::UnsupportedType;
use super::cell::Cell;

/// A growing column.
pub(in crate::format) struct Column {
    data_type: DataType,
    store: Store,
}

enum Store {
    Bool(BooleanBuilder),
    Int(Vec<i64>, NullBufferBuilder),
    Float(Vec<f64>, NullBufferBuilder),
    Decimal(Vec<i128>, NullBufferBuilder),
    Text(StringBuilder),
    TextView(StringViewBuilder),
    List { element: FieldRef, ends: Vec<i32>, nulls: NullBufferBuilder, child: Box<Column> },
    Struct { fields: Fields, nulls: NullBufferBuilder, children: Vec<Column> },
}

impl Column {
    /// An empty column with room for `n_rows`.
    pub fn new(data_type: &DataType, n_rows: usize) -> Result<Self, UnsupportedType> {
        let nulls = NullBufferBuilder::new(n_rows);
        let store = match data_type {
            DataType::Boolean => Store::Bool(BooleanBuilder::with_capacity(n_rows)),
            DataType::Float32 | DataType::Float64 => Store::Float(Vec::with_capacity(n_rows), nulls),
            DataType::Decimal128(..) => Store::Decimal(Vec::with_capacity(n_rows), nulls),
            DataType::Utf8 => Store::Text(StringBuilder::with_capacity(n_rows, n_rows.saturating_mul(16))),
            DataType::Utf8View => Store::TextView(StringViewBuilder::with_capacity(n_rows)),
            DataType::List(element) => Store::List {
                element: element.clone(),
                ends: Vec::with_capacity(n_rows),
                nulls,
                child: Box::new(Self::new(element.data_type(), n_rows)?),
            },
            DataType::Struct(fields) => {
                let child = |f: &FieldRef| Self::new(f.data_type(), n_rows);
                let children = fields.iter().map(child).collect::<Result<_, _>>()?;
                Store::Struct { fields: fields.clone(), nulls, children }
            }
            _ => Store::Int(Vec::with_capacity(n_rows), nulls),
        };
        Ok(Self { data_type: data_type.clone(), store })
    }

    fn len(&self) -> usize {
        match &self.store {
            Store::Bool(builder) => arrow::array::ArrayBuilder::len(builder),
            Store::Int(values, _) => values.len(),
            Store::Float(values, _) => values.len(),
            Store::Decimal(values, _) => values.len(),
            Store::Text(builder) => arrow::array::ArrayBuilder::len(builder),
            Store::TextView(builder) => arrow::array::ArrayBuilder::len(builder),
            Store::List { ends, .. } => ends.len(),
            Store::Struct { nulls, .. } => nulls.len(),
        }
    }

    /// Appends a cell. A cell of another type than the column's, which typing rules out, counts as null.
    #[inline]
    pub fn append(&mut self, cell: Cell<'_>) {
        match (&mut self.store, cell) {
            (Store::Text(builder), Cell::Text(text)) => builder.append_value(text),
            (Store::TextView(builder), Cell::Text(text)) => builder.append_value(text),
            (Store::Int(values, nulls), Cell::Int(value)) => {
                values.push(value);
                nulls.append_non_null();
            }
            (Store::Float(values, nulls), Cell::Float(value)) => {
                values.push(value);
                nulls.append_non_null();
            }
            (Store::Bool(builder), Cell::Bool(value)) => builder.append_value(value),
            (Store::Decimal(values, nulls), Cell::Decimal(value)) => {
                values.push(value);
                nulls.append_non_null();
            }
            (Store::List { ends, nulls, child, .. }, Cell::List(cells)) => {
                cells.into_iter().for_each(|cell| child.append(cell));
                // There are no more elements than bytes in a batch, whose size `decode` bounds.
                ends.push(i32::try_from(child.len()).unwrap_or(i32::MAX));
                nulls.append_non_null();
            }
            (Store::Struct { nulls, children, .. }, Cell::Struct(cells)) => {
                children.iter_mut().zip(cells).for_each(|(child, cell)| child.append(cell));
                nulls.append_non_null();
            }
            _ => self.append_null(),
        }
    }

    fn append_null(&mut self) {
        match &mut self.store {
            Store::Bool(builder) => builder.append_null(),
            Store::Int(values, nulls) => {
                values.push(0);
                nulls.append_null();
            }
            Store::Float(values, nulls) => {
                values.push(0.0);
                nulls.append_null();
            }
            Store::Decimal(values, nulls) => {
                values.push(0);
                nulls.append_null();
            }
            Store::Text(builder) => builder.append_null(),
            Store::TextView(builder) => builder.append_null(),
            Store::List { ends, nulls, .. } => {
                ends.push(ends.last().copied().unwrap_or(0));
                nulls.append_null();
            }
            Store::Struct { nulls, children, .. } => {
                children.iter_mut().for_each(Self::append_null);
                nulls.append_null();
            }
        }
    }

    /// The column as an array of its type.
    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self.store {
            Store::Bool(mut builder) => Arc::new(builder.finish()),
            Store::Text(mut builder) => Arc::new(builder.finish()),
            Store::TextView(mut builder) => Arc::new(builder.finish()),
            Store::Int(values, mut nulls) => integers(&self.data_type, values, nulls.finish())?,
            Store::Float(values, mut nulls) => match self.data_type {
                DataType::Float32 => {
                    Arc::new(Float32Array::try_new(values.iter().map(|v| *v as f32).collect(), nulls.finish())?)
                }
                _ => Arc::new(Float64Array::try_new(values.into(), nulls.finish())?),
            },
            Store::Decimal(values, mut nulls) => {
                Arc::new(Decimal128Array::try_new(values.into(), nulls.finish())?.with_data_type(self.data_type))
            }
            Store::List { element, ends, mut nulls, child } => {
                let offsets: Vec<i32> = std::iter::once(0).chain(ends).collect();
                Arc::new(ListArray::try_new(
                    element,
                    OffsetBuffer::new(offsets.into()),
                    child.finish()?,
                    nulls.finish(),
                )?)
            }
            Store::Struct { fields, mut nulls, children } => {
                let n_rows = nulls.len();
                let nulls = nulls.finish();
                let children = children.into_iter().map(Self::finish).collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::try_new_with_length(fields, children, nulls, n_rows)?)
            }
        })
    }
}

/// Integers of any width, dates and timestamps. The values were checked against the type's range.
fn integers(data_type: &DataType, values: Vec<i64>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    macro_rules! narrow {
        ($array:ty, $native:ty) => {
            Arc::new(<$array>::try_new(values.iter().map(|v| *v as $native).collect(), nulls)?)
        };
    }
    Ok(match data_type {
        DataType::Int8 => narrow!(Int8Array, i8),
        DataType::Int16 => narrow!(Int16Array, i16),
        DataType::Int32 => narrow!(Int32Array, i32),
        DataType::UInt8 => narrow!(UInt8Array, u8),
        DataType::UInt16 => narrow!(UInt16Array, u16),
        DataType::UInt32 => narrow!(UInt32Array, u32),
        DataType::UInt64 => narrow!(UInt64Array, u64),
        DataType::Date32 => narrow!(Date32Array, i32),
        DataType::Timestamp(unit, zone) => {
            let (values, zone) = (values.into(), zone.clone());
            match unit {
                TimeUnit::Second => Arc::new(TimestampSecondArray::try_new(values, nulls)?.with_timezone_opt(zone)),
                TimeUnit::Millisecond => {
                    Arc::new(TimestampMillisecondArray::try_new(values, nulls)?.with_timezone_opt(zone))
                }
                TimeUnit::Microsecond => {
                    Arc::new(TimestampMicrosecondArray::try_new(values, nulls)?.with_timezone_opt(zone))
                }
                TimeUnit::Nanosecond => {
                    Arc::new(TimestampNanosecondArray::try_new(values, nulls)?.with_timezone_opt(zone))
                }
            }
        }
        _ => Arc::new(Int64Array::try_new(values.into(), nulls)?),
    })
}
