-- Purpose:  where and when hazardous goods may not be driven, who may all the same, and what the police do about it.
-- Inputs:   six topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables of bans, permits, checks at the roadside, what a check must cover, operations, and the policy.
-- Limits:   checks and operations are remembered for 800 days.

-- A ban of hazmat transport in an area, at a time of every day: around producers, sellers and warehouses, in quarters, at rush hours.
CREATE TABLE hazmat_bans (
    ban_id      VARCHAR NOT NULL PRIMARY KEY,
    title       VARCHAR,
    polygon     VARCHAR NOT NULL,           -- WKT or GeoJSON, WGS84
    starts      VARCHAR NOT NULL,           -- local time of day, HH:MM
    ends        VARCHAR NOT NULL,           -- HH:MM, excluded; 24:00 is the end of the day, less than starts is past midnight
    valid_from  TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_until TIMESTAMP WITH TIME ZONE    -- excluded; null: until further notice
) WITH (topic = 'hazmat-bans', format = 'json', broadcast = true);

CREATE TABLE hazmat_permits (
    permit_id   VARCHAR NOT NULL PRIMARY KEY,
    plate       VARCHAR NOT NULL,
    ban_id      VARCHAR NOT NULL,
    valid_from  TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_until TIMESTAMP WITH TIME ZONE NOT NULL  -- excluded
) WITH (topic = 'hazmat-permits', format = 'json');

-- Checks of hazmat vehicles at the roadside, with the items that were looked at.
CREATE TABLE hazmat_checks (
    check_id   VARCHAR NOT NULL PRIMARY KEY,
    brigade_id VARCHAR NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    plate      VARCHAR,
    items      VARCHAR[]                    -- as in must_checks
) WITH (topic = 'hazmat-checks', format = 'json', event_time = 'checked_at', watermark_delay = '1 hour', retention = '800 days');

-- What every check must cover: the seven must-checks.
CREATE TABLE must_checks (
    item  VARCHAR NOT NULL PRIMARY KEY,
    title VARCHAR
) WITH (topic = 'must-checks', format = 'json', broadcast = true);

CREATE TABLE hazmat_operations (
    operation_id VARCHAR NOT NULL PRIMARY KEY,
    brigade_id   VARCHAR NOT NULL,
    started_at   TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'hazmat-operations', format = 'json', event_time = 'started_at', watermark_delay = '1 hour', retention = '800 days');

-- What the police owe and when it becomes serious, each in force from an instant until the next.
CREATE TABLE hazmat_policy (
    effective_from    TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    daily_check       BOOLEAN NOT NULL,     -- each brigade checks every day
    weekly_operation  BOOLEAN NOT NULL,     -- each brigade has an operation every week
    fine_from         INT NOT NULL,         -- an enterprise's breaches and violations of a month from which a fine is proposed
    downgrade_points  INT NOT NULL          -- a driver's points of a licence year from which a downgrade is proposed
) WITH (topic = 'hazmat-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
