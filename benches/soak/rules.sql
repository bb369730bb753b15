-- Purpose:  every operator that keeps state, each with something that bounds it: a retention, a time bucket, a frame, a bound.
-- Inputs:   captures (a table, remembered for 30 days), devices (a small table), passages and stops (streams).
-- Outputs:  one sink an operator. Nobody reads them: it is the memory that is looked at.
-- Limits:   plates, captures and passages are new ones all the time; whatever kept one of each would grow for ever.

SET TIME ZONE = 'Asia/Shanghai';

CREATE TABLE captures (
    capture_id  VARCHAR NOT NULL PRIMARY KEY,
    plate       VARCHAR NOT NULL,
    device_id   VARCHAR NOT NULL,
    captured_at TIMESTAMP WITH TIME ZONE NOT NULL,
    score       DOUBLE
) WITH (topic = 'captures', format = 'json', event_time = 'captured_at', watermark_delay = '1 hour', retention = '30 days');

CREATE TABLE devices (
    device_id VARCHAR NOT NULL PRIMARY KEY,
    town      VARCHAR NOT NULL
) WITH (topic = 'devices', format = 'json');

CREATE STREAM passages (
    passage_id VARCHAR NOT NULL PRIMARY KEY,
    plate      VARCHAR NOT NULL,
    device_id  VARCHAR NOT NULL,
    passed_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    speed      BIGINT
) WITH (topic = 'passages', format = 'json', event_time = 'passed_at', watermark_delay = '1 hour', unique_for = '7 days');

CREATE STREAM stops (
    plate      VARCHAR NOT NULL,
    stopped_at TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'stops', format = 'json', event_time = 'stopped_at', watermark_delay = '1 hour');

-- table_join, table_window, table_aggregate, changes, upsert.
CREATE VIEW placed AS
SELECT c.capture_id, c.plate, c.captured_at, c.score, d.town
FROM captures AS c
JOIN devices AS d ON d.device_id = c.device_id;

CREATE VIEW numbered AS
SELECT plate, date_trunc('day', captured_at) AS day, capture_id,
    row_number() OVER (PARTITION BY plate, date_trunc('day', captured_at) ORDER BY captured_at, capture_id) AS n
FROM placed;

CREATE TABLE plate_days (PRIMARY KEY (plate, day)) AS
SELECT plate, day, count(*) AS captures, max(n) AS n, array_agg(capture_id ORDER BY n) AS ids
FROM numbered
GROUP BY plate, day;

CREATE SINK plate_days_sink WITH (topic = 'plate-days', format = 'json') AS SELECT * FROM plate_days;

CREATE SINK plate_day_changes WITH (topic = 'plate-day-changes', format = 'json') AS
SELECT before, after, revision FROM CHANGES(plate_days);

CREATE SINK town_days WITH (topic = 'town-days', format = 'json') AS
SELECT town, date_trunc('day', captured_at) AS day, count(*) AS captures, avg(score) AS score, min(plate) AS plate
FROM placed
GROUP BY town, date_trunc('day', captured_at);

-- lookup_join and window_aggregate, final and as it changes.
CREATE SINK town_hours WITH (topic = 'town-hours', format = 'json') AS
SELECT window_start, d.town, count(*) AS passages, count(DISTINCT p.plate) AS plates, max(p.speed) AS speed
FROM passages AS p
LEFT JOIN devices AS d ON d.device_id = p.device_id
GROUP BY tumble(p.passed_at, INTERVAL '1 hour'), d.town
EMIT FINAL;

CREATE SINK plate_hours WITH (topic = 'plate-hours', format = 'json') AS
SELECT plate, date_trunc('hour', passed_at) AS hour, count(*) AS passages
FROM passages
GROUP BY plate, date_trunc('hour', passed_at)
EMIT CHANGES;

-- interval_join: a passage waits a day for a stop, and leaves with or without.
CREATE SINK stopped WITH (topic = 'stopped', format = 'json') AS
SELECT p.passage_id, p.plate, p.passed_at, s.stopped_at
FROM passages AS p
LEFT JOIN stops AS s ON s.plate = p.plate AND s.stopped_at BETWEEN p.passed_at AND p.passed_at + INTERVAL '1 day';

-- Overlapping buckets and sessions.
CREATE SINK device_hops WITH (topic = 'device-hops', format = 'json') AS
SELECT window_start, device_id, count(*) AS passages, count(DISTINCT plate) AS plates
FROM passages
GROUP BY hop(passed_at, INTERVAL '15 minutes', INTERVAL '1 hour'), device_id;

CREATE SINK plate_sessions WITH (topic = 'plate-sessions', format = 'json') AS
SELECT window_start, window_end, plate, count(*) AS passages
FROM passages
GROUP BY session(passed_at, INTERVAL '30 minutes'), plate;

-- final_rows: a closed day of a table. pace: changes now and then.
CREATE SINK closed_days WITH (topic = 'closed-days', format = 'json') AS
SELECT date_trunc('day', captured_at) AS day, count(*) AS captures, max(score) AS score
FROM placed
GROUP BY date_trunc('day', captured_at)
EMIT FINAL;

CREATE SINK paced_hours WITH (topic = 'paced-hours', format = 'json') AS
SELECT device_id, date_trunc('hour', passed_at) AS hour, count(*) AS passages, max(speed) AS speed
FROM passages
GROUP BY device_id, date_trunc('hour', passed_at)
EMIT CHANGES EVERY '5 seconds';

-- running_window: a frame of time, and a bucket.
CREATE SINK speeds WITH (topic = 'speeds', format = 'json') AS
SELECT passage_id, device_id, passed_at,
    avg(speed) OVER (PARTITION BY device_id ORDER BY passed_at RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS lately
FROM passages;

CREATE SINK seen_today WITH (topic = 'seen-today', format = 'json') AS
SELECT passage_id, plate, row_number() OVER (PARTITION BY plate, date_trunc('day', passed_at) ORDER BY arrival) AS times
FROM passages;

-- deduplicate: the fastest of each hour, the first of each day.
CREATE SINK fastest WITH (topic = 'fastest', format = 'json') AS
SELECT passage_id, plate, speed, passed_at
FROM passages
QUALIFY row_number() OVER (PARTITION BY tumble(passed_at, INTERVAL '1 hour') ORDER BY speed DESC, passage_id) <= 3;

CREATE SINK firsts WITH (topic = 'firsts', format = 'json') AS
SELECT passage_id, plate, passed_at
FROM passages
QUALIFY row_number() OVER (PARTITION BY plate, date_trunc('day', passed_at) ORDER BY passed_at, passage_id) = 1;

-- bucket_window: what only a closed hour knows. A row that waits for the next hour.
CREATE SINK quarters WITH (topic = 'quarters', format = 'json') AS
SELECT passage_id, ntile(4) OVER w AS quarter, lead(passage_id) OVER w AS next_id
FROM passages
WINDOW w AS (PARTITION BY tumble(passed_at, INTERVAL '1 hour') ORDER BY speed, passage_id);

CREATE SINK soon WITH (topic = 'soon', format = 'json') AS
SELECT passage_id, plate,
    count(*) OVER (PARTITION BY plate ORDER BY passed_at RANGE BETWEEN CURRENT ROW AND INTERVAL '1 hour' FOLLOWING) AS passages
FROM passages;

-- top_rows: the three fastest of each plate and day, as they change.
CREATE SINK fastest_now WITH (topic = 'fastest-now', format = 'json') AS
SELECT plate, day, place, passage_id, speed
FROM (
    SELECT plate, date_trunc('day', passed_at) AS day, passage_id, speed, row_number() OVER (
        PARTITION BY plate, date_trunc('day', passed_at) ORDER BY speed DESC, passage_id
    ) AS place
    FROM passages
) AS p
WHERE place <= 3
EMIT CHANGES;

-- temporal_filter: captures two days after they happened.
CREATE VIEW checkable AS
SELECT capture_id, plate, captured_at, captured_at + INTERVAL '2 days' AS checkable_at
FROM captures;

CREATE SINK checks_due WITH (topic = 'checks-due', format = 'json') AS
SELECT capture_id, plate, checkable_at FROM PASSED(checkable, checkable_at);
