-- Purpose:    hazardous goods where and when they are banned, and what follows for the enterprise and the driver.
-- Inputs:     passages, devices, vehicles, hazmat_bans, hazmat_permits, standing_violations, drivers, hazmat_policy.
-- Outputs:    sink hazmat_breaches (append; withdrawn when a permit arrives), a proposal for review; sink hazmat_doubts (append), for
--             people who look at the pictures; sink hazmat_enterprise_months (upsert), for brigades; sinks hazmat_fine_proposals and
--             downgrade_proposals (append; withdrawn when their ground falls away), for the vehicle office and the legal section.
--             hazmat_sightings, read by watch-list-intercepts.sql.
-- Rules:      a device stands in a ban's area or on its border. What is registered as hazmat transport counts, unless the camera saw
--             something that it cannot be; what looks like it without being registered is looked at by people. A ban is breached
--             once a local day, however many cameras see it. A breach of which a violation hazmat_ban was entered for that day is
--             not counted a second time. Fines and downgrades are proposals until an officer approves.
-- Thresholds: hazmat_policy at the beginning of the month, and at the driver's latest violation: 3 breaches and violations of an
--             enterprise in a month, 12 points of a driver of class A or B in a licence year with one of them at the wheel of a hazmat
--             vehicle, where none is in force.
-- Limits:     a permit, or a violation entered of it, that arrives within 40 days withdraws a breach.

CREATE VIEW banned_devices AS
SELECT d.device_id, b.ban_id, b.starts, b.ends, b.valid_from, b.valid_until
FROM devices AS d
JOIN hazmat_bans AS b ON point_in_polygon(d.lon, d.lat, b.polygon);

CREATE VIEW hazmat_passages AS
SELECT
    p.passage_id, p.passed_at, p.device_id, p.vehicle_class AS seen_class, p.spelled AS plate, v.vehicle_class AS listed_class,
    v.enterprise_id,
    CASE
        WHEN p.spelled IS NULL THEN 'no_plate'
        WHEN v.vehicle_class IS NULL THEN 'unregistered'
        WHEN v.vehicle_class <> 'hazmat' THEN 'registered_otherwise'
        WHEN p.vehicle_class NOT IN ('hazmat', 'heavy_truck') THEN 'seen_otherwise'
    END AS doubt
FROM (SELECT *, plate_normalize(plate) AS spelled FROM passages) AS p
LEFT JOIN vehicles AS v ON v.plate = p.spelled
WHERE v.vehicle_class = 'hazmat' OR p.vehicle_class = 'hazmat';

CREATE VIEW passages_in_bans AS
SELECT p.*, b.ban_id
FROM hazmat_passages AS p
JOIN banned_devices AS b ON b.device_id = p.device_id
WHERE p.passed_at >= b.valid_from AND (b.valid_until IS NULL OR p.passed_at < b.valid_until)
    AND CASE
        WHEN b.starts < b.ends THEN to_char(p.passed_at, '%H:%M') >= b.starts AND to_char(p.passed_at, '%H:%M') < b.ends
        ELSE to_char(p.passed_at, '%H:%M') >= b.starts OR to_char(p.passed_at, '%H:%M') < b.ends
    END;

CREATE SINK hazmat_doubts WITH (topic = 'hazmat-doubts', format = 'json', key = 'device_id', count_by = 'doubt') AS
SELECT passage_id, passed_at, device_id, plate, seen_class, listed_class, ban_id, doubt
FROM passages_in_bans
WHERE doubt IS NOT NULL;

CREATE VIEW hazmat_sightings AS
SELECT
    p.passage_id, p.passed_at, p.device_id, p.plate, p.seen_class, p.seen_class AS listed_class,
    'hazmat_ban/' || p.ban_id || '/' || p.plate AS entry_id, 'hazmat_ban' AS reason
FROM passages_in_bans AS p
WHERE p.doubt IS NULL AND NOT EXISTS (
    SELECT 1 FROM hazmat_permits AS x
    WHERE x.plate = p.plate AND x.ban_id = p.ban_id AND p.passed_at >= x.valid_from AND p.passed_at < x.valid_until
);

-- === breaches ===

CREATE TABLE banned_passages WITH (allowed_lateness = '40 days') AS
SELECT
    plate, ban_id, passage_id, date_trunc('day', passed_at) AS day, min(passed_at) AS passed_at, min(device_id) AS device_id,
    min(enterprise_id) AS enterprise_id
FROM passages_in_bans
WHERE doubt IS NULL
GROUP BY plate, ban_id, passage_id, date_trunc('day', passed_at)
EMIT CHANGES;

CREATE VIEW unpermitted_passages AS
SELECT p.plate, p.ban_id, p.passage_id, p.day, p.passed_at, p.enterprise_id
FROM banned_passages AS p
WHERE NOT EXISTS (
    SELECT 1 FROM hazmat_permits AS x
    WHERE x.plate = p.plate AND x.ban_id = p.ban_id AND p.passed_at >= x.valid_from AND p.passed_at < x.valid_until
);

CREATE TABLE breached_bans (PRIMARY KEY (plate, ban_id, day)) AS
SELECT
    plate, ban_id, day, min(enterprise_id) AS enterprise_id, array_agg(passage_id ORDER BY passed_at, passage_id) AS evidence
FROM unpermitted_passages
GROUP BY plate, ban_id, day;

CREATE SINK hazmat_breaches WITH (topic = 'hazmat-breaches', format = 'json', key = 'plate', emit_time = 'day') AS
SELECT
    coalesce(after.plate, before.plate) AS plate,
    coalesce(after.ban_id, before.ban_id) AS ban_id,
    coalesce(after.day, before.day) AS day,
    CASE WHEN after.plate IS NULL THEN before.enterprise_id ELSE after.enterprise_id END AS enterprise_id,
    coalesce(after.evidence, before.evidence) AS evidence,
    CASE WHEN after.plate IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(breached_bans);

-- === enterprises ===

CREATE VIEW hazmat_violations AS
SELECT v.violation_id, v.occurred_at, v.offence, v.plate, v.driver_id, h.enterprise_id
FROM standing_violations AS v
JOIN vehicles AS h ON h.plate = v.plate
WHERE h.vehicle_class = 'hazmat';

CREATE VIEW hazmat_counts AS
SELECT enterprise_id, date_trunc('month', occurred_at) AS month, 1 AS violations, 0 AS breaches FROM hazmat_violations
UNION ALL
SELECT b.enterprise_id, date_trunc('month', b.day), 0, 1
FROM breached_bans AS b
WHERE NOT EXISTS (
    SELECT 1 FROM hazmat_violations AS v
    WHERE v.plate = b.plate AND v.offence = 'hazmat_ban' AND date_trunc('day', v.occurred_at) = b.day
);

CREATE VIEW hazmat_months AS
SELECT enterprise_id, month, sum(violations) AS violations, sum(breaches) AS breaches
FROM hazmat_counts
WHERE enterprise_id IS NOT NULL AND enterprise_id <> ''
GROUP BY enterprise_id, month;

CREATE TABLE judged_hazmat_months (PRIMARY KEY (enterprise_id, month)) AS
SELECT
    m.enterprise_id, m.month, m.violations, m.breaches,
    m.violations + m.breaches >= coalesce(p.fine_from, 3) AS is_fine_due
FROM hazmat_months AS m
LEFT JOIN hazmat_policy FOR SYSTEM_TIME AS OF m.month AS p ON TRUE;

CREATE SINK hazmat_enterprise_months WITH (topic = 'hazmat-enterprise-months', format = 'json') AS
SELECT enterprise_id, month, violations, breaches FROM judged_hazmat_months;

CREATE TABLE hazmat_fines_due (PRIMARY KEY (enterprise_id, month)) AS
SELECT enterprise_id, month, violations, breaches FROM judged_hazmat_months WHERE is_fine_due;

CREATE SINK hazmat_fine_proposals WITH (topic = 'hazmat-fine-proposals', format = 'json', key = 'enterprise_id', emit_time = 'month') AS
SELECT
    coalesce(after.enterprise_id, before.enterprise_id) AS enterprise_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.violations, before.violations) AS violations,
    coalesce(after.breaches, before.breaches) AS breaches,
    CASE WHEN after.enterprise_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(hazmat_fines_due);

-- === drivers ===

-- Licence years run from the first issue of the licence, not from January.
CREATE VIEW licence_year_violations AS
SELECT
    d.driver_id, d.licence_class, age_in_years(d.licensed_on, v.occurred_at) AS licence_year, v.violation_id, v.occurred_at, v.points,
    h.plate IS NOT NULL AS with_hazmat
FROM standing_violations AS v
JOIN drivers AS d ON d.driver_id = v.driver_id
LEFT JOIN vehicles AS h ON h.plate = v.plate AND h.vehicle_class = 'hazmat'
WHERE v.points > 0 AND d.licensed_on IS NOT NULL AND (d.licence_class LIKE 'A%' OR d.licence_class LIKE 'B%');

CREATE VIEW licence_years AS
SELECT
    driver_id, licence_class, licence_year, sum(points) AS points, max(occurred_at) AS last_at,
    array_agg(violation_id ORDER BY occurred_at, violation_id) AS evidence
FROM licence_year_violations
GROUP BY driver_id, licence_class, licence_year
HAVING bool_or(with_hazmat);

CREATE TABLE downgrades_due (PRIMARY KEY (driver_id, licence_year)) AS
SELECT y.driver_id, y.licence_year, y.licence_class, y.points, y.last_at, y.evidence
FROM licence_years AS y
LEFT JOIN hazmat_policy FOR SYSTEM_TIME AS OF y.last_at AS p ON TRUE
WHERE y.points >= coalesce(p.downgrade_points, 12);

CREATE SINK downgrade_proposals WITH (topic = 'downgrade-proposals', format = 'json', key = 'driver_id', emit_time = 'last_at') AS
SELECT
    coalesce(after.driver_id, before.driver_id) AS driver_id,
    coalesce(after.licence_year, before.licence_year) AS licence_year,
    coalesce(after.licence_class, before.licence_class) AS licence_class,
    coalesce(after.points, before.points) AS points,
    coalesce(after.last_at, before.last_at) AS last_at,
    coalesce(after.evidence, before.evidence) AS evidence,
    CASE WHEN after.driver_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(downgrades_due);
