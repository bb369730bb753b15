-- Purpose:  plausible sources for the safe-riding pack: a county with 110 devices in 16 towns.
-- Outputs:  all sources. Most people never offend and a few do every other day; rides gather in the rush hours. Some captures are
--           misread, flagged, cloned, uploaded late, sent twice or made by a clock that is an hour slow; one device fills a day.
--           A hold policy and a follow-up policy come into force on the eleventh day, so that both can be seen.

-- === people ===

-- How often a person rides without a helmet on a day: a square of an exponential, so that few do most of it.
CREATE TABLE riders AS
SELECT
    n,
    'P' || lpad(CAST(n AS VARCHAR), 6, '0') AS person_id,
    '浙E' || lpad(CAST(n AS VARCHAR), 6, '0') AS plate,
    least(0.6, 0.02 * power(ln(1 - chance('rate', n)), 2)) AS daily
FROM generate_series(1, people()) AS ns(n);

INSERT INTO persons (person_id, birth_date, household_id, grid_id, employer_id, party_branch_id, reminder_channel, second_channel)
SELECT
    person_id,
    CASE WHEN chance('born', n) < 0.98 THEN add_days(DATE '1950-01-01', CAST(22000 * chance('birth', n) AS BIGINT)) ELSE DATE '2010-06-15' END,
    'H' || CAST(CAST(floor(people() * chance('house', n) / 3) AS BIGINT) AS VARCHAR),
    'G' || CAST(CAST(floor(40 * chance('grid', n)) AS BIGINT) AS VARCHAR),
    CASE WHEN chance('employed', n) < 0.6 THEN 'E' || CAST(CAST(floor(60 * chance('employer', n)) AS BIGINT) AS VARCHAR) END,
    CASE WHEN chance('member', n) < 0.08 THEN 'B' || CAST(CAST(floor(8 * chance('branch', n)) AS BIGINT) AS VARCHAR) END,
    CASE WHEN chance('channel', n) < 0.9 THEN 'app' END,
    CASE WHEN chance('second', n) < 0.7 THEN 'voice' END
FROM riders;

INSERT INTO identities (plate, valid_from, person_id)
SELECT plate, add_days(started_at(), -400), person_id FROM riders WHERE chance('registered', n) < 0.97;
-- Some plates change hands within the period.
INSERT INTO identities (plate, valid_from, person_id)
SELECT plate, add_days(started_at(), CAST(floor(days() * chance('sold', n)) AS BIGINT)), 'P' || lpad(CAST(1 + (n * 7) % people() AS VARCHAR), 6, '0')
FROM riders WHERE chance('sells', n) < 0.01;

INSERT INTO plate_registry (plate, valid_from, vehicle_type, vehicle_brand, vehicle_color)
SELECT plate, add_days(started_at(), -400), 'scooter', CASE WHEN chance('brand', n) < 0.5 THEN 'Yadea' ELSE 'Aima' END, NULL FROM riders;

INSERT INTO contacts (person_id, phone)
SELECT person_id, '139' || lpad(CAST(n AS VARCHAR), 8, '0') FROM riders WHERE chance('phone', n) < 0.95;

INSERT INTO integrity_archive (person_id, base_score)
SELECT person_id, CAST(60 + floor(41 * chance('score', n)) AS BIGINT) FROM riders WHERE chance('archive', n) < 0.8;

INSERT INTO households (household_id, demonstration)
SELECT 'H' || CAST(h AS VARCHAR), chance('title', h) < 0.3 FROM generate_series(0, people() / 3) AS hs(h);

INSERT INTO exemptions (plate, valid_from, valid_to, reason)
SELECT plate, started_at(), add_days(started_at(), days()), 'on duty' FROM riders WHERE chance('exempt', n) < 0.005;

INSERT INTO disputed_plates (plate, valid_from, valid_to, reason)
SELECT plate, started_at(), NULL, 'misread before' FROM riders WHERE chance('disputed', n) < 0.002;

INSERT INTO grid_members (grid_id, member_id, town, phone)
SELECT 'G' || CAST(g AS VARCHAR), 'M' || CAST(g AS VARCHAR), 'town ' || CAST(g % 16 AS VARCHAR), '138' || lpad(CAST(g AS VARCHAR), 8, '0')
FROM generate_series(0, 39) AS gs(g);

INSERT INTO employers (employer_id, name, town, phone)
SELECT 'E' || CAST(e AS VARCHAR), 'Works ' || CAST(e AS VARCHAR), 'town ' || CAST(e % 16 AS VARCHAR), '0572' || lpad(CAST(e AS VARCHAR), 7, '0')
FROM generate_series(0, 59) AS es(e);

-- === policies and days ===

INSERT INTO disposal_policy (effective_from, visit_from, urgent_from, deduction, improve_below, match_score_min)
SELECT add_days(started_at(), -400), 4, 10, 2, 60, 0.8;

INSERT INTO hold_policy (
    effective_from, hold_flagged_plates, hold_mismatches, hold_disputed_plates, hold_face_only, clone_speed_kmh, clock_ahead_seconds,
    clock_shift_captures, burst_per_10_minutes, burst_per_day, burst_peer_factor, upheld_dispute_days, change_grace_seconds, review_days)
SELECT add_days(started_at(), 10), true, true, true, true, 120, 300, 3, 30, 500, 10, 180, 60, 10;

INSERT INTO follow_up_policy (effective_from, unread_days, accept_working_days, complete_working_days, publish_days)
SELECT add_days(started_at(), 10), 3, 1, 5, 3;

INSERT INTO calendar (day, working)
SELECT local_date(add_days(started_at(), d)), date_part('dow', local_date(add_days(started_at(), d))) NOT IN (0, 6)
FROM generate_series(-10, days() + 40) AS ds(d);

-- === devices ===

CREATE TABLE sites AS
SELECT
    k, 'CX-' || lpad(CAST(k AS VARCHAR), 3, '0') AS device_id, 'town ' || CAST(k % 16 AS VARCHAR) AS town,
    119.70 + 0.4 * chance('lon', k) AS lon, 30.80 + 0.3 * chance('lat', k) AS lat
FROM generate_series(0, 109) AS ks(k);

INSERT INTO devices (device_id, town, lon, lat) SELECT device_id, town, lon, lat FROM sites;

-- A heartbeat each ten minutes, less those of days on which a device was out.
INSERT INTO heartbeats (device_id, beat_at)
SELECT device_id, add_days(started_at(), d) + CAST(CAST(10 * m AS VARCHAR) || ' minutes' AS INTERVAL)
FROM sites CROSS JOIN generate_series(0, days() - 1) AS ds(d) CROSS JOIN generate_series(0, 143) AS ms(m)
WHERE NOT (chance('out', k, d) < 0.004 AND m BETWEEN 60 AND 110)
ORDER BY d, m, k;

-- === captures ===

-- A ride: seconds of the day, mostly in the rush hours, and the device that sees it.
CREATE TABLE sightings AS
SELECT
    r.n, r.person_id, r.plate, d, part,
    CAST(floor(110 * chance('device', r.n, d, part)) AS BIGINT) AS k,
    CAST(CASE
        WHEN chance('rush', r.n, d) < 0.45 THEN 25200 + 7200 * chance('at', r.n, d)
        WHEN chance('rush', r.n, d) < 0.9 THEN 61200 + 7200 * chance('at', r.n, d)
        ELSE 21600 + 57600 * chance('at', r.n, d)
    END AS BIGINT) + part * 240 AS second
FROM riders AS r CROSS JOIN generate_series(0, days() - 1) AS ds(d) CROSS JOIN generate_series(0, 1) AS parts(part)
WHERE chance('ride', r.n, d) < r.daily AND (part = 0 OR chance('again', r.n, d) < 0.15);

-- The second device is a neighbour, or, of a cloned plate, anywhere.
CREATE TABLE placed AS
SELECT
    s.*, p.device_id,
    's' || CAST(s.n AS VARCHAR) || '-' || CAST(s.d AS VARCHAR) || '-' || CAST(s.part AS VARCHAR) AS capture_id,
    add_days(started_at(), s.d) + CAST(CAST(s.second AS VARCHAR) || ' seconds' AS INTERVAL) AS seen_at,
    chance('slow', p.k, s.d) < 0.003 AS is_slow,
    chance('late', s.n, s.d) < 0.01 AS is_late
FROM (
    SELECT
        n, person_id, plate, d, part, second,
        CASE WHEN part = 1 AND chance('clone', n, d) < 0.95
            THEN CAST(floor(110 * chance('device', n, d, 0)) AS BIGINT) ELSE k END AS k
    FROM sightings
) AS s
JOIN sites AS p ON p.k = s.k
WHERE NOT (chance('out', p.k, s.d) < 0.004 AND s.second BETWEEN 36000 AND 66600);

CREATE TABLE records AS
SELECT
    capture_id, device_id, person_id, n, d, part,
    CASE WHEN is_slow THEN seen_at - INTERVAL '1 hour' ELSE seen_at END AS captured_at,
    CASE WHEN is_late THEN seen_at + INTERVAL '5 hours 17 minutes' ELSE seen_at + INTERVAL '3 seconds' END AS recorded_at,
    CASE WHEN chance('violation', n, d) < 0.85 THEN 'no_helmet' ELSE 'illegal_passenger' END AS violation,
    CASE WHEN chance('read', n, d, part) < 0.03 THEN NULL
        WHEN chance('read', n, d, part) < 0.04 THEN '无牌'
        WHEN chance('read', n, d, part) < 0.05 THEN substr(plate, 1, 6)
        ELSE plate END AS plate,
    CASE WHEN chance('sure', n, d, part) < 0.04 THEN 0.7 ELSE 0.85 + 0.15 * chance('match', n, d, part) END AS match_score,
    chance('decked', n, d, part) < 0.004 AS is_decked,
    CASE WHEN chance('face', n, d, part) < 0.01 THEN 'face' ELSE 'plate' END AS matched_by,
    CASE WHEN chance('other', n, d, part) < 0.01 THEN 'car' ELSE 'scooter' END AS vehicle_type
FROM placed
UNION ALL
-- One device marks everything for a day.
SELECT
    'burst-' || CAST(b AS VARCHAR), 'CX-007', NULL, b, 15, 0,
    add_days(started_at(), 15) + CAST(CAST(28800 + 40 * b AS VARCHAR) || ' seconds' AS INTERVAL),
    add_days(started_at(), 15) + CAST(CAST(28803 + 40 * b AS VARCHAR) || ' seconds' AS INTERVAL),
    'no_helmet', '浙E' || lpad(CAST(1 + (b * 13) % people() AS VARCHAR), 6, '0'), 0.9, false, 'plate', 'scooter'
FROM generate_series(1, 600) AS bs(b)
WHERE days() > 15;

INSERT INTO captures (
    capture_id, device_id, captured_at, violation, plate, match_score, recorded_at, is_decked, matched_by, vehicle_type)
SELECT capture_id, device_id, captured_at, violation, plate, match_score, recorded_at, is_decked, matched_by, vehicle_type
FROM (
    SELECT *, 0 AS copy FROM records
    UNION ALL
    SELECT *, 1 FROM records WHERE chance('twice', n, d, part) < 0.01
) AS r
ORDER BY recorded_at, capture_id, copy;

-- === what people do ===

INSERT INTO voids (capture_id, ground, voided_at)
SELECT capture_id, 'plate recorded wrongly', recorded_at + INTERVAL '26 hours' FROM records WHERE chance('void', n, d, part) < 0.01
ORDER BY recorded_at, capture_id;

INSERT INTO hold_releases (capture_id, officer_id, released_at)
SELECT capture_id, 'officer 7', captured_at + INTERVAL '3 days' FROM records WHERE chance('release', n, d, part) < 0.3 AND d >= 10
ORDER BY captured_at, capture_id;

-- Those who offend most are visited on the sixteenth day; one visit in five finds nobody.
INSERT INTO visits (visit_id, person_id, completed_at, delivered)
SELECT 'V' || CAST(n AS VARCHAR), person_id, add_days(started_at(), 15) + INTERVAL '19 hours', chance('home', n) < 0.8
FROM riders WHERE daily > 0.2
ORDER BY n;

-- Receipts and reports name the actions that will have been issued; those that were not are nothing.
INSERT INTO reminder_receipts (action_id, kind, received_at)
SELECT
    r.person_id || '/' || year_month(started_at()) || '/reminder/' || CAST(k AS VARCHAR),
    CASE WHEN chance('bounce', r.n, k) < 0.03 THEN 'bounced' WHEN chance('learn', r.n, k) < 0.6 THEN 'learned' ELSE 'read' END,
    add_days(started_at(), 12 + 4 * k) + CAST(CAST(CAST(86000 * chance('when', r.n, k) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL)
FROM riders AS r CROSS JOIN generate_series(1, 3) AS ks(k)
WHERE chance('answers', r.n, k) < 0.7
ORDER BY k, r.n;

INSERT INTO task_reports (action_id, step, reported_at, reported_by, visit_id)
SELECT
    person_id || '/' || year_month(started_at()) || '/grid_visit/4', step, add_days(started_at(), 15) + INTERVAL '20 hours', grid,
    CASE WHEN step = 'done' THEN 'V' || CAST(n AS VARCHAR) END
FROM (SELECT n, person_id, 'accepted' AS step, 'grid' AS grid FROM riders WHERE daily > 0.2
    UNION ALL SELECT n, person_id, 'done', 'grid' FROM riders WHERE daily > 0.2 AND chance('reports', n) < 0.7) AS t
ORDER BY n, step;

INSERT INTO approvals (action_id, approval_id, officer_id, decision, decided_at)
SELECT
    person_id || '/' || year_month(started_at()) || '/punishment/' || CAST(k AS VARCHAR), 'D-' || CAST(n AS VARCHAR) || '-' || CAST(k AS VARCHAR),
    'officer 9', CASE WHEN chance('approve', n, k) < 0.8 THEN 'approved' ELSE 'rejected' END, add_days(started_at(), 20)
FROM riders CROSS JOIN generate_series(4, 9) AS ks(k)
WHERE daily > 0.2
ORDER BY n, k;

INSERT INTO publications (action_id, published_at)
SELECT person_id || '/' || year_month(started_at()) || '/punishment/' || CAST(k AS VARCHAR), add_days(started_at(), 22)
FROM riders CROSS JOIN generate_series(4, 9) AS ks(k)
WHERE daily > 0.2 AND chance('publish', n, k) < 0.7
ORDER BY n, k;

INSERT INTO appeals (appeal_id, person_id, action_id, device_id, plate, opened_at, closed_at, outcome)
SELECT
    'A' || CAST(n AS VARCHAR), person_id, NULL, 'CX-007', plate, add_days(started_at(), 17),
    CASE WHEN chance('closed', n) < 0.7 THEN add_days(started_at(), 21) END,
    CASE WHEN chance('closed', n) < 0.3 THEN 'upheld' WHEN chance('closed', n) < 0.7 THEN 'rejected' END
FROM riders WHERE daily > 0.1 AND chance('appeals', n) < 0.1
ORDER BY n;

-- === passages and accidents ===

-- Fewer ride without a helmet from week to week.
INSERT INTO passages (passage_id, device_id, passed_at, helmet)
SELECT
    'q' || CAST(k AS VARCHAR) || '-' || CAST(d AS VARCHAR) || '-' || CAST(i AS VARCHAR), device_id, passed_at,
    CASE WHEN chance('unclear', k, d, i) < 0.05 THEN NULL ELSE chance('helmet', k, d, i) > 0.4 - 0.01 * d END
FROM (
    SELECT k, d, i, device_id,
        add_days(started_at(), d) + CAST(CAST(CAST(CASE WHEN chance('rush', k, d, i) < 0.45 THEN 25200 + 7200 * chance('t', k, d, i)
            WHEN chance('rush', k, d, i) < 0.9 THEN 61200 + 7200 * chance('t', k, d, i)
            ELSE 21600 + 57600 * chance('t', k, d, i) END AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS passed_at
    FROM sites CROSS JOIN generate_series(0, days() - 1) AS ds(d) CROSS JOIN generate_series(1, 12) AS qs(i)
) AS p
ORDER BY passed_at, k, i;

INSERT INTO accidents (accident_id, occurred_at, town, deaths, deaths_helmetless)
SELECT
    'X' || CAST(d AS VARCHAR), add_days(started_at(), -d) + INTERVAL '9 hours', 'town ' || CAST(d % 16 AS VARCHAR),
    CASE WHEN chance('dead', d) < 0.3 THEN 1 ELSE 0 END,
    CASE WHEN chance('dead', d) < 0.3 AND chance('bare', d) < 0.2 + 0.001 * d THEN 1 ELSE 0 END
FROM generate_series(0, 700) AS ds(d)
WHERE chance('accident', d) < 0.2
ORDER BY d DESC;
