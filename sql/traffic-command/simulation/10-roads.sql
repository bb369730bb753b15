-- Four roads of 100 km with cameras every two kilometres, vehicles that travel on them, and accidents: more at one place than
-- chance would have it, some of them corrected later, a few deleted, and three years of history before the first day.

CREATE VIEW roads AS
SELECT * FROM (VALUES ('G1'), ('G2'), ('G3'), ('S4')) AS r(road_id);

CREATE VIEW directions AS
SELECT * FROM (VALUES ('up'), ('down')) AS d(direction);

CREATE VIEW cameras AS
SELECT
    'D-' || road_id || '-' || direction || '-' || lpad(CAST(n AS VARCHAR), 2, '0') AS device_id, road_id, direction,
    n, n * 2000.0 + 500 AS chainage_m, 'T' || CAST(n / 5 AS VARCHAR) AS township,
    116.0 + n * 0.02 AS lon, CASE road_id WHEN 'G1' THEN 36.2 WHEN 'G2' THEN 36.5 WHEN 'G3' THEN 36.8 ELSE 37.1 END AS lat
FROM roads CROSS JOIN directions CROSS JOIN (SELECT unnest(generate_series(0, 49)) AS n) AS s;

INSERT INTO devices SELECT device_id, road_id, direction, chainage_m, township, lon, lat FROM cameras;

INSERT INTO road_segments
SELECT
    'S-' || road_id || '-' || direction || '-' || CAST(k AS VARCHAR) AS segment_id, road_id, direction,
    k * 20000.0 AS from_m, k * 20000.0 + 20000 AS to_m, 'B' || CAST(k + 1 AS VARCHAR) AS brigade_id
FROM roads CROSS JOIN directions CROSS JOIN (SELECT unnest(generate_series(0, 4)) AS k) AS s;

-- The holidays and make-up days of 2024; the years beside it have none but weekends.
INSERT INTO calendar
SELECT
    day,
    CASE
        WHEN day IN (DATE '2024-02-04', DATE '2024-02-18', DATE '2024-04-07', DATE '2024-04-28', DATE '2024-05-11',
            DATE '2024-09-14',
            DATE '2024-09-29', DATE '2024-10-12') THEN true
        WHEN day = DATE '2024-01-01' OR day BETWEEN DATE '2024-02-10' AND DATE '2024-02-17'
            OR day BETWEEN DATE '2024-04-04' AND DATE '2024-04-06' OR day BETWEEN DATE '2024-05-01' AND DATE '2024-05-05'
            OR day = DATE '2024-06-10' OR day BETWEEN DATE '2024-09-15' AND DATE '2024-09-17'
            OR day BETWEEN DATE '2024-10-01' AND DATE '2024-10-07' THEN false
        ELSE date_part('dow', day) NOT IN (0, 6)
    END AS working
FROM (SELECT arrow_cast(arrow_cast(n, 'Int32'), 'Date32') AS day
    FROM (SELECT unnest(generate_series(18993, 20818)) AS n) AS s) AS d
ORDER BY day;

-- === traffic ===

CREATE VIEW vehicles_on_roads AS
SELECT
    v, '鲁A' || lpad(CAST(v AS VARCHAR), 5, '0') AS plate,
    CASE WHEN chance('class', v) < 0.78 THEN 'car' WHEN chance('class', v) < 0.93 THEN 'heavy_truck'
        WHEN chance('class', v) < 0.98 THEN 'coach' ELSE 'hazmat' END AS vehicle_class,
    CASE CAST(floor(chance('colour', v) * 4) AS INT) WHEN 0 THEN 'white' WHEN 1 THEN 'black' WHEN 2 THEN 'silver'
        ELSE 'red' END AS colour,
    -ln(1 - chance('fast', v)) * 0.06 AS haste
FROM (SELECT unnest(generate_series(1, people())) AS v) AS s;

-- A trip begins mostly in the rush hours, at some camera, and goes on for up to seven.
CREATE VIEW trips AS
SELECT
    t.*,
    CASE WHEN chance('rush', v, d) < 0.6 THEN CASE WHEN chance('evening', v, d) < 0.5 THEN 27000
        ELSE 63000 END + chance('at', v, d) * 7200
         ELSE chance('at', v, d) * 86399 END AS at_s
FROM (
    SELECT
        v, plate, vehicle_class, colour, haste, d,
        CASE CAST(floor(chance('road', v, d) * 4) AS INT) WHEN 0 THEN 'G1' WHEN 1 THEN 'G2' WHEN 2 THEN 'G3'
            ELSE 'S4' END AS road_id,
        CASE WHEN chance('direction', v, d) < 0.5 THEN 'up' ELSE 'down' END AS direction,
        CAST(floor(chance('first', v, d) * 43) AS INT) + 3 AS first_n,
        CAST(floor(chance('length', v, d) * 7) AS INT) + 1 AS n_cameras,
        (CASE vehicle_class WHEN 'car' THEN 105 ELSE 82 END) * (1 + haste + (chance('pace', v, d) - 0.6) * 0.15) AS pace_kmh
    FROM vehicles_on_roads CROSS JOIN (SELECT unnest(generate_series(0, days() - 1)) AS d) AS s
    WHERE chance('travels', v, d) < 0.5
) AS t;

CREATE VIEW trip_points AS
SELECT
    'P' || CAST(v AS VARCHAR) || '-' || CAST(d AS VARCHAR) || '-' || CAST(i AS VARCHAR) AS passage_id, v, d, i, plate,
    vehicle_class, colour, haste,
    'D-' || road_id || '-' || direction || '-'
        || lpad(CAST(CASE direction WHEN 'up' THEN first_n + i ELSE first_n - i END AS VARCHAR), 2, '0') AS device_id,
    started_at() + CAST(CAST(round((d * 86400 + at_s + i * 2000 / pace_kmh * 3.6) * 1000) AS BIGINT) || ' milliseconds'
        AS INTERVAL) AS passed_at,
    pace_kmh * (1 + (chance('speed', v, d, i) - 0.5) * 0.1) AS speed_kmh,
    CASE WHEN vehicle_class = 'car' AND chance('lane', v, d, i) < 0.6 THEN 1 ELSE 2 END AS lane
FROM (SELECT *, unnest(generate_series(0, n_cameras - 1)) AS i FROM trips) AS t
WHERE CASE direction WHEN 'up' THEN first_n + i ELSE first_n - i END BETWEEN 0 AND 49;

-- Who asks for a code to pass a closed station, and half an hour later is where that was not to be.
CREATE VIEW pass_wishes AS
SELECT
    n, 'PR' || CAST(n AS VARCHAR) AS request_id, requested_at,
    '鲁A' || lpad(CAST(CAST(floor(chance('rv', n) * people()) AS INT) + 1 AS VARCHAR), 5, '0') AS plate,
    CASE WHEN chance('rc', n) < 0.9 THEN 'car' WHEN chance('rc', n) < 0.97 THEN 'heavy_truck'
        ELSE 'hazmat' END AS vehicle_class,
    CASE CAST(floor(chance('re', n) * 4) AS INT) WHEN 1 THEN 'T3' WHEN 2 THEN 'T4' ELSE 'T2' END AS exit_station_id,
    chance('rp', n) < 0.97 AS promised
FROM (
    SELECT
        n,
        started_at() + CAST((CAST(floor(chance('rd', n) * days()) AS BIGINT) * 86400 + 18000
            + CAST(floor(chance('rt', n) * 14400) AS BIGINT)) || ' seconds' AS INTERVAL) AS requested_at
    FROM (SELECT unnest(generate_series(1, days() * 10)) AS n) AS s
) AS r;

-- One plate in fifty is not legible, one record in two hundred comes half a minute or more late, one in two hundred twice.
CREATE VIEW arriving_passages AS
SELECT *, passed_at + CAST(CASE
    WHEN chance('late', passage_id) < 0.005 THEN CAST(chance('how late', passage_id) * 90 AS BIGINT) ELSE 0 END
        || ' seconds' AS INTERVAL) AS arrives_at
FROM trip_points
UNION ALL
SELECT *, passed_at + INTERVAL '3 seconds' FROM trip_points WHERE chance('twice', passage_id) < 0.005
UNION ALL
SELECT
    'P' || request_id AS passage_id, 0, 0, 0, plate, vehicle_class, 'white', 0.0, 'D-G1-up-21',
    requested_at + INTERVAL '30 minutes', 90.0, 2,
    requested_at + INTERVAL '30 minutes'
FROM pass_wishes WHERE chance('breaks', n) < 0.15;

INSERT INTO passages
SELECT
    passage_id, device_id, passed_at,
    CASE WHEN chance('plate', passage_id) < 0.01 THEN NULL WHEN chance('plate', passage_id) < 0.02 THEN '无牌'
        ELSE plate END AS plate,
    vehicle_class, lane, round(speed_kmh, 1) AS speed_kmh
FROM arriving_passages
ORDER BY arrives_at, passage_id;

-- === accidents ===

CREATE VIEW made_accidents AS
SELECT
    'A' || lpad(CAST(n AS VARCHAR), 6, '0') AS accident_id, n, day_at >= 0 AS is_new,
    started_at() + CAST(CAST(round(day_at * 86400) AS BIGINT) || ' seconds' AS INTERVAL) AS occurred_at,
    CASE WHEN is_hot THEN 'G2' WHEN chance('road', 'a', n) < 0.4 THEN 'G1' WHEN chance('road', 'a', n) < 0.6 THEN 'G2'
        WHEN chance('road', 'a', n) < 0.8 THEN 'G3' ELSE 'S4' END AS road_id,
    CASE WHEN is_hot OR chance('direction', 'a', n) < 0.5 THEN 'up' ELSE 'down' END AS direction,
    CASE WHEN is_hot THEN 43000 + floor(chance('place', n) * 400)
        ELSE 5000 + floor(chance('place', n) * 90000) END AS chainage_m,
    CASE WHEN chance('severity', n) < 0.70 THEN 'damage' WHEN chance('severity', n) < 0.90 THEN 'slight'
        WHEN chance('severity', n) < 0.98 THEN 'serious' ELSE 'fatal' END AS severity
FROM (
    SELECT
        n, chance('hot', n) < 0.03 AS is_hot,
        CASE WHEN n <= days() * 10 THEN chance('day', n) * days() ELSE -1000 * chance('day', n) END AS day_at
    FROM (SELECT unnest(generate_series(1, days() * 10 + 300)) AS n) AS s
) AS a;

-- Some run into the tail of another, a quarter of an hour later and 800 metres before it.
CREATE VIEW all_accidents AS
SELECT accident_id, is_new, occurred_at, road_id, direction, chainage_m, severity FROM made_accidents
UNION ALL
SELECT
    accident_id || 'x', is_new, occurred_at + INTERVAL '15 minutes', road_id, direction,
    CASE direction WHEN 'up' THEN chainage_m - 800 ELSE chainage_m + 800 END, 'damage'
FROM made_accidents WHERE chance('tail', n) < 0.02;

CREATE VIEW registered_accidents AS
SELECT
    a.*, CASE severity WHEN 'fatal' THEN 1 END AS deaths,
    'T' || CAST(CAST(floor(chainage_m / 10000) AS INT) AS VARCHAR) AS township,
    116.0 + chainage_m / 100000 AS lon,
    CASE road_id WHEN 'G1' THEN 36.2 WHEN 'G2' THEN 36.5 WHEN 'G3' THEN 36.8 ELSE 37.1 END AS lat
FROM all_accidents AS a;

-- An injury that turns out worse two days later, and entries by mistake.
INSERT INTO accidents
SELECT accident_id, occurred_at, road_id, direction, chainage_m, lon, lat, severity, deaths, township, _tombstone
FROM (
    SELECT accident_id, occurred_at, road_id, direction, chainage_m, lon, lat, severity, deaths, township,
        CAST(NULL AS BOOLEAN) AS _tombstone, occurred_at AS arrives_at
    FROM registered_accidents
    UNION ALL
    SELECT accident_id, occurred_at, road_id, direction, chainage_m, lon, lat, 'serious', NULL, township, NULL,
        occurred_at + INTERVAL '2 days'
    FROM registered_accidents WHERE severity = 'slight' AND chance('worse', accident_id) < 0.05
    UNION ALL
    SELECT accident_id, occurred_at, road_id, direction, chainage_m, lon, lat, severity, deaths, township, true,
        occurred_at + INTERVAL '1 hour'
    FROM registered_accidents WHERE chance('mistake', accident_id) < 0.01
) AS a
ORDER BY arrives_at, accident_id;
