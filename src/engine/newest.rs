//! The newest rows of every sink, for whoever looks at the worker. Their topics hold all of them.
//!
//! They are kept as columns, and become text when they are asked for. PRIVATE columns are taken away before they are kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::Value;

use super::dataflow::EpochRun;
use crate::format::json::Encoder;
use crate::plan::{Pipeline, SinkPlan};
use crate::stream::ChangeBatch;

/// How many rows of a sink are kept.
pub const ROWS_MAX: usize = 20;
/// How many bytes the rows of a sink may take in memory; larger ones are left out.
const SINK_BYTES_MAX: usize = 256 << 10;

/// A row that was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewestRow {
    /// Counts the rows of all sinks since the worker started, from 1.
    pub seq: u64,
    /// When its epoch was committed, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The sink.
    pub sink: Arc<str>,
    /// Whether it was deleted: a tombstone was written.
    pub deleted: bool,
    /// The Kafka key as text; none if the sink has no key or it holds a private value.
    pub key: Option<String>,
    /// What `curb why` finds it by: its first column, or the key; none where that is private.
    pub id: Option<String>,
    /// Name and value of each column, in order; null where it is private, only the key's columns of a deleted row.
    pub values: Vec<(Arc<str>, Value)>,
    /// The private columns.
    pub masked: Vec<Arc<str>>,
}

/// The newest rows, sink by sink. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct NewestRows(Arc<Mutex<Rings>>);

#[derive(Debug, Default)]
struct Rings {
    n_rows: u64,
    sinks: Vec<Ring>,
}

#[derive(Debug)]
struct Ring {
    view: PublicRows,
    kept: VecDeque<KeptRows>,
}

/// Some rows of one epoch, without private columns.
#[derive(Debug)]
struct KeptRows {
    first_seq: u64,
    at_ms: i64,
    rows: RecordBatch,
    deleted: Vec<bool>,
}

/// What of a sink's rows may be shown, and how it is written.
#[derive(Clone, Debug)]
pub(super) struct PublicRows {
    pub(super) sink: Arc<str>,
    pub(super) relation: usize,
    pub(super) upsert: bool,
    /// All columns, and the place of each among those that may be shown.
    columns: Vec<(Arc<str>, Option<usize>)>,
    /// The columns that may be shown, by their place in the sink.
    shown: Vec<usize>,
    /// The same with the names of the sink: a plan may name its output columns otherwise.
    schema: SchemaRef,
    /// The columns of the key among those that may be shown; none if one of them may not.
    key: Option<Vec<usize>>,
    zone: Tz,
}

impl PublicRows {
    pub(super) fn new(pipeline: &Pipeline, sink: &SinkPlan) -> Option<Self> {
        let relation = pipeline.relations.get(sink.relation)?;
        let private = pipeline.private.get(sink.name.as_ref());
        let mut shown = Vec::new();
        let columns = relation.schema.fields().iter().enumerate().map(|(idx, field)| {
            let is_private = private.is_some_and(|columns| columns.contains(field.name()));
            let place = (!is_private).then_some(shown.len());
            if !is_private {
                shown.push(idx);
            }
            (Arc::from(field.name().as_str()), place)
        });
        let columns: Vec<(Arc<str>, Option<usize>)> = columns.collect();
        let schema = Arc::new(relation.schema.project(&shown).ok()?);
        let key: Option<Vec<usize>> =
            sink.key.iter().map(|idx| columns.get(*idx).and_then(|(_, place)| *place)).collect();
        Some(Self {
            sink: sink.name.clone(),
            relation: sink.relation,
            upsert: sink.upsert,
            key: key.filter(|key| !key.is_empty()),
            columns,
            shown,
            schema,
            zone: pipeline.time_zone,
        })
    }

    /// The columns that may be shown, of all or of some rows.
    pub(super) fn project(&self, rows: &RecordBatch, some: Option<UInt32Array>) -> Option<RecordBatch> {
        let rows = rows.project(&self.shown).ok()?;
        match some {
            Some(idx) => take_record_batch(&rows, &idx).ok(),
            None => Some(rows),
        }
    }

    /// The names of the columns that may be shown.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.columns.iter().filter(|(_, place)| place.is_some()).map(|(name, _)| name)
    }

    /// The rows as JSON objects, of the columns that may be shown.
    pub(super) fn objects(&self, rows: &RecordBatch) -> Vec<serde_json::Map<String, Value>> {
        let Ok(encoder) = Encoder::new(self.schema.clone(), self.zone) else { return Vec::new() };
        let Ok(lines) = encoder.encode(rows) else { return Vec::new() };
        lines.iter().map(|line| serde_json::from_slice(line).unwrap_or_default()).collect()
    }

    /// The Kafka key of each row as text; none where there is none or it is private.
    pub(super) fn keys(&self, rows: &RecordBatch) -> Vec<Option<String>> {
        let none = || vec![None; rows.num_rows()];
        let Some(key) = &self.key else { return none() };
        let columns: Option<Vec<ArrayRef>> = key.iter().map(|idx| rows.columns().get(*idx).cloned()).collect();
        let Some(columns) = columns else { return none() };
        let Ok(encoder) = Encoder::new(self.schema.clone(), self.zone) else { return none() };
        let Ok(keys) = encoder.key_text(&columns) else { return none() };
        keys.iter().map(|key| key.map(|bytes| String::from_utf8_lossy(bytes).into_owned())).collect()
    }
}

impl NewestRows {
    pub(super) fn of(pipeline: &Pipeline) -> Self {
        let views = pipeline.sinks.iter().filter_map(|sink| PublicRows::new(pipeline, sink));
        let sinks = views.map(|view| Ring { view, kept: VecDeque::new() }).collect();
        Self(Arc::new(Mutex::new(Rings { n_rows: 0, sinks })))
    }

    /// Adds what a committed epoch wrote.
    pub(super) fn add(&self, run: &EpochRun, at_ms: i64) {
        let mut rings = self.rings();
        let Rings { n_rows, sinks } = &mut *rings;
        for ring in sinks {
            if let Some(changes) = run.changes.get(ring.view.relation).filter(|changes| !changes.is_empty()) {
                ring.add(changes, at_ms, n_rows);
            }
        }
    }

    /// The rows behind a number, newest first, and the number of the newest.
    pub(super) fn after(&self, seq: u64) -> (Vec<NewestRow>, u64) {
        let rings = self.rings();
        let mut found: Vec<NewestRow> = rings.sinks.iter().flat_map(|ring| ring.after(seq)).collect();
        found.sort_by_key(|row| std::cmp::Reverse(row.seq));
        (found, rings.n_rows)
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn add(&mut self, changes: &ChangeBatch, at_ms: i64, n_rows: &mut u64) {
        let n = changes.len();
        *n_rows += n as u64;
        // Fewer rows, the newest of them, if they are large.
        let mut n_kept = n.min(ROWS_MAX);
        let rows = loop {
            let last = UInt32Array::from_iter_values((n - n_kept) as u32..n as u32);
            let Some(rows) = self.view.project(&changes.rows, Some(last)) else { return };
            if rows.get_array_memory_size() <= SINK_BYTES_MAX {
                break rows;
            }
            n_kept /= 2;
            if n_kept == 0 {
                return;
            }
        };
        let weights = changes.weights.get(n - n_kept..).unwrap_or_default();
        let deleted = weights.iter().map(|weight| self.view.upsert && *weight < 0).collect();
        self.kept.push_back(KeptRows { first_seq: *n_rows - n_kept as u64 + 1, at_ms, rows, deleted });
        let is_too_much = |kept: &VecDeque<KeptRows>| {
            // What is kept without the oldest would do.
            let rest = || kept.iter().skip(1);
            rest().map(|k| k.rows.num_rows()).sum::<usize>() >= ROWS_MAX
                || kept.iter().map(|k| k.rows.get_array_memory_size()).sum::<usize>() > SINK_BYTES_MAX
        };
        while self.kept.len() > 1 && is_too_much(&self.kept) {
            self.kept.pop_front();
        }
    }

    /// The rows behind a number, the newest first, no more than are to be shown.
    fn after(&self, seq: u64) -> Vec<NewestRow> {
        let fresh = self.kept.iter().rev().take_while(|kept| kept.first_seq + kept.rows.num_rows() as u64 > seq + 1);
        let rows = fresh.flat_map(|kept| kept.told(&self.view).into_iter().rev());
        rows.take(ROWS_MAX).filter(|row| row.seq > seq).collect()
    }
}

impl KeptRows {
    fn told(&self, view: &PublicRows) -> Vec<NewestRow> {
        let keys = view.keys(&self.rows);
        let objects = view.objects(&self.rows);
        let rows = objects.into_iter().zip(keys).zip(&self.deleted).enumerate();
        rows.map(|(idx, ((mut object, key), deleted))| {
            let of_key = |place: &Option<usize>| view.key.iter().flatten().any(|k| Some(*k) == *place);
            let columns = view.columns.iter().filter(|(_, place)| !*deleted || of_key(place));
            let values: Vec<(Arc<str>, Value)> =
                columns.map(|(name, _)| (name.clone(), object.remove(name.as_ref()).unwrap_or(Value::Null))).collect();
            let first = view.columns.first().filter(|(_, place)| place.is_some() && !*deleted);
            let id = match first.and_then(|(name, _)| values.iter().find(|(n, _)| n == name)) {
                Some((_, Value::String(text))) => Some(text.clone()),
                Some((_, Value::Number(number))) => Some(number.to_string()),
                _ => None,
            };
            let masked = view.columns.iter().filter(|(_, place)| place.is_none()).map(|(name, _)| name.clone());
            NewestRow {
                seq: self.first_seq + idx as u64,
                at_ms: self.at_ms,
                sink: view.sink.clone(),
                deleted: *deleted,
                // A row over a table is found by its whole key.
                id: if view.upsert || id.is_none() { key.clone().or(id) } else { id },
                key,
                values,
                masked: masked.collect(),
            }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::catalog::resolve;
    use crate::dialect::{Pack, parse};
    use crate::plan::plan;

    fn pipeline() -> Pipeline {
        let rules = "
            CREATE TABLE people (person_id VARCHAR PRIMARY KEY, name VARCHAR PRIVATE, n BIGINT)
                WITH (topic = 'people', format = 'json');
            CREATE SINK known WITH (topic = 'known', format = 'json', allow_private = true)
                AS SELECT person_id, upper(name) AS called, n FROM people;";
        let (statements, errors) = parse(&Pack::from_text("rules.sql", rules));
        assert!(errors.is_empty(), "{errors:?}");
        plan(&resolve(statements, None).unwrap()).unwrap()
    }

    /// An epoch in which the sink writes these rows: person, name, weight.
    fn run(pipeline: &Pipeline, rows: &[(&str, &str, i64)]) -> EpochRun {
        let relation = pipeline.sinks[0].relation;
        let schema = pipeline.relations[relation].schema.clone();
        let text = |of: fn(&(&str, &str, i64)) -> String| -> ArrayRef {
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(of)));
            arrow::compute::cast(&texts, schema.field(0).data_type()).unwrap()
        };
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows.len() as i64));
        let columns = vec![text(|r| r.0.to_owned()), text(|r| r.1.to_owned()), n];
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let mut changes: Vec<ChangeBatch> =
            pipeline.relations.iter().map(|r| ChangeBatch::empty(r.schema.clone())).collect();
        changes[relation] = ChangeBatch::table(batch, rows.iter().map(|r| r.2).collect());
        EpochRun {
            changes,
            refused: vec![],
            duplicate: vec![],
            rows_in: vec![],
            rows_out: vec![],
            reached: vec![],
            gone: vec![],
        }
    }

    #[test]
    fn a_row_has_key_id_and_columns_in_order_and_nothing_of_a_private_one() {
        let pipeline = pipeline();
        let newest = NewestRows::of(&pipeline);
        newest.add(&run(&pipeline, &[("P1", "ANNA", 1), ("P2", "BERTA", -1)]), 7);
        let (rows, n) = newest.after(0);
        assert_eq!((n, rows.len()), (2, 2));
        let json = serde_json::to_value(&rows).unwrap();
        assert!(!json.to_string().contains("ANNA") && !json.to_string().contains("BERTA"), "{json}");
        let [gone, row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(
            (row.seq, row.at_ms, row.deleted, row.key.as_deref(), row.id.as_deref()),
            (1, 7, false, Some("P1"), Some("P1"))
        );
        assert_eq!(json[1]["values"], serde_json::json!([["person_id", "P1"], ["called", null], ["n", 0]]));
        assert_eq!(json[1]["masked"], serde_json::json!(["called"]));
        assert!(gone.deleted && gone.values.len() == 1 && gone.key.as_deref() == Some("P2"), "{gone:?}");
    }

    #[test]
    fn the_last_twenty_are_kept_and_only_newer_ones_are_told_again() {
        let pipeline = pipeline();
        let newest = NewestRows::of(&pipeline);
        let many: Vec<(String, i64)> = (0..50).map(|i| (format!("P{i}"), 1)).collect();
        let rows: Vec<(&str, &str, i64)> = many.iter().map(|(id, weight)| (id.as_str(), "x", *weight)).collect();
        newest.add(&run(&pipeline, &rows), 1);
        newest.add(&run(&pipeline, &rows[..3]), 2);
        let (told, n) = newest.after(0);
        assert_eq!((told.len(), n, told[0].seq, told[19].seq), (20, 53, 53, 34));
        let seqs: Vec<u64> = newest.after(51).0.iter().map(|row| row.seq).collect();
        assert_eq!(seqs, [53, 52]);
        assert!(newest.after(53).0.is_empty());
        let kept: usize = newest.rings().sinks[0].kept.iter().map(|k| k.rows.num_rows()).sum();
        assert!(kept < 2 * ROWS_MAX, "{kept}");
    }

    #[test]
    fn rows_that_are_too_large_are_left_out_and_do_not_stay() {
        let pipeline = pipeline();
        let newest = NewestRows::of(&pipeline);
        let large = "x".repeat(SINK_BYTES_MAX);
        newest.add(&run(&pipeline, &[(&large, "a", 1), ("P1", "b", 1)]), 1);
        let (told, n) = newest.after(0);
        assert_eq!((told.len(), n, told[0].key.as_deref()), (1, 2, Some("P1")));
        for i in 0..10 {
            newest.add(&run(&pipeline, &[(&large[..SINK_BYTES_MAX / 3], "a", 1)]), i);
        }
        let bytes: usize = newest.rings().sinks[0].kept.iter().map(|k| k.rows.get_array_memory_size()).sum();
        assert!(bytes <= SINK_BYTES_MAX, "{bytes}");
    }
}
