-- Nexmark 7, highest bid: of every ten seconds.
CREATE VIEW q7_highest AS
SELECT window_end, max(price) AS price
FROM bids
GROUP BY tumble(date_time, INTERVAL '10 seconds');

CREATE SINK q7 WITH (topic = 'q7', format = 'json') AS
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bids AS b
JOIN q7_highest AS h ON b.price = h.price
    AND b.date_time BETWEEN h.window_end - INTERVAL '10 seconds' AND h.window_end;
