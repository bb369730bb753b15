-- Purpose:  training and exams of officers, most of it online.
-- Inputs:   four topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables (latest row per key; a tombstone deletes).
-- Limits:   sessions and attendances are remembered for 800 days.

CREATE TABLE officers (
    officer_id VARCHAR NOT NULL PRIMARY KEY,
    unit_id    VARCHAR NOT NULL,
    joined_on  DATE NOT NULL,
    left_on    DATE                         -- from this day on
) WITH (topic = 'officers', format = 'json');

CREATE TABLE training_sessions (
    session_id VARCHAR NOT NULL PRIMARY KEY,
    unit_id    VARCHAR NOT NULL,            -- who held it
    kind       VARCHAR NOT NULL,            -- training, exam
    held_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    subject    VARCHAR
) WITH (topic = 'training-sessions', format = 'json', event_time = 'held_at', watermark_delay = '1 hour', retention = '800 days');

-- Who took part; passed is that of an exam, and of a training that it was followed to its end.
CREATE TABLE attendances (
    session_id  VARCHAR NOT NULL,
    officer_id  VARCHAR NOT NULL,
    attended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    passed      BOOLEAN,
    PRIMARY KEY (session_id, officer_id)
) WITH (topic = 'attendances', format = 'json', event_time = 'attended_at', watermark_delay = '1 hour', retention = '800 days');

-- How often officers are trained, each in force from an instant until the next.
CREATE TABLE training_policy (
    effective_from  TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    training_months INT NOT NULL,           -- calendar months after which a training is due again
    exam_months     INT NOT NULL            -- .. an exam
) WITH (topic = 'training-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
