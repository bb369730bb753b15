//! Looking into relations that no sink writes: the pack is planned a second time, with a sink for each of them.
//!
//! The pipeline under test has no sink that it does not have in production. A sink more could change what is shared between relations, which
//! columns are decoded, and for how long rows are kept; so what is looked into runs beside it, over the records that the
//! pipeline under test accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{Catalog, Definition, QueryRole, resolve};
use crate::dialect::{Diagnostic, Pack, SourceFile, parse, render_lines};
use crate::plan::{Pipeline, plan, reduced};

/// The code that says that a sink writes a table without a key.
const NO_KEY: &str = "C0446";
/// The column of a bag that says how often a row is there.
pub(super) const COUNT: &str = "_n";

/// The second plan.
pub(super) struct Taps {
    pub(super) pipeline: Arc<Pipeline>,
    /// By relation its sink in the second plan.
    pub(super) sinks: BTreeMap<String, Tap>,
}

/// A sink that is there to look at a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tap {
    pub(super) sink: Arc<str>,
    /// Whether rows stand for as many as [`COUNT`] says, since the relation has no key to tell them apart by.
    pub(super) is_counted: bool,
}

/// Plans a pack with a sink for each of these relations, which are not sinks themselves; none if there are no relations.
pub(super) fn plan_taps(pack: &Pack, relations: &[String]) -> Result<Option<Taps>, String> {
    if relations.is_empty() {
        return Ok(None);
    }
    let mut is_counted = vec![false; relations.len()];
    loop {
        let lines: String = relations.iter().zip(&is_counted).enumerate().map(|(n, (r, c))| line(n, r, *c)).collect();
        let mut tapped = pack.clone();
        tapped.files.push(SourceFile { path: "(relations that a test looks into)".into(), text: lines });
        match catalog(&tapped).and_then(|c| plan(&reduced(&c, |query| query.name.starts_with(TAP)))).map(Arc::new) {
            Ok(pipeline) => {
                let tap = |(n, (relation, is_counted)): (usize, (&String, &bool))| {
                    (relation.clone(), Tap { sink: name(n).into(), is_counted: *is_counted })
                };
                let sinks = relations.iter().zip(&is_counted).enumerate().map(tap).collect();
                return Ok(Some(Taps { pipeline, sinks }));
            }
            Err(findings) => {
                // A table without a key is a bag: its rows are counted, which gives them one.
                let bags: Vec<usize> = findings.iter().filter_map(|f| bag(f, pack.files.len())).collect();
                let n_before = is_counted.iter().filter(|c| **c).count();
                bags.iter().for_each(|n| is_counted.iter_mut().skip(*n).take(1).for_each(|c| *c = true));
                if is_counted.iter().filter(|c| **c).count() == n_before {
                    return Err(render_lines(&findings, &tapped));
                }
            }
        }
    }
}

/// Resolves a pack, or says what is wrong.
pub(super) fn catalog(pack: &Pack) -> Result<Catalog, Vec<Diagnostic>> {
    let (statements, findings) = parse(pack);
    if findings.is_empty() { resolve(statements, None) } else { Err(findings) }
}

/// Whether a relation of the catalog is a sink.
pub(super) fn is_sink(definition: Definition<'_>) -> bool {
    matches!(definition, Definition::Query(query) if matches!(query.role, QueryRole::Sink(_)))
}

/// How the names of the second plan's sinks begin.
const TAP: &str = "_tap_";

fn name(n: usize) -> String {
    format!("{TAP}{n}")
}

/// One line for each, by which findings are told apart.
fn line(n: usize, relation: &str, is_counted: bool) -> String {
    let (sink, from) = (name(n), relation.replace('"', "\"\""));
    let query = if is_counted {
        format!("SELECT *, count(*) AS \"{COUNT}\" FROM \"{from}\" GROUP BY ALL")
    } else {
        format!("SELECT * FROM \"{from}\"")
    };
    format!(
        "CREATE SINK \"{sink}\" WITH (topic = 'tap-{n}', format = 'json', headers = 'none', allow_private = true) AS {query};\n"
    )
}

/// The relation that a finding calls a bag.
fn bag(finding: &Diagnostic, file: usize) -> Option<usize> {
    let is_tap = finding.code == NO_KEY && usize::try_from(finding.span.file) == Ok(file);
    if is_tap { usize::try_from(finding.span.line).ok()?.checked_sub(1) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_with_a_key_are_written_and_bags_are_counted() {
        let pack = Pack::from_text(
            "rules.sql",
            "CREATE TABLE t (id VARCHAR PRIMARY KEY, g VARCHAR, tags VARCHAR[]) WITH (topic = 't', format = 'json');
             CREATE STREAM s (id VARCHAR) WITH (topic = 's', format = 'json');
             CREATE VIEW bag AS SELECT g, tags FROM t WHERE g <> 'x';
             CREATE SINK o WITH (topic = 'o', format = 'json') AS SELECT id FROM s;",
        );
        let names: Vec<String> = ["t", "s", "bag"].map(str::to_string).into();
        let taps = plan_taps(&pack, &names).unwrap().unwrap();
        let counted: Vec<bool> = names.iter().map(|n| taps.sinks[n].is_counted).collect();
        assert_eq!(counted, [false, false, true]);
        assert_eq!(taps.pipeline.sinks.len(), 3, "the pack's own sinks are not needed there");
        assert!(plan_taps(&pack, &[]).unwrap().is_none());
        assert!(plan_taps(&pack, &["none".into()]).err().is_some_and(|e| e.contains("C0202")), "said by the planner");
    }
}
