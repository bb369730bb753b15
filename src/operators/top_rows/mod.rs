//! The first rows of each key of a stream in an order that any later row may come before: the last row of a key, the ten
//! dearest bids. A table, for rows give way to others.
//!
//! A row that cannot be among the first any more is dropped: rows are never taken back, so nothing brings it in again.

mod log;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use smallvec::SmallVec;

use super::deadline::{Deadline, InTime, refuse_late};
use super::groups::batch_of;
use super::ordered_rows::{OrderedRowCodec, bytes_of};
use super::row_codec::RowCodec;
use super::running_window::in_order_of_arrival;
use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::state::{KeyIndex, RowArena};
use crate::stream::ChangeBatch;

/// About how many rows one part of [`Operator::contents`] holds.
const PART_ROWS: usize = 1 << 16;

/// Keeps the first rows of each key as a table.
///
/// Input columns: the `n_keys` keys, then the rest. Output: the input, then one column of numbers for each numbering. Rows whose
/// bucket is closed are reported late; keys of a bucket leave when they are forgotten. Logged: the rows that came, of those
/// that are kept.
#[derive(Clone, Debug)]
pub struct TopRowsSpec {
    /// The number of keys.
    pub n_keys: usize,
    /// Which row goes first.
    pub order: TopOrder,
    /// How rows are numbered, with the greatest number that is kept; one of them has one.
    pub numbers: Vec<(Numbering, Option<u64>)>,
    /// When the bucket closes that a key is; none = keys stay.
    pub bucket: Option<Deadline>,
    /// The input.
    pub input: SchemaRef,
    /// The output.
    pub schema: SchemaRef,
}

/// Which row of a key goes first.
#[derive(Clone, Debug)]
pub enum TopOrder {
    /// The one that came last.
    LatestArrival,
    /// The smallest in the order of some columns, ties by the whole row.
    Columns(Vec<(usize, SortOptions)>),
}

/// How the rows of a key are numbered, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// One after the other.
    RowNumber,
    /// Rows that are equal in order share the number of the first of them.
    Rank,
    /// As `Rank`, without gaps.
    DenseRank,
}

/// The rows of one key, in order.
type Ids = SmallVec<[u32; 1]>;

/// What is known of a row beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The key that it belongs to.
    key: u32,
    /// How many of its bytes say where it stands in order.
    n_order: u32,
    /// Whether it is to be logged.
    is_dirty: bool,
}

/// Keeps the first rows of each key as a table.
pub struct TopRows {
    spec: TopRowsSpec,
    key_codec: RowCodec,
    key_schema: SchemaRef,
    row_codec: OrderedRowCodec,
    /// Encodes the columns of the order alone, where rows may share a number.
    order_codec: Option<RowConverter>,
    keys: KeyIndex,
    /// By key id: its rows.
    kept: Vec<Ids>,
    /// By key id: whether this epoch has changed it.
    is_touched: Vec<bool>,
    rows: RowArena,
    /// By row id.
    known: Vec<Known>,
    /// Keys by the watermark at which their bucket closes.
    buckets: BTreeMap<i64, Vec<u32>>,
    /// The rows that came since the last delta; some have given way.
    dirty: Vec<u32>,
    /// The end of the last buckets that were forgotten since the last delta.
    forgotten: Option<i64>,
    /// The number of the next row to come, where rows are ordered by arrival.
    next_arrival: u64,
}

/// A row that wants a place among the first.
struct Candidate<'a> {
    bytes: &'a [u8],
    n_order: u32,
}

/// What an epoch has done so far.
#[derive(Default)]
struct Touched {
    /// The keys that changed, with the rows that they had.
    before: Vec<(u32, Ids)>,
    /// Rows that gave way.
    dropped: Vec<u32>,
}

impl TopRows {
    /// One shard, empty.
    pub fn new(mut spec: TopRowsSpec) -> Result<Self, OperatorError> {
        if spec.n_keys > spec.input.fields().len() || spec.bucket.as_ref().is_some_and(|b| b.column >= spec.n_keys) {
            return Err(OperatorError::Function("a key of the first rows is missing".into()));
        }
        if !spec.numbers.iter().any(|(_, limit)| limit.is_some()) {
            return Err(OperatorError::Function("first rows without a greatest number".into()));
        }
        let mut ordered: Vec<usize> = Vec::new();
        let columns = match &mut spec.order {
            TopOrder::LatestArrival => &[][..],
            TopOrder::Columns(columns) => {
                // A column that was ordered by before decides nothing any more.
                columns.retain(|(column, _)| !ordered.contains(column) && (ordered.push(*column), true).1);
                columns.as_slice()
            }
        };
        let shares_numbers = spec.numbers.iter().any(|(numbering, _)| *numbering != Numbering::RowNumber);
        let fields = columns.iter().map(|(column, options)| {
            let field = spec.input.fields().get(*column);
            let field = field.ok_or_else(|| OperatorError::Function(format!("no column {column} to order by")))?;
            Ok(SortField::new_with_options(field.data_type().clone(), *options))
        });
        let fields = fields.collect::<Result<Vec<_>, OperatorError>>()?;
        let order_codec = if shares_numbers && !fields.is_empty() { Some(RowConverter::new(fields)?) } else { None };
        let keys: Vec<usize> = (0..spec.n_keys).collect();
        Ok(Self {
            key_schema: spec.input.project(&keys)?.into(),
            key_codec: RowCodec::new(&spec.input, keys)?,
            row_codec: OrderedRowCodec::new(&spec.input, columns)?,
            order_codec,
            keys: KeyIndex::default(),
            kept: Vec::new(),
            is_touched: Vec::new(),
            rows: RowArena::default(),
            known: Vec::new(),
            buckets: BTreeMap::new(),
            dirty: Vec::new(),
            forgotten: None,
            next_arrival: 0,
            spec,
        })
    }

    /// The id of a key, which is entered under the end of its bucket if it is new.
    fn key(&mut self, key: &[u8], deadline: Option<i64>) -> u32 {
        let (id, is_new) = self.keys.get_or_insert(key);
        if is_new {
            if self.kept.len() <= id as usize {
                self.kept.resize(id as usize + 1, Ids::new());
                self.is_touched.resize(id as usize + 1, false);
            }
            if let Some(deadline) = deadline {
                self.buckets.entry(deadline).or_default().push(id);
            }
        }
        id
    }

    /// The place of a candidate among the rows of a key; none if it is not among the first.
    fn place(&self, key: u32, candidate: &Candidate<'_>) -> Option<usize> {
        let ids = &self.kept[key as usize];
        let place = ids.partition_point(|row| self.rows.get(*row) <= candidate.bytes);
        let order = candidate.bytes.get(..candidate.n_order as usize).unwrap_or_default();
        let fits = |(numbering, limit): &(Numbering, Option<u64>)| {
            let Some(limit) = limit else { return true };
            let n_before = match numbering {
                Numbering::RowNumber => place,
                Numbering::Rank => ids.partition_point(|row| self.order_of(*row) < order),
                Numbering::DenseRank => {
                    let before = ids.partition_point(|row| self.order_of(*row) < order);
                    self.n_orders(ids.get(..before).unwrap_or_default())
                }
            };
            (n_before as u64) < *limit
        };
        self.spec.numbers.iter().all(fits).then_some(place)
    }

    /// Lets a row take a place, and those behind give way that are not among the first any more.
    fn insert(&mut self, key: u32, place: usize, candidate: &Candidate<'_>, dropped: &mut Vec<u32>) -> u32 {
        let row = self.rows.insert(candidate.bytes);
        if self.known.len() <= row as usize {
            self.known.resize(row as usize + 1, Known::default());
        }
        self.known[row as usize] = Known { key, n_order: candidate.n_order, is_dirty: false };
        self.kept[key as usize].insert(place, row);
        while self.last_is_beyond(key) {
            dropped.extend(self.kept[key as usize].pop());
        }
        row
    }

    /// Whether the last row of a key has a number that is not kept.
    fn last_is_beyond(&self, key: u32) -> bool {
        let ids = &self.kept[key as usize];
        let Some(last) = ids.last() else { return false };
        self.spec.numbers.iter().any(|(numbering, limit)| {
            let Some(limit) = limit else { return false };
            let number = match numbering {
                Numbering::RowNumber => ids.len(),
                Numbering::Rank => ids.partition_point(|row| self.order_of(*row) < self.order_of(*last)) + 1,
                Numbering::DenseRank => self.n_orders(ids),
            };
            number as u64 > *limit
        })
    }

    /// The bytes of a row that say where it stands in order.
    fn order_of(&self, row: u32) -> &[u8] {
        let n_order = self.known.get(row as usize).map_or(0, |known| known.n_order as usize);
        self.rows.get(row).get(..n_order).unwrap_or_default()
    }

    /// How many of some rows differ in order from the one before.
    fn n_orders(&self, ids: &[u32]) -> usize {
        ids.chunk_by(|a, b| self.order_of(*a) == self.order_of(*b)).count()
    }

    /// By row of a batch: how many of its bytes say where it stands in order; empty where nobody asks.
    fn order_lengths(&self, rows: &RecordBatch) -> Result<Vec<u32>, OperatorError> {
        let (Some(codec), TopOrder::Columns(columns)) = (&self.order_codec, &self.spec.order) else {
            return Ok(Vec::new());
        };
        let arrays: Vec<ArrayRef> = columns.iter().map(|(column, _)| rows.column(*column).clone()).collect();
        let encoded = codec.convert_columns(&arrays)?;
        Ok(encoded.iter().map(|row| row.data().len() as u32).collect())
    }

    /// Takes rows in, and tells which keys they changed.
    fn take_in(&mut self, rows: &RecordBatch) -> Result<Touched, OperatorError> {
        let mut touched = Touched::default();
        let keys = self.key_codec.encode(rows)?;
        let encoded = self.row_codec.encode(rows)?;
        let lengths = self.order_lengths(rows)?;
        let deadlines = self.spec.bucket.as_ref().map(|bucket| bucket.of_rows(rows)).transpose()?;
        let is_latest = matches!(self.spec.order, TopOrder::LatestArrival);
        let mut numbered = Vec::new();
        for row in 0..rows.num_rows() {
            let key = self.key(keys.get(row), deadlines.as_ref().map(|d| d[row]));
            let mut bytes = bytes_of(encoded.as_ref(), row);
            let mut n_order = lengths.get(row).copied().unwrap_or_default();
            if is_latest {
                numbered.clear();
                numbered.extend_from_slice(&(!self.next_arrival).to_be_bytes());
                numbered.extend_from_slice(bytes);
                self.next_arrival += 1;
                (bytes, n_order) = (&numbered, ARRIVAL_BYTES as u32);
            }
            let candidate = Candidate { bytes, n_order };
            let Some(place) = self.place(key, &candidate) else { continue };
            if !std::mem::replace(&mut self.is_touched[key as usize], true) {
                touched.before.push((key, self.kept[key as usize].clone()));
            }
            let id = self.insert(key, place, &candidate, &mut touched.dropped);
            self.known[id as usize].is_dirty = true;
            self.dirty.push(id);
        }
        touched.before.iter().for_each(|(key, _)| self.is_touched[*key as usize] = false);
        Ok(touched)
    }

    /// How the rows of the touched keys, with their numbers, differ from before.
    fn difference(&self, touched: &Touched) -> Result<ChangeBatch, OperatorError> {
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        let mut numbers: Vec<Vec<u64>> = vec![Vec::new(); self.spec.numbers.len()];
        for (key, before) in &touched.before {
            let after = &self.kept[*key as usize];
            let (old, new) = (self.numbers(before), self.numbers(after));
            let same = |place: usize| match (before.get(place), after.get(place)) {
                (Some(a), Some(b)) => {
                    (a == b || self.rows.get(*a) == self.rows.get(*b))
                        && old.iter().zip(&new).all(|(old, new)| old.get(place) == new.get(place))
                }
                _ => false,
            };
            for place in (0..before.len().max(after.len())).filter(|place| !same(*place)) {
                for (ids_of, numbers_of, weight) in [(before, &old, -1), (after, &new, 1)] {
                    let Some(id) = ids_of.get(place) else { continue };
                    ids.push(*id);
                    weights.push(weight);
                    for (all, of_key) in numbers.iter_mut().zip(numbers_of) {
                        all.extend(of_key.get(place));
                    }
                }
            }
        }
        // Rows that share a number may have changed places only.
        Ok(ChangeBatch::table(self.batch(&ids, numbers)?, weights).consolidate()?)
    }

    /// The numbers of the rows of a key, by numbering.
    fn numbers(&self, ids: &[u32]) -> Vec<Vec<u64>> {
        let of = |(numbering, _): &(Numbering, Option<u64>)| match numbering {
            Numbering::RowNumber => (1..=ids.len() as u64).collect(),
            Numbering::Rank | Numbering::DenseRank => {
                let mut numbers = Vec::with_capacity(ids.len());
                for (idx, peers) in ids.chunk_by(|a, b| self.order_of(*a) == self.order_of(*b)).enumerate() {
                    let number = if *numbering == Numbering::Rank { numbers.len() } else { idx } as u64 + 1;
                    numbers.extend(std::iter::repeat_n(number, peers.len()));
                }
                numbers
            }
        };
        self.spec.numbers.iter().map(of).collect()
    }

    /// Rows with their numbers behind them.
    fn batch(&self, ids: &[u32], numbers: Vec<Vec<u64>>) -> Result<RecordBatch, OperatorError> {
        let bytes: Vec<&[u8]> = ids.iter().map(|id| self.row_bytes(self.rows.get(*id))).collect();
        let mut columns = self.row_codec.decode(&bytes)?.columns().to_vec();
        for (numbers, field) in numbers.into_iter().zip(self.spec.schema.fields().iter().skip(columns.len())) {
            let numbers: ArrayRef = Arc::new(UInt64Array::from(numbers));
            let is_same = field.data_type() == numbers.data_type();
            columns.push(if is_same { numbers } else { cast(&numbers, field.data_type())? });
        }
        batch_of(&self.spec.schema, columns, ids.len())
    }

    /// The bytes of the row itself.
    fn row_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.spec.order {
            TopOrder::LatestArrival => bytes.get(ARRIVAL_BYTES..).unwrap_or_default(),
            TopOrder::Columns(_) => bytes,
        }
    }

    /// Ends an epoch: frees the rows that gave way.
    fn free(&mut self, dropped: &[u32]) {
        for row in dropped {
            self.known[*row as usize].is_dirty = false;
            self.rows.remove(*row);
        }
    }

    /// The rows that keys have now, with one weight.
    fn rows_of(&self, keys: impl Iterator<Item = u32>, weight: i64) -> Result<ChangeBatch, OperatorError> {
        let mut ids = Vec::new();
        let mut numbers: Vec<Vec<u64>> = vec![Vec::new(); self.spec.numbers.len()];
        for key in keys {
            let of_key = &self.kept[key as usize];
            ids.extend_from_slice(of_key);
            numbers.iter_mut().zip(self.numbers(of_key)).for_each(|(all, of_key)| all.extend(of_key));
        }
        let weights = vec![weight; ids.len()];
        Ok(ChangeBatch::table(self.batch(&ids, numbers)?, weights))
    }

    /// The end of the bucket whose deadline is known.
    fn end(&self, deadline: i64) -> i64 {
        let after_ms = self.spec.bucket.as_ref().map_or(0, |bucket| bucket.after_ms);
        if deadline == i64::MAX { deadline } else { deadline.saturating_sub(after_ms) }
    }

    /// Takes the keys out whose bucket ended by an instant. They still have their rows.
    fn take_ended(&mut self, before_ms: i64) -> Vec<u32> {
        let mut ended = Vec::new();
        while let Some(deadline) = self.buckets.keys().next().copied().filter(|d| self.end(*d) <= before_ms) {
            ended.extend(self.buckets.remove(&deadline).unwrap_or_default());
        }
        ended
    }

    fn remove(&mut self, keys: &[u32]) {
        for key in keys {
            let dropped = std::mem::take(&mut self.kept[*key as usize]);
            self.free(&dropped);
            self.keys.remove(*key);
        }
    }
}

/// How many bytes say when a row came.
const ARRIVAL_BYTES: usize = 8;

impl Operator for TopRows {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let input = ChangeBatch::concat(&self.spec.input, inputs)?;
        let deadlines = match &self.spec.bucket {
            Some(bucket) => bucket.of_rows(&input.rows)?,
            None => Vec::new(),
        };
        let InTime { mut rows, late, .. } = refuse_late(&input, deadlines, ctx.watermark_before())?;
        if matches!(self.spec.order, TopOrder::LatestArrival) {
            rows = in_order_of_arrival(rows)?;
        }
        let touched = self.take_in(&rows.rows)?;
        let changes = self.difference(&touched)?;
        self.free(&touched.dropped);
        Ok(Output { late, ..changes.into() })
    }

    fn oldest(&self) -> Option<i64> {
        // The last instant of a bucket stands for it. A bucket without a start has no end.
        let end = self.buckets.keys().next().map(|deadline| self.end(*deadline));
        end.filter(|end| *end != i64::MAX).map(|end| end.saturating_sub(1))
    }

    fn forget_before(&mut self, before_ms: i64) -> Result<Option<ChangeBatch>, OperatorError> {
        let ended = self.take_ended(before_ms);
        if ended.is_empty() {
            return Ok(None);
        }
        let gone = self.rows_of(ended.iter().copied(), -1)?;
        self.remove(&ended);
        self.forgotten = self.forgotten.max(Some(before_ms));
        Ok(Some(gone))
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        self.write_delta()
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        self.write_slice(slots)
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        self.read(delta)
    }

    fn contents(&self, part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        let limit = self.spec.numbers.iter().filter_map(|(_, limit)| *limit).min().unwrap_or(1);
        let n_keys = (PART_ROWS / usize::try_from(limit).unwrap_or(PART_ROWS)).max(1);
        let first = part.saturating_mul(n_keys);
        if first >= self.kept.len() {
            return Ok(None);
        }
        let last = self.kept.len().min(first.saturating_add(n_keys));
        let keys = (first as u32..last as u32).filter(|key| self.keys.contains_id(*key));
        self.rows_of(keys, 1).map(Some)
    }

    fn state_size(&self) -> StateSize {
        let spilled: usize = self.kept.iter().filter(|k| k.spilled()).map(|k| k.capacity() * size_of::<u32>()).sum();
        let buckets: usize = self.buckets.values().map(|ids| ids.capacity() * size_of::<u32>()).sum();
        let bytes = self.keys.size_bytes()
            + self.rows.size_bytes()
            + self.kept.capacity() * (size_of::<Ids>() + size_of::<bool>())
            + self.known.capacity() * size_of::<Known>()
            + self.dirty.capacity() * size_of::<u32>()
            + spilled
            + buckets;
        StateSize { rows: self.rows.len(), bytes }
    }
}

#[cfg(test)]
mod tests;
