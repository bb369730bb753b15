-- Purpose:    vehicle and driver business at the counters of police stations: does each offer all of it, are documents that a
--             case was accepted without supplied, how many people were served; and the register of e-bikes that other rules
--             look plates up in.
-- Inputs:     counter_services, counter_stations, counter_cases, missing_documents, counter_policy, ebike_registrations,
--             calendar.
-- Outputs:    sinks counter_gaps (upsert; services that a station does not offer), document_reminders and document_proposals
--             (append with revision; a document that is still missing after remind_days, after supply_days: a proposal to end
--             the case, needs_approval), counter_faults (upsert; cases of a service that the station did not offer),
--             counter_months (upsert by month and station), ebike_identities (upsert by plate and instant, in the form of
--             safe-riding's identities), ebike_conflicts (upsert). Consumers: stations, vehicle office, the people who left a
--             document out; safe-riding.
-- Rules:      a document counts as supplied from supplied_at on. An e-bike plate belongs to who registered it last; where the
--             one before has not given it back, it is in doubt and belongs to nobody from then on, until one of the
--             registrations is corrected.
-- Thresholds: counter_policy at the acceptance; where none is in force: a reminder after 5 working days, the proposal after 10.

CREATE VIEW counter_station_ids AS
SELECT DISTINCT station_id FROM counter_stations;

CREATE TABLE lacking_services (PRIMARY KEY (station_id, service_id)) AS
SELECT s.station_id, v.service_id, v.name
FROM counter_station_ids AS s
JOIN counter_services AS v ON TRUE
WHERE NOT EXISTS (SELECT 1 FROM counter_stations AS o WHERE o.station_id = s.station_id AND o.service_id = v.service_id);

CREATE SINK counter_gaps WITH (topic = 'counter-gaps', format = 'json') AS
SELECT station_id, service_id, name FROM lacking_services;

CREATE TABLE misplaced_cases (PRIMARY KEY (counter_case_id)) AS
SELECT c.counter_case_id, c.station_id, c.service_id
FROM counter_cases AS c
LEFT JOIN counter_stations AS o ON o.station_id = c.station_id AND o.service_id = c.service_id
WHERE o.station_id IS NULL OR o.since > c.accepted_at;

CREATE SINK counter_faults WITH (topic = 'counter-faults', format = 'json') AS
SELECT counter_case_id, station_id, service_id FROM misplaced_cases;

-- === documents ===

CREATE VIEW document_dues AS
SELECT
    c.counter_case_id, d.document, c.station_id, c.person_id, d.supplied_at,
    add_working_days(c.accepted_at, coalesce(p.remind_days, 5)) AS remind_at,
    add_working_days(c.accepted_at, coalesce(p.supply_days, 10)) AS due_at
FROM counter_cases AS c
JOIN missing_documents AS d ON d.counter_case_id = c.counter_case_id
LEFT JOIN counter_policy FOR SYSTEM_TIME AS OF c.accepted_at AS p ON TRUE;

CREATE TABLE documents_to_remind (PRIMARY KEY (counter_case_id, document)) AS
SELECT counter_case_id, document, station_id, person_id, remind_at
FROM document_dues WHERE remind_at IS NOT NULL AND (supplied_at IS NULL OR supplied_at > remind_at);

CREATE TABLE reminded_documents (PRIMARY KEY (counter_case_id, document)) AS
SELECT * FROM PASSED(documents_to_remind, remind_at);

CREATE TABLE documents_due (PRIMARY KEY (counter_case_id, document)) AS
SELECT counter_case_id, document, station_id, person_id, due_at
FROM document_dues WHERE due_at IS NOT NULL AND (supplied_at IS NULL OR supplied_at > due_at);

CREATE TABLE documents_missed (PRIMARY KEY (counter_case_id, document)) AS
SELECT * FROM PASSED(documents_due, due_at);

CREATE SINK document_reminders WITH (
    topic = 'document-reminders', format = 'json', key = 'counter_case_id', emit_time = 'remind_at'
) AS
SELECT
    coalesce(after.counter_case_id, before.counter_case_id) AS counter_case_id,
    coalesce(after.document, before.document) AS document,
    coalesce(after.station_id, before.station_id) AS station_id,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.remind_at, before.remind_at) AS remind_at,
    CASE WHEN after.counter_case_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(reminded_documents);

CREATE SINK document_proposals WITH (
    topic = 'document-proposals', format = 'json', key = 'counter_case_id', emit_time = 'due_at'
) AS
SELECT
    coalesce(after.counter_case_id, before.counter_case_id) AS counter_case_id,
    coalesce(after.document, before.document) AS document,
    coalesce(after.station_id, before.station_id) AS station_id,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.due_at, before.due_at) AS due_at,
    CASE WHEN after.counter_case_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(documents_missed);

CREATE TABLE counter_month_counts (PRIMARY KEY (month, station_id)) AS
SELECT
    year_month(accepted_at) AS month, station_id, count(*) AS cases, count(DISTINCT person_id) AS persons,
    sum(coalesce(violations, 0)) AS violations
FROM counter_cases
GROUP BY year_month(accepted_at), station_id;

CREATE SINK counter_months WITH (topic = 'counter-months', format = 'json') AS
SELECT month, station_id, cases, persons, violations FROM counter_month_counts;

-- === e-bikes ===

CREATE VIEW ordered_registrations AS
SELECT
    registration_id, plate, registered_at, person_id, station_id,
    lag(person_id) OVER of_plate AS person_before,
    row_number() OVER (PARTITION BY plate, registered_at ORDER BY registration_id DESC) AS latest
FROM (
    SELECT registration_id, plate_normalize(plate) AS plate, registered_at, nullif(person_id, '') AS person_id, station_id
    FROM ebike_registrations
) AS r
WHERE plate IS NOT NULL
WINDOW of_plate AS (PARTITION BY plate ORDER BY registered_at, registration_id);

CREATE VIEW judged_registrations AS
SELECT *, coalesce(person_before <> person_id, false) AS is_doubtful FROM ordered_registrations;

CREATE TABLE doubtful_registrations (PRIMARY KEY (registration_id)) AS
SELECT registration_id, plate, registered_at, station_id, 'not_given_back' AS reason FROM judged_registrations WHERE is_doubtful
UNION ALL
SELECT registration_id, plate, registered_at, station_id, 'no_plate'
FROM ebike_registrations
WHERE plate_normalize(plate) IS NULL;

CREATE SINK ebike_conflicts WITH (topic = 'ebike-conflicts', format = 'json') AS
SELECT registration_id, plate, registered_at, station_id, reason FROM doubtful_registrations;

CREATE TABLE registered_ebikes (PRIMARY KEY (plate, valid_from)) AS
SELECT plate, registered_at AS valid_from, CASE WHEN is_doubtful THEN NULL ELSE person_id END AS person_id
FROM judged_registrations
WHERE latest = 1;

CREATE SINK ebike_identities WITH (topic = 'ebike-identities', format = 'json') AS
SELECT plate, valid_from, person_id FROM registered_ebikes;
