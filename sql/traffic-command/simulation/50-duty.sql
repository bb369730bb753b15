-- What the police on duty look for and where they are, hazmat and its bans, squadrons and chiefs, and the weather of risk.

CREATE VIEW listed_vehicles AS
SELECT v, plate, vehicle_class, 'W' || CAST(v AS VARCHAR) AS entry_id, add_days(started_at(), CAST(floor(chance('listed', v) * days()) AS BIGINT)) AS listed_from
FROM vehicles_on_roads
WHERE chance('watched', v) < 0.004;

INSERT INTO watch_list
SELECT * FROM (
    SELECT
        entry_id, plate, CASE WHEN chance('reason', v) < 0.5 THEN 'hit_and_run' ELSE 'stolen' END,
        CASE WHEN chance('wrong class', v) < 0.1 THEN 'van' ELSE vehicle_class END,
        CASE WHEN chance('tactic', v) < 0.5 THEN 'several_points' ELSE 'red_light' END, chance('disputed', v) < 0.15, listed_from, listed_from + INTERVAL '5 days'
    FROM listed_vehicles
) AS r(entry_id, plate, reason, vehicle_class, tactic, disputed, listed_from, listed_until);

-- Twenty units report every five minutes; each drives up and down its stretch, and some devices are silent for an hour.
INSERT INTO patrol_positions
SELECT * FROM (
    SELECT
        'unit-' || CAST(u AS VARCHAR), 'B' || CAST(u % 5 + 1 AS VARCHAR), true, started_at() + CAST(CAST(round(t * 300) AS BIGINT) || ' seconds' AS INTERVAL), road_id,
        CASE WHEN chance('way', u, t / 6) < 0.5 THEN 'up' ELSE 'down' END, chainage_m, 116 + chainage_m * 0.00001,
        CASE road_id WHEN 'G1' THEN 36.2 WHEN 'G2' THEN 36.5 WHEN 'G3' THEN 36.8 ELSE 37.1 END
    FROM (
        SELECT u, t, CASE u / 5 WHEN 0 THEN 'G1' WHEN 1 THEN 'G2' WHEN 2 THEN 'G3' ELSE 'S4' END AS road_id,
            round(u % 5 * 20000 + 20000 * abs(sin(t * 0.1 + u))) AS chainage_m
        FROM generate_series(0, 19) AS us(u) CROSS JOIN generate_series(0, days() * 288 - 1) AS ts(t)
    ) AS p
    WHERE chance('silent', u, t / 12) > 0.02
) AS r(unit_id, brigade_id, on_duty, reported_at, road_id, direction, chainage_m, lon, lat)
ORDER BY reported_at, unit_id;

INSERT INTO intercept_acknowledgements
SELECT * FROM (
    SELECT 'K' || p.passage_id, w.entry_id, 'unit-1', p.passed_at + CAST(CAST(round(20 + 200 * chance('taken', p.passage_id)) AS BIGINT) || ' seconds' AS INTERVAL)
    FROM trip_points AS p
    JOIN listed_vehicles AS w ON w.v = p.v AND p.passed_at >= w.listed_from
    WHERE chance('takes', p.passage_id) < 0.4
) AS r(acknowledgement_id, entry_id, unit_id, acknowledged_at)
ORDER BY acknowledged_at;

INSERT INTO duty_modes
SELECT * FROM (
    SELECT 'B' || CAST(d % 5 + 1 AS VARCHAR), CASE d % 3 WHEN 0 THEN 'regional' WHEN 1 THEN 'staggered' ELSE 'joint' END,
        CASE d % 3 WHEN 2 THEN 'transport office' ELSE 'B' || CAST((d + 1) % 5 + 1 AS VARCHAR) END,
        add_days(started_at(), d) + INTERVAL '18 hours', add_days(started_at(), d) + INTERVAL '23 hours'
    FROM generate_series(0, days() - 1) AS ds(d)
) AS r(brigade_id, mode, partner_id, starts_at, ends_at);

-- === weather ===

INSERT INTO segment_weather
SELECT * FROM (
    SELECT 'S-G3-' || direction || '-' || CAST(k AS VARCHAR), add_days(started_at(), d) + INTERVAL '4 hours', add_days(started_at(), d) + INTERVAL '9 hours', 'fog'
    FROM generate_series(0, days() - 1) AS ds(d) CROSS JOIN generate_series(0, 4) AS ks(k) CROSS JOIN directions
    WHERE chance('fog', d) < 0.3
) AS r(segment_id, valid_from, valid_until, weather)
ORDER BY valid_from, segment_id;

INSERT INTO weather_factors
SELECT * FROM (
    SELECT weather, TIMESTAMP '2020-01-01 00:00:00', factor FROM (VALUES ('rain', 1.3), ('fog', 1.8), ('snow_ice', 2.2)) AS f(weather, factor)
) AS r(weather, effective_from, factor);

-- === hazmat ===

INSERT INTO hazmat_bans
SELECT * FROM (
    VALUES ('rush', 'ring road at rush hour', 'POLYGON ((116.4 36.0, 116.7 36.0, 116.7 36.9, 116.4 36.9, 116.4 36.0))', '07:00', '09:00', add_days(started_at(), -100), NULL),
        ('plant', 'around the plant at night', 'POLYGON ((116.8 36.4, 116.9 36.4, 116.9 36.6, 116.8 36.6, 116.8 36.4))', '22:00', '06:00', add_days(started_at(), -100), NULL)
) AS r(ban_id, title, polygon, starts, ends, valid_from, valid_until);

INSERT INTO hazmat_permits
SELECT * FROM (
    SELECT 'HP' || CAST(v AS VARCHAR), plate, 'rush', add_days(started_at(), -100), add_days(started_at(), 100) FROM key_vehicles
    WHERE vehicle_class = 'hazmat' AND chance('permit', v) < 0.4
) AS r(permit_id, plate, ban_id, valid_from, valid_until);

INSERT INTO must_checks
SELECT * FROM (
    SELECT item, 'the ' || item FROM (VALUES ('driver'), ('escort'), ('vehicle'), ('tank'), ('permit'), ('route'), ('equipment')) AS i(item)
) AS r(item, title);

INSERT INTO hazmat_checks
SELECT * FROM (
    SELECT
        'HC' || CAST(b AS VARCHAR) || '-' || CAST(d AS VARCHAR), 'B' || CAST(b AS VARCHAR), add_days(started_at(), d) + CAST(CAST(round((7 + 10 * chance('when', b, d)) * 3600) AS BIGINT) || ' seconds' AS INTERVAL),
        NULL,
        CASE WHEN chance('hasty', b, d) < 0.1 THEN make_array('driver', 'vehicle', 'tank')
            ELSE make_array('driver', 'escort', 'vehicle', 'tank', 'permit', 'route', 'equipment') END
    FROM generate_series(0, days() - 1) AS ds(d) CROSS JOIN generate_series(1, 5) AS bs(b)
    WHERE chance('checks', b, d) < 0.95
) AS r(check_id, brigade_id, checked_at, plate, items)
ORDER BY checked_at, check_id;

INSERT INTO hazmat_operations
SELECT * FROM (
    SELECT 'HO' || CAST(b AS VARCHAR) || '-' || CAST(w AS VARCHAR), 'B' || CAST(b AS VARCHAR), add_days(started_at(), w * 7 + 2) + INTERVAL '9 hours'
    FROM generate_series(0, days() / 7) AS ws(w) CROSS JOIN generate_series(1, 5) AS bs(b)
    WHERE chance('operates', b, w) < 0.9 AND w * 7 + 2 < days()
) AS r(operation_id, brigade_id, started_at)
ORDER BY started_at, operation_id;

INSERT INTO hazmat_policy
SELECT * FROM (
    VALUES (started_at(), true, true, 3, 12)
) AS r(effective_from, daily_check, weekly_operation, fine_from, downgrade_points);

-- === squadrons and chiefs ===

INSERT INTO squadrons
SELECT * FROM (
    SELECT 'Q' || CAST(q AS VARCHAR), 'B' || CAST(q % 5 + 1 AS VARCHAR), '370102', q % 3 = 0 FROM generate_series(0, 3) AS qs(q)
) AS r(squadron_id, brigade_id, division, model);

INSERT INTO squadron_townships
SELECT * FROM (
    SELECT 'T' || CAST(t AS VARCHAR), add_days(started_at(), -100), 'Q' || CAST(t / 3 AS VARCHAR), add_days(started_at(), -101) FROM generate_series(0, 9) AS ts(t)
    UNION ALL
    SELECT 'T9', add_days(started_at(), 10), 'Q2', add_days(started_at(), 5)
) AS r(township, effective_from, squadron_id, updated_at);

INSERT INTO segment_chief_roles
SELECT * FROM (
    SELECT role, role || ' chief' FROM (VALUES ('road'), ('police'), ('township')) AS r(role)
) AS r(role, title);

INSERT INTO segment_chiefs
SELECT * FROM (
    SELECT 'S-' || road_id || '-' || direction || '-' || CAST(k AS VARCHAR), role, add_days(started_at(), -100), 'O' || CAST(k AS VARCHAR) || role,
        add_days(started_at(), -99)
    FROM roads CROSS JOIN directions CROSS JOIN generate_series(0, 4) AS ks(k) CROSS JOIN (VALUES ('road'), ('police'), ('township')) AS r(role)
    WHERE chance('chief', road_id, direction, k, role) < 0.98
) AS r(segment_id, role, effective_from, officer_id, updated_at);
