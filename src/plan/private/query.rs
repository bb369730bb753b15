//! What a query that somebody asks may do with PRIVATE columns: hand them on, count them, ask whether they are null.
//!
//! A rule is read by colleagues before it runs; a query is not, and whoever asks many may find a value without ever seeing it
//! (`WHERE phone LIKE '1%'`). So the values are masked before a query sees them, and one whose rows, groups or order would
//! depend on them is refused, since over masks its answer would be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{Case, Distinct, Expr, LogicalPlan};

use super::{DECLASSIFYING, Held, PrivateColumns, Scope};
use crate::dialect::{Diagnostic, Span};

/// Of what does not tell a value, that which is the same of a mask: how many there are.
const SAME_OF_MASKS: [&str; 3] = ["count", "cardinality", "array_length"];

/// Which columns of a query's answer hold values of PRIVATE columns, or why it may not be asked.
///
/// `private` names the private columns of each relation; the plan is as it was written, not optimised.
pub fn check_batch_query(
    plan: &LogicalPlan,
    private: &BTreeMap<String, BTreeSet<String>>,
) -> Result<Vec<bool>, Box<Diagnostic>> {
    let held = |relation: &str, column: &String| {
        (column.clone(), Held::Values([format!("{relation}.{column}").into()].into()))
    };
    let of_relation = |(relation, columns): (&String, &BTreeSet<String>)| {
        (relation.clone(), columns.iter().map(|column| held(relation, column)).collect())
    };
    let columns = PrivateColumns { by_relation: private.iter().map(of_relation).collect() };
    columns.check_plan(plan, None)?;
    Ok(columns.of_plan(plan, None).iter().map(|held| held.source().is_some()).collect())
}

type Checked = Result<(), Box<Diagnostic>>;

impl PrivateColumns {
    fn check_plan(&self, plan: &LogicalPlan, outer: Option<&Scope<'_>>) -> Checked {
        plan.inputs().into_iter().try_for_each(|input| self.check_plan(input, outer))?;
        let held: Vec<Held> = plan.inputs().into_iter().flat_map(|input| self.of_plan(input, outer)).collect();
        let schema = match plan.inputs().as_slice() {
            [] => return Ok(()),
            [input] => input.schema().as_ref().clone(),
            [first, rest @ ..] => {
                let joined = |schema: DFSchema, next: &&LogicalPlan| schema.join(next.schema());
                // Sides of a set operation have no names to be told apart by, and no expressions.
                rest.iter().try_fold(first.schema().as_ref().clone(), joined).unwrap_or_else(|_| DFSchema::empty())
            }
        };
        let scope = Scope { schema: &schema, held: &held, outer };
        plan.expressions().iter().try_for_each(|expr| self.check_expr(expr, &scope))?;
        let deciding: Vec<Expr> = match plan {
            LogicalPlan::Filter(filter) => vec![filter.predicate.clone()],
            LogicalPlan::Sort(sort) => sort.expr.iter().map(|e| e.expr.clone()).collect(),
            LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.clone(),
            LogicalPlan::Distinct(Distinct::On(distinct)) => distinct.on_expr.clone(),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                input.schema().columns().into_iter().map(Expr::Column).collect()
            }
            LogicalPlan::Join(join) => {
                let equal = join.on.iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
                equal.chain(join.filter.clone()).collect()
            }
            _ => Vec::new(),
        };
        deciding.iter().try_for_each(|expr| self.decides(expr, &scope))
    }

    /// Refuses expressions of which the outcome would be another of a mask, without being one itself.
    fn check_expr(&self, expr: &Expr, scope: &Scope<'_>) -> Checked {
        let mut outcome = Ok(());
        let _ = expr.apply(|expr| -> DataFusionResult<TreeNodeRecursion> {
            outcome = self.check_node(expr, scope);
            Ok(if outcome.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        });
        outcome
    }

    fn check_node(&self, expr: &Expr, scope: &Scope<'_>) -> Checked {
        let decide = |exprs: &mut dyn Iterator<Item = &Expr>| -> Checked {
            for expr in exprs {
                self.decides(expr, scope)?;
            }
            Ok(())
        };
        let is_same = |function: &str| !DECLASSIFYING.contains(&function) || SAME_OF_MASKS.contains(&function);
        match expr {
            Expr::Case(Case { expr, when_then_expr, .. }) => {
                decide(&mut expr.iter().map(AsRef::as_ref).chain(when_then_expr.iter().map(|(when, _)| when.as_ref())))
            }
            Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
                ("nullif", [_, compared]) => self.decides(compared, scope),
                (name, args) if !is_same(name) => decide(&mut args.iter()),
                _ => Ok(()),
            },
            Expr::AggregateFunction(AggregateFunction { func, params }) => {
                let sorted = params.order_by.iter().map(|sort| &sort.expr);
                decide(&mut params.filter.iter().map(AsRef::as_ref).chain(sorted))?;
                if params.distinct || !is_same(func.name()) { decide(&mut params.args.iter()) } else { Ok(()) }
            }
            Expr::WindowFunction(call) => {
                let WindowFunction { fun, params } = call.as_ref();
                let sorted = params.order_by.iter().map(|sort| &sort.expr);
                let filter = params.filter.iter().map(AsRef::as_ref);
                decide(&mut params.partition_by.iter().chain(sorted).chain(filter))?;
                if params.distinct || !is_same(fun.name()) { decide(&mut params.args.iter()) } else { Ok(()) }
            }
            Expr::Exists(exists) => self.check_plan(&exists.subquery.subquery, Some(scope)),
            Expr::ScalarSubquery(subquery) => self.check_plan(&subquery.subquery, Some(scope)),
            Expr::InSubquery(within) => {
                self.decides(expr, scope)?;
                self.check_plan(&within.subquery.subquery, Some(scope))
            }
            Expr::SetComparison(compared) => {
                self.decides(expr, scope)?;
                self.check_plan(&compared.subquery.subquery, Some(scope))
            }
            _ => Ok(()),
        }
    }

    /// Refuses an expression that decides about rows, groups, order or values, if it holds values of a private column.
    fn decides(&self, expr: &Expr, scope: &Scope<'_>) -> Checked {
        match self.of_expr(expr, scope).source() {
            Some(column) => Err(Box::new(refused(column, place(expr, column)))),
            None => Ok(()),
        }
    }
}

fn refused(column: &Arc<str>, at: Span) -> Diagnostic {
    let message = format!("`{column}` is PRIVATE: the rows of a query cannot depend on it");
    Diagnostic::new("C0603", at, message).hint(
        "It may be selected (its values are shown as ***), counted, and asked for IS NULL. What else may be known of it, a \
         rule of the pack can compute, as resident_id_mask(..).",
    )
}

/// Where an expression names a column, else where it names any.
fn place(expr: &Expr, column: &str) -> Span {
    let name = column.rsplit('.').next().unwrap_or(column);
    let mut found = Vec::new();
    let _ = expr.apply(|expr| {
        if let Expr::Column(column) = expr
            && let Some(span) = column.spans.first()
        {
            found.push((column.name != name, span));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let first = found.into_iter().min_by_key(|(is_other, _)| *is_other);
    first.map_or_else(Span::default, |(_, span)| Span {
        file: 0,
        line: span.start.line,
        column: span.start.column,
        end_line: span.end.line,
        end_column: span.end.column,
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use chrono_tz::Tz;
    use datafusion::datasource::empty::EmptyTable;
    use datafusion::sql::parser::Statement as Parsed;
    use datafusion::sql::sqlparser::ast::Statement;
    use futures::executor::block_on;

    use super::*;
    use crate::plan::{batch_session, read_batch_query};

    /// `true` for each column of the answer that is masked, or the place and code of the refusal.
    fn checked(sql: &str) -> Result<Vec<bool>, String> {
        let ctx = batch_session(Tz::UTC);
        let text = |name| Field::new(name, DataType::Utf8, true);
        for (name, fields) in [("people", vec![text("id"), text("phone"), text("town")]), ("towns", vec![text("town")])]
        {
            ctx.register_table(name, Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))))).unwrap();
        }
        let query = read_batch_query(sql).unwrap().query;
        let statement = Parsed::Statement(Box::new(Statement::Query(Box::new(query))));
        let plan = block_on(ctx.state().statement_to_plan(statement)).unwrap();
        let private = [("people".to_owned(), ["phone".to_owned()].into())].into();
        check_batch_query(&plan, &private)
            .map_err(|finding| format!("{} {}:{}", finding.code, finding.span.line, finding.span.column))
    }

    #[test]
    fn what_holds_private_values_is_masked() {
        for (sql, masked) in [
            ("SELECT * FROM people", vec![false, true, false]),
            ("SELECT id, upper(phone) || town, phone IS NULL FROM people", vec![false, true, false]),
            (
                "SELECT town, count(phone), max(phone), count(*) FROM people GROUP BY town",
                vec![false, false, true, false],
            ),
            ("SELECT phone = '1', length(phone) FROM people", vec![true, true]),
            ("WITH p AS (SELECT phone AS x FROM people) SELECT x FROM p UNION ALL SELECT town FROM towns", vec![true]),
            ("SELECT p.phone FROM people p JOIN towns t ON p.town = t.town WHERE p.phone IS NOT NULL", vec![true]),
            ("SELECT (SELECT max(phone) FROM people), array_agg(id) FROM people", vec![true, false]),
            ("SELECT coalesce(phone, 'none'), nvl2(phone, 1, 0) FROM people", vec![true, false]),
        ] {
            assert_eq!(checked(sql), Ok(masked), "{sql}");
        }
    }

    #[test]
    fn nothing_may_depend_on_private_values() {
        for (sql, column) in [
            ("SELECT id FROM people WHERE phone = '139'", 29),
            ("SELECT id FROM people WHERE phone LIKE '1%' OR id = 'a'", 29),
            ("SELECT id FROM people ORDER BY phone", 32),
            ("SELECT count(*) FROM people GROUP BY phone", 38),
            ("SELECT DISTINCT phone FROM people", 0),
            ("SELECT count(DISTINCT phone) FROM people", 23),
            ("SELECT CASE WHEN phone = 'x' THEN 1 END FROM people", 18),
            ("SELECT nullif(1, length(phone)) FROM people", 25),
            ("SELECT count(*) FILTER (WHERE phone > '2') FROM people", 31),
            ("SELECT row_number() OVER (ORDER BY phone) FROM people", 36),
            ("SELECT p.id FROM people p JOIN towns t ON p.phone = t.town", 43),
            ("SELECT id FROM people WHERE town IN (SELECT phone FROM people)", 0),
            ("SELECT town FROM towns t WHERE EXISTS (SELECT 1 FROM people p WHERE p.phone = t.town)", 69),
            ("SELECT id FROM people p WHERE EXISTS (SELECT 1 FROM towns t WHERE t.town = p.phone)", 0),
            ("SELECT x FROM (SELECT upper(phone) AS x FROM people) WHERE x = 'A'", 0),
            ("SELECT phone FROM people INTERSECT SELECT town FROM towns", 0),
            ("SELECT resident_id_valid(phone) FROM people", 26),
            ("SELECT sum(CASE phone WHEN 'x' THEN 1 ELSE 0 END) FROM people", 17),
        ] {
            let refused = checked(sql).unwrap_err();
            assert!(refused.starts_with("C0603 "), "{sql}: {refused}");
            assert!(
                column == 0 || refused == format!("C0603 1:{column}"),
                "{sql}: {refused}, expected column {column}"
            );
        }
    }
}
