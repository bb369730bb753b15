--- a bucket of another time
CREATE VIEW later AS SELECT ride_id, at + INTERVAL '1 hour' AS at FROM rides;
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT window_start, count(*) AS n FROM later GROUP BY tumble(at, INTERVAL '1 hour');
--- a bucket whose width is no constant
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT window_start, count(*) AS n FROM rides GROUP BY tumble(at, CASE WHEN helmet THEN INTERVAL '1 hour' ELSE INTERVAL '2 hours' END);
--- a bucket of no width
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT window_start, count(*) AS n FROM rides GROUP BY tumble(at, INTERVAL '0 hours');
--- a last word without a bucket
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, count(*) AS n FROM rides GROUP BY person_id EMIT FINAL;
--- a stream that is a table
CREATE STREAM s AS SELECT person_id, count(*) AS n FROM rides GROUP BY person_id;
CREATE SINK o WITH (topic = 'o', format = 'json') AS SELECT person_id, n FROM s;
--- a table that is a stream
CREATE TABLE t AS SELECT ride_id FROM rides;
CREATE SINK o WITH (topic = 'o', format = 'json') AS SELECT ride_id FROM t;
--- changes of a stream
CREATE VIEW v AS SELECT ride_id FROM rides;
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT after.ride_id FROM CHANGES(v);
--- changes of a query
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT revision FROM CHANGES(1 + 1);
--- changes of a table without a key
CREATE VIEW v AS SELECT town FROM people;
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT after.town FROM CHANGES(v);
--- an interval between emissions that is no duration
CREATE VIEW v AS SELECT town, count(*) AS n FROM people GROUP BY town EMIT CHANGES EVERY '5 lightyears';
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT town, n FROM v;
--- two kinds of buckets at once
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT count(*) AS n FROM rides GROUP BY hop(at, INTERVAL '1 hour', INTERVAL '1 day'), session(at, INTERVAL '1 hour');
--- an overlapping bucket that nothing is grouped by
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, hop(at, INTERVAL '1 hour', INTERVAL '1 day') AS bucket FROM rides;
--- changes of very many overlapping buckets
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT window_start, count(*) AS n FROM rides GROUP BY hop(at, INTERVAL '1 minute', INTERVAL '1 day') EMIT CHANGES;
--- a session of no length
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT window_start, count(*) AS n FROM rides GROUP BY session(at, INTERVAL '0 hours');
--- a stream at a pace
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id FROM rides WHERE helmet EMIT CHANGES EVERY '5 seconds';
--- final rows that wait longer than their table keeps them
CREATE TABLE trips (trip_id VARCHAR PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'trips', format = 'json', event_time = 'at', retention = '1 hour');
CREATE SINK s WITH (topic = 's', format = 'json', allowed_lateness = '2 days') AS SELECT window_start, count(*) AS n FROM trips GROUP BY tumble(at, INTERVAL '1 day') EMIT FINAL;
--- final rows of a table whose buckets leave before
CREATE TABLE hours AS SELECT window_start AS hour, count(*) AS n FROM rides GROUP BY tumble(at, INTERVAL '1 hour') EMIT CHANGES;
CREATE SINK s WITH (topic = 's', format = 'json', allowed_lateness = '90 minutes') AS SELECT tumble(hour, INTERVAL '1 day') AS day, sum(n) AS n FROM hours GROUP BY tumble(hour, INTERVAL '1 day') EMIT FINAL;
