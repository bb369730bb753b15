-- Purpose:  what the joint supervision of catering smoke and sanitation reads.
-- Inputs:   topics sensor-readings, environment-sensors, sensor-faults, sensor-limits, joint-departments,
--           joint-inspections, joint-duties, joint-policy.
-- Outputs:  the stream of readings; tables; a tombstone takes a joint inspection back.
-- Limits:   readings arrive at most two minutes late; one that is sent again within a day counts once.

-- What sensors at flues, bins and stations measure, every few seconds to minutes.
CREATE STREAM sensor_readings (
    sensor_id   VARCHAR NOT NULL,
    measured_at TIMESTAMP WITH TIME ZONE NOT NULL,
    reading     DOUBLE,                     -- in the unit of the sensor's measure
    PRIMARY KEY (sensor_id, measured_at)
) WITH (topic = 'sensor-readings', format = 'json', event_time = 'measured_at', watermark_delay = '2 minutes',
        idle_timeout = '1 minute', unique_for = '1 day');

CREATE TABLE environment_sensors (
    sensor_id    VARCHAR NOT NULL PRIMARY KEY,
    measure      VARCHAR NOT NULL,          -- oil_smoke (mg/m3), bin_level (share), odour, ..
    site_id      VARCHAR NOT NULL,          -- the restaurant, the bin, the station
    town         VARCHAR NOT NULL,
    installed_at TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'environment-sensors', format = 'json');

-- Times in which a sensor was wrong: alarms raised within count for nothing.
CREATE TABLE sensor_faults (
    sensor_id   VARCHAR NOT NULL,
    faulty_from TIMESTAMP WITH TIME ZONE NOT NULL,
    faulty_to   TIMESTAMP WITH TIME ZONE NOT NULL,  -- excluded
    PRIMARY KEY (sensor_id, faulty_from)
) WITH (topic = 'sensor-faults', format = 'json');

CREATE TABLE sensor_limits (
    measure        VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    raise_above    DOUBLE NOT NULL,         -- a mean above it raises an alarm
    clear_below    DOUBLE NOT NULL,         -- a mean below it clears the alarm; between the two nothing changes
    readings_min   INT NOT NULL,            -- a mean of fewer readings says nothing
    silent_hours   INT NOT NULL,            -- without a reading for so long a sensor is silent
    PRIMARY KEY (measure, effective_from)
) WITH (topic = 'sensor-limits', format = 'json', valid_from = 'effective_from');

-- Who goes out together on an alarm.
CREATE TABLE joint_departments (
    measure    VARCHAR NOT NULL,
    department VARCHAR NOT NULL,            -- urban_management, ecology, market_supervision, ..
    PRIMARY KEY (measure, department)
) WITH (topic = 'joint-departments', format = 'json');

CREATE TABLE joint_inspections (
    inspection_id VARCHAR NOT NULL PRIMARY KEY,
    town          VARCHAR NOT NULL,
    measure       VARCHAR NOT NULL,
    departments   VARCHAR[],
    inspected_at  TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'joint-inspections', format = 'json', event_time = 'inspected_at', watermark_delay = '1 hour',
        idle_timeout = '10 minutes');

-- Where joint inspections are due every month, and since when.
CREATE TABLE joint_duties (
    town        VARCHAR NOT NULL,
    measure     VARCHAR NOT NULL,
    active_from TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (town, measure)
) WITH (topic = 'joint-duties', format = 'json');

CREATE TABLE joint_policy (
    effective_from  TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    departments_min INT NOT NULL            -- an inspection is joint from so many departments on
) WITH (topic = 'joint-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
