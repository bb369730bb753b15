-- Purpose:    devices that have gone silent, and for how long each was alive. (Devices that give too much: device_bursts of
--             doubtful-captures.sql.)
-- Inputs:     heartbeats, devices, device_sites, device_policy.
-- Outputs:    sinks silent_devices (upsert by device_id; a tombstone when the device is heard again) and device_hours (append; a
--             final row a device and day). Consumers: maintenance of the devices; whoever sets captures against device-hours.
-- Rules:      a device is awaited from its first heartbeat, or from the beginning of its site, where one is known; one that is
--             out of service at the instant at which it would be silent is not.
-- Thresholds: device_policy.silent_minutes at the last sign of life; 30 where no row is in force.
-- Limits:     heartbeats arrive at most a minute late. When all devices are silent, the wall clock tells the time.

CREATE VIEW signs_of_life AS
SELECT device_id, max(alive_at) AS seen_at
FROM (
    SELECT device_id, last_beat_at AS alive_at
    FROM (SELECT device_id, max(beat_at) AS last_beat_at FROM heartbeats GROUP BY device_id) AS beats
    UNION ALL
    SELECT device_id, valid_from FROM device_sites WHERE coalesce(active, true)
) AS signs
GROUP BY device_id;

CREATE VIEW awaited_signs AS
SELECT
    s.device_id, s.seen_at,
    s.seen_at + CAST(CAST(coalesce(p.silent_minutes, 30) AS VARCHAR) || ' minutes' AS INTERVAL) AS silent_from
FROM signs_of_life AS s
LEFT JOIN device_policy FOR SYSTEM_TIME AS OF s.seen_at AS p ON TRUE;

CREATE TABLE awaited_devices (PRIMARY KEY (device_id)) AS
SELECT a.device_id, a.seen_at, a.silent_from
FROM awaited_signs AS a
LEFT JOIN device_sites FOR SYSTEM_TIME AS OF a.silent_from AS s ON s.device_id = a.device_id
WHERE coalesce(s.active, true);

CREATE TABLE silences (PRIMARY KEY (device_id)) AS
SELECT a.device_id, a.seen_at, a.silent_from, coalesce(d.town, 'unknown') AS town
FROM PASSED(awaited_devices, silent_from) AS a
LEFT JOIN devices AS d ON d.device_id = a.device_id;

CREATE SINK silent_devices WITH (topic = 'silent-devices', format = 'json') AS
SELECT device_id, town, seen_at, silent_from FROM silences;

-- An hour counts if there was a heartbeat in it.
CREATE SINK device_hours WITH (topic = 'device-hours', format = 'json', key = 'device_id') AS
SELECT window_start, window_end, device_id, count(DISTINCT date_trunc('hour', beat_at)) AS hours
FROM heartbeats
GROUP BY tumble(beat_at, INTERVAL '1 day'), device_id
EMIT FINAL;
