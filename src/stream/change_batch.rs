//! Rows with weights: what one relation hands to the next within an epoch.

use ahash::RandomState;
use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;

/// Where a row stands among the rows of its relation in one epoch.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// A table's changes: a set, in no order.
    Unordered,
    /// A stream's rows: the number of the source record they follow from, in reading order within the epoch.
    Sequence(ScalarBuffer<u64>),
    /// Rows that follow from state, not from one record: bytes that name the row once and for all and sort as it is emitted:
    /// (window end, window start, group key) of a closed bucket, (key as text, 0, revision) of CHANGES and upsert sinks.
    Key(arrow::array::BinaryArray),
}

/// Rows of one relation with a weight each: +1 appeared, -1 disappeared (a Z-set, as in DBSP).
///
/// All rows of a stream have weight +1. Weights of a table may have any size: a row that appeared twice has +2.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// The rows, in the schema of the relation.
    pub rows: RecordBatch,
    /// One weight a row, never zero.
    pub weights: ScalarBuffer<i64>,
    /// The order of the rows.
    pub order: Order,
}

impl ChangeBatch {
    /// No change at all.
    pub fn empty(schema: SchemaRef) -> Self {
        Self { rows: RecordBatch::new_empty(schema), weights: Vec::new().into(), order: Order::Unordered }
    }

    /// Changes of a table. `weights` has one entry a row.
    pub fn table(rows: RecordBatch, weights: Vec<i64>) -> Self {
        debug_assert_eq!(rows.num_rows(), weights.len());
        Self { rows, weights: weights.into(), order: Order::Unordered }
    }

    /// Rows of a stream that follow from the source records numbered `sequence`.
    pub fn stream(rows: RecordBatch, sequence: Vec<u64>) -> Self {
        debug_assert_eq!(rows.num_rows(), sequence.len());
        Self { weights: vec![1; rows.num_rows()].into(), rows, order: Order::Sequence(sequence.into()) }
    }

    /// The number of rows, whatever their weights.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Keeps the rows for which `keep` holds.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self, ArrowError> {
        let idx: UInt32Array =
            keep.iter().enumerate().filter(|(_, k)| *k == Some(true)).map(|(i, _)| i as u32).collect::<Vec<_>>().into();
        if idx.len() == self.len() {
            return Ok(self.clone());
        }
        self.take(&idx)
    }

    /// Picks rows by index, with their weights and order.
    pub fn take(&self, idx: &UInt32Array) -> Result<Self, ArrowError> {
        let pick = |i: &u32| *i as usize;
        let order = match &self.order {
            Order::Unordered => Order::Unordered,
            Order::Sequence(s) => Order::Sequence(idx.values().iter().map(|i| s[pick(i)]).collect()),
            Order::Key(t) => Order::Key(idx.values().iter().map(|i| Some(t.value(pick(i)))).collect()),
        };
        // Rows may have no columns; then only their number counts.
        let options = RecordBatchOptions::new().with_row_count(Some(idx.len()));
        let columns = self.rows.columns().iter().map(|c| take(c, idx, None)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            rows: RecordBatch::try_new_with_options(self.rows.schema(), columns, &options)?,
            weights: idx.values().iter().map(|i| self.weights[pick(i)]).collect(),
            order,
        })
    }

    /// Puts batches of one schema behind one another. Orders must be of one kind; a mixture becomes unordered.
    pub fn concat(schema: &SchemaRef, batches: &[Self]) -> Result<Self, ArrowError> {
        let batches: Vec<&Self> = batches.iter().filter(|b| !b.is_empty()).collect();
        match batches.as_slice() {
            [] => return Ok(Self::empty(schema.clone())),
            [one] => return Ok((*one).clone()),
            _ => {}
        }
        let rows = concat_batches(schema, batches.iter().map(|b| &b.rows))?;
        let weights = batches.iter().flat_map(|b| b.weights.iter().copied()).collect();
        let sequence: Option<Vec<u64>> = batches
            .iter()
            .map(|b| match &b.order {
                Order::Sequence(s) => Some(s.iter().copied()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(|parts| parts.into_iter().flatten().collect());
        let timer: Option<Vec<_>> = batches
            .iter()
            .map(|b| match &b.order {
                Order::Key(t) => Some(t.iter()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>();
        let order = match (sequence, timer) {
            (Some(s), _) => Order::Sequence(s.into()),
            (_, Some(t)) => Order::Key(t.into_iter().flatten().collect()),
            _ => Order::Unordered,
        };
        Ok(Self { rows, weights, order })
    }

    /// Adds up the weights of equal rows and drops what cancels out, so that only net differences are left.
    ///
    /// Meant for tables: the order is lost where rows were merged.
    pub fn consolidate(self) -> Result<Self, ArrowError> {
        if self.weights.iter().all(|w| *w > 0) || self.len() < 2 {
            return Ok(self);
        }
        if self.rows.num_columns() == 0 {
            return self.consolidate_without_columns();
        }
        let fields = self.rows.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let encoded = RowConverter::new(fields)?.convert_columns(self.rows.columns())?;
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let mut weights: Vec<i64> = vec![0; self.len()];
        let mut first: HashTable<u32> = HashTable::with_capacity(self.len());
        let hash = |i: usize| hasher.hash_one(encoded.row(i).data());
        for row in 0..self.len() {
            let entry = first.entry(hash(row), |i| encoded.row(*i as usize) == encoded.row(row), |i| hash(*i as usize));
            let at = *entry.or_insert(row as u32).get() as usize;
            weights[at] += self.weights[row];
        }
        let keep: BooleanArray = weights.iter().map(|w| Some(*w != 0)).collect();
        Ok(Self {
            rows: filter_record_batch(&self.rows, &keep)?,
            weights: weights.into_iter().filter(|w| *w != 0).collect(),
            order: Order::Unordered,
        })
    }

    /// Without columns all rows are equal.
    fn consolidate_without_columns(self) -> Result<Self, ArrowError> {
        let net: i64 = self.weights.iter().sum();
        let n_rows = usize::from(net != 0);
        Ok(Self { rows: self.rows.slice(0, n_rows), weights: vec![net; n_rows].into(), order: Order::Unordered })
    }
}
