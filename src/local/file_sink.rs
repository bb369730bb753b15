//! A directory of files as a sink: one `<sink>.ndjson` each, and what was late or rejected beside them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::MemoryStateLog;
use crate::stream::{
    CommitError, Outcome, OutputTopic, RecordBatchBytes, RecordView, SealedEpoch, Sink, TombstoneForm,
};

/// A directory of files as a sink.
///
/// Files are written at once, so an epoch is not atomic here: whoever needs that runs on Kafka. Every commit ends with
/// all bytes handed to the operating system.
pub struct FileSink {
    dir: PathBuf,
    files: BTreeMap<OutputTopic, BufWriter<File>>,
    log: Option<MemoryStateLog>,
}

impl FileSink {
    /// Creates the directory and an empty file for every sink; removes what an earlier run left of `sources`.
    ///
    /// Deltas go to `log`, or nowhere.
    pub fn create(
        dir: &Path,
        sinks: &[Arc<str>],
        sources: &[Arc<str>],
        log: Option<MemoryStateLog>,
    ) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut sink = Self { dir: dir.to_path_buf(), files: BTreeMap::new(), log };
        for source in sources {
            for topic in [OutputTopic::Late(source.clone()), OutputTopic::Rejected(source.clone())] {
                match fs::remove_file(sink.path(&topic)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
        }
        for name in sinks {
            sink.file(&OutputTopic::Sink(name.clone()))?;
        }
        Ok(sink)
    }

    fn path(&self, topic: &OutputTopic) -> PathBuf {
        self.dir.join(match topic {
            OutputTopic::Sink(name) => format!("{name}.ndjson"),
            OutputTopic::Late(name) => format!("{name}.late.ndjson"),
            OutputTopic::Rejected(name) => format!("{name}.rejected.ndjson"),
            // No relation has a hyphen in its name unless it is quoted.
            OutputTopic::Audit => "curb-audit.ndjson".into(),
        })
    }

    fn file(&mut self, topic: &OutputTopic) -> io::Result<&mut BufWriter<File>> {
        let path = self.path(topic);
        match self.files.entry(topic.clone()) {
            std::collections::btree_map::Entry::Occupied(file) => Ok(file.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                Ok(place.insert(BufWriter::with_capacity(1 << 18, File::create(path)?)))
            }
        }
    }

    fn write(
        &mut self,
        topic: &OutputTopic,
        records: &RecordBatchBytes,
        headers: &[Vec<(String, Vec<u8>)>],
    ) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let file = self.file(topic)?;
        for (idx, record) in records.iter().enumerate() {
            match topic {
                OutputTopic::Sink(_) | OutputTopic::Audit => file.write_all(record.value.unwrap_or(b"null"))?,
                OutputTopic::Late(_) | OutputTopic::Rejected(_) => {
                    let headers = headers.get(idx).map_or(&[][..], Vec::as_slice);
                    serde_json::to_writer(&mut *file, &refusal(record, headers))?;
                }
            }
            file.write_all(b"\n")?;
        }
        file.flush()
    }
}

impl Sink for FileSink {
    fn tombstones(&self) -> TombstoneForm {
        TombstoneForm::Line
    }

    fn commit(&mut self, epoch: &SealedEpoch) -> Result<(), CommitError> {
        for (idx, (topic, records)) in epoch.outputs.iter().enumerate() {
            let headers = epoch.headers.get(idx).map_or(&[][..], Vec::as_slice);
            self.write(topic, records, headers)
                .map_err(|e| CommitError::Fatal(format!("could not write `{}`: {e}", self.path(topic).display())))?;
        }
        if let Some(log) = &self.log {
            log.append(epoch.number, epoch.deltas.clone(), epoch.positions.clone());
        }
        Ok(())
    }

    /// A file is never in doubt: a commit that fails says so.
    fn outcome(&mut self, _epoch: &SealedEpoch) -> Result<Outcome, CommitError> {
        Ok(Outcome::NotCommitted)
    }
}

/// The line of a late or rejected record: its headers by name, and its raw bytes as a string if they were kept.
fn refusal(record: RecordView<'_>, headers: &[(String, Vec<u8>)]) -> Value {
    let header = |name: &str| {
        headers.iter().find(|(n, _)| n == name).map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let number = |name: &str| header(name).and_then(|n| n.parse::<i64>().ok()).map_or(Value::Null, Value::from);
    let mut line = Map::new();
    line.insert("reason".into(), header("curb_reason").map_or(Value::Null, Value::from));
    line.insert("line".into(), number("curb_offset"));
    line.insert("length".into(), number("curb_length"));
    line.insert("sha256".into(), header("curb_sha256").map_or(Value::Null, Value::from));
    if let Some(raw) = record.value {
        line.insert("raw".into(), String::from_utf8_lossy(raw).into_owned().into());
    }
    Value::Object(line)
}
