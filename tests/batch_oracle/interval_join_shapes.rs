//! Joins of streams within bounds on event time, and what reads them.

use crate::shapes::{KeyOf, Shape};

fn stream(name: &'static str, query: &'static str) -> Shape {
    Shape::new(name, KeyOf::Stream, query)
}

pub(crate) fn all() -> Vec<Shape> {
    let near =
        "SELECT s.id, s.g AS sg, s.at AS sat, q.id AS qid, q.n AS qn, q.at AS qat FROM s LEFT JOIN q ON s.g = q.g
        AND q.at BETWEEN s.at - INTERVAL '20 minutes' AND s.at + INTERVAL '1 hour'";
    vec![
        stream(
            "interval_inner",
            "SELECT s.id, s.n, q.id AS qid, s.at, q.at AS qat FROM s JOIN q ON s.g = q.g
                AND q.at BETWEEN s.at - INTERVAL '1 hour' AND s.at + INTERVAL '2 hours'",
        ),
        stream("interval_left", near),
        stream(
            "interval_right",
            "SELECT s.id, q.id AS qid, q.at FROM s RIGHT JOIN q ON s.g = q.g AND s.n < q.n
                AND s.at >= q.at - INTERVAL '90 minutes' AND s.at < q.at + INTERVAL '5 minutes'",
        ),
        stream(
            "interval_where",
            "SELECT s.id, q.id AS qid FROM s, q WHERE q.at > s.at - INTERVAL '10 minutes' AND s.at + INTERVAL '1 hour' >= q.at
                AND s.g = q.g AND s.n IS NOT NULL",
        ),
        stream(
            "interval_exists",
            "SELECT id, g, at FROM s WHERE EXISTS (SELECT 1 FROM q WHERE q.g = s.g AND q.at BETWEEN s.at AND s.at + INTERVAL '1 hour')",
        ),
        stream(
            "interval_exists_with_condition",
            "SELECT id, n FROM s WHERE EXISTS (SELECT 1 FROM q WHERE q.g = s.g AND q.n > s.n
                AND q.at BETWEEN s.at - INTERVAL '1 hour' AND s.at + INTERVAL '1 hour')",
        ),
        stream(
            "interval_not_exists",
            "SELECT id, g, at FROM s WHERE NOT EXISTS (SELECT 1 FROM q WHERE q.g = s.g
                AND q.at BETWEEN s.at - INTERVAL '30 minutes' AND s.at + INTERVAL '30 minutes')",
        ),
        stream(
            "interval_mark",
            "SELECT id, n FROM s WHERE n > 3 OR EXISTS (SELECT 1 FROM q WHERE q.g = s.g
                AND q.at BETWEEN s.at - INTERVAL '30 minutes' AND s.at + INTERVAL '30 minutes')",
        ),
        stream(
            "interval_in",
            "SELECT id, n FROM s WHERE n IN (SELECT q.n FROM q WHERE q.at BETWEEN s.at - INTERVAL '30 minutes' AND s.at + INTERVAL '3 hours')",
        ),
        stream(
            "interval_semi",
            "SELECT s.id FROM s LEFT SEMI JOIN q ON s.g = q.g AND q.at >= s.at AND q.at <= s.at + INTERVAL '15 minutes'",
        ),
        stream(
            "interval_anti",
            "SELECT s.id FROM s LEFT ANTI JOIN q ON s.g = q.g AND q.at >= s.at AND q.at <= s.at + INTERVAL '15 minutes'",
        ),
        stream(
            "interval_without_keys",
            "SELECT s.id, q.id AS qid FROM s LEFT JOIN q ON q.at BETWEEN s.at - INTERVAL '5 minutes' AND s.at + INTERVAL '5 minutes'",
        ),
        stream("interval_equal_times", "SELECT s.id, q.id AS qid, s.at FROM s LEFT JOIN q ON s.at = q.at"),
        stream(
            "interval_of_itself",
            "SELECT a.id, b.id AS bid FROM s AS a JOIN s AS b ON a.g = b.g AND b.at > a.at AND b.at <= a.at + INTERVAL '1 hour'",
        ),
        stream(
            "interval_nulls_equal",
            "SELECT s.id, q.id AS qid FROM s LEFT JOIN q ON (s.g IS NOT DISTINCT FROM q.g)
                AND q.at BETWEEN s.at - INTERVAL '1 hour' AND s.at",
        ),
        stream(
            "interval_of_function",
            "SELECT s.id, q.id AS qid FROM s LEFT JOIN q ON s.g = q.g AND q.at >= s.at AND q.at <= add_days(s.at, 1)",
        ),
        stream(
            "interval_of_rows",
            "SELECT s.id, q.id AS qid FROM s LEFT JOIN q ON q.g = s.g AND q.at >= s.at
                AND q.at <= CASE WHEN s.n > 2 THEN s.at + INTERVAL '3 hours' ELSE s.at + INTERVAL '10 minutes' END",
        ),
        stream("interval_of_column", "SELECT d.id, q.id AS qid, d.due FROM d LEFT JOIN q ON d.g = q.g AND q.at >= d.at AND q.at <= d.due")
            .view("d", "SELECT id, g, at, at + INTERVAL '45 minutes' AS due FROM s"),
        stream(
            "interval_of_shifted_column",
            "SELECT d.id, q.id AS qid FROM d LEFT JOIN q ON d.g = q.g AND q.at >= d.since AND q.at <= d.since + INTERVAL '2 hours'",
        )
        .view("d", "SELECT id, g, at - INTERVAL '45 minutes' AS since FROM s"),
        stream(
            "interval_of_months",
            "SELECT s.id, q.id AS qid FROM s LEFT JOIN q ON s.g = q.g AND q.at <= s.at AND q.at + INTERVAL '1 month' > s.at",
        ),
        stream(
            "interval_of_one_bucket",
            "SELECT s.id, q.id AS qid FROM s LEFT JOIN q ON s.g = q.g AND tumble(s.at, INTERVAL '1 hour') = tumble(q.at, INTERVAL '1 hour')",
        ),
        stream(
            "interval_of_days",
            "SELECT s.id, q.id AS qid FROM s LEFT JOIN q ON s.n = q.n AND date_trunc('day', q.at) <= date_trunc('day', s.at)
                AND date_trunc('day', q.at) >= date_trunc('day', s.at + INTERVAL '90 minutes')",
        ),
        stream(
            "interval_of_working_days",
            "SELECT s.id, q.id AS qid FROM s LEFT JOIN q ON s.g = q.g AND q.at >= s.at AND q.at <= add_working_days(s.at, 1)",
        )
        .batch(
            "SELECT s.id, q.id AS qid FROM s CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c
                LEFT JOIN q ON s.g = q.g AND q.at >= s.at AND q.at <= add_working_days(c, s.at, 1)",
        ),
        stream("bucket_of_interval", "SELECT tumble(sat, INTERVAL '1 hour') AS h, sg, count(*) AS c, count(qid) AS m FROM a GROUP BY tumble(sat, INTERVAL '1 hour'), sg")
            .view("a", near),
        stream("bucket_of_other_time", "SELECT tumble(qat, INTERVAL '1 hour') AS h, count(*) AS c, sum(qn) AS m FROM a GROUP BY tumble(qat, INTERVAL '1 hour')")
            .view("a", near),
        stream("bucket_of_anti", "SELECT date_trunc('day', at) AS d, count(*) AS c FROM a GROUP BY date_trunc('day', at)").view(
            "a",
            "SELECT id, at FROM s WHERE NOT EXISTS (SELECT 1 FROM q WHERE q.g = s.g AND q.at BETWEEN s.at AND s.at + INTERVAL '30 minutes')",
        ),
        stream(
            "interval_of_interval",
            "SELECT a.id, a.qid, s.id AS sid FROM a LEFT JOIN s ON s.g = a.sg AND s.at BETWEEN a.sat AND a.sat + INTERVAL '1 hour'",
        )
        .view("a", near),
        stream(
            "interval_by_the_other_time",
            "SELECT a.id, a.qid, s.id AS sid FROM a JOIN s ON s.g = a.sg AND s.at BETWEEN a.qat - INTERVAL '10 minutes' AND a.qat + INTERVAL '30 minutes'",
        )
        .view("a", near),
        stream("interval_of_lookups", "SELECT l.id, q.id AS qid, l.un FROM l JOIN q ON l.g = q.g AND q.at BETWEEN l.at AND l.at + INTERVAL '2 hours'")
            .view("l", "SELECT s.id, s.g, s.at, u.n AS un FROM s LEFT JOIN u ON u.id = 'a' || substr(s.id, 2)"),
        stream("lookup_of_interval", "SELECT a.id, a.qid, u.n FROM a LEFT JOIN u ON u.id = 'a' || substr(a.id, 2)").view("a", near),
        stream("interval_of_union", "SELECT e.id, q.id AS qid FROM e LEFT JOIN q ON e.g = q.g AND q.at BETWEEN e.at AND e.at + INTERVAL '1 hour'")
            .view("e", "SELECT id, g, at FROM s WHERE b UNION ALL SELECT id, g, at FROM q WHERE n > 0"),
    ]
}

/// Hours of both streams.
fn hours(shape: Shape) -> Shape {
    shape
        .view("a", "SELECT tumble(at, INTERVAL '1 hour') AS h, g, count(*) AS c, sum(n) AS n FROM s GROUP BY tumble(at, INTERVAL '1 hour'), g")
        .view("o", "SELECT tumble(at, INTERVAL '1 hour') AS h, window_end(tumble(at, INTERVAL '1 hour'), INTERVAL '1 hour') AS e, g, count(*) AS c
            FROM q GROUP BY tumble(at, INTERVAL '1 hour'), g")
}

pub(crate) fn of_buckets() -> Vec<Shape> {
    vec![
        hours(stream("buckets_inner", "SELECT a.h, a.g, a.c, o.c AS oc FROM a JOIN o ON a.h = o.h AND a.g = o.g")),
        hours(stream("buckets_left", "SELECT a.h, a.g, a.c, o.c AS oc FROM a LEFT JOIN o ON a.h = o.h AND a.g = o.g")),
        hours(stream("buckets_right", "SELECT o.h, o.g, a.c, o.c AS oc FROM a RIGHT JOIN o ON a.h = o.h AND a.g = o.g")),
        hours(stream(
            "buckets_by_ends",
            "SELECT a.e, a.g, a.c, o.c AS oc FROM (SELECT window_end(h, INTERVAL '1 hour') AS e, g, c FROM a) AS a
                LEFT JOIN o ON a.e = o.e AND a.g IS NOT DISTINCT FROM o.g",
        )),
        hours(stream("buckets_of_buckets", "SELECT tumble(h, INTERVAL '1 day') AS d, g, sum(c) AS c, max(n) AS n FROM a GROUP BY tumble(h, INTERVAL '1 day'), g")),
        hours(stream(
            "buckets_of_joined_buckets",
            "SELECT tumble(h, INTERVAL '3 hours') AS d, count(*) AS c, sum(oc) AS oc
                FROM (SELECT a.h, a.c, o.c AS oc FROM a LEFT JOIN o ON a.h = o.h AND a.g = o.g) AS j GROUP BY tumble(h, INTERVAL '3 hours')",
        )),
        hours(stream(
            "rows_with_their_bucket",
            "SELECT s.id, s.at, o.c FROM s LEFT JOIN o ON s.g = o.g AND s.at >= o.h AND s.at < o.e",
        )),
        hours(stream(
            "buckets_of_other_widths",
            "SELECT d.d, d.g, d.c, a.h, a.c AS ac FROM d JOIN a ON a.g = d.g AND a.h >= d.d AND a.h < d.e",
        ))
        .view("d", "SELECT tumble(at, INTERVAL '1 day') AS d, window_end(tumble(at, INTERVAL '1 day'), INTERVAL '1 day') AS e, g, count(*) AS c
            FROM q GROUP BY tumble(at, INTERVAL '1 day'), g"),
    ]
}
