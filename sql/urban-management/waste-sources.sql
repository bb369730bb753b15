-- Purpose:  what the rules about the transport of construction waste read.
-- Inputs:   topics vehicle-positions, plate-captures, waste-vehicles, waste-approvals, disposal-sites, waste-voids,
--           waste-limits, waste-policy.
-- Outputs:  the streams of positions and of what cameras saw; tables of vehicles, approvals, sites and limits.
-- Limits:   positions arrive at most 10 minutes late before something is called silent; where a vehicle was is corrected
--           for two days. All places are WGS84: what is in GCJ-02 must be converted before it comes here, else vehicles are
--           some hundred metres beside their roads.

-- Where a vehicle is, every few seconds to a minute, with what its body does.
CREATE STREAM vehicle_positions (
    vehicle_id    VARCHAR NOT NULL,
    positioned_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lon           DOUBLE,
    lat           DOUBLE,
    speed_kmh     DOUBLE,
    engine_on     BOOLEAN,
    loaded        BOOLEAN,                  -- by the load sensor; null: it does not say
    tipping       BOOLEAN                   -- the body is raised
) WITH (topic = 'vehicle-positions', format = 'json', event_time = 'positioned_at', watermark_delay = '10 minutes',
        idle_timeout = '1 minute');

-- Plates that roadside cameras read.
CREATE STREAM plate_captures (
    capture_id  VARCHAR NOT NULL PRIMARY KEY,
    device_id   VARCHAR NOT NULL,
    captured_at TIMESTAMP WITH TIME ZONE NOT NULL,
    plate       VARCHAR,
    match_score DOUBLE                      -- 0..1; null: the camera does not say
) WITH (topic = 'plate-captures', format = 'json', event_time = 'captured_at', watermark_delay = '10 minutes',
        idle_timeout = '1 minute', unique_for = '3 days');

-- The vehicles that have a positioning system.
CREATE TABLE waste_vehicles (
    vehicle_id    VARCHAR NOT NULL PRIMARY KEY,
    plate         VARCHAR NOT NULL,         -- as plate_normalize spells it
    enterprise_id VARCHAR NOT NULL
) WITH (topic = 'waste-vehicles', format = 'json');

-- A transport that is approved: from a site to a place of disposal, along a corridor, within hours of the day.
CREATE TABLE waste_approvals (
    approval_id VARCHAR NOT NULL PRIMARY KEY,
    vehicle_id  VARCHAR NOT NULL,
    site_id     VARCHAR NOT NULL,
    dump_id     VARCHAR NOT NULL,
    corridor    VARCHAR NOT NULL,           -- polygon around road and site, WKT or GeoJSON
    valid_from  TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to    TIMESTAMP WITH TIME ZONE NOT NULL,  -- excluded
    hours_from  VARCHAR NOT NULL,           -- 'HH:MM', local
    hours_to    VARCHAR NOT NULL            -- excluded; before hours_from: over midnight; the same: all day
) WITH (topic = 'waste-approvals', format = 'json');

CREATE TABLE disposal_sites (
    dump_id VARCHAR NOT NULL PRIMARY KEY,
    name    VARCHAR,
    area    VARCHAR NOT NULL                -- polygon, WKT or GeoJSON
) WITH (topic = 'disposal-sites', format = 'json');

-- Violations that were found to be none.
CREATE TABLE waste_voids (
    violation_id VARCHAR NOT NULL PRIMARY KEY,
    ground       VARCHAR,
    voided_at    TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'waste-voids', format = 'json');

-- For how long a kind of violation must last.
CREATE TABLE waste_limits (
    violation      VARCHAR NOT NULL,        -- no_approval, out_of_hours, off_route, illegal_dump
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    minutes        INT NOT NULL,
    PRIMARY KEY (violation, effective_from)
) WITH (topic = 'waste-limits', format = 'json', valid_from = 'effective_from');

CREATE TABLE waste_policy (
    effective_from  TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    tolerance_m     DOUBLE NOT NULL,        -- so far beside the corridor or the place of disposal is still inside
    stop_kmh        DOUBLE NOT NULL,        -- up to this speed a vehicle stands
    silent_minutes  INT NOT NULL,           -- without a position for so long a running vehicle is silent; 60 at most
    match_score_min DOUBLE NOT NULL         -- below it a plate was not read for certain
) WITH (topic = 'waste-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
