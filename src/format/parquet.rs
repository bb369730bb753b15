//! Rows of a Parquet file as JSON records, so that there is one decoder for all formats.
//!
//! Only columns that are declared are read. The row's number stands for the line that Parquet does not have.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono_tz::Tz;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::json::{Encoded, Encoder};
use crate::stream::{FileRecord, RecordReader};

/// So many rows are decoded at a time.
const BATCH_ROWS: usize = 4096;

/// The rows of one Parquet file.
pub struct ParquetReader {
    batches: ParquetRecordBatchReader,
    encoder: Encoder,
    encoded: Encoded,
    /// The next row of `encoded`.
    next: usize,
    /// The number of the next row.
    number: i64,
    n_rows: u64,
    n_bytes: u64,
    bytes_read: Arc<AtomicU64>,
}

impl ParquetReader {
    /// Opens a file. `columns` are the declared ones, of which those at `key` must be there.
    pub fn open(
        path: &Path,
        columns: &[String],
        key: &[usize],
        time_zone: Tz,
        bytes_read: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let file = File::open(path)?;
        let n_bytes = file.metadata()?.len();
        // Without the writer's own schema, dictionaries and large texts are plain columns.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(|e| invalid(format!("not a Parquet file: {e}")))?;
        let n_rows = builder.metadata().file_metadata().num_rows().max(0).unsigned_abs();
        let names: Vec<String> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
        if let Some(name) = key.iter().filter_map(|idx| columns.get(*idx)).find(|name| !names.contains(name)) {
            return Err(invalid(format!("there is no key column `{name}`; it has {}", names.join(", "))));
        }
        for name in columns.iter().filter(|name| !names.contains(name)) {
            tracing::warn!(path = %path.display(), column = name, "column is not in the file and is null");
        }
        let wanted =
            names.iter().enumerate().filter(|(_, name)| columns.contains(name) || *name == super::json::TOMBSTONE);
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.map(|(idx, _)| idx));
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let batches = batches.map_err(|e| invalid(e.to_string()))?;
        let schema = arrow::array::RecordBatchReader::schema(&batches);
        let encoder = Encoder::new(schema, time_zone).map_err(|e| invalid(e.to_string()))?;
        Ok(Self { batches, encoder, encoded: Encoded::default(), next: 0, number: 1, n_rows, n_bytes, bytes_read })
    }

    /// Makes the next row available; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        while self.next >= self.encoded.ranges.len() {
            let Some(batch) = self.batches.next() else { return Ok(false) };
            let batch = batch.map_err(io::Error::other)?;
            let share = self.n_bytes.saturating_mul(batch.num_rows() as u64).checked_div(self.n_rows).unwrap_or(0);
            self.bytes_read.fetch_add(share, Ordering::Relaxed);
            self.encoded = self.encoder.encode(&batch).map_err(io::Error::other)?;
            self.next = 0;
        }
        Ok(true)
    }
}

impl RecordReader for ParquetReader {
    fn next(&mut self) -> io::Result<Option<FileRecord<'_>>> {
        if !self.fill()? {
            return Ok(None);
        }
        let range = self.encoded.ranges.get(self.next).cloned().unwrap_or_default();
        let number = self.number;
        self.next += 1;
        self.number += 1;
        let value = self.encoded.data.get(range).unwrap_or_default();
        Ok(Some(FileRecord { number, value: Ok(value), original: None }))
    }

    fn position(&self) -> i64 {
        self.number
    }

    fn skip_to(&mut self, number: i64) -> io::Result<()> {
        while self.number < number && self.fill()? {
            self.next += 1;
            self.number += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        ArrayRef, Decimal128Array, DictionaryArray, Int32Array, ListArray, RecordBatch, StringArray, StructArray,
        TimestampMicrosecondArray,
    };
    use arrow::datatypes::{DataType, Field, Int32Type};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn file() -> tempfile::NamedTempFile {
        let n: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let row = StructArray::from(vec![(Arc::new(Field::new("n", DataType::Int32, true)), n.clone())]);
        let list =
            ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None, Some(vec![])]);
        let at = TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), None, Some(0)]).with_timezone("UTC");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
            ("n", n.clone()),
            ("kind", Arc::new(vec!["x", "y", "x"].into_iter().collect::<DictionaryArray<Int32Type>>())),
            ("at", Arc::new(at)),
            (
                "m",
                Arc::new(
                    Decimal128Array::from(vec![Some(125), None, Some(-5)]).with_precision_and_scale(10, 2).unwrap(),
                ),
            ),
            ("l", Arc::new(list)),
            ("s", Arc::new(row)),
            ("unused", n),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    fn open(path: &Path, columns: &[&str]) -> io::Result<ParquetReader> {
        let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        ParquetReader::open(path, &columns, &[0], Tz::Asia__Shanghai, Arc::default())
    }

    #[test]
    fn rows_are_written_as_the_sinks_would_write_them() {
        let file = file();
        let mut reader = open(file.path(), &["id", "n", "kind", "at", "m", "l", "s", "absent"]).unwrap();
        let mut rows = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            rows.push((record.number, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
        assert_eq!(
            rows,
            [
                (1, r#"{"id":"a","n":1,"kind":"x","at":"2023-11-15T06:13:20.123+08:00","m":1.25,"l":[1,null],"s":{"n":1}}"#.to_owned()),
                (2, r#"{"id":"b","n":null,"kind":"y","at":null,"m":null,"l":null,"s":{"n":null}}"#.to_owned()),
                (3, r#"{"id":"c","n":3,"kind":"x","at":"1970-01-01T08:00:00.000+08:00","m":-0.05,"l":[],"s":{"n":3}}"#.to_owned()),
            ]
        );
    }

    #[test]
    fn rows_can_be_passed_over_and_a_key_must_be_there() {
        let file = file();
        let mut reader = open(file.path(), &["id"]).unwrap();
        reader.skip_to(3).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().value, Ok(br#"{"id":"c"}"#.as_slice()));
        assert!(reader.next().unwrap().is_none());
        let error = open(file.path(), &["key"]).err().unwrap().to_string();
        assert_eq!(error, "there is no key column `key`; it has id, n, kind, at, m, l, s, unused");
    }
}
