-- Purpose:  which accidents count, where they lie, and why the others do not count.
-- Inputs:   accidents.
-- Outputs:  located_accidents; sink rejected_accidents (append; consumer: whoever keeps the register of accidents).
-- Rules:    an accident needs WGS84 coordinates other than (0, 0) and a severity that is known. Weights are those of the
--           equivalent number of accidents with property damage only: fatal 10, serious 5, slight 1.

CREATE VIEW judged_accidents AS
SELECT
    accident_id, occurred_at, lon, lat, severity,
    CASE
        WHEN lon IS NULL OR lat IS NULL THEN 'no_coordinates'
        WHEN lon = 0 AND lat = 0 THEN 'no_coordinates'
        WHEN lon < -180 OR lon > 180 OR lat < -90 OR lat > 90 THEN 'coordinates_out_of_range'
        WHEN severity IS NULL OR severity NOT IN ('fatal', 'serious', 'slight') THEN 'unknown_severity'
    END AS reason
FROM accidents;

CREATE VIEW located_accidents AS
SELECT
    accident_id, occurred_at, lon, lat, severity,
    h3_cell(lon, lat, 8) AS cell,
    CASE severity WHEN 'fatal' THEN 10 WHEN 'serious' THEN 5 ELSE 1 END AS weight
FROM judged_accidents
WHERE reason IS NULL;

CREATE SINK rejected_accidents WITH (topic = 'rejected-accidents', format = 'json', key = 'accident_id') AS
SELECT accident_id, reason FROM judged_accidents WHERE reason IS NOT NULL;
