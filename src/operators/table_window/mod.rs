//! Computes whole partitions of a table again where they were touched, and emits the difference.
//!
//! The rows of a partition are kept sorted as the first kernels want them (`partition`, in packed runs: `run`). An epoch's
//! changes are merged in, which yields the rows before and after (`versions`). The steps run over both (`steps`, `kernels`,
//! `layout`), for all touched partitions at once, and what differs leaves (`difference`). Of a long partition only the part
//! from shortly before the first change is computed, from a checkpoint of the kernels.

mod difference;
mod group_rows;
mod kernels;
mod layout;
mod partition;
mod run;
mod steps;
mod versions;

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, take_record_batch};
use arrow::datatypes::{FieldRef, SchemaRef};

use self::difference::difference;
pub use self::group_rows::{GroupAggregate, GroupStep};
use self::partition::{Partitions, RUN_ROWS, RowChange};
use self::versions::{Encoded, RowCodec, Span, Versions};
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
    /// Of each partition only so many rows leave, the first in the order of the first step, which must be kernels that look
    /// at no later row; none = all.
    pub limit: Option<u32>,
}

/// One step of a function of whole partitions. No step mixes rows of different partitions.
#[derive(Clone)]
pub enum WindowStep {
    /// Window functions of ours over one partitioning and order; appends one column each.
    Kernels(KernelStep),
    /// One row for each group of the rows of a partition.
    Groups(GroupStep),
    /// A stock plan: projection, filter, window functions or aggregates without a kernel.
    Function(BatchFunction),
    /// A stock plan that makes one row of each row, in their order. What could be a function is better called a projection
    /// where it is one: then an append at the end of a long partition touches only its tail.
    Projection(BatchFunction),
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
#[expect(missing_docs, reason = "each variant says what its column, offset and frame are for")]
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

/// Runs steps over the rows of whole partitions.
pub(super) fn run_steps(steps: &[WindowStep], rows: RecordBatch) -> Result<RecordBatch, OperatorError> {
    steps::run(steps, rows)
}

/// Computes whole partitions of a table again where they were touched, and emits the difference.
pub struct TableWindow {
    spec: TableWindowSpec,
    codec: RowCodec,
    partitions: Partitions,
    /// How many rows before a change may differ, where a tail can be computed on its own.
    reach_back: Option<usize>,
    started: bool,
}

impl TableWindow {
    /// One shard, empty.
    pub fn new(spec: TableWindowSpec) -> Result<Self, OperatorError> {
        for step in &spec.steps {
            match step {
                WindowStep::Kernels(step) => kernels::check(step)?,
                WindowStep::Groups(step) => group_rows::check(step)?,
                WindowStep::Function(_) | WindowStep::Projection(_) => {}
            }
        }
        let order = match spec.steps.first() {
            Some(WindowStep::Kernels(first)) => first.order.as_slice(),
            _ => &[],
        };
        Ok(Self {
            codec: RowCodec::new(spec.input.clone(), spec.n_keys, order)?,
            partitions: Partitions::new(RUN_ROWS),
            // Where only the first rows count, no tail is worth computing.
            reach_back: if spec.limit.is_some() { None } else { steps::reach_back(&spec.steps) },
            started: false,
            spec,
        })
    }

    /// Runs the steps over whole partitions.
    ///
    /// No partition yields no row; but without keys there is always one partition, of which an aggregate has a row.
    fn run(&self, rows: RecordBatch) -> Result<RecordBatch, OperatorError> {
        if rows.num_rows() == 0 && self.spec.n_keys > 0 {
            return Ok(RecordBatch::new_empty(self.spec.schema.clone()));
        }
        steps::run(&self.spec.steps, rows)
    }

    /// The difference that the changes of all other partitions make.
    fn process_whole(
        &mut self,
        versions: &Versions,
        input: &RecordBatch,
        parts: &mut Vec<ChangeBatch>,
    ) -> Result<(), OperatorError> {
        if versions.is_empty() && (self.started || self.spec.n_keys > 0) {
            return Ok(());
        }
        let columns = self.codec.columns(versions, input)?;
        let after = self.codec.version(&columns, &versions.after)?;
        if self.reach_back == Some(0) {
            let mut spans = versions.spans();
            if let Some(after) = steps::run_appended(&self.spec.steps, after.clone(), &mut spans)? {
                return self.process_appended(versions, &columns, &after, &spans, parts);
            }
            self.give_up_on_tails();
        }
        let before = self.codec.version(&columns, &versions.before)?;
        // Before the first epoch there was no relation, hence no row of an empty partition either.
        let before = if self.started { self.run(before)? } else { RecordBatch::new_empty(self.spec.schema.clone()) };
        parts.push(difference(&self.spec.schema, &before, &self.run(after)?)?);
        Ok(())
    }

    /// Where rows were only appended, the rows before them are as they were; of the others both versions are compared.
    fn process_appended(
        &self,
        versions: &Versions,
        columns: &[ArrayRef],
        after: &RecordBatch,
        spans: &[Span],
        parts: &mut Vec<ChangeBatch>,
    ) -> Result<(), OperatorError> {
        let appended: Vec<Range<usize>> =
            spans.iter().filter_map(|s| s.appended.map(|start| start..s.after.end)).collect();
        let appended = take_record_batch(after, &positions(appended.iter()))?;
        let weights = vec![1; appended.num_rows()];
        let appended = RecordBatch::try_new(self.spec.schema.clone(), appended.columns().to_vec())?;
        parts.push(ChangeBatch::table(appended, weights));
        let changed = || spans.iter().filter(|s| s.appended.is_none());
        if changed().next().is_some() {
            let mut counts = vec![0; versions.before.len()];
            for span in changed() {
                counts[span.rows.clone()].copy_from_slice(&versions.before[span.rows.clone()]);
            }
            let before = self.run(self.codec.version(columns, &counts)?)?;
            let after = take_record_batch(after, &positions(changed().map(|s| &s.after)))?;
            parts.push(difference(&self.spec.schema, &before, &after)?);
        }
        Ok(())
    }

    /// From now on partitions are computed as a whole: some step divides or orders them in another way than the first.
    fn give_up_on_tails(&mut self) {
        self.reach_back = None;
        self.partitions.drop_checkpoints();
    }

    /// The difference that the changes of one long partition make; none if it has to be computed as a whole, which
    /// `whole` then holds.
    fn process_tail(
        &mut self,
        id: u32,
        changes: &[RowChange],
        reach_back: usize,
        touched: Touched,
        whole: &mut Versions,
    ) -> Result<Option<ChangeBatch>, OperatorError> {
        let Some(first) = changes.first() else { return Ok(None) };
        let from = self.partitions.resume_at(id, first.row, reach_back.max(1));
        let known = self.partitions.checkpoint(id, from).cloned();
        let mut versions = Versions::default();
        versions.begin(touched.key_row);
        self.partitions.apply(id, from, changes, &mut versions);
        let starts = self.partitions.run_starts(id, from);
        let columns = self.codec.columns(&versions, touched.input)?;
        let before = self.codec.version(&columns, &versions.before)?;
        let after = self.codec.version(&columns, &versions.after)?;
        let before = steps::run_tail(&self.spec.steps, before, known.as_ref(), &[])?;
        let after = steps::run_tail(&self.spec.steps, after, known.as_ref(), &starts)?;
        if let (Some(before), Some(after)) = (before, after) {
            self.partitions.set_checkpoints(id, from, after.checkpoints);
            return difference(&self.spec.schema, &before.rows, &after.rows).map(Some);
        }
        self.give_up_on_tails();
        self.partitions.read(id, from, whole);
        whole.append(&versions);
        Ok(None)
    }
}

/// The positions of all rows of `spans`.
fn positions<'a>(spans: impl Iterator<Item = &'a Range<usize>>) -> UInt32Array {
    spans.cloned().flatten().map(|p| p as u32).collect::<Vec<_>>().into()
}

/// Where a partition was touched: the input and one row with its key.
#[derive(Clone, Copy)]
struct Touched<'a> {
    input: &'a RecordBatch,
    key_row: u32,
}

impl Operator for TableWindow {
    fn process(&mut self, inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        let input = ChangeBatch::concat(&self.spec.input, inputs)?;
        if input.is_empty() && (self.started || self.spec.n_keys > 0) {
            return Ok(ChangeBatch::empty(self.spec.schema.clone()).into());
        }
        let (keys, rows) = self.codec.encode(&input.rows)?;
        let sorted = sort(&keys, &rows, input.len());
        let mut whole = Versions::limited(self.spec.limit);
        let mut parts = Vec::new();
        let mut changes: Vec<RowChange> = Vec::new();
        let same_key =
            |a: &Sorted, b: &Sorted| a.prefix == b.prefix && keys.get(a.row as usize) == keys.get(b.row as usize);
        for touched in sorted.chunk_by(same_key) {
            let Some(Sorted { row: key_row, .. }) = touched.first().copied() else { continue };
            changes.clear();
            net_changes(touched, &rows, &input.weights, &mut changes);
            if changes.is_empty() {
                continue;
            }
            let id = self.partitions.id(keys.get(key_row as usize));
            whole.begin(key_row);
            match self.reach_back {
                Some(reach_back) if self.partitions.is_long(id) => {
                    let touched = Touched { input: &input.rows, key_row };
                    parts.extend(self.process_tail(id, &changes, reach_back, touched, &mut whole)?);
                }
                _ => self.partitions.apply(id, 0, &changes, &mut whole),
            }
        }
        self.process_whole(&whole, &input.rows, &mut parts)?;
        self.started = true;
        parts.retain(|p| !p.is_empty());
        let changes = ChangeBatch::concat(&self.spec.schema, &parts)?;
        // Each part is net; but rows of different partitions are equal where the steps have dropped the keys.
        Ok(if parts.len() > 1 { changes.consolidate()? } else { changes }.into())
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.partitions.len(), bytes: self.partitions.size_bytes() }
    }
}

/// An input row in order, with the first bytes of its key.
#[derive(Clone, Copy)]
struct Sorted {
    prefix: u128,
    row: u32,
}

/// Input rows by key, then by row.
fn sort(keys: &Encoded, rows: &Encoded, n_rows: usize) -> Vec<Sorted> {
    let mut sorted: Vec<Sorted> =
        (0..n_rows as u32).map(|row| Sorted { prefix: prefix(keys.get(row as usize)), row }).collect();
    sorted.sort_unstable_by(|a, b| {
        let by_key = || keys.get(a.row as usize).cmp(keys.get(b.row as usize));
        let by_row = || rows.get(a.row as usize).cmp(rows.get(b.row as usize));
        a.prefix.cmp(&b.prefix).then_with(by_key).then_with(by_row)
    });
    sorted
}

/// The first bytes, which nearly always decide.
fn prefix(bytes: &[u8]) -> u128 {
    let mut prefix = [0; 16];
    let n = bytes.len().min(prefix.len());
    prefix[..n].copy_from_slice(&bytes[..n]);
    u128::from_be_bytes(prefix)
}

/// Adds up the weights of equal rows among rows of one partition, sorted.
fn net_changes<'a>(touched: &[Sorted], rows: &'a Encoded, weights: &[i64], changes: &mut Vec<RowChange<'a>>) {
    for Sorted { row, .. } in touched {
        let (bytes, weight) = (rows.get(*row as usize), weights[*row as usize]);
        match changes.last_mut() {
            Some(last) if last.row.cmp(bytes) == Ordering::Equal => last.weight = last.weight.wrapping_add(weight),
            _ => changes.push(RowChange { row: bytes, weight }),
        }
    }
    changes.retain(|c| c.weight != 0);
}

impl std::fmt::Debug for TableWindowSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWindowSpec").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
