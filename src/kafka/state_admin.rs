//! The state of a pipeline as an operator sees it from outside: what its topic holds, who works on it, and an end to it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use futures::executor::block_on;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::stream::{LogReader, Restored, SourceError, SourcePartition, StateLog};

use super::client::{ANSWER_TIMEOUT, PlainContext, create, serve_events};
use super::connect::shards;
use super::end_offsets::{Probe, Watermarks, watermarks_of_all};
use super::settings::Settings;
use super::state_reader::{ReadState, read_state};
use super::topics;

/// A position by topic and partition.
pub type TopicPositions = BTreeMap<String, BTreeMap<i32, i64>>;

/// The state topic of a pipeline that may be running or not. Nothing that is done here joins its group.
pub struct StateTopic {
    settings: Settings,
    probe: Probe,
    n_shards: u32,
    /// What the last epoch that was read said of its positions.
    logged: TopicPositions,
}

impl StateTopic {
    /// Finds the state topic; none where the pipeline has none.
    pub fn open(settings: Settings) -> Result<Option<Self>, SourceError> {
        let Some(n_shards) = shards(&settings)? else { return Ok(None) };
        let probe = create(&settings.probe(), PlainContext::default())?;
        Ok(Some(Self { settings, probe, n_shards, logged: BTreeMap::new() }))
    }

    /// The topic's name.
    pub fn name(&self) -> String {
        self.settings.state_topic()
    }

    /// The number of shards, each a partition.
    pub fn n_shards(&self) -> u32 {
        self.n_shards
    }

    /// By shard the first offset that is still there, and the one behind the last.
    pub fn ranges(&self) -> Result<BTreeMap<u32, Range<i64>>, SourceError> {
        let topic = self.name();
        let relation: Arc<str> = topic.as_str().into();
        let partition = |p| SourcePartition { relation: relation.clone(), partition: p };
        let asked = (0..self.n_shards as i32).map(|p| (partition(p), topic.clone())).collect();
        let found = watermarks_of_all(&self.probe, &self.settings.brokers, asked)?;
        let range = |(p, Watermarks { low, high }): (SourcePartition, Watermarks)| (p.partition as u32, low..high);
        Ok(found.into_iter().map(range).collect())
    }

    /// The positions that the last epoch read was logged with, by source topic.
    pub fn logged_positions(&self) -> &TopicPositions {
        &self.logged
    }

    /// The group's committed offsets of the partitions that the state names.
    pub fn committed_positions(&self) -> Result<TopicPositions, SourceError> {
        let reader: Probe = create(&self.settings.state_consumer(), PlainContext::default())?;
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in &self.logged {
            for partition in partitions.keys() {
                list.add_partition(topic, *partition);
            }
        }
        let asked = reader.committed_offsets(list, ANSWER_TIMEOUT);
        serve_events(&reader);
        let question = format!("read the offsets of group `{}`", self.settings.pipeline);
        let answer = asked.map_err(|e| reader.context().connection.explain(&question, &self.settings.brokers, &e))?;
        let mut committed = TopicPositions::new();
        for element in answer.elements() {
            if let Offset::Offset(offset) = element.offset() {
                committed.entry(element.topic().to_owned()).or_default().insert(element.partition(), offset);
            }
        }
        Ok(committed)
    }

    /// The client ids of the members of the pipeline's group: its running workers.
    pub fn members(&self) -> Result<Vec<String>, SourceError> {
        let group = &self.settings.pipeline;
        let asked = self.probe.fetch_group_list(Some(group), ANSWER_TIMEOUT);
        serve_events(&self.probe);
        let question = format!("ask for the members of group `{group}`");
        let list = asked.map_err(|e| self.probe.context().connection.explain(&question, &self.settings.brokers, &e))?;
        let members = list.groups().iter().flat_map(|g| g.members());
        Ok(members.map(|m| m.client_id().to_owned()).collect())
    }

    /// Deletes the group with its offsets. Returns whether there was one.
    pub fn delete_group(&self) -> Result<bool, SourceError> {
        let group = self.settings.pipeline.as_str();
        let failed = |what: String| SourceError::Configuration(format!("could not delete group `{group}`: {what}"));
        let admin = topics::admin(&self.settings)?;
        let answers = block_on(admin.delete_groups(&[group], &topics::options())).map_err(|e| failed(e.to_string()))?;
        match answers.into_iter().next() {
            Some(Ok(_)) => Ok(true),
            Some(Err((_, RDKafkaErrorCode::GroupIdNotFound))) | None => Ok(false),
            Some(Err((_, code))) => Err(failed(code.to_string())),
        }
    }

    /// Deletes the topic.
    pub fn delete_topic(&self) -> Result<(), SourceError> {
        let topic = self.name();
        let failed = |what: String| SourceError::Configuration(format!("could not delete topic `{topic}`: {what}"));
        let admin = topics::admin(&self.settings)?;
        let answers =
            block_on(admin.delete_topics(&[&topic], &topics::options())).map_err(|e| failed(e.to_string()))?;
        match answers.into_iter().next() {
            Some(Err((_, code))) => Err(failed(code.to_string())),
            _ => Ok(()),
        }
    }

    /// Deletes everything in the topic, but not the topic.
    pub fn delete_records(&self) -> Result<(), SourceError> {
        let topic = self.name();
        let failed = |e: KafkaError| SourceError::Configuration(format!("could not empty topic `{topic}`: {e}"));
        let mut ends = TopicPartitionList::new();
        for shard in 0..self.n_shards as i32 {
            ends.add_partition_offset(&topic, shard, Offset::End).map_err(failed)?;
        }
        let admin = topics::admin(&self.settings)?;
        let deleted = block_on(admin.delete_records(&ends, &topics::options())).map_err(failed)?;
        deleted.elements().iter().try_for_each(|element| element.error()).map_err(failed)
    }
}

impl StateLog for StateTopic {
    /// Reads what is committed, with no claim on the pipeline: a worker may go on writing meanwhile.
    fn restore(&mut self, reader: &mut dyn LogReader) -> Result<Restored, SourceError> {
        let held = self.ranges()?;
        let starts = reader.begin(&held);
        let from = |shard: u32, range: Range<i64>| starts.get(&shard).copied().unwrap_or(range.start)..range.end;
        let ranges = held.into_iter().map(|(shard, range)| (shard as i32, from(shard, range))).collect();
        let ReadState { last, n_deltas } =
            read_state(&self.settings, &ranges, &mut || Ok(()), &mut |offset, delta| reader.take(offset, delta))?;
        let epoch = last.as_ref().map_or(0, |header| header.epoch);
        self.logged = last.map(|header| header.positions).unwrap_or_default();
        Ok(Restored { positions: BTreeMap::new(), n_deltas, epoch })
    }
}
