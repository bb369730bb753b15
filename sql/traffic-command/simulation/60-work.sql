-- Water on three sections, audits of who lets vehicles onto the road, training, and key work divided into tasks.

-- The river rises on some days from 10 to 15 and falls again; readings every ten minutes, one station silent for half a day.
CREATE TABLE made_readings AS
SELECT
    'bridge-' || CAST(s AS VARCHAR) AS station_id, s, d, t, started_at() + CAST(CAST(round((d * 144 + t) * 600) AS BIGINT) || ' seconds' AS INTERVAL) AS observed_at,
    round(8.5 + 0.2 * chance('wave', s, d, t) + CASE
        WHEN chance('flood', s, d) < 0.15 AND t BETWEEN 60 AND 120 THEN (0.5 + 1.5 * chance('height', s, d)) * 2.5 * (1 - abs(t - 90) / 30.0) ELSE 0 END, 2) AS value
FROM generate_series(1, 3) AS ss(s) CROSS JOIN generate_series(0, days() - 1) AS ds(d) CROSS JOIN generate_series(0, 143) AS ts(t);

INSERT INTO flood_readings
SELECT * FROM (
    SELECT station_id || '/' || CAST(d AS VARCHAR) || '/' || CAST(t AS VARCHAR), station_id, observed_at, 'water_level_m', value
    FROM made_readings WHERE NOT (s = 3 AND d = 4 AND t > 72)
) AS r(reading_id, station_id, observed_at, measure, value)
ORDER BY observed_at, reading_id;

INSERT INTO flood_sections
SELECT * FROM (
    SELECT 'F' || CAST(s AS VARCHAR), 'G' || CAST(s AS VARCHAR), s * 20000.0, s * 20000.0 + 1500, 'B' || CAST(s AS VARCHAR),
        'G' || CAST(s AS VARCHAR) || ' K' || CAST(s * 20 AS VARCHAR) || ', at the river bridge', NULL
    FROM generate_series(1, 3) AS ss(s)
) AS r(section_id, road_id, from_m, to_m, brigade_id, area, polygon);

INSERT INTO section_stations
SELECT * FROM (
    SELECT 'F' || CAST(s AS VARCHAR), 'bridge-' || CAST(s AS VARCHAR), 'water_level_m' FROM generate_series(1, 3) AS ss(s)
) AS r(section_id, station_id, measure);

INSERT INTO flood_thresholds
SELECT * FROM (
    SELECT 'F' || CAST(s AS VARCHAR), 'bridge-' || CAST(s AS VARCHAR), 'water_level_m', add_days(started_at(), -100), 10, 9.5, 11, 10.5
    FROM generate_series(1, 3) AS ss(s)
) AS r(section_id, station_id, measure, effective_from, control_at, clear_below, close_at, reopen_below);

-- An officer approves most closures within ten minutes of the first reading at 11 m.
INSERT INTO control_approvals
SELECT * FROM (
    SELECT 'F' || CAST(s AS VARCHAR), since, 'close', 'officer 7', since + CAST(CAST(round((1 + 9 * chance('approves', s, d)) * 60) AS BIGINT) || ' seconds' AS INTERVAL)
    FROM (SELECT s, d, min(observed_at) AS since FROM made_readings WHERE value >= 11 GROUP BY s, d) AS r
    WHERE chance('approved', s, d) < 0.9
) AS r(section_id, since, level, approved_by, approved_at)
ORDER BY since;

-- === bodies ===

INSERT INTO access_bodies
SELECT * FROM (
    SELECT 'I' || lpad(CAST(b AS VARCHAR), 2, '0'), CASE WHEN b <= 20 THEN 'inspection_body' WHEN b <= 25 THEN 'check_site' ELSE 'exam_site' END, 'Body ' || CAST(b AS VARCHAR), '370102'
    FROM generate_series(1, 28) AS bs(b)
) AS r(body_id, kind, name, division);

INSERT INTO body_states
SELECT * FROM (
    VALUES ('I03', add_days(started_at(), 5), 'suspended', 'tampered brake tests'), ('I03', add_days(started_at(), 20), 'active', NULL)
) AS r(body_id, valid_from, state, reason);

INSERT INTO source_audits
SELECT * FROM (
    SELECT
        'AU' || lpad(CAST(n AS VARCHAR), 6, '0'), body_id, audited_at, plate, chance('fails', n) < CASE body_id WHEN 'I07' THEN 0.3 ELSE 0.03 END, NULL
    FROM (
        SELECT n, 'I' || lpad(CAST(1 + CAST(floor(28 * chance('body', n)) AS BIGINT) AS VARCHAR), 2, '0') AS body_id,
            add_days(started_at(), CAST(floor(chance('day', 'au', n) * days()) AS BIGINT)) + INTERVAL '9 hours' AS audited_at,
            '鲁A' || lpad(CAST(1 + n % people() AS VARCHAR), 5, '0') AS plate
        FROM generate_series(1, 28 * days()) AS ns(n)
    ) AS a
) AS r(audit_id, body_id, audited_at, plate, failed, finding)
ORDER BY audited_at, audit_id;

INSERT INTO certificates
SELECT * FROM (
    SELECT 'CE' || lpad(CAST(n AS VARCHAR), 6, '0'), 'I' || lpad(CAST(1 + n % 20 AS VARCHAR), 2, '0'), started_at() + CAST(CAST(round(n * 10800) AS BIGINT) || ' seconds' AS INTERVAL) + INTERVAL '8 hours',
        '鲁A' || lpad(CAST(1 + n % people() AS VARCHAR), 5, '0')
    FROM generate_series(0, days() * 8 - 3) AS ns(n)
) AS r(certificate_id, body_id, issued_at, plate);

-- === training ===

INSERT INTO officers
SELECT * FROM (
    SELECT 'O' || CAST(o AS VARCHAR), 'B' || CAST(o % 5 + 1 AS VARCHAR), add_days(local_date(started_at()), -700), NULL FROM generate_series(1, 100) AS os(o)
) AS r(officer_id, unit_id, joined_on, left_on);

INSERT INTO training_sessions
SELECT * FROM (
    SELECT 'TS' || CAST(n AS VARCHAR), 'B' || CAST(n % 5 + 1 AS VARCHAR), CASE WHEN n % 10 = 3 THEN 'exam' ELSE 'training' END,
        add_days(started_at(), n * 7 - 364) + INTERVAL '14 hours', 'online'
    FROM generate_series(0, 51 + days() / 7) AS ns(n) WHERE n * 7 - 364 < days()
) AS r(session_id, unit_id, kind, held_at, subject)
ORDER BY held_at;

INSERT INTO attendances
SELECT * FROM (
    SELECT 'TS' || CAST(n AS VARCHAR), 'O' || CAST(o AS VARCHAR), add_days(started_at(), n * 7 - 364) + INTERVAL '15 hours', chance('passes', n, o) < 0.92
    FROM generate_series(0, 51 + days() / 7) AS ns(n) CROSS JOIN generate_series(1, 100) AS os(o)
    WHERE n * 7 - 364 < days() AND chance('attends', n, o) < 0.22
) AS r(session_id, officer_id, attended_at, passed)
ORDER BY attended_at, session_id, officer_id;

-- === key work ===

INSERT INTO key_works
SELECT * FROM (
    SELECT 'W' || CAST(w AS VARCHAR), 'key work ' || CAST(w AS VARCHAR) FROM generate_series(1, 12) AS ws(w)
) AS r(work_id, title);

INSERT INTO tasks
SELECT * FROM (
    SELECT 'T' || CAST(t AS VARCHAR), 'W' || CAST(1 + t % 12 AS VARCHAR), 'task ' || CAST(t AS VARCHAR),
        add_days(local_date(started_at()), CAST(floor(chance('due', t) * 60) AS BIGINT))
    FROM generate_series(1, 59) AS ts(t)
) AS r(task_id, work_id, title, due_on);

INSERT INTO task_assignments
SELECT * FROM (
    SELECT 'T' || CAST(t AS VARCHAR), 'U' || CAST(1 + t % 27 AS VARCHAR) FROM generate_series(1, 59) AS ts(t)
) AS r(task_id, unit_id);

INSERT INTO task_progress
SELECT * FROM (
    SELECT 'TR' || CAST(t AS VARCHAR) || '-' || CAST(d AS VARCHAR), 'T' || CAST(t AS VARCHAR), 'U' || CAST(1 + t % 27 AS VARCHAR),
        add_days(started_at(), d) + INTERVAL '16 hours', CAST(least(100, floor(d * (2 + 6 * chance('pace', t)))) AS BIGINT)
    FROM generate_series(1, 59) AS ts(t) CROSS JOIN generate_series(0, days() - 1) AS ds(d)
    WHERE chance('reports', t, d) < 0.3
) AS r(report_id, task_id, unit_id, reported_at, percent)
ORDER BY reported_at, report_id;
