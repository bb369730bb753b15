//! From a catalog to a pipeline of relations: stock DataFusion planning and optimisation, then the cut.

mod pipeline;
mod segment;

pub use pipeline::{Distribution, Input, OperatorPlan, Pipeline, Relation, RelationId, SinkPlan};
pub use segment::Segment;
