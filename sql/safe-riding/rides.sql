-- Purpose:    counted captures of a person and local calendar month become rides, numbered from 1; each is set against the
--             person's age, delivered visits, and the thresholds.
-- Inputs:     assessed_captures, persons, visits, appeals.
-- Outputs:    judged_rides (one row a ride, with all that decides its actions), punished_rides (those that are punished).
-- Thresholds: a capture more than 30 minutes after the one before it starts a ride; a delivered visit counts for 12 calendar
--             months; under 16 full years a rider is a minor; visit_from and urgent_from of the policy at the ride's start.

-- Everything up to the stages is one chain over (person_id, month): touch one capture, and that month is numbered anew.
CREATE VIEW month_captures AS
SELECT
    person_id, year_month(captured_at) AS month, captured_at, capture_id, visit_from, urgent_from, deduction, improve_below
FROM assessed_captures
WHERE reason IS NULL;

CREATE VIEW ride_beginnings AS
SELECT *, CASE WHEN captured_at <= lag(captured_at) OVER in_time + INTERVAL '30 minutes' THEN 0 ELSE 1 END AS begins
FROM month_captures
WINDOW in_time AS (PARTITION BY person_id, month ORDER BY captured_at, capture_id);

CREATE VIEW numbered_captures AS
SELECT *, sum(begins) OVER (PARTITION BY person_id, month ORDER BY captured_at, capture_id) AS n
FROM ride_beginnings;

-- The policy of a ride is that of its first capture.
CREATE VIEW rides AS
SELECT
    person_id, month, n,
    min(captured_at) AS ride_started_at,
    array_agg(capture_id ORDER BY captured_at, capture_id) AS evidence,
    min(CASE WHEN begins = 1 THEN visit_from END) AS visit_from,
    min(CASE WHEN begins = 1 THEN urgent_from END) AS urgent_from,
    min(CASE WHEN begins = 1 THEN deduction END) AS deduction,
    min(CASE WHEN begins = 1 THEN improve_below END) AS improve_below
FROM numbered_captures
GROUP BY person_id, month, n;

-- The first ride of the month at or above a threshold is where its stage begins.
CREATE VIEW month_thresholds AS
SELECT
    person_id, month, n, ride_started_at, evidence, deduction, improve_below,
    min(CASE WHEN n >= visit_from THEN n END) OVER (PARTITION BY person_id, month) AS first_visit,
    min(CASE WHEN n >= urgent_from THEN n END) OVER (PARTITION BY person_id, month) AS first_urgent
FROM rides;

CREATE VIEW staged_rides AS
SELECT
    person_id, month, n, ride_started_at, evidence, deduction, improve_below,
    first_visit IS NULL OR n < first_visit AS is_occasional,
    coalesce(n = first_visit, false) AS is_visit,
    coalesce(n = first_urgent, false) AND first_urgent IS DISTINCT FROM first_visit AS is_urgent
FROM month_thresholds;

-- Delivered visits of a person may overlap, and clamping to a month's end can let an earlier one last longer. As with
-- exemptions: each span runs from one completion to the next, for as long as any visit completed so far still counts.
CREATE VIEW treatment_spans AS
SELECT person_id, completed_at, CASE WHEN next_at < counts_until THEN next_at ELSE counts_until END AS span_to
FROM (
    SELECT
        person_id, completed_at,
        lead(completed_at) OVER in_time AS next_at,
        max(add_months(completed_at, 12)) OVER in_time AS counts_until
    FROM visits
    WHERE delivered
    WINDOW in_time AS (PARTITION BY person_id ORDER BY completed_at, visit_id)
) AS v;

-- Grid and employer are needed where somebody is sent.
CREATE VIEW judged_rides AS
SELECT
    r.person_id, r.month, r.n, r.ride_started_at, r.evidence, r.deduction, r.improve_below,
    r.is_occasional, r.is_visit, r.is_urgent,
    coalesce(age_in_years(p.birth_date, local_date(r.ride_started_at)) < 16, false) AS is_minor,
    t.person_id IS NOT NULL AS is_treated,
    nullif(p.household_id, '') AS household_id,
    CASE WHEN r.is_visit OR r.is_urgent THEN nullif(p.grid_id, '') END AS grid_id,
    CASE WHEN r.is_visit THEN nullif(p.employer_id, '') END AS employer_id,
    nullif(p.party_branch_id, '') AS party_branch_id,
    nullif(p.reminder_channel, '') AS reminder_channel,
    nullif(p.second_channel, '') AS second_channel
FROM staged_rides AS r
LEFT JOIN persons AS p ON p.person_id = r.person_id
LEFT JOIN treatment_spans AS t
    ON t.person_id = r.person_id AND r.ride_started_at > t.completed_at AND r.ride_started_at <= t.span_to;

CREATE VIEW open_appeals AS
SELECT DISTINCT person_id FROM appeals WHERE closed_at IS NULL AND person_id IS NOT NULL;

-- While an appeal of a person is open nobody punishes them; reminders and visits go on.
CREATE VIEW punished_rides AS
SELECT r.person_id, r.month, r.n, r.ride_started_at, r.evidence, r.deduction, r.improve_below, r.household_id
FROM judged_rides AS r
WHERE NOT r.is_minor AND r.is_treated
    AND NOT EXISTS (SELECT 1 FROM open_appeals AS o WHERE o.person_id = r.person_id);
