//! Aggregates that only count: `count`, `bool_and`, `bool_or`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::error::ArrowError;

use super::{Kernel, split_i64};
use crate::operators::OperatorError;

/// How many rows, or non-null arguments, a group has.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Kernel for Count {
    fn resize(&mut self, n_groups: usize) {
        self.counts.resize(n_groups.max(self.counts.len()), 0);
    }

    fn update(&mut self, groups: &[u32], _argument: Option<&ArrayRef>, weights: &[i64]) -> Result<(), OperatorError> {
        for (group, weight) in groups.iter().zip(weights) {
            let count = &mut self.counts[*group as usize];
            *count = count.wrapping_add(*weight);
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError> {
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(|g| self.counts[*g as usize]))))
    }

    fn is_zero(&self, group: u32) -> bool {
        self.counts[group as usize] == 0
    }

    fn clear(&mut self, groups: &[u32]) {
        groups.iter().for_each(|g| self.counts[*g as usize] = 0);
    }

    fn write(&self, group: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counts[group as usize].to_le_bytes());
    }

    fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        self.counts[group as usize] = split_i64(bytes)?.0;
        Some(())
    }

    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let count = &mut self.counts[group as usize];
        *count = count.wrapping_add(split_i64(bytes)?.0);
        Some(())
    }

    fn size_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}

/// Whether all, or any, of a group's arguments are true; null over none.
#[derive(Debug)]
pub(super) struct Booleans {
    all: bool,
    /// How many arguments are false, and how many true.
    counts: Vec<[i64; 2]>,
}

impl Booleans {
    /// `all` for `bool_and`, else `bool_or`.
    pub fn new(all: bool) -> Self {
        Self { all, counts: Vec::new() }
    }
}

impl Kernel for Booleans {
    fn resize(&mut self, n_groups: usize) {
        self.counts.resize(n_groups.max(self.counts.len()), [0; 2]);
    }

    fn update(&mut self, groups: &[u32], argument: Option<&ArrayRef>, weights: &[i64]) -> Result<(), OperatorError> {
        let Some(values) = argument.and_then(|a| a.as_any().downcast_ref::<BooleanArray>()) else {
            return Err(ArrowError::InvalidArgumentError("argument is not Boolean".into()).into());
        };
        for (row, (group, weight)) in groups.iter().zip(weights).enumerate() {
            if *weight != 0 {
                let count = &mut self.counts[*group as usize][usize::from(values.value(row))];
                *count = count.wrapping_add(*weight);
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError> {
        let value = |group: &u32| {
            let [n_false, n_true] = self.counts[*group as usize];
            let decided = if self.all { n_false == 0 } else { n_true > 0 };
            (n_false > 0 || n_true > 0).then_some(decided)
        };
        Ok(Arc::new(groups.iter().map(value).collect::<BooleanArray>()))
    }

    fn is_zero(&self, group: u32) -> bool {
        self.counts[group as usize] == [0; 2]
    }

    fn clear(&mut self, groups: &[u32]) {
        groups.iter().for_each(|g| self.counts[*g as usize] = [0; 2]);
    }

    fn write(&self, group: u32, out: &mut Vec<u8>) {
        self.counts[group as usize].iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    }

    fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let (n_false, rest) = split_i64(bytes)?;
        self.counts[group as usize] = [n_false, split_i64(rest)?.0];
        Some(())
    }

    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let (n_false, rest) = split_i64(bytes)?;
        let [mine_false, mine_true] = self.counts[group as usize];
        self.counts[group as usize] = [mine_false.wrapping_add(n_false), mine_true.wrapping_add(split_i64(rest)?.0)];
        Some(())
    }

    fn size_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<[i64; 2]>()
    }
}
