-- Purpose:  what is measured in the flood season, which sections of roads it endangers, and what the police have decided.
-- Inputs:   six topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  the stream of readings; tables of sections, the stations by each, thresholds, approvals and the policy.
-- Limits:   readings arrive at most 10 seconds late; a reading id is unique for 7 days.

-- Rain and water levels from the meteorological and water offices, warnings from the emergency office.
CREATE STREAM flood_readings (
    reading_id  VARCHAR NOT NULL PRIMARY KEY,
    station_id  VARCHAR NOT NULL,
    observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    measure     VARCHAR NOT NULL,           -- rain_mm_1h, water_level_m, flood_warning (0 to 4)
    value       DOUBLE NOT NULL
) WITH (topic = 'flood-readings', format = 'json', event_time = 'observed_at', watermark_delay = '10 seconds',
        idle_timeout = '10 seconds', unique_for = '7 days');

-- Sections of roads that water can endanger.
CREATE TABLE flood_sections (
    section_id VARCHAR NOT NULL PRIMARY KEY,
    road_id    VARCHAR NOT NULL,
    from_m     DOUBLE NOT NULL,
    to_m       DOUBLE NOT NULL,
    brigade_id VARCHAR NOT NULL,
    area       VARCHAR NOT NULL,            -- in words, for the public
    polygon    VARCHAR                      -- as CAP has it: latitude,longitude pairs, the first again at the end
) WITH (topic = 'flood-sections', format = 'json');

-- Which station's measure says something about which section.
CREATE TABLE section_stations (
    section_id VARCHAR NOT NULL,
    station_id VARCHAR NOT NULL,
    measure    VARCHAR NOT NULL,
    PRIMARY KEY (section_id, station_id, measure)
) WITH (topic = 'section-stations', format = 'json');

-- From which value on traffic on a section is to be controlled or closed, and below which it is free again; each in force from an
-- instant until the next. Between the two values of a pair nothing changes.
CREATE TABLE flood_thresholds (
    section_id     VARCHAR NOT NULL,
    station_id     VARCHAR NOT NULL,
    measure        VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    control_at     DOUBLE NOT NULL,
    clear_below    DOUBLE NOT NULL,         -- below control_at
    close_at       DOUBLE NOT NULL,
    reopen_below   DOUBLE NOT NULL,         -- below close_at
    PRIMARY KEY (section_id, station_id, measure, effective_from)
) WITH (topic = 'flood-thresholds', format = 'json', valid_from = 'effective_from');

-- That a named officer lets a proposal of control or closure be carried out and told to the public.
CREATE TABLE control_approvals (
    section_id  VARCHAR NOT NULL,
    since       TIMESTAMP WITH TIME ZONE NOT NULL, -- of the proposal
    level       VARCHAR NOT NULL,           -- control, close
    approved_by VARCHAR NOT NULL,
    approved_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (section_id, since)
) WITH (topic = 'control-approvals', format = 'json', event_time = 'approved_at', watermark_delay = '10 seconds');

CREATE TABLE flood_policy (
    effective_from  TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    silence_minutes INT NOT NULL            -- a station that sends nothing for so long is reported
) WITH (topic = 'flood-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
