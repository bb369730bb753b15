-- Purpose:    whoever stands at a counter and must study is told so, and how.
-- Inputs:     counter_visits, owed_obligations, near_sites, sites, guides.
-- Outputs:    sink counter_prompts (append, at once; consumer: the clerk's screen).
-- Rules:      a prompt for each obligation that the person owes at that moment, with what is done and left, whether it can be studied
--             here, the nearest site that offers it, and the guide in force.
-- Limits:     a prompt says what was known when the visit was handled, and is not taken back. A review is told as soon as it is known,
--             with the day from which it can be done.

CREATE TABLE prompts_due (PRIMARY KEY (obligation_id)) AS
SELECT
    o.obligation_id, o.kind, o.driver_id, o.points, o.opens_at, o.due_at, o.enrolment_id, o.percent,
    o.onsite_days - o.onsite_done AS onsite_left,
    o.online_days - o.online_done AS online_left,
    n.site_id AS nearest_site_id, n.distance_m AS nearest_m
FROM owed_obligations AS o
LEFT JOIN near_sites AS n ON n.obligation_id = o.obligation_id AND n.rank = 1;

CREATE SINK counter_prompts WITH (topic = 'counter-prompts', format = 'json', key = 'site_id', count_by = 'kind') AS
SELECT
    v.visit_id, v.site_id, v.driver_id, v.visited_at, p.obligation_id, p.kind, p.points, p.opens_at, p.due_at,
    v.visited_at > p.due_at AS is_overdue,
    p.enrolment_id, p.percent, p.onsite_left, p.online_left,
    coalesce(array_has(s.services, p.kind), false) AS offered_here,
    p.nearest_site_id, p.nearest_m,
    g.text AS guide
FROM counter_visits AS v
JOIN prompts_due AS p ON p.driver_id = v.driver_id
LEFT JOIN sites AS s ON s.site_id = v.site_id
LEFT JOIN guides FOR SYSTEM_TIME AS OF v.visited_at AS g ON g.kind = p.kind;
