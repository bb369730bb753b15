-- Purpose:  whether it helps: fewer riders without a helmet, fewer deaths, and people who need to be told only once.
-- Inputs:   hourly_helmets of helmet-rates.sql, accidents, rectified, visits, punished_rides, scored_people.
-- Outputs:  sinks monthly_helmet_rates (upsert by town and month), fatal_accidents (upsert by period, a year or a month) and
--           yearly_funnel (upsert by year). Consumers: county leaders, the reform office.
-- Rules:    change is against the same month or year before, as a share of it: -0.83 is 83 % less; null where there was none.
--           Rates stand beside what they are rates of. The town `all` is the county. The funnel counts persons: who completed
--           a lesson, was visited, has a proposed deduction, is to be improved, in the year in which that happened; is_monotone
--           says whether each step has at most as many as the one before.
-- Limits:   deaths are those within 7 days of the accident. A year that is not over is set against the whole year before:
--           compare months until it is. A month of passages is final an hour and 30 seconds after its end.

CREATE VIEW helmet_months AS
SELECT town, month_start, sum(riders) AS riders, sum(helmetless) AS helmetless
FROM (
    SELECT town, date_trunc('month', window_start) AS month_start, riders, helmetless FROM hourly_helmets
    UNION ALL
    SELECT 'all', date_trunc('month', window_start), riders, helmetless FROM hourly_helmets
) AS h
GROUP BY town, month_start
EMIT CHANGES;

CREATE SINK monthly_helmet_rates WITH (topic = 'monthly-helmet-rates', format = 'json') AS
SELECT
    m.town, m.month_start, m.riders, m.helmetless,
    CAST(m.helmetless AS DOUBLE) / m.riders AS rate,
    CAST(b.helmetless AS DOUBLE) / b.riders AS rate_year_before,
    CASE WHEN b.helmetless > 0 THEN
        (CAST(m.helmetless AS DOUBLE) / m.riders) / (CAST(b.helmetless AS DOUBLE) / b.riders) - 1 END AS change
FROM helmet_months AS m
LEFT JOIN helmet_months AS b ON b.town = m.town AND b.month_start = add_months(m.month_start, -12);

-- === deaths ===

CREATE VIEW fatal_periods AS
SELECT period, max(period_before) AS period_before, count(*) AS accidents, sum(deaths) AS deaths, sum(deaths_helmetless) AS deaths_helmetless
FROM (
    SELECT
        substr(year_month(occurred_at), 1, 4) AS period, substr(year_month(add_months(occurred_at, -12)), 1, 4) AS period_before,
        deaths, deaths_helmetless
    FROM accidents WHERE deaths > 0
    UNION ALL
    SELECT
        year_month(occurred_at) || '', year_month(add_months(occurred_at, -12)) || '', deaths, deaths_helmetless
    FROM accidents WHERE deaths > 0
) AS a
GROUP BY period;

CREATE SINK fatal_accidents WITH (topic = 'fatal-accidents', format = 'json') AS
SELECT
    f.period, f.accidents, f.deaths, f.deaths_helmetless,
    b.accidents AS accidents_year_before, b.deaths AS deaths_year_before, b.deaths_helmetless AS deaths_helmetless_year_before,
    CASE WHEN b.accidents > 0 THEN CAST(f.accidents AS DOUBLE) / b.accidents - 1 END AS change,
    CASE WHEN b.deaths_helmetless > 0 THEN CAST(f.deaths_helmetless AS DOUBLE) / b.deaths_helmetless - 1 END AS change_helmetless
FROM fatal_periods AS f
LEFT JOIN (SELECT period, accidents, deaths, deaths_helmetless FROM fatal_periods) AS b ON b.period = f.period_before;

-- === people ===

CREATE VIEW visited_people AS
SELECT year, person_id
FROM (
    SELECT visit_id, person_id, completed_at, substr(year_month(completed_at), 1, 4) AS year FROM visits WHERE delivered
) AS v
QUALIFY row_number() OVER (PARTITION BY person_id, year ORDER BY completed_at, visit_id) = 1;

CREATE VIEW funnel_steps AS
SELECT substr(year_month(learned_at), 1, 4) AS year, 'rectified' AS step, person_id FROM rectified
UNION ALL
SELECT year, 'visited', person_id FROM visited_people
UNION ALL
SELECT substr(month, 1, 4), 'deducted', person_id FROM punished_rides
UNION ALL
SELECT substr(year_month(last_ride_at), 1, 4), 'to_be_improved', person_id FROM scored_people WHERE to_be_improved;

CREATE VIEW funnels AS
SELECT
    year,
    count(DISTINCT CASE WHEN step = 'rectified' THEN person_id END) AS rectified,
    count(DISTINCT CASE WHEN step = 'visited' THEN person_id END) AS visited,
    count(DISTINCT CASE WHEN step = 'deducted' THEN person_id END) AS deducted,
    count(DISTINCT CASE WHEN step = 'to_be_improved' THEN person_id END) AS to_be_improved
FROM funnel_steps
GROUP BY year;

CREATE SINK yearly_funnel WITH (topic = 'yearly-funnel', format = 'json') AS
SELECT
    year, rectified, visited, deducted, to_be_improved,
    rectified >= visited AND visited >= deducted AND deducted >= to_be_improved AS is_monotone
FROM funnels;
