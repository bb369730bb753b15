-- Purpose:  the topics that the rules of services read: calls, hidden dangers, closures and pass codes, mediation, counters.
-- Inputs:   topics named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables that may be corrected and deleted, and the requests for pass codes, which may not.
-- Limits:   records are remembered for 400 days unless said otherwise; a source that is silent for its idle_timeout holds no
--           deadline up. Phones and names are PRIVATE: no sink of this pack takes them.

-- === 12122 ===

-- A call to 12122 that reports something; follows names the report that it calls about again.
CREATE TABLE road_reports (
    report_id    VARCHAR NOT NULL PRIMARY KEY,
    called_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    kind         VARCHAR NOT NULL,          -- accident, breakdown, congestion, complaint, ..
    unit_id      VARCHAR,                   -- who is responsible, null until assigned
    follows      VARCHAR,
    caller_phone VARCHAR PRIVATE
) WITH (topic = 'road-reports', format = 'json', event_time = 'called_at', retention = '400 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

-- What became of it: replied, handled, fed_back, recorded.
CREATE TABLE report_steps (
    report_id VARCHAR NOT NULL,
    step      VARCHAR NOT NULL,
    done_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (report_id, step)
) WITH (topic = 'report-steps', format = 'json', event_time = 'done_at', retention = '400 days',
        watermark_delay = '1 minute', idle_timeout = '1 minute');

CREATE TABLE report_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    reply_min      INT NOT NULL,            -- from the call
    handle_min     INT NOT NULL,            -- from the reply
    feed_back_min  INT NOT NULL,            -- from the handling
    record_min     INT NOT NULL,            -- from the feedback
    once_days      INT NOT NULL             -- a call about it within so many days: not settled by one call
) WITH (topic = 'report-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
