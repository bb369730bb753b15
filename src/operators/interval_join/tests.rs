//! Joins of streams against a naive model, in any epochs and after any crash.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use proptest::prelude::*;

use super::*;
use crate::operators::rewritten_log::RewrittenLog;
use crate::operators::script::columns;
use crate::stream::Order;

/// A row of either side: key, event time, value.
type Row = (Option<u8>, Option<i64>, i64);

/// What an output row says: left time and value, right time and value, mark.
type Seen = (Option<(Option<i64>, i64)>, Option<(Option<i64>, i64)>, Option<bool>);

/// Right rows match from `before` earlier to `after` later than left rows.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: IntervalKind,
    keyed: bool,
    filtered: bool,
    null_equals_null: bool,
    before: i64,
    after: i64,
    lateness: i64,
}

impl Case {
    fn n_keys(self) -> usize {
        usize::from(self.keyed)
    }

    fn spec(self) -> IntervalJoinSpec {
        let key = if self.keyed { "key text, " } else { "" };
        let input = columns(&format!("{key}time timestamp, until timestamp, from timestamp, at timestamp, n int"));
        let side = |until: i64, from: i64| IntervalSide {
            input: input.clone(),
            time_offset_ms: 0,
            until_offsets_ms: vec![until],
            from_offsets_ms: vec![from],
            event_times: vec![(0, 0)],
        };
        let filter: Predicate = Arc::new(|rows| {
            let (l, r) = (rows.column(1).as_primitive::<Int64Type>(), rows.column(3).as_primitive::<Int64Type>());
            Ok(l.iter().zip(r).map(|(l, r)| Some((l? + r?) % 3 != 0)).collect::<BooleanArray>())
        });
        let schema = match self.kind {
            IntervalKind::Semi | IntervalKind::Anti => columns("at timestamp, n int"),
            IntervalKind::Mark => columns("at timestamp, n int, mark bool"),
            _ => columns("at timestamp, n int, rat timestamp, rn int"),
        };
        IntervalJoinSpec {
            kind: self.kind,
            n_keys: self.n_keys(),
            null_equals_null: self.null_equals_null,
            filter: self.filtered.then_some(filter),
            sides: [side(self.after, -self.before), side(self.before, -self.after)],
            allowed_lateness_ms: self.lateness,
            schema,
        }
    }

    fn batch(self, rows: &[Row], first: u64) -> ChangeBatch {
        let schema = self.spec().sides[0].input.clone();
        let at = || -> ArrayRef {
            let times: TimestampMillisecondArray = rows.iter().map(|r| r.1).collect();
            Arc::new(times.with_timezone("Asia/Shanghai"))
        };
        let mut arrays: Vec<ArrayRef> = Vec::new();
        if self.keyed {
            arrays.push(Arc::new(rows.iter().map(|r| r.0.map(|k| format!("k{k}"))).collect::<StringArray>()));
        }
        arrays.extend([at(), at(), at(), at()]);
        arrays.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))));
        let arrays = arrays.iter().zip(schema.fields()).map(|(a, f)| arrow::compute::cast(a, f.data_type()).unwrap());
        let batch = RecordBatch::try_new(schema.clone(), arrays.collect()).unwrap();
        ChangeBatch::stream(batch, (first..first + rows.len() as u64).collect())
    }

    fn matches(self, l: &Row, r: &Row) -> bool {
        let keys = !self.keyed || (l.0 == r.0 && (l.0.is_some() || self.null_equals_null));
        let (Some(at), Some(rat)) = (l.1, r.1) else { return false };
        keys && (at - self.before..=at + self.after).contains(&rat) && (!self.filtered || (l.2 + r.2) % 3 != 0)
    }

    /// All output rows, by brute force.
    fn expected(self, left: &[Row], right: &[Row]) -> Vec<Seen> {
        let mut all: Vec<Seen> = Vec::new();
        let own = |r: &Row| (r.1, r.2);
        for l in left {
            let matching: Vec<&Row> = right.iter().filter(|r| self.matches(l, r)).collect();
            match self.kind {
                IntervalKind::Semi if !matching.is_empty() => all.push((Some(own(l)), None, None)),
                IntervalKind::Anti if matching.is_empty() => all.push((Some(own(l)), None, None)),
                IntervalKind::Mark => all.push((Some(own(l)), None, Some(!matching.is_empty()))),
                IntervalKind::Semi | IntervalKind::Anti => {}
                IntervalKind::Left | IntervalKind::Full if matching.is_empty() => all.push((Some(own(l)), None, None)),
                _ => all.extend(matching.iter().map(|r| (Some(own(l)), Some(own(r)), None))),
            }
        }
        if self.kind == IntervalKind::Full {
            let lonely = right.iter().filter(|r| left.iter().all(|l| !self.matches(l, r)));
            all.extend(lonely.map(|r| (None, Some(own(r)), None)));
        }
        all.sort();
        all
    }

    fn seen(self, changes: &ChangeBatch) -> Vec<Seen> {
        let rows = &changes.rows;
        let side = |first: usize, row: usize| -> Option<(Option<i64>, i64)> {
            let at = rows.column(first).as_primitive::<TimestampMillisecondType>();
            let n = rows.column(first + 1).as_primitive::<Int64Type>();
            n.is_valid(row).then(|| (at.is_valid(row).then(|| at.value(row)), n.value(row)))
        };
        let of_row = |row: usize| match self.kind {
            IntervalKind::Semi | IntervalKind::Anti => (side(0, row), None, None),
            IntervalKind::Mark => (side(0, row), None, Some(rows.column(2).as_boolean().value(row))),
            _ => (side(0, row), side(2, row), None),
        };
        (0..changes.len()).map(of_row).collect()
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    use IntervalKind::{Anti, Full, Inner, Left, Mark, Semi};
    let kind = prop::sample::select(vec![Inner, Left, Full, Semi, Anti, Mark]);
    (kind, any::<bool>(), any::<bool>(), any::<bool>(), -10i64..30, 0i64..30, 0i64..10).prop_map(
        |(kind, keyed, filtered, null_equals_null, before, width, lateness)| Case {
            kind,
            keyed,
            filtered,
            null_equals_null,
            before,
            after: width - before,
            lateness,
        },
    )
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let key = prop::option::weighted(0.9, 0u8..3);
    prop::collection::vec((key, prop::option::weighted(0.95, 0i64..25), 0i64..6), 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Rows come out of order, but not before the watermark; each side's moves on its own.
    #[test]
    fn all_pairs_and_all_lonely_rows_leave_once(
        case in any_case(),
        epochs in prop::collection::vec((any_rows(), any_rows(), 0i64..25, 0i64..25, prop::option::weighted(0.2, Just(()))), 1..12),
        slots in 0usize..5,
        max in prop::sample::select(vec![1, 3, usize::MAX]),
    ) {
        let mut join = IntervalJoin::new(case.spec()).unwrap();
        let mut log = RewrittenLog::new(slots);
        let (mut before, mut sequence) = ([0i64; 2], 0);
        let (mut all, mut got, mut names) = ([Vec::new(), Vec::new()], Vec::new(), BTreeSet::new());
        let mut promised = Watermark::MIN;
        let n_epochs = epochs.len();
        // At the end of input all that waits leaves, however few rows an epoch may hand on.
        let last = (0..400).map(|_| (Vec::new(), Vec::new(), 0, 0, None));
        for (number, (left, right, left_step, right_step, crash)) in epochs.into_iter().chain(last).enumerate() {
            if crash.is_some() {
                join = IntervalJoin::new(case.spec()).unwrap();
                log.restore(&mut join);
            }
            // Times count from the watermark less what may still come.
            let shift = |rows: Vec<Row>, side: usize| -> Vec<Row> {
                rows.into_iter().map(|(k, at, n)| (k, at.map(|at| before[side] - case.lateness + at), n)).collect()
            };
            let (left, right) = (shift(left, 0), shift(right, 1));
            let after = if number < n_epochs { [before[0] + left_step, before[1] + right_step] } else { [i64::MAX; 2] };
            let mut ctx = EpochContext::new(before.map(Watermark).to_vec(), after.map(Watermark).to_vec(), true);
            ctx.hand_over_max = max;
            let inputs = [case.batch(&left, sequence), case.batch(&right, sequence + 100)];
            if number > n_epochs && !join.is_due(&ctx) {
                break;
            }
            let output = join.process(&inputs, &ctx).unwrap();
            prop_assert!(output.late.is_empty());
            for row in case.seen(&output.changes) {
                let times = [row.0, row.1].into_iter().flatten().filter_map(|(at, _)| at);
                for at in times {
                    prop_assert!(at >= promised.0, "{row:?} leaves, but {promised:?} was promised");
                }
                got.push(row);
            }
            if let Order::Key(keys) = &output.changes.order {
                for key in keys.iter().flatten() {
                    names.insert((number, key.to_vec()));
                }
            }
            all[0].extend(left);
            all[1].extend(right);
            let reached = join.watermark(&ctx);
            prop_assert!(reached >= promised, "{reached:?} after {promised:?}");
            promised = reached;
            log.append(&mut join);
            prop_assert!(join.take_delta().unwrap().is_none());
            before = after;
            sequence += 200;
        }
        got.sort();
        prop_assert_eq!(got, case.expected(&all[0], &all[1]));
        let distinct: BTreeSet<&Vec<u8>> = names.iter().map(|(_, key)| key).collect();
        prop_assert_eq!(distinct.len(), names.len(), "a name was used in two epochs");
        prop_assert_eq!(join.state_size().rows, 0);
        prop_assert!(join.keys.is_empty(), "a key outlived its rows");
        prop_assert_eq!(promised, Watermark::MAX);
    }
}

const INNER: Case = Case {
    kind: IntervalKind::Inner,
    keyed: true,
    filtered: false,
    null_equals_null: false,
    before: 10,
    after: 5,
    lateness: 0,
};

fn process(join: &mut IntervalJoin, left: &[Row], right: &[Row], before: [i64; 2], after: [i64; 2]) -> Output {
    let ctx = EpochContext::new(before.map(Watermark).to_vec(), after.map(Watermark).to_vec(), true);
    join.process(&[INNER.batch(left, 0), INNER.batch(right, 100)], &ctx).unwrap()
}

#[test]
fn a_row_is_free_when_the_other_sides_watermark_is_past_its_bound() {
    let mut join = IntervalJoin::new(INNER.spec()).unwrap();
    process(&mut join, &[(Some(1), Some(100), 0)], &[(Some(2), Some(100), 0)], [0, 0], [0, 105]);
    assert_eq!(join.state_size().rows, 2, "a right row of 105 still matches the left one");
    assert_eq!(join.next_timer(), Some(106));
    process(&mut join, &[], &[], [0, 105], [0, 106]);
    assert_eq!(join.state_size().rows, 1);
    process(&mut join, &[], &[], [0, 106], [110, 106]);
    assert_eq!(join.state_size().rows, 1, "a left row of 110 still matches the right one");
    process(&mut join, &[], &[], [110, 106], [111, 106]);
    assert_eq!(join.state_size().rows, 0);
    assert!(join.keys.is_empty());
}

#[test]
fn late_rows_are_refused_with_their_numbers() {
    let mut join = IntervalJoin::new(INNER.spec()).unwrap();
    let rows = [(Some(1), Some(49), 0), (Some(1), Some(50), 1), (Some(1), None, 2)];
    let output = process(&mut join, &rows, &[(Some(1), Some(45), 3), (Some(1), Some(20), 4)], [50, 30], [50, 30]);
    assert_eq!(output.late, [0, 101]);
    assert_eq!(INNER.seen(&output.changes), [(Some((Some(50), 1)), Some((Some(45), 3)), None)]);
}

/// An hour an epoch, ten keys, bounds of some hours.
#[test]
fn a_simulated_year_leaves_nothing_behind() {
    const HOUR_MS: i64 = 3_600_000;
    let case = Case { kind: IntervalKind::Full, before: 2 * HOUR_MS, after: 5 * HOUR_MS, ..INNER };
    let mut join = IntervalJoin::new(case.spec()).unwrap();
    let (mut early, mut late) = (StateSize::default(), StateSize::default());
    for hour in 0..365 * 24 {
        let row = |n: i64| (Some(((hour * 7 + n) % 10) as u8), Some(hour * HOUR_MS + n * 60_000), n);
        let (left, right) = ((0..4).map(row).collect::<Vec<Row>>(), (2..5).map(row).collect::<Vec<Row>>());
        let ctx = EpochContext::new(vec![Watermark((hour - 1) * HOUR_MS); 2], vec![Watermark(hour * HOUR_MS); 2], true);
        join.process(&[case.batch(&left, 0), case.batch(&right, 10)], &ctx).unwrap();
        join.take_delta().unwrap();
        let size = join.state_size();
        let most = if hour < 365 * 12 { &mut early } else { &mut late };
        *most = StateSize { rows: most.rows.max(size.rows), bytes: most.bytes.max(size.bytes) };
    }
    assert!(early.rows > 20 && late.rows <= early.rows, "{early:?} {late:?}");
    // Chunks of a megabyte that are used in turn.
    assert!(late.bytes <= 4 << 20, "{early:?} {late:?}");
    assert!(join.sides.iter().all(|rows| rows.n_slots() <= 60), "slots are used again");
}

#[test]
#[ignore = "measures"]
fn speed_of_two_million_rows_in_batches_of_10_000() {
    let case = Case { kind: IntervalKind::Left, filtered: true, before: 100, after: 300, ..INNER };
    let mut join = IntervalJoin::new(case.spec()).unwrap();
    let batches: Vec<_> = (0..100i64)
        .map(|epoch| {
            let row = |n: i64| (Some(((n * 7919) % 251) as u8), Some(epoch * 10_000 + n), n);
            let rows = (0..10_000).map(row).collect::<Vec<Row>>();
            (case.batch(&rows, 0), case.batch(&rows, 10_000))
        })
        .collect();
    let (started, mut n_rows) = (std::time::Instant::now(), 0);
    for (epoch, (left, right)) in batches.into_iter().enumerate() {
        let after = Watermark(epoch as i64 * 10_000);
        let ctx = EpochContext::new(vec![Watermark(after.0 - 10_000); 2], vec![after; 2], true);
        n_rows += join.process(&[left, right], &ctx).unwrap().changes.len();
        join.take_delta().unwrap();
    }
    let rate = 2.0 / started.elapsed().as_secs_f64();
    println!("{rate:.2} M rows/s in, {n_rows} out, {:?}", join.state_size());
}

#[test]
fn a_delta_of_another_operator_is_refused() {
    let mut join = IntervalJoin::new(INNER.spec()).unwrap();
    let foreign = RecordBatch::new_empty(columns("key text"));
    assert!(matches!(join.restore(&foreign), Err(OperatorError::State(_))));
}
