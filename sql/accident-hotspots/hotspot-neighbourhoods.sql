-- Purpose:    when each neighbourhood is conspicuous: its episodes, and its counts at each of their steps.
-- Inputs:     street_accidents, baselines, hotspot_policy.
-- Outputs:    dated_accidents, middles, open_counts, episodes (read by hotspot-clusters.sql and hotspot-alerts.sql).
-- Rules:      n is the number of distinct accidents in the neighbourhood within the window. The baseline is what the
--             empirical Bayes estimate of the days before the window expects there: the usual number and the neighbourhood's
--             own history, weighted by how much history there is and how unlike neighbourhoods are. p is the probability of n
--             or more: negative binomial with what the estimate leaves uncertain, Poisson where neighbourhoods are alike.
--             An accident opens an episode when p < alpha, n >= n_min, they are not reports of one crash, and the middle
--             cell has one itself. The episode ends when p > clear_above.
-- Thresholds: hotspot_policy at the instant of each step, that of the accident for the days; where none is in force: 90 days
--             against 365, n_min 3, alpha 0.01, clear_above 0.05, 10 minutes; 1 accident a neighbourhood and year at least,
--             half believed against 25 accidents; dispersion at most 2, overdispersed above 1.5. A policy decides from its
--             instant on.
-- Limits:     all is a function of what accidents say, never of when they came: a late one is put where it belongs. What an
--             accident touches are its 7 neighbourhoods, and there the steps behind it. Accidents are kept without end.

CREATE TABLE dated_accidents (PRIMARY KEY (accident_id)) AS
SELECT
    a.accident_id, a.occurred_at, a.cell, a.weight,
    add_days(a.occurred_at, coalesce(p.window_days, 90)) AS leaves_at,
    add_days(a.occurred_at, coalesce(p.window_days, 90) + coalesce(p.baseline_days, 365)) AS ages_at
FROM (
    SELECT accident_id, min(occurred_at) AS occurred_at, min(cell) AS cell, min(weight) AS weight
    FROM street_accidents
    GROUP BY accident_id
) AS a
LEFT JOIN hotspot_policy FOR SYSTEM_TIME AS OF a.occurred_at AS p ON TRUE;

-- An accident counts from its instant on, becomes history when it leaves the window, and ages out of that in the end. Places
-- order all steps; at one instant accidents leave before others happen.
CREATE VIEW moves AS
SELECT
    cell, at, counted, remembered,
    counted * elapsed_ms(TIMESTAMP '1970-01-01T00:00:00Z', occurred_at) AS counted_ms,
    lpad(CAST(elapsed_ms(TIMESTAMP '1970-01-01T00:00:00Z', at) AS VARCHAR), 15, '0')
        || CASE WHEN counted = 1 THEN '/1/' ELSE '/0/' END || accident_id AS place
FROM (
    SELECT accident_id, cell, occurred_at, occurred_at AS at, 1 AS counted, 0 AS remembered FROM dated_accidents
    UNION ALL
    SELECT accident_id, cell, occurred_at, leaves_at, -1, 1 FROM dated_accidents
    UNION ALL
    SELECT accident_id, cell, occurred_at, ages_at, 0, -1 FROM dated_accidents
) AS m;

CREATE VIEW governed_moves AS
SELECT
    m.cell, m.at, m.counted, m.remembered, m.counted_ms, m.place,
    coalesce(p.window_days, 90) AS window_days,
    coalesce(p.baseline_days, 365) AS baseline_days,
    coalesce(p.n_min, 3) AS n_min,
    coalesce(p.alpha, 0.01) AS alpha,
    coalesce(p.clear_above, 0.05) AS clear_above,
    coalesce(p.same_event_minutes, 10) AS same_event_minutes,
    coalesce(p.prior_mean, 1.0) AS prior_mean,
    coalesce(p.prior_accidents, 25.0) AS prior_accidents,
    coalesce(p.dispersion_max, 2.0) AS dispersion_max,
    coalesce(p.overdispersion_from, 1.5) AS overdispersion_from,
    year_month(add_months(add_days(m.at, -2), -1)) AS last_month
FROM moves AS m
LEFT JOIN hotspot_policy FOR SYSTEM_TIME AS OF m.at AS p ON TRUE;

-- What the register says is believed the more, the more accidents it is made of: by half at prior_accidents. The mean is weighted as
-- a ratio, so that a region is soon known to be busy, but not by a single hotspot in the first days of a register.
CREATE VIEW compared_moves AS
SELECT
    *,
    coalesce(
        belief * least(dispersion_max, moment_dispersion(greatest(CAST(others AS DOUBLE) / n_cells, usual * years), variance)),
        0.0
    ) AS dispersion
FROM (
    SELECT
        *,
        coalesce(prior_mean * power(greatest(1.0, others / (n_cells * years) / prior_mean), belief), prior_mean) AS usual
    FROM (
        SELECT
            m.*, b.n_cells, b.others, b.variance, b.years,
            CAST(b.others AS DOUBLE) / (b.others + m.prior_accidents) AS belief,
            -- How much of the days before the window the register has seen.
            coalesce(
                least(m.baseline_days, greatest(elapsed_ms(b.first_at, m.at) / 86400000.0 - m.window_days, 0.0)), 0.0
            ) / 365.0 AS years_seen
        FROM governed_moves AS m
        LEFT JOIN baselines AS b ON b.last_month = m.last_month
    ) AS m
) AS m;

-- Only where there has been an accident can a neighbourhood have its middle.
CREATE VIEW middles AS
SELECT center, unnest(h3_disk(center, 1)) AS near
FROM (SELECT cell AS center FROM dated_accidents GROUP BY cell) AS c;

CREATE VIEW near_moves AS
SELECT
    c.center, CASE WHEN c.center = m.cell THEN 1 ELSE 0 END AS is_own,
    at, counted, remembered, counted_ms, place, n_min, alpha, clear_above, same_event_minutes,
    -- What the window expects without any history; each accident of the history adds its share.
    usual * eb_weight(usual * years_seen, dispersion) * window_days / 365.0 AS least_baseline,
    dispersion,
    1 + dispersion * usual > overdispersion_from AS is_overdispersed
FROM compared_moves AS m JOIN middles AS c ON c.near = m.cell;

-- === counts at every step ===

CREATE VIEW running_counts AS
SELECT
    *,
    row_number() OVER in_order AS step,
    sum(counted) OVER in_order AS n,
    sum(remembered) OVER in_order AS n_before,
    sum(is_own * counted) OVER in_order AS n_own,
    sum(counted_ms) OVER in_order AS sum_ms
FROM near_moves
WINDOW in_order AS (PARTITION BY center ORDER BY place);

CREATE VIEW tested_counts AS
SELECT
    center, place, step, at, counted = 1 AS is_accident, n, baseline, is_overdispersed, uncertainty, alpha, clear_above,
    CASE
        WHEN n <= 0 THEN 1.0
        WHEN is_overdispersed THEN negative_binomial_sf(n - 1, baseline, uncertainty)
        ELSE poisson_sf(n - 1, baseline)
    END AS p,
    -- Reports of a single crash lie within minutes: the others must lie further back than that, on average.
    n >= n_min AND n_own >= 1
        AND n * elapsed_ms(TIMESTAMP '1970-01-01T00:00:00Z', at) - sum_ms > (n - 1) * same_event_minutes * 60000 AS may_open
FROM (
    SELECT
        *,
        least_baseline * (1 + dispersion * n_before) AS baseline,
        dispersion / (1 + dispersion * n_before) AS uncertainty
    FROM running_counts
) AS c;

-- === episodes ===

CREATE VIEW marked_counts AS
SELECT
    *,
    max(opening) OVER up_to_here AS last_opening,
    max(clearing) OVER up_to_here AS last_clearing,
    max(opening) OVER before_it AS former_opening,
    max(clearing) OVER before_it AS former_clearing
FROM (
    SELECT
        center, place, at, is_accident, n, baseline, p, is_overdispersed, uncertainty,
        CASE WHEN is_accident AND may_open AND p < alpha AND p <= clear_above THEN step END AS opening,
        CASE WHEN p > clear_above THEN step END AS clearing
    FROM tested_counts
) AS c
WINDOW
    up_to_here AS (PARTITION BY center ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
    before_it AS (PARTITION BY center ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING);

-- The step that ends an episode belongs to it.
CREATE VIEW episode_counts AS
SELECT *, sum(CASE WHEN was_open THEN 0 ELSE 1 END) OVER (PARTITION BY center ORDER BY place) AS episode
FROM (
    SELECT
        center, place, at, is_accident, n, baseline, p, is_overdispersed, uncertainty,
        coalesce(last_opening > coalesce(last_clearing, 0), false) AS is_open,
        coalesce(former_opening > coalesce(former_clearing, 0), false) AS was_open
    FROM marked_counts
) AS m
WHERE is_open OR was_open;

CREATE TABLE foreseen_counts (PRIMARY KEY (center, place)) AS
SELECT
    center, episode, place, at, is_accident, is_open, n, baseline, p,
    CASE WHEN is_overdispersed AND uncertainty > 0 THEN uncertainty END AS dispersion
FROM episode_counts;

-- That accidents will have left can be foreseen; it has happened when none can come before it any more.
CREATE VIEW open_counts AS
SELECT * FROM foreseen_counts WHERE is_accident
UNION ALL
SELECT * FROM PASSED(foreseen_counts, at) WHERE NOT is_accident;

CREATE TABLE episodes (PRIMARY KEY (center, episode)) AS
SELECT
    center, episode,
    min(place) || '/' || center AS name,
    min(at) AS opened_at,
    min(place) AS opened_place,
    max(CASE WHEN NOT is_open THEN place END) AS cleared_place
FROM episode_counts
GROUP BY center, episode;
