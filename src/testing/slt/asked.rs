//! What a test asks, asked of the worker itself too: ad-hoc SQL gives the same rows, or says why it gives none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{Batch, Table, shown};
use super::file::{compile, query, statement};
use super::running::Variant;
use super::script::{CheckKind, Script};
use super::taps::{is_sink, plan_taps};
use super::test_files;
use super::world::{Plans, World, count_partitions};
use crate::dialect::{Pack, parse_query};
use crate::engine::{Queries, QueryLimits};
use crate::plan::reduced;

/// How queries fared: those that gave the same rows, and by code those that were refused.
type Tally = BTreeMap<&'static str, usize>;

/// Asks the queries of a test both ways. `n_shards` is the worker's own.
fn ask_both_ways(pack: &Pack, path: &Path, n_shards: u32, tally: &mut Tally) {
    let (catalog, whole) = compile(pack).unwrap();
    let script = Script::read(path).unwrap();
    let relations = script.relations();
    let looked_into: Vec<String> =
        relations.iter().filter(|name| catalog.find(name).is_some_and(|d| !is_sink(d))).cloned().collect();
    let taps = plan_taps(pack, &looked_into).unwrap();
    let steps: Vec<_> = script.steps().collect();
    let n_partitions = count_partitions(steps.iter());
    // A part of the pack, and with it less to compute: what is asked for, and what reads it.
    let sinks: Vec<String> = relations.iter().filter(|name| catalog.find(name).is_some_and(is_sink)).cloned().collect();
    let needed = match sinks.is_empty() {
        true => whole.clone(),
        false => Arc::new(crate::plan::plan(&reduced(&catalog, |q| sinks.iter().any(|s| *s == *q.name))).unwrap()),
    };
    let plans = Plans { whole: needed.clone(), needed: needed.clone(), catalog: catalog.clone(), taps, n_partitions };
    let batch = Batch::new(catalog.time_zone).unwrap();
    let mut world = World::new(&plans, &batch, Variant { n_shards, crashes: false });
    let board = crate::engine::StatusBoard::default();
    let queries = Queries::new(catalog.clone(), needed.clone(), n_shards, board, QueryLimits::default());
    for check in &script.checks {
        if let CheckKind::Statement(_) = check.kind {
            // Those that are expected to fail do.
            drop(statement(&mut world, &check.sql));
            continue;
        }
        let Ok(expected) = query(&mut world, &batch, &check.sql) else { continue };
        let Some(worker) = world.tested.running_worker() else { continue };
        let read = super::batch::tables(&parse_query(&check.sql).unwrap());
        let is_private = |table: &Table| match table {
            Table::Relation(name) => needed.private.get(name).is_some_and(|private| !private.is_empty()),
            Table::Side { .. } => true,
        };
        if read.iter().any(is_private) {
            *tally.entry("private or no relation").or_default() += 1;
            continue;
        }
        match queries.answer_about(worker, &check.sql) {
            Ok(answer) => {
                let got = arrow::compute::concat_batches(&answer.schema, &answer.batches).unwrap();
                let (mut got, mut expected) = (shown(&got).unwrap().rows, expected.rows);
                got.sort();
                expected.sort();
                assert_eq!(got, expected, "{}: {} ({n_shards} shards)", path.display(), check.sql);
                *tally.entry("same").or_default() += 1;
            }
            Err(error) => {
                let code = error.finding.code;
                assert!(
                    ["C0604", "C0605", "C0606", "C0607"].contains(&code),
                    "{}: {}: {:?}",
                    path.display(),
                    check.sql,
                    error.finding
                );
                *tally.entry(code).or_default() += 1;
            }
        }
    }
}

fn ask_pack(folder: &str, is_asked: impl Fn(&str) -> bool, n_shards: u32) -> Tally {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sql").join(folder);
    let pack = Pack::read(&folder).unwrap();
    let mut tally = Tally::new();
    for path in test_files(&folder, None).unwrap() {
        if is_asked(path.file_name().unwrap().to_str().unwrap()) {
            ask_both_ways(&pack, &path, n_shards, &mut tally);
        }
    }
    tally
}

#[test]
fn a_running_worker_gives_the_rows_that_the_tests_of_a_pack_expect() {
    // Those with many different queries, in reasonable time.
    let chosen = [
        "scores.slt",
        "households.slt",
        "reviews.slt",
        "rides.slt",
        "monthly-helmet-rates.slt",
        "policy.slt",
        "tiers.slt",
    ];
    let tally = ask_pack("safe-riding", |file| chosen.contains(&file), 4);
    assert!(tally.get("same").is_some_and(|n| *n >= 10), "{tally:?}");
    println!("{tally:?}");
}
