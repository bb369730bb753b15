-- Nexmark 9, winning bids: the highest bid on each auction while it was open, of equal ones the earliest.
--
-- One row an auction is kept: the least of what its bids are ordered by, and behind it what is shown of them.
CREATE VIEW q9_winning AS
SELECT a.id, min(named_struct(
    'price', -b.price, 'date_time', b.date_time, 'bidder', b.bidder, 'extra', b.extra,
    'item_name', a.item_name, 'description', a.description, 'initial_bid', a.initial_bid, 'reserve', a.reserve,
    'auction_time', a.date_time, 'expires', a.expires, 'seller', a.seller, 'category', a.category, 'auction_extra', a.extra
)) AS bid
FROM auctions AS a
JOIN bids AS b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
GROUP BY a.id;

CREATE SINK q9 WITH (topic = 'q9', format = 'json') AS
SELECT id, bid['item_name'] AS item_name, bid['description'] AS description, bid['initial_bid'] AS initial_bid,
    bid['reserve'] AS reserve, bid['auction_time'] AS date_time, bid['expires'] AS expires, bid['seller'] AS seller,
    bid['category'] AS category, bid['auction_extra'] AS extra, bid['bidder'] AS bidder, -bid['price'] AS price,
    bid['date_time'] AS bid_time, bid['extra'] AS bid_extra
FROM q9_winning;
