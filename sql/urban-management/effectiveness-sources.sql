-- Purpose:  what the index of effectiveness reads beside what other rules of this pack measure.
-- Inputs:   topics indicators, aspect-weights, reported-indicators.
-- Outputs:  tables; a corrected weight, definition or value moves every index that follows from it.

-- What is evaluated, under which aspect, and what is expected.
CREATE TABLE indicators (
    indicator_id   VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    aspect         VARCHAR NOT NULL,        -- team_building, performance, coordination, norms, effects
    unit_kind      VARCHAR,                 -- whom it concerns; null: all
    weight         DOUBLE NOT NULL,         -- within the aspect; 0: no longer evaluated
    target         DOUBLE NOT NULL,
    less_is_better BOOLEAN NOT NULL,
    PRIMARY KEY (indicator_id, effective_from)
) WITH (topic = 'indicators', format = 'json', valid_from = 'effective_from');

-- The shares of the five aspects; they make 1.
CREATE TABLE aspect_weights (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    team_building  DOUBLE NOT NULL,
    performance    DOUBLE NOT NULL,
    coordination   DOUBLE NOT NULL,
    norms          DOUBLE NOT NULL,
    effects        DOUBLE NOT NULL
) WITH (topic = 'aspect-weights', format = 'json', broadcast = true, valid_from = 'effective_from');

-- What units report of themselves for a month, as what was reached of what.
CREATE TABLE reported_indicators (
    unit_id      VARCHAR NOT NULL,
    month        VARCHAR NOT NULL,          -- YYYY-MM
    indicator_id VARCHAR NOT NULL,
    numerator    DOUBLE NOT NULL,
    denominator  DOUBLE NOT NULL,
    PRIMARY KEY (unit_id, month, indicator_id)
) WITH (topic = 'reported-indicators', format = 'json');
