//! What can go wrong, and what is done about it: one list, one place that decides.

use super::super::dataflow::DataflowError;
use super::super::delta::DeltaError;
use super::super::encode::EncodeError;
use super::super::intake::IntakeError;
use super::super::restore::RestoreError;
use super::super::rewrite::RewriteError;
use super::preparing::SchemaError;
use crate::stream::{CommitError, SourceError};

/// Why a worker stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An epoch could not be committed, and cannot be repeated.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The state could not be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A source cannot be decoded.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// Schemas of records are not there.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A relation could not be computed.
    #[error(transparent)]
    Dataflow(#[from] DataflowError),
    /// A sink could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// State could not be written again.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// The audit trail could not be written.
    #[error("the audit trail could not be encoded")]
    Audit(#[from] serde_json::Error),
    /// State could not be encoded.
    #[error(transparent)]
    Delta(#[from] DeltaError),
}

/// What the worker does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing of the pending epoch is visible: commit the same value again.
    CommitAgain,
    /// Nobody knows whether the pending epoch is visible: ask before anything else.
    AskOutcome,
    /// Drop the pending epoch, wait for the partitions, rebuild the operators from the state log.
    Restore,
    /// Nothing was lost: go on as before after a while.
    Wait,
    /// A restart in place does not help.
    Stop,
}

/// After so many aborted commits of one epoch it is dropped and taken in smaller parts.
const ABORTS_MAX: u32 = 5;

/// Decides what a failure asks for. `n_failed` is how often the pending epoch was aborted before.
///
/// Without a state log nothing can be restored. A cluster that was never reached is the operator's to mend.
pub(super) fn remedy(error: &WorkerError, has_log: bool, was_restored: bool, n_failed: u32) -> Remedy {
    let restore = if has_log { Remedy::Restore } else { Remedy::Stop };
    match error {
        WorkerError::Commit(CommitError::Aborted(_)) if n_failed >= ABORTS_MAX => restore,
        WorkerError::Commit(CommitError::Aborted(_)) => Remedy::CommitAgain,
        WorkerError::Commit(CommitError::Unknown(_)) => Remedy::AskOutcome,
        WorkerError::Commit(CommitError::AssignmentLost(_))
        | WorkerError::Source(SourceError::AssignmentLost(_))
        | WorkerError::Restore(RestoreError::Log(SourceError::AssignmentLost(_))) => restore,
        WorkerError::Source(SourceError::Unreachable(_))
        | WorkerError::Restore(RestoreError::Log(SourceError::Unreachable(_)))
            if was_restored =>
        {
            restore
        }
        WorkerError::Schema(SchemaError::Unavailable(_)) => Remedy::Wait,
        WorkerError::Commit(CommitError::Fenced(_) | CommitError::Fatal(_))
        | WorkerError::Source(_)
        | WorkerError::Restore(_)
        | WorkerError::Intake(_)
        | WorkerError::Schema(_)
        | WorkerError::Dataflow(_)
        | WorkerError::Encode(_)
        | WorkerError::Rewrite(_)
        | WorkerError::Audit(_)
        | WorkerError::Delta(_) => Remedy::Stop,
    }
}
