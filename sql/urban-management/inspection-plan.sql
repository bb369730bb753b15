-- Purpose:    how far the yearly plan of inspections has been carried out, and what was not inspected in time.
-- Inputs:     plan_tasks, plan_objects, inspections, plan_policy.
-- Outputs:    sink plan_coverage (upsert by task_id), unit_coverage (upsert by unit_id and month): planned objects, those
--             inspected in time and late, and the share in time.
--             sink plan_overdue (upsert by task_id and object_id): not inspected when due; done_late_at once it is.
--             sink plan_reminders (upsert by task_id and object_id): due within remind_days and not yet inspected.
--             sink plan_years (upsert by year): tasks and objects of a year's plan, and their growth over the year before.
--             Consumer: the linkage command platform.
-- Rules:      an object of a task is done in time by an inspection of the task's unit, under the task, with starts_at <=
--             inspected_at < due_at; an object counts once, however often it is inspected. The month of a unit's coverage
--             is that of the last instant before due_at. A plan, an inspection that is taken back or one that arrives late
--             change all.
-- Thresholds: plan_policy.remind_days when the object is due; 7 where no policy is in force.

CREATE VIEW planned_objects AS
SELECT o.task_id, o.object_id, t.unit_id, t.starts_at, t.due_at
FROM plan_objects AS o
JOIN plan_tasks AS t ON t.task_id = o.task_id;

CREATE VIEW object_inspections AS
SELECT p.task_id, p.object_id, min(i.inspected_at) AS done_at
FROM planned_objects AS p
JOIN inspections AS i
    ON i.task_id = p.task_id AND i.object_id = p.object_id AND i.unit_id = p.unit_id AND i.inspected_at >= p.starts_at
GROUP BY p.task_id, p.object_id;

CREATE VIEW inspected_objects AS
SELECT
    p.task_id, p.object_id, p.unit_id, p.starts_at, p.due_at, d.done_at,
    coalesce(d.done_at < p.due_at, false) AS in_time,
    coalesce(d.done_at >= p.due_at, false) AS is_late
FROM planned_objects AS p
LEFT JOIN object_inspections AS d ON d.task_id = p.task_id AND d.object_id = p.object_id;

-- === coverage ===

CREATE SINK plan_coverage WITH (topic = 'plan-coverage', format = 'json') AS
SELECT
    task_id, min(unit_id) AS unit_id, min(due_at) AS due_at, count(*) AS planned,
    count(*) FILTER (WHERE in_time) AS done, count(*) FILTER (WHERE is_late) AS done_late,
    CAST(count(*) FILTER (WHERE in_time) AS DOUBLE) / count(*) AS coverage
FROM inspected_objects
GROUP BY task_id;

CREATE TABLE unit_coverages AS
SELECT
    unit_id, year_month(instant_before(due_at)) AS month, count(*) AS planned,
    count(*) FILTER (WHERE in_time) AS done, count(*) FILTER (WHERE is_late) AS done_late,
    CAST(count(*) FILTER (WHERE in_time) AS DOUBLE) / count(*) AS coverage
FROM inspected_objects
GROUP BY unit_id, year_month(instant_before(due_at));

CREATE SINK unit_coverage WITH (topic = 'unit-coverage', format = 'json') AS SELECT * FROM unit_coverages;

-- === what is missing ===

CREATE TABLE undone_objects (PRIMARY KEY (task_id, object_id)) AS
SELECT task_id, object_id, unit_id, due_at, done_at AS done_late_at FROM inspected_objects WHERE NOT in_time;

CREATE TABLE overdue_objects (PRIMARY KEY (task_id, object_id)) AS
SELECT task_id, object_id, unit_id, due_at, done_late_at FROM PASSED(undone_objects, due_at);

CREATE SINK plan_overdue WITH (topic = 'plan-overdue', format = 'json') AS
SELECT task_id, object_id, unit_id, due_at, done_late_at FROM overdue_objects;

CREATE TABLE remindable_objects (PRIMARY KEY (task_id, object_id)) AS
SELECT
    u.task_id, u.object_id, u.unit_id, u.due_at,
    greatest(add_days(u.due_at, -coalesce(p.remind_days, 7)), u.starts_at) AS remind_at
FROM inspected_objects AS u
LEFT JOIN plan_policy FOR SYSTEM_TIME AS OF u.due_at AS p ON TRUE
WHERE u.done_at IS NULL;

CREATE SINK plan_reminders WITH (topic = 'plan-reminders', format = 'json') AS
SELECT r.task_id, r.object_id, r.unit_id, r.due_at, r.remind_at
FROM PASSED(remindable_objects, remind_at) AS r
WHERE NOT EXISTS (SELECT 1 FROM overdue_objects AS o WHERE o.task_id = r.task_id AND o.object_id = r.object_id);

-- === plans of successive years ===

CREATE VIEW year_plans AS
SELECT CAST(date_part('year', starts_at) AS INT) AS year, count(DISTINCT task_id) AS tasks, count(*) AS objects
FROM planned_objects
GROUP BY CAST(date_part('year', starts_at) AS INT);

CREATE SINK plan_years WITH (topic = 'plan-years', format = 'json') AS
SELECT
    y.year, y.tasks, y.objects, b.tasks AS tasks_before, b.objects AS objects_before,
    CAST(y.tasks AS DOUBLE) / b.tasks - 1 AS tasks_year_on_year,
    CAST(y.objects AS DOUBLE) / b.objects - 1 AS objects_year_on_year
FROM year_plans AS y
LEFT JOIN year_plans AS b ON b.year = y.year - 1;
