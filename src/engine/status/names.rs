//! What a relation is called by whoever wrote the rules, and what it reads.

use std::sync::Arc;

use crate::plan::{Pipeline, Relation};

/// The statement that a relation is a step of.
pub(super) fn definition(relation: &Relation) -> &str {
    if let Some((table, reader)) = relation.name.strip_prefix("changes(").and_then(|n| n.split_once(')')) {
        // A sink whose changes settle has CHANGES of its own.
        return reader.strip_prefix(" of ").unwrap_or(table);
    }
    match relation.name.rsplit_once('.') {
        Some((definition, step)) if step.trim_end_matches(|c: char| c.is_ascii_digit()) == relation.operator.word() => {
            definition
        }
        _ => &relation.name,
    }
}

/// The names of the relations that a relation reads, each once.
pub(super) fn inputs(pipeline: &Pipeline, relation: &Relation) -> Vec<Arc<str>> {
    let mut ids: Vec<usize> = relation.inputs.iter().flat_map(|i| &i.segment.leaves).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().filter_map(|id| pipeline.relations.get(id)).map(|r| r.name.clone()).collect()
}
