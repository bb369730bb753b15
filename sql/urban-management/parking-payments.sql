-- Purpose:    which parking sessions were paid, and who still owes.
-- Inputs:     parking_exits, parking_payments, parking_policy.
-- Outputs:    sink parking_payment_rates (append, final): sessions with a fee of a lot and day, and how many of them were
--             paid. Consumers: planners, whoever runs the lot.
--             sink parking_arrears (upsert by session_id and window_start): what is still owed; a tombstone once it is
--             paid. Consumer: the payment service, which knows whose session it is; no plate leaves here.
-- Rules:      a session with a fee is paid if what was paid for it, less refunds, reaches the fee within grace_hours of the
--             exit. Sessions without a fee count nowhere. A debt that is paid within chase_days is withdrawn.
-- Thresholds: parking_policy at the exit; 72 hours and 30 days where no policy is in force.
-- Limits:     a payment may precede the exit by 7 days; therefore a day's row, and what is owed, leave 7 days after the
--             day.

CREATE VIEW charged_sessions AS
SELECT
    x.session_id, x.lot_id, x.left_at, x.fee,
    x.left_at + coalesce(p.grace_hours, 72) * INTERVAL '1 hour' AS pay_by,
    add_days(x.left_at, coalesce(p.chase_days, 30)) AS chased_until
FROM parking_exits AS x
LEFT JOIN parking_policy FOR SYSTEM_TIME AS OF x.left_at AS p ON TRUE
WHERE x.fee > 0;

CREATE STREAM settled_sessions AS
SELECT c.lot_id, c.session_id, window_start, max(c.fee) AS fee, coalesce(sum(y.amount), 0) AS paid
FROM charged_sessions AS c
LEFT JOIN parking_payments AS y
    ON y.session_id = c.session_id AND y.paid_at >= c.left_at - INTERVAL '168 hours' AND y.paid_at <= c.pay_by
GROUP BY c.lot_id, c.session_id, tumble(c.left_at, INTERVAL '1 day')
EMIT FINAL;

CREATE SINK parking_payment_rates WITH (topic = 'parking-payment-rates', format = 'json', key = 'lot_id') AS
SELECT
    lot_id, window_start, count(*) AS sessions,
    count(*) FILTER (WHERE paid >= fee) AS paid_sessions,
    CAST(count(*) FILTER (WHERE paid >= fee) AS DOUBLE) / count(*) AS rate,
    sum(fee) AS fees, sum(paid) AS paid
FROM settled_sessions
GROUP BY lot_id, tumble(window_start, INTERVAL '1 day')
EMIT FINAL;

-- What is owed when the grace has passed, and what comes afterwards.
CREATE STREAM late_payments AS
SELECT c.lot_id, c.session_id, c.left_at, -y.amount AS owed
FROM charged_sessions AS c
JOIN parking_payments AS y
    ON y.session_id = c.session_id AND y.paid_at >= c.left_at AND y.paid_at > c.pay_by AND y.paid_at <= c.chased_until;

CREATE SINK parking_arrears WITH (topic = 'parking-arrears', format = 'json', allowed_lateness = '40 days') AS
SELECT session_id, window_start, min(lot_id) AS lot_id, sum(owed) AS owed
FROM (
    SELECT lot_id, session_id, window_start AS left_at, fee - paid AS owed FROM settled_sessions WHERE paid < fee
    UNION ALL
    SELECT lot_id, session_id, left_at, owed FROM late_payments
) AS o
GROUP BY session_id, tumble(left_at, INTERVAL '1 day')
HAVING sum(owed) > 0
EMIT CHANGES;
