-- Purpose:  what the rules about officers, auxiliary staff and their duty read.
-- Inputs:   topics officers, trainings, assessments, sanctions, promotion-rounds, promotion-policy, staff-policy, grids,
--           duty-logs, patrol-policy.
-- Outputs:  tables, and the stream of what devices on duty report.
-- Limits:   names and telephone numbers are PRIVATE: no sink of this pack has them. Devices report at most 10 minutes late.

-- Who serves, as what, and where, from an instant on; a promotion or a transfer is another row.
CREATE TABLE officers (
    officer_id     VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    name           VARCHAR PRIVATE,
    telephone      VARCHAR PRIVATE,
    role           VARCHAR NOT NULL,        -- sworn, auxiliary
    service        VARCHAR,                 -- of auxiliary staff: grass_roots, agency
    rank           INT,                     -- of auxiliary staff, from 1 upwards
    unit_id        VARCHAR,
    active         BOOLEAN NOT NULL,        -- false: has left
    PRIMARY KEY (officer_id, effective_from)
) WITH (topic = 'officers', format = 'json', valid_from = 'effective_from');

CREATE TABLE trainings (
    training_id  VARCHAR NOT NULL PRIMARY KEY,
    officer_id   VARCHAR NOT NULL,
    course       VARCHAR,
    hours        DOUBLE NOT NULL,
    passed       BOOLEAN NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'trainings', format = 'json', event_time = 'completed_at', watermark_delay = '1 day', idle_timeout = '1 minute');

-- The yearly assessment of a person, 0 to 100.
CREATE TABLE assessments (
    officer_id  VARCHAR NOT NULL,
    year        INT NOT NULL,
    score       DOUBLE NOT NULL,
    assessed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (officer_id, year)
) WITH (topic = 'assessments', format = 'json');

-- Sanctions in force; one that is set aside is deleted.
CREATE TABLE sanctions (
    sanction_id VARCHAR NOT NULL PRIMARY KEY,
    officer_id  VARCHAR NOT NULL,
    imposed_at  TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'sanctions', format = 'json');

-- When promotions are considered, and as of which instant.
CREATE TABLE promotion_rounds (
    round_id VARCHAR NOT NULL PRIMARY KEY,
    as_of    TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'promotion-rounds', format = 'json', broadcast = true);

-- What promotion out of a rank takes.
CREATE TABLE promotion_policy (
    rank           INT NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    rank_months    INT NOT NULL,            -- months in the rank
    score_min      DOUBLE NOT NULL,         -- mean of the assessments of the two years before
    training_hours DOUBLE NOT NULL,         -- hours of courses passed in the twelve months before
    clean_months   INT NOT NULL,            -- months without a sanction
    PRIMARY KEY (rank, effective_from)
) WITH (topic = 'promotion-policy', format = 'json', valid_from = 'effective_from');

-- How many sworn officers a case takes.
CREATE TABLE staff_policy (
    procedure      VARCHAR NOT NULL,        -- general, summary
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    sworn_min      INT NOT NULL,
    grace_hours    INT NOT NULL,            -- after the opening of a case, until its officers are known
    PRIMARY KEY (procedure, effective_from)
) WITH (topic = 'staff-policy', format = 'json', valid_from = 'effective_from');

-- The grids of the city.
CREATE TABLE grids (
    grid_id     VARCHAR NOT NULL PRIMARY KEY,
    town        VARCHAR NOT NULL,
    unit_id     VARCHAR,                    -- who patrols it
    area        VARCHAR NOT NULL,           -- polygon, WKT or GeoJSON, WGS84
    active_from TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'grids', format = 'json', broadcast = true);

-- What body cameras, radios, handhelds and the road office report of officers on duty.
CREATE STREAM duty_logs (
    log_id     VARCHAR NOT NULL PRIMARY KEY,
    officer_id VARCHAR NOT NULL,
    device_id  VARCHAR,
    log_kind   VARCHAR NOT NULL,            -- position, report, pda_case
    logged_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    lon        DOUBLE,                      -- WGS84
    lat        DOUBLE
) WITH (topic = 'duty-logs', format = 'json', event_time = 'logged_at', watermark_delay = '10 minutes',
        idle_timeout = '1 minute', unique_for = '7 days');

CREATE TABLE patrol_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    minutes_min    INT NOT NULL             -- so many minutes of an hour in a grid are a patrol
) WITH (topic = 'patrol-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
