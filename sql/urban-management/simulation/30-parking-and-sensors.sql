-- Car parks with rush hours and gates that miss vehicles; flues and bins with sensors that smoke at supper, break, and fall silent.

CREATE VIEW lots AS
SELECT * FROM (VALUES (0, 'lot-station', 320), (1, 'lot-market', 120), (2, 'lot-hospital', 200), (3, 'lot-old-town', 80)) AS l(l, lot_id, bays);

INSERT INTO parking_lots
SELECT lot_id, add_days(started_at(), -200) AS effective_from, substr(lot_id, 5) AS name, town, bays, CAST(3 + l AS VARCHAR) || ' yuan an hour, 30 minutes free' AS tariff,
    120.52 + l * 0.01 AS lon, 30.61 AS lat
FROM lots JOIN towns ON t = l ORDER BY l;
INSERT INTO parking_lots
SELECT lot_id, add_days(started_at(), 2) AS effective_from, substr(lot_id, 5) AS name, town, bays + 40 AS bays, '3 yuan an hour, 30 minutes free' AS tariff, 120.52 AS lon, 30.61 AS lat
FROM lots JOIN towns ON t = l WHERE l = 1;

CREATE TABLE stays AS
SELECT
    l, d, k, lot_id, 'session-' || l || '-' || d || '-' || k AS session_id,
    add_days(started_at(), d) + CAST(CAST(CAST(floor(CASE WHEN chance('rush', l, d, k) < 0.5 THEN 27000 + 9000 * chance('at', l, d, k) ELSE 27000 + 50000 * chance('at', l, d, k) END) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS entered_at,
    120 + CAST(floor(-ln(1 - chance('stay', l, d, k)) * 6500) AS BIGINT) AS stay_s
FROM lots CROSS JOIN (SELECT unnest(generate_series(0, days() - 1)) AS d) AS ds CROSS JOIN (SELECT unnest(generate_series(1, 600)) AS k) AS ks
WHERE k <= bays * 1.8;

CREATE TABLE leavings AS
SELECT *, entered_at + CAST(CAST(stay_s AS VARCHAR) || ' seconds' AS INTERVAL) AS left_at, CASE WHEN stay_s < 1800 THEN 0 ELSE 4 * (1 + stay_s / 3600) END AS fee
FROM stays;

INSERT INTO parking_entries
SELECT session_id, lot_id, CASE WHEN l = 3 THEN 'bay-' || (k % bays_of) END AS bay_id, entered_at
FROM (SELECT *, 80 AS bays_of FROM stays) AS s CROSS JOIN (SELECT unnest(generate_series(1, 2)) AS copy) AS c
WHERE chance('missed entry', l, d, k) >= 0.004 AND (copy = 1 OR chance('sent twice', l, d, k) < 0.003)
ORDER BY entered_at, session_id;

-- The hospital's gate has no line from 10:00 to 11:00 of the fourth day, and sends what it kept an hour later: too late to count.
CREATE TABLE sent_exits AS
SELECT *, left_at + CAST(CASE WHEN l = 2 AND local_date(left_at) = local_date(add_days(started_at(), 3)) AND date_part('hour', left_at) = 10
    THEN '60 minutes' ELSE '0 minutes' END AS INTERVAL) AS sent_at
FROM leavings
WHERE chance('missed exit', l, d, k) >= 0.004 AND left_at < add_days(started_at(), days());

INSERT INTO parking_exits SELECT session_id, lot_id, left_at, fee FROM sent_exits ORDER BY sent_at, session_id;

INSERT INTO parking_payments
SELECT
    'payment-' || substr(session_id, 9) AS payment_id, session_id,
    CASE WHEN chance('pays', l, d, k) < 0.9 THEN left_at - INTERVAL '30 seconds' ELSE add_days(left_at, 1) END AS paid_at, fee AS amount
FROM leavings WHERE fee > 0 AND chance('pays', l, d, k) < 0.96 AND left_at < add_days(started_at(), days()) ORDER BY paid_at, session_id;

-- === sensors ===

CREATE VIEW flues AS
SELECT
    s, 'sensor-' || lpad(CAST(s AS VARCHAR), 3, '0') AS sensor_id, CASE WHEN s % 5 = 0 THEN 'bin_level' ELSE 'oil_smoke' END AS measure, town,
    0.5 + 0.9 * chance('greasy', s) AS level
FROM (SELECT unnest(generate_series(1, 40)) AS s) AS ss JOIN towns ON t = s % 4;

INSERT INTO environment_sensors
SELECT sensor_id, measure, CASE WHEN s % 5 = 0 THEN 'bin-' ELSE 'restaurant-' END || s AS site_id, town, add_days(started_at(), -60) AS installed_at FROM flues WHERE s <> 39 ORDER BY s;

-- Every two minutes at dinner and supper; sensor 7 is switched off from the second day on; one kitchen in ten smokes in the evening.
INSERT INTO sensor_readings
SELECT
    sensor_id, add_days(started_at(), d) + CAST(CAST(m * 2 AS VARCHAR) || ' minutes' AS INTERVAL) AS measured_at,
    CASE measure WHEN 'bin_level' THEN round(least(1.0, 0.2 + (m - 330) / 280.0 + 0.1 * chance('waste', s, d)), 3)
        ELSE round(level + 0.2 * chance('noise', s, d, m) + CASE WHEN chance('fries', s, d) < 0.1 AND m BETWEEN 540 AND 585 THEN 1.6 ELSE 0 END, 3) END AS reading
FROM flues CROSS JOIN (SELECT unnest(generate_series(0, days() - 1)) AS d) AS ds CROSS JOIN (SELECT unnest(generate_series(330, 620)) AS m) AS ms
WHERE (m < 420 OR m > 510) AND NOT (s = 7 AND d > 0)
ORDER BY measured_at, sensor_id;

INSERT INTO sensor_faults SELECT 'sensor-011' AS sensor_id, started_at() AS faulty_from, add_days(started_at(), 3) AS faulty_to;
INSERT INTO joint_departments
SELECT column1 AS measure, column2 AS department
FROM (VALUES ('bin_level', 'sanitation'), ('oil_smoke', 'ecology'), ('oil_smoke', 'market_supervision'), ('oil_smoke', 'urban_management')) AS j ORDER BY column1, column2;
INSERT INTO joint_duties SELECT town, 'oil_smoke' AS measure, add_days(started_at(), -40) AS active_from FROM towns ORDER BY town;
INSERT INTO joint_inspections
SELECT 'joint-' || town || '-' || k AS inspection_id, town, 'oil_smoke' AS measure,
    CASE WHEN chance('joint', town, k) < 0.8 THEN make_array('ecology', 'urban_management') ELSE make_array('ecology') END AS departments,
    add_days(started_at(), k * 20 - 25) + INTERVAL '15 hours' AS inspected_at
FROM towns CROSS JOIN (SELECT unnest(generate_series(0, 2 + days() / 20)) AS k) AS ks WHERE chance('went', town, k) < 0.7 ORDER BY inspected_at, inspection_id;
