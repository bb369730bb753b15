-- Purpose:    how many cases units handle, by which procedure, and whether the streets become more orderly.
-- Inputs:     cases, units, disorder_reports, volume_policy.
-- Outputs:    sink case_volumes (upsert by unit_id and month), sink case_years (upsert by unit_id and year, with the rank
--             among the units of the kind in the city), sink city_case_years (upsert by city and year, with the rank among
--             the cities), sink disorder_volumes (upsert by disorder_kind and month; the kind all is their sum). Consumers:
--             the linkage command platform, unit leaders.
-- Rules:      a case counts in the month and year in which it was opened. The share is that of general procedures in all
--             cases. month_on_month compares with the month before, year_on_year with the same month (or the year) before;
--             null where there is nothing to compare with. Several reports of one incident in a month count once. Rank 1
--             has the greatest share; equal shares have equal ranks.
-- Thresholds: volume_policy.rank_cases_min at the end of the year; 30 where no policy is in force: a share of few cases
--             ranks by chance.

CREATE TABLE unit_case_months AS
SELECT
    unit_id, year_month(opened_at) AS month, count(*) AS cases,
    count(*) FILTER (WHERE procedure = 'general') AS general_cases,
    count(reversed_at) AS reversed_cases,
    CAST(count(*) FILTER (WHERE procedure = 'general') AS DOUBLE) / count(*) AS general_share
FROM cases
GROUP BY unit_id, year_month(opened_at);

CREATE VIEW dated_case_months AS
SELECT
    *, year_month(add_months(CAST(month || '-01' AS TIMESTAMP WITH TIME ZONE), -1)) AS month_before,
    year_month(add_months(CAST(month || '-01' AS TIMESTAMP WITH TIME ZONE), -12)) AS year_before
FROM unit_case_months;

CREATE SINK case_volumes WITH (topic = 'case-volumes', format = 'json') AS
SELECT
    m.unit_id, m.month, m.cases, m.general_cases, m.reversed_cases, m.general_share,
    CAST(m.cases AS DOUBLE) / b.cases - 1 AS month_on_month,
    CAST(m.cases AS DOUBLE) / y.cases - 1 AS year_on_year
FROM dated_case_months AS m
LEFT JOIN unit_case_months AS b ON b.unit_id = m.unit_id AND b.month = m.month_before
LEFT JOIN unit_case_months AS y ON y.unit_id = m.unit_id AND y.month = m.year_before;

-- === years ===

CREATE VIEW unit_case_years AS
SELECT
    unit_id, CAST(substr(month, 1, 4) AS INT) AS year, sum(cases) AS cases, sum(general_cases) AS general_cases,
    CAST(sum(general_cases) AS DOUBLE) / sum(cases) AS general_share
FROM unit_case_months
GROUP BY unit_id, CAST(substr(month, 1, 4) AS INT);

CREATE VIEW judged_case_years AS
SELECT
    c.unit_id, c.year, c.cases, c.general_cases, c.general_share, u.city, u.unit_kind,
    coalesce(p.rank_cases_min, 30) AS rank_cases_min
FROM (
    SELECT *, instant_before(CAST((year + 1) || '-01-01' AS TIMESTAMP WITH TIME ZONE)) AS year_end
    FROM unit_case_years
) AS c
LEFT JOIN units AS u ON u.unit_id = c.unit_id
LEFT JOIN volume_policy FOR SYSTEM_TIME AS OF c.year_end AS p ON TRUE;

CREATE SINK case_years WITH (topic = 'case-years', format = 'json') AS
SELECT
    unit_id, year, city, unit_kind, cases, general_cases, general_share,
    CASE WHEN cases >= rank_cases_min AND city IS NOT NULL THEN
        rank() OVER (PARTITION BY city, unit_kind, year, cases >= rank_cases_min ORDER BY general_share DESC)
    END AS rank
FROM judged_case_years;

CREATE VIEW city_years AS
SELECT
    city, year, sum(cases) AS cases, sum(general_cases) AS general_cases,
    CAST(sum(general_cases) AS DOUBLE) / sum(cases) AS general_share,
    sum(cases) >= min(rank_cases_min) AS is_ranked
FROM judged_case_years
WHERE city IS NOT NULL
GROUP BY city, year;

CREATE VIEW ranked_cities AS
SELECT *, CASE WHEN is_ranked THEN rank() OVER (PARTITION BY year, is_ranked ORDER BY general_share DESC) END AS rank
FROM city_years;

CREATE SINK city_case_years WITH (topic = 'city-case-years', format = 'json') AS
SELECT
    c.city, c.year, c.cases, c.general_cases, c.general_share, c.rank,
    CAST(c.cases AS DOUBLE) / b.cases - 1 AS year_on_year
FROM ranked_cities AS c
LEFT JOIN city_years AS b ON b.city = c.city AND b.year = c.year - 1;

-- === disorder ===

CREATE VIEW incident_months AS
SELECT disorder_kind, year_month(reported_at) AS month, coalesce('i/' || nullif(incident_id, ''), 'r/' || report_id) AS incident
FROM disorder_reports;

CREATE TABLE disorder_months (PRIMARY KEY (disorder_kind, month)) AS
SELECT disorder_kind, month, count(DISTINCT incident) AS incidents FROM incident_months GROUP BY disorder_kind, month
UNION ALL
SELECT 'all', month, count(DISTINCT disorder_kind || '/' || incident) FROM incident_months GROUP BY month;

CREATE SINK disorder_volumes WITH (topic = 'disorder-volumes', format = 'json') AS
SELECT
    m.disorder_kind, m.month, m.incidents,
    CAST(m.incidents AS DOUBLE) / b.incidents - 1 AS month_on_month,
    CAST(m.incidents AS DOUBLE) / y.incidents - 1 AS year_on_year
FROM (
    SELECT
        *, year_month(add_months(CAST(month || '-01' AS TIMESTAMP WITH TIME ZONE), -1)) AS month_before,
        year_month(add_months(CAST(month || '-01' AS TIMESTAMP WITH TIME ZONE), -12)) AS year_before
    FROM disorder_months
) AS m
LEFT JOIN disorder_months AS b ON b.disorder_kind = m.disorder_kind AND b.month = m.month_before
LEFT JOIN disorder_months AS y ON y.disorder_kind = m.disorder_kind AND y.month = m.year_before;
