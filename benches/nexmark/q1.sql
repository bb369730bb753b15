-- Nexmark 1, currency conversion: every bid in euros.
CREATE SINK q1 WITH (topic = 'q1', format = 'json') AS
SELECT auction, bidder, 0.908 * price AS price, date_time, extra
FROM bids;
