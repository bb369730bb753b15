//! Rows of a stream that wait for the watermark, and leave in an order that does not depend on their arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};

use super::OperatorError;
use super::groups::batch_of;
use super::log_rows::{LogKind, LogWriter};
use crate::state::KeyIndex;

/// Whole rows as bytes that sort in the order of some columns, ties by all others; and back.
#[derive(Debug)]
pub(super) struct OrderedRowCodec {
    converter: Option<RowConverter>,
    /// The columns in the order in which they are encoded.
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl OrderedRowCodec {
    /// A codec for rows of a schema in an order.
    pub fn new(schema: &SchemaRef, order: &[(usize, SortOptions)]) -> Result<Self, OperatorError> {
        let mut columns: Vec<(usize, SortOptions)> = Vec::with_capacity(schema.fields().len());
        let rest = (0..schema.fields().len()).map(|column| (column, SortOptions::new(false, true)));
        for (column, options) in order.iter().copied().chain(rest) {
            // A column that was ordered by before decides nothing any more.
            if !columns.iter().any(|(known, _)| *known == column) {
                columns.push((column, options));
            }
        }
        let field = |(column, options): &(usize, SortOptions)| match schema.fields().get(*column) {
            Some(field) => Ok(SortField::new_with_options(field.data_type().clone(), *options)),
            None => Err(OperatorError::Function(format!("no column {column} to order by"))),
        };
        let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        Ok(Self { converter, columns: columns.into_iter().map(|(column, _)| column).collect(), schema: schema.clone() })
    }

    /// Encodes the rows of a batch; none if they have no columns.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Option<Rows>, OperatorError> {
        let Some(converter) = &self.converter else { return Ok(None) };
        let columns: Vec<ArrayRef> = self.columns.iter().map(|c| batch.column(*c).clone()).collect();
        Ok(Some(converter.convert_columns(&columns)?))
    }

    /// Decodes rows.
    pub fn decode(&self, rows: &[&[u8]]) -> Result<RecordBatch, OperatorError> {
        let Some(converter) = &self.converter else { return batch_of(&self.schema, Vec::new(), rows.len()) };
        let parser = converter.parser();
        let arrays = converter.convert_rows(rows.iter().map(|bytes| parser.parse(bytes)))?;
        let mut columns: Vec<(usize, ArrayRef)> = self.columns.iter().copied().zip(arrays).collect();
        columns.sort_by_key(|(column, _)| *column);
        let same_type = |((_, array), field): ((usize, ArrayRef), &arrow::datatypes::FieldRef)| {
            // A dictionary comes back as its values.
            if array.data_type() == field.data_type() { Ok(array) } else { cast(&array, field.data_type()) }
        };
        let columns = columns.into_iter().zip(self.schema.fields()).map(same_type).collect::<Result<Vec<_>, _>>()?;
        batch_of(&self.schema, columns, rows.len())
    }
}

/// The bytes of one encoded row.
pub(super) fn bytes_of(rows: Option<&Rows>, row: usize) -> &[u8] {
    rows.map_or(&[], |rows| rows.row(row).data())
}

/// Rows that are due, in order.
pub(super) struct DueRows {
    pub rows: RecordBatch,
    /// The bytes of each row, which name it and sort as it leaves.
    pub names: BinaryArray,
}

/// Rows that wait, each for an instant.
///
/// Equal rows are counted, not kept twice; so what is logged of a row says what is, and may be told again.
pub(super) struct OrderedRows {
    codec: OrderedRowCodec,
    rows: KeyIndex,
    /// By row id: how many such rows wait.
    counts: Vec<i64>,
    /// For each row id in use the instant for which it waits.
    due: BinaryHeap<Reverse<(i64, u32)>>,
    is_dirty: Vec<bool>,
    /// Rows that came since the last delta; some may have left.
    dirty: Vec<u32>,
}

impl OrderedRows {
    /// Nothing waits.
    pub fn new(codec: OrderedRowCodec) -> Self {
        Self {
            codec,
            rows: KeyIndex::default(),
            counts: Vec::new(),
            due: BinaryHeap::new(),
            is_dirty: Vec::new(),
            dirty: Vec::new(),
        }
    }

    /// Takes rows in, each waiting for an instant (milliseconds), and takes out all that wait for an instant up to `now`.
    pub fn turn(&mut self, input: &RecordBatch, instants: &[i64], now: i64) -> Result<DueRows, OperatorError> {
        let encoded = self.codec.encode(input)?;
        let mut due: Vec<&[u8]> = Vec::new();
        for (row, instant) in instants.iter().enumerate() {
            let bytes = bytes_of(encoded.as_ref(), row);
            // What is due at once is not kept.
            if *instant <= now {
                due.push(bytes);
            } else {
                let id = self.keep(bytes, *instant);
                self.counts[id as usize] += 1;
                if !std::mem::replace(&mut self.is_dirty[id as usize], true) {
                    self.dirty.push(id);
                }
            }
        }
        let ids = self.pop(now);
        for id in &ids {
            let n = usize::try_from(self.counts[*id as usize]).unwrap_or_default();
            due.extend(std::iter::repeat_n(self.rows.key(*id), n));
        }
        due.sort_unstable();
        let due = DueRows { rows: self.codec.decode(&due)?, names: BinaryArray::from_iter_values(due) };
        self.remove(&ids);
        Ok(due)
    }

    /// The names that rows have when they leave.
    pub fn names(&self, rows: &RecordBatch) -> Result<BinaryArray, OperatorError> {
        let encoded = self.codec.encode(rows)?;
        Ok(BinaryArray::from_iter_values((0..rows.num_rows()).map(|row| bytes_of(encoded.as_ref(), row))))
    }

    /// The id of a row, which waits for an instant.
    fn keep(&mut self, bytes: &[u8], instant: i64) -> u32 {
        let (id, is_new) = self.rows.get_or_insert(bytes);
        if is_new {
            if self.counts.len() <= id as usize {
                self.counts.resize(id as usize + 1, 0);
                self.is_dirty.resize(id as usize + 1, false);
            }
            self.due.push(Reverse((instant, id)));
        }
        id
    }

    /// The ids of rows that are due.
    fn pop(&mut self, now: i64) -> Vec<u32> {
        let mut ids = Vec::new();
        while let Some(Reverse((instant, id))) = self.due.peek().copied()
            && instant <= now
        {
            self.due.pop();
            ids.push(id);
        }
        ids
    }

    fn remove(&mut self, ids: &[u32]) {
        for id in ids {
            self.counts[*id as usize] = 0;
            self.is_dirty[*id as usize] = false;
            self.rows.remove(*id);
        }
    }

    /// The instant for which the next row waits.
    pub fn next_due(&self) -> Option<i64> {
        self.due.peek().map(|Reverse((instant, _))| *instant)
    }

    /// Writes the rows that came since the last call and still wait.
    pub fn write_delta(&mut self, log: &mut LogWriter) {
        for id in std::mem::take(&mut self.dirty) {
            if std::mem::replace(&mut self.is_dirty[id as usize], false) {
                log.push(LogKind::Waiting, self.counts[id as usize], self.rows.key(id), &[]);
            }
        }
    }

    /// Writes the rows with some ids.
    pub fn write_slice(&self, ids: std::ops::Range<usize>, log: &mut LogWriter) {
        for id in ids.start..ids.end.min(self.counts.len()) {
            if self.counts[id] > 0 {
                log.push(LogKind::Waiting, self.counts[id], self.rows.key(id as u32), &[]);
            }
        }
    }

    /// Drops all that waits for an instant up to `now`: it has left before a restart.
    pub fn restore_closed(&mut self, now: i64) {
        let ids = self.pop(now);
        self.remove(&ids);
    }

    /// Applies logged rows with their numbers; `instants` finds what each waits for.
    pub fn restore(
        &mut self,
        logged: &[(&[u8], i64)],
        instants: impl Fn(&RecordBatch) -> Result<Vec<i64>, OperatorError>,
    ) -> Result<(), OperatorError> {
        if logged.is_empty() {
            return Ok(());
        }
        let bytes: Vec<&[u8]> = logged.iter().map(|(bytes, _)| *bytes).collect();
        let instants = instants(&self.codec.decode(&bytes)?)?;
        for ((bytes, n), instant) in logged.iter().zip(instants) {
            let id = self.keep(bytes, instant);
            self.counts[id as usize] = *n;
        }
        Ok(())
    }

    /// One more than the greatest row id ever given.
    pub fn id_limit(&self) -> usize {
        self.counts.len()
    }

    /// How many different rows wait.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.rows.size_bytes()
            + self.counts.capacity() * size_of::<i64>()
            + self.due.capacity() * size_of::<Reverse<(i64, u32)>>()
            + self.is_dirty.capacity()
            + self.dirty.capacity() * size_of::<u32>()
    }
}
