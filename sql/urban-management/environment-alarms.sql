-- Purpose:    joint supervision of catering smoke and sanitation: alarms of sensors, who goes out, and months without a
--             joint inspection.
-- Inputs:     sensor_readings, environment_sensors, sensor_faults, sensor_limits, joint_departments, joint_inspections,
--             joint_duties, joint_policy, calendar.
-- Outputs:    sink environment_alarms (upsert by sensor_id and raised_at): raised and cleared; a tombstone when the sensor
--             turns out faulty.
--             sink joint_tasks (append; partition key site_id): a task for each department, issued and withdrawn.
--             sink joint_inspections_missing (upsert by town, measure and month).
--             sink unknown_sensors (append): means of sensors that nobody registered.
--             sink silent_sensors (upsert by sensor_id; a tombstone when it speaks again): sensors that were switched off
--             or broke. Consumers: urban management, ecology, market supervision.
-- Rules:      of each sensor the mean of ten minutes is set against the limits of its measure: above raise_above an alarm
--             begins, below clear_below it ends, between them nothing changes, nor where there are fewer than readings_min
--             readings. The alarms of a site, measure and day are one task a department, about the first. Tasks stand when
--             an alarm ends: it must be looked into. A joint inspection takes departments_min departments; each month that
--             begins under a duty needs one.
-- Thresholds: sensor_limits at the beginning of the ten minutes; where none are in force: oil_smoke 2.0 and 1.6 mg/m3 (2.0
--             is the limit of GB 18483), bin_level 0.9 and 0.5, other measures none; 3 readings, 24 hours of silence.
--             joint_policy at the inspection: 2 departments.
-- Limits:     an alarm comes up to 12 minutes after it began. Months are those whose first day the calendar holds.

CREATE STREAM reading_means AS
SELECT sensor_id, window_start, avg(reading) AS mean_reading, count(reading) AS readings
FROM sensor_readings
WHERE reading >= 0
GROUP BY sensor_id, tumble(measured_at, INTERVAL '10 minutes')
EMIT FINAL;

CREATE STREAM limited_means AS
SELECT
    m.sensor_id, m.window_start, m.mean_reading, m.readings, s.measure, s.site_id, s.town,
    coalesce(l.raise_above, CASE s.measure WHEN 'oil_smoke' THEN 2.0 WHEN 'bin_level' THEN 0.9 END) AS raise_above,
    coalesce(l.clear_below, CASE s.measure WHEN 'oil_smoke' THEN 1.6 WHEN 'bin_level' THEN 0.5 END) AS clear_below,
    coalesce(l.readings_min, 3) AS readings_min
FROM reading_means AS m
JOIN environment_sensors AS s ON s.sensor_id = m.sensor_id
LEFT JOIN sensor_limits FOR SYSTEM_TIME AS OF m.window_start AS l ON l.measure = s.measure;

CREATE SINK unknown_sensors WITH (topic = 'unknown-sensors', format = 'json', key = 'sensor_id') AS
SELECT m.sensor_id, m.window_start, m.readings
FROM reading_means AS m
LEFT JOIN environment_sensors AS s ON s.sensor_id = m.sensor_id
WHERE s.sensor_id IS NULL;

-- Whether the latest mean that says something says that it is too high: its instant and its word are one number, of which the
-- greatest counts.
CREATE STREAM sensor_states AS
SELECT
    *, coalesce(max(CASE
        WHEN readings < readings_min THEN NULL
        WHEN mean_reading > raise_above THEN CAST(window_start AS BIGINT) * 2 + 1
        WHEN mean_reading < clear_below THEN CAST(window_start AS BIGINT) * 2
    END) OVER (PARTITION BY sensor_id ORDER BY window_start) % 2 = 1, false) AS is_high
FROM limited_means;

CREATE STREAM sensor_turns AS
SELECT
    *,
    max(CASE WHEN is_high AND NOT was_high THEN window_start END)
        OVER (PARTITION BY sensor_id ORDER BY window_start) AS raised_at
FROM (
    SELECT *, coalesce(lag(is_high) OVER (PARTITION BY sensor_id ORDER BY window_start), false) AS was_high
    FROM sensor_states
) AS s;

CREATE TABLE raised_alarms (PRIMARY KEY (sensor_id, raised_at)) AS
SELECT
    sensor_id, raised_at, min(measure) AS measure, min(site_id) AS site_id, min(town) AS town,
    max(CASE WHEN is_high THEN mean_reading END) AS mean_reading, max(CASE WHEN is_high THEN raise_above END) AS raise_above,
    min(CASE WHEN NOT is_high THEN window_start END) AS cleared_at
FROM sensor_turns
WHERE is_high <> was_high
GROUP BY sensor_id, raised_at;

CREATE TABLE standing_alarms (PRIMARY KEY (sensor_id, raised_at)) AS
SELECT a.sensor_id, a.raised_at, a.measure, a.site_id, a.town, a.mean_reading, a.raise_above, a.cleared_at
FROM raised_alarms AS a
WHERE NOT EXISTS (
    SELECT 1 FROM sensor_faults AS f
    WHERE f.sensor_id = a.sensor_id AND a.raised_at >= f.faulty_from AND a.raised_at < f.faulty_to
);

CREATE SINK environment_alarms WITH (topic = 'environment-alarms', format = 'json', count_by = 'measure') AS
SELECT
    sensor_id, raised_at, measure, site_id, town, mean_reading, raise_above, cleared_at,
    CASE WHEN cleared_at IS NULL THEN 'open' ELSE 'cleared' END AS state
FROM standing_alarms;

-- === silence ===

CREATE VIEW last_readings AS
SELECT sensor_id, max(measured_at) AS last_at FROM sensor_readings GROUP BY sensor_id;

CREATE TABLE awaited_readings (PRIMARY KEY (sensor_id)) AS
SELECT
    s.sensor_id, s.measure, s.site_id, s.town, s.last_at,
    s.last_at + coalesce(l.silent_hours, 24) * INTERVAL '1 hour' AS due_at
FROM (
    SELECT s.sensor_id, s.measure, s.site_id, s.town, greatest(s.installed_at, coalesce(r.last_at, s.installed_at)) AS last_at
    FROM environment_sensors AS s
    LEFT JOIN last_readings AS r ON r.sensor_id = s.sensor_id
) AS s
LEFT JOIN sensor_limits FOR SYSTEM_TIME AS OF s.last_at AS l ON l.measure = s.measure;

CREATE SINK silent_sensors WITH (topic = 'silent-sensors', format = 'json') AS
SELECT sensor_id, measure, site_id, town, last_at AS silent_since FROM PASSED(awaited_readings, due_at);

-- === tasks ===

CREATE TABLE issued_joint_tasks (PRIMARY KEY (task_id)) AS
SELECT
    d.department || '/' || a.site_id || '/' || a.measure || '/' || CAST(local_date(a.raised_at) AS VARCHAR) AS task_id,
    d.department, a.site_id, a.measure, a.town, a.sensor_id, a.raised_at
FROM (
    SELECT
        *, row_number() OVER (PARTITION BY site_id, measure, local_date(raised_at) ORDER BY raised_at, sensor_id) AS nth_of_day
    FROM standing_alarms
) AS a
JOIN joint_departments AS d ON d.measure = a.measure
WHERE a.nth_of_day = 1;

CREATE SINK joint_tasks WITH (topic = 'joint-tasks', format = 'json', key = 'site_id', count_by = 'department') AS
SELECT
    coalesce(after.task_id, before.task_id) AS task_id,
    coalesce(after.department, before.department) AS department,
    coalesce(after.site_id, before.site_id) AS site_id,
    coalesce(after.measure, before.measure) AS measure,
    coalesce(after.town, before.town) AS town,
    coalesce(after.sensor_id, before.sensor_id) AS sensor_id,
    coalesce(after.raised_at, before.raised_at) AS raised_at,
    CASE WHEN after.task_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(issued_joint_tasks);

-- === months ===

CREATE VIEW joint_months AS
SELECT DISTINCT i.town, i.measure, year_month(i.inspected_at) AS month
FROM joint_inspections AS i
LEFT JOIN joint_policy FOR SYSTEM_TIME AS OF i.inspected_at AS p ON TRUE
WHERE cardinality(array_distinct(i.departments)) >= coalesce(p.departments_min, 2);

CREATE VIEW calendar_months AS
SELECT year_month(starts_at) AS month, starts_at, add_months(starts_at, 1) AS ends_at, 1 AS every
FROM (
    SELECT CAST(CAST(day AS VARCHAR) AS TIMESTAMP WITH TIME ZONE) AS starts_at
    FROM calendar
    WHERE date_part('day', day) = 1
) AS c;

CREATE TABLE undone_months (PRIMARY KEY (town, measure, month)) AS
SELECT d.town, d.measure, m.month, m.ends_at
FROM (SELECT *, 1 AS every FROM joint_duties) AS d
JOIN calendar_months AS m ON m.every = d.every AND m.starts_at >= d.active_from
WHERE NOT EXISTS (SELECT 1 FROM joint_months AS j WHERE j.town = d.town AND j.measure = d.measure AND j.month = m.month);

CREATE SINK joint_inspections_missing WITH (topic = 'joint-inspections-missing', format = 'json') AS
SELECT town, measure, month FROM PASSED(undone_months, ends_at);
