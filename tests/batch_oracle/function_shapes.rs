//! Queries with functions of ours that keep state: aggregates of whole groups, and working days by a table.

use crate::shapes::{KeyOf, Shape};

fn bag(name: &'static str, columns: &'static str, query: &'static str) -> Shape {
    Shape::new(name, KeyOf::Bag(columns), query)
}

fn inferred(name: &'static str, key: &'static str, query: &'static str) -> Shape {
    Shape::inferred(name, key, query)
}

fn stream(name: &'static str, query: &'static str) -> Shape {
    Shape::new(name, KeyOf::Stream, query)
}

pub(crate) fn all() -> Vec<Shape> {
    let mut shapes = hot_spots();
    shapes.extend(working_days());
    shapes
}

fn hot_spots() -> Vec<Shape> {
    vec![
        inferred("gi_star", "g", "SELECT g, gi_star(h3_cell(n * 0.008, 0, 8), x) AS spots FROM t GROUP BY g"),
        inferred("gi_star_of_cells", "g, b", "SELECT g, b, count(*) AS c, gi_star(h3_cell(n * 0.008, 0, 8)) AS spots FROM t GROUP BY g, b"),
        inferred("gi_star_filtered", "g", "SELECT g, gi_star(DISTINCT h3_cell(n * 0.008, 0, 8), x) AS spots, gi_star(h3_cell(n * 0.008, 0, 8)) FILTER (WHERE b) AS some FROM t GROUP BY g"),
        bag("gi_star_unnested", "g, cell, n, z, total, z_total", "SELECT g, s.cell AS cell, s.n AS n, s.z AS z, s.total AS total, s.z_total AS z_total FROM (SELECT g, unnest(gi_star(h3_cell(n * 0.008, 0, 8), x)) AS s FROM t GROUP BY g) AS a"),
        Shape::new("gi_star_of_all", KeyOf::Declared("c"), "SELECT array_length(gi_star(h3_cell(n * 0.008, 0, 8))) AS c FROM t"),
        inferred("gi_star_fused", "g", "SELECT g, gi_star(h3_cell(r * 0.008, 0, 8), n) AS spots FROM a GROUP BY g")
            .view("a", "SELECT g, n, row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM t"),
        inferred("gi_star_beside_a_list", "g", "SELECT g, gi_star(h3_cell(n * 0.008, 0, 8), x) AS spots, array_agg(id ORDER BY id) AS ids FROM t GROUP BY g"),
        stream("gi_star_final", "SELECT window_start, g, gi_star(h3_cell(n * 0.008, 0, 8), x) AS spots, count(DISTINCT n) AS c FROM s GROUP BY tumble(at, INTERVAL '3 hours'), g EMIT FINAL")
            .batch("SELECT tumble(at, INTERVAL '3 hours') AS window_start, g, gi_star(h3_cell(n * 0.008, 0, 8), x) AS spots, count(DISTINCT n) AS c FROM s GROUP BY tumble(at, INTERVAL '3 hours'), g"),
        stream("gi_star_final_unnested", "SELECT window_start, s.cell AS cell, s.n AS n, s.z AS z, s.z_total AS z_total FROM (SELECT window_start, unnest(gi_star(h3_cell(n * 0.008, 0, 8), x)) AS s FROM s GROUP BY tumble(at, INTERVAL '1 day')) AS a")
            .batch("SELECT window_start, s.cell AS cell, s.n AS n, s.z AS z, s.z_total AS z_total FROM (SELECT tumble(at, INTERVAL '1 day') AS window_start, unnest(gi_star(h3_cell(n * 0.008, 0, 8), x)) AS s FROM s GROUP BY tumble(at, INTERVAL '1 day')) AS a"),
        inferred("gi_star_changes", "h, g", "SELECT tumble(at, INTERVAL '3 hours') AS h, g, gi_star(h3_cell(n * 0.008, 0, 8), x) AS spots FROM s GROUP BY tumble(at, INTERVAL '3 hours'), g EMIT CHANGES")
            .batch("SELECT tumble(at, INTERVAL '3 hours') AS h, g, gi_star(h3_cell(n * 0.008, 0, 8), x) AS spots FROM s GROUP BY tumble(at, INTERVAL '3 hours'), g"),
        inferred("gi_star_for_ever", "g", "SELECT g, gi_star(h3_cell(n * 0.008, 0, 8), x) AS spots FROM s GROUP BY g"),
    ]
}

/// The calendar by name in batch SQL, where functions take one.
fn working_days() -> Vec<Shape> {
    vec![
        inferred(
            "working_days_of_a_calendar",
            "id",
            "SELECT u.id, add_working_days(c.calendar, u.at, u.k) AS due, working_days_between(c.calendar, DATE '2024-03-30', u.at) AS n
             FROM u CROSS JOIN (SELECT working_calendar(add_days(d, 33), b) AS calendar FROM t) AS c",
        ),
        inferred(
            "working_days_by_group",
            "id",
            "SELECT u.id, u.g, add_working_days(c.calendar, u.at, u.k) AS due
             FROM u LEFT JOIN (SELECT g, working_calendar(add_days(d, 33), b) AS calendar FROM t GROUP BY g) AS c ON c.g = u.g",
        ),
        inferred("working_days", "id", "SELECT id, add_working_days(at, k) AS due, working_days_between(at, DATE '2024-04-02') AS n FROM u")
            .batch("SELECT id, add_working_days(c, at, k) AS due, working_days_between(c, at, DATE '2024-04-02') AS n FROM u CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c"),
        inferred("working_days_beside_all", "id", "SELECT *, add_working_days(at, 1) AS due FROM u WHERE add_working_days(at, 2) IS NOT NULL")
            .batch("SELECT u.*, add_working_days(c, at, 1) AS due FROM u CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c WHERE add_working_days(c, at, 2) IS NOT NULL"),
        inferred("working_days_gaps", "id", "SELECT id FROM u WHERE at IS NOT NULL AND add_working_days(at, 2) IS NULL")
            .batch("SELECT id FROM u CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c WHERE at IS NOT NULL AND add_working_days(c, at, 2) IS NULL"),
        bag("working_days_on", "a, b, due", "SELECT t.id AS a, u.id AS b, add_working_days(u.at, 1) AS due FROM t JOIN u ON t.g = u.g AND u.at <= add_working_days(t.at, 1)")
            .batch("SELECT t.id AS a, u.id AS b, add_working_days(c, u.at, 1) AS due FROM t CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c JOIN u ON t.g = u.g AND u.at <= add_working_days(c, t.at, 1)"),
        bag("working_days_on_left", "a, b", "SELECT t.id AS a, u.id AS b FROM t LEFT JOIN u ON t.g = u.g AND u.at <= add_working_days(t.at, 1)")
            .batch("SELECT t.id AS a, u.id AS b FROM t CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c LEFT JOIN u ON t.g = u.g AND u.at <= add_working_days(c, t.at, 1)"),
        inferred("working_days_grouped", "due", "SELECT add_working_days(at, 1) AS due, count(*) AS c FROM u GROUP BY add_working_days(at, 1)")
            .batch("SELECT add_working_days(c, at, 1) AS due, count(*) AS c FROM u CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c GROUP BY add_working_days(c, at, 1)"),
        inferred("working_days_in_an_aggregate", "g", "SELECT g, max(add_working_days(at, 1)) AS due, count(*) FILTER (WHERE add_working_days(at, 2) IS NULL) AS open FROM u GROUP BY g")
            .batch("SELECT g, max(add_working_days(c, at, 1)) AS due, count(*) FILTER (WHERE add_working_days(c, at, 2) IS NULL) AS open FROM u CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c GROUP BY g"),
        bag("working_days_in_a_subquery", "id", "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.g = t.g AND add_working_days(u.at, 1) IS NOT NULL)")
            .batch("SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c WHERE u.g = t.g AND add_working_days(c, u.at, 1) IS NOT NULL)"),
        stream("working_days_of_a_stream", "SELECT id, add_working_days(at, 1) AS due FROM s WHERE n > 0 OR add_working_days(at, 2) IS NULL")
            .batch("SELECT id, add_working_days(c, at, 1) AS due FROM s CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c WHERE n > 0 OR add_working_days(c, at, 2) IS NULL"),
        stream(
            "working_days_as_a_bound",
            "SELECT s.id, q.id AS qid, add_working_days(q.at, 1) AS due FROM s LEFT JOIN q ON s.g = q.g AND q.at >= s.at AND q.at <= add_working_days(s.at, 1)",
        )
        .batch(
            "SELECT s.id, q.id AS qid, add_working_days(c, q.at, 1) AS due FROM s CROSS JOIN (SELECT working_calendar(day, working) AS c FROM calendar) AS c
             LEFT JOIN q ON s.g = q.g AND q.at >= s.at AND q.at <= add_working_days(c, s.at, 1)",
        ),
    ]
}
