-- Purpose:    who must answer a dissatisfied evaluation next, when a level lets its time pass or its answer does not content.
-- Inputs:     evaluations, replies, appeals, calendar.
-- Outputs:    sink escalations (append; each step of a case once): to the level named in to_level, null behind the province.
--             Consumers: brigades, detachments, the province's supervision.
-- Rules:      a level has until the end of the third working day after the day on which it was opened. Answered by then, the
--             earliest appeal opens the next level at the later of appeal and first answer. Not answered, the next level opens
--             at the due instant, and appeals against the level that was overdue open nothing.
-- Thresholds: three working days (escalation_deadline); days are those of the table calendar.
-- Limits:     a step is taken when the watermark has passed its instant, one day after it: nothing earlier can come then. A
--             due instant follows the calendar until it has passed, and stands from then on. A level whose days the calendar
--             does not hold waits for them, see calendar-gaps.sql.

-- The first answer decides, also one sent before the level was opened.
CREATE VIEW first_replies AS
SELECT evaluation_id, level, min(replied_at) AS replied_at FROM replies GROUP BY evaluation_id, level;

CREATE VIEW first_appeals AS
SELECT evaluation_id, level, min(appealed_at) AS appealed_at FROM appeals GROUP BY evaluation_id, level;

-- === brigade ===

CREATE VIEW brigade_cases AS
SELECT evaluation_id, min(submitted_at) AS opened_at
FROM evaluations
WHERE verdict = 'dissatisfied'
GROUP BY evaluation_id;

CREATE VIEW brigade_level AS
SELECT c.evaluation_id, c.opened_at, c.due_at, r.replied_at, a.appealed_at
FROM (SELECT evaluation_id, opened_at, add_working_days(opened_at, 3) AS due_at FROM brigade_cases) AS c
LEFT JOIN first_replies AS r ON r.evaluation_id = c.evaluation_id AND r.level = 'brigade'
LEFT JOIN first_appeals AS a ON a.evaluation_id = c.evaluation_id AND a.level = 'brigade';

CREATE TABLE brigade_outcomes (PRIMARY KEY (evaluation_id)) AS
SELECT evaluation_id, 'overdue' AS reason, due_at AS opened_at, due_at
FROM brigade_level
WHERE due_at IS NOT NULL AND (replied_at IS NULL OR replied_at > due_at)
UNION ALL
SELECT evaluation_id, 'still_dissatisfied', opened_at, add_working_days(opened_at, 3)
FROM (
    SELECT evaluation_id, greatest(appealed_at, replied_at) AS opened_at
    FROM brigade_level
    WHERE replied_at <= due_at AND appealed_at IS NOT NULL
) AS answered;

-- Once its instant has passed a step is taken, and stays taken.
CREATE TABLE brigade_decided (PRIMARY KEY (evaluation_id)) AS
SELECT evaluation_id, reason, opened_at, due_at FROM PASSED(brigade_outcomes, opened_at);

CREATE VIEW brigade_steps AS
SELECT after.evaluation_id AS evaluation_id, after.reason AS reason, after.opened_at AS opened_at, after.due_at AS due_at
FROM CHANGES(brigade_decided)
WHERE revision = 1;

-- === detachment ===

CREATE VIEW detachment_cases AS
SELECT evaluation_id, min(opened_at) AS opened_at FROM brigade_steps GROUP BY evaluation_id;

CREATE VIEW detachment_level AS
SELECT c.evaluation_id, c.opened_at, c.due_at, r.replied_at, a.appealed_at
FROM (SELECT evaluation_id, opened_at, add_working_days(opened_at, 3) AS due_at FROM detachment_cases) AS c
LEFT JOIN first_replies AS r ON r.evaluation_id = c.evaluation_id AND r.level = 'detachment'
LEFT JOIN first_appeals AS a ON a.evaluation_id = c.evaluation_id AND a.level = 'detachment';

CREATE TABLE detachment_outcomes (PRIMARY KEY (evaluation_id)) AS
SELECT evaluation_id, 'overdue' AS reason, due_at AS opened_at, due_at
FROM detachment_level
WHERE due_at IS NOT NULL AND (replied_at IS NULL OR replied_at > due_at)
UNION ALL
SELECT evaluation_id, 'still_dissatisfied', opened_at, add_working_days(opened_at, 3)
FROM (
    SELECT evaluation_id, greatest(appealed_at, replied_at) AS opened_at
    FROM detachment_level
    WHERE replied_at <= due_at AND appealed_at IS NOT NULL
) AS answered;

-- Once its instant has passed a step is taken, and stays taken.
CREATE TABLE detachment_decided (PRIMARY KEY (evaluation_id)) AS
SELECT evaluation_id, reason, opened_at, due_at FROM PASSED(detachment_outcomes, opened_at);

CREATE VIEW detachment_steps AS
SELECT after.evaluation_id AS evaluation_id, after.reason AS reason, after.opened_at AS opened_at, after.due_at AS due_at
FROM CHANGES(detachment_decided)
WHERE revision = 1;

-- === province ===

CREATE VIEW province_cases AS
SELECT evaluation_id, min(opened_at) AS opened_at FROM detachment_steps GROUP BY evaluation_id;

CREATE VIEW province_level AS
SELECT c.evaluation_id, c.opened_at, c.due_at, r.replied_at, a.appealed_at
FROM (SELECT evaluation_id, opened_at, add_working_days(opened_at, 3) AS due_at FROM province_cases) AS c
LEFT JOIN first_replies AS r ON r.evaluation_id = c.evaluation_id AND r.level = 'province'
LEFT JOIN first_appeals AS a ON a.evaluation_id = c.evaluation_id AND a.level = 'province';

CREATE TABLE province_outcomes (PRIMARY KEY (evaluation_id)) AS
SELECT evaluation_id, 'overdue' AS reason, due_at AS opened_at, due_at
FROM province_level
WHERE due_at IS NOT NULL AND (replied_at IS NULL OR replied_at > due_at)
UNION ALL
SELECT evaluation_id, 'still_dissatisfied', opened_at, CAST(NULL AS TIMESTAMP WITH TIME ZONE)
FROM (
    SELECT evaluation_id, greatest(appealed_at, replied_at) AS opened_at
    FROM province_level
    WHERE replied_at <= due_at AND appealed_at IS NOT NULL
) AS answered;

-- Once its instant has passed a step is taken, and stays taken.
CREATE TABLE province_decided (PRIMARY KEY (evaluation_id)) AS
SELECT evaluation_id, reason, opened_at, due_at FROM PASSED(province_outcomes, opened_at);

CREATE VIEW province_steps AS
SELECT after.evaluation_id AS evaluation_id, after.reason AS reason, after.opened_at AS opened_at, after.due_at AS due_at
FROM CHANGES(province_decided)
WHERE revision = 1;

-- === all levels ===

CREATE SINK escalations WITH (topic = 'escalations', format = 'json', key = 'evaluation_id', count_by = 'reason') AS
SELECT evaluation_id, 'brigade' AS from_level, 'detachment' AS to_level, reason, due_at FROM brigade_steps
UNION ALL
SELECT evaluation_id, 'detachment', 'province', reason, due_at FROM detachment_steps
UNION ALL
SELECT evaluation_id, 'province', CAST(NULL AS VARCHAR), reason, due_at FROM province_steps;
