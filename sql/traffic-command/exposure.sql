-- Purpose:    proposes which transport enterprises to expose or to summon, and publishes what an officer has approved.
-- Inputs:     standing_violations, vehicles, possible_dangers, lifetime_bans, exposure_approvals, exposure_events, exposure_policy,
--             statistics_policy.
-- Outputs:    sink exposure_proposals (append; withdrawn when the ground falls away), for the officer who approves; sink exposures
--             (append; revision > 1 is a corrected edition, withdrawn is to be taken down) and sink published_bans (upsert by
--             driver; a tombstone is to be taken down), for media; sink summon_proposals (append), for brigades; sink
--             exposure_event_months (upsert by city and month), for the committee office.
-- Rules:      enterprises are ranked by violations a vehicle of their present fleet in a month that has been closed, among those with a
--             fleet large enough for a ratio to mean something and a violation in the month; of equals the one whose id sorts first. Who
--             is not well above all of these together is not proposed, however few there are. Nothing is published that no
--             named officer approved. Drivers appear by pseudonym; the names are added by who publishes.
-- Thresholds: exposure_policy at the end of the month, and when the latest danger of the enterprise began: fleets from 10, the first
--             20 with at least 1.5 times the ratio of all, a tenth of vehicles and drivers overdue and at least 3, where none is in force. The month is closed by
--             statistics_policy.close_days, 7 where none is in force.

CREATE VIEW fleets AS
SELECT enterprise_id, count(*) AS fleet
FROM vehicles
WHERE deregistered_on IS NULL AND enterprise_id IS NOT NULL AND enterprise_id <> ''
GROUP BY enterprise_id;

CREATE VIEW enterprise_violations AS
SELECT h.enterprise_id, date_trunc('month', v.occurred_at) AS month, count(*) AS violations, count(*) FILTER (WHERE v.serious) AS serious
FROM standing_violations AS v
JOIN vehicles AS h ON h.plate = v.plate
WHERE h.deregistered_on IS NULL AND h.enterprise_id IS NOT NULL
GROUP BY h.enterprise_id, date_trunc('month', v.occurred_at);

CREATE VIEW enterprise_ratios AS
SELECT
    v.enterprise_id, v.month, add_months(v.month, 1) AS month_end, f.fleet, v.violations, v.serious,
    CAST(v.violations AS DOUBLE) / f.fleet AS ratio
FROM enterprise_violations AS v
JOIN fleets AS f ON f.enterprise_id = v.enterprise_id;

CREATE TABLE comparable_enterprises (PRIMARY KEY (enterprise_id, month)) AS
SELECT
    r.enterprise_id, r.month, r.fleet, r.violations, r.serious, r.ratio, coalesce(p.top_n, 20) AS top_n,
    coalesce(p.ratio_factor, 1.5) AS ratio_factor,
    add_days(r.month_end, coalesce(s.close_days, 7)) AS closes_at
FROM enterprise_ratios AS r
LEFT JOIN exposure_policy FOR SYSTEM_TIME AS OF r.month_end AS p ON TRUE
LEFT JOIN statistics_policy FOR SYSTEM_TIME AS OF r.month_end AS s ON TRUE
WHERE r.fleet >= coalesce(p.fleet_min, 10);

CREATE VIEW ranked_enterprises AS
SELECT
    *, row_number() OVER (PARTITION BY month ORDER BY ratio DESC, enterprise_id) AS rank,
    CAST(sum(violations) OVER (PARTITION BY month) AS DOUBLE) / sum(fleet) OVER (PARTITION BY month) AS ratio_of_all
FROM PASSED(comparable_enterprises, closes_at);

CREATE TABLE conspicuous_enterprises (PRIMARY KEY (enterprise_id, month)) AS
SELECT enterprise_id, month, rank, fleet, violations, serious, ratio, closes_at
FROM ranked_enterprises
WHERE rank <= top_n AND ratio >= ratio_factor * ratio_of_all;

CREATE SINK exposure_proposals WITH (
    topic = 'exposure-proposals', format = 'json', key = 'enterprise_id', emit_time = 'month'
) AS
SELECT
    coalesce(after.enterprise_id, before.enterprise_id) AS enterprise_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.rank, before.rank) AS rank,
    coalesce(after.fleet, before.fleet) AS fleet,
    coalesce(after.violations, before.violations) AS violations,
    coalesce(after.serious, before.serious) AS serious,
    coalesce(after.ratio, before.ratio) AS ratio,
    CASE WHEN after.enterprise_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(conspicuous_enterprises);

CREATE TABLE exposed_enterprises (PRIMARY KEY (enterprise_id, month)) AS
SELECT c.enterprise_id, c.month, c.fleet, c.violations, c.ratio, a.approved_by, a.approved_at
FROM conspicuous_enterprises AS c
JOIN exposure_approvals AS a
    ON a.subject_kind = 'enterprise' AND a.subject_id = c.enterprise_id AND a.period = year_month(c.month);

CREATE SINK exposures WITH (topic = 'exposures', format = 'json', key = 'enterprise_id', emit_time = 'approved_at') AS
SELECT
    coalesce(after.enterprise_id, before.enterprise_id) AS enterprise_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.fleet, before.fleet) AS fleet,
    coalesce(after.violations, before.violations) AS violations,
    coalesce(after.ratio, before.ratio) AS ratio,
    coalesce(after.approved_by, before.approved_by) AS approved_by,
    coalesce(after.approved_at, before.approved_at) AS approved_at,
    CASE WHEN after.enterprise_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(exposed_enterprises);

-- === summons ===

CREATE VIEW enterprise_subjects AS
SELECT enterprise_id, count(*) AS subjects
FROM (SELECT DISTINCT enterprise_id, subject_id FROM possible_dangers WHERE enterprise_id IS NOT NULL) AS s
GROUP BY enterprise_id;

CREATE VIEW enterprise_overdue AS
SELECT enterprise_id, count(*) AS overdue, max(latest_at) AS latest_at
FROM (
    SELECT enterprise_id, subject_id, max(overdue_at) AS latest_at
    FROM PASSED(possible_dangers, overdue_at)
    WHERE enterprise_id IS NOT NULL
    GROUP BY enterprise_id, subject_id
) AS s
GROUP BY enterprise_id;

CREATE TABLE summonable_enterprises (PRIMARY KEY (enterprise_id)) AS
SELECT o.enterprise_id, t.subjects, o.overdue, CAST(o.overdue AS DOUBLE) / t.subjects AS share, o.latest_at
FROM enterprise_overdue AS o
JOIN enterprise_subjects AS t ON t.enterprise_id = o.enterprise_id
LEFT JOIN exposure_policy FOR SYSTEM_TIME AS OF o.latest_at AS p ON TRUE
WHERE o.overdue >= coalesce(p.summon_min, 3) AND CAST(o.overdue AS DOUBLE) / t.subjects >= coalesce(p.summon_share, 0.1);

CREATE SINK summon_proposals WITH (topic = 'summon-proposals', format = 'json', key = 'enterprise_id', emit_time = 'latest_at') AS
SELECT
    coalesce(after.enterprise_id, before.enterprise_id) AS enterprise_id,
    coalesce(after.subjects, before.subjects) AS subjects,
    coalesce(after.overdue, before.overdue) AS overdue,
    coalesce(after.share, before.share) AS share,
    coalesce(after.latest_at, before.latest_at) AS latest_at,
    CASE WHEN after.enterprise_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(summonable_enterprises);

-- === bans and events ===

CREATE SINK published_bans WITH (topic = 'published-bans', format = 'json') AS
SELECT b.driver_id, b.banned_from, b.ground, a.approved_by
FROM lifetime_bans AS b
JOIN exposure_approvals AS a ON a.subject_kind = 'driver' AND a.subject_id = b.driver_id AND a.period = 'life'
WHERE b.lifted_from IS NULL;

CREATE SINK exposure_event_months WITH (topic = 'exposure-event-months', format = 'json') AS
SELECT substr(division, 1, 4) AS city, date_trunc('month', held_at) AS month, count(*) AS events
FROM exposure_events
GROUP BY substr(division, 1, 4), date_trunc('month', held_at);
