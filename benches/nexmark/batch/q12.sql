SELECT bidder, count(*) AS bid_count, start_time, start_time + INTERVAL '10 seconds' AS end_time
FROM (SELECT bidder, date_bin(INTERVAL '10 seconds', date_time) AS start_time FROM bids) AS b
GROUP BY bidder, start_time
