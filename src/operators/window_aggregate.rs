//! Groups a stream by key and time bucket.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int64Array, RecordBatch, UInt32Array,
    new_null_array,
};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};

use super::accumulators::Rows;
use super::groups::{Groups, GroupsSpec, Touched, batch_of, difference};
use super::{AggregateCall, EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::{ChangeBatch, Order, Watermark};

/// How many rows one part of [`Operator::contents`] holds at most.
const PART_ROWS: usize = 1 << 16;

/// What a grouped stream computes. Input columns: group keys, then arguments, as in `table_aggregate`.
///
/// `EMIT FINAL`: one row a group when the watermark reaches the bucket's end + allowed lateness, in the order (bucket end,
/// bucket start, group key), also the order given as [`Order::Key`]. Rows of a closed bucket are reported late.
/// Without it the relation is a table, and keeps the rows of closed buckets until they are forgotten; rows that come for
/// them are late, too.
/// Logged: accumulators of the groups that an epoch touched, and groups that left.
#[derive(Clone)]
pub struct WindowAggregateSpec {
    /// The number of group keys, the bucket among them.
    pub n_keys: usize,
    /// Which group key is the bucket's start (a timestamp in ms); none = groups are never closed.
    pub bucket: Option<usize>,
    /// The end of the bucket that starts at an instant (both ms).
    pub bucket_end: BucketEdge,
    /// The start of the bucket that holds an instant (both ms).
    pub bucket_start: BucketEdge,
    /// For how long after its end a bucket takes late rows, in milliseconds.
    pub allowed_lateness_ms: i64,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// Whether groups are emitted once (FINAL) or at every net change (CHANGES; output is a table).
    pub emit_final: bool,
    /// The input.
    pub input: SchemaRef,
    /// The output.
    pub schema: SchemaRef,
}

/// From an instant of a bucket to its start or its end, in milliseconds.
pub type BucketEdge = Arc<dyn Fn(i64) -> i64 + Send + Sync>;

/// Groups a stream by key and time bucket.
///
/// A delta has the group keys, then `_closed`, `_weight` and the state of each aggregate. A row with `_closed` says that all
/// groups have left whose bucket was due at that watermark or, of a table, ended by that instant; any other row is a group as
/// it is now. Of DISTINCT's values only those that are new are in it.
pub struct WindowAggregate {
    spec: WindowAggregateSpec,
    delta_schema: SchemaRef,
    groups: Groups,
    /// The open groups by the end of their bucket; without a bucket nothing is due and this is empty.
    buckets: BTreeMap<i64, Vec<u32>>,
    /// The groups of a table whose bucket is closed, by the end of their bucket.
    closed_buckets: BTreeMap<i64, Vec<u32>>,
    /// By group id: whether it was touched since the last delta.
    is_dirty: Vec<bool>,
    /// Groups touched since the last delta; some of them may have left.
    dirty: Vec<u32>,
    /// The watermark up to which buckets were closed since the last delta.
    closed: Option<i64>,
    /// Whether the one row of a query without group keys has been emitted.
    started: bool,
}

impl WindowAggregate {
    /// One shard, empty.
    pub fn new(spec: WindowAggregateSpec) -> Result<Self, OperatorError> {
        if spec.emit_final && spec.bucket.is_none() {
            return Err(OperatorError::Function("without a bucket no group is ever final".into()));
        }
        if spec.bucket.is_some_and(|column| column >= spec.n_keys) {
            return Err(OperatorError::Function("the bucket is not among the group keys".into()));
        }
        let keys = spec.input.fields().iter().take(spec.n_keys).map(|f| f.as_ref().clone().with_nullable(true));
        let numbers = ["_closed", "_weight"].map(|name| Field::new(name, DataType::Int64, true));
        let states = (0..spec.aggregates.len()).map(|idx| Field::new(format!("_state{idx}"), DataType::Binary, true));
        let delta_schema = Arc::new(Schema::new(keys.chain(numbers).chain(states).collect::<Vec<_>>()));
        let groups = Groups::new(&GroupsSpec {
            n_keys: spec.n_keys,
            aggregates: &spec.aggregates,
            input: &spec.input,
            output: &spec.schema,
            rows: Rows::AppendOnly,
        })?;
        Ok(Self {
            spec,
            delta_schema,
            groups,
            buckets: BTreeMap::new(),
            closed_buckets: BTreeMap::new(),
            is_dirty: Vec::new(),
            dirty: Vec::new(),
            closed: None,
            started: false,
        })
    }

    /// When a bucket that ends at `end` closes.
    fn deadline(&self, end: i64) -> i64 {
        end.saturating_add(self.spec.allowed_lateness_ms)
    }

    /// The end of each row's bucket; none where groups have no bucket. A bucket without a start ends with the input.
    fn bucket_ends(&self, keys: &[ArrayRef]) -> Result<Option<Vec<i64>>, OperatorError> {
        let Some(column) = self.spec.bucket.and_then(|column| keys.get(column)) else { return Ok(None) };
        let starts = starts_ms(column)?;
        let mut known: HashMap<i64, i64> = HashMap::new();
        let mut last = None;
        let ends = starts.iter().map(|start| {
            let Some(start) = start else { return i64::MAX };
            match last {
                Some((of, end)) if of == start => end,
                _ => {
                    let end = *known.entry(start).or_insert_with(|| (self.spec.bucket_end)(start));
                    last = Some((start, end));
                    end
                }
            }
        });
        Ok(Some(ends.collect()))
    }

    /// Divides the input into rows to take in and the numbers of the records that are late.
    fn refuse_late(&self, input: &ChangeBatch, closed: Watermark) -> Result<(ChangeBatch, Vec<u64>), OperatorError> {
        let Some(ends) = self.bucket_ends(input.rows.columns())? else { return Ok((input.clone(), Vec::new())) };
        let is_late = |end: &i64| closed.has_passed(self.deadline(*end));
        if !ends.iter().any(is_late) {
            return Ok((input.clone(), Vec::new()));
        }
        let late = match &input.order {
            Order::Sequence(numbers) => {
                numbers.iter().zip(&ends).filter(|(_, end)| is_late(end)).map(|(number, _)| *number).collect()
            }
            _ => Vec::new(),
        };
        let in_time: BooleanArray = ends.iter().map(|end| Some(!is_late(end))).collect();
        Ok((input.filter(&in_time)?, late))
    }

    /// Enters groups that have no rows yet under the end of their bucket, and remembers that all were touched.
    ///
    /// `keys` are key columns of which `rows` tells the row of each group.
    fn register(&mut self, groups: &[u32], rows: &[u32], keys: &[ArrayRef], log: bool) -> Result<(), OperatorError> {
        self.is_dirty.resize(self.groups.id_limit(), false);
        if log {
            for group in groups {
                if !std::mem::replace(&mut self.is_dirty[*group as usize], true) {
                    self.dirty.push(*group);
                }
            }
        }
        if let Some(ends) = self.bucket_ends(keys)? {
            for (group, row) in groups.iter().zip(rows) {
                if self.groups.weight(*group) == 0 {
                    self.buckets.entry(ends[*row as usize]).or_default().push(*group);
                }
            }
        }
        Ok(())
    }

    /// Takes the groups out whose bucket is due, in the order of the ends. They still have their state.
    ///
    /// Buckets leave as a whole; no further one is begun when `max` groups have been taken.
    fn take_due(&mut self, watermark: Watermark, max: usize) -> Vec<(i64, u32)> {
        let mut due = Vec::new();
        while let Some(entry) = self.buckets.first_entry() {
            let end = *entry.key();
            if due.len() >= max || !watermark.has_passed(end.saturating_add(self.spec.allowed_lateness_ms)) {
                break;
            }
            due.extend(entry.remove().into_iter().map(|group| (end, group)));
        }
        due
    }

    /// Takes the groups of a table out whose bucket ended by an instant. They still have their state.
    fn take_ended(&mut self, before_ms: i64) -> Vec<(i64, u32)> {
        let mut ended = Vec::new();
        for buckets in [&mut self.closed_buckets, &mut self.buckets] {
            while let Some(entry) = buckets.first_entry().filter(|e| *e.key() <= before_ms) {
                let end = *entry.key();
                ended.extend(entry.remove().into_iter().map(|group| (end, group)));
            }
        }
        ended
    }

    fn leave(&mut self, due: &[(i64, u32)]) {
        let groups: Vec<u32> = due.iter().map(|(_, group)| *group).collect();
        for group in &groups {
            self.is_dirty[*group as usize] = false;
        }
        self.groups.remove(&groups);
    }

    /// The rows of groups that leave, by (end, start, key).
    fn final_rows(&self, due: &[(i64, u32)]) -> Result<ChangeBatch, OperatorError> {
        if due.is_empty() {
            return Ok(ChangeBatch::empty(self.spec.schema.clone()));
        }
        let ids: Vec<u32> = due.iter().map(|(_, group)| *group).collect();
        let keys = self.groups.key_columns(&ids)?;
        let starts = match self.spec.bucket.and_then(|column| keys.get(column)) {
            Some(column) => starts_ms(column)?,
            None => Int64Array::new_null(ids.len()),
        };
        let mut sorted: Vec<(Vec<u8>, u32)> = due
            .iter()
            .enumerate()
            .map(|(idx, (end, group))| {
                let start = starts.is_valid(idx).then(|| starts.value(idx));
                (order_key(*end, start, self.groups.key_bytes(*group)), idx as u32)
            })
            .collect();
        sorted.sort_unstable();
        let places = UInt32Array::from_iter_values(sorted.iter().map(|(_, idx)| *idx));
        let sorted_ids: Vec<u32> = sorted.iter().map(|(_, idx)| ids[*idx as usize]).collect();
        let mut columns = keys.iter().map(|k| take(k, &places, None)).collect::<Result<Vec<_>, _>>()?;
        columns.extend(self.groups.aggregates(&sorted_ids)?);
        let order = Order::Key(BinaryArray::from_iter_values(sorted.iter().map(|(key, _)| key)));
        Ok(ChangeBatch {
            rows: batch_of(&self.spec.schema, columns, due.len())?,
            weights: vec![1; due.len()].into(),
            order,
        })
    }

    /// Takes rows in and returns how the groups that they touch differ from before (CHANGES only).
    fn take_in(&mut self, input: &ChangeBatch) -> Result<ChangeBatch, OperatorError> {
        let is_single = self.spec.n_keys == 0;
        if input.is_empty() && (!is_single || self.started) {
            return Ok(ChangeBatch::empty(self.spec.schema.clone()));
        }
        let touched = match input.is_empty() {
            false => self.groups.assign(&input.rows)?,
            true => Touched { groups: vec![self.groups.single()], ..Touched::default() },
        };
        let keys = input.rows.columns().get(..self.spec.n_keys).unwrap_or_default();
        self.register(&touched.groups, &touched.first_rows, keys, true)?;
        if self.spec.emit_final {
            self.groups.update(&touched.of_row, input)?;
            return Ok(ChangeBatch::empty(self.spec.schema.clone()));
        }
        let mut before = self.groups.snapshot(&touched.groups)?;
        self.groups.update(&touched.of_row, input)?;
        let mut after = self.groups.snapshot(&touched.groups)?;
        if is_single {
            before.visible = vec![self.started; touched.groups.len()];
            after.visible = vec![true; touched.groups.len()];
            self.started = true;
        }
        let first_rows = UInt32Array::from(touched.first_rows);
        let keys = keys.iter().map(|column| take(column, &first_rows, None)).collect::<Result<Vec<_>, _>>()?;
        difference(&self.spec.schema, &keys, &before, &after)
    }

    /// Applies rows of a delta of which none closes buckets.
    fn restore_groups(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let unfit = || OperatorError::State("a group of `window_aggregate` cannot be read".into());
        let touched = self.groups.assign(delta)?;
        let keys = delta.columns().get(..self.spec.n_keys).unwrap_or_default();
        self.register(&touched.groups, &touched.first_rows, keys, false)?;
        let weights = delta.column(self.spec.n_keys + 1).as_primitive::<Int64Type>();
        for (row, group) in touched.of_row.iter().enumerate() {
            self.groups.set_weight(*group, weights.value(row));
            for idx in 0..self.spec.aggregates.len() {
                let states = delta.column(self.spec.n_keys + 2 + idx).as_binary::<i32>();
                self.groups.read(idx, *group, states.value(row)).ok_or_else(unfit)?;
            }
        }
        self.groups.written();
        self.started = true;
        Ok(())
    }
}

/// Starts of buckets in milliseconds.
fn starts_ms(column: &ArrayRef) -> Result<Int64Array, OperatorError> {
    let unit = match column.data_type() {
        DataType::Timestamp(unit, _) => *unit,
        other => return Err(OperatorError::Function(format!("a bucket starts at a timestamp, not at {other}"))),
    };
    let raw = cast(column, &DataType::Int64)?;
    let raw = raw.as_primitive::<Int64Type>();
    Ok(match unit {
        TimeUnit::Second => raw.unary(|v| v.saturating_mul(1_000)),
        TimeUnit::Millisecond => raw.clone(),
        TimeUnit::Microsecond => raw.unary(|v| v.div_euclid(1_000)),
        TimeUnit::Nanosecond => raw.unary(|v| v.div_euclid(1_000_000)),
    })
}

/// Bytes that sort as (end, start, key), starts that are null first.
fn order_key(end: i64, start: Option<i64>, key: &[u8]) -> Vec<u8> {
    let sortable = |v: i64| (v ^ i64::MIN).to_be_bytes();
    let mut bytes = Vec::with_capacity(17 + key.len());
    bytes.extend_from_slice(&sortable(end));
    match start {
        None => bytes.push(0),
        Some(start) => {
            bytes.push(1);
            bytes.extend_from_slice(&sortable(start));
        }
    }
    bytes.extend_from_slice(key);
    bytes
}

impl Operator for WindowAggregate {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let empty = ChangeBatch::empty(self.spec.input.clone());
        let input = inputs.first().unwrap_or(&empty);
        let (input, late) = self.refuse_late(input, ctx.watermark_before())?;
        let changes = self.take_in(&input)?;
        let max = if self.spec.emit_final { ctx.hand_over_max.max(1) } else { usize::MAX };
        let due = self.take_due(ctx.watermark_after(), max);
        let finals = if self.spec.emit_final { Some(self.final_rows(&due)?) } else { None };
        if !self.spec.emit_final {
            for (end, group) in due {
                self.closed_buckets.entry(end).or_default().push(group);
            }
        } else if !due.is_empty() {
            self.leave(&due);
            // What is due but has to wait is not closed yet.
            let closed = due.last().map(|(end, _)| self.deadline(*end).min(ctx.watermark_after().0));
            self.closed = self.closed.max(closed);
        }
        Ok(Output { late, ..finals.unwrap_or(changes).into() })
    }

    fn next_timer(&self) -> Option<i64> {
        self.buckets.keys().next().map(|end| self.deadline(*end))
    }

    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        let after = ctx.watermark_after();
        if !self.spec.emit_final || after == Watermark::MIN {
            return after;
        }
        // The times of rows are the starts of their buckets. Buckets that are due may still wait to be handed on.
        let waiting = self.buckets.keys().next().filter(|end| **end != i64::MAX);
        let closed = match after {
            Watermark::MAX => i64::MAX,
            Watermark(instant_ms) => instant_ms.saturating_sub(self.spec.allowed_lateness_ms),
        };
        match waiting.map_or(closed, |end| closed.min(end.saturating_sub(1))) {
            i64::MAX => Watermark::MAX,
            next => Watermark((self.spec.bucket_start)(next)),
        }
    }

    fn oldest(&self) -> Option<i64> {
        let ends = [&self.closed_buckets, &self.buckets].into_iter().filter_map(|b| b.keys().next());
        // The last instant of a bucket stands for it. A bucket without a start has no end.
        ends.min().filter(|end| !self.spec.emit_final && **end != i64::MAX).map(|end| end.saturating_sub(1))
    }

    fn forget_before(&mut self, before_ms: i64) -> Result<Option<ChangeBatch>, OperatorError> {
        let ended = self.take_ended(before_ms);
        if ended.is_empty() {
            return Ok(None);
        }
        let ids: Vec<u32> = ended.iter().map(|(_, group)| *group).filter(|g| self.groups.weight(*g) > 0).collect();
        let mut columns = self.groups.key_columns(&ids)?;
        columns.extend(self.groups.aggregates(&ids)?);
        let gone = ChangeBatch::table(batch_of(&self.spec.schema, columns, ids.len())?, vec![-1; ids.len()]);
        self.leave(&ended);
        self.closed = self.closed.max(Some(before_ms));
        Ok(Some(gone))
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|group| std::mem::replace(&mut self.is_dirty[*group as usize], false));
        let closed = self.closed.take();
        if dirty.is_empty() && closed.is_none() {
            return Ok(None);
        }
        let n_closed = usize::from(closed.is_some());
        let no_keys = |array: &ArrayRef| new_null_array(array.data_type(), n_closed);
        let mut columns = Vec::with_capacity(self.delta_schema.fields().len());
        for array in self.groups.key_columns(&dirty)? {
            columns.push(concat(&[no_keys(&array).as_ref(), array.as_ref()])?);
        }
        let closed_rows = closed.into_iter().map(Some).chain(dirty.iter().map(|_| None));
        columns.push(Arc::new(closed_rows.collect::<Int64Array>()));
        let weights = dirty.iter().map(|group| Some(self.groups.weight(*group)));
        columns.push(Arc::new(std::iter::repeat_n(None, n_closed).chain(weights).collect::<Int64Array>()));
        let mut bytes = Vec::new();
        for idx in 0..self.spec.aggregates.len() {
            let mut states = BinaryBuilder::with_capacity(dirty.len() + n_closed, dirty.len() * 24);
            if n_closed > 0 {
                states.append_null();
            }
            for group in &dirty {
                bytes.clear();
                self.groups.write(idx, *group, &mut bytes);
                states.append_value(&bytes);
            }
            columns.push(Arc::new(states.finish()));
        }
        self.groups.written();
        Ok(Some(RecordBatch::try_new(self.delta_schema.clone(), columns)?))
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.groups.id_limit() {
            return Ok(None);
        }
        let is_single = self.spec.n_keys == 0 && self.started;
        let is_logged = |group: &u32| is_single || self.groups.weight(*group) > 0;
        let ids: Vec<u32> =
            (slots.start as u32..slots.end.min(self.groups.id_limit()) as u32).filter(is_logged).collect();
        let mut columns = self.groups.key_columns(&ids)?;
        columns.push(Arc::new(Int64Array::new_null(ids.len())));
        columns.push(Arc::new(Int64Array::from_iter_values(ids.iter().map(|group| self.groups.weight(*group)))));
        let mut bytes = Vec::new();
        for idx in 0..self.spec.aggregates.len() {
            let mut states = BinaryBuilder::with_capacity(ids.len(), ids.len() * 24);
            for group in &ids {
                bytes.clear();
                self.groups.write_whole(idx, *group, &mut bytes);
                states.append_value(&bytes);
            }
            columns.push(Arc::new(states.finish()));
        }
        Ok(Some(RecordBatch::try_new(self.delta_schema.clone(), columns)?))
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let fits = delta.num_columns() == self.delta_schema.fields().len()
            && delta.columns().iter().zip(self.delta_schema.fields()).all(|(c, f)| c.data_type() == f.data_type());
        if !fits {
            return Err(OperatorError::State(format!("`window_aggregate` expects {}", self.delta_schema)));
        }
        let closed = delta.column(self.spec.n_keys).as_primitive::<Int64Type>().clone();
        let mut start = 0;
        for row in 0..=delta.num_rows() {
            let closes = row < delta.num_rows() && closed.is_valid(row);
            if !closes && row < delta.num_rows() {
                continue;
            }
            if row > start {
                self.restore_groups(&delta.slice(start, row - start))?;
            }
            if closes {
                let due = match self.spec.emit_final {
                    true => self.take_due(Watermark(closed.value(row)), usize::MAX),
                    false => self.take_ended(closed.value(row)),
                };
                self.leave(&due);
            }
            start = row + 1;
        }
        Ok(())
    }

    fn contents(&self, part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        let first = part.saturating_mul(PART_ROWS);
        if self.spec.emit_final || first >= self.groups.id_limit() {
            return Ok(None);
        }
        let last = self.groups.id_limit().min(first.saturating_add(PART_ROWS));
        let is_single = self.spec.n_keys == 0 && self.started;
        let ids: Vec<u32> = (first as u32..last as u32).filter(|g| is_single || self.groups.weight(*g) > 0).collect();
        if ids.is_empty() {
            return Ok(Some(ChangeBatch::empty(self.spec.schema.clone())));
        }
        let mut columns = self.groups.key_columns(&ids)?;
        columns.extend(self.groups.aggregates(&ids)?);
        Ok(Some(ChangeBatch::table(batch_of(&self.spec.schema, columns, ids.len())?, vec![1; ids.len()])))
    }

    fn state_size(&self) -> StateSize {
        let ids = self.groups.len() * size_of::<u32>() + self.dirty.capacity() * size_of::<u32>();
        let buckets = self.buckets.len() * size_of::<(i64, Vec<u32>)>();
        let bytes = self.groups.size_bytes() + ids + buckets + self.is_dirty.capacity();
        StateSize { rows: self.groups.len(), bytes }
    }
}

impl std::fmt::Debug for WindowAggregateSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowAggregateSpec").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
