-- A city of people() premises along its main streets: four towns, forty units, a grid of 500 m cells, officers and auxiliary staff, and
-- the policies that differ from the defaults.

CREATE VIEW towns AS
SELECT * FROM (VALUES (0, 'Wutong'), (1, 'Puyuan'), (2, 'Shimen'), (3, 'Heshan')) AS t(t, town);

INSERT INTO units
SELECT
    'unit-' || lpad(CAST(u AS VARCHAR), 2, '0') AS unit_id, 'Unit ' || u AS name,
    CASE WHEN u < 30 THEN 'squadron' ELSE 'department' END AS unit_kind,
    CASE WHEN u % 10 < 8 THEN 'Tongxiang' ELSE 'Haining' END AS city, town
FROM (SELECT unnest(generate_series(0, 39)) AS u) AS s JOIN towns ON t = u % 4
ORDER BY u;

-- The holidays and make-up days of 2024; the years beside it have none but weekends.
INSERT INTO calendar
SELECT
    day,
    CASE
        WHEN day IN (DATE '2024-02-04', DATE '2024-02-18', DATE '2024-04-07', DATE '2024-04-28', DATE '2024-05-11', DATE '2024-09-14',
            DATE '2024-09-29', DATE '2024-10-12') THEN true
        WHEN day = DATE '2024-01-01' OR day BETWEEN DATE '2024-02-10' AND DATE '2024-02-17'
            OR day BETWEEN DATE '2024-04-04' AND DATE '2024-04-06' OR day BETWEEN DATE '2024-05-01' AND DATE '2024-05-05'
            OR day = DATE '2024-06-10' OR day BETWEEN DATE '2024-09-15' AND DATE '2024-09-17'
            OR day BETWEEN DATE '2024-10-01' AND DATE '2024-10-07' THEN false
        ELSE date_part('dow', day) NOT IN (0, 6)
    END AS working
FROM (SELECT add_days(DATE '2023-01-01', unnest(generate_series(0, 1460))) AS day) AS d
ORDER BY day;

CREATE VIEW grid_cells AS
SELECT x, y, 'grid-' || x || '-' || y AS grid_id, 120.50 + x * 0.005 AS lon, 30.60 + y * 0.005 AS lat
FROM (SELECT unnest(generate_series(0, 7)) AS x) AS xs CROSS JOIN (SELECT unnest(generate_series(0, 3)) AS y) AS ys;

INSERT INTO grids
SELECT
    grid_id, town, 'unit-' || lpad(CAST(x + 8 * (y % 2) AS VARCHAR), 2, '0') AS unit_id,
    'POLYGON((' || lon || ' ' || lat || ',' || (lon + 0.005) || ' ' || lat || ',' || (lon + 0.005) || ' ' || (lat + 0.005) || ','
        || lon || ' ' || (lat + 0.005) || ',' || lon || ' ' || lat || '))' AS area,
    add_days(started_at(), -30) AS active_from
FROM grid_cells JOIN towns ON t = y
ORDER BY grid_id;

-- Two of three are sworn; one in fifty has left, one in ten was transferred within the time.
CREATE VIEW staff AS
SELECT
    o, 'officer-' || lpad(CAST(o AS VARCHAR), 4, '0') AS officer_id, o % 3 = 2 AS is_auxiliary,
    'unit-' || lpad(CAST(o % 40 AS VARCHAR), 2, '0') AS unit_id
FROM (SELECT unnest(generate_series(0, 19 + people() / 20)) AS o) AS s;

INSERT INTO officers
SELECT
    officer_id, add_days(started_at(), -400 - CAST(floor(chance('hired', o) * 2500) AS BIGINT)) AS effective_from, 'Officer ' || o AS name,
    '138' || lpad(CAST(o AS VARCHAR), 8, '0') AS telephone, CASE WHEN is_auxiliary THEN 'auxiliary' ELSE 'sworn' END AS role,
    CASE WHEN is_auxiliary THEN CASE WHEN chance('service', o) < 0.7 THEN 'grass_roots' ELSE 'agency' END END AS service,
    CASE WHEN is_auxiliary THEN 1 + CAST(floor(chance('rank', o) * 4) AS INT) END AS rank, unit_id, true AS active
FROM staff ORDER BY o;
INSERT INTO officers
SELECT
    officer_id, add_days(started_at(), CAST(floor(chance('moved on', o) * days()) AS BIGINT)) AS effective_from, 'Officer ' || o AS name,
    '138' || lpad(CAST(o AS VARCHAR), 8, '0') AS telephone, CASE WHEN is_auxiliary THEN 'auxiliary' ELSE 'sworn' END AS role,
    CASE WHEN is_auxiliary THEN 'agency' END AS service, CASE WHEN is_auxiliary THEN 1 END AS rank,
    'unit-' || lpad(CAST((o + 7) % 40 AS VARCHAR), 2, '0') AS unit_id, chance('moved', o) >= 0.02 AS active
FROM staff WHERE chance('moved', o) < 0.12 ORDER BY effective_from, o;

INSERT INTO trainings
SELECT
    officer_id || '/' || k AS training_id, officer_id, CASE k % 3 WHEN 0 THEN 'law' WHEN 1 THEN 'manners' ELSE 'radio' END AS course,
    8.0 * (1 + floor(chance('hours', o, k) * 3)) AS hours, chance('passed', o, k) < 0.92 AS passed,
    add_days(started_at(), -CAST(floor(chance('course', o, k) * 360) AS BIGINT)) AS completed_at
FROM staff CROSS JOIN (SELECT unnest(generate_series(1, 3)) AS k) AS ks
ORDER BY completed_at, training_id;

INSERT INTO assessments
SELECT
    officer_id, CAST(date_part('year', started_at()) AS INT) - k AS year, round(70 + 28 * chance('score', o, k), 1) AS score,
    add_days(started_at(), -20 - 365 * (k - 1)) AS assessed_at
FROM staff CROSS JOIN (SELECT unnest(generate_series(1, 2)) AS k) AS ks
WHERE is_auxiliary AND chance('assessed', o, k) < 0.95 ORDER BY o, k;

INSERT INTO sanctions
SELECT 'sanction-' || o AS sanction_id, officer_id, add_days(started_at(), -CAST(floor(chance('when', o) * 600) AS BIGINT)) AS imposed_at
FROM staff WHERE chance('sanctioned', o) < 0.04 ORDER BY o;

INSERT INTO promotion_rounds SELECT 'round-1' AS round_id, add_days(started_at(), 1) AS as_of;
INSERT INTO promotion_policy
SELECT CAST(column1 AS INT) AS rank, add_days(started_at(), -900) AS effective_from, column2 AS rank_months, 80.0 AS score_min, 32.0 AS training_hours, 12 AS clean_months
FROM (VALUES (1, 24), (2, 36), (3, 48), (4, 60)) AS p ORDER BY column1;
