//! Byte strings to dense ids and back.

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::RowArena;

/// A set of keys with a dense id each. Ids are used again after removal.
#[derive(Debug)]
pub struct KeyIndex {
    keys: RowArena,
    slots: HashTable<Slot>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    id: u32,
}

/// Spreads a stored 32-bit hash over the 64 bits that the table looks at.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Default for KeyIndex {
    fn default() -> Self {
        Self { keys: RowArena::default(), slots: HashTable::new(), hasher: RandomState::with_seeds(5, 6, 7, 8) }
    }
}

impl KeyIndex {
    fn hash(&self, key: &[u8]) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    /// The id of a key, if it is known.
    pub fn get(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hash(key);
        self.slots.find(spread(hash), |s| s.hash == hash && self.keys.get(s.id) == key).map(|s| s.id)
    }

    /// The id of a key, and whether it is new.
    pub fn get_or_insert(&mut self, key: &[u8]) -> (u32, bool) {
        let hash = self.hash(key);
        let (keys, slots) = (&self.keys, &mut self.slots);
        match slots.entry(spread(hash), |s| s.hash == hash && keys.get(s.id) == key, |s| spread(s.hash)) {
            Entry::Occupied(entry) => (entry.get().id, false),
            Entry::Vacant(entry) => {
                let id = self.keys.insert(key);
                entry.insert(Slot { hash, id });
                (id, true)
            }
        }
    }

    /// The key of a live id.
    pub fn key(&self, id: u32) -> &[u8] {
        self.keys.get(id)
    }

    /// Whether an id is live.
    pub fn contains_id(&self, id: u32) -> bool {
        self.keys.contains(id)
    }

    /// Forgets a live id.
    pub fn remove(&mut self, id: u32) {
        let hash = self.hash(self.keys.get(id));
        if let Ok(entry) = self.slots.find_entry(spread(hash), |s| s.id == id) {
            entry.remove();
            self.keys.remove(id);
        }
    }

    /// All live ids, in no order.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().map(|s| s.id)
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes() + self.slots.capacity() * (size_of::<Slot>() + 1)
    }
}
