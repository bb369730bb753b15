-- Purpose:    traces of bought and sold points, of middlemen, and of one device that studies for many.
-- Inputs:     handlings, penalty_voids, online_lessons, enrolments, fraud_policy, fraud_exemptions.
-- Outputs:    sink fraud_cases (append, restricted topic, proposals until an officer approves; consumers: the city's and county's
--             posts), sink exempt_uses (append, restricted: what was logged and not counted).
-- Rules:      in a calendar month, one payer, device or telephone that handles points for drivers_from different drivers; one
--             licence that takes the points of plates_from different vehicles; one device on which lesson_drivers_from
--             different drivers study. Empty keys and those that stand for nothing never count, nor what is exempt, nor the
--             handling of a penalty that is voided.
-- Thresholds: fraud_policy when the month begins, so that none changes within it; 3 drivers, 4 plates and 3 drivers where none is in force.
-- Limits:     vehicles of a family are told from sold points by an exemption of the licence, not by the register of owners.

CREATE VIEW standing_handlings AS
SELECT h.handling_id, h.driver_id, h.plate, h.handled_at, h.payer_id, h.device_id, h.phone
FROM handlings AS h
WHERE NOT EXISTS (SELECT 1 FROM penalty_voids AS v WHERE v.penalty_id = h.penalty_id);

-- What was used, and for whom or what.
CREATE VIEW uses AS
SELECT 'payer' AS kind, payer_id AS key, driver_id AS subject, handling_id AS use_id, handled_at AS used_at FROM standing_handlings
UNION ALL
SELECT 'device', device_id, driver_id, handling_id, handled_at FROM standing_handlings
UNION ALL
SELECT 'phone', phone, driver_id, handling_id, handled_at FROM standing_handlings
UNION ALL
SELECT 'licence', driver_id, CASE WHEN plate_sentinel(plate) THEN NULL ELSE plate END, handling_id, handled_at FROM standing_handlings
UNION ALL
SELECT 'lesson_device', l.device_id, e.driver_id, l.lesson_id, l.started_at
FROM online_lessons AS l
JOIN enrolments AS e ON e.enrolment_id = l.enrolment_id;

CREATE VIEW assessed_uses AS
SELECT
    u.kind, u.key, u.subject, u.use_id, u.used_at, x.reason,
    x.key IS NOT NULL AND (x.valid_to IS NULL OR u.used_at < x.valid_to) AS is_exempt
FROM uses AS u
LEFT JOIN fraud_exemptions FOR SYSTEM_TIME AS OF u.used_at AS x ON x.kind = u.kind AND x.key = u.key
WHERE u.subject IS NOT NULL
  AND upper(unicode_trim(u.key)) NOT IN ('', '0', 'NULL', 'NONE', 'UNKNOWN', '00000000000', '未知');

CREATE VIEW month_uses AS
SELECT
    kind, key, year_month(used_at) AS month,
    min(date_trunc('month', used_at)) AS month_started_at,
    count(DISTINCT subject) AS subjects,
    array_agg(use_id ORDER BY used_at, use_id) AS evidence
FROM assessed_uses
WHERE NOT is_exempt
GROUP BY kind, key, year_month(used_at);

CREATE TABLE suspected_fraud (PRIMARY KEY (kind, key, month)) AS
SELECT u.kind, u.key, u.month, u.subjects, u.evidence
FROM month_uses AS u
LEFT JOIN fraud_policy FOR SYSTEM_TIME AS OF u.month_started_at AS p ON TRUE
WHERE u.subjects >= CASE u.kind
    WHEN 'licence' THEN coalesce(p.plates_from, 4)
    WHEN 'lesson_device' THEN coalesce(p.lesson_drivers_from, 3)
    ELSE coalesce(p.drivers_from, 3)
END;

CREATE SINK fraud_cases WITH (topic = 'fraud-cases', format = 'json', key = 'key', allow_private = true) AS
SELECT
    coalesce(after.kind, before.kind) AS kind,
    coalesce(after.key, before.key) AS key,
    coalesce(after.month, before.month) AS month,
    coalesce(after.subjects, before.subjects) AS subjects,
    coalesce(after.evidence, before.evidence) AS evidence,
    CASE WHEN after.kind IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(suspected_fraud);

CREATE TABLE exempted_uses (PRIMARY KEY (kind, use_id)) AS
SELECT kind, use_id, key, used_at, reason FROM assessed_uses WHERE is_exempt;

CREATE SINK exempt_uses WITH (topic = 'exempt-uses', format = 'json', allow_private = true) AS
SELECT kind, use_id, key, used_at, reason FROM exempted_uses;
