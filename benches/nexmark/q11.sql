-- Nexmark 11, user sessions: how often somebody bid until he paused for ten seconds. In event time.
CREATE SINK q11 WITH (topic = 'q11', format = 'json') AS
SELECT bidder, count(*) AS bid_count, window_start AS start_time, window_end AS end_time
FROM bids
GROUP BY session(date_time, INTERVAL '10 seconds'), bidder;
