//! From a catalog to a pipeline of relations: stock DataFusion planning and optimisation, then the cut.
//!
//! 1. `rewrite`: syntax that DataFusion does not know becomes syntax that it does.
//! 2. `definitions`: every definition is planned, in the order in which they refer to one another. A view that keeps no
//!    state, or that is read once, is put in its place; any other is optimised and cut alone.
//! 3. `cut`: aggregates, joins and windows become relations; the stateless rest is compiled into segments.

mod arrival;
mod batch;
mod bucket_marks;
mod bucket_names;
mod builder;
mod canonical;
mod checks;
mod column_facts;
mod cut;
mod definitions;
mod distinct_on;
mod error;
mod event_times;
mod explain;
mod forgiving;
mod interval_product;
mod leaf;
mod lineage;
mod look;
mod nodes;
mod order;
mod pipeline;
mod place;
mod private;
mod pseudo_columns;
mod pseudonyms;
mod retention;
mod rewrite;
mod segment;
mod session;
mod shields;
mod sinks;
mod sources;
mod table_read;
mod top_n;
mod using;
#[cfg(test)]
mod tests;
mod time_columns;
mod timestamps;
mod working_days;

pub use batch::{BatchQuery, TOO_MUCH, batch_finding, batch_session, batch_session_in, read_batch_query};
pub use definitions::{definition_schemas, plan};
pub use error::{UNKNOWN_COLUMN, UNKNOWN_RELATION, suggest};
pub use explain::{explain, mermaid, unbounded};
pub use interval_product::IntervalProducts;
pub use look::{Look, LookError, Wanted, plan_look, reduced};
pub use pipeline::{Distribution, Input, OperatorPlan, Pipeline, Relation, RelationId, SinkPlan};
pub use private::check_batch_query;
pub use retention::{Expiry, Retention};
pub use segment::Segment;
