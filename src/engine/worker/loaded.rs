//! Whether tables have been read as far as they went when the worker started.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plan::{OperatorPlan, Pipeline};
use crate::stream::{PartitionStatus, SourcePartition};

/// Whether all tables have been read to the end noted at start.
pub(super) fn is_loaded(pipeline: &Pipeline, partitions: &BTreeMap<SourcePartition, PartitionStatus>) -> bool {
    let mut tables = pipeline.relations.iter().filter(|r| matches!(r.operator, OperatorPlan::SourceTable(..)));
    tables.all(|r| is_read_to_noted_end(partitions, &r.name))
}

/// Whether a source has been read to the end noted at start.
pub(super) fn is_read_to_noted_end(partitions: &BTreeMap<SourcePartition, PartitionStatus>, source: &Arc<str>) -> bool {
    let mut own = partitions.iter().filter(|(p, _)| p.relation == *source).peekable();
    own.peek().is_some() && own.all(|(_, status)| status.caught_up)
}
