//! Sessions: rows of one key of which each lies within a gap of another one.
//!
//! A session is an interval from its first row to a gap behind its last. Those of a key do not touch; where rows bridge
//! them they become one, whose state is that of both. The group key holds the session's start, so a session that begins
//! earlier than was known is another group.

mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::super::event_time::{milliseconds, timestamps};
use super::super::groups::Groups;
use super::super::row_codec::RowCodec;
use super::super::{EpochContext, Operator, OperatorError, Output, StateSize};
use super::{BucketEdge, WindowAggregateSpec, check, closed_up_to, contents, final_rows, groups, remembered, rows_of};
use crate::state::KeyIndex;
use crate::stream::{ChangeBatch, Order, Watermark};

/// Groups a stream by key and session.
///
/// A row is late if a session of it alone would be closed and it does not lie within one that is open. A delta has the group
/// keys, `_closed`, `_weight`, `_end` and the state of each aggregate. A row with `_closed` says that all sessions have left
/// that were due at that watermark or, of a table, ended by that instant; one of weight 0 that a session is another one now;
/// any other row is a session as it is now.
pub(super) struct SessionAggregate {
    spec: WindowAggregateSpec,
    /// Which group key holds the session's start.
    column: usize,
    end_of_row: BucketEdge,
    delta_schema: SchemaRef,
    groups: Groups,
    /// The group keys without the session.
    key_codec: RowCodec,
    keys: KeyIndex,
    /// By key id: how many sessions it has in `open`.
    n_open: Vec<u32>,
    /// Sessions that rows may still change, by key and start.
    open: BTreeMap<(u32, i64), Session>,
    /// The same by the end.
    ends: BTreeSet<(i64, u32)>,
    /// The groups of a table's closed sessions by their end.
    closed_ends: BTreeSet<(i64, u32)>,
    /// By group id: the session's key and start.
    places: Vec<(u32, i64)>,
    /// By group id: the session's end.
    session_ends: Vec<i64>,
    /// By group id: whether it was touched since the last delta.
    is_dirty: Vec<bool>,
    dirty: Vec<u32>,
    /// Group keys of sessions that became others since the last delta.
    gone: Vec<Vec<u8>>,
    /// The watermark up to which sessions were closed since the last delta.
    closed: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    end: i64,
    group: u32,
}

/// A session that an epoch makes or changes.
#[derive(Debug)]
struct Touched {
    key: u32,
    start: i64,
    end: i64,
    /// Open sessions that are part of it now, by their starts.
    absorbed: Vec<i64>,
    /// An input row of its key.
    row: u32,
}

/// What an epoch's rows do.
#[derive(Debug, Default)]
struct Plan {
    sessions: Vec<Touched>,
    /// Input rows with the session that each belongs to.
    rows: Vec<(u32, u32)>,
    late: Vec<u32>,
}

impl SessionAggregate {
    /// One shard, empty.
    pub(super) fn new(spec: WindowAggregateSpec, end_of_row: BucketEdge) -> Result<Self, OperatorError> {
        check(&spec)?;
        let column = spec.bucket.as_ref().map_or(0, |bucket| bucket.column);
        let keys = spec.input.fields().iter().take(spec.n_keys).map(|f| f.as_ref().clone().with_nullable(true));
        let numbers = ["_closed", "_weight", "_end"].map(|name| Field::new(name, DataType::Int64, true));
        let states = (0..spec.aggregates.len()).map(|idx| Field::new(format!("_state{idx}"), DataType::Binary, true));
        Ok(Self {
            delta_schema: Arc::new(Schema::new(keys.chain(numbers).chain(states).collect::<Vec<_>>())),
            groups: groups(&spec)?,
            key_codec: RowCodec::new(&spec.input, (0..spec.n_keys).filter(|c| *c != column).collect())?,
            keys: KeyIndex::default(),
            n_open: Vec::new(),
            open: BTreeMap::new(),
            ends: BTreeSet::new(),
            closed_ends: BTreeSet::new(),
            places: Vec::new(),
            session_ends: Vec::new(),
            is_dirty: Vec::new(),
            dirty: Vec::new(),
            gone: Vec::new(),
            closed: None,
            spec,
            column,
            end_of_row,
        })
    }

    fn deadline(&self, end: i64) -> i64 {
        end.saturating_add(self.spec.allowed_lateness_ms)
    }

    /// The id of a key.
    fn key_id(&mut self, key: &[u8]) -> u32 {
        let (id, _) = self.keys.get_or_insert(key);
        if self.n_open.len() <= id as usize {
            self.n_open.resize(id as usize + 1, 0);
        }
        id
    }

    /// The open session of a key that holds an instant, its end included.
    fn holding(&self, key: u32, instant: i64, before: Watermark) -> Option<(i64, Session)> {
        let ((_, start), session) = self.open.range((key, i64::MIN)..=(key, instant)).next_back()?;
        // What is due and waits to be emitted takes nothing in any more.
        let takes_in = session.end >= instant && !before.has_passed(self.deadline(session.end));
        takes_in.then_some((*start, *session))
    }

    /// Finds the sessions of an epoch's rows.
    fn plan(&mut self, input: &ChangeBatch, before: Watermark) -> Result<Plan, OperatorError> {
        let Some(instants) = input.rows.columns().get(self.column) else { return Ok(Plan::default()) };
        let instants = milliseconds(instants)?;
        let ends = remembered(&instants, |t| (self.end_of_row)(t));
        let encoded = self.key_codec.encode(&input.rows)?;
        let mut rows: Vec<(u32, i64, u32)> = Vec::with_capacity(input.len());
        // A row without an instant lies in no session.
        for row in (0..input.len()).filter(|row| instants.is_valid(*row)) {
            rows.push((self.key_id(encoded.get(row)), instants.value(row), row as u32));
        }
        rows.sort_unstable();
        let mut plan = Plan::default();
        for of_key in rows.chunk_by(|a, b| a.0 == b.0) {
            self.plan_key(of_key, &ends, before, &mut plan);
        }
        Ok(plan)
    }

    /// Finds the sessions of the rows of one key, in order of time.
    fn plan_key(&self, rows: &[(u32, i64, u32)], ends: &[i64], before: Watermark, plan: &mut Plan) {
        let first = plan.sessions.len();
        let is_late = |row: u32| before.has_passed(self.deadline(ends[row as usize]));
        for (key, instant, row) in rows.iter().copied().filter(|(.., row)| !is_late(*row)) {
            let is_next = plan.sessions.len() > first;
            match plan.sessions.last_mut().filter(|session| is_next && instant <= session.end) {
                Some(session) => session.end = session.end.max(ends[row as usize]),
                None => {
                    let mut session =
                        Touched { key, start: instant, end: ends[row as usize], absorbed: Vec::new(), row };
                    if let Some((start, known)) = self.holding(key, instant, before) {
                        (session.start, session.end) = (start, session.end.max(known.end));
                        session.absorbed.push(start);
                    }
                    plan.sessions.push(session);
                }
            }
            if let Some(session) = plan.sessions.last_mut() {
                self.absorb_later(session, before);
            }
            plan.rows.push((row, plan.sessions.len() as u32 - 1));
        }
        for (key, instant, row) in rows.iter().copied().filter(|(.., row)| is_late(*row)) {
            let of_key = plan.sessions.get(first..).unwrap_or_default();
            let within = of_key.iter().position(|s| s.start <= instant && instant <= s.end);
            match (within, self.holding(key, instant, before)) {
                (Some(idx), _) => plan.rows.push((row, (first + idx) as u32)),
                (None, Some((start, Session { end, .. }))) => {
                    plan.rows.push((row, plan.sessions.len() as u32));
                    plan.sessions.push(Touched { key, start, end, absorbed: vec![start], row });
                }
                (None, None) => plan.late.push(row),
            }
        }
    }

    /// Takes the open sessions into a touched one that begin before its end.
    fn absorb_later(&self, session: &mut Touched, before: Watermark) {
        let from = session.absorbed.last().copied().unwrap_or(session.start).max(session.start);
        let mut from = (session.key, from);
        while let Some((place, known)) = self.open.range(from..=(session.key, session.end)).next() {
            if session.absorbed.last() != Some(&place.1) && !before.has_passed(self.deadline(known.end)) {
                session.absorbed.push(place.1);
                session.end = session.end.max(known.end);
            }
            from = (place.0, place.1.saturating_add(1));
        }
    }

    /// Takes an epoch's rows in; returns how sessions differ from before (CHANGES only).
    fn take_in(&mut self, input: &ChangeBatch, plan: &Plan) -> Result<ChangeBatch, OperatorError> {
        if plan.sessions.is_empty() {
            return Ok(ChangeBatch::empty(self.spec.schema.clone()));
        }
        let absorbed: Vec<Vec<u32>> = plan.sessions.iter().map(|session| self.take_absorbed(session)).collect();
        let old: Vec<u32> = absorbed.iter().flatten().copied().collect();
        let before = if self.spec.emit_final { None } else { Some(rows_of(&self.spec, &self.groups, &old, -1)?) };
        let ids = self.groups.assign(&self.session_keys(input, plan)?)?.of_row;
        self.make_room();
        let pairs = absorbed.iter().zip(&ids).flat_map(|(old, new)| old.iter().map(move |group| (*group, *new)));
        let (from, to): (Vec<u32>, Vec<u32>) = pairs.filter(|(from, to)| from != to).unzip();
        self.groups.merge(&from, &to)?;
        for group in &from {
            self.is_dirty[*group as usize] = false;
            self.gone.push(self.groups.key_bytes(*group).to_vec());
        }
        self.groups.remove(&from);
        for (session, group) in plan.sessions.iter().zip(&ids) {
            self.enter(session.key, session.start, Session { end: session.end, group: *group });
            if !std::mem::replace(&mut self.is_dirty[*group as usize], true) {
                self.dirty.push(*group);
            }
        }
        let places: UInt32Array = plan.rows.iter().map(|(row, _)| *row).collect::<Vec<_>>().into();
        let of_row: Vec<u32> = plan.rows.iter().map(|(_, session)| ids[*session as usize]).collect();
        self.groups.update(&of_row, &input.take(&places)?)?;
        let Some(before) = before else { return Ok(ChangeBatch::empty(self.spec.schema.clone())) };
        let after = rows_of(&self.spec, &self.groups, &ids, 1)?;
        Ok(ChangeBatch::concat(&self.spec.schema, &[before, after])?.consolidate()?)
    }

    /// The group keys of the touched sessions.
    fn session_keys(&self, input: &ChangeBatch, plan: &Plan) -> Result<RecordBatch, OperatorError> {
        let rows: UInt32Array = plan.sessions.iter().map(|session| session.row).collect::<Vec<_>>().into();
        let fields: Vec<_> = self.spec.input.fields().iter().take(self.spec.n_keys).cloned().collect();
        let column = |(idx, array): (usize, &ArrayRef)| match idx == self.column {
            true => timestamps(plan.sessions.iter().map(|session| session.start).collect(), array.data_type()),
            false => Ok(take(array, &rows, None)?),
        };
        let columns = input.rows.columns().iter().take(self.spec.n_keys).enumerate().map(column);
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect::<Result<Vec<_>, _>>()?)?)
    }

    /// Takes the sessions out that are part of another one now, and returns their groups.
    fn take_absorbed(&mut self, session: &Touched) -> Vec<u32> {
        let starts = session.absorbed.iter();
        starts.filter_map(|start| self.take_open(session.key, *start)).map(|known| known.group).collect()
    }

    fn enter(&mut self, key: u32, start: i64, session: Session) {
        self.open.insert((key, start), session);
        self.ends.insert((session.end, session.group));
        self.n_open[key as usize] += 1;
        self.places[session.group as usize] = (key, start);
        self.session_ends[session.group as usize] = session.end;
    }

    fn make_room(&mut self) {
        let limit = self.groups.id_limit();
        self.is_dirty.resize(limit, false);
        self.places.resize(limit, (0, 0));
        self.session_ends.resize(limit, 0);
    }

    /// Takes a session out; its key stays known.
    fn take_open(&mut self, key: u32, start: i64) -> Option<Session> {
        let session = self.open.remove(&(key, start))?;
        self.ends.remove(&(session.end, session.group));
        self.n_open[key as usize] -= 1;
        Some(session)
    }

    /// Forgets keys without an open session.
    fn drop_keys(&mut self, keys: impl IntoIterator<Item = u32>) {
        for key in keys {
            if self.n_open.get(key as usize) == Some(&0) && self.keys.contains_id(key) {
                self.keys.remove(key);
            }
        }
    }

    /// Takes the sessions out that are due, in the order of their ends. Sessions of one end leave together; no further one
    /// is begun when `max` have been taken.
    fn take_due(&mut self, watermark: Watermark, max: usize) -> Vec<(i64, u32)> {
        let mut due: Vec<(i64, u32)> = Vec::new();
        while let Some((end, group)) = self.ends.first().copied() {
            let begins = due.last().is_none_or(|(last, _)| *last != end);
            if !watermark.has_passed(self.deadline(end)) || (begins && due.len() >= max) {
                break;
            }
            let (key, start) = self.places[group as usize];
            self.take_open(key, start);
            self.drop_keys([key]);
            due.push((end, group));
        }
        due
    }

    /// Takes the closed sessions of a table out that ended by an instant.
    fn take_ended(&mut self, before_ms: i64) -> Vec<(i64, u32)> {
        // After a restore closed sessions are among the open ones until an epoch.
        let due = self.take_due(Watermark(self.deadline(before_ms)), usize::MAX);
        self.closed_ends.extend(due);
        let rest = self.closed_ends.split_off(&(before_ms.saturating_add(1), 0));
        std::mem::replace(&mut self.closed_ends, rest).into_iter().collect()
    }

    fn leave(&mut self, due: &[(i64, u32)]) {
        let groups: Vec<u32> = due.iter().map(|(_, group)| *group).collect();
        groups.iter().for_each(|group| self.is_dirty[*group as usize] = false);
        self.groups.remove(&groups);
    }
}

impl Operator for SessionAggregate {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let empty = ChangeBatch::empty(self.spec.input.clone());
        let input = inputs.first().unwrap_or(&empty);
        let plan = self.plan(input, ctx.watermark_before())?;
        let changes = self.take_in(input, &plan)?;
        let mut late: Vec<u64> = match &input.order {
            Order::Sequence(numbers) => plan.late.iter().map(|row| numbers[*row as usize]).collect(),
            _ => Vec::new(),
        };
        late.sort_unstable();
        // Keys that came with late rows only.
        let late_keys: Vec<u32> = self.late_keys(input, &plan)?;
        self.drop_keys(late_keys);
        let after = ctx.watermark_after();
        if !self.spec.emit_final {
            let due = self.take_due(after, usize::MAX);
            self.closed_ends.extend(due);
            return Ok(Output { late, ..changes.into() });
        }
        let due = self.take_due(after, ctx.hand_over_max.max(1));
        let finals = final_rows(&self.spec, &self.groups, &due)?;
        if let Some((end, _)) = due.last() {
            self.leave(&due);
            // What is due but has to wait is not closed yet.
            self.closed = self.closed.max(Some(self.deadline(*end).min(after.0)));
        }
        Ok(Output { late, ..finals.into() })
    }

    fn next_timer(&self) -> Option<i64> {
        self.ends.first().map(|(end, _)| self.deadline(*end))
    }

    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        let after = ctx.watermark_after();
        if !self.spec.emit_final {
            return after;
        }
        closed_up_to(after, self.spec.allowed_lateness_ms, self.ends.first().map(|(end, _)| *end))
    }

    fn oldest(&self) -> Option<i64> {
        // The last instant of a session stands for it; open ones end later than all that is forgotten.
        let ends = [self.closed_ends.first(), self.ends.first()].into_iter().flatten();
        ends.map(|(end, _)| *end).min().filter(|_| !self.spec.emit_final).map(|end| end.saturating_sub(1))
    }

    fn forget_before(&mut self, before_ms: i64) -> Result<Option<ChangeBatch>, OperatorError> {
        let ended = self.take_ended(before_ms);
        if ended.is_empty() {
            return Ok(None);
        }
        let ids: Vec<u32> = ended.iter().map(|(_, group)| *group).collect();
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
        contents(&self.spec, &self.groups, part, false)
    }

    fn state_size(&self) -> StateSize {
        let sessions = self.open.len() * (size_of::<((u32, i64), Session)>() + size_of::<(i64, u32)>()) * 4 / 3;
        let ids = self.places.capacity() * size_of::<(u32, i64, i64)>() + self.is_dirty.capacity();
        let bytes = self.groups.size_bytes() + self.keys.size_bytes() + sessions + ids;
        StateSize { rows: self.groups.len(), bytes }
    }
}

impl SessionAggregate {
    /// The keys of late rows.
    fn late_keys(&self, input: &ChangeBatch, plan: &Plan) -> Result<Vec<u32>, OperatorError> {
        if plan.late.is_empty() {
            return Ok(Vec::new());
        }
        let is_late: BooleanArray = {
            let mut mask = vec![false; input.len()];
            plan.late.iter().for_each(|row| mask[*row as usize] = true);
            mask.into()
        };
        let late = input.filter(&is_late)?;
        let encoded = self.key_codec.encode(&late.rows)?;
        Ok((0..late.len()).filter_map(|row| self.keys.get(encoded.get(row))).collect())
    }
}

#[cfg(test)]
mod tests;
