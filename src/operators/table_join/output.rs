//! From matching pairs and outcomes to the rows that leave a join.

use ahash::RandomState;
use arrow::array::ArrayRef;
use hashbrown::HashMap;

use super::JoinKind;
use super::shape::{NONE, Shape};
use crate::operators::OperatorError;
use crate::stream::ChangeBatch;

/// How many pairs are gathered before the filter is asked.
const PENDING_PAIRS: usize = 1 << 16;

/// Pairs of a left and a right row, by their places in the columns of each side, with the right row's weight.
#[derive(Default)]
pub(super) struct Pairs {
    pub(super) left: Vec<u32>,
    pub(super) right: Vec<u32>,
    pub(super) weights: Vec<i64>,
}

impl Pairs {
    pub(super) fn push(&mut self, left: u32, right: u32, weight: i64) {
        self.left.push(left);
        self.right.push(right);
        self.weights.push(weight);
    }
}

/// Takes candidate pairs and keeps those that the filter accepts.
pub(super) struct Matcher<'a> {
    shape: &'a Shape,
    left: &'a [ArrayRef],
    right: &'a [ArrayRef],
    pending: Pairs,
    accepted: Pairs,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(shape: &'a Shape, left: &'a [ArrayRef], right: &'a [ArrayRef]) -> Self {
        Self { shape, left, right, pending: Pairs::default(), accepted: Pairs::default() }
    }

    pub(super) fn push(&mut self, left: u32, right: u32, weight: i64) -> Result<(), OperatorError> {
        if self.shape.spec.filter.is_none() {
            self.accepted.push(left, right, weight);
            return Ok(());
        }
        self.pending.push(left, right, weight);
        if self.pending.left.len() >= PENDING_PAIRS { self.ask() } else { Ok(()) }
    }

    fn ask(&mut self) -> Result<(), OperatorError> {
        let Pairs { left, right, weights } = std::mem::take(&mut self.pending);
        let answers = self.shape.accepts(self.left, self.right, (&left, &right))?;
        for (i, accepted) in answers.into_iter().enumerate() {
            if accepted {
                self.accepted.push(left[i], right[i], weights[i]);
            }
        }
        Ok(())
    }

    /// The accepted pairs, in the order in which they were pushed.
    pub(super) fn finish(mut self) -> Result<Pairs, OperatorError> {
        if !self.pending.left.is_empty() {
            self.ask()?;
        }
        Ok(self.accepted)
    }
}

/// What becomes of one left row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Its weight; 0 for a row that takes no part.
    pub(super) weight: i64,
    /// Whether it had a match; none for a row of which nothing has left yet.
    pub(super) before: Option<bool>,
    /// Whether it has a match.
    pub(super) after: bool,
}

/// Output rows by the places of their parts, in the order of left rows.
#[derive(Default)]
pub(super) struct Emitted {
    pub(super) left: Vec<u32>,
    pub(super) right: Vec<u32>,
    pub(super) marks: Vec<bool>,
    pub(super) weights: Vec<i64>,
}

impl Emitted {
    /// Decides what leaves. `pairs` are sorted by left place, an index into `outcomes`.
    pub(super) fn new(kind: JoinKind, outcomes: &[Outcome], pairs: &Pairs) -> Self {
        let mut emitted = Self::default();
        let mut at = 0;
        for (left, outcome) in outcomes.iter().enumerate() {
            let left = left as u32;
            if matches!(kind, JoinKind::Inner | JoinKind::Left) {
                while pairs.left.get(at) == Some(&left) {
                    emitted.push(left, pairs.right[at], false, outcome.weight.wrapping_mul(pairs.weights[at]));
                    at += 1;
                }
            }
            emitted.push_outcome(kind, left, outcome);
        }
        emitted
    }

    fn push_outcome(&mut self, kind: JoinKind, left: u32, outcome: &Outcome) {
        let Outcome { weight, before, after } = *outcome;
        if before == Some(after) {
            return;
        }
        let shows = |matched: bool| match kind {
            JoinKind::Inner => false,
            JoinKind::Left | JoinKind::Full | JoinKind::LeftAnti => !matched,
            JoinKind::LeftSemi => matched,
            JoinKind::LeftMark => true,
        };
        if let Some(before) = before.filter(|b| shows(*b)) {
            self.push(left, NONE, before, weight.wrapping_neg());
        }
        if shows(after) {
            self.push(left, NONE, after, weight);
        }
    }

    fn push(&mut self, left: u32, right: u32, mark: bool, weight: i64) {
        if weight != 0 {
            self.left.push(left);
            self.right.push(right);
            self.marks.push(mark);
            self.weights.push(weight);
        }
    }

    /// The output as rows of a stream, where a weight of n is n rows.
    pub(super) fn repeated(self) -> Self {
        if self.weights.iter().all(|w| *w == 1) {
            return self;
        }
        let mut repeated = Self::default();
        for (i, weight) in self.weights.iter().enumerate() {
            for _ in 0..*weight {
                repeated.push(self.left[i], self.right[i], self.marks[i], 1);
            }
        }
        repeated
    }

    /// The output as changes of a table, not yet net.
    pub(super) fn into_table(
        self,
        shape: &Shape,
        left: &[ArrayRef],
        right: &[ArrayRef],
    ) -> Result<ChangeBatch, OperatorError> {
        if self.weights.is_empty() {
            return Ok(ChangeBatch::empty(shape.spec.schema.clone()));
        }
        let rows = shape.output((left, &self.left), (right, &self.right), self.marks)?;
        Ok(ChangeBatch::table(rows, self.weights))
    }
}

/// Changes that a join derived.
pub(super) struct Derived {
    pub(super) changes: ChangeBatch,
    /// Whether it is certain that no row both appears and disappears.
    pub(super) net: bool,
}

/// Whether it is certain that no two output rows cancel out, told by one side alone: no row of that side has part in both
/// appearances and disappearances. `places` are those of the output rows, `bytes` gives the row at a place.
pub(super) fn is_net<'a>(places: &[u32], weights: &[i64], bytes: impl Fn(u32) -> &'a [u8]) -> bool {
    if weights.iter().all(|w| *w > 0) || weights.iter().all(|w| *w < 0) {
        return true;
    }
    // Places repeat far more often than rows: first the sign by place, then by row. The last entry stands for `NONE`.
    let n_places = places.iter().filter(|p| **p != NONE).max().map_or(0, |p| *p as usize + 1);
    let mut signs = vec![0; n_places + 1];
    for (place, weight) in places.iter().zip(weights) {
        let sign = &mut signs[(*place as usize).min(n_places)];
        if *sign == -weight.signum() {
            return false;
        }
        *sign = weight.signum();
    }
    let mut by_row: HashMap<&[u8], i64, RandomState> =
        HashMap::with_capacity_and_hasher(n_places + 1, RandomState::with_seeds(1, 2, 3, 4));
    signs.iter().enumerate().filter(|(_, sign)| **sign != 0).all(|(place, sign)| {
        let row = bytes(if place == n_places { NONE } else { place as u32 });
        *by_row.entry(row).or_insert(*sign) == *sign
    })
}
