//! A year through every operator that keeps state: where something bounds it, the second half of the year adds nothing.

use std::collections::BTreeSet;

use super::*;
use crate::plan::{Retention, unbounded};

#[path = "../../../../benches/soak/measure/year.rs"]
mod year;

use year::{DAY_MS, START_MS, Year, devices};

/// The pack of `benches/soak`, which runs the same at a larger scale.
const PACK: &str = include_str!("../../../../benches/soak/rules.sql");

/// What a relation keeps.
#[derive(Clone, Copy, Debug)]
struct Held {
    word: &'static str,
    rows: usize,
    bytes: usize,
}

/// Runs so many days, and looks at what is kept in the evening of the last one.
fn held_after(n_days: i64, retention: Option<Retention>) -> BTreeMap<String, Held> {
    let mut planned = Arc::into_inner(pipeline(PACK)).unwrap();
    planned.retention = retention.unwrap_or(planned.retention);
    let pipeline = Arc::new(planned);
    let dir = tempfile::tempdir().unwrap();
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut year = Year::new(7, 24);
    for line in devices().into_iter().chain((0..n_days).flat_map(|_| year.next_day())) {
        let file = files.entry(line.relation).or_default();
        file.push_str(&line.json);
        file.push('\n');
    }
    for (relation, lines) in files {
        fs::write(dir.path().join(format!("{relation}.ndjson")), lines).unwrap();
    }
    let ends = Ends {
        source: source(&pipeline, dir.path()),
        sink: Box::new(MemorySink::new(MemoryStateLog::default(), TombstoneForm::NoValue)),
        log: None,
        clock: Box::new(|| 0),
    };
    let end_watermark = Watermark(START_MS + n_days * DAY_MS - 1);
    // About a day: what an epoch closes leaves memory with the next one.
    let options = WorkerOptions { end_watermark, ..options(2, 30) };
    let mut worker = Worker::new(pipeline.clone(), ends, options, Arc::default()).unwrap();
    assert_eq!(worker.run().unwrap(), Ended::EndOfInput);
    for source in worker.status().snapshot().sources {
        let SourceCounts { late, rejected, .. } = source.counts;
        assert_eq!((late, rejected), (0, 0), "{}", source.name);
    }
    let held = |(relation, size): (&crate::plan::Relation, crate::operators::StateSize)| {
        let held = Held { word: relation.operator.word(), rows: size.rows, bytes: size.bytes };
        (relation.name.to_string(), held)
    };
    pipeline.relations.iter().zip(worker.dataflow.state_sizes()).map(held).collect()
}

/// The relations of which the later moment keeps more than chance explains.
fn grown(early: &BTreeMap<String, Held>, late: &BTreeMap<String, Held>) -> Vec<String> {
    let grew = |(name, late): (&String, &Held)| {
        let early = early[name];
        let more = late.rows > early.rows * 5 / 4 + 24 || late.bytes > early.bytes * 2 + (64 << 10);
        more.then(|| format!("{name}: {early:?}, then {late:?}"))
    };
    late.iter().filter_map(grew).collect()
}

#[test]
fn the_second_half_of_a_year_adds_no_state() {
    let (early, late) = (held_after(182, None), held_after(364, None));
    assert_eq!(grown(&early, &late), Vec::<String>::new());
    // All of them had something to keep.
    let words: BTreeSet<&str> = late.values().filter(|held| held.rows > 0).map(|held| held.word).collect();
    for word in BOUNDED {
        assert!(words.contains(word), "{word} kept nothing: {late:?}");
    }
    // A small table aside, that is what is said of them.
    let said = unbounded(&pipeline(PACK));
    assert!(said.iter().all(|line| line.starts_with("devices: ")), "{said:?}");
}

/// The operators that keep state, those aside which keep it without end by their nature.
const BOUNDED: [&str; 15] = [
    "source_table",
    "deduplicate",
    "table_join",
    "table_aggregate",
    "table_window",
    "lookup_join",
    "window_aggregate",
    "changes",
    "upsert",
    "interval_join",
    "final_rows",
    "running_window",
    "bucket_window",
    "top_rows",
    "temporal_filter",
];

#[test]
fn without_a_retention_the_same_year_adds_state() {
    let (early, late) = (held_after(90, Some(Retention::default())), held_after(180, Some(Retention::default())));
    let grown = grown(&early, &late);
    for word in ["source_table", "table_join", "table_aggregate", "table_window", "changes", "upsert"] {
        let of_word = |line: &String| line.contains(&format!("word: \"{word}\""));
        assert!(grown.iter().any(of_word), "{word} did not grow: {grown:#?}");
    }
}
