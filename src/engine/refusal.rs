//! Late and rejected records as they leave: raw bytes up to a limit, and in headers why, where from, how long, and which.

use sha2::{Digest, Sha256};

use super::encode::{hex, output_meta};
use super::epoch::Encoded;
use super::intake::{Fates, TakenRecords};
use crate::plan::{OperatorPlan, Relation};
use crate::stream::RecordView;

/// The refused records of one source in one epoch.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) late: Encoded,
    pub(super) rejected: Encoded,
}

/// Encodes the refused records of a source, in reading order. Bytes are withheld where it has a PRIVATE column.
pub(super) fn encode_refusals(
    relation: &Relation,
    records: &TakenRecords,
    fates: &Fates,
    raw_bytes_max: usize,
) -> Refused {
    let bytes_max = (!has_private_column(relation)).then_some(raw_bytes_max);
    let mut refused = Refused::default();
    for idx in fates.late.iter().filter(|idx| **idx < records.raw.len()) {
        push(&mut refused.late, records.raw.as_came(*idx), "late", bytes_max);
    }
    for rejected in &records.rejected {
        let idx = rejected.record as usize;
        if idx < records.raw.len() {
            push(&mut refused.rejected, records.raw.as_came(idx), &rejected.reason, bytes_max);
        }
    }
    refused
}

/// Whether values of the source must not be shown.
pub(super) fn has_private_column(relation: &Relation) -> bool {
    match &relation.operator {
        OperatorPlan::SourceTable(definition, _) | OperatorPlan::SourceStream(definition, _) => {
            definition.columns.iter().any(|c| c.private)
        }
        _ => false,
    }
}

/// Why a record was rejected, in a word of a fixed list, for measurements. The sentence goes with the record.
pub(super) fn reason_word(reason: &str) -> &'static str {
    let words = [
        ("Kafka key", "key"),
        ("invalid JSON", "unreadable"),
        ("NOT NULL", "null"),
        ("schema", "schema"),
        ("expected ", "type"),
        ("after the record's timestamp", "future"),
        ("no value", "no_value"),
        ("UTF-8", "encoding"),
    ];
    words.into_iter().find(|(part, _)| reason.contains(part)).map_or("unreadable", |(_, word)| word)
}

fn push(to: &mut Encoded, record: RecordView<'_>, reason: &str, bytes_max: Option<usize>) {
    let value = record.value.unwrap_or_default();
    let digest = Sha256::digest(value);
    let header = |name: &str, value: String| (name.to_string(), value.into_bytes());
    let headers = vec![
        header("curb_reason", reason.to_string()),
        header("curb_partition", record.meta.partition.to_string()),
        header("curb_offset", record.meta.offset.to_string()),
        header("curb_length", value.len().to_string()),
        header("curb_sha256", hex(digest.iter())),
    ];
    let kept = bytes_max.and_then(|max| record.value.map(|v| v.get(..max).unwrap_or(v)));
    let key = bytes_max.and(record.key);
    to.records.push(output_meta(to.records.len() as u64), key, kept);
    to.headers.push(headers);
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, TimeUnit};

    use super::*;
    use crate::format::json::{DecodeColumn, DecodeSpec, Decoder, Wire};
    use crate::stream::{RecordBatchBytes, RecordMeta};

    #[test]
    fn what_a_decoder_says_has_a_word_each() {
        let column =
            |name: &str, data_type| DecodeColumn { name: name.into(), data_type, not_null: true, private: false };
        let zone = Some("UTC".into());
        let spec = DecodeSpec {
            columns: vec![
                column("k", DataType::Utf8View),
                column("n", DataType::Int32),
                column("at", DataType::Timestamp(TimeUnit::Millisecond, zone)),
            ],
            key: vec![0],
            is_table: true,
            event_time: Some(2),
            max_future_ms: Some(1_000),
            wire: Wire::Kafka,
        };
        let good = br#"{"k":"a","n":1,"at":"1970-01-01T00:00:00Z"}"#.as_slice();
        let records: [(Option<&[u8]>, &[u8], &str); 7] = [
            (None, good, "key"),
            (Some(b"b"), good, "key"),
            (Some(b"a"), b"{", "unreadable"),
            (Some(b"a"), b"\xff", "encoding"),
            (Some(b"a"), br#"{"k":"a","at":"1970-01-01T00:00:00Z"}"#, "null"),
            (Some(b"a"), br#"{"k":"a","n":"x","at":"1970-01-01T00:00:00Z"}"#, "type"),
            (Some(b"a"), br#"{"k":"a","n":1,"at":"1970-01-01T01:00:00Z"}"#, "future"),
        ];
        for (key, value, word) in records {
            let mut batch = RecordBatchBytes::default();
            let timestamp_ms = Some(0);
            let meta = RecordMeta { partition: 0, offset: 0, timestamp_ms, sequence: 0, key: None, value: None };
            batch.push(meta, key, Some(value));
            let decoded = Decoder::new(spec.clone()).unwrap().decode(&batch).unwrap();
            let [rejected] = decoded.rejected.as_slice() else { panic!("{word}: {decoded:?}") };
            assert_eq!(reason_word(&rejected.reason), word, "{}", rejected.reason);
        }
        assert_eq!(reason_word("the record has no value"), "no_value");
    }
}
