-- Purpose:  sources of the enforcement-evaluation pack: what up to people() people say of how they were treated, half a year before the
--           first day and days() from it.
-- Rules:    three brigades of eight officers each, every fourth an auxiliary; most people say something once, a few often. In the
--           last days many are dissatisfied with officer 05. Some forget their real name, the terms or the location, scan a document that
--           nobody knows, or evaluate twice. Levels answer in hours to days, or not at all; some people appeal.

-- The years whose holidays and make-up days are known.
CREATE VIEW holidays AS
SELECT CAST(column1 AS DATE) AS from_day, CAST(column2 AS DATE) AS to_day FROM (VALUES
    ('2024-01-01', '2024-01-01'), ('2024-02-10', '2024-02-17'), ('2024-04-04', '2024-04-06'), ('2024-05-01', '2024-05-05'),
    ('2024-06-10', '2024-06-10'), ('2024-09-15', '2024-09-17'), ('2024-10-01', '2024-10-07'), ('2025-01-01', '2025-01-01'),
    ('2025-01-28', '2025-02-04'), ('2025-04-04', '2025-04-06'), ('2025-05-01', '2025-05-05'), ('2025-05-31', '2025-06-02'),
    ('2025-10-01', '2025-10-08'), ('2026-01-01', '2026-01-03'), ('2026-02-15', '2026-02-23'), ('2026-04-04', '2026-04-06'),
    ('2026-05-01', '2026-05-05'), ('2026-06-19', '2026-06-21'), ('2026-09-25', '2026-09-27'), ('2026-10-01', '2026-10-07')) AS h;

CREATE VIEW make_up_days AS
SELECT CAST(column1 AS DATE) AS day FROM (VALUES
    ('2024-02-04'), ('2024-02-18'), ('2024-04-07'), ('2024-04-28'), ('2024-05-11'), ('2024-09-14'), ('2024-09-29'), ('2024-10-12'),
    ('2025-01-26'), ('2025-02-08'), ('2025-04-27'), ('2025-09-28'), ('2025-10-11'), ('2026-01-04'), ('2026-02-14'), ('2026-02-28'),
    ('2026-05-09'), ('2026-09-20'), ('2026-10-10')) AS m;

INSERT INTO calendar
SELECT
    d.day,
    m.day IS NOT NULL OR (date_part('dow', d.day) BETWEEN 1 AND 5 AND h.from_day IS NULL) AS working
FROM (SELECT add_days(CAST('2024-01-01' AS DATE), unnest(generate_series(0, 1095))) AS day) AS d
LEFT JOIN holidays AS h ON d.day BETWEEN h.from_day AND h.to_day
LEFT JOIN make_up_days AS m ON m.day = d.day
ORDER BY d.day;

INSERT INTO officers
SELECT 'officer-' || lpad(CAST(n AS VARCHAR), 2, '0') AS officer_id, CAST('2020-01-01T00:00:00+08:00' AS TIMESTAMP WITH TIME ZONE) AS effective_from,
    CASE WHEN n % 4 = 0 THEN 'auxiliary' ELSE 'sworn' END AS role
FROM (SELECT unnest(generate_series(1, 24)) AS n) AS o ORDER BY n;

INSERT INTO contacts
SELECT 'person-' || lpad(CAST(i AS VARCHAR), 6, '0') AS person_id, '139' || lpad(CAST(i AS VARCHAR), 8, '0') AS phone
FROM (SELECT unnest(generate_series(1, people())) AS i) AS p WHERE chance('contact', i) < 0.8 ORDER BY i;

INSERT INTO report_periods
SELECT 'all days' AS period, local_date(started_at()) AS from_day, add_days(local_date(started_at()), days() - 1) AS to_day;

CREATE TABLE checks AS
SELECT
    i, k, at, officer, 'document-' || lpad(CAST(i AS VARCHAR), 6, '0') || '-' || CAST(k AS VARCHAR) AS document_id,
    'evaluation-' || lpad(CAST(i AS VARCHAR), 6, '0') || '-' || CAST(k AS VARCHAR) AS evaluation_id,
    'person-' || lpad(CAST(i AS VARCHAR), 6, '0') AS person_id,
    'brigade-' || CAST((officer - 1) / 8 + 1 AS VARCHAR) AS brigade_id,
    'officer-' || lpad(CAST(officer AS VARCHAR), 2, '0') AS officer_id,
    CASE WHEN chance('verdict', i, k) < CASE WHEN officer = 5 AND at >= started_at() THEN 0.8 ELSE 0.35 END THEN 'dissatisfied'
         WHEN chance('verdict', i, k) < 0.9 THEN 'satisfied' ELSE 'other' END AS verdict
FROM (
    SELECT i, k, at,
        CASE WHEN at >= started_at() AND chance('him', i, k) < 0.15 THEN 5 ELSE 1 + CAST(floor(chance('officer', i, k) * 24) AS BIGINT) END AS officer
    FROM (
        SELECT i, k,
            add_days(started_at(), CAST(floor(chance('day', i, k) * (180 + days())) AS BIGINT) - 180)
                + CAST(CAST(25200 + CAST(floor(chance('second', i, k) * 57600) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS at
        FROM (SELECT i, unnest(generate_series(1, CAST(ceil(-ln(1.0 - chance('prone', i)) * 1.2) AS BIGINT))) AS k FROM (SELECT unnest(generate_series(1, people())) AS i) AS p) AS p
    ) AS c
) AS c;

INSERT INTO documents
SELECT document_id, CASE WHEN chance('fined', i, k) < 0.6 THEN 'penalty' || substr(document_id, 9) END AS penalty_id, brigade_id, officer_id,
    CASE WHEN chance('party', i, k) < 0.5 THEN person_id END AS person_id, at - INTERVAL '3 hours' AS issued_at
FROM checks WHERE chance('lost', i, k) >= 0.01 ORDER BY at, document_id;

-- One in fifty submits again some minutes later.
CREATE TABLE submitted AS
SELECT
    c.*, n, evaluation_id || CASE n WHEN 2 THEN '-again' ELSE '' END AS submission_id,
    at + CASE n WHEN 2 THEN INTERVAL '7 minutes' ELSE INTERVAL '0 minutes' END AS submitted_at
FROM checks AS c JOIN (SELECT unnest(generate_series(1, 2)) AS n) AS s ON n = 1 OR chance('again', i, k) < 0.02;

-- What a telephone without a network sends comes hours later; one record in a hundred comes twice.
INSERT INTO evaluations
SELECT
    submission_id AS evaluation_id, document_id, brigade_id, submitted_at, verdict,
    CASE WHEN verdict <> 'dissatisfied' THEN NULL
         WHEN chance('what', i, k) < 0.2 THEN make_array('rude_language', 'not_heard')
         ELSE make_array(CASE CAST(floor(chance('which', i, k) * 8) AS BIGINT)
            WHEN 0 THEN 'auxiliary_police' WHEN 1 THEN 'rude_language' WHEN 2 THEN 'no_violation' WHEN 3 THEN 'impounded_without_reason'
            WHEN 4 THEN 'impounded_without_notice' WHEN 5 THEN 'not_heard' WHEN 6 THEN 'unfair' ELSE 'others' END) END AS situations
FROM submitted JOIN (SELECT unnest(generate_series(1, 2)) AS copy) AS t ON t.copy = 1 OR chance('twice', i, k) < 0.01
ORDER BY submitted_at + CASE WHEN chance('offline', i, k, t.copy) < 0.03 THEN INTERVAL '9 hours' ELSE INTERVAL '0 hours' END, submission_id;

INSERT INTO submissions
SELECT
    submission_id AS evaluation_id, CASE WHEN chance('nameless', i, k) < 0.02 THEN NULL ELSE person_id END AS person_id,
    chance('agrees', i, k) < 0.99 AS agreed,
    CASE WHEN chance('lost place', i, k) < 0.02 THEN 0 ELSE round(113.7 + 0.4 * chance('lon', i, k), 5) END AS lon,
    CASE WHEN chance('lost place', i, k) < 0.02 THEN 0 ELSE round(30.3 + 0.3 * chance('lat', i, k), 5) END AS lat,
    submitted_at
FROM submitted ORDER BY submitted_at, submission_id;

-- === answers and appeals ===

CREATE TABLE brigade_answers AS
SELECT i, k, submission_id, submitted_at, situations_upheld,
    submitted_at + CAST(CAST(3 + CAST(floor(chance('brigade', i, k) * 60) AS BIGINT) AS VARCHAR) || ' hours' AS INTERVAL) AS replied_at,
    chance('appeals', i, k) < 0.25 AS is_appealed
FROM (SELECT *, chance('upheld', i, k) < 0.15 AS situations_upheld FROM submitted) AS s
WHERE verdict = 'dissatisfied' AND chance('answers', i, k) < 0.9;

CREATE TABLE brigade_appeals AS
SELECT *, replied_at + CAST(CAST(1 + CAST(floor(chance('after', i, k) * 48) AS BIGINT) AS VARCHAR) || ' hours' AS INTERVAL) AS appealed_at
FROM brigade_answers WHERE is_appealed;

CREATE TABLE detachment_answers AS
SELECT i, k, submission_id, appealed_at,
    appealed_at + CAST(CAST(3 + CAST(floor(chance('detachment', i, k) * 60) AS BIGINT) AS VARCHAR) || ' hours' AS INTERVAL) AS replied_at
FROM brigade_appeals WHERE chance('detachment answers', i, k) < 0.9;

INSERT INTO replies
SELECT evaluation_id, level, replied_at FROM (
    SELECT submission_id AS evaluation_id, 'brigade' AS level, replied_at FROM brigade_answers
    UNION ALL
    SELECT submission_id, 'detachment', replied_at FROM detachment_answers
) AS r ORDER BY replied_at, evaluation_id;

INSERT INTO findings
SELECT evaluation_id, level, outcome, 'Verified with video and recorder.' AS text, found_at FROM (
    SELECT submission_id AS evaluation_id, 'brigade' AS level, CASE WHEN situations_upheld THEN 'upheld' ELSE 'not_upheld' END AS outcome,
        replied_at - INTERVAL '10 minutes' AS found_at
    FROM brigade_answers
    UNION ALL
    SELECT submission_id, 'detachment', CASE WHEN chance('upheld there', i, k) < 0.3 THEN 'upheld' ELSE 'not_upheld' END, replied_at - INTERVAL '10 minutes'
    FROM detachment_answers
) AS f ORDER BY found_at, evaluation_id;

INSERT INTO appeals
SELECT evaluation_id, level, appealed_at FROM (
    SELECT submission_id AS evaluation_id, 'brigade' AS level, appealed_at FROM brigade_appeals
    UNION ALL
    SELECT submission_id, 'detachment', replied_at + INTERVAL '20 hours' FROM detachment_answers WHERE chance('appeals again', i, k) < 0.3
) AS a ORDER BY appealed_at, evaluation_id;
