-- Purpose: the topics that dispatch, the search for vehicles that fled, and the audit of cases read.
-- Inputs:  topics named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs: streams of calls, positions, cases of flight and sightings; tables of what is known, ordered and done about them.
-- Limits:  a report of a flight may come a day after it: so long are sightings held. What the registers say may be corrected.

-- The first call about an accident decides; further ones are duplicates.
CREATE STREAM accident_calls (
    accident_id   VARCHAR NOT NULL PRIMARY KEY,
    called_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    brigade_id VARCHAR NOT NULL,
    lon        DOUBLE NOT NULL,             -- WGS84
    lat        DOUBLE NOT NULL,
    injured    BOOLEAN,                     -- null: not known, taken as yes
    movable    BOOLEAN,                     -- null: not known, taken as no
    vehicles   INT
) WITH (topic = 'accident-calls', format = 'json', event_time = 'called_at', watermark_delay = '1 minute',
        idle_timeout = '10 seconds', unique_for = '7 days');

-- Where an officer is, and free or not.
CREATE STREAM officer_positions (
    officer_id VARCHAR NOT NULL,
    located_at TIMESTAMP WITH TIME ZONE NOT NULL,
    brigade_id VARCHAR NOT NULL,
    lon        DOUBLE NOT NULL,
    lat        DOUBLE NOT NULL,
    available  BOOLEAN NOT NULL
) WITH (topic = 'officer-positions', format = 'json', event_time = 'located_at', watermark_delay = '10 seconds',
        idle_timeout = '10 seconds');

CREATE TABLE dispatch_policy (
    effective_from     TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    fresh_s            INT NOT NULL,        -- a position older than this says nothing; at most 600
    units              INT NOT NULL,        -- officers for an accident with injured people
    minor_vehicles_max INT NOT NULL
) WITH (topic = 'dispatch-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- Accidents whose party fled; a case is searched in the cities that it names.
CREATE STREAM flight_cases (
    case_id     VARCHAR NOT NULL PRIMARY KEY,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lon         DOUBLE NOT NULL,
    lat         DOUBLE NOT NULL,
    cities      VARCHAR[] NOT NULL
) WITH (topic = 'flight-cases', format = 'json', event_time = 'occurred_at', watermark_delay = '1 day',
        idle_timeout = '1 minute', unique_for = '3650 days');

-- What is known of the vehicle; corrected as witnesses and traces say more.
CREATE TABLE flight_descriptions (
    case_id       VARCHAR NOT NULL PRIMARY KEY,
    vehicle_class VARCHAR,
    colour        VARCHAR,
    damaged       BOOLEAN,                  -- it must show damage
    plate_part    VARCHAR                   -- a part of its plate
) WITH (topic = 'flight-descriptions', format = 'json');

-- A case that is over: solved, no_flight, abandoned. Its candidates are nobody's business any more.
CREATE TABLE flight_closures (
    case_id   VARCHAR NOT NULL PRIMARY KEY,
    closed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    result    VARCHAR NOT NULL
) WITH (topic = 'flight-closures', format = 'json');

-- What a camera with structured video made of a vehicle.
CREATE STREAM vehicle_sightings (
    sighting_id   VARCHAR NOT NULL PRIMARY KEY,
    device_id     VARCHAR NOT NULL,
    seen_at       TIMESTAMP WITH TIME ZONE NOT NULL,
    city          VARCHAR NOT NULL,
    lon           DOUBLE NOT NULL,          -- where the camera stood, WGS84
    lat           DOUBLE NOT NULL,
    plate         VARCHAR,
    vehicle_class VARCHAR,
    colour        VARCHAR,
    damaged       BOOLEAN
) WITH (topic = 'vehicle-sightings', format = 'json', event_time = 'seen_at', watermark_delay = '1 minute',
        idle_timeout = '10 seconds', unique_for = '7 days');

CREATE TABLE flight_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    window_s       INT NOT NULL,            -- how long after the accident; at most 7200
    speed_max_kmh  DOUBLE NOT NULL,
    slack_m        DOUBLE NOT NULL,
    class_weight   INT NOT NULL,
    colour_weight  INT NOT NULL,
    damage_weight  INT NOT NULL,
    plate_weight   INT NOT NULL,
    score_min      INT NOT NULL,
    candidates_max INT NOT NULL
) WITH (topic = 'flight-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- That an officer has a candidate looked out for.
CREATE TABLE watch_orders (
    case_id     VARCHAR NOT NULL,
    plate       VARCHAR NOT NULL,
    ordered_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    approved_by VARCHAR,
    PRIMARY KEY (case_id, plate)
) WITH (topic = 'watch-orders', format = 'json');

-- === cases of enforcement and what was done in them ===

CREATE TABLE audited_cases (
    case_id    VARCHAR NOT NULL PRIMARY KEY,
    kind       VARCHAR NOT NULL,            -- simple, general, ..
    brigade_id VARCHAR NOT NULL,
    handler_id VARCHAR NOT NULL,
    opened_at  TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'audited-cases', format = 'json', event_time = 'opened_at', retention = '1000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

CREATE TABLE case_acts (
    case_id           VARCHAR NOT NULL,
    step              VARCHAR NOT NULL,
    acted_at          TIMESTAMP WITH TIME ZONE NOT NULL,
    officer_id        VARCHAR NOT NULL,
    second_officer_id VARCHAR,
    PRIMARY KEY (case_id, step)
) WITH (topic = 'case-acts', format = 'json', event_time = 'acted_at', retention = '1000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

-- The steps of a kind of case in their order; due_days null: not asked for from then on.
CREATE TABLE case_step_rules (
    kind               VARCHAR NOT NULL,
    step               VARCHAR NOT NULL,
    effective_from     TIMESTAMP WITH TIME ZONE NOT NULL,
    ordinal            INT NOT NULL,
    due_days           INT,                 -- working days after the day on which the case was opened
    two_officers       BOOLEAN NOT NULL,
    other_than_handler BOOLEAN NOT NULL,
    PRIMARY KEY (kind, step, effective_from)
) WITH (topic = 'case-step-rules', format = 'json', valid_from = 'effective_from');
