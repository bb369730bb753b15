-- Purpose:  key vehicles and drivers, the enterprises that answer for them, and who may never drive again.
-- Inputs:   eight topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables (latest row per key; a tombstone deletes).
-- Limits:   registers are kept for as long as their rows are not deleted. What time has come is told by updated_at, and by the
--           clock where nothing changes.

-- Vehicles of the classes that are watched: coaches, chartered coaches, hazmat transport, heavy trucks, school buses, rural vans.
CREATE TABLE vehicles (
    plate           VARCHAR NOT NULL PRIMARY KEY, -- as plate_normalize spells it
    vehicle_class   VARCHAR NOT NULL,       -- coach, chartered_coach, hazmat, heavy_truck, school_bus, rural_van, ..
    enterprise_id   VARCHAR,
    inspected_until DATE,                   -- the last day on which the inspection is valid
    scrap_by        DATE,                   -- the last day on which it may be registered
    deregistered_on DATE,                   -- from this day on it is no vehicle any more
    updated_at      TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'vehicles', format = 'json', event_time = 'updated_at', watermark_delay = '1 minute');

-- Drivers of key vehicles.
CREATE TABLE drivers (
    driver_id       VARCHAR NOT NULL PRIMARY KEY, -- a pseudonym of the licence number
    licence_class   VARCHAR NOT NULL,       -- A1, A2, A3, B1, B2, C1, ..
    licensed_on     DATE,                   -- the first issue, from which the years of points are counted
    enterprise_id   VARCHAR,
    review_due      DATE,                   -- the last day for the review; null: none is due
    licence_until   DATE,                   -- the last day on which the licence is valid
    deregistered_on DATE,                   -- from this day on nobody drives with it
    updated_at      TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'drivers', format = 'json', event_time = 'updated_at', watermark_delay = '1 minute');

CREATE TABLE enterprises (
    enterprise_id VARCHAR NOT NULL PRIMARY KEY,
    name          VARCHAR,
    division      VARCHAR,                  -- GB/T 2260, six digits
    brigade_id    VARCHAR                   -- who supervises it
) WITH (topic = 'enterprises', format = 'json');

-- How hidden dangers are dealt with, by danger (inspection, scrap, review, renewal).
CREATE TABLE danger_policy (
    danger         VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    clear_days     INT NOT NULL,            -- working days that an enterprise has before its brigade is told
    rate_min       DOUBLE NOT NULL,         -- the share in order that is aimed at
    PRIMARY KEY (danger, effective_from)
) WITH (topic = 'danger-policy', format = 'json', valid_from = 'effective_from');

-- Visits of the police to enterprises, and how many drivers they met there.
CREATE TABLE enterprise_visits (
    visit_id      VARCHAR NOT NULL PRIMARY KEY,
    enterprise_id VARCHAR NOT NULL,
    visited_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    drivers_met   INT
) WITH (topic = 'enterprise-visits', format = 'json', event_time = 'visited_at', watermark_delay = '1 minute',
        retention = '800 days');

-- Who may not drive for life; lifted where a court took the ban back.
CREATE TABLE lifetime_bans (
    driver_id   VARCHAR NOT NULL PRIMARY KEY,
    banned_from TIMESTAMP WITH TIME ZONE NOT NULL,
    ground      VARCHAR,
    lifted_from TIMESTAMP WITH TIME ZONE
) WITH (topic = 'lifetime-bans', format = 'json');

-- Drivers whom a device recognised at the wheel.
CREATE STREAM driver_captures (
    capture_id      VARCHAR NOT NULL PRIMARY KEY,
    device_id       VARCHAR NOT NULL,
    captured_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    driver_id       VARCHAR,
    match_score     DOUBLE,                 -- 0..1
    plate           VARCHAR
) WITH (topic = 'driver-captures', format = 'json', event_time = 'captured_at', watermark_delay = '30 seconds',
        idle_timeout = '10 seconds', unique_for = '7 days');
