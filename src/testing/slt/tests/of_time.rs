//! What waits for a clock or for event time, as packs are tested: EVERY, `wait`, joins of two streams, buckets that overlap.

use super::run_rules;

fn passes(rules: &str, test: &str) {
    let (report, _) = run_rules(rules, test, false);
    assert_eq!((report.passed, report.failed), (1, 0), "{:#?}", report.files[0].failures);
}

const PACED: &str = "
CREATE TABLE people (id VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'people', format = 'json');
CREATE SINK by_town WITH (topic = 'by-town', format = 'json') AS
    SELECT town, count(*) AS n FROM people GROUP BY town EMIT CHANGES EVERY '5 seconds';
CREATE TABLE sizes AS SELECT town, count(*) AS n FROM people GROUP BY town EMIT CHANGES EVERY '5 seconds';
CREATE SINK changes WITH (topic = 'changes', format = 'json') AS
    SELECT coalesce(after.town, before.town) AS town, after.n AS n, revision FROM CHANGES(sizes);
CREATE SINK large WITH (topic = 'large', format = 'json') AS SELECT town, n FROM sizes WHERE n > 1;
CREATE TABLE bag AS SELECT town FROM people EMIT CHANGES EVERY '5 seconds';
CREATE SINK whole WITH (topic = 'whole', format = 'json') AS SELECT town, count(*) AS n FROM bag GROUP BY town;
";

#[test]
fn a_key_changes_at_once_after_quiet_and_once_an_interval_from_then_on() {
    passes(
        PACED,
        "statement ok
CLOCK '2024-03-01 08:00'

statement ok
INSERT INTO people VALUES ('p1', 'north')

query TI
SELECT * FROM by_town
----
north 1

# Another key has a pace of its own; a table without a key has one as a whole.
statement ok
CLOCK + '1 second'; INSERT INTO people VALUES ('p2', 'north'), ('p3', 'south')

query TI rowsort
SELECT * FROM by_town
----
north 1
south 1

query TI
SELECT * FROM whole
----
north 1

statement ok
CLOCK + '3900 milliseconds'; INSERT INTO people VALUES ('p4', 'north')

statement ok
CRASH

query TI rowsort
SELECT * FROM by_town
----
north 1
south 1

query TI
SELECT * FROM large
----

statement ok
CLOCK + '100 milliseconds'

query TI rowsort
SELECT * FROM by_town
----
north 3
south 1

query TI
SELECT * FROM large
----
north 3

query TI rowsort
SELECT * FROM whole
----
north 3
south 1

# One change, from 1 to 3.
query TII rowsort
SELECT town, n, revision FROM changes
----
north 1 1
north 3 2
south 1 1

# The interval begins anew with what left.
statement ok
CLOCK + '4 seconds'; DELETE FROM people WHERE id = 'p4'; DELETE FROM people WHERE id = 'p3'

query TI rowsort
SELECT * FROM by_town
----
north 3

# What is undone while it waits never leaves.
statement ok
INSERT INTO people VALUES ('p4', 'north')

statement ok
CLOCK + '2 seconds'

query TII rowsort
SELECT town, n, revision FROM changes
----
north 1 1
north 3 2
south 1 1
south NULL 2

# After quiet a change leaves at once again.
statement ok
CLOCK + '1 minute'; INSERT INTO people VALUES ('p5', 'north')

query TI
SELECT * FROM by_town
----
north 4

# At the end of input nothing waits.
statement ok
INSERT INTO people VALUES ('p6', 'north')

query TI
SELECT * FROM by_town
----
north 4

statement ok
END OF INPUT

query TI
SELECT * FROM by_town
----
north 5

query TI
SELECT * FROM whole
----
north 5
",
    );
}

const WAITING: &str = "
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE people (id VARCHAR PRIMARY KEY, town VARCHAR) WITH (topic = 'people', format = 'json');
CREATE STREAM rides (id VARCHAR NOT NULL, person VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'rides', format = 'json', event_time = 'at', idle_timeout = '1 day');
CREATE STREAM located WITH (wait = '1 minute') AS
    SELECT r.id, r.at, p.town FROM rides AS r LEFT JOIN people AS p ON p.id = r.person;
CREATE SINK seen WITH (topic = 'seen', format = 'json') AS SELECT id, town FROM located;
CREATE SINK hourly WITH (topic = 'hourly', format = 'json') AS
    SELECT window_start, town, count(*) AS n FROM located GROUP BY tumble(at, INTERVAL '1 hour'), town EMIT FINAL;
CREATE SINK found WITH (topic = 'found', format = 'json', wait = '10 seconds') AS
    SELECT r.id, r.at, p.town FROM rides AS r JOIN people AS p ON p.id = r.person;
";

#[test]
fn a_row_waits_for_what_it_looks_up_and_holds_event_time_back() {
    passes(
        WAITING,
        "statement ok
CLOCK '2024-03-01 08:00'; INSERT INTO people VALUES ('anna', 'north')

statement ok
INSERT INTO rides VALUES ('r1', 'anna', '2024-03-01 08:01'), ('r2', 'bert', '2024-03-01 08:02'), ('r3', 'carl', '2024-03-01 08:03'), ('r4', NULL, '2024-03-01 08:04')

# What can match nothing does not wait.
query TT rowsort
SELECT id, town FROM seen
----
r1 north
r4 NULL

statement ok
CLOCK + '10 seconds'

statement ok
CRASH

statement ok
INSERT INTO people VALUES ('bert', 'south')

query TT rowsort
SELECT id, town FROM seen
----
r1 north
r2 south
r4 NULL

# It had waited for 10 seconds already, and of an inner join nothing leaves then.
query TT
SELECT id, town FROM found
----
r1 north

# The hour is over, but r3 may still come into it.
statement ok
WATERMARK rides '2024-03-01 09:30'

query PTI
SELECT * FROM hourly
----

# Behind the watermark: the query that waits cannot take it any more, nor can any other.
statement ok
INSERT INTO rides VALUES ('r5', 'dora', '2024-03-01 08:05'), ('r6', 'anna', '2024-03-01 08:06')

query IIIII
SELECT read, used, duplicate, late, rejected FROM rides.counts
----
6 4 0 2 0

query T rowsort
SELECT substr(raw, 8, 2) FROM rides.late
----
r5
r6

statement ok
CLOCK + '49 seconds'

query I
SELECT count(*) FROM seen
----
3

statement ok
CLOCK + '1 second'

query TT rowsort
SELECT id, town FROM seen
----
r1 north
r2 south
r3 NULL
r4 NULL

query PTI rowsort
SELECT * FROM hourly
----
2024-03-01T08:00:00+08:00 NULL 2
2024-03-01T08:00:00+08:00 north 1
2024-03-01T08:00:00+08:00 south 1

# At the end of input nothing waits.
statement ok
CLOCK '2024-03-01 09:41'; INSERT INTO rides VALUES ('r7', 'dora', '2024-03-01 09:40')

query I
SELECT count(*) FROM seen
----
4

statement ok
END OF INPUT

query TT
SELECT id, town FROM seen WHERE id = 'r7'
----
r7 NULL

query PTI
SELECT * FROM hourly WHERE window_start > '2024-03-01T08:00:00+08:00'
----
2024-03-01T09:00:00+08:00 NULL 1
",
    );
}

const STREAMS: &str = "
SET TIME ZONE = 'Asia/Shanghai';
CREATE STREAM notices (id VARCHAR NOT NULL, plate VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'notices', format = 'json', event_time = 'at', idle_timeout = '1 day');
CREATE STREAM payments (id VARCHAR NOT NULL, plate VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'payments', format = 'json', event_time = 'at', idle_timeout = '1 day');
CREATE SINK matched WITH (topic = 'matched', format = 'json') AS
    SELECT n.id AS notice, p.id AS payment, coalesce(n.plate, p.plate) AS plate
    FROM notices AS n FULL JOIN payments AS p
        ON p.plate = n.plate AND p.at BETWEEN n.at AND n.at + INTERVAL '10 minutes';
";

#[test]
fn a_full_join_of_two_streams_gives_every_row_of_both_when_its_bound_has_passed() {
    passes(
        STREAMS,
        "statement ok
INSERT INTO notices VALUES ('n1', 'A', '2024-03-01 08:00'), ('n2', 'B', '2024-03-01 08:01'), ('n3', NULL, '2024-03-01 08:02');
INSERT INTO payments VALUES ('p1', 'A', '2024-03-01 08:05'), ('p2', 'A', '2024-03-01 08:10'), ('p3', 'A', '2024-03-01 08:11')

# Without a plate there is nothing to wait for.
query TTT rowsort
SELECT * FROM matched
----
n1 p1 A
n1 p2 A
n3 NULL NULL

statement ok
CRASH

# p3 is a minute too late for n1, and no notice of the time before is to come.
statement ok
WATERMARK '2024-03-01 08:11:01'

query TTT rowsort
SELECT * FROM matched
----
n1 p1 A
n1 p2 A
n2 NULL B
n3 NULL NULL
NULL p3 A

statement ok
INSERT INTO payments VALUES ('p4', 'B', '2024-03-01 08:11:30')

statement ok
WATERMARK '2024-03-01 08:12:01'

query TTT rowsort
SELECT * FROM matched
----
n1 p1 A
n1 p2 A
n2 NULL B
n3 NULL NULL
NULL p3 A
NULL p4 B

statement ok
INSERT INTO notices VALUES ('n4', 'C', '2024-03-01 08:20');
INSERT INTO payments VALUES ('p5', 'C', '2024-03-01 08:30');
INSERT INTO notices VALUES ('n5', 'C', '2024-03-01 08:02')

query IIIII
SELECT read, used, duplicate, late, rejected FROM notices.counts
----
5 4 0 1 0

statement ok
END OF INPUT

query TTT
SELECT * FROM matched WHERE plate = 'C'
----
n4 p5 C
",
    );
}

const CELLS: &str = "
SET TIME ZONE = 'Asia/Shanghai';
CREATE STREAM accidents (id VARCHAR NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL, lon DOUBLE, lat DOUBLE, weight BIGINT)
    WITH (topic = 'accidents', format = 'json', event_time = 'at', idle_timeout = '1 day');
CREATE SINK spots WITH (topic = 'spots', format = 'json') AS
    SELECT window_start, s['cell'] AS cell, s['n'] AS n, s['total'] AS total, s['z'] AS z, s['z_total'] AS z_total
    FROM (SELECT window_start, unnest(gi_star(h3_cell(lon, lat, 8), weight)) AS s
          FROM accidents GROUP BY hop(at, INTERVAL '1 hour', INTERVAL '2 hours'));
";

#[test]
fn hot_spots_of_buckets_that_overlap_are_those_of_batch() {
    let rows = |from: u32, to: u32| {
        format!(
            "INSERT INTO accidents SELECT 'a' || i, '2024-03-01 ' || lpad(CAST(6 + i * 7 / 60 AS VARCHAR), 2, '0') || ':' || lpad(CAST(i * 7 % 60 AS VARCHAR), 2, '0'), \
             120.70 + (i * i) % 5 * 0.008, 30.75 + i % 4 * 0.008, 1 + i % 3 FROM generate_series({from}, {to}) AS s(i)"
        )
    };
    let test = format!(
        "statement ok
{first}

statement ok
CRASH

statement ok
{second}

query I
SELECT count(DISTINCT window_start) FROM spots
----
4

statement ok
END OF INPUT

query I
SELECT count(DISTINCT window_start) FROM spots
----
6

query IB
SELECT sum(n), count(*) FILTER (WHERE z IS NOT NULL) > 20 FROM spots
----
80 true

# Each row is one of batch, and the other way round.
query I
SELECT count(*) FROM (SELECT window_start, cell, n, total, round(z, 9), round(z_total, 9) FROM spots EXCEPT
    SELECT start, s['cell'], s['n'], s['total'], round(s['z'], 9), round(s['z_total'], 9) FROM
    (SELECT start, unnest(gi_star(h3_cell(lon, lat, 8), weight)) AS s FROM
     (SELECT *, unnest(hop_starts(at, INTERVAL '1 hour', INTERVAL '2 hours')) AS start FROM accidents) GROUP BY start))
----
0

query I
SELECT count(*) FROM (SELECT start, s['cell'], s['n'], s['total'], round(s['z'], 9), round(s['z_total'], 9) FROM
    (SELECT start, unnest(gi_star(h3_cell(lon, lat, 8), weight)) AS s FROM
     (SELECT *, unnest(hop_starts(at, INTERVAL '1 hour', INTERVAL '2 hours')) AS start FROM accidents) GROUP BY start) EXCEPT
    SELECT window_start, cell, n, total, round(z, 9), round(z_total, 9) FROM spots)
----
0
",
        first = rows(0, 19),
        second = rows(20, 39),
    );
    passes(CELLS, &test);
}
