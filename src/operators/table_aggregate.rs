//! Groups a table with accumulators that retract exactly.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use super::accumulators::Rows;
use super::groups::{Groups, GroupsSpec, Snapshot, Touched, difference};
use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::functions::Collected;
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
    /// A function of the whole group; its argument is a struct of those in SQL.
    Collected(Collected),
}

/// Groups a table with accumulators that retract exactly.
///
/// The rows that the relation has are not stored: before a batch is taken in, and after it, the touched groups are
/// evaluated, and the difference leaves.
pub struct TableAggregate {
    schema: SchemaRef,
    n_keys: usize,
    groups: Groups,
    /// Whether the one row of a query without group keys has been emitted.
    started: bool,
}

impl TableAggregate {
    /// One shard, empty.
    pub fn new(spec: TableAggregateSpec) -> Result<Self, OperatorError> {
        let groups = Groups::new(&GroupsSpec {
            n_keys: spec.n_keys,
            aggregates: &spec.aggregates,
            input: &spec.input,
            output: &spec.schema,
            rows: Rows::Retractable,
        })?;
        Ok(Self { schema: spec.schema, n_keys: spec.n_keys, groups, started: false })
    }

    /// Without group keys there is always exactly one row, whatever the weight of its group.
    fn show_single(snapshot: &mut Snapshot, is_shown: bool) {
        snapshot.visible.iter_mut().for_each(|v| *v = is_shown);
    }
}

impl Operator for TableAggregate {
    fn process(&mut self, inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let is_single = self.n_keys == 0;
        let input = inputs.first().filter(|i| !i.is_empty());
        if input.is_none() && (!is_single || self.started) {
            return Ok(ChangeBatch::empty(self.schema.clone()).into());
        }
        let touched = match input {
            Some(input) => self.groups.assign(&input.rows)?,
            None => Touched { groups: vec![self.groups.single()], ..Touched::default() },
        };
        let mut before = self.groups.snapshot(&touched.groups)?;
        if let Some(input) = input {
            self.groups.update(&touched.of_row, input)?;
        }
        let mut after = self.groups.snapshot(&touched.groups)?;
        if is_single {
            Self::show_single(&mut before, self.started);
            Self::show_single(&mut after, true);
            self.started = true;
        }
        let first_rows = UInt32Array::from(touched.first_rows);
        let keys: Vec<ArrayRef> = match input {
            Some(input) => (input.rows.columns().iter().take(self.n_keys))
                .map(|column| take(column, &first_rows, None))
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let changes = difference(&self.schema, &keys, &before, &after)?;
        if !is_single {
            let gone: Vec<u32> = touched.groups.into_iter().filter(|g| self.groups.is_zero(*g)).collect();
            self.groups.remove(&gone);
        }
        Ok(changes.into())
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.groups.len(), bytes: self.groups.size_bytes() }
    }
}

#[cfg(test)]
mod tests;
