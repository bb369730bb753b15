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

/// How many buckets are stepped over before the next one is looked up from the first pane.
const STEPS_MAX: usize = 64;

/// What is known of panes.
pub(super) struct Panes {
    hop: Hop,
    zone: Zone,
    lateness_ms: i64,
    /// The groups of each pane by its start.
    by_start: BTreeMap<i64, Vec<u32>>,
    /// A bucket has been emitted, or is empty, if it was due by this watermark.
    closed_at: i64,
    /// The first pane with the next bucket that holds it and is to be emitted, as (start, end).
    next: Option<(i64, (i64, i64))>,
    /// The groups of a bucket while it is emitted.
    merged: Groups,
}

impl Panes {
    /// No rows yet. `merged` are groups of the same keys and aggregates, none yet.
    pub(super) fn new(hop: Hop, zone: Zone, lateness_ms: i64, merged: Groups) -> Self {
        Self { hop, zone, lateness_ms, by_start: BTreeMap::new(), closed_at: i64::MIN, next: None, merged }
    }

    /// Up to which watermark buckets have been emitted.
    pub(super) fn closed_at(&self) -> i64 {
        self.closed_at
    }

    /// Enters a new group of a pane.
    pub(super) fn enter(&mut self, pane_ms: i64, group: u32) {
        self.by_start.entry(pane_ms).or_default().push(group);
        if self.next.is_none_or(|(first, _)| pane_ms < first) {
            self.find_next();
        }
    }

    fn deadline(&self, end: i64) -> i64 {
        end.saturating_add(self.lateness_ms)
    }

    /// Finds the next bucket to be emitted.
    ///
    /// Later buckets begin later and end no earlier: so it is the first that holds the first pane and is not done.
    fn find_next(&mut self) {
        let Some(pane) = self.by_start.keys().next().copied() else {
            self.next = None;
            return;
        };
        let is_next = |end: i64| end > pane && self.deadline(end) > self.closed_at;
        let known = self.next.filter(|(first, _)| *first <= pane).map(|(_, bucket)| bucket);
        let walked = known.and_then(|(start, _)| {
            let later = std::iter::successors(Some(start), |start| Some(self.hop.next_start(*start, self.zone)));
            let buckets = later.take(STEPS_MAX).map(|start| (start, self.hop.end_of(start, self.zone)));
            buckets.take_while(|(start, _)| *start <= pane).find(|(_, end)| is_next(*end))
        });
        let found = walked.or_else(|| {
            let starts = self.hop.starts_of(pane, self.zone).into_iter();
            starts.map(|start| (start, self.hop.end_of(start, self.zone))).find(|(_, end)| is_next(*end))
        });
        self.next = found.map(|bucket| (pane, bucket));
    }

    /// The end of the next buckets to be emitted.
    pub(super) fn next_end(&self) -> Option<i64> {
        self.next.map(|(_, (_, end))| end)
    }

    /// When the next buckets are due.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        self.next_end().map(|end| self.deadline(end))
    }

    /// Says that all buckets are done that were due at a watermark, and forgets the panes that no other bucket holds.
    pub(super) fn close(&mut self, closed_at: i64) {
        self.closed_at = self.closed_at.max(closed_at);
        while let Some(entry) = self.by_start.first_entry() {
            let last_end = self.hop.last_end(*entry.key(), self.zone);
            if last_end.is_some_and(|end| end.saturating_add(self.lateness_ms) > self.closed_at) {
                break;
            }
            entry.remove();
        }
        self.find_next();
    }

    /// The next buckets, which have one end, by their starts.
    fn next_starts(&self) -> Vec<i64> {
        let Some((_, (start, end))) = self.next else { return Vec::new() };
        let later = std::iter::successors(Some(start), |start| Some(self.hop.next_start(*start, self.zone)));
        // Starts on the last days of a month may have one end a month later.
        later.take_while(|start| *start < end && self.hop.end_of(*start, self.zone) == end).collect()
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
        if let Some(panes) = &mut self.panes
            && panes.next_deadline().is_none_or(|at| !before.has_passed(at))
        {
            panes.closed_at = panes.closed_at.max(before.0);
        }
    }

    /// The final rows of the buckets that are due, in the order of their ends; buckets of one end leave together, and no
    /// further one is begun when `max` rows have been taken.
    pub(super) fn merge_due(&mut self, after: Watermark, max: usize) -> Result<ChangeBatch, OperatorError> {
        let (mut parts, mut n_rows, mut closed) = (Vec::new(), 0, None);
        while n_rows < max {
            let next = self.panes.as_ref().and_then(|panes| Some((panes.next_end()?, panes.next_deadline()?)));
            let Some((end, deadline)) = next.filter(|(_, deadline)| after.has_passed(*deadline)) else { break };
            for start in self.panes.as_ref().map(Panes::next_starts).unwrap_or_default() {
                let part = self.merge_bucket(start, end)?;
                n_rows += part.len();
                parts.push(part);
            }
            closed = Some(deadline);
            if let Some(panes) = &mut self.panes {
                panes.close(deadline);
            }
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
