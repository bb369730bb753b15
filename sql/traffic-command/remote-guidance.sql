-- Purpose:    accidents that the control room guides from afar until the vehicles are off the carriageway, and whether another
--             accident happened in their tail meanwhile: that must not be.
-- Inputs:     accidents, guidance_steps, guidance_policy, road_segments.
-- Outputs:    sinks guidance_overdue (append with revision; a step that its time passed without), guidance_faults (upsert;
--             vehicles moved before the evidence was kept, and steps before the accident), secondary_accidents (append with
--             revision; the alarm), guidance_months (upsert by month: quick removals, share, secondary accidents). Consumers:
--             control room, brigade, detachment.
-- Rules:      an accident is removed quickly when the cameras located it, the evidence was kept and the vehicles were removed,
--             in this order, within remove_s, and no officer had to come before that. The place need not be made safe any more
--             once the vehicles are gone. Accident B is secondary to the accident A before it when it lies within secondary_m
--             upstream of A in the same direction and happened after A, and before A's tail was over: secondary_tail_s after
--             the vehicles were removed, or, as long as that is not known, secondary_s after the accident. Of several the
--             latest A.
-- Thresholds: guidance_policy at the instant of the first accident; where none is in force: 180 seconds to locate, 300 to make
--             the place safe, 1200 to remove, 3600 until the parties are contacted, a share of 0.8, 2000 metres, 3600 seconds,
--             1800 seconds.

CREATE VIEW guided_accidents AS
SELECT
    c.accident_id, c.occurred_at, year_month(c.occurred_at) AS month, c.road_id, c.direction, c.chainage_m, c.severity,
    s.brigade_id,
    coalesce(p.locate_s, 180) AS locate_s,
    coalesce(p.protect_s, 300) AS protect_s,
    coalesce(p.contact_s, 3600) AS contact_s,
    coalesce(p.remove_s, 1200) AS remove_s,
    coalesce(p.quick_share_min, 0.8) AS quick_share_min,
    coalesce(p.secondary_m, 2000) AS secondary_m,
    coalesce(p.secondary_s, 3600) AS secondary_s,
    coalesce(p.secondary_tail_s, 1800) AS secondary_tail_s,
    l.done_at AS located_at, e.done_at AS kept_at, g.done_at AS protected_at, t.done_at AS contacted_at,
    r.done_at AS removed_at, o.done_at AS arrived_at
FROM accidents AS c
LEFT JOIN guidance_policy FOR SYSTEM_TIME AS OF c.occurred_at AS p ON TRUE
LEFT JOIN road_segments AS s
    ON s.road_id = c.road_id AND s.direction = c.direction AND c.chainage_m >= s.from_m AND c.chainage_m < s.to_m
LEFT JOIN guidance_steps AS l ON l.accident_id = c.accident_id AND l.step = 'located'
LEFT JOIN guidance_steps AS e ON e.accident_id = c.accident_id AND e.step = 'evidence_kept'
LEFT JOIN guidance_steps AS g ON g.accident_id = c.accident_id AND g.step = 'protection_guided'
LEFT JOIN guidance_steps AS t ON t.accident_id = c.accident_id AND t.step = 'parties_contacted'
LEFT JOIN guidance_steps AS r ON r.accident_id = c.accident_id AND r.step = 'vehicles_removed'
LEFT JOIN guidance_steps AS o ON o.accident_id = c.accident_id AND o.step = 'officer_arrived';

CREATE VIEW judged_guidance AS
SELECT
    *,
    coalesce(
        located_at >= occurred_at AND kept_at >= located_at AND removed_at >= kept_at
            AND elapsed_ms(occurred_at, removed_at) <= remove_s * 1000 AND (arrived_at IS NULL OR arrived_at >= removed_at),
        false) AS is_quick
FROM guided_accidents;

-- === what its time passed without ===

CREATE TABLE guidance_due (PRIMARY KEY (accident_id, step)) AS
SELECT accident_id, 'located' AS step, brigade_id, due_at
FROM (SELECT *, occurred_at + locate_s * INTERVAL '1 second' AS due_at FROM guided_accidents) AS c
WHERE located_at IS NULL OR located_at > due_at
UNION ALL
SELECT accident_id, 'protection_guided', brigade_id, due_at
FROM (SELECT *, occurred_at + protect_s * INTERVAL '1 second' AS due_at FROM guided_accidents) AS c
WHERE coalesce(least(protected_at, removed_at) > due_at, true)
UNION ALL
SELECT accident_id, 'parties_contacted', brigade_id, due_at
FROM (SELECT *, occurred_at + contact_s * INTERVAL '1 second' AS due_at FROM guided_accidents) AS c
WHERE contacted_at IS NULL OR contacted_at > due_at
UNION ALL
SELECT accident_id, 'vehicles_removed', brigade_id, due_at
FROM (SELECT *, occurred_at + remove_s * INTERVAL '1 second' AS due_at FROM guided_accidents) AS c
WHERE removed_at IS NULL OR removed_at > due_at;

CREATE TABLE guidance_missed (PRIMARY KEY (accident_id, step)) AS
SELECT accident_id, step, brigade_id, due_at FROM PASSED(guidance_due, due_at);

CREATE SINK guidance_overdue WITH (
    topic = 'guidance-overdue', format = 'json', key = 'accident_id', count_by = 'step', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.accident_id, before.accident_id) AS accident_id,
    coalesce(after.step, before.step) AS step,
    CASE WHEN after.accident_id IS NULL THEN before.brigade_id ELSE after.brigade_id END AS brigade_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.accident_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(guidance_missed);

CREATE TABLE guidance_disorder (PRIMARY KEY (accident_id, reason)) AS
SELECT accident_id, 'moved_before_evidence' AS reason
FROM guided_accidents WHERE removed_at IS NOT NULL AND (kept_at IS NULL OR removed_at < kept_at)
UNION ALL
SELECT accident_id, 'step_before_accident'
FROM guided_accidents WHERE least(located_at, kept_at, protected_at, contacted_at, removed_at, arrived_at) < occurred_at;

CREATE SINK guidance_faults WITH (topic = 'guidance-faults', format = 'json') AS
SELECT accident_id, reason FROM guidance_disorder;

-- === secondary accidents ===

-- Upstream of A is where vehicles come from: less chainage in direction up, more in direction down.
CREATE VIEW accident_tails AS
SELECT
    accident_id, road_id, direction, occurred_at, chainage_m, secondary_m,
    CASE
        WHEN removed_at IS NULL THEN occurred_at + secondary_s * INTERVAL '1 second'
        ELSE removed_at + secondary_tail_s * INTERVAL '1 second'
    END AS tail_until
FROM guided_accidents;

CREATE TABLE secondary_pairs (PRIMARY KEY (accident_id)) AS
SELECT accident_id, month, occurred_at, brigade_id, primary_id, upstream_m
FROM (
    SELECT
        b.accident_id, b.month, b.occurred_at, b.brigade_id, a.accident_id AS primary_id,
        CASE b.direction WHEN 'up' THEN a.chainage_m - b.chainage_m ELSE b.chainage_m - a.chainage_m END AS upstream_m,
        row_number() OVER (PARTITION BY b.accident_id ORDER BY a.occurred_at DESC, a.accident_id) AS nearest
    FROM guided_accidents AS b
    JOIN accident_tails AS a
        ON a.road_id = b.road_id AND a.direction = b.direction
        AND b.occurred_at > a.occurred_at AND b.occurred_at <= a.tail_until
        AND CASE b.direction WHEN 'up' THEN a.chainage_m - b.chainage_m ELSE b.chainage_m - a.chainage_m END
            BETWEEN 0 AND a.secondary_m
) AS p
WHERE nearest = 1;

CREATE SINK secondary_accidents WITH (
    topic = 'secondary-accidents', format = 'json', key = 'accident_id', emit_time = 'occurred_at'
) AS
SELECT
    coalesce(after.accident_id, before.accident_id) AS accident_id,
    coalesce(after.primary_id, before.primary_id) AS primary_id,
    coalesce(after.upstream_m, before.upstream_m) AS upstream_m,
    coalesce(after.occurred_at, before.occurred_at) AS occurred_at,
    CASE WHEN after.accident_id IS NULL THEN before.brigade_id ELSE after.brigade_id END AS brigade_id,
    CASE WHEN after.accident_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(secondary_pairs);

-- === the month ===

CREATE TABLE guidance_month_counts (PRIMARY KEY (month)) AS
SELECT
    g.month,
    count(*) AS accidents,
    sum(CASE WHEN g.is_quick THEN 1 ELSE 0 END) AS quick_removals,
    count(s.accident_id) AS secondary_accidents,
    max(g.quick_share_min) AS quick_share_min
FROM judged_guidance AS g
LEFT JOIN secondary_pairs AS s ON s.accident_id = g.accident_id
GROUP BY g.month;

CREATE SINK guidance_months WITH (topic = 'guidance-months', format = 'json') AS
SELECT
    month, accidents, quick_removals, CAST(quick_removals AS DOUBLE) / accidents AS quick_share, secondary_accidents,
    CAST(quick_removals AS DOUBLE) / accidents >= quick_share_min AND secondary_accidents = 0 AS target_met
FROM guidance_month_counts;
