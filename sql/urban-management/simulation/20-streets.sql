-- What happens along the streets: inspections of the plan and at doors, some seen twice and some reported late; cases with chains of
-- evidence, of which a few are broken or incomplete; disorder that declines; and what units report of themselves.

-- === doors ===

CREATE VIEW doors AS
SELECT
    e, 'door-' || lpad(CAST(e AS VARCHAR), 5, '0') AS entity_code, town, 'unit-' || lpad(CAST(e % 30 AS VARCHAR), 2, '0') AS unit_id,
    -ln(1 - chance('careless', e)) * 0.18 AS careless
FROM (SELECT unnest(generate_series(1, people())) AS e) AS s JOIN towns ON t = e % 4;

INSERT INTO street_entities
SELECT
    entity_code, 'Shop ' || e AS name, town, unit_id, add_days(started_at(), -CAST(floor(chance('opened', e) * 2000) AS BIGINT)) AS opened_at,
    CASE WHEN chance('closed', e) < 0.02 THEN add_days(started_at(), CAST(floor(chance('closing', e) * days()) AS BIGINT)) END AS closed_at,
    '139' || lpad(CAST(e AS VARCHAR), 8, '0') AS telephone
FROM doors ORDER BY e;

CREATE TABLE door_looks AS
SELECT
    e, d, k, entity_code, 'look-' || e || '-' || d || '-' || k AS inspection_id, k AS aspect, chance('passed', e, d, k) >= careless AS passed,
    add_days(started_at(), d) + CAST(CAST(CAST(floor(30600 + chance('at', e, d) * 30000) AS BIGINT) + k * 20 AS VARCHAR) || ' seconds' AS INTERVAL) AS inspected_at
FROM doors CROSS JOIN (SELECT unnest(generate_series(0, days() - 1)) AS d) AS ds CROSS JOIN (SELECT unnest(generate_series(1, 7)) AS k) AS ks
WHERE chance('looked', e, d) < 0.06 AND chance('aspect', e, d, k) < 0.6;

-- One in twenty is uploaded a day late; one in forty is seen by a second inspector; one in two hundred is of a code that nobody knows.
INSERT INTO door_inspections
SELECT
    inspection_id || CASE copy WHEN 1 THEN '' ELSE '-b' END AS inspection_id,
    CASE WHEN chance('misread', e, d, k) < 0.005 THEN 'door-x' || e ELSE entity_code END AS entity_code, aspect, passed,
    inspected_at + CAST((copy - 1) * 40 || ' minutes' AS INTERVAL) AS inspected_at,
    'officer-' || lpad(CAST((e + d) % 20 AS VARCHAR), 4, '0') AS officer_id
FROM door_looks CROSS JOIN (SELECT unnest(generate_series(1, 2)) AS copy) AS c
WHERE copy = 1 OR chance('twice', e, d, k) < 0.025
ORDER BY add_days(inspected_at, CASE WHEN chance('late', e, d) < 0.05 THEN 1 ELSE 0 END), inspection_id, copy;

INSERT INTO door_rectifications
SELECT
    inspection_id, inspected_at + CAST(CAST(CAST(floor(-ln(1 - chance('fixed', e, d, k)) * 40) AS BIGINT) AS VARCHAR) || ' hours' AS INTERVAL) AS rectified_at,
    chance('accepted', e, d, k) < 0.95 AS accepted
FROM door_looks WHERE NOT passed AND chance('fixes', e, d, k) < 0.85
ORDER BY rectified_at, inspection_id;

INSERT INTO door_objections
SELECT
    inspection_id, add_days(inspected_at, 1) AS objected_at,
    CASE WHEN chance('verdict', e, d, k) < 0.2 THEN 'upheld' WHEN chance('verdict', e, d, k) < 0.8 THEN 'rejected' END AS verdict
FROM door_looks WHERE NOT passed AND chance('objects', e, d, k) < 0.03
ORDER BY objected_at, inspection_id;

-- === the plan ===

INSERT INTO plan_tasks
SELECT
    'task-' || lpad(CAST(n AS VARCHAR), 3, '0') AS task_id, 'unit-' || lpad(CAST(n % 40 AS VARCHAR), 2, '0') AS unit_id, 'Task ' || n AS title,
    started_at() AS starts_at, add_days(started_at(), 2 + CAST(floor(chance('due', n) * days() * 1.3) AS BIGINT)) AS due_at
FROM (SELECT unnest(generate_series(1, 154)) AS n) AS s ORDER BY n;

CREATE VIEW planned AS
SELECT n, k, 'task-' || lpad(CAST(n AS VARCHAR), 3, '0') AS task_id, 'object-' || n || '-' || k AS object_id, 'unit-' || lpad(CAST(n % 40 AS VARCHAR), 2, '0') AS unit_id
FROM (SELECT unnest(generate_series(1, 154)) AS n) AS s CROSS JOIN (SELECT unnest(generate_series(1, 6)) AS k) AS ks;

INSERT INTO plan_objects SELECT task_id, object_id FROM planned ORDER BY n, k;

INSERT INTO inspections
SELECT
    'inspection-' || n || '-' || k AS inspection_id, task_id, object_id, unit_id, 'officer-' || lpad(CAST(n % 20 AS VARCHAR), 4, '0') AS officer_id,
    add_days(started_at(), CAST(floor(chance('visited', n, k) * (2 + floor(chance('due', n) * days() * 1.3)) * 1.05) AS BIGINT)) + CAST(CAST(9 + n % 8 AS VARCHAR) || ' hours' AS INTERVAL) AS inspected_at,
    CASE WHEN chance('result', n, k) < 0.15 THEN 'violation' ELSE 'clean' END AS result
FROM planned WHERE chance('done', n, k) < 0.93
ORDER BY inspected_at, inspection_id;

-- === cases and evidence ===

CREATE TABLE case_rows AS
SELECT
    c, 'case-' || lpad(CAST(c AS VARCHAR), 5, '0') AS case_id, chance('general', c) < 0.6166 AS is_general,
    add_days(started_at(), CAST(floor(chance('day', c) * days()) AS BIGINT))
        + CAST(CAST(CAST(floor(30000 + chance('at', c) * 34000) AS BIGINT) AS VARCHAR) || ' seconds' AS INTERVAL) AS opened_at,
    CAST(floor(chance('leads', c) * 20) AS BIGINT) AS leads
FROM (SELECT unnest(generate_series(1, people() * days() / 6)) AS c) AS s;

-- The shorter procedure takes hours, the general one days; one in eighty is reversed.
INSERT INTO cases
SELECT
    case_id, 'unit-' || lpad(CAST(c % 30 AS VARCHAR), 2, '0') AS unit_id, town,
    CASE CAST(floor(chance('kind', c) * 4) AS INT) WHEN 0 THEN 'stall' WHEN 1 THEN 'parking' WHEN 2 THEN 'waste' ELSE 'smoke' END AS case_kind,
    CASE WHEN is_general THEN 'general' ELSE 'summary' END AS procedure, 'officer-' || lpad(CAST(leads AS VARCHAR), 4, '0') AS officer_id, opened_at,
    CASE WHEN chance('closed', c) < 0.9 THEN opened_at
        + CAST(CAST(CAST(floor(-ln(1 - chance('takes', c)) * CASE WHEN is_general THEN 60 ELSE 8 END * 60) AS BIGINT) AS VARCHAR) || ' minutes' AS INTERVAL) END AS closed_at,
    CASE WHEN chance('reversed', c) < 0.0125 THEN add_days(opened_at, 20) END AS reversed_at
FROM case_rows JOIN towns ON t = c % 4
ORDER BY opened_at, case_id;

-- A chain of three: each hash takes in the one before it.
CREATE VIEW link_facts AS
SELECT
    c, case_id, k, case_id || '-' || k AS evidence_id, k AS mode, (leads + k) % 20 AS officer,
    opened_at - INTERVAL '20 minutes' + CAST(CAST(k * 3 AS VARCHAR) || ' minutes' AS INTERVAL) AS captured_at,
    encode(sha256(case_id || '-' || k), 'hex') AS sha256
FROM case_rows CROSS JOIN (SELECT unnest(generate_series(1, 3)) AS k) AS ks;

CREATE TABLE first_links AS
SELECT *, CAST(NULL AS VARCHAR) AS prev_hash,
    encode(sha256(concat_ws('|', case_id, evidence_id, mode, CAST(captured_at AS BIGINT), sha256, '')), 'hex') AS chain_hash
FROM link_facts WHERE k = 1;
CREATE TABLE second_links AS
SELECT f.*, b.chain_hash AS prev_hash,
    encode(sha256(concat_ws('|', f.case_id, f.evidence_id, f.mode, CAST(f.captured_at AS BIGINT), f.sha256, b.chain_hash)), 'hex') AS chain_hash
FROM link_facts AS f JOIN first_links AS b ON b.case_id = f.case_id WHERE f.k = 2;
CREATE TABLE third_links AS
SELECT f.*, b.chain_hash AS prev_hash,
    encode(sha256(concat_ws('|', f.case_id, f.evidence_id, f.mode, CAST(f.captured_at AS BIGINT), f.sha256, b.chain_hash)), 'hex') AS chain_hash
FROM link_facts AS f JOIN second_links AS b ON b.case_id = f.case_id WHERE f.k = 3;

CREATE TABLE links AS
SELECT *, captured_at + CAST(CASE WHEN officer % 10 = 0 THEN '2 hours' ELSE '0 hours' END AS INTERVAL) AS uploaded_at
FROM (SELECT * FROM first_links UNION ALL SELECT * FROM second_links UNION ALL SELECT * FROM third_links) AS l;

-- One link in a hundred is lost, one in three hundred is not what was hashed; one device in ten uploads two hours late.
INSERT INTO evidence
SELECT
    evidence_id, chain_hash, case_id, 'officer-' || lpad(CAST(officer AS VARCHAR), 4, '0') AS officer_id, 'yi-' || officer AS device_id, mode, captured_at,
    CASE WHEN chance('altered', c, k) < 0.0033 THEN encode(sha256('another picture'), 'hex') ELSE sha256 END AS sha256, prev_hash
FROM links
WHERE chance('lost', c, k) >= 0.01 AND chance('none', c) >= 0.02
ORDER BY uploaded_at, evidence_id;

INSERT INTO case_handovers
SELECT
    case_id, CASE CAST(floor(chance('department', c) * 4) AS INT) WHEN 0 THEN 'public_security' WHEN 1 THEN 'procuratorate' WHEN 2 THEN 'court' ELSE 'town_platform' END AS department,
    add_days(opened_at, 2) AS handed_at
FROM case_rows WHERE chance('handed', c) < 0.2 ORDER BY handed_at, case_id;

INSERT INTO handling_baselines
SELECT column1 AS procedure, add_days(started_at(), -700) AS effective_from, column2 AS p50_hours FROM (VALUES ('general', 100.0), ('summary', 14.0)) AS b ORDER BY column1;

-- === disorder, a year back and less every month ===

INSERT INTO disorder_reports
SELECT
    'report-' || r AS report_id,
    CASE CAST(floor(chance('disorder', r) * 4) AS INT) WHEN 0 THEN 'stall' WHEN 1 THEN 'rubbish' WHEN 2 THEN 'poster' ELSE 'parking' END AS disorder_kind, town,
    CASE WHEN chance('same', r) < 0.2 THEN 'incident-' || (r / 3) END AS incident_id,
    add_days(started_at(), CAST(floor((1 - sqrt(chance('when', r))) * (365 + days())) AS BIGINT) - 365) + INTERVAL '10 hours' AS reported_at
FROM (SELECT unnest(generate_series(1, people())) AS r) AS s JOIN towns ON t = r % 4
ORDER BY reported_at, report_id;

-- === the index ===

CREATE VIEW evaluated AS
SELECT * FROM (VALUES
    ('staffing', 'team_building', 0.95, false, true), ('cases_closed', 'performance', 0.9, false, true), ('joint_actions', 'coordination', 4.0, false, true),
    ('complaints', 'norms', 0.02, true, true), ('order', 'effects', 0.85, false, true), ('inspection_coverage', 'performance', 0.95, false, false),
    ('general_procedure_share', 'performance', 0.6, false, false), ('evidence_intact', 'norms', 1.0, false, false), ('cases_standing', 'norms', 1.0, false, false),
    ('findings_rectified', 'effects', 0.9, false, false), ('training_hours', 'team_building', 16.0, false, false))
    AS i(indicator_id, aspect, target, less_is_better, is_reported);

INSERT INTO indicators
SELECT indicator_id, add_days(started_at(), -400) AS effective_from, aspect, 1.0 AS weight, target, less_is_better FROM evaluated ORDER BY indicator_id;

INSERT INTO aspect_weights
SELECT add_days(started_at(), -400) AS effective_from, 0.15 AS team_building, 0.25 AS performance, 0.15 AS coordination, 0.25 AS norms, 0.2 AS effects;

-- One report in forty is missing, and one unit reports what is not its to report.
INSERT INTO reported_indicators
SELECT
    'unit-' || lpad(CAST(u AS VARCHAR), 2, '0') AS unit_id, year_month(started_at()) AS month, indicator_id,
    round(target * 100 * (0.6 + 0.6 * chance('reported', u, indicator_id)), 1) AS numerator, 100.0 AS denominator
FROM (SELECT unnest(generate_series(0, 39)) AS u) AS s CROSS JOIN evaluated
WHERE (is_reported AND chance('missing', u, indicator_id) >= 0.025) OR (u = 3 AND indicator_id = 'evidence_intact')
ORDER BY u, indicator_id;

INSERT INTO label_rules
SELECT column1 AS label, add_days(started_at(), -400) AS effective_from, column2 AS subject_kind, column3 AS measure, column4 AS window_days, column5 AS hits_min,
    column6 AS n_min, column7 AS share_min, column8 AS adverse
FROM (VALUES
    ('repeat finding', 'entity', 'door_finding', 90, 3, 4, 0.5, true), ('often reversed', 'officer', 'case_reversed', 365, 3, 20, 0.1, true),
    ('chains broken', 'unit', 'evidence_broken', 90, 2, 10, 0.05, true), ('plan behind', 'unit', 'plan_overdue', 90, 3, 6, 0.2, false),
    ('waste offender', 'enterprise', 'waste_violation', 30, 5, 5, 0.0, true)) AS r
ORDER BY column1;
