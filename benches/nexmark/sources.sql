-- Purpose:  the three topics of Nexmark: an online auction.
-- Inputs:   topics persons, auctions and bids; JSON; timestamps in RFC 3339.
-- Outputs:  three streams, which every query of this folder reads.
-- Limits:   events arrive at most 4 seconds late, as Nexmark for Flink has it.

SET TIME ZONE = 'UTC';

-- People who sell and bid.
CREATE STREAM persons (
    id            BIGINT NOT NULL,
    name          VARCHAR,
    email_address VARCHAR,
    credit_card   VARCHAR,
    city          VARCHAR,
    state         VARCHAR,
    date_time     TIMESTAMP WITH TIME ZONE NOT NULL,
    extra         VARCHAR
) WITH (topic = 'persons', format = 'json', event_time = 'date_time', watermark_delay = '4 seconds');

-- Items put up for sale until `expires`.
CREATE STREAM auctions (
    id          BIGINT NOT NULL,
    item_name   VARCHAR,
    description VARCHAR,
    initial_bid BIGINT,
    reserve     BIGINT,
    date_time   TIMESTAMP WITH TIME ZONE NOT NULL,
    expires     TIMESTAMP WITH TIME ZONE NOT NULL,
    seller      BIGINT NOT NULL,
    category    BIGINT NOT NULL,
    extra       VARCHAR
) WITH (topic = 'auctions', format = 'json', event_time = 'date_time', watermark_delay = '4 seconds');

-- Bids on them; a price is in cents.
CREATE STREAM bids (
    auction   BIGINT NOT NULL,
    bidder    BIGINT NOT NULL,
    price     BIGINT NOT NULL,
    channel   VARCHAR,
    url       VARCHAR,
    date_time TIMESTAMP WITH TIME ZONE NOT NULL,
    extra     VARCHAR
) WITH (topic = 'bids', format = 'json', event_time = 'date_time', watermark_delay = '4 seconds');
