-- Purpose:  what the warnings of road risk are computed with, beside violations, accidents, road segments and working days.
-- Inputs:   three topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  the weather on segments, what it does to risk, and the policy of warnings.
-- Limits:   weather is remembered for 30 days; it arrives at most a minute late.

-- What the weather is on a segment, or is forecast to be, from an instant until another.
CREATE TABLE segment_weather (
    segment_id  VARCHAR NOT NULL,
    valid_from  TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_until TIMESTAMP WITH TIME ZONE NOT NULL,
    weather     VARCHAR NOT NULL,           -- clear, rain, fog, snow_ice, crosswind, ..
    PRIMARY KEY (segment_id, valid_from)
) WITH (topic = 'segment-weather', format = 'json', valid_from = 'valid_from', event_time = 'valid_from',
        watermark_delay = '1 minute', retention = '30 days', max_future = '3 days');

-- By how much the expectation of accidents and violations grows in a kind of weather.
CREATE TABLE weather_factors (
    weather        VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    factor         DOUBLE NOT NULL,
    PRIMARY KEY (weather, effective_from)
) WITH (topic = 'weather-factors', format = 'json', valid_from = 'effective_from');

-- When a warning is due, each in force from an instant until the next.
CREATE TABLE risk_policy (
    effective_from           TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    history_months           INT NOT NULL,     -- complete calendar months before the one that is warned of
    observed_from            DATE,             -- since when records exist; null: for all of the history
    n_min                    INT NOT NULL,     -- so many events at least in the hour of the week
    ratio_min                DOUBLE NOT NULL,  -- so many times what is usual
    lead_minutes             INT NOT NULL,     -- so long before the hour a warning leaves
    night_from               INT NOT NULL,     -- hour of the day
    night_to                 INT NOT NULL,     -- hour of the day, excluded
    action_day_step          INT NOT NULL,     -- 5: on the 5th, 10th, 15th, 20th, 25th and 30th
    segments_per_hour        INT NOT NULL,     -- how many segments are recommended to a brigade for an hour
    segments_per_action_hour INT NOT NULL      -- the same in nights before which no work follows, and on action days
) WITH (topic = 'risk-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
