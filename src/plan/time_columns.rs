//! Which columns of streams hold event times: instants that the stream's watermark passes.
//!
//! No row that is still to come has such an instant before the watermark of its relation. A stream may have several: a
//! join of two streams has those of both, and buckets of event time have theirs.

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::builder::Builder;
use super::column_facts::Rules;

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
    let of_column = |relation: &str, column: usize| {
        let id = builder.scans.get(relation)?;
        builder.facts.get(*id)?.time_column(column)
    };
    Rules { of_column: &of_column, of_expr: &of_expr }.of_plan(plan)
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
