-- Purpose:  a penalty that an evaluation proved wrong is proposed to be voided.
-- Inputs:   accepted_evaluations, findings.
-- Outputs:  sink penalty_reversals (append, issued and withdrawn, proposals until an officer approves; consumer: the register of
--           penalties, which then sends the void to whoever counted it).
-- Rules:    an evaluation that says no_violation, of a document with a penalty, that a level found to be upheld. The highest level
--           that found something decides.

CREATE VIEW last_findings AS
SELECT evaluation_id, last_value(outcome ORDER BY rank) AS outcome, last_value(level ORDER BY rank) AS level
FROM (
    SELECT evaluation_id, level, outcome, CASE level WHEN 'province' THEN 3 WHEN 'detachment' THEN 2 ELSE 1 END AS rank
    FROM findings
    WHERE outcome IS NOT NULL
) AS f
GROUP BY evaluation_id;

CREATE TABLE reversals_due (PRIMARY KEY (evaluation_id)) AS
SELECT e.evaluation_id, e.penalty_id, e.document_id, f.level
FROM accepted_evaluations AS e
JOIN last_findings AS f ON f.evaluation_id = e.evaluation_id
WHERE e.verdict = 'dissatisfied' AND e.penalty_id IS NOT NULL AND array_has(e.situations, 'no_violation') AND f.outcome = 'upheld';

CREATE SINK penalty_reversals WITH (topic = 'penalty-reversals', format = 'json', key = 'penalty_id') AS
SELECT
    coalesce(after.evaluation_id, before.evaluation_id) AS evaluation_id,
    coalesce(after.penalty_id, before.penalty_id) AS penalty_id,
    coalesce(after.document_id, before.document_id) AS document_id,
    coalesce(after.level, before.level) AS level,
    'no_violation' AS ground,
    CASE WHEN after.evaluation_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(reversals_due);
