//! What an epoch says of itself: to the state log, to the status, to the measurements.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::delta::{EpochRecord, PartitionRecord};
use super::super::intake::SourceCounts;
use super::super::refusal::reason_word;
use super::super::restore::logged_pipeline;
use super::super::status::CommittedEpoch;
use super::Worker;
use super::pending::Pending;
use crate::metrics;
use crate::plan::{OperatorPlan, SinkPlan};
use crate::stream::SourcePartition;

impl Worker {
    /// The relations in which a declared key turned out to belong to more than one row, and how many such keys they have now.
    pub fn double_keys(&self) -> Vec<(Arc<str>, u64)> {
        let counts = self.dataflow.double_keys();
        let named = self.pipeline.relations.iter().zip(counts).map(|(relation, n)| (relation.name.clone(), n));
        named.filter(|(_, n)| *n > 0).collect()
    }

    /// Says which records of the epoch their topics did not take.
    pub(super) fn note_undeliverable(&mut self) {
        for left_out in self.ends.sink.take_undeliverable() {
            metrics::count_undeliverable(left_out.output.name());
            tracing::error!(
                output = ?left_out.output,
                record_idx = left_out.record_idx,
                bytes = left_out.bytes,
                limit_bytes = left_out.limit_bytes,
                "record left out: it is larger than its topic takes"
            );
            self.status.undeliverable();
        }
    }

    /// Brings status and measurements up to date with a committed epoch.
    pub(super) fn show(&mut self, committed: &Pending) {
        let n_waiting = |s: &SinkPlan| s.hands_over.iter().map(|id| self.dataflow.n_waiting(*id)).sum();
        let n_waiting: Vec<usize> = self.pipeline.sinks.iter().map(n_waiting).collect();
        self.status.controls(self.control.logged(), &n_waiting);
        let Pending { sealed, sink_rows, computed, .. } = committed;
        for (id, relation) in self.pipeline.relations.iter().enumerate() {
            if matches!(relation.operator, OperatorPlan::FinalRows(_)) {
                metrics::set_changes_after_close(&relation.name, self.dataflow.changes_after_close(id));
            }
        }
        let now_ms = (self.ends.clock)();
        let counts: Vec<(usize, SourceCounts)> =
            computed.taken.records.iter().zip(&computed.fates).map(|(r, f)| (r.relation, f.counts)).collect();
        // What a first load reads has lain there, which says nothing of the worker.
        let is_live = self.status.board().is_loaded();
        let stamps = || computed.taken.records.iter().flat_map(|r| &r.raw.records).filter_map(|m| m.timestamp_ms);
        let latencies_ms = || stamps().filter(|_| is_live).map(|stamp| now_ms.saturating_sub(stamp).max(0) as u64);
        self.status.committed(CommittedEpoch {
            number: sealed.number,
            loaded: computed.times.loaded,
            run: &computed.run,
            watermarks: &computed.run.watermarks(),
            counts: &counts,
            sink_rows,
            latencies_ms: &mut latencies_ms(),
        });
        metrics::observe_latencies(latencies_ms());
        metrics::note_commit();
        for records in &computed.taken.records {
            let Some(relation) = self.pipeline.relations.get(records.relation) else { continue };
            self.status.read(&relation.name, &records.raw);
            let ages_ms = records.event_ms.iter().map(|ms| now_ms.saturating_sub(*ms).max(0) as u64);
            metrics::observe_event_latencies(&relation.name, ages_ms.filter(|_| is_live));
            let mut reasons: BTreeMap<&'static str, u64> = BTreeMap::new();
            records.rejected.iter().for_each(|r| *reasons.entry(reason_word(&r.reason)).or_default() += 1);
            reasons.iter().for_each(|(reason, n)| metrics::count_rejected(&relation.name, reason, *n));
        }
        self.status.written(&computed.run, now_ms);
        self.status.refused(&self.pipeline, &computed.taken, &computed.fates, now_ms);
        self.status.sample_if_due(|| self.dataflow.state_sizes());
    }

    /// What is logged of the epoch beside its operators' state.
    pub(super) fn record(&self, clock_ms: i64) -> EpochRecord {
        let mut watermarks = BTreeMap::new();
        let mut event_times: BTreeMap<Arc<str>, BTreeMap<i32, Option<i64>>> = BTreeMap::new();
        for (id, relation) in self.pipeline.relations.iter().enumerate() {
            if let Some((watermark, partitions)) = self.watermarks.logged(id) {
                watermarks.insert(relation.name.to_string(), watermark.0);
                event_times.insert(relation.name.clone(), partitions);
            }
        }
        let event_ms_max = |p: &SourcePartition| event_times.get(&p.relation)?.get(&p.partition).copied().flatten();
        let partitions = self.positions.iter().map(|(p, position)| PartitionRecord {
            relation: p.relation.to_string(),
            partition: p.partition,
            position: *position,
            event_ms_max: event_ms_max(p),
        });
        EpochRecord {
            epoch: self.n_committed + 1,
            clock_ms,
            partitions: partitions.collect(),
            watermarks,
            control: self.control.logged().clone(),
            audit_head: self.audit_head.clone(),
            log_began_ms: 0,
            pipeline: (!self.pipeline_is_logged).then(|| logged_pipeline(&self.pipeline, self.options.n_shards)),
        }
    }
}
