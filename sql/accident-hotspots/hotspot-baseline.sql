-- Purpose:    what number of accidents is usual in a neighbourhood, so that a hotspot is measured against its region.
-- Inputs:     located_accidents.
-- Outputs:    street_accidents; baselines (one row a month, used by hotspot-neighbourhoods.sql).
-- Rules:      a neighbourhood is an H3 cell of resolution 9 with its six neighbours, 0.74 square kilometres: a crossroads on
--             the border of a cell stays whole. When a month ends, the accidents of the twelve months before are counted in the
--             neighbourhood of every cell that had one. A neighbourhood is looked at because of an accident, so this one is
--             left out: what the others come to a year is right from the first month on, however short the register.
-- Limits:     at most the last twelve months, from the first accident known. A month serves from the third day of the next
--             on, when it is final, and for three months if none follows. An accident changes nothing here until then.

CREATE VIEW street_accidents AS
SELECT accident_id, occurred_at, h3_cell(lon, lat, 9) AS cell, weight FROM located_accidents;

CREATE VIEW yearly_counts AS
SELECT window_end, center, count(*) AS n, sum(is_own) AS n_own
FROM (
    SELECT occurred_at, center, CASE WHEN center = cell THEN 1 ELSE 0 END AS is_own
    FROM (SELECT occurred_at, cell, unnest(h3_disk(cell, 1)) AS center FROM street_accidents) AS spread
) AS near
GROUP BY hop(occurred_at, INTERVAL '1 month', INTERVAL '12 months'), center
EMIT FINAL;

CREATE VIEW yearly_sums AS
SELECT window_end, count(*) AS n_cells, sum(n) AS total, sum(n * n) AS squares
FROM yearly_counts
WHERE n_own > 0
GROUP BY window_end;

CREATE VIEW register_start AS
SELECT min(occurred_at) AS first_at FROM street_accidents;

CREATE VIEW yearly_moments AS
SELECT
    s.window_end, s.n_cells, r.first_at,
    s.total - s.n_cells AS others,
    (CAST(s.squares AS DOUBLE) - CAST(s.total AS DOUBLE) * s.total / s.n_cells) / s.n_cells AS variance,
    elapsed_ms(greatest(r.first_at, add_months(s.window_end, -12)), s.window_end) / 31536000000.0 AS years
FROM yearly_sums AS s CROSS JOIN register_start AS r;

-- For each month the latest figures, of at most three months ago.
CREATE TABLE baselines (PRIMARY KEY (last_month)) AS
SELECT last_month, n_cells, first_at, others, variance, years
FROM (
    SELECT *, row_number() OVER (PARTITION BY last_month ORDER BY window_end DESC) AS age
    FROM (
        SELECT *, year_month(add_months(instant_before(window_end), unnest(make_array(0, 1, 2)))) AS last_month
        FROM yearly_moments
    ) AS served
) AS aged
WHERE age = 1;
