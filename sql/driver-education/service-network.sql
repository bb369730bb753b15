-- Purpose:    the places where people study and handle penalties: whether the network is complete, how full its sites are, and which
--             site is nearest to somebody who must study.
-- Inputs:     sites, network_plan, counter_visits, classes, bookings, issued_obligations, drivers, townships, capacity_policy.
-- Outputs:    sinks service_network (upsert by kind; the row `all` is the sum), site_load (upsert by site and day), capacity_alerts
--             (append, issued and withdrawn; consumers: county posts), nearest_sites (upsert by obligation_id and rank; consumers:
--             the driver, counters).
-- Rules:      load is the visits to a site's counters on a local day over its daily capacity, and the bookings of a class over
--             its seats. The three nearest open sites that offer the kind of study, from the centre of the home township, by
--             great circles.
-- Thresholds: capacity_policy on that day; 0.9 of the capacity where none is in force.
-- Limits:     days leave memory a week after they ended; a visit later than that is late.

CREATE VIEW open_sites AS
SELECT site_id, kind, county, lon, lat, daily_capacity, services FROM sites WHERE open IS NOT FALSE;

-- === the network ===

CREATE VIEW kind_counts AS
SELECT kind, 1 AS sites, 0 AS planned FROM open_sites
UNION ALL
SELECT 'all', 1, 0 FROM open_sites
UNION ALL
SELECT kind, 0, planned FROM network_plan
UNION ALL
SELECT 'all', 0, planned FROM network_plan;

CREATE SINK service_network WITH (topic = 'service-network', format = 'json') AS
SELECT kind, sum(sites) AS sites, sum(planned) AS planned, greatest(sum(planned) - sum(sites), 0) AS missing
FROM kind_counts
GROUP BY kind;

-- === load ===

CREATE TABLE day_visits WITH (allowed_lateness = '7 days') AS
SELECT site_id, window_start AS day_started_at, count(*) AS visits
FROM counter_visits
GROUP BY site_id, tumble(visited_at, INTERVAL '1 day')
EMIT CHANGES;

CREATE TABLE day_loads (PRIMARY KEY (site_id, day_started_at)) AS
SELECT
    v.site_id, v.day_started_at, v.visits, s.daily_capacity,
    CASE WHEN s.daily_capacity > 0 THEN CAST(v.visits AS DOUBLE) / s.daily_capacity END AS load,
    coalesce(p.alert_share, 0.9) AS alert_share
FROM day_visits AS v
LEFT JOIN open_sites AS s ON s.site_id = v.site_id
LEFT JOIN capacity_policy FOR SYSTEM_TIME AS OF v.day_started_at AS p ON TRUE;

CREATE SINK site_load WITH (topic = 'site-load', format = 'json') AS
SELECT site_id, day_started_at, visits, daily_capacity, load FROM day_loads;

CREATE VIEW class_loads AS
SELECT c.class_id, c.site_id, c.starts_at, c.seats, b.booked, coalesce(p.alert_share, 0.9) AS alert_share
FROM classes AS c
JOIN (SELECT class_id, count(*) AS booked FROM bookings GROUP BY class_id) AS b ON b.class_id = c.class_id
LEFT JOIN capacity_policy FOR SYSTEM_TIME AS OF c.starts_at AS p ON TRUE;

-- What is full; how full it is changes too often to be told each time.
CREATE TABLE full_places (PRIMARY KEY (alert_id)) AS
SELECT
    site_id || '/' || CAST(local_date(day_started_at) AS VARCHAR) AS alert_id, 'counter' AS kind, site_id,
    day_started_at AS at, daily_capacity AS capacity
FROM day_loads
WHERE load >= alert_share
UNION ALL
SELECT class_id, 'class', site_id, starts_at, seats
FROM class_loads
WHERE seats > 0 AND CAST(booked AS DOUBLE) / seats >= alert_share;

CREATE SINK capacity_alerts WITH (topic = 'capacity-alerts', format = 'json', key = 'site_id', count_by = 'kind') AS
SELECT
    coalesce(after.alert_id, before.alert_id) AS alert_id,
    coalesce(after.kind, before.kind) AS kind,
    coalesce(after.site_id, before.site_id) AS site_id,
    coalesce(after.at, before.at) AS at,
    coalesce(after.capacity, before.capacity) AS capacity,
    CASE WHEN after.alert_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(full_places);

-- === the nearest ===

CREATE VIEW homes AS
SELECT o.obligation_id, o.kind, o.driver_id, t.lon, t.lat
FROM issued_obligations AS o
JOIN drivers AS d ON d.driver_id = o.driver_id
JOIN townships AS t ON t.township = d.township;

CREATE VIEW ranked_sites AS
SELECT obligation_id, driver_id, site_id, distance_m, row_number() OVER (PARTITION BY obligation_id ORDER BY distance_m, site_id) AS rank
FROM (
    SELECT h.obligation_id, h.driver_id, s.site_id, haversine_m(h.lon, h.lat, s.lon, s.lat) AS distance_m
    FROM homes AS h
    JOIN open_sites AS s ON array_has(s.services, h.kind)
) AS d
WHERE distance_m IS NOT NULL;

CREATE TABLE near_sites (PRIMARY KEY (obligation_id, rank)) AS
SELECT obligation_id, rank, driver_id, site_id, CAST(round(distance_m) AS BIGINT) AS distance_m
FROM ranked_sites
WHERE rank <= 3;

CREATE SINK nearest_sites WITH (topic = 'nearest-sites', format = 'json') AS
SELECT obligation_id, rank, driver_id, site_id, distance_m FROM near_sites;
