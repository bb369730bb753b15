//! An epoch between its computation and the moment when it is known to be committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::dataflow::{EpochRun, EpochTimes};
use super::super::epoch::OpenEpoch;
use super::super::intake::{Fates, Taken};
use super::Progress;
use crate::stream::SealedEpoch;

/// One epoch between decoding and commit.
pub(super) struct Computed {
    pub(super) taken: Taken,
    pub(super) run: EpochRun,
    pub(super) fates: Vec<Fates>,
    pub(super) times: EpochTimes,
    pub(super) clock_ms: i64,
}

/// An epoch that is computed but not known to be committed. The operators hold the state after it.
pub(super) struct Pending {
    pub(super) sealed: SealedEpoch,
    /// How many records go to each sink, by name.
    pub(super) sink_rows: BTreeMap<Arc<str>, u64>,
    pub(super) computed: Computed,
    /// How far the epoch brings the worker.
    pub(super) progress: Progress,
    /// Whether a commit was asked for and not answered.
    pub(super) is_in_doubt: bool,
    /// How often its commit was aborted.
    pub(super) n_failed: u32,
}

impl Pending {
    /// An epoch that is committed next.
    pub(super) fn new(epoch: OpenEpoch, computed: Computed, progress: Progress) -> Self {
        let sink_rows = epoch.rows().clone();
        Self { sealed: epoch.seal(), sink_rows, computed, progress, is_in_doubt: false, n_failed: 0 }
    }
}
