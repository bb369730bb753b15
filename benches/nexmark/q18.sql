-- Nexmark 18, last bid: of each bidder on each auction. Of bids of the same instant the dearest is the last.
CREATE SINK q18 WITH (topic = 'q18', format = 'json') AS
SELECT auction, bidder, price, channel, url, date_time, extra
FROM bids
QUALIFY row_number() OVER (
    PARTITION BY bidder, auction ORDER BY date_time DESC, price DESC, channel DESC, url DESC, extra DESC
) = 1;
