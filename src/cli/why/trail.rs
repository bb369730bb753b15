//! The row in the audit trail, and the topics as the pipeline had read them when it left.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::anyhow;
use chrono::DateTime;

use crate::catalog::SourceDefinition;
use crate::cli::Failure;
use crate::cli::service::source_failure;
use crate::engine::{AuditRecord, AuditedEpoch, AuditedRow, GENESIS, read_trail};
use crate::format::json::Wire;
use crate::kafka::{self, HistoryRecord, Settings, TopicEnds};
use crate::plan::Pipeline;
use crate::stream::{PartitionStatus, Polled, RecordBatchBytes, RecordMeta, SourcePartition, Watermark};
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

/// Looks a row up in the file of a trail.
pub(super) fn in_file(pipeline: &Pipeline, text: &[u8], id: &str) -> Result<Audited, Failure> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    find(pipeline, lines, id).map(|(audited, _)| audited)
}

/// Looks a row up in the trail's topic, and reads the sources' topics as far as the pipeline had read them then.
pub(super) fn in_topics(
    pipeline: &Pipeline,
    sources: &[SourceDefinition],
    settings: Settings,
    id: &str,
) -> Result<(History, Audited), Failure> {
    let trail = kafka::read_topic(&settings, &settings.audit_topic(), None).map_err(source_failure)?;
    let lines = trail.iter().filter_map(|record| record.value.as_deref());
    let (audited, before) = find(pipeline, lines, id)?;
    let mut epochs = Vec::new();
    let mut taken: BTreeMap<String, TopicEnds> = BTreeMap::new();
    let mut topics: BTreeMap<&str, Vec<HistoryRecord>> = BTreeMap::new();
    let all_ends = topic_ends(sources, &audited.epoch);
    for (topic, ends) in &all_ends {
        let records = kafka::read_topic(&settings, topic, Some(ends)).map_err(source_failure)?;
        topics.insert(topic, records);
    }
    // What came in with the epoch of the row is handed over after all else, as it was then: a row that was taken back in
    // that epoch was there before.
    for epoch in before.iter().chain([&audited.epoch]) {
        let ends = topic_ends(sources, epoch);
        epochs.push(polled(sources, epoch, &topics, &taken, &ends));
        taken = ends;
    }
    Ok((History { epochs, wire: Wire::Kafka, end_watermark: Watermark::MIN }, audited))
}

/// The last row with the id, what its epoch read, and what the epoch before it in the trail had read.
fn find<'a>(
    pipeline: &Pipeline,
    lines: impl Iterator<Item = &'a [u8]>,
    id: &str,
) -> Result<(Audited, Option<AuditedEpoch>), Failure> {
    let records = read_trail(lines, GENESIS).map_err(|e| Failure::Policy(e.into()))?;
    let n_checked = records.len();
    let (mut current, mut previous): (Option<AuditedEpoch>, Option<AuditedEpoch>) = (None, None);
    let mut found = None;
    for record in records {
        match record {
            AuditRecord::Epoch(epoch) => previous = current.replace(epoch),
            AuditRecord::Row(row) => {
                let (key, text) = (row.key.as_deref(), row.row.as_ref().map(|r| r.get()));
                let is_named = row.id.as_deref() == Some(id);
                if (is_named || is_about(pipeline, &row.sink, key, text, id))
                    && let Some(epoch) = &current
                {
                    found = Some((Audited { row, epoch: epoch.clone(), n_checked }, previous.clone()));
                }
            }
        }
    }
    found.ok_or_else(|| {
        Failure::Failed(anyhow!(
            "none of the {n_checked} records of the audit trail has `{id}` as its key, its first column, or its curb_id"
        ))
    })
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
