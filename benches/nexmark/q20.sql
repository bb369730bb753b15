-- Nexmark 20, expand bids with their auction: those of one category.
--
-- The join of the original has no bound. Here a bid waits ten seconds for its auction, and an auction is remembered for a day:
-- longer than any is bid on.
CREATE SINK q20 WITH (topic = 'q20', format = 'json') AS
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time AS bid_time, b.extra AS bid_extra,
    a.item_name, a.description, a.initial_bid, a.reserve, a.date_time AS auction_time, a.expires, a.seller, a.category,
    a.extra AS auction_extra
FROM bids AS b
JOIN auctions AS a ON b.auction = a.id
    AND b.date_time BETWEEN a.date_time - INTERVAL '10 seconds' AND a.date_time + INTERVAL '1 day'
WHERE a.category = 10;
