-- Purpose:    bad weather on a stretch of road reaches drivers and police in seconds: limits for the displays, officers to both
--             ends of the stretch.
-- Inputs:     weather_readings, weather_stations, weather_policy, road_segments.
-- Outputs:    sinks weather_notices (append with revision; the level and speed limit of a segment, withdrawn when it is over),
--             weather_dispatches (append with revision; one for each end of a segment from level 2 on), silent_weather_stations
--             (upsert; nothing was heard for too long), weather_faults (append; readings that no sensor can mean). Consumers:
--             displays, radio, the brigade of the segment, maintenance.
-- Rules:      a level begins with a reading beyond its on_value and ends with one back at its off_value; between them it stays
--             as it is, so that weather that wavers about a threshold sends nobody to and fro. The latest reading counts,
--             whatever the order of arrival; of two of one instant the worse. A segment has the worst level of its stations and
--             kinds, and the lowest limit of those. A station that falls silent keeps its level, and is told.
-- Thresholds: weather_policy of the kind and level at the instant of the reading; where none is in force, weather_defaults: the
--             visibility of article 81 of the regulation on road traffic safety, gales of force 8 to 10, rain and ice.
-- Limits:     nothing but weather_episodes waits here: a reading leaves with the epoch that reads it. `/api/status` and
--             `/metrics` have the latency.

CREATE VIEW weather_defaults AS
SELECT * FROM (VALUES
    ('visibility_m', 1, 'below', 200.0, 250.0, 60),
    ('visibility_m', 2, 'below', 100.0, 130.0, 40),
    ('visibility_m', 3, 'below', 50.0,  70.0,  20),
    ('rain_mm_h',    1, 'above', 10.0,  7.0,   80),
    ('rain_mm_h',    2, 'above', 20.0,  15.0,  60),
    ('rain_mm_h',    3, 'above', 50.0,  40.0,  40),
    ('wind_m_s',     1, 'above', 17.2,  14.0,  80),
    ('wind_m_s',     2, 'above', 20.8,  17.2,  60),
    ('wind_m_s',     3, 'above', 24.5,  20.8,  40),
    ('ice_mm',       1, 'above', 0.1,   0.05,  60),
    ('ice_mm',       2, 'above', 1.0,   0.5,   40),
    ('ice_mm',       3, 'above', 3.0,   2.0,   20)
) AS d(kind, level, worse, on_value, off_value, limit_kmh);

CREATE VIEW weather_levels AS
SELECT kind, CAST(level AS INT) AS level FROM weather_defaults
UNION
SELECT kind, level FROM weather_policy;

CREATE SINK weather_faults WITH (topic = 'weather-faults', format = 'json', key = 'station_id') AS
SELECT
    reading_id, station_id, kind, observed_at, value,
    CASE WHEN value IS NULL OR isnan(value) THEN 'no_value' ELSE 'negative' END AS reason
FROM weather_readings
WHERE value IS NULL OR isnan(value) OR value < 0;

CREATE VIEW levelled_readings AS
SELECT
    r.station_id, r.kind, l.level, r.observed_at, r.value,
    coalesce(p.worse, d.worse) AS worse,
    coalesce(p.on_value, d.on_value) AS on_value,
    coalesce(p.off_value, d.off_value) AS off_value
FROM (SELECT * FROM weather_readings WHERE value >= 0 AND NOT isnan(value)) AS r
JOIN weather_levels AS l ON l.kind = r.kind
LEFT JOIN weather_defaults AS d ON d.kind = l.kind AND d.level = l.level
LEFT JOIN weather_policy FOR SYSTEM_TIME AS OF r.observed_at AS p ON p.kind = r.kind AND p.level = l.level;

-- When a level last began or went on, and when it last was over: one row a station, kind and level.
CREATE TABLE weather_states AS
SELECT
    station_id, kind, level,
    max(CASE WHEN CASE worse WHEN 'below' THEN value < on_value ELSE value >= on_value END THEN observed_at END) AS on_at,
    max(CASE WHEN CASE worse WHEN 'below' THEN value >= off_value ELSE value < off_value END THEN observed_at END) AS off_at
FROM levelled_readings
GROUP BY station_id, kind, level
EMIT CHANGES;

CREATE VIEW bad_weather AS
SELECT s.station_id, s.kind, s.level, coalesce(p.limit_kmh, d.limit_kmh) AS limit_kmh
FROM weather_states AS s
LEFT JOIN weather_policy FOR SYSTEM_TIME AS OF s.on_at AS p ON p.kind = s.kind AND p.level = s.level
LEFT JOIN weather_defaults AS d ON d.kind = s.kind AND d.level = s.level
WHERE s.on_at IS NOT NULL AND (s.off_at IS NULL OR s.on_at >= s.off_at);

CREATE TABLE segment_levels (PRIMARY KEY (segment_id)) AS
SELECT
    g.segment_id, g.brigade_id, g.road_id, g.direction, g.from_m, g.to_m,
    max(w.level) AS level, min(w.limit_kmh) AS limit_kmh, array_agg(DISTINCT w.kind ORDER BY w.kind) AS kinds
FROM bad_weather AS w
JOIN weather_stations AS t ON t.station_id = w.station_id
JOIN road_segments AS g ON g.road_id = t.road_id AND t.chainage_m >= g.from_m AND t.chainage_m < g.to_m
GROUP BY g.segment_id, g.brigade_id, g.road_id, g.direction, g.from_m, g.to_m;

CREATE SINK weather_notices WITH (topic = 'weather-notices', format = 'json', key = 'segment_id') AS
SELECT
    coalesce(after.segment_id, before.segment_id) AS segment_id,
    coalesce(after.level, before.level) AS level,
    coalesce(after.limit_kmh, before.limit_kmh) AS limit_kmh,
    coalesce(after.kinds, before.kinds) AS kinds,
    CASE WHEN after.segment_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(segment_levels);

-- The end that traffic reaches first is where it is held up; at the other end it is let out.
CREATE TABLE weather_posts (PRIMARY KEY (segment_id, post)) AS
SELECT
    segment_id, 'entry' AS post, brigade_id, level, kinds, CASE direction WHEN 'up' THEN from_m ELSE to_m END AS chainage_m
FROM segment_levels WHERE level >= 2
UNION ALL
SELECT
    segment_id, 'exit', brigade_id, level, kinds, CASE direction WHEN 'up' THEN to_m ELSE from_m END
FROM segment_levels WHERE level >= 2;

CREATE SINK weather_dispatches WITH (topic = 'weather-dispatches', format = 'json', key = 'segment_id', count_by = 'status') AS
SELECT
    coalesce(after.segment_id, before.segment_id) AS segment_id,
    coalesce(after.post, before.post) AS post,
    coalesce(after.brigade_id, before.brigade_id) AS brigade_id,
    coalesce(after.chainage_m, before.chainage_m) AS chainage_m,
    coalesce(after.level, before.level) AS level,
    coalesce(after.kinds, before.kinds) AS kinds,
    CASE WHEN after.segment_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(weather_posts);

-- === stations that say nothing ===

CREATE TABLE weather_last_heard AS
SELECT station_id, max(observed_at) AS last_at FROM weather_readings GROUP BY station_id EMIT CHANGES;

CREATE TABLE weather_expected (PRIMARY KEY (station_id)) AS
SELECT t.station_id, h.last_at, h.last_at + coalesce(t.silent_after_s, 900) * INTERVAL '1 second' AS expected_by
FROM weather_stations AS t
JOIN weather_last_heard AS h ON h.station_id = t.station_id;

CREATE TABLE weather_silence (PRIMARY KEY (station_id)) AS
SELECT station_id, last_at FROM PASSED(weather_expected, expected_by);

CREATE SINK silent_weather_stations WITH (topic = 'silent-weather-stations', format = 'json') AS
SELECT station_id, last_at FROM weather_silence;

-- === what the weather was ===

-- The same levels in the order of the readings, when nothing earlier can come any more: each beginning and each end, once.
CREATE VIEW ordered_weather AS
SELECT
    station_id, kind, level, observed_at, value,
    max(CASE WHEN CASE worse WHEN 'below' THEN value < on_value ELSE value >= on_value END THEN observed_at END)
        OVER in_time AS on_at,
    max(CASE WHEN CASE worse WHEN 'below' THEN value >= off_value ELSE value < off_value END THEN observed_at END)
        OVER in_time AS off_at
FROM levelled_readings
WINDOW in_time AS (PARTITION BY station_id, kind, level ORDER BY observed_at);

CREATE VIEW judged_weather AS
SELECT
    station_id, kind, level, observed_at, value,
    on_at IS NOT NULL AND (off_at IS NULL OR on_at >= off_at) AS is_bad
FROM ordered_weather;

CREATE VIEW compared_weather AS
SELECT *, lag(is_bad) OVER (PARTITION BY station_id, kind, level ORDER BY observed_at) AS was_bad FROM judged_weather;

CREATE SINK weather_episodes WITH (topic = 'weather-episodes', format = 'json', key = 'station_id') AS
SELECT station_id, kind, level, observed_at, value, CASE WHEN is_bad THEN 'began' ELSE 'ended' END AS step
FROM compared_weather
WHERE is_bad <> coalesce(was_bad, false);
