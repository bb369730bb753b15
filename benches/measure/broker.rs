//! The benchmark's own clients of the broker: topics made and removed, sources written, outputs read. Independent of `src/kafka`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use curb::stream::RecordBatchBytes;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Reads committed records of some topics.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    n_partitions: usize,
}

/// The records of one output topic: how many there are, and some of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub(crate) n_records: u64,
    pub(crate) n_bytes: u64,
    pub(crate) sample: Vec<SampleRecord>,
}

/// A record as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct SampleRecord {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new().set("bootstrap.servers", brokers).create()?)
}

/// Makes topics.
pub(crate) fn create(brokers: &str, topics: impl Iterator<Item = String>, n_partitions: i32) -> Result<()> {
    let names: Vec<String> = topics.collect();
    let new: Vec<_> = names.iter().map(|t| NewTopic::new(t, n_partitions, TopicReplication::Fixed(1))).collect();
    for made in block_on(admin(brokers)?.create_topics(&new, &AdminOptions::new().operation_timeout(Some(TIMEOUT))))? {
        made.map_err(|(topic, code)| anyhow::anyhow!("could not create topic `{topic}`: {code}"))?;
    }
    Ok(())
}

/// Removes topics, so that a later run does not share the broker with them.
pub(crate) fn remove(brokers: &str, topics: &[String]) -> Result<()> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    for removed in block_on(admin(brokers)?.delete_topics(&names, &AdminOptions::new()))? {
        match removed {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => bail!("could not remove topic `{topic}`: {code}"),
        }
    }
    Ok(())
}

/// A producer; `linger_ms` is how long it waits for a batch to fill.
pub(crate) fn producer(brokers: &str, linger_ms: u32) -> Result<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("partitioner", "murmur2_random");
    config.set("linger.ms", linger_ms.to_string()).set("compression.type", "lz4");
    config.set("queue.buffering.max.messages", "500000");
    Ok(config.create()?)
}

/// Hands a record over; waits while the client's buffer is full. Without a timestamp it bears the time of this call.
pub(crate) fn send(
    producer: &BaseProducer,
    topic: &str,
    key: &[u8],
    value: &[u8],
    timestamp_ms: Option<i64>,
) -> Result<()> {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).key(key).payload(value);
    record.timestamp = timestamp_ms;
    while let Err((error, returned)) = producer.send(record) {
        if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            return Err(error.into());
        }
        producer.poll(Duration::from_millis(5));
        record = returned;
    }
    Ok(())
}

/// Writes all records of relations into their topics.
pub(crate) fn fill(
    brokers: &str,
    topics: &BTreeMap<String, String>,
    relations: &BTreeMap<&'static str, RecordBatchBytes>,
) -> Result<()> {
    let producer = producer(brokers, 20)?;
    for (relation, records) in relations {
        let topic = topics.get(*relation).with_context(|| format!("`{relation}` has no topic"))?;
        for (idx, record) in records.iter().enumerate() {
            send(&producer, topic, record.key.unwrap_or_default(), record.value.unwrap_or_default(), None)?;
            if idx % 1024 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
    }
    Ok(producer.flush(TIMEOUT)?)
}

impl Reader {
    /// Reads all partitions of the topics, from their beginning or from their end.
    pub(crate) fn open(brokers: &str, topics: &[String], from: Offset) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "baseline-reader").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
            let n_partitions = metadata.topics().first().map_or(0, |t| t.partitions().len());
            if n_partitions == 0 {
                bail!("topic `{topic}` does not exist");
            }
            for partition in 0..n_partitions as i32 {
                let offset = match from {
                    // The end now: `Offset::End` would be looked up later.
                    Offset::End => Offset::Offset(consumer.fetch_watermarks(topic, partition, TIMEOUT)?.1),
                    other => other,
                };
                list.add_partition_offset(topic, partition, offset)?;
            }
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, n_partitions: list.count() })
    }

    /// The next committed record as `take` sees it, if one comes within `wait`.
    pub(crate) fn next<T>(
        &self,
        wait: Duration,
        take: impl FnOnce(&rdkafka::message::BorrowedMessage<'_>) -> T,
    ) -> Result<Option<T>> {
        match self.consumer.poll(wait) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => Ok(None),
            Some(Ok(record)) => Ok(Some(take(&record))),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Reads everything to the end: counts, and the first `n_sample` records of each topic.
    pub(crate) fn read_all(&self, n_sample: usize) -> Result<BTreeMap<String, Output>> {
        let mut outputs: BTreeMap<String, Output> = BTreeMap::new();
        let mut n_ended = 0;
        let started = Instant::now();
        while n_ended < self.n_partitions {
            if started.elapsed() > 2 * TIMEOUT {
                bail!("the outputs could not be read to their end");
            }
            match self.consumer.poll(Duration::from_secs(1)) {
                None => {}
                Some(Ok(record)) => {
                    let output = outputs.entry(record.topic().to_owned()).or_default();
                    output.n_records += 1;
                    output.n_bytes += (record.key_len() + record.payload_len()) as u64;
                    if output.sample.len() < n_sample {
                        output.sample.push(sample(&record));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => n_ended += 1,
                Some(Err(error)) => return Err(error.into()),
            }
        }
        Ok(outputs)
    }
}

fn sample(record: &impl Message) -> SampleRecord {
    let headers = record.headers().map(|all| {
        let own = |h: rdkafka::message::Header<'_, &[u8]>| (h.key.to_owned(), h.value.unwrap_or_default().to_vec());
        all.iter().map(own).collect()
    });
    SampleRecord {
        key: record.key().map(<[u8]>::to_vec),
        value: record.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
