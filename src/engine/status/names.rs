//! What a relation is called by whoever wrote the rules, and what it reads.

use std::sync::Arc;

use crate::plan::{Pipeline, Relation};

/// The statement that a relation is a step of.
pub(super) fn definition(relation: &Relation) -> &str {
    if let Some((table, reader)) = relation.name.strip_prefix("changes(").and_then(|n| n.split_once(')')) {
        // A sink whose changes settle has CHANGES of its own.
        return reader.strip_prefix(" of ").unwrap_or(table);
    }
    let word = |step: &str| step.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    match relation.name.rsplit_once('.') {
        Some((mut definition, step)) if step.get(..word(step)) == Some(relation.operator.word()) => {
            // A step that keeps the rows of another step is named behind that one: `view.table_join1.frozen_rows2`.
            while let Some((outer, _)) = definition.rsplit_once('.').filter(|(_, step)| word(step) < step.len()) {
                definition = outer;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::resolve;
    use crate::dialect::{Pack, parse};
    use crate::plan::plan;

    const RULES: &str = "
        CREATE STREAM passages (passage_id VARCHAR NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL)
            WITH (topic = 'passages', format = 'json', event_time = 'at');
        CREATE SINK out WITH (topic = 'out', format = 'json') AS SELECT passage_id FROM passages;";

    #[test]
    fn a_step_of_a_step_belongs_to_the_statement() {
        let relation = |name: &str, operator: &str| {
            let rules = plan(&resolve(parse(&Pack::from_text("rules.sql", RULES)).0, None).unwrap()).unwrap();
            let mut found = rules.relations.into_iter().find(|r| r.operator.word() == operator).unwrap();
            found.name = name.into();
            definition(&found).to_owned()
        };
        assert_eq!(relation("held.table_join1.select2", "select"), "held");
        assert_eq!(relation("held.select1", "select"), "held");
        assert_eq!(relation("changes(held)", "select"), "held");
        assert_eq!(relation("top10", "select"), "top10", "a name with a number is a name");
    }
}
