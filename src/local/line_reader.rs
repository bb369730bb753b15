//! Reads a file line by line, each one a record: numbers kept, blank lines skipped, one buffer of bounded size.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stream::{FileRecord, RecordReader};

/// A line beyond this size is cut, so that it is rejected by the decoder instead of filling the memory.
const LINE_BYTES_MAX: u64 = 1 << 30;

const BUFFER_BYTES: usize = 1 << 18;

/// The lines of one file.
pub struct LineReader {
    reader: BufReader<File>,
    line: Vec<u8>,
    n_lines: i64,
    bytes_read: Arc<AtomicU64>,
}

impl LineReader {
    /// Opens a file; `bytes_read` grows with what is read of it.
    pub fn open(path: &Path, bytes_read: Arc<AtomicU64>) -> io::Result<Self> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
        Ok(Self { reader, line: Vec::new(), n_lines: 0, bytes_read })
    }

    fn skip_rest_of_line(&mut self) -> io::Result<u64> {
        let mut n_bytes = 0;
        loop {
            let (used, found) = {
                let available = self.reader.fill_buf()?;
                match available.iter().position(|b| *b == b'\n') {
                    Some(at) => (at + 1, true),
                    None => (available.len(), false),
                }
            };
            self.reader.consume(used);
            self.bytes_read.fetch_add(used as u64, Ordering::Relaxed);
            n_bytes += used as u64;
            if found || used == 0 {
                return Ok(n_bytes);
            }
        }
    }
}

impl RecordReader for LineReader {
    /// The next line that is not blank, without its end.
    fn next(&mut self) -> io::Result<Option<FileRecord<'_>>> {
        loop {
            self.line.clear();
            let n_bytes = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)?;
            if n_bytes == 0 {
                return Ok(None);
            }
            self.bytes_read.fetch_add(n_bytes as u64, Ordering::Relaxed);
            self.n_lines += 1;
            if n_bytes as u64 == LINE_BYTES_MAX && !self.line.ends_with(b"\n") {
                self.skip_rest_of_line()?;
            }
            if self.line.iter().any(|b| !b.is_ascii_whitespace()) {
                break;
            }
        }
        let mut line = self.line.as_slice();
        if self.n_lines == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(FileRecord { number: self.n_lines, value: Ok(line), original: None }))
    }

    fn skip_to(&mut self, line: i64) -> io::Result<()> {
        while self.n_lines + 1 < line {
            if self.skip_rest_of_line()? == 0 {
                return Ok(());
            }
            self.n_lines += 1;
        }
        Ok(())
    }

    fn position(&self) -> i64 {
        self.n_lines + 1
    }
}
