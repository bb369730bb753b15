//! OVER on streams against a naive model, in any epochs and after any crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimeUnit, UInt64Type};
use proptest::prelude::*;

use super::*;
use crate::operators::rewritten_log::RewrittenLog;
use crate::operators::{AggregateCall, AggregateFunction, BucketEdges};

/// key, event time, n, x, lower bound of the event time.
type Row = (u8, i64, Option<i64>, f64);

const WIDTH: i64 = 25;
const BUCKET: i64 = 50;

fn edges() -> BucketEdges {
    let start = |at: i64| at.div_euclid(BUCKET) * BUCKET;
    BucketEdges { start: Arc::new(start), end: Arc::new(move |at| start(at) + BUCKET) }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn input(bucketed: bool) -> SchemaRef {
    let mut fields = vec![Field::new("k", DataType::Utf8, true)];
    if bucketed {
        fields.push(Field::new("bucket", timestamp(), true));
    }
    fields.extend([
        Field::new("at", timestamp(), true),
        Field::new("n", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("from", timestamp(), true),
        Field::new("to", timestamp(), true),
    ]);
    Arc::new(Schema::new(fields))
}

/// Functions over `at`, `n`, `x` and `from`, which begin at column `at`.
fn functions(at: usize, frames: &[RunningFrame]) -> Vec<(RunningFunction, DataType)> {
    let (n, x) = (at + 1, at + 2);
    let mut all = vec![
        (RunningFunction::RowNumber, DataType::UInt64),
        (RunningFunction::Rank, DataType::UInt64),
        (RunningFunction::DenseRank, DataType::UInt64),
    ];
    for (frame, of) in frames.iter().enumerate() {
        let value = |place| {
            let value = RunningFunction::Value { column: n, place, frame, default: None };
            (value, DataType::Int64)
        };
        all.push(value(ValuePlace::First));
        if matches!(of.start, FrameBound::Latest(_)) {
            continue;
        }
        all.extend([value(ValuePlace::Last), value(ValuePlace::Nth(2))]);
        if of.with_value_in.is_some() {
            continue;
        }
        let call = |function, argument, distinct| RunningFunction::Aggregate {
            call: AggregateCall { function, argument, distinct, filter: None },
            frame,
        };
        all.extend([
            (call(AggregateFunction::Count, None, false), DataType::Int64),
            (call(AggregateFunction::Count, Some(n), true), DataType::Int64),
            (call(AggregateFunction::Sum, Some(x), false), DataType::Float64),
            (call(AggregateFunction::Max, Some(n), false), DataType::Int64),
        ]);
    }
    all
}

/// Which frames, and in which order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    /// Frames over event time only, so that partitions are forgotten.
    RangeOnly,
    /// Groups of equal rows, and rows with a value.
    Extended,
    /// Frames that end behind the row.
    Ahead,
    /// The same over event time only.
    RangeAhead,
}

fn frames_of(kind: Kind, n: usize, by_arrival: bool) -> Vec<RunningFrame> {
    use FrameBound::{Groups, GroupsAhead, Latest, Peers, Range, RangeAhead, Rows, RowsAhead, Unbounded};
    let (from, to) = (n + 2, n + 3);
    let frame = |start, end| RunningFrame { start, end, with_value_in: None };
    let with_value = |start, end| RunningFrame { start, end, with_value_in: Some(n) };
    let mut all = match kind {
        Kind::Plain => frames(from),
        Kind::RangeOnly => frames(from).split_off(5),
        Kind::Extended => vec![
            frame(Groups(1), Peers),
            frame(Unbounded, Groups(1)),
            frame(Groups(2), Groups(1)),
            frame(Unbounded, Peers),
            frame(Rows(2), Rows(0)),
            with_value(Unbounded, Rows(0)),
            with_value(Unbounded, Groups(1)),
            with_value(Rows(3), Rows(1)),
            with_value(Latest(2), Rows(1)),
            with_value(Range(from), Peers),
        ],
        Kind::Ahead => vec![
            frame(Rows(1), RowsAhead(1)),
            frame(RowsAhead(1), RowsAhead(1)),
            frame(Unbounded, RowsAhead(2)),
            frame(Unbounded, Rows(0)),
            frame(Unbounded, Peers),
            frame(GroupsAhead(1), GroupsAhead(2)),
            frame(Groups(1), GroupsAhead(1)),
            frame(Range(from), RangeAhead(to)),
            frame(Unbounded, RangeAhead(to)),
            with_value(RowsAhead(1), RowsAhead(3)),
            with_value(Unbounded, Rows(0)),
            with_value(Latest(1), Rows(1)),
        ],
        Kind::RangeAhead => vec![
            frame(Range(from), RangeAhead(to)),
            frame(Peers, RangeAhead(to)),
            frame(RangeAhead(to), RangeAhead(to)),
            with_value(Range(from), RangeAhead(to)),
        ],
    };
    if by_arrival {
        all.retain(|f| !matches!(f.start, Range(_)));
    }
    all
}

fn frames(from: usize) -> Vec<RunningFrame> {
    let frame = |start, end| RunningFrame { start, end, with_value_in: None };
    vec![
        frame(FrameBound::Unbounded, FrameBound::Rows(0)),
        frame(FrameBound::Unbounded, FrameBound::Peers),
        frame(FrameBound::Rows(2), FrameBound::Rows(0)),
        frame(FrameBound::Rows(3), FrameBound::Rows(1)),
        frame(FrameBound::Unbounded, FrameBound::Rows(2)),
        frame(FrameBound::Range(from), FrameBound::Peers),
        frame(FrameBound::Peers, FrameBound::Peers),
    ]
}

fn spec(bucketed: bool, by_arrival: bool, kind: Kind) -> RunningWindowSpec {
    let input = input(bucketed);
    let at = 1 + usize::from(bucketed);
    let frames = frames_of(kind, at + 1, by_arrival);
    let mut functions = functions(at, &frames);
    let range_only = matches!(kind, Kind::RangeOnly | Kind::RangeAhead);
    if range_only {
        functions = functions.split_off(3);
    }
    let outputs = functions.iter().enumerate().map(|(i, (_, t))| Field::new(format!("f{i}"), t.clone(), true));
    let fields: Vec<Field> = input.fields().iter().map(|f| f.as_ref().clone()).chain(outputs).collect();
    let order = if by_arrival {
        RunningOrder::Arrival
    } else {
        RunningOrder::EventTime {
            release: Deadline { column: at, bucket: None, offset_ms: 0, after_ms: 1 },
            columns: vec![(at, SortOptions::new(false, false))],
        }
    };
    RunningWindowSpec {
        n_keys: at,
        bucket: bucketed.then(|| Deadline { column: 1, bucket: Some(edges()), offset_ms: 0, after_ms: 0 }),
        order,
        frames,
        forget_after_ms: range_only.then_some(WIDTH + 1),
        functions: functions.into_iter().map(|(f, _)| f).collect(),
        input,
        schema: Arc::new(Schema::new(fields)),
    }
}

fn batch(spec: &RunningWindowSpec, rows: &[Row], first: u64) -> ChangeBatch {
    let times = |f: &dyn Fn(&Row) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(f(r))).collect::<TimestampMillisecondArray>())
    };
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(rows.iter().map(|r| Some(format!("k{}", r.0))).collect::<StringArray>())];
    if spec.n_keys == 2 {
        columns.push(times(&|r| r.1.div_euclid(BUCKET) * BUCKET));
    }
    columns.push(times(&|r| r.1));
    columns.push(Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>()));
    columns.push(Arc::new(rows.iter().map(|r| Some(r.3)).collect::<Float64Array>()));
    columns.push(times(&|r| r.1 - WIDTH));
    columns.push(times(&|r| r.1 + WIDTH));
    let batch = RecordBatch::try_new(spec.input.clone(), columns).unwrap();
    ChangeBatch::stream(batch, (first..first + rows.len() as u64).collect())
}

/// The value of each function at the last row of `part`, by definition.
fn model(spec: &RunningWindowSpec, part: &[Row], place: usize) -> Vec<String> {
    let by_arrival = matches!(spec.order, RunningOrder::Arrival);
    let row = &part[place];
    let are_peers = |a: usize, b: usize| if by_arrival { a == b } else { part[a].1 == part[b].1 };
    let first_peer = (0..=place).find(|i| are_peers(*i, place)).unwrap();
    let last_peer = (place..part.len()).rev().find(|i| are_peers(*i, place)).unwrap();
    let number = |of: usize| (1..=of).filter(|i| !are_peers(i - 1, *i)).count();
    let frame = |frame: &RunningFrame| -> Vec<&Row> {
        let is_in = |i: &usize| {
            let after_start = match frame.start {
                FrameBound::Unbounded | FrameBound::Latest(_) => true,
                FrameBound::Rows(n) => i + n as usize >= place,
                FrameBound::RowsAhead(n) => *i >= place + n as usize,
                FrameBound::Peers => *i >= first_peer,
                FrameBound::Groups(n) => number(*i) + n as usize >= number(place),
                FrameBound::GroupsAhead(n) => number(*i) >= number(place) + n as usize,
                FrameBound::Range(_) => part[*i].1 >= row.1 - WIDTH,
                FrameBound::RangeAhead(_) => part[*i].1 >= row.1 + WIDTH,
            };
            let before_end = match frame.end {
                FrameBound::Rows(n) => i + n as usize <= place,
                FrameBound::RowsAhead(n) => *i <= place + n as usize,
                FrameBound::Peers => *i <= last_peer,
                FrameBound::Groups(n) => number(*i) + n as usize <= number(place),
                FrameBound::GroupsAhead(n) => number(*i) <= number(place) + n as usize,
                FrameBound::RangeAhead(_) => part[*i].1 <= row.1 + WIDTH,
                FrameBound::Unbounded | FrameBound::Range(_) | FrameBound::Latest(_) => unreachable!(),
            };
            after_start && before_end
        };
        let rows = (0..part.len()).filter(is_in).map(|i| &part[i]);
        let mut rows: Vec<&Row> = rows.filter(|row| frame.with_value_in.is_none() || row.2.is_some()).collect();
        if let FrameBound::Latest(n) = frame.start {
            let n = n as usize;
            rows = if rows.len() < n { Vec::new() } else { rows.split_off(rows.len() - n) };
        }
        rows
    };
    let integer = |n: Option<i64>| n.map_or("null".into(), |n| n.to_string());
    let value = |f: &RunningFunction| match f {
        RunningFunction::RowNumber => (place + 1).to_string(),
        RunningFunction::Rank => (first_peer + 1).to_string(),
        RunningFunction::DenseRank => (0..=first_peer).filter(|i| *i == 0 || !are_peers(i - 1, *i)).count().to_string(),
        RunningFunction::Aggregate { call, frame: idx } => {
            let rows = frame(&spec.frames[*idx]);
            let ns = rows.iter().filter_map(|r| r.2);
            match call.function {
                AggregateFunction::Count if call.argument.is_none() => rows.len().to_string(),
                AggregateFunction::Count => ns.collect::<std::collections::BTreeSet<i64>>().len().to_string(),
                AggregateFunction::Max => integer(ns.max()),
                _ if rows.is_empty() => "null".into(),
                _ => rows.iter().map(|r| r.3).sum::<f64>().to_string(),
            }
        }
        RunningFunction::Value { place, frame: idx, .. } => {
            let rows = frame(&spec.frames[*idx]);
            let row = match place {
                ValuePlace::First => rows.first(),
                ValuePlace::Last => rows.last(),
                ValuePlace::Nth(n) => rows.get(*n as usize - 1),
            };
            integer(row.and_then(|r| r.2))
        }
        RunningFunction::List { .. } => unreachable!(),
    };
    spec.functions.iter().map(value).collect()
}

fn shown(spec: &RunningWindowSpec, changes: &ChangeBatch) -> Vec<String> {
    let cell = |column: &ArrayRef, row: usize| match column.data_type() {
        _ if column.is_null(row) => "null".to_string(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        other => panic!("{other}"),
    };
    let (n_inputs, at) = (spec.input.fields().len(), spec.n_keys);
    let outputs = |row| changes.rows.columns()[n_inputs..].iter().map(|c| cell(c, row)).collect::<Vec<_>>().join(" ");
    let keys = changes.rows.column(0).as_string::<i32>();
    let times = changes.rows.column(at).as_primitive::<arrow::datatypes::TimestampMillisecondType>();
    let line = |row| {
        format!("{} {} {}: {}", keys.value(row), times.value(row), cell(changes.rows.column(at + 1), row), outputs(row))
    };
    (0..changes.len()).map(line).collect()
}

/// What a spec must give for rows that are handled in this order, by partition.
fn expected(spec: &RunningWindowSpec, rows: &[Row]) -> Vec<String> {
    let mut parts: BTreeMap<(u8, i64), Vec<Row>> = BTreeMap::new();
    let key = |r: &Row| (r.0, if spec.bucket.is_some() { r.1.div_euclid(BUCKET) } else { 0 });
    rows.iter().for_each(|r| parts.entry(key(r)).or_default().push(*r));
    let mut seen: BTreeMap<(u8, i64), usize> = BTreeMap::new();
    let line = |r: &Row| {
        let place = seen.entry(key(r)).or_default();
        *place += 1;
        let n = r.2.map_or("null".into(), |n| n.to_string());
        format!("k{} {} {n}: {}", r.0, r.1, model(spec, &parts[&key(r)], *place - 1).join(" "))
    };
    rows.iter().map(line).collect()
}

fn any_row() -> impl Strategy<Value = (u8, i64, Option<i64>, f64)> {
    (0u8..3, 0i64..30, prop::option::weighted(0.8, -3i64..6), (-8i32..8).prop_map(|q| f64::from(q) / 4.0))
}

proptest! {
    #[test]
    fn each_row_sees_its_frames_whatever_the_epochs_and_restarts(
        epochs in prop::collection::vec((prop::collection::vec(any_row(), 0..14), 0i64..30), 1..14),
        kind in prop_oneof![Just(Kind::Plain), Just(Kind::RangeOnly), Just(Kind::Extended), Just(Kind::Ahead), Just(Kind::RangeAhead)],
        partition in 0u8..4,
        restore_at in 0usize..14,
        slots in 0usize..4,
    ) {
        let (bucketed, by_arrival) = match kind {
            Kind::Plain => (partition & 1 == 1, partition & 2 == 2),
            Kind::Extended => (partition & 1 == 1, false),
            _ => (false, false),
        };
        let is_ahead = matches!(kind, Kind::Ahead | Kind::RangeAhead);
        let spec = spec(bucketed, by_arrival, kind);
        let mut reached = i64::MIN;
        let mut operator = RunningWindow::new(spec.clone()).unwrap();
        let mut log = RewrittenLog::new(slots);
        let (mut watermark, mut handled, mut got, mut waiting) = (0, Vec::new(), Vec::new(), Vec::new());
        let n_epochs = epochs.len();
        for (number, (rows, progress)) in epochs.into_iter().enumerate() {
            if number == restore_at {
                operator = RunningWindow::new(spec.clone()).unwrap();
                log.restore(&mut operator);
                operator.restored().unwrap();
                let ctx = EpochContext::new(vec![Watermark(watermark)], vec![Watermark(watermark)], true);
                prop_assert!(number == 0 || by_arrival || operator.watermark(&ctx).0 == reached);
            }
            // Event times lie around the watermark.
            let rows: Vec<Row> = rows.into_iter().map(|r| (r.0, r.1 + watermark - 5, r.2, r.3)).collect();
            let after = if number + 1 == n_epochs { i64::MAX } else { watermark + progress };
            let ctx = EpochContext::new(vec![Watermark(watermark)], vec![Watermark(after)], true);
            let output = operator.process(&[batch(&spec, &rows, 0)], &ctx).unwrap();
            let is_late = |r: &Row| match (by_arrival, bucketed) {
                (true, false) => false,
                (true, true) => r.1.div_euclid(BUCKET) * BUCKET + BUCKET <= watermark,
                (false, _) => r.1 < watermark,
            };
            let late: Vec<u64> = (0..rows.len() as u64).filter(|i| is_late(&rows[*i as usize])).collect();
            prop_assert_eq!(&output.late, &late);
            got.extend(shown(&spec, &output.changes));
            let times = output.changes.rows.column(spec.n_keys).as_primitive::<arrow::datatypes::TimestampMillisecondType>();
            prop_assert!(by_arrival || times.values().iter().all(|time| *time >= reached));
            reached = operator.watermark(&ctx).0;
            let in_time = rows.into_iter().filter(|r| !is_late(r));
            if by_arrival {
                handled.extend(in_time);
            } else {
                waiting.extend(in_time);
                let (mut due, rest): (Vec<Row>, Vec<Row>) = waiting.into_iter().partition(|r: &Row| r.1 < after);
                due.sort_by(|a, b| {
                    let nulls_first = |n: Option<i64>| n.map_or((0, 0), |n| (1, n));
                    (a.1, a.0, nulls_first(a.2)).cmp(&(b.1, b.0, nulls_first(b.2))).then(a.3.total_cmp(&b.3))
                });
                handled.extend(due);
                waiting = rest;
            }
            if kind == Kind::RangeAhead {
                let n_out = handled.iter().filter(|r: &&Row| after == i64::MAX || r.1 + WIDTH < after).count();
                prop_assert_eq!(got.len(), n_out);
            }
            log.append(&mut operator);
            prop_assert!(operator.take_delta().unwrap().is_none());
            watermark = after;
        }
        let mut wanted = expected(&spec, &handled);
        if is_ahead {
            // Partitions wait for different times.
            got.sort();
            wanted.sort();
        }
        prop_assert_eq!(got, wanted);
        if bucketed || matches!(kind, Kind::RangeOnly | Kind::RangeAhead) {
            prop_assert_eq!(operator.state_size().rows, 0);
        }
    }
}

#[test]
fn sliding_frames_drop_what_no_frame_reaches() {
    let spec = spec(false, false, Kind::RangeOnly);
    let mut operator = RunningWindow::new(spec.clone()).unwrap();
    for second in 0..200 {
        let rows: Vec<Row> = (0..10).map(|i| (0, second * 10 + i + 1, Some(i), 0.25)).collect();
        let ctx = EpochContext::new(vec![Watermark(second * 10)], vec![Watermark(second * 10 + 10)], true);
        operator.process(&[batch(&spec, &rows, 0)], &ctx).unwrap();
        operator.take_delta().unwrap();
        assert!(operator.state_size().rows <= 40, "{}", operator.state_size().rows);
    }
}
