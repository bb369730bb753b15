-- Purpose:  the topics that the driver-education pack reads.
-- Inputs:   topics named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables (latest row per key; a tombstone deletes) and the stream of visits to counters.
-- Limits:   penalties, voids and clearances are remembered for 1200 days, that is three cycles and what is decided late; what
--           belongs to a study for 800 days. Records arrive at most one hour late, visits to counters one minute.

SET TIME ZONE = 'Asia/Shanghai';

-- === drivers and their points ===

CREATE TABLE drivers (
    driver_id   VARCHAR NOT NULL PRIMARY KEY,
    licensed_on DATE,                       -- of the first licence: from here cycles of twelve months are counted
    township    VARCHAR                     -- of the home
) WITH (topic = 'drivers', format = 'json');

-- What a driver may drive from an instant on; without classes: nothing from then on.
CREATE TABLE licences (
    driver_id  VARCHAR NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    classes    VARCHAR[],                   -- A1, A2, A3, B1, B2, C1, ..
    PRIMARY KEY (driver_id, valid_from)
) WITH (topic = 'licences', format = 'json', valid_from = 'valid_from');

-- Decided violations with points, one row a penalty.
CREATE TABLE penalties (
    penalty_id   VARCHAR NOT NULL PRIMARY KEY,
    driver_id    VARCHAR,
    occurred_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    offence_code VARCHAR,
    points       INT                        -- as decided; null: those of the schedule
) WITH (topic = 'penalties', format = 'json', event_time = 'occurred_at', watermark_delay = '1 hour',
        idle_timeout = '1 minute', retention = '1200 days');

-- The points of an offence from an instant on.
CREATE TABLE points_schedule (
    offence_code   VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    points         INT NOT NULL,
    PRIMARY KEY (offence_code, effective_from)
) WITH (topic = 'points-schedule', format = 'json', valid_from = 'effective_from');

-- Penalties that are as if they had never been.
CREATE TABLE penalty_voids (
    penalty_id VARCHAR NOT NULL PRIMARY KEY,
    ground     VARCHAR,
    voided_at  TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'penalty-voids', format = 'json', event_time = 'voided_at', watermark_delay = '1 hour', idle_timeout = '1 minute',
        retention = '1200 days');

-- Passed examinations after full marks: they clear the points that a cycle had until then.
CREATE TABLE clearances (
    driver_id        VARCHAR NOT NULL,
    cycle_started_on DATE NOT NULL,
    cleared_at       TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (driver_id, cycle_started_on, cleared_at)
) WITH (topic = 'clearances', format = 'json', valid_from = 'cleared_at');

-- That somebody does not agree, with an obligation or with a penalty behind it; open until closed_at.
CREATE TABLE appeals (
    appeal_id VARCHAR NOT NULL PRIMARY KEY,
    action_id VARCHAR,                      -- an obligation_id or a penalty_id
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE
) WITH (topic = 'appeals', format = 'json');

-- === studies ===

-- Accepted at a service point: here a study begins.
CREATE TABLE enrolments (
    enrolment_id  VARCHAR NOT NULL PRIMARY KEY,
    obligation_id VARCHAR NOT NULL,
    driver_id     VARCHAR NOT NULL,
    site_id       VARCHAR,
    enrolled_at   TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'enrolments', format = 'json', event_time = 'enrolled_at', watermark_delay = '1 hour',
        idle_timeout = '1 minute', retention = '800 days');

-- Lessons on site.
CREATE TABLE classes (
    class_id  VARCHAR NOT NULL PRIMARY KEY,
    site_id   VARCHAR NOT NULL,
    starts_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    seats     INT
) WITH (topic = 'classes', format = 'json');

-- Who is expected in a class; a tombstone cancels.
CREATE TABLE bookings (
    enrolment_id VARCHAR NOT NULL,
    class_id     VARCHAR NOT NULL,
    booked_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (enrolment_id, class_id)
) WITH (topic = 'bookings', format = 'json', event_time = 'booked_at', watermark_delay = '1 hour', idle_timeout = '1 minute',
        retention = '800 days');

-- What the gate, or the device that compares face and card, recorded.
CREATE TABLE attendance_marks (
    mark_id      VARCHAR NOT NULL PRIMARY KEY,
    enrolment_id VARCHAR NOT NULL,
    class_id     VARCHAR NOT NULL,
    site_id      VARCHAR NOT NULL,
    direction    VARCHAR NOT NULL,          -- in, out
    marked_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    match_score  DOUBLE                     -- 0..1; null where the device compares no faces
) WITH (topic = 'attendance-marks', format = 'json', event_time = 'marked_at', watermark_delay = '1 hour',
        idle_timeout = '1 minute', retention = '800 days');

-- Lessons on the platform; without an end they are still going on.
CREATE TABLE online_lessons (
    lesson_id    VARCHAR NOT NULL PRIMARY KEY,
    enrolment_id VARCHAR NOT NULL,
    device_id    VARCHAR,
    started_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at     TIMESTAMP WITH TIME ZONE
) WITH (topic = 'online-lessons', format = 'json', event_time = 'started_at', watermark_delay = '1 hour',
        idle_timeout = '1 minute', retention = '800 days');

-- Pictures taken at random instants of a class or lesson, compared with the person who enrolled.
CREATE TABLE snapshots (
    snapshot_id  VARCHAR NOT NULL PRIMARY KEY,
    enrolment_id VARCHAR NOT NULL,
    session_id   VARCHAR NOT NULL,          -- a class_id or a lesson_id
    taken_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    match_score  DOUBLE                     -- 0..1; null: nobody in the picture
) WITH (topic = 'snapshots', format = 'json', event_time = 'taken_at', watermark_delay = '1 hour', idle_timeout = '1 minute',
        retention = '800 days');

-- What a supervision post found when it looked at video and pictures of somebody's session.
CREATE TABLE session_inspections (
    enrolment_id VARCHAR NOT NULL,
    session_id   VARCHAR NOT NULL,
    level        VARCHAR NOT NULL,          -- site, county, city
    inspected_at TIMESTAMP WITH TIME ZONE NOT NULL,
    verdict      VARCHAR NOT NULL,          -- passed, failed, restored (counts though a mark is missing)
    inspector_id VARCHAR,
    PRIMARY KEY (enrolment_id, session_id, level)
) WITH (topic = 'session-inspections', format = 'json', event_time = 'inspected_at', watermark_delay = '1 hour',
        idle_timeout = '1 minute', retention = '800 days');

-- Who handled a penalty at a counter or by telephone, for whom, and who paid.
CREATE TABLE handlings (
    handling_id VARCHAR NOT NULL PRIMARY KEY,
    penalty_id  VARCHAR,
    driver_id   VARCHAR NOT NULL,           -- who took the points
    plate       VARCHAR,
    handled_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    payer_id    VARCHAR,
    device_id   VARCHAR,
    phone       VARCHAR PRIVATE
) WITH (topic = 'handlings', format = 'json', event_time = 'handled_at', watermark_delay = '1 hour',
        idle_timeout = '1 minute', retention = '800 days');

-- === the service network ===

CREATE TABLE sites (
    site_id        VARCHAR NOT NULL PRIMARY KEY,
    kind           VARCHAR NOT NULL,        -- station, police_post, insurer, vehicle_office, government_window, squadron
    county         VARCHAR,
    lon            DOUBLE,                  -- WGS84
    lat            DOUBLE,
    daily_capacity INT,                     -- visits to its counters
    services       VARCHAR[],               -- full_marks, review
    open           BOOLEAN                  -- null is true
) WITH (topic = 'sites', format = 'json', broadcast = true);

CREATE TABLE townships (
    township VARCHAR NOT NULL PRIMARY KEY,
    lon      DOUBLE,                        -- WGS84, of its centre
    lat      DOUBLE
) WITH (topic = 'townships', format = 'json');

-- A person who stands at a counter, whatever for.
CREATE STREAM counter_visits (
    visit_id   VARCHAR NOT NULL PRIMARY KEY,
    site_id    VARCHAR NOT NULL,
    driver_id  VARCHAR,
    visited_at TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'counter-visits', format = 'json', event_time = 'visited_at', watermark_delay = '1 minute',
        idle_timeout = '30 seconds', unique_for = '7 days');

-- Which days are worked, holidays and make-up days included; every day of the years that it covers.
CREATE TABLE calendar (
    day     DATE NOT NULL PRIMARY KEY,
    working BOOLEAN NOT NULL
) WITH (topic = 'calendar', format = 'json', broadcast = true);

-- === policies, each row in force from an instant until the next ===

-- Who must study, and until when.
CREATE TABLE obligation_policy (
    effective_from      TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    full_marks          INT NOT NULL,       -- points of a cycle from which on full marks must be studied for
    full_marks_due_days INT NOT NULL,       -- days behind the one of full marks in which the study must begin
    multiple_max        INT NOT NULL,       -- by how much the days of study multiply at most
    review_points       INT NOT NULL,       -- points of a cycle from which on review_classes must be reviewed
    review_classes      VARCHAR[] NOT NULL,
    review_due_days     INT NOT NULL        -- days behind the cycle in which the review must be done
) WITH (topic = 'obligation-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- How a kind of study is done: days on site and online, and the minutes that make a day count.
CREATE TABLE study_policy (
    kind           VARCHAR NOT NULL,        -- full_marks, review
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    onsite_days    INT NOT NULL,
    online_days    INT NOT NULL,
    onsite_minutes INT NOT NULL,
    online_minutes INT NOT NULL,
    PRIMARY KEY (kind, effective_from)
) WITH (topic = 'study-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- When a session counts.
CREATE TABLE attendance_policy (
    effective_from     TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    match_score_min    DOUBLE NOT NULL,
    missing_from       INT NOT NULL,        -- pictures without anybody in them from which on a session is in doubt
    presence_min       DOUBLE NOT NULL,     -- share of a class, 0..1
    check_in_minutes   INT NOT NULL,        -- before the class, from which on marks are taken
    check_out_minutes  INT NOT NULL,        -- behind the class, until which marks are taken
    lesson_minutes_max INT NOT NULL
) WITH (topic = 'attendance-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- How many sessions a level looks at.
CREATE TABLE sampling_policy (
    level          VARCHAR NOT NULL,        -- county, city
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    share          DOUBLE NOT NULL,         -- 0..1
    seed           VARCHAR NOT NULL,        -- drawn in public before it takes effect
    due_days       INT NOT NULL,            -- working days
    PRIMARY KEY (level, effective_from)
) WITH (topic = 'sampling-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- How much of the same is suspicious in a calendar month.
CREATE TABLE fraud_policy (
    effective_from      TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    drivers_from        INT NOT NULL,       -- drivers for whom one payer, device or telephone handles points
    plates_from         INT NOT NULL,       -- vehicles whose points one licence takes
    lesson_drivers_from INT NOT NULL        -- drivers who study online on one device
) WITH (topic = 'fraud-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- Whose handling is known to be in order: terminals of the network, firms that pay for their drivers.
CREATE TABLE fraud_exemptions (
    kind       VARCHAR NOT NULL,            -- payer, device, phone, licence, lesson_device
    key        VARCHAR NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to   TIMESTAMP WITH TIME ZONE,    -- null: without end
    reason     VARCHAR,
    PRIMARY KEY (kind, key, valid_from)
) WITH (topic = 'fraud-exemptions', format = 'json', valid_from = 'valid_from');

-- From which load on a site or class is called full.
CREATE TABLE capacity_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    alert_share    DOUBLE NOT NULL          -- of the capacity, 0..1
) WITH (topic = 'capacity-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- How many sites of a kind the network is to have.
CREATE TABLE network_plan (
    kind    VARCHAR NOT NULL PRIMARY KEY,
    planned INT NOT NULL
) WITH (topic = 'network-plan', format = 'json');

-- What a person is told who must study.
CREATE TABLE guides (
    kind           VARCHAR NOT NULL,        -- full_marks, review
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    text           VARCHAR NOT NULL,
    PRIMARY KEY (kind, effective_from)
) WITH (topic = 'guides', format = 'json', broadcast = true, valid_from = 'effective_from');
