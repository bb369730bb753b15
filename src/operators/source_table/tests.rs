//! Source tables against a naive model: repetitions, late records, forgotten rows, crashes.

use std::collections::BTreeMap;

use arrow::array::{Float64Array, StringArray, StringViewArray, TimestampMillisecondArray};
use proptest::prelude::*;

use super::*;
use crate::operators::rewritten_log::RewrittenLog;
use crate::operators::zset_model::{ZSet, add, add_net, comparable, cpu_seconds, epoch, lines};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("v", DataType::Int64, false),
        Field::new("k", DataType::Utf8, false),
        Field::new("s", DataType::Utf8View, true),
    ]))
}

/// A record: its key and, unless it is a tombstone, its values.
type Record = (u8, Option<(i64, Option<u8>)>);

fn batch(records: &[Record], first_sequence: u64) -> ChangeBatch {
    // Before decoding is checked, tombstones have nulls in columns that are NOT NULL.
    let nullable = schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(records.iter().map(|(_, row)| row.map(|(v, _)| v)).collect::<Int64Array>()),
        Arc::new(records.iter().map(|(k, _)| Some(format!("key {k}"))).collect::<StringArray>()),
        Arc::new(
            records
                .iter()
                .map(|(_, row)| row.and_then(|(_, s)| s).map(|s| "s".repeat(s as usize * 9)))
                .collect::<StringViewArray>(),
        ),
    ];
    let rows = RecordBatch::try_new(Arc::new(Schema::new(nullable)), columns).unwrap();
    let sequence: Vec<u64> = (0..records.len() as u64).map(|i| first_sequence + i).collect();
    let weights = records.iter().map(|(_, row)| if row.is_some() { 1 } else { -1 }).collect::<Vec<i64>>();
    ChangeBatch { weights: weights.into(), ..ChangeBatch::stream(rows, sequence) }
}

fn table() -> SourceTable {
    SourceTable::new(SourceTableSpec { key: vec![1], schema: schema(), retention: None }).unwrap()
}

fn contents(table: &SourceTable) -> ZSet {
    let mut rows = ZSet::new();
    for part in 0.. {
        let Some(batch) = table.contents(part).unwrap() else { break };
        add(&mut rows, &batch);
    }
    rows
}

fn record() -> impl Strategy<Value = Record> {
    (0u8..5, prop::option::weighted(0.7, (0i64..3, prop::option::of(0u8..3))))
}

proptest! {
    #[test]
    fn holds_the_latest_row_of_every_key_and_survives_a_crash_after_any_epoch(
        epochs in prop::collection::vec((prop::collection::vec(record(), 0..12), any::<bool>()), 1..12),
        slots in 0usize..4,
    ) {
        let (mut operator, mut log) = (table(), RewrittenLog::new(slots));
        let (mut model, mut relation) = (BTreeMap::new(), ZSet::new());
        let mut sequence = 100;
        for (records, crash) in &epochs {
            let mut duplicates = Vec::new();
            for (idx, (key, row)) in records.iter().enumerate() {
                let before = match row {
                    Some(row) => model.insert(*key, *row),
                    None => model.remove(key),
                };
                if before == *row {
                    duplicates.push(sequence + idx as u64);
                }
            }
            let output = operator.process(&[batch(records, sequence)], &epoch(0, 0, true)).unwrap();
            sequence += records.len() as u64;
            prop_assert_eq!(&output.duplicate, &duplicates);
            add_net(&mut relation, &output.changes);

            let rows: Vec<Record> = model.iter().map(|(k, row)| (*k, Some(*row))).collect();
            let expected: ZSet = lines(&batch(&rows, 0).rows).into_iter().map(|line| (line, 1)).collect();
            prop_assert_eq!(&relation, &expected);
            prop_assert_eq!(&contents(&operator), &expected);
            prop_assert_eq!(operator.state_size().rows, expected.len());

            log.append(&mut operator);
            if *crash {
                operator = table();
                log.restore(&mut operator);
                prop_assert_eq!(&contents(&operator), &expected);
            }
        }
    }
}

#[test]
fn a_log_that_is_rewritten_stays_as_small_as_the_table() {
    let (mut operator, mut log) = (table(), RewrittenLog::new(2));
    for version in 0..100 {
        operator.process(&[batch(&[(version as u8 % 5, Some((version, None)))], 0)], &epoch(0, 0, true)).unwrap();
        log.append(&mut operator);
        assert!(log.len() <= 16, "{} batches after {version} epochs", log.len());
    }
    let mut again = table();
    log.restore(&mut again);
    assert_eq!(contents(&again), contents(&operator));
}

#[test]
fn a_record_repeats_the_row_at_its_place_in_reading_order() {
    let mut operator = table();
    let (a, b) = (Some((1, None)), Some((2, None)));
    let first = operator.process(&[batch(&[(1, a), (1, a), (2, None)], 0)], &epoch(0, 0, true)).unwrap();
    assert_eq!((first.duplicate, first.changes.len()), (vec![1, 2], 1));
    // There and back again: nothing is left of it, but only one of the records repeats.
    let second = operator.process(&[batch(&[(1, b), (1, a), (1, a)], 3)], &epoch(0, 0, true)).unwrap();
    assert_eq!((second.duplicate, second.changes.len()), (vec![5], 0));
    operator.take_delta().unwrap();
    let third = operator.process(&[batch(&[(1, None), (1, None), (1, a)], 6)], &epoch(0, 0, true)).unwrap();
    assert_eq!((third.duplicate, third.changes.len()), (vec![7], 0));
    assert_eq!(operator.take_delta().unwrap(), None);
}

/// A record of a table with event time: its key and, unless it is a tombstone, its event time and a value.
type TimedRecord = (u8, Option<(Option<i64>, i64)>);

fn timed_schema() -> SchemaRef {
    let at = DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, false),
        Field::new("at", at, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn timed_batch(records: &[TimedRecord], first_sequence: u64) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(records.iter().map(|(k, _)| Some(format!("key {k}"))).collect::<StringArray>()),
        Arc::new(records.iter().map(|(_, row)| row.and_then(|(at, _)| at)).collect::<TimestampMillisecondArray>()),
        Arc::new(records.iter().map(|(_, row)| row.map(|(_, v)| v)).collect::<Int64Array>()),
    ];
    let rows = RecordBatch::try_new(timed_schema(), columns).unwrap();
    let sequence: Vec<u64> = (0..records.len() as u64).map(|i| first_sequence + i).collect();
    let weights = records.iter().map(|(_, row)| if row.is_some() { 1 } else { -1 }).collect::<Vec<i64>>();
    ChangeBatch { weights: weights.into(), ..ChangeBatch::stream(rows, sequence) }
}

fn table_with_retention(retention_ms: i64) -> SourceTable {
    let retention = Some(RowRetention { event_time: 1, retention_ms });
    SourceTable::new(SourceTableSpec { key: vec![0], schema: timed_schema(), retention }).unwrap()
}

proptest! {
    #[test]
    fn what_would_change_a_row_after_its_retention_is_late_and_changes_nothing(
        epochs in prop::collection::vec(
            (
                prop::collection::vec((0u8..5, prop::option::weighted(0.7, (prop::option::weighted(0.9, 0i64..60), 0i64..2))), 0..12),
                0i64..12,
                any::<bool>(),
            ),
            1..10,
        ),
    ) {
        let (mut operator, mut deltas) = (table_with_retention(10), Vec::new());
        let (mut model, mut relation) = (BTreeMap::<u8, (Option<i64>, i64)>::new(), ZSet::new());
        let (mut sequence, mut watermark) = (0, i64::MIN);
        for (records, step, crash) in &epochs {
            let (mut duplicates, mut late) = (Vec::new(), Vec::new());
            for (idx, (key, row)) in records.iter().enumerate() {
                let held = model.get(key).copied();
                let is_old = |row: Option<(Option<i64>, i64)>| {
                    row.and_then(|(at, _)| at).is_some_and(|at| at <= watermark.saturating_sub(10))
                };
                if held == *row {
                    duplicates.push(sequence + idx as u64);
                } else if is_old(held) || is_old(*row) {
                    late.push(sequence + idx as u64);
                } else {
                    match row {
                        Some(row) => model.insert(*key, *row),
                        None => model.remove(key),
                    };
                }
            }
            let output = operator.process(&[timed_batch(records, sequence)], &epoch(watermark, watermark, true)).unwrap();
            prop_assert_eq!(&output.duplicate, &duplicates);
            prop_assert_eq!(&output.late, &late);
            add_net(&mut relation, &output.changes);
            let rows: Vec<TimedRecord> = model.iter().map(|(k, row)| (*k, Some(*row))).collect();
            let expected: ZSet = lines(&timed_batch(&rows, 0).rows).into_iter().map(|line| (line, 1)).collect();
            prop_assert_eq!(&relation, &expected);
            prop_assert_eq!(operator.state_size().rows, expected.len());

            sequence += records.len() as u64;
            watermark = watermark.max(0) + step;
            deltas.extend(operator.take_delta().unwrap());
            if *crash {
                operator = table_with_retention(10);
                deltas.iter().for_each(|delta| operator.restore(delta).unwrap());
                prop_assert_eq!(&contents(&operator), &expected);
            }
        }
    }
}

proptest! {
    #[test]
    fn forgotten_rows_leave_once_and_their_keys_are_told_apart_until_twice_the_retention(
        epochs in prop::collection::vec(
            (
                prop::collection::vec((0u8..6, prop::option::weighted(0.7, (prop::option::weighted(0.9, 0i64..60), 0i64..2))), 0..12),
                0i64..12,
                any::<bool>(),
            ),
            1..12,
        ),
        slots in 0usize..4,
    ) {
        // The other table never forgets: but for the rows that left, nothing else tells them apart.
        let (mut operator, mut other, mut log) = (table_with_retention(10), table_with_retention(10), RewrittenLog::new(slots));
        let (mut relation, mut sequence, mut watermark) = (ZSet::new(), 0, i64::MIN);
        for (records, step, crash) in &epochs {
            // No record of a key that is not known any more.
            let known = |row: &TimedRecord| row.1.and_then(|(at, _)| at).is_none_or(|at| at + 20 > watermark) && row.1.is_some();
            let records: Vec<TimedRecord> = records.iter().filter(|r| known(r)).copied().collect();
            let ctx = epoch(watermark, watermark, true);
            let output = operator.process(&[timed_batch(&records, sequence)], &ctx).unwrap();
            let expected = other.process(&[timed_batch(&records, sequence)], &ctx).unwrap();
            sequence += records.len() as u64;
            let held = contents(&other).into_keys().filter_map(|line| at_of(&line)).min();
            if held.is_none_or(|at| at + 20 > watermark) {
                // A rewritten log no longer tells which row a key had: its repetition is late then.
                let refused = |o: &Output| {
                    let mut all: Vec<u64> = o.late.iter().chain(&o.duplicate).copied().collect();
                    all.sort_unstable();
                    all
                };
                prop_assert_eq!(refused(&output), refused(&expected));
                if slots == 0 {
                    prop_assert_eq!(&output.late, &expected.late);
                }
            }
            add_net(&mut relation, &output.changes);

            watermark = watermark.max(0) + step;
            let before_ms = (watermark - 10).div_euclid(5) * 5;
            let gone = SourceTable::forget_before(&mut operator, before_ms).unwrap();
            prop_assert!(gone.weights.iter().all(|w| *w == -1));
            add_net(&mut relation, &gone);
            prop_assert!(relation.values().all(|w| *w == 1));
            prop_assert!(relation.keys().filter_map(|line| at_of(line)).all(|at| at >= before_ms));
            prop_assert_eq!(&contents(&operator), &relation);
            prop_assert_eq!(operator.state_size().rows, relation.len());
            prop_assert!(operator.oldest().is_none_or(|at| at >= before_ms));
            log.append(&mut operator);
            if *crash {
                operator = table_with_retention(10);
                log.restore(&mut operator);
                prop_assert_eq!(&contents(&operator), &relation);
                prop_assert_eq!(operator.state_size().rows, relation.len());
            }
        }
    }
}

/// The event time of a row as text.
fn at_of(line: &str) -> Option<i64> {
    let at = line.split('|').nth(1)?;
    chrono::NaiveDateTime::parse_from_str(at, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|at| at.and_utc().timestamp_millis())
}

#[test]
fn a_record_of_a_forgotten_key_is_late_unless_it_repeats_the_row() {
    let mut operator = table_with_retention(100);
    let row = |at: i64, v: i64| Some((Some(at), v));
    operator.process(&[timed_batch(&[(1, row(50, 7)), (2, row(260, 7))], 0)], &epoch(0, 250, true)).unwrap();
    assert_eq!(lines(&SourceTable::forget_before(&mut operator, 150).unwrap().rows).len(), 1);
    let records =
        [(1, row(50, 7)), (1, row(50, 8)), (1, row(300, 7)), (1, None), (3, None), (3, row(149, 1)), (3, row(151, 1))];
    let output = operator.process(&[timed_batch(&records, 10)], &epoch(250, 300, true)).unwrap();
    assert_eq!((output.duplicate, output.late, output.changes.len()), (vec![10, 14], vec![11, 12, 13, 15], 1));
    // Twice the retention has passed: the key is as good as new.
    SourceTable::forget_before(&mut operator, 151).unwrap();
    let output = operator.process(&[timed_batch(&[(1, None), (1, row(300, 7))], 20)], &epoch(251, 300, true)).unwrap();
    assert_eq!((output.duplicate, output.late, output.changes.len()), (vec![20], vec![], 1));
}

#[test]
fn the_record_at_the_end_of_the_retention_is_late_and_the_one_behind_it_is_not() {
    let mut operator = table_with_retention(100);
    let row = |at: i64| Some((Some(at), 1));
    let first = operator.process(&[timed_batch(&[(1, row(50)), (2, row(51))], 0)], &epoch(100, 900, true)).unwrap();
    assert_eq!((first.late, first.changes.len()), (vec![], 2));
    // 1 lies at watermark less retention, 2 behind it: one can be neither moved nor deleted, the other can.
    let records = [(1, row(140)), (1, None), (1, row(50)), (2, row(50)), (2, None), (3, row(50)), (3, row(51))];
    let second = operator.process(&[timed_batch(&records, 10)], &epoch(150, 900, true)).unwrap();
    assert_eq!((second.late, second.duplicate), (vec![10, 11, 13, 15], vec![12]));
    let changed: Vec<_> = lines(&second.changes.rows).into_iter().zip(second.changes.weights.iter().copied()).collect();
    assert_eq!(
        changed,
        [("key 2|1970-01-01T00:00:00.051|1".to_string(), -1), ("key 3|1970-01-01T00:00:00.051|1".to_string(), 1)]
    );
}

#[test]
fn a_delta_of_another_version_is_refused() {
    let mut operator = table();
    operator.process(&[batch(&[(1, Some((1, None)))], 0)], &epoch(0, 0, true)).unwrap();
    let delta = operator.take_delta().unwrap().unwrap();
    let mut other = SourceTable::new(SourceTableSpec {
        key: vec![0],
        schema: Arc::new(schema().project(&[1, 0]).unwrap()),
        retention: None,
    })
    .unwrap();
    assert!(matches!(other.restore(&delta), Err(OperatorError::State(_))));
    assert_eq!(comparable(&table().process(&[], &epoch(0, 0, true)).unwrap()).0, []);
}

/// `cargo test --release --lib speed -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn speed_of_a_million_upserts_in_batches_of_100_000() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("capture_id", DataType::Utf8, false),
        Field::new("plate", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None), false),
        Field::new("score", DataType::Float64, true),
    ]));
    let batches: Vec<ChangeBatch> = (0..20u64)
        .map(|n| {
            let ids = (0..100_000u64).map(|i| (n % 10) * 100_000 + i);
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(ids.clone().map(|i| format!("capture-{i:08}")))),
                Arc::new(StringArray::from_iter_values(ids.clone().map(|i| format!("ZJ{:06}", i * 7 % 999_983)))),
                Arc::new(TimestampMillisecondArray::from_iter_values(ids.clone().map(|i| (i * 1000 + n / 10) as i64))),
                Arc::new(Float64Array::from_iter_values(ids.map(|i| i as f64 / 3.0))),
            ];
            let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
            ChangeBatch::stream(rows, (0..100_000).collect())
        })
        .collect();
    let mut operator = SourceTable::new(SourceTableSpec { key: vec![0], schema, retention: None }).unwrap();
    for (name, half) in [("new", &batches[..10]), ("replace", &batches[10..])] {
        let start = cpu_seconds();
        let mut n_delta = 0;
        for batch in half {
            operator.process(std::slice::from_ref(batch), &epoch(0, 0, true)).unwrap();
            n_delta += operator.take_delta().unwrap().map_or(0, |d| d.num_rows());
        }
        assert_eq!(n_delta, 1_000_000);
        let size = operator.state_size();
        println!(
            "source_table {name}: {:.2} M rows/s, {} B/row",
            1.0 / (cpu_seconds() - start),
            size.bytes / size.rows
        );
    }
}
