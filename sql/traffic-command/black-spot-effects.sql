-- Purpose:    whether the rectification of a black spot made it safer, by more than what falls back to the usual of itself.
-- Inputs:     danger_progress (category black_spot, verified), primary_accidents, road_segments, black_spot_policy.
-- Outputs:    sink black_spot_effects (upsert by danger_id, when the time behind it is over). Consumers: black-spot centre,
--             road operator.
-- Rules:      before: before_days up to the finding; after: after_days from the verification. A spot is treated because much
--             happened there; part of that was chance. So what counts is not before against after, but after against what was
--             to be expected without the measure: the empirical Bayes estimate of before, times the trend of the rest of the
--             road, times the ratio of the lengths of time (Hauer, Observational Before-After Studies in Road Safety, 1997).
--             index below 1 is safer; it is significant when index + 2 index_sd is below 1. The naive ratio stands beside it
--             for comparison.
-- Thresholds: black_spot_policy at the finding; where none is in force: 1095 days before, 365 after, the dispersion of the road
--             itself.
-- Limits:     where the rest of the road had no accident, its trend is taken as none. A verification that is corrected later
--             gives another row; one behind the retention of accidents does not.

CREATE TABLE treated_spots (PRIMARY KEY (danger_id)) AS
SELECT
    d.danger_id, d.answers AS spot_id, d.road_id, d.direction, d.from_m, d.to_m, d.found_at, d.verified_at,
    coalesce(p.before_days, 1095) AS before_days,
    coalesce(p.after_days, 365) AS after_days,
    p.dispersion,
    add_days(d.found_at, -coalesce(p.before_days, 1095)) AS before_from,
    add_days(d.verified_at, coalesce(p.after_days, 365)) AS after_until
FROM danger_progress AS d
LEFT JOIN black_spot_policy FOR SYSTEM_TIME AS OF d.found_at AS p ON TRUE
WHERE d.category = 'black_spot' AND d.verified_at IS NOT NULL;

CREATE TABLE evaluable_spots (PRIMARY KEY (danger_id)) AS
SELECT * FROM PASSED(treated_spots, after_until);

CREATE VIEW effect_counts AS
SELECT
    t.danger_id,
    sum(CASE WHEN is_before AND is_inside THEN 1 ELSE 0 END) AS before_n,
    sum(CASE WHEN is_after AND is_inside THEN 1 ELSE 0 END) AS after_n,
    sum(CASE WHEN is_before AND NOT is_inside THEN 1 ELSE 0 END) AS rest_before,
    sum(CASE WHEN is_after AND NOT is_inside THEN 1 ELSE 0 END) AS rest_after
FROM (
    SELECT
        t.danger_id,
        c.occurred_at >= t.before_from AND c.occurred_at < t.found_at AS is_before,
        c.occurred_at >= t.verified_at AND c.occurred_at < t.after_until AS is_after,
        c.chainage_m >= t.from_m AND c.chainage_m < t.to_m AS is_inside
    FROM evaluable_spots AS t
    JOIN primary_accidents AS c
        ON c.road_id = t.road_id AND c.direction = t.direction
        AND c.occurred_at >= t.before_from AND c.occurred_at < t.after_until
) AS t
GROUP BY t.danger_id;

-- How unevenly the accidents of the road lay before, by the moments of the numbers on its 500 metres.
CREATE VIEW effect_sections AS
SELECT t.danger_id, chainage_bin(c.chainage_m, 500) AS section_m, count(*) AS n
FROM evaluable_spots AS t
JOIN primary_accidents AS c
    ON c.road_id = t.road_id AND c.direction = t.direction
    AND c.occurred_at >= t.before_from AND c.occurred_at < t.found_at
GROUP BY t.danger_id, chainage_bin(c.chainage_m, 500);

CREATE VIEW effect_moments AS
SELECT danger_id, CAST(sum(n) AS DOUBLE) AS n, CAST(sum(n * n) AS DOUBLE) AS squares FROM effect_sections GROUP BY danger_id;

-- usual: accidents to be expected before on a stretch of this length of the rest of the road. ratio: what the rest of the
-- road did from before to after, its lengths of time included.
CREATE VIEW effect_expectations AS
SELECT
    danger_id, spot_id, before_n, after_n, rest_before, rest_after, usual, dispersion, ratio,
    eb_mean(before_n, usual, dispersion) AS expected_before,
    ratio * eb_mean(before_n, usual, dispersion) AS expected_after,
    ratio * ratio * (1 - eb_weight(usual, dispersion)) * eb_mean(before_n, usual, dispersion) AS variance,
    days_ratio
FROM (
    SELECT
        t.danger_id, t.spot_id,
        coalesce(
            t.dispersion,
            moment_dispersion(m.n / (l.road_m / 500), (m.squares - m.n * m.n / (l.road_m / 500)) / (l.road_m / 500 - 1))
        ) * 500 / (t.to_m - t.from_m) AS dispersion,
        coalesce(c.before_n, 0) AS before_n, coalesce(c.after_n, 0) AS after_n,
        coalesce(c.rest_before, 0) AS rest_before, coalesce(c.rest_after, 0) AS rest_after,
        CAST(t.after_days AS DOUBLE) / t.before_days AS days_ratio,
        CASE
            WHEN c.rest_before > 0 AND c.rest_after > 0 THEN CAST(c.rest_after AS DOUBLE) / c.rest_before
            ELSE CAST(t.after_days AS DOUBLE) / t.before_days
        END AS ratio,
        coalesce(c.rest_before, 0) * (t.to_m - t.from_m) / (l.road_m - (t.to_m - t.from_m)) AS usual
    FROM evaluable_spots AS t
    LEFT JOIN effect_counts AS c ON c.danger_id = t.danger_id
    LEFT JOIN effect_moments AS m ON m.danger_id = t.danger_id
    LEFT JOIN road_lengths AS l ON l.road_id = t.road_id AND l.direction = t.direction
) AS e;

CREATE TABLE measured_effects (PRIMARY KEY (danger_id)) AS
SELECT
    danger_id, spot_id, before_n, after_n, rest_before, rest_after, expected_before, expected_after,
    after_n / nullif(before_n * days_ratio, 0) AS naive_ratio,
    after_n / nullif(expected_after, 0) / (1 + variance / nullif(expected_after * expected_after, 0)) AS index,
    variance / nullif(expected_after * expected_after, 0) AS relative_variance
FROM effect_expectations;

CREATE SINK black_spot_effects WITH (topic = 'black-spot-effects', format = 'json') AS
SELECT
    danger_id, spot_id, before_n, after_n, rest_before, rest_after, expected_before, expected_after, naive_ratio, index,
    index * sqrt(1.0 / nullif(after_n, 0) + relative_variance) / (1 + relative_variance) AS index_sd
FROM measured_effects;
