-- Purpose:    what inspections at the doors of the main streets find, what follows, and how far they reach.
-- Inputs:     street_entities, door_inspections, door_rectifications, door_objections, door_policy, calendar.
-- Outputs:    sink door_actions (append; partition key entity_code): a rectification task for each finding; an interview
--             and a proposal for a case, each once a month. Withdrawn when their ground falls away. Consumers: the
--             operator, the team of the street; a case is a proposal until an officer approves.
--             sink door_overdue (upsert by inspection_id): findings that were not put right in time; rectified_late_at once
--             they are.
--             sink door_calendar_gaps (upsert by inspection_id): findings whose due day the calendar does not cover.
--             sink door_coverage (upsert by town and quarter): entities that were inspected of those that were open.
--             sink door_rectification_rates (upsert by unit_id and month): findings that were due, and put right in time.
--             sink door_reviews (upsert by inspection_id): inspections that count nowhere, with the reason.
-- Rules:      an inspection counts if its entity is known (else unknown_entity) and was open (not_open), its aspect exists
--             (unknown_aspect), and no objection against it was upheld. What did not pass is a finding; the same aspect of
--             an entity on one day is one finding, the first, however many inspectors saw it. Findings of an entity and
--             calendar month are numbered as they are known now: the first at or above interview_from is an interview, the
--             first at or above case_from a proposal for a case. An objection that is upheld is the reason
--             objection_upheld; while one of a month is open no case is proposed for it. A finding is put right in time by
--             an accepted rectification up to its due instant, the end of a working day.
-- Thresholds: door_policy at the finding; 3 working days, 3 and 5 findings, 7 aspects where none is in force.
-- Limits:     a finding of another aspect is another finding, even where one cause is behind both. A quarter has rows once
--             anything was inspected in it.

CREATE VIEW assessed_inspections AS
SELECT
    i.inspection_id, i.entity_code, i.aspect, i.passed, i.inspected_at, e.town, e.unit_id,
    coalesce(p.rectify_working_days, 3) AS rectify_working_days,
    coalesce(p.interview_from, 3) AS interview_from,
    coalesce(p.case_from, 5) AS case_from,
    o.inspection_id IS NOT NULL AND o.verdict IS NULL AS is_disputed,
    CASE
        WHEN e.entity_code IS NULL THEN 'unknown_entity'
        WHEN i.inspected_at < e.opened_at OR i.inspected_at >= e.closed_at THEN 'not_open'
        WHEN i.aspect < 1 OR i.aspect > coalesce(p.aspects, 7) THEN 'unknown_aspect'
        WHEN o.verdict = 'upheld' THEN 'objection_upheld'
    END AS reason
FROM door_inspections AS i
LEFT JOIN street_entities AS e ON e.entity_code = i.entity_code
LEFT JOIN door_objections AS o ON o.inspection_id = i.inspection_id
LEFT JOIN door_policy FOR SYSTEM_TIME AS OF i.inspected_at AS p ON TRUE;

CREATE TABLE inspections_under_review (PRIMARY KEY (inspection_id)) AS
SELECT inspection_id, entity_code, reason FROM assessed_inspections WHERE reason IS NOT NULL;

CREATE SINK door_reviews WITH (topic = 'door-reviews', format = 'json', count_by = 'reason') AS
SELECT inspection_id, entity_code, reason FROM inspections_under_review;

-- === findings ===

CREATE VIEW findings AS
SELECT *
FROM (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY entity_code, aspect, local_date(inspected_at) ORDER BY inspected_at, inspection_id
        ) AS nth_of_day
    FROM assessed_inspections
    WHERE reason IS NULL AND NOT passed
) AS f
WHERE nth_of_day = 1;

CREATE VIEW numbered_findings AS
SELECT
    *, year_month(inspected_at) AS month,
    row_number() OVER (PARTITION BY entity_code, year_month(inspected_at) ORDER BY inspected_at, inspection_id) AS n
FROM findings;

CREATE VIEW staged_findings AS
SELECT
    *,
    min(CASE WHEN n >= interview_from THEN n END) OVER (PARTITION BY entity_code, month) AS first_interview,
    min(CASE WHEN n >= case_from THEN n END) OVER (PARTITION BY entity_code, month) AS first_case,
    bool_or(is_disputed) OVER (PARTITION BY entity_code, month) AS is_month_disputed
FROM numbered_findings;

-- It holds what an action_id determines and what is worth a revision: every change is written.
CREATE TABLE issued_door_actions (PRIMARY KEY (action_id)) AS
SELECT inspection_id || '/rectification' AS action_id, 'rectification' AS action, entity_code, unit_id, month, inspection_id, aspect
FROM staged_findings
UNION ALL
SELECT entity_code || '/' || month || '/interview', 'interview', entity_code, unit_id, month, inspection_id, aspect
FROM staged_findings WHERE n = first_interview
UNION ALL
SELECT entity_code || '/' || month || '/case', 'case', entity_code, unit_id, month, inspection_id, aspect
FROM staged_findings WHERE n = first_case AND NOT is_month_disputed;

CREATE SINK door_actions WITH (topic = 'door-actions', format = 'json', key = 'entity_code', count_by = 'action') AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.action, before.action) AS action,
    coalesce(after.entity_code, before.entity_code) AS entity_code,
    CASE WHEN after.action_id IS NULL THEN before.unit_id ELSE after.unit_id END AS unit_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.inspection_id, before.inspection_id) AS inspection_id,
    coalesce(after.aspect, before.aspect) AS aspect,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    coalesce(after.action, before.action) = 'case' AS needs_approval
FROM CHANGES(issued_door_actions);

-- === rectification ===

CREATE TABLE due_findings (PRIMARY KEY (inspection_id)) AS
SELECT
    f.inspection_id, f.entity_code, f.unit_id, f.aspect, f.inspected_at, f.due_at,
    CASE WHEN r.accepted THEN r.rectified_at END AS rectified_at
FROM (SELECT *, add_working_days(inspected_at, rectify_working_days) AS due_at FROM findings) AS f
LEFT JOIN door_rectifications AS r ON r.inspection_id = f.inspection_id;

CREATE SINK door_calendar_gaps WITH (topic = 'door-calendar-gaps', format = 'json') AS
SELECT inspection_id, entity_code, inspected_at FROM due_findings WHERE due_at IS NULL;

-- A finding that was put right up to its due instant needs no judgement later; every other one does, when that has passed.
CREATE TABLE passed_findings (PRIMARY KEY (inspection_id)) AS
SELECT
    inspection_id, entity_code, unit_id, aspect, due_at, rectified_at,
    coalesce(rectified_at <= due_at, false) AS in_time
FROM PASSED(due_findings, due_at);

CREATE SINK door_overdue WITH (topic = 'door-overdue', format = 'json') AS
SELECT inspection_id, entity_code, unit_id, aspect, due_at, rectified_at AS rectified_late_at
FROM passed_findings
WHERE NOT in_time;

CREATE TABLE rectification_rates AS
SELECT
    unit_id, year_month(instant_before(due_at)) AS month, count(*) AS due, count(*) FILTER (WHERE in_time) AS in_time,
    CAST(count(*) FILTER (WHERE in_time) AS DOUBLE) / count(*) AS rate
FROM passed_findings
WHERE unit_id IS NOT NULL
GROUP BY unit_id, year_month(instant_before(due_at));

CREATE SINK door_rectification_rates WITH (topic = 'door-rectification-rates', format = 'json') AS
SELECT * FROM rectification_rates;

-- === coverage ===

CREATE VIEW inspected_entities AS
SELECT town, date_trunc('quarter', inspected_at) AS quarter, count(DISTINCT entity_code) AS inspected
FROM assessed_inspections
WHERE reason IS NULL
GROUP BY town, date_trunc('quarter', inspected_at);

CREATE VIEW inspected_quarters AS
SELECT DISTINCT date_trunc('quarter', inspected_at) AS quarter, 1 AS every FROM door_inspections;

CREATE VIEW open_entities AS
SELECT e.town, q.quarter, count(*) AS entities
FROM (SELECT town, opened_at, closed_at, 1 AS every FROM street_entities) AS e
JOIN inspected_quarters AS q
    ON q.every = e.every AND e.opened_at < add_months(q.quarter, 3) AND coalesce(e.closed_at > q.quarter, true)
GROUP BY e.town, q.quarter;

CREATE SINK door_coverage WITH (topic = 'door-coverage', format = 'json') AS
SELECT
    o.town, o.quarter, o.entities, coalesce(i.inspected, 0) AS inspected,
    CAST(coalesce(i.inspected, 0) AS DOUBLE) / o.entities AS coverage
FROM open_entities AS o
LEFT JOIN inspected_entities AS i ON i.town = o.town AND i.quarter = o.quarter;
