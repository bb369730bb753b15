-- Purpose:  the topics that the accident-hotspots pack reads.
-- Inputs:   topics accidents and hotspot-policy; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  the stream of accidents, and the table of thresholds.
-- Limits:   scores take what arrives at most one day late, alerts later accidents too. The first record of an accident counts, for ten
--           years. One dated more than a day ahead is rejected, lest a wrong clock end the year for all others.

SET TIME ZONE = 'Asia/Shanghai';

CREATE STREAM accidents (
    accident_id VARCHAR NOT NULL PRIMARY KEY,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lon         DOUBLE,                       -- WGS84
    lat         DOUBLE,
    severity    VARCHAR                       -- fatal, serious, slight
) WITH (topic = 'accidents', format = 'json', event_time = 'occurred_at', watermark_delay = '1 day',
        idle_timeout = '1 minute', unique_for = '3650 days', max_future = '1 day');

-- When a neighbourhood is a hotspot; each row in force from an instant until the next.
CREATE TABLE hotspot_policy (
    effective_from      TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    window_days         INT NOT NULL,         -- accidents of so many days are counted
    baseline_days       INT NOT NULL,         -- against those of so many days before them
    n_min               INT NOT NULL,         -- fewer distinct accidents are no hotspot
    alpha               DOUBLE NOT NULL,      -- opens below this probability
    clear_above         DOUBLE NOT NULL,      -- and is cleared above this one
    same_event_minutes  INT NOT NULL,         -- accidents that follow within these are one event
    prior_mean          DOUBLE NOT NULL,      -- accidents a neighbourhood and year before more is known; the least expected
    prior_accidents     DOUBLE NOT NULL,      -- how many accidents it takes to believe the register half as much
    dispersion_max      DOUBLE NOT NULL,      -- neighbourhoods are held to differ at most so much
    overdispersion_from DOUBLE NOT NULL,      -- variance / mean of a year above which the tail is negative binomial
    sender              VARCHAR               -- who answers for CAP alerts, as a domain name
) WITH (topic = 'hotspot-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
