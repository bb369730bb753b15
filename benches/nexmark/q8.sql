-- Nexmark 8, monitor new users: who put something up for sale in the ten seconds in which he registered.
CREATE VIEW q8_registered AS
SELECT window_start, window_end, id, name
FROM persons
GROUP BY tumble(date_time, INTERVAL '10 seconds'), id, name;

CREATE VIEW q8_selling AS
SELECT window_start, window_end, seller
FROM auctions
GROUP BY tumble(date_time, INTERVAL '10 seconds'), seller;

CREATE SINK q8 WITH (topic = 'q8', format = 'json') AS
SELECT p.id, p.name, p.window_start AS start_time
FROM q8_registered AS p
JOIN q8_selling AS a ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end;
