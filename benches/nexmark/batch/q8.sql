SELECT DISTINCT p.id, p.name, date_bin(INTERVAL '10 seconds', p.date_time) AS start_time
FROM persons AS p
JOIN auctions AS a ON p.id = a.seller
    AND date_bin(INTERVAL '10 seconds', p.date_time) = date_bin(INTERVAL '10 seconds', a.date_time)
