//! The order in which definitions are planned: each behind what it reads.

use std::collections::BTreeSet;

use super::rewrite::Rewritten;
use crate::catalog::Catalog;
use crate::dialect::Diagnostic;

/// Sorts definitions so that each comes behind what it reads.
pub(super) fn in_order(catalog: &Catalog, rewritten: Vec<Rewritten>, findings: &mut Vec<Diagnostic>) -> Vec<Rewritten> {
    let names: BTreeSet<String> = rewritten.iter().map(|r| r.definition.name.to_string()).collect();
    let mut done: BTreeSet<String> = catalog.sources.iter().map(|s| s.name.to_string()).collect();
    let mut waiting = rewritten;
    let mut ordered = Vec::new();
    loop {
        let (ready, rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|r| r.all_reads().all(|name| done.contains(name) || !names.contains(name)));
        if ready.is_empty() {
            for left in rest {
                let cycle: Vec<&str> = left.all_reads().map(String::as_str).filter(|n| !done.contains(*n)).collect();
                let message = format!("`{}` refers to itself by way of `{}`", left.definition.name, cycle.join("`, `"));
                findings.push(Diagnostic::new("C0311", left.definition.span, message).hint(
                    "Break the circle: a relation cannot be computed from its own rows; OVER looks at earlier rows.",
                ));
            }
            return ordered;
        }
        done.extend(ready.iter().map(|r| r.definition.name.to_string()));
        ordered.extend(ready);
        waiting = rest;
    }
}
