-- Purpose:    finds who drives although banned for life.
-- Inputs:     driver_captures, lifetime_bans, intercept_policy.
-- Outputs:    banned_sightings, read by watch-list-intercepts.sql; sink ban_reviews (append), for people who compare the pictures.
-- Rules:      the ban must be in force when the driver was seen. A face alone proves nothing: what is sure enough is an order to stop
--             and check who drives, what is not is looked at by people. Alerts carry the pseudonym, never a name.
-- Thresholds: intercept_policy.match_score_min at the time of the capture; 0.8 where none is in force. A capture without a score is
--             not sure enough.

CREATE VIEW banned_captures AS
SELECT
    c.capture_id, c.captured_at, c.device_id, plate_normalize(c.plate) AS plate, c.driver_id, c.match_score,
    'lifetime_ban/' || c.driver_id AS entry_id,
    'lifetime_ban' AS reason,
    coalesce(c.match_score >= coalesce(p.match_score_min, 0.8), false) AS is_sure
FROM driver_captures AS c
JOIN lifetime_bans AS b ON b.driver_id = c.driver_id
LEFT JOIN intercept_policy FOR SYSTEM_TIME AS OF c.captured_at AS p ON TRUE
WHERE c.captured_at >= b.banned_from AND (b.lifted_from IS NULL OR c.captured_at < b.lifted_from);

CREATE VIEW banned_sightings AS
SELECT capture_id, captured_at, device_id, plate, entry_id, reason FROM banned_captures WHERE is_sure;

CREATE SINK ban_reviews WITH (topic = 'ban-reviews', format = 'json', key = 'driver_id') AS
SELECT capture_id, captured_at, device_id, driver_id, match_score FROM banned_captures WHERE NOT is_sure;
