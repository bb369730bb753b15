//! How logged state looks as bytes: a checked frame around a JSON header and a compressed Arrow IPC batch.
//!
//! Frame: magic, format version, part, number of parts, checksum, body. A delta that is larger than the byte limit is cut
//! into parts, which follow one another within their shard. Corrupted bytes give an error, never a panic: a body is looked
//! into only after its checksum agreed.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ipc_stream::read_batch;
use super::worker::LoggedControl;
use crate::stream::Delta;

const MAGIC: [u8; 4] = *b"CRBD";
/// The version of frame, header and payload. Readers refuse any other.
const FORMAT_VERSION: u16 = 1;
const CHECKSUM_BYTES: usize = 8;
const FRAME_BYTES: usize = 4 + 2 + 4 + 4 + CHECKSUM_BYTES;
/// A batch is compressed from this size on; below, the codec's own frame costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 512;

/// One logged fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Logged {
    /// An epoch was committed: its number, and where it left sources and watermarks.
    Epoch(EpochRecord),
    /// What an epoch changed in one shard of a relation's state.
    State {
        /// The operator's id.
        operator_id: String,
        /// The name of the relation, for messages.
        relation: String,
        /// The operator's own delta.
        batch: RecordBatch,
    },
}

/// What is logged of an epoch beside its operators' state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The number of the epoch, from 1.
    pub epoch: u64,
    /// The wall clock of the epoch in milliseconds: the only one it knew.
    pub clock_ms: i64,
    /// Every known source partition.
    pub partitions: Vec<PartitionRecord>,
    /// The watermark of each source that has one, in milliseconds.
    pub watermarks: BTreeMap<String, i64>,
    /// What is paused, and whether the first load has been handed over.
    #[serde(default)]
    pub control: LoggedControl,
    /// The hash of the audit trail's last line; none where no trail is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_head: Option<String>,
    /// The wall clock of the log's first epoch in milliseconds: tells a log from another one of the same name.
    #[serde(default)]
    pub log_began_ms: i64,
    /// The shards and logged relations of the pipeline: written with the first epoch after a start, and wherever shard 0 may
    /// be cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<LoggedPipeline>,
}

/// A source partition as an epoch left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// The source relation.
    pub relation: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub position: i64,
    /// The greatest event time seen, in milliseconds.
    pub event_ms_max: Option<i64>,
}

/// What a pipeline logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedPipeline {
    /// The number of shards.
    pub n_shards: u32,
    /// The relations whose state is logged.
    pub relations: Vec<LoggedRelation>,
}

/// A relation whose state is logged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoggedRelation {
    /// Its name.
    pub name: String,
    /// The id of its operator.
    pub operator_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Header {
    Epoch(EpochRecord),
    State { operator_id: String, relation: String },
}

/// Why a delta could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The bytes are no delta, or not whole: the state topic holds something else, or was damaged.
    #[error("delta is corrupted: {0}")]
    Corrupted(&'static str),
    /// Another version of this program wrote it: use that version, or start with a new pipeline name.
    #[error("delta has format version {found}, but this program reads version {FORMAT_VERSION}")]
    Version {
        /// The version found.
        found: u16,
    },
    /// Arrow could not encode or decode the batch.
    #[error("batch of a delta could not be read or written")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The header could not be encoded or decoded.
    #[error("header of a delta could not be read or written")]
    Header(#[from] serde_json::Error),
    /// A snapshot of state does not belong where it was found.
    #[error("snapshot cannot be used: {0}")]
    Unusable(String),
    /// Two deltas of one operator have different columns.
    #[error("deltas of relation `{relation}` have different columns")]
    Schema {
        /// The relation.
        relation: String,
    },
}

/// Writes deltas below a byte limit, and reads them back. Reading keeps parts and columns seen so far.
#[derive(Debug)]
pub struct DeltaCodec {
    bytes_max: usize,
    /// Parts of a delta that is not complete yet, by shard.
    parts: BTreeMap<u32, Parts>,
    /// The columns of each operator's deltas.
    schemas: BTreeMap<String, SchemaRef>,
}

#[derive(Debug)]
struct Parts {
    n_parts: u32,
    n_read: u32,
    body: Vec<u8>,
}

impl DeltaCodec {
    /// A codec whose deltas have at most `bytes_max` bytes each.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max: bytes_max.max(FRAME_BYTES + 1), parts: BTreeMap::new(), schemas: BTreeMap::new() }
    }

    /// Encodes what is logged for one shard.
    pub fn encode(&self, shard: u32, logged: &Logged) -> Result<Vec<Delta>, DeltaError> {
        let body = match logged {
            Logged::Epoch(record) => encode_body(&Header::Epoch(record.clone()), None)?,
            Logged::State { operator_id, relation, batch } => {
                let header = Header::State { operator_id: operator_id.clone(), relation: relation.clone() };
                encode_body(&header, Some(batch))?
            }
        };
        let parts: Vec<&[u8]> = body.chunks(self.bytes_max - FRAME_BYTES).collect();
        let n_parts = parts.len() as u32;
        Ok((0..n_parts).zip(parts).map(|(part, body)| Delta { shard, bytes: frame(part, n_parts, body) }).collect())
    }

    /// Decodes a delta; none while parts of it are missing. Deltas of a shard must come in the order they were logged.
    pub fn decode(&mut self, delta: &Delta) -> Result<Option<Logged>, DeltaError> {
        let (part, n_parts, body) = unframe(&delta.bytes)?;
        if part == 0 {
            // The rest of a delta cut short belongs to a transaction that was never committed.
            self.parts.insert(delta.shard, Parts { n_parts, n_read: 0, body: Vec::new() });
        }
        let parts = self.parts.get_mut(&delta.shard).ok_or(DeltaError::Corrupted("its first part is missing"))?;
        if parts.n_read != part || parts.n_parts != n_parts {
            return Err(DeltaError::Corrupted("a part is missing"));
        }
        parts.body.extend_from_slice(body);
        parts.n_read += 1;
        if parts.n_read < n_parts {
            return Ok(None);
        }
        let Some(whole) = self.parts.remove(&delta.shard) else { return Ok(None) };
        let (header, batch) = decode_body(&whole.body)?;
        match (header, batch) {
            (Header::Epoch(record), _) => Ok(Some(Logged::Epoch(record))),
            (Header::State { operator_id, relation }, Some(batch)) => {
                self.check_schema(&operator_id, &relation, &batch)?;
                Ok(Some(Logged::State { operator_id, relation, batch }))
            }
            (Header::State { .. }, None) => Err(DeltaError::Corrupted("it has no batch")),
        }
    }

    /// Whether parts of a delta were read, but not all.
    pub fn is_incomplete(&self) -> bool {
        !self.parts.is_empty()
    }

    fn check_schema(&mut self, operator_id: &str, relation: &str, batch: &RecordBatch) -> Result<(), DeltaError> {
        match self.schemas.get(operator_id) {
            Some(schema) if *schema == batch.schema() => Ok(()),
            Some(_) => Err(DeltaError::Schema { relation: relation.into() }),
            None => {
                self.schemas.insert(operator_id.into(), batch.schema());
                Ok(())
            }
        }
    }
}

fn frame(part: u32, n_parts: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME_BYTES + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&part.to_le_bytes());
    bytes.extend_from_slice(&n_parts.to_le_bytes());
    bytes.extend_from_slice(&checksum(part, n_parts, body));
    bytes.extend_from_slice(body);
    bytes
}

fn unframe(bytes: &[u8]) -> Result<(u32, u32, &[u8]), DeltaError> {
    let cut_short = DeltaError::Corrupted("it is cut short");
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else { return Err(cut_short) };
    if *magic != MAGIC {
        return Err(DeltaError::Corrupted("it does not start as a delta does"));
    }
    let Some((version, rest)) = rest.split_first_chunk::<2>() else { return Err(cut_short) };
    let version = u16::from_le_bytes(*version);
    if version != FORMAT_VERSION {
        return Err(DeltaError::Version { found: version });
    }
    let Some((part, rest)) = rest.split_first_chunk::<4>() else { return Err(cut_short) };
    let Some((n_parts, rest)) = rest.split_first_chunk::<4>() else { return Err(cut_short) };
    let Some((sum, body)) = rest.split_first_chunk::<CHECKSUM_BYTES>() else { return Err(cut_short) };
    let (part, n_parts) = (u32::from_le_bytes(*part), u32::from_le_bytes(*n_parts));
    if *sum != checksum(part, n_parts, body) {
        return Err(DeltaError::Corrupted("its checksum does not agree"));
    }
    Ok((part, n_parts, body))
}

fn checksum(part: u32, n_parts: u32, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update(part.to_le_bytes()).chain_update(n_parts.to_le_bytes()).chain_update(body);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
    sum
}

fn encode_body(header: &Header, batch: Option<&RecordBatch>) -> Result<Vec<u8>, DeltaError> {
    let header = serde_json::to_vec(header)?;
    let mut body = (header.len() as u32).to_le_bytes().to_vec();
    body.extend_from_slice(&header);
    let Some(batch) = batch else { return Ok(body) };
    let compression = (batch.get_array_memory_size() >= COMPRESS_BYTES_MIN).then_some(CompressionType::LZ4_FRAME);
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    let mut writer = StreamWriter::try_new_with_options(body, &batch.schema(), options)?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

fn decode_body(body: &[u8]) -> Result<(Header, Option<RecordBatch>), DeltaError> {
    let cut_short = DeltaError::Corrupted("its header is cut short");
    let Some((len, rest)) = body.split_first_chunk::<4>() else { return Err(cut_short) };
    let Some((header, rest)) = rest.split_at_checked(u32::from_le_bytes(*len) as usize) else { return Err(cut_short) };
    let header: Header = serde_json::from_slice(header)?;
    if rest.is_empty() {
        return Ok((header, None));
    }
    Ok((header, read_batch(rest)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;

    fn batch(rows: &[(Option<i64>, String)]) -> RecordBatch {
        let schema =
            Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("text", DataType::Utf8, false)]);
        let n: Int64Array = rows.iter().map(|(n, _)| *n).collect();
        let text: StringArray = rows.iter().map(|(_, t)| Some(t.as_str())).collect();
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(n), Arc::new(text)]).unwrap()
    }

    fn state(rows: &[(Option<i64>, String)]) -> Logged {
        Logged::State { operator_id: "00ff".into(), relation: "captures".into(), batch: batch(rows) }
    }

    proptest! {
        #[test]
        fn what_was_logged_is_read_back_whatever_the_byte_limit(
            rows in prop::collection::vec((any::<Option<i64>>(), ".{0,40}"), 0..60),
            bytes_max in 1usize..400,
            shard in 0u32..4,
        ) {
            let mut codec = DeltaCodec::new(bytes_max);
            let logged = state(&rows);
            let deltas = codec.encode(shard, &logged).unwrap();
            prop_assert!(deltas.iter().all(|d| d.bytes.len() <= bytes_max.max(FRAME_BYTES + 1) && d.shard == shard));
            let (last, rest) = deltas.split_last().unwrap();
            for delta in rest {
                prop_assert_eq!(codec.decode(delta).unwrap(), None);
                prop_assert!(codec.is_incomplete());
            }
            prop_assert_eq!(codec.decode(last).unwrap(), Some(logged));
            prop_assert!(!codec.is_incomplete());
        }

        #[test]
        fn a_changed_byte_is_an_error(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut codec = DeltaCodec::new(1 << 20);
            let mut delta = codec.encode(0, &state(&[(Some(1), "p1".into()), (None, "p2".into())])).unwrap().remove(0);
            let at = at.index(delta.bytes.len());
            delta.bytes[at] ^= flip;
            prop_assert!(codec.decode(&delta).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let delta = Delta { shard: 0, bytes };
            prop_assert!(DeltaCodec::new(1000).decode(&delta).is_err());
        }
    }

    #[test]
    fn another_version_is_refused_by_number() {
        let mut codec = DeltaCodec::new(1000);
        let mut delta = codec.encode(0, &state(&[])).unwrap().remove(0);
        delta.bytes[4] = 9;
        assert_eq!(
            codec.decode(&delta).unwrap_err().to_string(),
            "delta has format version 9, but this program reads version 1"
        );
    }

    #[test]
    fn a_missing_part_is_an_error() {
        let mut codec = DeltaCodec::new(64);
        let rows: Vec<_> = (0..20).map(|i| (Some(i), format!("row {i}"))).collect();
        let deltas = codec.encode(0, &state(&rows)).unwrap();
        assert!(deltas.len() > 3);
        assert_eq!(codec.decode(&deltas[0]).unwrap(), None);
        assert!(codec.decode(&deltas[2]).is_err());
    }

    #[test]
    fn deltas_of_one_operator_must_have_the_same_columns() {
        let mut codec = DeltaCodec::new(1 << 20);
        let other = batch(&[]).project(&[0]).unwrap();
        let other = Logged::State { operator_id: "00ff".into(), relation: "captures".into(), batch: other };
        let first = codec.encode(0, &state(&[])).unwrap().remove(0);
        let second = codec.encode(0, &other).unwrap().remove(0);
        codec.decode(&first).unwrap();
        assert_eq!(
            codec.decode(&second).unwrap_err().to_string(),
            "deltas of relation `captures` have different columns"
        );
    }

    #[test]
    fn an_epoch_record_is_read_back() {
        let record = EpochRecord {
            epoch: 7,
            clock_ms: 1_700_000_000_000,
            partitions: vec![PartitionRecord {
                relation: "captures".into(),
                partition: 3,
                position: 42,
                event_ms_max: None,
            }],
            watermarks: BTreeMap::from([("captures".to_string(), i64::MIN)]),
            control: LoggedControl {
                paused: BTreeMap::from([("actions".to_owned(), "by hand".to_owned())]),
                is_loaded: true,
            },
            audit_head: Some("00ff".into()),
            log_began_ms: 3,
            pipeline: Some(LoggedPipeline { n_shards: 8, relations: vec![] }),
        };
        let mut codec = DeltaCodec::new(1 << 20);
        let delta = codec.encode(0, &Logged::Epoch(record.clone())).unwrap().remove(0);
        assert_eq!(codec.decode(&delta).unwrap(), Some(Logged::Epoch(record)));
    }
}
