-- Purpose:    what a month brought, against the same month of the year before.
-- Inputs:     standing_violations, accidents, road_segments, statistics_policy.
-- Outputs:    sink year_on_year (upsert by measure, brigade and month). Consumers: provincial traffic-safety committee office,
--             brigades.
-- Rules:      accidents are those on the segments of a brigade, violations those that it dealt with. year_on_year is the change as a
--             share of the month a year before (1.3 is 130 % more), null where that had none. A month with nothing is there if the
--             year before it was not.
-- Thresholds: statistics_policy.close_days after the end of the month, 7 where none is in force at that end; what arrives later is a
--             corrected edition.

CREATE VIEW month_measures AS
SELECT 'accident' AS measure, s.brigade_id, date_trunc('month', a.occurred_at) AS month
FROM accidents AS a
JOIN segment_lengths AS s
    ON s.road_id = a.road_id AND s.direction = a.direction AND a.chainage_m >= s.from_m AND a.chainage_m < s.to_m
UNION ALL
SELECT 'violation', brigade_id, date_trunc('month', occurred_at) FROM standing_violations WHERE brigade_id IS NOT NULL;

CREATE VIEW month_measure_counts AS
SELECT measure, brigade_id, month, count(*) AS n FROM month_measures GROUP BY measure, brigade_id, month;

CREATE VIEW month_pairs AS
SELECT measure, brigade_id, month, sum(this_year) AS n, sum(year_before) AS n_year_before
FROM (
    SELECT measure, brigade_id, month, n AS this_year, 0 AS year_before FROM month_measure_counts
    UNION ALL
    SELECT measure, brigade_id, add_months(month, 12) AS month, 0 AS this_year, n AS year_before FROM month_measure_counts
) AS counts
GROUP BY measure, brigade_id, month;

CREATE TABLE closing_months (PRIMARY KEY (measure, brigade_id, month)) AS
SELECT m.measure, m.brigade_id, m.month, m.n, m.n_year_before, add_days(m.month_end, coalesce(p.close_days, 7)) AS closes_at
FROM (SELECT *, add_months(month, 1) AS month_end FROM month_pairs) AS m
LEFT JOIN statistics_policy FOR SYSTEM_TIME AS OF m.month_end AS p ON TRUE;

CREATE SINK year_on_year WITH (topic = 'year-on-year', format = 'json') AS
SELECT
    measure, brigade_id, month, n, n_year_before,
    CASE WHEN n_year_before > 0 THEN CAST(n - n_year_before AS DOUBLE) / n_year_before END AS year_on_year
FROM PASSED(closing_months, closes_at);
