//! Final rows of a table against a naive model, in any epochs and after any crash.

use arrow::array::TimestampMillisecondArray;
use arrow::datatypes::TimeUnit;
use proptest::prelude::*;

use super::*;
use crate::operators::zset_model::{ZSet, add, epoch, lines};

const WIDTH_MS: i64 = 10;

/// A row: bucket, key, and its aggregate.
type Row = (i64, i64, i64);

fn schema(with_end: bool) -> SchemaRef {
    let timestamp = || DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Shanghai".into()));
    let mut fields = vec![
        Field::new("start", timestamp(), true),
        Field::new("k", DataType::Int64, false),
        Field::new("n", DataType::Int64, false),
    ];
    fields.extend(with_end.then(|| Field::new("end", timestamp(), true)));
    Arc::new(Schema::new(fields))
}

fn changes<'a>(rows: impl Iterator<Item = (&'a Row, i64)>) -> ChangeBatch {
    let rows: Vec<(Row, i64)> = rows.map(|(row, weight)| (*row, weight)).collect();
    let instants = |shift: i64| -> ArrayRef {
        let instants = rows.iter().map(|((bucket, ..), _)| bucket * WIDTH_MS + shift);
        Arc::new(TimestampMillisecondArray::from_iter_values(instants).with_timezone("Asia/Shanghai"))
    };
    let numbers = |of: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(row, _)| of(row))))
    };
    let columns = vec![instants(0), numbers(|r| r.1), numbers(|r| r.2), instants(WIDTH_MS)];
    let batch = RecordBatch::try_new(schema(true), columns).unwrap();
    ChangeBatch::table(batch, rows.iter().map(|(_, weight)| *weight).collect())
}

fn operator(lateness: i64) -> FinalRows {
    FinalRows::new(FinalRowsSpec {
        key: vec![0, 1],
        start: 0,
        bucket_start: Arc::new(|instant| instant - instant.rem_euclid(WIDTH_MS)),
        allowed_lateness_ms: lateness,
        input: schema(true),
        schema: schema(false),
    })
    .unwrap()
}

fn text(rows: impl Iterator<Item = Row>) -> Vec<String> {
    let rows: Vec<Row> = rows.collect();
    lines(&changes(rows.iter().map(|row| (row, 1))).rows.project(&[0, 1, 2]).unwrap())
}

#[derive(Clone, Debug)]
struct Epoch {
    /// Bucket, key, and the new aggregate; none = the group disappears.
    groups: Vec<(i64, i64, Option<i64>)>,
    progress: i64,
    crash: bool,
}

fn epochs() -> impl Strategy<Value = (Vec<Epoch>, i64, usize)> {
    let group = (0i64..5, 0i64..3, prop_oneof![Just(None), (0i64..4).prop_map(Some)]);
    let epoch = (prop::collection::vec(group, 0..6), prop_oneof![Just(0), 0i64..15], any::<bool>())
        .prop_map(|(groups, progress, crash)| Epoch { groups, progress, crash });
    (prop::collection::vec(epoch, 1..16), 0i64..8, 0usize..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn rows_leave_once_as_they_are_when_their_bucket_closes((epochs, lateness, loading) in epochs()) {
        let mut operator = operator(lateness);
        let mut table = std::collections::BTreeMap::<(i64, i64), i64>::new();
        // What the operator must hold: the groups of buckets that are open.
        let mut open = table.clone();
        let (mut log, mut watermark, mut n_after_close) = (Vec::new(), 0, 0);
        for (idx, e) in epochs.iter().enumerate() {
            let loaded = idx >= loading;
            let after = watermark + e.progress;
            let is_closed = |bucket: i64| idx > loading && (bucket + 1) * WIDTH_MS + lateness <= watermark;
            let mut input: Vec<(Row, i64)> = Vec::new();
            for (bucket, key, n) in &e.groups {
                let old = match n {
                    Some(n) => table.insert((*bucket, *key), *n),
                    None => table.remove(&(*bucket, *key)),
                };
                if old == *n {
                    continue;
                }
                input.extend(old.map(|old| ((*bucket, *key, old), -1)));
                input.extend(n.map(|n| ((*bucket, *key, n), 1)));
                match (is_closed(*bucket), n) {
                    (true, Some(_)) => n_after_close += 1,
                    (true, None) => {}
                    (false, Some(n)) => drop(open.insert((*bucket, *key), *n)),
                    (false, None) => drop(open.remove(&(*bucket, *key))),
                }
            }
            let input = changes(input.iter().map(|(row, weight)| (row, *weight)));
            let output = operator.process(&[input], &epoch(watermark, after, loaded)).unwrap().changes;
            let due = |(bucket, _): &(i64, i64)| loaded && (bucket + 1) * WIDTH_MS + lateness <= after;
            let want = text(open.iter().filter(|(group, _)| due(group)).map(|((b, k), n)| (*b, *k, *n)));
            prop_assert_eq!(lines(&output.rows), want);
            prop_assert!(output.weights.iter().all(|weight| *weight == 1));
            open.retain(|group, _| !due(group));
            prop_assert_eq!(operator.changes_after_close(), n_after_close);
            log.extend(operator.take_delta().unwrap());
            if e.crash {
                operator = super::tests::operator(lateness);
                // Often from a slice only, of which nothing but the last is needed.
                log.iter().for_each(|delta| operator.restore(delta).unwrap());
                log = operator.slice(0..1).unwrap().into_iter().collect();
                let rows: Vec<Row> = table.iter().map(|((b, k), n)| (*b, *k, *n)).collect();
                let contents = changes(rows.iter().map(|row| (row, 1)));
                let derived = operator.process(&[contents], &epoch(after, after, false)).unwrap().changes;
                prop_assert!(derived.is_empty(), "nothing leaves at a restore");
                n_after_close = operator.changes_after_close();
            }
            watermark = after;
        }
    }
}

#[test]
fn buckets_wait_when_an_epoch_is_full_and_may_still_change() {
    let mut operator = operator(0);
    let rows: Vec<Row> = (0..4).flat_map(|bucket| [(bucket, 1, bucket), (bucket, 2, bucket)]).collect();
    let mut ctx = epoch(0, 1_000, true);
    ctx.hand_over_max = 3;
    let first = operator.process(&[changes(rows.iter().map(|row| (row, 1)))], &ctx).unwrap().changes;
    assert_eq!(lines(&first.rows), text(rows[..4].iter().copied()), "buckets are not divided");
    assert_eq!(operator.next_timer(), Some(30));
    ctx.watermarks_before = ctx.watermarks_after.clone();
    let change = [((2, 1, 2), -1), ((2, 1, 9), 1), ((0, 1, 7), 1)];
    let second = operator.process(&[changes(change.iter().map(|(row, w)| (row, *w)))], &ctx).unwrap().changes;
    assert_eq!(lines(&second.rows), text([(2, 1, 9), (2, 2, 2), (3, 1, 3), (3, 2, 3)].into_iter()));
    assert_eq!((operator.next_timer(), operator.changes_after_close()), (None, 1));
}

#[test]
fn a_row_that_comes_and_goes_again_and_again_takes_no_room() {
    let mut operator = operator(0);
    for n in 0..1_000 {
        let change = [((0, 1, n), 1), ((0, 1, n - 1), -1)];
        let n_changes = if n == 0 { 1 } else { 2 };
        let input = changes(change.iter().take(n_changes).map(|(row, w)| (row, *w)));
        operator.process(&[input], &epoch(0, 0, true)).unwrap();
        assert!(operator.state_size().rows <= 4);
    }
    let mut table = ZSet::new();
    add(&mut table, &operator.process(&[], &epoch(0, 10, true)).unwrap().changes);
    assert_eq!((table.len(), operator.state_size().rows), (1, 0));
}
