//! Groups a stream by key and time bucket.

mod log;
mod panes;
mod rows;
mod sessions;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use self::panes::Panes;
pub(super) use self::rows::order_key;
use self::rows::{contents, final_rows, rows_of};
use self::sessions::SessionAggregate;
use super::accumulators::Rows;
use super::event_time::milliseconds;
use super::groups::{Groups, GroupsSpec, Touched, difference};
use super::{AggregateCall, EpochContext, Operator, OperatorError, Output, StateSize};
use crate::functions::{Hop, Zone};
use crate::stream::{ChangeBatch, Order, Watermark};

/// What a grouped stream computes. Input columns: group keys, then arguments, as in `table_aggregate`.
///
/// `EMIT FINAL`: one row a group when the watermark reaches the bucket's end + allowed lateness, in the order (bucket end,
/// bucket start, group key), also the order given as [`Order::Key`]. Rows of a closed bucket are reported late.
/// Without it the relation is a table, and keeps the rows of closed buckets until they are forgotten; rows that come for
/// them are late, too.
/// Logged: accumulators of the groups that an epoch touched, and groups that left.
#[derive(Clone)]
pub struct WindowAggregateSpec {
    /// The number of group keys, the bucket among them.
    pub n_keys: usize,
    /// The buckets; none = groups are never closed.
    pub bucket: Option<Bucket>,
    /// For how long after its end a bucket takes late rows, in milliseconds.
    pub allowed_lateness_ms: i64,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// Whether groups are emitted once (FINAL) or at every net change (CHANGES; output is a table).
    pub emit_final: bool,
    /// The input.
    pub input: SchemaRef,
    /// The output.
    pub schema: SchemaRef,
}

/// The buckets of a grouped stream.
#[derive(Clone)]
pub struct Bucket {
    /// The group key that says in which bucket a row lies, a timestamp; in the output it is the bucket's start.
    pub column: usize,
    /// How rows lie in buckets.
    pub window: Window,
}

/// How rows lie in buckets.
#[derive(Clone)]
pub enum Window {
    /// Each row has the start of its bucket; given is the end of the bucket that starts at an instant, and the least start
    /// of the buckets that an instant lies in. The times of final rows are the starts.
    Starts {
        /// From a bucket's start to its end.
        end: BucketEdge,
        /// From an instant to the start of its bucket.
        start: BucketEdge,
    },
    /// Each row has the start of a pane, of which the overlapping buckets are made. FINAL only. The times of final rows are
    /// the last instants of their buckets.
    Panes(Hop, Zone),
    /// Each row has its own instant; given is where the session of such a row alone ends. Rows of which one lies in the
    /// session of another have one session. The times of final rows are the last instants of their sessions.
    Session(BucketEdge),
}

/// From an instant of a bucket to its start or its end, in milliseconds.
pub type BucketEdge = Arc<dyn Fn(i64) -> i64 + Send + Sync>;

/// Makes one shard, empty.
pub fn window_aggregate(spec: WindowAggregateSpec) -> Result<Box<dyn Operator>, OperatorError> {
    match spec.bucket.as_ref().map(|bucket| bucket.window.clone()) {
        Some(Window::Session(end)) => Ok(Box::new(SessionAggregate::new(spec, end)?)),
        _ => Ok(Box::new(WindowAggregate::new(spec)?)),
    }
}

/// Groups a stream by key and time bucket.
///
/// A delta has the group keys, then `_closed`, `_weight` and the state of each aggregate. A row with `_closed` says that all
/// groups have left whose bucket was due at that watermark or, of a table, ended by that instant; any other row is a group as
/// it is now. Of DISTINCT's values only those that are new are in it.
pub struct WindowAggregate {
    spec: WindowAggregateSpec,
    delta_schema: SchemaRef,
    groups: Groups,
    /// The open groups by the end of their bucket, or of the last bucket that holds their pane; without a bucket nothing is due and this is empty.
    buckets: BTreeMap<i64, Vec<u32>>,
    /// The groups of a table whose bucket is closed, by the end of their bucket.
    closed_buckets: BTreeMap<i64, Vec<u32>>,
    /// By group id: whether it was touched since the last delta.
    is_dirty: Vec<bool>,
    /// Groups touched since the last delta; some of them may have left.
    dirty: Vec<u32>,
    /// The watermark up to which buckets were closed since the last delta.
    closed: Option<i64>,
    /// Whether the one row of a query without group keys has been emitted.
    started: bool,
    /// What is known of panes, where buckets overlap.
    panes: Option<Panes>,
}

impl WindowAggregate {
    /// One shard, empty.
    pub fn new(spec: WindowAggregateSpec) -> Result<Self, OperatorError> {
        check(&spec)?;
        let keys = spec.input.fields().iter().take(spec.n_keys).map(|f| f.as_ref().clone().with_nullable(true));
        let numbers = ["_closed", "_weight"].map(|name| Field::new(name, DataType::Int64, true));
        let states = (0..spec.aggregates.len()).map(|idx| Field::new(format!("_state{idx}"), DataType::Binary, true));
        let delta_schema = Arc::new(Schema::new(keys.chain(numbers).chain(states).collect::<Vec<_>>()));
        let panes = match &spec.bucket {
            Some(Bucket { window: Window::Panes(hop, zone), .. }) => {
                Some(Panes::new(*hop, *zone, spec.allowed_lateness_ms, groups(&spec)?))
            }
            _ => None,
        };
        let groups = groups(&spec)?;
        Ok(Self {
            spec,
            delta_schema,
            groups,
            buckets: BTreeMap::new(),
            closed_buckets: BTreeMap::new(),
            is_dirty: Vec::new(),
            dirty: Vec::new(),
            closed: None,
            started: false,
            panes,
        })
    }

    /// When a bucket that ends at `end` closes.
    fn deadline(&self, end: i64) -> i64 {
        end.saturating_add(self.spec.allowed_lateness_ms)
    }

    /// The last instants of buckets that have yet to be emitted lie at or behind this one.
    fn closed_up_to(&self, after: Watermark) -> Watermark {
        let waiting = match &self.panes {
            Some(panes) => panes.next_end(),
            None => self.buckets.keys().next().copied().filter(|end| *end != i64::MAX),
        };
        closed_up_to(after, self.spec.allowed_lateness_ms, waiting)
    }

    /// The end of each row's bucket; none where groups have no bucket. A bucket without a start ends with the input.
    fn bucket_ends(&self, keys: &[ArrayRef]) -> Result<Option<Vec<i64>>, OperatorError> {
        let Some(bucket) = &self.spec.bucket else { return Ok(None) };
        let Some(column) = keys.get(bucket.column) else { return Ok(None) };
        let end_of = |start: i64| match &bucket.window {
            Window::Starts { end, .. } | Window::Session(end) => end(start),
            Window::Panes(hop, zone) => hop.last_end(start, *zone).unwrap_or(start),
        };
        let starts = milliseconds(column)?;
        Ok(Some(remembered(&starts, end_of)))
    }

    /// Divides the input into rows to take in and the numbers of the records that are late.
    fn refuse_late(&self, input: &ChangeBatch, closed: Watermark) -> Result<(ChangeBatch, Vec<u64>), OperatorError> {
        let Some(ends) = self.bucket_ends(input.rows.columns())? else { return Ok((input.clone(), Vec::new())) };
        let is_late = |end: &i64| closed.has_passed(self.deadline(*end));
        if !ends.iter().any(is_late) {
            return Ok((input.clone(), Vec::new()));
        }
        let late = match &input.order {
            Order::Sequence(numbers) => {
                numbers.iter().zip(&ends).filter(|(_, end)| is_late(end)).map(|(number, _)| *number).collect()
            }
            _ => Vec::new(),
        };
        let in_time: BooleanArray = ends.iter().map(|end| Some(!is_late(end))).collect();
        Ok((input.filter(&in_time)?, late))
    }

    /// Enters groups that have no rows yet under the end of their bucket, and remembers that all were touched.
    ///
    /// `keys` are key columns of which `rows` tells the row of each group.
    fn register(&mut self, groups: &[u32], rows: &[u32], keys: &[ArrayRef], log: bool) -> Result<(), OperatorError> {
        self.is_dirty.resize(self.groups.id_limit(), false);
        if log {
            for group in groups {
                if !std::mem::replace(&mut self.is_dirty[*group as usize], true) {
                    self.dirty.push(*group);
                }
            }
        }
        if let Some(ends) = self.bucket_ends(keys)? {
            for (group, row) in groups.iter().zip(rows) {
                if self.groups.weight(*group) == 0 {
                    self.buckets.entry(ends[*row as usize]).or_default().push(*group);
                }
            }
        }
        if let (Some(panes), Some(bucket)) = (&mut self.panes, &self.spec.bucket)
            && let Some(column) = keys.get(bucket.column)
        {
            let starts = milliseconds(column)?;
            for (group, row) in groups.iter().zip(rows).filter(|(group, _)| self.groups.weight(**group) == 0) {
                panes.enter(starts.value(*row as usize), *group);
            }
        }
        Ok(())
    }

    /// Takes the groups out whose bucket is due, in the order of the ends. They still have their state.
    ///
    /// Buckets leave as a whole; no further one is begun when `max` groups have been taken.
    fn take_due(&mut self, watermark: Watermark, max: usize) -> Vec<(i64, u32)> {
        let mut due = Vec::new();
        while let Some(entry) = self.buckets.first_entry() {
            let end = *entry.key();
            if due.len() >= max || !watermark.has_passed(end.saturating_add(self.spec.allowed_lateness_ms)) {
                break;
            }
            due.extend(entry.remove().into_iter().map(|group| (end, group)));
        }
        due
    }

    /// Takes the groups of a table out whose bucket ended by an instant. They still have their state.
    fn take_ended(&mut self, before_ms: i64) -> Vec<(i64, u32)> {
        let mut ended = Vec::new();
        for buckets in [&mut self.closed_buckets, &mut self.buckets] {
            while let Some(entry) = buckets.first_entry().filter(|e| *e.key() <= before_ms) {
                let end = *entry.key();
                ended.extend(entry.remove().into_iter().map(|group| (end, group)));
            }
        }
        ended
    }

    fn leave(&mut self, due: &[(i64, u32)]) {
        let groups: Vec<u32> = due.iter().map(|(_, group)| *group).collect();
        for group in &groups {
            self.is_dirty[*group as usize] = false;
        }
        self.groups.remove(&groups);
    }

    /// Takes rows in and returns how the groups that they touch differ from before (CHANGES only).
    fn take_in(&mut self, input: &ChangeBatch) -> Result<ChangeBatch, OperatorError> {
        let is_single = self.spec.n_keys == 0;
        if input.is_empty() && (!is_single || self.started) {
            return Ok(ChangeBatch::empty(self.spec.schema.clone()));
        }
        let touched = match input.is_empty() {
            false => self.groups.assign(&input.rows)?,
            true => Touched { groups: vec![self.groups.single()], ..Touched::default() },
        };
        let keys = input.rows.columns().get(..self.spec.n_keys).unwrap_or_default();
        self.register(&touched.groups, &touched.first_rows, keys, true)?;
        if self.spec.emit_final {
            self.groups.update(&touched.of_row, input)?;
            return Ok(ChangeBatch::empty(self.spec.schema.clone()));
        }
        let mut before = self.groups.snapshot(&touched.groups)?;
        self.groups.update(&touched.of_row, input)?;
        let mut after = self.groups.snapshot(&touched.groups)?;
        if is_single {
            before.visible = vec![self.started; touched.groups.len()];
            after.visible = vec![true; touched.groups.len()];
            self.started = true;
        }
        let first_rows = UInt32Array::from(touched.first_rows);
        let keys = keys.iter().map(|column| take(column, &first_rows, None)).collect::<Result<Vec<_>, _>>()?;
        difference(&self.spec.schema, &keys, &before, &after)
    }
}

/// The groups of a grouped stream, none yet.
fn groups(spec: &WindowAggregateSpec) -> Result<Groups, OperatorError> {
    Groups::new(&GroupsSpec {
        n_keys: spec.n_keys,
        aggregates: &spec.aggregates,
        input: &spec.input,
        output: &spec.schema,
        rows: Rows::AppendOnly,
    })
}

fn check(spec: &WindowAggregateSpec) -> Result<(), OperatorError> {
    let refused = |text: &str| Err(OperatorError::Function(text.into()));
    match &spec.bucket {
        None if spec.emit_final => refused("without a bucket no group is ever final"),
        Some(bucket) if bucket.column >= spec.n_keys => refused("the bucket is not among the group keys"),
        Some(Bucket { window: Window::Panes(..), .. }) if !spec.emit_final => refused("panes are for final rows"),
        _ => Ok(()),
    }
}

/// The instant that no bucket yet to be emitted ends before, or at, where `waiting` is the end of the next one with rows.
pub(super) fn closed_up_to(after: Watermark, lateness_ms: i64, waiting: Option<i64>) -> Watermark {
    if after == Watermark::MIN {
        return after;
    }
    let closed = if after == Watermark::MAX { i64::MAX } else { after.0.saturating_sub(lateness_ms) };
    match waiting {
        Some(end) => Watermark(closed.min(end.saturating_sub(1))),
        None => Watermark(closed),
    }
}

/// A function of each instant, evaluated once for each; where there is none, the end of time.
fn remembered(instants: &Int64Array, function: impl Fn(i64) -> i64) -> Vec<i64> {
    let mut known: HashMap<i64, i64> = HashMap::new();
    let mut last = None;
    let of = |instant: Option<i64>| {
        let Some(instant) = instant else { return i64::MAX };
        match last {
            Some((of, value)) if of == instant => value,
            _ => {
                let value = *known.entry(instant).or_insert_with(|| function(instant));
                last = Some((instant, value));
                value
            }
        }
    };
    instants.iter().map(of).collect()
}

impl Operator for WindowAggregate {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let empty = ChangeBatch::empty(self.spec.input.clone());
        let input = inputs.first().unwrap_or(&empty);
        let (input, late) = self.refuse_late(input, ctx.watermark_before())?;
        self.close_empty(ctx.watermark_before());
        let changes = self.take_in(&input)?;
        let max = if self.spec.emit_final { ctx.hand_over_max.max(1) } else { usize::MAX };
        if self.panes.is_some() {
            return Ok(Output { late, ..self.merge_due(ctx.watermark_after(), max)?.into() });
        }
        let due = self.take_due(ctx.watermark_after(), max);
        if !self.spec.emit_final {
            for (end, group) in due {
                self.closed_buckets.entry(end).or_default().push(group);
            }
            return Ok(Output { late, ..changes.into() });
        }
        let finals = final_rows(&self.spec, &self.groups, &due)?;
        if !due.is_empty() {
            self.leave(&due);
            // What is due but has to wait is not closed yet.
            let closed = due.last().map(|(end, _)| self.deadline(*end).min(ctx.watermark_after().0));
            self.closed = self.closed.max(closed);
        }
        Ok(Output { late, ..finals.into() })
    }

    fn next_timer(&self) -> Option<i64> {
        match &self.panes {
            Some(panes) => panes.next_deadline(),
            None => self.buckets.keys().next().map(|end| self.deadline(*end)),
        }
    }

    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        let after = ctx.watermark_after();
        if !self.spec.emit_final || after == Watermark::MIN {
            return after;
        }
        // Buckets that are due may still wait to be handed on.
        let closed = self.closed_up_to(after);
        match self.spec.bucket.as_ref().map(|bucket| &bucket.window) {
            Some(Window::Starts { start, .. }) if closed != Watermark::MAX && closed != Watermark::MIN => {
                Watermark(start(closed.0))
            }
            _ => closed,
        }
    }

    fn oldest(&self) -> Option<i64> {
        let ends = [&self.closed_buckets, &self.buckets].into_iter().filter_map(|b| b.keys().next());
        // The last instant of a bucket stands for it. A bucket without a start has no end.
        ends.min().filter(|end| !self.spec.emit_final && **end != i64::MAX).map(|end| end.saturating_sub(1))
    }

    fn forget_before(&mut self, before_ms: i64) -> Result<Option<ChangeBatch>, OperatorError> {
        let ended = self.take_ended(before_ms);
        if ended.is_empty() {
            return Ok(None);
        }
        let ids: Vec<u32> = ended.iter().map(|(_, group)| *group).filter(|g| self.groups.weight(*g) > 0).collect();
        let gone = rows_of(&self.spec, &self.groups, &ids, -1)?;
        self.leave(&ended);
        self.closed = self.closed.max(Some(before_ms));
        Ok(Some(gone))
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        self.delta()
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        self.slice_of(slots)
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        self.apply(delta)
    }

    fn contents(&self, part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        contents(&self.spec, &self.groups, part, self.spec.n_keys == 0 && self.started)
    }

    fn state_size(&self) -> StateSize {
        let ids = self.groups.len() * size_of::<u32>() + self.dirty.capacity() * size_of::<u32>();
        let buckets = self.buckets.len() * size_of::<(i64, Vec<u32>)>();
        let panes = self.panes.as_ref().map_or(0, Panes::size_bytes);
        let bytes = self.groups.size_bytes() + ids + buckets + panes + self.is_dirty.capacity();
        StateSize { rows: self.groups.len(), bytes }
    }
}

impl std::fmt::Debug for WindowAggregateSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowAggregateSpec").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
