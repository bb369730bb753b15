//! Rows with weights, by key: the index behind windows over tables.

use super::{KeyIndex, WeightedRows};

/// A Z-set of rows under each key. Every operation takes constant time, also for a key with very many rows.
///
/// Weights may be negative for a while: a disappearance may arrive before its appearance.
#[derive(Debug, Default)]
pub struct ZSetIndex {
    keys: KeyIndex,
    rows: WeightedRows,
}

impl ZSetIndex {
    /// Adds `weight` to a row under a key and returns its weight before and after. A row of weight 0 is forgotten.
    pub fn update(&mut self, key: &[u8], row: &[u8], weight: i64) -> (i64, i64) {
        let (key, _) = self.keys.get_or_insert(key);
        let update = self.rows.update(key, row, weight);
        if update.after == 0 && !self.rows.contains_key(key) {
            self.keys.remove(key);
        }
        (update.before, update.after)
    }

    /// The rows under a key with their weights, in no order.
    pub fn rows(&self, key: &[u8]) -> impl Iterator<Item = (&[u8], i64)> {
        let key = self.keys.get(key);
        key.into_iter().flat_map(|k| self.rows.ids_of(k)).map(|id| (self.rows.row(id), self.rows.weight(id)))
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
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes() + self.rows.size_bytes()
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
