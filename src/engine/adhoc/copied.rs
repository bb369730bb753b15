//! Rows that a join or `unnest` copies: looked at first, since such an operator makes a whole batch of copies at once.
//!
//! One row of a mebibyte beside a list of sixty thousand elements is sixty gigabytes, and the allocation that fails ends the worker.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::bounded::{BATCH_BYTES_MAX, TooLarge, elements_of, size};

/// The same plan, where operators that make many rows of few look first how large they are, and give way now and then, so that a
/// limit of time is seen. `batch_rows` is how many rows a batch has.
pub(super) fn watched(plan: Arc<dyn ExecutionPlan>, batch_rows: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let watch = |node: Arc<dyn ExecutionPlan>| {
        let copies = match node.downcast_ref::<UnnestExec>() {
            Some(unnest) => {
                let lists = unnest.list_column_indices().iter();
                Copies::OfElements(lists.map(|list| (list.index_in_input_schema, list.depth)).collect())
            }
            None if node.name().contains("Join") => Copies::OfRows(batch_rows),
            None => return Ok(Transformed::no(node)),
        };
        let copies = Arc::new(copies);
        let look = |input: &Arc<dyn ExecutionPlan>| {
            let properties = input.properties().clone();
            Arc::new(Copied { input: input.clone(), copies: copies.clone(), properties }) as Arc<dyn ExecutionPlan>
        };
        let inputs = node.children().into_iter().map(look).collect();
        let node = node.replace_children(inputs, KEEP)?;
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _))
    };
    Ok(plan.transform_up(watch)?.data)
}

/// What is between an operator and its input changes nothing of what is known of the input.
const KEEP: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);

/// How often a row is copied into one batch.
#[derive(Debug)]
enum Copies {
    /// By a join: up to so often.
    OfRows(usize),
    /// By `unnest`: as often as these columns' lists, which lie so deep, have elements.
    OfElements(Vec<(usize, usize)>),
}

impl Copies {
    /// Refuses rows whose copies would be too large.
    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let (function, bytes) = match self {
            Self::OfRows(n) => {
                // No row has more than all, and nearly all batches are small.
                if all_rows(batch)?.saturating_mul(*n as u64) <= BATCH_BYTES_MAX {
                    return Ok(());
                }
                let mut most = 0_u64;
                for row in 0..batch.num_rows() {
                    most = most.max(row_size(batch, row, &[])?.saturating_mul(*n as u64));
                }
                ("JOIN", most)
            }
            Self::OfElements(lists) => {
                let mut total = 0_u64;
                for row in 0..batch.num_rows() {
                    let mut n = 0;
                    for (idx, depth) in lists {
                        let list = batch.column(*idx);
                        // Within lists there are not more elements than bytes.
                        n = n.max(if *depth > 1 { size(list, row)? } else { elements_of(list, row) });
                    }
                    total = total.saturating_add(n.saturating_mul(row_size(batch, row, lists)?));
                }
                ("unnest", total)
            }
        };
        if bytes <= BATCH_BYTES_MAX {
            return Ok(());
        }
        Err(DataFusionError::External(Box::new(TooLarge::values(function, bytes))))
    }
}

/// The bytes of all rows of a batch, however much more lies in the buffers that it shares with others.
pub(super) fn all_rows(batch: &RecordBatch) -> Result<u64> {
    let mut bytes = 0_u64;
    for column in batch.columns() {
        // Views say how long their texts are, whose buffers are shared with other batches.
        let views = match column.data_type() {
            DataType::Utf8View => column.as_string_view().views(),
            DataType::BinaryView => column.as_binary_view().views(),
            _ => {
                bytes = bytes.saturating_add(column.to_data().get_slice_memory_size()? as u64);
                continue;
            }
        };
        bytes = views.iter().fold(bytes, |bytes, view| bytes.saturating_add(u64::from(*view as u32)));
    }
    Ok(bytes)
}

/// The bytes of a row but for the columns of `lists`.
fn row_size(batch: &RecordBatch, row: usize, lists: &[(usize, usize)]) -> Result<u64> {
    let mut bytes = 0_u64;
    for (idx, column) in batch.columns().iter().enumerate() {
        if !lists.iter().any(|(list, _)| *list == idx) {
            bytes = bytes.saturating_add(size(column, row)?);
        }
    }
    Ok(bytes)
}

/// Hands on the rows of its input that may be copied.
#[derive(Debug)]
struct Copied {
    input: Arc<dyn ExecutionPlan>,
    copies: Arc<Copies>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for Copied {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Copied")
    }
}

impl ExecutionPlan for Copied {
    fn name(&self) -> &str {
        "Copied"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else { return Ok(self) };
        let properties = input.properties().clone();
        Ok(Arc::new(Self { input, copies: self.copies.clone(), properties }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, KEEP)
    }

    fn execute(&self, partition: usize, ctx: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (input, copies) = (self.input.execute(partition, ctx)?, self.copies.clone());
        let schema = input.schema();
        let checked = input.map(move |batch| {
            let batch = batch?;
            copies.check(&batch)?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, checked)))
    }
}
