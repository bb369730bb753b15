//! The ports on Kafka: sources, sinks and the state log, exactly once. The only module that knows rdkafka.
//!
//! [`connect`] checks the cluster and gives three handles of one worker. They share a consumer, which is the worker's
//! membership in the group `<pipeline>`, and a transactional producer. Every epoch is one transaction that holds outputs,
//! state deltas and positions; the generation of the membership in that transaction is what fences a worker that has lost
//! its partitions. `restore` must come before the first poll, and again after every error that says so.

mod client;
mod codecs;
mod committed_offsets;
mod connect;
mod demo;
mod end_offsets;
mod epoch_header;
mod failure;
mod history;
mod inspection;
mod leader_hints;
mod membership;
mod outgoing;
mod partition_progress;
mod producer;
mod properties;
mod record_queue;
mod session;
mod settings;
mod sink;
mod source;
mod state_admin;
mod state_keeper;
mod state_log;
mod state_reader;
mod statistics;
mod topics;

#[cfg(test)]
mod tests;

pub use connect::{Connection, connect, shards};
pub use demo::{DemoBroker, DemoProducer, DemoReader, DemoRecord};
pub use history::{HistoryRecord, TakeRecord, TopicEnds, read_topic};
pub use inspection::{
    ClockOffset, ClusterFacts, GroupFacts, GroupMember, Inspection, Operation, Operations, PartitionFacts, ServerFacts,
    ServerFault, ServerInfo, TopicFacts, TopicFault, TransactionFault, Unanswered, inspect_servers,
};
pub use properties::{property_fault, property_names};
pub use settings::{Settings, SourceTopic, audit_topic};
pub use sink::KafkaSink;
pub use source::KafkaSource;
pub use state_admin::{StateTopic, TopicPositions};
pub use state_log::KafkaStateLog;
pub use topics::ensure_topics;
