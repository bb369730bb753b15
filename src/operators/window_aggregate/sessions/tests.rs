//! Sessions against a naive model, in any epochs and after any crash.

use arrow::array::{AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use proptest::prelude::*;

use super::super::{Bucket, Window};
use super::*;
use crate::operators::rewritten_log::RewrittenLog;
use crate::operators::zset_model::{ZSet, add, add_net, comparable, epoch};
use crate::operators::{AggregateCall, AggregateFunction, TableAggregate, TableAggregateSpec};

const GAP_MS: i64 = 6;

/// A row: key, event time, and a number from which the arguments follow.
type Row = (u8, i64, u8);

fn input_schema() -> SchemaRef {
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Shanghai".into()));
    Arc::new(Schema::new(vec![
        Field::new("at", timestamp, true),
        Field::new("k", DataType::Utf8, true),
        Field::new("i", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("p", DataType::Boolean, true),
    ]))
}

/// The rows with an instant of their own each, or with that of their session.
fn rows_at(rows: &[(i64, Row)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            TimestampMillisecondArray::from_iter_values(rows.iter().map(|(at, _)| *at)).with_timezone("Asia/Shanghai"),
        ),
        Arc::new(rows.iter().map(|(_, (k, ..))| (*k > 0).then(|| format!("k{k}"))).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, (.., s))| (s % 4 > 0).then_some(i64::from(s % 4))).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, (.., s))| (s % 7 > 0).then(|| 0.1 * f64::from(*s))).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|(_, (.., s))| (s % 3 > 0).then_some(s % 3 == 1)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(input_schema(), columns).unwrap()
}

fn aggregates() -> Vec<(AggregateCall, DataType)> {
    use AggregateFunction::{Avg, BoolAnd, Count, Max, Sum};
    let call = |function, argument| AggregateCall { function, argument, distinct: false, filter: None };
    vec![
        (call(Count, None), DataType::Int64),
        (AggregateCall { distinct: true, ..call(Count, Some(2)) }, DataType::Int64),
        (AggregateCall { distinct: true, filter: Some(4), ..call(Sum, Some(2)) }, DataType::Int64),
        (call(Sum, Some(3)), DataType::Float64),
        (call(Avg, Some(2)), DataType::Float64),
        (call(Max, Some(3)), DataType::Float64),
        (call(BoolAnd, Some(4)), DataType::Boolean),
    ]
}

fn spec(emit_final: bool, lateness: i64) -> WindowAggregateSpec {
    let fields = input_schema();
    let keys = fields.fields().iter().take(2).map(|f| f.as_ref().clone());
    let outputs = aggregates().into_iter().enumerate().map(|(i, (_, t))| Field::new(format!("c{i}"), t, true));
    WindowAggregateSpec {
        n_keys: 2,
        bucket: Some(Bucket { column: 0, window: Window::Session(Arc::new(|at| at + GAP_MS)) }),
        allowed_lateness_ms: lateness,
        aggregates: aggregates().into_iter().map(|(call, _)| call).collect(),
        emit_final,
        schema: Arc::new(Schema::new(keys.chain(outputs).collect::<Vec<_>>())),
        input: fields.clone(),
    }
}

fn operator(emit_final: bool, lateness: i64) -> SessionAggregate {
    SessionAggregate::new(spec(emit_final, lateness), Arc::new(|at| at + GAP_MS)).unwrap()
}

/// A session of the model.
#[derive(Clone, Debug)]
struct Model {
    key: u8,
    start: i64,
    end: i64,
    rows: Vec<Row>,
}

/// Sessions as the sibling over tables groups their rows in one batch.
fn batch<'a>(sessions: impl Iterator<Item = &'a Model>) -> ZSet {
    let rows: Vec<(i64, Row)> = sessions.flat_map(|s| s.rows.iter().map(|row| (s.start, *row))).collect();
    let mut table = ZSet::new();
    if rows.is_empty() {
        return table;
    }
    let WindowAggregateSpec { n_keys, aggregates, input, schema, .. } = spec(true, 0);
    let spec = TableAggregateSpec { n_keys, aggregates, input, schema };
    let input = ChangeBatch::table(rows_at(&rows), vec![1; rows.len()]);
    add(&mut table, &TableAggregate::new(spec).unwrap().process(&[input], &epoch(0, 0, true)).unwrap().changes);
    table
}

/// Takes an epoch's rows in by comparing everything with everything; returns which are late.
fn take_in(open: &mut Vec<Model>, rows: &[Row], is_closed: impl Fn(i64) -> bool) -> Vec<usize> {
    let mut fresh: Vec<Model> = Vec::new();
    for (key, at, seed) in rows.iter().filter(|(_, at, _)| !is_closed(at + GAP_MS)) {
        fresh.push(Model { key: *key, start: *at, end: at + GAP_MS, rows: vec![(*key, *at, *seed)] });
    }
    let (waiting, mut all): (Vec<Model>, Vec<Model>) = open.drain(..).partition(|s| is_closed(s.end));
    all.extend(fresh);
    'again: loop {
        for a in 0..all.len() {
            for b in a + 1..all.len() {
                if all[a].key == all[b].key && all[a].start <= all[b].end && all[b].start <= all[a].end {
                    let other = all.remove(b);
                    all[a].start = all[a].start.min(other.start);
                    all[a].end = all[a].end.max(other.end);
                    all[a].rows.extend(other.rows);
                    continue 'again;
                }
            }
        }
        break;
    }
    let mut late = Vec::new();
    for (idx, row) in rows.iter().enumerate().filter(|(_, (_, at, _))| is_closed(at + GAP_MS)) {
        match all.iter_mut().find(|s| s.key == row.0 && s.start <= row.1 && row.1 <= s.end) {
            Some(session) => session.rows.push(*row),
            None => late.push(idx),
        }
    }
    open.extend(waiting);
    open.extend(all);
    late
}

#[derive(Clone, Debug)]
struct Epoch {
    rows: Vec<Row>,
    progress: i64,
    crash: bool,
    deltas_together: bool,
}

fn epochs() -> impl Strategy<Value = (Vec<Epoch>, i64, usize)> {
    let row = (0u8..3, 0i64..70, any::<u8>());
    let epoch = (prop::collection::vec(row, 0..8), prop_oneof![Just(0), 0i64..20], any::<bool>(), any::<bool>())
        .prop_map(|(rows, progress, crash, deltas_together)| Epoch { rows, progress, crash, deltas_together });
    (prop::collection::vec(epoch, 1..14), prop_oneof![Just(0i64), 0i64..10], 0usize..5)
}

fn check(emit_final: bool, epochs: &[Epoch], lateness: i64, slots: usize) {
    let (mut tested, mut twin) = (operator(emit_final, lateness), operator(emit_final, lateness));
    let (mut log, mut open, mut closed, mut relation) =
        (RewrittenLog::new(slots), Vec::<Model>::new(), Vec::<Model>::new(), ZSet::new());
    let mut watermark = -5;
    let mut end = epochs.to_vec();
    end.push(Epoch { rows: Vec::new(), progress: 1_000_000, crash: false, deltas_together: false });
    for (idx, e) in end.iter().enumerate() {
        let after = watermark + e.progress;
        let first = 1000 * idx as u64;
        let late = take_in(&mut open, &e.rows, |end| end + lateness <= watermark);
        let late: Vec<u64> = late.into_iter().map(|row| first + row as u64).collect();
        let rows: Vec<(i64, Row)> = e.rows.iter().map(|row| (row.1, *row)).collect();
        let input = ChangeBatch::stream(rows_at(&rows), (first..first + rows.len() as u64).collect());
        let output = tested.process(std::slice::from_ref(&input), &epoch(watermark, after, true)).unwrap();
        let same = twin.process(&[input], &epoch(watermark, after, true)).unwrap();
        let sorted = |output: &Output| {
            let mut seen = comparable(output);
            // A table's changes have no order.
            seen.0.sort_by_key(|(line, weight)| if emit_final { (String::new(), 0) } else { (line.clone(), *weight) });
            seen
        };
        assert_eq!(sorted(&output), sorted(&same), "the crashed one and its twin");
        assert_eq!(output.late, late);
        let (due, rest): (Vec<Model>, Vec<Model>) = open.drain(..).partition(|s| s.end + lateness <= after);
        open = rest;
        if emit_final {
            let mut rows = ZSet::new();
            add(&mut rows, &output.changes);
            assert_eq!(rows, batch(due.iter()));
        } else {
            closed.extend(due);
            add_net(&mut relation, &output.changes);
            assert_eq!(relation, batch(open.iter().chain(&closed)));
            let mut held = ZSet::new();
            tested.contents(0).unwrap().iter().for_each(|rows| add(&mut held, rows));
            assert_eq!(held, relation);
        }
        let n_kept = open.len() + if emit_final { 0 } else { closed.len() };
        assert_eq!(tested.state_size().rows, n_kept);
        assert_eq!(tested.next_timer(), open.iter().map(|s| s.end + lateness).min());
        if !e.deltas_together {
            log.append(&mut tested);
            twin.take_delta().unwrap();
            if e.crash {
                tested = operator(emit_final, lateness);
                log.restore(&mut tested);
            }
        }
        watermark = after;
    }
    assert_eq!((tested.keys.len(), tested.open.len()), (0, 0), "no key stays without a session");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn final_sessions_equal_the_model((epochs, lateness, slots) in epochs()) {
        check(true, &epochs, lateness, slots);
    }

    #[test]
    fn changing_sessions_equal_the_model((epochs, lateness, slots) in epochs()) {
        check(false, &epochs, lateness, slots);
    }
}

fn take(operator: &mut SessionAggregate, rows: &[Row], before: i64, after: i64) -> Output {
    let rows: Vec<(i64, Row)> = rows.iter().map(|row| (row.1, *row)).collect();
    let input = ChangeBatch::stream(rows_at(&rows), (0..rows.len() as u64).collect());
    operator.process(&[input], &epoch(before, after, true)).unwrap()
}

#[test]
fn a_row_that_bridges_two_sessions_makes_them_one() {
    let mut operator = operator(true, 0);
    take(&mut operator, &[(1, 0, 1), (1, 11, 1)], 0, 0);
    assert_eq!(operator.state_size().rows, 2);
    let row = take(&mut operator, &[(1, 6, 2)], 0, 17).changes;
    assert_eq!((row.len(), operator.state_size().rows), (1, 0), "eleven is within six of five, and six of nought");
    assert_eq!(row.rows.column(2).as_primitive::<arrow::datatypes::Int64Type>().value(0), 3);
}

#[test]
fn a_row_without_an_instant_lies_in_no_session() {
    let mut operator = operator(true, 0);
    let mut rows = rows_at(&[(1, (1, 1, 1))]);
    let mut columns = rows.columns().to_vec();
    columns[0] = arrow::array::new_null_array(columns[0].data_type(), 1);
    rows = RecordBatch::try_new(input_schema(), columns).unwrap();
    let output = operator.process(&[ChangeBatch::stream(rows, vec![0])], &epoch(0, i64::MAX, true)).unwrap();
    assert!(output.changes.is_empty() && output.late.is_empty());
}

#[test]
fn closed_sessions_of_a_table_are_forgotten_for_good() {
    let mut operator = operator(false, 0);
    take(&mut operator, &[(1, 0, 1), (2, 30, 1)], 0, 10);
    assert_eq!((operator.oldest(), operator.next_timer()), (Some(5), Some(36)));
    let mut log = vec![operator.take_delta().unwrap().unwrap()];
    assert!(operator.forget_before(5).unwrap().is_none(), "it ends at six");
    assert_eq!(operator.forget_before(20).unwrap().unwrap().len(), 1);
    log.push(operator.take_delta().unwrap().unwrap());
    let mut restored = super::tests::operator(false, 0);
    log.iter().for_each(|delta| restored.restore(delta).unwrap());
    assert_eq!((restored.state_size().rows, restored.oldest()), (1, Some(35)));
    assert_eq!(take(&mut restored, &[(1, 3, 1)], 20, 20).late, [0]);
}
