//! Random sources, and random histories of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Value, json};

use super::query::{Column, Kind};
use crate::world::{Content, History, Record, group, instant, integer, quarter, random_instant, truth};

/// A source as it is declared.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The declared key; empty for a stream without one.
    pub(super) key: Vec<String>,
    pub(super) is_stream: bool,
    pub(super) broadcast: bool,
    /// The key column that says from when on a row is valid.
    pub(super) valid_from: Option<String>,
}

/// The event time of every stream.
pub(super) const TIME: &str = "ts";

impl Source {
    pub(super) fn ddl(&self) -> String {
        let columns = self.columns.iter().map(|c| {
            let not_null = if self.key.contains(&c.name) || c.name == TIME { " NOT NULL" } else { "" };
            format!("{} {}{not_null}", c.name, c.kind.sql())
        });
        let mut parts: Vec<String> = columns.collect();
        if !self.key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", self.key.join(", ")));
        }
        let mut options = format!("topic = '{}', format = 'json'", self.name);
        if self.is_stream {
            options.push_str(&format!(", event_time = '{TIME}', watermark_delay = '30 minutes'"));
            if !self.key.is_empty() {
                options.push_str(", unique_for = '400 days'");
            }
        }
        if self.broadcast {
            options.push_str(", broadcast = true");
        }
        if let Some(column) = &self.valid_from {
            options.push_str(&format!(", valid_from = '{column}'"));
        }
        let kind = if self.is_stream { "STREAM" } else { "TABLE" };
        format!("CREATE {kind} {} ({}) WITH ({options});\n", self.name, parts.join(", "))
    }

    /// A row: the text of its key, and its value.
    fn row(&self, minute: i64, rng: &mut Rng) -> (String, Value) {
        let mut row = serde_json::Map::new();
        for column in &self.columns {
            let value = if column.name == TIME {
                json!(instant(minute))
            } else if self.key.contains(&column.name) {
                key_value(column.kind, rng)
            } else {
                value(column.kind, rng)
            };
            row.insert(column.name.clone(), value);
        }
        let key: Vec<Value> = self.key.iter().map(|k| row[k].clone()).collect();
        let text = match key.as_slice() {
            [] => String::new(),
            [Value::String(text)] => text.clone(),
            [one] => one.to_string(),
            many => Value::from(many.to_vec()).to_string(),
        };
        (text, Value::Object(row))
    }
}

fn key_value(kind: Kind, rng: &mut Rng) -> Value {
    match kind {
        Kind::Int => json!(rng.i64(0..7)),
        Kind::Instant => json!(random_instant(rng)),
        _ if rng.u32(0..4) == 0 => json!(format!("g{}", rng.u32(0..4))),
        _ => json!(format!("a{}", rng.u32(0..9))),
    }
}

fn value(kind: Kind, rng: &mut Rng) -> Value {
    let is_null = rng.u32(0..8) == 0;
    match kind {
        Kind::Text => group(rng),
        Kind::Int => integer(rng),
        Kind::Float | Kind::Rounded => quarter(rng),
        Kind::Bool => truth(rng),
        _ if is_null => Value::Null,
        Kind::Decimal => json!(f64::from(rng.i32(-400..400)) / 4.0),
        Kind::Instant => json!(random_instant(rng)),
        Kind::Date => json!(format!("2024-02-{:02}", rng.u32(26..30))),
        Kind::Texts => (0..rng.u32(0..4)).map(|_| group(rng)).collect(),
    }
}

/// Sources of several kinds: tables, of which one is small and one has versions now and then, and streams.
pub(super) fn random(with_streams: bool, rng: &mut Rng) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut n_columns = 0;
    let mut column = |kind: Kind| {
        n_columns += 1;
        Column { name: format!("{}{n_columns}", kind.letter()), kind }
    };
    for idx in 0..rng.usize(1..4) {
        let keys = [vec![Kind::Text], vec![Kind::Int], vec![Kind::Text, Kind::Int]];
        let mut columns: Vec<Column> = keys[rng.usize(0..3)].iter().map(|k| column(*k)).collect();
        let key = columns.iter().map(|c| c.name.clone()).collect();
        columns.extend([column(Kind::Text), column(Kind::Int)]);
        columns.extend((0..rng.usize(1..5)).map(|_| column(Kind::any(rng))));
        sources.push(table(format!("t{idx}"), columns, key));
    }
    if rng.u32(0..3) == 0 {
        let columns = vec![column(Kind::Int), column(Kind::Int), column(Kind::Int)];
        let key = vec![columns[0].name.clone()];
        sources.push(Source { broadcast: true, ..table("w0".into(), columns, key) });
    }
    if rng.u32(0..3) == 0 {
        let by_group = rng.bool();
        let mut columns = if by_group { vec![column(Kind::Text)] } else { Vec::new() };
        let since = column(Kind::Instant);
        columns.extend([since.clone(), column(Kind::Int)]);
        let key = columns.iter().take(columns.len() - 1).map(|c| c.name.clone()).collect();
        let versions = table("p0".into(), columns, key);
        sources.push(Source { broadcast: !by_group, valid_from: Some(since.name), ..versions });
    }
    for idx in 0..if with_streams { rng.usize(1..3) } else { 0 } {
        let id = column(Kind::Text);
        let key = if rng.u32(0..3) == 0 { vec![id.name.clone()] } else { Vec::new() };
        let mut columns = vec![id, column(Kind::Text), column(Kind::Int)];
        columns.extend((0..rng.usize(0..4)).map(|_| column(Kind::any(rng))));
        columns.push(Column { name: TIME.into(), kind: Kind::Instant });
        sources.push(Source { is_stream: true, ..table(format!("s{idx}"), columns, key) });
    }
    sources
}

fn table(name: String, columns: Vec<Column>, key: Vec<String>) -> Source {
    Source { name, columns, key, is_stream: false, broadcast: false, valid_from: None }
}

/// Records for the sources. Streams come behind the tables, whose current rows they look up.
pub(super) fn history(sources: &[Source], rng: &mut Rng) -> History {
    let n = [5, 20, 40, 80][rng.usize(0..4)];
    let (streams, tables): (Vec<&Source>, Vec<&Source>) = sources.iter().partition(|s| s.is_stream);
    let mut present: BTreeMap<(String, String), Value> = BTreeMap::new();
    let mut records = Vec::new();
    for _ in 0..n * tables.len() {
        let source = tables[rng.usize(0..tables.len())];
        let (key, row) = source.row(0, rng);
        let at = (source.name.clone(), key.clone());
        let value = match rng.u32(0..10) {
            0..=1 if present.remove(&at).is_some() || rng.u32(0..4) == 0 => None,
            // The same row again.
            2 if present.contains_key(&at) => present.get(&at).cloned(),
            _ => Some(row),
        };
        if let Some(value) = &value {
            present.insert(at, value.clone());
        }
        records.push(Record { relation: source.name.as_str().into(), key, value });
    }
    if !streams.is_empty() {
        let start = 40_000 * i64::from(rng.u8(0..3));
        for i in 0..n as i64 {
            // Within the delay of the watermark, so that nothing is late.
            let minute = start + i * 7 + rng.i64(0..25);
            let source = streams[rng.usize(0..streams.len())];
            let (key, row) = source.row(minute, rng);
            records.push(Record { relation: source.name.as_str().into(), key, value: Some(row) });
        }
    }
    History { relations: sources.iter().map(|s| s.name.as_str().into()).collect(), records }
}

/// What the sources hold after the first `n` records: of tables the latest rows, of streams all that count.
pub(super) fn content(sources: &[Source], history: &History, n: usize) -> Content {
    let by_name: BTreeMap<&str, &Source> = sources.iter().map(|s| (s.name.as_str(), s)).collect();
    let mut tables: BTreeMap<(Arc<str>, String), Value> = BTreeMap::new();
    let mut content = Content::new();
    let mut seen = BTreeSet::new();
    for record in history.records.iter().take(n) {
        let Some(source) = by_name.get(&*record.relation) else { continue };
        let at = (record.relation.clone(), record.key.clone());
        match &record.value {
            Some(_) if source.is_stream && !source.key.is_empty() && !seen.insert(at.clone()) => {}
            Some(value) if source.is_stream => {
                content.entry(record.relation.clone()).or_default().push(value.clone());
            }
            Some(value) => drop(tables.insert(at, value.clone())),
            None => drop(tables.remove(&at)),
        }
    }
    for ((relation, _), row) in tables {
        content.entry(relation).or_default().push(row);
    }
    content
}
