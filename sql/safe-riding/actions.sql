-- Purpose:  what follows from each ride, issued as it becomes known and withdrawn when its ground falls away.
-- Inputs:   judged_rides, punished_rides.
-- Outputs:  sinks disposal_actions (all departments) and party_actions (restricted topic), append; same columns. A row with
--           revision > 1 updates the same task; it is never a second notice.
-- Rules:    a minor's ride is a notice to the guardian and nothing else. After a delivered visit: punishment and deduction,
--           both proposals until an officer approves, and none while an appeal of the person is open. Else by the number of the ride in the month: a reminder below
--           visit_from, a visit at it, an urgent visit at urgent_from. The party is told once a month, when a member's
--           stage of visits begins.
-- Thresholds: those of judged_rides; points are the policy's deduction.
-- Guards:   off as shipped, to be written into the WITH of a sink here: settle = '2 minutes' (what is undone within that time
--           never leaves: a void that follows its capture stops the notice), max_rate = '2000 per hour' (beyond it the sink
--           pauses until `curb resume`; three times the busiest hour so far is a good figure), mode = 'shadow' (a changed rule
--           writes to <topic>.shadow, where it can be set against what is in force).

CREATE VIEW disposals_due AS
SELECT 'guardian_notice' AS action, person_id, month, n, ride_started_at, evidence, CAST(NULL AS BIGINT) AS points
FROM judged_rides WHERE is_minor
UNION ALL
SELECT 'punishment', person_id, month, n, ride_started_at, evidence, CAST(NULL AS BIGINT)
FROM punished_rides
UNION ALL
SELECT 'integrity_deduction', person_id, month, n, ride_started_at, evidence, deduction
FROM punished_rides
UNION ALL
SELECT 'reminder', person_id, month, n, ride_started_at, evidence, CAST(NULL AS BIGINT)
FROM judged_rides WHERE NOT is_minor AND NOT is_treated AND is_occasional
UNION ALL
SELECT 'grid_visit', person_id, month, n, ride_started_at, evidence, CAST(NULL AS BIGINT)
FROM judged_rides WHERE NOT is_minor AND NOT is_treated AND is_visit
UNION ALL
SELECT 'employer_supervision', person_id, month, n, ride_started_at, evidence, CAST(NULL AS BIGINT)
FROM judged_rides WHERE NOT is_minor AND NOT is_treated AND is_visit AND employer_id IS NOT NULL
UNION ALL
SELECT 'urgent_visit', person_id, month, n, ride_started_at, evidence, CAST(NULL AS BIGINT)
FROM judged_rides WHERE NOT is_minor AND NOT is_treated AND is_urgent;

CREATE VIEW party_notices_due AS
SELECT 'party_reminder' AS action, person_id, month, n, ride_started_at, evidence, CAST(NULL AS BIGINT) AS points
FROM judged_rides WHERE NOT is_minor AND is_visit AND party_branch_id IS NOT NULL
UNION ALL
SELECT 'branch_notice', person_id, month, n, ride_started_at, evidence, CAST(NULL AS BIGINT)
FROM judged_rides WHERE NOT is_minor AND is_visit AND party_branch_id IS NOT NULL;

-- These tables hold what an action_id determines and what is worth a revision, nothing else: every change is written.
CREATE TABLE issued_disposals (PRIMARY KEY (action_id)) AS
SELECT
    person_id || '/' || month || '/' || action || '/' || CAST(n AS VARCHAR) AS action_id,
    action, person_id, month, n, ride_started_at, evidence, points
FROM disposals_due;

CREATE TABLE issued_party_notices (PRIMARY KEY (action_id)) AS
SELECT
    person_id || '/' || month || '/' || action || '/' || CAST(n AS VARCHAR) AS action_id,
    action, person_id, month, n, ride_started_at, evidence, points
FROM party_notices_due;

CREATE SINK disposal_actions WITH (
    topic = 'disposal-actions', format = 'json', key = 'person_id', count_by = 'action',
    emit_time = 'ride_started_at'
) AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.action, before.action) AS action,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.n, before.n) AS n,
    coalesce(after.ride_started_at, before.ride_started_at) AS ride_started_at,
    coalesce(after.evidence, before.evidence) AS evidence,
    CASE WHEN after.action_id IS NULL THEN before.points ELSE after.points END AS points,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    coalesce(after.action, before.action) IN ('punishment', 'integrity_deduction') AS needs_approval
FROM CHANGES(issued_disposals);

CREATE SINK party_actions WITH (
    topic = 'party-actions', format = 'json', key = 'person_id', count_by = 'action',
    emit_time = 'ride_started_at'
) AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.action, before.action) AS action,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.n, before.n) AS n,
    coalesce(after.ride_started_at, before.ride_started_at) AS ride_started_at,
    coalesce(after.evidence, before.evidence) AS evidence,
    CASE WHEN after.action_id IS NULL THEN before.points ELSE after.points END AS points,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    false AS needs_approval
FROM CHANGES(issued_party_notices);
