//! Keeps the latest row per key of a source table.

mod forget;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, concat_batches, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::event_time::milliseconds;
use super::row_codec::{EncodedRows, RowCodec};
use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::state::{KeyIndex, RowArena};
use crate::stream::{ChangeBatch, Order, Watermark};

const NONE: u32 = u32::MAX;
/// The event time of a row without one: no watermark passes it before the end of input.
const NEVER: i64 = i64::MAX;
/// How many rows one part of [`Operator::contents`] holds at most.
const PART_ROWS: usize = 1 << 16;

/// How a source table keeps its rows.
///
/// The single input is in reading order ([`Order::Sequence`]): weight +1 is an upsert, -1 a tombstone, of which only the
/// key columns count. Output: -1 for the row that was replaced or deleted, +1 for the new one, net over the epoch.
/// A record equal to the current row, or deleting none, is reported in [`Output::duplicate`]. With a retention, any other
/// record is reported in [`Output::late`] and changes nothing if its event time, or that of the row that it replaces or
/// deletes, is at or before the watermark of the epochs before, less the retention.
#[derive(Clone, Debug)]
pub struct SourceTableSpec {
    /// The key columns.
    pub key: Vec<usize>,
    /// The columns in use.
    pub schema: SchemaRef,
    /// For how long rows may be changed; none = for ever.
    pub retention: Option<RowRetention>,
}

/// For how long the rows of a source table may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRetention {
    /// The event time column.
    pub event_time: usize,
    /// Milliseconds of event time.
    pub retention_ms: i64,
}

/// Keeps the latest row per key of a source table.
///
/// A key is stored once, in its index; the arena holds the other columns. A delta has the table's columns and a weight:
/// +1 the row that the key has now, -1 a key without a row (its other columns are null), 0 the event time of a key whose row
/// was forgotten or, without a key, the instant before which all rows were.
pub struct SourceTable {
    schema: SchemaRef,
    delta_schema: SchemaRef,
    key_codec: RowCodec,
    rest_codec: RowCodec,
    keys: KeyIndex,
    /// By key id.
    entries: Vec<Entry>,
    rows: RowArena,
    retention: Option<RowRetention>,
    /// By key id the event time of its row in milliseconds, [`NEVER`] if it has none; empty without a retention.
    event_ms: Vec<i64>,
    /// Up to where rows were forgotten, in milliseconds of event time.
    forgotten_before_ms: i64,
    /// How many keys of forgotten rows are still known.
    n_forgotten: usize,
    /// No row that may be forgotten has an earlier event time.
    oldest_ms: i64,
    pending: Vec<RecordBatch>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The row in the arena; none for a key that this epoch brought or that is not in use.
    row: u32,
    /// The index among the keys that this epoch touched.
    touch: u32,
}

/// A key that this epoch touched.
#[derive(Clone, Copy, Debug)]
struct Touch {
    key: u32,
    current: Current,
}

/// The row of a touched key at the current point in reading order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Current {
    /// The one that the state holds.
    Stored,
    /// The one of this input row.
    Input(u32),
    Deleted,
}

/// The event times of an epoch's records, and up to which one they are late.
struct Lateness {
    event_ms: Vec<i64>,
    limit_ms: i64,
}

/// What became of the records of an epoch.
#[derive(Debug, Default)]
struct Followed {
    touched: Vec<Touch>,
    /// Input rows that repeat what the table holds.
    duplicate: Vec<u32>,
    /// Input rows that came after the retention.
    late: Vec<u32>,
}

/// What an epoch did to the table: rows of the state that go, rows of the input that come.
#[derive(Debug, Default)]
struct Difference {
    /// Arena ids of rows replaced or deleted, and the ids of their keys.
    gone: Vec<(u32, u32)>,
    /// Places in `gone` of keys that have no row any more.
    deleted: Vec<u32>,
    /// Input rows that are current now.
    come: Vec<u32>,
}

impl SourceTable {
    /// One shard, empty.
    pub fn new(spec: SourceTableSpec) -> Result<Self, OperatorError> {
        let rest = (0..spec.schema.fields().len()).filter(|c| !spec.key.contains(c)).collect();
        let mut fields: Vec<Field> =
            spec.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        fields.push(Field::new("_weight", DataType::Int64, false));
        Ok(Self {
            delta_schema: Arc::new(Schema::new(fields)),
            key_codec: RowCodec::new(&spec.schema, spec.key)?,
            rest_codec: RowCodec::new(&spec.schema, rest)?,
            schema: spec.schema,
            keys: KeyIndex::default(),
            entries: Vec::new(),
            rows: RowArena::default(),
            retention: spec.retention,
            event_ms: Vec::new(),
            forgotten_before_ms: i64::MIN,
            n_forgotten: 0,
            oldest_ms: NEVER,
            pending: Vec::new(),
        })
    }

    /// Follows the records in reading order.
    fn follow(
        &mut self,
        input: &ChangeBatch,
        keys: &EncodedRows,
        rests: &EncodedRows,
        lateness: Option<&Lateness>,
    ) -> Followed {
        let mut followed = Followed::default();
        for (row, key) in self.key_ids(input, keys).into_iter().enumerate() {
            if key == NONE {
                followed.duplicate.push(row as u32);
                continue;
            }
            let upsert = input.weights[row] > 0;
            let entry = self.entries[key as usize];
            let touch_idx = match entry.touch {
                NONE => None,
                idx => Some(idx as usize),
            };
            let current = touch_idx.map_or(Current::Stored, |idx| touched_current(&followed.touched, idx));
            let repeats = match current {
                Current::Stored if entry.row == NONE => !upsert,
                Current::Stored => upsert && self.repeats(key, entry.row, rests.get(row)),
                Current::Input(before) => upsert && rests.get(before as usize) == rests.get(row),
                Current::Deleted => !upsert,
            };
            if repeats {
                followed.duplicate.push(row as u32);
                continue;
            }
            let is_stored = current == Current::Stored && entry.row != NONE;
            let stored_ms = is_stored.then(|| self.event_ms.get(key as usize).copied()).flatten();
            let is_late = lateness.is_some_and(|l| l.is_late(stored_ms, upsert.then_some(row)));
            let next = match (is_late, upsert) {
                // A key that came with a late record only must leave again.
                (true, _) if current == Current::Stored && !is_stored => Current::Deleted,
                (true, _) => current,
                (false, true) => Current::Input(row as u32),
                (false, false) => Current::Deleted,
            };
            if is_late {
                followed.late.push(row as u32);
            }
            match touch_idx {
                Some(idx) => followed.touched[idx] = Touch { key, current: next },
                None if next != Current::Stored => {
                    self.entries[key as usize].touch = followed.touched.len() as u32;
                    followed.touched.push(Touch { key, current: next });
                }
                None => {}
            }
        }
        followed
    }

    /// The key of each record, new ones entered; none for a tombstone of a key that has not been seen up to there.
    ///
    /// Keys are looked up before rows are compared: so the processor waits for many of them at the same time.
    fn key_ids(&mut self, input: &ChangeBatch, keys: &EncodedRows) -> Vec<u32> {
        let id = |(row, weight): (usize, &i64)| match *weight > 0 {
            true => self.key_or_insert(keys.get(row)),
            false => self.keys.get(keys.get(row)).unwrap_or(NONE),
        };
        input.weights.iter().enumerate().map(id).collect()
    }

    fn key_or_insert(&mut self, key: &[u8]) -> u32 {
        let (id, is_new) = self.keys.get_or_insert(key);
        if is_new {
            if self.entries.len() <= id as usize {
                self.entries.resize(id as usize + 1, Entry { row: NONE, touch: NONE });
                if self.retention.is_some() {
                    self.event_ms.resize(self.entries.len(), NEVER);
                }
            }
            self.entries[id as usize] = Entry { row: NONE, touch: NONE };
        }
        id
    }

    /// Compares each touched key with what the state holds. Keys and rows that go are still in the state afterwards.
    fn settle(&mut self, touched: &[Touch], rests: &EncodedRows, lateness: Option<&Lateness>) -> Difference {
        let mut difference = Difference::default();
        for Touch { key, current } in touched {
            let entry = &mut self.entries[*key as usize];
            entry.touch = NONE;
            match *current {
                Current::Stored => {}
                Current::Input(row) => {
                    let new = rests.get(row as usize);
                    if entry.row != NONE {
                        if self.rows.get(entry.row) == new {
                            continue;
                        }
                        difference.gone.push((*key, entry.row));
                    }
                    entry.row = self.rows.insert(new);
                    difference.come.push(row);
                    if let Some(lateness) = lateness {
                        self.note_event_time(*key, lateness.event_ms[row as usize]);
                    }
                }
                Current::Deleted if entry.row == NONE => self.keys.remove(*key),
                Current::Deleted => {
                    difference.deleted.push(difference.gone.len() as u32);
                    difference.gone.push((*key, entry.row));
                    entry.row = NONE;
                }
            }
        }
        difference
    }

    /// Decodes the rows that go, then forgets them.
    fn take_gone(&mut self, difference: &Difference) -> Result<Vec<ArrayRef>, OperatorError> {
        if difference.gone.is_empty() {
            return Ok(Vec::new());
        }
        let columns = self.decode(&difference.gone)?;
        for (_, row) in &difference.gone {
            self.rows.remove(*row);
        }
        for at in &difference.deleted {
            self.keys.remove(difference.gone[*at as usize].0);
        }
        Ok(columns)
    }

    /// The table's columns of rows given as key id and arena id.
    fn decode(&self, rows: &[(u32, u32)]) -> Result<Vec<ArrayRef>, OperatorError> {
        let keys = self.key_codec.decode(rows.iter().map(|(key, _)| self.keys.key(*key)))?;
        let rests = self.rest_codec.decode(rows.iter().map(|(_, row)| self.rows.get(*row)))?;
        let codecs = [(&self.key_codec, keys), (&self.rest_codec, rests)];
        let mut columns: Vec<(usize, ArrayRef)> =
            codecs.into_iter().flat_map(|(codec, arrays)| codec.columns().iter().copied().zip(arrays)).collect();
        columns.sort_unstable_by_key(|(column, _)| *column);
        Ok(columns.into_iter().map(|(_, array)| array).collect())
    }

    /// The delta of an epoch: rows that came, and the keys of rows that went without a successor.
    fn delta(
        &self,
        come: &[ArrayRef],
        gone: &[ArrayRef],
        difference: &Difference,
    ) -> Result<RecordBatch, OperatorError> {
        let (n_come, n_deleted) = (difference.come.len(), difference.deleted.len());
        let deleted = UInt32Array::from(difference.deleted.clone());
        let mut columns = Vec::with_capacity(come.len() + 1);
        for (idx, array) in come.iter().enumerate() {
            if n_deleted == 0 {
                columns.push(array.clone());
                continue;
            }
            let of_deleted = match self.key_codec.columns().contains(&idx) {
                true => take(&gone[idx], &deleted, None)?,
                false => new_null_array(array.data_type(), n_deleted),
            };
            columns.push(concat(&[array.as_ref(), of_deleted.as_ref()])?);
        }
        let weights = std::iter::repeat_n(1, n_come).chain(std::iter::repeat_n(-1, n_deleted));
        columns.push(Arc::new(Int64Array::from_iter_values(weights)));
        Ok(RecordBatch::try_new(self.delta_schema.clone(), columns)?)
    }

    /// The event time of each row in milliseconds; none without a retention.
    fn event_times(&self, batch: &RecordBatch) -> Result<Option<Vec<i64>>, OperatorError> {
        let Some(retention) = &self.retention else { return Ok(None) };
        let Some(column) = batch.columns().get(retention.event_time) else {
            return Err(OperatorError::Function("an event time column does not exist".into()));
        };
        Ok(Some(milliseconds(column)?.iter().map(|at| at.unwrap_or(NEVER)).collect()))
    }

    /// What is late among the records of an epoch.
    fn lateness(&self, batch: &RecordBatch, watermark: Watermark) -> Result<Option<Lateness>, OperatorError> {
        let retention_ms = self.retention.map_or(0, |r| r.retention_ms);
        // What was forgotten stays so, also if a longer retention is declared later.
        let limit_ms = watermark.0.saturating_sub(retention_ms).max(self.forgotten_before_ms.saturating_sub(1));
        Ok(self.event_times(batch)?.map(|event_ms| Lateness { event_ms, limit_ms }))
    }

    fn apply(&mut self, batch: &RecordBatch, weights: &[i64]) -> Result<(), OperatorError> {
        let (keys, rests) = (self.key_codec.encode(batch)?, self.rest_codec.encode(batch)?);
        let event_ms = self.event_times(batch)?;
        for (row, weight) in weights.iter().enumerate() {
            if *weight > 0 {
                let key = self.key_or_insert(keys.get(row)) as usize;
                let before = std::mem::replace(&mut self.entries[key].row, NONE);
                if before != NONE {
                    self.rows.remove(before);
                }
                self.entries[key].row = self.rows.insert(rests.get(row));
                if let Some(event_ms) = &event_ms {
                    self.note_event_time(key as u32, event_ms[row]);
                }
            } else if *weight == 0 {
                let instant_ms = event_ms.as_ref().and_then(|event_ms| event_ms.get(row)).copied();
                self.restore_forgotten(batch, (row, keys.get(row)), instant_ms.unwrap_or(i64::MIN))?;
            } else if let Some(key) = self.keys.get(keys.get(row)) {
                self.rows.remove(std::mem::replace(&mut self.entries[key as usize].row, NONE));
                self.keys.remove(key);
            }
        }
        Ok(())
    }
}

impl Lateness {
    /// Whether a record is late, by the event time of the stored row that it would change and by its own.
    fn is_late(&self, stored_ms: Option<i64>, upsert: Option<usize>) -> bool {
        let own_ms = upsert.and_then(|row| self.event_ms.get(row).copied());
        stored_ms.into_iter().chain(own_ms).any(|at| at <= self.limit_ms && at != NEVER)
    }
}

fn touched_current(touched: &[Touch], idx: usize) -> Current {
    touched.get(idx).map_or(Current::Stored, |t| t.current)
}

impl Operator for SourceTable {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let Some(input) = inputs.first().filter(|i| !i.is_empty()) else {
            return Ok(ChangeBatch::empty(self.schema.clone()).into());
        };
        let (keys, rests) = (self.key_codec.encode(&input.rows)?, self.rest_codec.encode(&input.rows)?);
        let lateness = self.lateness(&input.rows, ctx.watermark_before())?;
        let followed = self.follow(input, &keys, &rests, lateness.as_ref());
        let difference = self.settle(&followed.touched, &rests, lateness.as_ref());
        let gone = self.take_gone(&difference)?;

        let come: Vec<ArrayRef> = if difference.come.len() == input.len() {
            // Every record is new and no key comes twice, so the rows are in input order.
            input.rows.columns().to_vec()
        } else {
            let idx = UInt32Array::from(difference.come.clone());
            input.rows.columns().iter().map(|c| take(c, &idx, None)).collect::<Result<_, _>>()?
        };
        let (n_gone, n_come) = (difference.gone.len(), difference.come.len());
        if n_gone + n_come > 0 {
            self.pending.push(self.delta(&come, &gone, &difference)?);
        }
        let columns = match n_gone {
            0 => come,
            _ => {
                gone.iter().zip(&come).map(|(g, c)| concat(&[g.as_ref(), c.as_ref()])).collect::<Result<Vec<_>, _>>()?
            }
        };
        let weights = std::iter::repeat_n(-1, n_gone).chain(std::iter::repeat_n(1, n_come)).collect();
        let records = |rows: &[u32]| match &input.order {
            Order::Sequence(sequence) => rows.iter().map(|row| sequence[*row as usize]).collect(),
            _ => Vec::new(),
        };
        let (duplicate, late) = (records(&followed.duplicate), records(&followed.late));
        let changes = ChangeBatch::table(RecordBatch::try_new(self.schema.clone(), columns)?, weights);
        Ok(Output { duplicate, late, changes })
    }

    fn oldest(&self) -> Option<i64> {
        SourceTable::oldest(self)
    }

    fn forget_before(&mut self, before_ms: i64) -> Result<Option<ChangeBatch>, OperatorError> {
        SourceTable::forget_before(self, before_ms).map(Some)
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let pending = std::mem::take(&mut self.pending);
        match pending.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            many => Ok(Some(concat_batches(&self.delta_schema, many)?)),
        }
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let n_columns = self.schema.fields().len();
        let fits = delta.num_columns() == n_columns + 1
            && delta.columns().iter().zip(self.delta_schema.fields()).all(|(c, f)| c.data_type() == f.data_type());
        let weights = delta.columns().last().and_then(|c| c.as_any().downcast_ref::<Int64Array>());
        match weights {
            Some(weights) if fits => self.apply(delta, weights.values()),
            _ => Err(OperatorError::State(format!("source table expects {}", self.delta_schema))),
        }
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.entries.len() {
            return Ok(None);
        }
        let with_row = self.entries.iter().enumerate().take(slots.end).skip(slots.start).filter(|(_, e)| e.row != NONE);
        let (forgotten, rows): (Vec<(u32, u32)>, Vec<(u32, u32)>) =
            with_row.map(|(slot, e)| (slot as u32, e.row)).partition(|(key, _)| self.is_forgotten(*key));
        let mut parts = Vec::new();
        if !rows.is_empty() {
            let mut columns = self.decode(&rows)?;
            columns.push(Arc::new(Int64Array::from_value(1, rows.len())));
            parts.push(RecordBatch::try_new(self.delta_schema.clone(), columns)?);
        }
        if !forgotten.is_empty() {
            parts.push(self.known_keys(&forgotten)?);
        }
        Ok(Some(concat_batches(&self.delta_schema, &parts)?))
    }

    fn contents(&self, part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        let start = part.saturating_mul(PART_ROWS);
        let Some(entries) = self.entries.get(start..) else { return Ok(None) };
        if entries.is_empty() {
            return Ok(None);
        }
        let rows: Vec<(u32, u32)> = entries
            .iter()
            .take(PART_ROWS)
            .enumerate()
            .map(|(idx, e)| ((start + idx) as u32, e.row))
            .filter(|(key, row)| *row != NONE && !self.is_forgotten(*key))
            .collect();
        let n_rows = rows.len();
        let batch = match n_rows {
            0 => RecordBatch::new_empty(self.schema.clone()),
            _ => RecordBatch::try_new(self.schema.clone(), self.decode(&rows)?)?,
        };
        Ok(Some(ChangeBatch::table(batch, vec![1; n_rows])))
    }

    fn state_size(&self) -> StateSize {
        let entries = self.entries.capacity() * size_of::<Entry>() + self.event_ms.capacity() * size_of::<i64>();
        StateSize {
            rows: self.keys.len().saturating_sub(self.n_forgotten),
            bytes: self.keys.size_bytes() + self.rows.size_bytes() + entries,
        }
    }
}

#[cfg(test)]
mod tests;
