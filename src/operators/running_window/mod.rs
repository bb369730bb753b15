//! OVER on a stream: one row out for each row in.
//!
//! Rows are handled in the order of their arrival, or wait (`ordered_rows`) until the watermark passes them and are handled
//! in the order of their event time. An epoch's rows are laid out by partition (`layout`). A frame that begins with its
//! partition needs accumulators only; one that slides keeps the rows that it reaches (`frame_rows`), which enter and leave
//! it once each. Where frames end behind the row, it is given out when what they end with is there (`ahead`). Aggregates of
//! all partitions are computed in one go (`aggregates`).

mod aggregates;
mod ahead;
mod compute;
mod entered;
mod frame;
mod frame_rows;
mod frame_view;
mod functions;
mod groups;
mod kept_values;
mod layout;
mod log;

use std::ops::Range;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::SchemaRef;

use self::ahead::Ahead;
pub use self::frame::{FrameBound, RunningFrame, RunningFunction, ValuePlace};
use self::functions::Functions;
use self::groups::PartitionStates;
use self::layout::{Layout, by_group, inverse};
use super::deadline::{Deadline, InTime, refuse_late};
use super::event_time::milliseconds;
use super::groups::batch_of;
use super::ordered_rows::{OrderedRowCodec, OrderedRows};
use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::{ChangeBatch, Order, Watermark};

/// OVER on a stream.
///
/// Input columns: the `n_keys` partition keys, then the rest. Logged: the rows that wait, the state of each partition that an
/// epoch touched, and the rows that sliding frames reach.
#[derive(Clone, Debug)]
pub struct RunningWindowSpec {
    /// The number of partition keys.
    pub n_keys: usize,
    /// When a partition is forgotten because its bucket, one of the keys, has closed; none = never.
    pub bucket: Option<Deadline>,
    /// In which order rows are handled.
    pub order: RunningOrder,
    /// The frames.
    pub frames: Vec<RunningFrame>,
    /// How long (ms of event time) after its last row a partition says nothing any more that a new one would not say, because
    /// all frames slide over event time; none = for ever.
    pub forget_after_ms: Option<i64>,
    /// The functions, one output column each behind those of the input.
    pub functions: Vec<RunningFunction>,
    /// The input.
    pub input: SchemaRef,
    /// The output.
    pub schema: SchemaRef,
}

/// In which order the rows of a stream are handled.
#[derive(Clone, Debug)]
pub enum RunningOrder {
    /// As they come; a row leaves at once. A row of a closed bucket is late.
    Arrival,
    /// By columns of which the first is the event time, ascending, ties by the whole row. A row leaves when the watermark has
    /// passed its event time; one that comes behind the watermark is late.
    EventTime {
        /// When a row leaves.
        release: Deadline,
        /// The columns.
        columns: Vec<(usize, SortOptions)>,
    },
}

/// OVER on a stream.
pub struct RunningWindow {
    spec: RunningWindowSpec,
    waiting: Option<OrderedRows>,
    partitions: PartitionStates,
    functions: Functions,
    /// The rows that wait for later ones, where frames end with such.
    ahead: Option<Ahead>,
    /// The watermark up to which rows and buckets have left since the last delta.
    closed: Option<i64>,
    /// Partitions that were forgotten before their bucket closed, since the last delta.
    gone: Vec<Vec<u8>>,
}

impl RunningWindow {
    /// One shard, empty.
    pub fn new(spec: RunningWindowSpec) -> Result<Self, OperatorError> {
        let waiting = match &spec.order {
            RunningOrder::Arrival => None,
            RunningOrder::EventTime { columns, .. } => {
                Some(OrderedRows::new(OrderedRowCodec::new(&spec.input, columns)?))
            }
        };
        Ok(Self {
            waiting,
            partitions: PartitionStates::new(&spec)?,
            functions: Functions::new(&spec)?,
            ahead: Ahead::new(&spec)?,
            closed: None,
            gone: Vec::new(),
            spec,
        })
    }

    /// The rows that are handled now, in order, and the numbers of those that are late.
    fn ready(&mut self, input: &ChangeBatch, ctx: &EpochContext) -> Result<(ChangeBatch, Vec<u64>), OperatorError> {
        let before = ctx.watermark_before();
        match (&self.spec.order, &mut self.waiting) {
            (RunningOrder::EventTime { release, .. }, Some(waiting)) => {
                let InTime { rows, deadlines, late } = refuse_late(input, release.of_rows(&input.rows)?, before)?;
                let (now, n_waiting) = (ctx.watermark_after().0, waiting.len());
                let due = waiting.turn(&rows.rows, &deadlines, now)?;
                if n_waiting > waiting.len() || (n_waiting > 0 && !due.names.is_empty()) {
                    self.closed = self.closed.max(Some(now));
                }
                let weights = vec![1; due.names.len()].into();
                Ok((ChangeBatch { rows: due.rows, weights, order: Order::Key(due.names) }, late))
            }
            _ => {
                let deadlines = match &self.spec.bucket {
                    Some(bucket) => bucket.of_rows(&input.rows)?,
                    None => Vec::new(),
                };
                let InTime { rows, late, .. } = refuse_late(input, deadlines, before)?;
                Ok((in_order_of_arrival(rows)?, late))
            }
        }
    }

    /// Lets the functions take in rows that are handled now, and returns where they stand.
    fn append(&mut self, rows: &RecordBatch) -> Result<Appended, OperatorError> {
        let of_row = self.partitions.assign(rows, self.spec.bucket.as_ref())?;
        self.functions.resize(self.partitions.id_limit());
        let order = by_group(&of_row);
        let columns = rows.columns().iter().map(|c| take(c, &order, None)).collect::<Result<Vec<_>, _>>()?;
        let sorted = batch_of(&self.spec.input, columns, rows.num_rows())?;
        let groups: Vec<u32> = order.values().iter().map(|row| of_row[*row as usize]).collect();
        let (by, times) = match &self.spec.order {
            RunningOrder::Arrival => (&[][..], None),
            RunningOrder::EventTime { release, columns } => {
                let times = milliseconds(sorted.column(release.column))?;
                (columns.as_slice(), Some(times.iter().map(|t| t.unwrap_or(i64::MAX)).collect::<Vec<i64>>()))
            }
        };
        let layout = Layout::new(&groups, &sorted, by, |group| self.partitions.n_before(group))?;
        let deadlines = self.ahead.as_ref().map(|ahead| ahead.deadlines(&sorted, times.as_deref())).transpose()?;
        self.functions.append(&layout, &sorted, times.as_deref(), deadlines.as_deref().unwrap_or_default())?;
        self.partitions.handled(&layout, times.as_deref());
        Ok(Appended { layout, rows: sorted, times, order })
    }

    /// The columns of the functions at rows that are handled now.
    fn compute(&mut self, rows: &RecordBatch) -> Result<Vec<ArrayRef>, OperatorError> {
        let Appended { layout, rows, times, order } = self.append(rows)?;
        let columns = self.functions.compute(&layout, &rows, times.as_deref())?;
        let places = inverse(&order);
        Ok(columns.iter().map(|column| take(column, &places, None)).collect::<Result<Vec<_>, _>>()?)
    }

    /// Forgets the partitions that the watermark closed.
    fn forget(&mut self, watermark: Watermark) {
        let closed = self.partitions.take_closed(watermark);
        if !closed.is_empty() {
            self.closed = self.closed.max(Some(watermark.0));
        }
        let silent = self.partitions.take_silent(watermark);
        self.gone.extend(silent.iter().map(|group| self.partitions.key(*group).to_vec()));
        self.remove(&closed);
        self.remove(&silent);
    }

    fn remove(&mut self, groups: &[u32]) {
        if !groups.is_empty() {
            self.functions.clear(groups);
            groups.iter().for_each(|group| self.partitions.remove(*group));
        }
    }
}

/// Rows that the functions have taken in.
struct Appended {
    layout: Layout,
    /// The rows of the layout, and their event times.
    rows: RecordBatch,
    times: Option<Vec<i64>>,
    /// Which row each was before.
    order: UInt32Array,
}

/// The rows of an epoch in the order in which they are handled.
pub(super) fn in_order_of_arrival(rows: ChangeBatch) -> Result<ChangeBatch, OperatorError> {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    match &rows.order {
        Order::Unordered => return Ok(rows),
        Order::Sequence(numbers) if numbers.is_sorted() => return Ok(rows),
        Order::Sequence(numbers) => order.sort_by_key(|row| numbers[*row as usize]),
        Order::Key(keys) => order.sort_by_key(|row| keys.value(*row as usize)),
    }
    Ok(rows.take(&UInt32Array::from(order))?)
}

impl Operator for RunningWindow {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        self.restored()?;
        let input = ChangeBatch::concat(&self.spec.input, inputs)?;
        let (ready, late) = self.ready(&input, ctx)?;
        let changes = match ready.is_empty() {
            _ if self.ahead.is_some() => self.give(&ready.rows, ctx.watermark_after())?,
            true => ChangeBatch::empty(self.spec.schema.clone()),
            false => {
                let mut columns = ready.rows.columns().to_vec();
                columns.extend(self.compute(&ready.rows)?);
                ChangeBatch { rows: batch_of(&self.spec.schema, columns, ready.len())?, ..ready }
            }
        };
        self.forget(ctx.watermark_after());
        Ok(Output { late, ..changes.into() })
    }

    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        let after = ctx.watermark_after();
        match &self.spec.order {
            RunningOrder::Arrival => after,
            RunningOrder::EventTime { release, .. } => {
                let oldest = self.ahead.as_ref().and_then(Ahead::oldest);
                let oldest = oldest.map(|time| Watermark(time.saturating_add(release.offset_ms)));
                release.oldest_at(after).min(oldest.unwrap_or(Watermark::MAX))
            }
        }
    }

    fn next_timer(&self) -> Option<i64> {
        let of_rows = self.waiting.as_ref().and_then(OrderedRows::next_due);
        of_rows.into_iter().chain(self.ahead.as_ref().and_then(Ahead::next_due)).min()
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        self.write_delta()
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        self.write_slice(slots)
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        self.read(delta)
    }

    fn restored(&mut self) -> Result<(), OperatorError> {
        if self.functions.settle()? {
            self.find_waiting();
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        let (n_waiting, bytes) = self.waiting.as_ref().map_or((0, 0), |w| (w.len(), w.size_bytes()));
        StateSize {
            rows: n_waiting + self.partitions.len() + self.functions.n_rows(),
            bytes: bytes + self.partitions.size_bytes() + self.functions.size_bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
