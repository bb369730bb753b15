-- Purpose:    one-stop mediation of accidents by many offices: is it done in time, does it end in agreement, are the parties
--             content.
-- Inputs:     mediations, mediation_ratings, mediation_units, mediation_policy.
-- Outputs:    sinks mediation_overdue (append with revision), mediation_faults (upsert; records that contradict themselves),
--             mediation_months (upsert by month of closing and unit, and unit `all`). Consumers: the centre, its units, the
--             traffic-safety office.
-- Rules:      agreed share = agreed / (agreed + failed): what the parties withdraw is no outcome of the mediation. Satisfied
--             share = satisfied / ratings. Both carry numerator and denominator; a unit's shares are told from judged_min on,
--             so that no ranking rests on a handful of cases. A faulty record counts nowhere.
-- Thresholds: mediation_policy at the acceptance; where none is in force: 10 calendar days to close (article 94 of the
--             regulation on the handling of accidents), 10 cases, shares of 0.95 and 0.95.

CREATE VIEW judged_mediations AS
SELECT
    m.mediation_id, m.unit_id, u.department, m.accepted_at, m.closed_at, m.outcome,
    add_days(m.accepted_at, coalesce(p.close_days, 10)) AS due_at,
    coalesce(p.judged_min, 10) AS judged_min,
    coalesce(p.agreed_min, 0.95) AS agreed_min,
    coalesce(p.satisfied_min, 0.95) AS satisfied_min,
    CASE
        WHEN u.unit_id IS NULL THEN 'unknown_unit'
        WHEN m.closed_at < m.accepted_at THEN 'closed_before_accepted'
        WHEN (m.closed_at IS NULL) <> (m.outcome IS NULL) THEN 'half_closed'
        WHEN m.outcome NOT IN ('agreed', 'failed', 'withdrawn') THEN 'unknown_outcome'
    END AS fault
FROM mediations AS m
LEFT JOIN mediation_units AS u ON u.unit_id = m.unit_id
LEFT JOIN mediation_policy FOR SYSTEM_TIME AS OF m.accepted_at AS p ON TRUE;

CREATE TABLE faulty_mediations (PRIMARY KEY (mediation_id)) AS
SELECT mediation_id, unit_id, fault FROM judged_mediations WHERE fault IS NOT NULL;

CREATE SINK mediation_faults WITH (topic = 'mediation-faults', format = 'json') AS
SELECT mediation_id, unit_id, fault FROM faulty_mediations;

CREATE TABLE late_mediations (PRIMARY KEY (mediation_id)) AS
SELECT mediation_id, unit_id, due_at FROM judged_mediations WHERE closed_at IS NULL OR closed_at > due_at;

CREATE TABLE mediations_missed (PRIMARY KEY (mediation_id)) AS
SELECT mediation_id, unit_id, due_at FROM PASSED(late_mediations, due_at);

CREATE SINK mediation_overdue WITH (topic = 'mediation-overdue', format = 'json', key = 'mediation_id', emit_time = 'due_at') AS
SELECT
    coalesce(after.mediation_id, before.mediation_id) AS mediation_id,
    coalesce(after.unit_id, before.unit_id) AS unit_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.mediation_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(mediations_missed);

CREATE VIEW mediation_opinions AS
SELECT mediation_id, count(*) AS ratings, sum(CASE WHEN satisfied THEN 1 ELSE 0 END) AS satisfied
FROM mediation_ratings GROUP BY mediation_id;

CREATE VIEW closed_mediations AS
SELECT
    m.mediation_id, year_month(m.closed_at) AS month, m.unit_id, m.department, m.outcome, m.closed_at <= m.due_at AS in_time,
    m.judged_min, m.agreed_min, m.satisfied_min, coalesce(o.ratings, 0) AS ratings, coalesce(o.satisfied, 0) AS satisfied
FROM judged_mediations AS m
LEFT JOIN mediation_opinions AS o ON o.mediation_id = m.mediation_id
WHERE m.fault IS NULL AND m.closed_at IS NOT NULL;

CREATE TABLE mediation_month_counts (PRIMARY KEY (month, unit_id)) AS
SELECT
    month, unit_id, count(DISTINCT department) AS departments, count(*) AS closed,
    sum(CASE WHEN in_time THEN 1 ELSE 0 END) AS in_time,
    sum(CASE WHEN outcome = 'agreed' THEN 1 ELSE 0 END) AS agreed,
    sum(CASE WHEN outcome IN ('agreed', 'failed') THEN 1 ELSE 0 END) AS decided,
    sum(ratings) AS ratings, sum(satisfied) AS satisfied,
    max(judged_min) AS judged_min, max(agreed_min) AS agreed_min, max(satisfied_min) AS satisfied_min
FROM (
    SELECT month, unit_id, department, outcome, in_time, ratings, satisfied, judged_min, agreed_min, satisfied_min
    FROM closed_mediations
    UNION ALL
    SELECT month, 'all', department, outcome, in_time, ratings, satisfied, 1, agreed_min, satisfied_min
    FROM closed_mediations
) AS c
GROUP BY month, unit_id;

CREATE SINK mediation_months WITH (topic = 'mediation-months', format = 'json') AS
SELECT
    month, unit_id, departments, closed, in_time, agreed, decided, ratings, satisfied,
    CASE WHEN decided >= judged_min THEN CAST(agreed AS DOUBLE) / decided END AS agreed_share,
    CASE WHEN decided >= judged_min THEN CAST(agreed AS DOUBLE) / decided >= agreed_min END AS agreed_met,
    CASE WHEN ratings >= judged_min THEN CAST(satisfied AS DOUBLE) / ratings END AS satisfied_share,
    CASE WHEN ratings >= judged_min THEN CAST(satisfied AS DOUBLE) / ratings >= satisfied_min END AS satisfied_met
FROM mediation_month_counts;
