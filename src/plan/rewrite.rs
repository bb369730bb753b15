//! Rewrites of a query's syntax before DataFusion sees it.
//!
//! `FOR SYSTEM_TIME AS OF` becomes a marker in the join's condition, `CHANGES(t)` a table of that name, `window_start`,
//! `window_end` and `window_time` the bucket they stand for (`bucket_names`), calls that lack the calendar get it, and
//! common table expressions become named queries of their own, so that
//! one that keeps state keeps it once. What cannot be streamed and can be seen in the syntax is refused here, where the
//! position is known.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinConstraint, JoinOperator, LimitClause,
    ObjectName, ObjectNamePart, Query, Select, Spanned, TableAlias, TableAliasColumnDef, TableFactor, TableVersion,
    Value, VisitMut, VisitorMut,
};

use super::arrival;
use super::pseudo_columns::{own_name, read_records};
use super::table_read::{ReadBy, TableRead};
use super::using::rewrite_using;
use super::{bucket_names, working_days};
use crate::catalog::{Catalog, QueryDefinition, QueryRole};
use crate::dialect::{Diagnostic, Span};

/// A query definition as the planner takes it, with what it refers to.
#[derive(Clone, Debug)]
pub(super) struct Rewritten {
    pub(super) definition: QueryDefinition,
    /// Names of relations it reads, one entry a reference.
    pub(super) reads: Vec<String>,
    /// The tables it reads by `CHANGES` or `PASSED`.
    pub(super) followed: Vec<TableRead>,
    /// Whether something in it was refused already.
    pub(super) is_refused: bool,
}

impl Rewritten {
    /// Names of everything it reads.
    pub(super) fn all_reads(&self) -> impl Iterator<Item = &String> {
        self.reads.iter().chain(self.followed.iter().map(|read| &read.table))
    }
}

/// Functions whose value depends on when they are called.
const REFUSED: [&str; 11] = [
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "today",
    "localtimestamp",
    "localtime",
    "random",
    "rand",
    "uuid",
    "gen_random_uuid",
];

/// A relation's name as SQL resolves it: lower case unless quoted.
pub(super) fn normalise(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

pub(super) fn object_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(normalise(ident)),
        _ => None,
    }
}

fn quoted(name: &str) -> ObjectName {
    ObjectName::from(vec![Ident::with_quote('"', name)])
}

/// Rewrites every query of a catalog; common table expressions come before the query that holds them.
pub(super) fn rewrite(catalog: &Catalog, findings: &mut Vec<Diagnostic>) -> Vec<Rewritten> {
    let mut out = Vec::new();
    for definition in &catalog.queries {
        for lifted in lift_ctes(definition, findings) {
            out.push(rewrite_one(catalog, lifted, findings));
        }
    }
    let reads: BTreeSet<&String> = out.iter().flat_map(|r| &r.reads).collect();
    if let Some(view) = working_days::view(catalog, &reads) {
        out.push(rewrite_one(catalog, view, findings));
    }
    out
}

/// Divides a query into its common table expressions, as views of their own, and the rest.
fn lift_ctes(definition: &QueryDefinition, findings: &mut Vec<Diagnostic>) -> Vec<QueryDefinition> {
    let mut main = definition.clone();
    let Some(with) = main.query.with.take() else { return vec![main] };
    if with.recursive {
        findings.push(
            Diagnostic::new("C0301", span(definition, with.with_token.0.span), "WITH RECURSIVE cannot be streamed")
                .hint("Write the steps as views that follow one another."),
        );
        return Vec::new();
    }
    let mut renamed = BTreeMap::new();
    let mut out = Vec::new();
    for cte in with.cte_tables {
        let name = normalise(&cte.alias.name);
        let full = format!("{}.{name}", definition.name);
        let mut query = *cte.query;
        let _ = VisitMut::visit(&mut query, &mut Rename(&renamed));
        out.push(QueryDefinition {
            name: Arc::from(full.as_str()),
            role: QueryRole::View,
            query,
            emit: None,
            span: span(definition, cte.alias.name.span),
            ..definition.clone()
        });
        renamed.insert(name, (full, cte.alias.columns));
    }
    let _ = VisitMut::visit(&mut main.query, &mut Rename(&renamed));
    out.push(main);
    out
}

/// Points references to a common table expression at the view it became; the alias keeps its columns' names valid.
///
/// Names that WITH gives to its columns are given by the reference.
struct Rename<'a>(&'a BTreeMap<String, (String, Vec<TableAliasColumnDef>)>);

impl VisitorMut for Rename<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && let Some(short) = object_name(name)
            && let Some((full, columns)) = self.0.get(&short)
        {
            *name = quoted(full);
            let alias = alias.get_or_insert_with(|| alias_of(&short));
            if alias.columns.is_empty() {
                alias.columns.clone_from(columns);
            }
        }
        ControlFlow::Continue(())
    }
}

fn alias_of(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::with_quote('"', name), columns: Vec::new(), at: None }
}

fn span(definition: &QueryDefinition, span: datafusion::sql::sqlparser::tokenizer::Span) -> Span {
    Span::of(definition.file, span)
}

fn rewrite_one(catalog: &Catalog, definition: QueryDefinition, findings: &mut Vec<Diagnostic>) -> Rewritten {
    let n_findings = findings.len();
    let mut rewriter =
        Rewriter { catalog, definition: definition.clone(), reads: Vec::new(), followed: Vec::new(), findings };
    let mut query = definition.query.clone();
    rewriter.refuse_order(&query);
    let _ = VisitMut::visit(&mut query, &mut rewriter);
    let (reads, followed) = (rewriter.reads, rewriter.followed);
    let is_refused = findings.len() > n_findings;
    Rewritten { definition: QueryDefinition { query, ..definition }, reads, followed, is_refused }
}

struct Rewriter<'a> {
    catalog: &'a Catalog,
    definition: QueryDefinition,
    reads: Vec<String>,
    followed: Vec<TableRead>,
    findings: &'a mut Vec<Diagnostic>,
}

impl Rewriter<'_> {
    fn find(
        &mut self,
        code: &'static str,
        at: datafusion::sql::sqlparser::tokenizer::Span,
        message: String,
        hint: &str,
    ) {
        self.findings.push(Diagnostic::new(code, span(&self.definition, at), message).hint(hint));
    }

    fn changes_read(&self, table: String) -> TableRead {
        let by = match &self.definition.role {
            QueryRole::Sink(options) if options.settle_ms != 0 || options.max_rate.is_some() => {
                ReadBy::Changes { sink: Some(self.definition.name.clone()), settle_ms: options.settle_ms }
            }
            _ => ReadBy::Changes { sink: None, settle_ms: 0 },
        };
        TableRead { table, by }
    }

    /// Refuses what cannot be read by its name.
    fn check_read(&mut self, table: &str, at: datafusion::sql::sqlparser::tokenizer::Span) {
        let is_sink = |q: &&QueryDefinition| *q.name == *table && matches!(q.role, QueryRole::Sink(_));
        if self.catalog.queries.iter().any(|q| is_sink(&q)) {
            let hint = "Give its query a name with CREATE VIEW, and let both read that.";
            self.find("C0314", at, format!("`{table}` is a sink, which rows leave for good"), hint);
        }
    }

    fn refuse_order(&mut self, query: &Query) {
        let is_limited = query.limit_clause.is_some() || query.fetch.is_some();
        match &query.order_by {
            Some(order) if !is_limited && !arrival::is_distinct_on(query) => {
                let hint = "Drop it, or number the rows with row_number() OVER (PARTITION BY .. ORDER BY ..).";
                self.find("C0303", order.span(), "ORDER BY has no meaning for rows that keep changing".into(), hint);
            }
            None if is_limited => {
                let hint = "Say which rows with ORDER BY, or keep the first rows of each key with \
                            QUALIFY row_number() OVER (PARTITION BY .. ORDER BY ..) <= n.";
                let limit = query.limit_clause.as_ref().map(Spanned::span).filter(|span| span.start.line > 0);
                let at = limit.unwrap_or_else(|| query.span());
                self.find("C0304", at, "LIMIT without ORDER BY keeps any rows".into(), hint);
            }
            _ => {}
        }
    }

    /// Turns `JOIN t FOR SYSTEM_TIME AS OF ts` into a marker beside the join's condition.
    fn rewrite_as_of(&mut self, relation: &mut TableFactor, operator: &mut JoinOperator) {
        let TableFactor::Table { name, alias, version, .. } = relation else { return };
        let at = name.span();
        let Some(version) = version.take() else { return };
        let TableVersion::ForSystemTimeAsOf(time) = version else {
            let hint = "Write FOR SYSTEM_TIME AS OF <event time>.";
            return self.find("C0305", at, "only FOR SYSTEM_TIME AS OF is known".into(), hint);
        };
        let table = object_name(name).unwrap_or_default();
        let valid_from = self
            .catalog
            .sources
            .iter()
            .find(|s| *s.name == *table)
            .and_then(|s| s.valid_from.and_then(|c| s.columns.get(c)))
            .map(|c| c.name.clone());
        let Some(valid_from) = valid_from else {
            let hint = "Declare which key column says since when a row is valid: WITH (valid_from = '<timestamp key column>').";
            return self.find("C0306", at, format!("`{table}` has no versions to choose from"), hint);
        };
        let qualifier = alias.as_ref().map_or_else(|| Ident::with_quote('"', &table), |a| a.name.clone());
        let version = Expr::CompoundIdentifier(vec![qualifier, Ident::with_quote('"', valid_from)]);
        let marker = call(super::session::AS_OF, vec![time, version]);
        let constraint = match operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => c,
            _ => {
                let hint = "Use JOIN or LEFT JOIN, with the versioned table on the right.";
                return self.find("C0307", at, "this kind of join cannot choose a version".into(), hint);
            }
        };
        let JoinConstraint::On(condition) = constraint else {
            let hint = "Write ON <key> = <key> (ON TRUE if the version is the whole key).";
            return self.find("C0308", at, "FOR SYSTEM_TIME AS OF needs a condition".into(), hint);
        };
        *condition = Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(condition.clone()))),
            op: datafusion::sql::sqlparser::ast::BinaryOperator::And,
            right: Box::new(marker),
        };
    }
}

/// The arguments of a table function, if all are names.
fn identifiers(args: &[FunctionArg]) -> Option<Vec<&Ident>> {
    let name = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ref ident))) => Some(ident),
        _ => None,
    };
    args.iter().map(name).collect()
}

/// A call of a function.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(datafusion::sql::sqlparser::ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args, alias, with_hints, .. } = factor else { return ControlFlow::Continue(()) };
        if !with_hints.is_empty() {
            let hint = "Write them before AS: CREATE SINK name WITH (..) AS SELECT ..";
            self.find("C0313", name.span(), format!("options `WITH (..)` stand behind `{name}`"), hint);
        }
        let Some(table) = object_name(name) else {
            let hint = "A pack has no schemas: write the relation's name alone.";
            self.find("C0315", name.span(), format!("`{name}` has more than one part"), hint);
            return ControlFlow::Continue(());
        };
        match args.take() {
            Some(given) if table == "changes" => match identifiers(&given.args).as_deref() {
                Some([of]) => {
                    let read = self.changes_read(normalise(of));
                    *name = quoted(&read.name());
                    alias.get_or_insert_with(|| alias_of("changes"));
                    self.followed.push(read);
                }
                _ => {
                    let hint = "Write FROM CHANGES(t) with the name of a table.";
                    self.find("C0309", name.span(), "CHANGES takes one table".into(), hint);
                }
            },
            Some(given) if table == "passed" => match identifiers(&given.args).as_deref() {
                Some([of, column]) => {
                    let (of, column) = (normalise(of), normalise(column));
                    let read = TableRead { table: of.clone(), by: ReadBy::Passed { column } };
                    *name = quoted(&read.name());
                    alias.get_or_insert_with(|| alias_of(&of));
                    self.followed.push(read);
                }
                _ => {
                    let hint =
                        "Write FROM PASSED(t, column) with the name of a table and of its column with the instant.";
                    self.find("C0315", name.span(), "PASSED takes a table and one of its columns".into(), hint);
                }
            },
            given @ Some(_) => *args = given,
            None => {
                let table = own_name(&table).to_owned();
                self.check_read(&table, name.span());
                self.reads.push(table);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        arrival::mark_query(query);
        fetch_as_limit(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            arrival::mark_function(function);
        }
        if let Expr::Function(function) = expr
            && let Some(name) = object_name(&function.name)
            && REFUSED.contains(&name.as_str())
        {
            let hint = match name.as_str() {
                "random" | "rand" | "uuid" | "gen_random_uuid" => {
                    "Derive it from the row, as in md5(id): a result must be the same when the input is read again."
                }
                _ => "Use the event time of the row: a result must be the same when the input is read again.",
            };
            self.find("C0310", function.span(), format!("`{name}()` differs from call to call"), hint);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        arrival::mark_select(select);
        for from in &mut select.from {
            for join in &mut from.joins {
                self.rewrite_as_of(&mut join.relation, &mut join.join_operator);
            }
        }
        let catalog = self.catalog;
        let columns = |name: &str| {
            let source = catalog.sources.iter().find(|s| *s.name == *name)?;
            Some(source.columns.iter().map(|c| c.name.clone()).collect())
        };
        if let Err(refused) = rewrite_using(select, &columns) {
            let hint = "Write ON a.column = b.column, and coalesce(a.column, b.column) for the merged column.";
            self.find("C0318", refused.at, refused.message, hint);
        }
        let is_source = |name: &str| catalog.sources.iter().any(|s| *s.name == *name);
        if let Err(at) = read_records(select, &is_source) {
            let hint = "Name the columns, or write `a.*` for each relation.";
            self.find("C0319", at, "`*` leaves columns out beside a pseudo-column".into(), hint);
        }
        bucket_names::substitute(select);
        if let Err(refused) = working_days::give_calendar(self.catalog, select) {
            self.find(refused.code, refused.at, refused.message, refused.hint);
        }
        ControlFlow::Continue(())
    }
}

/// `FETCH FIRST n ROWS ONLY` is `LIMIT n`, which DataFusion knows.
fn fetch_as_limit(query: &mut Query) {
    let Some(fetch) = query.fetch.take_if(|f| !f.percent && !f.with_ties) else { return };
    let first = || fetch.quantity.clone().unwrap_or_else(|| Expr::value(Value::Number("1".into(), false)));
    match &mut query.limit_clause {
        None => {
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(first()), offset: None, limit_by: Vec::new() });
        }
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(first()),
        Some(_) => query.fetch = Some(fetch),
    }
}
