-- Purpose:  key work that is divided into tasks, the member units that answer for them, and what they report.
-- Inputs:   four topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables (latest row per key; a tombstone deletes).
-- Limits:   progress is kept for as long as its task is of interest: no retention, a few thousand rows a year.

CREATE TABLE key_works (
    work_id VARCHAR NOT NULL PRIMARY KEY,
    title   VARCHAR
) WITH (topic = 'key-works', format = 'json');

CREATE TABLE tasks (
    task_id VARCHAR NOT NULL PRIMARY KEY,
    work_id VARCHAR NOT NULL,
    title   VARCHAR,
    due_on  DATE NOT NULL                   -- the last day
) WITH (topic = 'tasks', format = 'json');

-- Which unit answers for which task; several may for one.
CREATE TABLE task_assignments (
    task_id VARCHAR NOT NULL,
    unit_id VARCHAR NOT NULL,
    PRIMARY KEY (task_id, unit_id)
) WITH (topic = 'task-assignments', format = 'json');

-- How far a unit says it has come; what it says later counts, also if it is less.
CREATE TABLE task_progress (
    report_id   VARCHAR NOT NULL PRIMARY KEY,
    task_id     VARCHAR NOT NULL,
    unit_id     VARCHAR NOT NULL,
    reported_at TIMESTAMP WITH TIME ZONE NOT NULL,
    percent     INT NOT NULL                -- 0 to 100
) WITH (topic = 'task-progress', format = 'json', event_time = 'reported_at', watermark_delay = '1 minute');

-- How the work was planned to be divided, each in force from an instant until the next.
CREATE TABLE decomposition_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    works          INT NOT NULL,
    tasks          INT NOT NULL,
    units          INT NOT NULL
) WITH (topic = 'decomposition-policy', format = 'json');
