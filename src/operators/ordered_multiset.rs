//! Values with weights by group, in order: what min, max, DISTINCT and rows of double keys are kept in.
//!
//! One tree for all groups, not one for each: no heap object per group, and groups that are handled in order lie together.

use std::collections::BTreeMap;

/// A multiset of values per group. The default value must be the smallest of its type.
///
/// Weights may be negative for a while; a value of weight 0 is forgotten.
#[derive(Debug)]
pub(super) struct OrderedMultiset<V> {
    weights: BTreeMap<(u32, V), i64>,
}

impl<V: Ord + Default> Default for OrderedMultiset<V> {
    fn default() -> Self {
        Self { weights: BTreeMap::new() }
    }
}

impl<V: Ord + Clone + Default> OrderedMultiset<V> {
    /// Adds `weight` to a value and returns its weight before and after.
    pub fn update(&mut self, group: u32, value: V, weight: i64) -> (i64, i64) {
        use std::collections::btree_map::Entry;
        match self.weights.entry((group, value)) {
            Entry::Vacant(_) if weight == 0 => (0, 0),
            Entry::Vacant(entry) => {
                entry.insert(weight);
                (0, weight)
            }
            Entry::Occupied(mut entry) => {
                let before = *entry.get();
                let after = before.wrapping_add(weight);
                match after {
                    0 => entry.remove(),
                    _ => entry.insert(after),
                };
                (before, after)
            }
        }
    }

    /// The values of a group with their weights, ascending.
    pub fn values(&self, group: u32) -> impl DoubleEndedIterator<Item = (&V, i64)> {
        let start = (group, V::default());
        // Ids are dense, so the largest possible one is never in use.
        let end = (group.saturating_add(1), V::default());
        self.weights.range(start..end).map(|((_, value), weight)| (value, *weight))
    }

    /// The weight of a value; 0 if it is not there.
    pub fn weight(&self, group: u32, value: &V) -> i64 {
        self.weights.get(&(group, value.clone())).copied().unwrap_or_default()
    }

    /// The smallest value that is present.
    pub fn min(&self, group: u32) -> Option<&V> {
        self.values(group).find(|(_, weight)| *weight > 0).map(|(value, _)| value)
    }

    /// The greatest value that is present.
    pub fn max(&self, group: u32) -> Option<&V> {
        self.values(group).rfind(|(_, weight)| *weight > 0).map(|(value, _)| value)
    }

    /// Whether a group has no value, not even one of negative weight.
    pub fn is_group_empty(&self, group: u32) -> bool {
        self.values(group).next().is_none()
    }

    /// Forgets all values of a group.
    pub fn remove_group(&mut self, group: u32) {
        loop {
            let Some(value) = self.values(group).next().map(|(value, _)| value.clone()) else { return };
            self.weights.remove(&(group, value));
        }
    }

    /// Memory held, in bytes, without what values hold outside the tree. Nodes of a tree are about three quarters full.
    pub fn size_bytes(&self) -> usize {
        self.weights.len() * (size_of::<(u32, V)>() + size_of::<i64>()) * 4 / 3
    }
}
