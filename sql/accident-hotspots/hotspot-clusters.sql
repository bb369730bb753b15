-- Purpose:  which episodes are one hotspot: one open alert for what belongs together.
-- Inputs:   episodes.
-- Outputs:  hotspot_members (each episode with its hotspot).
-- Rules:    episodes that overlap in time and whose neighbourhoods share a cell (middles at most 2 cells apart) are one hotspot,
--           and so are those that a chain of such episodes connects. It is named for the episode that opened first: its cell
--           and the local date; a second one of that day has .2 behind it. So an accident counts in one hotspot at a time, a
--           hotspot keeps its name while it grows, moves or shrinks, and where two meet the elder goes on.
-- Limits:   chains are followed by four rounds, of which each goes one episode on and then as far again as the leader found
--           there had got: 15 episodes from the eldest where they opened one after the other, at least 4 in any order.

CREATE VIEW touching_episodes AS
SELECT a.name, b.name AS other
FROM (SELECT name, opened_place, cleared_place, unnest(h3_disk(center, 2)) AS near FROM episodes) AS a
JOIN episodes AS b
    ON b.center = a.near
    AND b.opened_place < coalesce(a.cleared_place, '9')
    AND a.opened_place < coalesce(b.cleared_place, '9');

CREATE VIEW first_touched AS
SELECT name, min(other) AS leader FROM touching_episodes GROUP BY name;

CREATE VIEW first_led AS
SELECT t.name, f.leader FROM first_touched AS t JOIN first_touched AS f ON f.name = t.leader;

CREATE VIEW second_touched AS
SELECT t.name, min(l.leader) AS leader
FROM touching_episodes AS t JOIN first_led AS l ON l.name = t.other
GROUP BY t.name;

CREATE VIEW second_led AS
SELECT t.name, f.leader FROM second_touched AS t JOIN second_touched AS f ON f.name = t.leader;

CREATE VIEW third_touched AS
SELECT t.name, min(l.leader) AS leader
FROM touching_episodes AS t JOIN second_led AS l ON l.name = t.other
GROUP BY t.name;

CREATE VIEW third_led AS
SELECT t.name, f.leader FROM third_touched AS t JOIN third_touched AS f ON f.name = t.leader;

CREATE VIEW fourth_touched AS
SELECT t.name, min(l.leader) AS leader
FROM touching_episodes AS t JOIN third_led AS l ON l.name = t.other
GROUP BY t.name;

CREATE VIEW fourth_led AS
SELECT t.name, f.leader FROM fourth_touched AS t JOIN fourth_touched AS f ON f.name = t.leader;

CREATE VIEW named_episodes AS
SELECT
    *,
    center || '/' || CAST(local_date(opened_at) AS VARCHAR)
        || CASE WHEN of_day = 1 THEN '' ELSE '.' || CAST(of_day AS VARCHAR) END AS hotspot_id
FROM (
    SELECT *, row_number() OVER (PARTITION BY center, local_date(opened_at) ORDER BY opened_place) AS of_day FROM episodes
) AS e;

CREATE TABLE hotspot_members (PRIMARY KEY (center, episode)) AS
SELECT e.center, e.episode, e.opened_place, e.cleared_place, h.hotspot_id, h.opened_at AS hotspot_opened_at
FROM named_episodes AS e
JOIN fourth_led AS l ON l.name = e.name
JOIN named_episodes AS h ON h.name = l.leader;
