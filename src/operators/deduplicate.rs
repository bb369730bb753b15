//! Drops records of a stream whose key was seen within a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::event_time::milliseconds;
use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::state::KeyIndex;
use crate::stream::{ChangeBatch, Order, Watermark};

/// What counts as a repetition.
///
/// A record repeats an earlier one when its key is remembered and its event time lies before the first record's event time plus
/// `unique_for_ms`, or before the first's altogether. A key is forgotten when the watermark passes that end. A record
/// without event time is neither remembered nor dropped. Logged: the keys with the event time at which they are forgotten.
#[derive(Clone, Debug)]
pub struct DeduplicateSpec {
    /// The key columns.
    pub key: Vec<usize>,
    /// The event time column.
    pub event_time: usize,
    /// For how long a key is remembered, in milliseconds of event time from its first record.
    pub unique_for_ms: i64,
    /// The columns.
    pub schema: SchemaRef,
}

/// How finely keys are sorted by the time at which they are forgotten: parts of `unique_for_ms`.
const EXPIRY_STEPS: i64 = 64;

/// Drops records of a stream whose key was seen within a time.
pub struct Deduplicate {
    spec: DeduplicateSpec,
    converter: RowConverter,
    keys: KeyIndex,
    /// By key id: the event time (milliseconds) at which the key is forgotten; none for an id that is not in use.
    ends: Vec<Option<i64>>,
    /// Key ids by step of their end. An id may stand under an end that it no longer has.
    due: BTreeMap<i64, Vec<u32>>,
    /// What was remembered since the last delta: keys and their ends.
    delta: Vec<(Vec<u8>, i64)>,
}

impl Deduplicate {
    /// One shard, empty.
    pub fn new(spec: DeduplicateSpec) -> Result<Self, OperatorError> {
        let out_of_range = |c: &usize| *c >= spec.schema.fields().len();
        if spec.key.iter().any(out_of_range) || out_of_range(&spec.event_time) {
            return Err(OperatorError::Function("a key or event time column does not exist".into()));
        }
        let fields = spec.key.iter().map(|c| SortField::new(spec.schema.field(*c).data_type().clone())).collect();
        Ok(Self {
            converter: RowConverter::new(fields)?,
            keys: KeyIndex::default(),
            ends: Vec::new(),
            due: BTreeMap::new(),
            delta: Vec::new(),
            spec,
        })
    }

    /// Whether a record is the first of its key; if so its key is remembered.
    fn admit(&mut self, key: &[u8], event_time_ms: i64, watermark: Watermark) -> bool {
        let (id, _) = self.keys.get_or_insert(key);
        let end = self.ends.get(id as usize).copied().flatten();
        if end.is_some_and(|end| event_time_ms < end && !watermark.has_passed(end)) {
            return false;
        }
        let end = event_time_ms.saturating_add(self.spec.unique_for_ms);
        self.remember(id, end);
        self.delta.push((key.to_vec(), end));
        true
    }

    fn step(&self, end: i64) -> i64 {
        end.div_euclid((self.spec.unique_for_ms / EXPIRY_STEPS).max(1))
    }

    fn remember(&mut self, id: u32, end: i64) {
        if self.ends.len() <= id as usize {
            self.ends.resize(id as usize + 1, None);
        }
        self.ends[id as usize] = Some(end);
        self.due.entry(self.step(end)).or_default().push(id);
    }

    /// Frees the memory of keys whose end was passed. Whether a key counts is decided in [`Self::admit`], not here.
    fn forget(&mut self, watermark: Watermark) {
        let now = self.step(watermark.0);
        while let Some(entry) = self.due.first_entry().filter(|e| *e.key() < now || watermark == Watermark::MAX) {
            for id in entry.remove() {
                let end = &mut self.ends[id as usize];
                if end.is_some_and(|end| watermark.has_passed(end)) {
                    *end = None;
                    self.keys.remove(id);
                }
            }
        }
    }
}

impl Operator for Deduplicate {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let [input] = inputs else {
            return Err(OperatorError::Function(format!("a deduplication has one input, not {}", inputs.len())));
        };
        let mut output = Output::from(ChangeBatch::empty(self.spec.schema.clone()));
        if !input.is_empty() {
            let Order::Sequence(sequence) = &input.order else {
                return Err(OperatorError::Function("only records of a source are deduplicated".into()));
            };
            let columns: Vec<ArrayRef> = self.spec.key.iter().map(|c| input.rows.column(*c).clone()).collect();
            let keys = (!columns.is_empty()).then(|| self.converter.convert_columns(&columns)).transpose()?;
            let times = milliseconds(input.rows.column(self.spec.event_time))?;
            let mut order: Vec<usize> = (0..input.len()).collect();
            order.sort_by_key(|i| sequence[*i]);
            let mut keep = vec![true; input.len()];
            for row in order.into_iter().filter(|i| times.is_valid(*i)) {
                let key = keys.as_ref().map_or(&[][..], |k| k.row(row).data());
                keep[row] = self.admit(key, times.value(row), ctx.watermark_before());
                if !keep[row] {
                    output.duplicate.push(sequence[row]);
                }
            }
            output.changes = input.filter(&BooleanArray::from(keep))?;
        }
        self.forget(ctx.watermark_after());
        Ok(output)
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        if self.delta.is_empty() {
            return Ok(None);
        }
        let delta = std::mem::take(&mut self.delta);
        delta_of(delta.iter().map(|(key, end)| (key.as_slice(), *end))).map(Some)
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.ends.len() {
            return Ok(None);
        }
        let ends = self.ends.iter().enumerate().take(slots.end).skip(slots.start);
        let live = ends.filter_map(|(id, end)| end.map(|end| (self.keys.key(id as u32), end)));
        delta_of(live).map(Some)
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let misfit = || OperatorError::State("a deduplication logs keys and the times of their end".into());
        let keys = delta.column_by_name("key").and_then(|c| c.as_binary_opt::<i32>()).ok_or_else(misfit)?;
        let ends = delta.column_by_name("end_ms").and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(misfit)?;
        for (key, end) in keys.iter().zip(ends) {
            let (Some(key), Some(end)) = (key, end) else { return Err(misfit()) };
            let (id, _) = self.keys.get_or_insert(key);
            self.remember(id, end);
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        StateSize {
            rows: self.keys.len(),
            bytes: self.keys.size_bytes()
                + self.ends.capacity() * size_of::<Option<i64>>()
                + self.due.values().map(|ids| ids.capacity() * size_of::<u32>()).sum::<usize>()
                + self.delta.iter().map(|(key, _)| key.capacity() + size_of::<(Vec<u8>, i64)>()).sum::<usize>(),
        }
    }
}

fn delta_of<'a>(keys: impl Iterator<Item = (&'a [u8], i64)> + Clone) -> Result<RecordBatch, OperatorError> {
    let ends = Int64Array::from_iter_values(keys.clone().map(|(_, end)| end));
    let keys = BinaryArray::from_iter_values(keys.map(|(key, _)| key));
    Ok(RecordBatch::try_new(delta_schema(), vec![Arc::new(keys), Arc::new(ends)])?)
}

fn delta_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, false),
        Field::new("end_ms", DataType::Int64, false),
    ]))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;
    use crate::operators::rewritten_log::RewrittenLog;
    use arrow::array::TimestampMillisecondArray;
    use proptest::prelude::*;

    fn spec(unique_for_ms: i64) -> DeduplicateSpec {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        ]);
        DeduplicateSpec { key: vec![0], event_time: 1, unique_for_ms, schema: Arc::new(schema) }
    }

    fn batch(spec: &DeduplicateSpec, rows: &[(u8, Option<i64>)], first: u64) -> ChangeBatch {
        let ids: ArrayRef =
            Arc::new(rows.iter().map(|(id, _)| Some(id.to_string())).collect::<arrow::array::StringArray>());
        let times: ArrayRef = Arc::new(rows.iter().map(|(_, t)| *t).collect::<TimestampMillisecondArray>());
        let rows = RecordBatch::try_new(spec.schema.clone(), vec![ids, times]).unwrap();
        let sequence = (first..first + rows.num_rows() as u64).collect();
        ChangeBatch::stream(rows, sequence)
    }

    fn context(before: i64, after: i64) -> EpochContext {
        EpochContext::new(vec![Watermark(before)], vec![Watermark(after)], true)
    }

    fn kept(output: &Output) -> Vec<u64> {
        match &output.changes.order {
            Order::Sequence(s) => s.to_vec(),
            _ => Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn keeps_the_first_record_of_a_key_also_after_a_restore(
            epochs in prop::collection::vec(
                (prop::collection::vec((0u8..6, prop::option::weighted(0.9, 0i64..300)), 0..12), 0i64..60), 1..20),
            unique_for in 1i64..150,
            restore_at in 0usize..20,
            slots in 0usize..4,
        ) {
            let spec = spec(unique_for);
            let mut operator = Deduplicate::new(spec.clone()).unwrap();
            let (mut log, mut model) = (RewrittenLog::new(slots), BTreeMap::<u8, i64>::new());
            let (mut watermark, mut sequence) = (0, 0);
            for (number, (rows, progress)) in epochs.into_iter().enumerate() {
                if number == restore_at {
                    operator = Deduplicate::new(spec.clone()).unwrap();
                    log.restore(&mut operator);
                }
                let (mut keep, mut duplicate) = (Vec::new(), Vec::new());
                for (i, (id, at)) in rows.iter().enumerate() {
                    let seen = at.is_some_and(|at| model.get(id).is_some_and(|end| at < *end && *end > watermark));
                    if seen {
                        duplicate.push(sequence + i as u64);
                    } else {
                        keep.push(sequence + i as u64);
                        at.map(|at| model.insert(*id, at + unique_for));
                    }
                }
                let after = watermark + progress;
                let output = operator.process(&[batch(&spec, &rows, sequence)], &context(watermark, after)).unwrap();
                prop_assert_eq!(kept(&output), keep);
                prop_assert_eq!(output.duplicate, duplicate);
                prop_assert_eq!(output.changes.rows.num_rows(), output.changes.len());
                log.append(&mut operator);
                prop_assert!(operator.take_delta().unwrap().is_none());
                (watermark, sequence) = (after, sequence + rows.len() as u64);
            }
        }
    }

    #[test]
    fn memory_is_freed_when_the_watermark_has_passed() {
        let spec = spec(64);
        let mut operator = Deduplicate::new(spec.clone()).unwrap();
        let rows = [(1, Some(0)), (2, Some(10)), (1, Some(63)), (3, None)];
        let output = operator.process(&[batch(&spec, &rows, 0)], &context(0, 63)).unwrap();
        assert_eq!((kept(&output), output.duplicate), (vec![0, 1, 3], vec![2]));
        assert_eq!(operator.state_size().rows, 2);
        operator.process(&[ChangeBatch::empty(spec.schema.clone())], &context(63, 65)).unwrap();
        assert_eq!(operator.state_size().rows, 1);
        operator.process(&[ChangeBatch::empty(spec.schema.clone())], &context(65, i64::MAX)).unwrap();
        assert_eq!(operator.state_size().rows, 0);
    }

    #[test]
    fn reading_order_decides_within_an_epoch() {
        let spec = spec(100);
        let mut operator = Deduplicate::new(spec.clone()).unwrap();
        let mut input = batch(&spec, &[(1, Some(5)), (1, Some(3))], 0);
        input.order = Order::Sequence(vec![9, 8].into());
        let output = operator.process(&[input], &context(0, 0)).unwrap();
        assert_eq!((kept(&output), output.duplicate), (vec![8], vec![9]));
    }

    #[test]
    fn a_delta_of_another_operator_is_refused() {
        let mut operator = Deduplicate::new(spec(1)).unwrap();
        let foreign = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8, true)])));
        assert!(matches!(operator.restore(&foreign), Err(OperatorError::State(_))));
    }
}
