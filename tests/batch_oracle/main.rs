//! The same SQL, streamed and in batch: random sources, epochs, crashes and shards must not be seen in the result.
//!
//! Each shape of query is planned and run by the worker over random changes; what its sinks then hold is compared with
//! plain DataFusion over the final content of the sources, and with their content after epochs in between. What
//! `CHANGES` wrote is checked on the way. A failure names shape and seed: `CURB_TEST_SHAPE=name CURB_TEST_SEED=n` runs
//! that case alone, `CURB_TEST_CASES=n` sets the number of cases of each shape.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod batch;
mod compositions;
mod conservation;
mod ends;
mod file_tables;
mod function_shapes;
mod interval_join_shapes;
mod nexmark;
mod pack;
mod published;
mod records;
mod refusals;
mod relational_shapes;
mod running_window_shapes;
mod safe_riding;
mod shapes;
mod stream_shapes;
mod table_shapes;
mod top_rows_shapes;
mod window_shapes;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use curb::engine::{Ended, Ends, RewritePolicy, SliceLimit, UpkeepOptions, Worker, WorkerOptions};
use curb::format::json::Wire;
use curb::plan::Pipeline;
use curb::stream::{PollLimit, ShardCount};
use fastrand::Rng;
use serde_json::Value;

use ends::{Committed, Followed, RandomSink, RandomSource};
use shapes::Shape;
use world::History;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Runs a pipeline over a history, with random epochs and crashes, and returns what was committed.
fn stream(
    pipeline: &Arc<Pipeline>,
    history: &History,
    wire: Wire,
    sizes: [usize; 4],
    rng: &mut Rng,
) -> Result<Committed, String> {
    let committed = Followed::new(pipeline, matches!(wire, Wire::Kafka));
    let crashes = if rng.bool() { 0.0 } else { 0.15 };
    let rows_max = sizes[rng.usize(0..4)];
    // Where nothing is logged and nothing fails, epochs overlap.
    let is_logged = crashes > 0.0 || rng.bool();
    let ends = Ends {
        source: Box::new(RandomSource::new(history, rows_max, Rng::with_seed(rng.u64(..)))),
        sink: Box::new(RandomSink::new(committed.clone(), crashes, Rng::with_seed(rng.u64(..)))),
        log: if is_logged { Some(Box::new(committed.log())) } else { None },
        // Later than all events: none is refused as one from the future.
        clock: Box::new(|| 2_000_000_000_000),
    };
    let n_shards = [1, 2, 4][rng.usize(0..3)];
    // Often the log is rewritten all the time, a few rows an epoch.
    let slice_rows = [None, Some(2), Some(20)][rng.usize(0..3)];
    let rewrite = slice_rows.map_or(RewritePolicy::default(), |rows| RewritePolicy {
        bytes_min: 0,
        slice: SliceLimit { rows, bytes: usize::MAX },
    });
    let options = WorkerOptions {
        limit: PollLimit { records: 1_000, bytes: usize::MAX },
        backoff_min: Duration::ZERO,
        wire,
        upkeep: UpkeepOptions { rewrite, ..UpkeepOptions::default() },
        ..WorkerOptions::replay(ShardCount(n_shards))
    };
    let logged = if is_logged { "logged" } else { "not logged" };
    let text =
        format!("{n_shards} shards, epochs of up to {rows_max} records, {logged}, crashes {crashes}, {slice_rows:?}");
    let failed = |e: &dyn std::error::Error| {
        let source = e.source().map(|s| format!(": {s}")).unwrap_or_default();
        format!("{e}{source} ({text})")
    };
    let mut worker = Worker::new(pipeline.clone(), ends, options, Arc::default()).map_err(|e| failed(&e))?;
    match worker.run() {
        Ok(Ended::EndOfInput) => {}
        Ok(other) => return Err(format!("ended as {other:?}")),
        Err(error) => return Err(failed(&error)),
    }
    let mut committed = committed.take();
    committed.text = text;
    Ok(committed)
}

/// One case of a shape.
fn run_case(shape: &Shape, seed: u64) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let (catalog, pipeline) = pack::compile(&shape.pack())?;
    let history = History::random(&catalog, shape.is_stream(), &mut rng);
    let committed = stream(&pipeline, &history, Wire::Kafka, [1, 4, 40, 400], &mut rng)?;
    let text = &committed.text;
    let what = |e: String| format!("{e}\n({text})\n{history}");
    check_changes(&committed).map_err(what)?;
    let mut moments: Vec<usize> = vec![committed.epochs.len() - 1];
    if !shape.is_stream() || shape.at_any_time {
        // The first entry stands before the first epoch, when an aggregate of nothing has not been written yet.
        moments.extend((0..2).map(|_| rng.usize(1..committed.epochs.len().max(2)).min(committed.epochs.len() - 1)));
    }
    for moment in moments {
        let epoch = &committed.epochs[moment];
        let got = epoch.content.get("result_sink").cloned().unwrap_or_default();
        let want = batch::run(&catalog, shape, &history.content(epoch.n_records))?;
        if got != want {
            let (n, of) = (epoch.n_records, history.records.len());
            return Err(what(format!("after {n} of {of} records\n{}", difference(&got, &want))));
        }
    }
    Ok(())
}

fn difference(got: &[String], want: &[String]) -> String {
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        let mut left: Vec<String> = b.to_vec();
        let mut rest = Vec::new();
        for row in a {
            match left.iter().position(|r| r == row) {
                Some(at) => drop(left.remove(at)),
                None => rest.push(row.clone()),
            }
        }
        rest
    };
    format!("streamed, not in batch: {:#?}\nin batch, not streamed: {:#?}", only(got, want), only(want, got))
}

/// Revisions have no gaps, a change starts where the last one ended, and nothing is written twice.
fn check_changes(committed: &Committed) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    for id in &committed.ids {
        if !ids.insert(id) {
            return Err(format!("the id {id} was written twice"));
        }
    }
    let Some(rows) = committed.appended.get("changes_sink") else { return Ok(()) };
    let mut last: BTreeMap<String, (u64, Value)> = BTreeMap::new();
    for row in rows {
        let (before, after) = (&row["before"], &row["after"]);
        let key = row["key"].to_string();
        let revision = row["revision"].as_u64().unwrap_or_default();
        let (n, held) = last.remove(&key).unwrap_or_default();
        if revision != n + 1 {
            return Err(format!("revision {revision} of {key} follows {n}"));
        }
        if *before != held || before == after {
            return Err(format!("{row} follows {held}"));
        }
        last.insert(key, (revision, after.clone()));
    }
    let mut held: Vec<String> = last.into_values().filter(|(_, v)| !v.is_null()).map(|(_, v)| v.to_string()).collect();
    held.sort();
    let content = committed.epochs.last().and_then(|e| e.content.get("result_sink")).cloned().unwrap_or_default();
    if held != content {
        return Err(format!("CHANGES and sink disagree\n{}", difference(&held, &content)));
    }
    Ok(())
}

fn run_shapes(shapes: Vec<Shape>, cases: u64) {
    let only = std::env::var("CURB_TEST_SHAPE").ok();
    let seed = number("CURB_TEST_SEED");
    let cases = number("CURB_TEST_CASES").unwrap_or(cases);
    let mut failures = Vec::new();
    for shape in shapes.iter().filter(|s| only.as_ref().is_none_or(|o| o == s.name)) {
        let seeds: Vec<u64> = seed.map_or_else(|| (0..cases).collect(), |s| vec![s]);
        for seed in seeds {
            let outcome = catch_unwind(AssertUnwindSafe(|| run_case(shape, seed)));
            let outcome = outcome.unwrap_or_else(|_| Err("panicked".into()));
            if let Err(reason) = outcome {
                failures.push(format!("CURB_TEST_SHAPE={} CURB_TEST_SEED={seed}\n{reason}\n", shape.name));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{} shapes failed\n\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn queries_over_tables_equal_batch() {
    run_shapes(table_shapes::stateless(), 6);
}

#[test]
fn joins_of_tables_equal_batch() {
    run_shapes(table_shapes::joins(), 6);
}

#[test]
fn grouped_tables_equal_batch() {
    run_shapes(table_shapes::groups(), 6);
}

#[test]
fn windows_over_tables_equal_batch() {
    run_shapes(table_shapes::windows(), 6);
}

#[test]
fn windows_over_streams_equal_batch() {
    run_shapes(running_window_shapes::by_event_time(), 6);
}

#[test]
fn groups_values_and_later_rows_equal_batch() {
    run_shapes(running_window_shapes::frames(), 6);
}

#[test]
fn windows_by_arrival_equal_batch() {
    run_shapes(running_window_shapes::by_arrival(), 6);
}

#[test]
fn windows_over_buckets_of_streams_equal_batch() {
    run_shapes(running_window_shapes::by_bucket(), 6);
}

#[test]
fn first_rows_equal_batch() {
    run_shapes(running_window_shapes::deduplicate(), 6);
}

#[test]
fn first_rows_of_streams_as_tables_equal_batch() {
    run_shapes(top_rows_shapes::all(), 8);
    run_shapes(top_rows_shapes::by_arrival(), 8);
}

#[test]
fn overlapping_buckets_equal_batch() {
    run_shapes(window_shapes::hops(), 6);
}

#[test]
fn sessions_of_streams_equal_batch() {
    run_shapes(window_shapes::sessions(), 6);
}

#[test]
fn final_rows_of_tables_equal_batch() {
    run_shapes(window_shapes::finals_of_tables(), 6);
}

#[test]
fn buckets_with_late_rows_equal_batch() {
    run_shapes(window_shapes::late(), 6);
}

#[test]
fn buckets_of_buckets_equal_batch() {
    run_shapes(window_shapes::nested(), 6);
}

#[test]
fn overlapping_buckets_and_sessions_of_tables_equal_batch() {
    run_shapes(window_shapes::tables(), 6);
}

#[test]
fn functions_of_whole_groups_and_calendars_equal_batch() {
    run_shapes(function_shapes::all(), 6);
}

#[test]
fn queries_over_streams_equal_batch() {
    run_shapes(stream_shapes::all(), 6);
}

#[test]
fn joins_of_streams_equal_batch() {
    run_shapes(interval_join_shapes::all(), 6);
}

#[test]
fn joins_of_buckets_equal_batch() {
    run_shapes(interval_join_shapes::of_buckets(), 6);
}
