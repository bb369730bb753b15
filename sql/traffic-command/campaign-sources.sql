-- Purpose:  what was recorded on the roads, and the campaigns that it is counted for.
-- Inputs:   six topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables (latest row per key; a tombstone deletes) of violations, accidents, what was voided of them, the list of
--           offences and the campaigns.
-- Limits:   violations and their voids are remembered for 800 days, so that a year can be compared with the one before it;
--           accidents for 2000 days, so that three years before a measure and one behind it can be.

-- Violations as they were entered after review; plate and driver as the record has them.
CREATE TABLE violations (
    violation_id  VARCHAR NOT NULL PRIMARY KEY,
    occurred_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    offence       VARCHAR NOT NULL,         -- as in offences
    division      VARCHAR,                  -- GB/T 2260, six digits: whose territory
    brigade_id    VARCHAR,                  -- who dealt with it
    plate         VARCHAR,
    driver_id     VARCHAR,
    vehicle_class VARCHAR,                  -- as in passages
    points        INT,
    gross_mass_t  DOUBLE,                   -- weighed, for trucks
    road_id       VARCHAR,
    direction     VARCHAR,
    chainage_m    DOUBLE
) WITH (topic = 'violations', format = 'json', event_time = 'occurred_at', watermark_delay = '1 minute',
        retention = '800 days');

-- Violations that are as if they had never been.
CREATE TABLE violation_voids (
    violation_id VARCHAR NOT NULL PRIMARY KEY,
    ground       VARCHAR,
    voided_at    TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'violation-voids', format = 'json', event_time = 'voided_at', retention = '800 days');

-- What an offence is called, and whether it is a serious one, from an instant on.
CREATE TABLE offences (
    offence        VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    title          VARCHAR,
    serious        BOOLEAN NOT NULL,
    PRIMARY KEY (offence, effective_from)
) WITH (topic = 'offences', format = 'json', valid_from = 'effective_from');

-- Accidents with injured people or damage, at a place on a road; a tombstone takes one back.
CREATE TABLE accidents (
    accident_id   VARCHAR NOT NULL PRIMARY KEY,
    occurred_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    road_id       VARCHAR,
    direction     VARCHAR,
    chainage_m    DOUBLE,
    lon           DOUBLE,                   -- WGS84
    lat           DOUBLE,
    severity      VARCHAR,                  -- fatal, serious, slight, damage
    vehicle_class VARCHAR,                  -- of the vehicle that is held to have caused it
    deaths        INT,                      -- within 7 days, null is 0
    township      VARCHAR
) WITH (topic = 'accidents', format = 'json', event_time = 'occurred_at', watermark_delay = '1 minute',
        retention = '2000 days');

-- Campaigns: what is counted for them from when, until when, and where.
CREATE TABLE campaigns (
    campaign_id VARCHAR NOT NULL PRIMARY KEY,
    title       VARCHAR NOT NULL,
    starts_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at     TIMESTAMP WITH TIME ZONE NOT NULL,  -- excluded
    area        VARCHAR,                    -- how divisions in it begin: 37 a province, 3701 a city; null is everywhere
    offence     VARCHAR                     -- the one offence that it is about; null is all
) WITH (topic = 'campaigns', format = 'json', broadcast = true);

-- How statistics are made, each in force from an instant until the next.
CREATE TABLE statistics_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    close_days     INT NOT NULL,            -- so many days after its end a month is published
    hundred_ton    DOUBLE NOT NULL          -- gross mass in tonnes from which a truck is a king of a hundred tonnes
) WITH (topic = 'statistics-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
