-- Purpose:    hidden dangers of the roads are found, assigned, fixed and verified by the offices that share the work, each in
--             its time; how many, and how fast.
-- Inputs:     road_dangers, danger_steps, rectification_policy, rectification_targets, calendar.
-- Outputs:    sinks danger_states (upsert by danger_id; where it stands and until when), danger_overdue (append with revision),
--             danger_quarters (upsert by quarter of the finding and unit: rate, mean days, beside the quarter before).
--             Consumers: units that fix, brigades, traffic-safety office.
-- Rules:      the first assignment counts. A fix counts when it came after the last rejection, a verification when it came with
--             or after that fix. What is fixed without an assignment counts as assigned with it. The time to fix runs in
--             calendar days from the assignment, that to assign and to verify in working days; where the calendar does not
--             cover them the due time is null until it does. After a rejection the time to fix runs anew from it.
-- Thresholds: rectification_policy of the level when it was found; where none is in force: 3 working days to assign, 30 days to
--             fix (major ones 90), 5 working days to verify. Targets: a unit is judged from 5 dangers on, at a rate of 0.9, 14
--             days shorter.

CREATE VIEW danger_assignments AS
SELECT danger_id, min(done_at) AS assigned_at, first_value(unit_id ORDER BY done_at, step_id) AS unit_id
FROM danger_steps WHERE step = 'assigned' GROUP BY danger_id;

CREATE VIEW danger_rejections AS
SELECT danger_id, max(done_at) AS rejected_at FROM danger_steps WHERE step = 'rejected' GROUP BY danger_id;

CREATE VIEW danger_fixes AS
SELECT s.danger_id, min(s.done_at) AS fixed_at
FROM danger_steps AS s
LEFT JOIN danger_rejections AS r ON r.danger_id = s.danger_id
WHERE s.step = 'fixed' AND (r.rejected_at IS NULL OR s.done_at > r.rejected_at)
GROUP BY s.danger_id;

CREATE VIEW danger_verifications AS
SELECT s.danger_id, min(s.done_at) AS verified_at
FROM danger_steps AS s
JOIN danger_fixes AS f ON f.danger_id = s.danger_id
WHERE s.step = 'verified' AND s.done_at >= f.fixed_at
GROUP BY s.danger_id;

CREATE VIEW danger_progress AS
SELECT
    d.danger_id, d.found_at, d.category, d.level, d.road_id, d.direction, d.from_m, d.to_m, d.answers,
    coalesce(a.unit_id, 'unassigned') AS unit_id,
    coalesce(a.assigned_at, f.fixed_at) AS assigned_at, r.rejected_at, f.fixed_at, v.verified_at,
    coalesce(p.assign_days, 3) AS assign_days,
    coalesce(p.fix_days, CASE d.level WHEN 'major' THEN 90 ELSE 30 END) AS fix_days,
    coalesce(p.verify_days, 5) AS verify_days,
    coalesce(t.judged_min, 5) AS judged_min,
    coalesce(t.rate_min, 0.9) AS rate_min,
    coalesce(t.shorter_days, 14) AS shorter_days
FROM road_dangers AS d
LEFT JOIN danger_assignments AS a ON a.danger_id = d.danger_id
LEFT JOIN danger_rejections AS r ON r.danger_id = d.danger_id
LEFT JOIN danger_fixes AS f ON f.danger_id = d.danger_id
LEFT JOIN danger_verifications AS v ON v.danger_id = d.danger_id
LEFT JOIN rectification_policy FOR SYSTEM_TIME AS OF d.found_at AS p ON p.level = d.level
LEFT JOIN rectification_targets FOR SYSTEM_TIME AS OF d.found_at AS t ON TRUE;

-- One row for each step whose time runs or ran.
CREATE VIEW danger_stages AS
SELECT
    danger_id, unit_id, 'assigned' AS step, add_working_days(found_at, assign_days) AS due_at, assigned_at AS done_at
FROM danger_progress
UNION ALL
SELECT danger_id, unit_id, 'fixed', add_days(greatest(assigned_at, rejected_at), fix_days), fixed_at
FROM danger_progress
WHERE assigned_at IS NOT NULL
UNION ALL
SELECT danger_id, unit_id, 'verified', add_working_days(fixed_at, verify_days), verified_at
FROM danger_progress
WHERE fixed_at IS NOT NULL;

CREATE TABLE danger_current (PRIMARY KEY (danger_id)) AS
SELECT
    p.danger_id, p.category, p.level, p.unit_id, s.step AS waits_for, s.due_at,
    CASE
        WHEN s.step IS NULL THEN 'verified' WHEN s.step = 'assigned' THEN 'found'
        WHEN s.step = 'verified' THEN 'fixed' WHEN p.rejected_at IS NOT NULL THEN 'rejected' ELSE 'assigned'
    END AS state
FROM danger_progress AS p
LEFT JOIN danger_stages AS s ON s.danger_id = p.danger_id AND s.done_at IS NULL;

CREATE SINK danger_states WITH (topic = 'danger-states', format = 'json') AS
SELECT danger_id, category, level, unit_id, state, waits_for, due_at FROM danger_current;

CREATE TABLE danger_steps_late (PRIMARY KEY (danger_id, step)) AS
SELECT danger_id, step, unit_id, due_at FROM danger_stages WHERE due_at IS NOT NULL AND (done_at IS NULL OR done_at > due_at);

CREATE TABLE danger_steps_missed (PRIMARY KEY (danger_id, step)) AS
SELECT danger_id, step, unit_id, due_at FROM PASSED(danger_steps_late, due_at);

CREATE SINK danger_overdue WITH (
    topic = 'danger-overdue', format = 'json', key = 'danger_id', count_by = 'step', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.danger_id, before.danger_id) AS danger_id,
    coalesce(after.step, before.step) AS step,
    coalesce(after.unit_id, before.unit_id) AS unit_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.danger_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(danger_steps_missed);

CREATE TABLE danger_quarter_counts (PRIMARY KEY (quarter, unit_id)) AS
SELECT
    date_trunc('quarter', found_at) AS quarter, unit_id,
    count(*) AS dangers,
    count(verified_at) AS verified,
    avg(CAST(elapsed_ms(found_at, verified_at) AS DOUBLE) / 86400000) AS mean_days,
    max(judged_min) AS judged_min, max(rate_min) AS rate_min, max(shorter_days) AS shorter_days
FROM danger_progress
GROUP BY date_trunc('quarter', found_at), unit_id;

CREATE TABLE danger_quarters_compared (PRIMARY KEY (quarter, unit_id)) AS
SELECT q.*, b.mean_days AS mean_days_before
FROM danger_quarter_counts AS q
LEFT JOIN danger_quarter_counts AS b ON b.unit_id = q.unit_id AND b.quarter = add_months(q.quarter, -3);

CREATE SINK danger_quarters WITH (topic = 'danger-quarters', format = 'json') AS
SELECT
    quarter, unit_id, dangers, verified,
    CASE WHEN dangers >= judged_min THEN CAST(verified AS DOUBLE) / dangers END AS rate,
    CASE WHEN dangers >= judged_min THEN CAST(verified AS DOUBLE) / dangers >= rate_min END AS rate_met,
    mean_days, mean_days_before,
    mean_days_before - mean_days >= shorter_days AS shorter_met
FROM danger_quarters_compared;
