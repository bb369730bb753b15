-- Purpose:    which vehicles may have fled from an accident: seen within reach after it, looking as the witnesses say. Leads
--             for an officer, never more; and, once an officer has one looked out for, where it is seen next.
-- Inputs:     flight_cases, flight_descriptions, flight_closures, vehicle_sightings, flight_policy, watch_orders.
-- Outputs:    sinks flight_candidates (upsert by case and vehicle; gone when the case is closed), watch_hits (append; sightings
--             of a vehicle on watch), flight_months (upsert by month: cases, closed, solved). Consumers: the officers of the
--             case; patrols; detachment.
-- Rules:      a sighting is within reach when it is no later than window_s after the accident and no farther away than
--             speed_max_kmh allows in that time, plus slack_m. Each of class, colour, damage and part of the plate adds its
--             weight where it agrees, takes it away where it contradicts, and does nothing where either side is not known. A
--             vehicle has the best score of its sightings; sightings without a legible plate are each a vehicle of their own.
--             The candidates_max best with at least score_min are candidates. A watch needs an officer's approval, sees what
--             happens from its order on, and ends with the case.
-- Thresholds: flight_policy at the instant of the accident; where none is in force: 1800 seconds, 120 km/h, 500 metres, weights
--             of 3 for the class, 2 for the colour, 5 for damage, 6 for the plate, a score of 5, 20 candidates.
-- Limits:     cases and their sightings are remembered for 400 days. Where a vehicle leaves the cities of its case, it is lost.

CREATE VIEW searched_cases AS
SELECT
    c.case_id, c.occurred_at, c.lon, c.lat, c.city,
    coalesce(p.window_s, 1800) AS window_s,
    coalesce(p.speed_max_kmh, 120) AS speed_max_kmh,
    coalesce(p.slack_m, 500) AS slack_m,
    coalesce(p.class_weight, 3) AS class_weight,
    coalesce(p.colour_weight, 2) AS colour_weight,
    coalesce(p.damage_weight, 5) AS damage_weight,
    coalesce(p.plate_weight, 6) AS plate_weight,
    coalesce(p.score_min, 5) AS score_min,
    coalesce(p.candidates_max, 20) AS candidates_max
FROM (SELECT case_id, occurred_at, lon, lat, unnest(cities) AS city FROM flight_cases) AS c
LEFT JOIN flight_policy FOR SYSTEM_TIME AS OF c.occurred_at AS p ON TRUE;

CREATE VIEW reachable_sightings AS
SELECT
    c.case_id, c.occurred_at, c.class_weight, c.colour_weight, c.damage_weight, c.plate_weight, c.score_min, c.candidates_max,
    s.sighting_id, s.seen_at, s.device_id, s.vehicle_class, s.colour, s.damaged,
    plate_normalize(s.plate) AS plate
FROM searched_cases AS c
JOIN vehicle_sightings AS s
    ON s.city = c.city AND s.seen_at >= c.occurred_at AND s.seen_at <= c.occurred_at + INTERVAL '2 hours'
WHERE elapsed_ms(c.occurred_at, s.seen_at) <= c.window_s * 1000
    AND haversine_m(c.lon, c.lat, s.lon, s.lat)
        <= c.slack_m + c.speed_max_kmh / 3.6 * (elapsed_ms(c.occurred_at, s.seen_at) / 1000.0);

CREATE TABLE case_sightings WITH (allowed_lateness = '400 days') AS
SELECT
    date_trunc('day', occurred_at) AS day, case_id, sighting_id, seen_at, device_id, plate, vehicle_class, colour, damaged,
    class_weight, colour_weight, damage_weight, plate_weight, score_min, candidates_max
FROM reachable_sightings
GROUP BY
    date_trunc('day', occurred_at), case_id, sighting_id, seen_at, device_id, plate, vehicle_class, colour, damaged,
    class_weight, colour_weight, damage_weight, plate_weight, score_min, candidates_max
EMIT CHANGES;

CREATE VIEW scored_sightings AS
SELECT
    s.day, s.case_id, s.sighting_id, s.seen_at, s.device_id, s.score_min, s.candidates_max,
    coalesce(s.plate, 'sighting/' || s.sighting_id) AS vehicle,
    CASE d.vehicle_class = s.vehicle_class WHEN true THEN s.class_weight WHEN false THEN -s.class_weight ELSE 0 END
        + CASE d.colour = s.colour WHEN true THEN s.colour_weight WHEN false THEN -s.colour_weight ELSE 0 END
        + CASE WHEN NOT d.damaged THEN 0 WHEN s.damaged THEN s.damage_weight WHEN NOT s.damaged THEN -s.damage_weight ELSE 0 END
        + CASE strpos(s.plate, plate_normalize(d.plate_part)) > 0
            WHEN true THEN s.plate_weight WHEN false THEN -s.plate_weight ELSE 0 END AS score
FROM case_sightings AS s
JOIN flight_descriptions AS d ON d.case_id = s.case_id
WHERE NOT EXISTS (SELECT 1 FROM flight_closures AS x WHERE x.case_id = s.case_id);

CREATE VIEW scored_vehicles AS
SELECT
    day, case_id, vehicle, max(score) AS score, min(seen_at) AS first_seen_at, max(score_min) AS score_min,
    max(candidates_max) AS candidates_max, array_agg(sighting_id ORDER BY seen_at, sighting_id) AS evidence
FROM scored_sightings
GROUP BY day, case_id, vehicle;

CREATE TABLE ranked_vehicles (PRIMARY KEY (case_id, vehicle)) AS
SELECT case_id, vehicle, score, position, first_seen_at, evidence
FROM (
    SELECT
        *, row_number() OVER (PARTITION BY day, case_id ORDER BY score DESC, first_seen_at, vehicle) AS position
    FROM scored_vehicles
    WHERE score >= score_min
) AS v
WHERE position <= candidates_max;

CREATE SINK flight_candidates WITH (topic = 'flight-candidates', format = 'json') AS
SELECT case_id, vehicle, score, position, first_seen_at, evidence, true AS needs_approval FROM ranked_vehicles;

-- === on watch ===

-- A plate ordered twice, in two spellings, is on watch once.
CREATE TABLE standing_watches (PRIMARY KEY (case_id, plate)) AS
SELECT case_id, plate, min(ordered_at) AS ordered_at, first_value(approved_by ORDER BY ordered_at, approved_by) AS approved_by
FROM (
    SELECT case_id, plate_normalize(plate) AS plate, ordered_at, nullif(approved_by, '') AS approved_by FROM watch_orders
) AS w
WHERE plate IS NOT NULL AND approved_by IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM flight_closures AS x WHERE x.case_id = w.case_id)
GROUP BY case_id, plate;

CREATE SINK watch_hits WITH (topic = 'watch-hits', format = 'json', key = 'case_id', emit_time = 'seen_at') AS
SELECT w.case_id, w.plate, s.sighting_id, s.device_id, s.seen_at, s.lon, s.lat, w.approved_by
FROM vehicle_sightings AS s
JOIN standing_watches AS w ON w.plate = plate_normalize(s.plate)
WHERE s.seen_at >= w.ordered_at;

-- === how many are solved ===

CREATE TABLE flight_case_months WITH (allowed_lateness = '4000 days') AS
SELECT case_id, date_trunc('month', occurred_at) AS month_start
FROM flight_cases
GROUP BY case_id, date_trunc('month', occurred_at)
EMIT CHANGES;

CREATE TABLE flight_month_counts (PRIMARY KEY (month)) AS
SELECT
    year_month(m.month_start) AS month,
    sum(CASE WHEN x.result IS NULL OR x.result <> 'no_flight' THEN 1 ELSE 0 END) AS cases,
    sum(CASE WHEN x.result = 'solved' THEN 1 ELSE 0 END) AS solved,
    sum(CASE WHEN x.case_id IS NULL THEN 1 ELSE 0 END) AS open_cases
FROM flight_case_months AS m
LEFT JOIN flight_closures AS x ON x.case_id = m.case_id
GROUP BY year_month(m.month_start);

CREATE SINK flight_months WITH (topic = 'flight-months', format = 'json') AS
SELECT month, cases, solved, open_cases, CAST(solved AS DOUBLE) / nullif(cases, 0) AS solved_share FROM flight_month_counts;
