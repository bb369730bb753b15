-- Purpose:    says to the units that can stop it where a vehicle that is looked for has just passed, and tells the centres when
--             nobody takes it on.
-- Inputs:     passages, devices, road_segments, watch_list, patrol_positions, intercept_acknowledgements, duty_modes,
--             intercept_policy, escalation_policy; overdue_sightings, banned_sightings and hazmat_sightings.
-- Outputs:    sink intercept_orders (append; a row a unit and passage, at once), for units on duty, and for the centre of the brigade
--             where no unit is in reach; sink joint_duty_notices (append), for partners of the brigade's duty modes; sink
--             intercept_reviews (append), for the command centre; sink intercept_escalations (append; withdrawn when an
--             acknowledgement arrives late), for the centres of brigade, detachment and province.
-- Rules:      a unit is in reach when its position is fresh and lies ahead on the same road and direction, or near as the crow flies.
--             A plate that is disputed, or on a vehicle of another class than the registered one, is reviewed and not stopped: it may
--             be misread or cloned. Passages of one entry, each at most 30 minutes after another, are one pursuit, which any unit may take on; the brigade
--             where it began is told first.
--             An order is to stop and check, nothing more; what follows from a check is decided by people.
-- Thresholds: intercept_policy at the time of the passage; where none is in force 5 km near, 20 km ahead, positions of at most 300
--             seconds, and 2, 5 and 10 minutes to the three centres. escalation_policy by reason: all three for
--             the watch list and banned drivers, the brigade alone for what is overdue and for hazmat, where none is in force.
-- Limits:     orders rely on the list and the positions that are known when the passage is handled.

CREATE VIEW listed_sightings AS
SELECT
    p.passage_id, p.passed_at, p.device_id, p.vehicle_class AS seen_class, p.spelled AS plate,
    w.vehicle_class AS listed_class, w.entry_id, w.reason, w.tactic, coalesce(w.disputed, false) AS disputed
FROM (SELECT *, plate_normalize(plate) AS spelled FROM passages) AS p
JOIN (SELECT *, plate_normalize(plate) AS spelled FROM watch_list) AS w ON w.spelled = p.spelled
WHERE p.passed_at >= w.listed_from AND (w.listed_until IS NULL OR p.passed_at < w.listed_until);

CREATE VIEW sightings AS
SELECT
    passage_id, passed_at, device_id, plate, seen_class, listed_class, entry_id, reason, tactic, disputed, 3 AS usual_levels
FROM listed_sightings
UNION ALL
SELECT passage_id, passed_at, device_id, plate, seen_class, listed_class, entry_id, reason, 'stop_and_check', false, 1
FROM overdue_sightings
UNION ALL
SELECT
    capture_id, captured_at, device_id, plate, CAST(NULL AS VARCHAR), CAST(NULL AS VARCHAR), entry_id, reason, 'stop_and_check',
    false, 3
FROM banned_sightings
UNION ALL
SELECT passage_id, passed_at, device_id, plate, seen_class, listed_class, entry_id, reason, 'stop_and_check', false, 1
FROM hazmat_sightings;

CREATE VIEW judged_sightings AS
SELECT
    s.*, d.road_id, d.direction, d.chainage_m, d.lon, d.lat,
    CASE
        WHEN s.disputed THEN 'disputed_plate'
        WHEN s.seen_class IS DISTINCT FROM s.listed_class AND s.seen_class IS NOT NULL AND s.listed_class IS NOT NULL
            THEN 'other_class'
    END AS doubt,
    coalesce(p.near_m, 5000.0) AS near_m,
    coalesce(p.ahead_m, 20000.0) AS ahead_m,
    s.passed_at - coalesce(p.position_max_age_s, 300) * INTERVAL '1 second' AS positions_from,
    coalesce(p.brigade_minutes, 2) AS brigade_minutes,
    coalesce(p.detachment_minutes, 5) AS detachment_minutes,
    coalesce(p.province_minutes, 10) AS province_minutes,
    coalesce(e.levels, s.usual_levels) AS levels
FROM sightings AS s
LEFT JOIN devices AS d ON d.device_id = s.device_id
LEFT JOIN intercept_policy FOR SYSTEM_TIME AS OF s.passed_at AS p ON TRUE
LEFT JOIN escalation_policy FOR SYSTEM_TIME AS OF s.passed_at AS e ON e.reason = s.reason;

CREATE SINK intercept_reviews WITH (topic = 'intercept-reviews', format = 'json', key = 'plate', count_by = 'doubt') AS
SELECT passage_id, passed_at, device_id, plate, entry_id, reason, seen_class, listed_class, doubt
FROM judged_sightings
WHERE doubt IS NOT NULL;

CREATE VIEW placed_sightings AS
SELECT s.*, g.brigade_id
FROM judged_sightings AS s
LEFT JOIN road_segments AS g
    ON g.road_id = s.road_id AND g.direction = s.direction AND s.chainage_m >= g.from_m AND s.chainage_m < g.to_m
WHERE s.doubt IS NULL;

-- === units ===

-- Chainage rises in the direction up.
CREATE VIEW units_in_reach AS
SELECT
    s.entry_id, s.passage_id, s.passed_at, s.plate, s.seen_class, s.reason, s.tactic, s.device_id, s.road_id, s.direction, s.chainage_m,
    s.brigade_id, u.unit_id, u.brigade_id AS unit_brigade_id,
    CASE
        WHEN u.road_id = s.road_id AND u.direction = s.direction
            THEN CASE s.direction WHEN 'up' THEN u.chainage_m - s.chainage_m ELSE s.chainage_m - u.chainage_m END
    END AS metres_ahead,
    s.ahead_m,
    haversine_m(s.lon, s.lat, u.lon, u.lat) AS metres_away
FROM placed_sightings AS s
LEFT JOIN patrol_positions AS u
    ON u.on_duty AND u.reported_at >= s.positions_from
    AND (
        haversine_m(s.lon, s.lat, u.lon, u.lat) <= s.near_m
        OR (
            u.road_id = s.road_id AND u.direction = s.direction
            AND CASE s.direction WHEN 'up' THEN u.chainage_m - s.chainage_m ELSE s.chainage_m - u.chainage_m END
                BETWEEN 0 AND s.ahead_m
        )
    );

CREATE SINK intercept_orders WITH (topic = 'intercept-orders', format = 'json', key = 'entry_id', count_by = 'reason') AS
SELECT
    entry_id || '/' || passage_id || '/' || coalesce(unit_id, 'centre') AS order_id,
    entry_id, passage_id, passed_at, plate, seen_class, reason, tactic, device_id, road_id, direction, chainage_m, brigade_id,
    unit_id, unit_brigade_id,
    CASE WHEN metres_ahead BETWEEN 0 AND ahead_m THEN 'ahead' WHEN unit_id IS NOT NULL THEN 'near' ELSE 'none' END AS reach,
    coalesce(CASE WHEN metres_ahead BETWEEN 0 AND ahead_m THEN metres_ahead END, metres_away) AS distance_m
FROM units_in_reach;

CREATE SINK joint_duty_notices WITH (topic = 'joint-duty-notices', format = 'json', key = 'partner_id', count_by = 'mode') AS
SELECT
    m.partner_id, m.mode, s.brigade_id, s.entry_id, s.passage_id, s.passed_at, s.plate, s.reason, s.road_id, s.direction, s.chainage_m
FROM placed_sightings AS s
JOIN duty_modes AS m ON m.brigade_id = s.brigade_id AND s.passed_at >= m.starts_at AND s.passed_at < m.ends_at;

-- === centres ===

CREATE TABLE pursuits AS
SELECT
    entry_id, window_start AS opened_at, min(plate) AS plate, min(reason) AS reason, min(levels) AS levels,
    min(brigade_minutes) AS brigade_minutes,
    min(detachment_minutes) AS detachment_minutes,
    min(province_minutes) AS province_minutes
FROM placed_sightings
GROUP BY entry_id, session(passed_at, INTERVAL '30 minutes')
EMIT CHANGES;

-- Where a pursuit began: the brigade of its first passage.
CREATE TABLE sighting_places WITH (allowed_lateness = '1 day') AS
SELECT
    entry_id, passed_at, date_trunc('day', passed_at) AS day, min(coalesce(brigade_id, 'unknown')) AS brigade_id
FROM placed_sightings
GROUP BY entry_id, passed_at, date_trunc('day', passed_at)
EMIT CHANGES;

CREATE VIEW placed_pursuits AS
SELECT p.*, s.brigade_id
FROM pursuits AS p
JOIN sighting_places AS s ON s.entry_id = p.entry_id AND s.passed_at = p.opened_at;

CREATE VIEW pursuit_levels AS
SELECT entry_id, opened_at, plate, reason, brigade_id, 'brigade' AS level, brigade_minutes AS minutes
FROM placed_pursuits WHERE levels >= 1
UNION ALL
SELECT entry_id, opened_at, plate, reason, brigade_id, 'detachment', detachment_minutes FROM placed_pursuits WHERE levels >= 2
UNION ALL
SELECT entry_id, opened_at, plate, reason, brigade_id, 'province', province_minutes FROM placed_pursuits WHERE levels >= 3;

CREATE VIEW pursuit_deadlines AS
SELECT entry_id, opened_at, plate, reason, brigade_id, level, opened_at + minutes * INTERVAL '1 minute' AS due_at
FROM pursuit_levels;

CREATE TABLE unanswered_levels (PRIMARY KEY (entry_id, opened_at, level)) AS
SELECT d.entry_id, d.opened_at, d.level, d.plate, d.reason, d.brigade_id, d.due_at
FROM pursuit_deadlines AS d
WHERE NOT EXISTS (
    SELECT 1 FROM intercept_acknowledgements AS a
    WHERE a.entry_id = d.entry_id AND a.acknowledged_at >= d.opened_at AND a.acknowledged_at <= d.due_at
);

CREATE TABLE escalated_pursuits (PRIMARY KEY (entry_id, opened_at, level)) AS
SELECT entry_id, opened_at, level, plate, reason, brigade_id, due_at FROM PASSED(unanswered_levels, due_at);

CREATE SINK intercept_escalations WITH (
    topic = 'intercept-escalations', format = 'json', key = 'entry_id', count_by = 'level', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.entry_id, before.entry_id) AS entry_id,
    coalesce(after.brigade_id, before.brigade_id) AS brigade_id,
    coalesce(after.opened_at, before.opened_at) AS opened_at,
    coalesce(after.level, before.level) AS level,
    coalesce(after.plate, before.plate) AS plate,
    coalesce(after.reason, before.reason) AS reason,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.entry_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(escalated_pursuits);
