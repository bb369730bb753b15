-- Purpose:    how many bays of each lot are free now, how often they turn over, and what the sensors missed.
-- Inputs:     parking_lots, parking_entries, parking_exits, parking_policy.
-- Outputs:    sink parking_margins (upsert by lot_id): the guidance that drivers see (public account, road signs).
--             sink parking_days (upsert by lot_id and day): demand and turnover, for planners; and the faults of the
--             sensors.
--             sink parking_hours (upsert by lot_id and window_start): demand by clock hour.
--             sink parking_faults (append): sessions whose exit or entry was missed, for whoever keeps the sensors.
-- Rules:      a vehicle is there from its entry until its exit. A session without an exit after stay_hours is a missed
--             exit, and its vehicle no longer counts; an exit without an entry is a missed entry, and takes no vehicle
--             away. What is shown lies between 0 and the number of bays; how far the count is beyond is published beside
--             it, not hidden. Turnover is departures a bay and day; the bays are those in force at the day's last instant.
-- Thresholds: parking_policy at the entry (stay_hours) and at the lot's latest movement (scarce_below); 168 hours and 0.1
--             where no policy is in force.
-- Limits:     the day of a missed exit is that of its entry; days and hours take records up to 7 days late. A lot without a
--             departure on a day has no row for it unless something else moved.

CREATE VIEW parked_vehicles AS
SELECT
    e.session_id, e.lot_id, e.bay_id, e.entered_at,
    e.entered_at + coalesce(p.stay_hours, 168) * INTERVAL '1 hour' AS stays_until
FROM parking_entries AS e
LEFT JOIN parking_policy FOR SYSTEM_TIME AS OF e.entered_at AS p ON TRUE;

CREATE STREAM missed_exits AS
SELECT e.session_id, e.lot_id, e.bay_id, e.entered_at
FROM parked_vehicles AS e
WHERE NOT EXISTS (
    SELECT 1 FROM parking_exits AS x
    WHERE x.session_id = e.session_id AND x.lot_id = e.lot_id AND x.left_at >= e.entered_at AND x.left_at <= e.stays_until
);

CREATE STREAM missed_entries AS
SELECT x.session_id, x.lot_id, x.left_at
FROM parking_exits AS x
WHERE NOT EXISTS (
    SELECT 1 FROM parked_vehicles AS e
    WHERE e.session_id = x.session_id AND e.lot_id = x.lot_id AND x.left_at >= e.entered_at AND x.left_at <= e.stays_until
);

-- Each movement with what it does to the number of vehicles: an exit whose entry was missed is undone by its fault.
CREATE VIEW parking_movements AS
SELECT lot_id, entered_at AS moved_at, 'entry' AS movement, 1 AS step FROM parking_entries
UNION ALL
SELECT lot_id, left_at, 'exit', -1 FROM parking_exits
UNION ALL
SELECT lot_id, entered_at, 'missed_exit', -1 FROM missed_exits
UNION ALL
SELECT lot_id, left_at, 'missed_entry', 1 FROM missed_entries;

-- === margins ===

CREATE VIEW lot_counts AS
SELECT lot_id, sum(step) AS present, max(moved_at) AS moved_at FROM parking_movements GROUP BY lot_id;

CREATE VIEW counted_lots AS
SELECT l.lot_id, coalesce(c.present, 0) AS present, greatest(coalesce(c.moved_at, l.opened_at), l.opened_at) AS moved_at
FROM (SELECT lot_id, min(effective_from) AS opened_at FROM parking_lots GROUP BY lot_id) AS l
LEFT JOIN lot_counts AS c ON c.lot_id = l.lot_id;

CREATE VIEW occupied_lots AS
SELECT
    c.lot_id, l.name, l.town, l.lon, l.lat, l.tariff, l.bays, c.present,
    greatest(least(c.present, l.bays), 0) AS occupied,
    coalesce(p.scarce_below, 0.1) AS scarce_below
FROM counted_lots AS c
JOIN parking_lots FOR SYSTEM_TIME AS OF c.moved_at AS l ON l.lot_id = c.lot_id
LEFT JOIN parking_policy FOR SYSTEM_TIME AS OF c.moved_at AS p ON TRUE;

CREATE SINK parking_margins WITH (topic = 'parking-margins', format = 'json') AS
SELECT
    lot_id, name, town, lon, lat, tariff, bays, occupied,
    bays - occupied AS margin,
    CASE
        WHEN bays - occupied = 0 THEN 'full'
        WHEN bays - occupied < scarce_below * bays THEN 'scarce'
        ELSE 'free'
    END AS state,
    greatest(present - bays, 0) AS overcount,
    greatest(-present, 0) AS undercount
FROM occupied_lots;

-- === demand and turnover ===

CREATE TABLE lot_days WITH (allowed_lateness = '7 days') AS
SELECT
    lot_id, window_start, window_time,
    count(*) FILTER (WHERE movement = 'entry') AS arrivals,
    count(*) FILTER (WHERE movement = 'exit') AS departures,
    count(*) FILTER (WHERE movement = 'missed_exit') AS missed_exits,
    count(*) FILTER (WHERE movement = 'missed_entry') AS missed_entries
FROM parking_movements
GROUP BY lot_id, tumble(moved_at, INTERVAL '1 day')
EMIT CHANGES;

CREATE SINK parking_days WITH (topic = 'parking-days', format = 'json') AS
SELECT
    d.lot_id, d.window_start, local_date(d.window_start) AS day, l.town,
    d.arrivals, d.departures, l.bays,
    CAST(d.departures AS DOUBLE) / nullif(l.bays, 0) AS turnover,
    d.missed_exits, d.missed_entries
FROM lot_days AS d
LEFT JOIN parking_lots FOR SYSTEM_TIME AS OF d.window_time AS l ON l.lot_id = d.lot_id;

CREATE SINK parking_hours WITH (topic = 'parking-hours', format = 'json', allowed_lateness = '7 days') AS
SELECT
    lot_id, window_start,
    count(*) FILTER (WHERE movement = 'entry') AS arrivals,
    count(*) FILTER (WHERE movement = 'exit') AS departures
FROM parking_movements
WHERE movement IN ('entry', 'exit')
GROUP BY lot_id, tumble(moved_at, INTERVAL '1 hour')
EMIT CHANGES;

-- === faults ===

CREATE SINK parking_faults WITH (topic = 'parking-faults', format = 'json', key = 'lot_id', count_by = 'fault') AS
SELECT session_id, 'missed_exit' AS fault, lot_id, bay_id, entered_at AS moved_at FROM missed_exits
UNION ALL
SELECT session_id, 'missed_entry', lot_id, CAST(NULL AS VARCHAR), left_at FROM missed_entries;
