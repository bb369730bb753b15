-- Purpose:    when a toll station is closed, vehicles whose way does not touch the affected stretch may ask for a code and
--             pass.
-- Inputs:     pass_requests, station_closures, route_legs, pass_policy, passages, devices.
-- Outputs:    sinks pass_decisions (append with revision; grant with its expiry, or deny with its reason; a grant is taken back
--             when a closure on its way comes up), pass_breaches (append with revision; seen within an affected stretch under a
--             grant; needs_approval), pass_days (upsert by local day and station). Consumers: toll stations, the drivers'
--             phones, brigades, the traffic-safety office.
-- Rules:      the first that holds denies: no_plate; not_closed (the station is open, no code is needed); not_promised;
--             class_not_allowed; unknown_route; affected (a leg of the route meets a stretch that is closed at some time
--             between the request and the expiry). A closure holds from from_at (included) until to_at (excluded). A breach is
--             told of the latest grant before the passage.
-- Thresholds: pass_policy of the vehicle class at the request; where none is in force: all but hazmat are allowed, for 120
--             minutes.
-- Limits:     requests and their passages are remembered for 30 days.

CREATE TABLE request_states WITH (allowed_lateness = '30 days') AS
SELECT
    date_trunc('day', requested_at) AS day, request_id, requested_at, plate, vehicle_class, entry_station_id, exit_station_id,
    promised
FROM (
    SELECT
        request_id, requested_at, plate_normalize(plate) AS plate, vehicle_class, entry_station_id, exit_station_id, promised
    FROM pass_requests
) AS r
GROUP BY
    date_trunc('day', requested_at), request_id, requested_at, plate, vehicle_class, entry_station_id, exit_station_id,
    promised
EMIT CHANGES;

CREATE VIEW timed_requests AS
SELECT
    *, requested_at + valid_min * INTERVAL '1 minute' AS expires_at
FROM (
    SELECT
        r.*,
        coalesce(p.allowed, r.vehicle_class <> 'hazmat') AS allowed,
        coalesce(p.valid_min, 120) AS valid_min
    FROM request_states AS r
    LEFT JOIN pass_policy FOR SYSTEM_TIME AS OF r.requested_at AS p ON p.vehicle_class = r.vehicle_class
) AS r;

CREATE VIEW closed_requests AS
SELECT DISTINCT r.request_id
FROM timed_requests AS r
JOIN station_closures AS c
    ON c.station_id = r.entry_station_id AND c.from_at <= r.requested_at AND (c.to_at IS NULL OR c.to_at > r.requested_at);

CREATE VIEW known_routes AS
SELECT DISTINCT entry_station_id, exit_station_id FROM route_legs;

-- The stretches that are closed on the way of a pair of stations, whenever.
CREATE VIEW closed_routes AS
SELECT DISTINCT l.entry_station_id, l.exit_station_id, c.closure_id, c.from_at, c.to_at
FROM route_legs AS l
JOIN station_closures AS c
    ON c.road_id = l.road_id AND l.from_m < c.to_m AND c.from_m < l.to_m
    AND (c.direction IS NULL OR c.direction = l.direction);

CREATE VIEW affected_requests AS
SELECT DISTINCT r.request_id
FROM timed_requests AS r
JOIN closed_routes AS c
    ON c.entry_station_id = r.entry_station_id AND c.exit_station_id = r.exit_station_id
    AND c.from_at < r.expires_at AND (c.to_at IS NULL OR c.to_at > r.requested_at);

CREATE TABLE decided_requests (PRIMARY KEY (request_id)) AS
SELECT
    r.request_id, r.day, r.requested_at, r.plate, r.entry_station_id, r.exit_station_id, r.expires_at,
    CASE
        WHEN r.plate IS NULL THEN 'no_plate'
        WHEN c.request_id IS NULL THEN 'not_closed'
        WHEN NOT r.promised THEN 'not_promised'
        WHEN NOT r.allowed THEN 'class_not_allowed'
        WHEN k.entry_station_id IS NULL THEN 'unknown_route'
        WHEN a.request_id IS NOT NULL THEN 'affected'
    END AS reason
FROM timed_requests AS r
LEFT JOIN closed_requests AS c ON c.request_id = r.request_id
LEFT JOIN known_routes AS k ON k.entry_station_id = r.entry_station_id AND k.exit_station_id = r.exit_station_id
LEFT JOIN affected_requests AS a ON a.request_id = r.request_id;

CREATE SINK pass_decisions WITH (topic = 'pass-decisions', format = 'json', key = 'request_id', emit_time = 'requested_at') AS
SELECT
    after.request_id AS request_id,
    after.plate AS plate,
    after.entry_station_id AS entry_station_id,
    after.exit_station_id AS exit_station_id,
    after.requested_at AS requested_at,
    CASE WHEN after.reason IS NULL THEN 'grant' ELSE 'deny' END AS decision,
    after.reason AS reason,
    CASE WHEN after.reason IS NULL THEN after.expires_at END AS expires_at,
    revision
FROM CHANGES(decided_requests)
WHERE after.request_id IS NOT NULL;

-- === kept to ===

CREATE VIEW request_passages AS
SELECT r.request_id, r.requested_at, p.passage_id, p.device_id, p.passed_at
FROM (SELECT request_id, requested_at, plate_normalize(plate) AS plate FROM pass_requests) AS r
JOIN (SELECT passage_id, device_id, passed_at, plate_normalize(plate) AS plate FROM passages) AS p
    ON p.plate = r.plate AND p.passed_at >= r.requested_at AND p.passed_at <= r.requested_at + INTERVAL '1 day';

CREATE TABLE observed_passages WITH (allowed_lateness = '30 days') AS
SELECT date_trunc('day', requested_at) AS day, request_id, requested_at, passage_id, device_id, passed_at
FROM request_passages
GROUP BY date_trunc('day', requested_at), request_id, requested_at, passage_id, device_id, passed_at
EMIT CHANGES;

CREATE VIEW affected_passages AS
SELECT DISTINCT
    o.passage_id, o.request_id, o.requested_at, o.device_id, o.passed_at, d.plate,
    v.road_id, v.direction, v.chainage_m
FROM observed_passages AS o
JOIN decided_requests AS d ON d.request_id = o.request_id
JOIN devices AS v ON v.device_id = o.device_id
JOIN station_closures AS c
    ON c.road_id = v.road_id AND v.chainage_m >= c.from_m AND v.chainage_m < c.to_m
    AND (c.direction IS NULL OR c.direction = v.direction)
    AND c.from_at <= o.passed_at AND (c.to_at IS NULL OR c.to_at > o.passed_at)
WHERE d.reason IS NULL AND o.passed_at < d.expires_at;

CREATE TABLE breached_passes (PRIMARY KEY (passage_id)) AS
SELECT passage_id, request_id, device_id, passed_at, plate, road_id, direction, chainage_m
FROM (
    SELECT *, row_number() OVER (PARTITION BY passage_id ORDER BY requested_at DESC, request_id) AS latest
    FROM affected_passages
) AS p
WHERE latest = 1;

CREATE SINK pass_breaches WITH (topic = 'pass-breaches', format = 'json', key = 'request_id', emit_time = 'passed_at') AS
SELECT
    coalesce(after.passage_id, before.passage_id) AS passage_id,
    coalesce(after.request_id, before.request_id) AS request_id,
    coalesce(after.plate, before.plate) AS plate,
    coalesce(after.device_id, before.device_id) AS device_id,
    coalesce(after.passed_at, before.passed_at) AS passed_at,
    CASE WHEN after.passage_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(breached_passes);

CREATE TABLE pass_day_counts (PRIMARY KEY (day, entry_station_id)) AS
SELECT
    day, entry_station_id, count(*) AS requests, sum(CASE WHEN reason IS NULL THEN 1 ELSE 0 END) AS granted,
    sum(CASE WHEN reason = 'affected' THEN 1 ELSE 0 END) AS affected
FROM decided_requests
GROUP BY day, entry_station_id;

CREATE SINK pass_days WITH (topic = 'pass-days', format = 'json') AS
SELECT day, entry_station_id, requests, granted, affected FROM pass_day_counts;
