//! `curb test`: a pack's own tests, without a broker.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;

use super::load::load;
use super::{Failure, OutputForm, print};
use crate::dialect::Pack;
use crate::testing::{self, FileReport, TestReport, run_tests, test_files, tests_folder};

/// Run the tests of a pack: records in, rows out, at several shard counts and with crashes
#[derive(Debug, Args)]
#[command(after_long_help = testing::LANGUAGE)]
pub(super) struct TestArgs {
    /// The pack: a folder of .sql files, or one file
    pack: PathBuf,
    /// Run only the files whose name holds this text
    #[arg(long, value_name = "TEXT")]
    file_filter: Option<String>,
    /// Write the rows that come into the tests as those expected
    #[arg(long)]
    complete: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

pub(super) fn run(args: &TestArgs) -> Result<(), Failure> {
    load(&args.pack, None, args.output)?;
    let pack = Pack::read(&args.pack).map_err(|e| Failure::Configuration(e.into()))?;
    let folder = tests_folder(&args.pack);
    let files = test_files(&args.pack, args.file_filter.as_deref())
        .with_context(|| format!("`{}` could not be read", folder.display()))
        .map_err(Failure::Configuration)?;
    if files.is_empty() {
        return Err(no_tests(args, &folder.display().to_string()));
    }
    let report = run_tests(&pack, &files, args.complete);
    match args.output {
        OutputForm::Text => print(&text(&report))?,
        OutputForm::Json => {
            let json = serde_json::to_string_pretty(&report).map_err(|e| Failure::Failed(e.into()))?;
            print(&format!("{json}\n"))?;
        }
    }
    // The failures have been printed.
    if report.failed == 0 { Ok(()) } else { Err(Failure::Refused) }
}

/// A pack without tests has not passed any.
fn no_tests(args: &TestArgs, folder: &str) -> Failure {
    match &args.file_filter {
        Some(filter) => Failure::Usage(anyhow!("no test in `{folder}` has `{filter}` in its name")),
        None => Failure::Configuration(anyhow!(
            "the pack has no tests: `{folder}` holds no .slt file; `curb test --help` says how to write one"
        )),
    }
}

fn text(report: &TestReport) -> String {
    let mut text = String::new();
    for file in &report.files {
        // Writing to a string cannot fail.
        let _ = file_text(file, &mut text);
    }
    let n_queries: usize = report.files.iter().map(|f| f.n_queries).sum();
    let n_completed = report.files.iter().filter(|f| f.is_completed).count();
    if n_completed > 0 {
        let _ = writeln!(text, "{n_completed} completed: read what was written before you commit it");
    }
    let _ = writeln!(text, "{} passed, {} failed ({n_queries} queries)", report.passed, report.failed);
    text
}

fn file_text(file: &FileReport, text: &mut String) -> std::fmt::Result {
    if file.failures.is_empty() {
        return writeln!(text, "ok    {}", file.file);
    }
    writeln!(text, "FAIL  {}", file.file)?;
    for failure in &file.failures {
        let place = if failure.line == 0 { failure.file.clone() } else { format!("{}:{}", failure.file, failure.line) };
        let runs =
            if failure.variants.is_empty() { String::new() } else { format!(" ({})", failure.variants.join("; ")) };
        writeln!(text, "\n{place}{runs}: {}", failure.message)?;
        for line in failure.sql.lines() {
            writeln!(text, "    | {line}")?;
        }
        if !failure.diff.is_empty() {
            writeln!(text, "    - expected, + got")?;
        }
        for line in &failure.diff {
            writeln!(text, "    {} {}", line.sign, line.row)?;
        }
    }
    writeln!(text)
}
