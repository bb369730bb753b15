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
