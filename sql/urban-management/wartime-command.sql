-- Purpose:    rules that are stricter, and speak to the command post, while an order of wartime mode is in force.
-- Inputs:     command_modes, command_thresholds, monitor_events, alert_acknowledgements.
-- Outputs:    sink mode_switches (append): every order, and every change or withdrawal of one, with its revision: the
--             audit.
--             sink mode_reviews (upsert by mode_id): orders that have no effect, with the reason.
--             sinks linkage_alerts (in peace) and wartime_alerts (restricted; in wartime) (append; partition key town):
--             issued, and withdrawn when event or order is taken back or turns out otherwise. Consumers: the linkage
--             command platform, the command post.
--             sink alert_escalations (upsert by alert_id): alerts that nobody took in time.
-- Rules:      an order has effect if somebody is named who gave it (else no_commander), it ends after it begins (empty),
--             and it lasts at most days_max (too_long). An event is judged in wartime mode if at its instant an order for
--             its town, or for all towns, is in force. It is an alert from severity_min on. Several reports of one incident
--             and town in a mode and calendar month are one alert, that of the first; its severity is the greatest.
-- Thresholds: command_thresholds of the mode at the instant (of an order: at its beginning). Where none is in force: in
--             peace severity 4, 30 minutes, a patrol in 24 hours; in wartime 2, 5, 4; 30 days. duty-patrols.sql takes
--             patrol_hours from here.
-- Limits:     an order may be given afterwards, or corrected: what it decides is judged again.

CREATE VIEW judged_modes AS
SELECT
    m.mode_id, m.town, m.event_name, m.starts_at, m.ends_at, m.ordered_by,
    CASE
        WHEN coalesce(unicode_trim(m.ordered_by), '') = '' THEN 'no_commander'
        WHEN m.ends_at <= m.starts_at THEN 'empty'
        WHEN m.ends_at > add_days(m.starts_at, coalesce(t.days_max, 30)) THEN 'too_long'
    END AS reason
FROM (SELECT *, 'wartime' AS mode FROM command_modes) AS m
LEFT JOIN command_thresholds FOR SYSTEM_TIME AS OF m.starts_at AS t ON t.mode = m.mode;

CREATE TABLE doubtful_modes (PRIMARY KEY (mode_id)) AS
SELECT mode_id, town, ordered_by, reason FROM judged_modes WHERE reason IS NOT NULL;

CREATE SINK mode_reviews WITH (topic = 'mode-reviews', format = 'json') AS
SELECT mode_id, town, ordered_by, reason FROM doubtful_modes;

CREATE SINK mode_switches WITH (topic = 'mode-switches', format = 'json', key = 'town') AS
SELECT
    coalesce(after.mode_id, before.mode_id) AS mode_id,
    coalesce(after.town, before.town) AS town,
    coalesce(after.event_name, before.event_name) AS event_name,
    coalesce(after.starts_at, before.starts_at) AS starts_at,
    coalesce(after.ends_at, before.ends_at) AS ends_at,
    CASE WHEN after.mode_id IS NULL THEN before.ordered_by ELSE after.ordered_by END AS ordered_by,
    CASE WHEN after.mode_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(command_modes);

-- Orders may overlap. An instant is in wartime if any order that has begun lasts beyond it; each span runs from one beginning to
-- the next, and an instant meets one at most.
CREATE VIEW wartime_spans AS
SELECT town, starts_at, CASE WHEN next_starts_at < latest_ends_at THEN next_starts_at ELSE latest_ends_at END AS ends_at
FROM (
    SELECT town, starts_at, lead(starts_at) OVER begun AS next_starts_at, max(ends_at) OVER begun AS latest_ends_at
    FROM judged_modes
    WHERE reason IS NULL
    WINDOW begun AS (PARTITION BY town ORDER BY starts_at, mode_id)
) AS m;

-- === alerts ===

CREATE VIEW moded_events AS
SELECT
    e.event_id, e.event_kind, e.town, e.severity, e.occurred_at, e.lon, e.lat,
    coalesce('i/' || nullif(e.incident_id, ''), 'e/' || e.event_id) AS incident,
    CASE WHEN w.town IS NOT NULL OR a.town IS NOT NULL THEN 'wartime' ELSE 'peace' END AS mode
FROM (SELECT *, '*' AS everywhere FROM monitor_events) AS e
LEFT JOIN wartime_spans AS w ON w.town = e.town AND e.occurred_at >= w.starts_at AND e.occurred_at < w.ends_at
LEFT JOIN wartime_spans AS a ON a.town = e.everywhere AND e.occurred_at >= a.starts_at AND e.occurred_at < a.ends_at;

CREATE VIEW alerting_events AS
SELECT
    e.*,
    row_number() OVER (PARTITION BY e.mode, e.town, e.incident, e.month ORDER BY e.occurred_at, e.event_id) AS nth_report,
    max(e.severity) OVER (PARTITION BY e.mode, e.town, e.incident, e.month) AS greatest_severity
FROM (
    SELECT
        m.*, year_month(m.occurred_at) AS month,
        coalesce(t.severity_min, CASE WHEN m.mode = 'wartime' THEN 2 ELSE 4 END) AS severity_min,
        coalesce(t.ack_minutes, CASE WHEN m.mode = 'wartime' THEN 5 ELSE 30 END) AS ack_minutes
    FROM moded_events AS m
    LEFT JOIN command_thresholds FOR SYSTEM_TIME AS OF m.occurred_at AS t ON t.mode = m.mode
) AS e
WHERE e.severity >= e.severity_min;

CREATE TABLE standing_alerts (PRIMARY KEY (alert_id)) AS
SELECT
    mode || '/' || event_id AS alert_id, mode, event_id, event_kind, town, occurred_at, lon, lat,
    greatest_severity AS severity,
    occurred_at + ack_minutes * INTERVAL '1 minute' AS ack_due_at
FROM alerting_events
WHERE nth_report = 1;

CREATE SINK linkage_alerts WITH (topic = 'linkage-alerts', format = 'json', key = 'town', count_by = 'event_kind') AS
SELECT
    coalesce(after.alert_id, before.alert_id) AS alert_id,
    coalesce(after.event_kind, before.event_kind) AS event_kind,
    coalesce(after.town, before.town) AS town,
    coalesce(after.severity, before.severity) AS severity,
    coalesce(after.occurred_at, before.occurred_at) AS occurred_at,
    coalesce(after.lon, before.lon) AS lon,
    coalesce(after.lat, before.lat) AS lat,
    coalesce(after.ack_due_at, before.ack_due_at) AS ack_due_at,
    CASE WHEN after.alert_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(standing_alerts)
WHERE coalesce(after.mode, before.mode) = 'peace';

CREATE SINK wartime_alerts WITH (topic = 'wartime-alerts', format = 'json', key = 'town', count_by = 'event_kind') AS
SELECT
    coalesce(after.alert_id, before.alert_id) AS alert_id,
    coalesce(after.event_kind, before.event_kind) AS event_kind,
    coalesce(after.town, before.town) AS town,
    coalesce(after.severity, before.severity) AS severity,
    coalesce(after.occurred_at, before.occurred_at) AS occurred_at,
    coalesce(after.lon, before.lon) AS lon,
    coalesce(after.lat, before.lat) AS lat,
    coalesce(after.ack_due_at, before.ack_due_at) AS ack_due_at,
    CASE WHEN after.alert_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(standing_alerts)
WHERE coalesce(after.mode, before.mode) = 'wartime';

CREATE TABLE unanswered_alerts (PRIMARY KEY (alert_id)) AS
SELECT a.alert_id, a.mode, a.event_kind, a.town, a.severity, a.ack_due_at, k.acknowledged_at
FROM standing_alerts AS a
LEFT JOIN alert_acknowledgements AS k ON k.alert_id = a.alert_id
WHERE k.acknowledged_at IS NULL OR k.acknowledged_at > a.ack_due_at;

CREATE SINK alert_escalations WITH (topic = 'alert-escalations', format = 'json') AS
SELECT alert_id, mode, event_kind, town, severity, ack_due_at, acknowledged_at AS acknowledged_late_at
FROM PASSED(unanswered_alerts, ack_due_at);
