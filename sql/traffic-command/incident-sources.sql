-- Purpose: the topics that the rules of roads and incidents read beside the register of accidents (campaign-sources.sql): what
--          happens on a road, and what is done about it.
-- Inputs:  topics named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs: tables of what cameras, officers and the control room say, and of policies.
-- Limits:  records that a control room keys in may be corrected (the latest row of a key counts) and deleted; what was derived
--          from them is derived again. A source that is silent for its idle_timeout holds no deadline up.

-- What the video analytics of a camera saw: one row a camera and sighting.
CREATE TABLE detections (
    detection_id VARCHAR NOT NULL PRIMARY KEY,
    device_id    VARCHAR NOT NULL,
    detected_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    event_class  VARCHAR NOT NULL,          -- accident, pedestrian, stopped_vehicle, wrong_way, dropped_object, ..
    confidence   DOUBLE,                    -- 0..1
    offset_m     DOUBLE                     -- from the camera along rising chainage, null is 0
) WITH (topic = 'detections', format = 'json', event_time = 'detected_at', retention = '400 days',
        watermark_delay = '5 seconds', idle_timeout = '10 seconds');

-- What the duty desk did about a pop-up, by any detection of it. Who confirms or rejects has thereby acknowledged.
CREATE TABLE event_handling (
    handling_id  VARCHAR NOT NULL PRIMARY KEY,
    detection_id VARCHAR NOT NULL,
    step         VARCHAR NOT NULL,          -- acknowledged, confirmed, false_alarm
    handled_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    officer_id   VARCHAR
) WITH (topic = 'event-handling', format = 'json', event_time = 'handled_at', retention = '400 days',
        watermark_delay = '5 seconds', idle_timeout = '10 seconds');

-- How detections of a class are taken together and how fast they must be acknowledged, from an instant on.
CREATE TABLE event_policy (
    event_class    VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    confidence_min DOUBLE NOT NULL,
    gap_s          INT NOT NULL,            -- detections of one event follow each other within it
    gap_m          INT NOT NULL,
    lead_s         INT NOT NULL,            -- of class accident: what is seen so long before it still is part of it
    acknowledge_s  INT NOT NULL,
    judged_min     INT NOT NULL,            -- a camera is judged from so many handled pop-ups a month on
    precision_min  DOUBLE NOT NULL,
    PRIMARY KEY (event_class, effective_from)
) WITH (topic = 'event-policy', format = 'json', valid_from = 'effective_from');

-- What the control room does about an accident from afar, each step once: located (the cameras are on it), evidence_kept,
-- protection_guided, parties_contacted, vehicles_removed; and officer_arrived, where one had to go.
CREATE TABLE guidance_steps (
    accident_id VARCHAR NOT NULL,
    step     VARCHAR NOT NULL,
    done_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (accident_id, step)
) WITH (topic = 'guidance-steps', format = 'json', event_time = 'done_at', retention = '2000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

CREATE TABLE guidance_policy (
    effective_from    TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    locate_s          INT NOT NULL,         -- from the accident until the cameras are on it
    protect_s         INT NOT NULL,         -- from the accident until the place is made safe
    contact_s         INT NOT NULL,         -- from the accident until the brigade has spoken with the parties
    remove_s          INT NOT NULL,         -- from the accident until the vehicles are off the carriageway
    quick_share_min   DOUBLE NOT NULL,      -- of all accidents of a month
    secondary_m       INT NOT NULL,         -- how far upstream
    secondary_s       INT NOT NULL,         -- for how long, while the first is not cleared
    secondary_tail_s  INT NOT NULL          -- for how long after it is cleared
) WITH (topic = 'guidance-policy', format = 'json', broadcast = true, valid_from = 'effective_from');

-- The sections of the road chiefs, from_m included, to_m excluded, both directions.
CREATE TABLE chief_sections (
    section_id VARCHAR NOT NULL PRIMARY KEY,
    road_id    VARCHAR NOT NULL,
    from_m     DOUBLE NOT NULL,
    to_m       DOUBLE NOT NULL
) WITH (topic = 'chief-sections', format = 'json', broadcast = true);

-- Who is on duty in a section, from starts_at (included) until ends_at (excluded). Times may overlap: then who came last.
CREATE TABLE chief_shifts (
    section_id VARCHAR NOT NULL,
    starts_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    chief_id   VARCHAR NOT NULL,
    PRIMARY KEY (section_id, starts_at)
) WITH (topic = 'chief-shifts', format = 'json');

-- What a chief reports of a task: accepted, arrived.
CREATE TABLE chief_responses (
    task_id      VARCHAR NOT NULL,
    step         VARCHAR NOT NULL,
    responded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    chief_id     VARCHAR,
    PRIMARY KEY (task_id, step)
) WITH (topic = 'chief-responses', format = 'json', event_time = 'responded_at', retention = '2000 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

CREATE TABLE chief_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    accept_s       INT NOT NULL,
    arrive_s       INT NOT NULL
) WITH (topic = 'chief-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
