//! Random compositions of everything, over random schemas, compared with batch.
//!
//! A failure is made small and says what to run. A query that the planner refuses is no failure, but it must be refused
//! with a code, and only so many may be: `CURB_TEST_CASES=n` sets the number of cases, `CURB_TEST_SEED=n` runs one.

mod generate;
mod query;
mod schema;
mod scope;
mod shrink;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use curb::format::json::Wire;
use curb::plan::Pipeline;
use fastrand::Rng;

use crate::ends::Committed;
use crate::world::History;
use crate::{batch, check_changes, difference, number, pack, stream};
use query::Query;

/// Where stock DataFusion fails by mistakes of its own.
const BATCH_DEFECTS: [&str; 3] = ["SanityCheckPlan", "Internal error", "Invalid comparison operation"];

/// A query with the records it is run over.
#[derive(Clone, Debug)]
struct Case {
    query: Query,
    history: History,
    /// Decides about epochs, crashes and shards.
    run_seed: u64,
}

impl Case {
    fn random(with_streams: bool, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let query = generate::query(with_streams, &mut rng);
        let history = schema::history(&query.sources, &mut rng);
        Self { query, history, run_seed: rng.u64(..) }
    }

    /// Drops the records of sources that are not read.
    fn forget_unused(&mut self) {
        let is_read = |name: &str| self.query.sources.iter().any(|s| s.name == name);
        self.history.records.retain(|r| is_read(&r.relation));
        self.history.relations.retain(|r| is_read(r));
    }
}

/// How a case may fail; a smaller one must fail in the same manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Panicked,
    /// The planner's refusal has no code of ours, or shows an inner error.
    Refusal,
    /// Batch does not take what was written: a mistake of the generator.
    Batch,
    Ended,
    Differs,
}

enum Outcome {
    Equal,
    /// Refused: with which code, and the whole text.
    Refused(String, String),
    Failed {
        manner: Manner,
        reason: String,
    },
}

fn run(case: &Case) -> Outcome {
    let outcome = catch_unwind(AssertUnwindSafe(|| tried(case)));
    outcome.unwrap_or_else(|_| Outcome::Failed { manner: Manner::Panicked, reason: "panicked".into() })
}

fn tried(case: &Case) -> Outcome {
    let query = &case.query;
    let failed = |manner: Manner, reason: String| Outcome::Failed { manner, reason };
    let (catalog, pipeline) = match pack::compile_whole(&query.pack()) {
        Ok(planned) => planned,
        Err(text) => return refused(text),
    };
    let mut rng = Rng::with_seed(case.run_seed);
    let mut committed = match stream(&pipeline, &case.history, Wire::Kafka, [1, 4, 40, 400], &mut rng) {
        Ok(committed) => committed,
        Err(reason) => return failed(Manner::Ended, reason),
    };
    name_by_key(&pipeline, &mut committed);
    let text = &committed.text;
    if let Err(reason) = check_changes(&committed) {
        return failed(Manner::Differs, format!("{reason}\n({text})"));
    }
    let mut moments: Vec<usize> = vec![committed.epochs.len() - 1];
    if !query.reads_streams() {
        moments.extend((0..2).map(|_| rng.usize(1..committed.epochs.len().max(2)).min(committed.epochs.len() - 1)));
    }
    let (steps, last) = query.batch();
    for moment in moments {
        let epoch = &committed.epochs[moment];
        let got = epoch.content.get("result_sink").cloned().unwrap_or_default();
        let content = schema::content(&query.sources, &case.history, epoch.n_records);
        let want = match batch::run_steps(&catalog, &steps, &last, &content) {
            Ok(want) => want,
            // A mistake of stock DataFusion's own: there is nothing to compare with.
            Err(reason) if BATCH_DEFECTS.iter().any(|d| reason.contains(d)) => {
                return Outcome::Refused("batch".into(), reason);
            }
            Err(reason) => return failed(Manner::Batch, reason),
        };
        if got != want {
            let (n, of) = (epoch.n_records, case.history.records.len());
            let reason = format!("after {n} of {of} records ({text})\n{}", difference(&got, &want));
            return failed(Manner::Differs, reason);
        }
    }
    Outcome::Equal
}

/// Names changes by the key that the planner found: it may be smaller than the one that was written.
fn name_by_key(pipeline: &Pipeline, committed: &mut Committed) {
    let Some(sink) = pipeline.sinks.iter().find(|s| &*s.name == "result_sink") else { return };
    let schema = &pipeline.relations[sink.relation].schema;
    let names: Vec<&str> = sink.key.iter().map(|k| schema.field(*k).name().as_str()).collect();
    for row in committed.appended.get_mut("changes_sink").into_iter().flatten() {
        let of = if row["after"].is_null() { &row["before"] } else { &row["after"] };
        row["key"] = names.iter().map(|n| of[*n].clone()).collect();
    }
}

/// Runs a smaller case, with other epochs too: they may be needed to see the failure.
fn fails_again(mut case: Case, manner: Manner) -> Option<(Case, String)> {
    case.forget_unused();
    (0..4).find_map(|n| {
        let tried = Case { run_seed: case.run_seed.wrapping_add(n), ..case.clone() };
        match run(&tried) {
            Outcome::Failed { manner: m, reason } if m == manner => Some((tried, reason)),
            _ => None,
        }
    })
}

/// A refusal must say with a code what is wrong, and not that something inside went wrong.
fn refused(text: String) -> Outcome {
    let code = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.len() == 5 && word.starts_with('C') && word[1..].chars().all(|c| c.is_ascii_digit()));
    let looks_internal = ["nternal error", "DataFusion", "Optimizer rule", "bug"].iter().any(|w| text.contains(w));
    match code {
        // C0200 is what DataFusion refuses in words of its own, C0290 what no operator can be built for.
        Some(code) if !looks_internal && !["C0200", "C0290", "C0400"].contains(&code) => {
            Outcome::Refused(code.to_owned(), text)
        }
        _ => Outcome::Failed { manner: Manner::Refusal, reason: text },
    }
}

fn shown(case: &Case, seed: u64, test: &str, reason: &str) -> String {
    let query = &case.query;
    let (steps, last) = query.batch();
    let batch: String = steps.iter().map(|(name, sql)| format!("  {name}: {sql}\n")).collect();
    format!(
        "CURB_TEST_SHAPE=compositions CURB_TEST_SEED={seed} cargo test --test batch_oracle -- compositions::{test}\n\
         {reason}\n{}\nin batch:\n{batch}  {last}\nrun seed {}\n{}",
        query.pack(),
        case.run_seed,
        case.history
    )
}

/// Runs random cases; fails with the first few that are wrong.
fn run_cases(test: &str, with_streams: bool, cases: u64) {
    if std::env::var("CURB_TEST_SHAPE").is_ok_and(|s| s != "compositions") {
        return;
    }
    let seed = number("CURB_TEST_SEED");
    let cases = number("CURB_TEST_CASES").unwrap_or(cases);
    let first = number("CURB_TEST_FIRST").unwrap_or(0);
    let seeds: Vec<u64> = seed.map_or_else(|| (first..first + cases).collect(), |s| vec![s]);
    let mut refusals: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut words: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut n_equal, mut n_refused) = (0_u64, 0_u64);
    let mut failures = Vec::new();
    for &seed in &seeds {
        let case = Case::random(with_streams, seed);
        if std::env::var("CURB_TEST_SHOW").is_ok() {
            let (steps, last) = case.query.batch();
            println!("seed {seed}\n{}\nin batch: {steps:#?}\n{last}", case.query.pack());
        }
        match run(&case) {
            Outcome::Equal => {
                n_equal += 1;
                for word in case.query.steps.iter().flat_map(|s| s.words.iter().copied()) {
                    *words.entry(word).or_default() += 1;
                }
            }
            Outcome::Refused(code, text) => {
                n_refused += 1;
                refusals.entry(code).or_insert_with(|| (0, format!("seed {seed}: {text}"))).0 += 1;
            }
            Outcome::Failed { manner, reason } => {
                let (case, reason) = shrink::shrink(case, reason, &|case| fails_again(case, manner));
                failures.push(shown(&case, seed, test, &format!("{manner:?}: {reason}")));
                if failures.len() >= number("CURB_TEST_FAILURES").unwrap_or(2) as usize {
                    break;
                }
            }
        }
    }
    println!(
        "{test}: {n_equal} equal, {n_refused} refused, {} failed; pieces in equal ones: {words:?}",
        failures.len()
    );
    for (code, (n, text)) in &refusals {
        println!("{code}: {n}, first {text}");
    }
    assert!(failures.is_empty(), "{} of {} failed\n\n{}", failures.len(), seeds.len(), failures.join("\n"));
    assert!(
        seeds.len() < 40 || n_refused * 4 < seeds.len() as u64,
        "{n_refused} of {} queries were refused: {refusals:#?}",
        seeds.len()
    );
}

#[test]
fn over_tables_equal_batch() {
    run_cases("over_tables_equal_batch", false, 150);
}

#[test]
fn over_streams_equal_batch() {
    run_cases("over_streams_equal_batch", true, 200);
}

#[test]
fn a_failing_case_is_made_small() {
    let is_wrong = |case: &Case| {
        let filters = case.query.steps.iter().any(|s| !s.filters.is_empty());
        filters && case.history.records.iter().any(|r| r.value.is_none())
    };
    let wrong = (0..).map(|seed| Case::random(false, seed)).find(|c| is_wrong(c) && c.query.steps.len() > 2);
    let (small, _) =
        shrink::shrink(wrong.expect("some do"), String::new(), &|case| is_wrong(&case).then(|| (case, String::new())));
    assert_eq!((small.query.steps.len(), small.history.records.len()), (1, 1), "{}", small.query.pack());
    assert!(small.query.steps[0].items.len() == 1 && small.query.steps[0].filters.len() == 1);
}
