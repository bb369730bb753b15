-- Purpose:    each section of a road has a chief around the clock: who gets the accident or abnormal event, whether the chief
--             came in time, and where the roster leaves nobody.
-- Inputs:     accidents, detections and their desk (judged_events), chief_sections, chief_shifts, chief_responses,
--             chief_policy.
-- Outputs:    sinks chief_tasks (append with revision), chief_overdue (append with revision; accepted or arrived too late or
--             not), roster_gaps (upsert; times without a chief between two shifts), chief_section_faults (upsert; sections of a
--             road that overlap or leave a stretch out), chief_months (upsert by section and month). Consumers: road chiefs,
--             brigades, who plans the rosters.
-- Rules:      the section is that of the place, the chief who is on duty at the instant of the event; where shifts overlap, who
--             came last. A task without section or without chief goes to the duty desk: chief_id is null, and why says so.
--             False alarms are no tasks.
-- Thresholds: chief_policy at the instant of the event; where none is in force: 60 seconds to accept, 900 to arrive.

CREATE VIEW chief_occurrences AS
SELECT 'accident/' || accident_id AS task_id, occurred_at, road_id, chainage_m FROM accidents
UNION ALL
SELECT 'event/' || event_id, first_at, road_id, chainage_m FROM judged_events WHERE verdict IS DISTINCT FROM 'false_alarm';

CREATE VIEW located_occurrences AS
SELECT
    o.task_id, o.occurred_at, o.road_id, o.chainage_m, s.section_id,
    coalesce(p.accept_s, 60) AS accept_s, coalesce(p.arrive_s, 900) AS arrive_s
FROM chief_occurrences AS o
LEFT JOIN chief_sections AS s ON s.road_id = o.road_id AND o.chainage_m >= s.from_m AND o.chainage_m < s.to_m
LEFT JOIN chief_policy FOR SYSTEM_TIME AS OF o.occurred_at AS p ON TRUE;

CREATE TABLE assigned_tasks (PRIMARY KEY (task_id)) AS
SELECT
    task_id, occurred_at, road_id, chainage_m, section_id, chief_id,
    CASE WHEN section_id IS NULL THEN 'no_section' WHEN chief_id IS NULL THEN 'no_chief' END AS why,
    occurred_at + accept_s * INTERVAL '1 second' AS accept_by,
    occurred_at + arrive_s * INTERVAL '1 second' AS arrive_by
FROM (
    SELECT
        o.*, c.chief_id,
        row_number() OVER (PARTITION BY o.task_id ORDER BY o.section_id, c.starts_at DESC NULLS LAST) AS latest
    FROM located_occurrences AS o
    LEFT JOIN chief_shifts AS c
        ON c.section_id = o.section_id AND c.starts_at <= o.occurred_at AND c.ends_at > o.occurred_at
) AS t
WHERE latest = 1;

CREATE SINK chief_tasks WITH (topic = 'chief-tasks', format = 'json', key = 'task_id', emit_time = 'occurred_at') AS
SELECT
    coalesce(after.task_id, before.task_id) AS task_id,
    coalesce(after.occurred_at, before.occurred_at) AS occurred_at,
    coalesce(after.road_id, before.road_id) AS road_id,
    coalesce(after.chainage_m, before.chainage_m) AS chainage_m,
    CASE WHEN after.task_id IS NULL THEN before.section_id ELSE after.section_id END AS section_id,
    CASE WHEN after.task_id IS NULL THEN before.chief_id ELSE after.chief_id END AS chief_id,
    CASE WHEN after.task_id IS NULL THEN before.why ELSE after.why END AS why,
    coalesce(after.arrive_by, before.arrive_by) AS arrive_by,
    CASE WHEN after.task_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(assigned_tasks);

-- === in time ===

CREATE VIEW answered_tasks AS
SELECT t.*, a.responded_at AS accepted_at, b.responded_at AS arrived_at
FROM assigned_tasks AS t
LEFT JOIN chief_responses AS a ON a.task_id = t.task_id AND a.step = 'accepted'
LEFT JOIN chief_responses AS b ON b.task_id = t.task_id AND b.step = 'arrived';

-- Who arrives has accepted.
CREATE TABLE chief_steps_due (PRIMARY KEY (task_id, step)) AS
SELECT task_id, 'accepted' AS step, section_id, chief_id, accept_by AS due_at
FROM answered_tasks
WHERE chief_id IS NOT NULL AND coalesce(least(accepted_at, arrived_at) > accept_by, true)
UNION ALL
SELECT task_id, 'arrived', section_id, chief_id, arrive_by
FROM answered_tasks
WHERE chief_id IS NOT NULL AND coalesce(arrived_at > arrive_by, true);

CREATE TABLE chief_steps_missed (PRIMARY KEY (task_id, step)) AS
SELECT task_id, step, section_id, chief_id, due_at FROM PASSED(chief_steps_due, due_at);

CREATE SINK chief_overdue WITH (
    topic = 'chief-overdue', format = 'json', key = 'task_id', count_by = 'step', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.task_id, before.task_id) AS task_id,
    coalesce(after.step, before.step) AS step,
    coalesce(after.section_id, before.section_id) AS section_id,
    coalesce(after.chief_id, before.chief_id) AS chief_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.task_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(chief_steps_missed);

CREATE TABLE chief_month_counts (PRIMARY KEY (month, section_id)) AS
SELECT
    year_month(occurred_at) AS month, section_id,
    count(*) AS tasks,
    sum(CASE WHEN chief_id IS NULL THEN 1 ELSE 0 END) AS uncovered,
    sum(CASE WHEN chief_id IS NOT NULL AND arrived_at <= arrive_by THEN 1 ELSE 0 END) AS in_time
FROM answered_tasks
WHERE section_id IS NOT NULL
GROUP BY year_month(occurred_at), section_id;

CREATE SINK chief_months WITH (topic = 'chief-months', format = 'json') AS
SELECT month, section_id, tasks, uncovered, in_time, CAST(in_time AS DOUBLE) / tasks AS in_time_share FROM chief_month_counts;

-- === the roster ===

CREATE TABLE uncovered_times (PRIMARY KEY (section_id, from_at)) AS
SELECT section_id, covered_until AS from_at, next_at AS to_at
FROM (
    SELECT
        section_id,
        max(ends_at) OVER in_time AS covered_until,
        lead(starts_at) OVER in_time AS next_at
    FROM chief_shifts
    WHERE ends_at > starts_at
    WINDOW in_time AS (PARTITION BY section_id ORDER BY starts_at)
) AS s
WHERE next_at > covered_until;

CREATE SINK roster_gaps WITH (topic = 'roster-gaps', format = 'json') AS
SELECT section_id, from_at, to_at FROM uncovered_times;

CREATE TABLE faulty_sections (PRIMARY KEY (section_id)) AS
SELECT
    section_id, road_id, to_m, next_from_m,
    CASE WHEN to_m <= from_m THEN 'empty' WHEN next_from_m > to_m THEN 'gap_behind' ELSE 'overlaps_next' END AS reason
FROM (
    SELECT *, lead(from_m) OVER (PARTITION BY road_id ORDER BY from_m, section_id) AS next_from_m FROM chief_sections
) AS s
WHERE to_m <= from_m OR next_from_m <> to_m;

CREATE SINK chief_section_faults WITH (topic = 'chief-section-faults', format = 'json') AS
SELECT section_id, road_id, to_m, next_from_m, reason FROM faulty_sections;
