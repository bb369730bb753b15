-- Purpose:  what several rules of the urban-management pack read; what only one group of rules reads stands in a file of
--           sources of its own beside them.
-- Inputs:   topics named as the relations with hyphens; JSON; timestamps in RFC 3339 with offset.
-- Outputs:  tables of units, grids and working days.

SET TIME ZONE = 'Asia/Shanghai';

-- Who enforces: brigades, squadrons, town teams, departments.
CREATE TABLE units (
    unit_id   VARCHAR NOT NULL PRIMARY KEY,
    name      VARCHAR NOT NULL,
    unit_kind VARCHAR NOT NULL,             -- units are compared with those of their kind: brigade, town, department, ..
    city      VARCHAR NOT NULL,
    town      VARCHAR
) WITH (topic = 'units', format = 'json', broadcast = true);

-- Working days with make-up days: every day of the years it covers.
CREATE TABLE calendar (
    day     DATE NOT NULL PRIMARY KEY,
    working BOOLEAN NOT NULL
) WITH (topic = 'calendar', format = 'json', broadcast = true);
