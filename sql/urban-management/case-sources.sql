-- Purpose:  what the rules about cases and their evidence read.
-- Inputs:   topics cases, case-handovers, evidence, evidence-policy, handling-baselines.
-- Outputs:  tables; a tombstone takes a case back that was registered by mistake.
-- Limits:   none is forgotten: a case may be reviewed years later, and a chain is checked as a whole. A city files some
--           12,000 cases a year.

-- Cases as filed. The number is given to a matter on site, with its first piece of evidence, before it is filed.
CREATE TABLE cases (
    case_id       VARCHAR NOT NULL PRIMARY KEY,
    unit_id       VARCHAR NOT NULL,
    town          VARCHAR,
    case_kind     VARCHAR,                  -- what it is about: stall, parking, waste, smoke, ..
    procedure     VARCHAR NOT NULL,         -- general, summary
    inspection_id VARCHAR,                  -- the inspection that found it
    officer_id    VARCHAR,                  -- who leads it
    opened_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at     TIMESTAMP WITH TIME ZONE,
    reversed_at   TIMESTAMP WITH TIME ZONE  -- set aside on review or in court
) WITH (topic = 'cases', format = 'json', event_time = 'opened_at', watermark_delay = '1 hour', idle_timeout = '10 minutes');

-- To whom the file of a case was handed.
CREATE TABLE case_handovers (
    case_id    VARCHAR NOT NULL,
    department VARCHAR NOT NULL,            -- public_security, procuratorate, court, town_platform
    handed_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (case_id, department)
) WITH (topic = 'case-handovers', format = 'json');

-- One piece of evidence, a link in the chain of its case. The hash is part of the key, so that a record cannot be replaced
-- unseen: the same evidence with other content is a second row.
CREATE TABLE evidence (
    evidence_id VARCHAR NOT NULL,
    chain_hash  VARCHAR NOT NULL,           -- SHA-256, lower-case hex, of the text that evidence-chains.sql names
    case_id     VARCHAR NOT NULL,
    officer_id  VARCHAR,
    device_id   VARCHAR,
    mode        INT NOT NULL,               -- one of the 8 ways of the app: 1 photograph, 2 video, ..
    captured_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sha256      VARCHAR NOT NULL,           -- of the content, lower-case hex
    prev_hash   VARCHAR,                    -- chain_hash of the link before; null in the first
    PRIMARY KEY (evidence_id, chain_hash)
) WITH (topic = 'evidence', format = 'json', event_time = 'captured_at', watermark_delay = '1 hour',
        idle_timeout = '10 minutes');

CREATE TABLE evidence_policy (
    effective_from      TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    upload_hours        INT NOT NULL,       -- evidence may be uploaded so long after it was captured
    evidence_hours      INT NOT NULL,       -- a case needs evidence that was captured at most so long after it was opened
    filing_working_days INT NOT NULL,       -- a matter with evidence is filed within so many working days
    modes               INT NOT NULL        -- ways of collecting evidence that the app has
) WITH (topic = 'evidence-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- How long cases took before the app: half of them at most so many hours.
CREATE TABLE handling_baselines (
    procedure      VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    p50_hours      DOUBLE NOT NULL,
    PRIMARY KEY (procedure, effective_from)
) WITH (topic = 'handling-baselines', format = 'json', valid_from = 'effective_from');
