-- Purpose:  the topics that the safe-riding pack cannot do without. What is optional stands in optional-sources.sql.
-- Inputs:   eleven topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  ten tables (latest row per key; a tombstone deletes) and the stream of passages.
-- Limits:   captures and voids are remembered for 1000 days, visits for 1500 days (a visit counts for twelve months after
--           it, so it outlives what it decides); a passage id is unique for 7 days; passages arrive at most 30 seconds late.
--           Columns of captures from recorded_at on serve the holds of doubtful-captures.sql and may be left out, and so may the
--           channels of persons, which serve reminders.sql.

SET TIME ZONE = 'Asia/Shanghai';

-- What the roadside devices saw: one row a violation.
CREATE TABLE captures (
    capture_id  VARCHAR NOT NULL PRIMARY KEY,
    device_id   VARCHAR,
    captured_at TIMESTAMP WITH TIME ZONE NOT NULL,
    violation   VARCHAR NOT NULL,           -- no_helmet, illegal_passenger, ..
    plate       VARCHAR,
    match_score DOUBLE,                     -- 0..1
    lon         DOUBLE,
    lat         DOUBLE,
    recorded_at TIMESTAMP WITH TIME ZONE,   -- when the platform took it in, by its own clock; null: no holds
    is_decked   BOOLEAN,                    -- the device takes the plate for another vehicle's (GA/T 1400 IsDecked)
    is_altered  BOOLEAN,                    -- .. for altered (IsAltered)
    is_covered  BOOLEAN,                    -- .. for covered in part (IsCovered)
    plate_reliability DOUBLE,               -- how sure the device is of the plate's characters, 0..1
    matched_by  VARCHAR,                    -- what the person was found by: plate, face, both
    vehicle_type  VARCHAR,                  -- as the device saw the vehicle, in the words of plate_registry
    vehicle_brand VARCHAR,
    vehicle_color VARCHAR
) WITH (topic = 'captures', format = 'json', event_time = 'captured_at', retention = '1000 days');

-- Who answers for a plate from an instant on; without a person: nobody from then on.
CREATE TABLE identities (
    plate      VARCHAR NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    person_id  VARCHAR,
    PRIMARY KEY (plate, valid_from)
) WITH (topic = 'identities', format = 'json', valid_from = 'valid_from');

CREATE TABLE persons (
    person_id       VARCHAR NOT NULL PRIMARY KEY,
    birth_date      DATE,
    household_id    VARCHAR,
    grid_id         VARCHAR,
    employer_id     VARCHAR,
    party_branch_id VARCHAR,
    reminder_channel VARCHAR,               -- by what reminders go and receipts come; null: they are not followed up
    second_channel   VARCHAR                -- by what else the person can be reached; null: nothing
) WITH (topic = 'persons', format = 'json');

CREATE TABLE households (
    household_id  VARCHAR NOT NULL PRIMARY KEY,
    demonstration BOOLEAN NOT NULL
) WITH (topic = 'households', format = 'json');

CREATE TABLE integrity_archive (
    person_id  VARCHAR NOT NULL PRIMARY KEY,
    base_score INT NOT NULL
) WITH (topic = 'integrity-archive', format = 'json');

CREATE TABLE devices (
    device_id VARCHAR NOT NULL PRIMARY KEY,
    town      VARCHAR NOT NULL,
    lon       DOUBLE,
    lat       DOUBLE
) WITH (topic = 'devices', format = 'json', broadcast = true);

-- Plates whose captures do not count for a while; the times of one plate may overlap.
CREATE TABLE exemptions (
    plate      VARCHAR NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to   TIMESTAMP WITH TIME ZONE NOT NULL,
    reason     VARCHAR,
    PRIMARY KEY (plate, valid_from)
) WITH (topic = 'exemptions', format = 'json');

-- Door-to-door visits; one that was not delivered has no consequence.
CREATE TABLE visits (
    visit_id     VARCHAR NOT NULL PRIMARY KEY,
    person_id    VARCHAR NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    delivered    BOOLEAN
) WITH (topic = 'visits', format = 'json', event_time = 'completed_at', retention = '1500 days');

-- Captures that are as if they had never been.
CREATE TABLE voids (
    capture_id VARCHAR NOT NULL PRIMARY KEY,
    ground     VARCHAR,
    voided_at  TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'voids', format = 'json', event_time = 'voided_at', retention = '1000 days');

-- The thresholds, each in force from an instant until the next.
CREATE TABLE disposal_policy (
    effective_from  TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    visit_from      INT NOT NULL,
    urgent_from     INT NOT NULL,
    deduction       INT NOT NULL,
    improve_below   INT NOT NULL,
    match_score_min DOUBLE NOT NULL
) WITH (topic = 'disposal-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- Every e-bike that passed a device, so that violations can be set against the traffic.
CREATE STREAM passages (
    passage_id VARCHAR NOT NULL PRIMARY KEY,
    device_id  VARCHAR NOT NULL,
    passed_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    helmet     BOOLEAN
) WITH (topic = 'passages', format = 'json', event_time = 'passed_at', watermark_delay = '30 seconds',
        idle_timeout = '10 seconds', unique_for = '7 days');
