//! Rows with weights, by key: the index behind joins and windows over tables.

use ahash::RandomState;
use hashbrown::HashTable;

use super::{KeyIndex, RowArena};

const NONE: u32 = u32::MAX;

/// A row under a key: a link of its key's list.
#[derive(Clone, Copy, Debug)]
struct Node {
    weight: i64,
    key: u32,
    row: u32,
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    node: u32,
}

fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A Z-set of rows under each key. Every operation takes constant time, also for a key with very many rows.
///
/// Weights may be negative for a while: a disappearance may arrive before its appearance.
#[derive(Debug)]
pub struct ZSetIndex {
    keys: KeyIndex,
    /// By key id: the first node of its list.
    heads: Vec<u32>,
    rows: RowArena,
    nodes: Vec<Node>,
    free_nodes: Vec<u32>,
    slots: HashTable<Slot>,
    hasher: RandomState,
}

impl Default for ZSetIndex {
    fn default() -> Self {
        Self {
            keys: KeyIndex::default(),
            heads: Vec::new(),
            rows: RowArena::default(),
            nodes: Vec::new(),
            free_nodes: Vec::new(),
            slots: HashTable::new(),
            hasher: RandomState::with_seeds(9, 10, 11, 12),
        }
    }
}

impl ZSetIndex {
    /// Adds `weight` to a row under a key and returns its weight before and after. A row of weight 0 is forgotten.
    pub fn update(&mut self, key: &[u8], row: &[u8], weight: i64) -> (i64, i64) {
        let (key_id, new_key) = self.keys.get_or_insert(key);
        if new_key {
            if self.heads.len() <= key_id as usize {
                self.heads.resize(key_id as usize + 1, NONE);
            }
            self.heads[key_id as usize] = NONE;
        }
        let hash = self.hasher.hash_one((key_id, row)) as u32;
        let found = self.slots.find_entry(spread(hash), |s| {
            let node = &self.nodes[s.node as usize];
            s.hash == hash && node.key == key_id && self.rows.get(node.row) == row
        });
        match found {
            Ok(entry) => {
                let node_id = entry.get().node;
                let node = &mut self.nodes[node_id as usize];
                let before = node.weight;
                node.weight += weight;
                let after = node.weight;
                if after == 0 {
                    entry.remove();
                    self.unlink(node_id);
                }
                (before, after)
            }
            Err(_) if weight == 0 => {
                if new_key {
                    self.keys.remove(key_id);
                }
                (0, 0)
            }
            Err(_) => {
                self.link(key_id, hash, row, weight);
                (0, weight)
            }
        }
    }

    fn link(&mut self, key: u32, hash: u32, row: &[u8], weight: i64) {
        let head = self.heads[key as usize];
        let node = Node { weight, key, row: self.rows.insert(row), previous: NONE, next: head };
        let id = match self.free_nodes.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        if head != NONE {
            self.nodes[head as usize].previous = id;
        }
        self.heads[key as usize] = id;
        self.slots.insert_unique(spread(hash), Slot { hash, node: id }, |s| spread(s.hash));
    }

    fn unlink(&mut self, id: u32) {
        let Node { key, row, previous, next, .. } = self.nodes[id as usize];
        if previous == NONE {
            self.heads[key as usize] = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        self.rows.remove(row);
        self.free_nodes.push(id);
        if self.heads[key as usize] == NONE {
            self.keys.remove(key);
        }
    }

    /// The rows under a key with their weights, in no order.
    pub fn rows(&self, key: &[u8]) -> impl Iterator<Item = (&[u8], i64)> {
        let mut at = self.keys.get(key).map_or(NONE, |id| self.heads[id as usize]);
        std::iter::from_fn(move || {
            let node = self.nodes.get(at as usize)?;
            at = node.next;
            Some((self.rows.get(node.row), node.weight))
        })
    }

    /// Whether a key has rows.
    pub fn contains_key(&self, key: &[u8]) -> bool {
        self.keys.get(key).is_some()
    }

    /// All keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.ids().map(|id| self.keys.key(id))
    }

    /// The number of distinct rows over all keys.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.rows.size_bytes()
            + self.heads.capacity() * size_of::<u32>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.free_nodes.capacity() * size_of::<u32>()
            + self.slots.capacity() * (size_of::<Slot>() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_as_a_map_of_maps(ops in prop::collection::vec((0u8..5, 0u8..9, -2i64..3), 1..400)) {
            let mut index = ZSetIndex::default();
            let mut model: BTreeMap<u8, BTreeMap<u8, i64>> = BTreeMap::new();
            for (key, row, weight) in ops {
                let rows = model.entry(key).or_default();
                let entry = rows.entry(row).or_default();
                let before = *entry;
                *entry += weight;
                let after = *entry;
                rows.retain(|_, w| *w != 0);
                prop_assert_eq!(index.update(&[key], &[row], weight), (before, after));
            }
            model.retain(|_, rows| !rows.is_empty());
            prop_assert_eq!(index.len(), model.values().map(BTreeMap::len).sum::<usize>());
            prop_assert_eq!(index.keys().count(), model.len());
            for (key, rows) in model {
                let got: BTreeMap<u8, i64> = index.rows(&[key]).map(|(r, w)| (r[0], w)).collect();
                prop_assert_eq!(got, rows);
            }
        }
    }
}
