//! Left rows against the right side as it is now.

use arrow::array::ArrayRef;

use super::as_of;
use super::output::{Matcher, Outcome, Pairs};
use super::right_rows::RightRows;
use super::shape::Shape;
use crate::operators::OperatorError;

/// Left rows of one batch that look for matches.
pub(super) struct Seekers<'a> {
    /// The own columns.
    pub(super) own: &'a [ArrayRef],
    /// By row: the key's id, [`NONE`](super::shape::NONE) if it can match nothing.
    pub(super) keys: &'a [u32],
    /// By row: the time, in an `as_of` join.
    pub(super) times: &'a [i64],
    /// By row: the weight with which it takes part, 0 if not at all.
    pub(super) weights: &'a [i64],
}

/// What they found.
pub(super) struct Found {
    /// The matching pairs, in the order of the left rows.
    pub(super) pairs: Pairs,
    /// The own columns of the right rows that pairs point to.
    pub(super) right: Vec<ArrayRef>,
    /// By left row: the weight of its matches.
    pub(super) matches: Vec<i64>,
}

impl Found {
    /// By left row what becomes of it, where nothing of it has left yet.
    pub(super) fn outcomes(&self, weights: &[i64]) -> Vec<Outcome> {
        let outcome = |(m, w): (&i64, &i64)| Outcome { weight: *w, before: None, after: *m > 0 };
        self.matches.iter().zip(weights).map(outcome).collect()
    }
}

/// Matches left rows with the right side as it is now.
pub(super) fn probe(shape: &Shape, right: &mut RightRows, seekers: &Seekers) -> Result<Found, OperatorError> {
    if shape.spec.as_of {
        return as_of::probe(shape, right, seekers);
    }
    if !shape.yields_pairs() && shape.spec.filter.is_none() {
        let matches = seekers.keys.iter().map(|k| i64::from(right.has_match(*k))).collect();
        return Ok(Found { pairs: Pairs::default(), right: Vec::new(), matches });
    }
    let groups = right.group(seekers.keys);
    let columns = right.decode(shape, &groups.rows)?;
    let weights: Vec<i64> = groups.rows.iter().map(|id| right.rows.weight(*id)).collect();
    let mut matcher = Matcher::new(shape, seekers.own, &columns);
    for (left, weight) in seekers.weights.iter().enumerate() {
        if *weight == 0 {
            continue;
        }
        for place in groups.places(left) {
            matcher.push(left as u32, place, weights[place as usize])?;
        }
    }
    let pairs = matcher.finish()?;
    let mut matches = vec![0; seekers.weights.len()];
    for (left, weight) in pairs.left.iter().zip(&pairs.weights) {
        matches[*left as usize] += weight;
    }
    Ok(Found { pairs, right: columns, matches })
}
