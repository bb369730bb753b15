//! Versioned right sides: of the rows of a key that the filter accepts, the one in force at the left row's time.

use arrow::array::ArrayRef;
use hashbrown::HashSet;

use super::left_rows::LeftRows;
use super::output::{Emitted, Outcome, Pairs};
use super::probe::{Found, Seekers};
use super::right_rows::{RightChange, RightRows, TakenIn, own, time};
use super::shape::{NO_TIME, NONE, Shape};
use crate::operators::OperatorError;
use crate::stream::ChangeBatch;

/// A left row that looks for the last accepted of some versions: those from `start` to before `end`.
#[derive(Clone, Copy)]
struct Query {
    left: u32,
    start: u32,
    end: u32,
}

/// By query the place of the version in force, or [`NONE`]. `places` maps versions, oldest first, to right places.
///
/// Goes from the latest version backwards, all queries at once, so that the filter sees few pairs and large batches.
fn resolve(
    shape: &Shape,
    left: &[ArrayRef],
    right: &[ArrayRef],
    queries: &[Query],
    places: &[u32],
) -> Result<Vec<u32>, OperatorError> {
    let mut answers = vec![NONE; queries.len()];
    let mut open: Vec<(u32, Query)> = (0..).zip(queries.iter().copied()).filter(|(_, q)| q.start < q.end).collect();
    while !open.is_empty() {
        let lefts: Vec<u32> = open.iter().map(|(_, q)| q.left).collect();
        let rights: Vec<u32> = open.iter().map(|(_, q)| places[q.end as usize - 1]).collect();
        let accepted = shape.accepts(left, right, (&lefts, &rights))?;
        for (i, (query, _)) in open.iter().enumerate().filter(|(i, _)| accepted[*i]) {
            answers[*query as usize] = rights[i];
        }
        let mut refused = accepted.into_iter().map(|a| !a);
        open.retain_mut(|(_, q)| {
            q.end -= 1;
            refused.next() == Some(true) && q.start < q.end
        });
    }
    Ok(answers)
}

/// Matches left rows with the versions as they are now.
pub(super) fn probe(shape: &Shape, right: &mut RightRows, seekers: &Seekers) -> Result<Found, OperatorError> {
    let mut groups = right.group(seekers.keys);
    for (start, end) in &groups.ranges {
        groups.rows[*start as usize..*end as usize].sort_unstable_by_key(|id| right.rows.row(*id));
    }
    let times: Vec<i64> = groups.rows.iter().map(|id| time(right.rows.row(*id))).collect();
    let columns = right.decode(shape, &groups.rows)?;
    let mut queries = Vec::with_capacity(seekers.keys.len());
    for (left, weight) in seekers.weights.iter().enumerate() {
        let at = seekers.times[left];
        if *weight == 0 || at == NO_TIME {
            continue;
        }
        let range = groups.places(left);
        let known = times[range.start as usize..range.end as usize].partition_point(|t| *t <= at);
        queries.push(Query { left: left as u32, start: range.start, end: range.start + known as u32 });
    }
    let places: Vec<u32> = (0..groups.rows.len() as u32).collect();
    let answers = resolve(shape, seekers.own, &columns, &queries, &places)?;
    let mut found = Found { pairs: Pairs::default(), right: columns, matches: vec![0; seekers.weights.len()] };
    for (query, place) in queries.iter().zip(answers).filter(|(_, place)| *place != NONE) {
        found.pairs.push(query.left, place, 1);
        found.matches[query.left as usize] = 1;
    }
    Ok(found)
}

/// A version of a key, before or after an epoch's changes.
struct Version<'a> {
    time: i64,
    own: &'a [u8],
    was: bool,
    is: bool,
}

/// Versions of one moment, oldest first within each key.
#[derive(Default)]
struct Timeline {
    times: Vec<i64>,
    places: Vec<u32>,
}

impl Timeline {
    fn push(&mut self, time: i64, place: usize) {
        self.times.push(time);
        self.places.push(place as u32);
    }

    /// The versions from `start` on that had begun at an instant.
    fn until(&self, left: u32, start: usize, at: i64) -> Query {
        let known = self.times[start..].partition_point(|t| *t <= at);
        Query { left, start: start as u32, end: (start + known) as u32 }
    }
}

/// Left rows whose version may have changed, with what they ask of the old and the new versions.
#[derive(Default)]
struct Affected {
    ids: Vec<u32>,
    weights: Vec<i64>,
    old: Vec<Query>,
    new: Vec<Query>,
}

/// Derives again what the left rows kept so far yield, after right changes were taken in.
///
/// Each touched key's left rows are looked at once, whatever the number of its changes.
pub(super) fn rederive(
    shape: &Shape,
    left: &LeftRows,
    right: &RightRows,
    taken: &TakenIn,
) -> Result<ChangeBatch, OperatorError> {
    let (mut versions, mut old, mut new) = (Vec::new(), Timeline::default(), Timeline::default());
    let mut affected = Affected::default();
    for changes in taken.changes.chunk_by(|a, b| a.key == b.key) {
        let (first, start_old, start_new) = (versions.len(), old.times.len(), new.times.len());
        versions.extend(versions_of(shape, right, taken, changes));
        versions[first..].sort_unstable_by(|a: &Version, b| (a.time, a.own).cmp(&(b.time, b.own)));
        let Some(since) = versions[first..].iter().find(|v| v.was != v.is).map(|v| v.time) else { continue };
        for (place, version) in versions.iter().enumerate().skip(first) {
            if version.was {
                old.push(version.time, place);
            }
            if version.is {
                new.push(version.time, place);
            }
        }
        for (id, weight) in left.visible(changes[0].key) {
            let at = time(left.rows.row(id));
            if at < since || at == NO_TIME {
                continue;
            }
            let place = affected.ids.len() as u32;
            let (was, is) = (old.until(place, start_old, at), new.until(place, start_new, at));
            let last = |line: &Timeline, q: &Query| (q.start < q.end).then(|| line.places[q.end as usize - 1]);
            if shape.spec.filter.is_none() && last(&old, &was) == last(&new, &is) {
                continue;
            }
            affected.ids.push(id);
            affected.weights.push(weight);
            affected.old.push(was);
            affected.new.push(is);
        }
    }
    let right_columns = shape.right.decode(versions.iter().map(|v| v.own))?;
    emit(shape, left, &affected, &right_columns, (&old, &new), &versions)
}

/// The versions of a key, now and before its changes.
fn versions_of<'a>(
    shape: &Shape,
    right: &'a RightRows,
    taken: &'a TakenIn,
    changes: &'a [RightChange],
) -> Vec<Version<'a>> {
    let appeared: HashSet<u32> = changes.iter().filter(|c| c.before == 0).map(|c| c.row).collect();
    let key = changes.first().map_or(NONE, |c| c.key);
    let now = right.rows.ids_of(key).filter(|id| right.rows.weight(*id) > 0).map(|id| {
        let kept = right.rows.row(id);
        Version { time: time(kept), own: own(shape, kept), was: !appeared.contains(&id), is: true }
    });
    let gone = changes.iter().filter(|c| c.after == 0).map(|c| {
        let place = c.place as usize;
        Version { time: taken.columns.times[place], own: taken.rows.get(place), was: true, is: false }
    });
    now.chain(gone).collect()
}

fn emit(
    shape: &Shape,
    left: &LeftRows,
    affected: &Affected,
    right_columns: &[ArrayRef],
    (old, new): (&Timeline, &Timeline),
    versions: &[Version],
) -> Result<ChangeBatch, OperatorError> {
    let columns = left.decode(shape, &affected.ids)?;
    let was = resolve(shape, &columns, right_columns, &affected.old, &old.places)?;
    let is = resolve(shape, &columns, right_columns, &affected.new, &new.places)?;
    let own = |place: u32| versions.get(place as usize).map(|v| v.own);
    let (mut outcomes, mut pairs) = (Vec::with_capacity(was.len()), Pairs::default());
    for (place, (was, is)) in was.into_iter().zip(is).enumerate() {
        if own(was) != own(is) {
            for (version, weight) in [(was, -1), (is, 1)] {
                if version != NONE {
                    pairs.push(place as u32, version, weight);
                }
            }
        }
        outcomes.push(Outcome { weight: affected.weights[place], before: Some(was != NONE), after: is != NONE });
    }
    Emitted::new(shape.spec.kind, &outcomes, &pairs).into_table(shape, &columns, right_columns)
}
