-- Purpose:    whether the evidence of each case is an unbroken chain of hashes, as handed to those who rely on it.
-- Inputs:     evidence, cases, case_handovers, evidence_policy.
-- Outputs:    sink evidence_chains (upsert by case_id): links, head and state of each chain: intact, incomplete (a link is
--             awaited), broken. Consumer: the unit, the linkage platform.
--             sink evidence_faults (upsert by evidence_id, chain_hash and fault): each reason why a chain is broken.
--             sinks evidence_public_security, evidence_procuratorate, evidence_court, evidence_town_platform (upsert by
--             case_id): the chains of the cases that were handed to them.
-- Rules:      a link's chain_hash is the SHA-256, in lower-case hex, of
--             case_id|evidence_id|mode|captured_at|sha256|prev_hash, with captured_at in milliseconds since 1970 and an
--             empty text where there is no link before. Faults:
--               altered              what is hashed does not yield chain_hash, or a hash is not 64 hexadecimal digits
--               two_versions         the evidence was sent with different content
--               unknown_mode         a way of collecting evidence that the app does not have
--               second_beginning     another link without a link before, later than the first
--               fork                 another link with the same link before, later than the first
--               backdated            captured before the link before it
--               missing_predecessor  the link before has not arrived upload_hours after this one was captured
--             Links arrive in any order; a fault that a later arrival removes is taken back.
-- Thresholds: evidence_policy at the capture: upload_hours 24, modes 8 where no policy is in force.

CREATE VIEW checked_evidence AS
SELECT
    e.evidence_id, e.chain_hash, e.case_id, e.mode, e.captured_at, e.prev_hash,
    e.mode < 1 OR e.mode > coalesce(p.modes, 8) AS is_unknown_mode,
    NOT regexp_like(e.sha256, '^[0-9a-f]{64}$')
        OR e.chain_hash <> encode(sha256(concat_ws(
            '|', e.case_id, e.evidence_id, e.mode, CAST(e.captured_at AS BIGINT), e.sha256, coalesce(e.prev_hash, '')
        )), 'hex') AS is_altered,
    e.captured_at + coalesce(p.upload_hours, 24) * INTERVAL '1 hour' AS upload_until
FROM evidence AS e
LEFT JOIN evidence_policy FOR SYSTEM_TIME AS OF e.captured_at AS p ON TRUE;

-- Which link of those with the same link before came first, and how many versions of its evidence there are.
CREATE VIEW ordered_evidence AS
SELECT
    *,
    row_number() OVER (PARTITION BY case_id, prev_hash ORDER BY captured_at, evidence_id, chain_hash) AS nth_successor,
    count(*) OVER (PARTITION BY evidence_id) AS versions
FROM checked_evidence;

CREATE VIEW link_ends AS
SELECT case_id, chain_hash, min(captured_at) AS captured_at FROM evidence GROUP BY case_id, chain_hash;

CREATE VIEW linked_evidence AS
SELECT e.*, b.chain_hash IS NOT NULL AS has_predecessor, b.captured_at AS predecessor_at
FROM ordered_evidence AS e
LEFT JOIN link_ends AS b ON b.case_id = e.case_id AND b.chain_hash = e.prev_hash;

CREATE TABLE awaited_links (PRIMARY KEY (evidence_id, chain_hash)) AS
SELECT evidence_id, chain_hash, case_id, upload_until
FROM linked_evidence
WHERE prev_hash IS NOT NULL AND NOT has_predecessor;

CREATE TABLE faulty_evidence (PRIMARY KEY (evidence_id, chain_hash, fault)) AS
SELECT evidence_id, chain_hash, 'altered' AS fault, case_id FROM linked_evidence WHERE is_altered
UNION ALL
SELECT evidence_id, chain_hash, 'two_versions', case_id FROM linked_evidence WHERE versions > 1
UNION ALL
SELECT evidence_id, chain_hash, 'unknown_mode', case_id FROM linked_evidence WHERE is_unknown_mode
UNION ALL
SELECT evidence_id, chain_hash, 'second_beginning', case_id
FROM linked_evidence WHERE prev_hash IS NULL AND nth_successor > 1
UNION ALL
SELECT evidence_id, chain_hash, 'fork', case_id FROM linked_evidence WHERE prev_hash IS NOT NULL AND nth_successor > 1
UNION ALL
SELECT evidence_id, chain_hash, 'backdated', case_id FROM linked_evidence WHERE captured_at < predecessor_at
UNION ALL
SELECT evidence_id, chain_hash, 'missing_predecessor', case_id FROM PASSED(awaited_links, upload_until);

CREATE SINK evidence_faults WITH (topic = 'evidence-faults', format = 'json', count_by = 'fault') AS
SELECT evidence_id, chain_hash, fault, case_id FROM faulty_evidence;

-- === chains ===

-- A link that no other follows is a head; an unbroken chain has one.
CREATE VIEW chain_heads AS
SELECT e.case_id, max(e.chain_hash) AS head_hash, count(*) AS heads
FROM evidence AS e
WHERE NOT EXISTS (SELECT 1 FROM evidence AS s WHERE s.case_id = e.case_id AND s.prev_hash = e.chain_hash)
GROUP BY e.case_id;

CREATE VIEW case_faults AS
SELECT case_id, array_agg(DISTINCT fault ORDER BY fault) AS faults FROM faulty_evidence GROUP BY case_id;

CREATE VIEW awaiting_cases AS
SELECT case_id, count(*) AS awaited FROM awaited_links GROUP BY case_id;

CREATE VIEW case_links AS
SELECT
    case_id, count(*) AS links, array_agg(DISTINCT mode ORDER BY mode) AS modes,
    min(captured_at) AS first_captured_at, max(captured_at) AS last_captured_at
FROM evidence
GROUP BY case_id;

CREATE TABLE chains (PRIMARY KEY (case_id)) AS
SELECT
    l.case_id, c.unit_id, c.town, l.links, l.modes, l.first_captured_at, l.last_captured_at,
    CASE WHEN h.heads = 1 THEN h.head_hash END AS head_hash,
    CASE WHEN f.case_id IS NOT NULL THEN 'broken' WHEN w.case_id IS NOT NULL THEN 'incomplete' ELSE 'intact' END AS state,
    f.faults
FROM case_links AS l
LEFT JOIN cases AS c ON c.case_id = l.case_id
LEFT JOIN chain_heads AS h ON h.case_id = l.case_id
LEFT JOIN case_faults AS f ON f.case_id = l.case_id
LEFT JOIN awaiting_cases AS w ON w.case_id = l.case_id;

CREATE SINK evidence_chains WITH (topic = 'evidence-chains', format = 'json', count_by = 'state') AS SELECT * FROM chains;

-- === those who rely on them ===

CREATE SINK evidence_public_security WITH (topic = 'evidence-public-security', format = 'json') AS
SELECT c.*, h.handed_at FROM chains AS c JOIN case_handovers AS h ON h.case_id = c.case_id AND h.department = 'public_security';

CREATE SINK evidence_procuratorate WITH (topic = 'evidence-procuratorate', format = 'json') AS
SELECT c.*, h.handed_at FROM chains AS c JOIN case_handovers AS h ON h.case_id = c.case_id AND h.department = 'procuratorate';

CREATE SINK evidence_court WITH (topic = 'evidence-court', format = 'json') AS
SELECT c.*, h.handed_at FROM chains AS c JOIN case_handovers AS h ON h.case_id = c.case_id AND h.department = 'court';

CREATE SINK evidence_town_platform WITH (topic = 'evidence-town-platform', format = 'json') AS
SELECT c.*, h.handed_at FROM chains AS c JOIN case_handovers AS h ON h.case_id = c.case_id AND h.department = 'town_platform';
