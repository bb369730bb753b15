//! A directory of files as a source: `<relation>.ndjson`, `.csv` or `.parquet`, read in the order in which the records would have come.
//!
//! Tables without event time are read first, in order of declaration. Then the next record is taken from the file whose
//! next record has the smallest event time, ties by declaration; records without event time are taken at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::line_reader::LineReader;
use crate::stream::{
    FileRecord, OpenRecords, PartitionStatus, PollLimit, Polled, RecordBatchBytes, RecordMeta, RecordReader, Source,
    SourceError, SourcePartition,
};

/// How many records are read ahead of a file at most, to read their event times in one go.
const READ_AHEAD_RECORDS: usize = 4096;
/// How many bytes are read ahead of a file at most, the last record aside.
const READ_AHEAD_BYTES: usize = 1 << 20;
/// A poll ends before its batch of one relation grows beyond this: positions in a batch are 32 bits wide.
const BATCH_BYTES_MAX: usize = 2 << 30;

/// Reads the event times (milliseconds) of raw records, one entry a record; none where a record has no readable one.
pub type EventTimes = Box<dyn FnMut(&RecordBatchBytes) -> Vec<Option<i64>> + Send>;

/// One source relation, read from the file of its name.
pub struct FileInput {
    /// The relation.
    pub relation: Arc<str>,
    /// Whether it is a table. A table without event time is read before everything else.
    pub is_table: bool,
    /// How event times are read; none if the relation has none.
    pub event_times: Option<EventTimes>,
    /// The file that is read where the directory has none of that name.
    pub fallback: Option<PathBuf>,
    /// How a file is opened; its format is told by its extension.
    pub open: OpenRecords,
}

impl FileInput {
    /// A relation whose file holds one record a line.
    pub fn lines(relation: Arc<str>, is_table: bool, event_times: Option<EventTimes>) -> Self {
        let open: OpenRecords = Box::new(|path, bytes| Ok(Box::new(LineReader::open(path, bytes)?)));
        Self { relation, is_table, event_times, fallback: None, open }
    }
}

/// A directory of files as a source.
pub struct FileSource {
    files: Vec<InputFile>,
    until_ms: Option<i64>,
    missing: Vec<Arc<str>>,
    bytes_total: u64,
    bytes_read: Arc<AtomicU64>,
}

struct InputFile {
    relation: Arc<str>,
    first_load: bool,
    event_times: Option<EventTimes>,
    path: Option<PathBuf>,
    open: OpenRecords,
    reader: Option<Box<dyn RecordReader>>,
    ahead: RecordBatchBytes,
    ahead_times: Vec<Option<i64>>,
    next: usize,
    position: i64,
    /// Whether the end of the file has been read: asking again for every record would cost more than the record.
    ended: bool,
}

impl FileSource {
    /// Opens the files of `inputs` (in order of declaration) in a directory. Records after `until_ms` are passed over.
    ///
    /// A relation without a file is an empty input, see [`FileSource::missing`]; two files for one relation are an error.
    pub fn open(dir: &Path, inputs: Vec<FileInput>, until_ms: Option<i64>) -> Result<Self, SourceError> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut source = Self { files: Vec::new(), until_ms, missing: Vec::new(), bytes_total: 0, bytes_read };
        if !dir.is_dir() {
            return Err(SourceError::Io(format!("`{}` is not a directory", dir.display())));
        }
        for input in inputs {
            let path = find_file(dir, &input.relation)?.or(input.fallback.filter(|path| path.exists()));
            match &path {
                Some(path) => source.bytes_total += fs::metadata(path).map_err(|e| io_error(path, &e))?.len(),
                None => source.missing.push(input.relation.clone()),
            }
            let mut file = InputFile {
                first_load: input.is_table && input.event_times.is_none(),
                relation: input.relation,
                event_times: input.event_times,
                path,
                open: input.open,
                reader: None,
                ahead: RecordBatchBytes::default(),
                ahead_times: Vec::new(),
                next: 0,
                position: 1,
                ended: false,
            };
            file.open_at(1, &source.bytes_read)?;
            source.files.push(file);
        }
        Ok(source)
    }

    /// The relations that have no file.
    pub fn missing(&self) -> &[Arc<str>] {
        &self.missing
    }

    /// The size of all files in bytes.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// How many bytes of the files have been read so far, for a progress bar.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        self.bytes_read.clone()
    }

    /// The file to take the next record from.
    fn choose(&mut self) -> Result<Option<usize>, SourceError> {
        let mut best: Option<(i64, usize)> = None;
        for (idx, file) in self.files.iter_mut().enumerate() {
            if !file.fill(self.until_ms)? {
                continue;
            }
            if file.first_load {
                return Ok(Some(idx));
            }
            let time = file.next_time();
            if best.is_none_or(|(smallest, _)| time < smallest) {
                best = Some((time, idx));
            }
        }
        Ok(best.map(|(_, idx)| idx))
    }

    fn statuses(&mut self) -> Result<BTreeMap<SourcePartition, PartitionStatus>, SourceError> {
        let mut all = BTreeMap::new();
        for file in &mut self.files {
            let ended = !file.fill(self.until_ms)?;
            let partition = SourcePartition { relation: file.relation.clone(), partition: 0 };
            let status = PartitionStatus {
                position: file.position,
                end: ended.then_some(file.position),
                // Only tables without event time count as the first load; all else is handled as if live.
                caught_up: ended || !file.first_load,
                idle: false,
            };
            all.insert(partition, status);
        }
        Ok(all)
    }
}

impl Source for FileSource {
    /// Takes the next records. `paused` plays no part: the reading order already puts the first load before all else.
    fn poll(&mut self, limit: PollLimit, _wait: Duration, _paused: &[Arc<str>]) -> Result<Polled, SourceError> {
        let mut batches: Vec<RecordBatchBytes> = self.files.iter().map(|_| RecordBatchBytes::default()).collect();
        let (mut n_records, mut n_bytes) = (0, 0);
        let mut end_of_input = false;
        while n_records < limit.records && n_bytes < limit.bytes {
            let Some(idx) = self.choose()? else {
                end_of_input = true;
                break;
            };
            let (Some(file), Some(batch)) = (self.files.get_mut(idx), batches.get_mut(idx)) else { break };
            if batch.data.len() + file.next_bytes() > BATCH_BYTES_MAX && !batch.is_empty() {
                break;
            }
            n_bytes += file.take(n_records as u64, batch);
            n_records += 1;
        }
        let partitions = self.statuses()?;
        end_of_input = end_of_input || self.files.iter().all(InputFile::is_drained);
        let records = self
            .files
            .iter()
            .zip(batches)
            .filter(|(_, batch)| !batch.is_empty())
            .map(|(file, batch)| (file.relation.clone(), batch))
            .collect();
        Ok(Polled { records, partitions, end_of_input, ..Polled::default() })
    }

    fn rewind(&mut self, positions: &BTreeMap<SourcePartition, i64>) -> Result<(), SourceError> {
        self.bytes_read.store(0, Ordering::Relaxed);
        for file in &mut self.files {
            let partition = SourcePartition { relation: file.relation.clone(), partition: 0 };
            file.open_at(positions.get(&partition).copied().unwrap_or(1), &self.bytes_read)?;
        }
        Ok(())
    }
}

impl InputFile {
    /// Opens the file anew so that the record with the number `position` comes next.
    fn open_at(&mut self, position: i64, bytes_read: &Arc<AtomicU64>) -> Result<(), SourceError> {
        self.ahead = RecordBatchBytes::default();
        self.ahead_times.clear();
        self.next = 0;
        self.position = position;
        self.ended = false;
        let Some(path) = &self.path else { return Ok(()) };
        let open = || {
            let mut reader = (self.open)(path, bytes_read.clone())?;
            reader.skip_to(position)?;
            Ok(reader)
        };
        self.reader = Some(open().map_err(|e| io_error(path, &e))?);
        Ok(())
    }

    /// Makes the next record available; false at the end of the file. Records after `until_ms` are passed over.
    fn fill(&mut self, until_ms: Option<i64>) -> Result<bool, SourceError> {
        loop {
            while let Some(time) = self.ahead_times.get(self.next) {
                if until_ms.is_none_or(|until| time.is_none_or(|t| t <= until)) {
                    return Ok(true);
                }
                self.next += 1;
            }
            if !self.read_ahead()? {
                return Ok(false);
            }
        }
    }

    /// Reads the next records and their event times; false at the end of the file.
    fn read_ahead(&mut self) -> Result<bool, SourceError> {
        let (Some(path), Some(reader), false) = (&self.path, &mut self.reader, self.ended) else { return Ok(false) };
        self.ahead.clear();
        self.ahead_times.clear();
        self.next = 0;
        while self.ahead.len() < READ_AHEAD_RECORDS && self.ahead.data.len() < READ_AHEAD_BYTES {
            let Some(record) = reader.next().map_err(|e| io_error(path, &e))? else { break };
            self.ahead.push_file_record(file_meta(record.number, 0), &record);
        }
        if self.ahead.is_empty() {
            self.ended = true;
            self.position = reader.position();
            return Ok(false);
        }
        self.ahead_times = match &mut self.event_times {
            Some(read) => read(&self.ahead),
            None => Vec::new(),
        };
        self.ahead_times.resize(self.ahead.len(), None);
        Ok(true)
    }

    /// The event time of the next record; the smallest of all where it has none, so that it is taken at once.
    fn next_time(&self) -> i64 {
        self.ahead_times.get(self.next).copied().flatten().unwrap_or(i64::MIN)
    }

    fn next_bytes(&self) -> usize {
        self.ahead.records.get(self.next).and_then(|m| m.value.as_ref()).map_or(0, |v| (v.end - v.start) as usize)
    }

    fn is_drained(&self) -> bool {
        self.next >= self.ahead_times.len()
    }

    /// Moves the next record to `batch` and returns its size in bytes.
    fn take(&mut self, sequence: u64, batch: &mut RecordBatchBytes) -> usize {
        let record = self.ahead.get(self.next);
        self.position = record.meta.offset + 1;
        let fault = || self.ahead.fault(self.next).unwrap_or_default().to_owned();
        let original = self.ahead.original(self.next);
        let value = record.value.ok_or_else(fault);
        let n_bytes = record.value.map_or(0, <[u8]>::len);
        let meta = file_meta(record.meta.offset, sequence);
        batch.push_file_record(meta, &FileRecord { number: record.meta.offset, value, original });
        self.next += 1;
        n_bytes
    }
}

/// The place of a record in a file.
pub(super) fn file_meta(number: i64, sequence: u64) -> RecordMeta {
    RecordMeta { partition: 0, offset: number, timestamp_ms: None, sequence, key: None, value: None }
}

/// Finds the file of a relation, whatever its format.
fn find_file(dir: &Path, relation: &str) -> Result<Option<PathBuf>, SourceError> {
    let candidates = ["ndjson", "csv", "parquet"].map(|format| dir.join(format!("{relation}.{format}")));
    let found: Vec<&PathBuf> = candidates.iter().filter(|path| path.exists()).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        several => {
            let names: Vec<String> = several.iter().map(|p| format!("`{}`", p.display())).collect();
            Err(SourceError::Configuration(format!("relation `{relation}` has two files: {}", names.join(", "))))
        }
    }
}

/// What an error of reading asks for: one of the declaration is told from one of the disk.
pub(super) fn io_error(path: &Path, error: &std::io::Error) -> SourceError {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return SourceError::Configuration(format!("`{}`: {error}", path.display()));
    }
    SourceError::Io(format!("could not read `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests;
