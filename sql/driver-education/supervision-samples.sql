-- Purpose:    which sessions the county's and the city's posts look at, and whether they do: drawn by a hash, so that anybody can draw
--             again and nobody can choose.
-- Inputs:     judged_sessions, session_inspections, sampling_policy, sites, calendar.
-- Outputs:    sink inspection_samples (upsert by level, enrolment_id and session_id, with the draw; consumers: the posts), sink
--             overdue_inspections (append; to the next level), sink supervision_rates (upsert by month, site and level).
-- Rules:      the draw is the first 32 bits of SHA-256 over `seed/level/enrolment_id/session_id`; a session that no
--             fact voids is in the sample when the draw is below share x 2^32 of the policy in force when it starts.
--             printf '%s' 'seed/county/e1/L1' | sha256sum draws again.
--             A sampled session is due for a verdict of its level by the end of the due_days-th working day behind its end.
-- Thresholds: sampling_policy per level; 0.1 for the county, 0.02 for the city, seed `curb`, 3 working days where none is in force.
-- Limits:     a session whose due day the calendar does not hold has no due instant, and is never called overdue.

CREATE VIEW sampling_levels AS
SELECT 'county' AS level, 'city' AS next_level, 0.1 AS default_share
UNION ALL
SELECT 'city', 'province', 0.02;

CREATE VIEW level_sessions AS
SELECT enrolment_id, session_id, site_id, starts_at, ended_at, 'county' AS level FROM judged_sessions WHERE NOT is_fault
UNION ALL
SELECT enrolment_id, session_id, site_id, starts_at, ended_at, 'city' FROM judged_sessions WHERE NOT is_fault;

CREATE VIEW drawn_sessions AS
SELECT
    s.enrolment_id, s.session_id, s.level, s.site_id, s.ended_at,
    l.next_level,
    coalesce(p.share, l.default_share) AS share,
    coalesce(p.seed, 'curb') AS seed,
    coalesce(p.due_days, 3) AS due_days,
    left(encode(sha256(coalesce(p.seed, 'curb') || '/' || s.level || '/' || s.enrolment_id || '/' || s.session_id), 'hex'), 8) AS draw
FROM level_sessions AS s
JOIN sampling_levels AS l ON l.level = s.level
LEFT JOIN sampling_policy FOR SYSTEM_TIME AS OF s.starts_at AS p ON p.level = s.level;

CREATE TABLE sampled_sessions (PRIMARY KEY (level, enrolment_id, session_id)) AS
SELECT level, enrolment_id, session_id, site_id, ended_at, next_level, seed, share, draw, add_working_days(ended_at, due_days) AS due_at
FROM drawn_sessions
WHERE '0' || draw < lpad(to_hex(CAST(share * 4294967296 AS BIGINT)), 9, '0');

CREATE SINK inspection_samples WITH (topic = 'inspection-samples', format = 'json') AS
SELECT level, enrolment_id, session_id, site_id, seed, share, draw, due_at FROM sampled_sessions;

CREATE TABLE inspected_samples (PRIMARY KEY (level, enrolment_id, session_id)) AS
SELECT s.level, s.enrolment_id, s.session_id, s.site_id, s.ended_at, s.next_level, s.due_at, i.verdict
FROM sampled_sessions AS s
LEFT JOIN session_inspections AS i ON i.enrolment_id = s.enrolment_id AND i.session_id = s.session_id AND i.level = s.level;

CREATE TABLE awaited_inspections (PRIMARY KEY (level, enrolment_id, session_id)) AS
SELECT level, enrolment_id, session_id, next_level, due_at FROM inspected_samples WHERE verdict IS NULL;

CREATE TABLE missed_inspections (PRIMARY KEY (level, enrolment_id, session_id)) AS
SELECT level, enrolment_id, session_id, next_level, due_at FROM PASSED(awaited_inspections, due_at);

CREATE SINK overdue_inspections WITH (topic = 'overdue-inspections', format = 'json', key = 'to_level') AS
SELECT
    coalesce(after.level, before.level) AS from_level,
    coalesce(after.next_level, before.next_level) AS to_level,
    coalesce(after.enrolment_id, before.enrolment_id) AS enrolment_id,
    coalesce(after.session_id, before.session_id) AS session_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.level IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(missed_inspections);

CREATE SINK supervision_rates WITH (topic = 'supervision-rates', format = 'json') AS
SELECT
    year_month(ended_at) AS month,
    coalesce(site_id, 'online') AS site_id,
    level,
    count(*) AS sampled,
    count(verdict) AS inspected,
    count(CASE WHEN verdict = 'failed' THEN 1 END) AS failed,
    CASE WHEN count(verdict) > 0 THEN CAST(count(CASE WHEN verdict = 'failed' THEN 1 END) AS DOUBLE) / count(verdict) END AS failed_rate
FROM inspected_samples
GROUP BY year_month(ended_at), coalesce(site_id, 'online'), level;
