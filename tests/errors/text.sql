--- a quote is not closed
CREATE VIEW v AS SELECT 'open FROM people;
--- a comment is not closed
CREATE VIEW v AS SELECT town FROM people; /* to be continued
--- a word is misspelt
CREATE VEIW v AS SELECT town FROM people;
--- a statement that a pack does not have
INSERT INTO people VALUES ('p1');
--- a query without a name
SELECT town FROM people;
--- a setting that a pack does not have
SET work_mem = '4MB';
--- no semicolon between two statements
CREATE VIEW v AS SELECT town FROM people
CREATE VIEW w AS SELECT town FROM v;
--- the end is missing
CREATE VIEW v AS SELECT town FROM;
--- a comma too many
CREATE TABLE t (id VARCHAR PRIMARY KEY, ) WITH (topic = 't', format = 'json');
--- a bracket is open
CREATE VIEW v AS SELECT count(* AS n FROM people GROUP BY town;
--- or replace
CREATE OR REPLACE VIEW v AS SELECT town FROM people;
--- if not exists
CREATE TABLE IF NOT EXISTS t (id VARCHAR PRIMARY KEY) WITH (topic = 't', format = 'json');
--- options behind the query
CREATE SINK s AS SELECT person_id FROM people WITH (topic = 's', format = 'json');
--- emit in the middle
CREATE VIEW v AS SELECT town, count(*) AS n FROM people EMIT CHANGES GROUP BY town;
--- a key for a view
CREATE VIEW v (PRIMARY KEY (town)) AS SELECT town FROM people;
--- a sink without a query
CREATE SINK s WITH (topic = 's', format = 'json');
--- a name in single quotes
CREATE VIEW 'v' AS SELECT town FROM people;
--- a name of two parts
CREATE VIEW a.v AS SELECT town FROM people;
--- a name that is empty
CREATE VIEW "" AS SELECT town FROM people;
--- nested too deeply
CREATE VIEW v AS SELECT ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1)))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))) AS n FROM people;
