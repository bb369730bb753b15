//! Rows of a CSV file (RFC 4180, first row = column names) as JSON records, so that there is one decoder for all formats.
//!
//! What a cell means is told by its column's type: numbers and booleans are written as such, everything else as text; what
//! does not look like its type stays a text, which the decoder then refuses with its reason. An empty cell is null. Bytes
//! and line of each row are kept for those that are refused.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::DataType;
use csv::{ByteRecord, ReaderBuilder};

use crate::format::json::TOMBSTONE;
use crate::stream::{FileRecord, RecordReader};

const BUFFER_BYTES: usize = 1 << 18;
/// A row beyond this size is a quote that was never closed.
const ROW_BYTES_MAX: usize = 64 << 20;

/// How the cells of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CellKind {
    Text,
    Number,
    Boolean,
    /// Lists and structs stand as JSON within their cell.
    Json,
}

/// The rows of one CSV file.
pub struct CsvReader {
    reader: csv::Reader<Tee>,
    /// By place in a row: the column's name as JSON and its kind; none for one that is not declared.
    columns: Vec<Option<(Vec<u8>, CellKind)>>,
    row: ByteRecord,
    value: Vec<u8>,
    original: Vec<u8>,
    /// Up to where the file was read.
    end: u64,
    /// The line at that place, from 1.
    line: i64,
    /// The line of a row that was read while others were passed over.
    pending: Option<i64>,
}

/// Keeps the bytes that were read until they are asked for.
struct Tee {
    file: File,
    kept: Vec<u8>,
    /// The place in the file of the first byte kept.
    start: u64,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.bytes_read.fetch_add(n as u64, Ordering::Relaxed);
        self.kept.extend_from_slice(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

impl Tee {
    /// Takes the bytes up to a place in the file.
    fn take(&mut self, to: u64, into: &mut Vec<u8>) {
        into.clear();
        let n = (to.saturating_sub(self.start) as usize).min(self.kept.len());
        into.extend(self.kept.drain(..n));
        self.start = to;
    }
}

impl CsvReader {
    /// Opens a file. `columns` are the declared ones, of which the first `n_key`.. at `key` must be there.
    pub fn open(
        path: &Path,
        columns: &[(String, DataType)],
        key: &[usize],
        bytes_read: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let tee = Tee { file: File::open(path)?, kept: Vec::new(), start: 0, bytes_read };
        let mut reader =
            ReaderBuilder::new().flexible(true).has_headers(true).buffer_capacity(BUFFER_BYTES).from_reader(tee);
        let names = reader.byte_headers().map_err(io_error)?.clone();
        let names: Vec<String> = names.iter().map(|n| String::from_utf8_lossy(n).trim().to_owned()).collect();
        let invalid = |text: String| Err(io::Error::new(io::ErrorKind::InvalidData, text));
        if let Some((idx, name)) = names.iter().enumerate().find(|(idx, name)| names[..*idx].contains(name)) {
            return invalid(format!("two columns are called `{name}`, the second is number {}", idx + 1));
        }
        // An empty file is an empty table.
        if !names.is_empty() {
            let is_there = |idx: &&usize| columns.get(**idx).is_none_or(|(name, _)| names.contains(name));
            if let Some((name, _)) = key.iter().find(|idx| !is_there(idx)).and_then(|idx| columns.get(*idx)) {
                return invalid(format!("there is no key column `{name}`; its first row names {}", names.join(", ")));
            }
            for (name, _) in columns.iter().filter(|(name, _)| !names.contains(name)) {
                tracing::warn!(path = %path.display(), column = name, "column is not in the file and is null");
            }
        }
        let column = |name: &String| {
            let kind = match columns.iter().find(|(declared, _)| declared == name) {
                Some((_, data_type)) => kind_of(data_type),
                None if name == TOMBSTONE => CellKind::Boolean,
                None => return None,
            };
            Some((serde_json::to_vec(name).unwrap_or_default(), kind))
        };
        let columns = names.iter().map(column).collect();
        let (row, value, original) = (ByteRecord::new(), Vec::new(), Vec::new());
        let mut opened = Self { reader, columns, row, value, original, end: 0, line: 1, pending: None };
        opened.advance();
        Ok(opened)
    }

    /// Takes note of the bytes that were read since the last call. Returns the line on which they begin, empty ones aside.
    fn advance(&mut self) -> i64 {
        self.end = self.reader.position().byte();
        self.reader.get_mut().take(self.end, &mut self.original);
        let n_lines = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'\n').count() as i64;
        let n_empty = self.original.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let first = self.line + n_lines(self.original.get(..n_empty).unwrap_or_default());
        self.line += n_lines(&self.original);
        first
    }

    /// Reads a row and returns its line.
    fn read(&mut self) -> io::Result<Option<i64>> {
        if let Some(line) = self.pending.take() {
            return Ok(Some(line));
        }
        let is_there = self.reader.read_byte_record(&mut self.row).map_err(io_error)?;
        let line = self.advance();
        if self.original.len() > ROW_BYTES_MAX {
            let text = format!("line {line}: a row of more than {ROW_BYTES_MAX} bytes; is a quote not closed?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(is_there.then_some(line))
    }

    /// Writes the row as a JSON object.
    fn write(&mut self) -> Result<(), String> {
        if self.row.len() != self.columns.len() {
            return Err(format!(
                "the row has {} cells, but the first row names {}",
                self.row.len(),
                self.columns.len()
            ));
        }
        self.value.clear();
        self.value.push(b'{');
        for (cell, (name, kind)) in self.row.iter().zip(&self.columns).filter_map(|(cell, c)| Some((cell, c.as_ref()?)))
        {
            if cell.is_empty() {
                continue;
            }
            if self.value.len() > 1 {
                self.value.push(b',');
            }
            self.value.extend_from_slice(name);
            self.value.push(b':');
            let cell = std::str::from_utf8(cell)
                .map_err(|e| format!("not valid UTF-8 at byte {} of a cell", e.valid_up_to()))?;
            match literal(cell, *kind) {
                Some(literal) => self.value.extend_from_slice(literal.as_bytes()),
                None => serde_json::to_writer(&mut self.value, cell).map_err(|e| e.to_string())?,
            }
        }
        self.value.push(b'}');
        Ok(())
    }
}

/// What a cell is in JSON if it is no text.
pub(super) fn literal(cell: &str, kind: CellKind) -> Option<&str> {
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let trimmed = cell.trim();
    match kind {
        CellKind::Text => None,
        CellKind::Number => {
            let starts = trimmed.starts_with(|c: char| c == '-' || c.is_ascii_digit());
            (starts && is_json(trimmed)).then_some(trimmed)
        }
        CellKind::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Some("true"),
            "false" | "f" | "0" => Some("false"),
            _ => None,
        },
        CellKind::Json => (trimmed.starts_with(['[', '{']) && is_json(trimmed)).then_some(trimmed),
    }
}

pub(super) fn kind_of(data_type: &DataType) -> CellKind {
    match data_type {
        DataType::Boolean => CellKind::Boolean,
        DataType::List(_) | DataType::Struct(_) => CellKind::Json,
        t if t.is_numeric() => CellKind::Number,
        _ => CellKind::Text,
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    }
}

impl RecordReader for CsvReader {
    fn next(&mut self) -> io::Result<Option<FileRecord<'_>>> {
        let Some(number) = self.read()? else { return Ok(None) };
        let wrong = self.write().err();
        let value = wrong.map_or(Ok(self.value.as_slice()), Err);
        let mut original = self.original.as_slice();
        while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = original {
            original = rest;
        }
        Ok(Some(FileRecord { number, value, original: Some(original) }))
    }

    fn position(&self) -> i64 {
        self.line + 1
    }

    fn skip_to(&mut self, number: i64) -> io::Result<()> {
        while let Some(line) = self.read()? {
            if line >= number {
                self.pending = Some(line);
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Fields};

    use super::*;

    fn read(text: &str) -> Vec<(i64, Result<String, String>, String)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let mut reader = open(file.path()).unwrap();
        let mut all = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            all.push((record.number, record.value.map(shown), shown(record.original.unwrap())));
        }
        all
    }

    fn open(path: &Path) -> io::Result<CsvReader> {
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
        let row = DataType::Struct(Fields::from(vec![Field::new("a", DataType::Int64, true)]));
        let columns = [
            ("id", DataType::Utf8),
            ("n", DataType::Int64),
            ("x", DataType::Float64),
            ("b", DataType::Boolean),
            ("d", DataType::Date32),
            ("l", list),
            ("s", row),
        ];
        let columns: Vec<(String, DataType)> = columns.into_iter().map(|(n, t)| (n.to_owned(), t)).collect();
        CsvReader::open(path, &columns, &[0], Arc::default())
    }

    #[test]
    fn cells_are_written_as_their_columns_say() {
        let rows = read(
            "\u{feff}id,n,more,x,b,d,l,s\r\n\
             a, 7 ,?,1.5e3,T,2024-02-29,\"[\"\"x\"\",null]\",\"{\"\"a\"\":1}\"\r\n\
             \"b, \"\"q\"\"\n2\",x,,NaN,maybe,,,[1\n\
             007,,,,,,,\n",
        );
        let values: Vec<(i64, String)> = rows.iter().map(|(n, v, _)| (*n, v.clone().unwrap())).collect();
        assert_eq!(
            values,
            [
                (2, r#"{"id":"a","n":7,"x":1.5e3,"b":true,"d":"2024-02-29","l":["x",null],"s":{"a":1}}"#.to_owned()),
                (3, r#"{"id":"b, \"q\"\n2","n":"x","x":"NaN","b":"maybe","s":"[1"}"#.to_owned()),
                (5, r#"{"id":"007"}"#.to_owned()),
            ]
        );
        assert_eq!(rows[1].2, "\"b, \"\"q\"\"\n2\",x,,NaN,maybe,,,[1", "the row as it stands in the file");
    }

    #[test]
    fn a_row_of_another_length_is_refused_alone_with_its_line() {
        let rows = read("id,n\na,1\nb\n\nc,2,3\nd,4");
        let shown: Vec<(i64, bool)> = rows.iter().map(|(n, v, _)| (*n, v.is_ok())).collect();
        assert_eq!(shown, [(2, true), (3, false), (5, false), (6, true)]);
        assert_eq!(rows[1].1, Err("the row has 1 cells, but the first row names 2".into()));
        assert_eq!(rows[2].2, "c,2,3");
    }

    #[test]
    fn a_file_that_does_not_fit_its_declaration_is_refused_as_a_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"ID,n\na,1\n").unwrap();
        let error = open(file.path()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "there is no key column `id`; its first row names ID, n");
    }

    #[test]
    fn reading_goes_on_behind_the_rows_that_were_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"id,n\na,1\n\"b\nb\",2\nc,3\n").unwrap();
        let mut reader = open(file.path()).unwrap();
        reader.skip_to(4).unwrap();
        let record = reader.next().unwrap().unwrap();
        assert_eq!((record.number, record.original), (5, Some(b"c,3".as_slice())));
        assert!(reader.next().unwrap().is_none());
        assert!(reader.position() >= 6);
    }
}
