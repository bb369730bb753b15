-- The queries of `pack/queries.sql` for DuckDB. Instants are UTC timestamps without zone; local time is eight hours later.
-- name: filter
SELECT order_id, qty * 2 AS twice, amount / 4 AS quarter FROM orders WHERE amount > 10 AND (paid OR qty > 5);
-- name: cases
SELECT order_id, CASE WHEN qty < 3 THEN 'few' WHEN qty < 7 THEN 'some' ELSE 'many' END AS size, coalesce(customer, 'nobody') AS who,
       nullif(qty, 4) AS not_four, qty % 3 AS rest FROM orders;
-- name: texts
SELECT order_id, upper(item) AS item, substr(order_id, 2) AS digits, length(item) AS letters, order_id || '/' || item AS path,
       item LIKE '%pe%' AS is_like, replace(item, 'e', 'E') AS replaced FROM orders;
-- name: calendar
SELECT order_id, trunc_local('day', placed_at) AS day, trunc_local('month', placed_at) AS month, strftime(to_local(placed_at), '%Y-%m') AS named,
       CAST(to_local(placed_at) AS DATE) AS local_day, hour(to_local(placed_at)) AS hour, placed_at + INTERVAL 90 MINUTE AS later FROM orders;
-- name: unnested
SELECT tag, count(*) AS n, sum(qty) AS qty FROM (SELECT unnest(tags) AS tag, qty FROM orders) AS t GROUP BY tag;
-- name: united
SELECT name, count(*) AS n, sum(value) AS total
FROM (SELECT customer AS name, qty AS value FROM orders UNION ALL SELECT customer, credit FROM customers WHERE credit > 2) AS u GROUP BY name;
-- name: joined
SELECT o.order_id, o.qty, c.region, c.credit FROM orders AS o JOIN customers AS c ON c.customer = o.customer;
-- name: left_joined
SELECT o.order_id, coalesce(c.region, 'nowhere') AS region, c.customer IS NULL AS stranger
FROM orders AS o LEFT JOIN customers AS c ON c.customer = o.customer AND c.credit > 1;
-- name: right_joined
SELECT c.customer, count(o.order_id) AS n, sum(o.amount) AS amount
FROM orders AS o RIGHT JOIN customers AS c ON c.customer = o.customer GROUP BY c.customer;
-- name: pairs
SELECT a.order_id AS a, b.order_id AS b FROM orders AS a JOIN orders AS b ON a.customer = b.customer AND a.item = b.item AND a.order_id < b.order_id;
-- name: banded
SELECT b.band, count(*) AS n, max(o.amount) AS most FROM orders AS o JOIN bands AS b ON o.amount >= b.low AND o.amount < b.high GROUP BY b.band;
-- name: in_subquery
SELECT order_id FROM orders WHERE customer IN (SELECT customer FROM customers WHERE region = 'north');
-- name: without_customer
SELECT order_id, customer FROM orders AS o WHERE NOT EXISTS (SELECT 1 FROM customers AS c WHERE c.customer = o.customer);
-- name: not_in
SELECT customer FROM customers WHERE customer NOT IN (SELECT customer FROM orders WHERE customer IS NOT NULL AND qty = 9 AND paid);
-- name: above_average
SELECT order_id, amount FROM orders WHERE amount > (SELECT avg(amount) FROM orders);
-- name: most_of_customer
SELECT c.customer, (SELECT max(o.qty) FROM orders AS o WHERE o.customer = c.customer) AS most FROM customers AS c;
-- name: aggregates
SELECT item, count(*) AS n, count(customer) AS named, sum(qty) AS qty, sum(amount) AS amount, avg(amount) AS mean, min(placed_at) AS first,
       max(order_id) AS last, bool_and(paid) AS all_paid, bool_or(paid) AS any_paid FROM orders GROUP BY item;
-- name: filtered_aggregates
SELECT customer, count(*) FILTER (WHERE paid) AS paid, sum(qty) FILTER (WHERE amount > 20) AS big, count(DISTINCT item) AS items,
       sum(DISTINCT qty) AS distinct_qty FROM orders GROUP BY customer;
-- name: having
SELECT customer, item, sum(qty) AS qty FROM orders GROUP BY customer, item HAVING count(*) > 1 AND sum(qty) > 5;
-- name: distinct_rows
SELECT DISTINCT customer, paid FROM orders;
-- name: groups_of_groups
SELECT n, count(*) AS customers, sum(qty) AS qty FROM (SELECT customer, count(*) AS n, sum(qty) AS qty FROM orders GROUP BY customer) AS g GROUP BY n;
-- name: lists
SELECT item, array_agg(order_id ORDER BY placed_at NULLS LAST, order_id) AS orders, string_agg(order_id, ',' ORDER BY order_id) AS text FROM orders GROUP BY item;
-- name: by_local_month
SELECT trunc_local('month', placed_at) AS month, item, sum(qty) AS qty FROM orders GROUP BY 1, item;
-- name: top_two
SELECT order_id, item, amount FROM orders QUALIFY row_number() OVER (PARTITION BY item ORDER BY amount DESC NULLS LAST, order_id) <= 2;
-- name: neighbours
SELECT order_id, lag(qty) OVER w AS before, lead(order_id, 2) OVER w AS after, first_value(qty) OVER w AS first
FROM orders WINDOW w AS (PARTITION BY customer ORDER BY placed_at NULLS LAST, order_id);
-- name: running
SELECT order_id, sum(qty) OVER w AS total, count(*) OVER w AS n, max(amount) OVER w AS most
FROM orders WINDOW w AS (PARTITION BY item ORDER BY placed_at NULLS LAST, order_id ROWS UNBOUNDED PRECEDING);
-- name: moving
SELECT order_id, avg(qty) OVER (PARTITION BY item ORDER BY order_id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS mean FROM orders;
-- name: ranks
SELECT order_id, rank() OVER (PARTITION BY item ORDER BY qty NULLS LAST) AS r, dense_rank() OVER (PARTITION BY item ORDER BY qty NULLS LAST) AS d,
       sum(qty) OVER (PARTITION BY item ORDER BY qty NULLS LAST) AS peers FROM orders;
-- name: starts_of_rides
SELECT customer, ride, count(*) AS n, min(placed_at) AS began
FROM (SELECT customer, placed_at, sum(begins) OVER (PARTITION BY customer ORDER BY placed_at NULLS LAST, order_id) AS ride
      FROM (SELECT customer, order_id, placed_at,
                   CASE WHEN placed_at <= lag(placed_at) OVER (PARTITION BY customer ORDER BY placed_at NULLS LAST, order_id) + INTERVAL 30 HOUR THEN 0 ELSE 1 END AS begins
            FROM orders) AS a) AS b
GROUP BY customer, ride;
-- name: priced
SELECT o.order_id, p.price, p.price * o.qty AS total FROM orders AS o ASOF LEFT JOIN prices AS p ON p.item = o.item AND o.placed_at >= p.valid_from;
-- name: revenue
SELECT c.region, sum(p.price * o.qty) AS total, count(*) AS n
FROM orders AS o ASOF JOIN prices AS p ON p.item = o.item AND o.placed_at >= p.valid_from JOIN customers AS c ON c.customer = o.customer GROUP BY c.region;
-- name: hours
SELECT date_trunc('hour', clicked_at) AS window_start, date_trunc('hour', clicked_at) + INTERVAL 1 HOUR AS window_end, page, count(*) AS n,
       sum(millis) AS millis, count(DISTINCT customer) AS customers FROM clicks GROUP BY 1, 2, page;
-- name: busy_days
SELECT trunc_local('day', clicked_at) AS window_start, count(*) AS n, max(millis) FILTER (WHERE page = 'home') AS slowest, avg(millis) AS mean
FROM clicks GROUP BY 1 HAVING count(*) > 20;
-- name: clicks_of_regions
SELECT k.click_id, k.page, c.region FROM clicks AS k LEFT JOIN customers AS c ON c.customer = k.customer WHERE k.millis > 50;
-- name: both_streams
SELECT click_id AS id, customer, clicked_at AS at FROM clicks WHERE page = 'home' UNION ALL SELECT view_id + 1000, customer, viewed_at FROM views;
-- name: clicks_of_customers
SELECT customer, count(*) AS n, max(clicked_at) AS last FROM clicks GROUP BY customer;
-- name: strangers_per_hour
SELECT time_bucket(INTERVAL 6 HOUR, to_local(k.clicked_at), TIMESTAMP '1970-01-01') - INTERVAL 8 HOUR AS start, count(*) AS n FROM clicks AS k
WHERE NOT EXISTS (SELECT 1 FROM customers AS c WHERE c.customer = k.customer) GROUP BY 1;
-- name: clicks_at_prices
SELECT k.click_id, p.price FROM clicks AS k ASOF JOIN prices AS p ON p.item = k.page AND k.clicked_at >= p.valid_from;
-- name: views_near_clicks
SELECT k.click_id, k.page, v.view_id, v.viewed_at FROM clicks AS k LEFT JOIN views AS v
    ON v.customer = k.customer AND v.viewed_at BETWEEN k.clicked_at - INTERVAL 20 MINUTE AND k.clicked_at + INTERVAL 2 HOUR;
-- name: clicks_without_views
SELECT k.click_id FROM clicks AS k WHERE NOT EXISTS (
    SELECT 1 FROM views AS v WHERE v.page = k.page AND v.viewed_at > k.clicked_at AND v.viewed_at <= k.clicked_at + INTERVAL 1 HOUR);
-- name: overlapping_hours
SELECT time_bucket(INTERVAL 20 MINUTE, clicked_at) - to_minutes(20 * before) AS window_start, page, count(*) AS n, sum(millis) AS millis
FROM clicks, range(3) AS r(before) GROUP BY 1, page;
-- name: sessions
SELECT min(clicked_at) AS window_start, customer, count(*) AS n, max(millis) AS slowest
FROM (SELECT *, sum(begins) OVER (PARTITION BY customer ORDER BY clicked_at) AS number
      FROM (SELECT *, CASE WHEN clicked_at <= lag(clicked_at) OVER (PARTITION BY customer ORDER BY clicked_at) + INTERVAL 40 MINUTE THEN 0 ELSE 1 END AS begins
            FROM clicks) AS a) AS b
GROUP BY customer, number;
