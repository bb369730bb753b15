//! Rows of a running worker for who asks: copied between two epochs, so that all of them are of one epoch.
//!
//! While rows are copied no epoch runs, so that takes no longer than the limits say: what is not copied by then is not, and
//! the question is refused. What is made of the rows is made elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use crossbeam_channel::Sender;

use super::dataflow::Dataflow;
use super::slices::{SliceLimit, Slices};
use super::watermark::Watermarks;
use crate::operators::OperatorError;
use crate::plan::{OperatorPlan, Pipeline, RelationId};
use crate::stream::Watermark;

/// What is asked of the worker.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub(super) copies: Vec<Copy>,
    pub(super) limits: CopyLimits,
    pub(super) answer: Sender<Result<Copied, LookupError>>,
    /// Whether nobody waits for it any more.
    pub(super) is_cancelled: Arc<AtomicBool>,
}

/// A relation of the running pipeline, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// The rows of a source table, or those that a sink over a table wrote last, with these columns.
    Rows { relation: RelationId, columns: Vec<usize> },
    /// The state of its operator, as it is logged.
    State { relation: RelationId },
}

/// How much may be copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyLimits {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// What was copied.
#[derive(Debug)]
pub(super) struct Copied {
    /// The epoch that all of it is of.
    pub(super) epoch: u64,
    /// For each copy its rows.
    pub(super) batches: Vec<Vec<RecordBatch>>,
    /// By relation of the running pipeline, of sources alone.
    pub(super) watermarks: Vec<Option<Watermark>>,
    pub(super) n_rows: usize,
    /// For how long the epoch after it was held up.
    pub(super) held_up: Duration,
}

/// Why rows were not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LookupError {
    /// The worker has not read its tables yet.
    Loading,
    /// More rows than may be read.
    Rows,
    /// More bytes than may be held.
    Bytes,
    /// It took too long; so many rows had been copied.
    Time(usize),
    /// A defect.
    Failed(String),
}

impl From<OperatorError> for LookupError {
    fn from(error: OperatorError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The state of a worker between two epochs.
pub(super) struct Between<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) dataflow: &'a Dataflow,
    pub(super) watermarks: &'a Watermarks,
    pub(super) epoch: u64,
    pub(super) is_loaded: bool,
}

impl Between<'_> {
    /// Answers one question.
    pub(super) fn answer(&self, lookup: &Lookup) {
        if lookup.is_cancelled.load(Ordering::Relaxed) {
            return;
        }
        // Whoever asked may have given up.
        let _ = lookup.answer.try_send(self.copied(&lookup.copies, lookup.limits));
    }

    /// Copies rows, all or none.
    pub(super) fn copied(&self, copies: &[Copy], limits: CopyLimits) -> Result<Copied, LookupError> {
        if !self.is_loaded {
            return Err(LookupError::Loading);
        }
        let sizes = self.dataflow.state_sizes();
        let size = |copy: &Copy| match copy {
            Copy::Rows { relation, .. } | Copy::State { relation } => sizes.get(*relation).map_or(0, |size| size.rows),
        };
        if copies.iter().map(size).sum::<usize>() > limits.rows {
            return Err(LookupError::Rows);
        }
        let mut copying = Copying { limits, began: Instant::now(), n_rows: 0, n_bytes: 0 };
        let batches = copies.iter().map(|copy| self.copy(copy, &mut copying)).collect::<Result<_, _>>()?;
        let n_relations = self.pipeline.relations.len();
        Ok(Copied {
            epoch: self.epoch,
            batches,
            watermarks: (0..n_relations).map(|id| self.watermarks.logged(id).map(|(at, _)| at)).collect(),
            n_rows: copying.n_rows,
            held_up: copying.began.elapsed(),
        })
    }

    fn copy(&self, copy: &Copy, copying: &mut Copying) -> Result<Vec<RecordBatch>, LookupError> {
        let mut batches = Vec::new();
        let mut add = |batch: RecordBatch| -> Result<(), LookupError> {
            copying.add(&batch)?;
            batches.push(batch);
            Ok(())
        };
        match copy {
            Copy::State { relation } => self.slices(*relation).try_for_each(|slice| add(slice?))?,
            Copy::Rows { relation, columns } => {
                let operator = self.pipeline.relations.get(*relation).map(|r| &r.operator);
                if matches!(operator, Some(OperatorPlan::Upsert(_))) {
                    for slice in self.slices(*relation) {
                        add(present(&slice?)?.project(columns).map_err(OperatorError::from)?)?;
                    }
                } else {
                    let shards = (0..self.dataflow.n_shards().0).filter_map(|s| self.dataflow.operator(*relation, s));
                    for shard in shards {
                        for part in 0.. {
                            let Some(rows) = shard.contents(part)? else { break };
                            add(rows.rows.project(columns).map_err(OperatorError::from)?)?;
                        }
                    }
                }
            }
        }
        Ok(batches)
    }

    fn slices(&self, relation: RelationId) -> impl Iterator<Item = Result<RecordBatch, OperatorError>> {
        let shards = (0..self.dataflow.n_shards().0).filter_map(move |s| self.dataflow.operator(relation, s));
        shards.flat_map(|operator| Slices::new(operator, SliceLimit { rows: 65_536, bytes: 8 << 20 }))
    }
}

/// The rows of a sink's state whose key has a row now.
fn present(slice: &RecordBatch) -> Result<RecordBatch, LookupError> {
    let column = slice.column_by_name("_present").and_then(|c| c.as_boolean_opt());
    let Some(is_present) = column else {
        return Err(LookupError::Failed("the state of a sink has no `_present`".into()));
    };
    debug_assert_eq!(is_present.null_count(), 0);
    filter_record_batch(slice, is_present).map_err(|e| LookupError::Failed(e.to_string()))
}

/// What has been copied so far.
struct Copying {
    limits: CopyLimits,
    began: Instant,
    n_rows: usize,
    n_bytes: usize,
}

impl Copying {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), LookupError> {
        self.n_rows += batch.num_rows();
        self.n_bytes += batch.get_array_memory_size();
        if self.n_rows > self.limits.rows {
            return Err(LookupError::Rows);
        }
        if self.n_bytes > self.limits.bytes {
            return Err(LookupError::Bytes);
        }
        if self.began.elapsed() > self.limits.time {
            return Err(LookupError::Time(self.n_rows));
        }
        Ok(())
    }
}
