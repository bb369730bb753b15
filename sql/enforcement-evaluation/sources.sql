-- Purpose:  the topics that the enforcement-evaluation pack reads.
-- Inputs:   four topics, named as the relations; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  three streams and the calendar.
-- Limits:   records arrive at most one day late; the first record of an evaluation counts, for ten years.

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
