//! Random histories of the sources: rows that appear, change and disappear, with nulls, ties and repetitions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use curb::catalog::{Catalog, RelationKind};
use fastrand::Rng;
use serde_json::{Value, json};

/// A record as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) relation: Arc<str>,
    pub(crate) key: String,
    /// None for a tombstone.
    pub(crate) value: Option<Value>,
}

/// The records of all sources in the order of their arrival.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) relations: Vec<Arc<str>>,
    pub(crate) records: Vec<Record>,
}

/// By relation the rows that it holds.
pub(crate) type Content = BTreeMap<Arc<str>, Vec<Value>>;

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &self.records {
            let value = record.value.as_ref().map_or("deleted".into(), Value::to_string);
            writeln!(f, "  {} {} {value}", record.relation, record.key)?;
        }
        Ok(())
    }
}

impl History {
    /// Records for the sources. Streams come behind the tables, whose current rows they look up.
    pub(crate) fn random(catalog: &Catalog, with_streams: bool, rng: &mut Rng) -> Self {
        let relations: Vec<Arc<str>> = catalog.sources.iter().map(|s| s.name.clone()).collect();
        let tables: Vec<Arc<str>> = catalog
            .sources
            .iter()
            .filter(|s| s.kind == RelationKind::Table && &*s.name != "timed")
            .map(|s| s.name.clone())
            .collect();
        let n = [3, 20, 60, 150][rng.usize(0..4)];
        let mut present: BTreeMap<(Arc<str>, String), Value> = BTreeMap::new();
        let mut records = Vec::new();
        for _ in 0..n {
            // Half of the changes go to `t`, which most queries read.
            let relation = if rng.bool() { tables[0].clone() } else { tables[rng.usize(0..tables.len())].clone() };
            let (key, row) = table_row(&relation, rng);
            let at = (relation.clone(), key.clone());
            let value = match rng.u32(0..10) {
                0..=1 if present.remove(&at).is_some() || rng.u32(0..4) == 0 => None,
                // The same row again.
                2 if present.contains_key(&at) => present.get(&at).cloned(),
                // A correction of one column.
                3..=4 if present.contains_key(&at) => present.get(&at).map(|old| corrected(old, &row, rng)),
                _ => Some(row),
            };
            if let Some(value) = &value {
                present.insert(at, value.clone());
            }
            records.push(Record { relation, key, value });
        }
        if with_streams {
            let start = 40_000 * i64::from(rng.u8(0..3));
            for i in 0..n as i64 {
                // Within the delay of the watermark, so that nothing is late.
                let minute = start + i * 7 + rng.i64(0..25);
                let relation: Arc<str> = if rng.bool() { "s".into() } else { "q".into() };
                let id = format!("i{}", rng.u32(0..40));
                let value = json!({"id": id, "g": group(rng), "n": integer(rng), "x": quarter(rng), "b": truth(rng),
                    "at": instant(minute)});
                records.push(Record { relation, key: id, value: Some(value) });
            }
        }
        if with_streams {
            // The same once more, by a watermark that some of it is behind.
            let of_s = records.iter().filter(|r| &*r.relation == "s");
            let late: Vec<Record> = of_s.map(|r| Record { relation: "later".into(), ..r.clone() }).collect();
            records.extend(late);
            records.extend(timed_rows(n as i64, rng));
        }
        Self { relations, records }
    }

    /// What the sources hold after their first `n` records: of tables the latest rows, of streams all that count.
    pub(crate) fn content(&self, n: usize) -> Content {
        let mut tables: BTreeMap<(Arc<str>, String), Value> = BTreeMap::new();
        let mut streams = Content::new();
        let mut seen = BTreeSet::new();
        for record in self.records.iter().take(n) {
            let at = (record.relation.clone(), record.key.clone());
            match (&*record.relation, &record.value) {
                ("q", _) if !seen.insert(record.key.clone()) => {}
                ("s" | "q" | "later", Some(value)) => {
                    streams.entry(record.relation.clone()).or_default().push(value.clone());
                }
                (_, Some(value)) => drop(tables.insert(at, value.clone())),
                (_, None) => drop(tables.remove(&at)),
            }
        }
        let mut content = streams;
        for ((relation, _), row) in tables {
            content.entry(relation).or_default().push(row);
        }
        content
    }
}

/// Rows of a table with an event time, of which only those change that the watermark has not passed.
fn timed_rows(n: i64, rng: &mut Rng) -> Vec<Record> {
    const DELAY: i64 = 30;
    let mut minutes: BTreeMap<String, i64> = BTreeMap::new();
    let (mut records, mut latest) = (Vec::new(), i64::MIN);
    for i in 0..n {
        let recent: Vec<String> =
            minutes.iter().filter(|(_, m)| **m > latest - DELAY + 1).map(|(id, _)| id.clone()).collect();
        let corrected =
            if recent.is_empty() || rng.bool() { None } else { Some(recent[rng.usize(0..recent.len())].clone()) };
        let key = corrected.clone().unwrap_or_else(|| format!("e{i}"));
        if corrected.is_some() && rng.u32(0..3) == 0 {
            minutes.remove(&key);
            records.push(Record { relation: "timed".into(), key, value: None });
            continue;
        }
        let minute = (i * 7 + rng.i64(0..25)).max(latest.saturating_sub(DELAY - 2));
        latest = latest.max(minute);
        minutes.insert(key.clone(), minute);
        let value = json!({"id": key, "g": group(rng), "n": integer(rng), "x": quarter(rng), "b": truth(rng), "at": instant(minute)});
        records.push(Record { relation: "timed".into(), key, value: Some(value) });
    }
    records
}

fn table_row(relation: &str, rng: &mut Rng) -> (String, Value) {
    let at = |rng: &mut Rng| if rng.u32(0..10) == 0 { Value::Null } else { json!(random_instant(rng)) };
    match relation {
        "t" => {
            let id = format!("a{}", rng.u32(0..14));
            let tags = match rng.u32(0..5) {
                0 => Value::Null,
                n => (1..n).map(|_| if rng.u32(0..5) == 0 { Value::Null } else { group(rng) }).collect(),
            };
            let at = at(rng);
            let day = if rng.u32(0..8) == 0 { Value::Null } else { json!(format!("2024-02-{:02}", rng.u32(26..30))) };
            let cents = if rng.u32(0..8) == 0 { Value::Null } else { json!(f64::from(rng.i32(-400..400)) / 4.0) };
            let row = json!({"id": id, "g": group(rng), "n": integer(rng), "x": quarter(rng), "m": cents,
                "b": truth(rng), "at": at, "d": day, "tags": tags});
            (id, row)
        }
        "u" => {
            let id = format!("{}{}", if rng.bool() { "a" } else { "u" }, rng.u32(0..10));
            let at = at(rng);
            let row = json!({"id": id, "g": group(rng), "n": integer(rng), "k": rng.i64(0..4), "at": at});
            (id, row)
        }
        "w" => {
            let id = rng.i64(0..5);
            (id.to_string(), json!({"id": id, "lo": integer(rng), "hi": integer(rng)}))
        }
        "calendar" => {
            // Around the instants of the other relations.
            let day = format!("2024-{}", ["03-30", "03-31", "04-01", "04-02", "04-03"][rng.usize(0..5)]);
            (day.clone(), json!({"day": day, "working": truth(rng)}))
        }
        "v" => {
            let (g, since) = (format!("g{}", rng.u32(0..3)), random_instant(rng));
            (json!([g, since]).to_string(), json!({"g": g, "since": since, "val": integer(rng)}))
        }
        _ => {
            let since = random_instant(rng);
            (since.clone(), json!({"since": since, "val": integer(rng)}))
        }
    }
}

/// The old row with one column of the new one.
fn corrected(old: &Value, new: &Value, rng: &mut Rng) -> Value {
    let mut row = old.clone();
    if let (Some(row), Some(new)) = (row.as_object_mut(), new.as_object()) {
        let names: Vec<&String> = new.keys().collect();
        let name = names[rng.usize(0..names.len())];
        row.insert(name.clone(), new[name].clone());
    }
    row
}

pub(crate) fn group(rng: &mut Rng) -> Value {
    if rng.u32(0..8) == 0 { Value::Null } else { json!(format!("g{}", rng.u32(0..4))) }
}

pub(crate) fn integer(rng: &mut Rng) -> Value {
    if rng.u32(0..8) == 0 { Value::Null } else { json!(rng.i64(-3..7)) }
}

/// Quarters add up without rounding, in any order.
pub(crate) fn quarter(rng: &mut Rng) -> Value {
    if rng.u32(0..8) == 0 { Value::Null } else { json!(f64::from(rng.i32(-20..20)) / 4.0) }
}

pub(crate) fn truth(rng: &mut Rng) -> Value {
    [Value::Null, json!(true), json!(false)][rng.usize(0..3)].clone()
}

/// Few instants, so that ties are frequent, some around the change to summer time (31 March 2024, 01:00 UTC).
pub(crate) fn random_instant(rng: &mut Rng) -> String {
    instant(rng.i64(0..12) * 30 + [0, 0, 1_440 * 30][rng.usize(0..3)])
}

/// Minutes after 2024-03-30T22:00Z as RFC 3339.
pub(crate) fn instant(minute: i64) -> String {
    let start = chrono::DateTime::from_timestamp(1_711_836_000 + minute * 60, 0).unwrap_or_default();
    start.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
