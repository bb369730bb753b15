//! Where windows and peers lie among rows: what all functions of one step share.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use arrow::array::{DynComparator, make_comparator};

use super::{Frame, KernelStep};
use crate::operators::OperatorError;

/// Rows in window order: by partition, then by order, then as they came.
pub(super) struct Layout {
    n_rows: usize,
    /// The row at each position; none where the rows came in window order.
    rows: Option<Vec<u32>>,
    /// The first position of each window.
    windows: Vec<u32>,
    /// The first position of each group of rows that are equal in order.
    peers: Vec<u32>,
}

impl Layout {
    /// Sorts the rows of a batch, if they are not sorted yet.
    pub(super) fn new(step: &KernelStep, batch: &RecordBatch) -> Result<Self, OperatorError> {
        let partition = step
            .partition
            .iter()
            .map(|c| Ok((column(batch, *c)?, SortOptions::default())))
            .collect::<Result<Vec<_>, OperatorError>>()?;
        let order =
            step.order.iter().map(|(c, o)| Ok((column(batch, *c)?, *o))).collect::<Result<Vec<_>, OperatorError>>()?;
        let scan = Scan { partition: comparators(&partition)?, order: comparators(&order)?, n_rows: batch.num_rows() };
        if let Some((windows, peers)) = scan.boundaries(|k| k) {
            return Ok(Self { n_rows: scan.n_rows, rows: None, windows, peers });
        }
        let sorted = sort(&[partition, order].concat())?;
        let (windows, peers) = scan.boundaries(|k| sorted[k] as usize).unwrap_or_default();
        Ok(Self { n_rows: scan.n_rows, rows: Some(sorted), windows, peers })
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.n_rows
    }

    /// The row at a position.
    pub(super) fn row(&self, position: usize) -> usize {
        self.rows.as_ref().map_or(position, |r| r[position] as usize)
    }

    /// Whether the rows came in window order.
    pub(super) fn is_in_order(&self) -> bool {
        self.rows.is_none()
    }

    /// Whether the rows came in window order and in one window.
    pub(super) fn is_one_window_in_order(&self) -> bool {
        self.is_in_order() && self.windows.len() <= 1
    }

    /// Whether a row that is not the first differs in order from the row before it.
    pub(super) fn starts_peers(&self, position: usize) -> bool {
        self.peers.binary_search(&(position as u32)).is_ok()
    }

    /// The positions of each window.
    pub(super) fn windows(&self) -> impl Iterator<Item = Range<usize>> {
        ranges(&self.windows, self.n_rows)
    }

    /// Gives every row the value at the last position of its frame; `running` is by position, the result by row.
    pub(super) fn at_frame_end<T: Copy + Default>(&self, running: Vec<T>, frame: Frame) -> Vec<T> {
        let groups = match frame {
            Frame::Rows => None,
            Frame::Range => Some(&self.peers),
            Frame::Whole => Some(&self.windows),
        };
        let mut values = running;
        for group in groups.into_iter().flat_map(|starts| ranges(starts, self.n_rows)) {
            let last = values[group.end - 1];
            values[group].fill(last);
        }
        let Some(rows) = &self.rows else { return values };
        let mut by_row = vec![T::default(); self.n_rows];
        for (value, row) in values.into_iter().zip(rows) {
            by_row[*row as usize] = value;
        }
        by_row
    }
}

fn ranges(starts: &[u32], n: usize) -> impl Iterator<Item = Range<usize>> {
    let ends = starts.iter().skip(1).map(|e| *e as usize).chain(std::iter::once(n));
    starts.iter().zip(ends).map(|(start, end)| *start as usize..end)
}

/// Reads the boundaries off rows in a given order.
struct Scan {
    partition: Vec<DynComparator>,
    order: Vec<DynComparator>,
    n_rows: usize,
}

impl Scan {
    /// The first positions of windows and of peers; none if the rows are not in window order.
    fn boundaries(&self, row: impl Fn(usize) -> usize) -> Option<(Vec<u32>, Vec<u32>)> {
        let first = if self.n_rows == 0 { Vec::new() } else { vec![0] };
        let (mut windows, mut peers) = (first.clone(), first);
        for k in 1..self.n_rows {
            let (before, after) = (row(k - 1), row(k));
            match compare(&self.partition, before, after) {
                Ordering::Less => windows.push(k as u32),
                Ordering::Greater => return None,
                Ordering::Equal => match compare(&self.order, before, after) {
                    Ordering::Less => {}
                    Ordering::Equal => continue,
                    Ordering::Greater => return None,
                },
            }
            peers.push(k as u32);
        }
        Some((windows, peers))
    }
}

fn compare(columns: &[DynComparator], left: usize, right: usize) -> Ordering {
    columns.iter().map(|c| c(left, right)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

fn comparators(columns: &[(ArrayRef, SortOptions)]) -> Result<Vec<DynComparator>, ArrowError> {
    columns.iter().map(|(c, o)| make_comparator(c, c, *o)).collect()
}

/// Row numbers in order; rows that are equal keep their order.
fn sort(columns: &[(ArrayRef, SortOptions)]) -> Result<Vec<u32>, ArrowError> {
    let fields = columns.iter().map(|(c, o)| SortField::new_with_options(c.data_type().clone(), *o)).collect();
    let arrays: Vec<ArrayRef> = columns.iter().map(|(c, _)| c.clone()).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(&arrays)?;
    let mut rows: Vec<u32> = (0..encoded.num_rows() as u32).collect();
    rows.sort_unstable_by(|a, b| encoded.row(*a as usize).cmp(&encoded.row(*b as usize)).then(a.cmp(b)));
    Ok(rows)
}

/// A column by index, or an error that says which one is missing.
pub(super) fn column(batch: &RecordBatch, idx: usize) -> Result<ArrayRef, OperatorError> {
    let n = batch.num_columns();
    batch
        .columns()
        .get(idx)
        .cloned()
        .ok_or_else(|| OperatorError::Function(format!("a window step reads column {idx} of {n}")))
}
