//! Which columns hold values of PRIVATE columns, followed column by column from the sources to what the sinks write.
//!
//! What is computed from a private value is private, through joins, groups, windows, lists and structures. Not private is
//! what cannot tell the value: how many there are, whether there is one or it is well formed, its place in an order, and what a mask
//! leaves of it ([`DECLASSIFYING`]). What only decides about rows or values hands none on: the conditions of WHERE, ON, HAVING,
//! FILTER, QUALIFY and WHEN, and the keys of PARTITION BY and ORDER BY. (OpenLineage calls the former direct lineage, the
//! latter indirect.)
//!
//! Plans are looked at as they are written, before the optimiser makes others of them.

mod query;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::{Case, Distinct, Expr, LogicalPlan, Unnest};
use datafusion::sql::sqlparser::ast::{Query, SelectItem, SetExpr, Spanned};
use datafusion::sql::sqlparser::tokenizer::Span as Location;

use super::pseudo_columns::own_name;
use super::rewrite::normalise;
use super::table_read::{ReadBy, TableRead};
use crate::catalog::{QueryDefinition, QueryRole, RelationKind, SinkOptions, SourceDefinition};
use crate::dialect::{Diagnostic, Span};

pub use query::check_batch_query;

/// Functions whose result does not tell the values of their arguments.
const DECLASSIFYING: [&str; 16] = [
    // How many there are.
    "count",
    "approx_distinct",
    "cardinality",
    "array_length",
    // What may be shown of them.
    "resident_id_mask",
    "plate_mask",
    // What stands for them, under a key that is not in the pack.
    "pseudonym",
    // Whether they are well formed.
    "resident_id_valid",
    "plate_valid",
    "plate_sentinel",
    // Places in an order.
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
];

/// Functions whose result is one of their arguments, a list of them, or a part of such a list: fields stay what they are.
const HANDING_ON: [&str; 26] = [
    "coalesce",
    "nvl",
    "greatest",
    "least",
    "array_agg",
    "first_value",
    "last_value",
    "nth_value",
    "any_value",
    "min",
    "max",
    "lag",
    "lead",
    "make_array",
    "array_any_value",
    "array_append",
    "array_concat",
    "array_distinct",
    "array_element",
    "array_pop_back",
    "array_pop_front",
    "array_prepend",
    "array_reverse",
    "array_slice",
    "array_sort",
    "flatten",
];

/// What a value holds of PRIVATE columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Held {
    /// Nothing.
    #[default]
    Nothing,
    /// Values of these columns of sources, `relation.column`; there is at least one.
    Values(BTreeSet<Arc<str>>),
    /// What each field of a structure holds, also where there is a list of structures. Fields that hold nothing are left out.
    Fields(BTreeMap<String, Self>),
}

impl Held {
    fn of_fields(fields: impl IntoIterator<Item = (String, Self)>) -> Self {
        let fields: BTreeMap<String, Self> = fields.into_iter().filter(|(_, held)| *held != Self::Nothing).collect();
        if fields.is_empty() { Self::Nothing } else { Self::Fields(fields) }
    }

    /// A PRIVATE column of which there are values.
    fn source(&self) -> Option<&Arc<str>> {
        match self {
            Self::Nothing => None,
            Self::Values(columns) => columns.first(),
            Self::Fields(fields) => fields.values().find_map(Self::source),
        }
    }

    /// The PRIVATE columns of which there are values.
    fn sources(self) -> BTreeSet<Arc<str>> {
        match self {
            Self::Nothing => BTreeSet::new(),
            Self::Values(columns) => columns,
            Self::Fields(fields) => fields.into_values().flat_map(Self::sources).collect(),
        }
    }

    /// What is computed of a value.
    fn computed(self) -> Self {
        let sources = self.sources();
        if sources.is_empty() { Self::Nothing } else { Self::Values(sources) }
    }

    fn field(&self, name: &str) -> Self {
        match self {
            Self::Fields(fields) => fields.get(name).cloned().unwrap_or_default(),
            whole => whole.clone(),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, held) | (held, Self::Nothing) => held,
            (Self::Fields(mut all), Self::Fields(more)) => {
                for (name, held) in more {
                    let before = all.remove(&name).unwrap_or_default();
                    all.insert(name, before.and(held));
                }
                Self::Fields(all)
            }
            (Self::Values(mut columns), other) | (other, Self::Values(mut columns)) => {
                columns.extend(other.sources());
                Self::Values(columns)
            }
        }
    }
}

/// The columns of which expressions speak.
struct Scope<'a> {
    schema: &'a DFSchema,
    held: &'a [Held],
    /// The query around a subquery.
    outer: Option<&'a Self>,
}

impl Scope<'_> {
    fn column(&self, column: &Column) -> Option<Held> {
        self.held.get(self.schema.index_of_column(column).ok()?).cloned()
    }

    /// A column of one of the queries around.
    fn outer_column(&self, column: &Column) -> Held {
        let around = std::iter::successors(self.outer, |scope| scope.outer);
        around.into_iter().find_map(|scope| scope.column(column)).unwrap_or_default()
    }
}

/// What the columns of relations hold, by the name under which plans know a relation.
#[derive(Debug, Default)]
pub(super) struct PrivateColumns {
    by_relation: BTreeMap<String, BTreeMap<String, Held>>,
}

impl PrivateColumns {
    /// Takes in a source.
    pub(super) fn add_source(&mut self, source: &SourceDefinition) {
        let held = |column: &str| Held::Values([format!("{}.{column}", source.name).into()].into());
        let private = source.columns.iter().filter(|c| c.private);
        let mut columns: BTreeMap<String, Held> = private.map(|c| (c.name.clone(), held(&c.name))).collect();
        let first = columns.values().next().cloned();
        // A table's key is what its key columns say; others put into keys and headers what is in the columns.
        let in_key = source.key.iter().filter_map(|c| source.columns.get(*c)).find(|c| c.private);
        let key = match source.kind {
            RelationKind::Table => in_key.map(|c| held(&c.name)),
            RelationKind::Stream => first.clone(),
        };
        columns.extend(key.map(|held| ("_key".to_owned(), held)));
        columns.extend(first.map(|held| ("_headers".to_owned(), held)));
        self.by_relation.insert(source.name.to_string(), columns);
    }

    /// Takes in what a definition yields.
    pub(super) fn add_definition(&mut self, name: &str, plan: &LogicalPlan) {
        let held = self.of_plan(plan, None);
        let names = plan.schema().fields().iter().map(|f| f.name().clone());
        self.by_relation.insert(name.to_owned(), names.zip(held).filter(|(_, h)| *h != Held::Nothing).collect());
    }

    /// Takes in `CHANGES(t)` or `PASSED(t, ..)` of a relation that is known.
    pub(super) fn add_read(&mut self, read: &TableRead) {
        let of_table = self.by_relation.get(&read.table).cloned().unwrap_or_default();
        let columns = match read.by {
            ReadBy::Passed { .. } => of_table,
            ReadBy::Changes { .. } => {
                let row = Held::of_fields(of_table);
                ["before", "after"].map(|side| (side.to_owned(), row.clone())).into_iter().collect()
            }
        };
        self.by_relation.insert(read.name(), columns);
    }

    /// By relation and column the PRIVATE columns of sources whose values the column holds.
    pub(super) fn origins(&self) -> BTreeMap<String, BTreeMap<String, BTreeSet<Arc<str>>>> {
        let columns = |of: &BTreeMap<String, Held>| {
            of.iter().map(|(column, held)| (column.clone(), held.clone().sources())).collect()
        };
        self.by_relation.iter().map(|(relation, of)| (relation.clone(), columns(of))).collect()
    }

    /// The private columns of a relation's rows; those of the table where the relation follows its changes.
    pub(super) fn by_relation(self) -> BTreeMap<String, BTreeSet<String>> {
        let rows = |columns: BTreeMap<String, Held>| match columns.get("after") {
            Some(Held::Fields(of_table)) if columns.contains_key("before") => of_table.keys().cloned().collect(),
            _ => columns.into_keys().collect(),
        };
        self.by_relation.into_iter().map(|(name, columns)| (name, rows(columns))).collect()
    }

    /// Refuses columns of a sink that hold what it does not say it may have.
    pub(super) fn check_sink(&self, definition: &QueryDefinition, plan: &LogicalPlan) -> Vec<Diagnostic> {
        let QueryRole::Sink(options) = &definition.role else { return Vec::new() };
        let names = plan.schema().fields().iter().map(|f| f.name().clone());
        let held = self.of_plan(plan, None).into_iter();
        let private: Vec<(String, Arc<str>)> =
            names.zip(held).filter_map(|(name, held)| Some((name, held.source()?.clone()))).collect();
        if options.allow_private { counted_by(definition, options, &private) } else { refused(definition, private) }
    }

    fn of_plan(&self, plan: &LogicalPlan, outer: Option<&Scope<'_>>) -> Vec<Held> {
        let n_columns = plan.schema().fields().len();
        let of_exprs = |exprs: &[Expr], input: &LogicalPlan| {
            let held = self.of_plan(input, outer);
            let scope = Scope { schema: input.schema(), held: &held, outer };
            exprs.iter().map(|e| self.of_expr(e, &scope)).collect::<Vec<Held>>()
        };
        let mut held = match plan {
            LogicalPlan::TableScan(scan) => {
                let known = self.by_relation.get(own_name(scan.table_name.table()));
                let column = |name: &String| known.and_then(|known| known.get(name)).cloned().unwrap_or_default();
                plan.schema().fields().iter().map(|f| column(f.name())).collect()
            }
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Vec::new(),
            LogicalPlan::Projection(p) => of_exprs(&p.expr, &p.input),
            LogicalPlan::Filter(f) => self.of_plan(&f.input, outer),
            LogicalPlan::Sort(s) => self.of_plan(&s.input, outer),
            LogicalPlan::Limit(l) => self.of_plan(&l.input, outer),
            LogicalPlan::SubqueryAlias(a) => self.of_plan(&a.input, outer),
            LogicalPlan::Subquery(s) => self.of_plan(&s.subquery, outer),
            LogicalPlan::Distinct(Distinct::All(input)) => self.of_plan(input, outer),
            LogicalPlan::Distinct(Distinct::On(d)) => of_exprs(&d.select_expr, &d.input),
            LogicalPlan::Union(union) => {
                let mut all = vec![Held::Nothing; n_columns];
                for input in &union.inputs {
                    let more = self.of_plan(input, outer);
                    all = all.into_iter().zip(more).map(|(a, b)| a.and(b)).collect();
                }
                all
            }
            LogicalPlan::Join(join) => {
                let (left, right) = (|| self.of_plan(&join.left, outer), || self.of_plan(&join.right, outer));
                match join.join_type {
                    JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left(),
                    JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right(),
                    _ => [left(), right()].concat(),
                }
            }
            LogicalPlan::Aggregate(a) => {
                let mut exprs = a.group_expr.clone();
                exprs.extend(a.aggr_expr.iter().cloned());
                of_exprs(&exprs, &a.input)
            }
            LogicalPlan::Window(w) => [self.of_plan(&w.input, outer), of_exprs(&w.window_expr, &w.input)].concat(),
            LogicalPlan::Unnest(unnest) => of_unnest(unnest, &self.of_plan(&unnest.input, outer)),
            other => {
                let inputs = other.inputs().into_iter().flat_map(|input| self.of_plan(input, outer));
                vec![inputs.fold(Held::Nothing, Held::and).computed(); n_columns]
            }
        };
        held.resize(n_columns, Held::Nothing);
        held
    }

    fn of_expr(&self, expr: &Expr, scope: &Scope<'_>) -> Held {
        let of_all = |exprs: &[Expr]| exprs.iter().map(|e| self.of_expr(e, scope)).fold(Held::Nothing, Held::and);
        match expr {
            Expr::Column(column) => scope.column(column).unwrap_or_default(),
            Expr::OuterReferenceColumn(_, column) => scope.outer_column(column),
            Expr::Alias(alias) => self.of_expr(&alias.expr, scope),
            Expr::Unnest(unnest) => self.of_expr(&unnest.expr, scope),
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::Exists(_) | Expr::Literal(..) => Held::Nothing,
            Expr::Case(Case { when_then_expr, else_expr, .. }) => {
                let values = when_then_expr.iter().map(|(_, then)| then).chain(else_expr);
                values.map(|e| self.of_expr(e, scope)).fold(Held::Nothing, Held::and)
            }
            Expr::ScalarSubquery(subquery) => self.of_subquery(&subquery.subquery, scope),
            Expr::InSubquery(s) => {
                self.of_expr(&s.expr, scope).and(self.of_subquery(&s.subquery.subquery, scope)).computed()
            }
            Expr::SetComparison(s) => {
                self.of_expr(&s.expr, scope).and(self.of_subquery(&s.subquery.subquery, scope)).computed()
            }
            Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
                ("get_field", [of, names @ ..]) => {
                    let name = |e: &Expr| match e {
                        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
                        _ => None,
                    };
                    names.iter().fold(self.of_expr(of, scope), |held, e| match name(e) {
                        Some(name) => held.field(&name),
                        None => held.computed(),
                    })
                }
                ("named_struct", args) => {
                    let field = |pair: &[Expr]| match pair {
                        [Expr::Literal(name, _), value] => {
                            Some((name.try_as_str().flatten()?.to_owned(), self.of_expr(value, scope)))
                        }
                        _ => None,
                    };
                    match args.chunks(2).map(field).collect::<Option<Vec<_>>>() {
                        Some(fields) => Held::of_fields(fields),
                        None => of_all(args).computed(),
                    }
                }
                ("struct", args) => {
                    let fields = args.iter().enumerate();
                    Held::of_fields(fields.map(|(idx, e)| (format!("c{idx}"), self.of_expr(e, scope))))
                }
                // The others are compared with them, or decide between them.
                ("nullif", [value, _]) => self.of_expr(value, scope),
                ("nvl2", [_, values @ ..]) => of_all(values),
                (name, args) => called(name, of_all(args)),
            },
            Expr::AggregateFunction(call) => called(call.func.name(), of_all(&call.params.args)),
            Expr::WindowFunction(call) => called(call.fun.name(), of_all(&call.params.args)),
            other => {
                let mut held = Held::Nothing;
                let _ = datafusion::common::tree_node::TreeNode::apply_children(other, |child| {
                    held = std::mem::take(&mut held).and(self.of_expr(child, scope));
                    Ok(TreeNodeRecursion::Continue)
                });
                held.computed()
            }
        }
    }

    /// The only column of a subquery.
    fn of_subquery(&self, plan: &LogicalPlan, scope: &Scope<'_>) -> Held {
        self.of_plan(plan, Some(scope)).into_iter().next().unwrap_or_default()
    }
}

/// What a function gives that is handed something.
fn called(function: &str, arguments: Held) -> Held {
    match function {
        name if DECLASSIFYING.contains(&name) => Held::Nothing,
        name if HANDING_ON.contains(&name) => arguments,
        _ => arguments.computed(),
    }
}

/// What is taken out of a list keeps its fields; of a structure each field becomes a column, `structure.field`.
fn of_unnest(unnest: &Unnest, below: &[Held]) -> Vec<Held> {
    let column = |(output, input): (usize, &usize)| {
        let held = below.get(*input).cloned().unwrap_or_default();
        match unnest.struct_type_columns.contains(input) {
            true => {
                let structure = unnest.input.schema().field(*input).name();
                let name = unnest.schema.fields().get(output).map(|f| f.name().as_str()).unwrap_or_default();
                match name.strip_prefix(structure.as_str()).and_then(|rest| rest.strip_prefix('.')) {
                    Some(field) => held.field(field),
                    None => held.computed(),
                }
            }
            false => held,
        }
    };
    unnest.dependency_indices.iter().enumerate().map(column).collect()
}

/// One finding for each place of the text.
fn refused(definition: &QueryDefinition, private: Vec<(String, Arc<str>)>) -> Vec<Diagnostic> {
    let mut places: BTreeMap<Span, Vec<(String, Arc<str>)>> = BTreeMap::new();
    for column in private {
        let at = written(&definition.query, &column.0).map(|at| Span::of(definition.file, at));
        places.entry(at.unwrap_or(definition.span)).or_default().push(column);
    }
    let finding = |(at, columns): (Span, Vec<(String, Arc<str>)>)| {
        let quoted = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let names = quoted(columns.iter().map(|(name, _)| name.as_str()).collect());
        let sources: BTreeSet<&str> = columns.iter().map(|(_, source)| source.as_ref()).collect();
        let sources = quoted(sources.into_iter().collect());
        let message = match columns.len() {
            1 => format!("column {names} of sink `{}` holds values of {sources}, which is PRIVATE", definition.name),
            _ => format!("columns {names} of sink `{}` hold values of PRIVATE columns: {sources}", definition.name),
        };
        Diagnostic::new("C0454", at, message).hint(
            "Leave it out, or hand on what does not tell the value: count(..), .. IS NULL, resident_id_mask(..), plate_mask(..). \
             A sink whose readers may see it says so: WITH (allow_private = true).",
        )
    };
    places.into_iter().map(finding).collect()
}

/// What a sink is counted by is for everyone to see.
fn counted_by(definition: &QueryDefinition, options: &SinkOptions, private: &[(String, Arc<str>)]) -> Vec<Diagnostic> {
    let by = options.count_by.iter().filter(|ident| private.iter().any(|(name, _)| *name == normalise(ident)));
    by.map(|ident| {
        let message = format!(
            "sink `{}` is counted by column `{}`, which holds values of a PRIVATE column",
            definition.name, ident.value
        );
        Diagnostic::new("C0451", Span::of(definition.file, ident.span), message)
            .hint("Counts are for everyone to see: count by a column that does not follow from PRIVATE ones.")
    })
    .collect()
}

/// Where the query that gives a result its names writes a column.
fn written(query: &Query, column: &str) -> Option<Location> {
    let mut body = query.body.as_ref();
    let select = loop {
        match body {
            SetExpr::Select(select) => break select,
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(inner) => body = inner.body.as_ref(),
            _ => return None,
        }
    };
    let is_written = |item: &&SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => normalise(alias) == column,
        SelectItem::UnnamedExpr(expr) => {
            let text = expr.to_string();
            let last = text.rsplit('.').next().unwrap_or(&text);
            text == column || last.trim_matches('"') == column
        }
        _ => false,
    };
    let is_wildcard = |item: &&SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let items = || select.projection.iter();
    let item = items().find(is_written).or_else(|| items().find(is_wildcard));
    let place = |item: &SelectItem| match item {
        SelectItem::Wildcard(options) => options.wildcard_token.0.span,
        other => other.span(),
    };
    item.map(place).filter(|at| at.start.line > 0)
}

#[cfg(test)]
mod tests;
