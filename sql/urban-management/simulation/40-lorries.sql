-- Lorries with construction waste, by night: most keep to their approvals, some leave the corridor, begin early, tip elsewhere, have
-- no approval, or switch their device off; some plates are misread or covered.

CREATE VIEW lorries AS
SELECT v, 'lorry-' || lpad(CAST(v AS VARCHAR), 3, '0') AS vehicle_id, '浙F' || lpad(CAST(10000 + v AS VARCHAR), 5, '0') AS plate
FROM (SELECT unnest(generate_series(1, 8 + people() / 100)) AS v) AS s;

INSERT INTO waste_vehicles SELECT vehicle_id, plate, 'haulier-' || (v % 5) AS enterprise_id FROM lorries ORDER BY v;
INSERT INTO disposal_sites
SELECT 'dump-north' AS dump_id, 'North quarry' AS name, 'POLYGON((120.575 30.60,120.58 30.60,120.58 30.605,120.575 30.605,120.575 30.60))' AS area;

-- One in nine has none. Every approval is on record when the lorry drives; replay reads tables without an event time first.
INSERT INTO waste_approvals
SELECT
    'approval-' || v AS approval_id, vehicle_id, 'site-canal' AS site_id, 'dump-north' AS dump_id,
    'POLYGON((120.50 30.60,120.58 30.60,120.58 30.61,120.50 30.61,120.50 30.60))' AS corridor, add_days(started_at(), -5) AS valid_from,
    add_days(started_at(), days() + 1) AS valid_to, '20:00' AS hours_from, '05:00' AS hours_to
FROM lorries WHERE v % 9 <> 4 ORDER BY v;

-- A trip is 25 minutes out, 4 of tipping, 20 back; five trips a night, of which the last ends after midnight.
CREATE TABLE night_minutes AS
SELECT
    v, d, m, vehicle_id, m / 49 AS trip, m % 49 AS at,
    add_days(started_at(), d) + CAST(CAST(1205 + v % 20 - CASE WHEN chance('early', v, d) < 0.03 THEN 30 ELSE 0 END + m AS VARCHAR) || ' minutes' AS INTERVAL) AS positioned_at
FROM lorries CROSS JOIN (SELECT unnest(generate_series(0, days() - 1)) AS d) AS ds CROSS JOIN (SELECT unnest(generate_series(0, 245)) AS m) AS ms
WHERE chance('works', v, d) < 0.8;

INSERT INTO vehicle_positions
SELECT
    vehicle_id, positioned_at,
    CASE WHEN chance('no fix', v, d, m) < 0.003 THEN 0.0 WHEN at < 25 THEN 120.50 + 0.078 * at / 25 WHEN at < 29 AND chance('elsewhere', v, d, trip) < 0.01 THEN 120.60
        WHEN at < 29 THEN 120.5775 ELSE 120.578 - 0.078 * (at - 29) / 20 END AS lon,
    CASE WHEN chance('no fix', v, d, m) < 0.003 THEN 0.0 WHEN at BETWEEN 8 AND 16 AND chance('shortcut', v, d, trip) < 0.02 THEN 30.618 WHEN at BETWEEN 25 AND 28 THEN 30.603 ELSE 30.605 END AS lat,
    CASE WHEN at BETWEEN 25 AND 28 THEN 0.0 ELSE 30.0 END AS speed_kmh, m < 245 AS engine_on, at < 27 AS loaded, at BETWEEN 25 AND 28 AS tipping
FROM night_minutes
WHERE NOT (chance('switched off', v, d) < 0.02 AND trip = 2)
ORDER BY positioned_at, vehicle_id;

-- Two cameras on the way, one record in a hundred twice.
INSERT INTO plate_captures
SELECT
    'capture-' || v || '-' || d || '-' || m AS capture_id, 'camera-' || CASE WHEN at = 5 THEN 1 ELSE 2 END AS device_id, positioned_at AS captured_at,
    CASE WHEN chance('covered', v, d, m) < 0.02 THEN '无牌' ELSE '浙F' || lpad(CAST(10000 + v AS VARCHAR), 5, '0') END AS plate,
    round(0.7 + 0.3 * sqrt(chance('score', v, d, m)), 3) AS match_score
FROM night_minutes CROSS JOIN (SELECT unnest(generate_series(1, 2)) AS copy) AS c
WHERE at IN (5, 15) AND (copy = 1 OR chance('sent twice', v, d, m) < 0.01)
ORDER BY captured_at, capture_id;

INSERT INTO waste_limits SELECT 'off_route' AS violation, add_days(started_at(), 1) AS effective_from, 4 AS minutes;
