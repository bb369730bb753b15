-- Purpose:    visits and the supervision by employers as tasks: who is sent, how far they are, and when the town steps in.
-- Inputs:     judged_rides, residences, grid_members, employers, task_reports, visits, follow_up_policy, calendar.
-- Outputs:    sinks grid_tasks and employer_tasks (append, with PRIVATE phones; consumers: the members of the grid, the
--             employer), visit_task_status (upsert by action_id; consumer: Political and Legal Commission) and town_escalations
--             (append; consumer: the town).
-- Rules:      a visit goes to all members of the grid in which the person lived at the ride, an employer's task to the
--             employer; the one does not wait for the other. A task is accepted by a report, or by being done. A visit is done
--             when its report names a row of visits that was delivered: one that found nobody leaves the task open. What is
--             neither accepted nor done in time goes to the town, and is taken back if the task is.
-- Thresholds: follow_up_policy.accept_working_days and complete_working_days at the start of the ride (suggested: 1 and 5); no
--             deadline where null, no tasks where no row is in force. A deadline is the end of that working day, the day of the
--             ride not counted.
-- Limits:     where the calendar does not hold the days there is no deadline, and due_at is null: load the calendar.

CREATE VIEW followed_visits AS
SELECT
    v.person_id, v.month, v.n, v.ride_started_at, v.is_visit, v.is_urgent, v.employer_id, v.grid_id,
    f.accept_working_days, f.complete_working_days
FROM (
    SELECT * FROM judged_rides WHERE NOT is_minor AND NOT is_treated AND (is_visit OR is_urgent)
) AS v
JOIN follow_up_policy FOR SYSTEM_TIME AS OF v.ride_started_at AS f ON TRUE;

CREATE VIEW visit_rides AS
SELECT
    v.person_id, v.month, v.n, v.ride_started_at, v.is_visit, v.is_urgent, v.employer_id,
    v.accept_working_days, v.complete_working_days,
    CASE WHEN r.valid_from IS NULL THEN v.grid_id ELSE nullif(r.grid_id, '') END AS grid_id
FROM followed_visits AS v
LEFT JOIN residences FOR SYSTEM_TIME AS OF v.ride_started_at AS r ON r.person_id = v.person_id;

CREATE VIEW tasks AS
SELECT
    person_id || '/' || month || '/grid_visit/' || CAST(n AS VARCHAR) AS action_id, 'grid_visit' AS action,
    person_id, ride_started_at, accept_working_days, complete_working_days, grid_id, CAST(NULL AS VARCHAR) AS employer_id
FROM visit_rides WHERE is_visit
UNION ALL
SELECT
    person_id || '/' || month || '/urgent_visit/' || CAST(n AS VARCHAR), 'urgent_visit',
    person_id, ride_started_at, accept_working_days, complete_working_days, grid_id, CAST(NULL AS VARCHAR)
FROM visit_rides WHERE is_urgent
UNION ALL
SELECT
    person_id || '/' || month || '/employer_supervision/' || CAST(n AS VARCHAR), 'employer_supervision',
    person_id, ride_started_at, accept_working_days, complete_working_days, CAST(NULL AS VARCHAR), employer_id
FROM visit_rides WHERE is_visit AND employer_id IS NOT NULL;

-- === who is sent ===

CREATE TABLE grid_assignments (PRIMARY KEY (action_id, member_id)) AS
SELECT t.action_id, t.action, t.person_id, t.ride_started_at, t.grid_id, m.member_id, m.town, m.phone
FROM tasks AS t
JOIN grid_members AS m ON m.grid_id = t.grid_id;

CREATE SINK grid_tasks WITH (
    topic = 'grid-tasks', format = 'json', key = 'member_id', allow_private = true, emit_time = 'ride_started_at'
) AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.action, before.action) AS action,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.ride_started_at, before.ride_started_at) AS ride_started_at,
    coalesce(after.grid_id, before.grid_id) AS grid_id,
    coalesce(after.member_id, before.member_id) AS member_id,
    CASE WHEN after.action_id IS NULL THEN before.town ELSE after.town END AS town,
    CASE WHEN after.action_id IS NULL THEN before.phone ELSE after.phone END AS phone,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(grid_assignments);

CREATE TABLE employer_assignments (PRIMARY KEY (action_id)) AS
SELECT t.action_id, t.person_id, t.ride_started_at, t.employer_id, e.name, e.phone
FROM tasks AS t
JOIN employers AS e ON e.employer_id = t.employer_id;

CREATE SINK employer_tasks WITH (
    topic = 'employer-tasks', format = 'json', key = 'employer_id', allow_private = true, emit_time = 'ride_started_at'
) AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.ride_started_at, before.ride_started_at) AS ride_started_at,
    coalesce(after.employer_id, before.employer_id) AS employer_id,
    CASE WHEN after.action_id IS NULL THEN before.name ELSE after.name END AS name,
    CASE WHEN after.action_id IS NULL THEN before.phone ELSE after.phone END AS phone,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(employer_assignments);

-- === how far they are ===

CREATE VIEW reports_by_task AS
SELECT
    r.action_id,
    min(r.reported_at) AS accepted_at,
    min(CASE WHEN r.step = 'done' THEN r.reported_at END) AS reported_done_at,
    min(CASE WHEN r.step = 'done' AND v.delivered THEN r.reported_at END) AS delivered_at
FROM task_reports AS r
LEFT JOIN visits AS v ON v.visit_id = r.visit_id
WHERE r.step IN ('accepted', 'done')
GROUP BY r.action_id;

CREATE TABLE task_states (PRIMARY KEY (action_id)) AS
SELECT
    t.action_id, t.action, t.person_id, t.grid_id, t.employer_id, t.accept_due_at, t.complete_due_at, r.accepted_at,
    CASE WHEN t.action = 'employer_supervision' THEN r.reported_done_at ELSE r.delivered_at END AS done_at
FROM (
    SELECT
        action_id, action, person_id, grid_id, employer_id,
        add_working_days(ride_started_at, accept_working_days) AS accept_due_at,
        add_working_days(ride_started_at, complete_working_days) AS complete_due_at
    FROM tasks
) AS t
LEFT JOIN reports_by_task AS r ON r.action_id = t.action_id;

CREATE SINK visit_task_status WITH (topic = 'visit-task-status', format = 'json', count_by = 'stage') AS
SELECT
    action_id, action, person_id, grid_id, employer_id,
    CASE WHEN done_at IS NOT NULL THEN 'done' WHEN accepted_at IS NOT NULL THEN 'accepted' ELSE 'assigned' END AS stage,
    accept_due_at, complete_due_at, accepted_at, done_at
FROM task_states;

-- === when the town steps in ===

CREATE TABLE missed_deadlines (PRIMARY KEY (action_id, reason)) AS
SELECT action_id, 'not_accepted' AS reason, action, person_id, grid_id, employer_id, accept_due_at AS due_at
FROM task_states
WHERE accept_due_at IS NOT NULL AND (accepted_at IS NULL OR accepted_at > accept_due_at)
UNION ALL
SELECT action_id, 'not_done', action, person_id, grid_id, employer_id, complete_due_at
FROM task_states
WHERE complete_due_at IS NOT NULL AND (done_at IS NULL OR done_at > complete_due_at);

CREATE VIEW grid_towns AS
SELECT grid_id, min(town) AS town FROM grid_members GROUP BY grid_id;

CREATE TABLE escalated_tasks (PRIMARY KEY (action_id, reason)) AS
SELECT m.action_id, m.reason, m.action, m.person_id, m.due_at, coalesce(g.town, e.town, 'unknown') AS town
FROM PASSED(missed_deadlines, due_at) AS m
LEFT JOIN grid_towns AS g ON g.grid_id = m.grid_id
LEFT JOIN (SELECT employer_id, town FROM employers) AS e ON e.employer_id = m.employer_id;

CREATE SINK town_escalations WITH (
    topic = 'town-escalations', format = 'json', key = 'town', count_by = 'reason', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.reason, before.reason) AS reason,
    coalesce(after.action, before.action) AS action,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.town, before.town) AS town,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(escalated_tasks);
