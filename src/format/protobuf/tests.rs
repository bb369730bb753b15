//! Descriptions and messages that were put together by hand.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float64Type, Int32Type, Int64Type, Schema, TimeUnit,
    TimestampMillisecondType,
};
use chrono_tz::Tz;
use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};

use crate::format::json::{DecodeColumn, DecodeSpec, Decoded, Wire};
use crate::format::{
    DecoderSource, Format, FormatSpec, RecordDecoder, RecordEncoder, RegisteredSchema, SchemaLanguage, SchemaRegistry,
};
use crate::stream::{RecordBatchBytes, RecordMeta};

const SCHEMA: &str = r#"
syntax = "proto3";
package demo;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/type/date.proto";
import "confluent/type/decimal.proto";
import "other.proto";
enum Colour { NONE = 0; RED = 1; }
message First { string unused = 1; message Nested { int32 n = 3; } }
message Event {
    string id = 1;
    optional int32 maybe = 2;
    int64 plain = 3;
    google.protobuf.Timestamp at = 4;
    Colour colour = 5;
    repeated sint32 numbers = 6;
    map<string, double> weights = 7;
    google.protobuf.StringValue wrapped = 8;
    google.type.Date day = 9;
    confluent.type.Decimal price = 10;
    oneof either { string left = 11; bool right = 12; }
    other.Place place = 13;
    uint64 large = 14;
    string camelCase = 15;
}"#;

const OTHER: &str =
    r#"syntax = "proto3"; package other; message Place { double lon = 1; double lat = 2; repeated Place near = 3; }"#;

fn registry() -> Option<Arc<SchemaRegistry>> {
    let references = vec![("other.proto".to_owned(), OTHER.to_owned())];
    let schema = RegisteredSchema { language: SchemaLanguage::Protobuf, text: SCHEMA.to_owned(), references };
    Some(Arc::new(SchemaRegistry::of_schemas([(7, schema)])))
}

fn read(columns: &[(&str, DataType)], messages: &[Vec<u8>], spec: &FormatSpec) -> Result<Decoded, String> {
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
    let source = DecoderSource { relation: "r".into(), format: spec, declared: Vec::new(), registry: registry() };
    let mut raw = RecordBatchBytes::default();
    for (idx, message) in messages.iter().enumerate() {
        let (offset, sequence) = (idx as i64, idx as u64);
        let meta = RecordMeta { partition: 0, offset, timestamp_ms: None, sequence, key: None, value: None };
        raw.push(meta, None, Some(message));
    }
    Ok(RecordDecoder::new(decode, &source)?.decode(&raw).unwrap())
}

fn confluent(place: &[u8], message: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 7], place, message].concat()
}

/// The place of `Event`: one step, to the second message.
const EVENT: [u8; 2] = [2, 2];

fn spec() -> FormatSpec {
    FormatSpec::new(Format::ProtobufConfluent)
}

#[test]
fn fields_become_columns_with_defaults_and_presence_as_the_language_has_them() {
    let list = |of| DataType::List(Arc::new(Field::new_list_field(of, true)));
    let pair = vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Float64, true)];
    let near = DataType::Struct(vec![Field::new("lat", DataType::Float64, true)].into());
    let place = vec![Field::new("lon", DataType::Float64, true), Field::new("near", list(near), true)];
    let columns = [
        ("id!", DataType::Utf8),
        ("maybe", DataType::Int32),
        ("plain!", DataType::Int64),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("colour", DataType::Utf8),
        ("numbers", list(DataType::Int16)),
        ("weights", list(DataType::Struct(pair.into()))),
        ("wrapped", DataType::Utf8),
        ("day", DataType::Date32),
        ("price", DataType::Decimal128(8, 2)),
        ("right", DataType::Boolean),
        ("place", DataType::Struct(place.into())),
        ("large", DataType::Decimal128(20, 0)),
        ("camelCase", DataType::Utf8),
    ];
    let mut message = Vec::new();
    message.extend([0x0a, 1, b'x']);
    message.extend([0x10, 0]);
    message.extend([0x22, 4, 0x08, 10, 0x10, 1]);
    message.extend([0x28, 1]);
    message.extend([0x32, 2, 1, 4]);
    message.extend([0x3a, 12, 0x0a, 1, b'k', 0x11]);
    message.extend(2.5_f64.to_le_bytes());
    message.extend([0x42, 0]);
    message.extend([0x4a, 7, 0x08, 0xe8, 0x0f, 0x10, 2, 0x18, 29]);
    message.extend([0x52, 6, 0x0a, 2, 0xfb, 0x2e, 0x18, 3]);
    message.extend([0x60, 0]);
    message.extend([0x6a, 13, 0x09]);
    message.extend(1.0_f64.to_le_bytes());
    message.extend([0x1a, 2, 0x1a, 0]);
    message.extend([0x70]);
    message.extend([0xff; 9]);
    message.extend([0x01]);
    let empty = Vec::new();
    let decoded = read(&columns, &[confluent(&EVENT, &message), confluent(&EVENT, &empty)], &spec()).unwrap();
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let column =
        |name: &str| decoded.rows.column(columns.iter().position(|c| c.0.trim_end_matches('!') == name).unwrap());
    let text = |name: &str, row: usize| {
        let column = column(name).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    assert_eq!((text("id", 0), text("id", 1)), (Some("x".into()), Some(String::new())));
    assert_eq!(column("maybe").as_primitive::<Int32Type>().value(0), 0);
    assert!(column("maybe").is_valid(0) && column("maybe").is_null(1));
    assert_eq!(column("plain").as_primitive::<Int64Type>().values()[..], [0, 0]);
    assert_eq!(column("at").as_primitive::<TimestampMillisecondType>().value(0), 10_000, "one nanosecond is cut");
    assert!(column("at").is_null(1));
    assert_eq!((text("colour", 0), text("colour", 1)), (Some("RED".into()), Some("NONE".into())));
    let numbers = column("numbers").as_list::<i32>();
    assert_eq!(numbers.value(0).as_primitive::<arrow::datatypes::Int16Type>().values()[..], [-1, 2]);
    assert!(numbers.is_valid(1) && numbers.value(1).is_empty());
    let weights = column("weights").as_list::<i32>().value(0);
    assert_eq!(weights.as_struct().column(1).as_primitive::<Float64Type>().value(0), 2.5);
    assert_eq!((text("wrapped", 0), text("wrapped", 1)), (Some(String::new()), None));
    assert_eq!(column("day").as_primitive::<Date32Type>().value(0), 19_782);
    assert_eq!(column("price").as_primitive::<Decimal128Type>().value(0), -123);
    assert!(column("right").is_valid(0) && column("right").is_null(1), "of a oneof one is there");
    assert_eq!(column("place").as_struct().column(1).as_list::<i32>().value(0).len(), 1);
    assert!(column("place").is_null(1));
    assert_eq!(column("large").as_primitive::<Decimal128Type>().value(0), i128::from(u64::MAX));
}

#[test]
fn what_cannot_be_read_is_rejected_with_its_reason() {
    let columns = [("id", DataType::Utf8), ("plain", DataType::Int32)];
    let decoded = read(
        &columns,
        &[
            confluent(&EVENT, &[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            confluent(&EVENT, &[0x0a, 2, 0xff, 0xfe]),
            confluent(&EVENT, &[0x0a, 200]),
            confluent(&[2, 40], &[]),
            confluent(&[0xff; 9], &[]),
            vec![0, 0, 0, 0],
            vec![1, 0, 0, 0, 7, 0],
            // The first message, whose only field is another one.
            confluent(&[0], &[0x0a, 1, b'u']),
        ],
        &FormatSpec { message: Some("Event".into()), ..spec() },
    )
    .unwrap();
    let reasons: Vec<&str> = decoded.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons.len(), 8, "{reasons:?}");
    assert_eq!(
        reasons[0],
        "column `plain`: a number that is not within -2147483648 and 2147483647, as the column's type is"
    );
    assert!(
        reasons[1].starts_with("not a message `demo.Event`") && reasons[2].starts_with("not a message `demo.Event`")
    );
    assert_eq!(reasons[3], "the schema has no message at the place that the record tells");
    assert_eq!(reasons[4], "the place of the message in its schema cannot be read");
    assert_eq!(reasons[5], "shorter than the number of a schema in the registry");
    assert_eq!(reasons[6], "it begins with byte 1, not with 0 and the number of a schema in the registry");
    assert_eq!(reasons[7], "schema 7: a message `demo.First`, not `Event`");
    let nested = read(&[("n", DataType::Int32)], &[confluent(&[4, 0, 0], &[0x18, 5])], &spec()).unwrap();
    assert_eq!(nested.rows.column(0).as_primitive::<Int32Type>().value(0), 5, "{:?}", nested.rejected);
}

#[test]
fn a_schema_that_does_not_fit_is_refused_before_anything_is_read() {
    let file = |columns: &[(&str, DataType)], message: &str| {
        let text = SCHEMA.replace("import \"other.proto\";", "").replace("other.Place place = 13;", "");
        let schema = Some(Arc::from(text.into_bytes()));
        let spec = FormatSpec { schema, message: Some(message.to_owned()), ..FormatSpec::new(Format::Protobuf) };
        read(columns, &[vec![0x0a, 1, b'x']], &spec).map(|decoded| decoded.rows.num_rows())
    };
    assert_eq!(file(&[("id", DataType::Utf8), ("gone", DataType::Utf8)], "Event"), Ok(1));
    assert_eq!(
        file(&[("gone!", DataType::Utf8)], "demo.Event"),
        Err("column `gone` is NOT NULL, but message `demo.Event` has no such field".into())
    );
    assert_eq!(
        file(&[("id", DataType::Int64)], "Event"),
        Err("column `id`: the schema has string, which cannot be read as BIGINT".into())
    );
    assert_eq!(file(&[("id", DataType::Utf8)], "Evnt"), Err("the schema has no message `Evnt`".into()));
}

#[test]
fn a_compiled_set_of_descriptors_is_as_good_as_its_text() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("d.proto"), "syntax = \"proto3\"; message D { string id = 1; int64 n = 2; }")
        .unwrap();
    let mut compiler = protox::Compiler::new([dir.path()]).unwrap();
    let bytes = compiler.include_imports(true).open_file("d.proto").unwrap().encode_file_descriptor_set();
    let spec = FormatSpec { schema: Some(Arc::from(bytes)), ..FormatSpec::new(Format::Protobuf) };
    let decoded = read(&[("n", DataType::Int64)], &[vec![0x10, 9]], &spec).unwrap();
    assert_eq!(decoded.rows.column(0).as_primitive::<Int64Type>().value(0), 9);
}

#[test]
fn a_set_of_descriptors_of_another_syntax_is_refused() {
    for syntax in ["editions", ""] {
        let file = FileDescriptorProto {
            name: Some("d.proto".into()),
            package: Some("p".into()),
            syntax: Some(syntax.into()),
            ..FileDescriptorProto::default()
        };
        let bytes = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        let spec = FormatSpec { schema: Some(Arc::from(bytes)), ..FormatSpec::new(Format::Protobuf) };
        let refused = read(&[("n", DataType::Int64)], &[], &spec).unwrap_err();
        assert_eq!(refused, format!("file `d.proto` is written in `{syntax}`; only proto2 and proto3 can be read"));
    }
}

#[test]
fn rows_are_written_as_messages_of_a_description_in_a_file() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("maybe", DataType::Int32, true),
    ]));
    let text = r#"syntax = "proto2"; package p; message A {} message B { message C { required string id = 4; optional sint64 maybe = 2; } }"#;
    let spec = FormatSpec { schema: Some(Arc::from(text.as_bytes())), message: Some("C".into()), ..spec() };
    let mut encoder = RecordEncoder::new(&schema, &[], Tz::UTC, "t", &spec).unwrap();
    let registry = SchemaRegistry::of_schemas([]);
    encoder.register(&registry).unwrap();
    let ids = Arc::new(arrow::array::StringArray::from(vec!["x"]));
    let maybe = Arc::new(arrow::array::Int32Array::from(vec![Some(-1)]));
    let rows = RecordBatch::try_new(schema.clone(), vec![ids, maybe]).unwrap();
    let written = encoder.encode(&rows, |_| false).unwrap();
    // Two steps: the second message, and the first within it.
    assert_eq!(written.iter().next().unwrap(), [0, 0, 0, 0, 1, 4, 2, 0, 0x10, 1, 0x22, 1, b'x']);
    let lacking = Arc::new(Schema::new(vec![Field::new("other", DataType::Utf8, false)]));
    let refused = RecordEncoder::new(&lacking, &[], Tz::UTC, "t", &spec).err().unwrap();
    assert_eq!(refused, "message `p.B.C` has no field for column `other`");
}
