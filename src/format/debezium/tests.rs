//! Envelopes as Debezium and Kafka Connect write them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType,
};
use chrono_tz::Tz;

use crate::format::json::{DecodeColumn, DecodeSpec, Decoded, Wire};
use crate::format::{DecoderSource, EpochUnit, Format, FormatSpec, RecordDecoder, RecordEncoder};
use crate::stream::{RecordBatchBytes, RecordMeta};

fn columns(fields: &[(&str, DataType, bool)]) -> Vec<DecodeColumn> {
    let column = |(name, data_type, not_null): &(&str, DataType, bool)| DecodeColumn {
        name: (*name).into(),
        data_type: data_type.clone(),
        not_null: *not_null,
        private: false,
    };
    fields.iter().map(column).collect()
}

fn decode(fields: &[(&str, DataType, bool)], spec: &FormatSpec, records: &[(Option<&str>, Option<&str>)]) -> Decoded {
    let decode = DecodeSpec {
        columns: columns(fields),
        key: vec![0],
        is_table: true,
        event_time: None,
        max_future_ms: None,
        wire: Wire::Kafka,
    };
    let source = DecoderSource { relation: "r".into(), format: spec, declared: Vec::new(), registry: None };
    let mut raw = RecordBatchBytes::default();
    for (idx, (key, value)) in records.iter().enumerate() {
        let (offset, sequence) = (idx as i64, idx as u64);
        let meta = RecordMeta { partition: 0, offset, timestamp_ms: None, sequence, key: None, value: None };
        raw.push(meta, key.map(str::as_bytes), value.map(str::as_bytes));
    }
    RecordDecoder::new(decode, &source).unwrap().decode(&raw).unwrap()
}

fn plain(records: &[(Option<&str>, Option<&str>)]) -> Decoded {
    let fields = [("id", DataType::Int64, true), ("name", DataType::Utf8, false), ("n", DataType::Int64, true)];
    decode(&fields, &FormatSpec::new(Format::DebeziumJson), records)
}

fn shown(decoded: &Decoded) -> Vec<String> {
    let ids = decoded.rows.column(0).as_primitive::<Int64Type>();
    let names = decoded.rows.column(1).as_string::<i32>();
    let name = |row: usize| if names.is_null(row) { "-" } else { names.value(row) };
    (0..ids.len()).map(|row| format!("{:+} {} {}", decoded.weights[row], ids.value(row), name(row))).collect()
}

#[test]
fn a_row_is_read_created_updated_and_deleted_and_the_tombstone_deletes_once_more() {
    let key = Some(r#"{"id":1}"#);
    let decoded = plain(&[
        (key, Some(r#"{"before":null,"after":{"id":1,"name":"a","n":1},"source":{"db":"x"},"op":"r","ts_ms":1}"#)),
        (key, Some(r#"{"op":"u","before":{"id":1,"name":"a","n":1},"after":{"id":1,"name":"b","n":2,"more":[{}]}}"#)),
        (key, Some(r#"{"before":{"id":1,"name":"b","n":2},"after":null,"op":"d","ts_ms":1}"#)),
        (key, None),
        (Some(r#"{"id":2}"#), Some(r#"{"after":{"id":2,"name":null,"n":3},"op":"c"}"#)),
        // A database tells of a deleted row no more than its key, and not always that.
        (Some(r#"{"id":2}"#), Some(r#"{"before":null,"after":null,"op":"d"}"#)),
    ]);
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    assert_eq!(shown(&decoded), ["+1 1 a", "+1 1 b", "-1 1 -", "-1 1 -", "+1 2 -", "-1 2 -"]);
}

#[test]
fn schema_and_payload_may_be_wrapped_around_values_and_keys() {
    let schema = r#""schema":{"type":"struct","fields":[]}"#;
    let key = format!(r#"{{{schema},"payload":{{"id":7}}}}"#);
    let value = format!(r#"{{{schema},"payload":{{"before":null,"after":{{"id":7,"name":"a","n":1}},"op":"c"}}}}"#);
    let decoded = plain(&[
        (Some(&key), Some(&value)),
        (Some(r#"{"id":7}"#), Some(&value)),
        (Some(&key), None),
        // A key of one column may be wrapped by itself.
        (Some(r#"{"schema":{"type":"int64"},"payload":7}"#), None),
        (Some(r#"{"id":8}"#), Some(&value)),
    ]);
    assert_eq!(shown(&decoded), ["+1 7 a", "+1 7 a", "-1 7 -", "-1 7 -"]);
    assert_eq!(decoded.rejected[0].reason, "the Kafka key disagrees with column `id`");
}

#[test]
fn what_is_no_change_of_a_row_is_rejected_with_its_reason() {
    let key = Some(r#"{"id":1}"#);
    let decoded = plain(&[
        (key, Some(r#"{"op":"t","after":null}"#)),
        (key, Some(r#"{"id":1,"name":"a","n":1}"#)),
        (key, Some(r#"{"op":"c","after":null}"#)),
        (key, Some(r#"{"op":"x","after":{"id":1}}"#)),
        (key, Some(r#"{"op":"c","after":[1]}"#)),
        (key, Some(r#"{"op":"c","after":{"id":1,"name":"a"}}"#)),
        (key, Some("{\"op\":")),
        (None, Some(r#"{"op":"c","after":{"id":1,"name":"a","n":1}}"#)),
        (Some("1"), None),
    ]);
    let reasons: Vec<&str> = decoded.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "a TRUNCATE of the table, which tells no keys: delete the rows, or load the table anew",
            "not an envelope of Debezium: it has no `op`",
            "the envelope has no row in `after`",
            "`op` is \"x\", which is not one of c, u, r and d",
            "`after` is an array, not a row",
            "column `n` is NOT NULL, but the record has no value for it",
            "invalid JSON at byte 6: expected a value",
            "the record of a table has no Kafka key",
            "the Kafka key cannot be read: not a JSON object",
        ]
    );
}

#[test]
fn a_value_that_was_not_handed_over_is_taken_from_before_or_refused() {
    let key = Some(r#"{"id":1}"#);
    let unavailable = "__debezium_unavailable_value";
    let update =
        |before: &str| format!(r#"{{"op":"u","before":{before},"after":{{"id":1,"name":"{unavailable}","n":2}}}}"#);
    let (full, key_only, none) = (
        update(r#"{"id":1,"name":"long","n":1}"#),
        update(&format!(r#"{{"id":1,"name":"{unavailable}"}}"#)),
        update("null"),
    );
    let decoded = plain(&[(key, Some(&full)), (key, Some(&key_only)), (key, Some(&none))]);
    assert_eq!(shown(&decoded), ["+1 1 long"]);
    assert!(decoded.rejected.iter().all(|r| r.reason.contains("REPLICA IDENTITY FULL")), "{:?}", decoded.rejected);
    assert_eq!(decoded.rejected.len(), 2);
}

#[test]
fn times_and_decimals_are_read_as_the_schema_says() {
    let zone: Arc<str> = "UTC".into();
    let fields = [
        ("id", DataType::Int64, true),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, Some(zone)), false),
        ("local", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        ("day", DataType::Date32, false),
        ("price", DataType::Decimal128(10, 2), false),
    ];
    let schema = r#"{"type":"struct","fields":[{"field":"op","type":"string"},{"field":"after","type":"struct","fields":[
        {"field":"id","type":"int64"},
        {"field":"at","type":"int64","name":"io.debezium.time.MicroTimestamp"},
        {"field":"local","type":"int64","name":"io.debezium.time.Timestamp"},
        {"field":"day","type":"int32","name":"io.debezium.time.Date"},
        {"field":"price","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"3"}}]}]}"#;
    // 0xCF5C is -12452.
    let row = r#"{"id":1,"at":1700000000123456,"local":1700000000123,"day":19675,"price":"z1w="}"#;
    let wrapped = format!(r#"{{"schema":{schema},"payload":{{"op":"c","after":{row}}}}}"#);
    let text = r#"{"op":"c","after":{"id":1,"at":"2023-11-14T22:13:20.123456Z","local":null,"day":"2023-11-14","price":"-12.452"}}"#;
    let number = r#"{"op":"c","after":{"id":1,"at":1700000000123456,"price":-12.452}}"#;
    let key = Some(r#"{"id":1}"#);
    let spec = FormatSpec::new(Format::DebeziumJson);
    let decoded = decode(&fields, &spec, &[(key, Some(&wrapped)), (key, Some(text)), (key, Some(number))]);
    let at = decoded.rows.column(1).as_primitive::<TimestampMillisecondType>();
    assert_eq!((at.value(0), at.value(1)), (1_700_000_000_123, 1_700_000_000_123));
    assert_eq!(decoded.rows.column(2).as_primitive::<TimestampMillisecondType>().value(0), 1_700_000_000_123);
    let day = decoded.rows.column(3).as_primitive::<arrow::datatypes::Date32Type>();
    assert_eq!((day.value(0), day.value(1)), (19_675, 19_675));
    let price = decoded.rows.column(4).as_primitive::<Decimal128Type>();
    assert_eq!((price.value(0), price.value(1)), (-1245, -1245), "rounded to the column's scale");
    assert_eq!(decoded.rejected.len(), 1, "nobody says what the number counts");
    assert!(decoded.rejected[0].reason.contains("`epoch_unit`"), "{:?}", decoded.rejected);
    let spec = FormatSpec { epoch_unit: Some(EpochUnit::Microseconds), ..spec };
    let decoded = decode(&fields, &spec, &[(key, Some(number))]);
    assert_eq!(decoded.rows.column(1).as_primitive::<TimestampMillisecondType>().value(0), 1_700_000_000_123);
}

#[test]
fn a_row_that_is_gone_is_told_before_its_tombstone() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)]));
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let rows = RecordBatch::try_new(schema.clone(), vec![ids.clone()]).unwrap();
    let spec = FormatSpec::new(Format::DebeziumJson);
    let encoder = RecordEncoder::new(&schema, &[0], Tz::UTC, "t", &spec).unwrap();
    assert!(encoder.writes_deletions());
    let written = encoder.encode(&rows, |row| row == 1).unwrap();
    let written: Vec<&str> = written.iter().map(|row| std::str::from_utf8(row).unwrap()).collect();
    assert_eq!(
        written,
        [r#"{"before":null,"after":{"id":"a"},"op":"c"}"#, r#"{"before":{"id":"b"},"after":null,"op":"d"}"#]
    );
    let keys = encoder.keys(&[ids], 2).unwrap();
    assert_eq!(keys.value(0), br#"{"id":"a"}"#);
}
