-- Nexmark 18, last bid: of each bidder on each auction. Of bids of the same instant the dearest is the last.
CREATE VIEW q18_last AS
SELECT bidder, auction, max(named_struct(
    'date_time', date_time, 'price', price, 'channel', channel, 'url', url, 'extra', extra
)) AS bid
FROM bids
GROUP BY bidder, auction;

CREATE SINK q18 WITH (topic = 'q18', format = 'json') AS
SELECT auction, bidder, bid['price'] AS price, bid['channel'] AS channel, bid['url'] AS url,
    bid['date_time'] AS date_time, bid['extra'] AS extra
FROM q18_last;
