//! The scripts of `tests/operators/` with the operators that they run.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};

use super::script::{Input, check, check_any, columns};
use super::{
    AggregateCall, AggregateFunction, Bucket, BucketEdge, BucketEdges, BucketWindow, BucketWindowSpec, Changes,
    ChangesSpec, Deadline, Deduplicate, DeduplicateSpec, FinalRows, FinalRowsSpec, FirstBy, FirstRow, FirstRowSpec,
    FrameBound, FullJoin, IntervalJoin, IntervalJoinSpec, IntervalKind, IntervalSide, JoinKind, KernelStep, KeyText,
    LookupJoin, LookupJoinSpec, Numbering, RunningFrame, RunningFunction, RunningOrder, RunningWindow,
    RunningWindowSpec, TableAggregate, TableAggregateSpec, TableJoin, TableJoinSpec, TemporalFilter,
    TemporalFilterSpec, TopOrder, TopRows, TopRowsSpec, Upsert, UpsertSpec, ValuePlace, Window, WindowAggregateSpec,
    WindowKernel, WindowStep, window_aggregate,
};
use crate::functions::{Hop, Width, Zone};

/// A join of rides (person, number) with visits (person, visitor) by person.
fn by_person(kind: JoinKind) -> TableJoinSpec {
    TableJoinSpec {
        kind,
        n_keys: 1,
        as_of: false,
        null_equals_null: false,
        null_aware: false,
        filter: None,
        left: columns("person text, ride int"),
        right: columns("visitor text"),
        keys: vec![DataType::Utf8],
        schema: columns("person text, ride int, visitor text"),
    }
}

fn rides_and_visits() -> [Input; 2] {
    [
        Input::table("ride", columns("key text, person text, ride int")),
        Input::table("visit", columns("key text, visitor text")),
    ]
}

#[test]
fn inner_join() {
    check("table_join_inner.txt", &rides_and_visits(), || TableJoin::new(by_person(JoinKind::Inner)).unwrap());
}

#[test]
fn left_join() {
    check("table_join_left.txt", &rides_and_visits(), || TableJoin::new(by_person(JoinKind::Left)).unwrap());
}

#[test]
fn full_join() {
    check("table_join_full.txt", &rides_and_visits(), || FullJoin::new(by_person(JoinKind::Full)).unwrap());
}

#[test]
fn join_as_of() {
    let inputs = [
        Input::table("capture", columns("key text, at timestamp, id text")),
        Input::table("identity", columns("key text, since timestamp, person text")),
    ];
    let spec = || TableJoinSpec {
        as_of: true,
        left: columns("id text"),
        right: columns("person text"),
        schema: columns("id text, person text"),
        ..by_person(JoinKind::Left)
    };
    check("table_join_as_of.txt", &inputs, || TableJoin::new(spec()).unwrap());
}

fn calls(functions: &[(AggregateFunction, Option<usize>, bool)]) -> Vec<AggregateCall> {
    let call = |(function, argument, distinct): &(AggregateFunction, Option<usize>, bool)| AggregateCall {
        function: *function,
        argument: *argument,
        distinct: *distinct,
        filter: None,
    };
    functions.iter().map(call).collect()
}

#[test]
fn grouped_table() {
    use AggregateFunction::{Count, Max, Sum};
    let input = columns("town text, n int");
    let spec = || TableAggregateSpec {
        n_keys: 1,
        aggregates: calls(&[
            (Count, None, false),
            (Count, Some(1), true),
            (Sum, Some(1), false),
            (Max, Some(1), false),
        ]),
        input: input.clone(),
        schema: columns("town text, rows int, different int, sum int, max int"),
    };
    check("table_aggregate.txt", &[Input::table("rows", input.clone())], || TableAggregate::new(spec()).unwrap());
}

#[test]
fn whole_table_as_one_group() {
    let input = columns("n int");
    let spec = || TableAggregateSpec {
        n_keys: 0,
        aggregates: calls(&[(AggregateFunction::Count, None, false), (AggregateFunction::Sum, Some(0), false)]),
        input: input.clone(),
        schema: columns("rows int, sum int"),
    };
    check("table_aggregate_whole.txt", &[Input::table("rows", input.clone())], || TableAggregate::new(spec()).unwrap());
}

fn key_text() -> KeyText {
    Arc::new(|keys| Ok(keys[0].as_string::<i32>().iter().map(|k| k.map(str::as_bytes)).collect()))
}

#[test]
fn changes_of_a_table() {
    let input = columns("action text, points int");
    let row = DataType::Struct(input.fields().clone());
    let schema = Arc::new(Schema::new(vec![
        Field::new("before", row.clone(), true),
        Field::new("after", row, true),
        Field::new("revision", DataType::Int64, false),
    ]));
    let spec = || ChangesSpec {
        key: vec![0],
        key_text: key_text(),
        input: input.clone(),
        schema: schema.clone(),
        settle_ms: 0,
        gone_until: None,
    };
    check("changes.txt", &[Input::table("rows", input.clone())], || Changes::new(spec()).unwrap());
}

#[test]
fn rows_of_a_sink() {
    let schema = columns("person text, score int");
    let spec =
        || UpsertSpec { key: vec![0], key_text: key_text(), schema: schema.clone(), settle_ms: 0, gone_until: None };
    check("upsert.txt", &[Input::table("rows", schema.clone())], || Upsert::new(spec()).unwrap());
}

/// Counts and sums by bucket and town.
fn by_town(window: Window, emit_final: bool) -> WindowAggregateSpec {
    WindowAggregateSpec {
        n_keys: 2,
        bucket: Some(Bucket { column: 0, window }),
        allowed_lateness_ms: 0,
        aggregates: calls(&[(AggregateFunction::Count, None, false), (AggregateFunction::Sum, Some(2), false)]),
        emit_final,
        input: columns("start timestamp, town text, n int"),
        schema: columns("start timestamp, town text, rows int, sum int"),
    }
}

fn check_buckets(file: &str, window: Window, emit_final: bool) {
    let inputs = [Input::stream("rows", columns("start timestamp, town text, n int"))];
    check_any(file, &inputs, || window_aggregate(by_town(window.clone(), emit_final)).unwrap());
}

#[test]
fn buckets_of_a_stream() {
    let end: BucketEdge = Arc::new(|start| start + 3_600_000);
    let start: BucketEdge = Arc::new(|instant| instant - instant.rem_euclid(3_600_000));
    check_buckets("window_aggregate.txt", Window::Starts { end, start }, true);
}

#[test]
fn overlapping_buckets_of_a_stream() {
    let width = |unit: &str| Width::of_date_trunc(unit).unwrap();
    let hop = Hop::new(width("hour"), width("day")).unwrap();
    check_buckets("window_aggregate_hop.txt", Window::Panes(hop, Zone::parse("Asia/Shanghai").unwrap()), true);
}

#[test]
fn sessions_of_a_stream() {
    let session = Window::Session(Arc::new(|instant| instant + 600_000));
    check_buckets("window_aggregate_session.txt", session.clone(), true);
    check_buckets("window_aggregate_session_changes.txt", session, false);
}

#[test]
fn final_rows_of_a_table() {
    let input = columns("month timestamp, town text, n int, end timestamp");
    let spec = || FinalRowsSpec {
        key: vec![0, 1],
        start: 0,
        bucket_start: Arc::new(|instant| instant),
        allowed_lateness_ms: 0,
        input: input.clone(),
        schema: columns("month timestamp, town text, n int"),
    };
    check("final_rows.txt", &[Input::table("rows", input.clone())], || FinalRows::new(spec()).unwrap());
}

#[test]
fn repeated_records() {
    let schema = columns("id text, at timestamp");
    let spec = || DeduplicateSpec { key: vec![0], event_time: 1, unique_for_ms: 60_000, schema: schema.clone() };
    check("deduplicate.txt", &[Input::stream("rows", schema.clone())], || Deduplicate::new(spec()).unwrap());
}

/// The hour that starts at the timestamp in a column.
fn hour(column: usize) -> Deadline {
    let start = |at: i64| at.div_euclid(3_600_000) * 3_600_000;
    let edges = BucketEdges { start: Arc::new(start), end: Arc::new(move |at| start(at) + 3_600_000) };
    Deadline { column, bucket: Some(edges), offset_ms: 0, after_ms: 0 }
}

/// The event time in a column.
fn event_time(column: usize) -> Deadline {
    Deadline { column, bucket: None, offset_ms: 0, after_ms: 1 }
}

fn sum_of(column: usize, frame: usize) -> RunningFunction {
    let call = calls(&[(AggregateFunction::Sum, Some(column), false)]).remove(0);
    RunningFunction::Aggregate { call, frame }
}

#[test]
fn rows_in_order_of_event_time() {
    let input = columns("key text, at timestamp, n int, since timestamp");
    let frame = |start, end| RunningFrame { start, end, with_value_in: None };
    let spec = || RunningWindowSpec {
        n_keys: 1,
        bucket: None,
        order: RunningOrder::EventTime { release: event_time(1), columns: vec![(1, SortOptions::new(false, false))] },
        frames: vec![frame(FrameBound::Unbounded, FrameBound::Peers), frame(FrameBound::Range(3), FrameBound::Peers)],
        forget_after_ms: None,
        functions: vec![
            RunningFunction::RowNumber,
            sum_of(2, 0),
            sum_of(2, 1),
            RunningFunction::Value { column: 2, place: ValuePlace::First, frame: 1, default: None },
        ],
        input: input.clone(),
        schema: columns("key text, at timestamp, n int, since timestamp, number uint, sum int, recent int, first int"),
    };
    let inputs = [Input::stream("rows", input.clone())];
    check("running_window_event_time.txt", &inputs, || RunningWindow::new(spec()).unwrap());
}

#[test]
fn rows_that_wait_for_later_ones() {
    let input = columns("key text, at timestamp, n int, until timestamp");
    let frame = |start, end| RunningFrame { start, end, with_value_in: None };
    let call = AggregateCall { function: AggregateFunction::Count, argument: None, distinct: false, filter: None };
    let spec = || RunningWindowSpec {
        n_keys: 1,
        bucket: None,
        order: RunningOrder::EventTime { release: event_time(1), columns: vec![(1, SortOptions::new(false, false))] },
        frames: vec![
            frame(FrameBound::RowsAhead(1), FrameBound::RowsAhead(1)),
            frame(FrameBound::Peers, FrameBound::RangeAhead(3)),
        ],
        forget_after_ms: None,
        functions: vec![
            RunningFunction::Value { column: 2, place: ValuePlace::First, frame: 0, default: None },
            RunningFunction::Aggregate { call: call.clone(), frame: 1 },
        ],
        input: input.clone(),
        schema: columns("key text, at timestamp, n int, until timestamp, next int, rows int"),
    };
    check("running_window_ahead.txt", &[Input::stream("rows", input.clone())], || RunningWindow::new(spec()).unwrap());
}

#[test]
fn rows_in_order_of_arrival() {
    let input = columns("hour timestamp, key text, n int");
    let frame = |start, end| RunningFrame { start, end, with_value_in: None };
    let greatest = calls(&[(AggregateFunction::Max, Some(2), false)]).remove(0);
    let spec = || RunningWindowSpec {
        n_keys: 2,
        bucket: Some(hour(0)),
        order: RunningOrder::Arrival,
        frames: vec![
            frame(FrameBound::Unbounded, FrameBound::Rows(0)),
            frame(FrameBound::Rows(1), FrameBound::Rows(1)),
            frame(FrameBound::Rows(2), FrameBound::Rows(0)),
        ],
        forget_after_ms: None,
        functions: vec![
            RunningFunction::RowNumber,
            sum_of(2, 0),
            RunningFunction::Value { column: 2, place: ValuePlace::First, frame: 1, default: None },
            RunningFunction::Aggregate { call: greatest.clone(), frame: 2 },
        ],
        input: input.clone(),
        schema: columns("hour timestamp, key text, n int, number uint, sum int, before int, greatest int"),
    };
    let inputs = [Input::stream("rows", input.clone())];
    check("running_window_arrival.txt", &inputs, || RunningWindow::new(spec()).unwrap());
}

#[test]
fn rows_of_whole_buckets() {
    let input = columns("hour timestamp, id text, n int");
    let order = vec![(2, SortOptions::new(true, false))];
    let number = Arc::new(Field::new("number", DataType::UInt64, true));
    let spec = || BucketWindowSpec {
        n_keys: 1,
        bucket: hour(0),
        order: order.clone(),
        steps: vec![WindowStep::Kernels(KernelStep {
            partition: vec![0],
            order: order.clone(),
            functions: vec![(WindowKernel::RowNumber, number.clone())],
        })],
        input: input.clone(),
        schema: columns("hour timestamp, id text, n int, number uint"),
    };
    check("bucket_window.txt", &[Input::stream("rows", input.clone())], || BucketWindow::new(spec()).unwrap());
}

#[test]
fn first_rows_of_keys() {
    let by_arrival = columns("key text, hour timestamp, n int");
    let spec = || FirstRowSpec {
        n_keys: 2,
        first: FirstBy::Arrival,
        limit: 1,
        bucket: Some(hour(1)),
        input: by_arrival.clone(),
        schema: columns("key text, hour timestamp, n int, number uint"),
    };
    let inputs = [Input::stream("rows", by_arrival.clone())];
    check("deduplicate_by_arrival.txt", &inputs, || FirstRow::new(spec()).unwrap());

    let by_time = columns("key text, at timestamp, n int");
    let spec = || FirstRowSpec {
        n_keys: 1,
        first: FirstBy::Order { release: event_time(1), columns: vec![(1, SortOptions::new(false, false))] },
        limit: 1,
        bucket: None,
        input: by_time.clone(),
        schema: columns("key text, at timestamp, n int, number uint"),
    };
    let inputs = [Input::stream("rows", by_time.clone())];
    check("deduplicate_by_time.txt", &inputs, || FirstRow::new(spec()).unwrap());
}

#[test]
fn first_rows_as_a_table() {
    let input = columns("key text, at timestamp, n int");
    let spec = || TopRowsSpec {
        n_keys: 1,
        order: TopOrder::Columns(vec![(2, SortOptions::new(true, false))]),
        numbers: vec![(Numbering::RowNumber, Some(2))],
        bucket: None,
        input: input.clone(),
        schema: columns("key text, at timestamp, n int, number uint"),
    };
    check("top_rows.txt", &[Input::stream("rows", input.clone())], || TopRows::new(spec()).unwrap());

    let spec = || TopRowsSpec {
        n_keys: 2,
        order: TopOrder::LatestArrival,
        numbers: vec![(Numbering::RowNumber, Some(1))],
        bucket: Some(hour(1)),
        input: columns("key text, hour timestamp, n int"),
        schema: columns("key text, hour timestamp, n int, number uint"),
    };
    let inputs = [Input::stream("rows", spec().input)];
    check("top_rows_by_arrival.txt", &inputs, || TopRows::new(spec()).unwrap());
}

#[test]
fn stream_with_a_table() {
    let inputs = [
        Input::stream("passage", columns("key text, id text")),
        Input::table("device", columns("key text, town text")),
    ];
    let spec = || LookupJoinSpec {
        join: TableJoinSpec {
            left: columns("id text"),
            right: columns("town text"),
            schema: columns("id text, town text"),
            ..by_person(JoinKind::Left)
        },
        wait: None,
    };
    check("lookup_join.txt", &inputs, || LookupJoin::new(spec()).unwrap());
}

#[test]
fn rows_that_wait_for_an_instant() {
    let schema = columns("due timestamp, id text");
    let spec = || TemporalFilterSpec { time: 0, schema: schema.clone() };
    check("temporal_filter.txt", &[Input::table("rows", schema.clone())], || TemporalFilter::new(spec()).unwrap());
}

#[test]
fn two_streams() {
    let before = "key text, time timestamp, until timestamp, from timestamp";
    let capture = columns(&format!("{before}, captured timestamp, capture text"));
    let notice = columns(&format!("{before}, sent timestamp, notice text"));
    let inputs = [Input::stream("capture", capture.clone()), Input::stream("notice", notice.clone())];
    let side = |input: &arrow::datatypes::SchemaRef| IntervalSide {
        input: input.clone(),
        time_offset_ms: 0,
        until_offsets_ms: vec![0],
        from_offsets_ms: vec![0],
        event_times: vec![(0, 0)],
    };
    let spec = || IntervalJoinSpec {
        kind: IntervalKind::Left,
        n_keys: 1,
        null_equals_null: false,
        filter: None,
        sides: [side(&capture), side(&notice)],
        allowed_lateness_ms: 0,
        schema: columns("captured timestamp, capture text, sent timestamp, notice text"),
    };
    check("interval_join.txt", &inputs, || IntervalJoin::new(spec()).unwrap());
}
