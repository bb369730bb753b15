//! Avro data to cells. Whatever the bytes are: nothing panics, and neither time nor memory go beyond what their number allows.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use super::resolve::{KeyPlan, RecordPlan};
use super::schema::{Schema, Shape};
use crate::format::json::cell::{Cell, Kind};
use crate::format::json::parse::number_end;
use crate::format::json::value::Value;

/// How deep values may be nested.
const DEPTH_MAX: usize = 100;

/// How one type becomes cells of one kind.
#[derive(Debug)]
pub(in crate::format) enum Read {
    Null,
    Bool,
    /// Whole numbers within bounds.
    Int {
        min: i64,
        max: i64,
    },
    IntAsFloat,
    IntAsDecimal(Kind),
    /// Days since the Unix epoch.
    Days,
    /// Instants: units in a millisecond as written, and as the column has it.
    Instant {
        divisor: i64,
        factor: i64,
    },
    Float,
    Double,
    /// Text, also in bytes.
    Text,
    /// Text that says an instant, a date or a decimal.
    TextAs(Kind),
    Symbol(Vec<String>),
    /// 16 bytes.
    Uuid,
    /// A big-endian number with so many decimals.
    Decimal {
        length: Length,
        scale: i32,
        kind: Kind,
    },
    List {
        element: Box<Read>,
        nullable: bool,
    },
    /// A map as a list of structures of key and value.
    Entries(Box<Read>),
    Record(RecordPlan),
    /// By branch; the reason where one does not fit.
    Union(Vec<Result<Read, Arc<str>>>),
}

/// How many bytes a value has.
#[derive(Clone, Copy, Debug)]
pub(in crate::format) enum Length {
    /// It says so itself.
    Told,
    Fixed(usize),
}

/// What is done with a field of a record.
#[derive(Debug)]
pub(in crate::format) enum Step {
    /// The node of its type.
    Skip(usize),
    /// The index of its cell.
    Read(usize, Read),
}

/// The rest of a datum.
pub(in crate::format) struct Datum<'a> {
    rest: &'a [u8],
    depth: usize,
    /// How many elements of lists there may still be: some take no bytes.
    n_elements: usize,
}

impl<'a> Datum<'a> {
    pub(in crate::format) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0, n_elements: bytes.len().saturating_mul(8).saturating_add(1024) }
    }

    /// Refuses what is left.
    pub(in crate::format) fn end(&self) -> Result<(), String> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(format!("{n} bytes are left behind the datum; it was written with another schema")),
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number in zigzag form.
    pub(in crate::format) fn long(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or_else(ends_early)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err("a number of more than 64 bits".to_owned())
    }

    /// Bytes behind their number.
    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let n = usize::try_from(self.long()?).map_err(|_| "a negative length".to_owned())?;
        self.take(n)
    }

    pub(in crate::format) fn text(&mut self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a text that is not valid UTF-8".to_owned())
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Reads the elements of a list or map, block after block.
    fn elements(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.deeper(|datum| {
            loop {
                let mut n = datum.long()?;
                if n == 0 {
                    return Ok(());
                }
                if n < 0 {
                    // The size in bytes comes along; the number is negative to say so.
                    n = n.checked_neg().ok_or("too many elements")?;
                    datum.long()?;
                }
                for _ in 0..n {
                    datum.n_elements = datum.n_elements.checked_sub(1).ok_or("too many elements")?;
                    element(datum)?;
                }
            }
        })
    }
}

fn ends_early() -> String {
    "the datum ends early".to_owned()
}

impl RecordPlan {
    /// Reads the fields of a record into cells.
    pub(in crate::format) fn read<'a>(&self, datum: &mut Datum<'a>, cells: &mut Vec<Cell<'a>>) -> Result<(), String> {
        let first = cells.len();
        cells.resize(first + self.names.len(), Cell::Null);
        datum.deeper(|datum| {
            for step in &self.steps {
                match step {
                    Step::Skip(node) => skip(&self.schema, *node, datum)?,
                    Step::Read(cell, read) => {
                        let of_column = |reason: String| match self.names.get(*cell) {
                            Some(name) => format!("column `{name}`: {reason}"),
                            None => reason,
                        };
                        let value = read.read(datum).map_err(of_column)?;
                        if let Some(cell) = cells.get_mut(first + cell) {
                            *cell = value;
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

impl KeyPlan {
    /// The cells of the key columns.
    pub(in crate::format) fn read<'a>(&self, datum: &mut Datum<'a>) -> Result<Vec<Cell<'a>>, String> {
        match self {
            Self::Single(read) => Ok(vec![read.read(datum)?]),
            Self::Record(plan) => {
                let mut cells = Vec::with_capacity(plan.names.len());
                plan.read(datum, &mut cells)?;
                Ok(cells)
            }
        }
    }
}

impl Read {
    fn read<'a>(&self, datum: &mut Datum<'a>) -> Result<Cell<'a>, String> {
        Ok(match self {
            Self::Null => Cell::Null,
            Self::Bool => match datum.take(1)? {
                [0] => Cell::Bool(false),
                [1] => Cell::Bool(true),
                _ => return Err("a boolean that is neither 0 nor 1".to_owned()),
            },
            Self::Int { min, max } => match datum.long()? {
                value if (*min..=*max).contains(&value) => Cell::Int(value),
                _ => return Err(format!("a number that is not within {min} and {max}, as the column's type is")),
            },
            Self::IntAsFloat => Cell::Float(datum.long()? as f64),
            Self::IntAsDecimal(kind) => decimal(datum.long()?.into(), 0, kind)?,
            Self::Days => Cell::Int(i32::try_from(datum.long()?).map_err(|_| "a date out of range")?.into()),
            Self::Instant { divisor, factor } => {
                let ms = datum.long()?.div_euclid(*divisor);
                Cell::Int(if *factor == 0 {
                    ms.div_euclid(1_000)
                } else {
                    ms.checked_mul(*factor).ok_or("an instant out of range")?
                })
            }
            Self::Float => {
                let bytes = datum.take(4)?.first_chunk::<4>().copied().unwrap_or_default();
                Cell::Float(f32::from_le_bytes(bytes).into())
            }
            Self::Double => {
                let bytes = datum.take(8)?.first_chunk::<8>().copied().unwrap_or_default();
                Cell::Float(f64::from_le_bytes(bytes))
            }
            Self::Text => Cell::Text(Cow::Borrowed(datum.text()?)),
            Self::TextAs(kind) => {
                let text = datum.text()?;
                let is_number = number_end(text.as_bytes(), 0) == Some(text.len());
                let mut value = match kind {
                    Kind::Decimal { .. } if is_number => Value::Number(text),
                    _ => Value::Text(Cow::Borrowed(text)),
                };
                kind.cell(&mut value).map_err(|_| format!("a text that is no {kind}"))?
            }
            Self::Symbol(symbols) => {
                let symbol = usize::try_from(datum.long()?).ok().and_then(|idx| symbols.get(idx));
                Cell::Text(Cow::Owned(symbol.ok_or("a symbol that the enum does not have")?.clone()))
            }
            Self::Uuid => Cell::Text(Cow::Owned(uuid(datum.take(16)?))),
            Self::Decimal { length, scale, kind } => {
                let bytes = match length {
                    Length::Told => datum.bytes()?,
                    Length::Fixed(n) => datum.take(*n)?,
                };
                let value = big_endian(bytes).ok_or("a decimal of more than 38 digits")?;
                decimal(value, *scale, kind)?
            }
            Self::List { element, nullable } => {
                let mut cells = Vec::new();
                datum.elements(|datum| {
                    let cell = element.read(datum)?;
                    if cell == Cell::Null && !nullable {
                        return Err("null in a list whose elements are never null".to_owned());
                    }
                    cells.push(cell);
                    Ok(())
                })?;
                Cell::List(cells)
            }
            Self::Entries(values) => {
                let mut cells = Vec::new();
                datum.elements(|datum| {
                    let key = Cell::Text(Cow::Borrowed(datum.text()?));
                    cells.push(Cell::Struct(vec![key, values.read(datum)?]));
                    Ok(())
                })?;
                Cell::List(cells)
            }
            Self::Record(plan) => {
                let mut cells = Vec::with_capacity(plan.names.len());
                plan.read(datum, &mut cells)?;
                Cell::Struct(cells)
            }
            Self::Union(branches) => {
                let branch = usize::try_from(datum.long()?).ok().and_then(|idx| branches.get(idx));
                match branch.ok_or("a branch that the union does not have")? {
                    Ok(read) => read.read(datum)?,
                    Err(reason) => return Err(reason.to_string()),
                }
            }
        })
    }
}

/// Goes past a value that nobody reads.
pub(in crate::format) fn skip(schema: &Schema, node: usize, datum: &mut Datum<'_>) -> Result<(), String> {
    match &schema.node(node).shape {
        Shape::Null => Ok(()),
        Shape::Boolean => datum.take(1).map(drop),
        Shape::Int | Shape::Long | Shape::Enum(_) => datum.long().map(drop),
        Shape::Float => datum.take(4).map(drop),
        Shape::Double => datum.take(8).map(drop),
        Shape::Bytes | Shape::String => datum.bytes().map(drop),
        Shape::Fixed(n) => datum.take(*n).map(drop),
        Shape::Array(items) => datum.elements(|datum| skip(schema, *items, datum)),
        Shape::Map(values) => datum.elements(|datum| {
            datum.bytes()?;
            skip(schema, *values, datum)
        }),
        Shape::Union(branches) => {
            let branch = usize::try_from(datum.long()?).ok().and_then(|idx| branches.get(idx)).copied();
            skip(schema, branch.ok_or("a branch that the union does not have")?, datum)
        }
        Shape::Record(fields) => datum.deeper(|datum| fields.iter().try_for_each(|f| skip(schema, f.node, datum))),
    }
}

/// A whole number in two's complement, if it fits into 128 bits.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let n_extra = bytes.len().saturating_sub(16);
    let (extra, low) = bytes.split_at_checked(n_extra)?;
    let keeps_sign = n_extra == 0 || low.first().is_some_and(|b| (b & 0x80 != 0) == (sign == 0xff));
    if !keeps_sign || extra.iter().any(|b| *b != sign) {
        return None;
    }
    let mut wide = [sign; 16];
    wide.get_mut(16 - low.len()..)?.copy_from_slice(low);
    Some(i128::from_be_bytes(wide))
}

/// A decimal at the scale of its column, rounded half away from zero.
fn decimal(value: i128, from: i32, kind: &Kind) -> Result<Cell<'static>, String> {
    let number = format!("{value}e{}", -i64::from(from));
    kind.cell(&mut Value::Number(&number)).map(Cell::into_owned).map_err(|_| format!("a number that is no {kind}"))
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (idx, byte) in bytes.iter().enumerate() {
        if matches!(idx, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
