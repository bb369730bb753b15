//! Queries over tables.

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

pub(crate) fn stateless() -> Vec<Shape> {
    vec![
        bag("unnest_of_two", "id, a, b", "SELECT id, unnest(tags) AS a, unnest(make_array(n, 1)) AS b FROM t"),
        bag("union_nested", "g, n", "SELECT g, n FROM (SELECT g, n FROM t UNION ALL SELECT g, k FROM u) AS a WHERE n > 0 UNION ALL SELECT g, val FROM v"),
        bag("union_of_other_types", "id, n", "SELECT id, n FROM t UNION ALL SELECT id, CAST(k AS DOUBLE) FROM u UNION ALL SELECT NULL, 7 FROM w"),
        inferred("cte_with_columns", "k", "WITH c (k, m) AS (SELECT id, n + 1 FROM t) SELECT k, m FROM c WHERE m > 0"),
        inferred("cte_of_its_own_name", "id", "WITH t AS (SELECT * FROM t WHERE n > 0) SELECT id, n FROM t"),
        inferred("identity", "id", "SELECT * FROM t"),
        inferred("filter", "id", "SELECT id, n, x FROM t WHERE n > 1 AND (b OR x < 0)"),
        inferred(
            "case",
            "id",
            "SELECT id, CASE WHEN n < 0 THEN 'low' WHEN n > 3 THEN 'high' END AS size, coalesce(g, '-') || '/' || id AS path,
                    n * 2 + 1 AS odd, m * 2 AS doubled, x / 4 AS part, nullif(n, 2) AS not_two FROM t",
        ),
        bag("unnest", "id, tag", "SELECT id, unnest(tags) AS tag FROM t"),
        bag("unnest_filtered", "g, tag", "SELECT * FROM (SELECT g, unnest(tags) AS tag, n FROM t) AS e WHERE tag <> 'g1' AND n > 0"),
        bag("union_all", "id, g, n", "SELECT id, g, n FROM t WHERE n > 0 UNION ALL SELECT id, g, k FROM u UNION ALL SELECT id, 'x', n FROM t"),
        bag("union_same", "g, n", "SELECT g, n FROM t UNION ALL SELECT g, n FROM t WHERE b"),
        inferred("union", "g, n", "SELECT g, n FROM t UNION SELECT g, n FROM u"),
        bag("union_with_nothing", "id, n", "SELECT id, n FROM t UNION ALL SELECT id, n FROM u WHERE false"),
        bag("union_of_views", "id, n", "SELECT id, n FROM a UNION ALL SELECT id, n FROM c")
            .view("a", "SELECT id, n FROM t WHERE n > 0")
            .view("c", "SELECT id, count(*) AS n FROM u GROUP BY id"),
        inferred(
            "calendar",
            "id",
            "SELECT id, add_months(at, 1) AS later, add_days(at, 1) AS next, local_date(at) AS day, year_month(at) AS month,
                    age_in_years(d, local_date(at)) AS years, tumble(at, INTERVAL '1 hour') AS hour,
                    date_trunc('day', at) AS midnight, extract(hour FROM at) AS h, at + INTERVAL '90 minutes' AS soon FROM t",
        ),
        inferred("constants", "id", "SELECT id, 1 AS one, 'a' AS a, NULL AS nothing, true AS yes FROM t"),
        inferred("text", "id", "SELECT id, upper(g) AS u, length(g) AS l, substr(id, 1, 1) AS s, g LIKE 'g%' AS k, g IN ('g1', 'g2') AS i FROM t"),
        inferred("between", "id", "SELECT id FROM t WHERE n BETWEEN 0 AND 3 AND d >= DATE '2024-02-27' AND at IS NOT NULL"),
        inferred("two_key_columns", "g, since", "SELECT g, since, val FROM v WHERE val > 0"),
        inferred("cast", "id", "SELECT id, CAST(n AS VARCHAR) AS t, CAST(x AS BIGINT) AS i, CAST(n AS DOUBLE) AS f, try_cast(g AS BIGINT) AS z FROM t"),
        inferred("nested_views", "id", "SELECT id, n + 1 AS n FROM c WHERE n < 5")
            .view("a", "SELECT id, n, g FROM t WHERE g IS NOT NULL")
            .view("c", "SELECT id, n * 2 AS n FROM a"),
    ]
}

pub(crate) fn joins() -> Vec<Shape> {
    vec![
        bag("intersect", "g", "SELECT g FROM t INTERSECT SELECT g FROM u"),
        bag("except", "g, n", "SELECT g, n FROM t EXCEPT SELECT g, n FROM u"),
        bag("except_all", "g", "SELECT g FROM t EXCEPT ALL SELECT g FROM u"),
        bag("left_using", "g, a, b", "SELECT g, t.id AS a, u.id AS b FROM t LEFT JOIN u USING (g)"),
        inferred("key_of_both", "a, b", "SELECT t.id AS a, u.id AS b, t.n FROM t JOIN u ON t.g = u.g"),
        inferred("key_of_many", "b", "SELECT t.n, u.id AS b FROM t JOIN u ON t.id = u.g"),
        inferred("key_of_semi", "id", "SELECT t.id, t.n FROM t WHERE g IN (SELECT g FROM u) AND id NOT IN (SELECT id FROM u WHERE id IS NOT NULL)"),
        bag("cross_of_three", "a, b, c", "SELECT t.id AS a, w.id AS b, x.id AS c FROM t, w, w AS x WHERE t.n > w.lo AND w.hi = x.id"),
        declared("two_scalars", "id", "SELECT id, (SELECT max(n) FROM u) - (SELECT min(n) FROM t) AS d FROM t WHERE n >= (SELECT count(*) FROM w)"),
        inferred("join_and_top", "id", "SELECT t.id, x.n FROM t LEFT JOIN (SELECT g, n FROM u QUALIFY row_number() OVER (PARTITION BY g ORDER BY id) = 1) AS x ON x.g = t.g"),
        bag("or_in_condition", "a, b", "SELECT t.id AS a, u.id AS b FROM t JOIN u ON t.g = u.g AND (t.n = u.n OR t.b)"),
        bag("anti_of_broadcast_with_key", "id", "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM w WHERE w.id = t.n AND w.lo < w.hi)"),
        bag("null_safe_residual", "a, b", "SELECT t.id AS a, u.id AS b FROM t LEFT JOIN u ON t.g = u.g AND t.n IS NOT DISTINCT FROM u.n"),
        inferred("inner_by_key", "id", "SELECT t.id, t.n, u.n AS un FROM t JOIN u ON t.id = u.id"),
        inferred("left_by_key", "id", "SELECT t.id, t.n, u.n AS un, u.id IS NULL AS alone FROM t LEFT JOIN u ON t.id = u.id"),
        bag("right_join", "a, b", "SELECT t.id AS a, u.id AS b FROM t RIGHT JOIN u ON t.g = u.g AND t.n > u.n"),
        bag("inner_by_group", "a, b, g", "SELECT t.id AS a, u.id AS b, t.g FROM t JOIN u ON t.g = u.g"),
        bag("left_by_group", "a, b", "SELECT t.id AS a, u.id AS b FROM t LEFT JOIN u ON t.g = u.g"),
        bag("left_with_residual", "a, b, n", "SELECT t.id AS a, u.id AS b, t.n FROM t LEFT JOIN u ON t.g = u.g AND t.n < u.n"),
        bag("left_with_left_only_residual", "a, b", "SELECT t.id AS a, u.id AS b FROM t LEFT JOIN u ON t.g = u.g AND t.b"),
        bag("left_with_right_only_residual", "a, b", "SELECT t.id AS a, u.id AS b FROM t LEFT JOIN u ON t.g = u.g AND u.n > 1"),
        bag("left_then_filter_null", "a", "SELECT t.id AS a FROM t LEFT JOIN u ON t.g = u.g WHERE u.id IS NULL"),
        bag("inner_with_residual", "a, b", "SELECT t.id AS a, u.id AS b FROM t JOIN u ON t.g = u.g AND t.at <= u.at AND t.id <> u.id"),
        bag("by_two_columns", "a, b", "SELECT t.id AS a, u.id AS b FROM t JOIN u ON t.g = u.g AND t.n = u.n"),
        bag("by_expression", "a, b", "SELECT t.id AS a, u.id AS b FROM t JOIN u ON t.n + 1 = u.k AND upper(t.g) = upper(u.g)"),
        bag("by_null_safe_equality", "a, b", "SELECT t.id AS a, u.id AS b FROM t JOIN u ON t.g IS NOT DISTINCT FROM u.g"),
        bag("by_null_safe_equalities", "a, b", "SELECT t.id AS a, u.id AS b FROM t JOIN u ON t.g IS NOT DISTINCT FROM u.g AND t.n IS NOT DISTINCT FROM u.n AND t.id IS DISTINCT FROM u.id")
            .batch("SELECT t.id AS a, u.id AS b FROM t JOIN u ON (t.g IS NOT DISTINCT FROM u.g) AND (t.n IS NOT DISTINCT FROM u.n) AND (t.id IS DISTINCT FROM u.id)"),
        bag("using", "g, a", "SELECT g, t.id AS a FROM t JOIN u USING (g)"),
        inferred("exists", "id", "SELECT id, n FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.g = t.g)"),
        inferred("not_exists", "id", "SELECT id, n FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.g = t.g AND u.n > t.n)"),
        inferred("exists_or", "id", "SELECT id FROM t WHERE n > 3 OR EXISTS (SELECT 1 FROM u WHERE u.id = t.id)"),
        inferred("in_subquery", "id", "SELECT id, g FROM t WHERE g IN (SELECT g FROM u WHERE n > 0)"),
        inferred("not_in_subquery", "id", "SELECT id, g FROM t WHERE id NOT IN (SELECT id FROM u)"),
        inferred("not_in_with_nulls", "id", "SELECT id, g FROM t WHERE g NOT IN (SELECT g FROM u)"),
        inferred("semi", "id", "SELECT t.id, t.n FROM t LEFT SEMI JOIN u ON t.g = u.g AND t.n < u.n"),
        inferred("anti", "id", "SELECT t.id, t.n FROM t LEFT ANTI JOIN u ON t.g = u.g"),
        bag("three_tables", "a, b, c", "SELECT t.id AS a, u.id AS b, v.val AS c FROM t JOIN u ON t.g = u.g JOIN v ON v.g = u.g"),
        bag("three_left", "a, b, c", "SELECT t.id AS a, u.k AS b, v.val AS c FROM t LEFT JOIN u ON t.id = u.id LEFT JOIN v ON v.g = u.g AND v.val > t.n"),
        bag("broadcast_without_equality", "a, b", "SELECT t.id AS a, w.id AS b FROM t JOIN w ON t.n BETWEEN w.lo AND w.hi"),
        bag("broadcast_left", "a, b", "SELECT t.id AS a, w.id AS b FROM t LEFT JOIN w ON t.n >= w.lo AND t.n < w.hi"),
        bag("broadcast_left_without_columns_of_the_left", "b", "SELECT r.hi AS b FROM w AS l LEFT JOIN w AS r ON r.lo > 0"),
        bag("broadcast_cross", "a, b", "SELECT t.id AS a, w.id AS b FROM t CROSS JOIN w"),
        bag("broadcast_exists", "id", "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM w WHERE t.n BETWEEN w.lo AND w.hi)"),
        bag("self_join", "a, b", "SELECT a.id AS a, b.id AS b FROM t AS a JOIN t AS b ON a.g = b.g AND a.id < b.id"),
        inferred("self_join_by_key", "id", "SELECT a.id, a.n + b.n AS n FROM t AS a JOIN t AS b ON a.id = b.id"),
        declared("scalar_subquery", "id", "SELECT id, n FROM t WHERE n > (SELECT avg(n) FROM u)"),
        declared("scalar_subquery_column", "id", "SELECT id, n - (SELECT max(k) FROM u) AS d FROM t"),
        declared("correlated_scalar", "id", "SELECT id, (SELECT max(u.n) FROM u WHERE u.g = t.g) AS most FROM t"),
        declared("correlated_count", "id", "SELECT id, (SELECT count(*) FROM u WHERE u.g = t.g) AS many FROM t"),
        declared("count_of_join", "c", "SELECT count(*) AS c FROM t JOIN u ON t.g = u.g"),
        declared("count_of_cross", "c", "SELECT count(*) AS c FROM t JOIN w ON t.n < w.hi"),
        bag("cross_with_one_row", "id, c", "SELECT t.id, a.c FROM t CROSS JOIN (SELECT count(*) AS c FROM u) AS a"),
        inferred("in_a_list_of_groups", "id", "SELECT id FROM t WHERE n NOT IN (SELECT count(*) FROM u GROUP BY g)"),
        inferred("exists_uncorrelated", "id", "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM w WHERE lo > 5)"),
        bag("join_on_constant", "a, b", "SELECT t.id AS a, u.id AS b FROM t JOIN u ON t.g = u.g WHERE u.g = 'g1' AND t.g = 'g1'"),
        bag("join_of_union", "a, b", "SELECT t.id AS a, e.id AS b FROM t JOIN (SELECT id, g FROM t UNION ALL SELECT id, g FROM u) AS e ON e.g = t.g"),
        bag("join_of_distinct", "a, n", "SELECT t.id AS a, e.n FROM t LEFT JOIN (SELECT DISTINCT g, n FROM u) AS e ON e.g = t.g"),
        inferred("left_join_of_groups", "id", "SELECT t.id, coalesce(e.c, 0) AS c FROM t LEFT JOIN (SELECT g, count(*) AS c FROM u GROUP BY g) AS e ON e.g = t.g"),
        bag("join_of_groups", "g, a, b", "SELECT a.g, a.c AS a, b.c AS b FROM (SELECT g, count(*) AS c FROM t GROUP BY g) AS a
             JOIN (SELECT g, sum(k) AS c FROM u GROUP BY g) AS b ON a.g = b.g"),
        // Stock DataFusion takes g for unique although it was unnested.
        bag("join_of_unnested_groups", "id", "SELECT u.id FROM (SELECT g, unnest(array_agg(id ORDER BY id)) AS i FROM t GROUP BY g) AS e JOIN u ON u.g = e.g")
            .batch("SELECT u.id FROM t JOIN u ON u.g = t.g"),
        inferred("distinct_of_unnested_groups", "g", "SELECT DISTINCT g FROM (SELECT g, unnest(array_agg(id ORDER BY id)) AS i FROM t GROUP BY g) AS e")
            .batch("SELECT DISTINCT g FROM t"),
        bag("join_of_unnested", "id, b", "SELECT e.id, u.id AS b FROM (SELECT id, unnest(tags) AS tag FROM t) AS e JOIN u ON u.g = e.tag"),
        bag("cte_twice", "a, b", "WITH c AS (SELECT g, count(*) AS n FROM t GROUP BY g)
             SELECT x.g AS a, y.g AS b FROM c AS x JOIN c AS y ON x.n = y.n"),
        bag("view_twice", "a, b", "SELECT x.id AS a, y.id AS b FROM c AS x JOIN c AS y ON x.g = y.g AND x.un < y.un")
            .view("c", "SELECT t.id, t.g, u.n AS un FROM t JOIN u ON t.id = u.id"),
        inferred("as_of", "id", "SELECT t.id, v.val FROM t JOIN v FOR SYSTEM_TIME AS OF t.at ON v.g = t.g")
            .batch("SELECT id, val FROM (SELECT t.id, v.val, row_number() OVER (PARTITION BY t.id ORDER BY v.since DESC) AS r
                    FROM t JOIN v ON v.g = t.g AND v.since <= t.at) AS c WHERE r = 1"),
        inferred("as_of_left", "id", "SELECT t.id, t.g, v.val, v.since FROM t LEFT JOIN v FOR SYSTEM_TIME AS OF t.at ON v.g = t.g")
            .batch("SELECT id, g, val, since FROM (SELECT t.id, t.g, v.val, v.since, row_number() OVER (PARTITION BY t.id ORDER BY v.since DESC) AS r
                    FROM t LEFT JOIN v ON v.g = t.g AND v.since <= t.at) AS c WHERE r = 1"),
        inferred("as_of_residual", "id", "SELECT t.id, v.val FROM t LEFT JOIN v FOR SYSTEM_TIME AS OF t.at ON v.g = t.g AND v.val > t.n")
            .batch("SELECT id, val FROM (SELECT t.id, v.val, row_number() OVER (PARTITION BY t.id ORDER BY v.since DESC) AS r
                    FROM t LEFT JOIN v ON v.g = t.g AND v.since <= t.at AND v.val > t.n) AS c WHERE r = 1"),
        inferred("as_of_version_only", "id", "SELECT t.id, p.val FROM t LEFT JOIN p FOR SYSTEM_TIME AS OF t.at ON TRUE")
            .batch("SELECT id, val FROM (SELECT t.id, p.val, row_number() OVER (PARTITION BY t.id ORDER BY p.since DESC) AS r
                    FROM t LEFT JOIN p ON p.since <= t.at) AS c WHERE r = 1"),
        inferred("as_of_version_only_inner", "id", "SELECT t.id, p.val FROM t JOIN p FOR SYSTEM_TIME AS OF t.at ON TRUE WHERE t.n > 0")
            .batch("SELECT id, val FROM (SELECT t.id, t.n, p.val, row_number() OVER (PARTITION BY t.id ORDER BY p.since DESC) AS r
                    FROM t JOIN p ON p.since <= t.at) AS c WHERE r = 1 AND n > 0"),
        inferred("as_of_date", "id", "SELECT t.id, v.val FROM t LEFT JOIN v FOR SYSTEM_TIME AS OF CAST(t.d AS TIMESTAMP) + INTERVAL '40 days' ON v.g = t.g")
            .batch("SELECT id, val FROM (SELECT t.id, v.val, row_number() OVER (PARTITION BY t.id ORDER BY v.since DESC) AS r
                    FROM t LEFT JOIN v ON v.g = t.g AND v.since <= CAST(t.d AS TIMESTAMP) + INTERVAL '40 days') AS c WHERE r = 1"),
        inferred("as_of_where_version", "id", "SELECT t.id, v.val FROM t JOIN v FOR SYSTEM_TIME AS OF t.at ON v.g = t.g WHERE v.val > 1 AND v.val >= t.n")
            .batch("SELECT id, val FROM (SELECT t.id, t.n, v.val, row_number() OVER (PARTITION BY t.id ORDER BY v.since DESC) AS r
                    FROM t JOIN v ON v.g = t.g AND v.since <= t.at) AS c WHERE r = 1 AND val > 1 AND val >= n"),
        inferred("as_of_left_where_version", "id", "SELECT * FROM (SELECT t.id, p.val FROM t LEFT JOIN p FOR SYSTEM_TIME AS OF t.at ON TRUE) AS a WHERE val < 2")
            .batch("SELECT id, val FROM (SELECT t.id, p.val, row_number() OVER (PARTITION BY t.id ORDER BY p.since DESC) AS r
                    FROM t LEFT JOIN p ON p.since <= t.at) AS c WHERE r = 1 AND val < 2"),
        inferred("as_of_twice", "id", "SELECT t.id, v.val, p.val AS pv FROM t LEFT JOIN v FOR SYSTEM_TIME AS OF t.at ON v.g = t.g
                    LEFT JOIN p FOR SYSTEM_TIME AS OF t.at ON TRUE")
            .batch("SELECT id, val, pv FROM (SELECT t.id, v.val, p.val AS pv, row_number() OVER (PARTITION BY t.id ORDER BY v.since DESC, p.since DESC) AS r
                    FROM t LEFT JOIN v ON v.g = t.g AND v.since <= t.at LEFT JOIN p ON p.since <= t.at) AS c WHERE r = 1"),
    ]
}

pub(crate) fn groups() -> Vec<Shape> {
    vec![
        declared("whole_having", "c", "SELECT count(*) AS c FROM t HAVING count(*) > 5"),
        inferred("array_agg_distinct", "g", "SELECT g, array_agg(DISTINCT n ORDER BY n) AS ns FROM t GROUP BY g"),
        inferred("by_alias", "k", "SELECT coalesce(g, 'none') AS k, count(*) AS c FROM t GROUP BY k"),
        inferred("by_ordinal", "g, b", "SELECT g, b, max(at) AS m FROM t GROUP BY 1, 2"),
        inferred("having_without_output", "g", "SELECT g FROM t GROUP BY g HAVING sum(n) > 3 OR bool_or(b)"),
        inferred("filter_and_distinct", "g", "SELECT g, count(DISTINCT n) FILTER (WHERE b) AS c, max(n) FILTER (WHERE x > 0) AS m FROM t GROUP BY g"),
        bag("key_not_selected", "c", "SELECT count(*) AS c FROM t GROUP BY g"),
        inferred("distinct_of_groups", "c", "SELECT DISTINCT count(*) AS c FROM t GROUP BY g"),
        inferred("min_of_texts_and_dates", "b", "SELECT b, min(g) AS g, max(at) AS at, min(d) AS d, max(m) AS m, min(b) AS bb FROM t GROUP BY b"),
        inferred("sum_of_distinct_groups", "g", "SELECT g, sum(n) AS s FROM (SELECT DISTINCT g, n FROM t) AS a GROUP BY g"),
        inferred("of_anti_join", "g", "SELECT g, count(*) AS c FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.id) GROUP BY g"),
        inferred("of_as_of_and_window", "g", "SELECT g, sum(r) AS s FROM (SELECT t.g, row_number() OVER (PARTITION BY t.g ORDER BY p.val, t.id) AS r FROM t LEFT JOIN p FOR SYSTEM_TIME AS OF t.at ON TRUE) AS a GROUP BY g")
            .batch("SELECT g, sum(i) AS s FROM (SELECT g, row_number() OVER (PARTITION BY g ORDER BY val, id) AS i FROM (SELECT t.g, t.id, p.val, row_number() OVER (PARTITION BY t.id ORDER BY p.since DESC) AS r
                    FROM t LEFT JOIN p ON p.since <= t.at) AS c WHERE r = 1) AS e GROUP BY g"),
        inferred("count", "g", "SELECT g, count(*) AS c, count(n) AS cn FROM t GROUP BY g"),
        inferred(
            "aggregates",
            "g",
            "SELECT g, sum(n) AS sn, sum(x) AS sx, sum(m) AS sm, avg(n) AS an, avg(x) AS ax, min(n) AS ln, max(x) AS hx, min(at) AS lat,
                    max(d) AS hd, min(id) AS li, max(id) AS hi, bool_and(b) AS ab, bool_or(b) AS ob, avg(m) AS am FROM t GROUP BY g",
        ),
        inferred("distinct_counts", "g", "SELECT g, count(DISTINCT n) AS c, sum(DISTINCT n) AS s, count(DISTINCT id) AS i, count(*) AS a FROM t GROUP BY g"),
        inferred("only_distinct", "g", "SELECT g, count(DISTINCT n) AS c FROM t GROUP BY g"),
        inferred("filter_clause", "g", "SELECT g, count(*) FILTER (WHERE n > 0) AS c, sum(x) FILTER (WHERE b) AS s FROM t GROUP BY g"),
        inferred("having", "g", "SELECT g, count(*) AS c FROM t GROUP BY g HAVING count(*) > 2 AND max(n) > 1"),
        inferred("by_two", "g, b", "SELECT g, b, count(*) AS c FROM t GROUP BY g, b"),
        inferred("by_expression", "y", "SELECT upper(g) AS y, sum(n) AS s FROM t GROUP BY upper(g)"),
        inferred("by_month", "month", "SELECT year_month(at) AS month, count(*) AS c FROM t GROUP BY year_month(at)"),
        inferred("by_day", "day", "SELECT date_trunc('day', at) AS day, count(*) AS c FROM t GROUP BY date_trunc('day', at)"),
        inferred("by_tumble", "h", "SELECT tumble(at, INTERVAL '1 day') AS h, count(*) AS c FROM t GROUP BY tumble(at, INTERVAL '1 day')"),
        inferred("distinct", "g, n", "SELECT DISTINCT g, n FROM t"),
        inferred("distinct_one", "g", "SELECT DISTINCT g FROM t WHERE n > 0"),
        declared("whole_table", "c", "SELECT count(*) AS c, sum(n) AS s, max(x) AS x FROM t"),
        declared("whole_table_filtered", "c", "SELECT count(*) AS c, min(n) AS s FROM t WHERE n > 100"),
        declared("whole_table_distinct", "c", "SELECT count(DISTINCT g) AS c FROM t"),
        inferred("constant_key", "one", "SELECT 1 AS one, count(*) AS c FROM t GROUP BY 1"),
        inferred("constant_and_key", "g", "SELECT 'x' AS a, g, count(*) AS c FROM t GROUP BY 'x', g"),
        inferred("array_agg", "g", "SELECT g, array_agg(id ORDER BY id) AS ids FROM t GROUP BY g"),
        inferred("array_agg_two_orders", "g", "SELECT g, array_agg(id ORDER BY n DESC NULLS LAST, id) AS ids, array_agg(n ORDER BY id) AS ns, count(*) AS c FROM t GROUP BY g"),
        inferred("first_and_last", "g", "SELECT g, first_value(id ORDER BY n, id) AS f, last_value(n ORDER BY x NULLS FIRST, id) AS l FROM t GROUP BY g"),
        inferred("string_agg", "g", "SELECT g, string_agg(id, ',' ORDER BY id) AS ids FROM t GROUP BY g"),
        inferred("stddev", "g", "SELECT g, median(n) AS m FROM t GROUP BY g"),
        inferred("groups_of_groups", "c", "SELECT c, count(*) AS many, sum(s) AS s FROM (SELECT g, count(*) AS c, sum(n) AS s FROM t GROUP BY g) AS a GROUP BY c"),
        inferred("whole_of_groups", "b", "SELECT b, max(c) AS most FROM (SELECT g, b, count(*) AS c FROM t GROUP BY g, b) AS a GROUP BY b"),
        declared("top_of_all", "most", "SELECT max(c) AS most FROM (SELECT g, count(*) AS c FROM t GROUP BY g) AS a"),
        inferred("of_union", "g", "SELECT g, count(*) AS c, sum(n) AS s FROM (SELECT g, n FROM t UNION ALL SELECT g, n FROM u) AS a GROUP BY g"),
        inferred("of_join", "g", "SELECT u.g, count(*) AS c, sum(t.n) AS s FROM t JOIN u ON t.g = u.g GROUP BY u.g"),
        inferred("of_left_join", "g", "SELECT t.g, count(u.id) AS c, count(*) AS all FROM t LEFT JOIN u ON t.id = u.id GROUP BY t.g"),
        inferred("of_unnest", "tag", "SELECT tag, count(*) AS c FROM (SELECT unnest(tags) AS tag FROM t) AS e GROUP BY tag"),
        inferred("expressions_of_aggregates", "g", "SELECT g, sum(n) * 1.0 / count(*) AS r, max(n) - min(n) AS d, CASE WHEN count(*) > 2 THEN 'many' ELSE 'few' END AS w FROM t GROUP BY g"),
        inferred("sum_of_case", "g", "SELECT g, sum(CASE WHEN b THEN 1 ELSE 0 END) AS c, sum(n + 1) AS s FROM t GROUP BY g"),
        inferred("count_of_distinct_constants", "g", "SELECT g, count(DISTINCT 1) AS c, count(DISTINCT 'x') FILTER (WHERE b) AS f FROM t GROUP BY g"),
        inferred("count_of_constants", "g", "SELECT g, count(1) AS a, sum(1) AS b, max('x') AS c FROM t GROUP BY g"),
        inferred("by_bool_and_date", "b, d", "SELECT b, d, count(*) AS c, min(at) AS first FROM t GROUP BY b, d"),
        inferred("by_number", "n", "SELECT n, count(*) AS c FROM t GROUP BY n"),
        inferred("by_float", "x", "SELECT x, count(*) AS c FROM t GROUP BY x"),
        inferred("as_of_grouped", "g", "SELECT t.g, sum(v.val) AS s FROM t JOIN v FOR SYSTEM_TIME AS OF t.at ON v.g = t.g GROUP BY t.g")
            .batch("SELECT g, sum(val) AS s FROM (SELECT t.g, v.val, row_number() OVER (PARTITION BY t.id ORDER BY v.since DESC) AS r
                    FROM t JOIN v ON v.g = t.g AND v.since <= t.at) AS c WHERE r = 1 GROUP BY g"),
    ]
}

pub(crate) fn windows() -> Vec<Shape> {
    vec![
        inferred("nth_and_tile", "id", "SELECT id, ntile(2) OVER (PARTITION BY g ORDER BY id) AS t, nth_value(n, 2) OVER (PARTITION BY g ORDER BY id) AS v, percent_rank() OVER (PARTITION BY g ORDER BY n) AS p FROM t"),
        inferred("filtered_window", "id", "SELECT id, count(*) FILTER (WHERE b) OVER (PARTITION BY g ORDER BY id) AS c FROM t"),
        inferred("ignore_nulls", "id", "SELECT id, lag(n) IGNORE NULLS OVER (PARTITION BY g ORDER BY id) AS l FROM t"),
        inferred("qualify_rank", "id", "SELECT id, n FROM t QUALIFY rank() OVER (PARTITION BY g ORDER BY n DESC) = 1"),
        inferred("qualify_named", "id", "SELECT id, g, sum(n) OVER (PARTITION BY g) AS s FROM t QUALIFY s > 2"),
        inferred("sum_of_decimals_and_floats", "id", "SELECT id, sum(m) OVER (PARTITION BY g ORDER BY id) AS m, sum(x) OVER (PARTITION BY g ORDER BY id) AS x, max(d) OVER (PARTITION BY g ORDER BY id) AS d FROM t"),
        inferred("reverse_frame", "id", "SELECT id, sum(n) OVER (PARTITION BY g ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS s FROM t"),
        inferred("negative_lag", "id", "SELECT id, lag(n, -1) OVER (PARTITION BY g ORDER BY id) AS a, lead(n, 0) OVER (PARTITION BY g ORDER BY id) AS b FROM t"),
        inferred("window_in_expression", "id", "SELECT id, n - coalesce(lag(n) OVER (PARTITION BY g ORDER BY id), 0) AS d, 100 * n / nullif(sum(n) OVER (PARTITION BY g), 0) AS share FROM t"),
        inferred("top_two_then_group", "g", "SELECT g, sum(n) AS s FROM (SELECT g, n FROM t QUALIFY row_number() OVER (PARTITION BY g ORDER BY n DESC NULLS LAST, id) <= 2) AS a GROUP BY g"),
        inferred("three_deep", "id", "SELECT id, lag(c) OVER (PARTITION BY g ORDER BY id) AS l, s FROM (SELECT id, g, s, count(*) OVER (PARTITION BY g, s) AS c
              FROM (SELECT id, g, sum(n) OVER (PARTITION BY g ORDER BY id) AS s FROM t) AS a) AS e"),
        inferred("row_number", "id", "SELECT id, g, row_number() OVER (PARTITION BY g ORDER BY at, id) AS r FROM t"),
        inferred("neighbours", "id", "SELECT id, lag(n) OVER o AS before, lead(id, 2) OVER o AS after FROM t WINDOW o AS (PARTITION BY g ORDER BY n, id)"),
        inferred("lag_with_default", "id", "SELECT id, lag(n, 1, 99) OVER (PARTITION BY g ORDER BY id) AS before FROM t"),
        inferred("first_last", "id", "SELECT id, first_value(n) OVER (PARTITION BY g ORDER BY x, id) AS f, last_value(id) OVER (PARTITION BY g ORDER BY x, id) AS l FROM t"),
        inferred("running_rows", "id", "SELECT id, sum(n) OVER (PARTITION BY g ORDER BY at, id ROWS UNBOUNDED PRECEDING) AS s, count(*) OVER (PARTITION BY g ORDER BY at, id ROWS UNBOUNDED PRECEDING) AS c FROM t"),
        inferred("running_range", "id", "SELECT id, sum(n) OVER (PARTITION BY g ORDER BY at) AS s, max(x) OVER (PARTITION BY g ORDER BY at) AS h, count(n) OVER (PARTITION BY g ORDER BY at DESC) AS c FROM t"),
        inferred("whole", "id", "SELECT id, sum(x) OVER (PARTITION BY g) AS s, min(n) OVER (PARTITION BY g) AS l, count(*) OVER (PARTITION BY g) AS c, avg(n) OVER (PARTITION BY g) AS a FROM t"),
        inferred("whole_table_window", "id", "SELECT id, sum(n) OVER () AS s, row_number() OVER (ORDER BY id) AS r FROM t"),
        inferred("moving", "id", "SELECT id, sum(n) OVER (PARTITION BY g ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS s FROM t"),
        inferred("moving_range", "id", "SELECT id, count(*) OVER (PARTITION BY g ORDER BY n RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM t"),
        inferred("ranks", "id", "SELECT id, rank() OVER (PARTITION BY g ORDER BY n) AS r, dense_rank() OVER (PARTITION BY g ORDER BY n) AS d FROM t"),
        inferred("top_one", "g", "SELECT g, id, n FROM t QUALIFY row_number() OVER (PARTITION BY g ORDER BY n DESC NULLS LAST, id) = 1"),
        inferred("top_two", "id", "SELECT id, g, n FROM t QUALIFY row_number() OVER (PARTITION BY g ORDER BY n DESC, id) <= 2"),
        inferred("top_of_subquery", "g", "SELECT g, id FROM (SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY at DESC NULLS LAST, id) AS r FROM t) AS c WHERE r = 1"),
        inferred("filter_before", "id", "SELECT id, row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM t WHERE n > 0"),
        inferred("filter_after", "id", "SELECT * FROM (SELECT id, n, sum(n) OVER (PARTITION BY g ORDER BY id) AS s FROM t) AS c WHERE s > 2"),
        inferred("stacked", "id", "SELECT id, sum(begins) OVER (PARTITION BY g ORDER BY at, id) AS n FROM a")
            .view("a", "SELECT id, g, at, CASE WHEN at <= lag(at) OVER (PARTITION BY g ORDER BY at, id) + INTERVAL '31 minutes' THEN 0 ELSE 1 END AS begins FROM t"),
        inferred("stacked_other_partition", "id", "SELECT id, row_number() OVER (PARTITION BY b ORDER BY c, id) AS r FROM a")
            .view("a", "SELECT id, b, count(*) OVER (PARTITION BY g) AS c FROM t"),
        inferred("stacked_finer_partition", "id", "SELECT id, row_number() OVER (PARTITION BY g, b ORDER BY c, id) AS r, c FROM a")
            .view("a", "SELECT id, g, b, sum(n) OVER (PARTITION BY g ORDER BY id) AS c FROM t"),
        inferred("stacked_filter_between", "id", "SELECT id, c, row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM a WHERE c > 1")
            .view("a", "SELECT id, g, sum(n) OVER (PARTITION BY g ORDER BY id) AS c FROM t"),
        inferred("two_windows", "id", "SELECT id, row_number() OVER (PARTITION BY g ORDER BY id) AS r, row_number() OVER (PARTITION BY b ORDER BY id DESC) AS q FROM t"),
        inferred("two_orders", "id", "SELECT id, row_number() OVER (PARTITION BY g ORDER BY id) AS r, row_number() OVER (PARTITION BY g ORDER BY id DESC) AS q FROM t"),
        inferred("group_over_window", "g, c", "SELECT g, c, count(*) AS many, array_agg(id ORDER BY id) AS ids FROM a GROUP BY g, c")
            .view("a", "SELECT id, g, sum(CASE WHEN b THEN 1 ELSE 0 END) OVER (PARTITION BY g ORDER BY id) AS c FROM t"),
        inferred("window_over_fused_group", "g, c", "SELECT g, c, ids, min(c) OVER (PARTITION BY g) AS l FROM e")
            .view("a", "SELECT id, g, sum(CASE WHEN b THEN 1 ELSE 0 END) OVER (PARTITION BY g ORDER BY id) AS c FROM t")
            .view("e", "SELECT g, c, array_agg(id ORDER BY id) AS ids FROM a GROUP BY g, c"),
        inferred("group_other_than_window", "b", "SELECT b, sum(r) AS s FROM a GROUP BY b")
            .view("a", "SELECT b, row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM t"),
        declared("whole_group_over_whole_window", "c", "SELECT count(*) AS c, sum(r) AS s FROM a")
            .view("a", "SELECT row_number() OVER (ORDER BY id) AS r FROM t"),
        declared("whole_group_over_window", "c", "SELECT count(*) AS c, sum(r) AS s FROM a")
            .view("a", "SELECT row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM t"),
        inferred("window_over_groups", "g, b", "SELECT g, b, c, rank() OVER (PARTITION BY g ORDER BY c DESC) AS r FROM (SELECT g, b, count(*) AS c FROM t GROUP BY g, b) AS a"),
        bag("window_over_join", "a, b, r", "SELECT t.id AS a, u.id AS b, row_number() OVER (PARTITION BY t.g ORDER BY t.id, u.id) AS r FROM t JOIN u ON t.g = u.g"),
        bag("join_over_window", "a, r, n", "SELECT a.id AS a, a.r, u.n FROM (SELECT id, row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM t) AS a JOIN u ON u.k = a.r"),
        bag("window_view_twice", "a, b", "SELECT x.id AS a, y.id AS b FROM a AS x JOIN a AS y ON x.g = y.g AND x.r + 1 = y.r")
            .view("a", "SELECT id, g, row_number() OVER (PARTITION BY g ORDER BY at, id) AS r FROM t"),
        inferred("partition_by_expression", "id", "SELECT id, count(*) OVER (PARTITION BY upper(g), n > 0) AS c FROM t"),
        inferred("order_by_expression", "id", "SELECT id, row_number() OVER (PARTITION BY g ORDER BY n * -1, id) AS r FROM t"),
        inferred("window_of_expression", "id", "SELECT id, sum(n * 2) OVER (PARTITION BY g ORDER BY id) AS s, lag(coalesce(n, 0)) OVER (PARTITION BY g ORDER BY id) AS l FROM t"),
        inferred("window_of_constants", "id", "SELECT id, sum(1) OVER (PARTITION BY g ORDER BY id) AS s FROM t"),
        bag("window_of_bag", "g, r", "SELECT g, row_number() OVER (PARTITION BY g ORDER BY n) AS r FROM t"),
        inferred("window_then_distinct", "g, c", "SELECT DISTINCT g, c FROM (SELECT g, count(*) OVER (PARTITION BY g) AS c FROM t) AS a"),
    ]
}
