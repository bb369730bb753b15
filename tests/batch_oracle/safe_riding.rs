//! The safe-riding pack over random sources: neither the order of arrival nor epochs, crashes or shards may be seen in
//! what its sinks hold at the end. The oracle in Python, which knows nothing of SQL, has the last word (needs python3).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use curb::catalog::{Catalog, RelationKind, SourceDefinition, resolve};
use curb::dialect::{Pack, parse};
use curb::engine::{Replay, ReplayOptions};
use curb::format::json::Wire;
use curb::plan::{Pipeline, plan};
use curb::stream::ShardCount;
use fastrand::Rng;
use serde_json::Value;

use crate::ends::Committed;
use crate::world::{History, Record};
use crate::{number, stream};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Sinks that hold one row a key, and their keys.
const UPSERTS: [(&str, &str); 3] =
    [("reviews", "capture_id"), ("integrity_scores", "person_id"), ("household_proposals", "household_id")];
const ACTIONS: [&str; 2] = ["disposal_actions", "party_actions"];

/// By sink what it holds at the end.
type Content = BTreeMap<String, Vec<String>>;

fn pack() -> (Catalog, Arc<Pipeline>) {
    let pack = Pack::read(&Path::new(ROOT).join("sql/safe-riding")).expect("the pack is there");
    let (statements, findings) = parse(&pack);
    assert!(findings.is_empty(), "{findings:?}");
    let catalog = resolve(statements, None).expect("the pack is resolved");
    let pipeline = Arc::new(plan(&catalog).expect("the pack is planned"));
    (catalog, pipeline)
}

fn python(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("python3").args(arguments).current_dir(Path::new(ROOT).join("tests/oracle")).output();
    let output = output.expect("python3 runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(()) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|l| !l.trim().is_empty()).map(|l| serde_json::from_str(l).expect("lines are JSON")).collect()
}

/// Puts passages in order of time, so that none is late, however epochs are cut.
fn sort_passages(dir: &Path) {
    let path = dir.join("passages.ndjson");
    let mut passages = lines(&path);
    passages.sort_by_key(|p| instant(&p["passed_at"]));
    let text: String = passages.iter().map(|p| format!("{p}\n")).collect();
    std::fs::write(path, text).expect("passages are written");
}

fn instant(value: &Value) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|t| t.timestamp_millis())
}

/// The key of a record, instants as instants.
fn key(source: &SourceDefinition, row: &Value) -> String {
    let column = |c: &usize| {
        let value = &row[&source.columns[*c].name];
        instant(value).map_or_else(|| value.to_string(), |ms| ms.to_string())
    };
    source.key.iter().map(column).collect::<Vec<_>>().join("/")
}

/// The records of a directory in another order: only the records of one key, and those of a stream, keep theirs.
fn shuffled(catalog: &Catalog, dir: &Path, rng: &mut Rng) -> History {
    let mut placed: Vec<(f64, Record)> = Vec::new();
    for source in &catalog.sources {
        let rows = lines(&dir.join(format!("{}.ndjson", source.name)));
        let keys: Vec<String> = match source.kind {
            RelationKind::Table => rows.iter().map(|row| key(source, row)).collect(),
            RelationKind::Stream => vec![String::new(); rows.len()],
        };
        let mut places: HashMap<&String, Vec<f64>> = HashMap::new();
        for key in &keys {
            // Passages look devices up as they are at that moment.
            let place = if &*source.name == "devices" { rng.f64() - 1.0 } else { rng.f64() };
            places.entry(key).or_default().push(place);
        }
        places.values_mut().for_each(|of_key| of_key.sort_by(|a, b| b.total_cmp(a)));
        for (row, key) in rows.into_iter().zip(&keys) {
            let place = places.get_mut(key).and_then(Vec::pop).unwrap_or_default();
            placed.push((place, Record { relation: source.name.clone(), key: String::new(), value: Some(row) }));
        }
    }
    placed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let relations = catalog.sources.iter().map(|s| s.name.clone()).collect();
    History { relations, records: placed.into_iter().map(|(_, record)| record).collect() }
}

/// The actions that are issued at the end, without their revision, which depends on the order of arrival.
fn issued(rows: &[Value]) -> Vec<String> {
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    for row in rows {
        let id = row["action_id"].to_string();
        let before = last.get(&id);
        let revision = before.map_or(0, |r| r["revision"].as_u64().unwrap_or_default()) + 1;
        assert_eq!(row["revision"], revision, "revisions of {id} have no gaps");
        let without = |row: &Value| {
            let mut row = row.clone();
            row["revision"] = Value::Null;
            row
        };
        if row["status"] == "withdrawn" {
            let mut repeated = without(before.unwrap_or_else(|| panic!("{id} is withdrawn before it is issued")));
            repeated["status"] = "withdrawn".into();
            assert_eq!(without(row), repeated, "a withdrawal repeats what was issued");
        }
        assert_ne!(before.map(without), Some(without(row)), "{id} is issued twice");
        last.insert(id, row.clone());
    }
    let mut rows: Vec<String> = last
        .into_values()
        .filter(|row| row["status"] == "issued")
        .map(|mut row| {
            row["revision"] = Value::Null;
            row.to_string()
        })
        .collect();
    rows.sort();
    rows
}

fn of_committed(committed: &Committed) -> Content {
    let mut content = committed.epochs.last().map(|e| e.content.clone()).unwrap_or_default();
    for sink in ACTIONS {
        content.insert(sink.into(), issued(committed.appended.get(sink).map_or(&[][..], Vec::as_slice)));
    }
    // The others have tests of their own beside the pack.
    let upserts = UPSERTS.map(|(sink, _)| sink);
    let is_compared = |sink: &str| upserts.contains(&sink) || ACTIONS.contains(&sink) || sink == "helmet_rates";
    content.retain(|sink, rows| is_compared(sink) && !rows.is_empty());
    content
}

fn of_files(dir: &Path) -> Content {
    let mut content = Content::new();
    let read = |sink: &str| lines(&dir.join(format!("{sink}.ndjson")));
    for (sink, key) in UPSERTS {
        let mut held: BTreeMap<String, String> = BTreeMap::new();
        for row in read(sink) {
            let key = row[key].to_string();
            if row["_tombstone"] == true {
                held.remove(&key)
            } else {
                held.insert(key, row.to_string())
            };
        }
        content.insert(sink.into(), held.into_values().collect());
    }
    for sink in ACTIONS {
        content.insert(sink.into(), issued(&read(sink)));
    }
    content.insert("helmet_rates".into(), read("helmet_rates").iter().map(Value::to_string).collect());
    content.values_mut().for_each(|rows| rows.sort());
    content.retain(|_, rows| !rows.is_empty());
    content
}

fn run_seed(catalog: &Catalog, pipeline: &Arc<Pipeline>, seed: u64, n_orders: u64) {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (from, to) = (from.path(), to.path());
    let (from_text, to_text) = (from.to_string_lossy().into_owned(), to.to_string_lossy().into_owned());
    let seed_text = seed.to_string();
    let sizes = ["--captures", "600", "--people", "25", "--passages", "300"];
    let generate = ["generate_safe_riding.py", "--seed", &seed_text, "--to", &from_text];
    python(&[&generate[..], &sizes[..]].concat()).expect("sources are generated");
    sort_passages(from);
    let options = ReplayOptions { from, to, until_ms: None, n_shards: ShardCount(1), audit: None };
    Replay::open(pipeline.clone(), &options).expect("the replay opens").run().expect("the replay runs");
    if let Err(differences) = python(&["safe_riding.py", &from_text, &to_text]) {
        panic!("seed {seed}: the oracle differs\n{differences}");
    }
    let expected = of_files(to);
    assert!(expected.len() >= 5, "hardly anything happened: {:?}", expected.keys());
    for order in 0..n_orders {
        let mut rng = Rng::with_seed(seed * 1_000 + order);
        let history = shuffled(catalog, from, &mut rng);
        let committed = stream(pipeline, &history, Wire::Lines, [3, 20, 100, 500], &mut rng);
        let committed = committed.unwrap_or_else(|e| panic!("seed {seed}, order {order}: {e}"));
        let got = of_committed(&committed);
        for sink in expected.keys().chain(got.keys()) {
            let (got, want) = (got.get(sink), expected.get(sink));
            let difference = || {
                let rows = |of: Option<&Vec<String>>| of.cloned().unwrap_or_default();
                crate::difference(&rows(got), &rows(want))
            };
            assert!(got == want, "seed {seed}, order {order} ({}): {sink}\n{}", committed.text, difference());
        }
    }
}

#[test]
fn no_order_of_arrival_changes_what_the_safe_riding_pack_issues() {
    let (catalog, pipeline) = pack();
    let seeds = number("CURB_TEST_CASES").map_or(2, |cases| cases.div_ceil(4));
    for seed in 1..=seeds {
        run_seed(&catalog, &pipeline, seed, 6);
    }
}
