//! Encoding: what is written is read back as it was.

use super::*;
use crate::format::json::{DecodeColumn, DecodeSpec, Decoder, Wire};
use crate::stream::{RecordBatchBytes, RecordMeta, encode_key};
use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int64Array, ListArray,
    StringArray, StringViewArray, StructArray, TimestampMillisecondArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Fields, Int32Type, Schema};
use proptest::prelude::*;
use serde_json::json;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, c)| c).collect()).unwrap()
}

fn text_of(rows: &RecordBatch) -> Vec<String> {
    let encoded = Encoder::new(rows.schema(), Tz::Asia__Shanghai).unwrap().encode(rows).unwrap();
    encoded.iter().map(|r| String::from_utf8(r.to_vec()).unwrap()).collect()
}

fn instants(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(values).with_timezone("Asia/Shanghai"))
}

#[test]
fn every_column_is_written_in_order_and_nulls_are_not_left_out() {
    let rows = batch(vec![
        ("id", Arc::new(StringArray::from(vec![Some("a\"b\\\u{1}\n京"), None]))),
        ("at", instants(vec![Some(1_714_521_600_000), None])),
        ("day", Arc::new(Date32Array::from(vec![Some(19_844), None]))),
        ("x", Arc::new(Float64Array::from(vec![0.1, f64::NAN]))),
        ("n", Arc::new(Int64Array::from(vec![i64::MIN, 7]))),
        ("price", Arc::new(Decimal128Array::from(vec![1250, -5]).with_precision_and_scale(10, 2).unwrap())),
        ("tags", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]))),
    ]);
    assert_eq!(
        text_of(&rows),
        [
            "{\"id\":\"a\\\"b\\\\\\u0001\\n京\",\"at\":\"2024-05-01T08:00:00.000+08:00\",\"day\":\"2024-05-01\",\"x\":0.1,\
             \"n\":-9223372036854775808,\"price\":12.50,\"tags\":[1,null]}",
            "{\"id\":null,\"at\":null,\"day\":null,\"x\":null,\"n\":7,\"price\":-0.05,\"tags\":null}",
        ]
    );
}

#[test]
fn an_instant_that_rfc_3339_cannot_express_is_null() {
    let rows = batch(vec![("at", instants(vec![Some(i64::MAX), Some(253_402_300_799_999), Some(-1)]))]);
    assert_eq!(
        text_of(&rows),
        ["{\"at\":null}", "{\"at\":\"9999-12-31T23:59:59.999+00:00\"}", "{\"at\":\"1970-01-01T07:59:59.999+08:00\"}"]
    );
}

#[test]
fn a_type_without_json_form_is_refused_at_once() {
    let schema = Schema::new(vec![Field::new("b", DataType::Binary, true)]);
    assert_eq!(Encoder::new(Arc::new(schema), Tz::UTC).unwrap_err(), UnsupportedType(DataType::Binary));
}

#[test]
fn keys_are_written_as_the_wire_wants_them() {
    let ids: ArrayRef = Arc::new(StringArray::from(vec![Some("p\"1\""), None]));
    let at = instants(vec![Some(1_714_521_600_000), None]);
    let n: ArrayRef = Arc::new(Int64Array::from(vec![3, 4]));
    let encoder = Encoder::new(Arc::new(Schema::empty()), Tz::Asia__Shanghai).unwrap();
    let text = |columns: &[&ArrayRef]| {
        let columns: Vec<ArrayRef> = columns.iter().map(|c| (*c).clone()).collect();
        let keys = encoder.key_text(&columns).unwrap();
        keys.iter().map(|k| k.map(|k| String::from_utf8(k.to_vec()).unwrap())).collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(text(&[&ids]), [some("p\"1\""), None]);
    assert_eq!(text(&[&at]), [some("2024-05-01T08:00:00.000+08:00"), None]);
    assert_eq!(text(&[&ids, &n]), [some("[\"p\\\"1\\\"\",3]"), some("[null,4]")]);
    assert_eq!(text(&[&n])[0].as_deref().map(str::as_bytes), Some(encode_key(&[json!(3)]).as_slice()));
    assert_eq!(text(&[&ids])[0].as_deref().map(str::as_bytes), Some(encode_key(&[json!("p\"1\"")]).as_slice()));
    let both = encode_key(&[json!("p\"1\""), json!(3)]);
    assert_eq!(text(&[&ids, &n])[0].as_deref().map(str::as_bytes), Some(both.as_slice()));
}

#[test]
fn a_tombstone_line_holds_the_key_columns_only() {
    let rows = batch(vec![
        ("a", Arc::new(Int64Array::from(vec![1]))),
        ("b", Arc::new(Int64Array::from(vec![2]))),
        ("c", Arc::new(StringViewArray::from(vec!["x"]))),
    ]);
    let encoder = Encoder::new(rows.schema(), Tz::UTC).unwrap();
    let lines = encoder.tombstone_lines(&rows, &[2, 0]).unwrap();
    assert_eq!(lines.iter().collect::<Vec<_>>(), [b"{\"_tombstone\":true,\"c\":\"x\",\"a\":1}"]);
}

type Row = (
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<f64>,
    Option<f32>,
    (Option<bool>, Option<i8>, Option<u64>, Option<i64>),
    Option<i32>,
    Option<i128>,
    Option<Vec<Option<String>>>,
    Option<(Option<i64>, String)>,
);

fn row() -> impl Strategy<Value = Row> {
    use proptest::option::of;
    let text = || prop_oneof!["\\PC{0,20}", any::<String>()];
    let instant = -62_167_219_200_000..253_402_300_799_999_i64;
    (
        of(text()),
        of(text()),
        of(instant.clone()),
        of(prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO),
        of(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL),
        (any::<Option<bool>>(), any::<Option<i8>>(), any::<Option<u64>>(), any::<Option<i64>>()),
        of(-719_528..2_932_896_i32),
        of(-9_999_999_999_999_999_999_i128..9_999_999_999_999_999_999),
        of(prop::collection::vec(of(text()), 0..4)),
        of((of(instant), text())),
    )
}

fn rows_of(rows: &[Row]) -> RecordBatch {
    let tags: Vec<&Option<Vec<Option<String>>>> = rows.iter().map(|r| &r.8).collect();
    let offsets = OffsetBuffer::from_lengths(tags.iter().map(|t| t.as_ref().map_or(0, Vec::len)));
    let elements: StringArray = tags.iter().flat_map(|t| t.iter().flatten()).map(|t| t.as_deref()).collect();
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    let tags = ListArray::new(item, offsets, Arc::new(elements), Some(tags.iter().map(|t| t.is_some()).collect()));
    let at = instants(rows.iter().map(|r| r.9.as_ref().and_then(|p| p.0)).collect());
    let name: StringViewArray = rows.iter().map(|r| Some(r.9.as_ref().map_or("", |p| p.1.as_str()))).collect();
    let fields = Fields::from(vec![
        Field::new("at", at.data_type().clone(), true),
        Field::new("name", DataType::Utf8View, true),
    ]);
    let nulls: NullBuffer = rows.iter().map(|r| r.9.is_some()).collect();
    let place = StructArray::new(fields, vec![at, Arc::new(name)], Some(nulls));
    batch(vec![
        ("text", Arc::new(rows.iter().map(|r| r.0.as_deref()).collect::<StringArray>())),
        ("view \"\\", Arc::new(rows.iter().map(|r| r.1.as_deref()).collect::<StringViewArray>())),
        ("at", instants(rows.iter().map(|r| r.2).collect())),
        ("local", Arc::new(rows.iter().map(|r| r.2).collect::<TimestampMillisecondArray>())),
        ("double", Arc::new(rows.iter().map(|r| r.3).collect::<Float64Array>())),
        ("real", Arc::new(rows.iter().map(|r| r.4).collect::<Float32Array>())),
        ("ok", Arc::new(rows.iter().map(|r| r.5.0).collect::<BooleanArray>())),
        ("tiny", Arc::new(rows.iter().map(|r| r.5.1).collect::<Int8Array>())),
        ("unsigned", Arc::new(rows.iter().map(|r| r.5.2).collect::<UInt64Array>())),
        ("big", Arc::new(rows.iter().map(|r| r.5.3).collect::<Int64Array>())),
        ("day", Arc::new(rows.iter().map(|r| r.6).collect::<Date32Array>())),
        (
            "price",
            Arc::new(rows.iter().map(|r| r.7).collect::<Decimal128Array>().with_precision_and_scale(20, 3).unwrap()),
        ),
        ("tags", Arc::new(tags)),
        ("place", Arc::new(place)),
    ])
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_rows(rows in prop::collection::vec(row(), 0..8)) {
        let rows = rows_of(&rows);
        let encoder = Encoder::new(rows.schema(), Tz::Asia__Shanghai).unwrap();
        let mut records = RecordBatchBytes::default();
        for record in encoder.encode(&rows).unwrap().iter() {
            serde_json::from_slice::<serde_json::Value>(record).unwrap();
            let meta = RecordMeta { partition: 0, offset: 0, timestamp_ms: None, sequence: 0, key: None, value: None };
            records.push(meta, None, Some(record));
        }
        let columns = rows.schema().fields().iter().map(|f| DecodeColumn {
            name: f.name().clone(), data_type: f.data_type().clone(), not_null: false, private: false,
        }).collect();
        let spec = DecodeSpec {
            columns, key: vec![], is_table: false, event_time: None, max_future_ms: None, wire: Wire::Lines,
        };
        let decoded = Decoder::new(spec).unwrap().decode(&records).unwrap();
        prop_assert_eq!(decoded.rejected, vec![]);
        prop_assert_eq!(decoded.rows, rows);
    }

    #[test]
    fn a_table_accepts_the_keys_that_are_written_for_its_rows(rows in prop::collection::vec(row(), 1..8), key in 0..12_usize, second in 0..12_usize) {
        let rows = rows_of(&rows);
        let encoder = Encoder::new(rows.schema(), Tz::America__New_York).unwrap();
        for key in [vec![key], vec![key, second]] {
            let columns: Vec<ArrayRef> = key.iter().map(|k| rows.column(*k).clone()).collect();
            let keys = encoder.key_text(&columns).unwrap();
            let mut records = RecordBatchBytes::default();
            for (row, record) in encoder.encode(&rows).unwrap().iter().enumerate() {
                if columns.iter().all(|c| c.is_valid(row)) {
                    let meta = RecordMeta { partition: 0, offset: 0, timestamp_ms: None, sequence: 0, key: None, value: None };
                    records.push(meta, Some(keys.value(row)), Some(record));
                }
            }
            let columns = rows.schema().fields().iter().map(|f| DecodeColumn {
                name: f.name().clone(), data_type: f.data_type().clone(), not_null: false, private: false,
            }).collect();
            let spec = DecodeSpec { columns, key, is_table: true, event_time: None, max_future_ms: None, wire: Wire::Kafka };
            prop_assert_eq!(Decoder::new(spec).unwrap().decode(&records).unwrap().rejected, vec![]);
        }
    }
}

#[test]
#[ignore = "prints a rate"]
fn rate_of_encoding_actions() {
    let n_rows = 100_000;
    let ids: Vec<String> = (0..n_rows).map(|i| format!("p{i:08}/2024-05/grid_visit/{}", i % 9)).collect();
    let rows = batch(vec![
        ("action_id", Arc::new(StringArray::from(ids.clone()))),
        ("person_id", Arc::new(ids.iter().map(|i| i.get(..9)).collect::<StringViewArray>())),
        ("n", Arc::new((0..n_rows).collect::<Int64Array>())),
        ("at", instants((0..n_rows).map(|i| Some(1_714_521_600_000 + i * 977)).collect())),
        ("score", Arc::new((0..n_rows).map(|i| Some(i as f64 / 7.0)).collect::<Float64Array>())),
        ("ok", Arc::new((0..n_rows).map(|i| Some(i % 2 == 0)).collect::<BooleanArray>())),
    ]);
    let encoder = Encoder::new(rows.schema(), Tz::Asia__Shanghai).unwrap();
    let started = std::time::Instant::now();
    let n_bytes: usize = (0..10).map(|_| encoder.encode(&rows).unwrap().data.len()).sum();
    println!("encode: {:.2} M rows/s ({n_bytes} bytes)", 1.0 / started.elapsed().as_secs_f64());
    let started = std::time::Instant::now();
    (0..10).for_each(|_| drop(encoder.key_text(&[rows.column(0).clone()]).unwrap()));
    println!("keys: {:.2} M rows/s", 1.0 / started.elapsed().as_secs_f64());
}
