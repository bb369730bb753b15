-- Officers on their rounds, monitoring, a conference in wartime mode, and orders that have no effect.

-- A round is up to twelve minutes in a grid; some grids are seldom visited, some devices have no place, one report in 500 comes twice.
INSERT INTO duty_logs
SELECT
    'log-' || o || '-' || d || '-' || r || '-' || m AS log_id, officer_id, 'pda-' || o AS device_id,
    CASE WHEN m = 0 AND chance('case', o, d, r) < 0.2 THEN 'pda_case' WHEN m = 1 THEN 'report' ELSE 'position' END AS log_kind, logged_at,
    CASE WHEN chance('no place', o, d, r, m) >= 0.01 THEN lon + 0.0025 END AS lon, CASE WHEN chance('no place', o, d, r, m) >= 0.01 THEN lat + 0.0025 END AS lat
FROM (
    SELECT
        s.o, s.officer_id, d, r, m,
        add_days(started_at(), d) + CAST(CAST(480 + r * 55 + m + CAST(floor(chance('begins', s.o, d, r) * 20) AS BIGINT) AS VARCHAR) || ' minutes' AS INTERVAL) AS logged_at,
        CAST(floor(sqrt(chance('x', s.o, d, r)) * 8) AS BIGINT) AS x, CAST(floor(chance('y', s.o, d, r) * 4) AS BIGINT) AS y
    FROM staff AS s CROSS JOIN (SELECT unnest(generate_series(0, days() - 1)) AS d) AS ds CROSS JOIN (SELECT unnest(generate_series(0, 8)) AS r) AS rs
    CROSS JOIN (SELECT unnest(generate_series(0, 11)) AS m) AS ms
    WHERE chance('on duty', s.o, d) < 0.6 AND m < 2 + 10 * chance('long', s.o, d, r)
) AS l
JOIN grid_cells AS g ON g.x = l.x AND g.y = l.y
JOIN (SELECT unnest(generate_series(1, 2)) AS copy) AS c ON c.copy = 1 OR chance('sent twice', o, d, r, m) < 0.002
ORDER BY logged_at, log_id;

INSERT INTO command_modes
SELECT
    column1 AS mode_id, column2 AS town, column3 AS event_name, add_days(started_at(), column4) + INTERVAL '8 hours' AS starts_at,
    add_days(started_at(), column5) + INTERVAL '20 hours' AS ends_at, column6 AS ordered_by
FROM (VALUES ('mode-1', 'Wutong', 'Internet conference', 2, 4, 'Director Li'), ('mode-2', '*', 'Storm', 5, 5, 'Director Wu'),
    ('mode-3', 'Puyuan', 'Fair', 1, 1, ''), ('mode-4', 'Shimen', 'Race', 1, 60, 'Director Wu')) AS o
ORDER BY column1;

CREATE TABLE sightings AS
SELECT
    n, 'event-' || n AS event_id, town, 1 + CAST(floor(-ln(1 - chance('severity', n)) * 1.1) AS BIGINT) AS severity,
    add_days(started_at(), CAST(floor(chance('day', n) * days()) AS BIGINT)) + CAST(CAST(CAST(floor(chance('at', n) * 86399) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS occurred_at
FROM (SELECT unnest(generate_series(1, 40 * days())) AS n) AS s JOIN towns ON t = n % 4;

INSERT INTO monitor_events
SELECT
    event_id, CASE CAST(floor(chance('sight', n) * 4) AS INT) WHEN 0 THEN 'crowd' WHEN 1 THEN 'stall' WHEN 2 THEN 'drone' ELSE 'fire' END AS event_kind, town,
    CASE WHEN chance('shared', n) < 0.1 THEN 'incident-' || (n / 8) END AS incident_id, least(severity, 5) AS severity, occurred_at,
    120.50 + 0.04 * chance('lon', n) AS lon, 30.60 + 0.02 * chance('lat', n) AS lat
FROM sightings ORDER BY occurred_at, event_id;

INSERT INTO alert_acknowledgements
SELECT mode || '/' || event_id AS alert_id, occurred_at + CAST(CAST(CAST(floor(-ln(1 - chance('taken', n)) * 12 * 60) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS acknowledged_at, 'officer-0000' AS officer_id
FROM sightings CROSS JOIN (VALUES ('peace'), ('wartime')) AS m(mode) WHERE severity >= 2 ORDER BY acknowledged_at, alert_id;
