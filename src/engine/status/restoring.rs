//! How far a restore has come, told while the log is read.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use super::StatusBoard;
use crate::stream::{Delta, LogFollower, LogReader, Restored, SourceError, StateLog};

/// How much of the logs of all shards a restore has read, in offsets. What snapshots hold is not among it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreStatus {
    /// What has been read.
    pub read: u64,
    /// What there is to read.
    pub total: u64,
}

/// A log that shows how far it has been read.
pub(in crate::engine) struct WatchedLog<'a> {
    log: &'a mut dyn StateLog,
    board: StatusBoard,
}

impl<'a> WatchedLog<'a> {
    pub(in crate::engine) fn new(log: &'a mut dyn StateLog, board: StatusBoard) -> Self {
        Self { log, board }
    }
}

impl StateLog for WatchedLog<'_> {
    fn restore(&mut self, reader: &mut dyn LogReader) -> Result<Restored, SourceError> {
        let board = &self.board;
        self.log.restore(&mut WatchedReader {
            reader,
            board,
            next: BTreeMap::new(),
            progress: RestoreStatus::default(),
        })
    }

    fn follower(&self) -> Option<Box<dyn LogFollower>> {
        self.log.follower()
    }
}

struct WatchedReader<'a> {
    reader: &'a mut dyn LogReader,
    board: &'a StatusBoard,
    /// By shard the offset that comes next.
    next: BTreeMap<u32, i64>,
    progress: RestoreStatus,
}

impl WatchedReader<'_> {
    fn show(&self) {
        self.board.update(|status| status.restore = Some(self.progress));
    }
}

impl LogReader for WatchedReader<'_> {
    fn begin(&mut self, ranges: &BTreeMap<u32, Range<i64>>) -> BTreeMap<u32, i64> {
        let starts = self.reader.begin(ranges);
        self.next = ranges.iter().map(|(shard, range)| (*shard, *starts.get(shard).unwrap_or(&range.start))).collect();
        let left = |(shard, next): (&u32, &i64)| ranges.get(shard).map_or(0, |range| (range.end - next).max(0));
        let total = self.next.iter().map(left).sum::<i64>();
        self.progress = RestoreStatus { read: 0, total: total.unsigned_abs() };
        self.show();
        starts
    }

    fn take(&mut self, offset: i64, delta: Delta) -> Result<(), String> {
        // Between two deltas lie the marks of transactions.
        if let Some(next) = self.next.get_mut(&delta.shard) {
            let read = (offset + 1 - *next).max(0).unsigned_abs();
            self.progress.read = (self.progress.read + read).min(self.progress.total);
            *next = (*next).max(offset + 1);
        }
        self.reader.take(offset, delta)?;
        self.show();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of two shards, of which the reader has the first half of one already.
    struct Scripted;

    impl StateLog for Scripted {
        fn restore(&mut self, reader: &mut dyn LogReader) -> Result<Restored, SourceError> {
            reader.begin(&BTreeMap::from([(0, 100..200), (1, 0..10)]));
            for (shard, offset) in [(1, 4), (0, 159), (1, 8), (0, 198)] {
                reader.take(offset, Delta { shard, bytes: Vec::new() }).map_err(SourceError::Io)?;
            }
            Ok(Restored::default())
        }
    }

    struct Seen {
        board: StatusBoard,
        shown: Vec<(u64, u64)>,
    }

    impl LogReader for Seen {
        fn begin(&mut self, _: &BTreeMap<u32, Range<i64>>) -> BTreeMap<u32, i64> {
            BTreeMap::from([(0, 150)])
        }

        fn take(&mut self, _: i64, _: Delta) -> Result<(), String> {
            let restore = self.board.snapshot().restore.unwrap();
            self.shown.push((restore.read, restore.total));
            Ok(())
        }
    }

    #[test]
    fn a_restore_shows_how_much_of_what_it_has_to_read_it_has_read() {
        let board = StatusBoard::default();
        let mut seen = Seen { board: board.clone(), shown: Vec::new() };
        WatchedLog::new(&mut Scripted, board.clone()).restore(&mut seen).unwrap();
        assert_eq!(seen.shown, [(0, 60), (5, 60), (15, 60), (19, 60)]);
        assert_eq!(board.snapshot().restore, Some(RestoreStatus { read: 58, total: 60 }));
    }
}
