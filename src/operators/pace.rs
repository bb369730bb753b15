//! Hands the changes of each key of a table on at most so often: `EMIT CHANGES EVERY`.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;

use super::groups::batch_of;
use super::log_rows::{LogKind, LogReader, LogWriter, misfit};
use super::row_codec::RowCodec;
use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::state::{KeyIndex, WeightedRows};
use crate::stream::ChangeBatch;

/// How often the changes of a key leave.
///
/// A change leaves at once if none of its key left within the interval before, by the wall clock; else it waits until the
/// interval has passed since the last one left, and what the key's changes then come to leaves as one difference. The first
/// load goes on as it is, and without a clock, as in a replay and at the end of input, nothing waits.
#[derive(Clone, Debug)]
pub struct PaceSpec {
    /// The interval in milliseconds.
    pub every_ms: i64,
    /// The key columns; without any, the table has one pace as a whole.
    pub key: Vec<usize>,
    /// The table.
    pub schema: SchemaRef,
}

/// Hands the changes of each key of a table on at most so often.
///
/// Known are the keys of which changes left within the interval: logged, with the rows that wait. A delta has for a key when
/// it changed last, then its rows that wait with their weights; what was logged of the key before is void.
pub struct Pace {
    spec: PaceSpec,
    key: RowCodec,
    row: RowCodec,
    keys: KeyIndex,
    /// By key id, when (clock, ms) changes of the key may leave again.
    due: Vec<i64>,
    /// The known keys, by when they are due.
    by_due: BTreeSet<(i64, u32)>,
    /// Those of them with rows that wait.
    waiting: BTreeSet<(i64, u32)>,
    /// By key id what the table has and has not handed on yet.
    rows: WeightedRows,
    /// Keys to be logged.
    unlogged: BTreeSet<u32>,
    /// Keys that have left, and of which the log may hold rows.
    left: Vec<Vec<u8>>,
    /// Keys of which the log holds rows.
    logged_rows: HashSet<u32>,
}

impl Pace {
    /// Nothing waits yet.
    pub fn new(spec: PaceSpec) -> Result<Self, OperatorError> {
        Ok(Self {
            key: RowCodec::new(&spec.schema, spec.key.clone())?,
            row: RowCodec::new(&spec.schema, (0..spec.schema.fields().len()).collect())?,
            spec,
            keys: KeyIndex::default(),
            due: Vec::new(),
            by_due: BTreeSet::new(),
            waiting: BTreeSet::new(),
            rows: WeightedRows::default(),
            unlogged: BTreeSet::new(),
            left: Vec::new(),
            logged_rows: HashSet::new(),
        })
    }

    /// Takes the changes of known keys in. Returns the places of all others.
    fn take_in(&mut self, input: &ChangeBatch) -> Result<Vec<u32>, OperatorError> {
        let keys = self.key.encode(&input.rows)?;
        let (mut others, mut known) = (Vec::new(), Vec::new());
        for place in 0..input.len() as u32 {
            match self.keys.get(keys.get(place as usize)) {
                Some(key) => known.push((place, key)),
                None => others.push(place),
            }
        }
        if known.is_empty() {
            return Ok(others);
        }
        let held = input.take(&known.iter().map(|(place, _)| *place).collect::<Vec<u32>>().into())?;
        let rows = self.row.encode(&held.rows)?;
        for (place, ((_, key), weight)) in known.iter().zip(held.weights.iter()).enumerate() {
            self.rows.update(*key, rows.get(place), *weight);
            self.unlogged.insert(*key);
        }
        for key in known.into_iter().map(|(_, key)| key).collect::<BTreeSet<u32>>() {
            self.note_waiting(key);
        }
        Ok(others)
    }

    fn note_waiting(&mut self, key: u32) {
        let entry = (self.due[key as usize], key);
        if self.rows.contains_key(key) {
            self.waiting.insert(entry);
        } else {
            self.waiting.remove(&entry);
        }
    }

    /// Notes that changes of the keys of some rows leave now.
    fn note_leaving(&mut self, rows: &RecordBatch, clock_ms: i64) -> Result<(), OperatorError> {
        let keys = self.key.encode(rows)?;
        for place in 0..rows.num_rows() {
            let (key, is_new) = self.keys.get_or_insert(keys.get(place));
            if is_new {
                self.set_due(key, clock_ms.saturating_add(self.spec.every_ms));
                self.unlogged.insert(key);
            }
        }
        Ok(())
    }

    fn set_due(&mut self, key: u32, due: i64) {
        if self.due.len() <= key as usize {
            self.due.resize(key as usize + 1, i64::MIN);
        }
        let before = std::mem::replace(&mut self.due[key as usize], due);
        self.waiting.remove(&(before, key));
        self.by_due.remove(&(before, key));
        self.by_due.insert((due, key));
    }

    /// Lets the changes go that are due, and forgets keys that have been quiet.
    fn release(&mut self, clock_ms: i64) -> Result<Option<ChangeBatch>, OperatorError> {
        let (mut rows, mut weights): (Vec<Vec<u8>>, Vec<i64>) = Default::default();
        while let Some((due, key)) = self.by_due.first().copied().filter(|(due, _)| *due <= clock_ms) {
            let ids: Vec<u32> = self.rows.ids_of(key).collect();
            if ids.is_empty() {
                self.forget_key(due, key);
                continue;
            }
            for id in ids {
                let (row, weight) = (self.rows.row(id).to_vec(), self.rows.weight(id));
                self.rows.update(key, &row, -weight);
                rows.push(row);
                weights.push(weight);
            }
            match clock_ms {
                i64::MAX => self.forget_key(due, key),
                _ => {
                    self.set_due(key, clock_ms.saturating_add(self.spec.every_ms));
                    self.unlogged.insert(key);
                }
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let columns = self.row.decode(rows.iter().map(Vec::as_slice))?;
        Ok(Some(ChangeBatch::table(batch_of(&self.spec.schema, columns, rows.len())?, weights)))
    }

    fn forget_key(&mut self, due: i64, key: u32) {
        self.by_due.remove(&(due, key));
        self.waiting.remove(&(due, key));
        self.unlogged.remove(&key);
        if self.logged_rows.remove(&key) {
            self.left.push(self.keys.key(key).to_vec());
        }
        self.keys.remove(key);
    }

    /// Writes what is to be known of a key.
    fn write(&self, key: u32, log: &mut LogWriter) {
        let bytes = self.keys.key(key);
        log.push(LogKind::Key, self.due[key as usize], bytes, &[]);
        for id in self.rows.ids_of(key) {
            log.push(LogKind::Waiting, self.rows.weight(id), bytes, self.rows.row(id));
        }
    }

    fn drop_rows(&mut self, key: u32) {
        for id in self.rows.ids_of(key).collect::<Vec<u32>>() {
            let (row, weight) = (self.rows.row(id).to_vec(), self.rows.weight(id));
            self.rows.update(key, &row, -weight);
        }
        self.logged_rows.remove(&key);
        self.note_waiting(key);
    }
}

impl Operator for Pace {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let input = ChangeBatch::concat(&self.spec.schema, inputs)?;
        if ctx.recomputes {
            // What was held back is taken out of it again by `contents`.
            return Ok(input.into());
        }
        let others: UInt32Array = self.take_in(&input)?.into();
        let at_once = if others.len() == input.len() { input } else { input.take(&others)? };
        if ctx.loaded && ctx.clock_ms != i64::MAX {
            self.note_leaving(&at_once.rows, ctx.clock_ms)?;
        }
        // Before everything is loaded nothing leaves for good, and what waits may become less.
        let released = if ctx.loaded { self.release(ctx.clock_ms)? } else { None };
        let parts: Vec<ChangeBatch> = std::iter::once(at_once).chain(released).collect();
        Ok(ChangeBatch::concat(&self.spec.schema, &parts)?.into())
    }

    fn forget(&mut self, inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<ChangeBatch, OperatorError> {
        // Called while nothing waits.
        Ok(ChangeBatch::concat(&self.spec.schema, inputs)?)
    }

    fn next_hand_over(&self) -> Option<i64> {
        self.waiting.first().map(|(due, _)| *due)
    }

    fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let mut log = LogWriter::default();
        for key in std::mem::take(&mut self.left) {
            log.push(LogKind::Gone, 0, &key, &[]);
        }
        for key in std::mem::take(&mut self.unlogged) {
            self.write(key, &mut log);
            if self.rows.contains_key(key) {
                self.logged_rows.insert(key);
            } else {
                self.logged_rows.remove(&key);
            }
        }
        log.delta()
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        for row in LogReader::new(delta, "pace")?.rows() {
            let row = row.ok_or_else(|| misfit("pace"))?;
            match (row.kind, self.keys.get(row.key)) {
                (LogKind::Key, known) => {
                    let key = known.unwrap_or_else(|| self.keys.get_or_insert(row.key).0);
                    if known.is_some() {
                        self.drop_rows(key);
                    }
                    self.set_due(key, row.number);
                }
                (LogKind::Waiting, Some(key)) => {
                    self.rows.update(key, row.value, row.number);
                    self.logged_rows.insert(key);
                    self.note_waiting(key);
                }
                (LogKind::Gone, known) => {
                    if let Some(key) = known {
                        self.drop_rows(key);
                        self.forget_key(self.due[key as usize], key);
                    }
                }
                _ => return Err(misfit("pace")),
            }
        }
        Ok(())
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.due.len() {
            return Ok(None);
        }
        let mut log = LogWriter::default();
        let slots = slots.start as u32..slots.end.min(self.due.len()) as u32;
        slots.filter(|key| self.keys.contains_id(*key)).for_each(|key| self.write(key, &mut log));
        log.finish().map(Some)
    }

    /// What was handed on is what the table has, less the rows that wait.
    fn contents(&self, part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        let ids: Vec<u32> = if part == 0 { self.rows.ids().collect() } else { Vec::new() };
        if ids.is_empty() {
            return Ok(None);
        }
        let columns = self.row.decode(ids.iter().map(|id| self.rows.row(*id)))?;
        let weights = ids.iter().map(|id| -self.rows.weight(*id)).collect();
        Ok(Some(ChangeBatch::table(batch_of(&self.spec.schema, columns, ids.len())?, weights)))
    }

    fn state_size(&self) -> StateSize {
        let trees = (self.by_due.len() + self.waiting.len()) * size_of::<(i64, u32)>() * 3 / 2;
        let bytes = self.rows.size_bytes() + self.keys.size_bytes() + self.due.capacity() * size_of::<i64>() + trees;
        StateSize { rows: self.rows.len() + self.keys.len(), bytes }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use proptest::prelude::*;

    use super::*;
    use crate::operators::rewritten_log::RewrittenLog;
    use crate::operators::script::columns;
    use crate::operators::zset_model::{ZSet, add, add_net, epoch};

    fn changes(rows: &[(i64, i64, i64)]) -> ChangeBatch {
        let mut net: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        rows.iter().for_each(|(k, n, weight)| *net.entry((*k, *n)).or_insert(0) += weight);
        net.retain(|_, weight| *weight != 0);
        let column = |of: &dyn Fn(&(i64, i64)) -> i64| Arc::new(Int64Array::from_iter_values(net.keys().map(of))) as _;
        let columns = vec![column(&|(k, _)| *k), column(&|(_, n)| *n)];
        ChangeBatch::table(RecordBatch::try_new(schema(), columns).unwrap(), net.into_values().collect())
    }

    fn schema() -> SchemaRef {
        columns("k int, n int")
    }

    fn pace(key: &[usize]) -> Pace {
        Pace::new(PaceSpec { every_ms: 100, key: key.into(), schema: schema() }).unwrap()
    }

    fn at(clock_ms: i64, loaded: bool) -> EpochContext {
        EpochContext { clock_ms, ..epoch(0, 0, loaded) }
    }

    /// The rows of a Z-set by the value of their key.
    fn of_key(rows: &ZSet, key: &str) -> ZSet {
        rows.iter().filter(|(line, _)| line.split('|').next() == Some(key)).map(|(l, w)| (l.clone(), *w)).collect()
    }

    proptest! {
        /// Whatever the epochs and crashes: a key's changes leave net, at once or when the interval has passed since the last
        /// ones left, and then all of them.
        #[test]
        fn each_key_changes_once_an_interval_and_nothing_is_lost(
            epochs in prop::collection::vec(
                (prop::collection::vec((0i64..3, 0i64..3, prop_oneof![Just(1i64), Just(-1)]), 0..6), 0i64..80, prop::bool::weighted(0.2)),
                1..30,
            ),
            slots in 0usize..3,
        ) {
            let (mut tested, mut log) = (pace(&[0]), RewrittenLog::new(slots));
            let (mut clock, mut table, mut seen) = (1_000, ZSet::new(), ZSet::new());
            let mut last: BTreeMap<&str, i64> = BTreeMap::new();
            for (rows, passed, crashes) in &epochs {
                clock += passed;
                let input = changes(rows);
                add(&mut table, &input);
                let before = seen.clone();
                add_net(&mut seen, &tested.process(&[input], &at(clock, true)).unwrap().changes);
                log.append(&mut tested);
                for key in ["0", "1", "2"] {
                    let is_free = last.get(key).is_none_or(|last| clock - last >= 100);
                    if of_key(&before, key) != of_key(&seen, key) {
                        prop_assert!(is_free, "{key} too soon");
                        last.insert(key, clock);
                    }
                    if is_free {
                        prop_assert_eq!(of_key(&seen, key), of_key(&table, key));
                    }
                }
                let waits = |key: &&str| of_key(&seen, key) != of_key(&table, key);
                let next = ["0", "1", "2"].into_iter().filter(waits).map(|key| last[key] + 100).min();
                prop_assert_eq!(tested.next_hand_over(), next);
                prop_assert_eq!(tested.n_waiting(), ["0", "1", "2"].into_iter().filter(waits).count());
                if *crashes {
                    tested = pace(&[0]);
                    log.restore(&mut tested);
                    prop_assert_eq!(tested.next_hand_over(), next);
                    // The table comes again; what is handed on of it is what had been.
                    let mut again = table.clone();
                    tested.contents(0).unwrap().iter().for_each(|held_back| add(&mut again, held_back));
                    prop_assert_eq!(&again, &seen);
                    let whole: Vec<(i64, i64, i64)> = table.iter().map(|(line, w)| {
                        let (k, n) = line.split_once('|').unwrap();
                        (k.parse().unwrap(), n.parse().unwrap(), *w)
                    }).collect();
                    let ctx = EpochContext { recomputes: true, ..at(0, false) };
                    let mut passed = ZSet::new();
                    add(&mut passed, &tested.process(&[changes(&whole)], &ctx).unwrap().changes);
                    prop_assert_eq!(&passed, &table);
                }
            }
            // Without a clock nothing waits any more, and nothing is remembered.
            add(&mut seen, &tested.process(&[changes(&[])], &at(i64::MAX, true)).unwrap().changes);
            prop_assert_eq!(seen, table);
            prop_assert_eq!(tested.state_size().rows, 0);
        }
    }

    #[test]
    fn a_table_without_a_key_has_one_pace() {
        let mut pace = pace(&[]);
        let mut n_left =
            |clock, rows: &[(i64, i64, i64)]| pace.process(&[changes(rows)], &at(clock, true)).unwrap().changes.len();
        assert_eq!(n_left(1_000, &[(1, 1, 1)]), 1);
        assert_eq!(n_left(1_040, &[(2, 1, 1)]), 0);
        assert_eq!(n_left(1_099, &[(2, 1, -1), (2, 2, 1)]), 0);
        assert_eq!(n_left(1_100, &[]), 1, "the difference that the changes come to");
        assert_eq!(n_left(1_199, &[(3, 1, 1)]), 0, "the interval begins anew with it");
    }

    #[test]
    fn a_first_load_and_a_replay_do_not_wait() {
        for ctx in [at(5, false), at(i64::MAX, true)] {
            let mut pace = pace(&[0]);
            for n in 0..3 {
                assert_eq!(pace.process(&[changes(&[(1, n, 1)])], &ctx).unwrap().changes.len(), 1);
            }
            assert_eq!((pace.state_size().rows, pace.take_delta().unwrap().is_none()), (0, true));
        }
    }

    #[test]
    fn quiet_keys_are_forgotten_and_rows_that_cancel_out_are_not_kept() {
        let mut pace = pace(&[0]);
        pace.process(&[changes(&[(0, 1, 1), (1, 1, 1)])], &at(1_000, true)).unwrap();
        for n in 0..10_000 {
            pace.process(&[changes(&[(0, n % 2, -1), (0, (n + 1) % 2, 1)])], &at(1_001, true)).unwrap();
            assert!(pace.state_size().rows <= 4);
        }
        pace.process(&[changes(&[])], &at(2_000, true)).unwrap();
        pace.process(&[changes(&[])], &at(3_000, true)).unwrap();
        assert_eq!(pace.state_size().rows, 0);
    }
}
