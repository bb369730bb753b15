//! An epoch as the relations see it: its times, and what they did in it.

use std::collections::BTreeSet;

use super::Gone;
use crate::plan::{Pipeline, RelationId};
use crate::stream::{ChangeBatch, Watermark};

/// The times of an epoch: one watermark a relation, before and after, and whether the first load is complete.
#[derive(Clone, Debug, Default)]
pub struct EpochTimes {
    /// Before the rows of the epoch.
    pub before: Vec<Watermark>,
    /// After the rows of the epoch.
    pub after: Vec<Watermark>,
    /// Whether all tables have been read to the end noted at start.
    pub loaded: bool,
    /// The wall clock of the epoch in milliseconds.
    pub clock_ms: i64,
    /// How many rows a relation hands over to a sink in one epoch at most.
    pub hand_over_max: usize,
    /// Relations whose rows wait as differences, because their sink is paused.
    pub held_back: BTreeSet<RelationId>,
    /// Whether this is no epoch, but derived state is being computed again after a restore.
    pub recomputes: bool,
}

/// What an epoch did, by relation.
#[derive(Debug)]
pub struct EpochRun {
    /// The changes of each relation.
    pub changes: Vec<ChangeBatch>,
    /// For each relation the source records (by sequence number) of which it refused every row as late, ascending.
    pub refused: Vec<Vec<u64>>,
    /// For each relation the source records that it dropped as repetitions.
    pub duplicate: Vec<Vec<u64>>,
    /// For each relation how many rows it took in.
    pub rows_in: Vec<u64>,
    /// For each relation how many rows it handed on.
    pub rows_out: Vec<u64>,
    /// The watermark of each relation.
    pub reached: Vec<Reached>,
    /// For each relation its rows that were forgotten.
    pub(in super::super) gone: Vec<Gone>,
}

/// The watermark of a relation before and after the rows of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// Before: no row of the epoch has an event time before it, unless it is late.
    pub before: Watermark,
    /// After: no row of later epochs will have an event time before it, unless it is late.
    pub after: Watermark,
}

impl EpochRun {
    /// Nothing done yet, by any relation.
    pub(in super::super) fn new(pipeline: &Pipeline) -> Self {
        let n = pipeline.relations.len();
        Self {
            changes: pipeline.relations.iter().map(|r| ChangeBatch::empty(r.schema.clone())).collect(),
            refused: vec![Vec::new(); n],
            duplicate: vec![Vec::new(); n],
            rows_in: vec![0; n],
            rows_out: vec![0; n],
            reached: vec![Reached { before: Watermark::MIN, after: Watermark::MIN }; n],
            gone: vec![Gone::new(); n],
        }
    }

    /// Takes note of what a relation did.
    pub(in super::super) fn add(&mut self, id: RelationId, step: RelationRun) {
        self.rows_in[id] = step.rows_in;
        self.rows_out[id] = step.changes.len() as u64;
        self.changes[id] = step.changes;
        self.refused[id] = step.refused;
        self.duplicate[id] = step.duplicate;
        self.reached[id] = step.reached;
        self.gone[id] = step.gone;
    }

    /// The watermark of each relation after the epoch.
    pub fn watermarks(&self) -> Vec<Watermark> {
        self.reached.iter().map(|reached| reached.after).collect()
    }
}

/// What one relation did in an epoch.
pub(in super::super) struct RelationRun {
    pub(super) changes: ChangeBatch,
    pub(super) refused: Vec<u64>,
    pub(super) duplicate: Vec<u64>,
    pub(super) rows_in: u64,
    pub(super) reached: Reached,
    pub(super) gone: Gone,
}

/// What the relations that a relation reads did in an epoch.
pub(in super::super) struct Upstream<'f, 'c> {
    /// Their changes.
    pub(in super::super) changes: &'f dyn Fn(RelationId) -> Option<&'c ChangeBatch>,
    /// Their watermarks.
    pub(in super::super) reached: &'f dyn Fn(RelationId) -> Option<Reached>,
    /// Their rows that were forgotten before.
    pub(in super::super) gone: &'f dyn Fn(RelationId) -> Option<&'c Gone>,
}

/// What an epoch is besides its rows and times.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Turn {
    /// Whether the first load is complete with it, and was not before.
    pub(in super::super) loaded: bool,
    /// Whether rows are forgotten.
    pub(in super::super) forgets: bool,
    /// Whether rows would be, if none waited for its key's next turn.
    pub(in super::super) hurries: bool,
}
