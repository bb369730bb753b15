use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use proptest::prelude::*;

use super::*;
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

fn spec(kind: Kind, bucketed: bool) -> FirstRowSpec {
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
    let mut fields = vec![Field::new("k", DataType::Int64, true)];
    if bucketed {
        fields.push(Field::new("bucket", timestamp.clone(), true));
    }
    let at = fields.len();
    fields.extend([Field::new("at", timestamp, true), Field::new("n", DataType::Int64, true)]);
    let input = Arc::new(Schema::new(fields.clone()));
    fields.push(Field::new("number", DataType::UInt64, true));
    let bucket = Deadline { column: 1, end: Some(Arc::new(|start| start + BUCKET)), after_ms: 0 };
    let first = match kind {
        Kind::Arrival => FirstBy::Arrival,
        Kind::Time => FirstBy::Order {
            release: Deadline { column: at, end: None, after_ms: 1 },
            columns: vec![(at, SortOptions::new(false, false))],
        },
        Kind::Close => {
            FirstBy::Order { release: bucket.clone(), columns: vec![(at + 1, SortOptions::new(true, false))] }
        }
    };
    FirstRowSpec { n_keys: at, first, bucket: bucketed.then_some(bucket), input, schema: Arc::new(Schema::new(fields)) }
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

fn shown(output: &Output) -> Vec<(i64, i64)> {
    let columns = output.changes.rows.columns();
    let n_columns = columns.len();
    let (keys, values) = (columns[0].as_primitive::<Int64Type>(), columns[n_columns - 2].as_primitive::<Int64Type>());
    (0..output.changes.len()).map(|row| (keys.value(row), values.value(row))).collect()
}

proptest! {
    #[test]
    fn each_key_gives_its_first_row_whatever_the_epochs_and_restarts(
        epochs in prop::collection::vec(
            (prop::collection::vec((0i64..4, 0i64..30, 0i64..50), 0..12), 0i64..30), 1..14),
        kind in prop_oneof![Just((Kind::Arrival, false)), Just((Kind::Arrival, true)), Just((Kind::Time, false)),
            Just((Kind::Time, true)), Just((Kind::Close, true))],
        restore_at in 0usize..14,
        slots in 0usize..4,
    ) {
        let (kind, bucketed) = kind;
        let spec = spec(kind, bucketed);
        let mut operator = FirstRow::new(spec.clone()).unwrap();
        let mut log = RewrittenLog::new(slots);
        let key = |r: &Row| (r.0, if bucketed { start(r) } else { 0 });
        let order = |r: &Row| if kind == Kind::Time { (r.1, r.0, r.2) } else { (-r.2, r.0, r.1) };
        let (mut watermark, mut seen, mut waiting) = (0, BTreeSet::new(), BTreeMap::<(i64, i64), Row>::new());
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
                        want.push((row.0, row.2));
                    }
                } else if !seen.contains(&key(row)) {
                    let best = waiting.entry(key(row)).or_insert(*row);
                    if order(row) < order(best) {
                        *best = *row;
                    }
                }
            }
            let release = |r: &Row| if kind == Kind::Time { r.1 + 1 } else { start(r) + BUCKET };
            let mut due: Vec<Row> = waiting.values().filter(|r| release(r) <= after).copied().collect();
            due.sort_by_key(|r| (release(r), order(r)));
            for row in due {
                waiting.remove(&key(&row));
                seen.insert(key(&row));
                want.push((row.0, row.2));
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
    let mut operator = FirstRow::new(spec(Kind::Time, false)).unwrap();
    let foreign = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8, true)])));
    assert!(matches!(operator.restore(&foreign), Err(OperatorError::State(_))));
}
