//! One test file: planned once, run in every variant, and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use sqllogictest::StatementExpect;

use super::Wrong;
use super::batch::{Answer, Batch, Table};
use super::column::letters;
use super::diff::{Line, difference};
use super::report::{DiffLine, Failure, FileReport};
use super::running::Variant;
use super::script::{Check, CheckKind, Expected, Script};
use super::step::{Step, parse_steps};
use super::taps::{catalog, is_sink, plan_taps};
use super::world::{Plans, World, count_partitions};
use crate::catalog::{Catalog, QueryDefinition, QueryRole};
use crate::dialect::{Diagnostic, Pack, parse_query, render_lines};
use crate::plan::{Pipeline, plan, reduced};

/// A pack resolved and planned, or what is wrong with it.
pub(super) type Compiled = Result<(Catalog, Arc<Pipeline>), Vec<Diagnostic>>;

/// Resolves and plans a pack, once for all its tests.
pub(super) fn compile(pack: &Pack) -> Compiled {
    let catalog = catalog(pack)?;
    let pipeline = plan(&catalog)?;
    Ok((catalog, Arc::new(pipeline)))
}

/// The sinks that steps pause and resume.
fn steered(steps: &[Step]) -> impl Iterator<Item = String> {
    steps.iter().filter_map(|step| match step {
        Step::Pause(sink) | Step::Resume(sink) => Some(sink.clone()),
        _ => None,
    })
}

/// Runs a test file; with `completes`, its expectations are written anew first.
pub(super) fn run_file(pack: &Pack, compiled: &Compiled, path: &Path, completes: bool) -> FileReport {
    let mut report = FileReport::new(path);
    if let Err(wrong) = run(pack, compiled, path, completes, &mut report) {
        report.failures.push(Failure::of_file(path, wrong.0));
    }
    report
}

fn run(pack: &Pack, compiled: &Compiled, path: &Path, completes: bool, report: &mut FileReport) -> Result<(), Wrong> {
    let mut script = Script::read(path)?;
    report.n_queries = script.checks.iter().filter(|c| matches!(c.kind, CheckKind::Query(_))).count();
    if report.n_queries == 0 {
        return Err(Wrong("the test has no query, so nothing is checked".into()));
    }
    let refused = |findings: Vec<_>| Wrong(render_lines(&findings, pack));
    let (catalog, whole) = compiled.as_ref().map_err(|findings| refused(findings.clone()))?;
    let is_looked_into = |name: &String| catalog.find(name).is_some_and(|definition| !is_sink(definition));
    let relations: Vec<String> = script.relations().into_iter().filter(is_looked_into).collect();
    let taps = plan_taps(pack, &relations)
        .map_err(|text| Wrong(format!("a relation that the test queries cannot be looked into:\n{text}")))?;
    let batch = Batch::new(catalog.time_zone)?;
    let steps: Vec<_> = script.steps().collect();
    let n_partitions = count_partitions(steps.iter());
    let whole = whole.clone();
    let asked: Vec<String> = script.relations().into_iter().chain(steered(&steps)).collect();
    let is_sink_asked = |query: &QueryDefinition| {
        matches!(query.role, QueryRole::Sink(_)) && asked.iter().any(|asked| *asked == *query.name)
    };
    // What a source counts, and what it refuses, depends on all that read it.
    let is_reducible = !script.has_sides() && asked.iter().any(|name| catalog.find(name).is_some_and(is_sink));
    let needed = match is_reducible {
        true => plan(&reduced(catalog, is_sink_asked)).map(Arc::new).map_err(refused)?,
        false => whole.clone(),
    };
    let plans = Plans { whole, needed, catalog: catalog.clone(), taps, n_partitions };
    if completes {
        complete(&plans, &batch, &mut script, path, report)?;
    }
    let failures = Variant::ALL.map(|variant| (variant, run_variant(&plans, &batch, &script, path, variant)));
    report.failures.extend(joined(failures.into_iter().collect()));
    Ok(())
}

/// Writes into the file what its queries yield in the first variant.
fn complete(
    plans: &Plans,
    batch: &Batch,
    script: &mut Script,
    path: &Path,
    report: &mut FileReport,
) -> Result<(), Wrong> {
    let mut world = World::new(plans, batch, Variant::ALL[0]);
    let mut found = Vec::new();
    for check in &script.checks {
        match &check.kind {
            // A statement that fails although it should not is told by the runs that follow.
            CheckKind::Statement(_) => drop(statement(&mut world, &check.sql)),
            CheckKind::Query(Expected::Error(_)) => {}
            CheckKind::Query(Expected::Rows { types, sorted, lines }) => {
                let (Some(place), Ok(answer)) = (check.place, query(&mut world, batch, &check.sql)) else { continue };
                let is_right = compare_types(types, &answer).is_ok() && {
                    let got = rows_of(&answer, *sorted);
                    normalised(lines, *sorted) == normalised(&got, false)
                };
                if !is_right || types.is_empty() {
                    found.push((place, answer, *sorted));
                }
            }
        }
    }
    for (place, answer, sorted) in found {
        script.expect(place, answer.types.clone(), aligned(&answer, sorted));
    }
    let text = script.text();
    let old = std::fs::read_to_string(path).map_err(Wrong::new)?;
    if text != old {
        std::fs::write(path, text).map_err(|e| Wrong(format!("`{}` could not be written: {e}", path.display())))?;
        report.is_completed = true;
    }
    *script = Script::read(path)?;
    Ok(())
}

/// The failures of one run, with the place of each in the list of checks.
fn run_variant(
    plans: &Plans,
    batch: &Batch,
    script: &Script,
    path: &Path,
    variant: Variant,
) -> BTreeMap<usize, Failure> {
    let mut world = World::new(plans, batch, variant);
    let mut failures = BTreeMap::new();
    let mut told_double = None;
    for (idx, check) in script.checks.iter().enumerate() {
        let outcome = run_check(&mut world, batch, check);
        if let Err((message, diff)) = outcome {
            failures.insert(idx, Failure::of_check(path, check, message, diff));
        }
        let double = world.double_keys();
        if double.is_some() && double != told_double {
            let message = double.clone().unwrap_or_default();
            failures.entry(idx).or_insert_with(|| Failure::of_check(path, check, message, Vec::new()));
            told_double = double;
        }
    }
    // What stands behind the last query is handled too.
    if let (Err(wrong), Some(last)) = (world.advance(), script.checks.last()) {
        let failed = || Failure::of_check(path, last, wrong.0, Vec::new());
        failures.entry(script.checks.len() - 1).or_insert_with(failed);
    }
    failures
}

type Difference = (String, Vec<DiffLine>);

fn run_check(world: &mut World<'_>, batch: &Batch, check: &Check) -> Result<(), Difference> {
    let plain = |message: String| (message, Vec::new());
    match &check.kind {
        CheckKind::Statement(expected) => match (expected, statement(world, &check.sql)) {
            (StatementExpect::Ok, Ok(_)) => Ok(()),
            (StatementExpect::Count(n), Ok(inserted)) if *n == inserted => Ok(()),
            (StatementExpect::Count(n), Ok(inserted)) => Err(plain(format!("{inserted} records, expected {n}"))),
            (StatementExpect::Error(error), Err(wrong)) if error.is_match(&wrong.0, None) => Ok(()),
            (StatementExpect::Error(error), Err(wrong)) => {
                Err(plain(format!("it fails with: {}\nexpected: {error}", wrong.0)))
            }
            (StatementExpect::Error(_), Ok(_)) => Err(plain("it succeeds, but an error is expected".into())),
            (_, Err(wrong)) => Err(plain(wrong.0)),
        },
        CheckKind::Query(expected) => match (expected, query(world, batch, &check.sql)) {
            (Expected::Rows { types, sorted, lines }, Ok(answer)) => {
                compare_types(types, &answer).map_err(plain)?;
                compare(lines, &answer, *sorted)
            }
            (Expected::Error(error), Err(wrong)) if error.is_match(&wrong.0, None) => Ok(()),
            (Expected::Error(error), Err(wrong)) => {
                Err(plain(format!("it fails with: {}\nexpected: {error}", wrong.0)))
            }
            (Expected::Error(_), Ok(_)) => Err(plain("it succeeds, but an error is expected".into())),
            (Expected::Rows { .. }, Err(wrong)) => Err(plain(wrong.0)),
        },
    }
}

pub(super) fn statement(world: &mut World<'_>, sql: &str) -> Result<u64, Wrong> {
    let mut n_records = 0;
    for step in parse_steps(sql)? {
        n_records += world.take(&step)?;
    }
    Ok(n_records)
}

pub(super) fn query(world: &mut World<'_>, batch: &Batch, sql: &str) -> Result<Answer, Wrong> {
    // A query that cannot be read ends the epoch as any other does.
    world.advance()?;
    let query = parse_query(sql).map_err(|finding| Wrong(finding.message.clone()))?;
    let world: &World<'_> = world;
    batch.answer(&query, &|table: &Table| world.table(table))
}

// === Comparing ===

fn compare_types(expected: &[super::column::Column], answer: &Answer) -> Result<(), String> {
    let fits = expected.len() == answer.types.len()
        && answer.types.iter().zip(expected).all(|(got, expected)| got.may_stand_for(*expected));
    if expected.is_empty() || fits {
        return Ok(());
    }
    Err(format!("the columns are {}, expected {}", letters(&answer.types), letters(expected)))
}

fn compare(expected: &[String], answer: &Answer, sorted: bool) -> Result<(), Difference> {
    let got = rows_of(answer, sorted);
    let (expected, got) = (normalised(expected, sorted), normalised(&got, sorted));
    if expected == got {
        return Ok(());
    }
    let lines = difference(&expected, &got);
    let is_only_order = lines.len() == expected.len().max(got.len()) || {
        let sorted = |rows: &[String]| rows.iter().cloned().collect::<BTreeSet<_>>();
        expected.len() == got.len() && sorted(&expected) == sorted(&got)
    };
    let message = if is_only_order && normalised(&expected, true) == normalised(&got, true) {
        "the rows are those expected, in another order (ORDER BY fixes it, `rowsort` ignores it)"
    } else {
        "the rows differ"
    };
    let line = |line: Line| match line {
        Line::Both(row) => DiffLine { sign: ' ', row },
        Line::Expected(row) => DiffLine { sign: '-', row },
        Line::Got(row) => DiffLine { sign: '+', row },
    };
    Err((message.to_string(), lines.into_iter().map(line).collect()))
}

fn rows_of(answer: &Answer, sorted: bool) -> Vec<String> {
    let mut rows: Vec<String> = answer.rows.iter().map(|cells| cells.join("  ")).collect();
    if sorted {
        rows.sort();
    }
    rows
}

/// Rows with single spaces, sorted if the test asks for it.
fn normalised(rows: &[String], sorted: bool) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    if sorted {
        rows.sort();
    }
    rows
}

/// Rows whose columns stand below one another.
fn aligned(answer: &Answer, sorted: bool) -> Vec<String> {
    let mut rows = answer.rows.clone();
    if sorted {
        rows.sort_by_key(|cells| cells.join("  "));
    }
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..answer.types.len()).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

// === Joining the runs ===

/// One failure for all runs that fail alike; a failure of some runs says which.
fn joined(runs: Vec<(Variant, BTreeMap<usize, Failure>)>) -> Vec<Failure> {
    let n_runs = runs.len();
    let mut found: BTreeMap<usize, Vec<(Failure, Vec<String>)>> = BTreeMap::new();
    for (variant, failures) in runs {
        for (idx, failure) in failures {
            let alike = found.entry(idx).or_default();
            match alike.iter_mut().find(|(other, _)| *other == failure) {
                Some((_, variants)) => variants.push(variant.name()),
                None => alike.push((failure, vec![variant.name()])),
            }
        }
    }
    let with_variants = |(failure, variants): (Failure, Vec<String>)| Failure {
        variants: if variants.len() == n_runs { Vec::new() } else { variants },
        ..failure
    };
    found.into_values().flatten().map(with_variants).collect()
}
