-- Purpose:    what training units have held, and which officers are due.
-- Inputs:     officers, training_sessions, attendances, training_policy.
-- Outputs:    sink training_months (upsert by unit and month), for the committee office; sink training_overdue (append; withdrawn when an
--             attendance arrives late), for the officer's unit; sink training_coverage (upsert by unit and kind), for both.
-- Rules:      an officer is due so many calendar months after the last training followed to its end, or exam passed, or after
--             joining. Who attended without passing is still due. An attendance of a session that is not known counts when the
--             session arrives.
-- Thresholds: training_policy when the months begin to run: 3 months for training and 12 for exams, where none is in force.
-- Limits:     what is overdue is known an hour after it is.

CREATE SINK training_months WITH (topic = 'training-months', format = 'json') AS
SELECT
    s.unit_id, date_trunc('month', s.held_at) AS month, count(*) FILTER (WHERE s.kind = 'training') AS trainings,
    count(*) FILTER (WHERE s.kind = 'exam') AS exams, sum(coalesce(a.attended, 0)) AS attended, sum(coalesce(a.passed, 0)) AS passed
FROM training_sessions AS s
LEFT JOIN (
    SELECT session_id, count(*) AS attended, count(*) FILTER (WHERE passed) AS passed FROM attendances GROUP BY session_id
) AS a ON a.session_id = s.session_id
GROUP BY s.unit_id, date_trunc('month', s.held_at);

CREATE VIEW trained_officers AS
SELECT a.officer_id, s.kind, max(s.held_at) AS trained_at
FROM attendances AS a
JOIN training_sessions AS s ON s.session_id = a.session_id
WHERE a.passed
GROUP BY a.officer_id, s.kind;

CREATE VIEW kinds AS
SELECT officer_id, unit_id, joined_on, 'training' AS kind FROM officers WHERE left_on IS NULL
UNION ALL
SELECT officer_id, unit_id, joined_on, 'exam' FROM officers WHERE left_on IS NULL;

CREATE VIEW officer_states AS
SELECT
    o.officer_id, o.unit_id, o.kind, t.trained_at,
    coalesce(t.trained_at, CAST(o.joined_on AS TIMESTAMP WITH TIME ZONE)) AS runs_from
FROM kinds AS o
LEFT JOIN trained_officers AS t ON t.officer_id = o.officer_id AND t.kind = o.kind;

CREATE TABLE officers_due (PRIMARY KEY (officer_id, kind)) AS
SELECT
    o.officer_id, o.kind, o.unit_id, o.trained_at,
    add_months(
        o.runs_from, CASE o.kind WHEN 'training' THEN coalesce(p.training_months, 3) ELSE coalesce(p.exam_months, 12) END
    ) AS due_at
FROM officer_states AS o
LEFT JOIN training_policy FOR SYSTEM_TIME AS OF o.runs_from AS p ON TRUE;

CREATE TABLE officers_overdue (PRIMARY KEY (officer_id, kind, due_at)) AS
SELECT officer_id, kind, due_at, unit_id, trained_at FROM PASSED(officers_due, due_at);

CREATE SINK training_overdue WITH (
    topic = 'training-overdue', format = 'json', key = 'unit_id', count_by = 'kind', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.officer_id, before.officer_id) AS officer_id,
    coalesce(after.kind, before.kind) AS kind,
    coalesce(after.due_at, before.due_at) AS due_at,
    coalesce(after.unit_id, before.unit_id) AS unit_id,
    CASE WHEN after.officer_id IS NULL THEN before.trained_at ELSE after.trained_at END AS trained_at,
    CASE WHEN after.officer_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(officers_overdue);

CREATE VIEW unit_officers AS
SELECT unit_id, kind, count(*) AS officers FROM officers_due GROUP BY unit_id, kind;

CREATE VIEW unit_overdue AS
SELECT unit_id, kind, count(*) AS overdue FROM officers_overdue GROUP BY unit_id, kind;

CREATE SINK training_coverage WITH (topic = 'training-coverage', format = 'json') AS
SELECT
    u.unit_id, u.kind, u.officers, coalesce(o.overdue, 0) AS overdue,
    CAST(u.officers - coalesce(o.overdue, 0) AS DOUBLE) / u.officers AS coverage
FROM unit_officers AS u
LEFT JOIN unit_overdue AS o ON o.unit_id = u.unit_id AND o.kind = u.kind;
