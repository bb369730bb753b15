-- Purpose:  what the portraits of units, officers, premises and enterprises read beside what other rules find.
-- Inputs:   topic label-rules.
-- Outputs:  a table; a new row of a label is in force for what happens from then on.

-- When a subject has a label: a share of what was looked at, and enough of both.
CREATE TABLE label_rules (
    label          VARCHAR NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    subject_kind   VARCHAR NOT NULL,        -- officer, unit, entity, enterprise
    measure        VARCHAR NOT NULL,        -- what is looked at: see portraits.sql
    window_days    INT NOT NULL,            -- so many days back
    hits_min       INT NOT NULL,            -- at least so many times
    n_min          INT NOT NULL,            -- of at least so many that were looked at
    share_min      DOUBLE NOT NULL,         -- and at least this share of them
    adverse        BOOLEAN NOT NULL,        -- it speaks against the subject: a proposal until an officer approves
    PRIMARY KEY (label, effective_from)
) WITH (topic = 'label-rules', format = 'json', valid_from = 'effective_from');
