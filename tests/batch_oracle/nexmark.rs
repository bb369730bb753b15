//! The queries of `benches/nexmark` over seeded events that change places: what they hold at the end equals batch SQL, which
//! for windows, sessions and winning bids is written out by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use curb::format::json::Wire;
use fastrand::Rng;
use serde_json::Value;

use crate::world::{History, Record};
use crate::{number, stream};

#[path = "../../benches/nexmark/measure/batch.rs"]
mod batch;
#[path = "../../benches/nexmark/measure/generator.rs"]
mod generator;
#[path = "../../benches/nexmark/measure/queries.rs"]
mod queries;

/// The most that an event may come too late, as the sources say.
const WATERMARK_DELAY_MS: i64 = 4_000;

/// The first case is large enough for every query to have rows.
fn configuration(case: u64, rng: &mut Rng) -> generator::Configuration {
    generator::Configuration {
        seed: rng.u64(..),
        events: if case == 0 { 4_000 } else { [50, 600, 2_000][rng.usize(0..3)] },
        // At least so many that a bid names no auction that comes more than ten seconds later, as query 20 has it.
        events_per_second: [25.0, 60.0, 400.0][rng.usize(0..3)],
        // Midnight passes a moment later.
        start_ms: 1_711_929_600_000 - 3_000,
        disorder_ms: [0, 500, WATERMARK_DELAY_MS][rng.usize(0..3)],
    }
}

fn run_case(folder: &Path, name: &str, seed: u64) -> Result<usize, String> {
    let query = queries::read(folder, name)?;
    let mut rng = Rng::with_seed(seed);
    let configuration = configuration(seed, &mut rng);
    let mut records = Vec::new();
    let mut lines: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for event in generator::events(configuration) {
        let value: Value = serde_json::from_str(&event.json).map_err(|e| e.to_string())?;
        records.push(Record { relation: event.relation.into(), key: String::new(), value: Some(value) });
        let file = lines.entry(event.relation).or_default();
        file.extend_from_slice(event.json.as_bytes());
        file.push(b'\n');
    }
    let relations: Vec<Arc<str>> = query.catalog.sources.iter().map(|s| s.name.clone()).collect();
    let history = History { relations, records };
    let committed = stream(&query.pipeline, &history, Wire::Lines, [20, 200, 1_000, 5_000], &mut rng)?;
    let streamed = committed.epochs.last().and_then(|e| e.content.get(&query.name)).cloned().unwrap_or_default();
    let batch = batch::run(&query, |relation| Ok(lines.get(relation).cloned().unwrap_or_default()))?;
    match batch::difference(&streamed, &batch) {
        None => Ok(batch.len()),
        Some(text) => Err(format!("{text}\n({configuration:?}, {})", committed.text)),
    }
}

#[test]
fn nexmark_equals_batch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/nexmark");
    let only = std::env::var("CURB_TEST_SHAPE").ok();
    let cases = number("CURB_TEST_CASES").unwrap_or(3);
    let mut failures = Vec::new();
    for name in queries::names(&folder).unwrap() {
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let seeds = number("CURB_TEST_SEED").map_or(0..cases, |seed| seed..seed + 1);
        let mut n_rows = 0;
        for seed in seeds {
            match run_case(&folder, &name, seed) {
                Ok(rows) => n_rows += rows,
                Err(reason) => {
                    failures.push(format!("CURB_TEST_SHAPE={name} CURB_TEST_SEED={seed}\n{reason}\n"));
                    break;
                }
            }
        }
        if n_rows == 0 && number("CURB_TEST_SEED").is_none() {
            failures.push(format!("{name} never had a row: it was not tested"));
        }
    }
    assert!(failures.is_empty(), "{} queries failed\n\n{}", failures.len(), failures.join("\n"));
}
