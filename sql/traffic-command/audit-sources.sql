-- Purpose:  bodies that let vehicles and drivers onto the road, and what audits of them found.
-- Inputs:   five topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables of bodies, their states, audits, certificates and the policy.
-- Limits:   audits and certificates are remembered for 800 days.

-- Check sites, exam sites and inspection bodies.
CREATE TABLE access_bodies (
    body_id  VARCHAR NOT NULL PRIMARY KEY,
    kind     VARCHAR NOT NULL,              -- check_site, exam_site, inspection_body
    name     VARCHAR,
    division VARCHAR                        -- GB/T 2260, six digits
) WITH (topic = 'access-bodies', format = 'json');

-- What a body is from an instant on: active, suspended, closed.
CREATE TABLE body_states (
    body_id    VARCHAR NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    state      VARCHAR NOT NULL,
    reason     VARCHAR,
    PRIMARY KEY (body_id, valid_from)
) WITH (topic = 'body-states', format = 'json', valid_from = 'valid_from');

-- Audio, video and papers of one inspection or exam that were looked at again; a tombstone takes an audit back.
CREATE TABLE source_audits (
    audit_id   VARCHAR NOT NULL PRIMARY KEY,
    body_id    VARCHAR NOT NULL,
    audited_at TIMESTAMP WITH TIME ZONE NOT NULL,
    plate      VARCHAR,
    failed     BOOLEAN NOT NULL,
    finding    VARCHAR
) WITH (topic = 'source-audits', format = 'json', event_time = 'audited_at', watermark_delay = '1 minute', retention = '800 days');

-- Certificates as the bodies issue them.
CREATE TABLE certificates (
    certificate_id VARCHAR NOT NULL PRIMARY KEY,
    body_id        VARCHAR NOT NULL,
    issued_at      TIMESTAMP WITH TIME ZONE NOT NULL,
    plate          VARCHAR
) WITH (topic = 'certificates', format = 'json', event_time = 'issued_at', watermark_delay = '1 minute', retention = '800 days');

-- When a body is conspicuous, each in force from an instant until the next.
CREATE TABLE audit_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    audits_min     INT NOT NULL,            -- with fewer audits of a quarter a body is not compared
    failed_min     INT NOT NULL,            -- so many failures at least
    p_max          DOUBLE NOT NULL          -- the probability of so many by chance, over all bodies that are compared
) WITH (topic = 'audit-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
