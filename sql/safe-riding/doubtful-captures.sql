-- Purpose:    captures in doubt for their plate, device or clock are held back until an officer releases them, and count
--             nowhere until then. A hold comes before the reviews of reviews.sql, which follow once it is released.
-- Inputs:     captures, voids, hold_policy, disposal_policy, plate_registry, disputed_plates, device_sites, devices, appeals,
--             hold_releases.
-- Outputs:    held (what counted-captures.sql sets aside); sinks held_captures (upsert by capture_id; a tombstone once
--             released, voided or cleared), expired_captures (upsert; what nobody has released in time, and reviews that
--             nobody has done) and device_bursts (upsert; consumers: maintenance of the devices, the owner of the road).
-- Rules:      each hold is off while hold_policy, by the instant of the capture, does not turn it on. `holds` names all that
--             hold, `hold` the first of them:
--               flagged_plate     the device itself says decked, altered or covered
--               partial_plate     the plate, in one spelling, does not meet the pattern, or its characters are too unsure
--               vehicle_mismatch  type, brand or colour are not those of the registry
--               disputed_plate    the plate is on the list of disputed ones
--               face_only         the person was found by the face alone
--               inactive_device   the device was out of service
--               clock_ahead       the capture lies in the future of the platform that recorded it
--               clock_shift       several captures of the device and day are whole hours off
--               rule_change       thresholds or the device's site changed about then
--               clone_suspect     the plate was at another device, too far away for the time between; both are held
--               device_burst      the device gave more captures than can be true
--               upheld_dispute    a dispute about this plate at this device was upheld
--             A release counts if it was given within review_days; later the capture has expired.
-- Thresholds: hold_policy. Suggested: plate_reliability_min 0.8, clone_speed_kmh 120, clock_ahead_seconds 300,
--             clock_shift_captures 3, burst_per_10_minutes 30, burst_per_day 500, burst_peer_factor 10, upheld_dispute_days
--             180, change_grace_seconds 60, review_days 10.
-- Limits:     a capture without recorded_at comes from a platform that does not serve these checks, and is not looked into;
--             places of a plate are compared over two hours and within a month; captures without a plate are not held, but
--             count for the bursts of a device. A device that uploads late is told from one whose clock is wrong by the spread
--             of what is whole hours off.

-- What a hold policy is in force for, and the platform has recorded. A plate that says that none was read is a matter of
-- reviews.
CREATE VIEW captures_under_policy AS
SELECT
    c.capture_id, c.captured_at, c.plate, c.device_id, c.recorded_at,
    coalesce(c.is_decked, false) OR coalesce(c.is_altered, false) OR coalesce(c.is_covered, false) AS is_flagged,
    c.plate_reliability, c.matched_by, c.vehicle_type, c.vehicle_brand, c.vehicle_color,
    coalesce(plate_sentinel(c.plate), true) AS has_no_plate,
    h.hold_flagged_plates, h.plate_pattern, h.plate_reliability_min, h.hold_mismatches, h.hold_disputed_plates,
    h.hold_face_only, h.hold_inactive_devices,
    h.clone_speed_kmh, coalesce(h.clone_distance_min_m, 500) AS clone_distance_min_m,
    h.clock_ahead_seconds, h.clock_shift_captures, coalesce(h.clock_tolerance_seconds, 120) AS clock_tolerance_seconds,
    h.burst_per_10_minutes, h.burst_per_day, h.burst_peer_factor, coalesce(h.burst_peer_min, 20) AS burst_peer_min,
    h.upheld_dispute_days, h.change_grace_seconds, h.review_days
FROM (SELECT * FROM captures WHERE recorded_at IS NOT NULL) AS c
JOIN hold_policy FOR SYSTEM_TIME AS OF c.captured_at AS h ON TRUE;

CREATE VIEW captures_to_check AS
SELECT c.*
FROM captures_under_policy AS c
WHERE NOT EXISTS (SELECT 1 FROM voids AS v WHERE v.capture_id = c.capture_id);

-- === clocks ===

-- How many whole hours the platform's clock is ahead of the device's; null where that is not whole hours, or none.
CREATE VIEW clock_readings AS
SELECT
    capture_id, device_id, captured_at, local_date(captured_at) AS day, clock_shift_captures, clock_tolerance_seconds,
    round(CAST(elapsed_ms(captured_at, recorded_at) AS DOUBLE) / 3600000) AS hours_off
FROM captures_to_check
WHERE clock_shift_captures IS NOT NULL AND device_id IS NOT NULL
    AND abs(CAST(elapsed_ms(captured_at, recorded_at) AS DOUBLE)
        - 3600000 * round(CAST(elapsed_ms(captured_at, recorded_at) AS DOUBLE) / 3600000)) <= 1000 * clock_tolerance_seconds;

-- What is uploaded late in one go is whole hours off only for a moment of the captures' time; a wrong clock is all the time.
CREATE VIEW clock_shifts AS
SELECT device_id, day, hours_off, clock_shift_captures, clock_tolerance_seconds
FROM clock_readings
WHERE hours_off <> 0
GROUP BY device_id, day, hours_off, clock_shift_captures, clock_tolerance_seconds
HAVING count(*) >= clock_shift_captures
    AND elapsed_ms(min(captured_at), max(captured_at)) > 2000 * CAST(clock_tolerance_seconds AS BIGINT);

CREATE VIEW shifted_captures AS
SELECT r.capture_id
FROM clock_readings AS r
JOIN clock_shifts AS s
    ON s.device_id = r.device_id AND s.day = r.day AND s.hours_off = r.hours_off
    AND s.clock_shift_captures = r.clock_shift_captures AND s.clock_tolerance_seconds = r.clock_tolerance_seconds;

-- === devices that give too much ===

CREATE VIEW device_slots AS
SELECT device_id, date_bin(INTERVAL '10 minutes', captured_at) AS slot, burst_per_10_minutes, count(*) AS captures
FROM captures_to_check
WHERE burst_per_10_minutes IS NOT NULL AND device_id IS NOT NULL
GROUP BY device_id, date_bin(INTERVAL '10 minutes', captured_at), burst_per_10_minutes
HAVING count(*) > burst_per_10_minutes;

CREATE VIEW device_days AS
SELECT
    device_id, date_trunc('day', captured_at) AS day, burst_per_day, burst_peer_factor, burst_peer_min, count(*) AS captures
FROM captures_to_check
WHERE device_id IS NOT NULL AND (burst_per_day IS NOT NULL OR burst_peer_factor IS NOT NULL)
GROUP BY device_id, date_trunc('day', captured_at), burst_per_day, burst_peer_factor, burst_peer_min;

-- What a device usually gave on that day: the median of those that gave anything.
CREATE VIEW peer_days AS
SELECT day, median(CAST(captures AS DOUBLE)) AS typical FROM device_days GROUP BY day;

CREATE VIEW burst_days AS
SELECT d.device_id, d.day, d.captures, p.typical
FROM device_days AS d
JOIN peer_days AS p ON p.day = d.day
WHERE coalesce(d.captures > d.burst_per_day, false)
    OR coalesce(d.captures > d.burst_peer_factor * p.typical AND d.captures > d.burst_peer_min, false);

CREATE VIEW bursting_days AS SELECT DISTINCT device_id, day FROM burst_days;

CREATE VIEW bursting_slots AS SELECT DISTINCT device_id, slot FROM device_slots;

CREATE TABLE bursts (PRIMARY KEY (device_id, started_at, minutes)) AS
SELECT device_id, slot AS started_at, 10 AS minutes, max(captures) AS captures, CAST(NULL AS DOUBLE) AS typical
FROM device_slots
GROUP BY device_id, slot
UNION ALL
SELECT device_id, day, 1440, max(captures), max(typical)
FROM burst_days
GROUP BY device_id, day;

CREATE SINK device_bursts WITH (topic = 'device-bursts', format = 'json') AS
SELECT b.device_id, b.started_at, b.minutes, b.captures, b.typical, coalesce(d.town, 'unknown') AS town
FROM bursts AS b
LEFT JOIN devices AS d ON d.device_id = b.device_id;

-- === one plate in two places ===

CREATE VIEW placed_captures AS
SELECT
    c.capture_id, c.plate, year_month(c.captured_at) AS month, c.captured_at,
    coalesce(s.lon, d.lon) AS lon, coalesce(s.lat, d.lat) AS lat, c.clone_speed_kmh, c.clone_distance_min_m
FROM captures_to_check AS c
JOIN devices AS d ON d.device_id = c.device_id
LEFT JOIN device_sites FOR SYSTEM_TIME AS OF c.captured_at AS s ON s.device_id = c.device_id
WHERE NOT c.has_no_plate AND c.clone_speed_kmh IS NOT NULL;

CREATE VIEW near_in_time AS
SELECT
    capture_id, month, captured_at, lon, lat, clone_speed_kmh, clone_distance_min_m,
    array_agg(named_struct('at', captured_at, 'lon', lon, 'lat', lat, 'speed', clone_speed_kmh, 'apart', clone_distance_min_m))
        OVER (PARTITION BY plate, month ORDER BY captured_at
            RANGE BETWEEN INTERVAL '2 hours' PRECEDING AND INTERVAL '2 hours' FOLLOWING) AS others
FROM placed_captures
WHERE lon IS NOT NULL AND lat IS NOT NULL;

-- Of two policies the lower speed and the shorter distance hold, so that both captures of a pair are held or neither.
CREATE VIEW clone_suspects AS
SELECT DISTINCT capture_id, month
FROM (
    SELECT capture_id, month, captured_at, lon, lat, clone_speed_kmh, clone_distance_min_m, unnest(others) AS other
    FROM near_in_time
) AS pair
WHERE haversine_m(lon, lat, other['lon'], other['lat']) >= least(clone_distance_min_m, other['apart'])
    AND haversine_m(lon, lat, other['lon'], other['lat']) * 3600
        > least(clone_speed_kmh, other['speed']) * abs(elapsed_ms(captured_at, other['at']));

-- === lists ===

CREATE VIEW disputed_spans AS
SELECT plate, span_from, CASE WHEN next_from < latest_to THEN next_from ELSE latest_to END AS span_to
FROM (
    SELECT
        plate, valid_from AS span_from, lead(valid_from) OVER begun AS next_from,
        max(coalesce(valid_to, TIMESTAMP '2200-01-01T00:00:00Z')) OVER begun AS latest_to
    FROM disputed_plates
    WINDOW begun AS (PARTITION BY plate ORDER BY valid_from)
) AS d;

-- From one upheld dispute about a plate at a device to the next.
CREATE VIEW upheld_spans AS
SELECT
    device_id, plate, closed_at AS span_from,
    lead(closed_at) OVER (PARTITION BY device_id, plate ORDER BY closed_at, appeal_id) AS span_to
FROM appeals
WHERE outcome = 'upheld' AND closed_at IS NOT NULL AND device_id IS NOT NULL AND plate IS NOT NULL;

-- === all holds ===

CREATE VIEW compared_captures AS
SELECT
    c.capture_id, c.captured_at, c.device_id,
    add_days(c.captured_at, c.review_days) AS expires_at,
    l.released_at,
    make_array(
        CASE WHEN c.hold_flagged_plates AND c.is_flagged THEN 'flagged_plate' END,
        CASE WHEN c.plate_reliability < c.plate_reliability_min
            OR NOT regexp_like(coalesce(plate_normalize(c.plate), ''), c.plate_pattern) THEN 'partial_plate' END,
        CASE WHEN c.hold_mismatches AND (upper(c.vehicle_type) <> upper(r.vehicle_type)
            OR upper(c.vehicle_brand) <> upper(r.vehicle_brand)
            OR upper(c.vehicle_color) <> upper(r.vehicle_color)) THEN 'vehicle_mismatch' END,
        CASE WHEN c.hold_disputed_plates AND l1.plate IS NOT NULL THEN 'disputed_plate' END,
        CASE WHEN c.hold_face_only AND c.matched_by = 'face' THEN 'face_only' END,
        CASE WHEN c.hold_inactive_devices AND NOT d.active THEN 'inactive_device' END,
        CASE WHEN elapsed_ms(c.recorded_at, c.captured_at) > 1000 * CAST(c.clock_ahead_seconds AS BIGINT)
            THEN 'clock_ahead' END,
        CASE WHEN k.capture_id IS NOT NULL THEN 'clock_shift' END,
        CASE WHEN p1.effective_from IS DISTINCT FROM p2.effective_from
            OR d1.valid_from IS DISTINCT FROM d2.valid_from THEN 'rule_change' END,
        CASE WHEN q.capture_id IS NOT NULL THEN 'clone_suspect' END,
        CASE WHEN b1.device_id IS NOT NULL OR b2.device_id IS NOT NULL THEN 'device_burst' END,
        CASE WHEN c.captured_at <= add_days(u.span_from, c.upheld_dispute_days) THEN 'upheld_dispute' END
    ) AS found
FROM (
    SELECT
        *,
        captured_at - CAST(CAST(change_grace_seconds AS VARCHAR) || ' seconds' AS INTERVAL) AS before_change,
        captured_at + CAST(CAST(change_grace_seconds AS VARCHAR) || ' seconds' AS INTERVAL) AS after_change
    FROM captures_to_check
    WHERE NOT has_no_plate
) AS c
LEFT JOIN plate_registry FOR SYSTEM_TIME AS OF c.captured_at AS r ON r.plate = c.plate
LEFT JOIN disputed_spans AS l1 ON l1.plate = c.plate AND c.captured_at >= l1.span_from AND c.captured_at < l1.span_to
LEFT JOIN device_sites FOR SYSTEM_TIME AS OF c.captured_at AS d ON d.device_id = c.device_id
LEFT JOIN device_sites FOR SYSTEM_TIME AS OF c.before_change AS d1 ON d1.device_id = c.device_id
LEFT JOIN device_sites FOR SYSTEM_TIME AS OF c.after_change AS d2 ON d2.device_id = c.device_id
LEFT JOIN disposal_policy FOR SYSTEM_TIME AS OF c.before_change AS p1 ON TRUE
LEFT JOIN disposal_policy FOR SYSTEM_TIME AS OF c.after_change AS p2 ON TRUE
LEFT JOIN shifted_captures AS k ON k.capture_id = c.capture_id
LEFT JOIN clone_suspects AS q ON q.capture_id = c.capture_id
LEFT JOIN bursting_slots AS b1
    ON b1.device_id = c.device_id AND b1.slot = date_bin(INTERVAL '10 minutes', c.captured_at)
LEFT JOIN bursting_days AS b2 ON b2.device_id = c.device_id AND b2.day = date_trunc('day', c.captured_at)
LEFT JOIN upheld_spans AS u
    ON u.device_id = c.device_id AND u.plate = c.plate AND c.captured_at >= u.span_from
    AND (u.span_to IS NULL OR c.captured_at < u.span_to)
LEFT JOIN hold_releases AS l ON l.capture_id = c.capture_id;

CREATE VIEW doubtful_captures AS
SELECT capture_id, captured_at, device_id, expires_at, released_at, array_to_string(found, ',') AS holds
FROM compared_captures;

CREATE TABLE held (PRIMARY KEY (capture_id)) AS
SELECT
    capture_id, split_part(holds, ',', 1) AS hold, string_to_array(holds, ',') AS holds, device_id, captured_at, expires_at
FROM doubtful_captures
WHERE holds <> '' AND (released_at IS NULL OR released_at > expires_at);

CREATE SINK held_captures WITH (topic = 'held-captures', format = 'json', count_by = 'hold') AS
SELECT capture_id, hold, holds, device_id, captured_at, expires_at FROM held;

-- === what nobody has looked at in time ===

CREATE TABLE undecided (PRIMARY KEY (capture_id)) AS
SELECT capture_id, hold AS reason, expires_at FROM held WHERE expires_at IS NOT NULL
UNION ALL
SELECT r.capture_id, r.reason, add_days(c.captured_at, c.review_days)
FROM captures_under_review AS r
JOIN captures_to_check AS c ON c.capture_id = r.capture_id
WHERE c.review_days IS NOT NULL;

CREATE TABLE expired (PRIMARY KEY (capture_id)) AS
SELECT capture_id, reason, expires_at AS expired_at FROM PASSED(undecided, expires_at);

CREATE SINK expired_captures WITH (topic = 'expired-captures', format = 'json', count_by = 'reason') AS
SELECT capture_id, reason, expired_at FROM expired;
