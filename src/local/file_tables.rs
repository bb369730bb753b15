//! Tables that are files, beside a source of topics: read at start, and again when they change.
//!
//! A file is taken as a whole: what it holds is the table, rows that it lacks are deleted. Its position is a fingerprint of
//! its content, which the state keeps; so a restart takes in only what changed meanwhile, and nothing twice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::file_source::{file_meta, io_error};
use crate::stream::{
    Contact, OpenRecords, PartitionStatus, PollLimit, Polled, RecordBatchBytes, Source, SourceError, SourcePartition,
};

/// How often a watched file is looked at. A change must look the same twice before it is read, as it may still be written.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// What does not fit into one epoch belongs into a topic.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// Records of files are numbered apart from those of topics.
const FIRST_SEQUENCE: u64 = 1 << 62;

/// A table that is a file.
pub struct FileTable {
    /// The relation.
    pub relation: Arc<str>,
    /// The file; a symbolic link is followed at every look.
    pub path: PathBuf,
    /// How it is opened.
    pub open: OpenRecords,
    /// Whether it is looked at again while the pipeline runs.
    pub is_watched: bool,
}

/// What a file holds now: its position, which is the fingerprint of its content, and its records.
pub fn read_file_table(table: FileTable) -> io::Result<(i64, RecordBatchBytes)> {
    let position = fingerprint(&table.path)?;
    signature(&table.path)?;
    let watched =
        Watched { table, position, read: None, changed: None, looked_at: None, is_lost: false, is_told: false };
    Ok((position, watched.read_all(&mut { FIRST_SEQUENCE })?))
}

/// What tells without reading whether a file may have changed.
type Signature = (u64, u64, i64, i64, u64);

struct Watched {
    table: FileTable,
    /// The fingerprint of the content handed over; 0 before the first.
    position: i64,
    /// What the file looked like when it was last read.
    read: Option<Signature>,
    /// What it looked like at the last look, if that was something else.
    changed: Option<Signature>,
    looked_at: Option<Instant>,
    /// Whether it was said already that the file cannot be read.
    is_lost: bool,
    is_told: bool,
}

/// A source with tables of files beside it.
pub struct WithFileTables {
    inner: Box<dyn Source>,
    tables: Vec<Watched>,
    next_sequence: u64,
}

impl WithFileTables {
    /// Puts tables beside a source.
    pub fn new(inner: Box<dyn Source>, tables: Vec<FileTable>) -> Self {
        let watched = |table| Watched {
            table,
            position: 0,
            read: None,
            changed: None,
            looked_at: None,
            is_lost: false,
            is_told: false,
        };
        Self { inner, tables: tables.into_iter().map(watched).collect(), next_sequence: FIRST_SEQUENCE }
    }
}

impl Source for WithFileTables {
    fn poll(&mut self, limit: PollLimit, wait: Duration, paused: &[Arc<str>]) -> Result<Polled, SourceError> {
        // What has not been read yet is not kept waiting by topics without records.
        let wait = if self.tables.iter().all(|t| t.is_told) { wait } else { Duration::ZERO };
        let mut polled = self.inner.poll(limit, wait, paused)?;
        for table in &mut self.tables {
            let news = table.look(Instant::now(), &mut self.next_sequence)?;
            let has_news = news.is_some();
            polled.records.extend(news.map(|records| (table.table.relation.clone(), records)));
            if has_news || !table.is_told {
                table.is_told = true;
                polled.partitions.insert(table.partition(), table.status());
            }
        }
        Ok(polled)
    }

    fn rewind(&mut self, positions: &BTreeMap<SourcePartition, i64>) -> Result<(), SourceError> {
        for table in &mut self.tables {
            table.position = positions.get(&table.partition()).copied().unwrap_or(0);
            (table.read, table.changed, table.looked_at, table.is_told) = (None, None, None, false);
        }
        self.inner.rewind(positions)
    }

    fn contact(&self) -> Contact {
        self.inner.contact()
    }
}

impl Watched {
    fn partition(&self) -> SourcePartition {
        SourcePartition { relation: self.table.relation.clone(), partition: 0 }
    }

    fn status(&self) -> PartitionStatus {
        // A file has no records to come, as far as anybody knows: it never holds a watermark back.
        PartitionStatus { position: self.position, end: Some(self.position), caught_up: true, idle: true }
    }

    /// The content of the file, if it is due and another one than was handed over.
    fn look(&mut self, now: Instant, next_sequence: &mut u64) -> Result<Option<RecordBatchBytes>, SourceError> {
        let is_first = self.read.is_none();
        if !is_first && !self.table.is_watched {
            return Ok(None);
        }
        if self.looked_at.is_some_and(|at| now.duration_since(at) < WATCH_INTERVAL) {
            return Ok(None);
        }
        self.looked_at = Some(now);
        match self.read_if_changed(is_first, next_sequence) {
            Ok(records) => {
                self.is_lost = false;
                Ok(records)
            }
            // The rows that are held are better than none.
            Err(error) if !is_first => {
                if !std::mem::replace(&mut self.is_lost, true) {
                    let relation = &self.table.relation;
                    warn!(%relation, %error, "a watched file cannot be read; the table stays as it is");
                }
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SourceError::Configuration(format!(
                "table `{}` is the file `{}`, which does not exist",
                self.table.relation,
                self.table.path.display()
            ))),
            Err(error) => Err(io_error(&self.table.path, &error)),
        }
    }

    fn read_if_changed(&mut self, is_first: bool, next_sequence: &mut u64) -> io::Result<Option<RecordBatchBytes>> {
        let signature = signature(&self.table.path)?;
        if self.read == Some(signature) {
            self.changed = None;
            return Ok(None);
        }
        if !is_first && self.changed != Some(signature) {
            self.changed = Some(signature);
            return Ok(None);
        }
        let position = fingerprint(&self.table.path)?;
        self.changed = None;
        if position == self.position {
            self.read = Some(signature);
            return Ok(None);
        }
        let records = self.read_all(next_sequence)?;
        (self.read, self.position) = (Some(signature), position);
        let (relation, n_records) = (&self.table.relation, records.len());
        info!(%relation, path = %self.table.path.display(), n_records, "read a table from its file");
        Ok(Some(records))
    }

    fn read_all(&self, next_sequence: &mut u64) -> io::Result<RecordBatchBytes> {
        let mut reader = (self.table.open)(&self.table.path, Arc::default())?;
        let mut records = RecordBatchBytes { is_whole: true, ..RecordBatchBytes::default() };
        while let Some(record) = reader.next()? {
            records.push_file_record(file_meta(record.number, *next_sequence), &record);
            *next_sequence += 1;
            if records.data.len() as u64 > 2 * FILE_BYTES_MAX {
                return Err(too_large(&self.table.path));
            }
        }
        Ok(records)
    }
}

fn signature(path: &Path) -> io::Result<Signature> {
    let metadata = fs::metadata(path)?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(too_large(path));
    }
    Ok((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}

fn too_large(path: &Path) -> io::Error {
    let text = format!(
        "`{}` is larger than {} MiB, which a table of a file may have; put it into a topic",
        path.display(),
        FILE_BYTES_MAX >> 20
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The first 63 bits of the content's SHA-256, never 0.
fn fingerprint(path: &Path) -> io::Result<i64> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(buffer.get(..n).unwrap_or_default());
    }
    let digest = hasher.finalize();
    let first = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    Ok(((first >> 1) as i64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LineReader;

    /// A source without records.
    struct Silent;

    impl Source for Silent {
        fn poll(&mut self, _: PollLimit, _: Duration, _: &[Arc<str>]) -> Result<Polled, SourceError> {
            Ok(Polled::default())
        }
    }

    fn watched(path: &Path) -> WithFileTables {
        let table = FileTable {
            relation: "t".into(),
            path: path.to_owned(),
            open: Box::new(|path, bytes| Ok(Box::new(LineReader::open(path, bytes)?))),
            is_watched: true,
        };
        WithFileTables::new(Box::new(Silent), vec![table])
    }

    /// The lines that a look `seconds` later brings; none where it brings nothing.
    fn look(source: &mut WithFileTables) -> Option<Vec<String>> {
        source.tables.iter_mut().for_each(|t| t.looked_at = None);
        let polled = source.poll(PollLimit { records: 1, bytes: 1 }, Duration::ZERO, &[]).unwrap();
        let records = polled.records.get("t")?;
        assert!(records.is_whole);
        Some(records.iter().map(|r| String::from_utf8(r.value.unwrap().to_vec()).unwrap()).collect())
    }

    #[test]
    fn a_file_is_read_at_start_and_when_it_has_changed_and_rests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.ndjson");
        fs::write(&path, "a\nb\n").unwrap();
        let mut source = watched(&path);
        assert_eq!(look(&mut source), Some(vec!["a".into(), "b".into()]));
        assert_eq!(look(&mut source), None);
        fs::write(&path, "a\nc\nd\n").unwrap();
        assert_eq!(look(&mut source), None, "it may still be written");
        assert_eq!(look(&mut source), Some(vec!["a".into(), "c".into(), "d".into()]));
        // Touched but equal.
        fs::write(&path, "a\nc\nd\n").unwrap();
        assert_eq!((look(&mut source), look(&mut source)), (None, None));
    }

    #[test]
    fn a_link_that_is_turned_to_another_file_is_a_change_and_a_lost_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("one"), "a\n").unwrap();
        fs::write(at("two"), "b\n").unwrap();
        std::os::unix::fs::symlink(at("one"), at("t")).unwrap();
        let mut source = watched(&at("t"));
        assert_eq!(look(&mut source), Some(vec!["a".into()]));
        fs::remove_file(at("t")).unwrap();
        assert_eq!((look(&mut source), look(&mut source)), (None, None));
        std::os::unix::fs::symlink(at("two"), at("t")).unwrap();
        assert_eq!((look(&mut source), look(&mut source)), (None, Some(vec!["b".into()])));
    }

    #[test]
    fn content_that_is_committed_is_not_read_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        fs::write(&path, "a\n").unwrap();
        let mut source = watched(&path);
        assert!(look(&mut source).is_some());
        let committed = BTreeMap::from([(source.tables[0].partition(), source.tables[0].position)]);
        let mut restarted = watched(&path);
        restarted.rewind(&committed).unwrap();
        assert_eq!(look(&mut restarted), None);
        fs::write(&path, "b\n").unwrap();
        restarted.rewind(&committed).unwrap();
        assert_eq!(look(&mut restarted), Some(vec!["b".into()]), "what changed meanwhile is taken in");
        restarted.rewind(&BTreeMap::new()).unwrap();
        assert!(look(&mut restarted).is_some(), "an epoch that was not committed is read again");
    }

    #[test]
    fn a_file_that_is_missing_at_start_is_named() {
        let mut source = watched(Path::new("/nowhere/t.csv"));
        let error = source.poll(PollLimit { records: 1, bytes: 1 }, Duration::ZERO, &[]).unwrap_err().to_string();
        assert_eq!(error, "table `t` is the file `/nowhere/t.csv`, which does not exist");
    }
}
