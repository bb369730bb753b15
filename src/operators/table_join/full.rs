//! Keeps the rows of both sides: a left join, and the right rows that no left row matches.
//!
//! The two parts never derive from one another, so each keeps its own index of both sides; a full join holds its inputs
//! twice.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::{JoinKind, TableJoin, TableJoinSpec};
use crate::operators::{EpochContext, Operator, OperatorError, Output, Predicate, StateSize};
use crate::stream::ChangeBatch;

/// Joins two tables by key and keeps the rows of both sides; takes a [`TableJoinSpec`] of kind [`JoinKind::Full`].
pub struct FullJoin {
    /// Pairs, and left rows without a match.
    left: TableJoin,
    /// Right rows without a match.
    right: TableJoin,
    /// The own columns of the left side, null beside a right row without a match.
    left_columns: SchemaRef,
    schema: SchemaRef,
}

impl FullJoin {
    /// One shard, empty. Refuses what cannot be joined.
    pub fn new(spec: TableJoinSpec) -> Result<Self, OperatorError> {
        if spec.kind != JoinKind::Full || spec.as_of || spec.null_aware {
            return Err(OperatorError::Function("a full join chooses no version and is no NOT IN".into()));
        }
        let (left_columns, schema) = (spec.left.clone(), spec.schema.clone());
        let mirrored = TableJoinSpec {
            kind: JoinKind::LeftAnti,
            filter: spec.filter.clone().map(|filter| mirrored(filter, &spec)),
            left: spec.right.clone(),
            right: spec.left.clone(),
            schema: spec.right.clone(),
            keys: spec.keys.clone(),
            ..spec
        };
        let left = TableJoin::new(TableJoinSpec { kind: JoinKind::Left, ..spec })?;
        Ok(Self { left, right: TableJoin::new(mirrored)?, left_columns, schema })
    }

    /// Puts nulls beside right rows without a match.
    fn beside_nulls(&self, alone: &ChangeBatch) -> Result<RecordBatch, ArrowError> {
        let nulls = self.left_columns.fields().iter().map(|f| new_null_array(f.data_type(), alone.len()));
        let columns: Vec<ArrayRef> = nulls.chain(alone.rows.columns().iter().cloned()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(alone.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}

/// The filter of a join, asked with the right side's columns first.
fn mirrored(filter: Predicate, spec: &TableJoinSpec) -> Predicate {
    let n_right = spec.right.fields().len();
    let fields: Vec<FieldRef> = spec.left.fields().iter().chain(spec.right.fields()).cloned().collect();
    let schema = Arc::new(Schema::new(fields));
    Arc::new(move |rows| {
        let (right, left) = rows.columns().split_at(n_right.min(rows.num_columns()));
        let columns = left.iter().chain(right).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        filter(&RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    })
}

impl Operator for FullJoin {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let [left, right] = inputs else {
            return Err(OperatorError::Function(format!("a join has two inputs, not {}", inputs.len())));
        };
        let pairs = self.left.process(inputs, ctx)?.changes;
        let alone = self.right.process(&[right.clone(), left.clone()], ctx)?.changes;
        if alone.is_empty() {
            return Ok(pairs.into());
        }
        let alone = ChangeBatch::table(self.beside_nulls(&alone)?, alone.weights.to_vec());
        // Each part is net; but rows of nulls only may stand on either side.
        Ok(ChangeBatch::concat(&self.schema, &[pairs, alone])?.consolidate()?.into())
    }

    fn state_size(&self) -> StateSize {
        let (left, right) = (self.left.state_size(), self.right.state_size());
        StateSize { rows: left.rows + right.rows, bytes: left.bytes + right.bytes }
    }
}
