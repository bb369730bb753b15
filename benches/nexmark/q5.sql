-- Nexmark 5, hot items: the auctions with the most bids of the last ten seconds, every two seconds.
CREATE VIEW q5_counts AS
SELECT window_start, window_end, auction, count(*) AS num
FROM bids
GROUP BY hop(date_time, INTERVAL '2 seconds', INTERVAL '10 seconds'), auction;

CREATE VIEW q5_most AS
SELECT window_start, max(num) AS num
FROM q5_counts
GROUP BY window_start;

CREATE SINK q5 WITH (topic = 'q5', format = 'json') AS
SELECT c.auction, c.num
FROM q5_counts AS c
JOIN q5_most AS m ON c.window_start = m.window_start AND c.num >= m.num;
