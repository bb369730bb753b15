-- Purpose:    waste vehicles that drive without being seen: their positioning is silent while the engine runs or a camera
--             reads their plate.
-- Inputs:     vehicle_positions, plate_captures, waste_vehicles, waste_policy.
-- Outputs:    sink positioning_failures (upsert by vehicle_id and window_start, one row a vehicle and day however many
--             cameras saw it): what was silent how often, and since when. Consumers: the enterprise, which must have the
--             device mended, and enforcement, which decides whether somebody switched it off (needs_approval).
--             sink uncertain_captures (append): plates that were not read for certain; they accuse nobody.
-- Rules:      engine: the last position said that the engine ran, and no other followed within silent_minutes. camera: a
--             plate was read, and no position of its vehicle lies within silent_minutes before or after. Plates that mean
--             none, that no vehicle has, or that were read below match_score_min count nowhere.
-- Thresholds: waste_policy at the instant (silent_minutes 10, match_score_min 0.8 where none is in force).
-- Limits:     a row comes silent_minutes and 10 minutes after the silence began; positions that arrive later than that are
--             too late to answer for it.

CREATE VIEW running_positions AS
SELECT
    v.vehicle_id, v.positioned_at,
    v.positioned_at + least(coalesce(p.silent_minutes, 10), 60) * INTERVAL '1 minute' AS silent_until
FROM vehicle_positions AS v
LEFT JOIN waste_policy FOR SYSTEM_TIME AS OF v.positioned_at AS p ON TRUE
WHERE v.engine_on;

CREATE STREAM engine_silences AS
SELECT r.vehicle_id, r.positioned_at AS silent_at, 'engine' AS ground
FROM running_positions AS r
WHERE NOT EXISTS (
    SELECT 1 FROM vehicle_positions AS n
    WHERE n.vehicle_id = r.vehicle_id AND n.positioned_at > r.positioned_at AND n.positioned_at <= r.silent_until
);

CREATE VIEW scored_captures AS
SELECT
    c.capture_id, c.device_id, c.captured_at, plate_normalize(c.plate) AS plate,
    c.match_score IS NULL OR c.match_score >= coalesce(p.match_score_min, 0.8) AS is_certain,
    c.captured_at - least(coalesce(p.silent_minutes, 10), 60) * INTERVAL '1 minute' AS silent_from,
    c.captured_at + least(coalesce(p.silent_minutes, 10), 60) * INTERVAL '1 minute' AS silent_until
FROM plate_captures AS c
LEFT JOIN waste_policy FOR SYSTEM_TIME AS OF c.captured_at AS p ON TRUE;

CREATE STREAM seen_vehicles AS
SELECT c.capture_id, c.device_id, c.captured_at, c.silent_from, c.silent_until, c.is_certain, v.vehicle_id
FROM scored_captures AS c
JOIN waste_vehicles AS v ON v.plate = c.plate;

CREATE SINK uncertain_captures WITH (topic = 'uncertain-captures', format = 'json', key = 'capture_id') AS
SELECT capture_id, device_id, captured_at, vehicle_id FROM seen_vehicles WHERE NOT is_certain;

CREATE STREAM camera_silences AS
SELECT c.vehicle_id, c.captured_at AS silent_at, 'camera' AS ground
FROM (SELECT * FROM seen_vehicles WHERE is_certain) AS c
WHERE NOT EXISTS (
    SELECT 1 FROM vehicle_positions AS n
    WHERE n.vehicle_id = c.vehicle_id
        AND n.positioned_at >= c.captured_at - INTERVAL '60 minutes' AND n.positioned_at >= c.silent_from
        AND n.positioned_at <= c.silent_until
);

CREATE TABLE silent_days WITH (allowed_lateness = '2 days') AS
SELECT
    vehicle_id, window_start, min(silent_at) AS first_silent_at,
    count(*) FILTER (WHERE ground = 'engine') AS engine_silences,
    count(*) FILTER (WHERE ground = 'camera') AS camera_sightings
FROM (SELECT * FROM engine_silences UNION ALL SELECT * FROM camera_silences) AS s
GROUP BY vehicle_id, tumble(silent_at, INTERVAL '1 day')
EMIT CHANGES;

CREATE SINK positioning_failures WITH (topic = 'positioning-failures', format = 'json') AS
SELECT
    d.vehicle_id, d.window_start, local_date(d.window_start) AS day, v.enterprise_id, d.first_silent_at,
    d.engine_silences, d.camera_sightings, true AS needs_approval
FROM silent_days AS d
LEFT JOIN waste_vehicles AS v ON v.vehicle_id = d.vehicle_id;
