//! Event-time progress of a pipeline: per source partition, per source, per relation.
//!
//! Watermarks move between epochs only, and never backwards. What is late in an epoch is decided by the watermarks
//! before it, what is due by those after it.

use std::collections::BTreeMap;

use crate::catalog::{RelationKind, SourceDefinition};
use crate::plan::{OperatorPlan, Pipeline, RelationId};
use crate::stream::Watermark;

/// The watermarks of a pipeline.
#[derive(Clone, Debug)]
pub struct Watermarks {
    /// One entry a relation; none where the relation is no source with an event time of its own.
    sources: Vec<Option<SourceClock>>,
}

/// The event time of one source.
#[derive(Clone, Debug)]
struct SourceClock {
    delay_ms: i64,
    has_event_time: bool,
    partitions: BTreeMap<i32, PartitionClock>,
    current: Watermark,
}

/// The event time of one partition.
#[derive(Clone, Copy, Debug, Default)]
struct PartitionClock {
    event_ms_max: Option<i64>,
    idle: bool,
}

impl Watermarks {
    /// Nothing has been read.
    pub fn new(pipeline: &Pipeline) -> Self {
        let clock = |definition: &SourceDefinition| {
            // A table without event time bounds nothing; a stream without one moves at the end of input only.
            let tracked = definition.event_time.is_some() || definition.kind == RelationKind::Stream;
            tracked.then(|| SourceClock {
                delay_ms: definition.watermark_delay_ms,
                has_event_time: definition.event_time.is_some(),
                partitions: BTreeMap::new(),
                current: Watermark::MIN,
            })
        };
        let sources = pipeline
            .relations
            .iter()
            .map(|relation| match &relation.operator {
                OperatorPlan::SourceTable(d, _) | OperatorPlan::SourceStream(d, _) => clock(d),
                _ => None,
            })
            .collect();
        Self { sources }
    }

    /// Takes note of the greatest event time (milliseconds) that an epoch brought from a partition.
    pub fn observe(&mut self, source: RelationId, partition: i32, event_ms: i64) {
        if let Some(p) = self.partition(source, partition) {
            p.event_ms_max = p.event_ms_max.max(Some(event_ms));
        }
    }

    /// Takes note of a partition, and of whether it is idle.
    pub fn set_idle(&mut self, source: RelationId, partition: i32, idle: bool) {
        if let Some(p) = self.partition(source, partition) {
            p.idle = idle;
        }
    }

    fn partition(&mut self, source: RelationId, partition: i32) -> Option<&mut PartitionClock> {
        let clock = self.sources.get_mut(source)?.as_mut()?;
        Some(clock.partitions.entry(partition).or_default())
    }

    /// Moves the watermarks to what has been observed. `now_ms` is the wall clock, followed where all partitions are idle.
    pub fn advance(&mut self, now_ms: i64) {
        for clock in self.sources.iter_mut().flatten().filter(|c| c.has_event_time) {
            let active = clock.partitions.values().filter(|p| !p.idle).map(|p| p.event_ms_max);
            let reached = match active.min() {
                Some(Some(event_ms)) => event_ms.saturating_sub(clock.delay_ms),
                // A partition that may still bring anything holds the watermark back.
                Some(None) => continue,
                None if clock.partitions.is_empty() => continue,
                None => now_ms.saturating_sub(clock.delay_ms),
            };
            clock.current = clock.current.max(Watermark(reached));
        }
    }

    /// Moves all watermarks to the end of the input.
    pub fn end(&mut self, at: Watermark) {
        for clock in self.sources.iter_mut().flatten() {
            clock.current = clock.current.max(at);
        }
    }

    /// The watermark of every relation: the minimum over the sources that bound it.
    pub fn of_relations(&self, pipeline: &Pipeline) -> Vec<Watermark> {
        let of_source = |id: RelationId| match self.sources.get(id) {
            Some(Some(clock)) => clock.current,
            _ => Watermark::MAX,
        };
        pipeline
            .relations
            .iter()
            .enumerate()
            .map(|(id, relation)| match relation.operator {
                OperatorPlan::SourceTable(..) | OperatorPlan::SourceStream(..) => of_source(id),
                _ => relation.watermark_sources.iter().map(|s| of_source(*s)).min().unwrap_or(Watermark::MAX),
            })
            .collect()
    }

    /// What the state log keeps of a source: its watermark, and the greatest event time of each partition.
    pub fn logged(&self, source: RelationId) -> Option<(Watermark, BTreeMap<i32, Option<i64>>)> {
        let clock = self.sources.get(source)?.as_ref()?;
        Some((clock.current, clock.partitions.iter().map(|(id, p)| (*id, p.event_ms_max)).collect()))
    }

    /// Goes on from a logged watermark of a source.
    pub fn restore(&mut self, source: RelationId, watermark: Watermark) {
        if let Some(Some(clock)) = self.sources.get_mut(source) {
            clock.current = clock.current.max(watermark);
        }
    }
}

#[cfg(test)]
mod tests;
