//! `summary.json`: what a replay read and wrote.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// What happened to the records of one source; the last four add up to `read`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceSummary {
    /// Records delivered.
    pub read: u64,
    /// Records that took effect or that a filter dropped.
    pub used: u64,
    /// Records that repeat what is known.
    pub duplicate: u64,
    /// Records that came too late.
    pub late: u64,
    /// Records that could not be decoded.
    pub rejected: u64,
}

/// What a replay read and wrote, in order of declaration.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// By source relation.
    #[serde(serialize_with = "as_map")]
    pub sources: Vec<(Arc<str>, SourceSummary)>,
    /// By sink.
    #[serde(serialize_with = "as_map")]
    pub sinks: Vec<(Arc<str>, SinkSummary)>,
    /// How long it took.
    pub elapsed_seconds: f64,
}

/// What was written to one sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkSummary {
    /// Lines written.
    pub rows: u64,
}

impl Summary {
    /// Writes `summary.json` to a directory.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(dir.join("summary.json"), text)
    }
}

fn as_map<S: Serializer, T: Serialize>(entries: &[(Arc<str>, T)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(entries.len()))?;
    for (name, value) in entries {
        map.serialize_entry(name.as_ref(), value)?;
    }
    map.end()
}
