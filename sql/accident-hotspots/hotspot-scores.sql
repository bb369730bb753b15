-- Purpose:  where accidents of a year lie closer together than chance would have it.
-- Inputs:   located_accidents.
-- Outputs:  sink hotspot_scores (append; a row for each cell with an accident, final when the year has ended). Consumers:
--           traffic-safety office, road operators.
-- Rules:    Getis-Ord Gi* over H3 cells of resolution 8 (0.74 square kilometres) with binary weights over k-ring 1 and the cell
--           itself, among the cells with at least one accident in the year; null where all cells are alike. z_count is of the
--           number of accidents, z_epdo of their weights. From 1.96 on a cell is conspicuous at the level of 5 %.

CREATE VIEW year_scores AS
SELECT window_start, gi_star(cell, CAST(weight AS DOUBLE)) AS cells
FROM located_accidents
GROUP BY tumble(occurred_at, INTERVAL '1 year')
EMIT FINAL;

CREATE SINK hotspot_scores WITH (topic = 'hotspot-scores', format = 'json', key = 'cell') AS
SELECT
    window_start,
    score['cell'] AS cell,
    score['n'] AS n,
    CAST(score['total'] AS BIGINT) AS epdo,
    score['z'] AS z_count,
    score['z_total'] AS z_epdo
FROM (SELECT window_start, unnest(cells) AS score FROM year_scores) AS s;
