-- Nexmark 3, local item suggestion: who sells in particular states.
--
-- The join has no bound in time: a person may sell for ever. So both sides are tables here, of the rows seen so far, and the
-- state grows with them.
CREATE VIEW q3_sellers AS
SELECT DISTINCT id, name, city, state FROM persons WHERE state IN ('OR', 'ID', 'CA');

CREATE VIEW q3_items AS
SELECT DISTINCT id, seller FROM auctions WHERE category = 10;

CREATE TABLE q3_sales (PRIMARY KEY (id)) AS
SELECT p.name, p.city, p.state, a.id
FROM q3_items AS a
JOIN q3_sellers AS p ON a.seller = p.id;

CREATE SINK q3 WITH (topic = 'q3', format = 'json') AS
SELECT name, city, state, id FROM q3_sales;
