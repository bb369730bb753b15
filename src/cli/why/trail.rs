//! The row in the audit trail, and the topics as the pipeline had read them when it left.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;

use anyhow::anyhow;
use chrono::DateTime;

use crate::catalog::SourceDefinition;
use crate::cli::Failure;
use crate::cli::service::source_failure;
use crate::engine::{AuditRecord, AuditedEpoch, AuditedRow, BrokenTrail, GENESIS, TrailReader, file_tables};
use crate::format::json::Wire;
use crate::kafka::{self, HistoryRecord, Settings, TopicEnds};
use crate::local::read_file_table;
use crate::plan::Pipeline;
use crate::stream::{PartitionStatus, Polled, RecordBatchBytes, RecordMeta, SourceError, SourcePartition, Watermark};
use crate::testing::{DerivedRow, History, is_about};

/// A row of the audit trail.
pub(super) struct Audited {
    pub(super) row: AuditedRow,
    /// What it was derived from.
    pub(super) epoch: AuditedEpoch,
    /// How many records of the trail were checked.
    pub(super) n_checked: usize,
}

impl Audited {
    /// The row; none for a tombstone, and where only its hash was kept.
    pub(super) fn derived(&self) -> Option<DerivedRow> {
        let row = self.row.row.as_ref()?;
        Some(DerivedRow { sink: self.row.sink.as_str().into(), row: row.get().to_owned() })
    }
}

/// What a row is called.
#[derive(Clone, Copy)]
pub(super) struct RowName<'a> {
    /// Its key, or the value of its first column.
    pub(super) id: &'a str,
    /// Its sink; without it the first one of the pack that has such a row.
    pub(super) sink: Option<&'a str>,
}

/// Looks a row up in the file of a trail.
pub(super) fn in_file(pipeline: &Pipeline, text: &[u8], name: RowName<'_>) -> Result<Audited, Failure> {
    let mut search = Search::new(pipeline, name);
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        search.read(line).map_err(|e| Failure::Policy(e.into()))?;
    }
    search.found().map(|(audited, _)| audited)
}

/// What is read, and how much of it is held in memory.
pub(super) struct Asked<'a> {
    pub(super) name: RowName<'a>,
    /// How much the records of the sources may take together, in bytes.
    pub(super) bytes_max: usize,
}

/// Looks a row up in the trail's topic, and reads the sources' topics as far as the pipeline had read them then, and tables
/// that are files as they are now.
pub(super) fn in_topics(
    pipeline: &Pipeline,
    sources: &[SourceDefinition],
    settings: &Settings,
    asked: &Asked<'_>,
) -> Result<(History, Audited), Failure> {
    let (audited, before) = in_trail(pipeline, settings, asked.name)?;
    let all_ends = topic_ends(sources, &audited.epoch);
    let mut topics: BTreeMap<&str, Vec<HistoryRecord>> = BTreeMap::new();
    let (mut n_bytes, mut n_records) = (0_usize, 0_u64);
    for (topic, ends) in &all_ends {
        let records = topics.entry(topic).or_default();
        let read = kafka::read_topic(settings, topic, Some(ends), &mut |record| {
            (n_bytes, n_records) = (n_bytes + record.n_bytes(), n_records + 1);
            if n_bytes > asked.bytes_max {
                return Err(SourceError::Policy(too_much(topic, n_records, asked.bytes_max)));
            }
            records.push(record);
            Ok(())
        });
        read.map_err(source_failure)?;
    }
    let mut epochs = Vec::new();
    let mut taken: BTreeMap<String, TopicEnds> = BTreeMap::new();
    // What came in with the epoch of the row is handed over after all else, as it was then: a row that was taken back in
    // that epoch was there before.
    for epoch in before.iter().chain([&audited.epoch]) {
        let ends = topic_ends(sources, epoch);
        epochs.push(polled(sources, epoch, &topics, &taken, &ends));
        taken = ends;
    }
    if let Some(first) = epochs.first_mut() {
        add_files(pipeline, &audited.epoch, first)?;
    }
    Ok((History { epochs, wire: Wire::Kafka, end_watermark: Watermark::MIN }, audited))
}

fn too_much(topic: &str, n_records: u64, bytes_max: usize) -> String {
    format!(
        "the records that the row may follow from take more than {} MiB: {n_records} were read, the last ones of topic `{topic}`; \
         give more memory with --max-mib, or write what is of interest to files and look there with --from DIR",
        bytes_max >> 20
    )
}

/// Reads the trail to its end, and keeps nothing of it but the row.
fn in_trail(
    pipeline: &Pipeline,
    settings: &Settings,
    name: RowName<'_>,
) -> Result<(Audited, Option<AuditedEpoch>), Failure> {
    let mut search = Search::new(pipeline, name);
    let mut broken = None;
    let read = kafka::read_topic(settings, &settings.audit_topic(), None, &mut |record| {
        let line = record.value.as_deref().unwrap_or_default();
        search.read(line).map_err(|error| {
            broken = Some(error);
            SourceError::Io("the audit trail is broken".into())
        })
    });
    match (read, broken) {
        (_, Some(error)) => Err(Failure::Policy(error.into())),
        (Err(error), None) => Err(source_failure(error)),
        (Ok(()), None) => search.found(),
    }
}

/// Puts the tables that are files into what was read first.
fn add_files(pipeline: &Pipeline, epoch: &AuditedEpoch, first: &mut Polled) -> Result<(), Failure> {
    for table in file_tables(pipeline) {
        let (relation, path) = (table.relation.clone(), table.path.clone());
        let read = read_file_table(table);
        let (position, records) = read
            .map_err(|e| Failure::Configuration(anyhow!("table `{relation}` is the file `{}`: {e}", path.display())))?;
        let then = epoch.positions.get(&*relation).and_then(|partitions| partitions.get(&0));
        if then.is_some_and(|then| *then != position) {
            // Not being able to say so is no reason to say nothing else.
            let _ = writeln!(
                io::stderr(),
                "note: the file `{}` of table `{relation}` is another one than when the row left",
                path.display()
            );
        }
        let partition = SourcePartition { relation: relation.clone(), partition: 0 };
        let status = PartitionStatus { position, end: Some(position), caught_up: true, idle: true };
        first.partitions.insert(partition, status);
        first.records.insert(relation, records);
    }
    Ok(())
}

/// A search for the last row with an id: what its epoch read, and what the epoch before it in the trail had read.
struct Search<'a> {
    pipeline: &'a Pipeline,
    name: RowName<'a>,
    trail: TrailReader,
    current: Option<AuditedEpoch>,
    previous: Option<AuditedEpoch>,
    found: Option<(AuditedRow, AuditedEpoch, Option<AuditedEpoch>)>,
}

impl<'a> Search<'a> {
    fn new(pipeline: &'a Pipeline, name: RowName<'a>) -> Self {
        Self { pipeline, name, trail: TrailReader::behind(GENESIS), current: None, previous: None, found: None }
    }

    fn read(&mut self, line: &[u8]) -> Result<(), BrokenTrail> {
        match self.trail.read(line)? {
            AuditRecord::Epoch(epoch) => self.previous = self.current.replace(epoch),
            AuditRecord::Row(row) => {
                let (key, text) = (row.key.as_deref(), row.row.as_ref().map(|r| r.get()));
                let id = self.name.id;
                let is_named = row.id.as_deref() == Some(id) || is_about(self.pipeline, &row.sink, key, text, id);
                if is_named
                    && self.is_of_sink(&row)
                    && let Some(epoch) = &self.current
                {
                    self.found = Some((row, epoch.clone(), self.previous.clone()));
                }
            }
        }
        Ok(())
    }

    /// Whether a row may be the one that is meant: of the sink that was named, or of no later one than the row that was found.
    fn is_of_sink(&self, row: &AuditedRow) -> bool {
        let place = |row: &AuditedRow| self.pipeline.sinks.iter().position(|sink| *sink.name == *row.sink);
        match (self.name.sink, &self.found) {
            (Some(sink), _) => row.sink == sink,
            (None, Some((found, ..))) => place(row) <= place(found),
            (None, None) => true,
        }
    }

    fn found(self) -> Result<(Audited, Option<AuditedEpoch>), Failure> {
        let n_checked = self.trail.n_read();
        match self.found {
            Some((row, epoch, before)) => Ok((Audited { row, epoch, n_checked }, before)),
            None => Err(Failure::Failed(anyhow!(
                "none of the {n_checked} records of the audit trail has `{}` as its key, its first column, or its curb_id",
                self.name.id
            ))),
        }
    }
}

/// By topic and partition how far an epoch had read.
fn topic_ends(sources: &[SourceDefinition], epoch: &AuditedEpoch) -> BTreeMap<String, TopicEnds> {
    let mut all: BTreeMap<String, TopicEnds> = BTreeMap::new();
    for definition in sources {
        let (Some(topic), Some(ends)) = (&definition.topic, epoch.positions.get(&*definition.name)) else { continue };
        all.entry(topic.clone()).or_default().extend(ends);
    }
    all
}

/// The records between two sets of positions, as a poll would have brought them.
fn polled(
    sources: &[SourceDefinition],
    epoch: &AuditedEpoch,
    topics: &BTreeMap<&str, Vec<HistoryRecord>>,
    taken: &BTreeMap<String, TopicEnds>,
    ends: &BTreeMap<String, TopicEnds>,
) -> Polled {
    let mut polled = Polled::default();
    let mut sequence = 0;
    for definition in sources {
        let partition = |partition| SourcePartition { relation: definition.name.clone(), partition };
        let status = |position| PartitionStatus { position, end: Some(position), caught_up: true, idle: false };
        polled.partitions.insert(partition(0), status(0));
        let Some(topic) = &definition.topic else { continue };
        let end =
            |of: &BTreeMap<String, TopicEnds>, p: i32| of.get(topic).and_then(|e| e.get(&p)).copied().unwrap_or(0);
        for (p, position) in ends.get(topic).into_iter().flatten() {
            polled.partitions.insert(partition(*p), status(*position));
            if let Some(event_ms) = watermark_ms(epoch, &definition.name) {
                polled.reached.insert(partition(*p), event_ms.saturating_add(definition.watermark_delay_ms));
            }
        }
        let mut batch = RecordBatchBytes::default();
        for record in topics.get(topic.as_str()).into_iter().flatten() {
            if record.offset < end(taken, record.partition) || record.offset >= end(ends, record.partition) {
                continue;
            }
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            let (partition, offset, timestamp_ms) = (record.partition, record.offset, record.timestamp_ms);
            batch.push(RecordMeta { partition, offset, timestamp_ms, sequence, key: None, value: None }, key, value);
            batch.headers.push(record.headers.clone());
            sequence += 1;
        }
        if !batch.is_empty() {
            polled.records.insert(Arc::clone(&definition.name), batch);
        }
    }
    polled
}

fn watermark_ms(epoch: &AuditedEpoch, relation: &str) -> Option<i64> {
    let text = epoch.watermarks.get(relation)?.as_deref()?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis())
}
