//! The first rows of a key against a naive model, in any epochs and after any crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, UInt64Type};
use proptest::prelude::*;

use super::*;
use crate::operators::BucketEdges;
use crate::operators::rewritten_log::RewrittenLog;

/// Key, event time, value.
type Row = (i64, i64, i64);

const BUCKET: i64 = 40;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Arrival,
    Time,
    /// The greatest value when the bucket closes.
    Close,
}

fn edges() -> BucketEdges {
    let start = |at: i64| at.div_euclid(BUCKET) * BUCKET;
    BucketEdges { start: Arc::new(start), end: Arc::new(move |at| start(at) + BUCKET) }
}

fn spec(kind: Kind, bucketed: bool, limit: usize) -> FirstRowSpec {
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
    let mut fields = vec![Field::new("k", DataType::Int64, true)];
    if bucketed {
        fields.push(Field::new("bucket", timestamp.clone(), true));
    }
    let at = fields.len();
    fields.extend([Field::new("at", timestamp, true), Field::new("n", DataType::Int64, true)]);
    let input = Arc::new(Schema::new(fields.clone()));
    fields.push(Field::new("number", DataType::UInt64, true));
    let bucket = Deadline { column: 1, bucket: Some(edges()), offset_ms: 0, after_ms: 0 };
    let first = match kind {
        Kind::Arrival => FirstBy::Arrival,
        Kind::Time => FirstBy::Order {
            release: Deadline { column: at, bucket: None, offset_ms: 0, after_ms: 1 },
            columns: vec![(at, SortOptions::new(false, false))],
        },
        Kind::Close => {
            FirstBy::Order { release: bucket.clone(), columns: vec![(at + 1, SortOptions::new(true, false))] }
        }
    };
    let schema = Arc::new(Schema::new(fields));
    FirstRowSpec { n_keys: at, first, limit, bucket: bucketed.then_some(bucket), input, schema }
}

fn start(row: &Row) -> i64 {
    row.1.div_euclid(BUCKET) * BUCKET
}

fn batch(spec: &FirstRowSpec, rows: &[Row]) -> ChangeBatch {
    let times = |f: &dyn Fn(&Row) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(f(r))).collect::<TimestampMillisecondArray>())
    };
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)))];
    if spec.bucket.is_some() {
        columns.push(times(&start));
    }
    columns.push(times(&|r| r.1));
    columns.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))));
    let batch = RecordBatch::try_new(spec.input.clone(), columns).unwrap();
    ChangeBatch::stream(batch, (0..rows.len() as u64).collect())
}

/// Key, value and number of each row.
fn shown(output: &Output) -> Vec<(i64, i64, u64)> {
    let columns = output.changes.rows.columns();
    let n = columns.len();
    let (keys, values) = (columns[0].as_primitive::<Int64Type>(), columns[n - 2].as_primitive::<Int64Type>());
    let numbers = columns[n - 1].as_primitive::<UInt64Type>();
    (0..output.changes.len()).map(|row| (keys.value(row), values.value(row), numbers.value(row))).collect()
}

proptest! {
    #[test]
    fn each_key_gives_its_first_rows_whatever_the_epochs_and_restarts(
        epochs in prop::collection::vec(
            (prop::collection::vec((0i64..4, 0i64..30, 0i64..50), 0..12), 0i64..30), 1..14),
        kind in prop_oneof![Just((Kind::Arrival, false)), Just((Kind::Arrival, true)), Just((Kind::Time, false)),
            Just((Kind::Time, true)), Just((Kind::Close, true))],
        limit in 1usize..4,
        restore_at in 0usize..14,
        slots in 0usize..4,
    ) {
        let (kind, bucketed) = kind;
        let limit = if kind == Kind::Close { limit } else { 1 };
        let spec = spec(kind, bucketed, limit);
        let mut operator = FirstRow::new(spec.clone()).unwrap();
        let mut log = RewrittenLog::new(slots);
        let key = |r: &Row| (r.0, if bucketed { start(r) } else { 0 });
        let order = |r: &Row| if kind == Kind::Time { (r.1, r.0, r.2) } else { (r.0, -r.2, r.1) };
        let (mut watermark, mut seen, mut waiting) = (0, BTreeSet::new(), BTreeMap::<(i64, i64), Vec<Row>>::new());
        for (number, (rows, progress)) in epochs.into_iter().enumerate() {
            if number == restore_at {
                operator = FirstRow::new(spec.clone()).unwrap();
                log.restore(&mut operator);
            }
            let rows: Vec<Row> = rows.into_iter().map(|r| (r.0, r.1 + watermark - 5, r.2)).collect();
            let after = watermark + progress;
            let ctx = EpochContext::new(vec![Watermark(watermark)], vec![Watermark(after)], true);
            let output = operator.process(&[batch(&spec, &rows)], &ctx).unwrap();
            let (mut want, mut late) = (Vec::new(), Vec::new());
            for (idx, row) in rows.iter().enumerate() {
                let is_late = match kind {
                    Kind::Time => row.1 < watermark,
                    _ => bucketed && start(row) + BUCKET <= watermark,
                };
                if is_late {
                    late.push(idx as u64);
                } else if kind == Kind::Arrival {
                    if seen.insert(key(row)) {
                        want.push((row.0, row.2, 1));
                    }
                } else if !seen.contains(&key(row)) {
                    let best = waiting.entry(key(row)).or_default();
                    best.push(*row);
                    best.sort_by_key(order);
                    best.truncate(limit);
                }
            }
            let release = |r: &Row| if kind == Kind::Time { r.1 + 1 } else { start(r) + BUCKET };
            let due = waiting.values().filter(|rows| release(&rows[0]) <= after);
            let mut due: Vec<(Row, u64)> = due.flat_map(|rows| rows.iter().copied().zip(1..)).collect();
            due.sort_by_key(|(row, _)| (release(row), order(row)));
            for (row, number) in due {
                waiting.remove(&key(&row));
                seen.insert(key(&row));
                want.push((row.0, row.2, number));
            }
            prop_assert_eq!(&output.late, &late);
            prop_assert_eq!(shown(&output), want);
            log.append(&mut operator);
            prop_assert!(operator.take_delta().unwrap().is_none());
            watermark = after;
        }
        if bucketed {
            let end = EpochContext::new(vec![Watermark(watermark)], vec![Watermark::MAX], true);
            operator.process(&[], &end).unwrap();
            prop_assert_eq!(operator.state_size().rows, 0);
        }
    }
}

#[test]
fn a_delta_of_another_operator_is_refused() {
    let mut operator = FirstRow::new(spec(Kind::Time, false, 1)).unwrap();
    let foreign = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8, true)])));
    assert!(matches!(operator.restore(&foreign), Err(OperatorError::State(_))));
}
