//! `min` and `max` over any type that sorts.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::values::{Packed, Packing, RowBytes, ValueCodec};
use super::{Kernel, Rows};
use crate::operators::OperatorError;
use crate::operators::ordered_multiset::OrderedMultiset;

/// `max` if `greatest`, else `min`.
pub(super) fn extreme(argument: &DataType, greatest: bool, rows: Rows) -> Result<Box<dyn Kernel>, OperatorError> {
    Ok(match Packing::of(argument) {
        Packing::Word => Box::new(Extreme::<u64>::new(argument, greatest, rows)?),
        Packing::DoubleWord => Box::new(Extreme::<u128>::new(argument, greatest, rows)?),
        Packing::Bytes => Box::new(Extreme::<RowBytes>::new(argument, greatest, rows)?),
    })
}

/// The best value of each group and, where rows may disappear, all values that could become it.
struct Extreme<V> {
    codec: ValueCodec,
    greatest: bool,
    rows: Rows,
    bests: Vec<Option<V>>,
    /// Empty where rows are only appended.
    values: OrderedMultiset<V>,
}

impl<V: Packed> Extreme<V> {
    fn new(argument: &DataType, greatest: bool, rows: Rows) -> Result<Self, OperatorError> {
        let codec = ValueCodec::new(argument)?;
        Ok(Self { codec, greatest, rows, bests: Vec::new(), values: OrderedMultiset::default() })
    }

    fn keep_best(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<(), OperatorError> {
        let encoded = self.codec.encode(values)?;
        for (row, (group, weight)) in groups.iter().zip(weights).enumerate() {
            if *weight <= 0 {
                continue;
            }
            let (best, new) = (&mut self.bests[*group as usize], encoded.row(row).data());
            let is_better = best.as_ref().is_none_or(|best| {
                let order = best.compare(new);
                if self.greatest { order.is_lt() } else { order.is_gt() }
            });
            if is_better {
                *best = Some(V::pack(new));
            }
        }
        Ok(())
    }

    fn keep_all(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<(), OperatorError> {
        let updates = self.codec.sorted::<V>(groups, values, weights)?;
        for equal in updates.chunk_by(|a, b| (a.group, &a.value) == (b.group, &b.value)) {
            let weight = equal.iter().fold(0i64, |sum, u| sum.wrapping_add(u.weight));
            let (Some(first), true) = (equal.first(), weight != 0) else { continue };
            let (before, after) = self.values.update(first.group, first.value.clone(), weight);
            let best = &mut self.bests[first.group as usize];
            let is_better = |best: &V| if self.greatest { first.value > *best } else { first.value < *best };
            if before <= 0 && after > 0 && best.as_ref().is_none_or(is_better) {
                *best = Some(first.value.clone());
            } else if before > 0 && after <= 0 && best.as_ref() == Some(&first.value) {
                let next = if self.greatest { self.values.max(first.group) } else { self.values.min(first.group) };
                *best = next.cloned();
            }
        }
        Ok(())
    }
}

impl<V: Packed> Kernel for Extreme<V> {
    fn resize(&mut self, n_groups: usize) {
        self.bests.resize(n_groups.max(self.bests.len()), None);
    }

    fn update(&mut self, groups: &[u32], argument: Option<&ArrayRef>, weights: &[i64]) -> Result<(), OperatorError> {
        match (argument, self.rows) {
            (None, _) => Ok(()),
            (Some(values), Rows::Retractable) => self.keep_all(groups, values, weights),
            (Some(values), Rows::AppendOnly) => self.keep_best(groups, values, weights),
        }
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError> {
        self.codec.decode(groups.iter().map(|group| self.bests[*group as usize].as_ref()))
    }

    fn is_zero(&self, group: u32) -> bool {
        self.bests[group as usize].is_none() && self.values.is_group_empty(group)
    }

    fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            self.bests[*group as usize] = None;
            if self.rows == Rows::Retractable {
                self.values.remove_group(*group);
            }
        }
    }

    fn write(&self, group: u32, out: &mut Vec<u8>) {
        if let Some(best) = &self.bests[group as usize] {
            self.codec.write(best, out);
        }
    }

    fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        self.bests[group as usize] = if bytes.is_empty() { None } else { Some(self.codec.read(bytes)?) };
        Some(())
    }

    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        let other: V = self.codec.read(bytes)?;
        let best = &mut self.bests[group as usize];
        let is_better = |best: &V| if self.greatest { other > *best } else { other < *best };
        if best.as_ref().is_none_or(is_better) {
            *best = Some(other);
        }
        Some(())
    }

    fn size_bytes(&self) -> usize {
        self.values.size_bytes() + self.bests.capacity() * size_of::<Option<V>>()
    }
}
