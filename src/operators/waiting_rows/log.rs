//! What is logged of rows that wait on the sides of a join: slots, and how many epochs rows have left in.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Int64Builder, RecordBatch, UInt8Builder, UInt32Builder,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt8Type, UInt32Type};

use super::{SlotChange, Waiting, WaitingRows};
use crate::operators::OperatorError;
use crate::state::KeyIndex;

/// The number in column `side` of the one row that holds the counter of epochs, in column `time`.
const COUNTER: u8 = 2;

/// Builds a delta.
///
/// A row says what a slot of a side holds: with `row` it is a row that waits; without, but with `matched`, the row that it
/// holds has had a match; with neither it is empty.
pub(in crate::operators) struct Delta {
    side: UInt8Builder,
    slot: UInt32Builder,
    key: BinaryBuilder,
    time: Int64Builder,
    until: Int64Builder,
    oldest: Int64Builder,
    matched: BooleanBuilder,
    row: BinaryBuilder,
}

/// What a row of a delta says.
pub(in crate::operators) enum Logged<'a> {
    Row { side: usize, slot: u32, key: &'a [u8], waiting: Waiting, bytes: &'a [u8] },
    Matched { side: usize, slot: u32 },
    Empty { side: usize, slot: u32 },
    Counter(u64),
}

impl Delta {
    /// A delta that tells the counter.
    pub(in crate::operators) fn new(counter: u64) -> Self {
        let mut delta = Self {
            side: UInt8Builder::new(),
            slot: UInt32Builder::new(),
            key: BinaryBuilder::new(),
            time: Int64Builder::new(),
            until: Int64Builder::new(),
            oldest: Int64Builder::new(),
            matched: BooleanBuilder::new(),
            row: BinaryBuilder::new(),
        };
        delta.push(COUNTER, 0, Some(counter as i64), None);
        delta
    }

    fn push(&mut self, side: u8, slot: u32, time: Option<i64>, matched: Option<bool>) {
        self.side.append_value(side);
        self.slot.append_value(slot);
        self.key.append_null();
        self.time.append_option(time);
        self.until.append_null();
        self.oldest.append_null();
        self.matched.append_option(matched);
        self.row.append_null();
    }

    /// Adds what became of a slot.
    pub(in crate::operators) fn add(
        &mut self,
        side: usize,
        rows: &WaitingRows,
        keys: &KeyIndex,
        slot: u32,
        change: SlotChange,
    ) {
        match (change, rows.get(slot)) {
            (SlotChange::Row, Some(waiting)) => {
                self.side.append_value(side as u8);
                self.slot.append_value(slot);
                self.key.append_value(keys.key(waiting.key));
                self.time.append_value(waiting.time);
                self.until.append_value(waiting.until);
                self.oldest.append_value(waiting.oldest);
                self.matched.append_value(waiting.matched);
                self.row.append_value(rows.bytes(slot));
            }
            (SlotChange::Matched, Some(_)) => self.push(side as u8, slot, None, Some(true)),
            _ => self.push(side as u8, slot, None, None),
        }
    }

    pub(in crate::operators) fn finish(mut self) -> Result<RecordBatch, OperatorError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.side.finish()),
            Arc::new(self.slot.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.time.finish()),
            Arc::new(self.until.finish()),
            Arc::new(self.oldest.finish()),
            Arc::new(self.matched.finish()),
            Arc::new(self.row.finish()),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("side", DataType::UInt8),
        field("slot", DataType::UInt32),
        field("key", DataType::Binary),
        field("time", DataType::Int64),
        field("until", DataType::Int64),
        field("oldest", DataType::Int64),
        field("matched", DataType::Boolean),
        field("row", DataType::Binary),
    ]))
}

/// Reads a delta, row by row; the ids of keys are left to whom it is given to.
pub(in crate::operators) fn read(delta: &RecordBatch, mut take: impl FnMut(Logged<'_>)) -> Result<(), OperatorError> {
    let schema = schema();
    let fits = delta.num_columns() == schema.fields().len()
        && delta.columns().iter().zip(schema.fields()).all(|(c, f)| c.data_type() == f.data_type());
    if !fits {
        return Err(OperatorError::State(format!("rows that wait are logged as {schema}")));
    }
    let sides = delta.column(0).as_primitive::<UInt8Type>();
    let slots = delta.column(1).as_primitive::<UInt32Type>();
    let (keys, rows) = (delta.column(2).as_binary::<i32>(), delta.column(7).as_binary::<i32>());
    let number = |column: usize, row: usize| delta.column(column).as_primitive::<Int64Type>().value(row);
    let matched = delta.column(6).as_boolean();
    for row in 0..delta.num_rows() {
        let (side, slot) = (sides.value(row), slots.value(row));
        let logged = match side {
            COUNTER => Logged::Counter(number(3, row) as u64),
            0 | 1 if rows.is_valid(row) => Logged::Row {
                side: side.into(),
                slot,
                key: keys.value(row),
                waiting: Waiting {
                    key: 0,
                    time: number(3, row),
                    until: number(4, row),
                    oldest: number(5, row),
                    matched: matched.value(row),
                },
                bytes: rows.value(row),
            },
            0 | 1 if matched.is_valid(row) => Logged::Matched { side: side.into(), slot },
            0 | 1 => Logged::Empty { side: side.into(), slot },
            other => return Err(OperatorError::State(format!("a join has no side {other}"))),
        };
        take(logged);
    }
    Ok(())
}
