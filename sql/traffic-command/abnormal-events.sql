-- Purpose:    what happens on a motorway and must not: accidents, people on foot, stopped vehicles. What several cameras see of
--             one event is one pop-up at the duty desk, located to the metre, acknowledged in time or escalated.
-- Inputs:     detections, devices, road_segments, event_handling, event_policy.
-- Outputs:    sinks abnormal_events (append; pop-ups with revision, withdrawn when it was a false alarm or when nothing remains
--             of it), abnormal_event_escalations (append; not acknowledged in time, to the leader on duty), detection_reviews
--             (upsert; detections that cannot be used, and why), camera_precision (upsert by camera and month),
--             abnormal_event_months (upsert by road, class and month, beside the same month of the year before). Consumers:
--             duty desk and command centre; maintenance of cameras.
-- Rules:      detections of one class, road and direction belong to one event while each follows another within gap_s and lies
--             within gap_m of another. A pedestrian or a stopped vehicle within the reach of an accident, first seen no more
--             than lead_s before it and gap_s after it, is part of it: no pop-up of its own, and not counted. The id of an
--             event is that of its first detection. The latest verdict of the desk counts; a false alarm takes the pop-up back
--             and counts for the camera's precision only.
-- Thresholds: event_policy of the class at the instant of a detection; where none is in force: confidence 0.7, 600 seconds, 300
--             metres, 60 seconds of lead, 60 seconds to acknowledge, cameras judged from 10 pop-ups a month at a precision of
--             0.8.
-- Limits:     an event that lasts over the end of a month is one of each month.

CREATE VIEW assessed_detections AS
SELECT
    d.detection_id, d.device_id, d.detected_at, d.event_class, v.road_id, v.direction,
    v.chainage_m + coalesce(d.offset_m, 0) AS chainage_m,
    s.segment_id, s.brigade_id,
    coalesce(p.gap_s, 600) AS gap_s,
    coalesce(p.gap_m, 300) AS gap_m,
    coalesce(p.lead_s, 60) AS lead_s,
    coalesce(p.acknowledge_s, 60) AS acknowledge_s,
    coalesce(p.judged_min, 10) AS judged_min,
    coalesce(p.precision_min, 0.8) AS precision_min,
    CASE
        WHEN v.device_id IS NULL THEN 'unknown_device'
        WHEN s.segment_id IS NULL THEN 'off_road'
        WHEN d.confidence < coalesce(p.confidence_min, 0.7) THEN 'low_confidence'
    END AS reason
FROM detections AS d
LEFT JOIN devices AS v ON v.device_id = d.device_id
LEFT JOIN road_segments AS s
    ON s.road_id = v.road_id AND s.direction = v.direction
    AND v.chainage_m + coalesce(d.offset_m, 0) >= s.from_m AND v.chainage_m + coalesce(d.offset_m, 0) < s.to_m
LEFT JOIN event_policy FOR SYSTEM_TIME AS OF d.detected_at AS p ON p.event_class = d.event_class;

CREATE TABLE detections_under_review (PRIMARY KEY (detection_id)) AS
SELECT detection_id, device_id, detected_at, event_class, reason FROM assessed_detections WHERE reason IS NOT NULL;

CREATE SINK detection_reviews WITH (topic = 'detection-reviews', format = 'json') AS
SELECT detection_id, device_id, detected_at, event_class, reason FROM detections_under_review;

-- First apart in time, then, among what is close in time, apart in place, then in time again: two detections within both
-- gaps are never parted.
CREATE VIEW timed_detections AS
SELECT *, sum(begins) OVER (PARTITION BY month, road_id, direction, event_class ORDER BY detected_at, detection_id) AS span
FROM (
    SELECT
        *,
        CASE WHEN elapsed_ms(lag(detected_at) OVER in_time, detected_at) <= gap_s * 1000 THEN 0 ELSE 1 END AS begins
    FROM (SELECT *, year_month(detected_at) AS month FROM assessed_detections WHERE reason IS NULL) AS a
    WINDOW in_time AS (PARTITION BY month, road_id, direction, event_class ORDER BY detected_at, detection_id)
) AS d;

CREATE VIEW placed_detections AS
SELECT
    *,
    sum(parts) OVER (PARTITION BY month, road_id, direction, event_class, span ORDER BY chainage_m, detection_id) AS place
FROM (
    SELECT *, CASE WHEN chainage_m - lag(chainage_m) OVER along <= gap_m THEN 0 ELSE 1 END AS parts
    FROM timed_detections
    WINDOW along AS (PARTITION BY month, road_id, direction, event_class, span ORDER BY chainage_m, detection_id)
) AS d;

CREATE VIEW clustered_detections AS
SELECT
    *,
    sum(again) OVER (
        PARTITION BY month, road_id, direction, event_class, span, place ORDER BY detected_at, detection_id
    ) AS part
FROM (
    SELECT *, CASE WHEN elapsed_ms(lag(detected_at) OVER in_time, detected_at) <= gap_s * 1000 THEN 0 ELSE 1 END AS again
    FROM placed_detections
    WINDOW in_time AS (PARTITION BY month, road_id, direction, event_class, span, place ORDER BY detected_at, detection_id)
) AS d;

CREATE VIEW identified_detections AS
SELECT
    *,
    first_value(detection_id) OVER (
        PARTITION BY month, road_id, direction, event_class, span, place, part ORDER BY detected_at, detection_id
    ) AS event_id
FROM clustered_detections;

CREATE VIEW clusters AS
SELECT
    event_id, month, road_id, direction, event_class,
    min(detected_at) AS first_at,
    max(detected_at) AS last_at,
    min(chainage_m) AS from_m,
    max(chainage_m) AS to_m,
    first_value(segment_id ORDER BY detected_at, detection_id) AS segment_id,
    first_value(brigade_id ORDER BY detected_at, detection_id) AS brigade_id,
    first_value(chainage_m ORDER BY detected_at, detection_id) AS chainage_m,
    first_value(acknowledge_s ORDER BY detected_at, detection_id) AS acknowledge_s,
    min(gap_s) AS gap_s,
    min(gap_m) AS gap_m,
    min(lead_s) AS lead_s,
    count(DISTINCT device_id) AS cameras,
    array_agg(detection_id ORDER BY detected_at, detection_id) AS evidence
FROM identified_detections
GROUP BY event_id, month, road_id, direction, event_class;

CREATE VIEW separate_events AS
SELECT c.*
FROM clusters AS c
WHERE NOT EXISTS (
    SELECT 1 FROM clusters AS a
    WHERE a.month = c.month AND a.road_id = c.road_id AND a.direction = c.direction
        AND a.event_class = 'accident' AND c.event_class IN ('pedestrian', 'stopped_vehicle')
        AND elapsed_ms(c.first_at, a.first_at) <= a.lead_s * 1000 AND elapsed_ms(a.last_at, c.first_at) <= a.gap_s * 1000
        AND c.to_m >= a.from_m - a.gap_m AND c.from_m <= a.to_m + a.gap_m
);

-- What the desk said of any detection of an event was said of the event.
CREATE VIEW handled_events AS
SELECT
    i.event_id, i.month,
    min(h.handled_at) AS acknowledged_at,
    last_value(h.step ORDER BY h.handled_at, h.handling_id) FILTER (WHERE h.step IN ('confirmed', 'false_alarm')) AS verdict
FROM identified_detections AS i
JOIN event_handling AS h ON h.detection_id = i.detection_id
GROUP BY i.event_id, i.month;

CREATE VIEW judged_events AS
SELECT e.*, h.acknowledged_at, h.verdict
FROM separate_events AS e
LEFT JOIN handled_events AS h ON h.event_id = e.event_id AND h.month = e.month;

CREATE TABLE standing_events (PRIMARY KEY (event_id)) AS
SELECT
    event_id, event_class, road_id, direction,
    'K' || CAST(chainage_bin(chainage_m, 1000) / 1000 AS VARCHAR) || '+'
        || lpad(CAST(chainage_bin(chainage_m, 1) % 1000 AS VARCHAR), 3, '0') AS stake,
    segment_id, brigade_id, first_at, cameras, evidence
FROM judged_events
WHERE verdict IS DISTINCT FROM 'false_alarm';

CREATE SINK abnormal_events WITH (
    topic = 'abnormal-events', format = 'json', key = 'event_id', count_by = 'event_class', emit_time = 'first_at'
) AS
SELECT
    coalesce(after.event_id, before.event_id) AS event_id,
    coalesce(after.event_class, before.event_class) AS event_class,
    coalesce(after.road_id, before.road_id) AS road_id,
    coalesce(after.direction, before.direction) AS direction,
    coalesce(after.stake, before.stake) AS stake,
    coalesce(after.segment_id, before.segment_id) AS segment_id,
    coalesce(after.brigade_id, before.brigade_id) AS brigade_id,
    coalesce(after.first_at, before.first_at) AS first_at,
    coalesce(after.cameras, before.cameras) AS cameras,
    coalesce(after.evidence, before.evidence) AS evidence,
    CASE WHEN after.event_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(standing_events);

-- === acknowledged in time ===

CREATE TABLE unacknowledged_events (PRIMARY KEY (event_id)) AS
SELECT event_id, event_class, segment_id, brigade_id, first_at, due_at
FROM (
    SELECT
        event_id, event_class, segment_id, brigade_id, first_at, acknowledged_at,
        first_at + acknowledge_s * INTERVAL '1 second' AS due_at
    FROM judged_events
) AS e
WHERE acknowledged_at IS NULL OR acknowledged_at > due_at;

CREATE TABLE overdue_acknowledgements (PRIMARY KEY (event_id)) AS
SELECT event_id, event_class, segment_id, brigade_id, first_at, due_at FROM PASSED(unacknowledged_events, due_at);

CREATE SINK abnormal_event_escalations WITH (
    topic = 'abnormal-event-escalations', format = 'json', key = 'event_id', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.event_id, before.event_id) AS event_id,
    coalesce(after.event_class, before.event_class) AS event_class,
    coalesce(after.segment_id, before.segment_id) AS segment_id,
    coalesce(after.brigade_id, before.brigade_id) AS brigade_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.event_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(overdue_acknowledgements);

-- === how far the cameras can be trusted, and what the months were like ===

-- A camera that took part in an event shares its verdict.
CREATE VIEW judged_cameras AS
SELECT DISTINCT i.month, i.device_id, i.event_id, h.verdict, i.judged_min, i.precision_min
FROM identified_detections AS i
JOIN handled_events AS h ON h.event_id = i.event_id AND h.month = i.month
WHERE h.verdict IS NOT NULL;

CREATE TABLE camera_months (PRIMARY KEY (month, device_id)) AS
SELECT
    month, device_id,
    count(DISTINCT CASE WHEN verdict = 'confirmed' THEN event_id END) AS confirmed,
    count(DISTINCT event_id) AS judged,
    max(judged_min) AS judged_min,
    max(precision_min) AS precision_min
FROM judged_cameras
GROUP BY month, device_id;

CREATE SINK camera_precision WITH (topic = 'camera-precision', format = 'json') AS
SELECT
    month, device_id, confirmed, judged,
    CASE WHEN judged >= judged_min THEN CAST(confirmed AS DOUBLE) / judged END AS "precision",
    judged >= judged_min AND CAST(confirmed AS DOUBLE) / judged < precision_min AS needs_maintenance
FROM camera_months;

CREATE TABLE event_months (PRIMARY KEY (month, road_id, event_class)) AS
SELECT
    month, road_id, event_class,
    count(*) AS events,
    sum(CASE WHEN verdict = 'confirmed' THEN 1 ELSE 0 END) AS confirmed
FROM judged_events
WHERE verdict IS DISTINCT FROM 'false_alarm'
GROUP BY month, road_id, event_class;

CREATE VIEW event_months_and_before AS
SELECT
    m.month, m.road_id, m.event_class, m.events, m.confirmed, y.events AS events_year_before,
    CAST(m.events AS DOUBLE) / y.events - 1 AS change_on_year
FROM event_months AS m
LEFT JOIN event_months AS y
    ON y.road_id = m.road_id AND y.event_class = m.event_class
    AND y.month = CAST(CAST(substr(m.month, 1, 4) AS INT) - 1 AS VARCHAR) || substr(m.month, 5);

CREATE SINK abnormal_event_months WITH (topic = 'abnormal-event-months', format = 'json') AS
SELECT month, road_id, event_class, events, confirmed, events_year_before, change_on_year FROM event_months_and_before;
