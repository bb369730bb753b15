//! Joins of tables against the model, after every epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::model::{Case, Contents, ModelRow, Shown, any_case, any_changes, context, fold, shown, table};
use super::{FullJoin, JoinKind, TableJoin, TableJoinSpec};
use crate::operators::{Operator, OperatorError};
use crate::stream::ChangeBatch;

type Epochs = Vec<(Vec<(ModelRow, i64)>, Vec<(ModelRow, i64)>)>;

fn any_run() -> impl Strategy<Value = (Case, Epochs)> {
    any_case().prop_flat_map(|case| (Just(case), prop::collection::vec((any_changes(case), any_changes(case)), 1..10)))
}

/// Runs an epoch and adds its output to `content`, checking that only net differences left.
fn step(
    join: &mut dyn Operator,
    inputs: [ChangeBatch; 2],
    content: &mut BTreeMap<Shown, i64>,
) -> Result<(), TestCaseError> {
    let output = join.process(&inputs, &context()).unwrap().changes;
    let mut signs = BTreeMap::new();
    for (row, weight) in shown(&output.rows).into_iter().zip(output.weights.iter()) {
        prop_assert_ne!(*weight, 0);
        let sign = signs.entry(row.clone()).or_insert(weight.signum());
        prop_assert_eq!(*sign, weight.signum(), "{:?} appears and disappears at once", row);
        *content.entry(row).or_insert(0) += weight;
    }
    content.retain(|_, w| *w != 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn after_every_epoch_the_output_is_the_join_of_the_contents((case, epochs) in any_run()) {
        let mut join = TableJoin::new(case.spec()).unwrap();
        let (mut left, mut right, mut content) = (Contents::new(), Contents::new(), BTreeMap::new());
        for (mut left_changes, right_changes) in epochs {
            left_changes.iter_mut().for_each(|(row, _)| row.text = None); // the left side has no text
            fold(&mut left, &left_changes);
            fold(&mut right, &right_changes);
            let inputs = [
                table(&left_changes, |rows| case.left_batch(rows)),
                table(&right_changes, |rows| case.right_batch(rows)),
            ];
            step(&mut join, inputs, &mut content)?;
            prop_assert_eq!(&content, &case.join(&left, &right));
        }
        // Everything taken back leaves nothing, neither in the output nor in the state.
        let back = |contents: &Contents| contents.iter().map(|(r, w)| (r.clone(), -w)).collect::<Vec<_>>();
        let inputs = [
            table(&back(&left), |rows| case.left_batch(rows)),
            table(&back(&right), |rows| case.right_batch(rows)),
        ];
        step(&mut join, inputs, &mut content)?;
        prop_assert!(content.is_empty());
        prop_assert_eq!(join.state_size().rows, 0);
        prop_assert_eq!(join.keys.len(), usize::from(case.null_aware));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_full_join_keeps_the_rows_of_both_sides((case, epochs) in any_run()) {
        let case = Case { kind: JoinKind::Full, as_of: false, null_aware: false, ..case };
        let mut join = FullJoin::new(case.spec()).unwrap();
        let (mut left, mut right, mut content) = (Contents::new(), Contents::new(), BTreeMap::new());
        let tables = |l: &[(ModelRow, i64)], r: &[(ModelRow, i64)]| {
            [table(l, |rows| case.left_batch(rows)), table(r, |rows| case.right_batch(rows))]
        };
        for (mut left_changes, mut right_changes) in epochs {
            left_changes.iter_mut().chain(&mut right_changes).for_each(|(row, _)| row.time = None);
            left_changes.iter_mut().for_each(|(row, _)| row.text = None); // the left side has no text
            fold(&mut left, &left_changes);
            fold(&mut right, &right_changes);
            step(&mut join, tables(&left_changes, &right_changes), &mut content)?;
            prop_assert_eq!(&content, &case.join(&left, &right));
        }
        let back = |contents: &Contents| contents.iter().map(|(r, w)| (r.clone(), -w)).collect::<Vec<_>>();
        step(&mut join, tables(&back(&left), &back(&right)), &mut content)?;
        prop_assert!(content.is_empty());
        prop_assert_eq!(join.state_size().rows, 0);
    }
}

fn case(kind: JoinKind, n_keys: usize) -> Case {
    Case { kind, n_keys, as_of: false, filtered: false, null_equals_null: false, null_aware: false }
}

fn row(key: Option<i64>, time: Option<i64>, value: i64, text: &str) -> ModelRow {
    ModelRow { keys: vec![key], time, value: Some(value), text: Some(text.to_owned()) }
}

fn run(join: &mut TableJoin, case: &Case, left: &[(ModelRow, i64)], right: &[(ModelRow, i64)]) -> Vec<String> {
    let inputs = [table(left, |r| case.left_batch(r)), table(right, |r| case.right_batch(r))];
    let output = join.process(&inputs, &context()).unwrap().changes;
    let mut lines: Vec<String> =
        shown(&output.rows).iter().zip(output.weights.iter()).map(|(r, w)| format!("{w:+} {}", r.join(" "))).collect();
    lines.sort();
    lines
}

#[test]
fn a_version_in_between_touches_only_rows_from_its_start_to_the_next() {
    let case = Case { as_of: true, ..case(JoinKind::Left, 1) };
    let mut join = TableJoin::new(case.spec()).unwrap();
    let left: Vec<_> = [1, 5, 9].into_iter().map(|t| (row(Some(7), Some(t), t, ""), 1)).collect();
    let right = [(row(Some(7), Some(0), 0, "old"), 1), (row(Some(7), Some(8), 0, "new"), 1)];
    assert_eq!(run(&mut join, &case, &left, &right), ["+1 7 1 0 old", "+1 7 5 0 old", "+1 7 9 0 new"]);
    let between = (row(Some(7), Some(4), 0, "between"), 1);
    assert_eq!(run(&mut join, &case, &[], &[between]), ["+1 7 5 0 between", "-1 7 5 0 old"]);
    let gone = (row(Some(7), Some(0), 0, "old"), -1);
    assert_eq!(run(&mut join, &case, &[], &[gone]), ["+1 7 1 null null", "-1 7 1 0 old"]);
}

#[test]
fn a_null_on_the_right_side_empties_not_in() {
    let case = Case { null_aware: true, ..case(JoinKind::LeftAnti, 1) };
    let mut join = TableJoin::new(case.spec()).unwrap();
    let left = [(row(Some(1), None, 1, ""), 1), (row(Some(2), None, 2, ""), 1), (row(None, None, 3, ""), 1)];
    assert_eq!(run(&mut join, &case, &left, &[]), ["+1 1 1", "+1 2 2", "+1 null 3"]);
    let one = (row(Some(1), None, 0, ""), 1);
    assert_eq!(run(&mut join, &case, &[], &[one]), ["-1 1 1", "-1 null 3"]);
    let null = row(None, None, 0, "");
    assert_eq!(run(&mut join, &case, &[], &[(null.clone(), 1)]), ["-1 2 2"]);
    assert_eq!(run(&mut join, &case, &[], &[(null, -1)]), ["+1 2 2"]);
}

#[test]
fn a_changed_right_row_replaces_its_pairs_and_an_equal_one_changes_nothing() {
    let case = case(JoinKind::Inner, 1);
    let mut join = TableJoin::new(case.spec()).unwrap();
    let (a, b) = (row(Some(1), None, 0, "a"), row(Some(1), None, 0, "b"));
    assert_eq!(run(&mut join, &case, &[(row(Some(1), None, 5, ""), 1)], &[(a.clone(), 1)]), ["+1 1 5 0 a"]);
    assert_eq!(run(&mut join, &case, &[], &[(a, -1), (b.clone(), 1)]), ["+1 1 5 0 b", "-1 1 5 0 a"]);
    assert!(run(&mut join, &case, &[], &[(b.clone(), -1), (b, 1)]).is_empty());
}

#[test]
fn a_join_without_columns_still_counts_rows() {
    let empty = Arc::new(Schema::empty());
    let keys = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
    let spec =
        TableJoinSpec { left: empty.clone(), right: empty.clone(), schema: empty, ..case(JoinKind::Inner, 1).spec() };
    let mut join = TableJoin::new(spec).unwrap();
    let side = |keys_of: Vec<i64>| {
        let weights = vec![1; keys_of.len()];
        let column: ArrayRef = Arc::new(Int64Array::from(keys_of));
        ChangeBatch::table(RecordBatch::try_new(keys.clone(), vec![column]).unwrap(), weights)
    };
    let output = join.process(&[side(vec![1, 1, 2]), side(vec![1])], &context()).unwrap().changes;
    assert_eq!((output.rows.num_rows(), output.weights.iter().sum::<i64>()), (2, 2));
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let not_in = Case { null_aware: true, ..case(JoinKind::LeftAnti, 2) };
    assert!(matches!(TableJoin::new(not_in.spec()), Err(OperatorError::Function(_))));
    let as_of = Case { as_of: true, ..case(JoinKind::Inner, 0) };
    let mut join = TableJoin::new(as_of.spec()).unwrap();
    let no_time = case(JoinKind::Inner, 0);
    let inputs = [table(&[], |r| no_time.left_batch(r)), table(&[], |r| no_time.right_batch(r))];
    assert!(matches!(join.process(&inputs, &context()), Err(OperatorError::Function(_))));
}

// === speed ===

const N_ROWS: usize = 1_000_000;
const N_KEYS: usize = 100_000;
const BATCH: usize = 100_000;

/// The processor time of this thread in seconds: unlike the clock's, it does not depend on what else runs.
fn cpu_seconds() -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    spent.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn captures(from: usize, weight: i64, as_of: bool) -> ChangeBatch {
    let key = |i: usize| format!("{:06}", (i * 7919) % N_KEYS);
    let plates: ArrayRef = Arc::new(StringArray::from_iter_values((from..from + BATCH).map(key)));
    let times: ArrayRef =
        Arc::new(TimestampMillisecondArray::from_iter_values((from..from + BATCH).map(|i| i as i64 * 1000)));
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values((from..from + BATCH).map(|i| format!("c{i:09}"))));
    let mut columns = vec![("key", plates.clone())];
    columns.extend(as_of.then(|| ("time", times.clone())));
    columns.extend([("capture_id", ids), ("plate", plates), ("captured_at", times)]);
    ChangeBatch::table(RecordBatch::try_from_iter(columns).unwrap(), vec![weight; BATCH])
}

fn identities(generation: usize, weight: i64, as_of: bool) -> ChangeBatch {
    let plates: ArrayRef = Arc::new(StringArray::from_iter_values((0..N_KEYS).map(|i| format!("{i:06}"))));
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values((0..N_KEYS).map(|_| 0)));
    let persons: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..N_KEYS).map(|i| format!("p{:06}-{generation}", i / 2))));
    let mut columns = vec![("key", plates)];
    columns.extend(as_of.then_some(("time", times)));
    columns.push(("person_id", persons));
    ChangeBatch::table(RecordBatch::try_from_iter(columns).unwrap(), vec![weight; N_KEYS])
}

/// Some versions that hold for everybody.
fn policies(generation: i64, weight: i64) -> ChangeBatch {
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values((0..10).map(|i| i * 100_000_000)));
    let visits: ArrayRef = Arc::new(Int64Array::from_iter_values((0..10).map(|i| i + generation)));
    ChangeBatch::table(RecordBatch::try_from_iter([("time", times), ("visit_from", visits)]).unwrap(), vec![weight; 10])
}

fn measured(kind: JoinKind, n_keys: usize, as_of: bool) {
    let n_before = n_keys + usize::from(as_of);
    let own = |b: &ChangeBatch| b.rows.schema().fields()[n_before..].to_vec();
    let all_left = |from, weight| {
        let mut batch = captures(from, weight, as_of);
        let columns: Vec<usize> = (1 - n_keys..batch.rows.num_columns()).collect();
        batch.rows = batch.rows.project(&columns).unwrap();
        batch
    };
    let all_right = |generation: usize, weight| match n_keys {
        0 => policies(generation as i64, weight),
        _ => identities(generation, weight, as_of),
    };
    let (left, right) = (own(&all_left(0, 1)), own(&all_right(0, 1)));
    let nullable = right.iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true)));
    let output = left.iter().cloned().chain(nullable.filter(|_| kind != JoinKind::LeftAnti));
    let spec = TableJoinSpec {
        as_of,
        schema: Arc::new(Schema::new(output.collect::<Vec<_>>())),
        left: Arc::new(Schema::new(left)),
        right: Arc::new(Schema::new(right)),
        keys: vec![DataType::Utf8; n_keys],
        ..case(kind, n_keys).spec()
    };
    let mut join = TableJoin::new(spec).unwrap();
    let none = [ChangeBatch::empty(all_left(0, 1).rows.schema()), ChangeBatch::empty(all_right(0, 1).rows.schema())];
    join.process(&[none[0].clone(), all_right(0, 1)], &context()).unwrap();
    let before = join.state_size().bytes;
    let mut measure = |what: &str, n_rows: usize, inputs: Vec<[ChangeBatch; 2]>| {
        let start = cpu_seconds();
        let mut n_out = 0;
        for input in &inputs {
            n_out += join.process(input, &context()).unwrap().changes.len();
        }
        let rate = n_rows as f64 / (cpu_seconds() - start) / 1e6;
        let bytes = (join.state_size().bytes.saturating_sub(before)) as f64 / N_ROWS as f64;
        println!(
            "{kind:?}, {n_keys} keys, as_of={as_of}, {what}: {rate:.2} M rows/s, {n_out} out, {bytes:.0} B/left row"
        );
    };
    let batches = |weight| (0..N_ROWS).step_by(BATCH).map(move |from| all_left(from, weight));
    measure("insert", N_ROWS, batches(1).map(|b| [b, none[1].clone()]).collect());
    let update = ChangeBatch::concat(&none[1].rows.schema(), &[all_right(0, -1), all_right(100, 1)]).unwrap();
    measure("left rows at a change of every right row", N_ROWS, vec![[none[0].clone(), update]]);
    let first = all_left(0, 1);
    let one = |i: usize| [first.take(&vec![i as u32].into()).unwrap(), none[1].clone()];
    measure("one row an epoch", 10_000, (0..10_000).map(one).collect());
    measure("delete", N_ROWS, batches(-1).map(|b| [b, none[1].clone()]).collect());
}

#[test]
#[ignore = "measures speed; run alone with --nocapture"]
fn speed_of_a_million_rows() {
    measured(JoinKind::Inner, 1, false);
    measured(JoinKind::LeftAnti, 1, false);
    measured(JoinKind::Left, 1, true);
    measured(JoinKind::Left, 0, true);
}
