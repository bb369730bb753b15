-- Purpose:  which evaluations count: by somebody known, of a document that exists, once a person and document.
-- Inputs:   evaluations, submissions, documents, officers.
-- Outputs:  accepted_evaluations (one row an evaluation that counts, with the person); sinks evaluation_cases (upsert by evaluation_id,
--           without the person; consumers: brigades, the province), intake_reviews (upsert by evaluation_id, a tombstone when
--           the reason no longer holds; consumer: the intake desk).
-- Rules:    the first reason that holds: unknown_verdict, not_real_name, not_agreed, no_location, no_document, unknown_document,
--           not_the_party, unknown_situation, no_situation (dissatisfied without any), duplicate (the person already evaluated
--           this document; the earliest that nothing else speaks against counts). The brigade is the document's, whatever was sent.
--           by_auxiliary says what the officer was when the document was issued.
-- Limits:   what is not accepted is not in statistics and histories. Escalations do not ask: whoever is dissatisfied is answered,
--           also where the intake has a question. An evaluation is remembered for 1100 days after its month.

-- The stream as a table: an evaluation_id comes once, so a group is one evaluation.
CREATE TABLE evaluation_rows WITH (allowed_lateness = '1100 days') AS
SELECT
    evaluation_id, window_start AS month_started_at, min(submitted_at) AS submitted_at, document_id, verdict, comment, situations
FROM evaluations
GROUP BY evaluation_id, document_id, verdict, comment, situations, tumble(submitted_at, INTERVAL '1 month')
EMIT CHANGES;

CREATE VIEW described_evaluations AS
SELECT
    e.evaluation_id, e.month_started_at, e.submitted_at, e.document_id, e.verdict, e.comment, e.situations,
    s.person_id, s.attachments, d.penalty_id, d.brigade_id, d.officer_id, o.role,
    CASE
        WHEN e.verdict NOT IN ('satisfied', 'dissatisfied', 'other') THEN 'unknown_verdict'
        WHEN coalesce(s.person_id, '') = '' THEN 'not_real_name'
        WHEN s.agreed IS NOT TRUE THEN 'not_agreed'
        WHEN s.lon IS NULL OR s.lat IS NULL OR (s.lon = 0 AND s.lat = 0) OR abs(s.lon) > 180 OR abs(s.lat) > 90 THEN 'no_location'
        WHEN coalesce(e.document_id, '') = '' THEN 'no_document'
        WHEN d.document_id IS NULL THEN 'unknown_document'
        WHEN d.person_id <> s.person_id THEN 'not_the_party'
        WHEN array_length(array_except(e.situations, make_array(
            'auxiliary_police', 'rude_language', 'no_violation', 'impounded_without_reason', 'impounded_without_notice',
            'not_heard', 'unfair', 'others'))) > 0 THEN 'unknown_situation'
        WHEN e.verdict = 'dissatisfied' AND coalesce(array_length(e.situations), 0) = 0 THEN 'no_situation'
    END AS reason
FROM evaluation_rows AS e
LEFT JOIN submissions AS s ON s.evaluation_id = e.evaluation_id
LEFT JOIN documents AS d ON d.document_id = e.document_id
LEFT JOIN officers FOR SYSTEM_TIME AS OF d.issued_at AS o ON o.officer_id = d.officer_id;

CREATE VIEW ranked_evaluations AS
SELECT *,
    row_number() OVER earlier AS n,
    first_value(evaluation_id) OVER earlier AS first_evaluation_id
FROM described_evaluations
WHERE reason IS NULL
WINDOW earlier AS (PARTITION BY document_id, person_id ORDER BY submitted_at, evaluation_id);

CREATE VIEW accepted_evaluations AS
SELECT
    evaluation_id, month_started_at, submitted_at, document_id, verdict, comment, situations, person_id, attachments, penalty_id,
    brigade_id, officer_id, coalesce(role = 'auxiliary', false) AS by_auxiliary
FROM ranked_evaluations
WHERE n = 1;

CREATE TABLE case_rows (PRIMARY KEY (evaluation_id)) AS
SELECT
    evaluation_id, submitted_at, document_id, penalty_id, brigade_id, officer_id, by_auxiliary, verdict, situations, comment,
    attachments
FROM accepted_evaluations;

CREATE SINK evaluation_cases WITH (topic = 'evaluation-cases', format = 'json') AS SELECT * FROM case_rows;

CREATE TABLE questioned_evaluations (PRIMARY KEY (evaluation_id)) AS
SELECT evaluation_id, reason, CAST(NULL AS VARCHAR) AS duplicate_of FROM described_evaluations WHERE reason IS NOT NULL
UNION ALL
SELECT evaluation_id, 'duplicate', first_evaluation_id FROM ranked_evaluations WHERE n > 1;

CREATE SINK intake_reviews WITH (topic = 'intake-reviews', format = 'json') AS
SELECT evaluation_id, reason, duplicate_of FROM questioned_evaluations;
