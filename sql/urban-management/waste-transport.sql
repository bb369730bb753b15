-- Purpose:    transports of construction waste that are not what was approved.
-- Inputs:     vehicle_positions, waste_vehicles, waste_approvals, disposal_sites, waste_voids, waste_limits, waste_policy.
-- Outputs:    sink waste_violations (append; partition key vehicle_id): issued when a violation has lasted long enough,
--             withdrawn when an approval that arrives late, a position or a void takes its ground away. Consumers: the
--             enterprise, and enforcement, which decides: needs_approval is true.
--             sink approval_faults (upsert by approval_id): approvals whose corridor or place of disposal cannot be read.
--             sink position_faults (append, final per day): positions without a place, by vehicle.
-- Rules:      of each vehicle and minute the last position with a place counts. A vehicle whose load sensor says that it is
--             loaded and that moves is
--               no_approval   if no approval of it is valid at the minute,
--               out_of_hours  if some are, but the minute is outside the hours of all of them,
--               off_route     if it is outside the corridors of all that are valid at the hour.
--             A vehicle that stands with its body raised is
--               illegal_dump  if it is outside the places of disposal of all its valid approvals.
--             A violation begins with the first such minute and goes on while the next follows within 5 minutes; it is
--             issued when it has lasted for as many minutes as waste_limits says. Without a word of the load sensor nothing
--             is said; what cannot be read of an approval is held against nobody.
-- Thresholds: waste_limits at the beginning (5 minutes each, illegal_dump 1), waste_policy at the minute (tolerance_m 50,
--             stop_kmh 3).
-- Limits:     a position within tolerance_m of a corridor counts as inside; eight points at that distance are asked, so
--             that a corner may miss by 8 % of it. After two days a minute stays as it was judged; minutes of violations
--             are kept for good.

CREATE VIEW placed_positions AS
SELECT *, lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90 AND NOT (lon = 0 AND lat = 0) AS has_place FROM vehicle_positions;

CREATE SINK position_faults WITH (topic = 'position-faults', format = 'json', key = 'vehicle_id') AS
SELECT vehicle_id, window_start, count(*) AS positions, count(*) FILTER (WHERE has_place IS NOT TRUE) AS without_place
FROM placed_positions
GROUP BY vehicle_id, tumble(positioned_at, INTERVAL '1 day')
HAVING count(*) FILTER (WHERE has_place IS NOT TRUE) > 0
EMIT FINAL;

CREATE TABLE vehicle_minutes WITH (allowed_lateness = '2 days') AS
SELECT
    vehicle_id, window_start AS at_minute,
    max(named_struct(
        'positioned_at', positioned_at, 'lon', lon, 'lat', lat, 'speed_kmh', speed_kmh, 'loaded', loaded, 'tipping', tipping
    )) AS latest
FROM placed_positions
WHERE has_place
GROUP BY vehicle_id, tumble(positioned_at, INTERVAL '1 minute')
EMIT CHANGES;

CREATE VIEW minute_positions AS
SELECT
    vehicle_id, at_minute, latest['lon'] AS lon, latest['lat'] AS lat, latest['speed_kmh'] AS speed_kmh,
    latest['loaded'] AS loaded, latest['tipping'] AS tipping
FROM vehicle_minutes;

-- Minutes in which something could be wrong, with the tolerance in degrees.
CREATE VIEW telling_minutes AS
SELECT
    m.vehicle_id, m.at_minute, m.lon, m.lat,
    coalesce(m.loaded, false) AND m.speed_kmh > coalesce(p.stop_kmh, 3) AS is_hauling,
    coalesce(m.tipping, false) AND m.speed_kmh <= coalesce(p.stop_kmh, 3) AS is_tipping,
    coalesce(p.tolerance_m, 50) / 111320 / cos(radians(m.lat)) AS dx,
    coalesce(p.tolerance_m, 50) / 111320 AS dy
FROM minute_positions AS m
LEFT JOIN waste_policy FOR SYSTEM_TIME AS OF m.at_minute AS p ON TRUE
WHERE coalesce(m.loaded, false) OR coalesce(m.tipping, false);

CREATE VIEW approved_transports AS
SELECT a.approval_id, a.vehicle_id, a.valid_from, a.valid_to, a.hours_from, a.hours_to, a.corridor, d.area
FROM waste_approvals AS a
LEFT JOIN disposal_sites AS d ON d.dump_id = a.dump_id;

CREATE SINK approval_faults WITH (topic = 'approval-faults', format = 'json') AS
SELECT
    approval_id, vehicle_id,
    point_in_polygon(0, 0, corridor) IS NULL AS corridor_unreadable,
    point_in_polygon(0, 0, area) IS NULL AS disposal_unreadable
FROM approved_transports
WHERE point_in_polygon(0, 0, corridor) IS NULL OR point_in_polygon(0, 0, area) IS NULL;

CREATE VIEW approved_minutes AS
SELECT
    m.vehicle_id, m.at_minute, m.is_hauling, m.is_tipping, a.approval_id,
    CASE
        WHEN a.hours_from = a.hours_to THEN true
        WHEN a.hours_from < a.hours_to
            THEN to_char(m.at_minute, '%H:%M') >= a.hours_from AND to_char(m.at_minute, '%H:%M') < a.hours_to
        ELSE to_char(m.at_minute, '%H:%M') >= a.hours_from OR to_char(m.at_minute, '%H:%M') < a.hours_to
    END AS in_hours,
    point_in_polygon(m.lon, m.lat, a.corridor)
        OR point_in_polygon(m.lon + m.dx, m.lat, a.corridor)
        OR point_in_polygon(m.lon - m.dx, m.lat, a.corridor)
        OR point_in_polygon(m.lon, m.lat + m.dy, a.corridor)
        OR point_in_polygon(m.lon, m.lat - m.dy, a.corridor)
        OR point_in_polygon(m.lon + m.dx * 0.7071, m.lat + m.dy * 0.7071, a.corridor)
        OR point_in_polygon(m.lon + m.dx * 0.7071, m.lat - m.dy * 0.7071, a.corridor)
        OR point_in_polygon(m.lon - m.dx * 0.7071, m.lat + m.dy * 0.7071, a.corridor)
        OR point_in_polygon(m.lon - m.dx * 0.7071, m.lat - m.dy * 0.7071, a.corridor) AS on_route,
    point_in_polygon(m.lon, m.lat, a.area)
        OR point_in_polygon(m.lon + m.dx, m.lat, a.area)
        OR point_in_polygon(m.lon - m.dx, m.lat, a.area)
        OR point_in_polygon(m.lon, m.lat + m.dy, a.area)
        OR point_in_polygon(m.lon, m.lat - m.dy, a.area)
        OR point_in_polygon(m.lon + m.dx * 0.7071, m.lat + m.dy * 0.7071, a.area)
        OR point_in_polygon(m.lon + m.dx * 0.7071, m.lat - m.dy * 0.7071, a.area)
        OR point_in_polygon(m.lon - m.dx * 0.7071, m.lat + m.dy * 0.7071, a.area)
        OR point_in_polygon(m.lon - m.dx * 0.7071, m.lat - m.dy * 0.7071, a.area) AS at_dump
FROM telling_minutes AS m
LEFT JOIN approved_transports AS a
    ON a.vehicle_id = m.vehicle_id AND m.at_minute >= a.valid_from AND m.at_minute < a.valid_to;

CREATE VIEW judged_minutes AS
SELECT
    vehicle_id, at_minute, bool_or(is_hauling) AS is_hauling, bool_or(is_tipping) AS is_tipping,
    count(approval_id) AS approvals,
    count(*) FILTER (WHERE in_hours) AS approvals_in_hours,
    count(*) FILTER (WHERE in_hours AND on_route IS NOT FALSE) AS approvals_on_route,
    count(approval_id) FILTER (WHERE at_dump IS NOT FALSE) AS approvals_at_dump
FROM approved_minutes
GROUP BY vehicle_id, at_minute;

CREATE VIEW violating_minutes AS
SELECT vehicle_id, 'no_approval' AS violation, at_minute FROM judged_minutes WHERE is_hauling AND approvals = 0
UNION ALL
SELECT vehicle_id, 'out_of_hours', at_minute
FROM judged_minutes WHERE is_hauling AND approvals > 0 AND approvals_in_hours = 0
UNION ALL
SELECT vehicle_id, 'off_route', at_minute
FROM judged_minutes WHERE is_hauling AND approvals_in_hours > 0 AND approvals_on_route = 0
UNION ALL
SELECT vehicle_id, 'illegal_dump', at_minute FROM judged_minutes WHERE is_tipping AND approvals_at_dump = 0;

CREATE VIEW violation_runs AS
SELECT vehicle_id, violation, min(at_minute) AS started_at, max(at_minute) AS lasts_until
FROM violating_minutes
GROUP BY vehicle_id, violation, session(at_minute, INTERVAL '5 minutes');

CREATE VIEW lasting_runs AS
SELECT
    r.vehicle_id, r.violation, r.started_at,
    r.vehicle_id || '/' || r.violation || '/' || to_char(r.started_at, '%Y-%m-%dT%H:%M') AS violation_id
FROM violation_runs AS r
LEFT JOIN waste_limits FOR SYSTEM_TIME AS OF r.started_at AS l ON l.violation = r.violation
WHERE elapsed_ms(r.started_at, r.lasts_until)
    >= 60000 * coalesce(l.minutes, CASE WHEN r.violation = 'illegal_dump' THEN 1 ELSE 5 END);

-- It holds what a violation_id determines, nothing that grows while the violation lasts: every change is written.
CREATE TABLE issued_violations (PRIMARY KEY (violation_id)) AS
SELECT r.violation_id, r.violation, r.vehicle_id, v.plate, v.enterprise_id, r.started_at
FROM lasting_runs AS r
LEFT JOIN waste_vehicles AS v ON v.vehicle_id = r.vehicle_id
WHERE NOT EXISTS (SELECT 1 FROM waste_voids AS x WHERE x.violation_id = r.violation_id);

CREATE SINK waste_violations WITH (
    topic = 'waste-violations', format = 'json', key = 'vehicle_id', count_by = 'violation', emit_time = 'started_at'
) AS
SELECT
    coalesce(after.violation_id, before.violation_id) AS violation_id,
    coalesce(after.violation, before.violation) AS violation,
    coalesce(after.vehicle_id, before.vehicle_id) AS vehicle_id,
    CASE WHEN after.violation_id IS NULL THEN before.plate ELSE after.plate END AS plate,
    CASE WHEN after.violation_id IS NULL THEN before.enterprise_id ELSE after.enterprise_id END AS enterprise_id,
    coalesce(after.started_at, before.started_at) AS started_at,
    CASE WHEN after.violation_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(issued_violations);
