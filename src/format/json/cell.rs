//! From parsed JSON to typed cells: what each SQL type accepts.
//!
//! Types are strict: a text is never read as a number, nor a number as a text. Numbers fit where their value fits, so `1.0`
//! is an INT and `3` a DOUBLE. Decimals are rounded half away from zero to their scale.

use std::borrow::Cow;
use std::fmt;

use arrow::datatypes::{DataType, FieldRef, TimeUnit};

use super::UnsupportedType;
use super::instant::{parse_date, parse_instant, parse_local};
use super::number::{integer, scaled};
use super::value::Value;

/// A typed value that waits to be appended to its column.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::format) enum Cell<'a> {
    Null,
    Bool(bool),
    /// Integers, dates and timestamps in the unit of their column; unsigned 64-bit ones by their bits.
    Int(i64),
    Float(f64),
    Decimal(i128),
    Text(Cow<'a, str>),
    List(Vec<Cell<'a>>),
    Struct(Vec<Cell<'a>>),
}

impl Cell<'_> {
    /// The same without borrowed text.
    pub fn into_owned(self) -> Cell<'static> {
        match self {
            Self::Null => Cell::Null,
            Self::Bool(value) => Cell::Bool(value),
            Self::Int(value) => Cell::Int(value),
            Self::Float(value) => Cell::Float(value),
            Self::Decimal(value) => Cell::Decimal(value),
            Self::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
            Self::List(cells) => Cell::List(cells.into_iter().map(Cell::into_owned).collect()),
            Self::Struct(cells) => Cell::Struct(cells.into_iter().map(Cell::into_owned).collect()),
        }
    }

    /// How many bytes of text and elements it holds.
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(cells) | Self::Struct(cells) => cells.iter().map(|c| 1 + c.n_bytes()).sum(),
            _ => 0,
        }
    }
}

/// What a column accepts; made from its Arrow type.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::format) enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
        name: &'static str,
    },
    UInt64,
    Float32,
    Float64,
    Text,
    Date,
    /// A timestamp with the number of its units in a millisecond; for seconds 0.
    Instant {
        per_ms: i64,
        zoned: bool,
    },
    Decimal {
        precision: u8,
        scale: i8,
    },
    List {
        element: Box<Kind>,
        nullable: bool,
    },
    Struct(Vec<StructField>),
}

/// A field of a struct column.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::format) struct StructField {
    pub name: String,
    pub kind: Kind,
    pub nullable: bool,
}

/// The value does not fit the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) struct Mismatch;

impl Kind {
    /// The kind of a column type, if JSON can be read into it.
    pub fn of(data_type: &DataType) -> Result<Self, UnsupportedType> {
        let int = |min, max, name| Self::Int { min, max, name };
        Ok(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 => int(i8::MIN.into(), i8::MAX.into(), "TINYINT"),
            DataType::Int16 => int(i16::MIN.into(), i16::MAX.into(), "SMALLINT"),
            DataType::Int32 => int(i32::MIN.into(), i32::MAX.into(), "INT"),
            DataType::Int64 => int(i64::MIN, i64::MAX, "BIGINT"),
            DataType::UInt8 => int(0, u8::MAX.into(), "TINYINT UNSIGNED"),
            DataType::UInt16 => int(0, u16::MAX.into(), "SMALLINT UNSIGNED"),
            DataType::UInt32 => int(0, u32::MAX.into(), "INT UNSIGNED"),
            DataType::UInt64 => Self::UInt64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Utf8 | DataType::Utf8View => Self::Text,
            DataType::Date32 => Self::Date,
            DataType::Timestamp(unit, zone) => {
                let per_ms = match unit {
                    TimeUnit::Second => 0,
                    TimeUnit::Millisecond => 1,
                    TimeUnit::Microsecond => 1_000,
                    TimeUnit::Nanosecond => 1_000_000,
                };
                Self::Instant { per_ms, zoned: zone.is_some() }
            }
            DataType::Decimal128(precision, scale) => Self::Decimal { precision: *precision, scale: *scale },
            DataType::List(element) => {
                Self::List { element: Box::new(Self::of(element.data_type())?), nullable: element.is_nullable() }
            }
            DataType::Struct(fields) => {
                let field = |f: &FieldRef| {
                    let kind = Self::of(f.data_type())?;
                    Ok(StructField { name: f.name().clone(), kind, nullable: f.is_nullable() })
                };
                Self::Struct(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
            other => return Err(UnsupportedType(other.clone())),
        })
    }

    /// Types a value; null and absent values are null cells.
    #[inline]
    pub fn cell<'a>(&self, value: &mut Value<'a>) -> Result<Cell<'a>, Mismatch> {
        match (self, value) {
            (_, Value::Absent | Value::Null) => Ok(Cell::Null),
            (Self::Text, Value::Text(text)) => Ok(Cell::Text(std::mem::take(text))),
            (Self::Bool, Value::Bool(value)) => Ok(Cell::Bool(*value)),
            (Self::Float64, Value::Number(number)) => finite(number.parse()),
            (Self::Float32, Value::Number(number)) => finite(number.parse::<f32>().map(f64::from)),
            (Self::Instant { per_ms, zoned }, Value::Text(text)) => {
                let ms = if *zoned { parse_instant(text) } else { parse_local(text) };
                ms.and_then(|ms| in_unit(ms, *per_ms)).map(Cell::Int).ok_or(Mismatch)
            }
            (Self::Date, Value::Text(text)) => parse_date(text).map(Cell::Int).ok_or(Mismatch),
            (Self::Int { min, max, .. }, Value::Number(number)) => {
                let value = integer(number).and_then(|i| i64::try_from(i).ok());
                value.filter(|i| (*min..=*max).contains(i)).map(Cell::Int).ok_or(Mismatch)
            }
            (Self::UInt64, Value::Number(number)) => {
                let value = integer(number).and_then(|i| u64::try_from(i).ok());
                value.map(|i| Cell::Int(i.cast_signed())).ok_or(Mismatch)
            }
            (Self::Decimal { precision, scale }, Value::Number(number)) => {
                let limit = 10_i128.checked_pow((*precision).into());
                let value = scaled(number, (*scale).into()).map(|(value, _)| value);
                let fits = |value: &i128| limit.is_none_or(|limit| value.abs() < limit);
                value.filter(fits).map(Cell::Decimal).ok_or(Mismatch)
            }
            (Self::List { element, nullable }, Value::Array(values)) => {
                let cells = values.iter_mut().map(|value| present(element.cell(value)?, *nullable));
                Ok(Cell::List(cells.collect::<Result<_, _>>()?))
            }
            (Self::Struct(fields), Value::Object(members)) => {
                let cells = fields.iter().map(|field| {
                    // As in the record itself, the last of equal names wins.
                    let member = members.iter_mut().rev().find(|(name, _)| *name == field.name);
                    let cell = member.map_or(Ok(Cell::Null), |(_, value)| field.kind.cell(value))?;
                    present(cell, field.nullable)
                });
                Ok(Cell::Struct(cells.collect::<Result<_, _>>()?))
            }
            _ => Err(Mismatch),
        }
    }
}

fn present(cell: Cell<'_>, nullable: bool) -> Result<Cell<'_>, Mismatch> {
    if cell == Cell::Null && !nullable { Err(Mismatch) } else { Ok(cell) }
}

fn finite<'a, E>(number: Result<f64, E>) -> Result<Cell<'a>, Mismatch> {
    number.ok().filter(|n| n.is_finite()).map(Cell::Float).ok_or(Mismatch)
}

fn in_unit(ms: i64, per_ms: i64) -> Option<i64> {
    if per_ms == 0 { Some(ms.div_euclid(1000)) } else { ms.checked_mul(per_ms) }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("BOOLEAN"),
            Self::Int { name, .. } => f.write_str(name),
            Self::UInt64 => f.write_str("BIGINT UNSIGNED"),
            Self::Float32 => f.write_str("REAL"),
            Self::Float64 => f.write_str("DOUBLE"),
            Self::Text => f.write_str("VARCHAR"),
            Self::Date => f.write_str("DATE"),
            Self::Instant { zoned: true, .. } => f.write_str("TIMESTAMP WITH TIME ZONE"),
            Self::Instant { zoned: false, .. } => f.write_str("TIMESTAMP"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            Self::List { element, .. } => write!(f, "{element}[]"),
            Self::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (idx, StructField { name, kind, .. }) in fields.iter().enumerate() {
                    write!(f, "{}{name} {kind}", if idx > 0 { ", " } else { "" })?;
                }
                f.write_str(">")
            }
        }
    }
}
