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
