//! Functions of whole partitions of a stream, each of which lies in a time bucket: rows leave when the bucket closes.

use std::ops::Range;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, take, take_record_batch};
use arrow::datatypes::SchemaRef;

use super::deadline::{Deadline, refuse_late};
use super::log_rows::{LogKind, LogReader, LogWriter, misfit};
use super::ordered_rows::{DueRows, OrderedRowCodec, OrderedRows};
use super::table_window::run_steps;
use super::{EpochContext, Operator, OperatorError, Output, StateSize, WindowStep};
use crate::stream::{ChangeBatch, Order, Watermark};

/// Any OVER on a stream whose partition keys hold a time bucket: top-N, frames that look ahead, functions of the whole
/// partition.
///
/// Input columns: the partition keys, then the rest. A row waits until the watermark has closed its bucket; then all rows of
/// the partition are there, and it leaves in the order (end of the bucket, partition key, order of the window, whole row).
/// Rows of a closed bucket are reported late. Logged: the rows that wait.
#[derive(Clone)]
pub struct BucketWindowSpec {
    /// The partition keys, which are the first columns.
    pub n_keys: usize,
    /// When the bucket closes: the column is a partition key.
    pub bucket: Deadline,
    /// The order of the rows of a partition.
    pub order: Vec<(usize, SortOptions)>,
    /// The steps, run over the rows of whole partitions; each row stays one row in its place.
    pub steps: Vec<WindowStep>,
    /// The input.
    pub input: SchemaRef,
    /// The output of the last step.
    pub schema: SchemaRef,
}

/// Functions of whole partitions of a stream.
pub struct BucketWindow {
    spec: BucketWindowSpec,
    waiting: OrderedRows,
    /// The watermark up to which buckets were closed since the last delta.
    closed: Option<i64>,
}

impl BucketWindow {
    /// One shard, empty.
    pub fn new(spec: BucketWindowSpec) -> Result<Self, OperatorError> {
        if spec.bucket.column >= spec.n_keys {
            return Err(OperatorError::Function("the bucket is not among the partition keys".into()));
        }
        // The bucket goes first, so that rows are sorted as their buckets close.
        let keys = std::iter::once(spec.bucket.column).chain(0..spec.n_keys);
        let mut order: Vec<(usize, SortOptions)> = keys.map(|key| (key, SortOptions::new(false, true))).collect();
        order.extend(&spec.order);
        let waiting = OrderedRows::new(OrderedRowCodec::new(&spec.input, &order)?);
        Ok(Self { spec, waiting, closed: None })
    }

    /// The rows with the columns of the steps, in order; each has the end of its bucket, then the whole row as its name.
    fn compute(&self, due: DueRows) -> Result<ChangeBatch, OperatorError> {
        let n_rows = due.names.len();
        let mut names = due.names;
        let mut rows = run_steps(&self.spec.steps, due.rows)?;
        if rows.num_rows() != n_rows {
            return Err(OperatorError::Function(format!("a window made {} rows of {n_rows}", rows.num_rows())));
        }
        if self.spec.steps.iter().any(|step| !matches!(step, WindowStep::Kernels(_))) {
            // A stock plan hands rows on in an order of its own.
            let inputs: Vec<usize> = (0..self.spec.input.fields().len()).collect();
            names = self.waiting.names(&rows.project(&inputs)?)?;
            let mut order: Vec<u32> = (0..n_rows as u32).collect();
            order.sort_by_key(|row| names.value(*row as usize));
            let order = UInt32Array::from(order);
            rows = take_record_batch(&rows, &order)?;
            names = take(&names, &order, None)?.as_binary::<i32>().clone();
        }
        let sortable = |end: &i64| (end ^ i64::MIN).to_be_bytes();
        let ends = self.spec.bucket.of_rows(&rows)?;
        let named = ends.iter().zip(&names).map(|(end, name)| [&sortable(end), name.unwrap_or_default()].concat());
        let order = Order::Key(BinaryArray::from_iter_values(named));
        let rows = RecordBatch::try_new(self.spec.schema.clone(), rows.columns().to_vec())?;
        Ok(ChangeBatch { rows, weights: vec![1; n_rows].into(), order })
    }
}

impl Operator for BucketWindow {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let input = ChangeBatch::concat(&self.spec.input, inputs)?;
        let deadlines = self.spec.bucket.of_rows(&input.rows)?;
        let in_time = refuse_late(&input, deadlines, ctx.watermark_before())?;
        let now = ctx.watermark_after().0;
        let n_waiting = self.waiting.len();
        let due = self.waiting.turn(&in_time.rows.rows, &in_time.deadlines, now)?;
        if n_waiting > 0 && !due.names.is_empty() {
            self.closed = self.closed.max(Some(now));
        }
        let changes = match due.names.is_empty() {
            true => ChangeBatch::empty(self.spec.schema.clone()),
            false => self.compute(due)?,
        };
        Ok(Output { late: in_time.late, ..changes.into() })
    }

    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        self.spec.bucket.oldest_at(ctx.watermark_after())
    }

    fn next_timer(&self) -> Option<i64> {
        self.waiting.next_due()
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let mut log = LogWriter::default();
        if let Some(closed) = self.closed.take() {
            log.push(LogKind::Closed, closed, &[], &[]);
        }
        self.waiting.write_delta(&mut log);
        log.delta()
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.waiting.id_limit() {
            return Ok(None);
        }
        let mut log = LogWriter::default();
        self.waiting.write_slice(slots, &mut log);
        log.finish().map(Some)
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let misfit = || misfit("bucket_window");
        let mut rows = Vec::new();
        for row in LogReader::new(delta, "bucket_window")?.rows() {
            let row = row.ok_or_else(misfit)?;
            match row.kind {
                LogKind::Closed => self.waiting.restore_closed(row.number),
                LogKind::Waiting => rows.push((row.key, row.number)),
                LogKind::Gone | LogKind::Key | LogKind::Row => return Err(misfit()),
            }
        }
        self.waiting.restore(&rows, |rows| self.spec.bucket.of_rows(rows))
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.waiting.len(), bytes: self.waiting.size_bytes() }
    }
}

impl std::fmt::Debug for BucketWindowSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketWindowSpec").finish_non_exhaustive()
    }
}
