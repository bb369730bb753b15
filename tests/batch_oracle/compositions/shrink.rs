//! Makes a failing case small: first the query, then the history.

use std::time::{Duration, Instant};

use super::Case;
use super::query::{Form, Query};

/// How long one failure is worked on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a case: the case and its reason if it fails in the manner that is looked for.
pub(super) type Fails<'a> = &'a dyn Fn(Case) -> Option<(Case, String)>;

/// The smallest case found that still fails, and its reason.
pub(super) fn shrink(case: Case, reason: String, fails: Fails<'_>) -> (Case, String) {
    let until = Instant::now() + PATIENCE;
    let mut best = (case, reason);
    loop {
        let mut found = None;
        for query in smaller(&best.0.query) {
            if Instant::now() > until {
                return best;
            }
            let case = Case { query, ..best.0.clone() };
            found = fails(case);
            if found.is_some() {
                break;
            }
        }
        match found {
            Some(smaller) => best = smaller,
            None => break,
        }
    }
    let mut piece = best.0.history.records.len() / 2;
    while piece > 0 {
        let mut start = 0;
        while start < best.0.history.records.len() {
            if Instant::now() > until {
                return best;
            }
            let mut case = best.0.clone();
            let end = (start + piece).min(case.history.records.len());
            case.history.records.drain(start..end);
            match fails(case) {
                Some(smaller) => best = smaller,
                None => start = end,
            }
        }
        piece /= 2;
    }
    best
}

/// Queries with one piece less.
fn smaller(query: &Query) -> Vec<Query> {
    let mut found = Vec::new();
    for n in 1..query.steps.len() {
        let mut shorter = query.clone();
        shorter.steps.truncate(n);
        found.push(shorter.pruned());
    }
    for at in (0..query.steps.len()).rev() {
        let step = &query.steps[at];
        let mut with = |change: &dyn Fn(&mut super::query::Step)| {
            let mut changed = query.clone();
            change(&mut changed.steps[at]);
            found.push(changed.pruned());
        };
        // Read what an input reads instead of the input.
        for place in 0..step.inputs.len() {
            let below = query.steps.iter().find(|s| s.name == step.inputs[place]);
            for name in below.into_iter().flat_map(|s| &s.inputs) {
                with(&|s| s.inputs[place].clone_from(name));
            }
        }
        // Without the join.
        if step.inputs.len() > 1 && step.from.starts_with("{0} AS l ") {
            with(&|s| {
                s.from = "{0} AS l".into();
                s.batch_from = None;
            });
        }
        for n in 0..step.branches.len() {
            with(&|s| drop(s.branches.remove(n)));
        }
        for n in 0..step.filters.len() {
            with(&|s| drop(s.filters.remove(n)));
        }
        for n in 0..step.having.len() {
            with(&|s| drop(s.having.remove(n)));
        }
        for n in 0..step.qualify.len() {
            with(&|s| drop(s.qualify.remove(n)));
        }
        if step.items.len() > 1 && step.branches.is_empty() {
            for n in (0..step.items.len()).rev() {
                let item = &step.items[n];
                let group = step.groups.iter().position(|g| Some(&g.1) == item.batch.as_ref().or(Some(&item.sql)));
                with(&|s| {
                    s.items.remove(n);
                    if let Some(group) = group {
                        s.groups.remove(group);
                        s.key = s.key.take().map(|k| k.into_iter().filter(|k| *k != item.alias).collect());
                    }
                });
            }
        }
        if step.distinct {
            with(&|s| s.distinct = false);
        }
        if step.form != Form::View {
            with(&|s| s.form = Form::View);
        }
    }
    found
}
