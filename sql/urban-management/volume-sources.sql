-- Purpose:  what the figures on the order of streets read beside the cases.
-- Inputs:   topics disorder-reports, volume-policy.
-- Outputs:  tables; a tombstone takes a report back.
-- Limits:   reports are remembered for 1200 days: three years and the month before.

-- A disorder that was seen or reported: one of the "ten chaos", such as stalls on the road or rubbish thrown about.
CREATE TABLE disorder_reports (
    report_id     VARCHAR NOT NULL PRIMARY KEY,
    disorder_kind VARCHAR NOT NULL,
    town          VARCHAR,
    incident_id   VARCHAR,                  -- what several reports are about, where that is known
    reported_at   TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'disorder-reports', format = 'json', event_time = 'reported_at', watermark_delay = '1 hour',
        idle_timeout = '10 minutes', retention = '1200 days');

CREATE TABLE volume_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    rank_cases_min INT NOT NULL             -- units with fewer cases in a year are not ranked
) WITH (topic = 'volume-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
