//! `add_working_days(ts, n)` and `working_days_between(a, b)` without a calendar: that of the pack's table `calendar`.
//!
//! Which days are worked is content of a table, and no function may read one. So a view makes one value of the table, one row
//! joined to every row of the query (`CROSS JOIN`), and the calls get its column as their first argument. Changes of the table
//! then reach what was counted by it as those of any table do.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Join,
    JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem, Spanned, Statement, TableAlias,
    TableAliasColumnDef, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer;

use crate::catalog::{Catalog, QueryDefinition, QueryRole, SourceDefinition};

/// The table of the pack that holds the calendar.
const CALENDAR: &str = "calendar";
/// The view that makes one value of it.
const VIEW: &str = "calendar.working_calendar";
const FUNCTIONS: [&str; 2] = ["add_working_days", "working_days_between"];

/// Why a call without a calendar cannot get one, and where it stands.
pub(super) struct Refused {
    pub(super) code: &'static str,
    pub(super) at: tokenizer::Span,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// The function of working days that an expression calls, if it does.
pub(super) fn call_in(expr: &datafusion::logical_expr::Expr) -> Option<&'static str> {
    use datafusion::logical_expr::Expr as Planned;
    let mut found = None;
    let _ = expr.apply(|e| {
        if let Planned::ScalarFunction(call) = e {
            found = found.or(FUNCTIONS.into_iter().find(|name| *name == call.func.name()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Gives the calls of a SELECT that have no calendar the one of the table `calendar`.
pub(super) fn give_calendar(catalog: &Catalog, select: &mut Select) -> Result<(), Refused> {
    let calls = calls(select);
    let Some(first) = calls.first() else { return Ok(()) };
    if select.from.is_empty() {
        return Err(Refused {
            code: "C0322",
            at: first.name.span(),
            message: format!("`{}` stands in a query that reads no relation", first.name),
            hint: "Call it where a relation is read, or hand a calendar in as the first argument.",
        });
    }
    if calendar(catalog).is_none() {
        return Err(Refused {
            code: "C0320",
            at: first.name.span(),
            message: format!(
                "`{}` needs a table `calendar` with the columns day (DATE) and working (BOOLEAN)",
                first.name
            ),
            hint: "Declare it, or hand a calendar in as the first argument: working_calendar(day, working) makes one of any table.",
        });
    }
    if let Some(call) = call_above_groups(select) {
        return Err(Refused {
            code: "C0321",
            at: call.name.span(),
            message: format!("`{}` cannot be called on the results of a GROUP BY", call.name),
            hint: "Group in a view, and call it where that view is read.",
        });
    }
    let mut columns = Vec::new();
    for from in &mut select.from {
        // What ON compares must stand before it.
        let mut give = Give::new(columns.len());
        for join in &mut from.joins {
            let _ = VisitMut::visit(&mut join.join_operator, &mut give);
        }
        if give.n_given > 0 {
            from.joins.insert(0, cross_join(&give.name));
            columns.push(give.name);
        }
    }
    let mut give = Give::new(columns.len());
    let _ = VisitMut::visit(&mut select.distinct, &mut give);
    let _ = VisitMut::visit(&mut select.projection, &mut give);
    let _ = VisitMut::visit(&mut select.selection, &mut give);
    let _ = VisitMut::visit(&mut select.group_by, &mut give);
    let _ = VisitMut::visit(&mut select.having, &mut give);
    let _ = VisitMut::visit(&mut select.named_window, &mut give);
    let _ = VisitMut::visit(&mut select.qualify, &mut give);
    if let (Some(from), true) = (select.from.first_mut(), give.n_given > 0) {
        from.joins.push(cross_join(&give.name));
        columns.push(give.name);
    }
    hide(select, &columns);
    Ok(())
}

/// The view over the table `calendar`, if a query reads it.
pub(super) fn view(catalog: &Catalog, reads: &BTreeSet<&String>) -> Option<QueryDefinition> {
    let source = calendar(catalog).filter(|_| reads.iter().any(|name| *name == VIEW))?;
    let sql = format!("SELECT working_calendar(day, working) AS calendar FROM {CALENDAR}");
    let Some(Statement::Query(query)) = Parser::parse_sql(&GenericDialect {}, &sql).ok()?.pop() else { return None };
    Some(QueryDefinition {
        name: VIEW.into(),
        role: QueryRole::View,
        query: *query,
        emit: None,
        emit_every_ms: None,
        allowed_lateness_ms: 0,
        wait_ms: 0,
        file: source.span.file,
        span: source.span,
    })
}

/// The table `calendar`, if it has the columns of one.
fn calendar(catalog: &Catalog) -> Option<&SourceDefinition> {
    let source = catalog.sources.iter().find(|s| &*s.name == CALENDAR)?;
    let has =
        |name: &str, data_type: DataType| source.columns.iter().any(|c| c.name == name && c.data_type == data_type);
    (has("day", DataType::Date32) && has("working", DataType::Boolean)).then_some(source)
}

/// Whether a call has no calendar.
fn lacks_calendar(function: &Function) -> bool {
    let n_arguments = match &function.args {
        FunctionArguments::List(list) => list.args.len(),
        _ => 0,
    };
    let is_named = |name: &&str| function.name.to_string().eq_ignore_ascii_case(name);
    n_arguments == 2 && FUNCTIONS.iter().any(is_named)
}

/// The calls of a SELECT without a calendar, not those of its subqueries.
fn calls(select: &Select) -> Vec<Function> {
    let mut select = select.clone();
    let mut find = Find { calls: Vec::new(), n_queries: 0, n_functions: 0, top_only: false };
    let _ = VisitMut::visit(&mut select, &mut find);
    find.calls
}

/// A call in SELECT or HAVING that would be handed what GROUP BY made: beside the key, the calendar is no longer there.
fn call_above_groups(select: &Select) -> Option<Function> {
    let keys: &[Expr] = match &select.group_by {
        GroupByExpr::Expressions(keys, _) => keys,
        GroupByExpr::All(_) => &[],
    };
    if keys.is_empty() && select.having.is_none() {
        return None;
    }
    let mut find = Find { calls: Vec::new(), n_queries: 0, n_functions: 0, top_only: true };
    for (idx, item) in select.projection.iter().enumerate() {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
            _ => continue,
        };
        let is_key = keys.iter().any(|key| match key {
            Expr::Identifier(name) => alias == Some(name),
            Expr::Value(number) => number.value.to_string() == (idx + 1).to_string(),
            key => key == expr,
        });
        if !is_key {
            let _ = VisitMut::visit(&mut expr.clone(), &mut find);
        }
    }
    let _ = VisitMut::visit(&mut select.having.clone(), &mut find);
    find.calls.into_iter().find(|call| !keys.contains(&Expr::Function(call.clone())))
}

/// Finds calls without a calendar.
struct Find {
    calls: Vec<Function>,
    n_queries: usize,
    n_functions: usize,
    /// Whether calls inside other functions, of which most are aggregates, are left out.
    top_only: bool,
}

impl VisitorMut for Find {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.n_queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.n_queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            let is_inside = self.top_only && self.n_functions > 0;
            if self.n_queries == 0 && !is_inside && lacks_calendar(function) {
                self.calls.push(function.clone());
            }
            self.n_functions += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.n_functions -= usize::from(matches!(expr, Expr::Function(_)));
        ControlFlow::Continue(())
    }
}

/// Gives calls the column of a calendar as their first argument.
struct Give {
    /// The name of the calendar in this query, and of its column.
    name: String,
    n_queries: usize,
    n_given: usize,
}

impl Give {
    fn new(idx: usize) -> Self {
        Self { name: format!("working_calendar {idx}"), n_queries: 0, n_given: 0 }
    }
}

impl VisitorMut for Give {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.n_queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.n_queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && self.n_queries == 0
            && lacks_calendar(function)
            && let FunctionArguments::List(list) = &mut function.args
        {
            let name = Ident::with_quote('"', &self.name);
            let column = Expr::CompoundIdentifier(vec![name.clone(), name]);
            list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(column)));
            self.n_given += 1;
        }
        ControlFlow::Continue(())
    }
}

/// The join with the view, under a name that is also that of its column.
fn cross_join(name: &str) -> Join {
    let ident = Ident::with_quote('"', name);
    let column = TableAliasColumnDef { name: ident.clone(), data_type: None };
    let relation = TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', VIEW)]),
        alias: Some(TableAlias { explicit: true, name: ident, columns: vec![column], at: None }),
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    Join { relation, global: false, join_operator: JoinOperator::CrossJoin(JoinConstraint::None) }
}

/// Takes the calendars' columns out of `SELECT *`.
fn hide(select: &mut Select, columns: &[String]) {
    if columns.is_empty() {
        return;
    }
    let hidden = columns.iter().map(|name| ObjectName::from(vec![Ident::with_quote('"', name)]));
    for item in &mut select.projection {
        if let SelectItem::Wildcard(options) = item {
            let mut excluded = match options.opt_exclude.take() {
                Some(ExcludeSelectItem::Single(one)) => vec![one],
                Some(ExcludeSelectItem::Multiple(many)) => many,
                None => Vec::new(),
            };
            excluded.extend(hidden.clone());
            options.opt_exclude = Some(ExcludeSelectItem::Multiple(excluded));
        }
    }
}
