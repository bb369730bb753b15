//! Records to rows whatever their format: reads keys and values, checks them against one another and the declaration, and
//! hands back what cannot be used, record by record.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::json::cell::{Cell, Kind};
use super::json::column::Column;
use super::json::decode::BATCH_BYTES_MAX;
use super::json::{DecodeColumn, DecodeSpec, Decoded, Rejected, UnsupportedType};
use super::key::KeyReader;
use super::value::ValueReader;
use crate::stream::{RecordBatchBytes, RecordView};

/// What a record does to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The row is as the cells say.
    Upsert,
    /// The row of the key in the cells is gone; the other cells do not count.
    Delete,
    /// The row of the record's key is gone.
    DeleteByKey,
}

/// The columns that are read.
#[derive(Clone, Copy)]
pub(super) struct Columns<'s> {
    pub(super) columns: &'s [DecodeColumn],
    pub(super) kinds: &'s [Kind],
    /// Indices of the key columns, in key order.
    pub(super) key: &'s [usize],
}

impl<'s> Columns<'s> {
    /// Each column with what it accepts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'s DecodeColumn, &'s Kind)> + use<'s> {
        self.columns.iter().zip(self.kinds)
    }

    /// The key columns, in key order.
    pub(super) fn of_key(&self) -> Vec<(&'s DecodeColumn, &'s Kind)> {
        self.key.iter().filter_map(|idx| Some((self.columns.get(*idx)?, self.kinds.get(*idx)?))).collect()
    }
}

/// Decodes the records of one source relation in any format but JSON with keys of text, which has a way of its own.
pub(super) struct RowDecoder {
    spec: DecodeSpec,
    kinds: Vec<Kind>,
    schema: SchemaRef,
    value: ValueReader,
    key: KeyReader,
}

impl RowDecoder {
    pub(super) fn new(spec: DecodeSpec, value: ValueReader, key: KeyReader) -> Result<Self, UnsupportedType> {
        Ok(Self { kinds: spec.kinds()?, schema: spec.schema(), spec, value, key })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn decode(&mut self, batch: &RecordBatchBytes) -> Result<Decoded, ArrowError> {
        let unsupported = |e: UnsupportedType| ArrowError::NotYetImplemented(e.to_string());
        let mut columns = (self.spec.columns.iter().map(|c| Column::new(&c.data_type, batch.len())))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unsupported)?;
        let mut cells = Vec::with_capacity(columns.len());
        let mut weights = Vec::with_capacity(batch.len());
        let mut record = Vec::with_capacity(batch.len());
        let mut rejected = Vec::new();
        let mut n_bytes = 0_usize;
        for (idx, view) in batch.iter().enumerate() {
            let idx = idx as u32;
            let decoded = self.row(&view, &mut cells).and_then(|weight| {
                // A text may be longer than the bytes it was read from, as the symbol of an enumeration.
                n_bytes = n_bytes.saturating_add(cells.iter().map(Cell::n_bytes).sum::<usize>());
                if n_bytes > BATCH_BYTES_MAX {
                    Err("more than 2 GiB of rows in one batch".to_owned())
                } else {
                    Ok(weight)
                }
            });
            match decoded {
                Ok(weight) => {
                    columns.iter_mut().zip(cells.drain(..)).for_each(|(column, cell)| column.append(cell));
                    weights.push(weight);
                    record.push(idx);
                }
                Err(reason) => rejected.push(Rejected { record: idx, reason }),
            }
            cells.clear();
        }
        let columns = columns.into_iter().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(weights.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(Decoded { rows, weights, record, rejected })
    }

    /// Reads one record into cells, one a column, and returns its weight.
    fn row<'a>(&mut self, view: &RecordView<'a>, cells: &mut Vec<Cell<'a>>) -> Result<i64, String> {
        let spec = &self.spec;
        let columns = Columns { columns: &spec.columns, kinds: &self.kinds, key: &spec.key };
        let key = match view.key {
            _ if !spec.is_table => None,
            Some(key) => Some(key),
            None => return Err("the record of a table has no Kafka key".to_owned()),
        };
        let change = match view.value {
            Some(value) => self.value.read(value, &columns, cells)?,
            None if spec.is_table => Change::DeleteByKey,
            None => return Err("the record has no value".to_owned()),
        };
        match change {
            Change::Upsert => {
                for (idx, (column, cell)) in spec.columns.iter().zip(cells.iter()).enumerate() {
                    if *cell == Cell::Null && (column.not_null || spec.key.contains(&idx)) {
                        return Err(format!(
                            "column `{}` is NOT NULL, but the record has no value for it",
                            column.name
                        ));
                    }
                }
            }
            Change::Delete | Change::DeleteByKey => {
                cells.resize(self.kinds.len(), Cell::Null);
                for (idx, cell) in cells.iter_mut().enumerate() {
                    if change == Change::DeleteByKey || !spec.key.contains(&idx) {
                        *cell = Cell::Null;
                    }
                }
            }
        }
        if let Some(key) = key
            && !self.key.is_text_of(key, &columns, cells)
        {
            let of_key = self.key.read(key, &columns)?;
            for (of_key, idx) in of_key.into_iter().zip(&spec.key) {
                let Some(cell) = cells.get_mut(*idx) else { continue };
                if *cell == Cell::Null && change != Change::Upsert {
                    *cell = of_key;
                } else if *cell != of_key {
                    let name = spec.columns.get(*idx).map_or("", |c| c.name.as_str());
                    return Err(format!("the Kafka key disagrees with column `{name}`"));
                }
            }
        }
        if change == Change::Upsert {
            spec.check_event_time(view, cells)?;
            return Ok(1);
        }
        Ok(-1)
    }
}
