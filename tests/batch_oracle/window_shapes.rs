//! Time buckets of every kind, over streams and tables. What a bucket is in batch SQL is written out by hand.

use crate::shapes::{KeyOf, Shape};

fn stream(name: &'static str, query: &'static str, batch: &'static str) -> Shape {
    Shape::new(name, KeyOf::Stream, query).batch(batch)
}

fn table(name: &'static str, key: &'static str, query: &'static str, batch: &'static str) -> Shape {
    Shape::inferred(name, key, query).batch(batch)
}

/// Overlapping buckets of streams.
pub(crate) fn hops() -> Vec<Shape> {
    vec![
        stream(
            "hop_final",
            "SELECT window_start, window_end, window_time, g, count(*) AS c, sum(n) AS sn, avg(x) AS ax, min(n) AS ln, max(g) AS hg,
                    bool_and(b) AS ab, count(DISTINCT n) AS dn, sum(DISTINCT n) AS sd, max(x) FILTER (WHERE b) AS hx
             FROM s GROUP BY hop(at, INTERVAL '20 minutes', INTERVAL '1 hour'), g EMIT FINAL",
            "SELECT w AS window_start, hop_end(w, INTERVAL '20 minutes', INTERVAL '1 hour') AS window_end,
                    instant_before(hop_end(w, INTERVAL '20 minutes', INTERVAL '1 hour')) AS window_time, g, count(*) AS c, sum(n) AS sn,
                    avg(x) AS ax, min(n) AS ln, max(g) AS hg, bool_and(b) AS ab, count(DISTINCT n) AS dn, sum(DISTINCT n) AS sd,
                    max(x) FILTER (WHERE b) AS hx
             FROM (SELECT *, unnest(hop_starts(at, INTERVAL '20 minutes', INTERVAL '1 hour')) AS w FROM s) AS a GROUP BY w, g",
        ),
        stream(
            "hop_no_divisor",
            "SELECT window_start, window_end, count(*) AS c, sum(x) AS sx FROM s GROUP BY hop(at, INTERVAL '25 minutes', INTERVAL '1 hour')",
            "SELECT w AS window_start, hop_end(w, INTERVAL '25 minutes', INTERVAL '1 hour') AS window_end, count(*) AS c, sum(x) AS sx
             FROM (SELECT *, unnest(hop_starts(at, INTERVAL '25 minutes', INTERVAL '1 hour')) AS w FROM s) AS a GROUP BY w",
        ),
        stream(
            "hop_shorter_than_its_slide",
            "SELECT hop(at, INTERVAL '1 hour', INTERVAL '15 minutes') AS h, g, count(*) AS c FROM q GROUP BY h, g EMIT FINAL",
            "SELECT w AS h, g, count(*) AS c FROM (SELECT *, unnest(hop_starts(at, INTERVAL '1 hour', INTERVAL '15 minutes')) AS w FROM q) AS a GROUP BY w, g",
        ),
        stream(
            "hop_of_days_by_the_hour",
            "SELECT window_start, window_end, count(*) AS c, count(DISTINCT id) AS d FROM s WHERE n > 0
             GROUP BY hop(at, INTERVAL '5 hours', INTERVAL '1 day') HAVING count(*) > 1 AND window_start > TIMESTAMP '2024-03-30T22:00:00Z'",
            "SELECT w AS window_start, hop_end(w, INTERVAL '5 hours', INTERVAL '1 day') AS window_end, count(*) AS c, count(DISTINCT id) AS d
             FROM (SELECT *, unnest(hop_starts(at, INTERVAL '5 hours', INTERVAL '1 day')) AS w FROM s WHERE n > 0) AS a
             GROUP BY w HAVING count(*) > 1 AND w > TIMESTAMP '2024-03-30T22:00:00Z'",
        ),
        stream(
            "hop_of_months_by_the_week",
            "SELECT window_start, window_end, g || 'x' AS gx, max(n) AS hn FROM s GROUP BY hop(at, INTERVAL '7 days', INTERVAL '1 month'), g || 'x'
             HAVING g || 'x' <> 'g1x' AND window_end > TIMESTAMP '2024-04-01T00:00:00Z'",
            "SELECT w AS window_start, hop_end(w, INTERVAL '7 days', INTERVAL '1 month') AS window_end, g || 'x' AS gx, max(n) AS hn
             FROM (SELECT *, unnest(hop_starts(at, INTERVAL '7 days', INTERVAL '1 month')) AS w FROM s) AS a
             GROUP BY w, g || 'x' HAVING g || 'x' <> 'g1x' AND hop_end(w, INTERVAL '7 days', INTERVAL '1 month') > TIMESTAMP '2024-04-01T00:00:00Z'",
        ),
        stream(
            "hop_of_lookup",
            "SELECT window_start, t.g AS g, count(*) AS c FROM s LEFT JOIN t ON t.id = 'a' || substr(s.id, 2)
             GROUP BY hop(s.at, INTERVAL '30 minutes', INTERVAL '90 minutes'), t.g EMIT FINAL",
            "SELECT w AS window_start, g, count(*) AS c FROM (SELECT t.g, unnest(hop_starts(s.at, INTERVAL '30 minutes', INTERVAL '90 minutes')) AS w
             FROM s LEFT JOIN t ON t.id = 'a' || substr(s.id, 2)) AS a GROUP BY w, g",
        ),
        table(
            "hop_changes",
            "window_start, g",
            "SELECT window_start, g, count(*) AS c, sum(n) AS s FROM s GROUP BY hop(at, INTERVAL '20 minutes', INTERVAL '1 hour'), g EMIT CHANGES",
            "SELECT w AS window_start, g, count(*) AS c, sum(n) AS s FROM (SELECT *, unnest(hop_starts(at, INTERVAL '20 minutes', INTERVAL '1 hour')) AS w FROM s) AS a GROUP BY w, g",
        ),
        stream(
            "hop_view",
            "SELECT window_start, c FROM hours WHERE c > 1",
            "SELECT w AS window_start, count(*) AS c FROM (SELECT *, unnest(hop_starts(at, INTERVAL '1 hour', INTERVAL '3 hours')) AS w FROM s) AS a
             GROUP BY w HAVING count(*) > 1",
        )
        .streamed_view("hours", "SELECT window_start, count(*) AS c FROM s GROUP BY hop(at, INTERVAL '1 hour', INTERVAL '3 hours')"),
    ]
}

/// Sessions of streams.
pub(crate) fn sessions() -> Vec<Shape> {
    vec![
        stream(
            "session_final",
            "SELECT window_start, window_end, g, count(*) AS c, sum(n) AS sn, avg(x) AS ax, min(n) AS ln, max(id) AS hi, count(DISTINCT n) AS dn,
                    sum(x) FILTER (WHERE b) AS bx FROM s GROUP BY session(at, INTERVAL '40 minutes'), g EMIT FINAL",
            "SELECT min(at) AS window_start, session_end(max(at), INTERVAL '40 minutes') AS window_end, g, count(*) AS c, sum(n) AS sn, avg(x) AS ax,
                    min(n) AS ln, max(id) AS hi, count(DISTINCT n) AS dn, sum(x) FILTER (WHERE b) AS bx
             FROM (SELECT *, sum(f) OVER (PARTITION BY g ORDER BY at) AS k
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY g ORDER BY at), INTERVAL '40 minutes') THEN 0 ELSE 1 END AS f FROM s) AS a) AS b
             GROUP BY g, k",
        ),
        stream(
            "session_without_keys",
            "SELECT window_start, window_end, window_time, count(*) AS c FROM q GROUP BY session(at, INTERVAL '12 minutes') HAVING count(*) > 1",
            "SELECT min(at) AS window_start, session_end(max(at), INTERVAL '12 minutes') AS window_end,
                    instant_before(session_end(max(at), INTERVAL '12 minutes')) AS window_time, count(*) AS c
             FROM (SELECT *, sum(f) OVER (ORDER BY at) AS k
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (ORDER BY at), INTERVAL '12 minutes') THEN 0 ELSE 1 END AS f FROM q) AS a) AS b
             GROUP BY k HAVING count(*) > 1",
        ),
        stream(
            "session_having",
            "SELECT w, g, c FROM (SELECT session(at, INTERVAL '1 day') AS w, coalesce(g, 'none') AS g, count(*) AS c FROM s WHERE n IS NOT NULL GROUP BY 1, 2) AS a
             WHERE w > TIMESTAMP '2024-03-30T23:00:00Z' AND g <> 'g2'",
            "SELECT min(at) AS w, g, count(*) AS c
             FROM (SELECT *, sum(f) OVER (PARTITION BY g ORDER BY at) AS k
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY g ORDER BY at), INTERVAL '1 day') THEN 0 ELSE 1 END AS f
                         FROM (SELECT at, coalesce(g, 'none') AS g FROM s WHERE n IS NOT NULL) AS c) AS a) AS b
             GROUP BY g, k HAVING min(at) > TIMESTAMP '2024-03-30T23:00:00Z' AND g <> 'g2'",
        ),
        table(
            "session_changes",
            "window_start, g",
            "SELECT window_start, window_end, g, count(*) AS c, sum(n) AS sn, count(DISTINCT n) AS dn FROM s GROUP BY session(at, INTERVAL '30 minutes'), g EMIT CHANGES",
            "SELECT min(at) AS window_start, session_end(max(at), INTERVAL '30 minutes') AS window_end, g, count(*) AS c, sum(n) AS sn, count(DISTINCT n) AS dn
             FROM (SELECT *, sum(f) OVER (PARTITION BY g ORDER BY at) AS k
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY g ORDER BY at), INTERVAL '30 minutes') THEN 0 ELSE 1 END AS f FROM s) AS a) AS b
             GROUP BY g, k",
        ),
        table(
            "session_changes_grouped",
            "g",
            "SELECT g, count(*) AS sessions, max(c) AS most FROM (SELECT session(at, INTERVAL '30 minutes') AS w, g, count(*) AS c FROM s GROUP BY 1, g) AS a GROUP BY g EMIT CHANGES",
            "SELECT g, count(*) AS sessions, max(c) AS most FROM (SELECT g, k, count(*) AS c
             FROM (SELECT *, sum(f) OVER (PARTITION BY g ORDER BY at) AS k
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY g ORDER BY at), INTERVAL '30 minutes') THEN 0 ELSE 1 END AS f FROM s) AS a) AS b
             GROUP BY g, k) AS d GROUP BY g",
        ),
    ]
}

/// Overlapping buckets and sessions of tables.
pub(crate) fn tables() -> Vec<Shape> {
    vec![
        table(
            "hop_over_table",
            "window_start, g",
            "SELECT window_start, window_end, g, count(*) AS c, sum(x) AS sx, max(n) AS hn FROM t GROUP BY hop(at, INTERVAL '1 hour', INTERVAL '150 minutes'), g",
            "SELECT w AS window_start, hop_end(w, INTERVAL '1 hour', INTERVAL '150 minutes') AS window_end, g, count(*) AS c, sum(x) AS sx, max(n) AS hn
             FROM (SELECT *, unnest(hop_starts(at, INTERVAL '1 hour', INTERVAL '150 minutes')) AS w FROM t) AS a GROUP BY w, g",
        ),
        table(
            "hop_over_table_having",
            "day",
            "SELECT hop(at, INTERVAL '1 day', INTERVAL '1 month') AS day, array_agg(id ORDER BY id) AS ids FROM t WHERE b GROUP BY day HAVING window_end < TIMESTAMP '2024-05-01T00:00:00Z'",
            "SELECT w AS day, array_agg(id ORDER BY id) AS ids FROM (SELECT *, unnest(hop_starts(at, INTERVAL '1 day', INTERVAL '1 month')) AS w FROM t WHERE b) AS a
             GROUP BY w HAVING hop_end(w, INTERVAL '1 day', INTERVAL '1 month') < TIMESTAMP '2024-05-01T00:00:00Z'",
        ),
        table(
            "session_over_table",
            "window_start, g",
            "SELECT window_start, window_end, g, count(*) AS c, sum(n) AS sn, array_agg(id ORDER BY id) AS ids FROM t GROUP BY session(at, INTERVAL '30 minutes'), g",
            "SELECT min(at) AS window_start, session_end(max(at), INTERVAL '30 minutes') AS window_end, g, count(*) AS c, sum(n) AS sn, array_agg(id ORDER BY id) AS ids
             FROM (SELECT *, sum(f) OVER (PARTITION BY g ORDER BY at) AS k
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY g ORDER BY at), INTERVAL '30 minutes') THEN 0 ELSE 1 END AS f FROM t WHERE at IS NOT NULL) AS a) AS b
             GROUP BY g, k",
        ),
        table(
            "session_over_table_without_keys",
            "window_start",
            "SELECT window_start, count(*) AS c, sum(k) AS s FROM u GROUP BY session(at, INTERVAL '45 minutes') HAVING count(*) > 1 AND window_start > TIMESTAMP '2024-03-30T22:30:00Z'",
            "SELECT min(at) AS window_start, count(*) AS c, sum(k) AS s
             FROM (SELECT *, sum(f) OVER (ORDER BY at) AS z
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (ORDER BY at), INTERVAL '45 minutes') THEN 0 ELSE 1 END AS f FROM u WHERE at IS NOT NULL) AS a) AS b
             GROUP BY z HAVING count(*) > 1 AND min(at) > TIMESTAMP '2024-03-30T22:30:00Z'",
        ),
        table(
            "session_over_join",
            "window_start, g, b",
            "SELECT window_start, u.g, t.b, count(*) AS c FROM t JOIN u ON u.g = t.g WHERE t.n > 0 GROUP BY session(t.at, INTERVAL '1 hour'), u.g, t.b",
            "SELECT min(at) AS window_start, g, b, count(*) AS c
             FROM (SELECT *, sum(f) OVER (PARTITION BY g, b ORDER BY at) AS k
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY g, b ORDER BY at), INTERVAL '1 hour') THEN 0 ELSE 1 END AS f
                         FROM (SELECT t.at, u.g, t.b FROM t JOIN u ON u.g = t.g WHERE t.n > 0 AND t.at IS NOT NULL) AS e) AS a) AS d
             GROUP BY g, b, k",
        ),
    ]
}

/// `EMIT FINAL` over tables.
pub(crate) fn finals_of_tables() -> Vec<Shape> {
    vec![
        stream(
            "table_final",
            "SELECT window_start, window_end, g, count(*) AS c, sum(n) AS sn, max(x) AS hx, count(DISTINCT n) AS dn FROM timed
             GROUP BY tumble(at, INTERVAL '1 hour'), g HAVING count(*) > 1 EMIT FINAL",
            "SELECT tumble(at, INTERVAL '1 hour') AS window_start, window_end(tumble(at, INTERVAL '1 hour'), INTERVAL '1 hour') AS window_end,
                    g, count(*) AS c, sum(n) AS sn, max(x) AS hx, count(DISTINCT n) AS dn FROM timed GROUP BY tumble(at, INTERVAL '1 hour'), g HAVING count(*) > 1",
        ),
        stream(
            "table_final_lists",
            "SELECT date_trunc('day', at) AS d, b, array_agg(id ORDER BY id) AS ids FROM timed GROUP BY date_trunc('day', at), b EMIT FINAL",
            "SELECT date_trunc('day', at) AS d, b, array_agg(id ORDER BY id) AS ids FROM timed GROUP BY date_trunc('day', at), b",
        ),
        stream(
            "table_final_hop",
            "SELECT window_start, window_end, count(*) AS c, sum(n) AS s FROM timed GROUP BY hop(at, INTERVAL '20 minutes', INTERVAL '1 hour') EMIT FINAL",
            "SELECT w AS window_start, hop_end(w, INTERVAL '20 minutes', INTERVAL '1 hour') AS window_end, count(*) AS c, sum(n) AS s
             FROM (SELECT *, unnest(hop_starts(at, INTERVAL '20 minutes', INTERVAL '1 hour')) AS w FROM timed) AS a GROUP BY w",
        ),
        stream(
            "table_final_session",
            "SELECT window_start, g, count(*) AS c, sum(n) AS sn FROM timed GROUP BY session(at, INTERVAL '20 minutes'), g EMIT FINAL",
            "SELECT min(at) AS window_start, g, count(*) AS c, sum(n) AS sn
             FROM (SELECT *, sum(f) OVER (PARTITION BY g ORDER BY at) AS k
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY g ORDER BY at), INTERVAL '20 minutes') THEN 0 ELSE 1 END AS f FROM timed) AS a) AS b
             GROUP BY g, k",
        ),
        stream(
            "table_final_of_join",
            "SELECT date_bin(INTERVAL '1 hour', timed.at) AS h, u.k, count(*) AS c FROM timed JOIN u ON u.g = timed.g GROUP BY date_bin(INTERVAL '1 hour', timed.at), u.k EMIT FINAL",
            "SELECT date_bin(INTERVAL '1 hour', timed.at) AS h, u.k, count(*) AS c FROM timed JOIN u ON u.g = timed.g GROUP BY date_bin(INTERVAL '1 hour', timed.at), u.k",
        ),
        stream(
            "table_final_twice",
            "SELECT tumble(w, INTERVAL '1 day') AS d, sum(c) AS c, count(*) AS n FROM (SELECT tumble(at, INTERVAL '1 hour') AS w, g, count(*) AS c FROM timed GROUP BY 1, g) AS a
             GROUP BY tumble(w, INTERVAL '1 day') EMIT FINAL",
            "SELECT tumble(w, INTERVAL '1 day') AS d, sum(c) AS c, count(*) AS n FROM (SELECT tumble(at, INTERVAL '1 hour') AS w, g, count(*) AS c FROM timed GROUP BY 1, g) AS a
             GROUP BY tumble(w, INTERVAL '1 day')",
        ),
        table(
            "table_at_a_pace",
            "g",
            "SELECT g, count(*) AS c, sum(n) AS s FROM t GROUP BY g EMIT CHANGES EVERY '5 seconds'",
            "SELECT g, count(*) AS c, sum(n) AS s FROM t GROUP BY g",
        ),
    ]
}

/// Rows that come behind the watermark, but within the lateness that the query allows.
pub(crate) fn late() -> Vec<Shape> {
    vec![
        stream(
            "late_tumble",
            "SELECT window_start, g, c FROM a",
            "SELECT tumble(at, INTERVAL '1 hour') AS window_start, g, count(*) AS c FROM later GROUP BY tumble(at, INTERVAL '1 hour'), g",
        )
        .streamed_view(
            "a WITH (allowed_lateness = '30 minutes')",
            "SELECT window_start, g, count(*) AS c FROM later GROUP BY tumble(at, INTERVAL '1 hour'), g",
        ),
        stream(
            "late_hop",
            "SELECT window_start, g, c FROM a",
            "SELECT w AS window_start, g, count(*) AS c FROM (SELECT *, unnest(hop_starts(at, INTERVAL '15 minutes', INTERVAL '40 minutes')) AS w FROM later) AS b GROUP BY w, g",
        )
        .streamed_view(
            "a WITH (allowed_lateness = '30 minutes')",
            "SELECT window_start, g, count(*) AS c FROM later GROUP BY hop(at, INTERVAL '15 minutes', INTERVAL '40 minutes'), g",
        ),
        stream(
            "late_session",
            "SELECT window_start, g, c FROM a",
            "SELECT min(at) AS window_start, g, count(*) AS c
             FROM (SELECT *, sum(f) OVER (PARTITION BY g ORDER BY at) AS k
                   FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY g ORDER BY at), INTERVAL '15 minutes') THEN 0 ELSE 1 END AS f FROM later) AS x) AS y
             GROUP BY g, k",
        )
        .streamed_view(
            "a WITH (allowed_lateness = '30 minutes')",
            "SELECT window_start, g, count(*) AS c FROM later GROUP BY session(at, INTERVAL '15 minutes'), g",
        ),
        stream(
            "late_nested",
            "SELECT tumble(window_start, INTERVAL '1 day') AS d, count(*) AS n, sum(c) AS c FROM a GROUP BY tumble(window_start, INTERVAL '1 day')",
            "SELECT tumble(w, INTERVAL '1 day') AS d, count(*) AS n, sum(c) AS c
             FROM (SELECT tumble(at, INTERVAL '1 hour') AS w, g, count(*) AS c FROM later GROUP BY 1, g) AS b GROUP BY tumble(w, INTERVAL '1 day')",
        )
        .streamed_view(
            "a WITH (allowed_lateness = '30 minutes')",
            "SELECT window_start, g, count(*) AS c FROM later GROUP BY tumble(at, INTERVAL '1 hour'), g",
        ),
    ]
}

/// Buckets of buckets.
pub(crate) fn nested() -> Vec<Shape> {
    vec![
        stream(
            "tumble_of_hop",
            "SELECT window_start, count(*) AS n, max(c) AS most FROM a GROUP BY tumble(window_time, INTERVAL '2 hours')",
            "SELECT tumble(t, INTERVAL '2 hours') AS window_start, count(*) AS n, max(c) AS most
             FROM (SELECT instant_before(hop_end(w, INTERVAL '25 minutes', INTERVAL '1 hour')) AS t, g, count(*) AS c
                   FROM (SELECT *, unnest(hop_starts(at, INTERVAL '25 minutes', INTERVAL '1 hour')) AS w FROM s) AS b GROUP BY w, g) AS c GROUP BY tumble(t, INTERVAL '2 hours')",
        )
        .streamed_view("a", "SELECT window_time, g, count(*) AS c FROM s GROUP BY hop(at, INTERVAL '25 minutes', INTERVAL '1 hour'), g"),
        stream(
            "hop_of_tumble",
            "SELECT window_start, g, count(*) AS n, sum(c) AS c FROM a GROUP BY hop(window_start, INTERVAL '1 hour', INTERVAL '3 hours'), g",
            "SELECT v AS window_start, g, count(*) AS n, sum(c) AS c FROM (SELECT g, c, unnest(hop_starts(w, INTERVAL '1 hour', INTERVAL '3 hours')) AS v
             FROM (SELECT tumble(at, INTERVAL '30 minutes') AS w, g, count(*) AS c FROM s GROUP BY tumble(at, INTERVAL '30 minutes'), g) AS b) AS d GROUP BY v, g",
        )
        .streamed_view("a", "SELECT window_start, g, count(*) AS c FROM s GROUP BY tumble(at, INTERVAL '30 minutes'), g"),
        stream(
            "tumble_of_session",
            "SELECT tumble(window_end, INTERVAL '1 day') AS d, count(*) AS sessions, max(c) AS most FROM a GROUP BY tumble(window_end, INTERVAL '1 day')",
            "SELECT tumble(e, INTERVAL '1 day') AS d, count(*) AS sessions, max(c) AS most
             FROM (SELECT session_end(max(at), INTERVAL '30 minutes') AS e, count(*) AS c
                   FROM (SELECT *, sum(f) OVER (PARTITION BY g ORDER BY at) AS k
                         FROM (SELECT *, CASE WHEN at <= session_end(lag(at) OVER (PARTITION BY g ORDER BY at), INTERVAL '30 minutes') THEN 0 ELSE 1 END AS f FROM s) AS x) AS y
                   GROUP BY g, k) AS z GROUP BY tumble(e, INTERVAL '1 day')",
        )
        .streamed_view("a", "SELECT window_end, g, count(*) AS c FROM s GROUP BY session(at, INTERVAL '30 minutes'), g"),
        stream(
            "session_of_tumble",
            "SELECT window_start, window_end, count(*) AS n FROM (SELECT window_time, count(*) AS c FROM s GROUP BY tumble(at, INTERVAL '10 minutes')) AS a
             GROUP BY session(window_time, INTERVAL '10 minutes')",
            "SELECT min(t) AS window_start, session_end(max(t), INTERVAL '10 minutes') AS window_end, count(*) AS n
             FROM (SELECT *, sum(f) OVER (ORDER BY t) AS k
                   FROM (SELECT *, CASE WHEN t <= session_end(lag(t) OVER (ORDER BY t), INTERVAL '10 minutes') THEN 0 ELSE 1 END AS f
                         FROM (SELECT DISTINCT instant_before(window_end(at, INTERVAL '10 minutes')) AS t FROM s) AS x) AS y) AS z GROUP BY k",
        ),
    ]
}
