//! Rows that leave memory after their retention: nobody sees it but the memory.

use std::collections::BTreeSet;

use super::*;
use crate::plan::Retention;

/// Groups with and without a bucket in their keys, of captures that voids take back and people own.
const PACK: &str = "
    SET TIME ZONE = 'Europe/London';
    CREATE TABLE captures (
        capture_id VARCHAR PRIMARY KEY, person VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL, v BIGINT
    ) WITH (topic = 'captures', format = 'json', event_time = 'at', retention = '3 days');
    CREATE TABLE voids (capture_id VARCHAR PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL)
        WITH (topic = 'voids', format = 'json', event_time = 'at', retention = '3 days');
    CREATE TABLE people (person VARCHAR PRIMARY KEY, team VARCHAR) WITH (topic = 'people', format = 'json');

    CREATE VIEW standing AS
        SELECT capture_id, person, at, v FROM captures AS c
        WHERE NOT EXISTS (SELECT 1 FROM voids WHERE voids.capture_id = c.capture_id);
    CREATE VIEW numbered AS
        SELECT person, year_month(at) AS month, capture_id, at, v,
            row_number() OVER (PARTITION BY person, year_month(at) ORDER BY at, capture_id) AS n,
            lag(v) OVER (PARTITION BY person, year_month(at) ORDER BY at, capture_id) AS before
        FROM standing;
    CREATE TABLE months (PRIMARY KEY (person, month)) AS
        SELECT n.person, n.month, count(*) AS c, sum(n.v) AS s, array_agg(n.capture_id ORDER BY n.n) AS ids, max(p.team) AS team
        FROM numbered AS n LEFT JOIN people AS p ON p.person = n.person GROUP BY n.person, n.month;
    CREATE SINK month_sink WITH (topic = 'a', format = 'json') AS SELECT * FROM months;
    CREATE SINK month_changes WITH (topic = 'b', format = 'json') AS SELECT before, after, revision FROM CHANGES(months);
    CREATE SINK rows_sink WITH (topic = 'c', format = 'json', key = 'capture_id') AS
        SELECT capture_id, n, before FROM (SELECT * FROM numbered) AS x WHERE v > 1;
    CREATE SINK totals WITH (topic = 'd', format = 'json') AS
        SELECT person, count(*) AS c, sum(v) AS s, max(at) AS latest FROM standing GROUP BY person;
    CREATE SINK lists WITH (topic = 'e', format = 'json') AS
        SELECT person, array_agg(month ORDER BY month) AS months FROM months WHERE c > 1 GROUP BY person;
    CREATE VIEW team_people AS SELECT DISTINCT team, person FROM months WHERE team IS NOT NULL;
    CREATE SINK teams WITH (topic = 'f', format = 'json') AS SELECT team, count(*) AS c FROM team_people GROUP BY team;
    CREATE SINK team_days WITH (topic = 'g', format = 'json') AS
        SELECT p.team, local_date(c.at) AS day, count(*) AS c FROM people AS p JOIN captures AS c ON c.person = p.person
        GROUP BY p.team, local_date(c.at);
    CREATE VIEW halves AS
        SELECT person, date_trunc('month', at) AS month, v FROM captures WHERE v > 1
        UNION ALL SELECT person, date_trunc('month', at), -v FROM standing WHERE v <= 1;
    CREATE SINK halves_sink WITH (topic = 'h', format = 'json') AS
        SELECT person, month, sum(v) AS s FROM halves GROUP BY person, month;
    CREATE SINK latest WITH (topic = 'i', format = 'json') AS
        SELECT person, capture_id, v FROM captures
        QUALIFY row_number() OVER (PARTITION BY person ORDER BY at DESC, capture_id) = 1;
    CREATE SINK everything WITH (topic = 'j', format = 'json') AS SELECT count(*) AS c, min(v) AS v FROM captures;
    CREATE SINK share WITH (topic = 'k', format = 'json') AS
        SELECT n.capture_id, n.v, m.s FROM numbered AS n LEFT JOIN months AS m ON m.person = n.person AND m.month = n.month;
    CREATE TABLE idle_months (PRIMARY KEY (person, month)) AS
        SELECT p.person, m.month, m.c FROM people AS p LEFT JOIN months AS m ON m.person = p.person AND m.c > 1;
    CREATE SINK idle WITH (topic = 'l', format = 'json') AS SELECT * FROM idle_months;
    CREATE SINK seen WITH (topic = 'm', format = 'json') AS
        SELECT person, team FROM people WHERE person IN (SELECT person FROM standing);

    CREATE STREAM passes (id VARCHAR NOT NULL, person VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
        WITH (topic = 'passes', format = 'json', event_time = 'at', watermark_delay = '1 hour');
    CREATE TABLE hours (PRIMARY KEY (person, hour)) AS
        SELECT person, date_trunc('hour', at) AS hour, count(*) AS c FROM passes GROUP BY person, date_trunc('hour', at)
        EMIT CHANGES;
    CREATE SINK hour_changes WITH (topic = 'n', format = 'json') AS SELECT before, after, revision FROM CHANGES(hours);
    CREATE SINK pass_days WITH (topic = 'o', format = 'json') AS
        SELECT person, local_date(hour) AS day, sum(c) AS c FROM hours GROUP BY person, local_date(hour);
    CREATE SINK pass_totals WITH (topic = 'p', format = 'json') AS SELECT person, sum(c) AS c FROM hours GROUP BY person;
";

const DAY: i64 = 86_400;

/// Lines of the four files.
#[derive(Clone, Debug, Default)]
struct Days {
    captures: Vec<String>,
    passes: Vec<String>,
    voids: Vec<String>,
    people: Vec<String>,
}

/// One step of the history: hours that pass, and what arrives then.
#[derive(Clone, Debug)]
struct Step {
    hours: i64,
    /// How long ago, in hours, the capture happened.
    age: i64,
    person: u8,
    v: i64,
    kind: u8,
}

fn step() -> impl Strategy<Value = Step> {
    (prop_oneof![3 => 0i64..4, 1 => 0i64..70], 0i64..90, 0u8..3, 0i64..4, 0u8..12)
        .prop_map(|(hours, age, person, v, kind)| Step { hours, age, person, v, kind })
}

fn days(steps: &[Step]) -> Days {
    let people = (0..2).map(|p| format!(r#"{{"person":"p{p}","team":"t{p}"}}"#)).collect();
    let mut days = Days { people, ..Days::default() };
    let (mut now, mut known, mut voided) = (0, Vec::new(), BTreeSet::new());
    for (idx, step) in steps.iter().enumerate() {
        now += step.hours * 3600;
        let at = now - step.age * 3600;
        // A key is told apart until twice its retention.
        known.retain(|(_, at)| at + 5 * DAY > now);
        let old: Option<&(usize, i64)> = known.get(step.age as usize % known.len().max(1));
        let row = |id: usize, at: i64| {
            let (person, v, at) = (step.person, step.v, timestamp(at));
            format!(r#"{{"capture_id":"c{id}","person":"p{person}","at":"{at}","v":{v}}}"#)
        };
        let passed_at = timestamp(now - step.age % 3 * 2400);
        days.passes.push(format!(r#"{{"id":"{idx}","person":"p{}","at":"{passed_at}"}}"#, step.person));
        match (step.kind, old.copied()) {
            (0, Some((id, _))) => days.captures.push(format!(r#"{{"_tombstone":true,"capture_id":"c{id}"}}"#)),
            (1, Some((id, at))) => days.captures.push(row(id, at)),
            // A void may be read after a move that was written after it, and would find the capture in a frozen month.
            (2, Some((id, old_at))) if !voided.contains(&id) => {
                days.captures.push(row(id, at));
                known.retain(|(k, _)| *k != id);
                known.push((id, at.min(old_at)));
            }
            // What is older may be frozen, and a void would not take it back.
            (3 | 4, Some((id, at))) if at + 2 * DAY > now => {
                days.voids.push(format!(r#"{{"capture_id":"c{id}","at":"{}"}}"#, timestamp(now)));
                voided.insert(id);
            }
            _ => {
                days.captures.push(row(idx, at));
                known.push((idx, at));
            }
        }
    }
    days
}

fn logged(n_shards: u32, n_records: usize) -> WorkerOptions {
    WorkerOptions { epochs_under_way: 1, ..options(n_shards, n_records) }
}

struct Kept {
    collected: BTreeMap<OutputTopic, Vec<Collected>>,
    counts: Vec<(Arc<str>, SourceCounts)>,
    /// By relation the rows of its state at the end.
    rows: BTreeMap<String, usize>,
}

/// Epochs that may overlap are not logged.
fn run_days(days: &Days, forgets: bool, options: WorkerOptions, faults: Vec<Fault>) -> Kept {
    let dir = tempfile::tempdir().unwrap();
    let Days { captures, passes, voids, people } = days;
    for (name, lines) in [("captures", captures), ("passes", passes), ("voids", voids), ("people", people)] {
        fs::write(dir.path().join(format!("{name}.ndjson")), lines.join("\n")).unwrap();
    }
    let mut planned = Arc::into_inner(pipeline(PACK)).unwrap();
    if !forgets {
        planned.retention = Retention::default();
    }
    let pipeline = Arc::new(planned);
    let log = MemoryStateLog::default();
    let inner = MemorySink::new(log.clone(), TombstoneForm::NoValue);
    let ends = Ends {
        source: source(&pipeline, dir.path()),
        sink: Box::new(FaultySink { inner: inner.clone(), faults: faults.into() }),
        log: (options.epochs_under_way < 2).then(|| Box::new(log) as Box<dyn StateLog>),
        clock: Box::new(|| 0),
    };
    let mut worker = Worker::new(pipeline.clone(), ends, options, Arc::default()).unwrap();
    assert_eq!(worker.run().unwrap(), Ended::EndOfInput);
    let counts = worker.status().snapshot().sources.into_iter().map(|s| (s.name, s.counts)).collect();
    let sizes = worker.dataflow.state_sizes();
    let rows = pipeline.relations.iter().zip(sizes).map(|(r, size)| (r.name.to_string(), size.rows)).collect();
    Kept { collected: inner.collected(), counts, rows }
}

fn assert_same(what: &str, a: &Kept, b: &Kept) -> Result<(), TestCaseError> {
    for topic in a.collected.keys().chain(b.collected.keys()) {
        let text = |kept: &Kept| {
            let records = kept.collected.get(topic).map(Vec::as_slice).unwrap_or_default();
            records.iter().map(|r| format!("{r:?}")).collect::<Vec<_>>()
        };
        prop_assert_eq!(text(a), text(b), "{}: {:?}", what, topic);
    }
    prop_assert_eq!(&a.counts, &b.counts, "{}", what);
    Ok(())
}

proptest! {
    // A case is six runs of the whole pack.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_was_forgotten_cannot_be_seen_in_the_output(
        steps in prop::collection::vec(step(), 0..160),
        n_shards in prop::sample::select(vec![1u32, 2, 4]),
        n_records in 1usize..30,
        faults in prop::collection::vec(fault(), 0..20),
    ) {
        let days = days(&steps);
        let all = run_days(&days, false, logged(1, n_records), Vec::new());
        let some = run_days(&days, true, logged(n_shards, n_records), Vec::new());
        assert_same("forgetting", &all, &some)?;
        // A restore cuts the files into other epochs, and what is late depends on that: so both are restored alike.
        let stormy_all = run_days(&days, false, logged(n_shards, n_records), faults.clone());
        assert_same("forgetting and restores", &stormy_all, &run_days(&days, true, logged(n_shards, n_records), faults))?;
        let overlapped = WorkerOptions { epochs_under_way: 3, ..options(n_shards, n_records) };
        assert_same("forgetting and overlapped epochs", &some, &run_days(&days, true, overlapped, Vec::new()))?;
    }
}

/// A capture an hour for each of two people.
fn long_time(n_days: i64) -> Days {
    let mut days = days(&[]);
    for hour in 0..n_days * 24 {
        for person in 0..2 {
            let at = timestamp(hour * 3600);
            days.captures
                .push(format!(r#"{{"capture_id":"c{hour}-{person}","person":"p{person}","at":"{at}","v":2}}"#));
        }
    }
    days
}

#[test]
fn memory_is_bounded_by_the_retention_and_not_by_the_time() {
    let short = run_days(&long_time(70), true, logged(2, 100), Vec::new());
    let long = run_days(&long_time(310), true, logged(2, 100), Vec::new());
    let endless = run_days(&long_time(310), false, logged(2, 100), Vec::new());
    let n_captures = long.rows.get("captures").copied().unwrap_or_default();
    assert!((1..=2 * 24 * (31 + 5)).contains(&n_captures), "{n_captures}: the month at hand, and days of the last one");
    for (name, rows) in &long.rows {
        // What keeps rows of frozen groups keeps them for ever, and so does what reads them.
        let unbounded = ["frozen_rows", "totals", "lists", "latest", "everything", "share.table_join", "idle", "seen"];
        if unbounded.iter().any(|u| name.contains(u)) {
            continue;
        }
        let before = short.rows.get(name).copied().unwrap_or_default();
        assert!(*rows <= before + before / 4 + 40, "{name}: {before} rows after 70 days, {rows} after 310");
    }
    let total = |kept: &Kept| kept.rows.values().sum::<usize>();
    assert!(total(&long) * 2 < total(&endless), "{} of {}\n{:#?}", total(&long), total(&endless), long.rows);
}

/// What a sink wrote, values only.
fn values(kept: &Kept, sink: &str) -> Vec<String> {
    let topic = OutputTopic::Sink(sink.into());
    let records = kept.collected.get(&topic).map(Vec::as_slice).unwrap_or_default();
    records.iter().map(|r| r.value.as_ref().map_or("-".into(), |v| String::from_utf8_lossy(v).into_owned())).collect()
}

#[test]
fn a_void_behind_the_end_of_its_month_takes_nothing_back_and_totals_stay_over_a_crash() {
    let mut days = days(&[]);
    let capture =
        |id: &str, day: i64| format!(r#"{{"capture_id":"{id}","person":"p0","at":"{}","v":5}}"#, timestamp(day * DAY));
    // 14 November, and 1 January: November and all of its groups are frozen then.
    days.captures =
        vec![capture("old", 0), capture("new", 48), capture("old", 0), capture("late", 1), capture("next", 49)];
    days.voids = vec![format!(r#"{{"capture_id":"old","at":"{}"}}"#, timestamp(48 * DAY + 60))];
    for faults in [vec![], vec![Fault::None, Fault::None, Fault::AssignmentLost, Fault::None, Fault::AssignmentLost]] {
        let kept = run_days(&days, true, logged(2, 1), faults);
        let months = values(&kept, "month_sink");
        assert_eq!(months.iter().filter(|m| m.contains("2023-11")).count(), 1, "{months:#?}");
        let totals = values(&kept, "totals");
        assert!(totals.last().is_some_and(|t| t.contains(r#""c":3"#) && t.contains(r#""s":15"#)), "{totals:#?}");
        let late = kept.collected.get(&OutputTopic::Late("captures".into())).map_or(0, Vec::len);
        assert_eq!(late, 2, "the capture from before, and the repetition of one that nobody remembers");
        let counts = kept.counts.iter().find(|(name, _)| &**name == "captures").map(|(_, c)| *c).unwrap_or_default();
        assert_eq!((counts.read, counts.used, counts.duplicate, counts.late), (5, 3, 0, 2));
    }
}
