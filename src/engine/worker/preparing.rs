//! What must be there before records are decoded and rows encoded: their schemas.
//!
//! Records whose schemas the registry has not told yet wait here as they came. The source is polled on meanwhile, with all
//! relations paused, so that the worker keeps its place in the group; nothing is rejected because the registry is away.

use std::sync::Arc;
use std::time::Duration;

use super::{Worker, WorkerError};
use crate::format::{NotReady, RegisterError};
use crate::metrics;
use crate::stream::{PollLimit, Polled};

/// How long to wait while the registry is being asked.
const ASKING_PAUSE: Duration = Duration::from_millis(20);

/// Schemas are not there.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The registry cannot be reached: what needs it waits.
    #[error("waiting for the schema registry: {0}")]
    Unavailable(String),
    /// The schema of a sink is refused.
    #[error("sink `{sink}`: {reason}")]
    Refused {
        /// The sink.
        sink: Arc<str>,
        /// Why.
        reason: String,
    },
}

impl Worker {
    /// Takes what has arrived, or what waits, if all schemas are there; none while the registry is being asked.
    pub(super) fn prepared(&mut self) -> Result<Option<Polled>, WorkerError> {
        let polled = self.prepare();
        match &polled {
            Ok(Some(_)) => self.show_waiting(None),
            Ok(None) => self.pause(ASKING_PAUSE),
            Err(WorkerError::Schema(error)) => self.show_waiting(Some(error.to_string())),
            Err(_) => {}
        }
        polled
    }

    fn prepare(&mut self) -> Result<Option<Polled>, WorkerError> {
        for sink in &mut self.sinks {
            sink.register(self.options.registry.as_deref()).map_err(|error| match error {
                RegisterError::Unavailable(reason) => SchemaError::Unavailable(reason),
                RegisterError::Refused(reason) => SchemaError::Refused { sink: sink.name().clone(), reason },
            })?;
        }
        let polled = match self.waiting.take() {
            None => self.poll()?,
            Some(waiting) => self.keep_alive(waiting)?,
        };
        let prepared = self.intake.prepare(&polled.records);
        if prepared.is_ok() {
            return Ok(Some(polled));
        }
        self.waiting = Some(polled);
        match prepared {
            Err(NotReady::Unavailable(reason)) => Err(SchemaError::Unavailable(reason).into()),
            _ => Ok(None),
        }
    }

    /// Polls without taking records, and adds what is told of partitions to what waits.
    fn keep_alive(&mut self, waiting: Polled) -> Result<Polled, WorkerError> {
        let news = self.ends.source.poll(PollLimit { records: 1, bytes: 1 }, Duration::ZERO, &self.sources)?;
        self.note_partitions(&news);
        let mut waiting = waiting;
        // Tables of files are not paused; the newest content of a file is all of it.
        waiting.records.extend(news.records);
        waiting.partitions.extend(news.partitions);
        waiting.reached.extend(news.reached);
        waiting.end_of_input |= news.end_of_input;
        Ok(waiting)
    }

    /// Takes note of what a poll tells of partitions.
    pub(super) fn note_partitions(&mut self, polled: &Polled) {
        for (partition, status) in &polled.partitions {
            self.positions.insert(partition.clone(), status.position);
            self.partitions.insert(partition.clone(), status.clone());
        }
        if !polled.partitions.is_empty() {
            self.status.lags(&self.partitions);
        }
    }

    fn show_waiting(&self, reason: Option<String>) {
        metrics::set_waiting_for_schemas(reason.is_some());
        self.status.board().waits_for(reason);
    }
}
