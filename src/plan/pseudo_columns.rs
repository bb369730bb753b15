//! `_topic, _partition, _offset, _timestamp, _key, _headers`: what a source's record says of itself beside its value.
//!
//! They are no columns of `SELECT *`. So a SELECT that names one reads its sources under another name, with these columns,
//! and its `*` leaves them out again. What no query reads is pruned like any other column.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Select,
    SelectItem, SelectItemQualifiedWildcardKind, Spanned, TableAlias, TableFactor, Visit, Visitor,
    WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::rewrite::{normalise, object_name};
use super::using::{last_ident, qualified_wildcard, qualifier};
use crate::catalog::PSEUDO_COLUMNS;

/// What is put behind the name of a source that is read with these columns.
const SUFFIX: &str = " with its records";

/// The name of a source that is read with its pseudo-columns.
pub(super) fn with_records(source: &str) -> String {
    format!("{source}{SUFFIX}")
}

/// The source's own name, whichever way it is read.
pub(super) fn own_name(name: &str) -> &str {
    name.strip_suffix(SUFFIX).unwrap_or(name)
}

/// Points a SELECT that names pseudo-columns at its sources with them. Fails with the place of a `*` that cannot be written
/// without them.
pub(super) fn read_records(select: &mut Select, is_source: &dyn Fn(&str) -> bool) -> Result<(), Span> {
    if !mentions(select) {
        return Ok(());
    }
    let mut factors: Vec<(Option<Ident>, bool)> = Vec::new();
    for from in &mut select.from {
        let joined = from.joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(&mut from.relation).chain(joined) {
            let is_renamed = rename(factor, is_source);
            factors.push((qualifier(factor), is_renamed));
        }
    }
    if !factors.iter().any(|(_, is_renamed)| *is_renamed) {
        return Ok(());
    }
    let pseudo: Vec<Ident> = PSEUDO_COLUMNS.iter().map(|name| Ident::with_quote('"', *name)).collect();
    let mut expanded = Vec::new();
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(mut options) if factors.len() == 1 => {
                exclude(&mut options, &pseudo);
                expanded.push(SelectItem::Wildcard(options));
            }
            SelectItem::Wildcard(options) => {
                let is_plain = options.opt_exclude.is_none() && options.opt_except.is_none();
                for (name, is_renamed) in &factors {
                    let name = name.as_ref().filter(|_| is_plain).ok_or(options.wildcard_token.0.span)?;
                    expanded.push(qualified_wildcard(name, if *is_renamed { &pseudo } else { &[] }));
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), mut options) => {
                let is_of = |(factor, is_renamed): &(Option<Ident>, bool)| {
                    *is_renamed && factor.as_ref().map(normalise) == last_ident(&name).as_ref().map(normalise)
                };
                if factors.iter().any(is_of) {
                    exclude(&mut options, &pseudo);
                }
                expanded
                    .push(SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options));
            }
            other => expanded.push(other),
        }
    }
    select.projection = expanded;
    Ok(())
}

/// Reads a source with its pseudo-columns, under the name that it had.
fn rename(factor: &mut TableFactor, is_source: &dyn Fn(&str) -> bool) -> bool {
    let TableFactor::Table { name, alias, args: None, .. } = factor else { return false };
    let Some(short) = object_name(name).filter(|short| is_source(short)) else { return false };
    let quoted = |text: &str| Ident { span: name.span(), ..Ident::with_quote('"', text) };
    let own = TableAlias { explicit: true, name: quoted(&short), columns: Vec::new(), at: None };
    let renamed = ObjectName::from(vec![quoted(&with_records(&short))]);
    alias.get_or_insert(own);
    *name = renamed;
    true
}

fn exclude(options: &mut WildcardAdditionalOptions, more: &[Ident]) {
    let mut names: Vec<ObjectName> = match options.opt_exclude.take() {
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
        None => Vec::new(),
    };
    for ident in more {
        let is_there = |name: &ObjectName| matches!(name.0.as_slice(), [ObjectNamePart::Identifier(known)] if normalise(known) == ident.value);
        if !names.iter().any(is_there) {
            names.push(ObjectName::from(vec![ident.clone()]));
        }
    }
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
}

/// Whether a SELECT names a pseudo-column outside of the queries in its FROM.
fn mentions(select: &Select) -> bool {
    let mut find = Find;
    let mut found = Visit::visit(&select.projection, &mut find).is_break();
    let conditions = [&select.selection, &select.having, &select.qualify];
    found |= conditions.into_iter().flatten().any(|e| Visit::visit(e, &mut find).is_break());
    if let GroupByExpr::Expressions(keys, _) = &select.group_by {
        found |= Visit::visit(keys, &mut find).is_break();
    }
    found |= Visit::visit(&select.named_window, &mut find).is_break();
    found
        || select
            .from
            .iter()
            .flat_map(|from| &from.joins)
            .any(|join| constraint(&join.join_operator).is_some_and(|c| Visit::visit(c, &mut find).is_break()))
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c)
        | JoinOperator::CrossJoin(c)
        | JoinOperator::Semi(c)
        | JoinOperator::LeftSemi(c)
        | JoinOperator::RightSemi(c)
        | JoinOperator::Anti(c)
        | JoinOperator::LeftAnti(c)
        | JoinOperator::RightAnti(c) => Some(c),
        _ => None,
    }
}

struct Find;

impl Visitor for Find {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let last = match expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(idents) => idents.last(),
            _ => None,
        };
        match last {
            Some(ident) if PSEUDO_COLUMNS.contains(&normalise(ident).as_str()) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
