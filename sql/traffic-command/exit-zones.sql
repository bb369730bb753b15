-- Purpose:    drivers who are too fast or do what they must not in the last two kilometres before an exit are told at once by
--             the next display and horn.
-- Inputs:     passages, behaviour_captures, devices, exit_zones, roadside_displays, lane_limits, exit_policy, accidents.
-- Outputs:    sinks exit_messages (append, at once; keyed by display), exit_hours (final per clock hour and exit: passages,
--             offences, share), exit_half_years (upsert by exit and half year: accidents, passages, beside the half year
--             before). Consumers: controllers of displays and horns; detachment.
-- Rules:      the zone is the zone_m before the exit, both ends included. Where two exits overlap, the nearer one counts. The
--             message goes to the next display behind the camera, in the direction of traffic. The limit is that of the exit,
--             lane and vehicle class at the instant, by night the night's; within grace_s after a change the higher of both. A
--             display shows the first offence of hold_s seconds, and besides the first of reversing or stopping, which cannot
--             wait. Messages are no punishment: the plate is masked, and nothing is counted for anybody.
-- Thresholds: exit_policy at the instant; where none is in force: 10 per cent above the limit, 60 seconds of grace, one message
--             in 5 seconds, night from 20 to 6 o'clock. Zones are 2000 metres unless the exit says otherwise. Accidents are
--             those registered in the zone; whether a measure helped, black-spot-effects.sql can say better than two half years
--             side by side.

-- Every camera before an exit, its exit and its next display.
CREATE VIEW exit_cameras AS
SELECT device_id, exit_id, road_id, direction, chainage_m, distance_m
FROM (
    SELECT *, row_number() OVER (PARTITION BY device_id ORDER BY distance_m, exit_id) AS nearest
    FROM (
        SELECT
            v.device_id, x.exit_id, v.road_id, v.direction, v.chainage_m, coalesce(x.zone_m, 2000) AS zone_m,
            CASE v.direction WHEN 'up' THEN x.exit_m - v.chainage_m ELSE v.chainage_m - x.exit_m END AS distance_m
        FROM devices AS v
        JOIN exit_zones AS x ON x.road_id = v.road_id AND x.direction = v.direction
    ) AS d
    WHERE distance_m >= 0 AND distance_m <= zone_m
) AS n
WHERE nearest = 1;

CREATE TABLE exit_devices (PRIMARY KEY (device_id)) AS
SELECT device_id, exit_id, distance_m, display_id, has_horn
FROM (
    SELECT
        c.device_id, c.exit_id, c.distance_m, y.display_id, y.has_horn,
        row_number() OVER (
            PARTITION BY c.device_id
            ORDER BY CASE c.direction WHEN 'up' THEN y.chainage_m ELSE -y.chainage_m END NULLS LAST, y.display_id
        ) AS next
    FROM exit_cameras AS c
    LEFT JOIN roadside_displays AS y
        ON y.road_id = c.road_id AND y.direction = c.direction
        AND CASE c.direction WHEN 'up' THEN y.chainage_m > c.chainage_m ELSE y.chainage_m < c.chainage_m END
) AS d
WHERE next = 1;

CREATE VIEW exit_passages AS
SELECT
    s.passage_id, s.passed_at, s.plate, s.lane, s.vehicle_class, s.speed_kmh, d.exit_id, d.display_id, d.has_horn,
    coalesce(p.tolerance_percent, 10) AS tolerance_percent,
    coalesce(p.hold_s, 5) AS hold_s,
    s.passed_at - coalesce(p.grace_s, 60) * INTERVAL '1 second' AS grace_at,
    date_part('hour', s.passed_at) >= coalesce(p.night_from_hour, 20)
        OR date_part('hour', s.passed_at) < coalesce(p.night_to_hour, 6) AS is_night
FROM passages AS s
JOIN exit_devices AS d ON d.device_id = s.device_id
LEFT JOIN exit_policy FOR SYSTEM_TIME AS OF s.passed_at AS p ON TRUE;

CREATE VIEW limited_passages AS
SELECT
    s.*,
    greatest(
        CASE WHEN s.is_night THEN coalesce(l.night_limit_kmh, l.limit_kmh) ELSE l.limit_kmh END,
        CASE WHEN s.is_night THEN coalesce(g.night_limit_kmh, g.limit_kmh) ELSE g.limit_kmh END) AS limit_kmh,
    l.limit_kmh IS NULL AS is_free
FROM exit_passages AS s
LEFT JOIN lane_limits FOR SYSTEM_TIME AS OF s.passed_at AS l
    ON l.exit_id = s.exit_id AND l.lane = s.lane AND l.vehicle_class = s.vehicle_class
LEFT JOIN lane_limits FOR SYSTEM_TIME AS OF s.grace_at AS g
    ON g.exit_id = s.exit_id AND g.lane = s.lane AND g.vehicle_class = s.vehicle_class;

CREATE VIEW exit_offences AS
SELECT
    passage_id AS offence_id, passed_at AS offended_at, exit_id, display_id, has_horn, plate, lane, hold_s,
    'speeding' AS offence, speed_kmh, limit_kmh, false AS is_urgent
FROM limited_passages
WHERE NOT is_free AND speed_kmh > limit_kmh * (100 + tolerance_percent) / 100
UNION ALL
SELECT
    b.capture_id, b.captured_at, d.exit_id, d.display_id, d.has_horn, b.plate, b.lane, coalesce(p.hold_s, 5),
    b.behaviour, CAST(NULL AS DOUBLE), CAST(NULL AS INT), b.behaviour IN ('reversing', 'stopping')
FROM behaviour_captures AS b
JOIN exit_devices AS d ON d.device_id = b.device_id
LEFT JOIN exit_policy FOR SYSTEM_TIME AS OF b.captured_at AS p ON TRUE;

CREATE VIEW slotted_offences AS
SELECT *, CAST(floor(date_part('second', offended_at) / hold_s) AS INT) AS slot FROM exit_offences WHERE display_id IS NOT NULL;

CREATE SINK exit_messages WITH (
    topic = 'exit-messages', format = 'json', key = 'display_id', count_by = 'offence', emit_time = 'offended_at'
) AS
SELECT
    offence_id, display_id, has_horn, exit_id, offended_at, offence, plate_mask(plate_normalize(plate)) AS plate, lane,
    speed_kmh, limit_kmh
FROM (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY display_id, is_urgent, tumble(offended_at, INTERVAL '1 minute'), slot ORDER BY arrival
        ) AS turn
    FROM slotted_offences
) AS o
WHERE turn = 1;

-- === how many offend ===

CREATE VIEW exit_traffic AS
SELECT exit_id, passed_at AS at, 1 AS passages, 0 AS offences FROM exit_passages
UNION ALL
SELECT exit_id, offended_at, 0, 1 FROM exit_offences;

CREATE SINK exit_hours WITH (topic = 'exit-hours', format = 'json', key = 'exit_id') AS
SELECT
    window_start, exit_id, sum(passages) AS passages, sum(offences) AS offences,
    CAST(sum(offences) AS DOUBLE) / nullif(sum(passages), 0) AS share
FROM exit_traffic
GROUP BY tumble(at, INTERVAL '1 hour'), exit_id
EMIT FINAL;

-- === and whether it helps ===

CREATE VIEW exit_days AS
SELECT window_start AS day, exit_id, count(*) AS passages
FROM exit_passages
GROUP BY tumble(passed_at, INTERVAL '1 day'), exit_id
EMIT FINAL;

CREATE VIEW exit_half_year_parts AS
SELECT
    exit_id, 2 * CAST(substr(year_month(day), 1, 4) AS INT) + (CAST(substr(year_month(day), 6) AS INT) - 1) / 6 AS half,
    passages, 0 AS accidents
FROM exit_days;

CREATE TABLE exit_half_year_passages (PRIMARY KEY (exit_id, half)) AS
SELECT exit_id, half, sum(passages) AS passages FROM exit_half_year_parts GROUP BY exit_id, half;

CREATE TABLE exit_half_year_accidents (PRIMARY KEY (exit_id, half)) AS
SELECT exit_id, half, count(*) AS accidents
FROM (
    SELECT
        x.exit_id,
        2 * CAST(substr(year_month(c.occurred_at), 1, 4) AS INT)
            + (CAST(substr(year_month(c.occurred_at), 6) AS INT) - 1) / 6 AS half
    FROM accidents AS c
    JOIN exit_zones AS x ON x.road_id = c.road_id AND x.direction = c.direction
    WHERE CASE c.direction WHEN 'up' THEN x.exit_m - c.chainage_m ELSE c.chainage_m - x.exit_m END
        BETWEEN 0 AND coalesce(x.zone_m, 2000)
) AS a
GROUP BY exit_id, half;

CREATE VIEW exit_half_year_counts AS
SELECT
    coalesce(a.exit_id, p.exit_id) AS exit_id, coalesce(a.half, p.half) AS half,
    coalesce(a.accidents, 0) AS accidents, coalesce(p.passages, 0) AS passages
FROM exit_half_year_accidents AS a
FULL JOIN exit_half_year_passages AS p ON p.exit_id = a.exit_id AND p.half = a.half;

CREATE TABLE exit_half_years_compared (PRIMARY KEY (exit_id, half)) AS
SELECT
    n.exit_id, n.half, n.accidents, n.passages, b.accidents AS accidents_before, b.passages AS passages_before
FROM exit_half_year_counts AS n
LEFT JOIN exit_half_year_counts AS b ON b.exit_id = n.exit_id AND b.half = n.half - 1;

CREATE SINK exit_half_years WITH (topic = 'exit-half-years', format = 'json') AS
SELECT
    exit_id, half, CAST(half / 2 AS VARCHAR) || '-H' || CAST(half % 2 + 1 AS VARCHAR) AS half_year,
    accidents, passages, accidents_before, passages_before,
    accidents * 1e6 / nullif(passages, 0) AS per_million,
    accidents_before * 1e6 / nullif(passages_before, 0) AS per_million_before
FROM exit_half_years_compared;
