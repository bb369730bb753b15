-- Purpose:  the topics that the safe-riding pack reads where they exist. Without them, or while they are empty, nothing in
--           the pack is different.
-- Inputs:   21 topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables (latest row per key; a tombstone deletes) and the stream of heartbeats.
-- Limits:   phones are PRIVATE: they reach sinks that declare allow_private, and no log, late or rejected record.

-- === policies ===

-- Which doubtful captures are held back, each row in force from an instant until the next. A null is off, and so is
-- everything while no row is in force. Rules and suggested limits: doubtful-captures.sql.
CREATE TABLE hold_policy (
    effective_from         TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    hold_flagged_plates    BOOLEAN,         -- decked, altered or covered, says the device
    plate_pattern          VARCHAR,         -- a regular expression that the plate, in one spelling, must meet
    plate_reliability_min  DOUBLE,
    hold_mismatches        BOOLEAN,         -- the vehicle is not the one of the registry
    hold_disputed_plates   BOOLEAN,
    hold_face_only         BOOLEAN,         -- a person found by the face alone
    hold_inactive_devices  BOOLEAN,
    clone_speed_kmh        DOUBLE,          -- nobody rides faster from one device to another
    clone_distance_min_m   DOUBLE,          -- devices nearer than this see the same ride; 500 where null
    clock_ahead_seconds    INT,             -- captured so much after it was recorded: the device's clock is wrong
    clock_shift_captures   INT,             -- so many of a device and day, whole hours off, are a wrong clock
    clock_tolerance_seconds INT,            -- how far from a whole hour is still whole; 120 where null
    burst_per_10_minutes   INT,             -- captures of a device; more are a fault of the device or its marking
    burst_per_day          INT,
    burst_peer_factor      DOUBLE,          -- more than so many times the day's median over devices ..
    burst_peer_min         INT,             -- .. and more than so many; 20 where null
    upheld_dispute_days    INT,             -- for so long a plate is held where a dispute about it was upheld
    change_grace_seconds   INT,             -- so near to a change of thresholds or of the device's site
    review_days            INT              -- a capture that nobody has released by then never counts
) WITH (topic = 'hold-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- What is followed up once an action has been issued, by the start of its ride. Without a row in force nothing is: where no
-- receipts come in, every reminder would look unread.
CREATE TABLE follow_up_policy (
    effective_from        TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    unread_days           INT,              -- an unread reminder goes to the second channel after so many days; null: never
    accept_working_days   INT,              -- a task must be accepted within so many working days; null: no deadline
    complete_working_days INT,              -- .. and be done
    publish_days          INT               -- an approved sanction must be open to query so many days after; null: no deadline
) WITH (topic = 'follow-up-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- How the vanguard index of a branch is made; 1, 5, 10 points and 5 members where no row is in force.
CREATE TABLE vanguard_policy (
    effective_from       TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    occasional_points    INT NOT NULL,      -- off the index for a member in this class in the month
    frequent_points      INT NOT NULL,
    incorrigible_points  INT NOT NULL,
    members_min          INT NOT NULL,      -- smaller branches are not ranked: a rank would tell who it was
    publish_days         INT NOT NULL       -- the ranking of a month is published so many days after its end
) WITH (topic = 'vanguard-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- When a device counts as silent; 30 minutes where no row is in force.
CREATE TABLE device_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    silent_minutes INT NOT NULL
) WITH (topic = 'device-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- Working days with make-up days: every day of the years it covers.
CREATE TABLE calendar (
    day     DATE NOT NULL PRIMARY KEY,
    working BOOLEAN NOT NULL
) WITH (topic = 'calendar', format = 'json', broadcast = true);

-- === devices ===

-- That a device is alive (GA/T 1400 /VIID/System/Keepalive).
CREATE STREAM heartbeats (
    device_id VARCHAR NOT NULL,
    beat_at   TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'heartbeats', format = 'json', event_time = 'beat_at', watermark_delay = '1 minute',
        idle_timeout = '1 minute');

-- Where a device stands from an instant on, and whether it is in service there.
CREATE TABLE device_sites (
    device_id  VARCHAR NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    lon        DOUBLE,                      -- WGS84
    lat        DOUBLE,
    active     BOOLEAN,                     -- null: yes
    PRIMARY KEY (device_id, valid_from)
) WITH (topic = 'device-sites', format = 'json', valid_from = 'valid_from');

-- === plates and people ===

-- What vehicle bears a plate from an instant on.
CREATE TABLE plate_registry (
    plate         VARCHAR NOT NULL,
    valid_from    TIMESTAMP WITH TIME ZONE NOT NULL,
    vehicle_type  VARCHAR,
    vehicle_brand VARCHAR,
    vehicle_color VARCHAR,
    PRIMARY KEY (plate, valid_from)
) WITH (topic = 'plate-registry', format = 'json', valid_from = 'valid_from');

-- Plates that are known to be misread or cloned; the times of one plate may overlap.
CREATE TABLE disputed_plates (
    plate      VARCHAR NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to   TIMESTAMP WITH TIME ZONE,    -- null: until further notice
    reason     VARCHAR,
    PRIMARY KEY (plate, valid_from)
) WITH (topic = 'disputed-plates', format = 'json');

-- In which grid a person lives from an instant on; before the first row it is the grid of persons, null: none any more.
CREATE TABLE residences (
    person_id  VARCHAR NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    grid_id    VARCHAR,
    PRIMARY KEY (person_id, valid_from)
) WITH (topic = 'residences', format = 'json', valid_from = 'valid_from');

CREATE TABLE contacts (
    person_id VARCHAR NOT NULL PRIMARY KEY,
    phone     VARCHAR PRIVATE
) WITH (topic = 'contacts', format = 'json');

-- Who looks after a grid now; a grid may have several members.
CREATE TABLE grid_members (
    grid_id   VARCHAR NOT NULL,
    member_id VARCHAR NOT NULL,
    town      VARCHAR,
    phone     VARCHAR PRIVATE,
    PRIMARY KEY (grid_id, member_id)
) WITH (topic = 'grid-members', format = 'json');

CREATE TABLE employers (
    employer_id VARCHAR NOT NULL PRIMARY KEY,
    name        VARCHAR,
    town        VARCHAR,
    phone       VARCHAR PRIVATE
) WITH (topic = 'employers', format = 'json');

-- === what people do with what was issued ===

-- A capture that somebody has looked at and released: it counts.
CREATE TABLE hold_releases (
    capture_id  VARCHAR NOT NULL PRIMARY KEY,
    officer_id  VARCHAR NOT NULL,
    released_at TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'hold-releases', format = 'json', event_time = 'released_at', retention = '1500 days');

-- What became of a reminder: sent, bounced, read, learned (the lesson was completed).
CREATE TABLE reminder_receipts (
    action_id   VARCHAR NOT NULL,
    kind        VARCHAR NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (action_id, kind)
) WITH (topic = 'reminder-receipts', format = 'json', event_time = 'received_at', retention = '1500 days');

-- How far the task of a visit or of an employer is: accepted, done. A visit is done if the row of visits that is named was
-- delivered.
CREATE TABLE task_reports (
    action_id   VARCHAR NOT NULL,
    step        VARCHAR NOT NULL,
    reported_at TIMESTAMP WITH TIME ZONE NOT NULL,
    reported_by VARCHAR,
    visit_id    VARCHAR,
    PRIMARY KEY (action_id, step)
) WITH (topic = 'task-reports', format = 'json', event_time = 'reported_at', retention = '1500 days');

-- What an officer decided about a proposal: approved or rejected.
CREATE TABLE approvals (
    action_id   VARCHAR NOT NULL PRIMARY KEY,
    approval_id VARCHAR NOT NULL,
    officer_id  VARCHAR NOT NULL,
    decision    VARCHAR NOT NULL,
    decided_at  TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'approvals', format = 'json', event_time = 'decided_at', retention = '1500 days');

-- Since when a sanction can be queried by the person whom it concerns.
CREATE TABLE publications (
    action_id    VARCHAR NOT NULL PRIMARY KEY,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'publications', format = 'json', event_time = 'published_at', retention = '1500 days');

-- Appeals; open until closed_at. The device and the plate are those of the capture in dispute.
CREATE TABLE appeals (
    appeal_id VARCHAR NOT NULL PRIMARY KEY,
    person_id VARCHAR,
    action_id VARCHAR,
    device_id VARCHAR,
    plate     VARCHAR,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    outcome   VARCHAR                       -- upheld, rejected, withdrawn
) WITH (topic = 'appeals', format = 'json');

-- Accidents with e-bikes.
CREATE TABLE accidents (
    accident_id     VARCHAR NOT NULL PRIMARY KEY,
    occurred_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    town            VARCHAR,
    deaths          INT NOT NULL,           -- within 7 days
    deaths_helmetless INT NOT NULL          -- of them, riders and passengers without a helmet
) WITH (topic = 'accidents', format = 'json', event_time = 'occurred_at', retention = '3650 days');
