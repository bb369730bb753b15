//! `EMIT CHANGES EVERY` in a running service: a bound by the clock, and nothing lost at a restart.

use std::collections::BTreeSet;

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
fn changes_leave_at_most_once_a_span_of_the_clock_and_net() {
    let log = MemoryStateLog::default();
    let polls = vec![device("a", 0), device("b", 1), device("c", 2), Polled::default(), device("d", 3)];
    let mut first = driven_by(PACED, polls, EmitFrom::Earliest, &log);
    let mut seen = Vec::new();
    for clock_ms in [100, 1_000, 2_000, 5_000, 6_000] {
        first.clock.store(clock_ms, Ordering::Relaxed);
        first.turn();
        seen.push((first.written("counts"), first.written("direct").len()));
    }
    let counts = |counts: &[i64]| counts.iter().map(|n| format!(r#"{{"town":"x","n":{n}}}"#)).collect::<Vec<_>>();
    let want = [(counts(&[1]), 1), (counts(&[1]), 1), (counts(&[1]), 3), (counts(&[1, 3]), 3), (counts(&[1, 3]), 4)];
    assert_eq!(seen, want);
    assert_eq!(first.worker.dataflow.next_hand_over(&BTreeSet::new()), Some(10_000), "what waits is not forgotten");
    let mut second = driven_by(PACED, vec![devices(&[], 4), Polled::default()], EmitFrom::Earliest, &log);
    second.clock.store(6_500, Ordering::Relaxed);
    second.turn();
    assert_eq!(second.written("counts"), counts(&[4]), "a restart derives the table anew and hands on what waited");
}
