-- Nexmark 4, average price for a category: of the highest bids that came while the auction was open.
CREATE VIEW q4_highest AS
SELECT a.id, a.category, max(b.price) AS price
FROM auctions AS a
JOIN bids AS b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
GROUP BY a.id, a.category;

CREATE SINK q4 WITH (topic = 'q4', format = 'json') AS
SELECT category, avg(price) AS price
FROM q4_highest
GROUP BY category;
