//! A table that one pack publishes as an upsert topic is, for a pack that reads the topic, the same table: whatever its
//! types, its key, and the zones of the two packs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curb::catalog::resolve;
use curb::dialect::{Pack, parse, render};
use curb::engine::{Ended, Ends, Worker, WorkerOptions};
use curb::format::json::Wire;
use curb::plan::{Pipeline, plan};
use curb::stream::{
    CommitError, Outcome, OutputTopic, PartitionStatus, PollLimit, Polled, RecordMeta, SealedEpoch, ShardCount, Sink,
    Source, SourceError, SourcePartition, TombstoneForm,
};
use fastrand::Rng;

/// Key and value as they travel.
type Sent = (Vec<u8>, Option<Vec<u8>>);

struct Given {
    records: Vec<Sent>,
    next: usize,
    rng: Rng,
}

impl Source for Given {
    fn poll(&mut self, _: PollLimit, _: Duration, _: &[Arc<str>]) -> Result<Polled, SourceError> {
        let relation: Arc<str> = "a".into();
        let mut polled = Polled { end_of_input: self.next == self.records.len(), ..Polled::default() };
        for sequence in 0..self.rng.u64(1..20) {
            let Some((key, value)) = self.records.get(self.next) else { break };
            let offset = self.next as i64;
            let meta = RecordMeta { partition: 0, offset, timestamp_ms: None, sequence, key: None, value: None };
            let batch = polled.records.entry(relation.clone()).or_default();
            batch.push(meta, Some(key), value.as_deref());
            self.next += 1;
        }
        let position = self.next as i64;
        let status = PartitionStatus { position, end: Some(position), caught_up: true, idle: false };
        polled.partitions.insert(SourcePartition { relation, partition: 0 }, status);
        Ok(polled)
    }
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<Sent>>>);

impl Sink for Written {
    fn tombstones(&self) -> TombstoneForm {
        TombstoneForm::NoValue
    }

    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError> {
        for (topic, records) in &epoch.outputs {
            for record in records.iter() {
                let shown = || String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                assert!(matches!(topic, OutputTopic::Sink(_)), "{topic:?} {}", shown());
                let key = record.key.expect("a row of a table has a key").to_vec();
                self.0.lock().unwrap().push((key, record.value.map(<[u8]>::to_vec)));
            }
        }
        Ok(())
    }

    fn outcome(&mut self, _: &SealedEpoch) -> Result<Outcome, CommitError> {
        Ok(Outcome::NotCommitted)
    }
}

fn compile(zone: &str, key: &[&str]) -> Arc<Pipeline> {
    let keys: Vec<String> = key.iter().enumerate().map(|(i, t)| format!("k{i} {t}")).collect();
    let names: Vec<String> = (0..key.len()).map(|i| format!("k{i}")).collect();
    let rules = format!(
        "SET TIME ZONE = '{zone}';
         CREATE TABLE a (
             {}, v VARCHAR, b BOOLEAN, s SMALLINT, i INT, n BIGINT, x DOUBLE, m DECIMAL(38, 10), whole DECIMAL(5, 0), d DATE,
             ts TIMESTAMP, tz TIMESTAMP WITH TIME ZONE, l VARCHAR[], ns BIGINT[], ls DECIMAL(10, 2)[][],
             r STRUCT(a BIGINT, \"b c\" VARCHAR, e STRUCT(d DATE, tz TIMESTAMP WITH TIME ZONE)), rs STRUCT(x DOUBLE, t VARCHAR[])[],
             PRIMARY KEY ({})
         ) WITH (topic = 'a');
         CREATE SINK out WITH (topic = 'out') AS SELECT * FROM a;",
        keys.join(", "),
        names.join(", ")
    );
    let pack = Pack::from_text("rules.sql", rules);
    let (statements, findings) = parse(&pack);
    assert!(findings.is_empty(), "{}", render(&findings, &pack));
    let catalog = resolve(statements, None).unwrap_or_else(|e| panic!("{}", render(&e, &pack)));
    Arc::new(plan(&catalog).unwrap_or_else(|e| panic!("{}", render(&e, &pack))))
}

fn run(pipeline: &Arc<Pipeline>, records: Vec<Sent>, rng: &mut Rng) -> Vec<Sent> {
    let written = Written::default();
    let ends = Ends {
        source: Box::new(Given { records, next: 0, rng: Rng::with_seed(rng.u64(..)) }),
        sink: Box::new(written.clone()),
        log: None,
        clock: Box::new(|| 0),
    };
    let options = WorkerOptions { wire: Wire::Kafka, ..WorkerOptions::replay(ShardCount(rng.u32(1..4))) };
    let mut worker = Worker::new(pipeline.clone(), ends, options, Arc::default()).unwrap();
    assert_eq!(worker.run().unwrap(), Ended::EndOfInput);
    written.0.lock().unwrap().clone()
}

/// What stands under each key at the end.
fn content(sent: &[Sent]) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for (key, value) in sent {
        let key = String::from_utf8(key.clone()).unwrap();
        match value {
            Some(value) => drop(held.insert(key, String::from_utf8(value.clone()).unwrap())),
            None => assert!(held.remove(&key).is_some(), "a tombstone for a key that is not there"),
        }
    }
    held
}

/// A value of a type as JSON; few different ones, at the edges of the type.
fn value(data_type: &str, rng: &mut Rng) -> String {
    let of = |values: &[&str], rng: &mut Rng| values[rng.usize(0..values.len())].to_owned();
    match data_type {
        "VARCHAR" => {
            of(&[r#""""#, r#""a""#, r#""7""#, r#""null""#, r#""[1,\"x\"]""#, r#""é \n \" \\ 无牌 \u0001""#], rng)
        }
        "BOOLEAN" => of(&["true", "false"], rng),
        "SMALLINT" => of(&["0", "-32768", "32767"], rng),
        "INT" => of(&["0", "-2147483648", "2147483647", "1.0", "2e1"], rng),
        "BIGINT" => of(&["0", "-9223372036854775808", "9223372036854775807", "9007199254740993"], rng),
        "DOUBLE" => of(&["0.1", "-0.0", "1e300", "5e-324", "3", "0.30000000000000004"], rng),
        "DECIMAL(38, 10)" => of(&["1234567890123456789012345678.0123456789", "-0.0000000001", "5", "1e3"], rng),
        "DECIMAL(10, 2)" => of(&["0.01", "-99999999.99", "1.5", "7"], rng),
        "DECIMAL(5, 0)" => of(&["99999", "-1", "0"], rng),
        "DATE" => of(&[r#""2024-02-29""#, r#""0001-01-01""#, r#""9999-12-31""#], rng),
        "TIMESTAMP" => {
            of(&[r#""2024-03-31T01:30:00""#, r#""1969-12-31T23:59:59.999""#, r#""2024-10-27T01:30:00.5""#], rng)
        }
        _ => of(
            &[
                r#""2024-03-31T01:30:00Z""#,
                r#""2024-03-31T09:30:00+08:00""#,
                r#""2024-10-27T01:30:00.123456+01:00""#,
                r#""1900-01-01T00:00:00Z""#,
                r#""2024-10-27T00:30:00Z""#,
            ],
            rng,
        ),
    }
}

fn maybe(rng: &mut Rng, value: impl FnOnce(&mut Rng) -> String) -> String {
    if rng.u32(0..5) == 0 { "null".to_owned() } else { value(rng) }
}

fn list(rng: &mut Rng, item: impl Fn(&mut Rng) -> String) -> String {
    let n = rng.usize(0..3);
    let items: Vec<String> = (0..n).map(|_| maybe(rng, &item)).collect();
    format!("[{}]", items.join(","))
}

fn record(key: &[&str], rng: &mut Rng) -> Sent {
    let keys: Vec<String> = key.iter().map(|t| value(t, rng)).collect();
    let sent_key = match keys.as_slice() {
        [one] => match serde_json::from_str(one) {
            Ok(serde_json::Value::String(text)) => text.into_bytes(),
            _ => one.clone().into_bytes(),
        },
        many => format!("[{}]", many.join(",")).into_bytes(),
    };
    if rng.u32(0..4) == 0 {
        return (sent_key, None);
    }
    let mut fields: Vec<String> = keys.iter().enumerate().map(|(i, v)| format!(r#""k{i}":{v}"#)).collect();
    let columns = [
        ("v", "VARCHAR"),
        ("b", "BOOLEAN"),
        ("s", "SMALLINT"),
        ("i", "INT"),
        ("n", "BIGINT"),
        ("x", "DOUBLE"),
        ("m", "DECIMAL(38, 10)"),
        ("whole", "DECIMAL(5, 0)"),
        ("d", "DATE"),
        ("ts", "TIMESTAMP"),
        ("tz", "TIMESTAMP WITH TIME ZONE"),
    ];
    for (name, data_type) in columns {
        fields.push(format!(r#""{name}":{}"#, maybe(rng, |rng| value(data_type, rng))));
    }
    let instant = "TIMESTAMP WITH TIME ZONE";
    fields.push(format!(r#""l":{}"#, maybe(rng, |rng| list(rng, |rng| value("VARCHAR", rng)))));
    fields.push(format!(r#""ns":{}"#, maybe(rng, |rng| list(rng, |rng| value("BIGINT", rng)))));
    let lists = |rng: &mut Rng| list(rng, |rng| list(rng, |rng| value("DECIMAL(10, 2)", rng)));
    fields.push(format!(r#""ls":{}"#, maybe(rng, lists)));
    let inner = |rng: &mut Rng| {
        format!(r#"{{"d":{},"tz":{}}}"#, maybe(rng, |rng| value("DATE", rng)), maybe(rng, |rng| value(instant, rng)))
    };
    let row = |rng: &mut Rng| {
        format!(
            r#"{{"a":{},"b c":{},"e":{}}}"#,
            maybe(rng, |rng| value("BIGINT", rng)),
            maybe(rng, |rng| value("VARCHAR", rng)),
            maybe(rng, inner)
        )
    };
    fields.push(format!(r#""r":{}"#, maybe(rng, row)));
    let item = |rng: &mut Rng| {
        let x = maybe(rng, |rng| value("DOUBLE", rng));
        format!(r#"{{"x":{x},"t":{}}}"#, maybe(rng, |rng| list(rng, |rng| value("VARCHAR", rng))))
    };
    fields.push(format!(r#""rs":{}"#, maybe(rng, |rng| list(rng, item))));
    (sent_key, Some(format!("{{{}}}", fields.join(",")).into_bytes()))
}

#[test]
fn a_published_table_is_the_same_table_to_whoever_reads_it() {
    let instant = "TIMESTAMP WITH TIME ZONE";
    let keys: [&[&str]; 13] = [
        &["VARCHAR"],
        &["BIGINT"],
        &["INT"],
        &["SMALLINT"],
        &["BOOLEAN"],
        &["DOUBLE"],
        &["DECIMAL(10, 2)"],
        &["DATE"],
        &["TIMESTAMP"],
        &[instant],
        &["VARCHAR", instant],
        &["DECIMAL(10, 2)", "DATE", "BOOLEAN"],
        &["BIGINT", "VARCHAR"],
    ];
    for (idx, key) in keys.into_iter().enumerate() {
        let (first, second) = (compile("Europe/London", key), compile("Asia/Kathmandu", key));
        for seed in 0..6 {
            let mut rng = Rng::with_seed(seed * 100 + idx as u64);
            let n = [5, 40, 200][rng.usize(0..3)];
            let records: Vec<Sent> = (0..n).map(|_| record(key, &mut rng)).collect();
            let direct = content(&run(&second, records.clone(), &mut rng));
            let published = run(&first, records, &mut rng);
            let read = content(&run(&second, published, &mut rng));
            assert_eq!(read, direct, "key {key:?}, seed {seed}");
        }
    }
}
