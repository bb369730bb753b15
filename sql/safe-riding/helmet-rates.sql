-- Purpose:  the share of riders without a helmet, by clock hour and town: the measure of whether the rest has an effect.
-- Inputs:   passages, devices.
-- Outputs:  sink helmet_rates (one final row per hour and town with riders, when the watermark closes the hour).
-- Rules:    passages whose helmet could not be judged are no riders; a device without a row lies in the town unknown.
-- Limits:   a record for an hour that is closed is late (30 seconds after the hour, see sources.sql).

CREATE VIEW hourly_helmets AS
SELECT
    window_start,
    window_end,
    coalesce(d.town, 'unknown') AS town,
    count(p.helmet) AS riders,
    sum(CASE WHEN p.helmet THEN 0 ELSE 1 END) AS helmetless,
    CAST(sum(CASE WHEN p.helmet THEN 0 ELSE 1 END) AS DOUBLE) / count(p.helmet) AS rate
FROM passages AS p
LEFT JOIN devices AS d ON d.device_id = p.device_id
WHERE p.helmet IS NOT NULL
GROUP BY tumble(p.passed_at, INTERVAL '1 hour'), coalesce(d.town, 'unknown')
EMIT FINAL;

CREATE SINK helmet_rates WITH (topic = 'helmet-rates', format = 'json') AS
SELECT window_start, window_end, town, riders, helmetless, rate FROM hourly_helmets;
