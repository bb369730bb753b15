//! An epoch between its computation and the moment when it is known to be committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::dataflow::{EpochRun, EpochTimes};
use super::super::encode::SinkEncoder;
use super::super::epoch::OpenEpoch;
use super::super::intake::{Fates, Taken};
use super::super::refusal::encode_refusals;
use super::{Progress, WorkerError};
use tracing::Span;

use crate::metrics;
use crate::plan::Pipeline;
use crate::stream::{OutputTopic, SealedEpoch};

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
    /// What a collector of traces is told of the epoch; it ends when the epoch is let go of.
    pub(super) span: Span,
}

impl Pending {
    /// An epoch that is committed next.
    pub(super) fn new(epoch: OpenEpoch, computed: Computed, progress: Progress, span: Span) -> Self {
        let sink_rows = epoch.rows().clone();
        let sealed = epoch.seal();
        span.record("curb.epoch", sealed.number).record("curb.rows_written", sink_rows.values().sum::<u64>());
        Self { sealed, sink_rows, computed, progress, is_in_doubt: false, n_failed: 0, span }
    }

    /// An attempt to commit it has ended with `result`.
    pub(super) fn failed(&self, result: &'static str) {
        metrics::count_transaction(result);
        self.span.record("curb.result", result).record("otel.status_code", "ERROR");
    }

    /// It is committed.
    pub(super) fn committed(&self) {
        metrics::count_transaction("commit");
        self.span.record("curb.result", "commit").record("otel.status_code", "OK");
    }
}

/// Encodes what an epoch hands to its sinks, and the records it refused.
pub(super) fn write_outputs(
    epoch: &mut OpenEpoch,
    pipeline: &Pipeline,
    sinks: &mut [SinkEncoder],
    computed: &Computed,
    raw_bytes_max: usize,
) -> Result<(), WorkerError> {
    let record_name = |sequence: u64| computed.taken.name(pipeline, sequence);
    for (sink, encoder) in pipeline.sinks.iter().zip(sinks) {
        if let Some(changes) = computed.run.changes.get(sink.relation) {
            epoch.write(OutputTopic::Sink(sink.name.clone()), encoder.encode(changes, &record_name)?);
        }
    }
    for (records, fates) in computed.taken.records.iter().zip(&computed.fates) {
        let Some(relation) = pipeline.relations.get(records.relation) else { continue };
        let refused = encode_refusals(relation, records, fates, raw_bytes_max);
        epoch.write(OutputTopic::Late(relation.name.clone()), refused.late);
        epoch.write(OutputTopic::Rejected(relation.name.clone()), refused.rejected);
    }
    Ok(())
}
