-- Purpose:    which sessions of a study count: who came, stayed, and was the person who must study.
-- Inputs:     enrolments, classes, bookings, attendance_marks, online_lessons, snapshots, session_inspections, attendance_policy.
-- Outputs:    judged_sessions; sinks session_attendance (upsert by enrolment_id and session_id; consumers: the driver, service
--             points) and session_reviews (upsert, a tombstone when nothing is in doubt any more; consumers: the county's and
--             city's posts).
-- Rules:      a class is judged when the time for marks is over. Its first check-in and last check-out count, in this order and
--             at its site; presence is what lies between an `in` and the `out` that follows, within the class. Facts void a
--             session: absent, no_check_in, no_check_out, wrong_order, wrong_site, short_presence; of lessons wrong_order and
--             too_long. Doubts hold it until a post has looked: face_mismatch (any picture or mark below the score),
--             missing_in_pictures, two_places (the same driver elsewhere at the same time: all of these sessions), two_at_once (at
--             the same place or device). The verdict of the highest level that looked decides: failed voids, passed ends
--             a doubt, restored also makes up for a fact, as when a gate was broken.
-- Thresholds: attendance_policy when the session starts; score 0.8, 2 pictures without anybody, 0.9 of the class present, marks
--             from 60 minutes before until 60 minutes behind the class, lessons of at most 240 minutes, where none is in force.

-- === on site ===

CREATE VIEW class_rules AS
SELECT
    c.class_id, c.site_id, c.starts_at, c.ends_at,
    c.starts_at - coalesce(p.check_in_minutes, 60) * INTERVAL '1 minute' AS marks_from,
    c.ends_at + coalesce(p.check_out_minutes, 60) * INTERVAL '1 minute' AS marks_until,
    coalesce(p.presence_min, 0.9) AS presence_min,
    coalesce(p.match_score_min, 0.8) AS match_score_min,
    coalesce(p.missing_from, 2) AS missing_from
FROM classes AS c
LEFT JOIN attendance_policy FOR SYSTEM_TIME AS OF c.starts_at AS p ON TRUE;

-- Who was expected, and who came without.
CREATE VIEW expected_sessions AS
SELECT enrolment_id, class_id FROM bookings
UNION
SELECT enrolment_id, class_id FROM attendance_marks;

CREATE VIEW class_marks AS
SELECT
    m.enrolment_id, m.class_id, m.mark_id, m.direction, m.marked_at, c.starts_at, c.ends_at,
    m.site_id <> c.site_id AS is_elsewhere,
    coalesce(m.match_score < c.match_score_min, false) AS is_mismatch
FROM attendance_marks AS m
JOIN class_rules AS c ON c.class_id = m.class_id
WHERE m.marked_at >= c.marks_from AND m.marked_at <= c.marks_until;

CREATE VIEW paired_marks AS
SELECT
    enrolment_id, class_id, mark_id, direction, marked_at, is_elsewhere, is_mismatch, starts_at, ends_at,
    lead(direction) OVER in_time AS next_direction,
    lead(marked_at) OVER in_time AS next_at
FROM class_marks
WINDOW in_time AS (PARTITION BY enrolment_id, class_id ORDER BY marked_at, mark_id);

CREATE VIEW class_presences AS
SELECT
    enrolment_id, class_id,
    min(CASE WHEN direction = 'in' THEN marked_at END) AS checked_in_at,
    max(CASE WHEN direction = 'out' THEN marked_at END) AS checked_out_at,
    sum(CASE WHEN direction = 'in' AND next_direction = 'out' AND next_at > starts_at AND marked_at < ends_at
             THEN elapsed_ms(greatest(marked_at, starts_at), least(next_at, ends_at)) ELSE 0 END) AS present_ms,
    count(CASE WHEN is_elsewhere THEN 1 END) AS elsewhere,
    count(CASE WHEN is_mismatch THEN 1 END) AS mismatches
FROM paired_marks
GROUP BY enrolment_id, class_id;

CREATE TABLE expected_presences (PRIMARY KEY (enrolment_id, session_id)) AS
SELECT
    x.enrolment_id, x.class_id AS session_id, c.site_id, c.starts_at, c.ends_at, c.marks_until,
    c.presence_min, c.match_score_min, c.missing_from,
    p.checked_in_at, p.checked_out_at, coalesce(p.present_ms, 0) AS present_ms,
    coalesce(p.elsewhere, 0) AS elsewhere, coalesce(p.mismatches, 0) AS mismatches
FROM expected_sessions AS x
JOIN class_rules AS c ON c.class_id = x.class_id
LEFT JOIN class_presences AS p ON p.enrolment_id = x.enrolment_id AND p.class_id = x.class_id;

CREATE VIEW onsite_sessions AS
SELECT
    enrolment_id, session_id, 'onsite' AS mode, site_id, site_id AS place, starts_at,
    checked_in_at AS started_at, checked_out_at AS ended_at, present_ms, match_score_min, missing_from, mismatches,
    CASE
        WHEN checked_in_at IS NULL AND checked_out_at IS NULL THEN 'absent'
        WHEN elsewhere > 0 THEN 'wrong_site'
        WHEN checked_in_at IS NULL THEN 'no_check_in'
        WHEN checked_out_at IS NULL THEN 'no_check_out'
        WHEN checked_out_at < checked_in_at THEN 'wrong_order'
        WHEN CAST(present_ms AS DOUBLE) < presence_min * CAST(elapsed_ms(starts_at, ends_at) AS DOUBLE) THEN 'short_presence'
    END AS fault
FROM PASSED(expected_presences, marks_until);

-- === online ===

CREATE VIEW online_sessions AS
SELECT
    l.enrolment_id, l.lesson_id AS session_id, 'online' AS mode, CAST(NULL AS VARCHAR) AS site_id,
    'device ' || coalesce(l.device_id, '') AS place, l.started_at AS starts_at, l.started_at, l.ended_at,
    greatest(elapsed_ms(l.started_at, l.ended_at), 0) AS present_ms,
    coalesce(p.match_score_min, 0.8) AS match_score_min,
    coalesce(p.missing_from, 2) AS missing_from,
    0 AS mismatches,
    CASE
        WHEN l.ended_at < l.started_at THEN 'wrong_order'
        WHEN elapsed_ms(l.started_at, l.ended_at) > coalesce(p.lesson_minutes_max, 240) * 60000 THEN 'too_long'
    END AS fault
FROM online_lessons AS l
LEFT JOIN attendance_policy FOR SYSTEM_TIME AS OF l.started_at AS p ON TRUE
WHERE l.ended_at IS NOT NULL;

-- === both ===

CREATE VIEW sessions AS
SELECT
    s.enrolment_id, s.session_id, e.driver_id, s.mode, s.site_id, s.place, s.starts_at, s.started_at, s.ended_at, s.present_ms,
    s.match_score_min, s.missing_from, s.mismatches, s.fault
FROM (
    SELECT enrolment_id, session_id, mode, site_id, place, starts_at, started_at, ended_at, present_ms, match_score_min,
        missing_from, mismatches, fault
    FROM onsite_sessions
    UNION ALL
    SELECT enrolment_id, session_id, mode, site_id, place, starts_at, started_at, ended_at, present_ms, match_score_min,
        missing_from, mismatches, fault
    FROM online_sessions
) AS s
JOIN enrolments AS e ON e.enrolment_id = s.enrolment_id;

CREATE VIEW session_pictures AS
SELECT
    s.enrolment_id, s.session_id,
    count(*) AS pictures,
    count(CASE WHEN n.match_score IS NULL THEN 1 END) AS missing,
    count(CASE WHEN n.match_score < s.match_score_min THEN 1 END) AS mismatches
FROM sessions AS s
JOIN snapshots AS n ON n.enrolment_id = s.enrolment_id AND n.session_id = s.session_id
GROUP BY s.enrolment_id, s.session_id;

-- One person twice at a time: sessions of a driver that overlap, each with the others.
CREATE VIEW double_presences AS
SELECT
    a.enrolment_id, a.session_id,
    min(b.session_id) AS other_session_id,
    bool_or(a.place <> b.place) AS is_elsewhere
FROM sessions AS a
JOIN sessions AS b ON b.driver_id = a.driver_id
WHERE (a.enrolment_id <> b.enrolment_id OR a.session_id <> b.session_id)
  AND a.started_at < b.ended_at AND b.started_at < a.ended_at
GROUP BY a.enrolment_id, a.session_id;

-- The highest level that looked decides.
CREATE VIEW session_verdicts AS
SELECT enrolment_id, session_id, last_value(verdict ORDER BY rank) AS verdict
FROM (
    SELECT enrolment_id, session_id, verdict, CASE level WHEN 'city' THEN 3 WHEN 'county' THEN 2 ELSE 1 END AS rank
    FROM session_inspections
) AS i
GROUP BY enrolment_id, session_id;

CREATE VIEW assessed_sessions AS
SELECT
    s.enrolment_id, s.session_id, s.driver_id, s.mode, s.site_id, s.starts_at, s.started_at, s.ended_at, s.present_ms,
    coalesce(p.pictures, 0) AS pictures,
    d.other_session_id,
    v.verdict,
    CASE
        WHEN s.fault IS NOT NULL THEN s.fault
        WHEN s.mismatches + coalesce(p.mismatches, 0) > 0 THEN 'face_mismatch'
        WHEN coalesce(p.missing, 0) >= s.missing_from THEN 'missing_in_pictures'
        WHEN d.is_elsewhere THEN 'two_places'
        WHEN d.other_session_id IS NOT NULL THEN 'two_at_once'
    END AS reason,
    s.fault IS NOT NULL AS is_fault
FROM sessions AS s
LEFT JOIN session_pictures AS p ON p.enrolment_id = s.enrolment_id AND p.session_id = s.session_id
LEFT JOIN double_presences AS d ON d.enrolment_id = s.enrolment_id AND d.session_id = s.session_id
LEFT JOIN session_verdicts AS v ON v.enrolment_id = s.enrolment_id AND v.session_id = s.session_id;

CREATE TABLE judged_sessions (PRIMARY KEY (enrolment_id, session_id)) AS
SELECT
    enrolment_id, session_id, driver_id, mode, site_id, starts_at, started_at, ended_at, present_ms / 60000 AS minutes, pictures,
    reason, other_session_id, is_fault,
    CASE
        WHEN verdict = 'failed' THEN 'void'
        WHEN reason IS NULL OR verdict = 'restored' THEN 'counted'
        WHEN is_fault THEN 'void'
        WHEN verdict = 'passed' THEN 'counted'
        ELSE 'held'
    END AS status
FROM assessed_sessions;

CREATE SINK session_attendance WITH (topic = 'session-attendance', format = 'json') AS
SELECT enrolment_id, session_id, mode, site_id, started_at, ended_at, minutes, status, reason FROM judged_sessions;

CREATE SINK session_reviews WITH (topic = 'session-reviews', format = 'json') AS
SELECT enrolment_id, session_id, driver_id, mode, site_id, reason, pictures, other_session_id
FROM judged_sessions
WHERE status = 'held';
