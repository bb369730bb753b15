-- Purpose:  the topics that the enforcement-evaluation pack reads.
-- Inputs:   topics named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset. Escalations need the first four;
--           without the others nothing is accepted into statistics and histories.
-- Outputs:  three streams, the calendar, and tables (latest row per key; a tombstone deletes).
-- Limits:   records arrive at most one day late; the first record of an evaluation counts, for ten years. Submissions and findings are
--           remembered for 1100 days, as is what follows from them.

SET TIME ZONE = 'Asia/Shanghai';

-- What a person said of how a case of theirs was handled.
CREATE STREAM evaluations (
    evaluation_id VARCHAR NOT NULL PRIMARY KEY,
    document_id   VARCHAR,
    brigade_id    VARCHAR,
    submitted_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    verdict       VARCHAR NOT NULL,           -- satisfied, dissatisfied, other
    situations    VARCHAR[],
    comment       VARCHAR
) WITH (topic = 'evaluations', format = 'json', event_time = 'submitted_at', watermark_delay = '1 day',
        idle_timeout = '1 minute', unique_for = '3650 days');

-- What a level answered: brigade, detachment, province.
CREATE STREAM replies (
    evaluation_id VARCHAR NOT NULL,
    level         VARCHAR NOT NULL,
    replied_at    TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'replies', format = 'json', event_time = 'replied_at', watermark_delay = '1 day', idle_timeout = '1 minute');

-- That a person is not content with the answer of a level.
CREATE STREAM appeals (
    evaluation_id VARCHAR NOT NULL,
    level         VARCHAR NOT NULL,           -- the level that is appealed against
    appealed_at   TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'appeals', format = 'json', event_time = 'appealed_at', watermark_delay = '1 day', idle_timeout = '1 minute');

-- Which days are worked, holidays and make-up days included; every day of the years that it covers.
CREATE TABLE calendar (
    day     DATE NOT NULL PRIMARY KEY,
    working BOOLEAN NOT NULL
) WITH (topic = 'calendar', format = 'json', broadcast = true);

-- Who submitted an evaluation, and how. It stands apart from what was said, so that a brigade reads the one without the other.
CREATE TABLE submissions (
    evaluation_id VARCHAR NOT NULL PRIMARY KEY,
    person_id     VARCHAR,                    -- of the real-name account
    agreed        BOOLEAN,                    -- to the terms
    lon           DOUBLE,                     -- WGS84, where the telephone was
    lat           DOUBLE,
    attachments   VARCHAR[],                  -- references to pictures and videos
    submitted_at  TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'submissions', format = 'json', event_time = 'submitted_at', watermark_delay = '1 day',
        idle_timeout = '1 minute', retention = '1100 days');

-- The documents that carry the code to be scanned: what was done, by whom, to whom.
CREATE TABLE documents (
    document_id VARCHAR NOT NULL PRIMARY KEY,
    penalty_id  VARCHAR,
    brigade_id  VARCHAR NOT NULL,
    officer_id  VARCHAR,
    person_id   VARCHAR,                      -- the party; null: anybody who holds the document
    issued_at   TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'documents', format = 'json');

-- What somebody of the staff is from an instant on.
CREATE TABLE officers (
    officer_id     VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    role           VARCHAR NOT NULL,          -- sworn, auxiliary
    PRIMARY KEY (officer_id, effective_from)
) WITH (topic = 'officers', format = 'json', valid_from = 'effective_from');

-- What a level found when it verified an evaluation, and what it tells the person.
CREATE TABLE findings (
    evaluation_id VARCHAR NOT NULL,
    level         VARCHAR NOT NULL,           -- brigade, detachment, province
    outcome       VARCHAR,                    -- upheld, not_upheld
    text          VARCHAR,
    found_at      TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (evaluation_id, level)
) WITH (topic = 'findings', format = 'json', event_time = 'found_at', watermark_delay = '1 day', idle_timeout = '1 minute',
        retention = '1100 days');

-- Where a person can be told of a reply.
CREATE TABLE contacts (
    person_id VARCHAR NOT NULL PRIMARY KEY,
    phone     VARCHAR PRIVATE
) WITH (topic = 'contacts', format = 'json');

-- Spans beside calendar months for which statistics are wanted.
CREATE TABLE report_periods (
    period   VARCHAR NOT NULL PRIMARY KEY,
    from_day DATE NOT NULL,
    to_day   DATE NOT NULL                    -- included
) WITH (topic = 'report-periods', format = 'json', broadcast = true);

-- When numbers are too small to be shown, and when many are sudden.
CREATE TABLE evaluation_policy (
    effective_from  TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    n_min           INT NOT NULL,             -- evaluations of a row that is shown
    baseline_months INT NOT NULL,             -- months that a month is compared with
    prior_weight    DOUBLE NOT NULL,          -- evaluations that the average of all officers weighs beside an officer's own
    rise_min        INT NOT NULL,             -- dissatisfied evaluations of a rise
    persons_min     INT NOT NULL,             -- people who gave them
    rise_p          DOUBLE NOT NULL           -- that any officer of a month rises by chance is less likely than this
) WITH (topic = 'evaluation-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
