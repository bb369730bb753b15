-- Purpose:    what the campaigns have brought so far: violations, how many were serious, and the kings of a hundred tonnes.
-- Inputs:     standing_violations, campaigns, statistics_policy.
-- Outputs:    sink campaign_statistics (upsert by campaign, city and month) and sink campaign_totals (upsert by campaign; the row
--             `all` counts what several campaigns claim once). Consumer: provincial traffic-safety committee office.
-- Rules:      a violation counts for each campaign in whose time and area it was, and whose offence it is where the campaign has
--             one. Cities are the first four digits of the division; without one the city is unknown. Shares are published with
--             what they are shares of.
-- Thresholds: statistics_policy.hundred_ton at the time of the violation, 100 tonnes where none is in force.

CREATE VIEW campaign_violations AS
SELECT
    c.campaign_id, v.violation_id, v.occurred_at, v.serious, coalesce(substr(v.division, 1, 4), 'unknown') AS city,
    coalesce(v.gross_mass_t >= coalesce(p.hundred_ton, 100.0), false) AS hundred_ton
FROM standing_violations AS v
JOIN campaigns AS c
    ON v.occurred_at >= c.starts_at AND v.occurred_at < c.ends_at
    AND (c.area IS NULL OR starts_with(v.division, c.area)) AND (c.offence IS NULL OR c.offence = v.offence)
LEFT JOIN statistics_policy FOR SYSTEM_TIME AS OF v.occurred_at AS p ON TRUE;

CREATE TABLE campaign_months (PRIMARY KEY (campaign_id, city, month)) AS
SELECT
    campaign_id, city, date_trunc('month', occurred_at) AS month, count(*) AS violations,
    count(*) FILTER (WHERE serious) AS serious,
    count(*) FILTER (WHERE hundred_ton) AS hundred_ton
FROM campaign_violations
GROUP BY campaign_id, city, date_trunc('month', occurred_at);

CREATE SINK campaign_statistics WITH (topic = 'campaign-statistics', format = 'json') AS
SELECT campaign_id, city, month, violations, serious, CAST(serious AS DOUBLE) / violations AS serious_share, hundred_ton
FROM campaign_months;

CREATE VIEW claimed_months AS
SELECT date_trunc('month', occurred_at) AS month, serious, hundred_ton, count(*) AS violations
FROM (
    SELECT violation_id, occurred_at, bool_or(serious) AS serious, bool_or(hundred_ton) AS hundred_ton
    FROM campaign_violations
    GROUP BY violation_id, occurred_at
) AS once
GROUP BY date_trunc('month', occurred_at), serious, hundred_ton;

CREATE VIEW campaign_counts AS
SELECT campaign_id, violations AS counted, serious AS counted_serious, hundred_ton AS counted_hundred_ton FROM campaign_months
UNION ALL
SELECT
    'all' AS campaign_id, violations AS counted, CASE WHEN serious THEN violations ELSE 0 END AS counted_serious,
    CASE WHEN hundred_ton THEN violations ELSE 0 END AS counted_hundred_ton
FROM claimed_months;

CREATE VIEW campaign_sums AS
SELECT campaign_id, sum(counted) AS violations, sum(counted_serious) AS serious, sum(counted_hundred_ton) AS hundred_ton
FROM campaign_counts
GROUP BY campaign_id;

CREATE SINK campaign_totals WITH (topic = 'campaign-totals', format = 'json') AS
SELECT campaign_id, violations, serious, CAST(serious AS DOUBLE) / violations AS serious_share, hundred_ton FROM campaign_sums;
