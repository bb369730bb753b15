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

INSERT INTO persons
SELECT
    person_id,
    CASE WHEN chance('born', n) < 0.98 THEN add_days(DATE '1950-01-01', CAST(22000 * chance('birth', n) AS BIGINT)) ELSE DATE '2010-06-15' END AS birth_date,
    'H' || CAST(CAST(floor(people() * chance('house', n) / 3) AS BIGINT) AS VARCHAR) AS household_id,
    'G' || CAST(CAST(floor(40 * chance('grid', n)) AS BIGINT) AS VARCHAR) AS grid_id,
    CASE WHEN chance('employed', n) < 0.6 THEN 'E' || CAST(CAST(floor(60 * chance('employer', n)) AS BIGINT) AS VARCHAR) END AS employer_id,
    CASE WHEN chance('member', n) < 0.08 THEN 'B' || CAST(CAST(floor(8 * chance('branch', n)) AS BIGINT) AS VARCHAR) END AS party_branch_id,
    CASE WHEN chance('channel', n) < 0.9 THEN 'app' END AS reminder_channel,
    CASE WHEN chance('second', n) < 0.7 THEN 'voice' END AS second_channel
FROM riders;

INSERT INTO identities
SELECT plate, add_days(started_at(), -400) AS valid_from, person_id FROM riders WHERE chance('registered', n) < 0.97;
-- Some plates change hands within the period.
INSERT INTO identities
SELECT
    plate,
    add_days(started_at(), CAST(floor(days() * chance('sold', n)) AS BIGINT)) AS valid_from,
    'P' || lpad(CAST(1 + (n * 7) % people() AS VARCHAR), 6, '0') AS person_id
FROM riders WHERE chance('sells', n) < 0.01;

INSERT INTO plate_registry
SELECT
    plate,
    add_days(started_at(), -400) AS valid_from,
    'scooter' AS vehicle_type,
    CASE WHEN chance('brand', n) < 0.5 THEN 'Yadea' ELSE 'Aima' END AS vehicle_brand,
    NULL AS vehicle_color
FROM riders;

INSERT INTO contacts
SELECT person_id, '139' || lpad(CAST(n AS VARCHAR), 8, '0') AS phone FROM riders WHERE chance('phone', n) < 0.95;

INSERT INTO integrity_archive
SELECT person_id, CAST(60 + floor(41 * chance('score', n)) AS BIGINT) AS base_score FROM riders WHERE chance('archive', n) < 0.8;

INSERT INTO households
SELECT 'H' || CAST(h AS VARCHAR) AS household_id, chance('title', h) < 0.3 AS demonstration FROM generate_series(0, people() / 3) AS hs(h);

INSERT INTO exemptions
SELECT plate, started_at() AS valid_from, add_days(started_at(), days()) AS valid_to, 'on duty' AS reason FROM riders WHERE chance('exempt', n) < 0.005;

INSERT INTO disputed_plates
SELECT plate, started_at() AS valid_from, NULL AS valid_to, 'misread before' AS reason FROM riders WHERE chance('disputed', n) < 0.002;

INSERT INTO grid_members
SELECT
    'G' || CAST(g AS VARCHAR) AS grid_id,
    'M' || CAST(g AS VARCHAR) AS member_id,
    'town ' || CAST(g % 16 AS VARCHAR) AS town,
    '138' || lpad(CAST(g AS VARCHAR), 8, '0') AS phone
FROM generate_series(0, 39) AS gs(g);

INSERT INTO employers
SELECT
    'E' || CAST(e AS VARCHAR) AS employer_id,
    'Works ' || CAST(e AS VARCHAR) AS name,
    'town ' || CAST(e % 16 AS VARCHAR) AS town,
    '0572' || lpad(CAST(e AS VARCHAR), 7, '0') AS phone
FROM generate_series(0, 59) AS es(e);

-- === policies and days ===

INSERT INTO disposal_policy
SELECT
    add_days(started_at(), -400) AS effective_from,
    4 AS visit_from,
    10 AS urgent_from,
    2 AS deduction,
    60 AS improve_below,
    0.8 AS match_score_min;

INSERT INTO hold_policy
SELECT
    add_days(started_at(), 10) AS effective_from,
    true AS hold_flagged_plates,
    true AS hold_mismatches,
    true AS hold_disputed_plates,
    true AS hold_face_only,
    120 AS clone_speed_kmh,
    300 AS clock_ahead_seconds,
    3 AS clock_shift_captures,
    30 AS burst_per_10_minutes,
    500 AS burst_per_day,
    10 AS burst_peer_factor,
    180 AS upheld_dispute_days,
    60 AS change_grace_seconds,
    10 AS review_days;

INSERT INTO follow_up_policy
SELECT
    add_days(started_at(), 10) AS effective_from,
    3 AS unread_days,
    1 AS accept_working_days,
    5 AS complete_working_days,
    3 AS publish_days;

INSERT INTO calendar
SELECT
    local_date(add_days(started_at(), d)) AS day,
    date_part('dow', local_date(add_days(started_at(), d))) NOT IN (0, 6) AS working
FROM generate_series(-10, days() + 40) AS ds(d);

-- === devices ===

CREATE TABLE sites AS
SELECT
    k, 'CX-' || lpad(CAST(k AS VARCHAR), 3, '0') AS device_id, 'town ' || CAST(k % 16 AS VARCHAR) AS town,
    119.70 + 0.4 * chance('lon', k) AS lon, 30.80 + 0.3 * chance('lat', k) AS lat
FROM generate_series(0, 109) AS ks(k);

INSERT INTO devices
SELECT device_id, town, lon, lat FROM sites;

-- A heartbeat each twenty minutes, less those of days on which a device was out.
INSERT INTO heartbeats
SELECT device_id, add_days(started_at(), d) + CAST(CAST(20 * m AS VARCHAR) || ' minutes' AS INTERVAL) AS beat_at
FROM sites CROSS JOIN generate_series(0, days() - 1) AS ds(d) CROSS JOIN generate_series(0, 71) AS ms(m)
WHERE NOT (chance('out', k, d) < 0.004 AND m BETWEEN 30 AND 55)
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

INSERT INTO captures
SELECT capture_id, device_id, captured_at, violation, plate, match_score, recorded_at, is_decked, matched_by, vehicle_type
FROM (
    SELECT *, 0 AS copy FROM records
    UNION ALL
    SELECT *, 1 FROM records WHERE chance('twice', n, d, part) < 0.01
) AS r
ORDER BY recorded_at, capture_id, copy;

-- === what people do ===

INSERT INTO voids
SELECT capture_id, 'plate recorded wrongly' AS ground, recorded_at + INTERVAL '26 hours' AS voided_at FROM records WHERE chance('void', n, d, part) < 0.01
ORDER BY recorded_at, capture_id;

INSERT INTO hold_releases
SELECT capture_id, 'officer 7' AS officer_id, captured_at + INTERVAL '3 days' AS released_at FROM records WHERE chance('release', n, d, part) < 0.3 AND d >= 10
ORDER BY captured_at, capture_id;

-- Those who offend most are visited on the sixteenth day; one visit in five finds nobody.
INSERT INTO visits
SELECT
    'V' || CAST(n AS VARCHAR) AS visit_id,
    person_id,
    add_days(started_at(), 15) + INTERVAL '19 hours' AS completed_at,
    chance('home', n) < 0.8 AS delivered
FROM riders WHERE daily > 0.2
ORDER BY n;

-- Receipts and reports name the actions that will have been issued; those that were not are nothing.
INSERT INTO reminder_receipts
SELECT
    r.person_id || '/' || year_month(started_at()) || '/reminder/' || CAST(k AS VARCHAR) AS action_id,
    CASE WHEN chance('bounce', r.n, k) < 0.03 THEN 'bounced' WHEN chance('learn', r.n, k) < 0.6 THEN 'learned' ELSE 'read' END AS kind,
    add_days(started_at(), 12 + 4 * k) + CAST(CAST(CAST(86000 * chance('when', r.n, k) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS received_at
FROM riders AS r CROSS JOIN generate_series(1, 3) AS ks(k)
WHERE chance('answers', r.n, k) < 0.7
ORDER BY k, r.n;

INSERT INTO task_reports
SELECT
    person_id || '/' || year_month(started_at()) || '/grid_visit/4' AS action_id,
    step,
    add_days(started_at(), 15) + INTERVAL '20 hours' AS reported_at,
    grid AS reported_by,
    CASE WHEN step = 'done' THEN 'V' || CAST(n AS VARCHAR) END AS visit_id
FROM (SELECT n, person_id, 'accepted' AS step, 'grid' AS grid FROM riders WHERE daily > 0.2
    UNION ALL SELECT n, person_id, 'done', 'grid' FROM riders WHERE daily > 0.2 AND chance('reports', n) < 0.7) AS t
ORDER BY n, step;

INSERT INTO approvals
SELECT
    person_id || '/' || year_month(started_at()) || '/punishment/' || CAST(k AS VARCHAR) AS action_id,
    'D-' || CAST(n AS VARCHAR) || '-' || CAST(k AS VARCHAR) AS approval_id,
    'officer 9' AS officer_id,
    CASE WHEN chance('approve', n, k) < 0.8 THEN 'approved' ELSE 'rejected' END AS decision,
    add_days(started_at(), 20) AS decided_at
FROM riders CROSS JOIN generate_series(4, 9) AS ks(k)
WHERE daily > 0.2
ORDER BY n, k;

INSERT INTO publications
SELECT
    person_id || '/' || year_month(started_at()) || '/punishment/' || CAST(k AS VARCHAR) AS action_id,
    add_days(started_at(), 22) AS published_at
FROM riders CROSS JOIN generate_series(4, 9) AS ks(k)
WHERE daily > 0.2 AND chance('publish', n, k) < 0.7
ORDER BY n, k;

INSERT INTO appeals
SELECT
    'A' || CAST(n AS VARCHAR) AS appeal_id,
    person_id,
    NULL AS action_id,
    'CX-007' AS device_id,
    plate,
    add_days(started_at(), 17) AS opened_at,
    CASE WHEN chance('closed', n) < 0.7 THEN add_days(started_at(), 21) END AS closed_at,
    CASE WHEN chance('closed', n) < 0.3 THEN 'upheld' WHEN chance('closed', n) < 0.7 THEN 'rejected' END AS outcome
FROM riders WHERE daily > 0.1 AND chance('appeals', n) < 0.1
ORDER BY n;

-- === passages and accidents ===

-- Fewer ride without a helmet from week to week.
INSERT INTO passages
SELECT
    'q' || CAST(k AS VARCHAR) || '-' || CAST(d AS VARCHAR) || '-' || CAST(i AS VARCHAR) AS passage_id,
    device_id,
    passed_at,
    CASE WHEN chance('unclear', k, d, i) < 0.05 THEN NULL ELSE chance('helmet', k, d, i) > 0.4 - 0.01 * d END AS helmet
FROM (
    SELECT k, d, i, device_id,
        add_days(started_at(), d) + CAST(CAST(CAST(CASE WHEN chance('rush', k, d, i) < 0.45 THEN 25200 + 7200 * chance('t', k, d, i)
            WHEN chance('rush', k, d, i) < 0.9 THEN 61200 + 7200 * chance('t', k, d, i)
            ELSE 21600 + 57600 * chance('t', k, d, i) END AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS passed_at
    FROM sites CROSS JOIN generate_series(0, days() - 1) AS ds(d) CROSS JOIN generate_series(1, 12) AS qs(i)
) AS p
ORDER BY passed_at, k, i;

INSERT INTO accidents
SELECT
    'X' || CAST(d AS VARCHAR) AS accident_id,
    add_days(started_at(), -d) + INTERVAL '9 hours' AS occurred_at,
    'town ' || CAST(d % 16 AS VARCHAR) AS town,
    CASE WHEN chance('dead', d) < 0.3 THEN 1 ELSE 0 END AS deaths,
    CASE WHEN chance('dead', d) < 0.3 AND chance('bare', d) < 0.2 + 0.001 * d THEN 1 ELSE 0 END AS deaths_helmetless
FROM generate_series(0, 700) AS ds(d)
WHERE chance('accident', d) < 0.2
ORDER BY d DESC;
