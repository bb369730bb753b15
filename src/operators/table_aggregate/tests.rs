//! Grouped tables against a naive model, with retractions.

use std::sync::Arc;

use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMillisecondArray, UInt8Array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::*;
use crate::operators::zset_model::{ZSet, add_net, cpu_seconds, epoch, lines};
use crate::operators::{AggregateCall, AggregateFunction};

/// A row: key, and a number from which the other columns follow.
pub type Row = (Option<i64>, u8);

fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("k", DataType::Int64),
        field("i", DataType::Int64),
        field("f", DataType::Float64),
        field("s", DataType::Utf8View),
        field("d", DataType::Decimal128(10, 2)),
        field("t", DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Shanghai".into()))),
        field("b", DataType::Boolean),
        field("p", DataType::Boolean),
        field("u", DataType::UInt8),
        field("day", DataType::Date32),
    ]))
}

fn rows_of(rows: &[Row]) -> RecordBatch {
    let n = |modulus: u8, null: u8| {
        move |(_, seed): &Row| Some(i64::from(seed % modulus)).filter(|v| *v != i64::from(null))
    };
    let text = ["", "a", "b", "a text longer than any inlined view or packed value", "zz"];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(k, _)| *k).collect::<Int64Array>()),
        Arc::new(rows.iter().map(n(5, 3)).map(|v| v.map(|v| v - 2)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(n(7, 0)).map(|v| v.map(|v| v as f64 / 4.0 - 1.0)).collect::<Float64Array>()),
        Arc::new(rows.iter().map(n(6, 5)).map(|v| v.map(|v| text[v as usize])).collect::<StringViewArray>()),
        Arc::new(
            rows.iter()
                .map(n(11, 4))
                .map(|v| v.map(|v| i128::from(v) * 101 - 300))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(10, 2)
                .unwrap(),
        ),
        Arc::new(
            rows.iter()
                .map(n(9, 1))
                .map(|v| v.map(|v| v * 1_000_000_007))
                .collect::<TimestampMillisecondArray>()
                .with_timezone("Asia/Shanghai"),
        ),
        Arc::new(rows.iter().map(n(3, 2)).map(|v| v.map(|v| v == 1)).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(n(4, 3)).map(|v| v.map(|v| v > 0)).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(n(13, 7)).map(|v| v.map(|v| v as u8 * 20)).collect::<UInt8Array>()),
        Arc::new(rows.iter().map(n(8, 6)).map(|v| v.map(|v| v as i32 * 400)).collect::<Date32Array>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Every aggregate as SQL and as the operator's call.
fn aggregates() -> Vec<(&'static str, AggregateCall)> {
    use AggregateFunction::{Avg, BoolAnd, BoolOr, Count, Max, Min, Sum};
    let call = |function, column: &str| AggregateCall {
        function,
        argument: schema().index_of(column).ok(),
        distinct: false,
        filter: None,
    };
    let distinct = |call: AggregateCall| AggregateCall { distinct: true, ..call };
    let filtered = |call: AggregateCall| AggregateCall { filter: Some(7), ..call };
    vec![
        ("count(*)", call(Count, "none")),
        ("count(*) FILTER (WHERE p)", filtered(call(Count, "none"))),
        ("count(i)", call(Count, "i")),
        ("count(DISTINCT i)", distinct(call(Count, "i"))),
        ("count(DISTINCT s) FILTER (WHERE p)", filtered(distinct(call(Count, "s")))),
        ("sum(i)", call(Sum, "i")),
        ("sum(i) FILTER (WHERE p)", filtered(call(Sum, "i"))),
        ("sum(DISTINCT i)", distinct(call(Sum, "i"))),
        ("sum(u)", call(Sum, "u")),
        ("sum(f)", call(Sum, "f")),
        ("sum(d)", call(Sum, "d")),
        ("avg(i)", call(Avg, "i")),
        ("avg(f)", call(Avg, "f")),
        ("avg(d)", call(Avg, "d")),
        ("min(i)", call(Min, "i")),
        ("max(f)", call(Max, "f")),
        ("min(s)", call(Min, "s")),
        ("max(s) FILTER (WHERE p)", filtered(call(Max, "s"))),
        ("max(d)", call(Max, "d")),
        ("min(t)", call(Min, "t")),
        ("max(day)", call(Max, "day")),
        ("min(b)", call(Min, "b")),
        ("min(u)", call(Min, "u")),
        ("bool_and(b)", call(BoolAnd, "b")),
        ("bool_or(b) FILTER (WHERE p)", filtered(call(BoolOr, "b"))),
    ]
}

fn batch_query(rows: &[Row], keys: &str) -> Vec<RecordBatch> {
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    ctx.register_batch("t", rows_of(rows)).unwrap();
    let texts: Vec<&str> = aggregates().iter().map(|(text, _)| *text).collect();
    let grouped = if keys.is_empty() { String::new() } else { format!(" GROUP BY {keys}") };
    let keys = if keys.is_empty() { String::new() } else { format!("{keys}, ") };
    let columns: Vec<String> = texts.iter().enumerate().map(|(i, text)| format!("{text} AS c{i}")).collect();
    let sql = format!("SELECT {keys}{} FROM t{grouped}", columns.join(", "));
    futures::executor::block_on(async { ctx.sql(&sql).await.unwrap().collect().await.unwrap() })
}

fn batch_result(rows: &[Row], keys: &str) -> ZSet {
    batch_query(rows, keys).iter().flat_map(lines).map(|line| (line, 1)).collect()
}

fn operator(n_keys: usize) -> TableAggregate {
    let keys = if n_keys == 0 { "" } else { "k" };
    let schema = batch_query(&[(None, 0)], keys)[0].schema();
    let aggregates = aggregates().into_iter().map(|(_, call)| call).collect();
    TableAggregate::new(TableAggregateSpec { n_keys, aggregates, input: self::schema(), schema }).unwrap()
}

fn changes(rows: &[(Row, i64)]) -> ChangeBatch {
    let (rows, weights): (Vec<Row>, Vec<i64>) = rows.iter().copied().unzip();
    ChangeBatch::table(rows_of(&rows), weights)
}

fn row() -> impl Strategy<Value = Row> {
    (prop::option::weighted(0.8, 0i64..3), any::<u8>())
}

/// Appearances, and disappearances of the row at a place among those that are there.
fn epochs() -> impl Strategy<Value = Vec<Vec<Result<Row, usize>>>> {
    let operation = prop_oneof![3 => row().prop_map(Ok), 2 => any::<usize>().prop_map(Err)];
    prop::collection::vec(prop::collection::vec(operation, 0..12), 1..6)
}

fn check(n_keys: usize, epochs: &[Vec<Result<Row, usize>>]) {
    let keys = if n_keys == 0 { "" } else { "k" };
    let (mut operator, mut live, mut relation) = (operator(n_keys), Vec::new(), ZSet::new());
    for operations in epochs {
        let mut rows = Vec::new();
        for operation in operations {
            match operation {
                Ok(row) => {
                    live.push(*row);
                    rows.push((*row, 1));
                }
                Err(place) if !live.is_empty() => rows.push((live.swap_remove(place % live.len()), -1)),
                Err(_) => {}
            }
        }
        let output = operator.process(&[changes(&rows)], &epoch(0, 0, true)).unwrap();
        add_net(&mut relation, &output.changes);
        assert_eq!(relation, batch_result(&live, keys));
        assert_eq!(operator.state_size().rows, relation.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn equals_batch_after_every_epoch_of_insertions_and_retractions(epochs in epochs()) {
        check(1, &epochs);
    }

    #[test]
    fn equals_batch_without_group_keys(epochs in epochs()) {
        check(0, &epochs);
    }

    #[test]
    fn a_disappearance_may_come_before_its_appearance(
        (kept, shuffled) in (prop::collection::vec(row(), 0..8), prop::collection::vec(row(), 0..8)).prop_flat_map(|(kept, gone)| {
            let mut rows: Vec<(Row, i64)> = kept.iter().map(|r| (*r, 1)).collect();
            rows.extend(gone.iter().flat_map(|r| [(*r, 1), (*r, -1)]));
            (Just(kept), Just(rows).prop_shuffle())
        }),
    ) {
        let (mut operator, mut relation) = (operator(1), ZSet::new());
        for part in shuffled.chunks(2) {
            add_net(&mut relation, &operator.process(&[changes(part)], &epoch(0, 0, true)).unwrap().changes);
        }
        prop_assert_eq!(&relation, &batch_result(&kept, "k"));
        prop_assert_eq!(operator.state_size().rows, relation.len());
    }

    #[test]
    fn float_sums_depend_neither_on_order_nor_on_what_was_retracted(
        (kept, shuffled) in (prop::collection::vec(any::<f64>(), 0..8), prop::collection::vec(any::<f64>(), 0..8)).prop_flat_map(|(kept, gone)| {
            let mut rows: Vec<(f64, i64)> = kept.iter().map(|r| (*r, 1)).collect();
            rows.extend(gone.iter().flat_map(|r| [(*r, 1), (*r, -1)]));
            (Just(kept), Just(rows).prop_shuffle())
        }),
    ) {
        let input = Arc::new(Schema::new(vec![Field::new("f", DataType::Float64, true)]));
        let run = |rows: &[(f64, i64)], at_once: usize| {
            let call = |function| AggregateCall { function, argument: Some(0), distinct: false, filter: None };
            let mut operator = TableAggregate::new(TableAggregateSpec {
                n_keys: 0,
                aggregates: vec![call(AggregateFunction::Sum), call(AggregateFunction::Avg)],
                input: input.clone(),
                schema: Arc::new(Schema::new(vec![Field::new("s", DataType::Float64, true), Field::new("a", DataType::Float64, true)])),
            }).unwrap();
            let mut relation = ZSet::new();
            add_net(&mut relation, &operator.process(&[], &epoch(0, 0, true)).unwrap().changes);
            for part in rows.chunks(at_once) {
                let values = Arc::new(Float64Array::from_iter_values(part.iter().map(|(v, _)| *v)));
                let batch = RecordBatch::try_new(input.clone(), vec![values]).unwrap();
                let changes = ChangeBatch::table(batch, part.iter().map(|(_, w)| *w).collect());
                add_net(&mut relation, &operator.process(&[changes], &epoch(0, 0, true)).unwrap().changes);
            }
            relation
        };
        let plain: Vec<(f64, i64)> = kept.iter().map(|v| (*v, 1)).collect();
        prop_assert_eq!(run(&shuffled, 3), run(&plain, 100));
    }
}

#[test]
fn without_group_keys_a_row_is_there_before_any_input() {
    let mut operator = operator(0);
    let first = operator.process(&[], &epoch(0, 0, false)).unwrap();
    assert_eq!(first.changes.weights.to_vec(), [1]);
    assert_eq!(lines(&first.changes.rows), batch_result(&[], "").into_keys().collect::<Vec<_>>());
    assert!(operator.process(&[], &epoch(0, 0, true)).unwrap().changes.is_empty());
}

#[test]
fn sums_wrap_as_in_batch_and_averages_out_of_range_are_null() {
    let field = |t: &DataType| Arc::new(Schema::new(vec![Field::new("v", t.clone(), true)]));
    let run = |function, values: ArrayRef, output: DataType| {
        let call = AggregateCall { function, argument: Some(0), distinct: false, filter: None };
        let input = field(values.data_type());
        let n = values.len();
        let batch = ChangeBatch::table(RecordBatch::try_new(input.clone(), vec![values]).unwrap(), vec![1; n]);
        let spec = TableAggregateSpec { n_keys: 0, aggregates: vec![call], input, schema: field(&output) };
        let output = TableAggregate::new(spec).unwrap().process(&[batch], &epoch(0, 0, true)).unwrap();
        lines(&output.changes.rows).concat()
    };
    let integers: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
    assert_eq!(run(AggregateFunction::Sum, integers, DataType::Int64), i64::MIN.to_string());
    let most = Decimal128Array::from(vec![10i128.pow(38) - 1]).with_precision_and_scale(38, 0).unwrap();
    assert_eq!(run(AggregateFunction::Avg, Arc::new(most), DataType::Decimal128(38, 4)), "null");
}

/// `cargo test --release --lib speed -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn speed_of_count_sum_and_max_over_100_000_groups() {
    let input: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8View, false),
        Field::new("i", DataType::Int64, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]));
    let call = |function, argument| AggregateCall { function, argument, distinct: false, filter: None };
    let schema = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8View, false),
        Field::new("n", DataType::Int64, true),
        Field::new("sum", DataType::Int64, true),
        Field::new("last", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]));
    let aggregates = vec![
        call(AggregateFunction::Count, None),
        call(AggregateFunction::Sum, Some(1)),
        call(AggregateFunction::Max, Some(2)),
    ];
    let batch = |n: u64, weight: i64| {
        let ids = (0..100_000u64).map(|i| n * 100_000 + i);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from_iter_values(
                ids.clone().map(|i| format!("p{:07}", i.wrapping_mul(2_654_435_761) % 100_000)),
            )),
            Arc::new(Int64Array::from_iter_values(ids.clone().map(|i| i as i64))),
            Arc::new(TimestampMillisecondArray::from_iter_values(
                ids.map(|i| (i.wrapping_mul(40_503) % 1_000_003) as i64),
            )),
        ];
        ChangeBatch::table(RecordBatch::try_new(input.clone(), columns).unwrap(), vec![weight; 100_000])
    };
    let spec = TableAggregateSpec { n_keys: 1, aggregates, input: input.clone(), schema };
    let mut operator = TableAggregate::new(spec).unwrap();
    let (add, retract): (Vec<_>, Vec<_>) =
        ((0..10).map(|n| batch(n, 1)).collect(), (0..9).map(|n| batch(n, -1)).collect());
    for (name, batches) in [("insert", add), ("retract", retract)] {
        let start = cpu_seconds();
        let mut n_out = 0;
        for batch in &batches {
            n_out += operator.process(std::slice::from_ref(batch), &epoch(0, 0, true)).unwrap().changes.len();
        }
        let size = operator.state_size();
        let rate = batches.len() as f64 / 10.0 / (cpu_seconds() - start);
        println!(
            "table_aggregate {name}: {rate:.2} M rows/s, {n_out} out, {} groups of {} B",
            size.rows,
            size.bytes / size.rows
        );
    }
}
