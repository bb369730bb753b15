-- Purpose:  turns pushed objects into what the safe-riding pack reads: a passage for each, and a capture for each violation.
-- Inputs:   viid_pushes.
-- Outputs:  sinks captures and passages (append; keyed as the tables and streams of safe-riding expect them), viid_refusals (append;
--           object_id, device_id, reason). Consumers: the safe-riding pack; whoever looks after the platform.
-- Rules:    a time is fourteen digits, local, of a day that exists. A degree above 1 is one of 100. A flag is 1. A vehicle without a
--           plate, or with an empty one, has none. Two violations of one ride are two captures, which safe-riding counts as one ride.

CREATE VIEW pushed_objects AS
SELECT unnest("NonMotorVehicleListObject"['NonMotorVehicleObject']) AS o FROM viid_pushes;

CREATE VIEW read_objects AS
SELECT
    nullif(trim(o['NonMotorVehicleID']), '') AS object_id,
    nullif(trim(o['DeviceID']), '') AS device_id,
    coalesce(nullif(trim(o['AppearTime']), ''), nullif(trim(o['MarkTime']), '')) AS time_text,
    CASE WHEN o['HasPlate'] = '0' THEN NULL ELSE nullif(trim(o['PlateNo']), '') END AS plate,
    coalesce(o['IsDecked'] = '1', false) AS is_decked,
    coalesce(o['IsAltered'] = '1', false) AS is_altered,
    coalesce(o['IsCovered'] = '1', false) AS is_covered,
    CAST(o['PlateReliability'] AS DOUBLE) AS plate_degree,
    CAST(o['Similaritydegree'] AS DOUBLE) AS match_degree,
    nullif(o['VehicleType'], '') AS vehicle_type,
    nullif(o['VehicleBrand'], '') AS vehicle_brand,
    nullif(o['VehicleColor'], '') AS vehicle_color,
    o['Helmet'] AS helmet,
    CAST(o['Riders'] AS INT) AS riders
FROM pushed_objects;

CREATE VIEW timed_objects AS
SELECT
    *,
    -- A day or an hour that does not exist has no instant.
    CASE WHEN time_text ~ '^[0-9]{14}$' THEN CAST(
        substr(time_text, 1, 4) || '-' || substr(time_text, 5, 2) || '-' || substr(time_text, 7, 2) || ' '
        || substr(time_text, 9, 2) || ':' || substr(time_text, 11, 2) || ':' || substr(time_text, 13, 2)
        AS TIMESTAMP WITH TIME ZONE) END AS captured_at
FROM read_objects;

CREATE VIEW judged_objects AS
SELECT
    *,
    CASE
        WHEN object_id IS NULL THEN 'no_id'
        WHEN device_id IS NULL THEN 'no_device'
        WHEN captured_at IS NULL THEN 'time_unreadable'
    END AS reason,
    CASE WHEN match_degree > 1 THEN match_degree / 100 ELSE match_degree END AS match_score,
    CASE WHEN plate_degree > 1 THEN plate_degree / 100 ELSE plate_degree END AS plate_reliability
FROM timed_objects;

CREATE SINK viid_refusals WITH (topic = 'viid-refusals', format = 'json') AS
SELECT object_id, device_id, reason FROM judged_objects WHERE reason IS NOT NULL;

CREATE SINK passages WITH (topic = 'passages', format = 'json', key = 'passage_id') AS
SELECT
    object_id AS passage_id, device_id, captured_at AS passed_at,
    CASE helmet WHEN '1' THEN true WHEN '0' THEN false END AS helmet
FROM judged_objects
WHERE reason IS NULL;

CREATE VIEW violations AS
SELECT object_id AS capture_id, 'no_helmet' AS violation, * FROM judged_objects WHERE reason IS NULL AND helmet = '0'
UNION ALL
SELECT object_id || '-p' AS capture_id, 'illegal_passenger' AS violation, * FROM judged_objects WHERE reason IS NULL AND riders >= 2;

CREATE SINK captures WITH (topic = 'captures', format = 'json', key = 'capture_id') AS
SELECT
    capture_id, device_id, captured_at, violation, plate, match_score,
    is_decked, is_altered, is_covered, plate_reliability, vehicle_type, vehicle_brand, vehicle_color
FROM violations;
