//! What a pack declares: sources, named queries and sinks, with their options parsed into final types.
//!
//! The catalog holds names and meanings. How a query is run is the planner's business.

mod duration;
mod format_options;
mod options;
mod query;
mod resolve;
mod schema_files;
mod source;
mod types;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use chrono_tz::Tz;
use datafusion::sql::sqlparser::ast;

use crate::dialect::Span;
use crate::functions::PseudonymKeys;

pub use crate::format::{EpochUnit, Format, FormatSpec, KeyFormat};
pub use duration::{DurationError, parse_duration_ms};
pub use resolve::{resolve, resolve_all};
pub use source::PSEUDO_COLUMNS;

/// Everything a pack declares, in order of declaration.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The zone of all calendar functions; UTC unless `SET TIME ZONE` says otherwise.
    pub time_zone: Tz,
    /// Streams and tables that are read from topics or files.
    pub sources: Vec<SourceDefinition>,
    /// Views, derived streams and tables, sinks.
    pub queries: Vec<QueryDefinition>,
    /// The keys of `pseudonym`: those of tests, unless others are put here before the pack is planned.
    pub pseudonym_keys: Arc<PseudonymKeys>,
}

/// A relation of the catalog.
#[derive(Clone, Copy, Debug)]
pub enum Definition<'a> {
    /// A stream or table that is read.
    Source(&'a SourceDefinition),
    /// A view, derived stream or table, or sink.
    Query(&'a QueryDefinition),
}

impl Catalog {
    /// Says in which folder the pack lies, so that its files are found.
    pub fn set_folder(&mut self, folder: &Path) {
        for source in &mut self.sources {
            source.file = source.path.as_ref().map(|path| folder.join(path));
        }
    }

    /// The relation of this name, which is compared exactly: lower case unless it was quoted.
    pub fn find(&self, name: &str) -> Option<Definition<'_>> {
        let source = self.sources.iter().find(|s| &*s.name == name).map(Definition::Source);
        source.or_else(|| self.queries.iter().find(|q| &*q.name == name).map(Definition::Query))
    }
}

/// Whether a relation only grows, or has rows that appear and disappear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// Append-only events.
    Stream,
    /// A Z-set: the latest row per key, or a bag.
    Table,
}

/// A column of a source.
#[derive(Clone, Debug)]
pub struct Column {
    /// The name, lower case unless it was quoted.
    pub name: String,
    /// The Arrow type; `TIMESTAMP WITH TIME ZONE` is Timestamp(ms, zone of the pack).
    pub data_type: DataType,
    /// Whether a record without it is rejected. True for key columns.
    pub not_null: bool,
    /// Whether it may reach only sinks that declare `allow_private`.
    pub private: bool,
    /// Where it is declared.
    pub span: Span,
}

/// How the records of a file look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values; the first row names the columns.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl FileFormat {
    /// The format that a file's extension says.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "ndjson" | "json" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// A stream or table that is read from a topic or a file.
#[derive(Clone, Debug)]
pub struct SourceDefinition {
    /// The name in SQL.
    pub name: Arc<str>,
    /// Stream or table.
    pub kind: RelationKind,
    /// All declared columns.
    pub columns: Vec<Column>,
    /// Indices of the PRIMARY KEY columns, in key order. Never empty for a table.
    pub key: Vec<usize>,
    /// The topic, by default the name with hyphens; none if a file is read.
    pub topic: Option<String>,
    /// The file, relative to the pack; none if a topic is read.
    pub path: Option<String>,
    /// Where that file lies; the same as `path` until it is known where the pack does.
    pub file: Option<PathBuf>,
    /// How the file looks; none if a topic is read.
    pub file_format: Option<FileFormat>,
    /// Whether the file is read again when it changes.
    pub watch: bool,
    /// How records of the topic look.
    pub format: FormatSpec,
    /// The column that holds the event time.
    pub event_time: Option<usize>,
    /// How far the watermark stays behind the greatest event time, in milliseconds; by default 0.
    pub watermark_delay_ms: i64,
    /// After how long without records a partition that was read to its end counts as idle, in milliseconds; by default a minute.
    pub idle_timeout_ms: i64,
    /// For how long rows are kept, in milliseconds of event time; none = for ever.
    pub retention_ms: Option<i64>,
    /// For how long the PRIMARY KEY of a stream is unique, in milliseconds of event time.
    pub unique_for_ms: Option<i64>,
    /// How far an event time may lie after the record's Kafka timestamp, in milliseconds; by default 10 minutes.
    pub max_future_ms: i64,
    /// Whether all shards hold all rows.
    pub broadcast: bool,
    /// The columns by which producers divide the records among the partitions, if they say so.
    pub partitioned_by: Option<Vec<usize>>,
    /// The key column that holds the instant from which a row is valid (`FOR SYSTEM_TIME AS OF`).
    pub valid_from: Option<usize>,
    /// Where it is declared.
    pub span: Span,
}

impl SourceDefinition {
    /// The schema of all declared columns.
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<_> = self
            .columns
            .iter()
            .map(|c| arrow::datatypes::Field::new(&c.name, c.data_type.clone(), !c.not_null))
            .collect();
        Arc::new(arrow::datatypes::Schema::new(fields))
    }

    /// The schema of all declared columns, and behind them what each record says of itself.
    pub fn schema_with_records(&self, time_zone: Tz) -> SchemaRef {
        let declared = self.schema();
        let fields = declared.fields().iter().map(|f| f.as_ref().clone()).chain(source::pseudo_fields(time_zone));
        Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// When a grouped query emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// One row per group, when the watermark closes its bucket.
    Final,
    /// Every net change of a group.
    Changes,
}

/// What a named query is.
#[derive(Clone, Debug)]
pub enum QueryRole {
    /// `CREATE VIEW`: a named step.
    View,
    /// `CREATE STREAM .. AS`: the query must yield a stream.
    Stream,
    /// `CREATE TABLE .. AS`: the query must yield a table, with this key if one is declared.
    Table {
        /// The declared key columns; the value is lower case unless quoted.
        key: Option<Vec<ast::Ident>>,
    },
    /// `CREATE SINK`.
    Sink(Box<SinkOptions>),
}

/// The options of a sink.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The topic that is written.
    pub topic: String,
    /// How records look.
    pub format: FormatSpec,
    /// The columns of the Kafka key, if given; spelled as the query's columns are, case included.
    pub key: Option<Vec<ast::Ident>>,
    /// How its records are compressed, if not as the Kafka properties say.
    pub compression: Option<Compression>,
    /// Which headers are written.
    pub headers: Headers,
    /// Whether PRIVATE columns may be written.
    pub allow_private: bool,
    /// Whether rows go to the topic or to its shadow.
    pub mode: SinkMode,
    /// Above which rate the sink pauses, if given.
    pub max_rate: Option<Rate>,
    /// For how long a key's change must be stable before it leaves, in milliseconds of processing time; 0 = it leaves at once.
    pub settle_ms: i64,
    /// The timestamp column that `--emit-from TIMESTAMP` compares.
    pub emit_time: Option<ast::Ident>,
    /// The text column by whose values written rows are counted, as `curb_sink_rows_total` and in the console: at most 32
    /// values by name, all others as `other`. It must not hold values of a PRIVATE column, for everyone sees the counts.
    pub count_by: Option<ast::Ident>,
}

/// How the batches of a topic are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// DEFLATE in gzip's frame.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Every codec and its name, that of Kafka's property `compression.type`.
    pub const ALL: [(&'static str, Self); 5] = [
        ("none", Self::None),
        ("gzip", Self::Gzip),
        ("snappy", Self::Snappy),
        ("lz4", Self::Lz4),
        ("zstd", Self::Zstd),
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, codec)| *codec == self).map_or("", |(name, _)| name)
    }
}

/// Where a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkMode {
    /// To its topic.
    Live,
    /// To `<topic>.shadow`, for rules on trial.
    Shadow,
}

/// So many rows in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The rows.
    pub rows: u64,
    /// The time, in milliseconds.
    pub per_ms: i64,
}

/// Which headers a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// `curb_id` only.
    Minimal,
    /// None.
    None,
}

/// A view, derived stream or table, or sink.
#[derive(Clone, Debug)]
pub struct QueryDefinition {
    /// The name in SQL.
    pub name: Arc<str>,
    /// What it is.
    pub role: QueryRole,
    /// The query as parsed, with spans.
    pub query: ast::Query,
    /// `EMIT FINAL` or `EMIT CHANGES`, if written.
    pub emit: Option<Emit>,
    /// How often changes leave (`EMIT CHANGES EVERY`), in milliseconds of processing time; none = at once.
    pub emit_every_ms: Option<i64>,
    /// For how long state over streams waits for late rows, in milliseconds.
    pub allowed_lateness_ms: i64,
    /// For how long rows of a stream wait for the row that they look up in a table, in milliseconds of processing time.
    pub wait_ms: i64,
    /// The file that the spans in `query` belong to.
    pub file: u32,
    /// Where the name is declared.
    pub span: Span,
}
