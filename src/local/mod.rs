//! The ports on files and in memory: what `replay`, crash tests and rule tests run on; and snapshots of state as files.
//!
//! Nothing here knows a format but lines: who opens a source hands in how other files and event times are read.

mod file_sink;
mod file_source;
mod file_tables;
mod line_reader;
mod memory;
mod memory_topics;
mod snapshot_dir;
mod summary;

pub use file_sink::FileSink;
pub use file_source::{EventTimes, FileInput, FileSource};
pub use file_tables::{FileTable, WithFileTables, read_file_table};
pub use line_reader::LineReader;
pub use memory::{Collected, MemorySink, MemoryStateLog};
pub use memory_topics::{MemorySource, MemoryTopics, TopicRecord};
pub use snapshot_dir::{SnapshotDir, SnapshotError, SnapshotWriter};
pub use summary::{SinkSummary, SourceSummary, Summary};
