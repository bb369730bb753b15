-- Purpose:    stretches where accidents pile up, told to the brigade of the area with all that speaks for it, until it takes
--             them up.
-- Inputs:     accidents, secondary accidents (secondary_pairs), black_spot_rules, black_spot_policy, road_segments,
--             road_dangers, calendar.
-- Outputs:    sinks black_spot_alerts (append with revision: new, updated, cleared), black_spot_scores (upsert by spot; how far
--             it could be chance), black_spots_unanswered (append with revision; nobody took it up in time). Consumers: brigade
--             of the area, road operator, black-spot centre.
-- Rules:      along each direction of a road, sections of length_m that begin every 100 metres; a section is hot when the
--             accidents of the last `days` in it reach min_accidents and min_fatal of a rule. Hot sections that overlap are one
--             spot. A secondary accident belongs to the one before it and is not counted. A spot has the id of its earliest
--             accident, and reaches from its first accident to its last, in steps of 100 metres. What is usual is the number on
--             as long a stretch of this road; p is the Poisson tail, expected the empirical Bayes estimate. A danger that names
--             the spot in `answers` takes it up.
-- Thresholds: black_spot_rules at the instant of each accident; where none is in force for a rule: `frequent`, 5 accidents in
--             500 metres and 1095 days; `fatal`, 3 fatal ones in 2000 metres and 1095 days. black_spot_policy: 5 working days
--             to answer, the dispersion of the road itself.
-- Limits:     an accident leaves its window when the watermark passes its end; there is no further hysteresis. At least three
--             accidents make a spot by default; a province that asks for fewer writes a rule.

CREATE VIEW black_spot_rule_versions AS
SELECT rule, CAST(length_m AS INT) AS length_m, CAST(days AS INT) AS days, CAST(min_accidents AS INT) AS min_accidents,
    CAST(min_fatal AS INT) AS min_fatal, CAST(TIMESTAMP '1970-01-01 00:00:00' AS TIMESTAMP WITH TIME ZONE) AS effective_from
FROM (VALUES ('frequent', 500, 1095, 5, 0), ('fatal', 2000, 1095, 3, 3)) AS d(rule, length_m, days, min_accidents, min_fatal)
UNION ALL
SELECT rule, length_m, days, min_accidents, min_fatal, effective_from FROM black_spot_rules;

CREATE VIEW primary_accidents AS
SELECT c.accident_id, c.occurred_at, c.road_id, c.direction, c.chainage_m, c.severity, coalesce(c.deaths, 0) AS deaths
FROM accidents AS c
WHERE NOT EXISTS (SELECT 1 FROM secondary_pairs AS s WHERE s.accident_id = c.accident_id);

CREATE TABLE ruled_accidents (PRIMARY KEY (accident_id, rule)) AS
SELECT
    accident_id, occurred_at, road_id, direction, chainage_m, severity, deaths, rule, length_m, min_accidents, min_fatal,
    add_days(occurred_at, days) AS leaves_at
FROM (
    SELECT
        c.*, v.rule, v.length_m, v.days, v.min_accidents, v.min_fatal,
        row_number() OVER (PARTITION BY c.accident_id, v.rule ORDER BY v.effective_from DESC) AS latest
    FROM primary_accidents AS c
    JOIN black_spot_rule_versions AS v ON v.effective_from <= c.occurred_at
) AS r
WHERE latest = 1;

CREATE VIEW left_accidents AS
SELECT accident_id, rule FROM PASSED(ruled_accidents, leaves_at);

CREATE VIEW counted_accidents AS
SELECT c.*
FROM ruled_accidents AS c
WHERE NOT EXISTS (SELECT 1 FROM left_accidents AS l WHERE l.accident_id = c.accident_id AND l.rule = c.rule);

CREATE VIEW hot_sections AS
SELECT road_id, direction, rule, length_m, section_m
FROM (
    SELECT
        road_id, direction, rule, length_m, section_m,
        count(*) AS n,
        sum(CASE WHEN severity = 'fatal' THEN 1 ELSE 0 END) AS fatal,
        last_value(min_accidents ORDER BY occurred_at, accident_id) AS min_accidents,
        last_value(min_fatal ORDER BY occurred_at, accident_id) AS min_fatal
    FROM (SELECT *, unnest(chainage_sections(chainage_m, length_m, 100)) AS section_m FROM counted_accidents) AS c
    GROUP BY road_id, direction, rule, length_m, section_m
) AS s
WHERE n >= min_accidents AND fatal >= min_fatal;

CREATE VIEW hot_stretches AS
SELECT
    *,
    sum(begins) OVER (PARTITION BY road_id, direction ORDER BY section_m, length_m, rule) AS stretch
FROM (
    SELECT
        *,
        CASE
            WHEN section_m < max(section_m + length_m) OVER (
                PARTITION BY road_id, direction ORDER BY section_m, length_m, rule
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) THEN 0 ELSE 1
        END AS begins
    FROM hot_sections
) AS h;

-- The accidents of a spot are those that lie in one of its hot sections under that section's rule.
CREATE VIEW spot_evidence AS
SELECT DISTINCT
    h.road_id, h.direction, h.stretch, c.accident_id, c.occurred_at, c.chainage_m, c.severity, c.deaths
FROM hot_stretches AS h
JOIN counted_accidents AS c
    ON c.road_id = h.road_id AND c.direction = h.direction AND c.rule = h.rule
    AND c.chainage_m >= h.section_m AND c.chainage_m < h.section_m + h.length_m;

CREATE VIEW spot_extents AS
SELECT
    road_id, direction, stretch,
    max(section_m + length_m) - min(section_m) AS length_m, array_agg(DISTINCT rule ORDER BY rule) AS rules
FROM hot_stretches
GROUP BY road_id, direction, stretch;

CREATE VIEW spot_counts AS
SELECT
    road_id, direction, stretch,
    first_value(accident_id ORDER BY occurred_at, accident_id) AS first_accident_id,
    first_value(chainage_m ORDER BY occurred_at, accident_id) AS first_m,
    chainage_bin(min(chainage_m), 100) AS from_m, chainage_bin(max(chainage_m), 100) + 100 AS to_m,
    count(*) AS accidents,
    sum(CASE WHEN severity = 'fatal' THEN 1 ELSE 0 END) AS fatal,
    sum(deaths) AS deaths,
    max(occurred_at) AS latest_at,
    array_agg(accident_id ORDER BY occurred_at, accident_id) AS evidence
FROM spot_evidence
GROUP BY road_id, direction, stretch;

-- What is usual: the accidents of the whole road under any rule, each once, over its length.
CREATE VIEW road_lengths AS
SELECT road_id, direction, sum(to_m - from_m) AS road_m FROM road_segments GROUP BY road_id, direction;

CREATE VIEW road_counts AS
SELECT road_id, direction, count(DISTINCT accident_id) AS accidents FROM counted_accidents GROUP BY road_id, direction;

-- How unevenly the accidents of a road lie, by the moments of the numbers on its 500 metres: what is known of a road without a
-- model of its traffic.
CREATE VIEW road_dispersions AS
SELECT
    s.road_id, s.direction,
    moment_dispersion(s.n / (l.road_m / 500), (s.squares - s.n * s.n / (l.road_m / 500)) / (l.road_m / 500 - 1)) AS dispersion
FROM (
    SELECT road_id, direction, CAST(sum(n) AS DOUBLE) AS n, CAST(sum(n * n) AS DOUBLE) AS squares
    FROM (
        SELECT road_id, direction, chainage_bin(chainage_m, 500) AS section_m, count(DISTINCT accident_id) AS n
        FROM counted_accidents
        GROUP BY road_id, direction, chainage_bin(chainage_m, 500)
    ) AS b
    GROUP BY road_id, direction
) AS s
JOIN road_lengths AS l ON l.road_id = s.road_id AND l.direction = s.direction;

CREATE VIEW judged_spots AS
SELECT
    'spot/' || c.first_accident_id AS spot_id, c.road_id, c.direction, c.from_m, c.to_m, s.brigade_id,
    c.accidents, c.fatal, c.deaths, x.rules, c.evidence, c.latest_at,
    r.accidents * x.length_m / l.road_m AS usual,
    coalesce(p.dispersion, k.dispersion) * 500 / x.length_m AS dispersion,
    coalesce(p.answer_days, 5) AS answer_days
FROM spot_counts AS c
JOIN spot_extents AS x ON x.road_id = c.road_id AND x.direction = c.direction AND x.stretch = c.stretch
JOIN road_counts AS r ON r.road_id = c.road_id AND r.direction = c.direction
LEFT JOIN road_lengths AS l ON l.road_id = c.road_id AND l.direction = c.direction
LEFT JOIN road_dispersions AS k ON k.road_id = c.road_id AND k.direction = c.direction
LEFT JOIN road_segments AS s
    ON s.road_id = c.road_id AND s.direction = c.direction AND c.first_m >= s.from_m AND c.first_m < s.to_m
LEFT JOIN black_spot_policy FOR SYSTEM_TIME AS OF c.latest_at AS p ON TRUE;

CREATE TABLE standing_spots (PRIMARY KEY (spot_id)) AS
SELECT
    spot_id, road_id, direction, from_m, to_m, brigade_id, accidents, fatal, deaths, rules, evidence, latest_at, answer_days
FROM judged_spots;

CREATE SINK black_spot_alerts WITH (
    topic = 'black-spot-alerts', format = 'json', key = 'spot_id', count_by = 'status', emit_time = 'latest_at'
) AS
SELECT
    coalesce(after.spot_id, before.spot_id) AS spot_id,
    coalesce(after.road_id, before.road_id) AS road_id,
    coalesce(after.direction, before.direction) AS direction,
    coalesce(after.from_m, before.from_m) AS from_m,
    coalesce(after.to_m, before.to_m) AS to_m,
    CASE WHEN after.spot_id IS NULL THEN before.brigade_id ELSE after.brigade_id END AS brigade_id,
    coalesce(after.accidents, before.accidents) AS accidents,
    coalesce(after.fatal, before.fatal) AS fatal,
    coalesce(after.deaths, before.deaths) AS deaths,
    coalesce(after.rules, before.rules) AS rules,
    coalesce(after.evidence, before.evidence) AS evidence,
    coalesce(after.latest_at, before.latest_at) AS latest_at,
    CASE WHEN after.spot_id IS NULL THEN 'cleared' WHEN before.spot_id IS NULL THEN 'new' ELSE 'updated' END AS status,
    revision
FROM CHANGES(standing_spots);

-- What speaks for a spot changes with every accident of its road; that is no news for the brigade.
CREATE TABLE spot_scores (PRIMARY KEY (spot_id)) AS
SELECT
    spot_id, accidents, usual, poisson_sf(accidents - 1, usual) AS p, eb_mean(accidents, usual, dispersion) AS expected,
    eb_sd(accidents, usual, dispersion) AS expected_sd
FROM judged_spots;

CREATE SINK black_spot_scores WITH (topic = 'black-spot-scores', format = 'json') AS
SELECT spot_id, accidents, usual, p, expected, expected_sd FROM spot_scores;

-- === taken up in time ===

CREATE TABLE unanswered_spots (PRIMARY KEY (spot_id)) AS
SELECT spot_id, brigade_id, due_at
FROM (SELECT spot_id, brigade_id, add_working_days(latest_at, answer_days) AS due_at FROM standing_spots) AS s
WHERE due_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM road_dangers AS h WHERE h.answers = s.spot_id AND h.found_at <= s.due_at);

CREATE TABLE spots_not_taken_up (PRIMARY KEY (spot_id)) AS
SELECT spot_id, brigade_id, due_at FROM PASSED(unanswered_spots, due_at);

CREATE SINK black_spots_unanswered WITH (
    topic = 'black-spots-unanswered', format = 'json', key = 'spot_id', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.spot_id, before.spot_id) AS spot_id,
    CASE WHEN after.spot_id IS NULL THEN before.brigade_id ELSE after.brigade_id END AS brigade_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.spot_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(spots_not_taken_up);
