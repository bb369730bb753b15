-- Purpose:  what the rules of smart parking read.
-- Inputs:   topics parking-lots, parking-entries, parking-exits, parking-payments, parking-policy.
-- Outputs:  the streams of what gates and bays report and of payments; the tables of lots and of the policy.
-- Limits:   gates and bays report at most 5 minutes late, payments at most an hour; ids are unique for 40 days.

-- What a lot offers, from an instant on: where bays are added or closed there is another row.
CREATE TABLE parking_lots (
    lot_id         VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    name           VARCHAR NOT NULL,
    town           VARCHAR,
    bays           INT NOT NULL,
    tariff         VARCHAR,                 -- as shown to drivers
    lon            DOUBLE,                  -- WGS84
    lat            DOUBLE,
    PRIMARY KEY (lot_id, effective_from)
) WITH (topic = 'parking-lots', format = 'json', valid_from = 'effective_from');

-- A vehicle has entered: the gate, or the bay, opens a session.
CREATE STREAM parking_entries (
    session_id VARCHAR NOT NULL PRIMARY KEY,
    lot_id     VARCHAR NOT NULL,
    bay_id     VARCHAR,
    entered_at TIMESTAMP WITH TIME ZONE NOT NULL
) WITH (topic = 'parking-entries', format = 'json', event_time = 'entered_at', watermark_delay = '5 minutes',
        idle_timeout = '1 minute', unique_for = '40 days');

-- The vehicle has left; fee is what the session costs as a whole, 0 within the free minutes.
CREATE STREAM parking_exits (
    session_id VARCHAR NOT NULL PRIMARY KEY,
    lot_id     VARCHAR NOT NULL,
    left_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    fee        DECIMAL(10, 2) NOT NULL
) WITH (topic = 'parking-exits', format = 'json', event_time = 'left_at', watermark_delay = '5 minutes',
        idle_timeout = '1 minute', unique_for = '40 days');

-- Money for a session, at the gate, by telephone, or afterwards; a refund is negative.
CREATE STREAM parking_payments (
    payment_id VARCHAR NOT NULL PRIMARY KEY,
    session_id VARCHAR NOT NULL,
    paid_at    TIMESTAMP WITH TIME ZONE NOT NULL,
    amount     DECIMAL(10, 2) NOT NULL
) WITH (topic = 'parking-payments', format = 'json', event_time = 'paid_at', watermark_delay = '1 hour',
        idle_timeout = '1 minute', unique_for = '40 days');

CREATE TABLE parking_policy (
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL PRIMARY KEY,
    stay_hours     INT NOT NULL,            -- a session without an exit after so long: its exit was missed
    grace_hours    INT NOT NULL,            -- a session counts as paid if it is within so long of the exit
    chase_days     INT NOT NULL,            -- a debt that is paid within so long is withdrawn
    scarce_below   DOUBLE NOT NULL          -- the share of free bays below which a lot is scarce
) WITH (topic = 'parking-policy', format = 'json', broadcast = true, valid_from = 'effective_from');
