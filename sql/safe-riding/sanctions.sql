-- Purpose:    proposals by department, and what officers have made of them.
-- Inputs:     issued_disposals, approvals, publications, follow_up_policy.
-- Outputs:    sinks police_proposals and integrity_proposals (append; consumers: traffic police, Civilized Office), sanctions
--             (append; what an officer has approved: the only topic of which a sanction may be executed) and
--             publications_overdue (upsert by action_id; consumer: supervision).
-- Rules:      a proposal never comes into force by itself: a sanction carries the approval. It is withdrawn when its proposal
--             is, when an appeal of the person is opened, and when the approval is taken back. `appeal_ref` is what an appeal
--             names.
-- Thresholds: follow_up_policy.publish_days at the decision: an approved sanction must be open to query by then (suggested: 3
--             days); no deadline where null or where no row is in force.

CREATE TABLE punishment_proposals (PRIMARY KEY (action_id)) AS
SELECT action_id, person_id, month, n, ride_started_at, evidence FROM issued_disposals WHERE action = 'punishment';

CREATE SINK police_proposals WITH (
    topic = 'police-proposals', format = 'json', key = 'person_id', emit_time = 'ride_started_at'
) AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.n, before.n) AS n,
    coalesce(after.ride_started_at, before.ride_started_at) AS ride_started_at,
    coalesce(after.evidence, before.evidence) AS evidence,
    coalesce(after.action_id, before.action_id) AS appeal_ref,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(punishment_proposals);

CREATE TABLE deduction_proposals (PRIMARY KEY (action_id)) AS
SELECT action_id, person_id, month, n, ride_started_at, evidence, points
FROM issued_disposals WHERE action = 'integrity_deduction';

CREATE SINK integrity_proposals WITH (
    topic = 'integrity-proposals', format = 'json', key = 'person_id', emit_time = 'ride_started_at'
) AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.n, before.n) AS n,
    coalesce(after.ride_started_at, before.ride_started_at) AS ride_started_at,
    coalesce(after.evidence, before.evidence) AS evidence,
    coalesce(after.points, before.points) AS points,
    coalesce(after.action_id, before.action_id) AS appeal_ref,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(deduction_proposals);

-- === what officers have approved ===

CREATE TABLE approved_sanctions (PRIMARY KEY (action_id)) AS
SELECT
    d.action_id, d.action, d.person_id, d.month, d.n, d.ride_started_at, d.evidence, d.points,
    a.approval_id, a.officer_id, a.decided_at
FROM (SELECT * FROM issued_disposals WHERE action IN ('punishment', 'integrity_deduction')) AS d
JOIN approvals AS a ON a.action_id = d.action_id
WHERE a.decision = 'approved';

CREATE SINK sanctions WITH (
    topic = 'sanctions', format = 'json', key = 'person_id', count_by = 'action', emit_time = 'decided_at'
) AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.action, before.action) AS action,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.ride_started_at, before.ride_started_at) AS ride_started_at,
    coalesce(after.evidence, before.evidence) AS evidence,
    CASE WHEN after.action_id IS NULL THEN before.points ELSE after.points END AS points,
    coalesce(after.approval_id, before.approval_id) AS approval_id,
    coalesce(after.officer_id, before.officer_id) AS officer_id,
    coalesce(after.decided_at, before.decided_at) AS decided_at,
    coalesce(after.action_id, before.action_id) AS appeal_ref,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(approved_sanctions);

-- === what the person cannot see yet ===

CREATE TABLE unpublished (PRIMARY KEY (action_id)) AS
SELECT action_id, person_id, due_at
FROM (
    SELECT
        s.action_id, s.person_id, p.published_at,
        add_days(s.decided_at, f.publish_days) AS due_at
    FROM approved_sanctions AS s
    LEFT JOIN publications AS p ON p.action_id = s.action_id
    JOIN follow_up_policy FOR SYSTEM_TIME AS OF s.decided_at AS f ON TRUE
) AS s
WHERE due_at IS NOT NULL AND (published_at IS NULL OR published_at > due_at);

CREATE TABLE overdue_publications (PRIMARY KEY (action_id)) AS
SELECT action_id, person_id, due_at FROM PASSED(unpublished, due_at);

CREATE SINK publications_overdue WITH (topic = 'publications-overdue', format = 'json') AS
SELECT action_id, person_id, due_at FROM overdue_publications;
