//! What is known of columns, followed upwards through a stateless plan: a column says what those that it is made of say.

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// How a kind of fact is found where it begins, and through expressions.
pub(super) struct Rules<'a, F> {
    /// What a column of a relation says, by the relation's name in the plan and the column's number.
    pub(super) of_column: &'a dyn Fn(&str, usize) -> Option<F>,
    /// What an expression says over columns of which the slice tells.
    pub(super) of_expr: &'a dyn Fn(&Expr, &DFSchema, &[Option<F>]) -> Option<F>,
}

impl<F: Copy + PartialEq> Rules<'_, F> {
    /// What each output column of a plan says; of a union what all its inputs say.
    pub(super) fn of_plan(&self, plan: &LogicalPlan) -> Vec<Option<F>> {
        let n_columns = plan.schema().fields().len();
        let mut facts = match plan {
            LogicalPlan::TableScan(scan) => {
                let of_column = |column: usize| (self.of_column)(scan.table_name.table(), column);
                match &scan.projection {
                    Some(columns) => columns.iter().map(|column| of_column(*column)).collect(),
                    None => (0..n_columns).map(of_column).collect(),
                }
            }
            LogicalPlan::Projection(p) => {
                let below = self.of_plan(&p.input);
                p.expr.iter().map(|e| (self.of_expr)(e, p.input.schema(), &below)).collect()
            }
            LogicalPlan::Filter(f) => self.of_plan(&f.input),
            LogicalPlan::SubqueryAlias(a) => self.of_plan(&a.input),
            LogicalPlan::Unnest(unnest) => {
                let (below, columns) = (self.of_plan(&unnest.input), unnest.input.schema().columns());
                let of_column = |idx: &usize| match columns.get(*idx) {
                    Some(column) if !unnest.exec_columns.contains(column) => below.get(*idx).copied().flatten(),
                    _ => None,
                };
                unnest.dependency_indices.iter().map(of_column).collect()
            }
            LogicalPlan::Union(union) => {
                let inputs: Vec<_> = union.inputs.iter().map(|input| self.of_plan(input)).collect();
                let agreed = |idx: usize| {
                    let mut all = inputs.iter().map(|input| input.get(idx).copied().flatten());
                    let first = all.next().flatten();
                    first.filter(|first| all.all(|other| other == Some(*first)))
                };
                (0..n_columns).map(agreed).collect()
            }
            _ => Vec::new(),
        };
        facts.resize(n_columns, None);
        facts
    }
}
