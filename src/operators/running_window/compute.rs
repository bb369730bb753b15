//! The columns of the functions of one OVER: rows enter the lists that frames reach, then frames move over them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, UInt32Array, UInt64Array, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, interleave, take};
use arrow::datatypes::{DataType, FieldRef};

use super::FrameBound;
use super::entered::Entered;
use super::frame_view::{Asked, Bounds, FrameView, NONE};
use super::functions::{Call, FrameFunctions, Functions};
use super::kept_values::KeptValues;
use super::layout::Layout;
use crate::operators::OperatorError;
use crate::operators::event_time::milliseconds;
use crate::operators::groups::batch_of;

/// The results of one frame in an epoch.
struct FrameResults {
    view: FrameView,
    aggregates: Vec<ArrayRef>,
    values: Vec<ArrayRef>,
}

impl Functions {
    /// Takes the rows of a layout in, which `rows` holds. Where rows wait for a later time, `deadlines` has it for each.
    pub fn append(
        &mut self,
        layout: &Layout,
        rows: &RecordBatch,
        times: Option<&[i64]>,
        deadlines: &[i64],
    ) -> Result<(), OperatorError> {
        for (idx, list) in self.lists.iter_mut().enumerate() {
            let entered = match list.skips {
                None => Entered::all(layout),
                Some(column) => Entered::with_value(layout, rows.column(column), |group| list.rows.length(group)),
            };
            let columns: Vec<ArrayRef> = list.columns.iter().map(|c| rows.column(*c).clone()).collect();
            let batch = batch_of(&list.schema, columns, layout.len())?;
            for functions in self.frames.iter_mut().filter(|functions| functions.list == idx) {
                for (values, argument) in functions.values.iter_mut().zip(&functions.value_arguments) {
                    values.take_in(&entered, batch.column(*argument))?;
                }
            }
            list.rows.append(&entered, layout, batch, times, deadlines)?;
        }
        Ok(())
    }

    /// The columns of the functions at the rows of a layout, which `rows` holds and the lists have taken in.
    pub fn compute(
        &mut self,
        layout: &Layout,
        rows: &RecordBatch,
        times: Option<&[i64]>,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        if layout.len() == 0 {
            self.lists.iter_mut().for_each(|list| list.rows.trim(&[]));
            return Ok(self.outputs.iter().map(|field| new_empty_array(field.data_type())).collect());
        }
        let mut bounds = Bounds::default();
        for (column, is_ahead) in &self.bounds {
            // A row without a time sees those without; a bound that lies before all calendars reaches all rows.
            let beyond = if *is_ahead { i64::MAX } else { i64::MIN };
            let none = |row: usize| {
                times.and_then(|t| t.get(row)).map_or(i64::MIN, |t| if *t == i64::MAX { *t } else { beyond })
            };
            let bound = milliseconds(rows.column(*column))?;
            bounds.0.insert(*column, bound.iter().enumerate().map(|(row, t)| t.unwrap_or_else(|| none(row))).collect());
        }
        let mut views = Vec::with_capacity(self.frames.len());
        for functions in &self.frames {
            let list = self.lists.get_mut(functions.list);
            views.push(match functions.kept.zip(list) {
                Some((kept, list)) => {
                    let asked = Asked { picks: &functions.picks, aggregates: !functions.accumulators.is_empty() };
                    list.rows.advance(kept, layout, &bounds, &asked)
                }
                None => whole_so_far(functions, layout),
            });
        }
        let known = self.lists.iter().map(|list| list.rows.rows(&list.schema)).collect::<Result<Vec<_>, _>>()?;
        let mut results = Vec::with_capacity(views.len());
        for (functions, view) in self.frames.iter_mut().zip(views) {
            let aggregates = match known.get(functions.list).filter(|_| !functions.accumulators.is_empty()) {
                None => Vec::new(),
                Some(known) => view.events.run(&mut functions.accumulators, &functions.aggregate_types, known)?,
            };
            let values = functions.values.iter().map(|values: &KeptValues| values.read(layout, &view.ends));
            let values = values.collect::<Result<Vec<_>, _>>()?;
            results.push(FrameResults { view, aggregates, values });
        }
        self.lists.iter_mut().for_each(|list| list.rows.trim(&layout.runs));
        let computed = Computed { layout, rows, known: &known, results: &results, frames: &self.frames };
        let column = |(call, field): (&Call, &FieldRef)| {
            let column = computed.column(call, field)?;
            Ok(if column.data_type() == field.data_type() { column } else { cast(&column, field.data_type())? })
        };
        self.calls.iter().zip(&self.outputs).map(column).collect()
    }
}

/// What rows see in a frame from the start of their partition to the row or to the last that equals it.
fn whole_so_far(functions: &FrameFunctions, layout: &Layout) -> FrameView {
    let mut view = FrameView { picks: vec![Vec::new(); functions.picks.len()], ..FrameView::default() };
    for run in &layout.runs {
        let mut entered = run.rows.start;
        for row in run.rows.clone() {
            let last = layout.places[row].last.saturating_sub(run.first_position) as usize;
            let end = if functions.frame.end == FrameBound::Peers { run.rows.start + last + 1 } else { row + 1 };
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

/// What columns are made of.
struct Computed<'a> {
    layout: &'a Layout,
    /// The rows of the layout.
    rows: &'a RecordBatch,
    /// By list: the rows that picks speak of.
    known: &'a [RecordBatch],
    results: &'a [FrameResults],
    frames: &'a [FrameFunctions],
}

impl Computed<'_> {
    /// The column of one function.
    fn column(&self, call: &Call, field: &FieldRef) -> Result<ArrayRef, OperatorError> {
        let places = &self.layout.places;
        let default = |default: &Option<usize>| default.map(|column| self.rows.column(column));
        Ok(match call {
            Call::RowNumber => Arc::new(UInt64Array::from_iter_values(places.iter().map(|p| p.position + 1))),
            Call::Rank => Arc::new(UInt64Array::from_iter_values(places.iter().map(|p| p.first + 1))),
            Call::DenseRank => Arc::new(UInt64Array::from_iter_values(places.iter().map(|p| p.number + 1))),
            Call::Aggregate { frame, idx } => self.results[*frame].aggregates[*idx].clone(),
            Call::Kept { frame, idx, default: column } => {
                let values = self.results[*frame].values[*idx].clone();
                let missing = |row: usize| values.is_null(row);
                or_default(&values, default(column), missing)?
            }
            Call::Picked { frame, pick, argument, default: column } => {
                let picks = &self.results[*frame].view.picks[*pick];
                let idx = picks.iter().map(|i| Some(*i).filter(|i| *i != NONE)).collect::<UInt32Array>();
                let values = take(self.argument(*frame, *argument), &idx, None)?;
                or_default(&values, default(column), |row| picks[row] == NONE)?
            }
            Call::List { frame, pick, argument } => {
                let view = &self.results[*frame].view;
                let picks = UInt32Array::from(view.picks[*pick].clone());
                let values = take(self.argument(*frame, *argument), &picks, None)?;
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

    fn argument(&self, frame: usize, argument: usize) -> &ArrayRef {
        self.known[self.frames[frame].list].column(argument)
    }
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
