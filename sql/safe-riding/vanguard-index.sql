-- Purpose:    how the members of a branch of the party ride, month by month, and how branches compare.
-- Inputs:     judged_rides, persons, appeals, vanguard_policy.
-- Outputs:    sinks vanguard_index (upsert by branch_id and month, at once; restricted topic) and vanguard_rankings (append, some
--             days after the month; restricted topic). Consumer: Organization Department. A ranking of edition 2 and on
--             corrects the one before.
-- Rules:      100 less the points of members by their worst class of the month, set against the branch's members: 100 if nobody
--             offended, 0 if all were incorrigible. Branches of equal index share a rank. Minors and rides under appeal do not
--             count as incorrigible. Small branches are not ranked. A ranking is a proposal until an officer approves.
-- Thresholds: vanguard_policy at the beginning of the month; 1, 5 and 10 points, 5 members, 7 days where no row is in force.
-- Limits:     the members of a branch are those of persons now, not those of the month. A month in which no member rode as
--             they should not is not ranked.

CREATE VIEW member_months AS
SELECT
    r.party_branch_id AS branch_id, r.person_id, date_trunc('month', r.ride_started_at) AS month_start,
    bool_or(r.is_treated AND o.person_id IS NULL) AS is_incorrigible,
    bool_or(NOT r.is_occasional) AS is_frequent
FROM (SELECT * FROM judged_rides WHERE party_branch_id IS NOT NULL AND NOT is_minor) AS r
LEFT JOIN open_appeals AS o ON o.person_id = r.person_id
GROUP BY r.party_branch_id, r.person_id, date_trunc('month', r.ride_started_at);

CREATE VIEW branch_classes AS
SELECT
    branch_id, month_start,
    sum(CASE WHEN is_incorrigible THEN 1 ELSE 0 END) AS incorrigible,
    sum(CASE WHEN NOT is_incorrigible AND is_frequent THEN 1 ELSE 0 END) AS frequent,
    sum(CASE WHEN NOT is_incorrigible AND NOT is_frequent THEN 1 ELSE 0 END) AS occasional
FROM member_months
GROUP BY branch_id, month_start;

CREATE VIEW branches AS
SELECT party_branch_id AS branch_id, 1 AS everywhere, count(*) AS members
FROM persons
WHERE party_branch_id <> ''
GROUP BY party_branch_id;

CREATE VIEW ranked_months AS
SELECT DISTINCT month_start, 1 AS everywhere FROM branch_classes;

CREATE VIEW branch_months AS
SELECT
    b.branch_id, m.month_start, b.members,
    coalesce(p.occasional_points, 1) AS occasional_points, coalesce(p.frequent_points, 5) AS frequent_points,
    coalesce(p.incorrigible_points, 10) AS incorrigible_points, coalesce(p.members_min, 5) AS members_min,
    coalesce(p.publish_days, 7) AS publish_days
FROM ranked_months AS m
JOIN branches AS b ON b.everywhere = m.everywhere
LEFT JOIN vanguard_policy FOR SYSTEM_TIME AS OF m.month_start AS p ON TRUE;

CREATE TABLE branch_indices (PRIMARY KEY (branch_id, month)) AS
SELECT
    b.branch_id, year_month(b.month_start) AS month, b.month_start, b.members, b.members_min, b.publish_days,
    coalesce(c.occasional, 0) AS occasional, coalesce(c.frequent, 0) AS frequent, coalesce(c.incorrigible, 0) AS incorrigible,
    greatest(0.0, 100 - 100 * CAST(coalesce(
        c.occasional * b.occasional_points + c.frequent * b.frequent_points + c.incorrigible * b.incorrigible_points, 0)
        AS DOUBLE) / (b.members * b.incorrigible_points)) AS index
FROM branch_months AS b
LEFT JOIN branch_classes AS c ON c.branch_id = b.branch_id AND c.month_start = b.month_start;

CREATE SINK vanguard_index WITH (topic = 'vanguard-index', format = 'json') AS
SELECT branch_id, month, members, occasional, frequent, incorrigible, index FROM branch_indices;

CREATE TABLE ranked_branches (PRIMARY KEY (branch_id, month)) AS
SELECT
    branch_id, month, members, index,
    rank() OVER (PARTITION BY month ORDER BY index DESC) AS place,
    add_days(add_months(month_start, 1), publish_days) AS publish_at
FROM branch_indices
WHERE members >= members_min;

CREATE TABLE published_ranks (PRIMARY KEY (branch_id, month)) AS
SELECT branch_id, month, members, index, place FROM PASSED(ranked_branches, publish_at);

CREATE SINK vanguard_rankings WITH (topic = 'vanguard-rankings', format = 'json', key = 'month') AS
SELECT
    coalesce(after.branch_id, before.branch_id) AS branch_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.members, before.members) AS members,
    coalesce(after.index, before.index) AS index,
    coalesce(after.place, before.place) AS place,
    CASE WHEN after.branch_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision AS edition,
    true AS needs_approval
FROM CHANGES(published_ranks);
