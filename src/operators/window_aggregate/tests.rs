//! Grouped streams against a naive model, in any epochs and after any crash.

use std::collections::BTreeMap;

use arrow::array::{AsArray, Float64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::TimeUnit;
use datafusion::scalar::ScalarValue;
use proptest::prelude::*;

use super::*;
use crate::functions::Width;
use crate::operators::AggregateFunction;
use crate::operators::rewritten_log::RewrittenLog;
use crate::operators::zset_model::{ZSet, add, add_net, comparable, cpu_seconds, epoch};

const WIDTH_MS: i64 = 10;

/// A row: key, event time, and a number from which the arguments follow.
type Row = (u8, i64, u8);

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Shanghai".into()))
}

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("start", timestamp(), true),
        Field::new("i", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("p", DataType::Boolean, true),
        Field::new("s", DataType::Utf8, true),
    ]))
}

fn rows_of(rows: &[Row]) -> RecordBatch {
    rows_at(&rows.iter().map(|row| (row.1.div_euclid(WIDTH_MS) * WIDTH_MS, *row)).collect::<Vec<_>>())
}

/// Rows with the starts of their buckets or panes.
fn rows_at(rows: &[(i64, Row)]) -> RecordBatch {
    let text = |seed: u8| (!seed.is_multiple_of(5)).then(|| "longer than sixteen bytes ".repeat((seed % 5) as usize));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(_, (k, _, _))| (*k > 0).then(|| format!("k{k}"))).collect::<StringArray>()),
        Arc::new(
            rows.iter()
                .map(|(start, _)| Some(*start))
                .collect::<TimestampMillisecondArray>()
                .with_timezone("Asia/Shanghai"),
        ),
        Arc::new(rows.iter().map(|(_, (_, _, s))| (s % 4 > 0).then_some(i64::from(s % 4))).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, (_, _, s))| (s % 7 > 0).then(|| 0.1 * f64::from(*s))).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|(_, (_, _, s))| (s % 3 > 0).then_some(s % 3 == 1)).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|(_, (_, _, s))| text(*s)).collect::<StringArray>()),
    ];
    RecordBatch::try_new(input_schema(), columns).unwrap()
}

fn aggregates() -> Vec<(AggregateCall, DataType)> {
    use AggregateFunction::{Avg, BoolOr, Count, Max, Min, Sum};
    let call = |function, argument| AggregateCall { function, argument, distinct: false, filter: None };
    vec![
        (call(Count, None), DataType::Int64),
        (AggregateCall { filter: Some(4), ..call(Count, None) }, DataType::Int64),
        (AggregateCall { distinct: true, ..call(Count, Some(2)) }, DataType::Int64),
        (AggregateCall { distinct: true, filter: Some(4), ..call(Count, Some(5)) }, DataType::Int64),
        (AggregateCall { distinct: true, ..call(Sum, Some(2)) }, DataType::Int64),
        (call(Sum, Some(3)), DataType::Float64),
        (call(Avg, Some(2)), DataType::Float64),
        (call(Min, Some(3)), DataType::Float64),
        (call(Max, Some(5)), DataType::Utf8),
        (call(BoolOr, Some(4)), DataType::Boolean),
    ]
}

fn hourly(width_ms: i64) -> Bucket {
    let start: BucketEdge = Arc::new(move |instant: i64| instant - instant.rem_euclid(width_ms));
    Bucket { column: 1, window: Window::Starts { end: Arc::new(move |start| start + width_ms), start } }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Final,
    Changes,
    WithoutBucket,
    Single,
}

impl Shape {
    fn keys(self) -> usize {
        match self {
            Self::Single => 0,
            Self::WithoutBucket => 1,
            _ => 2,
        }
    }

    fn operator(self, lateness: i64) -> WindowAggregate {
        let fields = input_schema();
        let keys = fields.fields().iter().take(self.keys()).map(|f| f.as_ref().clone());
        let outputs = aggregates().into_iter().enumerate().map(|(i, (_, t))| Field::new(format!("c{i}"), t, true));
        WindowAggregate::new(WindowAggregateSpec {
            n_keys: self.keys(),
            bucket: (self.keys() == 2).then(|| hourly(WIDTH_MS)),
            allowed_lateness_ms: lateness,
            aggregates: aggregates().into_iter().map(|(call, _)| call).collect(),
            emit_final: self == Self::Final,
            schema: Arc::new(Schema::new(keys.chain(outputs).collect::<Vec<_>>())),
            input: input_schema(),
        })
        .unwrap()
    }

    /// All groups of rows as the sibling over tables computes them in one batch.
    fn batch(self, rows: &[Row]) -> ZSet {
        use crate::operators::{TableAggregate, TableAggregateSpec};
        let schema = self.operator(0).spec.schema.clone();
        let aggregates = aggregates().into_iter().map(|(call, _)| call).collect();
        let spec = TableAggregateSpec { n_keys: self.keys(), aggregates, input: input_schema(), schema };
        let input = ChangeBatch::table(rows_of(rows), vec![1; rows.len()]);
        let mut table = ZSet::new();
        add(&mut table, &TableAggregate::new(spec).unwrap().process(&[input], &epoch(0, 0, true)).unwrap().changes);
        table
    }
}

#[derive(Clone, Debug)]
struct Epoch {
    rows: Vec<Row>,
    progress: i64,
    crash: bool,
    deltas_together: bool,
}

fn epochs() -> impl Strategy<Value = (Vec<Epoch>, i64, usize)> {
    let row = (0u8..3, 0i64..60, any::<u8>());
    let epoch = (prop::collection::vec(row, 0..10), prop_oneof![Just(0), 0i64..25], any::<bool>(), any::<bool>())
        .prop_map(|(rows, progress, crash, deltas_together)| Epoch { rows, progress, crash, deltas_together });
    (prop::collection::vec(epoch, 1..14), prop_oneof![Just(0i64), 0i64..15], 0usize..5)
}

fn contents(operator: &WindowAggregate) -> Option<ZSet> {
    operator.contents(0).unwrap().map(|batch| {
        let mut rows = ZSet::new();
        add(&mut rows, &batch);
        rows
    })
}

/// What must have left: by epoch, the groups in order. Also checks lateness, crashes and what CHANGES accumulates.
fn check(shape: Shape, epochs: &[Epoch], lateness: i64, slots: usize) {
    let (mut operator, mut twin) = (shape.operator(lateness), shape.operator(lateness));
    let (mut log, mut accepted, mut relation) = (RewrittenLog::new(slots), Vec::new(), ZSet::new());
    let mut watermark = -5;
    let mut end = epochs.to_vec();
    end.push(Epoch { rows: Vec::new(), progress: i64::MAX - 1000, crash: false, deltas_together: false });
    for (idx, e) in end.iter().enumerate() {
        let after = watermark + e.progress;
        let deadline = |t: i64| t.div_euclid(WIDTH_MS) * WIDTH_MS + WIDTH_MS + lateness;
        let is_late = |row: &Row| shape.keys() == 2 && deadline(row.1) <= watermark;
        let first = 1000 * idx as u64;
        let late: Vec<u64> = (first..).zip(&e.rows).filter(|(_, row)| is_late(row)).map(|(n, _)| n).collect();
        accepted.extend(e.rows.iter().filter(|row| !is_late(row)).copied());
        let input = ChangeBatch::stream(rows_of(&e.rows), (first..first + e.rows.len() as u64).collect());
        let output = operator.process(std::slice::from_ref(&input), &epoch(watermark, after, true)).unwrap();
        let same = twin.process(&[input], &epoch(watermark, after, true)).unwrap();
        assert_eq!(comparable(&output), comparable(&same), "the crashed one and its twin");
        assert_eq!(output.late, late);

        if shape == Shape::Final {
            let due: Vec<Row> =
                accepted.iter().filter(|r| deadline(r.1) > watermark && deadline(r.1) <= after).copied().collect();
            let mut rows = ZSet::new();
            add(&mut rows, &output.changes);
            assert_eq!(rows, shape_or_nothing(shape, &due));
            check_order(&output.changes);
        } else {
            add_net(&mut relation, &output.changes);
            assert_eq!(relation, shape_or_nothing(shape, &accepted));
        }
        let open: Vec<Row> = accepted.iter().filter(|r| shape.keys() < 2 || deadline(r.1) > after).copied().collect();
        // What is final has left; a table goes on having its rows.
        let kept = if shape == Shape::Final { &open } else { &accepted };
        assert_eq!(operator.state_size().rows, shape_or_nothing(shape, kept).len());
        let timer = open.iter().map(|r| deadline(r.1)).min();
        assert_eq!(operator.next_timer(), if shape.keys() == 2 { timer } else { None });
        if shape != Shape::Final {
            let rows = (operator.groups.id_limit() > 0).then(|| shape_or_nothing(shape, kept));
            assert_eq!(contents(&operator), rows);
        }
        if !e.deltas_together {
            log.append(&mut operator);
            twin.take_delta().unwrap();
            if e.crash {
                operator = shape.operator(lateness);
                log.restore(&mut operator);
            }
        }
        watermark = after;
    }
}

fn shape_or_nothing(shape: Shape, rows: &[Row]) -> ZSet {
    if rows.is_empty() && shape != Shape::Single { ZSet::new() } else { shape.batch(rows) }
}

/// Rows leave by (end, start, key), and the bytes given as order say the same.
fn check_order(changes: &ChangeBatch) {
    if changes.is_empty() {
        return;
    }
    let Order::Key(order) = &changes.order else { panic!("no order") };
    let bytes: Vec<&[u8]> = order.iter().flatten().collect();
    assert!(bytes.is_sorted_by(|a, b| a < b));
    let keys = changes.rows.column(0).as_string::<i32>();
    let starts = milliseconds(changes.rows.column(1)).unwrap();
    let places: Vec<(i64, Option<&str>)> = starts.values().iter().copied().zip(keys.iter()).collect();
    assert!(places.is_sorted());
}

proptest! {
    #[test]
    fn final_rows_equal_batch_in_any_epochs_and_after_any_crash((epochs, lateness, slots) in epochs()) {
        check(Shape::Final, &epochs, lateness, slots);
    }

    #[test]
    fn changes_equal_batch_in_any_epochs_and_after_any_crash((epochs, lateness, slots) in epochs()) {
        check(Shape::Changes, &epochs, lateness, slots);
    }

    #[test]
    fn groups_without_a_bucket_stay_and_equal_batch((epochs, lateness, slots) in epochs()) {
        check(Shape::WithoutBucket, &epochs, lateness, slots);
    }

    #[test]
    fn without_group_keys_there_is_always_one_row((epochs, lateness, slots) in epochs()) {
        check(Shape::Single, &epochs, lateness, slots);
    }
}

const SLIDE_MS: i64 = 4;
const PANE_MS: i64 = 2;

/// Buckets of ten milliseconds every four.
fn panes(lateness: i64) -> WindowAggregate {
    let width = |ms: i64| Width::parse(&ScalarValue::new_interval_mdn(0, 0, ms * 1_000_000)).unwrap();
    let hop = Hop::new(width(SLIDE_MS), width(WIDTH_MS)).unwrap();
    assert_eq!(hop.pane(), width(PANE_MS));
    let spec = Shape::Final.operator(lateness).spec.clone();
    let bucket = Bucket { column: 1, window: Window::Panes(hop, Zone::parse("UTC").unwrap()) };
    WindowAggregate::new(WindowAggregateSpec { bucket: Some(bucket), ..spec }).unwrap()
}

/// Overlapping buckets against a list of all rows, each with the watermark at which it came.
fn check_panes(epochs: &[Epoch], lateness: i64, slots: usize) {
    let (mut operator, mut twin) = (panes(lateness), panes(lateness));
    let (mut log, mut accepted) = (RewrittenLog::new(slots), Vec::<(Row, i64)>::new());
    let mut watermark = -5;
    let mut end = epochs.to_vec();
    end.push(Epoch { rows: Vec::new(), progress: i64::MAX - 1000, crash: false, deltas_together: false });
    for (idx, e) in end.iter().enumerate() {
        let after = watermark + e.progress;
        let start = |t: i64| t.div_euclid(SLIDE_MS) * SLIDE_MS;
        let is_late = |row: &Row| start(row.1) + WIDTH_MS + lateness <= watermark;
        let first = 1000 * idx as u64;
        let late: Vec<u64> = (first..).zip(&e.rows).filter(|(_, row)| is_late(row)).map(|(n, _)| n).collect();
        accepted.extend(e.rows.iter().filter(|row| !is_late(row)).map(|row| (*row, watermark)));
        let rows: Vec<(i64, Row)> = e.rows.iter().map(|row| (row.1.div_euclid(PANE_MS) * PANE_MS, *row)).collect();
        let input = ChangeBatch::stream(rows_at(&rows), (first..first + rows.len() as u64).collect());
        let output = operator.process(std::slice::from_ref(&input), &epoch(watermark, after, true)).unwrap();
        let same = twin.process(&[input], &epoch(watermark, after, true)).unwrap();
        assert_eq!(comparable(&output), comparable(&same), "the crashed one and its twin");
        assert_eq!(output.late, late);
        let mut due: Vec<(i64, Row)> = Vec::new();
        for start in (-20..80).step_by(SLIDE_MS as usize) {
            let deadline = start + WIDTH_MS + lateness;
            let is_in = |(row, came): &&(Row, i64)| (start..start + WIDTH_MS).contains(&row.1) && *came < deadline;
            if watermark < deadline && deadline <= after {
                due.extend(accepted.iter().filter(is_in).map(|(row, _)| (start, *row)));
            }
        }
        let (mut rows, mut want) = (ZSet::new(), ZSet::new());
        add(&mut rows, &output.changes);
        if !due.is_empty() {
            let schema = operator.spec.schema.clone();
            let aggregates = aggregates().into_iter().map(|(call, _)| call).collect();
            let spec = crate::operators::TableAggregateSpec { n_keys: 2, aggregates, input: input_schema(), schema };
            let input = ChangeBatch::table(rows_at(&due), vec![1; due.len()]);
            let mut table = crate::operators::TableAggregate::new(spec).unwrap();
            add(&mut want, &table.process(&[input], &epoch(0, 0, true)).unwrap().changes);
        }
        assert_eq!(rows, want);
        check_order(&output.changes);
        let is_open = |(row, _): &&(Row, i64)| start(row.1) + WIDTH_MS + lateness > after;
        let kept: std::collections::BTreeSet<(u8, i64)> =
            accepted.iter().filter(is_open).map(|((k, t, _), _)| (*k, t.div_euclid(PANE_MS))).collect();
        assert_eq!(operator.state_size().rows, kept.len(), "a row lies in one pane, and leaves with its last bucket");
        if !e.deltas_together {
            log.append(&mut operator);
            twin.take_delta().unwrap();
            if e.crash {
                operator = panes(lateness);
                log.restore(&mut operator);
            }
        }
        watermark = after;
    }
    assert_eq!(operator.next_timer(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn overlapping_buckets_equal_batch_in_any_epochs_and_after_any_crash((epochs, lateness, slots) in epochs()) {
        check_panes(&epochs, lateness, slots);
    }
}

#[test]
fn overlapping_buckets_that_wait_leave_in_order_and_whole() {
    let mut operator = panes(0);
    let rows: Vec<(i64, Row)> = (0..6).map(|i| (i * 10, (1 + (i % 2) as u8, i * 10, 1))).collect();
    let input = ChangeBatch::stream(rows_at(&rows), (0..6).collect());
    let mut ctx = epoch(0, 1_000, true);
    ctx.hand_over_max = 2;
    let mut ends = Vec::new();
    let mut input = Some(input);
    loop {
        let inputs: Vec<ChangeBatch> = input.take().into_iter().collect();
        let output = operator.process(&inputs, &ctx).unwrap().changes;
        assert!((1..=2).contains(&output.len()), "no bucket holds more than one row");
        ends.extend(milliseconds(output.rows.column(1)).unwrap().iter().flatten());
        ctx.watermarks_before = ctx.watermarks_after.clone();
        let mut restored = panes(0);
        let mut log = RewrittenLog::new(100);
        (0..3).for_each(|_| log.append(&mut operator));
        log.restore(&mut restored);
        operator = restored;
        if operator.next_timer().is_none() {
            break;
        }
    }
    assert!(ends.is_sorted());
    assert_eq!(ends.len(), 15, "each row lies in two or three buckets");
}

#[test]
fn a_bucket_without_a_start_ends_with_the_input() {
    let mut operator = Shape::Final.operator(5);
    let mut rows = rows_of(&[(1, 3, 1), (1, 3, 2)]);
    let starts: TimestampMillisecondArray = [None, Some(0)].into_iter().collect();
    let mut columns = rows.columns().to_vec();
    columns[1] = Arc::new(starts.with_timezone("Asia/Shanghai"));
    rows = RecordBatch::try_new(input_schema(), columns).unwrap();
    let first = operator.process(&[ChangeBatch::stream(rows, vec![0, 1])], &epoch(0, 1_000_000, true)).unwrap();
    assert_eq!((first.changes.len(), operator.next_timer()), (1, Some(i64::MAX)));
    assert_eq!(operator.process(&[], &epoch(1_000_000, i64::MAX, true)).unwrap().changes.len(), 1);
    assert_eq!(operator.state_size().rows, 0);
}

#[test]
fn a_final_group_needs_a_bucket() {
    let spec = Shape::WithoutBucket.operator(0).spec.clone();
    assert!(WindowAggregate::new(WindowAggregateSpec { emit_final: true, ..spec }).is_err());
}

#[test]
fn a_table_keeps_the_rows_of_closed_buckets_over_a_restore() {
    let mut operator = Shape::Changes.operator(0);
    let row = |t, seed| ChangeBatch::stream(rows_of(&[(1, t, seed)]), vec![0]);
    operator.process(&[row(1, 1)], &epoch(0, 10, true)).unwrap();
    operator.process(&[row(11, 2)], &epoch(10, 11, true)).unwrap();
    let delta = operator.take_delta().unwrap().unwrap();
    let mut restored = Shape::Changes.operator(0);
    restored.restore(&delta).unwrap();
    assert_eq!(contents(&restored), contents(&operator));
    assert_eq!(contents(&restored).map(|rows| rows.len()), Some(2));
}

#[test]
fn closed_buckets_of_a_table_are_forgotten_for_good() {
    let mut operator = Shape::Changes.operator(0);
    let row = |t, seed| ChangeBatch::stream(rows_of(&[(1, t, seed)]), vec![0]);
    let mut table = ZSet::new();
    for (t, before, after) in [(1, 0, 0), (11, 0, 10), (21, 10, 11)] {
        add_net(&mut table, &operator.process(&[row(t, 1)], &epoch(before, after, true)).unwrap().changes);
    }
    assert_eq!((operator.oldest(), operator.next_timer()), (Some(9), Some(20)));
    assert!(operator.forget_before(9).unwrap().is_none(), "the bucket ends at 10");
    let mut deltas = vec![operator.take_delta().unwrap().unwrap()];
    let gone = operator.forget_before(20).unwrap().unwrap();
    assert_eq!((gone.len(), operator.oldest()), (2, Some(29)));
    add_net(&mut table, &gone);
    deltas.push(operator.take_delta().unwrap().unwrap());
    assert_eq!(contents(&operator).map(|rows| rows.len()), Some(1));
    let mut restored = Shape::Changes.operator(0);
    deltas.iter().for_each(|delta| restored.restore(delta).unwrap());
    assert_eq!(contents(&restored), contents(&operator));
    assert_eq!(table.len(), 1);
    assert_eq!(operator.state_size().rows, 1);
    // It stays closed: what comes for it is late.
    assert_eq!(operator.process(&[row(5, 1)], &epoch(20, 20, true)).unwrap().late, [0]);
}

/// `cargo test --release --lib speed -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn speed_of_final_hours_with_1000_keys() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, false),
        Field::new("start", timestamp(), false),
        Field::new("i", DataType::Int64, true),
    ]));
    let output = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, false),
        Field::new("start", timestamp(), false),
        Field::new("n", DataType::Int64, true),
        Field::new("sum", DataType::Int64, true),
        Field::new("max", DataType::Int64, true),
    ]));
    let call = |function, argument| AggregateCall { function, argument, distinct: false, filter: None };
    let mut operator = WindowAggregate::new(WindowAggregateSpec {
        n_keys: 2,
        bucket: Some(hourly(3_600_000)),
        allowed_lateness_ms: 0,
        aggregates: vec![
            call(AggregateFunction::Count, None),
            call(AggregateFunction::Sum, Some(2)),
            call(AggregateFunction::Max, Some(2)),
        ],
        emit_final: true,
        input: schema.clone(),
        schema: output,
    })
    .unwrap();
    let batches: Vec<ChangeBatch> = (0..10i64)
        .map(|n| {
            let ids = (0..100_000i64).map(|i| n * 100_000 + i);
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(ids.clone().map(|i| format!("device-{:04}", i * 7919 % 1000)))),
                Arc::new(
                    TimestampMillisecondArray::from_iter_values(ids.clone().map(|i| i / 50_000 * 3_600_000))
                        .with_timezone("Asia/Shanghai"),
                ),
                Arc::new(Int64Array::from_iter_values(ids)),
            ];
            ChangeBatch::stream(RecordBatch::try_new(schema.clone(), columns).unwrap(), (0..100_000).collect())
        })
        .collect();
    let start = cpu_seconds();
    let (mut n_out, mut state) = (0, BTreeMap::new());
    for (n, batch) in (0i64..).zip(&batches) {
        let hours = |n: i64| n * 2 * 3_600_000 - 1;
        n_out +=
            operator.process(std::slice::from_ref(batch), &epoch(hours(n), hours(n + 1), true)).unwrap().changes.len();
        operator.take_delta().unwrap();
        state.insert(n, operator.state_size());
    }
    let rate = 1.0 / (cpu_seconds() - start);
    println!("window_aggregate: {rate:.2} M rows/s, {n_out} out, {:?}", state.last_key_value());
}
