//! From which records a row follows: the rules are run again over fewer and fewer of them, for as long as the row stays.
//!
//! This asks nothing of the operators and holds for every query. A set of records is sufficient if the rules derive the same row
//! from it; it is minimal if that is lost whichever of them is taken away (Zeller and Hildebrandt, Simplifying and
//! Isolating Failure-Inducing Input, IEEE TSE 2002). Where the sets are several, one of them is found.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::{Ends, Worker, WorkerError, WorkerOptions};
use crate::format::json::Wire;
use crate::local::{Collected, MemorySink, MemoryStateLog};
use crate::plan::Pipeline;
use crate::stream::{
    OutputTopic, PollLimit, Polled, RecordBatchBytes, RecordMeta, ShardCount, Source, SourceError, TombstoneForm,
    Watermark,
};

/// A column of this name counts how often a row was written; fewer records write it less often.
const REVISION: &str = "revision";
/// A value that more records share says nothing about which of them belong together.
const SHARED_BY_MAX: usize = 2_000;
/// Relations with fewer records are taken as a whole while candidates are looked for: policies, calendars, devices.
const SMALL_RELATION: usize = 500;
/// So often records that share a value with a candidate become candidates.
const ROUNDS_MAX: usize = 8;

/// Records as a pipeline read them, epoch by epoch.
pub struct History {
    /// What each poll brought.
    pub epochs: Vec<Polled>,
    /// How the records look.
    pub wire: Wire,
    /// Where watermarks go behind the last record.
    pub end_watermark: Watermark,
}

/// One record of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The source relation.
    pub relation: Arc<str>,
    /// The partition; 0 in a file.
    pub partition: i32,
    /// The offset; in a file the number of the line.
    pub offset: i64,
    /// The key, as text.
    pub key: Option<String>,
    /// The value, as text; none for a tombstone.
    pub value: Option<String>,
}

/// The row that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedRow {
    /// The sink.
    pub sink: Arc<str>,
    /// The row as it left, a JSON object.
    pub row: String,
}

/// From which records a row follows.
#[derive(Clone, Debug)]
pub struct Derivation {
    /// The row.
    pub row: DerivedRow,
    /// The records, in the order in which they were read.
    pub records: Vec<SourceRecord>,
    /// Whether the row is lost whichever record is taken away; else the search ended before that was known.
    pub is_minimal: bool,
    /// How many records there were to choose from.
    pub n_records: usize,
    /// How often the rules were run.
    pub n_runs: usize,
}

/// Asks where rows come from.
pub struct Inquiry<'a> {
    pipeline: Arc<Pipeline>,
    history: &'a History,
    /// Where each record lies: epoch, relation, index.
    places: Vec<(usize, Arc<str>, usize)>,
    n_runs: usize,
}

impl<'a> Inquiry<'a> {
    /// An inquiry into a history.
    pub fn new(pipeline: Arc<Pipeline>, history: &'a History) -> Self {
        let places = history.epochs.iter().enumerate().flat_map(|(epoch, polled)| {
            let of_relation = move |(relation, batch): (&Arc<str>, &RecordBatchBytes)| {
                let relation = relation.clone();
                (0..batch.len()).map(move |idx| (epoch, relation.clone(), idx)).collect::<Vec<_>>()
            };
            polled.records.iter().flat_map(of_relation)
        });
        Self { pipeline, history, places: places.collect(), n_runs: 0 }
    }

    /// The last row with an id: whose key, or whose first column, is `id`; of `sink`, or of the first sink of the pack that has one.
    /// All records are used.
    pub fn find(&mut self, id: &str, sink: Option<&str>) -> Result<Option<DerivedRow>, WorkerError> {
        let all: Vec<usize> = (0..self.places.len()).collect();
        self.run(&all, id, sink)
    }

    /// From which records the row with an id follows; none if the rules do not derive it. The search ends after `patience`.
    pub fn explain(
        &mut self,
        id: &str,
        wanted: &DerivedRow,
        patience: Duration,
    ) -> Result<Option<Derivation>, WorkerError> {
        let deadline = Instant::now() + patience;
        let wanted_row = without_revision(&wanted.row);
        let mut derives = |inquiry: &mut Self, kept: &[usize]| -> Result<bool, WorkerError> {
            let found = inquiry.run(kept, id, Some(&wanted.sink))?;
            Ok(found.is_some_and(|found| without_revision(&found.row) == wanted_row))
        };
        let mut kept = self.candidates(&wanted.row, &mut derives)?;
        if kept.is_none() {
            let all: Vec<usize> = (0..self.places.len()).collect();
            kept = derives(self, &all)?.then_some(all);
        }
        let Some(mut kept) = kept else { return Ok(None) };
        let is_minimal = self.minimize(&mut kept, deadline, &mut derives)?;
        let records = kept.iter().filter_map(|idx| self.record(*idx)).collect();
        let (n_records, n_runs) = (self.places.len(), self.n_runs);
        Ok(Some(Derivation { row: wanted.clone(), records, is_minimal, n_records, n_runs }))
    }

    /// Records that share values with the row, and with such records, until the row follows from them.
    fn candidates(
        &mut self,
        row: &str,
        derives: &mut impl FnMut(&mut Self, &[usize]) -> Result<bool, WorkerError>,
    ) -> Result<Option<Vec<usize>>, WorkerError> {
        let mut sizes: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let mut by_value: HashMap<String, Vec<usize>> = HashMap::new();
        let mut values: Vec<Vec<String>> = Vec::with_capacity(self.places.len());
        for idx in 0..self.places.len() {
            let Some(record) = self.record(idx) else { continue };
            *sizes.entry(record.relation.clone()).or_default() += 1;
            let mut found = BTreeSet::new();
            record.key.iter().for_each(|key| texts(key, &mut found));
            record.value.iter().for_each(|value| texts(value, &mut found));
            found.iter().for_each(|value| by_value.entry(value.clone()).or_default().push(idx));
            values.push(found.into_iter().collect());
        }
        let is_small = |idx: &usize| {
            self.places.get(*idx).is_some_and(|(_, r, _)| sizes.get(r).is_none_or(|n| *n <= SMALL_RELATION))
        };
        let mut kept: BTreeSet<usize> = (0..self.places.len()).filter(is_small).collect();
        let mut frontier = BTreeSet::new();
        texts(row, &mut frontier);
        let mut followed: HashSet<String> = HashSet::new();
        for _ in 0..ROUNDS_MAX {
            let n_before = kept.len();
            let mut next = BTreeSet::new();
            for value in frontier {
                let Some(sharing) = by_value.get(&value).filter(|s| s.len() <= SHARED_BY_MAX) else { continue };
                for idx in sharing {
                    kept.insert(*idx);
                    next.extend(values.get(*idx).into_iter().flatten().filter(|v| !followed.contains(*v)).cloned());
                }
                followed.insert(value);
            }
            frontier = next;
            let candidates: Vec<usize> = kept.iter().copied().collect();
            if derives(self, &candidates)? {
                return Ok(Some(candidates));
            }
            if kept.len() == n_before && frontier.iter().all(|v| followed.contains(v)) {
                break;
            }
        }
        Ok(None)
    }

    /// Takes away what can be taken away, in parts that become smaller. Tells whether that came to its end.
    fn minimize(
        &mut self,
        kept: &mut Vec<usize>,
        deadline: Instant,
        derives: &mut impl FnMut(&mut Self, &[usize]) -> Result<bool, WorkerError>,
    ) -> Result<bool, WorkerError> {
        let mut part = kept.len().div_ceil(2).max(1);
        loop {
            let mut start = 0;
            let n_before = kept.len();
            while start < kept.len() {
                if Instant::now() > deadline {
                    return Ok(false);
                }
                let end = (start + part).min(kept.len());
                let fewer: Vec<usize> =
                    kept.iter().enumerate().filter(|(i, _)| !(start..end).contains(i)).map(|(_, k)| *k).collect();
                if derives(self, &fewer)? {
                    *kept = fewer;
                } else {
                    start = end;
                }
            }
            match (part, kept.len() < n_before) {
                (1, false) => return Ok(true),
                // What was needed beside a record that is gone may be needed no more.
                (1, true) => {}
                _ => part = part.div_ceil(2),
            }
        }
    }

    fn record(&self, idx: usize) -> Option<SourceRecord> {
        let (epoch, relation, at) = self.places.get(idx)?;
        let record = self.history.epochs.get(*epoch)?.records.get(relation)?.as_came(*at);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(SourceRecord {
            relation: relation.clone(),
            partition: record.meta.partition,
            offset: record.meta.offset,
            key: record.key.map(text),
            value: record.value.map(text),
        })
    }

    /// Runs the rules over some of the records, and gives the last row with the id.
    fn run(&mut self, kept: &[usize], id: &str, sink: Option<&str>) -> Result<Option<DerivedRow>, WorkerError> {
        self.n_runs += 1;
        let written = MemorySink::new(MemoryStateLog::default(), TombstoneForm::Line);
        let collected = written.clone();
        let source = Box::new(KeptRecords { epochs: self.kept(kept), next: 0 });
        let ends = Ends { source, sink: Box::new(written), log: None, clock: Box::new(|| 0) };
        let options = WorkerOptions {
            wire: self.history.wire,
            end_watermark: self.history.end_watermark,
            epochs_under_way: 1,
            ..WorkerOptions::replay(ShardCount(1))
        };
        Worker::new(self.pipeline.clone(), ends, options, Arc::default())?.run()?;
        Ok(self.last_row(&collected.collected(), id, sink))
    }

    fn last_row(
        &self,
        collected: &BTreeMap<OutputTopic, Vec<Collected>>,
        id: &str,
        sink: Option<&str>,
    ) -> Option<DerivedRow> {
        for plan in self.pipeline.sinks.iter().filter(|plan| sink.is_none_or(|sink| *sink == *plan.name)) {
            let rows = collected.get(&OutputTopic::Sink(plan.name.clone())).into_iter().flatten().rev();
            for Collected { key, value, .. } in rows {
                let Some(row) = value.as_deref().and_then(|v| std::str::from_utf8(v).ok()) else { continue };
                let key = key.as_deref().and_then(|k| std::str::from_utf8(k).ok());
                if is_about(&self.pipeline, &plan.name, key, Some(row), id) {
                    return Some(DerivedRow { sink: plan.name.clone(), row: row.to_owned() });
                }
            }
        }
        None
    }

    /// The history with some of its records.
    fn kept(&self, kept: &[usize]) -> Vec<Polled> {
        let mut epochs: Vec<Polled> = self
            .history
            .epochs
            .iter()
            .map(|e| Polled { partitions: e.partitions.clone(), reached: e.reached.clone(), ..Polled::default() })
            .collect();
        for idx in kept {
            let Some((epoch, relation, at)) = self.places.get(*idx) else { continue };
            let (Some(from), Some(to)) = (self.history.epochs.get(*epoch), epochs.get_mut(*epoch)) else { continue };
            let Some(batch) = from.records.get(relation) else { continue };
            let record = batch.get(*at);
            let to = to.records.entry(relation.clone()).or_default();
            if let Some(reason) = batch.fault(*at) {
                to.faults.push((to.len() as u32, reason.to_owned()));
            }
            to.is_whole = batch.is_whole;
            to.headers.extend(batch.headers.get(*at).cloned());
            let meta = RecordMeta { key: None, value: None, ..record.meta.clone() };
            to.push(meta, record.key, record.value);
        }
        epochs
    }
}

/// Hands over what was kept of a history, one epoch a poll.
struct KeptRecords {
    epochs: Vec<Polled>,
    next: usize,
}

impl Source for KeptRecords {
    fn poll(&mut self, _: PollLimit, _: Duration, _: &[Arc<str>]) -> Result<Polled, SourceError> {
        let n_epochs = self.epochs.len();
        let polled = self.epochs.get_mut(self.next).map(std::mem::take).unwrap_or_default();
        self.next += 1;
        // The worker ends with the last epoch: whether watermarks end there too, the history says.
        let end_of_input = self.next >= n_epochs;
        Ok(Polled { end_of_input, ..polled })
    }
}

/// Whether a row of a sink has an id: whether its key or its first column is `id`.
pub fn is_about(pipeline: &Pipeline, sink: &str, key: Option<&str>, row: Option<&str>, id: &str) -> bool {
    let plan = pipeline.sinks.iter().find(|s| &*s.name == sink);
    let first = plan.and_then(|s| pipeline.relations.get(s.relation)).and_then(|r| r.schema.fields().first().cloned());
    key == Some(id) || first.zip(row).is_some_and(|(first, row)| has_text(row, first.name(), id))
}

/// The texts and numbers in a JSON value, or the text itself if it is none.
fn texts(text: &str, found: &mut BTreeSet<String>) {
    match serde_json::from_str(text) {
        Ok(value) => scalars(&value, found),
        Err(_) => {
            found.insert(text.to_owned());
        }
    }
}

fn scalars(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if !text.is_empty() => {
            found.insert(text.clone());
        }
        Value::Number(number) => {
            found.insert(number.to_string());
        }
        Value::Array(values) => values.iter().for_each(|v| scalars(v, found)),
        Value::Object(members) => members.values().for_each(|v| scalars(v, found)),
        Value::String(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// Whether a member of a JSON object is, as text, `wanted`.
fn has_text(row: &str, member: &str, wanted: &str) -> bool {
    match serde_json::from_str::<Value>(row).ok().as_ref().and_then(|row| row.get(member)) {
        Some(Value::String(text)) => text == wanted,
        Some(other) => {
            let text = other.to_string();
            text == wanted
        }
        None => false,
    }
}

fn without_revision(row: &str) -> Option<Value> {
    let mut row: Value = serde_json::from_str(row).ok()?;
    row.as_object_mut()?.remove(REVISION);
    Some(row)
}
