//! Hands on the wheel: which sinks are paused and why, how fast they may write, and what the first load may emit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::TimestampMillisecondType;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use super::super::dataflow::EpochRun;
use super::super::encode::EncodeError;
use super::{Worker, WorkerError};
use crate::catalog::Rate;
use crate::plan::{Pipeline, RelationId, SinkPlan};
use crate::stream::ChangeBatch;

/// What the first load may emit: that of a pipeline which has never been loaded before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmitFrom {
    /// Everything.
    #[default]
    Earliest,
    /// Nothing: every row is recorded as written.
    Now,
    /// Rows whose `emit_time` is at or after this instant (milliseconds); earlier ones are recorded as written.
    Timestamp(i64),
}

/// What is asked of a running worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hold the rows of a sink back, as differences.
    Pause(Arc<str>),
    /// Let the rows of a sink go, also those that its `max_rate` held back.
    Resume(Arc<str>),
}

/// What is logged of the controls with every epoch, so that a restart changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedControl {
    /// Why each paused sink is paused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused: BTreeMap<String, String>,
    /// Whether the first load has been handed over.
    #[serde(default)]
    pub is_loaded: bool,
}

/// The controls of a worker.
#[derive(Debug)]
pub(super) struct Control {
    logged: LoggedControl,
    held_back: BTreeSet<RelationId>,
    guards: Vec<Option<RateGuard>>,
    /// Whether something was changed that no committed epoch holds yet.
    is_changed: bool,
    /// What was asked since the last committed epoch: asked again if the next one is lost.
    unlogged: Vec<Command>,
}

/// Counts the rows of a sink against its `max_rate`.
#[derive(Clone, Copy, Debug)]
struct RateGuard {
    rate: Rate,
    since_ms: i64,
    n_rows: u64,
    /// Someone has looked: what waits may go, however much it is.
    is_lifted: bool,
}

impl Control {
    pub(super) fn new(pipeline: &Pipeline, logged: LoggedControl) -> Self {
        let guard = |rate| RateGuard { rate, since_ms: i64::MIN, n_rows: 0, is_lifted: false };
        let guards = pipeline.sinks.iter().map(|s| s.max_rate.map(guard)).collect();
        let mut control = Self { logged, held_back: BTreeSet::new(), guards, is_changed: false, unlogged: Vec::new() };
        control.hold_back(pipeline);
        control
    }

    /// Goes on from what is logged. What was asked and is not in the log is done again.
    pub(super) fn restored(&mut self, pipeline: &Pipeline, logged: LoggedControl) {
        let unlogged = std::mem::take(&mut self.unlogged);
        *self = Self::new(pipeline, logged);
        unlogged.iter().for_each(|command| self.obey(pipeline, command));
    }

    pub(super) fn logged(&self) -> &LoggedControl {
        &self.logged
    }

    /// The relations whose rows wait, because their sink is paused.
    pub(super) fn held_back(&self) -> &BTreeSet<RelationId> {
        &self.held_back
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Everything changed so far has been committed.
    pub(super) fn committed(&mut self) {
        self.is_changed = false;
        self.unlogged.clear();
    }

    /// Takes note that the first load has been handed over.
    pub(super) fn loaded(&mut self) {
        self.logged.is_loaded = true;
    }

    /// Does what is asked. Sinks that read the same CHANGES pause and go on together: they share the rows last handed on.
    pub(super) fn obey(&mut self, pipeline: &Pipeline, command: &Command) {
        let (Command::Pause(name) | Command::Resume(name)) = command;
        let Some(asked) = pipeline.sinks.iter().find(|s| s.name == *name) else {
            return tracing::warn!(sink = %name, "there is no such sink");
        };
        if asked.hands_over.is_empty() {
            return tracing::warn!(sink = %name, "the rows of a stream cannot wait; the sink goes on");
        }
        for (sink, guard) in pipeline.sinks.iter().zip(&mut self.guards).filter(|(s, _)| shares_rows(s, asked)) {
            let key = sink.name.to_string();
            match command {
                Command::Pause(_) if sink.name == asked.name => {
                    self.logged.paused.insert(key, "by hand".to_owned());
                }
                Command::Pause(_) => {
                    let why = format!("with `{name}`, which reads the same CHANGES");
                    self.logged.paused.entry(key).or_insert(why);
                }
                Command::Resume(_) => {
                    self.logged.paused.remove(&key);
                    guard.iter_mut().for_each(|g| g.is_lifted = true);
                }
            }
        }
        tracing::info!(?command, "sink controlled");
        self.unlogged.push(command.clone());
        self.is_changed = true;
        self.hold_back(pipeline);
    }

    /// Counts what a sink is about to write; false when that is beyond its rate, and the sink is paused from now on.
    pub(super) fn admits(&mut self, pipeline: &Pipeline, sink_idx: usize, n_rows: u64, clock_ms: i64) -> bool {
        let (Some(Some(guard)), Some(sink)) = (self.guards.get_mut(sink_idx), pipeline.sinks.get(sink_idx)) else {
            return true;
        };
        if n_rows == 0 || guard.is_lifted {
            return true;
        }
        if clock_ms.saturating_sub(guard.since_ms) >= guard.rate.per_ms {
            (guard.since_ms, guard.n_rows) = (clock_ms, 0);
        }
        guard.n_rows += n_rows;
        if guard.n_rows <= guard.rate.rows {
            return true;
        }
        let why = format!("max_rate of {} exceeded", guard.rate);
        tracing::error!(sink = %sink.name, n_rows = guard.n_rows, "sink paused, {why}; look at its rows, then `curb resume`");
        (guard.since_ms, guard.n_rows) = (i64::MIN, 0);
        self.logged.paused.insert(sink.name.to_string(), why);
        self.is_changed = true;
        self.hold_back(pipeline);
        false
    }

    /// Rates count again where nothing waits any more.
    pub(super) fn drained(&mut self) {
        self.guards.iter_mut().flatten().for_each(|g| g.is_lifted = false);
    }

    fn hold_back(&mut self, pipeline: &Pipeline) {
        let paused = pipeline.sinks.iter().filter(|s| self.logged.paused.contains_key(s.name.as_ref()));
        self.held_back = paused.flat_map(|s| s.hands_over.iter().copied()).collect();
    }
}

impl Worker {
    /// Holds back the rows of sinks that would exceed their rate.
    pub(super) fn obey_rates(&mut self, run: &mut EpochRun, clock_ms: i64) -> Result<(), WorkerError> {
        if !self.options.holds_back {
            return Ok(());
        }
        for (idx, sink) in self.pipeline.sinks.iter().enumerate().filter(|(_, s)| s.max_rate.is_some()) {
            let n_rows = run.changes.get(sink.relation).map_or(0, |c| c.len() as u64);
            if self.control.admits(&self.pipeline, idx, n_rows, clock_ms) {
                continue;
            }
            for id in sink.hands_over.iter().chain([&sink.relation]) {
                if sink.hands_over.contains(id) {
                    self.dataflow.take_back(&self.pipeline, *id)?;
                }
                if let Some(changes) = run.changes.get_mut(*id) {
                    *changes = ChangeBatch::empty(changes.rows.schema());
                }
            }
        }
        Ok(())
    }

    /// Keeps what the first load may emit, and says how much that is before anything is sent.
    pub(super) fn hand_over_first_load(&mut self, run: &mut EpochRun) -> Result<(), WorkerError> {
        for sink in &self.pipeline.sinks {
            let Some(changes) = run.changes.get_mut(sink.relation) else { continue };
            let n_rows = changes.len();
            *changes = self
                .options
                .emit_from
                .emitted(sink, changes)
                .map_err(|e| EncodeError { sink: sink.name.clone(), reason: e.to_string() })?;
            let n_waiting: usize = sink.hands_over.iter().map(|id| self.dataflow.n_waiting(*id)).sum();
            let (n_emitted, n_recorded) = (changes.len(), n_rows - changes.len());
            tracing::info!(sink = %sink.name, n_emitted, n_waiting, n_recorded, "first load: rows that leave");
        }
        self.control.loaded();
        Ok(())
    }
}

fn shares_rows(a: &SinkPlan, b: &SinkPlan) -> bool {
    a.hands_over.iter().any(|r| b.hands_over.contains(r))
}

impl EmitFrom {
    /// The rows of a sink's first load that are written; the others count as written.
    pub(super) fn emitted(self, sink: &SinkPlan, changes: &ChangeBatch) -> Result<ChangeBatch, ArrowError> {
        let from_ms = match self {
            _ if sink.hands_over.is_empty() => return Ok(changes.clone()),
            Self::Earliest => return Ok(changes.clone()),
            Self::Now => return Ok(ChangeBatch::empty(changes.rows.schema())),
            Self::Timestamp(ms) => ms,
        };
        let Some(times) = sink.emit_time.and_then(|c| changes.rows.columns().get(c)) else {
            return Ok(changes.clone());
        };
        let times = times.as_primitive_opt::<TimestampMillisecondType>().ok_or_else(|| {
            ArrowError::SchemaError(format!("emit_time of sink `{}` is {}", sink.name, times.data_type()))
        })?;
        // A row without a time is no row of the past.
        let is_later = |row: usize| times.is_null(row) || times.value(row) >= from_ms;
        changes.filter(&(0..changes.len()).map(|row| Some(is_later(row))).collect::<BooleanArray>())
    }
}
