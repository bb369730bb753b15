//! Records of formats that are no JSON, as JSON: so that their values can be compared, shown, and masked column by column.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono_tz::Tz;

use crate::catalog::{RelationKind, SourceDefinition};
use crate::format::json::{DecodeColumn, DecodeSpec, Encoder, Wire};
use crate::format::{DecoderSource, Format, KeyFormat, NotReady, RecordDecoder, SchemaRegistry};
use crate::stream::Polled;

/// How long a registry may take until it has told all schemas of a relation.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before a registry that is busy is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// What records say, by relation, partition and offset: the key as text, and the row as JSON.
#[derive(Clone, Debug, Default)]
pub struct Readable {
    relations: BTreeSet<Arc<str>>,
    records: HashMap<(Arc<str>, i32, i64), (Option<String>, Option<String>)>,
}

impl Readable {
    /// Reads the records of all sources whose format is not JSON. Fails where a schema cannot be asked for, with the reason.
    pub fn of(
        sources: &[SourceDefinition],
        epochs: &[Polled],
        zone: Tz,
        registry: Option<&Arc<SchemaRegistry>>,
    ) -> Result<Self, String> {
        let mut readable = Self::default();
        let is_other = |s: &&SourceDefinition| (s.format.format, s.format.key) != (Format::Json, KeyFormat::Text);
        for source in sources.iter().filter(|s| s.topic.is_some()).filter(is_other) {
            readable.add(source, epochs, zone, registry).map_err(|reason| format!("`{}`: {reason}", source.name))?;
        }
        Ok(readable)
    }

    fn add(
        &mut self,
        source: &SourceDefinition,
        epochs: &[Polled],
        zone: Tz,
        registry: Option<&Arc<SchemaRegistry>>,
    ) -> Result<(), String> {
        self.relations.insert(source.name.clone());
        let column = |c: &crate::catalog::Column| DecodeColumn {
            name: c.name.clone(),
            data_type: c.data_type.clone(),
            not_null: c.not_null,
            private: c.private,
        };
        let spec = DecodeSpec {
            columns: source.columns.iter().map(column).collect(),
            key: source.key.clone(),
            is_table: source.kind == RelationKind::Table,
            event_time: None,
            max_future_ms: None,
            wire: Wire::Kafka,
        };
        let declared = source.columns.iter().map(|c| c.name.clone()).collect();
        let (relation, format) = (source.name.clone(), &source.format);
        let of = DecoderSource { relation, format, declared, registry: registry.cloned() };
        let mut decoder = RecordDecoder::new(spec, &of)?;
        let encoder = Encoder::new(decoder.schema().clone(), zone).map_err(|e| e.to_string())?;
        for batch in epochs.iter().filter_map(|polled| polled.records.get(&source.name)) {
            let mut ids = BTreeSet::new();
            decoder.schema_ids(batch, &mut ids);
            if let Some(registry) = registry {
                ask(registry, &ids)?;
            }
            let decoded = decoder.decode(batch).map_err(|e| e.to_string())?;
            let lines = encoder.encode(&decoded.rows).map_err(|e| e.to_string())?;
            let columns: Vec<_> = source.key.iter().map(|c| decoded.rows.column(*c).clone()).collect();
            let keys = (!columns.is_empty()).then(|| encoder.key_text(&columns)).transpose();
            let keys = keys.map_err(|e| e.to_string())?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            for (row, (line, record)) in lines.iter().zip(&decoded.record).enumerate() {
                let meta = &batch.get(*record as usize).meta;
                let is_there = decoded.weights.get(row).is_none_or(|weight| *weight > 0);
                let said = (keys.as_ref().map(|keys| text(keys.value(row))), is_there.then(|| text(line)));
                self.records.insert((source.name.clone(), meta.partition, meta.offset), said);
            }
        }
        Ok(())
    }

    /// What a record says: its key and its row; `None` if its bytes say it themselves. One that nobody can read says nothing.
    pub(super) fn get(
        &self,
        relation: &Arc<str>,
        partition: i32,
        offset: i64,
    ) -> Option<(Option<String>, Option<String>)> {
        if !self.relations.contains(relation) {
            return None;
        }
        let found = self.records.get(&(relation.clone(), partition, offset));
        Some(found.cloned().unwrap_or_else(|| (None, Some("a record that cannot be read".to_owned()))))
    }
}

/// Waits until the registry has told all schemas.
fn ask(registry: &SchemaRegistry, ids: &BTreeSet<u32>) -> Result<(), String> {
    let started = Instant::now();
    loop {
        match registry.fetch(ids) {
            Ok(()) => return Ok(()),
            Err(NotReady::Busy) if started.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(reason) => return Err(reason.to_string()),
        }
    }
}
