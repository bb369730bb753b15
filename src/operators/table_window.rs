//! Computes whole partitions of a table again where they were touched, and emits the difference.

use arrow::compute::SortOptions;
use arrow::datatypes::{FieldRef, SchemaRef};

use super::{BatchFunction, EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// A function of whole partitions: OVER, QUALIFY, top-N, and aggregates that cannot be retracted.
///
/// Input columns: the `n_keys` partition keys, then the rest. State: the rows by partition. When a partition is touched,
/// the steps run over its old rows and its new rows, and the difference leaves.
#[derive(Clone)]
pub struct TableWindowSpec {
    /// The number of partition keys; 0 = one partition.
    pub n_keys: usize,
    /// The steps, run one after the other over the rows of the touched partitions.
    pub steps: Vec<WindowStep>,
    /// The input.
    pub input: SchemaRef,
    /// The output of the last step.
    pub schema: SchemaRef,
}

/// One step of a function of whole partitions. No step mixes rows of different partitions.
#[derive(Clone)]
pub enum WindowStep {
    /// Window functions of ours over one partitioning and order; appends one column each.
    Kernels(KernelStep),
    /// A stock plan: projection, filter, window functions or aggregates without a kernel.
    Function(BatchFunction),
}

/// Window functions that share a partitioning and an order.
#[derive(Clone, Debug)]
pub struct KernelStep {
    /// Columns to partition by: the partition keys and possibly more.
    pub partition: Vec<usize>,
    /// Columns to order by, with direction and place of nulls.
    pub order: Vec<(usize, SortOptions)>,
    /// The functions, one output column each, with the name and type of the column.
    pub functions: Vec<(WindowKernel, FieldRef)>,
}

/// The window functions computed by kernels of ours.
#[derive(Clone, Debug, PartialEq)]
pub enum WindowKernel {
    /// The number of the row in its partition, from 1.
    RowNumber,
    /// The value `offset` rows before; null where there is none.
    Lag { column: usize, offset: usize },
    /// The value `offset` rows after; null where there is none.
    Lead { column: usize, offset: usize },
    /// The value at the first row of the frame.
    FirstValue { column: usize, frame: Frame },
    /// The value at the last row of the frame.
    LastValue { column: usize, frame: Frame },
    /// The number of rows (no column), or of non-null values, in the frame.
    Count { column: Option<usize>, frame: Frame },
    /// The sum over the frame; null over none.
    Sum { column: usize, frame: Frame },
    /// The smallest value of the frame.
    Min { column: usize, frame: Frame },
    /// The greatest value of the frame.
    Max { column: usize, frame: Frame },
}

/// The frames that kernels know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `ROWS UNBOUNDED PRECEDING`: from the start of the partition to the row.
    Rows,
    /// `RANGE UNBOUNDED PRECEDING`: also the rows that equal the row in order.
    Range,
    /// The whole partition.
    Whole,
}

/// Computes whole partitions of a table again where they were touched, and emits the difference.
pub struct TableWindow {
    spec: TableWindowSpec,
}

impl TableWindow {
    /// One shard, empty.
    pub fn new(spec: TableWindowSpec) -> Result<Self, OperatorError> {
        Ok(Self { spec })
    }
}

impl Operator for TableWindow {
    fn process(&mut self, _inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let _ = &self.spec;
        Err(OperatorError::Function("not built yet".into()))
    }

    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

impl std::fmt::Debug for TableWindowSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWindowSpec").finish_non_exhaustive()
    }
}
