-- Purpose:    the hotspot alerts as messages of the Common Alerting Protocol 1.2, in JSON with its names.
-- Inputs:     alert_messages, hotspot_policy (sender).
-- Outputs:    sink hotspot_cap_alerts (append). Consumers: alert brokers, provincial platforms, road operators.
-- Rules:      new is Alert, updated is Update, cleared is Cancel. references names the message before in the same hotspot. A later
--             revision is an Update of the revision before, one that is withdrawn a Cancel. An identifier never comes twice; the
--             characters that CAP forbids in it become underscores. sent is the instant of the accident or the clearing that is
--             told, with the offset of the zone and without fractions, so that a replay gives the same message.
-- Thresholds: hotspot_policy.sender, `accident-hotspots` where there is none. A message expires when the accident that it tells
--             of leaves the window. The severity is Severe if one of the accidents was fatal (a weight of 10).
-- Limits:     for desks, not for the public: scope Restricted.

CREATE TABLE cap_messages (PRIMARY KEY (alert_id)) AS
SELECT
    *,
    lag(sender || ',' || identifier || ',' || sent) OVER (PARTITION BY hotspot_id ORDER BY changed_at, alert_id)
        AS message_before
FROM (
    SELECT
        m.alert_id, m.hotspot_id, m.status, m.changed_at, m.cell, m.cells, m.n, m.baseline, m.p, m.evidence, m.worst,
        m.window_days, m.rule_version,
        coalesce(p.sender, 'accident-hotspots') AS sender,
        regexp_replace(m.alert_id, '[ ,<&]', '_', 'g') AS identifier,
        to_char(m.changed_at, '%Y-%m-%dT%H:%M:%S%:z') AS sent
    FROM alert_messages AS m
    LEFT JOIN hotspot_policy FOR SYSTEM_TIME AS OF m.changed_at AS p ON TRUE
) AS m;

CREATE VIEW cap_changes AS
SELECT CASE WHEN after.alert_id IS NULL THEN before ELSE after END AS m, after.alert_id IS NULL AS is_withdrawn, revision
FROM CHANGES(cap_messages);

CREATE SINK hotspot_cap_alerts WITH (
    topic = 'hotspot-cap-alerts', format = 'json', key = 'hotspot_id', emit_time = 'changed_at'
) AS
SELECT
    m['hotspot_id'] AS hotspot_id,
    m['changed_at'] AS changed_at,
    m['identifier'] || CASE WHEN revision = 1 THEN '' ELSE '/' || CAST(revision AS VARCHAR) END AS identifier,
    m['sender'] AS sender,
    m['sent'] AS sent,
    'Actual' AS status,
    CASE
        WHEN is_withdrawn OR m['status'] = 'cleared' THEN 'Cancel'
        WHEN m['status'] = 'updated' OR revision > 1 THEN 'Update'
        ELSE 'Alert'
    END AS "msgType",
    'Restricted' AS scope,
    'Traffic police and road operators' AS restriction,
    CASE
        WHEN revision = 1 THEN m['message_before']
        WHEN revision = 2 THEN m['sender'] || ',' || m['identifier'] || ',' || m['sent']
        ELSE m['sender'] || ',' || m['identifier'] || '/' || CAST(revision - 1 AS VARCHAR) || ',' || m['sent']
    END AS "references",
    make_array(named_struct(
        'language', 'en',
        'category', make_array('Transport'),
        'event', 'accident hotspot',
        'urgency', CASE WHEN m['status'] = 'cleared' THEN 'Past' ELSE 'Future' END,
        'severity', CASE WHEN m['worst'] >= 10 THEN 'Severe' ELSE 'Moderate' END,
        'certainty', 'Observed',
        'effective', m['sent'],
        'expires', to_char(add_days(m['changed_at'], m['window_days']), '%Y-%m-%dT%H:%M:%S%:z'),
        'headline', CAST(m['n'] AS VARCHAR) || ' accidents in ' || CAST(m['window_days'] AS VARCHAR) || ' days, '
            || CAST(round(m['baseline'], 1) AS VARCHAR) || ' expected',
        'parameter', make_array(
            named_struct('valueName', 'n', 'value', CAST(m['n'] AS VARCHAR)),
            named_struct('valueName', 'baseline', 'value', CAST(m['baseline'] AS VARCHAR)),
            named_struct('valueName', 'p', 'value', CAST(m['p'] AS VARCHAR)),
            named_struct('valueName', 'evidence', 'value', array_to_string(m['evidence'], ' ')),
            named_struct('valueName', 'rule_version', 'value', m['rule_version'])
        ),
        'area', make_array(named_struct(
            'areaDesc', 'within 0.5 km of ' || CAST(round(h3_center_lat(m['cell']), 5) AS VARCHAR) || ', '
                || CAST(round(h3_center_lon(m['cell']), 5) AS VARCHAR),
            'circle', make_array(CAST(round(h3_center_lat(m['cell']), 5) AS VARCHAR) || ','
                || CAST(round(h3_center_lon(m['cell']), 5) AS VARCHAR) || ' 0.5'),
            'geocode', make_array(named_struct('valueName', 'H3', 'value', array_to_string(m['cells'], ' ')))
        ))
    )) AS info
FROM cap_changes;
