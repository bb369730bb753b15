-- Purpose:    who must study, and until when: for full marks, or for a review.
-- Inputs:     penalties, penalty_voids, points_schedule, drivers, licences, clearances, obligation_policy.
-- Outputs:    sink study_obligations (append; a row with revision > 1 updates the same task; consumers: the driver, counters,
--             the vehicle office), sink penalties_in_doubt (upsert by penalty_id; consumer: whoever keeps the register).
-- Rules:      points count in the cycle in which the offence occurred. Cycles last twelve months and begin on the anniversary
--             of the first licence, on the month's last day where that date does not exist. A passed examination clears the points
--             that the cycle had until then. From full_marks on the driver must study for full marks, and so many times as long as
--             the points hold full_marks. Below it, who holds one of review_classes when the cycle ends and has points must
--             be reviewed then. The same points oblige to one study only. Who has no licence any more need not study.
-- Thresholds: obligation_policy at the offence that reaches them; 12 points, begun within 15 days, at most 8 times as long;
--             1 point with A1, A2, A3, B1 or B2, done within 30 days after the cycle, where no policy is in force.
-- Limits:     points that follow unpaid fines into the next cycle are not known here.

-- A voided penalty is as if it never existed.
CREATE VIEW standing_penalties AS
SELECT p.penalty_id, p.driver_id, p.occurred_at, p.offence_code, p.points
FROM penalties AS p
WHERE NOT EXISTS (SELECT 1 FROM penalty_voids AS v WHERE v.penalty_id = p.penalty_id);

CREATE VIEW priced_penalties AS
SELECT
    p.penalty_id, p.driver_id, p.occurred_at, d.licensed_on,
    coalesce(p.points, s.points) AS points,
    coalesce(o.full_marks, 12) AS full_marks,
    coalesce(o.review_points, 1) AS review_points,
    CASE
        WHEN coalesce(p.driver_id, '') = '' THEN 'no_driver'
        WHEN d.licensed_on IS NULL THEN 'unknown_driver'
        WHEN local_date(p.occurred_at) < d.licensed_on THEN 'before_first_licence'
        WHEN p.points IS NULL AND s.points IS NULL THEN 'unknown_offence'
        WHEN p.points <> s.points THEN 'points_disagree'
        WHEN coalesce(p.points, s.points) < 0 OR coalesce(p.points, s.points) > coalesce(o.full_marks, 12) THEN 'points_out_of_range'
    END AS reason
FROM standing_penalties AS p
LEFT JOIN drivers AS d ON d.driver_id = p.driver_id
LEFT JOIN points_schedule FOR SYSTEM_TIME AS OF p.occurred_at AS s ON s.offence_code = p.offence_code
LEFT JOIN obligation_policy FOR SYSTEM_TIME AS OF p.occurred_at AS o ON TRUE;

CREATE SINK penalties_in_doubt WITH (topic = 'penalties-in-doubt', format = 'json') AS
SELECT penalty_id, reason FROM priced_penalties WHERE reason IS NOT NULL;

-- The anniversaries behind a driver at an offence: one less where this year's is still to come.
CREATE VIEW dated_penalties AS
SELECT *,
    CASE WHEN add_months(licensed_on, 12 * years) > local_date(occurred_at) THEN years - 1 ELSE years END AS cycle
FROM (
    SELECT
        penalty_id, driver_id, occurred_at, licensed_on, points, full_marks, review_points,
        CAST(date_part('year', local_date(occurred_at)) AS BIGINT) - CAST(date_part('year', licensed_on) AS BIGINT) AS years
    FROM priced_penalties
    WHERE reason IS NULL AND points > 0
) AS p;

CREATE VIEW cycle_penalties AS
SELECT
    penalty_id, driver_id, occurred_at, points, full_marks, review_points,
    add_months(licensed_on, 12 * cycle) AS cycle_started_on,
    add_months(licensed_on, 12 * (cycle + 1)) AS cycle_ends_on
FROM dated_penalties;

-- Points count from the beginning of the cycle, or from the last examination in it that was passed before.
CREATE VIEW counted_penalties AS
SELECT
    p.penalty_id, p.driver_id, p.occurred_at, p.points, p.full_marks, p.review_points, p.cycle_started_on, p.cycle_ends_on,
    coalesce(local_date(c.cleared_at), p.cycle_started_on) AS counted_from
FROM cycle_penalties AS p
LEFT JOIN clearances FOR SYSTEM_TIME AS OF p.occurred_at AS c
    ON c.driver_id = p.driver_id AND c.cycle_started_on = p.cycle_started_on;

CREATE VIEW running_points AS
SELECT *, sum(points) OVER (PARTITION BY driver_id, cycle_started_on, counted_from ORDER BY occurred_at, penalty_id) AS points_so_far
FROM counted_penalties;

CREATE VIEW point_accounts AS
SELECT
    driver_id, cycle_started_on, counted_from,
    min(cycle_ends_on) AS cycle_ends_on,
    sum(points) AS points,
    array_agg(penalty_id ORDER BY occurred_at, penalty_id) AS evidence,
    min(CASE WHEN points_so_far >= full_marks THEN occurred_at END) AS full_at,
    min(CASE WHEN points_so_far >= review_points THEN occurred_at END) AS review_at
FROM running_points
GROUP BY driver_id, cycle_started_on, counted_from;

CREATE VIEW reached_accounts AS
SELECT
    driver_id, cycle_started_on, counted_from, cycle_ends_on, points, evidence,
    CASE WHEN full_at IS NULL THEN 'review' ELSE 'full_marks' END AS kind,
    coalesce(full_at, review_at) AS arose_at,
    CAST(cycle_ends_on AS TIMESTAMP WITH TIME ZONE) AS cycle_ends_at
FROM point_accounts
WHERE full_at IS NOT NULL OR review_at IS NOT NULL;

-- The licence at full marks, and at the end of the cycle as it is known now.
CREATE VIEW licensed_accounts AS
SELECT
    a.driver_id, a.cycle_started_on, a.counted_from, a.cycle_ends_on, a.cycle_ends_at, a.points, a.evidence, a.kind, a.arose_at,
    coalesce(o.full_marks, 12) AS full_marks,
    coalesce(o.full_marks_due_days, 15) AS full_marks_due_days,
    coalesce(o.multiple_max, 8) AS multiple_max,
    coalesce(o.review_classes, make_array('A1', 'A2', 'A3', 'B1', 'B2')) AS review_classes,
    coalesce(o.review_due_days, 30) AS review_due_days,
    l.driver_id IS NOT NULL AND coalesce(array_length(l.classes), 0) = 0 AS is_unlicensed,
    e.classes AS classes_at_end
FROM reached_accounts AS a
LEFT JOIN obligation_policy FOR SYSTEM_TIME AS OF a.arose_at AS o ON TRUE
LEFT JOIN licences FOR SYSTEM_TIME AS OF a.arose_at AS l ON l.driver_id = a.driver_id
LEFT JOIN licences FOR SYSTEM_TIME AS OF a.cycle_ends_at AS e ON e.driver_id = a.driver_id;

-- Only what is worth a revision stands here. A day that something is due on ends at 24:00.
CREATE TABLE issued_obligations (PRIMARY KEY (obligation_id)) AS
SELECT
    driver_id || '/' || CAST(counted_from AS VARCHAR) || '/full_marks' AS obligation_id,
    'full_marks' AS kind, driver_id, cycle_started_on, cycle_ends_on, points,
    least(points / full_marks, multiple_max) AS multiple,
    arose_at, arose_at AS opens_at,
    add_days(date_trunc('day', arose_at), full_marks_due_days + 1) AS due_at,
    evidence
FROM licensed_accounts
WHERE kind = 'full_marks' AND NOT is_unlicensed
UNION ALL
SELECT
    driver_id || '/' || CAST(counted_from AS VARCHAR) || '/review', 'review', driver_id, cycle_started_on, cycle_ends_on, points,
    1, arose_at, cycle_ends_at, add_days(cycle_ends_at, review_due_days), evidence
FROM licensed_accounts
WHERE kind = 'review' AND array_has_any(classes_at_end, review_classes);

CREATE SINK study_obligations WITH (
    topic = 'study-obligations', format = 'json', key = 'driver_id', count_by = 'kind', emit_time = 'arose_at'
) AS
SELECT
    coalesce(after.obligation_id, before.obligation_id) AS obligation_id,
    coalesce(after.kind, before.kind) AS kind,
    coalesce(after.driver_id, before.driver_id) AS driver_id,
    coalesce(after.cycle_started_on, before.cycle_started_on) AS cycle_started_on,
    coalesce(after.cycle_ends_on, before.cycle_ends_on) AS cycle_ends_on,
    coalesce(after.points, before.points) AS points,
    coalesce(after.multiple, before.multiple) AS multiple,
    coalesce(after.arose_at, before.arose_at) AS arose_at,
    coalesce(after.opens_at, before.opens_at) AS opens_at,
    coalesce(after.due_at, before.due_at) AS due_at,
    coalesce(after.evidence, before.evidence) AS evidence,
    CASE WHEN after.obligation_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    coalesce(after.kind, before.kind) = 'full_marks' AS needs_approval
FROM CHANGES(issued_obligations);
