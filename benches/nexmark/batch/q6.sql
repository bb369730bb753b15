SELECT id, seller, avg(price) OVER (
    PARTITION BY seller ORDER BY date_time, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW
) AS price
FROM (
    SELECT a.id, a.seller, b.price, b.date_time,
        row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time) AS place
    FROM auctions AS a JOIN bids AS b ON a.id = b.auction
    WHERE b.date_time >= a.date_time AND b.date_time <= a.expires
) AS w
WHERE place = 1
