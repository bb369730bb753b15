-- Nexmark 14, calculation: bids of a middling price, with the time of day and a count of letters.
CREATE SINK q14 WITH (topic = 'q14', format = 'json') AS
SELECT auction, bidder, 0.908 * price AS price,
    CASE
        WHEN date_part('hour', date_time) BETWEEN 8 AND 18 THEN 'dayTime'
        WHEN date_part('hour', date_time) <= 6 OR date_part('hour', date_time) >= 20 THEN 'nightTime'
        ELSE 'otherTime'
    END AS bid_time_type,
    date_time, extra,
    length(extra) - length(replace(extra, 'c', '')) AS c_counts
FROM bids
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;
