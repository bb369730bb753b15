-- Purpose:    the integrity score of everybody with a deduction, and who is to be improved; proposals until an officer approves.
-- Inputs:     punished_rides, integrity_archive.
-- Outputs:    sinks integrity_scores (upsert by person_id; a tombstone when the last deduction is withdrawn) and to_be_improved
--             (upsert by person_id; a tombstone when the score no longer is below). Consumer: Civilized Office.
-- Thresholds: base score 100 where the archive has none; improve_below of the policy at the latest such ride's start.

CREATE VIEW deducted_points AS
SELECT
    person_id, sum(deduction) AS points, last_value(improve_below ORDER BY ride_started_at) AS improve_below,
    max(ride_started_at) AS last_ride_at
FROM punished_rides
GROUP BY person_id;

CREATE TABLE scored_people (PRIMARY KEY (person_id)) AS
SELECT
    d.person_id,
    coalesce(a.base_score, 100) - d.points AS score,
    coalesce(a.base_score, 100) - d.points < d.improve_below AS to_be_improved,
    d.last_ride_at
FROM deducted_points AS d
LEFT JOIN integrity_archive AS a ON a.person_id = d.person_id;

CREATE SINK integrity_scores WITH (topic = 'integrity-scores', format = 'json') AS
SELECT person_id, score, to_be_improved, true AS needs_approval FROM scored_people;

CREATE SINK to_be_improved WITH (topic = 'to-be-improved', format = 'json') AS
SELECT person_id, score, true AS needs_approval FROM scored_people WHERE to_be_improved;
