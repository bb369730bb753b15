-- Purpose:  what a person sees of the own evaluations, and the notice that a reply has come.
-- Inputs:   accepted_evaluations, replies, appeals, findings, escalations' steps, contacts.
-- Outputs:  sinks evaluation_history (upsert by person_id and evaluation_id) and evaluation_replies (upsert by person_id,
--           evaluation_id and level), both keyed by the person so that a reader asks for one person's rows and gets no others;
--           sink reply_notices (append, once a person and level; restricted topic; consumer: the service that sends messages).
-- Rules:    own data only: rows are of the person who submitted the evaluation, and hold nothing of the officer. The level is the
--           highest that was opened. A level's first reply counts, also one behind its due instant.
-- Limits:   what the intake questions is in nobody's history until the question is settled.

CREATE VIEW reached_levels AS
SELECT evaluation_id, max(rank) AS rank
FROM (
    SELECT evaluation_id, 2 AS rank FROM detachment_cases
    UNION ALL
    SELECT evaluation_id, 3 FROM province_cases
) AS l
GROUP BY evaluation_id;

CREATE VIEW reply_counts AS
SELECT evaluation_id, count(*) AS replies, max(replied_at) AS last_replied_at FROM first_replies GROUP BY evaluation_id;

CREATE TABLE histories (PRIMARY KEY (person_id, evaluation_id)) AS
SELECT
    e.person_id, e.evaluation_id, e.document_id, e.submitted_at, e.verdict, e.situations, e.comment, e.attachments,
    CASE WHEN e.verdict = 'dissatisfied' THEN
        CASE l.rank WHEN 3 THEN 'province' WHEN 2 THEN 'detachment' ELSE 'brigade' END
    END AS level,
    coalesce(r.replies, 0) AS replies,
    r.last_replied_at
FROM accepted_evaluations AS e
LEFT JOIN reached_levels AS l ON l.evaluation_id = e.evaluation_id
LEFT JOIN reply_counts AS r ON r.evaluation_id = e.evaluation_id;

CREATE SINK evaluation_history WITH (topic = 'evaluation-history', format = 'json') AS SELECT * FROM histories;

CREATE TABLE personal_replies (PRIMARY KEY (person_id, evaluation_id, level)) AS
SELECT e.person_id, e.evaluation_id, r.level, r.replied_at, f.outcome, f.text
FROM accepted_evaluations AS e
JOIN first_replies AS r ON r.evaluation_id = e.evaluation_id
LEFT JOIN findings AS f ON f.evaluation_id = r.evaluation_id AND f.level = r.level;

CREATE SINK evaluation_replies WITH (topic = 'evaluation-replies', format = 'json') AS SELECT * FROM personal_replies;

CREATE TABLE notices_due (PRIMARY KEY (person_id, evaluation_id, level)) AS
SELECT p.person_id, p.evaluation_id, p.level, p.replied_at, c.phone
FROM personal_replies AS p
LEFT JOIN contacts AS c ON c.person_id = p.person_id;

CREATE SINK reply_notices WITH (topic = 'reply-notices', format = 'json', key = 'person_id', allow_private = true) AS
SELECT
    after.person_id AS person_id, after.evaluation_id AS evaluation_id, after.level AS level, after.replied_at AS replied_at,
    after.phone AS phone
FROM CHANGES(notices_due)
WHERE revision = 1;
