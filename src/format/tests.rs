//! What holds for every format: rows come back as they were written, and no bytes, whatever they are, do harm.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono_tz::Tz;
use fastrand::Rng;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::json::cell::Cell;
use super::json::column::Column;
use super::json::{DecodeColumn, DecodeSpec, Wire};
use super::*;
use crate::stream::{RecordBatchBytes, RecordMeta};

fn types() -> Vec<(&'static str, DataType)> {
    let zone: Arc<str> = "Asia/Shanghai".into();
    let list = |of: DataType| DataType::List(Arc::new(Field::new_list_field(of, true)));
    let row = DataType::Struct(
        vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8, true),
            Field::new("c", list(DataType::Int32), true),
        ]
        .into(),
    );
    vec![
        ("id", DataType::Utf8),
        ("number", DataType::Int64),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, Some(zone))),
        ("flag", DataType::Boolean),
        ("small", DataType::Int16),
        ("whole", DataType::Int32),
        ("big", DataType::Int64),
        ("real", DataType::Float64),
        ("text", DataType::Utf8),
        ("day", DataType::Date32),
        ("local", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("price", DataType::Decimal128(10, 2)),
        ("exact", DataType::Decimal128(38, 10)),
        ("tags", list(DataType::Utf8)),
        ("inner", row),
    ]
}

fn text(rng: &mut Rng) -> String {
    const PARTS: [&str; 12] = ["", "a", "\"", ",", "\n", "\r\n", "界", "\\N", "null", " ", "\u{0}", "0012"];
    (0..rng.usize(0..4)).map(|_| PARTS[rng.usize(0..PARTS.len())]).collect()
}

/// A value of a type. `nulls` says whether one within another may be null.
fn cell(rng: &mut Rng, data_type: &DataType, nulls: bool) -> Cell<'static> {
    let within =
        |rng: &mut Rng, of: &DataType| if nulls && rng.u8(0..4) == 0 { Cell::Null } else { cell(rng, of, nulls) };
    // The years 1 to 9999, which all texts can express.
    let ms = |rng: &mut Rng| rng.i64(-62_135_596_800_000..253_402_214_400_000);
    match data_type {
        DataType::Boolean => Cell::Bool(rng.bool()),
        DataType::Int16 => Cell::Int(rng.i16(..).into()),
        DataType::Int32 => Cell::Int(rng.i32(..).into()),
        DataType::Int64 => Cell::Int(if rng.bool() { rng.i64(..) } else { rng.i64(-2..3) }),
        DataType::Float64 => Cell::Float(if rng.bool() { rng.f64() * 1e9 - 5e8 } else { f64::from(rng.i16(..)) }),
        DataType::Utf8 => Cell::Text(Cow::Owned(text(rng))),
        DataType::Date32 => Cell::Int(ms(rng) / 86_400_000),
        DataType::Timestamp(..) => Cell::Int(ms(rng)),
        DataType::Decimal128(precision, _) => {
            let limit = 10_i128.pow(u32::from(*precision).min(36));
            Cell::Decimal(rng.i128(-limit + 1..limit))
        }
        DataType::List(element) => Cell::List((0..rng.usize(0..4)).map(|_| within(rng, element.data_type())).collect()),
        DataType::Struct(fields) => {
            let lists = |of: &DataType| nulls || !matches!(of, DataType::List(_));
            let member = |f: &Arc<Field>, rng: &mut Rng| match rng.u8(0..4) {
                0 if lists(f.data_type()) => Cell::Null,
                _ => cell(rng, f.data_type(), nulls),
            };
            Cell::Struct(fields.iter().map(|f| member(f, rng)).collect())
        }
        other => panic!("{other}"),
    }
}

/// The schema that follows from columns, with its fields in another order and one more.
fn shuffled(rng: &mut Rng, schema: &Arc<Schema>) -> String {
    let text = super::avro::AvroEncoder::new(schema, "R").unwrap().text;
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = record["fields"].as_array_mut().unwrap();
    fields.push(serde_json::json!({ "name": "beside", "type": ["string", "null"], "default": "x" }));
    rng.shuffle(fields);
    record.to_string()
}

struct Case {
    rows: RecordBatch,
    spec: FormatSpec,
    key: Vec<usize>,
}

impl Case {
    fn new(rng: &mut Rng, format: Format, key_format: KeyFormat) -> Self {
        // Lists of messages are never null, nor are their elements.
        let nulls = !matches!(format, Format::Protobuf | Format::ProtobufConfluent);
        let key: Vec<usize> = (0..rng.usize(1..4)).collect();
        let n_rows = rng.usize(0..20);
        let columns: Vec<(Field, ArrayRef)> = types()
            .into_iter()
            .enumerate()
            .map(|(idx, (name, data_type))| {
                let mut column = Column::new(&data_type, n_rows).unwrap();
                let is_list = matches!(data_type, DataType::List(_));
                for _ in 0..n_rows {
                    let is_null = !key.contains(&idx) && rng.u8(0..4) == 0 && (nulls || !is_list);
                    column.append(if is_null { Cell::Null } else { cell(rng, &data_type, nulls) });
                }
                (Field::new(name, data_type, !key.contains(&idx)), column.finish().unwrap())
            })
            .collect();
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let mut spec = FormatSpec { key: key_format, ..FormatSpec::new(format) };
        if rng.bool() {
            (spec.delimiter, spec.null_literal) = (b'|', Some("\\N".into()));
        }
        let schema = rows.schema();
        let text = match format {
            Format::Protobuf => super::protobuf::ProtobufEncoder::new(&schema, "R", None, None).unwrap().text,
            Format::Avro => Some(shuffled(rng, &schema)),
            Format::AvroConfluent if rng.bool() => Some(shuffled(rng, &schema)),
            _ => None,
        };
        spec.schema = text.map(|text| Arc::from(text.into_bytes()));
        Self { rows, spec, key }
    }

    fn written(&self, registry: &SchemaRegistry) -> RecordBatchBytes {
        let schema = self.rows.schema();
        let mut encoder =
            RecordEncoder::new(&schema, &self.key, Tz::Asia__Shanghai, "the.topic-1", &self.spec).unwrap();
        encoder.register(registry).unwrap();
        assert!(!encoder.needs_registration());
        let values = encoder.encode(&self.rows, |_| false).unwrap();
        let columns: Vec<ArrayRef> = self.key.iter().map(|k| self.rows.column(*k).clone()).collect();
        let keys = encoder.keys(&columns, self.rows.num_rows()).unwrap();
        let mut records = RecordBatchBytes::default();
        for (row, value) in values.iter().enumerate() {
            records.push(meta(row), Some(keys.value(row)), Some(value));
        }
        records
    }

    fn decoder(&self, registry: &Arc<SchemaRegistry>) -> RecordDecoder {
        decoder(&self.rows.schema(), &self.key, true, &self.spec, registry).unwrap()
    }
}

fn meta(row: usize) -> RecordMeta {
    let sequence = row as u64;
    RecordMeta { partition: 0, offset: row as i64, timestamp_ms: None, sequence, key: None, value: None }
}

fn decoder(
    schema: &Schema,
    key: &[usize],
    is_table: bool,
    spec: &FormatSpec,
    registry: &Arc<SchemaRegistry>,
) -> Result<RecordDecoder, String> {
    let column = |f: &Arc<Field>| DecodeColumn {
        name: f.name().clone(),
        data_type: f.data_type().clone(),
        not_null: !f.is_nullable(),
        private: false,
    };
    let decode = DecodeSpec {
        columns: schema.fields().iter().map(column).collect(),
        key: key.to_vec(),
        is_table,
        event_time: None,
        max_future_ms: None,
        wire: Wire::Kafka,
    };
    let declared = schema.fields().iter().map(|f| f.name().clone()).collect();
    RecordDecoder::new(
        decode,
        &DecoderSource { relation: "r".into(), format: spec, declared, registry: Some(registry.clone()) },
    )
}

fn key_formats() -> [KeyFormat; 4] {
    KeyFormat::ALL.map(|(_, key)| key)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn rows_come_back_as_they_were_written(seed in any::<u64>()) {
        let mut rng = Rng::with_seed(seed);
        for (_, format) in Format::ALL {
            for key_format in key_formats() {
                let case = Case::new(&mut rng, format, key_format);
                let registry = Arc::new(SchemaRegistry::of_schemas([]));
                let records = case.written(&registry);
                let decoded = case.decoder(&registry).decode(&records).unwrap();
                prop_assert!(decoded.rejected.is_empty(), "{format:?} {key_format:?}: {:?}", decoded.rejected);
                prop_assert_eq!(decoded.rows.columns(), case.rows.columns(), "{:?} {:?}", format, key_format);
            }
        }
    }

    #[test]
    fn deletions_come_back_by_their_key(seed in any::<u64>()) {
        let mut rng = Rng::with_seed(seed);
        for (_, format) in Format::ALL {
            for key_format in key_formats() {
                let case = Case::new(&mut rng, format, key_format);
                let registry = Arc::new(SchemaRegistry::of_schemas([]));
                let written = case.written(&registry);
                let mut records = RecordBatchBytes::default();
                for (row, record) in written.iter().enumerate() {
                    records.push(meta(row), record.key, None);
                }
                let decoded = case.decoder(&registry).decode(&records).unwrap();
                prop_assert!(decoded.rejected.is_empty(), "{format:?} {key_format:?}: {:?}", decoded.rejected);
                prop_assert!(decoded.weights.iter().all(|w| *w == -1));
                for key in &case.key {
                    prop_assert_eq!(decoded.rows.column(*key), case.rows.column(*key));
                }
            }
        }
    }

    #[test]
    fn whatever_the_bytes_are_every_record_is_counted(seed in any::<u64>()) {
        let mut rng = Rng::with_seed(seed);
        for (_, format) in Format::ALL {
            let writes = if format.needs_schema_file() { Format::AvroConfluent } else { format };
            let key_format = key_formats()[rng.usize(0..4)];
            let case = Case::new(&mut rng, writes, key_format);
            let registry = Arc::new(SchemaRegistry::of_schemas([]));
            let written = case.written(&registry);
            let mut records = RecordBatchBytes::default();
            let mut n = 0;
            for record in written.iter() {
                for _ in 0..8 {
                    let mut damaged = |bytes: Option<&[u8]>| bytes.map(|b| damage(&mut rng, b));
                    let (key, value) = (damaged(record.key), damaged(record.value));
                    records.push(meta(n), key.as_deref(), value.as_deref());
                    n += 1;
                }
            }
            let mut ids = BTreeSet::new();
            let mut spec = FormatSpec { format, ..case.spec.clone() };
            if format.needs_schema_file() {
                let avro = registry.known(1).map(|known| match known {
                    registry::Lookup::Known(schema) => schema.text.clone(),
                    registry::Lookup::Unknown(reason) => panic!("{reason}"),
                });
                let text = if format == Format::Avro { avro.unwrap() } else { PROTO.to_owned() };
                spec.schema = Some(Arc::from(text.into_bytes()));
                spec.message = Some("Row".into());
            }
            let schema = case.rows.schema();
            let mut decoder = decoder(&schema, &case.key, true, &spec, &registry).unwrap();
            decoder.schema_ids(&records, &mut ids);
            registry.fetch(&ids).unwrap();
            let decoded = decoder.decode(&records).unwrap();
            prop_assert_eq!(decoded.record.len() + decoded.rejected.len(), n, "{:?}", format);
            let mut all: Vec<u32> = decoded.rejected.iter().map(|r| r.record).chain(decoded.record).collect();
            all.sort_unstable();
            prop_assert!(all.iter().enumerate().all(|(idx, record)| idx as u32 == *record));
        }
    }
}

const PROTO: &str = r#"syntax = "proto3";
import "google/protobuf/timestamp.proto";
message Inner { optional int64 a = 1; optional string b = 2; repeated int32 c = 3; }
message Row { string id = 1; int64 number = 2; google.protobuf.Timestamp at = 3; map<string, Inner> unread = 4;
              optional bool flag = 5; Inner inner = 6; repeated string tags = 7; }"#;

/// Bytes that were cut, changed, put together anew, or are others altogether.
fn damage(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    match rng.u8(0..6) {
        0 => damaged.truncate(rng.usize(0..=bytes.len())),
        1 => {
            let from = rng.usize(0..=bytes.len());
            damaged = [bytes, &bytes[from..]].concat();
        }
        2 => damaged = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect(),
        3 => {
            // Behind what says which schema it is.
            damaged.truncate(5.min(bytes.len()));
            damaged.extend((0..rng.usize(0..60)).map(|_| rng.u8(..)).collect::<Vec<_>>());
        }
        _ => {
            for _ in 0..rng.usize(1..4) {
                if let Some(idx) = (!damaged.is_empty()).then(|| rng.usize(0..damaged.len())) {
                    damaged[idx] = rng.u8(..);
                }
            }
        }
    }
    damaged
}

#[test]
fn a_row_of_csv_is_quoted_where_it_must_be() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("b", DataType::Float64, true),
        Field::new("c", DataType::Utf8, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(arrow::array::StringArray::from(vec![Some("x;\"y\""), None, Some("")])),
        Arc::new(arrow::array::Float64Array::from(vec![Some(1.5), Some(f64::NAN), None])),
        Arc::new(arrow::array::StringArray::from(vec![Some("a,b"), Some("null"), Some("c\nd")])),
    ];
    let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let spec = FormatSpec { delimiter: b';', ..FormatSpec::new(Format::Csv) };
    let encoder = RecordEncoder::new(&schema, &[], Tz::UTC, "t", &spec).unwrap();
    let written = encoder.encode(&rows, |_| false).unwrap();
    let written: Vec<&str> = written.iter().map(|row| std::str::from_utf8(row).unwrap()).collect();
    assert_eq!(written, ["\"x;\"\"y\"\"\";1.5;a,b", ";;null", "\"\";;\"c\nd\""]);
}
