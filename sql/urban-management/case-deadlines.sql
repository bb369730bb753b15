-- Purpose:    where the loop of inspection, evidence and case is open, and how long cases take.
-- Inputs:     cases, evidence, inspections, evidence_policy, calendar, handling_baselines.
-- Outputs:    sink evidence_missing (upsert by case_id): cases without evidence when its time has passed.
--             sink unfiled_matters (upsert by matter_kind and matter_id): evidence, or an inspection that found a
--             violation, without a case when the time for filing has passed. Consumers of both: the unit and the linkage
--             platform.
--             sink filing_calendar_gaps (upsert by matter_kind and matter_id): matters whose due day the calendar does not
--             cover; nothing is guessed, somebody must load the days.
--             sink handling_times (upsert by unit_id, procedure and month of closing): hours from opening to closing, half
--             and nine tenths of the cases at most, and by what share the half has become shorter than the baseline.
-- Rules:      evidence counts for a case if it was captured before the case was opened or within evidence_hours of it. A
--             matter is filed within filing_working_days of its first evidence, or of the inspection. Percentiles are of
--             the nearest rank; n stands beside them. Late evidence, a case filed late or a corrected calendar takes back
--             what it answers.
-- Thresholds: evidence_policy when the case was opened or the matter began: 24 hours and 7 working days where none is in
--             force.

CREATE TABLE cases_without_evidence (PRIMARY KEY (case_id)) AS
SELECT d.case_id, d.unit_id, d.opened_at, d.due_at
FROM (
    SELECT
        c.case_id, c.unit_id, c.opened_at,
        c.opened_at + coalesce(p.evidence_hours, 24) * INTERVAL '1 hour' AS due_at
    FROM cases AS c
    LEFT JOIN evidence_policy FOR SYSTEM_TIME AS OF c.opened_at AS p ON TRUE
) AS d
WHERE NOT EXISTS (SELECT 1 FROM evidence AS e WHERE e.case_id = d.case_id AND e.captured_at <= d.due_at);

CREATE SINK evidence_missing WITH (topic = 'evidence-missing', format = 'json') AS
SELECT case_id, unit_id, opened_at, due_at FROM PASSED(cases_without_evidence, due_at);

-- === filing ===

CREATE VIEW matters AS
SELECT 'evidence' AS matter_kind, case_id AS matter_id, CAST(NULL AS VARCHAR) AS unit_id, first_captured_at AS began_at
FROM case_links
WHERE case_id NOT IN (SELECT case_id FROM cases)
UNION ALL
SELECT 'inspection', i.inspection_id, i.unit_id, i.inspected_at
FROM inspections AS i
WHERE i.result = 'violation' AND NOT EXISTS (SELECT 1 FROM cases AS c WHERE c.inspection_id = i.inspection_id);

CREATE TABLE open_matters (PRIMARY KEY (matter_kind, matter_id)) AS
SELECT
    m.matter_kind, m.matter_id, m.unit_id, m.began_at,
    add_working_days(m.began_at, coalesce(p.filing_working_days, 7)) AS due_at
FROM matters AS m
LEFT JOIN evidence_policy FOR SYSTEM_TIME AS OF m.began_at AS p ON TRUE;

CREATE SINK unfiled_matters WITH (topic = 'unfiled-matters', format = 'json', count_by = 'matter_kind') AS
SELECT matter_kind, matter_id, unit_id, began_at, due_at FROM PASSED(open_matters, due_at);

CREATE SINK filing_calendar_gaps WITH (topic = 'filing-calendar-gaps', format = 'json') AS
SELECT matter_kind, matter_id, began_at FROM open_matters WHERE due_at IS NULL;

-- === handling times ===

CREATE VIEW closed_cases AS
SELECT
    case_id, unit_id, procedure, year_month(closed_at) AS month,
    CAST(elapsed_ms(opened_at, closed_at) AS DOUBLE) / 3600000 AS hours
FROM cases
WHERE closed_at >= opened_at;

CREATE VIEW ranked_cases AS
SELECT
    unit_id, procedure, month, hours,
    row_number() OVER (PARTITION BY unit_id, procedure, month ORDER BY hours, case_id) AS rank,
    count(*) OVER (PARTITION BY unit_id, procedure, month) AS n
FROM closed_cases;

CREATE VIEW month_percentiles AS
SELECT
    unit_id, procedure, month, count(*) AS n,
    min(CASE WHEN rank * 100 >= n * 50 THEN hours END) AS p50_hours,
    min(CASE WHEN rank * 100 >= n * 90 THEN hours END) AS p90_hours
FROM ranked_cases
GROUP BY unit_id, procedure, month;

CREATE SINK handling_times WITH (topic = 'handling-times', format = 'json') AS
SELECT
    m.unit_id, m.procedure, m.month, m.n, m.p50_hours, m.p90_hours, b.p50_hours AS baseline_hours,
    1 - m.p50_hours / nullif(b.p50_hours, 0) AS shortened
FROM month_percentiles AS m
LEFT JOIN handling_baselines FOR SYSTEM_TIME AS OF CAST(m.month || '-01' AS TIMESTAMP WITH TIME ZONE) AS b
    ON b.procedure = m.procedure;
