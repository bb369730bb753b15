//! Aggregates over frames: rows enter and leave, and at some moments in between the value is read.
//!
//! Partitions do not depend on one another, so that the n-th moments of all of them are computed in one go.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::DataType;

use crate::operators::OperatorError;
use crate::operators::accumulators::Accumulator;
use crate::operators::groups::batch_of;

/// Rows that enter and leave the frames of one kind, partition by partition, and the moments at which values are read.
#[derive(Default)]
pub(super) struct FrameEvents {
    /// By event: the partition, the row and +1 or -1.
    groups: Vec<u32>,
    rows: Vec<u32>,
    weights: Vec<i64>,
    moments: Vec<Moment>,
    /// By row of the layout: its moment.
    of_row: Vec<u32>,
    n_read: usize,
}

struct Moment {
    group: u32,
    /// How many moments of the partition go before in this epoch.
    round: u32,
    /// The events since the moment before.
    events: Range<usize>,
}

impl FrameEvents {
    /// A row enters (+1) or leaves (-1).
    pub fn push(&mut self, group: u32, row: u32, weight: i64) {
        self.groups.push(group);
        self.rows.push(row);
        self.weights.push(weight);
    }

    /// The next row of the layout reads its value now.
    pub fn read(&mut self, group: u32) {
        let round = match self.moments.last() {
            Some(last) if last.group == group && self.n_read == self.groups.len() => None,
            Some(last) if last.group == group => Some(last.round + 1),
            _ => Some(0),
        };
        if let Some(round) = round {
            self.moments.push(Moment { group, round, events: self.n_read..self.groups.len() });
            self.n_read = self.groups.len();
        }
        self.of_row.push(self.moments.len().saturating_sub(1) as u32);
    }

    /// What each accumulator says at each row; `rows` are the rows that events speak of.
    pub fn run(
        &self,
        accumulators: &mut [Accumulator],
        outputs: &[DataType],
        rows: &RecordBatch,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let mut order: Vec<u32> = (0..self.moments.len() as u32).collect();
        order.sort_by_key(|moment| self.moments[*moment as usize].round);
        let events: Vec<u32> =
            order.iter().flat_map(|m| self.moments[*m as usize].events.clone()).map(|e| e as u32).collect();
        let pick = |of: &[u32]| -> Vec<u32> { events.iter().map(|e| of[*e as usize]).collect() };
        let groups = pick(&self.groups);
        let weights: Vec<i64> = events.iter().map(|e| self.weights[*e as usize]).collect();
        let picked = UInt32Array::from(pick(&self.rows));
        let columns = rows.columns().iter().map(|c| take(c, &picked, None)).collect::<Result<Vec<_>, _>>()?;
        let rows = batch_of(&rows.schema(), columns, picked.len())?;
        let mut values: Vec<Vec<ArrayRef>> = vec![Vec::new(); accumulators.len()];
        let mut start = 0;
        for round in order.chunk_by(|a, b| self.moments[*a as usize].round == self.moments[*b as usize].round) {
            let moments = || round.iter().map(|m| &self.moments[*m as usize]);
            let n_events: usize = moments().map(|m| m.events.len()).sum();
            let read: Vec<u32> = moments().map(|m| m.group).collect();
            let (range, entered) = (start..start + n_events, rows.slice(start, n_events));
            start += n_events;
            for (accumulator, values) in accumulators.iter_mut().zip(&mut values) {
                if n_events > 0 {
                    accumulator.update(&groups[range.clone()], &entered, &weights[range.clone()])?;
                }
                values.push(accumulator.evaluate(&read)?);
            }
        }
        let mut place = vec![0u32; order.len()];
        for (at, moment) in order.iter().enumerate() {
            place[*moment as usize] = at as u32;
        }
        let of_row: UInt32Array = self.of_row.iter().map(|moment| place[*moment as usize]).collect::<Vec<u32>>().into();
        let by_row = |(values, output): (&Vec<ArrayRef>, &DataType)| {
            let parts: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
            let value = take(&concat(&parts)?, &of_row, None)?;
            Ok(if value.data_type() == output { value } else { cast(&value, output)? })
        };
        values.iter().zip(outputs).map(by_row).collect()
    }
}
