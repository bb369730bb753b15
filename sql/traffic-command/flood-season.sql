-- Purpose:    roads that water endangers are controlled or closed, the public is told, and told again when it is over.
-- Inputs:     flood_readings, flood_sections, section_stations, flood_thresholds, control_approvals, flood_policy.
-- Outputs:    sink control_proposals (append; revision > 1 says that it is over), for the officer on duty; sink public_alerts (append; one
--             row a channel), CAP 1.2 messages for road signs, the network and media; sink silent_stations (upsert by station and
--             measure), for the office that keeps the station.
-- Rules:      a section is closed while any of its stations is at its closing value, controlled while any is at its control value. A station
--             stays there until it falls below the lower value of the pair, so that a level that trembles does not. A section's phase
--             lasts until its level changes; each phase is proposed by itself and needs an approval. Alert when it is approved,
--             Cancel when it is over. Approved after it was over, it is not told. A silent station changes nothing: it is
--             reported, since silence is not dryness.
-- Thresholds: flood_thresholds at the time of the reading; a station without any in force says nothing. flood_policy.silence_minutes
--             at the last reading, 30 where none is in force.
-- Limits:     a phase begins when the watermark has passed its reading, 10 seconds after it.

CREATE VIEW station_readings AS
SELECT r.reading_id, r.observed_at, s.section_id, r.station_id, r.measure, r.value
FROM flood_readings AS r
JOIN section_stations AS s ON s.station_id = r.station_id AND s.measure = r.measure;

CREATE VIEW judged_readings AS
SELECT
    r.reading_id, r.observed_at, r.section_id, r.station_id, r.measure,
    CASE WHEN r.value >= t.control_at THEN 1 WHEN r.value < t.clear_below THEN 0 END AS is_control,
    CASE WHEN r.value >= t.close_at THEN 1 WHEN r.value < t.reopen_below THEN 0 END AS is_close
FROM station_readings AS r
JOIN flood_thresholds FOR SYSTEM_TIME AS OF r.observed_at AS t
    ON t.section_id = r.section_id AND t.station_id = r.station_id AND t.measure = r.measure;

CREATE VIEW decisive_readings AS
SELECT reading_id, observed_at, section_id, station_id, measure, 'control' AS level, is_control AS is_on
FROM judged_readings WHERE is_control IS NOT NULL
UNION ALL
SELECT reading_id, observed_at, section_id, station_id, measure, 'close', is_close FROM judged_readings WHERE is_close IS NOT NULL;

-- Before its first reading a station is not on.
CREATE VIEW station_switches AS
SELECT reading_id, observed_at, section_id, station_id, measure, level, is_on
FROM (
    SELECT *, coalesce(lag(is_on) OVER (
        PARTITION BY section_id, station_id, measure, level ORDER BY observed_at, reading_id
    ), 0) AS was_on
    FROM decisive_readings
) AS d
WHERE is_on <> was_on;

-- One row an instant: stations that switch together change a section once.
CREATE TABLE section_switches (PRIMARY KEY (section_id, observed_at)) AS
SELECT
    section_id, observed_at,
    sum(CASE WHEN level = 'control' THEN 2 * is_on - 1 ELSE 0 END) AS control_stations,
    sum(CASE WHEN level = 'close' THEN 2 * is_on - 1 ELSE 0 END) AS close_stations
FROM station_switches
GROUP BY section_id, observed_at;

CREATE VIEW section_levels AS
SELECT
    section_id, observed_at,
    CASE
        WHEN sum(close_stations) OVER in_time > 0 THEN 'close'
        WHEN sum(control_stations) OVER in_time > 0 THEN 'control'
        ELSE 'none'
    END AS level
FROM section_switches
WINDOW in_time AS (PARTITION BY section_id ORDER BY observed_at);

CREATE VIEW level_changes AS
SELECT section_id, observed_at, level
FROM (
    SELECT *, coalesce(lag(level) OVER (PARTITION BY section_id ORDER BY observed_at), 'none') AS level_before FROM section_levels
) AS l
WHERE level <> level_before;

CREATE TABLE section_phases (PRIMARY KEY (section_id, since)) AS
SELECT section_id, since, level, over_at
FROM (
    SELECT
        section_id, observed_at AS since, level, lead(observed_at) OVER (PARTITION BY section_id ORDER BY observed_at) AS over_at
    FROM level_changes
) AS p
WHERE level <> 'none';

CREATE TABLE placed_phases (PRIMARY KEY (section_id, since)) AS
SELECT p.section_id, p.since, p.level, p.over_at, f.road_id, f.from_m, f.to_m, f.brigade_id, f.area, f.polygon
FROM section_phases AS p
JOIN flood_sections AS f ON f.section_id = p.section_id;

CREATE SINK control_proposals WITH (
    topic = 'control-proposals', format = 'json', key = 'brigade_id', count_by = 'level', emit_time = 'since'
) AS
SELECT
    coalesce(after.section_id, before.section_id) AS section_id,
    coalesce(after.since, before.since) AS since,
    coalesce(after.level, before.level) AS level,
    CASE WHEN after.section_id IS NULL THEN before.over_at ELSE after.over_at END AS over_at,
    coalesce(after.road_id, before.road_id) AS road_id,
    coalesce(after.from_m, before.from_m) AS from_m,
    coalesce(after.to_m, before.to_m) AS to_m,
    coalesce(after.brigade_id, before.brigade_id) AS brigade_id,
    CASE WHEN after.section_id IS NULL THEN 'withdrawn' WHEN after.over_at IS NULL THEN 'issued' ELSE 'over' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(placed_phases);

-- === the public ===

CREATE TABLE approved_phases (PRIMARY KEY (section_id, since)) AS
SELECT p.section_id, p.since, p.level, p.over_at, p.area, p.polygon, p.brigade_id, a.approved_at
FROM placed_phases AS p
JOIN control_approvals AS a ON a.section_id = p.section_id AND a.since = p.since AND a.level = p.level
WHERE p.over_at IS NULL OR a.approved_at < p.over_at;

-- What a message says was sent before it is in `before`: its revision is one less. A phase that begins and ends while nobody could
-- be told, as in an outage, is not told.
CREATE VIEW alert_messages AS
SELECT
    coalesce(after.section_id, before.section_id) || '/' || to_char(coalesce(after.since, before.since), '%Y-%m-%dT%H:%M:%S') AS alert_id,
    revision,
    coalesce(after.brigade_id, before.brigade_id) AS sender,
    CASE WHEN after.section_id IS NULL THEN before.approved_at ELSE coalesce(after.over_at, after.approved_at) END AS sent,
    before.approved_at AS sent_before,
    CASE
        WHEN after.section_id IS NULL OR after.over_at IS NOT NULL THEN 'Cancel'
        WHEN before.section_id IS NULL THEN 'Alert'
        ELSE 'Update'
    END AS message_type,
    coalesce(after.level, before.level) AS level,
    coalesce(after.since, before.since) AS since,
    coalesce(after.area, before.area) AS area,
    CASE WHEN after.section_id IS NULL THEN before.polygon ELSE after.polygon END AS polygon
FROM CHANGES(approved_phases)
WHERE (after.section_id IS NOT NULL AND after.over_at IS NULL) OR (before.section_id IS NOT NULL AND before.over_at IS NULL);

CREATE SINK public_alerts WITH (topic = 'public-alerts', format = 'json', key = 'identifier', count_by = 'channel') AS
SELECT
    channel,
    alert_id || '/' || CAST(revision AS VARCHAR) AS identifier,
    sender, sent,
    'Actual' AS status,
    message_type AS "msgType",
    'Public' AS scope,
    sender || ',' || alert_id || '/' || CAST(revision - 1 AS VARCHAR) || ',' || to_char(sent_before, '%Y-%m-%dT%H:%M:%S%:z') AS "references",
    named_struct(
        'category', 'Transport',
        'event', CASE level WHEN 'close' THEN 'road closed, flood' ELSE 'traffic control, flood' END,
        'urgency', CASE message_type WHEN 'Cancel' THEN 'Past' ELSE 'Immediate' END,
        'severity', CASE level WHEN 'close' THEN 'Severe' ELSE 'Moderate' END,
        'certainty', 'Observed',
        'effective', since
    ) AS info,
    named_struct('areaDesc', area, 'polygon', polygon) AS area
FROM (SELECT *, unnest(make_array('road_sign', 'network', 'media')) AS channel FROM alert_messages) AS m;

-- === stations ===

CREATE VIEW last_readings AS
SELECT station_id, measure, max(observed_at) AS observed_at FROM flood_readings GROUP BY station_id, measure;

CREATE TABLE awaited_readings (PRIMARY KEY (station_id, measure)) AS
SELECT
    r.station_id, r.measure, r.observed_at,
    r.observed_at + coalesce(p.silence_minutes, 30) * INTERVAL '1 minute' AS silent_at
FROM last_readings AS r
LEFT JOIN flood_policy FOR SYSTEM_TIME AS OF r.observed_at AS p ON TRUE;

CREATE SINK silent_stations WITH (topic = 'silent-stations', format = 'json') AS
SELECT station_id, measure, observed_at, silent_at FROM PASSED(awaited_readings, silent_at);
