//! Runs the steps over rows: of many whole partitions at once, or of the tail of one.

use arrow::array::RecordBatch;

use super::group_rows;
use super::kernels::{self, Checkpoint};
use super::layout::Layout;
use super::versions::Span;
use super::{Frame, KernelStep, WindowKernel, WindowStep};
use crate::operators::OperatorError;

/// The longest `lag` or `lead` for which a tail is computed on its own: a checkpoint holds that many rows.
const REACH_ROWS: usize = 256;

/// Runs the steps over whole partitions.
pub(super) fn run(steps: &[WindowStep], rows: RecordBatch) -> Result<RecordBatch, OperatorError> {
    steps.iter().try_fold(rows, |rows, step| match step {
        WindowStep::Kernels(kernels) => kernels::append(kernels, &rows, &Layout::new(kernels, &rows)?, None),
        WindowStep::Groups(step) => group_rows::group(step, &rows),
        WindowStep::Function(function) => function(&rows),
        WindowStep::Projection(function) => project(function, &rows),
    })
}

fn project(function: &super::BatchFunction, rows: &RecordBatch) -> Result<RecordBatch, OperatorError> {
    let projected = function(rows)?;
    if projected.num_rows() != rows.num_rows() {
        let (from, to) = (rows.num_rows(), projected.num_rows());
        return Err(OperatorError::Function(format!("a projection made {to} rows of {from}")));
    }
    Ok(projected)
}

/// How many rows before its place a change may reach, peers aside; none if it may reach all of them.
pub(super) fn reach_back(steps: &[WindowStep]) -> Option<usize> {
    let mut reach = 0;
    for step in steps {
        match step {
            WindowStep::Kernels(step) => {
                for (kernel, _) in &step.functions {
                    reach = reach.max(kernel_reach(kernel)?);
                }
            }
            WindowStep::Projection(_) => {}
            WindowStep::Groups(_) | WindowStep::Function(_) => return None,
        }
    }
    // Functions of one step do not read one another, those of successive steps may.
    let n_steps = steps.iter().filter(|s| matches!(s, WindowStep::Kernels(_))).count();
    Some(reach * n_steps)
}

fn kernel_reach(kernel: &WindowKernel) -> Option<usize> {
    match kernel {
        WindowKernel::RowNumber | WindowKernel::FirstValue { .. } => Some(0),
        WindowKernel::Lag { offset, .. } => (*offset <= REACH_ROWS).then_some(0),
        WindowKernel::Lead { offset, .. } => (*offset <= REACH_ROWS).then_some(*offset),
        WindowKernel::LastValue { frame, .. }
        | WindowKernel::Count { frame, .. }
        | WindowKernel::Sum { frame, .. }
        | WindowKernel::Min { frame, .. }
        | WindowKernel::Max { frame, .. } => (*frame != Frame::Whole).then_some(0),
    }
}

/// Runs the steps over whole partitions, and finds out of which the rows before the appended ones have not changed.
///
/// None if some step wants the rows in another order: then what was appended at the end is not at the end there.
pub(super) fn run_appended(
    steps: &[WindowStep],
    rows: RecordBatch,
    spans: &mut [Span],
) -> Result<Option<RecordBatch>, OperatorError> {
    let mut rows = rows;
    for step in steps {
        match step {
            WindowStep::Kernels(step) => {
                let layout = Layout::new(step, &rows)?;
                if !layout.is_in_order() {
                    return Ok(None);
                }
                for span in spans.iter_mut() {
                    span.appended = span.appended.filter(|p| *p == span.after.start || !crosses(step, &layout, *p));
                }
                rows = kernels::append(step, &rows, &layout, None)?;
            }
            WindowStep::Projection(function) => rows = project(function, &rows)?,
            WindowStep::Groups(_) | WindowStep::Function(_) => return Ok(None),
        }
    }
    Ok(Some(rows))
}

/// The output over the tail of one partition, with a checkpoint for each asked position where there can be one.
pub(super) struct Tail {
    pub rows: RecordBatch,
    pub checkpoints: Vec<Option<Checkpoint>>,
}

/// Runs the steps over the tail of one partition, from what they knew before it.
///
/// None if some step divides the partition or orders it in another way: then its parts are not tails.
pub(super) fn run_tail(
    steps: &[WindowStep],
    rows: RecordBatch,
    before: Option<&Checkpoint>,
    positions: &[usize],
) -> Result<Option<Tail>, OperatorError> {
    let n_rows = rows.num_rows();
    let possible = |p: &usize| (*p > 0 && *p < n_rows).then(Checkpoint::default);
    let mut checkpoints: Vec<Option<Checkpoint>> = positions.iter().map(possible).collect();
    let mut rows = rows;
    let mut n_kernels = 0;
    for step in steps {
        let step = match step {
            WindowStep::Kernels(step) => step,
            WindowStep::Projection(function) => {
                rows = project(function, &rows)?;
                continue;
            }
            WindowStep::Groups(_) | WindowStep::Function(_) => return Ok(None),
        };
        let layout = Layout::new(step, &rows)?;
        if !layout.is_one_window_in_order() {
            return Ok(None);
        }
        let known = before.and_then(|b| b.0.get(n_kernels)).map(Vec::as_slice);
        rows = kernels::append(step, &rows, &layout, known)?;
        for (checkpoint, position) in checkpoints.iter_mut().zip(positions) {
            if crosses(step, &layout, *position) {
                *checkpoint = None;
            }
            if let Some(checkpoint) = checkpoint {
                checkpoint.0.push(kernels::checkpoint(step, &rows, known, *position)?);
            }
        }
        n_kernels += 1;
    }
    Ok(Some(Tail { rows, checkpoints }))
}

/// Whether a frame that ends with peers reaches over a position.
fn crosses(step: &KernelStep, layout: &Layout, position: usize) -> bool {
    let by_peers = |kernel: &WindowKernel| match kernel {
        WindowKernel::LastValue { frame, .. }
        | WindowKernel::Count { frame, .. }
        | WindowKernel::Sum { frame, .. }
        | WindowKernel::Min { frame, .. }
        | WindowKernel::Max { frame, .. } => *frame == Frame::Range,
        _ => false,
    };
    step.functions.iter().any(|(kernel, _)| by_peers(kernel)) && !layout.starts_peers(position)
}
