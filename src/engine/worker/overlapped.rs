//! The worker's two ends where epochs overlap: one closure reads and decodes, another encodes and commits.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::super::dataflow::EpochTimes;
use super::super::epoch::OpenEpoch;
use super::super::intake::{SourceCounts, Taken, fates};
use super::super::overlap::{Edges, ReadEpoch, RunEpoch, run_overlapped};
use super::super::status::CommittedEpoch;
use super::loaded::is_loaded;
use super::pending::{Computed, write_outputs};
use super::{Ended, Worker, WorkerError};
use crate::metrics::{self, StageTimer};

impl Worker {
    /// Runs epochs that overlap until the input ends or a stop is asked for. Nothing is logged and nothing repeated.
    pub(super) fn overlapped(&mut self) -> Result<Ended, WorkerError> {
        if !self.is_restored {
            self.restore()?;
        }
        let Self { pipeline, ends, options, status, intake, sinks, dataflow, watermarks, .. } = self;
        let (reached, positions, partitions) = (&mut self.reached, &mut self.positions, &mut self.partitions);
        let (n_committed, stop, board) = (&mut self.n_committed, &self.stop, status.board().clone());
        let (source, sink, clock) = (&mut ends.source, &mut ends.sink, &mut ends.clock);
        let (pipeline, options) = (&*pipeline, &*options);
        let mut ended = Ended::Stopped;
        let is_at_end = &mut ended;
        let read = move || {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            board.turned();
            let timer = StageTimer::start("poll");
            let polled = source.poll(options.limit, options.poll_wait, &[])?;
            drop(timer);
            let _timer = StageTimer::start("decode");
            for (partition, status) in polled.partitions {
                let relation = pipeline.relations.iter().position(|r| r.name == partition.relation);
                if let Some(relation) = relation {
                    watermarks.set_idle(relation, partition.partition, status.idle);
                }
                positions.insert(partition.clone(), status.position);
                partitions.insert(partition, status);
            }
            let mut taken = intake.decode(pipeline.relations.len(), polled.records, watermarks)?;
            let clock_ms = clock();
            watermarks.advance(clock_ms);
            if polled.end_of_input {
                watermarks.end(options.end_watermark);
                *is_at_end = Ended::EndOfInput;
            }
            let after = watermarks.of_relations(pipeline);
            let before = std::mem::replace(reached, after.clone());
            let times = EpochTimes {
                before,
                after,
                loaded: is_loaded(pipeline, partitions),
                // Nothing waits for the clock here, nor for anybody.
                clock_ms: i64::MAX,
                hand_over_max: options.hand_over_max,
                held_back: BTreeSet::new(),
                recomputes: false,
            };
            let sources = std::mem::take(&mut taken.rows);
            let carried = (taken, positions.clone(), clock_ms);
            Ok(Some(ReadEpoch { sources, times, carried, is_last: polled.end_of_input }))
        };
        let write = |epoch: RunEpoch<(Taken, _, i64)>| {
            let RunEpoch { run, times, carried: (taken, positions, clock_ms) } = epoch;
            let fates = fates(pipeline, &taken, &run);
            let computed = Computed { taken, run, fates, times, clock_ms };
            let timer = StageTimer::start("encode");
            let mut epoch = OpenEpoch::open(*n_committed + 1, positions);
            write_outputs(&mut epoch, pipeline, sinks, &computed, options.raw_bytes_max)?;
            drop(timer);
            let timer = StageTimer::start("commit");
            let sink_rows = epoch.rows().clone();
            let sealed = epoch.seal();
            sink.commit(&sealed).inspect_err(|e| metrics::count_transaction(e.result()))?;
            drop(timer);
            metrics::count_transaction("commit");
            *n_committed = sealed.number;
            let of_source = computed.taken.records.iter().zip(&computed.fates);
            let counts: Vec<(usize, SourceCounts)> = of_source.map(|(r, f)| (r.relation, f.counts)).collect();
            status.committed(CommittedEpoch {
                number: sealed.number,
                loaded: computed.times.loaded,
                run: &computed.run,
                watermarks: &computed.run.watermarks(),
                counts: &counts,
                sink_rows: &sink_rows,
                latencies_ms: &mut std::iter::empty(),
            });
            Ok(())
        };
        run_overlapped::<_, _, _, WorkerError>(pipeline, dataflow, options.epochs_under_way, Edges { read, write })?;
        self.note_undeliverable();
        Ok(ended)
    }
}
