//! What a running pipeline says of itself: one snapshot, shared by the HTTP pages, the terminal and the summary.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::dataflow::EpochRun;
use super::intake::SourceCounts;
use crate::catalog::RelationKind;
use crate::metrics;
use crate::operators::StateSize;
use crate::plan::{OperatorPlan, Pipeline};
use crate::stream::{PartitionStatus, SourcePartition, Watermark};

/// Rates are taken over at least this time.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// Latencies above an hour count as an hour.
const LATENCY_MS_MAX: u64 = 3_600_000;

/// A pipeline at a moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// The number of the last committed epoch; 0 before the first.
    pub epoch: u64,
    /// Whether the state is that of the last committed epoch; false while it is being restored.
    pub restored: bool,
    /// Whether all tables have been read to the end noted at start.
    pub loaded: bool,
    /// How often the state was restored because an epoch failed.
    pub restarts: u64,
    /// How many output records were left out because their topic does not take them.
    pub undeliverable: u64,
    /// Every relation, inputs before what reads them.
    pub relations: Vec<RelationStatus>,
    /// Every source, in the order of the relations.
    pub sources: Vec<SourceStatus>,
    /// Every sink, in order of declaration.
    pub sinks: Vec<SinkStatus>,
    /// From a record's Kafka timestamp to the commit of what follows from it.
    pub latency: LatencyStatus,
}

/// A relation at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct RelationStatus {
    /// The name.
    pub name: Arc<str>,
    /// `stream` or `table`.
    pub kind: &'static str,
    /// Rows taken in since the start.
    pub rows_in: u64,
    /// Changes given out since the start.
    pub rows_out: u64,
    /// Rows taken in per second, lately.
    pub rows_in_per_second: f64,
    /// The watermark in milliseconds since the Unix epoch; none if it has not moved yet or the input has ended.
    pub watermark_ms: Option<i64>,
    /// Rows or keys of state.
    pub state_rows: usize,
    /// Bytes of state.
    pub state_bytes: usize,
}

/// A source at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus {
    /// The name.
    pub name: Arc<str>,
    /// What became of its records since the start.
    #[serde(flatten)]
    pub counts: SourceCounts,
    /// Records in its topic that have not been read; none as long as the end is unknown.
    pub lag: Option<i64>,
}

/// A sink at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct SinkStatus {
    /// The name.
    pub name: Arc<str>,
    /// Records committed since the start.
    pub rows: u64,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LatencyStatus {
    /// How many records were measured.
    pub n_records: u64,
    /// The median.
    pub p50_ms: u64,
    /// The 99th percentile.
    pub p99_ms: u64,
    /// The greatest.
    pub max_ms: u64,
}

/// The shared status. Clones show the same pipeline.
#[derive(Clone, Debug, Default)]
pub struct StatusBoard {
    status: Arc<Mutex<Status>>,
}

impl StatusBoard {
    /// The status now.
    pub fn snapshot(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Keeps the status up to date, epoch by epoch.
#[derive(Debug)]
pub(super) struct StatusKeeper {
    board: StatusBoard,
    /// The index in `sources` of each relation that is a source.
    source_of_relation: Vec<Option<usize>>,
    latency: Option<Histogram<u64>>,
    rates_since: Instant,
    rows_in_then: Vec<u64>,
}

/// What a committed epoch adds to the status.
pub(super) struct CommittedEpoch<'a> {
    pub(super) number: u64,
    pub(super) loaded: bool,
    pub(super) run: &'a EpochRun,
    pub(super) watermarks: &'a [Watermark],
    pub(super) counts: &'a [(usize, SourceCounts)],
    pub(super) sink_rows: &'a BTreeMap<Arc<str>, u64>,
    pub(super) latencies_ms: &'a mut dyn Iterator<Item = u64>,
}

impl StatusKeeper {
    pub(super) fn new(pipeline: &Pipeline) -> Self {
        let mut status = Status::default();
        let mut source_of_relation = Vec::new();
        for relation in &pipeline.relations {
            let is_source = matches!(relation.operator, OperatorPlan::SourceTable(..) | OperatorPlan::SourceStream(..));
            source_of_relation.push(is_source.then_some(status.sources.len()));
            if is_source {
                let source = SourceStatus { name: relation.name.clone(), counts: SourceCounts::default(), lag: None };
                status.sources.push(source);
            }
            status.relations.push(RelationStatus {
                name: relation.name.clone(),
                kind: match relation.kind {
                    RelationKind::Stream => "stream",
                    RelationKind::Table => "table",
                },
                rows_in: 0,
                rows_out: 0,
                rows_in_per_second: 0.0,
                watermark_ms: None,
                state_rows: 0,
                state_bytes: 0,
            });
        }
        status.sinks = pipeline.sinks.iter().map(|s| SinkStatus { name: s.name.clone(), rows: 0 }).collect();
        let n_relations = pipeline.relations.len();
        let board = StatusBoard::default();
        board.update(|shown| *shown = status);
        Self {
            board,
            source_of_relation,
            latency: Histogram::new_with_bounds(1, LATENCY_MS_MAX, 3).ok(),
            rates_since: Instant::now(),
            rows_in_then: vec![0; n_relations],
        }
    }

    pub(super) fn board(&self) -> &StatusBoard {
        &self.board
    }

    /// Adds a committed epoch.
    pub(super) fn committed(&mut self, epoch: CommittedEpoch<'_>) {
        let mut n_records = 0;
        if let Some(latency) = &mut self.latency {
            for ms in epoch.latencies_ms {
                latency.saturating_record(ms);
                n_records += 1;
            }
        }
        let latency = match &self.latency {
            Some(h) if n_records > 0 => Some(LatencyStatus {
                n_records: h.len(),
                p50_ms: h.value_at_quantile(0.5),
                p99_ms: h.value_at_quantile(0.99),
                max_ms: h.max(),
            }),
            _ => None,
        };
        self.board.update(|status| {
            status.epoch = epoch.number;
            status.loaded = epoch.loaded;
            status.latency = latency.unwrap_or(status.latency);
            for (id, relation) in status.relations.iter_mut().enumerate() {
                relation.rows_in += epoch.run.rows_in.get(id).copied().unwrap_or(0);
                relation.rows_out += epoch.run.changes.get(id).map_or(0, |c| c.len() as u64);
            }
            for (relation, counts) in epoch.counts {
                let source = self.source_of_relation.get(*relation).copied().flatten();
                if let Some(source) = source.and_then(|s| status.sources.get_mut(s)) {
                    source.counts.add(counts);
                }
            }
            for sink in &mut status.sinks {
                sink.rows += epoch.sink_rows.get(&sink.name).copied().unwrap_or(0);
            }
        });
        self.watermarks(epoch.watermarks);
    }

    /// Shows the watermarks.
    pub(super) fn watermarks(&self, watermarks: &[Watermark]) {
        self.board.update(|status| {
            for (relation, watermark) in status.relations.iter_mut().zip(watermarks) {
                let is_instant = *watermark != Watermark::MIN && *watermark != Watermark::MAX;
                relation.watermark_ms = is_instant.then_some(watermark.0);
            }
        });
    }

    /// Shows how far each source is behind its topics.
    pub(super) fn lags(&self, partitions: &BTreeMap<SourcePartition, PartitionStatus>) {
        self.board.update(|status| {
            for source in &mut status.sources {
                let own = partitions.iter().filter(|(p, _)| p.relation == source.name);
                source.lag = own.map(|(_, s)| s.end.map(|end| (end - s.position).max(0))).sum();
            }
        });
    }

    /// Whether rates and sizes are due to be shown again; they are too dear for every epoch.
    pub(super) fn is_sample_due(&self) -> bool {
        self.rates_since.elapsed() >= RATE_WINDOW
    }

    /// Shows rates since the last sample, and the sizes of the relations' state.
    pub(super) fn sample(&mut self, sizes: &[StateSize]) {
        let seconds = self.rates_since.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        self.board.update(|status| {
            for ((relation, size), then) in status.relations.iter_mut().zip(sizes).zip(&mut self.rows_in_then) {
                relation.rows_in_per_second = (relation.rows_in - *then) as f64 / seconds;
                relation.state_rows = size.rows;
                relation.state_bytes = size.bytes;
                *then = relation.rows_in;
                metrics::set_state_size(&relation.name, size.rows, size.bytes);
                if let Some(watermark_ms) = relation.watermark_ms {
                    metrics::set_watermark(&relation.name, watermark_ms);
                }
            }
            for source in &status.sources {
                if let Some(lag) = source.lag {
                    metrics::set_lag(&source.name, lag);
                }
            }
        });
        self.rates_since = Instant::now();
    }

    /// Counts an output record that was left out.
    pub(super) fn undeliverable(&self) {
        self.board.update(|status| status.undeliverable += 1);
    }

    /// Counts a restore after a failed epoch.
    pub(super) fn restarted(&self) {
        self.board.update(|status| {
            status.restarts += 1;
            status.restored = false;
            status.loaded = false;
        });
    }

    /// Notes that the state was restored to an epoch.
    pub(super) fn restored(&self, epoch: u64) {
        self.board.update(|status| {
            status.restored = true;
            status.epoch = epoch;
        });
    }
}
