--- a clock
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT visit_id FROM visits WHERE at > now() - INTERVAL '1 hour';
--- the date of today
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT visit_id, current_date AS day FROM visits;
--- chance
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, random() AS lot FROM people;
--- an order without a key
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id FROM people ORDER BY person_id;
--- a limit in a view
CREATE VIEW v AS SELECT person_id FROM (SELECT person_id FROM people LIMIT 3) AS p;
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id FROM v;
--- a limit without a key
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, town FROM people LIMIT 3;
--- recursion
CREATE SINK s WITH (topic = 's', format = 'json') AS WITH RECURSIVE r AS (SELECT person_id FROM people UNION ALL SELECT person_id FROM r) SELECT person_id FROM r;
--- rows that are constant
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT n FROM (VALUES (1), (2)) AS list(n);
--- a stream and a table in one
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id FROM rides UNION ALL SELECT person_id FROM visits;
--- a value of several rows
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, (SELECT minimum FROM policy) AS minimum FROM people;
--- a subquery within an expression
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, CASE WHEN person_id IN (SELECT person_id FROM visits) THEN 1 ELSE 0 END AS visited FROM people;
--- conditions that contradict each other
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, town FROM people WHERE 1 = 2;
--- lateral
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT p.person_id, t.tag FROM people AS p CROSS JOIN UNNEST(p.tags) AS t(tag);
--- grouping sets
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT town, age, count(*) AS n FROM people GROUP BY ROLLUP (town, age);
--- not in, of a constant
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, town FROM people AS p WHERE 'p1' NOT IN (SELECT v.person_id FROM visits AS v WHERE v.person_id = p.person_id);
--- a list of a whole table
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT array_agg(person_id ORDER BY person_id) AS people FROM people;
--- a stream in an order that no watermark follows
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, sum(speed) OVER (PARTITION BY person_id ORDER BY speed) AS sum_so_far FROM rides;
--- more first rows than are kept
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT * FROM rides QUALIFY row_number() OVER (PARTITION BY person_id ORDER BY ride_id DESC) <= 100000;
--- numbers of the last to arrive
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, row_number() OVER (PARTITION BY person_id ORDER BY arrival DESC) AS n FROM rides;
--- a share of all rows of a stream
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, ntile(4) OVER (PARTITION BY person_id ORDER BY at) AS quarter FROM rides;
--- the next value, which may never come
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, lead(speed) IGNORE NULLS OVER (PARTITION BY person_id ORDER BY at) AS next_speed FROM rides;
--- all that is to come
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, count(*) OVER (PARTITION BY person_id ORDER BY at ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS n FROM rides;
--- later rows by arrival
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, lead(ride_id) OVER (PARTITION BY person_id ORDER BY arrival) AS next_id FROM rides;
