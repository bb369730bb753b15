-- Purpose:    who is on duty where, and which grids have not been patrolled in time.
-- Inputs:     duty_logs, officers, grids, patrol_policy, command_thresholds, wartime_spans.
-- Outputs:    sink duty_volumes (upsert by unit_id and window_start): reports of a unit and day.
--             sink grid_presence (upsert by grid_id and window_start): officers in a grid in a clock hour, and how many of
--             them patrolled.
--             sink patrol_gaps (upsert by grid_id; a tombstone when a patrol has come).
--             sink duty_reviews (append): reports that cannot be attributed. Consumers: the linkage command platform, unit
--             leaders.
-- Rules:      a report counts for the officer who is active at its instant (else unknown_officer); one without a place
--             counts for the unit only (no_place). An officer patrols a grid in a clock hour by being there in minutes_min
--             minutes of it: who drives through once does not. A grid must be patrolled again patrol_hours after its last
--             patrol (or since it is active), or, where wartime mode begins or holds, after the shorter time that is then
--             in force.
-- Thresholds: patrol_policy at the hour (5 minutes); command_thresholds of the mode at the patrol (24 hours in peace, 4 in
--             wartime).
-- Limits:     minutes before and after the full hour do not add up. Days and hours take reports up to 7 days and 1 day
--             late.

CREATE STREAM attributed_logs AS
SELECT
    l.log_id, l.officer_id, l.log_kind, l.logged_at, l.lon, l.lat, o.unit_id,
    CASE
        WHEN o.officer_id IS NULL OR NOT o.active THEN 'unknown_officer'
        WHEN l.lon IS NULL OR l.lat IS NULL OR (l.lon = 0 AND l.lat = 0) OR abs(l.lon) > 180 OR abs(l.lat) > 90 THEN 'no_place'
    END AS reason
FROM duty_logs AS l
LEFT JOIN officers FOR SYSTEM_TIME AS OF l.logged_at AS o ON o.officer_id = l.officer_id;

CREATE SINK duty_reviews WITH (topic = 'duty-reviews', format = 'json', key = 'officer_id', count_by = 'reason') AS
SELECT log_id, officer_id, logged_at, reason FROM attributed_logs WHERE reason IS NOT NULL;

CREATE SINK duty_volumes WITH (topic = 'duty-volumes', format = 'json', allowed_lateness = '7 days') AS
SELECT
    coalesce(unit_id, 'unknown') AS unit_id, window_start, count(*) AS logs,
    count(*) FILTER (WHERE log_kind = 'pda_case') AS pda_cases, count(DISTINCT officer_id) AS officers
FROM attributed_logs
WHERE reason IS DISTINCT FROM 'unknown_officer'
GROUP BY coalesce(unit_id, 'unknown'), tumble(logged_at, INTERVAL '1 day')
EMIT CHANGES;

CREATE TABLE officer_duty_days WITH (allowed_lateness = '7 days') AS
SELECT officer_id, window_start, count(*) AS logs
FROM attributed_logs
WHERE reason IS DISTINCT FROM 'unknown_officer'
GROUP BY officer_id, tumble(logged_at, INTERVAL '1 day')
EMIT CHANGES;

-- === presence ===

CREATE STREAM placed_logs AS
SELECT l.officer_id, l.logged_at, g.grid_id, date_trunc('minute', l.logged_at) AS at_minute
FROM attributed_logs AS l
JOIN grids AS g ON point_in_polygon(l.lon, l.lat, g.area)
WHERE l.reason IS NULL;

CREATE TABLE grid_hours WITH (allowed_lateness = '1 day') AS
SELECT grid_id, officer_id, window_start, count(DISTINCT at_minute) AS minutes, max(logged_at) AS last_at
FROM placed_logs
GROUP BY grid_id, officer_id, tumble(logged_at, INTERVAL '1 hour')
EMIT CHANGES;

CREATE VIEW judged_hours AS
SELECT h.grid_id, h.officer_id, h.window_start, h.last_at, h.minutes >= coalesce(p.minutes_min, 5) AS is_patrol
FROM grid_hours AS h
LEFT JOIN patrol_policy FOR SYSTEM_TIME AS OF h.window_start AS p ON TRUE;

CREATE SINK grid_presence WITH (topic = 'grid-presence', format = 'json') AS
SELECT grid_id, window_start, count(*) AS officers, count(*) FILTER (WHERE is_patrol) AS patrols
FROM judged_hours
GROUP BY grid_id, window_start;

-- === gaps ===

CREATE VIEW last_patrols AS
SELECT grid_id, max(last_at) AS last_at FROM judged_hours WHERE is_patrol GROUP BY grid_id;

CREATE VIEW peace_dues AS
SELECT
    g.grid_id, g.town, g.unit_id, g.seen_at, '*' AS everywhere,
    g.seen_at + coalesce(t.patrol_hours, 24) * INTERVAL '1 hour' AS due_at
FROM (
    SELECT
        g.grid_id, g.town, g.unit_id, greatest(g.active_from, coalesce(l.last_at, g.active_from)) AS seen_at, 'peace' AS mode
    FROM grids AS g
    LEFT JOIN last_patrols AS l ON l.grid_id = g.grid_id
) AS g
LEFT JOIN command_thresholds FOR SYSTEM_TIME AS OF g.seen_at AS t ON t.mode = g.mode;

-- A patrol, or the beginning of wartime after it, starts the shorter time; it matters only if it ends within the span.
CREATE VIEW wartime_starts AS
SELECT d.grid_id, greatest(d.seen_at, w.starts_at) AS counts_from, w.ends_at, 'wartime' AS mode
FROM peace_dues AS d JOIN wartime_spans AS w ON w.town = d.town
UNION ALL
SELECT d.grid_id, greatest(d.seen_at, w.starts_at), w.ends_at, 'wartime'
FROM peace_dues AS d JOIN wartime_spans AS w ON w.town = d.everywhere;

CREATE VIEW wartime_dues AS
SELECT grid_id, min(due_at) AS due_at
FROM (
    SELECT
        s.grid_id, s.ends_at,
        s.counts_from + coalesce(t.patrol_hours, 4) * INTERVAL '1 hour' AS due_at
    FROM wartime_starts AS s
    LEFT JOIN command_thresholds FOR SYSTEM_TIME AS OF s.counts_from AS t ON t.mode = s.mode
) AS w
WHERE due_at <= ends_at
GROUP BY grid_id;

CREATE TABLE grid_dues (PRIMARY KEY (grid_id)) AS
SELECT p.grid_id, p.town, p.unit_id, p.seen_at, least(p.due_at, coalesce(w.due_at, p.due_at)) AS due_at
FROM peace_dues AS p
LEFT JOIN wartime_dues AS w ON w.grid_id = p.grid_id;

CREATE SINK patrol_gaps WITH (topic = 'patrol-gaps', format = 'json') AS
SELECT grid_id, town, unit_id, seen_at AS unpatrolled_since, due_at FROM PASSED(grid_dues, due_at);
