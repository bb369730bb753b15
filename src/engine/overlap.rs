//! Epochs that overlap: while one is being written, the next are computed and another one is read.
//!
//! A relation runs its epochs one after the other, and each epoch after the relations that it reads; whatever else is
//! ready runs at the same time on another core. What an operator is given, and in which order, is the same as without
//! overlap, so the answer is the same, too. Only for pipelines that log nothing: an epoch that fails is not repeated.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::dataflow::{
    Cell, Dataflow, DataflowError, EpochRun, EpochTimes, Gone, Reached, RelationRun, Turn, Upstream,
};
use crate::plan::{Pipeline, RelationId};
use crate::stream::ChangeBatch;

/// An epoch that was read.
pub(super) struct ReadEpoch<C> {
    /// The decoded rows of sources, one entry a relation.
    pub(super) sources: Vec<Option<ChangeBatch>>,
    pub(super) times: EpochTimes,
    /// What is carried along to the end of the epoch.
    pub(super) carried: C,
    /// Whether no epoch follows.
    pub(super) is_last: bool,
}

/// An epoch that all relations have run.
pub(super) struct RunEpoch<C> {
    /// The changes of relations that no sink writes are left out.
    pub(super) run: EpochRun,
    pub(super) times: EpochTimes,
    pub(super) carried: C,
}

/// What happens at both ends of an epoch; each end is used by one thread at a time, epoch after epoch.
pub(super) struct Edges<R, W> {
    pub(super) read: R,
    pub(super) write: W,
}

/// Reads, runs and writes epochs until one is the last or `read` gives none. At most `n_epochs` are under way.
pub(super) fn run_overlapped<C, R, W, E>(
    pipeline: &Pipeline,
    dataflow: &mut Dataflow,
    n_epochs: usize,
    edges: Edges<R, W>,
) -> Result<(), E>
where
    C: Send,
    R: FnMut() -> Result<Option<ReadEpoch<C>>, E> + Send,
    W: FnMut(RunEpoch<C>) -> Result<(), E> + Send,
    E: From<DataflowError> + Send,
{
    let was_loaded = !dataflow.turns_loaded(&EpochTimes { loaded: true, ..EpochTimes::default() });
    let line = Line {
        pipeline,
        n_epochs: n_epochs.max(1),
        readers: readers(pipeline),
        state: Mutex::new(State {
            epochs: VecDeque::new(),
            lanes: dataflow.cells().map(|cell| Lane { cell: Some(cell), next: 0 }).collect(),
            read: Some(edges.read),
            write: Some(edges.write),
            n_read: 0,
            was_loaded,
            ended: false,
            failed: None,
            panicked: false,
            last_times: None,
        }),
        changed: Condvar::new(),
    };
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 1..n_threads {
            scope.spawn(|| line.work());
        }
        line.work();
    });
    let state = line.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = state.failed {
        return Err(error);
    }
    let State { lanes, last_times, .. } = state;
    drop(lanes);
    last_times.iter().for_each(|times| dataflow.ran(times));
    Ok(())
}

/// For each relation how many relations read it; one more where a sink writes it.
fn readers(pipeline: &Pipeline) -> Vec<usize> {
    let mut readers = vec![0; pipeline.relations.len()];
    let leaves = |id: RelationId| leaves(pipeline, id);
    (0..readers.len()).flat_map(leaves).chain(pipeline.sinks.iter().map(|s| s.relation)).for_each(|leaf| {
        if let Some(n) = readers.get_mut(leaf) {
            *n += 1;
        }
    });
    readers
}

/// The relations that a relation reads, once for each of its inputs.
fn leaves(pipeline: &Pipeline, id: RelationId) -> impl Iterator<Item = RelationId> {
    pipeline.relations.get(id).into_iter().flat_map(|r| &r.inputs).flat_map(|i| i.segment.leaves.iter().copied())
}

/// Epochs under way and the threads' view of them.
struct Line<'p, 'd, C, R, W, E> {
    pipeline: &'p Pipeline,
    n_epochs: usize,
    readers: Vec<usize>,
    state: Mutex<State<'d, C, R, W, E>>,
    /// A task has ended, so that others may have become ready.
    changed: Condvar,
}

struct State<'d, C, R, W, E> {
    /// Read and not yet written, oldest first.
    epochs: VecDeque<Epoch<C>>,
    /// By relation.
    lanes: Vec<Lane<'d>>,
    /// None while a thread reads.
    read: Option<R>,
    /// None while a thread writes.
    write: Option<W>,
    /// How many epochs have been read.
    n_read: u64,
    /// Whether the first load was complete with the last epoch that was read.
    was_loaded: bool,
    /// Whether nothing is read any more.
    ended: bool,
    failed: Option<E>,
    /// Whether a thread panicked; the scope hands that on.
    panicked: bool,
    /// The times of the last epoch that was read.
    last_times: Option<EpochTimes>,
}

/// A relation's place in line.
struct Lane<'d> {
    /// None while a thread runs it.
    cell: Option<Cell<'d>>,
    /// The number of the epoch that it runs next.
    next: u64,
}

struct Epoch<C> {
    number: u64,
    sources: Vec<Option<ChangeBatch>>,
    times: Arc<EpochTimes>,
    turn: Turn,
    carried: C,
    run: EpochRun,
    /// By relation: whether it has run.
    is_done: Vec<bool>,
    n_done: usize,
    /// By relation: how many have yet to read it.
    n_readers: Vec<usize>,
}

enum Task<'d, C, R, W> {
    Read(R),
    Run(Box<Step<'d>>),
    Write(W, Box<Epoch<C>>),
}

/// One relation in one epoch, with all it takes.
struct Step<'d> {
    cell: Cell<'d>,
    epoch: u64,
    source: Option<ChangeBatch>,
    inputs: Vec<(RelationId, ChangeBatch, Reached, Gone)>,
    times: Arc<EpochTimes>,
    turn: Turn,
}

impl Step<'_> {
    fn run(&mut self, pipeline: &Pipeline) -> Result<RelationRun, DataflowError> {
        let inputs = &self.inputs;
        let changes = |id: RelationId| inputs.iter().find(|(leaf, ..)| *leaf == id).map(|(_, changes, ..)| changes);
        let gone = |id: RelationId| inputs.iter().find(|(leaf, ..)| *leaf == id).map(|(.., gone)| gone);
        let reached = |id: RelationId| inputs.iter().find(|(leaf, ..)| *leaf == id).map(|(_, _, reached, _)| *reached);
        let upstream = Upstream { changes: &changes, reached: &reached, gone: &gone };
        let run = self.cell.run(pipeline, self.source.take(), &upstream, &self.times, self.turn)?;
        self.cell.drop_deltas(pipeline)?;
        Ok(run)
    }
}

impl<'d, C, R, W, E> Line<'_, 'd, C, R, W, E>
where
    R: FnMut() -> Result<Option<ReadEpoch<C>>, E>,
    W: FnMut(RunEpoch<C>) -> Result<(), E>,
    E: From<DataflowError>,
{
    fn lock(&self) -> MutexGuard<'_, State<'d, C, R, W, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up one task after the other until there are no more.
    fn work(&self) {
        let _guard = EndOnPanic(self);
        let mut state = self.lock();
        while !state.is_over() {
            match state.choose(self) {
                Some(task) => {
                    drop(state);
                    self.do_task(task);
                    state = self.lock();
                    self.changed.notify_all();
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        self.changed.notify_all();
    }

    fn do_task(&self, task: Task<'d, C, R, W>) {
        match task {
            Task::Read(mut read) => {
                let epoch = read();
                self.lock().take_in(epoch, read, self);
            }
            Task::Run(mut step) => {
                let run = step.run(self.pipeline);
                // Inputs may be large: they are dropped outside the lock.
                step.inputs.clear();
                self.lock().put_back(*step, run, self);
            }
            Task::Write(mut write, epoch) => {
                let times = Arc::unwrap_or_clone(epoch.times);
                let written = write(RunEpoch { run: epoch.run, times, carried: epoch.carried });
                let mut state = self.lock();
                state.write = Some(write);
                if let Err(error) = written {
                    state.failed.get_or_insert(error);
                }
            }
        }
    }
}

impl<'d, C, R, W, E: From<DataflowError>> State<'d, C, R, W, E> {
    fn is_over(&self) -> bool {
        self.failed.is_some() || self.panicked || (self.ended && self.epochs.is_empty() && self.write.is_some())
    }

    /// The next task: what brings the oldest epoch forward comes first.
    fn choose(&mut self, line: &Line<'_, 'd, C, R, W, E>) -> Option<Task<'d, C, R, W>> {
        let n_relations = line.pipeline.relations.len();
        if self.epochs.front().is_some_and(|oldest| oldest.n_done == n_relations)
            && let Some(write) = self.write.take()
            && let Some(epoch) = self.epochs.pop_front()
        {
            return Some(Task::Write(write, Box::new(epoch)));
        }
        for epoch in &mut self.epochs {
            for (id, lane) in self.lanes.iter_mut().enumerate() {
                let is_next = lane.next == epoch.number && lane.cell.is_some();
                if !is_next || leaves(line.pipeline, id).any(|leaf| epoch.is_done.get(leaf) != Some(&true)) {
                    continue;
                }
                if let Some(cell) = lane.cell.take() {
                    return Some(Task::Run(Box::new(epoch.step(cell, line.pipeline))));
                }
            }
        }
        if self.ended || self.epochs.len() >= line.n_epochs {
            return None;
        }
        self.read.take().map(Task::Read)
    }

    fn take_in(&mut self, epoch: Result<Option<ReadEpoch<C>>, E>, read: R, line: &Line<'_, 'd, C, R, W, E>) {
        self.read = Some(read);
        match epoch {
            Err(error) => {
                self.failed.get_or_insert(error);
            }
            Ok(None) => self.ended = true,
            Ok(Some(epoch)) => {
                self.ended = epoch.is_last;
                self.last_times = Some(epoch.times.clone());
                self.epochs.push_back(Epoch {
                    number: self.n_read,
                    sources: epoch.sources,
                    // Nothing waits here to be handed on, once all is loaded.
                    turn: Turn {
                        hurries: false,
                        loaded: epoch.times.loaded && !self.was_loaded,
                        forgets: epoch.times.loaded && self.was_loaded,
                    },
                    carried: epoch.carried,
                    run: EpochRun::new(line.pipeline),
                    is_done: vec![false; line.readers.len()],
                    n_done: 0,
                    n_readers: line.readers.clone(),
                    times: Arc::new(epoch.times),
                });
                self.n_read += 1;
                self.was_loaded |= self.last_times.as_ref().is_some_and(|t| t.loaded);
            }
        }
    }

    fn put_back(&mut self, step: Step<'d>, run: Result<RelationRun, DataflowError>, line: &Line<'_, 'd, C, R, W, E>) {
        let id = step.cell.id();
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.cell = Some(step.cell);
            lane.next = step.epoch + 1;
        }
        let run = match run {
            Ok(run) => run,
            Err(error) => {
                self.failed.get_or_insert(error.into());
                return;
            }
        };
        if let Some(epoch) = self.epochs.iter_mut().find(|e| e.number == step.epoch) {
            epoch.done(id, run, line.pipeline);
        }
    }
}

impl<C> Epoch<C> {
    fn step<'d>(&mut self, cell: Cell<'d>, pipeline: &Pipeline) -> Step<'d> {
        let id = cell.id();
        let run = &self.run;
        let input = |leaf: RelationId| {
            Some((leaf, run.changes.get(leaf)?.clone(), *run.reached.get(leaf)?, run.gone.get(leaf)?.clone()))
        };
        Step {
            epoch: self.number,
            inputs: leaves(pipeline, id).filter_map(input).collect(),
            source: self.sources.get_mut(id).and_then(Option::take),
            times: self.times.clone(),
            turn: self.turn,
            cell,
        }
    }

    /// Takes note of what a relation did, and lets go of changes that nobody reads any more.
    fn done(&mut self, id: RelationId, run: RelationRun, pipeline: &Pipeline) {
        self.run.add(id, run);
        self.n_done += 1;
        if let Some(is_done) = self.is_done.get_mut(id) {
            *is_done = true;
        }
        for leaf in leaves(pipeline, id) {
            if let Some(n) = self.n_readers.get_mut(leaf) {
                *n = n.saturating_sub(1);
            }
        }
        for read in leaves(pipeline, id).chain([id]) {
            if self.n_readers.get(read) == Some(&0)
                && let (Some(changes), Some(relation)) = (self.run.changes.get_mut(read), pipeline.relations.get(read))
            {
                *changes = ChangeBatch::empty(relation.schema.clone());
                self.run.gone[read].clear();
            }
        }
    }
}

/// Ends the line when its thread panics, so that no other waits for it.
struct EndOnPanic<'a, 'p, 'd, C, R, W, E>(&'a Line<'p, 'd, C, R, W, E>);

impl<C, R, W, E> Drop for EndOnPanic<'_, '_, '_, C, R, W, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.panicked = true;
            drop(state);
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
