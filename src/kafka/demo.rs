//! A broker inside the process, for the demo and for tests of the protocol: librdkafka's mock cluster.
//!
//! It proves nothing of exactly-once: records of aborted and open transactions are visible, offsets sent in transactions are
//! not stored, nobody is fenced, and a partition keeps only the last 5 MiB. Topics are made on this handle.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::stream::SourceError;

use super::client::{PlainContext, create};
use super::failure::read_failure;
use super::producer::{WriterContext, flush};
use super::settings::{DEMO_FETCH_WAIT_MS, Settings};

/// How often the mock broker is nudged while it has an order.
const NUDGE_INTERVAL: Duration = Duration::from_millis(1);

/// A Kafka broker in this process; it ends when it is dropped.
pub struct DemoBroker {
    // The mock cluster belongs to this client.
    owner: BaseProducer<WriterContext>,
}

impl DemoBroker {
    /// Starts a broker on a free port of this machine.
    pub fn start() -> Result<Self, SourceError> {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", "1");
        let owner: BaseProducer<WriterContext> = create(&config, WriterContext::default())?;
        // SAFETY: the mock cluster lives as long as its client, which is alive; the call sets a number in it.
        unsafe {
            let cluster = rd::rd_kafka_handle_mock_cluster(owner.client().native_ptr());
            if cluster.is_null() {
                return Err(SourceError::Io("could not start the demo broker".to_owned()));
            }
            rd::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
        }
        Ok(Self { owner })
    }

    pub(super) fn cluster(&self) -> Result<MockCluster<'_, WriterContext>, SourceError> {
        let cluster = self.owner.client().mock_cluster();
        cluster.ok_or_else(|| SourceError::Io("the demo broker has ended".to_owned()))
    }

    /// The address to connect to.
    pub fn brokers(&self) -> Result<String, SourceError> {
        Ok(self.cluster()?.bootstrap_servers())
    }

    /// Makes a topic.
    ///
    /// The mock broker looks at its orders when something moves on its sockets, else once a second; now and then it misses
    /// the signal that an order has come. Connections that are opened meanwhile keep it looking.
    pub fn create_topic(&self, name: &str, n_partitions: i32) -> Result<(), SourceError> {
        let brokers = self.brokers()?;
        let is_made = AtomicBool::new(false);
        let made = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_made.load(Ordering::Acquire) {
                    std::thread::sleep(NUDGE_INTERVAL);
                    // Whether it can be opened does not matter: without a broker the order below fails by itself.
                    let _ = TcpStream::connect(&brokers);
                }
            });
            let made = self.cluster().map(|cluster| cluster.create_topic(name, n_partitions, 1));
            is_made.store(true, Ordering::Release);
            made
        })?;
        made.map_err(|e| SourceError::Io(format!("could not create topic `{name}`: {e}")))
    }
}

/// Writes records to a broker, for simulated devices. Not transactional.
pub struct DemoProducer {
    producer: BaseProducer<WriterContext>,
}

impl DemoProducer {
    /// Connects to `brokers`.
    pub fn connect(brokers: &str) -> Result<Self, SourceError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        config.set("enable.idempotence", "true");
        config.set("delivery.report.only.error", "true");
        config.set("partitioner", "murmur2_random");
        config.set("queue.buffering.max.messages", "100000");
        let producer = create(&config, WriterContext::default())?;
        Ok(Self { producer })
    }

    /// Connects to a cluster as its settings say.
    pub fn connect_as(settings: &Settings) -> Result<Self, SourceError> {
        Ok(Self { producer: create(&settings.feeder(), WriterContext::default())? })
    }

    /// Hands a record to the client, which sends it soon; waits while its buffer is full. No value is a tombstone.
    pub fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: Option<i64>,
    ) -> Result<(), SourceError> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.key = key;
        record.payload = value;
        record.timestamp = timestamp_ms;
        while let Err((error, returned)) = self.producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(SourceError::Io(format!("topic `{topic}`: could not send a record: {error}")));
            }
            record = returned;
            self.producer.poll(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Serves the client's events; to be called now and then. Fails if a record was not taken by the broker.
    pub fn poll(&self) -> Result<(), SourceError> {
        self.producer.poll(Duration::ZERO);
        match self.producer.context().take_failures().first() {
            None => Ok(()),
            Some(first) => {
                Err(SourceError::Io(format!("topic `{}` did not take a record: {}", first.topic, first.code)))
            }
        }
    }

    /// Waits until all records have been taken by the broker.
    pub fn flush(&self, timeout: Duration) -> Result<(), SourceError> {
        if !flush(&self.producer, Instant::now() + timeout) {
            return Err(SourceError::Unreachable("records were not taken in time".to_owned()));
        }
        self.poll()
    }
}

/// A record of an output topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoRecord {
    /// The topic.
    pub topic: String,
    /// The value; none for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Reads topics from their beginning, for whoever looks on. It belongs to no group.
pub struct DemoReader {
    consumer: BaseConsumer<PlainContext>,
}

impl DemoReader {
    /// Connects to `brokers` and begins to read all partitions of the topics, which are named with their number of partitions.
    pub fn connect(brokers: &str, topics: &[(&str, i32)]) -> Result<Self, SourceError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        config.set("group.id", "looking-on");
        config.set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed");
        // Records that the broker dropped before they were read are an error, or the count of the others would be wrong.
        config.set("auto.offset.reset", "error");
        config.set("fetch.wait.max.ms", DEMO_FETCH_WAIT_MS.to_string());
        let consumer: BaseConsumer<PlainContext> = create(&config, PlainContext::default())?;
        let failed = |e: KafkaError| SourceError::Io(format!("could not read the output topics: {e}"));
        let mut list = TopicPartitionList::new();
        for (topic, n_partitions) in topics {
            for partition in 0..*n_partitions {
                list.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed)?;
            }
        }
        consumer.assign(&list).map_err(failed)?;
        Ok(Self { consumer })
    }

    /// The next record, if one comes within `wait`.
    pub fn poll(&self, wait: Duration) -> Result<Option<DemoRecord>, SourceError> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(record)) => {
                let value = record.payload().map(<[u8]>::to_vec);
                Ok(Some(DemoRecord { topic: record.topic().to_owned(), value }))
            }
            Some(Err(error)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                read_failure(code, "output topics", &error.to_string()).map_or(Ok(None), Err)
            }
        }
    }
}
