//! Groups a table with accumulators that retract exactly.

use arrow::datatypes::SchemaRef;

use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// What a grouped table computes.
///
/// Input columns: the `n_keys` group keys, then arguments and filters as the aggregates name them.
/// Output: group keys, then one column an aggregate. Without keys there is always exactly one row.
#[derive(Clone, Debug)]
pub struct TableAggregateSpec {
    /// The number of group keys.
    pub n_keys: usize,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// The input.
    pub input: SchemaRef,
    /// The output.
    pub schema: SchemaRef,
}

/// One aggregate of a grouped query.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// The function.
    pub function: AggregateFunction,
    /// The argument column of the input; none for `count(*)`.
    pub argument: Option<usize>,
    /// Whether equal arguments count once.
    pub distinct: bool,
    /// A Boolean column of the input: rows where it is not true are left out.
    pub filter: Option<usize>,
}

/// The aggregates that can be retracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateFunction {
    /// Rows, or non-null arguments.
    Count,
    /// The sum; integers as Int64 or UInt64 as DataFusion types them, floats independent of order, decimals exactly.
    Sum,
    /// The average as DataFusion types it.
    Avg,
    /// The smallest argument.
    Min,
    /// The greatest argument.
    Max,
    /// Whether all arguments are true.
    BoolAnd,
    /// Whether any argument is true.
    BoolOr,
}

/// Groups a table with accumulators that retract exactly.
pub struct TableAggregate {
    spec: TableAggregateSpec,
}

impl TableAggregate {
    /// One shard, empty.
    pub fn new(spec: TableAggregateSpec) -> Result<Self, OperatorError> {
        Ok(Self { spec })
    }
}

impl Operator for TableAggregate {
    fn process(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let _ = &self.spec;
        Err(OperatorError::Function("not built yet".into()))
    }

    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}
