//! What came of the tests of a pack, as data.

use std::path::Path;

use serde::Serialize;

use super::script::Check;

/// What came of all tests of a pack.
#[derive(Clone, Debug, Serialize)]
pub struct TestReport {
    /// Test files without a failure.
    pub passed: usize,
    /// Test files with failures.
    pub failed: usize,
    /// Every test file, in order of the names.
    pub files: Vec<FileReport>,
}

/// What came of one test file.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// The path.
    pub file: String,
    /// How many queries it has.
    pub n_queries: usize,
    /// Whether new expectations were written into it.
    pub is_completed: bool,
    /// What is not as the test says.
    pub failures: Vec<Failure>,
}

/// One thing that is not as the test says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The file: the test's own, or one that it includes.
    pub file: String,
    /// The line of the record; 0 for the file as a whole.
    pub line: u32,
    /// What is wrong.
    pub message: String,
    /// The statement or query.
    pub sql: String,
    /// Rows that were only expected (`-`), only got (`+`), or both.
    pub diff: Vec<DiffLine>,
    /// The runs that fail like this; empty = all of them.
    pub variants: Vec<String>,
}

/// A row of a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiffLine {
    /// `-` only expected, `+` only got, a space for both.
    pub sign: char,
    /// The row.
    pub row: String,
}

impl TestReport {
    pub(super) fn new(files: Vec<FileReport>) -> Self {
        let failed = files.iter().filter(|f| !f.failures.is_empty()).count();
        Self { passed: files.len() - failed, failed, files }
    }
}

impl FileReport {
    pub(super) fn new(path: &Path) -> Self {
        Self { file: path.display().to_string(), n_queries: 0, is_completed: false, failures: Vec::new() }
    }
}

impl Failure {
    /// A failure before anything was run.
    pub(super) fn of_file(path: &Path, message: String) -> Self {
        Self {
            file: path.display().to_string(),
            line: 0,
            message,
            sql: String::new(),
            diff: Vec::new(),
            variants: Vec::new(),
        }
    }

    pub(super) fn of_check(path: &Path, check: &Check, message: String, diff: Vec<DiffLine>) -> Self {
        Self {
            file: check.file.clone().unwrap_or_else(|| path.display().to_string()),
            line: check.line,
            sql: check.sql.clone(),
            diff,
            ..Self::of_file(path, message)
        }
    }
}
