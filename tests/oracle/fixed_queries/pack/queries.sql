-- Each sink is a query; `duckdb.sql` says the same in DuckDB's words, under the same name.
CREATE SINK filter WITH (topic = 'filter', format = 'json') AS
    SELECT order_id, qty * 2 AS twice, amount / 4 AS quarter FROM orders WHERE amount > 10 AND (paid OR qty > 5);

CREATE SINK cases WITH (topic = 'cases', format = 'json') AS
    SELECT order_id, CASE WHEN qty < 3 THEN 'few' WHEN qty < 7 THEN 'some' ELSE 'many' END AS size, coalesce(customer, 'nobody') AS who,
           nullif(qty, 4) AS not_four, qty % 3 AS rest FROM orders;

CREATE SINK texts WITH (topic = 'texts', format = 'json') AS
    SELECT order_id, upper(item) AS item, substr(order_id, 2) AS digits, length(item) AS letters, order_id || '/' || item AS path,
           item LIKE '%pe%' AS is_like, replace(item, 'e', 'E') AS replaced FROM orders;

CREATE SINK calendar WITH (topic = 'calendar', format = 'json') AS
    SELECT order_id, date_trunc('day', placed_at) AS day, date_trunc('month', placed_at) AS month, year_month(placed_at) AS named,
           local_date(placed_at) AS local_day, extract(hour FROM placed_at) AS hour, placed_at + INTERVAL '90 minutes' AS later FROM orders;

CREATE SINK unnested WITH (topic = 'unnested', format = 'json') AS
    SELECT tag, count(*) AS n, sum(qty) AS qty FROM (SELECT unnest(tags) AS tag, qty FROM orders) AS t GROUP BY tag;

CREATE SINK united WITH (topic = 'united', format = 'json') AS
    SELECT name, count(*) AS n, sum(value) AS total
    FROM (SELECT customer AS name, qty AS value FROM orders UNION ALL SELECT customer, credit FROM customers WHERE credit > 2) AS u GROUP BY name;

CREATE SINK joined WITH (topic = 'joined', format = 'json') AS
    SELECT o.order_id, o.qty, c.region, c.credit FROM orders AS o JOIN customers AS c ON c.customer = o.customer;

CREATE SINK left_joined WITH (topic = 'left_joined', format = 'json') AS
    SELECT o.order_id, coalesce(c.region, 'nowhere') AS region, c.customer IS NULL AS stranger
    FROM orders AS o LEFT JOIN customers AS c ON c.customer = o.customer AND c.credit > 1;

CREATE SINK right_joined WITH (topic = 'right_joined', format = 'json') AS
    SELECT c.customer, count(o.order_id) AS n, sum(o.amount) AS amount
    FROM orders AS o RIGHT JOIN customers AS c ON c.customer = o.customer GROUP BY c.customer;

CREATE SINK pairs WITH (topic = 'pairs', format = 'json') AS
    SELECT a.order_id AS a, b.order_id AS b FROM orders AS a JOIN orders AS b ON a.customer = b.customer AND a.item = b.item AND a.order_id < b.order_id;

CREATE SINK banded WITH (topic = 'banded', format = 'json') AS
    SELECT b.band, count(*) AS n, max(o.amount) AS most FROM orders AS o JOIN bands AS b ON o.amount >= b.low AND o.amount < b.high GROUP BY b.band;

CREATE SINK in_subquery WITH (topic = 'in_subquery', format = 'json') AS
    SELECT order_id FROM orders WHERE customer IN (SELECT customer FROM customers WHERE region = 'north');

CREATE SINK without_customer WITH (topic = 'without_customer', format = 'json') AS
    SELECT order_id, customer FROM orders AS o WHERE NOT EXISTS (SELECT 1 FROM customers AS c WHERE c.customer = o.customer);

CREATE SINK not_in WITH (topic = 'not_in', format = 'json') AS
    SELECT customer FROM customers WHERE customer NOT IN (SELECT customer FROM orders WHERE customer IS NOT NULL AND qty = 9 AND paid);

CREATE SINK above_average WITH (topic = 'above_average', format = 'json') AS
    SELECT order_id, amount FROM orders WHERE amount > (SELECT avg(amount) FROM orders);

CREATE SINK most_of_customer WITH (topic = 'most_of_customer', format = 'json') AS
    SELECT c.customer, (SELECT max(o.qty) FROM orders AS o WHERE o.customer = c.customer) AS most FROM customers AS c;

CREATE SINK aggregates WITH (topic = 'aggregates', format = 'json') AS
    SELECT item, count(*) AS n, count(customer) AS named, sum(qty) AS qty, sum(amount) AS amount, avg(amount) AS mean, min(placed_at) AS first,
           max(order_id) AS last, bool_and(paid) AS all_paid, bool_or(paid) AS any_paid FROM orders GROUP BY item;

CREATE SINK filtered_aggregates WITH (topic = 'filtered_aggregates', format = 'json') AS
    SELECT customer, count(*) FILTER (WHERE paid) AS paid, sum(qty) FILTER (WHERE amount > 20) AS big, count(DISTINCT item) AS items,
           sum(DISTINCT qty) AS distinct_qty FROM orders GROUP BY customer;

CREATE SINK having WITH (topic = 'having', format = 'json') AS
    SELECT customer, item, sum(qty) AS qty FROM orders GROUP BY customer, item HAVING count(*) > 1 AND sum(qty) > 5;

CREATE SINK distinct_rows WITH (topic = 'distinct_rows', format = 'json') AS SELECT DISTINCT customer, paid FROM orders;

CREATE SINK groups_of_groups WITH (topic = 'groups_of_groups', format = 'json') AS
    SELECT n, count(*) AS customers, sum(qty) AS qty FROM (SELECT customer, count(*) AS n, sum(qty) AS qty FROM orders GROUP BY customer) AS g GROUP BY n;

CREATE SINK lists WITH (topic = 'lists', format = 'json') AS
    SELECT item, array_agg(order_id ORDER BY placed_at, order_id) AS orders, string_agg(order_id, ',' ORDER BY order_id) AS text FROM orders GROUP BY item;

CREATE SINK by_local_month WITH (topic = 'by_local_month', format = 'json') AS
    SELECT tumble(placed_at, INTERVAL '1 month') AS month, item, sum(qty) AS qty FROM orders GROUP BY tumble(placed_at, INTERVAL '1 month'), item;

CREATE SINK top_two WITH (topic = 'top_two', format = 'json') AS
    SELECT order_id, item, amount FROM orders QUALIFY row_number() OVER (PARTITION BY item ORDER BY amount DESC NULLS LAST, order_id) <= 2;

CREATE SINK neighbours WITH (topic = 'neighbours', format = 'json') AS
    SELECT order_id, lag(qty) OVER w AS before, lead(order_id, 2) OVER w AS after, first_value(qty) OVER w AS first
    FROM orders WINDOW w AS (PARTITION BY customer ORDER BY placed_at, order_id);

CREATE SINK running WITH (topic = 'running', format = 'json') AS
    SELECT order_id, sum(qty) OVER w AS total, count(*) OVER w AS n, max(amount) OVER w AS most
    FROM orders WINDOW w AS (PARTITION BY item ORDER BY placed_at, order_id ROWS UNBOUNDED PRECEDING);

CREATE SINK moving WITH (topic = 'moving', format = 'json') AS
    SELECT order_id, avg(qty) OVER (PARTITION BY item ORDER BY order_id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS mean FROM orders;

CREATE SINK ranks WITH (topic = 'ranks', format = 'json') AS
    SELECT order_id, rank() OVER (PARTITION BY item ORDER BY qty) AS r, dense_rank() OVER (PARTITION BY item ORDER BY qty) AS d,
           sum(qty) OVER (PARTITION BY item ORDER BY qty) AS peers FROM orders;

CREATE SINK starts_of_rides WITH (topic = 'starts_of_rides', format = 'json') AS
    SELECT customer, ride, count(*) AS n, min(placed_at) AS began
    FROM (SELECT customer, placed_at, sum(begins) OVER (PARTITION BY customer ORDER BY placed_at, order_id) AS ride
          FROM (SELECT customer, order_id, placed_at,
                       CASE WHEN placed_at <= lag(placed_at) OVER (PARTITION BY customer ORDER BY placed_at, order_id) + INTERVAL '30 hours' THEN 0 ELSE 1 END AS begins
                FROM orders) AS a) AS b
    GROUP BY customer, ride;

CREATE SINK priced WITH (topic = 'priced', format = 'json') AS
    SELECT o.order_id, p.price, p.price * o.qty AS total FROM orders AS o LEFT JOIN prices FOR SYSTEM_TIME AS OF o.placed_at AS p ON p.item = o.item;

CREATE SINK revenue WITH (topic = 'revenue', format = 'json') AS
    SELECT c.region, sum(p.price * o.qty) AS total, count(*) AS n
    FROM orders AS o JOIN prices FOR SYSTEM_TIME AS OF o.placed_at AS p ON p.item = o.item JOIN customers AS c ON c.customer = o.customer GROUP BY c.region;

CREATE SINK hours WITH (topic = 'hours', format = 'json') AS
    SELECT window_start, window_end, page, count(*) AS n, sum(millis) AS millis, count(DISTINCT customer) AS customers
    FROM clicks GROUP BY tumble(clicked_at, INTERVAL '1 hour'), page EMIT FINAL;

CREATE SINK busy_days WITH (topic = 'busy_days', format = 'json') AS
    SELECT window_start, count(*) AS n, max(millis) FILTER (WHERE page = 'home') AS slowest, avg(millis) AS mean
    FROM clicks GROUP BY tumble(clicked_at, INTERVAL '1 day') HAVING count(*) > 20 EMIT FINAL;

CREATE SINK clicks_of_regions WITH (topic = 'clicks_of_regions', format = 'json') AS
    SELECT k.click_id, k.page, c.region FROM clicks AS k LEFT JOIN customers AS c ON c.customer = k.customer WHERE k.millis > 50;

CREATE SINK both_streams WITH (topic = 'both_streams', format = 'json') AS
    SELECT click_id AS id, customer, clicked_at AS at FROM clicks WHERE page = 'home' UNION ALL SELECT view_id + 1000, customer, viewed_at FROM views;

CREATE SINK clicks_of_customers WITH (topic = 'clicks_of_customers', format = 'json') AS
    SELECT customer, count(*) AS n, max(clicked_at) AS last FROM clicks GROUP BY customer;

CREATE SINK strangers_per_hour WITH (topic = 'strangers_per_hour', format = 'json') AS
    SELECT tumble(k.clicked_at, INTERVAL '6 hours') AS start, count(*) AS n FROM clicks AS k
    WHERE NOT EXISTS (SELECT 1 FROM customers AS c WHERE c.customer = k.customer) GROUP BY tumble(k.clicked_at, INTERVAL '6 hours') EMIT CHANGES;

CREATE SINK clicks_at_prices WITH (topic = 'clicks_at_prices', format = 'json') AS
    SELECT k.click_id, p.price FROM clicks AS k JOIN prices FOR SYSTEM_TIME AS OF k.clicked_at AS p ON p.item = k.page;

CREATE SINK views_near_clicks WITH (topic = 'views_near_clicks', format = 'json') AS
    SELECT k.click_id, k.page, v.view_id, v.viewed_at FROM clicks AS k LEFT JOIN views AS v
        ON v.customer = k.customer AND v.viewed_at BETWEEN k.clicked_at - INTERVAL '20 minutes' AND k.clicked_at + INTERVAL '2 hours';

CREATE SINK clicks_without_views WITH (topic = 'clicks_without_views', format = 'json') AS
    SELECT k.click_id FROM clicks AS k WHERE NOT EXISTS (
        SELECT 1 FROM views AS v WHERE v.page = k.page AND v.viewed_at > k.clicked_at AND v.viewed_at <= k.clicked_at + INTERVAL '1 hour');

CREATE SINK overlapping_hours WITH (topic = 'overlapping_hours', format = 'json') AS
    SELECT window_start, page, count(*) AS n, sum(millis) AS millis FROM clicks GROUP BY hop(clicked_at, INTERVAL '20 minutes', INTERVAL '1 hour'), page EMIT FINAL;

CREATE SINK sessions WITH (topic = 'sessions', format = 'json') AS
    SELECT window_start, customer, count(*) AS n, max(millis) AS slowest FROM clicks GROUP BY session(clicked_at, INTERVAL '40 minutes'), customer EMIT FINAL;
