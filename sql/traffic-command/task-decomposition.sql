-- Purpose:  key work divided into tasks and units: how far it has come, what is overdue, and whether the division is whole.
-- Inputs:   key_works, tasks, task_assignments, task_progress, decomposition_policy.
-- Outputs:  sink work_progress (upsert by key work) and sink unit_progress (upsert by unit), for the provincial traffic-safety
--           committee office; sink overdue_tasks (append; withdrawn when a report arrives late), for the unit; sink task_faults
--           (upsert), for who divides the work.
-- Rules:    a unit has come as far as its latest report says, from 0 to 100; what it reports beyond counts as the nearer of the two.
--           A task has come as far as its units on average, key work as far as its tasks. A task is overdue for a unit that has
--           not reported 100 when its last day ends. Faults: work without tasks, a task without unit or of unknown work, a report of
--           who does not answer for the task, and a division that differs from the plan.
-- Thresholds: decomposition_policy, the latest row: 12 pieces of key work, 59 tasks and 27 units where there is none.

CREATE VIEW latest_reports AS
SELECT task_id, unit_id, least(greatest(percent, 0), 100) AS percent
FROM task_progress
QUALIFY row_number() OVER (PARTITION BY task_id, unit_id ORDER BY reported_at DESC, report_id DESC) = 1;

CREATE VIEW assigned_progress AS
SELECT t.task_id, t.work_id, t.due_on, a.unit_id, coalesce(r.percent, 0) AS percent
FROM tasks AS t
JOIN task_assignments AS a ON a.task_id = t.task_id
LEFT JOIN latest_reports AS r ON r.task_id = a.task_id AND r.unit_id = a.unit_id;

CREATE VIEW progress_of_tasks AS
SELECT t.task_id, t.work_id, coalesce(avg(p.percent), 0.0) AS percent
FROM tasks AS t
LEFT JOIN assigned_progress AS p ON p.task_id = t.task_id
GROUP BY t.task_id, t.work_id;

CREATE SINK work_progress WITH (topic = 'work-progress', format = 'json') AS
SELECT
    w.work_id, count(p.task_id) AS tasks, count(*) FILTER (WHERE p.percent >= 100) AS done, coalesce(avg(p.percent), 0.0) AS percent
FROM key_works AS w
LEFT JOIN progress_of_tasks AS p ON p.work_id = w.work_id
GROUP BY w.work_id;

CREATE SINK unit_progress WITH (topic = 'unit-progress', format = 'json') AS
SELECT unit_id, count(*) AS tasks, count(*) FILTER (WHERE percent >= 100) AS done, avg(percent) AS percent
FROM assigned_progress
GROUP BY unit_id;

-- === overdue ===

-- Progress is told by when it was reported: what is reported on the last day is in time, also if it is heard of later.
CREATE VIEW deadline_tasks AS
SELECT t.task_id, t.work_id, t.due_on, a.unit_id, CAST(t.due_on + INTERVAL '1 day' AS TIMESTAMP WITH TIME ZONE) AS due_at
FROM tasks AS t
JOIN task_assignments AS a ON a.task_id = t.task_id;

CREATE VIEW reports_in_time AS
SELECT d.task_id, d.unit_id, r.percent
FROM deadline_tasks AS d
JOIN task_progress AS r ON r.task_id = d.task_id AND r.unit_id = d.unit_id AND r.reported_at < d.due_at
QUALIFY row_number() OVER (PARTITION BY d.task_id, d.unit_id ORDER BY r.reported_at DESC, r.report_id DESC) = 1;

CREATE TABLE undone_tasks (PRIMARY KEY (task_id, unit_id)) AS
SELECT d.task_id, d.unit_id, d.work_id, d.due_at, coalesce(r.percent, 0) AS percent
FROM deadline_tasks AS d
LEFT JOIN reports_in_time AS r ON r.task_id = d.task_id AND r.unit_id = d.unit_id
WHERE coalesce(r.percent, 0) < 100;

CREATE TABLE missed_tasks (PRIMARY KEY (task_id, unit_id, due_at)) AS
SELECT task_id, unit_id, due_at, work_id, percent FROM PASSED(undone_tasks, due_at);

CREATE SINK overdue_tasks WITH (topic = 'overdue-tasks', format = 'json', key = 'unit_id', emit_time = 'due_at') AS
SELECT
    coalesce(after.task_id, before.task_id) AS task_id,
    coalesce(after.unit_id, before.unit_id) AS unit_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    coalesce(after.work_id, before.work_id) AS work_id,
    coalesce(after.percent, before.percent) AS percent,
    CASE WHEN after.task_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(missed_tasks);

-- === faults of the division ===

CREATE VIEW planned_division AS
SELECT works, tasks, units
FROM decomposition_policy
QUALIFY row_number() OVER (ORDER BY effective_from DESC) = 1;

CREATE VIEW division_counts AS
SELECT 'works' AS subject, 12 AS usual, (SELECT max(works) FROM planned_division) AS planned, count(*) AS found FROM key_works
UNION ALL
SELECT 'tasks', 59, (SELECT max(tasks) FROM planned_division), count(*) FROM tasks
UNION ALL
SELECT 'units', 27, (SELECT max(units) FROM planned_division), count(DISTINCT unit_id) FROM task_assignments;

CREATE TABLE faults_of_division (PRIMARY KEY (fault, subject)) AS
SELECT 'work_without_task' AS fault, w.work_id AS subject, CAST(NULL AS BIGINT) AS planned, CAST(NULL AS BIGINT) AS found
FROM key_works AS w WHERE NOT EXISTS (SELECT 1 FROM tasks AS t WHERE t.work_id = w.work_id)
UNION ALL
SELECT 'task_of_unknown_work', t.task_id, NULL, NULL
FROM tasks AS t WHERE NOT EXISTS (SELECT 1 FROM key_works AS w WHERE w.work_id = t.work_id)
UNION ALL
SELECT 'task_without_unit', t.task_id, NULL, NULL
FROM tasks AS t WHERE NOT EXISTS (SELECT 1 FROM task_assignments AS a WHERE a.task_id = t.task_id)
UNION ALL
SELECT 'report_of_other_unit', r.report_id, NULL, NULL
FROM task_progress AS r
WHERE NOT EXISTS (SELECT 1 FROM task_assignments AS a WHERE a.task_id = r.task_id AND a.unit_id = r.unit_id)
UNION ALL
SELECT 'count_differs', subject, coalesce(planned, usual), found FROM division_counts WHERE found <> coalesce(planned, usual);

CREATE SINK task_faults WITH (topic = 'task-faults', format = 'json') AS
SELECT fault, subject, planned, found FROM faults_of_division;
