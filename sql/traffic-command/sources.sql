-- Purpose:  the topics that several rules of the traffic-command pack read; what only one group of rules reads stands in a
--           file of sources of its own beside them.
-- Inputs:   four topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  the stream of passages, and the tables of devices, road segments and working days.
-- Limits:   passages arrive at most 30 seconds late; a passage id is unique for 7 days.

SET TIME ZONE = 'Asia/Shanghai';

-- What the roadside devices saw pass: one row a vehicle and device.
CREATE STREAM passages (
    passage_id    VARCHAR NOT NULL PRIMARY KEY,
    device_id     VARCHAR NOT NULL,
    passed_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    plate         VARCHAR,
    vehicle_class VARCHAR,                  -- as the camera judges it: car, coach, heavy_truck, hazmat, school_bus, ..
    lane          INT,                      -- counted from the median, from 1
    speed_kmh     DOUBLE
) WITH (topic = 'passages', format = 'json', event_time = 'passed_at', watermark_delay = '30 seconds',
        idle_timeout = '10 seconds', unique_for = '7 days');

-- Where a device stands: a road, a direction, and metres along it.
CREATE TABLE devices (
    device_id  VARCHAR NOT NULL PRIMARY KEY,
    road_id    VARCHAR NOT NULL,
    direction  VARCHAR NOT NULL,            -- up (rising chainage) or down
    chainage_m DOUBLE NOT NULL,
    township   VARCHAR,
    lon        DOUBLE,                      -- WGS84
    lat        DOUBLE
) WITH (topic = 'devices', format = 'json', broadcast = true);

-- A stretch of one direction of a road, from_m included, to_m excluded, and the brigade that answers for it.
CREATE TABLE road_segments (
    segment_id VARCHAR NOT NULL PRIMARY KEY,
    road_id    VARCHAR NOT NULL,
    direction  VARCHAR NOT NULL,
    from_m     DOUBLE NOT NULL,
    to_m       DOUBLE NOT NULL,
    brigade_id VARCHAR NOT NULL
) WITH (topic = 'road-segments', format = 'json', broadcast = true);

-- Working days with make-up days: every day of the years it covers.
CREATE TABLE calendar (
    day     DATE NOT NULL PRIMARY KEY,
    working BOOLEAN NOT NULL
) WITH (topic = 'calendar', format = 'json', broadcast = true);
