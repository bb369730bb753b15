//! Which columns of streams hold event times: instants that the stream's watermark passes.
//!
//! No row that is still to come has such an instant before the watermark of its relation. A stream may have several: a
//! join of two streams has those of both, and buckets of event time have theirs.

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::builder::Builder;

/// What a column that holds an event time holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeColumn {
    /// The event time itself, or the start of a bucket.
    Instant,
    /// The start of a bucket that overlaps others: no event time, for it may lie long before the watermark when the bucket is
    /// emitted. But it tells the bucket's end.
    Overlapping,
    /// The end of a bucket, which no event time of the bucket reaches: the time of the row is the millisecond before.
    End,
}

impl TimeColumn {
    /// What must be added to a value to have the row's event time, in milliseconds.
    pub(super) fn offset_ms(self) -> i64 {
        match self {
            Self::Instant | Self::Overlapping => 0,
            Self::End => -1,
        }
    }

    /// Whether the column tells the row's event time.
    pub(super) fn is_event_time(self) -> bool {
        self != Self::Overlapping
    }
}

/// What each output column of a stateless plan holds.
pub(super) fn of_plan(builder: &Builder<'_>, plan: &LogicalPlan) -> Vec<Option<TimeColumn>> {
    let n_columns = plan.schema().fields().len();
    let mut times = match plan {
        LogicalPlan::TableScan(scan) => {
            let facts = builder.scans.get(scan.table_name.table()).map(|id| &builder.facts[*id]);
            let of_column = |column: usize| facts.and_then(|facts| facts.time_column(column));
            match &scan.projection {
                Some(columns) => columns.iter().map(|column| of_column(*column)).collect(),
                None => (0..n_columns).map(of_column).collect(),
            }
        }
        LogicalPlan::Projection(p) => {
            let below = of_plan(builder, &p.input);
            p.expr.iter().map(|e| of_expr(e, p.input.schema(), &below)).collect()
        }
        LogicalPlan::Filter(f) => of_plan(builder, &f.input),
        LogicalPlan::SubqueryAlias(a) => of_plan(builder, &a.input),
        LogicalPlan::Unnest(unnest) => {
            let (below, columns) = (of_plan(builder, &unnest.input), unnest.input.schema().columns());
            let of_column = |idx: &usize| match columns.get(*idx) {
                Some(column) if !unnest.exec_columns.contains(column) => below.get(*idx).copied().flatten(),
                _ => None,
            };
            unnest.dependency_indices.iter().map(of_column).collect()
        }
        LogicalPlan::Union(union) => {
            let inputs: Vec<_> = union.inputs.iter().map(|input| of_plan(builder, input)).collect();
            let agreed = |idx: usize| {
                let mut all = inputs.iter().map(|input| input.get(idx).copied().flatten());
                let first = all.next().flatten();
                first.filter(|first| all.all(|other| other == Some(*first)))
            };
            (0..n_columns).map(agreed).collect()
        }
        _ => Vec::new(),
    };
    times.resize(n_columns, None);
    times
}

/// What an expression holds over columns of which `below` tells.
pub(super) fn of_expr(expr: &Expr, schema: &DFSchema, below: &[Option<TimeColumn>]) -> Option<TimeColumn> {
    match expr {
        Expr::Alias(alias) => of_expr(&alias.expr, schema, below),
        Expr::Column(column) => below.get(schema.index_of_column(column).ok()?).copied().flatten(),
        Expr::ScalarFunction(call) if call.func.name() == "window_end" => {
            let of = of_expr(call.args.first()?, schema, below)?;
            (of == TimeColumn::Instant).then_some(TimeColumn::End)
        }
        Expr::ScalarFunction(call) if call.func.name() == "hop_end" => {
            let of = of_expr(call.args.first()?, schema, below)?;
            (of == TimeColumn::Overlapping).then_some(TimeColumn::End)
        }
        // The last instant of a bucket is the time of its row.
        Expr::ScalarFunction(call) if call.func.name() == "instant_before" => {
            let of = of_expr(call.args.first()?, schema, below)?;
            (of == TimeColumn::End).then_some(TimeColumn::Instant)
        }
        _ => None,
    }
}

/// The part of a stateless plan that [`super::lineage::source_expr`] writes expressions in.
pub(super) fn bottom(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(p) => bottom(&p.input),
        LogicalPlan::Filter(f) => bottom(&f.input),
        LogicalPlan::SubqueryAlias(a) => bottom(&a.input),
        other => other,
    }
}
