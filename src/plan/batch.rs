//! Batch SQL beside a pack: queries over what relations hold, as tests, simulations and people ask them.
//!
//! Such a query is DataFusion's as it is: nothing is rewritten, and what fails for a row fails.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono_tz::Tz;
use datafusion::config::ConfigOptions;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::sqlparser::ast::{
    ObjectNamePart, Query, SetExpr, Spanned, Statement, TableFactor, Visit, Visitor,
};

use super::error::PlanError;
use super::interval_product::IntervalProducts;
use super::rewrite::normalise;
use crate::catalog::{QueryDefinition, QueryRole};
use crate::dialect::{Diagnostic, Span, parse_query};

/// A session with the functions of a pack, whose calendar is that of the zone.
pub fn batch_session(zone: Tz) -> SessionContext {
    batch_session_in(zone, Arc::default())
}

/// The same within the bounds of a runtime.
pub fn batch_session_in(zone: Tz, runtime: Arc<RuntimeEnv>) -> SessionContext {
    let mut options = ConfigOptions::new();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    options.execution.time_zone = Some(zone.name().to_owned());
    let config = SessionConfig::from(options).with_target_partitions(1);
    let mut ctx = SessionContext::new_with_config_rt(config, runtime);
    // Only a session that takes no planners refuses one, and this one takes them.
    let _ = ctx.register_expr_planner(Arc::new(IntervalProducts::default()));
    for function in crate::functions::all(zone) {
        ctx.register_udf(function);
    }
    for function in crate::functions::aggregates() {
        ctx.register_udaf(function);
    }
    ctx
}

/// Table functions that read nothing.
const TABLE_FUNCTIONS: [&str; 3] = ["generate_series", "range", "unnest"];

/// A query that somebody asks, read but not planned.
#[derive(Clone, Debug)]
pub struct BatchQuery {
    /// Its syntax.
    pub query: Query,
    /// The relations that it reads, without those that it names in WITH, and where each is first named.
    pub relations: Vec<(String, Span)>,
}

/// Reads the text of one SELECT that reads nothing but relations.
pub fn read_batch_query(sql: &str) -> Result<BatchQuery, Box<Diagnostic>> {
    let first: String =
        sql.trim_start_matches(['(', ' ', '\n', '\r', '\t']).chars().take_while(|c| c.is_alphanumeric()).collect();
    let is_query = ["SELECT", "WITH", "VALUES", "FROM", ""].iter().any(|word| first.eq_ignore_ascii_case(word));
    if !is_query {
        let message =
            format!("`{}` cannot be asked: only a SELECT is answered, and nothing is changed", first.to_uppercase());
        return Err(Box::new(
            Diagnostic::new("C0601", first_place(sql), message).hint("What rules do is changed in the pack's files."),
        ));
    }
    let query = parse_query(sql)?;
    let mut found = Found::default();
    let _ = Visit::visit(&query, &mut found);
    if let Some(finding) = found.refused {
        return Err(finding);
    }
    let is_named = |name: &str| found.named.contains(name);
    let mut relations: Vec<(String, Span)> = Vec::new();
    for (name, span) in found.read {
        if !is_named(&name) && !relations.iter().any(|(known, _)| *known == name) {
            relations.push((name, span));
        }
    }
    Ok(BatchQuery { query, relations })
}

/// The place of the first word.
fn first_place(sql: &str) -> Span {
    let before = sql.get(..sql.len() - sql.trim_start_matches(['(', ' ', '\n', '\r', '\t']).len()).unwrap_or_default();
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
    Span { file: 0, line, column, end_line: line, end_column: column + 1 }
}

/// A finding about a query that DataFusion did not plan or run. `relations` are the names that it may read.
pub fn batch_finding(error: datafusion::error::DataFusionError, query: &Query, relations: &[String]) -> Diagnostic {
    PlanError::from(error).into_diagnostic(&as_definition("query", query.clone(), Span::default()), relations)
}

/// A query as if it were declared.
pub(super) fn as_definition(name: &str, query: Query, span: Span) -> QueryDefinition {
    QueryDefinition {
        file: span.file,
        span,
        name: name.into(),
        role: QueryRole::Table { key: None },
        query,
        emit: None,
        emit_every_ms: None,
        allowed_lateness_ms: 0,
        wait_ms: 0,
    }
}

/// The code of a query that would take more than it may have.
pub const TOO_MUCH: &str = "C0610";
/// Mentions of relations in a query, when each name that WITH gives is written out.
const MENTIONS_MAX: u64 = 256;

#[derive(Default)]
struct Found {
    read: Vec<(String, Span)>,
    /// The names that WITH gives.
    named: BTreeSet<String>,
    /// For the queries that are being looked at, from the outermost, how many relations they mention.
    mentions: Vec<u64>,
    /// How many each name stands for.
    stands_for: BTreeMap<String, u64>,
    /// The names of the queries that WITH gives names to, by where they lie in memory.
    names: BTreeMap<usize, String>,
    refused: Option<Box<Diagnostic>>,
}

impl Found {
    fn refuse(&mut self, at: Span, message: String, hint: &str) -> ControlFlow<()> {
        self.refused = Some(Box::new(Diagnostic::new("C0602", at, message).hint(hint)));
        ControlFlow::Break(())
    }
}

impl Visitor for Found {
    type Break = ();

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let n = self.mentions.pop().unwrap_or(0);
        if let Some(name) = self.names.get(&(query as *const Query).addr()) {
            self.stands_for.insert(name.clone(), n.max(1));
        }
        if let Some(outer) = self.mentions.last_mut() {
            *outer = outer.saturating_add(n);
        }
        if n > MENTIONS_MAX {
            let hint = "Each mention of a name of WITH is computed anew: make it a view of the pack, or mention it less often.";
            let message =
                format!("the query mentions more than {MENTIONS_MAX} relations when the names of WITH are written out");
            self.refused = Some(Box::new(Diagnostic::new(TOO_MUCH, Span::of(0, query.span()), message).hint(hint)));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.mentions.push(0);
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.names.extend(ctes.map(|cte| ((&*cte.query as *const Query).addr(), normalise(&cte.alias.name))));
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.named.extend(ctes.map(|cte| normalise(&cte.alias.name)));
        if !query.locks.is_empty() || matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_)) {
            let at = Span::of(0, query.span());
            return self.refuse(at, "a query changes and locks nothing".to_owned(), "Ask with a plain SELECT.");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        if matches!(statement, Statement::Query(_)) {
            return ControlFlow::Continue(());
        }
        self.refuse(
            Span::of(0, statement.span()),
            "a query holds no other statement".to_owned(),
            "Ask with a plain SELECT.",
        )
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args, version, .. } = factor else { return ControlFlow::Continue(()) };
        let at = Span::of(0, name.span());
        let words: Option<Vec<String>> = name.0.iter().map(word).collect();
        let stands_for = words.as_deref().and_then(|words| self.stands_for.get(words.last()?)).copied().unwrap_or(1);
        if let Some(n) = self.mentions.last_mut() {
            *n = n.saturating_add(stands_for);
        }
        match (words.as_deref(), args, version) {
            (Some([function]), Some(_), _) if TABLE_FUNCTIONS.contains(&function.as_str()) => ControlFlow::Continue(()),
            (_, Some(_), _) => self.refuse(
                at,
                format!("`{name}(..)` cannot be read by a query"),
                "Relations are read by their names. What CHANGES and PASSED give is for rules: ask the relation of a rule that reads them.",
            ),
            (_, _, Some(_)) => self.refuse(
                at,
                format!("`{name}` is read as it is now: FOR SYSTEM_TIME AS OF is for rules"),
                "Ask a view of the pack that has the join, or compare the columns with WHERE.",
            ),
            (Some([relation]), ..) => {
                self.read.push((relation.clone(), at));
                ControlFlow::Continue(())
            }
            _ => self.refuse(at, format!("`{name}` is no relation of the pack"), "Relations have one name, without a schema."),
        }
    }
}

fn word(part: &ObjectNamePart) -> Option<String> {
    match part {
        ObjectNamePart::Identifier(ident) => Some(normalise(ident)),
        ObjectNamePart::Function(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> String {
        let finding = read_batch_query(sql).unwrap_err();
        format!("{} {}:{} {}", finding.code, finding.span.line, finding.span.column, finding.message)
    }

    #[test]
    fn a_query_names_its_relations_with_their_places() {
        let query = read_batch_query(
            "WITH late AS (SELECT * FROM visits) SELECT * FROM captures c, late\n JOIN \"Odd\" USING (id), generate_series(1, 2) \
             WHERE c.id IN (SELECT id FROM voids) UNION ALL SELECT 1, 2 FROM captures;",
        )
        .unwrap();
        let found: Vec<(&str, u64, u64)> =
            query.relations.iter().map(|(name, at)| (name.as_str(), at.line, at.column)).collect();
        assert_eq!(found, [("visits", 1, 29), ("captures", 1, 51), ("Odd", 2, 7), ("voids", 2, 77)]);
    }

    #[test]
    fn whatever_is_no_select_over_relations_is_refused() {
        let lines = (1..20).map(|n| format!(", c{n} AS (SELECT a.x FROM c{} a, c{} b)", n - 1, n - 1));
        let doubling = format!("WITH c0 AS (SELECT 1 AS x){} SELECT x FROM c19", lines.collect::<String>());
        for (sql, expected) in [
            ("DELETE FROM t", "C0601 1:1 `DELETE` cannot be asked"),
            ("\n  insert into t values (1)", "C0601 2:3 `INSERT` cannot be asked"),
            ("EXPLAIN ANALYZE SELECT 1", "C0601 1:1 `EXPLAIN` cannot be asked"),
            ("SET x = 1", "C0601"),
            ("COPY t TO 'x'", "C0601"),
            ("CREATE TABLE t AS SELECT 1", "C0601"),
            ("SELECT 1; SELECT 2", "C000"),
            ("SELECT * FROM CHANGES(actions)", "C0602 1:15 `CHANGES(..)` cannot be read"),
            ("SELECT * FROM read_csv('/etc/passwd')", "C0602"),
            ("SELECT * FROM a.b", "C0602"),
            ("SELECT 1 FROM", "C0002"),
            (&doubling, "C0610 1:"),
        ] {
            let found = refused(sql);
            assert!(found.starts_with(expected), "{sql}: {found}");
        }
        for sql in ["SELECT * FROM t FOR UPDATE", "WITH x AS (INSERT INTO t VALUES (1)) SELECT 1", "SELECT 1 INTO t"] {
            let planned = read_batch_query(sql).map(|query| query.relations);
            assert!(planned.is_err() || planned.as_ref().is_ok_and(Vec::is_empty), "{sql}: {planned:?}");
        }
    }
}
