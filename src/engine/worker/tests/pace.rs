//! `EMIT CHANGES EVERY` in a running service: a bound by the clock, and nothing lost at a restart.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const PACED: &str = "
    CREATE TABLE devices (device_id VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'devices', format = 'json');
    CREATE TABLE towns AS SELECT town, count(*) AS n FROM devices GROUP BY town EMIT CHANGES EVERY '5 seconds';
    CREATE SINK counts WITH (topic = 'counts', format = 'json') AS SELECT town, n FROM towns;
    CREATE SINK direct WITH (topic = 'direct', format = 'json') AS SELECT device_id, town FROM devices
        EMIT CHANGES EVERY '2 seconds';
";

fn device(id: &str, position: i64) -> Polled {
    devices(&[&format!(r#"{{"device_id":"{id}","town":"x"}}"#)], position)
}

#[test]
fn the_changes_of_a_key_leave_once_an_interval_and_net_also_over_a_restart() {
    let log = MemoryStateLog::default();
    let polls = vec![device("a", 0), device("b", 1), device("c", 2), Polled::default(), device("d", 3)];
    let mut first = driven_by(PACED, polls, EmitFrom::Earliest, &log);
    let mut seen = Vec::new();
    for clock_ms in [100, 1_000, 5_099, 5_100, 6_000] {
        first.clock.store(clock_ms, Ordering::Relaxed);
        first.turn();
        seen.push((first.written("counts"), first.written("direct").len()));
    }
    let counts = |counts: &[i64]| counts.iter().map(|n| format!(r#"{{"town":"x","n":{n}}}"#)).collect::<Vec<_>>();
    // Each device is a key of its own, and changes once.
    let want = [(counts(&[1]), 1), (counts(&[1]), 2), (counts(&[1]), 3), (counts(&[1, 3]), 3), (counts(&[1, 3]), 4)];
    assert_eq!(seen, want);
    assert_eq!(first.worker.dataflow.next_hand_over(&BTreeSet::new()), Some(10_100), "what waits is not forgotten");
    let polls = vec![devices(&[], 4), Polled::default(), Polled::default()];
    let mut second = driven_by(PACED, polls, EmitFrom::Earliest, &log);
    second.clock.store(10_099, Ordering::Relaxed);
    second.turn();
    assert_eq!(second.written("counts"), counts(&[]), "what waited goes on waiting");
    second.clock.store(10_100, Ordering::Relaxed);
    second.turn();
    assert_eq!(second.written("counts"), counts(&[4]));
}

/// Rows leave memory only while nothing waits, and here something always would.
#[test]
fn changes_that_wait_do_not_keep_rows_from_being_forgotten() {
    const PACED: &str = "
        CREATE TABLE devices (device_id VARCHAR PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL)
            WITH (topic = 'devices', format = 'json', event_time = 'at', retention = '1 day', max_future = '400 days');
        CREATE SINK days WITH (topic = 'days', format = 'json') AS
            SELECT local_date(at) AS day, count(*) AS n FROM devices GROUP BY local_date(at)
            EMIT CHANGES EVERY '30 seconds';
    ";
    let line = |n: i64| format!(r#"{{"device_id":"d{n}","at":"1970-01-{:02}T{:02}:00:00Z"}}"#, 1 + n / 8, n % 8 * 3);
    let mut polls: Vec<Polled> = (0..240).map(|n| devices(&[&line(n)], n)).collect();
    polls.push(Polled::default());
    let mut service = driven_by(PACED, polls, EmitFrom::Earliest, &MemoryStateLog::default());
    let mut n_rows_max = 0;
    for second in 0..240 {
        service.clock.store(1_000 * second, Ordering::Relaxed);
        service.turn();
        n_rows_max = n_rows_max.max(service.worker.dataflow.state_sizes()[0].rows);
    }
    assert!((16..=32).contains(&n_rows_max), "{n_rows_max} rows of 240");
    service.clock.store(1_000_000, Ordering::Relaxed);
    service.turn();
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for line in service.written("days") {
        let row: serde_json::Value = serde_json::from_str(&line).unwrap();
        last.insert(row["day"].as_str().unwrap().to_owned(), row["n"].as_i64().unwrap());
    }
    assert_eq!((last.len(), last.values().all(|n| *n == 8)), (30, true), "{last:?}");
}
