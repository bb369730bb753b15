//! The port of logged state: read back at a start, rewritten while it grows, followed by whoever keeps a copy.
//!
//! The log has one part a shard, and each part its own offsets. Deltas of one epoch stand together in each part.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Delta, SourceError, SourcePartition};

/// What a state log held when it was read.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The committed positions, which the next epoch starts from; empty at a first start.
    pub positions: BTreeMap<SourcePartition, i64>,
    /// How many deltas were read.
    pub n_deltas: u64,
    /// The number of the last committed epoch; 0 at a first start, or where the log does not know.
    pub epoch: u64,
}

/// Takes a log in while it is read.
pub trait LogReader {
    /// Told once, before any delta: what the log of each shard holds, from the first offset that is still there to behind
    /// the last. Returns the offset to read from of each shard that is not to be read from its first.
    fn begin(&mut self, ranges: &BTreeMap<u32, Range<i64>>) -> BTreeMap<u32, i64>;

    /// Takes a committed delta and its offset. Shards come in any order, the deltas of a shard in that of their epochs.
    fn take(&mut self, offset: i64, delta: Delta) -> Result<(), String>;
}

/// Where logged state is read back.
pub trait StateLog: Send {
    /// Hands every committed delta to `reader`.
    fn restore(&mut self, reader: &mut dyn LogReader) -> Result<Restored, SourceError>;

    /// A second reader of the log, for a thread of its own; none where there is none.
    fn follower(&self) -> Option<Box<dyn LogFollower>> {
        None
    }

    /// Asks where a shard's log ends, without waiting for the answer. An end lies between two epochs.
    fn ask_end(&mut self, _shard: u32) {}

    /// The answers since the last call: everything committed after this call lies behind the end told here. None where
    /// it could not be asked.
    fn take_ends(&mut self) -> Vec<(u32, Option<i64>)> {
        Vec::new()
    }

    /// Deletes what lies before an offset of a shard's log, without waiting. Where that fails it stays, which does no harm.
    fn cut(&mut self, _shard: u32, _before: i64) {}
}

/// Reads a state log beside the worker that writes it.
pub trait LogFollower: Send {
    /// What the log of a shard holds: from the first offset that is still there to behind the last committed epoch.
    fn range(&mut self, shard: u32) -> Result<Range<i64>, SourceError>;

    /// Hands the committed deltas of a shard in a range, with their offsets, to `take`.
    fn read(
        &mut self,
        shard: u32,
        range: Range<i64>,
        take: &mut dyn FnMut(i64, Delta) -> Result<(), String>,
    ) -> Result<(), SourceError>;
}
