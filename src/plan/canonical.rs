//! Operator ids: a hash of what an operator computes, in a canonical form of ours.
//!
//! The form names no relation, view or column alias, only sources, positions and functions: renaming a view or
//! formatting a rule anew keeps every id, and with it the state.

use std::fmt::Write;

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Case, Expr, LogicalPlan};
use sha2::{Digest, Sha256};

use super::builder::Builder;

/// The id of a canonical text: the first 16 hexadecimal digits of its SHA-256.
pub(super) fn id(meaning: &str) -> String {
    Sha256::digest(meaning.as_bytes()).iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The canonical form of a stateless plan: relations by their ids, columns by position.
pub(super) fn plan(builder: &Builder<'_>, node: &LogicalPlan) -> String {
    match node {
        LogicalPlan::TableScan(scan) => {
            let id = builder.scans.get(scan.table_name.table()).map_or("?", |id| &builder.relations[*id].operator_id);
            let columns: Vec<&str> = scan.projected_schema.fields().iter().map(|f| f.name().as_str()).collect();
            match scan.projection {
                Some(_) => format!("(scan {id} {})", columns.join(" ")),
                None => format!("(scan {id})"),
            }
        }
        LogicalPlan::Projection(p) => {
            format!("(project [{}] {})", exprs(&p.expr, p.input.schema()), plan(builder, &p.input))
        }
        LogicalPlan::Filter(f) => {
            format!("(filter {} {})", expr(&f.predicate, f.input.schema()), plan(builder, &f.input))
        }
        LogicalPlan::SubqueryAlias(a) => plan(builder, &a.input),
        LogicalPlan::Unnest(u) => format!("(unnest {:?} {})", u.dependency_indices, plan(builder, &u.input)),
        other => {
            let inputs: Vec<String> = other.inputs().into_iter().map(|i| plan(builder, i)).collect();
            let word = if matches!(other, LogicalPlan::Union(_)) { "union" } else { "other" };
            format!("({word} {})", inputs.join(" "))
        }
    }
}

/// The canonical form of several expressions over one schema.
pub(super) fn exprs(list: &[Expr], schema: &DFSchema) -> String {
    list.iter().map(|e| expr(e, schema)).collect::<Vec<_>>().join(" ")
}

/// The canonical form of an expression: columns by position, functions by name, literals with their type.
pub(super) fn expr(e: &Expr, schema: &DFSchema) -> String {
    let many = |list: &[Expr]| exprs(list, schema);
    match e {
        Expr::Alias(a) => expr(&a.expr, schema),
        Expr::Column(c) => schema.index_of_column(c).map_or_else(|_| format!("${}", c.name), |i| format!("${i}")),
        Expr::Literal(value, _) => format!("{:?}:{}", value.to_string(), value.data_type()),
        Expr::BinaryExpr(b) => format!("({} {} {})", b.op, expr(&b.left, schema), expr(&b.right, schema)),
        Expr::ScalarFunction(f) => format!("({} {})", f.func.name(), many(&f.args)),
        Expr::AggregateFunction(f) => {
            let p = &f.params;
            let filter = p.filter.as_ref().map_or(String::new(), |f| expr(f, schema));
            let order: Vec<String> =
                p.order_by.iter().map(|s| format!("{}{}{}", expr(&s.expr, schema), s.asc, s.nulls_first)).collect();
            format!(
                "({} {} distinct={} where={filter} order={})",
                f.func.name(),
                many(&p.args),
                p.distinct,
                order.join(" ")
            )
        }
        Expr::Cast(c) => format!("(cast {} {})", expr(&c.expr, schema), c.field.data_type()),
        Expr::TryCast(c) => format!("(try_cast {} {})", expr(&c.expr, schema), c.field.data_type()),
        Expr::Not(i) => format!("(not {})", expr(i, schema)),
        Expr::IsNull(i) => format!("(is_null {})", expr(i, schema)),
        Expr::IsNotNull(i) => format!("(is_not_null {})", expr(i, schema)),
        Expr::Negative(i) => format!("(- {})", expr(i, schema)),
        Expr::InList(l) => format!("(in {} {} [{}])", l.negated, expr(&l.expr, schema), many(&l.list)),
        Expr::Case(case) => self::case(case, schema),
        // Anything rarer is written as DataFusion writes it, with its columns by position.
        other => {
            let mut columns: Vec<String> =
                other.column_refs().into_iter().map(|c| expr(&Expr::Column(c.clone()), schema)).collect();
            columns.sort();
            format!("({other} [{}])", columns.join(" "))
        }
    }
}

fn case(case: &Case, schema: &DFSchema) -> String {
    let option = |e: &Option<Box<Expr>>| e.as_ref().map_or_else(|| "-".to_owned(), |e| expr(e, schema));
    let branches: Vec<String> = case
        .when_then_expr
        .iter()
        .map(|(when, then)| format!("{} {}", expr(when, schema), expr(then, schema)))
        .collect();
    format!("(case {} [{}] {})", option(&case.expr), branches.join(" "), option(&case.else_expr))
}
