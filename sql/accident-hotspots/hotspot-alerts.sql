-- Purpose:    hotspots of accidents as they open, grow and are cleared.
-- Inputs:     open_counts, hotspot_members, dated_accidents, middles, baselines, hotspot_policy.
-- Outputs:    sink hotspot_alerts (append; key hotspot_id). Consumers: brigade of the area, road operator, black-spot centre.
-- Rules:      the first accident that opens a hotspot is new, each further one in an open neighbourhood updated, the end of
--             its last episode cleared. n, baseline, p and evidence are those of the neighbourhood around `cell`, the most
--             conspicuous of those in which something happened; n is the number of the evidence. cells are all that are open.
--             Chance alone would make expected_by_chance of the n_cells neighbourhoods so conspicuous; null in the first month.
--             A message whose content a late accident or a policy changes comes again with the next revision; one that does
--             not hold any more is withdrawn, as if it had never been sent.
-- Thresholds: see hotspot-neighbourhoods.sql. rule_version is effective_from of the policy, or default.
-- Limits:     new and updated leave at once; cleared when nothing earlier can come any more, a day later. That accidents
--             leave the window is no message. Captures are no accidents: more enforcement makes no hotspot.

CREATE VIEW hotspot_ends AS
SELECT hotspot_id, max(cleared_place) AS cleared_place
FROM hotspot_members
GROUP BY hotspot_id
HAVING count(*) = count(cleared_place);

CREATE VIEW hotspot_steps AS
SELECT
    m.hotspot_id, m.hotspot_opened_at, c.place, c.center, c.at, c.is_open, c.n, c.baseline, c.p, c.dispersion
FROM open_counts AS c
JOIN hotspot_members AS m ON m.center = c.center AND m.episode = c.episode
LEFT JOIN hotspot_ends AS e ON e.hotspot_id = m.hotspot_id AND e.cleared_place = c.place
WHERE c.is_open AND c.is_accident OR e.hotspot_id IS NOT NULL;

CREATE VIEW hotspot_messages AS
SELECT *, row_number() OVER (PARTITION BY hotspot_id ORDER BY place) AS number
FROM (
    SELECT *, row_number() OVER (PARTITION BY hotspot_id, place ORDER BY p, n DESC, center) AS rank FROM hotspot_steps
) AS s
WHERE rank = 1;

CREATE VIEW near_accidents AS
SELECT
    c.center, a.accident_id, a.weight,
    lpad(CAST(elapsed_ms(TIMESTAMP '1970-01-01T00:00:00Z', a.occurred_at) AS VARCHAR), 15, '0') || '/1/' || a.accident_id
        AS place,
    lpad(CAST(elapsed_ms(TIMESTAMP '1970-01-01T00:00:00Z', a.leaves_at) AS VARCHAR), 15, '0') || '/0/' || a.accident_id
        AS leaves_place
FROM dated_accidents AS a JOIN middles AS c ON c.near = a.cell;

CREATE VIEW message_evidence AS
SELECT
    m.hotspot_id, m.place,
    array_agg(a.accident_id ORDER BY a.place) AS evidence,
    sum(a.weight) AS epdo,
    max(a.weight) AS worst
FROM hotspot_messages AS m
JOIN near_accidents AS a ON a.center = m.center AND a.place <= m.place AND a.leaves_place > m.place
GROUP BY m.hotspot_id, m.place;

-- Of a hotspot that is cleared, those that were open last.
CREATE VIEW message_cells AS
SELECT m.hotspot_id, m.place, array_agg(o.center ORDER BY o.center) AS cells
FROM hotspot_messages AS m
JOIN hotspot_members AS o
    ON o.hotspot_id = m.hotspot_id AND o.opened_place <= m.place AND coalesce(o.cleared_place, '9') >= m.place
GROUP BY m.hotspot_id, m.place;

CREATE TABLE alert_messages (PRIMARY KEY (alert_id)) AS
SELECT
    to_char(m.at, '%Y%m%dT%H%M%S') || '/' || m.hotspot_id || '/' || substr(m.place, 19) AS alert_id,
    m.hotspot_id,
    CASE WHEN NOT m.is_open THEN 'cleared' WHEN m.number = 1 THEN 'new' ELSE 'updated' END AS status,
    m.at AS changed_at,
    m.hotspot_opened_at AS opened_at,
    m.center AS cell,
    c.cells,
    m.n, m.baseline, m.p, m.dispersion, b.n_cells,
    coalesce(e.epdo, 0) AS epdo,
    coalesce(e.evidence, make_array()) AS evidence,
    coalesce(e.worst, 0) AS worst,
    coalesce(p.window_days, 90) AS window_days,
    coalesce(CAST(p.effective_from AS VARCHAR), 'default') AS rule_version
FROM hotspot_messages AS m
LEFT JOIN message_evidence AS e ON e.hotspot_id = m.hotspot_id AND e.place = m.place
LEFT JOIN message_cells AS c ON c.hotspot_id = m.hotspot_id AND c.place = m.place
LEFT JOIN baselines AS b ON b.last_month = year_month(add_months(add_days(m.at, -2), -1))
LEFT JOIN hotspot_policy FOR SYSTEM_TIME AS OF m.at AS p ON TRUE;

CREATE VIEW alert_changes AS
SELECT
    CASE WHEN after.alert_id IS NULL THEN before ELSE after END AS message,
    after.alert_id IS NULL AS is_withdrawn,
    revision
FROM CHANGES(alert_messages);

CREATE SINK hotspot_alerts WITH (
    topic = 'hotspot-alerts', format = 'json', key = 'hotspot_id', count_by = 'status', emit_time = 'changed_at'
) AS
SELECT
    message['alert_id'] AS alert_id,
    message['hotspot_id'] AS hotspot_id,
    CASE WHEN is_withdrawn THEN 'withdrawn' ELSE message['status'] END AS status,
    revision,
    message['changed_at'] AS changed_at,
    message['opened_at'] AS opened_at,
    message['cell'] AS cell,
    h3_center_lon(message['cell']) AS lon,
    h3_center_lat(message['cell']) AS lat,
    message['cells'] AS cells,
    message['n'] AS n,
    message['baseline'] AS baseline,
    message['p'] AS p,
    CASE WHEN message['dispersion'] IS NULL THEN 'poisson' ELSE 'negative_binomial' END AS distribution,
    message['dispersion'] AS dispersion,
    message['n_cells'] AS n_cells,
    message['p'] * message['n_cells'] AS expected_by_chance,
    message['epdo'] AS epdo,
    message['evidence'] AS evidence,
    add_days(message['changed_at'], -message['window_days']) AS window_start,
    message['changed_at'] AS window_end,
    message['rule_version'] AS rule_version
FROM alert_changes;
