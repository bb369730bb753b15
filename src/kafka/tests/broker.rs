//! Against a real Apache Kafka, the only judge of exactly-once. `tests/run` starts one and runs these.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{Connection, Settings, StateTopic, connect};
use crate::stream::{CommitError, Outcome, OutputTopic, SealedEpoch, Sink, SourceError, SourcePartition, StateLog};

use super::{PATIENCE, Worker, records, settings};

const NEEDED: &str = "CURB_TEST_BROKER must name a real broker (tests/run sets it)";

/// A pipeline of its own on the real broker, so that tests do not meet.
struct Rig {
    brokers: String,
    settings: Settings,
}

/// A broker that a test may end, as a crash does.
struct OwnBroker {
    dir: String,
}

impl OwnBroker {
    fn new() -> Self {
        let broker = Self {
            dir: std::env::temp_dir().join(format!("curb-own-broker.{}", std::process::id())).display().to_string(),
        };
        broker.start();
        broker
    }

    fn script(&self, name: &str, options: &[&str]) {
        let path = format!("{}/tests/kafka/{name}", env!("CARGO_MANIFEST_DIR"));
        let status = Command::new(path).args(options).arg(&self.dir).status().unwrap();
        assert!(status.success(), "tests/kafka/{name} failed");
    }

    fn start(&self) {
        self.script("start", &[]);
    }

    fn kill(&self) {
        self.script("stop", &["--keep", "--kill"]);
    }

    fn brokers(&self) -> String {
        std::fs::read_to_string(format!("{}/bootstrap", self.dir)).unwrap().trim().to_owned()
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        self.script("stop", &[]);
    }
}

impl Rig {
    /// Makes the topics with `n_partitions` each, on the common broker.
    fn start(test: &str, n_partitions: i32) -> Self {
        Self::start_on(std::env::var("CURB_TEST_BROKER").expect(NEEDED), test, n_partitions)
    }

    fn start_on(brokers: String, test: &str, n_partitions: i32) -> Self {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let settings = settings(&brokers, &format!("{test}-{nanos}"));
        let rig = Self { brokers, settings };
        let topics = rig.settings.sources.iter().map(|s| s.topic.clone()).chain(rig.settings.outputs.values().cloned());
        for topic in topics {
            rig.create(&topic, n_partitions);
        }
        // The state topic is left to the worker.
        drop(connect(rig.settings.clone(), true).unwrap());
        rig
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap()
    }

    fn create(&self, topic: &str, n_partitions: i32) {
        let new = NewTopic::new(topic, n_partitions, TopicReplication::Fixed(1));
        block_on(self.admin().create_topics([&new], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    }

    fn set(&self, topic: &str, name: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        block_on(self.admin().alter_configs([&change], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.settings.pipeline)
    }

    fn producer(&self, transactional_id: Option<&str>) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("partitioner", "murmur2_random");
        if let Some(id) = transactional_id {
            config.set("transactional.id", id).set("transaction.timeout.ms", "10000").set("message.timeout.ms", "5000");
        }
        let producer: BaseProducer = config.create().unwrap();
        if transactional_id.is_some() {
            producer.init_transactions(PATIENCE).unwrap();
        }
        producer
    }

    fn send_with(&self, producer: &BaseProducer, relation: &str, from: usize, n: usize) {
        let topic = self.topic(relation);
        for i in from..from + n {
            let (key, value) = (format!("k{i}"), format!("{relation} {i:04}"));
            producer.send(BaseRecord::to(&topic).key(&key).payload(&value)).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    fn send(&self, relation: &str, from: usize, n: usize) {
        self.send_with(&self.producer(None), relation, from, n);
    }

    /// Sends records in a transaction that is committed or aborted, which leaves markers behind them.
    fn send_in_transaction(&self, relation: &str, from: usize, n: usize, commits: bool) {
        let producer = self.producer(Some(&self.topic("outside")));
        producer.begin_transaction().unwrap();
        self.send_with(&producer, relation, from, n);
        match commits {
            true => producer.commit_transaction(PATIENCE).unwrap(),
            false => producer.abort_transaction(PATIENCE).unwrap(),
        }
    }

    /// What an independent reader sees of a topic: values, and the headers of the last record.
    fn read(&self, name: &str, isolation: &str) -> (Vec<String>, Vec<String>) {
        let topic = self.topic(name);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("group.id", "reader").set("enable.auto.commit", "false");
        config.set("isolation.level", isolation).set("enable.partition.eof", "true");
        let reader: BaseConsumer = config.create().unwrap();
        let metadata = reader.fetch_metadata(Some(&topic), PATIENCE).unwrap();
        let n_partitions = metadata.topics()[0].partitions().len();
        let mut list = TopicPartitionList::new();
        for p in 0..n_partitions {
            list.add_partition_offset(&topic, p as i32, Offset::Beginning).unwrap();
        }
        reader.assign(&list).unwrap();
        let (mut values, mut headers, mut n_ended) = (Vec::new(), Vec::new(), 0);
        while n_ended < n_partitions {
            match reader.poll(PATIENCE) {
                Some(Ok(record)) => {
                    values
                        .push(record.payload().map_or("null".to_owned(), |b| String::from_utf8_lossy(b).into_owned()));
                    headers = record.headers().map_or(Vec::new(), |h| h.iter().map(|h| h.key.to_owned()).collect());
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => n_ended += 1,
                other => panic!("{other:?}"),
            }
        }
        values.sort();
        (values, headers)
    }

    fn committed(&self, name: &str) -> Vec<String> {
        self.read(name, "read_committed").0
    }

    fn worker(&self) -> Worker {
        let mut worker = Worker::start(self.settings.clone());
        worker.read_all();
        worker
    }
}

fn commit(worker: &mut Worker, outputs: &[&str]) -> Result<(), CommitError> {
    let epoch = worker.seal(outputs);
    worker.connection.sink.commit(&epoch)
}

/// Begins a transaction as the worker does and leaves it open, as a worker does that is killed between send and commit.
fn leave_open(rig: &Rig, text: &str) -> BaseProducer {
    let producer = rig.producer(Some(&rig.settings.worker()));
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to(&rig.topic("out")).key("k").payload(text).partition(0)).unwrap();
    producer.send(BaseRecord::<[u8], str>::to(&rig.topic("state")).payload("torn delta").partition(1)).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn outputs_deltas_and_positions_appear_together_or_not_at_all() {
    let rig = Rig::start("atomic", 3);
    rig.send("events", 0, 20);
    rig.send("rows", 0, 20);
    let mut worker = rig.worker();
    assert_eq!((worker.values("events").len(), worker.values("rows").len()), (20, 20));
    commit(&mut worker, &["a", "b"]).unwrap();
    let (values, headers) = rig.read("out", "read_committed");
    assert_eq!((values, headers), (vec!["a".to_owned(), "b".to_owned()], vec!["curb_id".to_owned()]));
    assert_eq!(rig.committed("state"), ["delta 1"]);

    // An output whose topic is gone fails after others have been written.
    let mut epoch = worker.seal(&["c"]);
    epoch.positions.values_mut().for_each(|p| *p += 1);
    epoch.outputs.push((OutputTopic::Rejected(Arc::from("events")), records(&["r"])));
    let rejected = rig.topic("events.rejected");
    block_on(rig.admin().delete_topics(&[&rejected], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    let failed = worker.connection.sink.commit(&epoch).unwrap_err();
    assert!(matches!(failed, CommitError::Aborted(_)), "{failed}");
    assert_eq!(rig.committed("out"), ["a", "b"]);
    assert_eq!(rig.committed("state"), ["delta 1"]);
    rig.create(&rejected, 1);

    // The worker can go back to what was committed, and so does its successor.
    rig.send("events", 20, 2);
    let restored = worker.restore().unwrap();
    assert_eq!((restored.epoch, restored.n_deltas), (1, 1));
    drop(worker);
    let mut worker = Worker::connect(rig.settings.clone()).unwrap();
    let restored = worker.restore().unwrap();
    assert_eq!((restored.epoch, restored.n_deltas), (1, 1));
    assert_eq!(restored.positions.values().sum::<i64>(), 40, "the aborted epoch's positions are gone too");
    worker.read_all();
    commit(&mut worker, &["c"]).unwrap();
    assert_eq!(rig.committed("out"), ["a", "b", "c"]);
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn after_an_abort_the_same_worker_commits_the_same_epoch_again() {
    let rig = Rig::start("again", 3);
    rig.send("events", 0, 20);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    rig.send_in_transaction("events", 20, 10, true);
    worker.poll_until(|w| w.values("events").len() == 30);
    // A delta that the broker refuses spoils the transaction after its outputs were sent.
    rig.set(&rig.topic("state"), "max.message.bytes", "100");
    let epoch = worker.seal(&["b"]);
    let failed = worker.connection.sink.commit(&epoch).unwrap_err();
    assert!(matches!(failed, CommitError::Aborted(_)), "{failed}");
    rig.set(&rig.topic("state"), "max.message.bytes", "1048588");
    assert_eq!(rig.committed("out"), ["a"]);
    let started = Instant::now();
    while let Err(failed) = worker.connection.sink.commit(&epoch) {
        assert!(matches!(failed, CommitError::Aborted(_)) && started.elapsed() < PATIENCE, "{failed}");
    }
    assert_eq!(rig.committed("out"), ["a", "b"]);
    assert_eq!(rig.committed("state"), ["delta 1", "delta 2"]);
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn a_restart_goes_on_exactly_where_the_last_commit_ended() {
    let rig = Rig::start("restart", 3);
    rig.send("events", 0, 10);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    rig.send("events", 10, 10);
    worker.poll_until(|w| w.values("events").len() == 20);
    drop(worker);
    let started = Instant::now();
    let mut worker = Worker::start(rig.settings.clone());
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "a stable name comes back without waiting: {:?}",
        started.elapsed()
    );
    worker.read_all();
    let wanted: Vec<String> = (10..20).map(|i| format!("events {i:04}")).collect();
    assert_eq!(worker.values("events"), wanted);
    assert_eq!(worker.deltas.len(), 1);
    commit(&mut worker, &["b"]).unwrap();
    assert_eq!(rig.committed("out"), ["a", "b"]);
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn what_a_killed_worker_left_open_never_shows_and_does_not_hold_up_its_successor() {
    let rig = Rig::start("killed", 2);
    rig.send("events", 0, 5);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    drop(worker);
    let open = leave_open(&rig, "torn");
    let started = Instant::now();
    let mut worker = rig.worker();
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(worker.deltas.len(), 1);
    commit(&mut worker, &["b"]).unwrap();
    assert_eq!(rig.committed("out"), ["a", "b"]);
    assert_eq!(rig.committed("state"), ["delta 1", "delta 2"]);
    assert!(open.commit_transaction(Duration::from_secs(5)).is_err(), "the killed one cannot commit any more");
    assert_eq!(rig.committed("out"), ["a", "b"]);
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn a_worker_is_fenced_by_a_newer_one_of_the_same_name() {
    let rig = Rig::start("fenced", 2);
    rig.send("events", 0, 5);
    let mut old = rig.worker();
    commit(&mut old, &["old 1"]).unwrap();
    let mut new = rig.worker();
    let failed = commit(&mut old, &["old 2"]).unwrap_err();
    assert!(matches!(failed, CommitError::Fenced(_)), "{failed}");
    commit(&mut new, &["new"]).unwrap();
    assert_eq!(rig.committed("out"), ["new", "old 1"]);
    let started = Instant::now();
    let stopped = loop {
        match old.poll(&[]) {
            Ok(_) => assert!(started.elapsed() < PATIENCE, "the older member was not told"),
            Err(error) => break error,
        }
    };
    assert!(matches!(stopped, SourceError::Fenced(_)), "{stopped}");
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn a_worker_whose_partitions_have_moved_cannot_commit_even_if_only_a_timer_fired() {
    let rig = Rig::start("moved", 2);
    rig.send("events", 0, 5);
    let mut first = rig.worker();
    commit(&mut first, &["a"]).unwrap();
    let positions = first.positions();
    // A program that is no worker joins the group and takes part of the partitions.
    let outsider = Outsider::join(&rig);
    let other = Settings { instance: 1, ..rig.settings.clone() };
    let newcomer = std::thread::spawn(move || Worker::connect(other).unwrap().restore().err().unwrap());
    let started = Instant::now();
    while first.poll(&[]).is_ok() {
        assert!(started.elapsed() < PATIENCE, "the first worker was not told");
    }
    let outputs = vec![(OutputTopic::Sink("out".into()), records(&["timer"]))];
    let timer = SealedEpoch { number: 2, positions, outputs, ..SealedEpoch::default() };
    let failed = first.connection.sink.commit(&timer).unwrap_err();
    assert!(matches!(failed, CommitError::AssignmentLost(_)), "{failed}");
    assert_eq!(rig.committed("out"), ["a"]);
    // The worker holds a part only, so it stops and says so; a newcomer does not join at all.
    let first_says = first.restore().unwrap_err();
    assert!(matches!(&first_says, SourceError::Policy(text) if text.contains("partitions of group")), "{first_says}");
    let other_says = newcomer.join().unwrap();
    assert!(matches!(&other_says, SourceError::Policy(text) if text.contains("another member")), "{other_says}");
    outsider.leave();
}

/// A member of the pipeline's group that is no worker.
struct Outsider {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Outsider {
    fn join(rig: &Rig) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &rig.brokers).set("group.id", &rig.settings.pipeline);
        config.set("partition.assignment.strategy", "range").set("enable.auto.commit", "false");
        let member: BaseConsumer = config.create().unwrap();
        member.subscribe(&[&rig.topic("events")]).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let _ = member.poll(Duration::from_millis(50));
            }
        });
        Self { stop, thread }
    }

    fn leave(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn a_table_is_caught_up_behind_markers_and_aborted_records() {
    let rig = Rig::start("markers", 1);
    rig.send_in_transaction("rows", 0, 10, true);
    rig.send_in_transaction("rows", 10, 10, false);
    rig.send_in_transaction("events", 0, 3, false);
    let mut worker = rig.worker();
    assert_eq!(worker.values("rows").len(), 10);
    assert!(worker.values("events").is_empty());
    let rows = SourcePartition { relation: "rows".into(), partition: 0 };
    let status = worker.statuses[&rows].clone();
    assert_eq!((status.position, status.caught_up), (22, true), "{status:?}");
    worker.poll_until(|w| w.statuses.values().all(|s| s.idle));
    commit(&mut worker, &[]).unwrap();
    drop(worker);
    let mut worker = Worker::connect(rig.settings.clone()).unwrap();
    let restored = worker.restore().unwrap();
    assert_eq!(restored.positions[&rows], 22);
    worker.read_all();
    assert!(worker.records.is_empty());
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn records_of_an_open_transaction_are_waited_for_and_their_partition_is_not_idle() {
    let rig = Rig::start("open", 1);
    let outside = rig.producer(Some(&rig.topic("outside")));
    outside.begin_transaction().unwrap();
    rig.send_with(&outside, "events", 0, 5);
    let mut worker = Worker::start(rig.settings.clone());
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        worker.poll(&[]).unwrap();
    }
    let events = SourcePartition { relation: "events".into(), partition: 0 };
    assert!(worker.records.is_empty());
    assert!(!worker.statuses[&events].caught_up && !worker.statuses[&events].idle, "{:?}", worker.statuses);
    outside.commit_transaction(PATIENCE).unwrap();
    worker.read_all();
    assert_eq!(worker.values("events").len(), 5);
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn the_state_decides_where_to_go_on_when_the_group_was_deleted() {
    let rig = Rig::start("expired", 2);
    rig.send("events", 0, 10);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    let positions = worker.positions();
    drop(worker);
    delete_group(&rig);
    let mut worker = Worker::connect(rig.settings.clone()).unwrap();
    let restored = worker.restore().unwrap();
    assert_eq!((restored.epoch, restored.positions), (1, positions));
    worker.read_all();
    assert!(worker.records.is_empty(), "nothing counts twice");
}

/// Deletes the group; a static member that has gone keeps it alive for the session timeout, so it is taken out first.
fn delete_group(rig: &Rig) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &rig.brokers).set("group.id", &rig.settings.pipeline);
    let started = Instant::now();
    loop {
        let outcome = block_on(rig.admin().delete_groups(&[&rig.settings.pipeline], &AdminOptions::new())).unwrap();
        match &outcome[0] {
            Ok(_) => return,
            Err((_, code)) => {
                assert!(started.elapsed() < Duration::from_secs(90), "{code}");
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn positions_that_differ_from_the_state_are_refused_with_both_numbers() {
    let rig = Rig::start("mismatch", 1);
    rig.send("events", 0, 10);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    drop(worker);
    delete_group(&rig);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &rig.brokers).set("group.id", &rig.settings.pipeline);
    let outside: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&rig.topic("events"), 0, Offset::Offset(7)).unwrap();
    list.add_partition_offset(&rig.topic("rows"), 0, Offset::Offset(0)).unwrap();
    outside.commit(&list, CommitMode::Sync).unwrap();
    drop(outside);
    let refused = Worker::connect(rig.settings.clone()).unwrap().restore().unwrap_err();
    assert!(matches!(refused, SourceError::Policy(_)), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("committed offset is 7") && text.contains("logged at 10"), "{text}");
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn an_offset_that_retention_has_taken_stops_the_worker_and_names_the_partition() {
    let rig = Rig::start("gone", 1);
    rig.send("events", 0, 10);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    drop(worker);
    rig.send("events", 10, 10);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&rig.topic("events"), 0, Offset::Offset(15)).unwrap();
    block_on(rig.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    let mut worker = Worker::start(rig.settings.clone());
    let started = Instant::now();
    let stopped = loop {
        match worker.poll(&[]) {
            Ok(_) => assert!(started.elapsed() < PATIENCE, "it went on: {:?}", worker.records),
            Err(error) => break error,
        }
    };
    let wanted = format!("topic `{}` partition 0", rig.topic("events"));
    assert!(matches!(&stopped, SourceError::Policy(text) if text.contains(&wanted)), "{stopped}");
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn missing_topics_are_made_on_demand_and_the_state_topic_keeps_everything() {
    let rig = Rig::start("made", 1);
    let mut other = settings(&rig.brokers, &format!("{}-2", rig.settings.pipeline));
    let refused = connect(other.clone(), false).err().unwrap().to_string();
    assert!(refused.contains("--create-topics"), "{refused}");
    let Connection { source, .. } = connect(other.clone(), true).unwrap();
    assert_eq!(source.partitions("events"), Some(4), "the broker's default");
    other.shards = 3;
    let refused = connect(other.clone(), true).err().unwrap().to_string();
    assert!(refused.contains("has 2 partitions, but the pipeline has 3 shards"), "{refused}");
    other.shards = 2;
    rig.set(&other.state_topic(), "retention.ms", "1000");
    let refused = connect(other, true).err().unwrap().to_string();
    assert!(refused.contains("retention.ms=1000") && refused.contains("retention.ms=-1"), "{refused}");
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn a_record_beyond_its_topics_limit_is_left_out_even_if_the_limit_was_lowered_meanwhile() {
    let rig = Rig::start("large", 1);
    rig.send("events", 0, 1);
    let mut worker = rig.worker();
    // No single letter repeated: the limit holds for compressed batches.
    let large: String =
        (0..200_000_u64).map(|i| char::from(33 + (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as u8)).collect();
    commit(&mut worker, &["a", &large]).unwrap();
    assert_eq!(rig.committed("out").len(), 2);
    rig.set(&rig.topic("out"), "max.message.bytes", "2000");
    let started = Instant::now();
    let epoch = worker.seal(&["b", &large, "c"]);
    while let Err(failed) = worker.connection.sink.commit(&epoch) {
        assert!(matches!(failed, CommitError::Aborted(_)) && started.elapsed() < PATIENCE, "{failed}");
    }
    let left_out = worker.connection.sink.take_undeliverable();
    assert_eq!(left_out.iter().map(|u| u.record_idx).collect::<Vec<_>>(), [1]);
    let values = rig.committed("out");
    assert_eq!(values.iter().filter(|v| v.len() == 1).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn no_value_and_an_empty_value_survive_the_way_out_and_in() {
    let rig = Rig::start("nulls", 1);
    rig.send("events", 0, 1);
    let mut worker = rig.worker();
    let mut epoch = worker.seal(&[]);
    let mut batch = records(&["x"]);
    let meta = batch.records[0].clone();
    batch.push(meta.clone(), Some(b"k"), None);
    batch.push(meta.clone(), Some(b"k"), Some(b""));
    batch.push(meta, None, Some(b"no key"));
    epoch.outputs = vec![(OutputTopic::Sink("out".into()), batch)];
    epoch.headers.clear();
    worker.connection.sink.commit(&epoch).unwrap();
    let mut back = rig.settings.clone();
    back.pipeline.push_str("-back");
    back.sources.truncate(1);
    back.sources[0].topic = rig.topic("out");
    back.outputs = BTreeMap::new();
    drop(connect(back.clone(), true).unwrap());
    let mut reader = Worker::start(back);
    reader.read_all();
    let seen: Vec<_> = reader.records.iter().map(|(_, k, v)| (k.as_deref(), v.as_deref())).collect();
    let wanted: [(Option<&[u8]>, Option<&[u8]>); 4] =
        [(Some(b"x"), Some(b"x")), (Some(b"k"), None), (Some(b"k"), Some(b"")), (None, Some(b"no key"))];
    assert_eq!(seen, wanted);
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn a_broker_that_is_killed_and_comes_back_loses_nothing_and_doubles_nothing() {
    let broker = OwnBroker::new();
    let rig = Rig::start_on(broker.brokers(), "outage", 2);
    rig.send("events", 0, 10);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    rig.send("events", 10, 10);
    worker.poll_until(|w| w.values("events").len() == 20);
    broker.kill();
    let epoch = worker.seal(&["b"]);
    let sink = &mut worker.connection.sink;
    let first = std::thread::scope(|threads| {
        let restarting = threads.spawn(|| {
            std::thread::sleep(Duration::from_secs(3));
            broker.start();
        });
        let first = sink.commit(&epoch);
        restarting.join().unwrap();
        first
    });
    // The commit may have outlasted the outage, have been given up, be in doubt, or the group may have given up the worker.
    let started = Instant::now();
    let mut outcome = first;
    while let Err(failed) = outcome {
        assert!(started.elapsed() < Duration::from_secs(120), "{failed}");
        outcome = match failed {
            CommitError::Aborted(_) => worker.connection.sink.commit(&epoch),
            CommitError::Unknown(_) => match worker.connection.sink.outcome(&epoch) {
                Ok(Outcome::Committed) => Ok(()),
                Ok(Outcome::NotCommitted) => worker.connection.sink.commit(&epoch),
                Err(failed) => Err(failed),
            },
            CommitError::AssignmentLost(_) => match worker.restore() {
                Ok(restored) if restored.epoch == 2 => Ok(()),
                Ok(_) => worker.connection.sink.commit(&epoch),
                Err(_) => Err(failed),
            },
            other => panic!("{other}"),
        };
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(rig.committed("out"), ["a", "b"]);
    assert_eq!(rig.committed("state"), ["delta 1", "delta 2"]);
    rig.send("events", 20, 1);
    worker.records.clear();
    worker.poll_until(|w| w.values("events").contains(&"events 0020".to_owned()));
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn the_committed_offsets_tell_what_became_of_an_epoch_in_doubt_even_of_timers_alone() {
    let rig = Rig::start("doubt", 2);
    rig.send("events", 0, 5);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    let positions = worker.positions();
    let outputs = vec![(OutputTopic::Sink("out".into()), records(&["timer"]))];
    let timer = SealedEpoch { number: 2, positions, outputs, ..SealedEpoch::default() };
    assert_eq!(worker.connection.sink.outcome(&timer).unwrap(), Outcome::NotCommitted);
    worker.connection.sink.commit(&timer).unwrap();
    assert_eq!(worker.connection.sink.outcome(&timer).unwrap(), Outcome::Committed);
    assert_eq!(rig.committed("out"), ["a", "timer"]);
}

/// Waits for the end of a shard's log.
fn end_of(worker: &mut Worker, shard: u32) -> i64 {
    let log = &mut worker.connection.state_log;
    log.ask_end(shard);
    let started = Instant::now();
    loop {
        if let Some((_, end)) = log.take_ends().into_iter().find(|(of, _)| *of == shard) {
            return end.expect("the broker answers");
        }
        assert!(started.elapsed() < PATIENCE, "no answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for the end of a shard's log to lie behind everything committed: a commit returns before its markers are written.
fn settled_end_of(worker: &mut Worker, topic: &StateTopic, shard: u32) -> i64 {
    let started = Instant::now();
    loop {
        let end = end_of(worker, shard);
        if topic.ranges().unwrap()[&shard].end == end {
            return end;
        }
        assert!(started.elapsed() < PATIENCE, "the markers are not written");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn a_shard_that_was_written_again_is_cut_off_and_read_back_from_there() {
    let rig = Rig::start("cut", 2);
    rig.send("events", 0, 10);
    let mut worker = rig.worker();
    for output in ["a", "b", "c"] {
        commit(&mut worker, &[output]).unwrap();
    }
    let topic = StateTopic::open(rig.settings.clone()).unwrap().unwrap();
    let end = settled_end_of(&mut worker, &topic, 1);
    let mut follower = worker.connection.state_log.follower().unwrap();
    assert_eq!(follower.range(1).unwrap().end, end);
    let held: Vec<_> = (0..2).map(|shard| follower.range(shard).unwrap()).collect();
    for output in ["d", "e"] {
        commit(&mut worker, &[output]).unwrap();
    }
    worker.connection.state_log.cut(1, end);
    let started = Instant::now();
    while follower.range(1).unwrap().start < end {
        assert!(started.elapsed() < PATIENCE, "nothing was deleted");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(follower.range(0).unwrap().start, held[0].start, "other shards are left alone");
    let mut values = Vec::new();
    let range = follower.range(1).unwrap();
    follower
        .read(1, range, &mut |offset, delta| {
            values.push((offset >= end, delta.bytes));
            Ok(())
        })
        .unwrap();
    assert!(!values.is_empty() && values.iter().all(|(is_behind, _)| *is_behind));
    drop(worker);
    let mut worker = Worker::connect(rig.settings.clone()).unwrap();
    let restored = worker.restore().unwrap();
    assert_eq!(restored.epoch, 5);
    assert!(worker.deltas.len() < 5 && worker.ranges[&1].start == end, "{:?}", worker.ranges);
    worker.read_all();
    commit(&mut worker, &["f"]).unwrap();
    assert_eq!(rig.committed("out"), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn a_restore_reads_from_where_it_is_told_and_a_follower_up_to_the_stable_offset() {
    let rig = Rig::start("from", 2);
    rig.send("events", 0, 10);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    let topic = StateTopic::open(rig.settings.clone()).unwrap().unwrap();
    let ends: BTreeMap<u32, i64> = (0..2).map(|shard| (shard, settled_end_of(&mut worker, &topic, shard))).collect();
    commit(&mut worker, &["b"]).unwrap();
    drop(worker);
    let open = leave_open(&rig, "torn");
    let mut other = Worker::connect(rig.settings.clone()).unwrap();
    let mut follower = other.connection.state_log.follower().unwrap();
    let high = topic.ranges().unwrap()[&1].end;
    assert!(follower.range(1).unwrap().end < high, "the open transaction is left out");
    other.starts = ends;
    let restored = other.restore().unwrap();
    assert_eq!((restored.epoch, other.deltas.len()), (2, 1), "the first epoch is not read");
    assert!(open.commit_transaction(Duration::from_secs(5)).is_err());
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn state_is_looked_at_and_deleted_from_outside() {
    let rig = Rig::start("outside", 2);
    rig.send("events", 0, 10);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    let mut topic = StateTopic::open(rig.settings.clone()).unwrap().unwrap();
    assert_eq!(topic.members().unwrap().len(), 1);
    let mut log = super::ReadLog::default();
    assert_eq!(topic.restore(&mut log).unwrap().epoch, 1);
    assert_eq!(topic.logged_positions(), &topic.committed_positions().unwrap());
    assert!(topic.delete_group().is_err(), "a group with members stays");
    topic.delete_records().unwrap();
    assert_eq!(topic.restore(&mut super::ReadLog::default()).unwrap().n_deltas, 0);
    topic.delete_topic().unwrap();
    let started = Instant::now();
    while StateTopic::open(rig.settings.clone()).unwrap().is_some() {
        assert!(started.elapsed() < PATIENCE, "the topic is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs a real broker: tests/run starts one"]
fn partitions_that_are_added_while_the_worker_runs_are_read_from_their_beginning() {
    let mut rig = Rig::start("grown", 2);
    rig.settings.properties.insert("topic.metadata.refresh.interval.ms".to_owned(), "300".to_owned());
    rig.send("events", 0, 10);
    let mut worker = rig.worker();
    commit(&mut worker, &["a"]).unwrap();
    let topic = rig.topic("events");
    let more = NewPartitions::new(&topic, 5);
    block_on(rig.admin().create_partitions([&more], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    // The producer must know of the new partitions, so that some records lie there before the worker does.
    let started = Instant::now();
    let admin = rig.admin();
    let n_partitions = || admin.inner().fetch_metadata(Some(&topic), PATIENCE).unwrap().topics()[0].partitions().len();
    while n_partitions() < 5 {
        assert!(started.elapsed() < PATIENCE, "the partitions were not added");
        std::thread::sleep(Duration::from_millis(50));
    }
    rig.send("events", 10, 100);
    while worker.poll(&[]).is_ok() {
        assert!(started.elapsed() < PATIENCE, "the new partitions were not found");
    }
    let restored = worker.restore().unwrap();
    assert_eq!((restored.epoch, restored.positions.len()), (1, 4), "the new partitions have no position yet");
    worker.poll_until(|w| w.values("events").len() >= 100);
    let sent: Vec<String> = (10..110).map(|i| format!("events {i:04}")).collect();
    assert_eq!(worker.values("events"), sent, "each once, those in the new partitions too");
    assert_eq!(worker.statuses.keys().filter(|p| &*p.relation == "events").count(), 5);
    commit(&mut worker, &["b"]).unwrap();
    drop(worker);
    let restored = Worker::start(rig.settings.clone());
    assert_eq!(restored.epoch, 2);
    assert_eq!(rig.committed("out"), ["a", "b"]);
}
