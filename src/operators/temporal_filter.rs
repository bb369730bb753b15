//! Holds rows of a table back until event time has come to an instant in them.

use std::collections::BTreeMap;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::event_time::milliseconds;
use super::groups::batch_of;
use super::row_codec::RowCodec;
use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::state::{KeyIndex, WeightedRows};
use crate::stream::{ChangeBatch, Watermark};

/// `PASSED(t, column)`: the rows of a table whose instant the watermark has passed.
///
/// A row appears when the watermark reaches its instant, at once where it has, and disappears when it does in the table; one
/// that is taken back before is never seen. Rows without an instant never appear. At the end of input all others have.
#[derive(Clone, Debug)]
pub struct TemporalFilterSpec {
    /// The column with the instant, a timestamp.
    pub time: usize,
    /// The columns.
    pub schema: SchemaRef,
}

/// Holds rows of a table back until event time has come to an instant in them.
///
/// The state, the rows that wait, follows from the table and the watermark, and is not logged.
pub struct TemporalFilter {
    spec: TemporalFilterSpec,
    codec: RowCodec,
    instants: KeyIndex,
    /// The rows that wait, under their instants.
    rows: WeightedRows,
    /// By instant in milliseconds, those that rows wait for: its id.
    due: BTreeMap<i64, u32>,
}

impl TemporalFilter {
    /// One shard, empty.
    pub fn new(spec: TemporalFilterSpec) -> Result<Self, OperatorError> {
        Ok(Self {
            codec: RowCodec::new(&spec.schema, (0..spec.schema.fields().len()).collect())?,
            spec,
            instants: KeyIndex::default(),
            rows: WeightedRows::default(),
            due: BTreeMap::new(),
        })
    }

    /// Takes the rows out that wait for an instant that has come.
    fn release(&mut self, watermark: Watermark) -> Result<Option<ChangeBatch>, OperatorError> {
        let mut released: Vec<(Vec<u8>, i64)> = Vec::new();
        while let Some(entry) = self.due.first_entry().filter(|e| watermark.has_passed(*e.key())) {
            let instant = entry.remove();
            let ids: Vec<u32> = self.rows.ids_of(instant).collect();
            for id in ids {
                let (row, weight) = (self.rows.row(id).to_vec(), self.rows.weight(id));
                self.rows.update(instant, &row, -weight);
                released.push((row, weight));
            }
            self.instants.remove(instant);
        }
        if released.is_empty() {
            return Ok(None);
        }
        let (rows, weights): (Vec<Vec<u8>>, Vec<i64>) = released.into_iter().unzip();
        let columns = self.codec.decode(rows.iter().map(Vec::as_slice))?;
        Ok(Some(ChangeBatch::table(batch_of(&self.spec.schema, columns, rows.len())?, weights)))
    }

    /// Lets the changes of rows wait whose instant has not come.
    fn hold(&mut self, rows: &RecordBatch, weights: &[i64], instants: &[i64]) -> Result<(), OperatorError> {
        let encoded = self.codec.encode(rows)?;
        for (place, (weight, instant_ms)) in weights.iter().zip(instants).enumerate() {
            let (instant, _) = self.instants.get_or_insert(&instant_ms.to_be_bytes());
            self.rows.update(instant, encoded.get(place), *weight);
            if self.rows.contains_key(instant) {
                self.due.insert(*instant_ms, instant);
            } else {
                self.due.remove(instant_ms);
                self.instants.remove(instant);
            }
        }
        Ok(())
    }
}

impl Operator for TemporalFilter {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let watermark = ctx.watermark_after();
        let releases = self.next_timer().is_some_and(|instant_ms| watermark.has_passed(instant_ms));
        let mut parts: Vec<ChangeBatch> = Vec::new();
        for input in inputs.iter().filter(|input| !input.is_empty()) {
            let instants = milliseconds(input.rows.column(self.spec.time))?;
            // Where rows are released, what comes may change them: all of it meets there, so that the outcome is net.
            let waits = |instant_ms: i64| releases || !watermark.has_passed(instant_ms);
            let goes_on: BooleanArray = instants.iter().map(|i| Some(i.is_some_and(|ms| !waits(ms)))).collect();
            let is_held: BooleanArray = instants.iter().map(|i| Some(i.is_some_and(waits))).collect();
            parts.push(input.filter(&goes_on)?);
            let held = input.filter(&is_held)?;
            let held_ms: Vec<i64> = instants.iter().flatten().filter(|ms| waits(*ms)).collect();
            self.hold(&held.rows, &held.weights, &held_ms)?;
        }
        parts.extend(self.release(watermark)?);
        Ok(ChangeBatch::concat(&self.spec.schema, &parts)?.into())
    }

    fn forget(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<ChangeBatch, OperatorError> {
        // Rows that come with this epoch's watermark do so as its changes: what is forgotten reaches no sink.
        let watermark = ctx.watermark_before();
        let mut parts: Vec<ChangeBatch> = Vec::new();
        for input in inputs.iter().filter(|input| !input.is_empty()) {
            let instants = milliseconds(input.rows.column(self.spec.time))?;
            let waits = |instant_ms: i64| !watermark.has_passed(instant_ms);
            let has_come: BooleanArray = instants.iter().map(|i| Some(i.is_some_and(|ms| !waits(ms)))).collect();
            let is_held: BooleanArray = instants.iter().map(|i| Some(i.is_some_and(waits))).collect();
            parts.push(input.filter(&has_come)?);
            let held = input.filter(&is_held)?;
            let held_ms: Vec<i64> = instants.iter().flatten().filter(|ms| waits(*ms)).collect();
            self.hold(&held.rows, &held.weights, &held_ms)?;
        }
        Ok(ChangeBatch::concat(&self.spec.schema, &parts)?)
    }

    fn next_timer(&self) -> Option<i64> {
        self.due.first_key_value().map(|(instant_ms, _)| *instant_ms)
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.rows.len(), bytes: self.rows.size_bytes() + self.instants.size_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, TimestampMillisecondArray};
    use proptest::prelude::*;

    use super::*;
    use crate::operators::script::columns;
    use crate::operators::zset_model::{ZSet, add, add_net, epoch, lines};

    fn changes(schema: &SchemaRef, rows: &[(Option<i64>, i64, i64)]) -> ChangeBatch {
        let at: TimestampMillisecondArray = rows.iter().map(|(at, ..)| *at).collect();
        let n: Int64Array = rows.iter().map(|(_, n, _)| Some(*n)).collect();
        let batch =
            RecordBatch::try_new(schema.clone(), vec![Arc::new(at.with_timezone("Asia/Shanghai")), Arc::new(n)]);
        ChangeBatch::table(batch.unwrap(), rows.iter().map(|(.., weight)| *weight).collect())
    }

    #[test]
    fn rows_that_come_while_others_are_forgotten_are_changes_of_the_epoch() {
        let schema = columns("at timestamp, n int");
        let mut filter = TemporalFilter::new(TemporalFilterSpec { time: 0, schema: schema.clone() }).unwrap();
        let rows = [(Some(1), 1, 1), (Some(5), 2, 1), (Some(9), 3, 1)];
        filter.process(&[changes(&schema, &rows)], &epoch(0, 3, true)).unwrap();
        let ctx = epoch(3, 7, true);
        let gone = filter.forget(&[changes(&schema, &[(Some(1), 1, -1), (Some(9), 3, -1)])], &ctx).unwrap();
        assert_eq!((lines(&gone.rows).len(), gone.weights.to_vec()), (1, vec![-1]), "the one that had come");
        let come = filter.process(&[], &ctx).unwrap().changes;
        assert_eq!((lines(&come.rows).len(), come.weights.to_vec()), (1, vec![1]), "the one that comes now");
        assert_eq!(filter.state_size().rows, 0);
    }

    proptest! {
        /// Whatever the epochs: the rows of the table whose instant has come, and no others; a rebuilt operator agrees.
        #[test]
        fn holds_the_rows_whose_instant_has_come(
            epochs in prop::collection::vec(
                (prop::collection::vec((prop::option::weighted(0.9, 0i64..20), 0i64..3, prop::bool::ANY), 0..8), 0i64..4),
                1..12,
            ),
        ) {
            let schema = columns("at timestamp, n int");
            let spec = TemporalFilterSpec { time: 0, schema: schema.clone() };
            let mut filter = TemporalFilter::new(spec.clone()).unwrap();
            let (mut watermark, mut seen) = (0, ZSet::new());
            let mut table: BTreeMap<(Option<i64>, i64), i64> = BTreeMap::new();
            for (rows, step) in epochs {
                let mut given: BTreeMap<(Option<i64>, i64), i64> = BTreeMap::new();
                for (at, n, appears) in rows {
                    // Only what is there can disappear, but at times before it has appeared.
                    let weight = if appears || table.get(&(at, n)).is_none_or(|w| *w < 0) { 1 } else { -1 };
                    *table.entry((at, n)).or_default() += weight;
                    *given.entry((at, n)).or_insert(0) += weight;
                }
                let given: Vec<_> =
                    given.into_iter().filter(|(_, w)| *w != 0).map(|((at, n), weight)| (at, n, weight)).collect();
                let before = watermark;
                watermark += step;
                let output = filter.process(&[changes(&schema, &given)], &epoch(before, watermark, true)).unwrap();
                add_net(&mut seen, &output.changes);
                let all: Vec<_> = table.iter().filter(|(_, w)| **w != 0).map(|((at, n), w)| (*at, *n, *w)).collect();
                let come: Vec<_> = all.iter().filter(|(at, ..)| at.is_some_and(|at| at <= watermark)).copied().collect();
                let mut wanted = ZSet::new();
                add(&mut wanted, &changes(&schema, &come));
                prop_assert_eq!(&seen, &wanted);
                let n_waiting = all.iter().filter(|(at, ..)| at.is_some_and(|at| at > watermark)).count();
                prop_assert_eq!(filter.state_size().rows, n_waiting);
                let mut again = TemporalFilter::new(spec.clone()).unwrap();
                let rebuilt = again.process(&[changes(&schema, &all)], &epoch(watermark, watermark, false)).unwrap();
                prop_assert_eq!(lines(&rebuilt.changes.rows).len(), wanted.len());
                prop_assert_eq!(again.next_timer(), filter.next_timer());
            }
        }
    }
}
