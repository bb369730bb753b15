//! The window functions, computed over all windows of a batch at once.
//!
//! Every function runs once over the rows in window order and keeps a running value; the frame says at which row that
//! value is read off. Where only the tail of one window is at hand, a checkpoint takes the place of the rows before it.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray, RecordBatch, UInt32Array, UInt64Array,
    make_comparator,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, cast, concat, take};
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Field, Float64Type, Int64Type, Schema, TimeUnit, UInt64Type,
};
use std::cmp::Ordering;
use std::sync::Arc;

use super::layout::{Layout, column};
use super::{Frame, KernelStep, WindowKernel};
use crate::operators::OperatorError;

/// Marks a position without a value.
const NONE: u32 = u32::MAX;

/// What the functions of each kernel step knew before a row: one array a function.
#[derive(Clone, Default)]
pub(super) struct Checkpoint(pub(super) Vec<Vec<ArrayRef>>);

impl Checkpoint {
    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.0.iter().flatten().map(|a| a.get_array_memory_size()).sum()
    }
}

/// Refuses a step that cannot be computed.
pub(super) fn check(step: &KernelStep) -> Result<(), OperatorError> {
    for (kernel, field) in &step.functions {
        let fits = match kernel {
            WindowKernel::RowNumber => field.data_type() == &DataType::UInt64,
            WindowKernel::Count { .. } => field.data_type() == &DataType::Int64,
            WindowKernel::Sum { .. } => can_sum(field.data_type()),
            _ => true,
        };
        if !fits {
            let (name, data_type) = (field.name(), field.data_type());
            return Err(OperatorError::Function(format!("{kernel:?} cannot give `{name}` of type {data_type}")));
        }
    }
    Ok(())
}

fn can_sum(to: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256, Duration, Float64, Int64, UInt64};
    matches!(to, Int64 | UInt64 | Float64 | Decimal128(..) | Decimal256(..) | Duration(_))
}

/// Appends the columns of a step. With `before`, the rows continue one window of which the functions know that much.
pub(super) fn append(
    step: &KernelStep,
    batch: &RecordBatch,
    layout: &Layout,
    before: Option<&[ArrayRef]>,
) -> Result<RecordBatch, OperatorError> {
    let schema = batch.schema();
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    for (idx, (kernel, field)) in step.functions.iter().enumerate() {
        let before = before.and_then(|b| b.get(idx));
        columns.push(evaluate(kernel, field, batch, layout, before)?);
        fields.push(field.clone());
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())), columns)?)
}

/// What the functions of a step know before `position`, which is not 0 and where no frame crosses over.
///
/// `batch` ends with the columns of the step. A running function knows its value at the row before.
pub(super) fn checkpoint(
    step: &KernelStep,
    batch: &RecordBatch,
    before: Option<&[ArrayRef]>,
    position: usize,
) -> Result<Vec<ArrayRef>, OperatorError> {
    let first = batch.num_columns() - step.functions.len();
    let last = UInt32Array::from(vec![(position - 1) as u32]);
    let state = |(idx, (kernel, _)): (usize, &(WindowKernel, _))| match kernel {
        WindowKernel::Lag { column: of, offset } => {
            let (values, carried) = continued(&column(batch, *of)?, before.and_then(|b| b.get(idx)))?;
            let end = (carried + position) as u32;
            let start = end.saturating_sub(u32::try_from(*offset).unwrap_or(u32::MAX));
            Ok(take(&values, &UInt32Array::from_iter_values(start..end), None)?)
        }
        _ => Ok(take(&column(batch, first + idx)?, &last, None)?),
    };
    step.functions.iter().enumerate().map(state).collect()
}

/// The column of one function.
pub(super) fn evaluate(
    kernel: &WindowKernel,
    field: &Field,
    batch: &RecordBatch,
    layout: &Layout,
    before: Option<&ArrayRef>,
) -> Result<ArrayRef, OperatorError> {
    match kernel {
        WindowKernel::RowNumber => Ok(row_number(layout, before)),
        WindowKernel::Count { column: None, frame } => Ok(count(None, *frame, layout, before)),
        WindowKernel::Count { column: Some(of), frame } => {
            let nulls = column(batch, *of)?.logical_nulls();
            Ok(count(nulls.as_ref(), *frame, layout, before))
        }
        WindowKernel::Sum { column: of, frame } => sum(&column(batch, *of)?, field.data_type(), *frame, layout, before),
        WindowKernel::Min { column: of, frame } => {
            extreme(&column(batch, *of)?, Ordering::Less, *frame, layout, before)
        }
        WindowKernel::Max { column: of, frame } => {
            extreme(&column(batch, *of)?, Ordering::Greater, *frame, layout, before)
        }
        WindowKernel::FirstValue { column: of, .. } => {
            let (values, carried) = continued(&column(batch, *of)?, before)?;
            let first = |start: usize, _, _| if carried > 0 { Some(0) } else { Some(layout.row(start)) };
            pick(&values, Frame::Rows, layout, first)
        }
        WindowKernel::LastValue { column: of, frame } => {
            pick(&column(batch, *of)?, *frame, layout, |_, k, _| Some(layout.row(k)))
        }
        WindowKernel::Lag { column: of, offset } => {
            let (values, carried) = continued(&column(batch, *of)?, before)?;
            pick(&values, Frame::Rows, layout, |start, k, _| {
                let back = (k + carried).checked_sub(*offset).filter(|p| *p >= start)?;
                Some(if back < carried { back } else { carried + layout.row(back - carried) })
            })
        }
        WindowKernel::Lead { column: of, offset } => pick(&column(batch, *of)?, Frame::Rows, layout, |_, k, end| {
            k.checked_add(*offset).filter(|p| *p < end).map(|p| layout.row(p))
        }),
    }
}

/// The values known from before in front of the values, and how many these are.
fn continued(values: &ArrayRef, before: Option<&ArrayRef>) -> Result<(ArrayRef, usize), OperatorError> {
    match before {
        Some(before) if !before.is_empty() => Ok((concat(&[before.as_ref(), values.as_ref()])?, before.len())),
        _ => Ok((values.clone(), 0)),
    }
}

/// Takes values by an index that `choose` gives for (window start, position, window end).
fn pick(
    values: &ArrayRef,
    frame: Frame,
    layout: &Layout,
    choose: impl Fn(usize, usize, usize) -> Option<usize>,
) -> Result<ArrayRef, OperatorError> {
    let mut chosen = Vec::with_capacity(layout.len());
    for window in layout.windows() {
        chosen.extend(window.clone().map(|k| choose(window.start, k, window.end).map_or(NONE, |i| i as u32)));
    }
    take_some(values, layout.at_frame_end(chosen, frame))
}

/// Takes values by index, null for [`NONE`].
fn take_some(values: &ArrayRef, chosen: Vec<u32>) -> Result<ArrayRef, OperatorError> {
    let nulls: Option<NullBuffer> =
        chosen.contains(&NONE).then(|| chosen.iter().map(|i| *i != NONE).collect::<Vec<bool>>().into());
    Ok(take(values, &UInt32Array::new(chosen.into(), nulls), None)?)
}

fn row_number(layout: &Layout, before: Option<&ArrayRef>) -> ArrayRef {
    let base = start_value::<UInt64Type>(before).unwrap_or(0);
    let mut running = Vec::with_capacity(layout.len());
    for window in layout.windows() {
        running.extend((1..=window.len() as u64).map(|i| base + i));
    }
    Arc::new(UInt64Array::from(layout.at_frame_end(running, Frame::Rows)))
}

fn count(nulls: Option<&NullBuffer>, frame: Frame, layout: &Layout, before: Option<&ArrayRef>) -> ArrayRef {
    let base = start_value::<Int64Type>(before).unwrap_or(0);
    let mut running = Vec::with_capacity(layout.len());
    for window in layout.windows() {
        let mut n = base;
        running.extend(window.map(|k| {
            n += i64::from(nulls.is_none_or(|nulls| nulls.is_valid(layout.row(k))));
            n
        }));
    }
    Arc::new(Int64Array::from(layout.at_frame_end(running, frame)))
}

/// The value a function starts from: the only one of an array.
fn start_value<T: ArrowPrimitiveType>(before: Option<&ArrayRef>) -> Option<T::Native> {
    before.and_then(|b| b.as_primitive_opt::<T>()).and_then(|b| b.iter().next().flatten())
}

fn sum(
    values: &ArrayRef,
    to: &DataType,
    frame: Frame,
    layout: &Layout,
    before: Option<&ArrayRef>,
) -> Result<ArrayRef, OperatorError> {
    let values = if values.data_type() == to { values.clone() } else { cast(values, to)? };
    macro_rules! sum_as {
        ($t:ty) => {
            running_sum::<$t>(values.as_primitive(), frame, layout, before)
        };
    }
    let sums = match to {
        DataType::Int64 => sum_as!(Int64Type),
        DataType::UInt64 => sum_as!(UInt64Type),
        DataType::Float64 => sum_as!(Float64Type),
        DataType::Decimal128(..) => sum_as!(Decimal128Type),
        DataType::Decimal256(..) => sum_as!(Decimal256Type),
        DataType::Duration(TimeUnit::Second) => sum_as!(DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => sum_as!(DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => sum_as!(DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => sum_as!(DurationNanosecondType),
        _ => return Err(OperatorError::Function(format!("sum of type {to} is not known"))),
    };
    Ok(sums)
}

/// Adds up in window order; integers wrap around, as in DataFusion, so that no value stops a pipeline.
fn running_sum<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    frame: Frame,
    layout: &Layout,
    before: Option<&ArrayRef>,
) -> ArrayRef {
    let base = start_value::<T>(before);
    let mut running = Vec::with_capacity(layout.len());
    // Whether anything has been added; empty as long as that holds everywhere.
    let mut known: Vec<bool> = Vec::new();
    let nulls = values.nulls().filter(|n| n.null_count() > 0);
    for window in layout.windows() {
        let (mut total, mut any) = (base.unwrap_or(T::Native::ZERO), base.is_some());
        for k in window {
            let row = layout.row(k);
            if nulls.is_none_or(|n| n.is_valid(row)) {
                total = total.add_wrapping(values.value(row));
                any = true;
            }
            running.push(total);
            if nulls.is_some() {
                known.push(any);
            }
        }
    }
    let nulls = nulls.map(|_| NullBuffer::from(layout.at_frame_end(known, frame)));
    let sums = PrimitiveArray::<T>::new(layout.at_frame_end(running, frame).into(), nulls);
    Arc::new(sums.with_data_type(values.data_type().clone()))
}

/// The smallest or greatest value so far.
fn extreme(
    values: &ArrayRef,
    better: Ordering,
    frame: Frame,
    layout: &Layout,
    before: Option<&ArrayRef>,
) -> Result<ArrayRef, OperatorError> {
    let (values, carried) = continued(values, before)?;
    let nulls = values.logical_nulls();
    let is_valid = |idx: usize| nulls.as_ref().is_none_or(|n| n.is_valid(idx));
    let compare = make_comparator(&values, &values, SortOptions::default())?;
    let start = if carried > 0 && is_valid(0) { 0 } else { NONE };
    let mut running = Vec::with_capacity(layout.len());
    for window in layout.windows() {
        let mut best = start;
        running.extend(window.map(|k| {
            let idx = carried + layout.row(k);
            if is_valid(idx) && (best == NONE || compare(idx, best as usize) == better) {
                best = idx as u32;
            }
            best
        }));
    }
    take_some(&values, layout.at_frame_end(running, frame))
}
