-- Purpose:    the chain of rescue of an accident with injured people: found quickly, reached in time, treated, and paid for
--             where nobody else does.
-- Inputs:     accidents (slight, serious and fatal), rescue_steps, rescue_policy.
-- Outputs:    sinks rescue_overdue (append with revision; a step that its time passed without), rescue_faults (upsert; steps
--             out of order), rescue_months (upsert by month and township: mean minutes and shares in time). Consumers: rescue
--             services, hospitals, the aid fund, traffic-safety office.
-- Rules:      the time of a step runs from the step before it; a step that is not known counts as done with a later one.
--             noticed runs from the accident; aided from aid_requested, which nobody has to ask for. Minutes from the notice to
--             the reaching are those that registers elsewhere call arrival after notification (FARS: NOT_HOUR to ARR_HOUR).
-- Thresholds: rescue_policy at the accident; where none is in force: 5 minutes to notice, 5 to call, 30 to reach, 60 to the
--             hospital, 15 days for the aid; a township's shares are told from 5 accidents on.

CREATE VIEW rescued_accidents AS
SELECT
    *,
    least(noticed_step, called_step, reached_step, in_hospital_at) AS noticed_at,
    least(called_step, reached_step, in_hospital_at) AS called_at,
    least(reached_step, in_hospital_at) AS reached_at
FROM (
    SELECT
        c.accident_id, c.occurred_at, coalesce(c.township, 'unknown') AS township,
        a.done_at AS noticed_step, b.done_at AS called_step, r.done_at AS reached_step, h.done_at AS in_hospital_at,
        q.done_at AS requested_at, f.done_at AS aided_at,
        coalesce(p.notice_min, 5) AS notice_min,
        coalesce(p.call_min, 5) AS call_min,
        coalesce(p.reach_min, 30) AS reach_min,
        coalesce(p.hospital_min, 60) AS hospital_min,
        coalesce(p.aid_days, 15) AS aid_days,
        coalesce(p.judged_min, 5) AS judged_min
    FROM accidents AS c
    LEFT JOIN rescue_steps AS a ON a.accident_id = c.accident_id AND a.step = 'noticed'
    LEFT JOIN rescue_steps AS b ON b.accident_id = c.accident_id AND b.step = 'called'
    LEFT JOIN rescue_steps AS r ON r.accident_id = c.accident_id AND r.step = 'reached'
    LEFT JOIN rescue_steps AS h ON h.accident_id = c.accident_id AND h.step = 'in_hospital'
    LEFT JOIN rescue_steps AS q ON q.accident_id = c.accident_id AND q.step = 'aid_requested'
    LEFT JOIN rescue_steps AS f ON f.accident_id = c.accident_id AND f.step = 'aided'
    LEFT JOIN rescue_policy FOR SYSTEM_TIME AS OF c.occurred_at AS p ON TRUE
    WHERE c.severity IN ('slight', 'serious', 'fatal')
) AS c;

CREATE VIEW rescue_stages AS
SELECT
    accident_id, occurred_at, township, judged_min, 'noticed' AS step, occurred_at AS since,
    occurred_at + notice_min * INTERVAL '1 minute' AS due_at, noticed_at AS done_at
FROM rescued_accidents
UNION ALL
SELECT
    accident_id, occurred_at, township, judged_min, 'called', noticed_at,
    noticed_at + call_min * INTERVAL '1 minute', called_at
FROM rescued_accidents WHERE noticed_at IS NOT NULL
UNION ALL
SELECT
    accident_id, occurred_at, township, judged_min, 'reached', called_at,
    called_at + reach_min * INTERVAL '1 minute', reached_at
FROM rescued_accidents WHERE called_at IS NOT NULL
UNION ALL
SELECT
    accident_id, occurred_at, township, judged_min, 'in_hospital', reached_at,
    reached_at + hospital_min * INTERVAL '1 minute', in_hospital_at
FROM rescued_accidents WHERE reached_at IS NOT NULL
UNION ALL
SELECT
    accident_id, occurred_at, township, judged_min, 'aided', requested_at, add_days(requested_at, aid_days), aided_at
FROM rescued_accidents WHERE requested_at IS NOT NULL;

CREATE TABLE rescue_late (PRIMARY KEY (accident_id, step)) AS
SELECT accident_id, step, township, due_at FROM rescue_stages WHERE done_at IS NULL OR done_at > due_at;

CREATE TABLE rescue_missed (PRIMARY KEY (accident_id, step)) AS
SELECT accident_id, step, township, due_at FROM PASSED(rescue_late, due_at);

CREATE SINK rescue_overdue WITH (
    topic = 'rescue-overdue', format = 'json', key = 'accident_id', count_by = 'step', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.accident_id, before.accident_id) AS accident_id,
    coalesce(after.step, before.step) AS step,
    coalesce(after.township, before.township) AS township,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.accident_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(rescue_missed);

CREATE TABLE rescue_disorder (PRIMARY KEY (accident_id)) AS
SELECT
    accident_id,
    CASE WHEN noticed_at < occurred_at THEN 'before_accident' ELSE 'out_of_order' END AS reason
FROM rescued_accidents
WHERE noticed_at < occurred_at OR noticed_step > noticed_at OR called_step > called_at OR reached_step > reached_at
    OR aided_at < requested_at;

CREATE SINK rescue_faults WITH (topic = 'rescue-faults', format = 'json') AS
SELECT accident_id, reason FROM rescue_disorder;

CREATE TABLE rescue_month_counts (PRIMARY KEY (month, township)) AS
SELECT
    year_month(occurred_at) AS month, township,
    count(*) AS accidents,
    count(reached_at) AS reached,
    sum(CASE WHEN elapsed_ms(noticed_at, reached_at) <= (call_min + reach_min) * 60000 THEN 1 ELSE 0 END) AS reached_in_time,
    avg(CAST(elapsed_ms(occurred_at, noticed_at) AS DOUBLE) / 60000) AS mean_notice_min,
    avg(CAST(elapsed_ms(noticed_at, reached_at) AS DOUBLE) / 60000) AS mean_reach_min,
    avg(CAST(elapsed_ms(reached_at, in_hospital_at) AS DOUBLE) / 60000) AS mean_hospital_min,
    max(judged_min) AS judged_min
FROM rescued_accidents
GROUP BY year_month(occurred_at), township;

CREATE SINK rescue_months WITH (topic = 'rescue-months', format = 'json') AS
SELECT
    month, township, accidents, reached, reached_in_time,
    CASE WHEN accidents >= judged_min THEN CAST(reached_in_time AS DOUBLE) / accidents END AS in_time_share,
    mean_notice_min, mean_reach_min, mean_hospital_min
FROM rescue_month_counts;
