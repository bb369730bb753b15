//! Joins two streams whose rows match within bounds on event time.

mod arrivals;
mod emission;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use hashbrown::HashMap;

use self::arrivals::{Arrivals, SideCodec};
use self::emission::{Emission, pick};
use super::groups::batch_of;
use super::row_name::Cause;
use super::waiting_rows::log::{self, Delta, Logged};
use super::waiting_rows::{NONE, SlotChange, WaitingRows};
use super::{EpochContext, Operator, OperatorError, Output, Predicate, StateSize};
use crate::state::KeyIndex;
use crate::stream::{ChangeBatch, Watermark};

/// How many pairs are put before the filter at a time.
const PAIRS_MAX: usize = 1 << 16;

/// What an interval join matches and yields.
///
/// A pair matches when keys are equal, each event time lies within the bounds that the other row gives, and the filter
/// accepts it. Output: the own columns of the left side, then those of the right side (none for semi and anti; one Boolean
/// for mark). A row without a time, a bound or a key can match nothing.
///
/// A row waits until the other side's watermark is past its bound: until then matches may come. Then a row without a match
/// leaves as kind and side tell, and its memory is free. A row whose event time lies before its side's watermark is late.
/// The watermark of the output is held back by the rows that wait, whose event times may yet leave.
#[derive(Clone)]
pub struct IntervalJoinSpec {
    /// The kind of join.
    pub kind: IntervalKind,
    /// The leading columns of either input that are compared for equality.
    pub n_keys: usize,
    /// Whether null keys match null keys (`IS NOT DISTINCT FROM`).
    pub null_equals_null: bool,
    /// What matching rows must satisfy besides, over left own columns then right own columns.
    pub filter: Option<Predicate>,
    /// Both sides: left, right.
    pub sides: [IntervalSide; 2],
    /// For how long after its time a row may still come, in milliseconds.
    pub allowed_lateness_ms: i64,
    /// The output.
    pub schema: SchemaRef,
}

/// One input of an interval join.
///
/// Its columns: keys; the event time by which the other side finds a row; event times of the other side up to which it may
/// match (at least one, the least counts); such from which it may match (any number, the greatest counts); own columns.
#[derive(Clone)]
pub struct IntervalSide {
    /// The columns.
    pub input: SchemaRef,
    /// What is added to the event time, in milliseconds.
    pub time_offset_ms: i64,
    /// What is added to each column of times up to which it may match, in milliseconds.
    pub until_offsets_ms: Vec<i64>,
    /// What is added to each column of times from which it may match, in milliseconds.
    pub from_offsets_ms: Vec<i64>,
    /// The own columns, by their number among these, that are event times of the output, and what is added to each.
    pub event_times: Vec<(usize, i64)>,
}

/// The kinds of join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalKind {
    /// Matching pairs.
    Inner,
    /// Matching pairs, and left rows without a match with nulls.
    Left,
    /// Matching pairs, and rows of either side without a match with nulls.
    Full,
    /// Left rows with a match, once, when the first match comes.
    Semi,
    /// Left rows without a match.
    Anti,
    /// Left rows with a Boolean column that says whether there is a match.
    Mark,
}

impl IntervalKind {
    /// Whether pairs leave.
    fn yields_pairs(self) -> bool {
        matches!(self, Self::Inner | Self::Left | Self::Full)
    }

    /// Whether a row of a side leaves when it can have no match any more.
    fn keeps(self, side: usize) -> bool {
        match self {
            Self::Inner | Self::Semi => false,
            Self::Left | Self::Anti | Self::Mark => side == 0,
            Self::Full => true,
        }
    }
}

/// Joins two streams whose rows match within bounds on event time.
pub struct IntervalJoin {
    spec: IntervalJoinSpec,
    codecs: [SideCodec; 2],
    /// The own columns of both sides, as the filter knows them.
    pair_schema: SchemaRef,
    keys: KeyIndex,
    /// By key how many rows wait.
    n_of_key: Vec<u32>,
    sides: [WaitingRows; 2],
    /// In how many epochs rows have left.
    n_emissions: u64,
    /// As [`Self::n_emissions`], as far as it is logged.
    n_logged: u64,
}

impl IntervalJoin {
    /// One shard, empty.
    pub fn new(spec: IntervalJoinSpec) -> Result<Self, OperatorError> {
        let [left, right] = &spec.sides;
        let codecs = [SideCodec::new(left, spec.n_keys)?, SideCodec::new(right, spec.n_keys)?];
        let own = |side: &IntervalSide| -> Vec<Arc<Field>> {
            let n_before = spec.n_keys + 1 + side.until_offsets_ms.len() + side.from_offsets_ms.len();
            side.input.fields().iter().skip(n_before).cloned().collect()
        };
        let pairs: Vec<Arc<Field>> = own(left).into_iter().chain(own(right)).collect();
        Ok(Self {
            pair_schema: Arc::new(Schema::new(pairs)),
            codecs,
            keys: KeyIndex::default(),
            n_of_key: Vec::new(),
            sides: [WaitingRows::default(), WaitingRows::default()],
            n_emissions: 0,
            n_logged: 0,
            spec,
        })
    }

    fn delayed(&self, watermark: Watermark) -> Watermark {
        match watermark {
            Watermark::MIN | Watermark::MAX => watermark,
            Watermark(ms) => Watermark(ms.saturating_sub(self.spec.allowed_lateness_ms)),
        }
    }

    /// Joins the rows that arrive on one side with those that wait on the other, then lets them wait.
    fn take_in(
        &mut self,
        side: usize,
        batch: &ChangeBatch,
        watermark: Watermark,
        out: &mut Emission<'_>,
    ) -> Result<Vec<u64>, OperatorError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let null_equals_null = self.spec.null_equals_null;
        let (spec, codec) = (&self.spec.sides[side], &self.codecs[side]);
        let mut arrivals = Arrivals::new(batch, spec, codec, null_equals_null, &mut self.keys, watermark)?;
        // Rows that leave meanwhile must not take the key of one that has just come with them.
        let keys = arrivals.rows.iter().map(|arrival| arrival.waiting.key);
        keys.filter(|key| *key != NONE).for_each(|key| self.hold(key));
        self.meet(side, &mut arrivals, out)?;
        self.emit_arrivals(side, &arrivals, out)?;
        for (row, arrival) in arrivals.rows.iter().enumerate() {
            let is_done = side == 0 && !self.spec.kind.yields_pairs() && arrival.waiting.matched;
            match arrival.waiting.key {
                NONE => {}
                key if is_done => self.release(key),
                _ => self.sides[side].insert(arrival.waiting, arrivals.own_bytes.get(row)),
            }
        }
        Ok(arrivals.late)
    }

    /// Finds the matches of rows that arrive among those that wait on the other side.
    fn meet(&mut self, side: usize, arrivals: &mut Arrivals, out: &mut Emission<'_>) -> Result<(), OperatorError> {
        let (mut rows, mut slots) = (Vec::new(), Vec::new());
        for row in 0..arrivals.rows.len() {
            let arrival = arrivals.rows[row];
            if arrival.waiting.key == NONE {
                continue;
            }
            let others = &self.sides[1 - side];
            for slot in others.between(arrival.waiting.key, arrival.from, arrival.waiting.until) {
                if others.get(slot).is_some_and(|other| arrival.waiting.time <= other.until) {
                    rows.push(row as u32);
                    slots.push(slot);
                }
            }
            if rows.len() >= PAIRS_MAX {
                self.decide(side, arrivals, (&rows, &slots), out)?;
                rows.clear();
                slots.clear();
            }
        }
        self.decide(side, arrivals, (&rows, &slots), out)
    }

    /// Lets the filter decide about pairs of arriving and waiting rows, and does what follows from those that match.
    fn decide(
        &mut self,
        side: usize,
        arrivals: &mut Arrivals,
        (rows, slots): (&[u32], &[u32]),
        out: &mut Emission<'_>,
    ) -> Result<(), OperatorError> {
        if rows.is_empty() {
            return Ok(());
        }
        let kind = self.spec.kind;
        let needs_columns = self.spec.filter.is_some() || kind.yields_pairs() || side == 1;
        let (columns, places) =
            if needs_columns { self.waiting_columns(1 - side, slots)? } else { (Vec::new(), vec![0; slots.len()]) };
        let accepted = self.accepts(side, (&arrivals.own, rows), (&columns, &places))?;
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for (i, _) in accepted.iter().enumerate().filter(|(_, accepted)| **accepted) {
            let (row, slot, place) = (rows[i], slots[i], places[i]);
            arrivals.rows[row as usize].waiting.matched = true;
            let cause = Cause::Arrival(&arrivals.order, row as usize);
            let key = arrivals.key_bytes.get(row as usize);
            if kind.yields_pairs() {
                if kind.keeps(1 - side) {
                    self.sides[1 - side].set_matched(slot);
                }
                out.name(cause, key);
                own.push(row);
                others.push(place);
            } else if side == 1 && self.sides[0].get(slot).is_some() {
                // The first match of a left row decides about it.
                if kind != IntervalKind::Anti {
                    out.name(cause, key);
                    others.push(place);
                }
                self.free(0, slot);
            }
        }
        match (kind.yields_pairs(), side) {
            (true, 0) => out.pairs((&arrivals.own, &own), (&columns, &others)),
            (true, _) => out.pairs((&columns, &others), (&arrivals.own, &own)),
            (false, _) => out.lefts(&columns, &others, true),
        }
    }

    /// The own columns of waiting rows, each once, and the place of each slot among them.
    fn waiting_columns(&self, side: usize, slots: &[u32]) -> Result<(Vec<ArrayRef>, Vec<u32>), OperatorError> {
        let mut place_of: HashMap<u32, u32> = HashMap::with_capacity(slots.len());
        let mut distinct = Vec::new();
        let mut places = Vec::with_capacity(slots.len());
        for slot in slots {
            let place = *place_of.entry(*slot).or_insert_with(|| {
                distinct.push(*slot);
                distinct.len() as u32 - 1
            });
            places.push(place);
        }
        let columns = self.codecs[side].decode(distinct.iter().map(|slot| self.sides[side].bytes(*slot)))?;
        Ok((columns, places))
    }

    /// Which pairs the filter accepts.
    fn accepts(
        &self,
        side: usize,
        own: (&[ArrayRef], &[u32]),
        others: (&[ArrayRef], &[u32]),
    ) -> Result<Vec<bool>, OperatorError> {
        let n_pairs = own.1.len();
        let Some(filter) = &self.spec.filter else { return Ok(vec![true; n_pairs]) };
        let (left, right) = if side == 0 { (own, others) } else { (others, own) };
        let mut columns = pick(left.0, left.1)?;
        columns.extend(pick(right.0, right.1)?);
        let answer = filter(&batch_of(&self.pair_schema, columns, n_pairs)?)?;
        if answer.len() != n_pairs {
            return Err(OperatorError::Function("a join's filter must answer once for each pair".into()));
        }
        Ok(answer.iter().map(|a| a == Some(true)).collect())
    }

    /// What leaves of arriving rows at once: those that can match nothing, and those that need no more than one match.
    fn emit_arrivals(&self, side: usize, arrivals: &Arrivals, out: &mut Emission<'_>) -> Result<(), OperatorError> {
        let kind = self.spec.kind;
        let (mut matched, mut unmatched) = (Vec::new(), Vec::new());
        for (row, arrival) in arrivals.rows.iter().enumerate() {
            if arrival.waiting.key == NONE {
                if kind.keeps(side) {
                    unmatched.push(row as u32);
                }
            } else if side == 0 && arrival.waiting.matched && matches!(kind, IntervalKind::Semi | IntervalKind::Mark) {
                matched.push(row as u32);
            }
        }
        for row in matched.iter().chain(&unmatched) {
            let row = *row as usize;
            out.name(Cause::Arrival(&arrivals.order, row), arrivals.key_bytes.get(row));
        }
        if side == 0 {
            out.lefts(&arrivals.own, &matched, true)?;
            out.lefts(&arrivals.own, &unmatched, false)
        } else {
            out.rights(&arrivals.own, &unmatched)
        }
    }

    /// Lets rows of a side go that can have no match any more, the other side's watermark being past their bounds.
    ///
    /// Rows that leave together do so as a whole; no further ones are begun when `max` rows leave in this epoch.
    fn let_go(
        &mut self,
        side: usize,
        watermark: Watermark,
        max: usize,
        out: &mut Emission<'_>,
    ) -> Result<(), OperatorError> {
        let (mut done, mut leaving) = (Vec::new(), Vec::new());
        let rows = &self.sides[side];
        let mut last = None;
        for (until, slot) in rows.by_until().take_while(|(until, _)| is_past(watermark, *until)) {
            if out.len() >= max && last != Some(until) {
                break;
            }
            last = Some(until);
            done.push(slot);
            if self.spec.kind.keeps(side)
                && let Some(waiting) = rows.get(slot).filter(|waiting| !waiting.matched)
            {
                out.name(Cause::Passed(until), self.keys.key(waiting.key));
                leaving.push(slot);
            }
        }
        let columns = self.codecs[side].decode(leaving.iter().map(|slot| rows.bytes(*slot)))?;
        let places: Vec<u32> = (0..leaving.len() as u32).collect();
        match side {
            0 => out.lefts(&columns, &places, false)?,
            _ => out.rights(&columns, &places)?,
        }
        done.into_iter().for_each(|slot| self.free(side, slot));
        Ok(())
    }

    /// Forgets a waiting row.
    fn free(&mut self, side: usize, slot: u32) {
        if let Some(waiting) = self.sides[side].remove(slot) {
            self.release(waiting.key);
        }
    }

    /// Notes that one more row is of a key.
    fn hold(&mut self, key: u32) {
        if self.n_of_key.len() <= key as usize {
            self.n_of_key.resize(key as usize + 1, 0);
        }
        self.n_of_key[key as usize] += 1;
    }

    /// Notes that a row less is of a key, which is forgotten with its last row.
    fn release(&mut self, key: u32) {
        let Some(n) = self.n_of_key.get_mut(key as usize) else { return };
        *n = n.saturating_sub(1);
        if *n == 0 && self.keys.contains_id(key) {
            self.keys.remove(key);
        }
    }
}

/// Whether no row at or before an instant can come: the watermark is the least time that may.
fn is_past(watermark: Watermark, instant_ms: i64) -> bool {
    watermark.0 > instant_ms || watermark == Watermark::MAX
}

impl Operator for IntervalJoin {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let ([left, right], [left_before, right_before], [left_after, right_after]) =
            (inputs, ctx.watermarks_before.as_slice(), ctx.watermarks_after.as_slice())
        else {
            return Err(OperatorError::Function("an interval join has two inputs".into()));
        };
        let (kind, schema) = (self.spec.kind, self.spec.schema.clone());
        let mut out = Emission::new(kind, &schema, self.n_emissions);
        let mut late = self.take_in(0, left, self.delayed(*left_before), &mut out)?;
        late.extend(self.take_in(1, right, self.delayed(*right_before), &mut out)?);
        let max = ctx.hand_over_max.max(1);
        self.let_go(0, self.delayed(*right_after), max, &mut out)?;
        self.let_go(1, self.delayed(*left_after), max, &mut out)?;
        let changes = out.finish()?;
        self.n_emissions += u64::from(!changes.is_empty());
        Ok(Output { late, ..changes.into() })
    }

    fn next_timer(&self) -> Option<i64> {
        let due = self.sides.iter().filter_map(|rows| rows.by_until().next()).map(|(until, _)| until).min();
        due.map(|until| until.saturating_add(1).saturating_add(self.spec.allowed_lateness_ms))
    }

    fn is_due(&self, ctx: &EpochContext) -> bool {
        let is_due = |side: usize, other: usize| {
            let watermark = ctx.watermarks_after.get(other).copied().unwrap_or(Watermark::MIN);
            self.sides[side].by_until().next().is_some_and(|(until, _)| is_past(self.delayed(watermark), until))
        };
        is_due(0, 1) || is_due(1, 0)
    }

    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        let after = |side: usize| self.delayed(ctx.watermarks_after.get(side).copied().unwrap_or(Watermark::MIN));
        let of_side =
            |side: usize| self.sides[side].oldest().map_or(after(side), |oldest| after(side).min(Watermark(oldest)));
        if self.spec.kind.yields_pairs() { of_side(0).min(of_side(1)) } else { of_side(0) }
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let changes = [self.sides[0].take_changes(), self.sides[1].take_changes()];
        if changes.iter().all(Vec::is_empty) && self.n_logged == self.n_emissions {
            return Ok(None);
        }
        self.n_logged = self.n_emissions;
        let mut delta = Delta::new(self.n_emissions);
        for (side, changes) in changes.into_iter().enumerate() {
            for (slot, change) in changes {
                delta.add(side, &self.sides[side], &self.keys, slot, change);
            }
        }
        delta.finish().map(Some)
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        // The slots of both sides take turns.
        let n_slots = 2 * self.sides.iter().map(WaitingRows::n_slots).max().unwrap_or(0);
        if slots.start >= n_slots.max(1) {
            return Ok(None);
        }
        let mut delta = Delta::new(self.n_emissions);
        for at in slots.start..slots.end.min(n_slots) {
            let (side, slot) = (at % 2, (at / 2) as u32);
            if self.sides[side].get(slot).is_some() {
                delta.add(side, &self.sides[side], &self.keys, slot, SlotChange::Row);
            }
        }
        delta.finish().map(Some)
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        log::read(delta, |logged| match logged {
            Logged::Counter(n) => {
                self.n_emissions = n;
                self.n_logged = n;
            }
            Logged::Row { side, slot, key, mut waiting, bytes } => {
                waiting.key = self.keys.get_or_insert(key).0;
                self.hold(waiting.key);
                if let Some(replaced) = self.sides[side].restore(slot, waiting, bytes) {
                    self.release(replaced);
                }
            }
            Logged::Matched { side, slot } => self.sides[side].restore_matched(slot),
            Logged::Empty { side, slot } => {
                if let Some(key) = self.sides[side].restore_empty(slot) {
                    self.release(key);
                }
            }
        })
    }

    fn state_size(&self) -> StateSize {
        StateSize {
            rows: self.sides.iter().map(WaitingRows::len).sum(),
            bytes: self.keys.size_bytes()
                + self.n_of_key.capacity() * size_of::<u32>()
                + self.sides.iter().map(WaitingRows::size_bytes).sum::<usize>(),
        }
    }
}

impl std::fmt::Debug for IntervalJoinSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntervalJoinSpec").finish_non_exhaustive()
    }
}
