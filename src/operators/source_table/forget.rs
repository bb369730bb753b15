//! Rows that a source table forgets: they leave without a successor, and what is known of them afterwards.
//!
//! A pass forgets all rows before an instant. Nothing can come again from before it, for such records are late. Of a
//! forgotten row its key, event time and a hash stay until twice the retention has passed: so a later record of the key is
//! still told apart as late or repeated. A pass is logged as one row of weight 0 that has nothing but the instant.

use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

use super::super::OperatorError;
use super::{NEVER, NONE, SourceTable};
use crate::stream::ChangeBatch;

/// 2 January of the year 1 in milliseconds: no calendar function knows buckets before it.
const FIRST_BUCKET_MS: i64 = -62_135_510_400_000;

impl SourceTable {
    /// Whether the row of a key was forgotten, by its event time.
    pub(super) fn is_forgotten(&self, key: u32) -> bool {
        let forgotten = |at: &i64| (FIRST_BUCKET_MS..self.forgotten_before_ms).contains(at);
        self.event_ms.get(key as usize).is_some_and(forgotten)
    }

    /// Whether a record repeats the row of a key that has one, forgotten or not.
    pub(super) fn repeats(&self, key: u32, row: u32, rest: &[u8]) -> bool {
        let stored = self.rows.get(row);
        if self.is_forgotten(key) { stored == hash(rest).as_slice() } else { stored == rest }
    }

    /// Takes note of the event time of a row that is stored.
    pub(super) fn note_event_time(&mut self, key: u32, event_ms: i64) {
        if let Some(at) = self.event_ms.get_mut(key as usize) {
            *at = event_ms;
        }
        if event_ms >= FIRST_BUCKET_MS {
            self.oldest_ms = self.oldest_ms.min(event_ms);
        }
    }

    /// The event time that no row goes before, but for forgotten ones; it may lie before that of the oldest row.
    pub(super) fn oldest(&self) -> Option<i64> {
        (self.oldest_ms != NEVER).then_some(self.oldest_ms)
    }

    /// Forgets all rows before an instant and returns them.
    pub(super) fn forget_before(&mut self, before_ms: i64) -> Result<ChangeBatch, OperatorError> {
        let Some(retention) = self.retention.filter(|_| before_ms > self.forgotten_before_ms) else {
            return Ok(ChangeBatch::empty(self.schema.clone()));
        };
        let gone = self.drop_rows(before_ms, true)?;
        let no_key = self.schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
        let pass = self.weightless(no_key, retention.event_time, vec![before_ms])?;
        self.pending.push(pass);
        Ok(gone)
    }

    /// Forgotten keys with their event times, as rows of a delta.
    pub(super) fn known_keys(&self, rows: &[(u32, u32)]) -> Result<RecordBatch, OperatorError> {
        let keys = self.key_codec.decode(rows.iter().map(|(key, _)| self.keys.key(*key)))?;
        let mut columns: Vec<ArrayRef> =
            self.schema.fields().iter().map(|f| new_null_array(f.data_type(), rows.len())).collect();
        for (column, array) in self.key_codec.columns().iter().zip(keys) {
            columns[*column] = array;
        }
        let instants = rows.iter().map(|(key, _)| self.event_ms[*key as usize]).collect();
        match self.retention {
            // A key that holds the event time has it already.
            Some(r) if !self.key_codec.columns().contains(&r.event_time) => {
                self.weightless(columns, r.event_time, instants)
            }
            _ => {
                columns.push(Arc::new(Int64Array::from(vec![0; rows.len()])));
                Ok(RecordBatch::try_new(self.delta_schema.clone(), columns)?)
            }
        }
    }

    /// Rows of a delta with weight 0 and these event times.
    fn weightless(
        &self,
        mut columns: Vec<ArrayRef>,
        event_time: usize,
        instants_ms: Vec<i64>,
    ) -> Result<RecordBatch, OperatorError> {
        let n_rows = instants_ms.len();
        let instants = TimestampMillisecondArray::from(instants_ms);
        columns[event_time] = match self.schema.field(event_time).data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, zone) => Arc::new(instants.with_timezone_opt(zone.clone())),
            other => cast(&instants, other)?,
        };
        columns.push(Arc::new(Int64Array::from(vec![0; n_rows])));
        Ok(RecordBatch::try_new(self.delta_schema.clone(), columns)?)
    }

    /// Applies a row of weight 0: a pass, or a forgotten key of which the row is not known any more.
    pub(super) fn restore_forgotten(
        &mut self,
        batch: &RecordBatch,
        (row, key): (usize, &[u8]),
        instant_ms: i64,
    ) -> Result<(), OperatorError> {
        let is_pass = match self.retention {
            None => return Ok(()),
            // The event time may be part of the key, or all of it: then keys before an instant need not be known one by one.
            Some(r) => self.key_codec.columns().iter().all(|c| *c == r.event_time || batch.column(*c).is_null(row)),
        };
        if is_pass {
            return self.drop_rows(instant_ms, false).map(drop);
        }
        let key = self.key_or_insert(key);
        if self.entries[key as usize].row == NONE {
            self.entries[key as usize].row = self.rows.insert(&[]);
            self.event_ms[key as usize] = instant_ms;
            self.n_forgotten += 1;
            self.forgotten_before_ms = self.forgotten_before_ms.max(instant_ms.saturating_add(1));
        }
        Ok(())
    }

    /// Forgets all rows before an instant, and the keys of those that twice the retention has passed. With `decode` the
    /// rows are returned as disappearances.
    pub(super) fn drop_rows(&mut self, before_ms: i64, decode: bool) -> Result<ChangeBatch, OperatorError> {
        let before_ms = before_ms.max(self.forgotten_before_ms);
        let keep_keys_ms = before_ms.saturating_sub(self.retention.map_or(0, |r| r.retention_ms));
        let (mut gone, mut unknown, mut oldest) = (Vec::new(), Vec::new(), NEVER);
        for (key, (entry, at)) in self.entries.iter().zip(&self.event_ms).enumerate() {
            if entry.row == NONE || *at < FIRST_BUCKET_MS {
                continue;
            }
            if *at >= before_ms {
                oldest = oldest.min(*at);
                continue;
            }
            if *at >= self.forgotten_before_ms {
                gone.push((key as u32, entry.row));
            }
            if *at < keep_keys_ms {
                unknown.push(key as u32);
            }
        }
        let rows = match decode && !gone.is_empty() {
            true => RecordBatch::try_new(self.schema.clone(), self.decode(&gone)?)?,
            false => RecordBatch::new_empty(self.schema.clone()),
        };
        for (key, row) in &gone {
            let hash = hash(self.rows.get(*row));
            self.rows.remove(*row);
            self.entries[*key as usize].row = self.rows.insert(&hash);
        }
        self.n_forgotten += gone.len();
        for key in unknown {
            self.rows.remove(std::mem::replace(&mut self.entries[key as usize].row, NONE));
            self.keys.remove(key);
            self.n_forgotten = self.n_forgotten.saturating_sub(1);
        }
        self.forgotten_before_ms = before_ms;
        self.oldest_ms = oldest;
        let weights = vec![-1; rows.num_rows()];
        Ok(ChangeBatch::table(rows, weights))
    }
}

/// Tells rows apart well enough to say of a late record whether it only repeats what was there.
fn hash(rest: &[u8]) -> [u8; 8] {
    RandomState::with_seeds(9, 10, 11, 12).hash_one(rest).to_be_bytes()
}
