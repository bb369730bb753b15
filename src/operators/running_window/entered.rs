//! Which rows of an epoch enter a list of rows, and as the how-many-eth of their partition.

use arrow::array::{Array, ArrayRef};

use super::layout::Layout;

/// The rows of one partition that enter.
pub(super) struct EnteredRun {
    pub group: u32,
    /// How many rows of the partition were in the list before.
    pub first: u64,
    rows: std::ops::Range<usize>,
}

/// Rows that enter a list: all, or those that have a value.
#[derive(Default)]
pub(super) struct Entered {
    pub runs: Vec<EnteredRun>,
    /// Rows of the layout, run by run.
    rows: Vec<u32>,
}

impl Entered {
    /// All rows of a layout.
    pub fn all(layout: &Layout) -> Self {
        let of_run = |run: &super::layout::Run| EnteredRun {
            group: run.group,
            first: run.first_position,
            rows: run.rows.clone(),
        };
        Self { runs: layout.runs.iter().map(of_run).collect(), rows: (0..layout.len() as u32).collect() }
    }

    /// The rows of a layout that have a value; `n_before` tells how many of a partition had one before.
    pub fn with_value(layout: &Layout, column: &ArrayRef, n_before: impl Fn(u32) -> u64) -> Self {
        let mut entered = Self::default();
        for run in &layout.runs {
            let start = entered.rows.len();
            entered.rows.extend(run.rows.clone().filter(|row| column.is_valid(*row)).map(|row| row as u32));
            let rows = start..entered.rows.len();
            if !rows.is_empty() {
                entered.runs.push(EnteredRun { group: run.group, first: n_before(run.group), rows });
            }
        }
        entered
    }

    /// The rows of a run, as rows of the layout.
    pub fn rows_of(&self, run: &EnteredRun) -> &[u32] {
        self.rows.get(run.rows.clone()).unwrap_or_default()
    }
}
