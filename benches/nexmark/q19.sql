-- Nexmark 19, top ten: the ten highest bids of each auction as they change, of equal ones the earliest.
CREATE SINK q19 WITH (topic = 'q19', format = 'json') AS
SELECT auction, bidder, price, channel, url, date_time, extra, place
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY auction ORDER BY price DESC, date_time, bidder, channel, url, extra
    ) AS place
    FROM bids
) AS b
WHERE place <= 10;
