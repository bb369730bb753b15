-- Nexmark 0, pass-through: what reading and writing cost.
CREATE SINK q0 WITH (topic = 'q0', format = 'json') AS
SELECT auction, bidder, price, date_time, extra
FROM bids;
