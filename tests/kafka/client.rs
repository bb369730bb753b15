//! A small Kafka client for tests, independent of what it tests: makes topics, writes into them, reads them back, and asks
//! and changes what an administrator may.
//!
//! ```text
//! kafka_client create    BROKERS TOPIC PARTITIONS [NAME=VALUE ..]   `on=2` places every partition on broker 2 alone
//! kafka_client alter     BROKERS TOPIC NAME=VALUE ..
//! kafka_client truncate  BROKERS TOPIC PARTITION OFFSET     deletes the records before the offset
//! kafka_client produce   BROKERS TOPIC KEY_COLUMNS FILE     key columns by comma, or `-`; FILE may be `-`
//! kafka_client feed      BROKERS                            lines `TOPIC <tab> KEY_COLUMNS <tab> ROW` until stdin ends
//! kafka_client send      BROKERS TOPIC                      lines `{"partition", "timestamp", "key", "value", "headers"}`: key
//!                                                           and value in hexadecimal, headers by name as text
//! kafka_client consume   BROKERS TOPIC [read_uncommitted]   to its end, by partition and offset
//! kafka_client ends      BROKERS TOPIC ..                   by topic and partition: low, high, and stable offset
//! kafka_client committed BROKERS GROUP TOPIC ..             by topic and partition: the group's offset
//! kafka_client brokers   BROKERS TOPIC ..                   by topic and partition: the leader
//! kafka_client delete-group BROKERS GROUP
//! kafka_client join      BROKERS GROUP TIMES STAY_MS AWAY_MS TOPIC ..   a member that comes and goes
//! ```
//!
//! `produce` and `feed` take a row `{"_tombstone": true, <key columns>}` as a deletion. `consume` writes a line a record:
//! `{"partition", "offset", "timestamp", "key", "value", "headers"}`, the value as JSON where it is JSON, else as text.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::time::{Duration, Instant};

use curb::stream::encode_key;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Map, Value, json};

const TIMEOUT: Duration = Duration::from_secs(30);
/// A broker that was killed may be away for long; what is fed must still arrive, once and in order.
const FEED_TIMEOUT: Duration = Duration::from_secs(300);

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["create", brokers, topic, n_partitions, settings @ ..] => {
            create(brokers, topic, n_partitions.parse()?, settings)
        }
        ["alter", brokers, topic, settings @ ..] => alter(brokers, topic, settings),
        ["truncate", brokers, topic, partition, offset] => {
            truncate(brokers, topic, partition.parse()?, offset.parse()?)
        }
        ["produce", brokers, topic, key_columns, file] => produce(brokers, topic, key_columns, file),
        ["feed", brokers] => feed(brokers),
        ["send", brokers, topic] => send(brokers, topic),
        ["consume", brokers, topic] => consume(brokers, topic, "read_committed"),
        ["consume", brokers, topic, isolation] => consume(brokers, topic, isolation),
        ["ends", brokers, topics @ ..] => ends(brokers, topics),
        ["committed", brokers, group, topics @ ..] => committed(brokers, group, topics),
        ["brokers", brokers, topics @ ..] => leaders(brokers, topics),
        ["delete-group", brokers, group] => delete_group(brokers, group),
        ["join", brokers, group, times, stay_ms, away_ms, topics @ ..] => {
            let (stay, away) = (Duration::from_millis(stay_ms.parse()?), Duration::from_millis(away_ms.parse()?));
            join(brokers, group, times.parse()?, stay, away, topics)
        }
        _ => Err("usage: see the top of tests/kafka/client.rs".into()),
    }
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    ClientConfig::new().set("bootstrap.servers", brokers).create()
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT))
}

fn setting(text: &str) -> Result<(&str, &str), Box<dyn Error>> {
    text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE").into())
}

fn create(brokers: &str, topic: &str, n_partitions: i32, settings: &[&str]) -> Outcome {
    let settings = settings.iter().map(|s| setting(s)).collect::<Result<Vec<_>, _>>()?;
    let place = settings.iter().find(|(name, _)| *name == "on").map(|(_, broker)| broker.parse::<i32>()).transpose()?;
    let alone = [place.unwrap_or(-1)];
    let placed = vec![&alone[..]; n_partitions.max(0) as usize];
    let replication = if place.is_some() { TopicReplication::Variable(&placed) } else { TopicReplication::Fixed(-1) };
    let mut new = NewTopic::new(topic, n_partitions, replication);
    for (name, value) in settings.iter().filter(|(name, _)| *name != "on") {
        new = new.set(name, value);
    }
    for made in block_on(admin(brokers)?.create_topics([&new], &options()))? {
        made.map_err(|(topic, code)| format!("could not create topic `{topic}`: {code}"))?;
    }
    Ok(())
}

fn alter(brokers: &str, topic: &str, settings: &[&str]) -> Outcome {
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
    for text in settings {
        let (name, value) = setting(text)?;
        change = change.set(name, value);
    }
    for changed in block_on(admin(brokers)?.alter_configs([&change], &options()))? {
        changed.map_err(|(_, code)| format!("could not change topic `{topic}`: {code}"))?;
    }
    Ok(())
}

fn truncate(brokers: &str, topic: &str, partition: i32, offset: i64) -> Outcome {
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    for element in block_on(admin(brokers)?.delete_records(&before, &options()))?.elements() {
        element.error()?;
    }
    Ok(())
}

fn delete_group(brokers: &str, group: &str) -> Outcome {
    for deleted in block_on(admin(brokers)?.delete_groups(&[group], &options()))? {
        deleted.map_err(|(group, code)| format!("could not delete group `{group}`: {code}"))?;
    }
    Ok(())
}

/// A producer whose records come whole, once and in order, also over broken connections.
struct Feed {
    producer: BaseProducer,
}

impl Feed {
    fn connect(brokers: &str) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("partitioner", "murmur2_random");
        config.set("message.max.bytes", "64000000").set("message.timeout.ms", FEED_TIMEOUT.as_millis().to_string());
        config.set("reconnect.backoff.max.ms", "1000");
        Ok(Self { producer: config.create()? })
    }

    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Outcome {
        while let Err((error, returned)) = self.producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            self.producer.poll(Duration::from_millis(5));
            record = returned;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Sends a row, keyed by some of its columns.
    fn row(&self, topic: &str, key_columns: &[&str], line: &str) -> Outcome {
        // A line that is no JSON goes as it is: what becomes of it is for the test to see.
        let row: Value = serde_json::from_str(line).unwrap_or(Value::Null);
        let is_tombstone = row.get("_tombstone") == Some(&Value::Bool(true));
        let values: Vec<Value> = key_columns.iter().filter_map(|c| row.get(*c).cloned()).collect();
        let key = (!key_columns.is_empty() && values.len() == key_columns.len()).then(|| encode_key(&values));
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.key = key.as_deref();
        record.payload = (!is_tombstone).then_some(line.as_bytes());
        self.send(record)
    }

    fn end(&self) -> Outcome {
        Ok(self.producer.flush(FEED_TIMEOUT)?)
    }
}

fn columns(text: &str) -> Vec<&str> {
    text.split(',').filter(|c| *c != "-").collect()
}

fn produce(brokers: &str, topic: &str, key_columns: &str, file: &str) -> Outcome {
    let input: Box<dyn BufRead> = match file {
        "-" => Box::new(BufReader::new(io::stdin())),
        path => Box::new(BufReader::new(std::fs::File::open(path)?)),
    };
    let (feed, key_columns) = (Feed::connect(brokers)?, columns(key_columns));
    for line in input.lines() {
        let line = line?;
        if !line.trim().is_empty() {
            feed.row(topic, &key_columns, &line)?;
        }
    }
    feed.end()
}

fn feed(brokers: &str) -> Outcome {
    let feed = Feed::connect(brokers)?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut parts = line.splitn(3, '\t');
        let (Some(topic), Some(key_columns), Some(row)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("`{line}` is not TOPIC, KEY_COLUMNS, ROW").into());
        };
        feed.row(topic, &columns(key_columns), row)?;
    }
    feed.end()
}

fn send(brokers: &str, topic: &str) -> Outcome {
    let feed = Feed::connect(brokers)?;
    for line in io::stdin().lock().lines() {
        let given: Value = serde_json::from_str(&line?)?;
        let bytes = |name: &str| given.get(name).and_then(Value::as_str).map(from_hexadecimal).transpose();
        let (key, value) = (bytes("key")?, bytes("value")?);
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.key = key.as_deref();
        record.payload = value.as_deref();
        record.partition = given.get("partition").and_then(Value::as_i64).map(|p| p as i32);
        record.timestamp = given.get("timestamp").and_then(Value::as_i64);
        record.headers = given.get("headers").and_then(Value::as_object).map(|headers| {
            let insert = |all: OwnedHeaders, (name, value): (&String, &Value)| {
                all.insert(Header { key: name, value: value.as_str() })
            };
            headers.iter().fold(OwnedHeaders::new(), insert)
        });
        feed.send(record)?;
    }
    feed.end()
}

fn from_hexadecimal(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

fn reader(brokers: &str, group: &str, isolation: &str) -> Result<BaseConsumer, KafkaError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", group).set("enable.auto.commit", "false");
    config.set("isolation.level", isolation).set("enable.partition.eof", "true").set("fetch.wait.max.ms", "20");
    config.create()
}

fn n_partitions(reader: &BaseConsumer, topic: &str) -> Result<i32, Box<dyn Error>> {
    let metadata = reader.fetch_metadata(Some(topic), TIMEOUT)?;
    match metadata.topics().first().map_or(0, |t| t.partitions().len()) {
        0 => Err(format!("topic `{topic}` does not exist").into()),
        n => Ok(n as i32),
    }
}

/// Writes the records of all partitions, which are read at the same time.
fn consume(brokers: &str, topic: &str, isolation: &str) -> Outcome {
    let reader = reader(brokers, "kafka-client", isolation)?;
    let mut lines: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for partition in 0..n_partitions(&reader, topic)? {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
        lines.insert(partition, Vec::new());
    }
    let mut n_open = list.count();
    reader.assign(&list)?;
    while n_open > 0 {
        match reader.poll(TIMEOUT) {
            Some(Ok(record)) => {
                if let Some(own) = lines.get_mut(&record.partition()) {
                    own.push(serde_json::to_vec(&line(&record))?);
                }
            }
            Some(Err(KafkaError::PartitionEOF(ended))) => {
                let mut done = TopicPartitionList::new();
                done.add_partition(topic, ended);
                reader.pause(&done)?;
                n_open -= 1;
            }
            // It connects again by itself; if not, nothing comes.
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown))) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(format!("topic `{topic}`: nothing came in {TIMEOUT:?}").into()),
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for line in lines.values().flatten() {
        out.write_all(line)?;
        out.write_all(b"\n")?;
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

/// Writes an object with an entry a topic, which has an entry a partition.
fn by_partition(
    reader: &BaseConsumer,
    topics: &[&str],
    mut of: impl FnMut(&str, i32) -> Result<Value, Box<dyn Error>>,
) -> Outcome {
    let mut all = Map::new();
    for topic in topics {
        let mut partitions = Map::new();
        for partition in 0..n_partitions(reader, topic)? {
            partitions.insert(partition.to_string(), of(topic, partition)?);
        }
        all.insert((*topic).to_owned(), Value::Object(partitions));
    }
    writeln!(io::stdout(), "{}", Value::Object(all))?;
    Ok(())
}

fn ends(brokers: &str, topics: &[&str]) -> Outcome {
    let high = reader(brokers, "kafka-client", "read_uncommitted")?;
    let stable = reader(brokers, "kafka-client", "read_committed")?;
    by_partition(&high, topics, |topic, partition| {
        let (low, end) = high.fetch_watermarks(topic, partition, TIMEOUT)?;
        let (_, stable) = stable.fetch_watermarks(topic, partition, TIMEOUT)?;
        Ok(json!({"low": low, "high": end, "stable": stable}))
    })
}

fn committed(brokers: &str, group: &str, topics: &[&str]) -> Outcome {
    let member = reader(brokers, group, "read_committed")?;
    by_partition(&member, topics, |topic, partition| {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let answer = member.committed_offsets(list, TIMEOUT)?;
        Ok(answer.elements().first().map_or(Value::Null, |e| json!(e.offset().to_raw().filter(|o| *o >= 0))))
    })
}

fn leaders(brokers: &str, topics: &[&str]) -> Outcome {
    let reader = reader(brokers, "kafka-client", "read_uncommitted")?;
    by_partition(&reader, topics, |topic, partition| {
        let metadata = reader.fetch_metadata(Some(topic), TIMEOUT)?;
        let partitions = metadata.topics().first().map_or(&[][..], |t| t.partitions());
        Ok(json!(partitions.iter().find(|p| p.id() == partition).map(|p| p.leader())))
    })
}

/// Takes part in a group and leaves it again, so that its partitions move.
fn join(brokers: &str, group: &str, times: u32, stay: Duration, away: Duration, topics: &[&str]) -> Outcome {
    for _ in 0..times {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", group).set("enable.auto.commit", "false");
        config.set("client.id", "passer-by").set("partition.assignment.strategy", "range");
        let member: BaseConsumer = config.create()?;
        member.subscribe(topics)?;
        let began = Instant::now();
        let mut n_assigned = 0;
        while began.elapsed() < stay {
            // What it reads is of no interest, and it commits nothing.
            let _ = member.poll(Duration::from_millis(20));
            n_assigned = n_assigned.max(member.assignment()?.count());
        }
        writeln!(io::stdout(), "{}", json!({"partitions": n_assigned}))?;
        drop(member);
        std::thread::sleep(away);
    }
    Ok(())
}
