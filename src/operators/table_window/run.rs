//! A run: some sorted rows of a partition with their weights, packed into one byte string.
//!
//! Layout, little-endian: number of rows * 2 (+ 1 if weights follow); the end of each row (u32); the weights (i64), left
//! out where all are 1; the rows. So a row of weight 1 costs four bytes more than its own.

use std::cmp::Ordering;

const WORD: usize = 4;

/// A packed run, borrowed.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    n_rows: usize,
    ends: &'a [u8],
    weights: Option<&'a [u8]>,
    rows: &'a [u8],
}

impl<'a> Run<'a> {
    /// The run without rows.
    pub(super) const EMPTY: Self = Self { n_rows: 0, ends: &[], weights: None, rows: &[] };

    /// Reads what [`RunWriter::pack`] wrote.
    pub(super) fn unpack(bytes: &'a [u8]) -> Self {
        let head = word(bytes, 0);
        let n_rows = (head >> 1) as usize;
        let (ends, rest) = bytes[WORD..].split_at(n_rows * WORD);
        if head & 1 == 0 {
            return Self { n_rows, ends, weights: None, rows: rest };
        }
        let (weights, rows) = rest.split_at(n_rows * 8);
        Self { n_rows, ends, weights: Some(weights), rows }
    }

    /// The number of distinct rows.
    pub(super) fn len(&self) -> usize {
        self.n_rows
    }

    /// The row at `idx` with its weight.
    pub(super) fn get(&self, idx: usize) -> (&'a [u8], i64) {
        let start = if idx == 0 { 0 } else { word(self.ends, (idx - 1) * WORD) };
        let row = &self.rows[start as usize..word(self.ends, idx * WORD) as usize];
        let weight = self.weights.map_or(1, |w| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&w[idx * 8..idx * 8 + 8]);
            i64::from_le_bytes(bytes)
        });
        (row, weight)
    }

    /// All rows with their weights.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a [u8], i64)> {
        (0..self.n_rows).map(move |i| self.get(i))
    }

    /// The number of rows that sort before `row`; found at once where all do.
    pub(super) fn rows_before(&self, row: &[u8]) -> usize {
        let (mut from, mut to) = (0, self.n_rows);
        let mut middle = to.saturating_sub(1);
        while from < to {
            if self.get(middle).0 < row {
                from = middle + 1;
            } else {
                to = middle;
            }
            middle = from + (to - from) / 2;
        }
        from
    }

    /// The first `n_rows` rows as (ends, bytes), if all weights are 1.
    pub(super) fn unweighted(&self, n_rows: usize) -> Option<(impl Iterator<Item = u32> + use<'a>, &'a [u8])> {
        if self.weights.is_some() {
            return None;
        }
        let ends = self.ends;
        let end = if n_rows == 0 { 0 } else { word(ends, (n_rows - 1) * WORD) };
        Some(((0..n_rows).map(move |i| word(ends, i * WORD)), &self.rows[..end as usize]))
    }

    /// How many rows are seen: weights above zero, added up, over the rows before `row` (over all with none).
    pub(super) fn visible_before(self, row: Option<&[u8]>) -> usize {
        let rows = self.iter().take_while(|(r, _)| row.is_none_or(|row| (*r).cmp(row) == Ordering::Less));
        rows.map(|(_, w)| w.max(0) as usize).sum()
    }
}

/// Gathers rows in order and packs them.
#[derive(Default)]
pub(super) struct RunWriter {
    ends: Vec<u32>,
    weights: Vec<i64>,
    rows: Vec<u8>,
    packed: Vec<u8>,
}

impl RunWriter {
    /// Appends a row that sorts after all before it.
    pub(super) fn push(&mut self, row: &[u8], weight: i64) {
        self.rows.extend_from_slice(row);
        self.ends.push(self.rows.len() as u32);
        self.weights.push(weight);
    }

    /// Appends the first `n_rows` rows of a run.
    pub(super) fn push_run(&mut self, run: &Run, n_rows: usize) {
        let Some((ends, bytes)) = run.unweighted(n_rows) else {
            return run.iter().take(n_rows).for_each(|(row, weight)| self.push(row, weight));
        };
        let base = self.rows.len() as u32;
        self.rows.extend_from_slice(bytes);
        self.ends.extend(ends.map(|e| base + e));
        self.weights.resize(self.ends.len(), 1);
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of the rows.
    pub(super) fn row_bytes(&self) -> usize {
        self.rows.len()
    }

    /// Packs the rows `from..to`.
    pub(super) fn pack(&mut self, from: usize, to: usize) -> &[u8] {
        let start = if from == 0 { 0 } else { self.ends[from - 1] };
        let end = if to == 0 { 0 } else { self.ends[to - 1] };
        let weighted = self.weights[from..to].iter().any(|w| *w != 1);
        self.packed.clear();
        self.packed.extend_from_slice(&(((to - from) as u32) << 1 | u32::from(weighted)).to_le_bytes());
        for e in &self.ends[from..to] {
            self.packed.extend_from_slice(&(e - start).to_le_bytes());
        }
        if weighted {
            for w in &self.weights[from..to] {
                self.packed.extend_from_slice(&w.to_le_bytes());
            }
        }
        self.packed.extend_from_slice(&self.rows[start as usize..end as usize]);
        &self.packed
    }

    /// Forgets the rows, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.ends.clear();
        self.weights.clear();
        self.rows.clear();
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; WORD];
    word.copy_from_slice(&bytes[at..at + WORD]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back_as_they_were_packed(
            rows in prop::collection::btree_map(prop::collection::vec(0u8..4, 0..4), prop::sample::select(vec![1, 1, 1, 2, -1]), 0..9),
            probe in prop::collection::vec(0u8..4, 0..4),
        ) {
            let mut writer = RunWriter::default();
            rows.iter().for_each(|(row, weight)| writer.push(row, *weight));
            let packed = writer.pack(0, rows.len()).to_vec();
            let run = Run::unpack(&packed);
            let expected: Vec<(&[u8], i64)> = rows.iter().map(|(r, w)| (r.as_slice(), *w)).collect();
            prop_assert_eq!(run.iter().collect::<Vec<_>>(), expected.clone());
            let n_before = rows.keys().filter(|r| **r < probe).count();
            prop_assert_eq!(run.rows_before(&probe), n_before);
            let mut copy = RunWriter::default();
            copy.push(&[], 1);
            copy.push_run(&run, n_before);
            let packed = copy.pack(1, n_before + 1);
            prop_assert_eq!(Run::unpack(packed).iter().collect::<Vec<_>>(), expected[..n_before].to_vec());
        }
    }
}
