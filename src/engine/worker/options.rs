//! How a worker runs: what differs between a service and a replay.

use std::sync::Arc;
use std::time::Duration;

use super::control::EmitFrom;
use crate::engine::{AuditOptions, UpkeepOptions};
use crate::format::SchemaRegistry;
use crate::format::json::Wire;
use crate::stream::{PollLimit, ShardCount, Watermark};

/// How a worker runs.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The number of shards.
    pub n_shards: ShardCount,
    /// How much one epoch takes.
    pub limit: PollLimit,
    /// How long a poll waits for the first record.
    pub poll_wait: Duration,
    /// The shortest time between two commits.
    pub commit_interval_min: Duration,
    /// How many bytes of a late or rejected record are handed on.
    pub raw_bytes_max: usize,
    /// How tables' records look.
    pub wire: Wire,
    /// Where the schemas of records are; none where no format needs it.
    pub registry: Option<Arc<SchemaRegistry>>,
    /// Whether streams are held back until the first load is complete. False where the reading order does that.
    pub pause_streams_while_loading: bool,
    /// The first pause after a failed epoch; it doubles as long as epochs fail.
    pub backoff_min: Duration,
    /// Where watermarks go at the end of input.
    pub end_watermark: Watermark,
    /// How many rows a relation hands over to a sink in one epoch at most.
    pub hand_over_max: usize,
    /// Whether `settle` and `max_rate` of sinks have an effect.
    pub holds_back: bool,
    /// What the first load may emit.
    pub emit_from: EmitFrom,
    /// What the audit trail says; none where no trail is written. A trail needs one epoch under way at a time.
    pub audit: Option<AuditOptions>,
    /// How logged state is looked after.
    pub upkeep: UpkeepOptions,
    /// Whether to stop when everything that was there at start has been committed.
    pub until_caught_up: bool,
    /// How many epochs may be between reading and commit at a time. More than one only where nothing is logged nor held
    /// back: then the cores work on different relations and epochs, and the answer is the same.
    pub epochs_under_way: usize,
}

/// Enough for two or more cores to find work, and little memory.
const REPLAY_EPOCHS_UNDER_WAY: usize = 3;

impl WorkerOptions {
    /// For a service on Kafka.
    pub fn live(n_shards: ShardCount) -> Self {
        Self {
            n_shards,
            limit: PollLimit { records: 100_000, bytes: 64 << 20 },
            poll_wait: Duration::from_millis(100),
            commit_interval_min: Duration::from_millis(20),
            raw_bytes_max: 64 << 10,
            wire: Wire::Kafka,
            registry: None,
            pause_streams_while_loading: true,
            backoff_min: Duration::from_millis(100),
            end_watermark: Watermark::MAX,
            hand_over_max: 200_000,
            holds_back: true,
            emit_from: EmitFrom::Earliest,
            audit: None,
            upkeep: UpkeepOptions::default(),
            until_caught_up: false,
            epochs_under_way: 1,
        }
    }

    /// For a replay of files, whose epochs are 100,000 records whatever their size.
    pub fn replay(n_shards: ShardCount) -> Self {
        Self {
            limit: PollLimit { records: 100_000, bytes: usize::MAX },
            poll_wait: Duration::ZERO,
            commit_interval_min: Duration::ZERO,
            wire: Wire::Lines,
            pause_streams_while_loading: false,
            hand_over_max: usize::MAX,
            holds_back: false,
            epochs_under_way: REPLAY_EPOCHS_UNDER_WAY,
            ..Self::live(n_shards)
        }
    }
}
