-- Purpose:    what becomes of reminders: who has learned the lesson, and who must be reached in another way.
-- Inputs:     judged_rides, reminder_receipts, follow_up_policy, contacts.
-- Outputs:    sinks rectifications (upsert by action_id: a reminder whose lesson was completed; consumer: Civilized Office) and
--             second_channel_reminders (append, with a PRIVATE phone; consumer: the message service).
-- Rules:      reminders of a person with a reminder_channel are followed up. One that bounced goes to the second channel at
--             once, one that was not read in time then; a completed lesson has been read. A person without a second_channel is
--             left alone. What is withdrawn with its reminder comes with the status withdrawn.
-- Thresholds: follow_up_policy.unread_days at the start of the ride, counted from when the reminder was sent, or from the ride
--             where no receipt says when (suggested: 3); never where it is null, and nothing where no row is in force.

CREATE VIEW followed_reminders AS
SELECT
    person_id || '/' || month || '/reminder/' || CAST(n AS VARCHAR) AS action_id,
    person_id, month, n, ride_started_at, second_channel
FROM judged_rides
WHERE NOT is_minor AND NOT is_treated AND is_occasional AND reminder_channel IS NOT NULL;

CREATE VIEW receipts_by_reminder AS
SELECT
    action_id,
    min(CASE WHEN kind = 'sent' THEN received_at END) AS sent_at,
    min(CASE WHEN kind = 'bounced' THEN received_at END) AS bounced_at,
    min(CASE WHEN kind IN ('read', 'learned') THEN received_at END) AS read_at,
    min(CASE WHEN kind = 'learned' THEN received_at END) AS learned_at
FROM reminder_receipts
GROUP BY action_id;

CREATE VIEW reminder_states AS
SELECT
    r.action_id, r.person_id, r.month, r.n, r.ride_started_at, r.second_channel, c.read_at, c.learned_at,
    c.bounced_at IS NOT NULL AS has_bounced,
    coalesce(
        c.bounced_at, add_days(coalesce(c.sent_at, r.ride_started_at), f.unread_days)
    ) AS read_due_at
FROM followed_reminders AS r
LEFT JOIN receipts_by_reminder AS c ON c.action_id = r.action_id
JOIN follow_up_policy FOR SYSTEM_TIME AS OF r.ride_started_at AS f ON TRUE;

-- === who has learned ===

CREATE TABLE rectified (PRIMARY KEY (action_id)) AS
SELECT action_id, person_id, month, n, learned_at FROM reminder_states WHERE learned_at IS NOT NULL;

CREATE SINK rectifications WITH (topic = 'rectifications', format = 'json') AS
SELECT action_id, person_id, month, n, learned_at FROM rectified;

-- === who must be reached in another way ===

CREATE TABLE unread_reminders (PRIMARY KEY (action_id)) AS
SELECT action_id, person_id, second_channel, has_bounced, read_due_at
FROM reminder_states
WHERE second_channel IS NOT NULL AND read_due_at IS NOT NULL AND (read_at IS NULL OR read_at > read_due_at);

CREATE TABLE second_reminders (PRIMARY KEY (action_id)) AS
SELECT
    u.action_id, u.person_id, u.second_channel AS channel, c.phone,
    CASE WHEN u.has_bounced THEN 'bounced' ELSE 'unread' END AS reason, u.read_due_at
FROM PASSED(unread_reminders, read_due_at) AS u
LEFT JOIN contacts AS c ON c.person_id = u.person_id;

CREATE SINK second_channel_reminders WITH (
    topic = 'second-channel-reminders', format = 'json', key = 'person_id', allow_private = true, emit_time = 'read_due_at'
) AS
SELECT
    coalesce(after.action_id, before.action_id) AS action_id,
    coalesce(after.person_id, before.person_id) AS person_id,
    coalesce(after.channel, before.channel) AS channel,
    CASE WHEN after.action_id IS NULL THEN before.phone ELSE after.phone END AS phone,
    coalesce(after.reason, before.reason) AS reason,
    coalesce(after.read_due_at, before.read_due_at) AS read_due_at,
    CASE WHEN after.action_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision
FROM CHANGES(second_reminders);
