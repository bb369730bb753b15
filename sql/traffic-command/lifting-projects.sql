-- Purpose:    the projects that lift rural traffic safety: what each township must reach by a date, what it has, and whether it
--             has a standard station where police and insurers persuade villagers to drive safely.
-- Inputs:     townships, persuasion_stations, lifting_targets, lifting_results.
-- Outputs:    sinks township_coverage (upsert by township), lifting_states (upsert by project, township and date),
--             lifting_shortfalls (append with revision; the date passed without the target), lifting_projects (upsert by
--             project and date: townships that reached it), lifting_gaps (upsert; townships that a project has no target for).
--             Consumers: townships, counties, traffic-safety office.
-- Rules:      results up to the date count. A standard station counts for the project `persuasion_station` from its opening on,
--             if it is not closed by the date. A township is covered by one standard station that is open and not to be closed.
-- Thresholds: targets and dates are rows of lifting_targets.

CREATE TABLE covered_townships (PRIMARY KEY (township)) AS
SELECT
    t.township, t.county,
    count(s.station_id) AS stations,
    sum(CASE WHEN s.standard THEN 1 ELSE 0 END) AS standard_stations
FROM townships AS t
LEFT JOIN (SELECT * FROM persuasion_stations WHERE closed_at IS NULL) AS s ON s.township = t.township
GROUP BY t.township, t.county;

CREATE SINK township_coverage WITH (topic = 'township-coverage', format = 'json') AS
SELECT township, county, stations, standard_stations, standard_stations >= 1 AS covered FROM covered_townships;

CREATE VIEW lifting_contributions AS
SELECT g.project, g.township, g.due_at, r.amount
FROM lifting_targets AS g
JOIN lifting_results AS r ON r.project = g.project AND r.township = g.township AND r.done_at <= g.due_at
UNION ALL
SELECT g.project, g.township, g.due_at, 1
FROM lifting_targets AS g
JOIN persuasion_stations AS s
    ON s.township = g.township AND s.opened_at <= g.due_at AND (s.closed_at IS NULL OR s.closed_at > g.due_at)
WHERE g.project = 'persuasion_station' AND s.standard;

CREATE VIEW lifting_amounts AS
SELECT project, township, due_at, sum(amount) AS amount FROM lifting_contributions GROUP BY project, township, due_at;

CREATE TABLE lifting_progress (PRIMARY KEY (project, township, due_at)) AS
SELECT g.project, g.township, t.county, g.due_at, g.target, coalesce(a.amount, 0) AS amount
FROM lifting_targets AS g
LEFT JOIN townships AS t ON t.township = g.township
LEFT JOIN lifting_amounts AS a ON a.project = g.project AND a.township = g.township AND a.due_at = g.due_at;

CREATE SINK lifting_states WITH (topic = 'lifting-states', format = 'json') AS
SELECT project, township, county, due_at, target, amount, amount >= target AS reached FROM lifting_progress;

CREATE TABLE lifting_short (PRIMARY KEY (project, township, due_at)) AS
SELECT project, township, county, due_at, target, amount FROM lifting_progress WHERE amount < target;

CREATE TABLE lifting_missed (PRIMARY KEY (project, township, due_at)) AS
SELECT project, township, county, due_at, target, amount FROM PASSED(lifting_short, due_at);

CREATE SINK lifting_shortfalls WITH (topic = 'lifting-shortfalls', format = 'json', key = 'township', emit_time = 'due_at') AS
SELECT
    coalesce(after.project, before.project) AS project,
    coalesce(after.township, before.township) AS township,
    CASE WHEN after.project IS NULL THEN before.county ELSE after.county END AS county,
    coalesce(after.due_at, before.due_at) AS due_at,
    coalesce(after.target, before.target) AS target,
    coalesce(after.amount, before.amount) AS amount,
    CASE WHEN after.project IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(lifting_missed);

CREATE TABLE lifting_project_counts (PRIMARY KEY (project, due_at)) AS
SELECT
    project, due_at, count(*) AS townships, sum(CASE WHEN amount >= target THEN 1 ELSE 0 END) AS reached
FROM lifting_progress
GROUP BY project, due_at;

CREATE SINK lifting_projects WITH (topic = 'lifting-projects', format = 'json') AS
SELECT project, due_at, townships, reached, CAST(reached AS DOUBLE) / townships AS share FROM lifting_project_counts;

CREATE VIEW lifting_project_dates AS
SELECT DISTINCT project, due_at FROM lifting_targets;

CREATE TABLE lacking_targets (PRIMARY KEY (project, township, due_at)) AS
SELECT p.project, t.township, p.due_at
FROM lifting_project_dates AS p
JOIN townships AS t ON TRUE
WHERE NOT EXISTS (
    SELECT 1 FROM lifting_targets AS g WHERE g.project = p.project AND g.due_at = p.due_at AND g.township = t.township
);

CREATE SINK lifting_gaps WITH (topic = 'lifting-gaps', format = 'json') AS
SELECT project, township, due_at FROM lacking_targets;
