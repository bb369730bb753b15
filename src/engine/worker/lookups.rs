//! Rows for who asks, between two epochs.

use super::Worker;
use crate::engine::lookup::Between;

impl Worker {
    /// Answers what was asked since the last epoch. Called when no epoch waits for its commit: what operators hold is what is
    /// committed.
    pub(super) fn answer_lookups(&self) {
        let lookups = self.status.board().take_lookups();
        if !lookups.is_empty() {
            let between = self.between();
            lookups.iter().for_each(|lookup| between.answer(lookup));
        }
    }

    /// What may be copied now.
    pub(in crate::engine) fn between(&self) -> Between<'_> {
        Between {
            pipeline: &self.pipeline,
            dataflow: &self.dataflow,
            watermarks: &self.watermarks,
            epoch: self.n_committed,
            is_loaded: self.is_loaded(),
        }
    }
}
