//! Which columns may hold values of PRIVATE columns.
//!
//! Within a stateless plan a column follows from the columns that its expression names. What an operator makes of its input
//! is not looked into: if any column that it reads is private, all it gives out is.

use std::collections::BTreeSet;

use datafusion::logical_expr::{Expr, LogicalPlan};

use super::builder::Builder;
use super::pipeline::{OperatorPlan, Relation};
use crate::catalog::SourceDefinition;

/// For each column of a stateless plan whether it may hold values of a PRIVATE column.
pub(super) fn columns(builder: &Builder<'_>, plan: &LogicalPlan) -> Vec<bool> {
    let mut known: Vec<BTreeSet<String>> = Vec::new();
    for relation in &builder.relations {
        let private = of_relation(builder, &known, relation);
        known.push(private);
    }
    of_plan(builder, &known, plan)
}

/// The names of a relation's private columns.
fn of_relation(builder: &Builder<'_>, known: &[BTreeSet<String>], relation: &Relation) -> BTreeSet<String> {
    let of_source = |definition: &SourceDefinition| {
        let mut private: BTreeSet<String> =
            definition.columns.iter().filter(|c| c.private).map(|c| c.name.to_string()).collect();
        if !private.is_empty() {
            // Producers put into keys and headers what is in the columns.
            private.extend(["_key".to_owned(), "_headers".to_owned()]);
        }
        private
    };
    let inputs = || relation.inputs.iter().map(|i| of_plan(builder, known, &i.segment.logical));
    let named = |columns: &[bool]| {
        let fields = relation.schema.fields().iter().zip(columns);
        fields.filter(|(_, private)| **private).map(|(f, _)| f.name().clone()).collect()
    };
    match &relation.operator {
        OperatorPlan::SourceTable(definition, _) | OperatorPlan::SourceStream(definition, _) => of_source(definition),
        OperatorPlan::Constant(_) => BTreeSet::new(),
        // What these give out has the columns of their only input.
        OperatorPlan::Select
        | OperatorPlan::Pace(_)
        | OperatorPlan::FinalRows(_)
        | OperatorPlan::TemporalFilter(_)
        | OperatorPlan::Upsert(_)
        | OperatorPlan::FrozenRows(_) => named(&inputs().next().unwrap_or_default()),
        // These append columns to those of their only input.
        OperatorPlan::RunningWindow(_)
        | OperatorPlan::BucketWindow(_)
        | OperatorPlan::FirstRow(_)
        | OperatorPlan::TopRows(_) => {
            let mut columns = inputs().next().unwrap_or_default();
            let any = columns.iter().any(|private| *private);
            columns.resize(relation.schema.fields().len(), any);
            named(&columns)
        }
        OperatorPlan::TableJoin(_)
        | OperatorPlan::TableAggregate(_)
        | OperatorPlan::TableWindow(_)
        | OperatorPlan::LookupJoin(_)
        | OperatorPlan::IntervalJoin(_)
        | OperatorPlan::WindowAggregate(_)
        | OperatorPlan::Changes(_) => {
            let any = inputs().flatten().any(|private| private);
            named(&vec![any; relation.schema.fields().len()])
        }
    }
}

fn of_plan(builder: &Builder<'_>, known: &[BTreeSet<String>], plan: &LogicalPlan) -> Vec<bool> {
    let n = plan.schema().fields().len();
    let of_input = |input: &LogicalPlan| of_plan(builder, known, input);
    match plan {
        LogicalPlan::TableScan(scan) => {
            let Some(private) = builder.scans.get(scan.table_name.table()).and_then(|id| known.get(*id)) else {
                return vec![true; n];
            };
            plan.schema().fields().iter().map(|f| private.contains(f.name())).collect()
        }
        LogicalPlan::Projection(projection) => {
            let input = of_input(&projection.input);
            projection.expr.iter().map(|e| of_expr(e, &projection.input, &input)).collect()
        }
        LogicalPlan::Filter(filter) => of_input(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => of_input(&alias.input),
        LogicalPlan::Union(union) => union.inputs.iter().map(|i| of_input(i)).fold(vec![false; n], |all, input| {
            all.iter().enumerate().map(|(i, private)| *private || input.get(i).copied().unwrap_or(true)).collect()
        }),
        other => vec![other.inputs().into_iter().flat_map(of_input).any(|private| private); n],
    }
}

fn of_expr(expr: &Expr, input: &LogicalPlan, private: &[bool]) -> bool {
    expr.column_refs().into_iter().any(|column| {
        let idx = input.schema().index_of_column(column).ok();
        idx.and_then(|i| private.get(i)).copied().unwrap_or(true)
    })
}
