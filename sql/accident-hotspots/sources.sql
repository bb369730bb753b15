-- Purpose:  the topic that the accident-hotspots pack reads.
-- Inputs:   topic accidents; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  the stream of accidents.
-- Limits:   records arrive at most one day late; the first record of an accident counts, for ten years.

SET TIME ZONE = 'Asia/Shanghai';

CREATE STREAM accidents (
    accident_id VARCHAR NOT NULL PRIMARY KEY,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lon         DOUBLE,                       -- WGS84
    lat         DOUBLE,
    severity    VARCHAR                       -- fatal, serious, slight
) WITH (topic = 'accidents', format = 'json', event_time = 'occurred_at', watermark_delay = '1 day',
        idle_timeout = '1 minute', unique_for = '3650 days');
