//! Decoding: the fast way against the general one, and the reason of each rejection.

use super::*;
use crate::stream::RecordMeta;
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampMillisecondType};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

fn column(name: &str, data_type: DataType) -> DecodeColumn {
    DecodeColumn { name: name.into(), data_type, not_null: false, private: false }
}

fn instant_type() -> DataType {
    DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, Some("Asia/Shanghai".into()))
}

fn list_type(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

/// A table with one column of each kind; the key is `id`.
fn table(wire: Wire) -> DecodeSpec {
    let place = vec![Field::new("lon", DataType::Float64, true), Field::new("name", DataType::Utf8View, false)];
    DecodeSpec {
        columns: vec![
            column("id", DataType::Utf8),
            column("at", instant_type()),
            column("score", DataType::Float64),
            column("n", DataType::Int32),
            column("ok", DataType::Boolean),
            column("day", DataType::Date32),
            column("tags", list_type(DataType::Utf8)),
            column("place", DataType::Struct(place.into())),
            column("price", DataType::Decimal128(10, 2)),
        ],
        key: vec![0],
        is_table: true,
        event_time: Some(1),
        max_future_ms: Some(60_000),
        wire,
    }
}

fn stream(columns: Vec<DecodeColumn>) -> DecodeSpec {
    DecodeSpec { columns, key: vec![], is_table: false, event_time: None, max_future_ms: None, wire: Wire::Kafka }
}

fn batch(records: &[(Option<&[u8]>, Option<&[u8]>)]) -> RecordBatchBytes {
    let mut batch = RecordBatchBytes::default();
    for (idx, (key, value)) in records.iter().enumerate() {
        let meta = RecordMeta {
            partition: 0,
            offset: idx as i64,
            timestamp_ms: Some(1_714_521_600_000),
            sequence: idx as u64,
            key: None,
            value: None,
        };
        batch.push(meta, *key, *value);
    }
    batch
}

fn lines(lines: &[&[u8]]) -> RecordBatchBytes {
    batch(&lines.iter().map(|l| (None, Some(*l))).collect::<Vec<_>>())
}

fn decode(spec: DecodeSpec, records: &RecordBatchBytes) -> Decoded {
    Decoder::new(spec).unwrap().decode(records).unwrap()
}

/// The rows as text and the reasons, for one value a record in a single column.
fn values_of(data_type: DataType, values: &[&str]) -> Vec<String> {
    let records: Vec<String> = values.iter().map(|v| format!("{{\"x\":{v}}}")).collect();
    let records: Vec<&[u8]> = records.iter().map(|r| r.as_bytes()).collect();
    let decoded = decode(stream(vec![column("x", data_type)]), &lines(&records));
    let mut shown = vec![String::new(); values.len()];
    for (row, record) in decoded.record.iter().enumerate() {
        shown[*record as usize] = array_value_to_string(decoded.rows.column(0), row).unwrap();
    }
    for Rejected { record, reason } in decoded.rejected {
        shown[record as usize] = reason;
    }
    shown
}

#[test]
fn types_are_strict_and_reasons_name_column_type_and_value() {
    assert_eq!(
        values_of(DataType::Float64, &["0.5", "3", "\"abc\"", "true", "1e400", "null", "[1]"]),
        [
            "0.5",
            "3.0",
            "column `x`: expected DOUBLE, found \"abc\"",
            "column `x`: expected DOUBLE, found true",
            "column `x`: expected DOUBLE, found 1e400",
            "",
            "column `x`: expected DOUBLE, found an array"
        ]
    );
    assert_eq!(
        values_of(DataType::Int32, &["-7", "1.0", "1.5", "2147483648", "\"1\""]),
        [
            "-7",
            "1",
            "column `x`: expected INT, found 1.5",
            "column `x`: expected INT, found 2147483648",
            "column `x`: expected INT, found \"1\""
        ]
    );
    assert_eq!(values_of(DataType::UInt64, &["18446744073709551615", "-1"])[0], "18446744073709551615");
    assert_eq!(
        values_of(DataType::Boolean, &["true", "1", "\"true\""])[1..],
        ["column `x`: expected BOOLEAN, found 1", "column `x`: expected BOOLEAN, found \"true\""]
    );
    assert_eq!(
        values_of(instant_type(), &["\"2024-05-01T00:00:00Z\"", "\"2024-05-01T00:00:00\"", "1714521600000"]),
        [
            "2024-05-01T08:00:00+08:00",
            "column `x`: expected TIMESTAMP WITH TIME ZONE, found \"2024-05-01T00:00:00\"",
            "column `x`: expected TIMESTAMP WITH TIME ZONE, found 1714521600000"
        ]
    );
    assert_eq!(values_of(DataType::Utf8, &["\"\"", "5", "\"\\u4eac\\ud83d\\ude00\""])[2], "京😀");
    assert_eq!(
        values_of(DataType::Decimal128(5, 2), &["12.345", "999.99", "1000"]),
        ["12.35", "999.99", "column `x`: expected DECIMAL(5, 2), found 1000"]
    );
    assert_eq!(
        values_of(list_type(DataType::Utf8), &["[\"a\",null]", "[1]", "[]", "\"a\""]),
        [
            "[a, ]",
            "column `x`: expected VARCHAR[], found an array",
            "[]",
            "column `x`: expected VARCHAR[], found \"a\""
        ]
    );
}

#[test]
fn a_bad_record_is_rejected_alone() {
    let bad_utf8: &[u8] = b"{\"x\":\"\xff\"}";
    let deep = format!("{{\"y\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_open = format!("{{\"x\":{}", "[".repeat(10_000));
    let huge_number = format!("{{\"y\":{0},\"x\":\"{0}\"}}", "9".repeat(100_000));
    let records: Vec<&[u8]> = vec![
        b"{\"x\":\"a\"}",
        bad_utf8,
        b"",
        b"null",
        b"[]",
        b"{\"x\":\"a\"} x",
        b"{\"x\":\"a",
        b"{\"x\":01}",
        b"{\"x\":\"\\ud800\"}",
        b"{\"y\":\"a\nb\"}",
        b"{\"y\":nul}",
        b"{\"x\":\"a\",}",
        deep.as_bytes(),
        deep_open.as_bytes(),
        huge_number.as_bytes(),
        b"{\"x\":\"first\",\"x\":\"last\"}",
        b" { \"y\" : [ { } , [ ] ] , \"\\u0078\" : \"spaced\" } \n",
        b"{}",
    ];
    let decoded = decode(stream(vec![column("x", DataType::Utf8)]), &lines(&records));
    assert_eq!(decoded.record, [0, 14, 15, 16, 17]);
    let rows = decoded.rows.column(0).as_string::<i32>();
    assert_eq!((rows.value(0), rows.value(2), rows.value(3)), ("a", "last", "spaced"));
    assert!(arrow::array::Array::is_null(rows, 4));
    let reasons: Vec<&str> = decoded.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "not valid UTF-8 at byte 6",
            "not a JSON object",
            "not a JSON object",
            "not a JSON object",
            "invalid JSON at byte 10: expected the end",
            "invalid JSON at byte 7: expected a closing quote",
            "invalid JSON at byte 6: expected `,` or a closing bracket",
            "invalid JSON at byte 12: expected the second half of a surrogate pair",
            "invalid JSON at byte 7: expected a closing quote",
            "invalid JSON at byte 5: expected a value",
            "invalid JSON at byte 9: expected a field name",
            "JSON nested deeper than 100 levels",
            "JSON nested deeper than 100 levels",
        ]
    );
}

#[test]
fn a_character_cut_by_the_end_of_a_record_does_not_continue_in_the_next() {
    let whole = "京".as_bytes();
    let first = [b"{\"x\":\"", &whole[..1]].concat();
    let second = [&whole[1..], b"\"}"].concat();
    let decoded = decode(stream(vec![column("x", DataType::Utf8)]), &lines(&[&first, &second, b"{\"x\":\"b\"}"]));
    assert_eq!(decoded.record, [2]);
}

#[test]
fn not_null_and_key_columns_must_be_there() {
    let mut spec = table(Wire::Lines);
    spec.columns[2].not_null = true;
    let decoded = decode(
        spec,
        &lines(&[b"{\"id\":\"a\"}", b"{\"score\":1}", b"{\"id\":null,\"score\":1}", b"{\"id\":\"a\",\"score\":1}"]),
    );
    let reason = |name| format!("column `{name}` is NOT NULL, but the record has no value for it");
    assert_eq!(
        decoded.rejected.iter().map(|r| r.reason.clone()).collect::<Vec<_>>(),
        [reason("score"), reason("id"), reason("id")]
    );
    assert_eq!(decoded.record, [3]);
}

#[test]
fn private_values_stay_out_of_reasons() {
    let mut spec = stream(vec![column("x", DataType::Float64)]);
    spec.columns[0].private = true;
    let decoded = decode(spec, &lines(&[b"{\"x\":\"330102199001011234\"}"]));
    assert_eq!(decoded.rejected[0].reason, "column `x`: expected DOUBLE, found a text");
}

#[test]
fn a_tombstone_needs_only_the_key() {
    let decoded = decode(
        table(Wire::Kafka),
        &batch(&[
            (Some(b"a"), None),
            (None, None),
            (None, Some(b"{\"id\":\"a\"}")),
            (Some(b"b"), Some(b"{\"id\":\"a\"}")),
            (Some(b"a"), Some(b"{\"id\":\"a\",\"n\":1}")),
            (Some(b"\xff"), None),
        ]),
    );
    assert_eq!((decoded.record.as_slice(), decoded.weights.as_slice()), (&[0, 4][..], &[-1, 1][..]));
    assert_eq!(array_value_to_string(decoded.rows.column(0), 0).unwrap(), "a");
    assert!(decoded.rows.columns()[1..].iter().all(|c| c.is_null(0)));
    assert_eq!(
        decoded.rejected.iter().map(|r| r.reason.as_str()).collect::<Vec<_>>(),
        [
            "the record of a table has no Kafka key",
            "the record of a table has no Kafka key",
            "the Kafka key disagrees with column `id`",
            "the Kafka key is not valid UTF-8"
        ]
    );
}

#[test]
fn keys_are_compared_as_values() {
    let mut spec =
        stream(vec![column("plate", DataType::Utf8View), column("from", instant_type()), column("n", DataType::Int64)]);
    spec.is_table = true;
    spec.key = vec![1, 0];
    let value: &[u8] = b"{\"plate\":\"a\",\"from\":\"2024-05-01T08:00:00+08:00\"}";
    let key = |key: &'static str| (Some(key.as_bytes()), Some(value));
    let decoded = decode(
        spec.clone(),
        &batch(&[
            key("[\"2024-05-01T00:00:00.000Z\",\"a\"]"),
            key("[\"2024-05-01T00:00:00.001Z\",\"a\"]"),
            key("[\"2024-05-01T00:00:00Z\"]"),
            key("[\"2024-05-01T00:00:00Z\",null]"),
            key("a"),
            (Some(b"[\"2024-05-01T00:00:00Z\", \"\\u0061\"]"), None),
        ]),
    );
    assert_eq!((decoded.record.as_slice(), decoded.weights.as_slice()), (&[0, 5][..], &[1, -1][..]));
    assert_eq!(decoded.rejected[0].reason, "the Kafka key disagrees with column `from`");
    assert_eq!(decoded.rejected[1].reason, "the Kafka key is not a JSON array of 2 values");
    assert_eq!(decoded.rejected[2].reason, "the Kafka key is null in column `plate`");
    for (idx, good, bad) in [(1, "2024-05-01T00:00:00Z", "2024-05-01"), (2, "7.0", "\"7\"")] {
        spec.key = vec![idx];
        let value: &[u8] = b"{\"from\":\"2024-05-01T08:00:00+08:00\",\"n\":7}";
        let records = [(Some(good.as_bytes()), Some(value)), (Some(bad.as_bytes()), Some(value))];
        assert_eq!(decode(spec.clone(), &batch(&records)).record, [0]);
    }
}

#[test]
fn a_line_deletes_by_its_mark() {
    let records: [&[u8]; 5] = [
        b"{\"_tombstone\":true,\"id\":\"a\",\"n\":\"ignored\"}",
        b"{\"_tombstone\":true}",
        b"{\"_tombstone\":1,\"id\":\"a\"}",
        b"{\"_tombstone\":false,\"id\":\"b\"}",
        b"{\"id\":\"c\"}",
    ];
    let decoded = decode(table(Wire::Lines), &lines(&records));
    assert_eq!((decoded.record.as_slice(), decoded.weights.as_slice()), (&[0, 3, 4][..], &[-1, 1, 1][..]));
    assert_eq!(decoded.rejected[0].reason, "a deletion without key column `id`");
    assert_eq!(decoded.rejected[1].reason, "`_tombstone`: expected BOOLEAN, found a number");
    let mut spec = stream(vec![column("id", DataType::Utf8)]);
    spec.wire = Wire::Lines;
    assert_eq!(decode(spec, &lines(&records)).rejected[0].reason, "`_tombstone` in a stream, which only grows");
}

#[test]
fn an_event_time_beyond_max_future_is_rejected_with_both_instants() {
    let records = batch(&[
        (Some(b"a"), Some(b"{\"id\":\"a\",\"at\":\"2024-05-01T08:01:00+08:00\"}")),
        (Some(b"a"), Some(b"{\"id\":\"a\",\"at\":\"2024-05-01T08:01:00.001+08:00\"}")),
    ]);
    let decoded = decode(table(Wire::Kafka), &records);
    assert_eq!(decoded.record, [0]);
    assert_eq!(
        decoded.rejected[0].reason,
        "event time 2024-05-01T00:01:00.001Z is more than 60000 ms after the record's timestamp 2024-05-01T00:00:00.000Z"
    );
}

#[test]
fn without_columns_rows_are_still_counted() {
    let decoded = decode(stream(vec![]), &lines(&[b"{\"a\":1}", b"x"]));
    assert_eq!((decoded.rows.num_rows(), decoded.rejected.len()), (1, 1));
}

/// JSON text as producers may write it, sometimes wrong.
fn json_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|i| i.to_string()),
        any::<f64>().prop_map(|f| format!("{f:e}")),
        (-1000..1000_i32).prop_map(|i| format!("{}.0", i)),
        "[a-z京\\PC]{0,12}".prop_map(|s| serde_json::Value::String(s).to_string()),
        Just("\"2024-05-01T08:00:00.5+08:00\"".to_owned()),
        Just("\"2024-05-01\"".to_owned()),
        Just("\"\\u0041\\n\"".to_owned()),
        Just("\"\\x\"".to_owned()),
        Just("01".to_owned()),
        Just("-".to_owned()),
        Just("1.".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|v| format!("[{}]", v.join(","))),
            prop::collection::vec((field_name(), inner), 0..3).prop_map(|m| object(&m, "", "")),
        ]
    })
}

fn field_name() -> impl Strategy<Value = String> {
    let names =
        ["id", "at", "score", "n", "ok", "day", "tags", "place", "price", "lon", "name", "other", "_tombstone", ""];
    prop_oneof![
        9 => proptest::sample::select(names.to_vec()).prop_map(|n| format!("{n:?}")),
        1 => Just("\"\\u0069d\"".to_owned()),
    ]
}

/// A field with a value that fits its column, so that whole records are often accepted.
fn fitting_member() -> impl Strategy<Value = (String, String)> {
    let members = [
        ("at", "\"2024-05-01T08:00:00.5+08:00\""),
        ("at", "\"1970-01-01 00:00:00z\""),
        ("score", "1e-3"),
        ("score", "-17"),
        ("n", "12.0"),
        ("ok", "false"),
        ("day", "\"2024-02-29\""),
        ("tags", "[\"a\", null ,\"\\u4eac\"]"),
        ("tags", "[]"),
        ("place", "{\"lon\":1,\"name\":\"x\",\"more\":[{}]}"),
        ("price", "1.005"),
        ("other", "{\"a\":[1,\"\\\"\"]}"),
        ("n", "null"),
    ];
    proptest::sample::select(members.to_vec()).prop_map(|(name, value)| (format!("{name:?}"), value.to_owned()))
}

fn object(members: &[(String, String)], colon: &str, comma: &str) -> String {
    let members: Vec<String> = members.iter().map(|(n, v)| format!("{n}:{colon}{v}")).collect();
    format!("{{{}}}", members.join(&format!(",{comma}")))
}

fn record() -> impl Strategy<Value = Vec<u8>> {
    let space = || proptest::sample::select(vec!["", "", "", " ", "  ", "\n"]);
    let member = prop_oneof![7 => fitting_member(), 1 => (field_name(), json_value())];
    let members = prop::collection::vec(member, 0..6);
    let text = (members, space(), space(), space()).prop_map(|(mut members, colon, comma, after)| {
        members.push(("\"id\"".to_owned(), "\"k\"".to_owned()));
        object(&members, colon, comma) + after
    });
    (text, prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()))).prop_map(|(text, mutation)| {
        let mut bytes = text.into_bytes();
        if let Some((at, byte)) = mutation {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

#[test]
fn the_generated_records_are_a_mixture_of_good_and_bad_ones() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut n_accepted = 0;
    for _ in 0..1_000 {
        let record = record().new_tree(&mut runner).unwrap().current();
        n_accepted += decode(table(Wire::Lines), &lines(&[&record])).record.len();
    }
    assert!((200..900).contains(&n_accepted), "{n_accepted} of 1000");
}

fn assert_same(a: &Decoded, b: &Decoded) {
    assert_eq!(a.rows, b.rows);
    assert_eq!((&a.weights, &a.record, &a.rejected), (&b.weights, &b.record, &b.rejected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_scanner_and_the_general_parser_agree(
        records in prop::collection::vec(record(), 1..8), wire in proptest::sample::select(vec![Wire::Kafka, Wire::Lines]),
    ) {
        let records: Vec<(Option<&[u8]>, Option<&[u8]>)> = records.iter().map(|r| (Some(&b"k"[..]), Some(r.as_slice()))).collect();
        let records = batch(&records);
        let mut fast = Decoder::new(table(wire)).unwrap();
        let mut general = fast.clone();
        general.scan = false;
        let expected = general.decode(&records).unwrap();
        assert_same(&fast.decode(&records).unwrap(), &expected);
        // Once more, with the order of fields guessed from the last record.
        assert_same(&fast.decode(&records).unwrap(), &expected);
        prop_assert_eq!(expected.record.len() + expected.rejected.len(), records.len());
    }

    #[test]
    fn what_is_accepted_is_what_serde_json_reads(record in record()) {
        let columns = vec![column("id", DataType::Utf8), column("score", DataType::Float64), column("tags", list_type(DataType::Utf8))];
        let decoded = decode(stream(columns), &lines(&[&record]));
        let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(&record) else {
            prop_assert!(decoded.record.is_empty(), "{}", String::from_utf8_lossy(&record));
            return Ok(());
        };
        let null_or = |name: &str, fits: fn(&serde_json::Value) -> bool| members.get(name).is_none_or(|v| v.is_null() || fits(v));
        let is_texts = |v: &serde_json::Value| {
            v.as_array().is_some_and(|a| a.iter().all(|e| e.is_null() || e.is_string()))
        };
        let fits = null_or("id", serde_json::Value::is_string) && null_or("score", serde_json::Value::is_number) && null_or("tags", is_texts);
        prop_assert_eq!(decoded.record.len(), usize::from(fits), "{:?}", decoded.rejected);
        if fits {
            let id = decoded.rows.column(0).as_string::<i32>().iter().next().unwrap();
            prop_assert_eq!(id, members.get("id").and_then(|v| v.as_str()));
            let score = decoded.rows.column(1).as_primitive::<Float64Type>().iter().next().unwrap();
            prop_assert_eq!(score, members.get("score").and_then(|v| v.as_f64()));
        }
    }

    #[test]
    fn arbitrary_bytes_are_decoded_or_rejected(record in prop::collection::vec(any::<u8>(), 0..60)) {
        let decoded = decode(table(Wire::Kafka), &batch(&[(Some(&record), Some(&record)), (Some(&record), None)]));
        prop_assert_eq!(decoded.record.len() + decoded.rejected.len(), 2);
    }
}

#[test]
#[ignore = "prints a rate"]
fn rate_of_decoding_captures() {
    let record = |i: usize| {
        format!(
            "{{\"capture_id\":\"c{i:09}\",\"device_id\":\"dev-{:05}\",\"captured_at\":\"2024-05-{:02}T08:{:02}:{:02}.{:03}+08:00\",\
             \"plate\":\"ZJE{:07}\",\"kind\":\"no_helmet\",\"lon\":120.{:06},\"lat\":30.{:06},\"confidence\":0.{:04},\
             \"image_uri\":\"s3://captures/2024/05/01/{i:020}.jpg\"}}",
            i % 5000,
            i % 28 + 1,
            i % 60,
            i % 59,
            i % 1000,
            i % 99_991,
            i % 999_983,
            i % 999_979,
            i % 9973
        )
    };
    let mut all = RecordBatchBytes::default();
    for i in 0..100_000 {
        let (key, value) = (format!("c{i:09}"), record(i));
        let meta = RecordMeta { partition: 0, offset: 0, timestamp_ms: None, sequence: 0, key: None, value: None };
        all.push(meta, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    let names = ["capture_id", "device_id", "captured_at", "plate", "kind", "lon", "lat", "confidence", "image_uri"];
    for text in [DataType::Utf8, DataType::Utf8View] {
        for wanted in [&[0, 1, 2, 3][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8]] {
            let data_type = |i: &usize| match i {
                2 => instant_type(),
                5..=7 => DataType::Float64,
                _ => text.clone(),
            };
            let columns = wanted.iter().map(|i| column(names[*i], data_type(i))).collect();
            let mut decoder = Decoder::new(DecodeSpec { key: vec![0], is_table: true, ..stream(columns) }).unwrap();
            for scan in [true, false] {
                decoder.scan = scan;
                let started = std::time::Instant::now();
                let mut n_rows = 0;
                for _ in 0..10 {
                    let decoded = decoder.decode(&all).unwrap();
                    assert!(decoded.rejected.is_empty());
                    n_rows += decoded.rows.num_rows();
                    decoded.rows.column(2).as_primitive::<TimestampMillisecondType>();
                }
                let rate = n_rows as f64 / started.elapsed().as_secs_f64() / 1e6;
                println!("{text} {} of 9 columns, scan {scan}: {rate:.2} M rows/s", wanted.len());
            }
        }
    }
}
