-- Pushes of ten objects each: a few devices, most riders with a helmet, some flags, some times that no clock shows.

CREATE TABLE seen AS
SELECT i, i / 10 AS push, started_at() + CAST(CAST(floor(chance('t', i) * days() * 86400) AS BIGINT) || ' seconds' AS INTERVAL) AS seen_at
FROM (SELECT unnest(generate_series(1, people() * 5)) AS i) AS s;

INSERT INTO viid_pushes
SELECT named_struct('NonMotorVehicleObject', array_agg(named_struct(
    'NonMotorVehicleID', 'V' || i,
    'DeviceID', '3305220000132000' || lpad(CAST(CAST(floor(chance('d', i) * 110) AS BIGINT) AS VARCHAR), 4, '0'),
    'AppearTime', CASE WHEN chance('bad', i) < 0.01 THEN '20230229120000' ELSE to_char(seen_at, '%Y%m%d%H%M%S') END,
    'MarkTime', '',
    'HasPlate', CASE WHEN chance('plate', i) < 0.05 THEN '0' ELSE '1' END,
    'PlateNo', 'ZJE' || lpad(CAST(CAST(floor(people() * power(chance('p', i), 3)) AS BIGINT) AS VARCHAR), 5, '0'),
    'IsDecked', CASE WHEN chance('decked', i) < 0.005 THEN '1' ELSE '0' END,
    'IsAltered', '0',
    'IsCovered', CASE WHEN chance('covered', i) < 0.02 THEN '1' ELSE '0' END,
    'PlateReliability', CAST(CAST(round(chance('r', i) * 100) AS BIGINT) AS VARCHAR),
    'Similaritydegree', CAST(round(0.5 + chance('s', i) / 2, 2) AS VARCHAR),
    'VehicleType', 'ebike',
    'VehicleBrand', '',
    'VehicleColor', '',
    'Helmet', CASE WHEN chance('helmet', i) < 0.2 THEN '0' ELSE '1' END,
    'Riders', CASE WHEN chance('riders', i) < 0.05 THEN '2' ELSE '1' END
) ORDER BY i)) AS "NonMotorVehicleListObject"
FROM seen
GROUP BY push
ORDER BY push;
