//! What else relational algebra has over tables: rows of both sides kept, small tables without an equality, keys that
//! follow from what is equated, constant rows, and the first rows of an order.

use crate::run_shapes;
use crate::shapes::{KeyOf, Shape};

fn bag(name: &'static str, columns: &'static str, query: &'static str) -> Shape {
    Shape::new(name, KeyOf::Bag(columns), query)
}

fn declared(name: &'static str, key: &'static str, query: &'static str) -> Shape {
    Shape::new(name, KeyOf::Declared(key), query)
}

fn inferred(name: &'static str, key: &'static str, query: &'static str) -> Shape {
    Shape::inferred(name, key, query)
}

/// Joins that keep the rows of the right side, or of both.
fn outer_joins() -> Vec<Shape> {
    vec![
        bag("full_by_group", "a, b, g, h", "SELECT t.id AS a, u.id AS b, t.g, u.g AS h FROM t FULL JOIN u ON t.g = u.g"),
        bag("full_with_residual", "a, b", "SELECT t.id AS a, u.id AS b FROM t FULL JOIN u ON t.g = u.g AND t.n < u.n"),
        bag("full_with_one_sided_residual", "a, b", "SELECT t.id AS a, u.id AS b FROM t FULL JOIN u ON t.g = u.g AND t.b AND u.k > 1"),
        bag("full_null_safe", "a, b", "SELECT t.id AS a, u.id AS b FROM t FULL JOIN u ON t.g IS NOT DISTINCT FROM u.g"),
        inferred("full_by_key", "id", "SELECT coalesce(t.id, u.id) AS id, t.n, u.n AS un FROM t FULL JOIN u ON t.id = u.id"),
        inferred("full_by_key_mirrored", "id", "SELECT t.n, coalesce(u.id, t.id) AS id FROM t FULL JOIN u ON u.id = t.id WHERE t.n > 0 OR u.n > 0"),
        inferred("full_using_key", "id", "SELECT id, t.n, u.n AS un FROM t FULL JOIN u USING (id)")
            .batch("SELECT coalesce(t.id, u.id) AS id, t.n, u.n AS un FROM t FULL JOIN u ON t.id = u.id"),
        inferred("full_pair_of_keys", "a, b", "SELECT t.id AS a, u.id AS b, t.n FROM t FULL JOIN u ON t.id = u.id"),
        bag("full_using_star", "g, id, k", "SELECT * FROM (SELECT id, g FROM t) AS z FULL JOIN (SELECT g, k FROM u) AS a USING (g)")
            .batch("SELECT coalesce(z.g, a.g) AS g, id, k FROM (SELECT id, g FROM t) AS z FULL JOIN (SELECT g, k FROM u) AS a ON z.g = a.g"),
        bag("left_using_star", "g, id, k", "SELECT * FROM (SELECT id, g FROM t) AS z LEFT JOIN (SELECT g, k FROM u) AS a USING (g)")
            .batch("SELECT z.g, id, k FROM (SELECT id, g FROM t) AS z LEFT JOIN (SELECT g, k FROM u) AS a ON z.g = a.g"),
        bag("right_using", "g, a, b", "SELECT g, t.id AS a, u.id AS b FROM t RIGHT JOIN u USING (g)")
            .batch("SELECT u.g, t.id AS a, u.id AS b FROM t RIGHT JOIN u ON t.g = u.g"),
        bag("right_using_where", "g, b", "SELECT g, u.id AS b FROM t RIGHT JOIN u USING (g) WHERE g <> 'g1' OR g IS NULL")
            .batch("SELECT u.g, u.id AS b FROM t RIGHT JOIN u ON t.g = u.g WHERE u.g <> 'g1' OR u.g IS NULL"),
        inferred("group_over_full_using", "g", "SELECT g, count(*) AS c, count(t.id) AS a, sum(k) AS k FROM t FULL JOIN u USING (g) GROUP BY g HAVING count(*) > 1")
            .batch("SELECT coalesce(t.g, u.g) AS g, count(*) AS c, count(t.id) AS a, sum(k) AS k FROM t FULL JOIN u ON t.g = u.g GROUP BY coalesce(t.g, u.g) HAVING count(*) > 1"),
        bag("full_using_twice", "id, a, b, c", "SELECT id, t.n AS a, u.n AS b, e.c FROM t FULL JOIN u USING (id) FULL JOIN (SELECT g AS id, count(*) AS c FROM v GROUP BY g) AS e USING (id)")
            .batch("SELECT coalesce(coalesce(t.id, u.id), e.id) AS id, t.n AS a, u.n AS b, e.c FROM t FULL JOIN u ON t.id = u.id
                    FULL JOIN (SELECT g AS id, count(*) AS c FROM v GROUP BY g) AS e ON coalesce(t.id, u.id) = e.id"),
        inferred("full_join_of_groups", "g", "SELECT g, a.c AS a, coalesce(b.s, 0) AS b FROM (SELECT g, count(*) AS c FROM t WHERE g IS NOT NULL GROUP BY g) AS a
             FULL JOIN (SELECT g, sum(k) AS s FROM u WHERE g IS NOT NULL GROUP BY g) AS b USING (g)")
            .batch("SELECT coalesce(a.g, b.g) AS g, a.c AS a, coalesce(b.s, 0) AS b FROM (SELECT g, count(*) AS c FROM t WHERE g IS NOT NULL GROUP BY g) AS a
             FULL JOIN (SELECT g, sum(k) AS s FROM u WHERE g IS NOT NULL GROUP BY g) AS b ON a.g = b.g"),
        bag("full_self_join", "a, b", "SELECT x.id AS a, y.id AS b FROM t AS x FULL JOIN t AS y ON x.id = y.g"),
        bag("full_then_left", "a, b, c", "SELECT t.id AS a, u.id AS b, v.val AS c FROM t FULL JOIN u ON t.g = u.g LEFT JOIN v ON v.g = u.g AND v.val > 0"),
        bag("full_of_full", "a, b, c", "SELECT t.id AS a, u.id AS b, w.id AS c FROM t FULL JOIN u ON t.id = u.id FULL JOIN w ON w.id = u.k"),
        bag("natural_join", "g, id, k", "SELECT * FROM (SELECT id, g FROM t) AS a NATURAL JOIN (SELECT g, k FROM u) AS b"),
        declared("full_counted", "c", "SELECT count(*) AS c, count(t.id) AS a, count(u.id) AS b FROM t FULL JOIN u ON t.g = u.g"),
        bag("right_of_key", "a, b", "SELECT t.id AS a, u.id AS b FROM t RIGHT JOIN u ON t.id = u.g"),
        inferred("right_n_to_one", "b", "SELECT t.n, u.id AS b FROM t RIGHT JOIN u ON t.id = u.g"),
        bag("right_semi_and_anti", "id", "SELECT u.id FROM t RIGHT SEMI JOIN u ON t.g = u.g UNION ALL SELECT u.id FROM t RIGHT ANTI JOIN u ON t.g = u.g"),
    ]
}

/// Joins without an equality, where one side is declared small.
fn small_tables() -> Vec<Shape> {
    vec![
        bag("small_on_the_left", "a, b", "SELECT t.id AS a, w.id AS b FROM w JOIN t ON t.n BETWEEN w.lo AND w.hi"),
        bag(
            "small_kept_on_the_left",
            "a, b",
            "SELECT t.id AS a, w.id AS b FROM w LEFT JOIN t ON t.n BETWEEN w.lo AND w.hi",
        ),
        bag("small_kept_on_the_right", "a, b", "SELECT t.id AS a, w.id AS b FROM t RIGHT JOIN w ON t.n > w.lo"),
        bag("small_full", "a, b", "SELECT t.id AS a, w.id AS b FROM t FULL JOIN w ON t.n > w.lo AND t.n < w.hi"),
        inferred(
            "small_exists",
            "id",
            "SELECT id, lo FROM w WHERE EXISTS (SELECT 1 FROM t WHERE t.n BETWEEN w.lo AND w.hi)",
        ),
        inferred("small_not_exists", "id", "SELECT id, lo FROM w WHERE NOT EXISTS (SELECT 1 FROM t WHERE t.n > w.hi)"),
        inferred("small_exists_or", "id", "SELECT id FROM w WHERE lo > 3 OR EXISTS (SELECT 1 FROM t WHERE t.n > w.hi)"),
        bag("two_small", "a, b", "SELECT x.id AS a, y.id AS b FROM w AS x LEFT JOIN w AS y ON x.lo < y.hi"),
        bag(
            "two_small_full",
            "a, b",
            "SELECT x.id AS a, y.id AS b FROM w AS x FULL JOIN w AS y ON x.lo < y.lo AND x.hi > y.hi",
        ),
        inferred(
            "ranges_of_rows",
            "id",
            "SELECT t.id, count(w.id) AS c FROM t LEFT JOIN w ON t.n BETWEEN w.lo AND w.hi GROUP BY t.id",
        ),
        inferred(
            "rows_of_ranges",
            "id",
            "SELECT w.id, count(t.id) AS c, sum(t.n) AS s FROM w LEFT JOIN t ON t.n BETWEEN w.lo AND w.hi GROUP BY w.id",
        ),
    ]
}

/// Subqueries in conditions, with nulls.
fn subqueries() -> Vec<Shape> {
    let not_in = "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.g = t.g AND (u.n = t.n OR u.n IS NULL OR t.n IS NULL))";
    vec![
        inferred("not_in_correlated", "id", "SELECT id FROM t WHERE n NOT IN (SELECT n FROM u WHERE u.g = t.g)").batch(not_in),
        inferred("not_in_correlated_range", "id", "SELECT id FROM t WHERE n NOT IN (SELECT n FROM u WHERE u.k > t.n)")
            .batch("SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.k > t.n AND (u.n = t.n OR u.n IS NULL OR t.n IS NULL))"),
        inferred("not_in_filtered", "id", "SELECT id FROM t WHERE n NOT IN (SELECT n FROM u WHERE n IS NOT NULL AND k > 1)"),
        inferred("in_two_levels", "id", "SELECT id FROM t WHERE g IN (SELECT g FROM u WHERE n IN (SELECT val FROM v))"),
        inferred("in_groups", "id", "SELECT id FROM t WHERE n IN (SELECT max(n) FROM u GROUP BY g)"),
        inferred("exists_and_not_exists", "id", "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.g = t.g) AND NOT EXISTS (SELECT 1 FROM v WHERE v.g = t.g AND v.val > t.n)"),
        declared("scalar_in_having", "g", "SELECT g, sum(n) AS s FROM t GROUP BY g HAVING sum(n) > (SELECT avg(n) FROM u)"),
        declared("correlated_min_in_where", "id", "SELECT id FROM t WHERE n = (SELECT min(n) FROM t AS x WHERE x.g = t.g)"),
        bag("intersect_all", "g", "SELECT g FROM t INTERSECT ALL SELECT g FROM u"),
        inferred("intersect_of_three", "g", "SELECT g FROM t INTERSECT SELECT g FROM u INTERSECT SELECT g FROM v"),
        inferred("union_minus", "g, n", "(SELECT g, n FROM t UNION SELECT g, n FROM u) EXCEPT SELECT g, val FROM v"),
    ]
}

/// Results whose key must be found from what the query equates.
fn keys() -> Vec<Shape> {
    vec![
        inferred("key_of_rest", "id, since", "SELECT t.id, v.since, v.val FROM t JOIN v ON v.g = t.g"),
        inferred("key_of_rest_left", "id, since", "SELECT t.id, v.since, v.val FROM t LEFT JOIN v ON v.g = t.g"),
        inferred("key_of_other_side", "id", "SELECT u.id, t.n FROM t JOIN u ON t.id = u.id"),
        inferred("key_by_equal_column", "h, since", "SELECT t.id AS h, v.since, v.val FROM v JOIN t ON v.g = t.id"),
        inferred("key_with_fixed_column", "since", "SELECT since, val FROM v WHERE g = 'g1'"),
        inferred(
            "key_with_fixed_side",
            "id",
            "SELECT t.id, v.val FROM t LEFT JOIN (SELECT since, val FROM v WHERE g = 'g1') AS v ON v.since = t.at",
        ),
        inferred(
            "key_n_to_one_chain",
            "id",
            "SELECT t.id, u.k, w.lo FROM t LEFT JOIN u ON u.id = t.g LEFT JOIN w ON w.id = u.k",
        ),
        inferred(
            "key_of_wider_type",
            "id",
            "SELECT t.id, x.c FROM t LEFT JOIN (SELECT CAST(n AS INT) AS i, count(*) AS c FROM u GROUP BY CAST(n AS INT)) AS x ON x.i = t.n",
        ),
        inferred(
            "key_of_group_and_fact",
            "id",
            "SELECT t.id, e.c, e.m FROM t JOIN (SELECT g, count(*) AS c, max(n) AS m FROM t GROUP BY g) AS e ON e.g = t.g",
        ),
        inferred(
            "key_of_composite",
            "g, since",
            "SELECT v.g, v.since, e.c FROM v LEFT JOIN (SELECT g, at, count(*) AS c FROM t GROUP BY g, at) AS e ON e.g = v.g AND e.at = v.since",
        ),
    ]
}

/// Constant rows beside those of tables.
fn constants() -> Vec<Shape> {
    vec![
        bag(
            "join_with_values",
            "id, word",
            "SELECT t.id, x.word FROM t JOIN (VALUES (1, 'one'), (2, 'two'), (2, 'zwei')) AS x(n, word) ON x.n = t.n",
        ),
        bag(
            "left_join_with_values",
            "id, word",
            "SELECT t.id, x.word FROM t LEFT JOIN (VALUES ('g1', 'first'), ('g2', NULL)) AS x(g, word) ON x.g = t.g",
        ),
        bag(
            "values_kept",
            "g, id",
            "SELECT x.g, t.id FROM (VALUES ('g1'), ('g2'), ('none')) AS x(g) LEFT JOIN t ON t.g = x.g",
        ),
        bag(
            "values_in_ranges",
            "id, word",
            "SELECT t.id, x.word FROM t JOIN (VALUES (0, 2, 'low'), (3, 9, 'high')) AS x(lo, hi, word) ON t.n BETWEEN x.lo AND x.hi",
        ),
        bag("values_as_view", "id, word", "SELECT t.id, c.word FROM t JOIN c ON c.g = t.g")
            .view("c", "SELECT * FROM (VALUES ('g1', 'a'), ('g2', 'b')) AS x(g, word)"),
        bag(
            "values_twice",
            "id, a, b",
            "SELECT t.id, x.word AS a, y.word AS b FROM t JOIN c AS x ON x.g = t.g LEFT JOIN c AS y ON y.word = t.id",
        )
        .view("c", "SELECT * FROM (VALUES ('g1', 'a1'), ('g2', 'a2')) AS x(g, word)"),
        bag("union_with_constant", "id, n", "SELECT id, n FROM t UNION ALL SELECT 'x', 7 UNION ALL SELECT 'y', NULL"),
        inferred(
            "groups_with_constants",
            "g",
            "SELECT g, sum(n) AS s, count(*) AS c FROM (SELECT g, n FROM t UNION ALL SELECT * FROM (VALUES ('g1', 0), ('none', 0)) AS x(g, n)) AS a GROUP BY g",
        ),
        inferred("not_in_values", "id", "SELECT id FROM t WHERE n NOT IN (SELECT n FROM (VALUES (1), (2)) AS x(n))"),
        inferred("in_values", "id", "SELECT id FROM t WHERE g IN (SELECT g FROM (VALUES ('g1'), (NULL)) AS x(g))"),
        declared("sum_of_values", "s", "SELECT sum(n) AS s, count(*) AS c FROM (VALUES (1), (2), (NULL)) AS x(n)"),
        declared("one_row", "one", "SELECT 1 AS one, 'a' AS a"),
        inferred("distinct_values", "n", "SELECT DISTINCT n FROM (VALUES (1), (2), (1)) AS x(n)"),
        declared("constant_beside_table", "id", "SELECT t.id, x.n FROM t CROSS JOIN (SELECT 5 AS n) AS x"),
        inferred(
            "values_over",
            "k",
            "SELECT k, row_number() OVER (ORDER BY k) AS r FROM (SELECT DISTINCT k FROM (VALUES ('b'), ('a')) AS x(k)) AS y",
        ),
    ]
}

/// The first rows of an order, of the whole table.
fn first_rows() -> Vec<Shape> {
    vec![
        inferred("top_three", "id", "SELECT id, n FROM t ORDER BY n DESC NULLS LAST, id LIMIT 3"),
        inferred("top_with_offset", "id", "SELECT id, n, g FROM t ORDER BY n, id LIMIT 2 OFFSET 3"),
        inferred("top_by_hidden_column", "id", "SELECT id FROM t ORDER BY at DESC NULLS LAST, id LIMIT 4"),
        inferred("top_of_groups", "g", "SELECT g, count(*) AS c FROM t GROUP BY g ORDER BY c DESC, g LIMIT 2"),
        inferred(
            "top_in_subquery",
            "id",
            "SELECT x.id, x.n * 2 AS d FROM (SELECT id, n FROM t ORDER BY n, id LIMIT 5) AS x WHERE x.n > 0",
        ),
        bag(
            "top_joined",
            "a, b",
            "SELECT x.id AS a, u.id AS b FROM (SELECT id, g FROM t ORDER BY id LIMIT 3) AS x LEFT JOIN u ON u.g = x.g",
        ),
        declared(
            "top_counted",
            "c",
            "SELECT count(*) AS c FROM (SELECT id FROM t WHERE n > 0 ORDER BY id LIMIT 4) AS x",
        ),
        inferred("top_of_cte", "id", "WITH c AS (SELECT id, n FROM t ORDER BY n DESC, id LIMIT 3) SELECT id, n FROM c"),
        inferred("top_fetch_first", "id", "SELECT id FROM t ORDER BY id FETCH FIRST 2 ROWS ONLY")
            .batch("SELECT id FROM t ORDER BY id LIMIT 2"),
        bag(
            "top_of_both",
            "id",
            "(SELECT id FROM t ORDER BY id LIMIT 2) UNION ALL (SELECT id FROM u ORDER BY id DESC LIMIT 2)",
        ),
        inferred("none_at_all", "id", "SELECT id FROM t ORDER BY id LIMIT 0"),
    ]
}

/// Structs, arrays and choices as values, keys and arguments.
fn values() -> Vec<Shape> {
    vec![
        inferred(
            "struct_of_columns",
            "id",
            "SELECT id, named_struct('g', g, 'n', n, 'at', at) AS s, named_struct('m', m)['m'] AS m FROM t",
        ),
        inferred(
            "array_of_columns",
            "id",
            "SELECT id, make_array(n, n + 1, NULL) AS l, array_length(tags) AS c, tags[1] AS first FROM t",
        ),
        inferred(
            "group_of_structs",
            "g",
            "SELECT g, array_agg(named_struct('id', id, 'd', d) ORDER BY id) AS rows FROM t GROUP BY g",
        ),
        bag(
            "unnest_structs",
            "id, a",
            "SELECT s['id'] AS id, s['n'] AS a FROM (SELECT unnest(l) AS s FROM (SELECT g, array_agg(named_struct('id', id, 'n', n) ORDER BY id) AS l FROM t GROUP BY g) AS x) AS y",
        ),
        bag(
            "distinct_arrays",
            "text",
            "SELECT array_to_string(tags, ',', '-') AS text FROM (SELECT DISTINCT tags FROM t WHERE tags IS NOT NULL) AS a",
        ),
        inferred(
            "searched_case",
            "g",
            "SELECT g, sum(CASE WHEN b THEN n WHEN n < 0 THEN 0 ELSE -n END) AS s, max(CASE g WHEN 'g1' THEN x END) AS m FROM t GROUP BY g",
        ),
        bag(
            "join_on_struct_field",
            "a, b",
            "SELECT x.id AS a, u.id AS b FROM (SELECT id, named_struct('g', g) AS s FROM t) AS x JOIN u ON u.g = x.s['g']",
        ),
        bag("join_on_array", "a, b", "SELECT x.id AS a, y.id AS b FROM t AS x JOIN t AS y ON x.tags = y.tags"),
        inferred(
            "decimals",
            "g",
            "SELECT g, sum(m) AS s, avg(m) AS a, min(m) AS l, sum(m * 2) AS d, sum(CAST(n AS DECIMAL(20, 3))) AS n FROM t GROUP BY g",
        ),
        inferred("dates", "d", "SELECT d, count(*) AS c, min(at) AS at FROM t WHERE d >= DATE '2024-02-27' GROUP BY d"),
        inferred(
            "groups_of_groups",
            "c",
            "SELECT c, count(*) AS many, sum(s) AS s FROM (SELECT g, count(*) AS c, sum(n) AS s FROM t GROUP BY g) AS a GROUP BY c HAVING count(*) >= 1",
        ),
        inferred(
            "groups_of_three_levels",
            "many",
            "SELECT many, max(c) AS c FROM (SELECT c, count(*) AS many FROM (SELECT g, b, count(*) AS c FROM t GROUP BY g, b) AS a GROUP BY c) AS e GROUP BY many",
        ),
    ]
}

#[test]
fn outer_joins_of_tables_equal_batch() {
    run_shapes(outer_joins(), 8);
}

#[test]
fn joins_with_small_tables_equal_batch() {
    run_shapes(small_tables(), 8);
}

#[test]
fn subqueries_over_tables_equal_batch() {
    run_shapes(subqueries(), 8);
}

#[test]
fn joined_tables_whose_key_is_found_equal_batch() {
    run_shapes(keys(), 6);
}

#[test]
fn constant_rows_equal_batch() {
    run_shapes(constants(), 6);
}

#[test]
fn first_rows_of_tables_equal_batch() {
    run_shapes(first_rows(), 8);
}

#[test]
fn structs_and_arrays_of_tables_equal_batch() {
    run_shapes(values(), 6);
}
