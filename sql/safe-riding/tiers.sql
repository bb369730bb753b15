-- Purpose:    the class of everybody who offended in a month: occasional, frequent, incorrigible.
-- Inputs:     judged_rides, appeals.
-- Outputs:    sink person_month_tier (upsert by person_id and month; a tombstone when the last ride of the month is gone).
--             Consumers: whoever needs the class rather than an action; statistics.
-- Rules:      incorrigible with the first ride after a delivered visit, unless an appeal of the person is open; frequent with
--             the ride at which the month's stage of visits begins; occasional before. A month in which all rides were a
--             minor's is in the class minor, of which nothing follows. A class falls only when its ground falls away.
-- Thresholds: those of judged_rides.

CREATE VIEW month_classes AS
SELECT
    person_id, month, count(*) AS rides,
    sum(CASE WHEN is_minor THEN 0 ELSE 1 END) AS own_rides,
    sum(CASE WHEN is_minor OR is_occasional THEN 0 ELSE 1 END) AS frequent_rides,
    sum(CASE WHEN NOT is_minor AND is_treated THEN 1 ELSE 0 END) AS treated_rides
FROM judged_rides
GROUP BY person_id, month;

CREATE TABLE person_month_tiers (PRIMARY KEY (person_id, month)) AS
SELECT
    person_id, month,
    CASE WHEN frequent_rides > 0 THEN 'frequent' WHEN own_rides > 0 THEN 'occasional' ELSE 'minor' END AS tier,
    rides
FROM month_classes
WHERE treated_rides = 0
UNION ALL
SELECT
    c.person_id, c.month,
    CASE WHEN o.person_id IS NULL THEN 'incorrigible' WHEN c.frequent_rides > 0 THEN 'frequent' ELSE 'occasional' END,
    c.rides
FROM month_classes AS c
LEFT JOIN open_appeals AS o ON o.person_id = c.person_id
WHERE c.treated_rides > 0;

CREATE SINK person_month_tier WITH (topic = 'person-month-tier', format = 'json') AS
SELECT person_id, month, tier, rides FROM person_month_tiers;
