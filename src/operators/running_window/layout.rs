//! Where the rows of an epoch stand in their partitions.

use std::ops::Range;

use arrow::array::{DynComparator, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::SortOptions;
use arrow::error::ArrowError;

/// The rows of one partition in an epoch.
pub(super) struct Run {
    pub group: u32,
    pub rows: Range<usize>,
    /// How many rows the partition had before.
    pub first_position: u64,
}

/// The rows of an epoch by partition, and within one in the order of the window.
pub(super) struct Layout {
    pub runs: Vec<Run>,
    /// By row: how many rows of its partition went before.
    pub positions: Vec<u64>,
    /// By row: the first of the rows that equal it in order, and the one behind the last.
    pub peers: Vec<Range<u32>>,
}

/// The order in which rows are laid out: by partition, in each as they came.
pub(super) fn by_group(of_row: &[u32]) -> UInt32Array {
    let mut order: Vec<u32> = (0..of_row.len() as u32).collect();
    order.sort_by_key(|row| of_row[*row as usize]);
    order.into()
}

impl Layout {
    /// Lays rows out that are sorted by group and, within it, by the order of the window. `n_before` tells how many rows a
    /// group had before. Without columns to order by no two rows are equal.
    pub fn new(
        groups: &[u32],
        rows: &RecordBatch,
        order: &[(usize, SortOptions)],
        n_before: impl Fn(u32) -> u64,
    ) -> Result<Self, ArrowError> {
        let comparators = order
            .iter()
            .map(|(column, options)| make_comparator(rows.column(*column), rows.column(*column), *options))
            .collect::<Result<Vec<DynComparator>, _>>()?;
        let are_peers = |a: usize, b: usize| !comparators.is_empty() && comparators.iter().all(|c| c(a, b).is_eq());
        let n_rows = groups.len();
        let mut layout =
            Self { runs: Vec::new(), positions: Vec::with_capacity(n_rows), peers: Vec::with_capacity(n_rows) };
        for run in groups.chunk_by(|a, b| a == b) {
            let start = layout.positions.len();
            let rows = start..start + run.len();
            let Some(group) = run.first().copied() else { continue };
            let first_position = n_before(group);
            layout.positions.extend((0..run.len() as u64).map(|n| first_position + n));
            let mut first = start;
            for row in rows.clone() {
                let next = row + 1;
                if next == rows.end || !are_peers(row, next) {
                    let peers = first as u32..next as u32;
                    layout.peers.extend(std::iter::repeat_n(peers, next - first));
                    first = next;
                }
            }
            layout.runs.push(Run { group, rows, first_position });
        }
        Ok(layout)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.positions.len()
    }
}

/// The place at which each row of a layout came.
pub(super) fn inverse(order: &UInt32Array) -> UInt32Array {
    let mut places = vec![0; order.len()];
    for (place, row) in order.values().iter().enumerate() {
        places[*row as usize] = place as u32;
    }
    places.into()
}
