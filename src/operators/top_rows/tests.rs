//! The first rows of keys against a naive model, in any epochs and after any crash.

use std::collections::BTreeMap;

use arrow::array::{AsArray, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, UInt64Type};
use proptest::prelude::*;

use super::*;
use crate::operators::BucketEdges;
use crate::operators::rewritten_log::RewrittenLog;
use crate::stream::Watermark;

/// Key, event time, value.
type Row = (i64, i64, i64);

const BUCKET: i64 = 40;
const LATENESS: i64 = 5;

fn start(at: i64) -> i64 {
    at.div_euclid(BUCKET) * BUCKET
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    LatestArrival,
    /// The greatest value first.
    Value,
}

fn spec(by: By, bucketed: bool, numbers: Vec<(Numbering, Option<u64>)>) -> TopRowsSpec {
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
    let mut fields = vec![Field::new("k", DataType::Int64, true)];
    if bucketed {
        fields.push(Field::new("bucket", timestamp.clone(), true));
    }
    let at = fields.len();
    fields.extend([Field::new("at", timestamp, true), Field::new("n", DataType::Int64, true)]);
    let input = Arc::new(Schema::new(fields.clone()));
    fields.extend((0..numbers.len()).map(|idx| Field::new(format!("number{idx}"), DataType::UInt64, true)));
    let edges = BucketEdges { start: Arc::new(start), end: Arc::new(|at| start(at) + BUCKET) };
    let bucket = Deadline { column: 1, bucket: Some(edges), offset_ms: 0, after_ms: LATENESS };
    let descending = SortOptions::new(true, false);
    let order = match by {
        By::LatestArrival => TopOrder::LatestArrival,
        // The second time decides nothing.
        By::Value => TopOrder::Columns(vec![(at + 1, descending), (at + 1, SortOptions::new(false, false))]),
    };
    let schema = Arc::new(Schema::new(fields));
    TopRowsSpec { n_keys: at, order, numbers, bucket: bucketed.then_some(bucket), input, schema }
}

fn batch(spec: &TopRowsSpec, rows: &[Row]) -> ChangeBatch {
    let times = |f: &dyn Fn(&Row) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(f(r))).collect::<TimestampMillisecondArray>())
    };
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)))];
    if spec.bucket.is_some() {
        columns.push(times(&|r| start(r.1)));
    }
    columns.push(times(&|r| r.1));
    columns.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))));
    let batch = RecordBatch::try_new(spec.input.clone(), columns).unwrap();
    ChangeBatch::stream(batch, (0..rows.len() as u64).collect())
}

/// Key, event time and value of a row, and its numbers.
type Shown = (Row, Vec<u64>);

/// Adds changes up.
fn add(content: &mut BTreeMap<Shown, i64>, changes: &ChangeBatch, n_numbers: usize) {
    let columns = changes.rows.columns();
    let n = columns.len() - n_numbers;
    let times = columns[n - 2].as_primitive::<arrow::datatypes::TimestampMillisecondType>();
    let (keys, values) = (columns[0].as_primitive::<Int64Type>(), columns[n - 1].as_primitive::<Int64Type>());
    for row in 0..changes.len() {
        let numbers = columns[n..].iter().map(|c| c.as_primitive::<UInt64Type>().value(row)).collect();
        let shown = ((keys.value(row), times.value(row), values.value(row)), numbers);
        *content.entry(shown).or_default() += changes.weights[row];
    }
    content.retain(|_, weight| *weight != 0);
}

/// What a table of all rows in order of arrival holds.
fn model(rows: &[Row], by: By, bucketed: bool, numbers: &[(Numbering, Option<u64>)]) -> BTreeMap<Shown, i64> {
    let mut partitions: BTreeMap<(i64, i64), Vec<(usize, Row)>> = BTreeMap::new();
    for (arrival, row) in rows.iter().enumerate() {
        partitions.entry((row.0, if bucketed { start(row.1) } else { 0 })).or_default().push((arrival, *row));
    }
    let mut content = BTreeMap::new();
    for mut rows in partitions.into_values() {
        match by {
            By::LatestArrival => rows.reverse(),
            By::Value => rows.sort_by_key(|(_, row)| (-row.2, row.0, row.1)),
        }
        let order = |idx: usize| if by == By::Value { -rows[idx].1.2 } else { idx as i64 };
        for (idx, (_, row)) in rows.iter().enumerate() {
            let number = |numbering: &Numbering| match numbering {
                Numbering::RowNumber => idx as u64 + 1,
                Numbering::Rank => (0..idx).filter(|i| order(*i) < order(idx)).count() as u64 + 1,
                Numbering::DenseRank => (1..=idx).filter(|i| order(*i) != order(*i - 1)).count() as u64 + 1,
            };
            let of_row: Vec<u64> = numbers.iter().map(|(numbering, _)| number(numbering)).collect();
            if of_row.iter().zip(numbers).all(|(number, (_, limit))| limit.is_none_or(|limit| *number <= limit)) {
                *content.entry((*row, of_row)).or_default() += 1;
            }
        }
    }
    content
}

fn numbers() -> impl Strategy<Value = Vec<(Numbering, Option<u64>)>> {
    use Numbering::{DenseRank, Rank, RowNumber};
    (1u64..4, 1u64..4).prop_flat_map(|(n, m)| {
        prop_oneof![
            Just(vec![(RowNumber, Some(1))]),
            Just(vec![(RowNumber, Some(n))]),
            Just(vec![(Rank, Some(n))]),
            Just(vec![(DenseRank, Some(n))]),
            Just(vec![(RowNumber, None), (Rank, Some(n)), (DenseRank, Some(m))]),
        ]
    })
}

proptest! {
    #[test]
    fn the_table_is_that_of_all_rows_so_far_whatever_the_epochs_and_restarts(
        epochs in prop::collection::vec(
            (prop::collection::vec((0i64..4, 0i64..30, 0i64..6), 0..12), 0i64..30), 1..14),
        by in prop_oneof![Just(By::LatestArrival), Just(By::Value)],
        bucketed in any::<bool>(),
        numbers in numbers(),
        restore_at in 0usize..14,
        slots in 0usize..4,
        forgets in any::<bool>(),
    ) {
        let spec = spec(by, bucketed, numbers.clone());
        let mut operator = TopRows::new(spec.clone()).unwrap();
        let mut log = RewrittenLog::new(slots);
        let (mut watermark, mut all, mut content) = (0, Vec::<Row>::new(), BTreeMap::new());
        for (number, (rows, progress)) in epochs.into_iter().enumerate() {
            if number == restore_at {
                operator = TopRows::new(spec.clone()).unwrap();
                log.restore(&mut operator);
                let mut restored = BTreeMap::new();
                for part in 0.. {
                    let Some(part) = operator.contents(part).unwrap() else { break };
                    add(&mut restored, &part, numbers.len());
                }
                prop_assert_eq!(&restored, &content);
            }
            let rows: Vec<Row> = rows.into_iter().map(|r| (r.0, r.1 + watermark - 5, r.2)).collect();
            let is_late = |row: &Row| bucketed && start(row.1) + BUCKET + LATENESS <= watermark;
            if forgets && bucketed && operator.oldest().is_some() {
                // As an expiry of buckets as wide as these does it.
                let before = start(watermark - LATENESS);
                let gone = operator.forget_before(before).unwrap();
                gone.iter().for_each(|gone| add(&mut content, gone, numbers.len()));
                all.retain(|row| start(row.1) + BUCKET > before);
                prop_assert!(operator.oldest().is_none_or(|oldest| oldest >= before));
            }
            let ctx = EpochContext::new(vec![Watermark(watermark)], vec![Watermark(watermark + progress)], true);
            let output = operator.process(&[batch(&spec, &rows)], &ctx).unwrap();
            let late: Vec<u64> = (0..rows.len()).filter(|i| is_late(&rows[*i])).map(|i| i as u64).collect();
            prop_assert_eq!(&output.late, &late);
            all.extend(rows.iter().filter(|row| !is_late(row)));
            // Net differences only.
            let mut changes = BTreeMap::new();
            add(&mut changes, &output.changes, numbers.len());
            prop_assert_eq!(changes.values().map(|w| w.unsigned_abs()).sum::<u64>(),
                output.changes.weights.iter().map(|w| w.unsigned_abs()).sum::<u64>());
            add(&mut content, &output.changes, numbers.len());
            prop_assert_eq!(&content, &model(&all, by, bucketed, &numbers));
            log.append(&mut operator);
            prop_assert!(operator.take_delta().unwrap().is_none());
            prop_assert_eq!(operator.state_size().rows as i64, content.values().sum::<i64>());
            watermark += progress;
        }
    }
}

#[test]
fn a_delta_of_another_operator_is_refused() {
    let mut operator = TopRows::new(spec(By::Value, false, vec![(Numbering::RowNumber, Some(1))])).unwrap();
    let foreign = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8, true)])));
    assert!(matches!(operator.restore(&foreign), Err(OperatorError::State(_))));
}

#[test]
fn rows_that_cannot_be_among_the_first_any_more_are_not_kept() {
    let spec = spec(By::Value, false, vec![(Numbering::RowNumber, Some(3))]);
    let mut operator = TopRows::new(spec.clone()).unwrap();
    let ctx = EpochContext::new(vec![Watermark(0)], vec![Watermark(0)], true);
    for epoch in 0..100 {
        let rows: Vec<Row> = (0..100).map(|i| (0, epoch, (epoch * 100 + i) % 977)).collect();
        operator.process(&[batch(&spec, &rows)], &ctx).unwrap();
        let logged = operator.take_delta().unwrap().map_or(0, |delta| delta.num_rows());
        assert!(operator.state_size().rows == 3 && logged <= 3);
    }
    assert!(operator.state_size().bytes < 100_000);
}
