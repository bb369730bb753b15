//! The leaves of segments: tables that yield what the epoch lends them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};

/// What an epoch lends to one plan: rows by relation. Set before a run, read by the scans.
#[derive(Debug, Default)]
pub(super) struct EpochSlot(Mutex<HashMap<String, RecordBatch>>);

impl EpochSlot {
    pub(super) fn lend(&self, relations: HashMap<String, RecordBatch>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = relations;
    }

    fn get(&self, relation: &str) -> Option<RecordBatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(relation).cloned()
    }
}

/// A relation as DataFusion's planner sees it: a leaf with a schema, or a view that is put in its place.
#[derive(Debug)]
pub(super) struct EpochTable {
    pub(super) relation: String,
    pub(super) schema: SchemaRef,
    /// The plan that stands for a view; none for a leaf.
    pub(super) view: Option<LogicalPlan>,
}

#[async_trait]
impl TableProvider for EpochTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        self.view.as_ref().map(Cow::Borrowed)
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        // Else a rule wraps the leaf in an operator that yields to a scheduler we do not run under.
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Arc::new(EpochScan {
            relation: self.relation.clone(),
            projection: projection.cloned(),
            properties: Arc::new(properties),
        }))
    }
}

/// The physical leaf: yields the batch that the epoch lent to its relation.
#[derive(Debug)]
struct EpochScan {
    relation: String,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for EpochScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpochScan: {}", self.relation)
    }
}

impl ExecutionPlan for EpochScan {
    fn name(&self) -> &str {
        "EpochScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, ctx: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let slot = ctx
            .session_config()
            .get_extension::<EpochSlot>()
            .ok_or_else(|| DataFusionError::Internal("a segment was run without an epoch".into()))?;
        let batch = slot.get(&self.relation);
        let rows = match (batch, &self.projection) {
            (Some(batch), Some(columns)) => Some(batch.project(columns)?),
            (batch, _) => batch,
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::iter(rows.map(Ok)))))
    }
}
