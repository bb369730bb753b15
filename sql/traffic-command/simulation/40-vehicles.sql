-- Key vehicles, their drivers and enterprises; what was recorded of them in the four hundred days before and since: a few
-- enterprises have most of it. Some dates have passed, most of those are dealt with after some days, a few never.

CREATE VIEW key_vehicles AS
SELECT
    v, plate, CASE vehicle_class WHEN 'coach' THEN CASE WHEN chance('kind', v) < 0.7 THEN 'coach' ELSE 'chartered_coach' END ELSE vehicle_class END AS vehicle_class,
    'E' || lpad(CAST(CAST(floor(30 * power(chance('enterprise', v), 2)) AS BIGINT) AS VARCHAR), 2, '0') AS enterprise_id,
    CASE
        WHEN chance('date', v) < 0.01 THEN NULL
        ELSE add_days(local_date(started_at()), CAST(floor(chance('inspected', v) * 380) AS BIGINT) - CASE WHEN chance('lax', v) < 0.3 THEN 10 ELSE 0 END)
    END AS inspected_until
FROM vehicles_on_roads
WHERE vehicle_class <> 'car';

INSERT INTO vehicles
SELECT * FROM (
    SELECT plate, vehicle_class, enterprise_id, inspected_until, scrap_by, NULL, updated_at
    FROM (
        SELECT plate, vehicle_class, enterprise_id, inspected_until, add_days(started_at(), -30) AS updated_at,
            add_days(local_date(started_at()), CAST(floor(chance('scrap', v) * 4000) AS BIGINT) + 5) AS scrap_by
        FROM key_vehicles
        UNION ALL
        SELECT plate, vehicle_class, enterprise_id, add_days(inspected_until, 365), inspected_at,
            add_days(local_date(started_at()), CAST(floor(chance('scrap', v) * 4000) AS BIGINT) + 5)
        FROM (
            SELECT *, CAST(inspected_until AS TIMESTAMP WITH TIME ZONE) + CAST(CAST(round((CAST(floor(chance('renewed', v) * 240) AS BIGINT) - 72) * 3600) AS BIGINT) || ' seconds' AS INTERVAL) AS inspected_at
            FROM key_vehicles
            WHERE chance('renews', v) < 0.9
        ) AS r
        WHERE inspected_at > started_at() AND inspected_at < add_days(started_at(), days())
    ) AS records
) AS r(plate, vehicle_class, enterprise_id, inspected_until, scrap_by, deregistered_on, updated_at)
ORDER BY updated_at, plate;

INSERT INTO drivers
SELECT * FROM (
    SELECT
        'driver-' || CAST(v AS VARCHAR), CASE vehicle_class WHEN 'coach' THEN 'A1' WHEN 'chartered_coach' THEN 'A1' ELSE CASE WHEN chance('licence', v) < 0.6 THEN 'A2' ELSE 'B2' END END,
        add_days(DATE '2000-01-01', CAST(floor(chance('first', v) * 8000) AS BIGINT)), enterprise_id,
        CASE WHEN chance('review', v) < 0.2 THEN add_days(local_date(started_at()), CAST(floor(chance('reviewed', v) * 90) AS BIGINT) - 3) END,
        add_days(local_date(started_at()), CAST(floor(chance('until', v) * 2200) AS BIGINT) - 5), NULL, add_days(started_at(), -30)
    FROM key_vehicles
) AS r(driver_id, licence_class, licensed_on, enterprise_id, review_due, licence_until, deregistered_on, updated_at);

INSERT INTO enterprises
SELECT * FROM (
    SELECT 'E' || lpad(CAST(e AS VARCHAR), 2, '0'), 'Transport ' || CAST(e AS VARCHAR), CASE e % 3 WHEN 0 THEN '370102' WHEN 1 THEN '371402' ELSE '370402' END,
        'B' || CAST(e % 5 + 1 AS VARCHAR)
    FROM generate_series(0, 29) AS es(e)
) AS r(enterprise_id, name, division, brigade_id);

INSERT INTO enterprise_visits
SELECT * FROM (
    SELECT 'EV' || CAST(n AS VARCHAR), 'E' || lpad(CAST(CAST(floor(chance('whom', n) * 30) AS BIGINT) AS VARCHAR), 2, '0'),
        add_days(started_at(), n) + INTERVAL '10 hours', CAST(floor(chance('met', n) * 40) AS BIGINT)
    FROM generate_series(0, days() - 1) AS ns(n)
) AS r(visit_id, enterprise_id, visited_at, drivers_met);

INSERT INTO lifetime_bans
SELECT * FROM (
    SELECT 'driver-' || CAST(v AS VARCHAR), add_days(started_at(), -200), 'fled from a fatal accident', NULL FROM key_vehicles WHERE chance('banned', v) < 0.005
) AS r(driver_id, banned_from, ground, lifted_from);

-- Faces are recognised at one passage in two hundred; of banned drivers always, and not always surely.
INSERT INTO driver_captures
SELECT * FROM (
    SELECT 'F' || p.passage_id, p.device_id, p.passed_at, 'driver-' || CAST(p.v AS VARCHAR), round(1 - 0.4 * power(chance('score', p.passage_id), 2), 3), p.plate
    FROM trip_points AS p
    JOIN key_vehicles AS k ON k.v = p.v
    WHERE chance('face', p.passage_id) < 0.005 OR chance('banned', p.v) < 0.005
) AS r(capture_id, device_id, captured_at, driver_id, match_score, plate)
ORDER BY captured_at, capture_id;

-- === violations and campaigns ===

INSERT INTO offences
SELECT * FROM (
    SELECT offence, TIMESTAMP '2020-01-01 00:00:00', title, serious
    FROM (VALUES ('speeding_50', '50 % above the limit', true), ('overload_30', '30 % above the load', true), ('drink_driving', 'drink driving', true),
        ('hazmat_ban', 'hazmat in a ban', true), ('belt', 'no belt', false), ('parking', 'forbidden parking', false)) AS o(offence, title, serious)
) AS r(offence, effective_from, title, serious);

CREATE TABLE made_violations AS
SELECT
    'V' || lpad(CAST(n AS VARCHAR), 7, '0') AS violation_id, n, v, plate, vehicle_class, enterprise_id, is_night,
    CASE
        WHEN is_night THEN 'drink_driving'
        WHEN vehicle_class = 'heavy_truck' AND chance('offence', n) < 0.3 THEN 'overload_30'
        WHEN chance('offence', n) < 0.45 THEN 'speeding_50'
        WHEN chance('offence', n) < 0.8 THEN 'belt' ELSE 'parking'
    END AS offence,
    CASE
        -- Saturdays at 22 on one segment.
        WHEN is_night THEN date_trunc('week', at) + INTERVAL '5 days 22 hours' + CAST(CAST(round(chance('minute', n) * 3600) AS BIGINT) || ' seconds' AS INTERVAL)
        ELSE at
    END AS occurred_at
FROM (
    SELECT
        k.*, n, chance('night', n) < 0.05 AS is_night,
        add_days(started_at(), CAST(floor(chance('day', 'v', n) * (400 + days())) AS BIGINT) - 400) + CAST(CAST(round((5 + 16 * chance('hour', 'v', n)) * 3600) AS BIGINT) || ' seconds' AS INTERVAL) AS at
    FROM generate_series(1, people() * 2) AS ns(n)
    JOIN (SELECT *, row_number() OVER (ORDER BY v) - 1 AS place, count(*) OVER () AS n_all FROM key_vehicles) AS k
        ON k.place = CAST(floor(k.n_all * power(chance('who', n), 3)) AS BIGINT)
) AS m;

INSERT INTO violations
SELECT * FROM (
    SELECT
        violation_id, occurred_at, offence,
        CASE n % 3 WHEN 0 THEN '370102' WHEN 1 THEN '371402' ELSE '370402' END,
        'B' || CAST(CASE WHEN is_night THEN 4 ELSE n % 5 + 1 END AS VARCHAR), plate, 'driver-' || CAST(v AS VARCHAR), vehicle_class,
        CASE offence WHEN 'speeding_50' THEN 6 WHEN 'overload_30' THEN 6 WHEN 'drink_driving' THEN 12 WHEN 'belt' THEN 1 ELSE 0 END,
        CASE offence WHEN 'overload_30' THEN round(50 + 70 * power(chance('mass', n), 2), 1) END,
        CASE WHEN is_night THEN 'S4' WHEN chance('road', 'v', n) < 0.5 THEN 'G1' ELSE 'G3' END,
        CASE WHEN is_night OR chance('direction', 'v', n) < 0.5 THEN 'up' ELSE 'down' END,
        CASE WHEN is_night THEN 60000 + floor(chance('place', 'v', n) * 20000) ELSE floor(chance('place', 'v', n) * 100000) END
    FROM made_violations
    WHERE occurred_at < add_days(started_at(), days())
) AS r(violation_id, occurred_at, offence, division, brigade_id, plate, driver_id, vehicle_class, points, gross_mass_t, road_id, direction, chainage_m)
ORDER BY occurred_at, violation_id;

INSERT INTO violation_voids
SELECT * FROM (
    SELECT violation_id, 'plate recorded wrongly', occurred_at + INTERVAL '3 days' FROM made_violations
    WHERE chance('void', n) < 0.01 AND occurred_at < add_days(started_at(), days())
) AS r(violation_id, ground, voided_at)
ORDER BY voided_at;

INSERT INTO campaigns
SELECT * FROM (
    VALUES ('roads', 'safe roads', add_days(started_at(), -60), add_days(started_at(), 60), NULL, NULL),
        ('trucks', 'kings of a hundred tonnes', add_days(started_at(), -200), add_days(started_at(), 200), '37', 'overload_30')
) AS r(campaign_id, title, starts_at, ends_at, area, offence);

INSERT INTO exposure_approvals
SELECT * FROM (
    SELECT 'enterprise', 'E' || lpad(CAST(e AS VARCHAR), 2, '0'), year_month(add_days(started_at(), -20)), 'officer 7', add_days(started_at(), 9)
    FROM generate_series(0, 4) AS es(e)
) AS r(subject_kind, subject_id, period, approved_by, approved_at);

INSERT INTO exposure_events
SELECT * FROM (
    SELECT 'X' || CAST(n AS VARCHAR), CASE n % 2 WHEN 0 THEN '370102' ELSE '371402' END, add_days(started_at(), n) + INTERVAL '15 hours',
        CASE n % 3 WHEN 0 THEN 'broadcast' ELSE 'post' END
    FROM generate_series(0, days() - 1) AS ns(n) WHERE chance('event', n) < 0.4
) AS r(event_id, division, held_at, medium);
