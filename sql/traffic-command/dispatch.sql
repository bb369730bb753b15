-- Purpose:    who goes to an accident: the nearest free officers for those with injured people, one for the others, and nobody
--             where two drivers can settle it between them by quick handling.
-- Inputs:     accident_calls, officer_positions, dispatch_policy.
-- Outputs:    sink dispatches (append with revision: officers in order of distance, or quick_handling, or no_officer).
--             Consumers: command centre, the officers' terminals, the parties' phones for quick handling.
-- Rules:      each officer of the brigade stands where the last position before the call says, if it is fresh; who is not
--             available there is not sent. Injured people: `units` officers. An accident is minor when nobody is injured, the
--             vehicles can be moved and are no more than minor_vehicles_max: then the parties are told how to settle it.
-- Thresholds: dispatch_policy at the instant of the call; where none is in force: positions of 300 seconds, 2 officers, 2
--             vehicles. What is not known is taken for the worse.

CREATE VIEW judged_calls AS
SELECT
    c.accident_id, c.called_at, c.brigade_id, c.lon, c.lat,
    coalesce(p.fresh_s, 300) AS fresh_s,
    CASE
        WHEN coalesce(c.injured, true) THEN coalesce(p.units, 2)
        WHEN coalesce(c.movable, false) AND c.vehicles <= coalesce(p.minor_vehicles_max, 2) THEN 0
        ELSE 1
    END AS units
FROM accident_calls AS c
LEFT JOIN dispatch_policy FOR SYSTEM_TIME AS OF c.called_at AS p ON TRUE;

CREATE TABLE call_states WITH (allowed_lateness = '1 day') AS
SELECT accident_id, date_trunc('day', called_at) AS day, called_at, brigade_id, units
FROM judged_calls
GROUP BY accident_id, date_trunc('day', called_at), called_at, brigade_id, units
EMIT CHANGES;

CREATE VIEW call_positions AS
SELECT
    c.accident_id, c.called_at, c.units, o.officer_id, o.located_at, o.available,
    haversine_m(c.lon, c.lat, o.lon, o.lat) AS distance_m
FROM judged_calls AS c
JOIN officer_positions AS o
    ON o.brigade_id = c.brigade_id
    AND o.located_at >= c.called_at - INTERVAL '10 minutes' AND o.located_at <= c.called_at
WHERE elapsed_ms(o.located_at, c.called_at) <= c.fresh_s * 1000;

CREATE TABLE call_officers WITH (allowed_lateness = '1 day') AS
SELECT accident_id, date_trunc('day', called_at) AS day, units, officer_id, located_at, available, distance_m
FROM call_positions
GROUP BY accident_id, date_trunc('day', called_at), units, officer_id, located_at, available, distance_m
EMIT CHANGES;

CREATE VIEW latest_positions AS
SELECT accident_id, day, units, officer_id, available, distance_m
FROM (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY accident_id, day, officer_id ORDER BY located_at DESC, available, distance_m
        ) AS latest
    FROM call_officers
) AS o
WHERE latest = 1;

CREATE VIEW nearest_officers AS
SELECT accident_id, day, array_agg(officer_id ORDER BY nearness) AS officers, max(distance_m) AS distance_m
FROM (
    SELECT *, row_number() OVER (PARTITION BY accident_id, day ORDER BY distance_m, officer_id) AS nearness
    FROM latest_positions
    WHERE available
) AS o
WHERE nearness <= units
GROUP BY accident_id, day;

CREATE TABLE dispatched_calls (PRIMARY KEY (accident_id)) AS
SELECT
    c.accident_id, c.brigade_id, c.called_at, c.units AS officers_due, n.officers, n.distance_m,
    CASE WHEN c.units = 0 THEN 'quick_handling' WHEN n.officers IS NULL THEN 'no_officer' ELSE 'dispatch' END AS action
FROM call_states AS c
LEFT JOIN nearest_officers AS n ON n.accident_id = c.accident_id AND n.day = c.day;

CREATE SINK dispatches WITH (
    topic = 'dispatches', format = 'json', key = 'accident_id', count_by = 'action', emit_time = 'called_at'
) AS
SELECT
    after.accident_id AS accident_id,
    after.action AS action,
    after.brigade_id AS brigade_id,
    after.called_at AS called_at,
    after.officers_due AS officers_due,
    after.officers AS officers,
    after.distance_m AS farthest_m,
    revision
FROM CHANGES(dispatched_calls)
WHERE after.accident_id IS NOT NULL;
