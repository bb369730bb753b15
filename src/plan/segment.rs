//! A stateless plan between relations: stock DataFusion, planned once, run once an epoch.

use arrow::datatypes::SchemaRef;

use super::RelationId;
use crate::operators::OperatorError;
use crate::stream::ChangeBatch;

/// A stateless plan over the changes of other relations.
#[derive(Debug)]
pub struct Segment {
    /// The relations that it reads.
    pub leaves: Vec<RelationId>,
    /// The columns it yields.
    pub schema: SchemaRef,
}

impl Segment {
    /// Runs the plan over this epoch's changes, one entry a relation of the pipeline.
    ///
    /// Weights and order pass through: each output row has those of the leaf's row it comes from.
    pub fn run(&self, changes: &[ChangeBatch]) -> Result<ChangeBatch, OperatorError> {
        let _ = changes;
        Err(OperatorError::Function("not built yet".into()))
    }
}
