//! The ports: what an engine needs of the world, implemented on Kafka and on local files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Contact, RecordBatchBytes, SourcePartition};

/// How much one poll may take.
#[derive(Clone, Copy, Debug)]
pub struct PollLimit {
    /// Records over all sources.
    pub records: usize,
    /// Bytes of keys and values over all sources.
    pub bytes: usize,
}

/// What is known of one source partition after a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The next offset to read.
    pub position: i64,
    /// The end offset, as last told by the broker; none until it has been asked.
    pub end: Option<i64>,
    /// Whether everything up to the end noted at start has been handed over.
    pub caught_up: bool,
    /// Whether nothing came for the idle timeout although the partition was read to its end.
    pub idle: bool,
}

/// What one poll brought.
#[derive(Clone, Debug, Default)]
pub struct Polled {
    /// Raw records by source relation, each in reading order.
    pub records: BTreeMap<Arc<str>, RecordBatchBytes>,
    /// The partitions whose status changed.
    pub partitions: BTreeMap<SourcePartition, PartitionStatus>,
    /// Event times (milliseconds) that partitions have come to although no record says so.
    pub reached: BTreeMap<SourcePartition, i64>,
    /// Whether the input has ended for good (files and tests only).
    pub end_of_input: bool,
}

/// Where records come from.
///
/// Source, sink and state log of a worker belong together: the source reads from the positions that the last restore told.
pub trait Source: Send {
    /// Takes what has arrived, in reading order, waiting at most `wait` for the first record.
    ///
    /// Relations named in `paused` are not read. The first poll after a restore tells every partition's status.
    /// Errors tell whether the worker may go on; after [`SourceError::AssignmentLost`] the state must be restored first.
    fn poll(&mut self, limit: PollLimit, wait: Duration, paused: &[Arc<str>]) -> Result<Polled, SourceError>;

    /// Goes back (or forward) to committed positions: the next poll starts there and tells the status of every partition.
    ///
    /// Partitions that are not named are read from their start. A source that shares its client with the state log has
    /// learnt the positions from the restore already.
    fn rewind(&mut self, _positions: &BTreeMap<SourcePartition, i64>) -> Result<(), SourceError> {
        Ok(())
    }

    /// Whether the other end answers. What has no other end always does.
    fn contact(&self) -> Contact {
        Contact::default()
    }
}

/// Where an output record goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputTopic {
    /// The topic of a sink, by the sink's name.
    Sink(Arc<str>),
    /// Late records of a source relation.
    Late(Arc<str>),
    /// Rejected records of a source relation.
    Rejected(Arc<str>),
    /// The audit trail of the pipeline.
    Audit,
}

impl OutputTopic {
    /// The sink or source relation that it belongs to; `audit` for the audit trail.
    pub fn name(&self) -> &str {
        match self {
            Self::Sink(name) | Self::Late(name) | Self::Rejected(name) => name,
            Self::Audit => "audit",
        }
    }
}

/// How a sink shows the deletion of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TombstoneForm {
    /// A record without value, as Kafka does.
    NoValue,
    /// A line `{"_tombstone": true, <key columns>}`.
    Line,
}

/// A piece of logged state: what one operator's shard changed in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The shard, also the partition of the state topic.
    pub shard: u32,
    /// The delta as written: format version, operator id and compressed Arrow IPC.
    pub bytes: Vec<u8>,
}

/// The headers of one record: names and values.
pub type Headers = Vec<(String, Vec<u8>)>;

/// One epoch, ready to be committed as a whole: positions, outputs, deltas.
#[derive(Clone, Debug, Default)]
pub struct SealedEpoch {
    /// The number of the epoch, from 1, without gaps over restarts.
    pub number: u64,
    /// For each owned partition the next offset to read.
    pub positions: BTreeMap<SourcePartition, i64>,
    /// Encoded output records. `partition` in their meta is -1 where the key decides.
    pub outputs: Vec<(OutputTopic, RecordBatchBytes)>,
    /// Header blocks of the outputs: entry `i` belongs to `outputs[i]` and has one list a record, or is empty.
    pub headers: Vec<Vec<Headers>>,
    /// Logged state.
    pub deltas: Vec<Delta>,
}

/// An output record that its topic does not take, whatever is tried: the epoch was committed without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undeliverable {
    /// Where it was to go.
    pub output: OutputTopic,
    /// Its place in the epoch's records for that output.
    pub record_idx: usize,
    /// Its size, with headers and framing.
    pub bytes: usize,
    /// The greatest size that the topic takes.
    pub limit_bytes: usize,
}

/// What became of an epoch whose commit was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is visible.
    Committed,
    /// Nothing of it is visible, nor will be.
    NotCommitted,
}

/// Where epochs are committed.
pub trait Sink: Send {
    /// How this end writes the deletion of a key.
    fn tombstones(&self) -> TombstoneForm;

    /// Commits an epoch: all of it becomes visible, or nothing.
    ///
    /// The same epoch may be given again after [`CommitError::Aborted`], and after [`CommitError::Unknown`] once
    /// [`Sink::outcome`] has said that it was not committed.
    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError>;

    /// Finds out what became of an epoch whose commit ended with [`CommitError::Unknown`].
    ///
    /// From then on the lost attempt cannot become visible any more. [`CommitError::Unknown`] says that there was no answer
    /// yet: ask again.
    fn outcome(&mut self, epoch: &SealedEpoch) -> Result<Outcome, CommitError>;

    /// The greatest delta that one [`Delta`] may hold, in bytes.
    fn max_delta_bytes(&self) -> usize {
        usize::MAX
    }

    /// Hears what a client has to tell while nothing is committed. Must be called now and then, or that piles up.
    fn serve(&mut self) {}

    /// Takes the records that were left out of committed epochs since the last call. None vanishes unsaid.
    fn take_undeliverable(&mut self) -> Vec<Undeliverable> {
        Vec::new()
    }
}

/// Why a source or a state log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The broker cannot be reached; the operator checks address and network.
    #[error("broker unreachable: {0}")]
    Unreachable(String),
    /// The configuration or the cluster must be changed first.
    #[error("{0}")]
    Configuration(String),
    /// A newer instance has taken over; this one must stop.
    #[error("fenced by a newer instance: {0}")]
    Fenced(String),
    /// The partitions were taken away: drop the epoch, restore, go on.
    #[error("assignment lost: {0}")]
    AssignmentLost(String),
    /// A policy stops the worker, for instance an offset out of range.
    #[error("{0}")]
    Policy(String),
    /// A file or a delta could not be read.
    #[error("{0}")]
    Io(String),
}

/// Why an epoch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of the epoch is visible. Commit it again.
    #[error("epoch aborted: {0}")]
    Aborted(String),
    /// No one knows whether the epoch is visible. Ask for its [`Outcome`] before anything else.
    #[error("outcome of the commit unknown: {0}")]
    Unknown(String),
    /// Nothing of the epoch is visible, and the partitions belong to another generation. Drop it, restore, go on.
    #[error("assignment lost: {0}")]
    AssignmentLost(String),
    /// A newer instance has taken over; this one must stop.
    #[error("fenced by a newer instance: {0}")]
    Fenced(String),
    /// The client is beyond repair or the output cannot be written; stop.
    #[error("{0}")]
    Fatal(String),
}

impl CommitError {
    /// How the transaction ended, in one word, as measurements name it.
    pub fn result(&self) -> &'static str {
        match self {
            Self::Aborted(_) => "abort",
            Self::Unknown(_) => "unknown",
            Self::AssignmentLost(_) => "lost",
            Self::Fenced(_) => "fenced",
            Self::Fatal(_) => "fatal",
        }
    }
}
