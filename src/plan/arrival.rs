//! `ORDER BY arrival`: the word stands for the order in which rows are handled, unless it is quoted or qualified.

use datafusion::logical_expr::Expr as PlannedExpr;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, NamedWindowExpr, OrderByKind, Query, Select, SetExpr, WindowSpec, WindowType,
};

use super::rewrite::call;
use super::session::ARRIVAL;

/// Puts a marker in the place of the word where a function is OVER a window.
pub(super) fn mark_function(function: &mut Function) {
    if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
        mark_window(spec);
    }
}

/// Puts a marker in the place of the word in named windows.
pub(super) fn mark_select(select: &mut Select) {
    for definition in &mut select.named_window {
        if let NamedWindowExpr::WindowSpec(spec) = &mut definition.1 {
            mark_window(spec);
        }
    }
}

/// Puts a marker in the place of the word in the order by which DISTINCT ON chooses.
pub(super) fn mark_query(query: &mut Query) {
    if !is_distinct_on(query) {
        return;
    }
    if let Some(OrderByKind::Expressions(exprs)) = query.order_by.as_mut().map(|order| &mut order.kind) {
        exprs.iter_mut().for_each(|order| mark(&mut order.expr));
    }
}

/// Whether the ORDER BY of a query says which row of each key stays.
pub(super) fn is_distinct_on(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Select(select) if matches!(select.distinct, Some(Distinct::On(_))))
}

fn mark_window(spec: &mut WindowSpec) {
    spec.order_by.iter_mut().for_each(|order| mark(&mut order.expr));
}

fn mark(expr: &mut Expr) {
    if let Expr::Identifier(ident) = expr
        && ident.quote_style.is_none()
        && ident.value.eq_ignore_ascii_case(ARRIVAL)
    {
        *expr = call(ARRIVAL, Vec::new());
    }
}

/// Whether a planned expression is the marker.
pub(super) fn is_marker(expr: &PlannedExpr) -> bool {
    matches!(expr, PlannedExpr::ScalarFunction(call) if call.func.name() == ARRIVAL)
}
