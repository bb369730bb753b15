//! The functions of one OVER, frame by frame.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, interleave, take};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use super::frame_rows::{Asked, Bounds, FrameRows, FrameView, NONE, Pick};
use super::groups::PartitionStates;
use super::kept_values::KeptValues;
use super::layout::Layout;
use super::{FrameBound, RunningFrame, RunningFunction, RunningWindowSpec, ValuePlace};
use crate::operators::accumulators::{Accumulator, Rows};
use crate::operators::event_time::milliseconds;
use crate::operators::groups::batch_of;
use crate::operators::row_codec::RowCodec;
use crate::operators::{AggregateCall, OperatorError};

/// How many rows enter an accumulator at once after a restart.
const RESTORE_ROWS: usize = 1 << 16;

/// All functions, with their state.
pub(super) struct Functions {
    /// The input columns that functions read.
    arguments: Vec<usize>,
    argument_schema: SchemaRef,
    frames: Vec<FrameFunctions>,
    rows: FrameRows,
    calls: Vec<Call>,
    outputs: Vec<FieldRef>,
    /// The input columns that bound frames.
    bounds: Vec<usize>,
    is_settled: bool,
}

/// What is computed over one frame.
struct FrameFunctions {
    frame: RunningFrame,
    /// Its index among the frames that keep rows.
    kept: Option<usize>,
    accumulators: Vec<Accumulator>,
    aggregate_types: Vec<DataType>,
    picks: Vec<Pick>,
    values: Vec<KeptValues>,
    /// By kept value: which argument it is of.
    value_arguments: Vec<usize>,
}

/// A function as it is computed; arguments are indices into the columns that functions read.
enum Call {
    RowNumber,
    Rank,
    DenseRank,
    Aggregate { frame: usize, idx: usize },
    Picked { frame: usize, pick: usize, argument: usize, default: Option<usize> },
    Kept { frame: usize, idx: usize, default: Option<usize> },
    List { frame: usize, pick: usize, argument: usize },
}

/// The results of one frame in an epoch.
struct FrameResults {
    view: FrameView,
    aggregates: Vec<ArrayRef>,
    values: Vec<ArrayRef>,
}

impl Functions {
    pub fn new(spec: &RunningWindowSpec) -> Result<Self, OperatorError> {
        let outputs: Vec<FieldRef> = spec.schema.fields().iter().skip(spec.input.fields().len()).cloned().collect();
        if outputs.len() != spec.functions.len() {
            let (n, of) = (spec.functions.len(), outputs.len());
            return Err(OperatorError::Function(format!("{n} window functions, but {of} columns for them")));
        }
        let mut arguments: Vec<usize> = spec.functions.iter().flat_map(columns_of).collect();
        arguments.sort_unstable();
        arguments.dedup();
        let argument_schema: SchemaRef = spec.input.project(&arguments)?.into();
        let mut pins = vec![false; spec.frames.len()];
        for function in &spec.functions {
            if let RunningFunction::List { frame, .. } = function
                && let Some(pin) = pins.get_mut(*frame)
            {
                *pin = true;
            }
        }
        let keeps_rows = |(frame, pin): &(&RunningFrame, &bool)| {
            let ends_here = matches!(frame.end, FrameBound::Rows(0) | FrameBound::Peers);
            **pin || frame.start != FrameBound::Unbounded || !ends_here
        };
        let (mut frames, mut kept_frames, mut kept_pins) = (Vec::new(), Vec::new(), Vec::new());
        for (frame, pin) in spec.frames.iter().zip(&pins) {
            let kept = keeps_rows(&(frame, pin)).then_some(kept_frames.len());
            if kept.is_some() {
                kept_frames.push(*frame);
                kept_pins.push(*pin);
            }
            frames.push(FrameFunctions::new(*frame, kept));
        }
        let codec = RowCodec::new(&argument_schema, (0..arguments.len()).collect())?;
        let is_range = |bound: &FrameBound| if let FrameBound::Range(column) = bound { Some(*column) } else { None };
        let bounds = spec.frames.iter().flat_map(|f| [is_range(&f.start), is_range(&f.end)]).flatten().collect();
        let mut functions = Self {
            arguments,
            argument_schema,
            frames,
            rows: FrameRows::new(codec, kept_frames, kept_pins),
            calls: Vec::new(),
            outputs,
            bounds,
            is_settled: true,
        };
        for (idx, function) in spec.functions.iter().enumerate() {
            let call = functions.call(function, idx)?;
            functions.calls.push(call);
        }
        Ok(functions)
    }

    fn argument(&self, column: usize) -> Result<usize, OperatorError> {
        let unknown = || OperatorError::Function(format!("a window function reads column {column}, which is missing"));
        self.arguments.binary_search(&column).map_err(|_| unknown())
    }

    /// Makes the state of a function.
    fn call(&mut self, function: &RunningFunction, idx: usize) -> Result<Call, OperatorError> {
        let no_frame = || OperatorError::Function("a window function has no frame".into());
        let output = self.outputs.get(idx).map_or(DataType::Null, |f| f.data_type().clone());
        Ok(match function {
            RunningFunction::RowNumber => Call::RowNumber,
            RunningFunction::Rank => Call::Rank,
            RunningFunction::DenseRank => Call::DenseRank,
            RunningFunction::Aggregate { call, frame } => {
                let argument = call.argument.map(|column| self.argument(column)).transpose()?;
                let filter = call.filter.map(|column| self.argument(column)).transpose()?;
                let call = AggregateCall { argument, filter, ..call.clone() };
                let functions = self.frames.get_mut(*frame).ok_or_else(no_frame)?;
                let rows = functions.weights();
                functions.accumulators.push(Accumulator::new(&call, &self.argument_schema, &output, rows)?);
                functions.aggregate_types.push(output);
                Call::Aggregate { frame: *frame, idx: functions.accumulators.len() - 1 }
            }
            RunningFunction::Value { column, place, frame, default } => {
                let argument = self.argument(*column)?;
                let default = default.map(|column| self.argument(column)).transpose()?;
                let field = self.argument_schema.field(argument).clone();
                let functions = self.frames.get_mut(*frame).ok_or_else(no_frame)?;
                let n = match place {
                    ValuePlace::First => Some(1),
                    ValuePlace::Nth(n) => Some((*n).max(1)),
                    ValuePlace::Last => None,
                };
                match n.filter(|_| functions.frame.start == FrameBound::Unbounded) {
                    Some(n) => {
                        functions.values.push(KeptValues::new(&field, n)?);
                        functions.value_arguments.push(argument);
                        Call::Kept { frame: *frame, idx: functions.values.len() - 1, default }
                    }
                    None => {
                        functions.picks.push(match place {
                            ValuePlace::First => Pick::First,
                            ValuePlace::Last => Pick::Last,
                            ValuePlace::Nth(n) => Pick::Nth((*n).max(1)),
                        });
                        Call::Picked { frame: *frame, pick: functions.picks.len() - 1, argument, default }
                    }
                }
            }
            RunningFunction::List { column, frame } => {
                let argument = self.argument(*column)?;
                let functions = self.frames.get_mut(*frame).ok_or_else(no_frame)?;
                let known = functions.picks.iter().position(|pick| *pick == Pick::All);
                let pick = known.unwrap_or_else(|| {
                    functions.picks.push(Pick::All);
                    functions.picks.len() - 1
                });
                Call::List { frame: *frame, pick, argument }
            }
        })
    }

    /// Makes room for group ids below `n_groups`.
    pub fn resize(&mut self, n_groups: usize) {
        self.rows.resize(n_groups);
        for frame in &mut self.frames {
            frame.accumulators.iter_mut().for_each(|a| a.resize(n_groups));
            frame.values.iter_mut().for_each(|v| v.resize(n_groups));
        }
    }

    /// The columns of the functions at the rows of a layout, which `rows` holds.
    pub fn run(
        &mut self,
        layout: &Layout,
        rows: &RecordBatch,
        times: Option<&[i64]>,
        partitions: &PartitionStates,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let columns: Vec<ArrayRef> = self.arguments.iter().map(|c| rows.column(*c).clone()).collect();
        let new = batch_of(&self.argument_schema, columns, layout.len())?;
        let mut bounds = HashMap::new();
        for column in &self.bounds {
            // A row without a time sees those without; a bound that lies before all calendars reaches all rows.
            let none = |row: usize| {
                times.and_then(|t| t.get(row)).map_or(i64::MIN, |t| if *t == i64::MAX { *t } else { i64::MIN })
            };
            let bound = milliseconds(rows.column(*column))?;
            bounds.insert(*column, bound.iter().enumerate().map(|(row, t)| t.unwrap_or_else(|| none(row))).collect());
        }
        let bounds = Bounds { times, columns: &bounds };
        self.rows.append(layout, new.columns(), &bounds)?;
        let mut views = Vec::with_capacity(self.frames.len());
        for functions in &self.frames {
            views.push(match functions.kept {
                Some(kept) => {
                    let asked = Asked { picks: &functions.picks, aggregates: !functions.accumulators.is_empty() };
                    self.rows.advance(kept, layout, &bounds, &asked)
                }
                None => whole_so_far(functions, layout),
            });
        }
        let known = self.rows.rows(&new)?;
        let mut results = Vec::with_capacity(views.len());
        for (functions, view) in self.frames.iter_mut().zip(views) {
            let aggregates = match functions.accumulators.is_empty() {
                true => Vec::new(),
                false => view.events.run(&mut functions.accumulators, &functions.aggregate_types, &known)?,
            };
            let of_value =
                |(values, argument): (&mut KeptValues, &usize)| values.run(layout, &view.ends, new.column(*argument));
            let values = functions.values.iter_mut().zip(&functions.value_arguments).map(of_value);
            let values = values.collect::<Result<Vec<_>, _>>()?;
            results.push(FrameResults { view, aggregates, values });
        }
        self.rows.trim(&layout.runs);
        let column = |(call, field): (&Call, &FieldRef)| {
            let column = column(call, field, layout, partitions, &results, &known, &new)?;
            Ok(if column.data_type() == field.data_type() { column } else { cast(&column, field.data_type())? })
        };
        self.calls.iter().zip(&self.outputs).map(column).collect()
    }

    /// Forgets groups.
    pub fn clear(&mut self, groups: &[u32]) {
        groups.iter().for_each(|group| self.rows.clear(*group));
        for frame in &mut self.frames {
            frame.accumulators.iter_mut().for_each(|a| a.clear(groups));
            for values in &mut frame.values {
                groups.iter().for_each(|group| values.clear(*group));
            }
        }
    }

    /// Appends what is logged of a group besides its rows; with all values of DISTINCT, or those that are new.
    pub fn write(&mut self, group: u32, out: &mut Vec<u8>) {
        self.write_cursors_and_values(group, out);
        for accumulator in self.frames.iter_mut().filter(|f| f.is_logged()).flat_map(|f| &mut f.accumulators) {
            with_length(out, |out| accumulator.write(group, out));
        }
    }

    /// Appends the whole of what is logged of a group besides its rows, in the form of [`Functions::write`].
    pub fn write_whole(&self, group: u32, out: &mut Vec<u8>) {
        self.write_cursors_and_values(group, out);
        for accumulator in self.frames.iter().filter(|f| f.is_logged()).flat_map(|f| &f.accumulators) {
            with_length(out, |out| accumulator.write_whole(group, out));
        }
    }

    fn write_cursors_and_values(&self, group: u32, out: &mut Vec<u8>) {
        for cursor in self.rows.cursors(group) {
            out.extend_from_slice(&cursor.start.to_le_bytes());
            out.extend_from_slice(&cursor.end.to_le_bytes());
        }
        for values in self.frames.iter().flat_map(|f| &f.values) {
            with_length(out, |out| out.extend_from_slice(values.bytes(group)));
        }
    }

    /// Says that all touched groups have been written.
    pub fn written(&mut self) {
        self.frames.iter_mut().flat_map(|f| &mut f.accumulators).for_each(Accumulator::written);
    }

    /// Applies what [`Functions::write`] wrote; none if the bytes are not such.
    pub fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        self.is_settled = false;
        let mut bytes = bytes;
        let number = |bytes: &mut &[u8]| {
            let (head, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Some(u64::from_le_bytes(*head))
        };
        for frame in 0..self.rows.cursors(group).count() {
            let (start, end) = (number(&mut bytes)?, number(&mut bytes)?);
            self.rows.restore_cursor(frame, group, start, end);
        }
        for values in self.frames.iter_mut().flat_map(|f| &mut f.values) {
            values.set(group, split_length(&mut bytes)?);
        }
        for accumulator in self.frames.iter_mut().filter(|f| f.is_logged()).flat_map(|f| &mut f.accumulators) {
            accumulator.read(group, split_length(&mut bytes)?)?;
        }
        bytes.is_empty().then_some(())
    }

    /// Takes a logged row of a sliding frame in.
    pub fn restore_row(&mut self, group: u32, position: u64, time: i64, bytes: &[u8]) {
        self.is_settled = false;
        self.rows.restore_row(group, position, time, bytes);
    }

    /// Brings what is not logged in line with what was restored.
    pub fn settle(&mut self) -> Result<(), OperatorError> {
        if std::mem::replace(&mut self.is_settled, true) {
            return Ok(());
        }
        self.rows.settle();
        for functions in self.frames.iter_mut().filter(|f| !f.is_logged() && !f.accumulators.is_empty()) {
            let (groups, columns) = self.rows.content(functions.kept.unwrap_or_default())?;
            let rows = batch_of(&self.argument_schema, columns, groups.len())?;
            for start in (0..groups.len()).step_by(RESTORE_ROWS) {
                let n = RESTORE_ROWS.min(groups.len() - start);
                let (groups, rows, weights) = (&groups[start..start + n], rows.slice(start, n), vec![1; n]);
                functions.accumulators.iter_mut().try_for_each(|a| a.update(groups, &rows, &weights))?;
            }
        }
        self.written();
        Ok(())
    }

    /// The rows that sliding frames reach.
    pub fn frame_rows(&self) -> &FrameRows {
        &self.rows
    }

    /// The rows that sliding frames reach.
    pub fn frame_rows_mut(&mut self) -> &mut FrameRows {
        &mut self.rows
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        let of_frame = |f: &FrameFunctions| {
            f.accumulators.iter().map(Accumulator::size_bytes).sum::<usize>()
                + f.values.iter().map(KeptValues::size_bytes).sum::<usize>()
        };
        self.rows.size_bytes() + self.frames.iter().map(of_frame).sum::<usize>()
    }
}

impl FrameFunctions {
    fn new(frame: RunningFrame, kept: Option<usize>) -> Self {
        Self {
            frame,
            kept,
            accumulators: Vec::new(),
            aggregate_types: Vec::new(),
            picks: Vec::new(),
            values: Vec::new(),
            value_arguments: Vec::new(),
        }
    }

    /// Whether accumulators are logged: where rows never leave the frame. Else they follow from the rows that are kept.
    fn is_logged(&self) -> bool {
        self.frame.start == FrameBound::Unbounded
    }

    fn weights(&self) -> Rows {
        if self.is_logged() { Rows::AppendOnly } else { Rows::Retractable }
    }
}

/// The input columns that a function reads.
fn columns_of(function: &RunningFunction) -> Vec<usize> {
    match function {
        RunningFunction::RowNumber | RunningFunction::Rank | RunningFunction::DenseRank => Vec::new(),
        RunningFunction::Aggregate { call, .. } => call.argument.into_iter().chain(call.filter).collect(),
        RunningFunction::Value { column, default, .. } => std::iter::once(*column).chain(*default).collect(),
        RunningFunction::List { column, .. } => vec![*column],
    }
}

/// What rows see in a frame from the start of their partition to the row or to the last that equals it.
fn whole_so_far(functions: &FrameFunctions, layout: &Layout) -> FrameView {
    let mut view = FrameView { picks: vec![Vec::new(); functions.picks.len()], ..FrameView::default() };
    for run in &layout.runs {
        let mut entered = run.rows.start;
        for row in run.rows.clone() {
            let end = if functions.frame.end == FrameBound::Peers { layout.peers[row].end as usize } else { row + 1 };
            while entered < end {
                view.events.push(run.group, entered as u32, 1);
                entered += 1;
            }
            view.events.read(run.group);
            view.ends.push(run.first_position + (end - run.rows.start) as u64);
            // The first rows are kept as values, lists keep rows: only the last one is asked for.
            view.picks.iter_mut().for_each(|picks| picks.push(end as u32 - 1));
        }
    }
    view
}

/// The column of one function. `known` begins with the rows of the layout, `new`.
fn column(
    call: &Call,
    field: &FieldRef,
    layout: &Layout,
    partitions: &PartitionStates,
    results: &[FrameResults],
    known: &RecordBatch,
    new: &RecordBatch,
) -> Result<ArrayRef, OperatorError> {
    Ok(match call {
        Call::RowNumber => Arc::new(UInt64Array::from_iter_values(layout.positions.iter().map(|p| p + 1))),
        Call::Rank => {
            let rank = |peers: &std::ops::Range<u32>| layout.positions[peers.start as usize] + 1;
            Arc::new(UInt64Array::from_iter_values(layout.peers.iter().map(rank)))
        }
        Call::DenseRank => {
            let mut ranks = Vec::with_capacity(layout.len());
            for run in &layout.runs {
                let mut n = partitions.n_peers(run.group);
                for row in run.rows.clone() {
                    n += u64::from(layout.peers[row].start as usize == row);
                    ranks.push(n);
                }
            }
            Arc::new(UInt64Array::from(ranks))
        }
        Call::Aggregate { frame, idx } => results[*frame].aggregates[*idx].clone(),
        Call::Kept { frame, idx, default } => {
            let values = results[*frame].values[*idx].clone();
            let missing = |row: usize| values.is_null(row);
            or_default(&values, default.map(|d| new.column(d)), missing)?
        }
        Call::Picked { frame, pick, argument, default } => {
            let picks = &results[*frame].view.picks[*pick];
            let idx = picks.iter().map(|i| Some(*i).filter(|i| *i != NONE)).collect::<UInt32Array>();
            let values = take(known.column(*argument), &idx, None)?;
            or_default(&values, default.map(|d| new.column(d)), |row| picks[row] == NONE)?
        }
        Call::List { frame, pick, argument } => {
            let view = &results[*frame].view;
            let values = take(known.column(*argument), &UInt32Array::from(view.picks[*pick].clone()), None)?;
            let item = match field.data_type() {
                DataType::List(item) => item.clone(),
                other => return Err(OperatorError::Function(format!("a list of values is no {other}"))),
            };
            let nulls: NullBuffer = view.lengths.iter().map(|n| *n > 0).collect::<Vec<bool>>().into();
            let offsets = OffsetBuffer::from_lengths(view.lengths.iter().map(|n| *n as usize));
            Arc::new(ListArray::try_new(item, offsets, values, Some(nulls))?)
        }
    })
}

/// Values, and where one is missing that of another column.
fn or_default(
    values: &ArrayRef,
    default: Option<&ArrayRef>,
    is_missing: impl Fn(usize) -> bool,
) -> Result<ArrayRef, OperatorError> {
    let Some(default) = default else { return Ok(values.clone()) };
    let places: Vec<(usize, usize)> = (0..values.len()).map(|row| (usize::from(is_missing(row)), row)).collect();
    Ok(interleave(&[values.as_ref(), default.as_ref()], &places)?)
}

fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = (out.len() - start - 4) as u32;
    if let Some(head) = out.get_mut(start..start + 4) {
        head.copy_from_slice(&len.to_le_bytes());
    }
}

/// Takes bytes off that stand behind their length.
fn split_length<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
    *bytes = rest;
    Some(value)
}
