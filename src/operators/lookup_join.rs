//! Joins rows of a stream with the rows that a table has at that moment, or soon after.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::{BinaryArray, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::event_time::milliseconds;
use super::row_codec::RowCodec;
use super::row_name::{Cause, row_name};
use super::table_join::{LookedUp, Lookup};
use super::waiting_rows::log::{self, Delta, Logged};
use super::waiting_rows::{SlotChange, Waiting, WaitingRows};
use super::{EpochContext, Operator, OperatorError, Output, StateSize, TableJoinSpec};
use crate::state::KeyIndex;
use crate::stream::{ChangeBatch, Order, Watermark};

/// What a stream's row looks up. Input 0 is the stream, input 1 the table; columns as in [`TableJoinSpec`].
///
/// Changes of the table are taken in before the stream's rows of the same epoch. Semi and anti joins keep the left columns.
#[derive(Clone)]
pub struct LookupJoinSpec {
    /// The join, as between tables.
    pub join: TableJoinSpec,
    /// How long rows without a match wait for one; none = not at all.
    pub wait: Option<LookupWait>,
}

/// How long rows without a match wait for one.
///
/// A row that has a match leaves at once. Any other leaves when a change of the table brings one, or as a row without a match
/// when the time is over by the epochs' clock. A row that can match nothing, its key being null, does not wait.
///
/// Rows that wait hold event time back, which rows behind the watermark cannot do: these are reported late. Without a clock, as
/// in a replay, nothing waits, and all is as without `wait`.
#[derive(Clone, Debug)]
pub struct LookupWait {
    /// How long, in milliseconds.
    pub wait_ms: i64,
    /// The columns of the stream's input.
    pub input: SchemaRef,
    /// The columns of the stream's input that are event times, and what is added to each, in milliseconds.
    pub event_times: Vec<(usize, i64)>,
}

/// Joins rows of a stream with the rows that a table has at that moment, or soon after.
///
/// The table's rows by key are derived and not logged, rows that wait are. A table's row of weight n is met n times. Rows that
/// wait hold the output's watermark back.
pub struct LookupJoin {
    lookup: Lookup,
    schema: SchemaRef,
    waiting: Option<WaitingSide>,
}

/// Rows that wait, by key.
struct WaitingSide {
    wait: LookupWait,
    row: RowCodec,
    /// What is compared with the keys of the table.
    key: RowCodec,
    /// What tells rows of different shards apart: the key, or all columns where there is none.
    name: RowCodec,
    keys: KeyIndex,
    n_of_key: Vec<u32>,
    rows: WaitingRows,
    /// In how many epochs rows have left.
    n_emissions: u64,
    /// As `n_emissions`, as far as it is logged.
    n_logged: u64,
    /// Whether the table changed when rows could not leave yet.
    is_stale: bool,
}

impl LookupJoin {
    /// One shard, empty. Refuses what cannot be joined.
    pub fn new(spec: LookupJoinSpec) -> Result<Self, OperatorError> {
        let n_keys = spec.join.n_keys;
        let schema = spec.join.schema.clone();
        let waiting = spec.wait.map(|wait| WaitingSide::new(wait, n_keys)).transpose()?;
        Ok(Self { lookup: Lookup::new(spec.join)?, schema, waiting })
    }

    /// Looks rows up that need not wait for anything.
    fn pass_by(&mut self, stream: &ChangeBatch) -> Result<ChangeBatch, OperatorError> {
        let LookedUp { rows, from, .. } = self.lookup.look_up(stream, false)?;
        let order = match &stream.order {
            Order::Unordered => Order::Unordered,
            Order::Sequence(s) => Order::Sequence(from.iter().map(|i| s[*i as usize]).collect()),
            Order::Key(k) => Order::Key(from.iter().map(|i| Some(k.value(*i as usize))).collect::<BinaryArray>()),
        };
        Ok(ChangeBatch { weights: vec![1; rows.num_rows()].into(), rows, order })
    }
}

impl WaitingSide {
    fn new(wait: LookupWait, n_keys: usize) -> Result<Self, OperatorError> {
        let all: Vec<usize> = (0..wait.input.fields().len()).collect();
        let key: Vec<usize> = (0..n_keys).collect();
        Ok(Self {
            row: RowCodec::new(&wait.input, all.clone())?,
            name: RowCodec::new(&wait.input, if n_keys == 0 { all } else { key.clone() })?,
            key: RowCodec::new(&wait.input, key)?,
            wait,
            keys: KeyIndex::default(),
            n_of_key: Vec::new(),
            rows: WaitingRows::default(),
            n_emissions: 0,
            n_logged: 0,
            is_stale: false,
        })
    }

    /// Divides rows of the stream into those to look up and the numbers of the records that are late.
    fn refuse_late(&self, stream: &ChangeBatch, ctx: &EpochContext) -> Result<(ChangeBatch, Vec<u64>), OperatorError> {
        let before = ctx.watermarks_before.first().copied().unwrap_or(Watermark::MIN);
        let in_time: BooleanArray =
            self.oldest(&stream.rows)?.into_iter().map(|ms| Some(ms.is_none_or(|ms| ms >= before.0))).collect();
        if in_time.true_count() == stream.len() {
            return Ok((stream.clone(), Vec::new()));
        }
        let late = match &stream.order {
            Order::Sequence(numbers) => {
                numbers.iter().zip(&in_time).filter(|(_, in_time)| *in_time == Some(false)).map(|(n, _)| *n).collect()
            }
            _ => Vec::new(),
        };
        Ok((stream.filter(&in_time)?, late))
    }

    /// The least event time of each row; none where it has none.
    fn oldest(&self, rows: &RecordBatch) -> Result<Vec<Option<i64>>, OperatorError> {
        let mut oldest: Vec<Option<i64>> = vec![None; rows.num_rows()];
        for (column, offset) in &self.wait.event_times {
            for (oldest, time) in oldest.iter_mut().zip(milliseconds(rows.column(*column))?.iter()) {
                let time = time.map(|ms| ms.saturating_add(*offset));
                *oldest = match (*oldest, time) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
        Ok(oldest)
    }

    /// What leaves in an epoch: rows that waited, then rows of the stream; those that find nothing begin to wait.
    fn process(
        &mut self,
        lookup: &mut Lookup,
        stream: &ChangeBatch,
        touched: &[Vec<u8>],
        schema: &SchemaRef,
        ctx: &EpochContext,
    ) -> Result<ChangeBatch, OperatorError> {
        if !ctx.loaded {
            self.is_stale |= !touched.is_empty();
            if stream.is_empty() {
                return Ok(ChangeBatch::empty(schema.clone()));
            }
        }
        let mut parts = Vec::new();
        if ctx.loaded {
            let slots = self.affected(touched);
            self.release(lookup, &slots, true, &mut parts)?;
            let overdue: Vec<u32> = self
                .rows
                .by_until()
                .take_while(|(until, _)| *until <= ctx.clock_ms)
                .take(ctx.may_hand_over())
                .map(|(_, slot)| slot)
                .collect();
            self.release(lookup, &overdue, false, &mut parts)?;
        }
        // Where no clock runs there is nothing to wait for.
        let may_wait = ctx.clock_ms != i64::MAX;
        let LookedUp { rows, from, waiting } = lookup.look_up(stream, may_wait)?;
        if rows.num_rows() > 0 {
            let keys = self.name.encode(&stream.rows)?;
            let name = |row: &u32| {
                row_name(Cause::Arrival(&stream.order, *row as usize), keys.get(*row as usize), self.n_emissions)
            };
            let names = BinaryArray::from_iter_values(from.iter().map(name));
            parts.push(ChangeBatch { weights: vec![1; rows.num_rows()].into(), rows, order: Order::Key(names) });
        }
        self.admit(stream, &waiting, ctx.clock_ms)?;
        let changes = ChangeBatch::concat(schema, &parts)?;
        self.n_emissions += u64::from(!changes.is_empty());
        Ok(changes)
    }

    /// The rows that wait under keys that the table's changes touched.
    fn affected(&mut self, touched: &[Vec<u8>]) -> Vec<u32> {
        if std::mem::take(&mut self.is_stale) {
            return self.rows.by_until().map(|(_, slot)| slot).collect();
        }
        let keys: BTreeSet<u32> = touched.iter().filter_map(|key| self.keys.get(key)).collect();
        keys.into_iter().flat_map(|key| self.rows.between(key, i64::MIN, i64::MAX)).collect()
    }

    /// Looks rows up again that wait; those that find nothing go on waiting, or leave as such.
    fn release(
        &mut self,
        lookup: &mut Lookup,
        slots: &[u32],
        may_wait: bool,
        parts: &mut Vec<ChangeBatch>,
    ) -> Result<(), OperatorError> {
        if slots.is_empty() {
            return Ok(());
        }
        let columns = self.row.decode(slots.iter().map(|slot| self.rows.bytes(*slot)))?;
        let rows = super::groups::batch_of(&self.wait.input, columns, slots.len())?;
        let keys = self.name.encode(&rows)?;
        let again = ChangeBatch { weights: vec![1; slots.len()].into(), rows, order: Order::Unordered };
        let LookedUp { rows, from, waiting } = lookup.look_up(&again, may_wait)?;
        let name = |row: &u32| {
            let until = slots.get(*row as usize).and_then(|slot| self.rows.get(*slot)).map_or(0, |w| w.until);
            row_name(Cause::Passed(until), keys.get(*row as usize), self.n_emissions)
        };
        let names = BinaryArray::from_iter_values(from.iter().map(name));
        if rows.num_rows() > 0 {
            parts.push(ChangeBatch { weights: vec![1; rows.num_rows()].into(), rows, order: Order::Key(names) });
        }
        let still: BTreeSet<u32> = waiting.into_iter().collect();
        for (place, slot) in slots.iter().enumerate().filter(|(place, _)| !still.contains(&(*place as u32))) {
            debug_assert!(place < slots.len());
            if let Some(waiting) = self.rows.remove(*slot) {
                self.let_key_go(waiting.key);
            }
        }
        Ok(())
    }

    /// Lets rows of the stream wait.
    fn admit(&mut self, stream: &ChangeBatch, places: &[u32], clock_ms: i64) -> Result<(), OperatorError> {
        if places.is_empty() {
            return Ok(());
        }
        let batch = stream.take(&places.to_vec().into())?.rows;
        let (keys, rows) = (self.key.encode(&batch)?, self.row.encode(&batch)?);
        let times = self.oldest(&batch)?;
        let until = clock_ms.saturating_add(self.wait.wait_ms);
        for (row, oldest) in times.into_iter().enumerate() {
            let key = self.hold_key(keys.get(row));
            let oldest = oldest.unwrap_or(i64::MAX);
            self.rows.insert(Waiting { key, time: oldest, until, oldest, matched: false }, rows.get(row));
        }
        Ok(())
    }

    fn hold_key(&mut self, bytes: &[u8]) -> u32 {
        let (key, _) = self.keys.get_or_insert(bytes);
        if self.n_of_key.len() <= key as usize {
            self.n_of_key.resize(key as usize + 1, 0);
        }
        self.n_of_key[key as usize] += 1;
        key
    }

    fn let_key_go(&mut self, key: u32) {
        let Some(n) = self.n_of_key.get_mut(key as usize) else { return };
        *n = n.saturating_sub(1);
        if *n == 0 && self.keys.contains_id(key) {
            self.keys.remove(key);
        }
    }
}

impl Operator for LookupJoin {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        let (stream, table) = self.lookup.inputs(inputs)?;
        let touched = self.lookup.take_in(table)?;
        match &mut self.waiting {
            None => Ok(self.pass_by(stream)?.into()),
            Some(waiting) if ctx.clock_ms == i64::MAX && waiting.rows.len() == 0 => Ok(self.pass_by(stream)?.into()),
            Some(waiting) => {
                let (stream, late) = waiting.refuse_late(stream, ctx)?;
                let changes = waiting.process(&mut self.lookup, &stream, &touched, &self.schema, ctx)?;
                Ok(Output { late, ..changes.into() })
            }
        }
    }

    fn watermark(&self, ctx: &EpochContext) -> Watermark {
        // What a stream looks up in a table does not hold the stream's time back; rows that wait do.
        let after = ctx.watermarks_after.first().copied().unwrap_or(Watermark::MAX);
        let oldest = self.waiting.as_ref().and_then(|waiting| waiting.rows.oldest());
        oldest.map_or(after, |oldest| after.min(Watermark(oldest)))
    }

    fn next_hand_over(&self) -> Option<i64> {
        self.waiting.as_ref()?.rows.by_until().next().map(|(until, _)| until)
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(waiting) = &mut self.waiting else { return Ok(None) };
        let changes = waiting.rows.take_changes();
        if changes.is_empty() && waiting.n_logged == waiting.n_emissions {
            return Ok(None);
        }
        waiting.n_logged = waiting.n_emissions;
        let mut delta = Delta::new(waiting.n_emissions);
        for (slot, change) in changes {
            delta.add(0, &waiting.rows, &waiting.keys, slot, change);
        }
        delta.finish().map(Some)
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(waiting) = &self.waiting else { return Ok(None) };
        if slots.start >= waiting.rows.n_slots().max(1) {
            return Ok(None);
        }
        let mut delta = Delta::new(waiting.n_emissions);
        for slot in slots.start..slots.end.min(waiting.rows.n_slots()) {
            if waiting.rows.get(slot as u32).is_some() {
                delta.add(0, &waiting.rows, &waiting.keys, slot as u32, SlotChange::Row);
            }
        }
        delta.finish().map(Some)
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let Some(waiting) = &mut self.waiting else {
            return Err(OperatorError::State("a lookup without `wait` logs nothing".into()));
        };
        log::read(delta, |logged| match logged {
            Logged::Counter(n) => {
                waiting.n_emissions = n;
                waiting.n_logged = n;
            }
            Logged::Row { slot, key, waiting: mut row, bytes, .. } => {
                row.key = waiting.hold_key(key);
                if let Some(replaced) = waiting.rows.restore(slot, row, bytes) {
                    waiting.let_key_go(replaced);
                }
            }
            Logged::Matched { slot, .. } => waiting.rows.restore_matched(slot),
            Logged::Empty { slot, .. } => {
                if let Some(key) = waiting.rows.restore_empty(slot) {
                    waiting.let_key_go(key);
                }
            }
        })
    }

    fn state_size(&self) -> StateSize {
        let mut size = self.lookup.state_size();
        if let Some(waiting) = &self.waiting {
            size.rows += waiting.rows.len();
            size.bytes +=
                waiting.rows.size_bytes() + waiting.keys.size_bytes() + waiting.n_of_key.capacity() * size_of::<u32>();
        }
        size
    }
}

impl std::fmt::Debug for LookupJoinSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookupJoinSpec").field("wait", &self.wait).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::table_join::model::{
        Case, Contents, any_case, any_changes, any_row, context, fold, shown, table,
    };
    use super::*;
    use crate::operators::JoinKind;
    use crate::stream::Order;

    fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
        rows.sort();
        rows
    }

    fn sequence(batch: &ChangeBatch) -> Vec<u64> {
        match &batch.order {
            Order::Sequence(s) => s.to_vec(),
            _ => Vec::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn each_row_meets_the_table_as_it_is_at_that_moment((case, epochs) in any_case().prop_flat_map(|case| {
            let epoch = (prop::collection::vec(any_row(case), 0..8), any_changes(case));
            (Just(case), prop::collection::vec(epoch, 1..8))
        })) {
            let mut join = LookupJoin::new(LookupJoinSpec { join: case.spec(), wait: None }).unwrap();
            let mut contents = Contents::new();
            for (rows, changes) in epochs {
                fold(&mut contents, &changes);
                let stream = ChangeBatch::stream(case.left_batch(&rows), (100..100 + rows.len() as u64).collect());
                let inputs = [stream, table(&changes, |r| case.right_batch(r))];
                let output = join.process(&inputs, &context()).unwrap().changes;
                let from = sequence(&output);
                prop_assert!(from.is_sorted());
                prop_assert_eq!(from.len(), output.len());
                prop_assert!(output.weights.iter().all(|w| *w == 1));
                let mut got: BTreeMap<u64, Vec<Vec<String>>> = BTreeMap::new();
                for (row, number) in shown(&output.rows).into_iter().zip(from) {
                    got.entry(number).or_default().push(row);
                }
                for (number, row) in (100..).zip(&rows) {
                    let repeat = |(row, n): (Vec<String>, i64)| vec![row; n as usize];
                    let expected = case.rows_of(row, &contents).into_iter().flat_map(repeat).collect();
                    prop_assert_eq!(sorted(got.remove(&number).unwrap_or_default()), sorted(expected));
                }
                prop_assert!(got.is_empty());
            }
        }
    }

    #[test]
    fn rows_that_follow_from_state_keep_their_order() {
        let case = Case {
            kind: JoinKind::Left,
            n_keys: 0,
            as_of: false,
            filtered: false,
            null_equals_null: false,
            null_aware: false,
        };
        let mut join = LookupJoin::new(LookupJoinSpec { join: case.spec(), wait: None }).unwrap();
        let row = |value| super::super::table_join::model::ModelRow {
            keys: vec![],
            time: None,
            value: Some(value),
            text: None,
        };
        let mut stream = ChangeBatch::stream(case.left_batch(&[row(1), row(2)]), vec![0, 0]);
        stream.order = Order::Key(vec![Some(b"b".as_ref()), Some(b"a".as_ref())].into());
        let changes = [(row(8), 1), (row(9), 1)];
        let output = join.process(&[stream, table(&changes, |r| case.right_batch(r))], &context()).unwrap().changes;
        let Order::Key(keys) = output.order else { panic!("the order was lost") };
        assert_eq!(keys.iter().flatten().collect::<Vec<_>>(), [b"b", b"b", b"a", b"a"]);
    }

    /// Persons by plate and when they became its owners.
    fn owners(wait_ms: i64) -> LookupJoinSpec {
        use crate::operators::script::columns;
        use arrow::datatypes::DataType;
        LookupJoinSpec {
            join: TableJoinSpec {
                kind: JoinKind::Left,
                n_keys: 1,
                as_of: true,
                null_equals_null: false,
                null_aware: false,
                filter: None,
                left: columns("id text"),
                right: columns("person text"),
                keys: vec![DataType::Utf8],
                schema: columns("id text, person text"),
            },
            wait: Some(LookupWait {
                wait_ms,
                input: columns("key text, at timestamp, id text"),
                event_times: vec![(1, 0)],
            }),
        }
    }

    fn cells(rows: &[[&str; 3]], schema: &str) -> RecordBatch {
        use arrow::array::{ArrayRef, StringArray};
        use std::sync::Arc;
        let schema = crate::operators::script::columns(schema);
        let column = |c: usize| -> ArrayRef {
            let texts: StringArray = rows.iter().map(|r| (!r[c].is_empty()).then(|| r[c].to_owned())).collect();
            match c {
                1 => {
                    let numbers = arrow::compute::cast(&texts, &arrow::datatypes::DataType::Int64).unwrap();
                    arrow::compute::cast(&numbers, schema.field(1).data_type()).unwrap()
                }
                _ => Arc::new(texts),
            }
        };
        RecordBatch::try_new(schema.clone(), (0..3).map(column).collect()).unwrap()
    }

    /// One epoch at a time of the clock; what leaves, as text, and the watermark behind it.
    fn epoch(
        join: &mut LookupJoin,
        passages: &[[&str; 3]],
        owners: &[[&str; 3]],
        clock_ms: i64,
        loaded: bool,
    ) -> (Vec<String>, i64) {
        let mut ctx = EpochContext::new(vec![Watermark(0); 2], vec![Watermark(1_000), Watermark(0)], loaded);
        ctx.clock_ms = clock_ms;
        let passages = cells(passages, "key text, at timestamp, id text");
        let stream = ChangeBatch::stream(passages.clone(), (0..passages.num_rows() as u64).collect());
        let owners = cells(owners, "key text, since timestamp, person text");
        let table = ChangeBatch::table(owners.clone(), vec![1; owners.num_rows()]);
        let changes = join.process(&[stream, table], &ctx).unwrap().changes;
        let text = shown(&changes.rows).into_iter().map(|row| row.join(" ")).collect();
        (text, join.watermark(&ctx).0)
    }

    #[test]
    fn rows_wait_for_the_version_they_need_until_the_time_is_over() {
        let mut join = LookupJoin::new(owners(60)).unwrap();
        let first = epoch(
            &mut join,
            &[["p1", "500", "a"], ["p2", "400", "b"], ["", "300", "c"]],
            &[["p1", "900", "later"]],
            10,
            true,
        );
        assert_eq!(
            first,
            (vec!["c null".to_owned()], 400),
            "a null key cannot match; the version of 900 is none of 500"
        );
        assert_eq!(join.next_hand_over(), Some(70));
        assert_eq!(
            epoch(&mut join, &[["p1", "950", "d"]], &[["p1", "100", "owner"]], 30, true).0,
            ["a owner", "d later"]
        );
        assert_eq!(epoch(&mut join, &[], &[], 69, true), (Vec::new(), 400));
        assert_eq!(epoch(&mut join, &[], &[], 70, true), (vec!["b null".to_owned()], 1_000));
        assert_eq!((join.next_hand_over(), join.state_size().rows), (None, 2), "only versions are left");
    }

    #[test]
    fn waiting_rows_are_restored_and_looked_up_again_when_all_is_loaded() {
        for slots in [0, 1, 3] {
            let mut log = crate::operators::rewritten_log::RewrittenLog::new(slots);
            let mut join = LookupJoin::new(owners(60)).unwrap();
            assert!(
                epoch(&mut join, &[["p1", "500", "a"], ["p2", "400", "b"], ["p2", "600", "c"]], &[], 10, true)
                    .0
                    .is_empty()
            );
            log.append(&mut join);
            assert_eq!(epoch(&mut join, &[], &[["p2", "600", "owner"]], 20, true).0, ["c owner"]);
            log.append(&mut join);
            (0..4).for_each(|_| log.append(&mut join));
            let mut join = LookupJoin::new(owners(60)).unwrap();
            log.restore(&mut join);
            // The table's rows come again, and one that had not been there.
            assert!(epoch(&mut join, &[], &[["p2", "600", "owner"], ["p1", "0", "first"]], 0, false).0.is_empty());
            assert_eq!(epoch(&mut join, &[], &[], 30, true).0, ["a first"]);
            assert_eq!(epoch(&mut join, &[], &[], 70, true).0, ["b null"]);
        }
    }

    #[test]
    fn nothing_waits_where_no_clock_runs() {
        let mut join = LookupJoin::new(owners(60)).unwrap();
        assert_eq!(epoch(&mut join, &[["p1", "500", "a"]], &[], i64::MAX, true).0, ["a null"]);
    }
}
