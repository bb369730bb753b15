//! What is fuzzed: everything that reads bytes of others. Each target takes any bytes and must neither panic nor hang; what it
//! can check beyond that, it checks.

#[path = "sql.rs"]
mod sql;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::datatypes::{DataType, Field, TimeUnit};
use curb::catalog::resolve_all;
use curb::dialect::{Pack, parse, render};
use curb::engine::{DeltaCodec, Phase, Status, StatusBoard};
use curb::format::csv::CsvReader;
use curb::format::json::{DecodeColumn, DecodeSpec, Decoder, Wire};
use curb::format::{
    DecoderSource, Format, FormatSpec, KeyFormat, RecordDecoder, RegisteredSchema, SchemaLanguage, SchemaRegistry,
};
use curb::local::SnapshotDir;
use curb::plan::plan;
use curb::server::{self, AccessOptions, HttpOptions, ServerHandle, TileOptions};
use curb::stream::{Delta, RecordBatchBytes, RecordMeta, RecordReader};
use sha2::{Digest, Sha256};

/// A target by name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("dialect", dialect),
    ("json", json),
    ("key", key),
    ("csv", csv),
    ("formats", formats),
    ("schemas", schemas),
    ("delta", delta),
    ("snapshot", snapshot),
    ("http", http),
    ("sql", sql::ask),
];

/// Sources that statements may refer to.
const SOURCES: &str = "
CREATE STREAM s (id VARCHAR NOT NULL, k VARCHAR, n INT, x DOUBLE, at TIMESTAMP WITH TIME ZONE NOT NULL, l VARCHAR[])
    WITH (topic = 's', format = 'json', event_time = 'at');
CREATE TABLE t (k VARCHAR PRIMARY KEY, n INT, d DATE, name VARCHAR PRIVATE) WITH (topic = 't', format = 'json');
CREATE TABLE v (k VARCHAR, valid_from TIMESTAMP WITH TIME ZONE, o VARCHAR, PRIMARY KEY (k, valid_from))
    WITH (topic = 'v', format = 'json', valid_from = 'valid_from');
";

/// Rules: parsed, resolved, planned; what is wrong is shown, at its place.
fn dialect(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let pack = Pack::from_text("rules.sql", format!("{SOURCES}{text}"));
    let (statements, mut findings) = parse(&pack);
    let (catalog, found) = resolve_all(statements, None);
    findings.extend(found);
    if findings.is_empty()
        && let Err(found) = plan(&catalog)
    {
        findings = found;
    }
    assert!(findings.is_empty() || !render(&findings, &pack).is_empty());
}

fn column(name: &str, data_type: DataType) -> DecodeColumn {
    DecodeColumn { name: name.into(), data_type, not_null: false, private: false }
}

/// Columns of every type that a declaration may have.
fn columns() -> Vec<DecodeColumn> {
    let list = |element| DataType::List(Field::new("item", element, true).into());
    vec![
        column("k", DataType::Utf8View),
        column("n", DataType::Int32),
        column("u", DataType::UInt64),
        column("x", DataType::Float64),
        column("f", DataType::Float32),
        column("b", DataType::Boolean),
        column("d", DataType::Date32),
        column("m", DataType::Decimal128(10, 2)),
        column("at", DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Shanghai".into()))),
        column("local", DataType::Timestamp(TimeUnit::Microsecond, None)),
        column("l", list(DataType::Utf8View)),
        column("s", DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into())),
        column("t", DataType::Utf8View),
    ]
}

fn batch(records: &[(Option<&[u8]>, Option<&[u8]>)]) -> RecordBatchBytes {
    let mut batch = RecordBatchBytes::default();
    for (offset, (key, value)) in records.iter().enumerate() {
        let (offset, sequence) = (offset as i64, offset as u64);
        let meta = RecordMeta { partition: 0, offset, timestamp_ms: Some(0), sequence, key: None, value: None };
        batch.push(meta, *key, *value);
    }
    batch
}

/// Decodes with every declaration that there may be. Every record is a row or rejected with a reason.
fn decode(columns: &[DecodeColumn], key: &[usize], records: &RecordBatchBytes) {
    for wire in [Wire::Kafka, Wire::Lines] {
        for is_table in [true, false] {
            // A source with a private column has all of them taken for private.
            let mut columns = columns.to_vec();
            columns.iter_mut().for_each(|column| column.private = is_table);
            let spec = DecodeSpec {
                event_time: columns.iter().position(|c| c.name == "at"),
                columns,
                key: key.to_vec(),
                is_table,
                max_future_ms: Some(1_000_000),
                wire,
            };
            let mut decoder = Decoder::new(spec).expect("all types are supported");
            let decoded = decoder.decode(records).expect("a batch never fails as a whole");
            assert_eq!(decoded.record.len() + decoded.rejected.len(), records.len());
            assert!(decoded.rejected.iter().all(|r| !r.reason.is_empty()));
            let tells = |reason: &str| is_table && reason.contains("never told");
            assert!(!decoded.rejected.iter().any(|r| tells(&r.reason)), "{:?}", decoded.rejected);
        }
    }
}

/// Values in JSON: records divided by line breaks, so that also the state between them is looked at.
fn json(data: &[u8]) {
    let records: Vec<_> = data.split(|b| *b == b'\n').map(|line| (Some(b"a".as_slice()), Some(line))).collect();
    decode(&columns(), &[0], &batch(&records));
}

/// Keys of tables, of one column of each type and of several.
fn key(data: &[u8]) {
    let whole = br#"{"k":"a","n":1,"d":"2024-02-29","at":"2024-02-29T00:00:00Z"}"#;
    let records = batch(&[(Some(data), None), (Some(data), Some(whole)), (Some(b"a"), Some(data))]);
    let all = columns();
    for idx in [0, 1, 2, 3, 5, 6, 7, 8, 9] {
        decode(&all, &[idx], &records);
    }
    decode(&all, &[0, 1], &records);
    decode(&all, &[8, 0, 6], &records);
}

/// A schema of Avro and one of Protocol Buffers with fields for many of the columns, and one that holds itself.
const AVRO: &str = r#"{"type":"record","name":"R","fields":[{"name":"k","type":"string"},{"name":"n","type":["null","long"]},
    {"name":"again","type":["null","R"]},{"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":4}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"l","type":{"type":"array","items":["null","string"]}},
    {"name":"unread","type":{"type":"map","values":{"type":"array","items":"null"}}},{"name":"x","type":"float"},
    {"name":"s","type":{"type":"record","name":"S","fields":[{"name":"a","type":"int"}]}}]}"#;
const ENVELOPE: &str = r#"{"type":"record","name":"E","fields":[{"name":"before","type":["null",{"type":"record","name":"V","fields":
    [{"name":"k","type":"string"},{"name":"n","type":["null","int"]}]}]},{"name":"after","type":["null","V"]},
    {"name":"op","type":"string"}]}"#;
const PROTO: &str = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto"; message S { int64 a = 1; R again = 2; }
    message R { string k = 1; optional sint32 n = 2; google.protobuf.Timestamp at = 3; repeated string l = 4; S s = 5;
    map<string, S> unread = 6; double x = 7; string m = 8; bool b = 9; }"#;

fn registry() -> Arc<SchemaRegistry> {
    static REGISTRY: OnceLock<Arc<SchemaRegistry>> = OnceLock::new();
    let schema = |language, text: &str| RegisteredSchema { language, text: text.to_owned(), references: Vec::new() };
    let schemas =
        [(1, SchemaLanguage::Avro, AVRO), (2, SchemaLanguage::Protobuf, PROTO), (3, SchemaLanguage::Avro, ENVELOPE)];
    let made = || Arc::new(SchemaRegistry::of_schemas(schemas.map(|(id, of, text)| (id, schema(of, text)))));
    REGISTRY.get_or_init(made).clone()
}

/// Decodes records in a format. Every record is a row or rejected with a reason; a declaration may be refused.
fn decode_format(format: &FormatSpec, records: &RecordBatchBytes) -> bool {
    let columns: Vec<DecodeColumn> =
        columns().into_iter().filter(|c| !matches!(c.data_type, DataType::UInt64)).collect();
    let declared = columns.iter().map(|c| c.name.clone()).collect();
    let spec =
        DecodeSpec { columns, key: vec![0], is_table: true, event_time: None, max_future_ms: None, wire: Wire::Kafka };
    let source = DecoderSource { relation: "r".into(), format, declared, registry: Some(registry()) };
    let Ok(mut decoder) = RecordDecoder::new(spec, &source) else { return false };
    let mut ids = BTreeSet::new();
    decoder.schema_ids(records, &mut ids);
    registry().fetch(&ids).expect("memory answers");
    let decoded = decoder.decode(records).expect("a batch never fails as a whole");
    assert_eq!(decoded.record.len() + decoded.rejected.len(), records.len());
    assert!(decoded.rejected.iter().all(|r| !r.reason.is_empty()));
    true
}

/// Values and keys in every format, as they are and behind the number of each schema.
fn formats(data: &[u8]) {
    let framed = |id: u8| [&[0, 0, 0, 0, id], data].concat();
    let (first, second, third) = (framed(1), framed(2), framed(3));
    let key = Some(b"a".as_slice());
    let mut all = vec![(Some(data), Some(data))];
    for framed in [&first, &second, &third] {
        all.extend([(key, Some(framed.as_slice())), (Some(framed.as_slice()), None)]);
    }
    let records = batch(&all);
    for (_, format) in Format::ALL {
        for (_, key) in KeyFormat::ALL {
            let schema = match format {
                Format::Avro => Some(Arc::from(AVRO.as_bytes())),
                Format::Protobuf => Some(Arc::from(PROTO.as_bytes())),
                _ => None,
            };
            let message = (format == Format::Protobuf).then(|| "R".to_owned());
            let spec = FormatSpec { key, schema, message, ..FormatSpec::new(format) };
            assert!(decode_format(&spec, &records), "{format:?}");
        }
    }
}

/// Schemas that somebody else wrote: read or refused, and data read by them.
fn schemas(data: &[u8]) {
    let records =
        batch(&[(Some(b"a"), Some(data)), (Some(b"a"), Some(b"\x02a\x00\x00\x02\x02")), (Some(b"a"), Some(b""))]);
    for format in [Format::Avro, Format::Protobuf] {
        decode_format(&FormatSpec { schema: Some(Arc::from(data)), ..FormatSpec::new(format) }, &records);
    }
}

/// A file of this process, in memory where that can be.
fn scratch(name: &str) -> PathBuf {
    let dir = [PathBuf::from("/dev/shm"), std::env::temp_dir()].into_iter().find(|dir| dir.is_dir()).expect("a folder");
    let dir = dir.join(format!("curb-fuzz-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    dir.join(name)
}

/// Files in CSV. Lines only grow, and a row is a record or has a fault.
fn csv(data: &[u8]) {
    let path = scratch("rows.csv");
    std::fs::write(&path, data).expect("a file");
    let declared: Vec<(String, DataType)> = columns().into_iter().map(|c| (c.name, c.data_type)).collect();
    let Ok(mut reader) = CsvReader::open(&path, &declared, &[], AtomicU64::new(0).into()) else { return };
    let mut n = 0;
    let mut values = RecordBatchBytes::default();
    while let Ok(Some(record)) = reader.next() {
        n += 1;
        assert!(n <= data.len() + 1, "more rows than bytes");
        if let Ok(value) = &record.value {
            // Numbers may be beyond those that a program has.
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok(), "a row is an object");
        }
        let meta = RecordMeta {
            partition: 0,
            offset: n as i64,
            timestamp_ms: None,
            sequence: n as u64,
            key: None,
            value: None,
        };
        values.push(meta, None, record.value.ok());
    }
    decode(&columns(), &[0], &values);
}

/// Deltas as they lie in the state topic, and what stands behind a checksum that agrees.
fn delta(data: &[u8]) {
    let mut codec = DeltaCodec::new(1 << 20);
    let _ = codec.decode(&Delta { shard: 0, bytes: data.to_vec() });
    let (part, n_parts) = (0_u32.to_le_bytes(), 1_u32.to_le_bytes());
    let sum = Sha256::new().chain_update(part).chain_update(n_parts).chain_update(data).finalize();
    let framed = [b"CRBD".as_slice(), &1_u16.to_le_bytes(), &part, &n_parts, &sum[..8], data].concat();
    let _ = codec.decode(&Delta { shard: 0, bytes: framed });
}

/// Files of snapshots, and what stands behind checksums that agree.
fn snapshot(data: &[u8]) {
    let path = scratch("snapshots");
    let dir = SnapshotDir::new(&path, "fuzz");
    std::fs::create_dir_all(dir.path(0).parent().expect("a folder")).expect("a folder");
    std::fs::write(dir.path(0), data).expect("a file");
    let _ = dir.read(0);
    let mut file = dir.write(0).expect("a file");
    let blocks: Vec<&[u8]> = data.split(|b| *b == 0xff).collect();
    blocks.iter().for_each(|block| file.block(block).expect("a block"));
    file.publish().expect("a file");
    let read = dir.read(0).expect("what was written").expect("what was written");
    assert_eq!(read, blocks);
}

/// A token that no input has, unless it is told.
const TOKEN: &str = "never-guessed-by-a-fuzzer";

/// A server for everyone, one for those with a token, and one behind a proxy that says who asks.
fn servers() -> &'static [ServerHandle; 3] {
    static SERVERS: OnceLock<[ServerHandle; 3]> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let token_file = scratch("tokens");
        std::fs::write(&token_file, TOKEN).expect("a file");
        let everyone = AccessOptions { requests_per_second: 1e9, ..AccessOptions::default() };
        let token = AccessOptions { token_file: Some(token_file), ..everyone.clone() };
        let proxy = AccessOptions { user_header: Some("x-fuzz-user".into()), ..everyone.clone() };
        [everyone, token, proxy].map(|access| {
            let board = StatusBoard::default();
            board.show(Status { phase: Phase::Running, ..Status::default() });
            let tiles = TileOptions { url: "https://tiles.example/{z}/{x}/{y}.png".into(), attribution: "x".into() };
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            let options = HttpOptions { access, tiles: Some(tiles), ..HttpOptions::at(address) };
            server::serve_with(&options, "fuzz", board, None).expect("a server")
        })
    })
}

fn connect(server: &ServerHandle) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
    stream
}

/// Bytes on a connection to each server. It answers or hangs up, tells nothing to who has not said who asks, and goes on serving
/// others.
fn http(data: &[u8]) {
    for server in servers() {
        let mut stream = connect(server);
        // It may hang up before it has read everything.
        let _ = stream.write_all(data);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{text}");
        let is_told = |mark: &str| String::from_utf8_lossy(data).to_ascii_lowercase().contains(mark);
        let tells = text.match_indices("HTTP/1.").any(|(at, _)| {
            let head = text[at..].split("\r\n\r\n").next().unwrap_or_default();
            head.get(8..12) == Some(" 200") && head.contains("application/json")
        });
        let is_restricted = server.address() != servers()[0].address();
        assert!(!tells || !is_restricted || is_told(TOKEN) || is_told("x-fuzz-user"), "{text}");
    }
    let mut stream = connect(&servers()[data.len() % 3]);
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: fuzz\r\nconnection: close\r\n\r\n").expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}
