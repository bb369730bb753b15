-- Purpose:  demonstration households whose title is in question; a proposal until an officer approves.
-- Inputs:   punished_rides, households.
-- Outputs:  sink household_proposals (upsert by household_id; a tombstone when no member's punishment stands any more).
-- Rules:    a member with an issued punishment; persons lists them in order.

CREATE VIEW punished_members AS
SELECT DISTINCT household_id, person_id
FROM punished_rides
WHERE household_id IS NOT NULL;

CREATE SINK household_proposals WITH (topic = 'household-proposals', format = 'json') AS
SELECT m.household_id, array_agg(m.person_id ORDER BY m.person_id) AS persons, true AS needs_approval
FROM punished_members AS m
JOIN households AS h ON h.household_id = m.household_id
WHERE h.demonstration
GROUP BY m.household_id;
