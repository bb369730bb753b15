-- Purpose:    which captures count, for whom, and why the others do not.
-- Inputs:     captures, voids, identities, disposal_policy, exemptions; held of doubtful-captures.sql.
-- Outputs:    assessed_captures (every capture that is neither voided nor held, with its person, the policy at its instant, and the reason
--             for a review, null if it counts).
-- Thresholds: disposal_policy.match_score_min at the instant of the capture; 0.8 where no policy is in force. The other
--             columns of the policy ride along, since a ride starts with a capture and takes the policy of that instant.

-- A voided capture is as if it never existed, and so is one that is held, for as long as it is.
CREATE VIEW captures_set_aside AS
SELECT capture_id FROM voids
UNION ALL
SELECT capture_id FROM held;

CREATE VIEW standing_captures AS
SELECT c.capture_id, c.captured_at, c.plate, c.match_score
FROM captures AS c
WHERE NOT EXISTS (SELECT 1 FROM captures_set_aside AS v WHERE v.capture_id = c.capture_id);

-- Exemptions of a plate may overlap. An instant is exempt if any exemption that has begun lasts beyond it, that is, if the
-- latest end among those begun does. So each span runs from one beginning to the next, and an instant meets one at most.
CREATE VIEW exempt_spans AS
SELECT plate, span_from, CASE WHEN next_from < latest_to THEN next_from ELSE latest_to END AS span_to
FROM (
    SELECT plate, valid_from AS span_from, lead(valid_from) OVER begun AS next_from, max(valid_to) OVER begun AS latest_to
    FROM exemptions
    WINDOW begun AS (PARTITION BY plate ORDER BY valid_from)
) AS e;

CREATE VIEW assessed_captures AS
SELECT
    c.capture_id,
    c.captured_at,
    nullif(i.person_id, '') AS person_id,
    coalesce(p.visit_from, 4) AS visit_from,
    coalesce(p.urgent_from, 10) AS urgent_from,
    coalesce(p.deduction, 2) AS deduction,
    coalesce(p.improve_below, 60) AS improve_below,
    CASE
        WHEN c.plate IS NULL OR upper(unicode_trim(c.plate)) IN
            ('', 'NULL', 'NONE', 'UNKNOWN', 'NO PLATE', 'BLANKPLATE', '00000', '无牌', '未知', '无号牌') THEN 'no_plate'
        WHEN i.person_id IS NULL OR i.person_id = '' THEN 'unknown_plate'
        WHEN c.match_score < coalesce(p.match_score_min, 0.8) THEN 'low_match_score'
        WHEN x.plate IS NOT NULL THEN 'exempt'
    END AS reason
FROM standing_captures AS c
LEFT JOIN identities FOR SYSTEM_TIME AS OF c.captured_at AS i ON i.plate = c.plate
LEFT JOIN disposal_policy FOR SYSTEM_TIME AS OF c.captured_at AS p ON TRUE
LEFT JOIN exempt_spans AS x ON x.plate = c.plate AND c.captured_at >= x.span_from AND c.captured_at < x.span_to;
