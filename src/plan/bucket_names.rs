//! `window_start`, `window_end` and `window_time`: names of the bucket that a SELECT groups by.
//!
//! They become the expressions that they stand for: `window_start` the call of GROUP BY itself, `window_end` the end of that
//! bucket, and `window_time` the last instant of it, as in Flink SQL. Within an aggregate, and in the call itself,
//! the names are those of the input, whose rows may be buckets themselves.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Interval, Select, SelectItem, Value,
    VisitMut, VisitorMut,
};

use super::rewrite::{call, normalise, object_name};

/// What a bucket is called, in the order of `Names`' answers.
const NAMES: [&str; 3] = ["window_start", "window_end", "window_time"];

/// Aggregates, within which the names belong to the input.
const AGGREGATES: [&str; 12] = [
    "count",
    "sum",
    "avg",
    "mean",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "array_agg",
    "first_value",
    "last_value",
    "string_agg",
];

/// Puts expressions in the place of the names, if a SELECT groups by a bucket.
pub(super) fn substitute(select: &mut Select) {
    let Some(bucket) = bucket_of(select) else { return };
    // A column that only says the name keeps it.
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
            && NAMES.contains(&normalise(ident).as_str())
        {
            *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(ident.clone()), alias: ident.clone() };
        }
    }
    let mut names = Names { bucket, n_kept: 0 };
    for item in &mut select.projection {
        let _ = VisitMut::visit(item, &mut names);
    }
    let _ = VisitMut::visit(&mut select.having, &mut names);
    let _ = VisitMut::visit(&mut select.qualify, &mut names);
}

/// The bucket that a SELECT groups by: a call in GROUP BY, by itself, or by the name or place of a column.
fn bucket_of(select: &Select) -> Option<Function> {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return None };
    let of = |e: &Expr| match e {
        Expr::Function(f) if is_bucket(f) => Some(f.clone()),
        _ => None,
    };
    keys.iter().find_map(|key| match key {
        Expr::Identifier(alias) => select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias: a } if a.value == alias.value => of(expr),
            _ => None,
        }),
        Expr::Value(number) => {
            let idx: usize = number.value.to_string().parse().ok()?;
            match select.projection.get(idx.checked_sub(1)?)? {
                SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) => of(expr),
                _ => None,
            }
        }
        other => of(other),
    })
}

fn is_bucket(function: &Function) -> bool {
    let name = object_name(&function.name);
    matches!(name.as_deref(), Some("tumble" | "hop" | "session" | "date_trunc" | "date_bin"))
}

struct Names {
    bucket: Function,
    /// In how many expressions the place lies whose names belong to the input.
    n_kept: usize,
}

impl Names {
    /// Whether names within an expression belong to the input: in aggregates, and in the call that makes the bucket.
    fn keeps_names(&self, expr: &Expr) -> bool {
        is_aggregate(expr) || matches!(expr, Expr::Function(function) if *function == self.bucket)
    }

    /// The end of the bucket.
    fn end(&self) -> Option<Expr> {
        let FunctionArguments::List(list) = &self.bucket.args else { return None };
        let argument = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
            _ => None,
        };
        let args = list.args.iter().map(argument).collect::<Option<Vec<Expr>>>()?;
        let start = Expr::Function(self.bucket.clone());
        let name = object_name(&self.bucket.name)?;
        Some(match (name.as_str(), args.as_slice()) {
            ("tumble", [_, width]) => call("window_end", vec![start, width.clone()]),
            ("date_bin", [width, _]) => call("window_end", vec![start, width.clone()]),
            ("hop", [_, slide, width]) => call("hop_end", vec![start, slide.clone(), width.clone()]),
            ("session", [_, _]) => call("max", vec![call("session_end", args)]),
            ("date_trunc", [Expr::Value(unit), _]) => {
                let Value::SingleQuotedString(unit) = &unit.value else { return None };
                call("window_end", vec![start, interval(unit)])
            }
            _ => return None,
        })
    }
}

/// The interval that a unit of `date_trunc` is.
fn interval(unit: &str) -> Expr {
    let text = match unit.to_ascii_lowercase().as_str() {
        "quarter" => "3 months".to_owned(),
        unit => format!("1 {unit}"),
    };
    Expr::Interval(Interval {
        value: Box::new(Expr::Value(Value::SingleQuotedString(text).into())),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

fn is_aggregate(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    function.over.is_none() && object_name(&function.name).is_some_and(|name| AGGREGATES.contains(&name.as_str()))
}

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.n_kept += usize::from(self.keeps_names(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.n_kept -= usize::from(self.keeps_names(expr));
        if let Expr::Identifier(ident) = expr
            && self.n_kept == 0
        {
            let replaced = match normalise(ident).as_str() {
                "window_start" => Some(Expr::Function(self.bucket.clone())),
                "window_end" => self.end(),
                "window_time" => self.end().map(|end| call("instant_before", vec![end])),
                _ => None,
            };
            if let Some(replaced) = replaced {
                *expr = replaced;
            }
        }
        ControlFlow::Continue(())
    }
}
