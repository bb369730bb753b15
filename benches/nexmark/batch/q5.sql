WITH counts AS (
    SELECT window_start, auction, count(*) AS num
    FROM (
        SELECT auction, date_bin(INTERVAL '2 seconds', date_time) - slides.back AS window_start
        FROM bids CROSS JOIN (VALUES
            (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'), (INTERVAL '6 seconds'), (INTERVAL '8 seconds')
        ) AS slides (back)
    ) AS b
    GROUP BY window_start, auction
)
SELECT auction, num
FROM counts AS c
WHERE num = (SELECT max(num) FROM counts AS m WHERE m.window_start = c.window_start)
