//! Groups a stream by key and time bucket.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::{AggregateCall, EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// What a grouped stream computes. Input columns: group keys, then arguments, as in `table_aggregate`.
///
/// `EMIT FINAL`: one row a group when the watermark reaches the bucket's end + allowed lateness, in the order (bucket end,
/// bucket start, group key), also the order given as [`Order::Key`]. Rows of a closed bucket are reported late.
/// Logged: accumulators of the groups that an epoch touched, and groups that left.
#[derive(Clone)]
pub struct WindowAggregateSpec {
    /// The number of group keys, the bucket among them.
    pub n_keys: usize,
    /// Which group key is the bucket's start (a timestamp in ms); none = groups are never closed.
    pub bucket: Option<usize>,
    /// The end of the bucket that starts at an instant (both ms).
    pub bucket_end: BucketEnd,
    /// For how long after its end a bucket takes late rows, in milliseconds.
    pub allowed_lateness_ms: i64,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// Whether groups are emitted once (FINAL) or at every net change (CHANGES; output is a table).
    pub emit_final: bool,
    /// The input.
    pub input: SchemaRef,
    /// The output.
    pub schema: SchemaRef,
}

/// From a bucket's start to its end, in milliseconds.
pub type BucketEnd = Arc<dyn Fn(i64) -> i64 + Send + Sync>;

/// Groups a stream by key and time bucket.
pub struct WindowAggregate {
    spec: WindowAggregateSpec,
}

impl WindowAggregate {
    /// One shard, empty.
    pub fn new(spec: WindowAggregateSpec) -> Result<Self, OperatorError> {
        Ok(Self { spec })
    }
}

impl Operator for WindowAggregate {
    fn process(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let _ = &self.spec;
        Err(OperatorError::Function("not built yet".into()))
    }

    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

impl std::fmt::Debug for WindowAggregateSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowAggregateSpec").finish_non_exhaustive()
    }
}
