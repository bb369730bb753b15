-- Purpose:  what the police on duty look for, where they are, and who answers for what.
-- Inputs:   topics named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  the watch list, positions of patrols, acknowledgements, modes of duty, and the policies of intercepts.
-- Limits:   acknowledgements are remembered for 90 days. The position of a patrol is the last one that was reported.

-- Vehicles that are looked for, from an instant until another; a tombstone takes an entry off the list.
CREATE TABLE watch_list (
    entry_id      VARCHAR NOT NULL PRIMARY KEY,
    plate         VARCHAR NOT NULL,
    reason        VARCHAR NOT NULL,         -- stolen, hit_and_run, wanted, ..
    vehicle_class VARCHAR,                  -- as registered, to be compared with what the camera sees
    tactic        VARCHAR,                  -- crossroads, red_light, several_points, c_shape: as who listed it advises
    disputed      BOOLEAN,                  -- the plate is under review as cloned or misread
    listed_from   TIMESTAMP WITH TIME ZONE NOT NULL,
    listed_until  TIMESTAMP WITH TIME ZONE  -- excluded; null: until taken off
) WITH (topic = 'watch-list', format = 'json');

-- Where a unit was when it reported last.
CREATE TABLE patrol_positions (
    unit_id     VARCHAR NOT NULL PRIMARY KEY,
    brigade_id  VARCHAR NOT NULL,
    on_duty     BOOLEAN NOT NULL,
    reported_at TIMESTAMP WITH TIME ZONE NOT NULL,
    road_id     VARCHAR,
    direction   VARCHAR,
    chainage_m  DOUBLE,
    lon         DOUBLE,                     -- WGS84
    lat         DOUBLE
) WITH (topic = 'patrol-positions', format = 'json', broadcast = true, event_time = 'reported_at', idle_timeout = '10 seconds');

-- That a unit has taken an intercept on.
CREATE TABLE intercept_acknowledgements (
    acknowledgement_id VARCHAR NOT NULL PRIMARY KEY,
    entry_id           VARCHAR NOT NULL,
    unit_id            VARCHAR NOT NULL,
    acknowledged_at    TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'intercept-acknowledgements', format = 'json', event_time = 'acknowledged_at', watermark_delay = '30 seconds',
        idle_timeout = '10 seconds', retention = '90 days');

-- The modes of duty beside the ordinary one, and who takes part: regional (a neighbouring brigade), staggered (a unit at other
-- hours), joint (another department).
CREATE TABLE duty_modes (
    brigade_id VARCHAR NOT NULL,
    mode       VARCHAR NOT NULL,
    partner_id VARCHAR NOT NULL,
    starts_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at    TIMESTAMP WITH TIME ZONE NOT NULL,  -- excluded
    PRIMARY KEY (brigade_id, mode, partner_id, starts_at)
) WITH (topic = 'duty-modes', format = 'json');

-- How intercepts are made, each in force from an instant until the next.
CREATE TABLE intercept_policy (
    effective_from      TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    near_m              DOUBLE NOT NULL,    -- units within this distance as the crow flies
    ahead_m             DOUBLE NOT NULL,    -- units within this distance ahead on the same road and direction
    position_max_age_s  INT NOT NULL,       -- an older position is not relied on
    match_score_min     DOUBLE NOT NULL,    -- of a recognised driver
    brigade_minutes     INT NOT NULL,       -- not taken on after so long: the brigade's centre
    detachment_minutes  INT NOT NULL,       -- .. the detachment's
    province_minutes    INT NOT NULL        -- .. the province's
) WITH (topic = 'intercept-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- How far up it is told that nobody takes an intercept on, by reason, each in force from an instant until the next.
CREATE TABLE escalation_policy (
    reason         VARCHAR NOT NULL,        -- as in intercept_orders
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    levels         INT NOT NULL,            -- 0 nobody, 1 the brigade, 2 and the detachment, 3 and the province
    PRIMARY KEY (reason, effective_from)
) WITH (topic = 'escalation-policy', format = 'json', valid_from = 'effective_from');
