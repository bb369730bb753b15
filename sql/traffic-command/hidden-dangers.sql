-- Purpose:    key vehicles and drivers whose inspection, scrapping, review or renewal is overdue, down to none.
-- Inputs:     vehicles, drivers, enterprises, danger_policy, calendar, enterprise_visits; passages for what drives all the same.
-- Outputs:    sink hidden_dangers (append; withdrawn when the danger has been cleared), for the enterprise; sink danger_escalations
--             (append), for the brigade that supervises it; sink danger_rates (upsert by danger and class); sink
--             danger_calendar_gaps (upsert); sink register_gaps (upsert), for who keeps the registers; sink visit_coverage (upsert by
--             brigade and year). overdue_sightings, read by watch-list-intercepts.sql.
-- Rules:      a day named as the last is still in order; the danger begins with the midnight after it. A vehicle or driver that is
--             deregistered is no danger. A date that the register lacks is no danger either, but a gap to be filled, and the rates
--             leave it out. Rates are published with what they are shares of.
-- Thresholds: danger_policy when the danger begins: working days to clear it, 3 where none is in force; the share in order that is
--             aimed at, 0.99, of the policy when the latest danger of the class began.
-- Limits:     a clearing deadline that the calendar does not cover is never guessed.

CREATE VIEW watched_dates AS
SELECT 'inspection' AS danger, plate AS subject_id, vehicle_class AS subject_class, enterprise_id, inspected_until AS due_on
FROM vehicles WHERE deregistered_on IS NULL
UNION ALL
SELECT 'scrap', plate, vehicle_class, enterprise_id, scrap_by FROM vehicles WHERE deregistered_on IS NULL
UNION ALL
SELECT 'renewal', driver_id, licence_class, enterprise_id, licence_until FROM drivers WHERE deregistered_on IS NULL
UNION ALL
SELECT 'review', driver_id, licence_class, enterprise_id, review_due
FROM drivers WHERE deregistered_on IS NULL AND review_due IS NOT NULL;

CREATE VIEW dated_dangers AS
SELECT
    danger, subject_id, subject_class, nullif(enterprise_id, '') AS enterprise_id, due_on,
    CAST(due_on + INTERVAL '1 day' AS TIMESTAMP WITH TIME ZONE) AS overdue_at
FROM watched_dates
WHERE due_on IS NOT NULL;

CREATE TABLE possible_dangers (PRIMARY KEY (danger, subject_id)) AS
SELECT
    d.danger, d.subject_id, d.subject_class, d.enterprise_id, e.brigade_id, d.due_on, d.overdue_at,
    add_working_days(d.overdue_at, coalesce(p.clear_days, 3)) AS clear_by,
    coalesce(p.rate_min, 0.99) AS rate_min
FROM dated_dangers AS d
LEFT JOIN danger_policy FOR SYSTEM_TIME AS OF d.overdue_at AS p ON p.danger = d.danger
LEFT JOIN enterprises AS e ON e.enterprise_id = d.enterprise_id;

-- === cases ===

CREATE TABLE overdue_dangers (PRIMARY KEY (danger, subject_id, due_on)) AS
SELECT danger, subject_id, due_on, subject_class, enterprise_id, brigade_id, overdue_at, clear_by
FROM PASSED(possible_dangers, overdue_at);

CREATE SINK hidden_dangers WITH (
    topic = 'hidden-dangers', format = 'json', key = 'enterprise_id', count_by = 'danger', emit_time = 'overdue_at'
) AS
SELECT
    coalesce(after.danger, before.danger) || '/' || coalesce(after.subject_id, before.subject_id) || '/'
        || CAST(coalesce(after.due_on, before.due_on) AS VARCHAR) AS danger_id,
    coalesce(after.danger, before.danger) AS danger,
    coalesce(after.subject_id, before.subject_id) AS subject_id,
    coalesce(after.subject_class, before.subject_class) AS subject_class,
    CASE WHEN after.danger IS NULL THEN before.enterprise_id ELSE after.enterprise_id END AS enterprise_id,
    CASE WHEN after.danger IS NULL THEN before.brigade_id ELSE after.brigade_id END AS brigade_id,
    coalesce(after.due_on, before.due_on) AS due_on,
    coalesce(after.overdue_at, before.overdue_at) AS overdue_at,
    CASE WHEN after.danger IS NULL THEN before.clear_by ELSE after.clear_by END AS clear_by,
    CASE WHEN after.danger IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(overdue_dangers);

CREATE TABLE uncleared_dangers (PRIMARY KEY (danger, subject_id, due_on)) AS
SELECT danger, subject_id, due_on, subject_class, enterprise_id, brigade_id, clear_by FROM PASSED(possible_dangers, clear_by);

CREATE SINK danger_escalations WITH (
    topic = 'danger-escalations', format = 'json', key = 'brigade_id', count_by = 'danger', emit_time = 'clear_by'
) AS
SELECT
    coalesce(after.danger, before.danger) || '/' || coalesce(after.subject_id, before.subject_id) || '/'
        || CAST(coalesce(after.due_on, before.due_on) AS VARCHAR) AS danger_id,
    coalesce(after.danger, before.danger) AS danger,
    coalesce(after.subject_id, before.subject_id) AS subject_id,
    CASE WHEN after.danger IS NULL THEN before.enterprise_id ELSE after.enterprise_id END AS enterprise_id,
    CASE WHEN after.danger IS NULL THEN before.brigade_id ELSE after.brigade_id END AS brigade_id,
    coalesce(after.clear_by, before.clear_by) AS clear_by,
    CASE WHEN after.danger IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(uncleared_dangers);

CREATE SINK danger_calendar_gaps WITH (topic = 'danger-calendar-gaps', format = 'json') AS
SELECT danger, subject_id, due_on, overdue_at FROM overdue_dangers WHERE clear_by IS NULL;

CREATE TABLE missing_dates (PRIMARY KEY (danger, subject_id)) AS
SELECT danger, subject_id, subject_class, enterprise_id FROM watched_dates WHERE due_on IS NULL;

CREATE SINK register_gaps WITH (topic = 'register-gaps', format = 'json') AS
SELECT danger, subject_id, subject_class, enterprise_id FROM missing_dates;

-- === rates ===

CREATE VIEW class_totals AS
SELECT danger, subject_class, count(*) AS subjects FROM possible_dangers GROUP BY danger, subject_class;

CREATE VIEW class_overdue AS
SELECT danger, subject_class, count(*) AS overdue, last_value(rate_min ORDER BY overdue_at, subject_id) AS rate_min
FROM PASSED(possible_dangers, overdue_at)
GROUP BY danger, subject_class;

CREATE SINK danger_rates WITH (topic = 'danger-rates', format = 'json') AS
SELECT
    t.danger, t.subject_class, t.subjects,
    t.subjects - coalesce(o.overdue, 0) AS in_order,
    CAST(t.subjects - coalesce(o.overdue, 0) AS DOUBLE) / t.subjects AS rate,
    coalesce(CAST(t.subjects - o.overdue AS DOUBLE) / t.subjects < o.rate_min, false) AS is_below
FROM class_totals AS t
LEFT JOIN class_overdue AS o ON o.danger = t.danger AND o.subject_class = t.subject_class;

-- === visits ===

CREATE VIEW enterprise_years AS
SELECT enterprise_id, date_trunc('year', visited_at) AS year, count(*) AS visits, sum(drivers_met) AS drivers_met
FROM enterprise_visits
GROUP BY enterprise_id, date_trunc('year', visited_at);

CREATE VIEW brigade_enterprises AS
SELECT brigade_id, count(*) AS enterprises FROM enterprises WHERE brigade_id IS NOT NULL GROUP BY brigade_id;

CREATE VIEW brigade_visits AS
SELECT e.brigade_id, y.year, count(*) AS visited, sum(y.visits) AS visits, sum(y.drivers_met) AS drivers_met
FROM enterprise_years AS y
JOIN enterprises AS e ON e.enterprise_id = y.enterprise_id
WHERE e.brigade_id IS NOT NULL
GROUP BY e.brigade_id, y.year;

CREATE SINK visit_coverage WITH (topic = 'visit-coverage', format = 'json') AS
SELECT
    v.brigade_id, v.year, b.enterprises, v.visited, CAST(v.visited AS DOUBLE) / b.enterprises AS coverage, v.visits, v.drivers_met
FROM brigade_visits AS v
JOIN brigade_enterprises AS b ON b.brigade_id = v.brigade_id;

-- === what drives all the same ===

CREATE VIEW overdue_sightings AS
SELECT
    p.passage_id, p.passed_at, p.device_id, p.vehicle_class AS seen_class, d.subject_id AS plate,
    d.subject_class AS listed_class,
    'overdue/' || d.danger || '/' || d.subject_id || '/' || CAST(d.due_on AS VARCHAR) AS entry_id,
    'overdue_' || d.danger AS reason
FROM (SELECT *, plate_normalize(plate) AS spelled FROM passages) AS p
JOIN possible_dangers AS d ON d.subject_id = p.spelled
WHERE d.danger IN ('inspection', 'scrap') AND p.passed_at >= d.overdue_at;
