-- Purpose:    every case of enforcement is checked while it runs: each step in its order, in its time, by the officers that it
--             needs.
-- Inputs:     audited_cases, case_acts, case_step_rules, calendar.
-- Outputs:    sinks case_findings (upsert by case, step and finding; gone when it is put right), case_audit_months (upsert by
--             month of opening and brigade). Consumers: legal section, brigades.
-- Rules:      overdue: not done when the last working day for it has ended. late: done after it. out_of_order: done before a
--             step that comes before it. one_officer: two were needed. own_review: done by the handler of the case where
--             another must. no_rules: nothing says what such a case needs; calendar_gap: the calendar does not cover the step's
--             last day.
-- Thresholds: case_step_rules of the kind at the instant of opening. There are no defaults: what the law asks of a kind of case
--             is not guessed.

CREATE VIEW case_kind_steps AS
SELECT DISTINCT kind, step FROM case_step_rules;

CREATE VIEW required_steps AS
SELECT
    c.case_id, c.kind, c.brigade_id, c.handler_id, c.opened_at, r.step, r.ordinal, r.two_officers, r.other_than_handler,
    add_working_days(c.opened_at, r.due_days) AS due_at
FROM audited_cases AS c
JOIN case_kind_steps AS k ON k.kind = c.kind
JOIN case_step_rules FOR SYSTEM_TIME AS OF c.opened_at AS r ON r.kind = c.kind AND r.step = k.step
WHERE r.due_days IS NOT NULL;

CREATE VIEW done_steps AS
SELECT s.*, a.acted_at, a.officer_id, a.second_officer_id
FROM required_steps AS s
LEFT JOIN case_acts AS a ON a.case_id = s.case_id AND a.step = s.step;

CREATE TABLE steps_not_done (PRIMARY KEY (case_id, step)) AS
SELECT case_id, step, brigade_id, opened_at, due_at FROM done_steps WHERE acted_at IS NULL AND due_at IS NOT NULL;

-- A step is out of order when some step of a lower ordinal was done later, or not at all.
CREATE VIEW ordered_steps AS
SELECT
    case_id, step, brigade_id, opened_at, acted_at,
    max(acted_at) OVER steps_before AS latest_before,
    coalesce(sum(CASE WHEN acted_at IS NULL THEN 1 ELSE 0 END) OVER steps_before, 0) AS missing_before
FROM done_steps
WINDOW steps_before AS (PARTITION BY case_id ORDER BY ordinal RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING);

CREATE TABLE audit_findings (PRIMARY KEY (case_id, step, finding)) AS
SELECT case_id, step, 'overdue' AS finding, brigade_id, opened_at FROM PASSED(steps_not_done, due_at)
UNION ALL
SELECT case_id, step, 'late', brigade_id, opened_at FROM done_steps WHERE acted_at > due_at
UNION ALL
SELECT case_id, step, 'out_of_order', brigade_id, opened_at FROM ordered_steps
WHERE acted_at < latest_before OR (acted_at IS NOT NULL AND missing_before > 0)
UNION ALL
SELECT case_id, step, 'one_officer', brigade_id, opened_at
FROM done_steps
WHERE two_officers AND acted_at IS NOT NULL AND coalesce(second_officer_id, officer_id) IN (officer_id, '')
UNION ALL
SELECT case_id, step, 'own_review', brigade_id, opened_at
FROM done_steps WHERE other_than_handler AND officer_id = handler_id
UNION ALL
SELECT case_id, step, 'calendar_gap', brigade_id, opened_at FROM done_steps WHERE due_at IS NULL
UNION ALL
SELECT c.case_id, 'all', 'no_rules', c.brigade_id, c.opened_at
FROM audited_cases AS c
WHERE NOT EXISTS (SELECT 1 FROM required_steps AS r WHERE r.case_id = c.case_id);

CREATE SINK case_findings WITH (topic = 'case-findings', format = 'json') AS
SELECT case_id, step, finding, brigade_id, opened_at FROM audit_findings;

CREATE VIEW faulty_cases AS
SELECT DISTINCT case_id FROM audit_findings;

CREATE TABLE case_audit_counts (PRIMARY KEY (month, brigade_id)) AS
SELECT
    year_month(c.opened_at) AS month, c.brigade_id, count(*) AS cases, count(f.case_id) AS with_findings
FROM audited_cases AS c
LEFT JOIN faulty_cases AS f ON f.case_id = c.case_id
GROUP BY year_month(c.opened_at), c.brigade_id;

CREATE SINK case_audit_months WITH (topic = 'case-audit-months', format = 'json') AS
SELECT month, brigade_id, cases, with_findings, CAST(with_findings AS DOUBLE) / cases AS share FROM case_audit_counts;
