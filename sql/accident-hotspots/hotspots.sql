-- Purpose:  the hotspots that are open now, the most conspicuous first in `rank`: what a map or a morning list shows.
-- Inputs:   open_counts, hotspot_members, dated_accidents.
-- Outputs:  sink hotspots (upsert by hotspot_id; a tombstone when it is cleared).
-- Rules:    cells are the middles of its open neighbourhoods, evidence all accidents that count in any of them, once each;
--           cell, n, baseline and p are those of the most conspicuous. fdr is the false discovery rate of Benjamini and
--           Hochberg: the share of chance among this hotspot and those before it, where n_cells neighbourhoods were looked at
--           (those with an accident in the twelve months of the baseline; null in the first month). Neighbourhoods overlap and
--           are looked at again and again, so it is a measure for order and caution, not an exact rate.
-- Limits:   as of the last step of each neighbourhood; what leaves the window is seen a day later.

CREATE VIEW present_counts AS
SELECT center, episode, place, at, n, baseline, p
FROM (SELECT *, row_number() OVER (PARTITION BY center ORDER BY place DESC) AS age FROM open_counts) AS c
WHERE age = 1 AND is_open;

CREATE VIEW present_members AS
SELECT m.hotspot_id, m.hotspot_opened_at, c.center, c.place, c.n, c.baseline, c.p, b.n_cells
FROM present_counts AS c
JOIN hotspot_members AS m ON m.center = c.center AND m.episode = c.episode
LEFT JOIN baselines AS b ON b.last_month = year_month(add_months(add_days(c.at, -2), -1));

CREATE VIEW present_accidents AS
SELECT hotspot_id, count(*) AS n_accidents, sum(weight) AS epdo, array_agg(accident_id ORDER BY accident_id) AS evidence
FROM (
    SELECT DISTINCT m.hotspot_id, a.accident_id, a.weight
    FROM present_members AS m
    JOIN near_accidents AS a ON a.center = m.center AND a.place <= m.place AND a.leaves_place > m.place
) AS a
GROUP BY hotspot_id;

CREATE VIEW present_hotspots AS
SELECT hotspot_id, hotspot_opened_at, center, n, baseline, p, n_cells, cells
FROM (
    SELECT
        *,
        row_number() OVER (PARTITION BY hotspot_id ORDER BY p, n DESC, center) AS rank,
        array_agg(center) OVER all_of_it AS cells
    FROM present_members
    WINDOW all_of_it AS (
        PARTITION BY hotspot_id ORDER BY center ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
) AS m
WHERE rank = 1;

CREATE VIEW ranked_hotspots AS
SELECT *, row_number() OVER (ORDER BY p, hotspot_id) AS rank FROM present_hotspots;

CREATE SINK hotspots WITH (topic = 'hotspots', format = 'json') AS
SELECT
    r.hotspot_id, r.hotspot_opened_at AS opened_at, r.rank, r.center AS cell, r.cells,
    r.n, r.baseline, r.p,
    CASE WHEN r.n_cells IS NOT NULL THEN least(1.0, min(r.p * r.n_cells / r.rank) OVER (ORDER BY r.rank DESC)) END AS fdr,
    a.n_accidents, a.epdo, a.evidence
FROM ranked_hotspots AS r
JOIN present_accidents AS a ON a.hotspot_id = r.hotspot_id;
