//! Hands the rows of a grouped table on once, when their bucket closes.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::event_time::milliseconds;
use super::groups::batch_of;
use super::row_codec::{EncodedRows, RowCodec};
use super::window_aggregate::{closed_up_to, order_key};
use super::{BucketEdge, EpochContext, Operator, OperatorError, Output, StateSize};
use crate::state::KeyIndex;
use crate::stream::{ChangeBatch, Order, Watermark};

/// When the rows of a table are final. Input columns: those of the output, then the end of each row's bucket.
///
/// A row leaves once, when the watermark reaches the end of its bucket + allowed lateness and everything is loaded, in the
/// order (bucket end, bucket start, group key), also the order given as [`Order::Key`]. What changes of a bucket after that
/// is dropped and counted. A bucket without an end closes with the input.
/// Logged: only up to which watermark buckets have been closed; the rows are the table's.
#[derive(Clone)]
pub struct FinalRowsSpec {
    /// The group key.
    pub key: Vec<usize>,
    /// The bucket's start, which is part of the key.
    pub start: usize,
    /// From an instant to the least start of the buckets that it lies in, where starts are the times of rows.
    pub bucket_start: BucketEdge,
    /// For how long after its end a bucket may change, in milliseconds.
    pub allowed_lateness_ms: i64,
    /// The input.
    pub input: SchemaRef,
    /// The output.
    pub schema: SchemaRef,
}

/// Hands the rows of a grouped table on once, when their bucket closes.
pub struct FinalRows {
    spec: FinalRowsSpec,
    codec: RowCodec,
    key_codec: RowCodec,
    delta_schema: SchemaRef,
    /// Rows of open buckets.
    rows: KeyIndex,
    /// By row id.
    weights: Vec<i64>,
    /// By the end of their bucket. Rows that are gone may be among them.
    by_end: BTreeMap<i64, Vec<u32>>,
    /// Buckets that were due by this watermark are closed; none before everything was loaded.
    closed_at: Option<i64>,
    is_logged: bool,
    n_after_close: u64,
}

impl FinalRows {
    /// One shard, empty.
    pub fn new(spec: FinalRowsSpec) -> Result<Self, OperatorError> {
        if spec.input.fields().len() != spec.schema.fields().len() + 1 {
            return Err(OperatorError::Function("the end of the bucket is not behind the row".into()));
        }
        Ok(Self {
            // Rows may be equal but for the end of their bucket.
            codec: RowCodec::new(&spec.input, (0..spec.input.fields().len()).collect())?,
            key_codec: RowCodec::new(&spec.input, spec.key.clone())?,
            delta_schema: Arc::new(Schema::new(vec![Field::new("_closed", DataType::Int64, false)])),
            rows: KeyIndex::default(),
            weights: Vec::new(),
            by_end: BTreeMap::new(),
            closed_at: None,
            is_logged: true,
            n_after_close: 0,
            spec,
        })
    }

    fn deadline(&self, end: i64) -> i64 {
        end.saturating_add(self.spec.allowed_lateness_ms)
    }

    fn is_closed(&self, end: i64) -> bool {
        self.closed_at.is_some_and(|at| self.deadline(end) <= at)
    }

    fn close(&mut self, at: i64) {
        if self.closed_at.is_none_or(|known| known < at) {
            self.closed_at = Some(at);
            self.is_logged = false;
        }
    }

    /// Takes changes of open buckets in and counts the others.
    fn take_in(&mut self, input: &ChangeBatch) -> Result<(), OperatorError> {
        let Some(ends) = input.rows.columns().last() else { return Ok(()) };
        let ends = milliseconds(ends)?;
        let encoded = self.codec.encode(&input.rows)?;
        let moved = self.moved(input, &ends, &encoded)?;
        for row in 0..input.len() {
            let end = if ends.is_valid(row) { ends.value(row) } else { i64::MAX };
            if self.is_closed(end) && !moved.get(row).is_some_and(|moved| *moved) {
                // A change is a row that goes and one that comes.
                self.n_after_close += u64::from(input.weights[row] > 0);
                continue;
            }
            let (id, is_new) = self.rows.get_or_insert(encoded.get(row));
            if is_new {
                self.weights.resize(self.weights.len().max(id as usize + 1), 0);
                self.weights[id as usize] = 0;
                self.by_end.entry(end).or_default().push(id);
            }
            let weight = &mut self.weights[id as usize];
            *weight = weight.wrapping_add(input.weights[row]);
        }
        self.sweep(&ends);
        Ok(())
    }

    /// The rows whose bucket is closed by its new end, but was open until now: a session that lost its last rows. They have
    /// not left yet.
    fn moved(&self, input: &ChangeBatch, ends: &Int64Array, encoded: &EncodedRows) -> Result<Vec<bool>, OperatorError> {
        let is_closed = |row: usize| ends.is_valid(row) && self.is_closed(ends.value(row));
        if !(0..input.len()).any(|row| input.weights[row] > 0 && is_closed(row)) {
            return Ok(Vec::new());
        }
        let keys = self.key_codec.encode(&input.rows)?;
        let is_open = |row: usize| input.weights[row] < 0 && self.rows.get(encoded.get(row)).is_some();
        let open: HashSet<&[u8]> = (0..input.len()).filter(|row| is_open(*row)).map(|row| keys.get(row)).collect();
        let moved = |row: usize| input.weights[row] > 0 && is_closed(row) && open.contains(keys.get(row));
        Ok((0..input.len()).map(moved).collect())
    }

    /// Forgets rows that are gone, in the buckets with these ends.
    fn sweep(&mut self, ends: &Int64Array) {
        let mut touched: Vec<i64> = ends.iter().map(|end| end.unwrap_or(i64::MAX)).collect();
        touched.sort_unstable();
        touched.dedup();
        for end in touched {
            let Some(ids) = self.by_end.get_mut(&end) else { continue };
            let (rows, weights) = (&mut self.rows, &self.weights);
            // Looking through a bucket is worth it where half of it is gone.
            if ids.iter().filter(|id| weights[**id as usize] == 0).count() * 2 < ids.len() {
                continue;
            }
            ids.retain(|id| {
                let stays = weights[*id as usize] != 0;
                if !stays {
                    rows.remove(*id);
                }
                stays
            });
            if ids.is_empty() {
                self.by_end.remove(&end);
            }
        }
    }

    /// The rows of buckets that are due, in the order of their ends; no further bucket is begun when `max` rows were taken.
    fn take_due(&mut self, after: Watermark, max: usize) -> Result<ChangeBatch, OperatorError> {
        let (mut due, mut n_rows, mut waits): (Vec<(i64, u32)>, usize, bool) = (Vec::new(), 0, false);
        while let Some(entry) = self.by_end.first_entry() {
            let end = *entry.key();
            if !after.has_passed(end.saturating_add(self.spec.allowed_lateness_ms)) {
                break;
            }
            if n_rows >= max {
                waits = true;
                break;
            }
            let ids = entry.remove();
            n_rows += ids.iter().filter(|id| self.weights[**id as usize] > 0).count();
            due.extend(ids.into_iter().map(|id| (end, id)));
            self.close(end.saturating_add(self.spec.allowed_lateness_ms).min(after.0));
        }
        if !waits {
            self.close(after.0);
        }
        let rows = self.final_rows(&due)?;
        due.iter().for_each(|(_, id)| self.rows.remove(*id));
        Ok(rows)
    }

    fn final_rows(&self, due: &[(i64, u32)]) -> Result<ChangeBatch, OperatorError> {
        // Of a bag there may be equal rows.
        let count = |id: u32| self.weights[id as usize].max(0) as usize;
        let present: Vec<(i64, u32)> =
            due.iter().flat_map(|(end, id)| std::iter::repeat_n((*end, *id), count(*id))).collect();
        if present.is_empty() {
            return Ok(ChangeBatch::empty(self.spec.schema.clone()));
        }
        let mut columns = self.codec.decode(present.iter().map(|(_, id)| self.rows.key(*id)))?;
        columns.truncate(self.spec.schema.fields().len());
        let keys: Vec<ArrayRef> = self.spec.key.iter().filter_map(|c| columns.get(*c).cloned()).collect();
        let keys = self.key_codec.encode_arrays(&keys)?;
        let starts = match columns.get(self.spec.start) {
            Some(column) => milliseconds(column)?,
            None => Int64Array::new_null(present.len()),
        };
        let mut sorted: Vec<(Vec<u8>, u32)> = present
            .iter()
            .enumerate()
            .map(|(idx, (end, _))| {
                let start = starts.is_valid(idx).then(|| starts.value(idx));
                (order_key(*end, start, keys.get(idx)), idx as u32)
            })
            .collect();
        sorted.sort_unstable();
        let places = UInt32Array::from_iter_values(sorted.iter().map(|(_, idx)| *idx));
        let columns = columns.iter().map(|c| take(c, &places, None)).collect::<Result<Vec<_>, _>>()?;
        Ok(ChangeBatch {
            rows: batch_of(&self.spec.schema, columns, sorted.len())?,
            weights: vec![1; sorted.len()].into(),
            order: Order::Key(BinaryArray::from_iter_values(sorted.iter().map(|(key, _)| key))),
        })
    }

    fn closed(&self) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(at) = self.closed_at else { return Ok(None) };
        let closed: ArrayRef = Arc::new(Int64Array::from(vec![at]));
        Ok(Some(RecordBatch::try_new(self.delta_schema.clone(), vec![closed])?))
    }
}

impl Operator for FinalRows {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let before = ctx.watermark_before();
        // What was due by then and does not wait had no rows: it is not opened by a change that comes later.
        if ctx.loaded && self.closed_at.is_some() && self.next_timer().is_none_or(|at| !before.has_passed(at)) {
            self.close(before.0);
        }
        inputs.iter().filter(|input| !input.is_empty()).try_for_each(|input| self.take_in(input))?;
        // What was loaded so far may change before all is there.
        if !ctx.loaded {
            return Ok(ChangeBatch::empty(self.spec.schema.clone()).into());
        }
        Ok(self.take_due(ctx.watermark_after(), ctx.hand_over_max.max(1))?.into())
    }

    fn forget(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<ChangeBatch, OperatorError> {
        // Rows of closed buckets have left already, and the others are not withdrawn.
        Ok(ChangeBatch::empty(self.spec.schema.clone()))
    }

    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        // Before everything is loaded nothing leaves.
        if !ctx.loaded && self.closed_at.is_none() {
            return Watermark::MIN;
        }
        let waiting = self.by_end.keys().next().copied().filter(|end| *end != i64::MAX);
        match closed_up_to(ctx.watermark_after(), self.spec.allowed_lateness_ms, waiting) {
            known @ (Watermark::MAX | Watermark::MIN) => known,
            closed => Watermark((self.spec.bucket_start)(closed.0)),
        }
    }

    fn next_timer(&self) -> Option<i64> {
        self.by_end.keys().next().map(|end| self.deadline(*end))
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        if std::mem::replace(&mut self.is_logged, true) { Ok(None) } else { self.closed() }
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start == 0 { self.closed() } else { Ok(None) }
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        if delta.num_columns() != 1 || delta.column(0).data_type() != &DataType::Int64 {
            return Err(OperatorError::State(format!("`final_rows` expects {}", self.delta_schema)));
        }
        let closed = delta.column(0).as_primitive::<Int64Type>().iter().flatten().max();
        self.closed_at = self.closed_at.max(closed);
        Ok(())
    }

    fn changes_after_close(&self) -> u64 {
        self.n_after_close
    }

    fn state_size(&self) -> StateSize {
        let ids = self.rows.len() * size_of::<u32>() + self.weights.capacity() * size_of::<i64>();
        StateSize { rows: self.rows.len(), bytes: self.rows.size_bytes() + ids }
    }
}

impl std::fmt::Debug for FinalRowsSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FinalRowsSpec").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
