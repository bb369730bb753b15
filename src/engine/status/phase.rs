//! What a worker is doing, and what changes on the status when it begins something else.

use serde::Serialize;

use super::{Newest, StatusKeeper};

/// What a worker is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It has not begun.
    #[default]
    Starting,
    /// It waits for its partitions, or brings its state to the last committed epoch.
    Restoring,
    /// It reads the tables to the end noted at start; nothing leaves yet.
    Loading,
    /// It handles what arrives.
    Running,
    /// It has ended.
    Stopped,
}

impl Phase {
    /// All phases, in the order in which a worker comes to them.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Restoring, Self::Loading, Self::Running, Self::Stopped];

    /// The phase in one word, as measurements name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Restoring => "restoring",
            Self::Loading => "loading",
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

impl StatusKeeper {
    /// Shows what the worker is doing now.
    pub(in crate::engine) fn enter(&self, phase: Phase) {
        self.board.update(|status| (status.phase, status.restore) = (phase, None));
    }

    /// Counts a restore after a failed epoch. Nothing flows until it is done.
    pub(in crate::engine) fn restarted(&mut self) {
        self.newest = Newest::default();
        self.board.update(|status| {
            status.restarts += 1;
            status.restored = false;
            status.loaded = false;
            status.phase = Phase::Restoring;
            for relation in &mut status.relations {
                (relation.rows_in_per_second, relation.rows_out_per_second) = (0.0, 0.0);
            }
        });
    }

    /// Notes that the state was restored to an epoch.
    pub(in crate::engine) fn restored(&self, epoch: u64) {
        self.board.update(|status| {
            status.restored = true;
            status.restore = None;
            status.phase = Phase::Loading;
            status.epoch = epoch;
        });
    }
}
