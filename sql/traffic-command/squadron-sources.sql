-- Purpose:  which squadron answers for which townships, and which three chiefs for which segment.
-- Inputs:   five topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables of squadrons, their townships, chiefs and the policy.
-- Limits:   what is to hold from a later instant on may be sent ahead; it counts when updated_at, or the clock, has come to it.

CREATE TABLE squadrons (
    squadron_id VARCHAR NOT NULL PRIMARY KEY,
    brigade_id  VARCHAR NOT NULL,
    division    VARCHAR,                    -- GB/T 2260, six digits
    model       BOOLEAN                     -- recognised as a model digital squadron
) WITH (topic = 'squadrons', format = 'json');

CREATE TABLE squadron_townships (
    township       VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    squadron_id    VARCHAR,                 -- null: nobody from then on
    updated_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (township, effective_from)
) WITH (topic = 'squadron-townships', format = 'json', event_time = 'updated_at', watermark_delay = '1 minute');

-- The roles of which every segment needs a chief: three in the three-chiefs system.
CREATE TABLE segment_chief_roles (
    role  VARCHAR NOT NULL PRIMARY KEY,
    title VARCHAR
) WITH (topic = 'segment-chief-roles', format = 'json', broadcast = true);

CREATE TABLE segment_chiefs (
    segment_id     VARCHAR NOT NULL,
    role           VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    officer_id     VARCHAR,                 -- null: nobody from then on
    updated_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (segment_id, role, effective_from)
) WITH (topic = 'segment-chiefs', format = 'json', valid_from = 'effective_from', event_time = 'updated_at',
        watermark_delay = '1 minute');

CREATE TABLE squadron_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    townships_max  INT NOT NULL,
    updated_at     TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'squadron-policy', format = 'json', event_time = 'updated_at', watermark_delay = '1 minute');
