-- Purpose:    labels of units, officers, premises and enterprises, from what the other rules find, and portraits made of
--             them.
-- Inputs:     label_rules; cases, understaffed_cases, chains, inspected_objects, assessed_inspections, issued_violations.
-- Outputs:    sink subject_labels (upsert by label and subject): of units, premises and enterprises.
--             sink officer_labels (restricted topic; the same columns): of persons.
--             sink subject_portraits (upsert by subject_kind and subject): all labels of one that is no person. A tombstone
--             when a label expires or its ground falls away. Consumers: supervision, unit leaders.
-- Rules:      the measures and what they look at (hits in parentheses):
--               officer     case_reversed      cases that the officer leads (set aside on review or in court)
--               officer     case_understaffed  the same (too few sworn officers)
--               unit        evidence_broken    cases with evidence (their chain is broken)
--               unit        plan_overdue       objects of the plan that were due (not inspected in time)
--               entity      door_finding       aspects of a day that were inspected (not passed, however many inspectors saw it)
--               enterprise  waste_violation    violations of its vehicles (all)
--             What happened counts for window_days, by the rule that was in force then; afterwards it is forgotten. A label
--             takes hits_min hits, n_min that were looked at, and share_min hits among them, by the rule of the latest. It
--             is held since the hit that made hits_min full. Labels that are adverse are proposals (needs_approval).
-- Thresholds: label_rules; without a rule there is no label.
-- Limits:     windows move with event time, when all sources have passed the instant. A rule keeps its subject and measure:
--             another one is another label.

CREATE VIEW case_facts AS
SELECT
    c.case_id, c.officer_id, c.unit_id, c.opened_at, c.reversed_at IS NOT NULL AS is_reversed,
    u.case_id IS NOT NULL AS is_understaffed, h.state
FROM cases AS c
LEFT JOIN PASSED(understaffed_cases, due_at) AS u ON u.case_id = c.case_id
LEFT JOIN chains AS h ON h.case_id = c.case_id;

CREATE TABLE due_objects (PRIMARY KEY (task_id, object_id)) AS
SELECT task_id, object_id, unit_id, due_at, in_time FROM inspected_objects;

CREATE VIEW door_days AS
SELECT entity_code, aspect, local_date(inspected_at) AS day, min(inspected_at) AS inspected_at, bool_or(NOT passed) AS is_finding
FROM assessed_inspections
WHERE reason IS NULL
GROUP BY entity_code, aspect, local_date(inspected_at);

CREATE VIEW facts AS
SELECT
    'officer' AS subject_kind, officer_id AS subject, 'case_reversed' AS measure, case_id AS fact_id,
    opened_at AS happened_at, is_reversed AS hit
FROM case_facts WHERE coalesce(officer_id, '') <> ''
UNION ALL
SELECT 'officer', officer_id, 'case_understaffed', case_id, opened_at, is_understaffed
FROM case_facts WHERE coalesce(officer_id, '') <> ''
UNION ALL
SELECT 'unit', unit_id, 'evidence_broken', case_id, opened_at, state = 'broken' FROM case_facts WHERE state IS NOT NULL
UNION ALL
SELECT 'unit', unit_id, 'plan_overdue', task_id || '/' || object_id, due_at, NOT in_time FROM PASSED(due_objects, due_at)
UNION ALL
SELECT 'entity', entity_code, 'door_finding', entity_code || '/' || aspect || '/' || day, inspected_at, is_finding FROM door_days
UNION ALL
SELECT 'enterprise', enterprise_id, 'waste_violation', violation_id, started_at, true
FROM issued_violations WHERE enterprise_id IS NOT NULL;

CREATE VIEW known_labels AS SELECT DISTINCT label, subject_kind, measure FROM label_rules;

CREATE TABLE labelled_facts (PRIMARY KEY (label, fact_id)) AS
SELECT
    f.label, f.subject_kind, f.subject, f.fact_id, f.happened_at, f.hit, r.hits_min, r.n_min, r.share_min, r.adverse,
    add_days(f.happened_at, r.window_days) AS expires_at
FROM (
    SELECT k.label, f.*
    FROM facts AS f
    JOIN known_labels AS k ON k.subject_kind = f.subject_kind AND k.measure = f.measure
) AS f
JOIN label_rules FOR SYSTEM_TIME AS OF f.happened_at AS r ON r.label = f.label
WHERE r.subject_kind = f.subject_kind AND r.measure = f.measure;

CREATE VIEW live_facts AS
SELECT f.*
FROM labelled_facts AS f
WHERE NOT EXISTS (SELECT 1 FROM PASSED(labelled_facts, expires_at) AS x WHERE x.label = f.label AND x.fact_id = f.fact_id);

CREATE VIEW label_counts AS
SELECT
    label, subject_kind, subject, count(*) AS n, count(*) FILTER (WHERE hit) AS hits,
    array_agg(happened_at ORDER BY happened_at, fact_id) FILTER (WHERE hit) AS hit_times,
    array_agg(fact_id ORDER BY happened_at, fact_id) FILTER (WHERE hit) AS evidence,
    last_value(hits_min ORDER BY happened_at, fact_id) AS hits_min,
    last_value(n_min ORDER BY happened_at, fact_id) AS n_min,
    last_value(share_min ORDER BY happened_at, fact_id) AS share_min,
    last_value(adverse ORDER BY happened_at, fact_id) AS adverse
FROM live_facts
GROUP BY label, subject_kind, subject;

CREATE TABLE held_labels (PRIMARY KEY (label, subject)) AS
SELECT
    label, subject, subject_kind, array_element(hit_times, hits_min) AS since, hits, n, CAST(hits AS DOUBLE) / n AS share,
    evidence, adverse AS needs_approval
FROM label_counts
WHERE hits >= hits_min AND n >= n_min AND hits >= share_min * n;

CREATE SINK subject_labels WITH (topic = 'subject-labels', format = 'json', count_by = 'label') AS
SELECT label, subject, subject_kind, since, hits, n, share, evidence, needs_approval
FROM held_labels
WHERE subject_kind <> 'officer';

CREATE SINK officer_labels WITH (topic = 'officer-labels', format = 'json', count_by = 'label') AS
SELECT label, subject, subject_kind, since, hits, n, share, evidence, needs_approval
FROM held_labels
WHERE subject_kind = 'officer';

CREATE SINK subject_portraits WITH (topic = 'subject-portraits', format = 'json') AS
SELECT subject_kind, subject, array_agg(label ORDER BY label) AS labels, count(*) FILTER (WHERE needs_approval) AS adverse_labels
FROM held_labels
WHERE subject_kind <> 'officer'
GROUP BY subject_kind, subject;
