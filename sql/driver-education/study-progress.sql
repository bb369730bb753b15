-- Purpose:    how far a study has come, what follows when it is complete, and who lets the time pass.
-- Inputs:     enrolments, issued_obligations, judged_sessions, clearances, appeals, study_policy.
-- Outputs:    sinks study_progress (upsert by enrolment_id; consumers: the driver, counters), study_completions (append;
--             automatic_review and exam_admission; consumer: the vehicle office), overdue_studies (append, proposals until an
--             officer approves; consumers: county posts), enrolments_in_doubt (upsert; consumer: the service point).
-- Rules:      a day counts on site, or online, when the minutes of its sessions that count reach what the policy asks. The policy is
--             that in force at the enrolment, for the whole study: who began under 5+2 completes 5+2. Days of one mode do not stand
--             in for the other. A complete review is entered without anybody asking; complete days for full marks admit to the
--             examination. The first enrolment of an obligation that was open is its study; others are in doubt. Overdue: for
--             full marks no study begun when the time has passed, for a review none completed; withdrawn when it is made up. While an
--             appeal against the obligation or a penalty behind it is open nobody is proposed as overdue, though the study goes on.
-- Thresholds: study_policy; full marks 2+5 days, a review 0+1, 180 minutes a day, where none is in force.

CREATE VIEW placed_enrolments AS
SELECT
    e.enrolment_id, e.obligation_id, e.driver_id, e.site_id, e.enrolled_at, o.kind, o.multiple,
    CASE
        WHEN o.obligation_id IS NULL THEN 'no_obligation'
        WHEN o.driver_id <> e.driver_id THEN 'other_driver'
        WHEN e.enrolled_at < o.opens_at THEN 'too_early'
    END AS reason
FROM enrolments AS e
LEFT JOIN issued_obligations AS o ON o.obligation_id = e.obligation_id;

CREATE VIEW ranked_enrolments AS
SELECT *, row_number() OVER (PARTITION BY obligation_id ORDER BY enrolled_at, enrolment_id) AS n
FROM placed_enrolments
WHERE reason IS NULL;

CREATE TABLE doubtful_enrolments (PRIMARY KEY (enrolment_id)) AS
SELECT enrolment_id, obligation_id, driver_id, reason FROM placed_enrolments WHERE reason IS NOT NULL
UNION ALL
SELECT enrolment_id, obligation_id, driver_id, 'already_enrolled' FROM ranked_enrolments WHERE n > 1;

CREATE SINK enrolments_in_doubt WITH (topic = 'enrolments-in-doubt', format = 'json') AS
SELECT enrolment_id, obligation_id, driver_id, reason FROM doubtful_enrolments;

CREATE VIEW studies AS
SELECT
    e.enrolment_id, e.obligation_id, e.driver_id, e.site_id, e.enrolled_at, e.kind,
    coalesce(p.onsite_days, CASE e.kind WHEN 'full_marks' THEN 2 ELSE 0 END) * e.multiple AS onsite_days,
    coalesce(p.online_days, CASE e.kind WHEN 'full_marks' THEN 5 ELSE 1 END) * e.multiple AS online_days,
    coalesce(p.onsite_minutes, 180) AS onsite_minutes,
    coalesce(p.online_minutes, 180) AS online_minutes
FROM ranked_enrolments AS e
LEFT JOIN study_policy FOR SYSTEM_TIME AS OF e.enrolled_at AS p ON p.kind = e.kind
WHERE e.n = 1;

-- === days ===

CREATE VIEW session_days AS
SELECT enrolment_id, mode, local_date(starts_at) AS day, sum(minutes) AS minutes
FROM judged_sessions
WHERE status = 'counted'
GROUP BY enrolment_id, mode, local_date(starts_at);

CREATE VIEW study_days AS
SELECT s.enrolment_id, d.mode, d.day, row_number() OVER (PARTITION BY s.enrolment_id, d.mode ORDER BY d.day) AS n, s.onsite_days, s.online_days
FROM studies AS s
JOIN session_days AS d ON d.enrolment_id = s.enrolment_id
WHERE d.minutes >= CASE d.mode WHEN 'onsite' THEN s.onsite_minutes ELSE s.online_minutes END
  AND d.day >= local_date(s.enrolled_at);

-- Only days that are asked for; the last of them is the day on which the study is complete.
CREATE VIEW done_days AS
SELECT
    enrolment_id,
    count(CASE WHEN mode = 'onsite' THEN 1 END) AS onsite,
    count(CASE WHEN mode = 'online' THEN 1 END) AS online,
    max(day) AS last_day
FROM study_days
WHERE n <= CASE mode WHEN 'onsite' THEN onsite_days ELSE online_days END
GROUP BY enrolment_id;

CREATE TABLE study_states (PRIMARY KEY (enrolment_id)) AS
SELECT
    s.enrolment_id, s.obligation_id, s.driver_id, s.site_id, s.enrolled_at, s.kind, s.onsite_days, s.online_days,
    coalesce(d.onsite, 0) AS onsite_done,
    coalesce(d.online, 0) AS online_done,
    100 * (coalesce(d.onsite, 0) + coalesce(d.online, 0)) / (s.onsite_days + s.online_days) AS percent,
    CASE WHEN coalesce(d.onsite, 0) + coalesce(d.online, 0) = s.onsite_days + s.online_days THEN d.last_day END AS completed_on
FROM studies AS s
LEFT JOIN done_days AS d ON d.enrolment_id = s.enrolment_id;

CREATE SINK study_progress WITH (topic = 'study-progress', format = 'json') AS
SELECT
    enrolment_id, obligation_id, driver_id, kind,
    CAST(onsite_days AS VARCHAR) || '+' || CAST(online_days AS VARCHAR) AS study_mode,
    onsite_done, online_done, percent, completed_on
FROM study_states;

-- === what follows ===

CREATE TABLE completed_studies (PRIMARY KEY (obligation_id)) AS
SELECT
    obligation_id, CASE kind WHEN 'review' THEN 'automatic_review' ELSE 'exam_admission' END AS action,
    driver_id, enrolment_id, completed_on
FROM study_states
WHERE completed_on IS NOT NULL;

CREATE SINK study_completions WITH (topic = 'study-completions', format = 'json', key = 'driver_id', count_by = 'action') AS
SELECT
    coalesce(after.obligation_id, before.obligation_id) AS obligation_id,
    coalesce(after.action, before.action) AS action,
    coalesce(after.driver_id, before.driver_id) AS driver_id,
    coalesce(after.enrolment_id, before.enrolment_id) AS enrolment_id,
    coalesce(after.completed_on, before.completed_on) AS completed_on,
    CASE WHEN after.obligation_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(completed_studies);

-- What is still owed. An examination passed since settles full marks, wherever the driver studied.
CREATE VIEW owed_obligations AS
SELECT
    o.obligation_id, o.kind, o.driver_id, o.points, o.arose_at, o.opens_at, o.due_at,
    s.enrolment_id, s.onsite_days, s.online_days, s.onsite_done, s.online_done, s.percent
FROM issued_obligations AS o
LEFT JOIN study_states AS s ON s.obligation_id = o.obligation_id
WHERE (s.completed_on IS NULL OR o.kind = 'full_marks')
  AND NOT EXISTS (
    SELECT 1 FROM clearances AS c
    WHERE c.driver_id = o.driver_id AND c.cycle_started_on = o.cycle_started_on AND c.cleared_at >= o.arose_at);

CREATE VIEW open_appeals AS SELECT action_id FROM appeals WHERE closed_at IS NULL AND action_id IS NOT NULL;

CREATE VIEW appealed_obligations AS
SELECT obligation_id
FROM (SELECT obligation_id, unnest(evidence) AS penalty_id FROM issued_obligations) AS e
WHERE EXISTS (SELECT 1 FROM open_appeals AS a WHERE a.action_id = e.penalty_id)
UNION
SELECT action_id FROM open_appeals;

CREATE TABLE awaited_studies (PRIMARY KEY (obligation_id)) AS
SELECT obligation_id, kind, driver_id, due_at
FROM owed_obligations AS o
WHERE (kind = 'review' OR enrolment_id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM appealed_obligations AS a WHERE a.obligation_id = o.obligation_id);

CREATE TABLE missed_studies (PRIMARY KEY (obligation_id)) AS
SELECT obligation_id, kind, driver_id, due_at FROM PASSED(awaited_studies, due_at);

CREATE SINK overdue_studies WITH (topic = 'overdue-studies', format = 'json', key = 'driver_id', count_by = 'kind') AS
SELECT
    coalesce(after.obligation_id, before.obligation_id) AS obligation_id,
    coalesce(after.kind, before.kind) AS kind,
    coalesce(after.driver_id, before.driver_id) AS driver_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.obligation_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(missed_studies);
