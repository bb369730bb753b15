//! What changes of right rows do to the left rows of their keys, where every right row of a key may match.

use std::ops::Range;

use super::left_rows::{LeftRows, counts_matches};
use super::output::{Emitted, Matcher, Outcome, Pairs};
use super::right_rows::{RightChange, RightRows, TakenIn};
use super::shape::Shape;
use crate::operators::{JoinKind, OperatorError};
use crate::stream::ChangeBatch;

/// Derives again what the left rows kept so far yield, after right changes were taken in.
pub(super) fn rederive(
    shape: &Shape,
    left: &mut LeftRows,
    right: &RightRows,
    taken: &TakenIn,
) -> Result<ChangeBatch, OperatorError> {
    let changes = Changes::new(right, &taken.changes);
    if shape.yields_pairs() || shape.spec.filter.is_some() {
        with_pairs(shape, left, &changes, taken)
    } else {
        by_key(shape, left, &changes)
    }
}

/// Right changes, as old and new state of each key.
struct Changes<'a> {
    right: &'a RightRows,
    /// Sorted by key.
    sorted: &'a [RightChange],
    /// By key the part of `sorted`, sorted by key.
    runs: Vec<(u32, Range<usize>)>,
    total: i64,
}

impl<'a> Changes<'a> {
    fn new(right: &'a RightRows, sorted: &'a [RightChange]) -> Self {
        let mut runs = Vec::new();
        let mut start = 0;
        for run in sorted.chunk_by(|a, b| a.key == b.key) {
            runs.push((run[0].key, start..start + run.len()));
            start += run.len();
        }
        let total = sorted.iter().map(|c| c.after - c.before).sum();
        Self { right, sorted, runs, total }
    }

    fn of_key(&self, key: u32) -> &'a [RightChange] {
        match self.runs.binary_search_by_key(&key, |(k, _)| *k) {
            Ok(at) => &self.sorted[self.runs[at].1.clone()],
            Err(_) => &[],
        }
    }

    fn change_of(&self, key: u32) -> i64 {
        self.of_key(key).iter().map(|c| c.after - c.before).sum()
    }

    /// As [`RightRows::has_match`], before the changes.
    fn had_match(&self, key: u32) -> bool {
        let weight_before = |key| self.right.weight_of(key) - self.change_of(key);
        match self.right.null_key {
            Some(_) if self.right.total() == self.total => false,
            Some(null) => key == null || weight_before(null) > 0 || weight_before(key) > 0,
            None => weight_before(key) > 0,
        }
    }

    /// Whether the first row, the first null, or the last of either decides over every left row of a `NOT IN` anew.
    fn decide_over_all(&self) -> bool {
        let Some(null) = self.right.null_key else { return false };
        let before = (self.right.total() > self.total, self.right.weight_of(null) > self.change_of(null));
        before != (self.right.total() > 0, self.right.weight_of(null) > 0)
    }
}

/// No filter and no pairs: a key's left rows change together.
fn by_key(shape: &Shape, left: &LeftRows, changes: &Changes) -> Result<ChangeBatch, OperatorError> {
    let (mut ids, mut outcomes) = (Vec::new(), Vec::new());
    let mut add = |(id, weight), before, after| {
        ids.push(id);
        outcomes.push(Outcome { weight, before: Some(before), after });
    };
    if changes.decide_over_all() {
        for (id, weight) in left.all_visible() {
            let key = left.rows.key_of(id);
            let (before, after) = (changes.had_match(key), changes.right.has_match(key));
            if before != after {
                add((id, weight), before, after);
            }
        }
    } else {
        for (key, _) in &changes.runs {
            let (before, after) = (changes.had_match(*key), changes.right.has_match(*key));
            if before != after {
                left.visible(*key).for_each(|row| add(row, before, after));
            }
        }
    }
    let columns = left.decode(shape, &ids)?;
    Emitted::new(shape.spec.kind, &outcomes, &Pairs::default()).into_table(shape, &columns, &[])
}

/// Each left row of a touched key meets each changed right row.
fn with_pairs(
    shape: &Shape,
    left: &mut LeftRows,
    changes: &Changes,
    taken: &TakenIn,
) -> Result<ChangeBatch, OperatorError> {
    let rows = touched(left, changes);
    let ids: Vec<u32> = rows.iter().map(|(id, _)| *id).collect();
    let columns = left.decode(shape, &ids)?;
    let mut matcher = Matcher::new(shape, &columns, &taken.columns.own);
    let mut last: Option<(u32, &[RightChange])> = None;
    for (place, id) in ids.iter().enumerate() {
        let key = left.rows.key_of(*id);
        let of_key = match last {
            Some((k, run)) if k == key => run,
            _ => changes.of_key(key),
        };
        last = Some((key, of_key));
        let (of_key, of_null) = match changes.right.null_key {
            Some(null) if key == null => (changes.sorted, changes.of_key(super::shape::NONE)),
            Some(null) => (of_key, changes.of_key(null)),
            None => (of_key, changes.of_key(super::shape::NONE)),
        };
        for change in of_key.iter().chain(of_null) {
            matcher.push(place as u32, change.place, change.after - change.before)?;
        }
    }
    let pairs = matcher.finish()?;
    let outcomes = outcomes(shape, left, changes, &rows, &pairs);
    Emitted::new(shape.spec.kind, &outcomes, &pairs).into_table(shape, &columns, &taken.columns.own)
}

/// The visible left rows that some changed right row may match.
fn touched(left: &LeftRows, changes: &Changes) -> Vec<(u32, i64)> {
    let keys = changes.runs.iter().map(|(key, _)| *key);
    match changes.right.null_key {
        Some(null) if !changes.of_key(null).is_empty() => left.all_visible().collect(),
        Some(null) => keys.chain([null]).flat_map(|k| left.visible(k)).collect(),
        None => keys.flat_map(|k| left.visible(k)).collect(),
    }
}

fn outcomes(shape: &Shape, left: &mut LeftRows, changes: &Changes, rows: &[(u32, i64)], pairs: &Pairs) -> Vec<Outcome> {
    let counted = counts_matches(shape);
    let mut at = 0;
    let mut outcomes = Vec::with_capacity(rows.len());
    for (place, (id, weight)) in rows.iter().enumerate() {
        let mut change = 0;
        while pairs.left.get(at) == Some(&(place as u32)) {
            change += pairs.weights[at];
            at += 1;
        }
        let (before, after) = if counted {
            let before = left.matches(*id);
            left.set_matches(*id, before + change);
            (before > 0, before + change > 0)
        } else if shape.spec.kind == JoinKind::Inner {
            (true, true)
        } else {
            let key = left.rows.key_of(*id);
            let after = changes.right.weight_of(key);
            (after - change > 0, after > 0)
        };
        outcomes.push(Outcome { weight: *weight, before: Some(before), after });
    }
    outcomes
}
