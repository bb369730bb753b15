//! Aggregates by group, exact under retraction: what `table_aggregate` and `window_aggregate` share.
//!
//! An [`Accumulator`] is one aggregate of a query over all groups. FILTER, nulls and DISTINCT are settled before its
//! kernel by changing weights: a row left out has weight 0, a repeated value of DISTINCT too. So kernels know only
//! groups, values and weights. Kernels hold columns by group id, never an object per group.

mod collected;
mod counts;
mod distinct;
mod extremes;
mod sums;
mod values;

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

use super::{AggregateCall, AggregateFunction, OperatorError};
use collected::CollectedRows;
use counts::{Booleans, Count};
use distinct::{Distinct, distinct};
use extremes::extreme;
use sums::{FloatSums, IntegerSums, SumOutput, WideSums};

/// The state of one aggregate, by group id.
trait Kernel: Send {
    /// Makes room for ids below `n_groups`.
    fn resize(&mut self, n_groups: usize);

    /// Adds each row's argument to its group as often as the weight says. Arguments of rows of weight 0 are not looked at.
    fn update(&mut self, groups: &[u32], argument: Option<&ArrayRef>, weights: &[i64]) -> Result<(), OperatorError>;

    /// The aggregate of each group.
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError>;

    /// Whether a group's state is as if nothing had ever been added.
    fn is_zero(&self, group: u32) -> bool;

    /// Forgets groups.
    fn clear(&mut self, groups: &[u32]);

    /// Appends a group's state as bytes; extremes only where rows are never retracted.
    fn write(&self, group: u32, out: &mut Vec<u8>);

    /// As [`Kernel::write`], but where a state is large only what changed in it since [`Kernel::written`].
    fn write_fresh(&mut self, group: u32, out: &mut Vec<u8>) {
        self.write(group, out);
    }

    /// Says that what changed has been written.
    fn written(&mut self) {}

    /// Replaces a group's state by what [`Kernel::write`] wrote; none if the bytes are not such.
    fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()>;

    /// Adds to a group what [`Kernel::write`] wrote of another one, as if its rows had been added; none if the bytes are
    /// not such.
    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Option<()>;

    /// Memory held, in bytes.
    fn size_bytes(&self) -> usize;
}

/// One aggregate of a grouped query over all groups.
pub(super) struct Accumulator {
    argument: Option<usize>,
    filter: Option<usize>,
    distinct: Option<Box<dyn Distinct>>,
    kernel: Box<dyn Kernel>,
}

/// Whether rows that an aggregate took in may disappear again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// A table's: extremes keep all values.
    Retractable,
    /// A stream's: extremes keep the best value; state can be logged.
    AppendOnly,
}

impl Accumulator {
    /// The state of `call` over the columns of `input`, yielding `output`.
    pub fn new(call: &AggregateCall, input: &SchemaRef, output: &DataType, rows: Rows) -> Result<Self, OperatorError> {
        let argument = match call.argument.map(|column| input.fields().get(column)) {
            None => None,
            Some(Some(field)) => Some(field.data_type().clone()),
            Some(None) => return Err(OperatorError::Function(format!("no argument column for {:?}", call.function))),
        };
        if let Some(column) = call.filter
            && input.fields().get(column).is_none_or(|f| f.data_type() != &DataType::Boolean)
        {
            return Err(OperatorError::Function(format!("the filter of {:?} is not Boolean", call.function)));
        }
        let is_extreme = matches!(call.function, AggregateFunction::Min | AggregateFunction::Max);
        let distinct = match &argument {
            // The greatest of distinct values is the greatest of all.
            Some(argument) if call.distinct && !is_extreme => Some(distinct(argument, rows)?),
            _ => None,
        };
        let kernel = kernel(call.function, argument.as_ref(), output, rows)?;
        Ok(Self { argument: call.argument, filter: call.filter, distinct, kernel })
    }

    /// Makes room for ids below `n_groups`.
    pub fn resize(&mut self, n_groups: usize) {
        self.kernel.resize(n_groups);
    }

    /// Takes rows in; `groups` and `weights` have one entry a row.
    pub fn update(&mut self, groups: &[u32], rows: &RecordBatch, weights: &[i64]) -> Result<(), OperatorError> {
        let argument = self.argument.map(|column| rows.column(column));
        let filter = self.filter.and_then(|column| rows.column(column).as_any().downcast_ref::<BooleanArray>());
        let mut weights = counted(weights, filter, argument);
        if let (Some(distinct), Some(argument)) = (&mut self.distinct, argument) {
            weights = Cow::Owned(distinct.crossings(groups, argument, &weights)?);
        }
        self.kernel.update(groups, argument, &weights)
    }

    /// The aggregate of each group.
    pub fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError> {
        self.kernel.evaluate(groups)
    }

    /// Whether a group's state is as if nothing had ever been added.
    pub fn is_zero(&self, group: u32) -> bool {
        self.kernel.is_zero(group) && self.distinct.as_ref().is_none_or(|d| d.is_empty(group))
    }

    /// Forgets groups.
    pub fn clear(&mut self, groups: &[u32]) {
        self.kernel.clear(groups);
        if let Some(distinct) = &mut self.distinct {
            distinct.clear(groups);
        }
    }

    /// Appends a group's state as bytes; of what can be large only what changed since [`Self::written`].
    pub fn write(&mut self, group: u32, out: &mut Vec<u8>) {
        if let Some(distinct) = &mut self.distinct {
            with_length(out, |out| distinct.write_fresh(group, out));
        }
        self.kernel.write_fresh(group, out);
    }

    /// Appends a group's whole state as bytes.
    pub fn write_whole(&self, group: u32, out: &mut Vec<u8>) {
        if let Some(distinct) = &self.distinct {
            with_length(out, |out| distinct.write_all(group, out));
        }
        self.kernel.write(group, out);
    }

    /// Says that the state of all touched groups has been written.
    pub fn written(&mut self) {
        if let Some(distinct) = &mut self.distinct {
            distinct.forget_fresh();
        }
        self.kernel.written();
    }

    /// Applies what [`Self::write`] wrote, in the order in which it was written.
    pub fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let mut bytes = bytes;
        if let Some(distinct) = &mut self.distinct {
            let (head, rest) = bytes.split_at_checked(4)?;
            let (values, rest) = rest.split_at_checked(u32::from_le_bytes(head.try_into().ok()?) as usize)?;
            distinct.read_fresh(group, values)?;
            bytes = rest;
        }
        self.kernel.read(group, bytes)
    }

    /// Adds to a group what [`Self::write_whole`] wrote of another one, as if its rows had been added.
    pub fn absorb(&mut self, group: u32, bytes: &[u8]) -> Result<(), OperatorError> {
        let unfit = || OperatorError::State("a group's state does not fit its aggregate".into());
        let Some(distinct) = &mut self.distinct else { return self.kernel.absorb(group, bytes).ok_or_else(unfit) };
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(unfit)?;
        let (values, _) = rest.split_at_checked(u32::from_le_bytes(*head) as usize).ok_or_else(unfit)?;
        // What both groups hold counts once: the kernel's own state of the other group does not tell which that is.
        let added = distinct.absorb(group, values)?.ok_or_else(unfit)?;
        let (groups, weights) = (vec![group; added.len()], vec![1; added.len()]);
        self.kernel.update(&groups, Some(&added), &weights)
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.kernel.size_bytes() + self.distinct.as_ref().map_or(0, |d| d.size_bytes())
    }
}

/// How often each row counts for an aggregate: not at all where its argument is null or the filter is not true.
fn counted<'a>(weights: &'a [i64], filter: Option<&BooleanArray>, argument: Option<&ArrayRef>) -> Cow<'a, [i64]> {
    let nulls = argument.and_then(|a| a.logical_nulls()).filter(|n| n.null_count() > 0);
    if filter.is_none() && nulls.is_none() {
        return Cow::Borrowed(weights);
    }
    let passes = |row: usize| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
    let is_valid = |row: usize| nulls.as_ref().is_none_or(|n| n.is_valid(row));
    weights.iter().enumerate().map(|(row, w)| if passes(row) && is_valid(row) { *w } else { 0 }).collect()
}

fn kernel(
    function: AggregateFunction,
    argument: Option<&DataType>,
    output: &DataType,
    rows: Rows,
) -> Result<Box<dyn Kernel>, OperatorError> {
    use AggregateFunction::{Avg, BoolAnd, BoolOr, Collected as Whole, Count as CountOf, Max, Min, Sum};
    let unknown = || {
        let text = format!("{function:?} of {argument:?} as {output}");
        OperatorError::Arrow(ArrowError::NotYetImplemented(text))
    };
    Ok(match (function, argument) {
        (CountOf, _) => Box::new(Count::default()),
        (Min | Max, Some(argument)) => extreme(argument, function == Max, rows)?,
        (Whole(function), Some(argument)) => Box::new(CollectedRows::new(function, argument, output, rows)?),
        (BoolAnd | BoolOr, Some(DataType::Boolean)) => Box::new(Booleans::new(function == BoolAnd)),
        (Sum | Avg, Some(argument)) => {
            let how = SumOutput::new(function == Avg, argument, output).ok_or_else(unknown)?;
            match argument {
                DataType::Decimal256(..) => Box::new(WideSums::new(how)),
                t if t.is_floating() => Box::new(FloatSums::new(how)),
                _ => Box::new(IntegerSums::new(how)),
            }
        }
        _ => return Err(unknown()),
    })
}

/// Appends bytes behind their length.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = (out.len() - start - 4) as u32;
    if let Some(head) = out.get_mut(start..start + 4) {
        head.copy_from_slice(&len.to_le_bytes());
    }
}

/// Takes the first eight bytes off as an integer.
fn split_i64(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    Some((i64::from_le_bytes(*head), rest))
}
