//! Rows that wait for matches: by key and time, by the time until which they wait, and as they are logged.

pub(super) mod log;

use std::collections::{BTreeMap, BTreeSet};

use crate::state::RowArena;

/// No row.
pub(in crate::operators) const NONE: u32 = u32::MAX;

/// A row that waits. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::operators) struct Waiting {
    /// The id of its key.
    pub(in crate::operators) key: u32,
    /// The event time by which it is found.
    pub(in crate::operators) time: i64,
    /// The last time at which a match may come.
    pub(in crate::operators) until: i64,
    /// The least event time among its columns.
    pub(in crate::operators) oldest: i64,
    /// Whether it has had a match.
    pub(in crate::operators) matched: bool,
}

/// A place for a row; used again when the row has left, so that a logged row is replaced by the next one in its place.
#[derive(Clone, Copy, Debug)]
struct Slot {
    waiting: Waiting,
    /// The id of its bytes; [`NONE`] for an empty slot.
    bytes: u32,
    /// Whether the log does not know the row.
    is_new: bool,
    /// Whether the log holds a row in this slot.
    is_logged: bool,
    is_dirty: bool,
}

/// What a delta says of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operators) enum SlotChange {
    /// It holds this row.
    Row,
    /// Its row has had a match.
    Matched,
    /// It is empty.
    Empty,
}

/// Rows that wait.
#[derive(Debug, Default)]
pub(in crate::operators) struct WaitingRows {
    bytes: RowArena,
    slots: Vec<Slot>,
    /// Empty slots; none while it is not known which are (after a restore).
    free: Option<Vec<u32>>,
    by_time: BTreeSet<(u32, i64, u32)>,
    by_until: BTreeSet<(i64, u32)>,
    /// How many rows have a least event time.
    by_oldest: BTreeMap<i64, u32>,
    dirty: Vec<u32>,
}

impl WaitingRows {
    /// The number of rows.
    pub(in crate::operators) fn len(&self) -> usize {
        self.by_until.len()
    }

    /// One more than the greatest slot ever used.
    pub(in crate::operators) fn n_slots(&self) -> usize {
        self.slots.len()
    }

    /// The row in a slot, if there is one.
    pub(in crate::operators) fn get(&self, slot: u32) -> Option<&Waiting> {
        self.slots.get(slot as usize).filter(|s| s.bytes != NONE).map(|s| &s.waiting)
    }

    /// The bytes of the row in a slot; empty for an empty slot.
    pub(in crate::operators) fn bytes(&self, slot: u32) -> &[u8] {
        match self.slots.get(slot as usize) {
            Some(s) if s.bytes != NONE => self.bytes.get(s.bytes),
            _ => &[],
        }
    }

    /// The slots of a key's rows with times in a range, both ends included.
    pub(in crate::operators) fn between(&self, key: u32, from: i64, until: i64) -> impl Iterator<Item = u32> {
        let range = (from <= until).then(|| self.by_time.range((key, from, 0)..=(key, until, NONE)));
        range.into_iter().flatten().map(|(_, _, slot)| *slot)
    }

    /// All rows by the time until which they wait, and their slots.
    pub(in crate::operators) fn by_until(&self) -> impl Iterator<Item = (i64, u32)> {
        self.by_until.iter().copied()
    }

    /// The least event time of any row.
    pub(in crate::operators) fn oldest(&self) -> Option<i64> {
        self.by_oldest.keys().next().copied()
    }

    /// Puts a row into an empty slot.
    pub(in crate::operators) fn insert(&mut self, waiting: Waiting, bytes: &[u8]) {
        let slots = &self.slots;
        let free = self.free.get_or_insert_with(|| {
            (0..slots.len() as u32).filter(|slot| slots[*slot as usize].bytes == NONE).collect()
        });
        let slot = free.pop().unwrap_or(self.slots.len() as u32);
        self.put(slot, waiting, bytes);
        self.slots[slot as usize].is_new = true;
        self.touch(slot);
    }

    /// Notes that a row has had a match.
    pub(in crate::operators) fn set_matched(&mut self, slot: u32) {
        let Some(s) = self.slots.get_mut(slot as usize) else { return };
        if s.bytes != NONE && !std::mem::replace(&mut s.waiting.matched, true) {
            self.touch(slot);
        }
    }

    /// Empties a slot and returns the row's data.
    pub(in crate::operators) fn remove(&mut self, slot: u32) -> Option<Waiting> {
        let removed = self.take_out(slot)?;
        if let Some(free) = &mut self.free {
            free.push(slot);
        }
        self.touch(slot);
        Some(removed)
    }

    fn put(&mut self, slot: u32, waiting: Waiting, bytes: &[u8]) {
        while self.slots.len() <= slot as usize {
            let nothing = Waiting { key: NONE, time: 0, until: 0, oldest: 0, matched: false };
            let empty = Slot { waiting: nothing, bytes: NONE, is_new: false, is_logged: false, is_dirty: false };
            self.slots.push(empty);
        }
        let s = &mut self.slots[slot as usize];
        s.waiting = waiting;
        s.bytes = self.bytes.insert(bytes);
        self.by_time.insert((waiting.key, waiting.time, slot));
        self.by_until.insert((waiting.until, slot));
        *self.by_oldest.entry(waiting.oldest).or_default() += 1;
    }

    fn take_out(&mut self, slot: u32) -> Option<Waiting> {
        let s = self.slots.get_mut(slot as usize).filter(|s| s.bytes != NONE)?;
        let waiting = s.waiting;
        self.bytes.remove(std::mem::replace(&mut s.bytes, NONE));
        self.by_time.remove(&(waiting.key, waiting.time, slot));
        self.by_until.remove(&(waiting.until, slot));
        if let Some(n) = self.by_oldest.get_mut(&waiting.oldest) {
            *n -= 1;
            if *n == 0 {
                self.by_oldest.remove(&waiting.oldest);
            }
        }
        Some(waiting)
    }

    fn touch(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.slots[slot as usize].is_dirty, true) {
            self.dirty.push(slot);
        }
    }

    /// The slots that changed since the last call, and what became of each. From then on the log knows.
    pub(in crate::operators) fn take_changes(&mut self) -> Vec<(u32, SlotChange)> {
        let mut changes = Vec::new();
        for slot in std::mem::take(&mut self.dirty) {
            let s = &mut self.slots[slot as usize];
            s.is_dirty = false;
            let is_live = s.bytes != NONE;
            let change = match (is_live, s.is_new, s.is_logged) {
                (true, true, _) => SlotChange::Row,
                (true, false, _) => SlotChange::Matched,
                (false, _, true) => SlotChange::Empty,
                // It came and left in one epoch.
                (false, _, false) => continue,
            };
            s.is_new = false;
            s.is_logged = is_live;
            changes.push((slot, change));
        }
        changes
    }

    /// Puts a logged row into its slot. Returns the key of the row that it replaces.
    pub(in crate::operators) fn restore(&mut self, slot: u32, waiting: Waiting, bytes: &[u8]) -> Option<u32> {
        let replaced = self.take_out(slot).map(|w| w.key);
        self.put(slot, waiting, bytes);
        self.slots[slot as usize].is_logged = true;
        self.free = None;
        replaced
    }

    /// Notes a logged match; a row that is not there is written behind it as a whole.
    pub(in crate::operators) fn restore_matched(&mut self, slot: u32) {
        if let Some(s) = self.slots.get_mut(slot as usize) {
            s.waiting.matched = true;
        }
    }

    /// Empties a slot as logged. Returns the key of its row.
    pub(in crate::operators) fn restore_empty(&mut self, slot: u32) -> Option<u32> {
        self.free = None;
        let key = self.take_out(slot).map(|w| w.key);
        if let Some(s) = self.slots.get_mut(slot as usize) {
            s.is_logged = false;
        }
        key
    }

    /// Memory held, in bytes.
    pub(in crate::operators) fn size_bytes(&self) -> usize {
        // Nodes of B-trees are filled by two thirds on average.
        let trees = self.by_time.len() * size_of::<(u32, i64, u32)>()
            + self.by_until.len() * size_of::<(i64, u32)>()
            + self.by_oldest.len() * size_of::<(i64, u32)>();
        self.bytes.size_bytes() + self.slots.capacity() * size_of::<Slot>() + trees * 3 / 2
    }
}
