//! Schemas of writers against declared columns, and data that were put together by hand.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int32Array, StringArray, TimestampMillisecondArray, new_empty_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float64Type, Int32Type, Int64Type, Schema, TimeUnit,
    TimestampMillisecondType,
};

use super::AvroEncoder;

use crate::format::json::{DecodeColumn, DecodeSpec, Decoded, Wire};
use crate::format::{
    DecoderSource, Format, FormatSpec, RecordDecoder, RegisteredSchema, SchemaLanguage, SchemaRegistry,
};
use crate::stream::{RecordBatchBytes, RecordMeta};

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Reads data, each with its schema, into columns; a name that ends in `!` is never null.
fn read(columns: &[(&str, DataType)], data: &[(&str, &[u8])], spec: &FormatSpec) -> Decoded {
    let columns = columns.iter().map(|(name, data_type)| DecodeColumn {
        name: name.trim_end_matches('!').to_owned(),
        data_type: data_type.clone(),
        not_null: name.ends_with('!'),
        private: false,
    });
    let decode = DecodeSpec {
        columns: columns.collect(),
        key: Vec::new(),
        is_table: false,
        event_time: None,
        max_future_ms: None,
        wire: Wire::Kafka,
    };
    let schema = |(idx, (text, _)): (usize, &(&str, &[u8]))| {
        let text = (*text).to_owned();
        (idx as u32 + 1, RegisteredSchema { language: SchemaLanguage::Avro, text, references: Vec::new() })
    };
    let registry = Some(Arc::new(SchemaRegistry::of_schemas(data.iter().enumerate().map(schema))));
    let source = DecoderSource { relation: "r".into(), format: spec, declared: Vec::new(), registry };
    let mut raw = RecordBatchBytes::default();
    for (idx, (_, datum)) in data.iter().enumerate() {
        let (offset, sequence) = (idx as i64, idx as u64);
        let meta = RecordMeta { partition: 0, offset, timestamp_ms: None, sequence, key: None, value: None };
        let header = [&[0_u8][..], &(idx as u32 + 1).to_be_bytes()].concat();
        raw.push(meta, None, Some(&[&header, *datum].concat()));
    }
    RecordDecoder::new(decode, &source).unwrap().decode(&raw).unwrap()
}

fn confluent() -> FormatSpec {
    FormatSpec::new(Format::AvroConfluent)
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","namespace":"n","fields":[{fields}]}}"#)
}

#[test]
fn fields_are_found_by_name_whatever_the_order_and_beside_others() {
    let first = record(r#"{"name":"a","type":"string"},{"name":"b","type":["null","int"],"default":null}"#);
    let widened = record(
        r#"{"name":"more","type":{"type":"array","items":{"type":"map","values":"R2"}},"doc":"d"},
           {"name":"b","type":["long","null"]},{"name":"a","type":"string"}"#,
    )
    .replace(
        "\"R2\"",
        r#"{"type":"record","name":"R2","fields":[{"name":"x","type":["null","R2"]},{"name":"y","type":"double"}]}"#,
    );
    let renamed = record(r#"{"name":"new_a","aliases":["a"],"type":"string"},{"name":"b","type":"int"}"#);
    // One block of one map of one entry, `k`, of which the inner record holds none.
    let widened_datum = [&[2, 2, 2, b'k', 0][..], &1.5_f64.to_le_bytes(), &[0, 0, 0, 14, 4, b'h', b'i']].concat();
    let data: [(&str, &[u8]); 3] = [(&first, &[2, b'x', 2, 6]), (&widened, &widened_datum), (&renamed, &[2, b'z', 4])];
    let decoded = read(&[("a!", DataType::Utf8), ("b", DataType::Int32)], &data, &confluent());
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let (a, b) = (decoded.rows.column(0).as_string::<i32>(), decoded.rows.column(1).as_primitive::<Int32Type>());
    let rows: Vec<(&str, i32)> = (0..3).map(|row| (a.value(row), b.value(row))).collect();
    assert_eq!(rows, [("x", 3), ("hi", 7), ("z", 2)]);
}

#[test]
fn a_schema_without_a_column_is_null_or_refused_and_never_null_where_that_is_excluded() {
    let without = record(r#"{"name":"a","type":"string"}"#);
    let data: [(&str, &[u8]); 1] = [(&without, &[2, b'x'])];
    let decoded = read(&[("a", DataType::Utf8), ("gone", DataType::Int64)], &data, &confluent());
    assert!(decoded.rejected.is_empty() && decoded.rows.column(1).is_null(0));
    let decoded = read(&[("a", DataType::Utf8), ("gone!", DataType::Int64)], &data, &confluent());
    assert_eq!(decoded.rejected[0].reason, "schema 1: column `gone` is NOT NULL, but the schema has no such field");
    let strict = FormatSpec { rejects_missing: true, ..confluent() };
    let decoded = read(&[("a", DataType::Utf8), ("gone", DataType::Int64)], &data, &strict);
    assert!(decoded.rejected[0].reason.contains("`missing_columns` is 'reject'"), "{:?}", decoded.rejected);
}

#[test]
fn types_that_do_not_fit_are_refused_for_the_schema_and_values_one_by_one() {
    let text = record(r#"{"name":"n","type":"string"}"#);
    let long = record(r#"{"name":"n","type":"long"}"#);
    let either = record(r#"{"name":"n","type":["null","string","int"]}"#);
    let large: [u8; 5] = [0x80, 0x80, 0x80, 0x80, 0x10];
    let data: [(&str, &[u8]); 7] = [
        (&text, &[2, b'x']),
        (&long, &[2]),
        (&long, &large),
        (&either, &[4, 8]),
        (&either, &[2, 2, b'x']),
        (&either, &[6]),
        (&long, &[2, 2]),
    ];
    let decoded = read(&[("n", DataType::Int32)], &data, &confluent());
    let n = decoded.rows.column(0).as_primitive::<Int32Type>();
    assert_eq!((n.values().to_vec(), decoded.record.clone()), (vec![1, 4], vec![1, 3]));
    let reasons: Vec<&str> = decoded.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "schema 1: column `n`: the schema has string, which cannot be read as INT",
            "column `n`: a number that is not within -2147483648 and 2147483647, as the column's type is",
            "column `n`: the schema has string, which cannot be read as INT",
            "column `n`: a branch that the union does not have",
            "1 bytes are left behind the datum; it was written with another schema",
        ]
    );
}

#[test]
fn logical_types_are_read_into_their_sql_types() {
    let zone_free = DataType::Timestamp(TimeUnit::Millisecond, None);
    let schema = record(
        r#"{"name":"ms","type":{"type":"long","logicalType":"timestamp-millis"}},
           {"name":"us","type":{"type":"long","logicalType":"timestamp-micros"}},
           {"name":"local","type":{"type":"long","logicalType":"local-timestamp-micros"}},
           {"name":"debezium","type":["null",{"type":"long","connect.version":1,"connect.name":"io.debezium.time.MicroTimestamp"}]},
           {"name":"text","type":{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}},
           {"name":"day","type":{"type":"int","logicalType":"date"}},
           {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":5,"scale":3}},
           {"name":"fixed","type":{"type":"fixed","name":"F","size":2,"logicalType":"decimal","precision":4,"scale":2}},
           {"name":"kind","type":{"type":"enum","name":"K","symbols":["A","B"]}},
           {"name":"uuid","type":{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}},
           {"name":"labels","type":{"type":"map","values":"int"}},
           {"name":"ratio","type":"float"},{"name":"count","type":"int"}"#,
    );
    let mut datum = Vec::new();
    // 100 ms, -1500 us, 2500 us, branch 1 with 3999 us.
    datum.extend([200, 1]);
    datum.extend([0xb7, 0x17]);
    datum.extend([0x88, 0x27]);
    datum.extend([2, 0xbe, 0x3e]);
    datum.push(40);
    datum.extend_from_slice(b"2024-02-29T00:00:00Z");
    datum.extend([20]);
    datum.extend([4, 0xfb, 0x2e]);
    datum.extend([0, 100]);
    datum.push(2);
    datum.extend(0..16);
    datum.extend([1, 6, 2, b'k', 6, 0]);
    datum.extend_from_slice(&0.5_f32.to_le_bytes());
    datum.push(6);
    let entries = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Int64, true)].into(),
    );
    let columns = [
        ("ms", instant()),
        ("us", instant()),
        ("local", zone_free),
        ("debezium", instant()),
        ("text", instant()),
        ("day", DataType::Date32),
        ("price", DataType::Decimal128(10, 2)),
        ("fixed", DataType::Decimal128(10, 2)),
        ("kind", DataType::Utf8),
        ("uuid", DataType::Utf8),
        ("labels", DataType::List(Arc::new(Field::new_list_field(entries, true)))),
        ("ratio", DataType::Float64),
        ("count", DataType::Decimal128(6, 1)),
    ];
    let decoded = read(&columns, &[(&schema, &datum)], &confluent());
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let at = |idx: usize| decoded.rows.column(idx).as_primitive::<TimestampMillisecondType>().value(0);
    assert_eq!([at(0), at(1), at(2), at(3)], [100, -2, 2, 3], "cut to milliseconds");
    assert_eq!(at(4), 1_709_164_800_000);
    assert_eq!(decoded.rows.column(5).as_primitive::<Date32Type>().value(0), 10);
    let decimal = |idx: usize| decoded.rows.column(idx).as_primitive::<Decimal128Type>().value(0);
    assert_eq!([decimal(6), decimal(7), decimal(12)], [-123, 100, 30], "-1.234, 1.00 and 3");
    assert_eq!(decoded.rows.column(8).as_string::<i32>().value(0), "B");
    assert_eq!(decoded.rows.column(9).as_string::<i32>().value(0), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    let entry = decoded.rows.column(10).as_list::<i32>().value(0);
    assert_eq!(entry.as_struct().column(0).as_string::<i32>().value(0), "k");
    assert_eq!(entry.as_struct().column(1).as_primitive::<Int64Type>().value(0), 3);
    assert_eq!(decoded.rows.column(11).as_primitive::<Float64Type>().value(0), 0.5);
}

#[test]
fn data_that_promise_more_than_they_have_end_soon() {
    let nulls = record(r#"{"name":"x","type":{"type":"array","items":"null"}}"#);
    let texts = record(r#"{"name":"x","type":{"type":"array","items":"string"}},{"name":"n","type":"int"}"#);
    let own = record(r#"{"name":"x","type":["null","n.R"]},{"name":"n","type":"int"}"#);
    let many = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let deep = [2; 10_000];
    let data: [(&str, &[u8]); 5] =
        [(&nulls, &many), (&texts, &many), (&own, &deep), (&own, &[0xff; 12]), ("not json", &[0])];
    let decoded = read(&[("n", DataType::Int64)], &data, &confluent());
    let reasons: Vec<&str> = decoded.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons[..3], ["too many elements", "the datum ends early", "nested deeper than 100 levels"]);
    assert_eq!(reasons[3], "a number of more than 64 bits");
    assert!(reasons[4].starts_with("schema 5: the schema is not JSON"), "{}", reasons[4]);
}

/// The writer of Arrow's own project.
#[test]
fn data_of_another_writer_are_read() {
    use arrow_avro::schema::{AvroSchema, FingerprintStrategy};
    use arrow_avro::writer::WriterBuilder;
    use arrow_avro::writer::format::AvroSoeFormat;

    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    let schema = arrow::datatypes::Schema::new(vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("whole", DataType::Int32, false),
        Field::new("at", instant(), true),
        Field::new("day", DataType::Date32, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("list", list.clone(), true),
        Field::new("real", DataType::Float64, true),
        Field::new("flag", DataType::Boolean, true),
    ]);
    let mut tags = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    tags.append_value([Some("a"), None, Some("")]);
    tags.append_null();
    tags.append_value([] as [Option<&str>; 0]);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(arrow::array::StringArray::from(vec![Some("x"), None, Some("\u{754c}")])),
        Arc::new(arrow::array::Int32Array::from(vec![i32::MIN, 0, i32::MAX])),
        Arc::new(arrow::array::TimestampMillisecondArray::from(vec![Some(-1), None, Some(1)]).with_timezone("UTC")),
        Arc::new(arrow::array::Date32Array::from(vec![Some(-1), None, Some(20_000)])),
        Arc::new(
            arrow::array::Decimal128Array::from(vec![Some(-1), None, Some(9_999_999_999)])
                .with_data_type(DataType::Decimal128(10, 2)),
        ),
        Arc::new(tags.finish()),
        Arc::new(arrow::array::Float64Array::from(vec![Some(1.5), None, Some(-0.0)])),
        Arc::new(arrow::array::BooleanArray::from(vec![Some(true), None, Some(false)])),
    ];
    let rows = arrow::array::RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap();
    let text = AvroSchema::try_from(&schema).unwrap().json_string;
    let builder = WriterBuilder::new(schema.clone()).with_fingerprint_strategy(FingerprintStrategy::Id(1));
    let mut encoder = builder.build_encoder::<AvroSoeFormat>().unwrap();
    encoder.encode(&rows).unwrap();
    let written = encoder.flush();
    let data: Vec<Vec<u8>> = (0..written.len()).map(|row| written.row(row).unwrap()[5..].to_vec()).collect();
    let data: Vec<(&str, &[u8])> = data.iter().map(|datum| (text.as_str(), datum.as_slice())).collect();
    let names: Vec<(&str, DataType)> =
        schema.fields().iter().map(|f| (f.name().as_str(), f.data_type().clone())).collect();
    let decoded = read(&names, &data, &confluent());
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    assert_eq!(decoded.rows.columns(), rows.columns());
}

#[test]
fn rows_are_written_by_the_schema_of_a_file() {
    let fields = vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("n", DataType::Int32, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("at", instant(), false),
    ];
    let text = record(
        r#"{"name":"moment","aliases":["at"],"type":{"type":"long","logicalType":"timestamp-micros"}},
           {"name":"kind","type":{"type":"enum","name":"K","symbols":["A","B"]},"default":"B"},
           {"name":"price","type":["null",{"type":"fixed","name":"P","size":6,"logicalType":"decimal","precision":12,"scale":3}]},
           {"name":"tags","type":{"type":"array","items":"int"},"default":[1,-1]},
           {"name":"gone","type":["null","string"],"default":null},
           {"name":"n","type":["double","null"]}, {"name":"id","type":"string"}"#,
    );
    let encoder = AvroEncoder::of_file(&Arc::new(Schema::new(fields)), text.as_bytes()).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a", ""])),
        Arc::new(Int32Array::from(vec![Some(2), None])),
        Arc::new(Decimal128Array::from(vec![None, Some(-105)]).with_precision_and_scale(10, 2).unwrap()),
        Arc::new(TimestampMillisecondArray::from(vec![1, -1]).with_timezone("UTC")),
    ];
    let encoded = encoder.encode(&columns, 2, None).unwrap();
    let rows: Vec<&[u8]> = encoded.iter().collect();
    let first: [&[u8]; 7] =
        [&[0xd0, 0x0f], &[2], &[0], &[4, 2, 1, 0], &[0], &[0, 0, 0, 0, 0, 0, 0, 0, 0x40], &[2, b'a']];
    assert_eq!(rows[0], first.concat());
    let second: [&[u8]; 7] =
        [&[0xcf, 0x0f], &[2], &[2, 0xff, 0xff, 0xff, 0xff, 0xfb, 0xe6], &[4, 2, 1, 0], &[0], &[2], &[0]];
    assert_eq!(rows[1], second.concat());
}

#[test]
fn a_schema_that_does_not_hold_every_row_is_refused() {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let cases: [(DataType, bool, &str, &str); 14] = [
        (DataType::Int64, true, r#""long""#, "never is"),
        (DataType::Int64, false, r#""int""#, "every value of type Int64"),
        (DataType::Int64, false, r#"["null","int"]"#, "every value of type Int64"),
        (DataType::Int32, false, r#"["null","long"]"#, ""),
        (DataType::Float64, false, r#""float""#, "every value of type Float64"),
        (DataType::Float32, false, r#""float""#, ""),
        (DataType::Utf8, false, r#"{"type":"enum","name":"E","symbols":["A"]}"#, "an enum"),
        (
            DataType::Decimal128(10, 2),
            false,
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
            "decimal",
        ),
        (
            DataType::Decimal128(10, 2),
            false,
            r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":1}"#,
            "decimal",
        ),
        (
            DataType::Decimal128(10, 2),
            false,
            r#"{"type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":10,"scale":2}"#,
            "decimal",
        ),
        (instant(), false, r#"{"type":"long","logicalType":"local-timestamp-millis"}"#, "local timestamp"),
        (instant(), false, r#"{"type":"long","logicalType":"timestamp-nanos"}"#, "timestamp"),
        (list.clone(), false, r#"{"type":"array","items":"long"}"#, "never is"),
        (list, false, r#"{"type":"array","items":["long","null"]}"#, ""),
    ];
    for (data_type, nullable, of_field, reason) in cases {
        let schema = Arc::new(Schema::new(vec![Field::new("x", data_type, nullable)]));
        let text = record(&format!(r#"{{"name":"x","type":{of_field}}}"#));
        match AvroEncoder::of_file(&schema, text.as_bytes()) {
            Ok(encoder) => {
                assert_eq!(reason, "", "{of_field}");
                let empty = new_empty_array(schema.field(0).data_type());
                assert_eq!(encoder.encode(&[empty], 0, Some(1)).unwrap().iter().count(), 0);
            }
            Err(said) => {
                assert!(!reason.is_empty() && said.contains("`x`") && said.contains(reason), "{of_field}: {said}")
            }
        }
    }
    let refused = |columns: &[&str], fields: &str| {
        let columns: Vec<Field> = columns.iter().map(|c| Field::new(*c, DataType::Utf8, false)).collect();
        AvroEncoder::of_file(&Arc::new(Schema::new(columns)), record(fields).as_bytes()).err().unwrap_or_default()
    };
    let x = r#"{"name":"x","type":"string"}"#;
    assert_eq!(refused(&["y"], x), "the schema has no field for column `y`");
    assert!(refused(&["x"], &format!(r#"{x},{{"name":"z","type":"int"}}"#)).contains("no column and no default"));
    assert!(
        refused(&["x"], &format!(r#"{x},{{"name":"z","type":"int","default":"one"}}"#)).contains("not of its type")
    );
    let twice = r#"{"name":"x","aliases":["y"],"type":"string"}"#;
    assert!(refused(&["x", "y"], twice).contains("both are field `x`"));
    // A type that holds itself has no default that ends.
    let endless = r#"{"name":"r","default":{},"type":{"type":"record","name":"E","fields":[{"name":"e","type":"E","default":{}}]}}"#;
    assert!(refused(&["x"], &format!("{x},{endless}")).contains("not of its type"));
    assert!(AvroEncoder::of_file(&Arc::new(Schema::empty()), b"\"string\"").err().unwrap().contains("not a record"));
}
