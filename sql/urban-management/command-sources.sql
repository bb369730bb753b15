-- Purpose:  what the rules of command during major events read.
-- Inputs:   topics command-modes, command-thresholds, monitor-events, alert-acknowledgements.
-- Outputs:  tables; a tombstone takes an event or an order back.
-- Limits:   events are remembered for 400 days.

-- Orders to work in wartime mode: for a town, or for all ('*'), from an instant until another.
CREATE TABLE command_modes (
    mode_id    VARCHAR NOT NULL PRIMARY KEY,
    town       VARCHAR NOT NULL,
    event_name VARCHAR,
    starts_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at    TIMESTAMP WITH TIME ZONE NOT NULL,   -- excluded
    ordered_by VARCHAR
) WITH (topic = 'command-modes', format = 'json');

-- What differs between the modes.
CREATE TABLE command_thresholds (
    mode           VARCHAR NOT NULL,        -- peace, wartime
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    severity_min   INT NOT NULL,            -- an event from this severity on is an alert
    ack_minutes    INT NOT NULL,            -- within so many minutes somebody takes it
    patrol_hours   INT NOT NULL,            -- within so many hours a grid is patrolled again
    days_max       INT NOT NULL,            -- a mode lasts so many days at most
    PRIMARY KEY (mode, effective_from)
) WITH (topic = 'command-thresholds', format = 'json', valid_from = 'effective_from');

-- What the city's monitoring reports: cameras, drones, sensors, people.
CREATE TABLE monitor_events (
    event_id    VARCHAR NOT NULL PRIMARY KEY,
    event_kind  VARCHAR NOT NULL,           -- crowd, stall, drone, fire, ..
    town        VARCHAR NOT NULL,
    incident_id VARCHAR,                    -- what several reports are about, where that is known
    severity    INT NOT NULL,               -- 1 (slight) to 5
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lon         DOUBLE,                     -- WGS84
    lat         DOUBLE
) WITH (topic = 'monitor-events', format = 'json', event_time = 'occurred_at', watermark_delay = '1 minute',
        idle_timeout = '10 seconds', retention = '400 days');

-- That somebody takes care of an alert.
CREATE TABLE alert_acknowledgements (
    alert_id        VARCHAR NOT NULL PRIMARY KEY,
    acknowledged_at TIMESTAMP WITH TIME ZONE NOT NULL,
    officer_id      VARCHAR
) WITH (topic = 'alert-acknowledgements', format = 'json', event_time = 'acknowledged_at', watermark_delay = '1 minute',
        idle_timeout = '10 seconds');
