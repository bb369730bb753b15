-- Nexmark 6, average selling price by seller: over the eleven latest of his auctions that were bid on, in the order of the winning
-- bids. A bid that wins later moves the averages behind it.
CREATE VIEW q6_winning AS
SELECT a.id, a.seller, min(named_struct('price', -b.price, 'date_time', b.date_time)) AS bid
FROM auctions AS a
JOIN bids AS b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
GROUP BY a.id, a.seller;

CREATE VIEW q6_prices AS
SELECT id, seller, -bid['price'] AS price, bid['date_time'] AS date_time
FROM q6_winning;

CREATE SINK q6 WITH (topic = 'q6', format = 'json') AS
SELECT id, seller, avg(price) OVER (
    PARTITION BY seller ORDER BY date_time, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW
) AS price
FROM q6_prices;
