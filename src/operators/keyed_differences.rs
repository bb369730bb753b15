//! What `changes` and `upsert` share: a table's rows by key, compared with the row last handed on.
//!
//! Stored is the row last handed on and, where the table's rows under a key differ from just that row, a Z-set with the
//! difference. So a key at rest costs one row. After a restore no row is *confirmed*: the recomputed table hands all its
//! rows in again, and what it does not hand in has disappeared while nobody looked.

mod forget;
mod gone;
mod logged;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use smallvec::SmallVec;

use super::changes::KeyText;
use super::ordered_multiset::OrderedMultiset;
use super::row_codec::{EncodedRows, RowCodec};
use super::{BucketEdge, EpochContext, OperatorError};
use crate::state::{KeyIndex, RowArena};
use crate::stream::{ChangeBatch, Order};

const NONE: u32 = u32::MAX;

type RowBytes = SmallVec<[u8; 16]>;

/// The rows of a keyed table and what was handed on of them.
pub(super) struct KeyedDifferences {
    key_codec: RowCodec,
    rest_codec: RowCodec,
    delta_schema: SchemaRef,
    keys: KeyIndex,
    /// By key id.
    entries: Vec<Entry>,
    /// The rows last handed on, without their keys.
    rows: RowArena,
    /// By key id: what the table's rows have besides, or instead of, the confirmed row.
    extra: OrderedMultiset<RowBytes>,
    /// Keys to compare as soon as rows may be handed on, and since when (clock, ms) they have been stable; the oldest first.
    /// An entry of an older time than the key's own is void.
    waiting: VecDeque<(u32, i64)>,
    /// For how long a key must be stable before it is handed on, in milliseconds of the wall clock.
    settle_ms: i64,
    /// What the last call handed on; the rows it replaced are still in the arena.
    handed: Vec<Transition>,
    /// Keys handed on since the last delta.
    unlogged: Vec<u32>,
    /// Keys forgotten since the last delta.
    forgotten: Vec<Vec<u8>>,
    /// Keys that have gone, and at which watermark (ms); the oldest first. An entry of another watermark than the key's own
    /// is void.
    gone: VecDeque<(u32, i64)>,
    /// At which watermark (ms) a key leaves that went at another; none = it stays known.
    gone_until: Option<BucketEdge>,
    n_double: u64,
    /// The encoding of a row of nulls, for rows that do not exist.
    null_rest: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// How often the key was handed on.
    revision: i64,
    /// Since when (clock, ms) a waiting key has been stable; of a key that has gone, the watermark (ms) at which it went.
    since: i64,
    /// The row last handed on, in the arena.
    last: u32,
    /// The head of this batch's rows of the key.
    head: u32,
    /// Whether the table is known to have the row last handed on.
    is_confirmed: bool,
    has_extra: bool,
    is_waiting: bool,
    is_unlogged: bool,
    is_double: bool,
}

const NEW_ENTRY: Entry = Entry {
    revision: 0,
    since: 0,
    last: NONE,
    head: NONE,
    is_confirmed: false,
    has_extra: false,
    is_waiting: false,
    is_unlogged: false,
    is_double: false,
};

/// A net change of one key. Rows are in the arena until the next epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transition {
    pub key: u32,
    /// How often the key has been handed on, this time included.
    pub revision: i64,
    before: u32,
    after: u32,
}

impl Transition {
    /// Whether the key had a row.
    pub fn had_row(&self) -> bool {
        self.before != NONE
    }

    /// Whether the key has a row now.
    pub fn has_row(&self) -> bool {
        self.after != NONE
    }
}

/// Which row of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
    /// The row after, or the row before where there is none.
    Either,
}

impl KeyedDifferences {
    /// No rows yet. A key's change leaves when it has been stable for `settle_ms` of the wall clock.
    pub fn new(schema: &SchemaRef, key: Vec<usize>, settle_ms: i64) -> Result<Self, OperatorError> {
        let rest: Vec<usize> = (0..schema.fields().len()).filter(|c| !key.contains(c)).collect();
        let mut fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        fields.push(Field::new("_present", DataType::Boolean, false));
        fields.push(Field::new("_revision", DataType::Int64, false));
        let nulls: Vec<ArrayRef> = rest.iter().map(|c| new_null_array(schema.field(*c).data_type(), 1)).collect();
        let rest_codec = RowCodec::new(schema, rest)?;
        Ok(Self {
            key_codec: RowCodec::new(schema, key)?,
            null_rest: rest_codec.encode_arrays(&nulls)?.get(0).to_vec(),
            rest_codec,
            delta_schema: Arc::new(Schema::new(fields)),
            keys: KeyIndex::default(),
            entries: Vec::new(),
            rows: RowArena::default(),
            extra: OrderedMultiset::default(),
            waiting: VecDeque::new(),
            settle_ms,
            handed: Vec::new(),
            unlogged: Vec::new(),
            forgotten: Vec::new(),
            gone: VecDeque::new(),
            gone_until: None,
            n_double: 0,
        })
    }

    /// Takes changes of the table in. Returns what differs from the rows last handed on, as far as the epoch may hand on; the
    /// rest waits, and goes first in the next.
    pub fn process(&mut self, input: &ChangeBatch, ctx: &EpochContext) -> Result<Vec<Transition>, OperatorError> {
        self.release();
        self.forget_gone(ctx.watermark_before());
        let (keys, rests) = (self.key_codec.encode(&input.rows)?, self.rest_codec.encode(&input.rows)?);
        let (touched, next) = self.group_rows(input.len(), &keys);
        let max = ctx.may_hand_over();
        let mut transitions = Vec::new();
        if self.waiting.is_empty() && self.settle_ms == 0 && touched.len() <= max {
            let mut scratch = Vec::new();
            for key in touched {
                transitions.extend(self.step(key, input, &rests, &next, &mut scratch));
                self.look_at(key, ctx.watermark_after());
            }
        } else {
            for key in touched {
                self.gather(key, input, &rests, &next, ctx.clock_ms);
            }
            while let Some((key, since)) = self.waiting.front().copied() {
                let entry = self.entries[key as usize];
                let is_void = !entry.is_waiting || entry.since != since;
                if !is_void && (transitions.len() >= max || self.settled_at(since) > ctx.clock_ms) {
                    break;
                }
                self.waiting.pop_front();
                if is_void {
                    continue;
                }
                self.entries[key as usize].is_waiting = false;
                self.spread(key);
                transitions.extend(self.settle(key));
                self.look_at(key, ctx.watermark_after());
            }
        }
        self.handed.clone_from(&transitions);
        Ok(transitions)
    }

    /// When (clock, ms) a key that has been stable since an instant may be handed on.
    fn settled_at(&self, since: i64) -> i64 {
        if self.settle_ms == 0 { i64::MIN } else { since.saturating_add(self.settle_ms) }
    }

    /// When (clock, ms) a waiting key may be handed on.
    pub fn next_hand_over(&self) -> Option<i64> {
        self.waiting.front().map(|(_, since)| self.settled_at(*since))
    }

    /// How many keys wait, those counted twice that changed again while they had to settle.
    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes back what the last call handed on: these keys wait again, before all others.
    pub fn take_back(&mut self) {
        for transition in std::mem::take(&mut self.handed).into_iter().rev() {
            let entry = &mut self.entries[transition.key as usize];
            entry.last = transition.before;
            entry.revision -= 1;
            entry.is_confirmed = false;
            entry.is_waiting = true;
            entry.is_unlogged = false;
            self.waiting.push_front((transition.key, entry.since));
            if transition.after != NONE {
                let row = RowBytes::from_slice(self.rows.get(transition.after));
                self.rows.remove(transition.after);
                self.extra.update(transition.key, row, 1);
                self.entries[transition.key as usize].has_extra = !self.extra.is_group_empty(transition.key);
            }
        }
        let Self { unlogged, entries, .. } = self;
        unlogged.retain(|key| entries[*key as usize].is_unlogged);
    }

    /// Forgets the rows that the last call replaced.
    fn release(&mut self) {
        for transition in self.handed.drain(..).filter(|t| t.before != NONE) {
            self.rows.remove(transition.before);
        }
    }

    /// Links this batch's rows by key: the touched keys, and for each row the next one of its key.
    fn group_rows(&mut self, n_rows: usize, keys: &EncodedRows) -> (Vec<u32>, Vec<u32>) {
        let ids: Vec<u32> = (0..n_rows).map(|row| self.key_or_insert(keys.get(row))).collect();
        let (mut touched, mut next) = (Vec::new(), Vec::with_capacity(n_rows));
        for (row, key) in ids.into_iter().enumerate() {
            let entry = &mut self.entries[key as usize];
            if entry.head == NONE {
                touched.push(key);
            }
            next.push(std::mem::replace(&mut entry.head, row as u32));
        }
        (touched, next)
    }

    fn key_or_insert(&mut self, key: &[u8]) -> u32 {
        let (id, is_new) = self.keys.get_or_insert(key);
        if is_new {
            if self.entries.len() <= id as usize {
                self.entries.resize(id as usize + 1, NEW_ENTRY);
            }
            self.entries[id as usize] = NEW_ENTRY;
        }
        id
    }

    /// Keeps a key's rows of this batch until they may be handed on.
    fn gather(&mut self, key: u32, input: &ChangeBatch, rests: &EncodedRows, next: &[u32], clock_ms: i64) {
        self.wait(key, clock_ms);
        let mut row = std::mem::replace(&mut self.entries[key as usize].head, NONE);
        while row != NONE {
            let (rest, weight) = (rests.get(row as usize), input.weights[row as usize]);
            let entry = &mut self.entries[key as usize];
            let is_last = entry.last != NONE && self.rows.get(entry.last) == rest;
            if is_last && weight == 1 && !entry.is_confirmed && !entry.has_extra {
                entry.is_confirmed = true;
            } else {
                self.extra.update(key, RowBytes::from_slice(rest), weight);
                entry.has_extra = true;
            }
            row = next[row as usize];
        }
        self.entries[key as usize].has_extra = !self.extra.is_group_empty(key);
    }

    /// Puts a key among those that wait; one that must settle first goes to the end of the line with every change.
    fn wait(&mut self, key: u32, since: i64) {
        let entry = &mut self.entries[key as usize];
        let was_waiting = std::mem::replace(&mut entry.is_waiting, true);
        if !was_waiting || (self.settle_ms != 0 && entry.since != since) {
            entry.since = since;
            self.waiting.push_back((key, since));
        }
    }

    /// Moves the confirmed row of a key among its extra rows, which are then all that the table has.
    fn spread(&mut self, key: u32) {
        let entry = &mut self.entries[key as usize];
        if entry.is_confirmed && entry.has_extra && entry.last != NONE {
            entry.is_confirmed = false;
            self.extra.update(key, RowBytes::from_slice(self.rows.get(entry.last)), 1);
        }
    }

    /// Compares a key whose rows are spread, or that has just its confirmed row, with the row last handed on.
    fn settle(&mut self, key: u32) -> Option<Transition> {
        let entry = self.entries[key as usize];
        if entry.is_confirmed {
            self.mark_double(key, false);
            return None;
        }
        let visible = self.extra.max(key).cloned();
        if let Some(visible) = &visible {
            let n_present = self.extra.values(key).rev().filter(|(_, w)| *w > 0).take(2).map(|(_, w)| w.min(2));
            let is_double = n_present.sum::<i64>() > 1;
            self.mark_double(key, is_double);
            self.extra.update(key, visible.clone(), -1);
        } else {
            self.mark_double(key, false);
        }
        let entry = &mut self.entries[key as usize];
        entry.has_extra = !self.extra.is_group_empty(key);
        entry.is_confirmed = visible.is_some();
        self.hand_on(key, visible.as_deref())
    }

    /// Handles a key at once whose rows of this batch are few, without going through the tree.
    fn step<'a>(
        &mut self,
        key: u32,
        input: &ChangeBatch,
        rests: &'a EncodedRows,
        next: &[u32],
        scratch: &mut Vec<(&'a [u8], i64)>,
    ) -> Option<Transition> {
        let entry = &mut self.entries[key as usize];
        let mut row = std::mem::replace(&mut entry.head, NONE);
        let entry = *entry;
        scratch.clear();
        while row != NONE {
            scratch.push((rests.get(row as usize), input.weights[row as usize]));
            row = next[row as usize];
        }
        if scratch.len() > 1 {
            scratch.sort_unstable_by_key(|(rest, _)| *rest);
            scratch.dedup_by(|later, kept| {
                let is_same = later.0 == kept.0;
                if is_same {
                    kept.1 = kept.1.wrapping_add(later.1);
                }
                is_same
            });
        }
        let last = if entry.last == NONE { None } else { Some(self.rows.get(entry.last)) };
        scratch.retain(|(_, weight)| *weight != 0);
        let plain = match (last, scratch.as_slice()) {
            _ if entry.has_extra => None,
            (_, []) => return None,
            (None, [(new, 1)]) => Some(Some(*new)),
            (Some(last), [(old, -1)]) if last == *old => Some(None),
            (Some(last), [(new, 1), (old, -1)] | [(old, -1), (new, 1)]) if last == *old => Some(Some(*new)),
            _ => None,
        };
        if let Some(now) = plain {
            self.entries[key as usize].is_confirmed = now.is_some();
            return self.hand_on(key, now);
        }
        for (rest, weight) in scratch.iter() {
            self.extra.update(key, RowBytes::from_slice(rest), *weight);
        }
        self.entries[key as usize].has_extra = true;
        self.spread(key);
        self.settle(key)
    }

    /// Makes `now` the row last handed on, if it is another one.
    fn hand_on(&mut self, key: u32, now: Option<&[u8]>) -> Option<Transition> {
        let entry = &mut self.entries[key as usize];
        let before = entry.last;
        let is_same = match now {
            Some(now) => before != NONE && self.rows.get(before) == now,
            None => before == NONE,
        };
        if is_same {
            return None;
        }
        entry.last = now.map_or(NONE, |now| self.rows.insert(now));
        entry.revision += 1;
        if !std::mem::replace(&mut entry.is_unlogged, true) {
            self.unlogged.push(key);
        }
        Some(Transition { key, revision: entry.revision, before, after: entry.last })
    }

    fn mark_double(&mut self, key: u32, is_double: bool) {
        let entry = &mut self.entries[key as usize];
        self.n_double = self.n_double + u64::from(is_double) - u64::from(entry.is_double);
        entry.is_double = is_double;
    }

    /// Sorts transitions by (key as text, 0, revision) and returns these bytes.
    pub fn sort(
        &self,
        transitions: Vec<Transition>,
        key_text: &KeyText,
    ) -> Result<(Vec<Transition>, Order), OperatorError> {
        let keys = self.key_codec.decode(transitions.iter().map(|t| self.keys.key(t.key)))?;
        // The key of a table of one row has no columns, and is written as an empty list.
        let texts = match keys.is_empty() {
            true => BinaryArray::from_iter_values(transitions.iter().map(|_| b"[]")),
            false => key_text(&keys)?,
        };
        if texts.len() != transitions.len() {
            return Err(OperatorError::Function(format!("{} keys, but {} texts", transitions.len(), texts.len())));
        }
        let mut sorted: Vec<(Vec<u8>, Transition)> =
            transitions.into_iter().enumerate().map(|(idx, t)| (order_key(texts.value(idx), t.revision), t)).collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let order = Order::Key(BinaryArray::from_iter_values(sorted.iter().map(|(bytes, _)| bytes)));
        Ok((sorted.into_iter().map(|(_, t)| t).collect(), order))
    }

    /// The table's columns of one side of transitions; all but the key columns are null where that side has no row.
    pub fn columns(&self, transitions: &[Transition], side: Side) -> Result<Vec<ArrayRef>, OperatorError> {
        let row = |t: &Transition| match side {
            Side::Before => t.before,
            Side::After => t.after,
            Side::Either if t.after == NONE => t.before,
            Side::Either => t.after,
        };
        self.decode(transitions.iter().map(|t| (t.key, row(t))))
    }

    fn decode(&self, rows: impl Iterator<Item = (u32, u32)> + Clone) -> Result<Vec<ArrayRef>, OperatorError> {
        let rest = |row: u32| if row == NONE { self.null_rest.as_slice() } else { self.rows.get(row) };
        self.decode_bytes(rows.map(|(key, row)| (self.keys.key(key), rest(row))))
    }

    /// The table's columns of rows given as the bytes of key and rest.
    fn decode_bytes<'a>(
        &self,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let keys = self.key_codec.decode(rows.clone().map(|(key, _)| key))?;
        let rests = self.rest_codec.decode(rows.map(|(_, rest)| rest))?;
        let codecs = [(&self.key_codec, keys), (&self.rest_codec, rests)];
        let mut columns: Vec<(usize, ArrayRef)> =
            codecs.into_iter().flat_map(|(codec, arrays)| codec.columns().iter().copied().zip(arrays)).collect();
        columns.sort_unstable_by_key(|(column, _)| *column);
        Ok(columns.into_iter().map(|(_, array)| array).collect())
    }

    /// How many keys have more than one row, as of what was handed on last.
    pub fn n_double(&self) -> u64 {
        self.n_double
    }

    /// Keys known: those with rows, and those that have gone and may come again.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.rows.size_bytes()
            + self.extra.size_bytes()
            + self.entries.capacity() * size_of::<Entry>()
            + self.waiting.capacity() * size_of::<(u32, i64)>()
            + self.gone.capacity() * size_of::<(u32, i64)>()
            + self.handed.capacity() * size_of::<Transition>()
            + self.unlogged.capacity() * size_of::<u32>()
    }
}

/// Where a transition stands: (key as text, 0, revision).
fn order_key(key: &[u8], revision: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 9);
    bytes.extend_from_slice(key);
    bytes.push(0);
    bytes.extend_from_slice(&revision.to_be_bytes());
    bytes
}
