-- Purpose:  the register of accidents of a city of people() and the country around it: two years before the first day, and days()
--           from it.
-- Rules:    about one accident a year for every 400 people, at crossroads of which a few have many (exponential) and most few, closer
--           together in the city; more in the rush hours. From the first day on there are roadworks at one crossroads, which has two a
--           week. One crash in 200 is reported three times within minutes; one record in 100 comes twice, one in 50 up to two days late,
--           a few have no position, or latitude and longitude changed, or a severity that nobody knows.

CREATE VIEW crossroads AS
SELECT
    i,
    116.30 + cos(chance('angle', i) * 6.283185307) * -ln(1.0 - chance('far', i)) * 0.06 AS lon,
    37.45 + sin(chance('angle', i) * 6.283185307) * -ln(1.0 - chance('far', i)) * 0.05 AS lat,
    -- Of one accident for 400 people and year, over two years and the days that follow.
    -ln(1.0 - chance('busy', i)) * (730 + days()) / 365.0 * 2.5 AS usual
FROM (SELECT unnest(generate_series(1, greatest(20, people() / 1000))) AS i) AS n;

CREATE TABLE crashes AS
SELECT
    'crash-' || lpad(CAST(i AS VARCHAR), 5, '0') || '-' || lpad(CAST(k AS VARCHAR), 3, '0') AS crash_id, i, k,
    lon + (chance('x', i, k) - 0.5) * 0.001 AS lon, lat + (chance('y', i, k) - 0.5) * 0.001 AS lat,
    add_days(started_at(), day) + CAST(CAST(hour * 3600 + CAST(floor(chance('second', i, k) * 3600) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL)
        AS occurred_at,
    CASE WHEN chance('severity', i, k) < 0.01 THEN 'fatal' WHEN chance('severity', i, k) < 0.28 THEN 'serious' ELSE 'slight' END AS severity
FROM (
    SELECT
        *,
        CAST(floor(chance('day', i, k) * (730 + days())) AS BIGINT) - 730 AS day,
        CASE
            WHEN chance('rush', i, k) < 0.22 THEN 7 WHEN chance('rush', i, k) < 0.5 THEN 17
            ELSE CAST(floor(chance('hour', i, k) * 24) AS BIGINT)
        END AS hour
    FROM (
        SELECT *, unnest(generate_series(1, CAST(floor(usual + chance('round', i)) AS BIGINT))) AS k
        FROM crossroads WHERE usual + chance('round', i) >= 1
    ) AS c
    UNION ALL
    SELECT i, lon, lat, usual, k, CAST(floor((k - 900) * 3.5) AS BIGINT) AS day, 7 + k % 12 AS hour
    FROM (
        SELECT i, lon, lat, usual, unnest(generate_series(900, 900 + CAST(floor((days() - 1) / 3.5) AS BIGINT))) AS k
        FROM crossroads WHERE i = 7
    ) AS r
) AS c;

CREATE TABLE reports AS
SELECT
    crash_id || CASE WHEN r = 1 THEN '' ELSE '-' || CAST(r AS VARCHAR) END AS accident_id,
    occurred_at + CAST(CAST((r - 1) * 90 AS VARCHAR) || ' seconds' AS INTERVAL) AS occurred_at,
    CASE WHEN chance('nowhere', crash_id) < 0.004 THEN 0.0 WHEN chance('nowhere', crash_id) < 0.007 THEN lat ELSE lon END AS lon,
    CASE WHEN chance('nowhere', crash_id) < 0.004 THEN 0.0 WHEN chance('nowhere', crash_id) < 0.007 THEN lon ELSE lat END AS lat,
    CASE WHEN chance('unknown', crash_id) < 0.003 THEN 'damage_only' ELSE severity END AS severity
FROM (
    SELECT *, unnest(generate_series(1, CASE WHEN chance('cameras', crash_id) < 0.005 THEN 3 ELSE 1 END)) AS r FROM crashes
) AS c;

INSERT INTO accidents
SELECT accident_id, occurred_at, lon, lat, severity
FROM (
    SELECT
        *,
        occurred_at + CAST(
            CAST(600 + CAST(floor(
                chance('delay', accident_id, copy) * CASE WHEN chance('late', accident_id) < 0.02 THEN 172800 ELSE 3600 END
            ) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS came_at
    FROM (
        SELECT *, unnest(generate_series(1, CASE WHEN chance('twice', accident_id) < 0.01 THEN 2 ELSE 1 END)) AS copy FROM reports
    ) AS r
) AS r
ORDER BY came_at, accident_id;
