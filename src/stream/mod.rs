//! The words for what flows: change batches, positions, watermarks, keys, shards, and the ports at both ends.
//!
//! Everything above speaks in these types. Nothing here knows SQL, DataFusion plans, Kafka's client or files.

mod change_batch;
mod contact;
mod key;
mod ports;
mod record;
mod record_reader;
mod shard;
mod state_log;
mod watermark;

pub use change_batch::{ChangeBatch, Order};
pub use contact::Contact;
pub use key::{encode_key, kafka_partition, murmur2};
pub use ports::{
    CommitError, Delta, Headers, Outcome, OutputTopic, PartitionStatus, PollLimit, Polled, SealedEpoch, Sink, Source,
    SourceError, TombstoneForm, Undeliverable,
};
pub use record::{RecordBatchBytes, RecordMeta, RecordView, SourcePartition};
pub use record_reader::{FileRecord, OpenRecords, RecordReader};
pub use shard::{ShardCount, shard_rows, split_by_shard};
pub use state_log::{LogFollower, LogReader, Restored, StateLog};
pub use watermark::Watermark;
