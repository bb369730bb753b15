-- Purpose:    which bodies let vehicles and drivers onto the road that should not be there.
-- Inputs:     source_audits, access_bodies, body_states, certificates, audit_policy.
-- Outputs:    sink body_quarters (upsert by body and quarter) and sink access_months (upsert by kind and month), for the provincial
--             vehicle office; sink body_summon_proposals (append; withdrawn when its ground falls away), for the officer who
--             approves; sink rejected_certificates (append; withdrawn likewise), for vehicle offices and who holds the
--             certificate; sink unknown_bodies (upsert), for who keeps the list.
-- Rules:      a body is compared with the other bodies of its kind in the quarter, itself left out: with their share of failures
--             its own number is expected, and it is conspicuous if so many or more would hardly happen by chance (Poisson tail),
--             corrected for how many bodies are compared. A certificate counts by what its body was when it was issued: not
--             active, no certificate. Summoning is a proposal.
-- Thresholds: audit_policy at the beginning of the quarter: 10 audits, 3 failures, and a probability of 0.05 over all that are
--             compared, where none is in force.
-- Limits:     a body without a state is active. Without failures of others nothing can be expected, and nobody is conspicuous.

CREATE VIEW audit_counts AS
SELECT
    b.kind, a.body_id, date_trunc('quarter', a.audited_at) AS quarter, count(*) AS audits, count(*) FILTER (WHERE a.failed) AS failed
FROM source_audits AS a
JOIN access_bodies AS b ON b.body_id = a.body_id
GROUP BY b.kind, a.body_id, date_trunc('quarter', a.audited_at);

CREATE VIEW compared_bodies AS
SELECT c.kind, c.body_id, c.quarter, c.audits, c.failed, coalesce(p.failed_min, 3) AS failed_min, coalesce(p.p_max, 0.05) AS p_max,
    c.audits >= coalesce(p.audits_min, 10) AS is_compared
FROM audit_counts AS c
LEFT JOIN audit_policy FOR SYSTEM_TIME AS OF c.quarter AS p ON TRUE;

CREATE VIEW kind_quarters AS
SELECT
    kind, quarter, sum(audits) AS all_audits, sum(failed) AS all_failed, count(*) FILTER (WHERE is_compared) AS compared
FROM compared_bodies
GROUP BY kind, quarter;

CREATE TABLE judged_bodies (PRIMARY KEY (body_id, quarter)) AS
SELECT
    body_id, kind, quarter, audits, failed, CAST(failed AS DOUBLE) / audits AS rate, expected, p, compared,
    coalesce(is_compared AND failed >= failed_min AND expected > 0 AND p * compared <= p_max, false) AS is_conspicuous
FROM (
    SELECT *, CASE WHEN is_compared THEN poisson_sf(failed - 1, expected) END AS p
    FROM (
        SELECT
            c.*, k.compared,
            CASE WHEN k.all_audits > c.audits
                THEN c.audits * CAST(k.all_failed - c.failed AS DOUBLE) / (k.all_audits - c.audits)
            END AS expected
        FROM compared_bodies AS c
        JOIN kind_quarters AS k ON k.kind = c.kind AND k.quarter = c.quarter
    ) AS e
) AS j;

CREATE SINK body_quarters WITH (topic = 'body-quarters', format = 'json') AS
SELECT body_id, kind, quarter, audits, failed, rate, expected, p, is_conspicuous FROM judged_bodies;

CREATE TABLE conspicuous_bodies (PRIMARY KEY (body_id, quarter)) AS
SELECT body_id, kind, quarter, audits, failed, expected, p, compared FROM judged_bodies WHERE is_conspicuous;

CREATE SINK body_summon_proposals WITH (topic = 'body-summon-proposals', format = 'json', key = 'body_id', emit_time = 'quarter') AS
SELECT
    coalesce(after.body_id, before.body_id) AS body_id,
    coalesce(after.kind, before.kind) AS kind,
    coalesce(after.quarter, before.quarter) AS quarter,
    coalesce(after.audits, before.audits) AS audits,
    coalesce(after.failed, before.failed) AS failed,
    coalesce(after.expected, before.expected) AS expected,
    coalesce(after.p, before.p) AS p,
    coalesce(after.compared, before.compared) AS compared,
    CASE WHEN after.body_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(conspicuous_bodies);

CREATE SINK access_months WITH (topic = 'access-months', format = 'json') AS
SELECT
    b.kind, date_trunc('month', a.audited_at) AS month, count(*) AS audits, count(*) FILTER (WHERE a.failed) AS failed,
    count(DISTINCT a.body_id) AS bodies, count(DISTINCT a.plate) AS plates
FROM source_audits AS a
JOIN access_bodies AS b ON b.body_id = a.body_id
GROUP BY b.kind, date_trunc('month', a.audited_at);

CREATE SINK unknown_bodies WITH (topic = 'unknown-bodies', format = 'json') AS
SELECT audit_id, body_id, audited_at FROM source_audits AS a
WHERE NOT EXISTS (SELECT 1 FROM access_bodies AS b WHERE b.body_id = a.body_id);

-- === certificates ===

CREATE TABLE worthless_certificates (PRIMARY KEY (certificate_id)) AS
SELECT c.certificate_id, c.body_id, c.issued_at, c.plate, s.state, s.valid_from AS state_since, s.reason
FROM certificates AS c
JOIN body_states FOR SYSTEM_TIME AS OF c.issued_at AS s ON s.body_id = c.body_id
WHERE s.state <> 'active';

CREATE SINK rejected_certificates WITH (
    topic = 'rejected-certificates', format = 'json', key = 'certificate_id', emit_time = 'issued_at'
) AS
SELECT
    coalesce(after.certificate_id, before.certificate_id) AS certificate_id,
    coalesce(after.body_id, before.body_id) AS body_id,
    coalesce(after.issued_at, before.issued_at) AS issued_at,
    CASE WHEN after.certificate_id IS NULL THEN before.plate ELSE after.plate END AS plate,
    coalesce(after.state, before.state) AS state,
    coalesce(after.state_since, before.state_since) AS state_since,
    CASE WHEN after.certificate_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(worthless_certificates);
