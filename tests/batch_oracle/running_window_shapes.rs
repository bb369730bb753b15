//! OVER on streams: by event time and by bucket, which are equal to batch; DISTINCT ON over streams and tables.

use crate::shapes::{KeyOf, Shape};

fn stream(name: &'static str, query: &'static str) -> Shape {
    Shape::new(name, KeyOf::Stream, query)
}

pub(crate) fn by_event_time() -> Vec<Shape> {
    vec![
        // ROWS frames end where ties are told apart only if the order is total: the whole row decides, in batch by hand.
        stream(
            "running_rows",
            "SELECT id, g, n, at, count(*) OVER w AS c, sum(n) OVER w AS s, avg(x) OVER w AS a, min(n) OVER w AS l, max(x) OVER w AS h,
                    row_number() OVER w AS r, lag(id) OVER w AS p, first_value(id) OVER w AS f, nth_value(id, 2) OVER w AS t, bool_and(b) OVER w AS b
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at, id, n, x, b ROWS UNBOUNDED PRECEDING)",
        ),
        stream(
            "running_range",
            "SELECT id, g, n, at, count(*) OVER w AS c, sum(n) OVER w AS s, count(DISTINCT n) OVER w AS d, rank() OVER w AS r,
                    dense_rank() OVER w AS e, sum(n) FILTER (WHERE b) OVER w AS f
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at)",
        ),
        stream(
            "sliding_rows",
            "SELECT id, at, sum(x) OVER w AS s, min(n) OVER w AS l, count(DISTINCT n) OVER w AS d, first_value(id) OVER w AS f,
                    last_value(id) OVER w AS t, array_agg(n) OVER w AS ns,
                    sum(n) OVER (PARTITION BY g ORDER BY at, id, n, x, b ROWS BETWEEN 5 PRECEDING AND 2 PRECEDING) AS e
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at, id, n, x, b ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)",
        ),
        stream(
            "sliding_range",
            "SELECT id, at, g, sum(x) OVER w AS s, max(n) OVER w AS h, count(*) OVER w AS c, avg(n) OVER w AS a,
                    count(n) OVER (PARTITION BY g ORDER BY at RANGE BETWEEN INTERVAL '3 hours' PRECEDING AND INTERVAL '30 minutes' PRECEDING) AS e
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at RANGE BETWEEN INTERVAL '2 hours' PRECEDING AND CURRENT ROW)",
        ),
        stream(
            "sliding_range_days",
            "SELECT id, at, g, sum(n) OVER (PARTITION BY g ORDER BY at RANGE BETWEEN INTERVAL '2 days' PRECEDING AND CURRENT ROW) AS s FROM q",
        ),
        stream(
            "running_without_keys",
            "SELECT id, at, row_number() OVER (ORDER BY at, id) AS r, sum(n) OVER (ORDER BY at) AS s FROM q",
        ),
        stream(
            "running_in_bucket",
            "SELECT id, at, sum(n) OVER (PARTITION BY tumble(at, INTERVAL '6 hours'), g ORDER BY at) AS s,
                    lag(n, 2, 0) OVER (PARTITION BY tumble(at, INTERVAL '6 hours'), g ORDER BY at, id) AS l FROM q",
        ),
        stream("running_filtered", "SELECT id, at, g, r FROM (SELECT id, at, g, row_number() OVER (PARTITION BY g ORDER BY at, id) AS r FROM q) WHERE r % 3 = 1"),
        stream("running_qualify", "SELECT id, at, g FROM q QUALIFY count(*) OVER (PARTITION BY g ORDER BY at RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) >= 3"),
        stream("running_twice", "SELECT id, at, sum(d) OVER (ORDER BY at) AS s FROM a")
            .view("a", "SELECT id, at, n - lag(n) OVER (PARTITION BY g ORDER BY at, id) AS d FROM q"),
        stream("tumble_of_running", "SELECT window_start, count(*) AS c FROM a WHERE n > p GROUP BY tumble(at, INTERVAL '2 hours') EMIT FINAL")
            .view("a", "SELECT at, n, lag(n) OVER (PARTITION BY g ORDER BY at, id) AS p FROM q")
            .batch("SELECT tumble(at, INTERVAL '2 hours') AS window_start, count(*) AS c FROM a WHERE n > p GROUP BY tumble(at, INTERVAL '2 hours')"),
    ]
}

/// Frames of groups, rows with a value, and frames that end behind the row.
pub(crate) fn frames() -> Vec<Shape> {
    vec![
        stream(
            "groups",
            "SELECT id, at, g, sum(n) OVER (PARTITION BY g ORDER BY at GROUPS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s,
                    count(*) OVER (PARTITION BY g ORDER BY at GROUPS BETWEEN 3 PRECEDING AND 1 PRECEDING) AS c,
                    max(n) OVER (PARTITION BY g ORDER BY at GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS m FROM s ",
        ),
        stream(
            "ignore_nulls",
            "SELECT id, at, first_value(n) IGNORE NULLS OVER w AS f, last_value(n) IGNORE NULLS OVER w AS l, nth_value(n, 2) IGNORE NULLS OVER w AS t,
                    last_value(x) IGNORE NULLS OVER w AS y, lag(n) IGNORE NULLS OVER w AS p, lag(n, 2, -1) IGNORE NULLS OVER w AS q, lag(n) OVER w AS o
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at, id, n, x, b ROWS UNBOUNDED PRECEDING)",
        ),
        stream(
            "ignore_nulls_sliding",
            "SELECT id, at, first_value(n) IGNORE NULLS OVER w AS f, last_value(n) IGNORE NULLS OVER w AS l, first_value(n) OVER w AS g
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at, id, n, x, b ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)",
        ),
        stream(
            "ignore_nulls_in_bucket",
            "SELECT id, at, last_value(n) IGNORE NULLS OVER (PARTITION BY g, tumble(at, INTERVAL '2 hours') ORDER BY at, id, n, x, b ROWS UNBOUNDED PRECEDING) AS l FROM s ",
        ),
        stream(
            "nth_from_the_end",
            "SELECT id, at, nth_value(n, -2) OVER (PARTITION BY g ORDER BY at, id, n, x, b ROWS UNBOUNDED PRECEDING) AS t FROM s ",
        ),
        stream(
            "lead",
            "SELECT id, at, g, lead(id) OVER w AS l, lead(n, 2, -1) OVER w AS m, lag(id) OVER w AS p, row_number() OVER w AS r, rank() OVER (PARTITION BY g ORDER BY at) AS k
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at, id, n, x, b)",
        ),
        stream(
            "rows_ahead",
            "SELECT id, at, sum(n) OVER w AS s, count(*) OVER w AS c, first_value(id) OVER w AS f, last_value(id) OVER w AS l, min(x) OVER w AS i,
                    max(n) OVER (PARTITION BY g ORDER BY at, id, n, x, b ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING) AS m,
                    sum(n) OVER (PARTITION BY g ORDER BY at, id, n, x, b ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) AS u
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at, id, n, x, b ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
        ),
        stream(
            "range_ahead",
            "SELECT id, at, g, count(*) OVER w AS c, sum(n) OVER w AS s, rank() OVER w AS k, dense_rank() OVER w AS d,
                    min(n) OVER (PARTITION BY g ORDER BY at RANGE BETWEEN INTERVAL '10 minutes' FOLLOWING AND INTERVAL '1 hour' FOLLOWING) AS m
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at RANGE BETWEEN INTERVAL '30 minutes' PRECEDING AND INTERVAL '30 minutes' FOLLOWING)",
        ),
        stream(
            "groups_ahead",
            "SELECT id, at, sum(n) OVER (PARTITION BY g ORDER BY at GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS s,
                    count(*) OVER (PARTITION BY g ORDER BY at GROUPS BETWEEN CURRENT ROW AND 2 FOLLOWING) AS c FROM s ",
        ),
        stream(
            "ahead_with_values",
            "SELECT id, at, first_value(n) IGNORE NULLS OVER w AS f, last_value(n) IGNORE NULLS OVER w AS l
             FROM s WINDOW w AS (PARTITION BY g ORDER BY at, id, n, x, b ROWS BETWEEN 1 FOLLOWING AND 4 FOLLOWING)",
        ),
        stream("ahead_without_keys", "SELECT id, at, lead(n) OVER (ORDER BY at, id) AS l FROM q"),
        stream(
            "tumble_of_lead",
            "SELECT window_start, count(*) AS c, max(d) AS d FROM a GROUP BY tumble(at, INTERVAL '2 hours') EMIT FINAL",
        )
        .view("a", "SELECT at, lead(n) OVER (PARTITION BY g ORDER BY at, id) - n AS d FROM q")
        .batch("SELECT tumble(at, INTERVAL '2 hours') AS window_start, count(*) AS c, max(d) AS d FROM a GROUP BY tumble(at, INTERVAL '2 hours')"),
        stream(
            "tumble_of_range_ahead",
            "SELECT window_start, count(*) AS c, sum(d) AS d FROM a GROUP BY tumble(at, INTERVAL '1 hour') EMIT FINAL",
        )
        .view("a", "SELECT at, count(*) OVER (PARTITION BY g ORDER BY at RANGE BETWEEN CURRENT ROW AND INTERVAL '45 minutes' FOLLOWING) AS d FROM q")
        .batch("SELECT tumble(at, INTERVAL '1 hour') AS window_start, count(*) AS c, sum(d) AS d FROM a GROUP BY tumble(at, INTERVAL '1 hour')"),
        stream("last_before_lead", "SELECT id, at, l FROM a WHERE l > 0")
            .view("a", "SELECT id, at, lead(n) OVER (PARTITION BY g ORDER BY at, id) AS l FROM q"),
    ]
}

/// Batch numbers the rows as they came.
pub(crate) fn by_arrival() -> Vec<Shape> {
    vec![
        stream(
            "arrival_running",
            "SELECT id, at, g, row_number() OVER w AS r, sum(x) OVER w AS s, count(DISTINCT n) OVER w AS d, max(n) OVER w AS h, lag(n) OVER w AS p,
                    first_value(id) OVER w AS f, nth_value(id, 3) OVER w AS t, rank() OVER w AS k FROM s WINDOW w AS (PARTITION BY g ORDER BY arrival)",
        )
        .batch(
            "SELECT id, at, g, row_number() OVER w AS r, sum(x) OVER w AS s, count(DISTINCT n) OVER w AS d, max(n) OVER w AS h, lag(n) OVER w AS p,
                    first_value(id) OVER w AS f, nth_value(id, 3) OVER w AS t, rank() OVER w AS k
             FROM (SELECT *, row_number() OVER () AS i FROM s) AS s WINDOW w AS (PARTITION BY g ORDER BY i)",
        ),
        stream(
            "arrival_sliding",
            "SELECT id, at, sum(n) OVER w AS s, avg(x) OVER w AS a, min(x) OVER w AS l, array_agg(id) OVER w AS ids
             FROM s WINDOW w AS (PARTITION BY g ORDER BY arrival ROWS BETWEEN 4 PRECEDING AND 1 PRECEDING)",
        )
        .batch(
            "SELECT id, at, sum(n) OVER w AS s, avg(x) OVER w AS a, min(x) OVER w AS l, array_agg(id) OVER w AS ids
             FROM (SELECT *, row_number() OVER () AS i FROM s) AS s WINDOW w AS (PARTITION BY g ORDER BY i ROWS BETWEEN 4 PRECEDING AND 1 PRECEDING)",
        ),
        stream(
            "arrival_with_values",
            "SELECT id, at, last_value(n) IGNORE NULLS OVER w AS l, lag(n) IGNORE NULLS OVER w AS p, first_value(n) IGNORE NULLS OVER w AS f
             FROM s WINDOW w AS (PARTITION BY g ORDER BY arrival ROWS UNBOUNDED PRECEDING)",
        )
        .batch(
            "SELECT id, at, last_value(n) IGNORE NULLS OVER w AS l, lag(n) IGNORE NULLS OVER w AS p, first_value(n) IGNORE NULLS OVER w AS f
             FROM (SELECT *, row_number() OVER () AS i FROM s) AS s WINDOW w AS (PARTITION BY g ORDER BY i ROWS UNBOUNDED PRECEDING)",
        ),
        stream("arrival_in_bucket", "SELECT id, at, count(*) OVER (PARTITION BY g, tumble(at, INTERVAL '1 hour') ORDER BY arrival) AS c FROM q")
            .batch("SELECT id, at, count(*) OVER (PARTITION BY g, tumble(at, INTERVAL '1 hour') ORDER BY i) AS c FROM (SELECT *, row_number() OVER () AS i FROM q) AS q"),
        stream("arrival_of_unnest", "SELECT m, sum(m) OVER (ORDER BY arrival) AS s FROM (SELECT unnest(make_array(n, n + 1)) AS m FROM q)")
            .batch("SELECT m, sum(m) OVER (ORDER BY i, m ROWS UNBOUNDED PRECEDING) AS s FROM (SELECT i, unnest(make_array(n, n + 1)) AS m FROM (SELECT *, row_number() OVER () AS i FROM q))"),
        stream("first_to_arrive", "SELECT id, g, n, at FROM s QUALIFY row_number() OVER (PARTITION BY g, n ORDER BY arrival) = 1")
            .batch("SELECT id, g, n, at FROM (SELECT *, row_number() OVER () AS i FROM s) AS s QUALIFY row_number() OVER (PARTITION BY g, n ORDER BY i) = 1"),
        stream("first_to_arrive_in_bucket", "SELECT g, n, at FROM s QUALIFY row_number() OVER (PARTITION BY g, tumble(at, INTERVAL '1 hour') ORDER BY arrival) = 1")
            .batch("SELECT g, n, at FROM (SELECT *, row_number() OVER () AS i FROM s) AS s QUALIFY row_number() OVER (PARTITION BY g, tumble(at, INTERVAL '1 hour') ORDER BY i) = 1"),
        stream("distinct_on_arrival", "SELECT DISTINCT ON (g) g, id, n FROM s ORDER BY g, arrival")
            .batch("SELECT g, id, n FROM (SELECT *, row_number() OVER () AS i FROM s) AS s QUALIFY row_number() OVER (PARTITION BY g ORDER BY i) = 1"),
        stream("arrival_subquery", "SELECT id, at FROM (SELECT id, at, row_number() OVER (PARTITION BY id ORDER BY arrival) AS r FROM s) WHERE r < 2")
            .batch("SELECT id, at FROM (SELECT id, at, row_number() OVER (PARTITION BY id ORDER BY i) AS r FROM (SELECT *, row_number() OVER () AS i FROM s) AS s) WHERE r < 2"),
    ]
}

pub(crate) fn by_bucket() -> Vec<Shape> {
    vec![
        stream(
            "top_of_bucket",
            "SELECT id, at, g, n FROM q QUALIFY row_number() OVER (PARTITION BY tumble(at, INTERVAL '1 hour') ORDER BY n DESC NULLS LAST, id) <= 3",
        ),
        stream(
            "bucket_functions",
            "SELECT id, at, lead(n) OVER w AS l, ntile(3) OVER w AS t, sum(n) OVER (PARTITION BY date_trunc('day', at), g) AS s,
                    avg(n) OVER (PARTITION BY date_trunc('day', at), g ORDER BY at, id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS a
             FROM q WINDOW w AS (PARTITION BY date_trunc('day', at) ORDER BY at, id)",
        ),
        stream(
            "top_of_windows",
            "SELECT window_start, window_end, g, c FROM a QUALIFY row_number() OVER (PARTITION BY window_start ORDER BY c DESC, g) <= 2",
        )
        .view("a", "SELECT tumble(at, INTERVAL '3 hours') AS window_start, window_end(tumble(at, INTERVAL '3 hours'), INTERVAL '3 hours') AS window_end, g, count(*) AS c FROM s GROUP BY tumble(at, INTERVAL '3 hours'), g"),
        stream(
            "share_of_windows",
            "SELECT window_start, g, c, sum(c) OVER (PARTITION BY window_start) AS total FROM a",
        )
        .view("a", "SELECT tumble(at, INTERVAL '3 hours') AS window_start, g, count(*) AS c FROM s GROUP BY tumble(at, INTERVAL '3 hours'), g"),
    ]
}

pub(crate) fn deduplicate() -> Vec<Shape> {
    vec![
        stream(
            "first_by_time",
            "SELECT id, g, n, at FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY at, id, n, x, b) = 1",
        ),
        stream(
            "first_by_time_in_bucket",
            "SELECT id, g, n, at FROM s QUALIFY row_number() OVER (PARTITION BY g, tumble(at, INTERVAL '2 hours') ORDER BY at, id, n, x, b) = 1",
        ),
        stream(
            "last_by_time_in_bucket",
            "SELECT id, g, n, at FROM s QUALIFY row_number() OVER (PARTITION BY g, tumble(at, INTERVAL '2 hours') ORDER BY at DESC, id, n, x, b) = 1",
        ),
        stream("distinct_on_stream", "SELECT DISTINCT ON (g) g, id, n, at FROM q ORDER BY g, at, id")
            .batch("SELECT g, id, n, at FROM q QUALIFY row_number() OVER (PARTITION BY g ORDER BY at, id) = 1"),
        stream("distinct_of_bucket", "SELECT DISTINCT tumble(at, INTERVAL '1 hour') AS h, g FROM s "),
        Shape::inferred(
            "distinct_on_table",
            "g",
            "SELECT DISTINCT ON (g) g, id, n FROM t ORDER BY g, n DESC NULLS LAST, id",
        )
        .batch("SELECT g, id, n FROM t QUALIFY row_number() OVER (PARTITION BY g ORDER BY n DESC NULLS LAST, id) = 1"),
        Shape::inferred(
            "distinct_on_expression",
            "h",
            "SELECT DISTINCT ON (k % 2) k % 2 AS h, id, g FROM u ORDER BY k % 2, id",
        )
        .batch("SELECT k % 2 AS h, id, g FROM u QUALIFY row_number() OVER (PARTITION BY k % 2 ORDER BY id) = 1"),
    ]
}
