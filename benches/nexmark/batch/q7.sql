SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bids AS b
JOIN (
    SELECT date_bin(INTERVAL '10 seconds', date_time) AS window_start, max(price) AS price
    FROM bids
    GROUP BY date_bin(INTERVAL '10 seconds', date_time)
) AS h ON b.price = h.price
WHERE b.date_time >= h.window_start AND b.date_time <= h.window_start + INTERVAL '10 seconds'
