//! From `CREATE STREAM` and `CREATE TABLE` with columns to source definitions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono_tz::Tz;

use super::options::{OptionReader, Owner, did_you_mean, short};
use super::types::resolve_type;
use super::{Column, FileFormat, FormatSpec, RelationKind, SourceDefinition};
use crate::dialect::{ColumnDefinition, ConstraintKind, CreateSource, Diagnostic, Kind, Span, codes};

/// How long a partition must be silent by default before it is idle.
const IDLE_TIMEOUT_MS: i64 = 60_000;
/// How far into the future an event may lie by default: clocks of devices differ, but not by more.
const MAX_FUTURE_MS: i64 = 600_000;

/// The columns that every source has without declaring them.
pub const PSEUDO_COLUMNS: &[&str] = &["_topic", "_partition", "_offset", "_timestamp", "_key", "_headers"];

/// The columns of [`PSEUDO_COLUMNS`], in their order. Keys and headers are text; what is not valid UTF-8 in them is replaced.
pub(super) fn pseudo_fields(time_zone: Tz) -> [Field; 6] {
    let header = [Field::new("name", DataType::Utf8, true), Field::new("value", DataType::Utf8, true)];
    let header = Field::new_list_field(DataType::Struct(header.to_vec().into()), true);
    let types = [
        DataType::Utf8,
        DataType::Int32,
        DataType::Int64,
        DataType::Timestamp(TimeUnit::Millisecond, Some(time_zone.name().into())),
        DataType::Utf8,
        DataType::List(Arc::new(header)),
    ];
    let mut names = PSEUDO_COLUMNS.iter();
    types.map(|data_type| Field::new(*names.next().unwrap_or(&""), data_type, true))
}

/// Names that the engine uses for purposes of its own.
const HIDDEN: &[&str] = &["_row", "_tombstone"];

/// Resolves a source. What is wrong goes to `findings`; the definition is then only good for finding more.
pub(super) fn resolve_source(
    statement: &CreateSource,
    time_zone: Tz,
    findings: &mut Vec<Diagnostic>,
) -> SourceDefinition {
    let subject = format!("{} `{}`", statement.kind, statement.name.value);
    let mut columns = resolve_columns(statement, &subject, time_zone, findings);
    let key = resolve_key(statement, &subject, &columns, findings);
    for (i, column) in columns.iter_mut().enumerate() {
        column.not_null |= key.contains(&i);
    }
    let is_table = statement.kind == Kind::Table;
    let owner = if is_table { Owner::SourceTable } else { Owner::SourceStream };
    let mut reader = OptionReader { subject: &subject, owner, options: &statement.options, findings };
    reader.check_names();
    let (path, file_format) = path(&mut reader).unzip();
    let topic = if path.is_some() { None } else { Some(reader.topic(&statement.name.value, statement.name.span)) };
    let watch = watch(&mut reader, path.is_some());
    let event_time = reader.timestamp_column("event_time", &columns);
    let valid_from = reader.timestamp_column("valid_from", &columns);
    reader.check_valid_from(valid_from, &key, &columns);
    reader.check_event_time_given();
    let unique_for_ms = reader.positive_duration_ms("unique_for");
    reader.check_unique_for(&key);
    let broadcast = reader.boolean("broadcast").unwrap_or(false);
    let partitioned_by = reader.column_list("partitioned_by", &columns);
    reader.check_conflict(
        broadcast,
        "broadcast",
        "partitioned_by",
        "All shards hold all rows of a broadcast table; leave out `partitioned_by`.",
    );
    SourceDefinition {
        name: statement.name.value.as_str().into(),
        kind: if is_table { RelationKind::Table } else { RelationKind::Stream },
        key,
        topic,
        format: if path.is_some() { FormatSpec::default() } else { reader.format() },
        file: path.as_ref().map(PathBuf::from),
        path,
        file_format,
        watch,
        event_time,
        watermark_delay_ms: reader.duration_ms("watermark_delay").unwrap_or(0),
        idle_timeout_ms: reader.positive_duration_ms("idle_timeout").unwrap_or(IDLE_TIMEOUT_MS),
        retention_ms: reader.positive_duration_ms("retention"),
        unique_for_ms,
        max_future_ms: reader.duration_ms("max_future").unwrap_or(MAX_FUTURE_MS),
        broadcast,
        partitioned_by,
        valid_from,
        columns,
        span: statement.name.span,
    }
}

// === Columns and keys ===

fn resolve_columns(
    statement: &CreateSource,
    subject: &str,
    time_zone: Tz,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Column> {
    let mut columns = Vec::with_capacity(statement.columns.len());
    for (i, column) in statement.columns.iter().enumerate() {
        let name = &column.name;
        let described = format!("column `{}` of {subject}", short(&name.value));
        if let Some(first) = statement.columns.iter().take(i).find(|first| first.name.value == name.value) {
            findings.push(
                Diagnostic::new(codes::DUPLICATE_COLUMN, name.span, format!("{described} is declared twice"))
                    .note(first.name.span, "first declared here")
                    .hint("Remove or rename one of the two."),
            );
        }
        if PSEUDO_COLUMNS.iter().chain(HIDDEN).any(|reserved| *reserved == name.value) {
            findings.push(
                Diagnostic::new(
                    codes::RESERVED_COLUMN,
                    name.span,
                    format!("{described} has a name that the engine uses itself"),
                )
                .hint(format!("Every source has {} without declaring them; choose another name.", pseudo_columns())),
            );
        }
        check_constraints(column, &described, findings);
        let data_type = resolve_type(&column.data_type, time_zone).unwrap_or_else(|finding| {
            findings.push(*finding);
            DataType::Null
        });
        let has = |kind| column.constraints.iter().any(|constraint| constraint.kind == kind);
        columns.push(Column {
            name: name.value.clone(),
            data_type,
            not_null: has(ConstraintKind::NotNull),
            private: has(ConstraintKind::Private),
            span: name.span,
        });
    }
    columns
}

fn pseudo_columns() -> String {
    PSEUDO_COLUMNS.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn check_constraints(column: &ColumnDefinition, described: &str, findings: &mut Vec<Diagnostic>) {
    for (i, constraint) in column.constraints.iter().enumerate() {
        for first in column.constraints.iter().take(i) {
            let message = if first.kind == constraint.kind {
                format!("{described} has a constraint twice")
            } else if [first.kind, constraint.kind].contains(&ConstraintKind::Null)
                && [first.kind, constraint.kind]
                    .iter()
                    .any(|k| matches!(k, ConstraintKind::NotNull | ConstraintKind::PrimaryKey))
            {
                format!("{described} has constraints that contradict each other")
            } else {
                continue;
            };
            findings.push(
                Diagnostic::new(codes::CONSTRAINT_CONFLICT, constraint.span, message)
                    .note(first.span, "the other one")
                    .hint("Keep one of the two; a key column is never null."),
            );
        }
    }
}

/// The indices of the key columns, declared at a column or at the table.
fn resolve_key(
    statement: &CreateSource,
    subject: &str,
    columns: &[Column],
    findings: &mut Vec<Diagnostic>,
) -> Vec<usize> {
    // Every declaration with its place; there should be one.
    let mut declared: Vec<(Vec<usize>, Span)> = Vec::new();
    for (i, column) in statement.columns.iter().enumerate() {
        if let Some(constraint) = column.constraints.iter().find(|c| c.kind == ConstraintKind::PrimaryKey) {
            declared.push((vec![i], constraint.span));
        }
    }
    for key in &statement.keys {
        let mut indices = Vec::new();
        for name in &key.columns {
            match columns.iter().position(|column| column.name == name.value) {
                Some(i) if indices.contains(&i) => findings.push(
                    Diagnostic::new(
                        codes::DUPLICATE_KEY,
                        name.span,
                        format!("the key of {subject} holds column `{}` twice", name.value),
                    )
                    .hint("Name each key column once."),
                ),
                Some(i) => indices.push(i),
                None => {
                    let message =
                        format!("the key of {subject} names column `{}`, which is not declared", short(&name.value));
                    findings.push(unknown_column(message, &name.value, name.span, columns));
                }
            }
        }
        declared.push((indices, key.span));
    }
    declared.sort_by_key(|(_, span)| *span);
    let mut declared = declared.into_iter();
    let Some((key, first)) = declared.next() else {
        if statement.kind == Kind::Table {
            findings.push(
                Diagnostic::new(codes::MISSING_KEY, statement.name.span, format!("{subject} has no primary key, but a table holds the latest row per key"))
                    .hint("Mark the key column `PRIMARY KEY`, or add `PRIMARY KEY (a, b)`; events without a key are a `STREAM`."),
            );
        }
        return Vec::new();
    };
    for (_, span) in declared {
        findings.push(
            Diagnostic::new(codes::DUPLICATE_KEY, span, format!("{subject} declares its key twice"))
                .note(first, "first declared here")
                .hint("A key of several columns is written `PRIMARY KEY (a, b)`."),
        );
    }
    check_key_types(&key, subject, columns, findings);
    key
}

fn check_key_types(key: &[usize], subject: &str, columns: &[Column], findings: &mut Vec<Diagnostic>) {
    for column in key.iter().filter_map(|&i| columns.get(i)) {
        let is_what = match column.data_type {
            DataType::List(_) => "a list",
            DataType::Struct(_) => "a struct",
            _ => continue,
        };
        findings.push(
            Diagnostic::new(
                codes::COLUMN_ROLE,
                column.span,
                format!("key column `{}` of {subject} is {is_what}", column.name),
            )
            .hint("Key columns are texts, numbers, booleans, dates or timestamps."),
        );
    }
}

fn unknown_column(message: String, name: &str, span: Span, columns: &[Column]) -> Diagnostic {
    let hint = match did_you_mean(name, columns.iter().map(|column| column.name.as_str())) {
        Some(column) => format!("Did you mean `{column}`?"),
        None => "Name one of the columns between the parentheses, spelled as there.".into(),
    };
    Diagnostic::new(codes::UNKNOWN_COLUMN, span, message).hint(hint)
}

// === Options that only sources have ===

/// The file that is read instead of a topic, and how it looks: as its extension or `format` says.
fn path(reader: &mut OptionReader<'_>) -> Option<(String, FileFormat)> {
    let (path, _) = reader.text("path")?;
    let option = reader.given("path")?;
    let formats = [
        ("csv", FileFormat::Csv),
        ("parquet", FileFormat::Parquet),
        ("ndjson", FileFormat::Ndjson),
        ("json", FileFormat::Ndjson),
    ];
    let given = reader.choice("format", &formats);
    let by_extension = FileFormat::of_path(Path::new(path));
    match (by_extension, given, reader.given("format")) {
        (Some(by_extension), Some(given), Some(format)) if by_extension != given => reader.findings.push(
            Diagnostic::new(
                codes::OPTION_CONFLICT,
                format.name.span,
                format!("options `path` and `format` of {} contradict each other", reader.subject),
            )
            .note(option.name.span, "the extension of the file says its format")
            .hint("Leave out `format`."),
        ),
        (None, _, None) => reader.refuse(
            option,
            "does not end in a format that can be read",
            "Name a file `.csv`, `.ndjson`, `.json` or `.parquet`, or say its `format`.",
        ),
        _ => {}
    }
    for of_records in
        ["key_format", "delimiter", "null_literal", "schema_file", "message", "missing_columns", "epoch_unit"]
    {
        reader.check_conflict(
            true,
            "path",
            of_records,
            "It says how records of a topic look; leave it out for a file.",
        );
    }
    reader.check_conflict(true, "path", "topic", "A source reads a file or a topic; leave out one of the two.");
    Some((path.to_owned(), given.or(by_extension).unwrap_or(FileFormat::Ndjson)))
}

/// Whether the file is read again when it changes.
fn watch(reader: &mut OptionReader<'_>, is_file: bool) -> bool {
    let watch = reader.boolean("watch").unwrap_or(false);
    if let (Some(option), false) = (reader.given("watch"), is_file) {
        let message = format!("option `watch` of {} needs `path`", reader.subject);
        reader.findings.push(
            Diagnostic::new(codes::OPTION_CONFLICT, option.name.span, message)
                .hint("Leave it out: the changes of a topic are followed anyway."),
        );
    }
    watch
}

impl OptionReader<'_> {
    /// Reports the second of two options where both are given and exclude each other.
    fn check_conflict(&mut self, applies: bool, first: &str, second: &str, hint: &str) {
        if let (true, Some(first), Some(second)) = (applies, self.given(first), self.given(second)) {
            let message = format!(
                "options `{}` and `{}` of {} exclude each other",
                first.name.value, second.name.value, self.subject
            );
            self.findings.push(
                Diagnostic::new(codes::OPTION_CONFLICT, second.name.span, message)
                    .note(first.name.span, "the other one")
                    .hint(hint),
            );
        }
    }

    /// The index of the column that an option names, if it exists and is a timestamp.
    fn timestamp_column(&mut self, option: &str, columns: &[Column]) -> Option<usize> {
        let (name, span) = self.text(option)?;
        let Some(index) = columns.iter().position(|column| column.name == name) else {
            let message =
                format!("option `{option}` of {} names column `{}`, which is not declared", self.subject, short(name));
            self.findings.push(unknown_column(message, name, span, columns));
            return None;
        };
        match columns.get(index) {
            // A type that could not be read is reported where it is written.
            Some(column) if !matches!(column.data_type, DataType::Timestamp(..) | DataType::Null) => {
                let message =
                    format!("option `{option}` of {} names column `{name}`, which is not a timestamp", self.subject);
                self.findings.push(
                    Diagnostic::new(codes::COLUMN_ROLE, span, message)
                        .note(column.span, "declared here")
                        .hint("Declare the column as `TIMESTAMP WITH TIME ZONE`."),
                );
                None
            }
            _ => Some(index),
        }
    }

    /// The indices of the columns that an option names.
    fn column_list(&mut self, option: &str, columns: &[Column]) -> Option<Vec<usize>> {
        let names = self.columns(option)?;
        let span = self.given(option)?.value_span;
        let mut indices = Vec::with_capacity(names.len());
        for name in names {
            match columns.iter().position(|column| column.name == name.value) {
                Some(index) => indices.push(index),
                None => {
                    let message = format!(
                        "option `{option}` of {} names column `{}`, which is not declared",
                        self.subject,
                        short(&name.value)
                    );
                    self.findings.push(unknown_column(message, &name.value, span, columns));
                }
            }
        }
        Some(indices)
    }

    fn check_valid_from(&mut self, valid_from: Option<usize>, key: &[usize], columns: &[Column]) {
        let Some((index, option)) = valid_from.zip(self.given("valid_from")) else { return };
        if key.contains(&index) {
            return;
        }
        let name = columns.get(index).map(|column| column.name.as_str()).unwrap_or_default();
        let message =
            format!("option `valid_from` of {} names column `{name}`, which is not part of the key", self.subject);
        self.findings.push(
            Diagnostic::new(codes::COLUMN_ROLE, option.value_span, message)
                .hint(format!("Each version is a row of its own: add it, as `PRIMARY KEY (.., {name})`.")),
        );
    }

    /// Options that speak of event time mean nothing without one.
    fn check_event_time_given(&mut self) {
        if self.given("event_time").is_some() {
            return;
        }
        for name in ["watermark_delay", "idle_timeout", "retention", "unique_for", "max_future"] {
            if let Some(option) = self.given(name) {
                let message = format!("option `{name}` of {} needs `event_time`", self.subject);
                self.findings.push(
                    Diagnostic::new(codes::OPTION_CONFLICT, option.name.span, message)
                        .hint("Name the column that holds the time of the event: `event_time = '..'`."),
                );
            }
        }
    }

    fn check_unique_for(&mut self, key: &[usize]) {
        if let (true, Some(option)) = (key.is_empty(), self.given("unique_for")) {
            let message = format!("option `unique_for` of {} needs a primary key", self.subject);
            self.findings.push(
                Diagnostic::new(codes::MISSING_KEY, option.name.span, message)
                    .hint("Mark the column that tells events apart `PRIMARY KEY`."),
            );
        }
    }
}
