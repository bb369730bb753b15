//! Records to rows, one by one: what cannot be read is rejected with its reason, and nothing else is touched.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use chrono::DateTime;

use super::cell::{Cell, Kind};
use super::column::Column;
use super::key::key_cells;
use super::parse::parse_object;
use super::scan::Scanner;
use super::value::{Fields, Value};
use super::{TOMBSTONE, UnsupportedType};
use crate::stream::{RecordBatchBytes, RecordView};

/// How keys and deletions look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Kafka records: a table's record has a key that agrees with its key columns; without value it is a tombstone.
    Kafka,
    /// Lines of a file, without keys: `{"_tombstone": true, <key columns>}` deletes.
    Lines,
}

/// A column that is decoded.
#[derive(Clone, Debug)]
pub struct DecodeColumn {
    /// The field's name in JSON.
    pub name: String,
    /// The Arrow type.
    pub data_type: DataType,
    /// Whether a record without it is rejected.
    pub not_null: bool,
    /// Whether reasons for a rejection must not repeat its value.
    pub private: bool,
}

/// What a decoder reads from the records of one source.
#[derive(Clone, Debug)]
pub struct DecodeSpec {
    /// The columns in use; other fields are checked to be JSON and ignored.
    pub columns: Vec<DecodeColumn>,
    /// Indices of the key columns into `columns`, in key order; never null. A table's must not be empty.
    pub key: Vec<usize>,
    /// Whether records change rows of a table; else they are events of a stream.
    pub is_table: bool,
    /// The index of the event-time column into `columns`: TIMESTAMP WITH TIME ZONE in milliseconds.
    pub event_time: Option<usize>,
    /// How far an event time may lie after the record's Kafka timestamp, in milliseconds; none = unchecked.
    pub max_future_ms: Option<i64>,
    /// How keys and deletions look.
    pub wire: Wire,
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The index of the record in its batch.
    pub record: u32,
    /// Why, as a sentence fragment without values of private columns.
    pub reason: String,
}

/// What a batch of records decoded to; each record is either in `record` or in `rejected`.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The rows, in the schema of [`Decoder::schema`].
    pub rows: RecordBatch,
    /// +1 for a row, -1 for a tombstone, of which only the key columns are set.
    pub weights: Vec<i64>,
    /// The index of the record that each row comes from, ascending.
    pub record: Vec<u32>,
    /// What could not be decoded, ascending by record.
    pub rejected: Vec<Rejected>,
}

/// Decodes the records of one source relation.
#[derive(Clone, Debug)]
pub struct Decoder {
    spec: DecodeSpec,
    kinds: Vec<Kind>,
    schema: SchemaRef,
    scanner: Scanner,
    /// Whether the scanner is tried before the general parser; only tests turn it off.
    scan: bool,
}

/// A batch's texts must fit into an Arrow column.
pub(in crate::format) const BATCH_BYTES_MAX: usize = i32::MAX as usize;

impl Decoder {
    /// A decoder; fails if a column's type has no JSON form.
    pub fn new(spec: DecodeSpec) -> Result<Self, UnsupportedType> {
        let (kinds, schema) = (spec.kinds()?, spec.schema());
        // The slot after the last column holds the tombstone mark of a line.
        let mark = (spec.wire == Wire::Lines).then(|| TOMBSTONE.to_owned());
        let names = spec.columns.iter().map(|c| c.name.clone()).chain(mark);
        let scanner = Scanner::new(Fields::new(names));
        Ok(Self { kinds, schema, scanner, scan: true, spec })
    }

    /// The schema of the rows: a stream's NOT NULL columns and key columns are not nullable; of a table only the key columns
    /// are, because tombstones have nothing else.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes a batch. Fails only where Arrow refuses columns that agree with the schema, which would be a defect here.
    pub fn decode(&mut self, batch: &RecordBatchBytes) -> Result<Decoded, ArrowError> {
        let unsupported = |e: UnsupportedType| ArrowError::JsonError(e.to_string());
        let mut columns = (self.spec.columns.iter().map(|c| Column::new(&c.data_type, batch.len())))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unsupported)?;
        let all_text = std::str::from_utf8(&batch.data).ok();
        let mut slots = vec![Value::Absent; self.scanner.fields().len()];
        let mut cells = Vec::with_capacity(columns.len());
        let mut weights = Vec::with_capacity(batch.len());
        let mut record = Vec::with_capacity(batch.len());
        let mut rejected = Vec::new();
        let mut n_bytes = 0_usize;
        for (idx, view) in batch.iter().enumerate() {
            let idx = idx as u32;
            let text = text_of(&view, all_text);
            n_bytes = n_bytes.saturating_add(view.key.map_or(0, <[u8]>::len) + view.value.map_or(0, <[u8]>::len));
            let decoded = if n_bytes > BATCH_BYTES_MAX {
                Err("more than 2 GiB of records in one batch".to_owned())
            } else {
                self.row(&view, text, &mut slots, &mut cells)
            };
            match decoded {
                Ok(weight) => {
                    columns.iter_mut().zip(cells.drain(..)).for_each(|(column, cell)| column.append(cell));
                    weights.push(weight);
                    record.push(idx);
                }
                Err(reason) => {
                    cells.clear();
                    rejected.push(Rejected { record: idx, reason });
                }
            }
        }
        let columns = columns.into_iter().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(weights.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(Decoded { rows, weights, record, rejected })
    }

    /// Reads one record into cells and returns its weight.
    fn row<'a>(
        &mut self,
        view: &RecordView<'a>,
        text: Option<Result<&'a str, String>>,
        slots: &mut [Value<'a>],
        cells: &mut Vec<Cell<'a>>,
    ) -> Result<i64, String> {
        let key = match view.key {
            _ if !self.spec.is_table || self.spec.wire == Wire::Lines => None,
            Some(key) => Some(key),
            None => return Err("the record of a table has no Kafka key".to_owned()),
        };
        match (text, key) {
            (Some(text), key) => {
                self.read(text?, slots)?;
                if self.marks_tombstone(slots)? {
                    self.tombstone_line(slots, cells)?;
                    return Ok(-1);
                }
                self.cells(slots, cells)?;
                if let Some(key) = key {
                    self.check_key(key, cells)?;
                }
                self.check_event_time(view, cells)?;
                Ok(1)
            }
            (None, Some(key)) => {
                let key = key_cells(key, &self.key_columns())?;
                cells.resize(self.kinds.len(), Cell::Null);
                for (cell, idx) in key.into_iter().zip(&self.spec.key) {
                    if let Some(column) = cells.get_mut(*idx) {
                        *column = cell;
                    }
                }
                Ok(-1)
            }
            (None, None) => Err("the record has no value".to_owned()),
        }
    }

    /// Finds the fields of interest.
    fn read<'a>(&mut self, text: &'a str, slots: &mut [Value<'a>]) -> Result<(), String> {
        slots.fill_with(Value::default);
        if self.scan && self.scanner.scan(text, slots).is_some() {
            return Ok(());
        }
        slots.fill_with(Value::default);
        parse_object(text, self.scanner.fields(), slots).map_err(|e| e.to_string())
    }

    fn key_columns(&self) -> Vec<(&str, &Kind)> {
        let column = |idx: &usize| Some((self.spec.columns.get(*idx)?.name.as_str(), self.kinds.get(*idx)?));
        self.spec.key.iter().filter_map(column).collect()
    }

    /// Types all columns of a record.
    fn cells<'a>(&self, slots: &mut [Value<'a>], cells: &mut Vec<Cell<'a>>) -> Result<(), String> {
        for (idx, ((column, kind), value)) in self.spec.columns.iter().zip(&self.kinds).zip(slots).enumerate() {
            let cell = typed(column, kind, value)?;
            if cell == Cell::Null && (column.not_null || self.spec.key.contains(&idx)) {
                return Err(format!("column `{}` is NOT NULL, but the record has no value for it", column.name));
            }
            cells.push(cell);
        }
        Ok(())
    }

    fn marks_tombstone(&self, slots: &[Value<'_>]) -> Result<bool, String> {
        match slots.get(self.kinds.len()) {
            None | Some(Value::Absent | Value::Null | Value::Bool(false)) => Ok(false),
            Some(Value::Bool(true)) if self.spec.is_table => Ok(true),
            Some(Value::Bool(true)) => Err(format!("`{TOMBSTONE}` in a stream, which only grows")),
            Some(other) => Err(format!("`{TOMBSTONE}`: expected BOOLEAN, found {}", other.kind())),
        }
    }

    /// Types the key columns of a line that deletes.
    fn tombstone_line<'a>(&self, slots: &mut [Value<'a>], cells: &mut Vec<Cell<'a>>) -> Result<(), String> {
        for (idx, ((column, kind), value)) in self.spec.columns.iter().zip(&self.kinds).zip(slots).enumerate() {
            let is_key = self.spec.key.contains(&idx);
            let cell = if is_key { typed(column, kind, value)? } else { Cell::Null };
            if is_key && cell == Cell::Null {
                return Err(format!("a deletion without key column `{}`", column.name));
            }
            cells.push(cell);
        }
        Ok(())
    }

    fn check_key(&self, key: &[u8], cells: &[Cell<'_>]) -> Result<(), String> {
        if let [idx] = self.spec.key.as_slice()
            && let Some(Cell::Text(text)) = cells.get(*idx)
            && text.as_bytes() == key
        {
            return Ok(());
        }
        let key = key_cells(key, &self.key_columns())?;
        for (of_key, idx) in key.iter().zip(&self.spec.key) {
            if cells.get(*idx) != Some(of_key) {
                let name = self.spec.columns.get(*idx).map_or("", |c| c.name.as_str());
                return Err(format!("the Kafka key disagrees with column `{name}`"));
            }
        }
        Ok(())
    }

    fn check_event_time(&self, view: &RecordView<'_>, cells: &[Cell<'_>]) -> Result<(), String> {
        self.spec.check_event_time(view, cells)
    }
}

impl DecodeSpec {
    /// What each column accepts.
    pub(in crate::format) fn kinds(&self) -> Result<Vec<Kind>, UnsupportedType> {
        self.columns.iter().map(|c| Kind::of(&c.data_type)).collect()
    }

    /// The schema of decoded rows: a stream's NOT NULL columns and key columns are not nullable; of a table only the key
    /// columns are, because tombstones have nothing else.
    pub(in crate::format) fn schema(&self) -> SchemaRef {
        let field = |(idx, column): (usize, &DecodeColumn)| {
            let never_null = self.key.contains(&idx) || (column.not_null && !self.is_table);
            Field::new(&column.name, column.data_type.clone(), !never_null)
        };
        Arc::new(Schema::new(self.columns.iter().enumerate().map(field).collect::<Vec<_>>()))
    }

    /// Refuses an event time too far after the record's own timestamp.
    pub(in crate::format) fn check_event_time(&self, view: &RecordView<'_>, cells: &[Cell<'_>]) -> Result<(), String> {
        let (Some(limit_ms), Some(idx), Some(record_ms)) =
            (self.max_future_ms, self.event_time, view.meta.timestamp_ms)
        else {
            return Ok(());
        };
        match cells.get(idx) {
            Some(Cell::Int(event_ms)) if event_ms.saturating_sub(record_ms) > limit_ms => {
                let shown = |ms: i64| DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), rfc3339);
                Err(format!(
                    "event time {} is more than {limit_ms} ms after the record's timestamp {}",
                    shown(*event_ms),
                    shown(record_ms)
                ))
            }
            _ => Ok(()),
        }
    }
}

fn rfc3339(instant: DateTime<chrono::Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

pub(in crate::format) fn typed<'a>(
    column: &DecodeColumn,
    kind: &Kind,
    value: &mut Value<'a>,
) -> Result<Cell<'a>, String> {
    kind.cell(value).map_err(|_| {
        let found = if column.private { value.kind().to_owned() } else { value.to_string() };
        format!("column `{}`: expected {kind}, found {found}", column.name)
    })
}

/// A record's value as text: a slice of the whole batch where that is valid UTF-8, which is checked once.
fn text_of<'a>(view: &RecordView<'a>, all_text: Option<&'a str>) -> Option<Result<&'a str, String>> {
    let value = view.value?;
    let range = view.meta.value.as_ref().map(|r| r.start as usize..r.end as usize);
    let slice = all_text.zip(range).and_then(|(text, range)| text.get(range));
    Some(match slice {
        Some(text) => Ok(text),
        None => std::str::from_utf8(value).map_err(|e| format!("not valid UTF-8 at byte {}", e.valid_up_to())),
    })
}

#[cfg(test)]
mod tests;
