//! Rows to records: each column is prepared once, then rows are written one after the other into one buffer.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, PrimitiveArray, RecordBatch,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, FieldRef, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use chrono_tz::Tz;
use serde::Serialize;

use super::instant::{InstantWriter, write_date, write_local};
use super::{TOMBSTONE, UnsupportedType};

/// Encoded records: their bytes in one buffer, one range a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// All records, one after the other, without separators.
    pub data: Vec<u8>,
    /// Where each row's record lies in `data`.
    pub ranges: Vec<Range<usize>>,
}

impl Encoded {
    /// The records in the order of their rows.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ranges.iter().map(|range| self.data.get(range.clone()).unwrap_or_default())
    }

    /// The record of a row.
    pub fn get(&self, row: usize) -> &[u8] {
        self.ranges.get(row).and_then(|range| self.data.get(range.clone())).unwrap_or_default()
    }
}

/// Writes rows of one schema as compact JSON objects.
///
/// All columns are written in order, null as `null`. Timestamps with zone are RFC 3339 with the pack's offset and
/// milliseconds. Floats have the shortest digits that read back as the same number; NaN, the infinities, and instants
/// outside the years 0 to 9999 have no JSON form and are `null`.
#[derive(Clone, Debug)]
pub struct Encoder {
    schema: SchemaRef,
    zone: Tz,
}

impl Encoder {
    /// An encoder; fails if a column's type has no JSON form.
    pub fn new(schema: SchemaRef, time_zone: Tz) -> Result<Self, UnsupportedType> {
        let encoder = Self { schema, zone: time_zone };
        encoder.encode(&RecordBatch::new_empty(encoder.schema.clone()))?;
        Ok(encoder)
    }

    /// One JSON object a row. The rows have the encoder's schema.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Encoded, UnsupportedType> {
        let columns: Vec<usize> = (0..rows.num_columns()).collect();
        self.objects(rows, &columns, b"{")
    }

    /// One line `{"_tombstone":true,<key columns>}` a row, for ends that have no records without value.
    pub fn tombstone_lines(&self, rows: &RecordBatch, key: &[usize]) -> Result<Encoded, UnsupportedType> {
        self.objects(rows, key, format!("{{\"{TOMBSTONE}\":true,").as_bytes())
    }

    /// The Kafka key of each row: one column as its JSON text without quotes, several as a JSON array.
    ///
    /// A single column that is null has no key; within an array it is `null`.
    pub fn key_text(&self, columns: &[ArrayRef]) -> Result<BinaryArray, UnsupportedType> {
        let n_rows = columns.first().map_or(0, |c| c.len());
        let writers = columns.iter().map(|c| writer(c, self.zone)).collect::<Result<Vec<_>, _>>()?;
        let mut keys = BinaryBuilder::with_capacity(n_rows, n_rows * 16);
        let mut text = Vec::new();
        for row in 0..n_rows {
            text.clear();
            match (columns, writers.as_slice()) {
                ([column], _) if column.is_null(row) => keys.append_null(),
                ([column], [write]) => {
                    match raw_text(column, row) {
                        Some(raw) => text.extend_from_slice(raw.as_bytes()),
                        None => write(row, &mut text),
                    }
                    // Dates and timestamps are the other texts, and hold no escapes.
                    let unquoted = text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\""));
                    let is_raw = column.data_type().is_string();
                    keys.append_value(unquoted.filter(|_| !is_raw).unwrap_or(&text));
                }
                _ => {
                    text.push(b'[');
                    for (idx, write) in writers.iter().enumerate() {
                        if idx > 0 {
                            text.push(b',');
                        }
                        write(row, &mut text);
                    }
                    text.push(b']');
                    keys.append_value(&text);
                }
            }
        }
        Ok(keys.finish())
    }

    fn objects(&self, rows: &RecordBatch, columns: &[usize], open: &[u8]) -> Result<Encoded, UnsupportedType> {
        // The encoder's own schema names the members: a plan may name its output columns otherwise.
        let column = |idx: &usize| Some((self.schema.fields().get(*idx)?, rows.columns().get(*idx)?));
        let members = members(columns.iter().filter_map(column), self.zone)?;
        let mut encoded = Encoded {
            data: Vec::with_capacity(rows.num_rows() * (members.len() * 24 + 2)),
            ranges: Vec::with_capacity(rows.num_rows()),
        };
        for row in 0..rows.num_rows() {
            let start = encoded.data.len();
            encoded.data.extend_from_slice(open);
            write_members(&members, row, &mut encoded.data);
            encoded.ranges.push(start..encoded.data.len());
        }
        Ok(encoded)
    }
}

/// Appends the JSON form of the value in a row.
type Write = Box<dyn Fn(usize, &mut Vec<u8>)>;

/// Prepares the members of an object: each name with its colon, and what writes its value.
fn members<'a>(
    columns: impl Iterator<Item = (&'a FieldRef, &'a ArrayRef)>,
    zone: Tz,
) -> Result<Vec<(Vec<u8>, Write)>, UnsupportedType> {
    let member = |(field, column): (&FieldRef, &ArrayRef)| {
        let mut name = Vec::new();
        write_text(field.name(), &mut name);
        name.push(b':');
        Ok((name, writer(column, zone)?))
    };
    columns.map(member).collect()
}

/// Appends members and the closing brace.
fn write_members(members: &[(Vec<u8>, Write)], row: usize, out: &mut Vec<u8>) {
    for (idx, (name, write)) in members.iter().enumerate() {
        if idx > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        write(row, out);
    }
    out.push(b'}');
}

/// Prepares a column: finds its type once, so that rows only write.
fn writer(array: &ArrayRef, zone: Tz) -> Result<Write, UnsupportedType> {
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, out| write_null(out)),
        DataType::Boolean => {
            let values = array.as_boolean().clone();
            nullable(array, move |row, out| out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }))
        }
        DataType::Int8 => number::<Int8Type>(array),
        DataType::Int16 => number::<Int16Type>(array),
        DataType::Int32 => number::<Int32Type>(array),
        DataType::Int64 => number::<Int64Type>(array),
        DataType::UInt8 => number::<UInt8Type>(array),
        DataType::UInt16 => number::<UInt16Type>(array),
        DataType::UInt32 => number::<UInt32Type>(array),
        DataType::UInt64 => number::<UInt64Type>(array),
        DataType::Float32 => number::<Float32Type>(array),
        DataType::Float64 => number::<Float64Type>(array),
        DataType::Decimal128(..) => decimal::<Decimal128Type>(array),
        DataType::Decimal256(..) => decimal::<Decimal256Type>(array),
        DataType::Utf8 => {
            let values = array.as_string::<i32>().clone();
            nullable(array, move |row, out| write_text(values.value(row), out))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>().clone();
            nullable(array, move |row, out| write_text(values.value(row), out))
        }
        DataType::Utf8View => {
            let values = array.as_string_view().clone();
            nullable(array, move |row, out| write_text(values.value(row), out))
        }
        DataType::Date32 => {
            let values = array.as_primitive::<Date32Type>().clone();
            nullable(array, move |row, out| quoted(out, |out| write_date(values.value(row).into(), out)))
        }
        DataType::Timestamp(unit, tz) => instants(array, *unit, tz.as_ref().map(|_| zone)),
        DataType::List(_) => {
            list(array.as_list::<i32>().values(), array.as_list::<i32>().value_offsets(), array, zone)?
        }
        DataType::LargeList(_) => {
            list(array.as_list::<i64>().values(), array.as_list::<i64>().value_offsets(), array, zone)?
        }
        DataType::Struct(fields) => {
            let members = members(fields.iter().zip(array.as_struct().columns()), zone)?;
            nullable(array, move |row, out| {
                out.push(b'{');
                write_members(&members, row, out);
            })
        }
        DataType::Dictionary(_, values) => {
            let unpacked = cast(array, values).map_err(|_| UnsupportedType(array.data_type().clone()))?;
            writer(&unpacked, zone)?
        }
        other => return Err(UnsupportedType(other.clone())),
    })
}

/// Writes null where the array is null.
fn nullable(array: &ArrayRef, write: impl Fn(usize, &mut Vec<u8>) + 'static) -> Write {
    match array.nulls().cloned() {
        None => Box::new(write),
        Some(nulls) => Box::new(move |row, out| if nulls.is_null(row) { write_null(out) } else { write(row, out) }),
    }
}

fn number<T>(array: &ArrayRef) -> Write
where
    T: ArrowPrimitiveType<Native: Serialize>,
{
    let values: PrimitiveArray<T> = array.as_primitive().clone();
    nullable(array, move |row, out| {
        let start = out.len();
        // Writing to memory cannot fail; a number that is none (NaN) is written as null.
        if serde_json::to_writer(&mut *out, &values.value(row)).is_err() {
            out.truncate(start);
            write_null(out);
        }
    })
}

fn decimal<T: DecimalType>(array: &ArrayRef) -> Write {
    let values: PrimitiveArray<T> = array.as_primitive().clone();
    nullable(array, move |row, out| out.extend_from_slice(values.value_as_string(row).as_bytes()))
}

fn instants(array: &ArrayRef, unit: TimeUnit, zone: Option<Tz>) -> Write {
    let values: Vec<i64> = match unit {
        TimeUnit::Second => {
            array.as_primitive::<TimestampSecondType>().values().iter().map(|v| v.saturating_mul(1000)).collect()
        }
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values().to_vec(),
        TimeUnit::Microsecond => {
            array.as_primitive::<TimestampMicrosecondType>().values().iter().map(|v| v.div_euclid(1_000)).collect()
        }
        TimeUnit::Nanosecond => {
            array.as_primitive::<TimestampNanosecondType>().values().iter().map(|v| v.div_euclid(1_000_000)).collect()
        }
    };
    let value = move |row: usize| values.get(row).copied().unwrap_or_default();
    match zone {
        None => nullable(array, move |row, out| quoted(out, |out| write_local(value(row), out))),
        Some(zone) => {
            let writer = RefCell::new(InstantWriter::new(zone));
            nullable(array, move |row, out| quoted(out, |out| writer.borrow_mut().write(value(row), out)))
        }
    }
}

fn list<O>(values: &ArrayRef, offsets: &[O], array: &ArrayRef, zone: Tz) -> Result<Write, UnsupportedType>
where
    O: arrow::array::OffsetSizeTrait,
{
    let write = writer(values, zone)?;
    let offsets: Arc<[usize]> = offsets.iter().map(|o| o.as_usize()).collect();
    Ok(nullable(array, move |row, out| {
        let (start, end) = (offsets.get(row).copied().unwrap_or(0), offsets.get(row + 1).copied().unwrap_or(0));
        out.push(b'[');
        for idx in start..end {
            if idx > start {
                out.push(b',');
            }
            write(idx, out);
        }
        out.push(b']');
    }))
}

fn write_null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

/// Writes a text without escapes in quotes, or null if there is none.
fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) {
    let start = out.len();
    out.push(b'"');
    if write(out) {
        out.push(b'"');
    } else {
        out.truncate(start);
        write_null(out);
    }
}

/// Writes a text as a JSON string; only quotes, backslashes and control characters are escaped.
fn write_text(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((special, tail)) = tail.split_first() else { break };
        match special {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *special]),
            control => {
                out.extend_from_slice(b"\\u00");
                out.extend([control >> 4, control & 15].map(|digit| HEX[usize::from(digit & 15)]));
            }
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// The text of a row of a text column.
fn raw_text(array: &ArrayRef, row: usize) -> Option<&str> {
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
