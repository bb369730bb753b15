//! The functions of one OVER, frame by frame: what each needs, and what of it is logged.

use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use super::frame_rows::{FrameRows, ListUse, Standing};
use super::frame_view::Pick;
use super::kept_values::KeptValues;
use super::{FrameBound, RunningFrame, RunningFunction, RunningWindowSpec, ValuePlace};
use crate::operators::accumulators::{Accumulator, Rows};
use crate::operators::groups::batch_of;
use crate::operators::row_codec::RowCodec;
use crate::operators::{AggregateCall, OperatorError};

/// How many rows enter an accumulator at once after a restart.
const RESTORE_ROWS: usize = 1 << 16;

/// All functions, with their state.
pub(super) struct Functions {
    /// Of all rows first, then of those that have a value in some column.
    pub(super) lists: Vec<List>,
    pub(super) frames: Vec<FrameFunctions>,
    pub(super) calls: Vec<Call>,
    pub(super) outputs: Vec<FieldRef>,
    /// The input columns that bound frames, and whether behind the row.
    pub(super) bounds: Vec<(usize, bool)>,
    is_settled: bool,
}

/// Rows of partitions, in the columns that functions read of them.
pub(super) struct List {
    /// The input column in which rows have a value; none = all rows.
    pub(super) skips: Option<usize>,
    /// The input columns.
    pub(super) columns: Vec<usize>,
    pub(super) schema: SchemaRef,
    pub(super) rows: FrameRows,
}

/// What is computed over one frame.
pub(super) struct FrameFunctions {
    pub(super) frame: RunningFrame,
    /// The list that it is a frame of, and its index among the frames that keep rows there.
    pub(super) list: usize,
    pub(super) kept: Option<usize>,
    pub(super) accumulators: Vec<Accumulator>,
    pub(super) aggregate_types: Vec<DataType>,
    pub(super) picks: Vec<Pick>,
    pub(super) values: Vec<KeptValues>,
    /// By kept value: which column of the list it is of.
    pub(super) value_arguments: Vec<usize>,
}

/// A function as it is computed; an argument is the index of a column of the frame's list, a default one of the input.
pub(super) enum Call {
    RowNumber,
    Rank,
    DenseRank,
    Aggregate { frame: usize, idx: usize },
    Picked { frame: usize, pick: usize, argument: usize, default: Option<usize> },
    Kept { frame: usize, idx: usize, default: Option<usize> },
    List { frame: usize, pick: usize, argument: usize },
}

impl Functions {
    pub fn new(spec: &RunningWindowSpec) -> Result<Self, OperatorError> {
        let outputs: Vec<FieldRef> = spec.schema.fields().iter().skip(spec.input.fields().len()).cloned().collect();
        if outputs.len() != spec.functions.len() {
            let (n, of) = (spec.functions.len(), outputs.len());
            return Err(OperatorError::Function(format!("{n} window functions, but {of} columns for them")));
        }
        let mut skipped: Vec<Option<usize>> = vec![None];
        spec.frames.iter().for_each(|frame| {
            if !skipped.contains(&frame.with_value_in) {
                skipped.push(frame.with_value_in);
            }
        });
        let of_frame = |frame: &usize, list: Option<usize>| {
            spec.frames.get(*frame).is_some_and(|f: &RunningFrame| f.with_value_in == list)
        };
        let (mut lists, mut frames) = (Vec::new(), Vec::new());
        let mut kept: Vec<Option<usize>> = vec![None; spec.frames.len()];
        for skips in &skipped {
            let mut of = ListUse {
                frames: Vec::new(),
                pins: Vec::new(),
                is_standing: spec.is_extended(),
                is_pending: skips.is_none() && spec.looks_ahead(),
            };
            for (idx, frame) in spec.frames.iter().enumerate().filter(|(idx, _)| of_frame(idx, *skips)) {
                let is_list = |f: &RunningFunction| matches!(f, RunningFunction::List { frame, .. } if *frame == idx);
                let pin = spec.functions.iter().any(is_list);
                let ends_here = matches!(frame.end, FrameBound::Rows(0) | FrameBound::Peers);
                let follows_rows = skips.is_none() && !spec.looks_ahead() && !pin;
                if !(follows_rows && frame.start == FrameBound::Unbounded && ends_here) {
                    kept[idx] = Some(of.frames.len());
                    of.frames.push(*frame);
                    of.pins.push(pin);
                }
            }
            let mut columns: Vec<usize> = match skips {
                Some(column) => vec![*column],
                // A row that waits is given out as a whole.
                None if spec.looks_ahead() => (0..spec.input.fields().len()).collect(),
                None => spec
                    .functions
                    .iter()
                    .filter(|f| f.frame().is_none_or(|f| of_frame(&f, None)))
                    .flat_map(columns_of)
                    .collect(),
            };
            columns.sort_unstable();
            columns.dedup();
            let schema: SchemaRef = spec.input.project(&columns)?.into();
            let codec = RowCodec::new(&schema, (0..columns.len()).collect())?;
            lists.push(List { skips: *skips, columns, schema, rows: FrameRows::new(codec, of) });
        }
        for (frame, kept) in spec.frames.iter().zip(kept) {
            let list = skipped.iter().position(|skips| *skips == frame.with_value_in).unwrap_or_default();
            frames.push(FrameFunctions::new(*frame, list, kept));
        }
        let bound = |bound: &FrameBound| match bound {
            FrameBound::Range(column) => Some((*column, false)),
            FrameBound::RangeAhead(column) => Some((*column, true)),
            _ => None,
        };
        let bounds = spec.frames.iter().flat_map(|f| [bound(&f.start), bound(&f.end)]).flatten().collect();
        let mut functions = Self { lists, frames, calls: Vec::new(), outputs, bounds, is_settled: true };
        for (idx, function) in spec.functions.iter().enumerate() {
            let call = functions.call(function, idx)?;
            functions.calls.push(call);
        }
        Ok(functions)
    }

    /// The frame of a function, with where a column lies in its list.
    fn argument(&mut self, frame: usize, column: usize) -> Result<usize, OperatorError> {
        let unknown = || OperatorError::Function(format!("a window function reads column {column}, which is missing"));
        let list = self.frames.get(frame).and_then(|f| self.lists.get(f.list)).ok_or_else(no_frame)?;
        list.columns.binary_search(&column).map_err(|_| unknown())
    }

    /// Makes the state of a function.
    fn call(&mut self, function: &RunningFunction, idx: usize) -> Result<Call, OperatorError> {
        let output = self.outputs.get(idx).map_or(DataType::Null, |f| f.data_type().clone());
        Ok(match function {
            RunningFunction::RowNumber => Call::RowNumber,
            RunningFunction::Rank => Call::Rank,
            RunningFunction::DenseRank => Call::DenseRank,
            RunningFunction::Aggregate { call, frame } => {
                let argument = call.argument.map(|column| self.argument(*frame, column)).transpose()?;
                let filter = call.filter.map(|column| self.argument(*frame, column)).transpose()?;
                let call = AggregateCall { argument, filter, ..call.clone() };
                let functions = self.frames.get_mut(*frame).ok_or_else(no_frame)?;
                let schema = self.lists.get(functions.list).map(|list| &list.schema).ok_or_else(no_frame)?;
                let rows = functions.weights();
                functions.accumulators.push(Accumulator::new(&call, schema, &output, rows)?);
                functions.aggregate_types.push(output);
                Call::Aggregate { frame: *frame, idx: functions.accumulators.len() - 1 }
            }
            RunningFunction::Value { column, place, frame, default } => {
                let argument = self.argument(*frame, *column)?;
                let functions = self.frames.get_mut(*frame).ok_or_else(no_frame)?;
                let schema = self.lists.get(functions.list).map(|list| &list.schema).ok_or_else(no_frame)?;
                let n = match place {
                    ValuePlace::First => Some(1),
                    ValuePlace::Nth(n) => Some((*n).max(1)),
                    ValuePlace::Last => None,
                };
                match (n.filter(|_| functions.frame.start == FrameBound::Unbounded), functions.frame.start) {
                    (Some(n), _) => {
                        functions.values.push(KeptValues::new(schema.field(argument), n)?);
                        functions.value_arguments.push(argument);
                        Call::Kept { frame: *frame, idx: functions.values.len() - 1, default: *default }
                    }
                    (None, start) => {
                        functions.picks.push(match (place, start) {
                            (ValuePlace::First, FrameBound::Latest(n)) => Pick::FirstOf(n),
                            (ValuePlace::First, _) => Pick::First,
                            (ValuePlace::Last, _) => Pick::Last,
                            (ValuePlace::Nth(n), _) => Pick::Nth((*n).max(1)),
                        });
                        let pick = functions.picks.len() - 1;
                        Call::Picked { frame: *frame, pick, argument, default: *default }
                    }
                }
            }
            RunningFunction::List { column, frame } => {
                let argument = self.argument(*frame, *column)?;
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
        self.lists.iter_mut().for_each(|list| list.rows.resize(n_groups));
        for frame in &mut self.frames {
            frame.accumulators.iter_mut().for_each(|a| a.resize(n_groups));
            frame.values.iter_mut().for_each(|v| v.resize(n_groups));
        }
    }

    /// Forgets groups.
    pub fn clear(&mut self, groups: &[u32]) {
        for list in &mut self.lists {
            groups.iter().for_each(|group| list.rows.clear(*group));
        }
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
        for list in &self.lists {
            for cursor in list.rows.cursors(group) {
                out.extend_from_slice(&cursor.start.to_le_bytes());
                out.extend_from_slice(&cursor.end.to_le_bytes());
            }
            // Of all rows the partition knows how many there were.
            if list.skips.is_some() {
                out.extend_from_slice(&list.rows.length(group).to_le_bytes());
            }
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
        for list in &mut self.lists {
            for frame in 0..list.rows.cursors(group).count() {
                let (start, end) = (number(&mut bytes)?, number(&mut bytes)?);
                list.rows.restore_cursor(frame, group, start, end);
            }
            if list.skips.is_some() {
                list.rows.restore_length(group, number(&mut bytes)?);
            }
        }
        for values in self.frames.iter_mut().flat_map(|f| &mut f.values) {
            values.set(group, split_length(&mut bytes)?);
        }
        for accumulator in self.frames.iter_mut().filter(|f| f.is_logged()).flat_map(|f| &mut f.accumulators) {
            accumulator.read(group, split_length(&mut bytes)?)?;
        }
        bytes.is_empty().then_some(())
    }

    /// Takes a logged row of a list in; none if there is no such list.
    pub fn restore_row(
        &mut self,
        list: usize,
        group: u32,
        ordinal: u64,
        time: i64,
        standing: Standing,
        bytes: &[u8],
    ) -> Option<()> {
        self.is_settled = false;
        self.lists.get_mut(list)?.rows.restore_row(group, ordinal, time, standing, bytes);
        Some(())
    }

    /// Brings what is not logged in line with what was restored, and tells whether anything was.
    pub fn settle(&mut self) -> Result<bool, OperatorError> {
        if std::mem::replace(&mut self.is_settled, true) {
            return Ok(false);
        }
        self.lists.iter_mut().for_each(|list| list.rows.settle());
        for functions in self.frames.iter_mut().filter(|f| !f.is_logged() && !f.accumulators.is_empty()) {
            let Some(list) = self.lists.get(functions.list) else { continue };
            let (groups, columns) = list.rows.content(functions.kept.unwrap_or_default())?;
            let rows = batch_of(&list.schema, columns, groups.len())?;
            for start in (0..groups.len()).step_by(RESTORE_ROWS) {
                let n = RESTORE_ROWS.min(groups.len() - start);
                let (groups, rows, weights) = (&groups[start..start + n], rows.slice(start, n), vec![1; n]);
                functions.accumulators.iter_mut().try_for_each(|a| a.update(groups, &rows, &weights))?;
            }
        }
        self.written();
        Ok(true)
    }

    /// The list of all rows.
    pub fn all_rows(&self) -> Option<&FrameRows> {
        self.lists.first().map(|list| &list.rows)
    }

    /// The list of all rows.
    pub fn all_rows_mut(&mut self) -> Option<&mut FrameRows> {
        self.lists.first_mut().map(|list| &mut list.rows)
    }

    /// How many rows frames reach.
    pub fn n_rows(&self) -> usize {
        self.lists.iter().map(|list| list.rows.len()).sum()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        let of_frame = |f: &FrameFunctions| {
            f.accumulators.iter().map(Accumulator::size_bytes).sum::<usize>()
                + f.values.iter().map(KeptValues::size_bytes).sum::<usize>()
        };
        let of_lists: usize = self.lists.iter().map(|list| list.rows.size_bytes()).sum();
        of_lists + self.frames.iter().map(of_frame).sum::<usize>()
    }
}

impl FrameFunctions {
    fn new(frame: RunningFrame, list: usize, kept: Option<usize>) -> Self {
        Self {
            frame,
            list,
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
        RunningFunction::Value { column, .. } | RunningFunction::List { column, .. } => vec![*column],
    }
}

fn no_frame() -> OperatorError {
    OperatorError::Function("a window function has no frame".into())
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
