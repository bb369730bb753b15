//! The records of a file, one by one, whatever its format.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord<'a> {
    /// Its number, from 1: that of its (first) line, or of its row where the format has no lines.
    pub number: i64,
    /// The record as a JSON object, or why it has none.
    pub value: Result<&'a [u8], String>,
    /// Its bytes as they stand in the file, where those are not the value.
    pub original: Option<&'a [u8]>,
}

/// Reads the records of one file in their order.
pub trait RecordReader: Send {
    /// The next record; none at the end of the file. What is wrong with one record is no error.
    fn next(&mut self) -> io::Result<Option<FileRecord<'_>>>;

    /// The number that a record behind the last one would have at least.
    fn position(&self) -> i64;

    /// Passes over the records whose number is smaller.
    fn skip_to(&mut self, number: i64) -> io::Result<()>;
}

/// Opens a file; the count grows with the bytes that are read of it. An error of kind `InvalidData` says that the file
/// does not fit its declaration.
pub type OpenRecords = Box<dyn Fn(&Path, Arc<AtomicU64>) -> io::Result<Box<dyn RecordReader>> + Send>;
