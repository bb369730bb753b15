-- What cameras, sensors, officers and the control room make of the roads: detections and their desk, guided accidents, chiefs
-- on duty, fog, displays, calls, positions, vehicles that fled, audited cases.

CREATE VIEW new_accidents AS SELECT * FROM registered_accidents WHERE is_new;

-- === abnormal events ===

-- One to three detections of an accident, by the camera before it and sometimes the next; vehicles that stop; false alarms.
CREATE VIEW made_detections AS
SELECT
    'V' || accident_id || '-' || CAST(i AS VARCHAR) AS detection_id, 'accident' AS event_class, road_id, direction,
    chainage_m + i * 20 AS chainage_m,
    occurred_at + CAST(CAST(20 + i * 45 AS BIGINT) || ' seconds' AS INTERVAL) AS detected_at,
    CAST(i AS INT) % 2 AS other_camera
FROM (SELECT *, unnest(generate_series(0, CAST(floor(chance('seen', accident_id) * 3) AS BIGINT))) AS i
    FROM new_accidents) AS a
UNION ALL
SELECT
    'W' || CAST(n AS VARCHAR), CASE WHEN chance('kind', n) < 0.12 THEN 'pedestrian' ELSE 'stopped_vehicle' END,
    CASE WHEN chance('wr', n) < 0.5 THEN 'G1' ELSE 'G2' END, CASE WHEN chance('wd', n) < 0.5 THEN 'up' ELSE 'down' END,
    5000 + floor(chance('wp', n) * 90000),
    started_at() + CAST(CAST(round(chance('wt', n) * days() * 86400) AS BIGINT) || ' seconds' AS INTERVAL), 0
FROM (SELECT unnest(generate_series(1, days() * 6)) AS n) AS s;

CREATE VIEW placed_made_detections AS
SELECT d.*, CAST(floor((chainage_m - 500) / 2000) AS INT) + other_camera AS camera_n FROM made_detections AS d;

INSERT INTO detections
SELECT
    detection_id, 'D-' || road_id || '-' || direction || '-' || lpad(CAST(camera_n AS VARCHAR), 2, '0') AS device_id,
    detected_at, event_class,
    round(0.65 + chance('confidence', detection_id) * 0.34, 2) AS confidence,
    chainage_m - (camera_n * 2000.0 + 500) AS offset_m
FROM placed_made_detections
ORDER BY detected_at, detection_id;

INSERT INTO event_handling
SELECT handling_id, detection_id, step, handled_at, 'desk' AS officer_id
FROM (
    SELECT 'H' || detection_id AS handling_id, detection_id, 'acknowledged' AS step,
        detected_at + CAST(CAST(round(-ln(1 - chance('ack', detection_id)) * 20) AS BIGINT) || ' seconds'
            AS INTERVAL) AS handled_at
    FROM made_detections
    UNION ALL
    SELECT 'J' || detection_id, detection_id,
        CASE WHEN chance('false', detection_id) < 0.1 THEN 'false_alarm' ELSE 'confirmed' END,
        detected_at + CAST(CAST(round(60 - ln(1 - chance('judge', detection_id)) * 90) AS BIGINT) || ' seconds' AS INTERVAL)
    FROM made_detections WHERE chance('judged', detection_id) < 0.9
) AS h
ORDER BY handled_at, handling_id;

-- === guidance from afar, chiefs on duty ===

CREATE VIEW made_guidance AS
SELECT accident_id, occurred_at, step, after_s,
    occurred_at + CAST(CAST(round(after_s) AS BIGINT) || ' seconds' AS INTERVAL) AS done_at
FROM (
    SELECT accident_id, occurred_at, 'located' AS step, 40 - ln(1 - chance('g1', accident_id)) * 50 AS after_s
    FROM registered_accidents
    UNION ALL SELECT accident_id, occurred_at, 'evidence_kept', 200 - ln(1 - chance('g2', accident_id)) * 60
    FROM registered_accidents
    UNION ALL SELECT accident_id, occurred_at, 'protection_guided', 100 - ln(1 - chance('g3', accident_id)) * 60
    FROM registered_accidents
    UNION ALL SELECT accident_id, occurred_at, 'vehicles_removed', 500 - ln(1 - chance('g4', accident_id)) * 350
    FROM registered_accidents
    UNION ALL SELECT accident_id, occurred_at, 'parties_contacted', 900 - ln(1 - chance('g5', accident_id)) * 900
    FROM registered_accidents
    UNION ALL SELECT accident_id, occurred_at, 'officer_arrived', 700 - ln(1 - chance('g6', accident_id)) * 500
    FROM registered_accidents WHERE chance('officer', accident_id) < 0.15
) AS g
WHERE chance('forgotten', accident_id, step) > 0.01;

INSERT INTO guidance_steps SELECT accident_id, step, done_at FROM made_guidance ORDER BY done_at, accident_id;

-- Twelve sections of G1; three shifts a day, of which a few are not filled.
INSERT INTO chief_sections
SELECT 'L' || lpad(CAST(k AS VARCHAR), 2, '0') AS section_id, 'G1' AS road_id, floor(k * 100000.0 / 12) AS from_m,
    floor((k + 1) * 100000.0 / 12) AS to_m
FROM (SELECT unnest(generate_series(0, 11)) AS k) AS s;

-- Before the first day one shift, for what history has.
INSERT INTO chief_shifts
SELECT 'L' || lpad(CAST(k AS VARCHAR), 2, '0') AS section_id, started_at() - INTERVAL '1100 days' AS starts_at,
    started_at() AS ends_at, 'C' || CAST(k AS VARCHAR) || '-0' AS chief_id
FROM (SELECT unnest(generate_series(0, 11)) AS k) AS s;

INSERT INTO chief_shifts
SELECT
    'L' || lpad(CAST(k AS VARCHAR), 2, '0') AS section_id,
    started_at() + CAST(h * 8 || ' hours' AS INTERVAL) AS starts_at,
    started_at() + CAST((h + 1) * 8 || ' hours' AS INTERVAL) AS ends_at,
    'C' || CAST(k AS VARCHAR) || '-' || CAST(h % 3 AS VARCHAR) AS chief_id
FROM (SELECT unnest(generate_series(0, 11)) AS k) AS s CROSS JOIN (SELECT unnest(generate_series(0, days() * 3)) AS h) AS t
WHERE chance('shift', k, h) > 0.005
ORDER BY starts_at, section_id;

CREATE VIEW chief_matters AS
SELECT 'accident/' || accident_id AS task_id, occurred_at FROM registered_accidents WHERE road_id = 'G1'
UNION ALL
SELECT 'event/' || detection_id, detected_at FROM made_detections
WHERE road_id = 'G1' AND (detection_id LIKE 'W%' OR detection_id LIKE '%-0');

INSERT INTO chief_responses
SELECT task_id, step, responded_at
FROM (
    SELECT task_id, 'accepted' AS step,
        occurred_at + CAST(CAST(round(10 - ln(1 - chance('accept', task_id)) * 18) AS BIGINT) || ' seconds'
            AS INTERVAL) AS responded_at
    FROM chief_matters
    UNION ALL
    SELECT task_id, 'arrived',
        occurred_at + CAST(CAST(round(200 - ln(1 - chance('arrive', task_id)) * 260) AS BIGINT) || ' seconds' AS INTERVAL)
    FROM chief_matters
) AS r
ORDER BY responded_at, task_id;

-- === weather ===

CREATE VIEW made_stations AS
SELECT 'M-' || road_id || '-' || CAST(k AS VARCHAR) AS station_id, road_id, k, k * 20000.0 + 10000 AS chainage_m
FROM roads CROSS JOIN (SELECT unnest(generate_series(0, 4)) AS k) AS s;

INSERT INTO weather_stations SELECT station_id, road_id, chainage_m FROM made_stations;

-- Fog comes on some mornings, thickest at half past five; the sensor wavers.
INSERT INTO weather_readings
SELECT
    station_id || '-' || CAST(t AS VARCHAR) AS reading_id, station_id, 'visibility_m' AS kind,
    started_at() + CAST(t * 10 || ' minutes' AS INTERVAL) AS observed_at,
    round(CASE WHEN fog < 0.06 THEN 60 + abs(t % 144 - 33) * 30 * (1 + (chance('waver', station_id, t) - 0.5) * 0.4)
        ELSE 8000 + 2000 * chance('clear', station_id, t) END) AS value
FROM (
    SELECT station_id, t, chance('fog', road_id, k, t / 144) AS fog, chance('mute', station_id, t / 30) AS mute
    FROM made_stations CROSS JOIN (SELECT unnest(generate_series(0, days() * 144 - 1)) AS t) AS s
) AS r
WHERE mute > 0.003
ORDER BY observed_at, station_id;

-- === exits ===

INSERT INTO exit_zones
SELECT 'X-' || road_id || '-' || direction AS exit_id, road_id, direction,
    CASE direction WHEN 'up' THEN 31600 ELSE 69400 END AS exit_m
FROM roads CROSS JOIN directions;

INSERT INTO roadside_displays
SELECT 'Y-' || road_id || '-' || direction || '-' || CAST(i AS VARCHAR) AS display_id, road_id, direction,
    CASE direction WHEN 'up' THEN 30900 + i * 500 ELSE 70100 - i * 500 END AS chainage_m, i = 1 AS has_horn
FROM roads CROSS JOIN directions CROSS JOIN (SELECT unnest(generate_series(0, 1)) AS i) AS s;

INSERT INTO lane_limits
SELECT 'X-' || road_id || '-' || direction AS exit_id, lane, vehicle_class,
    started_at() - INTERVAL '100 days' AS effective_from,
    CASE vehicle_class WHEN 'car' THEN 100 ELSE 80 END AS limit_kmh,
    CASE vehicle_class WHEN 'car' THEN NULL ELSE 70 END AS night_limit_kmh
FROM roads CROSS JOIN directions CROSS JOIN (VALUES (1), (2)) AS l(lane)
CROSS JOIN (VALUES ('car'), ('heavy_truck'), ('coach'), ('hazmat')) AS c(vehicle_class);

INSERT INTO behaviour_captures
SELECT 'K' || passage_id AS capture_id, device_id, passed_at AS captured_at,
    CASE WHEN chance('behaviour', passage_id) < 0.7 THEN 'solid_line'
        WHEN chance('behaviour', passage_id) < 0.9 THEN 'sudden_lane_change'
            WHEN chance('behaviour', passage_id) < 0.97 THEN 'stopping' ELSE 'reversing' END AS behaviour,
    plate, lane
FROM trip_points
WHERE (device_id LIKE '%-up-15' OR device_id LIKE '%-down-35') AND chance('behaves', passage_id) < 0.15
ORDER BY passed_at, passage_id;

-- === calls, positions, vehicles that fled ===

INSERT INTO officer_positions
SELECT
    officer_id, started_at() + CAST(t * 240 || ' seconds' AS INTERVAL) AS located_at, brigade_id,
    116.0 + (b * 0.2) + chance('where', officer_id, t) * 0.2 AS lon, 36.2 + chance('lat', officer_id, t / 100) * 0.9 AS lat,
    chance('busy', officer_id, t / 5) > 0.3 AS available
FROM (
    SELECT 'O' || CAST(b AS VARCHAR) || CAST(o AS VARCHAR) AS officer_id, 'B' || CAST(b + 1 AS VARCHAR) AS brigade_id, b
    FROM (SELECT unnest(generate_series(0, 4)) AS b) AS x CROSS JOIN (SELECT unnest(generate_series(0, 3)) AS o) AS y
) AS p
CROSS JOIN (SELECT unnest(generate_series(0, days() * 360 - 1)) AS t) AS s
ORDER BY located_at, officer_id;

INSERT INTO accident_calls
SELECT
    accident_id, called_at, 'B' || CAST(CAST(floor(chainage_m / 20000) AS INT) + 1 AS VARCHAR) AS brigade_id, lon, lat,
    severity <> 'damage' AS injured, chance('movable', accident_id) < 0.8 AS movable,
    CAST(floor(chance('vehicles', accident_id) * 3) AS INT) + 1 AS vehicles
FROM (
    SELECT *, occurred_at + CAST(CAST(round(30 - ln(1 - chance('call', accident_id)) * 60) AS BIGINT) || ' seconds'
        AS INTERVAL) AS called_at
    FROM new_accidents
) AS a
ORDER BY called_at, accident_id;

-- One accident in twenty-five has a party that flees; it is reported three hours later.
CREATE VIEW flights AS
SELECT 'F' || accident_id AS case_id, * FROM new_accidents WHERE chance('flees', accident_id) < 0.04;

INSERT INTO flight_cases SELECT case_id, occurred_at, lon, lat, make_array('3701') AS cities
FROM flights ORDER BY occurred_at, case_id;

INSERT INTO flight_descriptions
SELECT case_id, CASE WHEN chance('fc', case_id) < 0.8 THEN 'car' ELSE 'heavy_truck' END AS vehicle_class,
    CASE WHEN chance('fk', case_id) < 0.5 THEN 'white' ELSE 'black' END AS colour, chance('fd', case_id) < 0.5 AS damaged,
    CASE WHEN chance('fp', case_id) < 0.3 THEN lpad(CAST(CAST(floor(chance('fpn', case_id) * 100) AS INT) AS VARCHAR), 2,
        '0') END AS plate_part
FROM flights;

INSERT INTO flight_closures
SELECT case_id, occurred_at + INTERVAL '5 days' AS closed_at,
    CASE WHEN chance('fs', case_id) < 0.85 THEN 'solved' ELSE 'no_flight' END AS result
FROM flights WHERE chance('closed', case_id) < 0.3;

INSERT INTO watch_orders
SELECT case_id, '鲁A' || lpad(CAST(CAST(floor(chance('watch', case_id) * people()) AS INT) + 1 AS VARCHAR), 5, '0') AS plate,
    occurred_at + INTERVAL '6 hours' AS ordered_at, CASE WHEN chance('approves', case_id) < 0.9 THEN 'sun' END AS approved_by
FROM flights;

INSERT INTO vehicle_sightings
SELECT
    'Z' || passage_id AS sighting_id, p.device_id, passed_at AS seen_at, '3701' AS city, c.lon, c.lat,
    CASE WHEN chance('plate', passage_id) < 0.02 THEN NULL ELSE plate END AS plate,
    CASE WHEN chance('misread', passage_id) < 0.03 THEN NULL ELSE vehicle_class END AS vehicle_class,
    CASE WHEN chance('dark', passage_id) < 0.1 THEN NULL ELSE colour END AS colour, chance('damaged', v, d) < 0.05 AS damaged
FROM trip_points AS p JOIN cameras AS c ON c.device_id = p.device_id
WHERE chance('structured', passage_id) < 0.4
ORDER BY seen_at, sighting_id;

-- === audited cases ===

INSERT INTO case_step_rules
SELECT 'general' AS kind, step, started_at() - INTERVAL '100 days' AS effective_from, ordinal, due_days, two_officers,
    other_than_handler
FROM (VALUES ('evidence', 1, 5, true, false), ('notice', 2, 8, false, false), ('review', 3, 10, false, true),
    ('decision', 4, 12, false, false))
    AS r(step, ordinal, due_days, two_officers, other_than_handler);

CREATE VIEW made_cases AS
SELECT n, 'E' || CAST(n AS VARCHAR) AS case_id, 'B' || CAST(n % 5 + 1 AS VARCHAR) AS brigade_id,
    'O' || CAST(n % 5 AS VARCHAR) || CAST(n % 4 AS VARCHAR) AS handler_id,
    started_at() + CAST(CAST(round(chance('opened', n) * days() * 86400) AS BIGINT) || ' seconds' AS INTERVAL) AS opened_at
FROM (SELECT unnest(generate_series(1, days() * 2)) AS n) AS s;

INSERT INTO audited_cases SELECT case_id, 'general' AS kind, brigade_id, handler_id, opened_at
FROM made_cases ORDER BY opened_at, case_id;

INSERT INTO case_acts
SELECT case_id, step, acted_at,
    CASE WHEN step = 'review' AND chance('own', case_id) > 0.1 THEN 'legal' ELSE handler_id END AS officer_id,
    CASE WHEN step = 'evidence' AND chance('two', case_id) > 0.1 THEN 'second' END AS second_officer_id
FROM (
    SELECT c.*, s.step, opened_at + CAST(CAST(round((s.day + chance('act', case_id, s.step) * 2) * 86400) AS BIGINT)
        || ' seconds' AS INTERVAL) AS acted_at
    FROM made_cases AS c CROSS JOIN (VALUES ('evidence', 2), ('notice', 5), ('review', 8), ('decision', 11)) AS s(step, day)
) AS a
WHERE chance('omits', case_id, step) > 0.05
ORDER BY acted_at, case_id;
