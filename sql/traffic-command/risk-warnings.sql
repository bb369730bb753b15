-- Purpose:    warns a brigade an hour before a segment of its roads is likely to be dangerous, and says which segments are worth a
--             patrol.
-- Inputs:     accidents, standing_violations, road_segments, segment_weather, weather_factors, risk_policy, calendar.
-- Outputs:    sink risk_warnings (append; a row with revision > 1 updates the same warning) and sink patrol_recommendations
--             (upsert by brigade, hour and rank). Consumers: duty police, command centre.
-- Rules:      for each kind of event (accident, serious violation), segment and hour of the week, what was counted in the
--             complete months before is shrunk towards what is usual at that hour of the week for so many kilometres of road
--             (empirical Bayes), so that chance on a quiet segment does not lead. Weather multiplies it. A warning is due where
--             enough events were counted and the expectation is far enough above what is usual. Accidents and violations are
--             never added up: more enforcement is not more risk.
-- Thresholds: risk_policy at the beginning of the hour; where none is in force 12 months of history, 3 events, twice the usual,
--             60 minutes ahead, night from 20 to 6, action days by 5, 3 segments an hour for a brigade and 5 on action days and
--             in nights before a day off. weather_factors; 1 where the weather has no factor in force.
-- Limits:     a warning leaves when the watermark has come to it; records of the past months that arrive later revise it.

CREATE VIEW risk_events AS
SELECT 'accident' AS kind, occurred_at, road_id, direction, chainage_m, vehicle_class FROM accidents
UNION ALL
SELECT 'violation', occurred_at, road_id, direction, chainage_m, vehicle_class FROM standing_violations WHERE serious;

CREATE VIEW segment_lengths AS
SELECT segment_id, brigade_id, road_id, direction, from_m, to_m, (to_m - from_m) / 1000.0 AS length_km FROM road_segments;

-- The hour of the week runs from 0, Monday from 00:00 to 01:00, to 167.
CREATE VIEW segment_events AS
SELECT
    e.kind, s.segment_id, date_trunc('month', e.occurred_at) AS month,
    (date_part('isodow', e.occurred_at) - 1) * 24 + date_part('hour', e.occurred_at) AS week_hour, e.vehicle_class
FROM risk_events AS e
JOIN segment_lengths AS s
    ON s.road_id = e.road_id AND s.direction = e.direction AND e.chainage_m >= s.from_m AND e.chainage_m < s.to_m;

CREATE VIEW month_events AS
SELECT kind, segment_id, week_hour, month, vehicle_class, count(*) AS n
FROM segment_events
GROUP BY kind, segment_id, week_hour, month, vehicle_class;

-- === the months that are warned of, and the history behind each ===

CREATE VIEW calendar_days AS
SELECT
    day, working, CAST(day AS TIMESTAMP WITH TIME ZONE) AS day_start,
    date_trunc('month', CAST(day AS TIMESTAMP WITH TIME ZONE)) AS month, date_part('isodow', day) AS weekday
FROM calendar;

-- The history begins with the first month of which all is on record.
CREATE VIEW warned_months AS
SELECT
    m.month,
    greatest(
        add_months(m.month, -coalesce(p.history_months, 12)),
        coalesce(
            add_months(date_trunc('month', CAST(p.observed_from - INTERVAL '1 day' AS TIMESTAMP WITH TIME ZONE)), 1),
            add_months(m.month, -coalesce(p.history_months, 12))
        )
    ) AS history_from
FROM (SELECT month FROM calendar_days WHERE date_part('day', day) = 1) AS m
LEFT JOIN risk_policy FOR SYSTEM_TIME AS OF m.month AS p ON TRUE;

CREATE VIEW history_events AS
SELECT h.kind, h.segment_id, h.week_hour, h.vehicle_class, h.n, m.month, m.history_from
FROM month_events AS h
JOIN warned_months AS m ON h.month < m.month AND h.month >= m.history_from;

CREATE VIEW segment_history AS
SELECT
    h.kind, h.segment_id, h.week_hour, h.month, s.length_km, s.brigade_id, sum(h.n) AS n,
    min(elapsed_ms(h.history_from, h.month)) / 604800000.0 AS weeks
FROM history_events AS h
JOIN segment_lengths AS s ON s.segment_id = h.segment_id
GROUP BY h.kind, h.segment_id, h.week_hour, h.month, s.length_km, s.brigade_id;

-- The class of vehicles that a patrol should look at: the one with the most events of the kind on the segment.
CREATE VIEW focus_classes AS
SELECT kind, segment_id, month, vehicle_class
FROM (
    SELECT kind, segment_id, month, vehicle_class, sum(n) AS n
    FROM history_events
    WHERE vehicle_class IS NOT NULL
    GROUP BY kind, segment_id, month, vehicle_class
) AS c
QUALIFY row_number() OVER (PARTITION BY kind, segment_id, month ORDER BY n DESC, vehicle_class) = 1;

-- === what is usual: so many events per kilometre at this hour of the week, and how far segments differ ===

CREATE VIEW network AS
SELECT sum(length_km) AS length_km, sum(length_km * length_km) AS length_km2 FROM segment_lengths;

CREATE VIEW hour_totals AS
SELECT kind, week_hour, month, sum(n) AS n, sum(n * n) AS n2, sum(n * length_km) AS n_km
FROM segment_history
GROUP BY kind, week_hour, month;

-- Segments without an event are in the totals of the network, so they count as zeros. The dispersion is that of the method of
-- moments, with the expectation of a segment in proportion to its length.
CREATE VIEW usual_hours AS
SELECT
    kind, week_hour, month, per_km,
    greatest(0.0, (n2 - 2 * per_km * n_km + per_km * per_km * length_km2 - n) / (per_km * per_km * length_km2)) AS dispersion
FROM (
    SELECT t.kind, t.week_hour, t.month, t.n, t.n2, t.n_km, w.length_km2, t.n / w.length_km AS per_km
    FROM hour_totals AS t CROSS JOIN network AS w
) AS rates;

CREATE VIEW segment_risks AS
SELECT
    h.kind, h.segment_id, h.brigade_id, h.month, h.week_hour, h.n, h.weeks,
    u.per_km * h.length_km AS usual,
    eb_mean(h.n, u.per_km * h.length_km, u.dispersion) AS expected,
    poisson_sf(h.n - 1, u.per_km * h.length_km) AS p
FROM segment_history AS h
JOIN usual_hours AS u ON u.kind = h.kind AND u.week_hour = h.week_hour AND u.month = h.month;

-- === hours that are warned of ===

CREATE VIEW risky_hours AS
SELECT
    r.kind, r.segment_id, r.brigade_id, r.month, r.n, r.weeks, r.usual, r.expected, r.p, d.day, d.working,
    d.day_start + (r.week_hour % 24) * INTERVAL '1 hour' AS hour_start
FROM segment_risks AS r
JOIN calendar_days AS d ON d.month = r.month AND d.weekday = r.week_hour / 24 + 1;

-- The weather that is known of an hour is what was said last before its end; it must reach into the hour.
CREATE VIEW weathered_hours AS
SELECT
    h.*,
    CASE WHEN w.valid_until > h.hour_start THEN w.weather END AS weather,
    CASE WHEN w.valid_until > h.hour_start THEN coalesce(f.factor, 1.0) ELSE 1.0 END AS factor
FROM (SELECT *, hour_start + INTERVAL '59 minutes 59.999 seconds' AS hour_last FROM risky_hours) AS h
LEFT JOIN segment_weather FOR SYSTEM_TIME AS OF h.hour_last AS w ON w.segment_id = h.segment_id
LEFT JOIN weather_factors FOR SYSTEM_TIME AS OF h.hour_last AS f ON f.weather = w.weather;

CREATE TABLE planned_warnings (PRIMARY KEY (kind, segment_id, hour_start)) AS
SELECT
    h.kind, h.segment_id, h.brigade_id, h.hour_start, h.day, h.working, h.n, h.weeks, h.usual, h.expected, h.p, h.weather, h.factor,
    c.vehicle_class AS focus_class,
    coalesce(p.night_from, 20) AS night_from,
    coalesce(p.night_to, 6) AS night_to,
    coalesce(p.action_day_step, 5) AS action_day_step,
    coalesce(p.segments_per_hour, 3) AS segments_per_hour,
    coalesce(p.segments_per_action_hour, 5) AS segments_per_action_hour,
    h.hour_start - coalesce(p.lead_minutes, 60) * INTERVAL '1 minute' AS publish_at
FROM weathered_hours AS h
LEFT JOIN risk_policy FOR SYSTEM_TIME AS OF h.hour_start AS p ON TRUE
LEFT JOIN focus_classes AS c ON c.kind = h.kind AND c.segment_id = h.segment_id AND c.month = h.month
WHERE h.n >= coalesce(p.n_min, 3) AND h.expected * h.factor >= coalesce(p.ratio_min, 2.0) * h.usual;

CREATE TABLE due_warnings (PRIMARY KEY (kind, segment_id, hour_start)) AS
SELECT
    kind, segment_id, brigade_id, hour_start, n, usual, p, weather, focus_class,
    expected * factor AS expected,
    expected * factor / usual AS ratio,
    expected * factor / weeks AS expected_per_hour
FROM PASSED(planned_warnings, publish_at);

CREATE SINK risk_warnings WITH (
    topic = 'risk-warnings', format = 'json', key = 'brigade_id', count_by = 'kind', emit_time = 'hour_start'
) AS
SELECT
    coalesce(after.kind, before.kind) || '/' || coalesce(after.segment_id, before.segment_id) || '/'
        || to_char(coalesce(after.hour_start, before.hour_start), '%Y-%m-%dT%H') AS warning_id,
    coalesce(after.kind, before.kind) AS kind,
    coalesce(after.segment_id, before.segment_id) AS segment_id,
    coalesce(after.brigade_id, before.brigade_id) AS brigade_id,
    coalesce(after.hour_start, before.hour_start) AS hour_start,
    coalesce(after.n, before.n) AS n,
    coalesce(after.usual, before.usual) AS usual,
    coalesce(after.expected, before.expected) AS expected,
    coalesce(after.ratio, before.ratio) AS ratio,
    coalesce(after.expected_per_hour, before.expected_per_hour) AS expected_per_hour,
    coalesce(after.p, before.p) AS p,
    CASE WHEN after.kind IS NULL THEN before.weather ELSE after.weather END AS weather,
    CASE WHEN after.kind IS NULL THEN before.focus_class ELSE after.focus_class END AS focus_class,
    CASE WHEN after.kind IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(due_warnings);

-- === patrols ===

-- A night belongs to the day that it ends on, so that before midnight it is tomorrow that is worked or not.
CREATE VIEW mornings AS
SELECT d.day, d.working AS works_today, n.working AS works_tomorrow
FROM calendar AS d
LEFT JOIN calendar AS n ON n.day = d.day + INTERVAL '1 day';

CREATE VIEW patrol_hours AS
SELECT
    w.brigade_id, w.hour_start, w.segment_id, w.day, w.working,
    max(CASE WHEN w.kind = 'accident' THEN w.expected * w.factor / w.usual END) AS accident_ratio,
    max(CASE WHEN w.kind = 'violation' THEN w.expected * w.factor / w.usual END) AS violation_ratio,
    min(CASE WHEN w.kind = 'accident' THEN w.focus_class END) AS accident_focus_class,
    min(CASE WHEN w.kind = 'violation' THEN w.focus_class END) AS violation_focus_class,
    bool_or(date_part('hour', w.hour_start) >= w.night_from) AS is_evening,
    bool_or(date_part('hour', w.hour_start) < w.night_to) AS is_early,
    bool_or(date_part('day', w.day) % w.action_day_step = 0) AS is_action_day,
    max(w.segments_per_hour) AS segments_per_hour,
    max(w.segments_per_action_hour) AS segments_per_action_hour
FROM PASSED(planned_warnings, publish_at) AS w
GROUP BY w.brigade_id, w.hour_start, w.segment_id, w.day, w.working;

CREATE VIEW ranked_patrols AS
SELECT
    p.*, NOT p.working AS is_rest_day, p.is_evening OR p.is_early AS is_night,
    CASE WHEN p.is_early THEN NOT m.works_today WHEN p.is_evening THEN NOT coalesce(m.works_tomorrow, true) ELSE false END
        AS is_before_day_off,
    row_number() OVER (
        PARTITION BY p.brigade_id, p.hour_start
        ORDER BY p.accident_ratio DESC NULLS LAST, p.violation_ratio DESC NULLS LAST, p.segment_id
    ) AS rank
FROM patrol_hours AS p
JOIN mornings AS m ON m.day = p.day;

CREATE TABLE recommended_patrols (PRIMARY KEY (brigade_id, hour_start, rank)) AS
SELECT
    brigade_id, hour_start, rank, segment_id, accident_ratio, violation_ratio,
    coalesce(accident_focus_class, violation_focus_class) AS focus_class, is_rest_day, is_night, is_action_day
FROM ranked_patrols
WHERE rank <= CASE
    WHEN is_action_day OR is_before_day_off THEN segments_per_action_hour
    ELSE segments_per_hour
END;

CREATE SINK patrol_recommendations WITH (topic = 'patrol-recommendations', format = 'json') AS
SELECT * FROM recommended_patrols;
