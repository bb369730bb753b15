-- Purpose:    no squadron with more townships than it can look after, no township without a squadron, no segment without its chiefs.
-- Inputs:     squadrons, squadron_townships, segment_chief_roles, segment_chiefs, road_segments, squadron_policy; due_warnings.
-- Outputs:    sink squadron_overloads (upsert by squadron), sink township_gaps (upsert by township) and sink segment_chief_gaps (upsert by
--             segment and role), for the detachment; sink squadron_counts (upsert by city), for the committee office; sink
--             chief_notices (append; withdrawn with the warning), for the three chiefs of a segment that is warned of.
-- Rules:      of the rows of a township the last one that has come into force counts. A township of a squadron that is not known has
--             none. A warning goes to who is chief when its hour begins.
-- Thresholds: squadron_policy, the last row that has come into force: 3 townships where there is none.

CREATE VIEW current_townships AS
SELECT township, squadron_id, effective_from
FROM PASSED(squadron_townships, effective_from)
QUALIFY row_number() OVER (PARTITION BY township ORDER BY effective_from DESC) = 1;

CREATE VIEW current_squadron_policy AS
SELECT townships_max
FROM PASSED(squadron_policy, effective_from)
QUALIFY row_number() OVER (ORDER BY effective_from DESC) = 1;

CREATE VIEW squadron_loads AS
SELECT
    t.squadron_id, count(*) AS townships, array_agg(t.township ORDER BY t.township) AS names,
    (SELECT max(townships_max) FROM current_squadron_policy) AS townships_max
FROM current_townships AS t
WHERE t.squadron_id IS NOT NULL
GROUP BY t.squadron_id;

CREATE SINK squadron_overloads WITH (topic = 'squadron-overloads', format = 'json') AS
SELECT l.squadron_id, s.brigade_id, l.townships, coalesce(l.townships_max, 3) AS townships_max, l.names
FROM squadron_loads AS l
LEFT JOIN squadrons AS s ON s.squadron_id = l.squadron_id
WHERE l.townships > coalesce(l.townships_max, 3);

CREATE TABLE townships_without (PRIMARY KEY (township)) AS
SELECT t.township, t.squadron_id, t.effective_from
FROM current_townships AS t
WHERE NOT EXISTS (SELECT 1 FROM squadrons AS s WHERE s.squadron_id = t.squadron_id);

CREATE SINK township_gaps WITH (topic = 'township-gaps', format = 'json') AS
SELECT township, squadron_id, effective_from FROM townships_without;

CREATE SINK squadron_counts WITH (topic = 'squadron-counts', format = 'json') AS
SELECT coalesce(substr(division, 1, 4), 'unknown') AS city, count(*) AS squadrons, count(*) FILTER (WHERE model) AS model
FROM squadrons
GROUP BY coalesce(substr(division, 1, 4), 'unknown');

-- === chiefs ===

CREATE VIEW current_chiefs AS
SELECT segment_id, role, officer_id
FROM PASSED(segment_chiefs, effective_from)
QUALIFY row_number() OVER (PARTITION BY segment_id, role ORDER BY effective_from DESC) = 1;

CREATE TABLE segments_without_chief (PRIMARY KEY (segment_id, role)) AS
SELECT s.segment_id, r.role, s.brigade_id
FROM road_segments AS s
CROSS JOIN segment_chief_roles AS r
WHERE NOT EXISTS (
    SELECT 1 FROM current_chiefs AS c WHERE c.segment_id = s.segment_id AND c.role = r.role AND c.officer_id IS NOT NULL
);

CREATE SINK segment_chief_gaps WITH (topic = 'segment-chief-gaps', format = 'json') AS
SELECT segment_id, role, brigade_id FROM segments_without_chief;

CREATE TABLE noticed_chiefs (PRIMARY KEY (kind, segment_id, hour_start, role)) AS
SELECT w.kind, w.segment_id, w.hour_start, w.role, c.officer_id, w.ratio, w.focus_class
FROM (SELECT d.*, r.role FROM due_warnings AS d CROSS JOIN segment_chief_roles AS r) AS w
JOIN segment_chiefs FOR SYSTEM_TIME AS OF w.hour_start AS c ON c.segment_id = w.segment_id AND c.role = w.role
WHERE c.officer_id IS NOT NULL;

CREATE SINK chief_notices WITH (topic = 'chief-notices', format = 'json', key = 'officer_id', emit_time = 'hour_start') AS
SELECT
    coalesce(after.kind, before.kind) AS kind,
    coalesce(after.segment_id, before.segment_id) AS segment_id,
    coalesce(after.hour_start, before.hour_start) AS hour_start,
    coalesce(after.role, before.role) AS role,
    coalesce(after.officer_id, before.officer_id) AS officer_id,
    coalesce(after.ratio, before.ratio) AS ratio,
    CASE WHEN after.kind IS NULL THEN before.focus_class ELSE after.focus_class END AS focus_class,
    CASE WHEN after.kind IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(noticed_chiefs);
