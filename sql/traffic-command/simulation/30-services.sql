-- Calls to 12122, dangers that are mended or not, a closed toll station in the fog, mediation, counters, townships and rescue.

CREATE VIEW made_reports AS
SELECT n, 'R' || lpad(CAST(n AS VARCHAR), 6, '0') AS report_id,
    started_at() + CAST(CAST(round(chance('called', n) * days() * 86400) AS BIGINT) || ' seconds' AS INTERVAL) AS called_at
FROM (SELECT unnest(generate_series(1, days() * 20)) AS n) AS s;

INSERT INTO road_reports
SELECT report_id, called_at,
    CASE CAST(floor(chance('rk', report_id) * 3) AS INT) WHEN 0 THEN 'accident' WHEN 1 THEN 'breakdown'
        ELSE 'congestion' END AS kind,
    CASE WHEN chance('ru', report_id) < 0.95 THEN 'U'
        || CAST(CAST(floor(chance('unit', report_id) * 6) AS INT) AS VARCHAR) END AS unit_id, follows, caller_phone
FROM (
    SELECT report_id, called_at, NULL AS follows, '1390000' || lpad(CAST(n % 10000 AS VARCHAR), 4, '0') AS caller_phone
    FROM made_reports
    UNION ALL
    SELECT report_id || 'b' AS report_id,
        called_at + CAST(CAST(round(chance('again', report_id) * 10 * 86400) AS BIGINT) || ' seconds'
            AS INTERVAL) AS called_at, report_id AS follows, NULL AS caller_phone
    FROM made_reports WHERE chance('calls again', report_id) < 0.04
) AS r
ORDER BY called_at, report_id;

INSERT INTO report_steps
SELECT report_id, step, done_at
FROM (
    SELECT report_id, 'replied' AS step,
        called_at + CAST(CAST(round(-ln(1 - chance('s1', report_id)) * 90) AS BIGINT) || ' seconds' AS INTERVAL) AS done_at
        FROM made_reports
    UNION ALL SELECT report_id, 'handled',
        called_at + CAST(CAST(round(360 - ln(1 - chance('s2', report_id)) * 600) AS BIGINT) || ' seconds' AS INTERVAL)
        FROM made_reports
    UNION ALL SELECT report_id, 'fed_back',
        called_at + CAST(CAST(round(4000 - ln(1 - chance('s3', report_id)) * 900) AS BIGINT) || ' seconds' AS INTERVAL)
        FROM made_reports
    UNION ALL SELECT report_id, 'recorded',
        called_at + CAST(CAST(round(8000 + chance('s4', report_id) * 80000) AS BIGINT) || ' seconds' AS INTERVAL)
        FROM made_reports
) AS s
WHERE chance('leaves out', report_id, step) > 0.01
ORDER BY done_at, report_id;

-- === dangers; the black spot of G2 was taken up and mended ===

CREATE VIEW made_dangers AS
SELECT 'H' || CAST(n AS VARCHAR) AS danger_id, n,
    started_at() + CAST(CAST(round((chance('found', n) * (days() + 90) - 90) * 86400) AS BIGINT) || ' seconds'
        AS INTERVAL) AS found_at,
    CASE WHEN chance('major', n) < 0.15 THEN 'major' ELSE 'general' END AS level
FROM (SELECT unnest(generate_series(1, 60)) AS n) AS s;

INSERT INTO road_dangers
SELECT danger_id, found_at, category, level, road_id, direction, from_m, to_m, answers
FROM (
    SELECT danger_id, found_at, CASE WHEN n % 3 = 0 THEN 'junction' ELSE 'barrier' END AS category, level, 'G1' AS road_id,
        'up' AS direction, n * 1000.0 AS from_m, n * 1000.0 + 100 AS to_m, NULL AS answers
    FROM made_dangers
    UNION ALL
    SELECT 'HB', started_at() - INTERVAL '500 days', 'black_spot', 'major', 'G2', 'up', 43000, 43400, NULL
) AS d
ORDER BY found_at;

INSERT INTO danger_steps
SELECT danger_id || '-' || step AS step_id, danger_id, step, done_at, 'U' || CAST(n % 4 AS VARCHAR) AS unit_id
FROM (
    SELECT danger_id, n, 'assigned' AS step,
        found_at + CAST(CAST(round(chance('d1', danger_id) * 4 * 86400) AS BIGINT) || ' seconds' AS INTERVAL) AS done_at
        FROM made_dangers
    UNION ALL SELECT danger_id, n, 'fixed',
        found_at + CAST(CAST(round((5 - ln(1 - chance('d2', danger_id)) * 12) * 86400) AS BIGINT) || ' seconds' AS INTERVAL)
        FROM made_dangers
    UNION ALL SELECT danger_id, n, 'verified',
        found_at + CAST(CAST(round((8 - ln(1 - chance('d2', danger_id)) * 12) * 86400) AS BIGINT) || ' seconds' AS INTERVAL)
        FROM made_dangers
    UNION ALL SELECT 'HB', 1, 'assigned', started_at() - INTERVAL '498 days'
    UNION ALL SELECT 'HB', 1, 'fixed', started_at() - INTERVAL '380 days'
    UNION ALL SELECT 'HB', 1, 'verified', started_at() - INTERVAL '375 days'
) AS s
WHERE done_at <= started_at() + CAST(days() || ' days' AS INTERVAL)
ORDER BY done_at, step_id;

-- === a closed toll station ===

INSERT INTO route_legs
SELECT * FROM (VALUES ('T1', 'T2', 1, 'G1', 'up', 20000.0, 40000.0), ('T1', 'T3', 1, 'G1', 'up', 20000.0, 60000.0),
    ('T1', 'T4', 1, 'G3', 'down', 0.0, 20000.0))
    AS r(entry_station_id, exit_station_id, leg, road_id, direction, from_m, to_m);

INSERT INTO station_closures
SELECT 'Q' || CAST(d AS VARCHAR) AS closure_id, 'T1' AS station_id,
    started_at() + CAST((d * 24 + 5) || ' hours' AS INTERVAL) AS from_at,
    started_at() + CAST((d * 24 + 9) || ' hours' AS INTERVAL) AS to_at,
    'weather' AS cause, 'G1' AS road_id, NULL AS direction, 40000.0 AS from_m, 50000.0 AS to_m
FROM (SELECT unnest(generate_series(0, days() - 1)) AS d) AS s
WHERE chance('closed', d) < 0.2
ORDER BY from_at;

INSERT INTO pass_requests
SELECT request_id, requested_at, plate, vehicle_class, 'T1' AS entry_station_id, exit_station_id, promised
FROM pass_wishes
ORDER BY requested_at, request_id;

-- === mediation ===

INSERT INTO mediation_units
SELECT 'MU' || CAST(n AS VARCHAR) AS unit_id,
    CASE n % 8 WHEN 0 THEN 'police' WHEN 1 THEN 'court' WHEN 2 THEN 'justice' WHEN 3 THEN 'procuratorate'
        WHEN 4 THEN 'insurers' WHEN 5 THEN 'civil affairs' WHEN 6 THEN 'labour' ELSE 'health' END AS department
FROM (SELECT unnest(generate_series(1, 31)) AS n) AS s;

CREATE VIEW made_mediations AS
SELECT 'ME' || accident_id AS mediation_id, accident_id,
    'MU' || CAST(CAST(floor(chance('mu', accident_id) * 31) AS INT) + 1 AS VARCHAR) AS unit_id,
    occurred_at + INTERVAL '1 day' AS accepted_at,
    occurred_at + CAST(CAST(round((1.2 - ln(1 - chance('mc', accident_id)) * 2.5) * 86400) AS BIGINT) || ' seconds'
        AS INTERVAL) AS closed_at
FROM new_accidents;

INSERT INTO mediations
SELECT mediation_id, accident_id, unit_id, accepted_at, closed_at,
    CASE WHEN chance('mo', mediation_id) < 0.976 THEN 'agreed' ELSE 'failed' END AS outcome
FROM made_mediations ORDER BY accepted_at, mediation_id;

INSERT INTO mediation_ratings
SELECT mediation_id, party, closed_at + INTERVAL '1 day' AS rated_at, chance('ms', mediation_id, party) < 0.992 AS satisfied
FROM made_mediations CROSS JOIN (VALUES ('a'), ('b')) AS p(party)
WHERE chance('rates', mediation_id, party) < 0.6
ORDER BY rated_at, mediation_id, party;

-- === counters ===

INSERT INTO counter_services SELECT 'V' || CAST(n AS VARCHAR) AS service_id, 'service ' || CAST(n AS VARCHAR) AS name
FROM (SELECT unnest(generate_series(1, 15)) AS n) AS s;

INSERT INTO counter_stations
SELECT 'P' || CAST(p AS VARCHAR) AS station_id, 'V' || CAST(n AS VARCHAR) AS service_id,
    started_at() - INTERVAL '100 days' AS since
FROM (SELECT unnest(generate_series(1, 8)) AS p) AS x CROSS JOIN (SELECT unnest(generate_series(1, 15)) AS n) AS y
WHERE chance('offers', p, n) > 0.03;

CREATE VIEW made_counter_cases AS
SELECT 'CC' || CAST(n AS VARCHAR) AS counter_case_id, n,
    started_at() + CAST((CAST(floor(chance('cd', n) * days()) AS BIGINT) * 86400 + 30600 + CAST(floor(chance('ct',
        n) * 28800) AS BIGINT)) || ' seconds' AS INTERVAL) AS accepted_at
FROM (SELECT unnest(generate_series(1, days() * 25)) AS n) AS s;

INSERT INTO counter_cases
SELECT counter_case_id, 'P' || CAST(CAST(floor(chance('cp', n) * 8) AS INT) + 1 AS VARCHAR) AS station_id,
    'V' || CAST(CAST(floor(chance('cs', n) * 15) AS INT) + 1 AS VARCHAR) AS service_id,
    'p' || CAST(CAST(floor(chance('cper', n) * people()) AS INT) AS VARCHAR) AS person_id, accepted_at,
    CASE WHEN chance('cv', n) < 0.3 THEN 1 + CAST(floor(chance('cvn', n) * 4) AS INT) ELSE 0 END AS violations
FROM made_counter_cases ORDER BY accepted_at, counter_case_id;

INSERT INTO missing_documents
SELECT counter_case_id, 'photo' AS document,
    CASE WHEN chance('supplies', n) < 0.9 THEN accepted_at + CAST(CAST(round(chance('sd', n) * 12 * 86400) AS BIGINT)
        || ' seconds' AS INTERVAL) END AS supplied_at
FROM made_counter_cases WHERE chance('lacks', n) < 0.08;

INSERT INTO ebike_registrations
SELECT 'EB' || CAST(n AS VARCHAR) AS registration_id,
    'ZZ' || lpad(CAST(CASE WHEN chance('again', n) < 0.01 THEN n - 1 ELSE n END AS VARCHAR), 5, '0') AS plate,
    started_at() + CAST(CAST(round(chance('eb', n) * days() * 86400) AS BIGINT) || ' seconds' AS INTERVAL) AS registered_at,
    'p' || CAST(n AS VARCHAR) AS person_id, 'P' || CAST(n % 8 + 1 AS VARCHAR) AS station_id
FROM (SELECT unnest(generate_series(1, people())) AS n) AS s
ORDER BY registered_at;

-- === townships and rescue ===

INSERT INTO townships SELECT 'T' || CAST(n AS VARCHAR) AS township,
    CASE WHEN n < 5 THEN 'Shizhong' ELSE 'Xuecheng' END AS county FROM (SELECT unnest(generate_series(0, 9)) AS n) AS s;

INSERT INTO persuasion_stations
SELECT 'PS' || CAST(n AS VARCHAR) AS station_id, 'T' || CAST(n % 10 AS VARCHAR) AS township,
    started_at() + CAST(CAST(round((chance('ps', n) * (days() + 300) - 300) * 86400) AS BIGINT) || ' seconds'
        AS INTERVAL) AS opened_at, chance('standard', n) < 0.7 AS standard
FROM (SELECT unnest(generate_series(0, 11)) AS n) AS s
ORDER BY opened_at;

INSERT INTO lifting_targets
SELECT project, 'T' || CAST(n AS VARCHAR) AS township, started_at() + CAST(days() / 2 || ' days' AS INTERVAL) AS due_at,
    target
FROM (VALUES ('persuasion_station', 1), ('guard_rails', 10), ('speed_humps', 4)) AS p(project, target)
CROSS JOIN (SELECT unnest(generate_series(0, 9)) AS n) AS s;

INSERT INTO lifting_results
SELECT 'LR' || CAST(n AS VARCHAR) AS result_id,
    CASE WHEN chance('lp', n) < 0.6 THEN 'guard_rails' ELSE 'speed_humps' END AS project,
    'T' || CAST(n % 10 AS VARCHAR) AS township,
    started_at() + CAST(CAST(round(chance('lt', n) * days() * 86400) AS BIGINT) || ' seconds' AS INTERVAL) AS done_at,
    1 + CAST(floor(chance('la', n) * 4) AS INT) AS amount
FROM (SELECT unnest(generate_series(1, 100)) AS n) AS s
ORDER BY done_at, result_id;

INSERT INTO rescue_steps
SELECT accident_id, step, occurred_at + CAST(CAST(round(after_s) AS BIGINT) || ' seconds' AS INTERVAL) AS done_at
FROM (
    SELECT accident_id, occurred_at, 'noticed' AS step, -ln(1 - chance('n1', accident_id)) * 100 AS after_s
    FROM registered_accidents WHERE severity <> 'damage'
    UNION ALL SELECT accident_id, occurred_at, 'called', 500 - ln(1 - chance('n2', accident_id)) * 40
    FROM registered_accidents WHERE severity <> 'damage'
    UNION ALL SELECT accident_id, occurred_at, 'reached', 1000 - ln(1 - chance('n3', accident_id)) * 500
    FROM registered_accidents WHERE severity <> 'damage'
    UNION ALL SELECT accident_id, occurred_at, 'in_hospital', 3000 - ln(1 - chance('n4', accident_id)) * 900
    FROM registered_accidents WHERE severity <> 'damage'
) AS r
WHERE chance('unknown', accident_id, step) > 0.02
ORDER BY done_at, accident_id;
