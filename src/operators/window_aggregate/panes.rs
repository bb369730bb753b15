//! Overlapping buckets: rows are taken in once, by pane, and a bucket is made of its panes when it is emitted.
//!
//! A pane stays until the last bucket that holds it has been emitted.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::super::OperatorError;
use super::super::event_time::timestamps;
use super::super::groups::Groups;
use super::{Window, WindowAggregate, final_rows};
use crate::functions::{Hop, Zone};
use crate::stream::{ChangeBatch, Watermark};

/// What is known of panes.
pub(super) struct Panes {
    hop: Hop,
    zone: Zone,
    /// The groups of each pane by its start.
    by_start: BTreeMap<i64, Vec<u32>>,
    /// A bucket has been emitted, or is empty, if it was due by this watermark.
    closed_at: i64,
    /// The buckets that hold the first pane, as (start, end).
    first: Option<(i64, Vec<(i64, i64)>)>,
    /// The groups of a bucket while it is emitted.
    merged: Groups,
}

impl Panes {
    /// No rows yet. `merged` are groups of the same keys and aggregates, none yet.
    pub(super) fn new(hop: Hop, zone: Zone, merged: Groups) -> Self {
        Self { hop, zone, by_start: BTreeMap::new(), closed_at: i64::MIN, first: None, merged }
    }

    /// Up to which watermark buckets have been emitted.
    pub(super) fn closed_at(&self) -> i64 {
        self.closed_at
    }

    /// Enters a new group of a pane.
    pub(super) fn enter(&mut self, pane_ms: i64, group: u32) {
        self.by_start.entry(pane_ms).or_default().push(group);
        self.note_first();
    }

    fn note_first(&mut self) {
        let Some(pane) = self.by_start.keys().next().copied() else {
            self.first = None;
            return;
        };
        if self.first.as_ref().is_none_or(|(known, _)| *known != pane) {
            let starts = self.hop.starts_of(pane, self.zone).into_iter();
            self.first = Some((pane, starts.map(|start| (start, self.hop.end_of(start, self.zone))).collect()));
        }
    }

    /// The next end of buckets to be emitted.
    ///
    /// Later buckets end no earlier: no bucket without the first pane ends before one that holds it and is not emitted.
    pub(super) fn next_end(&self, lateness_ms: i64) -> Option<i64> {
        let (_, buckets) = self.first.as_ref()?;
        buckets.iter().map(|(_, end)| *end).find(|end| end.saturating_add(lateness_ms) > self.closed_at)
    }

    /// When the next buckets are due.
    pub(super) fn next_deadline(&self, lateness_ms: i64) -> Option<i64> {
        self.next_end(lateness_ms).map(|end| end.saturating_add(lateness_ms))
    }

    /// Says that all buckets are done that were due at a watermark, and forgets the panes that no other bucket holds.
    pub(super) fn close(&mut self, closed_at: i64, lateness_ms: i64) {
        self.closed_at = self.closed_at.max(closed_at);
        while let Some(entry) = self.by_start.first_entry() {
            let last_end = self.hop.last_end(*entry.key(), self.zone);
            if last_end.is_some_and(|end| end.saturating_add(lateness_ms) > self.closed_at) {
                break;
            }
            entry.remove();
        }
        self.note_first();
    }

    /// The starts of the buckets with this end, of which one holds the first pane.
    fn ending_at(&self, end_ms: i64) -> Vec<i64> {
        let of_first = self.first.iter().flat_map(|(_, buckets)| buckets);
        let mut starts: Vec<i64> = of_first.filter(|(_, end)| *end == end_ms).map(|(start, _)| *start).collect();
        // Starts on the last days of a month may have one end a month later.
        while let Some(last) = starts.last().copied() {
            let next = self.hop.next_start(last, self.zone);
            if next >= end_ms || self.hop.end_of(next, self.zone) != end_ms {
                break;
            }
            starts.push(next);
        }
        starts
    }

    /// The groups of all panes of a bucket.
    fn groups_between(&self, start_ms: i64, end_ms: i64) -> Vec<u32> {
        self.by_start.range(start_ms..end_ms).flat_map(|(_, groups)| groups.iter().copied()).collect()
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.by_start.len() * size_of::<(i64, Vec<u32>)>() + self.merged.size_bytes()
    }
}

impl WindowAggregate {
    /// Takes note of the watermark before an epoch: what was due by it and is not waiting to be emitted had no rows, so that
    /// late rows of a pane do not make it appear.
    pub(super) fn close_empty(&mut self, before: Watermark) {
        let lateness_ms = self.spec.allowed_lateness_ms;
        if let Some(panes) = &mut self.panes {
            let waits = panes.next_deadline(lateness_ms).is_some_and(|at| before.has_passed(at));
            if !waits {
                panes.closed_at = panes.closed_at.max(before.0);
            }
        }
    }

    /// The final rows of the buckets that are due, in the order of their ends; buckets of one end leave together, and no
    /// further one is begun when `max` rows have been taken.
    pub(super) fn merge_due(&mut self, after: Watermark, max: usize) -> Result<ChangeBatch, OperatorError> {
        let lateness_ms = self.spec.allowed_lateness_ms;
        let (mut parts, mut n_rows, mut closed) = (Vec::new(), 0, None);
        while n_rows < max {
            let end = self.panes.as_ref().and_then(|panes| panes.next_end(lateness_ms));
            let Some(end) = end.filter(|end| after.has_passed(end.saturating_add(lateness_ms))) else { break };
            for start in self.panes.as_ref().map(|panes| panes.ending_at(end)).unwrap_or_default() {
                let part = self.merge_bucket(start, end)?;
                n_rows += part.len();
                parts.push(part);
            }
            closed = Some(end.saturating_add(lateness_ms));
            let Some(panes) = &mut self.panes else { break };
            panes.close(end.saturating_add(lateness_ms), lateness_ms);
        }
        if let Some(closed) = closed {
            let due = self.take_due(Watermark(closed), usize::MAX);
            self.leave(&due);
            self.closed = self.closed.max(Some(closed));
        }
        Ok(ChangeBatch::concat(&self.spec.schema, &parts)?)
    }

    /// The final rows of one bucket.
    fn merge_bucket(&mut self, start_ms: i64, end_ms: i64) -> Result<ChangeBatch, OperatorError> {
        let empty = || ChangeBatch::empty(self.spec.schema.clone());
        let (Some(panes), Some(bucket)) = (&mut self.panes, &self.spec.bucket) else { return Ok(empty()) };
        debug_assert!(matches!(bucket.window, Window::Panes(..)));
        let ids = panes.groups_between(start_ms, end_ms);
        if ids.is_empty() {
            return Ok(empty());
        }
        let mut keys = self.groups.key_columns(&ids)?;
        if let Some(column) = keys.get_mut(bucket.column) {
            *column = timestamps(vec![start_ms; ids.len()], column.data_type())?;
        }
        let fields: Vec<_> = self.spec.input.fields().iter().take(self.spec.n_keys).cloned().collect();
        let keys = RecordBatch::try_new(Arc::new(Schema::new(fields)), keys)?;
        let touched = panes.merged.assign(&keys)?;
        panes.merged.absorb(&self.groups, &ids, &touched.of_row)?;
        let due: Vec<(i64, u32)> = touched.groups.iter().map(|group| (end_ms, *group)).collect();
        let rows = final_rows(&self.spec, &panes.merged, &due)?;
        panes.merged.remove(&touched.groups);
        Ok(rows)
    }
}
