//! CHANGES against a naive model, crashes among the epochs.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::{Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::operators::rewritten_log::RewrittenLog;
use crate::operators::zset_model::{cpu_seconds, epoch, lines};
use crate::operators::{Upsert, UpsertSpec};
use crate::stream::Order;

/// A table of a number and a text key, the key last.
fn table_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true), Field::new("k", DataType::Utf8, false)]))
}

fn key_text() -> KeyText {
    Arc::new(|keys| Ok(keys[0].as_string::<i32>().iter().map(|k| k.map(str::as_bytes)).collect()))
}

fn changes() -> Box<dyn Operator> {
    let row = DataType::Struct(table_schema().fields().clone());
    let schema = Arc::new(Schema::new(vec![
        Field::new("before", row.clone(), true),
        Field::new("after", row, true),
        Field::new("revision", DataType::Int64, false),
    ]));
    Box::new(
        Changes::new(ChangesSpec {
            key: vec![1],
            key_text: key_text(),
            input: table_schema(),
            schema,
            settle_ms: 0,
            gone_until: None,
        })
        .unwrap(),
    )
}

fn upsert() -> Box<dyn Operator> {
    Box::new(
        Upsert::new(UpsertSpec {
            key: vec![1],
            key_text: key_text(),
            schema: table_schema(),
            settle_ms: 0,
            gone_until: None,
        })
        .unwrap(),
    )
}

/// A row (key and value) with its weight.
type Change = (u8, Option<i64>, i64);

fn batch(changes: &[Change]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(changes.iter().map(|(_, v, _)| *v).collect::<Int64Array>()),
        Arc::new(changes.iter().map(|(k, _, _)| Some(format!("k{k}"))).collect::<StringArray>()),
    ];
    let rows = RecordBatch::try_new(table_schema(), columns).unwrap();
    ChangeBatch::table(rows, changes.iter().map(|(_, _, w)| *w).collect())
}

/// The rows of a table under each key, and what was handed on of them.
#[derive(Default)]
struct Model {
    content: BTreeMap<u8, BTreeMap<Option<i64>, i64>>,
    last: BTreeMap<u8, (Option<Option<i64>>, i64)>,
}

type Step = (u8, Option<Option<i64>>, Option<Option<i64>>, i64);

impl Model {
    fn add(&mut self, changes: &[Change]) {
        for (key, value, weight) in changes {
            *self.content.entry(*key).or_default().entry(*value).or_default() += weight;
        }
    }

    /// Before, after and revision of each key that differs, by key.
    fn hand_on(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (key, rows) in &self.content {
            let visible = rows.iter().rfind(|(_, w)| **w > 0).map(|(v, _)| *v);
            let (last, revision) = self.last.entry(*key).or_default();
            if *last != visible {
                *revision += 1;
                steps.push((*key, *last, visible, *revision));
                *last = visible;
            }
        }
        steps
    }

    /// Takes the rows of a key out, and returns their disappearance. A key without rows is not forgotten.
    fn forget(&mut self, key: u8) -> Vec<Change> {
        let gone: Vec<Change> =
            self.rows().into_iter().filter(|(k, _, _)| *k == key).map(|(k, v, w)| (k, v, -w)).collect();
        if !gone.is_empty() {
            self.content.remove(&key);
            self.last.remove(&key);
        }
        gone
    }

    fn n_double(&self) -> u64 {
        let n_rows = |rows: &BTreeMap<_, i64>| rows.values().filter(|w| **w > 0).sum::<i64>();
        self.content.values().filter(|rows| n_rows(rows) > 1).count() as u64
    }

    /// All rows, each with its weight.
    fn rows(&self) -> Vec<Change> {
        let rows = self.content.iter().flat_map(|(k, rows)| rows.iter().map(|(v, w)| (*k, *v, *w)));
        rows.filter(|(_, _, w)| *w != 0).collect()
    }
}

fn expected_order(steps: &[Step]) -> Order {
    let bytes = |(key, _, _, revision): &Step| [format!("k{key}\0").as_bytes(), &revision.to_be_bytes()].concat();
    Order::Key(steps.iter().map(|s| Some(bytes(s))).collect())
}

fn changes_lines(steps: &[Step]) -> Vec<String> {
    let row = |key: &u8, value: &Option<Option<i64>>| match value {
        Some(v) => format!("{{v: {}, k: k{key}}}", v.map_or("null".into(), |v| v.to_string())),
        None => "null".into(),
    };
    steps
        .iter()
        .map(|(k, before, after, revision)| format!("{}|{}|{revision}", row(k, before), row(k, after)))
        .collect()
}

fn upsert_lines(steps: &[Step]) -> Vec<String> {
    let text = |v: Option<i64>| v.map_or("null".into(), |v| v.to_string());
    steps.iter().map(|(k, before, after, _)| format!("{}|k{k}", text(after.or(*before).flatten()))).collect()
}

fn restarted(make: fn() -> Box<dyn Operator>, log: &mut RewrittenLog, model: &Model) -> Box<dyn Operator> {
    let mut operator = make();
    log.restore(operator.as_mut());
    for part in model.rows().chunks(3) {
        let output = operator.process(&[batch(part)], &epoch(0, 0, false)).unwrap();
        assert!(output.changes.is_empty(), "nothing leaves before all is loaded");
    }
    operator
}

#[derive(Clone, Debug)]
struct Epoch {
    changes: Vec<Change>,
    /// Keys that are forgotten at its end.
    forgotten: Vec<u8>,
    /// What changes before the next epoch while the operator is down; none = it stays up.
    crash: Option<Vec<Change>>,
}

fn change() -> impl Strategy<Value = Change> {
    (0u8..4, prop::option::of(0i64..3), prop_oneof![3 => Just(1i64), 2 => Just(-1i64), 1 => -2i64..=2])
        .prop_map(|(k, v, w)| (k, v, if w == 0 { 1 } else { w }))
}

fn epochs() -> impl Strategy<Value = (Vec<Epoch>, usize, usize)> {
    let changes = || prop::collection::vec(change(), 0..8);
    let crash = prop::option::weighted(0.3, prop_oneof![2 => Just(Vec::new()), 1 => changes()]);
    let forgotten = prop::collection::vec(0u8..4, 0..2);
    let epoch = (changes(), forgotten, crash);
    let epoch = epoch.prop_map(|(changes, forgotten, crash)| Epoch { changes, forgotten, crash });
    (prop::collection::vec(epoch, 1..14), 0usize..4, 0usize..4)
}

/// Runs epochs, of which those from `loaded_from` are loaded, and compares with the model after each.
fn check(
    make: fn() -> Box<dyn Operator>,
    to_lines: fn(&[Step]) -> Vec<String>,
    epochs: &[Epoch],
    loaded_from: usize,
    slots: usize,
) {
    let (mut operator, mut model, mut log) = (make(), Model::default(), RewrittenLog::new(slots));
    for (idx, Epoch { changes, forgotten, crash }) in epochs.iter().enumerate() {
        let loaded = idx >= loaded_from;
        model.add(changes);
        let output = operator.process(&[batch(changes)], &epoch(0, 0, loaded)).unwrap();
        let steps = if loaded { model.hand_on() } else { Vec::new() };
        assert_eq!(lines(&output.changes.rows), to_lines(&steps));
        if !steps.is_empty() {
            assert_eq!(output.changes.order, expected_order(&steps));
        }
        if loaded {
            assert_eq!(operator.double_keys(), model.n_double());
        }
        let forgets = loaded && operator.n_waiting() == 0;
        for key in forgotten.iter().filter(|_| forgets) {
            let gone: Vec<Change> = model.forget(*key);
            assert!(operator.forget(&[batch(&gone)], &epoch(0, 0, true)).unwrap().is_empty());
        }
        log.append(operator.as_mut());
        if let Some(missed) = crash {
            model.add(missed);
            operator = restarted(make, &mut log, &model);
        }
    }
}

proptest! {
    #[test]
    fn changes_hands_on_net_differences_in_any_epochs_and_after_any_crash((epochs, loaded_from, slots) in epochs()) {
        check(changes, changes_lines, &epochs, loaded_from, slots);
    }

    #[test]
    fn upsert_writes_net_differences_in_any_epochs_and_after_any_crash((epochs, loaded_from, slots) in epochs()) {
        check(upsert, upsert_lines, &epochs, loaded_from, slots);
    }
}

/// What a person or a limit does to an epoch.
#[derive(Clone, Copy, Debug)]
enum Hand {
    /// At most so many rows leave; 0 = paused.
    Max(usize),
    /// What left is taken back.
    TakeBack,
}

fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![3 => (0usize..4).prop_map(Hand::Max), 1 => Just(Hand::TakeBack), 2 => Just(Hand::Max(usize::MAX))]
}

/// Writes what leaves, as `key -> value`, and checks that revisions have no gaps.
fn fold(written: &mut BTreeMap<String, (String, i64)>, output: &RecordBatch) {
    let (before, after, revision) = (output.column(0), output.column(1), output.column(2));
    let value = |side: &ArrayRef, row: usize| {
        let side = side.as_struct();
        side.is_valid(row).then(|| lines(&RecordBatch::from(side.slice(row, 1)))[0].clone())
    };
    for row in 0..output.num_rows() {
        let (before, after) = (value(before, row), value(after, row));
        let line = after.clone().or_else(|| before.clone()).unwrap();
        let key = line.rsplit('|').next().unwrap().to_owned();
        let (last, n) = written.get(&key).cloned().unwrap_or(("none".into(), 0));
        assert_eq!(before.unwrap_or("none".into()), last, "a change begins where the last one ended");
        assert_eq!(revision.as_primitive::<arrow::datatypes::Int64Type>().value(row), n + 1);
        written.insert(key, (after.unwrap_or("none".into()), n + 1));
    }
}

proptest! {
    #[test]
    fn limits_pauses_and_rows_taken_back_delay_changes_but_lose_and_double_none(
        epochs in prop::collection::vec((prop::collection::vec(change(), 0..8), hand(), any::<bool>()), 1..12),
        settle_ms in prop_oneof![Just(0i64), 1i64..4],
    ) {
        let make = || {
            let row = DataType::Struct(table_schema().fields().clone());
            let fields = [("before", row.clone()), ("after", row), ("revision", DataType::Int64)];
            let schema = Arc::new(Schema::new(fields.map(|(n, t)| Field::new(n, t, true)).to_vec()));
            let (input, key_text) = (table_schema(), key_text());
            Changes::new(ChangesSpec { key: vec![1], key_text, input, schema, settle_ms, gone_until: None }).unwrap()
        };
        let (mut operator, mut model, mut written) = (make(), Model::default(), BTreeMap::new());
        let mut deltas = Vec::new();
        for (idx, (changes, hand, crashes)) in epochs.iter().enumerate() {
            model.add(changes);
            let mut ctx = epoch(0, 0, true);
            ctx.clock_ms = idx as i64;
            let Hand::Max(max) = hand else {
                let before = (written.clone(), operator.next_hand_over());
                let output = operator.process(&[batch(changes)], &ctx).unwrap();
                operator.take_back().unwrap();
                prop_assert_eq!(operator.take_delta().unwrap(), None, "what was taken back was not handed on");
                prop_assert!(output.changes.is_empty() || operator.next_hand_over().is_some(), "{:?}", before);
                continue;
            };
            ctx.hand_over_max = *max;
            let output = operator.process(&[batch(changes)], &ctx).unwrap();
            prop_assert!(output.changes.len() <= *max);
            fold(&mut written, &output.changes.rows);
            deltas.extend(operator.take_delta().unwrap());
            if *crashes {
                operator = make();
                deltas.iter().for_each(|delta| operator.restore(delta).unwrap());
                operator.process(&[batch(&model.rows())], &epoch(0, 0, false)).unwrap();
            }
        }
        let mut ctx = epoch(0, 0, true);
        ctx.clock_ms = 1_000;
        let output = operator.process(&[batch(&[])], &ctx).unwrap();
        fold(&mut written, &output.changes.rows);
        prop_assert_eq!(operator.next_hand_over(), None, "nothing waits any more");
        let shown = |rows: &BTreeMap<Option<i64>, i64>| rows.iter().rfind(|(_, w)| **w > 0).map(|(v, _)| *v);
        for (key, rows) in &model.content {
            let value = |v: Option<i64>| format!("{}|k{key}", v.map_or("null".into(), |v| v.to_string()));
            let wanted = shown(rows).map_or("none".to_owned(), value);
            let found = written.get(&format!("k{key}")).map_or("none", |(line, _)| line);
            prop_assert_eq!(found, wanted.as_str());
        }
    }
}

#[test]
fn a_key_that_has_gone_is_forgotten_when_it_cannot_come_again() {
    let make = || {
        let gone_until: Option<BucketEdge> = Some(Arc::new(|gone_ms| gone_ms + 100));
        let schema = table_schema();
        Upsert::new(UpsertSpec { key: vec![1], key_text: key_text(), schema, settle_ms: 0, gone_until }).unwrap()
    };
    let mut operator = make();
    let mut log = RewrittenLog::new(0);
    let mut known = |operator: &mut Upsert, before: i64, after: i64, changes: &[Change]| {
        let output = operator.process(&[batch(changes)], &epoch(before, after, true)).unwrap();
        log.append(operator);
        (output.changes.len(), operator.state_size().rows)
    };
    assert_eq!(known(&mut operator, 0, 10, &[(1, Some(5), 1), (2, Some(5), 1)]), (2, 2));
    assert_eq!(known(&mut operator, 10, 20, &[(1, Some(5), -1)]), (1, 2));
    // It comes again and goes later: its time is counted from then.
    assert_eq!(known(&mut operator, 20, 50, &[(1, Some(6), 1)]), (1, 2));
    assert_eq!(known(&mut operator, 50, 60, &[(1, Some(6), -1)]), (1, 2));
    assert_eq!(known(&mut operator, 120, 150, &[]), (0, 2));
    // A restart does not know when it went.
    let mut operator = make();
    log.restore(&mut operator);
    let row = [(2, Some(5), 1)];
    operator.process(&[batch(&row)], &epoch(150, 150, false)).unwrap();
    assert_eq!(operator.process(&[batch(&[])], &epoch(150, 170, true)).unwrap().changes.len(), 0);
    assert_eq!((operator.process(&[batch(&[])], &epoch(269, 269, true)), operator.state_size().rows).1, 2);
    assert_eq!((operator.process(&[batch(&[])], &epoch(270, 270, true)), operator.state_size().rows).1, 1);
    let delta = operator.take_delta().unwrap().unwrap();
    assert!(lines(&delta)[0].contains("k1"), "the log learns of it: {delta:?}");
}

#[test]
fn a_key_that_goes_while_no_watermark_is_known_is_not_forgotten() {
    let gone_until: Option<BucketEdge> = Some(Arc::new(|gone_ms| gone_ms.max(0) + 100));
    let spec = UpsertSpec { key: vec![1], key_text: key_text(), schema: table_schema(), settle_ms: 0, gone_until };
    let mut operator = Upsert::new(spec).unwrap();
    operator.process(&[batch(&[(1, Some(5), 1)])], &epoch(i64::MIN, i64::MIN, true)).unwrap();
    operator.process(&[batch(&[(1, Some(5), -1)])], &epoch(i64::MIN, 1_000, true)).unwrap();
    operator.process(&[batch(&[])], &epoch(1_000, 2_000, true)).unwrap();
    assert_eq!(operator.state_size().rows, 1, "its revision goes on");
}

#[test]
fn a_change_that_is_undone_before_it_has_settled_never_leaves() {
    let spec =
        UpsertSpec { key: vec![1], key_text: key_text(), schema: table_schema(), settle_ms: 5_000, gone_until: None };
    let mut operator = Upsert::new(spec).unwrap();
    let mut at = |clock_ms: i64, changes: &[Change]| {
        let mut ctx = epoch(0, 0, true);
        ctx.clock_ms = clock_ms;
        let written = lines(&operator.process(&[batch(changes)], &ctx).unwrap().changes.rows);
        (written, operator.next_hand_over())
    };
    assert_eq!(at(0, &[(1, Some(5), 1), (2, Some(7), 1)]), (vec![], Some(5_000)));
    assert_eq!(at(3_000, &[(1, Some(5), -1)]), (vec![], Some(5_000)));
    assert_eq!(at(5_000, &[]), (vec!["7|k2".to_owned()], Some(8_000)));
    assert_eq!(at(8_000, &[]), (vec![], None));
}

#[test]
fn a_revision_goes_on_after_the_row_disappeared_and_after_a_crash() {
    let mut operator = changes();
    let mut log = RewrittenLog::new(0);
    let mut run = |operator: &mut Box<dyn Operator>, changes: &[Change]| {
        let output = operator.process(&[batch(changes)], &epoch(0, 0, true)).unwrap();
        log.append(operator.as_mut());
        lines(&output.changes.rows)
    };
    assert_eq!(run(&mut operator, &[(1, Some(5), 1)]), ["null|{v: 5, k: k1}|1"]);
    assert_eq!(run(&mut operator, &[(1, Some(5), -1)]), ["{v: 5, k: k1}|null|2"]);
    let mut operator = restarted(changes, &mut log, &Model::default());
    let output = operator.process(&[batch(&[(1, Some(6), 1)])], &epoch(0, 0, true)).unwrap();
    assert_eq!(lines(&output.changes.rows), ["null|{v: 6, k: k1}|3"]);
}

#[test]
fn a_key_that_turns_out_double_shows_the_greater_row_until_one_is_left() {
    let mut operator = upsert();
    let mut run = |changes: &[Change]| {
        let output = operator.process(&[batch(changes)], &epoch(0, 0, true)).unwrap();
        (lines(&output.changes.rows), operator.double_keys())
    };
    assert_eq!(run(&[(1, Some(5), 1), (1, Some(3), 1)]), (vec!["5|k1".to_owned()], 1));
    assert_eq!(run(&[(1, Some(9), 1)]), (vec!["9|k1".to_owned()], 1));
    assert_eq!(run(&[(1, Some(9), -1), (1, Some(5), -1)]), (vec!["3|k1".to_owned()], 0));
}

#[test]
fn keys_that_come_and_go_unseen_leave_nothing_behind() {
    let mut operator = upsert();
    operator.process(&[batch(&[(1, Some(5), 1), (1, Some(5), -1)])], &epoch(0, 0, true)).unwrap();
    operator.process(&[batch(&[(2, Some(5), 1)])], &epoch(0, 0, false)).unwrap();
    operator.process(&[batch(&[(2, Some(5), -1)])], &epoch(0, 0, true)).unwrap();
    assert_eq!((operator.state_size().rows, operator.take_delta().unwrap()), (0, None));
}

/// `cargo test --release --lib speed -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn speed_of_a_million_keys_in_batches_of_100_000() {
    let n = 100_000;
    let rows = |part: i64, version: i64| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values((0..n).map(|i| i * 10 + version))),
            Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("person-{:08}", part * n + i)))),
        ];
        RecordBatch::try_new(table_schema(), columns).unwrap()
    };
    let both = |part: i64| {
        let old = ChangeBatch::table(rows(part, 0), vec![-1; n as usize]);
        let new = ChangeBatch::table(rows(part, 1), vec![1; n as usize]);
        ChangeBatch::concat(&table_schema(), &[old, new]).unwrap()
    };
    let first: Vec<_> = (0..10).map(|p| ChangeBatch::table(rows(p, 0), vec![1; n as usize])).collect();
    let second: Vec<_> = (0..10).map(both).collect();
    for (operator_name, make) in [("changes", changes as fn() -> Box<dyn Operator>), ("upsert", upsert)] {
        let mut operator = make();
        for (name, batches) in [("new", &first), ("replace", &second)] {
            let start = cpu_seconds();
            let mut n_out = 0;
            for batch in batches {
                n_out += operator.process(std::slice::from_ref(batch), &epoch(0, 0, true)).unwrap().changes.len();
                operator.take_delta().unwrap();
            }
            assert_eq!(n_out, 1_000_000);
            let n_in: usize = batches.iter().map(ChangeBatch::len).sum();
            let size = operator.state_size();
            let rate = n_in as f64 / (cpu_seconds() - start) / 1e6;
            println!("{operator_name} {name}: {rate:.2} M rows in/s, {} B/key", size.bytes / size.rows);
        }
    }
}
