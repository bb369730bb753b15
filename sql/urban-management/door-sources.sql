-- Purpose:  what the rules of door responsibility read.
-- Inputs:   topics street-entities, door-inspections, door-rectifications, door-objections, door-policy.
-- Outputs:  tables; a tombstone takes an inspection back.
-- Limits:   inspections are remembered for 800 days; one that arrives more than an hour late takes back what was said
--           without it.

-- The shops and other premises along the main streets, by the code at their door.
CREATE TABLE street_entities (
    entity_code VARCHAR NOT NULL PRIMARY KEY,
    name        VARCHAR,
    town        VARCHAR NOT NULL,
    unit_id     VARCHAR,                    -- the team that looks after its street
    opened_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at   TIMESTAMP WITH TIME ZONE,
    telephone   VARCHAR PRIVATE
) WITH (topic = 'street-entities', format = 'json');

-- A code was scanned and one aspect of the responsibility looked at.
CREATE TABLE door_inspections (
    inspection_id VARCHAR NOT NULL PRIMARY KEY,
    entity_code   VARCHAR NOT NULL,
    aspect        INT NOT NULL,             -- 1 city appearance, 2 order, 3 pets, 4 sorting of waste, .. 7
    passed        BOOLEAN NOT NULL,
    inspected_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    officer_id    VARCHAR
) WITH (topic = 'door-inspections', format = 'json', event_time = 'inspected_at', watermark_delay = '1 hour',
        idle_timeout = '10 minutes', retention = '800 days');

-- That what an inspection found was put right.
CREATE TABLE door_rectifications (
    inspection_id VARCHAR NOT NULL PRIMARY KEY,
    rectified_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    accepted      BOOLEAN NOT NULL          -- by whoever inspected; false: it was not put right
) WITH (topic = 'door-rectifications', format = 'json', event_time = 'rectified_at', watermark_delay = '1 hour',
        idle_timeout = '10 minutes');

-- That an operator objects to a finding, and what became of it.
CREATE TABLE door_objections (
    inspection_id VARCHAR NOT NULL PRIMARY KEY,
    objected_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    verdict       VARCHAR                   -- null: open; upheld, rejected
) WITH (topic = 'door-objections', format = 'json');

CREATE TABLE door_policy (
    effective_from       TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    rectify_working_days INT NOT NULL,      -- within so many working days a finding is put right
    interview_from       INT NOT NULL,      -- findings of a calendar month from which on the operator is called in
    case_from            INT NOT NULL,      -- and from which on a case is proposed
    aspects              INT NOT NULL       -- aspects of the responsibility
) WITH (topic = 'door-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
