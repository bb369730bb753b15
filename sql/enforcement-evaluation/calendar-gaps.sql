-- Purpose:  levels whose due instant the calendar does not cover: nothing is guessed, somebody must load the days.
-- Inputs:   the levels of escalations.sql.
-- Outputs:  sink calendar_gaps (append, one row a level). Consumer: whoever keeps the calendar.
-- Rules:    such a level is decided when its days arrive.

CREATE TABLE uncovered_levels (PRIMARY KEY (evaluation_id, level)) AS
SELECT evaluation_id, 'brigade' AS level, opened_at FROM brigade_level WHERE due_at IS NULL
UNION ALL
SELECT evaluation_id, 'detachment', opened_at FROM detachment_level WHERE due_at IS NULL
UNION ALL
SELECT evaluation_id, 'province', opened_at FROM province_level WHERE due_at IS NULL;

CREATE SINK calendar_gaps WITH (topic = 'calendar-gaps', format = 'json', key = 'evaluation_id') AS
SELECT after.evaluation_id AS evaluation_id, after.level AS level, after.opened_at AS opened_at
FROM CHANGES(uncovered_levels)
WHERE revision = 1;
