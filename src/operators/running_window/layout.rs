//! Where rows stand in their partitions.

use std::ops::Range;

use arrow::array::{DynComparator, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::SortOptions;
use arrow::error::ArrowError;

/// The rows of one partition.
pub(super) struct Run {
    pub group: u32,
    pub rows: Range<usize>,
    /// How many rows the partition had before.
    pub first_position: u64,
}

/// Where a row stands in its partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// How many rows went before.
    pub position: u64,
    /// The position of the first row that equals it in order, and of the last.
    pub first: u64,
    pub last: u64,
    /// How many different rows in order went before.
    pub number: u64,
}

/// Rows by partition, and within one in the order of the window.
#[derive(Default)]
pub(super) struct Layout {
    pub runs: Vec<Run>,
    /// By row.
    pub places: Vec<Place>,
}

/// The order in which rows are laid out: by partition, in each as they came.
pub(super) fn by_group(of_row: &[u32]) -> UInt32Array {
    let mut order: Vec<u32> = (0..of_row.len() as u32).collect();
    order.sort_by_key(|row| of_row[*row as usize]);
    order.into()
}

impl Layout {
    /// Lays rows out that are sorted by group and, within it, by the order of the window. `before` tells how many rows a
    /// group had before, and how many of them differed in order from the one before. Without columns to order by no two rows
    /// are equal.
    pub fn new(
        groups: &[u32],
        rows: &RecordBatch,
        order: &[(usize, SortOptions)],
        before: impl Fn(u32) -> (u64, u64),
    ) -> Result<Self, ArrowError> {
        let comparators = order
            .iter()
            .map(|(column, options)| make_comparator(rows.column(*column), rows.column(*column), *options))
            .collect::<Result<Vec<DynComparator>, _>>()?;
        let are_peers = |a: usize, b: usize| !comparators.is_empty() && comparators.iter().all(|c| c(a, b).is_eq());
        let mut layout = Self { runs: Vec::new(), places: Vec::with_capacity(groups.len()) };
        for run in groups.chunk_by(|a, b| a == b) {
            let start = layout.places.len();
            let rows = start..start + run.len();
            let Some(group) = run.first().copied() else { continue };
            let (first_position, mut number) = before(group);
            let position = |row: usize| first_position + (row - start) as u64;
            let mut first = start;
            for row in rows.clone() {
                let next = row + 1;
                if next == rows.end || !are_peers(row, next) {
                    let (first_peer, last) = (position(first), position(row));
                    let peers = first..next;
                    layout.places.extend(peers.map(|row| Place {
                        position: position(row),
                        first: first_peer,
                        last,
                        number,
                    }));
                    (first, number) = (next, number + 1);
                }
            }
            layout.runs.push(Run { group, rows, first_position });
        }
        Ok(layout)
    }

    /// Appends a row behind those of its partition.
    pub fn push(&mut self, group: u32, place: Place) {
        let row = self.places.len();
        self.places.push(place);
        match self.runs.last_mut().filter(|run| run.group == group) {
            Some(run) => run.rows.end = row + 1,
            None => self.runs.push(Run { group, rows: row..row + 1, first_position: place.position }),
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.places.len()
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
