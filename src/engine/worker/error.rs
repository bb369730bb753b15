//! Why a worker stopped, and whether a restore may repair it.

use super::super::dataflow::DataflowError;
use super::super::delta::DeltaError;
use super::super::encode::EncodeError;
use super::super::intake::IntakeError;
use super::super::restore::RestoreError;
use super::super::rewrite::RewriteError;
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
    /// A relation could not be computed.
    #[error(transparent)]
    Dataflow(#[from] DataflowError),
    /// A sink could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// State could not be written again.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// State could not be encoded.
    #[error(transparent)]
    Delta(#[from] DeltaError),
}

impl WorkerError {
    /// Whether the cluster did not answer.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Source(SourceError::Unreachable(_)) | Self::Restore(RestoreError::Log(SourceError::Unreachable(_)))
        )
    }

    /// Whether the worker may go on after a restore.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Commit(CommitError::Aborted(_) | CommitError::Unknown(_))
                | Self::Source(SourceError::AssignmentLost(_))
                | Self::Restore(RestoreError::Log(SourceError::AssignmentLost(_)))
        )
    }
}
