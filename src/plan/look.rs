//! Relations of a pack that are to be read once, over rows that are held: planned as tables of their own, beside the rules
//! that lead to them. So what a rule says has one meaning, whether it runs or is looked into.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::as_definition;
use super::definitions::plan;
use super::pipeline::{Pipeline, RelationId};
use crate::catalog::{Catalog, QueryDefinition, QueryRole};
use crate::dialect::{Diagnostic, Span, parse_query};

/// How the names of the tables begin.
const LOOK: &str = "_look_";
/// The code that says that a table's query yields a stream.
const IS_STREAM: &str = "C0443";

/// A plan for looking into relations.
#[derive(Debug)]
pub struct Look {
    /// The relations that lead to those looked into, and perhaps others.
    pub pipeline: Pipeline,
    /// The relation that stands for each, in the order asked for, with the columns asked for.
    pub tables: Vec<RelationId>,
}

/// Why a relation cannot be looked into.
#[derive(Debug)]
pub enum LookError {
    /// It is a stream, whose rows are not held.
    Stream(String),
    /// What the planner says; a defect, as the pack itself was planned.
    Plan(Vec<Diagnostic>),
}

/// A relation and the columns that are wanted of it.
pub type Wanted = (String, Vec<String>);

/// Plans to look into relations. With `whole` all rules of the pack are planned beside them, so that what they share with them
/// is planned in the same way, down to the ids of their operators; else only those that lead to them.
pub fn plan_look(catalog: &Catalog, wanted: &[Wanted], whole: bool) -> Result<Look, LookError> {
    let mut looking = catalog.clone();
    for (n, (relation, columns)) in wanted.iter().enumerate() {
        let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
        let list: Vec<String> = columns.iter().map(quoted).collect();
        let sql = format!("SELECT {} FROM {}", list.join(", "), quoted(relation));
        let query = parse_query(&sql).map_err(|finding| LookError::Plan(vec![*finding]))?;
        let line = n as u64 + 1;
        let span = Span { file: u32::MAX, line, column: 1, end_line: line, end_column: 2 };
        looking.queries.push(as_definition(&format!("{LOOK}{n}"), query, span));
    }
    if !whole {
        looking = reduced(&looking, |query| query.name.starts_with(LOOK));
    }
    let pipeline = plan(&looking).map_err(|findings| {
        let of_stream = findings.iter().find(|f| f.code == IS_STREAM && f.span.file == u32::MAX);
        let relation = of_stream.and_then(|f| wanted.get(usize::try_from(f.span.line).ok()?.checked_sub(1)?));
        match relation {
            Some((relation, _)) => LookError::Stream(relation.clone()),
            None => LookError::Plan(findings),
        }
    })?;
    let by_name: BTreeMap<&str, RelationId> =
        pipeline.relations.iter().enumerate().map(|(id, r)| (r.name.as_ref(), id)).collect();
    let tables: Option<Vec<RelationId>> =
        (0..wanted.len()).map(|n| by_name.get(format!("{LOOK}{n}").as_str()).copied()).collect();
    match tables {
        Some(tables) => Ok(Look { pipeline, tables }),
        None => Err(LookError::Plan(Vec::new())),
    }
}

/// A catalog with some of its definitions, and what they need.
pub fn reduced(catalog: &Catalog, keeps: impl Fn(&QueryDefinition) -> bool) -> Catalog {
    // The functions of working days read it without naming it.
    let mut wanted: BTreeSet<String> = ["calendar".to_owned()].into();
    let is_sink = |q: &QueryDefinition| matches!(q.role, QueryRole::Sink(_));
    // What a query names stands before it or behind it: looked through until nothing is added.
    loop {
        let n_before = wanted.len();
        for query in &catalog.queries {
            if keeps(query) || (!is_sink(query) && wanted.contains(&*query.name)) {
                wanted.insert(query.name.to_string());
                wanted.extend(words(&query.query.to_string()));
            }
        }
        if wanted.len() == n_before {
            break;
        }
    }
    let is_kept = |q: &&QueryDefinition| keeps(q) || (!is_sink(q) && wanted.contains(&*q.name));
    let queries = catalog.queries.iter().filter(is_kept).cloned().collect();
    Catalog { queries, ..catalog.clone() }
}

/// The words of a query, whatever they stand for: more than the relations that it names, never fewer.
fn words(sql: &str) -> impl Iterator<Item = String> {
    let words = sql.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
    // Quoted names keep their capitals.
    words.flat_map(|word| [word.to_owned(), word.to_lowercase()])
}
