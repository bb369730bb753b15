//! How operators over streams log state of several kinds: a kind, a number and two byte strings a row.

use std::sync::Arc;

use arrow::array::{
    AsArray, BinaryArray, BinaryBuilder, Int64Array, Int64Builder, RecordBatch, UInt8Array, UInt8Builder,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt8Type};

use super::OperatorError;

/// What a logged row tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum LogKind {
    /// All that is due at a watermark (`number`) has left.
    Closed = 0,
    /// A key (`key`) is forgotten.
    Gone = 1,
    /// The state (`value`) of a key (`key`).
    Key = 2,
    /// A row (`value`) under a key (`key`), with its place (`number`) there.
    Row = 3,
    /// A row (`key`) that waits, and how often (`number`).
    Waiting = 4,
}

impl LogKind {
    fn of(number: u8) -> Option<Self> {
        [Self::Closed, Self::Gone, Self::Key, Self::Row, Self::Waiting].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A delta or slice that is being written.
#[derive(Debug, Default)]
pub(super) struct LogWriter {
    kinds: UInt8Builder,
    numbers: Int64Builder,
    keys: BinaryBuilder,
    values: BinaryBuilder,
}

impl LogWriter {
    /// Appends a row.
    pub fn push(&mut self, kind: LogKind, number: i64, key: &[u8], value: &[u8]) {
        self.kinds.append_value(kind as u8);
        self.numbers.append_value(number);
        self.keys.append_value(key);
        self.values.append_value(value);
    }

    /// What was written, which may be no row.
    pub fn finish(mut self) -> Result<RecordBatch, OperatorError> {
        Ok(RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(self.kinds.finish()),
                Arc::new(self.numbers.finish()),
                Arc::new(self.keys.finish()),
                Arc::new(self.values.finish()),
            ],
        )?)
    }

    /// What was written, if anything.
    pub fn delta(self) -> Result<Option<RecordBatch>, OperatorError> {
        if arrow::array::ArrayBuilder::is_empty(&self.kinds) { Ok(None) } else { self.finish().map(Some) }
    }
}

/// A delta or slice that is being read.
pub(super) struct LogReader<'a> {
    kinds: &'a UInt8Array,
    numbers: &'a Int64Array,
    keys: &'a BinaryArray,
    values: &'a BinaryArray,
}

/// One row of a log.
#[derive(Clone, Copy)]
pub(super) struct LogRow<'a> {
    pub kind: LogKind,
    pub number: i64,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> LogReader<'a> {
    /// Opens what [`LogWriter`] wrote; an error that names the operator if it is something else.
    pub fn new(batch: &'a RecordBatch, operator: &str) -> Result<Self, OperatorError> {
        if batch.schema().fields() != schema().fields() {
            return Err(misfit(operator));
        }
        Ok(Self {
            kinds: batch.column(0).as_primitive::<UInt8Type>(),
            numbers: batch.column(1).as_primitive::<Int64Type>(),
            keys: batch.column(2).as_binary::<i32>(),
            values: batch.column(3).as_binary::<i32>(),
        })
    }

    /// The rows; none for one of an unknown kind.
    pub fn rows(&self) -> impl Iterator<Item = Option<LogRow<'a>>> + use<'_, 'a> {
        (0..self.kinds.len()).map(|row| {
            Some(LogRow {
                kind: LogKind::of(self.kinds.value(row))?,
                number: self.numbers.value(row),
                key: self.keys.value(row),
                value: self.values.value(row),
            })
        })
    }
}

/// Logged state that an operator cannot read.
pub(super) fn misfit(operator: &str) -> OperatorError {
    OperatorError::State(format!("`{operator}` cannot read what was logged for it"))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("kind", DataType::UInt8, false),
        Field::new("number", DataType::Int64, false),
        Field::new("key", DataType::Binary, false),
        Field::new("value", DataType::Binary, false),
    ]))
}
