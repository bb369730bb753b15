//! Queries over streams, alone and with tables that were loaded before.

use crate::shapes::{KeyOf, Shape};

fn stream(name: &'static str, query: &'static str) -> Shape {
    Shape::new(name, KeyOf::Stream, query)
}

pub(crate) fn all() -> Vec<Shape> {
    vec![
        stream("stream_filter", "SELECT id, n * 2 AS n, at FROM s WHERE n > 0 AND b"),
        stream("stream_union", "SELECT id, n FROM s UNION ALL SELECT id, n + 100 FROM q"),
        stream("stream_union_same", "SELECT id, n FROM s WHERE b UNION ALL SELECT id, n FROM s"),
        stream("stream_unique", "SELECT id, g, n, at FROM q"),
        stream("stream_unnest", "SELECT id, unnest(make_array(n, n + 1)) AS m FROM s"),
        stream("lookup", "SELECT s.id, s.n, u.n AS un FROM s JOIN u ON u.id = 'a' || substr(s.id, 2)"),
        stream("lookup_left", "SELECT s.id, s.n, t.n AS tn, t.b FROM s LEFT JOIN t ON t.id = 'a' || substr(s.id, 2)"),
        stream("lookup_many", "SELECT s.id, u.id AS uid FROM s JOIN u ON u.g = s.g AND u.n > s.n"),
        stream("lookup_table_first", "SELECT s.id, u.id AS uid FROM u JOIN s ON u.g = s.g"),
        stream("lookup_exists", "SELECT id FROM s WHERE EXISTS (SELECT 1 FROM u WHERE u.g = s.g)"),
        stream("lookup_not_exists", "SELECT id FROM s WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.g = s.g)"),
        stream("lookup_broadcast", "SELECT s.id, w.id AS wid FROM s LEFT JOIN w ON s.n BETWEEN w.lo AND w.hi"),
        stream("lookup_grouped", "SELECT s.id, a.c FROM s LEFT JOIN (SELECT g, count(*) AS c FROM t GROUP BY g) AS a ON a.g = s.g"),
        stream("stream_as_of", "SELECT s.id, s.at, v.val FROM s LEFT JOIN v FOR SYSTEM_TIME AS OF s.at ON v.g = s.g")
            .batch("SELECT id, at, val FROM (SELECT s.id, s.at, v.val, row_number() OVER (PARTITION BY s.i ORDER BY v.since DESC) AS r
                    FROM (SELECT *, row_number() OVER () AS i FROM s) AS s LEFT JOIN v ON v.g = s.g AND v.since <= s.at) AS c WHERE r = 1"),
        stream("stream_as_of_where_version", "SELECT s.id, s.at, v.val FROM s JOIN v FOR SYSTEM_TIME AS OF s.at ON v.g = s.g WHERE v.val > 1 OR v.val < s.n")
            .batch("SELECT id, at, val FROM (SELECT s.id, s.n, s.at, v.val, row_number() OVER (PARTITION BY s.i ORDER BY v.since DESC) AS r
                    FROM (SELECT *, row_number() OVER () AS i FROM s) AS s JOIN v ON v.g = s.g AND v.since <= s.at) AS c WHERE r = 1 AND (val > 1 OR val < n)"),
        stream("stream_as_of_version_only", "SELECT s.id, s.at, p.val FROM s JOIN p FOR SYSTEM_TIME AS OF s.at ON TRUE")
            .batch("SELECT id, at, val FROM (SELECT s.id, s.at, p.val, row_number() OVER (PARTITION BY s.i ORDER BY p.since DESC) AS r
                    FROM (SELECT *, row_number() OVER () AS i FROM s) AS s JOIN p ON p.since <= s.at) AS c WHERE r = 1"),
        stream(
            "tumble_final",
            "SELECT window_start, window_end, g, count(*) AS c, sum(n) AS sn, avg(x) AS ax, min(n) AS ln, max(n) AS hn, bool_or(b) AS ob,
                    count(DISTINCT n) AS dn FROM s GROUP BY tumble(at, INTERVAL '1 hour'), g EMIT FINAL",
        )
        .batch(
            "SELECT tumble(at, INTERVAL '1 hour') AS window_start, window_end(tumble(at, INTERVAL '1 hour'), INTERVAL '1 hour') AS window_end,
                    g, count(*) AS c, sum(n) AS sn, avg(x) AS ax, min(n) AS ln, max(n) AS hn, bool_or(b) AS ob, count(DISTINCT n) AS dn
             FROM s GROUP BY tumble(at, INTERVAL '1 hour'), g",
        ),
        stream("tumble_without_keys", "SELECT window_start, count(*) AS c FROM s GROUP BY tumble(at, INTERVAL '1 day') EMIT FINAL")
            .batch("SELECT tumble(at, INTERVAL '1 day') AS window_start, count(*) AS c FROM s GROUP BY tumble(at, INTERVAL '1 day')"),
        stream("tumble_having", "SELECT window_start, g, count(*) AS c FROM q WHERE n IS NOT NULL GROUP BY tumble(at, INTERVAL '2 hours'), g HAVING count(*) > 1 EMIT FINAL")
            .batch("SELECT tumble(at, INTERVAL '2 hours') AS window_start, g, count(*) AS c FROM q WHERE n IS NOT NULL GROUP BY tumble(at, INTERVAL '2 hours'), g HAVING count(*) > 1"),
        stream("trunc_final", "SELECT date_trunc('day', at) AS day, g, sum(n) AS c FROM s GROUP BY date_trunc('day', at), g EMIT FINAL")
            .batch("SELECT date_trunc('day', at) AS day, g, sum(n) AS c FROM s GROUP BY date_trunc('day', at), g"),
        stream("tumble_of_lookup", "SELECT window_start, t.g AS g, count(*) AS c FROM s LEFT JOIN t ON t.id = 'a' || substr(s.id, 2) GROUP BY tumble(s.at, INTERVAL '1 hour'), t.g EMIT FINAL")
            .batch("SELECT tumble(s.at, INTERVAL '1 hour') AS window_start, t.g AS g, count(*) AS c FROM s LEFT JOIN t ON t.id = 'a' || substr(s.id, 2) GROUP BY tumble(s.at, INTERVAL '1 hour'), t.g"),
        stream("tumble_of_union", "SELECT window_start, count(*) AS c, sum(n) AS s FROM a GROUP BY tumble(at, INTERVAL '1 hour') EMIT FINAL")
            .view("a", "SELECT at, n FROM s WHERE b")
            .batch("SELECT tumble(at, INTERVAL '1 hour') AS window_start, count(*) AS c, sum(n) AS s FROM a GROUP BY tumble(at, INTERVAL '1 hour')"),
        Shape::inferred("tumble_changes", "h, g", "SELECT tumble(at, INTERVAL '1 hour') AS h, g, count(*) AS c, sum(n) AS s FROM s GROUP BY tumble(at, INTERVAL '1 hour'), g EMIT CHANGES")
            .batch("SELECT tumble(at, INTERVAL '1 hour') AS h, g, count(*) AS c, sum(n) AS s FROM s GROUP BY tumble(at, INTERVAL '1 hour'), g"),
        Shape::inferred("stream_having", "g", "SELECT g, count(*) AS c FROM s WHERE n > 0 GROUP BY g HAVING count(*) > 2"),
        stream("lookup_twice", "SELECT s.id, t.n AS tn, u.n AS un FROM s LEFT JOIN t ON t.id = 'a' || substr(s.id, 2) LEFT JOIN u ON u.id = t.id"),
        stream("lookup_top", "SELECT s.id, x.n FROM s LEFT JOIN (SELECT g, n FROM u QUALIFY row_number() OVER (PARTITION BY g ORDER BY id) = 1) AS x ON x.g = s.g"),
        stream("lookup_scalar", "SELECT s.id, s.n FROM s WHERE s.n > (SELECT min(n) FROM u)"),
        stream("lookup_not_in", "SELECT s.id, s.n FROM s WHERE s.g NOT IN (SELECT g FROM u)"),
        stream("stream_view_twice", "SELECT id, n FROM a WHERE n > 0 UNION ALL SELECT id, un FROM a")
            .view("a", "SELECT s.id, s.n, u.n AS un FROM s LEFT JOIN u ON u.g = s.g"),
        Shape::inferred("stream_grouped", "g", "SELECT g, count(*) AS c, sum(n) AS s, max(x) AS h, count(DISTINCT n) AS d FROM s GROUP BY g"),
        Shape::inferred("distinct_of_lookup", "g", "SELECT DISTINCT u.g FROM s JOIN u ON u.g = s.g"),
        Shape::inferred("stream_distinct", "g, n", "SELECT DISTINCT g, n FROM s "),
        Shape::new("stream_whole", KeyOf::Declared("c"), "SELECT count(*) AS c, sum(n) AS s FROM s "),
        Shape::inferred("stream_counts_joined", "id", "SELECT t.id, c.c FROM t LEFT JOIN c ON c.g = t.g")
            .view("c", "SELECT g, count(*) AS c FROM s GROUP BY g"),
        Shape::inferred("passed_of_groups", "g", "SELECT g, due, c FROM PASSED(e, due)")
            .view("e", "SELECT g, max(at) AS due, count(*) AS c FROM s GROUP BY g")
            .batch("SELECT g, due, c FROM e WHERE due IS NOT NULL"),
        // Who had no answer when its time had come.
        Shape::inferred("passed_unanswered", "g", "SELECT g FROM PASSED(e, due)")
            .view("a", "SELECT g, min(at) AS due FROM s WHERE n > 0 GROUP BY g")
            .view("b", "SELECT DISTINCT g FROM q WHERE n > 3")
            .view("e", "SELECT a.g, a.due FROM a LEFT JOIN b ON b.g = a.g WHERE b.g IS NULL")
            .batch("SELECT g FROM e WHERE due IS NOT NULL"),
    ]
}
