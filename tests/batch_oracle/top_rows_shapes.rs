//! The first rows of keys of streams as tables: the last row, the greatest few, ranks; at once and in buckets.

use crate::shapes::{KeyOf, Shape};

fn bag(name: &'static str, columns: &'static str, query: &'static str) -> Shape {
    Shape::new(name, KeyOf::Bag(columns), query)
}

/// Nothing waits: after any epoch the table is that of the rows so far.
pub(crate) fn all() -> Vec<Shape> {
    let shapes = vec![
        Shape::inferred(
            "last_by_time",
            "g",
            "SELECT g, id, n, at FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY at DESC, id, n, x, b) = 1",
        ),
        Shape::inferred(
            "top_with_numbers",
            "g, r",
            "SELECT g, id, n, r FROM (SELECT g, id, n, row_number() OVER (PARTITION BY g ORDER BY n DESC NULLS LAST, id, at, x, b) AS r FROM s ) WHERE r <= 3",
        ),
        bag(
            "top_as_bag",
            "g, id, n, at",
            "SELECT g, id, n, at FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY n, x DESC, id, at, b) < 5",
        ),
        Shape::new(
            "top_by_declared_key",
            KeyOf::Declared("g, id"),
            "SELECT g, id, n FROM q QUALIFY row_number() OVER (PARTITION BY g ORDER BY n DESC, id) <= 3",
        ),
        bag(
            "top_ranks",
            "g, id, n, r, d",
            "SELECT g, id, n, r, d FROM (SELECT g, id, n, rank() OVER w AS r, dense_rank() OVER w AS d FROM s WINDOW w AS (PARTITION BY g ORDER BY n DESC)) WHERE r <= 6 AND d <= 2",
        ),
        bag(
            "top_rank_and_number",
            "g, id, r, k",
            "SELECT g, id, r, k FROM (SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY n, id, at, x, b) AS r,
                    rank() OVER (PARTITION BY g ORDER BY n, id, at, x, b) AS k FROM s ) WHERE k <= 4",
        ),
        Shape::inferred(
            "second_and_third",
            "g, r",
            "SELECT g, id, r FROM (SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY x DESC, id, at, n, b) AS r FROM s ) WHERE r BETWEEN 2 AND 3",
        ),
        Shape::inferred(
            "top_of_all",
            "r",
            "SELECT id, n, r FROM (SELECT id, n, row_number() OVER (ORDER BY n DESC, id) AS r FROM q) WHERE r <= 5",
        ),
        Shape::inferred("distinct_on_last", "g", "SELECT DISTINCT ON (g) g, id, n, at FROM q ORDER BY g, at DESC, id")
            .batch("SELECT g, id, n, at FROM q QUALIFY row_number() OVER (PARTITION BY g ORDER BY at DESC, id) = 1"),
        Shape::inferred(
            "first_by_time_as_table",
            "g",
            "SELECT g, id, at FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY at, id, n, x, b) = 1 EMIT CHANGES",
        )
        .batch("SELECT g, id, at FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY at, id, n, x, b) = 1"),
        Shape::inferred(
            "top_of_bucket_as_table",
            "h, g, r",
            "SELECT h, g, id, r FROM (SELECT tumble(at, INTERVAL '1 hour') AS h, g, id,
                    row_number() OVER (PARTITION BY tumble(at, INTERVAL '1 hour'), g ORDER BY n DESC, id, at, x, b) AS r FROM s ) WHERE r <= 2 EMIT CHANGES",
        )
        .batch(
            "SELECT h, g, id, r FROM (SELECT tumble(at, INTERVAL '1 hour') AS h, g, id,
                    row_number() OVER (PARTITION BY tumble(at, INTERVAL '1 hour'), g ORDER BY n DESC, id, at, x, b) AS r FROM s) WHERE r <= 2",
        ),
        Shape::inferred("groups_of_last", "n", "SELECT n, count(*) AS c, max(at) AS m FROM a GROUP BY n").view(
            "a",
            "SELECT g, n, at FROM s QUALIFY row_number() OVER (PARTITION BY g, id ORDER BY at DESC, n, x, b) = 1",
        ),
        Shape::inferred("join_of_last", "g", "SELECT a.g, a.id, u.n FROM a LEFT JOIN u ON u.id = a.id").view(
            "a",
            "SELECT g, 'b' || substr(id, 2) AS id FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY at DESC, id, n, x, b) = 1",
        ),
        Shape::inferred(
            "last_of_top",
            "b",
            "SELECT b, g, id, n FROM a QUALIFY row_number() OVER (PARTITION BY b ORDER BY n DESC, id, g) = 1",
        )
        .view(
            "a",
            "SELECT g, id, n, b FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY n DESC, id, at, x, b) <= 3",
        ),
    ];
    shapes.into_iter().map(Shape::at_any_time).collect()
}

/// Batch numbers the rows as they came.
pub(crate) fn by_arrival() -> Vec<Shape> {
    vec![
        Shape::inferred(
            "last_to_arrive",
            "g",
            "SELECT g, id, n FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY arrival DESC) = 1",
        )
        .batch("SELECT g, id, n FROM (SELECT *, row_number() OVER () AS i FROM s) AS s QUALIFY row_number() OVER (PARTITION BY g ORDER BY i DESC) = 1"),
        Shape::inferred(
            "last_three_to_arrive",
            "g, r",
            "SELECT g, id, r FROM (SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY arrival DESC) AS r FROM s ) WHERE r <= 3",
        )
        .batch(
            "SELECT g, id, r FROM (SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY i DESC) AS r FROM (SELECT *, row_number() OVER () AS i FROM s)) WHERE r <= 3",
        ),
    ]
}
