-- Purpose:  which episodes are one hotspot: one open alert for what belongs together.
-- Inputs:   episodes.
-- Outputs:  hotspot_members (each episode with its hotspot).
-- Rules:    episodes that overlap in time and whose neighbourhoods share a cell (middles at most 2 cells apart) are one
--           hotspot, and so are those that a chain of such episodes connects. It is named for the episode that opened first:
--           its cell and the local date; a second one of that cell and day has .2 behind it. So an accident counts in one
--           hotspot at a time, a hotspot keeps its name while it grows, moves or shrinks, and where two meet the elder goes on.
-- Limits:   without recursion a chain is followed only so far: 16 steps, which may be 11 km, for certain; further where each
--           group first gathers behind its eldest.

CREATE VIEW touching_episodes AS
SELECT a.name, b.name AS other
FROM (SELECT name, opened_place, cleared_place, unnest(h3_disk(center, 2)) AS near FROM episodes) AS a
JOIN episodes AS b
    ON b.center = a.near
    AND b.opened_place < coalesce(a.cleared_place, '9')
    AND a.opened_place < coalesce(b.cleared_place, '9');

-- Each episode follows the eldest that it touches, and that one the eldest that it touches.
CREATE VIEW first_touched AS
SELECT name, min(other) AS eldest FROM touching_episodes GROUP BY name;

CREATE VIEW followers AS
SELECT f.name, g.eldest FROM first_touched AS f JOIN first_touched AS g ON g.name = f.eldest;

CREATE VIEW within_1_step AS
SELECT DISTINCT a.eldest, b.eldest AS other
FROM touching_episodes AS t
JOIN followers AS a ON a.name = t.name
JOIN followers AS b ON b.name = t.other;

CREATE VIEW within_2_steps AS
SELECT DISTINCT a.eldest, b.other FROM within_1_step AS a JOIN within_1_step AS b ON b.eldest = a.other;

CREATE VIEW within_4_steps AS
SELECT DISTINCT a.eldest, b.other FROM within_2_steps AS a JOIN within_2_steps AS b ON b.eldest = a.other;

CREATE VIEW within_8_steps AS
SELECT DISTINCT a.eldest, b.other FROM within_4_steps AS a JOIN within_4_steps AS b ON b.eldest = a.other;

CREATE VIEW within_16_steps AS
SELECT a.eldest, min(b.other) AS leader
FROM within_8_steps AS a JOIN within_8_steps AS b ON b.eldest = a.other
GROUP BY a.eldest;

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
JOIN followers AS f ON f.name = e.name
JOIN within_16_steps AS l ON l.eldest = f.eldest
JOIN named_episodes AS h ON h.name = l.leader;
