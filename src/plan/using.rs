//! `USING` of outer joins: the merged column is the value of whichever side has one.
//!
//! DataFusion takes the column of one side, which is null where only the other side has a row. So before it sees such a
//! query, `USING (c)` becomes `ON a.c = b.c`, a bare `c` what the merged column means, and `*` the merged columns, then
//! those of each relation. Inner joins have one value for both, and stay.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, NamedWindowExpr,
    ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, Spanned, TableFactor,
    TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::rewrite::{call, normalise, object_name};

/// Why `USING` could not be rewritten, and where it stands.
pub(super) struct UsingRefusal {
    pub(super) at: Span,
    pub(super) message: String,
}

/// What became of the FROM of a SELECT.
#[derive(Default)]
struct Merged {
    /// The relations in order: their qualifiers, and the columns that were merged.
    factors: Vec<(Ident, Vec<Ident>)>,
    /// The merged columns in order, and what they mean.
    columns: Vec<(Ident, Expr)>,
}

/// Rewrites the outer joins with `USING` of a SELECT.
///
/// `columns` tells the columns of a relation of the catalog, where they are known.
pub(super) fn rewrite_using(
    select: &mut Select,
    columns: &dyn Fn(&str) -> Option<Vec<String>>,
) -> Result<(), UsingRefusal> {
    if !select.from.iter().any(has_outer_using) {
        return Ok(());
    }
    let mut merged = Merged::default();
    for from in &mut select.from {
        merged.rewrite(from, columns)?;
    }
    merged.expand_wildcards(&mut select.projection)?;
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
            && merged.meaning(ident).is_some()
        {
            *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(ident.clone()), alias: ident.clone() };
        }
    }
    merged.substitute(select);
    Ok(())
}

/// What a join that equates columns by name does with them.
fn by_name(operator: &JoinOperator) -> Option<(&JoinConstraint, bool)> {
    let (constraint, is_outer) = match operator {
        JoinOperator::Join(c) | JoinOperator::Inner(c) => (c, false),
        JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c) => (c, true),
        _ => return None,
    };
    matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural).then_some((constraint, is_outer))
}

fn has_outer_using(from: &TableWithJoins) -> bool {
    from.joins.iter().any(|join| by_name(&join.join_operator).is_some_and(|(_, is_outer)| is_outer))
}

/// The name by which a relation's columns are qualified.
pub(super) fn qualifier(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, alias: None, .. } => match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => Some(ident.clone()),
            _ => None,
        },
        _ => None,
    }
}

impl Merged {
    fn rewrite(
        &mut self,
        from: &mut TableWithJoins,
        columns: &dyn Fn(&str) -> Option<Vec<String>>,
    ) -> Result<(), UsingRefusal> {
        let first = self.factors.len();
        // By relation of this FROM item, what columns it has; none where that is not known here.
        let mut known = vec![self.add(&from.relation, columns)?];
        for join in &mut from.joins {
            let right = self.factors.len();
            known.push(self.add(&join.relation, columns)?);
            let at = join.relation.span();
            let Some((constraint, _)) = by_name(&join.join_operator) else { continue };
            let JoinConstraint::Using(names) = constraint else {
                return Err(UsingRefusal {
                    at,
                    message: "NATURAL beside an outer join hides which columns are equated".into(),
                });
            };
            let names: Vec<Ident> = names.iter().filter_map(last_ident).collect();
            let mut condition: Option<Expr> = None;
            for name in names {
                let left = self.left_value(&name, (first, right), &known, at)?;
                let own = compound(&self.factors[right].0, &name);
                let equal = binary(left.clone(), BinaryOperator::Eq, own.clone());
                condition = Some(match condition {
                    None => equal,
                    Some(before) => binary(before, BinaryOperator::And, equal),
                });
                let value = match &join.join_operator {
                    JoinOperator::Right(_) | JoinOperator::RightOuter(_) => own,
                    JoinOperator::FullOuter(_) => call("coalesce", vec![left, own]),
                    _ => left,
                };
                self.merge(name, value, right);
            }
            let (JoinOperator::Join(c)
            | JoinOperator::Inner(c)
            | JoinOperator::Left(c)
            | JoinOperator::LeftOuter(c)
            | JoinOperator::Right(c)
            | JoinOperator::RightOuter(c)
            | JoinOperator::FullOuter(c)) = &mut join.join_operator
            else {
                continue;
            };
            if let Some(condition) = condition {
                *c = JoinConstraint::On(condition);
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        factor: &TableFactor,
        columns: &dyn Fn(&str) -> Option<Vec<String>>,
    ) -> Result<Option<Vec<String>>, UsingRefusal> {
        let Some(name) = qualifier(factor) else {
            let message = "USING of an outer join beside a relation without a name".to_owned();
            return Err(UsingRefusal { at: factor.span(), message });
        };
        self.factors.push((name, Vec::new()));
        Ok(match factor {
            TableFactor::Table { name, .. } => object_name(name).and_then(|name| columns(&name)),
            _ => None,
        })
    }

    /// What the left side of a join means by a column.
    fn left_value(
        &mut self,
        name: &Ident,
        (first, right): (usize, usize),
        known: &[Option<Vec<String>>],
        at: Span,
    ) -> Result<Expr, UsingRefusal> {
        if let Some(value) = self.meaning(name) {
            return Ok(value);
        }
        let candidates: Vec<usize> = (first..right)
            .filter(|factor| match known.get(factor - first) {
                Some(Some(columns)) => columns.contains(&normalise(name)),
                _ => true,
            })
            .collect();
        match candidates.as_slice() {
            [factor] => {
                let factor = *factor;
                self.factors[factor].1.push(name.clone());
                Ok(compound(&self.factors[factor].0, name))
            }
            _ => Err(UsingRefusal {
                at,
                message: format!("it is not clear which relation on the left has the `{}` of USING", name.value),
            }),
        }
    }

    fn merge(&mut self, name: Ident, value: Expr, right: usize) {
        self.factors[right].1.push(name.clone());
        match self.columns.iter_mut().find(|(known, _)| normalise(known) == normalise(&name)) {
            Some((_, known)) => *known = value,
            None => self.columns.push((name, value)),
        }
    }

    fn meaning(&self, name: &Ident) -> Option<Expr> {
        let found = self.columns.iter().find(|(known, _)| normalise(known) == normalise(name));
        found.map(|(_, value)| value.clone())
    }

    /// `*`: the merged columns, then the others of each relation.
    fn expand_wildcards(&self, projection: &mut Vec<SelectItem>) -> Result<(), UsingRefusal> {
        let mut expanded = Vec::new();
        for item in std::mem::take(projection) {
            let SelectItem::Wildcard(options) = item else {
                expanded.push(item);
                continue;
            };
            let is_plain = WildcardAdditionalOptions {
                wildcard_token: options.wildcard_token.clone(),
                ..WildcardAdditionalOptions::default()
            } == options;
            if !is_plain {
                let at = options.wildcard_token.0.span;
                let message = "`*` leaves columns out beside USING of an outer join".to_owned();
                return Err(UsingRefusal { at, message });
            }
            for (name, value) in &self.columns {
                expanded.push(SelectItem::ExprWithAlias { expr: value.clone(), alias: name.clone() });
            }
            for (factor, merged) in &self.factors {
                expanded.push(qualified_wildcard(factor, merged));
            }
        }
        *projection = expanded;
        Ok(())
    }

    fn substitute(&self, select: &mut Select) {
        let names: BTreeMap<String, Expr> = self.columns.iter().map(|(n, e)| (normalise(n), e.clone())).collect();
        let mut substitute = Substitute { names: &names, depth: 0 };
        for item in &mut select.projection {
            let _ = VisitMut::visit(item, &mut substitute);
        }
        let conditions = [&mut select.selection, &mut select.having, &mut select.qualify];
        for condition in conditions.into_iter().flatten() {
            let _ = VisitMut::visit(condition, &mut substitute);
        }
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            let _ = VisitMut::visit(keys, &mut substitute);
        }
        for window in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &mut window.1 {
                let _ = VisitMut::visit(spec, &mut substitute);
            }
        }
    }
}

/// Puts what a merged column means in the place of its bare name; inner queries have names of their own.
struct Substitute<'a> {
    names: &'a BTreeMap<String, Expr>,
    depth: usize,
}

impl VisitorMut for Substitute<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && self.depth == 0
            && let Some(value) = self.names.get(&normalise(ident))
        {
            *expr = value.clone();
        }
        ControlFlow::Continue(())
    }
}

/// All columns of one relation but some.
pub(super) fn qualified_wildcard(factor: &Ident, but: &[Ident]) -> SelectItem {
    let but: Vec<ObjectName> = but.iter().map(|name| ObjectName::from(vec![name.clone()])).collect();
    let options = WildcardAdditionalOptions {
        opt_exclude: (!but.is_empty()).then_some(ExcludeSelectItem::Multiple(but)),
        ..WildcardAdditionalOptions::default()
    };
    let name = ObjectName::from(vec![factor.clone()]);
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
}

pub(super) fn last_ident(name: &ObjectName) -> Option<Ident> {
    match name.0.last() {
        Some(ObjectNamePart::Identifier(ident)) => Some(ident.clone()),
        _ => None,
    }
}

fn compound(qualifier: &Ident, name: &Ident) -> Expr {
    Expr::CompoundIdentifier(vec![qualifier.clone(), name.clone()])
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}
