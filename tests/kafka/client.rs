//! A small Kafka client for tests, independent of what it tests: makes topics, writes NDJSON into them, reads them back.
//!
//! ```text
//! kafka_client create  BROKERS TOPIC PARTITIONS [NAME=VALUE ..]
//! kafka_client produce BROKERS TOPIC KEY_COLUMNS FILE       key columns by comma, or `-`; FILE may be `-`
//! kafka_client consume BROKERS TOPIC                        to its end, read_committed, by partition and offset
//! ```
//!
//! `produce` takes a line `{"_tombstone": true, <key columns>}` as a deletion. `consume` writes a line a record:
//! `{"partition", "offset", "timestamp", "key", "value", "headers"}`, the value as JSON where it is JSON, else as text.

use std::error::Error;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::time::Duration;

use curb::stream::encode_key;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Map, Value, json};

const TIMEOUT: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["create", brokers, topic, n_partitions, settings @ ..] => {
            create(brokers, topic, n_partitions.parse()?, settings)
        }
        ["produce", brokers, topic, key_columns, file] => produce(brokers, topic, key_columns, file),
        ["consume", brokers, topic] => consume(brokers, topic),
        _ => Err("usage: kafka_client create|produce|consume BROKERS TOPIC ..".into()),
    }
}

fn create(brokers: &str, topic: &str, n_partitions: i32, settings: &[&str]) -> Result<(), Box<dyn Error>> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let mut new = NewTopic::new(topic, n_partitions, TopicReplication::Fixed(-1));
    for setting in settings {
        let (name, value) = setting.split_once('=').ok_or("settings are NAME=VALUE")?;
        new = new.set(name, value);
    }
    for made in block_on(admin.create_topics([&new], &AdminOptions::new()))? {
        made.map_err(|(topic, code)| format!("could not create topic `{topic}`: {code}"))?;
    }
    Ok(())
}

fn produce(brokers: &str, topic: &str, key_columns: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let input: Box<dyn BufRead> = match file {
        "-" => Box::new(BufReader::new(io::stdin())),
        path => Box::new(BufReader::new(std::fs::File::open(path)?)),
    };
    let key_columns: Vec<&str> = key_columns.split(',').filter(|c| *c != "-").collect();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("partitioner", "murmur2_random");
    config.set("message.max.bytes", "16000000");
    let producer: BaseProducer = config.create()?;
    for line in input.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        // A line that is no JSON goes as it is: what becomes of it is for the test to see.
        let row: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        let is_tombstone = row.get("_tombstone") == Some(&Value::Bool(true));
        let values: Vec<Value> = key_columns.iter().filter_map(|c| row.get(*c).cloned()).collect();
        let key = (!key_columns.is_empty() && values.len() == key_columns.len()).then(|| encode_key(&values));
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.key = key.as_deref();
        record.payload = (!is_tombstone).then_some(line.as_bytes());
        while let Err((error, returned)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(5));
            record = returned;
        }
        producer.poll(Duration::ZERO);
    }
    Ok(producer.flush(TIMEOUT)?)
}

fn consume(brokers: &str, topic: &str) -> Result<(), Box<dyn Error>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "kafka-client").set("enable.auto.commit", "false");
    config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    config.set("fetch.wait.max.ms", "20");
    let reader: BaseConsumer = config.create()?;
    let metadata = reader.fetch_metadata(Some(topic), TIMEOUT)?;
    let n_partitions = metadata.topics().first().map_or(0, |t| t.partitions().len());
    if n_partitions == 0 {
        return Err(format!("topic `{topic}` does not exist").into());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for partition in 0..n_partitions as i32 {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
        reader.assign(&list)?;
        loop {
            match reader.poll(TIMEOUT) {
                Some(Ok(record)) => {
                    serde_json::to_writer(&mut out, &line(&record))?;
                    out.write_all(b"\n")?;
                }
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => break,
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => return Err(error.into()),
                None => {
                    return Err(format!("topic `{topic}` partition {partition}: nothing came in {TIMEOUT:?}").into());
                }
            }
        }
    }
    Ok(out.flush()?)
}

fn line(record: &impl Message) -> Value {
    let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8_lossy(b).into_owned());
    let value = record.payload().map(|b| serde_json::from_slice(b).unwrap_or_else(|_| json!(text(Some(b)))));
    let headers: Map<String, Value> = record
        .headers()
        .map(|h| h.iter().map(|h| (h.key.to_owned(), json!(text(h.value)))).collect())
        .unwrap_or_default();
    json!({
        "partition": record.partition(),
        "offset": record.offset(),
        "timestamp": record.timestamp().to_millis(),
        "key": text(record.key()),
        "value": value,
        "headers": headers,
    })
}
