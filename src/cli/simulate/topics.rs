//! Simulated records to topics: in the order of their event times over all sources, as fast as is asked for.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::{Map, Value};

use super::Timed;
use crate::catalog::SourceDefinition;
use crate::cli::Failure;
use crate::cli::service::source_failure;
use crate::kafka::{DemoProducer, Settings, ensure_topics};
use crate::stream::encode_key;

/// The member of a line that deletes its key.
const TOMBSTONE: &str = "_tombstone";
/// How long the brokers may take for what was handed to the client.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// After so many records the client is asked whether all is well.
const POLL_EVERY: u64 = 1_000;

/// Where to, and how.
pub(super) struct Feed {
    pub(super) settings: Settings,
    pub(super) create_topics: bool,
    /// Records a second; none: as fast as the brokers take them.
    pub(super) rate: Option<f64>,
}

/// Writes the records of all sources that have topics; returns how many.
pub(super) fn write(feed: &Feed, sources: &[(&SourceDefinition, &[Timed])]) -> Result<u64, Failure> {
    let topics = sources.iter().filter_map(|(definition, _)| definition.topic.clone()).collect::<BTreeSet<_>>();
    ensure_topics(&feed.settings, &topics, feed.create_topics).map_err(source_failure)?;
    let producer = DemoProducer::connect_as(&feed.settings).map_err(source_failure)?;
    let started = Instant::now();
    let mut n_sent = 0_u64;
    for (definition, record) in in_order(sources) {
        let Some(topic) = &definition.topic else { continue };
        if let Some(rate) = feed.rate {
            let due = started + Duration::from_secs_f64(n_sent as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let (key, is_tombstone) = key(definition, &record.line)?;
        let value = (!is_tombstone).then_some(record.line.as_slice());
        producer.send(topic, key.as_deref(), value, None).map_err(source_failure)?;
        n_sent += 1;
        if n_sent.is_multiple_of(POLL_EVERY) || feed.rate.is_some() {
            producer.poll().map_err(source_failure)?;
        }
    }
    producer.flush(FLUSH_TIMEOUT).map_err(source_failure)?;
    Ok(n_sent)
}

/// The next record is that of the source whose next record has the smallest event time, as `curb replay` reads files; records
/// without one go at once, so that tables of facts are there before what refers to them.
fn in_order<'a>(
    sources: &[(&'a SourceDefinition, &'a [Timed])],
) -> impl Iterator<Item = (&'a SourceDefinition, &'a Timed)> + use<'a> {
    let mut waiting: Vec<(&SourceDefinition, VecDeque<&Timed>)> =
        sources.iter().map(|(definition, records)| (*definition, records.iter().collect())).collect();
    std::iter::from_fn(move || {
        let next = waiting.iter_mut().filter(|(_, records)| !records.is_empty());
        let (definition, records) = next.min_by_key(|(_, records)| records.front().and_then(|r| r.event_ms))?;
        Some((*definition, records.pop_front()?))
    })
}

/// The key of a record as a producer of the source writes it, and whether the record deletes it. A stream without a key has none.
fn key(definition: &SourceDefinition, line: &[u8]) -> Result<(Option<Vec<u8>>, bool), Failure> {
    let row: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|e| Failure::Failed(anyhow!("a record of `{}` is no JSON object: {e}", definition.name)))?;
    let columns = definition.key.iter().filter_map(|c| definition.columns.get(*c));
    let values: Vec<Value> = columns.map(|c| row.get(&c.name).cloned().unwrap_or_default()).collect();
    let key = (!values.is_empty()).then(|| encode_key(&values));
    Ok((key, row.get(TOMBSTONE) == Some(&Value::Bool(true))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, resolve};
    use crate::dialect::{Pack, parse};

    fn catalog() -> Catalog {
        let text = "CREATE TABLE towns (region VARCHAR, n INT, name VARCHAR, PRIMARY KEY (region, n)) WITH (topic = 't', format = 'json');
             CREATE TABLE people (person_id VARCHAR PRIMARY KEY) WITH (topic = 'p', format = 'json');
             CREATE STREAM rides (ride_id VARCHAR) WITH (topic = 'r', format = 'json');";
        resolve(parse(&Pack::from_text("pack.sql", text)).0, None).unwrap()
    }

    #[test]
    fn keys_are_those_of_the_wire_and_deletions_have_no_value() {
        let catalog = catalog();
        let of = |source: usize, line: &str| {
            let (key, is_tombstone) = key(&catalog.sources[source], line.as_bytes()).unwrap();
            (key.map(|k| String::from_utf8(k).unwrap()), is_tombstone)
        };
        assert_eq!(of(0, r#"{"region":"a b","n":3,"name":"x"}"#), (Some(r#"["a b",3]"#.into()), false));
        assert_eq!(of(1, r#"{"_tombstone":true,"person_id":"p\"1"}"#), (Some("p\"1".into()), true));
        assert_eq!(of(2, r#"{"ride_id":"r"}"#), (None, false));
    }

    #[test]
    fn records_leave_in_the_order_of_their_times_and_those_of_one_source_in_its_own() {
        let catalog = catalog();
        let timed = |name: &str, event_ms: Option<i64>| Timed { event_ms, line: name.as_bytes().to_vec() };
        let people = [timed("p1", None), timed("p2", None)];
        let rides = [timed("r1", Some(5)), timed("r2", Some(1)), timed("r3", Some(7))];
        let towns = [timed("t1", Some(4)), timed("t2", Some(6))];
        let sources = [
            (&catalog.sources[0], towns.as_slice()),
            (&catalog.sources[1], people.as_slice()),
            (&catalog.sources[2], rides.as_slice()),
        ];
        let order: Vec<&str> = in_order(&sources).map(|(_, r)| std::str::from_utf8(&r.line).unwrap()).collect();
        assert_eq!(order, ["p1", "p2", "t1", "r1", "r2", "t2", "r3"]);
    }
}
