-- Nexmark 2, selection: bids on some auctions.
CREATE SINK q2 WITH (topic = 'q2', format = 'json') AS
SELECT auction, price
FROM bids
WHERE auction % 123 = 0;
