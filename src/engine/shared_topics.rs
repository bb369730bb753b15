//! Several relations over one topic: the topic is read once, and each relation gets a copy of every record.
//!
//! To the source the topic belongs to the first relation that is declared over it; the positions of the others are those of
//! the first, so that the group has one position a partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::{OperatorPlan, Pipeline};
use crate::stream::{Contact, PollLimit, Polled, Source, SourceError, SourcePartition};

/// A source whose records go to several relations.
struct SharedTopics {
    inner: Box<dyn Source>,
    /// By the relation that reads a topic, the others over it.
    others: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

/// By the first relation over a topic, the others over it.
pub(super) fn sharing(pipeline: &Pipeline) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let mut first: BTreeMap<&str, &Arc<str>> = BTreeMap::new();
    let mut others: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for relation in &pipeline.relations {
        let (OperatorPlan::SourceTable(d, _) | OperatorPlan::SourceStream(d, _)) = &relation.operator else { continue };
        let Some(topic) = &d.topic else { continue };
        match first.get(topic.as_str()) {
            Some(first) => others.entry((*first).clone()).or_default().push(d.name.clone()),
            None => drop(first.insert(topic, &d.name)),
        }
    }
    others
}

/// The relations whose topic another one reads for them.
pub(super) fn has_no_position(pipeline: &Pipeline, relation: &str) -> bool {
    let is_file = |r: &crate::plan::Relation| match &r.operator {
        OperatorPlan::SourceTable(d, _) | OperatorPlan::SourceStream(d, _) => d.topic.is_none(),
        _ => false,
    };
    pipeline.relations.iter().any(|r| &*r.name == relation && is_file(r))
        || sharing(pipeline).values().flatten().any(|other| &**other == relation)
}

/// Hands the records of a topic to all relations over it; `source` reads each topic for the first of them.
pub fn with_shared_topics(pipeline: &Pipeline, source: Box<dyn Source>) -> Box<dyn Source> {
    let others = sharing(pipeline);
    if others.is_empty() { source } else { Box::new(SharedTopics { inner: source, others }) }
}

impl Source for SharedTopics {
    fn poll(&mut self, limit: PollLimit, wait: Duration, paused: &[Arc<str>]) -> Result<Polled, SourceError> {
        let mut polled = self.inner.poll(limit, wait, paused)?;
        for (first, others) in &self.others {
            if let Some(records) = polled.records.get(first).cloned() {
                polled.records.extend(others.iter().map(|other| (other.clone(), records.clone())));
            }
            copy_to_others(&mut polled.partitions, first, others);
            copy_to_others(&mut polled.reached, first, others);
        }
        Ok(polled)
    }

    fn rewind(&mut self, positions: &BTreeMap<SourcePartition, i64>) -> Result<(), SourceError> {
        let is_other = |p: &SourcePartition| self.others.values().flatten().any(|other| *other == p.relation);
        let own = positions.iter().filter(|(p, _)| !is_other(p)).map(|(p, at)| (p.clone(), *at)).collect();
        self.inner.rewind(&own)
    }

    fn contact(&self) -> Contact {
        self.inner.contact()
    }
}

/// Says of the partitions of the others what is said of those of the first.
fn copy_to_others<V: Clone>(of: &mut BTreeMap<SourcePartition, V>, first: &Arc<str>, others: &[Arc<str>]) {
    let own: Vec<(i32, V)> =
        of.iter().filter(|(p, _)| p.relation == *first).map(|(p, value)| (p.partition, value.clone())).collect();
    for other in others {
        let copy = |partition| SourcePartition { relation: other.clone(), partition };
        of.extend(own.iter().map(|(partition, value)| (copy(*partition), value.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::resolve;
    use crate::dialect::{Pack, parse};
    use crate::plan::plan;
    use crate::stream::{PartitionStatus, RecordBatchBytes, RecordMeta};

    struct One;

    impl Source for One {
        fn poll(&mut self, _: PollLimit, _: Duration, _: &[Arc<str>]) -> Result<Polled, SourceError> {
            let mut records = RecordBatchBytes::default();
            let meta = RecordMeta { partition: 1, offset: 7, timestamp_ms: None, sequence: 0, key: None, value: None };
            records.push(meta, None, Some(b"{}"));
            let status = PartitionStatus { position: 8, end: Some(8), caught_up: true, idle: false };
            let partition = SourcePartition { relation: "a".into(), partition: 1 };
            Ok(Polled {
                records: BTreeMap::from([("a".into(), records)]),
                partitions: BTreeMap::from([(partition, status)]),
                ..Polled::default()
            })
        }

        fn rewind(&mut self, positions: &BTreeMap<SourcePartition, i64>) -> Result<(), SourceError> {
            assert!(positions.keys().all(|p| &*p.relation == "a"), "{positions:?}");
            Ok(())
        }
    }

    #[test]
    fn every_relation_over_a_topic_gets_its_records_and_its_positions() {
        let rules = "CREATE STREAM a (x INT) WITH (topic = 't'); CREATE STREAM other (x INT); \
                     CREATE STREAM b (y INT) WITH (topic = 't');";
        let pipeline = plan(&resolve(parse(&Pack::from_text("rules.sql", rules)).0, None).unwrap()).unwrap();
        let mut source = with_shared_topics(&pipeline, Box::new(One));
        let polled = source.poll(PollLimit { records: 1, bytes: 1 }, Duration::ZERO, &[]).unwrap();
        let names: Vec<&str> = polled.records.keys().map(AsRef::as_ref).collect();
        assert_eq!(names, ["a", "b"]);
        let positions: BTreeMap<_, _> = polled.partitions.into_iter().map(|(p, s)| (p, s.position)).collect();
        assert_eq!(positions.len(), 2);
        source.rewind(&positions).unwrap();
        let lacking = ["a", "other", "b"].map(|name| has_no_position(&pipeline, name));
        assert_eq!(lacking, [false, false, true]);
    }
}
