//! One streaming operator per file. An operator is pure: change batches, watermark and state in, change batches out.
//!
//! It knows no plan, no clock and no static. Its inputs have been brought into plain columns by stateless plans, so
//! there are no expressions here; where a predicate or a function of whole batches is needed, it is handed in.
//! One instance holds one shard; the engine divides inputs by [`Operator`]'s key columns and joins the outputs.

mod accumulators;
mod bucket_window;
mod changes;
mod constant;
mod deadline;
mod deduplicate;
mod event_time;
mod exact_sum;
mod first_row;
mod final_rows;
mod frozen_rows;
mod groups;
mod interval_join;
mod keyed_differences;
mod log_rows;
mod lookup_join;
mod ordered_multiset;
mod ordered_rows;
mod pace;
#[cfg(test)]
mod rewritten_log;
mod row_codec;
mod row_name;
mod running_window;
#[cfg(test)]
mod script;
#[cfg(test)]
mod scripts;
mod source_table;
mod table_aggregate;
mod table_join;
mod table_window;
mod temporal_filter;
mod top_rows;
mod upsert;
mod waiting_rows;
mod window_aggregate;
#[cfg(test)]
mod zset_model;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::error::ArrowError;

use crate::stream::{ChangeBatch, Watermark};

pub use bucket_window::{BucketWindow, BucketWindowSpec};
pub use changes::{Changes, ChangesSpec, KeyText};
pub use constant::{Constant, ConstantSpec};
pub use deadline::{BucketEdges, Deadline};
pub use deduplicate::{Deduplicate, DeduplicateSpec};
pub use final_rows::{FinalRows, FinalRowsSpec};
pub use first_row::{FirstBy, FirstRow, FirstRowSpec};
pub use frozen_rows::{FrozenRows, FrozenRowsSpec};
pub use interval_join::{IntervalJoin, IntervalJoinSpec, IntervalKind, IntervalSide};
pub use lookup_join::{LookupJoin, LookupJoinSpec, LookupWait};
pub use pace::{Pace, PaceSpec};
pub use running_window::{
    FrameBound, RunningFrame, RunningFunction, RunningOrder, RunningWindow, RunningWindowSpec, ValuePlace,
};
pub use source_table::{RowRetention, SourceTable, SourceTableSpec};
pub use table_aggregate::{AggregateCall, AggregateFunction, TableAggregate, TableAggregateSpec};
pub use table_join::{FullJoin, JoinKind, TableJoin, TableJoinSpec};
pub use table_window::{
    Frame, GroupAggregate, GroupStep, KernelStep, TableWindow, TableWindowSpec, WindowKernel, WindowStep,
};
pub use temporal_filter::{TemporalFilter, TemporalFilterSpec};
pub use top_rows::{Numbering, TopOrder, TopRows, TopRowsSpec};
pub use upsert::{Upsert, UpsertSpec};
pub use window_aggregate::{Bucket, BucketEdge, Window, WindowAggregateSpec, window_aggregate};

/// What an operator may know of the epoch it works in.
#[derive(Clone, Debug)]
pub struct EpochContext {
    /// The watermark of each input before the rows of this epoch: what is late is decided by it.
    pub watermarks_before: Vec<Watermark>,
    /// The watermark of each input after the rows of this epoch: what is due is decided by it.
    pub watermarks_after: Vec<Watermark>,
    /// Whether all tables have been read to the end noted at start. Before, nothing leaves `changes` and sinks.
    pub loaded: bool,
    /// The wall clock of the epoch in milliseconds.
    pub clock_ms: i64,
    /// How many rows a shard of `changes` or of a sink over a table hands on at most; what is left waits as differences and
    /// goes first in the next epoch. 0 = the sink is paused. Closed buckets wait likewise, one by one.
    pub hand_over_max: usize,
    /// Whether derived state is being computed again after a restore: what comes in is what the inputs hold, not what changed.
    pub recomputes: bool,
}

impl EpochContext {
    /// The context of an epoch at the start of time that may hand on everything.
    pub fn new(watermarks_before: Vec<Watermark>, watermarks_after: Vec<Watermark>, loaded: bool) -> Self {
        Self { watermarks_before, watermarks_after, loaded, clock_ms: 0, hand_over_max: usize::MAX, recomputes: false }
    }

    /// How many rows a shard hands on at most in this epoch.
    pub fn may_hand_over(&self) -> usize {
        if self.loaded { self.hand_over_max } else { 0 }
    }

    /// The smallest watermark over the inputs before this epoch.
    pub fn watermark_before(&self) -> Watermark {
        self.watermarks_before.iter().min().copied().unwrap_or(Watermark::MIN)
    }

    /// The smallest watermark over the inputs after this epoch.
    pub fn watermark_after(&self) -> Watermark {
        self.watermarks_after.iter().min().copied().unwrap_or(Watermark::MIN)
    }
}

/// What an operator made of one epoch.
#[derive(Clone, Debug)]
pub struct Output {
    /// The changes of its relation: net differences only.
    pub changes: ChangeBatch,
    /// Sequence numbers of source records that it refused: they came after the watermark closed their bucket, or would
    /// change a table's row after its retention.
    pub late: Vec<u64>,
    /// Sequence numbers of source records that it dropped because they repeat an earlier one.
    pub duplicate: Vec<u64>,
}

impl From<ChangeBatch> for Output {
    fn from(changes: ChangeBatch) -> Self {
        Self { changes, late: Vec::new(), duplicate: Vec::new() }
    }
}

/// How much state an operator holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Rows or keys.
    pub rows: usize,
    /// Bytes of memory.
    pub bytes: usize,
}

/// One shard of one streaming operator.
pub trait Operator: Send {
    /// Takes the changes of each input in this epoch and returns the changes of the operator's relation.
    ///
    /// Called when an input has rows, a timer is due, or `loaded` turns true.
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError>;

    /// The event time (milliseconds) at which the operator has something to do without input.
    fn next_timer(&self) -> Option<i64> {
        None
    }

    /// Whether the operator has something to do without input at the watermarks after an epoch.
    fn is_due(&self, ctx: &EpochContext) -> bool {
        self.next_timer().is_some_and(|instant_ms| ctx.watermark_after().has_passed(instant_ms))
    }

    /// The watermark of the operator's rows after an epoch: none that it has yet to give has an event time before it.
    ///
    /// That of its inputs, unless it keeps rows that it gives later.
    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        ctx.watermark_after()
    }

    /// The wall clock (milliseconds) at which rows that wait may be handed on without input; `i64::MIN` = at once.
    fn next_hand_over(&self) -> Option<i64> {
        None
    }

    /// How many keys wait to be handed on.
    fn n_waiting(&self) -> usize {
        0
    }

    /// Takes disappearances in that are forgotten, not deleted, and returns what they make of the relation.
    ///
    /// They concern whole groups of rows, which cannot come again. So state shrinks as if they had been deleted, but nothing
    /// is handed on to the world: the end of a chain drops what it knows of them. Called while no key waits.
    fn forget(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<ChangeBatch, OperatorError> {
        Ok(self.process(inputs, ctx)?.changes)
    }

    /// Of a source: the event time (milliseconds) that no row goes before. The oldest row may be younger.
    fn oldest(&self) -> Option<i64> {
        None
    }

    /// Of a source: forgets the rows whose event time lies before an instant (milliseconds), and returns their
    /// disappearance.
    fn forget_before(&mut self, _before_ms: i64) -> Result<Option<ChangeBatch>, OperatorError> {
        Ok(None)
    }

    /// Takes back what the last call of [`Operator::process`] handed on: it waits as differences, as if it had not been
    /// handed on. Must come before the deltas of that call are taken.
    fn take_back(&mut self) -> Result<(), OperatorError> {
        Err(OperatorError::Function("the operator cannot take rows back".into()))
    }

    /// What was changed in logged state since the last call; none if the operator's state is derived from tables.
    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        Ok(None)
    }

    /// Applies a delta that [`Operator::take_delta`] gave, in the order they were given.
    fn restore(&mut self, _delta: &RecordBatch) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Says that the last delta was applied: from now on the operator is asked for its watermark and what is due.
    fn restored(&mut self) -> Result<(), OperatorError> {
        Ok(())
    }

    /// A slice of the logged state: what the slots of a range hold now, in the form of a delta. It may have no rows; none
    /// where the range begins behind the last slot, or nothing is logged.
    ///
    /// A row stays in its slot until a delta tells of it. So the slices of all slots, taken from the first to the last with
    /// epochs between them, are the whole state to whoever applies them together with the deltas of these epochs, each slice
    /// behind the delta of its epoch. Called when there is no delta to take.
    fn slice(&self, _slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        Ok(None)
    }

    /// After a restore, the rows that the relation has now: what derived relations are recomputed from.
    ///
    /// They are read part by part, from 0 until there is none, so that they are never all decoded at once; a part may be
    /// empty. None at once where the operator itself is derived, or its relation is a stream.
    fn contents(&self, _part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        Ok(None)
    }

    /// How many declared keys have more than one row now; only the greatest of them is handed on.
    fn double_keys(&self) -> u64 {
        0
    }

    /// How many changes came for buckets whose final rows had left already, since the operator was built.
    fn changes_after_close(&self) -> u64 {
        0
    }

    /// The size of the state.
    fn state_size(&self) -> StateSize;
}

/// A predicate over batches of joined rows, compiled by the planner.
pub type Predicate = Arc<dyn Fn(&RecordBatch) -> Result<BooleanArray, OperatorError> + Send + Sync>;

/// A function of a whole batch, compiled by the planner: rows in, rows out.
pub type BatchFunction = Arc<dyn Fn(&RecordBatch) -> Result<RecordBatch, OperatorError> + Send + Sync>;

/// Why an operator could not work. None of these is caused by data: bad data is rejected at decoding.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Arrow refused a computation.
    #[error("{0}")]
    Arrow(#[from] ArrowError),
    /// A function that the planner handed in failed.
    #[error("{0}")]
    Function(String),
    /// An expression cannot be computed for what a row holds.
    #[error("{0}")]
    Row(String),
    /// A delta does not fit the operator: the state belongs to another version.
    #[error("logged state does not fit: {0}")]
    State(String),
}
