//! The rows of touched partitions before and after an epoch: from columns to bytes and back.

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use super::run::Run;
use crate::operators::OperatorError;

/// Turns rows into a key and a remainder, both as bytes, and back.
pub(super) struct RowCodec {
    n_keys: usize,
    schema: SchemaRef,
    keys: Option<RowConverter>,
    /// The columns that are no keys: first those that the first kernels order by.
    columns: Vec<usize>,
    rows: Option<RowConverter>,
}

/// The bytes of some columns, row by row; empty where there are no columns.
pub(super) struct Encoded(Option<Rows>);

impl Encoded {
    /// The bytes of a row.
    pub(super) fn get(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

impl RowCodec {
    /// Rows of `schema` whose first `n_keys` columns are the key, sorted by `order` within a key, then by what is left.
    pub(super) fn new(schema: SchemaRef, n_keys: usize, order: &[(usize, SortOptions)]) -> Result<Self, OperatorError> {
        if n_keys > schema.fields().len() {
            return Err(OperatorError::Function(format!("{n_keys} keys, but {} columns", schema.fields().len())));
        }
        let mut columns: Vec<usize> = Vec::new();
        let mut options: Vec<SortOptions> = Vec::new();
        let natural = (n_keys..schema.fields().len()).map(|c| (c, SortOptions::default()));
        for (column, option) in order.iter().copied().chain(natural) {
            if column >= n_keys && !columns.contains(&column) {
                columns.push(column);
                options.push(option);
            }
        }
        let field = |(c, o): (&usize, &SortOptions)| {
            schema
                .fields()
                .get(*c)
                .map(|f| SortField::new_with_options(f.data_type().clone(), *o))
                .ok_or_else(|| OperatorError::Function(format!("no column {c} in the input")))
        };
        let row_fields = columns.iter().zip(&options).map(field).collect::<Result<Vec<_>, _>>()?;
        let key_fields = schema.fields().iter().take(n_keys).map(|f| SortField::new(f.data_type().clone())).collect();
        Ok(Self { n_keys, keys: converter(key_fields)?, rows: converter(row_fields)?, columns, schema })
    }

    /// The bytes of the keys and of the remainders.
    pub(super) fn encode(&self, batch: &RecordBatch) -> Result<(Encoded, Encoded), OperatorError> {
        if batch.num_columns() != self.schema.fields().len() {
            return Err(OperatorError::Function(format!(
                "{} columns, but the input has {}",
                batch.num_columns(),
                self.schema.fields().len()
            )));
        }
        let encode = |converter: &Option<RowConverter>, columns: &[ArrayRef]| {
            converter.as_ref().map(|c| c.convert_columns(columns)).transpose().map(Encoded)
        };
        let columns: Vec<ArrayRef> = self.columns.iter().map(|c| batch.column(*c).clone()).collect();
        Ok((encode(&self.keys, &batch.columns()[..self.n_keys])?, encode(&self.rows, &columns)?))
    }

    /// The columns of the distinct rows, keys taken from `input`.
    pub(super) fn columns(&self, versions: &Versions, input: &RecordBatch) -> Result<Vec<ArrayRef>, OperatorError> {
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.schema.fields().len()];
        let key_rows = UInt32Array::from(versions.key_rows.clone());
        for (key, column) in columns.iter_mut().zip(input.columns()).take(self.n_keys) {
            *key = Some(take(column, &key_rows, None)?);
        }
        if let Some(converter) = &self.rows {
            let parser = converter.parser();
            let decoded = converter.convert_rows(versions.rows().map(|r| parser.parse(r)))?;
            for (column, array) in self.columns.iter().zip(decoded) {
                columns[*column] = Some(array);
            }
        }
        Ok(columns.into_iter().flatten().collect())
    }

    /// Each distinct row as often as it is counted.
    pub(super) fn version(&self, columns: &[ArrayRef], counts: &[u32]) -> Result<RecordBatch, OperatorError> {
        let n_rows = counts.iter().map(|c| *c as usize).sum::<usize>();
        if u32::try_from(n_rows).is_err() {
            return Err(OperatorError::Function(format!("{n_rows} rows in the partitions touched at once")));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        if counts.iter().all(|c| *c == 1) {
            return Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns.to_vec(), &options)?);
        }
        let mut idx = Vec::with_capacity(n_rows);
        for (row, count) in counts.iter().enumerate() {
            idx.extend(std::iter::repeat_n(row as u32, *count as usize));
        }
        let idx = UInt32Array::from(idx);
        let columns = columns.iter().map(|c| take(c, &idx, None)).collect::<Result<Vec<_>, ArrowError>>()?;
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

fn converter(fields: Vec<SortField>) -> Result<Option<RowConverter>, ArrowError> {
    if fields.is_empty() { Ok(None) } else { RowConverter::new(fields).map(Some) }
}

/// One partition among [`Versions`].
pub(super) struct Span {
    /// Its distinct rows.
    pub rows: Range<usize>,
    /// Its rows after the epoch, by position in that version.
    pub after: Range<usize>,
    /// The position from which rows were appended; none if anything else changed.
    pub appended: Option<usize>,
}

/// Distinct rows, sorted by partition, with how often each is seen before and after an epoch.
#[derive(Default)]
pub(super) struct Versions {
    rows: Vec<u8>,
    ends: Vec<usize>,
    /// How often each row is seen before and after.
    pub before: Vec<u32>,
    pub after: Vec<u32>,
    /// The input row that has the key of the partition.
    key_rows: Vec<u32>,
    key_row: u32,
    /// How many rows of a partition count, before and after; none = all.
    limit: Option<u32>,
    /// How many rows of the partition begun last may still be seen before and after.
    left: (u32, u32),
}

impl Versions {
    /// None yet, of each partition no more than the first `limit` rows.
    pub(super) fn limited(limit: Option<u32>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Starts a partition: `key_row` is an input row with its key.
    pub(super) fn begin(&mut self, key_row: u32) {
        self.key_row = key_row;
        self.left = self.limit.map_or((u32::MAX, u32::MAX), |limit| (limit, limit));
    }

    /// Adds a row of the partition begun last. A row whose weight is not above zero is not seen.
    pub(super) fn push(&mut self, row: &[u8], before: i64, after: i64) {
        let seen = |weight: i64| weight.clamp(0, i64::from(u32::MAX)) as u32;
        let (mut before, mut after) = (seen(before), seen(after));
        if self.limit.is_some() {
            (before, after) = (before.min(self.left.0), after.min(self.left.1));
            self.left = (self.left.0 - before, self.left.1 - after);
        }
        if before == 0 && after == 0 {
            return;
        }
        self.rows.extend_from_slice(row);
        self.ends.push(self.rows.len());
        self.before.push(before);
        self.after.push(after);
        self.key_rows.push(self.key_row);
    }

    /// Adds the first `n_rows` rows of a run, which did not change.
    pub(super) fn push_run(&mut self, run: &Run, n_rows: usize) {
        if self.limit.is_some() {
            // Rows behind the limit are not even looked at.
            for (row, weight) in run.iter().take(n_rows) {
                if self.left == (0, 0) {
                    return;
                }
                self.push(row, weight, weight);
            }
            return;
        }
        let Some((ends, bytes)) = run.unweighted(n_rows) else {
            return run.iter().take(n_rows).for_each(|(row, weight)| self.push(row, weight, weight));
        };
        let base = self.rows.len();
        self.rows.extend_from_slice(bytes);
        self.ends.extend(ends.map(|e| base + e as usize));
        self.before.resize(self.ends.len(), 1);
        self.after.resize(self.ends.len(), 1);
        self.key_rows.resize(self.ends.len(), self.key_row);
    }

    /// Whether no row is seen, before or after.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Puts other rows behind these.
    pub(super) fn append(&mut self, other: &Self) {
        let base = self.rows.len();
        self.rows.extend_from_slice(&other.rows);
        self.ends.extend(other.ends.iter().map(|e| base + e));
        self.before.extend_from_slice(&other.before);
        self.after.extend_from_slice(&other.after);
        self.key_rows.extend_from_slice(&other.key_rows);
    }

    /// The partitions, in order.
    pub(super) fn spans(&self) -> Vec<Span> {
        let (mut row, mut position) = (0, 0);
        let span = |partition: &[u32]| {
            let rows = row..row + partition.len();
            let start = position;
            let (mut appended, mut otherwise) = (None, false);
            for (before, after) in self.before[rows.clone()].iter().zip(&self.after[rows.clone()]) {
                if *before == 0 {
                    appended = appended.or(Some(position));
                } else {
                    otherwise |= before != after || appended.is_some();
                }
                position += *after as usize;
            }
            row = rows.end;
            Span { rows, after: start..position, appended: appended.filter(|_| !otherwise) }
        };
        self.key_rows.chunk_by(|a, b| a == b).map(span).collect()
    }

    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.rows[start..*end])
    }
}
