-- Purpose:  captures that a person must look at before anything follows from them.
-- Inputs:   assessed_captures.
-- Outputs:  sink reviews (upsert by capture_id; a tombstone when the reason no longer holds). Reasons, the first that holds:
--           no_plate, unknown_plate, low_match_score, exempt.

CREATE TABLE captures_under_review (PRIMARY KEY (capture_id)) AS
SELECT capture_id, reason FROM assessed_captures WHERE reason IS NOT NULL;

CREATE SINK reviews WITH (topic = 'reviews', format = 'json') AS
SELECT capture_id, reason FROM captures_under_review;
