//! Where in the text of a query a refusal belongs: found again in the syntax by what was refused.
//!
//! The cut sees plans, which know no places. Most refusals are about one kind of clause, though, and where a query holds
//! only one of that kind, that is the one meant.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Function, GroupByExpr, GroupByWithModifier, Ident, Join, JoinConstraint,
    JoinOperator, Query, Select, SelectItem, SetExpr, SetOperator, Spanned, TableFactor, UnaryOperator, Value,
    ValueWithSpan, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span as Location;

use super::rewrite::{Rewritten, normalise};
use super::session::AS_OF;
use crate::catalog::{QueryDefinition, QueryRole};
use crate::dialect::{Diagnostic, Span};

/// Points a finding that is about a definition as a whole at the clause that was refused.
///
/// `definitions` are those of the pack: what was refused may stand in one that is read, and was put in its place.
pub(super) fn place(finding: Diagnostic, definitions: &BTreeMap<String, Rewritten>) -> Diagnostic {
    let Some(own) = definitions.values().find(|d| d.definition.span == finding.span) else { return finding };
    if let Some(span) = option(&finding, &own.definition) {
        return Diagnostic { span, ..finding };
    }
    let (mut open, mut seen) = (vec![own], BTreeSet::new());
    while let Some(next) = open.pop() {
        let mut clauses = Clauses::default();
        let _ = Visit::visit(&next.definition.query, &mut clauses);
        let meant = clauses.found.iter().filter(|(clause, _)| clause.is_meant(finding.code, &finding.message));
        let mut locations: Vec<Location> = meant.map(|(_, location)| *location).collect();
        locations.sort();
        locations.dedup();
        let mut locations = locations.iter();
        match (locations.next(), locations.next()) {
            (Some(location), None) => {
                return Diagnostic { span: Span::of(next.definition.file, *location), ..finding };
            }
            // Which of several is meant, only the message says.
            (Some(_), Some(_)) => return finding,
            (None, _) => {}
        }
        seen.insert(next.definition.name.clone());
        let read = next.reads.iter().filter_map(|name| definitions.get(name));
        open.extend(read.filter(|read| !seen.contains(&read.definition.name)));
    }
    finding
}

/// The column in an option or a key that a finding is about.
fn option(finding: &Diagnostic, definition: &QueryDefinition) -> Option<Span> {
    let named = |columns: &[Ident]| {
        let is_named = |c: &&Ident| finding.message.contains(&format!("`{}`", c.value));
        columns.iter().find(is_named).or(columns.first()).map(|c| Span::of(definition.file, c.span))
    };
    match (&definition.role, finding.code) {
        (QueryRole::Table { key: Some(key) }, "C0440") => named(key),
        (QueryRole::Sink(options), "C0447" | "C0448") => named(options.key.as_deref()?),
        (QueryRole::Sink(options), "C0449" | "C0450") => named(options.count_by.as_slice()),
        (QueryRole::Sink(options), "C0453") => named(options.emit_time.as_slice()),
        _ => None,
    }
}

/// A part of a query that may be refused.
#[derive(Debug)]
enum Clause {
    Join {
        is_full: bool,
        keeps_rows: bool,
        has_equality: bool,
    },
    /// `FOR SYSTEM_TIME AS OF`.
    AsOf,
    Union,
    ConstantRows,
    Condition,
    Subquery {
        is_not_in: bool,
    },
    /// A relation in FROM that refers to another one.
    Lateral,
    /// A call, by name.
    Call(String),
    Over,
    GroupingSets,
    DistinctOn,
    /// The name of a column that is written.
    Output(String),
    /// A comparison or the like, by its sign.
    Operation(String),
    /// A text.
    Constant(String),
    Cast,
}

impl Clause {
    /// Whether a finding with this code is about such a clause.
    fn is_meant(&self, code: &str, message: &str) -> bool {
        let names = |name: &str| message.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
        match (code, self) {
            ("C0401", Self::ConstantRows)
            | ("C0402", Self::Union)
            | ("C0405" | "C0209", Self::Condition)
            | ("C0406", Self::Lateral)
            | ("C0403" | "C0404", Self::Subquery { .. })
            | ("C0410" | "C0462" | "C0463", Self::Join { .. })
            | ("C0411" | "C0414" | "C0416", Self::AsOf)
            | ("C0412", Self::Join { is_full: true, .. })
            | ("C0413", Self::Join { keeps_rows: true, .. })
            | ("C0415", Self::Join { has_equality: false, .. })
            | ("C0417" | "C0418" | "C0461", Self::Subquery { is_not_in: true })
            | ("C0420", Self::GroupingSets)
            | ("C0212", Self::Cast)
            | ("C0430" | "C0431" | "C0432" | "C0433" | "C0434" | "C0435" | "C0436" | "C0437" | "C0439", Self::Over)
            | ("C0430" | "C0432" | "C0433" | "C0439", Self::DistinctOn) => true,
            ("C0421" | "C0422" | "C0465", Self::Call(name)) => names(name),
            (
                "C0424" | "C0425" | "C0427" | "C0480" | "C0481" | "C0482" | "C0483" | "C0484" | "C0486",
                Self::Call(name),
            ) => ["tumble", "hop", "session", "date_trunc", "date_bin"].contains(&name.as_str()),
            ("C0210", Self::Constant(text)) => message.contains(&format!("'{text}'")),
            ("C0205", Self::Operation(sign)) => message.contains(&format!(" {sign} ")),
            ("C0312", Self::Output(name)) => message.contains(&format!("`{name}`")),
            _ => false,
        }
    }
}

/// The clauses of a query, in the order of the text.
#[derive(Default)]
struct Clauses {
    found: Vec<(Clause, Location)>,
    /// The names of columns written so far.
    outputs: Vec<String>,
    depth: usize,
}

impl Clauses {
    fn add(&mut self, clause: Clause, location: Location) {
        if location.start.line > 0 {
            self.found.push((clause, location));
        }
    }

    fn select(&mut self, select: &Select) {
        if let Some(Distinct::On(_)) = &select.distinct {
            self.add(Clause::DistinctOn, select.select_token.0.span);
        }
        if select.from.is_empty() {
            self.add(Clause::ConstantRows, select.select_token.0.span);
        }
        for condition in select.selection.iter().chain(&select.having) {
            self.add(Clause::Condition, condition.span());
        }
        self.group_by(&select.group_by);
        for from in &select.from {
            for join in &from.joins {
                self.join(join);
            }
        }
        if self.depth == 1 {
            for item in &select.projection {
                self.output(item);
            }
        }
    }

    fn group_by(&mut self, group_by: &GroupByExpr) {
        let (keys, modifiers) = match group_by {
            GroupByExpr::All(modifiers) => (&[][..], modifiers),
            GroupByExpr::Expressions(keys, modifiers) => (keys.as_slice(), modifiers),
        };
        for key in keys {
            if matches!(key, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_)) {
                self.add(Clause::GroupingSets, key.span());
            }
        }
        let is_set = |m: &&GroupByWithModifier| !matches!(m, GroupByWithModifier::Totals);
        if modifiers.iter().any(|m| is_set(&m)) {
            self.add(Clause::GroupingSets, group_by.span());
        }
    }

    fn join(&mut self, join: &Join) {
        use JoinOperator as J;
        let (constraint, is_full, keeps_rows) = match &join.join_operator {
            J::Join(c) | J::Inner(c) | J::StraightJoin(c) | J::CrossJoin(c) => (Some(c), false, false),
            J::FullOuter(c) => (Some(c), true, true),
            J::Left(c) | J::LeftOuter(c) | J::Right(c) | J::RightOuter(c) => (Some(c), false, true),
            J::Semi(c) | J::LeftSemi(c) | J::RightSemi(c) | J::Anti(c) | J::LeftAnti(c) | J::RightAnti(c) => {
                (Some(c), false, true)
            }
            J::AsOf { constraint, .. } => (Some(constraint), false, false),
            _ => (None, false, false),
        };
        let has_equality = match constraint {
            Some(JoinConstraint::Using(_) | JoinConstraint::Natural) => true,
            Some(JoinConstraint::On(condition)) => holds_equality(condition),
            _ => false,
        };
        self.add(Clause::Join { is_full, keeps_rows, has_equality }, join.relation.span());
        if is_lateral(&join.relation) {
            self.add(Clause::Lateral, join.relation.span());
        }
    }

    fn output(&mut self, item: &SelectItem) {
        let (name, location) = match item {
            SelectItem::ExprWithAlias { alias, .. } => (normalise(alias), alias.span),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => (normalise(name), name.span),
            SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(parts)) => {
                (parts.last().map(normalise).unwrap_or_default(), expr.span())
            }
            _ => return,
        };
        // The first of its name is right where it is.
        if self.outputs.contains(&name) {
            self.add(Clause::Output(name), location);
        } else {
            self.outputs.push(name);
        }
    }

    fn call(&mut self, function: &Function) {
        let name = function.name.0.last().and_then(|part| part.as_ident()).map(normalise).unwrap_or_default();
        if name == AS_OF {
            return self.add(Clause::AsOf, function.args.span());
        }
        if function.over.is_some() {
            self.add(Clause::Over, function.name.span());
        }
        self.add(Clause::Call(name), function.name.span());
    }
}

impl Visitor for Clauses {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        let mut bodies = vec![query.body.as_ref()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::SetOperation { left, op, right, .. } => {
                    if *op == SetOperator::Union {
                        self.add(Clause::Union, right.span());
                    }
                    bodies.extend([right.as_ref(), left.as_ref()]);
                }
                SetExpr::Select(select) => self.select(select),
                SetExpr::Values(values) => self.add(Clause::ConstantRows, values.span()),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => self.call(function),
            Expr::InSubquery { negated, .. } => self.add(Clause::Subquery { is_not_in: *negated }, expr.span()),
            Expr::Cast { .. } => self.add(Clause::Cast, expr.span()),
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span }) => {
                self.add(Clause::Constant(text.clone()), *span);
            }
            Expr::BinaryOp { op, .. } => self.add(Clause::Operation(op.to_string()), expr.span()),
            Expr::Exists { .. } | Expr::Subquery(_) => self.add(Clause::Subquery { is_not_in: false }, expr.span()),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn is_lateral(relation: &TableFactor) -> bool {
    match relation {
        TableFactor::Derived { lateral, .. } => *lateral,
        TableFactor::UNNEST { .. } => true,
        TableFactor::Function { lateral, .. } => *lateral,
        _ => false,
    }
}

/// Whether a condition equates a column of each side, as far as its syntax tells.
fn holds_equality(condition: &Expr) -> bool {
    match condition {
        Expr::Nested(inner) => holds_equality(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => holds_equality(left) || holds_equality(right),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => is_column(left) && is_column(right),
        _ => false,
    }
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(Ident { .. }) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => is_column(inner),
        _ => false,
    }
}
