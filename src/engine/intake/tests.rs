//! Every record has one fate, counted against a naive count.

use proptest::prelude::*;

use super::*;
use crate::catalog::resolve;
use crate::dialect::{Pack, parse};
use crate::plan::plan;
use crate::stream::RecordMeta;

/// Two windows and a plain sink may read one stream; which of them do is what the tests vary.
const SOURCE: &str = "
    CREATE STREAM passages (passage_id VARCHAR NOT NULL, town VARCHAR, passed_at TIMESTAMP WITH TIME ZONE NOT NULL)
        WITH (topic = 'passages', format = 'json', event_time = 'passed_at');
";
const HOURLY: &str = "
    CREATE SINK hourly WITH (topic = 'hourly', format = 'json') AS
        SELECT tumble(passed_at, INTERVAL '1 hour') AS h, count(*) AS n FROM passages
        GROUP BY tumble(passed_at, INTERVAL '1 hour') EMIT FINAL;
";
const DAILY: &str = "
    CREATE SINK daily WITH (topic = 'daily', format = 'json') AS
        SELECT tumble(passed_at, INTERVAL '1 day') AS d, count(*) AS n FROM passages
        GROUP BY tumble(passed_at, INTERVAL '1 day') EMIT FINAL;
";
const PLAIN: &str = "
    CREATE SINK plain WITH (topic = 'plain', format = 'json') AS SELECT passage_id FROM passages;
";

fn pipeline(parts: &[&str]) -> Pipeline {
    let (statements, errors) = parse(&Pack::from_text("rules.sql", parts.concat()));
    assert!(errors.is_empty(), "{errors:?}");
    plan(&resolve(statements, None).unwrap()).unwrap()
}

fn taken(n_records: u64) -> Taken {
    let mut raw = RecordBatchBytes::default();
    for sequence in 0..n_records {
        let meta = RecordMeta {
            partition: 0,
            offset: sequence as i64,
            timestamp_ms: None,
            // Another source has every other number.
            sequence: 2 * sequence,
            key: None,
            value: None,
        };
        raw.push(meta, None, Some(b"{}"));
    }
    Taken {
        rows: Vec::new(),
        records: vec![TakenRecords { relation: 0, raw, rejected: Vec::new(), event_ms: Vec::new() }],
    }
}

/// A run in which the windows, in order of declaration, refused these records.
fn run_of(pipeline: &Pipeline, refused: &[Vec<u64>]) -> EpochRun {
    let mut run = EpochRun::new(pipeline);
    let windows = pipeline.relations.iter().enumerate();
    let windows = windows.filter(|(_, r)| matches!(r.operator, OperatorPlan::WindowAggregate(_))).map(|(id, _)| id);
    for (id, refused) in windows.zip(refused) {
        run.refused[id] = refused.iter().map(|r| 2 * r).collect();
    }
    run
}

fn late(parts: &[&str], refused: &[Vec<u64>]) -> Vec<usize> {
    let pipeline = pipeline(parts);
    fates(&pipeline, &taken(10), &run_of(&pipeline, refused)).remove(0).late
}

#[test]
fn a_record_is_late_only_if_every_reader_of_the_stream_refused_it() {
    let (hourly, daily) = (vec![1, 2, 3], vec![2, 3, 4]);
    assert_eq!(late(&[SOURCE, HOURLY], std::slice::from_ref(&hourly)), [1, 2, 3]);
    assert_eq!(late(&[SOURCE, HOURLY, DAILY], &[hourly.clone(), daily]), [2, 3]);
    assert_eq!(late(&[SOURCE, HOURLY, PLAIN], &[hourly]), [0; 0], "the plain sink took all of them");
}

#[test]
fn numbers_of_other_sources_are_not_counted_here() {
    let pipeline = pipeline(&[SOURCE, HOURLY]);
    let mut run = run_of(&pipeline, &[vec![]]);
    run.duplicate[0] = vec![1, 3, 4];
    let fates = fates(&pipeline, &taken(10), &run).remove(0);
    assert_eq!((fates.counts.read, fates.counts.used, fates.counts.duplicate), (10, 9, 1));
}

proptest! {
    #[test]
    fn fates_agree_with_a_naive_count(
        hourly in prop::collection::btree_set(0u64..10, 0..10),
        daily in prop::collection::btree_set(0u64..10, 0..10),
        duplicate in prop::collection::btree_set(0u64..10, 0..10),
        rejected in prop::collection::btree_set(0u32..10, 0..10),
    ) {
        let pipeline = pipeline(&[SOURCE, HOURLY, DAILY]);
        // Rejected records reach no relation, dropped ones reach no window.
        let passes = |r: &u64| !rejected.contains(&(*r as u32)) && !duplicate.contains(r);
        let refused = |set: &BTreeSet<u64>| -> Vec<u64> { set.iter().copied().filter(passes).collect() };
        let mut run = run_of(&pipeline, &[refused(&hourly), refused(&daily)]);
        let decoded = |r: &&u64| !rejected.contains(&(**r as u32));
        run.duplicate[0] = duplicate.iter().filter(decoded).map(|r| 2 * r).collect();
        let mut taken = taken(10);
        taken.records[0].rejected =
            rejected.iter().map(|r| Rejected { record: *r, reason: "test".into() }).collect();
        let counts = fates(&pipeline, &taken, &run).remove(0).counts;

        let mut expected = SourceCounts { read: 10, ..SourceCounts::default() };
        for record in 0..10u64 {
            if rejected.contains(&(record as u32)) {
                expected.rejected += 1;
            } else if duplicate.contains(&record) {
                expected.duplicate += 1;
            } else if hourly.contains(&record) && daily.contains(&record) {
                expected.late += 1;
            } else {
                expected.used += 1;
            }
        }
        prop_assert_eq!(counts, expected);
    }
}
