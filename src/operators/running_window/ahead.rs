//! Rows that wait for later ones, with which frames end: the next row, those of the next hour.
//!
//! They stand in the list of all rows, in the order of their event time, and are given out in that order, partition by partition,
//! when what the frame ends with is there: so many rows, so many different ones in order, or all up to some time. At the
//! end of the input nothing more will come, and the rest is given out.

use std::collections::BTreeSet;

use arrow::array::{BinaryArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::frame_rows::Standing;
use super::groups::Partition;
use super::layout::Layout;
use super::{FrameBound, RunningOrder, RunningWindow, RunningWindowSpec};
use crate::operators::OperatorError;
use crate::operators::deadline::Deadline;
use crate::operators::event_time::milliseconds;
use crate::operators::groups::batch_of;
use crate::stream::{ChangeBatch, Order, Watermark};

/// For what rows wait, and which partitions have such rows.
pub(super) struct Ahead {
    /// How many rows, and how many different ones in order, must be there behind a row.
    n_rows: u64,
    n_groups: u64,
    /// The input columns with the last time that a frame reaches.
    until: Vec<usize>,
    release: Deadline,
    /// By group: when its oldest row that waits is due, and its event time.
    oldest: Vec<Option<(i64, i64)>>,
    /// The same of all groups, in the order of when they are due, and of event time.
    due: BTreeSet<(i64, u32)>,
    times: BTreeSet<(i64, u32)>,
}

impl Ahead {
    /// None where no frame ends with a later row.
    pub fn new(spec: &RunningWindowSpec) -> Result<Option<Self>, OperatorError> {
        if !spec.looks_ahead() {
            return Ok(None);
        }
        let (RunningOrder::EventTime { release, .. }, None) = (&spec.order, &spec.bucket) else {
            return Err(OperatorError::Function("rows wait for later ones by event time only".into()));
        };
        let (mut n_rows, mut n_groups, mut until) = (0, 0, Vec::new());
        for bound in spec.frames.iter().flat_map(|frame| [frame.start, frame.end]) {
            match bound {
                FrameBound::RowsAhead(n) => n_rows = n.max(n_rows),
                FrameBound::GroupsAhead(n) => n_groups = n.max(n_groups),
                FrameBound::RangeAhead(column) => until.push(column),
                _ => {}
            }
        }
        let release = release.clone();
        let (due, times) = (BTreeSet::new(), BTreeSet::new());
        Ok(Some(Self { n_rows, n_groups, until, release, oldest: Vec::new(), due, times }))
    }

    /// For which watermark each row waits because of the time up to which frames reach.
    pub fn deadlines(&self, rows: &RecordBatch, times: Option<&[i64]>) -> Result<Vec<i64>, OperatorError> {
        let mut deadlines = vec![i64::MIN; rows.num_rows()];
        for column in &self.until {
            let Some(column) = rows.columns().get(*column) else {
                return Err(OperatorError::Function("the end of a frame is missing".into()));
            };
            for (row, (deadline, until)) in deadlines.iter_mut().zip(milliseconds(column)?.iter()).enumerate() {
                // A row without a time waits for the end of the input anyway.
                let has_time = times.and_then(|times| times.get(row)).is_none_or(|time| *time != i64::MAX);
                let until = until.filter(|_| has_time).map_or(i64::MAX, |until| {
                    until.saturating_add(self.release.offset_ms).saturating_add(self.release.after_ms)
                });
                *deadline = until.max(*deadline);
            }
        }
        Ok(deadlines)
    }

    /// Whether as many rows are there behind a row as frames reach.
    fn has_rows(&self, standing: &Standing, partition: &Partition) -> bool {
        standing.place.position.saturating_add(self.n_rows) < partition.n_rows
            && standing.place.number.saturating_add(self.n_groups) < partition.n_peers
    }

    /// Remembers the oldest row of a group that waits, with its event time.
    fn set(&mut self, group: u32, oldest: Option<(i64, i64)>) {
        if self.oldest.len() <= group as usize {
            self.oldest.resize(group as usize + 1, None);
        }
        let before = std::mem::replace(&mut self.oldest[group as usize], oldest);
        if before == oldest {
            return;
        }
        if let Some((due, time)) = before {
            self.due.remove(&(due, group));
            self.times.remove(&(time, group));
        }
        if let Some((due, time)) = oldest {
            self.due.insert((due, group));
            self.times.insert((time, group));
        }
    }

    /// The groups whose oldest row is due.
    fn due_at(&self, watermark: Watermark) -> Vec<u32> {
        self.due.iter().take_while(|(due, _)| watermark.has_passed(*due)).map(|(_, group)| *group).collect()
    }

    /// The watermark at which the next row is due.
    pub fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The event time of the oldest row that waits.
    pub fn oldest(&self) -> Option<i64> {
        self.times.first().map(|(time, _)| *time)
    }
}

impl RunningWindow {
    /// Takes rows in that are handled now, and gives out those that have what they waited for, in order.
    pub(super) fn give(&mut self, rows: &RecordBatch, watermark: Watermark) -> Result<ChangeBatch, OperatorError> {
        let appended = self.append(rows)?;
        let Some(ahead) = &self.ahead else { return Ok(ChangeBatch::empty(self.spec.schema.clone())) };
        let mut groups = ahead.due_at(watermark);
        groups.extend(appended.layout.runs.iter().map(|run| run.group));
        groups.sort_unstable();
        groups.dedup();
        let (mut layout, mut ids, mut times) = (Layout::default(), Vec::new(), Vec::new());
        for group in &groups {
            let (Some(list), Some(partition)) = (self.functions.all_rows_mut(), self.partitions.partition(*group))
            else {
                continue;
            };
            let is_end = watermark == Watermark::MAX;
            let is_ready = |standing: &Standing| {
                is_end || (ahead.has_rows(standing, partition) && watermark.has_passed(standing.deadline))
            };
            for id in list.give(*group, is_ready) {
                if let Some((node, Some(standing), _)) = list.get(id) {
                    layout.push(*group, standing.place);
                    times.push(node.time);
                    ids.push(id);
                }
            }
        }
        let columns = self.functions.all_rows().map(|list| list.decode(&ids)).transpose()?.unwrap_or_default();
        let rows = batch_of(&self.spec.input, columns, ids.len())?;
        let computed = self.functions.compute(&layout, &rows, Some(&times))?;
        layout.runs.iter().for_each(|run| self.partitions.touch(run.group));
        groups.iter().for_each(|group| self.find_waiting_of(*group));
        let Some(waiting) = &self.waiting else { return Ok(ChangeBatch::empty(self.spec.schema.clone())) };
        let rows_named = waiting.names(&rows)?;
        // Rows that are equal may leave one after the other: their place tells them apart.
        let named = rows_named.iter().zip(&layout.places);
        let named = named.map(|(name, place)| [name.unwrap_or_default(), &place.position.to_be_bytes()].concat());
        let mut named: Vec<(Vec<u8>, u32)> = named.zip(0..).collect();
        named.sort_unstable();
        let order = UInt32Array::from_iter_values(named.iter().map(|(_, row)| *row));
        let columns = rows.columns().iter().cloned().chain(computed).collect();
        let rows = take_record_batch(&batch_of(&self.spec.schema, columns, ids.len())?, &order)?;
        let names = BinaryArray::from_iter_values(named.iter().map(|(name, _)| name));
        Ok(ChangeBatch { rows, weights: vec![1; ids.len()].into(), order: Order::Key(names) })
    }

    /// Finds out which rows wait after a restart.
    pub(super) fn find_waiting(&mut self) {
        if self.ahead.is_some() {
            (0..self.partitions.id_limit() as u32).for_each(|group| self.find_waiting_of(group));
        }
    }

    fn find_waiting_of(&mut self, group: u32) {
        let Some(ahead) = &mut self.ahead else { return };
        let waiting = self.functions.all_rows().and_then(|list| {
            let (id, standing) = list.waiting(group)?;
            let partition = self.partitions.partition(group)?;
            // Until the rows are there, only the end of the input helps.
            let due = if ahead.has_rows(&standing, partition) { standing.deadline } else { i64::MAX };
            Some((due, list.get(id)?.0.time))
        });
        ahead.set(group, waiting);
    }
}
