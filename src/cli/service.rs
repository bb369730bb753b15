//! A pipeline as a service: the worker on a thread of its own, and how to see and to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use tokio::sync::oneshot;

use super::Failure;
use crate::engine::{
    Ended, Ends, RestoreError, SchemaError, Status, StatusBoard, Worker, WorkerError, WorkerOptions, file_tables,
    header_readers, with_shared_topics,
};
use crate::kafka::Connection;
use crate::local::WithFileTables;
use crate::plan::Pipeline;
use crate::stream::{CommitError, SourceError};

/// A running worker.
pub(super) struct Service {
    status: StatusBoard,
    stop: Arc<AtomicBool>,
    outcome: oneshot::Receiver<Result<Ended, WorkerError>>,
}

impl Service {
    /// Starts a worker at the ends of `connection`.
    pub(super) fn start(
        pipeline: Arc<Pipeline>,
        mut connection: Connection,
        options: WorkerOptions,
    ) -> Result<Self, Failure> {
        connection.source.keep_headers(&header_readers(&pipeline));
        let files = file_tables(&pipeline);
        let topics = with_shared_topics(&pipeline, Box::new(connection.source));
        let ends = Ends {
            source: if files.is_empty() { topics } else { Box::new(WithFileTables::new(topics, files)) },
            sink: Box::new(connection.sink),
            log: Some(Box::new(connection.state_log)),
            clock: Box::new(wall_clock_ms),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let mut worker = Worker::new(pipeline, ends, options, stop.clone()).map_err(worker_failure)?;
        let status = worker.status();
        let outcome = on_thread("worker", move || worker.run())?;
        Ok(Self { status, stop, outcome })
    }

    /// What the worker says of itself.
    pub(super) fn status(&self) -> Status {
        self.status.snapshot()
    }

    /// The same, kept up to date.
    pub(super) fn status_board(&self) -> StatusBoard {
        self.status.clone()
    }

    /// Asks the worker to end after the running epoch.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until the worker has ended.
    pub(super) async fn ended(&mut self) -> Result<Ended, Failure> {
        (&mut self.outcome).await.map_err(|_| panicked("worker"))?.map_err(worker_failure)
    }
}

/// Runs what blocks on a thread of its own. A thread that panics drops its sender.
pub(super) fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, Failure> {
    let (sender, receiver) = oneshot::channel();
    let run = move || {
        // Nobody waits any more when the program is ending.
        let _ = sender.send(work());
    };
    let spawned = std::thread::Builder::new().name(name.to_string()).spawn(run);
    spawned.map_err(|e| Failure::Failed(anyhow!(e).context(format!("thread `{name}` could not be started"))))?;
    Ok(receiver)
}

/// What a thread without an answer means.
pub(super) fn panicked(name: &str) -> Failure {
    Failure::Failed(anyhow!("thread `{name}` ended without an answer; what went wrong stands above"))
}

fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What the operator must do about a worker's error.
pub(super) fn worker_failure(error: WorkerError) -> Failure {
    match error {
        WorkerError::Source(error) | WorkerError::Restore(RestoreError::Log(error)) => source_failure(error),
        WorkerError::Commit(CommitError::Fenced(_)) => Failure::Fenced(error.into()),
        WorkerError::Restore(error @ (RestoreError::Pipeline(_) | RestoreError::Delta(_))) => foreign_state(error),
        WorkerError::Restore(RestoreError::Position { .. }) => Failure::Policy(error.into()),
        WorkerError::Schema(SchemaError::Refused { .. }) => Failure::Configuration(error.into()),
        _ => Failure::Failed(error.into()),
    }
}

/// What the operator must do about state that is not this pack's.
pub(super) fn foreign_state(error: RestoreError) -> Failure {
    Failure::Configuration(anyhow!(
        "{:#}; run the pack and version that wrote the state, or give this one another --pipeline name, or, if the state \
         may go, delete it with `curb state reset --yes`",
        anyhow!(error)
    ))
}

/// What the operator must do about an error of the cluster.
pub(super) fn source_failure(error: SourceError) -> Failure {
    match error {
        SourceError::Unreachable(_) => Failure::Unreachable(anyhow!("{error}; check the address and the network")),
        SourceError::Configuration(_) => Failure::Configuration(error.into()),
        SourceError::Fenced(_) => Failure::Fenced(error.into()),
        SourceError::Policy(_) => Failure::Policy(error.into()),
        SourceError::AssignmentLost(_) | SourceError::Io(_) => Failure::Failed(error.into()),
    }
}
