-- Purpose:    a call to 12122 goes through five steps: received, replied, handled, fed back, recorded. Each has its time; one
--             call should settle the matter.
-- Inputs:     road_reports, report_steps, report_policy.
-- Outputs:    sinks report_states (upsert by report_id; the last step done, the next and its due time), report_overdue (append
--             with revision; a step that its time passed without), report_faults (upsert; steps skipped or out of order),
--             report_days (upsert by local day of the call and unit). Consumers: the 12122 desk, the units, the traffic-safety
--             office.
-- Rules:      the time of a step runs from the step before it. A step that is not done holds the ones behind it up: what is
--             overdue is told once, at the step that is missing. A step counts as done with a later one, and is then told as
--             skipped. A call that follows another within once_days reopens it: the first was not settled by one call.
-- Thresholds: report_policy at the instant of the call; where none is in force: 5 minutes to reply, 30 to handle, 60 to feed
--             back, 1440 to record, 7 days.

CREATE VIEW report_progress AS
SELECT
    r.report_id, r.called_at, r.kind, coalesce(r.unit_id, 'unassigned') AS unit_id, r.follows,
    a.done_at AS replied_at, b.done_at AS handled_at, c.done_at AS fed_back_at, d.done_at AS recorded_at,
    coalesce(p.reply_min, 5) AS reply_min,
    coalesce(p.handle_min, 30) AS handle_min,
    coalesce(p.feed_back_min, 60) AS feed_back_min,
    coalesce(p.record_min, 1440) AS record_min,
    coalesce(p.once_days, 7) AS once_days
FROM road_reports AS r
LEFT JOIN report_steps AS a ON a.report_id = r.report_id AND a.step = 'replied'
LEFT JOIN report_steps AS b ON b.report_id = r.report_id AND b.step = 'handled'
LEFT JOIN report_steps AS c ON c.report_id = r.report_id AND c.step = 'fed_back'
LEFT JOIN report_steps AS d ON d.report_id = r.report_id AND d.step = 'recorded'
LEFT JOIN report_policy FOR SYSTEM_TIME AS OF r.called_at AS p ON TRUE;

-- When a step was reached: it counts as reached with any later one.
CREATE VIEW report_reached AS
SELECT
    *,
    least(replied_at, handled_at, fed_back_at, recorded_at) AS reply_reached,
    least(handled_at, fed_back_at, recorded_at) AS handle_reached,
    least(fed_back_at, recorded_at) AS feed_back_reached
FROM report_progress;

-- One row a step whose time runs or ran: since when, until when, and when the step was reached.
CREATE VIEW report_stages AS
SELECT
    report_id, called_at, unit_id, 'replied' AS step, called_at + reply_min * INTERVAL '1 minute' AS due_at,
    reply_reached AS reached_at
FROM report_reached
UNION ALL
SELECT
    report_id, called_at, unit_id, 'handled', reply_reached + handle_min * INTERVAL '1 minute', handle_reached
FROM report_reached
WHERE reply_reached IS NOT NULL
UNION ALL
SELECT
    report_id, called_at, unit_id, 'fed_back', handle_reached + feed_back_min * INTERVAL '1 minute', feed_back_reached
FROM report_reached
WHERE handle_reached IS NOT NULL
UNION ALL
SELECT
    report_id, called_at, unit_id, 'recorded', feed_back_reached + record_min * INTERVAL '1 minute', recorded_at
FROM report_reached
WHERE feed_back_reached IS NOT NULL;

-- At most one step of a report is open: the one behind the last that was reached.
CREATE TABLE report_current (PRIMARY KEY (report_id)) AS
SELECT
    r.report_id, r.called_at, r.kind, r.unit_id, s.step AS waits_for, s.due_at,
    CASE
        WHEN s.step IS NULL THEN 'recorded' WHEN s.step = 'replied' THEN 'received'
        WHEN s.step = 'handled' THEN 'replied' WHEN s.step = 'fed_back' THEN 'handled' ELSE 'fed_back'
    END AS state
FROM report_reached AS r
LEFT JOIN report_stages AS s ON s.report_id = r.report_id AND s.reached_at IS NULL;

CREATE SINK report_states WITH (topic = 'report-states', format = 'json') AS
SELECT report_id, called_at, kind, unit_id, state, waits_for, due_at FROM report_current;

CREATE TABLE report_steps_late (PRIMARY KEY (report_id, step)) AS
SELECT report_id, step, called_at, unit_id, due_at FROM report_stages WHERE reached_at IS NULL OR reached_at > due_at;

CREATE TABLE report_steps_missed (PRIMARY KEY (report_id, step)) AS
SELECT report_id, step, called_at, unit_id, due_at FROM PASSED(report_steps_late, due_at);

CREATE SINK report_overdue WITH (
    topic = 'report-overdue', format = 'json', key = 'report_id', count_by = 'step', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.report_id, before.report_id) AS report_id,
    coalesce(after.step, before.step) AS step,
    coalesce(after.unit_id, before.unit_id) AS unit_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.report_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(report_steps_missed);

-- === what is wrong with the record itself ===

CREATE VIEW report_step_faults AS
SELECT report_id, 'replied' AS step, called_at, replied_at AS done_at, handle_reached AS later_at FROM report_reached
UNION ALL
SELECT report_id, 'handled', called_at, handled_at, feed_back_reached FROM report_reached
UNION ALL
SELECT report_id, 'fed_back', called_at, fed_back_at, recorded_at FROM report_reached
UNION ALL
SELECT report_id, 'recorded', called_at, recorded_at, CAST(NULL AS TIMESTAMP WITH TIME ZONE) FROM report_reached;

CREATE TABLE faulty_report_steps (PRIMARY KEY (report_id, step)) AS
SELECT
    report_id, step,
    CASE WHEN done_at IS NULL THEN 'skipped' WHEN done_at < called_at THEN 'before_call' ELSE 'out_of_order' END AS reason
FROM report_step_faults
WHERE (done_at IS NULL AND later_at IS NOT NULL) OR done_at < called_at OR done_at > later_at;

CREATE SINK report_faults WITH (topic = 'report-faults', format = 'json') AS
SELECT report_id, step, reason FROM faulty_report_steps;

-- === settled by one call ===

-- Two calls about one report are one reopening.
CREATE VIEW reopened_reports AS
SELECT DISTINCT r.report_id
FROM report_progress AS r
JOIN road_reports AS f ON f.follows = r.report_id
WHERE f.called_at > r.called_at AND f.called_at <= add_days(r.called_at, r.once_days);

CREATE VIEW late_reports AS
SELECT DISTINCT report_id FROM report_steps_missed;

CREATE TABLE report_day_counts (PRIMARY KEY (day, unit_id)) AS
SELECT
    date_trunc('day', r.called_at) AS day, r.unit_id,
    count(*) AS reports,
    sum(CASE WHEN r.recorded_at IS NOT NULL THEN 1 ELSE 0 END) AS recorded,
    sum(CASE WHEN r.recorded_at IS NOT NULL AND l.report_id IS NULL THEN 1 ELSE 0 END) AS in_time,
    sum(CASE WHEN r.recorded_at IS NOT NULL AND o.report_id IS NULL THEN 1 ELSE 0 END) AS settled_at_once
FROM report_progress AS r
LEFT JOIN reopened_reports AS o ON o.report_id = r.report_id
LEFT JOIN late_reports AS l ON l.report_id = r.report_id
WHERE r.follows IS NULL
GROUP BY date_trunc('day', r.called_at), r.unit_id;

CREATE SINK report_days WITH (topic = 'report-days', format = 'json') AS
SELECT
    day, unit_id, reports, recorded, in_time, settled_at_once,
    CAST(settled_at_once AS DOUBLE) / nullif(recorded, 0) AS settled_at_once_share
FROM report_day_counts;
