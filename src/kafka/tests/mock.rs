//! Against the broker in the process: reading, committing, and the branches that injected errors take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::client::{PlainContext, create};
use crate::kafka::producer::WriterContext;
use crate::kafka::record_queue::{Arrival, RecordQueue};
use crate::kafka::{DemoBroker, DemoProducer, Settings, connect};
use crate::stream::{
    CommitError, Outcome, OutputTopic, PollLimit, SealedEpoch, Sink, Source, SourceError, SourcePartition,
    kafka_partition,
};

use super::{PATIENCE, Worker, records, settings};

struct Rig {
    broker: DemoBroker,
    producer: DemoProducer,
}

impl Rig {
    fn start() -> Self {
        let broker = DemoBroker::start().unwrap();
        let producer = DemoProducer::connect(&broker.brokers().unwrap()).unwrap();
        for (topic, n) in [
            ("p.events", 3),
            ("p.rows", 2),
            ("p.out", 4),
            ("p.events.rejected", 1),
            ("p.state", 2),
            ("p.undeliverable", 1),
        ] {
            broker.create_topic(topic, n).unwrap();
        }
        Self { broker, producer }
    }

    fn settings(&self) -> Settings {
        Settings { simulated: true, ..settings(&self.broker.brokers().unwrap(), "p") }
    }

    fn cluster(&self) -> MockCluster<'_, WriterContext> {
        self.broker.cluster().unwrap()
    }

    fn send(&self, relation: &str, n: usize) {
        for i in 0..n {
            let key = format!("k{i}");
            let value = format!("{relation} {i}");
            self.producer
                .send(&format!("p.{relation}"), Some(key.as_bytes()), Some(value.as_bytes()), Some(7))
                .unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    /// A worker that has read ten events and ten rows and not committed them.
    fn loaded(&self) -> Worker {
        self.send("events", 10);
        self.send("rows", 10);
        let mut worker = Worker::start(self.settings());
        worker.read_all();
        worker
    }

    fn fail(&self, request: RDKafkaApiKey, errors: &[RDKafkaRespErr]) {
        self.cluster().request_errors(request, errors);
    }
}

#[test]
fn murmur2_chooses_the_partition_that_librdkafka_chooses() {
    for len in 0..40_usize {
        let key: Vec<u8> = (0..len).map(|i| (i * 37 + len) as u8).collect();
        for n_partitions in [1, 3, 8, 64] {
            // SAFETY: the partitioner reads the key and the count only, as the key is not null.
            let theirs = unsafe {
                rd::rd_kafka_msg_partitioner_murmur2_random(
                    std::ptr::null(),
                    key.as_ptr().cast(),
                    key.len(),
                    n_partitions,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                )
            };
            assert_eq!(kafka_partition(&key, n_partitions), theirs, "{key:?} {n_partitions}");
        }
    }
}

#[test]
fn every_record_is_handed_over_once_in_the_order_of_its_partition() {
    let rig = Rig::start();
    rig.send("events", 500);
    let mut worker = Worker::start(rig.settings());
    let mut next = [0; 3];
    let mut last_sequence = None;
    let mut n = 0;
    let started = Instant::now();
    while n < 500 {
        assert!(started.elapsed() < PATIENCE);
        let limit = PollLimit { records: 7, bytes: 1 << 20 };
        let polled = worker.connection.source.poll(limit, Duration::from_millis(100), &[]).unwrap();
        assert!(polled.records.values().map(|b| b.len()).sum::<usize>() <= 7);
        for record in polled.records.values().flat_map(|b| b.iter().map(|r| r.meta.clone()).collect::<Vec<_>>()) {
            assert_eq!(record.offset, next[record.partition as usize]);
            assert!(last_sequence < Some(record.sequence));
            assert_eq!(record.timestamp_ms, Some(7));
            next[record.partition as usize] += 1;
            last_sequence = Some(record.sequence);
            n += 1;
        }
    }
}

#[test]
fn a_paused_relation_waits_and_is_not_idle_and_comes_whole_afterwards() {
    let rig = Rig::start();
    rig.send("events", 50);
    rig.send("rows", 5);
    let mut worker = Worker::start(rig.settings());
    let paused = [Arc::from("events")];
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        worker.poll(&paused).unwrap();
    }
    assert_eq!(worker.values("rows").len(), 5);
    assert!(worker.values("events").is_empty());
    assert!(!worker.connection.source.caught_up());
    for (partition, status) in &worker.statuses {
        assert_eq!(status.idle, &*partition.relation == "rows", "{partition:?} {status:?}");
    }
    worker.read_all();
    assert_eq!(worker.values("events").len(), 50);
}

#[test]
fn a_reader_that_is_slower_than_the_broker_holds_no_more_than_it_may() {
    const LIMIT_KIB: usize = 256;
    const RECORD_KIB: usize = 4;
    const N: usize = 1000;
    let rig = Rig::start();
    for n in 0..N {
        rig.producer.send("p.out", Some(b"k"), Some(&[b'x'; RECORD_KIB << 10]), None).unwrap();
        // A broker's answer has a whole batch at least, so batches must be small.
        if n % 8 == 7 {
            rig.producer.flush(PATIENCE).unwrap();
        }
    }
    rig.producer.flush(PATIENCE).unwrap();
    let mut config = rig.settings().state_consumer();
    config.set("queued.max.messages.kbytes", LIMIT_KIB.to_string());
    config.set("fetch.message.max.bytes", "65536");
    config.set("fetch.queue.backoff.ms", "1");
    let consumer: Arc<BaseConsumer<PlainContext>> = Arc::new(create(&config, PlainContext::default()).unwrap());
    let mut queue = RecordQueue::new(consumer.clone(), "p.out", 4, Arc::default()).unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..4 {
        list.add_partition_offset("p.out", partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut offsets, mut most_waiting) = (Vec::new(), 0);
    let started = Instant::now();
    while offsets.len() < N {
        assert!(started.elapsed() < PATIENCE, "{} records", offsets.len());
        let taken = queue.take(4, |arrival| {
            if let Arrival::Record(record) = arrival {
                offsets.push(record.offset);
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        taken.unwrap();
        most_waiting = most_waiting.max(queue.waiting());
    }
    assert!(offsets.iter().copied().eq(0..N as i64), "in their order, each once");
    // What one more answer of the broker brings comes on top.
    let limit = (LIMIT_KIB + 2 * 64) / RECORD_KIB;
    assert!(most_waiting < limit, "{most_waiting} records waited, {limit} are the limit");
}

#[test]
fn what_cannot_be_handled_ends_a_take_and_the_rest_comes_with_the_next() {
    let rig = Rig::start();
    for i in 0..10_u8 {
        rig.producer.send("p.out", Some(b"k"), Some(&[i]), None).unwrap();
    }
    rig.producer.flush(PATIENCE).unwrap();
    let config = rig.settings().state_consumer();
    let consumer: Arc<BaseConsumer<PlainContext>> = Arc::new(create(&config, PlainContext::default()).unwrap());
    let mut queue = RecordQueue::new(consumer.clone(), "p.out", 4, Arc::default()).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("p.out", kafka_partition(b"k", 4), Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let (mut values, mut n_failed) = (Vec::new(), 0);
    let started = Instant::now();
    while values.len() < 10 {
        assert!(started.elapsed() < PATIENCE, "{values:?}");
        let taken = queue.take(3, |arrival| match arrival {
            Arrival::Record(record) => {
                values.push(record.value.unwrap()[0]);
                if record.offset == 4 { Err(SourceError::Io("broken".into())) } else { Ok(()) }
            }
            _ => Ok(()),
        });
        match taken {
            Ok(n) => assert!(n <= 3),
            Err(error) => {
                n_failed += 1;
                assert_eq!((error.to_string().contains("broken"), values.len()), (true, 5));
            }
        }
    }
    assert_eq!((values, n_failed), ((0..10).collect(), 1));
}

#[test]
fn no_value_and_an_empty_value_are_kept_apart() {
    let rig = Rig::start();
    rig.producer.send("p.rows", Some(b"a"), None, None).unwrap();
    rig.producer.send("p.rows", Some(b"a"), Some(b""), None).unwrap();
    rig.producer.send("p.events", None, Some(b"x"), None).unwrap();
    rig.producer.send("p.events", Some(b""), Some(b"y"), None).unwrap();
    rig.producer.flush(PATIENCE).unwrap();
    let mut worker = Worker::start(rig.settings());
    worker.read_all();
    let found = |relation: &str, key: Option<&[u8]>, value: Option<&[u8]>| {
        let wanted = (relation.to_owned(), key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        assert!(worker.records.contains(&wanted), "{wanted:?} in {:?}", worker.records);
    };
    found("rows", Some(b"a"), None);
    found("rows", Some(b"a"), Some(b""));
    found("events", None, Some(b"x"));
    found("events", Some(b""), Some(b"y"));
}

#[test]
fn a_record_wakes_a_waiting_poll() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    worker.poll_until(|w| w.statuses.values().all(|s| s.idle));
    let sent = Instant::now();
    rig.send("events", 1);
    worker.poll_until(|w| w.records.len() == 21);
    assert!(sent.elapsed() < Duration::from_millis(500), "{:?}", sent.elapsed());
}

#[test]
fn what_is_committed_is_not_read_again_and_what_is_aborted_is_committed_again() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    let epoch = worker.seal(&["a"]);
    worker.connection.sink.commit(&epoch).unwrap();
    rig.send("events", 3);
    worker.records.clear();
    worker.poll_until(|w| w.records.len() == 3);

    rig.fail(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 4]);
    let epoch = worker.seal(&["b"]);
    let failed = worker.connection.sink.commit(&epoch).unwrap_err();
    assert!(matches!(failed, CommitError::Aborted(_)), "{failed}");
    rig.cluster().clear_request_errors(RDKafkaApiKey::Produce);
    // The client may notice only now that sequence numbers are missing, and ask for another abort.
    let cleared = Instant::now();
    while let Err(failed) = worker.connection.sink.commit(&epoch) {
        assert!(matches!(failed, CommitError::Aborted(_)) && cleared.elapsed() < PATIENCE, "{failed}");
    }
    rig.send("events", 1);
    worker.records.clear();
    worker.poll_until(|w| w.records.len() == 1);
}

#[test]
fn a_restart_restores_every_delta_and_goes_on_at_its_positions() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    for n in 21..24 {
        let epoch = worker.seal(&[]);
        worker.connection.sink.commit(&epoch).unwrap();
        rig.send("events", 1);
        worker.poll_until(|w| w.positions().values().sum::<i64>() == n);
    }
    let positions = worker.positions();
    let epoch = worker.seal(&[]);
    worker.connection.sink.commit(&epoch).unwrap();
    drop(worker);

    let mut worker = Worker::connect(rig.settings()).unwrap();
    let restored = worker.restore().unwrap();
    assert_eq!((restored.epoch, restored.n_deltas), (4, 4));
    let deltas: Vec<&[u8]> = worker.deltas.iter().map(|d| d.bytes.as_slice()).collect();
    assert_eq!(deltas, [b"delta 1".as_slice(), b"delta 2", b"delta 3", b"delta 4"]);
    assert_eq!(restored.positions, positions);
    worker.read_all();
    assert!(worker.records.is_empty(), "{:?}", worker.records);
}

#[test]
fn an_epoch_without_deltas_still_logs_its_positions() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    let epoch = SealedEpoch { deltas: Vec::new(), ..worker.seal(&[]) };
    let positions = epoch.positions.clone();
    worker.connection.sink.commit(&epoch).unwrap();
    drop(worker);
    let restored = Worker::connect(rig.settings()).unwrap().restore().unwrap();
    assert_eq!((restored.epoch, restored.n_deltas, restored.positions), (1, 0, positions));
}

#[test]
fn outputs_go_to_the_partition_of_their_key() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    let keys: Vec<String> = (0..40).map(|i| format!("key {i}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let epoch = worker.seal(&keys);
    worker.connection.sink.commit(&epoch).unwrap();
    drop(worker);
    let mut back = rig.settings();
    back.pipeline = "q".to_owned();
    back.sources.truncate(1);
    back.sources[0].topic = "p.out".to_owned();
    back.outputs.clear();
    rig.broker.create_topic("q.state", 2).unwrap();
    rig.broker.create_topic("q.undeliverable", 1).unwrap();
    let mut worker = Worker::start(back);
    let mut n = 0;
    while n < keys.len() {
        for batch in worker.poll(&[]).unwrap().records.values() {
            for record in batch.iter() {
                assert_eq!(record.meta.partition, kafka_partition(record.key.unwrap(), 4));
                n += 1;
            }
        }
    }
}

#[test]
fn retriable_errors_of_a_commit_are_overcome() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    use RDKafkaRespErr as E;
    rig.fail(RDKafkaApiKey::AddPartitionsToTxn, &[E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 2]);
    rig.fail(RDKafkaApiKey::TxnOffsetCommit, &[E::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 2]);
    rig.fail(RDKafkaApiKey::EndTxn, &[E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 2]);
    rig.fail(RDKafkaApiKey::Produce, &[E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
    let epoch = worker.seal(&["a"]);
    worker.connection.sink.commit(&epoch).unwrap();
}

#[test]
fn retriable_errors_of_the_start_are_overcome() {
    let rig = Rig::start();
    rig.send("events", 10);
    rig.fail(RDKafkaApiKey::InitProducerId, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 3]);
    let mut worker = Worker::start(rig.settings());
    worker.read_all();
    assert_eq!(worker.values("events").len(), 10);
}

#[test]
fn an_illegal_generation_drops_the_epoch_and_asks_for_a_restore() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    rig.fail(RDKafkaApiKey::TxnOffsetCommit, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION]);
    let epoch = worker.seal(&["a"]);
    let failed = worker.connection.sink.commit(&epoch).unwrap_err();
    assert!(matches!(failed, CommitError::AssignmentLost(_)), "{failed}");
    assert!(matches!(worker.poll(&[]), Err(SourceError::AssignmentLost(_))));
    // This broker shows aborted records, so what is restored says nothing here.
    worker.restore().unwrap();
    rig.send("events", 1);
    worker.poll_until(|w| w.values("events").len() == 1);
}

#[test]
fn a_fenced_writer_stops() {
    let rig = Rig::start();
    for request in [RDKafkaApiKey::EndTxn, RDKafkaApiKey::AddOffsetsToTxn] {
        let mut worker = rig.loaded();
        rig.fail(request, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
        let epoch = worker.seal(&["a"]);
        let failed = worker.connection.sink.commit(&epoch).unwrap_err();
        assert!(matches!(failed, CommitError::Fenced(_)), "{failed}");
    }
}

#[test]
fn a_commit_that_nobody_answers_has_an_unknown_outcome_and_no_abort() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    rig.fail(RDKafkaApiKey::EndTxn, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 100_000]);
    let epoch = worker.seal(&["a"]);
    let failed = worker.connection.sink.commit(&epoch).unwrap_err();
    assert!(matches!(failed, CommitError::Unknown(_)), "{failed}");
    rig.cluster().clear_request_errors(RDKafkaApiKey::EndTxn);
    // This broker never stores the offsets of a transaction, so that it says of every one that it was not committed.
    assert_eq!(worker.connection.sink.outcome(&epoch).unwrap(), Outcome::NotCommitted);
    worker.connection.sink.commit(&epoch).unwrap();
    worker.poll(&[]).unwrap();
}

#[test]
fn a_record_beyond_the_limit_is_left_out_and_named_and_the_rest_is_committed() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    let large = "x".repeat(2 << 20);
    let mut epoch = worker.seal(&["a", &large, "b"]);
    epoch.outputs.push((OutputTopic::Rejected(Arc::from("events")), records(&[&large])));
    worker.connection.sink.commit(&epoch).unwrap();
    let left_out = worker.connection.sink.take_undeliverable();
    assert_eq!(left_out.len(), 1, "the rejected record went without its bytes");
    assert_eq!((left_out[0].record_idx, &left_out[0].output), (1, &OutputTopic::Sink(Arc::from("out"))));
    assert!(left_out[0].bytes > left_out[0].limit_bytes);
    assert!(worker.connection.sink.take_undeliverable().is_empty());
    assert!(worker.connection.sink.max_delta_bytes() > 900_000);
}

#[test]
fn an_epoch_that_says_nothing_new_opens_no_transaction() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    let epoch = worker.seal(&["a"]);
    let positions = epoch.positions.clone();
    worker.connection.sink.commit(&epoch).unwrap();
    rig.fail(RDKafkaApiKey::EndTxn, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
    let idle = SealedEpoch { number: 2, positions: positions.clone(), ..SealedEpoch::default() };
    worker.connection.sink.commit(&idle).unwrap();
    let foreign = SealedEpoch {
        number: 2,
        outputs: vec![(OutputTopic::Sink("out".into()), records(&["b"]))],
        ..SealedEpoch::default()
    };
    assert!(matches!(worker.connection.sink.commit(&foreign), Err(CommitError::Fatal(_))), "nothing could fence it");
}

#[test]
fn a_timer_only_epoch_is_fenced_too() {
    let rig = Rig::start();
    let mut worker = rig.loaded();
    let epoch = worker.seal(&["a"]);
    let positions = epoch.positions.clone();
    worker.connection.sink.commit(&epoch).unwrap();
    rig.fail(RDKafkaApiKey::TxnOffsetCommit, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION]);
    let outputs = vec![(OutputTopic::Sink("out".into()), records(&["b"]))];
    let timer = SealedEpoch { number: 2, positions, outputs, ..SealedEpoch::default() };
    assert!(matches!(worker.connection.sink.commit(&timer), Err(CommitError::AssignmentLost(_))));
}

#[test]
fn polling_before_the_restore_asks_for_it() {
    let rig = Rig::start();
    let mut worker = Worker::connect(rig.settings()).unwrap();
    assert!(matches!(worker.poll(&[]), Err(SourceError::AssignmentLost(_))));
}

#[test]
fn missing_topics_are_all_named_with_the_remedy() {
    let broker = DemoBroker::start().unwrap();
    broker.create_topic("p.rows", 1).unwrap();
    let settings = Settings { simulated: true, ..settings(&broker.brokers().unwrap(), "p") };
    let Err(SourceError::Configuration(text)) = connect(settings, false) else { panic!("not refused") };
    for name in ["`p.events`", "`p.out`", "`p.events.rejected`", "`p.state`", "--create-topics"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(!text.contains("`p.rows`"), "{text}");
}

#[test]
fn a_broker_that_is_not_there_is_unreachable_within_its_time() {
    let started = Instant::now();
    let refused = connect(settings("127.0.0.1:1", "p"), false).err().unwrap();
    assert!(matches!(&refused, SourceError::Unreachable(text) if text.contains("127.0.0.1:1")), "{refused}");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings("127.0.0.1:1", "p");
        change(&mut settings);
        connect(settings, false).err().unwrap().to_string()
    };
    let set = |name: &'static str, value: &'static str| {
        move |s: &mut Settings| drop(s.properties.insert(name.to_owned(), value.to_owned()))
    };
    assert!(refused(&set("isolation.level", "read_uncommitted")).contains("`isolation.level`"));
    let typo = refused(&set("sasl.pasword", "secret"));
    assert!(typo.contains("`sasl.pasword`") && !typo.contains("secret"), "{typo}");
    assert!(refused(&|s| s.sources[1].topic = s.sources[0].topic.clone()).contains("both read topic `p.events`"));
    assert!(refused(&|s| s.pipeline = "a b".to_owned()).contains("`a b`"));
}

#[test]
fn the_number_of_partitions_is_known_by_relation() {
    let rig = Rig::start();
    let connection = connect(rig.settings(), false).unwrap();
    assert_eq!(connection.source.partitions("events"), Some(3));
    assert_eq!(connection.source.partitions("nothing"), None);
    assert_eq!(connection.sink.partitions(&OutputTopic::Sink("out".into())), Some(4));
}

#[test]
fn every_partition_tells_its_status_after_a_start_also_when_it_is_empty() {
    let rig = Rig::start();
    let mut worker = Worker::start(rig.settings());
    worker.poll(&[]).unwrap();
    assert_eq!(worker.statuses.len(), 5);
    assert!(worker.statuses.values().all(|s| s.caught_up && s.position == 0));
    let events = SourcePartition { relation: "events".into(), partition: 2 };
    assert!(worker.statuses.contains_key(&events));
}

/// What an epoch came to in one word; a commit is one that succeeded.
fn outcome(committed: Result<(), CommitError>) -> &'static str {
    committed.map_or_else(|error| error.result(), |()| "commit")
}

#[test]
fn every_class_of_answer_to_a_request_takes_its_branch() {
    use RDKafkaApiKey as Request;
    use RDKafkaRespErr as E;
    let cases: &[(Request, E, &str)] = &[
        // Retriable: overcome by the client or by the same call again.
        (Request::AddPartitionsToTxn, E::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, "commit"),
        (Request::AddPartitionsToTxn, E::RD_KAFKA_RESP_ERR__TRANSPORT, "commit"),
        (Request::AddOffsetsToTxn, E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR, "commit"),
        (Request::AddOffsetsToTxn, E::RD_KAFKA_RESP_ERR__TRANSPORT, "commit"),
        (Request::TxnOffsetCommit, E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, "commit"),
        (Request::TxnOffsetCommit, E::RD_KAFKA_RESP_ERR__TRANSPORT, "commit"),
        (Request::Produce, E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, "commit"),
        (Request::Produce, E::RD_KAFKA_RESP_ERR__TRANSPORT, "commit"),
        (Request::EndTxn, E::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, "commit"),
        (Request::EndTxn, E::RD_KAFKA_RESP_ERR__TRANSPORT, "commit"),
        // Abortable: nothing is visible, and the same epoch may be committed again.
        (Request::AddPartitionsToTxn, E::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, "abort"),
        (Request::Produce, E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "abort"),
        (Request::Produce, E::RD_KAFKA_RESP_ERR_INVALID_RECORD, "abort"),
        // A right that was taken away may be given back: the worker goes on then, without a restart.
        (Request::AddPartitionsToTxn, E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "abort"),
        (Request::TxnOffsetCommit, E::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "abort"),
        // The partitions belong to another generation.
        (Request::TxnOffsetCommit, E::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, "lost"),
        // Another writer or member has taken over.
        (Request::AddPartitionsToTxn, E::RD_KAFKA_RESP_ERR_PRODUCER_FENCED, "fenced"),
        (Request::TxnOffsetCommit, E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, "fenced"),
        (Request::TxnOffsetCommit, E::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, "fenced"),
        (Request::EndTxn, E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, "fenced"),
        // For the operator to mend.
        (Request::AddPartitionsToTxn, E::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "fatal"),
        (Request::EndTxn, E::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "fatal"),
        // The client is of no use any more. Before the commit was asked for, nothing can be visible; after, nobody knows.
        (Request::AddPartitionsToTxn, E::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, "abort"),
        (Request::TxnOffsetCommit, E::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, "abort"),
        (Request::EndTxn, E::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, "unknown"),
    ];
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|(request, error, expected)| {
                scope.spawn(move || {
                    let rig = Rig::start();
                    let mut worker = rig.loaded();
                    rig.fail(*request, &[*error]);
                    let epoch = worker.seal(&["a"]);
                    let committed = worker.connection.sink.commit(&epoch);
                    let text = committed.as_ref().err().map(ToString::to_string);
                    let found = outcome(committed);
                    (found != *expected).then(|| format!("{request:?} {error:?}: {found}, not {expected}: {text:?}"))
                })
            })
            .collect();
        running.into_iter().filter_map(|case| case.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_class_of_answer_at_the_start_takes_its_branch() {
    use RDKafkaRespErr as E;
    let rig = Rig::start();
    for (error, expected) in [
        (E::RD_KAFKA_RESP_ERR__TRANSPORT, "none"),
        (E::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, "none"),
        (E::RD_KAFKA_RESP_ERR_PRODUCER_FENCED, "fenced"),
        (E::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "configuration"),
        (E::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, "configuration"),
    ] {
        let mut worker = Worker::connect(rig.settings()).unwrap();
        rig.fail(RDKafkaApiKey::InitProducerId, &[error]);
        let found = match worker.restore() {
            Ok(_) => "none",
            Err(SourceError::Fenced(_)) => "fenced",
            Err(SourceError::Configuration(_)) => "configuration",
            Err(other) => panic!("{error:?}: {other}"),
        };
        assert_eq!(found, expected, "{error:?}");
        rig.cluster().clear_request_errors(RDKafkaApiKey::InitProducerId);
    }
}
