-- Purpose:  sources of the driver-education pack: people() drivers with a year of points behind them, and days() of studies.
-- Rules:    a few drivers take many points (exponentially), most at rush hours; penalties are decided up to three weeks late, some twice
--           in the topic, some without a driver or with a code that nobody knows, and some are voided. Who has full marks enrols within two
--           weeks or not at all, comes to two classes and learns online on five evenings, with absences, forgotten check-outs,
--           faces that do not match, somebody who learns in two places at once, and a middleman with a tablet.

CREATE VIEW numbers AS SELECT unnest(generate_series(1, people())) AS i;

-- The years whose holidays and make-up days are known.
CREATE VIEW holidays AS
SELECT CAST(column1 AS DATE) AS from_day, CAST(column2 AS DATE) AS to_day FROM (VALUES
    ('2024-01-01', '2024-01-01'), ('2024-02-10', '2024-02-17'), ('2024-04-04', '2024-04-06'), ('2024-05-01', '2024-05-05'),
    ('2024-06-10', '2024-06-10'), ('2024-09-15', '2024-09-17'), ('2024-10-01', '2024-10-07'), ('2025-01-01', '2025-01-01'),
    ('2025-01-28', '2025-02-04'), ('2025-04-04', '2025-04-06'), ('2025-05-01', '2025-05-05'), ('2025-05-31', '2025-06-02'),
    ('2025-10-01', '2025-10-08'), ('2026-01-01', '2026-01-03'), ('2026-02-15', '2026-02-23'), ('2026-04-04', '2026-04-06'),
    ('2026-05-01', '2026-05-05'), ('2026-06-19', '2026-06-21'), ('2026-09-25', '2026-09-27'), ('2026-10-01', '2026-10-07')) AS h;

CREATE VIEW make_up_days AS
SELECT CAST(column1 AS DATE) AS day FROM (VALUES
    ('2024-02-04'), ('2024-02-18'), ('2024-04-07'), ('2024-04-28'), ('2024-05-11'), ('2024-09-14'), ('2024-09-29'), ('2024-10-12'),
    ('2025-01-26'), ('2025-02-08'), ('2025-04-27'), ('2025-09-28'), ('2025-10-11'), ('2026-01-04'), ('2026-02-14'), ('2026-02-28'),
    ('2026-05-09'), ('2026-09-20'), ('2026-10-10')) AS m;

INSERT INTO calendar
SELECT
    d.day,
    m.day IS NOT NULL OR (date_part('dow', d.day) BETWEEN 1 AND 5 AND h.from_day IS NULL) AS working
FROM (SELECT add_days(CAST('2024-01-01' AS DATE), unnest(generate_series(0, 1095))) AS day) AS d
LEFT JOIN holidays AS h ON d.day BETWEEN h.from_day AND h.to_day
LEFT JOIN make_up_days AS m ON m.day = d.day
ORDER BY d.day;

-- === the network: 79 of the 80 sites that are planned ===

CREATE VIEW planned_kinds AS
SELECT column1 AS kind, column2 AS planned, column3 AS first_site FROM (VALUES
    ('station', 22, 1), ('police_post', 14, 23), ('insurer', 7, 37), ('vehicle_office', 10, 44), ('government_window', 11, 54),
    ('squadron', 16, 65)) AS k;

INSERT INTO network_plan SELECT kind, planned FROM planned_kinds ORDER BY kind;

INSERT INTO sites
SELECT
    'S' || lpad(CAST(n AS VARCHAR), 2, '0') AS site_id, k.kind,
    'county ' || CAST(n % 8 + 1 AS VARCHAR) AS county,
    round(104.8 + 1.4 * chance('site lon', n), 5) AS lon, round(26.6 + 0.9 * chance('site lat', n), 5) AS lat,
    CAST(20 + floor(40 * chance('capacity', n)) AS INT) AS daily_capacity,
    CASE WHEN k.kind IN ('station', 'vehicle_office', 'squadron') THEN make_array('full_marks', 'review') ELSE make_array('review') END AS services
FROM (SELECT unnest(generate_series(1, 79)) AS n) AS s
JOIN planned_kinds AS k ON n >= k.first_site AND n < k.first_site + k.planned
ORDER BY n;

INSERT INTO townships
SELECT 'T' || lpad(CAST(n AS VARCHAR), 3, '0') AS township, round(104.8 + 1.4 * chance('town lon', n), 5) AS lon, round(26.6 + 0.9 * chance('town lat', n), 5) AS lat
FROM (SELECT unnest(generate_series(1, 250)) AS n) AS t ORDER BY n;

-- === drivers and points ===

CREATE TABLE people_rows AS
SELECT
    i, 'driver-' || lpad(CAST(i AS VARCHAR), 6, '0') AS driver_id,
    add_days(CAST('2003-01-01' AS DATE), CAST(floor(chance('licensed', i) * 7000) AS BIGINT)) AS licensed_on,
    chance('class', i) AS class,
    -ln(1.0 - chance('prone', i)) * 2.2 AS prone
FROM numbers;

INSERT INTO drivers
SELECT driver_id, licensed_on, 'T' || lpad(CAST(1 + CAST(floor(chance('home', i) * 250) AS BIGINT) AS VARCHAR), 3, '0') AS township
FROM people_rows WHERE chance('unregistered', i) > 0.005 ORDER BY i;

INSERT INTO licences
SELECT
    driver_id, CAST(licensed_on AS TIMESTAMP WITH TIME ZONE) AS valid_from,
    CASE WHEN class < 0.80 THEN make_array('C1') WHEN class < 0.92 THEN make_array('B2', 'C1') WHEN class < 0.97 THEN make_array('A2') ELSE make_array('A1', 'D') END AS classes
FROM people_rows ORDER BY i;

INSERT INTO points_schedule
SELECT column1 AS offence_code, CAST('2022-04-01T00:00:00+08:00' AS TIMESTAMP WITH TIME ZONE) AS effective_from, column2 AS points
FROM (VALUES ('1039', 1), ('1208', 3), ('1301', 6), ('1345', 9), ('1712', 12)) AS p;

CREATE TABLE offences AS
SELECT
    i, k, driver_id, licensed_on, 'penalty-' || lpad(CAST(i AS VARCHAR), 6, '0') || '-' || CAST(k AS VARCHAR) AS penalty_id,
    add_days(started_at(), CAST(floor(chance('day', i, k) * (365 + days())) AS BIGINT) - 365)
        + CAST(CAST(CAST(floor(3600 * CASE
            WHEN chance('rush', i, k) < 0.35 THEN 7 + 2 * chance('hour', i, k)
            WHEN chance('rush', i, k) < 0.75 THEN 17 + 2.5 * chance('hour', i, k)
            ELSE 24 * chance('hour', i, k) END) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS occurred_at,
    CASE WHEN chance('code', i, k) < 0.42 THEN '1039' WHEN chance('code', i, k) < 0.72 THEN '1208' WHEN chance('code', i, k) < 0.89 THEN '1301'
         WHEN chance('code', i, k) < 0.96 THEN '1345' WHEN chance('code', i, k) < 0.99 THEN '1712' ELSE '7777' END AS offence_code,
    CASE WHEN chance('code', i, k) < 0.42 THEN 1 WHEN chance('code', i, k) < 0.72 THEN 3 WHEN chance('code', i, k) < 0.89 THEN 6
         WHEN chance('code', i, k) < 0.96 THEN 9 WHEN chance('code', i, k) < 0.99 THEN 12 ELSE 0 END AS points,
    1 + CAST(floor(chance('decided', i, k) * 20) AS BIGINT) AS decided_after_days,
    chance('void', i, k) < 0.02 AS is_void
FROM (SELECT i, driver_id, licensed_on, unnest(generate_series(1, CAST(floor(prone) AS BIGINT))) AS k FROM people_rows WHERE prone >= 1) AS p;

-- In the order in which they are decided; one in a hundred comes twice.
INSERT INTO penalties
SELECT
    penalty_id, CASE WHEN chance('nobody', i, k) < 0.01 THEN NULL ELSE driver_id END AS driver_id, occurred_at, offence_code,
    CASE WHEN chance('written', i, k) < 0.3 AND points > 0 THEN points END AS points
FROM offences
JOIN (SELECT unnest(generate_series(1, 2)) AS copy) AS c ON c.copy = 1 OR chance('twice', i, k) < 0.01
ORDER BY add_days(occurred_at, decided_after_days), penalty_id;

INSERT INTO penalty_voids
SELECT penalty_id, 'plate recorded wrongly' AS ground, add_days(occurred_at, 25) AS voided_at
FROM offences WHERE is_void ORDER BY voided_at, penalty_id;

-- A middleman's telephone and card for one in forty.
INSERT INTO handlings
SELECT
    'handling-' || substr(penalty_id, 9) AS handling_id, penalty_id, driver_id, '贵F' || lpad(CAST(i % 100000 AS VARCHAR), 5, '0') AS plate,
    add_days(occurred_at, decided_after_days) AS handled_at,
    CASE WHEN chance('bought', i, k) < 0.025 THEN 'payer-9' ELSE driver_id END AS payer_id,
    CASE WHEN chance('bought', i, k) < 0.025 THEN 'tablet-4' ELSE 'telephone of ' || driver_id END AS device_id,
    '138' || lpad(CAST(i AS VARCHAR), 8, '0') AS phone
FROM offences ORDER BY handled_at, handling_id;

-- === studies ===

CREATE TABLE cycles AS
SELECT
    i, driver_id, cycle_started_on, add_months(cycle_started_on, 12) AS cycle_ends_on, max(so_far) AS points,
    min(CASE WHEN so_far >= 12 THEN occurred_at END) AS full_at
FROM (
    SELECT *, sum(points) OVER (PARTITION BY driver_id, cycle_started_on ORDER BY occurred_at, penalty_id) AS so_far
    FROM (
        SELECT *, add_months(licensed_on, 12 * (years - CASE WHEN add_months(licensed_on, 12 * years) > local_date(occurred_at) THEN 1 ELSE 0 END)) AS cycle_started_on
        FROM (
            SELECT *, CAST(date_part('year', local_date(occurred_at)) AS BIGINT) - CAST(date_part('year', licensed_on) AS BIGINT) AS years
            FROM offences WHERE NOT is_void AND chance('nobody', i, k) >= 0.01
        ) AS o
    ) AS o
) AS o
GROUP BY i, driver_id, cycle_started_on;

-- Most of those who had full marks before have passed the examination since.
INSERT INTO clearances
SELECT driver_id, cycle_started_on, add_days(full_at, 20) AS cleared_at
FROM cycles WHERE full_at < add_days(started_at(), -15) AND chance('passes', i) < 0.93
ORDER BY cleared_at, driver_id;

-- Two classes on the days behind the enrolment, then five evenings online.
CREATE TABLE enrolled AS
SELECT
    i, driver_id, 'enrolment-' || substr(driver_id, 8) || '-' || CAST(cycle_started_on AS VARCHAR) AS enrolment_id,
    driver_id || '/' || CAST(cycle_started_on AS VARCHAR) || '/full_marks' AS obligation_id,
    'S' || lpad(CAST(1 + CAST(floor(chance('station', i) * 22) AS BIGINT) AS VARCHAR), 2, '0') AS site_id,
    enrolled_on,
    CAST(enrolled_on AS TIMESTAMP WITH TIME ZONE) + CAST(CAST(510 + CAST(floor(chance('minute', i) * 480) AS BIGINT) AS VARCHAR) || ' minutes' AS INTERVAL) AS enrolled_at
FROM (SELECT *, add_days(local_date(full_at), 1 + CAST(floor(chance('enrols', i) * 14) AS BIGINT)) AS enrolled_on FROM cycles) AS f
WHERE full_at >= add_days(started_at(), -15) AND full_at < add_days(started_at(), days() - 5) AND chance('studies', i) < 0.85;

-- A review: three hours on an evening within three weeks behind the cycle.
CREATE TABLE reviewed AS
SELECT
    c.i, c.driver_id, 'enrolment-' || substr(c.driver_id, 8) || '-' || CAST(c.cycle_ends_on AS VARCHAR) AS enrolment_id,
    c.driver_id || '/' || CAST(c.cycle_started_on AS VARCHAR) || '/review' AS obligation_id,
    'S' || lpad(CAST(1 + CAST(floor(chance('review at', c.i) * 79) AS BIGINT) AS VARCHAR), 2, '0') AS site_id,
    CAST(c.cycle_ends_on AS TIMESTAMP WITH TIME ZONE) + CAST(CAST(9 + 24 * CAST(floor(chance('review', c.i) * 20) AS BIGINT) AS VARCHAR) || ' hours' AS INTERVAL) AS enrolled_at
FROM cycles AS c JOIN people_rows AS p ON p.i = c.i
WHERE c.full_at IS NULL AND p.class >= 0.80 AND c.cycle_ends_on <= add_days(local_date(started_at()), days() - 22) AND chance('reviewed', c.i) < 0.92;

INSERT INTO enrolments
SELECT enrolment_id, obligation_id, driver_id, site_id, enrolled_at FROM (
    SELECT enrolment_id, obligation_id, driver_id, site_id, enrolled_at FROM enrolled
    UNION ALL
    SELECT enrolment_id, obligation_id, driver_id, site_id, enrolled_at FROM reviewed
) AS e ORDER BY enrolled_at, enrolment_id;

CREATE TABLE class_days AS
SELECT
    e.i, e.enrolment_id, e.site_id, e.enrolled_at, d.n,
    'class-' || e.site_id || '-' || CAST(add_days(e.enrolled_on, d.n) AS VARCHAR) AS class_id,
    CAST(add_days(e.enrolled_on, d.n) AS TIMESTAMP WITH TIME ZONE) + INTERVAL '9 hours' AS starts_at
FROM enrolled AS e CROSS JOIN (SELECT unnest(generate_series(1, 3)) AS n) AS d
WHERE d.n <= 2 OR chance('once more', e.i) < 0.15;

INSERT INTO classes
SELECT DISTINCT class_id, site_id, starts_at, starts_at + INTERVAL '3 hours' AS ends_at, 20 AS seats FROM class_days ORDER BY starts_at, class_id;

INSERT INTO bookings SELECT enrolment_id, class_id, enrolled_at AS booked_at FROM class_days ORDER BY enrolled_at, enrolment_id, class_id;

-- Four in a hundred stay away, two forget the check-out, one in a hundred faces is somebody else's.
INSERT INTO attendance_marks
SELECT
    'mark-' || m.direction || '-' || substr(enrolment_id, 11) || '-' || CAST(n AS VARCHAR) AS mark_id, enrolment_id, class_id, site_id, m.direction,
    CASE m.direction
        WHEN 'in' THEN starts_at - CAST(CAST(CAST(floor(chance('in', i, n) * 1500) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL)
        ELSE starts_at + CAST(CAST(10800 - 300 + CAST(floor(chance('out', i, n) * 1200) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL)
    END AS marked_at,
    round(CASE WHEN chance('somebody else', i, n) < 0.01 THEN 0.3 + 0.3 * chance('score', i, n, m.direction) ELSE 0.86 + 0.13 * chance('score', i, n, m.direction) END, 3) AS match_score
FROM class_days CROSS JOIN (SELECT column1 AS direction FROM (VALUES ('in'), ('out')) AS v) AS m
WHERE chance('stays away', i, n) >= 0.04 AND (m.direction = 'in' OR chance('forgets', i, n) >= 0.02)
ORDER BY marked_at, mark_id;

CREATE TABLE lesson_rows AS
SELECT
    e.i, d.n, e.enrolment_id, 'lesson-' || substr(e.enrolment_id, 11) || '-' || CAST(d.n AS VARCHAR) AS lesson_id,
    CASE WHEN chance('tablet', e.i) < 0.03 THEN 'tablet-4' ELSE 'telephone of ' || e.driver_id END AS device_id,
    CAST(add_days(e.enrolled_on, d.n + CASE WHEN d.n = 8 THEN -7 ELSE 2 END) AS TIMESTAMP WITH TIME ZONE)
        + CASE WHEN d.n = 8 THEN INTERVAL '10 hours' ELSE INTERVAL '19 hours 30 minutes' END
        + CAST(CAST(CAST(floor(chance('begins', e.i, d.n) * 30) AS BIGINT) AS VARCHAR) || ' minutes' AS INTERVAL) AS started_at,
    CASE WHEN chance('short', e.i, d.n) < 0.06 THEN 90 ELSE 180 + CAST(floor(chance('long', e.i, d.n) * 30) AS BIGINT) END AS minutes
FROM enrolled AS e CROSS JOIN (SELECT unnest(generate_series(1, 8)) AS n) AS d
WHERE d.n <= 5 OR (d.n <= 7 AND chance('goes on', e.i) < 0.3) OR (d.n = 8 AND chance('two places', e.i) < 0.05);

INSERT INTO online_lessons
SELECT lesson_id, enrolment_id, device_id, started_at, started_at + CAST(CAST(minutes AS VARCHAR) || ' minutes' AS INTERVAL) AS ended_at
FROM (
    SELECT lesson_id, enrolment_id, device_id, started_at, minutes FROM lesson_rows
    UNION ALL
    SELECT 'lesson-' || substr(enrolment_id, 11) || '-r', enrolment_id, 'telephone of ' || driver_id, enrolled_at + INTERVAL '10 hours', 185 FROM reviewed
) AS l ORDER BY ended_at, lesson_id;

CREATE VIEW watched AS
SELECT i, n, enrolment_id, class_id AS session_id, starts_at, 180 AS minutes FROM class_days WHERE chance('stays away', i, n) >= 0.04
UNION ALL
SELECT i, n + 10, enrolment_id, lesson_id, started_at, minutes FROM lesson_rows
UNION ALL
SELECT i, 30, enrolment_id, 'lesson-' || substr(enrolment_id, 11) || '-r', enrolled_at + INTERVAL '10 hours', 185 FROM reviewed;

INSERT INTO snapshots
SELECT
    'snapshot-' || substr(enrolment_id, 11) || '-' || CAST(n AS VARCHAR) || '-' || CAST(q AS VARCHAR) AS snapshot_id, enrolment_id, session_id,
    starts_at + CAST(CAST(CAST(floor(chance('picture', i, n, q) * minutes * 60) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS taken_at,
    CASE WHEN chance('empty', i, n, q) < 0.03 THEN NULL
         WHEN chance('other face', i, n) < 0.01 THEN 0.41
         ELSE round(0.84 + 0.15 * chance('face', i, n, q), 3) END AS match_score
FROM watched CROSS JOIN (SELECT unnest(generate_series(1, 3)) AS q) AS p
ORDER BY taken_at, snapshot_id;

-- County and city look at most of what they drew, within two days.
INSERT INTO session_inspections
SELECT
    enrolment_id, session_id, level, add_days(starts_at, 1 + CAST(floor(chance('looks', i, n) * 2) AS BIGINT)) AS inspected_at,
    CASE WHEN chance('verdict', i, n) < 0.05 THEN 'failed' ELSE 'passed' END AS verdict,
    'inspector ' || CAST(1 + CAST(floor(chance('inspector', i, n) * 4) AS BIGINT) AS VARCHAR) AS inspector_id
FROM watched CROSS JOIN (SELECT column1 AS level, column2 AS cutoff FROM (VALUES ('county', '019999999'), ('city', '0051eb851')) AS v) AS l
WHERE '0' || left(encode(sha256('curb/' || level || '/' || enrolment_id || '/' || session_id), 'hex'), 8) < cutoff AND chance('inspected', i, n, level) < 0.9
ORDER BY inspected_at, enrolment_id, session_id, level;

-- === counters ===

INSERT INTO guides
SELECT column1 AS kind, CAST('2019-01-01T00:00:00+08:00' AS TIMESTAMP WITH TIME ZONE) AS effective_from, column2 AS text
FROM (VALUES ('full_marks', 'Two days at a station, five evenings online, then the examination.'), ('review', 'Three hours online when the cycle has ended.')) AS g;

CREATE VIEW visits AS
SELECT 'visit-e' || substr(enrolment_id, 11) AS visit_id, site_id, driver_id, enrolled_at - INTERVAL '4 minutes' AS visited_at FROM enrolled
UNION ALL
SELECT
    'visit-' || CAST(n AS VARCHAR), 'S' || lpad(CAST(1 + CAST(floor(power(chance('counter', n), 2) * 79) AS BIGINT) AS VARCHAR), 2, '0'),
    CASE WHEN chance('unknown', n) < 0.05 THEN NULL ELSE 'driver-' || lpad(CAST(1 + CAST(floor(chance('who', n) * people()) AS BIGINT) AS VARCHAR), 6, '0') END,
    add_days(started_at(), CAST(floor(chance('on', n) * days()) AS BIGINT))
        + CAST(CAST(30600 + CAST(floor(chance('at', n) * 32400) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL)
FROM (SELECT unnest(generate_series(1, CAST(people() * days() / 60 AS BIGINT))) AS n) AS v;

-- Up to fifty seconds late, now and then twice.
INSERT INTO counter_visits
SELECT visit_id, site_id, driver_id, visited_at
FROM visits JOIN (SELECT unnest(generate_series(1, 2)) AS copy) AS c ON c.copy = 1 OR chance('again', visit_id) < 0.01
ORDER BY visited_at + CAST(CAST(CAST(floor(chance('late', visit_id, c.copy) * 50) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL), visit_id;
