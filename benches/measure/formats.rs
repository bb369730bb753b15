//! How many records a second are decoded and encoded in each format, on one core, between memory and memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono_tz::Tz;
use curb::format::json::{DecodeColumn, DecodeSpec, Wire};
use curb::format::{DecoderSource, Format, FormatSpec, RecordDecoder, RecordEncoder, SchemaRegistry};
use curb::stream::{RecordBatchBytes, RecordMeta};

const ZONE: &str = "Asia/Shanghai";
/// Records of a batch, as an epoch under load takes them.
const BATCH: usize = 8_192;
const AVRO: &str = r#"{"type":"record","name":"Capture","fields":[{"name":"capture_id","type":"string"},
  {"name":"device_id","type":"string"},{"name":"plate","type":["null","string"]},
  {"name":"captured_at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"lon","type":["null","double"]},
  {"name":"lat","type":["null","double"]},{"name":"helmet","type":["null","boolean"]},
  {"name":"score","type":["null",{"type":"bytes","logicalType":"decimal","precision":5,"scale":4}]},
  {"name":"image","type":["null","string"]}]}"#;
const PROTOBUF: &str = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto";
message Capture { string capture_id = 1; string device_id = 2; optional string plate = 3;
  google.protobuf.Timestamp captured_at = 4; optional double lon = 5; optional double lat = 6; optional bool helmet = 7;
  optional string score = 8; optional string image = 9; }"#;

/// Measures every format and prints a table: the median of the runs.
pub(crate) fn run(records: usize, runs: usize) -> Result<()> {
    let rows = captures(records)?;
    println!("| format | bytes a record | decoded, records/s | encoded, records/s |\n|---|---|---|---|");
    for (name, format) in Format::ALL {
        let mut spec = FormatSpec::new(format);
        spec.schema = match format {
            Format::Avro => Some(Arc::from(AVRO.as_bytes())),
            Format::Protobuf => Some(Arc::from(PROTOBUF.as_bytes())),
            _ => None,
        };
        let (mut decoded, mut encoded, mut bytes) = (Vec::new(), Vec::new(), 0);
        // The first run warms up and does not count.
        for idx in 0..=runs {
            let one = once(&rows, &spec).map_err(|reason| anyhow!("{name}: {reason}"))?;
            ensure!(one.n_decoded == records, "{name}: {} of {records} records were decoded", one.n_decoded);
            bytes = one.bytes;
            if idx > 0 {
                decoded.push(records as f64 / one.decode_s);
                encoded.push(records as f64 / one.encode_s);
            }
        }
        let (decoded, encoded) = (median(&mut decoded), median(&mut encoded));
        println!("| `{name}` | {} | {:.2} M | {:.2} M |", bytes / records, decoded / 1e6, encoded / 1e6);
    }
    Ok(())
}

struct Once {
    encode_s: f64,
    decode_s: f64,
    n_decoded: usize,
    bytes: usize,
}

/// Encodes and decodes all rows once, keys of a table among them.
fn once(rows: &[RecordBatch], spec: &FormatSpec) -> Result<Once, String> {
    let schema = rows.first().ok_or("no rows")?.schema();
    let registry = Arc::new(SchemaRegistry::of_schemas([]));
    let zone: Tz = ZONE.parse().map_err(|_| "no such zone")?;
    let mut encoder = RecordEncoder::new(&schema, &[0], zone, "captures", spec)?;
    encoder.register(&registry).map_err(|e| e.to_string())?;
    let mut encode_s = 0.0;
    let mut batches = Vec::with_capacity(rows.len());
    for batch in rows {
        let began = Instant::now();
        let values = encoder.encode(batch, |_| false)?;
        let keys = encoder.keys(&[batch.column(0).clone()], batch.num_rows())?;
        encode_s += began.elapsed().as_secs_f64();
        let mut records = RecordBatchBytes::default();
        for (row, value) in values.iter().enumerate() {
            let (offset, sequence) = (row as i64, row as u64);
            let meta = RecordMeta { partition: 0, offset, timestamp_ms: None, sequence, key: None, value: None };
            records.push(meta, Some(keys.value(row)), Some(value));
        }
        batches.push(records);
    }
    let column = |f: &Arc<Field>| DecodeColumn {
        name: f.name().clone(),
        data_type: f.data_type().clone(),
        not_null: !f.is_nullable(),
        private: false,
    };
    let decode = DecodeSpec {
        columns: schema.fields().iter().map(column).collect(),
        key: vec![0],
        is_table: true,
        event_time: None,
        max_future_ms: None,
        wire: Wire::Kafka,
    };
    let declared = schema.fields().iter().map(|f| f.name().clone()).collect();
    let of = DecoderSource { relation: "captures".into(), format: spec, declared, registry: Some(registry.clone()) };
    let mut decoder = RecordDecoder::new(decode, &of)?;
    let (mut n_decoded, mut bytes) = (0, 0);
    let began = Instant::now();
    for batch in &batches {
        let mut ids = BTreeSet::new();
        decoder.schema_ids(batch, &mut ids);
        registry.fetch(&ids).map_err(|e| e.to_string())?;
        n_decoded += decoder.decode(batch).map_err(|e| e.to_string())?.record.len();
    }
    let decode_s = began.elapsed().as_secs_f64();
    for batch in &batches {
        bytes += batch.iter().map(|r| r.value.map_or(0, <[u8]>::len)).sum::<usize>();
    }
    Ok(Once { encode_s, decode_s, n_decoded, bytes })
}

/// Captures as devices send them.
fn captures(records: usize) -> Result<Vec<RecordBatch>> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("capture_id", DataType::Utf8, false),
        Field::new("device_id", DataType::Utf8, false),
        Field::new("plate", DataType::Utf8, true),
        Field::new("captured_at", DataType::Timestamp(TimeUnit::Millisecond, Some(ZONE.into())), false),
        Field::new("lon", DataType::Float64, true),
        Field::new("lat", DataType::Float64, true),
        Field::new("helmet", DataType::Boolean, true),
        Field::new("score", DataType::Decimal128(5, 4), true),
        Field::new("image", DataType::Utf8, true),
    ]));
    let mut batches = Vec::new();
    for first in (0..records).step_by(BATCH) {
        let numbers: Vec<usize> = (first..records.min(first + BATCH)).collect();
        let texts = |text: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
            Arc::new(numbers.iter().map(|n| text(*n)).collect::<StringArray>())
        };
        let degrees = |from: f64| -> ArrayRef {
            Arc::new(numbers.iter().map(|n| Some(from + (n % 10_007) as f64 / 1e5)).collect::<Float64Array>())
        };
        let at = numbers.iter().map(|n| 1_790_000_000_000 + *n as i64 * 37).collect::<Vec<_>>();
        let scores = numbers.iter().map(|n| (n % 10 > 0).then_some((n % 9_999) as i128)).collect::<Decimal128Array>();
        let columns: Vec<ArrayRef> = vec![
            texts(&|n| Some(format!("c-{n:012}"))),
            texts(&|n| Some(format!("330522-cam-{:05}", n % 4_000))),
            texts(&|n| (n % 33 > 0).then(|| format!("浙E{:06}", n % 100_000))),
            Arc::new(TimestampMillisecondArray::from(at).with_timezone(ZONE)),
            degrees(119.9),
            degrees(30.8),
            Arc::new(numbers.iter().map(|n| (n % 50 > 0).then_some(n % 3 > 0)).collect::<BooleanArray>()),
            Arc::new(scores.with_precision_and_scale(5, 4)?),
            texts(&|n| Some(format!("s3://captures/2026/09/{:02}/{n:012}.jpg", n % 30))),
        ];
        batches.push(RecordBatch::try_new(schema.clone(), columns)?);
    }
    Ok(batches)
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}
