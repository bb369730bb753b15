//! The first row of each key of a stream, or the first few: `row_number() = 1`, `row_number() <= 3`, `DISTINCT ON`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::SchemaRef;
use smallvec::SmallVec;

use super::deadline::{Deadline, InTime, refuse_late};
use super::groups::batch_of;
use super::log_rows::{LogKind, LogReader, LogRow, LogWriter, misfit};
use super::ordered_rows::{OrderedRowCodec, bytes_of};
use super::row_codec::RowCodec;
use super::running_window::in_order_of_arrival;
use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::state::{KeyIndex, RowArena};
use crate::stream::{ChangeBatch, Order, Watermark};

const NAME: &str = "deduplicate";

/// Keeps the first rows of each key, in some order.
///
/// Input columns: the `n_keys` keys, then the rest. Output: the input, then the number of the row, from 1. Logged: keys, and
/// the rows that each has while they wait.
#[derive(Clone, Debug)]
pub struct FirstRowSpec {
    /// The number of keys.
    pub n_keys: usize,
    /// Which row is the first, and when it leaves.
    pub first: FirstBy,
    /// How many rows of a key are kept; more than one only where they leave when a bucket closes.
    pub limit: usize,
    /// When a key is forgotten because its bucket, one of the keys, has closed; none = never.
    pub bucket: Option<Deadline>,
    /// The input.
    pub input: SchemaRef,
    /// The output.
    pub schema: SchemaRef,
}

/// Which row of a key is the first.
#[derive(Clone, Debug)]
pub enum FirstBy {
    /// The one that comes first; it leaves at once. A row of a closed bucket is late.
    Arrival,
    /// The smallest in the order of some columns, ties by the whole row. It leaves when the watermark passes what it waits for:
    /// its event time, if that is the first of the columns, else the end of its bucket. Rows behind that are late.
    Order {
        /// When it leaves.
        release: Deadline,
        /// The columns.
        columns: Vec<(usize, SortOptions)>,
    },
}

/// Keeps the first rows of each key.
pub struct FirstRow {
    spec: FirstRowSpec,
    key_codec: RowCodec,
    key_schema: SchemaRef,
    row_codec: OrderedRowCodec,
    keys: KeyIndex,
    /// By key id: the rows that wait, in order; none once they have left.
    waiting: Vec<SmallVec<[u32; 1]>>,
    rows: RowArena,
    /// Keys by the watermark that their row waits for. A key may stand here for a row that gave way to an earlier one.
    due: BinaryHeap<Reverse<(i64, u32)>>,
    /// By key id: what its row waits for.
    releases: Vec<i64>,
    /// Keys by the watermark at which their bucket closes.
    buckets: BTreeMap<i64, Vec<u32>>,
    is_dirty: Vec<bool>,
    dirty: Vec<u32>,
    /// The watermark up to which buckets were closed since the last delta.
    closed: Option<i64>,
}

impl FirstRow {
    /// One shard, empty.
    pub fn new(spec: FirstRowSpec) -> Result<Self, OperatorError> {
        if spec.n_keys > spec.input.fields().len() || spec.bucket.as_ref().is_some_and(|b| b.column >= spec.n_keys) {
            return Err(OperatorError::Function("a key of a deduplication is missing".into()));
        }
        let leaves_once = matches!(&spec.first, FirstBy::Order { release, .. } if release.column < spec.n_keys);
        if spec.limit == 0 || (spec.limit > 1 && !leaves_once) {
            return Err(OperatorError::Function("only a closed bucket knows more than its first row".into()));
        }
        let keys: Vec<usize> = (0..spec.n_keys).collect();
        let order = match &spec.first {
            FirstBy::Arrival => Vec::new(),
            FirstBy::Order { columns, .. } if !leaves_once => columns.clone(),
            // Rows of a bucket leave by their keys, and compete only with those of the same.
            FirstBy::Order { release, columns } => {
                let keys = std::iter::once(release.column).chain(0..spec.n_keys);
                keys.map(|key| (key, SortOptions::new(false, true))).chain(columns.iter().copied()).collect()
            }
        };
        Ok(Self {
            key_schema: spec.input.project(&keys)?.into(),
            key_codec: RowCodec::new(&spec.input, keys)?,
            row_codec: OrderedRowCodec::new(&spec.input, &order)?,
            keys: KeyIndex::default(),
            waiting: Vec::new(),
            rows: RowArena::default(),
            due: BinaryHeap::new(),
            releases: Vec::new(),
            buckets: BTreeMap::new(),
            is_dirty: Vec::new(),
            dirty: Vec::new(),
            closed: None,
            spec,
        })
    }

    /// The id of a key, and whether it is new.
    fn key(&mut self, key: &[u8]) -> (u32, bool) {
        let (id, is_new) = self.keys.get_or_insert(key);
        if is_new && self.waiting.len() <= id as usize {
            self.waiting.resize(id as usize + 1, SmallVec::new());
            self.releases.resize(id as usize + 1, i64::MAX);
            self.is_dirty.resize(id as usize + 1, false);
        }
        (id, is_new)
    }

    fn touch(&mut self, id: u32) {
        if !std::mem::replace(&mut self.is_dirty[id as usize], true) {
            self.dirty.push(id);
        }
    }

    /// Lets a row compete for a place among those of a key, and returns whether it won one.
    fn add_row(&mut self, id: u32, bytes: &[u8], release: i64) -> bool {
        let (rows, waiting) = (&mut self.rows, &mut self.waiting[id as usize]);
        let place = waiting.partition_point(|row| rows.get(*row) <= bytes);
        if place >= self.spec.limit {
            return false;
        }
        let is_first = waiting.is_empty();
        waiting.insert(place, rows.insert(bytes));
        if waiting.len() > self.spec.limit {
            waiting.pop().into_iter().for_each(|row| rows.remove(row));
        }
        if is_first || self.releases[id as usize] != release {
            self.releases[id as usize] = release;
            self.due.push(Reverse((release, id)));
        }
        true
    }

    /// Drops the rows of a key.
    fn drop_rows(&mut self, id: u32) {
        for row in std::mem::take(&mut self.waiting[id as usize]) {
            self.rows.remove(row);
        }
    }

    /// Which rows are the first of their keys as they come.
    fn admit(&mut self, rows: &RecordBatch) -> Result<BooleanArray, OperatorError> {
        let keys = self.key_codec.encode(rows)?;
        let ends = self.spec.bucket.as_ref().map(|bucket| bucket.of_rows(rows)).transpose()?;
        let mut is_first = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let (id, is_new) = self.key(keys.get(row));
            is_first.push(is_new);
            if is_new {
                self.touch(id);
                if let Some(ends) = &ends {
                    self.buckets.entry(ends[row]).or_default().push(id);
                }
            }
        }
        Ok(is_first.into())
    }

    /// Keeps the smallest rows of each key of which none has left yet.
    fn compete(&mut self, rows: &RecordBatch, releases: &[i64]) -> Result<(), OperatorError> {
        let keys = self.key_codec.encode(rows)?;
        let encoded = self.row_codec.encode(rows)?;
        let ends = self.spec.bucket.as_ref().map(|bucket| bucket.of_rows(rows)).transpose()?;
        for (row, release) in releases.iter().enumerate() {
            let (id, is_new) = self.key(keys.get(row));
            let bytes = bytes_of(encoded.as_ref(), row);
            let waits = is_new || !self.waiting[id as usize].is_empty();
            if let (true, Some(ends)) = (is_new, &ends) {
                self.buckets.entry(ends[row]).or_default().push(id);
            }
            if waits && self.add_row(id, bytes, *release) {
                self.touch(id);
            }
        }
        Ok(())
    }

    /// Takes the rows out that are due, in order.
    fn release(&mut self, watermark: Watermark) -> Result<ChangeBatch, OperatorError> {
        let mut ids = Vec::new();
        while let Some(Reverse((instant, id))) = self.due.peek().copied()
            && watermark.has_passed(instant)
        {
            self.due.pop();
            if self.releases[id as usize] == instant && !self.waiting[id as usize].is_empty() {
                ids.push((instant, id));
            }
        }
        ids.sort_unstable();
        // The same instant may stand there twice for a key.
        ids.dedup();
        if ids.is_empty() {
            return Ok(ChangeBatch::empty(self.spec.schema.clone()));
        }
        let mut rows: Vec<(i64, &[u8], u64)> = Vec::with_capacity(ids.len());
        for (instant, id) in &ids {
            let of_key = self.waiting[*id as usize].iter().zip(1..);
            rows.extend(of_key.map(|(row, number)| (*instant, self.rows.get(*row), number)));
        }
        rows.sort_unstable();
        let bytes: Vec<&[u8]> = rows.iter().map(|(_, bytes, _)| *bytes).collect();
        let batch = self.row_codec.decode(&bytes)?;
        let sortable = |instant: &i64| (instant ^ i64::MIN).to_be_bytes();
        let names = rows.iter().map(|(instant, row, _)| [&sortable(instant)[..], row].concat());
        let order = Order::Key(BinaryArray::from_iter_values(names));
        let numbers: UInt64Array = rows.iter().map(|(.., number)| *number).collect::<Vec<u64>>().into();
        for (_, id) in ids {
            self.drop_rows(id);
            self.touch(id);
        }
        let n_rows = numbers.len();
        Ok(ChangeBatch { rows: self.numbered(&batch, numbers)?, weights: vec![1; n_rows].into(), order })
    }

    /// Rows with their numbers behind them.
    fn numbered(&self, rows: &RecordBatch, numbers: UInt64Array) -> Result<RecordBatch, OperatorError> {
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        let numbers: ArrayRef = std::sync::Arc::new(numbers);
        if let Some(field) = self.spec.schema.fields().get(columns.len()) {
            columns.push(if field.data_type() == numbers.data_type() {
                numbers
            } else {
                cast(&numbers, field.data_type())?
            });
        }
        batch_of(&self.spec.schema, columns, rows.num_rows())
    }

    /// Forgets the keys whose bucket is closed, and returns whether there were any.
    fn close(&mut self, watermark: Watermark) -> bool {
        let mut any = false;
        while let Some(entry) = self.buckets.first_entry().filter(|e| watermark.has_passed(*e.key())) {
            for id in entry.remove() {
                any = true;
                self.is_dirty[id as usize] = false;
                self.drop_rows(id);
                self.keys.remove(id);
            }
        }
        any
    }

    fn write(&self, id: u32, log: &mut LogWriter) {
        // Once its rows have left a key says nothing more.
        let key = self.keys.key(id);
        log.push(LogKind::Key, 0, key, &[]);
        for row in &self.waiting[id as usize] {
            log.push(LogKind::Row, 0, key, self.rows.get(*row));
        }
    }
}

impl Operator for FirstRow {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let input = ChangeBatch::concat(&self.spec.input, inputs)?;
        let (before, after) = (ctx.watermark_before(), ctx.watermark_after());
        let (changes, late) = match &self.spec.first {
            FirstBy::Arrival => {
                let ends = match &self.spec.bucket {
                    Some(bucket) => bucket.of_rows(&input.rows)?,
                    None => Vec::new(),
                };
                let InTime { rows, late, .. } = refuse_late(&input, ends, before)?;
                let rows = in_order_of_arrival(rows)?;
                let first = rows.filter(&self.admit(&rows.rows)?)?;
                let ones = UInt64Array::from_value(1, first.len());
                (ChangeBatch { rows: self.numbered(&first.rows, ones)?, ..first }, late)
            }
            FirstBy::Order { release, .. } => {
                let InTime { rows, deadlines, late } = refuse_late(&input, release.of_rows(&input.rows)?, before)?;
                self.compete(&rows.rows, &deadlines)?;
                (self.release(after)?, late)
            }
        };
        if self.close(after) {
            self.closed = self.closed.max(Some(after.0));
        }
        Ok(Output { late, ..changes.into() })
    }

    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        let after = ctx.watermark_after();
        match &self.spec.first {
            FirstBy::Arrival => after,
            FirstBy::Order { release, .. } => release.oldest_at(after),
        }
    }

    fn next_timer(&self) -> Option<i64> {
        self.due.peek().map(|Reverse((instant, _))| *instant)
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let mut log = LogWriter::default();
        if let Some(closed) = self.closed.take() {
            log.push(LogKind::Closed, closed, &[], &[]);
        }
        for id in std::mem::take(&mut self.dirty) {
            if std::mem::replace(&mut self.is_dirty[id as usize], false) {
                self.write(id, &mut log);
            }
        }
        log.delta()
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.waiting.len() {
            return Ok(None);
        }
        let mut log = LogWriter::default();
        let slots = slots.start as u32..slots.end.min(self.waiting.len()) as u32;
        slots.filter(|id| self.keys.contains_id(*id)).for_each(|id| self.write(id, &mut log));
        log.finish().map(Some)
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let rows = LogReader::new(delta, NAME)?;
        let rows = rows.rows().collect::<Option<Vec<LogRow<'_>>>>().ok_or_else(|| misfit(NAME))?;
        let mut keyed: Vec<&LogRow<'_>> = Vec::with_capacity(rows.len());
        for row in &rows {
            match row.kind {
                LogKind::Closed => drop(self.close(Watermark(row.number))),
                LogKind::Key | LogKind::Row => keyed.push(row),
                LogKind::Gone | LogKind::Waiting => return Err(misfit(NAME)),
            }
        }
        if let Some(bucket) = self.spec.bucket.clone() {
            let columns = self.key_codec.decode(keyed.iter().map(|row| row.key))?;
            let ends = bucket.of_rows(&batch_of(&self.key_schema, columns, keyed.len())?)?;
            for (row, end) in keyed.iter().zip(ends) {
                let (id, is_new) = self.key(row.key);
                if is_new {
                    self.buckets.entry(end).or_default().push(id);
                }
            }
        }
        let waiting: Vec<&[u8]> = keyed.iter().filter(|row| row.kind == LogKind::Row).map(|row| row.value).collect();
        let releases = match &self.spec.first {
            FirstBy::Order { release, .. } => release.of_rows(&self.row_codec.decode(&waiting)?)?,
            FirstBy::Arrival => Vec::new(),
        };
        let mut releases = releases.into_iter();
        for row in &keyed {
            // A key comes before all its rows.
            let (id, _) = self.key(row.key);
            match row.kind {
                LogKind::Row => drop(self.add_row(id, row.value, releases.next().ok_or_else(|| misfit(NAME))?)),
                _ => self.drop_rows(id),
            }
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        let by_id = size_of::<SmallVec<[u32; 1]>>() + size_of::<i64>() + size_of::<bool>();
        let spilled: usize = self.waiting.iter().filter(|w| w.spilled()).map(|w| w.capacity() * size_of::<u32>()).sum();
        let buckets: usize = self.buckets.values().map(|ids| ids.capacity() * size_of::<u32>()).sum();
        let bytes = self.keys.size_bytes()
            + self.rows.size_bytes()
            + self.waiting.capacity() * by_id
            + self.due.capacity() * size_of::<Reverse<(i64, u32)>>()
            + buckets
            + spilled
            + self.dirty.capacity() * size_of::<u32>();
        StateSize { rows: self.keys.len(), bytes }
    }
}

#[cfg(test)]
mod tests;
