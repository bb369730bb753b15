-- Purpose:  what an officer decides about the exposure of enterprises and banned drivers, and by which measure they are proposed.
-- Inputs:   three topics, named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables of approvals, exposure events and the policy.
-- Limits:   events are remembered for 800 days.

-- That a named officer lets something be published; a tombstone takes the approval back.
CREATE TABLE exposure_approvals (
    subject_kind VARCHAR NOT NULL,          -- enterprise, driver
    subject_id   VARCHAR NOT NULL,
    period       VARCHAR NOT NULL,          -- the month of an enterprise, YYYY-MM; life for a driver's ban
    approved_by  VARCHAR NOT NULL,
    approved_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (subject_kind, subject_id, period)
) WITH (topic = 'exposure-approvals', format = 'json');

-- Press conferences, broadcasts, posts.
CREATE TABLE exposure_events (
    event_id VARCHAR NOT NULL PRIMARY KEY,
    division VARCHAR NOT NULL,              -- GB/T 2260, six digits
    held_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    medium   VARCHAR
) WITH (topic = 'exposure-events', format = 'json', event_time = 'held_at', watermark_delay = '1 minute', retention = '800 days');

-- Whom to propose, each in force from an instant until the next.
CREATE TABLE exposure_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    fleet_min      INT NOT NULL,            -- smaller fleets are not compared
    top_n          INT NOT NULL,            -- so many enterprises of a month at most
    ratio_factor   DOUBLE NOT NULL,         -- and only those with so many times the ratio of all that are compared
    summon_share   DOUBLE NOT NULL,         -- the share of an enterprise's vehicles and drivers overdue from which it is summoned
    summon_min     INT NOT NULL             -- and how many at least
) WITH (topic = 'exposure-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
