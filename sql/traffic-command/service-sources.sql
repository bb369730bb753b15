-- Purpose: the topics that the rules of services read: calls, hidden dangers, closures and pass codes, mediation, counters.
-- Inputs:  topics named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs: tables that may be corrected and deleted, and the requests for pass codes, which may not.
-- Limits:  records are remembered for 400 days unless said otherwise; a source that is silent for its idle_timeout holds no
--          deadline up. Phones and names are PRIVATE: no sink of this pack takes them.

-- === 12122 ===

-- A call to 12122 that reports something; follows names the report that it calls about again.
CREATE TABLE road_reports (
    report_id    VARCHAR NOT NULL PRIMARY KEY,
    called_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    kind         VARCHAR NOT NULL,          -- accident, breakdown, congestion, complaint, ..
    unit_id      VARCHAR,                   -- who is responsible, null until assigned
    follows      VARCHAR,
    caller_phone VARCHAR PRIVATE
) WITH (topic = 'road-reports', format = 'json', event_time = 'called_at', retention = '400 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

-- What became of it: replied, handled, fed_back, recorded.
CREATE TABLE report_steps (
    report_id VARCHAR NOT NULL,
    step      VARCHAR NOT NULL,
    done_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (report_id, step)
) WITH (topic = 'report-steps', format = 'json', event_time = 'done_at', retention = '400 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

CREATE TABLE report_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    reply_min      INT NOT NULL,            -- from the call
    handle_min     INT NOT NULL,            -- from the reply
    feed_back_min  INT NOT NULL,            -- from the handling
    record_min     INT NOT NULL,            -- from the feedback
    once_days      INT NOT NULL             -- a call about it within so many days: not settled by one call
) WITH (topic = 'report-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- === hidden dangers and black spots ===

-- A danger of the road that somebody found, from_m included, to_m excluded. answers names the black spot it is taken up for.
CREATE TABLE road_dangers (
    danger_id VARCHAR NOT NULL PRIMARY KEY,
    found_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    category  VARCHAR NOT NULL,             -- black_spot, junction, barrier, sign, sight, ..
    level     VARCHAR NOT NULL,             -- general, major
    road_id   VARCHAR NOT NULL,
    direction VARCHAR NOT NULL,
    from_m    DOUBLE NOT NULL,
    to_m      DOUBLE NOT NULL,
    answers   VARCHAR
) WITH (topic = 'road-dangers', format = 'json', event_time = 'found_at', retention = '2000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

-- What was done about it: assigned (to unit_id), fixed, verified, rejected (the fix was not accepted).
CREATE TABLE danger_steps (
    step_id   VARCHAR NOT NULL PRIMARY KEY,
    danger_id VARCHAR NOT NULL,
    step      VARCHAR NOT NULL,
    done_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    unit_id   VARCHAR
) WITH (topic = 'danger-steps', format = 'json', event_time = 'done_at', retention = '2000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

CREATE TABLE rectification_policy (
    level          VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    assign_days    INT NOT NULL,            -- working days after the day on which it was found
    fix_days       INT NOT NULL,            -- calendar days from the assignment
    verify_days    INT NOT NULL,            -- working days after the day on which it was fixed
    PRIMARY KEY (level, effective_from)
) WITH (topic = 'rectification-policy', format = 'json', valid_from = 'effective_from');

CREATE TABLE rectification_targets (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    judged_min     INT NOT NULL,            -- a unit is judged from so many dangers a quarter on
    rate_min       DOUBLE NOT NULL,
    shorter_days   INT NOT NULL             -- than in the quarter before
) WITH (topic = 'rectification-targets', format = 'json', broadcast = true, valid_from = 'effective_from');

-- What makes a stretch a black spot: in length_m metres and days days so many accidents, of which so many fatal.
CREATE TABLE black_spot_rules (
    rule           VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    length_m       INT NOT NULL,            -- a multiple of 100, at most 10000
    days           INT NOT NULL,
    min_accidents    INT NOT NULL,
    min_fatal      INT NOT NULL,
    PRIMARY KEY (rule, effective_from)
) WITH (topic = 'black-spot-rules', format = 'json', broadcast = true, valid_from = 'effective_from');

CREATE TABLE black_spot_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    answer_days    INT NOT NULL,            -- working days in which the brigade takes a black spot up
    dispersion     DOUBLE,                  -- of accidents on 500 metres, k of the estimate; null: from the road itself
    before_days    INT NOT NULL,            -- what is compared with what; at most the retention of accidents together
    after_days     INT NOT NULL
) WITH (topic = 'black-spot-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- === closed toll stations and pass codes ===

CREATE TABLE station_closures (
    closure_id VARCHAR NOT NULL PRIMARY KEY,
    station_id VARCHAR NOT NULL,            -- the toll station that is closed
    from_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    to_at      TIMESTAMP WITH TIME ZONE,    -- null: until further notice
    cause      VARCHAR NOT NULL,            -- accident, weather, ..
    road_id    VARCHAR NOT NULL,            -- the stretch that is affected, both directions if direction is null
    direction  VARCHAR,
    from_m     DOUBLE NOT NULL,
    to_m       DOUBLE NOT NULL
) WITH (topic = 'station-closures', format = 'json', event_time = 'from_at', retention = '400 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

-- The stretches that a journey from one station to another takes.
CREATE TABLE route_legs (
    entry_station_id VARCHAR NOT NULL,
    exit_station_id  VARCHAR NOT NULL,
    leg              INT NOT NULL,
    road_id          VARCHAR NOT NULL,
    direction        VARCHAR NOT NULL,
    from_m           DOUBLE NOT NULL,       -- less than to_m, whatever the direction
    to_m             DOUBLE NOT NULL,
    PRIMARY KEY (entry_station_id, exit_station_id, leg)
) WITH (topic = 'route-legs', format = 'json');

-- What a driver asks for by scanning the code at a closed station; never corrected, another request is another. What comes more
-- than ten minutes late is decided, but not watched.
CREATE STREAM pass_requests (
    request_id       VARCHAR NOT NULL PRIMARY KEY,
    requested_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    plate            VARCHAR NOT NULL,
    vehicle_class    VARCHAR NOT NULL,
    entry_station_id VARCHAR NOT NULL,
    exit_station_id  VARCHAR NOT NULL,
    promised         BOOLEAN NOT NULL,      -- to keep to the route
    phone            VARCHAR PRIVATE
) WITH (topic = 'pass-requests', format = 'json', event_time = 'requested_at', watermark_delay = '10 minutes',
        idle_timeout = '10 seconds', unique_for = '30 days');

CREATE TABLE pass_policy (
    vehicle_class  VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    allowed        BOOLEAN NOT NULL,
    valid_min      INT NOT NULL,            -- minutes a code is good for, at most 1440
    PRIMARY KEY (vehicle_class, effective_from)
) WITH (topic = 'pass-policy', format = 'json', valid_from = 'effective_from');

-- === mediation ===

CREATE TABLE mediation_units (
    unit_id    VARCHAR NOT NULL PRIMARY KEY,
    department VARCHAR NOT NULL             -- police, court, justice, insurers, ..
) WITH (topic = 'mediation-units', format = 'json', broadcast = true);

CREATE TABLE mediations (
    mediation_id VARCHAR NOT NULL PRIMARY KEY,
    accident_id     VARCHAR NOT NULL,
    unit_id      VARCHAR NOT NULL,
    accepted_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at    TIMESTAMP WITH TIME ZONE,
    outcome      VARCHAR                    -- agreed, failed, withdrawn
) WITH (topic = 'mediations', format = 'json', event_time = 'accepted_at', retention = '1000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

-- What the parties say of it, each once.
CREATE TABLE mediation_ratings (
    mediation_id VARCHAR NOT NULL,
    party        VARCHAR NOT NULL,          -- a letter of the case, not a person
    rated_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    satisfied    BOOLEAN NOT NULL,
    PRIMARY KEY (mediation_id, party)
) WITH (topic = 'mediation-ratings', format = 'json', event_time = 'rated_at', retention = '1000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

CREATE TABLE mediation_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    close_days     INT NOT NULL,            -- calendar days
    judged_min     INT NOT NULL,            -- a unit's shares are told from so many cases on
    agreed_min     DOUBLE NOT NULL,
    satisfied_min  DOUBLE NOT NULL
) WITH (topic = 'mediation-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- === counters of police stations ===

-- The services that a station must offer.
CREATE TABLE counter_services (
    service_id VARCHAR NOT NULL PRIMARY KEY,
    name       VARCHAR NOT NULL
) WITH (topic = 'counter-services', format = 'json', broadcast = true);

CREATE TABLE counter_stations (
    station_id VARCHAR NOT NULL,
    service_id VARCHAR NOT NULL,
    since      TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (station_id, service_id)
) WITH (topic = 'counter-stations', format = 'json', broadcast = true);

-- What people came for.
CREATE TABLE counter_cases (
    counter_case_id VARCHAR NOT NULL PRIMARY KEY,
    station_id      VARCHAR NOT NULL,
    service_id      VARCHAR NOT NULL,
    person_id       VARCHAR NOT NULL,       -- pseudonym
    accepted_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    violations      INT,                    -- handled in the case, null is 0
    phone           VARCHAR PRIVATE
) WITH (topic = 'counter-cases', format = 'json', event_time = 'accepted_at', retention = '1000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

-- Documents that a case was accepted without.
CREATE TABLE missing_documents (
    counter_case_id VARCHAR NOT NULL,
    document        VARCHAR NOT NULL,
    supplied_at     TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (counter_case_id, document)
) WITH (topic = 'missing-documents', format = 'json');

CREATE TABLE counter_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    remind_days    INT NOT NULL,            -- working days after acceptance
    supply_days    INT NOT NULL
) WITH (topic = 'counter-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- E-bikes registered at the counters, and what became of their plates; a void registration is deleted.
CREATE TABLE ebike_registrations (
    registration_id VARCHAR NOT NULL PRIMARY KEY,
    plate           VARCHAR NOT NULL,
    registered_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    person_id       VARCHAR,                -- pseudonym; null: the plate is given back
    station_id      VARCHAR NOT NULL
) WITH (topic = 'ebike-registrations', format = 'json');

-- === townships: persuasion stations, lifting projects, the chain of rescue ===

CREATE TABLE townships (
    township VARCHAR NOT NULL PRIMARY KEY,
    county   VARCHAR NOT NULL
) WITH (topic = 'townships', format = 'json', broadcast = true);

-- Stations of police and insurers where villagers are persuaded to ride and drive safely.
CREATE TABLE persuasion_stations (
    station_id VARCHAR NOT NULL PRIMARY KEY,
    township   VARCHAR NOT NULL,
    opened_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at  TIMESTAMP WITH TIME ZONE,
    standard   BOOLEAN NOT NULL             -- it meets the standard
) WITH (topic = 'persuasion-stations', format = 'json', event_time = 'opened_at', retention = '4000 days',
        idle_timeout = '1 minute');

-- What each project has to reach in a township, and by when.
CREATE TABLE lifting_targets (
    project  VARCHAR NOT NULL,
    township VARCHAR NOT NULL,
    due_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    target   INT NOT NULL,
    PRIMARY KEY (project, township, due_at)
) WITH (topic = 'lifting-targets', format = 'json');

CREATE TABLE lifting_results (
    result_id VARCHAR NOT NULL PRIMARY KEY,
    project   VARCHAR NOT NULL,
    township  VARCHAR NOT NULL,
    done_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    amount    INT NOT NULL
) WITH (topic = 'lifting-results', format = 'json', event_time = 'done_at', retention = '4000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

-- The chain of rescue of an accident: noticed, called (an ambulance), reached, in_hospital; and where the fund shall pay,
-- aid_requested and aided.
CREATE TABLE rescue_steps (
    accident_id VARCHAR NOT NULL,
    step     VARCHAR NOT NULL,
    done_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (accident_id, step)
) WITH (topic = 'rescue-steps', format = 'json', event_time = 'done_at', retention = '2000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

CREATE TABLE rescue_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    notice_min     INT NOT NULL,            -- from the accident
    call_min       INT NOT NULL,            -- from the notice
    reach_min      INT NOT NULL,            -- from the call
    hospital_min   INT NOT NULL,            -- from the reaching
    aid_days       INT NOT NULL,            -- from the request, calendar days
    judged_min     INT NOT NULL             -- a township's shares are told from so many accidents on
) WITH (topic = 'rescue-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
