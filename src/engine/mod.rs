//! A pipeline while it lives: intake, the dataflow of its operators, epochs, watermarks, restore, and the loop over them.
//!
//! The engine knows the ports of `stream/` only; `run`, `replay` and tests are one loop with different ends.

mod adhoc;
mod audit;
mod cells;
mod dataflow;
mod delta;
mod encode;
mod epoch;
mod intake;
mod lanes;
mod newest;
mod overlap;
mod interval;
mod ipc_stream;
mod kinds;
mod lookup;
mod record_columns;
mod record_files;
mod refusal;
mod refused;
mod replay;
mod restore;
mod rewrite;
mod shard_reading;
mod shared_topics;
mod slices;
mod snapshot;
mod state_view;
mod status;
mod upkeep;
mod watermark;
mod worker;

pub use adhoc::{Answer, AsOf, Queries, QueryError, QueryLimits, QueryTrouble, ReadableRelation};
pub use audit::{AuditOptions, AuditRecord, AuditedEpoch, AuditedRow, BrokenTrail, GENESIS, TrailReader, read_trail};
pub use cells::{MapCell, MapCells, MapLayer};
pub use dataflow::{Dataflow, DataflowError, EpochRun, EpochTimes, Reached};
pub use delta::{DeltaCodec, DeltaError, EpochRecord, Logged, LoggedPipeline, LoggedRelation, PartitionRecord};
pub use encode::EncodeError;
pub use intake::{IntakeError, SourceCounts};
pub use interval::{Durations, Interval};
pub use kinds::Kinds;
pub use newest::{NewestRow, ROWS_MAX as NEWEST_ROWS_MAX};
pub use record_columns::header_readers;
pub use record_files::file_tables;
pub use refused::RefusedRecord;
pub use replay::{Replay, ReplayError, ReplayOptions, ReplayProgress, event_times, read_files};
pub use restore::RestoreError;
pub use rewrite::{RewriteError, RewritePolicy};
pub use shared_topics::with_shared_topics;
pub use slices::SliceLimit;
pub use snapshot::SnapshotPolicy;
pub use state_view::{PrivateColumns, RelationSummary, StateSummary, StateView, summarize};
pub use status::{
    LatencyStatus, PartitionLag, Phase, RelationStatus, RestoreStatus, SinkStatus, SourceStatus, Status, StatusBoard,
};
pub use upkeep::UpkeepOptions;
pub use watermark::Watermarks;
pub use worker::{
    Clock, Command, EmitFrom, Ended, Ends, LoggedControl, SchemaError, Worker, WorkerError, WorkerOptions,
};
