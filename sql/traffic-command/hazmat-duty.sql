-- Purpose:  every day a check of hazmat transport, every week an operation, and every check complete.
-- Inputs:   hazmat_checks, must_checks, hazmat_operations, hazmat_policy, road_segments, calendar.
-- Outputs:  sink hazmat_duty_gaps (append; withdrawn when a record arrives late), for the detachment; sink incomplete_checks (upsert
--           by check), for the brigade; sink hazmat_duty_months (upsert by brigade and month), for the committee office.
-- Rules:    brigades are those that have road segments; days and weeks (from Monday) are those of the calendar. A check counts if it
--           covers all must-checks. Nothing is owed before the first policy, nor while the policy does not ask for it.
-- Thresholds: hazmat_policy at the beginning of the day or week: daily_check and weekly_operation.
-- Limits:   a gap is known when the watermark has passed the end of the day or week: an hour after it.

CREATE VIEW missing_items AS
SELECT c.check_id, c.brigade_id, c.checked_at, m.item
FROM hazmat_checks AS c
JOIN must_checks AS m ON NOT coalesce(array_has(c.items, m.item), false);

CREATE SINK incomplete_checks WITH (topic = 'incomplete-checks', format = 'json') AS
SELECT check_id, brigade_id, checked_at, array_agg(item ORDER BY item) AS missing
FROM missing_items
GROUP BY check_id, brigade_id, checked_at;

CREATE VIEW complete_checks AS
SELECT c.check_id, c.brigade_id, c.checked_at, local_date(c.checked_at) AS day
FROM hazmat_checks AS c
WHERE NOT EXISTS (SELECT 1 FROM missing_items AS m WHERE m.check_id = c.check_id);

CREATE VIEW brigades AS
SELECT DISTINCT brigade_id FROM road_segments;

CREATE VIEW duty_periods AS
SELECT 'day' AS period, d.day AS period_start, d.day_start, add_days(d.day_start, 1) AS due_at, p.daily_check AS is_owed
FROM calendar_days AS d
JOIN hazmat_policy FOR SYSTEM_TIME AS OF d.day_start AS p ON TRUE
UNION ALL
SELECT 'week', d.day, d.day_start, add_days(d.day_start, 7), p.weekly_operation
FROM calendar_days AS d
JOIN hazmat_policy FOR SYSTEM_TIME AS OF d.day_start AS p ON TRUE
WHERE d.weekday = 1;

CREATE VIEW hazmat_duties AS
SELECT b.brigade_id, d.period, d.period_start, d.day_start, d.due_at
FROM brigades AS b
JOIN duty_periods AS d ON d.is_owed;

CREATE VIEW fulfilled_duties AS
SELECT DISTINCT brigade_id, 'day' AS period, day AS period_start FROM complete_checks
UNION ALL
SELECT DISTINCT brigade_id, 'week', local_date(date_trunc('week', started_at)) FROM hazmat_operations;

CREATE TABLE unfulfilled_duties (PRIMARY KEY (brigade_id, period, period_start)) AS
SELECT h.brigade_id, h.period, h.period_start, h.due_at
FROM hazmat_duties AS h
WHERE NOT EXISTS (
    SELECT 1 FROM fulfilled_duties AS f
    WHERE f.brigade_id = h.brigade_id AND f.period = h.period AND f.period_start = h.period_start
);

CREATE TABLE missed_duties (PRIMARY KEY (brigade_id, period, period_start)) AS
SELECT brigade_id, period, period_start, due_at FROM PASSED(unfulfilled_duties, due_at);

CREATE SINK hazmat_duty_gaps WITH (
    topic = 'hazmat-duty-gaps', format = 'json', key = 'brigade_id', count_by = 'period', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.brigade_id, before.brigade_id) AS brigade_id,
    coalesce(after.period, before.period) AS period,
    coalesce(after.period_start, before.period_start) AS period_start,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.brigade_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(missed_duties);

CREATE SINK hazmat_duty_months WITH (topic = 'hazmat-duty-months', format = 'json') AS
SELECT brigade_id, date_trunc('month', checked_at) AS month, count(*) AS complete_checks
FROM complete_checks
GROUP BY brigade_id, date_trunc('month', checked_at);
