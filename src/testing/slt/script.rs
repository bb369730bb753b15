//! A test file: its records as `sqllogictest` reads them, with files that it includes, and its text with new expectations.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use sqllogictest::{
    Condition, Control, ExpectedError, QueryExpect, Record, ResultMode, SortMode, StatementExpect, parse_with_name,
};

use super::Wrong;
use super::batch::{Table, tables};
use super::column::Column;
use super::step::{Step, parse_steps};
use crate::dialect::parse_query;

/// The largest test file: a larger one is data in the wrong folder.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// How deep files may include others.
const INCLUDES_MAX: usize = 8;

/// A test file.
#[derive(Clone, Debug)]
pub(super) struct Script {
    records: Vec<Record<Column>>,
    /// What is done, in order; included files are taken in.
    pub(super) checks: Vec<Check>,
}

/// One thing that a test does.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// The file that it stands in, if that is an included one.
    pub(super) file: Option<String>,
    /// The line, from 1.
    pub(super) line: u32,
    /// The text below that line.
    pub(super) sql: String,
    /// The place in the file's own records; none in an included file.
    pub(super) place: Option<usize>,
    pub(super) kind: CheckKind,
}

/// What is done, and what must come of it.
#[derive(Clone, Debug)]
pub(super) enum CheckKind {
    Statement(StatementExpect),
    Query(Expected),
}

/// What a query must yield.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// Rows, one a line, whose columns have these types; no types where the test names none.
    Rows {
        types: Vec<Column>,
        sorted: bool,
        lines: Vec<String>,
    },
    Error(ExpectedError),
}

impl Script {
    /// Reads a test file.
    pub(super) fn read(path: &Path) -> Result<Self, Wrong> {
        let records = read_records(path)?;
        let mut reading = Reading { checks: Vec::new(), sorted: false };
        reading.take(path, &records, None, 0)?;
        Ok(Self { records, checks: reading.checks })
    }

    /// The relations that queries read and that steps may have to be looked into for; what cannot be read names none.
    pub(super) fn relations(&self) -> BTreeSet<String> {
        let queries = self.checks.iter().filter(|c| matches!(c.kind, CheckKind::Query(_)));
        let read = queries.filter_map(|check| parse_query(&check.sql).ok()).flat_map(|query| tables(&query));
        let relations = read.filter_map(|table| match table {
            Table::Relation(name) => Some(name),
            Table::Side { .. } => None,
        });
        relations.collect()
    }

    /// Whether a query looks at what a source counts or refuses.
    pub(super) fn has_sides(&self) -> bool {
        let queries = self.checks.iter().filter(|c| matches!(c.kind, CheckKind::Query(_)));
        let mut read = queries.filter_map(|check| parse_query(&check.sql).ok()).flat_map(|query| tables(&query));
        read.any(|table| matches!(table, Table::Side { .. }))
    }

    /// All steps that can be read.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step> {
        let statements = self.checks.iter().filter(|c| matches!(c.kind, CheckKind::Statement(_)));
        statements.filter_map(|check| parse_steps(&check.sql).ok()).flatten()
    }

    /// Gives a query of this file other expectations.
    pub(super) fn expect(&mut self, place: usize, found_types: Vec<Column>, lines: Vec<String>) {
        if let Some(Record::Query { expected: QueryExpect::Results { types, results, .. }, .. }) =
            self.records.get_mut(place)
        {
            (*types, *results) = (found_types, lines);
        }
    }

    /// The text of the file.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for record in &self.records {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{record}");
        }
        let end = text.trim_end().len();
        text.truncate(end);
        text.push('\n');
        text
    }
}

fn read_records(path: &Path) -> Result<Vec<Record<Column>>, Wrong> {
    let unreadable = |e: std::io::Error| Wrong(format!("`{}` could not be read: {e}", path.display()));
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Wrong(format!("`{}` has {bytes} bytes; a test may have {FILE_BYTES_MAX}", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse_with_name(&text, path.display().to_string()).map_err(|e| Wrong(e.to_string()))
}

/// Takes records in, one file after the other.
struct Reading {
    checks: Vec<Check>,
    /// Whether rows are sorted where a query does not say.
    sorted: bool,
}

impl Reading {
    fn take(&mut self, path: &Path, records: &[Record<Column>], file: Option<&str>, depth: usize) -> Result<(), Wrong> {
        for (place, record) in records.iter().enumerate() {
            let at = |line: u32, message: &str| Wrong(format!("{}:{line}: {message}", path.display()));
            let mut check = |line: u32, sql: &String, kind| {
                let place = file.is_none().then_some(place);
                self.checks.push(Check { file: file.map(str::to_string), line, sql: sql.clone(), place, kind });
            };
            match record {
                Record::Statement { conditions, .. } | Record::Query { conditions, .. } if is_skipped(conditions) => {}
                Record::Statement { loc, sql, expected, .. } => {
                    check(loc.line(), sql, CheckKind::Statement(expected.clone()));
                }
                Record::Query { loc, sql, expected, .. } => {
                    let expected = expectation(expected, self.sorted).map_err(|e| at(loc.line(), &e.0))?;
                    check(loc.line(), sql, CheckKind::Query(expected));
                }
                Record::Include { loc, filename } => {
                    if depth >= INCLUDES_MAX {
                        return Err(at(loc.line(), "files include one another too deeply"));
                    }
                    let included = path.with_file_name(filename);
                    let name = included.display().to_string();
                    self.take(&included, &read_records(&included)?, Some(&name), depth + 1)?;
                }
                Record::Control(Control::SortMode(mode)) => self.sorted = *mode == SortMode::RowSort,
                Record::Halt { .. } => break,
                Record::Sleep { loc, .. } => {
                    return Err(at(loc.line(), "a test does not sleep: move its clock with CLOCK + '10 seconds'"));
                }
                Record::System { loc, .. } => return Err(at(loc.line(), "a test runs no other program")),
                Record::Let { loc, .. } => return Err(at(loc.line(), "a test has no variables")),
                // Comments, and settings that mean nothing here.
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a record is for other engines.
fn is_skipped(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| match condition {
        Condition::OnlyIf { label } => label != "curb",
        Condition::SkipIf { label } => label == "curb",
    })
}

fn expectation(expected: &QueryExpect<Column>, sorted: bool) -> Result<Expected, Wrong> {
    match expected {
        QueryExpect::Error(error) => Ok(Expected::Error(error.clone())),
        QueryExpect::Results { sort_mode: Some(SortMode::ValueSort), .. }
        | QueryExpect::Results { result_mode: Some(ResultMode::ValueWise), .. } => {
            Err(Wrong("results are compared by row: write `rowsort`, or ORDER BY".into()))
        }
        QueryExpect::Results { types, sort_mode, results, .. } => Ok(Expected::Rows {
            types: types.clone(),
            sorted: sort_mode.map_or(sorted, |mode| mode == SortMode::RowSort),
            lines: results.clone(),
        }),
    }
}
