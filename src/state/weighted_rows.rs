//! Rows with weights under dense key ids: what indexes over tables share.

use ahash::RandomState;
use hashbrown::HashTable;

use super::RowArena;

const NONE: u32 = u32::MAX;

/// A row under a key: a link of its key's list. Its index is the row's id in the arena.
///
/// Packed, because there is one for every row of every join.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Node {
    weight: i64,
    key: u32,
    previous: u32,
    next: u32,
}

const UNUSED: Node = Node { weight: 0, key: NONE, previous: NONE, next: NONE };

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    row: u32,
}

/// What an update did to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowUpdate {
    /// The row's id; no longer valid when `after` is 0.
    pub row: u32,
    /// The weight before.
    pub before: i64,
    /// The weight after.
    pub after: i64,
}

/// A Z-set of rows under each of the keys of some [`KeyIndex`](super::KeyIndex), which several such sets may share.
///
/// Updates take constant time, also for a key with very many rows. Ids of rows are dense and used again after removal.
/// Weights may be negative for a while: a disappearance may arrive before its appearance.
#[derive(Debug)]
pub struct WeightedRows {
    /// By key id: the first row of its list.
    heads: Vec<u32>,
    rows: RowArena,
    nodes: Vec<Node>,
    slots: HashTable<Slot>,
    hasher: RandomState,
}

fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Default for WeightedRows {
    fn default() -> Self {
        Self {
            heads: Vec::new(),
            rows: RowArena::default(),
            nodes: Vec::new(),
            slots: HashTable::new(),
            hasher: RandomState::with_seeds(9, 10, 11, 12),
        }
    }
}

impl WeightedRows {
    /// Adds `weight` to a row under a key. A row of weight 0 is forgotten.
    pub fn update(&mut self, key: u32, row: &[u8], weight: i64) -> RowUpdate {
        let hash = self.hasher.hash_one((key, row)) as u32;
        let found = self.slots.find_entry(spread(hash), |s| {
            s.hash == hash && self.nodes[s.row as usize].key == key && self.rows.get(s.row) == row
        });
        match found {
            Ok(entry) => {
                let row = entry.get().row;
                let node = &mut self.nodes[row as usize];
                let before = node.weight;
                let after = before.wrapping_add(weight);
                node.weight = after;
                if after == 0 {
                    entry.remove();
                    self.unlink(row);
                }
                RowUpdate { row, before, after }
            }
            Err(_) if weight == 0 => RowUpdate { row: NONE, before: 0, after: 0 },
            Err(_) => RowUpdate { row: self.link(key, hash, row, weight), before: 0, after: weight },
        }
    }

    fn link(&mut self, key: u32, hash: u32, row: &[u8], weight: i64) -> u32 {
        if self.heads.len() <= key as usize {
            self.heads.resize(key as usize + 1, NONE);
        }
        let head = self.heads[key as usize];
        let id = self.rows.insert(row);
        if self.nodes.len() <= id as usize {
            self.nodes.resize(id as usize + 1, UNUSED);
        }
        self.nodes[id as usize] = Node { weight, key, previous: NONE, next: head };
        if head != NONE {
            self.nodes[head as usize].previous = id;
        }
        self.heads[key as usize] = id;
        self.slots.insert_unique(spread(hash), Slot { hash, row: id }, |s| spread(s.hash));
        id
    }

    fn unlink(&mut self, id: u32) {
        let Node { key, previous, next, .. } = std::mem::replace(&mut self.nodes[id as usize], UNUSED);
        if previous == NONE {
            self.heads[key as usize] = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        self.rows.remove(id);
    }

    /// The ids of the rows under a key, in no order.
    pub fn ids_of(&self, key: u32) -> impl Iterator<Item = u32> {
        let mut at = self.heads.get(key as usize).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let node = self.nodes.get(at as usize)?;
            Some(std::mem::replace(&mut at, node.next))
        })
    }

    /// The ids of all rows, in no order.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().map(|s| s.row)
    }

    /// The bytes of a live row.
    pub fn row(&self, id: u32) -> &[u8] {
        self.rows.get(id)
    }

    /// The weight of a live row.
    pub fn weight(&self, id: u32) -> i64 {
        self.nodes[id as usize].weight
    }

    /// The key of a live row.
    pub fn key_of(&self, id: u32) -> u32 {
        self.nodes[id as usize].key
    }

    /// Whether a key has rows.
    pub fn contains_key(&self, key: u32) -> bool {
        self.heads.get(key as usize).is_some_and(|head| *head != NONE)
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
        self.rows.size_bytes()
            + self.heads.capacity() * size_of::<u32>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.slots.capacity() * (size_of::<Slot>() + 1)
    }
}
