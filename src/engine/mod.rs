//! A pipeline while it lives: intake, the dataflow of its operators, epochs, watermarks, restore, and the loop over them.
//!
//! The engine knows the ports of `stream/` only; `run`, `replay` and tests are one loop with different ends.

mod dataflow;
mod delta;
mod encode;
mod epoch;
mod intake;
mod overlap;
mod refusal;
mod replay;
mod restore;
mod status;
mod watermark;
mod worker;

pub use dataflow::{Dataflow, DataflowError, EpochRun, EpochTimes};
pub use delta::{DeltaCodec, DeltaError, EpochRecord, Logged, LoggedRelation, PartitionRecord};
pub use encode::EncodeError;
pub use intake::{IntakeError, SourceCounts};
pub use replay::{Replay, ReplayError, ReplayOptions, ReplayProgress, event_times};
pub use restore::RestoreError;
pub use status::{LatencyStatus, Phase, RelationStatus, SinkStatus, SourceStatus, Status, StatusBoard};
pub use watermark::Watermarks;
pub use worker::{Clock, Command, EmitFrom, Ended, Ends, LoggedControl, Worker, WorkerError, WorkerOptions};
