-- Purpose:  what the rules about inspections and their yearly plan read.
-- Inputs:   topics plan-tasks, plan-objects, inspections, plan-policy.
-- Outputs:  tables; a tombstone takes an inspection back, or an object out of the plan.
-- Limits:   an inspection arrives at most an hour late before something is called overdue; one that arrives later takes it
--           back.

-- The tasks of the yearly plan.
CREATE TABLE plan_tasks (
    task_id   VARCHAR NOT NULL PRIMARY KEY,
    unit_id   VARCHAR NOT NULL,             -- who inspects
    title     VARCHAR,
    starts_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at    TIMESTAMP WITH TIME ZONE NOT NULL   -- what is inspected at this instant is late
) WITH (topic = 'plan-tasks', format = 'json');

-- What is to be inspected under a task.
CREATE TABLE plan_objects (
    task_id   VARCHAR NOT NULL,
    object_id VARCHAR NOT NULL,
    PRIMARY KEY (task_id, object_id)
) WITH (topic = 'plan-objects', format = 'json');

-- Inspections, planned or not; a joint one has a record for each department.
CREATE TABLE inspections (
    inspection_id VARCHAR NOT NULL PRIMARY KEY,
    task_id       VARCHAR,                  -- null: not under the plan
    object_id     VARCHAR NOT NULL,
    unit_id       VARCHAR NOT NULL,
    officer_id    VARCHAR,
    inspected_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    result        VARCHAR                   -- clean, violation
) WITH (topic = 'inspections', format = 'json', event_time = 'inspected_at', watermark_delay = '1 hour',
        idle_timeout = '10 minutes');

CREATE TABLE plan_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    remind_days    INT NOT NULL             -- days before an object is due at which its unit is reminded
) WITH (topic = 'plan-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
