-- Purpose:    the file of auxiliary staff: training, duty, who may be promoted; and cases that were not led by sworn
--             officers.
-- Inputs:     officers, trainings, assessments, sanctions, promotion_rounds, promotion_policy, staff_policy,
--             officer_duty_days, cases, evidence.
-- Outputs:    sink personnel_register (upsert by officer_id): the latest row of everybody, without name and telephone.
--             sink officer_months (upsert by officer_id and month): hours of courses passed, and days on duty.
--             sink unit_trainings (upsert by unit_id and month): the same hours by unit, with the number of officers.
--             sink promotion_assessments (upsert by round_id and officer_id): each auxiliary officer of a round, eligible
--             or not, with every reason; a proposal (needs_approval). Consumers: personnel department.
--             sink auxiliary_enforcement (upsert by case_id): cases with fewer sworn officers than they need, for review;
--             nothing follows from it by itself. Consumer: supervision.
-- Rules:      a round considers those who are auxiliary and active at its instant. Reasons against: rank_too_recent (less
--             than rank_months in the rank without interruption), not_assessed (one of the two calendar years before has no
--             assessment), assessment_too_low (their mean is below score_min), too_little_training (fewer than
--             training_hours of courses passed in the twelve months before), sanctioned (a sanction within clean_months
--             before). The officers of a case are who leads it and who captured its evidence, in their role when the case
--             was opened; only active sworn officers count.
-- Thresholds: promotion_policy of the rank at the round (36 months, 80, 40 hours, 12 months), staff_policy of the procedure
--             at the opening (general 2 sworn officers, summary 1; 24 hours until they are known).
-- Limits:     months are calendar months, clamped to the month's last day. Hours of training are those of whoever was in
--             the unit when the course was completed.

CREATE SINK personnel_register WITH (topic = 'personnel-register', format = 'json') AS
SELECT officer_id, effective_from, role, service, rank, unit_id, active
FROM (
    SELECT
        officer_id, effective_from, role, service, rank, unit_id, active,
        row_number() OVER (PARTITION BY officer_id ORDER BY effective_from DESC) AS nth
    FROM officers
) AS o
WHERE nth = 1;

-- === training and duty ===

CREATE VIEW passed_trainings AS
SELECT training_id, officer_id, hours, completed_at FROM trainings WHERE passed AND hours > 0;

CREATE VIEW training_months AS
SELECT officer_id, year_month(completed_at) AS month, sum(hours) AS hours
FROM passed_trainings
GROUP BY officer_id, year_month(completed_at);

CREATE VIEW duty_months AS
SELECT officer_id, year_month(window_start) AS month, count(*) AS duty_days
FROM officer_duty_days
GROUP BY officer_id, year_month(window_start);

CREATE SINK officer_months WITH (topic = 'officer-months', format = 'json') AS
SELECT officer_id, month, sum(hours) AS training_hours, sum(duty_days) AS duty_days
FROM (
    SELECT officer_id, month, hours, 0 AS duty_days FROM training_months
    UNION ALL
    SELECT officer_id, month, 0, duty_days FROM duty_months
) AS m
GROUP BY officer_id, month;

CREATE TABLE unit_training_months AS
SELECT o.unit_id, year_month(t.completed_at) AS month, sum(t.hours) AS hours, count(DISTINCT t.officer_id) AS officers
FROM passed_trainings AS t
JOIN officers FOR SYSTEM_TIME AS OF t.completed_at AS o ON o.officer_id = t.officer_id
WHERE o.active AND o.unit_id IS NOT NULL
GROUP BY o.unit_id, year_month(t.completed_at);

CREATE SINK unit_trainings WITH (topic = 'unit-trainings', format = 'json') AS SELECT * FROM unit_training_months;

-- === promotion ===

-- Since when somebody has the rank that they have: the first row after the last change of rank.
CREATE VIEW rank_rows AS
SELECT
    officer_id, effective_from, rank,
    CASE WHEN rank = lag(rank) OVER in_time AND lag(active) OVER in_time THEN 0 ELSE 1 END AS begins
FROM officers
WINDOW in_time AS (PARTITION BY officer_id ORDER BY effective_from);

CREATE VIEW rank_starts AS
SELECT officer_id, effective_from, max(CASE WHEN begins = 1 THEN effective_from END) OVER (
    PARTITION BY officer_id ORDER BY effective_from) AS rank_since
FROM rank_rows;

CREATE VIEW considered_officers AS
SELECT
    c.round_id, c.as_of, c.officer_id, o.rank, o.service, o.unit_id, o.effective_from,
    coalesce(p.rank_months, 36) AS rank_months, coalesce(p.score_min, 80) AS score_min,
    coalesce(p.training_hours, 40) AS hours_min, coalesce(p.clean_months, 12) AS clean_months
FROM (
    SELECT r.round_id, r.as_of, i.officer_id
    FROM (SELECT DISTINCT officer_id FROM officers) AS i
    CROSS JOIN promotion_rounds AS r
) AS c
JOIN officers FOR SYSTEM_TIME AS OF c.as_of AS o ON o.officer_id = c.officer_id
LEFT JOIN promotion_policy FOR SYSTEM_TIME AS OF c.as_of AS p ON p.rank = o.rank
WHERE o.role = 'auxiliary' AND o.active;

CREATE VIEW round_scores AS
SELECT c.round_id, c.officer_id, count(*) AS assessments, avg(a.score) AS score
FROM considered_officers AS c
JOIN assessments AS a ON a.officer_id = c.officer_id
    AND a.year < date_part('year', c.as_of) AND a.year >= date_part('year', c.as_of) - 2
GROUP BY c.round_id, c.officer_id;

CREATE VIEW round_trainings AS
SELECT c.round_id, c.officer_id, sum(t.hours) AS hours
FROM considered_officers AS c
JOIN passed_trainings AS t ON t.officer_id = c.officer_id
    AND t.completed_at < c.as_of AND t.completed_at >= add_months(c.as_of, -12)
GROUP BY c.round_id, c.officer_id;

CREATE VIEW round_sanctions AS
SELECT c.round_id, c.officer_id, count(*) AS sanctions
FROM considered_officers AS c
JOIN sanctions AS s ON s.officer_id = c.officer_id
    AND s.imposed_at < c.as_of AND s.imposed_at >= add_months(c.as_of, -c.clean_months)
GROUP BY c.round_id, c.officer_id;

CREATE TABLE assessed_candidates (PRIMARY KEY (round_id, officer_id)) AS
SELECT
    c.round_id, c.officer_id, c.unit_id, c.service, c.rank, k.rank_since, s.score,
    coalesce(t.hours, 0) AS training_hours, coalesce(x.sanctions, 0) AS sanctions,
    array_remove_all(make_array(
        CASE WHEN add_months(k.rank_since, c.rank_months) > c.as_of THEN 'rank_too_recent' ELSE '' END,
        CASE WHEN coalesce(s.assessments, 0) < 2 THEN 'not_assessed' ELSE '' END,
        CASE WHEN s.assessments = 2 AND s.score < c.score_min THEN 'assessment_too_low' ELSE '' END,
        CASE WHEN coalesce(t.hours, 0) < c.hours_min THEN 'too_little_training' ELSE '' END,
        CASE WHEN x.sanctions > 0 THEN 'sanctioned' ELSE '' END
    ), '') AS reasons
FROM considered_officers AS c
LEFT JOIN rank_starts AS k ON k.officer_id = c.officer_id AND k.effective_from = c.effective_from
LEFT JOIN round_scores AS s ON s.round_id = c.round_id AND s.officer_id = c.officer_id
LEFT JOIN round_trainings AS t ON t.round_id = c.round_id AND t.officer_id = c.officer_id
LEFT JOIN round_sanctions AS x ON x.round_id = c.round_id AND x.officer_id = c.officer_id;

CREATE SINK promotion_assessments WITH (topic = 'promotion-assessments', format = 'json') AS
SELECT *, cardinality(reasons) = 0 AS eligible, true AS needs_approval FROM assessed_candidates;

-- === who enforces ===

CREATE VIEW case_participants AS
SELECT DISTINCT case_id, officer_id
FROM (
    SELECT case_id, officer_id FROM cases
    UNION ALL
    SELECT case_id, officer_id FROM evidence
) AS o
WHERE coalesce(officer_id, '') <> '';

CREATE VIEW case_roles AS
SELECT
    p.case_id, count(*) AS participants,
    count(*) FILTER (WHERE o.role = 'sworn' AND o.active) AS sworn,
    count(*) FILTER (WHERE o.role = 'auxiliary' AND o.active) AS auxiliary
FROM (
    SELECT c.case_id, c.opened_at, p.officer_id FROM cases AS c JOIN case_participants AS p ON p.case_id = c.case_id
) AS p
LEFT JOIN officers FOR SYSTEM_TIME AS OF p.opened_at AS o ON o.officer_id = p.officer_id
GROUP BY p.case_id;

CREATE TABLE understaffed_cases (PRIMARY KEY (case_id)) AS
SELECT
    c.case_id, c.unit_id, c.procedure, coalesce(r.sworn, 0) AS sworn, coalesce(r.auxiliary, 0) AS auxiliary,
    coalesce(r.participants, 0) AS participants, c.sworn_min, c.due_at
FROM (
    SELECT
        c.case_id, c.unit_id, c.procedure,
        coalesce(p.sworn_min, CASE WHEN c.procedure = 'summary' THEN 1 ELSE 2 END) AS sworn_min,
        c.opened_at + coalesce(p.grace_hours, 24) * INTERVAL '1 hour' AS due_at
    FROM cases AS c
    LEFT JOIN staff_policy FOR SYSTEM_TIME AS OF c.opened_at AS p ON p.procedure = c.procedure
) AS c
LEFT JOIN case_roles AS r ON r.case_id = c.case_id
WHERE coalesce(r.sworn, 0) < c.sworn_min;

CREATE SINK auxiliary_enforcement WITH (topic = 'auxiliary-enforcement', format = 'json') AS
SELECT case_id, unit_id, procedure, sworn, sworn_min, auxiliary, participants FROM PASSED(understaffed_cases, due_at);
