//! A pipeline over a directory of files: history to its end, deterministic, with the same loop as the live service.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMillisecondType;
use chrono_tz::Tz;

use super::audit::AuditOptions;
use super::intake::{IntakeError, SourceCounts, decode_column};
use super::record_files::open_records;
use super::status::{Status, StatusBoard};
use super::worker::{Ended, Ends, Worker, WorkerError, WorkerOptions};
use crate::catalog::{RelationKind, SourceDefinition};
use crate::format::json::{DecodeSpec, Decoder, Wire};
use crate::local::{EventTimes, FileInput, FileSink, FileSource, SinkSummary, SourceSummary, Summary};
use crate::plan::{OperatorPlan, Pipeline};
use crate::stream::{Polled, ShardCount, Source, SourceError, Watermark};

/// What to replay, and where to.
#[derive(Debug)]
pub struct ReplayOptions<'a> {
    /// The directory of the sources' files.
    pub from: &'a Path,
    /// The directory that is written.
    pub to: &'a Path,
    /// Records after this event time (milliseconds) are neither read nor counted.
    pub until_ms: Option<i64>,
    /// The number of shards: it changes the speed only.
    pub n_shards: ShardCount,
    /// What the audit trail says, which is written to `curb-audit.ndjson`; none where no trail is written.
    pub audit: Option<AuditOptions>,
}

/// A replay, ready to run.
pub struct Replay {
    worker: Worker,
    pipeline: Arc<Pipeline>,
    missing: Vec<Arc<str>>,
    bytes_total: u64,
    bytes_read: Arc<AtomicU64>,
    to: std::path::PathBuf,
}

/// How far a replay is. Clones show the same replay.
#[derive(Clone)]
pub struct ReplayProgress {
    status: StatusBoard,
    bytes_read: Arc<AtomicU64>,
    bytes_total: u64,
}

impl ReplayProgress {
    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Bytes of all input files.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// Records handled so far.
    pub fn n_records(&self) -> u64 {
        self.status.snapshot().sources.iter().map(|s| s.counts.read).sum()
    }
}

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The input could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A source cannot be decoded.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The output could not be written.
    #[error("output could not be written")]
    Output(#[from] std::io::Error),
    /// The pipeline failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl Replay {
    /// Opens the input, creates the output.
    pub fn open(pipeline: Arc<Pipeline>, options: &ReplayOptions<'_>) -> Result<Self, ReplayError> {
        let definitions: Vec<&SourceDefinition> = sources(&pipeline).collect();
        let inputs = definitions.iter().map(|d| input(d, pipeline.time_zone)).collect::<Result<Vec<_>, _>>()?;
        let source = FileSource::open(options.from, inputs, options.until_ms)?;
        let sinks: Vec<Arc<str>> = pipeline.sinks.iter().map(|s| s.name.clone()).collect();
        let names: Vec<Arc<str>> = definitions.iter().map(|d| d.name.clone()).collect();
        let sink = FileSink::create(options.to, &sinks, &names, None)?;
        let (missing, bytes_total, bytes_read) = (source.missing().to_vec(), source.bytes_total(), source.bytes_read());
        let ends = Ends { source: Box::new(source), sink: Box::new(sink), log: None, clock: Box::new(|| 0) };
        let mut worker_options = WorkerOptions::replay(options.n_shards);
        worker_options.audit = options.audit.clone();
        worker_options.end_watermark = options.until_ms.map_or(Watermark::MAX, Watermark);
        let worker = Worker::new(pipeline.clone(), ends, worker_options, Arc::new(AtomicBool::new(false)))?;
        Ok(Self { worker, pipeline, missing, bytes_total, bytes_read, to: options.to.to_path_buf() })
    }

    /// The source relations that have no file.
    pub fn missing(&self) -> &[Arc<str>] {
        &self.missing
    }

    /// A view of how far the replay is, for another thread.
    pub fn progress(&self) -> ReplayProgress {
        let (status, bytes_read) = (self.worker.status(), self.bytes_read.clone());
        ReplayProgress { status, bytes_read, bytes_total: self.bytes_total }
    }

    /// Replays to the end of the input, and writes the summary.
    pub fn run(mut self) -> Result<Summary, ReplayError> {
        let started = Instant::now();
        let _: Ended = self.worker.run()?;
        let status = self.worker.status().snapshot();
        let summary = summary(&self.pipeline, &status, started.elapsed().as_secs_f64());
        summary.write(&self.to)?;
        Ok(summary)
    }
}

/// Reads a directory of files as a replay does, epoch by epoch, into memory.
pub fn read_files(pipeline: &Pipeline, from: &Path, until_ms: Option<i64>) -> Result<Vec<Polled>, ReplayError> {
    let inputs = sources(pipeline).map(|d| input(d, pipeline.time_zone)).collect::<Result<Vec<_>, _>>()?;
    let mut source = FileSource::open(from, inputs, until_ms)?;
    let limit = WorkerOptions::replay(ShardCount(1)).limit;
    let mut epochs = Vec::new();
    loop {
        let polled = source.poll(limit, Duration::ZERO, &[])?;
        let end_of_input = polled.end_of_input;
        epochs.push(polled);
        if end_of_input {
            return Ok(epochs);
        }
    }
}

/// The sources of a pipeline, in the order of its relations: the order of declaration.
fn sources(pipeline: &Pipeline) -> impl Iterator<Item = &SourceDefinition> {
    pipeline.relations.iter().filter_map(|relation| match &relation.operator {
        OperatorPlan::SourceTable(definition, _) | OperatorPlan::SourceStream(definition, _) => {
            Some(definition.as_ref())
        }
        _ => None,
    })
}

fn input(definition: &SourceDefinition, time_zone: Tz) -> Result<FileInput, IntakeError> {
    Ok(FileInput {
        relation: definition.name.clone(),
        is_table: definition.kind == RelationKind::Table,
        event_times: event_times(definition)?,
        fallback: definition.file.clone(),
        open: open_records(definition, time_zone),
    })
}

/// Reads the event times of raw records; none if the source has no event time.
///
/// Only that column is looked at, so that a record which will be rejected for another reason keeps its place in time.
pub fn event_times(definition: &SourceDefinition) -> Result<Option<EventTimes>, IntakeError> {
    let Some(declared) = definition.event_time.and_then(|c| definition.columns.get(c)) else { return Ok(None) };
    let mut column = decode_column(declared);
    column.not_null = false;
    let mut decoder = Decoder::new(DecodeSpec {
        columns: vec![column],
        key: Vec::new(),
        is_table: false,
        event_time: Some(0),
        max_future_ms: None,
        wire: Wire::Lines,
    })
    .map_err(|e| IntakeError { relation: definition.name.clone(), reason: e.to_string() })?;
    Ok(Some(Box::new(move |records| {
        let mut times = vec![None; records.len()];
        // A batch that cannot be decoded here fails in the intake, with its reason; its records are taken at once.
        let Ok(decoded) = decoder.decode(records) else { return times };
        let Some(column) = decoded.rows.column(0).as_primitive_opt::<TimestampMillisecondType>() else { return times };
        for (row, record) in decoded.record.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
            if let Some(time) = times.get_mut(*record as usize) {
                *time = Some(column.value(row));
            }
        }
        times
    })))
}

fn summary(pipeline: &Pipeline, status: &Status, elapsed_seconds: f64) -> Summary {
    let of_source = |c: SourceCounts| SourceSummary {
        read: c.read,
        used: c.used,
        duplicate: c.duplicate,
        late: c.late,
        rejected: c.rejected,
    };
    debug_assert_eq!(pipeline.sinks.len(), status.sinks.len());
    Summary {
        sources: status.sources.iter().map(|s| (s.name.clone(), of_source(s.counts))).collect(),
        sinks: status.sinks.iter().map(|s| (s.name.clone(), SinkSummary { rows: s.rows })).collect(),
        elapsed_seconds,
    }
}
