//! The audit trail: what left in which epoch, from which positions and by which rules, each record bound to the one before
//! it by a hash, so that a record that is changed, taken out or put in later shows.
//!
//! A line is a JSON object whose last members are `previous`, the hash of the line before, and `hash`, the SHA-256 of
//! the line's text up to the comma before `"hash"`. The first line follows [`GENESIS`]. Each epoch that wrote rows begins with an
//! `epoch` line, which says what its rows were derived from; a `row` line for each of them follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::delta::EpochRecord;
use super::encode::{hex, output_meta};
use super::epoch::{Encoded, OpenEpoch, Readable};
use crate::plan::Pipeline;
use crate::stream::{OutputTopic, RecordBatchBytes, RecordMeta, RecordView};

/// What the first line follows.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// A row that is larger leaves its hash only: the trail's topic takes no larger records than any other.
const ROW_BYTES_MAX: usize = 256 << 10;

/// What the audit trail of a pipeline says of all its rows.
#[derive(Clone, Debug, Default)]
pub struct AuditOptions {
    /// The hash of the text of all rules, as hexadecimal digits.
    pub pack_sha256: String,
    /// Sinks whose rows hold PRIVATE columns: of these only the hash is kept.
    pub private_sinks: BTreeSet<Arc<str>>,
}

/// A line of the audit trail.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditRecord {
    /// What the rows of an epoch were derived from.
    Epoch(AuditedEpoch),
    /// A row that left.
    Row(AuditedRow),
}

/// What the rows of an epoch were derived from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedEpoch {
    /// The number of the epoch.
    pub epoch: u64,
    /// The wall clock of the epoch, in RFC 3339: the only one it knew.
    pub clock: String,
    /// The version of this program.
    pub engine_version: String,
    /// The hash of the text of all rules.
    pub pack_sha256: String,
    /// By source relation and partition the position behind the last record that the epoch took in.
    pub positions: BTreeMap<String, BTreeMap<i32, i64>>,
    /// By source relation its watermark, in RFC 3339; none where it has none yet.
    pub watermarks: BTreeMap<String, Option<String>>,
    /// Why sinks were paused at that time, by sink.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused: BTreeMap<String, String>,
}

/// A row that left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditedRow {
    /// The number of its epoch.
    pub epoch: u64,
    /// The sink.
    pub sink: String,
    /// The id of the rules that it follows from: a hash of their meaning and of all that they read, see `curb explain`.
    pub rule_version: String,
    /// The Kafka key as text, whatever the format of keys; none where the sink holds PRIVATE columns.
    pub key: Option<String>,
    /// The header `curb_id` of the record.
    pub id: Option<String>,
    /// The row as JSON, whatever the format of the sink; none for a tombstone, for a row that is too large, and where the
    /// sink holds PRIVATE columns.
    pub row: Option<Box<RawValue>>,
    /// The hash of the record's value as it was written; none for a tombstone.
    pub sha256: Option<String>,
}

/// A line that does not follow from the one before it, or is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail is broken at record {record}: {reason}")]
pub struct BrokenTrail {
    /// The number of the record, from 0.
    pub record: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Writes the audit trail of a worker.
pub(super) struct AuditTrail {
    options: AuditOptions,
    /// The rules' version by sink.
    versions: BTreeMap<Arc<str>, String>,
    head: String,
}

impl AuditTrail {
    /// A trail that goes on behind the line with the hash `head`.
    pub(super) fn new(pipeline: &Pipeline, options: AuditOptions, head: Option<String>) -> Self {
        let version = |relation: usize| pipeline.relations.get(relation).map(|r| r.operator_id.clone());
        let versions = pipeline.sinks.iter().filter_map(|s| Some((s.name.clone(), version(s.relation)?)));
        Self { options, versions: versions.collect(), head: head.unwrap_or_else(|| GENESIS.into()) }
    }

    /// The hash of the last line.
    pub(super) fn head(&self) -> &str {
        &self.head
    }

    /// Adds the lines of an epoch to its outputs, if any rows leave in it.
    pub(super) fn write(&mut self, epoch: &mut OpenEpoch, record: &EpochRecord) -> Result<(), serde_json::Error> {
        let mut lines = RecordBatchBytes::default();
        for (topic, records, headers, readable) in epoch.outputs() {
            let OutputTopic::Sink(sink) = topic else { continue };
            if lines.is_empty() {
                self.push(&mut lines, &AuditRecord::Epoch(self.epoch(record)))?;
            }
            for (idx, row) in records.iter().enumerate() {
                let headers = headers.get(idx).map_or(&[][..], Vec::as_slice);
                let audited = self.row(record.epoch, sink, &row, headers, readable.get(idx));
                self.push(&mut lines, &AuditRecord::Row(audited))?;
            }
        }
        epoch.write(OutputTopic::Audit, Encoded { records: lines, ..Encoded::default() });
        Ok(())
    }

    fn push(&mut self, lines: &mut RecordBatchBytes, record: &AuditRecord) -> Result<(), serde_json::Error> {
        let text = serde_json::to_string(record)?;
        let body = format!("{},\"previous\":\"{}\"", text.strip_suffix('}').unwrap_or(&text), self.head);
        self.head = sha256(body.as_bytes());
        let line = format!("{body},\"hash\":\"{}\"}}", self.head);
        // One partition, so that there is one trail.
        let meta = RecordMeta { partition: 0, ..output_meta(lines.len() as u64) };
        lines.push(meta, None, Some(line.as_bytes()));
        Ok(())
    }

    fn epoch(&self, record: &EpochRecord) -> AuditedEpoch {
        let mut positions: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for p in &record.partitions {
            positions.entry(p.relation.clone()).or_default().insert(p.partition, p.position);
        }
        AuditedEpoch {
            epoch: record.epoch,
            clock: rfc3339(record.clock_ms).unwrap_or_default(),
            engine_version: env!("CARGO_PKG_VERSION").into(),
            pack_sha256: self.options.pack_sha256.clone(),
            positions,
            watermarks: record.watermarks.iter().map(|(name, ms)| (name.clone(), rfc3339(*ms))).collect(),
            paused: record.control.paused.clone(),
        }
    }

    fn row(
        &self,
        epoch: u64,
        sink: &Arc<str>,
        row: &RecordView<'_>,
        headers: &[(String, Vec<u8>)],
        readable: Option<&Readable>,
    ) -> AuditedRow {
        let is_private = self.options.private_sinks.contains(sink);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (key, said) = match readable {
            Some(readable) => (readable.key.as_deref(), readable.row.as_deref()),
            None => (row.key, row.value),
        };
        let kept = said.filter(|value| !is_private && value.len() <= ROW_BYTES_MAX);
        AuditedRow {
            epoch,
            sink: sink.to_string(),
            rule_version: self.versions.get(sink).cloned().unwrap_or_default(),
            key: key.filter(|_| !is_private).map(text),
            id: headers.iter().find(|(name, _)| name == "curb_id").map(|(_, id)| text(id)),
            row: kept.and_then(|value| RawValue::from_string(text(value)).ok()),
            sha256: row.value.map(sha256),
        }
    }
}

/// Follows a trail line by line, and checks that each follows from the one before.
#[derive(Debug)]
pub struct TrailReader {
    head: String,
    n_read: usize,
}

impl TrailReader {
    /// Begins behind the hash `previous`.
    pub fn behind(previous: &str) -> Self {
        Self { head: previous.to_owned(), n_read: 0 }
    }

    /// How many lines were read.
    pub fn n_read(&self) -> usize {
        self.n_read
    }

    /// Reads the next line.
    pub fn read(&mut self, line: &[u8]) -> Result<AuditRecord, BrokenTrail> {
        let broken = |reason: &str| BrokenTrail { record: self.n_read, reason: reason.into() };
        let text = std::str::from_utf8(line).map_err(|_| broken("it is no text"))?.trim_end();
        let (body, end) = text.rsplit_once(",\"hash\":\"").ok_or_else(|| broken("it has no hash"))?;
        if !body.ends_with(&format!(",\"previous\":\"{}\"", self.head)) {
            return Err(broken("it does not follow the record before it: records are missing, or were put in"));
        }
        let head = sha256(body.as_bytes());
        if end != format!("{head}\"}}") {
            return Err(broken("its hash does not agree with its text: it was changed"));
        }
        let record = record(text).map_err(|e| broken(&e.to_string()))?;
        (self.head, self.n_read) = (head, self.n_read + 1);
        Ok(record)
    }
}

/// Reads a trail, and checks that each line follows from the one before. `previous` is the hash before the first line.
pub fn read_trail<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    previous: &str,
) -> Result<Vec<AuditRecord>, BrokenTrail> {
    let mut reader = TrailReader::behind(previous);
    lines.into_iter().map(|line| reader.read(line)).collect()
}

/// Reads a line. In two steps, since the row keeps its own text.
fn record(text: &str) -> Result<AuditRecord, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Epoch,
        Row,
    }
    #[derive(Deserialize)]
    struct Tag {
        kind: Kind,
    }
    Ok(match serde_json::from_str::<Tag>(text)?.kind {
        Kind::Epoch => AuditRecord::Epoch(serde_json::from_str(text)?),
        Kind::Row => AuditRecord::Row(serde_json::from_str(text)?),
    })
}

fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).iter())
}

/// An instant in milliseconds; none where a watermark is at one of its ends.
fn rfc3339(ms: i64) -> Option<String> {
    DateTime::from_timestamp_millis(ms).map(|t| t.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Headers, SealedEpoch};

    fn trail(options: AuditOptions, head: Option<String>) -> AuditTrail {
        AuditTrail {
            options,
            versions: [("actions".into(), "00ff".into())].into(),
            head: head.unwrap_or_else(|| GENESIS.into()),
        }
    }

    fn written(trail: &mut AuditTrail, number: u64, rows: &[(&str, Option<&str>)]) -> Vec<Vec<u8>> {
        let mut epoch = OpenEpoch::open(number, BTreeMap::new());
        let mut records = RecordBatchBytes::default();
        for (idx, (key, value)) in rows.iter().enumerate() {
            records.push(output_meta(idx as u64), Some(key.as_bytes()), value.map(str::as_bytes));
        }
        let id: Headers = vec![("curb_id".into(), b"i1".to_vec())];
        epoch.write(
            OutputTopic::Sink("actions".into()),
            Encoded { headers: vec![id; rows.len()], records, ..Encoded::default() },
        );
        trail.write(&mut epoch, &EpochRecord { epoch: number, ..EpochRecord::default() }).unwrap();
        let SealedEpoch { outputs, .. } = epoch.seal();
        let of_trail = outputs.iter().filter(|(topic, _)| *topic == OutputTopic::Audit);
        of_trail
            .flat_map(|(_, records)| records.iter().map(|r| r.value.unwrap().to_vec()).collect::<Vec<_>>())
            .collect()
    }

    fn read(lines: &[Vec<u8>]) -> Result<Vec<AuditRecord>, BrokenTrail> {
        read_trail(lines.iter().map(Vec::as_slice), GENESIS)
    }

    #[test]
    fn a_trail_goes_on_over_epochs_and_restarts() {
        let mut first = trail(AuditOptions::default(), None);
        let mut lines = written(&mut first, 1, &[("p1", Some(r#"{"action_id":"a1"}"#)), ("p2", None)]);
        assert!(written(&mut first, 2, &[]).is_empty(), "an epoch without rows says nothing");
        let mut restarted = trail(AuditOptions::default(), Some(first.head().into()));
        lines.extend(written(&mut restarted, 3, &[("p1", Some(r#"{"action_id":"a2"}"#))]));
        let records = read(&lines).unwrap();
        assert_eq!(records.len(), 5);
        let AuditRecord::Row(row) = &records[1] else { panic!("{:?}", records[1]) };
        assert_eq!(
            (row.key.as_deref(), row.id.as_deref(), row.rule_version.as_str()),
            (Some("p1"), Some("i1"), "00ff")
        );
        assert_eq!(row.row.as_ref().unwrap().get(), r#"{"action_id":"a1"}"#);
        let AuditRecord::Row(tombstone) = &records[2] else { panic!("{:?}", records[2]) };
        assert!(tombstone.row.is_none() && tombstone.sha256.is_none());
    }

    #[test]
    fn whatever_is_done_to_a_trail_shows() {
        let rows = [("p1", Some(r#"{"action_id":"a1"}"#)), ("p2", Some(r#"{"action_id":"a2"}"#))];
        let lines = written(&mut trail(AuditOptions::default(), None), 1, &rows);
        for idx in 0..lines.len() {
            let mut changed = lines.clone();
            let text = String::from_utf8(changed[idx].clone()).unwrap();
            changed[idx] = text.replacen("\"epoch\":1", "\"epoch\":7", 1).into_bytes();
            assert_eq!(read(&changed).unwrap_err().record, idx);
            let mut taken_out = lines.clone();
            taken_out.remove(idx);
            assert_eq!(read(&taken_out).err().map(|e| e.record), (idx + 1 < lines.len()).then_some(idx));
            let mut put_in = lines.clone();
            put_in.insert(idx, lines[idx].clone());
            assert_eq!(read(&put_in).unwrap_err().record, idx + 1);
        }
    }

    #[test]
    fn of_a_private_sink_the_hash_alone_is_kept() {
        let options = AuditOptions { private_sinks: ["actions".into()].into(), ..AuditOptions::default() };
        let lines = written(&mut trail(options, None), 1, &[("330522", Some(r#"{"phone":"13800"}"#))]);
        assert!(!lines.concat().windows(6).any(|w| w == b"330522" || w == b"\"phone"), "{lines:?}");
        let AuditRecord::Row(row) = &read(&lines).unwrap()[1] else { panic!("no row") };
        assert_eq!(row.sha256.as_deref(), Some(sha256(br#"{"phone":"13800"}"#).as_str()));
    }
}
