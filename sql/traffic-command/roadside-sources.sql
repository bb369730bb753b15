-- Purpose: the topics that weather push and the correction of drivers before exits read.
-- Inputs:  topics named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs: the streams of readings and of what front cameras see; tables of stations, displays, exits and limits.
-- Limits:  readings and captures come at most 30 seconds late; what is later still counts where the latest decides.

CREATE STREAM weather_readings (
    reading_id  VARCHAR NOT NULL PRIMARY KEY,
    station_id  VARCHAR NOT NULL,
    kind        VARCHAR NOT NULL,           -- visibility_m, rain_mm_h, wind_m_s, ice_mm, ..
    observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    value       DOUBLE
) WITH (topic = 'weather-readings', format = 'json', event_time = 'observed_at', watermark_delay = '30 seconds',
        idle_timeout = '10 seconds', unique_for = '1 day');

-- A station speaks for the segments of both directions in which it stands.
CREATE TABLE weather_stations (
    station_id     VARCHAR NOT NULL PRIMARY KEY,
    road_id        VARCHAR NOT NULL,
    chainage_m     DOUBLE NOT NULL,
    silent_after_s INT                      -- null: 900
) WITH (topic = 'weather-stations', format = 'json', broadcast = true);

-- From when on a kind of weather is of a level (1 notice, 2 police at both ends, 3 close) and when no longer.
CREATE TABLE weather_policy (
    kind           VARCHAR NOT NULL,
    level          INT NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    worse          VARCHAR NOT NULL,        -- below: begins below on_value, over at off_value; above: the other way
    on_value       DOUBLE NOT NULL,
    off_value      DOUBLE NOT NULL,
    limit_kmh      INT NOT NULL,
    PRIMARY KEY (kind, level, effective_from)
) WITH (topic = 'weather-policy', format = 'json', valid_from = 'effective_from');

-- === exits ===

CREATE TABLE exit_zones (
    exit_id   VARCHAR NOT NULL PRIMARY KEY,
    road_id   VARCHAR NOT NULL,
    direction VARCHAR NOT NULL,
    exit_m    DOUBLE NOT NULL,
    zone_m    DOUBLE                        -- how far before the exit the zone begins, null: 2000
) WITH (topic = 'exit-zones', format = 'json', broadcast = true);

CREATE TABLE roadside_displays (
    display_id VARCHAR NOT NULL PRIMARY KEY,
    road_id    VARCHAR NOT NULL,
    direction  VARCHAR NOT NULL,
    chainage_m DOUBLE NOT NULL,
    has_horn   BOOLEAN NOT NULL
) WITH (topic = 'roadside-displays', format = 'json', broadcast = true);

-- Limits before an exit by lane and vehicle class; without a row nothing is too fast.
CREATE TABLE lane_limits (
    exit_id         VARCHAR NOT NULL,
    lane            INT NOT NULL,
    vehicle_class   VARCHAR NOT NULL,
    effective_from  TIMESTAMP WITH TIME ZONE NOT NULL,
    limit_kmh       INT,                    -- null: none from then on
    night_limit_kmh INT,                    -- null: as by day
    PRIMARY KEY (exit_id, lane, vehicle_class, effective_from)
) WITH (topic = 'lane-limits', format = 'json', valid_from = 'effective_from');

-- What a front camera sees a driver do: solid_line, reversing, stopping, sudden_lane_change, ..
CREATE STREAM behaviour_captures (
    capture_id    VARCHAR NOT NULL PRIMARY KEY,
    device_id     VARCHAR NOT NULL,
    captured_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    behaviour     VARCHAR NOT NULL,
    plate         VARCHAR,
    lane          INT
) WITH (topic = 'behaviour-captures', format = 'json', event_time = 'captured_at', watermark_delay = '30 seconds',
        idle_timeout = '10 seconds', unique_for = '7 days');

CREATE TABLE exit_policy (
    effective_from    TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    tolerance_percent DOUBLE NOT NULL,      -- above the limit, not yet shown
    grace_s           INT NOT NULL,         -- around a change of limits the higher one holds
    hold_s            INT NOT NULL,         -- a display shows one message in so many seconds; a divisor of 60
    night_from_hour   INT NOT NULL,
    night_to_hour     INT NOT NULL
) WITH (topic = 'exit-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
