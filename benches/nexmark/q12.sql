-- Nexmark 12, bids by user in windows of ten seconds. In event time.
CREATE SINK q12 WITH (topic = 'q12', format = 'json') AS
SELECT bidder, count(*) AS bid_count, window_start AS start_time, window_end AS end_time
FROM bids
GROUP BY tumble(date_time, INTERVAL '10 seconds'), bidder;
