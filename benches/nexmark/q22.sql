-- Nexmark 22, URL directories: the first three of the page on which a bid was made.
CREATE SINK q22 WITH (topic = 'q22', format = 'json') AS
SELECT auction, bidder, price, channel,
    split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3
FROM bids;
